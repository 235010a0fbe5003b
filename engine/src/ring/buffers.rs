//! The ring of provided buffers: memory the kernel picks from when data arrives.
//!
//! Keeps the order in which buffers were handed over, because one completion may cover several consecutive
//! ones (a bundle) and names only the first. Does not own the memory; both ring and buffers are parts of the
//! arena.
#![expect(unsafe_code, reason = "shares a ring of entries with the kernel; each block says why it is sound")]

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::arena::{Arena, Span};

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Our side of the shared ring.
pub(super) struct BufferRing {
    /// Where the shared entries lie.
    ring: Span,
    /// The memory that buffer `n` is the `n`-th part of.
    memory: Span,
    buffer_bytes: u32,
    /// One less than the number of entries, which is a power of two.
    mask: u16,
    /// Entries handed over so far, modulo 2^16: the kernel's tail.
    tail: u16,
    /// Which buffer was handed over at a turn (a value of `tail`), for the last two rounds: what is handed
    /// over now must not hide what a completion still to be looked at has taken.
    handed: Vec<u16>,
    /// The turn at which a buffer was handed over last.
    turn: Vec<u16>,
    /// The turn whose buffer comes back next, for completions come in the order of the buffers.
    next: u16,
    /// Buffers that no completion named although the kernel has gone past them.
    skipped: u64,
}

impl BufferRing {
    /// All `count` buffers (a power of two) handed over; the kernel sees them once the ring is registered.
    pub(super) fn new(arena: &Arena, ring: Span, memory: Span, buffer_bytes: u32, count: u16) -> Self {
        assert!(count.is_power_of_two() && u32::from(count) * buffer_bytes <= memory.length);
        let mut this = Self {
            ring,
            memory,
            buffer_bytes,
            mask: count - 1,
            tail: 0,
            handed: vec![0; 2 * usize::from(count)],
            turn: vec![0; usize::from(count)],
            next: 0,
            skipped: 0,
        };
        for buffer in 0..count {
            this.hand_over(arena, buffer);
        }
        this.publish(arena);
        this
    }

    pub(super) fn entries(&self) -> u16 {
        self.mask + 1
    }

    /// The buffers that `bytes` from buffer `first` on lie in, in the order of the stream. A completion
    /// without bytes may still have taken its buffer.
    fn taken(&self, first: u16, bytes: u32) -> impl Iterator<Item = u16> + use<'_> {
        let count = bytes.div_ceil(self.buffer_bytes).max(1).min(u32::from(self.entries())) as u16;
        let start = self.turn.get(usize::from(first)).copied().unwrap_or(0);
        (0..count).map(move |n| self.handed_at(start.wrapping_add(n)))
    }

    /// The received bytes, buffer by buffer.
    pub(super) fn spans(&self, first: u16, bytes: u32) -> impl Iterator<Item = Span> + use<'_> {
        self.taken(first, bytes).enumerate().map(move |(n, buffer)| {
            let before = n as u32 * self.buffer_bytes;
            self.span(buffer).first(bytes - before.min(bytes))
        })
    }

    /// Hands the buffers of a completion back to the kernel; completions come back in their order.
    ///
    /// Some kernels end a bundle in the midst of a buffer and go on in the next one (6.13.11 to 6.14.8), so
    /// that more buffers are taken than the bytes say. Left out here, they would be gone for good, and in the
    /// end there would be none to receive into. The next completion shows them.
    pub(super) fn give_back(&mut self, arena: &Arena, first: u16, bytes: u32) {
        let start = self.turn.get(usize::from(first)).copied().unwrap_or(0);
        // Below the number of entries: each buffer was handed over once in the last round.
        let skipped = start.wrapping_sub(self.next);
        self.skipped += u64::from(skipped);
        let count = (skipped + self.taken(first, bytes).count() as u16).min(self.entries());
        for _ in 0..count {
            let buffer = self.handed_at(self.next);
            self.hand_over(arena, buffer);
            self.next = self.next.wrapping_add(1);
        }
        self.publish(arena);
    }

    /// How many buffers were skipped so far. Always zero unless the kernel has a defect.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    fn handed_at(&self, turn: u16) -> u16 {
        self.handed[usize::from(turn) & (self.handed.len() - 1)]
    }

    fn span(&self, buffer: u16) -> Span {
        Span { offset: self.memory.offset + u32::from(buffer) * self.buffer_bytes, length: self.buffer_bytes }
    }

    /// Writes the next entry; the kernel does not look at it before [`Self::publish`].
    fn hand_over(&mut self, arena: &Arena, buffer: u16) {
        let place = self.tail & self.mask;
        let address = arena.pointer(self.span(buffer));
        let entries = arena.pointer(self.ring).cast::<BufRingEntry>();
        // SAFETY: `place` is below the number of entries, for which `ring` has room, and the span is aligned
        // to a page. The kernel reads entries between its head and the published tail only, and this
        // one lies beyond: a buffer comes back only after the kernel has taken its entry, so there is
        // always a free place.
        let entry = unsafe { &mut *entries.add(usize::from(place)) };
        entry.set_addr(address.expose_provenance() as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        let rounds = self.handed.len() - 1;
        self.handed[usize::from(self.tail) & rounds] = buffer;
        self.turn[usize::from(buffer)] = self.tail;
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self, arena: &Arena) {
        let entries = arena.pointer(self.ring).cast::<BufRingEntry>();
        // SAFETY: the tail lies inside the first entry, aligned for it, and kernel and we both treat it as
        // atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        // Release: the entries written above are visible before the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> (Arena, BufferRing) {
        let arena = Arena::map(1).unwrap();
        let ring = ring_in(&arena);
        (arena, ring)
    }

    fn ring_in(arena: &Arena) -> BufferRing {
        let memory = Span { offset: 4096, length: 8 * 512 };
        BufferRing::new(arena, Span { offset: 0, length: 128 }, memory, 512, 8)
    }

    fn offsets(ring: &BufferRing, first: u16, bytes: u32) -> Vec<(u32, u32)> {
        ring.spans(first, bytes).map(|s| ((s.offset - 4096) / 512, s.length)).collect()
    }

    #[test]
    fn a_bundle_covers_consecutive_places() {
        let (_, ring) = ring();
        assert_eq!(offsets(&ring, 2, 512), [(2, 512)]);
        assert_eq!(offsets(&ring, 2, 1025), [(2, 512), (3, 512), (4, 1)]);
        assert_eq!(offsets(&ring, 7, 600), [(7, 512), (0, 88)]);
        assert_eq!(offsets(&ring, 3, 0), [(3, 0)]);
    }

    #[test]
    fn skipped_buffers_are_counted_and_go_back_with_the_next_completion() {
        let (arena, mut ring) = ring();
        ring.give_back(&arena, 0, 512);
        assert_eq!((ring.tail, ring.skipped()), (9, 0));
        // 600 bytes in two buffers by the count, but the kernel took a third: 1, 2 and 3.
        ring.give_back(&arena, 1, 600);
        ring.give_back(&arena, 4, 1);
        assert_eq!((ring.tail, ring.skipped()), (13, 1));
        assert_eq!(offsets(&ring, 3, 1024), [(3, 512), (4, 512)]);
    }

    #[test]
    fn the_tail_wraps_at_sixteen_bits() {
        let (arena, mut ring) = ring();
        for turn in 0..(1 << 16) {
            let buffer = (turn % 8) as u16;
            assert_eq!(offsets(&ring, buffer, 1), [(u32::from(buffer), 1)]);
            ring.give_back(&arena, buffer, 1);
        }
        assert_eq!(ring.tail, 8);
    }

    /// The kernel's side, played by reading the shared entries: whatever bundles it fills, and however late
    /// they are looked at, it never has a buffer that we have, and both see them in the same order.
    #[test]
    fn no_buffer_is_ever_on_both_sides() {
        let (arena, _) = ring();
        for seed in 1..200u32 {
            let mut ring = ring_in(&arena);
            let mut random = seed.wrapping_mul(0x9e37_79b9) | 1;
            let mut below = |n: u32| {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                random % n
            };
            let bid = |turn: u16| {
                let entry = Span { offset: u32::from(turn & 7) * 16, length: 16 };
                u16::from_le_bytes(arena.bytes(entry)[12..14].try_into().unwrap())
            };
            let mut head = 0u16;
            let mut filled = std::collections::VecDeque::new();
            for _ in 0..100 {
                let free = u32::from(ring.tail.wrapping_sub(head));
                if free > 0 && below(2) == 0 {
                    let bytes = 1 + below(free * 512);
                    let buffers: Vec<u16> =
                        (0..bytes.div_ceil(512) as u16).map(|n| bid(head.wrapping_add(n))).collect();
                    head = head.wrapping_add(buffers.len() as u16);
                    filled.push_back((buffers, bytes));
                } else if let Some((buffers, bytes)) = filled.pop_front() {
                    let seen: Vec<u16> = ring.taken(buffers[0], bytes).collect();
                    assert_eq!(seen, buffers, "seed {seed}");
                    ring.give_back(&arena, buffers[0], bytes);
                }
                let theirs = (0..ring.tail.wrapping_sub(head)).map(|n| bid(head.wrapping_add(n)));
                let mut all: Vec<u16> =
                    theirs.chain(filled.iter().flat_map(|(buffers, _)| buffers.iter().copied())).collect();
                all.sort_unstable();
                assert_eq!(all, (0..8).collect::<Vec<u16>>(), "seed {seed}");
            }
        }
    }
}
