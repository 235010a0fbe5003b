//! Command lines and the iterations that they mean.

use std::ffi::OsStr;

use super::*;
use crate::netperf::options::{Family, parse};
use crate::netperf::resolve::{data_end, wildcard};

/// Hands the course of a command line to `look`, between an unset address and 127.0.0.1.
fn with<T>(line: &str, look: impl FnOnce(&Course<'_>) -> T) -> T {
    with_buffers(SocketBuffers { send: 16_384, receive: 131_072 }, line, look)
}

fn with_buffers<T>(buffers: SocketBuffers, line: &str, look: impl FnOnce(&Course<'_>) -> T) -> T {
    let words = line.split_whitespace().map(Into::into).collect();
    let options = parse(OsStr::new("netperf"), words).options;
    let name = options.test.clone().expect("a test that there is");
    let protocol = options.traffic.protocol;
    let end = |name, port| data_end(name, port, Family::V4, protocol);
    let local = end(wildcard(Family::V4), &options.data_port.local);
    let remote = end("127.0.0.1", &options.data_port.remote);
    look(&Course {
        options: &options,
        name,
        traffic: options.traffic,
        unit: unit(&options, name),
        latency: options.latency,
        local: local.expect("an address"),
        remote: remote.expect("an address"),
        written: Pair::default(),
        buffers,
        engine: EngineChoice::Auto,
        payload: None,
        file: None,
        deadlines: Deadlines::netperf(),
    })
}

/// What is asked of the netserver at the address that was given for it.
fn omni(course: &Course<'_>, bound: SocketAddr) -> OmniTest {
    match course.request(bound, course.remote.address()) {
        TestRequest::Omni(test) => test,
        TestRequest::Classic(test) => panic!("{test:?}"),
    }
}

#[test]
fn a_message_is_as_large_as_asked_for_or_as_the_socket_buffer() {
    let sizes = |line| with(line, |course| (course.message_bytes(), course.shown_send_bytes()));
    assert_eq!(sizes(""), (16_384, 16_384));
    assert_eq!(sizes("-- -m 1000"), (1000, 1000));
    assert_eq!(sizes("-- -r 150"), (150, 0));
    assert_eq!(sizes("-- -r 150 -m 3100"), (150, 3100));
    assert_eq!(sizes("-- -r ,150"), (16_384, 16_384));
    let shown = |line| with(line, |course| (course.shown_send_bytes(), course.shown_receive_bytes()));
    assert_eq!(shown("-- -m 500,600 -M 300,400"), (500, 400));
    assert_eq!(shown("-t TCP_MAERTS"), (0, 131_072));
    assert_eq!(shown("-t TCP_MAERTS -- -r 200,300"), (0, 0));
    assert_eq!(shown("-t TCP_MAERTS -- -m 500"), (500, 131_072));
    assert_eq!(shown("-t TCP_RR -- -m 5,6 -M 7,8"), (5, 8));
    assert_eq!(shown("-t TCP_RR"), (0, 0));
    let received = |line| with(line, |course| course.message_bytes());
    assert_eq!(received("-t TCP_MAERTS"), 131_072);
    assert_eq!(received("-t TCP_MAERTS -- -M ,300"), 300);
    assert_eq!(received("-t TCP_MAERTS -- -M ,300 -r ,200"), 200);
    assert_eq!(received("-t TCP_MAERTS -- -M ,300 -r 200,"), 300);
}

#[test]
fn a_datagram_is_as_large_as_it_can_be_and_no_larger_unasked() {
    let buffers = SocketBuffers { send: 212_992, receive: 212_992 };
    let sizes =
        |line| with_buffers(buffers, line, |course| (course.message_bytes(), course.exceeds_datagram()));
    assert_eq!(sizes("-t UDP_STREAM"), (65_507, false));
    assert_eq!(sizes("-t UDP_STREAM -- -m 65508"), (65_508, true));
    assert_eq!(sizes("-t UDP_STREAM -- -r 65508 -m 100"), (65_508, true));
    assert_eq!(sizes("-- -m 65508"), (65_508, false));
}

#[test]
fn a_message_of_a_huge_socket_buffer_is_as_large_as_it_may_be() {
    let buffers = SocketBuffers { send: 64 << 20, receive: 64 << 20 };
    for line in ["", "-t TCP_SENDFILE", "-t TCP_MAERTS", "-t OMNI -- -d recv"] {
        let plan = |course: &Course<'_>| {
            let shown = course.shown_send_bytes().max(course.shown_receive_bytes());
            (course.message_bytes(), shown, course.plan(course.local.address()))
        };
        let (bytes, shown, plan) = with_buffers(buffers, line, plan);
        assert_eq!((bytes, shown), (16 << 20, 16 << 20), "{line}");
        assert!(ringperf_engine::Plan::new(plan).is_ok(), "{line}");
    }
    // What was asked for is not made smaller; the engine refuses it.
    let sizes = |line| with_buffers(buffers, line, |course| course.message_bytes());
    assert_eq!(sizes("-- -m 17M"), 17 << 20);
    assert_eq!(sizes("-t TCP_MAERTS -- -M ,17M"), 17 << 20);
}

#[test]
fn only_an_end_that_chooses_when_it_sends_has_bursts() {
    for (line, paces) in [
        ("-t TCP_STREAM", true),
        ("-t UDP_STREAM", true),
        ("-t TCP_SENDFILE", true),
        ("-t TCP_RR", true),
        ("-t UDP_RR", true),
        ("-t TCP_MAERTS", false),
        ("-t TCP_CRR", false),
        ("-t TCP_CC", false),
        ("-t OMNI -- -d send", true),
        ("-t OMNI -- -d rr", true),
        ("-t OMNI -- -d recv", false),
        ("-t OMNI -- -d recv -T udp", false),
        ("-t OMNI -- -c", false),
        ("-t OMNI -- -c -d rr", false),
    ] {
        let plan = with(&format!("-b 3 -w 100 {line}"), |course| course.plan(course.local.address()));
        assert_eq!(plan.bursts.is_some(), paces, "{line}");
        let plan = ringperf_engine::Plan::new(plan);
        assert!(plan.is_ok(), "{line}: {:?}", plan.err());
    }
}

#[test]
fn a_pause_is_of_the_tests_that_run_on_omni() {
    let pause = |test: &str| with(&format!("-s 3 -t {test}"), |course| course.pause());
    for test in ["TCP_STREAM", "TCP_MAERTS", "TCP_RR", "TCP_CRR", "UDP_STREAM", "UDP_RR", "OMNI"] {
        assert_eq!(pause(test), Duration::from_secs(3), "{test}");
    }
    for test in ["TCP_SENDFILE", "TCP_CC", "TCP_MSS"] {
        assert_eq!(pause(test), Duration::ZERO, "{test}");
    }
}

/// Widths as a stock netperf 2.7.0 sent them for these command lines.
#[test]
fn widths_are_those_that_netperf_tells() {
    let widths = |line| with(line, |course| (course.widths().send, course.widths().receive));
    assert_eq!(widths(""), (2, 0));
    assert_eq!(widths("-- -m 100"), (164, 0));
    assert_eq!(widths("-- -r 100"), (1, 0));
    assert_eq!(widths("-- -r ,100"), (2, 0));
    assert_eq!(widths("-W 1"), (2, 1));
    assert_eq!(widths("-- -W 1 -r 100"), (1, 0));
    assert_eq!(widths("-W 5,7"), (5, 7));
    assert_eq!(widths("-t TCP_MAERTS"), (0, 2));
    assert_eq!(widths("-t TCP_MAERTS -- -r ,100"), (0, 1));
    assert_eq!(widths("-t TCP_MAERTS -- -r 100,"), (0, 2));
    assert_eq!(widths("-t TCP_MAERTS -W 1"), (1, 1));
    assert_eq!(widths("-t TCP_RR -- -r 100,200"), (1, 1));
    assert_eq!(widths("-t OMNI -- -c"), (0, 0));
}

#[test]
fn a_request_tells_what_was_given_and_nothing_else() {
    let bound: SocketAddr = ([127, 0, 0, 1], 4000).into();
    let asked = |line| with(line, |course| omni(course, bound));
    let plain = asked("");
    assert_eq!(plain.local, (Some(bound.ip()), 4000));
    assert_eq!((plain.server_address, plain.data_port), (None, 0));
    let unbound = with("", |course| omni(course, ([0, 0, 0, 0], 4000).into()));
    assert_eq!(unbound.local, (None, 4000));
    let given = asked("-- -H 127.0.0.1 -P ,12866 -S 0 -m ,500");
    assert_eq!(given.server_address, Some(bound.ip()));
    assert_eq!((given.data_port, given.send_bytes), (12_866, Some(500)));
    assert_eq!((given.send_buffer, given.receive_buffer), (Some(0), Some(0)));
}

#[test]
fn one_end_sends_and_the_other_receives() {
    let role = |line| with(line, |course| course.plan(course.local.address()).role);
    assert_eq!(role("-t TCP_STREAM"), Role::Send);
    assert_eq!(role("-t UDP_STREAM"), Role::Send);
    assert_eq!(role("-t TCP_MAERTS"), Role::Receive);
    let reads_on = |line| with(line, |course| !course.plan(course.local.address()).receive_linger.is_zero());
    assert!(reads_on("-t TCP_MAERTS"));
    assert!(!reads_on("-N -t TCP_MAERTS"));
    let length = |line| with(line, |course| course.plan(course.local.address()).length);
    assert_eq!(length("-l 7"), Length::Time(Duration::from_secs(7)));
    assert_eq!(length("-l -7"), Length::Bytes(7));
    assert_eq!(length("-l 0"), Length::Endless);
}

#[test]
fn each_test_has_its_name_at_the_netserver() {
    for (line, test) in [
        ("", Test::TcpStream),
        ("-t TCP_MAERTS", Test::TcpMaerts),
        ("-t TCP_RR", Test::TcpRr),
        ("-t TCP_CRR", Test::TcpCrr),
        ("-t TCP_CC", Test::TcpCc),
        ("-t UDP_STREAM", Test::UdpStream),
        ("-t UDP_RR", Test::UdpRr),
        ("-t OMNI -- -c", Test::TcpCc),
        ("-t OMNI -- -c -r 1", Test::TcpCrr),
        ("-t OMNI -- -T udp -d recv", Test::UdpMaerts),
        ("-t TCP_RR -- -T udp", Test::UdpRr),
        ("-t TCP_SENDFILE", Test::TcpStream),
        ("-t TCP_MSS", Test::TcpStream),
    ] {
        let classic = ["TCP_CC", "TCP_SENDFILE", "TCP_MSS"].iter().any(|name| line == format!("-t {name}"));
        let request = with(line, |course| course.request(([0, 0, 0, 0], 1).into(), course.remote.address()));
        assert_eq!((request.test(), matches!(request, TestRequest::Classic(_))), (test, classic), "{line}");
    }
}

#[test]
fn transactions_are_planned_as_asked() {
    let plan = |line| with(line, |course| course.plan(course.local.address()));
    let rr = plan("-t TCP_RR -l -50 -- -r 64,512 -b 8 -e 3 -p 5000,6000");
    assert_eq!((rr.role, rr.length), (Role::Request, Length::Transactions(50)));
    let kept = Transaction { request_bytes: 64, response_bytes: 512, in_flight: 9, ..Transaction::default() };
    assert_eq!(rr.transaction, kept);
    let second = Some(Duration::from_secs(3));
    assert_eq!(plan("-t UDP_RR -- -e 3").transaction.resend_after, second);
    let crr = plan("-t TCP_CRR -- -p 5000,6000 -b 8").transaction;
    assert_eq!((crr.connections, crr.local_ports, crr.in_flight), (Connections::Each, Some(5000..=6000), 1));
    assert!(!crr.retry_connect && plan("-t TCP_CRR -- -U").transaction.retry_connect);
    let cc = plan("-t TCP_CC -- -r 5,6").transaction;
    assert_eq!((cc.request_bytes, cc.response_bytes), (0, 0));
    let paced = plan("-w 10 -b 5").bursts;
    assert_eq!(paced, Some(Bursts { messages: 5, every: Duration::from_millis(10) }));
}

#[test]
fn only_the_classic_engine_times_single_sends() {
    let engine =
        |line| with(line, |course| (course.plan(course.local.address()).engine, course.has_histogram()));
    assert_eq!(engine(""), (EngineChoice::Auto, false));
    assert_eq!(engine("-v 2"), (EngineChoice::Auto, false));
    assert_eq!(engine("-j"), (EngineChoice::Classic, false));
    assert_eq!(engine("-j -v 2"), (EngineChoice::Classic, true));
    assert_eq!(engine("-j -v 2 -t TCP_RR"), (EngineChoice::Auto, true));
}

#[test]
fn interim_results_follow_bytes_or_transactions() {
    let every = |line: &str| with(&format!("-D 1 {line}"), |course| course.interim(None));
    let work = |units, unit| Some(Every::Work { interval: Duration::from_secs(1), units, unit });
    assert_eq!(every(""), work(100, WorkUnit::Bytes));
    assert_eq!(every("-D ,7"), work(7, WorkUnit::Bytes));
    assert_eq!(every("-t TCP_RR"), work(100, WorkUnit::Transactions));
    assert_eq!(every("-t TCP_RR -f m"), work(100, WorkUnit::Bytes));
    assert_eq!(every("-t TCP_CC"), work(100, WorkUnit::Transactions));
    assert_eq!(every("-t TCP_SENDFILE"), work(2 * 131_072, WorkUnit::Bytes));
    assert_eq!(every("-D -0.2"), Some(Every::Time(Duration::from_millis(200))));
    assert_eq!(with("", |course| course.interim(None)), None);
}
