//! The clock of the loops: the machine's monotonic one.
//!
//! A place of its own so that tests can put a simulated one under a worker and its ring, which the simulated
//! kernel moves on: a run then takes no longer than its work, and the same seed always the same way. What is
//! measured or waited for outside of the loops reads the machine's clock itself.

#[cfg(not(test))]
use std::time::{Duration, Instant};

/// The time by which a worker's loop and its backend go.
#[cfg(not(test))]
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets time go by.
#[cfg(not(test))]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

#[cfg(test)]
pub(crate) use simulated::{now, pause};

/// The clock of a thread that simulates one, and the machine's on any other.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    pub(crate) fn now() -> Instant {
        NOW.get().unwrap_or_else(Instant::now)
    }

    /// Stops this thread's clock, which from now on goes by [`advance`] alone.
    pub(crate) fn start() -> Instant {
        NOW.set(Some(now()));
        now()
    }

    pub(crate) fn advance(by: Duration) {
        NOW.set(Some(now() + by));
    }

    pub(crate) fn pause(length: Duration) {
        if NOW.get().is_some() { advance(length) } else { std::thread::sleep(length) }
    }
}
