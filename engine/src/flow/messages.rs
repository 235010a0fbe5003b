//! Messages of one size over a stream: what comes of them, and what is to go out.
//!
//! A receive may bring a part of a message or many, so what comes is counted by bytes. What goes out keeps
//! its order: one send at a time, with as many messages as are owed by then.

use super::{Batch, InBursts, Next};
use crate::backend::Done;
use crate::outcome::Tally;
use crate::sys::Errno;
use crate::token::Kind;

/// Counts messages that come.
#[derive(Debug)]
pub(super) struct Inbox {
    message_bytes: u32,
    /// Bytes of the message that is not whole yet.
    partial: u32,
}

impl Inbox {
    pub(super) fn new(message_bytes: u32) -> Self {
        Self { message_bytes, partial: 0 }
    }

    /// Takes bytes; how many messages are whole with them.
    pub(super) fn take(&mut self, bytes: u32) -> u32 {
        let reached = self.partial + bytes;
        if reached < self.message_bytes {
            self.partial = reached;
            return 0;
        }
        self.partial = reached % self.message_bytes;
        reached / self.message_bytes
    }
}

/// What messages are made of, and how they may be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages {
    pub(crate) message_bytes: u32,
    /// Slots that they lie in, one behind the other.
    pub(crate) slots: u32,
    /// Most of them in one send.
    pub(crate) together: u32,
    /// Sends may be offered to the kernel.
    pub(crate) offers: bool,
    pub(crate) bursts: InBursts,
}

/// Sends the messages that are owed.
#[derive(Debug)]
pub(super) struct Outbox {
    messages: Messages,
    /// Bytes that are to go in all, whole messages of them.
    owed: u64,
    /// Bytes that have gone. What was offered counts as gone unless the kernel says otherwise.
    sent: u64,
    handed: Handed,
    /// The last offer was not taken in full: what is left is sent.
    fell_short: bool,
    short_sends: u64,
}

/// What the kernel was given last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handed {
    Nothing,
    /// So many bytes. Its completion comes in the turn after, or not at all.
    Offered(u32),
    /// So many bytes, whose completion is still to come.
    Sending(u32),
}

/// Most bytes of an offer: one that is not taken in full costs more than it saves, and more than this may
/// well not fit a socket's buffer.
const OFFER_BYTES_MAX: u32 = 64 << 10;

impl Outbox {
    pub(super) fn new(messages: Messages) -> Self {
        Self { messages, owed: 0, sent: 0, handed: Handed::Nothing, fell_short: false, short_sends: 0 }
    }

    /// What is to go now begins a burst.
    pub(super) fn begins_burst(&self) -> bool {
        self.sent.is_multiple_of(self.messages.message_bytes.into())
            && self.messages.bursts.begins(self.whole())
    }

    /// So many more messages are to go out.
    pub(super) fn owe(&mut self, messages: u32) {
        self.owed += u64::from(messages) * u64::from(self.messages.message_bytes);
    }

    /// Most messages of one send.
    pub(super) fn together(&self) -> u32 {
        self.messages.together
    }

    /// Everything has gone.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.owed && !matches!(self.handed, Handed::Sending(_))
    }

    /// Nothing more is to go out than what is under way.
    pub(super) fn forget(&mut self) {
        self.owed = self.sent;
    }

    /// Messages that have gone whole.
    pub(super) fn whole(&self) -> u64 {
        self.sent / u64::from(self.messages.message_bytes)
    }

    /// Messages that were to go out so far.
    pub(super) fn asked(&self) -> u64 {
        self.owed / u64::from(self.messages.message_bytes)
    }

    /// What is to be sent now, at the end of a turn. `None`: nothing, or not yet.
    pub(super) fn next(&mut self) -> Option<Next> {
        let batch = self.batch()?;
        let bytes = batch.messages * self.messages.message_bytes - batch.skip;
        let offer = self.messages.offers && !self.fell_short && bytes <= OFFER_BYTES_MAX;
        if !offer {
            return Some(Next::Send(self.sending(batch)));
        }
        self.handed = Handed::Offered(bytes);
        self.sent += u64::from(bytes);
        Some(Next::Offer(batch))
    }

    /// The same by a send that completes in any case.
    pub(super) fn send(&mut self) -> Option<Batch> {
        let batch = self.batch()?;
        Some(self.sending(batch))
    }

    /// As many of the messages that are owed as lie side by side.
    fn batch(&self) -> Option<Batch> {
        if self.sent == self.owed || matches!(self.handed, Handed::Sending(_)) {
            return None;
        }
        let Messages { message_bytes, slots, together, bursts, .. } = self.messages;
        let each = u64::from(message_bytes);
        let slot = (self.sent / each % u64::from(slots)) as u32;
        let skip = (self.sent % each) as u32;
        let left = (self.owed - self.sent).div_ceil(each);
        let together = together.min(slots - slot).min(bursts.left(self.whole()));
        let messages = u32::try_from(left).unwrap_or(u32::MAX).min(together);
        Some(Batch { slot, skip, messages })
    }

    fn sending(&mut self, batch: Batch) -> Batch {
        self.handed = Handed::Sending(batch.messages * self.messages.message_bytes - batch.skip);
        self.fell_short = false;
        batch
    }

    /// Takes the completion of a send, or of an offer; what is wrong with the connection, if anything.
    pub(super) fn completed(&mut self, done: &Done) -> Result<(), Errno> {
        let (bytes, went) = match (done.token.kind, self.handed) {
            (Kind::Offer, Handed::Offered(bytes)) => {
                self.sent -= u64::from(bytes);
                self.fell_short = true;
                (bytes, done.result)
            }
            (Kind::Send, Handed::Sending(bytes)) => (bytes, done.result),
            // Of nothing that was asked for.
            _ => return Ok(()),
        };
        self.handed = Handed::Nothing;
        let went = match went {
            Ok(0) => return Err(Errno::BROKEN_PIPE),
            Ok(went) => went.min(bytes),
            // Nothing was sent, and nothing is wrong with the connection.
            Err(Errno::AGAIN | Errno::CANCELED | Errno::INTERRUPTED) => 0,
            Err(errno) => return Err(errno),
        };
        self.sent += u64::from(went);
        self.fell_short &= went < bytes;
        self.short_sends += u64::from(went < bytes);
        Ok(())
    }

    /// Adds what has gone.
    pub(super) fn count(&self, tally: &mut Tally) {
        tally.bytes_sent = self.sent;
        tally.messages_sent = self.whole();
        tally.short_sends = self.short_sends;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{RESET, done, sent};
    use super::*;
    use crate::token::Token;

    fn outgoing(message_bytes: u32, slots: u32, offers: bool) -> Messages {
        Messages { message_bytes, slots, together: slots, offers, bursts: InBursts::default() }
    }

    fn offer(slot: u32, skip: u32, messages: u32) -> Option<Next> {
        Some(Next::Offer(Batch { slot, skip, messages }))
    }

    fn send(slot: u32, skip: u32, messages: u32) -> Option<Next> {
        Some(Next::Send(Batch { slot, skip, messages }))
    }

    fn refused(result: Result<u32, Errno>) -> Done {
        done(Token::offer(0), result, false)
    }

    #[test]
    fn messages_are_counted_however_they_come() {
        let mut inbox = Inbox::new(10);
        let whole: Vec<u32> =
            [3, 6, 1, 10, 25, 5, 0, 9, 1].into_iter().map(|bytes| inbox.take(bytes)).collect();
        assert_eq!(whole, [0, 0, 1, 1, 2, 1, 0, 0, 1]);
        let mut single = Inbox::new(1);
        assert_eq!((single.take(1), single.take(7)), (1, 7));
    }

    #[test]
    fn what_is_owed_by_the_end_of_a_turn_goes_together_around_the_slots() {
        let mut outbox = Outbox::new(outgoing(10, 4, true));
        assert_eq!(outbox.next(), None);
        outbox.owe(3);
        assert_eq!(outbox.next(), offer(0, 0, 3));
        assert!(outbox.is_empty() && outbox.whole() == 3);
        outbox.owe(2);
        assert_eq!(outbox.next(), offer(3, 0, 1));
        assert!(!outbox.is_empty());
        assert_eq!(outbox.next(), offer(0, 0, 1));
        assert!(outbox.is_empty() && outbox.whole() == 5);
    }

    #[test]
    fn an_offer_that_falls_short_is_finished_by_a_send_before_anything_else() {
        let mut outbox = Outbox::new(outgoing(10, 4, true));
        outbox.owe(3);
        assert_eq!(outbox.next(), offer(0, 0, 3));
        assert_eq!(outbox.completed(&refused(Ok(12))), Ok(()));
        assert_eq!((outbox.sent, outbox.whole()), (12, 1));
        outbox.owe(1);
        assert_eq!(outbox.next(), send(1, 2, 3));
        outbox.owe(1);
        assert_eq!(outbox.next(), None);
        assert!(!outbox.is_empty());
        assert_eq!(outbox.completed(&sent(0, 28)), Ok(()));
        assert_eq!(outbox.next(), offer(0, 0, 1));
        assert_eq!(outbox.completed(&refused(Err(Errno::AGAIN))), Ok(()));
        assert_eq!((outbox.sent, outbox.short_sends), (40, 2));
        assert_eq!(outbox.next(), send(0, 0, 1));
        // Short itself, so it goes on.
        assert_eq!(outbox.completed(&sent(0, 4)), Ok(()));
        assert_eq!(outbox.next(), offer(0, 4, 1));
        assert!(outbox.is_empty());
    }

    #[test]
    fn large_messages_and_those_of_a_backend_without_offers_are_sent() {
        let mut large = Outbox::new(outgoing(OFFER_BYTES_MAX + 1, 2, true));
        large.owe(1);
        assert_eq!(large.next(), send(0, 0, 1));
        let mut single = Outbox::new(Messages { together: 1, ..outgoing(10, 4, false) });
        single.owe(2);
        assert_eq!(single.next(), send(0, 0, 1));
        assert_eq!(single.next(), None);
        assert_eq!(single.completed(&sent(0, 10)), Ok(()));
        assert_eq!(single.next(), send(1, 0, 1));
    }

    #[test]
    fn bursts_go_by_sends_that_do_not_exceed_them() {
        let mut outbox = Outbox::new(Messages { bursts: InBursts::of(3), ..outgoing(10, 8, false) });
        outbox.owe(5);
        assert_eq!((outbox.next(), outbox.begins_burst()), (send(0, 0, 3), true));
        assert_eq!(outbox.completed(&sent(0, 4)), Ok(()));
        assert_eq!((outbox.next(), outbox.begins_burst()), (send(0, 4, 3), false));
        assert_eq!(outbox.completed(&sent(0, 16)), Ok(()));
        assert_eq!((outbox.next(), outbox.begins_burst()), (send(2, 0, 1), false));
        assert_eq!(outbox.completed(&sent(0, 10)), Ok(()));
        assert_eq!((outbox.next(), outbox.begins_burst()), (send(3, 0, 2), true));
    }

    #[test]
    fn what_is_wrong_with_the_connection_is_told() {
        let mut outbox = Outbox::new(outgoing(10, 4, true));
        outbox.owe(1);
        outbox.next();
        assert_eq!(outbox.completed(&refused(RESET)), Err(Errno::RESET));
        assert_eq!(outbox.sent, 0);
        // A completion of nothing that is under way changes nothing.
        assert_eq!(outbox.completed(&refused(Ok(5))), Ok(()));
        assert_eq!(outbox.completed(&sent(0, 5)), Ok(()));
        assert_eq!(outbox.sent, 0);
        outbox.forget();
        assert!(outbox.is_empty());
    }
}
