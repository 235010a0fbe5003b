//! Who has which of the provided buffers, and that nobody has what another one has.
//!
//! A buffer is with the kernel, in a completion that has not been taken yet, or with the ring. The ring may
//! hand over only what is with it, and the kernel fills only what is with the kernel; anything else fails the
//! test at once.

use std::collections::VecDeque;

use super::memory::{Completion, Lent, SharedRing};

/// What a buffer holds that has been handed over: whoever still reads from it reads this.
const POISON: u8 = 0xdb;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Kernel,
    Completion,
    Ring,
}

pub(super) struct Buffers {
    shared: SharedRing,
    mask: u16,
    bytes: u32,
    /// Up to where entries have been looked at.
    seen: u16,
    /// Those that are to be filled, in their order.
    waiting: VecDeque<(Lent, u16)>,
    holders: Vec<Holder>,
    /// The buffers behind each completion that is on its way, by its first one.
    told: VecDeque<Vec<u16>>,
}

/// IORING_CQE_F_BUFFER, and where the number of the buffer is in a completion's flags.
pub(super) const BUFFER: u32 = 1;
const BUFFER_SHIFT: u32 = 16;

impl Buffers {
    /// So many buffers of so many bytes, none of which has been handed over yet.
    pub(super) fn new(shared: SharedRing, count: u16, bytes: u32) -> Self {
        Self {
            shared,
            mask: count - 1,
            bytes,
            seen: 0,
            waiting: VecDeque::new(),
            holders: vec![Holder::Ring; usize::from(count)],
            told: VecDeque::new(),
        }
    }

    /// Looks at what the ring has handed over since the last time.
    pub(super) fn look(&mut self) {
        let tail = self.shared.tail();
        let new = tail.wrapping_sub(self.seen);
        assert!(new <= self.mask + 1, "{new} buffers handed over at once, of {}", self.mask + 1);
        for _ in 0..new {
            let (lent, buffer) = self.shared.entry(self.seen & self.mask);
            let holder = self.holders.get_mut(usize::from(buffer)).expect("a buffer that there is");
            assert_eq!(*holder, Holder::Ring, "buffer {buffer} is handed over by who does not have it");
            assert_eq!(lent.length, self.bytes, "buffer {buffer}");
            *holder = Holder::Kernel;
            lent.write(&vec![POISON; lent.length as usize]);
            assert!(self.waiting.iter().all(|(other, _)| !other.overlaps(lent)), "buffer {buffer} overlaps");
            self.waiting.push_back((lent, buffer));
            self.seen = self.seen.wrapping_add(1);
        }
    }

    /// Bytes that the next buffers take, at most so many buffers.
    pub(super) fn room(&self, buffers: u32) -> u32 {
        let count = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        count.min(buffers) * self.bytes
    }

    /// Fills the next buffers, one at least; the flags that tell of them.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> u32 {
        let mut filled = Vec::new();
        let mut left = bytes;
        while filled.is_empty() || !left.is_empty() {
            let (lent, buffer) = self.waiting.pop_front().expect("room was asked for");
            assert!(lent.read().iter().all(|byte| *byte == POISON), "buffer {buffer} was written to");
            let (now, later) = left.split_at(left.len().min(lent.length as usize));
            lent.write(now);
            self.holders[usize::from(buffer)] = Holder::Completion;
            filled.push(buffer);
            left = later;
        }
        let first = filled[0];
        self.told.push_back(filled);
        BUFFER | u32::from(first) << BUFFER_SHIFT
    }

    /// The ring takes a completion.
    pub(super) fn told(&mut self, completion: Completion) {
        let first = (completion.flags >> BUFFER_SHIFT) as u16;
        let speaks_of_it = completion.flags & BUFFER != 0 && !completion.stale;
        if let Some(at) = self.told.iter().position(|filled| speaks_of_it && filled[0] == first) {
            let filled = self.told.remove(at).expect("it is there");
            filled.iter().for_each(|buffer| self.holders[usize::from(*buffer)] = Holder::Ring);
        }
    }

    /// None has been lost on the way.
    pub(super) fn assert_all_there(&self) {
        let handed_over = self.shared.tail().wrapping_sub(self.seen);
        let all = self.waiting.len() + usize::from(handed_over);
        assert_eq!(all, self.holders.len(), "buffers have got lost: {:?}", self.holders);
    }
}
