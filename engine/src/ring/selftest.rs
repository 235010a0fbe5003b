//! The self-test by doing: what the probe promised is tried on a pair of local sockets before a run relies on
//! it.
//!
//! Sends a batch and receives a pattern through the very ring, memory and registrations of the run. A receive
//! path that fails is replaced by the next simpler one; the run never learns a kernel's defect from wrong
//! bytes.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::buffers::BufferRing;
use super::{ReceivePath, Ring, SendPath};
use crate::backend::{Backend, Done, Op};
use crate::error::Error;
use crate::facts::Degraded;
use crate::outcome::Operations;
use crate::pattern::{self, Checker};
use crate::plan::{Plan, Protocol, Role};
use crate::sys::{self, Errno, errno_name};
use crate::token::{Kind, Token};

/// A local socket pair answers at once; this is for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tests the ring's paths, stepping down until one works.
///
/// # Errors
/// When not even the simplest path works.
pub(super) fn run(mut ring: Ring, plan: &Plan, degraded: &mut Vec<Degraded>) -> Result<Ring, Error> {
    let result = match plan.options().role {
        Role::Receive => choose_receive_path(&mut ring, plan, degraded),
        Role::Send => {
            // Only the end of the stream is received, one message long.
            ring.receive_path = ReceivePath::Single;
            let tested = test_send(&mut ring, plan).map_err(|reason| format!("sending: {reason}"));
            let left = ring.in_flight;
            if left > 0 { Err(format!("{left} operations could not be cancelled")) } else { tested }
        }
    };
    ring.operations = Operations::default();
    ring.skipped_before = ring.buffers.as_ref().map_or(0, BufferRing::skipped);
    ring.facts.multishot = ring.receive_path != ReceivePath::Single;
    ring.facts.bundles = ring.receive_path == ReceivePath::Bundle;
    let Err(reason) = result else { return Ok(ring) };
    let error = Error::UringRefused {
        errno: None,
        reason: format!("its self-test failed: {reason}"),
        hint: "use --engine epoll, and report the kernel release",
    };
    // It had its patience already; what cannot be drained leaks, as it has to.
    let _ = ring.close(Duration::ZERO);
    Err(error)
}

fn choose_receive_path(ring: &mut Ring, plan: &Plan, degraded: &mut Vec<Degraded>) -> Result<(), String> {
    loop {
        let tested = test_receive(ring, plan);
        // What is left of one attempt would complete into the next, or into the run.
        if ring.in_flight > 0 {
            return Err(format!("{} operations could not be cancelled", ring.in_flight));
        }
        let Err(reason) = tested else { return Ok(()) };
        let (feature, instead, next) = match ring.receive_path {
            ReceivePath::Bundle => ("receive bundles", "one buffer a completion", ReceivePath::Multishot),
            ReceivePath::Multishot => ("multishot receive", "single receives", ReceivePath::Single),
            ReceivePath::Single => return Err(reason),
        };
        degraded.push(Degraded { feature, reason, instead });
        ring.receive_path = next;
    }
}

/// A pattern of a good many buffers, written in uneven pieces, has to come out whole and in order, and the
/// end of the stream after it. A datagram fills its buffer, so there are so many of them.
fn test_receive(ring: &mut Ring, plan: &Plan) -> Result<(), String> {
    let skipped_before = ring.operations.skipped_buffers;
    let datagrams = plan.options().protocol == Protocol::Udp;
    let mut stream = Attached::new(ring, datagrams).map_err(|e| describe(&e))?;
    let longest = if datagrams { 7001.min(plan.layout().buffer_bytes as usize) } else { 7001 };
    let mut payload = vec![0; (1201 * longest).min(100_003)];
    pattern::fill(&mut payload);
    let mut checker = Checker::new(payload.len());
    let mut left = payload.as_slice();
    let mut received = 0;
    let (mut told, mut ended) = (false, false);
    stream.ring.push(Op::Receive, Token::RECEIVE);
    let deadline = Instant::now() + PATIENCE;
    while !ended {
        while let Some(piece) = left.get(..left.len().min(longest)).filter(|piece| !piece.is_empty()) {
            match stream.peer.write(piece) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(describe(&error)),
            }
        }
        if left.is_empty() && !told {
            told = if datagrams {
                stream.peer.send(&[])
            } else {
                stream.peer.shutdown(Shutdown::Write).map(|()| 0)
            }
            .is_ok();
        }
        for done in stream.turn(deadline)? {
            match done.result {
                Ok(0) => ended = true,
                Ok(bytes) => received += bytes as usize,
                Err(Errno::NO_BUFFERS) => {}
                Err(errno) => return Err(errno_name(errno.0)),
            }
            stream.ring.show(done.received, &mut |bytes| checker.feed(bytes));
            stream.ring.release(done.received);
            if !done.more && !ended {
                stream.ring.push(Op::Receive, Token::RECEIVE);
            }
        }
    }
    let skipped = stream.ring.operations.skipped_buffers - skipped_before;
    if skipped > 0 {
        return Err(format!("{skipped} buffers were skipped"));
    }
    if received != payload.len() || checker.wrong() > 0 {
        return Err(format!("{received} of {} bytes, {} of them wrong", payload.len(), checker.wrong()));
    }
    Ok(())
}

/// Two sends, of a stream in a chain, or one registered write, has to arrive whole and in order.
fn test_send(ring: &mut Ring, plan: &Plan) -> Result<(), String> {
    let whole = plan.layout().send.first(8000);
    // What the run does: a chain, or one registered write at a time, which goes without.
    let first = if ring.send_path == SendPath::Registered { whole.length } else { 5000 };
    let parts = [whole.first(first), whole.skip(first)];
    let expected = ring.arena.bytes(whole).to_vec();
    let two = parts[1].length > 0;
    let datagrams = ring.send_path == SendPath::Datagram;
    let mut stream = Attached::new(ring, datagrams).map_err(|e| describe(&e))?;
    stream.ring.push(Op::Send { span: parts[0], linked: two && !datagrams }, Token::send(0));
    if two {
        stream.ring.push(Op::Send { span: parts[1], linked: false }, Token::send(1));
    }
    let deadline = Instant::now() + PATIENCE;
    let mut open = 1 + usize::from(two);
    while open > 0 {
        for done in stream.turn(deadline)? {
            let wanted = parts.get(done.token.index as usize).map(|span| span.length);
            match done.result {
                Ok(bytes) if Some(bytes) == wanted => open -= 1,
                Ok(bytes) => return Err(format!("{bytes} bytes of {wanted:?}")),
                Err(errno) => return Err(errno_name(errno.0)),
            }
        }
    }
    let mut arrived = vec![0; expected.len()];
    stream.peer.set_nonblocking(false).map_err(|e| describe(&e))?;
    stream.peer.set_read_timeout(Some(PATIENCE)).map_err(|e| describe(&e))?;
    stream.peer.read_exact(&mut arrived).map_err(|e| describe(&e))?;
    if arrived == expected { Ok(()) } else { Err("the bytes arrived in another order".to_owned()) }
}

/// The ring with one end of a socket pair attached, and all of it undone when dropped.
struct Attached<'a> {
    ring: &'a mut Ring,
    peer: Socket,
    done: Vec<Done>,
    /// Kept open until the ring has let go of them.
    _socket: Socket,
    _stop: OwnedFd,
}

impl<'a> Attached<'a> {
    fn new(ring: &'a mut Ring, datagrams: bool) -> io::Result<Self> {
        let kind = if datagrams { Type::DGRAM } else { Type::STREAM };
        let (socket, peer) = Socket::pair(Domain::UNIX, kind, None)?;
        peer.set_nonblocking(true)?;
        let stop = sys::event()?;
        ring.attach(0, socket.as_fd(), None)?;
        ring.watch(stop.as_fd())?;
        Ok(Self { ring, peer, done: Vec::with_capacity(64), _socket: socket, _stop: stop })
    }

    /// One turn of the loop: the completions of sends and receives that came within a moment.
    fn turn(&mut self, deadline: Instant) -> Result<Vec<Done>, String> {
        if Instant::now() > deadline {
            return Err(format!("nothing happened for {} s", PATIENCE.as_secs()));
        }
        self.ring.wait(Some(Duration::from_millis(20))).map_err(|e| describe(&e))?;
        self.ring.reap(&mut self.done);
        Ok(self.done.drain(..).filter(|done| matches!(done.token.kind, Kind::Receive | Kind::Send)).collect())
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        // What is left in flight speaks for itself: the ring is then not used, and its arena leaks.
        let _ = self.ring.drain(PATIENCE);
        if self.ring.facts.registered_files {
            let _ = self.ring.register_file(0, -1);
        }
    }
}

fn describe(error: &io::Error) -> String {
    sys::error_name(error)
}
