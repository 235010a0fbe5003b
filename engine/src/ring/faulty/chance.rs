//! What a seed decides: numbers by chance, and which faults a run has to live with.
//!
//! A run draws from a menu of its own, some dishes of it at odds of their own: with all of them always on
//! the table, the frequent ones would hide what the rare ones do by themselves.

/// Numbers that a seed decides (xorshift, of Marsaglia, "Xorshift RNGs", 2003).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds have little in common.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    /// From zero up to, but not including, `n`.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        (self.next() % u64::from(n.max(1))) as u32
    }

    /// From one up to and including `n`.
    pub(super) fn up_to(&mut self, n: u32) -> u32 {
        1 + self.below(n)
    }

    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u32) as usize]
    }
}

/// What may go otherwise than one would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An enter gives up before it has taken anything: EINTR, EAGAIN or EBUSY.
    EnterFails,
    /// An enter takes part of what is queued.
    EnterTakesPart,
    /// A sleep ends early: EINTR.
    SleepInterrupted,
    /// An operation completes with EINTR, having done nothing.
    Interrupted,
    /// A send goes in part, for all that it says MSG_WAITALL.
    ShortSend,
    /// A receive takes less than there is.
    ShortReceive,
    /// A multishot receive ends with a completion that has data.
    MultishotEnds,
    /// A receive finds no buffer although there are some, or a datagram no room in the device's queue.
    NoBuffers,
    /// A cancel misses what is under way: ENOENT.
    CancelMisses,
    /// A cancel finds it running: EALREADY.
    CancelIsLate,
    /// The notification of a zero-copy send takes its time.
    NotificationIsLate,
    /// A completion of nothing that there is.
    Stale,
    /// A datagram is lost.
    Lost,
    /// The kernel refuses to take a send of datagrams apart.
    Unsegmented,
}

const FAULTS: usize = Fault::Unsegmented as usize + 1;

/// What goes wrong for good from some time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    /// No operation completes any more, and none can be cancelled.
    Mute,
    /// Cancels find everything and end nothing; sends and receives stand still.
    Deaf,
    /// Every enter fails with the same errno.
    EnterFails(i32),
    /// Enters take nothing of what is queued.
    EnterTakesNothing,
    /// Completions are dropped, and every enter says so (EBADR).
    Drops,
    /// The peer neither reads nor writes.
    DeadPeer,
    /// The connection is reset.
    Reset,
    /// No notification of a zero-copy send comes.
    NoNotification,
    /// The same, until the connection is broken.
    NoNotificationButForADisconnect,
}

/// The faults of a run.
pub(super) struct Menu {
    /// Faults still to come; with none left the kernel is a good one.
    left: u32,
    /// One in so many; zero: never.
    odds: [u32; FAULTS],
}

impl Menu {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut odds = [0; FAULTS];
        if !random.one_in(8) {
            for odds in &mut odds {
                *odds = random.pick(&[0, 0, 0, 2, 5, 10, 50]);
            }
        }
        Self { left: random.pick(&[5, 50, 500]), odds }
    }

    /// Whether it is time for a fault.
    pub(super) fn strikes(&mut self, fault: Fault, random: &mut Random) -> bool {
        let odds = self.odds[fault as usize];
        let strikes = odds > 0 && self.left > 0 && random.one_in(odds);
        self.left -= u32::from(strikes);
        strikes
    }
}
