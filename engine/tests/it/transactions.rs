//! Requests and responses over connections that are kept: every transaction counts once, whatever the
//! engines, the sizes and the number under way, and both ends end as they should.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ringperf_engine::facts::Engine;
use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Length, Protocol, Role, Transaction, Without};
use ringperf_engine::{EngineChoice, Outcome, Plan, PlanOptions, Prepared, prepare};
use socket2::SockRef;

use crate::support::{
    CLASSIC, EPOLL, SOON, URING, Way, connect, datagram_ways, listen, loopback, run_pair, uring_or_skip, ways,
};

const MS: Duration = Duration::from_millis(1);

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

fn over_udp(options: PlanOptions) -> PlanOptions {
    PlanOptions { protocol: Protocol::Udp, ..options }
}

fn ready(options: PlanOptions) -> Prepared {
    prepare(&Plan::new(options).unwrap()).unwrap()
}

/// Both outcomes: the requester's, then the responder's.
fn run(requester: PlanOptions, responder: PlanOptions) -> (Outcome, Outcome) {
    let (responder, requester) = (ready(responder), ready(requester));
    let target = responder.local();
    let responding = std::thread::spawn(move || responder.run(None).unwrap());
    let requested = requester.run(Some(target)).unwrap();
    (requested, responding.join().unwrap())
}

/// Runs for a time in which both ends get their turn: on a busy machine the first one may be too short.
fn timed(ours: &PlanOptions, theirs: &PlanOptions) -> (Outcome, Outcome, Duration) {
    for time in [200 * MS, 1000 * MS, 5000 * MS, SOON] {
        let length = Length::Time(time);
        let ends = (PlanOptions { length, ..ours.clone() }, PlanOptions { length, ..theirs.clone() });
        let (requested, responded) = run(ends.0, ends.1);
        if requested.tally.transactions > 0 {
            return (requested, responded, time);
        }
    }
    panic!("no transaction in {SOON:?}");
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

#[test]
fn one_transaction_at_a_time_is_made_by_blocking_calls_unless_an_engine_is_named() {
    let auto = Way { name: "auto", engine: EngineChoice::Auto, ..EPOLL };
    let uring = uring_or_skip("auto with more under way");
    for (flows, in_flight, busy_poll, blocks) in
        [(1, 1, false, true), (1, 2, false, false), (2, 1, false, false), (1, 1, true, false)]
    {
        let case = Case { flows, in_flight, ..one(64) };
        let options = |way, role| PlanOptions { busy_poll, ..case.options(way, role) };
        for way in [auto, EPOLL] {
            // A responder is not told how many its peer has under way.
            let theirs = PlanOptions {
                transaction: one(64).options(auto, Role::Respond).transaction,
                ..options(auto, Role::Respond)
            };
            let (requested, responded) = run(options(way, Role::Request), theirs);
            let name = format!("{}, {flows} flows, {in_flight} in flight, {busy_poll}", way.name);
            assert_counted(&name, case, &requested, &responded);
            let chosen = |blocks| match (blocks, uring) {
                (true, _) => Engine::Classic,
                (false, true) => Engine::Uring,
                (false, false) => Engine::Epoll,
            };
            let ours = if way == auto { chosen(blocks) } else { Engine::Epoll };
            assert_eq!(requested.facts.engine, ours, "{name}");
            assert_eq!(responded.facts.engine, chosen(flows == 1 && !busy_poll), "{name}");
        }
    }
    let large = Case { response_bytes: 65_537, ..one(64) };
    let (requested, responded) = run(large.options(auto, Role::Request), large.options(auto, Role::Respond));
    let reads_while_it_sends = if uring { Engine::Uring } else { Engine::Epoll };
    assert_eq!(
        (requested.facts.engine, responded.facts.engine),
        (reads_while_it_sends, reads_while_it_sends)
    );
    for without in [Without { multishot: true, ..Without::default() }, Without::default()] {
        let options = |role| PlanOptions { without, ..one(1).options(auto, role) };
        let (requested, _) = run(options(Role::Request), options(Role::Respond));
        let rings = uring && without.multishot;
        assert_eq!(requested.facts.engine == Engine::Uring, rings, "{without:?}");
    }
}

#[test]
fn as_many_requests_are_under_way_as_were_asked_for() {
    for way in engines("as_many_requests_are_under_way_as_were_asked_for") {
        let listener = TcpListener::bind(loopback()).unwrap();
        let target = listener.local_addr().unwrap();
        let case = Case { in_flight: 5, length: Length::Transactions(5), ..one(64) };
        let requester = ready(PlanOptions { check_payload: false, ..case.options(way, Role::Request) });
        let requesting = std::thread::spawn(move || requester.run(Some(target)).unwrap());
        let (mut data, _) = listener.accept().unwrap();
        // All of them, before the first one is answered.
        data.set_read_timeout(Some(SOON)).unwrap();
        data.read_exact(&mut [0; 5 * 64]).unwrap_or_else(|error| panic!("{}: {error}", way.name));
        data.write_all(&[0; 5 * 64]).unwrap();
        assert_eq!(data.read(&mut [0; 1]).unwrap(), 0, "{}", way.name);
        drop(data);
        assert_eq!(requesting.join().unwrap().tally.transactions, 5, "{}", way.name);
    }
}

#[test]
fn sizes_beyond_any_socket_buffer_go_both_ways_at_once() {
    for way in engines("sizes_beyond_any_socket_buffer_go_both_ways_at_once") {
        for in_flight in [1, 16] {
            let length = Length::Transactions(20);
            counted(way, way, Case { in_flight, length, ..one(2 << 20) });
        }
    }
    counted(EPOLL, EPOLL, Case { in_flight: 2, length: Length::Transactions(3), ..one(16 << 20) });
}

#[test]
fn every_degraded_path_counts_alike() {
    for way in ways("every_degraded_path_counts_alike").into_iter().filter(|way| *way != CLASSIC) {
        for (bytes, in_flight, flows) in [(1, 1, 1), (1, 16, 3), (5000, 16, 2), (300_000, 4, 1)] {
            counted(way, way, Case { in_flight, flows, ..one(bytes) });
        }
    }
}

#[test]
fn many_flows_share_the_transactions() {
    for way in engines("many_flows_share_the_transactions") {
        for (flows, transactions, in_flight) in
            [(16, 16 * 50, 1), (16, 1001, 3), (128, 128 * 20, 1), (5, 3, 1)]
        {
            counted(
                way,
                way,
                Case { flows, in_flight, length: Length::Transactions(transactions), ..one(64) },
            );
        }
    }
}

#[test]
fn workers_on_both_ends_need_not_be_as_many() {
    let case = Case { flows: 9, length: Length::Transactions(1000), ..one(100) };
    let (ours, theirs) = (case.options(EPOLL, Role::Request), case.options(EPOLL, Role::Respond));
    let (requested, responded) =
        run(PlanOptions { workers: 2, ..ours }, PlanOptions { workers: 3, ..theirs });
    assert_counted("two workers to three", case, &requested, &responded);
    assert_eq!((requested.workers.len(), responded.workers.len()), (2, 3));
}

#[test]
fn a_timed_requester_ends_on_time_and_the_responder_with_it() {
    for way in ways("a_timed_requester_ends_on_time_and_the_responder_with_it") {
        for flows in [1, 4] {
            let case = Case { in_flight: 2, flows, ..one(64) };
            let (ours, theirs) = (case.options(way, Role::Request), case.options(way, Role::Respond));
            let (requested, responded, time) = timed(&ours, &theirs);
            let name = format!("{}, {flows} flows", way.name);
            assert_eq!((requested.end, responded.end), (End::PeerClosed, End::PeerClosed), "{name}");
            assert!(requested.elapsed >= time && requested.elapsed < time + SOON, "{name}");
            let (done, answered) = (requested.tally.transactions, responded.tally.transactions);
            let most = done + 2 * u64::from(flows);
            assert!((done..=most).contains(&answered), "{name}: {done} of {answered}");
            assert_eq!(responded.tally.bytes_received, requested.tally.bytes_sent, "{name}");
            assert_eq!((requested.tally.wrong_bytes, responded.tally.wrong_bytes), (0, 0), "{name}");
        }
    }
}

#[test]
fn a_responder_that_is_left_alone_ends_by_its_own_time() {
    for way in engines("a_responder_that_is_left_alone_ends_by_its_own_time") {
        let options = PlanOptions {
            length: Length::Time(100 * MS),
            receive_grace: 100 * MS,
            ..one(64).options(way, Role::Respond)
        };
        let responder = ready(options);
        let mut peer = TcpStream::connect(responder.local()).unwrap();
        let run = std::thread::spawn(move || responder.run(None).unwrap());
        peer.write_all(&[0; 63]).unwrap();
        let outcome = run.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::Timer, 0), "{}", way.name);
        assert_eq!(outcome.tally.bytes_received, 63, "{}", way.name);
        assert!(outcome.elapsed >= 200 * MS, "{}", way.name);
    }
}

#[test]
fn a_stopped_requester_ends_its_stream_in_order() {
    for way in ways("a_stopped_requester_ends_its_stream_in_order") {
        let case = Case { length: Length::Endless, in_flight: 3, ..one(100) };
        let responder = ready(case.options(way, Role::Respond));
        let requester = ready(case.options(way, Role::Request));
        let (stop, target) = (requester.stop(), responder.local());
        let responding = std::thread::spawn(move || responder.run(None).unwrap());
        let requesting = std::thread::spawn(move || requester.run(Some(target)).unwrap());
        std::thread::sleep(100 * MS);
        stop.stop();
        let (requested, responded) = (requesting.join().unwrap(), responding.join().unwrap());
        assert_eq!((requested.end, responded.end), (End::Stopped, End::PeerClosed), "{}", way.name);
        assert_eq!(responded.tally.bytes_received, requested.tally.bytes_sent, "{}", way.name);
    }
}

#[test]
fn a_stopped_responder_ends_the_requester_too() {
    for way in engines("a_stopped_responder_ends_the_requester_too") {
        let case = Case { length: Length::Endless, ..one(100) };
        let responder = ready(case.options(way, Role::Respond));
        let requester = ready(case.options(way, Role::Request));
        let (stop, target) = (responder.stop(), responder.local());
        let responding = std::thread::spawn(move || responder.run(None).unwrap());
        let requesting = std::thread::spawn(move || requester.run(Some(target)).unwrap());
        std::thread::sleep(100 * MS);
        stop.stop();
        let (requested, responded) = (requesting.join().unwrap(), responding.join().unwrap());
        assert_eq!(responded.end, End::Stopped, "{}", way.name);
        // With a request unread, its close is a reset.
        assert!(
            matches!(requested.end, End::PeerClosed | End::Failed(_)),
            "{}: {:?}",
            way.name,
            requested.end
        );
    }
}

/// A peer that takes a message and breaks the connection off.
fn reset(mut stream: TcpStream) {
    stream.read_exact(&mut [0; 10]).unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_reset_fails_either_end_with_its_errno() {
    for way in ways("a_reset_fails_either_end_with_its_errno") {
        let case = Case { length: Length::Endless, ..one(10) };
        let listener = TcpListener::bind(loopback()).unwrap();
        let requester = ready(case.options(way, Role::Request));
        let target = listener.local_addr().unwrap();
        let requesting = std::thread::spawn(move || requester.run(Some(target)).unwrap());
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(&[0; 5]).unwrap();
        reset(peer);
        let requested = requesting.join().unwrap();
        assert!(matches!(requested.end, End::Failed(104 | 32)), "{}: {:?}", way.name, requested.end);
        assert_eq!(requested.tally.transactions, 0, "{}", way.name);

        let responder = ready(case.options(way, Role::Respond));
        let target = responder.local();
        let responding = std::thread::spawn(move || responder.run(None).unwrap());
        let mut peer = TcpStream::connect(target).unwrap();
        peer.write_all(&[0; 15]).unwrap();
        reset(peer);
        let responded = responding.join().unwrap();
        assert!(matches!(responded.end, End::Failed(104 | 32)), "{}: {:?}", way.name, responded.end);
    }
}

#[test]
fn a_responder_ends_inside_a_request_and_closes_first_by_its_count() {
    for way in engines("a_responder_ends_inside_a_request_and_closes_first_by_its_count") {
        let responder = ready(Case { length: Length::Endless, ..one(100) }.options(way, Role::Respond));
        let mut peer = TcpStream::connect(responder.local()).unwrap();
        let run = std::thread::spawn(move || responder.run(None).unwrap());
        peer.write_all(&[0; 250]).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        peer.read_to_end(&mut answers).unwrap();
        let outcome = run.join().unwrap();
        assert_eq!((outcome.end, answers.len()), (End::PeerClosed, 200), "{}", way.name);
        assert_eq!((outcome.tally.transactions, outcome.tally.bytes_received), (2, 250), "{}", way.name);

        let responder =
            ready(Case { length: Length::Transactions(2), ..one(100) }.options(way, Role::Respond));
        let mut peer = TcpStream::connect(responder.local()).unwrap();
        let run = std::thread::spawn(move || responder.run(None).unwrap());
        peer.write_all(&[0; 200]).unwrap();
        let mut answers = Vec::new();
        peer.read_to_end(&mut answers).unwrap();
        assert_eq!((run.join().unwrap().end, answers.len()), (End::Count, 200), "{}", way.name);
    }
}

#[test]
fn datagrams_make_transactions_as_well() {
    for way in datagram_ways("datagrams_make_transactions_as_well") {
        for (request_bytes, response_bytes, in_flight) in
            [(1, 1, 1), (64, 1400, 16), (8000, 1, 2), (1, 65_507, 1), (10, 10, 70)]
        {
            let case = Case { request_bytes, response_bytes, in_flight, ..one(1) };
            let (ours, theirs) = (case.options(way, Role::Request), case.options(way, Role::Respond));
            let (requested, responded) = run(over_udp(ours), over_udp(theirs));
            let name = format!("{}: {request_bytes}, {response_bytes}, {in_flight}", way.name);
            assert_counted(&name, case, &requested, &responded);
        }
    }
}

#[test]
fn datagrams_end_by_the_time_and_by_empty_ones() {
    for way in datagram_ways("datagrams_end_by_the_time_and_by_empty_ones") {
        let case = Case { in_flight: 2, ..one(64) };
        let (ours, theirs) = (case.options(way, Role::Request), case.options(way, Role::Respond));
        let (requested, responded, time) = timed(&over_udp(ours), &over_udp(theirs));
        assert_eq!((requested.end, responded.end), (End::Timer, End::PeerClosed), "{}", way.name);
        let (done, answered) = (requested.tally.transactions, responded.tally.transactions);
        assert!((done..=done + 2).contains(&answered), "{}: {done} of {answered}", way.name);
        assert!(requested.elapsed >= time && requested.elapsed < time + SOON, "{}", way.name);
        assert!(responded.elapsed < requested.elapsed + SOON, "{}", way.name);
    }
}

/// Answers all requests but each third.
fn forgetful(socket: &UdpSocket) -> u64 {
    let (mut requests, mut answered) = (0, 0);
    let mut request = [0; 100];
    loop {
        let (bytes, from) = socket.recv_from(&mut request).unwrap();
        if bytes == 0 {
            return answered;
        }
        requests += 1;
        if requests % 3 != 0 {
            socket.send_to(&request[..bytes], from).unwrap();
            answered += 1;
        }
    }
}

#[test]
fn a_lost_datagram_stalls_or_is_sent_again() {
    for way in datagram_ways("a_lost_datagram_stalls_or_is_sent_again") {
        for (resend_after, in_flight, length) in [
            (Some(20 * MS), 1, Length::Transactions(10)),
            (Some(20 * MS), 4, Length::Transactions(10)),
            (None, 1, Length::Time(100 * MS)),
        ] {
            let socket = UdpSocket::bind(loopback()).unwrap();
            let case = Case { length, in_flight, ..one(10) };
            let mut options = over_udp(case.options(way, Role::Request));
            options.transaction.resend_after = resend_after;
            let (requester, target) = (ready(options), socket.local_addr().unwrap());
            let requesting = std::thread::spawn(move || requester.run(Some(target)).unwrap());
            let answered = forgetful(&socket);
            drop(socket);
            let outcome = requesting.join().unwrap();
            let name = format!("{}, {resend_after:?}, {in_flight} in flight", way.name);
            if resend_after.is_none() {
                assert!(outcome.end == End::Timer && outcome.tally.transactions <= 2, "{name}: {outcome:?}");
                continue;
            }
            assert_eq!((outcome.end, outcome.tally.transactions), (End::Count, 10), "{name}");
            assert!(answered >= 10 && outcome.tally.messages_sent > 10, "{name}: {:?}", outcome.tally);
            assert!(outcome.elapsed >= 20 * MS, "{name}");
        }
    }
}

#[test]
fn a_request_of_another_size_fails_a_responder_that_was_told_the_size() {
    for way in datagram_ways("a_request_of_another_size_fails_a_responder_that_was_told_the_size") {
        let case = Case { length: Length::Endless, ..one(10) };
        for exact_message in [false, true] {
            let options = PlanOptions { exact_message, ..over_udp(case.options(way, Role::Respond)) };
            let responder = ready(options);
            let peer = UdpSocket::bind(loopback()).unwrap();
            peer.connect(responder.local()).unwrap();
            let run = std::thread::spawn(move || responder.run(None).unwrap());
            let mut answer = [0; 100];
            peer.send(&[0; 10]).unwrap();
            assert_eq!(peer.recv(&mut answer).unwrap(), 10, "{}", way.name);
            peer.send(&[0; 9]).unwrap();
            if !exact_message {
                assert_eq!(peer.recv(&mut answer).unwrap(), 10, "{}", way.name);
                peer.send(&[]).unwrap();
            }
            let outcome = run.join().unwrap();
            let wanted = if exact_message { (End::Failed(90), 1) } else { (End::PeerClosed, 2) };
            assert_eq!((outcome.end, outcome.tally.transactions), wanted, "{}", way.name);
        }
    }
}

#[test]
fn the_time_of_every_transaction_is_measured() {
    for way in engines("the_time_of_every_transaction_is_measured") {
        for (flows, in_flight, udp) in [(1, 1, false), (1, 16, false), (20, 3, false), (1, 4, true)] {
            let case = Case { flows, in_flight, length: Length::Transactions(1000), ..one(20) };
            let (ours, theirs) = (case.options(way, Role::Request), case.options(way, Role::Respond));
            let ours = PlanOptions { latency: true, workers: 2, ..ours };
            let (ours, theirs) = if udp { (over_udp(ours), over_udp(theirs)) } else { (ours, theirs) };
            let (requested, responded) = run(ours, theirs);
            let name = format!("{}: {flows} flows, {in_flight} in flight, udp {udp}", way.name);
            assert!(responded.latency.is_none(), "{name}");
            let latency = requested.latency.expect("it was asked for");
            assert_eq!(latency.histogram.len(), 1000, "{name}");
            // So many were under way at once, for no longer than the run.
            let most = requested.elapsed.as_nanos() * u128::from(flows * in_flight);
            assert!(latency.sum_ns > 0 && latency.sum_ns <= most, "{name}: {} of {most}", latency.sum_ns);
            assert!(latency.min_ns > 0 && latency.min_ns <= latency.max_ns, "{name}");
            let mean = latency.sum_ns as f64 / 1000.0 / 1000.0;
            assert!(latency.sum_squares_us / 1000.0 >= mean * mean * 0.999, "{name}");
            assert!(latency.histogram.max() >= latency.max_ns, "{name}");
        }
    }
}

#[test]
fn who_never_sleeps_counts_alike() {
    for way in ways("who_never_sleeps_counts_alike").into_iter().filter(|way| *way != CLASSIC) {
        let busy = |options| PlanOptions { busy_poll: true, ..options };
        for (bytes, in_flight, flows, udp) in
            [(1, 1, 1, false), (300, 4, 20, false), (100_000, 2, 1, false), (1, 3, 1, true)]
        {
            let case = Case { in_flight, flows, ..one(bytes) };
            let (ours, theirs) = (case.options(way, Role::Request), case.options(way, Role::Respond));
            let (ours, theirs) = if udp { (over_udp(ours), over_udp(theirs)) } else { (ours, theirs) };
            let name =
                format!("{}: {bytes} bytes, {in_flight} in flight, {flows} flows, udp {udp}", way.name);
            let (requested, responded) = run(busy(ours), busy(theirs));
            assert_counted(&name, case, &requested, &responded);
            for outcome in [requested, responded] {
                assert!(outcome.facts.busy_poll && outcome.tally.operations.wakeups == 0, "{name}");
                let flags = outcome.facts.uring.map(|uring| uring.setup_flags).unwrap_or_default();
                let tells = flags.iter().any(|flag| flag.contains("COOP") || flag.contains("DEFER"));
                assert_eq!(flags.contains(&"TASKRUN_FLAG"), tells, "{name}");
            }
        }
    }
    let classic = one(1).options(CLASSIC, Role::Request);
    let refused = Plan::new(PlanOptions { busy_poll: true, ..classic }).unwrap_err();
    assert!(refused.to_string().contains("busy poll"));
}

#[test]
fn who_never_sleeps_is_stopped_and_ends_by_the_clock() {
    for way in
        engines("who_never_sleeps_is_stopped_and_ends_by_the_clock").into_iter().filter(|way| *way != CLASSIC)
    {
        let case = Case { length: Length::Endless, ..one(10) };
        let options = PlanOptions { busy_poll: true, ..case.options(way, Role::Respond) };
        let responder = ready(options.clone());
        let _silent = TcpStream::connect(responder.local()).unwrap();
        let stop = responder.stop();
        let run = std::thread::spawn(move || responder.run(None).unwrap());
        std::thread::sleep(50 * MS);
        stop.stop();
        assert_eq!(run.join().unwrap().end, End::Stopped, "{}", way.name);
        let options = PlanOptions { length: Length::Time(50 * MS), receive_grace: 50 * MS, ..options };
        let responder = ready(options);
        let _silent = TcpStream::connect(responder.local()).unwrap();
        assert_eq!(responder.run(None).unwrap().end, End::Timer, "{}", way.name);
    }
}

#[test]
fn streams_and_datagrams_arrive_where_nobody_sleeps() {
    for way in
        ways("streams_and_datagrams_arrive_where_nobody_sleeps").into_iter().filter(|way| *way != CLASSIC)
    {
        let busy = |role, endpoint| PlanOptions { busy_poll: true, ..way.options(role, endpoint) };
        let receiver = PlanOptions { check_payload: true, ..busy(Role::Receive, listen()) };
        let (sent, received) = run_pair(busy(Role::Send, connect()), receiver);
        assert_eq!((sent.end, received.end), (End::PeerClosed, End::PeerClosed), "{}", way.name);
        assert_eq!(received.tally.bytes_received, sent.tally.bytes_sent, "{}", way.name);
        assert_eq!(received.tally.wrong_bytes, 0, "{}", way.name);
        assert!(received.low_water.is_none() && sent.tally.bytes_sent > 0, "{}", way.name);
    }
}

#[test]
fn samples_tell_of_transactions() {
    for way in engines("samples_tell_of_transactions") {
        let case = Case { flows: 3, ..one(20) };
        let ours = PlanOptions { interval: Some(50 * MS), ..case.options(way, Role::Request) };
        let (requested, ..) = timed(&ours, &case.options(way, Role::Respond));
        let told: Vec<u64> = requested.samples.iter().map(|sample| sample.transactions).collect();
        assert!(told.is_sorted() && !told.is_empty(), "{}: {told:?}", way.name);
        assert!(told.last() <= Some(&requested.tally.transactions), "{}: {told:?}", way.name);
    }
}

#[test]
fn what_is_no_transaction_is_refused() {
    let good = one(1).options(Way { engine: EngineChoice::Epoll, ..EPOLL }, Role::Request);
    assert!(Plan::new(good.clone()).is_ok());
    let with = |transaction: Transaction| PlanOptions { transaction, ..good.clone() };
    let each = Transaction::default;
    for (bad, name) in [
        (with(Transaction { request_bytes: 0, ..each() }), "request size"),
        (with(Transaction { response_bytes: (16 << 20) + 1, ..each() }), "response size"),
        (over_udp(with(Transaction { response_bytes: 65_508, ..each() })), "response size"),
        (with(Transaction { in_flight: 0, ..each() }), "transactions in flight"),
        (with(Transaction { resend_after: Some(Duration::ZERO), ..each() }), "sent again"),
        (PlanOptions { length: Length::Transactions(0), ..good.clone() }, "number of transactions"),
        (PlanOptions { length: Length::Bytes(1), ..good.clone() }, "length"),
        (PlanOptions { endpoint: listen(), ..good.clone() }, "role"),
        (PlanOptions { role: Role::Respond, ..good.clone() }, "role"),
        (PlanOptions { role: Role::Send, ..good.clone() }, "length"),
        (PlanOptions { flows: 2, ..over_udp(good.clone()) }, "flows"),
    ] {
        assert!(Plan::new(bad).unwrap_err().to_string().contains(name), "{name}");
    }
}
