//! What goes wrong: peers that vanish, stall, reset or never come; each has its own result, and none hangs.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Endpoint, Length, Role};
use ringperf_engine::{Error, Plan, PlanOptions, Prepared, prepare};
use socket2::SockRef;

use crate::support::{SOON, connect, each_way, listen, loopback, ways};

fn ready(options: PlanOptions) -> Prepared {
    prepare(&Plan::new(options).unwrap()).unwrap()
}

#[test]
fn a_stopped_receiver_ends_at_once_and_keeps_its_count() {
    each_way("a_stopped_receiver_ends_at_once_and_keeps_its_count", |way| {
        let receiver = ready(way.options(Role::Receive, listen()));
        let mut peer = TcpStream::connect(receiver.local()).unwrap();
        let stop = receiver.stop();
        let run = std::thread::spawn(move || receiver.run(None).unwrap());
        peer.write_all(&[7; 1000]).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        stop.stop();
        let outcome = run.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.bytes_received), (End::Stopped, 1000), "{}", way.name);
    });
}

#[test]
fn a_sender_whose_peer_stops_reading_gives_up_after_the_drain_timeout() {
    each_way("a_sender_whose_peer_stops_reading_gives_up_after_the_drain_timeout", |way| {
        let listener = TcpListener::bind(loopback()).unwrap();
        let drain_timeout = Duration::from_millis(200);
        let sender = ready(PlanOptions { drain_timeout, ..way.options(Role::Send, connect()) });
        let started = Instant::now();
        let outcome = sender.run(Some(listener.local_addr().unwrap())).unwrap();
        assert_eq!(outcome.end, End::DrainTimeout, "{}", way.name);
        assert!(outcome.tally.bytes_sent > 0 && started.elapsed() < SOON, "{}: {outcome:?}", way.name);
        assert!(outcome.facts.degraded.iter().all(|d| d.feature != "orderly teardown"), "{}", way.name);
    });
}

#[test]
fn a_stopped_sender_still_ends_its_stream_in_order() {
    for way in ways("a_stopped_sender_still_ends_its_stream_in_order") {
        let listener = TcpListener::bind(loopback()).unwrap();
        let sender = ready(PlanOptions { length: Length::Endless, ..way.options(Role::Send, connect()) });
        let (stop, port) = (sender.stop(), listener.local_addr().unwrap());
        let run = std::thread::spawn(move || sender.run(Some(port)).unwrap());
        let mut peer = listener.accept().unwrap().0;
        let mut first = [0; 1000];
        peer.read_exact(&mut first).unwrap();
        stop.stop();
        let rest = std::io::copy(&mut peer, &mut std::io::sink()).unwrap();
        drop(peer);
        let outcome = run.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.bytes_sent), (End::Stopped, 1000 + rest), "{}", way.name);
    }
}

/// Its messages, and of zero-copy sends their memory, are still with the kernel then.
#[test]
fn a_stopped_sender_leaves_nothing_behind_though_its_peer_never_reads() {
    each_way("a_stopped_sender_leaves_nothing_behind_though_its_peer_never_reads", |way| {
        for message_bytes in [1000, 128 << 10, 1 << 20] {
            let listener = TcpListener::bind(loopback()).unwrap();
            let sender = ready(PlanOptions {
                length: Length::Endless,
                drain_timeout: Duration::from_millis(100),
                message_bytes,
                ..way.options(Role::Send, connect())
            });
            let (stop, port) = (sender.stop(), listener.local_addr().unwrap());
            let run = std::thread::spawn(move || sender.run(Some(port)).unwrap());
            let _silent = listener.accept().unwrap().0;
            // Until the buffers are full.
            std::thread::sleep(Duration::from_millis(300));
            stop.stop();
            let outcome = run.join().unwrap();
            assert_eq!(outcome.end, End::DrainTimeout, "{}", way.name);
            assert!(outcome.facts.degraded.iter().all(|d| d.feature != "orderly teardown"), "{}", way.name);
            assert_eq!(outcome.tally.operations.stale, 0, "{}", way.name);
        }
    });
}

#[test]
fn a_stop_before_the_start_ends_both_roles_at_once() {
    for way in ways("a_stop_before_the_start_ends_both_roles_at_once") {
        let listener = TcpListener::bind(loopback()).unwrap();
        for (role, endpoint) in [(Role::Receive, listen()), (Role::Send, connect())] {
            let prepared = ready(PlanOptions { length: Length::Endless, ..way.options(role, endpoint) });
            prepared.stop().stop();
            let started = Instant::now();
            let outcome = prepared.run(Some(listener.local_addr().unwrap())).unwrap();
            assert_eq!(outcome.end, End::Stopped, "{} {role:?}", way.name);
            assert!(started.elapsed() < SOON, "{} {role:?}", way.name);
        }
    }
}

/// A listener that answers nobody: its queue is full, so the kernel drops what wants to connect.
fn deaf_listener() -> (socket2::Socket, Vec<TcpStream>) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&loopback().into()).unwrap();
    listener.listen(0).unwrap();
    let port = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&port, Duration::from_millis(100)) {
        queued.push(stream);
    }
    (listener, queued)
}

#[test]
fn connecting_and_accepting_can_be_stopped_and_connecting_times_out() {
    each_way("connecting_and_accepting_can_be_stopped_and_connecting_times_out", |way| {
        let (deaf, _queued) = deaf_listener();
        let port = deaf.local_addr().unwrap().as_socket();
        for (role, endpoint) in [(Role::Receive, listen()), (Role::Send, connect())] {
            let prepared = ready(way.options(role, endpoint));
            let stop = prepared.stop();
            let run = std::thread::spawn(move || prepared.run(port).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            stop.stop();
            let outcome = run.join().unwrap();
            assert_eq!((outcome.end, outcome.connected_after), (End::Stopped, None), "{role:?}");
            assert!(outcome.elapsed < SOON, "{role:?}");
        }
        let connect_timeout = Duration::from_millis(50);
        let sender = ready(PlanOptions { connect_timeout, ..way.options(Role::Send, connect()) });
        let error = sender.run(port).unwrap_err();
        assert_eq!(error.errno(), Some(110), "{error}");
    });
}

#[test]
fn a_stopped_sender_sleeps_while_it_waits_for_the_peers_end() {
    each_way("a_stopped_sender_sleeps_while_it_waits_for_the_peers_end", |way| {
        let listener = TcpListener::bind(loopback()).unwrap();
        let sender = ready(PlanOptions {
            length: Length::Endless,
            drain_timeout: Duration::from_millis(300),
            ..way.options(Role::Send, connect())
        });
        let (stop, port) = (sender.stop(), listener.local_addr().unwrap());
        let run = std::thread::spawn(move || sender.run(Some(port)).unwrap());
        let mut silent = listener.accept().unwrap().0;
        silent.read_exact(&mut [0; 1000]).unwrap();
        stop.stop();
        let outcome = run.join().unwrap();
        assert_eq!(outcome.end, End::DrainTimeout, "{}", way.name);
        // It may wake now and then while it fills the socket buffers, but not once a turn for 300 ms.
        let wakeups = outcome.tally.operations.wakeups;
        assert!(wakeups < 300, "{}: {wakeups} wakeups", way.name);
    });
}

/// Threads of this process that the kernel runs for io_uring's blocking work.
fn kernel_workers() -> usize {
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten().filter_map(name);
    tasks.filter(|name| name.starts_with("iou-wrk")).count()
}

#[test]
fn saturated_ends_can_be_stopped_and_need_no_kernel_workers() {
    for way in ways("saturated_ends_can_be_stopped_and_need_no_kernel_workers") {
        let endless = |role, endpoint| PlanOptions { length: Length::Endless, ..way.options(role, endpoint) };
        let receiver = ready(endless(Role::Receive, listen()));
        let sender = ready(endless(Role::Send, connect()));
        let (stop, port) = (receiver.stop(), receiver.local());
        let receiving = std::thread::spawn(move || receiver.run(None).unwrap());
        let sending = std::thread::spawn(move || sender.run(Some(port)).unwrap());
        // Long enough for the two to have met.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(kernel_workers(), 0, "{}", way.name);
        stop.stop();
        let (received, sent) = (receiving.join().unwrap(), sending.join().unwrap());
        assert_eq!(received.end, End::Stopped, "{}", way.name);
        assert!(matches!(sent.end, End::Failed(104 | 32)), "{}: {:?}", way.name, sent.end);
        assert!(received.elapsed < SOON && sent.elapsed < SOON, "{}", way.name);
        assert!(received.tally.bytes_received <= sent.tally.bytes_sent, "{}", way.name);
    }
}

#[test]
fn a_reset_is_a_failed_end_with_its_errno() {
    each_way("a_reset_is_a_failed_end_with_its_errno", |way| {
        let receiver = ready(way.options(Role::Receive, listen()));
        let mut peer = TcpStream::connect(receiver.local()).unwrap();
        let run = std::thread::spawn(move || receiver.run(None).unwrap());
        peer.write_all(&[7; 1000]).unwrap();
        // Long enough for it to be received: a reset discards what is not.
        std::thread::sleep(Duration::from_millis(500));
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        let outcome = run.join().unwrap();
        assert_eq!(outcome.end, End::Failed(104), "{}", way.name);
        assert_eq!(outcome.tally.bytes_received, 1000, "{}", way.name);
    });
}

#[test]
fn a_counted_sender_does_not_mind_the_receivers_early_close() {
    for way in ways("a_counted_sender_does_not_mind_the_receivers_early_close") {
        let receiver = PlanOptions { length: Length::Bytes(10), ..way.options(Role::Receive, listen()) };
        let sender = PlanOptions {
            length: Length::Bytes(10),
            // More than a socket buffer takes, so that the close meets a message under way.
            message_bytes: 5 << 20,
            ..way.options(Role::Send, connect())
        };
        let receiver = ready(receiver);
        let (port, sender) = (receiver.local(), ready(sender));
        let run = std::thread::spawn(move || receiver.run(None).unwrap());
        let sent = sender.run(Some(port)).unwrap();
        let received = run.join().unwrap();
        assert_eq!((sent.end, received.end), (End::Count, End::Count), "{}", way.name);
        assert!(received.tally.bytes_received >= 10, "{}", way.name);
    }
}

#[test]
fn nobody_comes() {
    each_way("nobody_comes", |way| {
        let connect_timeout = Duration::from_millis(100);
        let outcome =
            ready(PlanOptions { connect_timeout, ..way.options(Role::Receive, listen()) }).run(None).unwrap();
        assert_eq!((outcome.end, outcome.connected_after), (End::NoConnection, None), "{}", way.name);
        assert!(outcome.elapsed >= connect_timeout);
    });
}

#[test]
fn a_timed_receiver_ends_by_its_own_clock_when_the_sender_does_not() {
    each_way("a_timed_receiver_ends_by_its_own_clock_when_the_sender_does_not", |way| {
        let receiver = ready(PlanOptions {
            length: Length::Time(Duration::from_millis(100)),
            receive_grace: Duration::from_millis(100),
            ..way.options(Role::Receive, listen())
        });
        let _silent = TcpStream::connect(receiver.local()).unwrap();
        let outcome = receiver.run(None).unwrap();
        assert_eq!(outcome.end, End::Timer, "{}", way.name);
        assert!((Duration::from_millis(200)..SOON).contains(&outcome.elapsed), "{:?}", outcome.elapsed);
    });
}

#[test]
fn strangers_are_turned_away_and_counted() {
    each_way("strangers_are_turned_away_and_counted", |way| {
        let peers = vec![[127, 0, 0, 2].into()];
        let options = way.options(Role::Receive, Endpoint::Listen { local: ([0, 0, 0, 0], 0).into(), peers });
        let receiver = ready(options);
        let port: SocketAddr = ([127, 0, 0, 1], receiver.local().port()).into();
        let mut stranger = TcpStream::connect(port).unwrap();
        let friend = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        friend.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        friend.connect(&port.into()).unwrap();
        let mut friend = TcpStream::from(friend);
        let run = std::thread::spawn(move || receiver.run(None).unwrap());
        friend.write_all(b"hello").unwrap();
        friend.shutdown(Shutdown::Write).unwrap();
        let outcome = run.join().unwrap();
        assert_eq!(
            (outcome.end, outcome.tally.bytes_received, outcome.tally.strangers),
            (End::PeerClosed, 5, 1)
        );
        assert!(matches!(stranger.read(&mut [0; 1]), Ok(0) | Err(_)));
    });
}

#[test]
fn connecting_fails_by_name() {
    each_way("connecting_fails_by_name", |way| {
        let closed = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
        let error = ready(way.options(Role::Send, connect())).run(Some(closed)).unwrap_err();
        assert!(matches!(error, Error::Connect { remote, .. } if remote == closed), "{error}");
        assert_eq!(error.errno(), Some(111));
    });
}

#[test]
fn one_address_and_one_port_meet_themselves_and_say_so() {
    each_way("one_address_and_one_port_meet_themselves_and_say_so", |way| {
        let sender = ready(way.options(Role::Send, connect()));
        let own = sender.local();
        let error = sender.run(Some(own)).unwrap_err();
        assert!(matches!(error, Error::SelfConnected(address) if address == own), "{error}");
        // Connecting to the wildcard address means this machine.
        let sender = ready(way.options(Role::Send, connect()));
        let own = sender.local();
        let error = sender.run(Some(([0, 0, 0, 0], own.port()).into())).unwrap_err();
        assert!(matches!(error, Error::SelfConnected(address) if address == own), "{error}");
    });
}

#[test]
fn a_taken_port_falls_back_for_a_listener_and_fails_for_a_connector() {
    each_way("a_taken_port_falls_back_for_a_listener_and_fails_for_a_connector", |way| {
        let taken = TcpListener::bind(loopback()).unwrap();
        let local = taken.local_addr().unwrap();
        let mut options = way.options(Role::Receive, Endpoint::Listen { local, peers: Vec::new() });
        options.socket.congestion_control = Some("no such algorithm".to_owned());
        let receiver = ready(options);
        assert_ne!(receiver.local().port(), local.port());
        let degraded: Vec<_> = receiver.facts().degraded.iter().map(|d| d.feature).collect();
        // Each once, and first; what an older kernel's ring lacks comes behind.
        let (socket, ring) = degraded.split_at(2);
        assert_eq!(socket, ["requested data address", "TCP_CONGESTION"]);
        assert!(ring.iter().all(|feature| !socket.contains(feature)), "{degraded:?}");
        let plan = Plan::new(way.options(Role::Send, Endpoint::Connect { local })).unwrap();
        let Err(error) = prepare(&plan) else { panic!("bound a port twice") };
        assert!(matches!(error, Error::Bind { .. }), "{error}");
    });
}

#[test]
fn a_run_that_is_never_started_gives_everything_back() {
    for way in ways("a_run_that_is_never_started_gives_everything_back") {
        let count = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let prepared = ready(way.options(Role::Receive, listen()));
        let port = prepared.local();
        drop(prepared);
        let started = Instant::now();
        while TcpStream::connect(port).is_ok() {
            assert!(started.elapsed() < SOON, "{}: still listening with {} threads", way.name, count());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
