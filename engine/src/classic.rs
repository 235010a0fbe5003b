//! The classic backend: one blocking system call a message, as netperf itself does it.
//!
//! The control that shows what netperf would measure, and so what the other engines buy; and what `auto`
//! takes where a worker has one transaction at a time. Nothing is asked before a call: no readiness, no
//! low-water mark, no batch. What ends a call that would block for ever is the socket's own time limit, and
//! only between calls are the clock and the stop event looked at.

mod connections;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket};

use crate::arena::{Arena, Span};
use crate::backend::{Backend, Done, Op, Received, Undrained};
use crate::error::Error;
use crate::file::Piece;
use crate::origin::Origin;
use crate::outcome::{Latency, Operations};
use crate::plan::{Plan, PlanOptions, Protocol, Role};
use crate::sys::{self, Errno, Patience, Timeout};
use crate::token::Token;
use connections::Connections;

pub(crate) use connections::limit_calls;

/// Blocking calls over one socket.
pub(crate) struct Classic {
    arena: Arena,
    slot: Span,
    socket: RawFd,
    /// Where sends go on a socket that is not connected.
    to: Option<SockAddr>,
    /// Sends in order. One at a time, but for the marks at the end of a stream of datagrams.
    sends: VecDeque<(Piece, Token)>,
    /// Where messages come from if not from the arena.
    file: Option<Arc<File>>,
    /// Where each transaction has a connection of its own.
    connections: Option<Connections>,
    /// A receive is wanted; it stays so until cancelled or the stream ends.
    receiving: bool,
    /// How long a send and a receive may block: what the socket has been told.
    send_slice: Duration,
    receive_slice: Duration,
    /// A send may have to wait for its time, and be on time then, which a receive's own time limit is not: it
    /// counts in the kernel's ticks.
    paced: bool,
    /// Bytes of one message that the peer sends, where each of ours over a stream answers one of them, or is
    /// answered by one; 0 elsewhere.
    exchanged: u32,
    /// Such messages take turns, and the last receive brought no more than one. So nothing is to be done
    /// after the send that follows but to wait for what the peer says to it, if only the end of its stream.
    one_is_due: bool,
    /// The stop event, until it is signalled.
    stop: Option<RawFd>,
    /// When the stop event, and the peer's end while sending, are looked at next.
    next_look: Instant,
    /// Completions to be reaped.
    ready: VecDeque<Done>,
    operations: Operations,
    /// The times of calls that send, or of those that receive, where they are measured.
    send_times: Option<CallTimes>,
    receive_times: Option<CallTimes>,
}

/// How long the calls of one kind take.
struct CallTimes {
    latency: Latency,
    /// When the call under way began. One that its time limit has cut short goes on with the next.
    began: Option<Instant>,
}

impl CallTimes {
    fn new() -> Self {
        Self { latency: Latency::new(), began: None }
    }

    fn begin(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    fn end(&mut self) {
        if let Some(began) = self.began.take() {
            self.latency.record(began.elapsed());
        }
    }
}

/// Longest time in one call, and between two looks at what else there is.
const SLICE: Duration = Duration::from_millis(100);
/// Shortest time limit that is set: the kernel takes zero for none.
const SLICE_MIN: Duration = Duration::from_millis(1);

impl Classic {
    /// # Errors
    /// When memory cannot be had.
    pub(crate) fn open(plan: &Plan) -> Result<Self, Error> {
        let layout = plan.layout();
        let mut arena = Arena::map(layout.arena_bytes).map_err(Error::memory)?;
        arena.fill(layout.send, plan.options().payload.as_deref());
        let exchanged = exchanged(plan.options());
        let times = |role| (plan.options().latency && plan.options().role == role).then(CallTimes::new);
        Ok(Self {
            arena,
            slot: layout.single,
            socket: -1,
            to: None,
            sends: VecDeque::with_capacity(8),
            connections: None,
            file: plan.options().file.clone(),
            receiving: false,
            send_slice: Duration::ZERO,
            receive_slice: Duration::ZERO,
            paced: plan.options().bursts.is_some(),
            exchanged,
            one_is_due: exchanged > 0,
            stop: None,
            next_look: Instant::now(),
            ready: VecDeque::with_capacity(16),
            operations: Operations::default(),
            send_times: times(Role::Send),
            receive_times: times(Role::Receive),
        })
    }

    /// The backend's memory.
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    fn complete(&mut self, token: Token, result: Result<u32, Errno>, more: bool, received: Received) {
        self.operations.completions += 1;
        self.ready.push_back(Done { token, result, more, received });
    }

    /// Sends the first message, or as much of it as goes within the time limit. Returns whether all of it has
    /// gone.
    fn make_send(&mut self, piece: Piece, token: Token) -> bool {
        // The marks at the end of a stream of datagrams are no messages.
        let mut times = self.send_times.as_mut().filter(|_| piece.length() > 0);
        times.iter_mut().for_each(|times| times.begin());
        let (from, to) = ((&self.arena, self.file.as_deref()), self.to.as_ref());
        let result = match piece.send(from, self.socket, to, Patience::Wait, &mut self.operations) {
            Ok(bytes) => {
                if bytes == piece.length() as usize {
                    times.iter_mut().for_each(|times| times.end());
                }
                Ok(bytes as u32)
            }
            // Nothing has gone out; it is tried again, once the clock has been looked at.
            Err(error) if is_no_answer(&error) => return false,
            Err(error) => {
                times.iter_mut().for_each(|times| times.began = None);
                Err(Errno::of(&error))
            }
        };
        self.sends.pop_front();
        self.complete(token, result, false, Received::Nothing);
        result == Ok(piece.length())
    }

    /// Receives once. The slot is free: the worker has seen and released the last receive before it waits
    /// again.
    fn make_receive(&mut self, patience: Patience) {
        self.receive_times.iter_mut().for_each(CallTimes::begin);
        match sys::receive(self.socket, self.arena.bytes_mut(self.slot), patience) {
            Ok(0) => {
                self.receiving = false;
                self.complete(Token::RECEIVE, Ok(0), false, Received::Nothing);
            }
            Ok(bytes) => {
                let bytes = bytes as u32;
                self.operations.receives_syscall += 1;
                self.receive_times.iter_mut().for_each(CallTimes::end);
                self.one_is_due = bytes <= self.exchanged;
                self.complete(Token::RECEIVE, Ok(bytes), true, Received::Slot { flow: 0, bytes });
            }
            Err(error) if is_no_answer(&error) => {}
            Err(error) => {
                self.receiving = false;
                self.complete(Token::RECEIVE, Err(Errno::of(&error)), false, Received::Nothing);
            }
        }
    }

    fn cancel(&mut self, target: Token) {
        let found = if target == Token::RECEIVE && self.receiving {
            self.receiving = false;
            true
        } else if self.sends.front().is_some_and(|(_, token)| *token == target) {
            self.sends.pop_front();
            true
        } else {
            false
        };
        if found {
            self.complete(target, Err(Errno::CANCELED), false, Received::Nothing);
        }
        let result = if found { Ok(0) } else { Err(Errno::NO_ENTRY) };
        self.complete(Token::CANCEL, result, false, Received::Nothing);
    }

    /// Looks at what no blocking call tells: the stop event, and what the peer says while we send.
    fn look(&mut self) -> io::Result<()> {
        self.next_look = Instant::now() + SLICE;
        if let Some(stop) = self.stop.take() {
            if sys::is_readable(&stop)? {
                self.complete(Token::STOP, Ok(0), false, Received::Nothing);
            } else {
                self.stop = Some(stop);
            }
        }
        if self.receiving && !self.sends.is_empty() && self.connections.is_none() {
            self.make_receive(Patience::Now);
            // Beside what is still to be sent.
            self.one_is_due = false;
        }
        Ok(())
    }

    /// Limits the time of the next call to what is left. The limit follows the time left by halves, so that
    /// it is set some few times at the end of a run and never before.
    fn limit(&mut self, timeout: Timeout, left: Option<Duration>) -> io::Result<()> {
        let wanted = left.unwrap_or(SLICE).clamp(SLICE_MIN, SLICE);
        let slice = match timeout {
            Timeout::Send => &mut self.send_slice,
            Timeout::Receive => &mut self.receive_slice,
        };
        if wanted * 2 <= *slice || wanted >= *slice * 2 {
            sys::set_timeout(self.socket, timeout, wanted)?;
            *slice = wanted;
        }
        Ok(())
    }
}

/// Bytes of a message of the peer's, where sends and receives take turns. A requester with several under way
/// sends on after a send, and one that paces its bursts waits for its time.
fn exchanged(options: &PlanOptions) -> u32 {
    let received = options.message_sizes().1;
    match options.role {
        _ if options.protocol == Protocol::Udp || options.bursts.is_some() => 0,
        Role::Request if options.transaction.in_flight == 1 => received,
        Role::Respond => received,
        Role::Receive | Role::Request | Role::Send => 0,
    }
}

/// The call's time was over, or a signal came.
fn is_no_answer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Backend for Classic {
    /// One flow is all that a thread of blocking calls can serve, which the plan sees to.
    fn attach(&mut self, _flow: u32, socket: BorrowedFd<'_>, to: Option<&SockAddr>) -> io::Result<()> {
        self.socket = socket.as_raw_fd();
        self.to = to.cloned();
        Ok(())
    }

    fn draw(&mut self, origin: Origin) -> io::Result<()> {
        self.connections = Some(Connections::new(origin)?);
        Ok(())
    }

    fn connection(&self, _flow: u32) -> Option<&Socket> {
        self.connections.as_ref()?.socket()
    }

    fn watch(&mut self, stop: BorrowedFd<'_>) -> io::Result<()> {
        self.stop = Some(stop.as_raw_fd());
        Ok(())
    }

    fn push(&mut self, op: Op, token: Token) {
        match op {
            Op::Accept => self.start_accepting(),
            Op::Cancel(target) => self.cancel(target),
            Op::Close { last } => self.hang_up(last, token),
            Op::Connect { port, request, bytes } => self.connect(port, request, bytes, token),
            Op::Take { bytes } => self.want(bytes),
            Op::Receive => self.receiving = true,
            Op::Offer { span } | Op::Send { span, .. } => self.sends.push_back((Piece::Arena(span), token)),
            Op::SendFile { part, .. } => self.sends.push_back((Piece::File(part), token)),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if Instant::now() >= self.next_look {
            self.look()?;
        }
        if !self.ready.is_empty() {
            return Ok(());
        }
        if self.connections.is_some() {
            self.converse(timeout);
        } else if let Some(&(piece, token)) = self.sends.front() {
            self.limit(Timeout::Send, timeout)?;
            let whole = self.make_send(piece, token);
            // Saves a turn of the loop, and its looks at the clock, for each message.
            if whole && self.one_is_due && self.receiving && self.sends.is_empty() {
                self.limit(Timeout::Receive, timeout)?;
                self.make_receive(Patience::Wait);
            }
        } else if self.receiving && self.paced {
            if sys::becomes_readable(&self.socket, timeout.unwrap_or(SLICE).min(SLICE))? {
                self.make_receive(Patience::Now);
            }
        } else if self.receiving {
            self.limit(Timeout::Receive, timeout)?;
            self.make_receive(Patience::Wait);
        } else {
            std::thread::sleep(timeout.unwrap_or(SLICE).min(SLICE));
        }
        Ok(())
    }

    fn reap(&mut self, done: &mut Vec<Done>) {
        while done.len() < done.capacity() {
            let Some(next) = self.ready.pop_front() else { return };
            done.push(next);
        }
    }

    fn show(&self, received: Received, see: &mut dyn FnMut(&[u8])) {
        if let Received::Slot { bytes, .. } = received {
            see(self.arena.bytes(self.slot.first(bytes)));
        }
    }

    fn release(&mut self, _received: Received) {}

    fn latency(&mut self) -> Option<Latency> {
        let times = self.send_times.take().or(self.receive_times.take())?;
        Some(times.latency)
    }

    fn operations(&self) -> Operations {
        self.operations
    }

    fn close(self, _patience: Duration) -> Result<(), Undrained> {
        // Nothing outlives a system call.
        Ok(())
    }
}
