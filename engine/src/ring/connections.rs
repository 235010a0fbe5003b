//! Connections of the ring that come and go: one for each transaction.
//!
//! A requester's send and receive are a chain of which the receive alone completes if both go well. A
//! responder's connections are taken by one request for many (multishot), and its last two steps, send and
//! close, are a chain again. Sockets are opened, bound and connected, and those of requesters closed, by
//! system calls: a connect in the ring is made twice, because the first time it says that it goes on, and
//! options and ports would each be an operation more.
#![expect(unsafe_code, reason = "takes descriptors from the kernel; each block says why it is sound")]

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};

use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};
use socket2::Socket;

use super::Ring;
use super::kernel::Kernel;
use crate::arena::Span;
use crate::backend::{Backend, Done, Received};
use crate::origin::{Guest, Origin};
use crate::sys::Errno;
use crate::token::{Kind, Token};

/// Connections that may wait for a flow to be free; of more of them the last are closed.
const WAITING_MAX: usize = 1024;

/// The connections that there are, and where they come from.
pub(super) struct Connections {
    origin: Origin,
    /// By flow.
    calls: Vec<Call>,
    /// Flows of a listener without a connection.
    free: Vec<u32>,
    /// Connections for which there is no flow.
    waiting: VecDeque<Socket>,
    accepting: Accepting,
    /// Completions that are not the kernel's, and turns in a row that had such.
    told: VecDeque<Done>,
    turns: u32,
}

/// There are completions that are not the kernel's.
pub(super) enum Told {
    /// They are taken without entering it.
    AtOnce,
    /// There have been for so many turns that the kernel shall have one: connections that fail at once, and
    /// are tried again, would keep everything else waiting, and who stops the run.
    BehindTheKernel,
}

/// Most turns in a row without entering the kernel.
const TURNS_MAX: u32 = 16;

#[derive(Default)]
struct Call {
    socket: Option<Socket>,
    /// Bytes of the last message, and if it has not gone whole, how much of it has, or why none.
    last: u32,
    cut: Option<Result<u32, Errno>>,
}

/// How connections are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// Not at all, or no longer.
    Off,
    Multishot,
    /// One at a time, where the kernel lacks multishot accept (before Linux 5.19).
    Single,
}

impl Connections {
    pub(super) fn socket(&self, flow: u32) -> Option<&Socket> {
        self.calls.get(flow as usize)?.socket.as_ref()
    }

    /// Whether there are completions to be reaped without waiting.
    pub(super) fn tells(&mut self) -> Option<Told> {
        let turns = std::mem::take(&mut self.turns);
        if self.told.is_empty() {
            return None;
        }
        if turns >= TURNS_MAX {
            return Some(Told::BehindTheKernel);
        }
        self.turns = turns + 1;
        Some(Told::AtOnce)
    }

    pub(super) fn tell(&mut self) -> Option<Done> {
        self.told.pop_front()
    }

    /// No more connections are taken.
    pub(super) fn stop_accepting(&mut self) {
        self.accepting = Accepting::Off;
    }

    /// Gives a connection to a free flow, if there are both.
    fn hand_out(&mut self) -> Option<(u32, RawFd)> {
        let socket = self.waiting.pop_front()?;
        let Some(flow) = self.free.pop() else {
            self.waiting.push_front(socket);
            return None;
        };
        let fd = socket.as_raw_fd();
        self.calls[flow as usize] = Call { socket: Some(socket), ..Call::default() };
        Some((flow, fd))
    }
}

/// The close behind a last message; the message itself has the token of both.
const CLOSED: Token = Token { index: 1, ..Token::CLOSE };

/// Operations that complete only if they fail.
pub(super) fn is_silent(token: Token) -> bool {
    token.kind == Kind::Connect || token.kind == Kind::Close && token.index != CLOSED.index
}

/// Whether a completion may be of a connection that comes and goes, of which there are so many.
pub(super) fn is_own(entry: &cqueue::Entry, flows: usize) -> bool {
    let Token { kind, flow, .. } = Token::from_bits(entry.user_data());
    (flow as usize) < flows && matches!(kind, Kind::Accept | Kind::Close | Kind::Connect | Kind::Receive)
}

/// The names of all operations that a flow's own connection may have under way.
pub(super) const TOKENS: [Token; 4] = [Token::ACCEPT, Token::CONNECT, Token::CLOSE, CLOSED];

fn done(token: Token, result: Result<u32, Errno>) -> Done {
    Done { token, result, more: false, received: Received::Nothing }
}

impl<K: Kernel> Ring<K> {
    /// Has connections come from here from now on.
    pub(super) fn draw_from(&mut self, origin: Origin) {
        let flows = self.sockets.len() as u32;
        self.connections = Some(Connections {
            origin,
            calls: (0..flows).map(|_| Call::default()).collect(),
            free: (0..flows).rev().collect(),
            waiting: VecDeque::with_capacity(WAITING_MAX),
            accepting: Accepting::Off,
            told: VecDeque::with_capacity(2 * flows as usize + 8),
            turns: 0,
        });
    }

    /// Takes connections from now on.
    pub(super) fn start_accepting(&mut self) {
        if let Some(connections) = &mut self.connections {
            connections.accepting = Accepting::Multishot;
        }
        self.accept();
    }

    fn accept(&mut self) {
        let Some(connections) = &self.connections else { return };
        let Origin::Listener(listener) = &connections.origin else { return };
        let fd = Fd(listener.socket.as_raw_fd());
        let entry = match connections.accepting {
            Accepting::Off => return,
            Accepting::Multishot => opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build(),
            Accepting::Single => {
                let nobody = std::ptr::null_mut();
                opcode::Accept::new(fd, nobody, nobody.cast()).flags(libc::SOCK_CLOEXEC).build()
            }
        };
        self.queue(entry, Token::ACCEPT);
    }

    /// Begins to connect, and queues what comes then: the request, which waits for the connection, and the
    /// receive behind it.
    pub(super) fn connect(&mut self, port: u16, request: Span, bytes: u32, token: Token) {
        let Some(connections) = &mut self.connections else { return };
        let Origin::Target(target) = &connections.origin else { return };
        let flow = token.flow;
        let fd = match target.dial(port) {
            Ok(socket) => {
                let fd = socket.as_raw_fd();
                connections.calls[flow as usize] = Call { socket: Some(socket), ..Call::default() };
                fd
            }
            Err(error) => return connections.told.push_back(done(token, Err(Errno::of(&error)))),
        };
        self.sockets[flow as usize] = fd;
        self.make_room(2);
        if request.length > 0 {
            let chained = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
            let send = self.send_all(fd, request, 0).flags(chained);
            self.queue(send, token);
        }
        self.take_bytes(flow, bytes);
    }

    /// Queues a receive of so many bytes, which goes on until they are there.
    pub(super) fn take_bytes(&mut self, flow: u32, bytes: u32) {
        let room = self.slot(flow).first(bytes);
        let fd = Fd(self.sockets[flow as usize]);
        let receive = opcode::Recv::new(fd, self.arena.pointer(room), room.length).flags(libc::MSG_WAITALL);
        self.queue(receive.build(), Token::RECEIVE.of(flow));
    }

    /// Sends what there is to be sent, and closes.
    pub(super) fn hang_up(&mut self, last: Span, token: Token) {
        let flow = token.flow;
        let Some(connections) = &mut self.connections else { return };
        let call = &mut connections.calls[flow as usize];
        let Some(socket) = call.socket.take() else { return };
        if last.length == 0 {
            drop(socket);
            connections.told.push_back(done(token, Ok(0)));
            return self.let_go(flow);
        }
        (call.last, call.cut) = (last.length, None);
        self.make_room(2);
        if self.refused.is_some() {
            // Nothing will be queued, the close neither. The next wait ends the run.
            return;
        }
        let fd = socket.into_raw_fd();
        // What fills no segment goes with the end of the stream, which is next.
        let flags = if self.shares_segments { libc::MSG_MORE } else { 0 };
        // Closed in any case: a hard link holds when the send fails.
        let linked = squeue::Flags::IO_HARDLINK | squeue::Flags::SKIP_SUCCESS;
        let send = self.send_all(fd, last, flags).flags(linked);
        self.queue(send, token);
        self.queue(opcode::Close::new(Fd(fd)).build(), CLOSED.of(flow));
    }

    fn send_all(&mut self, fd: RawFd, span: Span, flags: i32) -> squeue::Entry {
        self.operations.sends_plain += 1;
        let pointer = self.arena.pointer(span).cast_const();
        let flags = flags | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        opcode::Send::new(Fd(fd), pointer, span.length).flags(flags).build()
    }

    /// The flow has no connection any more, and may have another.
    fn let_go(&mut self, flow: u32) {
        self.sockets[flow as usize] = -1;
        let Some(connections) = &mut self.connections else { return };
        connections.free.push(flow);
        if let Some((flow, fd)) = connections.hand_out() {
            connections.told.push_back(done(Token::ACCEPT.of(flow), Ok(0)));
            self.sockets[flow as usize] = fd;
        }
    }

    /// Takes a completion of a connection that comes and goes.
    pub(super) fn take_own(&mut self, entry: &cqueue::Entry) -> Option<Done> {
        let told = self.translate(entry);
        let token = told.token;
        match token.kind {
            Kind::Accept => {
                self.count_over(token, u32::from(!told.more));
                return self.accepted(told);
            }
            // The receive behind it is over with it, and will not complete.
            Kind::Connect => {
                self.count_over(token, 1);
                self.connections.as_mut()?.calls[token.flow as usize].socket = None;
                let errno = told.result.err().unwrap_or(Errno::BROKEN_PIPE);
                return Some(done(token, Err(errno)));
            }
            Kind::Close if is_silent(token) => {
                let cut = if told.result == Ok(0) { Err(Errno::BROKEN_PIPE) } else { told.result };
                self.connections.as_mut()?.calls[token.flow as usize].cut = Some(cut);
                return None;
            }
            Kind::Close => {
                self.count_over(token, 1);
                let call = &mut self.connections.as_mut()?.calls[token.flow as usize];
                let result = call.cut.take().unwrap_or(Ok(call.last));
                self.let_go(token.flow);
                return Some(done(Token::CLOSE.of(token.flow), result));
            }
            _ => {}
        }
        self.count_over(token, 1);
        Some(Done { received: Received::Nothing, ..told })
    }

    /// Takes what an accept has brought, and asks again where it does not go on by itself.
    fn accepted(&mut self, told: Done) -> Option<Done> {
        let connections = self.connections.as_mut()?;
        let came = match told.result {
            Ok(fd) => {
                // SAFETY: a descriptor that the kernel made for this completion, which nobody else has seen.
                let socket = unsafe { Socket::from_raw_fd(fd.cast_signed()) };
                let Origin::Listener(listener) = &connections.origin else { return None };
                match listener.admit(socket) {
                    Guest::Stranger => Some(done(Token::ACCEPT, Err(Errno::ACCESS))),
                    Guest::Gone => None,
                    // Beyond all that may wait it is closed.
                    Guest::Welcome(_) if connections.waiting.len() == WAITING_MAX => None,
                    Guest::Welcome(socket) => {
                        connections.waiting.push_back(socket);
                        connections.hand_out().map(|(flow, fd)| {
                            self.sockets[flow as usize] = fd;
                            done(Token::ACCEPT.of(flow), Ok(0))
                        })
                    }
                }
            }
            Err(Errno::INVALID) if connections.accepting == Accepting::Multishot => {
                connections.accepting = Accepting::Single;
                None
            }
            Err(Errno::ABORTED | Errno::AGAIN | Errno::INTERRUPTED) => None,
            Err(errno) => {
                if connections.accepting == Accepting::Off {
                    return None;
                }
                connections.accepting = Accepting::Off;
                Some(done(Token::ACCEPT, Err(errno)))
            }
        };
        if !told.more {
            self.accept();
        }
        came
    }
}

/// What a ring lacks for such connections, if anything.
pub(super) fn lacks(uring: &io_uring::IoUring, probe: &io_uring::Probe) -> Option<&'static str> {
    let needed = [
        (opcode::Accept::CODE, "IORING_OP_ACCEPT (Linux 5.5)"),
        (opcode::Close::CODE, "IORING_OP_CLOSE (Linux 5.6)"),
    ];
    let missing = needed.iter().find(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| *name);
    missing.or((!uring.params().is_feature_skip_cqe_on_success()).then_some("CQE_SKIP (Linux 5.17)"))
}
