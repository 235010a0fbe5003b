//! One iteration: agree on a test, run it, and set both ends' figures side by side.
//!
//! Prints nothing; what went wrong comes back in netperf's words. Which figure netperf calls the result is
//! decided here.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant, SystemTime};

use ringperf_engine::facts::SocketBuffers;
use ringperf_engine::outcome::Sample;
use ringperf_engine::plan::{Progress, Role};
use ringperf_engine::{End, Error, Outcome, Plan, PlanOptions, Prepared};
use ringperf_proto::{ClientInput, ClientOutput, Length, RemoteOffer, RemoteResults, TestRequest};
use signal_hook::consts::{SIGALRM, SIGINT};

use super::interim::{Interims, Lines, WAITING_MAX};
use super::options::Options;
use super::plan::Course;
use super::resolve::number;
use super::say::{self, Ending, FAILED, Output};
use super::tables::MachineLoad;
use super::traffic::TestName;
use super::units::Unit;
use crate::bridge::METHOD_PROC_STAT;
use crate::client::exchange::Exchange;
use crate::client::interrupt::{Interrupt, Later};
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
    last: Option<(TestRequest, RemoteOffer)>,
    /// How interim results are printed.
    lines: Lines,
    /// What the last iteration found an interval to hold.
    interim_units: Option<u64>,
}

impl<'a> Iterations<'a> {
    /// Nothing run yet.
    pub(crate) fn new(course: &'a Course<'a>, exchange: Option<Exchange>) -> Self {
        let style = course.options.selectors.as_ref().map(|selectors| selectors.style);
        let lines = Lines::new(style, course.unit);
        Self { course, exchange, interrupt: None, last: None, lines, interim_units: None }
    }

    /// The netserver's address of the control connection.
    pub(crate) fn control_peer(&self) -> Option<SocketAddr> {
        self.exchange.as_ref().map(|exchange| exchange.control().peer())
    }

    /// One more. Interim results go to `output`.
    ///
    /// # Errors
    /// netperf's words for it.
    pub(crate) fn run(&mut self, output: &mut Output) -> Result<Run, Ending> {
        let course = self.course;
        if course.exceeds_datagram() {
            return Err(say::data_failed(say::Way::Send, MESSAGE_TOO_LONG));
        }
        if course.response_exceeds_datagram() {
            return Err(say::remote_error(MESSAGE_TOO_LONG));
        }
        let (ours, theirs) = (course.local.family(), course.remote.family());
        if ours != theirs {
            return Err(say::families_differ(number(ours), number(theirs), course.traffic.protocol));
        }
        let local = randomised(course.local.address(), course.options.kept_bits.local);
        let mut data_peer = randomised(course.remote.address(), course.options.kept_bits.remote);
        let (progress, reports) = match course.interim(self.interim_units) {
            Some(every) => {
                let (to, reports) = sync_channel(WAITING_MAX);
                (Some(Progress { every, to }), Some(reports))
            }
            None => (None, None),
        };
        let (plan, prepared) = self.prepare(local, progress).map_err(|error| failed(&error))?;
        let offer = self.request(&prepared, data_peer)?;
        std::thread::sleep(course.pause());
        let interrupt = self.interrupt()?;
        interrupt.begin(prepared.stop());
        if let Some(offer) = &offer {
            data_peer.set_port(offer.port);
        }
        let (begun, started) = (Instant::now(), SystemTime::now());
        let count = |report: &Sample| interim_count(course, report);
        let interims = Interims::new(&mut self.lines, output, &count, started);
        let run = std::thread::scope(|scope| {
            let following = reports.map(|reports| scope.spawn(move || interims.follow(&reports)));
            let run = prepared.run((!course.awaits_datagrams()).then_some(data_peer));
            let interims = following.and_then(|following| following.join().ok());
            if let (Ok(outcome), Some(mut interims)) = (&run, interims)
                && course.tells_the_rest()
            {
                interims.finish(&total(outcome));
            }
            run
        });
        let outcome = match run {
            Ok(outcome) => Some(outcome),
            Err(error @ Error::SelfConnected(_)) => {
                say::complain(&self_connected(&error, course.options));
                None
            }
            Err(error) => return Err(failed(&error)),
        };
        self.interim_units = outcome.as_ref().and_then(|outcome| outcome.progress_units);
        let elapsed = outcome.as_ref().map_or(begun.elapsed(), |outcome| outcome.elapsed);
        if let Some(End::Failed(errno)) = outcome.as_ref().map(|outcome| outcome.end)
            && !self.is_left_to_results(errno)
        {
            return Err(say::data_failed(self.way(), errno));
        }
        let remote = match (offer, &mut self.exchange) {
            (Some(offer), Some(exchange)) => {
                let stopped = interrupt.signal().is_some();
                Some(Remote { results: results(course, exchange, begun, stopped)?, offer })
            }
            _ => None,
        };
        Ok(Run { plan, outcome, remote, started, elapsed, signal: interrupt.signal() })
    }

    /// Gets our end ready. An address or port that cannot be bound is left to the kernel, as netperf leaves
    /// it. In the options that come back nobody is told of the progress.
    fn prepare(
        &self,
        local: SocketAddr,
        progress: Option<Progress>,
    ) -> Result<(PlanOptions, Prepared), Error> {
        let with = |local| {
            let plan = Plan::new(PlanOptions { progress: progress.clone(), ..self.course.plan(local) })?;
            let prepared = ringperf_engine::prepare(&plan)?;
            Ok((PlanOptions { progress: None, ..plan.options().clone() }, prepared))
        };
        match with(local) {
            Err(Error::Bind { address, .. }) => with(if address.is_ipv4() {
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
            } else {
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
            }),
            prepared => prepared,
        }
    }

    fn interrupt(&mut self) -> Result<Interrupt, Ending> {
        if let Some(interrupt) = &self.interrupt {
            return Ok(interrupt.clone());
        }
        // Who sends these wants the result, and SIGTERM is for who does not.
        let installed = Interrupt::install(&[SIGINT, SIGALRM], Later::IsIgnored)
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
        match self.course.traffic.role() {
            Role::Receive | Role::Respond | Role::Request => say::Way::Receive,
            Role::Send => say::Way::Send,
        }
    }

    /// Agrees on the test. When this returns the netserver's clock runs.
    fn request(&mut self, prepared: &Prepared, remote: SocketAddr) -> Result<Option<RemoteOffer>, Ending> {
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        let mut local = prepared.local();
        if self.course.awaits_datagrams() && local.ip().is_unspecified() {
            // netperf declares the wildcard address, at which only its own host finds it.
            local.set_ip(exchange.control().local().map_or(local.ip(), |local| local.ip()));
        }
        let fresh = self.course.request(local, remote);
        let mut test = match &self.last {
            None => fresh.clone(),
            Some((test, offer)) => test.next_iteration(offer),
        };
        if let (TestRequest::Omni(test), TestRequest::Omni(fresh)) = (&mut test, fresh) {
            (test.local, test.server_address) = (fresh.local, fresh.server_address);
        }
        let offer = match exchange.ask(ClientInput::Start(test.clone()), self.course.deadlines.reply) {
            Ok(ClientOutput::Run(offer)) => offer,
            Ok(other) => return Err(say::out_of_step(&other)),
            Err(trouble) => return Err(say::no_answer(trouble, exchange.control())),
        };
        self.last = Some((test, offer.clone()));
        Ok(Some(offer))
    }
}

impl Course<'_> {
    /// The tests that kept their own code say nothing of the work since the last interim result.
    fn tells_the_rest(&self) -> bool {
        !matches!(self.name, TestName::TcpCc | TestName::TcpSendfile)
    }
}

/// What of a report an interim result counts, by the test and by the unit. TCP_CC counts connections whatever
/// the unit.
fn interim_count(course: &Course<'_>, report: &Sample) -> u64 {
    let options = course.options;
    match course.traffic.role() {
        Role::Receive | Role::Respond => report.bytes_received,
        Role::Send => report.bytes_sent,
        Role::Request if course.unit == Unit::Transactions || !course.traffic.has_both_directions() => {
            report.transactions
        }
        Role::Request => {
            let size = |bytes: Option<u32>| u64::from(bytes.unwrap_or(0));
            let each = size(options.request_bytes) + size(options.response_bytes);
            report.transactions.saturating_mul(each)
        }
    }
}

/// What a run came to, as its last report would have told it.
fn total(outcome: &Outcome) -> Sample {
    Sample {
        at: outcome.elapsed,
        bytes_sent: outcome.tally.bytes_sent,
        bytes_received: outcome.tally.bytes_received,
        transactions: outcome.tally.transactions,
    }
}

/// `address` with all but its first bits chosen at random, if so many are to be kept.
fn randomised(address: SocketAddr, kept: Option<u32>) -> SocketAddr {
    let Some(kept) = kept else { return address };
    // Its keys are random, and so is what it makes of anything.
    let random = || u128::from(RandomState::new().hash_one(0));
    let random = random() << 64 | random();
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) => {
            let free = u32::MAX.checked_shr(kept).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & !free | random as u32 & free).into()
        }
        IpAddr::V6(ip) => {
            let free = u128::MAX.checked_shr(kept).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & !free | random & free).into()
        }
    };
    SocketAddr::new(ip, address.port())
}

/// The netserver's results, once our end of the test is over. Those of a test that was stopped may come
/// before its time, or never.
fn results(
    course: &Course<'_>,
    exchange: &mut Exchange,
    begun: Instant,
    stopped: bool,
) -> Result<RemoteResults, Ending> {
    let length = match course.options.length {
        Length::Seconds(seconds) if !stopped => Some(Duration::from_secs(seconds.into())),
        Length::Bytes(_) | Length::Endless | Length::Seconds(_) | Length::Transactions(_) => None,
    };
    let by = course.deadlines.results_by(begun, length);
    match exchange.ask(ClientInput::Ran, by.saturating_duration_since(Instant::now())) {
        Ok(ClientOutput::Finished(results)) => Ok(results),
        Ok(other) => Err(say::out_of_step(&other)),
        Err(trouble) => Err(say::no_answer(trouble, exchange.control())),
    }
}

/// The figures of a run, as netperf defines them.
impl Run {
    /// Bytes that are the result: what the receiver counted. Without a netserver all that was sent is taken
    /// to have arrived, datagrams too. Of transactions, both directions as the netserver counted them.
    pub(crate) fn result_bytes(&self) -> u64 {
        match (self.plan.role, &self.remote) {
            (Role::Request | Role::Send, Some(remote)) => {
                remote.results.bytes_received.saturating_add(remote.results.bytes_sent)
            }
            (Role::Request | Role::Send, None) | (Role::Receive | Role::Respond, _) => self.local_bytes(),
        }
    }

    /// Transactions that this end completed.
    pub(crate) fn transactions(&self) -> u64 {
        self.outcome.as_ref().map_or(0, |outcome| outcome.tally.transactions)
    }

    /// The rate that netperf calls the result. TCP_CC has transactions whatever the unit.
    pub(crate) fn throughput(&self, course: &Course<'_>) -> f64 {
        let unit = if course.name == TestName::TcpCc { Unit::Transactions } else { course.unit };
        unit.rate(unit.counted(self.result_bytes(), self.transactions()), self.elapsed)
    }

    /// The bytes that CPU time is spread over, in kilobytes of 1024; where transactions are counted, each is
    /// one of those. TCP_SENDFILE takes the netserver's count of bytes, everything else our own.
    fn demand_bytes(&self, course: &Course<'_>) -> u64 {
        if course.unit == Unit::Transactions || course.name == TestName::TcpCc {
            return self.transactions().saturating_mul(1024);
        }
        if course.name == TestName::TcpSendfile { self.result_bytes() } else { self.local_bytes() }
    }

    /// Bytes that passed this end.
    pub(crate) fn local_bytes(&self) -> u64 {
        let tally = self.outcome.as_ref().map(|outcome| outcome.tally).unwrap_or_default();
        tally.bytes_sent.saturating_add(tally.bytes_received)
    }

    /// TCP_MAXSEG of our data socket in bytes, where it has one.
    pub(crate) fn segment_bytes(&self) -> Option<u32> {
        Some(self.outcome.as_ref()?.transport.as_ref()?.segment_bytes)
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
    pub(crate) fn local_load(&self, course: &Course<'_>) -> Option<MachineLoad> {
        let outcome = self.outcome.as_ref().filter(|_| course.options.measure_cpu.local)?;
        let used = utilisation(&outcome.machine_cpu, self.elapsed, self.elapsed)?;
        let cpus = u32::try_from(used.cpus).ok()?;
        let cost = MachineCost::new(used.busy, cpus, self.demand_bytes(course), self.elapsed)?;
        Some(MachineLoad::new(&cost, METHOD_PROC_STAT))
    }

    /// CPU of the netserver's machine, if it was asked for and told. A netserver that does not say how many
    /// CPUs it has is taken to have as many as we do, as netperf takes it.
    pub(crate) fn remote_load(&self, course: &Course<'_>) -> Option<MachineLoad> {
        let told = self.remote.as_ref()?.results.cpu.as_ref()?;
        let cpus = if told.cpus == 0 { online() } else { told.cpus };
        let spread = self.demand_bytes(course);
        let cost = MachineCost::new(f64::from(told.utilisation), cpus, spread, self.elapsed)?;
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
