//! The sender of datagrams.
//!
//! A datagram goes whole or not at all and the order does not matter, so the sends of a batch stand by
//! themselves and complete in any order. One send may carry several datagrams, which the kernel takes apart;
//! all counts are of datagrams. The end are empty datagrams: nothing comes back that could be waited for.

use super::{Batch, Flow, InBursts, Next, retry_cancel};
use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::{Kind, Token};

/// Empty datagrams at the end: netperf sends as many, because each may get lost.
pub(crate) const MARKS: u32 = 3;

/// Sends datagrams until stopped or the count is reached, then the marks of the end.
#[derive(Debug)]
pub(crate) struct DatagramSend {
    message_bytes: u32,
    slots: u32,
    batch_max: u32,
    /// Bytes to reach, in whole datagrams; `None` goes on until stopped.
    limit: Option<u64>,
    bursts: InBursts,
    state: State,
    /// Messages of each send.
    per_send: u32,
    /// The kernel takes sends apart, unless the first ones show that it cannot.
    segmented: bool,
    /// The batch under way, or the last one.
    batch: Batch,
    /// A bit for each send under way, by its index in the batch.
    pending: u64,
    /// The send that is being cancelled.
    target: u32,
    /// A cancel missed a send that was between two of its steps.
    missed: bool,
    /// Why the kernel would not take a send apart.
    refused: Option<Errno>,
    failed: Option<Errno>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sending,
    /// The batch is being cancelled; then the marks go out, and it is over with this result.
    Stopping(End),
    Marking(End),
    Over,
}

impl DatagramSend {
    /// `batch_max` is 64 at most.
    pub(crate) fn new(message_bytes: u32, slots: u32, batch_max: u32, limit: Option<u64>) -> Self {
        Self {
            message_bytes,
            slots,
            batch_max: batch_max.min(u64::BITS),
            limit,
            bursts: InBursts::default(),
            state: State::Sending,
            per_send: 1,
            segmented: false,
            batch: Batch::default(),
            pending: 0,
            target: 0,
            missed: false,
            refused: None,
            failed: None,
            tally: Tally::default(),
        }
    }

    /// Each send carries so many datagrams, where the kernel takes them apart.
    pub(crate) fn segmented(self, per_send: u32) -> Self {
        Self { per_send, segmented: true, ..self }
    }

    /// Sends in bursts.
    pub(crate) fn in_bursts(self, bursts: InBursts) -> Self {
        Self { bursts, ..self }
    }

    /// Datagrams that the kernel has taken or refused.
    fn gone(&self) -> u64 {
        self.tally.messages_sent + self.tally.failed_sends
    }

    /// How many datagrams a send of the batch carries.
    fn datagrams(&self, index: u32) -> u32 {
        self.per_send.min(self.batch.messages.saturating_sub(index.saturating_mul(self.per_send)))
    }

    fn reached_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.tally.bytes_sent >= limit)
    }

    /// The next batch, from this slot on.
    fn next_batch(&mut self, slot: u32) -> Batch {
        let most = (self.batch_max * self.per_send).min(self.bursts.left(self.gone()));
        let messages = match self.limit {
            None => most,
            Some(limit) => {
                let left = limit.saturating_sub(self.tally.bytes_sent);
                let left = left.div_ceil(u64::from(self.message_bytes));
                u32::try_from(left).unwrap_or(u32::MAX).min(most)
            }
        };
        self.batch = Batch { slot, skip: 0, messages };
        self.pending = lowest(messages.div_ceil(self.per_send));
        self.batch
    }

    fn send(&mut self) -> Next {
        let sends = self.batch.messages.div_ceil(self.per_send);
        let slot = self.batch.place(sends * self.per_send, self.slots, self.per_send);
        Next::Send(self.next_batch(slot))
    }

    /// The same once more, each datagram by itself from now on.
    fn send_unsegmented(&mut self, errno: Errno) -> Next {
        (self.segmented, self.per_send, self.refused) = (false, 1, None);
        Next::SendUnsegmented(self.next_batch(self.batch.slot), errno)
    }

    fn mark(&mut self, end: End) -> Next {
        self.state = State::Marking(end);
        self.pending = lowest(MARKS);
        Next::SendMarks
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = State::Over;
        Next::Finish(end)
    }

    fn sent(&mut self, done: &Done) -> Next {
        let bit = 1u64.checked_shl(done.token.index).unwrap_or(0);
        if self.pending & bit == 0 {
            self.tally.operations.stale += 1;
            return Next::Wait;
        }
        self.pending &= !bit;
        if let State::Marking(end) = self.state {
            // Refused they may be: a receiver that has seen the first has gone.
            return if self.pending == 0 { self.finish(end) } else { Next::Wait };
        }
        match done.result {
            Ok(bytes) => {
                let datagrams = bytes.div_ceil(self.message_bytes);
                self.tally.bytes_sent += u64::from(bytes);
                self.tally.messages_sent += u64::from(datagrams);
                self.tally.operations.segmented_sends += u64::from(datagrams > 1);
            }
            Err(Errno::NO_BUFFERS) => {
                self.tally.failed_sends += u64::from(self.datagrams(done.token.index));
            }
            Err(Errno::CANCELED | Errno::INTERRUPTED) => {}
            Err(errno) if self.segmented && is_about_segments(errno) => {
                self.refused = self.refused.or(Some(errno));
            }
            Err(errno) => self.failed = self.failed.or(Some(errno)),
        }
        match (self.failed, self.state) {
            (Some(errno), _) if self.pending == 0 => self.finish(End::Failed(errno.0)),
            (Some(errno), State::Sending) => self.stop(End::Failed(errno.0)),
            (_, _) if self.pending != 0 => Next::Wait,
            (_, State::Stopping(end)) => self.mark(end),
            _ if self.reached_limit() => self.mark(End::Count),
            _ => match self.refused {
                Some(errno) => self.send_unsegmented(errno),
                None => self.send(),
            },
        }
    }

    fn cancel(&mut self, target: u32) -> Next {
        self.target = target;
        Next::Cancel(Token::send(target))
    }

    /// One cancel is through: on to the next send under way, and once more around for those it missed.
    fn cancelled(&mut self, done: &Done) -> Next {
        self.missed |= retry_cancel(done);
        let above = self.pending & !lowest(self.target + 1);
        if above != 0 {
            self.cancel(above.trailing_zeros())
        } else if self.pending != 0 && std::mem::take(&mut self.missed) {
            self.cancel(self.pending.trailing_zeros())
        } else {
            // The rest has been found and will complete.
            Next::Wait
        }
    }
}

/// What a kernel says where the way out cannot take sends apart: EIO without a device that sums up, EMSGSIZE
/// or EINVAL where a datagram does not fit its packets.
fn is_about_segments(errno: Errno) -> bool {
    matches!(errno, Errno::IO | Errno::INVALID | Errno::MESSAGE_SIZE)
}

/// The lowest `count` bits.
fn lowest(count: u32) -> u64 {
    1u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1)
}

impl Flow for DatagramSend {
    fn start(&mut self) -> Next {
        self.send()
    }

    fn step(&mut self, done: &Done) -> Next {
        match (done.token.kind, self.state) {
            (_, State::Over) => Next::Wait,
            (Kind::Send, _) => self.sent(done),
            (Kind::Cancel, State::Stopping(_)) => self.cancelled(done),
            _ => Next::Wait,
        }
    }

    fn stop(&mut self, end: End) -> Next {
        match self.state {
            State::Sending if self.pending != 0 => {
                self.state = State::Stopping(end);
                self.cancel(self.pending.trailing_zeros())
            }
            State::Sending => self.mark(end),
            State::Stopping(_) | State::Marking(_) => self.finish(end),
            State::Over => Next::Wait,
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn per_send(&self) -> u32 {
        self.per_send
    }

    fn is_paced(&self) -> bool {
        self.bursts.begins(self.gone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CANCELED, done, missed, sent};
    use super::*;

    const REFUSED: Result<u32, Errno> = Err(Errno(111));
    const FULL: Result<u32, Errno> = Err(Errno::NO_BUFFERS);

    fn batch(slot: u32, messages: u32) -> Next {
        Next::Send(Batch { slot, skip: 0, messages })
    }

    fn marks_then(flow: &mut DatagramSend, end: End) {
        assert_eq!(flow.step(&sent(2, 0)), Next::Wait);
        assert_eq!(flow.step(&done(Token::send(0), REFUSED, false)), Next::Wait);
        assert_eq!(flow.step(&sent(1, 0)), Next::Finish(end));
    }

    #[test]
    fn a_batch_follows_a_batch_in_whatever_order_it_completes() {
        let mut flow = DatagramSend::new(100, 5, 3, None);
        assert_eq!(flow.start(), batch(0, 3));
        assert_eq!(flow.step(&sent(2, 100)), Next::Wait);
        assert_eq!(flow.step(&sent(0, 100)), Next::Wait);
        assert_eq!(flow.step(&sent(1, 100)), batch(3, 3));
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (3, 300));
        // Neither twice nor out of range.
        flow.step(&sent(0, 100));
        flow.step(&sent(0, 100));
        flow.step(&sent(3, 100));
        flow.step(&sent(64, 100));
        assert_eq!((flow.tally().operations.stale, flow.tally().bytes_sent), (3, 400));
    }

    #[test]
    fn a_count_is_reached_in_whole_datagrams_and_marked() {
        let mut flow = DatagramSend::new(100, 5, 2, Some(250));
        assert_eq!(flow.start(), batch(0, 2));
        flow.step(&sent(0, 100));
        assert_eq!(flow.step(&sent(1, 100)), batch(2, 1));
        assert_eq!(flow.step(&sent(0, 100)), Next::SendMarks);
        marks_then(&mut flow, End::Count);
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (3, 300));
        assert_eq!(flow.step(&sent(0, 100)), Next::Wait);
    }

    #[test]
    fn a_count_may_be_larger_than_32_bits() {
        let mut flow = DatagramSend::new(1, 5, 2, Some((1 << 32) + 1));
        assert_eq!(flow.start(), batch(0, 2));
        flow.tally.bytes_sent = (1 << 32) - 2;
        flow.step(&sent(0, 1));
        assert_eq!(flow.step(&sent(1, 1)), batch(2, 1));
        assert_eq!(flow.step(&sent(0, 1)), Next::SendMarks);
    }

    #[test]
    fn a_full_queue_is_counted_and_what_it_refused_is_sent_again() {
        let mut flow = DatagramSend::new(100, 5, 2, Some(200));
        flow.start();
        flow.step(&done(Token::send(0), FULL, false));
        assert_eq!(flow.step(&sent(1, 100)), batch(2, 1));
        assert_eq!(flow.step(&done(Token::send(0), FULL, false)), batch(3, 1));
        assert_eq!(flow.step(&sent(0, 100)), Next::SendMarks);
        let tally = flow.tally();
        assert_eq!((tally.failed_sends, tally.messages_sent, tally.bytes_sent), (2, 2, 200));
    }

    #[test]
    fn any_other_error_ends_it_without_marks_once_the_batch_is_in() {
        let mut flow = DatagramSend::new(100, 5, 3, None);
        flow.start();
        assert_eq!(flow.step(&sent(0, 100)), Next::Wait);
        assert_eq!(flow.step(&done(Token::send(1), REFUSED, false)), Next::Cancel(Token::send(2)));
        assert_eq!(flow.step(&sent(2, 100)), Next::Finish(End::Failed(111)));
        assert_eq!(flow.tally().messages_sent, 2);
        let mut single = DatagramSend::new(100, 5, 1, None);
        single.start();
        assert_eq!(single.step(&done(Token::send(0), REFUSED, false)), Next::Finish(End::Failed(111)));
    }

    #[test]
    fn stopping_cancels_what_is_under_way_one_by_one_and_again_what_was_missed() {
        let mut flow = DatagramSend::new(100, 70, 64, None);
        assert_eq!(flow.start(), batch(0, 64));
        for index in (0..63).filter(|index| *index != 7) {
            flow.step(&sent(index, 100));
        }
        assert_eq!(flow.stop(End::Timer), Next::Cancel(Token::send(7)));
        assert_eq!(flow.step(&missed()), Next::Cancel(Token::send(63)));
        assert_eq!(flow.step(&done(Token::send(63), CANCELED, false)), Next::Wait);
        assert_eq!(flow.step(&done(Token::CANCEL, Ok(0), false)), Next::Cancel(Token::send(7)));
        assert_eq!(flow.step(&done(Token::CANCEL, Ok(0), false)), Next::Wait);
        assert_eq!(flow.step(&done(Token::send(7), CANCELED, false)), Next::SendMarks);
        assert_eq!(flow.step(&missed()), Next::Wait);
        marks_then(&mut flow, End::Timer);
        assert_eq!(flow.tally().messages_sent, 62);
    }

    #[test]
    fn a_send_of_many_datagrams_counts_each_of_them() {
        let mut flow = DatagramSend::new(100, 10, 2, Some(1250)).segmented(4);
        assert_eq!((flow.start(), flow.per_send()), (batch(0, 8), 4));
        assert_eq!(flow.step(&sent(1, 400)), Next::Wait);
        assert_eq!((flow.tally().messages_sent, flow.tally().bytes_sent), (4, 400));
        assert_eq!(flow.tally().operations.segmented_sends, 1);
        // Of ten slots two sends of four use eight, so the next batch begins anew; what was refused is left.
        assert_eq!(flow.step(&done(Token::send(0), FULL, false)), batch(0, 8));
        assert_eq!(flow.tally().failed_sends, 4);
        flow.step(&sent(0, 400));
        assert_eq!(flow.step(&sent(1, 400)), batch(0, 1));
        assert_eq!(flow.step(&done(Token::send(0), FULL, false)), batch(4, 1));
        assert_eq!(flow.tally().failed_sends, 5);
        assert_eq!(flow.step(&sent(0, 100)), Next::SendMarks);
        marks_then(&mut flow, End::Count);
        let tally = flow.tally();
        assert_eq!((tally.messages_sent, tally.bytes_sent), (13, 1300));
        assert_eq!(tally.operations.segmented_sends, 3);
    }

    #[test]
    fn no_batch_exceeds_a_burst_of_which_a_refused_datagram_is_one() {
        let mut flow = DatagramSend::new(100, 8, 2, None).in_bursts(InBursts::of(3));
        assert_eq!((flow.start(), flow.is_paced()), (batch(0, 2), true));
        flow.step(&sent(0, 100));
        assert_eq!((flow.step(&done(Token::send(1), FULL, false)), flow.is_paced()), (batch(2, 1), false));
        assert_eq!((flow.step(&sent(0, 100)), flow.is_paced()), (batch(3, 2), true));
        let mut segmented = DatagramSend::new(100, 8, 2, None).segmented(4).in_bursts(InBursts::of(6));
        assert_eq!(segmented.start(), batch(0, 6));
        segmented.step(&sent(0, 400));
        assert_eq!((segmented.step(&sent(1, 200)), segmented.is_paced()), (batch(0, 6), true));
    }

    #[test]
    fn a_kernel_that_takes_no_send_apart_gets_the_same_batch_datagram_by_datagram() {
        for errno in [Errno::IO, Errno::INVALID, Errno::MESSAGE_SIZE] {
            let mut flow = DatagramSend::new(100, 16, 2, None).segmented(4);
            flow.start();
            flow.step(&sent(0, 400));
            assert_eq!(flow.step(&sent(1, 400)), batch(8, 8));
            assert_eq!(flow.step(&done(Token::send(1), Err(errno), false)), Next::Wait);
            let next = flow.step(&done(Token::send(0), Err(errno), false));
            let again = Batch { slot: 8, skip: 0, messages: 2 };
            assert_eq!((next, flow.per_send()), (Next::SendUnsegmented(again, errno), 1));
            flow.step(&sent(0, 100));
            assert_eq!(flow.step(&sent(1, 100)), batch(10, 2));
            assert_eq!((flow.tally().messages_sent, flow.tally().operations.segmented_sends), (10, 2));
            // Now it is an error as any other.
            flow.step(&sent(0, 100));
            let failed = Next::Finish(End::Failed(errno.0));
            assert_eq!(flow.step(&done(Token::send(1), Err(errno), false)), failed);
        }
    }

    #[test]
    fn a_refusal_to_take_sends_apart_hides_neither_a_stop_nor_a_failure() {
        let refusal = done(Token::send(0), Err(Errno::IO), false);
        let mut stopped = DatagramSend::new(100, 16, 2, None).segmented(4);
        stopped.start();
        stopped.stop(End::Timer);
        stopped.step(&refusal);
        assert_eq!(stopped.step(&done(Token::send(1), CANCELED, false)), Next::SendMarks);
        let mut failed = DatagramSend::new(100, 16, 2, None).segmented(4);
        failed.start();
        failed.step(&refusal);
        assert_eq!(failed.step(&done(Token::send(1), REFUSED, false)), Next::Finish(End::Failed(111)));
    }

    #[test]
    fn a_second_stop_finishes_at_once() {
        for turns in [0, 1] {
            let mut flow = DatagramSend::new(100, 5, 1, None);
            flow.start();
            flow.stop(End::Timer);
            if turns == 1 {
                assert_eq!(flow.step(&sent(0, 100)), Next::SendMarks);
            }
            assert_eq!(flow.stop(End::DrainTimeout), Next::Finish(End::DrainTimeout));
            assert_eq!(flow.stop(End::Stopped), Next::Wait);
        }
    }
}
