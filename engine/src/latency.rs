//! How long operations took, recorded one by one.
//!
//! Everything is mapped when a recorder is made; to record allocates nothing.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::outcome::Latency;

/// Longest time that the histogram tells from others, an hour; a longer one is counted as such. Sum, square and
/// maximum are exact all the same.
const LONGEST_NS: u64 = 3600 * 1_000_000_000;
/// Significant digits of the histogram.
const DIGITS: u8 = 3;

/// Times of one worker's operations.
#[derive(Debug)]
pub(crate) struct Recorder(Latency);

impl Recorder {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("the bounds are in order");
        Self(Latency { histogram, sum_ns: 0, sum_squares_us: 0.0, min_ns: u64::MAX, max_ns: 0 })
    }

    /// One operation took so long.
    pub(crate) fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let all = &mut self.0;
        all.histogram.saturating_record(ns);
        all.sum_ns += u128::from(ns);
        all.sum_squares_us += (ns as f64 / 1000.0).powi(2);
        all.min_ns = all.min_ns.min(ns);
        all.max_ns = all.max_ns.max(ns);
    }

    /// What came of it; shortest and longest are zero where there was none.
    pub(crate) fn into_latency(self) -> Latency {
        Latency { min_ns: self.0.min_ns.min(self.0.max_ns), ..self.0 }
    }
}

impl Latency {
    /// That of the operations of both.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        let min_ns = match (self.histogram.is_empty(), other.histogram.is_empty()) {
            (true, _) => other.min_ns,
            (_, true) => self.min_ns,
            (false, false) => self.min_ns.min(other.min_ns),
        };
        self.histogram.add(&other.histogram).expect("all histograms have the same bounds");
        Self {
            histogram: self.histogram,
            sum_ns: self.sum_ns + other.sum_ns,
            sum_squares_us: self.sum_squares_us + other.sum_squares_us,
            min_ns,
            max_ns: self.max_ns.max(other.max_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(us: &[u64]) -> Latency {
        let mut recorder = Recorder::new();
        us.iter().for_each(|us| recorder.record(Duration::from_micros(*us)));
        recorder.into_latency()
    }

    #[test]
    fn sums_and_ends_are_exact_and_the_histogram_is_to_three_digits() {
        let latency = recorded(&[3, 1_234_567, 5]);
        assert_eq!((latency.histogram.len(), latency.sum_ns), (3, 1_234_575_000));
        assert_eq!((latency.min_ns, latency.max_ns), (3000, 1_234_567_000));
        assert_eq!(latency.sum_squares_us, 9.0 + 25.0 + 1_234_567.0 * 1_234_567.0);
        assert_eq!(latency.histogram.value_at_quantile(0.5), latency.histogram.highest_equivalent(5000));
        let highest = latency.histogram.max();
        assert!(highest.abs_diff(1_234_567_000) <= 1_234_567, "{highest}");
    }

    #[test]
    fn none_has_no_ends_and_changes_nothing() {
        let none = recorded(&[]);
        assert_eq!((none.min_ns, none.max_ns, none.histogram.len()), (0, 0, 0));
        for latency in [none.clone().plus(&recorded(&[7])), recorded(&[7]).plus(&none)] {
            assert_eq!((latency.min_ns, latency.max_ns, latency.sum_ns), (7000, 7000, 7000));
        }
    }

    #[test]
    fn those_of_two_workers_are_one() {
        let both = recorded(&[10, 20]).plus(&recorded(&[5, 40, 40]));
        assert_eq!((both.histogram.len(), both.sum_ns), (5, 115_000));
        assert_eq!((both.min_ns, both.max_ns, both.sum_squares_us), (5000, 40_000, 3725.0));
    }

    #[test]
    fn what_takes_longer_than_the_histogram_knows_is_counted() {
        let latency = recorded(&[2 * 3600 * 1_000_000]);
        assert_eq!((latency.histogram.len(), latency.max_ns), (1, 7_200_000_000_000));
        assert!(latency.histogram.max() >= LONGEST_NS);
    }
}
