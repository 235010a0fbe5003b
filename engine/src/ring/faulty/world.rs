//! The simulated kernel: its two queues, what is under way, and the time that passes.
//!
//! Takes entries as the kernel does, in chains; does a little of whatever can be done, in an order that the
//! seed decides; and completes operations, now and then otherwise than one would like. What an operation does
//! is in [`super::operations`], who holds which buffer in [`super::lending`].
#![expect(unsafe_code, reason = "is lent memory by the ring; the block says why it is sound")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::{cqueue, squeue};

use super::chance::{Doom, Fault, Menu, Random};
use super::lending::Buffers;
use super::memory::{Completion, Entry, Lent};
use super::operations::{Notification, Operation};
use super::peer::Socket;
use crate::clock::{self, simulated};
use crate::ring::kernel::{Kernel, Sleep};
use crate::token::{Kind, Token};

/// IOSQE_IO_LINK, IOSQE_IO_HARDLINK and IOSQE_CQE_SKIP_SUCCESS.
pub(super) const LINK: u8 = 1 << 2;
pub(super) const HARD_LINK: u8 = 1 << 3;
pub(super) const SKIP_SUCCESS: u8 = 1 << 6;

/// More enters than any run takes that ends: one that goes around in circles has more.
const ENTERS_MAX: u64 = 300_000;

/// A ring's way into the simulated kernel.
pub(super) struct Faulty(pub(super) Rc<RefCell<World>>);

/// All that is behind it.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) menu: Menu,
    /// What goes wrong for good, and from when on.
    pub(super) doom: Option<(Instant, Doom)>,
    /// Entries queued, and how many there may be.
    queued: VecDeque<(Entry, Option<Lent>)>,
    pub(super) entries: usize,
    /// Completions in the queue, and how many find room there; the others wait behind it.
    completed: VecDeque<Completion>,
    pub(super) room: usize,
    overflowed: VecDeque<Completion>,
    dropped: u32,
    /// What is under way: the first of each chain, and what waits for it.
    pub(super) chains: Vec<VecDeque<Operation>>,
    pub(super) notifications: Vec<Notification>,
    /// By flow, which is also the place in the file table.
    pub(super) sockets: Vec<Socket>,
    pub(super) buffers: Option<Buffers>,
    /// When the stop event is signalled.
    pub(super) stop_at: Option<Instant>,
    enters: u64,
    /// Where in the chains to look first for something to do.
    turn: usize,
}

impl World {
    pub(super) fn new(random: Random, menu: Menu, sockets: Vec<Socket>) -> Self {
        Self {
            random,
            menu,
            doom: None,
            queued: VecDeque::new(),
            entries: 128,
            completed: VecDeque::new(),
            room: 256,
            overflowed: VecDeque::new(),
            dropped: 0,
            chains: Vec::new(),
            notifications: Vec::new(),
            sockets,
            buffers: None,
            stop_at: None,
            enters: 0,
            turn: 0,
        }
    }

    /// What goes wrong for good by now.
    pub(super) fn doomed(&self) -> Option<Doom> {
        self.doom.filter(|(from, _)| *from <= clock::now()).map(|(_, doom)| doom)
    }

    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        self.menu.strikes(fault, &mut self.random)
    }

    /// Operations of which the kernel has still something to say.
    pub(super) fn held(&self) -> usize {
        self.chains.iter().map(VecDeque::len).sum::<usize>() + self.notifications.len() + self.queued.len()
    }

    /// What they are.
    pub(super) fn names(&self) -> Vec<Token> {
        self.chains.iter().flatten().map(|operation| Token::from_bits(operation.entry.user_data)).collect()
    }

    /// All memory that it may still read or write.
    pub(super) fn lent(&self) -> impl Iterator<Item = Lent> {
        let operations = self.chains.iter().flatten().filter_map(|operation| operation.lent);
        operations.chain(self.notifications.iter().map(|notification| notification.lent))
    }

    pub(super) fn socket(&mut self, entry: &Entry) -> usize {
        const FIXED_FILE: u8 = 1;
        if entry.flags & FIXED_FILE != 0 {
            return entry.fd as usize;
        }
        self.sockets.iter().position(|socket| socket.fd == entry.fd).expect("a socket of the run")
    }

    /// Completes something.
    pub(super) fn post(&mut self, completion: Completion) {
        if self.doomed() == Some(Doom::Drops) {
            self.dropped += 1;
            self.buffers.iter_mut().for_each(|buffers| buffers.told(completion));
        } else if self.completed.len() < self.room && self.overflowed.is_empty() {
            // Never past those that wait, as since Linux 6.0.
            self.completed.push_back(completion);
        } else {
            self.overflowed.push_back(completion);
        }
    }

    /// Whether a completion more would find room.
    pub(super) fn is_full(&self) -> bool {
        self.completed.len() >= self.room || !self.overflowed.is_empty()
    }

    fn flush(&mut self) {
        while self.completed.len() < self.room
            && let Some(completion) = self.overflowed.pop_front()
        {
            self.completed.push_back(completion);
        }
    }

    /// Takes what is queued, or part of it, and begins what begins at once.
    fn take_queued(&mut self) -> usize {
        if self.doomed() == Some(Doom::EnterTakesNothing) {
            return 0;
        }
        let mut count = self.queued.len();
        if count > 1 && self.strikes(Fault::EnterTakesPart) {
            count = self.random.up_to(count as u32) as usize;
            // The engine's promise that a chain is never cut in two is about room in the queue. A kernel that
            // cuts one for want of memory would send the second half at once, and nobody could tell.
            while count < self.queued.len() && self.queued[count - 1].0.flags & (LINK | HARD_LINK) != 0 {
                count += 1;
            }
        }
        let mut chain = VecDeque::new();
        for index in 0..count {
            let (entry, lent) = self.queued.pop_front().expect("so many are queued");
            let linked = entry.flags & (LINK | HARD_LINK) != 0;
            chain.push_back(self.begin(entry, lent));
            if !linked || index + 1 == count {
                self.chains.push(std::mem::take(&mut chain));
                let last = self.chains.len() - 1;
                if self.is_immediate(last) || self.random.one_in(2) {
                    self.advance(last);
                }
            }
        }
        self.chains.retain(|chain| !chain.is_empty());
        count
    }

    /// Does something that can be done now; whether there was anything.
    fn progress(&mut self) -> bool {
        if self.doomed() == Some(Doom::Mute) {
            return false;
        }
        let (chains, sockets) = (self.chains.len(), self.sockets.len());
        let all = chains + sockets + self.notifications.len();
        self.turn = self.random.below(all as u32) as usize;
        for offset in 0..all {
            let index = (self.turn + offset) % all;
            let moved = if index < chains {
                self.advance(index)
            } else if index < chains + sockets {
                let socket = &mut self.sockets[index - chains];
                socket.act(clock::now(), &mut self.random, &mut self.menu)
            } else {
                self.notify(index - chains - sockets)
            };
            if moved {
                self.chains.retain(|chain| !chain.is_empty());
                return true;
            }
        }
        false
    }

    /// Does what can still be done once nobody looks any more.
    pub(super) fn run_on(&mut self) {
        for _ in 0..1000 {
            simulated::advance(Duration::from_micros(10));
            self.buffers.iter_mut().for_each(Buffers::look);
            self.progress();
        }
    }

    /// When something happens by itself.
    fn next_event(&self) -> Option<Instant> {
        let peers = self.sockets.iter().filter_map(Socket::due);
        let notifications = self.notifications.iter().filter_map(|notification| notification.due);
        let doom = self.doom.map(|(from, _)| from);
        let now = clock::now();
        peers.chain(notifications).chain(self.stop_at).chain(doom).filter(|at| *at > now).min()
    }

    /// A completion that nobody waits for, of a kind or a flow that there is none of. Those of operations that
    /// there were are not played: a name is used again, and nothing tells a second completion from the next.
    fn tell_of_nothing(&mut self) {
        let flows = self.sockets.len() as u32;
        let user_data = if self.random.one_in(2) {
            self.random.pick(&[0, 7, u64::MAX, 0x5a << 56, 200 << 56 | 3 << 32])
        } else {
            let kind = self.random.pick(&[Kind::Cancel, Kind::Receive, Kind::Send, Kind::Offer]);
            Token { kind, flow: flows + self.random.below(9), index: self.random.below(70) }.to_bits()
        };
        let result = self.random.pick(&[0, 1, 77, -libc::ECANCELED, -libc::ENOENT, -libc::ECONNRESET]);
        // One that speaks of a buffer, of more to come, or of a notification.
        let flags = self.random.pick(&[0, 0, 0, 1, 1 << 1, 1 << 3]);
        self.post(Completion { user_data, result, flags, stale: true });
    }

    /// An enter that fails before it has done anything.
    fn refuses(&mut self) -> Option<i32> {
        match self.doomed() {
            Some(Doom::EnterFails(errno)) => {
                // Who asks again and again shall get to the end of its time in this life.
                simulated::advance(Duration::from_micros(100));
                return Some(errno);
            }
            Some(Doom::Drops) if self.dropped > 0 => return Some(libc::EBADR),
            _ => {}
        }
        self.strikes(Fault::EnterFails).then(|| self.random.pick(&[libc::EINTR, libc::EAGAIN, libc::EBUSY]))
    }

    fn pass(&mut self) {
        self.enters += 1;
        assert!(self.enters < ENTERS_MAX, "it goes around in circles");
        simulated::advance(Duration::from_nanos(500 + u64::from(self.random.below(3000))));
        let doomed = self.doomed();
        for socket in &mut self.sockets {
            socket.dead |= doomed == Some(Doom::DeadPeer);
            if doomed == Some(Doom::Reset) {
                socket.broken = socket.broken.or(Some(libc::ECONNRESET));
            }
        }
        self.buffers.iter_mut().for_each(Buffers::look);
    }

    fn submit(&mut self) -> io::Result<usize> {
        self.pass();
        if let Some(errno) = self.refuses() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(self.take_queued())
    }

    fn enter(&mut self, wanted: usize, sleep: Option<Sleep>) -> io::Result<usize> {
        let taken = self.submit()?;
        let answer = |errno| if taken > 0 { Ok(taken) } else { Err(io::Error::from_raw_os_error(errno)) };
        let (until, alone_from) = match sleep {
            None => (None, None),
            Some(Sleep { at_most, at_least_us }) => {
                let now = clock::now();
                (Some(now + at_most), Some(now + Duration::from_micros(at_least_us.into())))
            }
        };
        // It does not wait for what it has not taken all of.
        if !self.queued.is_empty() && self.doomed() != Some(Doom::EnterTakesNothing) {
            return Ok(taken);
        }
        if self.strikes(Fault::Stale) {
            self.tell_of_nothing();
        }
        for _ in 0..self.random.below(12) {
            self.progress();
        }
        loop {
            self.flush();
            let one_is_enough = alone_from.is_some_and(|from| clock::now() >= from);
            let enough = if one_is_enough { wanted.min(1) } else { wanted };
            if self.completed.len() >= enough {
                return Ok(taken);
            }
            if self.strikes(Fault::SleepInterrupted) {
                return answer(libc::EINTR);
            }
            if self.progress() {
                continue;
            }
            let now = clock::now();
            let from = alone_from.filter(|from| *from > now && !self.completed.is_empty());
            let next = [self.next_event(), until, from].into_iter().flatten().min();
            let next = next.expect("a sleep that nothing ends");
            simulated::advance(next.saturating_duration_since(now));
            if until.is_some_and(|until| until <= next) {
                return answer(libc::ETIME);
            }
        }
    }

    fn completion(&mut self) -> Option<Completion> {
        let completion = self.completed.pop_front()?;
        self.buffers.iter_mut().for_each(|buffers| buffers.told(completion));
        Some(completion)
    }
}

impl Kernel for Faulty {
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        let mut world = self.0.borrow_mut();
        if world.queued.len() >= world.entries {
            return false;
        }
        let entry = Entry::read(entry);
        // SAFETY: lives until the operation's last completion by the caller's promise, and a ring borrows from
        // its arena between two calls of ours only. What this kernel holds for longer, because a ring gave it
        // up, is in an arena that was kept, which is asserted before it is touched again.
        let lent = Operation::lends(&entry).then(|| unsafe { Lent::new(entry.address, entry.length) });
        world.queued.push_back((entry, lent));
        true
    }

    fn room(&mut self) -> usize {
        let world = self.0.borrow();
        world.entries - world.queued.len()
    }

    fn is_idle(&mut self) -> bool {
        let mut world = self.0.borrow_mut();
        let busy = world.progress();
        // Who looks again and again shall get to the end of its time in this life.
        let nanos = if world.doom.is_some() { 50_000 } else { 200 };
        simulated::advance(Duration::from_nanos(if busy { 40 } else { nanos }));
        world.queued.is_empty() && world.completed.is_empty() && world.overflowed.is_empty() && !busy
    }

    fn submit(&mut self) -> io::Result<usize> {
        self.0.borrow_mut().submit()
    }

    fn enter(&mut self, completions: usize, sleep: Option<Sleep>) -> io::Result<usize> {
        self.0.borrow_mut().enter(completions, sleep)
    }

    fn completion(&mut self) -> Option<cqueue::Entry> {
        self.0.borrow_mut().completion().map(Completion::entry)
    }

    fn has_overflowed(&mut self) -> bool {
        !self.0.borrow().overflowed.is_empty()
    }

    fn dropped(&mut self) -> u32 {
        self.0.borrow().dropped
    }

    fn replace_file(&mut self, _place: u32, _fd: RawFd) -> io::Result<()> {
        Ok(())
    }

    fn disconnect(&mut self, fd: RawFd) {
        let mut world = self.0.borrow_mut();
        if let Some(index) = world.sockets.iter().position(|socket| socket.fd == fd) {
            world.sockets[index].broken = Some(libc::ECONNABORTED);
            world.let_go(index);
        }
    }

    fn unregister_buffer_ring(&mut self, _group: u16) {
        let mut world = self.0.borrow_mut();
        assert_eq!(world.held(), 0, "buffers are taken back from a kernel that still has operations");
        let buffers = world.buffers.take();
        buffers.iter().for_each(Buffers::assert_all_there);
    }

    fn unregister_buffers(&mut self) {
        assert_eq!(self.0.borrow().held(), 0, "memory is taken back from a kernel that still has operations");
    }

    fn unregister_files(&mut self) {}
}
