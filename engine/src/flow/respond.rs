//! The responder over a stream.
//!
//! Answers every whole request, and goes on reading while it does. Ends with the peer's stream, even inside a
//! request, or once it has its count; what it owes by then still goes out.

use super::messages::{Inbox, Messages, Outbox};
use super::{Flow, Next};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::Kind;

/// Answers requests until the peer ends the stream, the count is reached or it is stopped.
#[derive(Debug)]
pub(crate) struct Respond {
    /// Requests to answer; `None` goes on until the peer ends.
    limit: Option<u64>,
    requests: Inbox,
    responses: Outbox,
    state: State,
    /// A receive is under way.
    armed: bool,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// The last responses go out; then it is over with this result.
    Ending(End),
    Over,
}

impl Respond {
    pub(crate) fn new(request_bytes: u32, responses: Messages, limit: Option<u64>) -> Self {
        Self {
            limit,
            requests: Inbox::new(request_bytes),
            responses: Outbox::new(responses),
            state: State::Running,
            armed: false,
            tally: Tally::default(),
        }
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = State::Over;
        Next::Finish(end)
    }

    fn received(&mut self, done: &Done) -> Next {
        self.armed = done.more;
        match (done.result, self.state) {
            (Ok(0), State::Running) => self.state = State::Ending(End::PeerClosed),
            (Ok(bytes), State::Running) => self.requested(bytes),
            (Err(Errno::INTERRUPTED), _) => {}
            (Err(Errno::NO_BUFFERS), _) => self.tally.operations.no_buffers += 1,
            (Err(errno), State::Running) => return self.finish(End::Failed(errno.0)),
            // Sends say whether the last responses can still go out.
            (_, State::Ending(_) | State::Over) => {}
        }
        if self.state != State::Running || std::mem::replace(&mut self.armed, true) {
            return Next::Wait;
        }
        self.tally.operations.rearmed += 1;
        Next::Receive
    }

    fn requested(&mut self, bytes: u32) {
        self.tally.bytes_received += u64::from(bytes);
        self.tally.receives += 1;
        let whole = self.requests.take(bytes);
        let left = self.limit.map_or(u64::MAX, |limit| limit - self.responses.asked());
        self.responses.owe(u32::try_from(left).unwrap_or(u32::MAX).min(whole));
        if self.limit.is_some_and(|limit| self.responses.asked() >= limit) {
            self.state = State::Ending(End::Count);
        }
    }

    fn sent(&mut self, done: &Done) -> Next {
        match (self.responses.completed(done), self.state) {
            (Ok(()), _) => Next::Wait,
            // It has gone without waiting for them.
            (Err(_), State::Ending(End::PeerClosed)) => self.finish(End::PeerClosed),
            (Err(errno), _) => self.finish(End::Failed(errno.0)),
        }
    }
}

impl Flow for Respond {
    const SETTLES: bool = true;

    fn start(&mut self) -> Next {
        self.armed = true;
        Next::Receive
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
        match self.state {
            State::Running => self.responses.next().unwrap_or(Next::Wait),
            State::Ending(end) if self.responses.is_empty() => self.finish(end),
            // An offer would not say that it has gone.
            State::Ending(_) => self.responses.send().map_or(Next::Wait, Next::SendLast),
            State::Over => Next::Wait,
        }
    }

    fn stop(&mut self, end: End) -> Next {
        match self.state {
            State::Running | State::Ending(_) => self.finish(end),
            State::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = self.tally;
        self.responses.count(&mut tally);
        tally.transactions = tally.messages_sent;
        tally
    }

    fn per_send(&self) -> u32 {
        self.responses.together()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{RESET, done, received, sent};
    use super::super::{Batch, InBursts};
    use super::*;
    use crate::token::Token;

    fn responder(limit: Option<u64>) -> Respond {
        let messages =
            Messages { message_bytes: 20, slots: 4, together: 4, offers: true, bursts: InBursts::default() };
        let mut flow = Respond::new(10, messages, limit);
        assert_eq!(flow.start(), Next::Receive);
        flow
    }

    fn batch(slot: u32, messages: u32) -> Batch {
        Batch { slot, skip: 0, messages }
    }

    fn counts(flow: &Respond) -> (u64, u64, u64) {
        let tally = flow.tally();
        (tally.transactions, tally.bytes_received, tally.bytes_sent)
    }

    #[test]
    fn each_whole_request_is_answered_once() {
        let mut flow = responder(None);
        assert_eq!(flow.step(&received(9, true)), Next::Wait);
        assert_eq!(flow.settle(), Next::Wait);
        assert_eq!(flow.step(&received(1, true)), Next::Wait);
        assert_eq!(flow.settle(), Next::Offer(batch(0, 1)));
        assert_eq!(flow.step(&received(15, false)), Next::Receive);
        assert_eq!(flow.step(&received(15, true)), Next::Wait);
        assert_eq!(flow.settle(), Next::Offer(batch(1, 3)));
        assert_eq!(counts(&flow), (4, 40, 80));
    }

    #[test]
    fn the_last_responses_go_out_before_it_ends_by_its_count() {
        let mut flow = responder(Some(3));
        flow.step(&received(10, true));
        assert_eq!(flow.settle(), Next::Offer(batch(0, 1)));
        // More than it was to be; the rest is not answered.
        assert_eq!(flow.step(&received(30, true)), Next::Wait);
        assert_eq!(flow.settle(), Next::SendLast(batch(1, 2)));
        assert_eq!(flow.settle(), Next::Wait);
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.step(&sent(0, 30)), Next::Wait);
        assert_eq!(flow.settle(), Next::SendLast(Batch { slot: 2, skip: 10, messages: 1 }));
        assert_eq!(flow.step(&sent(0, 10)), Next::Wait);
        assert_eq!(flow.settle(), Next::Finish(End::Count));
        assert_eq!(counts(&flow), (3, 40, 60));
        assert_eq!(flow.stop(End::Timer), Next::Wait);
    }

    #[test]
    fn the_end_of_the_stream_ends_it_even_inside_a_request() {
        let mut flow = responder(None);
        flow.step(&received(25, true));
        flow.step(&received(0, false));
        assert_eq!(flow.settle(), Next::SendLast(batch(0, 2)));
        flow.step(&sent(0, 40));
        assert_eq!(flow.settle(), Next::Finish(End::PeerClosed));
        assert_eq!(counts(&flow), (2, 25, 40));
        let mut idle = responder(None);
        idle.step(&received(0, false));
        assert_eq!(idle.settle(), Next::Finish(End::PeerClosed));
    }

    #[test]
    fn a_peer_that_ended_its_side_and_takes_no_more_has_not_failed() {
        let mut flow = responder(None);
        flow.step(&received(10, true));
        flow.step(&received(0, false));
        flow.settle();
        assert_eq!(flow.step(&done(Token::send(0), RESET, false)), Next::Finish(End::PeerClosed));
        let mut counted = responder(Some(1));
        counted.step(&received(10, true));
        counted.settle();
        assert_eq!(counted.step(&done(Token::send(0), RESET, false)), Next::Finish(End::Failed(104)));
    }

    #[test]
    fn a_reset_fails_it_and_a_stop_ends_it_at_once() {
        let reset = done(Token::RECEIVE, RESET, false);
        assert_eq!(responder(None).step(&reset), Next::Finish(End::Failed(104)));
        let mut refused = responder(None);
        refused.step(&received(10, true));
        refused.settle();
        assert_eq!(refused.step(&done(Token::offer(0), RESET, false)), Next::Finish(End::Failed(104)));
        let mut flow = responder(None);
        assert_eq!(flow.stop(End::Timer), Next::Finish(End::Timer));
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        let mut ending = responder(Some(1));
        ending.step(&received(10, true));
        assert_eq!(ending.stop(End::DrainTimeout), Next::Finish(End::DrainTimeout));
    }

    #[test]
    fn a_receive_that_ends_is_armed_again() {
        let mut flow = responder(None);
        assert_eq!(flow.step(&done(Token::RECEIVE, Err(Errno::NO_BUFFERS), false)), Next::Receive);
        assert_eq!(flow.step(&done(Token::RECEIVE, Err(Errno::INTERRUPTED), false)), Next::Receive);
        assert_eq!(flow.tally().operations.no_buffers, 1);
    }
}
