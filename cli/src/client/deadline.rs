//! How long the client waits for what.
//!
//! Every wait on the network has one of these bounds, and each covers whole frames: a netserver that sends a
//! byte now and then gains nothing.

use std::time::{Duration, Instant};

/// Bounds of the client's waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Name resolution and the control connection together; also the start of a netserver of our own.
    pub(crate) connect: Duration,
    /// A reply that needs no test to be run first. A serial netserver answers once it is free.
    pub(crate) reply: Duration,
    /// The netserver's end of the data connection, once all is sent.
    pub(crate) drain: Duration,
    /// One frame to be taken by the kernel.
    pub(crate) write: Duration,
    /// Results, past the time at which the netserver's own timer ends the test.
    pub(crate) results_slack: Duration,
    /// The report, which is ready when it is asked for and which a result can do without.
    pub(crate) report: Duration,
    /// The netserver's end of the control connection after ours.
    pub(crate) close: Duration,
}

/// Seconds that netperf's netserver waits past the end of a receiving test.
const NETSERVER_GRACE: Duration = Duration::from_secs(4);

impl Deadlines {
    /// The usual bounds, none of them longer than `patience`.
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        let bound = |seconds| {
            let usual = Duration::from_secs(seconds);
            patience.map_or(usual, |patience| usual.min(patience))
        };
        Self {
            connect: bound(10),
            reply: bound(30),
            drain: bound(20),
            write: bound(10),
            results_slack: bound(15),
            report: bound(5),
            close: bound(5),
        }
    }

    /// netperf's own bounds. It has none for connecting, for the peer's end of the data connection and for
    /// writing, where these are as long as its longest.
    pub(crate) fn netperf() -> Self {
        let longest = Duration::from_secs(120);
        Self {
            connect: longest,
            reply: longest,
            drain: longest,
            write: longest,
            results_slack: longest,
            report: longest,
            close: Duration::from_secs(60),
        }
    }

    /// When results have to be there, for a test of this length that was started at `started` and that our
    /// end has just finished; `None` is a test without a time limit, or one that was stopped.
    pub(crate) fn results_by(&self, started: Instant, length: Option<Duration>) -> Instant {
        let timer = started + length.unwrap_or_default() + NETSERVER_GRACE;
        // A netserver's timer matters only where it has not seen our end of the stream.
        timer.max(Instant::now()) + self.results_slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_shortens_and_never_lengthens() {
        let short = Deadlines::new(Some(Duration::from_millis(200)));
        assert_eq!(short.reply, Duration::from_millis(200));
        let long = Deadlines::new(Some(Duration::from_secs(100)));
        assert_eq!(long.reply, Duration::from_secs(30));
    }

    #[test]
    fn results_are_awaited_past_the_netservers_own_timer() {
        let deadlines = Deadlines::new(None);
        let started = Instant::now();
        let by = deadlines.results_by(started, Some(Duration::from_secs(10)));
        assert_eq!(by - started, Duration::from_secs(10 + 4 + 15));
        let by = deadlines.results_by(started, None);
        assert_eq!(by - started, Duration::from_secs(4 + 15));
    }
}
