//! The receiver of either protocol.
//!
//! A stream of bytes ends with the peer's end of the stream, a stream of datagrams with an empty one; both
//! complete as a receive of nothing.

use super::{Flow, Next, retry_cancel};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::{Kind, Token};

/// What one receive brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// Part of a stream, or a datagram.
    Any,
    /// A datagram of this size; one of another size is the end.
    Exact(u32),
    /// Datagrams of this size, of which the last may be shorter. How many they are follows from the bytes.
    Datagrams(u32),
}

/// Receives until the peer ends the stream, the count is reached or it is stopped.
#[derive(Debug)]
pub(crate) struct Receive {
    limit: Option<u64>,
    pieces: Pieces,
    state: State,
    /// A receive is under way.
    armed: bool,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Receiving,
    /// The receive is being cancelled; then it is over with this result.
    Stopping(End),
    Over,
}

impl Receive {
    pub(crate) fn new(limit: Option<u64>, pieces: Pieces) -> Self {
        Self { limit, pieces, state: State::Receiving, armed: false, tally: Tally::default() }
    }

    fn arm(&mut self) -> Next {
        self.armed = true;
        Next::Receive
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = State::Over;
        Next::Finish(end)
    }

    fn received(&mut self, done: &Done) -> Next {
        self.armed = done.more;
        match done.result {
            Ok(0) => {
                let end = if let State::Stopping(end) = self.state { end } else { End::PeerClosed };
                return self.finish(end);
            }
            Ok(bytes) if matches!(self.pieces, Pieces::Exact(exact) if exact != bytes) => {
                if self.state == State::Receiving {
                    return self.stop(End::PeerClosed);
                }
            }
            // The datagram before it was the end.
            Ok(_) if self.state == State::Stopping(End::PeerClosed) => {}
            Ok(bytes) => {
                let pieces = match self.pieces {
                    Pieces::Any | Pieces::Exact(_) => 1,
                    Pieces::Datagrams(each) => bytes.div_ceil(each),
                };
                self.tally.bytes_received += u64::from(bytes);
                self.tally.receives += u64::from(pieces);
                self.tally.operations.coalesced_receives += u64::from(pieces > 1);
            }
            Err(Errno::NO_BUFFERS) => self.tally.operations.no_buffers += 1,
            Err(Errno::INTERRUPTED) => {}
            Err(Errno::CANCELED) if self.state != State::Receiving => {}
            Err(errno) => return self.finish(End::Failed(errno.0)),
        }
        match self.state {
            State::Stopping(end) if !self.armed => self.finish(end),
            State::Receiving if self.limit.is_some_and(|limit| self.tally.bytes_received >= limit) => {
                self.stop(End::Count)
            }
            State::Receiving if !self.armed => {
                self.tally.operations.rearmed += 1;
                self.arm()
            }
            _ => Next::Wait,
        }
    }
}

impl Flow for Receive {
    fn start(&mut self) -> Next {
        self.arm()
    }

    fn step(&mut self, done: &Done) -> Next {
        match (done.token.kind, self.state) {
            (_, State::Over) => Next::Wait,
            (Kind::Receive, _) => self.received(done),
            (Kind::Cancel, State::Stopping(_)) if retry_cancel(done) && self.armed => {
                Next::Cancel(Token::RECEIVE)
            }
            _ => Next::Wait,
        }
    }

    fn stop(&mut self, end: End) -> Next {
        match self.state {
            State::Receiving if self.armed => {
                self.state = State::Stopping(end);
                Next::Cancel(Token::RECEIVE)
            }
            State::Receiving | State::Stopping(_) => self.finish(end),
            State::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CANCELED, RESET, done, missed, received};
    use super::*;

    #[test]
    fn a_receive_that_ends_is_armed_again_until_the_stream_ends() {
        let mut flow = Receive::new(None, Pieces::Any);
        assert_eq!(flow.start(), Next::Receive);
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.step(&received(10, false)), Next::Receive);
        assert_eq!(flow.step(&done(Token::RECEIVE, Err(Errno::NO_BUFFERS), false)), Next::Receive);
        assert_eq!(flow.step(&received(0, false)), Next::Finish(End::PeerClosed));
        let tally = flow.tally();
        assert_eq!((tally.bytes_received, tally.receives), (20, 2));
        assert_eq!((tally.operations.rearmed, tally.operations.no_buffers), (2, 1));
    }

    #[test]
    fn a_receiver_with_its_count_cancels_and_takes_what_is_under_way() {
        let mut flow = Receive::new(Some(15), Pieces::Any);
        flow.start();
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.step(&received(10, true)), Next::Cancel(Token::RECEIVE));
        assert_eq!(flow.step(&missed()), Next::Cancel(Token::RECEIVE));
        assert_eq!(flow.step(&done(Token::RECEIVE, CANCELED, false)), Next::Finish(End::Count));
        let mut single = Receive::new(Some(15), Pieces::Any);
        single.start();
        assert_eq!(single.step(&received(15, false)), Next::Finish(End::Count));
        let mut reset = Receive::new(None, Pieces::Any);
        reset.start();
        assert_eq!(reset.step(&done(Token::RECEIVE, RESET, false)), Next::Finish(End::Failed(104)));
    }

    #[test]
    fn a_second_stop_finishes_at_once() {
        let mut flow = Receive::new(None, Pieces::Any);
        flow.start();
        assert_eq!(flow.stop(End::Timer), Next::Cancel(Token::RECEIVE));
        assert_eq!(flow.stop(End::DrainTimeout), Next::Finish(End::DrainTimeout));
        assert_eq!(flow.stop(End::Stopped), Next::Wait);
    }

    #[test]
    fn an_interrupted_receive_is_repeated() {
        let mut flow = Receive::new(None, Pieces::Any);
        flow.start();
        let interrupted = done(Token::RECEIVE, Err(Errno::INTERRUPTED), false);
        assert_eq!(flow.step(&interrupted), Next::Receive);
    }

    #[test]
    fn an_empty_datagram_is_the_end_of_a_stream_of_them() {
        let mut flow = Receive::new(None, Pieces::Any);
        flow.start();
        for bytes in [10, 1, 65_507] {
            assert_eq!(flow.step(&received(bytes, true)), Next::Wait);
        }
        assert_eq!(flow.step(&received(0, false)), Next::Finish(End::PeerClosed));
        assert_eq!((flow.tally().bytes_received, flow.tally().receives), (65_518, 3));
    }

    #[test]
    fn a_receive_of_many_datagrams_counts_each_of_them() {
        let mut flow = Receive::new(Some(3000), Pieces::Datagrams(100));
        flow.start();
        for bytes in [100, 2000, 250, 1] {
            assert_eq!(flow.step(&received(bytes, true)), Next::Wait);
        }
        let tally = flow.tally();
        assert_eq!((tally.bytes_received, tally.receives), (2351, 1 + 20 + 3 + 1));
        assert_eq!(tally.operations.coalesced_receives, 2);
        assert_eq!(flow.step(&received(1000, true)), Next::Cancel(Token::RECEIVE));
        let mut ended = Receive::new(None, Pieces::Datagrams(100));
        ended.start();
        assert_eq!(ended.step(&received(0, true)), Next::Finish(End::PeerClosed));
    }

    #[test]
    fn a_datagram_of_another_size_ends_an_exact_stream_uncounted_with_all_behind_it() {
        let mut flow = Receive::new(None, Pieces::Exact(10));
        flow.start();
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.step(&received(9, true)), Next::Cancel(Token::RECEIVE));
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.step(&received(4, true)), Next::Wait);
        assert_eq!(flow.step(&done(Token::RECEIVE, CANCELED, false)), Next::Finish(End::PeerClosed));
        assert_eq!((flow.tally().bytes_received, flow.tally().receives), (10, 1));
        let mut single = Receive::new(None, Pieces::Exact(10));
        single.start();
        assert_eq!(single.step(&received(11, false)), Next::Finish(End::PeerClosed));
        assert_eq!(single.tally().receives, 0);
    }
}
