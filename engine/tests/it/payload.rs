//! What messages carry, seen by sockets that know nothing of the engine.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Length, Protocol, Role};
use ringperf_engine::{Plan, PlanOptions, prepare};

use crate::support::{Way, connect, datagram_ways, loopback, ways};

/// Without a common factor with any message; and longer than all slots.
const PAYLOADS: [usize; 2] = [251, (2 << 20) + 1];

/// A sender of so many messages, and what they carry one behind the other.
fn sender(way: Way, protocol: Protocol, message: u32, messages: u32, payload: usize) -> (Plan, Vec<u8>) {
    let payload: Arc<[u8]> = (0..payload).map(|at| (at % 256 + at / 256) as u8).collect();
    let bytes = u64::from(message) * u64::from(messages);
    let plan = Plan::new(PlanOptions {
        protocol,
        message_bytes: message,
        length: Length::Bytes(bytes),
        payload: Some(payload.clone()),
        ..way.options(Role::Send, connect())
    })
    .unwrap();
    let slots = repeated(&payload, plan.message_slots_bytes());
    (plan, repeated(&slots, bytes as usize))
}

fn repeated(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut repeated = bytes.repeat(length.div_ceil(bytes.len()));
    repeated.truncate(length);
    repeated
}

#[test]
fn a_stream_carries_the_payload_over_and_over() {
    for way in ways("a_stream_carries_the_payload_over_and_over") {
        // All but the first go around the slots.
        for (message, messages) in [(1, 300), (1000, 2200), (65_537, 33), (1 << 20, 3)] {
            for length in PAYLOADS {
                let (plan, expected) = sender(way, Protocol::Tcp, message, messages, length);
                let listener = TcpListener::bind(loopback()).unwrap();
                let remote = listener.local_addr().unwrap();
                let sending = std::thread::spawn(move || prepare(&plan).unwrap().run(Some(remote)).unwrap());
                let mut arrived = Vec::with_capacity(expected.len());
                listener.accept().unwrap().0.read_to_end(&mut arrived).unwrap();
                assert_eq!(sending.join().unwrap().end, End::Count, "{}", way.name);
                // Not by assert_eq, which would print them.
                assert!(arrived == expected, "{}: messages of {message}, payload of {length}", way.name);
            }
        }
    }
}

#[test]
fn datagrams_carry_the_payload_one_after_the_other() {
    for way in datagram_ways("datagrams_carry_the_payload_one_after_the_other") {
        // Few enough for the receiver's socket buffer.
        for (message, messages) in [(1, 20), (1000, 20), (65_507, 2)] {
            for length in PAYLOADS {
                let (plan, expected) = sender(way, Protocol::Udp, message, messages, length);
                let receiver = UdpSocket::bind(loopback()).unwrap();
                receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let remote = receiver.local_addr().unwrap();
                let sending = std::thread::spawn(move || prepare(&plan).unwrap().run(Some(remote)).unwrap());
                let mut arrived = Vec::new();
                let mut datagram = vec![0; 1 << 16];
                for _ in 0..messages {
                    let bytes = receiver.recv(&mut datagram).unwrap();
                    assert_eq!(bytes, message as usize, "{}", way.name);
                    arrived.extend_from_slice(&datagram[..bytes]);
                }
                // Its late marks are refused, and so are not waited for.
                drop(receiver);
                assert_eq!(sending.join().unwrap().end, End::Count, "{}", way.name);
                assert!(arrived == expected, "{}: messages of {message}, payload of {length}", way.name);
            }
        }
    }
}
