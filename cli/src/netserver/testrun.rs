//! One test on a thread of its own: the engine blocks, and the control plane must not.
//!
//! The thread prepares, waits for the word to start, runs and reports. It ends by itself in every case: when
//! the session goes away before the start, when the run is stopped, and when the engine panics, which costs
//! this session and no other.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;

use ringperf_engine::outcome::Sample;
use ringperf_engine::{Error, Outcome, Plan, Prepared, Stop};
use ringperf_proto::{Offer, TestSpec};
use tokio::sync::oneshot;

use super::log::reason;
use super::policy;
use crate::bridge::{self, Defaults, Ends};

/// errno for a thread that ended without an answer: EIO.
const EIO: i32 = 5;

/// A test that could not be prepared, or ended without an outcome.
#[derive(Debug)]
pub(super) struct Refused {
    /// What the peer is told.
    pub errno: i32,
    /// What the log is told.
    pub reason: String,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { errno: bridge::errno(&error), reason: error.to_string() }
    }
}

/// A prepared test. Dropping it before [`Ready::start`] gives everything back.
pub(super) struct Ready {
    /// What to tell the peer.
    pub offer: Offer,
    /// Ends the run early.
    pub stop: Stop,
    /// What is moved on the way, where somebody wants to know.
    pub samples: Option<mpsc::Receiver<Sample>>,
    start: mpsc::Sender<()>,
    outcome: oneshot::Receiver<Result<Outcome, Error>>,
}

impl Ready {
    /// Lifts the barrier; the outcome follows.
    pub(super) fn start(self) -> Running {
        // A thread that is gone shows at the outcome.
        let _ = self.start.send(());
        Running { stop: self.stop, outcome: self.outcome }
    }
}

/// A test under way.
pub(super) struct Running {
    /// Ends it early.
    pub stop: Stop,
    outcome: oneshot::Receiver<Result<Outcome, Error>>,
}

impl Running {
    /// Waits for the end. May be dropped and called again.
    pub(super) async fn outcome(&mut self) -> Result<Outcome, Refused> {
        match (&mut self.outcome).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(gone()),
        }
    }
}

/// Prepares the test that was asked for on `control`. `number` names the thread.
pub(super) async fn prepare(
    spec: TestSpec,
    control: Ends,
    defaults: Defaults,
    number: u64,
) -> Result<Ready, Refused> {
    let (told, prepared) = oneshot::channel();
    let work = move || work(&spec, control, &defaults, told);
    ringperf_engine::spawn(&format!("rp-test-{number}"), work).map_err(|error| no_thread(&error))?;
    prepared.await.unwrap_or_else(|_| Err(gone()))
}

fn work(spec: &TestSpec, control: Ends, defaults: &Defaults, told: oneshot::Sender<Result<Ready, Refused>>) {
    let Tested { plan, prepared, samples, target } = match get_ready(spec, control, defaults) {
        Ok(ready) => ready,
        Err(refused) => {
            // The session may be gone already; then nobody is left to be told.
            let _ = told.send(Err(refused));
            return;
        }
    };
    let (start, started) = mpsc::channel();
    let (outcome_told, outcome) = oneshot::channel();
    let offer = bridge::offer(spec, &plan, &prepared);
    let ready = Ready { offer, stop: prepared.stop(), samples, start, outcome };
    if told.send(Ok(ready)).is_ok() && started.recv().is_ok() {
        let _ = outcome_told.send(prepared.run(target));
    }
}

/// Everything a test needs.
struct Tested {
    plan: Plan,
    prepared: Prepared,
    samples: Option<mpsc::Receiver<Sample>>,
    /// Where its data goes if we are the ones to go there.
    target: Option<SocketAddr>,
}

fn get_ready(spec: &TestSpec, control: Ends, defaults: &Defaults) -> Result<Tested, Refused> {
    let target = bridge::target(spec, control).map_err(|errno| Refused {
        errno,
        reason: "the client wants its datagrams elsewhere than at the address of the control connection"
            .to_owned(),
    })?;
    let prepare = |spec: &TestSpec| {
        let plan = bridge::plan(spec, control, defaults)?;
        let (plan, samples) = policy::watched(plan, defaults.rate_max, spec.test)?;
        ringperf_engine::prepare(&plan).map(|prepared| Tested { plan, prepared, samples, target })
    };
    let prepared = match prepare(spec) {
        // A listener sees to this itself.
        Err(Error::Bind { .. }) => {
            let mut anywhere = spec.clone();
            (anywhere.data_address, anywhere.data_port) = (None, 0);
            prepare(&anywhere)
        }
        prepared => prepared,
    };
    Ok(prepared?)
}

fn gone() -> Refused {
    Refused { errno: EIO, reason: "the test's thread ended without an answer".to_owned() }
}

fn no_thread(error: &io::Error) -> Refused {
    Refused {
        errno: error.raw_os_error().unwrap_or(EIO),
        reason: format!(
            "ENV: no thread for the test: {}; ulimit -u and the container's pids limit decide it, ulimit -v \
             if it is ENOMEM",
            reason(error)
        ),
    }
}
