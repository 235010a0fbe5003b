//! What strangers, broken clients and shortages do to a netserver: nothing, once they are gone.

use std::io::{PipeWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringperf_proto::{FRAME_BYTES, Frame};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::support::{
    Control, Netserver, RINGPERF, await_that, baseline, connect_data, free_port, golden, golden_request,
    received, reset, serves, serves_at, signal, stream_data,
};

#[test]
fn mute_sessions_leave_nothing_behind() {
    for engine in ["auto", "epoll"] {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--engine", engine, "--deadline-ms", "4000"]);
        let before = baseline(&netserver);
        // Closed by the clients, half of them in the middle of a frame.
        let mut mute: Vec<TcpStream> = (0..64).map(|_| open(netserver.address())).collect();
        for stream in mute.iter_mut().step_by(2) {
            stream.write_all(&[0; 300]).expect("netserver reads");
        }
        await_that("64 sessions", || netserver.resources().descriptors >= before.descriptors + 64);
        serves(&netserver);
        drop(mute);
        await_that("the sessions' end", || netserver.resources().within(before));
        // Closed by netserver, whose clients say nothing and stay.
        let mut mute: Vec<TcpStream> = (0..64).map(|_| open(netserver.address())).collect();
        await_that("64 sessions", || netserver.resources().descriptors >= before.descriptors + 64);
        for stream in &mut mute {
            assert_eq!(stream.read(&mut [0; 1]).expect("an orderly close"), 0);
        }
        await_that("the sessions' end", || netserver.resources().within(before));
        netserver.await_log("nothing came within 4 s");
        serves(&netserver);
    }
}

#[test]
fn sessions_leave_no_memory_behind() {
    let netserver = Netserver::start(&["-N", "-L", "127.0.0.1"]);
    let before = baseline(&netserver);
    let round = || {
        let mut mute: Vec<TcpStream> = (0..64).map(|_| open(netserver.address())).collect();
        for stream in &mut mute {
            stream.write_all(&[0; 300]).expect("netserver reads");
        }
        await_that("64 sessions", || netserver.resources().descriptors >= before.descriptors + 64);
        drop(mute);
        await_that("the sessions' end", || netserver.resources().within(before));
    };
    // The first rounds settle the allocator.
    (0..4).for_each(|_| round());
    let settled = netserver.resources().resident_kib;
    (0..16).for_each(|_| round());
    let grown = netserver.resources().resident_kib.saturating_sub(settled);
    assert!(grown < 512, "1024 sessions left {grown} KiB");
}

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("netserver accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    stream
}

#[test]
fn a_dribble_is_cut_off_at_the_frame_s_deadline() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--deadline-ms", "700"]);
    let mut control = Control::open(netserver.address());
    control.send(&golden("debug_on_off")[0]);
    assert_eq!(control.frame().errno(), 0);
    let begun = Instant::now();
    // A byte now and then does not extend the wait.
    while control.0.write_all(&[0]).is_ok() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    netserver.await_log("a frame that is not complete");
}

#[test]
fn a_client_of_an_old_release_is_named() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--deadline-ms", "500"]);
    let mut control = Control::open(netserver.address());
    control.send(&golden("truncated_request_then_idle")[0]);
    control.await_close();
    netserver.await_log("256-byte frames of netperf 2.5.0 or older");
}

#[test]
fn an_idle_session_is_closed_in_the_end() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--deadline-ms", "500"]);
    let mut control = Control::open(netserver.address());
    control.send(&golden("debug_on_off")[0]);
    assert_eq!(control.frame().errno(), 0);
    control.await_close();
    netserver.await_log("no request within 0.5 s");
}

#[test]
fn garbage_is_answered_or_closed() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--deadline-ms", "1000"]);
    let before = baseline(&netserver);
    let web = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n".to_vec();
    let ones = vec![0xff; FRAME_BYTES];
    let zeroes = vec![0; 5 * FRAME_BYTES];
    let mut torn = golden("two_tests_one_connection")[0].clone();
    torn[8..].fill(0xff);
    for garbage in [web, ones, zeroes, torn, (0..=255).cycle().take(10_000).collect()] {
        let mut control = Control::open(netserver.address());
        // The reset of a close may come before the last bytes are out.
        let _ = control.0.write_all(&garbage);
        let _ = control.0.shutdown(std::net::Shutdown::Write);
        let mut answers = Vec::new();
        let _ = control.0.read_to_end(&mut answers);
        assert_eq!(answers.len() % FRAME_BYTES, 0, "whole frames or none");
    }
    await_that("the sessions' end", || netserver.resources().within(before));
    assert!(!netserver.log().contains("BUG"), "{}", netserver.log());
    serves(&netserver);
}

#[test]
fn a_client_that_dies_ends_its_test() {
    for engine in ["auto", "epoll"] {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--engine", engine]);
        let before = baseline(&netserver);
        let (mut frame, mut request) = golden_request("control_closed_midtest");
        request.test_length = 0;
        request.encode(&mut frame);
        let mut control = Control::open(netserver.address());
        let response = control.ask(frame.as_bytes());
        let data = connect_data(&response);
        // A dead process resets its control connection when something is unread or sent to it; this is the
        // reset.
        reset(control.0);
        netserver.await_log("control connection lost during a test");
        await_that("the test's end", || netserver.resources().within(before));
        drop(data);
        serves(&netserver);
    }
}

/// A request for datagrams without end.
fn endless_datagrams() -> Frame {
    let (mut frame, mut request) = golden_request("udp_stream_m3100");
    (request.test_length, request.data_port) = (0, 0);
    request.encode(&mut frame);
    frame
}

#[test]
fn a_client_that_leaves_in_order_ends_its_test_in_the_end() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--deadline-ms", "500"]);
    let before = baseline(&netserver);
    let (mut frame, mut long) = golden_request("two_tests_one_connection");
    (long.test_length, long.data_port) = (i32::MAX, 0);
    long.encode(&mut frame);
    for request in [frame, endless_datagrams()] {
        let mut control = Control::open(netserver.address());
        control.ask(request.as_bytes());
        drop(control);
    }
    await_that("two lines", || netserver.log().matches("during a test that went on for 0.5 s").count() == 2);
    await_that("the tests' end", || netserver.resources().within(before));
    serves(&netserver);
}

#[test]
fn requests_that_pile_up_during_a_test_end_it() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let before = baseline(&netserver);
    let mut control = Control::open(netserver.address());
    control.ask(endless_datagrams().as_bytes());
    // One more than is read ahead: behind it the end of the connection would not be seen.
    control.send(&[0; 5 * FRAME_BYTES]);
    netserver.await_log("requests piled up during a test");
    drop(control);
    await_that("the test's end", || netserver.resources().within(before));
    serves(&netserver);
}

#[test]
fn data_from_another_address_is_not_taken() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(netserver.address());
    let response = control.ask(&golden("two_tests_one_connection")[0]);
    let port = u16::try_from(response.data_port).expect("a port");
    let stranger =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    stranger.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 3), 0)).into()).expect("loopback is a /8");
    stranger.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("the port is open");
    let mut stranger = TcpStream::from(stranger);
    stranger.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes a timeout");
    assert!(matches!(stranger.read(&mut [0; 1]), Ok(0) | Err(_)), "a stranger is sent away");
    stream_data(&response, 9);
    assert_eq!(received(&control.results()), 9);
}

#[test]
fn a_full_house_turns_away_and_recovers() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let before = baseline(&netserver);
    let seated: Vec<TcpStream> = (0..256).map(|_| open(netserver.address())).collect();
    await_that("256 sessions", || netserver.resources().descriptors >= before.descriptors + 256);
    let mut beyond = Control::open(netserver.address());
    assert_eq!(beyond.frame().errno(), 16, "one too many: EBUSY");
    netserver.await_log("POLICY: turned away");
    drop(seated);
    await_that("the sessions' end", || netserver.resources().within(before));
    serves(&netserver);
}

#[test]
fn a_shortage_of_descriptors_passes() {
    for engine in ["auto", "epoll"] {
        let limited = ["sh", "-c", "ulimit -n 48 && exec \"$@\"", "sh"];
        let words = ["-L", "127.0.0.1", "--engine", engine];
        let netserver = Netserver::start_under(&limited, &words).expect("48 descriptors are enough to start");
        let before = baseline(&netserver);
        let crowd: Vec<TcpStream> = (0..100).map(|_| open(netserver.address())).collect();
        netserver.await_log("ENV: accept failed");
        drop(crowd);
        await_that("the crowd's end", || netserver.resources().within(before));
        serves(&netserver);
    }
}

#[test]
fn nobody_has_to_read_what_netserver_says() {
    for unread in ["standard output", "standard error"] {
        let port = free_port();
        let (reader, writer) = std::io::pipe().expect("descriptors are left");
        drop(reader);
        let mut command = Command::new(RINGPERF);
        command.args(["netserver", "-D", "-dd", "-L", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = match unread {
            "standard output" => command.stdout(writer),
            _ => command.stderr(writer),
        }
        .spawn()
        .expect("netserver starts");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        await_that("the control port", || TcpStream::connect(address).is_ok());
        for _ in 0..2 {
            // Each of these sessions is told in the log.
            serves_at(address);
            assert!(child.try_wait().expect("it is our child").is_none(), "{unread} has no reader");
        }
        signal(child.id(), "TERM");
        let status = child.wait().expect("it is our child");
        assert_eq!(status.code(), Some(0), "{unread} has no reader: {status}");
    }
}

/// It has not gone away, which a write would tell: the pipe to it is full for good.
#[test]
fn a_reader_of_the_log_that_stops_reading_stops_nobody() {
    let port = free_port();
    let (reader, writer) = std::io::pipe().expect("descriptors are left");
    fill(&writer);
    let mut command = Command::new(RINGPERF);
    command.args(["netserver", "-D", "-dd", "-L", "127.0.0.1", "-p", &port.to_string()]);
    command.args(["--max-sessions", "1000"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let mut child = command.spawn().expect("netserver starts");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    await_that("the control port", || TcpStream::connect(address).is_ok());
    for _ in 0..400 {
        let mut client = TcpStream::connect(address).expect("it listens");
        client.write_all(b"no request").expect("it is taken");
    }
    serves_at(address);
    let begun = Instant::now();
    signal(child.id(), "TERM");
    let mut status = None;
    await_that("netserver's end", || {
        status = child.try_wait().expect("it is our child");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    drop(reader);
}

/// Leaves room in a pipe for nothing.
fn fill(mut pipe: &PipeWriter) {
    let flags = fcntl_getfl(pipe).expect("it is open");
    fcntl_setfl(pipe, flags | OFlags::NONBLOCK).expect("it is ours");
    while pipe.write(&[b'.'; 4096]).is_ok() {}
    fcntl_setfl(pipe, flags).expect("it is ours");
}
