//! Datagrams: what is counted, how a stream of them ends, and whose they are.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Endpoint, Length, Protocol, Role};
use ringperf_engine::{Outcome, Plan, PlanOptions, Prepared, prepare};
use socket2::{Domain, Socket, Type};

use crate::support::{
    SOON, Way, at_most, connect, datagram_ways as ways, each_datagram_way as each_way, listen, loopback,
    run_pair, skip,
};

pub(crate) fn ready(options: PlanOptions) -> Prepared {
    prepare(&Plan::new(options).unwrap()).unwrap()
}

pub(crate) fn sender(way: Way, message_bytes: u32, length: Length) -> PlanOptions {
    let options = way.options(Role::Send, connect());
    PlanOptions { protocol: Protocol::Udp, message_bytes, length, ..options }
}

/// Of what a sender as above sends. It checks what it receives.
pub(crate) fn receiver(way: Way, message_bytes: u32) -> PlanOptions {
    let options = way.options(Role::Receive, listen());
    PlanOptions { protocol: Protocol::Udp, message_bytes, check_payload: true, ..options }
}

/// A receiver of which only the socket is ours.
pub(crate) fn plain_socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(loopback()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub(crate) fn assert_clean(way: &str, outcomes: [&Outcome; 2]) {
    for outcome in outcomes {
        assert_eq!((outcome.tally.operations.stale, outcome.tally.operations.overflows), (0, 0), "{way}");
        assert!(outcome.facts.degraded.iter().all(|d| d.feature != "orderly teardown"), "{way}");
        assert!(outcome.transport.is_none(), "{way}");
        assert_eq!(outcome.tally.wrong_bytes, 0, "{way}");
    }
}

#[test]
fn a_counted_stream_is_whole_datagrams_each_a_receive() {
    for way in ways("a_counted_stream_is_whole_datagrams_each_a_receive") {
        // Few enough for the receiver's socket buffer, whoever of the two is faster.
        for (message, bytes) in [(1, 20), (1472, 20_000), (65_507, 130_000)] {
            let (sent, received) =
                run_pair(sender(way, message, Length::Bytes(bytes)), receiver(way, message));
            let name = format!("{} with {message} bytes", way.name);
            assert_clean(&name, [&sent, &received]);
            let messages = bytes.div_ceil(u64::from(message));
            assert_eq!((sent.end, received.end), (End::Count, End::PeerClosed), "{name}");
            assert_eq!(sent.tally.messages_sent, messages, "{name}");
            assert_eq!(sent.tally.bytes_sent, messages * u64::from(message), "{name}");
            let (sent, received) = (sent.tally, received.tally);
            assert_eq!((received.receives, received.bytes_received), (messages, sent.bytes_sent), "{name}");
            assert_eq!((sent.failed_sends, received.strangers), (0, 0), "{name}");
        }
    }
}

#[test]
fn a_timed_stream_ends_on_time_and_never_arrives_more_than_whole() {
    for way in ways("a_timed_stream_ends_on_time_and_never_arrives_more_than_whole") {
        let time = Duration::from_millis(60);
        for message in [1, 1472, 65_507] {
            // Where the machine is so busy that every mark meets a full queue, its own time ends the
            // receiver.
            let (length, receive_grace) = (Length::Time(time), Duration::from_secs(2));
            let receiver = PlanOptions { length, receive_grace, ..receiver(way, message) };
            let (sent, received) = run_pair(sender(way, message, length), receiver);
            let name = format!("{} with {message} bytes", way.name);
            assert_clean(&name, [&sent, &received]);
            assert_eq!(sent.end, End::Timer, "{name}");
            assert!(matches!(received.end, End::PeerClosed | End::Timer), "{name}: {:?}", received.end);
            assert!(
                (time..time + at_most(Duration::from_secs(2))).contains(&sent.elapsed),
                "{name}: {:?}",
                sent.elapsed
            );
            let (sent, received) = (sent.tally, received.tally);
            assert_eq!(sent.bytes_sent, sent.messages_sent * u64::from(message), "{name}");
            assert_eq!(received.bytes_received, received.receives * u64::from(message), "{name}");
            assert!(received.receives > 0 && received.receives <= sent.messages_sent, "{name}");
        }
    }
}

/// Three marks in the window and six behind it, for a receiver that does not go away.
#[test]
fn the_end_is_marked_by_empty_datagrams() {
    each_way("the_end_is_marked_by_empty_datagrams", |way| {
        let (socket, address) = plain_socket();
        let run = ready(sender(way, 100, Length::Bytes(500)));
        let started = Instant::now();
        let outcome = run.run(Some(address)).unwrap();
        assert_eq!(outcome.end, End::Count, "{}", way.name);
        let mut sizes = Vec::new();
        for _ in 0..14 {
            sizes.push(socket.recv(&mut [0; 200]).unwrap());
        }
        assert_eq!(sizes, [100, 100, 100, 100, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0], "{}", way.name);
        // The pauses before the last six are not part of the run.
        assert!(outcome.elapsed < started.elapsed() - Duration::from_millis(600), "{}", way.name);
    });
}

#[test]
fn a_receiver_ends_at_an_empty_datagram_even_if_it_is_the_first() {
    each_way("a_receiver_ends_at_an_empty_datagram_even_if_it_is_the_first", |way| {
        for before in [0, 3] {
            let run = ready(receiver(way, 100));
            let (peer, _) = plain_socket();
            peer.connect(run.local()).unwrap();
            for _ in 0..before {
                peer.send(&[7; 60]).unwrap();
            }
            peer.send(&[]).unwrap();
            let outcome = run.run(None).unwrap();
            let tally = outcome.tally;
            assert_eq!(outcome.end, End::PeerClosed, "{}", way.name);
            assert_eq!((tally.receives, tally.bytes_received), (before, before * 60), "{}", way.name);
        }
    });
}

/// Classic UDP_STREAM ends with a datagram of another size.
#[test]
fn an_exact_receiver_ends_at_another_size_uncounted() {
    each_way("an_exact_receiver_ends_at_another_size_uncounted", |way| {
        let run = ready(PlanOptions { exact_message: true, ..receiver(way, 100) });
        let (peer, _) = plain_socket();
        peer.connect(run.local()).unwrap();
        for size in [100, 100, 99, 100] {
            peer.send(&vec![7; size]).unwrap();
        }
        let outcome = run.run(None).unwrap();
        assert_eq!(outcome.end, End::PeerClosed, "{}", way.name);
        assert_eq!((outcome.tally.receives, outcome.tally.bytes_received), (2, 200), "{}", way.name);
    });
}

#[test]
fn of_a_longer_datagram_only_a_message_is_counted() {
    each_way("of_a_longer_datagram_only_a_message_is_counted", |way| {
        for (message, size, counted) in [(100, 5000, 100), (1, 9, 1), (16 << 20, 60_000, 60_000)] {
            let run = ready(receiver(way, message));
            let (peer, _) = plain_socket();
            peer.connect(run.local()).unwrap();
            peer.send(&vec![7; size]).unwrap();
            peer.send(&vec![7; size]).unwrap();
            peer.send(&[]).unwrap();
            let tally = run.run(None).unwrap().tally;
            assert_eq!((tally.receives, tally.bytes_received), (2, 2 * counted), "{}", way.name);
        }
    });
}

#[test]
fn strangers_are_dropped_and_counted_before_and_kept_out_after() {
    each_way("strangers_are_dropped_and_counted_before_and_kept_out_after", |way| {
        let peers = vec![[127, 0, 0, 2].into()];
        let local = ([0, 0, 0, 0], 0).into();
        let endpoint = Endpoint::Listen { local, peers };
        let run = ready(PlanOptions { endpoint, ..receiver(way, 100) });
        let port: SocketAddr = ([127, 0, 0, 1], run.local().port()).into();
        let (stranger, _) = plain_socket();
        let friend = UdpSocket::bind("127.0.0.2:0").unwrap();
        for _ in 0..3 {
            stranger.send_to(&[7; 10], port).unwrap();
        }
        stranger.send_to(&[], port).unwrap();
        friend.send_to(&[7; 20], port).unwrap();
        let stop = run.stop();
        let running = std::thread::spawn(move || run.run(None).unwrap());
        // Long enough for the receiver to have its filter.
        std::thread::sleep(Duration::from_millis(500));
        let _ = stranger.send_to(&[], port);
        let _ = stranger.send_to(&[7; 10], port);
        friend.send_to(&[7; 20], port).unwrap();
        friend.send_to(&[], port).unwrap();
        let outcome = running.join().unwrap();
        drop(stop);
        assert_eq!(outcome.end, End::PeerClosed, "{}", way.name);
        assert_eq!(outcome.peer, friend.local_addr().ok(), "{}", way.name);
        let tally = outcome.tally;
        assert_eq!((tally.receives, tally.bytes_received, tally.strangers), (2, 40, 4), "{}", way.name);
    });
}

/// As stock netperf's netserver on the client's own machine and data port: bound later, and sharing the port,
/// it gets the datagrams.
fn share_one_address_and_port(way: Way, local: SocketAddr) {
    let options = sender(way, 100, Length::Bytes(500));
    let sending = ready(PlanOptions { endpoint: Endpoint::Connect { local }, ..options });
    let own = sending.local();
    let stock = Socket::new(Domain::for_address(own), Type::DGRAM, None).unwrap();
    stock.set_reuse_address(true).unwrap();
    stock.bind(&own.into()).unwrap();
    let stock = UdpSocket::from(stock);
    stock.set_read_timeout(Some(SOON)).unwrap();
    let port = own.port();
    let remote = if own.ip().is_unspecified() { SocketAddr::new(loopback().ip(), port) } else { own };
    let receiving = std::thread::spawn(move || {
        let lengths = std::iter::repeat_with(|| stock.recv(&mut [0; 200]).unwrap());
        lengths.take_while(|bytes| *bytes > 0).sum::<usize>()
    });
    let sent = sending.run(Some(remote)).unwrap();
    assert_eq!((sent.end, sent.peer), (End::Count, Some(remote)), "{}", way.name);
    assert_eq!(receiving.join().unwrap(), 500, "{}", way.name);
}

#[test]
fn both_ends_may_share_one_address_and_one_port() {
    for way in ways("both_ends_may_share_one_address_and_one_port") {
        for local in [([0, 0, 0, 0], 0).into(), loopback()] {
            share_one_address_and_port(way, local);
        }
    }
}

#[test]
fn both_ends_may_be_ipv6_and_share_a_port() {
    for way in ways("both_ends_may_be_ipv6_and_share_a_port") {
        share_one_address_and_port(way, "[::1]:0".parse().unwrap());
    }
}

/// A socket of both families knows a sender over IPv4 by a mapped address, which its datagrams do not carry.
#[test]
fn a_receiver_of_both_families_hears_a_sender_over_ipv4() {
    each_way("a_receiver_of_both_families_hears_a_sender_over_ipv4", |way| {
        let local = "[::]:0".parse().unwrap();
        let endpoint = Endpoint::Listen { local, peers: vec![loopback().ip()] };
        let length = Length::Time(SOON);
        let run = ready(PlanOptions { endpoint, length, ..receiver(way, 100) });
        let (peer, _) = plain_socket();
        peer.connect((loopback().ip(), run.local().port())).unwrap();
        peer.send(&[7; 50]).unwrap();
        let running = std::thread::spawn(move || run.run(None).unwrap());
        // Long enough for the receiver to have its filter.
        std::thread::sleep(Duration::from_millis(500));
        peer.send(&[7; 50]).unwrap();
        peer.send(&[]).unwrap();
        let outcome = running.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.bytes_received), (End::PeerClosed, 100), "{}", way.name);
    });
}

#[test]
fn a_port_that_nobody_has_is_a_failed_end() {
    each_way("a_port_that_nobody_has_is_a_failed_end", |way| {
        let (socket, nobody) = plain_socket();
        drop(socket);
        let outcome = ready(sender(way, 100, Length::Endless)).run(Some(nobody)).unwrap();
        assert_eq!(outcome.end, End::Failed(111), "{}", way.name);
    });
}

#[test]
fn both_ends_can_be_stopped() {
    each_way("both_ends_can_be_stopped", |way| {
        let (socket, address) = plain_socket();
        let run = ready(sender(way, 1000, Length::Endless));
        let stop = run.stop();
        let running = std::thread::spawn(move || run.run(Some(address)).unwrap());
        socket.recv(&mut [0; 10]).unwrap();
        stop.stop();
        let outcome = running.join().unwrap();
        assert_eq!(outcome.end, End::Stopped, "{}", way.name);
        assert!(outcome.elapsed < SOON && outcome.tally.messages_sent > 0, "{}", way.name);

        let run = ready(receiver(way, 1000));
        let (stop, address) = (run.stop(), run.local());
        let running = std::thread::spawn(move || run.run(None).unwrap());
        socket.send_to(&[7; 500], address).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        stop.stop();
        let outcome = running.join().unwrap();
        assert_eq!((outcome.end, outcome.tally.bytes_received), (End::Stopped, 500), "{}", way.name);
    });
}

#[test]
fn a_receiver_has_its_own_clock_and_its_own_count() {
    each_way("a_receiver_has_its_own_clock_and_its_own_count", |way| {
        let (peer, _) = plain_socket();
        let time = Duration::from_millis(100);
        let timed = PlanOptions { length: Length::Time(time), receive_grace: time, ..receiver(way, 1000) };
        let run = ready(timed.clone());
        peer.send_to(&[7; 500], run.local()).unwrap();
        let outcome = run.run(None).unwrap();
        assert_eq!((outcome.end, outcome.tally.bytes_received), (End::Timer, 500), "{}", way.name);
        assert!((2 * time..SOON).contains(&outcome.elapsed), "{}: {:?}", way.name, outcome.elapsed);

        let run = ready(PlanOptions { length: Length::Bytes(700), ..receiver(way, 1000) });
        for _ in 0..2 {
            peer.send_to(&[7; 500], run.local()).unwrap();
        }
        let outcome = run.run(None).unwrap();
        assert_eq!((outcome.end, outcome.tally.bytes_received), (End::Count, 1000), "{}", way.name);

        let started = Instant::now();
        let outcome = ready(PlanOptions { connect_timeout: time, ..timed }).run(None).unwrap();
        assert_eq!((outcome.end, outcome.connected_after), (End::NoConnection, None), "{}", way.name);
        assert!(started.elapsed() < SOON, "{}", way.name);
    });
}

#[test]
fn a_small_send_buffer_slows_a_sender_and_loses_nothing() {
    each_way("a_small_send_buffer_slows_a_sender_and_loses_nothing", |way| {
        let (_socket, address) = plain_socket();
        let mut options = sender(way, 3000, Length::Time(Duration::from_millis(100)));
        options.socket.send_buffer = Some(100);
        let outcome = ready(options).run(Some(address)).unwrap();
        assert_eq!((outcome.end, outcome.tally.failed_sends), (End::Timer, 0), "{}", way.name);
        assert!(outcome.tally.messages_sent > 0, "{}", way.name);
    });
}

/// A queue of hardly a datagram loses most of them, and the marks in the window with them.
#[test]
fn a_small_receive_buffer_costs_datagrams_and_neither_the_end_nor_a_count() {
    for way in ways("a_small_receive_buffer_costs_datagrams_and_neither_the_end_nor_a_count") {
        for message in [1, 1472, 65_507] {
            let length = Length::Time(Duration::from_millis(100));
            let mut receiver = PlanOptions { length, receive_grace: SOON, ..receiver(way, message) };
            receiver.socket.receive_buffer = Some(100);
            let (sent, received) = run_pair(sender(way, message, length), receiver);
            let name = format!("{} with {message} bytes", way.name);
            assert_clean(&name, [&sent, &received]);
            // The kernel's least (SOCK_MIN_RCVBUF).
            assert!(received.facts.buffers_granted.receive < 10_000, "{name}");
            assert_eq!((sent.end, received.end), (End::Timer, End::PeerClosed), "{name}");
            let (sent, received) = (sent.tally, received.tally);
            assert!((1..=sent.messages_sent).contains(&received.receives), "{name}: {received:?}");
            assert_eq!(received.bytes_received, received.receives * u64::from(message), "{name}");
        }
    }
}

/// Nothing else on the way loses anything. The marks of the end are datagrams too, and sent until one gets
/// through.
#[test]
fn what_the_socket_drops_is_what_does_not_arrive() {
    for way in ways("what_the_socket_drops_is_what_does_not_arrive") {
        let length = Length::Time(Duration::from_millis(100));
        let mut receiver = PlanOptions { length, receive_grace: SOON, ..receiver(way, 1472) };
        receiver.socket.receive_buffer = Some(5000);
        let (sent, received) = run_pair(sender(way, 1472, length), receiver);
        assert_clean(way.name, [&sent, &received]);
        assert_eq!((sent.end, received.end), (End::Timer, End::PeerClosed), "{}", way.name);
        let lost = sent.tally.messages_sent - received.tally.receives;
        let drops = received.drops.expect("this kernel tells");
        assert!(lost > 0, "{}", way.name);
        assert!((lost..=lost + 8).contains(&drops.socket), "{}: {drops:?} for {lost}", way.name);
        // Other sockets of the machine may add to these.
        let errors = drops.receive_buffer_errors;
        assert!(errors.is_none_or(|errors| errors >= drops.socket), "{}: {drops:?}", way.name);
        assert_eq!(sent.drops, None, "{}", way.name);
    }
}

/// The loopback device has a slow and short queue.
#[test]
fn what_a_full_queue_refuses_is_counted_and_no_failure() {
    const TEST: &str = "what_a_full_queue_refuses_is_counted_and_no_failure";
    in_a_namespace(TEST, "tc qdisc add dev lo root tbf rate 1mbit burst 3000 limit 3000", || {
        each_way(TEST, |way| {
            let (_socket, address) = plain_socket();
            let length = Length::Time(Duration::from_millis(200));
            let outcome = ready(sender(way, 1000, length)).run(Some(address)).unwrap();
            assert_eq!(outcome.end, End::Timer, "{}", way.name);
            let tally = outcome.tally;
            assert!(tally.failed_sends > 0 && tally.operations.stale == 0, "{}: {tally:?}", way.name);
            assert_eq!(tally.bytes_sent, tally.messages_sent * 1000, "{}", way.name);
        });
    });
}

/// Datagrams of several packets, which only a send of their own gets.
#[test]
fn what_is_not_taken_apart_goes_out_datagram_by_datagram() {
    const TEST: &str = "what_is_not_taken_apart_goes_out_datagram_by_datagram";
    in_a_namespace(TEST, "ip link set lo mtu 1500", || {
        for way in ways(TEST) {
            let options = PlanOptions { gso: true, ..sender(way, 3000, Length::Bytes(75_000)) };
            let (sent, received) = run_pair(options, receiver(way, 3000));
            assert_clean(way.name, [&sent, &received]);
            assert_eq!((sent.end, received.end), (End::Count, End::PeerClosed), "{}", way.name);
            assert_eq!((sent.tally.messages_sent, received.tally.receives), (25, 25), "{}", way.name);
            let degraded: Vec<_> = sent.facts.degraded.iter().map(|degraded| degraded.feature).collect();
            assert_eq!(degraded, ["UDP segmentation (GSO)"], "{}: {:?}", way.name, sent.facts.degraded);
            assert_eq!(sent.tally.operations.segmented_sends, 0, "{}", way.name);
        }
    });
}

#[test]
fn both_ends_may_share_an_address_that_needs_its_interface() {
    const TEST: &str = "both_ends_may_share_an_address_that_needs_its_interface";
    in_a_namespace(TEST, "ip addr add fe80::1/64 dev lo", || {
        for way in ways(TEST) {
            // The loopback device is the first of its namespace.
            share_one_address_and_port(way, "[fe80::1%1]:0".parse().unwrap());
        }
    });
}

/// Runs the rest of a test of this module in a network namespace of its own, made ready by a shell command:
/// the test program runs itself there.
fn in_a_namespace(test: &str, setup: &str, run: impl FnOnce()) {
    const INSIDE: &str = "RINGPERF_IN_A_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return run();
    }
    let this = std::env::current_exe().unwrap();
    let in_namespace = |command: &str| {
        let shell = format!("ip link set lo up && {setup} && {command}");
        let words = ["-rn", "sh", "-c", &shell];
        std::process::Command::new("unshare").args(words).arg(&this).env(INSIDE, "1").output()
    };
    match in_namespace("true") {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip(test, "netns", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => return skip(test, "netns", &format!("unshare: {error}")),
    }
    let output = in_namespace(&format!("\"$0\" --exact --nocapture datagrams::{test}")).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{output:?}");
}
