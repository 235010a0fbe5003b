//! Answering over a connection for each transaction: take it, read the request, send the response, close.
//!
//! One machine for all connections of a worker, each under the number that the backend gave it. It closes
//! first, as netserver does, which keeps the peer's ports free. A connection that ends without a whole
//! request is skipped and is not the end of anything. Sees no clock.

use super::{Deed, Exchange};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::Kind;

/// The responder.
#[derive(Debug)]
pub(crate) struct AnswerEach {
    request_bytes: u32,
    response_bytes: u32,
    /// Most bytes that one receive takes.
    room: u32,
    /// Transactions after which it is over.
    limit: Option<u64>,
    /// By flow.
    calls: Vec<Call>,
    accepted: u64,
    /// Bytes of responses that are being sent.
    under_way: u64,
    tally: Tally,
    end: Option<End>,
}

/// One connection.
#[derive(Clone, Copy, Debug, Default)]
struct Call {
    /// Bytes of the request that are still to come.
    left: u32,
    /// What the receive under way asks for.
    asked: u32,
    /// Its request was whole.
    answered: bool,
}

impl AnswerEach {
    /// For so many connections at once, and `limit` transactions altogether.
    pub(crate) fn new(sizes: (u32, u32), room: u32, flows: u32, limit: Option<u64>) -> Self {
        Self {
            request_bytes: sizes.0,
            response_bytes: sizes.1,
            room,
            limit,
            calls: vec![Call::default(); flows as usize],
            accepted: 0,
            under_way: 0,
            tally: Tally::default(),
            end: None,
        }
    }

    /// The rest of the request, or the response once there is none.
    fn go_on(&mut self, flow: u32) -> Deed {
        let call = &mut self.calls[flow as usize];
        if call.left == 0 {
            call.answered = true;
            self.under_way += u64::from(self.response_bytes);
            return Deed::Close { last: self.response_bytes };
        }
        call.asked = call.left.min(self.room);
        Deed::Take { bytes: call.asked }
    }

    fn received(&mut self, flow: u32, bytes: u32) -> Deed {
        self.tally.receives += u64::from(bytes > 0);
        self.tally.bytes_received += u64::from(bytes);
        let call = &mut self.calls[flow as usize];
        if bytes < call.asked {
            return Deed::Close { last: 0 };
        }
        call.left = call.left.saturating_sub(bytes);
        self.go_on(flow)
    }

    fn closed(&mut self, flow: u32, result: Result<u32, Errno>) -> Deed {
        if !std::mem::take(&mut self.calls[flow as usize].answered) {
            return Deed::Wait;
        }
        self.under_way = self.under_way.saturating_sub(u64::from(self.response_bytes));
        // Of a response that was cut off, what has gone.
        self.tally.bytes_sent += u64::from(result.unwrap_or(0));
        if result == Ok(self.response_bytes) {
            self.tally.transactions += 1;
            self.tally.messages_sent += u64::from(self.response_bytes > 0);
            if Some(self.tally.transactions) == self.limit {
                self.end = Some(End::Count);
            }
        }
        Deed::Wait
    }
}

impl Exchange for AnswerEach {
    fn start(&mut self, flow: u32) -> Deed {
        if flow == 0 { Deed::Accept } else { Deed::Wait }
    }

    fn step(&mut self, done: &Done) -> Deed {
        let flow = done.token.flow;
        if flow as usize >= self.calls.len() || self.end.is_some() {
            return Deed::Wait;
        }
        match (done.token.kind, done.result) {
            (Kind::Accept, Ok(_)) => {
                self.accepted += 1;
                self.calls[flow as usize] = Call { left: self.request_bytes, ..Call::default() };
                self.go_on(flow)
            }
            (Kind::Accept, Err(Errno::ACCESS)) => {
                self.tally.strangers += 1;
                Deed::Wait
            }
            (Kind::Accept, Err(errno)) => {
                self.end = Some(End::Failed(errno.0));
                Deed::Wait
            }
            (Kind::Receive, Ok(bytes)) => self.received(flow, bytes),
            (Kind::Receive, Err(_)) => Deed::Close { last: 0 },
            (Kind::Close, result) => self.closed(flow, result),
            _ => Deed::Wait,
        }
    }

    fn stop(&mut self, end: End) {
        self.end = self.end.or(Some(end));
    }

    fn over(&self) -> Option<End> {
        self.end
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    /// How much of a response has gone is known at its end, which a peer can put off, and many peers together
    /// for long. So until then all of it counts.
    fn told(&self) -> Tally {
        Tally { bytes_sent: self.tally.bytes_sent + self.under_way, ..self.tally }
    }

    fn arrivals(&self) -> u64 {
        self.accepted
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{RESET, done};
    use super::*;
    use crate::token::Token;

    fn came(flow: u32) -> Done {
        done(Token::ACCEPT.of(flow), Ok(0), true)
    }

    fn received(flow: u32, bytes: u32) -> Done {
        done(Token::RECEIVE.of(flow), Ok(bytes), false)
    }

    fn closed(flow: u32, bytes: u32) -> Done {
        done(Token::CLOSE.of(flow), Ok(bytes), false)
    }

    #[test]
    fn a_request_is_read_whole_and_answered() {
        let mut answers = AnswerEach::new((25, 7), 10, 4, Some(1));
        assert_eq!((answers.start(0), answers.start(1)), (Deed::Accept, Deed::Wait));
        assert_eq!(answers.step(&came(3)), Deed::Take { bytes: 10 });
        assert_eq!(answers.step(&received(3, 10)), Deed::Take { bytes: 10 });
        assert_eq!(answers.step(&received(3, 10)), Deed::Take { bytes: 5 });
        assert_eq!(answers.step(&received(3, 5)), Deed::Close { last: 7 });
        assert_eq!(answers.over(), None);
        assert_eq!(answers.step(&closed(3, 7)), Deed::Wait);
        assert_eq!(answers.over(), Some(End::Count));
        let tally = answers.tally();
        assert_eq!((tally.transactions, tally.messages_sent, tally.receives), (1, 1, 3));
        assert_eq!((tally.bytes_sent, tally.bytes_received), (7, 25));
    }

    #[test]
    fn a_connection_by_itself_is_answered_by_its_end() {
        let mut answers = AnswerEach::new((0, 0), 10, 4, None);
        assert_eq!(answers.step(&came(0)), Deed::Close { last: 0 });
        answers.step(&closed(0, 0));
        assert_eq!((answers.tally().transactions, answers.tally().messages_sent), (1, 0));
    }

    #[test]
    fn what_is_no_whole_request_is_skipped_and_ends_nothing() {
        let mut answers = AnswerEach::new((25, 7), 10, 4, Some(1));
        for last in [received(1, 0), received(1, 9), done(Token::RECEIVE.of(1), RESET, false)] {
            answers.step(&came(1));
            assert_eq!(answers.step(&last), Deed::Close { last: 0 });
            assert_eq!(answers.step(&closed(1, 0)), Deed::Wait);
        }
        assert_eq!((answers.over(), answers.tally().transactions, answers.arrivals()), (None, 0, 3));
    }

    #[test]
    fn a_response_that_does_not_go_out_does_not_count() {
        let mut answers = AnswerEach::new((1, 7), 10, 4, None);
        answers.step(&came(1));
        assert_eq!(answers.step(&received(1, 1)), Deed::Close { last: 7 });
        answers.step(&done(Token::CLOSE.of(1), Err(Errno::BROKEN_PIPE), false));
        assert_eq!((answers.over(), answers.tally().transactions), (None, 0));
    }

    #[test]
    fn of_a_response_that_is_cut_off_what_has_gone_counts_and_before_that_all_of_it() {
        let mut answers = AnswerEach::new((1, 700), 10, 4, None);
        let sent = |answers: &AnswerEach| (answers.tally().bytes_sent, answers.told().bytes_sent);
        for flow in [0, 1] {
            answers.step(&came(flow));
            answers.step(&received(flow, 1));
        }
        assert_eq!(sent(&answers), (0, 1400));
        answers.step(&closed(0, 300));
        assert_eq!(sent(&answers), (300, 1000));
        answers.step(&done(Token::CLOSE.of(1), Err(Errno::BROKEN_PIPE), false));
        assert_eq!(sent(&answers), (300, 300));
        assert_eq!((answers.tally().transactions, answers.tally().messages_sent), (0, 0));
    }

    #[test]
    fn strangers_are_counted_and_a_listener_that_fails_ends_it() {
        let mut answers = AnswerEach::new((1, 1), 10, 4, None);
        answers.step(&done(Token::ACCEPT, Err(Errno::ACCESS), true));
        assert_eq!((answers.over(), answers.tally().strangers, answers.arrivals()), (None, 1, 0));
        answers.step(&done(Token::ACCEPT, Err(Errno(24)), false));
        assert_eq!(answers.over(), Some(End::Failed(24)));
    }
}
