//! Transactions that have a connection each: how many there are, how they end, and what they leave behind.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringperf_engine::outcome::Outcome;
use ringperf_engine::plan::{Connections, Endpoint, Length, Role, Transaction, Without};
use ringperf_engine::{End, EngineChoice, Plan, PlanOptions, Prepared, prepare};
use socket2::SockRef;

use crate::support::{CLASSIC, EPOLL, SOON, URING, Way, at_most, connect, listen, loopback, uring_or_skip};

/// The engines.
fn engines(test: &str) -> Vec<Way> {
    let mut ways = vec![CLASSIC, EPOLL];
    if uring_or_skip(test) {
        ways.push(URING);
    }
    ways
}

/// The engines, and what of them can be left out here.
fn ways(test: &str) -> Vec<Way> {
    let mut ways = engines(test);
    let apart = Without { shared_segments: true, ..URING.without };
    ways.push(Way { name: "epoll, no shared segments", without: apart, ..EPOLL });
    if ways.contains(&URING) {
        ways.push(Way { name: "uring, no shared segments", without: apart, ..URING });
        let at_once = Without { deferred_task_run: true, ..URING.without };
        ways.push(Way { name: "uring without deferred task run", without: at_once, ..URING });
    }
    ways
}

fn each(request_bytes: u32, response_bytes: u32, in_flight: u32) -> Transaction {
    let connections = Connections::Each;
    Transaction { request_bytes, response_bytes, connections, in_flight, ..Transaction::default() }
}

fn options(way: &Way, role: Role, transaction: Transaction, length: Length) -> PlanOptions {
    let endpoint = if role == Role::Request { connect() } else { listen() };
    PlanOptions { transaction, length, ..way.options(role, endpoint) }
}

fn ready(options: PlanOptions) -> Prepared {
    prepare(&Plan::new(options).unwrap()).unwrap()
}

/// Both outcomes: the requester's and the responder's.
fn run(requester: PlanOptions, responder: PlanOptions) -> (Outcome, Outcome) {
    let responder = ready(responder);
    let port = responder.local();
    let requester = ready(requester);
    let responding = std::thread::spawn(move || responder.run(None).unwrap());
    let asked = requester.run(Some(port)).unwrap();
    (asked, responding.join().unwrap())
}

#[test]
fn every_engine_counts_the_same_with_every_other() {
    let all = engines("every_engine_counts_the_same_with_every_other");
    for asks in &all {
        for answers in &all {
            for (request, response) in [(1, 1), (100, 10_000), (70_000, 300), (0, 0)] {
                for in_flight in [1, 64] {
                    if in_flight > 1 && asks.engine == EngineChoice::Classic {
                        continue;
                    }
                    let name = format!(
                        "{} asks {}: {request}/{response}, {in_flight} at once",
                        asks.name, answers.name
                    );
                    let count = if in_flight > 1 { 500 } else { 100 };
                    let (transaction, length) =
                        (each(request, response, in_flight), Length::Transactions(count));
                    let (asked, answered) = run(
                        options(asks, Role::Request, transaction.clone(), length),
                        options(answers, Role::Respond, transaction, length),
                    );
                    assert_eq!((asked.end, answered.end), (End::Count, End::Count), "{name}");
                    for outcome in [&asked, &answered] {
                        assert_eq!(outcome.tally.transactions, count, "{name}");
                        assert_eq!(
                            outcome.tally.messages_sent,
                            if request > 0 { count } else { 0 },
                            "{name}"
                        );
                        assert_eq!(
                            (outcome.tally.operations.stale, outcome.tally.operations.overflows),
                            (0, 0)
                        );
                        assert!(outcome.transport.as_ref().unwrap().segment_bytes > 0, "{name}");
                        assert!(outcome.peer.is_some(), "{name}");
                        assert_eq!(outcome.facts.degraded, [], "{name}");
                    }
                    let (requests, responses) = (count * u64::from(request), count * u64::from(response));
                    assert_eq!(
                        (asked.tally.bytes_sent, asked.tally.bytes_received),
                        (requests, responses),
                        "{name}"
                    );
                    assert_eq!(
                        (answered.tally.bytes_sent, answered.tally.bytes_received),
                        (responses, requests)
                    );
                }
            }
        }
    }
}

/// As a peer does that cannot remember a connection which it has closed, and hears of it once more.
#[test]
fn a_peer_that_resets_behind_its_response_is_known_all_the_same() {
    for way in engines("a_peer_that_resets_behind_its_response_is_known_all_the_same") {
        let peer = TcpListener::bind(loopback()).unwrap();
        let port = peer.local_addr().unwrap();
        // Now and then the requester has read and closed before the reset.
        for _ in 0..10 {
            let requester = options(&way, Role::Request, each(1, 1, 1), Length::Transactions(1));
            let requester = ready(requester);
            let running = std::thread::spawn(move || requester.run(Some(port)).unwrap());
            let mut stream = peer.accept().unwrap().0;
            stream.read_exact(&mut [0; 1]).unwrap();
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            stream.write_all(&[0; 1]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            drop(stream);
            let outcome = running.join().unwrap();
            assert_eq!((outcome.end, outcome.tally.transactions), (End::Count, 1), "{}", way.name);
            assert_eq!(outcome.peer, Some(port), "{}", way.name);
        }
    }
}

#[test]
fn a_responder_describes_a_connection_that_is_still_there() {
    for way in engines("a_responder_describes_a_connection_that_is_still_there") {
        let responder = ready(options(&way, Role::Respond, each(1, 1, 1), Length::Transactions(1)));
        let port = responder.local();
        let gone = TcpStream::connect(port).unwrap();
        SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
        drop(gone);
        let responding = std::thread::spawn(move || responder.run(None).unwrap());
        let mut stream = TcpStream::connect(port).unwrap();
        stream.write_all(&[0; 1]).unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        let outcome = responding.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::Count, 1), "{}", way.name);
        assert_eq!(outcome.peer, Some(stream.local_addr().unwrap()), "{}", way.name);
    }
}

/// A port that somebody else has is tried again without end, and the kernel has nothing to wait for.
#[test]
fn a_requester_that_gets_no_connection_can_be_stopped() {
    for way in engines("a_requester_that_gets_no_connection_can_be_stopped") {
        let peer = TcpListener::bind(loopback()).unwrap();
        let taken = TcpListener::bind(loopback()).unwrap();
        let port = taken.local_addr().unwrap().port();
        let local_ports = Some(port..=port);
        let transaction = Transaction { local_ports, retry_connect: true, ..each(1, 1, 1) };
        let requester = ready(options(&way, Role::Request, transaction, Length::Endless));
        let (stop, port) = (requester.stop(), peer.local_addr().unwrap());
        let running = std::thread::spawn(move || requester.run(Some(port)).unwrap());
        std::thread::sleep(Duration::from_millis(300));
        stop.stop();
        let outcome = running.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::Stopped, 0), "{}", way.name);
        assert!(outcome.elapsed < SOON, "{}", way.name);
    }
}

#[test]
fn a_timed_run_ends_by_the_clock_and_its_responder_soon_after() {
    for way in ways("a_timed_run_ends_by_the_clock_and_its_responder_soon_after") {
        let in_flight = if way.engine == EngineChoice::Classic { 1 } else { 8 };
        let time = Duration::from_millis(500);
        let (transaction, length) = (each(1, 1, in_flight), Length::Time(time));
        let (asked, answered) = run(
            options(&way, Role::Request, transaction.clone(), length),
            options(&way, Role::Respond, transaction, length),
        );
        assert_eq!((asked.end, answered.end), (End::Timer, End::PeerClosed), "{}", way.name);
        assert!(
            asked.elapsed >= time && asked.elapsed < time + at_most(Duration::from_secs(3)),
            "{:?}",
            asked.elapsed
        );
        // Not before the time is over, and well before its grace is.
        assert!(answered.elapsed >= time + Duration::from_millis(250), "{:?}", answered.elapsed);
        assert!(answered.elapsed < time + at_most(Duration::from_secs(3)), "{:?}", answered.elapsed);
        let (asked, answered) = (asked.tally.transactions, answered.tally.transactions);
        assert!(asked > 0, "{}", way.name);
        assert!(
            (asked..=asked + u64::from(in_flight)).contains(&answered),
            "{}: {asked}, {answered}",
            way.name
        );
    }
}

#[test]
fn each_transaction_has_a_time_which_is_that_of_its_connection() {
    for way in ways("each_transaction_has_a_time_which_is_that_of_its_connection") {
        for busy_poll in [false, true] {
            if busy_poll && way.engine == EngineChoice::Classic {
                continue;
            }
            let options = |role, latency| PlanOptions {
                latency,
                busy_poll,
                ..options(&way, role, each(1, 1, 1), Length::Transactions(200))
            };
            let (asked, answered) = run(options(Role::Request, true), options(Role::Respond, false));
            let latency = asked.latency.unwrap();
            assert_eq!((latency.histogram.len(), asked.tally.transactions), (200, 200), "{}", way.name);
            // One at a time, so they fill the run.
            let sum = Duration::from_nanos(latency.sum_ns as u64);
            assert!(sum <= asked.elapsed && sum > asked.elapsed / 4, "{}: {sum:?}", way.name);
            assert!(latency.min_ns > 0 && answered.latency.is_none(), "{}", way.name);
        }
    }
}

#[test]
fn a_connection_may_take_its_time() {
    for way in engines("a_connection_may_take_its_time") {
        // Full, so that the handshake is not answered until somebody is taken.
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&loopback().into()).unwrap();
        listener.listen(0).unwrap();
        let port = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&port, Duration::from_millis(100)) {
            queued.push(stream);
        }
        let requester = ready(options(&way, Role::Request, each(1, 1, 1), Length::Transactions(1)));
        let running = std::thread::spawn(move || requester.run(Some(port)));
        std::thread::sleep(Duration::from_millis(200));
        let listener = TcpListener::from(listener);
        for _ in &queued {
            drop(listener.accept().unwrap());
        }
        // The one that gave up above may have come through, too.
        while !running.is_finished() {
            let (mut stream, _) = listener.accept().unwrap();
            if stream.read_exact(&mut [0; 1]).is_ok() {
                stream.write_all(&[1]).unwrap();
                break;
            }
        }
        let outcome = running.join().unwrap().unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::Count, 1), "{}", way.name);
        assert!(outcome.elapsed > Duration::from_millis(200), "{}: {:?}", way.name, outcome.elapsed);
    }
}

#[test]
fn without_a_linger_a_responder_waits_for_all_of_its_grace() {
    for way in ways("without_a_linger_a_responder_waits_for_all_of_its_grace") {
        let responder = ready(PlanOptions {
            receive_grace: Duration::from_millis(700),
            respond_linger: None,
            ..options(&way, Role::Respond, each(1, 1, 1), Length::Time(Duration::from_millis(100)))
        });
        let port = responder.local();
        let running = std::thread::spawn(move || responder.run(None).unwrap());
        transact(port, 1);
        let outcome = running.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::Timer, 1), "{}", way.name);
        assert!(outcome.elapsed >= Duration::from_millis(800), "{}: {:?}", way.name, outcome.elapsed);
    }
}

/// One transaction with a response of one byte, by hand.
fn transact(port: SocketAddr, request: usize) {
    let mut stream = TcpStream::connect(port).unwrap();
    stream.write_all(&vec![1; request]).unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    assert_eq!(response.len(), 1);
}

#[test]
fn what_is_no_request_is_skipped_and_holds_nobody_up() {
    for way in ways("what_is_no_request_is_skipped_and_holds_nobody_up") {
        let responder = ready(options(&way, Role::Respond, each(10, 1, 1), Length::Transactions(3)));
        let port = responder.local();
        let running = std::thread::spawn(move || responder.run(None).unwrap());
        drop(TcpStream::connect(port).unwrap());
        transact(port, 10);
        let mut half = TcpStream::connect(port).unwrap();
        half.write_all(&[1; 5]).unwrap();
        half.shutdown(Shutdown::Write).unwrap();
        assert_eq!(half.read(&mut [0; 1]).unwrap(), 0, "{}", way.name);
        let mut reset = TcpStream::connect(port).unwrap();
        reset.write_all(&[1; 5]).unwrap();
        SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
        drop(reset);
        transact(port, 10);
        // One that says nothing would hold up who takes one after the other.
        let silent = (way.engine != EngineChoice::Classic).then(|| TcpStream::connect(port).unwrap());
        transact(port, 10);
        let outcome = running.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::Count, 3), "{}", way.name);
        assert!(outcome.elapsed < SOON, "{}", way.name);
        drop(silent);
    }
}

/// Each byte is the end of a call, and none that of the request, or of the response.
#[test]
fn a_peer_that_goes_on_in_trickles_does_not_keep_a_stop_or_the_clock_waiting() {
    const LARGE: u32 = 16 << 20;
    for way in engines("a_peer_that_goes_on_in_trickles_does_not_keep_a_stop_or_the_clock_waiting") {
        let brief = Length::Time(Duration::from_millis(200));
        for (request, length) in [(LARGE, Length::Endless), (LARGE, brief), (1, Length::Endless), (1, brief)]
        {
            let responder = ready(PlanOptions {
                receive_grace: Duration::from_millis(200),
                ..options(&way, Role::Respond, each(request, LARGE, 1), length)
            });
            let (stop, port) = (responder.stop(), responder.local());
            let running = std::thread::spawn(move || responder.run(None).unwrap());
            let mut peer = TcpStream::connect(port).unwrap();
            peer.write_all(&[1]).unwrap();
            let begun = Instant::now();
            while !running.is_finished() && begun.elapsed() < SOON {
                if length == Length::Endless && begun.elapsed() > Duration::from_millis(300) {
                    stop.stop();
                }
                let _ = if request > 1 { peer.write(&[1]) } else { peer.read(&mut [0; 50_000]) };
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(peer);
            let outcome = running.join().unwrap();
            let end = if length == Length::Endless { End::Stopped } else { End::Timer };
            let soon = at_most(Duration::from_secs(1));
            assert!(
                outcome.end == end && outcome.elapsed < soon,
                "{}, a request of {request}: {:?} after {:?}",
                way.name,
                outcome.end,
                outcome.elapsed
            );
        }
    }
}

/// How much of it went is known by every engine, or a client that cuts off each response takes what nobody
/// counts.
#[test]
fn a_response_that_is_cut_off_counts_as_far_as_it_went() {
    const RESPONSE: u32 = 16 << 20;
    for way in ways("a_response_that_is_cut_off_counts_as_far_as_it_went") {
        let responder = ready(options(&way, Role::Respond, each(1, RESPONSE, 1), Length::Transactions(1)));
        let port = responder.local();
        let running = std::thread::spawn(move || responder.run(None).unwrap());
        let mut reset = TcpStream::connect(port).unwrap();
        reset.write_all(&[1]).unwrap();
        reset.read_exact(&mut vec![0; 4 << 20]).unwrap();
        SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
        drop(reset);
        let mut whole = TcpStream::connect(port).unwrap();
        whole.write_all(&[1]).unwrap();
        assert_eq!(std::io::copy(&mut whole, &mut std::io::sink()).unwrap(), RESPONSE.into());
        let outcome = running.join().unwrap();
        let tally = outcome.tally;
        assert_eq!(
            (outcome.end, tally.transactions, tally.messages_sent),
            (End::Count, 1, 1),
            "{}",
            way.name
        );
        let cut = tally.bytes_sent - u64::from(RESPONSE);
        assert!((4 << 20..16 << 20).contains(&cut), "{}: {cut}", way.name);
    }
}

#[test]
fn strangers_are_closed_and_counted_and_served_to_nobody() {
    for way in ways("strangers_are_closed_and_counted_and_served_to_nobody") {
        let endpoint =
            Endpoint::Listen { local: ([0, 0, 0, 0], 0).into(), peers: vec![[127, 0, 0, 2].into()] };
        let responder = ready(PlanOptions {
            endpoint,
            ..options(&way, Role::Respond, each(1, 1, 1), Length::Transactions(1))
        });
        let port: SocketAddr = ([127, 0, 0, 1], responder.local().port()).into();
        let running = std::thread::spawn(move || responder.run(None).unwrap());
        for _ in 0..3 {
            let mut stranger = TcpStream::connect(port).unwrap();
            assert!(matches!(stranger.read(&mut [0; 1]), Ok(0) | Err(_)), "{}", way.name);
        }
        let friend = Endpoint::Connect { local: ([127, 0, 0, 2], 0).into() };
        let requester = PlanOptions {
            endpoint: friend,
            ..options(&way, Role::Request, each(1, 1, 1), Length::Transactions(1))
        };
        let asked = ready(requester).run(Some(port)).unwrap();
        let answered = running.join().unwrap();
        assert_eq!((asked.end, answered.end), (End::Count, End::Count), "{}", way.name);
        assert_eq!((answered.tally.strangers, answered.tally.transactions), (3, 1), "{}", way.name);
        assert_eq!(answered.peer.unwrap().ip(), asked.local.ip(), "{}", way.name);
    }
}

#[test]
fn local_ports_are_used_in_turn_and_taken_ones_passed_over() {
    for (number, way) in (0..).zip(ways("local_ports_are_used_in_turn_and_taken_ones_passed_over")) {
        let range = 21_120 + number * 10..=21_127 + number * 10;
        let taken: Vec<TcpListener> = range
            .clone()
            .step_by(3)
            .filter_map(|port| TcpListener::bind((loopback().ip(), port)).ok())
            .collect();
        assert!(!taken.is_empty(), "{}", way.name);
        let transaction = Transaction { local_ports: Some(range.clone()), ..each(1, 1, 1) };
        let listener = TcpListener::bind(loopback()).unwrap();
        let port = listener.local_addr().unwrap();
        let requester = ready(options(&way, Role::Request, transaction, Length::Transactions(12)));
        let running = std::thread::spawn(move || requester.run(Some(port)).unwrap());
        let mut used = Vec::new();
        for _ in 0..12 {
            let (mut stream, from) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 1]).unwrap();
            stream.write_all(&[1]).unwrap();
            used.push(from.port());
        }
        let outcome = running.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::Count, 12), "{}", way.name);
        let free: Vec<u16> =
            range.filter(|port| taken.iter().all(|t| t.local_addr().unwrap().port() != *port)).collect();
        let start = free.iter().position(|port| *port == used[0]).unwrap();
        let wanted: Vec<u16> = free.iter().copied().cycle().skip(start).take(12).collect();
        assert_eq!(used, wanted, "{}", way.name);
    }
}

#[test]
fn a_local_port_is_that_of_every_connection() {
    for way in engines("a_local_port_is_that_of_every_connection") {
        let free = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
        let (transaction, length) = (each(1, 1, 1), Length::Transactions(3));
        let requester = PlanOptions {
            endpoint: Endpoint::Connect { local: free },
            ..options(&way, Role::Request, transaction.clone(), length)
        };
        let (asked, answered) = run(requester, options(&way, Role::Respond, transaction, length));
        assert_eq!((asked.end, answered.end), (End::Count, End::Count), "{}", way.name);
        assert_eq!((asked.local, answered.peer), (free, Some(free)), "{}", way.name);
    }
}

#[test]
fn a_range_of_taken_ports_fails_by_name() {
    for way in ways("a_range_of_taken_ports_fails_by_name") {
        let taken = TcpListener::bind(loopback()).unwrap();
        let port = taken.local_addr().unwrap().port();
        let transaction = Transaction { local_ports: Some(port..=port), ..each(1, 1, 1) };
        let responder = TcpListener::bind(loopback()).unwrap();
        let requester = ready(options(&way, Role::Request, transaction, Length::Transactions(1)));
        let error = requester.run(responder.local_addr().ok()).unwrap_err();
        assert_eq!(error.errno(), Some(98), "{}: {error}", way.name);
    }
}

#[test]
fn a_target_that_refuses_or_says_nothing_is_told_of_and_not_waited_for() {
    for way in ways("a_target_that_refuses_or_says_nothing_is_told_of_and_not_waited_for") {
        let transaction = each(1, 1, 1);
        let asks = |length| options(&way, Role::Request, transaction.clone(), length);
        let closed = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
        let error = ready(asks(Length::Transactions(1))).run(Some(closed)).unwrap_err();
        assert_eq!(error.errno(), Some(111), "{}: {error}", way.name);
        // Connected to by the kernel, and never answered.
        let mute = TcpListener::bind(loopback()).unwrap();
        let patient = Duration::from_millis(100);
        let requester = ready(PlanOptions { connect_timeout: patient, ..asks(Length::Transactions(1)) });
        let outcome = requester.run(mute.local_addr().ok()).unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::DrainTimeout, 0), "{}", way.name);
        assert!(outcome.elapsed < SOON, "{}", way.name);
        // Closed without a response.
        let rude = TcpListener::bind(loopback()).unwrap();
        let port = rude.local_addr().unwrap();
        let requester = ready(asks(Length::Endless));
        let running = std::thread::spawn(move || requester.run(Some(port)).unwrap());
        let mut stream = rude.accept().unwrap().0;
        stream.read_exact(&mut [0; 1]).unwrap();
        drop(stream);
        let outcome = running.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.transactions), (End::PeerClosed, 0), "{}", way.name);
    }
}

#[test]
fn nobody_comes_to_a_responder() {
    for way in ways("nobody_comes_to_a_responder") {
        let connect_timeout = Duration::from_millis(100);
        let responder = options(&way, Role::Respond, each(1, 1, 1), Length::Endless);
        let outcome = ready(PlanOptions { connect_timeout, ..responder }).run(None).unwrap();
        assert_eq!((outcome.end, outcome.connected_after), (End::NoConnection, None), "{}", way.name);
        assert!((connect_timeout..SOON).contains(&outcome.elapsed), "{}", way.name);
    }
}

#[test]
fn both_ends_can_be_stopped() {
    let all = engines("both_ends_can_be_stopped");
    for stopped in [Role::Request, Role::Respond] {
        for way in &all {
            let in_flight = if way.engine == EngineChoice::Classic { 1 } else { 64 };
            let transaction = each(1, 1, in_flight);
            let responder = ready(options(way, Role::Respond, transaction.clone(), Length::Endless));
            let requester = ready(options(way, Role::Request, transaction, Length::Endless));
            let port = responder.local();
            let (stop, other) = match stopped {
                Role::Request => (requester.stop(), responder.stop()),
                _ => (responder.stop(), requester.stop()),
            };
            let responding = std::thread::spawn(move || responder.run(None).unwrap());
            let requesting = std::thread::spawn(move || requester.run(Some(port)));
            std::thread::sleep(Duration::from_millis(500));
            stop.stop();
            // Blocking calls look for it ten times a second.
            std::thread::sleep(Duration::from_millis(400));
            other.stop();
            let (asked, answered) = (requesting.join().unwrap().unwrap(), responding.join().unwrap());
            let name = format!("{} {stopped:?}", way.name);
            assert!(asked.tally.transactions > 0, "{name}");
            assert_eq!(answered.end, End::Stopped, "{name}");
            if stopped == Role::Request {
                assert_eq!(asked.end, End::Stopped, "{name}");
            } else {
                let cut = matches!(asked.end, End::PeerClosed | End::Failed(104 | 111 | 32));
                assert!(cut, "{name}: {:?}", asked.end);
            }
            assert!(asked.elapsed < SOON && answered.elapsed < SOON, "{name}");
            assert!(asked.facts.degraded.is_empty() && answered.facts.degraded.is_empty(), "{name}");
        }
    }
}
