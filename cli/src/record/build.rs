//! From what a run left behind to its record: both ends' figures side by side, whichever of them was ours.
//!
//! The one place that reads engine outcomes, netserver results and native reports together. Pure, and the
//! same for every program that measures.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use ringperf_engine::facts::Engine;
use ringperf_engine::outcome::{FlowSpread, Operations};
use ringperf_engine::plan::{Protocol, Role};
use ringperf_engine::{Outcome, PlanOptions};
use ringperf_proto::native::{engine, feature};
use ringperf_proto::{NativeDetail, NativeReport, RemoteOffer, RemoteResults, Report, Test};

use super::rules::{self, Evidence};
use super::{
    Asked, BufferSizes, CLASSIC, End, LatencyFigures, MachineCost, Netserver, RECORD_VERSION,
    REGISTERED_BUFFERS, Record, RemoteFacts, Side, StreamResult, Target, Times, Tool, Transactions,
    WorkerCost, WorkerCpu, ZeroCopyUse, nanoseconds, ratio, rfc3339,
};
use crate::bridge;
use crate::netperf_cpu::utilisation;

/// Where the netserver was found.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    /// As the user named it; `None` when the netserver was our own.
    pub(crate) host: Option<String>,
    /// Its address of the control connection.
    pub(crate) control: SocketAddr,
    /// What answers there.
    pub(crate) netserver: Netserver,
}

/// Everything that a finished test left behind.
pub(crate) struct Measured<'a> {
    /// The test, by its name at the client.
    pub(crate) test: Test,
    /// The command line, program name included.
    pub(crate) command: &'a [String],
    /// When the command and the data transfer began.
    pub(crate) begun: (Instant, SystemTime),
    /// The netserver.
    pub(crate) contact: Contact,
    /// What was asked for.
    pub(crate) asked: Asked,
    /// What our worker was set up with.
    pub(crate) plan: &'a PlanOptions,
    /// What the netserver offered.
    pub(crate) offer: &'a RemoteOffer,
    /// Our end's run.
    pub(crate) outcome: Outcome,
    /// The netserver's results.
    pub(crate) results: &'a RemoteResults,
    /// What it told beyond them.
    pub(crate) report: Option<Report>,
    /// Why a netserver that has more to tell did not.
    pub(crate) report_missing: Option<String>,
    /// Name of the signal that ended the test.
    pub(crate) interrupted: Option<&'static str>,
}

impl Measured<'_> {
    /// What any ringperf netserver told.
    fn base(&self) -> Option<&NativeReport> {
        self.report.as_ref().map(|report| &report.base)
    }

    /// What one tells since version 2 of our messages.
    fn detail(&self) -> Option<&NativeDetail> {
        self.report.as_ref()?.detail.as_ref()
    }
}

/// The record of a finished test.
pub(crate) fn build(measured: Measured<'_>) -> Record {
    let Measured { asked, outcome, results, offer, contact, .. } = &measured;
    let local = local_end(measured.test);
    let result = result(&measured);
    let ours = local_side(local, &measured);
    let theirs = remote_side(local.other(), &measured);
    let warnings = rules::list(&Evidence {
        test: measured.test,
        local,
        asked,
        outcome,
        result: &result,
        ours: &ours,
        theirs: &theirs,
        remote_lacks: measured.base().map_or_else(Vec::new, bridge::lacking),
        report_missing: measured.report_missing.clone(),
        netserver: contact.netserver,
        remote_seconds: results.elapsed_seconds,
        remote_port: offer.port,
        interrupted: measured.interrupted,
    });
    let (sender, receiver) = match local {
        End::Receiver => (theirs, ours),
        End::Sender => (ours, theirs),
    };
    Record {
        record: RECORD_VERSION,
        tool: Tool::this(),
        command: measured.command.to_vec(),
        time: Times {
            started: rfc3339(measured.begun.1),
            elapsed_ns: nanoseconds(outcome.elapsed),
            connected_after_ns: outcome.connected_after.map(nanoseconds),
            command_ns: nanoseconds(measured.begun.0.elapsed()),
        },
        test: test_name(measured.test),
        local,
        target: Target {
            host: contact.host.clone(),
            embedded: contact.host.is_none(),
            control: contact.control,
            data_local: outcome.local,
            data_peer: outcome.peer,
            netserver: contact.netserver,
        },
        result,
        sender,
        receiver,
        remote_facts: measured.base().map(remote_facts),
        warnings,
        interrupted: measured.interrupted,
        asked: measured.asked,
        local_facts: measured.outcome.facts,
    }
}

/// A test's name in a record: that of netperf, in small letters.
pub(crate) fn test_name(test: Test) -> &'static str {
    match test {
        Test::TcpCc => "tcp_cc",
        Test::TcpCrr => "tcp_crr",
        Test::TcpMaerts => "tcp_maerts",
        Test::TcpRr => "tcp_rr",
        Test::TcpStream => "tcp_stream",
        Test::UdpMaerts => "udp_maerts",
        Test::UdpRr => "udp_rr",
        Test::UdpStream => "udp_stream",
    }
}

/// Our part in a test. The netserver has the other one.
fn local_end(test: Test) -> End {
    match bridge::role(test) {
        Role::Receive | Role::Respond => End::Sender,
        Role::Request | Role::Send => End::Receiver,
    }
}

fn result(measured: &Measured<'_>) -> StreamResult {
    let Measured { test, outcome, results, offer, plan, .. } = measured;
    let test = *test;
    let udp = bridge::protocol(test) == Protocol::Udp;
    let tally = &outcome.tally;
    let ours = outcome.elapsed.as_secs_f64();
    let (bytes_sent, messages_sent, sent_in) = match local_end(test) {
        End::Receiver => {
            let sends = || unwrapped(results.sends, results.bytes_sent, offer.send_bytes);
            let sends = measured.detail().map_or_else(sends, |detail| detail.messages_sent);
            (results.bytes_sent, sends, results.elapsed_seconds.map(f64::from))
        }
        End::Sender => (tally.bytes_sent, tally.messages_sent, Some(ours)),
    };
    let (bytes_received, receives) = match local_end(test) {
        End::Receiver => (tally.bytes_received, tally.receives),
        End::Sender => {
            // Of a stream nothing tells how much a receive returned.
            let each = udp.then(|| plan.message_bytes.min(offer.receive_bytes.unwrap_or(u32::MAX)));
            let receives = || unwrapped(results.receives, results.bytes_received, each);
            let told = |detail: &NativeDetail| if udp { detail.datagrams } else { detail.receives };
            (results.bytes_received, measured.detail().map_or_else(receives, told))
        }
    };
    let lost = messages_sent.saturating_sub(receives);
    let drops = Drops::of(measured);
    let rate = |bytes: u64, seconds| ratio(bytes as f64 * 8.0, seconds);
    StreamResult {
        goodput_bits_per_second: rate(bytes_received, ours).unwrap_or(0.0),
        sent_bits_per_second: sent_in.and_then(|seconds| rate(bytes_sent, seconds)),
        bytes_received,
        bytes_sent,
        messages_sent,
        receives,
        short_sends: tally.short_sends,
        failed_sends: tally.failed_sends,
        loss: if udp { loss(messages_sent, receives) } else { None },
        lost_in_socket: drops.socket,
        receive_buffer_errors: drops.receive_buffer_errors,
        unexplained: drops.unexplained(lost),
        segmented_sends: tally.operations.segmented_sends
            + measured.detail().map_or(0, |detail| detail.segmented_sends),
        coalesced_receives: tally.operations.coalesced_receives
            + measured.detail().map_or(0, |detail| detail.coalesced_receives),
        transactions: transactions(measured),
        zero_copy: zero_copy(measured),
        flows: flows(measured),
        samples: outcome.samples.clone(),
        end: outcome.end,
        transport: outcome.transport.clone(),
        remote_congestion_control: results.congestion_control.clone(),
        remote_retransmits: results.retransmits.and_then(|count| u32::try_from(count).ok()),
    }
}

/// What came of transactions, where the test consists of them.
fn transactions(measured: &Measured<'_>) -> Option<Transactions> {
    let Measured { outcome, results, plan, .. } = measured;
    if plan.role != Role::Request {
        return None;
    }
    let count = outcome.tally.transactions;
    let ours = nanoseconds(outcome.worker_cpu.total);
    let both = measured.base().map(|report| ours.saturating_add(report.worker_cpu_ns));
    Some(Transactions {
        count,
        per_second: ratio(count as f64, outcome.elapsed.as_secs_f64()).unwrap_or(0.0),
        answered: results.transactions,
        cpu_ns: both.and_then(|both| ratio(both as f64, count as f64)),
        latency: outcome.latency.as_ref().and_then(LatencyFigures::of),
    })
}

/// What came of zero-copy sends, at whichever end there were some.
fn zero_copy(measured: &Measured<'_>) -> Option<ZeroCopyUse> {
    let ours = measured.outcome.tally.operations;
    let (sends, copied) = match measured.detail() {
        Some(told) if told.zero_copy_sends > 0 => (told.zero_copy_sends, told.zero_copy_copied),
        _ => (ours.zero_copy_sends, ours.zero_copy_copied),
    };
    let copied_percent = ratio(copied as f64 * 100.0, sends as f64)?;
    Some(ZeroCopyUse { sends, copied_percent })
}

/// The spread over several flows, by the receiver's counts where they are known.
fn flows(measured: &Measured<'_>) -> Option<FlowSpread> {
    let told =
        measured.detail().filter(|_| local_end(measured.test) == End::Sender).map(|detail| FlowSpread {
            flows: detail.flows,
            bytes_min: detail.flow_bytes_min,
            bytes_max: detail.flow_bytes_max,
            fairness: f64::from(detail.fairness_millionths) / 1e6,
        });
    Some(told.unwrap_or(measured.outcome.spread)).filter(|spread| spread.flows > 1)
}

/// A netserver's count, which has 32 bits on the wire, by the bytes that go with it; as it came where it is
/// not known how many there were of them to `each`.
fn unwrapped(count: u64, bytes: u64, each: Option<u32>) -> u64 {
    let expected = each.map_or(count, |each| bytes / u64::from(each.max(1)));
    let turns = expected.saturating_sub(count).saturating_add(1 << 31) >> 32;
    count.saturating_add(turns << 32)
}

/// What the receiver of datagrams tells of those that it did not get.
#[derive(Clone, Copy, Debug, Default)]
struct Drops {
    socket: Option<u64>,
    receive_buffer_errors: Option<u64>,
    /// Each drop may be many datagrams.
    of_many: bool,
}

impl Drops {
    /// Those of a netserver, which is the receiver of all datagrams.
    fn of(measured: &Measured<'_>) -> Self {
        let Some(detail) = measured.detail() else { return Self::default() };
        Self {
            socket: detail.socket_drops,
            receive_buffer_errors: detail.receive_buffer_errors,
            of_many: measured.base().is_some_and(|base| base.features & feature::COALESCING != 0),
        }
    }

    /// How many of those lost the socket did not drop.
    fn unexplained(self, lost: u64) -> Option<u64> {
        let left = lost.saturating_sub(self.socket?);
        (!self.of_many || self.socket == Some(0) || left == 0).then_some(left)
    }
}

/// Share of what was sent that did not arrive; 0 where more arrived than was sent.
fn loss(sent: u64, received: u64) -> Option<f64> {
    ratio(sent.saturating_sub(received) as f64, sent as f64)
}

fn local_side(end: End, measured: &Measured<'_>) -> Side {
    let Measured { outcome, plan, .. } = measured;
    let operations = outcome.tally.operations;
    let facts = &outcome.facts;
    let cpu = WorkerCpu {
        total_ns: nanoseconds(outcome.worker_cpu.total),
        user_ns: nanoseconds(outcome.worker_cpu.user),
        system_ns: nanoseconds(outcome.worker_cpu.system),
        wakeups: (facts.engine != Engine::Classic).then_some(operations.wakeups),
        completions: operations.completions,
    };
    let workers = u32::try_from(outcome.workers.len()).unwrap_or(u32::MAX);
    let bytes = local_bytes(outcome);
    let machine = utilisation(&outcome.machine_cpu, outcome.elapsed, outcome.elapsed);
    let (granted, at_end) = match end {
        End::Receiver => (facts.buffers_granted.receive, outcome.buffers_at_end.receive),
        End::Sender => (facts.buffers_granted.send, outcome.buffers_at_end.send),
    };
    Side {
        engine: Some(engine_name(facts.engine)),
        core: bridge::first_core(facts),
        core_verified: facts.cores.iter().all(|core| core.verified),
        workers: Some(workers),
        worker: WorkerCost::new(cpu, workers, bytes, outcome.connected_for()),
        machine: machine.and_then(|cpu| {
            let cpus = u32::try_from(cpu.cpus).ok()?;
            MachineCost::new(cpu.busy, cpus, bytes, outcome.elapsed)
        }),
        message_bytes: Some(plan.message_bytes),
        socket_buffer: BufferSizes {
            asked: measured.asked.of(end).socket_buffer(end),
            granted: Some(granted),
            end: Some(at_end),
        },
        low_water_bytes: outcome.low_water.map(|used| used.mark_bytes),
        low_water_enlarged_bytes: outcome.low_water.map(|used| used.enlarged_bytes),
        buffer_ring_percent: buffer_ring_percent(operations),
    }
}

fn remote_side(end: End, measured: &Measured<'_>) -> Side {
    let Measured { outcome, offer, results, .. } = measured;
    let report = measured.base();
    let (bytes, message_bytes, granted, at_end) = match end {
        End::Receiver => {
            (results.bytes_received, offer.receive_bytes, offer.receive_buffer, results.receive_buffer)
        }
        End::Sender => (results.bytes_sent, offer.send_bytes, offer.send_buffer, results.send_buffer),
    };
    let workers = measured.detail().map(|detail| detail.workers);
    let worker = report.and_then(|report| {
        let cpu = WorkerCpu {
            total_ns: report.worker_cpu_ns,
            user_ns: report.worker_user_ns,
            system_ns: report.worker_system_ns,
            wakeups: (report.engine != engine::CLASSIC).then_some(report.wakeups),
            completions: report.completions,
        };
        WorkerCost::new(cpu, workers.unwrap_or(1), bytes, Duration::from_nanos(report.elapsed_ns))
    });
    let machine = results.cpu.as_ref().and_then(|cpu| {
        MachineCost::new(f64::from(cpu.utilisation), cpu.cpus, local_bytes(outcome), outcome.elapsed)
    });
    Side {
        engine: report.and_then(|report| match report.engine {
            engine::CLASSIC => Some(engine_name(Engine::Classic)),
            engine::EPOLL => Some(engine_name(Engine::Epoll)),
            engine::IO_URING => Some(engine_name(Engine::Uring)),
            _ => None,
        }),
        core: report.and_then(|report| usize::try_from(report.core).ok()),
        core_verified: report.is_some_and(|report| report.features & feature::CORE_VERIFIED != 0),
        workers,
        worker,
        machine,
        message_bytes,
        socket_buffer: BufferSizes { asked: measured.asked.of(end).socket_buffer(end), granted, end: at_end },
        low_water_bytes: report.map(|report| report.low_water_bytes).filter(|bytes| *bytes > 0),
        low_water_enlarged_bytes: measured
            .detail()
            .filter(|_| report.is_some_and(|report| report.low_water_bytes > 0))
            .map(|detail| u64::from(detail.receive_buffer_enlarged)),
        buffer_ring_percent: report.and_then(|report| {
            buffer_ring_percent(Operations {
                receives_buffer_ring: report.receives_buffer_ring,
                receives_single: report.receives_single,
                receives_syscall: report.receives_syscall,
                ..Operations::default()
            })
        }),
    }
}

/// Payload that passed this end, whichever way.
fn local_bytes(outcome: &Outcome) -> u64 {
    outcome.tally.bytes_sent.saturating_add(outcome.tally.bytes_received)
}

/// `None` for a worker that received nothing.
fn buffer_ring_percent(counted: Operations) -> Option<f64> {
    let receives = [counted.receives_buffer_ring, counted.receives_single, counted.receives_syscall];
    let all: f64 = receives.iter().map(|count| *count as f64).sum();
    ratio(counted.receives_buffer_ring as f64 * 100.0, all)
}

fn remote_facts(report: &NativeReport) -> RemoteFacts {
    RemoteFacts {
        setup_bits: report.setup_bits,
        features: FEATURES
            .iter()
            .filter(|(bit, _)| report.features & bit != 0)
            .map(|(_, name)| *name)
            .collect(),
        elapsed_ns: report.elapsed_ns,
        no_buffers: report.no_buffers,
        arena_backing: bridge::backing(report),
        degraded: bridge::lacking(report),
    }
}

fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Classic => CLASSIC,
        Engine::Epoll => "epoll",
        Engine::Uring => "io_uring",
    }
}

/// Names of the parts of io_uring and of the socket that a report tells of.
const FEATURES: &[(u32, &str)] = &[
    (feature::REGISTERED_FILES, "registered_files"),
    (feature::REGISTERED_RING, "registered_ring"),
    (feature::REGISTERED_BUFFERS, REGISTERED_BUFFERS),
    (feature::BUFFER_RING, "buffer_ring"),
    (feature::MULTISHOT, "multishot"),
    (feature::BUNDLES, "bundles"),
    (feature::ZERO_COPY, "zero_copy"),
    (feature::SEND_BUNDLES, "send_bundles"),
    (feature::SEGMENTATION, "segmentation"),
    (feature::COALESCING, "coalescing"),
    (feature::MINIMUM_WAIT, "minimum_wait"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_a_share_of_what_was_sent() {
        assert_eq!(loss(1000, 1000), Some(0.0));
        assert_eq!(loss(1000, 750), Some(0.25));
        assert_eq!(loss(1000, 0), Some(1.0));
        // A network may double a datagram.
        assert_eq!(loss(1000, 1001), Some(0.0));
        assert_eq!(loss(0, 0), None);
    }

    #[test]
    fn what_the_socket_did_not_drop_is_unexplained() {
        let drops = |socket, of_many| Drops { socket, of_many, ..Drops::default() };
        assert_eq!(drops(None, false).unexplained(5), None);
        assert_eq!(drops(Some(0), false).unexplained(5), Some(5));
        assert_eq!(drops(Some(3), false).unexplained(5), Some(2));
        // The marks of the end get lost, too.
        assert_eq!(drops(Some(9), false).unexplained(5), Some(0));
        assert_eq!(drops(Some(3), true).unexplained(5), None);
        assert_eq!(drops(Some(0), true).unexplained(5), Some(5));
        assert_eq!(drops(Some(5), true).unexplained(5), Some(0));
    }

    #[test]
    fn a_count_of_more_than_32_bits_is_had_from_the_bytes() {
        assert_eq!(unwrapped(1000, 1_472_000, Some(1472)), 1000);
        assert_eq!(unwrapped(1000, 1_472_000, None), 1000);
        let many = (3 << 32) + 1000;
        assert_eq!(unwrapped(1000, many * 1472, Some(1472)), many);
        // Short datagrams, or of strangers: the count is what counts.
        assert_eq!(unwrapped(1000, 500, Some(1472)), 1000);
        assert_eq!(unwrapped(1000, u64::MAX, Some(0)), (u64::MAX >> 32 << 32) + 1000);
    }

    #[test]
    fn the_client_has_the_part_that_the_netserver_has_not() {
        assert_eq!(local_end(Test::TcpStream), End::Sender);
        assert_eq!(local_end(Test::TcpMaerts), End::Receiver);
        assert_eq!(local_end(Test::UdpStream), End::Sender);
    }

    #[test]
    fn a_worker_that_received_nothing_has_no_share() {
        assert_eq!(buffer_ring_percent(Operations::default()), None);
        let half = Operations { receives_buffer_ring: 5, receives_syscall: 5, ..Operations::default() };
        assert_eq!(buffer_ring_percent(half), Some(50.0));
    }
}
