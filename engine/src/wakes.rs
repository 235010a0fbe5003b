//! How seldom a receiver is woken: the choices of [`crate::low_water`], of [`Gather`] and of
//! [`GatherStreams`], for all flows of a worker.
//!
//! Sees what came and when; sets low-water marks through what it is given, and says how long sleeps shall
//! last.

use std::time::{Duration, Instant};

use crate::backend::Done;
use crate::low_water::LowWater;
use crate::outcome::LowWaterUse;
use crate::token::Kind;

/// What the loop asks of such a choice.
pub(crate) trait Wakes {
    /// Until when a sleep may last at most.
    fn due(&self) -> Option<Instant>;

    /// Takes what a sleep has brought; the shortest length of the next ones, if it is another one from now
    /// on.
    fn woken(&mut self, done: &[Done], now: Instant) -> Option<Duration>;

    /// Nothing shall lie unread from now on. Whether something may have.
    fn let_go(&mut self) -> bool;

    /// Takes that back.
    fn resume(&mut self);
}

/// Most flows of a worker that have low-water marks. With more of them to keep a mark for each would cost
/// more than it saves; then sleeps are made longer instead: [`GatherStreams`].
pub(crate) const MARKED_FLOWS_MAX: u32 = 16;

/// Low-water marks for the flows of a worker.
pub(crate) struct Marks<'a> {
    policies: Vec<LowWater>,
    /// Bytes of this turn, by flow.
    bytes: Vec<u64>,
    /// Sets a flow's mark; what the kernel made of it.
    set: &'a dyn Fn(u32, u32) -> u32,
}

impl<'a> Marks<'a> {
    pub(crate) fn new(policies: Vec<LowWater>, set: &'a dyn Fn(u32, u32) -> u32) -> Self {
        let bytes = vec![0; policies.len()];
        Self { policies, bytes, set }
    }

    /// What came of it: the highest mark of all flows, and how often marks were changed and let go.
    pub(crate) fn used(&self) -> LowWaterUse {
        self.policies.iter().map(LowWater::used).reduce(LowWaterUse::plus).unwrap_or_default()
    }
}

impl Wakes for Marks<'_> {
    fn due(&self) -> Option<Instant> {
        self.policies.iter().filter_map(LowWater::due).min()
    }

    fn woken(&mut self, done: &[Done], now: Instant) -> Option<Duration> {
        self.bytes.fill(0);
        for done in done.iter().filter(|done| done.token.kind == Kind::Receive) {
            if let Some(bytes) = self.bytes.get_mut(done.token.flow as usize) {
                *bytes += u64::from(done.result.unwrap_or(0));
            }
        }
        for ((flow, policy), bytes) in (0..).zip(&mut self.policies).zip(&self.bytes) {
            if let Some(mark) = policy.woken(*bytes, now) {
                policy.granted((self.set)(flow, mark));
            }
        }
        None
    }

    fn let_go(&mut self) -> bool {
        (0..).zip(&self.policies).for_each(|(flow, _)| {
            (self.set)(flow, 1);
        });
        true
    }

    fn resume(&mut self) {
        let marked = (0..).zip(&self.policies).filter(|(_, policy)| policy.mark() > 1);
        marked.for_each(|(flow, policy)| {
            (self.set)(flow, policy.mark());
        });
    }
}

/// How long the sleeps of a receiver of datagrams last at least, so that a wake-up finds more than one.
///
/// The socket's buffer is what limits it: while the receiver sleeps nothing is taken out.
#[derive(Debug)]
pub(crate) struct Gather {
    /// Bytes that the socket's buffer holds, by the kernel's own count of what a datagram takes.
    buffer: u64,
    /// Datagrams that one wake-up can take away.
    most: u64,
    datagrams: u64,
    bytes: u64,
    sleeps: Sleeps,
}

/// The shortest length of sleeps, as it is chosen anew after each interval.
#[derive(Debug)]
struct Sleeps {
    since: Instant,
    at_least: Duration,
    /// The longest that was in force.
    longest: Duration,
}

impl Sleeps {
    fn new(since: Instant) -> Self {
        Self { since, at_least: Duration::ZERO, longest: Duration::ZERO }
    }

    /// How long the interval took, if it is over.
    fn over(&self, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.since);
        (passed >= INTERVAL).then_some(passed)
    }

    /// Begins the next interval. The length from now on, if it is another one worth the name.
    fn choose(&mut self, wanted: Duration, now: Instant) -> Option<Duration> {
        self.since = now;
        if wanted.abs_diff(self.at_least) <= self.at_least / 4 {
            return None;
        }
        self.at_least = wanted;
        self.longest = self.longest.max(wanted);
        Some(wanted)
    }
}

/// Time over which the rate is observed.
const INTERVAL: Duration = Duration::from_millis(25);
/// Share of the socket's buffer that may fill while the receiver sleeps: the rest is for the time that it
/// takes to wake up, which on a busy machine is as long as the sleep itself.
const BUFFER_SHARE: u64 = 4;
/// Longest sleep for gathering: past it nothing more can be saved that shows.
const LONGEST: Duration = Duration::from_millis(1);
/// A sleep for fewer datagrams gathers nothing.
const DATAGRAMS_MIN: u64 = 8;

impl Gather {
    /// For a socket whose SO_RCVBUF is `buffer` bytes, and a loop that takes away so many datagrams a
    /// wake-up.
    pub(crate) fn new(buffer: u32, most: u64, now: Instant) -> Self {
        Self { buffer: u64::from(buffer), most, datagrams: 0, bytes: 0, sleeps: Sleeps::new(now) }
    }

    /// The longest that sleeps were made to last.
    pub(crate) fn longest(&self) -> Duration {
        self.sleeps.longest
    }

    /// What fits the rate of the last interval.
    fn choose(&self, passed: Duration) -> Duration {
        let room = self.buffer / footprint(self.bytes / self.datagrams.max(1)) / BUFFER_SHARE;
        // What a wake-up leaves waits for the end of another sleep, and would never be made up for.
        let room = room.min(self.most / 2);
        if room < DATAGRAMS_MIN || self.datagrams == 0 {
            return Duration::ZERO;
        }
        let each = passed / u32::try_from(self.datagrams).unwrap_or(u32::MAX);
        each.saturating_mul(u32::try_from(room).unwrap_or(u32::MAX)).min(LONGEST)
    }
}

/// What a datagram takes of the socket's buffer: its data and headers in a block of a power of two, and the
/// kernel's own record of it (sk_buff; 2304 bytes for 1472, 768 for 64, as seen with `ss -m`).
fn footprint(bytes: u64) -> u64 {
    (bytes + 384).next_power_of_two() + 256
}

impl Wakes for Gather {
    fn due(&self) -> Option<Instant> {
        None
    }

    fn woken(&mut self, done: &[Done], now: Instant) -> Option<Duration> {
        for done in done.iter().filter(|done| done.token.kind == Kind::Receive) {
            if let Ok(bytes @ 1..) = done.result {
                self.datagrams += 1;
                self.bytes += u64::from(bytes);
            }
        }
        let passed = self.sleeps.over(now)?;
        let wanted = self.choose(passed);
        (self.datagrams, self.bytes) = (0, 0);
        self.sleeps.choose(wanted, now)
    }

    fn let_go(&mut self) -> bool {
        false
    }

    fn resume(&mut self) {}
}

/// How long the sleeps of a receiver of many streams last at least, so that a wake-up finds several that have
/// something, and more of each.
///
/// While it sleeps nothing is taken out, so the busiest stream's buffer must have room for what comes
/// meanwhile, or its sender would stop.
#[derive(Debug)]
pub(crate) struct GatherStreams {
    /// Bytes that a stream's buffer holds.
    buffer: u64,
    /// Bytes of this interval, by flow.
    bytes: Vec<u64>,
    sleeps: Sleeps,
}

/// Longest sleep for gathering streams: the end of a run and its samples are late by no more.
const LONGEST_OF_STREAMS: Duration = Duration::from_millis(10);
/// Most bytes of all streams to gather. Waking once for so much costs nothing that can be measured, and what
/// is copied while it is still in the cache is cheaper: as much as the highest low-water mark.
const GATHERED_MAX: u64 = 256 << 10;
/// A shorter sleep than this saves less than the timer costs that ends it.
const SHORTEST_OF_STREAMS: Duration = Duration::from_micros(100);

impl GatherStreams {
    /// For so many streams whose SO_RCVBUF is `buffer` bytes.
    pub(crate) fn new(flows: usize, buffer: u32, now: Instant) -> Self {
        Self { buffer: buffer.into(), bytes: vec![0; flows], sleeps: Sleeps::new(now) }
    }

    /// The longest that sleeps were made to last.
    pub(crate) fn longest(&self) -> Duration {
        self.sleeps.longest
    }

    /// What fits the rates of the last interval.
    fn choose(&self, passed: Duration) -> Duration {
        let time_of = |room: u64, came: u64| {
            let nanoseconds = passed.as_nanos() * u128::from(room) / u128::from(came.max(1));
            Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
        };
        let busiest = self.bytes.iter().copied().max().unwrap_or(0);
        if busiest == 0 {
            return Duration::ZERO;
        }
        let wanted = time_of(self.buffer / BUFFER_SHARE, busiest)
            .min(time_of(GATHERED_MAX, self.bytes.iter().sum()))
            .min(LONGEST_OF_STREAMS);
        if wanted < SHORTEST_OF_STREAMS { Duration::ZERO } else { wanted }
    }
}

impl Wakes for GatherStreams {
    fn due(&self) -> Option<Instant> {
        None
    }

    fn woken(&mut self, done: &[Done], now: Instant) -> Option<Duration> {
        for done in done.iter().filter(|done| done.token.kind == Kind::Receive) {
            if let Some(bytes) = self.bytes.get_mut(done.token.flow as usize) {
                *bytes += u64::from(done.result.unwrap_or(0));
            }
        }
        let passed = self.sleeps.over(now)?;
        let wanted = self.choose(passed);
        self.bytes.fill(0);
        self.sleeps.choose(wanted, now)
    }

    fn let_go(&mut self) -> bool {
        false
    }

    fn resume(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Received;
    use crate::token::Token;

    fn received(flow: u32, bytes: u32) -> Done {
        Done { token: Token::RECEIVE.of(flow), result: Ok(bytes), more: true, received: Received::Nothing }
    }

    #[test]
    fn each_flow_has_the_mark_of_its_own_rate() {
        let start = Instant::now();
        let set = std::cell::RefCell::new(Vec::new());
        let note = |flow, mark| {
            set.borrow_mut().push((flow, mark));
            mark
        };
        let mut marks = Marks::new(vec![LowWater::new(None, start), LowWater::new(None, start)], &note);
        for turn in 1..=25 {
            let done = [received(0, 1000), received(1, 1000), received(1, 1000), received(7, 1)];
            marks.woken(&done, start + Duration::from_millis(1) * turn);
        }
        assert_eq!(*set.borrow(), [(0, 25_000), (1, 50_000)]);
        assert!(marks.due().is_some());
        assert!(marks.let_go());
        assert_eq!(set.borrow()[2..], [(0, 1), (1, 1)]);
        marks.resume();
        assert_eq!(set.borrow()[4..], [(0, 25_000), (1, 50_000)]);
        assert_eq!((marks.used().mark_bytes, marks.used().changes), (50_000, 2));
    }

    /// Sleeps chosen for datagrams of a size that come so many a second.
    fn chosen(buffer: u32, bytes: u32, per_second: u32) -> Duration {
        let start = Instant::now();
        let mut gather = Gather::new(buffer, 256, start);
        let mut last = Duration::ZERO;
        for turn in 1..=100 {
            let done = vec![received(0, bytes); (per_second / 1000) as usize];
            last = gather.woken(&done, start + Duration::from_millis(1) * turn).unwrap_or(last);
        }
        assert_eq!(last, gather.longest());
        last
    }

    #[test]
    fn a_sleep_fills_a_share_of_the_buffer() {
        // 212992 hold 92 datagrams of 1472 bytes; a quarter of them comes in 46 us at 500 thousand a second.
        assert_eq!(chosen(212_992, 1472, 500_000), Duration::from_micros(46));
        assert_eq!(chosen(212_992, 1472, 1000), LONGEST);
        assert_eq!(chosen(16 << 20, 1472, 100_000), LONGEST);
    }

    #[test]
    fn a_sleep_brings_no_more_than_half_of_what_a_wake_up_takes_away() {
        assert_eq!(chosen(16 << 20, 1472, 500_000), Duration::from_micros(256));
        assert_eq!(chosen(16 << 20, 1472, 1_000_000), Duration::from_micros(128));
    }

    /// Sleeps chosen for streams of which one brings so many times as much as each other one, at so many
    /// bytes a millisecond together.
    fn chosen_of_streams(buffer: u32, flows: u32, times: u32, bytes: u32) -> Duration {
        let start = Instant::now();
        let mut gather = GatherStreams::new(flows as usize, buffer, start);
        let mut last = Duration::ZERO;
        let each = bytes / (flows - 1 + times);
        for turn in 1..=100 {
            let done: Vec<_> =
                (0..flows).map(|flow| received(flow, if flow == 0 { times * each } else { each })).collect();
            last = gather.woken(&done, start + Duration::from_millis(1) * turn).unwrap_or(last);
        }
        assert_eq!(last, gather.longest());
        last
    }

    #[test]
    fn a_sleep_for_streams_follows_the_busiest_and_all_of_them() {
        // 100 Mbit/s, and a gigabit: 256 KiB of all come in 2.1 ms.
        assert_eq!(chosen_of_streams(131_072, 50, 1, 12_500), LONGEST_OF_STREAMS);
        assert_eq!(chosen_of_streams(131_072, 50, 1, 125_000).as_micros(), 2097);
        // One of them has half of it, of whose buffer a quarter fills in half a millisecond.
        assert_eq!(chosen_of_streams(131_072, 50, 49, 127_400).as_micros(), 514);
        // 40 Gbit/s, small buffers, and nothing.
        assert_eq!(chosen_of_streams(131_072, 50, 1, 5_000_000), Duration::ZERO);
        assert_eq!(chosen_of_streams(2304, 50, 1, 1_250_000), Duration::ZERO);
        assert_eq!(chosen_of_streams(131_072, 50, 1, 0), Duration::ZERO);
    }

    #[test]
    fn nothing_is_gathered_where_the_buffer_holds_few() {
        assert_eq!(chosen(212_992, 64_768, 50_000), Duration::ZERO);
        assert_eq!(chosen(2304, 1472, 1000), Duration::ZERO);
    }
}
