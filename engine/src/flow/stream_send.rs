//! The sender of a TCP stream.
//!
//! Whole messages in order, one batch after the other, whatever a batch's sends return; then the end of the
//! stream, and the wait for the peer's.

use super::{Batch, Flow, InBursts, Next, retry_cancel};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::{Kind, Token};

/// Sends whole messages until stopped or the count is reached, then ends the stream and waits for the peer's
/// end.
#[derive(Debug)]
pub(crate) struct StreamSend {
    message_bytes: u32,
    slots: u32,
    batch_max: u32,
    /// Bytes to reach, in whole messages; `None` goes on until stopped.
    limit: Option<u64>,
    bursts: InBursts,
    state: SendState,
    /// A batch is one send.
    bundles: bool,
    batch: Batch,
    /// Sends of the batch that are over, and messages of it that went whole.
    completed: u32,
    full: u32,
    /// Bytes sent of the batch's first message that is not whole yet.
    partial: u32,
    /// A send of the batch fell short or failed, so those behind it were not begun.
    broken: bool,
    failed: Option<Errno>,
    /// The peer's end of the stream is waited for while sending, too.
    watches_peer: bool,
    /// A receive is under way.
    receiving: bool,
    /// The peer has ended its side.
    peer_ended: bool,
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
            bursts: InBursts::default(),
            state: SendState::Sending,
            bundles: false,
            batch: Batch::default(),
            completed: 0,
            full: 0,
            partial: 0,
            broken: false,
            failed: None,
            watches_peer: false,
            receiving: false,
            peer_ended: false,
            tally: Tally::default(),
        }
    }

    /// Keeps a receive under way from the start, so that sending stops when the peer ends its side.
    pub(crate) fn watching_peer(self) -> Self {
        Self { watches_peer: true, ..self }
    }

    /// Sends each batch as one, which therefore does not go around the end of the slots.
    pub(crate) fn bundling(self) -> Self {
        Self { bundles: true, ..self }
    }

    /// Sends in bursts.
    pub(crate) fn in_bursts(self, bursts: InBursts) -> Self {
        Self { bursts, ..self }
    }

    /// Sends of the batch.
    fn sends(&self) -> u32 {
        if self.bundles { self.batch.messages.min(1) } else { self.batch.messages }
    }

    /// Bytes of the batch's sends, from one up to another.
    fn wanted(&self, from: u32, to: u32) -> u32 {
        let each = if self.bundles { self.batch.messages } else { 1 };
        let skipped = if from == 0 && to > 0 { self.batch.skip } else { 0 };
        (to - from) * each * self.message_bytes - skipped
    }

    fn outstanding(&self) -> u32 {
        self.sends() - self.completed
    }

    fn reached_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.tally.bytes_sent >= limit)
    }

    /// The next batch, from where the last one stopped.
    fn next_batch(&mut self) -> Batch {
        let most = self.batch_max.min(self.bursts.left(self.tally.messages_sent));
        let messages = match self.limit {
            None => most,
            Some(limit) => {
                let started = self.tally.bytes_sent - u64::from(self.batch.skip);
                let left = limit.saturating_sub(started).div_ceil(u64::from(self.message_bytes));
                u32::try_from(left).unwrap_or(u32::MAX).min(most)
            }
        };
        self.batch.messages =
            if self.bundles { messages.min(self.slots - self.batch.slot) } else { messages };
        self.completed = 0;
        self.full = 0;
        self.broken = false;
        self.partial = self.batch.skip;
        self.batch
    }

    fn drain(&mut self, end: End) -> Next {
        if self.peer_ended {
            return self.finish(end);
        }
        self.state = SendState::Draining(end);
        Next::EndStream { receive: !std::mem::replace(&mut self.receiving, true) }
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = SendState::Over;
        Next::Finish(end)
    }

    fn sent(&mut self, done: &Done) -> Next {
        let index = done.token.index;
        if index < self.completed || index >= self.sends() {
            self.tally.operations.stale += 1;
            return Next::Wait;
        }
        if !self.broken {
            // Those before it went whole, whether or not there was a completion of each.
            self.count(self.wanted(self.completed, index));
        }
        self.completed = index + 1;
        match done.result {
            Ok(0) => self.failed = Some(Errno::BROKEN_PIPE),
            Ok(bytes) => {
                let short = bytes < self.wanted(index, index + 1);
                self.broken |= short;
                self.tally.short_sends += u64::from(short);
                self.count(bytes);
            }
            // Nothing was sent, and nothing is wrong with the connection.
            Err(Errno::CANCELED | Errno::INTERRUPTED) => self.broken = true,
            Err(errno) => {
                self.broken = true;
                self.failed = self.failed.or(Some(errno));
            }
        }
        if self.outstanding() > 0 { Next::Wait } else { self.batch_over() }
    }

    /// Counts bytes that went on from where the last ones ended.
    fn count(&mut self, bytes: u32) {
        let reached = self.partial + bytes;
        let whole = reached / self.message_bytes;
        self.partial = reached % self.message_bytes;
        self.full += whole;
        self.tally.bytes_sent += u64::from(bytes);
        self.tally.messages_sent += u64::from(whole);
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
            // A receiver that has its count may end its side before we know of our last bytes.
            SendState::Stopping(End::PeerClosed) if self.reached_limit() => self.drain(End::Count),
            SendState::Stopping(end) => self.drain(end),
            _ if self.reached_limit() && self.batch.skip == 0 => self.drain(End::Count),
            _ => Next::Send(self.next_batch()),
        }
    }

    /// What a receive tells while sending.
    fn heard(&mut self, done: &Done) -> Next {
        self.receiving = done.more;
        match done.result {
            Ok(0) => self.peer_ended = true,
            // Nothing is expected from the peer; what comes is not counted.
            Ok(_) | Err(Errno::NO_BUFFERS | Errno::INTERRUPTED) => {
                let again = !std::mem::replace(&mut self.receiving, true);
                return if again { Next::Receive } else { Next::Wait };
            }
            Err(errno) => self.failed = self.failed.or(Some(errno)),
        }
        match self.state {
            SendState::Sending => self.stop(End::PeerClosed),
            // What is being cancelled comes back and sees what was heard.
            SendState::Stopping(_) | SendState::Draining(_) | SendState::Over => Next::Wait,
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
        let batch = self.next_batch();
        self.receiving = self.watches_peer;
        if self.watches_peer { Next::SendAndReceive(batch) } else { Next::Send(batch) }
    }

    fn step(&mut self, done: &Done) -> Next {
        match (done.token.kind, self.state) {
            (_, SendState::Over) => Next::Wait,
            (Kind::Send, _) => self.sent(done),
            (Kind::Receive, SendState::Draining(end)) => self.drained(done, end),
            (Kind::Receive, _) => self.heard(done),
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
            // By the clock, just when it is ending anyway: what was sent is still to be counted.
            SendState::Stopping(_) if end == End::PeerClosed => Next::Wait,
            SendState::Stopping(_) | SendState::Draining(_) => self.finish(end),
            SendState::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn per_send(&self) -> u32 {
        if self.bundles { self.slots } else { 1 }
    }

    fn is_paced(&self) -> bool {
        self.batch.skip == 0 && self.bursts.begins(self.tally.messages_sent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CANCELED, RESET, done, missed, received, sent};
    use super::*;

    const END_STREAM: Next = Next::EndStream { receive: true };

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
            assert_eq!(next, END_STREAM, "seed {seed}");
            assert_eq!(
                (at, flow.tally().bytes_sent, flow.tally().messages_sent),
                (105, 105, 15),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn a_count_may_be_larger_than_32_bits() {
        let mut flow = StreamSend::new(1, 5, 2, Some((1 << 32) + 1));
        assert_eq!(flow.start(), Next::Send(Batch { slot: 0, skip: 0, messages: 2 }));
        flow.tally.bytes_sent = (1 << 32) - 2;
        flow.step(&sent(0, 1));
        assert_eq!(flow.step(&sent(1, 1)), Next::Send(Batch { slot: 2, skip: 0, messages: 1 }));
        assert_eq!(flow.step(&sent(0, 1)), END_STREAM);
    }

    #[test]
    fn stopping_cancels_the_head_of_the_chain_and_then_ends_the_stream() {
        let mut flow = StreamSend::new(100, 5, 3, None);
        flow.start();
        flow.step(&sent(0, 100));
        assert_eq!(flow.stop(End::Stopped), Next::Cancel(Token::send(1)));
        // The cancel missed: message 1 was just completing, message 2 is under way.
        assert_eq!(flow.step(&sent(1, 100)), Next::Wait);
        assert_eq!(flow.step(&missed()), Next::Cancel(Token::send(2)));
        assert_eq!(flow.step(&done(Token::CANCEL, Ok(0), false)), Next::Wait);
        assert_eq!(flow.step(&sent(2, 40)), END_STREAM);
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
        assert_eq!(flow.stop(End::Stopped), Next::Wait);
    }

    #[test]
    fn the_clock_does_not_cut_short_the_count_of_a_sender_whose_peer_has_just_ended() {
        let mut flow = StreamSend::new(100, 5, 3, None).watching_peer();
        flow.start();
        assert_eq!(flow.step(&received(0, false)), Next::Cancel(Token::send(0)));
        assert_eq!(flow.stop(End::PeerClosed), Next::Wait);
        flow.step(&sent(1, 40));
        let next = flow.step(&done(Token::send(2), CANCELED, false));
        assert_eq!((next, flow.tally().bytes_sent), (Next::Finish(End::PeerClosed), 140));
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
        assert_eq!(counted.step(&sent(0, 100)), END_STREAM);
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
    }

    #[test]
    fn completions_that_nobody_waits_for_are_counted_and_dropped() {
        let mut flow = StreamSend::new(100, 5, 2, None);
        flow.start();
        assert_eq!(flow.step(&sent(9, 100)), Next::Wait);
        assert_eq!((flow.tally().operations.stale, flow.tally().bytes_sent), (1, 0));
        assert_eq!(flow.step(&sent(0, 100)), Next::Wait);
        assert_eq!(flow.step(&sent(0, 100)), Next::Wait);
        assert_eq!((flow.tally().operations.stale, flow.tally().bytes_sent), (2, 100));
    }

    /// A backend may leave out the completions of what went whole, and of what was not begun.
    #[test]
    fn a_completion_speaks_for_those_before_it_up_to_the_one_that_broke_the_chain() {
        let mut flow = StreamSend::new(100, 5, 4, None);
        flow.start();
        assert_eq!(flow.step(&sent(3, 100)), Next::Send(Batch { slot: 4, skip: 0, messages: 4 }));
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (4, 400));
        assert_eq!(flow.step(&sent(1, 30)), Next::Wait);
        let next = flow.step(&done(Token::send(3), CANCELED, false));
        assert_eq!(next, Next::Send(Batch { slot: 0, skip: 30, messages: 4 }));
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (5, 530));
        // The rest of the first, and two more.
        assert_eq!(flow.step(&done(Token::send(2), CANCELED, false)), Next::Wait);
        let next = flow.step(&done(Token::send(3), CANCELED, false));
        assert_eq!(next, Next::Send(Batch { slot: 2, skip: 0, messages: 4 }));
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (7, 700));
        assert_eq!((flow.tally().short_sends, flow.tally().operations.stale), (1, 0));
    }

    #[test]
    fn a_bundle_is_one_send_that_stops_at_the_last_slot_and_goes_on_in_the_midst_of_a_message() {
        let mut flow = StreamSend::new(100, 5, 5, Some(1200)).bundling();
        assert_eq!(flow.start(), Next::Send(Batch { slot: 0, skip: 0, messages: 5 }));
        assert_eq!(flow.step(&sent(0, 230)), Next::Send(Batch { slot: 2, skip: 30, messages: 3 }));
        assert_eq!((flow.tally().messages_sent, flow.tally().short_sends), (2, 1));
        assert_eq!(flow.step(&sent(1, 10)), Next::Wait);
        assert_eq!(flow.step(&sent(0, 70)), Next::Send(Batch { slot: 3, skip: 0, messages: 2 }));
        assert_eq!(flow.step(&sent(0, 200)), Next::Send(Batch { slot: 0, skip: 0, messages: 5 }));
        assert_eq!(flow.step(&sent(0, 500)), Next::Send(Batch { slot: 0, skip: 0, messages: 2 }));
        assert_eq!(flow.stop(End::Stopped), Next::Cancel(Token::send(0)));
        assert_eq!(flow.step(&sent(0, 150)), END_STREAM);
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (11, 1150));
        assert_eq!((flow.tally().short_sends, flow.tally().operations.stale), (3, 1));
    }

    #[test]
    fn no_batch_exceeds_a_burst_and_what_goes_on_with_one_is_not_paced() {
        let mut flow = StreamSend::new(100, 5, 3, Some(600)).in_bursts(InBursts::of(4));
        assert_eq!(
            (flow.start(), flow.is_paced()),
            (Next::Send(Batch { slot: 0, skip: 0, messages: 3 }), true)
        );
        flow.step(&sent(0, 100));
        flow.step(&sent(1, 30));
        let next = flow.step(&done(Token::send(2), CANCELED, false));
        assert_eq!((next, flow.is_paced()), (Next::Send(Batch { slot: 1, skip: 30, messages: 3 }), false));
        flow.step(&sent(0, 70));
        flow.step(&sent(1, 100));
        let next = flow.step(&sent(2, 99));
        assert_eq!((next, flow.is_paced()), (Next::Send(Batch { slot: 3, skip: 99, messages: 1 }), false));
        let next = flow.step(&sent(0, 1));
        assert_eq!((next, flow.is_paced()), (Next::Send(Batch { slot: 4, skip: 0, messages: 2 }), true));
        // Cut off within its first message, a burst has begun.
        let next = flow.step(&sent(0, 1));
        assert_eq!((next, flow.is_paced()), (Next::Wait, true));
        let next = flow.step(&done(Token::send(1), CANCELED, false));
        assert_eq!((next, flow.is_paced()), (Next::Send(Batch { slot: 4, skip: 1, messages: 2 }), false));
        let mut bundle = StreamSend::new(100, 5, 5, None).bundling().in_bursts(InBursts::of(3));
        assert_eq!(bundle.start(), Next::Send(Batch { slot: 0, skip: 0, messages: 3 }));
        assert_eq!(bundle.step(&sent(0, 300)), Next::Send(Batch { slot: 3, skip: 0, messages: 2 }));
        assert_eq!(bundle.step(&sent(0, 200)), Next::Send(Batch { slot: 0, skip: 0, messages: 1 }));
        assert!(!bundle.is_paced());
    }

    #[test]
    fn a_sender_that_watches_its_peer_stops_when_the_peer_ends_its_side() {
        let mut flow = StreamSend::new(100, 5, 2, None).watching_peer();
        assert_eq!(flow.start(), Next::SendAndReceive(Batch { slot: 0, skip: 0, messages: 2 }));
        // What the peer sends is dropped.
        assert_eq!(flow.step(&received(5, true)), Next::Wait);
        assert_eq!(flow.step(&received(5, false)), Next::Receive);
        assert_eq!(flow.step(&sent(0, 100)), Next::Wait);
        assert_eq!(flow.step(&received(0, false)), Next::Cancel(Token::send(1)));
        assert_eq!(flow.step(&done(Token::CANCEL, Ok(0), false)), Next::Wait);
        assert_eq!(flow.step(&done(Token::send(1), CANCELED, false)), Next::Finish(End::PeerClosed));
        assert_eq!((flow.tally().bytes_sent, flow.tally().bytes_received), (100, 0));
    }

    #[test]
    fn a_watching_sender_ends_its_stream_with_the_receive_it_has() {
        let mut flow = StreamSend::new(100, 5, 1, Some(100)).watching_peer();
        flow.start();
        assert_eq!(flow.step(&sent(0, 100)), Next::EndStream { receive: false });
        assert_eq!(flow.step(&received(0, false)), Next::Finish(End::Count));
        // The peer has its count and says so before our last send has.
        let mut flow = StreamSend::new(100, 5, 1, Some(100)).watching_peer();
        flow.start();
        assert_eq!(flow.step(&received(0, false)), Next::Cancel(Token::send(0)));
        assert_eq!(flow.step(&sent(0, 100)), Next::Finish(End::Count));
        // Stopped by us, and the peer's end comes while the batch is cancelled.
        let mut flow = StreamSend::new(100, 5, 1, None).watching_peer();
        flow.start();
        assert_eq!(flow.stop(End::Stopped), Next::Cancel(Token::send(0)));
        assert_eq!(flow.step(&received(0, false)), Next::Wait);
        assert_eq!(flow.step(&sent(0, 30)), Next::Finish(End::Stopped));
    }

    #[test]
    fn a_reset_that_the_receive_meets_is_the_failure() {
        let mut flow = StreamSend::new(100, 5, 1, None).watching_peer();
        flow.start();
        assert_eq!(flow.step(&done(Token::RECEIVE, RESET, false)), Next::Cancel(Token::send(0)));
        let broken = done(Token::send(0), Err(Errno::BROKEN_PIPE), false);
        assert_eq!(flow.step(&broken), Next::Finish(End::Failed(104)));
    }
}
