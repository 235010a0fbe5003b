//! netserver as its clients and its operators see it: start and end, recorded conversations, and stock
//! netperf.

mod passphrases;
mod policy;
mod sessions;
mod streams;
mod transactions;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringperf_proto::code::ResponseCode;
use ringperf_proto::{FRAME_BYTES, Frame};

use crate::support::{
    Control, Netserver, RINGPERF, await_that, connect_data, golden, golden_request, received, reset, run,
    signal, skip, stock, stream_data, words,
};

/// The backends of data workers. With `classic` and `epoll` the control plane is on epoll, too.
const ENGINES: [&str; 3] = ["auto", "classic", "epoll"];

/// The same, and the ring by its name, which "auto" does not take for one transaction at a time.
fn every_engine(test: &str) -> Vec<&'static str> {
    let mut engines = ENGINES.to_vec();
    if Netserver::start(&[]).on_uring() {
        engines.push("uring");
    } else {
        skip(test, "uring", "io_uring is refused here");
    }
    engines
}

/// Enough for a command that measures nothing.
const SOON: Duration = Duration::from_secs(10);

fn netserver(words: &[&str]) -> (Option<i32>, String, String) {
    let all: Vec<&str> = ["netserver"].iter().chain(words).copied().collect();
    let output = run(Path::new(RINGPERF), &all, SOON);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn version_and_usage() {
    assert_eq!(netserver(&["-V"]), (Some(0), "Netperf version 2.7.0\n".to_owned(), String::new()));
    let (code, out, usage) = netserver(&["-h"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(usage.starts_with("Usage: netserver [options]\n"), "{usage}");
    for (words, complaint) in [
        (&["-q"][..], "netserver: invalid option -- 'q'\n\n"),
        (&["-DNq"], "netserver: invalid option -- 'q'\n\n"),
        (&["-p"], "netserver: option requires an argument -- 'p'\n\n"),
        (
            &["--cores", "x"],
            "netserver: --cores: write the numbers of cores, with commas between, or ranges of them: \
             0,2-3\n\n",
        ),
        (&["--engine", "fast"], "netserver: --engine takes auto, uring, epoll or classic, not 'fast'\n\n"),
        (
            &["--without", "bundles,fast"],
            "netserver: --without: 'fast' is none of low-water, bundles, multishot, buffer-ring, \
             deferred-task-run, registered-files, registered-buffers, minimum-wait, shared-segments\n\n",
        ),
        (&["--frobnicate"], "netserver: unrecognized option '--frobnicate'\n\n"),
    ] {
        assert_eq!(netserver(words), (Some(1), String::new(), format!("{complaint}{usage}")), "{words:?}");
    }
    assert_eq!(netserver(&["--help"]), (Some(0), usage, String::new()));
}

#[test]
fn called_by_its_own_name() {
    let output = Command::new(RINGPERF).arg0("/usr/bin/netserver").arg("-V").output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Netperf version 2.7.0\n");
}

#[test]
fn start_lines() {
    for (words, host, family) in [
        (&[][..], "IN(6)ADDR_ANY", "AF_UNSPEC"),
        (&["-4", "-L", "127.0.0.1"], "127.0.0.1", "AF_INET"),
        (&["-L", "127.0.0.1,4"], "127.0.0.1", "AF_INET"),
        (&["-L", ",4"], "IN(6)ADDR_ANY", "AF_INET"),
        (&["-fNL127.0.0.1"], "127.0.0.1", "AF_UNSPEC"),
    ] {
        let netserver = Netserver::start(words);
        let port = netserver.port;
        let line = format!("Starting netserver with host '{host}' port '{port}' and family {family}");
        assert_eq!(netserver.start_line, line, "{words:?}");
        TcpStream::connect(netserver.address()).expect("it listens on the port it names");
    }
}

#[test]
fn the_log_says_what_is_open_to_whom() {
    let netserver = Netserver::start(&["-4", "-L", "127.0.0.1", "-Z", "sesame"]);
    netserver.await_log(&format!("listening on 127.0.0.1:{};", netserver.port));
    netserver.await_log("open to any address, with the passphrase");
    assert!(!netserver.log().contains("sesame"));
}

#[test]
fn no_port_no_start() {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = held.local_addr().expect("it is bound").port().to_string();
    for (host, words) in [
        ("127.0.0.1", ["-4", "-L", "127.0.0.1", "-p", &port]),
        ("no-such-host.invalid", ["-4", "-L", "no-such-host.invalid", "-p", &port]),
    ] {
        let line = format!("Unable to start netserver with  '{host}' port '{port}' and family AF_INET");
        for in_front in [true, false] {
            let first = if in_front { "-DN" } else { "-N" };
            let all: Vec<&str> = [first].iter().chain(&words).copied().collect();
            let (code, out, err) = netserver(&all);
            assert_eq!((code, out.as_str(), err.lines().next()), (Some(1), "", Some(line.as_str())));
            assert_eq!(err.lines().count(), 2, "{err}");
        }
    }
}

#[test]
fn starts_in_the_background_and_ends_on_a_signal() {
    // A word that is accepted and ignored, by which the detached process is found again.
    let mark = format!("background-{}", std::process::id());
    let (code, out, err) = netserver(&["-4", "-L", "127.0.0.1", "-p", "0", "-v", &mark]);
    assert_eq!(code, Some(0), "{err}");
    let port = out.split("port '").nth(1).and_then(|rest| rest.split('\'').next()).expect("a start line");
    let address = format!("127.0.0.1:{port}");
    let id = process_with(&mark).expect("a process in the background");
    let _end = OnDrop(|| drop(Command::new("kill").arg(id.to_string()).stderr(Stdio::null()).status()));
    let mut control = Control::open(address.parse().expect("an address"));
    control.send(&golden("debug_on_off")[0]);
    assert_eq!(control.frame().response_type(), ResponseCode::DebugOk);
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).expect("a session id");
    assert_eq!(session, id.to_string(), "it leads a session of its own");
    assert_eq!(std::fs::read_link(format!("/proc/{id}/cwd")).expect("it runs"), Path::new("/"));
    for stream in 0..3 {
        let target = std::fs::read_link(format!("/proc/{id}/fd/{stream}")).expect("it runs");
        assert_eq!(target, Path::new("/dev/null"));
    }
    signal(id, "TERM");
    control.await_close();
    await_that("the port's close", || TcpStream::connect(&address).is_err());
}

/// Runs what it holds, also when a test fails.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn process_with(mark: &str) -> Option<u32> {
    let has_mark = |folder: &std::fs::DirEntry| {
        std::fs::read(folder.path().join("cmdline"))
            .is_ok_and(|words| words.split(|&byte| byte == 0).any(|word| word == mark.as_bytes()))
    };
    let folders = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    folders.filter(has_mark).find_map(|folder| folder.file_name().to_str()?.parse().ok())
}

#[test]
fn ends_with_its_standard_input_if_asked_to() {
    let mut netserver = Netserver::start(&["-L", "127.0.0.1", "--exit-with-stdin"]);
    netserver.close_stdin();
    assert_eq!(netserver.wait().code(), Some(0));
}

#[test]
fn a_signal_ends_a_running_test() {
    for engine in ENGINES {
        let mut netserver = Netserver::start(&["-L", "127.0.0.1", "--engine", engine]);
        let mut control = Control::open(netserver.address());
        let (mut frame, mut request) = golden_request("control_closed_midtest");
        request.test_length = 0;
        request.encode(&mut frame);
        let response = control.ask(frame.as_bytes());
        let _data = connect_data(&response);
        let begun = Instant::now();
        signal(netserver.id(), "TERM");
        assert_eq!(netserver.wait().code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        control.await_close();
    }
}

#[test]
fn serves_a_connection_that_inetd_accepted() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let mut control = Control::open(listener.local_addr().expect("it is bound"));
    let (accepted, _) = listener.accept().expect("a connection");
    let mut child = Command::new(RINGPERF)
        .args(["netserver", "-d"])
        .stdin(Stdio::from(OwnedFd::from(accepted.try_clone().expect("a descriptor"))))
        .stdout(Stdio::from(OwnedFd::from(accepted.try_clone().expect("a descriptor"))))
        .stderr(Stdio::from(OwnedFd::from(accepted.try_clone().expect("a descriptor"))))
        .spawn()
        .expect("it runs");
    let response = control.ask(&golden("two_tests_one_connection")[0]);
    // It is one socket with one set of options, whoever has it: a dead host is found out as elsewhere.
    let socket = socket2::SockRef::from(&accepted);
    assert!(socket.keepalive().expect("it is open"));
    let times =
        (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval(), socket.tcp_keepalive_retries());
    let times = (times.0.expect("it is open"), times.1.expect("it is open"), times.2.expect("it is open"));
    assert_eq!(times, (Duration::from_secs(10), Duration::from_secs(5), 4));
    assert_eq!(socket.tcp_user_timeout().expect("it is open"), Some(Duration::from_secs(30)));
    drop(accepted);
    stream_data(&response, 10_000);
    assert_eq!(received(&control.results()), 10_000);
    control.finish();
    control.await_close();
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn two_tests_and_a_calibration_on_one_connection() {
    for engine in ENGINES {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--engine", engine]);
        let mut control = Control::open(netserver.address());
        let sent = golden("two_tests_one_connection");
        for (request, bytes) in sent.iter().zip([1_000_000, 3]) {
            let response = control.ask(request);
            assert!(response.recv_buf_size > 0 && response.receive_size > 0, "{response:?}");
            stream_data(&response, bytes);
            let results = control.results();
            assert_eq!(received(&results), bytes as u64, "{engine}");
            assert!(results.recv_calls > 0 && results.elapsed_time > 0.0, "{results:?}");
        }
        control.send(&sent[2]);
        let calibrated = control.frame();
        assert_eq!((calibrated.response_type(), calibrated.errno()), (ResponseCode::CpuCalibrate, 0));
        control.finish();
        control.await_close();
    }
}

#[test]
fn service_requests_and_unknown_ones() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(netserver.address());
    // Sent at once: a client may send ahead.
    control.send(&[golden("debug_on_off"), golden("unknown_request_type")].concat().concat());
    let answers = [control.frame(), control.frame(), control.frame()];
    assert_eq!(answers.each_ref().map(Frame::errno), [0, 0, 998]);
    netserver.await_log("refused with 998 (unknown request)");
    control.finish();
    control.await_close();
}

#[test]
fn a_request_in_pieces_is_one_request() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(netserver.address());
    for piece in golden("request_in_pieces") {
        control.send(&piece);
        std::thread::sleep(Duration::from_millis(50));
    }
    let response = control.response();
    stream_data(&response, 1);
    assert_eq!(received(&control.results()), 1);
}

#[test]
fn half_a_request_is_closed_without_an_answer() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(netserver.address());
    control.send(&golden("truncated_request_then_shutdown")[0]);
    control.finish();
    control.await_close();
}

#[test]
fn a_test_outlives_the_end_of_the_control_stream() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(netserver.address());
    let response = control.ask(&golden("control_closed_midtest")[0]);
    control.finish();
    std::thread::sleep(Duration::from_millis(200));
    stream_data(&response, 2000);
    assert_eq!(received(&control.results()), 2000);
    control.await_close();
}

#[test]
fn no_data_connection_gives_zeroes_after_length_and_grace() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(netserver.address());
    let begun = Instant::now();
    control.ask(&golden("omni_no_data_connection")[0]);
    let results = control.results();
    assert!((4.5..8.0).contains(&begun.elapsed().as_secs_f32()), "{:?}", begun.elapsed());
    assert_eq!((received(&results), results.recv_calls, results.transport_retrans), (0, 0, -1));
    assert!((0.9..2.0).contains(&results.elapsed_time), "{}", results.elapsed_time);
}

#[test]
fn a_stalled_sender_is_timed_out_and_the_grace_is_not_counted() {
    for engine in ENGINES {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--engine", engine]);
        let mut control = Control::open(netserver.address());
        let response = control.ask(&golden("omni_no_data_connection")[0]);
        let mut data = connect_data(&response);
        std::io::Write::write_all(&mut data, &[b'x'; 500]).expect("the data connection takes it");
        let results = control.results();
        assert_eq!(received(&results), 500, "{engine}");
        assert!((0.9..2.0).contains(&results.elapsed_time), "{engine}: {}", results.elapsed_time);
    }
}

#[test]
fn a_reset_data_connection_is_reported_and_closes() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(netserver.address());
    let response = control.ask(&golden("data_connection_reset")[0]);
    let data = connect_data(&response);
    std::thread::sleep(Duration::from_millis(200));
    reset(data);
    assert_eq!(control.frame().errno(), 104);
    control.await_close();
}

#[test]
fn a_taken_port_and_a_foreign_address_fall_back() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let held = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let taken = held.local_addr().expect("it is bound").port();
    let (mut in_use, mut request) = golden_request("data_port_in_use");
    request.data_port = taken.into();
    request.encode(&mut in_use);
    let (foreign, asked) = golden_request("explicit_unassigned_address");
    assert_eq!(asked.netserver_ip, words(Ipv4Addr::new(192, 0, 2, 1).into()));
    for frame in [in_use, foreign] {
        let mut control = Control::open(netserver.address());
        let response = control.ask(frame.as_bytes());
        assert_ne!(response.data_port, u32::from(taken));
        stream_data(&response, 5);
        assert_eq!(received(&control.results()), 5);
    }
}

#[test]
fn passphrases() {
    let closed = Netserver::start(&["-L", "127.0.0.1", "-Z", "sesame"]);
    let mut control = Control::open(closed.address());
    control.send(&golden("passphrase_good").concat());
    let response = control.response();
    stream_data(&response, 7);
    assert_eq!(received(&control.results()), 7);
    for refused in ["passphrase_bad", "passphrase_missing"] {
        let mut control = Control::open(closed.address());
        control.send(&golden(refused).concat());
        control.await_close();
    }
    closed.await_log("the passphrase is missing or wrong");
    let open = Netserver::start(&["-L", "127.0.0.1"]);
    let mut control = Control::open(open.address());
    control.send(&golden("passphrase_unneeded").concat());
    stream_data(&control.response(), 7);
    assert_eq!(received(&control.results()), 7);
}

#[test]
fn one_session_at_a_time_if_asked_to() {
    let netserver = Netserver::start(&["-f", "-L", "127.0.0.1"]);
    let request = &golden("debug_on_off")[0];
    let mut first = Control::open(netserver.address());
    first.send(request);
    assert_eq!(first.frame().errno(), 0);
    let mut second = Control::open(netserver.address());
    second.send(request);
    second.0.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket takes a timeout");
    let early = std::io::Read::read(&mut second.0, &mut [0; 1]);
    assert!(early.is_err(), "the second session was served beside the first: {early:?}");
    drop(first);
    second.0.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
    assert_eq!(second.frame().errno(), 0);
}

#[test]
fn the_control_plane_is_io_uring_where_it_can_be() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    if netserver.on_uring() {
        let none = Netserver::start(&["-L", "127.0.0.1", "--engine", "epoll"]);
        assert!(!none.on_uring(), "--engine epoll wants none of it");
    } else {
        skip("the_control_plane_is_io_uring_where_it_can_be", "uring", "io_uring is refused here");
    }
}

/// Runs stock netperf against netserver and returns the throughput it prints, in Mbit/s.
fn throughput(netperf: &Path, words: &[&str]) -> f64 {
    let output = run(netperf, words, Duration::from_secs(60));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {out}{err}");
    // Five numbers or more: socket sizes, message size, time, throughput.
    let numbers = |line: &str| {
        let fields: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
        fields.ok().filter(|fields| fields.len() >= 5)
    };
    let line = out.lines().rev().find_map(numbers);
    line.unwrap_or_else(|| panic!("no line of results: {out}{err}"))[4]
}

#[test]
fn stock_netperf_streams() {
    let Some(netperf) = stock("netperf", "stock_netperf_streams") else { return };
    for engine in ENGINES {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--engine", engine]);
        let port = netserver.port.to_string();
        for options in [&[][..], &["-c", "-C"], &["-l", "-20000000"], &["-i", "3,3", "-I", "99,50"]] {
            let words = [&["-H", "127.0.0.1", "-p", &port, "-t", "TCP_STREAM", "-l", "1"], options].concat();
            let found = throughput(&netperf, &words);
            assert!(found > 0.0, "{engine} {words:?}: {found}");
        }
        let log = netserver.log();
        assert_eq!(log.matches("TCP stream received: ").count(), 6, "{log}");
        assert!(!log.contains("TCP stream received: 0.00 "), "{log}");
    }
}

#[test]
fn stock_netperf_through_fixed_data_ports() {
    let Some(netperf) = stock("netperf", "stock_netperf_through_fixed_data_ports") else { return };
    let netserver = Netserver::start(&["-4"]);
    let port = netserver.port.to_string();
    // Two addresses: on one, the client's data socket would connect to itself.
    let control = ["-H", "127.0.0.2", "-L", "127.0.0.1", "-p", &port, "-t", "TCP_STREAM", "-l", "1"];
    for options in [["-P", "12866", "-s", "1100", "-m", "131072"], ["-P", "12866", "-s", "0", "-m", "1000"]] {
        let words = [&control[..], &["--"], &options].concat();
        assert!(throughput(&netperf, &words) > 0.0, "{words:?}");
    }
    assert!(!netserver.log().contains("TCP stream received: 0.00 "), "{}", netserver.log());
}

#[test]
fn stock_netperf_with_a_passphrase() {
    let Some(netperf) = stock("netperf", "stock_netperf_with_a_passphrase") else { return };
    let netserver = Netserver::start(&["-L", "127.0.0.1", "-Z", "sesame"]);
    let port = netserver.port.to_string();
    let words = |passphrase| ["-H", "127.0.0.1", "-p", &port, "-Z", passphrase, "-l", "1"];
    assert!(throughput(&netperf, &words("sesame")) > 0.0);
    let refused = run(&netperf, &words("wrong"), SOON);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn stock_netperf_over_ipv6() {
    let test = "stock_netperf_over_ipv6";
    let Some(netperf) = stock("netperf", test) else { return };
    if TcpListener::bind("[::1]:0").is_err() {
        return skip(test, "ipv6", "no IPv6 loopback");
    }
    let netserver = Netserver::start(&[]);
    let port = netserver.port.to_string();
    assert!(throughput(&netperf, &["-H", "::1", "-6", "-p", &port, "-l", "1"]) > 0.0);
    // The same listener, reached by IPv4: the peer's address is the mapped one.
    assert!(throughput(&netperf, &["-H", "127.0.0.1", "-4", "-p", &port, "-l", "1"]) > 0.0);
}

#[test]
fn a_frame_is_what_the_goldens_say() {
    assert_eq!(golden("two_tests_one_connection").concat().len(), 3 * FRAME_BYTES);
}

#[test]
fn a_passphrase_that_cannot_be_one_is_refused() {
    for passphrase in [String::new(), "x".repeat(648)] {
        let (code, out, err) = netserver(&["-D", "-L", "127.0.0.1", "-p", "0", "-Z", &passphrase]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains("-Z takes 1 to 647 bytes"), "{err}");
    }
}
