//! The machine that is measured on: its CPUs' idle time, and the facts that the report opens with.

use std::fs;
use std::time::{Duration, Instant};

use super::cgroup::Hierarchy;
use crate::program::said_by;

/// What /proc/stat says, in its ticks, of all CPUs since the machine started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ticks {
    idle: u64,
    iowait: u64,
    steal: u64,
    cpus: u64,
}

impl Ticks {
    fn in_stat(text: &str) -> Option<Self> {
        let fields: Vec<u64> = text
            .lines()
            .find_map(|line| line.strip_prefix("cpu "))?
            .split_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        let numbered = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
        let cpus = text.lines().filter(numbered).count() as u64;
        Some(Self { idle: *fields.get(3)?, iowait: *fields.get(4)?, steal: *fields.get(7)?, cpus })
    }
}

/// A moment from which the machine's time is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    ticks: Ticks,
    at: Instant,
}

/// What the machine did since a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Use {
    /// Time that its CPUs were not idle, in nanoseconds.
    pub(super) busy_ns: f64,
    /// Share of the CPUs' time that the hypervisor gave to others, in percent.
    pub(super) stolen_percent: f64,
}

impl Moment {
    /// Now.
    ///
    /// # Errors
    /// Where /proc/stat is not as it should be.
    pub(super) fn now() -> Result<Self, String> {
        let text = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
        let ticks = Ticks::in_stat(&text).ok_or("/proc/stat has no idle time")?;
        Ok(Self { ticks, at: Instant::now() })
    }

    /// What the machine did since.
    ///
    /// # Errors
    /// As [`Self::now`].
    pub(super) fn used(&self) -> Result<Use, String> {
        let now = Self::now()?;
        Ok(between(self.ticks, now.ticks, now.at.duration_since(self.at), tick_ns()))
    }
}

/// Busy is what is neither idle nor waiting for a disk. Linux takes idle time from its clock and the rest
/// from samples at each tick, so it is the idle time that is believed.
fn between(before: Ticks, after: Ticks, elapsed: Duration, tick_ns: f64) -> Use {
    let all_ns = elapsed.as_nanos() as f64 * after.cpus as f64;
    let idle = (after.idle + after.iowait).saturating_sub(before.idle + before.iowait);
    let stolen = after.steal.saturating_sub(before.steal);
    Use { busy_ns: all_ns - idle as f64 * tick_ns, stolen_percent: 100.0 * stolen as f64 * tick_ns / all_ns }
}

fn tick_ns() -> f64 {
    1e9 / rustix::param::clock_ticks_per_second() as f64
}

/// The facts of the machine, each as a line of the report.
pub(super) fn facts(cores: [usize; 2], hierarchy: Option<&Hierarchy>) -> Vec<String> {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model);
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let virtual_machine = cpuinfo.contains(" hypervisor");
    let congestion = file("/proc/sys/net/ipv4/tcp_congestion_control");
    let load: Vec<String> = file("/proc/loadavg").split(' ').take(3).map(str::to_owned).collect();
    vec![
        format!("date: {}", said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        format!("kernel: Linux {}", file("/proc/sys/kernel/osrelease").trim()),
        format!("CPU: {cpus} x {model}{}", if virtual_machine { ", virtual" } else { "" }),
        format!("load when it started, over 1, 5 and 15 minutes: {}", load.join(", ")),
        format!("congestion control: {}", congestion.trim()),
        format!("sender on core {}, receiver on core {}", cores[0], cores[1]),
        format!("CPU time: {}", hierarchy.map_or("not charged", Hierarchy::source)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "\
cpu  67778 0 14327 52049 1462 0 371 1550 0 0
cpu0 33459 0 6893 27335 259 0 89 732 0 0
cpu1 34319 0 7434 24713 1203 0 282 818 0 0
intr 1
";

    #[test]
    fn proc_stat_is_read() {
        let ticks = Ticks::in_stat(STAT).unwrap();
        assert_eq!(ticks, Ticks { idle: 52049, iowait: 1462, steal: 1550, cpus: 2 });
        assert_eq!(Ticks::in_stat("cpu  1 2 3\n"), None);
        assert_eq!(Ticks::in_stat(""), None);
    }

    #[test]
    fn busy_is_what_is_not_idle() {
        let before = Ticks { idle: 100, iowait: 10, steal: 0, cpus: 2 };
        let after = Ticks { idle: 250, iowait: 20, steal: 2, cpus: 2 };
        let used = between(before, after, Duration::from_secs(1), 1e7);
        // 2 s of CPU time, 1.6 s of them idle
        assert!((used.busy_ns - 0.4e9).abs() < 1.0);
        assert!((used.stolen_percent - 1.0).abs() < 1e-9);
    }
}
