//! Requests and responses over connections that are kept: every transaction counts once, whatever the engines,
//! the sizes and the number under way, and both ends end as they should.

use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Length, Role, Transaction};
use ringperf_engine::{Outcome, Plan, PlanOptions, prepare};

use crate::support::{CLASSIC, EPOLL, URING, Way, connect, listen, uring_or_skip};

/// What a run is about, beside its engines.
#[derive(Clone, Copy)]
struct Case {
    request_bytes: u32,
    response_bytes: u32,
    in_flight: u32,
    flows: u32,
    length: Length,
}

const fn one(bytes: u32) -> Case {
    let length = Length::Transactions(100);
    Case { request_bytes: bytes, response_bytes: bytes, in_flight: 1, flows: 1, length }
}

impl Case {
    fn options(self, way: Way, role: Role) -> PlanOptions {
        let Self { request_bytes, response_bytes, in_flight, flows, length } = self;
        let endpoint = if role == Role::Request { connect() } else { listen() };
        PlanOptions {
            transaction: Transaction { request_bytes, response_bytes, in_flight, ..Transaction::default() },
            flows,
            length,
            check_payload: true,
            ..way.options(role, endpoint)
        }
    }
}

/// Both outcomes: the requester's, then the responder's.
fn run(requester: PlanOptions, responder: PlanOptions) -> (Outcome, Outcome) {
    let responder = prepare(&Plan::new(responder).unwrap()).unwrap();
    let requester = prepare(&Plan::new(requester).unwrap()).unwrap();
    let target = responder.local();
    let responding = std::thread::spawn(move || responder.run(None).unwrap());
    let requested = requester.run(Some(target)).unwrap();
    (requested, responding.join().unwrap())
}

/// A counted run is exact at both ends.
fn assert_counted(name: &str, case: Case, requested: &Outcome, responded: &Outcome) {
    let Length::Transactions(transactions) = case.length else { panic!("{name} is not counted") };
    assert_eq!((requested.end, responded.end), (End::Count, End::Count), "{name}");
    assert_eq!(requested.tally.messages_sent, transactions, "{name}");
    assert_eq!(requested.tally.bytes_sent, transactions * u64::from(case.request_bytes), "{name}");
    assert_eq!(responded.tally.bytes_sent, transactions * u64::from(case.response_bytes), "{name}");
    for (ours, theirs) in [(requested, responded), (responded, requested)] {
        assert_eq!(ours.tally.transactions, transactions, "{name}");
        assert_eq!(ours.tally.bytes_received, theirs.tally.bytes_sent, "{name}");
        assert_eq!(ours.tally.wrong_bytes, 0, "{name}");
        assert_eq!((ours.tally.operations.stale, ours.tally.operations.overflows), (0, 0), "{name}");
        assert!(ours.facts.degraded.iter().all(|d| d.feature != "orderly teardown"), "{name}");
    }
}

fn counted(ours: Way, theirs: Way, case: Case) {
    let (requested, responded) = run(case.options(ours, Role::Request), case.options(theirs, Role::Respond));
    let name = format!(
        "{} to {}: {} and {} bytes, {} in flight, {} flows",
        ours.name, theirs.name, case.request_bytes, case.response_bytes, case.in_flight, case.flows
    );
    assert_counted(&name, case, &requested, &responded);
}

fn engines(test: &str) -> Vec<Way> {
    let mut engines = vec![CLASSIC, EPOLL];
    engines.extend(uring_or_skip(test).then_some(URING));
    engines
}

#[test]
fn every_transaction_counts_once_between_any_two_engines() {
    let engines = engines("every_transaction_counts_once_between_any_two_engines");
    for ours in &engines {
        for theirs in &engines {
            for (bytes, in_flight) in
                [(1, 1), (1, 16), (64, 1), (64, 16), (4096, 1), (4096, 16), (100_000, 1)]
            {
                counted(*ours, *theirs, Case { in_flight, ..one(bytes) });
            }
            counted(*ours, *theirs, Case { response_bytes: 100_000, in_flight: 4, ..one(10) });
            counted(*ours, *theirs, Case { request_bytes: 30_001, in_flight: 7, ..one(3) });
        }
    }
}
