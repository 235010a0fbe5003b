//! The workloads, as pure state machines: a completion goes in, the next thing to do comes out.
//!
//! Nothing here touches a socket, a clock or the arena, so every path is tested without a kernel. The worker
//! translates a [`Next`] into operations of a backend.

mod answer_each;
mod ask_each;
mod bursts;
mod datagram_request;
mod datagram_respond;
mod datagram_send;
mod datagrams;
mod exchange;
mod linger;
mod messages;
mod ports;
mod receive;
mod request;
mod respond;
mod stream_send;

use crate::backend::Done;
use crate::outcome::{End, Tally};
use crate::sys::Errno;
use crate::token::Token;

pub(crate) use answer_each::AnswerEach;
pub(crate) use ask_each::AskEach;
pub(crate) use bursts::InBursts;
pub(crate) use datagram_request::DatagramRequest;
pub(crate) use datagram_respond::DatagramRespond;
pub(crate) use datagram_send::{DatagramSend, MARKS};
pub(crate) use exchange::{Deed, Exchange};
pub(crate) use linger::Linger;
pub(crate) use messages::Messages;
pub(crate) use ports::Ports;
pub(crate) use receive::{Pieces, Receive};
pub(crate) use request::Request;
pub(crate) use respond::Respond;
pub(crate) use stream_send::StreamSend;

/// What a flow wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// End the named operation.
    Cancel(Token),
    /// Shut down the write side and wait for the peer to close its own; `receive` where no receive that would
    /// tell is under way.
    EndStream { receive: bool },
    /// The flow is over.
    Finish(End),
    /// Send these messages as far as the kernel takes them at once. It completes if that was not all of them,
    /// before the next turn is over, and need not if it was.
    Offer(Batch),
    /// Receive.
    Receive,
    /// Send these messages; those of a stream in order.
    Send(Batch),
    /// The same, and let it take no longer than an end may take.
    SendLast(Batch),
    /// Receive, and send these messages.
    SendAndReceive(Batch),
    /// Have the kernel take no send apart any more, because it refused one with this errno; then send these
    /// messages, each by itself.
    SendUnsegmented(Batch, Errno),
    /// Send [`MARKS`] empty datagrams, which is how a stream of datagrams ends.
    SendMarks,
    /// Nothing until the next completion.
    Wait,
}

/// Consecutive messages to send together.
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
    /// It wants to be asked at the end of a turn: [`Self::settle`].
    const SETTLES: bool = false;

    /// The first thing to do.
    fn start(&mut self) -> Next;
    /// Takes a completion.
    fn step(&mut self, done: &Done) -> Next;
    /// What to do now that it has taken all completions of a turn, if it had any.
    fn settle(&mut self) -> Next {
        Next::Wait
    }
    /// Requests asked for and responses that are whole, so far.
    fn exchanged(&self) -> (u64, u64) {
        (0, 0)
    }
    /// What to send again now that nothing has come for too long.
    fn resend(&mut self) -> Next {
        Next::Wait
    }
    /// Asks for an orderly end with this result; asked again, for an immediate one.
    fn stop(&mut self, end: End) -> Next;
    /// Counters so far, those of the backend left at zero.
    fn tally(&self) -> Tally;
    /// Messages that one send carries, the last of a batch maybe fewer.
    fn per_send(&self) -> u32 {
        1
    }
    /// What it asks to send now has to wait for the pace: all but the rest of a burst.
    fn is_paced(&self) -> bool {
        true
    }
}

impl Batch {
    /// The slot of message `index` of this batch. The slots in use are a multiple of what one send carries,
    /// so that those of one lie side by side.
    pub(crate) fn place(&self, index: u32, slots: u32, per_send: u32) -> u32 {
        (self.slot + index) % (slots - slots % per_send)
    }
}

/// Whether a cancel missed its target between two of its steps and has to be repeated: it was not found
/// although it has not completed. One that is just running (EALREADY) will complete by itself.
fn retry_cancel(done: &Done) -> bool {
    done.result == Err(Errno::NO_ENTRY)
}

/// Completions as a backend makes them.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::backend::Received;

    pub(super) const CANCELED: Result<u32, Errno> = Err(Errno::CANCELED);
    pub(super) const RESET: Result<u32, Errno> = Err(Errno(104));

    pub(super) fn done(token: Token, result: Result<u32, Errno>, more: bool) -> Done {
        Done { token, result, more, received: Received::Nothing }
    }

    pub(super) fn sent(index: u32, bytes: u32) -> Done {
        done(Token::send(index), Ok(bytes), false)
    }

    pub(super) fn received(bytes: u32, more: bool) -> Done {
        done(Token::RECEIVE, Ok(bytes), more)
    }

    /// A cancel that found nothing to end.
    pub(super) fn missed() -> Done {
        done(Token::CANCEL, Err(Errno::NO_ENTRY), false)
    }
}
