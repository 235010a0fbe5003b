//! The progress of a run, told while it goes on.
//!
//! [`Pulse`] chooses the moments, as netperf's demo mode does, and is pure: it sees work and times.
//! [`Teller`] hands what was counted to whoever listens, who may miss some of it but never holds the run up.
//! Where nobody listens, [`crate::sampler`] keeps samples at regular times.

use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use crate::outcome::{Sample, Tally};
use crate::plan::{Every, Progress, WorkUnit};

/// When progress is told.
#[derive(Debug)]
struct Pulse {
    every: Every,
    /// When it was told last, or the start, and the units of work that were done by then.
    since: Instant,
    done: u64,
    /// Units before which the clock is not asked.
    threshold: u64,
}

impl Pulse {
    fn new(every: Every, now: Instant) -> Self {
        let threshold = if let Every::Work { units, .. } = every { units.max(1) } else { 0 };
        Self { every, since: now, done: 0, threshold }
    }

    /// Until when a sleep may last at most.
    fn due(&self) -> Option<Instant> {
        match self.every {
            Every::Time(interval) => Some(self.since + interval),
            // Without work there is nothing to tell.
            Every::Work { .. } => None,
        }
    }

    /// Whether progress is to be told now that so many units of work are done; if so, the next interval
    /// begins.
    fn beats(&mut self, now: Instant, done: u64) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let interval = match self.every {
            Every::Time(interval) => interval,
            Every::Work { .. } if done.saturating_sub(self.done) < self.threshold => return false,
            Every::Work { interval, .. } => {
                self.threshold = scaled(self.threshold, interval, passed);
                interval
            }
        };
        if passed < interval {
            return false;
        }
        (self.since, self.done) = (now, done);
        true
    }
}

/// Units that take an interval if so many took `passed`; as many as before where no time has passed.
fn scaled(units: u64, interval: Duration, passed: Duration) -> u64 {
    let wanted = u128::from(units).saturating_mul(interval.as_nanos());
    let wanted = wanted.checked_div(passed.as_nanos()).unwrap_or(u128::from(units));
    u64::try_from(wanted).unwrap_or(u64::MAX).max(1)
}

/// Tells of one worker's flows.
#[derive(Debug)]
pub(crate) struct Teller {
    pulse: Pulse,
    start: Instant,
    to: SyncSender<Sample>,
}

impl Teller {
    /// Tells times since `start`, which is now or a moment ago.
    pub(crate) fn new(progress: &Progress, start: Instant) -> Self {
        Self { pulse: Pulse::new(progress.every, start), start, to: progress.to.clone() }
    }

    /// Until when a sleep may last at most.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.pulse.due()
    }

    /// Whether progress is to be told now; if so, the next interval begins.
    pub(crate) fn beats(&mut self, now: Instant, tallies: impl Iterator<Item = Tally>) -> bool {
        let done = match self.pulse.every {
            Every::Time(_) => 0,
            Every::Work { unit: WorkUnit::Bytes, .. } => {
                tallies.map(|tally| tally.bytes_sent + tally.bytes_received).sum()
            }
            Every::Work { unit: WorkUnit::Transactions, .. } => tallies.map(|tally| tally.transactions).sum(),
        };
        self.pulse.beats(now, done)
    }

    /// Tells what was counted until now.
    pub(crate) fn tell(&self, now: Instant, tallies: impl Iterator<Item = Tally>) {
        // Full or deserted: then it stays untold, for the next sample says it, too.
        let _ = self.to.try_send(Sample::of(now.saturating_duration_since(self.start), tallies));
    }

    /// The units of work that an interval was last found to take; `None` where the moments do not follow the
    /// work.
    pub(crate) fn units(&self) -> Option<u64> {
        matches!(self.pulse.every, Every::Work { .. }).then_some(self.pulse.threshold)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn by_work(units: u64) -> Every {
        Every::Work { interval: 1000 * MS, units, unit: WorkUnit::Bytes }
    }

    /// Milliseconds at which work of so many units, done every so often, is told of.
    fn told(pulse: &mut Pulse, start: Instant, units: u64, each: u32, until: u32) -> Vec<u32> {
        let before = pulse.done;
        let beats = |at: &u32| pulse.beats(start + *at * MS, before + u64::from(*at / each) * units);
        (each..=until).step_by(each as usize).filter(beats).collect()
    }

    #[test]
    fn by_time_it_is_told_at_the_first_look_past_the_interval_which_then_begins_anew() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Every::Time(200 * MS), start);
        assert_eq!(pulse.due(), Some(start + 200 * MS));
        assert!(!pulse.beats(start + 199 * MS, 1));
        assert!(pulse.beats(start + 203 * MS, 2));
        assert_eq!(pulse.due(), Some(start + 403 * MS));
        assert!(!pulse.beats(start + 402 * MS, 3));
        assert!(pulse.beats(start + 900 * MS, 3));
        assert_eq!(pulse.due(), Some(start + 1100 * MS));
    }

    #[test]
    fn by_work_the_clock_is_asked_about_once_an_interval() {
        let start = Instant::now();
        let mut pulse = Pulse::new(by_work(100), start);
        assert_eq!(pulse.due(), None);
        // A byte each millisecond: the guess of 100 becomes 1000 at once, and stays.
        let told = told(&mut pulse, start, 1, 1, 5000);
        assert_eq!((told, pulse.threshold), (vec![1000, 2000, 3000, 4000, 5000], 1000));
    }

    #[test]
    fn by_work_a_first_guess_that_is_too_high_keeps_it_silent_and_one_too_low_is_made_up_for() {
        let start = Instant::now();
        let mut high = Pulse::new(by_work(1_000_000), start);
        assert!(told(&mut high, start, 1, 1, 5000).is_empty());
        let mut low = Pulse::new(by_work(1), start);
        assert_eq!(told(&mut low, start, 1000, 1, 3000), [1000, 2000, 3000]);
        assert_eq!(low.threshold, 1_000_000);
    }

    #[test]
    fn by_work_a_slower_pace_lengthens_one_interval_and_no_more() {
        let start = Instant::now();
        let mut pulse = Pulse::new(by_work(1000), start);
        assert_eq!(told(&mut pulse, start, 1, 1, 2000), [1000, 2000]);
        let later = start + 2000 * MS;
        assert_eq!(told(&mut pulse, later, 1, 4, 8000), [4000, 5000, 6000, 7000, 8000]);
        assert_eq!(pulse.threshold, 250);
    }

    #[test]
    fn neither_a_moment_nor_an_age_breaks_the_threshold() {
        assert_eq!(scaled(100, 1000 * MS, Duration::ZERO), 100);
        assert_eq!(scaled(u64::MAX, 1000 * MS, Duration::from_nanos(1)), u64::MAX);
        assert_eq!(scaled(100, MS, Duration::MAX), 1);
        assert_eq!(scaled(100, Duration::ZERO, MS), 1);
        assert_eq!(scaled(100, 1000 * MS, 500 * MS), 200);
    }

    #[test]
    fn who_does_not_keep_up_misses_some_and_holds_nobody_up() {
        let start = Instant::now();
        let (to, heard) = sync_channel(1);
        let mut teller = Teller::new(&Progress { every: by_work(16), to }, start);
        let tally = Tally { bytes_sent: 7, bytes_received: 8, transactions: 9, ..Tally::default() };
        assert_eq!(teller.units(), Some(16));
        assert!(!teller.beats(start + 1500 * MS, [tally].into_iter()));
        assert!(teller.beats(start + 1500 * MS, [tally, tally].into_iter()));
        assert_eq!(teller.units(), Some(10));
        teller.tell(start + 1500 * MS, [tally, tally].into_iter());
        teller.tell(start + 1600 * MS, [tally].into_iter());
        assert_eq!(
            heard.try_iter().collect::<Vec<_>>(),
            [Sample { at: 1500 * MS, bytes_sent: 14, bytes_received: 16, transactions: 18 }]
        );
        drop(heard);
        teller.tell(start + 1700 * MS, [tally].into_iter());
    }
}
