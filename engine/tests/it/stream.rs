//! Streams: every byte arrives, in order, and is counted once, whichever way it went.

use std::time::Duration;

use ringperf_engine::facts::Engine;
use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Length, Role, SendPath, Without};
use ringperf_engine::{EngineChoice, Outcome, Plan, PlanOptions};

use crate::support::{
    self, CLASSIC, EPOLL, URING, Way, connect, each_way, each_way_of_sending, listen, run_pair, ways,
};

/// A run whose stream arrived whole and in order.
fn checked(way: Way, message_bytes: u32, length: Length) -> (Outcome, Outcome) {
    let sender = PlanOptions { message_bytes, length, ..way.options(Role::Send, connect()) };
    let receiver = PlanOptions { message_bytes, check_payload: true, ..way.options(Role::Receive, listen()) };
    let (sent, received) = run_pair(sender, receiver);
    let name = format!("{} with messages of {message_bytes}", way.name);
    assert_whole(&name, &sent, &received);
    (sent, received)
}

fn assert_whole(way: &str, sent: &Outcome, received: &Outcome) {
    assert_eq!(received.end, End::PeerClosed, "{way}");
    assert_eq!(received.tally.wrong_bytes, 0, "{way}");
    assert_eq!(received.tally.bytes_received, sent.tally.bytes_sent, "{way}");
    for outcome in [sent, received] {
        assert_eq!((outcome.tally.operations.stale, outcome.tally.operations.overflows), (0, 0), "{way}");
        assert!(outcome.worker_cpu.total > Duration::ZERO, "{way}");
    }
}

#[test]
fn a_timed_stream_arrives_whole_and_in_order() {
    for way in ways("a_timed_stream_arrives_whole_and_in_order") {
        let (sent, _) = checked(way, 128 << 10, Length::Time(Duration::from_millis(100)));
        assert_eq!(sent.end, End::PeerClosed, "{}", way.name);
        assert!(sent.tally.bytes_sent > 1 << 20, "{}: {:?}", way.name, sent.tally);
        assert!(sent.elapsed >= Duration::from_millis(100), "{}", way.name);
    }
}

#[test]
fn a_counted_stream_ends_at_the_first_whole_message_past_the_count() {
    for way in ways("a_counted_stream_ends_at_the_first_whole_message_past_the_count") {
        for (message, bytes) in [(1 << 20, 1), (1000, 1_000_500), (65_537, 3_000_000), (1, 300)] {
            let (sent, _) = checked(way, message, Length::Bytes(bytes));
            let name = format!("{} with messages of {message}", way.name);
            assert_eq!(sent.end, End::Count, "{name}");
            let messages = bytes.div_ceil(u64::from(message));
            assert_eq!(sent.tally.messages_sent, messages, "{name}");
            assert_eq!(sent.tally.bytes_sent, messages * u64::from(message), "{name}");
        }
    }
}

#[test]
fn the_largest_message_fits() {
    // These ways differ in which memory is sent from and received into.
    let memory = |way: &Way| way.without == Without::default() || way.without.buffer_ring;
    for way in ways("the_largest_message_fits").into_iter().filter(memory) {
        let (sent, _) = checked(way, 16 << 20, Length::Bytes(40 << 20));
        assert_eq!(sent.tally.messages_sent, 3, "{}", way.name);
    }
}

/// Whatever a message's size and however little the socket takes at a time.
#[test]
fn every_way_of_sending_keeps_messages_whole_and_in_order() {
    let sizes = [(1, 2000), (1000, 300_000), (16 << 10, 1 << 20), (65_537, 2 << 20), (1 << 20, 5 << 20)];
    each_way_of_sending("every_way_of_sending_keeps_messages_whole_and_in_order", |way| {
        for (message_bytes, bytes) in sizes {
            for (flows, buffer) in [(1, None), (1, Some(5000)), (3, Some(20_000))] {
                for sender_listens in [false, true] {
                    let [ours, theirs] =
                        if sender_listens { [listen(), connect()] } else { [connect(), listen()] };
                    let length = Length::Bytes(bytes);
                    let mut sender =
                        PlanOptions { message_bytes, length, flows, ..way.options(Role::Send, ours) };
                    sender.socket.send_buffer = buffer;
                    // A mark makes the receiver of a trickle wait.
                    let without = Without { low_water: true, ..way.without };
                    let receiver = way.options(Role::Receive, theirs);
                    let receiver =
                        PlanOptions { message_bytes, flows, without, check_payload: true, ..receiver };
                    let (sent, received) = run_pair(sender, receiver);
                    let name = format!("{}, {flows} flows of {message_bytes}, buffer {buffer:?}", way.name);
                    assert_whole(&name, &sent, &received);
                    let messages = bytes.div_ceil(u64::from(flows)).div_ceil(u64::from(message_bytes));
                    assert_eq!(sent.tally.messages_sent, messages * u64::from(flows), "{name}");
                }
            }
        }
    });
}

#[test]
fn a_way_of_sending_is_taken_or_named_among_what_was_lacking() {
    each_way_of_sending("a_way_of_sending_is_taken_or_named_among_what_was_lacking", |way| {
        let (sent, received) = checked(way, 128 << 10, Length::Bytes(20 << 20));
        let counts = sent.tally.operations;
        let used = sent.facts.uring.as_ref().unwrap().send_path;
        assert_eq!(received.facts.uring.unwrap().send_path, None);
        let feature = match way.send_path {
            SendPath::Bundle => "send bundles",
            SendPath::Registered => "registered send buffers",
            SendPath::ZeroCopy => "zero-copy send",
            SendPath::Auto | SendPath::Chain => "none",
        };
        let lacking = sent.facts.degraded.iter().any(|degraded| degraded.feature == feature);
        assert_eq!(used, Some(if lacking { SendPath::Chain } else { way.send_path }), "{:?}", sent.facts);
        match used {
            Some(SendPath::Registered) => assert!(counts.sends_registered >= 160, "{counts:?}"),
            Some(SendPath::Bundle) => assert!((1..160).contains(&counts.sends_plain), "{counts:?}"),
            Some(SendPath::ZeroCopy) => {
                // Loopback always copies, and the last notifications may come after the end.
                assert!((1..=160).contains(&counts.zero_copy_sends), "{counts:?}");
                assert_eq!(counts.zero_copy_copied, counts.zero_copy_sends);
                assert_eq!((counts.sends_plain, counts.sends_registered), (0, 0));
            }
            _ => {
                assert!(counts.sends_plain >= 160, "{counts:?}");
                assert_eq!((counts.zero_copy_sends, counts.sends_registered), (0, 0));
            }
        }
        // A chain completes as one, unless something in it falls short.
        let silent = sent.facts.degraded.iter().all(|degraded| degraded.feature != "silent completions");
        if used == Some(SendPath::Chain) && silent {
            assert!(counts.completions < counts.sends_plain, "{counts:?}");
        }
    });
}

#[test]
fn ways_of_sending_are_refused_where_they_mean_nothing() {
    for send_path in [SendPath::Bundle, SendPath::Registered, SendPath::ZeroCopy] {
        let tcp = PlanOptions { send_path, ..EPOLL.options(Role::Send, connect()) };
        let udp = PlanOptions {
            engine: EngineChoice::Uring,
            protocol: ringperf_engine::plan::Protocol::Udp,
            message_bytes: 1000,
            ..tcp.clone()
        };
        let classic = PlanOptions { engine: EngineChoice::Classic, ..tcp.clone() };
        for refused in [tcp, udp, classic] {
            assert!(Plan::new(refused).unwrap_err().to_string().contains("send path"));
        }
        let receiver = PlanOptions { send_path, ..EPOLL.options(Role::Receive, listen()) };
        assert!(Plan::new(receiver).is_ok());
    }
    let chain = PlanOptions { send_path: SendPath::Chain, ..CLASSIC.options(Role::Send, connect()) };
    assert!(Plan::new(chain).is_ok());
}

#[test]
fn small_socket_buffers_change_nothing_but_the_speed() {
    each_way("small_socket_buffers_change_nothing_but_the_speed", |way| {
        let mut sender = way.options(Role::Send, connect());
        sender.socket.send_buffer = Some(100);
        let mut receiver = PlanOptions { check_payload: true, ..way.options(Role::Receive, listen()) };
        receiver.socket.receive_buffer = Some(100);
        let (sent, received) = run_pair(sender, receiver);
        assert_whole(way.name, &sent, &received);
        assert_eq!(sent.facts.buffers_asked.0, Some(100));
        // The kernel doubles what is asked and has a floor (SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF).
        assert!(
            (2000..10_000).contains(&sent.facts.buffers_granted.send),
            "{:?}",
            sent.facts.buffers_granted
        );
        assert!((2000..10_000).contains(&received.facts.buffers_granted.receive), "{:?}", received.facts);
    });
}

#[test]
fn unlike_ends_understand_each_other() {
    if !support::uring_or_skip("unlike_ends_understand_each_other") {
        return;
    }
    for (one, other) in [(EPOLL, URING), (URING, EPOLL), (CLASSIC, URING), (EPOLL, CLASSIC)] {
        let sender = one.options(Role::Send, connect());
        let receiver = PlanOptions { check_payload: true, ..other.options(Role::Receive, listen()) };
        let (sent, received) = run_pair(sender, receiver);
        assert_whole(one.name, &sent, &received);
    }
}

#[test]
fn receives_come_out_of_the_buffer_ring() {
    if !support::uring_or_skip("receives_come_out_of_the_buffer_ring") {
        return;
    }
    let length = Length::Time(Duration::from_millis(200));
    let (sent, received) = checked(URING, 128 << 10, length);
    let ring = received.facts.uring.as_ref().unwrap();
    let counts = received.tally.operations;
    if !ring.multishot {
        // An older kernel: the self-test has said so and single receives took their place.
        assert!(
            received.facts.degraded.iter().any(|d| d.feature == "multishot receive"),
            "{:?}",
            received.facts
        );
        return;
    }
    assert!(ring.buffer_ring_entries > 0 && ring.multishot && ring.registered_files, "{ring:?}");
    assert!(counts.receives_buffer_ring > 0, "{counts:?}");
    assert_eq!((counts.receives_single, counts.receives_syscall), (0, 0), "{counts:?}");
    assert_eq!(counts.receives_buffer_ring, received.tally.receives);
    let sends = sent.tally.operations;
    assert!(sends.sends_plain + sends.sends_registered > 0 && sends.sends_syscall == 0, "{sends:?}");

    let (_, single) = checked(support::URING_WAYS[3], 128 << 10, length);
    let counts = single.tally.operations;
    assert!(counts.receives_single > 0 && counts.receives_buffer_ring == 0, "{counts:?}");

    let (sent, plain) = checked(EPOLL, 128 << 10, length);
    let counts = plain.tally.operations;
    assert!(counts.receives_syscall > 0 && counts.receives_buffer_ring + counts.receives_single == 0);
    assert!(sent.tally.operations.sends_syscall > 0 && sent.tally.operations.sends_plain == 0);
}

#[test]
fn the_facts_name_the_engine_and_what_it_has() {
    for way in ways("the_facts_name_the_engine_and_what_it_has") {
        let (sent, received) = checked(way, 4096, Length::Bytes(100_000));
        for facts in [sent.facts, received.facts] {
            assert_eq!(facts.engine_asked, way.engine);
            let core = &facts.cores[0];
            assert_eq!(core.pinned.is_some(), core.verified, "{core:?}");
            assert!(facts.arena_bytes > 0 && !facts.kernel.is_empty());
            let Some(ring) = facts.uring else {
                let plain = if way == CLASSIC { Engine::Classic } else { Engine::Epoll };
                assert_eq!(facts.engine, plain);
                continue;
            };
            assert_eq!(facts.engine, Engine::Uring);
            assert_eq!(way.engine, EngineChoice::Uring);
            assert!(!(way.without.bundles && ring.bundles), "{}", way.name);
            assert!(!(way.without.multishot && ring.multishot), "{}", way.name);
            assert!(!(way.without.buffer_ring && ring.buffer_ring_entries > 0), "{}", way.name);
            assert!(!(way.without.registered_files && ring.registered_files), "{}", way.name);
            let deferred = ring.setup_flags.contains(&"DEFER_TASKRUN");
            assert_eq!(deferred, ring.setup_bits & 1 << 13 != 0);
            assert!(!(way.without.deferred_task_run && deferred), "{}", way.name);
            assert!(ring.completion_entries >= 2 * ring.submission_entries);
        }
    }
}

/// What a run on io_uring in full does not have, it names. `RINGPERF_KERNEL_LACKS` lists what the kernel at
/// hand is known to lack, by the names of [`ringperf_engine::facts::Degraded`], so that a guest with an old
/// kernel shows that the fallback was really taken.
#[test]
fn what_the_kernel_lacks_is_named() {
    if !support::uring_or_skip("what_the_kernel_lacks_is_named") {
        return;
    }
    let (_, received) = checked(URING, 128 << 10, Length::Bytes(10 << 20));
    let ring = received.facts.uring.unwrap();
    let named = |feature| received.facts.degraded.iter().any(|d| d.feature == feature);
    assert_eq!(named("receive bundles"), ring.multishot && !ring.bundles, "{:?}", received.facts.degraded);
    assert_eq!(named("multishot receive") || named("provided-buffer ring"), !ring.multishot);
    assert_eq!(named("DEFER_TASKRUN"), !ring.setup_flags.contains(&"DEFER_TASKRUN"));
    assert_eq!(named("registered files"), !ring.registered_files);
    println!("on {}: {:?}, degraded: {:?}", received.facts.kernel, ring, received.facts.degraded);
    for feature in std::env::var("RINGPERF_KERNEL_LACKS").iter().flat_map(|list| list.split(',')) {
        assert!(named(feature), "the kernel is known to lack {feature}, yet it is not among the degraded");
    }
}

#[test]
fn messages_are_counted_not_sends() {
    for way in ways("messages_are_counted_not_sends") {
        let (sent, _) = checked(way, 1 << 20, Length::Time(Duration::from_millis(50)));
        let whole = sent.tally.messages_sent << 20;
        assert!(
            whole <= sent.tally.bytes_sent && sent.tally.bytes_sent < whole + (1 << 20),
            "{:?}",
            sent.tally
        );
    }
}
