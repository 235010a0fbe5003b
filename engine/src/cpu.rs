//! CPU time of a thread and of the machine: parsers of the kernel's texts and differences of snapshots.
//!
//! Does not judge: which classes count as busy is the reader's business.

use std::time::Duration;

use serde::Serialize;

/// CPU time of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ThreadCpu {
    /// All of it (CLOCK_THREAD_CPUTIME_ID).
    pub total: Duration,
    /// The part in user mode (getrusage, whose split the kernel scales from its tick or its accounting).
    pub user: Duration,
    /// The part in the kernel.
    pub system: Duration,
}

/// One CPU's time by class, in clock ticks, in the order of /proc/stat: user, nice, system, idle, iowait,
/// irq, softirq, steal, guest, guest_nice. Guest time is contained in user, as in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuTicks(pub [u64; 10]);

/// CPU time of every online CPU over a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MachineCpu {
    /// Clock ticks a second (sysconf _SC_CLK_TCK).
    pub ticks_per_second: u32,
    /// Differences by CPU, in the order of /proc/stat. Empty when it could not be read.
    pub cpus: Vec<CpuTicks>,
}

/// A reading of /proc/stat.
#[derive(Clone, Debug, Default)]
pub(crate) struct MachineSnapshot(Vec<CpuTicks>);

impl MachineSnapshot {
    /// Now; empty where /proc is not mounted.
    pub(crate) fn now() -> Self {
        Self(parse_stat(&std::fs::read_to_string("/proc/stat").unwrap_or_default()))
    }

    /// What passed since an earlier reading. Empty when CPUs came or went in between.
    pub(crate) fn since(&self, earlier: &Self, ticks_per_second: u32) -> MachineCpu {
        let cpus = if self.0.len() == earlier.0.len() {
            self.0.iter().zip(&earlier.0).map(|(now, then)| now.minus(*then)).collect()
        } else {
            Vec::new()
        };
        MachineCpu { ticks_per_second, cpus }
    }
}

impl CpuTicks {
    /// A class that seems to run backwards (iowait may, see proc(5)) counts as nothing.
    fn minus(self, earlier: Self) -> Self {
        Self(std::array::from_fn(|class| self.0[class].saturating_sub(earlier.0[class])))
    }
}

impl ThreadCpu {
    /// The time of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }

    /// What passed since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// The lines of single CPUs in /proc/stat, in file order. Classes an older kernel lacks stay zero.
fn parse_stat(text: &str) -> Vec<CpuTicks> {
    let cpu = |line: &str| {
        let numbers = line.strip_prefix("cpu")?.strip_prefix(|c: char| c.is_ascii_digit())?;
        let mut ticks = CpuTicks::default();
        let fields = numbers.trim_start_matches(|c: char| c.is_ascii_digit()).split_ascii_whitespace();
        for (class, field) in ticks.0.iter_mut().zip(fields) {
            *class = field.parse().ok()?;
        }
        Some(ticks)
    };
    text.lines().filter_map(cpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  30 0 20 1000 5 0 1 2 0 0\ncpu0 10 0 20 500 5 0 1 2 0 0\n\
                        cpu13 20 0 0 500 0 0 0 0 0 0\nintr 5 6\nctxt 7\n";

    #[test]
    fn single_cpus_are_read_and_the_sum_is_not() {
        let cpus = parse_stat(STAT);
        assert_eq!(
            cpus,
            [CpuTicks([10, 0, 20, 500, 5, 0, 1, 2, 0, 0]), CpuTicks([20, 0, 0, 500, 0, 0, 0, 0, 0, 0])]
        );
        assert_eq!(parse_stat("cpu0 1 2 3 4\n"), [CpuTicks([1, 2, 3, 4, 0, 0, 0, 0, 0, 0])]);
        assert!(parse_stat("").is_empty());
        assert!(parse_stat("cpu0 1 x\n").is_empty());
    }

    #[test]
    fn differences_never_go_below_zero() {
        let then = MachineSnapshot(vec![CpuTicks([5; 10])]);
        let now = MachineSnapshot(vec![CpuTicks([7, 4, 7, 7, 7, 7, 7, 7, 7, 7])]);
        assert_eq!(now.since(&then, 100).cpus, [CpuTicks([2, 0, 2, 2, 2, 2, 2, 2, 2, 2])]);
        assert!(now.since(&MachineSnapshot::default(), 100).cpus.is_empty());
    }
}
