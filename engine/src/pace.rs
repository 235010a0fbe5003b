//! When a sender may send its next batch, for a rate that it shall not exceed or for bursts at regular times.
//!
//! Pure: it counts bytes against time and keeps the batches that have to wait. It sleeps not; the loop does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::flow::Batch;
use crate::plan::Bursts;

/// What is not used of the rate is kept for so long: after a sleep that was too long the sender catches up.
const CATCH_UP: Duration = Duration::from_millis(20);

/// The pace of one worker's flows together.
#[derive(Debug)]
pub(crate) struct Pace {
    rule: Rule,
    /// When the next batch may go.
    free: Instant,
    /// Batches that wait, in their order.
    held: VecDeque<(u32, Batch)>,
}

/// What sets the time of the next batch.
#[derive(Debug)]
enum Rule {
    /// The bytes before it are paid for then.
    Rate { bytes_per_second: f64 },
    /// A burst begins once in each period since `start`, and not again before the next one: one that takes
    /// longer is followed at once, and what a late one has lost is not made up for. It is what netperf makes
    /// of a signal for each period, of which one may be pending.
    Bursts { every: Duration, start: Instant },
}

impl Pace {
    /// Payload bits a second, from now on, of this many flows.
    pub(crate) fn at_rate(bits_per_second: u64, flows: u32, now: Instant) -> Self {
        let bytes_per_second = (bits_per_second as f64 / 8.0).max(f64::MIN_POSITIVE);
        let rule = Rule::Rate { bytes_per_second };
        Self { rule, free: now, held: VecDeque::with_capacity(flows as usize) }
    }

    /// Bursts, the first of them now. What is paced is the batch that begins one.
    pub(crate) fn in_bursts(bursts: Bursts, now: Instant) -> Self {
        let rule = Rule::Bursts { every: bursts.every, start: now };
        Self { rule, free: now, held: VecDeque::with_capacity(1) }
    }

    /// Whether a batch may go at once.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.held.is_empty() && now >= self.free
    }

    /// Keeps a batch until its time.
    pub(crate) fn hold(&mut self, flow: u32, batch: Batch) {
        self.held.push_back((flow, batch));
    }

    /// Notes what is sent.
    pub(crate) fn spend(&mut self, bytes: u64, now: Instant) {
        self.free = match self.rule {
            Rule::Rate { bytes_per_second } => {
                let cost =
                    Duration::try_from_secs_f64(bytes as f64 / bytes_per_second).unwrap_or(Duration::MAX);
                let from = now.checked_sub(CATCH_UP).map_or(self.free, |earliest| self.free.max(earliest));
                // A cost beyond all counting is never paid.
                from.checked_add(cost).unwrap_or(from + Duration::from_secs(u32::MAX.into()))
            }
            Rule::Bursts { every, start } => {
                let passed = now.saturating_duration_since(start).as_nanos() % every.as_nanos();
                // A plan's times are less than what this can hold.
                now + every - Duration::from_nanos(u64::try_from(passed).unwrap_or(0))
            }
        };
    }

    /// When the next batch may go; `None` where none waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.held.is_empty()).then_some(self.free)
    }

    /// The next batch, if it may go now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(u32, Batch)> {
        if now >= self.free { self.held.pop_front() } else { None }
    }

    /// A flow's batch, which is not to go any more.
    pub(crate) fn withdraw(&mut self, flow: u32) -> Option<Batch> {
        let at = self.held.iter().position(|(of, _)| *of == flow)?;
        self.held.remove(at).map(|(_, batch)| batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Batch = Batch { slot: 0, skip: 0, messages: 1 };

    /// Bytes that go out in a second, where the loop looks every so often.
    fn sent(bits_per_second: u64, batch_bytes: u64, look: Duration) -> u64 {
        let start = Instant::now();
        let mut pace = Pace::at_rate(bits_per_second, 1, start);
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
        let mut pace = Pace::at_rate(8_000_000, 1, start);
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
        let mut pace = Pace::at_rate(8_000, 3, now);
        assert_eq!(pace.due(), None);
        pace.spend(1000, now);
        assert!(!pace.allows(now));
        pace.hold(3, BATCH);
        pace.hold(2, BATCH);
        pace.hold(1, BATCH);
        assert_eq!(pace.due(), Some(now + Duration::from_secs(1)));
        assert_eq!(pace.next(now), None);
        assert_eq!(pace.next(now + Duration::from_secs(1)).map(|(flow, _)| flow), Some(3));
        assert_eq!((pace.withdraw(1), pace.withdraw(1)), (Some(BATCH), None));
        assert_eq!(pace.due(), Some(now + Duration::from_secs(1)));
        assert_eq!(pace.next(now + Duration::from_secs(2)).map(|(flow, _)| flow), Some(2));
        assert_eq!(pace.due(), None);
    }

    #[test]
    fn a_burst_begins_in_each_period_and_a_late_one_shifts_none() {
        let ms = Duration::from_millis(1);
        let start = Instant::now();
        let mut pace = Pace::in_bursts(Bursts { messages: 4, every: 10 * ms }, start);
        assert!(pace.allows(start));
        // Began on time; late within its period; not at all in the third; and just at the end of the fourth.
        for (began, next) in [(0, 10), (17, 20), (39, 40), (40, 50)] {
            pace.spend(1, start + began * ms);
            assert!(!pace.allows(start + next * ms - Duration::from_nanos(1)), "{began}");
            assert!(pace.allows(start + next * ms), "{began}");
        }
        pace.hold(0, BATCH);
        assert_eq!(pace.due(), Some(start + 50 * ms));
    }
}
