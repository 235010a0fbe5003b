//! What a worker asks of whatever moves its bytes.
//!
//! A few verbs over the attached sockets, one for each flow. A backend knows operations and memory; it never
//! calls a flow and knows nothing of tests, clocks or counts beyond its own.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use socket2::{SockAddr, Socket};

use crate::arena::Span;
use crate::file::FilePart;
use crate::origin::Origin;
use crate::outcome::{Latency, Operations};
use crate::plan::SendPath;
use crate::sys::Errno;
use crate::token::Token;

/// One operation on the socket of the flow that its token names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Take connections from the run's listener until the end. Each completes as [`Token::ACCEPT`] of the
    /// flow that it has become, which the backend chooses among those that have none; a stranger's is closed
    /// and completes as [`Errno::ACCESS`], of any flow.
    Accept,
    /// Send this part of the arena, if there is any of it, then end and close the flow's own connection. It
    /// completes as [`Token::CLOSE`] with the bytes sent, fewer where the connection broke on the way, or an
    /// errno where none went. In either case the flow has no connection from then on.
    Close { last: Span },
    /// Make a connection to the run's target, from this local port or with 0 from any, send this part of the
    /// arena, if there is any of it, and then do what [`Self::Take`] does. If all goes well it completes as
    /// that; otherwise as [`Token::CONNECT`] with an errno, and the flow has no connection.
    Connect { port: u16, request: Span, bytes: u32 },
    /// End the operation named by the token, of the same flow; it completes as cancelled, or with what it had
    /// done.
    Cancel(Token),
    /// Send as much of this part of the arena as goes at once: no other send of the flow may be under way,
    /// and none is once it has started. It completes with what has gone if that is not all, before anything
    /// that happens after it has started, and need not complete if it is. For backends that have
    /// [`Backend::offers`].
    Offer { span: Span },
    /// Receive, as often as the backend can with one request: [`Done::more`] says whether it goes on.
    Receive,
    /// Send this part of the arena. `linked` holds the next pushed send back until this one is done in full,
    /// and cancels it where this one falls short: two sends of one stream must never overtake each other.
    Send { span: Span, linked: bool },
    /// Receive so many bytes over the flow's own connection, of which nobody wants to see the contents. It
    /// completes once as [`Token::RECEIVE`], with fewer only where the stream has ended or failed.
    Take { bytes: u32 },
    /// The same of the plan's file. For backends of calls, not for a ring.
    SendFile { part: FilePart, linked: bool },
}

/// Where received bytes lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Received {
    /// There are none.
    #[default]
    Nothing,
    /// In the provided-buffer ring: `bytes` of them from this buffer on.
    Ring { first: u16, bytes: u32 },
    /// In the backend's own slot, or in that of the flow where each has one.
    Slot { flow: u32, bytes: u32 },
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) token: Token,
    /// Bytes moved, or the errno.
    pub(crate) result: Result<u32, Errno>,
    /// The operation goes on and will complete again.
    pub(crate) more: bool,
    /// What was received; the worker hands it back by [`Backend::release`].
    pub(crate) received: Received,
}

/// Operations that were still under way when [`Backend::close`] gave up. Their memory has been leaked on
/// purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undrained(pub(crate) u32);

/// Moves bytes between sockets and the arena it owns.
pub(crate) trait Backend {
    /// Takes a flow's socket into use, which is connected unless sends are to name the address `to`. Flows
    /// are numbered from zero without gaps, up to the plan's share of a worker.
    ///
    /// # Errors
    /// As the kernel says.
    fn attach(&mut self, flow: u32, socket: BorrowedFd<'_>, to: Option<&SockAddr>) -> io::Result<()>;

    /// Has a run's connections come from here: what [`Op::Accept`] or [`Op::Connect`] makes them of.
    ///
    /// # Errors
    /// As the kernel says.
    fn draw(&mut self, origin: Origin) -> io::Result<()>;

    /// The connection that a flow has of its own just now.
    fn connection(&self, flow: u32) -> Option<&Socket>;

    /// Watches an event, whose next signal completes as [`Token::STOP`], once. Nothing to do where it is
    /// watched already.
    ///
    /// # Errors
    /// As the kernel says.
    fn watch(&mut self, stop: BorrowedFd<'_>) -> io::Result<()>;

    /// How the messages of a stream are to be sent: [`SendPath::Bundle`] as one send a batch, and else as one
    /// each, of which [`SendPath::Registered`] takes no more than one at a time.
    fn send_path(&self) -> SendPath {
        SendPath::Chain
    }

    /// Whether sends may be offered: [`Op::Offer`].
    fn offers(&self) -> bool {
        false
    }

    /// Makes sure that this many operations can be pushed and start together.
    fn make_room(&mut self, operations: u32) {
        let _ = operations;
    }

    /// Queues an operation; it starts with the next [`Backend::wait`] at the latest.
    fn push(&mut self, op: Op, token: Token);

    /// Whether [`Self::batch_wakeups`] does something, and one sleep can bring many completions of a receive.
    fn gathers(&self) -> bool {
        false
    }

    /// From now on a sleep lasts at least this long, unless its time is over sooner, so that more than one
    /// completion comes of it; zero ends it at the first one. Where a backend cannot, nothing changes.
    fn batch_wakeups(&mut self, at_least: Duration) {
        let _ = at_least;
    }

    /// Starts what is queued and sleeps until something completes or the time is over.
    ///
    /// # Errors
    /// Only what makes going on impossible; an interrupted sleep just ends early.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Moves completions to the end of `done`, at most what fits its capacity. Those of sends come in their
    /// order, and of a chain those of sends that went whole may be left out, but for the last one.
    fn reap(&mut self, done: &mut Vec<Done>);

    /// Shows received bytes, in the order of the stream.
    fn show(&self, received: Received, see: &mut dyn FnMut(&[u8]));

    /// Gives the memory of received bytes back for the next ones.
    fn release(&mut self, received: Received);

    /// How long its calls took, where that was to be measured.
    fn latency(&mut self) -> Option<Latency> {
        None
    }

    /// Counters so far.
    fn operations(&self) -> Operations;

    /// Ends every operation and gives the memory back once the kernel is done with it.
    ///
    /// # Errors
    /// [`Undrained`] when `patience` was not enough.
    fn close(self, patience: Duration) -> Result<(), Undrained>
    where
        Self: Sized;
}
