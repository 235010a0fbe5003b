//! A ring on a simulated kernel, set up for one run, and what has to be true once it is over.
//!
//! Sizes are small, so that slots and buffers go around many times. Which flow runs, and what it has to have
//! counted, is for [`super::runs`].
#![expect(
    unsafe_code,
    reason = "lends the buffer ring to the simulated kernel; the blocks say why it is sound"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::chance::{Doom, Menu, Random};
use super::lending::Buffers;
use super::memory::{Lent, SharedRing};
use super::peer::{Peer, Sizes, Socket};
use super::world::{Faulty, World};
use crate::arena::{Arena, Span};
use crate::backend::{Backend, Undrained};
use crate::clock::{self, simulated};
use crate::facts::UringFacts;
use crate::flow::Flow;
use crate::layout::Layout;
use crate::outcome::{End, Operations, Tally};
use crate::pace::Pace;
use crate::pattern::Checker;
use crate::plan::SendPath;
use crate::resend::Resend;
use crate::ring::buffers::BufferRing;
use crate::ring::send::{Chain, Sending};
use crate::ring::{ReceivePath, Ring};
use crate::sys;
use crate::worker::{Timing, Track, Worker, drive};

/// As in a real run.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Long for a peer of this kind, so that a good run never needs it.
const DRAIN: Duration = Duration::from_secs(1);

/// What a run is of, as far as the ring minds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) datagrams: bool,
    pub(super) path: SendPath,
    pub(super) receive_path: ReceivePath,
    /// The messages that the ring sends are answers, or are answered.
    pub(super) transacts: bool,
    /// Sends carry several datagrams.
    pub(super) per_send: u32,
}

/// Everything that a run has.
pub(super) struct Stage {
    pub(super) random: Random,
    pub(super) work: Work,
    pub(super) sizes: Sizes,
    pub(super) layout: Layout,
    pub(super) flows: u32,
    pub(super) world: Rc<RefCell<World>>,
    pub(super) offers: bool,
    pub(super) start: Instant,
    /// When and how the clock ends it.
    pub(super) stop: Option<(Instant, End)>,
    /// Both the clock and an event end it.
    pub(super) twice: bool,
    ring: Option<Ring<Faulty>>,
    arena: Lent,
    _descriptors: Vec<OwnedFd>,
}

/// What came of a run.
pub(super) struct Found {
    pub(super) ends: Vec<End>,
    pub(super) tallies: Vec<Tally>,
    pub(super) operations: Operations,
    pub(super) error: Option<io::Error>,
    pub(super) undrained: Option<Undrained>,
}

fn layout(random: &mut Random, work: Work, flows: u32) -> (Layout, Sizes) {
    let sizes = Sizes { out: random.pick(&[1, 7, 100, 333, 700]), back: random.pick(&[1, 9, 64, 500]) };
    let sends = 2 + random.below(7);
    let slots = sends * work.per_send;
    let buffer_bytes = if work.datagrams { sizes.back } else { random.pick(&[16, 64, 200, 512]) };
    let buffers = random.pick(&[2, 4, 8, 16]);
    let send = Span { offset: 0, length: slots * sizes.out };
    let receive = Span { offset: send.length.next_multiple_of(4096), length: buffers * buffer_bytes * flows };
    let single = if work.datagrams { receive.first(sizes.back) } else { receive };
    let ring_at = (receive.offset + receive.length).next_multiple_of(4096);
    let buffer_ring = Span { offset: ring_at, length: buffers * 16 };
    let address = Span { offset: ring_at + buffer_ring.length, length: 128 };
    let layout = Layout {
        flows,
        send,
        slots,
        from_file: false,
        batch: random.up_to(sends),
        send_path: work.path,
        per_send: work.per_send,
        receive,
        single,
        buffer_bytes,
        buffers: buffers as u16,
        buffer_ring,
        address,
        arena_bytes: (address.offset + address.length) as usize,
    };
    (layout, sizes)
}

impl Stage {
    /// Sets up a run, whose peers are made by the function.
    pub(super) fn new(seed: u64, work: Work, peer: impl Fn(&mut Random) -> Peer) -> Self {
        let start = simulated::start();
        let mut random = Random::new(seed);
        let menu = Menu::new(&mut random);
        let flows = if work.datagrams { 1 } else { random.pick(&[1, 1, 2, 3]) };
        let (layout, sizes) = layout(&mut random, work, flows);
        let descriptors: Vec<OwnedFd> = (0..flows).map(|_| sys::event().expect("an event")).collect();
        let periods = (layout.send.length as usize, 997);
        let socket = |fd: &OwnedFd, random: &mut Random| {
            let peer = peer(random);
            Socket::new(fd.as_raw_fd(), work.datagrams, sizes, peer, periods, start, random)
        };
        let sockets = descriptors.iter().map(|fd| socket(fd, &mut random)).collect();
        let mut world = World::new(random.clone(), menu, sockets);
        world.entries = random.pick(&[16, 32, 128]);
        world.room = random.pick(&[4, 32, 256]);
        let mut arena = Arena::map_small_pages(layout.arena_bytes).expect("some memory");
        arena.fill(layout.send, None);
        let lend = |span: Span| {
            let address = arena.pointer(span).expose_provenance() as u64;
            // SAFETY: the arena stays mapped until the ring is closed, after which the simulated kernel looks
            // at it only where it was kept. Who borrows from it does not call the kernel.
            unsafe { Lent::new(address, span.length) }
        };
        let whole = lend(Span { offset: 0, length: arena.length() as u32 });
        if work.receive_path != ReceivePath::Single {
            let shared = SharedRing::new(lend(layout.buffer_ring));
            world.buffers = Some(Buffers::new(shared, layout.buffers, layout.buffer_bytes));
        }
        let world = Rc::new(RefCell::new(world));
        let mut this = Self {
            random,
            work,
            sizes,
            layout,
            flows,
            world,
            offers: false,
            start,
            stop: None,
            twice: false,
            ring: None,
            arena: whole,
            _descriptors: descriptors,
        };
        this.offers = work.transacts && this.random.one_in(2);
        this.ring = Some(this.open(arena));
        this
    }

    fn open(&mut self, arena: Arena) -> Ring<Faulty> {
        let (layout, work) = (self.layout, self.work);
        let buffers = (work.receive_path != ReceivePath::Single).then(|| {
            let (ring, memory) = (layout.buffer_ring, layout.receive);
            BufferRing::new(&arena, ring, memory, layout.buffer_bytes, layout.buffers)
        });
        let facts = UringFacts {
            submission_entries: self.world.borrow().entries as u32,
            completion_entries: 1 << 16,
            minimum_wait: true,
            registered_files: self.random.one_in(2),
            registered_buffers: work.path == SendPath::Registered,
            ..UringFacts::default()
        };
        let chained = work.path == SendPath::Chain && !work.datagrams && !work.transacts;
        Ring {
            uring: Faulty(Rc::clone(&self.world)),
            arena,
            buffers,
            slots: layout.single,
            receive_path: work.receive_path,
            sending: Sending {
                path: work.path,
                datagrams: work.datagrams,
                registered: facts.registered_buffers,
                silent: chained && layout.batch > 1 && self.random.one_in(2),
            },
            offers: self.offers,
            address: layout.address,
            to: None,
            watching: false,
            connections: None,
            shares_segments: false,
            sockets: vec![-1; layout.flows as usize],
            open: vec![0; layout.flows as usize],
            chains: vec![Chain::default(); layout.flows as usize],
            in_flight: 0,
            facts,
            batch: layout.batch,
            busy_poll: self.random.one_in(10),
            at_least: Duration::from_micros(self.random.pick(&[0, 0, 0, 50, 1000])),
            unregisters: true,
            skipped_before: 0,
            offered: false,
            refused: None,
            operations: Operations::default(),
        }
    }

    /// A moment within the run.
    pub(super) fn soon(&mut self) -> Instant {
        let most = self.random.pick(&[20, 300, 3000]);
        self.start + Duration::from_micros(self.random.up_to(most).into())
    }

    /// Has the clock end the run, an event, or both; where it ends by itself, maybe neither.
    pub(super) fn end_by(&mut self, timer: End, ends_by_itself: bool) {
        let choice = self.random.below(if ends_by_itself { 5 } else { 3 });
        if choice <= 1 {
            self.stop = Some((self.soon(), timer));
        }
        if (1..=2).contains(&choice) {
            let at = self.soon();
            self.world.borrow_mut().stop_at = Some(at);
        }
        self.twice = choice == 1;
    }

    /// From some time on, something goes wrong for good.
    pub(super) fn doom(&mut self, timer: End) -> Doom {
        let doom = self.random.pick(&[
            Doom::Mute,
            Doom::Deaf,
            Doom::EnterFails(libc::EINTR),
            Doom::EnterFails(libc::EAGAIN),
            Doom::EnterFails(libc::EBUSY),
            Doom::EnterFails(libc::EFAULT),
            Doom::EnterTakesNothing,
            Doom::Drops,
            Doom::DeadPeer,
            Doom::Reset,
            Doom::NoNotification,
            Doom::NoNotificationButForADisconnect,
        ]);
        let from = self.soon();
        self.world.borrow_mut().doom = Some((from, doom));
        self.stop = Some((self.soon(), timer));
        doom
    }

    /// Drives a flow on each socket to its end, closes the ring, and sees that nothing is left.
    pub(super) fn play<F: Flow>(&mut self, flow: impl Fn(u32) -> F, resends: bool) -> Found {
        let mut ring = self.ring.take().expect("a stage is for one run");
        let event = sys::event().expect("an event");
        for (flow, fd) in (0..).zip(&self._descriptors) {
            ring.attach(flow, fd.as_fd(), None).expect("it always works");
        }
        ring.watch(event.as_fd()).expect("it always works");
        let mut tracks: Vec<Track<F>> = (0..self.flows).map(|number| Track::new(flow(number))).collect();
        let mut checkers = vec![Checker::of_stream(997); tracks.len()];
        let error = self.drive(&mut ring, &mut tracks, &mut checkers, resends).err();
        assert_eq!(checkers.iter().map(Checker::wrong).sum::<u64>(), 0, "bytes were received wrong");
        let operations = ring.operations();
        let undrained = ring.close(CLOSE_PATIENCE).err();
        let found = Found {
            ends: tracks.iter().map(|track| track.end.unwrap_or(End::Stopped)).collect(),
            tallies: tracks.iter().map(|track| track.flow.tally()).collect(),
            operations,
            error,
            undrained,
        };
        self.see_to_what_is_left(&found);
        found
    }

    fn drive<F: Flow>(
        &mut self,
        ring: &mut Ring<Faulty>,
        tracks: &mut [Track<F>],
        checkers: &mut [Checker],
        resends: bool,
    ) -> io::Result<()> {
        let world = Rc::clone(&self.world);
        let end_stream = |flow: u32| world.borrow_mut().sockets[flow as usize].shut_down();
        let rate = u64::from(self.sizes.out) * 8 * 100_000;
        let pace = (!self.work.transacts && self.work.datagrams && self.random.one_in(4))
            .then(|| Pace::at_rate(rate, self.layout.flows, clock::now()));
        let mut worker = Worker {
            busy_poll: ring.busy_poll,
            backend: ring,
            tracks,
            layout: &self.layout,
            message_bytes: self.sizes.out,
            in_order: !self.work.datagrams,
            timing: Timing { stop: self.stop, drain: DRAIN },
            turns: 0,
            drained_by: None,
            end_stream: &end_stream,
            unsegment: &|_, _| {},
            checkers,
            wakes: None,
            pace,
            resend: resends.then(|| Resend::new(Duration::from_micros(700), clock::now())),
            timings: None,
            starved: VecDeque::with_capacity(8),
            unsettled: Vec::with_capacity(8),
            sampler: None,
            teller: None,
            fetching: false,
        };
        // What an offer has left is to be known in the turn after it, for which there always is room.
        let room = if self.offers { 256 } else { self.random.pick(&[2, 3, 8, 256]) };
        let mut done = Vec::with_capacity(room);
        drive(&mut worker, &mut done)
    }

    /// What the kernel still has must be there, and if the ring says that it has nothing, it has nothing. All
    /// of it took no longer than it may.
    fn see_to_what_is_left(&mut self, found: &Found) {
        let mut world = self.world.borrow_mut();
        if let Some(error) = &found.error {
            assert!(world.doom.is_some(), "a kernel without lasting faults ends the run: {error}");
            if let Some((_, Doom::EnterFails(errno))) = world.doom {
                assert_eq!(error.raw_os_error(), Some(errno), "another reason than the kernel's is told");
            }
        }
        let took = clock::now() - self.start;
        assert!(took < Duration::from_millis(100) + 2 * DRAIN + CLOSE_PATIENCE, "it took {took:?}");
        let Some(Undrained(operations)) = found.undrained else {
            assert_eq!(world.held(), 0, "the ring was closed, and its kernel has operations under way");
            return;
        };
        assert!(
            world.doom.is_some(),
            "{operations} operations could not be ended, of which there are {:?}",
            world.names()
        );
        assert!(operations > 0, "nothing was under way, and it could not be ended");
        assert!(world.lent().all(Lent::is_mapped), "memory under way was unmapped");
        assert!(self.arena.is_mapped(), "memory under way was unmapped");
        // Late, but it may still happen.
        world.doom = None;
        world.run_on();
        drop(world);
        // SAFETY: the ring that had the arena is closed and gone and has left it to this kernel, which is
        // not used any more.
        unsafe { self.arena.unmap() };
    }
}
