//! What a run at the netserver becomes for a ringperf client that asks after it, and how such a client names
//! what it is told.
//!
//! Pure. What there is to tell is declared in [`ringperf_proto::native`]; each list of bits here has one name
//! for each bit and is read in both directions.

use std::time::Duration;

use ringperf_engine::Outcome;
use ringperf_engine::facts::{Backing, Engine, UringFacts};
use ringperf_engine::plan::{Protocol, SendPath};
use ringperf_proto as proto;
use ringperf_proto::native::{degraded, engine, feature};

use super::protocol;

/// What a ringperf client may ask for after the results.
pub(super) fn of(test: proto::Test, outcome: &Outcome) -> proto::Report {
    proto::Report { base: base(outcome), detail: Some(detail(test, outcome)) }
}

fn base(outcome: &Outcome) -> proto::NativeReport {
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
        features: features(outcome),
        core: super::first_core(facts).and_then(|core| i32::try_from(core).ok()).unwrap_or(-1),
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
        low_water_bytes: outcome.low_water.map_or(0, |used| used.mark_bytes),
        lacking: facts.degraded.iter().fold(0, |bits, lack| bits | lacking_bit(lack.feature)),
    }
}

/// What version 2 of our messages adds.
fn detail(test: proto::Test, outcome: &Outcome) -> proto::NativeDetail {
    let tally = &outcome.tally;
    let low_water = outcome.low_water.unwrap_or_default();
    let spread = outcome.spread;
    proto::NativeDetail {
        workers: u32::try_from(outcome.workers.len()).unwrap_or(u32::MAX),
        flows: spread.flows,
        flow_bytes_min: spread.bytes_min,
        flow_bytes_max: spread.bytes_max,
        fairness_millionths: millionths(spread.fairness),
        receive_buffer_enlarged: u32::try_from(low_water.enlarged_bytes).unwrap_or(u32::MAX),
        bytes_received: tally.bytes_received,
        bytes_sent: tally.bytes_sent,
        receives: tally.receives,
        datagrams: if protocol(test) == Protocol::Udp { tally.receives } else { 0 },
        coalesced_receives: tally.operations.coalesced_receives,
        socket_drops: outcome.drops.map(|drops| drops.socket),
        receive_buffer_errors: outcome.drops.and_then(|drops| drops.receive_buffer_errors),
        messages_sent: tally.messages_sent,
        segmented_sends: tally.operations.segmented_sends,
        zero_copy_sends: tally.operations.zero_copy_sends,
        zero_copy_copied: tally.operations.zero_copy_copied,
        low_water_changes: low_water.changes,
        low_water_expired: low_water.expired,
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
    (degraded::SEND_BUNDLES, "send bundles"),
    (degraded::ZERO_COPY, "zero-copy send"),
    (degraded::SEGMENTATION, "UDP segmentation (GSO)"),
    (degraded::COALESCING, "UDP coalescing (GRO)"),
    (degraded::MINIMUM_WAIT, "minimum wait"),
    (degraded::DROP_COUNTER, "socket drop counter"),
    (degraded::BUSY_POLL, BUSY_POLL),
];

/// The one of them that the netserver leaves out, and not the engine.
pub(super) const BUSY_POLL: &str = "busy polling";

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

fn features(outcome: &Outcome) -> u32 {
    let facts = &outcome.facts;
    let bit = |bit: u32, in_force: bool| if in_force { bit } else { 0 };
    let ring =
        |flag: u32, granted: fn(&UringFacts) -> bool| bit(flag, facts.uring.as_ref().is_some_and(granted));
    ring(feature::REGISTERED_FILES, |uring| uring.registered_files)
        | ring(feature::REGISTERED_RING, |uring| uring.registered_ring)
        | ring(feature::REGISTERED_BUFFERS, |uring| uring.registered_buffers)
        | ring(feature::BUFFER_RING, |uring| uring.buffer_ring_entries > 0)
        | ring(feature::MULTISHOT, |uring| uring.multishot)
        | ring(feature::BUNDLES, |uring| uring.bundles)
        | bit(feature::CORE_VERIFIED, facts.cores.iter().all(|core| core.verified))
        | bit(feature::SEGMENTATION, outcome.tally.operations.segmented_sends > 0)
        | bit(feature::ZERO_COPY, outcome.tally.operations.zero_copy_sends > 0)
        | ring(feature::SEND_BUNDLES, |uring| uring.send_path == Some(SendPath::Bundle))
        | bit(feature::COALESCING, facts.coalescing)
        | if outcome.longest_gather > Duration::ZERO {
            ring(feature::MINIMUM_WAIT, |uring| uring.minimum_wait)
        } else {
            0
        }
}

#[expect(clippy::as_conversions, reason = "a float between two integers is one")]
fn millionths(share: f64) -> u32 {
    (share * 1e6).round().clamp(0.0, 1e6) as u32
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
        assert_eq!(usize::try_from(bits.count_ones()), Ok(LACKING.len() + 1));
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
