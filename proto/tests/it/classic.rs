//! The classic requests for streams: what they ask for, what is answered, and which word is whose.

use ringperf_proto::classic::{
    TcpMaertsRequest, TcpMaertsResponse, TcpMaertsResults, TcpStreamRequest, TcpStreamResponse,
    TcpStreamResults, UdpStreamRequest, UdpStreamResponse, UdpStreamResults,
};
use ringperf_proto::{
    ClassicRequest, CpuReport, Family, Frame, IpVersion, Length, Limits, Offer, RequestCode, Results, Server,
    ServerInput, ServerOutput, Test, TestSpec, errno,
};

use crate::server::config;

/// What a classic netperf sends by default, as recorded.
pub(crate) fn stream() -> TcpStreamRequest {
    TcpStreamRequest {
        send_buf_size: -1,
        recv_buf_size: -1,
        recv_alignment: 8,
        test_length: 10,
        ipfamily: 4,
        ..TcpStreamRequest::default()
    }
}

pub(crate) fn maerts() -> TcpMaertsRequest {
    TcpMaertsRequest {
        send_buf_size: -1,
        recv_buf_size: -1,
        send_alignment: 8,
        test_length: 10,
        ipfamily: 4,
        ..TcpMaertsRequest::default()
    }
}

pub(crate) fn udp() -> UdpStreamRequest {
    UdpStreamRequest {
        recv_buf_size: -1,
        message_size: 1472,
        recv_alignment: 8,
        test_length: 10,
        ipfamily: 4,
        ..UdpStreamRequest::default()
    }
}

/// A request of each of the three.
pub(crate) fn frames() -> [Frame; 3] {
    let [mut first, mut second, mut third] =
        [RequestCode::TcpStream, RequestCode::TcpMaerts, RequestCode::UdpStream]
            .map(|code| Frame::request(code, -1));
    stream().encode(&mut first);
    maerts().encode(&mut second);
    udp().encode(&mut third);
    [first, second, third]
}

fn parse(request: impl Into<ClassicRequest>) -> Result<TestSpec, i32> {
    TestSpec::parse_classic(-1, &request.into(), &Limits::default()).map_err(|refusal| refusal.errno)
}

#[test]
fn each_request_becomes_its_test() {
    let spec = parse(stream()).expect("a test");
    assert_eq!((spec.test, spec.family, spec.ip_version), (Test::TcpStream, Family::Classic, IpVersion::V4));
    assert_eq!((spec.length, spec.data_port, spec.cpu), (Length::Seconds(10), 0, None));
    assert_eq!((spec.data_address, spec.client_data), (None, (None, 0)));
    assert_eq!((spec.send_buffer, spec.receive_buffer), (None, None));
    assert_eq!((spec.receive_bytes, spec.send_bytes, spec.exact_message), (None, None, None));
    assert!(!spec.measure_cpu && !spec.no_delay && !spec.dont_route && !spec.want_congestion_control);

    let asked = TcpMaertsRequest {
        send_size: 3000,
        send_buf_size: 7,
        no_delay: 3,
        measure_cpu: 2,
        port: 99,
        ..maerts()
    };
    let spec = parse(asked).expect("a test");
    assert_eq!((spec.test, spec.family), (Test::TcpMaerts, Family::Classic));
    assert_eq!((spec.receive_bytes, spec.send_bytes, spec.exact_message), (None, Some(3000), None));
    assert_eq!((spec.send_buffer, spec.data_port), (Some(7), 99));
    assert!(spec.measure_cpu && spec.no_delay);

    let spec = parse(TcpStreamRequest { receive_size: 3000, ipfamily: 6, ..stream() }).expect("a test");
    assert_eq!((spec.receive_bytes, spec.send_bytes, spec.exact_message), (Some(3000), None, None));
    assert_eq!(spec.ip_version, IpVersion::V6);

    let spec = parse(UdpStreamRequest { recv_buf_size: 9, ..udp() }).expect("a test");
    assert_eq!((spec.test, spec.family), (Test::UdpStream, Family::Classic));
    assert_eq!((spec.receive_bytes, spec.send_bytes, spec.exact_message), (Some(1472), None, Some(1472)));
    assert_eq!((spec.send_buffer, spec.receive_buffer), (None, Some(9)));
}

#[test]
fn sizes_lengths_ports_and_families_are_judged() {
    let limit = Limits::default().message_bytes_max.cast_signed();
    let sizes = [
        (i32::MIN, Err(errno::EINVAL)),
        (-2, Err(errno::EINVAL)),
        (-1, Ok(None)),
        (0, Ok(None)),
        (1, Ok(Some(1))),
        (limit, Ok(Some(limit.cast_unsigned()))),
        (limit + 1, Err(errno::E2BIG)),
    ];
    for (size, expected) in sizes {
        let received = parse(TcpStreamRequest { receive_size: size, ..stream() });
        assert_eq!(received.map(|spec| spec.receive_bytes), expected, "{size}");
        let sent = parse(TcpMaertsRequest { send_size: size, ..maerts() });
        assert_eq!(sent.map(|spec| spec.send_bytes), expected, "{size}");
        let exact = parse(UdpStreamRequest { message_size: size, ..udp() });
        assert_eq!(exact.map(|spec| spec.exact_message), expected, "{size}");
    }
    // A byte count comes as a positive number, and a sender may run until it is left.
    for (length, expected) in
        [(1_000_000, Ok(Length::Seconds(1_000_000))), (0, Ok(Length::Endless)), (-5, Err(errno::EINVAL))]
    {
        let sent = parse(TcpMaertsRequest { test_length: length, ..maerts() });
        assert_eq!(sent.map(|spec| spec.length), expected, "{length}");
        let received = parse(TcpStreamRequest { test_length: length, ..stream() });
        assert_eq!(received.map(|spec| spec.length), expected, "{length}");
    }
    for (length, expected) in [(1, Ok(Length::Seconds(1))), (0, Err(errno::EINVAL)), (-1, Err(errno::EINVAL))]
    {
        let spec = parse(UdpStreamRequest { test_length: length, ..udp() });
        assert_eq!(spec.map(|spec| spec.length), expected, "{length}");
    }
    for port in [-1, i32::MIN, 65536] {
        assert_eq!(parse(TcpStreamRequest { port, ..stream() }).expect_err("a refusal"), errno::EINVAL);
    }
    assert_eq!(parse(TcpStreamRequest { port: 65535, ..stream() }).expect("a test").data_port, 65535);
    for ipfamily in [7, -1, i32::MIN] {
        let spec = parse(TcpStreamRequest { ipfamily, ..stream() });
        assert_eq!(spec.expect_err("a refusal"), errno::EAFNOSUPPORT);
    }
    let unnamed = parse(TcpStreamRequest { ipfamily: 0, ..stream() }).expect("a test");
    assert_eq!(unnamed.ip_version, IpVersion::V4, "netperf's server takes it for IPv4");
}

#[test]
fn datagrams_of_before_2_4_3_are_told_by_their_missing_word() {
    let mut wanted =
        UdpStreamRequest { message_size: 1000, measure_cpu: 1, cpu_rate: 50.0, port: 12866, ..udp() };
    for ipfamily in [4, 6] {
        wanted.ipfamily = ipfamily;
        let mut later = Frame::request(RequestCode::UdpStream, -1);
        wanted.encode(&mut later);
        let mut bytes = *later.as_bytes();
        bytes.copy_within(20..60, 16);
        bytes[56..60].fill(0);
        let earlier = Frame::from_bytes(bytes);
        assert_ne!(earlier, later);
        assert_eq!(ClassicRequest::decode(&earlier), Some(wanted.clone().into()));
        assert_eq!(ClassicRequest::decode(&later), Some(wanted.clone().into()));
    }
    // A family of 0 alone is not enough: what stands where the family stood is a port.
    let mut unnamed = Frame::request(RequestCode::UdpStream, -1);
    UdpStreamRequest { ipfamily: 0, ..wanted.clone() }.encode(&mut unnamed);
    let read = ClassicRequest::decode(&unnamed).expect("a request");
    assert_eq!((read.port, read.ipfamily, read.message_size), (12866, 0, 1000));
    for code in [RequestCode::TcpNbrr, RequestCode::Omni, RequestCode::Sysinfo, RequestCode::Unknown(4711)] {
        assert_eq!(ClassicRequest::decode(&Frame::request(code, -1)), None);
    }
}

fn step(server: Server, input: ServerInput) -> (Server, ServerOutput) {
    server.on(input).expect("no fault")
}

/// The response and the results of a test whose figures are all different.
fn answers(request: &Frame, cpu: Option<CpuReport>) -> (Frame, Frame) {
    let (server, output) = step(Server::new(config(None)), ServerInput::Frame(request.clone()));
    assert!(matches!(output, ServerOutput::Prepare(_)), "{output:?}");
    let offer = Offer {
        port: 40_001,
        send_buffer: 1,
        receive_buffer: 2,
        receive_bytes: 3,
        send_bytes: 4,
        no_delay: true,
        priority: Some(5),
        type_of_service: Some(6),
    };
    let (server, output) = step(server, ServerInput::Prepared(offer));
    let ServerOutput::ReplyThenRun(response) = output else { panic!("{output:?}") };
    let results = Results {
        bytes_received: 0x3_0000_0007,
        receives: 0x1_0000_0008,
        bytes_sent: 0x4_0000_0009,
        sends: 0x1_0000_000a,
        transactions: 0x1_0000_000f,
        send_buffer: 11,
        receive_buffer: 12,
        elapsed_seconds: 13.0,
        retransmits: 14,
        congestion_control: Some("cubic".to_owned()),
        cpu,
    };
    let (_, output) = step(server, ServerInput::Ran(results, None));
    let ServerOutput::Reply(results) = output else { panic!("{output:?}") };
    (response, results)
}

fn half_used() -> CpuReport {
    CpuReport { utilisation: 50.0, method: 8, cpus: 4, ..CpuReport::default() }
}

#[test]
fn streams_are_answered_in_their_own_words() {
    let [plain, ..] = frames();
    let (response, results) = answers(&plain, Some(half_used()));
    let expected = TcpStreamResponse {
        recv_buf_size: 2,
        receive_size: 3,
        no_delay: 1,
        send_buf_size: 1,
        data_port_number: 40_001,
        ..TcpStreamResponse::default()
    };
    assert_eq!(TcpStreamResponse::decode(&response), expected);
    assert_eq!(response.as_bytes()[48..], [0; 608]);
    let expected = TcpStreamResults {
        bytes_received: 12_884_901_895.0,
        recv_calls: 8,
        elapsed_time: 13.0,
        ..TcpStreamResults::default()
    };
    assert_eq!(TcpStreamResults::decode(&results), expected, "CPU was not asked for");
    assert_eq!(results.as_bytes()[..8], [11, 0, 0, 0, 0, 0, 0, 0], "the type is left over");
    let mut measured = Frame::request(RequestCode::TcpStream, -1);
    TcpStreamRequest { measure_cpu: 2, cpu_rate: 250.0, so_rcvavoid: 1, ..stream() }.encode(&mut measured);
    let (response, results) = answers(&measured, Some(half_used()));
    let response = TcpStreamResponse::decode(&response);
    assert_eq!((response.measure_cpu, response.cpu_rate), (1, 250.0));
    assert_eq!((response.so_rcvavoid, response.so_sndavoid), (1, 0));
    let results = TcpStreamResults::decode(&results);
    assert_eq!((results.cpu_util, results.cpu_method, results.num_cpus), (50.0, 8, 4));
}

#[test]
fn streams_towards_the_client_are_answered_in_their_own_words() {
    let mut measured = Frame::request(RequestCode::TcpMaerts, -1);
    TcpMaertsRequest { measure_cpu: 1, so_sndavoid: 1, ..maerts() }.encode(&mut measured);
    let (response, results) = answers(&measured, Some(half_used()));
    let expected = TcpMaertsResponse {
        recv_buf_size: 2,
        send_size: 4,
        no_delay: 1,
        measure_cpu: 1,
        send_buf_size: 1,
        data_port_number: 40_001,
        cpu_rate: 100.0,
        so_sndavoid: 1,
        ..TcpMaertsResponse::default()
    };
    assert_eq!(TcpMaertsResponse::decode(&response), expected);
    let expected = TcpMaertsResults {
        bytes_sent: 17_179_869_193.0,
        send_calls: 10,
        elapsed_time: 13.0,
        cpu_util: 50.0,
        cpu_method: 8,
        num_cpus: 4,
        ..TcpMaertsResults::default()
    };
    assert_eq!(TcpMaertsResults::decode(&results), expected);
    assert_eq!(results.as_bytes()[..8], [95, 0, 0, 0, 0, 0, 0, 0], "the type is left over");
}

#[test]
fn datagrams_are_answered_in_their_own_words() {
    let [.., plain] = frames();
    let (response, results) = answers(&plain, None);
    let expected = UdpStreamResponse {
        recv_buf_size: 2,
        send_buf_size: 1,
        test_length: 10,
        data_port_number: 40_001,
        ..UdpStreamResponse::default()
    };
    assert_eq!(UdpStreamResponse::decode(&response), expected);
    assert_eq!(response.as_bytes()[..8], [0, 0, 0, 17, 0, 0, 0, 0]);
    let expected = UdpStreamResults {
        messages_recvd: 8,
        bytes_received: 7,
        elapsed_time: 13.0,
        cpu_util: -1.0,
        ..UdpStreamResults::default()
    };
    assert_eq!(UdpStreamResults::decode(&results), expected);
    assert_eq!(results.as_bytes()[..8], [0, 0, 0, 18, 0, 0, 0, 0], "the one that names its type");
    let mut measured = Frame::request(RequestCode::UdpStream, -1);
    UdpStreamRequest { measure_cpu: 1, ..udp() }.encode(&mut measured);
    let results = UdpStreamResults::decode(&answers(&measured, Some(half_used())).1);
    assert_eq!((results.cpu_util, results.cpu_method, results.num_cpus), (50.0, 8, 4));
}

#[test]
fn refusals_and_failures_are_answered_in_the_family_that_asked() {
    for (request, response) in frames().iter().zip([11_u8, 95, 17]) {
        let server = step(Server::new(config(None)), ServerInput::Frame(request.clone())).0;
        let (server, output) = step(server, ServerInput::Refused { errno: errno::EBUSY });
        let ServerOutput::Reply(refused) = output else { panic!("{output:?}") };
        assert_eq!(refused.as_bytes()[..8], [0, 0, 0, response, 0, 0, 0, 16]);
        assert_eq!(refused.as_bytes()[8..], [0; 648]);
        let mut bytes = *request.as_bytes();
        bytes[12..20].fill(0x80);
        let (server, output) = step(server, ServerInput::Frame(Frame::from_bytes(bytes)));
        let ServerOutput::Reply(refused) = output else { panic!("{output:?}") };
        assert_eq!((refused.as_bytes()[3], refused.errno()), (response, errno::EINVAL));
        let (server, _) = step(server, ServerInput::Frame(request.clone()));
        let (server, _) = step(server, ServerInput::Prepared(Offer::default()));
        let (_, output) = step(server, ServerInput::Failed { errno: errno::ECONNRESET });
        let ServerOutput::ReplyThenClose(failed) = output else { panic!("{output:?}") };
        assert_eq!(failed.errno(), errno::ECONNRESET);
    }
}
