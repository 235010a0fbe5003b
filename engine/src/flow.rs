//! The workloads, as pure state machines: a completion goes in, the next thing to do comes out.
//!
//! Nothing here touches a socket, a clock or the arena, so every path is tested without a kernel. The worker
//! translates a [`Next`] into operations of a backend.

use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::{Kind, Token};

/// What a flow wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// End the named operation.
    Cancel(Token),
    /// Shut down the write side, then receive until the peer has closed its own.
    EndStream,
    /// The flow is over.
    Finish(End),
    /// Receive.
    Receive,
    /// Send these messages, in order.
    Send(Batch),
    /// Nothing until the next completion.
    Wait,
}

/// Consecutive messages to send as one chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Arena slot of the first message; the following ones follow, around the end.
    pub(crate) slot: u32,
    /// Bytes of the first message that have been sent already.
    pub(crate) skip: u32,
    /// How many messages.
    pub(crate) messages: u32,
}

/// One connection's workload.
pub(crate) trait Flow {
    /// The first thing to do.
    fn start(&mut self) -> Next;
    /// Takes a completion.
    fn step(&mut self, done: &Done) -> Next;
    /// Asks for an orderly end with this result; asked again, for an immediate one.
    fn stop(&mut self, end: End) -> Next;
    /// Counters so far, those of the backend left at zero.
    fn tally(&self) -> Tally;
}

/// Sends whole messages until stopped or the count is reached, then ends the stream and waits for the peer's
/// end.
#[derive(Debug)]
pub(crate) struct StreamSend {
    message_bytes: u32,
    slots: u32,
    batch_max: u32,
    /// Bytes to reach, in whole messages; `None` goes on until stopped.
    limit: Option<u64>,
    state: SendState,
    batch: Batch,
    /// Completions of the batch so far, and how many of them were of whole messages.
    completed: u32,
    full: u32,
    /// Bytes sent of the batch's first message that is not whole yet.
    partial: u32,
    failed: Option<Errno>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    Sending,
    /// The batch is being cancelled; then the stream ends with this result.
    Stopping(End),
    /// Our side of the stream has ended; waiting for the peer's.
    Draining(End),
    Over,
}

impl StreamSend {
    pub(crate) fn new(message_bytes: u32, slots: u32, batch_max: u32, limit: Option<u64>) -> Self {
        Self {
            message_bytes,
            slots,
            batch_max,
            limit,
            state: SendState::Sending,
            batch: Batch::default(),
            completed: 0,
            full: 0,
            partial: 0,
            failed: None,
            tally: Tally::default(),
        }
    }

    /// Bytes that the batch's message `index` still has to send.
    fn wanted(&self, index: u32) -> u32 {
        if index == 0 { self.message_bytes - self.batch.skip } else { self.message_bytes }
    }

    fn outstanding(&self) -> u32 {
        self.batch.messages - self.completed
    }

    fn reached_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.tally.bytes_sent >= limit)
    }

    /// The next batch, from where the last one stopped.
    fn send(&mut self) -> Next {
        let messages = match self.limit {
            None => self.batch_max,
            Some(limit) => {
                let started = self.tally.bytes_sent - u64::from(self.batch.skip);
                let left = limit.saturating_sub(started).div_ceil(u64::from(self.message_bytes));
                u32::try_from(left).unwrap_or(u32::MAX).min(self.batch_max)
            }
        };
        self.batch.messages = messages;
        self.completed = 0;
        self.full = 0;
        self.partial = self.batch.skip;
        Next::Send(self.batch)
    }

    fn drain(&mut self, end: End) -> Next {
        self.state = SendState::Draining(end);
        Next::EndStream
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = SendState::Over;
        Next::Finish(end)
    }

    fn sent(&mut self, done: &Done) -> Next {
        let index = done.token.index;
        // Completions of a chain come in its order.
        if index != self.completed || self.outstanding() == 0 {
            self.tally.operations.stale += 1;
            return Next::Wait;
        }
        self.completed += 1;
        match done.result {
            Ok(bytes) => {
                self.tally.bytes_sent += u64::from(bytes);
                if bytes == self.wanted(index) {
                    self.tally.messages_sent += 1;
                    self.full += 1;
                    self.partial = 0;
                } else if bytes == 0 {
                    self.failed = Some(Errno::BROKEN_PIPE);
                } else {
                    self.tally.short_sends += 1;
                    self.partial += bytes;
                }
            }
            // Nothing was sent, and nothing is wrong with the connection.
            Err(Errno::CANCELED | Errno::INTERRUPTED) => {}
            Err(errno) => self.failed = self.failed.or(Some(errno)),
        }
        if self.outstanding() > 0 { Next::Wait } else { self.batch_over() }
    }

    fn batch_over(&mut self) -> Next {
        self.batch.slot = (self.batch.slot + self.full) % self.slots;
        self.batch.skip = self.partial;
        self.batch.messages = 0;
        self.completed = 0;
        if let Some(errno) = self.failed {
            // A receiver that has its count closes with our last bytes unread, which resets us: no failure.
            let end = if self.reached_limit() { End::Count } else { End::Failed(errno.0) };
            return self.finish(end);
        }
        match self.state {
            SendState::Stopping(end) => self.drain(end),
            _ if self.reached_limit() && self.batch.skip == 0 => self.drain(End::Count),
            _ => self.send(),
        }
    }

    fn drained(&mut self, done: &Done, end: End) -> Next {
        match done.result {
            Ok(0) => self.finish(end),
            // Nothing is expected from the peer; what comes is not counted.
            Ok(_) if done.more => Next::Wait,
            Ok(_) | Err(Errno::NO_BUFFERS | Errno::INTERRUPTED) => Next::Receive,
            // As in `batch_over`.
            Err(_) if end == End::Count => self.finish(end),
            Err(errno) => self.finish(End::Failed(errno.0)),
        }
    }
}

impl Flow for StreamSend {
    fn start(&mut self) -> Next {
        self.send()
    }

    fn step(&mut self, done: &Done) -> Next {
        match (done.token.kind, self.state) {
            (_, SendState::Over) => Next::Wait,
            (Kind::Send, _) => self.sent(done),
            (Kind::Receive, SendState::Draining(end)) => self.drained(done, end),
            (Kind::Cancel, SendState::Stopping(_)) if retry_cancel(done) && self.outstanding() > 0 => {
                Next::Cancel(Token::send(self.completed))
            }
            _ => Next::Wait,
        }
    }

    fn stop(&mut self, end: End) -> Next {
        match self.state {
            SendState::Sending if self.outstanding() > 0 => {
                self.state = SendState::Stopping(end);
                // The head of the chain; the rest of it falls with the head.
                Next::Cancel(Token::send(self.completed))
            }
            SendState::Sending => self.drain(end),
            SendState::Stopping(_) | SendState::Draining(_) => self.finish(end),
            SendState::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

/// Whether a cancel missed its target between two of its steps and has to be repeated: it was not found
/// although it has not completed. One that is just running (EALREADY) will complete by itself.
fn retry_cancel(done: &Done) -> bool {
    done.result == Err(Errno::NO_ENTRY)
}

/// Receives until the peer ends the stream, the count is reached or it is stopped.
#[derive(Debug)]
pub(crate) struct StreamReceive {
    limit: Option<u64>,
    state: ReceiveState,
    /// A receive is under way.
    armed: bool,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReceiveState {
    Receiving,
    /// The receive is being cancelled; then it is over with this result.
    Stopping(End),
    Over,
}

impl StreamReceive {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, state: ReceiveState::Receiving, armed: false, tally: Tally::default() }
    }

    fn arm(&mut self) -> Next {
        self.armed = true;
        Next::Receive
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = ReceiveState::Over;
        Next::Finish(end)
    }

    fn received(&mut self, done: &Done) -> Next {
        self.armed = done.more;
        match done.result {
            Ok(0) => {
                let end = if let ReceiveState::Stopping(end) = self.state { end } else { End::PeerClosed };
                return self.finish(end);
            }
            Ok(bytes) => {
                self.tally.bytes_received += u64::from(bytes);
                self.tally.receives += 1;
            }
            Err(Errno::NO_BUFFERS) => self.tally.operations.no_buffers += 1,
            Err(Errno::INTERRUPTED) => {}
            Err(Errno::CANCELED) if self.state != ReceiveState::Receiving => {}
            Err(errno) => return self.finish(End::Failed(errno.0)),
        }
        match self.state {
            ReceiveState::Stopping(end) if !self.armed => self.finish(end),
            ReceiveState::Receiving if self.limit.is_some_and(|limit| self.tally.bytes_received >= limit) => {
                self.stop(End::Count)
            }
            ReceiveState::Receiving if !self.armed => {
                self.tally.operations.rearmed += 1;
                self.arm()
            }
            _ => Next::Wait,
        }
    }
}

impl Flow for StreamReceive {
    fn start(&mut self) -> Next {
        self.arm()
    }

    fn step(&mut self, done: &Done) -> Next {
        match (done.token.kind, self.state) {
            (_, ReceiveState::Over) => Next::Wait,
            (Kind::Receive, _) => self.received(done),
            (Kind::Cancel, ReceiveState::Stopping(_)) if retry_cancel(done) && self.armed => {
                Next::Cancel(Token::RECEIVE)
            }
            _ => Next::Wait,
        }
    }

    fn stop(&mut self, end: End) -> Next {
        match self.state {
            ReceiveState::Receiving if self.armed => {
                self.state = ReceiveState::Stopping(end);
                Next::Cancel(Token::RECEIVE)
            }
            ReceiveState::Receiving | ReceiveState::Stopping(_) => self.finish(end),
            ReceiveState::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Received;

    fn done(token: Token, result: Result<u32, Errno>, more: bool) -> Done {
        Done { token, result, more, received: Received::Nothing }
    }

    fn sent(index: u32, bytes: u32) -> Done {
        done(Token::send(index), Ok(bytes), false)
    }

    fn received(bytes: u32, more: bool) -> Done {
        done(Token::RECEIVE, Ok(bytes), more)
    }

    const CANCELED: Result<u32, Errno> = Err(Errno::CANCELED);
    const RESET: Result<u32, Errno> = Err(Errno(104));

    #[test]
    fn a_batch_follows_a_batch_around_the_slots() {
        let mut flow = StreamSend::new(100, 5, 3, None);
        assert_eq!(flow.start(), Next::Send(Batch { slot: 0, skip: 0, messages: 3 }));
        assert_eq!(flow.step(&sent(0, 100)), Next::Wait);
        assert_eq!(flow.step(&sent(1, 100)), Next::Wait);
        assert_eq!(flow.step(&sent(2, 100)), Next::Send(Batch { slot: 3, skip: 0, messages: 3 }));
        for index in 0..2 {
            flow.step(&sent(index, 100));
        }
        assert_eq!(flow.step(&sent(2, 100)), Next::Send(Batch { slot: 1, skip: 0, messages: 3 }));
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (6, 600));
    }

    #[test]
    fn a_short_send_is_continued_where_it_stopped() {
        let mut flow = StreamSend::new(100, 5, 3, None);
        flow.start();
        flow.step(&sent(0, 100));
        flow.step(&sent(1, 30));
        let next = flow.step(&done(Token::send(2), CANCELED, false));
        assert_eq!(next, Next::Send(Batch { slot: 1, skip: 30, messages: 3 }));
        // Short once more, in the same message.
        flow.step(&sent(0, 50));
        flow.step(&done(Token::send(1), CANCELED, false));
        let next = flow.step(&done(Token::send(2), CANCELED, false));
        assert_eq!(next, Next::Send(Batch { slot: 1, skip: 80, messages: 3 }));
        flow.step(&sent(0, 20));
        assert_eq!(
            (flow.tally().messages_sent, flow.tally().bytes_sent, flow.tally().short_sends),
            (2, 200, 2)
        );
    }

    /// Whatever a chain's sends return, what goes out is the message sequence without gap or repetition.
    #[test]
    fn no_byte_is_lost_or_doubled_by_any_sequence_of_short_sends() {
        const MESSAGE: u32 = 7;
        const SLOTS: u32 = 5;
        for seed in 0..2000u32 {
            let mut random = seed.wrapping_mul(0x9e37_79b9) | 1;
            let mut below = |n: u32| {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                random % n
            };
            let mut flow = StreamSend::new(MESSAGE, SLOTS, 3, Some(100));
            let (mut at, mut turns) = (0u32, 0);
            let mut next = flow.start();
            while let Next::Send(batch) = next {
                turns += 1;
                assert!(turns < 10_000, "seed {seed} does not end");
                assert_eq!((batch.slot * MESSAGE + batch.skip) % (SLOTS * MESSAGE), at % (SLOTS * MESSAGE));
                let mut broken = false;
                for index in 0..batch.messages {
                    let wanted = if index == 0 { MESSAGE - batch.skip } else { MESSAGE };
                    let step = match (broken, below(4)) {
                        (true, _) => done(Token::send(index), CANCELED, false),
                        (false, 0) if wanted > 1 => sent(index, 1 + below(wanted - 1)),
                        _ => sent(index, wanted),
                    };
                    let bytes = step.result.unwrap_or(0);
                    broken |= bytes < wanted;
                    at += bytes;
                    next = flow.step(&step);
                }
            }
            assert_eq!(next, Next::EndStream, "seed {seed}");
            assert_eq!(
                (at, flow.tally().bytes_sent, flow.tally().messages_sent),
                (105, 105, 15),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn stopping_cancels_the_head_of_the_chain_and_then_ends_the_stream() {
        let mut flow = StreamSend::new(100, 5, 3, None);
        flow.start();
        flow.step(&sent(0, 100));
        assert_eq!(flow.stop(End::Stopped), Next::Cancel(Token::send(1)));
        // The cancel missed: message 1 was just completing, message 2 is under way.
        assert_eq!(flow.step(&sent(1, 100)), Next::Wait);
        let missed = done(Token::CANCEL, Err(Errno::NO_ENTRY), false);
        assert_eq!(flow.step(&missed), Next::Cancel(Token::send(2)));
        assert_eq!(flow.step(&done(Token::CANCEL, Ok(0), false)), Next::Wait);
        assert_eq!(flow.step(&sent(2, 40)), Next::EndStream);
        assert_eq!(flow.step(&received(5, true)), Next::Wait);
        assert_eq!(flow.step(&received(5, false)), Next::Receive);
        assert_eq!(flow.step(&received(0, false)), Next::Finish(End::Stopped));
        assert_eq!(flow.step(&received(0, false)), Next::Wait);
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (2, 240));
    }

    #[test]
    fn a_second_stop_finishes_at_once() {
        let mut flow = StreamSend::new(100, 5, 3, None);
        flow.start();
        flow.stop(End::PeerClosed);
        assert_eq!(flow.stop(End::DrainTimeout), Next::Finish(End::DrainTimeout));
        let mut flow = StreamReceive::new(None);
        flow.start();
        assert_eq!(flow.stop(End::Timer), Next::Cancel(Token::RECEIVE));
        assert_eq!(flow.stop(End::DrainTimeout), Next::Finish(End::DrainTimeout));
        assert_eq!(flow.stop(End::Stopped), Next::Wait);
    }

    #[test]
    fn a_failed_send_ends_the_run_once_the_chain_is_in() {
        let mut flow = StreamSend::new(100, 5, 2, None);
        flow.start();
        assert_eq!(flow.step(&done(Token::send(0), RESET, false)), Next::Wait);
        let next = flow.step(&done(Token::send(1), CANCELED, false));
        assert_eq!(next, Next::Finish(End::Failed(104)));
        let mut counted = StreamSend::new(100, 5, 1, Some(100));
        counted.start();
        assert_eq!(counted.step(&sent(0, 100)), Next::EndStream);
        assert_eq!(counted.step(&done(Token::RECEIVE, RESET, false)), Next::Finish(End::Count));
    }

    #[test]
    fn an_interrupted_operation_is_repeated() {
        let interrupted = Err(Errno::INTERRUPTED);
        let mut sender = StreamSend::new(100, 5, 2, None);
        sender.start();
        assert_eq!(sender.step(&done(Token::send(0), interrupted, false)), Next::Wait);
        let next = sender.step(&done(Token::send(1), CANCELED, false));
        assert_eq!(next, Next::Send(Batch { slot: 0, skip: 0, messages: 2 }));
        let mut receiver = StreamReceive::new(None);
        receiver.start();
        assert_eq!(receiver.step(&done(Token::RECEIVE, interrupted, false)), Next::Receive);
    }

    #[test]
    fn completions_that_nobody_waits_for_are_counted_and_dropped() {
        let mut flow = StreamSend::new(100, 5, 2, None);
        flow.start();
        assert_eq!(flow.step(&sent(1, 100)), Next::Wait);
        assert_eq!(flow.step(&sent(9, 100)), Next::Wait);
        assert_eq!((flow.tally().operations.stale, flow.tally().bytes_sent), (2, 0));
    }

    #[test]
    fn a_receive_that_ends_is_armed_again_until_the_stream_ends() {
        let mut flow = StreamReceive::new(None);
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
        let mut flow = StreamReceive::new(Some(15));
        flow.start();
        assert_eq!(flow.step(&received(10, true)), Next::Wait);
        assert_eq!(flow.step(&received(10, true)), Next::Cancel(Token::RECEIVE));
        let missed = done(Token::CANCEL, Err(Errno::NO_ENTRY), false);
        assert_eq!(flow.step(&missed), Next::Cancel(Token::RECEIVE));
        assert_eq!(flow.step(&done(Token::RECEIVE, CANCELED, false)), Next::Finish(End::Count));
        let mut single = StreamReceive::new(Some(15));
        single.start();
        assert_eq!(single.step(&received(15, false)), Next::Finish(End::Count));
        let mut reset = StreamReceive::new(None);
        reset.start();
        assert_eq!(reset.step(&done(Token::RECEIVE, RESET, false)), Next::Finish(End::Failed(104)));
    }
}
