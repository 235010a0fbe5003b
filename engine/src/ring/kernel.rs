//! What a ring asks of the kernel once it is set up: to take entries, to be entered, to tell what completed.
//!
//! The boundary below which nothing of ours runs. The kernel is behind [`super::handle::Handle`]; tests put
//! one there that fails in every way a kernel may (`ring/faulty`). Which one it is is known when the ring
//! is compiled, so the calls are the same as without this.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::{cqueue, squeue};

/// How long an enter may sleep.
pub(crate) struct Sleep {
    pub(crate) at_most: Duration,
    /// Before this many microseconds no completion ends it unless there are all that were asked for (Linux
    /// 6.12); zero where that is not to be.
    pub(crate) at_least_us: u32,
}

/// The kernel's side of an open ring.
pub(crate) trait Kernel {
    /// Queues an entry; false where the queue is full.
    ///
    /// # Safety
    /// What the entry points at has to live until its last completion.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool;

    /// Entries that can still be queued before the next submission.
    fn room(&mut self) -> usize;

    /// Nothing is queued, nothing has completed, and the kernel has nothing to do for the ring that an enter
    /// would have done.
    fn is_idle(&mut self) -> bool;

    /// Hands over what is queued.
    ///
    /// # Errors
    /// As the kernel says.
    fn submit(&mut self) -> io::Result<usize>;

    /// Hands over what is queued, and sleeps until so many operations have completed or the time is over;
    /// with no time given, until then.
    ///
    /// # Errors
    /// As the kernel says.
    fn enter(&mut self, completions: usize, sleep: Option<Sleep>) -> io::Result<usize>;

    /// Takes the next of the operations that have completed.
    fn completion(&mut self) -> Option<cqueue::Entry>;

    /// Completions wait for room in the queue, which the next enter gives them.
    fn has_overflowed(&mut self) -> bool;

    /// Completions that were dropped for want of room.
    fn dropped(&mut self) -> u32;

    /// Puts a socket into a place of the file table, or takes it out with -1.
    ///
    /// # Errors
    /// As the kernel says.
    fn replace_file(&mut self, place: u32, fd: RawFd) -> io::Result<()>;

    /// Breaks a socket's connection, so that the kernel lets go of what it was to send.
    fn disconnect(&mut self, fd: RawFd);

    /// Takes these back, as far as they are registered; the kernel lets go of the memory before it returns.
    fn unregister_buffer_ring(&mut self, group: u16);
    fn unregister_buffers(&mut self);
    fn unregister_files(&mut self);
}
