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

/// What runs tests.
pub(super) enum Runner {
    /// The engine, each test on a thread of its own.
    Engine,
    /// What a test of the session wants to happen.
    #[cfg(test)]
    Scripted(scripted::Script),
}

impl Runner {
    /// Prepares the test that was asked for on `control`. `number` names the thread.
    pub(super) async fn prepare(
        &self,
        spec: TestSpec,
        control: Ends,
        defaults: Defaults,
        number: u64,
    ) -> Result<Ready, Refused> {
        match self {
            Self::Engine => prepare(spec, control, defaults, number).await,
            #[cfg(test)]
            Self::Scripted(script) => script.prepare().await,
        }
    }
}

async fn prepare(spec: TestSpec, control: Ends, defaults: Defaults, number: u64) -> Result<Ready, Refused> {
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
    let left_out = bridge::left_out(spec, defaults);
    let ready = Ready { offer, stop: prepared.stop(), samples, start, outcome };
    #[expect(
        clippy::disallowed_methods,
        reason = "the session has the sender, and drops it by its deadlines"
    )]
    if told.send(Ok(ready)).is_ok() && started.recv().is_ok() {
        let outcome = prepared.run(target).map(|mut outcome| {
            outcome.facts.degraded.extend(left_out);
            outcome
        });
        let _ = outcome_told.send(outcome);
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

/// Tests that run as they are told, for tests of the session.
#[cfg(test)]
pub(super) mod scripted {
    use super::*;

    /// What becomes of every test.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::netserver) enum Script {
        /// It fails when it runs.
        Fails,
        /// It is never ready.
        NeverReady,
        /// It runs and never ends, not even when it is stopped.
        NeverEnds,
        /// It is refused.
        Refused,
    }

    impl Script {
        pub(super) async fn prepare(self) -> Result<Ready, Refused> {
            match self {
                Self::NeverReady => std::future::pending().await,
                Self::Refused => Err(Refused { errno: EIO, reason: "as scripted".to_owned() }),
                Self::Fails | Self::NeverEnds => {
                    let (start, started) = mpsc::channel();
                    let (told, outcome) = oneshot::channel();
                    if self == Self::NeverEnds {
                        // Nobody is left who could drop it, which would be an end.
                        std::mem::forget((started, told));
                    }
                    Ok(Ready {
                        offer: Offer::default(),
                        stop: Stop::default(),
                        samples: None,
                        start,
                        outcome,
                    })
                }
            }
        }
    }
}
