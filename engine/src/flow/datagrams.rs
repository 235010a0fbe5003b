//! Datagrams of one size that are to go out, of requests or of responses.
//!
//! Each goes whole or not at all, and in no order. One that a full queue refuses is lost like any other; one
//! that finds no room in the socket's buffer goes by a send that waits for it.

use super::{Batch, Messages, Next};
use crate::backend::Done;
use crate::outcome::Tally;
use crate::sys::Errno;
use crate::token::Kind;

/// Sends the datagrams that are owed.
#[derive(Debug)]
pub(super) struct Datagrams {
    messages: Messages,
    /// Still to be handed over.
    owed: u64,
    slot: u32,
    /// Of the last ones that were offered, how many the kernel may still speak of.
    offered: u32,
    /// A bit for each send under way.
    pending: u64,
    /// An offer found no room.
    fell_short: bool,
    /// Those that have gone. What was offered counts as gone unless the kernel says otherwise.
    gone: u64,
    failed: u64,
}

impl Datagrams {
    pub(super) fn new(messages: Messages) -> Self {
        let messages = Messages { together: messages.together.min(u64::BITS), ..messages };
        Self { messages, owed: 0, slot: 0, offered: 0, pending: 0, fell_short: false, gone: 0, failed: 0 }
    }

    /// So many more are to go out.
    pub(super) fn owe(&mut self, datagrams: u64) {
        self.owed += datagrams;
    }

    /// No more are to go out than those under way.
    pub(super) fn forget(&mut self) {
        self.owed = 0;
    }

    /// Sends are under way.
    pub(super) fn sending(&self) -> bool {
        self.pending != 0
    }

    /// Everything has gone.
    pub(super) fn is_empty(&self) -> bool {
        self.owed == 0 && !self.sending()
    }

    /// What is to be sent now. `None`: nothing, or not yet.
    pub(super) fn next(&mut self) -> Option<Next> {
        if !self.messages.offers || self.fell_short {
            return self.send().map(Next::Send);
        }
        let batch = self.batch()?;
        self.offered = batch.messages;
        self.gone += u64::from(batch.messages);
        Some(Next::Offer(batch))
    }

    /// The same by sends that complete in any case.
    pub(super) fn send(&mut self) -> Option<Batch> {
        let batch = self.batch()?;
        self.fell_short = false;
        self.pending = u64::MAX >> (u64::BITS - batch.messages);
        Some(batch)
    }

    /// Those that the kernel has taken or refused.
    fn over(&self) -> u64 {
        self.gone + self.failed
    }

    /// What is to go now begins a burst.
    pub(super) fn begins_burst(&self) -> bool {
        self.messages.bursts.begins(self.over())
    }

    fn batch(&mut self) -> Option<Batch> {
        if self.owed == 0 || self.sending() {
            return None;
        }
        let messages = u32::try_from(self.owed).unwrap_or(u32::MAX);
        let messages = messages.min(self.messages.together).min(self.messages.bursts.left(self.over()));
        let batch = Batch { slot: self.slot, skip: 0, messages };
        self.slot = batch.place(messages, self.messages.slots, 1);
        self.owed -= u64::from(messages);
        Some(batch)
    }

    /// Takes the completion of a send, or of an offer; what is wrong with the socket, if anything.
    pub(super) fn completed(&mut self, done: &Done) -> Result<(), Errno> {
        let bit = 1u64.checked_shl(done.token.index).unwrap_or(0);
        match done.token.kind {
            Kind::Offer if self.offered > 0 => {
                self.offered -= 1;
                self.gone -= 1;
            }
            Kind::Send if self.pending & bit != 0 => self.pending &= !bit,
            // Of nothing that was asked for.
            _ => return Ok(()),
        }
        match done.result {
            Ok(_) => self.gone += 1,
            Err(Errno::NO_BUFFERS) => self.failed += 1,
            Err(Errno::AGAIN | Errno::CANCELED | Errno::INTERRUPTED) => {
                self.owed += 1;
                self.fell_short = true;
            }
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Adds what has gone.
    pub(super) fn count(&self, tally: &mut Tally) {
        tally.messages_sent = self.gone;
        tally.bytes_sent = self.gone * u64::from(self.messages.message_bytes);
        tally.failed_sends = self.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::super::InBursts;
    use super::super::testing::{done, sent};
    use super::*;
    use crate::token::Token;

    const REFUSED: Result<u32, Errno> = Err(Errno(111));

    fn datagrams(together: u32, offers: bool) -> Datagrams {
        Datagrams::new(Messages {
            message_bytes: 10,
            slots: 5,
            together,
            offers,
            bursts: InBursts::default(),
        })
    }

    fn offered(index: u32, result: Result<u32, Errno>) -> Done {
        done(Token::offer(index), result, false)
    }

    fn batch(slot: u32, messages: u32) -> Batch {
        Batch { slot, skip: 0, messages }
    }

    #[test]
    fn what_is_owed_goes_in_batches_around_the_slots() {
        let mut all = datagrams(3, true);
        assert_eq!(all.next(), None);
        all.owe(4);
        assert_eq!(all.next(), Some(Next::Offer(batch(0, 3))));
        assert_eq!(all.next(), Some(Next::Offer(batch(3, 1))));
        all.owe(2);
        assert_eq!(all.next(), Some(Next::Offer(batch(4, 2))));
        assert!(all.is_empty() && all.gone == 6);
        let mut many = datagrams(100, false);
        many.owe(100);
        assert_eq!(many.next(), Some(Next::Send(batch(0, 64))));
        assert_eq!(many.pending, u64::MAX);
    }

    #[test]
    fn one_without_room_is_sent_and_one_that_a_full_queue_refuses_is_lost() {
        let mut all = datagrams(3, true);
        all.owe(3);
        all.next();
        assert_eq!(all.completed(&offered(1, Err(Errno::NO_BUFFERS))), Ok(()));
        assert_eq!(all.completed(&offered(2, Err(Errno::AGAIN))), Ok(()));
        assert_eq!((all.gone, all.failed, all.owed), (1, 1, 1));
        assert_eq!(all.next(), Some(Next::Send(batch(3, 1))));
        assert_eq!(all.next(), None);
        assert!(!all.is_empty());
        assert_eq!(all.completed(&sent(0, 10)), Ok(()));
        assert!(all.is_empty() && all.gone == 2);
        all.owe(1);
        assert_eq!(all.next(), Some(Next::Offer(batch(4, 1))));
        assert_eq!(all.completed(&offered(0, REFUSED)), Err(Errno(111)));
        assert_eq!(all.gone, 2);
        // Neither twice nor of what was never sent.
        assert_eq!(all.completed(&offered(0, REFUSED)), Ok(()));
        assert_eq!(all.completed(&sent(99, 10)), Ok(()));
        assert_eq!(all.gone, 2);
    }
}
