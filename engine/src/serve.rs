//! One worker's part of a run: its connections, from their first byte to their last.
//!
//! Chooses the flows, drives them, and does afterwards what the peers still need. What the parts amount to
//! together is for [`crate::outcome`].

mod transactions;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::SockAddr;

use crate::backend::{Backend, Done};
use crate::cpu::{MachineCpu, ThreadCpu};
use crate::error::Error;
use crate::facts::{CoreFacts, Degraded, SocketBuffers};
use crate::flow::{DatagramSend, Flow, InBursts, Linger, Pieces, Receive, StreamSend};
use crate::latency::Timings;
use crate::low_water::LowWater;
use crate::outcome::{Drops, End, Latency, LowWaterUse, Sample, Tally, Transport};
use crate::pace::Pace;
use crate::pattern::Checker;
use crate::plan::{Endpoint, EngineChoice, Length, Plan, PlanOptions, Protocol, Role, SendPath};
use crate::progress::Teller;
use crate::resend::Resend;
use crate::run::Window;
use crate::sampler::Sampler;
use crate::socket::{self, Connection};
use crate::sys::{self, Errno, Patience};
use crate::wakes::{Gather, GatherStreams, MARKED_FLOWS_MAX, Marks, Wakes};
use crate::worker::{DONE_MAX, Timing, Track, Worker, drive};

/// What one worker found.
#[derive(Default)]
pub(crate) struct Share {
    /// How its flows ended, and what each of them moved.
    pub(crate) ends: Vec<End>,
    pub(crate) flow_bytes: Vec<u64>,
    pub(crate) tally: Tally,
    /// From the start of the window to the end of its last flow, and the machine's time over it.
    pub(crate) elapsed: Duration,
    pub(crate) machine_cpu: MachineCpu,
    pub(crate) cpu: ThreadCpu,
    pub(crate) samples: Vec<Sample>,
    pub(crate) latency: Option<Latency>,
    pub(crate) progress_units: Option<u64>,
    pub(crate) low_water: Option<LowWaterUse>,
    pub(crate) longest_gather: Duration,
    pub(crate) drops: Option<Drops>,
    /// Of all its flows, what is one connection's of the first.
    pub(crate) transport: Option<Transport>,
    pub(crate) buffers_at_end: SocketBuffers,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) core: CoreFacts,
    /// What was wished for and not had, once the run had begun.
    pub(crate) degraded: Vec<Degraded>,
}

/// When and how a timed run ends by the clock.
fn stop_at(options: &PlanOptions, start: Instant) -> Option<(Instant, End)> {
    match (options.length, options.role, options.protocol) {
        (Length::Time(length), Role::Receive | Role::Respond, _) => {
            Some((start + length + options.receive_grace, End::Timer))
        }
        (Length::Time(length), Role::Send | Role::Request, Protocol::Udp) => {
            Some((start + length, End::Timer))
        }
        // Who was stopped in time and drained ends as one whose peer has read everything.
        (Length::Time(length), Role::Send | Role::Request, Protocol::Tcp) => {
            Some((start + length, End::PeerClosed))
        }
        (Length::Bytes(_) | Length::Endless | Length::Transactions(_), _, _) => None,
    }
}

/// Pause before the first mark behind the end of a stream of datagrams; each further one is twice as long.
const MARK_PAUSE: Duration = Duration::from_millis(10);
/// How many there are at most. Receivers on a busy machine were seen not to run for a fifth of a second, with
/// their queue full all the while.
const LATE_MARKS: u32 = 6;
/// How long a sender that does not end gets to fill the buffers between us. It takes it some round trips.
const HOLD: Duration = Duration::from_secs(1);
/// Of a paced sender's rate, how much one batch may be: as long as a sleep is late at worst.
const BATCH_TIME: Duration = Duration::from_millis(1);

/// Who watches a run beside its flows.
#[derive(Default)]
struct Watchers<'a> {
    checkers: Vec<Checker>,
    wakes: Option<&'a mut dyn Wakes>,
    pace: Option<Pace>,
    resend: Option<Resend>,
    sampler: Option<Sampler>,
    timings: Option<Timings>,
    teller: Option<Teller>,
}

/// The connections of one worker.
pub(crate) struct Serving<'a> {
    plan: &'a Plan,
    /// Which of the run's workers it is.
    number: u32,
    connections: &'a [Connection],
    stop: BorrowedFd<'a>,
    window: Window,
    /// By flow: we have ended our side of the stream.
    ended: Vec<Cell<bool>>,
    /// Bytes by which low-water marks made the kernel enlarge receive buffers.
    enlarged: Cell<u64>,
    /// What turned out to be refused on the way.
    refused: RefCell<Vec<Degraded>>,
}

impl<'a> Serving<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        number: u32,
        connections: &'a [Connection],
        stop: BorrowedFd<'a>,
        window: Window,
    ) -> Self {
        let ended = connections.iter().map(|_| Cell::new(false)).collect();
        let refused = RefCell::default();
        Self { plan, number, connections, stop, window, ended, enlarged: Cell::new(0), refused }
    }

    /// Runs the plan's flows, closes the window, and then does what the peers still need.
    pub(crate) fn serve<B: Backend>(&self, backend: &mut B) -> Result<Share, Error> {
        let options = self.plan.options();
        for (flow, Connection { socket, peer, by_address }) in (0..).zip(self.connections) {
            let to = by_address.then(|| SockAddr::from(*peer));
            backend.attach(flow, socket.as_fd(), to.as_ref()).map_err(broken)?;
        }
        backend.watch(self.stop).map_err(broken)?;
        if options.rate.is_some() || options.bursts.is_some() {
            sys::sleep_precisely();
        }
        if options.file.is_some() {
            sys::survive_broken_pipes();
        }
        let mut done = Vec::with_capacity(DONE_MAX);
        let mut share = Share::default();
        let set_mark = |flow, mark: u32| self.set_mark(flow, mark);
        let mut marks = self.low_water().map(|policies| Marks::new(policies, &set_mark));
        let mut gather = self.gather().filter(|_| backend.gathers());
        let mut streams = self.gather_streams().filter(|_| backend.gathers());
        let wakes: Option<&mut dyn Wakes> = match (&mut marks, &mut gather, &mut streams) {
            (Some(marks), ..) => Some(marks),
            (None, Some(gather), _) => Some(gather),
            (None, None, Some(streams)) => Some(streams),
            (None, None, None) => None,
        };
        let before = sys::thread_cpu();
        let result = self.transfer(backend, wakes, &mut done, &mut share);
        share.elapsed = self.window.start.elapsed();
        share.cpu = sys::thread_cpu().since(before);
        share.low_water =
            marks.map(|marks| LowWaterUse { enlarged_bytes: self.enlarged.get(), ..marks.used() });
        let longest = gather.map(|gather| gather.longest());
        share.longest_gather = longest.or(streams.map(|streams| streams.longest())).unwrap_or_default();
        self.read_sockets(&mut share);
        self.read_drops(&mut share);
        share.degraded.append(&mut self.refused.borrow_mut());
        self.end_streams(&share);
        result.map_err(broken)?;
        share.machine_cpu = self.window.machine_cpu();
        self.see_off(&share, backend, &mut done)?;
        // Ends what is still under way.
        self.sockets(|socket| drop(socket.shutdown(Shutdown::Both)));
        Ok(share)
    }

    fn sockets(&self, act: impl FnMut(&socket2::Socket)) {
        self.connections.iter().map(|connection| &connection.socket).for_each(act);
    }

    fn socket(&self, flow: u32) -> &socket2::Socket {
        &self.connections[flow as usize].socket
    }

    /// TCP receivers sleep until it is worth waking.
    fn low_water(&self) -> Option<Vec<LowWater>> {
        let options = self.plan.options();
        let wanted = (options.role, options.protocol) == (Role::Receive, Protocol::Tcp)
            && options.engine != EngineChoice::Classic
            && self.plan.layout().flows <= MARKED_FLOWS_MAX
            && !options.busy_poll
            && !options.without.low_water;
        let policy = |connection: &Connection| {
            let fixed = options.socket.receive_buffer.map(|_| socket::buffers(&connection.socket).receive);
            LowWater::new(fixed, Instant::now())
        };
        wanted.then(|| self.connections.iter().map(policy).collect())
    }

    /// Receivers by this protocol may make their sleeps longer.
    fn may_gather(&self, protocol: Protocol) -> bool {
        let options = self.plan.options();
        (options.role, options.protocol) == (Role::Receive, protocol)
            && options.engine != EngineChoice::Classic
            && !options.busy_poll
            && !options.without.minimum_wait
    }

    /// UDP receivers sleep until there is more than one datagram.
    fn gather(&self) -> Option<Gather> {
        // What one turn fetches, and what the buffers take without being handed back.
        let most = DONE_MAX.min(usize::from(self.plan.layout().buffers));
        let buffer = || socket::buffers(self.socket(0)).receive;
        self.may_gather(Protocol::Udp).then(|| Gather::new(buffer(), most as u64, Instant::now()))
    }

    /// Receivers of more streams than have marks sleep until there is something of several.
    fn gather_streams(&self) -> Option<GatherStreams> {
        let (flows, buffer) = (self.connections.len(), || socket::buffers(self.socket(0)).receive);
        let wanted = self.may_gather(Protocol::Tcp) && self.plan.layout().flows > MARKED_FLOWS_MAX;
        wanted.then(|| GatherStreams::new(flows, buffer(), Instant::now()))
    }

    /// The measured part.
    fn transfer<B: Backend>(
        &self,
        backend: &mut B,
        wakes: Option<&mut dyn Wakes>,
        done: &mut Vec<Done>,
        share: &mut Share,
    ) -> io::Result<()> {
        let options = self.plan.options();
        let layout = self.plan.layout();
        let limit = match options.length {
            Length::Bytes(bytes) => Some(bytes.div_ceil(u64::from(options.flows))),
            Length::Endless | Length::Time(_) | Length::Transactions(_) => None,
        };
        let (bytes, slots) = (options.message_bytes, layout.slots);
        let bursts = self.bursts();
        let watchers = Watchers {
            checkers: self.checkers(),
            wakes,
            pace: self.pace(),
            resend: self.resend(),
            sampler: Sampler::of(options, self.window.start),
            timings: self.timings(),
            teller: options.progress.as_ref().map(|progress| Teller::new(progress, self.window.start)),
        };
        match (options.role, options.protocol) {
            (Role::Request | Role::Respond, _) => self.transact(backend, watchers, done, share),
            (Role::Receive, protocol) => {
                let pieces = match protocol {
                    Protocol::Udp if options.exact_message => Pieces::Exact(bytes),
                    Protocol::Udp if options.gro => Pieces::Datagrams(bytes),
                    Protocol::Udp | Protocol::Tcp => Pieces::Any,
                };
                self.follow(|_| Receive::new(limit, pieces), backend, watchers, done, share)
            }
            (Role::Send, Protocol::Udp) => {
                let segments = socket::segments(self.socket(0));
                let (batch, per_send) = self.batch(if segments { layout.per_send } else { 1 });
                let flow = |_| {
                    let flow = DatagramSend::new(bytes, slots, batch, limit).in_bursts(bursts);
                    if segments { flow.segmented(per_send) } else { flow }
                };
                self.follow(flow, backend, watchers, done, share)
            }
            (Role::Send, Protocol::Tcp) => {
                // Who connected to be sent to may end it, too.
                let watches = matches!(options.endpoint, Endpoint::Listen { .. });
                let path = backend.send_path();
                let together = layout.messages_together(path);
                let flow = |_| {
                    let flow = StreamSend::new(bytes, slots, together, limit).in_bursts(bursts);
                    let flow = if path == SendPath::Bundle { flow.bundling() } else { flow };
                    if watches { flow.watching_peer() } else { flow }
                };
                self.follow(flow, backend, watchers, done, share)
            }
        }
    }

    fn checkers(&self) -> Vec<Checker> {
        if !self.plan.options().check_payload {
            return Vec::new();
        }
        let (options, period) = (self.plan.options(), self.plan.received_slots_bytes());
        let checker = match options.protocol {
            Protocol::Tcp => Checker::of_stream(period),
            Protocol::Udp => Checker::of_datagrams(period, options.message_sizes().1 as usize),
        };
        vec![checker; self.connections.len()]
    }

    fn bursts(&self) -> InBursts {
        InBursts::of(self.plan.options().bursts.map_or(0, |bursts| bursts.messages))
    }

    fn pace(&self) -> Option<Pace> {
        let now = Instant::now();
        let rate = self.rate().map(|rate| Pace::at_rate(rate, self.plan.layout().flows, now));
        // A plan has no more than one of them.
        self.plan.options().bursts.map(|bursts| Pace::in_bursts(bursts, now)).or(rate)
    }

    /// The share of the rate that this worker keeps to; the kernel keeps to it for TCP.
    fn rate(&self) -> Option<u64> {
        let options = self.plan.options();
        let ours = self.connections.len() as u128;
        let share = |rate: u64| {
            u64::try_from(u128::from(rate) * ours / u128::from(options.flows)).unwrap_or(u64::MAX).max(1)
        };
        options.rate.filter(|_| (options.role, options.protocol) == (Role::Send, Protocol::Udp)).map(share)
    }

    /// Sends that go together, and datagrams that each carries, of this many at most: the layout's, or as
    /// many as the rate has room for.
    fn batch(&self, per_send: u32) -> (u32, u32) {
        let most = self.plan.layout().batch;
        let Some(rate) = self.rate() else { return (most, per_send) };
        let bytes = rate as f64 / 8.0 * BATCH_TIME.as_secs_f64();
        // Saturates.
        let messages = (bytes / f64::from(self.plan.options().message_bytes)) as u32;
        let per_send = messages.clamp(1, per_send);
        ((messages / per_send).clamp(1, most.max(1)), per_send)
    }

    /// Drives a flow for each connection to its end, and takes down what they counted.
    fn follow<B: Backend, F: Flow>(
        &self,
        flow: impl Fn(u32) -> F,
        backend: &mut B,
        mut watchers: Watchers<'_>,
        done: &mut Vec<Done>,
        share: &mut Share,
    ) -> io::Result<()> {
        let options = self.plan.options();
        let timing = Timing { stop: stop_at(options, self.window.start), drain: options.drain_timeout };
        let flows = self.connections.len() as u32;
        let mut tracks: Vec<Track<F>> = (0..flows).map(|number| Track::new(flow(number))).collect();
        let result = self.drive(&mut tracks, timing, backend, &mut watchers, done);
        for (flow, track) in (0..).zip(&tracks) {
            share.ends.push(self.unless_reset(flow, track.end.unwrap_or(End::Stopped)));
            let tally = track.flow.tally();
            share.flow_bytes.push(tally.bytes_sent + tally.bytes_received);
            share.tally = share.tally.plus(tally);
        }
        share.tally.wrong_bytes = watchers.checkers.iter().map(Checker::wrong).sum();
        share.tally.operations = share.tally.operations.plus(backend.operations());
        share.progress_units = watchers.teller.as_ref().and_then(Teller::units);
        share.latency = watchers.timings.map(Timings::into_latency).or_else(|| backend.latency());
        share.samples = watchers.sampler.map_or_else(Vec::new, Sampler::into_samples);
        result
    }

    /// A reset whose error a send cut short has swallowed looks to the next receive like an end of the
    /// stream. But then our side cannot be ended any more.
    fn unless_reset(&self, flow: u32, end: End) -> End {
        let PlanOptions { role, protocol, .. } = self.plan.options();
        let early = matches!((role, protocol), (Role::Request | Role::Send, Protocol::Tcp))
            && end == End::PeerClosed
            && !self.ended[flow as usize].get();
        let gone = early && self.socket(flow).shutdown(Shutdown::Write).is_err();
        if gone { End::Failed(Errno::RESET.0) } else { end }
    }

    fn drive<B: Backend, F: Flow>(
        &self,
        tracks: &mut [Track<F>],
        timing: Timing,
        backend: &mut B,
        watchers: &mut Watchers<'_>,
        done: &mut Vec<Done>,
    ) -> io::Result<()> {
        let end_stream = |flow: u32| {
            self.ended[flow as usize].set(true);
            let _ = self.socket(flow).shutdown(Shutdown::Write);
        };
        let unsegment = |flow: u32, errno: Errno| {
            let degraded = socket::stop_segmenting(self.socket(flow), errno);
            self.refused.borrow_mut().push(degraded);
        };
        let mut worker = Worker {
            backend,
            tracks,
            layout: self.plan.layout(),
            message_bytes: self.plan.options().message_sizes().0,
            in_order: self.plan.options().protocol == Protocol::Tcp,
            timing,
            busy_poll: self.plan.options().busy_poll,
            turns: 0,
            drained_by: None,
            end_stream: &end_stream,
            unsegment: &unsegment,
            checkers: &mut watchers.checkers,
            wakes: watchers.wakes.take().map(|wakes| wakes as &mut dyn Wakes),
            pace: watchers.pace.take(),
            resend: watchers.resend.take(),
            timings: watchers.timings.as_mut(),
            starved: VecDeque::with_capacity(self.connections.len()),
            unsettled: Vec::with_capacity(self.connections.len()),
            sampler: watchers.sampler.as_mut(),
            teller: watchers.teller.as_mut(),
            fetching: false,
        };
        drive(&mut worker, done)
    }

    /// Sets a flow's mark, and takes down what that does to its receive buffer. The mark that the kernel made
    /// of it: half of the largest receive buffer (net.ipv4.tcp_rmem) is its limit.
    fn set_mark(&self, flow: u32, mark: u32) -> u32 {
        let before = socket::buffers(self.socket(flow)).receive;
        // The kernel makes room for one mark in the buffer and the window; asked for two, it makes room for
        // the sender to go on into while we wake up.
        self.set_low_water(flow, mark.saturating_mul(2));
        self.set_low_water(flow, mark);
        let after = socket::buffers(self.socket(flow)).receive;
        self.enlarged.set(self.enlarged.get() + u64::from(after.saturating_sub(before)));
        socket::low_water(self.socket(flow))
    }

    /// A mark that the kernel does not take leaves the reader woken more often, no more than that.
    fn set_low_water(&self, flow: u32, bytes: u32) {
        let _ = socket::set_low_water(self.socket(flow), bytes);
    }

    /// What the connections tell of themselves.
    fn read_sockets(&self, share: &mut Share) {
        let Some(first) = self.connections.first() else { return };
        share.buffers_at_end = socket::buffers(&first.socket);
        share.local = socket::local(&first.socket);
        share.peer = Some(first.peer);
        share.transport = socket::transport(&first.socket);
        if let Some(all) = &mut share.transport {
            let others = self.connections.iter().skip(1);
            all.retransmits += others.filter_map(|other| socket::retransmits(&other.socket)).sum::<u32>();
        }
    }

    /// What a receiver of datagrams did not get. The socket was opened for this run, so all that it has
    /// dropped counts: to count from a later time on would leave out what came before the worker had
    /// begun.
    fn read_drops(&self, share: &mut Share) {
        let options = self.plan.options();
        if (options.role, options.protocol) != (Role::Receive, Protocol::Udp) {
            return;
        }
        match sys::socket_drops(self.socket(0).as_raw_fd()) {
            Ok(drops) => {
                let receive_buffer_errors = self.window.receive_buffer_errors();
                share.drops = Some(Drops { socket: drops.into(), receive_buffer_errors });
            }
            Err(error) => share.degraded.push(Degraded {
                feature: "socket drop counter",
                reason: sys::error_name(&error),
                instead: "loss without its place",
            }),
        }
    }

    /// The peers wait for this, and the ring's own reference would hold back the end of a stream at a close.
    fn end_streams(&self, share: &Share) {
        if self.plan.options().protocol == Protocol::Udp {
            return;
        }
        for (connection, end) in self.connections.iter().zip(&share.ends) {
            let how = if self.lingers(*end) { Shutdown::Write } else { Shutdown::Both };
            let _ = connection.socket.shutdown(how);
        }
    }

    /// Whether the peer may still be sending, and would take a close for a failure.
    fn lingers(&self, end: End) -> bool {
        let options = self.plan.options();
        let receives = (options.role, options.protocol) == (Role::Receive, Protocol::Tcp);
        receives
            && matches!(options.endpoint, Endpoint::Connect { .. })
            && matches!(end, End::Count | End::Stopped | End::Timer)
            && !options.receive_linger.is_zero()
    }

    /// What the peers still need once all is measured.
    fn see_off<B: Backend>(&self, share: &Share, backend: &mut B, done: &mut Vec<Done>) -> Result<(), Error> {
        let options = self.plan.options();
        if share.ends.iter().any(|end| self.lingers(*end)) {
            self.linger(&share.ends, backend, done).map_err(broken)?;
        } else if matches!(options.role, Role::Request | Role::Send) && options.protocol == Protocol::Udp {
            self.connections.iter().zip(&share.ends).for_each(|(connection, end)| mark(connection, *end));
        }
        Ok(())
    }

    /// Reads on until the peers have closed, or until it is stopped once more. The time for it begins with
    /// the planned end, or with the stop that came before: a peer may not know of that for hours.
    fn linger<B: Backend>(&self, ends: &[End], backend: &mut B, done: &mut Vec<Done>) -> io::Result<()> {
        let stopped = ends.contains(&End::Stopped);
        if sys::take_signals(self.stop) > u64::from(stopped) {
            return Ok(());
        }
        backend.watch(self.stop)?;
        let track = |(flow, end): (u32, &End)| {
            if !self.lingers(*end) {
                return Track::over(Linger, *end);
            }
            // Nothing is measured any more, and the peer shall get rid of what it has.
            self.set_low_water(flow, 1);
            Track::new(Linger)
        };
        let mut tracks: Vec<Track<Linger>> = (0..).zip(ends).map(track).collect();
        let options = self.plan.options();
        let planned = match options.length {
            Length::Time(length) if !stopped => length,
            _ => Duration::ZERO,
        };
        let until = Instant::now().max(self.window.start + planned) + options.receive_linger;
        let timing = Timing { stop: Some((until, End::DrainTimeout)), drain: Duration::ZERO };
        // However it ends, the outcome stands.
        self.drive(&mut tracks, timing, backend, &mut Watchers::default(), done)?;
        let goes_on = |track: &Track<Linger>| track.end == Some(End::DrainTimeout);
        if tracks.iter().any(goes_on) {
            self.hold_still();
        }
        for (connection, _) in self.connections.iter().zip(&tracks).filter(|(_, track)| goes_on(track)) {
            // Its close alone resets a connection only where something lies unread.
            let _ = connection.socket.set_linger(Some(Duration::ZERO));
        }
        Ok(())
    }

    /// Reads nothing for a moment, so that a peer that goes on sending comes to stand in the middle of a
    /// send. The reset that follows ends that send short of its bytes, which netperf's netserver takes for
    /// the end of its test; between two sends it takes it for a failure, and gives no results.
    fn hold_still(&self) {
        // A stop cuts it short, and where it cannot be waited for there is no hold.
        let _ = sys::becomes_readable(&self.stop, HOLD.min(self.plan.options().receive_linger));
    }
}

/// Sends some more marks, for those before may have been lost in the queue that the datagrams filled. The
/// first error ends it: a receiver that has gone has seen one.
fn mark(connection: &Connection, end: End) {
    if !matches!(end, End::Count | End::Stopped | End::Timer) {
        return;
    }
    let to = connection.by_address.then(|| SockAddr::from(connection.peer));
    for mark in 0..LATE_MARKS {
        std::thread::sleep(MARK_PAUSE * (1 << mark));
        let sent = sys::send(connection.socket.as_raw_fd(), &[], to.as_ref(), Patience::Now);
        match sent.map_err(|error| Errno::of(&error)) {
            Ok(_) | Err(Errno::NO_BUFFERS | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

/// A backend that cannot go on.
pub(crate) fn broken(source: io::Error) -> Error {
    Error::System {
        call: "io_uring_enter, epoll_wait or setsockopt",
        doing: "moving payload",
        source,
        hint: "try the other --engine, and report the kernel release",
    }
}
