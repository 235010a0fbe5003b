//! Reading on when all is measured, until the peer has closed.
//!
//! Counts nothing. A connection closed with data under way is reset, which would cost the peer its results.

use super::{Flow, Next};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::Kind;

/// Receives until the peer ends the stream or it is stopped.
#[derive(Debug, Default)]
pub(crate) struct Linger;

impl Flow for Linger {
    fn start(&mut self) -> Next {
        Next::Receive
    }

    fn step(&mut self, done: &Done) -> Next {
        match (done.token.kind, done.result) {
            (Kind::Receive, Ok(0)) => Next::Finish(End::PeerClosed),
            (Kind::Receive, Ok(_) | Err(Errno::NO_BUFFERS | Errno::INTERRUPTED)) if done.more => Next::Wait,
            (Kind::Receive, Ok(_) | Err(Errno::NO_BUFFERS | Errno::INTERRUPTED)) => Next::Receive,
            (Kind::Receive, Err(errno)) => Next::Finish(End::Failed(errno.0)),
            // Late ones of the flow before.
            _ => Next::Wait,
        }
    }

    fn stop(&mut self, end: End) -> Next {
        Next::Finish(end)
    }

    fn tally(&self) -> Tally {
        Tally::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{RESET, done, missed, received};
    use super::*;
    use crate::token::Token;

    #[test]
    fn it_reads_until_the_peer_closes_and_counts_nothing() {
        let mut flow = Linger;
        assert_eq!(flow.start(), Next::Receive);
        assert_eq!(flow.step(&missed()), Next::Wait);
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.step(&received(10, false)), Next::Receive);
        let empty = done(Token::RECEIVE, Err(Errno::NO_BUFFERS), false);
        assert_eq!(flow.step(&empty), Next::Receive);
        assert_eq!(flow.step(&received(0, false)), Next::Finish(End::PeerClosed));
        assert_eq!(flow.tally(), Tally::default());
    }

    #[test]
    fn a_reset_or_a_stop_ends_it_at_once() {
        assert_eq!(Linger.step(&done(Token::RECEIVE, RESET, false)), Next::Finish(End::Failed(104)));
        assert_eq!(Linger.stop(End::Stopped), Next::Finish(End::Stopped));
    }
}
