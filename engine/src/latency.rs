//! How long operations take: what there is to say of all of them, and whose turn it is to end.
//!
//! Sees times and counts; it neither sends nor reads a clock. All memory is taken before the run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::outcome::Latency;

/// The longest time that the histogram tells apart; longer ones count as this long there.
const LONGEST: Duration = Duration::from_secs(3600);
/// Significant digits of the histogram.
const DIGITS: u8 = 3;

impl Latency {
    /// Of no operation yet.
    pub(crate) fn new() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let histogram = Histogram::new_with_bounds(1, longest, DIGITS).expect("the bounds are in order");
        Self { histogram, sum_ns: 0, sum_squares_us: 0.0, min_ns: 0, max_ns: 0 }
    }

    /// Takes the time of one more.
    pub(crate) fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.min_ns = if self.histogram.is_empty() { ns } else { self.min_ns.min(ns) };
        self.max_ns = self.max_ns.max(ns);
        self.histogram.saturating_record(ns);
        self.sum_ns += u128::from(ns);
        self.sum_squares_us += (ns as f64 / 1000.0).powi(2);
    }

    /// Takes all that another has seen.
    pub(crate) fn add(&mut self, other: &Self) {
        self.min_ns = match (self.histogram.is_empty(), other.histogram.is_empty()) {
            (true, _) => other.min_ns,
            (false, true) => self.min_ns,
            (false, false) => self.min_ns.min(other.min_ns),
        };
        self.max_ns = self.max_ns.max(other.max_ns);
        self.histogram.add(&other.histogram).expect("both have the same bounds");
        self.sum_ns += other.sum_ns;
        self.sum_squares_us += other.sum_squares_us;
    }
}

/// The times of the transactions of a worker's flows: each response ends the oldest request of its flow.
pub(crate) struct Timings {
    latency: Latency,
    /// By flow.
    queues: Vec<Queue>,
}

/// Requests of a flow whose responses are still to come.
struct Queue {
    /// When each was asked for, oldest first; never more than it has room for.
    asked_at: VecDeque<Instant>,
    /// Requests and responses of the flow so far.
    asked: u64,
    answered: u64,
}

impl Timings {
    /// For so many flows with so many requests under way.
    pub(crate) fn new(flows: usize, in_flight: u32) -> Self {
        let queue = || Queue { asked_at: VecDeque::with_capacity(in_flight as usize), asked: 0, answered: 0 };
        Self { latency: Latency::new(), queues: (0..flows).map(|_| queue()).collect() }
    }

    /// Takes what a flow has asked for and had answered in all. What is new of it happened now: first the
    /// answers, then what was asked for.
    pub(crate) fn note(&mut self, flow: u32, (asked, answered): (u64, u64), now: Instant) {
        let Some(queue) = self.queues.get_mut(flow as usize) else { return };
        for _ in std::mem::replace(&mut queue.answered, answered)..answered {
            if let Some(asked_at) = queue.asked_at.pop_front() {
                self.latency.record(now.saturating_duration_since(asked_at));
            }
        }
        for _ in std::mem::replace(&mut queue.asked, asked)..asked {
            if queue.asked_at.len() < queue.asked_at.capacity() {
                queue.asked_at.push_back(now);
            }
        }
    }

    /// The last so many requests of a flow go out only now.
    pub(crate) fn postpone(&mut self, flow: u32, requests: u64, now: Instant) {
        if let Some(queue) = self.queues.get_mut(flow as usize) {
            let requests = usize::try_from(requests).unwrap_or(usize::MAX);
            queue.asked_at.iter_mut().rev().take(requests).for_each(|asked_at| *asked_at = now);
        }
    }

    /// Gives up the requests of a flow that are not answered.
    pub(crate) fn forget(&mut self, flow: u32) {
        if let Some(queue) = self.queues.get_mut(flow as usize) {
            queue.asked_at.clear();
        }
    }

    /// What there is to say of all transactions.
    pub(crate) fn into_latency(self) -> Latency {
        self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn sums_are_exact_and_add_up() {
        let (mut all, mut other) = (Latency::new(), Latency::new());
        for took in [10, 20, 90_000] {
            all.record(took * US);
        }
        assert_eq!((all.sum_ns, all.min_ns, all.max_ns), (90_030_000, 10_000, 90_000_000));
        assert_eq!(all.sum_squares_us, 100.0 + 400.0 + 8_100_000_000.0);
        other.record(Duration::from_nanos(7));
        other.record(Duration::from_secs(8000));
        other.add(&Latency::new());
        all.add(&other);
        assert_eq!((all.min_ns, all.max_ns, all.histogram.len()), (7, 8_000_000_000_000, 5));
        assert_eq!(all.sum_ns, 8_000_090_030_007);
        let mut empty = Latency::new();
        empty.add(&all);
        assert_eq!((empty.min_ns, empty.histogram.max()), (7, all.histogram.max()));
        assert_eq!(all.histogram.value_at_quantile(0.4), 10_007);
    }

    #[test]
    fn each_response_ends_the_oldest_request_of_its_flow() {
        let start = Instant::now();
        let mut timings = Timings::new(2, 2);
        timings.note(0, (2, 0), start);
        timings.note(1, (1, 0), start + 5 * US);
        timings.note(0, (3, 1), start + 10 * US);
        timings.note(0, (3, 3), start + 30 * US);
        timings.note(1, (1, 1), start + 30 * US);
        // Of nobody.
        timings.note(9, (1, 1), start);
        let latency = timings.into_latency();
        assert_eq!((latency.histogram.len(), latency.sum_ns), (4, 10_000 + 30_000 + 20_000 + 25_000));
        assert_eq!((latency.min_ns, latency.max_ns), (10_000, 30_000));
    }

    #[test]
    fn what_waits_for_its_time_has_none_until_it_goes() {
        let start = Instant::now();
        let mut timings = Timings::new(1, 3);
        timings.note(0, (3, 0), start);
        timings.postpone(0, 2, start + 50 * US);
        timings.postpone(0, 0, start + 90 * US);
        timings.note(0, (3, 3), start + 60 * US);
        let latency = timings.into_latency();
        assert_eq!((latency.sum_ns, latency.min_ns, latency.max_ns), (80_000, 10_000, 60_000));
    }

    #[test]
    fn what_is_given_up_is_not_measured() {
        let start = Instant::now();
        let mut timings = Timings::new(1, 2);
        timings.note(0, (2, 0), start);
        timings.forget(0);
        timings.note(0, (4, 0), start + 100 * US);
        // A late one, and an answer to nothing.
        timings.note(0, (4, 3), start + 110 * US);
        let latency = timings.into_latency();
        assert_eq!((latency.histogram.len(), latency.max_ns), (2, 10_000));
    }
}
