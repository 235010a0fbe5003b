//! The progress of a run, read off at regular times and kept for its outcome.
//!
//! Keeps what it is given; who counts is the flows' business.

use std::time::{Duration, Instant};

use crate::outcome::{Sample, Tally};
use crate::plan::{Length, PlanOptions};

/// Most samples of a run; later ones are left out, for there is no room made for them.
pub(crate) const SAMPLES_MAX: usize = 100_000;

/// A worker's samples.
#[derive(Debug)]
pub(crate) struct Sampler {
    start: Instant,
    interval: Duration,
    next: Instant,
    samples: Vec<Sample>,
}

impl Sampler {
    /// Samples at every multiple of `interval` from `start` on, with room for a run of this length.
    pub(crate) fn new(start: Instant, interval: Duration, length: Option<Duration>) -> Self {
        let wanted =
            length.map_or(SAMPLES_MAX as u128, |length| length.as_nanos() / interval.as_nanos() + 64);
        let room = usize::try_from(wanted).unwrap_or(SAMPLES_MAX).min(SAMPLES_MAX);
        Self { start, interval, next: start + interval, samples: Vec::with_capacity(room) }
    }

    /// Those that a plan asks for, from `start` on.
    pub(crate) fn of(options: &PlanOptions, start: Instant) -> Option<Self> {
        let length = if let Length::Time(length) = options.length {
            Some(length + options.receive_grace)
        } else {
            None
        };
        options.interval.map(|interval| Self::new(start, interval, length))
    }

    /// When the next one is to be taken.
    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Takes one; times that have been missed are left out.
    pub(crate) fn take(&mut self, now: Instant, tallies: impl Iterator<Item = Tally>) {
        if self.samples.len() < self.samples.capacity() {
            self.samples.push(Sample::of(now.saturating_duration_since(self.start), tallies));
        }
        while self.next <= now {
            self.next += self.interval;
        }
    }

    /// All of them.
    pub(crate) fn into_samples(self) -> Vec<Sample> {
        self.samples
    }
}

/// The samples of several workers in one row: for each interval, what they had counted together by then. An
/// interval that one of them has missed is left out.
pub(crate) fn merge(rows: Vec<Vec<Sample>>, interval: Duration) -> Vec<Sample> {
    let mut rows = rows.into_iter();
    let Some(mut merged) = rows.next() else { return Vec::new() };
    let turn = |sample: &Sample| sample.at.as_nanos() / interval.as_nanos();
    for row in rows {
        let mut row = row.into_iter().peekable();
        merged.retain_mut(|sample| {
            while row.next_if(|other| turn(other) < turn(sample)).is_some() {}
            let Some(other) = row.next_if(|other| turn(other) == turn(sample)) else { return false };
            sample.at = sample.at.max(other.at);
            sample.bytes_sent += other.bytes_sent;
            sample.bytes_received += other.bytes_received;
            sample.transactions += other.transactions;
            true
        });
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sample(at: u32, bytes_received: u64) -> Sample {
        Sample { at: at * MS, bytes_received, ..Sample::default() }
    }

    #[test]
    fn samples_stay_on_their_times_and_missed_ones_are_left_out() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start, 200 * MS, None);
        let received = |bytes_received| std::iter::once(Tally { bytes_received, ..Tally::default() });
        assert_eq!(sampler.due(), start + 200 * MS);
        sampler.take(start + 203 * MS, received(10));
        assert_eq!(sampler.due(), start + 400 * MS);
        sampler.take(start + 850 * MS, received(30));
        assert_eq!(sampler.due(), start + 1000 * MS);
        assert_eq!(sampler.into_samples(), [sample(203, 10), sample(850, 30)]);
    }

    #[test]
    fn workers_are_added_up_where_both_were_looked_at() {
        let first = vec![sample(200, 1), sample(401, 2), sample(600, 3)];
        let second = vec![sample(203, 10), sample(605, 30), sample(800, 40)];
        assert_eq!(merge(vec![first, second], 200 * MS), [sample(203, 11), sample(605, 33)]);
        assert!(merge(Vec::new(), MS).is_empty());
    }
}
