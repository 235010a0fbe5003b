//! From a plan to an outcome: socket, thread, start, window, end.
//!
//! The calling thread binds the socket, so that the port is known; the worker's thread does everything else
//! on its own core and shares nothing with anybody but the stop event.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::backend::{Backend, Done};
use crate::cores::Seat;
use crate::cpu::MachineSnapshot;
use crate::engine::{self, AnyBackend};
use crate::error::Error;
use crate::facts::{Degraded, Facts, SocketBuffers};
use crate::flow::{Flow, StreamReceive, StreamSend};
use crate::outcome::{End, Outcome, Tally};
use crate::pattern::Checker;
use crate::plan::{Endpoint, Length, Plan, PlanOptions, Role};
use crate::socket::{self, Bound, Meeting};
use crate::sys;
use crate::worker::{DONE_MAX, Timing, Worker, drive};

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
        let start = Instant::now();
        let machine = MachineSnapshot::now();
        let mut outcome = Outcome::never_ran(self.bound.local, facts.clone());
        let mut failed = None;
        // Open until the backend is closed: an operation may still name it by its number.
        let mut connection = None;
        let met = meet(self.bound, options, remote, &self.stop, &mut outcome.tally.strangers);
        match met {
            Ok(Meeting::Connected(socket, peer)) => {
                outcome.connected_after = Some(start.elapsed());
                outcome.peer = Some(peer);
                outcome.local = socket::local(&socket).unwrap_or(outcome.local);
                let timing = Timing { stop: stop_at(options, start), drain: options.drain_timeout };
                let socket = connection.insert(socket);
                failed = serve(&self.plan, &mut backend, socket, &self.stop, timing, &mut outcome).err();
            }
            Ok(Meeting::Nobody) => outcome.end = End::NoConnection,
            Ok(Meeting::Stopped) => outcome.end = End::Stopped,
            Err(error) => failed = Some(error),
        }
        outcome.elapsed = start.elapsed();
        outcome.machine_cpu = MachineSnapshot::now().since(&machine, sys::clock_ticks());
        seat.verify();
        facts.core = seat.facts.clone();
        if let Err(undrained) = backend.close(CLOSE_PATIENCE) {
            facts.degraded.push(Degraded {
                feature: "orderly teardown",
                reason: format!("{} operations did not end in {} s", undrained.0, CLOSE_PATIENCE.as_secs()),
                instead: "their memory is left to the kernel",
            });
        }
        drop(connection);
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
    match options.endpoint {
        Endpoint::Listen { peer, .. } => bound.accept(peer, options.connect_timeout, stop, strangers),
        Endpoint::Connect { .. } => match remote {
            Some(remote) => bound.connect(remote, options.connect_timeout, stop),
            None => Err(Error::Plan { option: "remote address", range: "any, but it has to be given" }),
        },
    }
}

/// When and how a timed run ends by the clock.
fn stop_at(options: &PlanOptions, start: Instant) -> Option<(Instant, End)> {
    match (options.length, options.role) {
        (Length::Time(length), Role::Receive) => Some((start + length + options.receive_grace, End::Timer)),
        // A sender that was stopped in time and drained ends as one whose peer has read everything.
        (Length::Time(length), Role::Send) => Some((start + length, End::PeerClosed)),
        (Length::Bytes(_) | Length::Endless, _) => None,
    }
}

/// Runs the plan's flow on a connected socket, up to and including our own end of the stream.
fn serve<B: Backend>(
    plan: &Plan,
    backend: &mut B,
    socket: &Socket,
    stop: &Stop,
    timing: Timing,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let broken = |source| Error::System {
        call: "io_uring_enter or epoll_wait",
        doing: "moving payload",
        source,
        hint: "try the other --engine, and report the kernel release",
    };
    backend.attach(socket.as_fd(), stop.0.as_fd()).map_err(broken)?;
    let options = plan.options();
    let layout = plan.layout();
    let limit = if let Length::Bytes(bytes) = options.length { Some(bytes) } else { None };
    let mut checker = options.check_payload.then(|| Checker::new(plan.payload_period()));
    let mut done = Vec::with_capacity(DONE_MAX);
    let end_stream = || drop(socket.shutdown(std::net::Shutdown::Write));
    let before = sys::thread_cpu();
    let (end, tally) = match options.role {
        Role::Receive => {
            let flow = StreamReceive::new(limit);
            follow(flow, plan, backend, &end_stream, timing, checker.as_mut(), &mut done)
        }
        Role::Send => {
            let flow = StreamSend::new(options.message_bytes, layout.slots, layout.batch, limit);
            follow(flow, plan, backend, &end_stream, timing, None, &mut done)
        }
    };
    outcome.worker_cpu = sys::thread_cpu().since(before);
    outcome.transport = socket::transport(socket);
    outcome.buffers_at_end = socket::buffers(socket);
    // The peer waits for this, and the ring's own reference would hold back the end of the stream at a close.
    let _ = socket.shutdown(std::net::Shutdown::Both);
    outcome.end = end.map_err(broken)?;
    outcome.tally = combine(tally, outcome.tally.strangers, backend, checker.as_ref());
    Ok(())
}

/// Drives a flow to its end, whatever that is, and returns what it counted.
fn follow<B: Backend, F: Flow>(
    mut flow: F,
    plan: &Plan,
    backend: &mut B,
    end_stream: &dyn Fn(),
    timing: Timing,
    checker: Option<&mut Checker>,
    done: &mut Vec<Done>,
) -> (io::Result<End>, Tally) {
    let message_bytes = plan.options().message_bytes;
    let layout = plan.layout();
    let mut worker = Worker { backend, flow: &mut flow, layout, message_bytes, timing, end_stream, checker };
    let end = drive(&mut worker, done);
    (end, flow.tally())
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
