//! From finished runs to what netperf prints of them, and to the record that is kept beside it.
//!
//! Decides which run and which mean each column shows; the columns themselves are in `tables`.

use std::net::SocketAddr;
use std::time::Instant;

use ringperf_engine::EngineChoice;
use ringperf_engine::facts::SocketBuffers;
use ringperf_engine::plan::{Protocol, Role};
use ringperf_proto::Length;

use super::confidence::{Confidence, Iteration};
use super::measure::Run;
use super::options::{Directions, Pair};
use super::plan::Course;
use super::tables::{Layout, Place, TcpEnd, TcpTable, UdpTable};
use super::units::Unit;
use crate::bridge;
use crate::client::interrupt::signal_name;
use crate::record::{self, Asked, AskedEnd, Contact, Measured, Netserver, Record};

/// What confidence is built on.
pub(crate) fn iteration(course: &Course<'_>, run: &Run) -> Iteration {
    Iteration {
        throughput: unit(course).rate(run.result_bytes(), run.elapsed),
        elapsed: run.elapsed,
        local: run.local_load(course.options),
        remote: run.remote_load(),
    }
}

/// Everything behind the banner. Counts are those of the last run, rates and CPU figures means of all of
/// them; `failed_sends` is of all runs.
pub(crate) fn result(course: &Course<'_>, last: &Run, confidence: &Confidence, failed_sends: u64) -> String {
    let options = course.options;
    let layout = Layout {
        verbosity: options.verbosity,
        headers: options.headers,
        unit: unit(course),
        brand: options.brand.as_deref().unwrap_or_default(),
        local_cpu: options.measure_cpu.local,
        remote_cpu: options.measure_cpu.remote,
    };
    let means = confidence.means().unwrap_or_else(|| iteration(course, last));
    let table = match bridge::protocol(course.test) {
        Protocol::Tcp => tcp(course, last, &means).render(&layout),
        Protocol::Udp => udp(course, last, &means, failed_sends).render(&layout),
    };
    confidence.warning().unwrap_or_default() + &table
}

fn unit(course: &Course<'_>) -> Unit {
    Unit::from_letter(Some(course.options.unit).filter(|letter| *letter != '\0'))
}

fn tcp(course: &Course<'_>, last: &Run, means: &Iteration) -> TcpTable {
    let (alignment, offset) = (course.options.alignment, course.options.offset);
    let places = |alignment: Directions<i32>, offset: Directions<i32>| Pair {
        local: Place { alignment: alignment.send, offset: offset.send },
        remote: Place { alignment: alignment.receive, offset: offset.receive },
    };
    let (ours, theirs) = (places(alignment.local, offset.local), places(alignment.remote, offset.remote));
    let tally = last.outcome.as_ref().map(|outcome| outcome.tally).unwrap_or_default();
    let results = last.remote.as_ref().map(|remote| &remote.results);
    let role = last.plan.role;
    let (local_bytes, local_calls, remote_bytes, remote_calls) = match role {
        Role::Receive | Role::Respond => (
            tally.bytes_received,
            tally.receives,
            results.map_or(0, |results| results.bytes_sent),
            results.map_or(0, |results| results.sends),
        ),
        Role::Request | Role::Send => (
            // netperf counts whole messages; one that the end of the time cut short is not among them.
            tally.messages_sent.saturating_mul(last.plan.message_bytes.into()),
            tally.messages_sent,
            results.map_or(0, |results| results.bytes_received),
            results.map_or(0, |results| results.receives),
        ),
    };
    let end = |buffers: SocketBuffers, places: Pair<Place>, load, bytes, calls| TcpEnd {
        buffers,
        send_place: places.local,
        receive_place: places.remote,
        load,
        bytes,
        calls,
    };
    TcpTable {
        role,
        message_bytes: match role {
            Role::Receive | Role::Respond => last.remote.as_ref().and_then(|remote| remote.offer.send_bytes),
            Role::Request | Role::Send => Some(course.shown_send_bytes()),
        },
        elapsed: means.elapsed,
        rate: means.throughput,
        local: end(course.buffers, ours, means.local, local_bytes, local_calls),
        remote: end(last.remote_buffers(), theirs, means.remote, remote_bytes, remote_calls),
        segment_bytes: last
            .outcome
            .as_ref()
            .and_then(|outcome| Some(outcome.transport.as_ref()?.segment_bytes)),
    }
}

fn udp(course: &Course<'_>, last: &Run, means: &Iteration, failed_sends: u64) -> UdpTable {
    let tally = last.outcome.as_ref().map(|outcome| outcome.tally).unwrap_or_default();
    let rate = |bytes: u64| unit(course).rate(bytes, last.elapsed);
    UdpTable {
        send_buffer: course.buffers.send,
        receive_buffer: last.remote_buffers().receive,
        message_bytes: course.shown_send_bytes(),
        elapsed: means.elapsed,
        sent: tally.messages_sent,
        failed_sends,
        received: last.remote.as_ref().map_or(0, |remote| remote.results.receives),
        send_rate: rate(tally.bytes_sent),
        receive_rate: rate(last.result_bytes()),
        local_load: means.local,
        remote_load: means.remote,
    }
}

/// The record of a run; `None` where there is no netserver whose figures it could hold, or no connection.
pub(crate) fn record(
    course: &Course<'_>,
    control_peer: Option<SocketAddr>,
    run: &Run,
    begun: Instant,
) -> Option<Record> {
    let (control, remote, outcome) = (control_peer?, run.remote.as_ref()?, run.outcome.clone()?);
    let options = course.options;
    let command: Vec<String> =
        options.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    Some(record::build(Measured {
        test: course.test,
        command: &command,
        begun: (begun, run.started),
        contact: Contact {
            host: Some(super::netserver_name(options).to_owned()),
            control,
            netserver: Netserver::Unknown,
        },
        asked: asked(course),
        plan: &run.plan,
        offer: &remote.offer,
        outcome,
        results: &remote.results,
        report: None,
        report_missing: None,
        interrupted: run.signal.map(signal_name),
    }))
}

fn asked(course: &Course<'_>) -> Asked {
    let options = course.options;
    let (seconds, bytes) = match options.length {
        Length::Bytes(bytes) => (None, Some(bytes)),
        Length::Endless | Length::Transactions(_) => (None, None),
        Length::Seconds(seconds) => (Some(seconds), None),
    };
    let sends = options.request_bytes;
    let core = |cpu: Option<u32>| cpu.and_then(|cpu| usize::try_from(cpu).ok());
    let port = |port: u16| Some(port).filter(|port| *port != 0);
    let (send, receive, buffers) = (options.send_bytes, options.receive_bytes, options.socket_buffer);
    let end = |message_bytes, buffers: Directions<Option<u32>>, data_port, cpu| AskedEnd {
        message_bytes,
        send_buffer: buffers.send,
        receive_buffer: buffers.receive,
        data_port: port(data_port),
        cores: core(cpu).into_iter().collect(),
    };
    let (ours, theirs) = (course.local.address().port(), course.remote.address().port());
    let (sender, receiver) = match super::plan::role(course.test) {
        Role::Receive | Role::Respond => (
            end(options.response_bytes.or(send.remote), buffers.remote, theirs, options.cpu.remote),
            end(options.response_bytes.or(receive.local), buffers.local, ours, options.cpu.local),
        ),
        Role::Request | Role::Send => (
            end(sends.or(send.local), buffers.local, ours, options.cpu.local),
            end(sends.or(receive.remote), buffers.remote, theirs, options.cpu.remote),
        ),
    };
    let engine = match course.engine {
        EngineChoice::Auto => "auto",
        EngineChoice::Classic => "classic",
        EngineChoice::Epoll => "epoll",
        EngineChoice::Uring => "uring",
    };
    Asked { seconds, bytes, sender, receiver, engine, ..Asked::default() }
}
