//! The loop allocates nothing: a run that moves many times as much asks the allocator no more often.
//!
//! A program of its own, because it counts what the whole process allocates.
#![allow(clippy::disallowed_methods, reason = "a test ends with whoever runs it")]

use std::alloc::System;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use ringperf_engine::plan::{Connections, Endpoint, Every, Length, Progress, Protocol, Role, Transaction};
use ringperf_engine::{EngineChoice, Error, Outcome, Plan, PlanOptions, prepare};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What both ends of a run may allocate between prepare and outcome, whatever they move: rows for flows and
/// results, texts of the kernel that are read at the edges of the window.
const EDGES_MAX: usize = 400;
/// By how much two runs may differ: those texts are not always read in as many pieces.
const EDGES_VARY: usize = 16;

struct Case {
    engine: EngineChoice,
    protocol: Protocol,
    flows: u32,
    interval: Option<Duration>,
    /// Both ends tell of their progress, the sender to somebody who does not keep up.
    told: bool,
    /// Requests and responses over what, whose times are measured.
    transactions: Option<Connections>,
}

/// Allocations of both ends from the start of the run to their outcomes.
fn run(case: &Case, length: Duration) -> Result<(usize, Outcome), Error> {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let udp = case.protocol == Protocol::Udp;
    let each = case.transactions == Some(Connections::Each);
    let (to_slow, _slow) = sync_channel(8);
    let (to, told) = sync_channel(1000);
    let progress = |to| Progress { every: Every::Time(Duration::from_millis(2)), to };
    let options = |role, endpoint, length, to| PlanOptions {
        engine: case.engine,
        protocol: case.protocol,
        flows: case.flows,
        interval: case.interval,
        length,
        progress: case.told.then_some(progress(to)),
        message_bytes: if udp { 1472 } else { 16 << 10 },
        transaction: Transaction {
            in_flight: if each && case.engine == EngineChoice::Classic { 1 } else { 4 },
            connections: case.transactions.unwrap_or(Connections::Kept),
            ..Transaction::default()
        },
        latency: role == Role::Request,
        ..PlanOptions::new(role, endpoint)
    };
    let listen = Endpoint::Listen { local, peers: Vec::new() };
    // Who answers over a connection for each request does not see the last one, so they count.
    let (asks, answers) = if each {
        let transactions = Length::Transactions(5 * length.as_millis() as u64);
        (transactions, transactions)
    } else {
        (Length::Time(length), Length::Endless)
    };
    let descriptors = descriptors();
    let (first, second) = if case.transactions.is_some() {
        (Role::Request, Role::Respond)
    } else {
        (Role::Send, Role::Receive)
    };
    let receiver = prepare(&Plan::new(options(second, listen, answers, to))?)?;
    let connect = Endpoint::Connect { local };
    let sender = prepare(&Plan::new(options(first, connect, asks, to_slow))?)?;
    let target = receiver.local();
    let region = Region::new(ALLOCATOR);
    let receiving = std::thread::spawn(move || receiver.run(None));
    let sent = sender.run(Some(target))?;
    receiving.join().expect("the receiver ends")?;
    let allocations = region.change().allocations;
    assert_eq!(self::descriptors(), descriptors, "a descriptor is left open");
    assert_eq!(case.told, told.try_iter().count() > 0);
    Ok((allocations, sent))
}

/// Descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

fn skip(case: &Case, error: &Error) {
    let required = std::env::var("RINGPERF_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|word| word == "uring"), "io_uring is required: {error}");
    let _ = writeln!(std::io::stdout(), "SKIP counting allocations of {:?}: {error}", case.engine);
}

#[test]
fn a_longer_run_allocates_no_more() {
    let (kept, each) = (Some(Connections::Kept), Some(Connections::Each));
    for engine in [EngineChoice::Classic, EngineChoice::Epoll, EngineChoice::Uring] {
        for (protocol, flows, interval, told, transactions) in [
            (Protocol::Tcp, 1, None, false, each),
            (Protocol::Tcp, 1, Some(Duration::from_millis(50)), false, each),
            (Protocol::Tcp, 1, None, false, None),
            (Protocol::Tcp, 1, None, true, None),
            (Protocol::Tcp, 3, Some(Duration::from_millis(50)), false, None),
            (Protocol::Udp, 1, None, false, None),
            (Protocol::Udp, 1, None, true, None),
            (Protocol::Tcp, 1, None, false, kept),
            (Protocol::Tcp, 3, Some(Duration::from_millis(50)), false, kept),
            (Protocol::Udp, 1, None, false, kept),
        ] {
            let case = Case { engine, protocol, flows, interval, told, transactions };
            let name =
                format!("{engine:?} {protocol:?}, {flows} flows, told {told}, in turn {transactions:?}");
            let (short, few) = match run(&case, Duration::from_millis(100)) {
                Ok(done) => done,
                Err(error) => {
                    skip(&case, &error);
                    continue;
                }
            };
            let (long, many) = run(&case, Duration::from_millis(800)).expect("it went before");
            let (few, many) = (few.tally.messages_sent, many.tally.messages_sent);
            // Each transaction waits for two wake-ups, which take their time on a busy machine.
            let more = if transactions.is_some() { 10 * EDGES_VARY as u64 } else { 1000 };
            assert!(many > few + more, "{name}: {few} messages, then {many}");
            assert!(short <= EDGES_MAX, "{name}: {short} allocations");
            assert!(long <= short + EDGES_VARY, "{name}: {short} allocations, then {long}");
        }
    }
}
