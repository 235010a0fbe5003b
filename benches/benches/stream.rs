//! What one TCP stream over loopback costs, by the way its messages are handed to the kernel.
//!
//! The ways take turns within a round, and what counts is the ratio to the first of them in the same round:
//! of the time that a byte takes, and of both workers' CPU time for it. Sender and receiver sit on the first
//! and the last core. A zero-copy send over loopback is copied all the same, by the receiving side. Words on
//! the command line choose cases, by message size and by name; `rounds=N` makes it N rounds.
#![allow(clippy::disallowed_methods, reason = "a benchmark ends with whoever runs it")]

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use ringperf_benches::{in_turn, spread};
use ringperf_engine::plan::{Endpoint, Length, Role, SendPath};
use ringperf_engine::{EngineChoice, Plan, PlanOptions, prepare};

/// A way to send; the receiver has the same engine.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    engine: EngineChoice,
    path: SendPath,
}

const WAYS: [Way; 6] = [
    uring("chain", SendPath::Chain),
    uring("registered", SendPath::Registered),
    uring("bundle", SendPath::Bundle),
    uring("zero-copy", SendPath::ZeroCopy),
    Way { engine: EngineChoice::Epoll, ..uring("epoll", SendPath::Auto) },
    Way { engine: EngineChoice::Classic, ..uring("classic", SendPath::Auto) },
];

/// From one cache line to what most of a socket buffer takes.
const MESSAGES: [u32; 4] = [64, 16 << 10, 128 << 10, 1 << 20];

const fn uring(name: &'static str, path: SendPath) -> Way {
    Way { name, engine: EngineChoice::Uring, path }
}

/// What one stream cost, in nanoseconds per 1024 bytes: the sender's time, its worker's CPU time and that of
/// the receiver's.
type Cost = [f64; 3];

fn plan(role: Role, way: Way, message_bytes: u32, length: Length) -> Plan {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = match role {
        Role::Receive | Role::Respond => Endpoint::Listen { local, peers: Vec::new() },
        Role::Request | Role::Send => Endpoint::Connect { local },
    };
    let (engine, send_path) = (way.engine, way.path);
    let options =
        PlanOptions { engine, send_path, message_bytes, length, ..PlanOptions::new(role, endpoint) };
    Plan::new(options).expect("the options are in range")
}

/// One whole stream. The receiver has the same buffers whatever the messages.
fn stream(way: Way, message_bytes: u32, time: Duration) -> Cost {
    let receiver = prepare(&plan(Role::Receive, way, 1 << 20, Length::Endless)).expect("a receiver");
    let sender = prepare(&plan(Role::Send, way, message_bytes, Length::Time(time))).expect("a sender");
    let port = receiver.local();
    let receiving = std::thread::spawn(move || receiver.run(None).expect("it receives"));
    let sent = sender.run(Some(port)).expect("it sends");
    let received = receiving.join().expect("the receiver ends");
    assert_eq!(received.tally.bytes_received, sent.tally.bytes_sent);
    let kilobytes = sent.tally.bytes_sent as f64 / 1024.0;
    [sent.elapsed, sent.worker_cpu.total, received.worker_cpu.total]
        .map(|time| time.as_nanos() as f64 / kilobytes)
}

/// The ways that there are here.
fn ways() -> Vec<Way> {
    let ring = uring("", SendPath::Auto);
    let refused = prepare(&plan(Role::Receive, ring, 1 << 20, Length::Endless)).err();
    if let Some(refused) = &refused {
        drop(writeln!(std::io::stderr(), "SKIP the ways on io_uring: {refused}"));
    }
    WAYS.into_iter().filter(|way| refused.is_none() || way.engine != EngineChoice::Uring).collect()
}

/// A line of the table: a way's costs beside those of the first way in the same rounds.
fn line(message_bytes: u32, way: Way, costs: &[Cost], first: &[Cost]) -> String {
    let rate = spread(costs.iter().map(|cost| 8192.0 / cost[0]), 1);
    let cpu = [1, 2].map(|end| spread(costs.iter().map(|cost| cost[end]), 0)).join(" | ");
    let ratio =
        |what: usize| spread(costs.iter().zip(first).map(|(cost, first)| cost[what] / first[what]), 2);
    let ratios = [0, 1, 2].map(ratio).join(" | ");
    format!("{message_bytes} | {} | {rate} | {cpu} | {ratios}", way.name)
}

fn main() {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let rounds = words.iter().find_map(|word| word.strip_prefix("rounds=")?.parse().ok()).unwrap_or(10);
    let (rounds, time) =
        if measuring { (rounds, Duration::from_millis(500)) } else { (1, Duration::from_millis(20)) };
    let chosen = |name: &str, among: &dyn Fn(&str) -> bool| {
        let mut words = words.iter().filter(|word| among(word)).peekable();
        words.peek().is_none() || words.any(|word| word == name)
    };
    let all = ways();
    let mut out = std::io::stdout().lock();
    let mut say = |line: &str| writeln!(out, "{line}").expect("standard output is open");
    let ends = "sender's ns/KB | receiver's";
    say(&format!("message | way | Gbit/s | {ends} | ratio of time | of sender's CPU | of receiver's"));
    for message_bytes in MESSAGES {
        if !chosen(&message_bytes.to_string(), &|word| word.parse::<u32>().is_ok()) {
            continue;
        }
        let is_way = |word: &str| WAYS.iter().any(|way| way.name == word);
        let ways: Vec<Way> = all.iter().copied().filter(|way| chosen(way.name, &is_way)).collect();
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); ways.len()];
        for round in 0..rounds {
            for (way, costs) in in_turn(round, &ways, &mut costs) {
                costs.push(stream(way, message_bytes, time));
            }
        }
        for (way, mine) in ways.iter().zip(&costs) {
            say(&line(message_bytes, *way, mine, &costs[0]));
        }
    }
}
