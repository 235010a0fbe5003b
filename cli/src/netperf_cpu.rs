//! CPU utilisation as netperf computes it from `/proc/stat`: one figure for the whole machine, all CPUs = 100
//! %.
//!
//! Arithmetic on a finished window. What else ran on the machine meanwhile is in the figure too; ringperf's
//! own ledger, which tells the worker from the rest, is the engine's.

use std::time::Duration;

use ringperf_engine::cpu::{CpuTicks, MachineCpu};

/// Place of each class in [`CpuTicks`].
const USER: usize = 0;
const SYSTEM: usize = 2;
const IDLE: usize = 3;
const IOWAIT: usize = 4;
const IRQ: usize = 5;
const SOFTIRQ: usize = 6;

/// Shares of the time of all CPUs, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Utilisation {
    /// Everything but idle: waiting for I/O and stolen time count as busy.
    pub busy: f64,
    /// User mode, nice excluded.
    pub user: f64,
    /// Kernel mode outside interrupts.
    pub system: f64,
    /// Waiting for I/O.
    pub iowait: f64,
    /// Hard interrupts.
    pub irq: f64,
    /// Soft interrupts.
    pub softirq: f64,
    /// Number of CPUs averaged over.
    pub cpus: usize,
    /// The busiest CPU, in the order of `/proc/stat`.
    pub peak_cpu: usize,
    /// How busy it was.
    pub peak: f64,
}

/// Utilisation over a window that lasted `measured` where the peer is told `reported`.
///
/// netperf scales by `1 + (measured - reported) / reported`, which differs from one only where a test ended
/// by a padded timer. `None` without any CPU's figures.
pub(crate) fn utilisation(
    machine: &MachineCpu,
    measured: Duration,
    reported: Duration,
) -> Option<Utilisation> {
    if machine.cpus.is_empty() {
        return None;
    }
    let correction = if reported.is_zero() { 1.0 } else { measured.as_secs_f64() / reported.as_secs_f64() };
    let mean = |class: usize| {
        let sum: f64 = machine.cpus.iter().map(|cpu| share(cpu, class)).sum();
        correction * sum / machine.cpus.len() as f64
    };
    let busy = |cpu: &CpuTicks| if total(cpu) == 0 { 0.0 } else { 100.0 - share(cpu, IDLE) };
    let (peak_cpu, peak) = machine
        .cpus
        .iter()
        .map(busy)
        .enumerate()
        .fold((0, 0.0), |best, next| if next.1 > best.1 { next } else { best });
    let sum: f64 = machine.cpus.iter().map(busy).sum();
    Some(Utilisation {
        busy: correction * sum / machine.cpus.len() as f64,
        user: mean(USER),
        system: mean(SYSTEM),
        iowait: mean(IOWAIT),
        irq: mean(IRQ),
        softirq: mean(SOFTIRQ),
        cpus: machine.cpus.len(),
        peak_cpu,
        peak: correction * peak,
    })
}

/// CPUs that are online, whether or not this process may use them; what netperf counts.
pub(crate) fn online() -> u32 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let cpus = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    u32::try_from(cpus).unwrap_or(u32::MAX).max(1)
}

/// All ten classes summed, guest time twice as the file has it: netperf does so, and its figures are the
/// yardstick.
fn total(cpu: &CpuTicks) -> u64 {
    cpu.0.iter().fold(0, |sum, &ticks| sum.saturating_add(ticks))
}

/// One class in percent of the CPU's time; 0 where no tick passed.
fn share(cpu: &CpuTicks, class: usize) -> f64 {
    let total = total(cpu);
    if total == 0 { 0.0 } else { 100.0 * cpu.0[class] as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cpus: &[[u64; 10]]) -> MachineCpu {
        MachineCpu { ticks_per_second: 100, cpus: cpus.iter().map(|&ticks| CpuTicks(ticks)).collect() }
    }

    #[test]
    fn one_busy_cpu_of_two_is_half() {
        let machine = machine(&[[40, 0, 50, 0, 0, 0, 10, 0, 0, 0], [0, 0, 0, 100, 0, 0, 0, 0, 0, 0]]);
        let second = Duration::from_secs(1);
        let found = utilisation(&machine, second, second).expect("two CPUs were given");
        assert_eq!((found.busy, found.user, found.system, found.softirq), (50.0, 20.0, 25.0, 5.0));
        assert_eq!((found.cpus, found.peak_cpu, found.peak), (2, 0, 100.0));
    }

    #[test]
    fn a_padded_timer_scales_up() {
        let machine = machine(&[[50, 0, 0, 50, 0, 0, 0, 0, 0, 0]]);
        let found = utilisation(&machine, Duration::from_secs(5), Duration::from_secs(1));
        assert_eq!(found.map(|found| found.busy), Some(250.0));
    }

    #[test]
    fn no_tick_is_idle_and_no_cpu_is_nothing() {
        let still = utilisation(&machine(&[[0; 10]]), Duration::ZERO, Duration::ZERO);
        assert_eq!(still.map(|found| (found.busy, found.peak)), Some((0.0, 0.0)));
        assert_eq!(utilisation(&machine(&[]), Duration::ZERO, Duration::ZERO), None);
    }

    #[test]
    fn iowait_and_steal_count_as_busy() {
        let machine = machine(&[[0, 0, 0, 50, 30, 0, 0, 20, 0, 0]]);
        let found = utilisation(&machine, Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(found.map(|found| (found.busy, found.iowait)), Some((50.0, 30.0)));
    }
}
