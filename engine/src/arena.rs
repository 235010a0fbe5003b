//! The worker's memory: one mapping, made before the clock starts, from which every payload buffer is cut.
//!
//! Names parts of itself by [`Span`], never by address; whoever turns a span into an address does it here,
//! where the bounds are checked. Does not know who holds a span: that is the backend's business.
#![expect(unsafe_code, reason = "maps memory and hands it to the kernel; each block says why it is sound")]

use std::io;
use std::ptr::NonNull;

use crate::facts::Backing;

/// A part of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Span {
    /// What is left of it behind its first `bytes`.
    pub(crate) fn skip(self, bytes: u32) -> Self {
        let bytes = bytes.min(self.length);
        Self { offset: self.offset + bytes, length: self.length - bytes }
    }

    /// Its first `bytes`, or all of it.
    pub(crate) fn first(self, bytes: u32) -> Self {
        Self { offset: self.offset, length: self.length.min(bytes) }
    }
}

/// Size of a huge page on every architecture we know to run on; a mapping of them is rounded up to it.
const HUGE_PAGE: usize = 2 << 20;
/// What a mapping of small pages is rounded up to: a multiple of their size on every architecture.
const SMALL_PAGES: usize = 64 << 10;

/// One private anonymous mapping.
pub(crate) struct Arena {
    base: NonNull<u8>,
    length: usize,
    backing: Backing,
    /// The kernel may still write to it, so it must never be unmapped.
    kept: bool,
}

// SAFETY: the mapping belongs to this value alone and is reachable from any thread of the process.
unsafe impl Send for Arena {}

impl Arena {
    /// Maps at least `bytes`, from huge pages where there are some and half of one is filled, every page
    /// already faulted in by the caller's thread, so that it lies on the node of the core that thread is
    /// pinned to.
    pub(crate) fn map(bytes: usize) -> io::Result<Self> {
        if bytes < HUGE_PAGE / 2 {
            return Self::map_small_pages(bytes);
        }
        let length = bytes.next_multiple_of(HUGE_PAGE);
        match map_huge_pages(length) {
            Ok(base) => Ok(Self::fault_in(base, length, Backing::HugePages)),
            Err(_) => Self::map_advised(length, libc::MADV_HUGEPAGE, Backing::TransparentHugePages),
        }
    }

    /// The same from small pages.
    pub(crate) fn map_small_pages(bytes: usize) -> io::Result<Self> {
        let length = bytes.next_multiple_of(SMALL_PAGES);
        Self::map_advised(length, libc::MADV_NOHUGEPAGE, Backing::SmallPages)
    }

    fn map_advised(length: usize, advice: libc::c_int, backing: Backing) -> io::Result<Self> {
        let base = map_anonymous(length, 0)?;
        // SAFETY: names exactly the mapping just made; the advice changes no contents.
        let advised = unsafe { libc::madvise(base.as_ptr().cast(), length, advice) };
        Ok(Self::fault_in(base, length, if advised == 0 { backing } else { Backing::SmallPages }))
    }

    fn fault_in(base: NonNull<u8>, length: usize, backing: Backing) -> Self {
        let mut arena = Self { base, length, backing, kept: false };
        // A fork without exec must not share pages that the kernel writes to.
        // SAFETY: names exactly our mapping.
        unsafe { libc::madvise(base.as_ptr().cast(), length, libc::MADV_DONTFORK) };
        arena.bytes_mut(Span { offset: 0, length: u32::try_from(length).unwrap_or(u32::MAX) }).fill(0);
        if arena.backing == Backing::TransparentHugePages && !arena.has_huge_pages() {
            arena.backing = Backing::SmallPages;
        }
        arena
    }

    /// Whether the kernel really used transparent huge pages: its advice call succeeds either way.
    fn has_huge_pages(&self) -> bool {
        let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return false };
        let (start, end) = (self.base.as_ptr().addr(), self.base.as_ptr().addr() + self.length);
        anonymous_huge_bytes(&maps, start, end) > 0
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn backing(&self) -> Backing {
        self.backing
    }

    /// Writes what messages carry into a span: the payload, repeated, or the sequence of [`crate::pattern`].
    pub(crate) fn fill(&mut self, span: Span, payload: Option<&[u8]>) {
        let bytes = self.bytes_mut(span);
        match payload {
            None => crate::pattern::fill(bytes),
            Some(payload) => bytes
                .chunks_mut(payload.len())
                .for_each(|piece| piece.copy_from_slice(&payload[..piece.len()])),
        }
    }

    /// The bytes of a span that the kernel does not hold.
    ///
    /// Panics when the span lies outside the arena.
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        let pointer = self.pointer(span);
        // SAFETY: in bounds (checked by `pointer`), initialised (filled when mapped), and not written
        // meanwhile: callers name only spans whose operation has completed, and writing through us
        // takes `&mut self`.
        unsafe { std::slice::from_raw_parts(pointer, span.length as usize) }
    }

    /// The same, to write to.
    ///
    /// Panics when the span lies outside the arena.
    pub(crate) fn bytes_mut(&mut self, span: Span) -> &mut [u8] {
        let pointer = self.pointer(span);
        // SAFETY: as in `bytes`, and exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(pointer, span.length as usize) }
    }

    /// The address of a span, for the kernel.
    ///
    /// Panics when the span lies outside the arena: a bug of ours, since spans come from the plan.
    pub(crate) fn pointer(&self, span: Span) -> *mut u8 {
        let end = span.offset as usize + span.length as usize;
        assert!(end <= self.length, "span {span:?} outside an arena of {} bytes", self.length);
        // SAFETY: the offset lies inside the one mapping that `base` points to.
        unsafe { self.base.as_ptr().add(span.offset as usize) }
    }

    /// Leaves the memory mapped for good, because the kernel may still write to it.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // SAFETY: our own mapping, and nobody holds a reference into it: references borrow from `self`, and
        // the kernel is done with it, or `keep` was called.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// Whether so many bytes more can be mapped at this moment.
///
/// # Errors
/// The kernel's.
pub(crate) fn check_room(bytes: usize) -> io::Result<()> {
    let base = map_anonymous(bytes, 0)?;
    // SAFETY: names exactly the mapping just made, to which nothing points.
    unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
    Ok(())
}

fn map_anonymous(length: usize, extra: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | extra,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Pages from the hugetlb pool, faulted in by a call that can fail: the pool promises them when they are
/// mapped, but a limit of the control group or the cpuset shows at the fault only, and touching them then
/// would kill the process by SIGBUS. Kernels without that call (before Linux 5.14) go without the pool.
fn map_huge_pages(length: usize) -> io::Result<NonNull<u8>> {
    let base = map_anonymous(length, libc::MAP_HUGETLB)?;
    // SAFETY: names exactly the mapping just made, to which nothing points yet.
    unsafe {
        if libc::madvise(base.as_ptr().cast(), length, libc::MADV_POPULATE_WRITE) == 0 {
            return Ok(base);
        }
        let error = io::Error::last_os_error();
        libc::munmap(base.as_ptr().cast(), length);
        Err(error)
    }
}

/// Bytes of anonymous huge pages in the mappings of `smaps` that overlap an address range.
fn anonymous_huge_bytes(smaps: &str, start: usize, end: usize) -> u64 {
    let mut inside = false;
    let mut total = 0;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some((low, high)) = first.split_once('-')
            && let (Ok(low), Ok(high)) = (usize::from_str_radix(low, 16), usize::from_str_radix(high, 16))
        {
            inside = low < end && high > start;
            continue;
        }
        if inside && first == "AnonHugePages:" {
            total += words.next().and_then(|w| w.parse::<u64>().ok()).unwrap_or(0) * 1024;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_can_be_written_and_read_to_its_end() {
        for (bytes, length) in
            [(1, SMALL_PAGES), (SMALL_PAGES + 1, 2 * SMALL_PAGES), (HUGE_PAGE / 2, HUGE_PAGE)]
        {
            let mut arena = Arena::map(bytes).unwrap();
            assert_eq!(arena.length(), length);
            assert!(length == HUGE_PAGE || arena.backing() == Backing::SmallPages);
            let last = Span { offset: length as u32 - 8, length: 8 };
            arena.bytes_mut(last).copy_from_slice(b"the last");
            assert_eq!(arena.bytes(last), b"the last");
        }
    }

    #[test]
    #[should_panic(expected = "outside an arena")]
    fn a_span_outside_is_refused() {
        let arena = Arena::map(1).unwrap();
        arena.pointer(Span { offset: SMALL_PAGES as u32 - 8, length: 9 });
    }

    #[test]
    fn huge_pages_are_counted_in_overlapping_mappings_only() {
        let smaps = "1000-3000 rw-p 00000000 00:00 0\nSize: 8 kB\nAnonHugePages:      4 kB\n\
                     3000-5000 rw-p 00000000 00:00 0 [heap]\nAnonHugePages:   2048 kB\n";
        assert_eq!(anonymous_huge_bytes(smaps, 0x3000, 0x4000), 2048 << 10);
        assert_eq!(anonymous_huge_bytes(smaps, 0x2fff, 0x3000), 4 << 10);
        assert_eq!(anonymous_huge_bytes(smaps, 0x5000, 0x6000), 0);
    }
}
