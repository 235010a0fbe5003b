//! The requester over datagrams.
//!
//! A datagram each way makes a transaction. One that is lost holds its place among those under way for good,
//! unless the worker finds that nothing has come for too long: then all of them are taken for lost and asked
//! for again. A response that comes late after all stands for that to the request sent again. The end are
//! empty datagrams, as many as a sender's.

use super::datagrams::Datagrams;
use super::{Flow, MARKS, Messages, Next};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::Kind;

/// Sends requests and takes their responses until stopped or the count is reached, then sends the marks of
/// the end.
#[derive(Debug)]
pub(crate) struct DatagramRequest {
    in_flight: u32,
    /// Transactions to make; `None` goes on until stopped.
    limit: Option<u64>,
    requests: Datagrams,
    /// Requests whose response is still to come, as far as is known.
    outstanding: u32,
    /// Requests so far.
    asked: u64,
    state: State,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// What is under way goes out; then the marks.
    Stopping(End),
    /// So many marks have not completed.
    Marking(End, u32),
    Over,
}

impl DatagramRequest {
    pub(crate) fn new(requests: Messages, in_flight: u32, limit: Option<u64>) -> Self {
        Self {
            in_flight,
            limit,
            requests: Datagrams::new(requests),
            outstanding: 0,
            asked: 0,
            state: State::Running,
            tally: Tally::default(),
        }
    }

    /// Fills up what is under way, as far as there is use for it.
    fn ask(&mut self) {
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.tally.transactions));
        let wanted = u32::try_from(left).unwrap_or(u32::MAX).min(self.in_flight);
        let more = wanted.saturating_sub(self.outstanding);
        self.outstanding += more;
        self.asked += u64::from(more);
        self.requests.owe(more.into());
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = State::Over;
        Next::Finish(end)
    }

    /// Ends it as soon as no send is under way, whose completion would be taken for that of a mark.
    fn mark(&mut self, end: End) -> Next {
        self.requests.forget();
        if self.requests.sending() {
            self.state = State::Stopping(end);
            return Next::Wait;
        }
        self.state = State::Marking(end, MARKS);
        Next::SendMarks
    }

    fn received(&mut self, done: &Done) -> Next {
        match (done.result, self.state) {
            (Ok(0), State::Running) => return self.finish(End::PeerClosed),
            (Ok(bytes), State::Running) => {
                self.tally.bytes_received += u64::from(bytes);
                self.tally.receives += 1;
                self.tally.transactions += 1;
                self.outstanding = self.outstanding.saturating_sub(1);
                if self.limit.is_some_and(|limit| self.tally.transactions >= limit) {
                    return self.mark(End::Count);
                }
                self.ask();
            }
            (Err(Errno::NO_BUFFERS), _) => self.tally.operations.no_buffers += 1,
            (Ok(_) | Err(Errno::INTERRUPTED), _) => {}
            (Err(errno), State::Running) => return self.finish(End::Failed(errno.0)),
            // Nobody hears the marks any more.
            (Err(_), _) => return Next::Wait,
        }
        if done.more {
            return Next::Wait;
        }
        self.tally.operations.rearmed += 1;
        Next::Receive
    }

    fn sent(&mut self, done: &Done) -> Next {
        if let State::Marking(end, left) = self.state {
            // Refused they may be: a responder that has seen the first has gone.
            if done.token.kind == Kind::Send && left > 1 {
                self.state = State::Marking(end, left - 1);
                return Next::Wait;
            }
            return if done.token.kind == Kind::Send { self.finish(end) } else { Next::Wait };
        }
        match (self.requests.completed(done), self.state) {
            (Err(errno), State::Running) => self.finish(End::Failed(errno.0)),
            (_, State::Stopping(end)) => self.mark(end),
            _ => Next::Wait,
        }
    }
}

impl Flow for DatagramRequest {
    const SETTLES: bool = true;

    fn start(&mut self) -> Next {
        self.ask();
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
        (self.asked, self.tally.transactions)
    }

    fn resend(&mut self) -> Next {
        if self.state != State::Running {
            return Next::Wait;
        }
        self.requests.forget();
        self.outstanding = 0;
        self.ask();
        // Not by an offer: there may be one in this turn already.
        self.requests.send().map_or(Next::Wait, Next::Send)
    }

    fn stop(&mut self, end: End) -> Next {
        match self.state {
            State::Running => self.mark(end),
            State::Stopping(_) | State::Marking(..) => self.finish(end),
            State::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = self.tally;
        self.requests.count(&mut tally);
        tally
    }

    fn is_paced(&self) -> bool {
        self.requests.begins_burst()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{done, received, sent};
    use super::super::{Batch, InBursts};
    use super::*;
    use crate::token::Token;

    const REFUSED: Result<u32, Errno> = Err(Errno(111));

    fn requester(in_flight: u32, limit: Option<u64>) -> DatagramRequest {
        let messages =
            Messages { message_bytes: 10, slots: 8, together: 8, offers: true, bursts: InBursts::default() };
        let mut flow = DatagramRequest::new(messages, in_flight, limit);
        let Next::SendAndReceive(batch) = flow.start() else { panic!("it sends and receives") };
        for index in 0..batch.messages {
            assert_eq!(flow.step(&sent(index, 10)), Next::Wait);
        }
        assert_eq!(flow.settle(), Next::Wait);
        flow
    }

    fn offer(slot: u32, messages: u32) -> Next {
        Next::Offer(batch(slot, messages))
    }

    fn batch(slot: u32, messages: u32) -> Batch {
        Batch { slot, skip: 0, messages }
    }

    fn ends(flow: &mut DatagramRequest, end: End) {
        assert_eq!(flow.step(&sent(2, 0)), Next::Wait);
        assert_eq!(flow.step(&done(Token::send(0), REFUSED, false)), Next::Wait);
        assert_eq!(flow.step(&sent(1, 0)), Next::Finish(end));
    }

    #[test]
    fn a_request_follows_each_response_and_marks_the_last_one() {
        let mut flow = requester(3, Some(5));
        assert_eq!(flow.step(&received(20, true)), Next::Wait);
        assert_eq!(flow.step(&received(7, false)), Next::Receive);
        assert_eq!(flow.settle(), offer(3, 2));
        assert_eq!(flow.step(&received(20, true)), Next::Wait);
        // Those under way are all that is left to do.
        assert_eq!(flow.settle(), Next::Wait);
        flow.step(&received(20, true));
        assert_eq!(flow.step(&received(20, true)), Next::SendMarks);
        ends(&mut flow, End::Count);
        let tally = flow.tally();
        assert_eq!((tally.transactions, tally.messages_sent, tally.bytes_received), (5, 5, 87));
        assert_eq!((tally.receives, tally.bytes_sent, tally.operations.rearmed), (5, 50, 1));
    }

    #[test]
    fn what_nobody_answers_is_asked_again() {
        let mut flow = requester(2, Some(3));
        flow.step(&received(20, true));
        assert_eq!(flow.settle(), offer(2, 1));
        assert_eq!(flow.resend(), Next::Send(batch(3, 2)));
        assert_eq!((flow.step(&sent(0, 10)), flow.step(&sent(1, 10))), (Next::Wait, Next::Wait));
        flow.step(&received(20, true));
        assert_eq!(flow.settle(), Next::Wait);
        assert_eq!(flow.resend(), Next::Send(batch(5, 1)));
        assert_eq!(flow.step(&sent(0, 10)), Next::Wait);
        assert_eq!(flow.step(&received(20, true)), Next::SendMarks);
        assert_eq!(flow.resend(), Next::Wait);
        assert_eq!(flow.tally().messages_sent, 6);
    }

    #[test]
    fn a_stop_marks_the_end_once_no_send_is_under_way() {
        let mut flow = requester(1, None);
        flow.step(&received(20, true));
        assert_eq!(flow.settle(), offer(1, 1));
        flow.step(&done(Token::offer(0), Err(Errno::AGAIN), false));
        assert_eq!(flow.settle(), Next::Send(Batch { slot: 2, skip: 0, messages: 1 }));
        assert_eq!(flow.stop(End::Timer), Next::Wait);
        assert_eq!(flow.step(&received(20, true)), Next::Wait);
        assert_eq!(flow.step(&sent(0, 10)), Next::SendMarks);
        ends(&mut flow, End::Timer);
        assert_eq!((flow.tally().transactions, flow.tally().messages_sent), (1, 2));
        let mut twice = requester(1, None);
        assert_eq!(twice.stop(End::Timer), Next::SendMarks);
        assert_eq!(twice.stop(End::DrainTimeout), Next::Finish(End::DrainTimeout));
    }

    #[test]
    fn in_bursts_requests_are_paced_where_one_begins() {
        let bursts = InBursts::of(3);
        let messages = Messages { message_bytes: 10, slots: 8, together: 8, offers: false, bursts };
        let mut flow = DatagramRequest::new(messages, 2, None);
        let batch = |slot, messages| Batch { slot, skip: 0, messages };
        assert_eq!((flow.start(), flow.is_paced()), (Next::SendAndReceive(batch(0, 2)), true));
        flow.step(&sent(0, 10));
        flow.step(&sent(1, 10));
        flow.step(&received(20, true));
        flow.step(&received(20, true));
        assert_eq!((flow.settle(), flow.is_paced()), (Next::Send(batch(2, 1)), false));
        // One that a full queue refuses is one of the burst.
        flow.step(&done(Token::send(0), Err(Errno::NO_BUFFERS), false));
        assert_eq!((flow.settle(), flow.is_paced()), (Next::Send(batch(3, 1)), true));
        // Held until its time, and withdrawn.
        assert_eq!(flow.stop(End::Timer), Next::Wait);
        assert_eq!(flow.step(&done(Token::send(0), Err(Errno::CANCELED), false)), Next::SendMarks);
        ends(&mut flow, End::Timer);
        assert_eq!((flow.tally().messages_sent, flow.tally().transactions), (2, 2));
    }

    #[test]
    fn a_port_that_nobody_has_fails_it() {
        assert_eq!(
            requester(1, None).step(&done(Token::RECEIVE, REFUSED, false)),
            Next::Finish(End::Failed(111))
        );
        let mut flow = requester(1, None);
        flow.step(&received(20, true));
        flow.settle();
        assert_eq!(flow.step(&done(Token::offer(0), REFUSED, false)), Next::Finish(End::Failed(111)));
        assert_eq!(requester(1, None).step(&received(0, false)), Next::Finish(End::PeerClosed));
    }
}
