//! From a plan to an outcome: sockets, threads, start, window, end.
//!
//! The calling thread binds the sockets, so that the port is known, makes the connections and deals them out;
//! the workers' threads do everything else, each on its own core. They share nothing: each has a stop event,
//! and what they counted is put together once they have ended.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::cores::Seat;
use crate::cpu::MachineSnapshot;
use crate::drops::BufferErrors;
use crate::engine::{self, AnyBackend};
use crate::error::Error;
use crate::exchange::Exchanging;
use crate::facts::{Degraded, Facts, SocketBuffers};
use crate::origin::{Listener, Origin, Target};
use crate::outcome::{End, Outcome};
use crate::plan::{Endpoint, Plan, Protocol};
use crate::serve::{Serving, Share};
use crate::socket::{Bound, Connection, Meeting};
use crate::{sys, thread};

/// How long operations may take to end once the run is over; then their memory is leaked and the outcome says
/// so.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Descriptors of a run beside its data sockets: rings, events, standard streams, what the caller has open.
const OTHER_FILES: u64 = 256;

/// Binds the sockets, starts the pinned workers and gets everything ready; the workers then wait for
/// [`Prepared::run`].
///
/// # Errors
/// See [`Error`]. Nothing is left open.
pub fn prepare(plan: &Plan) -> Result<Prepared, Error> {
    let options = plan.options();
    // Where connections come and go, more of them may wait to be served.
    let waiting = if options.connects_each() { 4 } else { 1 };
    let files = plan.layout().flows.max(options.flows) * waiting;
    if files > 1 {
        sys::allow_open_files(u64::from(files) + OTHER_FILES);
    }
    let mut degraded = Vec::new();
    let bound = Bound::open(options, &mut degraded)?;
    let (local, buffers, packet_class) = (bound[0].local, bound[0].buffers(), bound[0].class);
    let crew: Result<Vec<Member>, Error> =
        (0..options.worker_count()).map(|number| Member::hire(plan, number)).collect();
    // All of them get ready at the same time; one that cannot sends the others home by hanging up.
    let mut crew = crew?;
    let mut facts: Option<Facts> = None;
    for member in &mut crew {
        let ready = member.ready()?;
        match &mut facts {
            None => {
                let degraded = [degraded.as_slice(), &ready.degraded].concat();
                let (segmentation, coalescing) = (bound[0].segments(), bound[0].coalesces());
                facts = Some(Facts {
                    buffers_granted: buffers,
                    packet_class,
                    segmentation,
                    coalescing,
                    degraded,
                    ..ready
                });
            }
            Some(facts) => facts.join(ready),
        }
    }
    let facts = facts.expect("a plan has a worker");
    let stop = Stop(crew.iter().map(|member| Arc::clone(&member.stop)).collect());
    let buffer_errors = BufferErrors::now();
    Ok(Prepared { plan: plan.clone(), bound, local, buffers, facts, stop, crew, buffer_errors })
}

/// A run that only waits for its start. Dropping it gives everything back.
pub struct Prepared {
    plan: Plan,
    bound: Vec<Bound>,
    local: SocketAddr,
    buffers: SocketBuffers,
    facts: Facts,
    stop: Stop,
    crew: Vec<Member>,
    /// From now on datagrams may come.
    buffer_errors: BufferErrors,
}

impl Prepared {
    /// Our address of the data socket, the port known. Of several that connect, that of the first, whose port
    /// is 0 before the run: the kernel chooses it then.
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
        let Self { plan, bound, local, facts, stop, mut crew, buffer_errors, .. } = self;
        let window = Window::open(buffer_errors);
        let mut outcome = Outcome::never_ran(local, facts);
        if plan.options().connects_each() {
            let hand = origin(bound, &plan, remote)?;
            start(&mut crew, [hand], &window);
            gather(crew, &plan, &mut outcome)?;
            outcome.connected_after = Some(Duration::ZERO).filter(|_| outcome.end != End::NoConnection);
            if outcome.peer.is_none() {
                outcome.buffers_at_end = outcome.facts.buffers_granted;
            }
            return Ok(outcome);
        }
        let met = meet(bound, &plan, remote, &stop, &mut outcome.tally.strangers);
        let connections = match met? {
            Met::All(connections) => connections,
            Met::Not(end) => {
                window.close(end, &mut outcome);
                return Ok(outcome);
            }
        };
        let connected_after = window.start.elapsed();
        // To make one connection takes no time that shows, and netperf counts it; to make many does. Where
        // messages come out of a file, netperf's clock and alarm start with the connection.
        let from_file = plan.options().file.is_some();
        let begins_here = from_file || plan.options().flows > 1;
        outcome.connected_after = Some(if from_file { Duration::ZERO } else { connected_after });
        let window = if begins_here { Window::open(buffer_errors) } else { window };
        let mut hands: Vec<Vec<Connection>> = crew.iter().map(|_| Vec::new()).collect();
        let workers = hands.len();
        for (number, connection) in connections.into_iter().enumerate() {
            hands[number % workers].push(connection);
        }
        start(&mut crew, hands.into_iter().map(Hand::Connections), &window);
        gather(crew, &plan, &mut outcome)?;
        Ok(outcome)
    }
}

/// Sends the workers on their way, each with its hand.
fn start(crew: &mut [Member], hands: impl IntoIterator<Item = Hand>, window: &Window) {
    for (member, hand) in crew.iter_mut().zip(hands) {
        member.start(Start { hand, window: window.clone() });
    }
}

/// Waits for each of them, whatever the others say, and puts together what they found.
fn gather(crew: Vec<Member>, plan: &Plan, outcome: &mut Outcome) -> Result<(), Error> {
    let shares: Vec<Result<Share, Error>> = crew.into_iter().map(Member::share).collect();
    outcome.gather(shares.into_iter().collect::<Result<_, _>>()?, plan.options().interval);
    Ok(())
}

/// Where the only worker's connections come from whose transactions have one each. There is none to be made
/// beforehand.
fn origin(bound: Vec<Bound>, plan: &Plan, remote: Option<SocketAddr>) -> Result<Hand, Error> {
    let options = plan.options();
    let origin = match &options.endpoint {
        Endpoint::Listen { peers, .. } => {
            let listener = bound.into_iter().next().expect("a plan that listens has a listener");
            Origin::Listener(Listener::new(listener.into_socket(), peers.clone()))
        }
        Endpoint::Connect { local } => {
            Origin::Target(Target::new(*local, remote.ok_or(NO_REMOTE)?, options.clone()))
        }
    };
    Ok(Hand::Origin(origin, remote))
}

/// What a requester or sender cannot do without.
const NO_REMOTE: Error = Error::Plan { option: "remote address", range: "any, but it has to be given" };

/// Ends a run early. Cheap to clone; stopping twice, or after the end, does nothing. The default has no run
/// to end.
#[derive(Clone, Default)]
pub struct Stop(Vec<Arc<OwnedFd>>);

impl Stop {
    /// Ends the run; its outcome says [`End::Stopped`].
    pub fn stop(&self) {
        self.0.iter().for_each(|event| sys::signal_event(event.as_fd()));
    }
}

/// A worker as its run sees it.
struct Member {
    stop: Arc<OwnedFd>,
    ready: mpsc::Receiver<Facts>,
    /// Dropped unused, it sends the worker home.
    go: mpsc::Sender<Start>,
    /// `None` once it has been joined.
    thread: Option<JoinHandle<Result<Share, Error>>>,
}

/// What a worker starts with.
struct Start {
    hand: Hand,
    window: Window,
}

/// What a worker works with.
enum Hand {
    Connections(Vec<Connection>),
    /// Where they come from, one for each transaction, and where a requester connects to.
    Origin(Origin, Option<SocketAddr>),
}

impl Member {
    /// Starts the thread, which gets everything ready by itself.
    fn hire(plan: &Plan, number: u32) -> Result<Self, Error> {
        let stop = Arc::new(sys::event().map_err(|source| Error::System {
            call: "eventfd",
            doing: "preparing to be stopped",
            source,
            hint: "raise the limit on open files (ulimit -n)",
        })?);
        let (ready_sender, ready) = mpsc::channel();
        let (go, go_receiver) = mpsc::channel();
        let job = Job { plan: plan.clone(), number, stop: Arc::clone(&stop), degraded: Vec::new() };
        let work = move || job.prepare_then_run(&ready_sender, &go_receiver);
        let thread = thread::spawn("ringperf-worker", work).map_err(|source| Error::System {
            call: thread::refusing_call(&source),
            doing: "starting a worker thread",
            source,
            hint: "raise the limit on processes (ulimit -u, or the container's pids limit), or on memory \
                   (ulimit -v) if it is ENOMEM",
        })?;
        Ok(Self { stop, ready, go, thread: Some(thread) })
    }

    /// Waits until it is ready; what it was granted.
    fn ready(&mut self) -> Result<Facts, Error> {
        #[expect(clippy::disallowed_methods, reason = "a worker that ends or panics drops its sender")]
        match self.ready.recv() {
            Ok(facts) => Ok(facts),
            // It ended before it was ready: its result is the error, or its panic.
            Err(_) => match self.join() {
                Err(error) => Err(error),
                Ok(_) => unreachable!("a worker that is not ready does not run"),
            },
        }
    }

    fn start(&mut self, start: Start) {
        // A worker that is gone has its result ready for `join`.
        let _ = self.go.send(start);
    }

    fn share(mut self) -> Result<Share, Error> {
        self.join()
    }

    fn join(&mut self) -> Result<Share, Error> {
        #[expect(clippy::disallowed_methods, reason = "the loop of a run keeps its own deadlines")]
        match self.thread.take().expect("a thread is joined once").join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// What the worker's thread starts with.
struct Job {
    plan: Plan,
    number: u32,
    stop: Arc<OwnedFd>,
    degraded: Vec<Degraded>,
}

impl Job {
    fn prepare_then_run(
        mut self,
        ready: &mpsc::Sender<Facts>,
        go: &mpsc::Receiver<Start>,
    ) -> Result<Share, Error> {
        let options = self.plan.options();
        let asked = options.cores.get(self.number as usize).copied();
        let seat = Seat::take(asked, options.role, &mut self.degraded);
        let backend = engine::open(&self.plan, &mut self.degraded)?;
        // A caller that has gone away also hangs up `go`.
        let _ = ready.send(backend.facts(options, &seat, std::mem::take(&mut self.degraded)));
        #[expect(clippy::disallowed_methods, reason = "the caller has the sender, and drops it")]
        match go.recv() {
            Ok(start) => match backend {
                AnyBackend::Classic(backend) => self.run(*backend, seat, start),
                AnyBackend::Epoll(backend) => self.run(*backend, seat, start),
                AnyBackend::Uring(backend) => self.run(*backend, seat, start),
            },
            Err(_) => {
                backend.close(CLOSE_PATIENCE);
                Ok(Share::default())
            }
        }
    }

    fn run<B: Backend>(self, mut backend: B, mut seat: Seat, start: Start) -> Result<Share, Error> {
        let Start { hand, window } = start;
        let stop = self.stop.as_fd();
        // Sockets stay open until the backend is closed: an operation may still name one by its number.
        let connections;
        let served = match hand {
            Hand::Connections(met) => {
                connections = met;
                Serving::new(&self.plan, self.number, &connections, stop, window).serve(&mut backend)
            }
            Hand::Origin(origin, remote) => {
                Exchanging { plan: &self.plan, remote, stop, window }.serve(&mut backend, origin)
            }
        };
        seat.verify();
        let undrained = backend.close(CLOSE_PATIENCE).err();
        let mut share = served?;
        share.core = seat.facts.clone();
        share.degraded.extend(undrained.map(|undrained| Degraded {
            feature: "orderly teardown",
            reason: format!("{} operations did not end in {} s", undrained.0, CLOSE_PATIENCE.as_secs()),
            instead: "their memory is left to the kernel",
        }));
        Ok(share)
    }
}

/// What came of waiting for the peer.
enum Met {
    All(Vec<Connection>),
    Not(End),
}

/// Makes the connections, or takes them.
fn meet(
    bound: Vec<Bound>,
    plan: &Plan,
    remote: Option<SocketAddr>,
    stop: &Stop,
    strangers: &mut u64,
) -> Result<Met, Error> {
    let options = plan.options();
    let stop = stop.0[0].as_fd();
    let deadline = Instant::now() + options.connect_timeout;
    let mut connections = Vec::with_capacity(options.flows as usize);
    let mut bound = bound.into_iter();
    let listener = if let Endpoint::Listen { .. } = options.endpoint { bound.next() } else { None };
    for _ in 0..options.flows {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let meeting = match (&options.endpoint, options.protocol, remote) {
            (Endpoint::Listen { peers, .. }, protocol, _) => {
                let listener = listener.as_ref().expect("a plan that listens has a listener");
                match protocol {
                    Protocol::Tcp => listener.accept(peers, timeout, stop, strangers)?,
                    Protocol::Udp => listener.await_datagram(peers, timeout, stop, strangers)?,
                }
            }
            (Endpoint::Connect { .. }, protocol, Some(remote)) => {
                let bound = bound.next().expect("there is a socket for each flow");
                match protocol {
                    Protocol::Tcp => bound.connect(remote, timeout, stop)?,
                    Protocol::Udp => bound.aim(remote)?,
                }
            }
            (Endpoint::Connect { .. }, _, None) => {
                return Err(NO_REMOTE);
            }
        };
        match meeting {
            Meeting::Met(connection) => connections.push(connection),
            Meeting::Nobody => return Ok(Met::Not(End::NoConnection)),
            Meeting::Stopped => return Ok(Met::Not(End::Stopped)),
        }
    }
    Ok(Met::All(connections))
}

/// The measured time.
#[derive(Clone)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    machine: MachineSnapshot,
    buffer_errors: BufferErrors,
}

impl Window {
    fn open(buffer_errors: BufferErrors) -> Self {
        Self { start: Instant::now(), machine: MachineSnapshot::now(), buffer_errors }
    }

    /// Datagrams that found a full buffer anywhere on the machine until now.
    pub(crate) fn receive_buffer_errors(&self) -> Option<u64> {
        BufferErrors::now().since(self.buffer_errors)
    }

    /// CPU time of the machine until now.
    pub(crate) fn machine_cpu(&self) -> crate::cpu::MachineCpu {
        MachineSnapshot::now().since(&self.machine, sys::clock_ticks())
    }

    /// Writes down what passed until now.
    fn close(&self, end: End, outcome: &mut Outcome) {
        outcome.end = end;
        outcome.elapsed = self.start.elapsed();
        outcome.machine_cpu = self.machine_cpu();
    }
}
