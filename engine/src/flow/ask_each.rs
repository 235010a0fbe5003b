//! Asking over a connection for each transaction: connect, send the request, read the response and the end of
//! the stream, close.
//!
//! One machine for all connections of a worker, each under the number of its flow, because they share what
//! is left to do and the ports. Sees no clock: who drives it ends a timed run by [`Exchange::stop`], and what
//! is under way then is not counted.

use super::{Deed, Exchange, Ports};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::Kind;

/// The requester.
#[derive(Debug)]
pub(crate) struct AskEach {
    request_bytes: u32,
    response_bytes: u32,
    /// Most bytes that one receive takes.
    room: u32,
    /// Transactions still to be begun; `None`: as many as there is time for.
    left: Option<u64>,
    ports: Option<Ports>,
    /// A connection that does not come about is tried again.
    retries: bool,
    /// Ports in a row that could not be had.
    passed_over: u32,
    /// By flow: bytes of the response so far.
    got: Vec<u64>,
    /// What the receive under way of each flow asks for.
    asked: Vec<u32>,
    under_way: u32,
    tally: Tally,
    end: Option<End>,
    unconnected: bool,
}

impl AskEach {
    /// For so many transactions at once, and `count` of them altogether.
    pub(crate) fn new(sizes: (u32, u32), room: u32, in_flight: u32, count: Option<u64>) -> Self {
        let flows = in_flight as usize;
        Self {
            request_bytes: sizes.0,
            response_bytes: sizes.1,
            room,
            left: count,
            ports: None,
            retries: false,
            passed_over: 0,
            got: vec![0; flows],
            asked: vec![0; flows],
            under_way: 0,
            tally: Tally::default(),
            end: None,
            unconnected: false,
        }
    }

    /// The same from these ports.
    pub(crate) fn with_ports(self, ports: Option<Ports>) -> Self {
        Self { ports, ..self }
    }

    /// The same, trying again where a connection does not come about.
    pub(crate) fn retrying(self, retries: bool) -> Self {
        Self { retries, ..self }
    }

    /// What it ended of was no connection coming about.
    pub(crate) fn is_unconnected(&self) -> bool {
        self.unconnected
    }

    /// The next transaction of a flow that has none, if there is one left.
    fn begin(&mut self, flow: u32) -> Deed {
        match &mut self.left {
            Some(0) => {
                if self.under_way == 0 {
                    self.end = self.end.or(Some(End::Count));
                }
                return Deed::Wait;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.under_way += 1;
        self.connect(flow)
    }

    fn connect(&mut self, flow: u32) -> Deed {
        self.got[flow as usize] = 0;
        let port = self.ports.as_mut().map_or(0, Ports::take);
        Deed::Connect { port, bytes: self.ask(flow) }
    }

    /// What the next receive has to take: one byte more than the response has, so that it ends with the
    /// stream and not before.
    fn ask(&mut self, flow: u32) -> u32 {
        let left = u64::from(self.response_bytes).saturating_sub(self.got[flow as usize]) + 1;
        let bytes = u32::try_from(left).unwrap_or(u32::MAX).min(self.room);
        self.asked[flow as usize] = bytes;
        bytes
    }

    fn fail(&mut self, end: End) -> Deed {
        self.end = self.end.or(Some(end));
        Deed::Wait
    }

    fn refused(&mut self, flow: u32, errno: Errno) -> Deed {
        let taken = matches!(errno, Errno::ADDRESS_IN_USE | Errno::ADDRESS_NOT_AVAILABLE | Errno::ACCESS);
        self.passed_over += 1;
        match &self.ports {
            Some(ports) if taken && self.passed_over < ports.count() => self.connect(flow),
            _ if self.retries => self.connect(flow),
            _ => {
                self.unconnected = true;
                self.fail(End::Failed(errno.0))
            }
        }
    }

    fn received(&mut self, flow: u32, bytes: u32) -> Deed {
        let slot = flow as usize;
        self.tally.receives += u64::from(bytes > 0);
        self.tally.bytes_received += u64::from(bytes);
        self.got[slot] += u64::from(bytes);
        if bytes == self.asked[slot] {
            return Deed::Take { bytes: self.ask(flow) };
        }
        // The stream has ended.
        if self.got[slot] < u64::from(self.response_bytes) {
            return self.fail(End::PeerClosed);
        }
        Deed::Close { last: 0 }
    }
}

impl Exchange for AskEach {
    fn start(&mut self, flow: u32) -> Deed {
        self.begin(flow)
    }

    fn step(&mut self, done: &Done) -> Deed {
        let flow = done.token.flow;
        if flow as usize >= self.got.len() || self.end.is_some() {
            return Deed::Wait;
        }
        match (done.token.kind, done.result) {
            (Kind::Connect, Err(errno)) => self.refused(flow, errno),
            (Kind::Receive, Ok(bytes)) => self.received(flow, bytes),
            // With nothing to send it is the receive that finds out how connecting went.
            (Kind::Receive, Err(errno)) if self.request_bytes == 0 => self.refused(flow, errno),
            (Kind::Receive, Err(errno)) => self.fail(End::Failed(errno.0)),
            (Kind::Close, _) => {
                self.passed_over = 0;
                self.under_way -= 1;
                self.tally.transactions += 1;
                self.tally.bytes_sent += u64::from(self.request_bytes);
                self.tally.messages_sent += u64::from(self.request_bytes > 0);
                self.begin(flow)
            }
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

    fn arrivals(&self) -> u64 {
        self.tally.transactions
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{RESET, done};
    use super::*;
    use crate::token::Token;

    fn received(flow: u32, bytes: u32) -> Done {
        done(Token::RECEIVE.of(flow), Ok(bytes), false)
    }

    fn closed(flow: u32) -> Done {
        done(Token::CLOSE.of(flow), Ok(0), false)
    }

    #[test]
    fn a_transaction_counts_once_its_connection_is_closed() {
        let mut asks = AskEach::new((10, 100), 1000, 1, Some(2));
        assert_eq!(asks.start(0), Deed::Connect { port: 0, bytes: 101 });
        assert_eq!(asks.step(&received(0, 100)), Deed::Close { last: 0 });
        assert_eq!(asks.tally().transactions, 0);
        assert_eq!(asks.step(&closed(0)), Deed::Connect { port: 0, bytes: 101 });
        assert_eq!(asks.step(&received(0, 100)), Deed::Close { last: 0 });
        assert_eq!(asks.over(), None);
        assert_eq!(asks.step(&closed(0)), Deed::Wait);
        assert_eq!(asks.over(), Some(End::Count));
        let tally = asks.tally();
        assert_eq!((tally.transactions, tally.messages_sent, tally.receives), (2, 2, 2));
        assert_eq!((tally.bytes_sent, tally.bytes_received), (20, 200));
    }

    #[test]
    fn a_response_larger_than_the_room_is_read_to_its_end() {
        let mut asks = AskEach::new((1, 25), 10, 1, None);
        assert_eq!(asks.start(0), Deed::Connect { port: 0, bytes: 10 });
        assert_eq!(asks.step(&received(0, 10)), Deed::Take { bytes: 10 });
        assert_eq!(asks.step(&received(0, 10)), Deed::Take { bytes: 6 });
        assert_eq!(asks.step(&received(0, 5)), Deed::Close { last: 0 });
        // What is more than was asked for is read, too.
        let mut asks = AskEach::new((1, 1), 10, 1, None);
        asks.start(0);
        assert_eq!(asks.step(&received(0, 2)), Deed::Take { bytes: 1 });
        assert_eq!(asks.step(&received(0, 0)), Deed::Close { last: 0 });
    }

    #[test]
    fn without_data_the_end_of_the_stream_is_the_response() {
        let mut asks = AskEach::new((0, 0), 10, 1, None);
        assert_eq!(asks.start(0), Deed::Connect { port: 0, bytes: 1 });
        assert_eq!(asks.step(&received(0, 0)), Deed::Close { last: 0 });
        asks.step(&closed(0));
        assert_eq!((asks.tally().transactions, asks.tally().messages_sent), (1, 0));
    }

    #[test]
    fn no_more_are_begun_than_asked_for_and_the_last_one_ends_it() {
        let mut asks = AskEach::new((1, 1), 10, 3, Some(2));
        assert!(matches!(asks.start(0), Deed::Connect { .. }));
        assert!(matches!(asks.start(1), Deed::Connect { .. }));
        assert_eq!((asks.start(2), asks.over()), (Deed::Wait, None));
        for flow in [1, 0] {
            assert_eq!(asks.over(), None);
            asks.step(&received(flow, 1));
            assert_eq!(asks.step(&closed(flow)), Deed::Wait);
        }
        assert_eq!(asks.over(), Some(End::Count));
    }

    #[test]
    fn taken_ports_are_passed_over_until_all_of_them_were() {
        let taken = done(Token::CONNECT, Err(Errno::ADDRESS_IN_USE), false);
        let mut asks = AskEach::new((1, 1), 10, 1, None).with_ports(Some(Ports::new(5..=7, 1, 0)));
        assert_eq!(asks.start(0), Deed::Connect { port: 5, bytes: 2 });
        assert_eq!(asks.step(&taken), Deed::Connect { port: 6, bytes: 2 });
        asks.step(&received(0, 1));
        assert_eq!(asks.step(&closed(0)), Deed::Connect { port: 7, bytes: 2 });
        assert_eq!(asks.step(&taken), Deed::Connect { port: 5, bytes: 2 });
        assert_eq!(asks.step(&taken), Deed::Connect { port: 6, bytes: 2 });
        assert_eq!(asks.step(&taken), Deed::Wait);
        assert_eq!(asks.over(), Some(End::Failed(98)));
        let mut asks = AskEach::new((1, 1), 10, 1, None).retrying(true);
        let refused = done(Token::CONNECT, Err(Errno(111)), false);
        asks.start(0);
        assert_eq!(asks.step(&refused), Deed::Connect { port: 0, bytes: 2 });
        assert_eq!(asks.over(), None);
        // Of the kernel's own choice there is no other.
        let mut asks = AskEach::new((1, 1), 10, 1, None);
        asks.start(0);
        asks.step(&done(Token::CONNECT, Err(Errno::ADDRESS_NOT_AVAILABLE), false));
        assert_eq!((asks.over(), asks.is_unconnected()), (Some(End::Failed(99)), true));
    }

    #[test]
    fn a_failure_or_an_early_end_is_the_end_of_all() {
        for (last, end) in [
            (done(Token::RECEIVE, RESET, false), End::Failed(104)),
            (received(0, 99), End::PeerClosed),
            (done(Token::CONNECT, Err(Errno(111)), false), End::Failed(111)),
        ] {
            let mut asks = AskEach::new((1, 100), 1000, 2, None);
            asks.start(0);
            asks.start(1);
            assert_eq!(asks.step(&last), Deed::Wait);
            assert_eq!(asks.over(), Some(end));
            assert_eq!(asks.step(&received(1, 100)), Deed::Wait);
            assert_eq!(asks.tally().transactions, 0);
        }
    }

    #[test]
    fn what_is_under_way_when_it_is_stopped_does_not_count() {
        let mut asks = AskEach::new((1, 1), 10, 1, None);
        asks.start(0);
        asks.step(&received(0, 1));
        asks.stop(End::Timer);
        assert_eq!(asks.step(&closed(0)), Deed::Wait);
        assert_eq!((asks.over(), asks.tally().transactions), (Some(End::Timer), 0));
    }
}
