//! What plans requests become, and who may be their other end.

use super::*;

/// A request as netperf sends it without options, with changes.
fn spec(test: proto::Test, change: impl FnOnce(&mut proto::omni::OmniRequest)) -> proto::TestSpec {
    let frame = proto::Frame::request(proto::RequestCode::Omni, -1);
    let mut request = proto::omni::OmniRequest::decode(&frame);
    (request.socket_type, request.protocol) = if test.over_udp() {
        (proto::omni::SOCKET_DATAGRAM, proto::omni::PROTOCOL_UDP)
    } else {
        (proto::omni::SOCKET_STREAM, proto::omni::PROTOCOL_TCP)
    };
    request.direction = match role(test) {
        Role::Send => proto::omni::direction::TRANSMIT,
        Role::Receive => proto::omni::direction::RECEIVE,
        Role::Request | Role::Respond if test == proto::Test::TcpCc => proto::omni::direction::CONNECT,
        Role::Request | Role::Respond => proto::omni::direction::REQUEST_RESPONSE,
    };
    if test.connects_each_time() {
        request.flags |= proto::omni::flag::CONNECT_TEST;
    }
    request.ipfamily = proto::omni::FAMILY_V4;
    (request.test_length, request.receive_size, request.send_size) = (7, 1000, 2000);
    request.netperf_port = 4000;
    change(&mut request);
    let spec = proto::TestSpec::parse(-1, &request, &proto::Limits::default());
    spec.expect("it is what netperf sends")
}

fn words(ip: [u8; 4]) -> proto::layout::AddressWords {
    proto::address::encode(Some(ip.into()))
}

const CONTROL: Ends = Ends {
    local: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 40_000),
};

/// What the operator chose who chose nothing.
fn defaults() -> Defaults {
    Defaults {
        cores: Vec::new(),
        engine: EngineChoice::Auto,
        without: Without::default(),
        rate_max: None,
        no_busy_poll: false,
        loopback: false,
        drain: Duration::from_secs(20),
    }
}

#[test]
fn each_test_has_its_plan() {
    let defaults = defaults();
    let options = |test| plan(&spec(test, |_| ()), CONTROL, &defaults).expect("in range").options().clone();
    let seven = Duration::from_secs(7);
    let stream = options(proto::Test::TcpStream);
    assert_eq!((stream.role, stream.protocol), (Role::Receive, Protocol::Tcp));
    assert_eq!((stream.message_bytes, stream.connect_timeout), (1000, seven + GRACE));
    let maerts = options(proto::Test::TcpMaerts);
    assert_eq!((maerts.role, maerts.protocol), (Role::Send, Protocol::Tcp));
    // The timer of a netserver that sends has no pad.
    assert_eq!((maerts.message_bytes, maerts.connect_timeout), (2000, seven));
    let udp = options(proto::Test::UdpStream);
    let rr = options(proto::Test::TcpRr);
    assert_eq!((rr.role, rr.protocol, rr.connect_timeout), (Role::Respond, Protocol::Tcp, seven + GRACE));
    let sizes = |transaction: &Transaction| (transaction.request_bytes, transaction.response_bytes);
    assert_eq!((sizes(&rr.transaction), rr.transaction.connections), ((1000, 2000), Connections::Kept));
    let each = options(proto::Test::TcpCrr).transaction;
    assert_eq!((sizes(&each), each.connections), ((1000, 2000), Connections::Each));
    let connections = options(proto::Test::TcpCc).transaction;
    assert_eq!((sizes(&connections), connections.connections), ((0, 0), Connections::Each));
    let datagrams = options(proto::Test::UdpRr);
    assert_eq!((datagrams.role, datagrams.protocol), (Role::Respond, Protocol::Udp));
    let streamed = options(proto::Test::UdpMaerts);
    assert_eq!((streamed.role, streamed.protocol), (Role::Send, Protocol::Udp));
    assert!(matches!(streamed.endpoint, Endpoint::Connect { .. }), "nobody comes to be sent to");
    assert_eq!((udp.role, udp.protocol), (Role::Receive, Protocol::Udp));
    assert_eq!((udp.message_bytes, udp.exact_message, udp.length), (1000, false, Length::Time(seven)));
}

#[test]
fn a_wish_is_done_or_refused() {
    let defaults = defaults();
    let options = |test, wishes| {
        let spec = spec(test, |_| ()).wishing(wishes).expect("it suits the test");
        plan(&spec, CONTROL, &defaults).map(|plan| plan.options().clone()).map_err(|error| errno(&error))
    };
    let planned = |wishes| options(proto::Test::TcpMaerts, wishes);
    let one = proto::Wishes::default();
    let plain = planned(one).expect("netperf asks for no more");
    // No greeting came before it, so it gets its segments as netserver makes them.
    let as_netserver = Without { shared_segments: true, ..Without::default() };
    assert_eq!((plain.without, plain.flows, plain.workers, plain.rate), (as_netserver, 1, 1, None));
    let wished = proto::Without { low_water: true, multishot: true, ..proto::Without::default() };
    let without = Without { low_water: true, multishot: true, ..as_netserver };
    let rate = NonZeroU64::new(1_000_000);
    let many = proto::Wishes { without: wished, flows: 9, workers: 3, bits_per_second: rate, ..one };
    let many = planned(many).expect("the engine does all of it");
    assert_eq!((many.without, many.flows, many.workers, many.rate), (without, 9, 3, Some(1_000_000)));
    let zero_copy = planned(proto::Wishes { send_path: proto::SendPath::ZeroCopy, ..one });
    assert_eq!(zero_copy.map(|options| options.send_path), Ok(SendPath::ZeroCopy));
    let classic = Defaults { engine: EngineChoice::Classic, ..defaults.clone() };
    let spec = spec(proto::Test::TcpMaerts, |_| ())
        .wishing(proto::Wishes { send_path: proto::SendPath::Bundle, ..one })
        .expect("it suits the test");
    assert_eq!(plan(&spec, CONTROL, &classic).err().map(|error| errno(&error)), Some(EINVAL));
    assert_eq!(options(proto::Test::UdpStream, one).map(|options| options.gro), Ok(false));
    let coalescing = proto::Wishes { coalescing: true, ..one };
    assert_eq!(options(proto::Test::UdpStream, coalescing).map(|options| options.gro), Ok(true));
}

#[test]
fn a_wish_to_poll_is_left_out_and_told_where_the_operator_wants_none() {
    let asleep = Defaults { no_busy_poll: true, ..defaults() };
    for (wished, defaults, polls, told) in
        [(true, defaults(), true, false), (true, asleep.clone(), false, true), (false, asleep, false, false)]
    {
        let wishes = proto::Wishes { busy_poll: wished, ..proto::Wishes::default() };
        let spec = spec(proto::Test::TcpRr, |_| ()).wishing(wishes).expect("it suits the test");
        let plan = plan(&spec, CONTROL, &defaults).expect("in range");
        assert_eq!((plan.options().busy_poll, left_out(&spec, &defaults).is_some()), (polls, told));
    }
}

#[test]
fn data_goes_to_the_control_peer_and_comes_from_whom_it_declares() {
    let client = |ip| move |request: &mut proto::omni::OmniRequest| request.netperf_ip = words(ip);
    let ours = |ip| move |request: &mut proto::omni::OmniRequest| request.netserver_ip = words(ip);
    let (peer, declared): (IpAddr, IpAddr) = (CONTROL.peer.ip(), [10, 9, 9, 9].into());
    for test in [proto::Test::TcpStream, proto::Test::UdpStream] {
        assert_eq!(peers(&spec(test, |_| ()), CONTROL), [peer]);
        assert_eq!(peers(&spec(test, client([10, 0, 0, 2])), CONTROL), [peer]);
        assert_eq!(peers(&spec(test, client([10, 9, 9, 9])), CONTROL), [peer, declared]);
        assert_eq!(peers(&spec(test, ours([10, 0, 0, 1])), CONTROL), [peer]);
        assert!(peers(&spec(test, ours([10, 9, 9, 1])), CONTROL).is_empty());
    }
    let mapped = |last| SocketAddr::new(Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped().into(), 40_000);
    let dual = Ends::new(mapped(1), mapped(2));
    assert_eq!(peers(&spec(proto::Test::TcpStream, ours([10, 0, 0, 1])), dual), [peer]);
    for test in [proto::Test::TcpMaerts, proto::Test::TcpRr, proto::Test::TcpCrr, proto::Test::UdpRr] {
        assert_eq!(peers(&spec(test, client([10, 9, 9, 9])), CONTROL), [peer]);
        assert_eq!(peers(&spec(test, ours([10, 9, 9, 1])), CONTROL), [peer]);
    }
}

#[test]
fn datagrams_that_nobody_asks_for_go_to_the_control_peer_or_nowhere() {
    let udp = |change: fn(&mut proto::omni::OmniRequest)| spec(proto::Test::UdpMaerts, change);
    let peer = SocketAddr::new(CONTROL.peer.ip(), 4000);
    assert_eq!(target(&udp(|_| {}), CONTROL), Ok(Some(peer)));
    assert_eq!(target(&udp(|request| request.netperf_ip = words([10, 0, 0, 2])), CONTROL), Ok(Some(peer)));
    let elsewhere = udp(|request| request.netperf_ip = words([10, 9, 9, 9]));
    assert_eq!(target(&elsewhere, CONTROL), Err(proto::errno::EACCES));
    let other_version = udp(|request| request.ipfamily = proto::omni::FAMILY_V6);
    assert_eq!(target(&other_version, CONTROL), Err(proto::errno::EAFNOSUPPORT));
    assert_eq!(target(&spec(proto::Test::UdpRr, |_| {}), CONTROL), Ok(None));
}

#[test]
fn answers_over_udp_come_from_where_we_were_asked_if_that_is_asked_for() {
    let bound = |test, flags| {
        let spec = spec(test, |request| request.flags |= flags);
        data_address(&spec, CONTROL, false)
    };
    let any: IpAddr = Ipv4Addr::UNSPECIFIED.into();
    assert_eq!(bound(proto::Test::UdpRr, 0), any);
    assert_eq!(bound(proto::Test::UdpRr, proto::omni::flag::PACKET_INFO), CONTROL.local);
    assert_eq!(bound(proto::Test::TcpRr, proto::omni::flag::PACKET_INFO), any);
}

#[test]
fn what_is_sent_keeps_to_the_operators_rate() {
    let most = 1_000_000;
    let capped = Defaults { rate_max: Some(most), ..defaults() };
    let paced = |test, wished, bursts: (u32, u32)| {
        let change = |request: &mut proto::omni::OmniRequest| {
            (request.interval_burst, request.interval_usecs) = bursts;
        };
        let wishes = proto::Wishes { bits_per_second: NonZeroU64::new(wished), ..proto::Wishes::default() };
        let spec = spec(test, change).wishing(wishes).expect("it suits the test");
        let plan = plan(&spec, CONTROL, &capped).expect("in range");
        (plan.options().rate, plan.options().bursts.is_some())
    };
    for test in [proto::Test::TcpMaerts, proto::Test::UdpMaerts, proto::Test::TcpRr] {
        assert_eq!(paced(test, 0, (0, 0)), (Some(most), false), "{test:?}");
    }
    for test in [proto::Test::TcpMaerts, proto::Test::UdpMaerts] {
        assert_eq!(paced(test, 1000, (0, 0)).0, Some(1000));
        assert_eq!(paced(test, 2 * most, (0, 0)).0, Some(most));
    }
    // 2000 bytes in a burst; the rate has room for one each 16 ms.
    assert_eq!(paced(proto::Test::TcpMaerts, 0, (1, 1)), (Some(most), true));
    assert_eq!(paced(proto::Test::UdpMaerts, 0, (1, 16_000)), (None, true));
    assert_eq!(paced(proto::Test::UdpMaerts, 0, (1, 15_999)), (Some(most), false));
    // What goes at once is a tenth of a second's worth at most, 6 of them, however seldom that is.
    assert_eq!(paced(proto::Test::UdpMaerts, 0, (6, 10_000_000)), (None, true));
    assert_eq!(paced(proto::Test::UdpMaerts, 0, (7, 10_000_000)), (Some(most), false));
    assert_eq!(paced(proto::Test::UdpMaerts, 0, (u32::MAX, u32::MAX)), (Some(most), false));
    for test in [proto::Test::TcpStream, proto::Test::UdpStream, proto::Test::TcpCrr, proto::Test::UdpRr] {
        assert_eq!(paced(test, 0, (0, 0)), (None, false), "{test:?}: nothing there keeps to one");
    }
}

#[test]
fn on_loopback_alone_data_is_there_too() {
    let bound = |change: fn(&mut proto::omni::OmniRequest)| {
        data_address(&spec(proto::Test::TcpStream, change), CONTROL, true)
    };
    assert_eq!(bound(|_| ()), IpAddr::from(Ipv4Addr::LOCALHOST));
    assert_eq!(bound(|request| request.ipfamily = proto::omni::FAMILY_V6), IpAddr::from(Ipv6Addr::LOCALHOST));
    assert_eq!(bound(|request| request.netserver_ip = words([127, 0, 0, 9])), IpAddr::from([127, 0, 0, 9]));
}

#[test]
fn a_test_that_cannot_be_trusted_is_told_of() {
    assert_eq!(defect(&Operations { completions: 9, no_buffers: 9, ..Operations::default() }), None);
    for counted in [
        Operations { stale: 1, ..Operations::default() },
        Operations { overflows: 1, ..Operations::default() },
        Operations { skipped_buffers: 1, ..Operations::default() },
    ] {
        // the soak of a netserver looks for these words
        assert!(defect(&counted).expect("a defect").contains("dropped completions"));
    }
}
