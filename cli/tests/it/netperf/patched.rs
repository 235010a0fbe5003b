//! Our netperf against netservers as unikernels have them: netperf 2.6.0 with its timers taken out, or
//! with an end to every test in which nothing moves for a second. They are scripted here; what is held is
//! that each test ends by what our end does, soon, and with figures.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use ringperf_proto::classic::{RrResponse, RrResults};
use ringperf_proto::code::RequestCode;
use ringperf_proto::layout::Text;
use ringperf_proto::omni::{OmniRequest, OmniResponse, OmniResults260, PROTOCOL_UDP, direction, flag};
use ringperf_proto::{FRAME_BYTES, Frame};

use socket2::SockRef;

use crate::support::{RINGPERF, run};

/// Of every test.
const LENGTH: Duration = Duration::from_secs(1);

/// What a test may take on top: the client reads on for 4 s for a netserver that goes on sending.
const ON_TOP: Duration = Duration::from_secs(9);

/// How long netperf waits for results, once the time is over by which a netserver with timers has them.
const GIVES_UP: Duration = Duration::from_secs(120);

/// How a scripted netserver ends a test by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// Never: it waits for the client for ever.
    Never,
    /// After so long in which nothing moved, or however long it lasted if that is what it takes. Connections
    /// that come and go end it by their absence alone.
    After(Duration),
}

/// What it moved.
#[derive(Default)]
struct Moved {
    received: u64,
    receives: u32,
    sent: u64,
    sends: u32,
}

/// A netserver for one session of one test. Returns its port.
fn netserver(ends: Ends) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        let (control, _) = listener.accept().expect("the client connects");
        // What breaks here shows as a client that gets no results.
        let _ = serve(control, ends);
    });
    port
}

fn serve(mut control: TcpStream, ends: Ends) -> io::Result<()> {
    let mut bytes = [0; FRAME_BYTES];
    control.read_exact(&mut bytes)?;
    let frame = Frame::from_bytes(bytes);
    if frame.request_type() == RequestCode::TcpCc {
        return serve_connects(&mut control, ends);
    }
    let request = OmniRequest::decode(&frame);
    let begun = Instant::now();
    let moved = if request.flags & flag::CONNECT_TEST != 0 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        control.write_all(response(&request, listener.local_addr()?.port()).as_bytes())?;
        connections(&listener, ends, |data| answer_one(data, &request))?
    } else if request.protocol == PROTOCOL_UDP {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        control.write_all(response(&request, socket.local_addr()?.port()).as_bytes())?;
        datagrams(&socket, &request)?
    } else {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        control.write_all(response(&request, listener.local_addr()?.port()).as_bytes())?;
        let (data, _) = listener.accept()?;
        stream(data, &request, ends)
    };
    let mut results = Frame::response(98_u32.swap_bytes(), 0);
    OmniResults260 {
        bytes_received_hi: (moved.received >> 32) as u32,
        bytes_received_lo: moved.received as u32,
        recv_calls: moved.receives,
        bytes_sent_hi: (moved.sent >> 32) as u32,
        bytes_sent_lo: moved.sent as u32,
        send_calls: moved.sends,
        trans_received: moved.receives,
        elapsed_time: begun.elapsed().as_secs_f32(),
        transport_retrans: -1,
        ifname: Text(*b"Bug If Seen IFNA"),
        ..OmniResults260::default()
    }
    .encode(&mut results);
    deliver(&mut control, &results)
}

/// Results, after which the client takes leave.
fn deliver(control: &mut TcpStream, results: &Frame) -> io::Result<()> {
    control.write_all(results.as_bytes())?;
    control.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// TCP_CC, which has messages of its own: each connection is closed as soon as it is there.
fn serve_connects(control: &mut TcpStream, ends: Ends) -> io::Result<()> {
    let begun = Instant::now();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut response = Frame::response(301, 0);
    let data_port_number = listener.local_addr()?.port().into();
    RrResponse { data_port_number, ..RrResponse::default() }.encode(&mut response);
    control.write_all(response.as_bytes())?;
    let moved = connections(&listener, ends, |_| Some((0, 0)))?;
    let mut results = Frame::response(302, 0);
    let elapsed_time = begun.elapsed().as_secs_f32();
    let trans_received = moved.receives;
    RrResults { trans_received, elapsed_time, ..RrResults::default() }.encode(&mut results);
    deliver(control, &results)
}

/// Serves one connection after the other, of which nobody sees the last: until the limit on a wait is over.
fn connections(
    listener: &TcpListener,
    ends: Ends,
    each: impl Fn(&mut TcpStream) -> Option<(usize, usize)>,
) -> io::Result<Moved> {
    let limit = match ends {
        Ends::Never => None,
        Ends::After(time) => Some(time),
    };
    // The kernel has accept keep to it as well.
    SockRef::from(listener).set_read_timeout(limit)?;
    let mut moved = Moved::default();
    while let Ok((mut data, _)) = listener.accept() {
        // One that ends without its request is none.
        if let Some((received, sent)) = each(&mut data) {
            moved.received += received as u64;
            moved.receives += 1;
            moved.sent += sent as u64;
            moved.sends += 1;
        }
    }
    Ok(moved)
}

/// A request and its response; their bytes.
fn answer_one(data: &mut TcpStream, request: &OmniRequest) -> Option<(usize, usize)> {
    let mut asked = vec![0; request.request_size.max(1) as usize];
    let answer = vec![0; request.response_size.max(1) as usize];
    data.read_exact(&mut asked).and_then(|()| data.write_all(&answer)).ok()?;
    Some((asked.len(), answer.len()))
}

fn response(request: &OmniRequest, port: u16) -> Frame {
    let mut frame = Frame::response(98, 0);
    OmniResponse {
        recv_buf_size: 65_536,
        send_buf_size: 65_536,
        receive_size: if request.request_size > 0 { request.request_size } else { 65_536 },
        send_size: if request.response_size > 0 { request.response_size } else { 65_536 },
        data_port: port.into(),
        socket_prio: -1,
        socket_tos: -1,
        // The text by which 2.6.0 is told.
        system_model: Text::new(b"a unikernel").expect("it fits"),
        ..OmniResponse::default()
    }
    .encode(&mut frame);
    frame
}

fn stream(mut data: TcpStream, request: &OmniRequest, ends: Ends) -> Moved {
    let mut moved = Moved::default();
    let until = match ends {
        Ends::Never => None,
        Ends::After(time) => {
            for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
                set(&data, Some(time)).expect("a socket takes a timeout");
            }
            Some(Instant::now() + time)
        }
    };
    let mut buffer = vec![0; 65_536];
    let whole = request.request_size.max(1) as usize;
    while until.is_none_or(|until| Instant::now() < until) {
        let done = match request.direction {
            direction::TRANSMIT => data.write(&buffer).map(|bytes| (0, bytes)),
            direction::RECEIVE => data.read(&mut buffer).and_then(|bytes| match bytes {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => Ok((bytes, 0)),
            }),
            _ => data
                .read_exact(&mut buffer[..whole])
                .and_then(|()| data.write_all(&buffer[..request.response_size.max(1) as usize]))
                .map(|()| (whole, request.response_size.max(1) as usize)),
        };
        let Ok((received, sent)) = done else { break };
        moved.received += received as u64;
        moved.receives += u32::from(received > 0);
        moved.sent += sent as u64;
        moved.sends += u32::from(sent > 0);
    }
    // In order, as netperf's does it: a close with a request unread would be a reset.
    let _ = data.shutdown(Shutdown::Write);
    while matches!(data.read(&mut buffer), Ok(1..)) {}
    moved
}

/// Counts or answers datagrams until an empty one. No timer: none of these netservers has one for them.
fn datagrams(socket: &UdpSocket, request: &OmniRequest) -> io::Result<Moved> {
    let mut moved = Moved::default();
    let mut buffer = vec![0; 65_536];
    loop {
        let (bytes, source) = socket.recv_from(&mut buffer)?;
        if bytes == 0 {
            return Ok(moved);
        }
        moved.received += bytes as u64;
        moved.receives += 1;
        if request.direction == direction::REQUEST_RESPONSE {
            moved.sent += socket.send_to(&buffer[..request.response_size.max(1) as usize], source)? as u64;
            moved.sends += 1;
        }
    }
}

/// Our netperf in a test against such a netserver, and how long it took.
fn tested(ends: Ends, test: &str, limit: Duration) -> (Output, Duration) {
    let port = netserver(ends).to_string();
    let length = LENGTH.as_secs().to_string();
    let words = ["netperf", "-H", "127.0.0.1", "-p", &port, "-t", test, "-l", &length, "-P", "0", "-v", "0"];
    let begun = Instant::now();
    let out = run(Path::new(RINGPERF), &words, limit);
    (out, begun.elapsed())
}

/// The last figure of such a test, and how long it took.
fn measured(ends: Ends, test: &str) -> (f64, Duration) {
    let (out, took) = tested(ends, test, Duration::from_secs(60));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{ends:?} {test}: {text}{err}");
    let figure = text.split_whitespace().filter_map(|word| word.parse().ok()).next_back();
    (figure.unwrap_or_else(|| panic!("{ends:?} {test}: no figure: {text}{err}")), took)
}

/// But for those with a connection each: their last one is seen by nobody.
#[test]
fn every_test_ends_without_the_netservers_timers() {
    for test in ["TCP_STREAM", "TCP_MAERTS", "TCP_RR", "UDP_STREAM", "UDP_RR"] {
        let (figure, took) = measured(Ends::Never, test);
        assert!(figure > 0.0, "{test}: {figure}");
        assert!((LENGTH..LENGTH + ON_TOP).contains(&took), "{test}: {took:?}");
    }
}

#[test]
fn a_test_that_the_netserver_ends_before_its_time_ends_there() {
    let early = LENGTH / 3;
    // Those with a connection each end so long after their last one.
    let tests = [("TCP_STREAM", early), ("TCP_MAERTS", early), ("TCP_RR", early)];
    for (test, after) in tests.into_iter().chain([("TCP_CRR", LENGTH), ("TCP_CC", LENGTH)]) {
        let (figure, took) = measured(Ends::After(after), test);
        assert!(figure > 0.0, "{test}: {figure}");
        assert!(took < LENGTH + ON_TOP, "{test}: {took:?}");
    }
}

/// Nothing that a client can do ends these at a netserver without timers. It gives up as netperf does, which
/// takes so long that it is done with the whole study only.
#[test]
fn a_connection_each_without_the_netservers_timers_is_given_up() {
    if std::env::var("RINGPERF_STUDY").is_ok_and(|value| value == "full") {
        std::thread::scope(|scope| {
            for test in ["TCP_CRR", "TCP_CC"] {
                scope.spawn(move || is_given_up(test));
            }
        });
    }
}

fn is_given_up(test: &str) {
    let (out, took) = tested(Ends::Never, test, GIVES_UP + ON_TOP + ON_TOP);
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{test}: {out:?}");
    assert!(text.contains("no response received"), "{test}: {out:?}");
    assert!((GIVES_UP..GIVES_UP + ON_TOP).contains(&took), "{test}: {took:?}");
}
