//! When a sender may send its next batch, for a rate that it shall not exceed.
//!
//! Pure: it counts bytes against time and keeps the batches that have to wait. It sleeps not; the loop does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::flow::Batch;

/// What is not used of the rate is kept for so long: after a sleep that was too long the sender catches up.
const CATCH_UP: Duration = Duration::from_millis(20);

/// The rate of one worker's flows together.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: f64,
    /// When the bytes sent so far are paid for.
    paid: Instant,
    /// Batches that wait, in their order.
    held: VecDeque<(u32, Batch)>,
}

impl Pace {
    /// Payload bits a second, from now on, of this many flows.
    pub(crate) fn new(bits_per_second: u64, flows: u32, now: Instant) -> Self {
        let bytes_per_second = (bits_per_second as f64 / 8.0).max(f64::MIN_POSITIVE);
        Self { bytes_per_second, paid: now, held: VecDeque::with_capacity(flows as usize) }
    }

    /// Whether a batch may go at once.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.held.is_empty() && now >= self.paid
    }

    /// Keeps a batch until its time.
    pub(crate) fn hold(&mut self, flow: u32, batch: Batch) {
        self.held.push_back((flow, batch));
    }

    /// Notes what is sent.
    pub(crate) fn spend(&mut self, bytes: u64, now: Instant) {
        let cost = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second).unwrap_or(Duration::MAX);
        let from = now.checked_sub(CATCH_UP).map_or(self.paid, |earliest| self.paid.max(earliest));
        // A cost beyond all counting is never paid.
        self.paid = from.checked_add(cost).unwrap_or(from + Duration::from_secs(u32::MAX.into()));
    }

    /// When the next batch may go; `None` where none waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.held.is_empty()).then_some(self.paid)
    }

    /// The next batch, if it may go now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(u32, Batch)> {
        if now >= self.paid { self.held.pop_front() } else { None }
    }

    /// The next batch, whenever it may go.
    pub(crate) fn take(&mut self) -> Option<(u32, Batch)> {
        self.held.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Batch = Batch { slot: 0, skip: 0, messages: 1 };

    /// Bytes that go out in a second, where the loop looks every so often.
    fn sent(bits_per_second: u64, batch_bytes: u64, look: Duration) -> u64 {
        let start = Instant::now();
        let mut pace = Pace::new(bits_per_second, 1, start);
        let (mut now, mut bytes) = (start, 0);
        while now < start + Duration::from_secs(1) {
            if pace.allows(now) || pace.next(now).is_some() {
                pace.spend(batch_bytes, now);
                bytes += batch_bytes;
                pace.hold(0, BATCH);
            }
            now += look;
        }
        bytes
    }

    #[test]
    fn the_rate_is_kept_and_not_exceeded() {
        for (rate, batch) in [(1_000_000, 1472), (100_000_000, 14_720), (1_000_000_000, 64_768)] {
            let bytes = sent(rate, batch, Duration::from_micros(50));
            let wanted = rate / 8;
            assert!(bytes <= wanted + batch, "{rate}: {bytes} for {wanted}");
            assert!(bytes + wanted / 50 >= wanted, "{rate}: {bytes} for {wanted}");
        }
    }

    #[test]
    fn a_late_look_is_caught_up_with_and_a_long_sleep_is_not() {
        // Batches of a millisecond, looked at every 1.3 of them: each is late, and none is lost.
        let start = Instant::now();
        let mut pace = Pace::new(8_000_000, 1, start);
        for turn in 1..100 {
            let now = start + Duration::from_micros(1300) * turn;
            assert!(pace.allows(now));
            pace.spend(1000, now);
        }
        let late = start + Duration::from_secs(10);
        let burst = (0..100).take_while(|_| pace.allows(late).then(|| pace.spend(1000, late)).is_some());
        assert_eq!(burst.count(), 21);
    }

    #[test]
    fn batches_keep_their_order() {
        let now = Instant::now();
        let mut pace = Pace::new(8_000, 2, now);
        assert_eq!(pace.due(), None);
        pace.spend(1000, now);
        assert!(!pace.allows(now));
        pace.hold(3, BATCH);
        pace.hold(1, BATCH);
        assert_eq!(pace.due(), Some(now + Duration::from_secs(1)));
        assert_eq!(pace.next(now), None);
        assert_eq!(pace.next(now + Duration::from_secs(1)).map(|(flow, _)| flow), Some(3));
        assert_eq!(pace.take().map(|(flow, _)| flow), Some(1));
        assert_eq!(pace.take(), None);
    }
}
