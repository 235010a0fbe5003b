//! A ring without memory and sockets, whose operations do nothing.
//!
//! Measures what entering the kernel and reaping cost by themselves; no run uses it.
#![expect(unsafe_code, reason = "queues entries; the block says why it is sound")]

use io_uring::opcode;

use super::handle::Handle;
use super::kernel::Kernel;
use super::setup;
use crate::error::Error;

/// The ring.
pub(crate) struct NopRing(Handle);

impl NopRing {
    /// # Errors
    /// [`Error::UringRefused`] says who refuses.
    pub(crate) fn open() -> Result<Self, Error> {
        let mut uring = Handle::new(setup::bare()?);
        // Without it every enter looks the descriptor up, which older kernels do for runs, too.
        let _ = uring.register_descriptor();
        Ok(Self(uring))
    }

    /// Submits so many operations with one call, and reaps what has completed.
    pub(crate) fn turn(&mut self, operations: u32) -> u32 {
        for _ in 0..operations {
            let entry = opcode::Nop::new().build();
            // SAFETY: the entry points at no memory.
            if !unsafe { self.0.push(&entry) } {
                break;
            }
        }
        // What goes wrong shows in the count.
        let _ = self.0.submitter.submit_and_wait(operations as usize);
        self.0.completions().count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_submitted_comes_back() {
        let Ok(mut ring) = NopRing::open() else { return };
        for operations in [1, 7, 128] {
            assert_eq!(ring.turn(operations), operations);
        }
    }
}
