//! What the control channel costs: a netserver decodes, checks and answers one request for a TCP stream test.
//!
//! None of it is in a measured window, so the figures matter only beside the network's: a test costs the
//! server two answers. Nothing here touches a socket.
#![allow(clippy::disallowed_methods, reason = "a benchmark ends with whoever runs it")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, Frame, FrameReader, Limits, Offer, OmniRequest,
    OmniTest, Results, Server, ServerConfig, ServerInput, ServerOutput, TestSpec,
};

/// The request that a client with netperf's defaults sends.
fn request() -> Frame {
    let client = Client::new(ClientConfig { passphrase: None });
    let (_, output) =
        client.on(ClientInput::Start(OmniTest::default().into())).expect("a default test starts");
    let ClientOutput::Send(frame) = output else { panic!("the first output is the request, not {output:?}") };
    frame
}

fn server() -> Server {
    Server::new(ServerConfig { limits: Limits::default(), passphrase: None, cpu_rate: 100.0, cpus: 2 })
}

/// One whole test at the server: request, response, results.
fn serve(server: Server, request: Frame) -> Frame {
    let (server, output) = server.on(ServerInput::Frame(request)).expect("the request is well formed");
    assert!(matches!(output, ServerOutput::Prepare(_)), "the test is accepted, not {output:?}");
    let offer = Offer { port: 40_000, receive_buffer: 131_072, receive_bytes: 131_072, ..Offer::default() };
    let (server, output) = server.on(ServerInput::Prepared(offer)).expect("a prepared test is answered");
    assert!(matches!(output, ServerOutput::ReplyThenRun(_)), "the test runs, not {output:?}");
    let results = Results { bytes_received: 1 << 40, elapsed_seconds: 10.0, ..Results::default() };
    let (_, output) = server.on(ServerInput::Ran(results, None)).expect("results are sent");
    let ServerOutput::Reply(frame) = output else { panic!("the last output is a reply, not {output:?}") };
    frame
}

fn codec(criterion: &mut Criterion) {
    let frame = request();
    let mut group = criterion.benchmark_group("codec");

    group.bench_function("frame from a stream", |bencher| {
        let mut reader = FrameReader::default();
        bencher.iter(|| {
            let taken = reader.push(black_box(frame.as_bytes()));
            assert_eq!(taken, frame.as_bytes().len());
            reader.next().expect("a whole frame was pushed")
        });
    });

    group.bench_function("request to checked test", |bencher| {
        let limits = Limits::default();
        bencher.iter(|| {
            let frame = black_box(&frame);
            TestSpec::parse(frame.cpu_affinity(), &OmniRequest::decode(frame), &limits)
                .expect("a default request is accepted")
        });
    });

    group.bench_function("one test at the server", |bencher| {
        bencher.iter_batched(
            || (server(), frame.clone()),
            |(server, frame)| serve(server, frame),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
