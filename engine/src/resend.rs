//! When a response over datagrams has taken too long.
//!
//! Sees how many have come and when; what is then to be sent again is the flow's business.

use std::time::{Duration, Instant};

/// How long one may wait for the next response.
#[derive(Debug)]
pub(crate) struct Resend {
    after: Duration,
    due: Instant,
    /// Responses that had come when it was last looked at.
    heard: u64,
}

impl Resend {
    /// From now on.
    pub(crate) fn new(after: Duration, now: Instant) -> Self {
        Self { after, due: now + after, heard: 0 }
    }

    /// When nothing will have come for too long.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Requests go out only now, and cannot have been answered before.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.due = now + self.after;
    }

    /// Whether nothing has come for too long; so many responses have by now.
    pub(crate) fn is_due(&mut self, heard: u64, now: Instant) -> bool {
        let late = heard == self.heard && now >= self.due;
        if late || heard != self.heard {
            self.heard = heard;
            self.due = now + self.after;
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_when_nothing_has_come_for_so_long() {
        const MS: Duration = Duration::from_millis(1);
        let start = Instant::now();
        let mut resend = Resend::new(10 * MS, start);
        assert!(!resend.is_due(0, start + 9 * MS));
        assert!(!resend.is_due(1, start + 11 * MS));
        assert_eq!(resend.due(), start + 21 * MS);
        assert!(resend.is_due(1, start + 21 * MS));
        assert!(!resend.is_due(1, start + 22 * MS));
        assert_eq!(resend.due(), start + 31 * MS);
        resend.restart(start + 30 * MS);
        assert!(!resend.is_due(1, start + 39 * MS));
    }
}
