//! How the ring waits for completions: asleep, or looking for them.

use std::io;
use std::time::Duration;

use super::Ring;
use super::kernel::{Kernel, Sleep};

/// Looks at the ring in one busy wait: some microseconds, so that the clock is looked at now and then.
const LOOKS: u32 = 256;

impl<K: Kernel> Ring<K> {
    /// Looks for a while whether anything happens, and has it done.
    pub(super) fn look(&mut self) -> io::Result<()> {
        for _ in 0..LOOKS {
            if !self.uring.is_idle() {
                // It waits for nothing, and runs what the kernel has put off.
                return entered(self.uring.enter(0, None));
            }
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Sleeps until something completes or the time is over.
    pub(super) fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.operations.wakeups += 1;
        let at_least_us = u32::try_from(self.at_least.as_micros()).unwrap_or(u32::MAX);
        let result = match timeout {
            None if at_least_us == 0 => self.uring.enter(1, None),
            // For so long the kernel waits for more than there ever are; after that, for one.
            _ if at_least_us > 0 && timeout.is_none_or(|timeout| timeout > self.at_least) => {
                let at_most = timeout.unwrap_or(Duration::from_secs(3600));
                let all = self.facts.completion_entries as usize;
                self.uring.enter(all, Some(Sleep { at_most, at_least_us }))
            }
            timeout => {
                let at_most = timeout.unwrap_or_default();
                self.uring.enter(1, Some(Sleep { at_most, at_least_us: 0 }))
            }
        };
        entered(result)
    }
}

/// What entering the kernel came to.
fn entered(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        // Timed out, interrupted, or the kernel wants us to reap first: in each case, look what is there.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
