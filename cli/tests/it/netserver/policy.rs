//! Who may do what, and how much of it: sessions and tests that are refused, ended or held to a rate, as
//! clients see it and as the log has it. Passphrases are in [`super::passphrases`].

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use ringperf_proto::omni::OmniRequest;
use ringperf_proto::{FRAME_BYTES, Frame};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::streams::read_to_the_end;
use super::{SOON, netserver};
use crate::support::{
    Control, Netserver, RINGPERF, await_that, connect_data, golden, received, request, reset, run, skip,
    stock, words,
};

/// How soon somebody who gets no session has to know.
const AT_ONCE: Duration = Duration::from_millis(100);

/// errno of a policy, and of a full house.
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;

/// A connection to the control port from this address.
pub(super) fn open_from(source: [u8; 4], netserver: &Netserver) -> Control {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("all of 127/8 is ours");
    socket.connect(&netserver.address().into()).expect("netserver accepts");
    socket.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
    Control(socket.into())
}

/// Asks for a service that every session has, and returns the errno of the answer.
pub(super) fn served(control: &mut Control) -> i32 {
    control.send(&golden("debug_on_off")[0]);
    control.frame().errno()
}

/// The same of somebody who has to be turned away, which also has to be soon and in order.
pub(super) fn turned_away(mut control: Control) -> (i32, Duration) {
    let begun = Instant::now();
    let errno = served(&mut control);
    let took = begun.elapsed();
    control.finish();
    assert_eq!(control.0.read(&mut [0; 1]).expect("an orderly close"), 0);
    assert!(took < AT_ONCE, "{took:?}");
    (errno, took)
}

fn maerts(change: impl FnOnce(&mut OmniRequest)) -> Frame {
    request("tcp_maerts", change)
}

#[test]
fn on_loopback_alone_nothing_else_is_bound() {
    let netserver = Netserver::start(&["--loopback"]);
    let port = netserver.port;
    assert!(netserver.start_line.contains("host 'IN(6)ADDR_LOOPBACK'"), "{}", netserver.start_line);
    if TcpListener::bind("[::1]:0").is_ok() {
        netserver.await_log(&format!("listening on [::1]:{port}, 127.0.0.1:{port};"));
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("it listens there");
    }
    netserver.await_log("open to this host alone");
    let elsewhere =
        |port| TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port)).map_err(|error| error.kind());
    assert_eq!(elsewhere(port).err(), Some(ErrorKind::ConnectionRefused));
    let mut control = Control::open(netserver.address());
    let response = control.ask(maerts(|_| ()).as_bytes());
    let data_port = u16::try_from(response.data_port).expect("a port");
    assert_eq!(elsewhere(data_port).err(), Some(ErrorKind::ConnectionRefused), "data is there alone, too");
    assert!(read_to_the_end(&mut connect_data(&response)) > 0);
    control.results();
    let named = maerts(|request| request.netserver_ip = words(Ipv4Addr::new(192, 0, 2, 1).into()));
    control.send(named.as_bytes());
    assert_eq!(control.frame().errno(), EACCES);
    netserver.await_log("POLICY: data at 192.0.2.1, which --loopback excludes");
}

#[test]
fn options_that_make_no_policy_are_usage() {
    for (words, complaint) in [
        (&["--loopback", "-L", "127.0.0.1"][..], "netserver: --loopback and -L name different addresses"),
        (&["--allow", "10.0.0.0/64"], "netserver: --allow: '10.0.0.0/64' is no network"),
        (&["--max-sessions", "none"], "netserver: --max-sessions: it may be 1 to 65535"),
        (&["--max-duration", "-1"], "netserver: --max-duration: "),
        (&["--max-rate", "0"], "netserver: --max-rate: "),
    ] {
        let (code, out, err) = netserver(&[&["-D", "-p", "0"], words].concat());
        assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}");
        assert!(err.starts_with(complaint) && err.contains("Usage: netserver"), "{words:?}: {err}");
    }
}

#[test]
fn the_start_tells_all_caps() {
    let netserver = Netserver::start(&[
        "-4",
        "--allow",
        "127.0.0.0/8,192.0.2.1",
        "--max-sessions",
        "9",
        "--max-duration",
        "1h",
        "--max-rate",
        "2.5G",
    ]);
    netserver.await_log("open to 127.0.0.0/8, 192.0.2.1/32, no passphrase");
    netserver
        .await_log("9 sessions at most; tests of 3600 s at most, at 2500 Mbit/s at most in each session");
    let open = Netserver::start(&["-L", "127.0.0.1"]);
    open.await_log("open to any address, no passphrase");
    open.await_log("256 sessions at most; tests of any length, at any rate");
}

#[test]
fn addresses_that_are_not_allowed_are_told_eacces() {
    // IPv4 alone, and IPv4 in the clothes of IPv6, as a listener for both sees it.
    for words in [&["-4"][..], &[]] {
        let netserver = Netserver::start(&[words, &["--allow", "127.0.0.8/30,::1"]].concat());
        for source in [[127, 0, 0, 8], [127, 0, 0, 11]] {
            assert_eq!(served(&mut open_from(source, &netserver)), 0, "{words:?} {source:?}");
        }
        for source in [[127, 0, 0, 1], [127, 0, 0, 7], [127, 0, 0, 12]] {
            assert_eq!(turned_away(open_from(source, &netserver)).0, EACCES, "{words:?} {source:?}");
        }
        netserver.await_log("POLICY: turned away: --allow does not name the address");
        assert_eq!(netserver.log().matches("turned away").count(), 1, "one line a second");
    }
}

/// Room for so many descriptors more than usual.
fn make_room(descriptors: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(descriptors, |most| descriptors.min(most));
    let enough = limit.current.is_none_or(|current| current >= wanted);
    wanted >= descriptors
        && (enough || setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok())
}

#[test]
fn session_257_is_told_ebusy_within_100_ms_while_256_are_open() {
    let test = "session_257_is_told_ebusy_within_100_ms_while_256_are_open";
    // A child inherits the limit.
    if !make_room(2048) {
        return skip(test, "descriptors", "the limit on open files is below 2048");
    }
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut open: Vec<Control> = (0..256).map(|_| Control::open(netserver.address())).collect();
    open.iter_mut().for_each(|control| assert_eq!(served(control), 0));
    let times: Vec<Duration> = (0..50)
        .map(|_| {
            let (errno, took) = turned_away(Control::open(netserver.address()));
            assert_eq!(errno, EBUSY);
            took
        })
        .collect();
    let longest = times.iter().max().expect("some");
    println!("EBUSY to session 257 after {longest:?} at most, of 50");
    netserver.await_log("POLICY: turned away: 256 sessions are open");
    let lines = netserver.log().matches("turned away").count();
    assert!(lines < 10, "{lines} lines");
    // Those inside were not disturbed, and a seat that is given up is free.
    open.iter_mut().for_each(|control| assert_eq!(served(control), 0));
    open.truncate(255);
    await_that("the free seat", || served(&mut Control::open(netserver.address())) == 0);
}

#[test]
fn of_those_who_only_listen_64_are_told_and_the_rest_is_closed() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-sessions", "1"]);
    let before = netserver.resources();
    let mut inside = Control::open(netserver.address());
    assert_eq!(served(&mut inside), 0);
    let mut outside: Vec<Control> = (0..80).map(|_| Control::open(netserver.address())).collect();
    let told: Vec<bool> = outside
        .iter_mut()
        .map(|control| {
            let mut bytes = Vec::new();
            // Closed without a word it may be a reset.
            let ended = control.0.read_to_end(&mut bytes);
            match bytes.len() {
                FRAME_BYTES => {
                    let frame = Frame::from_bytes(bytes.try_into().expect("a whole frame"));
                    ended.is_ok() && frame.errno() == EBUSY
                }
                0 => false,
                other => panic!("{other} bytes"),
            }
        })
        .collect();
    let count = told.iter().filter(|told| **told).count();
    assert!((64..80).contains(&count), "{count} of 80 were told");
    assert_eq!(served(&mut inside), 0);
    drop((inside, outside));
    await_that("their descriptors", || netserver.resources().within(before));
}

#[test]
fn a_second_session_waits_or_is_told_as_the_options_say() {
    let serial = Netserver::start(&["-f", "-L", "127.0.0.1", "--max-sessions", "9"]);
    serial.await_log("1 sessions at most");
    let one = Netserver::start(&["-L", "127.0.0.1", "--max-sessions", "1"]);
    let mut first = Control::open(one.address());
    assert_eq!(served(&mut first), 0);
    assert_eq!(turned_away(Control::open(one.address())).0, EBUSY);
}

#[test]
fn stock_netperf_prints_why_it_is_turned_away() {
    let Some(netperf) = stock("netperf", "stock_netperf_prints_why_it_is_turned_away") else { return };
    let full = Netserver::start(&["-L", "127.0.0.1", "--max-sessions", "1"]);
    let mut inside = Control::open(full.address());
    assert_eq!(served(&mut inside), 0);
    assert_eq!(turned_away(Control::open(full.address())).0, EBUSY);
    let barred = Netserver::start(&["-L", "127.0.0.1", "--allow", "192.0.2.0/24"]);
    for (netserver, text) in [(&full, "resource busy"), (&barred, "Permission denied")] {
        let port = netserver.port.to_string();
        for options in [&[][..], &["-c", "-C"], &["-t", "UDP_STREAM"], &["-t", "TCP_RR"], &["-Z", "sesame"]] {
            let words = [&["-H", "127.0.0.1", "-p", &port, "-l", "1"], options].concat();
            let output = run(&netperf, &words, SOON);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(!output.status.success() && said.contains(text), "{options:?}: {said}");
        }
    }
}

#[test]
fn tests_that_are_too_long_are_refused_before_they_start() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-duration", "3600"]);
    for name in ["tcp_maerts", "tcp_stream_default", "tcp_rr", "udp_rr", "tcp_crr", "udp_stream_m3100"] {
        for (length, refused) in [
            (i32::MIN, false),
            (-1_000_000, false),
            (-1, false),
            (0, false),
            (1, false),
            (3600, false),
            (3601, true),
            (86_400, true),
            (i32::MAX, true),
        ] {
            let mut control = Control::open(netserver.address());
            control.send(request(name, |request| request.test_length = length).as_bytes());
            let errno = control.frame().errno();
            assert_eq!(errno, if refused { EINVAL } else { 0 }, "{name} {length}");
            if refused {
                // The session is none the worse for it.
                assert_eq!(served(&mut control), 0);
            }
        }
    }
    for seconds in [3601, 86_400, i32::MAX] {
        netserver.await_log(&format!("POLICY: {seconds} s > 3600 s (--max-duration)"));
    }
    // A line for each, and none of them has begun: those that have are of clients that go away.
    assert_eq!(netserver.log().matches("POLICY: ").count(), 6 * 3, "{}", netserver.log());
}

#[test]
fn a_test_without_a_time_has_the_longest_there_is() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-duration", "1"]);
    // Without an end it is sent until then, and has a result.
    let mut control = Control::open(netserver.address());
    let begun = Instant::now();
    let response = control.ask(maerts(|request| request.test_length = 0).as_bytes());
    let got = read_to_the_end(&mut connect_data(&response));
    let results = control.results();
    assert!(got > 0 && (0.9..1.5).contains(&results.elapsed_time), "{results:?}");
    // By bytes, of a sender that stops in the middle.
    let by_bytes = request("tcp_stream_default", |request| request.test_length = -1_000_000);
    let response = control.ask(by_bytes.as_bytes());
    let mut data = connect_data(&response);
    data.write_all(&[b'x'; 500]).expect("it is taken");
    assert_eq!(received(&control.results()), 500);
    // By transactions, of a client that never connects, which otherwise has five minutes.
    control.ask(request("tcp_rr", |request| request.test_length = -1000).as_bytes());
    assert_eq!(control.results().trans_received, 0);
    assert!((2.9..4.5).contains(&begun.elapsed().as_secs_f32()), "{:?}", begun.elapsed());
    netserver.await_log("POLICY: test ended after 1 s (--max-duration)");
    assert_eq!(netserver.log().matches("POLICY: test ended").count(), 3);
}

/// What came in how long is no more than two percent above the cap, and no trifle: a busy machine is slow.
fn assert_capped(what: &str, bytes: u64, time: Duration, cap: f64) {
    let share = bytes as f64 * 8.0 / time.as_secs_f64() / cap;
    println!("{what}: {:.2} % of the cap of {} Mbit/s", share * 100.0, cap / 1e6);
    assert!((0.2..=1.02).contains(&share), "{what}: {bytes} bytes in {time:?}: {share}");
}

#[test]
fn a_stream_to_the_client_keeps_to_the_rate() {
    for engine in super::ENGINES {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-rate", "400M", "--engine", engine]);
        let mut control = Control::open(netserver.address());
        let asked = maerts(|request| (request.test_length, request.send_size) = (2, 16_384));
        let response = control.ask(asked.as_bytes());
        let begun = Instant::now();
        let got = read_to_the_end(&mut connect_data(&response));
        assert_capped(&format!("TCP_MAERTS by {engine}"), got, begun.elapsed(), 400e6);
        control.results();
    }
}

#[test]
fn datagrams_to_the_client_keep_to_the_rate() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-rate", "100M"]);
    // More than the rate, and so seldom that it fits the rate, if it did not go at once.
    for bursts in [(0, 0), (100, 1000), (819_000, u32::MAX)] {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
        let port = socket.local_addr().expect("it is bound").port();
        let mut control = Control::open(netserver.address());
        let asked = request("omni_udp_recv", |request| {
            request.netperf_port = port.into();
            (request.test_length, request.send_size) = (2, 1400);
            (request.interval_burst, request.interval_usecs) = bursts;
        });
        control.ask(asked.as_bytes());
        let (begun, mut bytes, mut buffer) = (Instant::now(), 0, [0; 2048]);
        loop {
            match socket.recv(&mut buffer).expect("datagrams come") {
                0 => break,
                length => bytes += length as u64,
            }
        }
        assert_capped(&format!("UDP to the client, bursts {bursts:?}"), bytes, begun.elapsed(), 100e6);
        control.results();
    }
}

#[test]
fn large_responses_keep_to_the_rate() {
    for engine in super::ENGINES {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-rate", "400M", "--engine", engine]);
        let mut control = Control::open(netserver.address());
        let large = 1 << 20;
        let asked = request("tcp_rr", |request| {
            (request.test_length, request.request_size, request.response_size) = (3, 1, large);
        });
        let response = control.ask(asked.as_bytes());
        let mut data = connect_data(&response);
        let mut buffer = vec![0; large as usize];
        let (begun, mut bytes) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_secs(2) {
            data.write_all(b"?").expect("the request is taken");
            data.read_exact(&mut buffer).expect("a response comes");
            bytes += buffer.len() as u64;
        }
        assert_capped(&format!("TCP_RR by {engine}"), bytes, begun.elapsed(), 400e6);
        data.shutdown(Shutdown::Write).expect("the connection is there");
        read_to_the_end(&mut data);
        control.results();
    }
}

/// What a control connection says once its test is ended for going too fast.
fn assert_ended_for_its_rate(netserver: &Netserver, control: &mut Control, begun: Instant) {
    let frame = control.frame();
    assert_eq!(frame.errno(), EACCES);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    control.await_close();
    netserver.await_log("POLICY: more than 10 Mbit/s (--max-rate)");
}

#[test]
fn a_client_that_sends_more_than_the_rate_has_its_test_ended() {
    for engine in super::ENGINES {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-rate", "10M", "--engine", engine]);
        let mut control = Control::open(netserver.address());
        let response =
            control.ask(request("tcp_stream_default", |request| request.test_length = 10).as_bytes());
        let mut data = connect_data(&response);
        let begun = Instant::now();
        // Until it is closed at the other end.
        while data.write_all(&[b'x'; 10_000]).is_ok() {}
        assert_ended_for_its_rate(&netserver, &mut control, begun);
    }
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-rate", "10M"]);
    let mut control = Control::open(netserver.address());
    let response = control.ask(request("udp_stream_m3100", |request| request.test_length = 10).as_bytes());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = u16::try_from(response.data_port).expect("a port");
    let begun = Instant::now();
    while socket.send_to(&[b'x'; 3100], (Ipv4Addr::LOCALHOST, port)).is_ok()
        && begun.elapsed() < Duration::from_secs(3)
    {
        std::thread::sleep(Duration::from_micros(200));
        control.0.set_nonblocking(true).expect("a socket can be");
        if control.0.peek(&mut [0; 1]).is_ok() {
            break;
        }
    }
    control.0.set_nonblocking(false).expect("a socket can be");
    assert_ended_for_its_rate(&netserver, &mut control, begun);
}

#[test]
fn answers_that_nothing_holds_back_end_the_test_past_the_rate() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-rate", "10M"]);
    let mut control = Control::open(netserver.address());
    let asked = request("udp_rr", |request| {
        (request.test_length, request.request_size, request.response_size) = (10, 1, 60_000);
    });
    let response = control.ask(asked.as_bytes());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket takes a timeout");
    let port = u16::try_from(response.data_port).expect("a port");
    let (begun, mut bytes, mut buffer) = (Instant::now(), 0, vec![0; 65_536]);
    while socket.send_to(b"?", (Ipv4Addr::LOCALHOST, port)).is_ok() {
        let Ok(length) = socket.recv(&mut buffer) else { break };
        bytes += length as u64;
    }
    // A second's worth, and what two looks may miss.
    let time = begun.elapsed();
    println!("UDP_RR: {bytes} bytes in {time:?} under a cap of 10 Mbit/s");
    assert_ended_for_its_rate(&netserver, &mut control, begun);
}

/// A response that is cut off has nevertheless been sent.
#[test]
fn answers_that_the_client_cuts_off_end_the_test_past_the_rate() {
    const RESPONSE: usize = 16 << 20;
    for engine in super::ENGINES {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-rate", "10M", "--engine", engine]);
        let mut control = Control::open(netserver.address());
        let asked = request("tcp_crr", |request| {
            (request.test_length, request.request_size) = (10, 1);
            request.response_size = i32::try_from(RESPONSE).expect("it fits");
        });
        let response = control.ask(asked.as_bytes());
        let port = u16::try_from(response.data_port).expect("a port");
        let (begun, mut bytes, mut buffer) = (Instant::now(), 0, vec![0; 1 << 16]);
        while begun.elapsed() < Duration::from_secs(3) {
            let Ok(mut data) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { break };
            data.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
            if data.write_all(b"?").is_err() {
                break;
            }
            let mut got = 0;
            while let Ok(length @ 1..) = data.read(&mut buffer) {
                got += length;
                if got >= RESPONSE - (1 << 20) {
                    break;
                }
            }
            bytes += got;
            reset(data);
        }
        println!("TCP_CRR by {engine}: {bytes} bytes in {:?} under a cap of 10 Mbit/s", begun.elapsed());
        assert_ended_for_its_rate(&netserver, &mut control, begun);
    }
}

/// `ringperf run` against a netserver, as JSON.
pub(super) fn measured(netserver: &Netserver, words: &[&str]) -> (Option<i32>, serde_json::Value) {
    let port = netserver.port.to_string();
    let time: &[&str] = if words.contains(&"--time") { &[] } else { &["--time", "1"] };
    let all = [&["run", "-H", "127.0.0.1", "--port", &port, "--json"], time, words].concat();
    let output = run(Path::new(RINGPERF), &all, Duration::from_secs(40));
    let record = serde_json::from_slice(&output.stdout);
    (output.status.code(), record.unwrap_or_else(|_| panic!("{output:?}")))
}

#[test]
fn who_keeps_to_the_rate_is_served_and_who_wishes_for_more_is_told() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--max-rate", "50M"]);
    for words in [&["tcp-stream", "--rate", "40M"][..], &["udp-stream", "--rate", "40M"]] {
        assert_eq!(measured(&netserver, words).0, Some(0), "{words:?}");
    }
    let (code, record) = measured(&netserver, &["tcp-maerts", "--rate", "40M", "--flows", "3"]);
    assert_eq!(code, Some(0), "{record}");
    let (code, record) = measured(&netserver, &["tcp-maerts", "--rate", "60M"]);
    assert_eq!((code, record["error"]["errno"].as_str()), (Some(5), Some("EACCES")), "{record}");
    netserver.await_log("POLICY: 60 Mbit/s > 50 Mbit/s (--max-rate)");
    let (code, record) = measured(&netserver, &["tcp-stream", "--time", "5"]);
    assert_ne!(code, Some(0), "{record}");
    netserver.await_log("POLICY: more than 50 Mbit/s (--max-rate)");
}

#[test]
fn nobody_has_workers_poll_where_the_operator_does_not_want_it() {
    let words = ["-L", "127.0.0.1", "--no-busy-poll", "-d", "--engine"];
    for engine in super::ENGINES {
        let netserver = Netserver::start(&[&words[..], &[engine]].concat());
        netserver.await_log("at any rate, without polling");
        for (poll, told) in [(&["--busy-poll"][..], true), (&[], false)] {
            let (code, record) = measured(&netserver, &[&["tcp-rr", "--engine", "epoll"], poll].concat());
            assert_eq!(code, Some(0), "{engine}: {record}");
            assert_eq!(record.to_string().contains("busy polling"), told, "{engine}: {record}");
        }
        netserver.await_log("without busy polling: --no-busy-poll");
    }
}

/// Each connection of the classic engine costs a thread and the memory of a worker.
#[test]
fn blocking_calls_have_no_more_connections_than_there_are_cpus() {
    let cpus = std::thread::available_parallelism().expect("it is told").get();
    let (all, more) = (cpus.to_string(), (cpus + 1).to_string());
    let classic = Netserver::start(&["-L", "127.0.0.1", "--engine", "classic"]);
    let epoll = Netserver::start(&["-L", "127.0.0.1", "--engine", "epoll"]);
    for test in ["tcp-stream", "tcp-maerts", "tcp-rr"] {
        assert_eq!(measured(&classic, &[test, "--flows", &all]).0, Some(0), "{test}");
        let (code, record) = measured(&classic, &[test, "--flows", &more]);
        assert_eq!((code, record["error"]["errno"].as_str()), (Some(5), Some("E2BIG")), "{record}");
        assert_eq!(measured(&epoll, &[test, "--flows", &more]).0, Some(0), "{test}");
    }
}

#[test]
fn a_refused_run_says_why() {
    let barred = Netserver::start(&["-L", "127.0.0.1", "--allow", "192.0.2.0/24,::1"]);
    let (code, record) = measured(&barred, &["tcp-stream"]);
    let text = record["error"]["text"].as_str().unwrap_or_default();
    assert!(code == Some(5) && text.contains("--allow"), "{record}");
    let full = Netserver::start(&["-L", "127.0.0.1", "--max-sessions", "1"]);
    let mut inside = Control::open(full.address());
    assert_eq!(served(&mut inside), 0);
    let (code, record) = measured(&full, &["tcp-stream"]);
    let text = record["error"]["text"].as_str().unwrap_or_default();
    assert!(code == Some(5) && text.contains("--max-sessions"), "{record}");
    let short = Netserver::start(&["-L", "127.0.0.1", "--max-duration", "1"]);
    let (code, record) = measured(&short, &["tcp-stream", "--time", "2"]);
    assert_eq!((code, record["error"]["errno"].as_str()), (Some(4), Some("EINVAL")), "{record}");
    assert_eq!(measured(&short, &["tcp-stream"]).0, Some(0));
}

/// What inetd accepted comes from where it comes from.
#[test]
fn inetd_does_not_get_around_the_list() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let control = Control::open(listener.local_addr().expect("it is bound"));
    let (accepted, peer) = listener.accept().expect("a connection");
    assert_eq!(peer.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
    let mut child = std::process::Command::new(RINGPERF)
        .args(["netserver", "--allow", "192.0.2.0/24"])
        .stdin(std::os::fd::OwnedFd::from(accepted))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it runs");
    let mut control = control;
    assert_eq!(served(&mut control), EACCES);
    control.finish();
    assert!(child.wait().expect("it ends").success());
}
