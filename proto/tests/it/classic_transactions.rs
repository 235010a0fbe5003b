//! The classic messages of transactions at the server, and those that a netperf 2.7.0 still sends as a
//! client.

use ringperf_proto::classic::{RrRequest, RrResponse, RrResults, TcpStreamRequest, TcpStreamResults};
use ringperf_proto::{
    ClassicRequest, ClassicTest, Client, ClientConfig, ClientInput, ClientOutput, CpuReport, Family, Fault,
    Frame, IpVersion, Length, Limits, Offer, Party, RemoteOffer, RemoteResults, RequestCode, Results, Server,
    ServerInput, ServerOutput, Test, TestSpec, errno,
};

use crate::server::config;

const TESTS: [(RequestCode, Test, u8); 4] = [
    (RequestCode::TcpRr, Test::TcpRr, 14),
    (RequestCode::UdpRr, Test::UdpRr, 20),
    (RequestCode::TcpCrr, Test::TcpCrr, 35),
    (RequestCode::TcpCc, Test::TcpCc, 45),
];

fn request() -> RrRequest {
    RrRequest {
        recv_buf_size: -1,
        send_buf_size: 7,
        recv_alignment: 8,
        send_alignment: 8,
        request_size: 10,
        response_size: 20,
        test_length: 3,
        ipfamily: 4,
        ..RrRequest::default()
    }
}

fn frame(code: RequestCode, request: &RrRequest) -> Frame {
    let mut frame = Frame::request(code, -1);
    request.encode(&mut frame);
    frame
}

/// A proper request of each of the four.
pub(crate) fn frames() -> [Frame; 4] {
    TESTS.map(|(code, ..)| frame(code, &request()))
}

fn parse(code: RequestCode, change: impl FnOnce(&mut RrRequest)) -> Result<TestSpec, i32> {
    let mut request = request();
    change(&mut request);
    let request = ClassicRequest::decode(&frame(code, &request)).expect("a classic request");
    TestSpec::parse_classic(-1, &request, &Limits::default()).map_err(|refusal| refusal.errno)
}

#[test]
fn each_request_becomes_its_test() {
    for (code, test, _) in TESTS {
        let spec = parse(code, |_| {}).expect("a test");
        assert_eq!((spec.test, spec.family, spec.ip_version), (test, Family::Classic, IpVersion::V4));
        assert_eq!((spec.length, spec.send_buffer, spec.receive_buffer), (Length::Seconds(3), Some(7), None));
        let sizes = if test == Test::TcpCc { (0, 0) } else { (10, 20) };
        assert_eq!((spec.request_bytes, spec.response_bytes), sizes, "{test:?}");
        assert_eq!((spec.receive_bytes, spec.send_bytes, spec.pacing), (None, None, None));
        assert_eq!(spec.exact_message, Some(10).filter(|_| test == Test::UdpRr));
        assert_eq!(
            parse(code, |request| request.test_length = -9).map(|spec| spec.length),
            Ok(Length::Transactions(9))
        );
        let refused = |change: fn(&mut RrRequest)| parse(code, change).map(|spec| spec.test);
        assert_eq!(refused(|request| request.test_length = 0), Err(errno::EINVAL), "no transaction at all");
        assert_eq!(refused(|request| request.ipfamily = 9), Err(errno::EAFNOSUPPORT));
        for (size, error) in [(0, errno::EINVAL), (-2, errno::EINVAL), (i32::MAX, errno::E2BIG)] {
            let sized = parse(code, |request| request.request_size = size).map(|spec| spec.test);
            // Connections alone have no sizes to be wrong.
            assert_eq!(sized, if test == Test::TcpCc { Ok(test) } else { Err(error) }, "{test:?} {size}");
        }
    }
    let too_long = parse(RequestCode::UdpRr, |request| request.response_size = 65_508);
    assert_eq!(too_long.map(|spec| spec.test), Err(errno::EMSGSIZE));
}

fn step(server: Server, input: ServerInput) -> (Server, ServerOutput) {
    server.on(input).expect("no fault")
}

/// The response and the results of a test whose figures are all different.
fn answers(request: &Frame) -> (Frame, Frame) {
    let (server, output) = step(Server::new(config(None)), ServerInput::Frame(request.clone()));
    assert!(matches!(output, ServerOutput::Prepare(_)), "{output:?}");
    let offer = Offer { port: 40_001, send_buffer: 1, receive_buffer: 2, no_delay: true, ..Offer::default() };
    let (server, output) = step(server, ServerInput::Prepared(offer));
    let ServerOutput::ReplyThenRun(response) = output else { panic!("{output:?}") };
    let results = Results {
        bytes_received: 77,
        transactions: 0x1_0000_0005,
        elapsed_seconds: 13.0,
        cpu: Some(CpuReport { utilisation: 50.0, method: 8, cpus: 4, ..CpuReport::default() }),
        ..Results::default()
    };
    let ServerOutput::Reply(results) = step(server, ServerInput::Ran(results, None)).1 else {
        panic!("no results")
    };
    (response, results)
}

#[test]
fn they_are_answered_in_their_own_words() {
    for (code, test, response_type) in TESTS {
        let asked = RrRequest { measure_cpu: 1, so_sndavoid: 1, ..request() };
        let (response, results) = answers(&frame(code, &asked));
        let expected = RrResponse {
            recv_buf_size: 2,
            no_delay: i32::from(test != Test::UdpRr),
            measure_cpu: 1,
            test_length: if test == Test::TcpRr { 3 } else { 0 },
            send_buf_size: 1,
            data_port_number: 40_001,
            cpu_rate: 100.0,
            so_sndavoid: 1,
            ..RrResponse::default()
        };
        assert_eq!(RrResponse::decode(&response), expected, "{test:?}");
        let expected = RrResults {
            // As netperf's server makes them up: each transaction as large as it was asked for.
            bytes_received: 5 * 30,
            trans_received: 5,
            elapsed_time: 13.0,
            cpu_util: 50.0,
            cpu_method: 8,
            num_cpus: 4,
            ..RrResults::default()
        };
        assert_eq!(RrResults::decode(&results), expected, "{test:?}");
        let response_type = if test == Test::TcpCc { [0, 0, 1, 45] } else { [0, 0, 0, response_type] };
        assert_eq!(response.as_bytes()[..4], response_type);
        let left_over: Vec<u8> = response_type.into_iter().rev().collect();
        assert_eq!(results.as_bytes()[..4], left_over[..], "the type is left over");
    }
}

/// What a client sends, and the machine that has sent it.
fn asked(test: ClassicTest) -> Result<(Client, Frame), Fault> {
    match Client::new(ClientConfig::default()).on(ClientInput::Start(test.into()))? {
        (client, ClientOutput::Send(frame)) => Ok((client.on(ClientInput::Sent)?.0, frame)),
        (_, other) => panic!("{other:?}"),
    }
}

/// What a client makes of a response and of results.
fn told(test: ClassicTest, response: Frame, results: Frame) -> (RemoteOffer, RemoteResults) {
    let (client, output) =
        asked(test).expect("a request").0.on(ClientInput::Frame(response)).expect("an offer");
    let ClientOutput::Run(offer) = output else { panic!("{output:?}") };
    let client = client.on(ClientInput::Ran).expect("a wait").0;
    match client.on(ClientInput::Frame(results)).expect("results").1 {
        ClientOutput::Finished(results) => (offer, results),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_asks_in_two_of_these_families_alone() {
    let stream = ClassicTest {
        cpu: Some(3),
        length: Length::Bytes(1_000_000),
        measure_cpu: 2,
        data_port: 99,
        avoid_copies: true,
        ..ClassicTest::new(Test::TcpStream)
    };
    let sent = asked(stream).expect("a request").1;
    assert_eq!((sent.request_type(), sent.cpu_affinity()), (RequestCode::TcpStream, 3));
    let sent = TcpStreamRequest::decode(&sent);
    assert_eq!((sent.test_length, sent.measure_cpu, sent.port), (1_000_000, 2, 99), "bytes as seconds");
    assert_eq!((sent.receive_size, sent.so_rcvavoid, sent.ipfamily), (0, 1, 4));
    let counted = ClassicTest { length: Length::Transactions(9), ..ClassicTest::new(Test::TcpCc) };
    let sent = asked(counted.clone()).expect("a request").1;
    assert_eq!(sent.request_type(), RequestCode::TcpCc);
    let sent = RrRequest::decode(&sent);
    assert_eq!((sent.test_length, sent.request_size, sent.response_size), (-9, 1, 1));
    for test in Test::ALL {
        let length = if test.has_transactions() { Length::Transactions(1) } else { Length::Seconds(1) };
        let asked = asked(ClassicTest { length, ..ClassicTest::new(test) });
        assert_eq!(asked.is_ok(), matches!(test, Test::TcpStream | Test::TcpCc), "{test:?}");
    }
    for length in [Length::Endless, Length::Bytes(1), Length::Transactions(0)] {
        let fault = asked(ClassicTest { length, ..counted.clone() }).err().expect("a misuse");
        assert_eq!(fault.party(), Party::Caller, "{length:?}");
    }
}

#[test]
fn a_client_reads_no_more_than_they_say() {
    let measured = |test| ClassicTest { measure_cpu: 1, ..ClassicTest::new(test) };
    let (response, results) = answers(&asked(measured(Test::TcpCc)).expect("a request").1);
    let (offer, done) = told(measured(Test::TcpCc), response, results);
    assert_eq!((offer.port, offer.send_buffer, offer.receive_buffer), (40_001, Some(1), Some(2)));
    assert_eq!((offer.receive_bytes, offer.send_bytes, offer.cpu_rate), (None, None, 100.0));
    assert_eq!((done.transactions, done.bytes_received, done.elapsed_seconds), (5, 0, Some(13.0)));
    let cpu = done.cpu.expect("it was measured");
    assert_eq!((cpu.utilisation, cpu.cpus, cpu.peak_cpu), (50.0, 4, -1));
    assert_eq!((done.retransmits, done.congestion_control, done.send_buffer), (None, None, None));

    let (response, _) = answers(&asked(ClassicTest::new(Test::TcpStream)).expect("a request").1);
    for (double, bytes) in [
        (0.0, 0),
        (1.0, 1),
        (1.9, 1),
        (12_884_901_895.0, 12_884_901_895),
        (2_f64.powi(63), 1 << 63),
        (2_f64.powi(64), 0),
        (f64::INFINITY, 0),
        (f64::NAN, 0),
        (-1.0, 0),
    ] {
        let mut results = Frame::response(11, 0);
        let words = TcpStreamResults { bytes_received: double, recv_calls: 8, ..TcpStreamResults::default() };
        words.encode(&mut results);
        let (_, done) = told(ClassicTest::new(Test::TcpStream), response.clone(), results);
        assert_eq!((done.bytes_received, done.receives, done.cpu), (bytes, 8, None), "{double}");
    }
}

#[test]
fn a_refusal_names_the_request() {
    for (test, request) in [(Test::TcpStream, "DO_TCP_STREAM"), (Test::TcpCc, "DO_TCP_CC")] {
        let client = asked(ClassicTest::new(test)).expect("a request").0;
        let refused = client.on(ClientInput::Frame(Frame::response(0, errno::UNKNOWN_REQUEST)));
        assert_eq!(refused.err(), Some(Fault::Unsupported { request }));
    }
}
