//! Where the control channel and the engine meet: what a peer asked for becomes a plan, and what the engine
//! found becomes what the peer is told.
//!
//! Total functions on values that wait for nothing. One opens a socket, and closes it, to learn what buffers
//! the kernel grants.
#![deny(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Duration;

use ringperf_engine::facts::Degraded;
use ringperf_engine::outcome::Operations;
use ringperf_engine::plan::{
    Bursts, Connections, DATAGRAM_BYTES_MAX, Endpoint, Length, MESSAGE_BYTES_MAX, Protocol, Role, SendPath,
    SocketOptions, Transaction, Without,
};
use ringperf_engine::{End, EngineChoice, Error, Outcome, Plan, PlanOptions, Prepared, granted_buffers};
use ringperf_proto as proto;

use crate::netperf_cpu::utilisation;

mod report;
#[cfg(test)]
mod tests;

use report::BUSY_POLL;
pub(crate) use report::{backing, lacking};

/// A netserver's timer runs this much longer than the test that it receives, so that the sender ends it
/// first. A test that it sends gets nothing on top.
pub(crate) const GRACE: Duration = Duration::from_secs(4);

/// How long a test without a time limit waits for its data connection. netserver waits for ever; a client may
/// pause (`-s`) before it connects, so this is generous.
const UNTIMED_CONNECT: Duration = Duration::from_secs(300);

/// The rate's worth of a longest burst of datagrams: as much as answers that nothing paces may be ahead.
const BURST_MAX: Duration = Duration::from_millis(100);

/// netperf's number for CPU figures that come from `/proc/stat`.
pub(crate) const METHOD_PROC_STAT: u32 = 8;

/// errno where the engine names none: EIO.
const EIO: i32 = 5;

/// errno for what the engine's plan excludes: EINVAL.
const EINVAL: i32 = proto::errno::EINVAL;

/// What the operator chose for every test.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// Cores of data workers unless the peer asks for one.
    pub cores: Vec<usize>,
    /// Backend.
    pub engine: EngineChoice,
    /// What to do without.
    pub without: Without,
    /// Payload bits a second that a test may send.
    pub rate_max: Option<u64>,
    /// Nobody has workers poll.
    pub no_busy_poll: bool,
    /// Data sockets are on this host's loopback addresses alone, as the control connection is.
    pub loopback: bool,
    /// How long to wait for the client's end of a stream that we sent.
    pub drain: Duration,
}

/// The control connection that a test was asked for on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// Our address of it.
    pub local: IpAddr,
    /// The client's, with its port.
    pub peer: SocketAddr,
}

impl Ends {
    /// Takes IPv4 addresses out of their IPv6 clothes.
    pub(crate) fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        let peer = match peer.ip().to_canonical() {
            IpAddr::V4(address) => SocketAddr::new(address.into(), peer.port()),
            // With its scope, without which an address of one link is none.
            IpAddr::V6(_) => peer,
        };
        Self { local: local.ip().to_canonical(), peer }
    }
}

/// The plan of a test.
///
/// # Errors
/// [`Error::Plan`] for a value that the engine's limits exclude, [`Error::System`] where no socket can be had
/// to ask for the sizes that netperf derives from its buffers.
pub(crate) fn plan(spec: &proto::TestSpec, control: Ends, defaults: &Defaults) -> Result<Plan, Error> {
    let role = role(spec.test);
    let local = SocketAddr::new(data_address(spec, control, defaults.loopback), spec.data_port);
    let endpoint = if spec.test == proto::Test::UdpMaerts {
        Endpoint::Connect { local }
    } else {
        Endpoint::Listen { local, peers: peers(spec, control) }
    };
    let mut options = PlanOptions::new(role, endpoint);
    options.protocol = protocol(spec.test);
    options.socket = socket_options(spec);
    options.message_bytes = message_bytes(spec, options.protocol, &options.socket)?;
    options.exact_message = spec.exact_message.is_some();
    options.transaction = transaction(spec);
    options.gro = spec.wishes.coalescing;
    options.gso = spec.wishes.segmentation;
    options.receive_grace = GRACE;
    options.drain_timeout = defaults.drain;
    options.engine = defaults.engine;
    options.without = defaults.without;
    leave_out(&mut options.without, spec.wishes.without);
    // Who asks as netperf does gets the segments that netserver makes.
    options.without.shared_segments |= !spec.for_ringperf;
    options.cores = match spec.cpu.and_then(|cpu| usize::try_from(cpu).ok()) {
        Some(core) => vec![core],
        None => defaults.cores.clone(),
    };
    options.flows = spec.wishes.flows;
    options.workers = spec.wishes.workers;
    options.busy_poll = spec.wishes.busy_poll && !defaults.no_busy_poll;
    (options.rate, options.bursts) = pace(spec, defaults.rate_max, options.message_bytes);
    options.send_path = match spec.wishes.send_path {
        proto::SendPath::Auto => SendPath::Auto,
        proto::SendPath::Bundle => SendPath::Bundle,
        proto::SendPath::Chain => SendPath::Chain,
        proto::SendPath::Registered => SendPath::Registered,
        proto::SendPath::ZeroCopy => SendPath::ZeroCopy,
    };
    (options.length, options.connect_timeout) = match spec.length {
        proto::Length::Bytes(bytes) => (Length::Bytes(bytes), UNTIMED_CONNECT),
        proto::Length::Endless => (Length::Endless, UNTIMED_CONNECT),
        proto::Length::Seconds(seconds) => {
            let time = Duration::from_secs(seconds.into());
            (Length::Time(time), time + grace(role))
        }
        proto::Length::Transactions(count) => (Length::Transactions(count), UNTIMED_CONNECT),
    };
    Plan::new(options)
}

/// Leaves out what the peer wishes to be left out, on top of what the operator does.
fn leave_out(ours: &mut Without, wished: proto::Without) {
    let proto::Without {
        bundles,
        multishot,
        buffer_ring,
        deferred_task_run,
        registered_files,
        registered_buffers,
        minimum_wait,
        low_water,
        shared_segments,
    } = wished;
    ours.bundles |= bundles;
    ours.multishot |= multishot;
    ours.buffer_ring |= buffer_ring;
    ours.deferred_task_run |= deferred_task_run;
    ours.registered_files |= registered_files;
    ours.registered_buffers |= registered_buffers;
    ours.minimum_wait |= minimum_wait;
    ours.low_water |= low_water;
    ours.shared_segments |= shared_segments;
}

/// What the peer wishes for and the operator leaves out, as the outcome tells of what was not to be had.
pub(crate) fn left_out(spec: &proto::TestSpec, defaults: &Defaults) -> Option<Degraded> {
    let poll = spec.wishes.busy_poll && defaults.no_busy_poll;
    poll.then(|| Degraded {
        feature: BUSY_POLL,
        reason: "--no-busy-poll".to_owned(),
        instead: "workers that sleep until something comes",
    })
}

/// Our part in a test, which is named as the client sees it.
pub(crate) fn role(test: proto::Test) -> Role {
    match test {
        proto::Test::TcpCc | proto::Test::TcpCrr | proto::Test::TcpRr | proto::Test::UdpRr => Role::Respond,
        proto::Test::TcpMaerts | proto::Test::UdpMaerts => Role::Send,
        proto::Test::TcpStream | proto::Test::UdpStream => Role::Receive,
    }
}

/// What carries a test's data.
pub(crate) fn protocol(test: proto::Test) -> Protocol {
    if test.over_udp() { Protocol::Udp } else { Protocol::Tcp }
}

/// What a transaction is to our engine; of a stream nothing.
fn transaction(spec: &proto::TestSpec) -> Transaction {
    if !spec.test.has_transactions() {
        return Transaction::default();
    }
    Transaction {
        request_bytes: spec.request_bytes,
        response_bytes: spec.response_bytes,
        connections: if spec.test.connects_each_time() { Connections::Each } else { Connections::Kept },
        ..Transaction::default()
    }
}

/// The rate and the bursts of what we send, within what the operator allows. A receiver has neither, and
/// where each transaction has a connection, or is one of datagrams, nothing holds the answers to a rate.
fn pace(spec: &proto::TestSpec, rate_max: Option<u64>, message_bytes: u32) -> (Option<u64>, Option<Bursts>) {
    let asked = spec.pacing.map(bursts);
    let wished = spec.wishes.bits_per_second.map(NonZeroU64::get);
    let Some(most) = rate_max.filter(|_| keeps_a_rate(spec.test)) else { return (wished, asked) };
    let rate = Some(wished.map_or(most, |rate| rate.min(most)));
    match spec.pacing {
        // Datagrams keep to one of the two, and bursts to a rate where they are small enough: one goes as
        // fast as the network takes it, however long nothing goes after it.
        Some(pacing) if spec.test.over_udp() => {
            let bits = u128::from(pacing.sends) * u128::from(message_bytes) * 8 * 1_000_000;
            let time_us = u128::from(pacing.every_us).min(BURST_MAX.as_micros());
            let fits = bits <= u128::from(most) * time_us;
            if fits { (None, asked) } else { (rate, None) }
        }
        _ => (rate, asked),
    }
}

/// Whether the engine, or the kernel for it, can hold what we send to a rate.
pub(crate) fn keeps_a_rate(test: proto::Test) -> bool {
    test.server_streams() || test == proto::Test::TcpRr
}

fn bursts(pacing: proto::Pacing) -> Bursts {
    Bursts { messages: pacing.sends, every: Duration::from_micros(pacing.every_us.into()) }
}

/// What our timer gives on top of the time that was asked for.
fn grace(role: Role) -> Duration {
    match role {
        Role::Receive | Role::Respond => GRACE,
        Role::Request | Role::Send => Duration::ZERO,
    }
}

/// The address to bind.
fn data_address(spec: &proto::TestSpec, control: Ends, loopback: bool) -> IpAddr {
    let any = match spec.ip_version {
        proto::IpVersion::V4 if loopback => Ipv4Addr::LOCALHOST.into(),
        proto::IpVersion::V6 if loopback => Ipv6Addr::LOCALHOST.into(),
        version => unspecified(version),
    };
    // Responses over UDP come from the address that the route prefers, which of a host with several need not
    // be the one that the requests go to. netperf reads the latter off each request where it is asked to; to
    // bind the one that the client knows us by does the same.
    let asked_at = Some(control.local).filter(|ours| ours.is_ipv4() == any.is_ipv4());
    let answers = spec.test == proto::Test::UdpRr && spec.packet_info;
    spec.data_address.or(asked_at.filter(|_| answers)).unwrap_or(any)
}

/// The address that stands for all of a version.
pub(crate) fn unspecified(version: proto::IpVersion) -> IpAddr {
    match version {
        proto::IpVersion::V4 => Ipv4Addr::UNSPECIFIED.into(),
        proto::IpVersion::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Where datagrams go that nobody asks for one by one: to the control peer, at the port that the client
/// declares. `None` where the other end comes to us.
///
/// # Errors
/// EACCES for a client that declares another address: datagrams sent there would hit whom it likes, and sent
/// to its own nobody would take them. EAFNOSUPPORT where the data is of another IP version than the control
/// connection.
pub(crate) fn target(spec: &proto::TestSpec, control: Ends) -> Result<Option<SocketAddr>, i32> {
    if spec.test != proto::Test::UdpMaerts {
        return Ok(None);
    }
    let (declared, port) = spec.client_data;
    if declared.is_some_and(|declared| declared.to_canonical() != control.peer.ip()) {
        return Err(proto::errno::EACCES);
    }
    match (spec.ip_version, control.peer.ip()) {
        (proto::IpVersion::V4, IpAddr::V4(_)) | (proto::IpVersion::V6, IpAddr::V6(_)) => {
            let mut target = control.peer;
            target.set_port(port);
            Ok(Some(target))
        }
        _ => Err(proto::errno::EAFNOSUPPORT),
    }
}

/// Who may be the other end of the data connection; empty: anybody.
///
/// Data is sent to the control peer alone, so that nobody can point a netserver at a third host. Receiving
/// sends nothing: there the data address that the client declares counts too, and where it names one of ours
/// beside that of the control connection, data has a network of its own, whose addresses are not known here.
fn peers(spec: &proto::TestSpec, control: Ends) -> Vec<IpAddr> {
    let peer = control.peer.ip();
    if spec.test.server_sends() {
        return vec![peer];
    }
    if spec.data_address.is_some_and(|named| named.to_canonical() != control.local) {
        return Vec::new();
    }
    let declared = spec.client_data.0.map(|declared| declared.to_canonical());
    [peer].into_iter().chain(declared.filter(|declared| *declared != peer)).collect()
}

fn socket_options(spec: &proto::TestSpec) -> SocketOptions {
    SocketOptions {
        send_buffer: spec.send_buffer,
        receive_buffer: spec.receive_buffer,
        no_delay: spec.no_delay,
        keepalive: spec.keepalive,
        dont_route: spec.dont_route,
        priority: spec.priority,
        type_of_service: spec.type_of_service,
        congestion_control: spec.congestion_control.clone(),
        ..SocketOptions::default()
    }
}

/// Bytes of one send or receive: as asked for, else what netperf takes, the socket buffer that the kernel
/// grants. The engine's buffers are no smaller than what such a socket buffer holds, so a small one costs no
/// more system calls than it does anyway.
fn message_bytes(spec: &proto::TestSpec, protocol: Protocol, options: &SocketOptions) -> Result<u32, Error> {
    let granted = || granted_buffers(protocol, spec.ip_version == proto::IpVersion::V4, options);
    let bytes = match (role(spec.test), spec.receive_bytes, spec.send_bytes) {
        (Role::Receive, Some(bytes), _) | (Role::Send, _, Some(bytes)) => bytes,
        (Role::Receive, None, _) => granted()?.receive,
        (Role::Send, _, None) if spec.test.over_udp() => granted()?.send.min(DATAGRAM_BYTES_MAX),
        (Role::Send, _, None) => granted()?.send,
        (Role::Request | Role::Respond, ..) => spec.request_bytes.max(spec.response_bytes),
    };
    Ok(bytes.clamp(1, MESSAGE_BYTES_MAX))
}

/// What the peer is told before it connects: the port and what is in force of the socket's options.
pub(crate) fn offer(spec: &proto::TestSpec, plan: &Plan, prepared: &Prepared) -> proto::Offer {
    let (buffers, class) = (prepared.buffers(), prepared.facts().packet_class);
    let message_bytes = plan.options().message_bytes;
    let (receive_bytes, send_bytes) = match plan.options().role {
        Role::Receive | Role::Send => (message_bytes, message_bytes),
        Role::Request | Role::Respond => (spec.request_bytes, spec.response_bytes),
    };
    proto::Offer {
        port: prepared.local().port(),
        send_buffer: buffers.send,
        receive_buffer: buffers.receive,
        receive_bytes,
        send_bytes,
        no_delay: spec.no_delay,
        priority: class.priority,
        type_of_service: class.type_of_service,
    }
}

/// The errno a peer is told for an error of the engine.
pub(crate) fn errno(error: &Error) -> i32 {
    match error {
        Error::Plan { .. } => EINVAL,
        error => error.errno().unwrap_or(EIO),
    }
}

/// What the machine is told after a run: figures, or the errno the data connection died of.
pub(crate) fn ran(spec: &proto::TestSpec, outcome: &Outcome, message_bytes: u32) -> proto::ServerInput {
    match outcome.end {
        End::Failed(errno) if !is_clients_end(spec.test, errno) => proto::ServerInput::Failed { errno },
        End::Count
        | End::DrainTimeout
        | End::Failed(_)
        | End::NoConnection
        | End::PeerClosed
        | End::Stopped
        | End::Timer => proto::ServerInput::Ran(
            results(spec, outcome, message_bytes),
            Some(report::of(spec.test, outcome)),
        ),
    }
}

/// A client that receives datagrams says that it has had enough by closing its socket, as netperf does when
/// its clock comes first. netperf's server does not notice.
fn is_clients_end(test: proto::Test, errno: i32) -> bool {
    test == proto::Test::UdpMaerts && errno == proto::errno::ECONNREFUSED
}

/// A finished test as a line of the log: what was done, how fast while connected, and how much.
pub(crate) fn line(spec: &proto::TestSpec, outcome: &Outcome) -> String {
    let (test, tally) = (spec.test, &outcome.tally);
    let per_second = |count: u64, time: Duration| match time.as_secs_f64() {
        seconds if seconds > 0.0 => float(count) / seconds,
        _ => 0.0,
    };
    let transport = if test.over_udp() { "UDP" } else { "TCP" };
    let (direction, bytes, datagrams) = match role(test) {
        Role::Receive => ("received", tally.bytes_received, tally.receives),
        Role::Request | Role::Send => ("sent", tally.bytes_sent, tally.messages_sent),
        Role::Respond => {
            let what = if test == proto::Test::TcpCc { "connections taken" } else { "requests answered" };
            let kept = !test.connects_each_time();
            let time = if kept { outcome.connected_for() } else { reported(spec, outcome) };
            let (count, seconds) = (tally.transactions, time.as_secs_f64());
            let rate = per_second(count, time);
            return format!("{transport} {what}: {rate:.2} a second, {count} in {seconds:.3} s");
        }
    };
    let time = outcome.connected_for();
    let (megabits, seconds) = (per_second(bytes, time) * 8.0 / 1e6, time.as_secs_f64());
    let datagrams = if test.over_udp() { format!(" in {datagrams} datagrams") } else { String::new() };
    format!(
        "{transport} stream {direction}: {megabits:.2} Mbit/s, {bytes} bytes{datagrams} in {seconds:.3} s"
    )
}

/// What to say of a test whose completions cannot be trusted, which no test is unless the kernel or the
/// engine has a defect. Its client does not see it, for the messages have no word for it.
pub(crate) fn defect(counted: &Operations) -> Option<String> {
    let (stale, overflows, skipped) = (counted.stale, counted.overflows, counted.skipped_buffers);
    (stale + overflows + skipped > 0).then(|| {
        format!(
            "do not trust this test: {stale} stale and {overflows} dropped completions, {skipped} skipped \
             buffers; please report it with this line and the kernel release, and try --engine epoll"
        )
    })
}

/// What may be behind a test without a data connection.
pub(crate) fn nobody_came(test: proto::Test) -> &'static str {
    if test.server_sends() {
        "nobody came for the data; a firewall on the data port, or a client whose data address is not that \
         of its control connection"
    } else {
        "no data came; a firewall on the data port, or a client whose data address is neither that of its \
         control connection nor one that it declares"
    }
}

fn results(spec: &proto::TestSpec, outcome: &Outcome, message_bytes: u32) -> proto::Results {
    let reported = reported(spec, outcome);
    // netperf spreads what a padded timer measured over the time without the pad. What we send ends in a wait
    // for the peer instead, which is as busy as the rest.
    let charged = match role(spec.test) {
        Role::Receive | Role::Respond => reported,
        Role::Request | Role::Send => outcome.elapsed,
    };
    let cpu = spec.measure_cpu.then(|| cpu(outcome, charged)).flatten();
    // Of connections that have come and gone there is none left to ask.
    let transport = outcome.transport.as_ref().filter(|_| !spec.test.connects_each_time());
    proto::Results {
        bytes_received: outcome.tally.bytes_received,
        receives: outcome.tally.receives,
        bytes_sent: match role(spec.test) {
            Role::Receive | Role::Send => whole_bytes_sent(outcome, message_bytes),
            Role::Request | Role::Respond => outcome.tally.bytes_sent,
        },
        sends: outcome.tally.messages_sent,
        transactions: outcome.tally.transactions,
        send_buffer: outcome.buffers_at_end.send,
        receive_buffer: outcome.buffers_at_end.receive,
        elapsed_seconds: reported.as_secs_f32(),
        // Without a connection there is nothing to count: netserver says -1.
        retransmits: transport
            .map_or(-1, |transport| i32::try_from(transport.retransmits).unwrap_or(i32::MAX)),
        congestion_control: transport.map(|transport| transport.congestion_control.clone()),
        cpu,
    }
}

/// What a sender is told to have sent: netperf leaves out the message that the end of the test cut short.
fn whole_bytes_sent(outcome: &Outcome, message_bytes: u32) -> u64 {
    outcome.tally.messages_sent.saturating_mul(message_bytes.into())
}

/// The time the peer is told: where our own timer ended a timed test the grace was not part of it, and where
/// we sent, neither was the wait for the peer to read what was under way.
fn reported(spec: &proto::TestSpec, outcome: &Outcome) -> Duration {
    let proto::Length::Seconds(seconds) = spec.length else { return outcome.elapsed };
    let length = Duration::from_secs(seconds.into());
    match role(spec.test) {
        Role::Request | Role::Send => outcome.elapsed.min(length),
        // Nobody can see the end of such a test: what lies behind its time was spent on waiting for it.
        Role::Respond if spec.test.connects_each_time() => outcome.elapsed.min(length),
        Role::Receive | Role::Respond if matches!(outcome.end, End::NoConnection | End::Timer) => {
            outcome.elapsed.saturating_sub(GRACE)
        }
        Role::Receive | Role::Respond => outcome.elapsed,
    }
}

fn cpu(outcome: &Outcome, charged: Duration) -> Option<proto::CpuReport> {
    let found = utilisation(&outcome.machine_cpu, outcome.elapsed, charged)?;
    Some(proto::CpuReport {
        utilisation: single(found.busy),
        user: single(found.user),
        system: single(found.system),
        iowait: single(found.iowait),
        irq: single(found.irq),
        softirq: single(found.softirq),
        method: METHOD_PROC_STAT,
        cpus: u32::try_from(found.cpus).unwrap_or(u32::MAX),
        peak_cpu: i32::try_from(found.peak_cpu).unwrap_or(-1),
        peak_utilisation: single(found.peak),
    })
}

/// As near as the wire has room for.
#[expect(clippy::as_conversions, reason = "between floating-point numbers there is no other way")]
fn single(figure: f64) -> f32 {
    figure as f32
}

/// As near as can be told.
#[expect(clippy::as_conversions, reason = "to floating-point numbers of all counts there is no other way")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// The core of the only worker, or of the first.
pub(crate) fn first_core(facts: &ringperf_engine::Facts) -> Option<usize> {
    facts.cores.first().and_then(|core| core.pinned)
}
