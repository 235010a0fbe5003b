//! Connections of the classic backend that come and go: one for each transaction, one after the other.
//!
//! The calls are netperf's, in its order: the requester opens a socket, binds it, connects, sends, receives
//! until the stream ends and closes; the responder accepts, receives, sends and closes. What is beside them
//! are the time limits of the sockets, which netperf has a signal for.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::{Classic, SLICE, is_no_answer};
use crate::arena::Span;
use crate::backend::Received;
use crate::file::Piece;
use crate::origin::{Origin, Target};
use crate::plan::{EngineChoice, PlanOptions};
use crate::socket::is_passing;
use crate::sys::{self, Errno, Patience, Timeout};
use crate::token::{Kind, Token};

/// The connection that there is, and where it comes from.
pub(super) struct Connections {
    origin: Origin,
    accepting: bool,
    socket: Option<Socket>,
    /// It is still being made.
    connecting: bool,
    /// What is to be received, and how much of it has come.
    wanted: u32,
    got: u32,
    /// Bytes of the last message.
    last: u32,
}

impl Connections {
    pub(super) fn new(origin: Origin) -> io::Result<Self> {
        if let Origin::Listener(listener) = &origin {
            listener.socket.set_nonblocking(false)?;
        }
        Ok(Self { origin, accepting: false, socket: None, connecting: false, wanted: 0, got: 0, last: 0 })
    }

    pub(super) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }
}

/// How one call went.
enum Called {
    /// It did what it was for, or a part of it: the next one may follow at once.
    Through,
    /// Its time was over, or there is none to be made.
    Nothing,
}

impl Classic {
    /// Takes connections from the listener from now on.
    pub(super) fn start_accepting(&mut self) {
        if let Some(connections) = &mut self.connections {
            connections.accepting = true;
        }
    }

    /// Opens a socket to connect with, and puts down what comes after that.
    pub(super) fn connect(&mut self, port: u16, request: Span, bytes: u32, token: Token) {
        let Some(connections) = &mut self.connections else { return };
        let Origin::Target(target) = &connections.origin else { return };
        match open(target, port) {
            Ok(socket) => {
                self.socket = socket.as_raw_fd();
                (connections.socket, connections.connecting) = (Some(socket), true);
            }
            Err(error) => return self.complete(token, Err(Errno::of(&error)), false, Received::Nothing),
        }
        if request.length > 0 {
            self.sends.push_back((Piece::Arena(request), token));
        }
        self.want(bytes);
    }

    /// Receives so many bytes.
    pub(super) fn want(&mut self, bytes: u32) {
        if let Some(connections) = &mut self.connections {
            (connections.wanted, connections.got) = (bytes, 0);
            self.receiving = true;
        }
    }

    /// Sends what there is to be sent, and closes.
    pub(super) fn hang_up(&mut self, last: Span, token: Token) {
        if last.length == 0 {
            return self.end(token, Ok(0));
        }
        self.sends.push_back((Piece::Arena(last), token));
        if let Some(connections) = &mut self.connections {
            connections.last = last.length;
        }
    }

    fn end(&mut self, token: Token, result: Result<u32, Errno>) {
        self.sends.clear();
        (self.socket, self.receiving) = (-1, false);
        if let Some(connections) = &mut self.connections {
            (connections.socket, connections.connecting) = (None, false);
        }
        self.complete(token, result, false, Received::Nothing);
    }

    /// Makes one call after the other until something has completed, one has waited in vain or the time is
    /// over: a peer may have each of them do a little, and none of them wait in vain.
    pub(super) fn converse(&mut self, timeout: Option<Duration>) {
        let patience = timeout.unwrap_or(SLICE).min(SLICE);
        let until = Instant::now() + patience;
        while self.ready.is_empty() {
            let Some(connections) = &self.connections else { return };
            let called = if connections.connecting {
                self.make_connection()
            } else if let Some(&(Piece::Arena(span), token)) = self.sends.front() {
                self.send_on(span, token)
            } else if self.receiving {
                self.receive_on()
            } else if connections.accepting {
                self.accept()
            } else {
                std::thread::sleep(patience);
                Called::Nothing
            };
            if matches!(called, Called::Nothing) || Instant::now() >= until {
                return;
            }
        }
    }

    fn accept(&mut self) -> Called {
        let Some(connections) = &mut self.connections else { return Called::Nothing };
        let Origin::Listener(listener) = &connections.origin else { return Called::Nothing };
        match listener.accept() {
            Ok(Some(socket)) => {
                self.socket = socket.as_raw_fd();
                connections.socket = Some(socket);
                self.complete(Token::ACCEPT, Ok(0), true, Received::Nothing);
            }
            Ok(None) => self.complete(Token::ACCEPT, Err(Errno::ACCESS), true, Received::Nothing),
            Err(error) if is_passing(&error) => return Called::Nothing,
            Err(error) => {
                connections.accepting = false;
                self.complete(Token::ACCEPT, Err(Errno::of(&error)), false, Received::Nothing);
            }
        }
        Called::Through
    }

    fn make_connection(&mut self) -> Called {
        let Some(connections) = &mut self.connections else { return Called::Nothing };
        let (Origin::Target(target), Some(socket)) = (&connections.origin, &connections.socket) else {
            return Called::Nothing;
        };
        #[expect(clippy::disallowed_methods, reason = "the socket has a time limit (SO_SNDTIMEO)")]
        match socket.connect(target.remote()) {
            Ok(()) => connections.connecting = false,
            // The time limit of the call; called again it waits on.
            Err(error) if sys::is_connecting(&error) => return Called::Nothing,
            Err(error) => self.end(Token::CONNECT, Err(Errno::of(&error))),
        }
        Called::Through
    }

    fn send_on(&mut self, span: Span, token: Token) -> Called {
        self.operations.sends_syscall += 1;
        match sys::send(self.socket, self.arena.bytes(span), None, Patience::Wait) {
            Ok(bytes) if (bytes as u32) < span.length => {
                if let Some(head) = self.sends.front_mut() {
                    head.0 = Piece::Arena(span.skip(bytes as u32));
                }
            }
            Ok(_) if token.kind == Kind::Close => {
                let last = self.connections.as_ref().map_or(0, |connections| connections.last);
                self.end(token, Ok(last));
            }
            Ok(_) => drop(self.sends.pop_front()),
            Err(error) if is_no_answer(&error) => return Called::Nothing,
            Err(error) => {
                let last = self.connections.as_ref().map_or(0, |connections| connections.last);
                // A request is not counted in part.
                let sent = if token.kind == Kind::Close { last.saturating_sub(span.length) } else { 0 };
                self.end(token, if sent > 0 { Ok(sent) } else { Err(Errno::of(&error)) });
            }
        }
        Called::Through
    }

    fn receive_on(&mut self) -> Called {
        let Some(connections) = &mut self.connections else { return Called::Nothing };
        let room = self.slot.first(connections.wanted - connections.got);
        let result = match sys::receive(self.socket, self.arena.bytes_mut(room), Patience::Wait) {
            Ok(bytes) => {
                self.operations.receives_syscall += u64::from(bytes > 0);
                connections.got += bytes as u32;
                if bytes > 0 && connections.got < connections.wanted {
                    return Called::Through;
                }
                Ok(connections.got)
            }
            Err(error) if is_no_answer(&error) => return Called::Nothing,
            Err(error) => Err(Errno::of(&error)),
        };
        self.receiving = false;
        self.complete(Token::RECEIVE, result, false, Received::Nothing);
        Called::Through
    }
}

/// A socket whose calls do not wait for ever.
fn open(target: &Target, port: u16) -> io::Result<Socket> {
    let socket = target.open(port)?;
    limit(&socket)?;
    Ok(socket)
}

/// Limits the time of every call on a listener of this plan, if it is one of ours, before it listens:
/// connections inherit the limits, but for those that have come before there were any.
pub(crate) fn limit_calls(listener: &Socket, options: &PlanOptions) -> io::Result<()> {
    let ours = options.engine == EngineChoice::Classic && options.connects_each();
    if ours { limit(listener) } else { Ok(()) }
}

/// Limits the time of every call on a socket. The clock and the stop event are looked at between them.
fn limit(socket: &Socket) -> io::Result<()> {
    sys::set_timeout(socket.as_raw_fd(), Timeout::Send, SLICE / 4)?;
    sys::set_timeout(socket.as_raw_fd(), Timeout::Receive, SLICE / 4)
}
