//! Connections of the epoll backend that come and go: one for each transaction.
//!
//! Making one and closing one are calls that do not wait; what has to wait is a send or a receive, as
//! everywhere else in [`super`].

use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

use super::{Epoll, PendingSend};
use crate::arena::Span;
use crate::backend::{Done, Received};
use crate::file::Piece;
use crate::origin::{Listener, Origin};
use crate::socket::is_passing;
use crate::sys::{self, Errno, Patience};
use crate::token::{Kind, Token};

/// Number of the listener in the epoll set.
pub(super) const LISTENER: u64 = u64::MAX - 1;
/// Connections taken in a row before those that are there get their turn.
const ACCEPTS_MAX: usize = 64;

/// The connections that there are, and where they come from.
pub(super) struct Connections {
    origin: Origin,
    /// By flow.
    calls: Vec<Call>,
    /// Flows of a listener without a connection.
    free: Vec<u32>,
    accepting: bool,
    /// The listener may have another connection.
    waiting: bool,
    /// It is watched, which it is not while no flow is free.
    watched: bool,
}

#[derive(Default)]
struct Call {
    socket: Option<Socket>,
    /// What it is to receive, and how much of it has come.
    wanted: u32,
    got: u32,
}

impl Connections {
    pub(super) fn new(origin: Origin, flows: u32) -> io::Result<Self> {
        if let Origin::Listener(listener) = &origin {
            listener.socket.set_nonblocking(true)?;
        }
        Ok(Self {
            origin,
            calls: (0..flows).map(|_| Call::default()).collect(),
            free: (0..flows).rev().collect(),
            accepting: false,
            waiting: false,
            watched: false,
        })
    }

    pub(super) fn socket(&self, flow: u32) -> Option<&Socket> {
        self.calls.get(flow as usize)?.socket.as_ref()
    }

    /// The listener has been seen to be ready.
    pub(super) fn ring(&mut self) {
        self.waiting = true;
    }
}

impl Epoll {
    /// Takes connections from the listener from now on.
    pub(super) fn start_accepting(&mut self) {
        let Some(connections) = &mut self.connections else { return };
        let Origin::Listener(listener) = &connections.origin else { return };
        match self.epoll.add(listener.socket.as_raw_fd(), LISTENER, true, false) {
            Ok(()) => (connections.accepting, connections.waiting, connections.watched) = (true, true, true),
            Err(error) => self.complete(Token::ACCEPT, Err(Errno::of(&error)), false, Received::Nothing),
        }
    }

    /// Takes the connections that there are, as far as there are flows for them.
    pub(super) fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTS_MAX {
            let Some(connections) = &mut self.connections else { return Ok(()) };
            let Origin::Listener(listener) = &connections.origin else { return Ok(()) };
            if !(connections.accepting && connections.waiting) {
                return Ok(());
            }
            let Some(flow) = connections.free.pop() else { return self.watch_listener(false) };
            match listener.accept() {
                Ok(Some(socket)) => {
                    self.begin(flow, socket, true);
                    self.complete(Token::ACCEPT.of(flow), Ok(0), true, Received::Nothing);
                    continue;
                }
                Ok(None) => self.complete(Token::ACCEPT, Err(Errno::ACCESS), true, Received::Nothing),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => connections.waiting = false,
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    connections.accepting = false;
                    self.complete(Token::ACCEPT, Err(Errno::of(&error)), false, Received::Nothing);
                }
            }
            if let Some(connections) = &mut self.connections {
                connections.free.push(flow);
            }
        }
        Ok(())
    }

    /// Watches the listener or does not: one that is always ready would never let us sleep.
    fn watch_listener(&mut self, watched: bool) -> io::Result<()> {
        let Some(connections) = &mut self.connections else { return Ok(()) };
        if let Origin::Listener(Listener { socket, .. }) = &connections.origin
            && connections.watched != watched
        {
            self.epoll.modify(socket.as_raw_fd(), LISTENER, watched, false)?;
            connections.watched = watched;
        }
        Ok(())
    }

    /// Gives a flow its connection.
    fn begin(&mut self, flow: u32, socket: Socket, readable: bool) {
        let place = &mut self.sockets[flow as usize];
        place.fd = socket.as_raw_fd();
        (place.readable, place.writable, place.watched) = (readable, true, (false, false));
        if let Some(connections) = &mut self.connections {
            connections.calls[flow as usize] = Call { socket: Some(socket), ..Call::default() };
        }
    }

    /// Connects; the request waits where the connection takes its time.
    pub(super) fn connect(&mut self, port: u16, request: Span, bytes: u32, token: Token) {
        let Some(Connections { origin: Origin::Target(target), .. }) = &self.connections else { return };
        match target.dial(port) {
            Ok(socket) => self.begin(token.flow, socket, false),
            Err(error) => return self.complete(token, Err(Errno::of(&error)), false, Received::Nothing),
        }
        if request.length > 0 {
            let request = PendingSend { piece: Piece::Arena(request), sent: 0, linked: false, token };
            self.sockets[token.flow as usize].sends.push_back(request);
        }
        self.want(token.flow, bytes);
    }

    /// Receives so many bytes.
    pub(super) fn want(&mut self, flow: u32, bytes: u32) {
        let Some(connections) = &mut self.connections else { return };
        let call = &mut connections.calls[flow as usize];
        (call.wanted, call.got) = (bytes, 0);
        self.sockets[flow as usize].receiving = true;
        self.activate(flow);
    }

    /// Sends what there is to be sent, and closes.
    pub(super) fn hang_up(&mut self, last: Span, token: Token) {
        if last.length == 0 {
            self.end(token.flow);
            return self.complete(token, Ok(0), false, Received::Nothing);
        }
        let last = PendingSend { piece: Piece::Arena(last), sent: 0, linked: false, token };
        self.sockets[token.flow as usize].sends.push_back(last);
        self.activate(token.flow);
    }

    /// Closes a flow's connection, which takes it out of the epoll set, too.
    fn end(&mut self, flow: u32) {
        let place = &mut self.sockets[flow as usize];
        place.sends.clear();
        (place.fd, place.receiving, place.watched) = (-1, false, (false, false));
        if let Some(connections) = &mut self.connections {
            connections.calls[flow as usize] = Call::default();
            connections.free.push(flow);
        }
    }

    /// Does what can be done for a flow that has a connection of its own; whether there is such a one.
    pub(super) fn converse(&mut self, flow: u32) -> io::Result<bool> {
        if self.connections.is_none() {
            return Ok(false);
        }
        if self.connections.as_ref().is_some_and(|all| all.socket(flow).is_some()) {
            self.make_sends(flow);
            let last = self.ready.back().filter(|done| done.token.flow == flow).copied();
            match last {
                Some(Done { token, .. }) if token.kind == Kind::Close => self.end(flow),
                Some(Done { token, result: Err(_), .. }) if token.kind == Kind::Connect => self.end(flow),
                _ => self.make_take(flow),
            }
        }
        if self.sockets[flow as usize].fd < 0 {
            self.watch_listener(true)?;
        } else if self.sockets[flow as usize].can_go_on() {
            self.activate(flow);
        } else {
            self.watch_for_more(flow)?;
        }
        Ok(true)
    }

    /// Receives until all is there, the stream ends or nothing is left to be read just now.
    fn make_take(&mut self, flow: u32) {
        let token = Token::RECEIVE.of(flow);
        loop {
            let Some(connections) = &mut self.connections else { return };
            let (call, place) = (&mut connections.calls[flow as usize], &mut self.sockets[flow as usize]);
            if !(place.receiving && place.readable) {
                return;
            }
            let room = self.slot.first(call.wanted - call.got);
            let result = match sys::receive(place.fd, self.arena.bytes_mut(room), Patience::Now) {
                Ok(bytes) => {
                    self.operations.receives_syscall += u64::from(bytes > 0);
                    call.got += bytes as u32;
                    if bytes > 0 && call.got < call.wanted {
                        continue;
                    }
                    Ok(call.got)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    place.readable = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(Errno::of(&error)),
            };
            place.receiving = false;
            return self.complete(token, result, false, Received::Nothing);
        }
    }
}
