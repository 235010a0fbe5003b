//! Many flows: all of them move, none is mixed up with another, and they end each in its own way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Length, Role};
use ringperf_engine::{EngineChoice, Outcome, Plan, PlanOptions, prepare};

use crate::support::{
    CLASSIC, EPOLL, URING, Way, assert_some_run, at_most, connect, listen, run_pair, skip, uring_or_skip,
    ways,
};

/// A checked run of so many flows over so many workers at either end.
fn spread(way: Way, flows: u32, workers: u32, change: impl Fn(&mut PlanOptions)) -> (Outcome, Outcome) {
    let options = |role, endpoint| {
        let mut options = PlanOptions { flows, workers, ..way.options(role, endpoint) };
        change(&mut options);
        options
    };
    let receiver = PlanOptions { check_payload: true, ..options(Role::Receive, listen()) };
    run_pair(options(Role::Send, connect()), receiver)
}

fn assert_whole(name: &str, flows: u32, sent: &Outcome, received: &Outcome) {
    assert_eq!(received.end, End::PeerClosed, "{name}");
    assert_eq!(received.tally.wrong_bytes, 0, "{name}");
    assert_eq!(received.tally.bytes_received, sent.tally.bytes_sent, "{name}");
    for outcome in [sent, received] {
        assert_eq!((outcome.tally.operations.stale, outcome.tally.operations.overflows), (0, 0), "{name}");
        assert_eq!(outcome.spread.flows, flows, "{name}");
        let workers: u64 = outcome.workers.iter().map(|worker| worker.bytes).sum();
        assert_eq!(workers, outcome.tally.bytes_sent + outcome.tally.bytes_received, "{name}");
    }
}

#[test]
fn flows_arrive_whole_and_in_order_over_any_number_of_workers() {
    for way in ways("flows_arrive_whole_and_in_order_over_any_number_of_workers") {
        for (flows, workers, message_bytes) in [(2, 1, 1 << 20), (5, 2, 16 << 10), (40, 1, 1000)] {
            let bytes = 20 * u64::from(message_bytes);
            let (sent, received) = spread(way, flows, workers, |options| {
                options.message_bytes = message_bytes;
                if options.role == Role::Send {
                    options.length = Length::Bytes(bytes * u64::from(flows));
                }
            });
            let name = format!("{}, {flows} flows of {message_bytes} on {workers}", way.name);
            assert_whole(&name, flows, &sent, &received);
            let threads = if way == CLASSIC { flows } else { workers };
            assert_eq!((sent.workers.len(), received.workers.len()), (threads as usize, threads as usize));
            assert_eq!((sent.spread.bytes_min, sent.spread.bytes_max), (bytes, bytes), "{name}");
            assert!(sent.connected_after.is_some(), "{name}");
        }
    }
}

#[test]
fn a_count_is_shared_out_in_whole_messages() {
    for way in ways("a_count_is_shared_out_in_whole_messages") {
        let (sent, received) = spread(way, 3, 2, |options| {
            options.message_bytes = 1000;
            if options.role == Role::Send {
                options.length = Length::Bytes(1_000_000);
            }
        });
        assert_whole(way.name, 3, &sent, &received);
        // 333334 bytes each, in messages of 1000.
        assert_eq!((sent.end, sent.tally.bytes_sent), (End::Count, 3 * 334_000), "{}", way.name);
        assert_eq!((sent.spread.bytes_min, sent.spread.bytes_max), (334_000, 334_000), "{}", way.name);
        assert!((sent.spread.fairness - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_flow_that_fails_is_told_and_the_others_go_on() {
    for way in ways("a_flow_that_fails_is_told_and_the_others_go_on") {
        let options = PlanOptions { flows: 3, ..way.options(Role::Receive, listen()) };
        let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
        let target = prepared.local();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut streams: Vec<TcpStream> =
                    (0..3).map(|_| TcpStream::connect(target).unwrap()).collect();
                let reset = streams.remove(1);
                socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
                drop(reset);
                std::thread::sleep(Duration::from_millis(50));
                for stream in &mut streams {
                    stream.write_all(&[7; 100_000]).unwrap();
                }
            });
            prepared.run(None).unwrap()
        });
        assert_eq!(outcome.end, End::Failed(104), "{}", way.name);
        assert_eq!(outcome.tally.bytes_received, 200_000, "{}", way.name);
        assert_eq!((outcome.spread.bytes_min, outcome.spread.bytes_max), (0, 100_000), "{}", way.name);
    }
}

/// The drain timeout of one flow is none of the others' business.
#[test]
fn a_flow_whose_peer_does_not_close_times_out_alone() {
    for way in ways("a_flow_whose_peer_does_not_close_times_out_alone") {
        let drain_timeout = Duration::from_millis(300);
        let options = PlanOptions {
            flows: 2,
            message_bytes: 1000,
            length: Length::Bytes(20_000),
            drain_timeout,
            ..way.options(Role::Send, connect())
        };
        let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let outcome = std::thread::scope(|scope| {
            let peer = scope.spawn(move || {
                let (mut reads, _) = listener.accept().unwrap();
                let (silent, _) = listener.accept().unwrap();
                let mut bytes = Vec::new();
                reads.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len(), 10_000);
                drop(reads);
                // Gives the connection back, which stays open until the run is over.
                silent
            });
            let outcome = prepared.run(Some(target)).unwrap();
            drop(peer.join().unwrap());
            outcome
        });
        assert_eq!(outcome.end, End::DrainTimeout, "{}", way.name);
        assert_eq!(outcome.tally.bytes_sent, 20_000, "{}", way.name);
        assert!(
            (drain_timeout..at_most(2 * drain_timeout)).contains(&outcome.elapsed),
            "{}: {:?}",
            way.name,
            outcome.elapsed
        );
    }
}

#[test]
fn stopping_ends_all_flows_of_all_workers() {
    for way in ways("stopping_ends_all_flows_of_all_workers") {
        let options = |role, endpoint| PlanOptions {
            flows: 6,
            workers: 2,
            length: Length::Endless,
            ..way.options(role, endpoint)
        };
        let receiver = prepare(&Plan::new(options(Role::Receive, listen())).unwrap()).unwrap();
        let sender = prepare(&Plan::new(options(Role::Send, connect())).unwrap()).unwrap();
        let (stop, target) = (sender.stop(), receiver.local());
        let receiving = std::thread::spawn(move || receiver.run(None).unwrap());
        let sending = std::thread::spawn(move || sender.run(Some(target)).unwrap());
        std::thread::sleep(Duration::from_millis(100));
        stop.stop();
        let (sent, received) = (sending.join().unwrap(), receiving.join().unwrap());
        assert_eq!((sent.end, received.end), (End::Stopped, End::PeerClosed), "{}", way.name);
        assert_eq!(sent.tally.bytes_sent, received.tally.bytes_received, "{}", way.name);
    }
}

#[test]
fn hundreds_of_flows_on_one_worker() {
    let mut ways = vec![EPOLL];
    if uring_or_skip("hundreds_of_flows_on_one_worker") {
        ways.push(URING);
    }
    for way in ways {
        let (sent, received) = spread(way, 300, 1, |options| {
            options.message_bytes = 16 << 10;
            if options.role == Role::Send {
                options.length = Length::Bytes(300 * (64 << 10));
            }
        });
        assert_whole(way.name, 300, &sent, &received);
        // More flows than buffers: one that finds none waits for its turn.
        let counted = received.tally.operations;
        assert!(counted.no_buffers <= 4 * received.tally.receives, "{}: {counted:?}", way.name);
        assert_eq!((sent.spread.bytes_min, sent.spread.bytes_max), (64 << 10, 64 << 10), "{}", way.name);
    }
}

#[test]
fn progress_is_read_off_at_the_interval() {
    for way in ways("progress_is_read_off_at_the_interval") {
        let options = |role, endpoint| PlanOptions {
            flows: 4,
            workers: 2,
            interval: Some(Duration::from_millis(100)),
            ..way.options(role, endpoint)
        };
        let length = Length::Time(Duration::from_secs(1));
        let sender = PlanOptions { length, ..options(Role::Send, connect()) };
        let (sent, received) = run_pair(sender, options(Role::Receive, listen()));
        for (outcome, all) in [(&sent, sent.tally.bytes_sent), (&received, received.tally.bytes_received)] {
            let samples = &outcome.samples;
            assert!(samples.len() >= 3, "{}: {samples:?}", way.name);
            for pair in samples.windows(2) {
                assert!(pair[0].at < pair[1].at, "{}: {samples:?}", way.name);
                assert!(pair[0].bytes_sent <= pair[1].bytes_sent, "{}: {samples:?}", way.name);
                assert!(pair[0].bytes_received <= pair[1].bytes_received, "{}: {samples:?}", way.name);
            }
            let last = samples[samples.len() - 1];
            assert!((1..=all).contains(&(last.bytes_sent + last.bytes_received)), "{}: {last:?}", way.name);
        }
    }
}

#[test]
fn a_tcp_senders_rate_is_kept_over_all_flows() {
    for way in ways("a_tcp_senders_rate_is_kept_over_all_flows") {
        let run = || {
            let (sent, received) = spread(way, 2, 1, |options| {
                options.message_bytes = 4 << 10;
                options.rate = Some(80_000_000);
                if options.role == Role::Send {
                    options.length = Length::Time(Duration::from_secs(1));
                }
            });
            assert_whole(way.name, 2, &sent, &received);
            let rate = sent.tally.bytes_sent as f64 * 8.0 / sent.elapsed.as_secs_f64();
            assert!(rate < 88e6, "{}: {rate}", way.name);
            // What others took of the machine for longer than is caught up with is missing. What the kernel
            // has left to send at the end is little.
            rate > 72e6 && sent.elapsed < Duration::from_millis(1300)
        };
        assert_some_run(run, way.name);
    }
}

/// With more flows than have low-water marks, sleeps are made longer where the kernel can.
#[test]
fn many_flows_wake_their_receiver_seldom() {
    const TEST: &str = "many_flows_wake_their_receiver_seldom";
    if !uring_or_skip(TEST) {
        return;
    }
    let wakeups = |minimum_wait: bool| {
        let (sent, received) = spread(URING, 32, 1, |options| {
            options.message_bytes = 1 << 10;
            options.without.minimum_wait = minimum_wait;
            if options.role == Role::Send {
                (options.engine, options.rate) = (EngineChoice::Epoll, Some(40_000_000));
                options.length = Length::Time(Duration::from_millis(500));
            }
        });
        assert_whole("many flows", 32, &sent, &received);
        let gathers = received.facts.uring.as_ref().is_some_and(|uring| uring.minimum_wait);
        assert_eq!(received.longest_gather > Duration::ZERO, gathers, "{:?}", received.longest_gather);
        let named = received.facts.degraded.iter().any(|degraded| degraded.feature == "minimum wait");
        assert_eq!(named, !gathers && !minimum_wait, "{:?}", received.facts.degraded);
        (received.tally.operations.wakeups, gathers)
    };
    let (with, gathers) = wakeups(false);
    if !gathers {
        return skip(TEST, "min_wait", "the kernel has no min_wait_usec (Linux 6.12)");
    }
    let run = || {
        let ((with, _), (without, _)) = (wakeups(false), wakeups(true));
        2 * with < without
    };
    assert!(with > 0);
    assert_some_run(run, TEST);
}

#[test]
fn more_flows_than_can_be_are_refused_by_name() {
    for (change, name) in [
        (PlanOptions { flows: 0, ..CLASSIC.options(Role::Send, connect()) }, "number of flows"),
        (PlanOptions { flows: 65_537, ..URING.options(Role::Send, connect()) }, "number of flows"),
        (PlanOptions { flows: 2000, ..CLASSIC.options(Role::Send, connect()) }, "number of workers"),
        (
            PlanOptions {
                flows: 2,
                protocol: ringperf_engine::plan::Protocol::Udp,
                message_bytes: 1000,
                ..URING.options(Role::Send, connect())
            },
            "number of flows",
        ),
        (PlanOptions { rate: Some(0), ..URING.options(Role::Send, connect()) }, "rate"),
    ] {
        assert_eq!(change.engine == EngineChoice::Classic, name == "number of workers" || change.flows == 0);
        assert!(Plan::new(change).unwrap_err().to_string().contains(name), "{name}");
    }
}
