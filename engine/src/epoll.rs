//! The epoll backend: the same operations by non-blocking system calls.
//!
//! For kernels and sandboxes that refuse io_uring, and as the control that shows what the ring buys. Not a
//! netperf look-alike: it never blocks in a call, and it receives into one large slot, which all flows share.

mod connections;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{SockAddr, SockRef, Socket as OwnedSocket};

use crate::arena::{Arena, Span};
use crate::backend::{Backend, Done, Op, Received, Undrained};
use crate::error::Error;
use crate::file::Piece;
use crate::origin::Origin;
use crate::outcome::Operations;
use crate::plan::{Plan, Protocol};
use crate::sys::{self, EVENTS_MAX, Errno, Event, Patience};
use crate::token::{Kind, Token};
use connections::{Connections, LISTENER};

/// Emulates completion by readiness, over the sockets of a worker's flows.
pub(crate) struct Epoll {
    epoll: sys::Epoll,
    arena: Arena,
    slot: Span,
    /// By flow.
    sockets: Vec<Socket>,
    /// Where each transaction has a connection of its own.
    connections: Option<Connections>,
    /// The last message of such a connection shares a segment with the end of the stream.
    shares_segments: bool,
    /// Flows whose socket may have something to do, each of them once.
    active: VecDeque<u32>,
    /// Where messages come from if not from the arena.
    file: Option<Arc<File>>,
    /// A receive that leaves room does not mean that nothing is left: there may be another datagram.
    datagrams: bool,
    /// The stop event, until it is signalled: it stays readable, so it must not be watched any longer.
    stop: Option<RawFd>,
    /// It is in the epoll set, watched or not.
    stop_added: bool,
    /// It looks and never sleeps.
    busy_poll: bool,
    /// Completions to be reaped.
    ready: VecDeque<Done>,
    /// When the epoll set is looked at next, even though some socket is ready: one that always is must not
    /// hide the others.
    next_look: Instant,
    operations: Operations,
}

/// One flow's socket, and what is wanted of it.
struct Socket {
    fd: RawFd,
    /// Where sends go on a socket that is not connected.
    to: Option<SockAddr>,
    /// Sends in order; the head may have been sent in part.
    sends: VecDeque<PendingSend>,
    /// A receive is wanted; it stays so until cancelled or the stream ends.
    receiving: bool,
    /// What the socket was ready for when last heard of.
    readable: bool,
    writable: bool,
    /// What the socket is watched for: (readable, writable). Of neither, it is not in the epoll set.
    watched: (bool, bool),
    /// Among the active ones.
    active: bool,
}

struct PendingSend {
    piece: Piece,
    sent: u32,
    linked: bool,
    token: Token,
}

/// Number of the stop event in the epoll set; sockets have those of their flows.
const STOP: u64 = u64::MAX;
/// Longest time between two looks at the epoll set: by the clock and not by turns, for a turn may be a byte
/// or 16 MiB, and take as long as the machine is slow.
const LOOK: Duration = Duration::from_millis(20);

impl Socket {
    fn new(batch: u32) -> Self {
        Self {
            fd: -1,
            to: None,
            sends: VecDeque::with_capacity(batch as usize),
            receiving: false,
            readable: false,
            writable: true,
            watched: (false, false),
            active: false,
        }
    }

    /// It can go on without being waited for.
    fn can_go_on(&self) -> bool {
        (self.receiving && self.readable) || (!self.sends.is_empty() && self.writable)
    }
}

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
        let flows = layout.flows as usize;
        Ok(Self {
            epoll,
            arena,
            slot: layout.single,
            sockets: (0..flows).map(|_| Socket::new(layout.batch)).collect(),
            connections: None,
            shares_segments: plan.options().shares_segments(),
            active: VecDeque::with_capacity(flows),
            file: plan.options().file.clone(),
            datagrams: plan.options().protocol == Protocol::Udp,
            stop: None,
            stop_added: false,
            busy_poll: plan.options().busy_poll,
            // A whole chain, a receive, its cancel, and the stop; of many flows, a cancel or two each.
            ready: VecDeque::with_capacity(layout.batch as usize + 8 + 4 * flows),
            next_look: Instant::now(),
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

    fn socket(&mut self, flow: u32) -> &mut Socket {
        &mut self.sockets[flow as usize]
    }

    /// Puts a flow among the active ones.
    fn activate(&mut self, flow: u32) {
        let socket = self.socket(flow);
        if !std::mem::replace(&mut socket.active, true) {
            self.active.push_back(flow);
        }
    }

    /// Does what can be done for one flow after the other, until something has completed.
    fn work(&mut self) -> io::Result<()> {
        self.accept()?;
        while self.ready.is_empty()
            && let Some(flow) = self.active.pop_front()
        {
            self.socket(flow).active = false;
            if self.converse(flow)? {
                continue;
            }
            self.make_sends(flow);
            self.make_receive(flow);
            if self.sockets[flow as usize].can_go_on() {
                self.activate(flow);
            } else {
                self.watch_for_more(flow)?;
            }
        }
        Ok(())
    }

    fn queue(&mut self, piece: Piece, linked: bool, token: Token) {
        self.socket(token.flow).sends.push_back(PendingSend { piece, sent: 0, linked, token });
    }

    /// Sends until the queue is empty or the socket is full.
    fn make_sends(&mut self, flow: u32) {
        let socket = &mut self.sockets[flow as usize];
        while let (true, Some(head)) = (socket.writable, socket.sends.front_mut()) {
            let (piece, from) = (head.piece.skip(head.sent), (&self.arena, self.file.as_deref()));
            let result = match piece {
                Piece::Arena(span) if self.shares_segments && head.token.kind == Kind::Close => {
                    self.operations.sends_syscall += 1;
                    sys::send_more(socket.fd, self.arena.bytes(span))
                }
                _ => piece.send(from, socket.fd, socket.to.as_ref(), Patience::Now, &mut self.operations),
            };
            match result {
                Ok(bytes) => {
                    head.sent += bytes as u32;
                    if head.sent == head.piece.length() {
                        let (token, result) = (head.token, Ok(head.sent));
                        socket.sends.pop_front();
                        self.operations.completions += 1;
                        self.ready.push_back(Done {
                            token,
                            result,
                            more: false,
                            received: Received::Nothing,
                        });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.end_chain(flow, Errno::of(&error)),
            }
        }
    }

    /// Sends as much as goes at once.
    fn offer(&mut self, span: Span, token: Token) {
        self.operations.sends_syscall += 1;
        let socket = &mut self.sockets[token.flow as usize];
        let result = match sys::send(socket.fd, self.arena.bytes(span), socket.to.as_ref(), Patience::Now) {
            Ok(bytes) if bytes == span.length as usize => return,
            Ok(bytes) => Ok(bytes as u32),
            Err(error) => {
                socket.writable &= error.kind() != io::ErrorKind::WouldBlock;
                Err(Errno::of(&error))
            }
        };
        self.complete(token, result, false, Received::Nothing);
    }

    /// The head of the queue ends with an error, or with what it had sent; what is linked behind it is
    /// cancelled.
    fn end_chain(&mut self, flow: u32, errno: Errno) {
        let Some(head) = self.socket(flow).sends.pop_front() else { return };
        let mut linked = head.linked;
        let result = if head.sent > 0 { Ok(head.sent) } else { Err(errno) };
        self.complete(head.token, result, false, Received::Nothing);
        while linked {
            let Some(next) = self.socket(flow).sends.pop_front() else { return };
            linked = next.linked;
            self.complete(next.token, Err(Errno::CANCELED), false, Received::Nothing);
        }
    }

    /// Receives once. The slot is free: the worker has seen and released the last receive before it waits
    /// again, and no second one is made before that.
    fn make_receive(&mut self, flow: u32) {
        let socket = &mut self.sockets[flow as usize];
        let busy = self.ready.back().is_some_and(|done| done.received != Received::Nothing);
        if busy || !(socket.receiving && socket.readable) {
            return;
        }
        let token = Token::RECEIVE.of(flow);
        match sys::receive(socket.fd, self.arena.bytes_mut(self.slot), Patience::Now) {
            Ok(0) => {
                socket.receiving = false;
                self.complete(token, Ok(0), false, Received::Nothing);
            }
            Ok(bytes) => {
                let bytes = bytes as u32;
                self.operations.receives_syscall += 1;
                // A receive that leaves room has emptied the socket, unless it stopped at the end of a
                // datagram.
                socket.readable = self.datagrams || bytes == self.slot.length;
                self.complete(token, Ok(bytes), true, Received::Slot { flow: 0, bytes });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                socket.receiving = false;
                self.complete(token, Err(Errno::of(&error)), false, Received::Nothing);
            }
        }
    }

    fn cancel(&mut self, target: Token) {
        let flow = target.flow;
        let socket = self.socket(flow);
        let found = if target == Token::RECEIVE.of(flow) && socket.receiving {
            socket.receiving = false;
            self.complete(target, Err(Errno::CANCELED), false, Received::Nothing);
            true
        } else if socket.sends.front().is_some_and(|head| head.token == target) {
            self.end_chain(flow, Errno::CANCELED);
            true
        } else {
            false
        };
        let result = if found { Ok(0) } else { Err(Errno::NO_ENTRY) };
        self.complete(Token::CANCEL.of(flow), result, false, Received::Nothing);
    }

    /// Watches a socket for what is missing, and for nothing else. One of which nothing is wanted leaves the
    /// set, which would tell of its errors and its end again and again.
    fn watch_for_more(&mut self, flow: u32) -> io::Result<()> {
        let socket = &mut self.sockets[flow as usize];
        let wanted = (socket.receiving && !socket.readable, !socket.sends.is_empty() && !socket.writable);
        let (fd, id) = (socket.fd, u64::from(flow));
        if wanted == socket.watched {
            return Ok(());
        }
        match (socket.watched, wanted) {
            ((false, false), (read, write)) => self.epoll.add(fd, id, read, write)?,
            (_, (false, false)) => self.epoll.remove(fd)?,
            (_, (read, write)) => self.epoll.modify(fd, id, read, write)?,
        }
        socket.watched = wanted;
        Ok(())
    }

    /// Asks the set what is ready, for so long; a look is a sleep of no time, from which nobody is woken.
    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.next_look = Instant::now() + LOOK;
        let timeout = if self.busy_poll { Some(Duration::ZERO) } else { timeout };
        self.operations.wakeups += u64::from(timeout != Some(Duration::ZERO));
        let mut events = [Event::default(); EVENTS_MAX];
        let count = self.epoll.wait(&mut events, timeout)?;
        for event in &events[..count] {
            if event.id == STOP {
                if let Some(stop) = self.stop.take() {
                    self.epoll.modify(stop, STOP, false, false)?;
                    self.complete(Token::STOP, Ok(0), false, Received::Nothing);
                }
            } else if event.id == LISTENER {
                self.connections.iter_mut().for_each(Connections::ring);
            } else if let Ok(flow) = u32::try_from(event.id) {
                let socket = self.socket(flow);
                socket.readable |= event.readable;
                socket.writable |= event.writable;
                if socket.can_go_on() {
                    self.activate(flow);
                } else {
                    // Ready for what nobody wants any more.
                    self.watch_for_more(flow)?;
                }
            }
        }
        Ok(())
    }
}

impl Backend for Epoll {
    fn attach(&mut self, flow: u32, socket: BorrowedFd<'_>, to: Option<&SockAddr>) -> io::Result<()> {
        if self.file.is_some() {
            // A sendfile is not told by its flags.
            SockRef::from(&socket).set_nonblocking(true)?;
        }
        let fd = socket.as_raw_fd();
        let socket = self.socket(flow);
        (socket.fd, socket.to) = (fd, to.cloned());
        Ok(())
    }

    fn draw(&mut self, origin: Origin) -> io::Result<()> {
        self.connections = Some(Connections::new(origin, self.sockets.len() as u32)?);
        Ok(())
    }

    fn connection(&self, flow: u32) -> Option<&OwnedSocket> {
        self.connections.as_ref()?.socket(flow)
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

    fn offers(&self) -> bool {
        true
    }

    fn push(&mut self, op: Op, token: Token) {
        let flow = token.flow;
        match op {
            Op::Accept => return self.start_accepting(),
            Op::Cancel(target) => return self.cancel(target.of(flow)),
            Op::Close { last } => return self.hang_up(last, token),
            Op::Connect { port, request, bytes } => return self.connect(port, request, bytes, token),
            Op::Offer { span } => return self.offer(span, token),
            Op::Receive => self.socket(flow).receiving = true,
            Op::Take { bytes } => return self.want(flow, bytes),
            Op::Send { span, linked } => self.queue(Piece::Arena(span), linked, token),
            Op::SendFile { part, linked } => self.queue(Piece::File(part), linked, token),
        }
        self.activate(flow);
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if Instant::now() >= self.next_look {
            self.sleep(Some(Duration::ZERO))?;
        }
        self.work()?;
        if self.ready.is_empty() {
            self.sleep(timeout)?;
            self.work()?;
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

    fn operations(&self) -> Operations {
        self.operations
    }

    fn close(self, _patience: Duration) -> Result<(), Undrained> {
        // Nothing outlives a system call.
        Ok(())
    }
}
