//! How the ring sends: the entry of each path, and what its completions amount to.
//!
//! Keeps count of what the kernel does not tell of by itself: sends of a chain that complete without a word
//! because they went whole, and zero-copy sends whose memory it still reads from.

use io_uring::types::{Fd, Fixed};
use io_uring::{cqueue, opcode, squeue};

use crate::arena::{Arena, Span};
use crate::backend::{Done, Received};
use crate::outcome::Operations;
use crate::plan::SendPath;
use crate::sys::Errno;
use crate::token::Token;

/// Index of the send region among the registered buffers.
const SEND_REGION: u16 = 0;
/// IORING_SEND_ZC_REPORT_USAGE: the notification says whether the kernel copied (Linux 6.2).
const REPORT_USAGE: u16 = 1 << 3;
/// IORING_NOTIF_USAGE_ZC_COPIED, in the result of a notification.
const COPIED: u32 = 1 << 31;

/// How sends are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    /// That of a stream, never [`SendPath::Auto`].
    pub(super) path: SendPath,
    /// Datagrams stand by themselves.
    pub(super) datagrams: bool,
    /// The memory to send from is registered.
    pub(super) registered: bool,
    /// A send of a chain that goes whole completes without a word, except for the last one.
    pub(super) silent: bool,
}

/// A send to be made into an entry.
pub(super) struct Outgoing {
    pub(super) span: Span,
    pub(super) linked: bool,
    /// It goes as far as it does at once, and completes only if that is not all.
    pub(super) offer: bool,
    /// Where to, on a socket that is not connected.
    pub(super) to: Option<Span>,
}

impl Sending {
    /// The entry for the kernel; counts it.
    pub(super) fn entry(
        self,
        file: Result<Fixed, Fd>,
        arena: &Arena,
        send: &Outgoing,
        operations: &mut Operations,
    ) -> squeue::Entry {
        let pointer = arena.pointer(send.span).cast_const();
        let length = send.span.length;
        // WAITALL: the kernel goes on by itself until all is sent, and a short send breaks the chain.
        let all = if self.datagrams { 0 } else { libc::MSG_WAITALL };
        // DONTWAIT: what does not go at once is told at once, and nothing of it stays under way.
        let at_once = if send.offer { libc::MSG_DONTWAIT } else { 0 };
        let flags = all | at_once | libc::MSG_NOSIGNAL;
        let entry = match self.path {
            SendPath::Registered if self.registered => {
                debug_assert!(!send.linked, "a registered write may fall short without breaking a link");
                operations.sends_registered += 1;
                match file {
                    Ok(file) => opcode::WriteFixed::new(file, pointer, length, SEND_REGION).build(),
                    Err(fd) => opcode::WriteFixed::new(fd, pointer, length, SEND_REGION).build(),
                }
            }
            SendPath::ZeroCopy => {
                let entry = match file {
                    Ok(file) => opcode::SendZc::new(file, pointer, length),
                    Err(fd) => opcode::SendZc::new(fd, pointer, length),
                };
                let region = self.registered.then_some(SEND_REGION);
                entry.buf_index(region).zc_flags(REPORT_USAGE).flags(flags).build()
            }
            _ => {
                operations.sends_plain += 1;
                let entry = match file {
                    Ok(file) => opcode::Send::new(file, pointer, length),
                    Err(fd) => opcode::Send::new(fd, pointer, length),
                };
                let entry = match send.to {
                    Some(to) => {
                        entry.dest_addr(arena.pointer(to).cast_const().cast()).dest_addr_len(to.length)
                    }
                    None => entry,
                };
                entry.flags(flags).build()
            }
        };
        let linked = if self.silent { squeue::Flags::SKIP_SUCCESS } else { squeue::Flags::empty() };
        match (send.linked, send.offer) {
            (true, _) => entry.flags(squeue::Flags::IO_LINK | linked),
            (false, true) => entry.flags(squeue::Flags::SKIP_SUCCESS),
            (false, false) => entry,
        }
    }
}

/// Whether a completion is not the send's but the notification that its memory is free, which says whether it
/// was copied.
pub(super) fn notified(entry: &cqueue::Entry, operations: &mut Operations) -> bool {
    let notification = cqueue::notif(entry.flags());
    if notification {
        operations.zero_copy_sends += 1;
        operations.zero_copy_copied += u64::from(entry.result().cast_unsigned() & COPIED != 0);
    }
    notification
}

/// What is under way of one flow's sends where those of a chain complete without a word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chain {
    /// Sends queued since the last completion of one.
    sends: u32,
    /// Cancels under way, and whether one of them has met its send.
    cancels: u32,
    met: bool,
}

impl Chain {
    /// One more send is queued.
    pub(super) fn queued(&mut self) {
        self.sends += 1;
    }

    /// A send has completed: how many are over with it, and what is to be said of those behind it, which were
    /// not begun.
    pub(super) fn completed(&mut self, token: Token) -> (u32, Option<Done>) {
        let sends = std::mem::take(&mut self.sends);
        let cut = token.index + 1 < sends;
        let rest = cut.then(|| Done {
            token: Token::send(sends - 1).of(token.flow),
            result: Err(Errno::CANCELED),
            more: false,
            received: Received::Nothing,
        });
        (sends, rest)
    }

    /// The sends that a cancel has to name: whichever of the chain it is that is under way.
    pub(super) fn cancelling(&mut self) -> u32 {
        self.cancels += self.sends;
        self.sends
    }

    /// One of those cancels is through; the last one has the result of all.
    pub(super) fn cancelled(&mut self, result: Result<u32, Errno>) -> Option<Result<u32, Errno>> {
        self.met |= result != Err(Errno::NO_ENTRY);
        self.cancels = self.cancels.saturating_sub(1);
        if self.cancels > 0 {
            return None;
        }
        let met = std::mem::take(&mut self.met);
        Some(if met { Ok(0) } else { Err(Errno::NO_ENTRY) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_send_of_a_chain_speaks_for_all_and_an_earlier_one_for_what_it_cut_off() {
        let mut chain = Chain::default();
        (0..4).for_each(|_| chain.queued());
        assert_eq!(chain.completed(Token::send(3)).0, 4);
        (0..4).for_each(|_| chain.queued());
        let (over, rest) = chain.completed(Token::send(1).of(7));
        assert_eq!(over, 4);
        let rest = rest.expect("two were cut off");
        assert_eq!((rest.token, rest.result), (Token::send(3).of(7), Err(Errno::CANCELED)));
        chain.queued();
        let (over, rest) = chain.completed(Token::send(0));
        assert!(over == 1 && rest.is_none());
    }

    #[test]
    fn a_cancel_of_a_chain_has_met_it_if_one_of_its_parts_has() {
        let mut chain = Chain::default();
        for (results, all) in [
            ([Err(Errno::NO_ENTRY), Ok(0), Err(Errno::NO_ENTRY)], Ok(0)),
            ([Err(Errno::NO_ENTRY); 3], Err(Errno::NO_ENTRY)),
            ([Err(Errno::NO_ENTRY), Err(Errno::NO_ENTRY), Err(Errno::AGAIN)], Ok(0)),
        ] {
            chain = Chain { sends: 3, ..chain };
            assert_eq!(chain.cancelling(), 3);
            assert_eq!(chain.cancelled(results[0]), None);
            assert_eq!(chain.cancelled(results[1]), None);
            assert_eq!(chain.cancelled(results[2]), Some(all));
        }
    }
}
