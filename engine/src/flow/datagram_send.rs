//! The sender of datagrams.
//!
//! A datagram goes whole or not at all and the order does not matter, so the sends of a batch stand by
//! themselves and complete in any order. The end are empty datagrams: nothing comes back that could be
//! waited for.

use super::{Batch, Flow, Next, retry_cancel};
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
    state: State,
    /// Slot of the next batch's first message.
    slot: u32,
    /// A bit for each send under way, by its index in the batch.
    pending: u64,
    /// The send that is being cancelled.
    target: u32,
    /// A cancel missed a send that was between two of its steps.
    missed: bool,
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
            state: State::Sending,
            slot: 0,
            pending: 0,
            target: 0,
            missed: false,
            failed: None,
            tally: Tally::default(),
        }
    }

    fn reached_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.tally.bytes_sent >= limit)
    }

    fn send(&mut self) -> Next {
        let messages = match self.limit {
            None => self.batch_max,
            Some(limit) => {
                let left = limit.saturating_sub(self.tally.bytes_sent);
                let left = left.div_ceil(u64::from(self.message_bytes));
                u32::try_from(left).unwrap_or(u32::MAX).min(self.batch_max)
            }
        };
        let batch = Batch { slot: self.slot, skip: 0, messages };
        self.slot = (self.slot + messages) % self.slots;
        self.pending = lowest(messages);
        Next::Send(batch)
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
                self.tally.bytes_sent += u64::from(bytes);
                self.tally.messages_sent += 1;
            }
            Err(Errno::NO_BUFFERS) => self.tally.failed_sends += 1,
            Err(Errno::CANCELED | Errno::INTERRUPTED) => {}
            Err(errno) => self.failed = self.failed.or(Some(errno)),
        }
        match (self.failed, self.state) {
            (Some(errno), _) if self.pending == 0 => self.finish(End::Failed(errno.0)),
            (Some(errno), State::Sending) => self.stop(End::Failed(errno.0)),
            (_, _) if self.pending != 0 => Next::Wait,
            (_, State::Stopping(end)) => self.mark(end),
            _ if self.reached_limit() => self.mark(End::Count),
            _ => self.send(),
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
