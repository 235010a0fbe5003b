//! The epoll backend: the same operations by non-blocking system calls.
//!
//! For kernels and sandboxes that refuse io_uring, and as the control that shows what the ring buys. Not a
//! netperf look-alike: it never blocks in a call, and it receives into one large slot.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use socket2::SockAddr;

use crate::arena::{Arena, Span};
use crate::backend::{Backend, Done, Op, Received, Undrained};
use crate::error::Error;
use crate::outcome::Operations;
use crate::plan::{Plan, Protocol};
use crate::sys::{self, EVENTS_MAX, Errno, Event, Patience};
use crate::token::Token;

/// Emulates completion by readiness, over one socket.
pub(crate) struct Epoll {
    epoll: sys::Epoll,
    arena: Arena,
    slot: Span,
    socket: RawFd,
    /// Where sends go on a socket that is not connected.
    to: Option<SockAddr>,
    /// A receive that leaves room does not mean that nothing is left: there may be another datagram.
    datagrams: bool,
    /// Sends in order; the head may have been sent in part.
    sends: VecDeque<PendingSend>,
    /// A receive is wanted; it stays so until cancelled or the stream ends.
    receiving: bool,
    /// What the socket was ready for when last heard of.
    readable: bool,
    writable: bool,
    /// What the socket is watched for: (readable, writable).
    watched: (bool, bool),
    /// The stop event, until it is signalled: it stays readable, so it must not be watched any longer.
    stop: Option<RawFd>,
    /// It is in the epoll set, watched or not.
    stop_added: bool,
    /// Completions to be reaped.
    ready: VecDeque<Done>,
    /// Turns since the epoll set was looked at: a socket that is always ready must not hide the stop event.
    turns: u32,
    operations: Operations,
}

struct PendingSend {
    span: Span,
    sent: u32,
    linked: bool,
    token: Token,
}

/// Numbers of the two descriptors in the epoll set.
const SOCKET: u64 = 0;
const STOP: u64 = 1;
/// Turns after which the epoll set is looked at even though the socket is ready: at a megabyte a turn, well
/// under a tenth of a second.
const TURNS_MAX: u32 = 256;

impl Epoll {
    /// # Errors
    /// When memory or the epoll instance cannot be had.
    pub(crate) fn open(plan: &Plan) -> Result<Self, Error> {
        let layout = plan.layout();
        let mut arena = Arena::map(layout.arena_bytes).map_err(Error::memory)?;
        arena.fill(layout.send, plan.options().payload.as_deref());
        let epoll = sys::Epoll::new().map_err(|source| Error::System {
            call: "epoll_create1",
            doing: "setting up the epoll engine",
            source,
            hint: "raise the limit on open files (ulimit -n)",
        })?;
        Ok(Self {
            epoll,
            arena,
            slot: layout.single,
            socket: -1,
            to: None,
            datagrams: plan.options().protocol == Protocol::Udp,
            sends: VecDeque::with_capacity(layout.batch as usize),
            receiving: false,
            readable: false,
            writable: true,
            watched: (false, false),
            stop: None,
            stop_added: false,
            // A whole chain, a receive, its cancel, and the stop.
            ready: VecDeque::with_capacity(layout.batch as usize + 8),
            turns: 0,
            operations: Operations::default(),
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

    /// Sends until the queue is empty or the socket is full.
    fn make_sends(&mut self) {
        while let (true, Some(head)) = (self.writable, self.sends.front_mut()) {
            self.operations.sends_syscall += 1;
            let bytes = self.arena.bytes(head.span.skip(head.sent));
            match sys::send(self.socket, bytes, self.to.as_ref(), Patience::Now) {
                Ok(bytes) => {
                    head.sent += bytes as u32;
                    if head.sent == head.span.length {
                        let (token, sent) = (head.token, head.sent);
                        self.sends.pop_front();
                        self.complete(token, Ok(sent), false, Received::Nothing);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.end_chain(Errno::of(&error)),
            }
        }
    }

    /// The head of the queue ends with an error, or with what it had sent; what is linked behind it is
    /// cancelled.
    fn end_chain(&mut self, errno: Errno) {
        let Some(head) = self.sends.pop_front() else { return };
        let mut linked = head.linked;
        let result = if head.sent > 0 { Ok(head.sent) } else { Err(errno) };
        self.complete(head.token, result, false, Received::Nothing);
        while linked {
            let Some(next) = self.sends.pop_front() else { return };
            linked = next.linked;
            self.complete(next.token, Err(Errno::CANCELED), false, Received::Nothing);
        }
    }

    /// Receives once. The slot is free: the worker has seen and released the last receive before it waits
    /// again.
    fn make_receive(&mut self) {
        if !(self.receiving && self.readable) {
            return;
        }
        match sys::receive(self.socket, self.arena.bytes_mut(self.slot), Patience::Now) {
            Ok(0) => {
                self.receiving = false;
                self.complete(Token::RECEIVE, Ok(0), false, Received::Nothing);
            }
            Ok(bytes) => {
                let bytes = bytes as u32;
                self.operations.receives_syscall += 1;
                // A receive that leaves room has emptied the socket, unless it stopped at the end of a
                // datagram.
                self.readable = self.datagrams || bytes == self.slot.length;
                self.complete(Token::RECEIVE, Ok(bytes), true, Received::Slot { bytes });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.receiving = false;
                self.complete(Token::RECEIVE, Err(Errno::of(&error)), false, Received::Nothing);
            }
        }
    }

    fn cancel(&mut self, target: Token) {
        let found = if target == Token::RECEIVE && self.receiving {
            self.receiving = false;
            self.complete(target, Err(Errno::CANCELED), false, Received::Nothing);
            true
        } else if self.sends.front().is_some_and(|head| head.token == target) {
            self.end_chain(Errno::CANCELED);
            true
        } else {
            false
        };
        let result = if found { Ok(0) } else { Err(Errno::NO_ENTRY) };
        self.complete(Token::CANCEL, result, false, Received::Nothing);
    }

    /// Watches the socket for what is missing, and for nothing else.
    fn watch(&mut self) -> io::Result<()> {
        let wanted = (self.receiving && !self.readable, !self.sends.is_empty() && !self.writable);
        if wanted != self.watched {
            self.epoll.modify(self.socket, SOCKET, wanted.0, wanted.1)?;
            self.watched = wanted;
        }
        Ok(())
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.turns = 0;
        self.watch()?;
        self.operations.wakeups += 1;
        let mut events = [Event::default(); EVENTS_MAX];
        let count = self.epoll.wait(&mut events, timeout)?;
        for event in &events[..count] {
            if event.id == STOP {
                if let Some(stop) = self.stop.take() {
                    self.epoll.modify(stop, STOP, false, false)?;
                    self.complete(Token::STOP, Ok(0), false, Received::Nothing);
                }
            } else {
                self.readable |= event.readable;
                self.writable |= event.writable;
            }
        }
        Ok(())
    }
}

impl Backend for Epoll {
    fn attach(&mut self, socket: BorrowedFd<'_>, to: Option<&SockAddr>) -> io::Result<()> {
        self.socket = socket.as_raw_fd();
        self.to = to.cloned();
        self.epoll.add(self.socket, SOCKET, false, false)
    }

    fn watch(&mut self, stop: BorrowedFd<'_>) -> io::Result<()> {
        let stop = stop.as_raw_fd();
        if self.stop_added {
            self.epoll.modify(stop, STOP, true, false)?;
        } else {
            self.epoll.add(stop, STOP, true, false)?;
            self.stop_added = true;
        }
        self.stop = Some(stop);
        Ok(())
    }

    fn push(&mut self, op: Op, token: Token) {
        match op {
            Op::Cancel(target) => self.cancel(target),
            Op::Receive => self.receiving = true,
            Op::Send { span, linked } => self.sends.push_back(PendingSend { span, sent: 0, linked, token }),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.turns += 1;
        if self.turns >= TURNS_MAX {
            self.sleep(Some(Duration::ZERO))?;
        }
        if self.ready.is_empty() {
            self.make_sends();
            self.make_receive();
        }
        if self.ready.is_empty() {
            self.sleep(timeout)?;
            self.make_sends();
            self.make_receive();
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
        if let Received::Slot { bytes } = received {
            see(self.arena.bytes(self.slot.first(bytes)));
        }
    }

    fn release(&mut self, _received: Received) {}

    fn operations(&self) -> Operations {
        self.operations
    }

    fn close(self, _patience: Duration) -> Result<(), Undrained> {
        // Nothing outlives a system call.
        Ok(())
    }
}
