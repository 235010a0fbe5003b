//! What the simulated kernel does to memory, and how its entries look: all that is `unsafe` about it.
//!
//! Reads submission entries, makes completion entries, and reads and writes memory that a ring has lent it.
//! When it may do so is decided elsewhere.
#![expect(unsafe_code, reason = "reads and writes memory as a kernel does; each block says why it is sound")]

use std::mem::transmute;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{cqueue, squeue};

/// A submission entry, as far as a ring makes use of it (struct io_uring_sqe of the kernel's io_uring.h).
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) opcode: u8,
    /// IOSQE_*.
    pub(super) flags: u8,
    /// IORING_RECV_MULTISHOT and its like.
    pub(super) options: u16,
    pub(super) fd: i32,
    pub(super) address: u64,
    pub(super) length: u32,
    /// MSG_* of sends and receives.
    pub(super) message_flags: u32,
    pub(super) user_data: u64,
}

impl Entry {
    pub(super) fn read(entry: &squeue::Entry) -> Self {
        // SAFETY: both are 64 bytes, and all of the entry is initialised: the crate makes each from zeroes.
        let bytes: [u8; 64] = unsafe { transmute(entry.clone()) };
        let u16_at = |at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("two bytes"));
        let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Self {
            opcode: bytes[0],
            flags: bytes[1],
            options: u16_at(2),
            fd: u32_at(4).cast_signed(),
            address: u64_at(16),
            length: u32_at(24),
            message_flags: u32_at(28),
            user_data: u64_at(32),
        }
    }
}

/// A completion entry (struct io_uring_cqe).
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
    /// It is of nothing that was under way.
    pub(super) stale: bool,
}

impl Completion {
    pub(super) fn entry(self) -> cqueue::Entry {
        let Self { user_data, result, flags, .. } = self;
        let words = [user_data, u64::from(result.cast_unsigned()) | u64::from(flags) << 32];
        // The two halves of the second word lie in the order of their addresses on such a machine only.
        const { assert!(cfg!(target_endian = "little")) };
        // SAFETY: both are 16 bytes without padding, and every pattern of them is a completion.
        unsafe { transmute::<[u64; 2], cqueue::Entry>(words) }
    }
}

/// Memory that a ring has lent to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lent {
    address: u64,
    pub(super) length: u32,
}

impl Lent {
    /// # Safety
    /// The memory is part of an arena, which stays mapped for as long as this or a copy of it is used, and
    /// which nobody borrows from during a call into the simulated kernel.
    pub(super) unsafe fn new(address: u64, length: u32) -> Self {
        Self { address, length }
    }

    fn pointer(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.address as usize)
    }

    pub(super) fn part(self, from: u32, length: u32) -> Self {
        assert!(u64::from(from) + u64::from(length) <= u64::from(self.length), "part of {self:?}");
        Self { address: self.address + u64::from(from), length }
    }

    pub(super) fn read(self) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        // SAFETY: mapped and not borrowed by the promise made to `new`; the target is memory of its own.
        unsafe { self.pointer().copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        bytes
    }

    pub(super) fn write(self, bytes: &[u8]) {
        assert!(bytes.len() <= self.length as usize, "{} bytes into {self:?}", bytes.len());
        // SAFETY: mapped and not borrowed by the promise made to `new`; the source is memory of its own.
        unsafe { bytes.as_ptr().copy_to_nonoverlapping(self.pointer(), bytes.len()) };
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        let end = |lent: Self| lent.address + u64::from(lent.length);
        self.length > 0 && other.length > 0 && self.address < end(other) && other.address < end(self)
    }

    /// Whether it is mapped, as the machine's own kernel sees it.
    pub(super) fn is_mapped(self) -> bool {
        let page = self.pointer().map_addr(|address| address & !4095);
        let mut present = 0;
        // SAFETY: looks at the page's place in the address space, not at the page, and writes one byte of
        // ours.
        unsafe { libc::mincore(page.cast(), 4096, &raw mut present) == 0 }
    }

    /// Unmaps an arena that was left to the kernel, with which the simulated one is through.
    ///
    /// # Safety
    /// This is all of an arena that was kept, and neither it nor a part of it is used any more.
    pub(super) unsafe fn unmap(self) {
        // SAFETY: names a whole mapping that nobody else unmaps or uses.
        unsafe { libc::munmap(self.pointer().cast(), self.length as usize) };
    }
}

/// The ring of provided buffers, from the kernel's side (struct io_uring_buf_ring).
pub(super) struct SharedRing {
    entries: Lent,
}

/// Bytes of struct io_uring_buf, and where its parts lie.
const BUFFER_ENTRY: u32 = 16;
const TAIL_AT: u32 = 14;

impl SharedRing {
    pub(super) fn new(entries: Lent) -> Self {
        Self { entries }
    }

    pub(super) fn tail(&self) -> u16 {
        let tail = self.entries.part(TAIL_AT, 2).pointer().cast::<u16>();
        // SAFETY: mapped by the promise made for `entries`, aligned as part of a page-aligned ring, and only
        // ever written as an atomic.
        unsafe { AtomicU16::from_ptr(tail) }.load(Ordering::Acquire)
    }

    /// The buffer in a place, and its number. The memory is part of the same arena as the ring.
    pub(super) fn entry(&self, place: u16) -> (Lent, u16) {
        let bytes = self.entries.part(u32::from(place) * BUFFER_ENTRY, BUFFER_ENTRY).read();
        let address = u64::from_ne_bytes(bytes[..8].try_into().expect("eight bytes"));
        let length = u32::from_ne_bytes(bytes[8..12].try_into().expect("four bytes"));
        (Lent { address, length }, u16::from_ne_bytes([bytes[12], bytes[13]]))
    }
}
