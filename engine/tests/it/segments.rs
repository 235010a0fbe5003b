//! Many datagrams in one send, and in one receive: counted one by one, and never run together.

use std::sync::Arc;
use std::time::Duration;

use ringperf_engine::outcome::End;
use ringperf_engine::plan::Length;
use ringperf_engine::{Outcome, PlanOptions};

use crate::datagrams::{assert_clean, plain_socket, ready, receiver, sender};
use crate::support::{
    CLASSIC, EPOLL, URING, Way, datagram_ways as ways, each_datagram_way as each_way, run_pair, skip,
    uring_or_skip,
};

/// Sizes, how many datagrams of each, and how many a send carries: more than one send, and few enough for the
/// receiver's socket buffer, whoever of the two is faster.
const SIZES: [(u32, u64, u64); 3] = [(100, 130, 64), (1472, 60, 44), (20_000, 5, 3)];

fn gso_sender(way: Way, message_bytes: u32, length: Length) -> PlanOptions {
    PlanOptions { gso: true, ..sender(way, message_bytes, length) }
}

fn gro_receiver(way: Way, message_bytes: u32) -> PlanOptions {
    PlanOptions { gro: true, ..receiver(way, message_bytes) }
}

fn lacks(outcome: &Outcome, feature: &str) -> bool {
    outcome.facts.degraded.iter().any(|degraded| degraded.feature == feature)
}

/// Whether this kernel takes sends apart and puts receives together; says so where it does not.
fn offloads_or_skip(test: &str) -> bool {
    let sends = ready(gso_sender(EPOLL, 100, Length::Bytes(1)));
    let receives = ready(gro_receiver(EPOLL, 100));
    let both = sends.facts().segmentation && receives.facts().coalescing;
    if !both {
        skip(test, "gso", "the kernel has no UDP_SEGMENT (Linux 4.18) or no UDP_GRO (Linux 5.0)");
    }
    both
}

/// What came apart lies one behind the other in the sender's memory, and each part is one message long.
#[test]
fn one_send_arrives_as_datagrams_of_the_message_size() {
    const TEST: &str = "one_send_arrives_as_datagrams_of_the_message_size";
    if !offloads_or_skip(TEST) {
        return;
    }
    each_way(TEST, |way| {
        for (message, count, per_send) in SIZES {
            let name = format!("{} with {message} bytes", way.name);
            let payload: Arc<[u8]> = (0..=250).collect();
            let (socket, address) = plain_socket();
            let options = gso_sender(way, message, Length::Bytes(count * u64::from(message)));
            let run = ready(PlanOptions { payload: Some(Arc::clone(&payload)), ..options });
            let outcome = run.run(Some(address)).unwrap();
            let mut bytes = vec![0; 70_000];
            let mut expected = payload.iter().cycle();
            for number in 0..count {
                let length = socket.recv(&mut bytes).unwrap();
                assert_eq!(length, message as usize, "{name}: number {number}");
                assert!(bytes[..length].iter().zip(&mut expected).all(|(a, b)| a == b), "{name}: {number}");
            }
            assert_eq!(socket.recv(&mut bytes).unwrap(), 0, "{name}");
            let tally = outcome.tally;
            assert_eq!(outcome.end, End::Count, "{name}");
            assert_eq!(
                (tally.messages_sent, tally.bytes_sent),
                (count, count * u64::from(message)),
                "{name}"
            );
            let segmented = count / per_send + u64::from(count % per_send > 1);
            assert_eq!(tally.operations.segmented_sends, segmented, "{name}");
            assert!(outcome.facts.segmentation && !lacks(&outcome, "UDP segmentation (GSO)"), "{name}");
        }
    });
}

#[test]
fn datagrams_are_counted_alike_whoever_puts_them_together() {
    const TEST: &str = "datagrams_are_counted_alike_whoever_puts_them_together";
    if !offloads_or_skip(TEST) {
        return;
    }
    for way in ways(TEST) {
        for (message, count, per_send) in SIZES {
            let length = Length::Bytes(count * u64::from(message));
            for (gso, gro) in [(true, false), (false, true), (true, true)] {
                let name = format!("{} with {message} bytes, gso {gso}, gro {gro}", way.name);
                let (sent, received) = run_pair(
                    PlanOptions { gso, ..sender(way, message, length) },
                    PlanOptions { gro, ..receiver(way, message) },
                );
                assert_clean(&name, [&sent, &received]);
                assert_eq!((sent.end, received.end), (End::Count, End::PeerClosed), "{name}");
                assert_eq!((sent.facts.segmentation, received.facts.coalescing), (gso, gro), "{name}");
                assert_eq!(received.drops.map(|drops| drops.socket), Some(0), "{name}");
                let (sent, received) = (sent.tally, received.tally);
                assert_eq!((sent.messages_sent, received.receives), (count, count), "{name}");
                assert_eq!(sent.bytes_sent, received.bytes_received, "{name}");
                let together = received.operations.coalesced_receives;
                match (gso, gro) {
                    // The loopback device hands over what was sent as one as it is.
                    (true, true) => assert!(together >= count / per_send, "{name}: {together}"),
                    _ => assert_eq!(together, 0, "{name}"),
                }
            }
        }
    }
}

/// A count ends at a whole datagram, and the last send carries what is left.
#[test]
fn a_count_of_segments_ends_at_a_whole_datagram() {
    const TEST: &str = "a_count_of_segments_ends_at_a_whole_datagram";
    if !offloads_or_skip(TEST) {
        return;
    }
    for way in ways(TEST) {
        for (bytes, messages) in [(1, 1), (1000, 1), (1001, 2), (64_000, 64), (64_001, 65), (70_000, 70)] {
            let (sent, received) =
                run_pair(gso_sender(way, 1000, Length::Bytes(bytes)), gro_receiver(way, 1000));
            let name = format!("{} with {bytes} bytes", way.name);
            assert_eq!((sent.end, received.end), (End::Count, End::PeerClosed), "{name}");
            assert_eq!((sent.tally.messages_sent, received.tally.receives), (messages, messages), "{name}");
            assert_eq!(received.tally.bytes_received, messages * 1000, "{name}");
        }
    }
}

/// What does not arrive was dropped by the receiver's socket: a receive at a time, each of many datagrams.
#[test]
fn a_flood_of_segments_is_whole_datagrams_at_both_ends() {
    const TEST: &str = "a_flood_of_segments_is_whole_datagrams_at_both_ends";
    if !offloads_or_skip(TEST) {
        return;
    }
    for way in ways(TEST) {
        let length = Length::Time(Duration::from_millis(60));
        let timed = PlanOptions { length, receive_grace: Duration::from_secs(2), ..gro_receiver(way, 1472) };
        let (sent, received) = run_pair(gso_sender(way, 1472, length), timed);
        assert_clean(way.name, [&sent, &received]);
        assert_eq!(sent.end, End::Timer, "{}", way.name);
        let drops = received.drops.expect("this kernel tells").socket;
        let (sent, received) = (sent.tally, received.tally);
        assert_eq!(sent.bytes_sent, sent.messages_sent * 1472, "{}", way.name);
        assert_eq!(received.bytes_received, received.receives * 1472, "{}", way.name);
        assert!((1..=sent.messages_sent).contains(&received.receives), "{}", way.name);
        assert_eq!(drops > 0, received.receives < sent.messages_sent, "{}: {drops}", way.name);
    }
}

#[test]
fn a_datagram_of_which_no_send_carries_two_goes_alone() {
    for way in ways("a_datagram_of_which_no_send_carries_two_goes_alone") {
        let (sent, received) =
            run_pair(gso_sender(way, 40_000, Length::Bytes(80_000)), receiver(way, 40_000));
        assert_eq!((sent.tally.messages_sent, received.tally.receives), (2, 2), "{}", way.name);
        assert!(lacks(&sent, "UDP segmentation (GSO)") && !sent.facts.segmentation, "{}", way.name);
        assert_eq!(sent.tally.operations.segmented_sends, 0, "{}", way.name);
    }
}

/// Bits a second that a sender of datagrams puts out.
fn rate_of(way: Way, rate: Option<u64>, gso: bool) -> f64 {
    let (_socket, address) = plain_socket();
    let options = sender(way, 1472, Length::Time(Duration::from_secs(1)));
    let outcome = ready(PlanOptions { rate, gso, ..options }).run(Some(address)).unwrap();
    assert_eq!(outcome.end, End::Timer, "{}", way.name);
    outcome.tally.bytes_sent as f64 * 8.0 / outcome.elapsed.as_secs_f64()
}

/// In turn, because each of them needs its share of the machine. One that others took away for longer than is
/// caught up with gets another try; too much is too much at once.
#[test]
fn a_rate_of_datagrams_is_kept() {
    let mut ways = vec![CLASSIC, EPOLL];
    if uring_or_skip("a_rate_of_datagrams_is_kept") {
        ways.push(URING);
    }
    for way in ways {
        for (rate, gso) in [(1_000_000, false), (200_000_000, false), (200_000_000, true)] {
            let most = rate_of(way, None, gso);
            if most < 2.0 * rate as f64 {
                // As an emulated one does.
                let reason = format!("this machine sends {most:.0} bit/s at most, by {}", way.name);
                skip(&format!("a_rate_of_datagrams_is_kept at {rate}"), "speed", &reason);
                continue;
            }
            let mut shares = Vec::new();
            while shares.last().is_none_or(|share| *share < 0.9) {
                shares.push(rate_of(way, Some(rate), gso) / rate as f64);
                let fair = shares.len() <= 5 && shares.iter().all(|share| *share < 1.1);
                assert!(fair, "{} at {rate}, gso {gso}: {shares:?}", way.name);
            }
        }
    }
}

/// A paced sender that its rate leaves room for more than a datagram, so that there is something to gather.
#[test]
fn a_shortest_sleep_makes_a_wake_up_find_more_datagrams() {
    const TEST: &str = "a_shortest_sleep_makes_a_wake_up_find_more_datagrams";
    if !uring_or_skip(TEST) {
        return;
    }
    let per_datagram = |minimum_wait: bool| {
        let mut options = receiver(URING, 200);
        options.without.minimum_wait = minimum_wait;
        let length = Length::Time(Duration::from_secs(1));
        // Two of them a batch.
        let sending = PlanOptions { rate: Some(3_000_000), ..sender(EPOLL, 200, length) };
        let (_, received) = run_pair(sending, options);
        let gathers = received.facts.uring.as_ref().is_some_and(|uring| uring.minimum_wait);
        assert_eq!(received.longest_gather > Duration::ZERO, gathers);
        let wakeups = received.tally.operations.wakeups as f64;
        (wakeups / received.tally.receives as f64, gathers)
    };
    let (with, gathers) = per_datagram(false);
    if !gathers {
        return skip(TEST, "min_wait", "the kernel has no min_wait_usec (Linux 6.12)");
    }
    let (without, _) = per_datagram(true);
    assert!(with < without, "{with} wake-ups a datagram, {without} without");
}

/// What one sleep cannot gather, no sleep is made longer for: a tenth of what a receiver can take arrives.
#[test]
fn no_way_of_receiving_falls_behind_a_slow_sender() {
    for way in ways("no_way_of_receiving_falls_behind_a_slow_sender") {
        let length = Length::Time(Duration::from_millis(500));
        let sending = PlanOptions { rate: Some(100_000_000), ..sender(EPOLL, 1472, length) };
        let mut options = receiver(way, 1472);
        options.socket.receive_buffer = Some(4 << 20);
        let (sent, received) = run_pair(sending, options);
        assert_clean(way.name, [&sent, &received]);
        let (sent, okay) = (sent.tally.messages_sent, received.tally.receives);
        assert!(okay * 2 > sent, "{}: {okay} of {sent}", way.name);
        let gathers =
            received.facts.uring.as_ref().is_some_and(|uring| uring.minimum_wait && uring.multishot);
        assert_eq!(received.longest_gather > Duration::ZERO, gathers, "{}", way.name);
    }
}
