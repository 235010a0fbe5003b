//! Requests that netserver answers, over kept connections, over one each, and in datagrams, and the datagrams
//! that it streams to a client: what is counted, how each ends, and who gets an answer.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ringperf_proto::classic::{RrRequest, RrResponse, RrResults};
use ringperf_proto::code::RequestCode;
use ringperf_proto::omni::{OmniRequest, OmniResponse, OmniResults};
use ringperf_proto::{Frame, errno};

use super::{ENGINES, SOON, every_engine};
use crate::support::{Control, Netserver, connect_data, received, request, run, skip, stock, words};

/// A loopback address that is neither the client's nor the server's.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The time of the goldens' tests, and what netperf's netserver waits on top of it.
const LENGTH: f32 = 1.0;
const GRACE: f32 = 4.0;

/// Datagrams of a client whose netserver does not answer are not waited for longer.
const UNANSWERED: Duration = Duration::from_millis(200);

/// A classic request of a second, with changes.
fn classic(code: RequestCode, change: impl FnOnce(&mut RrRequest)) -> Frame {
    let mut request = RrRequest {
        recv_buf_size: -1,
        send_buf_size: -1,
        recv_alignment: 8,
        send_alignment: 8,
        request_size: 10,
        response_size: 20,
        test_length: 1,
        ipfamily: 4,
        ..RrRequest::default()
    };
    change(&mut request);
    let mut frame = Frame::request(code, -1);
    request.encode(&mut frame);
    frame
}

fn serve(engine: &str) -> Netserver {
    Netserver::start(&["-L", "127.0.0.1", "--engine", engine])
}

fn sized(request: &mut OmniRequest) {
    (request.request_size, request.response_size) = (10, 20);
}

fn ask(data: &mut TcpStream) {
    data.write_all(&[b'?'; 10]).expect("the request is taken");
    data.read_exact(&mut [0; 20]).expect("the whole response comes");
}

/// Counts of a test: transactions, and what went each way for them.
fn counts(results: &OmniResults) -> (u32, u64, u64) {
    let sent = u64::from(results.bytes_sent_hi) << 32 | u64::from(results.bytes_sent_lo);
    (results.trans_received, received(results), sent)
}

/// The data port of a classic response, which must not be an error.
fn classic_port(control: &mut Control) -> u16 {
    let frame = control.frame();
    assert_eq!(frame.errno(), 0);
    u16::try_from(RrResponse::decode(&frame).data_port_number).expect("a port")
}

fn classic_results(control: &mut Control) -> RrResults {
    let frame = control.frame();
    assert_eq!(frame.errno(), 0);
    RrResults::decode(&frame)
}

/// A connected socket that waits a while for answers.
fn datagrams(local: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((local, 0)).expect("all of 127/8 is ours");
    socket.connect((Ipv4Addr::LOCALHOST, port)).expect("loopback is reachable");
    socket.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
    socket
}

fn data_port(response: &OmniResponse) -> u16 {
    u16::try_from(response.data_port).expect("a port")
}

#[test]
fn requests_are_answered_until_the_client_ends_its_stream() {
    for engine in every_engine("requests_are_answered_until_the_client_ends_its_stream") {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let response = control.ask(request("tcp_rr", sized).as_bytes());
        assert_eq!((response.receive_size, response.send_size), (10, 20), "{engine}");
        let mut data = connect_data(&response);
        (0..100).for_each(|_| ask(&mut data));
        // The client does not tell how many it sends at once, nor does it matter where they are cut.
        data.write_all(&[b'?'; 25]).expect("they are taken");
        data.read_exact(&mut [0; 40]).expect("two responses come");
        data.shutdown(Shutdown::Write).expect("the connection is there");
        assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0, "half a request has no response");
        let results = control.results();
        assert_eq!(counts(&results), (102, 1025, 2040), "{engine}");
        assert!(results.elapsed_time < LENGTH && results.transport_retrans >= 0, "{engine}: {results:?}");
        assert!(!results.cong_control.content().is_empty(), "{engine}");
    }
}

#[test]
fn a_count_of_requests_is_answered_and_the_connection_closed() {
    for engine in every_engine("a_count_of_requests_is_answered_and_the_connection_closed") {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let counted = request("tcp_rr_trans", |request| {
            sized(request);
            request.test_length = -50;
        });
        let response = control.ask(counted.as_bytes());
        let mut data = connect_data(&response);
        (0..50).for_each(|_| ask(&mut data));
        assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0, "{engine}");
        assert_eq!(counts(&control.results()), (50, 500, 1000), "{engine}");
    }
}

#[test]
fn a_client_that_keeps_its_connection_is_timed_out_and_the_grace_is_not_counted() {
    let engines =
        every_engine("a_client_that_keeps_its_connection_is_timed_out_and_the_grace_is_not_counted");
    let keep = |engine: &str| {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let begun = Instant::now();
        control.send(classic(RequestCode::TcpRr, |_| {}).as_bytes());
        let port = classic_port(&mut control);
        let mut data = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the data port is open");
        (0..7).for_each(|_| ask(&mut data));
        let results = classic_results(&mut control);
        assert_eq!((results.trans_received, results.bytes_received), (7, 7 * 30), "{engine}");
        assert!(begun.elapsed().as_secs_f32() >= LENGTH + GRACE, "{engine}");
        assert!((LENGTH..LENGTH + 1.0).contains(&results.elapsed_time), "{engine}: {results:?}");
    };
    std::thread::scope(|scope| {
        for engine in engines {
            scope.spawn(move || keep(engine));
        }
    });
}

#[test]
fn a_connection_each_is_answered_and_closed_by_us_first() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let begun = Instant::now();
        let response = control.ask(request("tcp_crr", sized).as_bytes());
        for _ in 0..20 {
            let mut data = connect_data(&response);
            ask(&mut data);
            assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0, "{engine}");
        }
        // One that asks for nothing is no transaction, and no end either.
        let silent = connect_data(&response);
        silent.shutdown(Shutdown::Write).expect("the connection is there");
        drop(silent);
        ask(&mut connect_data(&response));
        let results = control.results();
        assert_eq!(counts(&results), (21, 210, 420), "{engine}");
        assert!(begun.elapsed().as_secs_f32() >= LENGTH, "it may not end before");
        assert!((LENGTH..LENGTH + 0.1).contains(&results.elapsed_time), "{engine}: {results:?}");
        // None of them is still there to be asked.
        assert_eq!(results.transport_retrans, -1, "{engine}");
        assert!(results.recv_buf_size > 0 && results.send_buf_size > 0, "{engine}: {results:?}");
    }
}

#[test]
fn connections_are_taken_and_closed() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let response = control.ask(request("omni_cc", |_| {}).as_bytes());
        // What it does not do is repeated as it was asked for.
        assert_eq!((response.receive_size, response.send_size), (-1, -1), "{engine}");
        for _ in 0..20 {
            assert_eq!(connect_data(&response).read(&mut [0; 1]).expect("an orderly close"), 0, "{engine}");
        }
        let results = control.results();
        assert_eq!(counts(&results), (20, 0, 0), "{engine}");
        control.send(classic(RequestCode::TcpCc, |request| request.test_length = -20).as_bytes());
        let port = classic_port(&mut control);
        for _ in 0..20 {
            let mut data = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the data port is open");
            assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0, "{engine}");
        }
        let results = classic_results(&mut control);
        // netperf's netserver makes the bytes up.
        assert_eq!((results.trans_received, results.bytes_received), (20, 600), "{engine}");
    }
}

#[test]
fn datagrams_are_answered_until_an_empty_one() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let response = control.ask(request("udp_rr_P_100_2000", sized).as_bytes());
        assert_eq!((response.receive_size, response.send_size), (10, 20), "{engine}");
        let socket = datagrams(Ipv4Addr::LOCALHOST.into(), data_port(&response));
        for _ in 0..50 {
            socket.send(&[b'?'; 10]).expect("it is taken");
            assert_eq!(socket.recv(&mut [0; 100]).expect("a response"), 20, "{engine}");
        }
        socket.send(&[]).expect("it is taken");
        let results = control.results();
        assert_eq!(counts(&results), (50, 500, 1000), "{engine}");
        assert!(results.elapsed_time < LENGTH && results.transport_retrans == -1, "{engine}: {results:?}");
    }
}

#[test]
fn strangers_get_no_answer() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        // Not even where the client says that its data comes from there: the answers would go there.
        let declaring = request("udp_rr", |request| {
            sized(request);
            request.netperf_ip = words(OTHER);
        });
        let response = control.ask(declaring.as_bytes());
        let stranger = datagrams(OTHER, data_port(&response));
        stranger.set_read_timeout(Some(UNANSWERED)).expect("a socket takes a timeout");
        stranger.send(&[b'?'; 10]).expect("loopback takes it");
        assert!(stranger.recv(&mut [0; 100]).is_err(), "{engine}: a stranger got an answer");
        let socket = datagrams(Ipv4Addr::LOCALHOST.into(), data_port(&response));
        socket.send(&[b'?'; 10]).expect("it is taken");
        assert_eq!(socket.recv(&mut [0; 100]).expect("a response"), 20, "{engine}");
        socket.send(&[]).expect("it is taken");
        assert_eq!(counts(&control.results()), (1, 10, 20), "{engine}");
    }
}

#[test]
fn a_classic_datagram_of_another_size_is_fatal() {
    let netserver = serve("auto");
    let mut control = Control::open(netserver.address());
    control.send(classic(RequestCode::UdpRr, |_| {}).as_bytes());
    let port = classic_port(&mut control);
    let socket = datagrams(Ipv4Addr::LOCALHOST.into(), port);
    socket.send(&[b'?'; 10]).expect("it is taken");
    assert_eq!(socket.recv(&mut [0; 100]).expect("a response"), 20);
    // A longer one is cut to the size of a request by the receive, with netperf's netserver, too.
    socket.send(&[b'?'; 9]).expect("it is taken");
    assert_eq!(control.frame().errno(), errno::EMSGSIZE);
    control.await_close();
}

#[test]
fn datagrams_are_streamed_to_the_client_that_says_where() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        client.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
        let port = client.local_addr().expect("it is bound").port();
        let declaring = request("omni_udp_recv", |request| request.netperf_port = port.into());
        let response = control.ask(declaring.as_bytes());
        assert_eq!((response.receive_size, response.send_size), (-1, 1000), "{engine}");
        let mut datagrams: u32 = 0;
        loop {
            let (bytes, source) = client.recv_from(&mut [0; 2000]).expect("datagrams, and an empty one last");
            assert_eq!(u32::from(source.port()), response.data_port, "{engine}");
            match bytes {
                0 => break,
                bytes => assert_eq!(bytes, 1000, "{engine}"),
            }
            datagrams += 1;
        }
        let results = control.results();
        assert!((1..=results.send_calls).contains(&datagrams), "{engine}: {datagrams} of {results:?}");
        assert_eq!(counts(&results), (0, 0, u64::from(results.send_calls) * 1000), "{engine}");
        assert!((0.9..1.1).contains(&results.elapsed_time), "{engine}: {results:?}");
    }
}

#[test]
fn datagrams_are_streamed_nowhere_else_than_to_the_control_peer() {
    let netserver = serve("auto");
    let mut control = Control::open(netserver.address());
    let victim = UdpSocket::bind((OTHER, 0)).expect("all of 127/8 is ours");
    victim.set_read_timeout(Some(UNANSWERED)).expect("a socket takes a timeout");
    let port = victim.local_addr().expect("it is bound").port();
    let elsewhere = request("omni_udp_recv", |request| {
        (request.netperf_port, request.netperf_ip) = (port.into(), words(OTHER));
    });
    control.send(elsewhere.as_bytes());
    assert_eq!(control.frame().errno(), errno::EACCES);
    assert!(victim.recv(&mut [0; 2000]).is_err(), "a third host got datagrams");
    // A client that has gone ends it, which is no failure.
    let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let port = gone.local_addr().expect("it is bound").port();
    drop(gone);
    let response = request("omni_udp_recv", |request| request.netperf_port = port.into());
    control.ask(response.as_bytes());
    assert!(control.results().elapsed_time < LENGTH);
}

/// Ends that a stock netperf reaches with each of its tests of transactions.
#[test]
fn stock_netperf_makes_transactions() {
    let test = "stock_netperf_makes_transactions";
    let Some(netperf) = stock("netperf", test) else { return };
    let v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !v6 {
        skip(test, "ipv6", "no IPv6 loopback");
    }
    for engine in every_engine(test) {
        let netserver = Netserver::start(&["--engine", engine]);
        let port = netserver.port.to_string();
        let tests = [
            (&["-t", "TCP_RR", "-l", "1", "-c", "-C", "--", "-r", "100,2000"][..], "requests answered"),
            // Counted and with more than one under way, it dies of the close with netperf's netserver, too.
            (&["-t", "TCP_RR", "-l", "-200"], "200 in "),
            (&["-t", "TCP_RR", "-l", "1", "--", "-b", "8"], "requests answered"),
            (&["-t", "TCP_RR", "-l", "1", "-i", "3,3", "-I", "99,50"], "requests answered"),
            (&["-t", "TCP_CRR", "-l", "-100", "-C"], "100 in "),
            (&["-t", "TCP_CC", "-l", "-100"], "connections taken"),
            (&["-t", "UDP_RR", "-l", "1", "-C"], "requests answered"),
            (&["-t", "omni", "-l", "1", "--", "-d", "recv", "-T", "udp", "-m", ",1000"], "UDP stream sent"),
        ];
        // The others are the ring's by "auto", too.
        let differs = |options: &[&str]| engine != "uring" || options[1] == "TCP_RR";
        for (options, logged) in tests.into_iter().filter(|(options, _)| differs(options)) {
            for host in [&["-H", "127.0.0.1"][..], &["-H", "::1", "-6"]].into_iter().take(1 + usize::from(v6))
            {
                let words = [host, &["-p", &port], options].concat();
                let out = run(&netperf, &words, Duration::from_secs(60));
                let text = String::from_utf8_lossy(&out.stdout).into_owned();
                let err = String::from_utf8_lossy(&out.stderr).into_owned();
                assert!(out.status.success() && err.is_empty(), "{engine} {words:?}: {text}{err}");
                netserver.await_log(logged);
            }
        }
        assert!(!netserver.log().contains(": 0.00 a second"), "{engine}: {}", netserver.log());
    }
}
