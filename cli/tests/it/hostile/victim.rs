//! Three hosts on one bridge: a netserver, its client, and a third that has asked for nothing. Whatever the
//! client says, and whoever it pretends to be, the third gets no packet; and whoever races the client for its
//! data port gets no byte, and costs it none.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringperf_proto::classic::{RrRequest, RrResponse, RrResults, UdpStreamRequest, UdpStreamResponse};
use ringperf_proto::code::RequestCode;
use ringperf_proto::omni::{FAMILY_V4, OmniRequest, OmniResponse, OmniResults};
use ringperf_proto::{Frame, errno};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};

use super::tell;
use crate::support::{Control, Netserver, await_that, received, request, skip, words};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 2);
/// Another address of the server, as one has whose data has a network of its own.
const SERVER_DATA: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 12);
const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 3);
const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 255);
const MULTICAST: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// Data of the victim's that nobody asked for would be there by then.
const SETTLE: Duration = Duration::from_millis(300);

/// Transactions of a test, and their bytes. The answer is the longer one, as who floods would have it.
const TRANSACTIONS: u32 = 20;
const ASK: usize = 10;
const ANSWER: usize = 1000;

const ENGINES: [&str; 3] = ["auto", "classic", "epoll"];

/// Namespaces on a bridge; gone when dropped.
struct Hosts(String);

impl Hosts {
    /// `None`, after saying why, where namespaces cannot be made.
    fn new(test: &str) -> Option<Self> {
        let hosts = Self(format!("ringperf-{}-{test}", std::process::id()));
        let script = format!(
            "set -e; n={}; ip netns add $n-b; ip -n $n-b link add br0 type bridge; ip -n $n-b link set br0 up
             for host in c:{CLIENT} s:{SERVER} v:{VICTIM}; do
               name=$n-${{host%%:*}}; ip netns add $name
               ip netns exec $name sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6' || true
               ip -n $name link add eth0 type veth peer name port-${{host%%:*}} netns $n-b
               ip -n $name addr add ${{host#*:}}/24 broadcast {BROADCAST} dev eth0
               ip -n $name link set lo up; ip -n $name link set eth0 up
               ip -n $n-b link set port-${{host%%:*}} master br0 up
             done
             ip -n $n-s addr add {SERVER_DATA}/24 dev eth0",
            hosts.0
        );
        let made = Command::new("sh").args(["-c", &script]).output().expect("a shell starts");
        if made.status.success() {
            return Some(hosts);
        }
        skip(test, "netns", String::from_utf8_lossy(&made.stderr).trim());
        None
    }

    fn serve(&self, engine: &str) -> Netserver {
        let namespace = format!("{}-s", self.0);
        Netserver::start_under(&["ip", "netns", "exec", &namespace], &["-4", "--engine", engine])
            .expect("netserver starts there")
    }

    /// Takes this thread to a host, for good.
    fn go_to(&self, host: &str) {
        let place = File::open(format!("/run/netns/{}-{host}", self.0)).expect("ip made it");
        move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may move");
    }

    /// Does something at a host, from where its sockets are.
    fn at<R: Send>(&self, host: &str, work: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.go_to(host);
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in ["c", "s", "v", "b"] {
            let name = format!("{}-{host}", self.0);
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }
}

/// Every IPv4 packet that reaches a host's interface.
struct Wire(Socket);

impl Wire {
    fn tap() -> Self {
        const ETH_P_IP: u16 = 0x0800;
        let socket =
            Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(ETH_P_IP.to_be()))));
        let socket = socket.expect("root may look at packets");
        socket.set_nonblocking(true).expect("a socket can be asked not to wait");
        Self(socket)
    }

    /// Packets since the last look that are meant for this host, or for all: what a bridge floods while it
    /// learns is meant for another.
    fn arrived(&mut self) -> Vec<String> {
        let mut packets = Vec::new();
        let mut packet = [0; 64];
        while let Ok(bytes) = self.0.read(&mut packet) {
            let [.., a, b, c, d] = packet[..20.min(bytes)] else { continue };
            let to = Ipv4Addr::new(a, b, c, d);
            // The kernels' own word on groups is no packet of anybody's.
            let is_igmp = packet[9] == 2;
            if to != CLIENT && to != SERVER && to != SERVER_DATA && !is_igmp {
                packets.push(format!("{bytes} bytes of protocol {} to {to}", packet[9]));
            }
        }
        packets
    }
}

/// A client's side of the attacks, at the client's host.
struct Attacker {
    control: SocketAddr,
    raw: Socket,
    spoofed: u64,
}

impl Attacker {
    fn new(port: u16) -> Self {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).expect("root may spoof");
        raw.set_header_included_v4(true).expect("so may it write headers");
        Self { control: (SERVER, port).into(), raw, spoofed: 0 }
    }

    /// A datagram to the server that seems to come from the victim, as if from the discard port.
    fn spoof(&mut self, to: Ipv4Addr, port: u16, payload: &[u8]) {
        let length = u16::try_from(28 + payload.len()).expect("a small datagram");
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        // Identification, fragments, hops, UDP, and a checksum that the kernel fills in.
        packet.extend([0, 1, 0, 0, 64, 17, 0, 0]);
        packet.extend(VICTIM.octets());
        packet.extend(to.octets());
        packet.extend([0, 9]);
        packet.extend(port.to_be_bytes());
        packet.extend((length - 20).to_be_bytes());
        // Over IPv4 a datagram may do without a checksum.
        packet.extend([0, 0]);
        packet.extend(payload);
        self.raw.send_to(&packet, &SocketAddr::from((to, 0)).into()).expect("it is sent");
        self.spoofed += 1;
    }

    fn ask(&self, name: &str, change: impl FnOnce(&mut OmniRequest)) -> (Control, Frame) {
        let mut control = Control::open(self.control);
        let asked = request(name, |request| {
            request.ipfamily = FAMILY_V4;
            request.netserver_ip = words(Ipv4Addr::UNSPECIFIED.into());
            (request.netperf_ip, request.netperf_port) = (words(VICTIM.into()), 9);
            change(request);
        });
        control.send(asked.as_bytes());
        let answer = control.frame();
        (control, answer)
    }

    fn data_port(answer: &Frame) -> u16 {
        assert_eq!(answer.errno(), 0);
        u16::try_from(OmniResponse::decode(answer).data_port).expect("a port")
    }

    /// Datagrams without being asked: to the victim, to everybody, to a group, and to services of the
    /// client's own address, which behind NAT is others' too.
    fn name_others(&self) {
        for other in [VICTIM, BROADCAST, MULTICAST, Ipv4Addr::BROADCAST, SERVER] {
            let (_, answer) = self.ask("omni_udp_recv", |request| request.netperf_ip = words(other.into()));
            assert_eq!(answer.errno(), errno::EACCES, "{other}");
        }
        for port in [1, 53, 1023] {
            let (_, answer) = self.ask("omni_udp_recv", |request| {
                (request.netperf_ip, request.netperf_port) = (words(CLIENT.into()), port);
            });
            assert_eq!(answer.errno(), errno::EACCES, "port {port} of the client itself");
        }
    }

    /// Datagrams to the client itself, which is what they are for.
    fn name_oneself(&self) {
        let socket = UdpSocket::bind((CLIENT, 0)).expect("it is ours");
        let port = socket.local_addr().expect("it is bound").port();
        for named in [Ipv4Addr::UNSPECIFIED, CLIENT] {
            let (_, answer) = self.ask("omni_udp_recv", |request| {
                (request.netperf_ip, request.netperf_port) = (words(named.into()), port.into());
            });
            assert_eq!(answer.errno(), 0, "{named}");
            socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes a timeout");
            let (_, from) = socket.recv_from(&mut [0; 2000]).expect("datagrams come");
            assert_eq!(from.ip(), IpAddr::from(SERVER));
        }
    }

    /// A stream for which the victim is named as the other end, and as the address to bind.
    fn name_stream_end(&self) {
        let (mut control, answer) = self.ask("tcp_maerts_bytes", |request| {
            request.netserver_ip = words(VICTIM.into());
        });
        let mut data = TcpStream::connect((SERVER, Self::data_port(&answer))).expect("it fell back");
        let got = std::io::copy(&mut data, &mut std::io::sink()).expect("the stream ends in order");
        assert!(got > 0 && control.results().bytes_sent_lo > 0);
    }

    /// Transactions for which the victim is named as the other end, and as the address to bind, over one
    /// connection and over one each.
    fn name_transaction_end(&self) {
        for (name, each) in [("tcp_rr", false), ("tcp_crr", true)] {
            let (mut control, answer) = self.ask(name, |request| {
                (request.request_size, request.response_size) = (ASK as i32, ANSWER as i32);
                request.test_length = -(TRANSACTIONS as i32);
                request.netserver_ip = words(VICTIM.into());
            });
            let port = Self::data_port(&answer);
            let connect = || TcpStream::connect((SERVER, port)).expect("it fell back");
            let mut data = connect();
            for number in 0..TRANSACTIONS {
                if each && number > 0 {
                    data = connect();
                }
                data.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes a timeout");
                data.write_all(&[b'c'; ASK]).expect("it is taken");
                data.read_exact(&mut [0; ANSWER]).expect("an answer comes");
            }
            assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0, "{name}");
            assert_eq!(control.results().trans_received, TRANSACTIONS, "{name}");
        }
    }

    /// Answers to the victim's requests, before, between and behind the client's own. Where data has a
    /// network of its own nobody is known by address, and still only the client is answered.
    fn pretend_in_omni(&mut self) {
        for at in [SERVER, SERVER_DATA] {
            let (mut control, answer) = self.ask("udp_rr", |request| {
                (request.request_size, request.response_size) = (ASK as i32, ANSWER as i32);
                request.test_length = 10;
                request.netserver_ip = words(if at == SERVER { Ipv4Addr::UNSPECIFIED } else { at }.into());
            });
            let port = Self::data_port(&answer);
            self.converse(at, port, true);
            let results: OmniResults = control.results();
            // What is queued behind the first of ours before the netserver knows whose it is counts, too.
            assert!(results.trans_received >= TRANSACTIONS, "{at}");
        }
    }

    fn pretend_in_classic(&mut self) {
        let mut control = Control::open(self.control);
        let mut frame = Frame::request(RequestCode::UdpRr, -1);
        let (request_size, response_size, test_length) = (ASK as i32, ANSWER as i32, -(TRANSACTIONS as i32));
        let (recv_buf_size, send_buf_size, ipfamily) = (-1, -1, 4);
        let sizes = RrRequest { request_size, response_size, recv_buf_size, ..RrRequest::default() };
        RrRequest { test_length, send_buf_size, ipfamily, ..sizes }.encode(&mut frame);
        control.send(frame.as_bytes());
        let answer = control.frame();
        assert_eq!(answer.errno(), 0);
        let port = u16::try_from(RrResponse::decode(&answer).data_port_number).expect("a port");
        self.converse(SERVER, port, false);
        let results = control.frame();
        assert_eq!((results.errno(), RrResults::decode(&results).trans_received), (0, TRANSACTIONS));
    }

    /// Transactions of ours with spoofed requests around them; `at_once` also right behind the first.
    fn converse(&mut self, at: Ipv4Addr, port: u16, at_once: bool) {
        let socket = UdpSocket::bind((CLIENT, 0)).expect("it is ours");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes a timeout");
        (0..5).for_each(|_| self.spoof(at, port, &[b'v'; ASK]));
        for number in 0..TRANSACTIONS {
            socket.send_to(&[b'c'; ASK], (at, port)).expect("it is sent");
            // A counted test ends with the last of ours, and its port is closed by then: what came too late
            // would be answered by ICMP.
            if (number > 0 || at_once) && number + 1 < TRANSACTIONS {
                (0..3).for_each(|_| self.spoof(at, port, &[b'v'; ASK]));
            }
            let (bytes, _) = socket.recv_from(&mut [0; 2 * ANSWER]).expect("an answer comes");
            assert_eq!(bytes, ANSWER);
        }
        // The port closes at the first of them; a spoofed one after it would be answered by ICMP.
        let _ = socket.send_to(&[], (at, port));
    }

    /// Streams of datagrams for which the victim is the declared source, or the only one.
    fn pretend_in_streams(&mut self) {
        let (mut control, answer) = self.ask("udp_stream_m3100", |request| request.test_length = 10);
        let port = Self::data_port(&answer);
        (0..20).for_each(|_| self.spoof(SERVER, port, &[b'v'; 500]));
        self.spoof(SERVER, port, &[]);
        assert_eq!(control.frame().errno(), 0);
        let mut frame = Frame::request(RequestCode::UdpStream, -1);
        let (message_size, recv_buf_size) = (500, -1);
        let sizes = UdpStreamRequest { message_size, recv_buf_size, ..UdpStreamRequest::default() };
        UdpStreamRequest { test_length: 10, ipfamily: 4, ..sizes }.encode(&mut frame);
        control.send(frame.as_bytes());
        let answer = control.frame();
        assert_eq!(answer.errno(), 0);
        let port = u16::try_from(UdpStreamResponse::decode(&answer).data_port_number).expect("a port");
        (0..20).for_each(|_| self.spoof(SERVER, port, &[b'v'; 500]));
        let socket = UdpSocket::bind((CLIENT, 0)).expect("it is ours");
        socket.send_to(&[b'c'; 500], (SERVER, port)).expect("it is sent");
        (0..20).for_each(|_| self.spoof(SERVER, port, &[b'v'; 500]));
        socket.send_to(&[b'c'; 1], (SERVER, port)).expect("it is sent");
        assert_eq!(control.frame().errno(), 0);
    }
}

/// All that is tried; how many datagrams were spoofed.
fn attack(netserver: &Netserver) -> u64 {
    let mut attacker = Attacker::new(netserver.port);
    attacker.name_others();
    attacker.name_oneself();
    attacker.name_stream_end();
    attacker.name_transaction_end();
    attacker.pretend_in_omni();
    attacker.pretend_in_classic();
    attacker.pretend_in_streams();
    attacker.spoofed
}

#[test]
fn a_third_host_gets_no_packet_whatever_a_client_says() {
    let Some(hosts) = Hosts::new("victim") else { return };
    let mut wire = hosts.at("v", Wire::tap);
    std::thread::scope(|scope| {
        for engine in ENGINES {
            let hosts = &hosts;
            scope.spawn(move || {
                let netserver = hosts.serve(engine);
                let spoofed = hosts.at("c", || attack(&netserver));
                let (log, turned_away) = (netserver.log(), strangers(&netserver.log()));
                tell(&format!(
                    "engine {engine}: {spoofed} spoofed datagrams, {turned_away} of them turned away by the \
                     netserver itself"
                ));
                assert!(turned_away > 0, "none has arrived: {log}");
            });
        }
    });
    std::thread::sleep(SETTLE);
    let arrived = wire.arrived();
    tell(&format!("{} packets at the third host", arrived.len()));
    assert!(arrived.is_empty(), "{arrived:?}");
    // What would have arrived would have been seen.
    hosts.at("c", || {
        let socket = UdpSocket::bind((CLIENT, 0)).expect("it is ours");
        socket.send_to(&[1], (VICTIM, 9)).expect("it is sent");
    });
    std::thread::sleep(SETTLE);
    assert_eq!(wire.arrived().len(), 1);
}

/// Strangers that the lines of tests tell of.
fn strangers(log: &str) -> u64 {
    let numbers = log.split("strangers=").skip(1).filter_map(|rest| rest.split_whitespace().next());
    numbers.filter_map(|number| number.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().ok()).sum()
}

/// Connections of a stranger's to a data port, each of which has to be closed without a byte; how many there
/// were.
fn race(ports: &mpsc::Receiver<u16>) -> u64 {
    let mut made = 0;
    for port in ports {
        for _ in 0..12 {
            let address = SocketAddr::from((SERVER, port));
            let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else { break };
            made += 1;
            let _ = stream.write_all(b"stranger");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes a timeout");
            match stream.read(&mut [0; 1]) {
                Ok(0) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                got => panic!("a stranger was not sent away: {got:?}"),
            }
        }
    }
    made
}

/// One test of the client's with a stranger at its port from before it connects.
fn race_for(control: &mut Control, name: &str, ports: &[mpsc::Sender<u16>]) {
    let asked = request(name, |request| {
        request.ipfamily = FAMILY_V4;
        request.netserver_ip = words(Ipv4Addr::UNSPECIFIED.into());
        (request.request_size, request.response_size) = (10, 20);
        request.test_length = if name == "two_tests_one_connection" { 10 } else { -5 };
    });
    let response = control.ask(asked.as_bytes());
    let port = u16::try_from(response.data_port).expect("a port");
    ports.iter().for_each(|ports| ports.send(port).expect("the stranger is there"));
    std::thread::sleep(Duration::from_millis(5));
    let connect = || {
        let stream = TcpStream::connect((SERVER, port)).expect("the data port is open");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes a timeout");
        stream
    };
    let mut data = connect();
    match name {
        "two_tests_one_connection" => {
            data.write_all(&[b'c'; 1000]).expect("it is taken");
            data.shutdown(Shutdown::Write).expect("the connection is there");
            assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0);
            assert_eq!(received(&control.results()), 1000);
        }
        "tcp_maerts_bytes" => {
            assert!(std::io::copy(&mut data, &mut std::io::sink()).expect("an orderly end") > 0);
            drop(data);
            assert!(control.results().bytes_sent_lo > 0);
        }
        _ => {
            for number in 0..5 {
                if name == "tcp_crr" && number > 0 {
                    data = connect();
                }
                data.write_all(&[b'c'; 10]).expect("it is taken");
                data.read_exact(&mut [0; 20]).expect("an answer comes");
            }
            assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0);
            assert_eq!(control.results().trans_received, 5);
        }
    }
}

#[test]
fn strangers_at_a_data_port_get_nothing_and_cost_nothing() {
    const TRIES: u64 = 1000;
    const TIME: Duration = Duration::from_secs(10);
    const STRANGERS: usize = 3;
    let Some(hosts) = Hosts::new("race") else { return };
    let netserver = hosts.serve("auto");
    let (ports, told): (Vec<_>, Vec<_>) = (0..STRANGERS).map(|_| mpsc::channel()).unzip();
    let begun = Instant::now();
    let (made, tests) = std::thread::scope(|scope| {
        let hosts = &hosts;
        let strangers_at = |told| scope.spawn(move || hosts.at("v", move || race(&told)));
        let racing: Vec<_> = told.into_iter().map(strangers_at).collect();
        let client = scope.spawn(|| {
            hosts.at("c", || {
                let mut control = Control::open((SERVER, netserver.port).into());
                let mut tests = 0_u32;
                while begun.elapsed() < TIME && strangers(&netserver.log()) < TRIES {
                    for name in ["two_tests_one_connection", "tcp_rr", "tcp_maerts_bytes", "tcp_crr"] {
                        race_for(&mut control, name, &ports);
                        tests += 1;
                    }
                }
                drop(ports);
                tests
            })
        });
        let tests = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let made = racing.into_iter().map(|one| one.join().expect("no stranger gets a byte"));
        (made.sum::<u64>(), tests)
    });
    await_that("the last line", || netserver.log().matches("peer=").count() >= tests as usize);
    let counted = strangers(&netserver.log());
    tell(&format!(
        "{tests} tests beside {made} connections of strangers, {counted} of them counted before the client's \
         was there; {:.1} s",
        begun.elapsed().as_secs_f32()
    ));
    assert!(counted > 100, "{}", netserver.log());
}
