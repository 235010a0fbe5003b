//! When a receiver is worth waking: the low-water mark of its socket, chosen from what arrives.
//!
//! The kernel wakes a reader of TCP for every segment unless SO_RCVLOWAT asks for more, and each wake-up
//! costs more than the copy of what it brings. A fixed mark is wrong on most links: too high, it delays what
//! is there; too low, it wakes thousands of times a second. So the mark follows the rate, for a number of
//! wake-ups that costs next to nothing and yet is frequent enough for anybody who watches.
//!
//! Pure: it sees bytes and times and says what the mark should be. It neither sets it nor waits.

use std::time::{Duration, Instant};

use crate::outcome::LowWaterUse;

/// Time between two wake-ups that the mark aims at: 40 a second.
const INTERVAL: Duration = Duration::from_millis(25);
/// How long bytes below the mark may lie unread. Past it the mark goes down to one byte, which wakes the
/// reader at once if there is anything.
const PATIENCE: Duration = Duration::from_millis(50);
/// The mark is not raised above this: waking once for so much costs nothing that can be measured, and what is
/// copied while it is still in the cache is cheaper.
const MARK_MAX: u32 = 256 << 10;
/// Below this a mark gains nothing: it is a segment or two.
const MARK_MIN: u32 = 4 << 10;

/// The mark of one connection.
#[derive(Debug)]
pub(crate) struct LowWater {
    /// The most that makes sense for the socket's buffer.
    ceiling: u32,
    /// What was last to be set.
    mark: u32,
    /// Since when bytes have been counted, and how many there were.
    since: Instant,
    bytes: u64,
    /// When something was last received, or the mark last let go.
    heard: Instant,
    used: LowWaterUse,
}

impl LowWater {
    /// A mark for a socket whose receive buffer was fixed to this size, or is the kernel's to enlarge; none
    /// yet.
    ///
    /// Half of the buffer is the most the kernel takes (tcp_set_rcvlowat). Of a fixed one a quarter leaves
    /// the sender a window to go on with while the reader wakes up; for the other kind the kernel makes
    /// room.
    pub(crate) fn new(fixed_buffer: Option<u32>, now: Instant) -> Self {
        let ceiling = fixed_buffer.map_or(MARK_MAX, |bytes| (bytes / 4).min(MARK_MAX));
        Self {
            ceiling,
            mark: 1,
            since: now,
            bytes: 0,
            heard: now,
            used: LowWaterUse { mark_bytes: 1, ..LowWaterUse::default() },
        }
    }

    /// What came of it.
    pub(crate) fn used(&self) -> LowWaterUse {
        self.used
    }

    /// The mark that is to be in force.
    pub(crate) fn mark(&self) -> u32 {
        self.mark
    }

    /// Until when the reader may sleep; `None`: as long as it likes.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.mark > 1).then(|| self.heard + PATIENCE)
    }

    /// After a sleep that brought this many bytes: the mark to set now, if it is another one.
    pub(crate) fn woken(&mut self, bytes: u64, now: Instant) -> Option<u32> {
        if bytes == 0 {
            return self.expire(now);
        }
        self.heard = now;
        self.bytes += bytes;
        let passed = now.saturating_duration_since(self.since);
        if passed < INTERVAL {
            return None;
        }
        // What comes in one interval at the rate of the last ones.
        let wanted = u128::from(self.bytes) * INTERVAL.as_nanos() / passed.as_nanos();
        (self.since, self.bytes) = (now, 0);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.ceiling);
        let wanted = if wanted < MARK_MIN { 1 } else { wanted };
        // A rate is never quite the same twice; a call to the kernel for each difference would cost more than
        // it saves.
        if wanted.abs_diff(self.mark) <= self.mark / 4 { None } else { self.set(wanted) }
    }

    /// Lets go of bytes that have lain below the mark for too long.
    fn expire(&mut self, now: Instant) -> Option<u32> {
        if self.mark == 1 || now < self.heard + PATIENCE {
            return None;
        }
        self.used.expired += 1;
        (self.since, self.bytes, self.heard) = (now, 0, now);
        self.set(1)
    }

    fn set(&mut self, mark: u32) -> Option<u32> {
        self.mark = mark;
        self.used.changes += 1;
        Some(mark)
    }

    /// What the kernel made of the mark that was to be set.
    pub(crate) fn granted(&mut self, mark: u32) {
        self.used.mark_bytes = self.used.mark_bytes.max(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The marks set while so many bytes come every millisecond, and the time of the end.
    fn fed(policy: &mut LowWater, start: Instant, bytes: u64, milliseconds: u32) -> (Vec<u32>, Instant) {
        let mut now = start;
        let mut marks = Vec::new();
        for _ in 0..milliseconds {
            now += MS;
            let mark = policy.woken(bytes, now);
            mark.into_iter().for_each(|mark| policy.granted(mark));
            marks.extend(mark);
        }
        (marks, now)
    }

    #[test]
    fn the_mark_is_what_comes_in_one_interval() {
        let start = Instant::now();
        // 10, 100 and 1000 Mbit/s
        for (bytes, mark) in [(1_250, 31_250), (12_500, 256 << 10), (125_000, 256 << 10)] {
            let mut policy = LowWater::new(None, start);
            let (marks, _) = fed(&mut policy, start, bytes, 200);
            assert_eq!(marks, [mark]);
            assert_eq!((policy.used().mark_bytes, policy.used().changes), (mark, 1));
        }
    }

    #[test]
    fn slow_links_and_small_buffers_have_no_mark() {
        let start = Instant::now();
        // 1 Mbit/s
        assert!(fed(&mut LowWater::new(None, start), start, 125, 200).0.is_empty());
        // 2304 is the least that the kernel grants
        assert!(fed(&mut LowWater::new(Some(2304), start), start, 125_000, 200).0.is_empty());
        let mut policy = LowWater::new(Some(64 << 10), start);
        assert_eq!(fed(&mut policy, start, 125_000, 200).0, [16 << 10]);
    }

    #[test]
    fn the_mark_follows_a_rate_that_changes_and_not_one_that_wavers() {
        let start = Instant::now();
        let mut policy = LowWater::new(None, start);
        let (_, now) = fed(&mut policy, start, 2_000, 50);
        assert_eq!(policy.mark, 50_000);
        let (marks, now) = fed(&mut policy, now, 2_300, 100);
        assert!(marks.is_empty());
        let (marks, now) = fed(&mut policy, now, 4_000, 100);
        assert_eq!(marks.last(), Some(&100_000));
        let (marks, _) = fed(&mut policy, now, 100, 100);
        assert_eq!(marks.last(), Some(&1));
    }

    #[test]
    fn a_short_transfer_is_over_before_there_is_a_mark() {
        let start = Instant::now();
        let mut policy = LowWater::new(None, start);
        assert_eq!(policy.woken(100_000, start + MS), None);
        assert_eq!(policy.due(), None);
    }

    #[test]
    fn what_lies_below_the_mark_is_let_go_and_the_mark_comes_back() {
        let start = Instant::now();
        let mut policy = LowWater::new(None, start);
        let (_, now) = fed(&mut policy, start, 2_000, 50);
        assert_eq!(policy.due(), Some(now + PATIENCE));
        // woken for another reason
        assert_eq!(policy.woken(0, now + 30 * MS), None);
        assert_eq!(policy.woken(0, now + PATIENCE), Some(1));
        assert_eq!(policy.due(), None);
        assert_eq!(policy.used().expired, 1);
        let (marks, _) = fed(&mut policy, now + PATIENCE, 2_000, 50);
        assert_eq!(marks, [50_000]);
    }
}
