//! The other direction: the listener sends and the one that connects receives, as in netperf's TCP_MAERTS.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Length, Role};
use ringperf_engine::{Outcome, Plan, PlanOptions, Prepared, prepare};
use socket2::SockRef;

use crate::support::{
    SOON, Way, assert_some_run, at_most, connect, each_way, listen, loopback, run_pair, ways,
};

fn ready(options: PlanOptions) -> Prepared {
    prepare(&Plan::new(options).unwrap()).unwrap()
}

fn sender(way: Way, length: Length) -> PlanOptions {
    PlanOptions { length, ..way.options(Role::Send, listen()) }
}

fn receiver(way: Way, length: Length) -> PlanOptions {
    let options = way.options(Role::Receive, connect());
    PlanOptions { length, receive_grace: Duration::ZERO, check_payload: true, ..options }
}

fn assert_in_order(way: &str, sent: &Outcome, received: &Outcome) {
    assert_eq!(received.tally.wrong_bytes, 0, "{way}");
    assert!(received.tally.bytes_received <= sent.tally.bytes_sent, "{way}");
    for outcome in [sent, received] {
        assert_eq!((outcome.tally.operations.stale, outcome.tally.operations.overflows), (0, 0), "{way}");
        assert!(outcome.facts.degraded.iter().all(|d| d.feature != "orderly teardown"), "{way}");
    }
}

#[test]
fn a_counted_stream_arrives_whole_in_any_message_size() {
    for way in ways("a_counted_stream_arrives_whole_in_any_message_size") {
        for (message_bytes, bytes) in [(1, 300), (1472, 1_000_000), (65_507, 3_000_000)] {
            let length = Length::Bytes(bytes);
            let sender = PlanOptions { message_bytes, ..sender(way, length) };
            let receiver = PlanOptions { message_bytes, ..receiver(way, Length::Endless) };
            let (sent, received) = run_pair(sender, receiver);
            let name = format!("{} with messages of {message_bytes}", way.name);
            assert_in_order(&name, &sent, &received);
            assert_eq!((sent.end, received.end), (End::Count, End::PeerClosed), "{name}");
            assert_eq!(received.tally.bytes_received, sent.tally.bytes_sent, "{name}");
            assert_eq!(sent.tally.messages_sent, bytes.div_ceil(u64::from(message_bytes)), "{name}");
        }
    }
}

#[test]
fn a_timed_receiver_ends_on_time_and_costs_the_sender_nothing() {
    for way in ways("a_timed_receiver_ends_on_time_and_costs_the_sender_nothing") {
        let time = Duration::from_millis(400);
        // The sender would go on for as long as it takes; the receiver's end ends it.
        let (sent, received) = run_pair(sender(way, Length::Endless), receiver(way, Length::Time(time)));
        assert_in_order(way.name, &sent, &received);
        assert_eq!((sent.end, received.end), (End::PeerClosed, End::Timer), "{}", way.name);
        assert!(received.tally.bytes_received > 1 << 20, "{}: {:?}", way.name, received.tally);
        assert!(
            (time..time + at_most(Duration::from_secs(2))).contains(&received.elapsed),
            "{}: {:?}",
            way.name,
            received.elapsed
        );
    }
}

#[test]
fn a_receiver_with_its_count_reads_on_and_is_not_counted() {
    for way in ways("a_receiver_with_its_count_reads_on_and_is_not_counted") {
        // An emulated sender may be slow to notice that we have ended our side.
        let receiver = PlanOptions {
            message_bytes: 4096,
            receive_linger: SOON,
            ..receiver(way, Length::Bytes(1 << 20))
        };
        let (sent, received) = run_pair(sender(way, Length::Endless), receiver);
        assert_in_order(way.name, &sent, &received);
        assert_eq!((sent.end, received.end), (End::PeerClosed, End::Count), "{}", way.name);
        assert!(received.tally.bytes_received >= 1 << 20, "{}", way.name);
    }
}

#[test]
fn a_stopped_receiver_gives_the_sender_an_orderly_end() {
    for way in ways("a_stopped_receiver_gives_the_sender_an_orderly_end") {
        let (sender, receiver) = (sender(way, Length::Endless), receiver(way, Length::Endless));
        let (sender, receiver) = (ready(sender), ready(receiver));
        let (stop, port) = (receiver.stop(), sender.local());
        let sending = std::thread::spawn(move || sender.run(None).unwrap());
        let receiving = std::thread::spawn(move || receiver.run(Some(port)).unwrap());
        // Long enough for the two to have met.
        std::thread::sleep(Duration::from_millis(500));
        stop.stop();
        let (sent, received) = (sending.join().unwrap(), receiving.join().unwrap());
        assert_in_order(way.name, &sent, &received);
        assert_eq!((sent.end, received.end), (End::PeerClosed, End::Stopped), "{}", way.name);
        assert!(received.elapsed < SOON, "{}", way.name);
    }
}

/// A peer that goes on sending in spite of the receiver's end, as a stock netserver does until its own time
/// is over.
#[test]
fn a_receiver_lingers_for_a_sender_that_goes_on_and_no_longer_than_it_may() {
    each_way("a_receiver_lingers_for_a_sender_that_goes_on_and_no_longer_than_it_may", |way| {
        let listener = TcpListener::bind(loopback()).unwrap();
        let (time, receive_linger) = (Duration::from_millis(100), Duration::from_secs(10));
        let options = PlanOptions { check_payload: false, ..receiver(way, Length::Time(time)) };
        let run = ready(PlanOptions { receive_linger, ..options.clone() });
        let port = listener.local_addr().unwrap();
        let started = Instant::now();
        let running = std::thread::spawn(move || run.run(Some(port)).unwrap());
        let mut peer = listener.accept().unwrap().0;
        let (accepted, mut wrote) = (Instant::now(), 0);
        // The receiver's time began before ours.
        while accepted.elapsed() < time + Duration::from_millis(200) {
            wrote += peer.write(&[7; 1000]).unwrap() as u64;
        }
        drop(peer);
        let outcome = running.join().unwrap();
        let took = started.elapsed();
        assert_eq!(outcome.end, End::Timer, "{}", way.name);
        assert!(outcome.tally.bytes_received < wrote, "{}: all of {wrote} counted", way.name);
        assert!(outcome.elapsed < took, "{}: {:?} of {took:?}", way.name, outcome.elapsed);
        assert!(took < receive_linger, "{}: {took:?}", way.name);

        let receive_linger = Duration::from_millis(200);
        let run = ready(PlanOptions { receive_linger, ..options });
        let started = Instant::now();
        let running = std::thread::spawn(move || run.run(Some(port)).unwrap());
        let _silent = listener.accept().unwrap().0;
        assert_eq!(running.join().unwrap().end, End::Timer, "{}", way.name);
        assert!((time + receive_linger..SOON).contains(&started.elapsed()), "{}", way.name);
    });
}

/// The peer is netperf's netserver, which learns of no end, and for which a send that falls short is the
/// end of its test, and one that fails is a failure.
#[test]
fn a_stop_counts_from_itself_and_cuts_a_send_short() {
    each_way("a_stop_counts_from_itself_and_cuts_a_send_short", |way| {
        let run = || {
            let listener = TcpListener::bind(loopback()).unwrap();
            let (hour, receive_linger) = (Duration::from_secs(3600), Duration::from_millis(300));
            let options = receiver(way, Length::Time(hour));
            let run = ready(PlanOptions { check_payload: false, receive_linger, ..options });
            let (stop, port) = (run.stop(), listener.local_addr().unwrap());
            let running = std::thread::spawn(move || run.run(Some(port)).unwrap());
            let mut peer = listener.accept().unwrap().0;
            let sending = std::thread::spawn(move || {
                let message = vec![7; 1 << 16];
                loop {
                    match peer.write(&message) {
                        Ok(bytes) if bytes == message.len() => {}
                        last => return last,
                    }
                }
            });
            std::thread::sleep(Duration::from_millis(500));
            stop.stop();
            let outcome = running.join().unwrap();
            assert_eq!(outcome.end, End::Stopped, "{}", way.name);
            assert!(outcome.elapsed < SOON, "{}", way.name);
            // A sender that did not get to fill the buffers in time is met between two sends.
            matches!(sending.join().unwrap(), Ok(1..))
        };
        assert_some_run(run, way.name);
    });
}

#[test]
fn a_second_stop_ends_the_linger() {
    each_way("a_second_stop_ends_the_linger", |way| {
        let listener = TcpListener::bind(loopback()).unwrap();
        let hour = Duration::from_secs(3600);
        for length in [Length::Time(Duration::from_millis(50)), Length::Time(hour), Length::Endless] {
            let run = ready(PlanOptions { receive_linger: hour, ..receiver(way, length) });
            let (stop, port) = (run.stop(), listener.local_addr().unwrap());
            let running = std::thread::spawn(move || run.run(Some(port)).unwrap());
            let mut silent = listener.accept().unwrap().0;
            let timed_out = length == Length::Time(Duration::from_millis(50));
            if !timed_out {
                // Long enough for it to know that it is connected.
                std::thread::sleep(Duration::from_millis(500));
                stop.stop();
            }
            // It has ended its side once it lingers.
            assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0, "{}", way.name);
            std::thread::sleep(Duration::from_millis(50));
            assert!(!running.is_finished(), "{} does not linger", way.name);
            stop.stop();
            let end = if timed_out { End::Timer } else { End::Stopped };
            let outcome = running.join().unwrap();
            assert_eq!(outcome.end, end, "{}", way.name);
            assert!(outcome.elapsed < SOON, "{}", way.name);
        }
    });
}

#[test]
fn a_listening_sender_ends_on_time_and_waits_for_the_peer() {
    for way in ways("a_listening_sender_ends_on_time_and_waits_for_the_peer") {
        let time = Duration::from_millis(150);
        let (sent, received) = run_pair(sender(way, Length::Time(time)), receiver(way, Length::Endless));
        assert_in_order(way.name, &sent, &received);
        assert_eq!((sent.end, received.end), (End::PeerClosed, End::PeerClosed), "{}", way.name);
        assert_eq!(received.tally.bytes_received, sent.tally.bytes_sent, "{}", way.name);
        assert!(
            (time..time + at_most(Duration::from_secs(2))).contains(&sent.elapsed),
            "{}: {:?}",
            way.name,
            sent.elapsed
        );
    }
}

/// What the peer sends is thrown away, however much it is, and its end of the stream is seen behind it.
#[test]
fn a_listening_sender_reads_away_what_the_peer_sends() {
    each_way("a_listening_sender_reads_away_what_the_peer_sends", |way| {
        let run = ready(sender(way, Length::Endless));
        let mut peer = TcpStream::connect(run.local()).unwrap();
        let running = std::thread::spawn(move || run.run(None).unwrap());
        let mut reader = peer.try_clone().unwrap();
        let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
        peer.write_all(&[7; 100_000]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let read = reading.join().unwrap();
        let outcome = running.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.bytes_sent), (End::PeerClosed, read), "{}", way.name);
        assert_eq!(outcome.tally.bytes_received, 0, "{}", way.name);
    });
}

#[test]
fn a_listening_sender_whose_peer_resets_has_failed() {
    each_way("a_listening_sender_whose_peer_resets_has_failed", |way| {
        let run = ready(sender(way, Length::Endless));
        let mut peer = TcpStream::connect(run.local()).unwrap();
        let running = std::thread::spawn(move || run.run(None).unwrap());
        peer.read_exact(&mut [0; 1000]).unwrap();
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        let outcome = running.join().unwrap();
        assert!(matches!(outcome.end, End::Failed(104 | 32)), "{}: {:?}", way.name, outcome.end);
    });
}

#[test]
fn nobody_connects_to_a_sender() {
    each_way("nobody_connects_to_a_sender", |way| {
        let connect_timeout = Duration::from_millis(50);
        let options = PlanOptions { connect_timeout, ..sender(way, Length::Endless) };
        assert_eq!(ready(options).run(None).unwrap().end, End::NoConnection, "{}", way.name);
    });
}
