//! The ring itself, with its own descriptor registered: who owns it, and the one place that shares it.
//!
//! The io-uring crate keeps the number of a registered ring descriptor in the submitter that registered it,
//! and each submitter borrows from the ring; so ring and submitter live and die together here. Not `Send`,
//! because a ring with SINGLE_ISSUER or a registered descriptor is of use to the thread that made it only.
#![expect(unsafe_code, reason = "pairs a ring with a borrow of it; each block says why it is sound")]

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{CompletionQueue, IoUring, Submitter, cqueue, squeue};

use super::kernel::{Kernel, Sleep};
use crate::sys;

/// A ring and its submitter.
pub(crate) struct Handle {
    /// The way into the kernel, by the registered descriptor where there is one.
    pub(super) submitter: Submitter<'static>,
    /// From `Box::into_raw`; shared with `submitter` until dropped, and never borrowed mutably.
    uring: NonNull<IoUring>,
}

impl Handle {
    /// Takes the ring over.
    pub(super) fn new(uring: IoUring) -> Self {
        let uring = NonNull::from(Box::leak(Box::new(uring)));
        // SAFETY: it was made just now and is freed by `drop` alone, after the last use of the submitter,
        // which never leaves this value.
        let submitter = unsafe { uring.as_ref() }.submitter();
        Self { submitter, uring }
    }

    /// Registers the ring's own descriptor, for every later call through the submitter.
    ///
    /// # Errors
    /// Where the kernel refuses (before Linux 5.18).
    pub(super) fn register_descriptor(&mut self) -> io::Result<()> {
        self.submitter.register_ring_fd()
    }

    /// The ring, for its parameters.
    pub(super) fn uring(&self) -> &IoUring {
        // SAFETY: alive until `drop`, and only ever shared.
        unsafe { self.uring.as_ref() }
    }

    /// What has completed.
    pub(super) fn completions(&mut self) -> CompletionQueue<'_> {
        // SAFETY: this view of the queue is the only one, for it borrows `self` exclusively.
        unsafe { self.uring().completion_shared() }
    }
}

impl Kernel for Handle {
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: this view of the queue is the only one, for `self` is borrowed exclusively and it is gone
        // on return; the entry is the caller's promise.
        unsafe { self.uring().submission_shared().push(entry).is_ok() }
    }

    fn room(&mut self) -> usize {
        // SAFETY: this view of the queue is the only one, for `self` is borrowed exclusively and it is gone
        // on return.
        let queue = unsafe { self.uring().submission_shared() };
        queue.capacity() - queue.len()
    }

    fn is_idle(&mut self) -> bool {
        let quiet = {
            // SAFETY: this view of the queue is the only one, for `self` is borrowed exclusively and it is
            // gone at the end of the block.
            let queue = unsafe { self.uring().submission_shared() };
            queue.is_empty() && !queue.taskrun() && !queue.cq_overflow()
        };
        quiet && self.completions().is_empty()
    }

    fn submit(&mut self) -> io::Result<usize> {
        self.submitter.submit()
    }

    fn enter(&mut self, completions: usize, sleep: Option<Sleep>) -> io::Result<usize> {
        let Some(Sleep { at_most, at_least_us }) = sleep else {
            return self.submitter.submit_and_wait(completions);
        };
        let timespec = Timespec::from(at_most);
        let args = SubmitArgs::new().timespec(&timespec).min_wait_usec(at_least_us);
        self.submitter.submit_with_args(completions, &args)
    }

    fn completion(&mut self) -> Option<cqueue::Entry> {
        self.completions().next()
    }

    fn has_overflowed(&mut self) -> bool {
        // SAFETY: this view of the queue is the only one, for `self` is borrowed exclusively and it is gone
        // on return.
        unsafe { self.uring().submission_shared() }.cq_overflow()
    }

    fn dropped(&mut self) -> u32 {
        self.completions().overflow()
    }

    fn replace_file(&mut self, place: u32, fd: RawFd) -> io::Result<()> {
        self.submitter.register_files_update(place, &[fd]).map(drop)
    }

    fn disconnect(&mut self, fd: RawFd) {
        // One that is not connected any more has nothing under way.
        let _ = sys::disconnect(fd);
    }

    fn unregister_buffer_ring(&mut self, group: u16) {
        let _ = self.submitter.unregister_buf_ring(group);
    }

    fn unregister_buffers(&mut self) {
        let _ = self.submitter.unregister_buffers();
    }

    fn unregister_files(&mut self) {
        let _ = self.submitter.unregister_files();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A registered descriptor would keep the ring, and all it holds, until the thread ends. It fails
        // where none is registered.
        let _ = self.submitter.unregister_ring_fd();
        // SAFETY: from `Box::leak`, freed nowhere else, and the submitter, though still there, is not used
        // again: it has nothing to do when dropped.
        drop(unsafe { Box::from_raw(self.uring.as_ptr()) });
    }
}
