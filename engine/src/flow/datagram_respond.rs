//! The responder over datagrams.
//!
//! Answers each datagram with another. An empty one is the end; one of another size is answered like any
//! other, or is a failure where the size is agreed on.

use super::datagrams::Datagrams;
use super::{Flow, Messages, Next};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::Kind;

/// Answers requests until an empty datagram comes, the count is reached or it is stopped.
#[derive(Debug)]
pub(crate) struct DatagramRespond {
    /// The only size that is answered.
    exact: Option<u32>,
    /// Requests to answer; `None` goes on until the peer ends.
    limit: Option<u64>,
    requests: u64,
    responses: Datagrams,
    state: State,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// The last responses go out; then it is over, by its count.
    Ending,
    /// The peer has ended; over with the turn, which may still have something to say of the last responses.
    Closed,
    Over,
}

impl DatagramRespond {
    pub(crate) fn new(responses: Messages, exact: Option<u32>, limit: Option<u64>) -> Self {
        Self {
            exact,
            limit,
            requests: 0,
            responses: Datagrams::new(responses),
            state: State::Running,
            tally: Tally::default(),
        }
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = State::Over;
        Next::Finish(end)
    }

    fn received(&mut self, done: &Done) -> Next {
        match (done.result, self.state) {
            (_, State::Ending | State::Closed | State::Over) => return Next::Wait,
            (Ok(0), State::Running) => {
                self.state = State::Closed;
                return Next::Wait;
            }
            (Ok(bytes), State::Running) if self.exact.is_some_and(|exact| exact != bytes) => {
                return self.finish(End::Failed(Errno::MESSAGE_SIZE.0));
            }
            (Ok(bytes), State::Running) => {
                self.tally.bytes_received += u64::from(bytes);
                self.tally.receives += 1;
                self.requests += 1;
                self.responses.owe(1);
                if self.limit.is_some_and(|limit| self.requests >= limit) {
                    self.state = State::Ending;
                    return Next::Wait;
                }
            }
            (Err(Errno::NO_BUFFERS), _) => self.tally.operations.no_buffers += 1,
            (Err(Errno::INTERRUPTED), _) => {}
            (Err(errno), State::Running) => return self.finish(End::Failed(errno.0)),
        }
        if done.more {
            return Next::Wait;
        }
        self.tally.operations.rearmed += 1;
        Next::Receive
    }
}

impl Flow for DatagramRespond {
    const SETTLES: bool = true;

    fn start(&mut self) -> Next {
        Next::Receive
    }

    fn step(&mut self, done: &Done) -> Next {
        match (done.token.kind, self.state) {
            (_, State::Over) => Next::Wait,
            (Kind::Receive, _) => self.received(done),
            (Kind::Offer | Kind::Send, _) => match self.responses.completed(done) {
                // Nobody waits for them any more.
                Ok(()) | Err(_) if self.state == State::Closed => Next::Wait,
                Ok(()) => Next::Wait,
                Err(errno) => self.finish(End::Failed(errno.0)),
            },
            _ => Next::Wait,
        }
    }

    fn settle(&mut self) -> Next {
        match self.state {
            State::Running => self.responses.next().unwrap_or(Next::Wait),
            State::Ending if self.responses.is_empty() => self.finish(End::Count),
            // An offer would not say that it has gone.
            State::Ending => self.responses.send().map_or(Next::Wait, Next::SendLast),
            State::Closed => self.finish(End::PeerClosed),
            State::Over => Next::Wait,
        }
    }

    fn stop(&mut self, end: End) -> Next {
        match self.state {
            State::Running | State::Ending | State::Closed => self.finish(end),
            State::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = self.tally;
        self.responses.count(&mut tally);
        tally.transactions = tally.messages_sent;
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{done, received, sent};
    use super::super::{Batch, InBursts};
    use super::*;
    use crate::token::Token;

    fn responder(exact: Option<u32>, limit: Option<u64>) -> DatagramRespond {
        let messages =
            Messages { message_bytes: 20, slots: 4, together: 4, offers: true, bursts: InBursts::default() };
        let mut flow = DatagramRespond::new(messages, exact, limit);
        assert_eq!(flow.start(), Next::Receive);
        flow
    }

    fn batch(slot: u32, messages: u32) -> Batch {
        Batch { slot, skip: 0, messages }
    }

    #[test]
    fn each_datagram_is_answered_until_an_empty_one_comes() {
        let mut flow = responder(None, None);
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.step(&received(3, false)), Next::Receive);
        assert_eq!(flow.settle(), Next::Offer(batch(0, 2)));
        // The end may come before what the turn has to say of an offer.
        assert_eq!(flow.step(&received(0, false)), Next::Wait);
        assert_eq!(flow.step(&done(Token::offer(1), Err(Errno::NO_BUFFERS), false)), Next::Wait);
        assert_eq!(flow.settle(), Next::Finish(End::PeerClosed));
        let tally = flow.tally();
        assert_eq!((tally.transactions, tally.bytes_received, tally.bytes_sent), (1, 13, 20));
        assert_eq!((tally.receives, tally.operations.rearmed), (2, 1));
    }

    #[test]
    fn the_last_responses_go_out_before_it_ends_by_its_count() {
        let mut flow = responder(None, Some(2));
        flow.step(&received(10, true));
        flow.step(&received(10, true));
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.settle(), Next::SendLast(batch(0, 2)));
        assert_eq!(flow.step(&sent(1, 20)), Next::Wait);
        assert_eq!(flow.settle(), Next::Wait);
        assert_eq!(flow.step(&sent(0, 20)), Next::Wait);
        assert_eq!(flow.settle(), Next::Finish(End::Count));
        assert_eq!(flow.tally().transactions, 2);
    }

    #[test]
    fn a_request_of_another_size_is_a_failure_where_the_size_is_agreed_on() {
        let mut flow = responder(Some(10), None);
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        let wrong = Next::Finish(End::Failed(Errno::MESSAGE_SIZE.0));
        assert_eq!(flow.step(&received(9, true)), wrong);
        assert_eq!(flow.tally().receives, 1);
        let mut ended = responder(Some(10), None);
        assert_eq!(ended.step(&received(0, true)), Next::Wait);
        assert_eq!(ended.settle(), Next::Finish(End::PeerClosed));
    }

    #[test]
    fn a_stop_ends_it_at_once_and_so_does_what_is_wrong_with_the_socket() {
        assert_eq!(responder(None, None).stop(End::Timer), Next::Finish(End::Timer));
        let refused = done(Token::RECEIVE, Err(Errno(111)), false);
        assert_eq!(responder(None, None).step(&refused), Next::Finish(End::Failed(111)));
        let mut flow = responder(None, None);
        flow.step(&received(10, true));
        flow.settle();
        let refused = done(Token::offer(0), Err(Errno(111)), false);
        assert_eq!(flow.step(&refused), Next::Finish(End::Failed(111)));
        assert_eq!(flow.stop(End::Timer), Next::Wait);
    }
}
