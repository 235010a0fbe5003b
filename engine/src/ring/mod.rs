//! The io_uring backend: one ring, its registered memory and file, and the loop's four steps on it.
//!
//! Operations name parts of the arena, never addresses, so pushing one is safe: the ring checks the bounds
//! and points only at memory it owns, and it keeps that memory until every completion is in. Setting the ring
//! up is the business of [`setup`]; what a flow does with it, not its concern.
#![expect(unsafe_code, reason = "hands memory to the kernel; each block says why it is sound")]

mod buffers;
mod connections;
#[cfg(test)]
mod faulty;
mod handle;
mod kernel;
mod nop;
mod selftest;
mod send;
mod setup;
mod waiting;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::types::{Fd, Fixed};
use io_uring::{cqueue, opcode, squeue};
use socket2::{SockAddr, Socket};

use crate::arena::{Arena, Span};
use crate::backend::{Backend, Done, Op, Received, Undrained};
use crate::clock;
use crate::facts::UringFacts;
use crate::origin::Origin;
use crate::outcome::Operations;
use crate::plan::SendPath;
use crate::sys::{self, Errno};
use crate::token::{Kind, Token};
use buffers::BufferRing;
use connections::{Connections, Told};
use handle::Handle;
use kernel::Kernel;
use send::{Chain, Outgoing, Sending};

pub(crate) use nop::NopRing;
pub(crate) use setup::open;

/// How receives are asked for, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ReceivePath {
    /// Multishot into the buffer ring, several buffers a completion.
    Bundle,
    /// Multishot into the buffer ring.
    Multishot,
    /// One receive at a time into the slot.
    Single,
}

/// An open ring and everything the kernel knows of it.
pub(crate) struct Ring<K: Kernel = Handle> {
    uring: K,
    arena: Arena,
    buffers: Option<BufferRing>,
    /// Memory for receives without the buffer ring, shared out among the flows.
    slots: Span,
    receive_path: ReceivePath,
    sending: Sending,
    /// Sends may be offered.
    offers: bool,
    /// Room for an address, and the part of it that holds the one that sends name.
    address: Span,
    to: Option<Span>,
    /// The stop event is watched.
    watching: bool,
    /// Where each transaction has a connection of its own.
    connections: Option<Connections>,
    /// The last message of such a connection shares a segment with the end of the stream.
    shares_segments: bool,
    /// The sockets by their own numbers, for where there are no registered files; by flow.
    sockets: Vec<RawFd>,
    /// Operations of each flow that are queued or started and whose last completion has not been reaped.
    open: Vec<u32>,
    /// What is under way of each flow's sends, where that has to be known.
    chains: Vec<Chain>,
    /// Operations under way of all flows, and the watch on the stop event.
    in_flight: u32,
    facts: UringFacts,
    /// Most sends of a flow at once.
    batch: u32,
    /// It looks for completions and never sleeps.
    busy_poll: bool,
    /// Shortest sleep.
    at_least: Duration,
    /// What is registered can be taken back before the ring goes.
    unregisters: bool,
    /// Buffers skipped before the run.
    skipped_before: u64,
    /// Offers are queued that may not have begun.
    offered: bool,
    /// Why an operation could not be queued; the next wait returns it.
    refused: Option<io::Error>,
    operations: Operations,
}

/// How long a cancel may go without effect before it is repeated: much longer than the step of an operation
/// that it can miss.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a peer may take to read what zero-copy sends have under way at the end, before its connection is
/// broken: a machine that is busy elsewhere reads on late.
const ZERO_COPY_PATIENCE: Duration = Duration::from_secs(2);

impl<K: Kernel> Ring<K> {
    /// What the kernel granted.
    pub(crate) fn facts(&self) -> &UringFacts {
        &self.facts
    }

    /// The ring's memory.
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    fn receive_entry(&self, flow: u32) -> squeue::Entry {
        let (group, slot) = (buffers::GROUP, self.slot(flow));
        let single = self.arena.pointer(slot);
        match (self.receive_path, self.file(flow)) {
            (ReceivePath::Bundle, Ok(file)) => opcode::RecvMultiBundle::new(file, group).build(),
            (ReceivePath::Bundle, Err(fd)) => opcode::RecvMultiBundle::new(fd, group).build(),
            (ReceivePath::Multishot, Ok(file)) => opcode::RecvMulti::new(file, group).build(),
            (ReceivePath::Multishot, Err(fd)) => opcode::RecvMulti::new(fd, group).build(),
            (ReceivePath::Single, Ok(file)) => opcode::Recv::new(file, single, slot.length).build(),
            (ReceivePath::Single, Err(fd)) => opcode::Recv::new(fd, single, slot.length).build(),
        }
    }

    /// Memory for a flow's receives without the buffer ring: all of them may be under way at once.
    fn slot(&self, flow: u32) -> Span {
        let each = self.slots.length / self.sockets.len() as u32;
        self.slots.skip(flow * each).first(each)
    }

    /// A flow's socket, by its place in the file table or by its number.
    fn file(&self, flow: u32) -> Result<Fixed, Fd> {
        if self.facts.registered_files { Ok(Fixed(flow)) } else { Err(Fd(self.sockets[flow as usize])) }
    }

    /// Queues one entry. A full queue is handed to the kernel first; one that the kernel does not take ends
    /// the run at the next wait, for an entry left out would leave the flow waiting for ever.
    fn queue(&mut self, entry: squeue::Entry, token: Token) {
        let entry = &entry.user_data(token.to_bits());
        while self.refused.is_none() {
            // SAFETY: every address in the entry lies in the arena, which outlives the operation: `close`
            // gives it back only when nothing is in flight and leaks it otherwise. Descriptors
            // are those of the ring's file table or of sockets that the worker keeps open until
            // after `close`.
            if unsafe { self.uring.push(entry) } {
                return self.count_open(token);
            }
            self.refused = self.submit_until(|room| room > 0).err();
        }
    }

    /// Counts an operation that will complete. An offer need not, and is over when the kernel has begun it.
    fn count_open(&mut self, token: Token) {
        if token.kind == Kind::Offer || connections::is_silent(token) {
            return;
        }
        self.in_flight += 1;
        if token.kind != Kind::Stop {
            self.open[token.flow as usize] += 1;
        }
    }

    fn translate(&mut self, entry: &cqueue::Entry) -> Done {
        let flags = entry.flags();
        let more = cqueue::more(flags);
        let token = Token::from_bits(entry.user_data());
        self.operations.completions += 1;
        self.watching &= token.kind != Kind::Stop;
        let result = u32::try_from(entry.result()).map_err(|_| Errno(entry.result().saturating_neg()));
        let received = match (token.kind, result) {
            (Kind::Receive, Ok(bytes)) if bytes > 0 => {
                match (cqueue::buffer_select(flags), &mut self.buffers) {
                    (Some(first), Some(_)) => {
                        self.operations.receives_buffer_ring += 1;
                        Received::Ring { first, bytes }
                    }
                    _ => {
                        self.operations.receives_single += 1;
                        Received::Slot { flow: token.flow, bytes }
                    }
                }
            }
            // The end of the stream may take a buffer with it.
            (Kind::Receive, _) => match cqueue::buffer_select(flags) {
                Some(first) => Received::Ring { first, bytes: 0 },
                None => Received::Nothing,
            },
            _ => Received::Nothing,
        };
        Done { token, result, more, received }
    }

    /// Takes a completion, which may be one that the worker need not hear of.
    fn take(&mut self, entry: &cqueue::Entry, done: &mut Vec<Done>) {
        if self.connections.is_some() && connections::is_own(entry, self.sockets.len()) {
            return done.extend(self.take_own(entry));
        }
        let mut told = self.translate(entry);
        let token = told.token;
        let mut rest = None;
        let mut over = u32::from(!told.more && token.kind != Kind::Offer);
        let Some(chain) = self.chains.get_mut(token.flow as usize).filter(|_| token.kind != Kind::Unknown)
        else {
            // Of no operation of ours: none is over with it, and what is under way keeps its memory.
            self.operations.stale += 1;
            return;
        };
        match token.kind {
            Kind::Send if send::notified(entry, &mut self.operations) => return self.count_over(token, over),
            Kind::Send => {
                // Of a zero-copy send the rest is between the kernel and us.
                told.more = false;
                if self.sending.silent {
                    (over, rest) = chain.completed(token);
                }
            }
            Kind::Cancel if token.index > 0 => {
                let Some(result) = chain.cancelled(told.result) else { return self.count_over(token, over) };
                told = Done { token: Token::CANCEL.of(token.flow), result, ..told };
            }
            _ => {}
        }
        self.count_over(token, over);
        done.push(told);
        done.extend(rest);
    }

    fn count_over(&mut self, token: Token, operations: u32) {
        self.in_flight = self.in_flight.saturating_sub(operations);
        if let Some(open) = self.open.get_mut(token.flow as usize).filter(|_| token.kind != Kind::Stop) {
            *open = open.saturating_sub(operations);
        }
    }

    /// Cancels everything and reaps until nothing is in flight.
    fn drain(&mut self, patience: Duration) -> Result<(), Undrained> {
        let deadline = clock::now() + patience;
        let abort = clock::now() + ZERO_COPY_PATIENCE;
        let mut done = Vec::with_capacity(64);
        while self.in_flight > 0 {
            self.cancel_all();
            // A cancel misses what is between two of its steps just then, so it is repeated.
            let again = clock::now() + CANCEL_INTERVAL;
            while self.in_flight > 0 && clock::now() < again {
                let left = deadline.min(again).saturating_duration_since(clock::now());
                if clock::now() >= deadline || self.wait(Some(left)).is_err() {
                    return Err(Undrained(self.in_flight));
                }
                self.reap(&mut done);
                done.drain(..).for_each(|d| self.release(d.received));
            }
            if clock::now() >= abort {
                self.abort_zero_copy();
            }
        }
        Ok(())
    }

    /// The kernel keeps the memory of zero-copy sends until the peer has taken them, and no cancel ends that.
    /// A peer that does not read would keep it for good; its connection is of no more use to anybody.
    fn abort_zero_copy(&mut self) {
        if self.sending.path == SendPath::ZeroCopy {
            let left = self.sockets.iter().zip(&self.open).filter(|(_, open)| **open > 0);
            left.for_each(|(socket, _)| self.uring.disconnect(*socket));
        }
    }

    /// By name, one by one: to cancel whatever there is takes Linux 5.19.
    fn cancel_all(&mut self) {
        let own = if self.connections.is_some() { connections::TOKENS.as_slice() } else { &[] };
        self.connections.iter_mut().for_each(Connections::stop_accepting);
        if self.watching {
            self.cancel(Token::STOP, Token::CANCEL);
        }
        for flow in 0..self.open.len() as u32 {
            if self.open[flow as usize] == 0 {
                continue;
            }
            let sends = (0..self.batch).map(Token::send);
            for target in std::iter::once(Token::RECEIVE).chain(sends).chain(own.iter().copied()) {
                self.cancel(target.of(flow), Token::CANCEL.of(flow));
            }
        }
    }

    fn cancel(&mut self, target: Token, token: Token) {
        self.queue(opcode::AsyncCancel::new(target.to_bits()).build(), token);
    }

    /// Queues a send.
    fn send(&mut self, span: Span, linked: bool, token: Token) {
        let file = self.file(token.flow);
        let send = Outgoing { span, linked, offer: false, to: self.to };
        let entry = self.sending.entry(file, &self.arena, &send, &mut self.operations);
        self.chains[token.flow as usize].queued();
        self.queue(entry, token);
    }

    /// Queues a send that goes as far as it does at once.
    fn offer(&mut self, span: Span, token: Token) {
        let file = self.file(token.flow);
        self.offered = true;
        let send = Outgoing { span, linked: false, offer: true, to: self.to };
        let entry = self.sending.entry(file, &self.arena, &send, &mut self.operations);
        self.queue(entry, token);
    }

    /// Puts a flow's socket into the file table, or takes it out with -1.
    fn register_file(&mut self, flow: u32, fd: RawFd) -> io::Result<()> {
        self.uring.replace_file(flow, fd)
    }
}

impl<K: Kernel> Backend for Ring<K> {
    fn attach(&mut self, flow: u32, socket: BorrowedFd<'_>, to: Option<&SockAddr>) -> io::Result<()> {
        self.sockets[flow as usize] = socket.as_raw_fd();
        if let Some(to) = to {
            // In the arena, because older kernels look at it only when they send.
            let bytes = sys::address_bytes(to);
            let place = self.address.first(bytes.len() as u32);
            self.arena.bytes_mut(place).copy_from_slice(bytes);
            self.to = Some(place);
        }
        if self.facts.registered_files {
            self.register_file(flow, socket.as_raw_fd())?;
        }
        Ok(())
    }

    fn draw(&mut self, origin: Origin) -> io::Result<()> {
        self.draw_from(origin);
        Ok(())
    }

    fn connection(&self, flow: u32) -> Option<&Socket> {
        self.connections.as_ref()?.socket(flow)
    }

    fn watch(&mut self, stop: BorrowedFd<'_>) -> io::Result<()> {
        if !self.watching {
            let poll = opcode::PollAdd::new(Fd(stop.as_raw_fd()), libc::POLLIN as u32).build();
            self.queue(poll, Token::STOP);
            self.watching = true;
        }
        Ok(())
    }

    fn send_path(&self) -> SendPath {
        self.sending.path
    }

    fn offers(&self) -> bool {
        self.offers
    }

    fn make_room(&mut self, operations: u32) {
        // The end of a submission ends a chain, so one that began in a full queue would come apart.
        if self.refused.is_none() {
            self.refused = self.submit_until(|room| room >= operations as usize).err();
        }
    }

    fn push(&mut self, op: Op, token: Token) {
        let flow = token.flow;
        match op {
            Op::Cancel(target) if self.sending.silent && target.kind == Kind::Send => {
                for index in 0..self.chains[flow as usize].cancelling() {
                    self.cancel(Token::send(index).of(flow), Token { index: index + 1, ..token });
                }
            }
            Op::Accept => self.start_accepting(),
            Op::Close { last } => self.hang_up(last, token),
            Op::Connect { port, request, bytes } => self.connect(port, request, bytes, token),
            Op::Take { bytes } => self.take_bytes(flow, bytes),
            Op::Cancel(target) => self.cancel(target.of(flow), token),
            Op::Offer { span } => self.offer(span, token),
            Op::Receive => self.queue(self.receive_entry(flow), token),
            Op::Send { span, linked } => self.send(span, linked, token),
            Op::SendFile { .. } => unreachable!("a plan with a file is not for a ring"),
        }
    }

    fn gathers(&self) -> bool {
        // A single receive completes once, and the next one is asked for only after the sleep.
        self.facts.minimum_wait && self.receive_path != ReceivePath::Single
    }

    fn batch_wakeups(&mut self, at_least: Duration) {
        if self.facts.minimum_wait {
            self.at_least = at_least;
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        match self.connections.as_mut().and_then(Connections::tells) {
            Some(Told::AtOnce) => return Ok(()),
            Some(Told::BehindTheKernel) => return self.look_in(),
            None => {}
        }
        if self.busy_poll { self.look() } else { self.sleep(timeout) }
    }

    fn reap(&mut self, done: &mut Vec<Done>) {
        self.operations.overflows = u64::from(self.uring.dropped());
        while done.len() + 1 < done.capacity()
            && let Some(told) = self.connections.as_mut().and_then(Connections::tell)
        {
            done.push(told);
        }
        // One may be told as two.
        while done.len() + 1 < done.capacity() {
            let Some(entry) = self.uring.completion().or_else(|| self.late_completion()) else { return };
            self.take(&entry, done);
        }
    }

    fn show(&self, received: Received, see: &mut dyn FnMut(&[u8])) {
        match received {
            Received::Nothing => {}
            Received::Slot { flow, bytes } => see(self.arena.bytes(self.slot(flow).first(bytes))),
            Received::Ring { first, bytes } => {
                if let Some(buffers) = &self.buffers {
                    buffers.spans(first, bytes).for_each(|span| see(self.arena.bytes(span)));
                }
            }
        }
    }

    fn release(&mut self, received: Received) {
        if let (Received::Ring { first, bytes }, Some(buffers)) = (received, &mut self.buffers) {
            buffers.give_back(&self.arena, first, bytes);
            self.operations.skipped_buffers = buffers.skipped() - self.skipped_before;
        }
    }

    fn operations(&self) -> Operations {
        self.operations
    }

    fn close(mut self, patience: Duration) -> Result<(), Undrained> {
        // A kernel may make unregistering wait for what is in flight, without end. What is left then goes
        // with the ring, and the arena stays.
        self.drain(patience)?;
        if self.buffers.is_some() {
            // The kernel must let go of the ring inside the arena before the arena goes.
            self.uring.unregister_buffer_ring(buffers::GROUP);
        }
        if self.facts.registered_buffers && self.unregisters {
            self.uring.unregister_buffers();
        }
        if self.facts.registered_files && self.unregisters {
            self.uring.unregister_files();
        }
        Ok(())
    }
}

impl<K: Kernel> Drop for Ring<K> {
    fn drop(&mut self) {
        // After a close that drained, nothing; else the kernel may hold the memory for longer than we live.
        if self.in_flight > 0 {
            self.arena.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::plan::{Endpoint, Plan, PlanOptions, Role};

    /// A ring with a socket attached, where io_uring is to be had.
    fn attached() -> Option<(Ring, UnixStream, UnixStream, OwnedFd)> {
        let endpoint = Endpoint::Listen { local: ([127, 0, 0, 1], 0).into(), peers: Vec::new() };
        let plan = Plan::new(PlanOptions::new(Role::Receive, endpoint)).unwrap();
        let mut ring = match open(&plan, &mut Vec::new()) {
            Ok(ring) => ring,
            Err(error) => {
                let required = std::env::var("RINGPERF_REQUIRE").unwrap_or_default();
                assert!(!required.split(',').any(|word| word == "uring"), "io_uring is required: {error}");
                let _ = writeln!(io::stdout(), "SKIP a test of the ring: {error}");
                return None;
            }
        };
        let (socket, peer) = UnixStream::pair().unwrap();
        let stop = sys::event().unwrap();
        ring.attach(0, socket.as_fd(), None).unwrap();
        ring.watch(stop.as_fd()).unwrap();
        Some((ring, socket, peer, stop))
    }

    #[test]
    fn what_is_in_flight_keeps_its_memory_and_nothing_else_does() {
        let Some((mut ring, _socket, _peer, _stop)) = attached() else { return };
        ring.push(Op::Receive, Token::RECEIVE);
        ring.wait(Some(Duration::ZERO)).unwrap();
        let address = ring.arena.pointer(Span::default()).addr();
        assert!(ring.in_flight >= 2);
        assert!(ring.close(Duration::ZERO).is_err());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let holds = |line: &str| {
            let (low, high) = line.split_once(' ')?.0.split_once('-')?;
            let bound = |hex| usize::from_str_radix(hex, 16).ok();
            Some((bound(low)?..bound(high)?).contains(&address))
        };
        assert!(maps.lines().any(|line| holds(line) == Some(true)), "{address:x} is not in\n{maps}");

        let Some((mut ring, _socket, _peer, _stop)) = attached() else { return };
        ring.push(Op::Receive, Token::RECEIVE);
        ring.drain(Duration::from_secs(20)).unwrap();
        assert_eq!(ring.in_flight, 0);
        ring.close(Duration::ZERO).unwrap();
    }

    /// The descriptor's number leads elsewhere, so only a registered one still finds the ring.
    #[test]
    fn a_registered_descriptor_is_the_one_that_is_used() {
        let Some((mut ring, _socket, _peer, _stop)) = attached() else { return };
        if !ring.facts.registered_ring {
            let _ = writeln!(
                io::stdout(),
                "SKIP a test of the registered descriptor: there is none (Linux 5.18)"
            );
            return;
        }
        let elsewhere = sys::event().unwrap();
        // SAFETY: replaces what the ring's number leads to; the ring stays, held by its registration.
        unsafe { libc::dup2(elsewhere.as_raw_fd(), ring.uring.uring().as_raw_fd()) };
        ring.push(Op::Cancel(Token::RECEIVE), Token::CANCEL);
        ring.wait(Some(Duration::from_secs(20))).unwrap();
        let mut done = Vec::with_capacity(8);
        ring.reap(&mut done);
        assert_eq!((done[0].token, done[0].result), (Token::CANCEL, Err(Errno::NO_ENTRY)));
    }

    /// As on another thread, whose every call is refused.
    #[test]
    fn a_ring_that_takes_nothing_more_is_an_error_and_no_endless_loop() {
        struct Moved(Ring);
        // SAFETY: used by one thread at a time; that the kernel minds the change is the purpose.
        unsafe impl Send for Moved {}
        let Some((ring, socket, peer, stop)) = attached() else { return };
        let moved = Moved(ring);
        let error = std::thread::spawn(move || {
            let Moved(mut ring) = { moved };
            for _ in 0..1000 {
                ring.push(Op::Cancel(Token::RECEIVE), Token::CANCEL);
            }
            ring.wait(None).unwrap_err()
        });
        let error = error.join().unwrap();
        assert!(error.raw_os_error().is_some(), "{error}");
        drop((socket, peer, stop));
    }
}
