//! The self-test by doing: what the probe promised is tried on a pair of local sockets before a run relies on
//! it.
//!
//! Sends a batch and receives a pattern through the very ring, memory and registrations of the run. A receive
//! path that fails is replaced by the next simpler one; the run never learns a kernel's defect from wrong
//! bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::buffers::BufferRing;
use super::send::Sending;
use super::{ReceivePath, Ring, setup};
use crate::backend::{Backend, Done, Op};
use crate::error::Error;
use crate::facts::Degraded;
use crate::outcome::Operations;
use crate::pattern::{self, Checker};
use crate::plan::{Plan, Protocol, Role, SendPath};
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
        _ if plan.options().connects_each() => {
            ring.receive_path = ReceivePath::Single;
            test_take(&mut ring)
        }
        Role::Receive => choose_receive_path(&mut ring, plan, degraded),
        Role::Request | Role::Respond => choose_receive_path(&mut ring, plan, degraded)
            .and_then(|()| choose_send_path(&mut ring, plan, degraded))
            .and_then(|()| choose_offers(&mut ring, plan, degraded)),
        Role::Send => {
            // Only the end of the stream is received, one message long.
            ring.receive_path = ReceivePath::Single;
            choose_send_path(&mut ring, plan, degraded)
        }
    };
    ring.operations = Operations::default();
    ring.skipped_before = ring.buffers.as_ref().map_or(0, BufferRing::skipped);
    ring.facts.multishot = ring.receive_path != ReceivePath::Single;
    ring.facts.bundles = ring.receive_path == ReceivePath::Bundle;
    if (plan.options().role, plan.options().protocol) == (Role::Send, Protocol::Tcp) {
        ring.facts.send_path = Some(ring.sending.path);
    }
    let Err(reason) = result else { return Ok(ring) };
    let error = Error::UringRefused {
        errno: None,
        reason: format!("its self-test failed: {reason}"),
        setting: "the kernel",
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
    let between = match (datagrams, ring.receive_path) {
        (true, _) => Between::LocalDatagrams,
        // Over a local socket Linux 6.18 forgets about what lies there still once some small buffers are
        // full: it says that nothing does, and the receive waits for more to come. TCP counts right.
        (false, ReceivePath::Multishot) => Between::Loopback,
        (false, ReceivePath::Bundle | ReceivePath::Single) => Between::LocalStream,
    };
    let mut stream = Attached::new(ring, between).map_err(|e| describe(&e))?;
    let longest = if datagrams { 7001.min(plan.layout().buffer_bytes as usize) } else { 7001 };
    let mut payload = vec![0; (1201 * longest).min(100_003)];
    pattern::fill(&mut payload);
    let mut checker = Checker::of_stream(payload.len());
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

/// A receive of so many bytes goes on until they are there, or the stream has ended, on a socket whose own
/// calls do not wait. There were kernels of which neither is true.
fn test_take(ring: &mut Ring) -> Result<(), String> {
    let mut stream = Attached::new(ring, Between::LocalStream).map_err(|e| describe(&e))?;
    stream.socket.set_nonblocking(true).map_err(|e| describe(&e))?;
    let deadline = Instant::now() + PATIENCE;
    for (bytes, ends) in [(2, false), (1, true)] {
        stream.ring.push(Op::Take { bytes: 2 }, Token::RECEIVE);
        stream.peer.write_all(&[1]).map_err(|e| describe(&e))?;
        if let Some(done) = stream.turn(deadline)?.first() {
            return Err(format!("a receive did not wait for all of its bytes: {:?}", done.result));
        }
        let last = if ends { stream.peer.shutdown(Shutdown::Write) } else { stream.peer.write_all(&[1]) };
        last.map_err(|e| describe(&e))?;
        let done = loop {
            if let Some(done) = stream.turn(deadline)?.first() {
                break *done;
            }
        };
        if done.result != Ok(bytes) {
            return Err(format!("a receive of {bytes} bytes: {:?}", done.result));
        }
    }
    Ok(())
}

fn choose_send_path(ring: &mut Ring, plan: &Plan, degraded: &mut Vec<Degraded>) -> Result<(), String> {
    loop {
        let tested = test_send(ring, plan);
        let left = ring.in_flight;
        if left > 0 {
            return Err(format!("{left} operations could not be cancelled"));
        }
        let Err(reason) = tested else { return Ok(()) };
        let path = ring.sending.path;
        if path == SendPath::Chain {
            return Err(format!("sending: {reason}"));
        }
        degraded.push(Degraded { feature: path.feature(), reason, instead: setup::CHAIN });
        ring.sending.path = SendPath::Chain;
        ring.sending.silent = setup::completes_silently(&ring.uring, plan, SendPath::Chain, degraded);
    }
}

/// What the run sends has to arrive whole and in order: two sends, of a stream in a chain, or a single one
/// where one goes at a time.
fn test_send(ring: &mut Ring, plan: &Plan) -> Result<(), String> {
    let whole = plan.layout().send.first(8000);
    let Sending { path, datagrams, .. } = ring.sending;
    let single = matches!(path, SendPath::Bundle | SendPath::Registered);
    let first = if single { whole.length } else { 5000 };
    let parts = [whole.first(first), whole.skip(first)];
    let expected = ring.arena.bytes(whole).to_vec();
    let last = u32::from(parts[1].length > 0);
    let between = match (datagrams, path) {
        (true, _) => Between::LocalDatagrams,
        // Local sockets refuse it.
        (false, SendPath::ZeroCopy) => Between::Loopback,
        (false, _) => Between::LocalStream,
    };
    let mut stream = Attached::new(ring, between).map_err(|e| describe(&e))?;
    for index in 0..=last {
        let linked = index < last && !datagrams;
        let span = parts[index as usize];
        stream.ring.push(Op::Send { span, linked }, Token::send(index));
    }
    let deadline = Instant::now() + PATIENCE;
    // Of a chain the last one may be the only one to complete.
    let mut open = if datagrams { 1 + last } else { 1 };
    while open > 0 {
        for done in stream.turn(deadline)? {
            let wanted = parts.get(done.token.index as usize).map(|span| span.length);
            match done.result {
                Ok(bytes) if Some(bytes) != wanted => return Err(format!("{bytes} bytes of {wanted:?}")),
                Ok(_) => open -= u32::from(datagrams || done.token.index == last),
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

/// Whether sends are offered.
fn choose_offers(ring: &mut Ring, plan: &Plan, degraded: &mut Vec<Degraded>) -> Result<(), String> {
    let tested = test_offers(ring, plan);
    if ring.in_flight > 0 {
        return Err(format!("{} operations could not be cancelled", ring.in_flight));
    }
    ring.offers = tested.is_ok();
    if let Err(reason) = tested {
        let (feature, instead) = ("sends without a completion", "a completion for each send");
        degraded.push(Degraded { feature, reason, instead });
    }
    Ok(())
}

/// An offer that goes whole says nothing, and one that does not says at once how far it came.
fn test_offers(ring: &mut Ring, plan: &Plan) -> Result<(), String> {
    if !ring.uring.uring().params().is_feature_skip_cqe_on_success() {
        return Err("the kernel lacks CQE_SKIP (Linux 5.17)".to_owned());
    }
    let datagrams = plan.options().protocol == Protocol::Udp;
    let between = if datagrams { Between::LocalDatagrams } else { Between::LocalStream };
    let span = plan.layout().send.first(4096);
    let mut stream = Attached::new(ring, between).map_err(|e| describe(&e))?;
    let deadline = Instant::now() + PATIENCE;
    let mut taken: u64 = 0;
    // Nobody reads, so the socket gets full before long.
    let refused = loop {
        stream.ring.push(Op::Offer { span }, Token::offer(0));
        stream.ring.wait(Some(Duration::ZERO)).map_err(|e| describe(&e))?;
        stream.ring.reap(&mut stream.done);
        match stream.done.drain(..).find(|done| done.token.kind == Kind::Offer) {
            Some(done) => break done.result,
            None => taken += u64::from(span.length),
        }
        if Instant::now() > deadline {
            return Err("an offer that does not go says nothing".to_owned());
        }
    };
    match refused {
        Ok(part) if part < span.length => taken += u64::from(part),
        Err(Errno::AGAIN) => {}
        other => return Err(format!("of an offer that does not go: {other:?}")),
    }
    let mut arrived = 0;
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = stream.peer.read(&mut buffer) {
        arrived += bytes as u64;
    }
    if arrived == taken { Ok(()) } else { Err(format!("{arrived} bytes of {taken} arrived")) }
}

/// What kind of sockets a self-test has.
enum Between {
    LocalDatagrams,
    LocalStream,
    /// TCP with ourselves.
    Loopback,
}

impl Between {
    #[expect(clippy::disallowed_methods, reason = "both ends are ours, and the listener has room")]
    fn pair(self) -> io::Result<(Socket, Socket)> {
        match self {
            Self::LocalDatagrams => Socket::pair(Domain::UNIX, Type::DGRAM, None),
            Self::LocalStream => Socket::pair(Domain::UNIX, Type::STREAM, None),
            Self::Loopback => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let ours = TcpStream::connect(listener.local_addr()?)?;
                let ours_at = ours.local_addr()?;
                loop {
                    let (peer, from) = listener.accept()?;
                    if from == ours_at {
                        return Ok((ours.into(), peer.into()));
                    }
                }
            }
        }
    }
}

/// The ring with one end of a socket pair attached, and all of it undone when dropped.
struct Attached<'a> {
    ring: &'a mut Ring,
    peer: Socket,
    done: Vec<Done>,
    /// Kept open until the ring has let go of them.
    socket: Socket,
    _stop: OwnedFd,
}

impl<'a> Attached<'a> {
    fn new(ring: &'a mut Ring, between: Between) -> io::Result<Self> {
        let (socket, peer) = between.pair()?;
        peer.set_nonblocking(true)?;
        let stop = sys::event()?;
        ring.attach(0, socket.as_fd(), None)?;
        ring.watch(stop.as_fd())?;
        Ok(Self { ring, peer, done: Vec::with_capacity(64), socket, _stop: stop })
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
