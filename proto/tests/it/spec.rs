//! What a peer may ask for: the edges of every checked word, in both directions.

use ringperf_proto::layout::{AddressWords, Text};
use ringperf_proto::omni::{OmniRequest, flag};
use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, Family, Fault, Frame, IpVersion, Length, Limits,
    OmniTest, Pacing, Party, Refusal, Test, TestSpec, Wishes, errno,
};

/// What netperf 2.7.0 sends by default.
pub(crate) fn default_request() -> OmniRequest {
    request_of(OmniTest::default())
}

fn request_of(test: OmniTest) -> OmniRequest {
    OmniRequest::decode(&frame_of(test).expect("a test that can be sent"))
}

fn frame_of(test: OmniTest) -> Result<Frame, Fault> {
    match Client::new(ClientConfig::default()).on(ClientInput::Start(test.into()))?.1 {
        ClientOutput::Send(frame) => Ok(frame),
        other => panic!("{other:?}"),
    }
}

fn parse(change: impl FnOnce(&mut OmniRequest)) -> Result<TestSpec, Refusal> {
    let mut request = default_request();
    change(&mut request);
    TestSpec::parse(-1, &request, &Limits::default())
}

fn refused(change: impl FnOnce(&mut OmniRequest)) -> i32 {
    parse(change).expect_err("a refusal").errno
}

#[test]
fn the_default_request_is_a_stream_of_ten_seconds() {
    let spec = parse(|_| {}).expect("a test");
    assert_eq!((spec.test, spec.family), (Test::TcpStream, Family::Omni));
    assert_eq!((spec.send_bytes, spec.exact_message), (None, None));
    assert_eq!((spec.ip_version, spec.length), (IpVersion::V4, Length::Seconds(10)));
    assert_eq!((spec.cpu, spec.data_address, spec.data_port), (None, None, 0));
    assert_eq!((spec.send_buffer, spec.receive_buffer, spec.receive_bytes), (None, None, None));
    assert_eq!((spec.priority, spec.type_of_service, &spec.congestion_control), (None, None, &None));
    assert!(!spec.measure_cpu && !spec.no_delay && !spec.keepalive && !spec.dont_route);
    assert!(spec.want_congestion_control && !spec.ignored_fill_file);
    assert_eq!(spec.wishes, Wishes::default());
}

#[test]
fn lengths_are_seconds_bytes_or_none() {
    let cases = [
        (i32::MIN, Length::Bytes(1 << 31)),
        (-1, Length::Bytes(1)),
        (0, Length::Endless),
        (1, Length::Seconds(1)),
        (i32::MAX, Length::Seconds(0x7fff_ffff)),
    ];
    for (word, length) in cases {
        assert_eq!(parse(|request| request.test_length = word).expect("a test").length, length, "{word}");
    }
}

#[test]
fn socket_buffers_are_clamped_and_never_refused() {
    let max = Limits::default().socket_buffer_max;
    let cases = [
        (i32::MIN, None),
        (-2, None),
        (-1, None),
        (0, Some(0)),
        (1100, Some(1100)),
        (i32::try_from(max).expect("a word"), Some(max)),
        (i32::MAX, Some(max)),
    ];
    for (word, bytes) in cases {
        let spec =
            parse(|request| (request.send_buf_size, request.recv_buf_size) = (word, word)).expect("a test");
        assert_eq!((spec.send_buffer, spec.receive_buffer), (bytes, bytes), "{word}");
    }
}

#[test]
fn receive_sizes_are_bounded_before_anything_is_allocated() {
    let limit = Limits::default().message_bytes_max;
    let limit_word = i32::try_from(limit).expect("a word");
    let cases = [
        (i32::MIN, Err(errno::EINVAL)),
        (-2, Err(errno::EINVAL)),
        (-1, Ok(None)),
        (0, Ok(None)),
        (1, Ok(Some(1))),
        (limit_word, Ok(Some(limit))),
        (limit_word + 1, Err(errno::E2BIG)),
        (i32::MAX, Err(errno::E2BIG)),
    ];
    for (word, expected) in cases {
        let parsed = parse(|request| request.receive_size = word);
        assert_eq!(
            parsed.map(|spec| spec.receive_bytes).map_err(|refusal| refusal.errno),
            expected,
            "{word}"
        );
    }
    // A positive request size takes its place, with the same bound; any other is ignored.
    assert_eq!(parse(|request| request.request_size = 150).expect("a test").receive_bytes, Some(150));
    assert_eq!(parse(|request| request.request_size = i32::MIN).expect("a test").receive_bytes, None);
    assert_eq!(refused(|request| request.request_size = i32::MAX), errno::E2BIG);
}

#[test]
fn send_sizes_are_bounded_as_receive_sizes_are() {
    let maerts = |change: fn(&mut OmniRequest)| {
        let mut request = request_of(OmniTest::new(Test::TcpMaerts));
        change(&mut request);
        TestSpec::parse(-1, &request, &Limits::default())
            .map(|spec| {
                assert_eq!((spec.test, spec.receive_bytes), (Test::TcpMaerts, None), "it does not receive");
                spec.send_bytes
            })
            .map_err(|refusal| refusal.errno)
    };
    assert_eq!(maerts(|_| {}), Ok(None));
    assert_eq!(maerts(|request| request.send_size = 0), Ok(None));
    assert_eq!(maerts(|request| request.send_size = 1), Ok(Some(1)));
    assert_eq!(maerts(|request| request.send_size = 16 << 20), Ok(Some(16 << 20)));
    assert_eq!(maerts(|request| request.send_size = (16 << 20) + 1), Err(errno::E2BIG));
    assert_eq!(maerts(|request| request.send_size = -2), Err(errno::EINVAL));
    assert_eq!(maerts(|request| request.response_size = 300), Ok(Some(300)));
    assert_eq!(maerts(|request| request.response_size = i32::MAX), Err(errno::E2BIG));
    // What it does not do is not judged: it is only repeated.
    assert_eq!(maerts(|request| request.receive_size = i32::MIN), Ok(None));
    assert_eq!(maerts(|request| request.request_size = i32::MAX), Ok(None));
    let stream = parse(|request| (request.send_size, request.response_size) = (i32::MIN, 300));
    assert_eq!(stream.expect("a test").send_bytes, None);
}

#[test]
fn datagrams_are_received_up_to_any_size_and_never_routed_unless_asked() {
    let udp = |test: OmniTest| TestSpec::parse(-1, &request_of(test), &Limits::default()).expect("a test");
    let spec = udp(OmniTest::new(Test::UdpStream));
    assert_eq!((spec.test, spec.family, spec.length), (Test::UdpStream, Family::Omni, Length::Seconds(10)));
    assert_eq!((spec.receive_bytes, spec.send_bytes, spec.exact_message), (None, None, None));
    assert!(spec.dont_route && !spec.want_congestion_control);
    let routed = udp(OmniTest {
        dont_route: false,
        request_bytes: Some(150),
        receive_bytes: Some(3100),
        ..OmniTest::new(Test::UdpStream)
    });
    assert!(!routed.dont_route && !routed.want_congestion_control, "UDP has no congestion control to name");
    assert_eq!((routed.receive_bytes, routed.exact_message), (Some(150), None));
}

#[test]
fn ports_have_sixteen_bits() {
    assert_eq!(parse(|request| request.data_port = 65535).expect("a test").data_port, 65535);
    for port in [65536, u32::MAX] {
        assert_eq!(refused(|request| request.data_port = port), errno::EINVAL);
        assert_eq!(refused(|request| request.netperf_port = port), errno::EINVAL);
    }
}

#[test]
fn each_test_is_told_by_its_socket_and_direction() {
    let (tcp, udp) = (Some(false), Some(true));
    let sockets = [
        (1, 6, tcp),
        (-1, 6, tcp),
        (1, 0, tcp),
        (2, 17, udp),
        (-1, 17, udp),
        (2, 0, udp),
        (-1, 0, None),
        (2, 6, None),
        (1, 17, None),
        (1, 132, None),
        (2, 136, None),
        (i32::MIN, u32::MAX, None),
    ];
    // What the server does, whether by a connection each, and the test over TCP and over UDP.
    let directions = [
        (2, false, Some(Test::TcpMaerts), Some(Test::UdpMaerts)),
        (4, false, Some(Test::TcpStream), Some(Test::UdpStream)),
        (6, false, Some(Test::TcpRr), Some(Test::UdpRr)),
        (6, true, Some(Test::TcpCrr), None),
        (0, true, Some(Test::TcpCc), None),
        (0, false, None, None),
        (1, false, None, None),
        (2, true, None, None),
        (4, true, None, None),
        (u32::MAX, false, None, None),
    ];
    for (socket_type, protocol, udp) in sockets {
        for (direction, connects, over_tcp, over_udp) in directions {
            let parsed = parse(|request| {
                (request.socket_type, request.protocol, request.direction) =
                    (socket_type, protocol, direction);
                request.flags |= if connects { flag::CONNECT_TEST } else { 0 };
                (request.request_size, request.response_size) = (1, 1);
                request.netperf_port = 4000;
            });
            let expected = udp.and_then(|udp| if udp { over_udp } else { over_tcp });
            let found = parsed.map(|spec| spec.test).map_err(|refusal| refusal.errno);
            assert_eq!(
                found,
                expected.ok_or(errno::EOPNOTSUPP),
                "{socket_type} {protocol} {direction} {connects}"
            );
        }
    }
    for family in [0, 5, 7, u32::MAX] {
        assert_eq!(refused(|request| request.ipfamily = family), errno::EAFNOSUPPORT, "{family}");
    }
}

#[test]
fn a_transaction_has_both_its_sizes() {
    let of = |test: Test, change: fn(&mut OmniRequest)| {
        let mut request = request_of(OmniTest::new(test));
        change(&mut request);
        TestSpec::parse(-1, &request, &Limits::default()).map_err(|refusal| refusal.errno)
    };
    for test in [Test::TcpRr, Test::TcpCrr, Test::UdpRr] {
        let sizes = |change| of(test, change).map(|spec| (spec.request_bytes, spec.response_bytes));
        let spec = of(test, |_| {}).expect("a test");
        assert_eq!((spec.test, spec.request_bytes, spec.response_bytes), (test, 1, 1));
        assert_eq!((spec.receive_bytes, spec.send_bytes, spec.exact_message), (None, None, None));
        assert!(!spec.dont_route);
        assert_eq!(sizes(|request| (request.request_size, request.response_size) = (64, 128)), Ok((64, 128)));
        // The sizes of a stream stand in where those are not given.
        let stream = |request: &mut OmniRequest| {
            (request.request_size, request.response_size) = (-1, -1);
            (request.receive_size, request.send_size) = (3, 4);
        };
        assert_eq!(sizes(stream), Ok((3, 4)));
        for bad in [i32::MIN, -1, 0] {
            for change in [
                |request: &mut OmniRequest, bad| request.request_size = bad,
                |request: &mut OmniRequest, bad| request.response_size = bad,
            ] {
                let mut request = request_of(OmniTest::new(test));
                change(&mut request, bad);
                let refused = TestSpec::parse(-1, &request, &Limits::default()).expect_err("a refusal");
                assert_eq!(refused.errno, errno::EINVAL, "{test:?} {bad}");
            }
        }
        assert_eq!(sizes(|request| request.response_size = i32::MAX), Err(errno::E2BIG));
        let counted = of(test, |request| request.test_length = -1000).expect("a test");
        assert_eq!(counted.length, Length::Transactions(1000));
    }
    let connections = of(Test::TcpCc, |request| request.request_size = 77).expect("a test");
    assert_eq!((connections.request_bytes, connections.response_bytes), (0, 0), "they are all there is");
    let in_a_datagram = |bytes| {
        let udp = OmniTest { response_bytes: Some(bytes), ..OmniTest::new(Test::UdpRr) };
        TestSpec::parse(-1, &request_of(udp), &Limits::default()).map_err(|refusal| refusal.errno)
    };
    assert!(in_a_datagram(65_507).is_ok());
    assert_eq!(in_a_datagram(65_508).map(|spec| spec.test), Err(errno::EMSGSIZE));
}

#[test]
fn datagrams_go_to_a_client_that_says_where_and_until_when() {
    let local = (None, 4000);
    let of = |change: fn(&mut OmniRequest)| {
        let mut request = request_of(OmniTest { local, ..OmniTest::new(Test::UdpMaerts) });
        change(&mut request);
        TestSpec::parse(-1, &request, &Limits::default()).map_err(|refusal| refusal.errno)
    };
    let spec = of(|_| {}).expect("a test");
    assert_eq!((spec.test, spec.client_data, spec.send_bytes), (Test::UdpMaerts, local, None));
    assert!(spec.dont_route);
    assert_eq!(of(|request| request.send_size = 65_507).map(|spec| spec.send_bytes), Ok(Some(65_507)));
    for change in [
        |request: &mut OmniRequest| request.netperf_port = 0,
        |request: &mut OmniRequest| request.test_length = 0,
    ] {
        assert_eq!(of(change).map(|spec| spec.test), Err(errno::EINVAL));
    }
    assert_eq!(of(|request| request.send_size = 65_508).map(|spec| spec.test), Err(errno::EMSGSIZE));
}

#[test]
fn what_is_streamed_can_be_paced() {
    let pacing = |test: Test, burst, interval| {
        let local = (None, 4000);
        let mut request = request_of(OmniTest { local, ..OmniTest::new(test) });
        (request.interval_burst, request.interval_usecs) = (burst, interval);
        TestSpec::parse(-1, &request, &Limits::default()).expect("a test").pacing
    };
    for test in Test::ALL {
        let asked = Some(Pacing { sends: 8, every_us: 10_000 }).filter(|_| test.server_streams());
        assert_eq!(pacing(test, 8, 10_000), asked, "{test:?}");
        assert_eq!((pacing(test, 0, 10_000), pacing(test, 8, 0)), (None, None));
    }
}

#[test]
fn names_are_printable_and_files_are_not_opened() {
    let name = |text: &[u8; 16]| parse(|request| request.cong_control = Text(*text));
    assert_eq!(
        name(b"cubic\0\x01\x02\x03garbage").expect("a test").congestion_control.as_deref(),
        Some("cubic")
    );
    assert_eq!(
        name(b"exactly_sixteen!").expect("a test").congestion_control.map(|name| name.len()),
        Some(16)
    );
    assert_eq!(name(b"cu bic\0\0\0\0\0\0\0\0\0\0").expect_err("a refusal").errno, errno::EINVAL);
    assert_eq!(name(b"\x1b[2J\0\0\0\0\0\0\0\0\0\0\0\0").expect_err("a refusal").errno, errno::EINVAL);
    let file = Text::new(b"/etc/passwd").expect("it fits");
    assert!(parse(|request| request.fill_file = file).expect("a test").ignored_fill_file);
}

#[test]
fn flags_mean_what_they_say_and_unknown_ones_nothing() {
    let all = parse(|request| request.flags = !flag::CONNECT_TEST).expect("a test");
    assert!(all.no_delay && all.measure_cpu && all.keepalive && all.defer_accept && all.fast_open);
    assert!(all.want_congestion_control && !all.dont_route);
    let none = parse(|request| request.flags = 0).expect("a test");
    assert!(!none.no_delay && !none.measure_cpu && !none.keepalive && !none.defer_accept && !none.fast_open);
    assert!(none.dont_route && !none.want_congestion_control);
}

#[test]
fn header_and_options_below_zero_ask_for_nothing() {
    for (word, value) in [(i32::MIN, None), (-2, None), (-1, None), (0, Some(0)), (777, Some(777))] {
        let mut request = default_request();
        (request.socket_prio, request.socket_tos) = (word, word);
        let spec = TestSpec::parse(word, &request, &Limits::default()).expect("a test");
        assert_eq!((spec.priority, spec.type_of_service), (value, value));
        assert_eq!(spec.cpu, value.map(i32::cast_unsigned));
    }
}

#[test]
fn addresses_follow_the_family() {
    let words = AddressWords([0x0100_007f, 0, 0, 0x0100_0000]);
    let spec = parse(|request| (request.ipfamily, request.netserver_ip) = (6, words)).expect("a test");
    assert_eq!(spec.data_address, Some("7f00:1::1".parse().expect("an address")));
    let words = AddressWords([0xc000_0201, 9, 9, 9]);
    let spec = parse(|request| (request.netserver_ip, request.netperf_ip) = (words, words)).expect("a test");
    assert_eq!(spec.data_address, Some("192.0.2.1".parse().expect("an address")));
    assert_eq!(spec.client_data, (spec.data_address, 0));
}

#[test]
fn every_word_at_its_edges_is_judged_without_a_panic() {
    let edges =
        [0_u32, 1, 0x7f, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff, 0x7fc0_0000];
    let mut served = 0;
    let bounded = |size: Option<u32>| size.is_none_or(|size| (1..=16 << 20).contains(&size));
    for test in Test::ALL {
        let usual = OmniTest { local: (None, 4000), ..OmniTest::new(test) };
        let usual = frame_of(usual).expect("a request");
        for (offset, edge) in (8..208).step_by(4).flat_map(|offset| edges.map(|edge| (offset, edge))) {
            let mut bytes = *usual.as_bytes();
            bytes[offset..offset + 4].copy_from_slice(&edge.to_be_bytes());
            let request = OmniRequest::decode(&Frame::from_bytes(bytes));
            if let Ok(spec) = TestSpec::parse(edge.cast_signed(), &request, &Limits::default()) {
                assert!(bounded(spec.receive_bytes) && bounded(spec.send_bytes));
                assert!(spec.receive_buffer.is_none_or(|size| size <= 512 << 20));
                assert_eq!(spec.exact_message, None);
                served += 1;
            }
        }
    }
    assert!(served > 1600, "{served}");
}

#[test]
fn what_kills_real_servers_or_does_not_fit_is_not_sent() {
    let wrong: [fn(&mut OmniTest); 14] = [
        |test| test.receive_bytes = Some(0),
        |test| test.send_bytes = Some(0),
        |test| test.request_bytes = Some(0),
        |test| test.response_bytes = Some(0),
        |test| test.receive_buffer = Some(1 << 31),
        |test| test.length = Length::Seconds(0),
        |test| test.length = Length::Bytes(0),
        |test| test.length = Length::Bytes((1 << 31) + 1),
        |test| test.length = Length::Bytes(u64::MAX),
        |test| {
            let transactions = test.test.has_transactions();
            test.length = if transactions { Length::Bytes(1) } else { Length::Transactions(1) };
        },
        |test| test.server_address = Some("::1".parse().expect("an address")),
        |test| test.congestion_control = Some("sixteen_letters!".to_owned()),
        |test| test.fill_file = Some("x".repeat(32)),
        |test| test.cpu = Some(1 << 31),
    ];
    for (index, change) in wrong.iter().enumerate() {
        for test in Test::ALL {
            let mut test = OmniTest::new(test);
            change(&mut test);
            let fault = frame_of(test).expect_err("a misuse");
            assert_eq!(fault.party(), Party::Caller, "{index}: {fault}");
        }
    }
    let longest = OmniTest { length: Length::Bytes(1 << 31), ..OmniTest::default() };
    assert_eq!(request_of(longest).test_length, i32::MIN);
    let endless = OmniTest { length: Length::Endless, ..OmniTest::default() };
    assert_eq!(request_of(endless).test_length, 0);
}
