//! What one TCP stream over loopback costs, by the way it is sent and received.
//!
//! Each pair of cases answers one question that the engine's defaults rest on: registered memory or plain at
//! 1 MiB, the buffer ring or single receives, io_uring or epoll. The measured time is the sender's, from
//! connecting until the receiver has closed. Sender and receiver sit on the first and the last core.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringperf_engine::plan::{Endpoint, Length, Role, Without};
use ringperf_engine::{EngineChoice, Plan, PlanOptions, prepare};

/// Payload of one sample: much when measuring, little when `cargo test` only looks whether it runs.
fn payload_bytes() -> u64 {
    if std::env::args().any(|argument| argument == "--bench") { 256 << 20 } else { 4 << 20 }
}

fn options(
    role: Role,
    endpoint: Endpoint,
    engine: EngineChoice,
    message_bytes: u32,
    without: Without,
) -> Plan {
    let length = if role == Role::Send { Length::Bytes(payload_bytes()) } else { Length::Endless };
    let options = PlanOptions { engine, message_bytes, without, length, ..PlanOptions::new(role, endpoint) };
    Plan::new(options).expect("the options are in range")
}

/// One whole stream; the sender's time.
fn stream(engine: EngineChoice, message_bytes: u32, without: Without) -> Duration {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = Endpoint::Listen { local, peers: Vec::new() };
    let receiver =
        prepare(&options(Role::Receive, listen, engine, message_bytes, without)).expect("a receiver");
    let connect = Endpoint::Connect { local };
    let sender = prepare(&options(Role::Send, connect, engine, message_bytes, without)).expect("a sender");
    let port = receiver.local();
    let receiving = std::thread::spawn(move || receiver.run(None).expect("it receives"));
    let sent = sender.run(Some(port)).expect("it sends");
    let received = receiving.join().expect("the receiver ends");
    assert_eq!(received.tally.bytes_received, sent.tally.bytes_sent);
    sent.elapsed
}

fn streams(criterion: &mut Criterion) {
    let everything = Without::default();
    let plain = Without { registered_buffers: true, ..everything };
    let single = Without { buffer_ring: true, ..everything };
    let mut cases = vec![("epoll, 1 MiB", EngineChoice::Epoll, 1 << 20, everything)];
    let listen = Endpoint::Listen { local: SocketAddr::from(([127, 0, 0, 1], 0)), peers: Vec::new() };
    match prepare(&options(Role::Receive, listen, EngineChoice::Uring, 1 << 20, everything)) {
        Ok(_) => cases.extend([
            ("uring, 1 MiB from registered memory", EngineChoice::Uring, 1 << 20, everything),
            ("uring, 1 MiB from plain memory", EngineChoice::Uring, 1 << 20, plain),
            ("uring, 1 MiB, single receives", EngineChoice::Uring, 1 << 20, single),
            ("uring, 128 KiB in chains", EngineChoice::Uring, 128 << 10, everything),
        ]),
        Err(refused) => drop(writeln!(std::io::stderr(), "SKIP the cases on io_uring: {refused}")),
    }
    let mut group = criterion.benchmark_group("stream");
    group.sample_size(10).throughput(Throughput::Bytes(payload_bytes()));
    for (name, engine, message_bytes, without) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| stream(engine, message_bytes, without)).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, streams);
criterion_main!(benches);
