//! The loop allocates nothing: a run that moves many times as much asks the allocator no more often.
//!
//! A program of its own, because it counts what the whole process allocates.
#![allow(clippy::disallowed_methods, reason = "a test ends with whoever runs it")]

use std::alloc::System;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use ringperf_engine::plan::{
    Connections, Endpoint, Every, Length, Progress, Protocol, Role, SendPath, Transaction,
};
use ringperf_engine::{EngineChoice, Error, Outcome, Plan, PlanOptions, prepare};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What both ends of a run may allocate between prepare and outcome, whatever they move: rows for flows and
/// results, texts of the kernel that are read at the edges of the window.
const EDGES_MAX: usize = 400;
/// By how much two runs may differ: those texts are not always read in as many pieces.
const EDGES_VARY: usize = 16;

#[derive(Clone, Debug)]
struct Case {
    engine: EngineChoice,
    protocol: Protocol,
    flows: u32,
    interval: Option<Duration>,
    /// Both ends tell of their progress, the sender to somebody who does not keep up.
    told: bool,
    /// Requests and responses over what, whose times are measured.
    transactions: Option<Connections>,
    send_path: SendPath,
    /// Many datagrams a send and a receive.
    offloads: bool,
    busy_poll: bool,
}

/// The cases of an engine, and of the ring those that only it has.
fn cases(engine: EngineChoice) -> Vec<Case> {
    let (kept, each) = (Some(Connections::Kept), Some(Connections::Each));
    let often = Some(Duration::from_millis(50));
    let plain = Case {
        engine,
        protocol: Protocol::Tcp,
        flows: 1,
        interval: None,
        told: false,
        transactions: None,
        send_path: SendPath::Auto,
        offloads: false,
        busy_poll: false,
    };
    let udp = Case { protocol: Protocol::Udp, ..plain.clone() };
    let mut cases = vec![
        Case { transactions: each, ..plain.clone() },
        Case { transactions: each, interval: often, ..plain.clone() },
        plain.clone(),
        Case { told: true, ..plain.clone() },
        Case { flows: 3, interval: often, ..plain.clone() },
        udp.clone(),
        Case { told: true, ..udp.clone() },
        Case { transactions: kept, ..plain.clone() },
        Case { transactions: kept, flows: 3, interval: often, ..plain.clone() },
        Case { transactions: kept, ..udp.clone() },
    ];
    if engine == EngineChoice::Uring {
        cases.push(Case { offloads: true, ..udp });
        cases.push(Case { transactions: kept, busy_poll: true, ..plain.clone() });
        let paths = [SendPath::Registered, SendPath::Bundle, SendPath::ZeroCopy];
        cases.extend(paths.map(|send_path| Case { send_path, ..plain.clone() }));
    }
    cases
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
        send_path: if role == Role::Send { case.send_path } else { SendPath::Auto },
        gso: case.offloads && role == Role::Send,
        gro: case.offloads && role == Role::Receive,
        busy_poll: case.busy_poll,
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
    for engine in [EngineChoice::Classic, EngineChoice::Epoll, EngineChoice::Uring] {
        for case in cases(engine) {
            let (short, few) = match run(&case, Duration::from_millis(100)) {
                Ok(done) => done,
                Err(error) => {
                    skip(&case, &error);
                    continue;
                }
            };
            let (long, many) = run(&case, Duration::from_millis(800)).expect("it went before");
            let (few, many) = (few.tally.messages_sent, many.tally.messages_sent);
            // Each transaction waits for two wake-ups, which take their time on a busy machine; so do sends
            // whose memory the kernel keeps for a while.
            let slow = case.transactions.is_some() || case.send_path != SendPath::Auto;
            let more = if slow { 10 * EDGES_VARY as u64 } else { 1000 };
            assert!(many > few + more, "{case:?}: {few} messages, then {many}");
            assert!(short <= EDGES_MAX, "{case:?}: {short} allocations");
            assert!(long <= short + EDGES_VARY, "{case:?}: {short} allocations, then {long}");
        }
    }
}
