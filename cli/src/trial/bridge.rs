//! Where the engine and the protocol meet in the client: options to a plan and to a request, an outcome and
//! results to a record.
//!
//! Functions without I/O, so that what is asked for and what is shown can be read in one place.
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

use ringperf_engine::error::ErrorClass;
use ringperf_engine::plan::{Connections, Endpoint, Length, Protocol, Role, Transaction};
use ringperf_engine::{EngineChoice, Error as EngineError, Plan, PlanOptions};
use ringperf_proto::native::VERSION_OF_WAITING;
use ringperf_proto::{
    IpVersion, Length as WireLength, OmniTest, SendPath as WirePath, Test as WireTest, Wishes, Without,
};

use super::args::{Args, EngineArg, SendArg, Test, TestLength};
use crate::bridge as wire;
use crate::client::deadline::Deadlines;
use crate::error::{Class, Failure};
use crate::record::{self, Asked, AskedEnd, AskedTransaction, Netserver};
use crate::without;

/// How long a datagram's answer may take before its request is sent once more: past what a network delays,
/// and soon enough for a test of seconds to go on.
const RESEND_AFTER: Duration = Duration::from_secs(1);

/// The plan of our end: where to connect from, and what to send or to receive.
///
/// # Errors
/// USAGE when an option is out of the engine's range.
pub(crate) fn plan(
    args: &Args,
    cores: &[usize],
    control_peer: IpAddr,
    deadlines: Deadlines,
) -> Result<Plan, Failure> {
    let any = if control_peer.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    // Several connections to one port come from ports of their own.
    let port = args.data_port.filter(|_| args.flows == 1).unwrap_or(0);
    let local = SocketAddr::new(args.local.unwrap_or(any), port);
    let role = our_role(args.test.wire());
    let mut options = PlanOptions::new(role, Endpoint::Connect { local });
    options.protocol = wire::protocol(args.test.wire());
    match role {
        Role::Receive | Role::Respond => options.socket.receive_buffer = args.receive_buffer(),
        Role::Request | Role::Send => options.socket.send_buffer = args.send_buffer(),
    }
    options.message_bytes = args.message_bytes(control_peer.is_ipv4());
    options.length = match args.length() {
        TestLength::Bytes(bytes) => Length::Bytes(whole_messages(bytes, options.message_bytes)),
        TestLength::Seconds(seconds) => Length::Time(Duration::from_secs(u64::from(seconds))),
        TestLength::Transactions(transactions) => Length::Transactions(transactions),
    };
    if role == Role::Request {
        transact(args, &mut options);
    }
    options.without = args.left_out();
    options.rate = args.rate.filter(|_| role == Role::Send);
    if role == Role::Send {
        options.send_path = args.send.path();
    }
    options.gso = args.gso && role == Role::Send;
    options.gro = args.gro && role == Role::Receive;
    options.engine = match args.engine {
        EngineArg::Auto => EngineChoice::Auto,
        EngineArg::Classic => EngineChoice::Classic,
        EngineArg::Epoll => EngineChoice::Epoll,
        EngineArg::Uring => EngineChoice::Uring,
    };
    options.flows = args.flows;
    options.workers = workers(args);
    options.cores = cores.to_vec();
    options.interval = args.interval;
    options.connect_timeout = deadlines.connect;
    options.drain_timeout = deadlines.drain;
    // The netserver's own timer ends what it sends, so ours has nothing to wait for.
    options.receive_grace = Duration::ZERO;
    options.receive_linger = options.receive_linger.min(deadlines.drain);
    Plan::new(options).map_err(|error| engine_failure(&error, args))
}

/// What is special about a requester.
fn transact(args: &Args, options: &mut PlanOptions) {
    options.socket.send_buffer = args.send_buffer();
    options.socket.receive_buffer = args.receive_buffer();
    // A request is sent at once, also while another one is under way.
    options.socket.no_delay = true;
    options.transaction = Transaction {
        request_bytes: args.request_bytes(),
        response_bytes: args.response_bytes(),
        connections: if args.test == Test::TcpCrr { Connections::Each } else { Connections::Kept },
        in_flight: args.in_flight(),
        resend_after: (args.test == Test::UdpRr).then_some(RESEND_AFTER),
        ..Transaction::default()
    };
    options.busy_poll = args.busy_poll;
    options.latency = true;
}

/// Our workers: one for each core that was asked for, as far as there are flows for them.
fn workers(args: &Args) -> u32 {
    let cores = args.asked_cores().len();
    u32::try_from(cores).unwrap_or(u32::MAX).clamp(1, args.flows)
}

/// A test's name in a record.
pub(crate) fn test_name(test: Test) -> &'static str {
    record::test_name(test.wire())
}

/// Our part in a test: the one that the netserver has not.
fn our_role(test: WireTest) -> Role {
    match wire::role(test) {
        Role::Receive => Role::Send,
        Role::Respond => Role::Request,
        Role::Request | Role::Send => Role::Receive,
    }
}

/// What to ask of the netserver ahead of the request, because netperf's request has no word for it.
///
/// # Errors
/// USAGE for what this netserver cannot be asked for and would have to do.
pub(crate) fn wishes(args: &Args, netserver: Netserver) -> Result<Wishes, Failure> {
    let left_out = args.left_out();
    let without = Without {
        bundles: left_out.bundles,
        multishot: left_out.multishot,
        buffer_ring: left_out.buffer_ring,
        deferred_task_run: left_out.deferred_task_run,
        registered_files: left_out.registered_files,
        registered_buffers: left_out.registered_buffers,
        minimum_wait: left_out.minimum_wait,
        low_water: left_out.low_water,
        shared_segments: left_out.shared_segments,
    };
    let sends = our_role(args.test.wire()) == Role::Receive;
    let wishes = Wishes {
        flows: args.flows,
        workers: workers(args),
        without,
        coalescing: args.gro && args.test == Test::UdpStream,
        // Of a test that it sends.
        bits_per_second: args.rate.filter(|_| sends).and_then(NonZeroU64::new),
        send_path: if sends { wished_path(args.send) } else { WirePath::Auto },
        busy_poll: args.busy_poll,
        ..Wishes::default()
    };
    to_be_told(wishes, netserver)
}

/// A way to send, as the control channel has it.
fn wished_path(asked: SendArg) -> WirePath {
    match asked {
        SendArg::Auto => WirePath::Auto,
        SendArg::Bundle => WirePath::Bundle,
        SendArg::Chain => WirePath::Chain,
        SendArg::Registered => WirePath::Registered,
        SendArg::ZeroCopy => WirePath::ZeroCopy,
    }
}

/// The wishes that this netserver can be told.
fn to_be_told(wishes: Wishes, netserver: Netserver) -> Result<Wishes, Failure> {
    let knows = matches!(netserver, Netserver::Ringperf { version } if version >= VERSION_OF_WAITING);
    // One that does not know the word does not share any.
    let shared_segments = knows && wishes.without.shared_segments;
    let wishes = Wishes { without: Without { shared_segments, ..wishes.without }, ..wishes };
    if netserver.takes_wishes() && (knows || !wishes.busy_poll) {
        return Ok(wishes);
    }
    // What it shall do without stays unsaid: netperf's has none of it, and an older one of ours decides by
    // its own options.
    let needed = Wishes { without: Without::default(), ..wishes };
    if needed == Wishes::default() {
        return Ok(needed);
    }
    let cause = match netserver {
        Netserver::Netperf | Netserver::Unknown => {
            "netperf's netserver knows one flow, as fast as possible, takes each datagram by itself, and \
             sleeps until something comes"
        }
        Netserver::Ringperf { .. } => "the ringperf netserver there is too old for what is asked of it",
    };
    Err(Failure::new(Class::Usage, "agree on a test", cause)
        .setting("the options that change how the netserver runs a test")
        .next("leave them out, or run this release's ringperf netserver on that host"))
}

/// What to ask of the netserver: the other part of our plan, and to tell what that cost.
///
/// The address is left out unless the user gave one, so that translation on the way does no harm; the
/// netserver needs it for nothing in these tests.
///
/// # Errors
/// USAGE for a number of bytes that a netserver of netperf's cannot be told to send.
pub(crate) fn request(
    args: &Args,
    local: SocketAddr,
    cores: &[usize],
    netserver: Netserver,
) -> Result<OmniTest, Failure> {
    let message_bytes = args.message_bytes(local.is_ipv4());
    let length = match our_role(args.test.wire()) {
        // Our connections have each a share of the bytes; it reads them to their ends.
        Role::Send if args.flows > 1 && args.bytes.is_some() => WireLength::Endless,
        _ => wire_length(args.length(), message_bytes),
    };
    // One of ours sees that we have had enough; netperf's sends until its connection breaks, and counts that
    // as an error.
    if args.test == Test::TcpMaerts && length == WireLength::Endless && netserver == Netserver::Netperf {
        return Err(Failure::new(
            Class::Usage,
            "agree on a test",
            "netperf's netserver cannot be told to send more than 2147483647 bytes",
        )
        .setting("--bytes")
        .next("give a --time instead, or run ringperf netserver on that host"));
    }
    let mut test = OmniTest::new(args.test.wire());
    match args.test {
        Test::TcpMaerts => {
            test.send_buffer = args.send_buffer();
            test.send_bytes = Some(message_bytes);
        }
        Test::TcpStream => test.receive_buffer = args.receive_buffer(),
        Test::TcpCrr | Test::TcpRr | Test::UdpRr => {
            (test.send_buffer, test.receive_buffer) = (args.send_buffer(), args.receive_buffer());
            test.request_bytes = Some(args.request_bytes());
            test.response_bytes = Some(args.response_bytes());
            test.no_delay = args.test != Test::UdpRr;
        }
        Test::UdpStream => {
            test.receive_buffer = args.receive_buffer();
            // A datagram longer than the receive is cut and counted short.
            test.receive_bytes = Some(message_bytes);
            // netperf keeps its datagrams off routers unless told otherwise; a measurement may cross them.
            test.dont_route = false;
        }
    }
    Ok(OmniTest {
        // The request has room for one core.
        cpu: if let [core] = cores { u32::try_from(*core).ok() } else { None },
        ip_version: if local.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
        length,
        data_port: args.netserver_data_port().unwrap_or(0),
        local: (args.local, local.port()),
        measure_cpu: true,
        ..test
    })
}

/// The options as a record tells them.
pub(crate) fn asked(args: &Args, v4: bool, remote_cores: &[usize]) -> Asked {
    let (seconds, bytes) = match args.length() {
        TestLength::Bytes(bytes) => (None, Some(bytes)),
        TestLength::Seconds(seconds) => (Some(seconds), None),
        TestLength::Transactions(_) => (None, None),
    };
    let message_bytes = Some(args.message_bytes(v4));
    let receives_messages = wire::protocol(args.test.wire()) == Protocol::Udp;
    let ours = (args.asked_cores(), args.data_port);
    let theirs = (remote_cores, args.netserver_data_port());
    let ((sender_cores, sender_port), (receiver_cores, receiver_port)) = match our_role(args.test.wire()) {
        Role::Receive | Role::Respond => (theirs, ours),
        Role::Request | Role::Send => (ours, theirs),
    };
    Asked {
        seconds,
        bytes,
        transactions: args.transactions,
        transaction: args.test.has_transactions().then(|| AskedTransaction {
            request_bytes: args.request_bytes(),
            response_bytes: args.response_bytes(),
            in_flight: args.in_flight(),
            busy_poll: args.busy_poll,
        }),
        sender: AskedEnd {
            message_bytes,
            send_buffer: args.send_buffer(),
            receive_buffer: None,
            data_port: sender_port,
            cores: sender_cores.to_vec(),
        },
        receiver: AskedEnd {
            message_bytes: message_bytes.filter(|_| receives_messages),
            send_buffer: None,
            receive_buffer: args.receive_buffer(),
            data_port: receiver_port,
            cores: receiver_cores.to_vec(),
        },
        flows: args.flows,
        interval_ns: args.interval.map(record::nanoseconds),
        engine: args.engine.word(),
        without: without::words(&args.left_out()),
        rate_bits_per_second: args.rate,
        send: Some(args.send.word()).filter(|_| args.send != SendArg::Auto),
        gso: args.gso,
        gro: args.gro,
    }
}

/// Bytes rounded up to whole messages; as near as can be counted where that is past all counting.
fn whole_messages(bytes: u64, message_bytes: u32) -> u64 {
    let message_bytes = u64::from(message_bytes);
    bytes.div_ceil(message_bytes).saturating_mul(message_bytes)
}

/// The length as the netserver is told it. Bytes are rounded up to whole messages, as senders send them: a
/// netserver that is told fewer stops reading at that count, and its close then resets the connection. A
/// count that the frame has no room for is not told; the netserver then goes on until our end of the stream.
fn wire_length(length: TestLength, message_bytes: u32) -> WireLength {
    match length {
        TestLength::Seconds(seconds) => WireLength::Seconds(seconds),
        TestLength::Transactions(transactions) => WireLength::Transactions(transactions),
        TestLength::Bytes(bytes) => match whole_messages(bytes, message_bytes) {
            bytes if bytes <= u64::from(i32::MAX.unsigned_abs()) => WireLength::Bytes(bytes),
            _ => WireLength::Endless,
        },
    }
}

/// What the user is told when the engine could not run.
pub(crate) fn engine_failure(error: &EngineError, args: &Args) -> Failure {
    let class = match error.class() {
        ErrorClass::Environment => Class::Environment,
        ErrorClass::Peer => Class::Peer,
        ErrorClass::Usage => Class::Usage,
    };
    let failure = match error {
        EngineError::Plan { option, range } => {
            Failure::new(class, "plan the test", format!("the {option} may be {range}"))
                .setting(format!("the {option}"))
                .next("ringperf run --help")
        }
        EngineError::System { call, doing, source, .. } => {
            Failure::io(class, format!("call {call} while {doing}"), source)
        }
        EngineError::UringRefused { reason, .. } => Failure::new(class, "use io_uring", reason.as_str()),
        EngineError::Bind { address, source } => {
            Failure::io(class, format!("bind the data socket to {address}"), source)
                .setting("--local and --data-port")
                .next(format!("see who has the port: ss -tanp 'sport = :{}'", address.port()))
        }
        EngineError::Connect { remote, source } => {
            Failure::io(class, format!("connect to the data port {remote}"), source)
                .setting(
                    "firewalls between: the data port is chosen by the netserver unless --data-port names it",
                )
                .next("ringperf run -H HOST --data-port PORT, with a port that the firewalls let through")
        }
        EngineError::SelfConnected(address) => Failure::new(
            class,
            "reach the netserver's data port",
            format!(
                "the data socket connected to itself at {address}: both ends share one address and one port"
            ),
        )
        .setting("--data-port, which fixes the port of both ends, and --local")
        .next(self_connection_remedy(args, address.ip())),
    };
    let failure = match error.remedy() {
        Some((setting, next)) => failure.setting(setting).next(next),
        None => failure,
    };
    failure.errno(error.errno())
}

/// What keeps the two ends apart: another loopback address costs nothing, elsewhere the port has to go.
fn self_connection_remedy(args: &Args, ip: IpAddr) -> String {
    let port = args.data_port.unwrap_or_default();
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            format!("ringperf run --data-port {port} --local 127.0.0.2, or leave --data-port out")
        }
        _ => "leave --data-port out, or run the two ends on different addresses".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_told_to_whom_they_mean_something() {
        let low_water = Without { low_water: true, ..Without::default() };
        let plain = Wishes { without: low_water, ..Wishes::default() };
        let many = Wishes { flows: 8, workers: 2, ..plain };
        let (new, old) = (Netserver::Ringperf { version: 2 }, Netserver::Ringperf { version: 1 });
        assert_eq!(to_be_told(plain, new), Ok(plain));
        assert_eq!(to_be_told(many, new), Ok(many));
        let coalescing = Wishes { coalescing: true, ..plain };
        assert_eq!(to_be_told(coalescing, new), Ok(coalescing));
        assert!(to_be_told(coalescing, Netserver::Netperf).is_err());
        assert_eq!(to_be_told(many, Netserver::Ringperf { version: 3 }), Ok(many));
        for without_wishes in [old, Netserver::Netperf] {
            assert_eq!(to_be_told(plain, without_wishes), Ok(Wishes::default()));
            let refused = to_be_told(many, without_wishes).map_err(|failure| failure.class());
            assert_eq!(refused, Err(Class::Usage));
        }
    }

    #[test]
    fn byte_counts_are_told_in_whole_messages() {
        let told = |bytes| wire_length(TestLength::Bytes(bytes), 1 << 20);
        assert_eq!(told(1), WireLength::Bytes(1 << 20));
        assert_eq!(told(1 << 20), WireLength::Bytes(1 << 20));
        assert_eq!(told((1 << 20) + 1), WireLength::Bytes(2 << 20));
        // 2^31 does not fit the frame's signed word.
        assert_eq!(told((1 << 31) - (1 << 20)), WireLength::Bytes((1 << 31) - (1 << 20)));
        assert_eq!(told((1 << 31) - 1), WireLength::Endless);
        assert_eq!(told(u64::MAX), WireLength::Endless);
        assert_eq!(wire_length(TestLength::Seconds(7), 1), WireLength::Seconds(7));
    }
}
