//! One iteration: agree on a test, run it, and set both ends' figures side by side.
//!
//! Prints nothing; what went wrong comes back in netperf's words. Which figure netperf calls the result is
//! decided here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use ringperf_engine::facts::SocketBuffers;
use ringperf_engine::plan::{Endpoint, Protocol, Role};
use ringperf_engine::{End, Error, Outcome, Plan, PlanOptions, Prepared};
use ringperf_proto::{ClientInput, ClientOutput, Length, OmniTest, RemoteOffer, RemoteResults};
use signal_hook::consts::{SIGALRM, SIGINT};

use super::options::Options;
use super::plan::{Course, role};
use super::resolve::number;
use super::say::{self, Ending, FAILED};
use super::tables::MachineLoad;
use crate::bridge::{METHOD_PROC_STAT, protocol};
use crate::client::exchange::Exchange;
use crate::client::interrupt::Interrupt;
use crate::netperf_cpu::{online, utilisation};
use crate::record::MachineCost;

/// errno of a connection that the other end reset, and of one that is known to be reset.
const ECONNRESET: i32 = 104;
const EPIPE: i32 = 32;

/// errno of a message that no datagram can carry (EMSGSIZE).
const MESSAGE_TOO_LONG: i32 = 90;

/// errno where the engine names none (EIO).
const EIO: i32 = 5;

/// What the netserver contributed; nothing without one.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// What it offered.
    pub(crate) offer: RemoteOffer,
    /// What it counted.
    pub(crate) results: RemoteResults,
}

/// A finished iteration.
#[derive(Debug)]
pub(crate) struct Run {
    /// What our engine was asked to do.
    pub(crate) plan: PlanOptions,
    /// Our end. `None`: the data socket had met itself, and nothing was measured.
    pub(crate) outcome: Option<Outcome>,
    /// The netserver's end.
    pub(crate) remote: Option<Remote>,
    /// When the transfer began.
    pub(crate) started: SystemTime,
    /// From just before the data connection was made until it was over.
    pub(crate) elapsed: Duration,
    /// The signal that ended it early.
    pub(crate) signal: Option<i32>,
}

/// Runs the iterations of one course over one control connection.
pub(crate) struct Iterations<'a> {
    course: &'a Course<'a>,
    /// Absent with `-N`.
    exchange: Option<Exchange>,
    /// Signals have their default action until the first test is about to begin.
    interrupt: Option<Interrupt>,
    /// The last request and the answer to it, which the next request follows.
    last: Option<(OmniTest, RemoteOffer)>,
}

impl<'a> Iterations<'a> {
    /// Nothing run yet.
    pub(crate) fn new(course: &'a Course<'a>, exchange: Option<Exchange>) -> Self {
        Self { course, exchange, interrupt: None, last: None }
    }

    /// The netserver's address of the control connection.
    pub(crate) fn control_peer(&self) -> Option<SocketAddr> {
        self.exchange.as_ref().map(|exchange| exchange.control().peer())
    }

    /// One more.
    ///
    /// # Errors
    /// netperf's words for it.
    pub(crate) fn run(&mut self) -> Result<Run, Ending> {
        if self.course.exceeds_datagram() {
            return Err(say::data_failed(say::Way::Send, MESSAGE_TOO_LONG));
        }
        let (ours, theirs) = (self.course.local.family(), self.course.remote.family());
        if ours != theirs {
            return Err(say::families_differ(number(ours), number(theirs), protocol(self.course.test)));
        }
        let (plan, prepared) = self.prepare().map_err(|error| failed(&error))?;
        let offer = self.request(&prepared)?;
        std::thread::sleep(self.course.options.pause);
        let interrupt = self.interrupt()?;
        interrupt.begin(prepared.stop());
        let mut data_peer = self.course.remote.address();
        if let Some(offer) = &offer {
            data_peer.set_port(offer.port);
        }
        let (begun, started) = (Instant::now(), SystemTime::now());
        let outcome = match prepared.run(Some(data_peer)) {
            Ok(outcome) => Some(outcome),
            Err(error @ Error::SelfConnected(_)) => {
                say::complain(&self_connected(&error, self.course.options));
                None
            }
            Err(error) => return Err(failed(&error)),
        };
        let elapsed = outcome.as_ref().map_or(begun.elapsed(), |outcome| outcome.elapsed);
        if let Some(End::Failed(errno)) = outcome.as_ref().map(|outcome| outcome.end)
            && !self.is_left_to_results(errno)
        {
            return Err(say::data_failed(self.way(), errno));
        }
        let remote = match (offer, &mut self.exchange) {
            (Some(offer), Some(exchange)) => {
                Some(Remote { results: results(self.course, exchange, begun)?, offer })
            }
            _ => None,
        };
        let plan = plan.options().clone();
        Ok(Run { plan, outcome, remote, started, elapsed, signal: interrupt.signal() })
    }

    /// Gets our end ready. An address or port that cannot be bound is left to the kernel, as netperf leaves
    /// it.
    fn prepare(&self) -> Result<(Plan, Prepared), Error> {
        let plan = Plan::new(self.course.plan())?;
        match ringperf_engine::prepare(&plan) {
            Err(Error::Bind { address, .. }) => {
                let any = if address.is_ipv4() {
                    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
                } else {
                    SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
                };
                let endpoint = Endpoint::Connect { local: any };
                let plan = Plan::new(PlanOptions { endpoint, ..self.course.plan() })?;
                let prepared = ringperf_engine::prepare(&plan)?;
                Ok((plan, prepared))
            }
            prepared => prepared.map(|prepared| (plan, prepared)),
        }
    }

    fn interrupt(&mut self) -> Result<Interrupt, Ending> {
        if let Some(interrupt) = &self.interrupt {
            return Ok(interrupt.clone());
        }
        let installed = Interrupt::install(&[SIGINT, SIGALRM])
            .map_err(|failure| Ending::new(FAILED).complaint(format!("netperf: {failure}")))?;
        Ok(self.interrupt.insert(installed).clone())
    }

    /// Ends the control connection in order.
    pub(crate) fn close(self) {
        if let Some(exchange) = self.exchange {
            exchange.close();
        }
    }

    /// A netserver that has its count closes with data unread, which resets the connection under our sends.
    /// So netperf takes a reset for an end: whether it was a good one, the results tell.
    fn is_left_to_results(&self, errno: i32) -> bool {
        self.exchange.is_some() && self.way() == say::Way::Send && matches!(errno, ECONNRESET | EPIPE)
    }

    fn way(&self) -> say::Way {
        match role(self.course.test) {
            Role::Receive | Role::Respond => say::Way::Receive,
            Role::Request | Role::Send => say::Way::Send,
        }
    }

    /// Agrees on the test. When this returns the netserver's clock runs.
    fn request(&mut self, prepared: &Prepared) -> Result<Option<RemoteOffer>, Ending> {
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        let local = prepared.local();
        let test = match &self.last {
            None => self.course.request(local),
            Some((test, offer)) => {
                let next = test.next_iteration(offer);
                OmniTest { local: (next.local.0, local.port()), ..next }
            }
        };
        let offer = match exchange.ask(ClientInput::Start(test.clone().into()), self.course.deadlines.reply) {
            Ok(ClientOutput::Run(offer)) => offer,
            Ok(other) => return Err(out_of_step(&other)),
            Err(trouble) => return Err(say::no_answer(trouble, exchange.control())),
        };
        self.last = Some((test, offer.clone()));
        Ok(Some(offer))
    }
}

/// The netserver's results, once our end of the test is over.
fn results(course: &Course<'_>, exchange: &mut Exchange, begun: Instant) -> Result<RemoteResults, Ending> {
    let length = match course.options.length {
        Length::Seconds(seconds) => Some(Duration::from_secs(seconds.into())),
        Length::Bytes(_) | Length::Endless | Length::Transactions(_) => None,
    };
    let by = course.deadlines.results_by(begun, length);
    match exchange.ask(ClientInput::Ran, by.saturating_duration_since(Instant::now())) {
        Ok(ClientOutput::Finished(results)) => Ok(results),
        Ok(other) => Err(out_of_step(&other)),
        Err(trouble) => Err(say::no_answer(trouble, exchange.control())),
    }
}

/// The figures of a run, as netperf defines them.
impl Run {
    /// Bytes that are the result: what the receiver counted, and the sender where nobody else counts.
    pub(crate) fn result_bytes(&self) -> u64 {
        match (self.plan.role, &self.remote) {
            (Role::Request | Role::Send, Some(remote)) => {
                remote.results.bytes_received.saturating_add(remote.results.bytes_sent)
            }
            (Role::Request | Role::Send, None) => {
                // Nobody counts datagrams that no netserver receives.
                if self.plan.protocol == Protocol::Udp { 0 } else { self.local_bytes() }
            }
            (Role::Receive | Role::Respond, _) => self.local_bytes(),
        }
    }

    /// Bytes that passed this end.
    pub(crate) fn local_bytes(&self) -> u64 {
        let tally = self.outcome.as_ref().map(|outcome| outcome.tally).unwrap_or_default();
        tally.bytes_sent.saturating_add(tally.bytes_received)
    }

    /// Socket buffers of the netserver before any data; 0 where they are not known.
    pub(crate) fn remote_buffers(&self) -> SocketBuffers {
        let offer = self.remote.as_ref().map(|remote| &remote.offer);
        SocketBuffers {
            send: offer.and_then(|offer| offer.send_buffer).unwrap_or(0),
            receive: offer.and_then(|offer| offer.receive_buffer).unwrap_or(0),
        }
    }

    /// CPU of our machine, if it is to be shown.
    pub(crate) fn local_load(&self, options: &Options) -> Option<MachineLoad> {
        let outcome = self.outcome.as_ref().filter(|_| options.measure_cpu.local)?;
        let used = utilisation(&outcome.machine_cpu, self.elapsed, self.elapsed)?;
        let cpus = u32::try_from(used.cpus).ok()?;
        let cost = MachineCost::new(used.busy, cpus, self.local_bytes(), self.elapsed)?;
        Some(MachineLoad::new(&cost, METHOD_PROC_STAT))
    }

    /// CPU of the netserver's machine, if it was asked for and told. A netserver that does not say how many
    /// CPUs it has is taken to have as many as we do, as netperf takes it.
    pub(crate) fn remote_load(&self) -> Option<MachineLoad> {
        let told = self.remote.as_ref()?.results.cpu.as_ref()?;
        let cpus = if told.cpus == 0 { online() } else { told.cpus };
        let cost = MachineCost::new(f64::from(told.utilisation), cpus, self.local_bytes(), self.elapsed)?;
        Some(MachineLoad::new(&cost, told.method))
    }
}

/// What netperf says where our engine could not run. What netperf has no words for is said in ours.
fn failed(error: &Error) -> Ending {
    match error {
        Error::Connect { source, .. } => say::not_connected(source.raw_os_error().unwrap_or(EIO)),
        error => Ending::new(FAILED).complaint(format!("netperf: {error}")),
    }
}

/// What the drop-in adds to netperf's own output where the result is of no use.
fn self_connected(error: &Error, options: &Options) -> String {
    let port = &options.data_port.remote;
    format!("netperf: {error}; -P {port} fixes the port of both ends, -P ,{port} that of the netserver only")
}

fn out_of_step(output: &ClientOutput) -> Ending {
    Ending::new(FAILED).complaint(format!("netperf: BUG: {output:?} came out of order; please report it"))
}
