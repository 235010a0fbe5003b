//! How the ring waits for completions: asleep, or looking for them.

use std::io;
use std::time::Duration;

use io_uring::cqueue;

use super::Ring;
use super::kernel::{Kernel, Sleep};
use crate::clock;

/// Looks at the ring in one busy wait: some microseconds, so that the clock is looked at now and then.
const LOOKS: u32 = 256;
/// How often entries are handed over that the kernel does not take, before it is taken for one that never
/// does; so many times at once, and from then on after a pause, for what it lacks may be memory.
const ATTEMPTS: u32 = 100;
const ATTEMPTS_AT_ONCE: u32 = 10;
const PAUSE: Duration = Duration::from_millis(1);

impl<K: Kernel> Ring<K> {
    /// Looks for a while whether anything happens, and has it done.
    pub(super) fn look(&mut self) -> io::Result<()> {
        for _ in 0..LOOKS {
            if !self.uring.is_idle() {
                // It waits for nothing, and runs what the kernel has put off.
                entered(self.uring.enter(0, None))?;
                return self.begin_offers();
            }
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Has the kernel do what it has to do by now, without waiting for more. To ask for nothing would not run
    /// what it has put off.
    pub(super) fn look_in(&mut self) -> io::Result<()> {
        entered(self.uring.enter(1, Some(Sleep { at_most: Duration::ZERO, at_least_us: 0 })))
    }

    /// Sleeps until something completes or the time is over.
    pub(super) fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // From a sleep of no time nobody is woken.
        self.operations.wakeups += u64::from(timeout != Some(Duration::ZERO));
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
        entered(result)?;
        self.begin_offers()
    }

    /// What was offered has begun when the loop goes on, or the flow might offer what comes behind it before
    /// it is known to have gone: it does not hear of an enter that took only a part, or nothing.
    fn begin_offers(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.offered) {
            let all = self.facts.submission_entries;
            return self.submit_until(|room| room == all as usize);
        }
        Ok(())
    }

    /// A completion that had found no room in the queue. That of an offer must not come later than this turn,
    /// and a turn is taken to have brought all there is when the queue is empty.
    pub(super) fn late_completion(&mut self) -> Option<cqueue::Entry> {
        if !self.uring.has_overflowed() {
            return None;
        }
        if let Err(error) = entered(self.uring.enter(0, None)) {
            self.refused.get_or_insert(error);
        }
        self.uring.completion()
    }

    /// Hands over what is queued until there is so much room as it takes. What an enter does not take at once
    /// it may take a moment later.
    pub(super) fn submit_until(&mut self, enough: impl Fn(usize) -> bool) -> io::Result<()> {
        let mut refused = io::Error::from_raw_os_error(libc::EBUSY);
        for attempt in 0..ATTEMPTS {
            if enough(self.uring.room()) {
                return Ok(());
            }
            if attempt >= ATTEMPTS_AT_ONCE {
                clock::pause(PAUSE);
            }
            match self.uring.submit() {
                Err(error) if passes(&error) => refused = error,
                result => {
                    result?;
                }
            }
        }
        Err(refused)
    }
}

/// What entering the kernel came to.
fn entered(result: io::Result<usize>) -> io::Result<()> {
    match result {
        // In each case, look what is there.
        Err(error) if !passes(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Timed out, interrupted, without memory for now, or the kernel wants us to reap first.
fn passes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY))
}
