//! The clock of the loops: the machine's monotonic one.
//!
//! A place of its own so that a test can put another one under a worker and its ring. What is measured or
//! waited for outside of the loops reads the machine's clock itself.

use std::time::Instant;

/// The time by which a worker's loop and its backend go.
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}
