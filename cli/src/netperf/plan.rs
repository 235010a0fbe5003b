//! From options to one iteration: what our engine does, and what is asked of the netserver.
//!
//! Pure. Sizes that follow from granted socket buffers are computed here, as netperf computes them.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringperf_engine::facts::SocketBuffers;
use ringperf_engine::plan::{
    Bursts, Connections, DATAGRAM_BYTES_MAX, Endpoint, Every, Length, MESSAGE_BYTES_MAX, Protocol, Role,
    SocketOptions, Transaction, WorkUnit,
};
use ringperf_engine::{EngineChoice, PlanOptions};
use ringperf_proto::{ClassicTest, IpVersion, Length as WireLength, OmniTest, Test, TestRequest};

use super::options::{Directions, Interim, Options, Pair};
use super::resolve::ResolvedHost;
use super::traffic::{OptionSet, TestName, Traffic};
use super::units::Unit;
use crate::client::deadline::Deadlines;

/// Bytes of a message where a socket buffer's size is not to be had, as netperf chooses.
const MESSAGE_BYTES_UNKNOWN: u32 = 4096;

/// netperf's first guess of the work between two interim results, in bytes or transactions.
const INTERIM_UNITS: u64 = 100;

/// A test as all its iterations have it in common.
pub(crate) struct Course<'a> {
    /// What was asked for.
    pub(crate) options: &'a Options,
    /// The test's name.
    pub(crate) name: TestName,
    /// What it moves.
    pub(crate) traffic: Traffic,
    /// Unit of its rates.
    pub(crate) unit: Unit,
    /// Operations are timed.
    pub(crate) latency: bool,
    /// Our end of the data connection.
    pub(crate) local: ResolvedHost,
    /// The netserver's. It is told of its address only if that was given for data.
    pub(crate) remote: ResolvedHost,
    /// Both hosts of the data connection as they were given for it, or as netperf takes them.
    pub(crate) written: Pair<String>,
    /// Our socket buffers as granted before any data.
    pub(crate) buffers: SocketBuffers,
    /// Which engine moves the bytes.
    pub(crate) engine: EngineChoice,
    /// What our messages carry, if a file was named for it.
    pub(crate) payload: Option<Arc<[u8]>>,
    /// The file that TCP_SENDFILE sends.
    pub(crate) file: Option<Arc<File>>,
    /// How long to wait for what.
    pub(crate) deadlines: Deadlines,
}

/// Options of our data socket.
pub(crate) fn socket(options: &Options, protocol: Protocol) -> SocketOptions {
    let tcp = protocol == Protocol::Tcp;
    SocketOptions {
        send_buffer: options.socket_buffer.local.send,
        receive_buffer: options.socket_buffer.local.receive,
        no_delay: options.no_delay && tcp,
        cork: options.cork && tcp,
        max_segment: options.max_segment.filter(|_| tcp),
        keepalive: options.keepalive,
        dont_route: options.dont_route,
        priority: options.priority.local,
        // netperf remembers a type of service of 0 and does not set it.
        type_of_service: options.type_of_service.local.filter(|tos| *tos != 0).map(i32::from),
        congestion_control: options.congestion_control.local.clone().filter(|_| tcp),
    }
}

/// The unit of a test's rates: the one asked for, else transactions where there are some. A test that is not
/// named after them has none, except OMNI.
pub(crate) fn unit(options: &Options, name: TestName) -> Unit {
    let transactions = match name {
        TestName::Omni => options.traffic.is_of_transactions(),
        name => name.is_of_transactions(),
    };
    let letter = options.unit.unwrap_or('x');
    Unit::from_letter(Some(letter).filter(|letter| *letter != '\0'), transactions)
}

/// The test as a netserver knows it.
pub(crate) fn wire_test(traffic: Traffic) -> Test {
    match (traffic.protocol, traffic.role()) {
        (Protocol::Tcp, Role::Receive | Role::Respond) => Test::TcpMaerts,
        (Protocol::Tcp, Role::Send) => Test::TcpStream,
        (Protocol::Tcp, Role::Request) => match (traffic.each, traffic.has_both_directions()) {
            (false, _) => Test::TcpRr,
            (true, true) => Test::TcpCrr,
            (true, false) => Test::TcpCc,
        },
        (Protocol::Udp, Role::Receive | Role::Respond) => Test::UdpMaerts,
        (Protocol::Udp, Role::Send) => Test::UdpStream,
        (Protocol::Udp, Role::Request) => Test::UdpRr,
    }
}

impl Course<'_> {
    /// Bytes of each of our sends or receives. A request or a response size takes the place of a message
    /// size.
    pub(crate) fn message_bytes(&self) -> u32 {
        let options = self.options;
        match self.traffic.role() {
            // A segment size is told before anything is sent.
            _ if self.name == TestName::TcpMss => 1,
            Role::Receive | Role::Respond => options
                .response_bytes
                .or(options.receive_bytes.local)
                .unwrap_or(message_of(self.buffers.receive)),
            Role::Request => options.request_bytes.unwrap_or(1),
            Role::Send if self.name == TestName::TcpSendfile => self.shown_send_bytes(),
            Role::Send => {
                options.request_bytes.or(options.send_bytes.local).unwrap_or_else(|| self.send_default())
            }
        }
    }

    /// Bytes of our sends as netperf prints them: what `-m` asked for, although a request size took its place
    /// or nothing is sent; and 0 where there is only the request size, or no stream from here.
    pub(crate) fn shown_send_bytes(&self) -> u32 {
        let replaced = self.options.request_bytes.is_some() && self.name != TestName::TcpSendfile;
        let streams = self.traffic.role() == Role::Send && !replaced;
        let unset = || if streams { self.send_default() } else { 0 };
        self.options.send_bytes.local.unwrap_or_else(unset)
    }

    /// The same of our receives, with `-M` and the response size.
    pub(crate) fn shown_receive_bytes(&self) -> u32 {
        let streams = self.traffic.role() == Role::Receive && self.options.response_bytes.is_none();
        let unset = if streams { message_of(self.buffers.receive) } else { 0 };
        self.options.receive_bytes.local.unwrap_or(unset)
    }

    fn send_default(&self) -> u32 {
        let buffer = message_of(self.buffers.send);
        match self.traffic.protocol {
            Protocol::Tcp => buffer,
            Protocol::Udp => buffer.min(DATAGRAM_BYTES_MAX),
        }
    }

    /// Whether it is this end whose messages have a content.
    pub(crate) fn sends(&self) -> bool {
        self.traffic.sends
    }

    /// How long the traffic waits once it is agreed on. The tests that kept their own code do not.
    pub(crate) fn pause(&self) -> Duration {
        if self.name.option_set() == OptionSet::Omni { self.options.pause } else { Duration::ZERO }
    }

    /// Whether datagrams come here unasked.
    pub(crate) fn awaits_datagrams(&self) -> bool {
        self.traffic.protocol == Protocol::Udp && self.traffic.role() == Role::Receive
    }

    /// Whether a message is larger than a datagram can be.
    pub(crate) fn exceeds_datagram(&self) -> bool {
        let largest = match self.traffic.role() {
            Role::Request | Role::Send => self.message_bytes(),
            Role::Receive | Role::Respond => 0,
        };
        self.traffic.protocol == Protocol::Udp && largest > DATAGRAM_BYTES_MAX
    }

    /// Whether a response is.
    pub(crate) fn response_exceeds_datagram(&self) -> bool {
        let bytes = self.options.response_bytes.filter(|_| self.traffic.is_of_transactions());
        self.traffic.protocol == Protocol::Udp && bytes.is_some_and(|bytes| bytes > DATAGRAM_BYTES_MAX)
    }

    /// Number of message buffers of netperf's rings, which it tells the netserver. Ours are the engine's
    /// business.
    pub(crate) fn widths(&self) -> Directions<u32> {
        let options = self.options;
        // One suffices for a request or a response.
        let width = |answered: Option<u32>, buffer: u32| match answered {
            Some(_) => 1,
            None => (buffer / self.message_bytes().max(1)).saturating_add(1).max(2),
        };
        let asked = options.ring_width;
        match self.traffic.role() {
            Role::Request => {
                let least = u32::from(self.traffic.has_both_directions());
                Directions { send: asked.send.unwrap_or(least), receive: asked.receive.unwrap_or(least) }
            }
            Role::Receive | Role::Respond => Directions {
                send: asked.send.unwrap_or(0),
                receive: asked.receive.unwrap_or_else(|| width(options.response_bytes, self.buffers.receive)),
            },
            Role::Send => {
                let least = if options.request_bytes.is_some() { 1 } else { 2 };
                let send = asked.send.unwrap_or_else(|| width(options.request_bytes, self.buffers.send));
                Directions { send: send.max(least), receive: asked.receive.unwrap_or(0) }
            }
        }
    }

    /// A histogram of what operations took follows the result: netperf's, where it has one built in and has
    /// them timed.
    pub(crate) fn has_histogram(&self) -> bool {
        self.options.latency && self.options.verbosity > 1 && self.name != TestName::TcpMss
    }

    /// The engine to ask for. Only the classic one knows how long a send or a receive of a stream took.
    fn engine(&self) -> EngineChoice {
        match self.engine {
            EngineChoice::Auto if self.latency && !self.traffic.is_of_transactions() => EngineChoice::Classic,
            chosen => chosen,
        }
    }

    /// What our engine does from `local` on.
    pub(crate) fn plan(&self, local: SocketAddr) -> PlanOptions {
        let options = self.options;
        let endpoint = if self.awaits_datagrams() {
            Endpoint::Listen { local, peers: vec![self.remote.address().ip()] }
        } else {
            Endpoint::Connect { local }
        };
        let mut plan = PlanOptions::new(self.traffic.role(), endpoint);
        plan.protocol = self.traffic.protocol;
        plan.socket = socket(options, self.traffic.protocol);
        plan.message_bytes = self.message_bytes().max(1);
        plan.length = match options.length {
            // One byte's worth is all that a segment size takes.
            _ if self.name == TestName::TcpMss => Length::Bytes(1),
            WireLength::Bytes(bytes) => Length::Bytes(bytes),
            WireLength::Transactions(transactions) => Length::Transactions(transactions),
            WireLength::Endless => Length::Endless,
            WireLength::Seconds(seconds) => Length::Time(Duration::from_secs(seconds.into())),
        };
        if self.traffic.is_of_transactions() {
            plan.transaction = self.transaction();
        }
        // netperf stops reading when its own time is over; the netserver's is over by then, too.
        plan.receive_grace = Duration::ZERO;
        if options.no_control {
            // A reset under its sends costs no netserver its results.
            plan.receive_linger = Duration::ZERO;
        }
        plan.connect_timeout = self.deadlines.connect;
        plan.drain_timeout = self.deadlines.drain;
        plan.engine = self.engine();
        plan.payload = self.payload.clone();
        plan.file = self.file.clone();
        // Another engine that was insisted on leaves it unknown.
        plan.latency =
            self.latency && (self.traffic.is_of_transactions() || plan.engine == EngineChoice::Classic);
        plan.bursts = (options.burst.local > 0).then_some(Bursts {
            messages: options.burst.local,
            every: Duration::from_micros(options.interval_us.local.into()),
        });
        // The segments of a transaction are those that netperf makes.
        plan.without.shared_segments = true;
        plan.cores = options.cpu.local.and_then(|cpu| usize::try_from(cpu).ok()).into_iter().collect();
        plan
    }

    fn transaction(&self) -> Transaction {
        let options = self.options;
        // A connection that is all of a transaction carries nothing, whatever TCP_CC prints.
        let bytes = |size: Option<u32>| {
            if self.traffic.has_both_directions() { size.unwrap_or(1) } else { 0 }
        };
        Transaction {
            request_bytes: bytes(options.request_bytes),
            response_bytes: bytes(options.response_bytes),
            connections: if self.traffic.each { Connections::Each } else { Connections::Kept },
            in_flight: if self.traffic.each { 1 } else { options.first_burst.saturating_add(1) },
            local_ports: options.port_range.filter(|_| self.traffic.each).map(|(least, most)| least..=most),
            retry_connect: options.retry_connect,
            resend_after: options.response_timeout.filter(|_| self.traffic.protocol == Protocol::Udp),
        }
    }

    /// When interim results are due, if they were asked for. `units` is what an interval of the iteration
    /// before was found to hold.
    pub(crate) fn interim(&self, units: Option<u64>) -> Option<Every> {
        let Interim { interval, after_each, units: guess } = self.options.interim?;
        if after_each {
            return Some(Every::Time(interval.max(INTERIM_INTERVAL_MIN)));
        }
        let counts_transactions = self.unit == Unit::Transactions || self.name == TestName::TcpCc;
        let unit = if self.traffic.is_of_transactions() && counts_transactions {
            WorkUnit::Transactions
        } else {
            WorkUnit::Bytes
        };
        let first = guess.map_or_else(|| self.first_guess(), u64::from);
        Some(Every::Work { interval, units: units.unwrap_or(first), unit })
    }

    fn first_guess(&self) -> u64 {
        match self.name {
            TestName::TcpSendfile => 2 * u64::from(self.buffers.send.max(self.buffers.receive)),
            _ => INTERIM_UNITS,
        }
    }

    /// What is asked of the netserver, our data socket being bound to `local` and its own to be at `remote`.
    pub(crate) fn request(&self, local: SocketAddr, remote: SocketAddr) -> TestRequest {
        match self.name.option_set() {
            OptionSet::Empty | OptionSet::Omni => self.omni_request(local, remote).into(),
            OptionSet::Sockets => self.classic_request(local, remote).into(),
        }
    }

    fn classic_request(&self, local: SocketAddr, remote: SocketAddr) -> ClassicTest {
        let options = self.options;
        ClassicTest {
            cpu: options.cpu.remote,
            send_buffer: options.socket_buffer.remote.send,
            receive_buffer: options.socket_buffer.remote.receive,
            receive_bytes: options.receive_bytes.remote,
            request_bytes: options.request_bytes.unwrap_or(1),
            response_bytes: options.response_bytes.unwrap_or(1),
            send_alignment: place(options.alignment.remote.send),
            receive_alignment: place(options.alignment.remote.receive),
            send_offset: place(options.offset.remote.send),
            receive_offset: place(options.offset.remote.receive),
            no_delay: options.no_delay,
            measure_cpu: options.measure_cpu.remote.into(),
            cpu_rate: options.remote_cpu_rate,
            length: options.length,
            avoid_copies: options.avoid_copies,
            data_port: remote.port(),
            ip_version: ip_version(local),
            ..ClassicTest::new(wire_test(self.traffic))
        }
    }

    fn omni_request(&self, local: SocketAddr, remote: SocketAddr) -> OmniTest {
        let options = self.options;
        let widths = self.widths();
        OmniTest {
            cpu: options.cpu.remote,
            send_buffer: options.socket_buffer.remote.send,
            receive_buffer: options.socket_buffer.remote.receive,
            receive_bytes: options.receive_bytes.remote,
            send_bytes: options.send_bytes.remote,
            request_bytes: options.request_bytes,
            response_bytes: options.response_bytes,
            send_alignment: place(options.alignment.remote.send),
            receive_alignment: place(options.alignment.remote.receive),
            send_offset: place(options.offset.remote.send),
            receive_offset: place(options.offset.remote.receive),
            send_width: widths.send,
            receive_width: widths.receive,
            no_delay: options.no_delay,
            keepalive: options.keepalive,
            defer_accept: options.defer_accept,
            fast_open: options.fast_open,
            packet_info: options.packet_info,
            avoid_copies: options.avoid_copies,
            dont_route: options.dont_route,
            measure_cpu: options.measure_cpu.remote,
            cpu_rate: options.remote_cpu_rate,
            length: options.length,
            data_port: remote.port(),
            ip_version: ip_version(local),
            local: (Some(local.ip()).filter(|ip| !ip.is_unspecified()), local.port()),
            server_address: options.data.remote.name.as_ref().map(|_| remote.ip()),
            priority: options.priority.remote,
            type_of_service: options.type_of_service.remote.map(i32::from),
            congestion_control: options.congestion_control.remote.clone(),
            fill_file: options.remote_fill_file.clone(),
            interval_burst: options.burst.remote,
            interval_us: options.interval_us.remote,
            ..OmniTest::new(wire_test(self.traffic))
        }
    }
}

/// The engine tells of a run no more often.
const INTERIM_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Without a netserver there are no places of its buffers; none is asked then.
fn place(place: i32) -> u32 {
    u32::try_from(place).unwrap_or(0)
}

fn ip_version(address: SocketAddr) -> IpVersion {
    if address.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 }
}

/// Bytes of a message that nobody gave a size: those of the socket buffer, as far as a message can have them.
fn message_of(buffer: u32) -> u32 {
    if buffer == 0 { MESSAGE_BYTES_UNKNOWN } else { buffer.min(MESSAGE_BYTES_MAX) }
}

#[cfg(test)]
mod tests;
