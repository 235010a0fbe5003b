//! Where the engine and the protocol meet in the client: options to a plan and to a request, an outcome and
//! results to a record.
//!
//! Functions without I/O, so that what is asked for and what is shown can be read in one place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use ringperf_engine::error::ErrorClass;
use ringperf_engine::facts::Engine;
use ringperf_engine::plan::{Endpoint, Length, Role};
use ringperf_engine::{EngineChoice, Error as EngineError, Outcome, Plan, PlanOptions};
use ringperf_proto::native::{self, feature};
use ringperf_proto::{IpVersion, Length as WireLength, NativeReport, RemoteOffer, RemoteResults, StreamTest};

use super::args::{Args, EngineArg, TestLength};
use super::warnings::{self, Evidence, connected_for};
use crate::bridge as wire;
use crate::client::deadline::Deadlines;
use crate::error::{Class, Failure};
use crate::netperf_cpu::utilisation;
use crate::record::{
    Asked, BufferSizes, MachineCost, Netserver, RECORD_VERSION, ReceiverFacts, Record, Side, StreamResult,
    Target, Times, Tool, WorkerCost, WorkerCpu, nanoseconds, ratio, rfc3339,
};

/// The plan of our end: where to connect from, and what to send.
///
/// # Errors
/// USAGE when an option is out of the engine's range.
pub(crate) fn plan(
    args: &Args,
    core: Option<usize>,
    control_peer: IpAddr,
    deadlines: Deadlines,
) -> Result<Plan, Failure> {
    let any = if control_peer.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let local = SocketAddr::new(args.local.unwrap_or(any), args.data_port.unwrap_or(0));
    let mut options = PlanOptions::new(Role::Send, Endpoint::Connect { local });
    options.socket.send_buffer = args.socket_buffer;
    options.message_bytes = args.message;
    options.length = match args.length() {
        TestLength::Bytes(bytes) => Length::Bytes(bytes),
        TestLength::Seconds(seconds) => Length::Time(Duration::from_secs(u64::from(seconds))),
    };
    options.engine = match args.engine {
        EngineArg::Auto => EngineChoice::Auto,
        EngineArg::Epoll => EngineChoice::Epoll,
        EngineArg::Uring => EngineChoice::Uring,
    };
    options.core = core;
    options.connect_timeout = deadlines.connect;
    options.drain_timeout = deadlines.drain;
    Plan::new(options).map_err(|error| engine_failure(&error, args))
}

/// What to ask of the netserver: to receive what the plan sends, and to tell what that cost.
///
/// The address is left out unless the user gave one, so that translation on the way does no harm; the
/// netserver needs it for nothing in this test.
pub(crate) fn request(args: &Args, local: SocketAddr, core: Option<usize>) -> StreamTest {
    StreamTest {
        cpu: core.and_then(|core| u32::try_from(core).ok()),
        ip_version: if local.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
        receive_buffer: args.socket_buffer,
        length: wire_length(args.length(), args.message),
        data_port: args.data_port.unwrap_or(0),
        local: (args.local, local.port()),
        measure_cpu: true,
        ..StreamTest::default()
    }
}

/// The length as the netserver is told it. Bytes are rounded up to whole messages, as the engine sends them:
/// a netserver that is told fewer stops reading at that count, and its close then resets the connection. A
/// count that the frame has no room for is not told; the netserver then reads until our end of the stream.
fn wire_length(length: TestLength, message_bytes: u32) -> WireLength {
    match length {
        TestLength::Seconds(seconds) => WireLength::Seconds(seconds),
        TestLength::Bytes(bytes) => bytes
            .div_ceil(u64::from(message_bytes))
            .checked_mul(u64::from(message_bytes))
            .filter(|bytes| *bytes <= u64::from(i32::MAX.unsigned_abs()))
            .map_or(WireLength::Endless, WireLength::Bytes),
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
        EngineError::System { call, doing, source, hint } => {
            Failure::io(class, format!("call {call} while {doing}"), source)
                .setting("the limits of this process and of its container")
                .next(*hint)
        }
        EngineError::UringRefused { reason, hint, .. } => {
            Failure::new(class, "use io_uring", reason.as_str())
                .setting(
                    "kernel.io_uring_disabled, the seccomp profile, the limit on locked memory (ulimit -l)",
                )
                .next(*hint)
        }
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

/// Everything a run produced, before it becomes a record.
pub(crate) struct Finished<'a> {
    /// The options.
    pub(crate) args: &'a Args,
    /// The command line.
    pub(crate) command: &'a [String],
    /// When the command and the data transfer began.
    pub(crate) begun: (Instant, SystemTime),
    /// Our address and the netserver's of the control connection.
    pub(crate) control: (SocketAddr, SocketAddr),
    /// What answers there.
    pub(crate) netserver: Netserver,
    /// What it offered.
    pub(crate) offer: &'a RemoteOffer,
    /// Our end's run.
    pub(crate) outcome: Outcome,
    /// The netserver's results.
    pub(crate) results: &'a RemoteResults,
    /// What it told beyond them.
    pub(crate) report: Option<NativeReport>,
    /// Why a netserver that has more to tell did not.
    pub(crate) report_missing: Option<String>,
    /// Name of the signal that ended the test.
    pub(crate) interrupted: Option<&'static str>,
}

/// The record of a finished run.
pub(crate) fn record(finished: Finished<'_>) -> Record {
    let Finished { args, outcome, results, offer, .. } = &finished;
    let sender = sender(args, outcome);
    let receiver = receiver(args, outcome, offer, results, finished.report.as_ref());
    let data_local = outcome.local;
    let warnings = warnings::list(&Evidence {
        outcome,
        local: data_local.ip(),
        sender: &sender,
        receiver: &receiver,
        bytes_received: results.bytes_received,
        receiver_lacks: finished.report.as_ref().map_or_else(Vec::new, wire::lacking),
        report_missing: finished.report_missing.clone(),
        netserver: finished.netserver,
        length: args.length(),
        data_port: (args.data_port, offer.port),
        interrupted: finished.interrupted,
    });
    Record {
        record: RECORD_VERSION,
        tool: Tool::this(),
        command: finished.command.to_vec(),
        time: Times {
            started: rfc3339(finished.begun.1),
            elapsed_ns: nanoseconds(outcome.elapsed),
            connected_after_ns: outcome.connected_after.map(nanoseconds),
            command_ns: nanoseconds(finished.begun.0.elapsed()),
        },
        test: "tcp_stream",
        target: Target {
            host: args.host.clone(),
            embedded: args.host.is_none(),
            control: finished.control.1,
            data_local,
            data_peer: outcome.peer,
            netserver: finished.netserver,
        },
        asked: asked(args),
        result: result(outcome, results),
        sender,
        receiver,
        receiver_facts: finished.report.as_ref().map(receiver_facts),
        warnings,
        interrupted: finished.interrupted,
        sender_facts: finished.outcome.facts,
    }
}

fn asked(args: &Args) -> Asked {
    let (seconds, bytes) = match args.length() {
        TestLength::Bytes(bytes) => (None, Some(bytes)),
        TestLength::Seconds(seconds) => (Some(seconds), None),
    };
    Asked {
        seconds,
        bytes,
        message_bytes: args.message,
        socket_buffer: args.socket_buffer,
        core: args.core,
        engine: args.engine.word(),
        data_port: args.data_port,
    }
}

fn result(outcome: &Outcome, results: &RemoteResults) -> StreamResult {
    let bits = results.bytes_received as f64 * 8.0;
    StreamResult {
        goodput_bits_per_second: ratio(bits, outcome.elapsed.as_secs_f64()).unwrap_or(0.0),
        bytes_received: results.bytes_received,
        bytes_sent: outcome.tally.bytes_sent,
        messages_sent: outcome.tally.messages_sent,
        receives: results.receives,
        short_sends: outcome.tally.short_sends,
        end: outcome.end,
        transport: outcome.transport.clone(),
        receiver_congestion_control: results.congestion_control.clone(),
        receiver_retransmits: results.retransmits.and_then(|count| u32::try_from(count).ok()),
    }
}

fn sender(args: &Args, outcome: &Outcome) -> Side {
    let operations = outcome.tally.operations;
    let cpu = WorkerCpu {
        total_ns: nanoseconds(outcome.worker_cpu.total),
        user_ns: nanoseconds(outcome.worker_cpu.user),
        system_ns: nanoseconds(outcome.worker_cpu.system),
        wakeups: operations.wakeups,
        completions: operations.completions,
    };
    let machine = utilisation(&outcome.machine_cpu, outcome.elapsed, outcome.elapsed);
    Side {
        engine: Some(engine_name(outcome.facts.engine)),
        core: outcome.facts.core.pinned,
        core_verified: outcome.facts.core.verified,
        worker: WorkerCost::new(cpu, outcome.tally.bytes_sent, connected_for(outcome)),
        machine: machine.and_then(|cpu| {
            let cpus = u32::try_from(cpu.cpus).ok()?;
            MachineCost::new(cpu.busy, cpus, outcome.tally.bytes_sent, outcome.elapsed)
        }),
        socket_buffer: BufferSizes {
            asked: args.socket_buffer,
            granted: Some(outcome.facts.buffers_granted.send),
            end: Some(outcome.buffers_at_end.send),
        },
    }
}

fn receiver(
    args: &Args,
    outcome: &Outcome,
    offer: &RemoteOffer,
    results: &RemoteResults,
    report: Option<&NativeReport>,
) -> Side {
    let worker = report.and_then(|report| {
        let cpu = WorkerCpu {
            total_ns: report.worker_cpu_ns,
            user_ns: report.worker_user_ns,
            system_ns: report.worker_system_ns,
            wakeups: report.wakeups,
            completions: report.completions,
        };
        WorkerCost::new(cpu, results.bytes_received, Duration::from_nanos(report.elapsed_ns))
    });
    let machine = results.cpu.as_ref().and_then(|cpu| {
        MachineCost::new(f64::from(cpu.utilisation), cpu.cpus, outcome.tally.bytes_sent, outcome.elapsed)
    });
    Side {
        engine: report.and_then(|report| match report.engine {
            native::engine::IO_URING => Some(engine_name(Engine::Uring)),
            native::engine::EPOLL => Some(engine_name(Engine::Epoll)),
            native::engine::CLASSIC => Some(engine_name(Engine::Classic)),
            _ => None,
        }),
        core: report.and_then(|report| usize::try_from(report.core).ok()),
        core_verified: report.is_some_and(|report| report.features & feature::CORE_VERIFIED != 0),
        worker,
        machine,
        socket_buffer: BufferSizes {
            asked: args.socket_buffer,
            granted: offer.receive_buffer,
            end: results.receive_buffer,
        },
    }
}

fn receiver_facts(report: &NativeReport) -> ReceiverFacts {
    let receives = [report.receives_buffer_ring, report.receives_single, report.receives_syscall];
    let all: f64 = receives.iter().map(|count| *count as f64).sum();
    ReceiverFacts {
        setup_bits: report.setup_bits,
        features: FEATURES
            .iter()
            .filter(|(bit, _)| report.features & bit != 0)
            .map(|(_, name)| *name)
            .collect(),
        elapsed_ns: report.elapsed_ns,
        buffer_ring_percent: ratio(report.receives_buffer_ring as f64 * 100.0, all),
        no_buffers: report.no_buffers,
        arena_backing: wire::backing(report),
        degraded: wire::lacking(report),
    }
}

fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Classic => "classic",
        Engine::Epoll => "epoll",
        Engine::Uring => "io_uring",
    }
}

/// Names of the parts of io_uring that a report tells of.
const FEATURES: &[(u32, &str)] = &[
    (feature::REGISTERED_FILES, "registered_files"),
    (feature::REGISTERED_RING, "registered_ring"),
    (feature::REGISTERED_BUFFERS, "registered_buffers"),
    (feature::BUFFER_RING, "buffer_ring"),
    (feature::MULTISHOT, "multishot"),
    (feature::BUNDLES, "bundles"),
];

#[cfg(test)]
mod tests {
    use super::*;

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
