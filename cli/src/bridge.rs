//! Where the control channel and the engine meet: what a peer asked for becomes a plan, and what the engine
//! found becomes what the peer is told.
//!
//! Total functions on values; opens nothing and waits for nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ringperf_engine::facts::{Backing, Engine, Facts, UringFacts};
use ringperf_engine::plan::{Endpoint, Length, Role, SocketOptions};
use ringperf_engine::{End, EngineChoice, Error, Outcome, Plan, PlanOptions, Prepared};
use ringperf_proto as proto;
use ringperf_proto::native::{degraded, engine, feature};

use crate::netperf_cpu::utilisation;

/// A netserver's timer runs this much longer than the test that it receives, so that the sender ends it
/// first.
const GRACE: Duration = Duration::from_secs(4);

/// How long a test without a time limit waits for its data connection. netserver waits for ever; a client may
/// pause (`-s`) before it connects, so this is generous.
const UNTIMED_CONNECT: Duration = Duration::from_secs(300);

/// netperf's number for CPU figures that come from `/proc/stat`.
const METHOD_PROC_STAT: u32 = 8;

/// errno where the engine names none: EIO.
const EIO: i32 = 5;

/// What the operator chose for every test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// Core of the data worker unless the peer asks for one.
    pub core: Option<usize>,
    /// Backend.
    pub engine: EngineChoice,
}

/// The plan of a test that `peer`, the other end of the control connection, asked for.
///
/// # Errors
/// [`Error::Plan`] for a value that the engine's limits exclude.
pub(crate) fn plan(spec: &proto::TestSpec, peer: IpAddr, defaults: Defaults) -> Result<Plan, Error> {
    let address = spec.data_address.unwrap_or(match spec.ip_version {
        proto::IpVersion::V4 => Ipv4Addr::UNSPECIFIED.into(),
        proto::IpVersion::V6 => Ipv6Addr::UNSPECIFIED.into(),
    });
    let endpoint = Endpoint::Listen {
        local: SocketAddr::new(address, spec.data_port),
        peers: vec![peer.to_canonical()],
    };
    let mut options = PlanOptions::new(Role::Receive, endpoint);
    options.socket = SocketOptions {
        send_buffer: spec.send_buffer,
        receive_buffer: spec.receive_buffer,
        no_delay: spec.no_delay,
        cork: false,
        max_segment: None,
        keepalive: spec.keepalive,
        dont_route: spec.dont_route,
        priority: spec.priority,
        type_of_service: spec.type_of_service,
        congestion_control: spec.congestion_control.clone(),
    };
    options.message_bytes = spec.receive_bytes.unwrap_or(options.message_bytes);
    options.receive_grace = GRACE;
    options.engine = defaults.engine;
    options.core = spec.cpu.and_then(|cpu| usize::try_from(cpu).ok()).or(defaults.core);
    (options.length, options.connect_timeout) = match spec.length {
        proto::Length::Bytes(bytes) => (Length::Bytes(bytes), UNTIMED_CONNECT),
        proto::Length::Endless => (Length::Endless, UNTIMED_CONNECT),
        proto::Length::Seconds(seconds) => {
            let time = Duration::from_secs(seconds.into());
            (Length::Time(time), time + GRACE)
        }
    };
    Plan::new(options)
}

/// What the peer is told before it connects: the port and buffers in force.
pub(crate) fn offer(spec: &proto::TestSpec, plan: &Plan, prepared: &Prepared) -> proto::Offer {
    let buffers = prepared.buffers();
    proto::Offer {
        port: prepared.local().port(),
        send_buffer: buffers.send,
        receive_buffer: buffers.receive,
        receive_bytes: plan.options().message_bytes,
        send_bytes: plan.options().message_bytes,
        no_delay: spec.no_delay,
        priority: spec.priority,
        type_of_service: spec.type_of_service,
    }
}

/// The errno a peer is told for an error of the engine.
pub(crate) fn errno(error: &Error) -> i32 {
    error.errno().unwrap_or(EIO)
}

/// What the machine is told after a run: figures, or the errno the data connection died of.
pub(crate) fn ran(spec: &proto::TestSpec, outcome: &Outcome) -> proto::ServerInput {
    match outcome.end {
        End::Failed(errno) => proto::ServerInput::Failed { errno },
        End::Count | End::DrainTimeout | End::NoConnection | End::PeerClosed | End::Stopped | End::Timer => {
            proto::ServerInput::Ran(results(spec, outcome), Some(report(outcome)))
        }
    }
}

fn results(spec: &proto::TestSpec, outcome: &Outcome) -> proto::Results {
    let reported = reported(spec, outcome);
    let cpu = spec.measure_cpu.then(|| cpu(outcome, reported)).flatten();
    let transport = outcome.transport.as_ref();
    proto::Results {
        bytes_received: outcome.tally.bytes_received,
        receives: outcome.tally.receives,
        bytes_sent: outcome.tally.bytes_sent,
        sends: outcome.tally.messages_sent,
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

/// The time the peer is told: where our own timer ended a timed test the grace was not part of it.
fn reported(spec: &proto::TestSpec, outcome: &Outcome) -> Duration {
    let timed = matches!(spec.length, proto::Length::Seconds(_));
    if timed && matches!(outcome.end, End::NoConnection | End::Timer) {
        outcome.elapsed.saturating_sub(GRACE)
    } else {
        outcome.elapsed
    }
}

fn cpu(outcome: &Outcome, reported: Duration) -> Option<proto::CpuReport> {
    let found = utilisation(&outcome.machine_cpu, outcome.elapsed, reported)?;
    Some(proto::CpuReport {
        utilisation: found.busy as f32,
        user: found.user as f32,
        system: found.system as f32,
        iowait: found.iowait as f32,
        irq: found.irq as f32,
        softirq: found.softirq as f32,
        method: METHOD_PROC_STAT,
        cpus: u32::try_from(found.cpus).unwrap_or(u32::MAX),
        peak_cpu: i32::try_from(found.peak_cpu).unwrap_or(-1),
        peak_utilisation: found.peak as f32,
    })
}

/// What a ringperf client may ask for after the results.
fn report(outcome: &Outcome) -> proto::NativeReport {
    let facts = &outcome.facts;
    let tally = &outcome.tally;
    let uring = facts.uring.as_ref();
    proto::NativeReport {
        engine: match facts.engine {
            Engine::Classic => engine::CLASSIC,
            Engine::Epoll => engine::EPOLL,
            Engine::Uring => engine::IO_URING,
        },
        setup_bits: uring.map_or(0, |uring| uring.setup_bits),
        features: features(facts),
        core: facts.core.pinned.and_then(|core| i32::try_from(core).ok()).unwrap_or(-1),
        arena_backing: backing_word(facts.arena_backing),
        degraded: u32::try_from(facts.degraded.len()).unwrap_or(u32::MAX),
        worker_cpu_ns: nanoseconds(outcome.worker_cpu.total),
        worker_user_ns: nanoseconds(outcome.worker_cpu.user),
        worker_system_ns: nanoseconds(outcome.worker_cpu.system),
        elapsed_ns: nanoseconds(outcome.elapsed),
        wakeups: tally.operations.wakeups,
        completions: tally.operations.completions,
        receives_buffer_ring: tally.operations.receives_buffer_ring,
        receives_single: tally.operations.receives_single,
        receives_syscall: tally.operations.receives_syscall,
        no_buffers: tally.operations.no_buffers,
        receive_buffer_start: facts.buffers_granted.receive,
        receive_buffer_end: outcome.buffers_at_end.receive,
        lacking: facts.degraded.iter().fold(0, |bits, lack| bits | lacking_bit(lack.feature)),
    }
}

/// What a report can say was lacking: its bit, and the engine's name for it. Options of the data socket share
/// a bit and go by the kernel's own names.
const LACKING: &[(u32, &str)] = &[
    (degraded::IO_URING, "io_uring"),
    (degraded::DEFER_TASKRUN, "DEFER_TASKRUN"),
    (degraded::SINGLE_ISSUER, "SINGLE_ISSUER"),
    (degraded::COOP_TASKRUN, "COOP_TASKRUN"),
    (degraded::SUBMIT_ALL, "SUBMIT_ALL"),
    (degraded::REGISTERED_RING, "registered ring descriptor"),
    (degraded::REGISTERED_FILES, "registered files"),
    (degraded::REGISTERED_BUFFERS, "registered send buffers"),
    (degraded::BUFFER_RING, "provided-buffer ring"),
    (degraded::MULTISHOT, "multishot receive"),
    (degraded::BUNDLES, "receive bundles"),
    (degraded::PINNED_WORKER, "pinned worker"),
    (degraded::CORE_ASKED_FOR, "core asked for"),
    (degraded::DATA_ADDRESS, "requested data address"),
    (degraded::SOCKET_OPTION, "a socket option"),
    (degraded::ORDERLY_TEARDOWN, "orderly teardown"),
];

/// The name for [`degraded::OTHER`], and for bits of a later list.
const LACKING_OTHER: &str = "a feature without a name here";

fn lacking_bit(feature: &str) -> u32 {
    let is_option = feature.starts_with("SO_") || feature.starts_with("TCP_") || feature == "type of service";
    match LACKING.iter().find(|(_, name)| *name == feature) {
        Some((bit, _)) => *bit,
        None if is_option => degraded::SOCKET_OPTION,
        None => degraded::OTHER,
    }
}

/// Names of what a report says was lacking. Never empty where it counts anything.
pub(crate) fn lacking(report: &proto::NativeReport) -> Vec<&'static str> {
    let named: u32 = LACKING.iter().fold(0, |bits, (bit, _)| bits | bit);
    let known = LACKING.iter().filter(|(bit, _)| report.lacking & bit != 0).map(|(_, name)| *name);
    let unnamed = report.lacking & !named != 0 || (report.lacking == 0 && report.degraded > 0);
    known.chain(unnamed.then_some(LACKING_OTHER)).collect()
}

fn backing_word(backing: Backing) -> u32 {
    match backing {
        Backing::SmallPages => 0,
        Backing::TransparentHugePages => 1,
        Backing::HugePages => 2,
    }
}

/// The memory behind a report's arena; `None` for a word of a later list.
pub(crate) fn backing(report: &proto::NativeReport) -> Option<Backing> {
    [Backing::SmallPages, Backing::TransparentHugePages, Backing::HugePages]
        .into_iter()
        .find(|backing| backing_word(*backing) == report.arena_backing)
}

fn features(facts: &Facts) -> u32 {
    let ring = |bit: u32, granted: fn(&UringFacts) -> bool| {
        if facts.uring.as_ref().is_some_and(granted) { bit } else { 0 }
    };
    ring(feature::REGISTERED_FILES, |uring| uring.registered_files)
        | ring(feature::REGISTERED_RING, |uring| uring.registered_ring)
        | ring(feature::REGISTERED_BUFFERS, |uring| uring.registered_buffers)
        | ring(feature::BUFFER_RING, |uring| uring.buffer_ring_entries > 0)
        | ring(feature::MULTISHOT, |uring| uring.multishot)
        | ring(feature::BUNDLES, |uring| uring.bundles)
        | if facts.core.verified { feature::CORE_VERIFIED } else { 0 }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lacking_is_named_across_the_wire() {
        let report = |features: &[&str]| proto::NativeReport {
            lacking: features.iter().fold(0, |bits, feature| bits | lacking_bit(feature)),
            degraded: u32::try_from(features.len()).expect("a few"),
            ..proto::NativeReport::default()
        };
        let names: Vec<&str> = LACKING.iter().map(|(_, name)| *name).collect();
        let all: Vec<&str> = names.iter().copied().filter(|name| *name != "a socket option").collect();
        assert_eq!(lacking(&report(&all)), all);
        assert_eq!(lacking(&report(&["SO_PRIORITY", "TCP_CONGESTION"])), ["a socket option"]);
        assert_eq!(lacking(&report(&["io_uring", "news"])), ["io_uring", LACKING_OTHER]);
        assert!(lacking(&report(&[])).is_empty());
        let counted = proto::NativeReport { degraded: 1, ..proto::NativeReport::default() };
        assert_eq!(lacking(&counted), [LACKING_OTHER]);
    }

    #[test]
    fn every_bit_of_the_list_is_one_bit_and_has_one_name() {
        let bits = LACKING.iter().fold(degraded::OTHER, |seen, (bit, name)| {
            assert!(bit.is_power_of_two() && seen & bit == 0, "{name}");
            seen | bit
        });
        assert_eq!(bits.count_ones() as usize, LACKING.len() + 1);
    }

    #[test]
    fn memory_is_named_across_the_wire() {
        for kind in [Backing::SmallPages, Backing::TransparentHugePages, Backing::HugePages] {
            let report =
                proto::NativeReport { arena_backing: backing_word(kind), ..proto::NativeReport::default() };
            assert_eq!(backing(&report), Some(kind));
        }
        assert_eq!(backing(&proto::NativeReport { arena_backing: 9, ..Default::default() }), None);
    }
}
