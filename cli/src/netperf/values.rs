//! A finished test as selectors see it: every fact of it under one roof.
//!
//! Decides which figure each is; how it is printed, the selectors know.

use ringperf_engine::Outcome;
use ringperf_engine::plan::{Protocol, Role};

use super::confidence::Confidence;
use super::facts::identifier;
use super::histogram::Figures;
use super::measure::{Remote, Run};
use super::plan::Course;
use super::resolve::number;
use super::selectors::{self, BufferSizes, Cpu, End, Values};
use super::tables::{MachineLoad, method_letter};
use super::units::Unit;
use crate::bridge::METHOD_PROC_STAT;
use crate::netperf_cpu::{online, utilisation};

/// What netperf says of the congestion control of a connected socket that has none.
const OF_TCP_ONLY: &str = "TCP Only";

/// What netperf shows for an option of a socket that the kernel refused.
const REFUSED: i32 = -2;

/// What it shows for segments sent again where it has no netserver to ask.
const NOBODY_TOLD: i64 = -2;

/// Everything about `last` and the iterations before it. `names_congestion_control`: somebody wants to know.
pub(crate) fn values(
    course: &Course<'_>,
    last: &Run,
    confidence: &Confidence,
    latency: Option<Figures>,
    names_congestion_control: bool,
) -> Values {
    let options = course.options;
    let means = confidence.means().unwrap_or_else(|| super::report::iteration(course, last));
    let transactions = last.transactions();
    let in_flight = if course.traffic.each { 1.0 } else { f64::from(options.first_burst) + 1.0 };
    let of_transactions = course.traffic.is_of_transactions();
    let round_trip = last.elapsed.as_secs_f64() * 1e6 / transactions.max(1) as f64 * in_flight;
    let asked = options.confidence;
    Values {
        socket_type: match course.name.traffic().protocol {
            Protocol::Tcp => "Stream",
            Protocol::Udp => "Datagram",
        },
        protocol: match course.traffic.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        },
        direction: course.traffic.direction(),
        elapsed: means.elapsed,
        throughput: means.throughput,
        throughput_unit: course.unit.word(),
        demand_unit: if course.unit == Unit::Transactions { "usec/Tran" } else { "usec/KB" },
        request_bytes: options.request_bytes,
        response_bytes: options.response_bytes,
        confidence: selectors::Confidence {
            level_percent: asked.level,
            width_percent: (asked.level > 0).then_some(asked.width),
            iterations: confidence.iterations(),
            achieved: (asked.max > 1).then(|| confidence.widths()),
        },
        transaction_rate: if of_transactions {
            Unit::Transactions.rate(transactions, last.elapsed)
        } else {
            1.0
        },
        round_trip_us: of_transactions.then_some(round_trip),
        burst: options.first_burst,
        segment_bytes: last.segment_bytes(),
        latency,
        brand: options.brand.clone(),
        uuid: identifier(options),
        command_line: {
            let words: Vec<_> = options.command.iter().map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        },
        local: local(course, last, means.local, names_congestion_control),
        remote: remote(course, last, means.remote, names_congestion_control),
    }
}

/// The unit of payload either way, which is never transactions.
fn payload_rate(course: &Course<'_>, bytes: u64, run: &Run) -> f64 {
    let unit = if course.unit == Unit::Transactions { Unit::Megabits } else { course.unit };
    unit.rate(bytes, run.elapsed)
}

fn local(course: &Course<'_>, last: &Run, load: Option<MachineLoad>, names: bool) -> End {
    let options = course.options;
    let outcome = last.outcome.as_ref();
    let tally = outcome.map(|outcome| outcome.tally).unwrap_or_default();
    let role = course.traffic.role();
    let bytes_sent = match role {
        // A message that the end of the time cut short is not among those sent.
        Role::Send => tally.messages_sent.saturating_mul(last.plan.message_bytes.into()),
        Role::Receive | Role::Request | Role::Respond => tally.bytes_sent,
    };
    // A connection that carries one transaction is over before its buffers grow.
    let at_end = match outcome {
        Some(outcome) if !course.traffic.each => outcome.buffers_at_end,
        _ => course.buffers,
    };
    let sizes = |requested, initial, at_end| BufferSizes { requested, initial, at_end: Some(at_end) };
    let asked = options.socket_buffer.local;
    let transport = outcome.and_then(|outcome| outcome.transport.as_ref());
    let widths = course.widths();
    let class = outcome.map(|outcome| outcome.facts.packet_class).unwrap_or_default();
    let type_of_service = options.type_of_service.local.map(i32::from);
    End {
        port: options.data_port.local.clone(),
        host: course.written.local.clone(),
        family: number(options.data.local.family),
        send_buffer: sizes(asked.send, course.buffers.send, at_end.send),
        receive_buffer: sizes(asked.receive, course.buffers.receive, at_end.receive),
        send_bytes: Some(course.shown_send_bytes()),
        receive_bytes: Some(course.shown_receive_bytes()),
        cpu: local_cpu(last, load),
        cpu_bind: options.cpu.local,
        // Of connections that have come and gone there is none left to ask.
        retransmits: transport
            .filter(|_| !course.traffic.each)
            .map_or(-1, |transport| transport.retransmits.into()),
        send_rate: payload_rate(course, bytes_sent, last),
        receive_rate: payload_rate(course, tally.bytes_received, last),
        sends: tally.messages_sent,
        receives: tally.receives,
        bytes_sent,
        bytes_received: tally.bytes_received,
        bytes_assumed: 0,
        send_alignment: options.alignment.local.send,
        receive_alignment: options.alignment.local.receive,
        send_offset: options.offset.local.send,
        receive_offset: options.offset.local.receive,
        send_width: widths.send,
        receive_width: widths.receive,
        no_delay: Some(options.no_delay),
        cork: options.cork,
        interval_us: options.interval_us.local,
        interval_burst: options.burst.local,
        priority: in_force(outcome, "SO_PRIORITY", options.priority.local, class.priority),
        type_of_service: in_force(outcome, "type of service", type_of_service, class.type_of_service),
        congestion_control: match (names, transport) {
            // netperf asks at the end, when a connection of one transaction is gone.
            (true, Some(transport)) if !course.traffic.each => transport.congestion_control.clone(),
            (true, None) if options.connected_udp => OF_TCP_ONLY.to_owned(),
            _ => String::new(),
        },
        fill_file: options
            .local_fill_file
            .as_ref()
            .map(|file| file.to_string_lossy().into_owned())
            .unwrap_or_default(),
    }
}

/// What an option of our socket is in netperf's numbers. What was asked for and not set, a type of service of
/// 0, is shown as it was asked for.
fn in_force(outcome: Option<&Outcome>, feature: &str, asked: Option<i32>, granted: Option<i32>) -> i32 {
    let lacks = |outcome: &Outcome| outcome.facts.degraded.iter().any(|lack| lack.feature == feature);
    match asked {
        Some(_) if outcome.is_some_and(lacks) => REFUSED,
        asked => granted.or(asked).unwrap_or(-1),
    }
}

fn remote(course: &Course<'_>, last: &Run, load: Option<MachineLoad>, names: bool) -> End {
    let options = course.options;
    let Some(Remote { offer, results }) = &last.remote else { return nobody(course, last) };
    let buffers = last.remote_buffers();
    let asked = options.socket_buffer.remote;
    let sizes = |requested, initial, at_end: Option<u32>| BufferSizes {
        requested,
        initial,
        at_end: Some(at_end.unwrap_or(initial)),
    };
    End {
        port: options.data_port.remote.clone(),
        host: course.written.remote.clone(),
        family: number(course.remote.family()),
        send_buffer: sizes(asked.send, buffers.send, results.send_buffer),
        receive_buffer: sizes(asked.receive, buffers.receive, results.receive_buffer),
        send_bytes: offer.send_bytes,
        receive_bytes: offer.receive_bytes,
        cpu: remote_cpu(last, load),
        cpu_bind: options.cpu.remote,
        retransmits: match (course.traffic.protocol, results.retransmits) {
            (Protocol::Tcp, Some(count)) => count.into(),
            _ => -1,
        },
        send_rate: payload_rate(course, results.bytes_sent, last),
        receive_rate: payload_rate(course, results.bytes_received, last),
        sends: results.sends,
        receives: results.receives,
        bytes_sent: results.bytes_sent,
        bytes_received: results.bytes_received,
        bytes_assumed: 0,
        send_alignment: options.alignment.remote.send,
        receive_alignment: options.alignment.remote.receive,
        send_offset: options.offset.remote.send,
        receive_offset: options.offset.remote.receive,
        send_width: offer.send_width,
        receive_width: offer.receive_width,
        no_delay: Some(offer.no_delay),
        cork: options.cork,
        interval_us: options.interval_us.remote,
        interval_burst: options.burst.remote,
        priority: offer.priority.unwrap_or(-1),
        type_of_service: offer.type_of_service.unwrap_or(-1),
        congestion_control: results.congestion_control.clone().filter(|_| names).unwrap_or_default(),
        fill_file: options.remote_fill_file.clone().unwrap_or_default(),
    }
}

/// The other end where no netserver is: what netperf has of it is what it would have asked for.
fn nobody(course: &Course<'_>, last: &Run) -> End {
    let options = course.options;
    let buffer = BufferSizes { requested: None, initial: 0, at_end: None };
    End {
        port: options.data_port.remote.clone(),
        host: course.written.remote.clone(),
        family: number(options.data.remote.family),
        send_buffer: buffer,
        receive_buffer: buffer,
        retransmits: NOBODY_TOLD,
        bytes_assumed: last.outcome.as_ref().map_or(0, |outcome| outcome.tally.bytes_sent),
        send_alignment: options.alignment.remote.send,
        receive_alignment: options.alignment.remote.receive,
        send_offset: options.offset.remote.send,
        receive_offset: options.offset.remote.receive,
        no_delay: None,
        cork: options.cork,
        ..End::new(Cpu::WITHOUT_NETSERVER)
    }
}

fn local_cpu(last: &Run, load: Option<MachineLoad>) -> Cpu {
    let used = |outcome: &Outcome| utilisation(&outcome.machine_cpu, last.elapsed, last.elapsed);
    let (Some(load), Some(used)) = (load, last.outcome.as_ref().and_then(used)) else {
        return Cpu::UNMEASURED_HERE;
    };
    Cpu {
        utilisation: load.utilisation_percent,
        user: used.user,
        system: used.system,
        iowait: used.iowait,
        irq: used.irq,
        softirq: used.softirq,
        method: Some(method_letter(METHOD_PROC_STAT)),
        service_demand: load.service_demand,
        cpus: u32::try_from(used.cpus).unwrap_or(u32::MAX),
        peak: used.peak,
        peak_cpu: i32::try_from(used.peak_cpu).unwrap_or(i32::MAX),
    }
}

fn remote_cpu(last: &Run, load: Option<MachineLoad>) -> Cpu {
    let told = last.remote.as_ref().and_then(|remote| remote.results.cpu.as_ref());
    let (Some(load), Some(told)) = (load, told) else { return Cpu::UNMEASURED_THERE };
    Cpu {
        utilisation: load.utilisation_percent,
        user: told.user.into(),
        system: told.system.into(),
        iowait: told.iowait.into(),
        irq: told.irq.into(),
        softirq: told.softirq.into(),
        method: Some(method_letter(load.method)),
        service_demand: load.service_demand,
        cpus: if told.cpus == 0 { online() } else { told.cpus },
        peak: told.peak_utilisation.into(),
        peak_cpu: told.peak_cpu,
    }
}
