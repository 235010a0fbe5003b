//! What is particular to the classic engine, and the options of the data socket.

use std::net::TcpStream;
use std::time::Duration;

use ringperf_engine::facts::Engine;
use ringperf_engine::plan::{Length, Protocol, Role, SocketOptions};
use ringperf_engine::{Plan, granted_buffers, prepare};

use crate::support::{CLASSIC, EPOLL, assert_some_run, at_most, connect, listen, run_pair};

#[test]
fn a_message_is_a_call() {
    let length = Length::Bytes(1 << 20);
    let mut sender = CLASSIC.options(Role::Send, connect());
    let mut receiver = CLASSIC.options(Role::Receive, listen());
    (sender.message_bytes, sender.length, receiver.message_bytes) = (1 << 12, length, 1000);
    let (sent, received) = run_pair(sender, receiver);
    let (calls, short) = (sent.tally.operations.sends_syscall, sent.tally.short_sends);
    assert_eq!((sent.facts.engine, received.facts.engine), (Engine::Classic, Engine::Classic));
    // One more for each call that its time limit cut short, on a machine that is busy with something else.
    assert!((256..=256 + short + 8).contains(&calls), "{:?}", sent.tally);
    let tally = received.tally;
    assert_eq!((tally.bytes_received, tally.operations.receives_syscall), (1 << 20, tally.receives));
    assert!(tally.receives >= (1 << 20) / 1000, "a receive took more than one message: {tally:?}");
    assert_eq!((sent.tally.operations.wakeups, tally.operations.wakeups), (0, 0));
}

#[test]
fn a_call_that_would_block_for_long_still_ends_on_time() {
    let time = Duration::from_millis(350);
    let mut receiver = CLASSIC.options(Role::Receive, listen());
    (receiver.length, receiver.receive_grace) = (Length::Time(time), Duration::ZERO);
    receiver.message_bytes = 16 << 20;
    let prepared = prepare(&Plan::new(receiver).unwrap()).unwrap();
    let _silent = TcpStream::connect(prepared.local()).unwrap();
    let outcome = prepared.run(None).unwrap();
    assert!(
        (time..time + at_most(Duration::from_secs(2))).contains(&outcome.elapsed),
        "{:?}",
        outcome.elapsed
    );
}

#[test]
fn granted_buffers_are_those_that_a_run_gets() {
    let asked = SocketOptions { send_buffer: Some(100), receive_buffer: Some(50_000), ..Default::default() };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for v4 in [true, false] {
            let granted = granted_buffers(protocol, v4, &asked).unwrap();
            // Linux doubles what is asked within its limits.
            assert!(granted.send >= 200 && granted.receive == 100_000, "{protocol:?}: {granted:?}");
            let default = granted_buffers(protocol, v4, &SocketOptions::default()).unwrap();
            assert!(default.send > granted.send && default.receive > 0, "{protocol:?}: {default:?}");
        }
    }
    let mut options = EPOLL.options(Role::Receive, listen());
    options.socket = asked.clone();
    let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
    assert_eq!(prepared.buffers(), granted_buffers(Protocol::Tcp, true, &asked).unwrap());
}

#[test]
fn segments_are_as_large_as_asked_and_a_cork_is_the_senders() {
    let mut sender = EPOLL.options(Role::Send, connect());
    sender.socket = SocketOptions { max_segment: Some(1000), cork: true, ..Default::default() };
    let mut receiver = EPOLL.options(Role::Receive, listen());
    receiver.socket = SocketOptions { max_segment: Some(7), cork: true, ..Default::default() };
    let (sent, received) = run_pair(sender, receiver);
    assert_eq!(sent.tally.bytes_sent, received.tally.bytes_received);
    let transport = sent.transport.unwrap();
    // Less the room for TCP's own options.
    assert!((960..=1000).contains(&transport.segment_bytes), "{transport:?}");
    let refused: Vec<_> = received.facts.degraded.iter().map(|d| d.feature).collect();
    assert!(refused.contains(&"TCP_MAXSEG") && !refused.contains(&"TCP_CORK"), "{refused:?}");
    assert!(sent.facts.degraded.iter().all(|d| !d.feature.starts_with("TCP_")), "{:?}", sent.facts);
}

#[test]
fn each_call_has_its_time() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let length = Length::Bytes(100 << 12);
        let mut sender = CLASSIC.options(Role::Send, connect());
        (sender.message_bytes, sender.length, sender.latency) = (1 << 12, length, true);
        let mut receiver = CLASSIC.options(Role::Receive, listen());
        (receiver.message_bytes, receiver.latency) = (1 << 12, true);
        (sender.protocol, receiver.protocol) = (protocol, protocol);
        let (sent, received) = run_pair(sender, receiver);
        let count = sent.tally.messages_sent;
        for (outcome, operations) in [(sent, count), (received.clone(), received.tally.receives)] {
            let latency = outcome.latency.expect("it was asked for");
            assert_eq!((latency.histogram.len(), operations > 0), (operations, true), "{protocol:?}");
            let elapsed = outcome.elapsed.as_nanos();
            assert!(latency.min_ns > 0 && latency.min_ns <= latency.max_ns, "{latency:?}");
            assert!(latency.sum_ns <= elapsed, "{protocol:?}: {} of {elapsed} ns", latency.sum_ns);
        }
    }
}

/// A peer that reads nothing for a while: one call that blocks, however often its own time limit cuts it
/// short.
#[test]
fn a_call_that_blocks_is_timed_as_one() {
    const PAUSE: Duration = Duration::from_millis(300);
    let listener = std::net::TcpListener::bind(crate::support::loopback()).unwrap();
    let remote = listener.local_addr().unwrap();
    let mut sender = CLASSIC.options(Role::Send, connect());
    (sender.message_bytes, sender.length, sender.latency) = (16 << 20, Length::Bytes(16 << 20), true);
    sender.socket.send_buffer = Some(1 << 16);
    let plan = Plan::new(sender).unwrap();
    let run = || {
        let prepared = prepare(&plan).unwrap();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut stream = listener.accept().unwrap().0;
                std::thread::sleep(PAUSE);
                std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
            });
            prepared.run(Some(remote)).unwrap()
        });
        let latency = outcome.latency.expect("it was asked for");
        assert_eq!(latency.histogram.len(), 1);
        outcome.tally.operations.sends_syscall > 1 && u128::from(latency.max_ns) >= PAUSE.as_nanos() * 2 / 3
    };
    assert_some_run(run, "a call that blocks");
}
