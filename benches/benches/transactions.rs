//! What a transaction over loopback costs, by the engine and by whether it sleeps.
//!
//! The ways take turns within a round, and what counts is the ratio to the first of them in the same round:
//! of the time that a transaction takes, and of both workers' CPU time for it. Requester and responder sit on
//! the first and the last core, and requests and responses are one byte each. Words on the command line
//! choose cases, by the number of flows and by name; `rounds=N` makes it N rounds.
#![allow(clippy::disallowed_methods, reason = "a benchmark ends with whoever runs it")]

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use ringperf_benches::{in_turn, spread};
use ringperf_engine::plan::{Endpoint, Length, Protocol, Role};
use ringperf_engine::{EngineChoice, Plan, PlanOptions, prepare};

/// A way to make transactions; the responder has the same.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    engine: EngineChoice,
    busy_poll: bool,
    protocol: Protocol,
}

const WAYS: [Way; 8] = [
    way("classic", EngineChoice::Classic, false),
    way("epoll", EngineChoice::Epoll, false),
    way("uring", EngineChoice::Uring, false),
    way("epoll-busy", EngineChoice::Epoll, true),
    way("uring-busy", EngineChoice::Uring, true),
    Way { protocol: Protocol::Udp, ..way("classic-udp", EngineChoice::Classic, false) },
    Way { protocol: Protocol::Udp, ..way("uring-udp", EngineChoice::Uring, false) },
    Way { protocol: Protocol::Udp, ..way("uring-udp-busy", EngineChoice::Uring, true) },
];

const FLOWS: [u32; 3] = [1, 16, 128];

const fn way(name: &'static str, engine: EngineChoice, busy_poll: bool) -> Way {
    Way { name, engine, busy_poll, protocol: Protocol::Tcp }
}

/// What one run cost, in nanoseconds a transaction: time, the requester's worker's CPU time and that of the
/// responder's.
type Cost = [f64; 3];

fn plan(role: Role, way: Way, flows: u32, length: Length) -> Plan {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = match role {
        Role::Receive | Role::Respond => Endpoint::Listen { local, peers: Vec::new() },
        Role::Request | Role::Send => Endpoint::Connect { local },
    };
    let Way { engine, busy_poll, protocol, .. } = way;
    let options =
        PlanOptions { engine, busy_poll, protocol, flows, length, ..PlanOptions::new(role, endpoint) };
    Plan::new(options).expect("the options are in range")
}

/// One whole run.
fn transact(way: Way, flows: u32, length: Length) -> Cost {
    let responder = prepare(&plan(Role::Respond, way, flows, length)).expect("a responder");
    let requester = prepare(&plan(Role::Request, way, flows, length)).expect("a requester");
    let target = responder.local();
    let responding = std::thread::spawn(move || responder.run(None).expect("it responds"));
    let requested = requester.run(Some(target)).expect("it requests");
    let responded = responding.join().expect("the responder ends");
    let transactions = requested.tally.transactions;
    assert!(transactions > 0 && responded.tally.transactions >= transactions);
    [requested.elapsed, requested.worker_cpu.total, responded.worker_cpu.total]
        .map(|time| time.as_nanos() as f64 / transactions as f64)
}

/// The ways that there are here.
fn ways() -> Vec<Way> {
    let ring = way("", EngineChoice::Uring, false);
    let refused = prepare(&plan(Role::Respond, ring, 1, Length::Endless)).err();
    if let Some(refused) = &refused {
        drop(writeln!(std::io::stderr(), "SKIP the ways on io_uring: {refused}"));
    }
    WAYS.into_iter().filter(|way| refused.is_none() || way.engine != EngineChoice::Uring).collect()
}

/// A line of the table: a way's costs beside those of the first way in the same rounds.
fn line(flows: u32, way: Way, costs: &[Cost], first: &[Cost]) -> String {
    let rate = spread(costs.iter().map(|cost| 1e6 / cost[0]), 1);
    let cpu = [1, 2].map(|end| spread(costs.iter().map(|cost| cost[end]), 0)).join(" | ");
    let ratio =
        |what: usize| spread(costs.iter().zip(first).map(|(cost, first)| first[what] / cost[what]), 2);
    format!("{flows} | {} | {rate} | {cpu} | {}", way.name, ratio(0))
}

fn main() {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let rounds = words.iter().find_map(|word| word.strip_prefix("rounds=")?.parse().ok()).unwrap_or(10);
    let (rounds, length) = if measuring {
        (rounds, Length::Time(Duration::from_millis(500)))
    } else {
        (1, Length::Transactions(500))
    };
    let chosen = |name: &str, among: &dyn Fn(&str) -> bool| {
        let mut words = words.iter().filter(|word| among(word)).peekable();
        words.peek().is_none() || words.any(|word| word == name)
    };
    let all = ways();
    let mut out = std::io::stdout().lock();
    let mut say = |line: &str| writeln!(out, "{line}").expect("standard output is open");
    say("flows | way | 1000 transactions/s | requester's ns | responder's ns | ratio of rate to the first");
    for flows in FLOWS {
        if !chosen(&flows.to_string(), &|word| word.parse::<u32>().is_ok()) {
            continue;
        }
        let is_way = |word: &str| WAYS.iter().any(|way| way.name == word);
        let there = |way: &Way| flows == 1 || way.protocol == Protocol::Tcp;
        let ways: Vec<Way> =
            all.iter().copied().filter(there).filter(|way| chosen(way.name, &is_way)).collect();
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); ways.len()];
        for round in 0..rounds {
            for (way, costs) in in_turn(round, &ways, &mut costs) {
                costs.push(transact(way, flows, length));
            }
        }
        for (way, mine) in ways.iter().zip(&costs) {
            say(&line(flows, *way, mine, &costs[0]));
        }
    }
}
