//! From finished runs to what netperf prints of them, and to the record that is kept beside it.
//!
//! Decides which run and which mean each column shows; the columns themselves are in `tables`.

use std::net::SocketAddr;
use std::time::Instant;

use ringperf_engine::EngineChoice;
use ringperf_engine::facts::SocketBuffers;
use ringperf_engine::plan::Role;
use ringperf_proto::Length;

use super::confidence::{Confidence, Goal, Iteration};
use super::histogram::{Histogram, Title};
use super::measure::Run;
use super::options::{Directions, Options, Pair};
use super::plan::{Course, wire_test};
use super::selectors::{self, Selection};
use super::tables::{Layout, MssTable, Place, RrEnd, RrTable, RrTest, TcpEnd, TcpTable, UdpTable};
use super::traffic::TestName;
use super::units::Unit;
use super::values::values;
use crate::client::interrupt::signal_name;
use crate::record::{self, Asked, AskedEnd, AskedTransaction, Contact, Measured, Netserver, Record};

/// What confidence is built on.
pub(crate) fn iteration(course: &Course<'_>, run: &Run) -> Iteration {
    Iteration {
        throughput: run.throughput(course),
        elapsed: run.elapsed,
        local: run.local_load(course),
        remote: run.remote_load(course),
    }
}

/// What is kept of all iterations of a test.
pub(crate) struct Findings {
    /// What the result is the mean of.
    pub(crate) confidence: Confidence,
    failed_sends: u64,
    /// `None`: nothing was timed.
    histogram: Option<Histogram>,
}

impl Findings {
    /// No iteration yet.
    pub(crate) fn new(goal: Goal) -> Self {
        Self { confidence: Confidence::new(goal), failed_sends: 0, histogram: None }
    }

    /// Adds a finished iteration.
    pub(crate) fn add(&mut self, course: &Course<'_>, run: &Run) {
        self.confidence.push(iteration(course, run));
        if let Some(outcome) = &run.outcome {
            self.failed_sends += outcome.tally.failed_sends;
            if let Some(latency) = &outcome.latency {
                self.histogram.get_or_insert_with(Histogram::new).add(latency);
            }
        }
    }

    /// Everything behind the banner, the interim results excluded. Counts are those of the last run, rates
    /// and CPU figures means of all of them, failed sends and the histogram of all of them together.
    pub(crate) fn result(&self, course: &Course<'_>, last: &Run, selection: Option<&Selection>) -> String {
        let options = course.options;
        let mut text = match (selection, &options.selectors) {
            (Some(selection), Some(selectors)) => {
                let latency = self.histogram.as_ref().map(Histogram::figures);
                let names = selection.wants_congestion_control();
                let values = values(course, last, &self.confidence, latency, names);
                selectors::render(selection, selectors.style, &values, options.headers)
            }
            _ => classic(course, last, &self.confidence, self.failed_sends),
        };
        if let Some(histogram) = self.histogram.as_ref().filter(|_| course.has_histogram()) {
            text.push_str(&histogram.text(title(course, selection.is_some())));
        }
        text
    }
}

/// netperf words the title of a histogram for every test anew.
fn title(course: &Course<'_>, by_selectors: bool) -> Title {
    match course.name {
        _ if by_selectors => Title::Omni(course.traffic.direction()),
        TestName::TcpMaerts => Title::TcpReceive,
        TestName::TcpCc | TestName::TcpCrr | TestName::TcpRr => Title::TcpTransactions,
        TestName::UdpRr => Title::UdpTransactions,
        TestName::UdpStream => Title::UdpSend,
        _ => Title::TcpSend,
    }
}

/// The classic table, and the warning before it where confidence was missed.
fn classic(course: &Course<'_>, last: &Run, confidence: &Confidence, failed_sends: u64) -> String {
    let options = course.options;
    let layout = Layout {
        verbosity: options.verbosity,
        headers: options.headers,
        unit: course.unit,
        brand: options.brand.as_deref().unwrap_or_default(),
        local_cpu: options.measure_cpu.local,
        remote_cpu: options.measure_cpu.remote,
    };
    let means = confidence.means().unwrap_or_else(|| iteration(course, last));
    let table = match course.name {
        TestName::TcpCc => rr(course, RrTest::Cc, last, &means).render(&layout),
        TestName::TcpCrr => rr(course, RrTest::Crr, last, &means).render(&layout),
        TestName::TcpRr => rr(course, RrTest::Tcp, last, &means).render(&layout),
        TestName::UdpRr => rr(course, RrTest::Udp, last, &means).render(&layout),
        TestName::TcpMss => MssTable { segment_bytes: last.segment_bytes() }.render(&layout),
        TestName::UdpStream => udp(course, last, &means, failed_sends).render(&layout),
        _ => tcp(course, last, &means).render(&layout),
    };
    confidence.warning().unwrap_or_default() + &table
}

/// The three lines that `DUMP_TCP_INFO` in the environment asks for; `None` without a TCP connection. The
/// misspelt name is netperf's.
pub(crate) fn tcp_info(run: &Run) -> Option<String> {
    let transport = run.outcome.as_ref()?.transport.as_ref()?;
    let info = transport.info;
    Some(format!(
        "tcpi_rto {} tcpi_ato {} tcpi_pmtu {} tcpi_rcv_ssthresh {}\n\
         tcpi_rtt {} tcpi_rttvar {} tcpi_snd_ssthresh {} tpci_snd_cwnd {}\n\
         tcpi_reordering {} tcpi_total_retrans {}",
        info.rto,
        info.ato,
        info.pmtu,
        info.rcv_ssthresh,
        transport.rtt_us,
        info.rttvar,
        info.snd_ssthresh,
        info.snd_cwnd,
        info.reordering,
        transport.retransmits
    ))
}

/// Where the send and the receive buffers of both ends start.
fn places(course: &Course<'_>) -> Pair<Directions<Place>> {
    let (alignment, offset) = (course.options.alignment, course.options.offset);
    let end = |alignment: Directions<i32>, offset: Directions<i32>| Directions {
        send: Place { alignment: alignment.send, offset: offset.send },
        receive: Place { alignment: alignment.receive, offset: offset.receive },
    };
    Pair { local: end(alignment.local, offset.local), remote: end(alignment.remote, offset.remote) }
}

fn rr(course: &Course<'_>, test: RrTest, last: &Run, means: &Iteration) -> RrTable {
    let places = places(course);
    let end = |buffers, places: Directions<Place>, load| RrEnd {
        buffers,
        send_place: places.send,
        receive_place: places.receive,
        load,
    };
    RrTable {
        test,
        request_bytes: course.options.request_bytes,
        response_bytes: course.options.response_bytes,
        elapsed: means.elapsed,
        rate: means.throughput,
        transaction_rate: Unit::Transactions.rate(last.transactions(), last.elapsed),
        first_burst: course.options.first_burst,
        local: end(course.buffers, places.local, means.local),
        remote: end(last.remote_buffers(), places.remote, means.remote),
    }
}

fn tcp(course: &Course<'_>, last: &Run, means: &Iteration) -> TcpTable {
    let places = places(course);
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
    let end = |buffers: SocketBuffers, places: Directions<Place>, load, bytes, calls| TcpEnd {
        buffers,
        send_place: places.send,
        receive_place: places.receive,
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
        local: end(course.buffers, places.local, means.local, local_bytes, local_calls),
        remote: end(last.remote_buffers(), places.remote, means.remote, remote_bytes, remote_calls),
        segment_bytes: last.segment_bytes(),
        arrived: (course.name == TestName::TcpSendfile).then(|| last.result_bytes()),
    }
}

fn udp(course: &Course<'_>, last: &Run, means: &Iteration, failed_sends: u64) -> UdpTable {
    let tally = last.outcome.as_ref().map(|outcome| outcome.tally).unwrap_or_default();
    let rate = |bytes: u64| course.unit.rate(bytes, last.elapsed);
    // The second row is the netserver's own, and empty without one, whatever the result is taken to be.
    let received = last.remote.as_ref().map_or(0, |_| last.result_bytes());
    UdpTable {
        send_buffer: course.buffers.send,
        receive_buffer: last.remote_buffers().receive,
        message_bytes: course.shown_send_bytes(),
        elapsed: means.elapsed,
        sent: tally.messages_sent,
        failed_sends,
        received: last.remote.as_ref().map_or(0, |remote| remote.results.receives),
        send_rate: rate(tally.bytes_sent),
        receive_rate: rate(received),
        local_load: means.local,
        remote_load: means.remote,
    }
}

/// The record of a run; `None` where there is no netserver whose figures it could hold, or no connection, and
/// of what a record has no form for.
pub(crate) fn record(
    course: &Course<'_>,
    control_peer: Option<SocketAddr>,
    run: &Run,
    begun: Instant,
) -> Option<Record> {
    // A record has no words for a file that was sent, nor for a test that sends a byte.
    if matches!(course.name, TestName::TcpMss | TestName::TcpSendfile) {
        return None;
    }
    let (control, remote, outcome) = (control_peer?, run.remote.as_ref()?, run.outcome.clone()?);
    let options = course.options;
    let command = command_without_passphrase(options);
    Some(record::build(Measured {
        test: wire_test(course.traffic),
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

/// The command line for a record, which is kept and handed on: the words of every -Z show no passphrase.
fn command_without_passphrase(options: &Options) -> Vec<String> {
    let mut follows_letter = false;
    let hide = |word: &std::ffi::OsString| {
        let word = word.to_string_lossy();
        if std::mem::take(&mut follows_letter) {
            return "***".to_owned();
        }
        let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        match letters.and_then(|letters| letters.split_once('Z')) {
            Some((_, "")) => {
                follows_letter = true;
                word.into_owned()
            }
            Some((before, _)) => format!("-{before}Z***"),
            None => word.into_owned(),
        }
    };
    options.command.iter().map(hide).collect()
}

fn asked(course: &Course<'_>) -> Asked {
    let options = course.options;
    let (seconds, bytes, transactions) = match options.length {
        Length::Bytes(bytes) => (None, Some(bytes), None),
        Length::Endless => (None, None, None),
        Length::Seconds(seconds) => (Some(seconds), None, None),
        Length::Transactions(transactions) => (None, None, Some(transactions)),
    };
    let transaction = course.traffic.is_of_transactions().then(|| AskedTransaction {
        request_bytes: options.request_bytes.unwrap_or(0),
        response_bytes: options.response_bytes.unwrap_or(0),
        in_flight: if course.traffic.each { 1 } else { options.first_burst.saturating_add(1) },
        busy_poll: false,
    });
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
    let (sender, receiver) = match course.traffic.role() {
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
    Asked { seconds, bytes, transactions, transaction, sender, receiver, engine, ..Asked::default() }
}
