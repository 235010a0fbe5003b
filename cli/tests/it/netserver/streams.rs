//! The streams that netserver serves, in both directions, over UDP, and asked for by either family of
//! messages: what is counted, how each ends, and whose data is taken.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ringperf_proto::Frame;
use ringperf_proto::classic::{
    TcpMaertsResponse, TcpMaertsResults, TcpStreamResponse, TcpStreamResults, UdpStreamRequest,
    UdpStreamResponse, UdpStreamResults,
};
use ringperf_proto::code::RequestCode;
use ringperf_proto::omni::{FAMILY_V4, FAMILY_V6, OmniResponse, OmniResults};

use super::{ENGINES, SOON, throughput};
use crate::support::{
    Control, Netserver, await_that, connect_data, golden, received, request, reset, run, signal, skip, stock,
    words,
};

/// A loopback address that is neither the client's nor the server's.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn serve(engine: &str) -> Netserver {
    Netserver::start(&["-L", "127.0.0.1", "--engine", engine])
}

/// A data connection from this address.
fn connect_from(local: IpAddr, response: &OmniResponse) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(local, 0).into()).expect("all of 127/8 is ours");
    let port = u16::try_from(response.data_port).expect("a port");
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("the data port is open");
    socket.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
    socket.into()
}

/// A UDP socket on this address that sends to the data port.
fn datagrams_from(local: IpAddr, port: u32) -> UdpSocket {
    let socket = UdpSocket::bind((local, 0)).expect("all of 127/8 is ours");
    let port = u16::try_from(port).expect("a port");
    socket.connect((Ipv4Addr::LOCALHOST, port)).expect("loopback is reachable");
    socket
}

pub(super) fn read_to_the_end(data: &mut TcpStream) -> u64 {
    std::io::copy(data, &mut std::io::sink()).expect("the stream ends in order")
}

fn sent(results: &OmniResults) -> u64 {
    u64::from(results.bytes_sent_hi) << 32 | u64::from(results.bytes_sent_lo)
}

#[test]
fn a_sent_stream_ends_by_its_own_timer_and_counts_whole_messages() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let asked = request("tcp_maerts", |request| request.send_size = 5000);
        let response = control.ask(asked.as_bytes());
        assert_eq!((response.send_size, response.receive_size), (5000, -1), "{response:?}");
        let mut data = connect_data(&response);
        let got = read_to_the_end(&mut data);
        drop(data);
        let results = control.results();
        let told = sent(&results);
        assert_eq!(told, 5000 * u64::from(results.send_calls), "{engine}");
        assert!(told > 0 && told <= got && got < told + 5000, "{engine}: {told} told, {got} received");
        assert!((0.9..=1.0).contains(&results.elapsed_time), "{engine}: {}", results.elapsed_time);
        assert_eq!(received(&results), 0, "{engine}");
        netserver.await_log("TCP stream sent: ");
    }
}

#[test]
fn a_sent_stream_of_bytes_has_whole_messages_and_no_more() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let asked = request("tcp_maerts_bytes", |request| request.response_size = 3000);
        let response = control.ask(asked.as_bytes());
        let got = read_to_the_end(&mut connect_data(&response));
        let results = control.results();
        // A million, rounded up to messages of the response size.
        assert_eq!((got, sent(&results), results.send_calls), (1_002_000, 1_002_000, 334), "{engine}");
    }
}

#[test]
fn a_sent_stream_goes_out_in_the_bursts_asked_for() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let paced = request("tcp_maerts", |request| {
            (request.send_size, request.interval_burst, request.interval_usecs) = (1000, 2, 50_000);
        });
        let response = control.ask(paced.as_bytes());
        assert_eq!((response.interval_burst, response.interval_usecs), (2, 50_000), "{engine}");
        let got = read_to_the_end(&mut connect_data(&response));
        let results = control.results();
        assert_eq!((sent(&results), got % 2000), (got, 0), "{engine}");
        // Twenty bursts a second, and one at its beginning; on a busy machine some come late, none early.
        assert!((10_000..=42_000).contains(&got), "{engine}: {got}");
    }
}

#[test]
fn a_reader_that_leaves_ends_a_sent_stream_at_once() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let asked = request("tcp_maerts", |request| request.test_length = 30);
        let begun = Instant::now();
        let mut data = connect_data(&control.ask(asked.as_bytes()));
        data.read_exact(&mut [0; 100_000]).expect("data comes");
        // What a client of netperf does whose own timer is first; it keeps the socket open and unread.
        data.shutdown(Shutdown::Write).expect("the connection is there");
        let results = control.results();
        assert!(begun.elapsed() < Duration::from_secs(5), "{engine}: {:?}", begun.elapsed());
        assert!(sent(&results) > 0 && results.elapsed_time < 5.0, "{engine}: {results:?}");
    }
}

#[test]
fn a_reader_that_never_reads_holds_up_nobody() {
    let mut netserver = serve("auto");
    let begin = |netserver: &Netserver| {
        let mut control = Control::open(netserver.address());
        let asked = request("tcp_maerts", |request| request.test_length = 0);
        let data = connect_data(&control.ask(asked.as_bytes()));
        // Until the socket buffers are full.
        std::thread::sleep(Duration::from_millis(500));
        (control, data)
    };
    let (control, data) = begin(&netserver);
    reset(control.0);
    // Stopped, it waits for the client to end its side, which is no defect and does not stop others.
    std::thread::sleep(Duration::from_secs(4));
    let mut other = Control::open(netserver.address());
    let response = other.ask(request("tcp_maerts_bytes", |_| ()).as_bytes());
    assert!(read_to_the_end(&mut connect_data(&response)) > 0 && sent(&other.results()) > 0);
    drop(data);
    await_that("both tests' lines", || netserver.log().matches("TCP stream sent: ").count() == 2);
    let (_control, _data) = begin(&netserver);
    let begun = Instant::now();
    signal(netserver.id(), "TERM");
    assert_eq!(netserver.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!netserver.log().contains("BUG"), "{}", netserver.log());
}

#[test]
fn a_sent_stream_goes_to_the_control_peer_alone() {
    let netserver = serve("auto");
    let mut control = Control::open(netserver.address());
    let asked = request("tcp_maerts", |request| {
        request.netperf_ip = words(OTHER);
        request.netserver_ip = words(Ipv4Addr::LOCALHOST.into());
    });
    let response = control.ask(asked.as_bytes());
    let mut stranger = connect_from(OTHER, &response);
    assert!(matches!(stranger.read(&mut [0; 1]), Ok(0) | Err(_)), "a stranger got data");
    assert!(read_to_the_end(&mut connect_data(&response)) > 0);
    assert!(sent(&control.results()) > 0);
    netserver.await_log("strangers=1");
}

#[test]
fn a_sent_stream_goes_to_the_control_peer_alone_over_either_version_of_ip() {
    let test = "a_sent_stream_goes_to_the_control_peer_alone_over_either_version_of_ip";
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skip(test, "ipv6", "no IPv6 loopback");
    }
    let netserver = Netserver::start(&[]);
    let at = |ip: IpAddr| SocketAddr::new(ip, netserver.port);
    // The control connection is one of IPv4 that an IPv6 socket took, or one of IPv6; data of the other
    // version comes from another address, though from the same host.
    for (control, family, stranger, known) in [
        ("127.0.0.1", FAMILY_V6, Some("::1"), None),
        ("127.0.0.1", FAMILY_V4, Some("127.0.0.2"), Some("127.0.0.1")),
        ("::1", FAMILY_V4, Some("127.0.0.1"), None),
        ("::1", FAMILY_V6, None, Some("::1")),
    ] {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut connection = Control::open(at(ip(control)));
        let asked = request("tcp_maerts", |request| {
            request.ipfamily = family;
            request.netserver_ip = words(Ipv4Addr::UNSPECIFIED.into());
        });
        let response = connection.ask(asked.as_bytes());
        let got = |from: &str| {
            let domain = socket2::Domain::for_address((ip(from), 0).into());
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
            socket.bind(&SocketAddr::new(ip(from), 0).into()).expect("it is ours");
            let to = if ip(from).is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { ip("::1") };
            let port = u16::try_from(response.data_port).expect("a port");
            socket.connect(&SocketAddr::new(to, port).into()).expect("the data port is open");
            socket.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
            let mut data = TcpStream::from(socket);
            std::io::copy(&mut data, &mut std::io::sink()).unwrap_or(0)
        };
        if let Some(stranger) = stranger {
            assert_eq!(got(stranger), 0, "{stranger} got what {control} asked for");
        }
        let known = known.map_or(0, got);
        assert_eq!(sent(&connection.results()) > 0, known > 0, "{control}");
    }
    netserver.await_log("nobody came for the data");
}

/// A traffic class has eight bits: over IPv6 the kernel refuses more. Over either version it keeps the ECN
/// bits of TCP to itself.
#[test]
fn the_type_of_service_told_is_the_one_in_force() {
    let test = "the_type_of_service_told_is_the_one_in_force";
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skip(test, "ipv6", "no IPv6 loopback");
    }
    let netserver = Netserver::start(&[]);
    let (v4, v6) = (FAMILY_V4, FAMILY_V6);
    for (ipfamily, asked, told) in [(v6, 0x1fc, -2), (v6, 0xfe, 0xfc), (v4, 0xfe, 0xfc), (v4, -1, -1)] {
        let asked = request("tcp_stream_default", |request| {
            (request.ipfamily, request.socket_tos) = (ipfamily, asked);
            request.netserver_ip = words(Ipv4Addr::UNSPECIFIED.into());
        });
        let response = Control::open(netserver.address()).ask(asked.as_bytes());
        assert_eq!(response.socket_tos, told);
    }
}

#[test]
fn sizes_left_open_are_the_socket_buffers() {
    let netserver = serve("auto");
    for (name, asked) in [("tcp_stream_default", -1), ("tcp_stream_default", 20_000), ("udp_stream_m3100", 0)]
    {
        let mut control = Control::open(netserver.address());
        let frame = request(name, |request| request.recv_buf_size = asked);
        let response = control.ask(frame.as_bytes());
        assert!(response.recv_buf_size > 0, "{response:?}");
        assert_eq!(response.receive_size, response.recv_buf_size, "{name} {asked}");
    }
    let mut control = Control::open(netserver.address());
    let response = control.ask(request("tcp_maerts", |_| ()).as_bytes());
    assert_eq!(response.send_size, response.send_buf_size, "{response:?}");
}

#[test]
fn data_is_taken_from_the_address_that_the_client_declares() {
    let netserver = serve("auto");
    let mut control = Control::open(netserver.address());
    let asked = request("two_tests_one_connection", |request| request.netperf_ip = words(OTHER));
    let response = control.ask(asked.as_bytes());
    let mut stranger = connect_from([127, 0, 0, 3].into(), &response);
    assert!(matches!(stranger.read(&mut [0; 1]), Ok(0) | Err(_)), "a stranger was not turned away");
    let mut data = connect_from(OTHER, &response);
    data.write_all(&[b'x'; 500]).expect("it is taken");
    data.shutdown(Shutdown::Write).expect("the connection is there");
    assert_eq!(received(&control.results()), 500);
}

#[test]
fn data_on_a_network_of_its_own_is_taken_from_anybody() {
    for engine in ENGINES {
        let netserver = Netserver::start(&["-4", "--engine", engine]);
        for (named, stranger_is_taken) in [(OTHER, true), (Ipv4Addr::LOCALHOST.into(), false)] {
            let mut control = Control::open(netserver.address());
            let asked = request("two_tests_one_connection", |request| request.netserver_ip = words(named));
            let response = control.ask(asked.as_bytes());
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.expect("a socket");
            socket.bind(&SocketAddr::from(([127, 0, 0, 3], 0)).into()).expect("all of 127/8 is ours");
            let port = u16::try_from(response.data_port).expect("a port");
            socket.connect(&SocketAddr::new(named, port).into()).expect("it is bound where it was asked to");
            let mut data = TcpStream::from(socket);
            data.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
            // One that is turned away may be closed before or after this.
            let _ = data.write_all(&[b'x'; 500]);
            let _ = data.shutdown(Shutdown::Write);
            let _ = data.read(&mut [0; 1]);
            if !stranger_is_taken {
                let mut known = TcpStream::connect(SocketAddr::new(named, port)).expect("it still listens");
                known.write_all(&[b'x'; 7]).expect("it is taken");
                known.shutdown(Shutdown::Write).expect("the connection is there");
                assert_eq!(received(&control.results()), 7, "{engine}");
            } else {
                assert_eq!(received(&control.results()), 500, "{engine}");
            }
        }
    }
}

#[test]
fn datagrams_are_counted_until_an_empty_one() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let asked = request("udp_stream_m3100", |request| {
            request.receive_size = 1000;
            request.test_length = 10;
        });
        let begun = Instant::now();
        let response = control.ask(asked.as_bytes());
        assert_eq!(response.receive_size, 1000, "{response:?}");
        let socket = datagrams_from(Ipv4Addr::LOCALHOST.into(), response.data_port);
        // Short ones count as they are, longer ones as far as they fit.
        for bytes in [1000, 1, 3000, 400] {
            socket.send(&vec![b'x'; bytes]).expect("it is taken");
        }
        for _ in 0..3 {
            // After the first one the port may be closed.
            let _ = socket.send(&[]);
        }
        let results = control.results();
        assert_eq!((received(&results), results.recv_calls), (2401, 4), "{engine}");
        assert_eq!(results.transport_retrans, -1, "{engine}");
        assert!(begun.elapsed() < Duration::from_secs(5) && results.elapsed_time < 5.0, "{engine}");
        netserver.await_log("UDP stream received: ");
        netserver.await_log("2401 bytes in 4 datagrams");
    }
}

#[test]
fn datagrams_without_an_end_are_timed_out_and_the_grace_is_not_counted() {
    // Waits five seconds for each: all at once.
    std::thread::scope(|scope| {
        for engine in ENGINES {
            for datagrams in [0, 2] {
                scope.spawn(move || {
                    let netserver = serve(engine);
                    let mut control = Control::open(netserver.address());
                    let begun = Instant::now();
                    let response = control.ask(request("udp_stream_m3100", |_| ()).as_bytes());
                    let socket = datagrams_from(Ipv4Addr::LOCALHOST.into(), response.data_port);
                    for _ in 0..datagrams {
                        socket.send(&[b'x'; 100]).expect("it is taken");
                    }
                    let results = control.results();
                    let took = begun.elapsed().as_secs_f32();
                    assert!((4.5..15.0).contains(&took), "{engine}: {took}");
                    assert_eq!(received(&results), 100 * datagrams, "{engine}");
                    assert!((0.9..4.0).contains(&results.elapsed_time), "{engine}: {results:?}");
                });
            }
        }
    });
}

#[test]
fn datagrams_of_a_stranger_are_not_counted() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let response = control.ask(request("udp_stream_m3100", |_| ()).as_bytes());
        let stranger = datagrams_from(OTHER, response.data_port);
        stranger.send(&[b'x'; 100]).expect("loopback takes it");
        stranger.send(&[]).expect("loopback takes it");
        let socket = datagrams_from(Ipv4Addr::LOCALHOST.into(), response.data_port);
        socket.send(&[b'x'; 30]).expect("it is taken");
        socket.send(&[]).expect("it is taken");
        let results = control.results();
        assert_eq!((received(&results), results.recv_calls), (30, 1), "{engine}");
    }
}

/// A netserver whose sockets share a port has the kernel give all datagrams to the session that came last.
#[test]
fn a_second_session_does_not_get_the_datagrams_of_the_first_by_naming_its_port() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let port = free_datagram_port();
        let asked = |port: u16| {
            let asked = request("udp_stream_m3100", |request| {
                (request.data_port, request.test_length) = (port.into(), 10);
            });
            let mut control = Control::open(netserver.address());
            let response = control.ask(asked.as_bytes());
            (control, response.data_port)
        };
        let sessions = [asked(port), asked(port)];
        let [(_, first), (_, second)] = &sessions;
        assert_eq!(*first, u32::from(port), "{engine}");
        assert_ne!(*second, *first, "{engine}");
        let sockets = [*first, *second].map(|port| datagrams_from(Ipv4Addr::LOCALHOST.into(), port));
        for (bytes, socket) in [70, 90].into_iter().zip(&sockets) {
            socket.send(&vec![b'x'; bytes]).expect("it is taken");
            socket.send(&[]).expect("it is taken");
        }
        for (bytes, (mut control, _)) in [70, 90].into_iter().zip(sessions) {
            assert_eq!(received(&control.results()), bytes, "{engine}");
        }
    }
}

/// Through a firewall, for which the port is named, another one is none.
#[test]
fn a_named_port_is_to_be_had_in_each_test_anew() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let port = free_datagram_port();
        for number in 0..20 {
            let asked = request("udp_stream_m3100", |request| request.data_port = port.into());
            let mut control = Control::open(netserver.address());
            let response = control.ask(asked.as_bytes());
            assert_eq!(response.data_port, u32::from(port), "{engine}, test {number}");
            let socket = datagrams_from(Ipv4Addr::LOCALHOST.into(), response.data_port);
            socket.send(&[b'x'; 10]).expect("it is taken");
            socket.send(&[]).expect("it is taken");
            assert_eq!(received(&control.results()), 10, "{engine}, test {number}");
        }
    }
}

fn free_datagram_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("there are free ports");
    socket.local_addr().expect("it is bound").port()
}

#[test]
fn a_classic_stream_is_received() {
    let netserver = serve("auto");
    let mut control = Control::open(netserver.address());
    control.send(&golden("tcp_sendfile")[0]);
    let response = TcpStreamResponse::decode(&control.frame());
    let port = u16::try_from(response.data_port_number).expect("a port");
    assert_eq!(response.receive_size, response.recv_buf_size, "{response:?}");
    let mut data = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the data port is open");
    data.write_all(&[b'x'; 1234]).expect("it is taken");
    data.shutdown(Shutdown::Write).expect("the connection is there");
    assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0);
    let frame = control.frame();
    assert_eq!(frame.errno(), 0);
    let results = TcpStreamResults::decode(&frame);
    assert_eq!(results.bytes_received, 1234.0);
}

#[test]
fn a_classic_stream_is_sent_until_the_timer_and_the_clients_close() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        control.send(&golden("classic656_tcp_maerts")[0]);
        let response = TcpMaertsResponse::decode(&control.frame());
        let port = u16::try_from(response.data_port_number).expect("a port");
        let mut data = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the data port is open");
        let got = read_to_the_end(&mut data);
        drop(data);
        let frame = control.frame();
        assert_eq!(frame.errno(), 0, "{engine}");
        let results = TcpMaertsResults::decode(&frame);
        let whole = f64::from(results.send_calls) * f64::from(response.send_size);
        assert_eq!(results.bytes_sent, whole, "{engine}");
        assert!(whole > 0.0 && whole <= got as f64, "{engine}: {results:?}, {got} received");
    }
}

#[test]
fn classic_datagrams_are_counted_until_one_of_another_size() {
    for engine in ENGINES {
        let netserver = serve(engine);
        let mut control = Control::open(netserver.address());
        let mut frame = Frame::request(RequestCode::UdpStream, -1);
        UdpStreamRequest {
            recv_buf_size: -1,
            message_size: 64,
            recv_connected: 0,
            recv_alignment: 8,
            recv_offset: 0,
            checksum_off: 0,
            measure_cpu: 0,
            cpu_rate: 0.0,
            test_length: 10,
            so_rcvavoid: 0,
            so_sndavoid: 0,
            port: 0,
            ipfamily: 4,
        }
        .encode(&mut frame);
        control.send(frame.as_bytes());
        let response = control.frame();
        assert_eq!(response.errno(), 0, "{engine}");
        let port = u32::try_from(UdpStreamResponse::decode(&response).data_port_number).expect("a port");
        let socket = datagrams_from(Ipv4Addr::LOCALHOST.into(), port);
        // A longer one is cut to the size of a message by the receive, with netperf's netserver, too.
        for bytes in [64, 64, 65, 63] {
            socket.send(&vec![b'x'; bytes]).expect("it is taken");
        }
        let results = UdpStreamResults::decode(&control.frame());
        assert_eq!(results.messages_recvd, 3, "{engine}: {results:?}");
        assert!(results.elapsed_time < 5.0, "{engine}: {results:?}");
    }
}

#[test]
fn stock_netperf_in_every_direction() {
    let test = "stock_netperf_in_every_direction";
    let Some(netperf) = stock("netperf", test) else { return };
    for engine in ENGINES {
        let netserver = serve(engine);
        let port = netserver.port.to_string();
        let tests = [
            ("TCP_MAERTS", &[][..]),
            ("TCP_MAERTS", &["-c", "-C"]),
            ("TCP_MAERTS", &["-l", "-20000000"]),
            ("TCP_MAERTS", &["-l", "1", "--", "-M", "100000", "-S", "1100"]),
            ("UDP_STREAM", &["-c", "-C"]),
            ("UDP_STREAM", &["-l", "1", "--", "-m", "3100", "-r", "150"]),
            ("UDP_STREAM", &["-l", "1", "--", "-m", "65507", "-R", "1"]),
        ];
        for (before, (name, options)) in tests.into_iter().enumerate() {
            let words =
                [&["-H", "127.0.0.1", "-p", &port, "-t", name, "-l", "1", "-v", "1"], options].concat();
            let out = run(&netperf, &words, Duration::from_secs(60));
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(
                out.status.success(),
                "{engine} {words:?}: {text}{}",
                String::from_utf8_lossy(&out.stderr)
            );
            let numbers = last_numbers(&text);
            assert!(numbers.len() >= 4 && numbers.iter().all(|number| *number > 0.0), "{words:?}: {text}");
            let lines = before + 1;
            await_that("a line for each test", || netserver.log().matches(" Mbit/s, ").count() == lines);
        }
    }
}

/// The last line that is all numbers: of UDP the receiver's row.
fn last_numbers(text: &str) -> Vec<f64> {
    let numbers = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>().ok();
    text.lines().rev().filter_map(numbers).find(|numbers| !numbers.is_empty()).unwrap_or_default()
}

#[test]
fn stock_netperf_sends_a_file_by_the_classic_messages() {
    let test = "stock_netperf_sends_a_file_by_the_classic_messages";
    let Some(netperf) = stock("netperf", test) else { return };
    let netserver = serve("auto");
    let port = netserver.port.to_string();
    let file = std::env::temp_dir().join(format!("ringperf-it-sendfile-{}", std::process::id()));
    std::fs::write(&file, vec![b'x'; 1 << 20]).expect("the temporary folder is writable");
    let path = file.to_str().expect("its name is text");
    let words = ["-H", "127.0.0.1", "-p", &port, "-t", "TCP_SENDFILE", "-l", "1", "-F", path];
    let found = throughput(&netperf, &words);
    std::fs::remove_file(&file).expect("it was just written");
    assert!(found > 0.0, "{found}");
}

#[test]
fn stock_netperf_in_every_direction_over_ipv6() {
    let test = "stock_netperf_in_every_direction_over_ipv6";
    let Some(netperf) = stock("netperf", test) else { return };
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skip(test, "ipv6", "no IPv6 loopback");
    }
    let netserver = Netserver::start(&[]);
    let port = netserver.port.to_string();
    for name in ["TCP_MAERTS", "UDP_STREAM"] {
        let words = ["-H", "::1", "-6", "-p", &port, "-t", name, "-l", "1"];
        let out = run(&netperf, &words, Duration::from_secs(60));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let numbers = last_numbers(&text);
        assert!(out.status.success() && numbers.iter().all(|number| *number > 0.0), "{words:?}: {text}");
        assert!(numbers.len() >= 4, "{text}");
    }
}
