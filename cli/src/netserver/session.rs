//! One control connection from its first byte to its close: read, ask the machine, write, and run a test
//! where it says so.
//!
//! Knows nothing of the wire format, which is proto's, nor of how a test runs, which is the engine's. Every
//! wait here has a deadline.

use std::net::{Shutdown, SocketAddr};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use ringperf_engine::{End, EngineChoice, Outcome, errno_name};
use ringperf_proto::auth::NONCE_BYTES;
use ringperf_proto::errno::{EACCES, ETIMEDOUT, UNKNOWN_REQUEST};
use ringperf_proto::{
    Frame, Length, Limits, Nonce, RequestCode, Server, ServerConfig, ServerInput, ServerOutput, TestSpec,
    Wishes,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::guesses::{GUESSES_MAX, Guesses, PERIOD};
use super::incoming::{Incoming, Never};
use super::log::{RateLimit, reason};
use super::policy::{self, Breach, Watch};
use super::testrun::{Ready, Refused, Runner, Running};
use super::transport::Transport;
use crate::args::{Deadlines, Policy};
use crate::bridge::{self, Defaults, Ends};
use crate::passphrase::Passphrase;

/// How long a closing session lets the peer take what was sent and close its own side.
const LINGER: Duration = Duration::from_secs(1);

/// How long a test may take to get ready: sockets, memory and a ring, all of which are the kernel's to give
/// at once, if slowly where there are many of them.
const PREPARE: Duration = Duration::from_secs(60);

/// How long a timed test may last beyond twice its time and grace, which is what the engine gives one whose
/// data comes at the last moment: as long as the slowest of the engine's ends takes, twice over.
const LATE: Duration = Duration::from_secs(60);

/// How long a stopped test may take to give its resources back. One that sends ends its stream and waits for
/// the client's end of it, 20 s at most; the session keeps its seat until then.
const STOPPED: Duration = Duration::from_secs(25);

/// The same where netserver ends, which takes the rest with it.
const STOPPED_AT_THE_END: Duration = Duration::from_secs(3);

/// How long we stream on to a client that has ended its control stream, which is how a process ends that is
/// killed. Nobody may be left who takes what is sent, and over UDP nobody need say so.
const STOP_STREAMING: Duration = Duration::from_secs(1);

/// What the kernel sends over a TCP connection before it paces it: ten segments of an Ethernet frame
/// (`TCP_INIT_CWND`).
const UNPACED_BYTES: u64 = 15_000;

/// What every session is made with.
pub(super) struct Settings {
    pub deadlines: Deadlines,
    pub defaults: Defaults,
    pub runner: Runner,
    pub passphrase: Option<Passphrase>,
    pub policy: Policy,
    /// Wrong passphrases of all sessions.
    pub guesses: Guesses,
    /// Clock ticks a second, what netperf calls the calibrated rate.
    pub cpu_rate: f32,
    /// CPUs of this machine.
    pub cpus: u32,
    /// CPUs that this process may use: no test has more workers.
    pub workers_max: u32,
    /// Whoever started this netserver is its client, and the memory and the threads are theirs.
    pub is_embedded: bool,
}

impl Settings {
    fn server(&self) -> Server {
        let server = Server::new(ServerConfig {
            limits: self.limits(),
            passphrase: self.passphrase.as_ref().map(|passphrase| passphrase.bytes().to_vec()),
            cpu_rate: self.cpu_rate,
            cpus: self.cpus,
        });
        if self.passphrase.is_none() {
            return server;
        }
        let mut random = [0; NONCE_BYTES];
        match getrandom::fill(&mut random) {
            Ok(()) => server.with_nonce(Nonce::new(random)),
            Err(error) => {
                tracing::error!("ENV: no random numbers: {error}; nobody can prove the passphrase");
                server
            }
        }
    }

    /// The bytes of a test under a rate are told by its one worker. Its connections are so few that what each
    /// may send before it is paced is no more than a tenth of a second's worth for all. The classic engine
    /// has a worker for each connection whatever is wished for, so there it is those that are few.
    fn limits(&self) -> Limits {
        let limits = Limits { workers_max: self.workers_max, ..Limits::default() };
        match (self.policy.rate_max, self.defaults.engine) {
            (None, EngineChoice::Classic) if !self.is_embedded => {
                Limits { flows_max: limits.flows_max.min(self.workers_max).max(1), ..limits }
            }
            (None, _) => limits,
            (Some(_), EngineChoice::Classic) => Limits { workers_max: 1, flows_max: 1, ..limits },
            (Some(rate), _) => {
                let flows = rate / 8 / 10 / UNPACED_BYTES;
                let flows_max = u32::try_from(flows).unwrap_or(u32::MAX).clamp(1, limits.flows_max);
                Limits { workers_max: 1, flows_max, ..limits }
            }
        }
    }
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Over {
    /// The peer ended the stream between two frames.
    Done,
    /// The peer broke off: in the middle of a frame, or with an error of the connection.
    Broken(String),
    /// The peer broke the protocol, or was refused by policy.
    Refused(String),
    /// A wait was too long.
    Silent(String),
    /// A test could not go on, and the real server would close here.
    Failed,
    /// netserver is told to end.
    Stopping,
}

/// Serves `stream` until it is over, then closes it.
pub(super) async fn serve<T: Transport>(
    stream: Rc<T>,
    ends: Ends,
    number: u64,
    settings: &Settings,
    stop: watch::Receiver<bool>,
) -> Over {
    let mut session = Session {
        incoming: Incoming::new(Rc::clone(&stream)),
        stream,
        ends,
        number,
        settings,
        stop,
        opened: Instant::now(),
        last_length: Duration::ZERO,
        brakes: Brakes::default(),
    };
    let over = session.converse().await;
    session.close(matches!(over, Over::Stopping)).await;
    over
}

/// A client may ask on and on: lines of the log are held back, those of each kind by themselves.
#[derive(Default)]
struct Brakes {
    fill_file: RateLimit,
    policy: RateLimit,
    prepare: RateLimit,
    refused: RateLimit,
}

struct Session<'a, T: Transport> {
    incoming: Incoming,
    stream: Rc<T>,
    ends: Ends,
    number: u64,
    settings: &'a Settings,
    stop: watch::Receiver<bool>,
    opened: Instant,
    /// Of the last test; idle time is allowed on top of it.
    last_length: Duration,
    brakes: Brakes,
}

impl<T: Transport> Session<'_, T> {
    async fn converse(&mut self) -> Over {
        let mut server = self.settings.server();
        let mut first = true;
        loop {
            let early = first || server.awaits_passphrase();
            let frame = if early { self.early_frame(&server).await } else { self.next_frame().await };
            let handled = match frame {
                Ok(frame) => self.handle(server, frame).await,
                Err(over) => return over,
            };
            match handled {
                ControlFlow::Continue(next) => server = next,
                ControlFlow::Break(over) => return over,
            }
            first = false;
        }
    }

    /// What comes until a client is known has one deadline for all of it: a stranger who sends nothing, or a
    /// little, costs no more.
    async fn early_frame(&mut self, server: &Server) -> Result<Frame, Over> {
        let deadlines = self.settings.deadlines;
        let patience = if self.settings.passphrase.is_some() && server.awaits_passphrase() {
            deadlines.first_with_passphrase
        } else {
            deadlines.first
        };
        self.frame_by(self.opened + patience, patience).await
    }

    async fn next_frame(&mut self) -> Result<Frame, Over> {
        let idle = self.settings.deadlines.idle.saturating_add(self.last_length);
        let started = tokio::select! {
            started = timeout(idle, self.incoming.started()) => started,
            () = stopping(&mut self.stop) => return Err(Over::Stopping),
        };
        match started {
            Ok(Ok(())) => {
                let rest = self.settings.deadlines.rest;
                self.frame_by(Instant::now() + rest, rest).await
            }
            Ok(Err(never)) => Err(never.into()),
            Err(_) => Err(Over::Silent(format!("no request within {} s", idle.as_secs_f32()))),
        }
    }

    /// A whole frame, for which we will then have waited so long.
    async fn frame_by(&mut self, by: Instant, patience: Duration) -> Result<Frame, Over> {
        let frame = tokio::select! {
            frame = timeout_at(by, self.incoming.frame()) => frame,
            () = stopping(&mut self.stop) => return Err(Over::Stopping),
        };
        match frame {
            Ok(frame) => frame.map_err(Over::from),
            Err(_) => Err(Over::Silent(self.silence(patience))),
        }
    }

    fn silence(&self, patience: Duration) -> String {
        let seconds = patience.as_secs_f32();
        match self.incoming.cut_short() {
            None => format!("nothing came within {seconds} s"),
            Some(fault) => format!("nothing more came within {seconds} s: {fault}"),
        }
    }

    /// Drives the machine from one frame to the point where it wants the next.
    async fn handle(&mut self, server: Server, frame: Frame) -> ControlFlow<Over, Server> {
        if server.awaits_passphrase() {
            self.turn_guesser_away().await?;
        }
        let mut server = server;
        let asked = frame.request_type();
        let mut input = ServerInput::Frame(frame);
        let mut test: Option<(TestSpec, Ready)> = None;
        loop {
            let output = match server.on(input) {
                Ok((next, output)) => {
                    server = next;
                    output
                }
                Err(fault) => {
                    // No bytes of a peer lead here, so the session's own steps did.
                    tracing::error!(peer = %self.ends.peer, "BUG: {fault}");
                    return ControlFlow::Break(Over::Failed);
                }
            };
            if server.was_guessed_wrong() {
                self.count_guess();
            }
            input = match output {
                ServerOutput::Close(reason) => {
                    return ControlFlow::Break(Over::Refused(reason.to_owned()));
                }
                ServerOutput::Nothing => return ControlFlow::Continue(server),
                ServerOutput::Prepare(spec) => match self.prepare(&spec).await {
                    Ok(ready) => {
                        let offer = ready.offer.clone();
                        test = Some((spec, ready));
                        ServerInput::Prepared(offer)
                    }
                    Err(Refused { errno, .. }) => ServerInput::Refused { errno },
                },
                ServerOutput::Reply(frame) => {
                    self.log_refusal(&frame, asked);
                    self.write(&frame).await?;
                    return ControlFlow::Continue(server);
                }
                ServerOutput::ReplyThenClose(frame) => {
                    self.write(&frame).await?;
                    return ControlFlow::Break(if server.awaits_passphrase() {
                        Over::Refused("the passphrase is not proven".to_owned())
                    } else {
                        Over::Failed
                    });
                }
                ServerOutput::ReplyThenRun(frame) => {
                    self.write(&frame).await?;
                    match test.take() {
                        Some((spec, ready)) => self.run(&spec, ready).await?,
                        None => return ControlFlow::Break(Over::Failed),
                    }
                }
            };
        }
    }

    /// Looks at no passphrase of an address that has shown too many wrong ones, on other connections
    /// meanwhile.
    async fn turn_guesser_away(&self) -> ControlFlow<Over> {
        if !self.settings.guesses.turn_away(self.ends.peer.ip(), std::time::Instant::now()) {
            return ControlFlow::Continue(());
        }
        self.write(&Frame::response(0, EACCES)).await?;
        ControlFlow::Break(Over::Refused(format!("{GUESSES_MAX} passphrases of its address were wrong")))
    }

    fn count_guess(&self) {
        let count = self.settings.guesses.count(self.ends.peer.ip(), std::time::Instant::now());
        if count == GUESSES_MAX {
            tracing::warn!(
                peer = %self.ends.peer,
                "POLICY: {count} wrong passphrases: the address is turned away until {} s after the first",
                PERIOD.as_secs()
            );
        }
    }

    async fn prepare(&self, spec: &TestSpec) -> Result<Ready, Refused> {
        if spec.ignored_fill_file
            && let Some(held_back) = self.brakes.fill_file.pass()
        {
            let peer = self.ends.peer;
            tracing::warn!(
                %peer, held_back, "the peer names a fill file; files that peers name are never opened"
            );
        }
        if spec.wishes != Wishes::default() {
            tracing::debug!(peer = %self.ends.peer, "the peer wishes for {:?}", spec.wishes);
        }
        if let Err(refused) = policy::judge(&self.settings.policy, spec, self.ends.peer.ip()) {
            if let Some(held_back) = self.brakes.policy.pass() {
                tracing::warn!(peer = %self.ends.peer, held_back, "{}", refused.reason);
            }
            return Err(refused);
        }
        let defaults = self.settings.defaults.clone();
        let preparing = self.settings.runner.prepare(spec.clone(), self.ends, defaults, self.number);
        let ready = timeout(PREPARE, preparing).await.unwrap_or_else(|_| Err(not_ready()));
        if let Err(Refused { reason, .. }) = &ready
            && let Some(held_back) = self.brakes.prepare.pass()
        {
            tracing::warn!(peer = %self.ends.peer, held_back, "test cannot be prepared: {reason}");
        }
        ready
    }

    async fn run(&mut self, spec: &TestSpec, mut ready: Ready) -> ControlFlow<Over, ServerInput> {
        let message_bytes = ready.offer.send_bytes;
        let patience = self.patience(spec);
        let mut watch = Watch::new(&self.settings.policy, spec, ready.samples.take());
        let mut running = ready.start();
        let outcome = tokio::select! {
            outcome = running.outcome() => outcome,
            breach = watch.breach() => self.end_early(spec, &mut running, breach).await?,
            over = lost(&mut self.incoming, &mut self.stop, patience) => {
                return ControlFlow::Break(self.abandon(spec, running, over).await);
            }
            over = late(spec) => return ControlFlow::Break(self.abandon(spec, running, over).await),
        };
        match outcome {
            Ok(outcome) => {
                self.last_length = outcome.elapsed;
                self.log(spec, &outcome);
                ControlFlow::Continue(bridge::ran(spec, &outcome, message_bytes))
            }
            Err(Refused { errno, reason }) => {
                tracing::warn!(peer = %self.ends.peer, errno, "test failed: {reason}");
                ControlFlow::Continue(ServerInput::Failed { errno })
            }
        }
    }

    /// Ends a test that has had what it may have. Who took more than that is told so; who took too long has a
    /// result.
    async fn end_early(
        &self,
        spec: &TestSpec,
        running: &mut Running,
        breach: Breach,
    ) -> ControlFlow<Over, Result<Outcome, Refused>> {
        running.stop.stop();
        if let Breach::TooLong { seconds } = breach {
            tracing::warn!(peer = %self.ends.peer, "POLICY: test ended after {seconds} s (--max-duration)");
        }
        let Ok(outcome) = timeout(STOPPED, running.outcome()).await else {
            tracing::error!(peer = %self.ends.peer, "BUG: a stopped test did not end in time");
            return ControlFlow::Break(Over::Failed);
        };
        ControlFlow::Continue(match (breach, outcome) {
            (Breach::TooLong { .. }, outcome) => outcome,
            (Breach::TooFast { rate_max }, outcome) => {
                if let Ok(outcome) = outcome {
                    self.log(spec, &outcome);
                }
                let most = policy::megabits(rate_max);
                Err(Refused { errno: EACCES, reason: format!("POLICY: more than {most} (--max-rate)") })
            }
        })
    }

    /// How long a test may go on whose client has ended its control stream.
    fn patience(&self, spec: &TestSpec) -> Duration {
        let patience = self.settings.deadlines.ended;
        if spec.test.server_streams() { patience.min(STOP_STREAMING) } else { patience }
    }

    async fn abandon(&self, spec: &TestSpec, mut running: Running, over: Over) -> Over {
        running.stop.stop();
        let at_the_end = matches!(over, Over::Stopping);
        let patience = if at_the_end { STOPPED_AT_THE_END } else { STOPPED };
        match timeout(patience, running.outcome()).await {
            Ok(Ok(outcome)) => self.log(spec, &outcome),
            Ok(Err(Refused { reason, .. })) => {
                tracing::warn!(peer = %self.ends.peer, "test failed: {reason}")
            }
            Err(_) if at_the_end => {
                tracing::warn!(peer = %self.ends.peer, "test given up: its client does not end its side");
            }
            Err(_) => tracing::error!(peer = %self.ends.peer, "BUG: a stopped test did not end in time"),
        }
        over
    }

    fn log(&self, spec: &TestSpec, outcome: &Outcome) {
        let facts = &outcome.facts;
        tracing::info!(
            peer = %self.ends.peer,
            engine = ?facts.engine,
            cores = ?facts.cores.iter().map(|core| core.pinned).collect::<Vec<_>>(),
            degraded = facts.degraded.len(),
            end = ?outcome.end,
            strangers = (outcome.tally.strangers > 0).then_some(outcome.tally.strangers),
            "{}", bridge::line(spec, outcome)
        );
        for degraded in &facts.degraded {
            tracing::debug!(
                peer = %self.ends.peer,
                "without {}: {}; instead: {}", degraded.feature, degraded.reason, degraded.instead
            );
        }
        if let Some(defect) = bridge::defect(&outcome.tally.operations) {
            tracing::error!(peer = %self.ends.peer, "BUG: {defect}");
        }
        if matches!(outcome.end, End::NoConnection) {
            tracing::warn!(peer = %self.ends.peer, "{}", bridge::nobody_came(spec.test));
        }
    }

    /// A client prints a bare number for a refusal, so the log names it.
    fn log_refusal(&self, reply: &Frame, asked: RequestCode) {
        let errno = reply.errno();
        if errno != 0
            && let Some(held_back) = self.brakes.refused.pass()
        {
            let name = match errno {
                UNKNOWN_REQUEST => "unknown request".to_owned(),
                errno => errno_name(errno),
            };
            let peer = self.ends.peer;
            tracing::info!(%peer, held_back, "request {asked:?} refused with {errno} ({name})");
        }
    }

    /// Writes one frame, whole or not at all.
    async fn write(&self, frame: &Frame) -> ControlFlow<Over> {
        let patience = self.settings.deadlines.write;
        match timeout(patience, self.stream.write_all(frame.as_bytes().to_vec())).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(error)) => ControlFlow::Break(Over::Broken(format!("write: {}", reason(&error)))),
            Err(_) => ControlFlow::Break(Over::Silent(format!(
                "an answer was not taken within {} s",
                patience.as_secs_f32()
            ))),
        }
    }

    /// Ends our side first and lets the peer end its own, so that a last frame is not overtaken by a reset;
    /// then shuts down both ways, which is what ends a read in flight and gives the descriptor back.
    async fn close(mut self, at_once: bool) {
        let orderly = self.stream.shutdown(Shutdown::Write).is_ok();
        if orderly && !at_once {
            let _ = timeout(LINGER.min(self.settings.deadlines.rest), self.incoming.drain()).await;
        }
        // The peer may have closed already; then there is nothing left to shut down.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.incoming.finish().await;
    }
}

/// Resolves when the session must end although its test still runs. The end of the control stream is no
/// reason by itself: netperf's netserver finishes the test and sends the results. But it may also be the last
/// that is ever heard of a client, whose test then has `patience` to end.
async fn lost(incoming: &mut Incoming, stop: &mut watch::Receiver<bool>, patience: Duration) -> Over {
    let gone = async {
        match incoming.never().await {
            Never::Ended { .. } => {
                sleep(patience).await;
                let seconds = patience.as_secs_f32();
                Over::Silent(format!("the control stream ended during a test that went on for {seconds} s"))
            }
            Never::Failed(error) => Over::Broken(format!("control connection lost during a test: {error}")),
            flooded @ Never::Flooded => flooded.into(),
        }
    };
    tokio::select! {
        over = gone => over,
        () = stopping(stop) => Over::Stopping,
    }
}

/// Resolves when a timed test should have ended long ago by the engine's own deadlines. One without a time
/// ends with its count or its client.
async fn late(spec: &TestSpec) -> Over {
    let Length::Seconds(seconds) = spec.length else { return std::future::pending().await };
    let time = Duration::from_secs(seconds.into());
    sleep(2 * (time + bridge::GRACE) + LATE).await;
    tracing::error!("BUG: a test of {seconds} s did not end");
    Over::Failed
}

fn not_ready() -> Refused {
    let reason = format!("BUG: the engine was not ready within {} s", PREPARE.as_secs());
    Refused { errno: ETIMEDOUT, reason }
}

/// Resolves when netserver is told to end, or those who could tell it are gone.
async fn stopping(stop: &mut watch::Receiver<bool>) {
    #[expect(clippy::disallowed_methods, reason = "waited for beside what has a deadline")]
    let _ = stop.wait_for(|&stop| stop).await;
}

impl From<Never> for Over {
    fn from(never: Never) -> Self {
        match never {
            Never::Ended { cut_short: None } => Self::Done,
            Never::Ended { cut_short: Some(fault) } => Self::Broken(format!("end of stream: {fault}")),
            Never::Failed(error) => Self::Broken(error),
            Never::Flooded => Self::Refused("requests piled up during a test".to_owned()),
        }
    }
}

/// The session's end, for the log. A scan of the port makes as many as it likes: of all sessions, those
/// beyond what `brake` lets pass are counted. When netserver ends each has its line, and for who wants every
/// session's end, with `-d`.
pub(super) fn log_end(peer: SocketAddr, over: &Over, brake: &RateLimit) {
    match over {
        Over::Done => return tracing::debug!(%peer, "session done"),
        Over::Stopping => return tracing::info!(%peer, "session closed: netserver ends"),
        Over::Broken(_) | Over::Refused(_) | Over::Silent(_) | Over::Failed => {}
    }
    let passes = if tracing::enabled!(tracing::Level::DEBUG) { Some(0) } else { brake.pass() };
    let Some(held_back) = passes else { return };
    let held_back = (held_back > 0).then_some(held_back);
    match over {
        Over::Broken(text) => tracing::info!(%peer, held_back, "session broken off: {text}"),
        Over::Refused(text) => tracing::warn!(%peer, held_back, "session refused: {text}"),
        Over::Silent(text) => tracing::warn!(%peer, held_back, "session closed: {text}"),
        Over::Failed => tracing::info!(%peer, held_back, "session closed after a failed test"),
        Over::Done | Over::Stopping => {}
    }
}

#[cfg(test)]
mod tests;
