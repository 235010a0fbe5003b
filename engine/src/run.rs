//! From a plan to an outcome: socket, thread, start, window, end.
//!
//! The calling thread binds the socket, so that the port is known; the worker's thread does everything else
//! on its own core and shares nothing with anybody but the stop event.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockAddr;

use crate::backend::{Backend, Done};
use crate::cores::Seat;
use crate::cpu::MachineSnapshot;
use crate::engine::{self, AnyBackend};
use crate::error::Error;
use crate::facts::{Degraded, Facts, SocketBuffers};
use crate::flow::{DatagramSend, Flow, Linger, Receive, StreamSend};
use crate::low_water::LowWater;
use crate::outcome::{End, Outcome, Tally};
use crate::pattern::Checker;
use crate::plan::{Endpoint, EngineChoice, Length, Plan, PlanOptions, Protocol, Role};
use crate::socket::{self, Bound, Connection, Meeting};
use crate::sys::{self, Errno, Patience};
use crate::worker::{DONE_MAX, Timing, Wakes, Worker, drive};

/// How long operations may take to end once the run is over; then their memory is leaked and the outcome says
/// so.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Binds the socket, starts the pinned worker and gets everything ready; the worker then waits for
/// [`Prepared::run`].
///
/// # Errors
/// See [`Error`]. Nothing is left open.
pub fn prepare(plan: &Plan) -> Result<Prepared, Error> {
    let mut degraded = Vec::new();
    let bound = Bound::open(plan.options(), &mut degraded)?;
    let (local, buffers) = (bound.local, bound.buffers());
    let stop = Stop(Arc::new(sys::event().map_err(|source| Error::System {
        call: "eventfd",
        doing: "preparing to be stopped",
        source,
        hint: "raise the limit on open files (ulimit -n)",
    })?));
    let (ready_sender, ready) = mpsc::channel();
    let (go, go_receiver) = mpsc::channel();
    let job = Job { plan: plan.clone(), bound, stop: stop.clone(), degraded };
    let worker = std::thread::Builder::new()
        .name("ringperf-worker".to_owned())
        .spawn(move || job.prepare_then_run(&ready_sender, &go_receiver))
        .map_err(|source| Error::System {
            call: "clone3",
            doing: "starting the worker thread",
            source,
            hint: "raise the limit on processes (ulimit -u, or the container's pids limit)",
        })?;
    let Ok(facts) = ready.recv() else {
        // The worker ended before it was ready: its result is the error, or its panic.
        return match worker.join() {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) => unreachable!("a worker that is not ready does not run"),
            Err(panic) => std::panic::resume_unwind(panic),
        };
    };
    Ok(Prepared { local, buffers, facts, stop, go, worker })
}

/// A run that only waits for its start. Dropping it gives everything back.
pub struct Prepared {
    local: SocketAddr,
    buffers: SocketBuffers,
    facts: Facts,
    stop: Stop,
    /// Dropped unused, it sends the worker home.
    go: mpsc::Sender<Option<SocketAddr>>,
    worker: JoinHandle<Result<Outcome, Error>>,
}

impl Prepared {
    /// Our address of the data socket, the port known.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Socket buffers in force.
    pub fn buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// What is known before the run.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A handle that ends the run early, from any thread.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Runs to the end; blocks the calling thread. `remote` is where to connect, and unused by a listener.
    ///
    /// # Errors
    /// See [`Error`]; a connection that fails once it is there is no error but [`End::Failed`].
    pub fn run(self, remote: Option<SocketAddr>) -> Result<Outcome, Error> {
        // A worker that is gone has its result ready for `join`.
        let _ = self.go.send(remote);
        match self.worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Ends a run early. Cheap to clone; stopping twice, or after the end, does nothing.
#[derive(Clone)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// Ends the run; its outcome says [`End::Stopped`].
    pub fn stop(&self) {
        sys::signal_event(self.0.as_fd());
    }
}

/// What the worker's thread starts with.
struct Job {
    plan: Plan,
    bound: Bound,
    stop: Stop,
    degraded: Vec<Degraded>,
}

impl Job {
    fn prepare_then_run(
        mut self,
        ready: &mpsc::Sender<Facts>,
        go: &mpsc::Receiver<Option<SocketAddr>>,
    ) -> Result<Outcome, Error> {
        let options = self.plan.options();
        let seat = Seat::take(options.core, options.role, &mut self.degraded);
        let backend = engine::open(&self.plan, &mut self.degraded)?;
        let facts = backend.facts(options, &seat, self.bound.buffers(), std::mem::take(&mut self.degraded));
        // A caller that has gone away also hangs up `go`.
        let _ = ready.send(facts.clone());
        match go.recv() {
            Ok(remote) => match backend {
                AnyBackend::Classic(backend) => self.run(*backend, seat, facts, remote),
                AnyBackend::Epoll(backend) => self.run(*backend, seat, facts, remote),
                AnyBackend::Uring(backend) => self.run(*backend, seat, facts, remote),
            },
            Err(_) => {
                backend.close(CLOSE_PATIENCE);
                Ok(Outcome::never_ran(self.bound.local, facts))
            }
        }
    }

    fn run<B: Backend>(
        self,
        mut backend: B,
        mut seat: Seat,
        mut facts: Facts,
        remote: Option<SocketAddr>,
    ) -> Result<Outcome, Error> {
        let options = self.plan.options();
        let window = Window::open();
        let mut outcome = Outcome::never_ran(self.bound.local, facts.clone());
        let mut failed = None;
        // Open until the backend is closed: an operation may still name it by its number.
        let mut kept = None;
        let met = meet(self.bound, options, remote, &self.stop, &mut outcome.tally.strangers);
        match met {
            Ok(Meeting::Met(connection)) => {
                outcome.connected_after = Some(window.start.elapsed());
                outcome.peer = Some(connection.peer);
                outcome.local = socket::local(&connection.socket).unwrap_or(outcome.local);
                let connection = kept.insert(connection);
                let mut done = Vec::with_capacity(DONE_MAX);
                let serving = Serving {
                    plan: &self.plan,
                    connection,
                    stop: &self.stop,
                    window,
                    ended: Cell::new(false),
                };
                failed = serving.serve(&mut backend, &mut done, &mut outcome).err();
            }
            Ok(Meeting::Nobody) => window.close(End::NoConnection, &mut outcome),
            Ok(Meeting::Stopped) => window.close(End::Stopped, &mut outcome),
            Err(error) => failed = Some(error),
        }
        seat.verify();
        facts.core = seat.facts.clone();
        if let Err(undrained) = backend.close(CLOSE_PATIENCE) {
            facts.degraded.push(Degraded {
                feature: "orderly teardown",
                reason: format!("{} operations did not end in {} s", undrained.0, CLOSE_PATIENCE.as_secs()),
                instead: "their memory is left to the kernel",
            });
        }
        drop(kept);
        outcome.facts = facts;
        failed.map_or(Ok(outcome), Err)
    }
}

fn meet(
    bound: Bound,
    options: &PlanOptions,
    remote: Option<SocketAddr>,
    stop: &Stop,
    strangers: &mut u64,
) -> Result<Meeting, Error> {
    let stop = stop.0.as_fd();
    let timeout = options.connect_timeout;
    match (&options.endpoint, options.protocol) {
        (Endpoint::Listen { peers, .. }, Protocol::Tcp) => bound.accept(peers, timeout, stop, strangers),
        (Endpoint::Listen { peers, .. }, Protocol::Udp) => {
            bound.await_datagram(peers, timeout, stop, strangers)
        }
        (Endpoint::Connect { .. }, protocol) => match (remote, protocol) {
            (Some(remote), Protocol::Tcp) => bound.connect(remote, timeout, stop),
            (Some(remote), Protocol::Udp) => bound.aim(remote),
            (None, _) => Err(Error::Plan { option: "remote address", range: "any, but it has to be given" }),
        },
    }
}

/// The measured time.
struct Window {
    start: Instant,
    machine: MachineSnapshot,
}

impl Window {
    fn open() -> Self {
        Self { start: Instant::now(), machine: MachineSnapshot::now() }
    }

    /// Writes down what passed until now.
    fn close(&self, end: End, outcome: &mut Outcome) {
        outcome.end = end;
        outcome.elapsed = self.start.elapsed();
        outcome.machine_cpu = MachineSnapshot::now().since(&self.machine, sys::clock_ticks());
    }
}

/// When and how a timed run ends by the clock.
fn stop_at(options: &PlanOptions, start: Instant) -> Option<(Instant, End)> {
    match (options.length, options.role, options.protocol) {
        (Length::Time(length), Role::Receive, _) => {
            Some((start + length + options.receive_grace, End::Timer))
        }
        (Length::Time(length), Role::Send, Protocol::Udp) => Some((start + length, End::Timer)),
        // A sender that was stopped in time and drained ends as one whose peer has read everything.
        (Length::Time(length), Role::Send, Protocol::Tcp) => Some((start + length, End::PeerClosed)),
        (Length::Bytes(_) | Length::Endless, _, _) => None,
    }
}

/// Pause before the first mark behind the end of a stream of datagrams; each further one is twice as long.
const MARK_PAUSE: Duration = Duration::from_millis(10);
/// How many there are at most. Receivers on a busy machine were seen not to run for a fifth of a second, with
/// their queue full all the while.
const LATE_MARKS: u32 = 6;

/// Who looks at what is received: the one that compares it, and the one that chooses how often to look.
type Watchers<'a> = (Option<&'a mut Checker>, Option<&'a mut LowWater>);

/// One connection, from its first byte to its last.
struct Serving<'a> {
    plan: &'a Plan,
    connection: &'a Connection,
    stop: &'a Stop,
    window: Window,
    /// We have ended our side of the stream.
    ended: Cell<bool>,
}

impl Serving<'_> {
    /// Runs the plan's flow, closes the window, and then does what the peer still needs.
    fn serve<B: Backend>(
        &self,
        backend: &mut B,
        done: &mut Vec<Done>,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let Connection { socket, peer, by_address } = self.connection;
        let options = self.plan.options();
        let to = by_address.then(|| SockAddr::from(*peer));
        backend.attach(socket.as_fd(), to.as_ref()).map_err(broken)?;
        backend.watch(self.stop.0.as_fd()).map_err(broken)?;
        let mut checker = options.check_payload.then(|| Checker::new(self.plan.message_slots_bytes()));
        let before = sys::thread_cpu();
        let mut low_water = self.low_water();
        let (end, tally) = self.transfer(backend, (checker.as_mut(), low_water.as_mut()), done);
        let elapsed = self.window.start.elapsed();
        outcome.worker_cpu = sys::thread_cpu().since(before);
        outcome.tally = combine(tally, outcome.tally.strangers, backend, checker.as_ref());
        outcome.low_water = low_water.map(|low_water| low_water.used());
        outcome.transport = socket::transport(socket);
        outcome.buffers_at_end = socket::buffers(socket);
        let lingers = end.as_ref().is_ok_and(|end| self.lingers(*end));
        // The peer waits for this, and the ring's own reference would hold back the end of the stream at a
        // close.
        let _ = match options.protocol {
            Protocol::Tcp if lingers => socket.shutdown(Shutdown::Write),
            Protocol::Tcp => socket.shutdown(Shutdown::Both),
            Protocol::Udp => Ok(()),
        };
        let end = end.map_err(broken)?;
        self.window.close(end, outcome);
        outcome.elapsed = elapsed;
        if lingers {
            self.linger(end, backend, done).map_err(broken)?;
        } else if options.protocol == Protocol::Udp && options.role == Role::Send {
            self.mark(end, to.as_ref());
        }
        // Ends what is still under way.
        let _ = socket.shutdown(Shutdown::Both);
        Ok(())
    }

    /// A TCP receiver sleeps until it is worth waking.
    fn low_water(&self) -> Option<LowWater> {
        let options = self.plan.options();
        let wanted = (options.role, options.protocol) == (Role::Receive, Protocol::Tcp)
            && options.engine != EngineChoice::Classic
            && !options.without.low_water;
        wanted.then(|| {
            LowWater::new(options.socket.receive_buffer.map(|_| self.buffers().receive), Instant::now())
        })
    }

    fn buffers(&self) -> SocketBuffers {
        socket::buffers(&self.connection.socket)
    }

    /// The measured part.
    fn transfer<B: Backend>(
        &self,
        backend: &mut B,
        watchers: Watchers<'_>,
        done: &mut Vec<Done>,
    ) -> (io::Result<End>, Tally) {
        let options = self.plan.options();
        let layout = self.plan.layout();
        let limit = if let Length::Bytes(bytes) = options.length { Some(bytes) } else { None };
        let (bytes, slots, batch) = (options.message_bytes, layout.slots, layout.batch);
        match (options.role, options.protocol) {
            (Role::Receive, protocol) => {
                let exact = (protocol == Protocol::Udp && options.exact_message).then_some(bytes);
                self.follow(Receive::new(limit, exact), backend, watchers, done)
            }
            (Role::Send, Protocol::Udp) => {
                self.follow(DatagramSend::new(bytes, slots, batch, limit), backend, watchers, done)
            }
            (Role::Send, Protocol::Tcp) => {
                let flow = StreamSend::new(bytes, slots, batch, limit);
                let flow = match options.endpoint {
                    // Who connected to be sent to may end it, too.
                    Endpoint::Listen { .. } => flow.watching_peer(),
                    Endpoint::Connect { .. } => flow,
                };
                self.follow(flow, backend, watchers, done)
            }
        }
    }

    /// Drives a flow to its end, whatever that is, and returns what it counted.
    fn follow<B: Backend, F: Flow>(
        &self,
        mut flow: F,
        backend: &mut B,
        watchers: Watchers<'_>,
        done: &mut Vec<Done>,
    ) -> (io::Result<End>, Tally) {
        let options = self.plan.options();
        let timing = Timing { stop: stop_at(options, self.window.start), drain: options.drain_timeout };
        let end = self.drive(&mut flow, timing, backend, watchers, done);
        (end.map(|end| self.unless_reset(end)), flow.tally())
    }

    /// A reset whose error a send cut short has swallowed looks to the next receive like an end of the
    /// stream. But then our side cannot be ended any more.
    fn unless_reset(&self, end: End) -> End {
        let early = self.plan.options().role == Role::Send && end == End::PeerClosed && !self.ended.get();
        let gone = early && self.connection.socket.shutdown(Shutdown::Write).is_err();
        if gone { End::Failed(Errno::RESET.0) } else { end }
    }

    fn drive<B: Backend, F: Flow>(
        &self,
        flow: &mut F,
        timing: Timing,
        backend: &mut B,
        (checker, low_water): Watchers<'_>,
        done: &mut Vec<Done>,
    ) -> io::Result<End> {
        let end_stream = || {
            self.ended.set(true);
            let _ = self.connection.socket.shutdown(Shutdown::Write);
        };
        let set_mark = |mark: u32| {
            // The kernel makes room for one mark in the buffer and the window; asked for two, it makes room
            // for the sender to go on into while we wake up.
            self.set_low_water(mark.saturating_mul(2));
            self.set_low_water(mark);
        };
        let mut worker = Worker {
            backend,
            flow,
            layout: self.plan.layout(),
            message_bytes: self.plan.options().message_bytes,
            in_order: self.plan.options().protocol == Protocol::Tcp,
            timing,
            end_stream: &end_stream,
            checker,
            wakes: low_water.map(|policy| Wakes { policy, set: &set_mark }),
        };
        drive(&mut worker, done)
    }

    /// A mark that the kernel does not take leaves the reader woken more often, no more than that.
    fn set_low_water(&self, bytes: u32) {
        let fd = self.connection.socket.as_raw_fd();
        let _ = sys::set_option(fd, sys::option::RECEIVE_LOW_WATER, bytes.cast_signed());
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

    /// Reads on until the peer has closed, or until it is stopped once more.
    fn linger<B: Backend>(&self, end: End, backend: &mut B, done: &mut Vec<Done>) -> io::Result<()> {
        let stop = self.stop.0.as_fd();
        let heard = u64::from(end == End::Stopped);
        if sys::take_signals(stop) > heard {
            return Ok(());
        }
        backend.watch(stop)?;
        // Nothing is measured any more, and the peer shall get rid of what it has.
        self.set_low_water(1);
        let options = self.plan.options();
        let planned = if let Length::Time(length) = options.length { length } else { Duration::ZERO };
        let until = Instant::now().max(self.window.start + planned) + options.receive_linger;
        let timing = Timing { stop: Some((until, End::DrainTimeout)), drain: Duration::ZERO };
        // However it ends, the outcome stands.
        self.drive(&mut Linger, timing, backend, (None, None), done).map(drop)
    }

    /// Sends some more marks, for those before may have been lost in the queue that the datagrams filled. The
    /// first error ends it: a receiver that has gone has seen one.
    fn mark(&self, end: End, to: Option<&SockAddr>) {
        if !matches!(end, End::Count | End::Stopped | End::Timer) {
            return;
        }
        for mark in 0..LATE_MARKS {
            std::thread::sleep(MARK_PAUSE * (1 << mark));
            let sent = sys::send(self.connection.socket.as_raw_fd(), &[], to, Patience::Now);
            match sent.map_err(|error| Errno::of(&error)) {
                Ok(_) | Err(Errno::NO_BUFFERS | Errno::AGAIN) => {}
                Err(_) => return,
            }
        }
    }
}

/// A backend that cannot go on.
fn broken(source: io::Error) -> Error {
    Error::System {
        call: "io_uring_enter, epoll_wait or setsockopt",
        doing: "moving payload",
        source,
        hint: "try the other --engine, and report the kernel release",
    }
}

/// The counts of flow and backend in one.
fn combine<B: Backend>(flow: Tally, strangers: u64, backend: &B, checker: Option<&Checker>) -> Tally {
    let mut tally = Tally { strangers, wrong_bytes: checker.map_or(0, Checker::wrong), ..flow };
    let counted = tally.operations;
    tally.operations = backend.operations();
    tally.operations.rearmed = counted.rearmed;
    tally.operations.no_buffers = counted.no_buffers;
    tally.operations.stale += counted.stale;
    tally
}
