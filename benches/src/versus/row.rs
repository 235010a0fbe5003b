//! The rows: what is compared with what, and which targets stand for it.
//!
//! Beside ringperf's default stand its other engines, with and without the low-water mark, so that what the
//! mark gains is not taken for what io_uring gains.

use super::contender::Contender;
use super::kit::{Need, Tool};
use super::metric::Metric;
use super::network::Shape;
use super::stats::Side;

/// One comparison.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What it is about.
    pub(super) title: &'static str,
    /// The link, where it is not loopback.
    pub(super) shape: Option<Shape>,
    /// Length of a run unless another one is asked for.
    pub(super) seconds: u64,
    /// The machine is charged, within a window of that length; [`MACHINE_MARGIN_SECONDS`] of the run lie
    /// before and after it.
    pub(super) machine: bool,
    /// Payload of a datagram.
    pub(super) datagram_bytes: Option<u32>,
    /// Memory is looked at.
    pub(super) memory: bool,
    /// Peers without which nothing is measured.
    pub(super) needs: Vec<Need>,
    /// Who takes part; the first one is ringperf as it is by default.
    pub(super) contenders: Vec<Contender>,
    /// The columns.
    pub(super) metrics: Vec<Metric>,
    /// What is to be reached.
    pub(super) targets: Vec<Target>,
    /// What a reader has to know.
    pub(super) notes: Vec<&'static str>,
}

impl Row {
    /// Whether it is the one that the command line names, in capitals or not.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Time of a run before and after a window of the whole machine.
pub(super) const MACHINE_MARGIN_SECONDS: u64 = 3;

/// Something to be reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// By which figure.
    pub(super) metric: Metric,
    /// Of which contender.
    pub(super) of: &'static str,
    /// Set against what.
    pub(super) against: Against<'static>,
    /// On which side of the limit.
    pub(super) side: Side,
    /// The limit, of the ratio or of the figure itself.
    pub(super) limit: f64,
    /// A harder limit, told of where it is reached too.
    pub(super) beyond: Option<f64>,
}

/// What a figure is set against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Against<'a> {
    /// The peer that does best by this figure, in each round anew.
    BestPeer,
    /// Another contender.
    One(&'a str),
    /// Nothing.
    Nothing,
}

/// How netserver is told to leave the low-water mark alone.
const UNMARKED: &str = "--without low-water";

const OURS: &str = "ringperf";
const SEARCH: &str = "ringperf, loss-free rate";
const IDLE_FLOWS: &str = "ringperf, 10000 flows, paced";
const FEW_FLOWS: &str = "ringperf, 16 flows";

const NETPERF: Need = Need { tool: Tool::Netperf, release: [2, 7] };
const IPERF3: Need = Need { tool: Tool::Iperf3, release: [3, 0] };
const IPERF3_GSRO: Need = Need { tool: Tool::Iperf3, release: [3, 21] };
const NEPER: Need = Need { tool: Tool::Neper, release: [0, 0] };
const NEPER_RR: Need = Need { tool: Tool::NeperRr, release: [0, 0] };
const NEPER_CRR: Need = Need { tool: Tool::NeperCrr, release: [0, 0] };

const BUSY: &str = "ringperf, busy poll";
const COALESCED: &str = "ringperf, many messages a send";

/// Payload of an Ethernet frame over IPv4 and UDP.
const DATAGRAM_BYTES: u32 = 1472;

/// All rows.
pub(super) fn all() -> Vec<Row> {
    vec![
        loopback_defaults(),
        loopback_alike(),
        shaped_receiver(),
        shaped_machine(),
        gigabit_receiver(),
        units(),
        datagrams(),
        round_trips(),
        many_round_trips(),
        connections(),
        many_connections(),
        small_messages(),
        flows(),
    ]
}

/// A target of ringperf as it is by default.
fn target(metric: Metric, against: Against<'static>, side: Side, limit: f64, beyond: Option<f64>) -> Target {
    Target { metric, of: OURS, against, side, limit, beyond }
}

/// ringperf by default, and its other engines with and without the mark.
fn engines(client: &str) -> Vec<Contender> {
    let ours = |label: &str, server: &str, engine: &str| {
        Contender::ringperf(label, "tcp-stream", &format!("{engine} {server}"), &format!("{client} {engine}"))
    };
    vec![
        ours(OURS, "", ""),
        ours("ringperf, no mark", UNMARKED, ""),
        ours("ringperf, epoll", "", "--engine epoll"),
        ours("ringperf, epoll, no mark", UNMARKED, "--engine epoll"),
        ours("ringperf, classic (no mark)", "", "--engine classic"),
    ]
}

fn stream_row(name: &'static str, title: &'static str) -> Row {
    Row {
        name,
        title,
        shape: None,
        seconds: 10,
        machine: false,
        datagram_bytes: None,
        memory: false,
        needs: vec![NETPERF, IPERF3],
        contenders: Vec::new(),
        metrics: Vec::new(),
        targets: Vec::new(),
        notes: Vec::new(),
    }
}

fn loopback_defaults() -> Row {
    let mut contenders = engines("");
    contenders.push(Contender::netperf("netperf", "TCP_STREAM", ""));
    contenders.push(Contender::iperf3("iperf3", ""));
    Row {
        seconds: 5,
        contenders,
        metrics: vec![
            Metric::Goodput,
            Metric::CpuBoth,
            Metric::CpuReceiver,
            Metric::Wakeups,
            Metric::Workers,
        ],
        targets: vec![
            target(Metric::Goodput, Against::BestPeer, Side::AtLeast, 2.0, Some(2.5)),
            target(Metric::CpuBoth, Against::BestPeer, Side::AtMost, 0.5, None),
        ],
        notes: vec![
            "Messages are of 1 MiB by default in ringperf, of 16 KiB in netperf, of 128 KiB in iperf3: \
             not to be quoted without F2, where all are alike.",
        ],
        ..stream_row("F1", "TCP over loopback, each tool at its defaults")
    }
}

fn loopback_alike() -> Row {
    let mut contenders = engines("--message 1M");
    contenders.push(Contender::netperf("netperf", "TCP_STREAM", "-m 1048576 -M 1048576"));
    contenders.push(Contender::iperf3("iperf3", "-l 1M"));
    Row {
        contenders,
        targets: vec![
            target(Metric::Goodput, Against::BestPeer, Side::AtLeast, 1.0, Some(1.1)),
            target(Metric::CpuBoth, Against::BestPeer, Side::AtMost, 0.85, Some(0.7)),
        ],
        notes: Vec::new(),
        name: "F2",
        title: "TCP over loopback, every tool with messages of 1 MiB",
        ..loopback_defaults()
    }
}

fn shaped_receiver() -> Row {
    let mut contenders = engines("");
    contenders.push(Contender::floor());
    contenders.push(Contender::netperf("netperf", "TCP_STREAM", ""));
    contenders.push(Contender::iperf3("iperf3", ""));
    let floor = Against::One(Tool::Floor.name());
    let netserver = Against::One(Tool::Netperf.name());
    Row {
        shape: Some(Shape::FAST_ETHERNET),
        contenders,
        metrics: vec![
            Metric::GoodputSlow,
            Metric::CpuReceiver,
            Metric::CpuReceiverTime,
            Metric::CpuBoth,
            Metric::Wakeups,
            Metric::Workers,
        ],
        targets: vec![
            target(Metric::GoodputSlow, Against::BestPeer, Side::AtLeast, 0.99, None),
            target(Metric::CpuReceiver, floor, Side::AtMost, 1.3, None),
            target(Metric::Wakeups, Against::Nothing, Side::AtMost, 60.0, None),
            target(Metric::CpuReceiver, netserver, Side::AtMost, 0.2, Some(0.1)),
        ],
        notes: vec![
            "The copy floor is a blocking recv with a fixed low-water mark of 256 KiB and no control \
             connection; its wake-ups are its reads.",
            "The receiver's CPU contains start and end of its program, which weigh the less the longer a \
             run is.",
        ],
        ..stream_row("F3", "TCP through 100 Mbit/s, the receiver")
    }
}

fn shaped_machine() -> Row {
    let mut contenders = engines("");
    contenders.truncate(2);
    contenders.push(Contender::netperf("netperf", "TCP_STREAM", ""));
    contenders.push(Contender::iperf3("iperf3", ""));
    contenders.push(Contender::idle());
    Row {
        shape: Some(Shape::FAST_ETHERNET),
        seconds: 60,
        machine: true,
        contenders,
        metrics: vec![Metric::GoodputSlow, Metric::Machine],
        targets: vec![target(Metric::Machine, Against::BestPeer, Side::AtMost, 0.7, Some(0.5))],
        notes: vec![
            "What the machine's CPUs were not idle within a window inside each run, less that of the idle \
             window of the same round, whose line is what was subtracted.",
        ],
        ..stream_row("F4", "TCP through 100 Mbit/s, the whole machine")
    }
}

fn gigabit_receiver() -> Row {
    let third = Some(1.0 / 3.0);
    Row {
        shape: Some(Shape::GIGABIT),
        targets: vec![
            target(Metric::GoodputSlow, Against::BestPeer, Side::AtLeast, 0.99, None),
            target(Metric::CpuReceiver, Against::BestPeer, Side::AtMost, 0.5, third),
        ],
        name: "F5",
        title: "TCP through 1 Gbit/s, the receiver",
        ..shaped_receiver()
    }
}

fn units() -> Row {
    let ours = |label: &str, client: &str| {
        let client = format!("--message {DATAGRAM_BYTES} --gso --gro {client}");
        Contender::ringperf(label, "udp-stream", "", &client)
    };
    Row {
        needs: vec![IPERF3_GSRO],
        contenders: vec![
            ours(OURS, ""),
            ours(SEARCH, "--find-rate").searching(),
            ours("ringperf, epoll", "--engine epoll"),
            Contender::iperf3("iperf3", &format!("-u -b 0 -l {DATAGRAM_BYTES} --gsro")),
        ],
        targets: vec![
            target(Metric::DatagramRate, Against::BestPeer, Side::AtLeast, 2.0, Some(2.5)),
            Target { of: SEARCH, ..target(Metric::Loss, Against::Nothing, Side::AtMost, 1.0, None) },
        ],
        notes: vec![
            "Loopback never cuts the units that segmentation offload makes: these are units, counted in \
             datagrams of 1472 bytes.",
        ],
        name: "F6",
        title: "UDP over loopback, 1472 bytes, in units (GSO, GRO)",
        ..datagrams()
    }
}

fn datagrams() -> Row {
    let ours = |label: &str, engine: &str| {
        Contender::ringperf(label, "udp-stream", engine, &format!("--message {DATAGRAM_BYTES} {engine}"))
    };
    let options = format!("-m {DATAGRAM_BYTES} -M {DATAGRAM_BYTES}");
    Row {
        seconds: 5,
        datagram_bytes: Some(DATAGRAM_BYTES),
        needs: vec![NETPERF],
        contenders: vec![
            ours(OURS, ""),
            // A shortest sleep is what only the ring has.
            Contender::ringperf(
                "ringperf, no minimum wait",
                "udp-stream",
                "--without minimum-wait",
                &format!("--message {DATAGRAM_BYTES}"),
            ),
            ours("ringperf, epoll", "--engine epoll"),
            ours("ringperf, classic", "--engine classic"),
            Contender::netperf("netperf", "UDP_STREAM", &options),
        ],
        metrics: vec![
            Metric::DatagramRate,
            Metric::Goodput,
            Metric::Loss,
            Metric::CpuReceiverDatagram,
            Metric::CpuBothDatagram,
            Metric::Wakeups,
            Metric::Workers,
        ],
        targets: vec![
            target(Metric::DatagramRate, Against::BestPeer, Side::AtLeast, 1.05, Some(1.3)),
            target(Metric::CpuReceiverDatagram, Against::BestPeer, Side::AtMost, 0.75, None),
        ],
        ..stream_row("F7", "UDP over loopback, 1472 bytes, datagram by datagram")
    }
}

fn transactions(label: &str, test: &str, client: &str) -> Contender {
    Contender::ringperf(label, test, "", client)
}

/// A connection for each transaction, with all the segments that netperf makes.
fn unshared(label: &str, client: &str) -> Contender {
    let client = format!("{client} --without shared-segments");
    Contender::ringperf(label, "tcp-crr", "--without shared-segments", &client)
}

fn round_trips() -> Row {
    let ours = |label: &str, engine: &str, client: &str| {
        Contender::ringperf(label, "tcp-rr", engine, &format!("{engine} {client}"))
    };
    let limit = |of, limit, beyond| Target {
        of,
        ..target(Metric::TransactionRate, Against::One(Tool::Netperf.name()), Side::AtLeast, limit, beyond)
    };
    Row {
        seconds: 5,
        needs: vec![NETPERF],
        contenders: vec![
            ours(OURS, "", ""),
            ours(BUSY, "", "--busy-poll"),
            ours("ringperf, io_uring", "--engine uring", ""),
            ours("ringperf, epoll", "--engine epoll", ""),
            ours("ringperf, epoll, busy poll", "--engine epoll", "--busy-poll"),
            Contender::netperf("netperf", "TCP_RR", ""),
        ],
        metrics: vec![Metric::TransactionRate, Metric::CpuTransaction, Metric::Workers],
        targets: vec![limit(OURS, 0.97, None), limit(BUSY, 6.0, Some(9.0))],
        notes: vec![
            "Busy poll spins at both ends; its cost stands beside its rate. One transaction at a time is \
             made by blocking calls unless an engine is named or nobody sleeps (docs/decisions/0017); an \
             engine that is named is that of both ends.",
        ],
        ..stream_row("F8", "TCP_RR over loopback, one flow, one byte each way")
    }
}

fn many_round_trips() -> Row {
    let ours = |label: &str, client: &str| transactions(label, "tcp-rr", client);
    Row {
        needs: vec![NEPER_RR],
        contenders: vec![
            ours(OURS, "--flows 128"),
            ours("ringperf, epoll", "--flows 128 --engine epoll"),
            Contender::neper_transactions("neper tcp_rr", Tool::NeperRr, 128),
        ],
        targets: vec![target(Metric::TransactionRate, Against::BestPeer, Side::AtLeast, 1.3, Some(1.6))],
        notes: Vec::new(),
        name: "F9",
        title: "TCP_RR over loopback, 128 flows, one core each side",
        ..round_trips()
    }
}

fn connections() -> Row {
    let ours = |label: &str, client: &str| transactions(label, "tcp-crr", client);
    Row {
        contenders: vec![
            ours(OURS, ""),
            ours(BUSY, "--busy-poll"),
            unshared("ringperf, busy poll, no shared segments", "--busy-poll"),
            ours("ringperf, epoll", "--engine epoll"),
            ours("ringperf, classic", "--engine classic"),
            Contender::netperf("netperf", "TCP_CRR", ""),
        ],
        targets: vec![Target {
            of: BUSY,
            ..target(
                Metric::TransactionRate,
                Against::One(Tool::Netperf.name()),
                Side::AtLeast,
                1.3,
                Some(2.0),
            )
        }],
        notes: vec![
            "Busy poll spins at both ends; its cost stands beside its rate. ringperf lets acknowledgements \
             and the end of a connection go with its data, six segments a transaction in place of ten \
             (docs/decisions/0015); the row without that does as netperf does.",
        ],
        name: "F10",
        title: "TCP_CRR over loopback, one connection at a time, closed in order",
        ..round_trips()
    }
}

fn many_connections() -> Row {
    Row {
        needs: vec![NEPER_CRR],
        contenders: vec![
            transactions(OURS, "tcp-crr", "--in-flight 64"),
            unshared("ringperf, no shared segments", "--in-flight 64"),
            transactions("ringperf, epoll", "tcp-crr", "--in-flight 64 --engine epoll"),
            Contender::neper_transactions("neper tcp_crr", Tool::NeperCrr, 64),
        ],
        targets: vec![target(Metric::TransactionRate, Against::BestPeer, Side::AtLeast, 1.3, Some(2.0))],
        notes: Vec::new(),
        name: "F10b",
        title: "TCP_CRR over loopback, 64 connections at a time, closed in order",
        ..round_trips()
    }
}

fn small_messages() -> Row {
    let ours = |label: &str, client: &str| {
        Contender::ringperf(label, "tcp-stream", "", &format!("--message 64 {client}"))
    };
    Row {
        seconds: 5,
        needs: vec![NETPERF],
        contenders: vec![
            ours(OURS, ""),
            ours("ringperf, epoll", "--engine epoll"),
            ours("ringperf, classic", "--engine classic"),
            ours(COALESCED, "--send bundle"),
            Contender::netperf("netperf", "TCP_STREAM", "-m 64"),
        ],
        metrics: vec![Metric::Goodput, Metric::CpuBoth, Metric::CpuReceiver, Metric::Workers],
        targets: vec![
            target(Metric::Goodput, Against::BestPeer, Side::AtLeast, 1.0, Some(1.3)),
            target(Metric::CpuBoth, Against::BestPeer, Side::AtMost, 0.9, None),
        ],
        notes: vec![
            "Every message is a send operation, but for the row of many messages a send, which no peer here \
             does.",
        ],
        ..stream_row("F11", "TCP over loopback, messages of 64 bytes")
    }
}

fn flows() -> Row {
    let ours = |label: &str, client: &str| Contender::ringperf(label, "tcp-stream", "", client);
    Row {
        seconds: 5,
        memory: true,
        needs: vec![NEPER],
        contenders: vec![
            ours(OURS, "--flows 10000 --message 256K"),
            ours(FEW_FLOWS, "--flows 16 --message 256K"),
            ours(IDLE_FLOWS, "--flows 10000 --rate 1M --message 1K"),
            Contender::neper("neper", 10_000),
            Contender::neper("neper, 16 flows", 16),
        ],
        metrics: vec![Metric::Goodput, Metric::CpuBoth, Metric::CpuReceiver, Metric::Resident],
        targets: vec![
            target(Metric::Goodput, Against::One(FEW_FLOWS), Side::AtLeast, 0.8, None),
            Target { of: IDLE_FLOWS, ..target(Metric::Resident, Against::Nothing, Side::AtMost, 64.0, None) },
        ],
        notes: vec!["neper tells a rate over its own time; its bytes are the product of the two."],
        ..stream_row("F12", "TCP over loopback, 10,000 flows on one worker of each end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_together() {
        for row in all() {
            let labels: Vec<&str> = row.contenders.iter().map(|contender| contender.label.as_str()).collect();
            assert_eq!(labels[0], OURS, "{}", row.name);
            for (index, label) in labels.iter().enumerate() {
                assert!(!labels[..index].contains(label), "{}: {label} twice", row.name);
            }
            for target in &row.targets {
                assert!(labels.contains(&target.of), "{}: {}", row.name, target.of);
                assert!(row.metrics.contains(&target.metric), "{}: {:?}", row.name, target.metric);
                if let Against::One(label) = target.against {
                    assert!(labels.contains(&label), "{}: {label}", row.name);
                }
            }
            for need in &row.needs {
                assert!(row.contenders.iter().any(|contender| contender.tool == need.tool), "{}", row.name);
            }
        }
    }
    #[test]
    fn every_row_can_be_asked_for() {
        for row in all() {
            let callable = |name: &str| all().iter().filter(|other| other.is_called(name)).count();
            assert_eq!(callable(row.name), 1, "{}", row.name);
            assert_eq!(callable(&row.name.to_lowercase()), 1, "{}", row.name);
        }
    }
}
