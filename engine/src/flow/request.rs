//! The requester over a stream.
//!
//! Keeps so many requests under way, one more for each whole response, then ends the stream and waits for the
//! peer's end. What comes after the end of its time is read and not counted.

use super::messages::{Inbox, Messages, Outbox};
use super::{Flow, Next};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::Kind;

/// Sends requests and takes their responses until stopped or the count is reached.
#[derive(Debug)]
pub(crate) struct Request {
    in_flight: u32,
    /// Transactions to make; `None` goes on until stopped.
    limit: Option<u64>,
    requests: Outbox,
    responses: Inbox,
    state: State,
    /// A receive is under way.
    armed: bool,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Our side of the stream has ended; waiting for the peer's.
    Draining(End),
    Over,
}

impl Request {
    pub(crate) fn new(requests: Messages, response_bytes: u32, in_flight: u32, limit: Option<u64>) -> Self {
        Self {
            in_flight,
            limit,
            requests: Outbox::new(requests),
            responses: Inbox::new(response_bytes),
            state: State::Running,
            armed: false,
            tally: Tally::default(),
        }
    }

    fn reached_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.tally.transactions >= limit)
    }

    /// So many more requests, as far as there is use for them.
    fn ask(&mut self, requests: u32) {
        let left = self.limit.map_or(u64::MAX, |limit| limit - self.requests.asked());
        self.requests.owe(u32::try_from(left).unwrap_or(u32::MAX).min(requests));
    }

    fn drain(&mut self, end: End) -> Next {
        self.state = State::Draining(end);
        self.requests.forget();
        Next::EndStream { receive: !std::mem::replace(&mut self.armed, true) }
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = State::Over;
        Next::Finish(end)
    }

    fn received(&mut self, done: &Done) -> Next {
        self.armed = done.more;
        match (done.result, self.state) {
            (Ok(0), State::Draining(end)) => return self.finish(end),
            (Ok(0), _) => return self.finish(End::PeerClosed),
            (Ok(bytes), State::Running) => {
                self.tally.bytes_received += u64::from(bytes);
                self.tally.receives += 1;
                let whole = self.responses.take(bytes);
                self.tally.transactions += u64::from(whole);
                if self.reached_limit() {
                    return self.drain(End::Count);
                }
                self.ask(whole);
            }
            (Ok(_), _) | (Err(Errno::INTERRUPTED), _) => {}
            (Err(Errno::NO_BUFFERS), _) => self.tally.operations.no_buffers += 1,
            // A responder that has its count closes at once, and nothing of ours is missing.
            (Err(_), State::Draining(End::Count)) => return self.finish(End::Count),
            (Err(errno), _) => return self.finish(End::Failed(errno.0)),
        }
        if std::mem::replace(&mut self.armed, true) {
            return Next::Wait;
        }
        self.tally.operations.rearmed += 1;
        Next::Receive
    }

    fn sent(&mut self, done: &Done) -> Next {
        match (self.requests.completed(done), self.state) {
            (Err(errno), State::Running) => self.finish(End::Failed(errno.0)),
            // What was under way when our side ended has ended with it.
            _ => {
                if self.state != State::Running {
                    self.requests.forget();
                }
                Next::Wait
            }
        }
    }
}

impl Flow for Request {
    const SETTLES: bool = true;

    fn start(&mut self) -> Next {
        if self.limit == Some(0) {
            return self.drain(End::Count);
        }
        self.ask(self.in_flight);
        self.armed = true;
        self.requests.send().map_or(Next::Receive, Next::SendAndReceive)
    }

    fn step(&mut self, done: &Done) -> Next {
        match (done.token.kind, self.state) {
            (_, State::Over) => Next::Wait,
            (Kind::Receive, _) => self.received(done),
            (Kind::Offer | Kind::Send, _) => self.sent(done),
            _ => Next::Wait,
        }
    }

    fn settle(&mut self) -> Next {
        if self.state == State::Running { self.requests.next().unwrap_or(Next::Wait) } else { Next::Wait }
    }

    fn exchanged(&self) -> (u64, u64) {
        (self.requests.asked(), self.tally.transactions)
    }

    fn stop(&mut self, end: End) -> Next {
        match self.state {
            State::Running => self.drain(end),
            State::Draining(_) => self.finish(end),
            State::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = self.tally;
        self.requests.count(&mut tally);
        tally
    }

    fn per_send(&self) -> u32 {
        self.requests.together()
    }

    fn is_paced(&self) -> bool {
        self.requests.begins_burst()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{RESET, done, received, sent};
    use super::super::{Batch, InBursts};
    use super::*;
    use crate::token::Token;

    fn requester(in_flight: u32, limit: Option<u64>) -> Request {
        let messages =
            Messages { message_bytes: 10, slots: 8, together: 8, offers: true, bursts: InBursts::default() };
        Request::new(messages, 20, in_flight, limit)
    }

    fn batch(slot: u32, messages: u32) -> Batch {
        Batch { slot, skip: 0, messages }
    }

    /// Started, and the first requests gone.
    fn started(in_flight: u32, limit: Option<u64>) -> Request {
        let mut flow = requester(in_flight, limit);
        assert_eq!(flow.start(), Next::SendAndReceive(batch(0, in_flight)));
        assert_eq!(flow.step(&sent(0, 10 * in_flight)), Next::Wait);
        assert_eq!(flow.settle(), Next::Wait);
        flow
    }

    fn counts(flow: &Request) -> (u64, u64, u64) {
        let tally = flow.tally();
        (tally.transactions, tally.messages_sent, tally.bytes_received)
    }

    #[test]
    fn a_request_follows_each_whole_response_however_it_comes() {
        let mut flow = started(3, None);
        assert_eq!(flow.step(&received(19, true)), Next::Wait);
        assert_eq!(flow.settle(), Next::Wait);
        assert_eq!(flow.step(&received(1, true)), Next::Wait);
        assert_eq!(flow.settle(), Next::Offer(batch(3, 1)));
        assert_eq!(flow.step(&received(30, false)), Next::Receive);
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.settle(), Next::Offer(batch(4, 2)));
        assert_eq!(counts(&flow), (3, 6, 60));
        assert_eq!(flow.tally().operations.rearmed, 1);
    }

    #[test]
    fn no_more_is_asked_for_than_the_count_and_the_peer_is_waited_for() {
        let mut flow = requester(3, Some(4));
        assert_eq!(flow.start(), Next::SendAndReceive(batch(0, 3)));
        flow.step(&sent(0, 30));
        flow.step(&received(60, true));
        assert_eq!(flow.settle(), Next::Offer(batch(3, 1)));
        assert_eq!(flow.step(&received(20, true)), Next::EndStream { receive: false });
        assert_eq!(flow.settle(), Next::Wait);
        assert_eq!(flow.step(&received(0, false)), Next::Finish(End::Count));
        assert_eq!(counts(&flow), (4, 4, 80));
        assert_eq!(requester(3, Some(0)).start(), Next::EndStream { receive: true });
        let mut few = requester(3, Some(2));
        assert_eq!(few.start(), Next::SendAndReceive(batch(0, 2)));
    }

    #[test]
    fn what_comes_after_the_time_is_read_and_not_counted() {
        let mut flow = started(2, None);
        flow.step(&received(25, true));
        // Before the next request has been asked for.
        assert_eq!(flow.stop(End::PeerClosed), Next::EndStream { receive: false });
        assert_eq!(flow.settle(), Next::Wait);
        assert_eq!(flow.step(&received(15, false)), Next::Receive);
        assert_eq!(flow.step(&received(0, false)), Next::Finish(End::PeerClosed));
        assert_eq!(counts(&flow), (1, 2, 25));
        assert_eq!(flow.step(&received(20, false)), Next::Wait);
    }

    #[test]
    fn an_offer_that_our_own_end_cut_off_is_no_failure_and_not_counted() {
        let mut flow = started(1, None);
        flow.step(&received(20, true));
        assert_eq!(flow.settle(), Next::Offer(batch(1, 1)));
        flow.stop(End::Stopped);
        let refused = done(Token::offer(0), Err(Errno::BROKEN_PIPE), false);
        assert_eq!(flow.step(&refused), Next::Wait);
        assert_eq!(counts(&flow), (1, 1, 20));
        assert_eq!(flow.stop(End::DrainTimeout), Next::Finish(End::DrainTimeout));
        assert_eq!(flow.stop(End::Stopped), Next::Wait);
    }

    #[test]
    fn a_peer_that_goes_early_or_breaks_off_ends_it() {
        assert_eq!(started(1, None).step(&received(0, false)), Next::Finish(End::PeerClosed));
        let reset = done(Token::RECEIVE, RESET, false);
        assert_eq!(started(1, None).step(&reset), Next::Finish(End::Failed(104)));
        let mut flow = started(1, None);
        flow.step(&received(20, true));
        flow.settle();
        let refused = done(Token::offer(0), RESET, false);
        assert_eq!(flow.step(&refused), Next::Finish(End::Failed(104)));
        // One that has its count may close with what it has not read.
        let mut counted = started(1, Some(1));
        counted.step(&received(20, true));
        assert_eq!(counted.step(&reset), Next::Finish(End::Count));
        let mut timed = started(1, None);
        timed.stop(End::PeerClosed);
        assert_eq!(timed.step(&reset), Next::Finish(End::Failed(104)));
    }

    #[test]
    fn an_offer_that_falls_short_is_sent_on_while_responses_come() {
        let mut flow = started(2, None);
        flow.step(&received(40, true));
        assert_eq!(flow.settle(), Next::Offer(batch(2, 2)));
        assert_eq!(flow.step(&done(Token::offer(0), Ok(15), false)), Next::Wait);
        assert_eq!(flow.settle(), Next::Send(Batch { slot: 3, skip: 5, messages: 1 }));
        flow.step(&received(20, true));
        assert_eq!(flow.settle(), Next::Wait);
        flow.step(&sent(0, 5));
        assert_eq!(flow.settle(), Next::Offer(batch(4, 1)));
        assert_eq!((flow.tally().short_sends, counts(&flow)), (1, (3, 5, 60)));
    }

    #[test]
    fn in_bursts_requests_are_paced_where_one_begins_and_forgotten_with_the_end() {
        let messages =
            Messages { message_bytes: 10, slots: 8, together: 8, offers: false, bursts: InBursts::of(3) };
        let mut flow = Request::new(messages, 20, 2, None);
        assert_eq!((flow.start(), flow.is_paced()), (Next::SendAndReceive(batch(0, 2)), true));
        flow.step(&sent(0, 20));
        flow.step(&received(40, true));
        assert_eq!((flow.settle(), flow.is_paced()), (Next::Send(batch(2, 1)), false));
        flow.step(&sent(0, 10));
        assert_eq!((flow.settle(), flow.is_paced()), (Next::Send(batch(3, 1)), true));
        assert_eq!(flow.stop(End::PeerClosed), Next::EndStream { receive: false });
        assert_eq!((flow.settle(), counts(&flow)), (Next::Wait, (2, 3, 40)));
    }

    #[test]
    fn a_receive_that_ends_is_armed_again() {
        let mut flow = started(1, None);
        assert_eq!(flow.step(&done(Token::RECEIVE, Err(Errno::NO_BUFFERS), false)), Next::Receive);
        assert_eq!(flow.step(&done(Token::RECEIVE, Err(Errno::INTERRUPTED), false)), Next::Receive);
        assert_eq!(flow.tally().operations.no_buffers, 1);
    }
}
