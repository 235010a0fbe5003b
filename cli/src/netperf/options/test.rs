//! The options of stream tests, those after `--`.
//!
//! Stores what is asked for. Options of the same set that only other tests know, or that have no effect on a
//! stream, are read and dropped.

use ringperf_proto::Test;

use super::getopt::{Argument, Entry};
use super::size::{both, first, integer, size};
use super::{Directions, Family, Host, Pair, Scan, Stream, cut, positive, set, usage};

/// Longest name of a congestion control, in bytes: what a request and the kernel have room for.
const CONGESTION_CONTROL_BYTES_MAX: usize = 15;

/// Ports of the services that a netperf without control connection sends to and receives from (RFC 863, RFC
/// 864).
const DISCARD: &str = "9";
const CHARGEN: &str = "19";

/// An option that chooses what is printed.
const fn selects(letter: u8, meaning: &'static str) -> Entry<Scan> {
    Entry {
        letter,
        argument: Argument::Word("list"),
        meaning,
        apply: |scan, _| {
            scan.unsupported("results by selectors (test options -k, -o, -O) are not supported yet");
        },
    }
}

/// All of them, as the usage text lists them.
pub(super) const TABLE: &[Entry<Scan>] = &[
    Entry::flag(b'4', "both ends of the data connection use IPv4", |scan, _| force_v4(scan)),
    Entry::flag(b'6', "both ends of the data connection use IPv6", |scan, _| family(scan, Family::V6)),
    Entry::flag(b'a', "TCP_DEFER_ACCEPT at the netserver", |scan, _| scan.options.defer_accept = true),
    Entry::takes(b'b', "count", "no effect on a stream", |_, _| {}),
    Entry::flag(b'B', "IP_PKTINFO at the netserver", |scan, _| scan.options.packet_info = true),
    Entry::flag(b'c', "no effect on a stream", |_, _| {}),
    Entry::flag(b'C', "TCP_CORK on the local data socket", |scan, _| scan.options.cork = true),
    Entry::takes(b'd', "direction", "no effect: the test's name decides", |_, _| {}),
    Entry::flag(b'D', "TCP_NODELAY on both data sockets", |scan, _| scan.options.no_delay = true),
    Entry::takes(b'e', "seconds", "no effect on a stream", |_, _| {}),
    Entry::flag(b'F', "TCP fast open", |scan, _| scan.options.fast_open = true),
    Entry::flag(b'g', "no effect: SO_DEBUG is not set", |_, _| {}),
    Entry::takes(b'G', "bytes", "TCP_MAXSEG of the local data socket", |scan, value| {
        scan.options.max_segment = positive(integer(value));
    }),
    Entry::flag(b'h', "print this text", |scan, _| scan.said.end(1, Stream::Out, usage::test())),
    Entry::takes(
        b'H',
        "host[,family]",
        "remote address of the data connection, its family",
        |scan, value| {
            host(scan, value, 'H', |data| &mut data.remote);
        },
    ),
    Entry::takes(b'i', "text", "no effect: retired", |scan, _| {
        scan.said.say(Stream::Err, "netperf: the test option -i has been retired and has no effect\n");
    }),
    Entry::flag(b'I', "no effect: how data is sent is the engine's choice", |_, _| {}),
    Entry::takes(b'j', "count", "no effect", |_, _| {}),
    selects(b'k', "results as NAME=VALUE; not supported yet"),
    Entry::takes(b'K', "local[,remote]", "TCP congestion control, at most 15 characters", |scan, value| {
        let (local, remote) = both(value);
        let name = |half: &str| Some(cut(half, CONGESTION_CONTROL_BYTES_MAX));
        set(&mut scan.options.congestion_control.local, local.map(name));
        set(&mut scan.options.congestion_control.remote, remote.map(name));
    }),
    Entry::takes(b'l', "hops", "no effect: multicast is not supported", |_, _| {}),
    Entry::takes(b'L', "host[,family]", "local address of the data connection, its family", |scan, value| {
        host(scan, value, 'L', |data| &mut data.local);
    }),
    Entry::takes(b'm', "local[,remote]", "bytes of a send (as the socket buffer)", |scan, value| {
        let (local, remote) = first(value);
        set(&mut scan.pending.send.local, local.map(size));
        set(&mut scan.pending.send.remote, remote.map(size));
    }),
    Entry::takes(b'M', "remote[,local]", "bytes of a receive (as the socket buffer)", |scan, value| {
        let (remote, local) = first(value);
        set(&mut scan.pending.receive.remote, remote.map(size));
        set(&mut scan.pending.receive.local, local.map(size));
    }),
    Entry::flag(b'n', "connect the UDP socket", |scan, _| scan.options.connected_udp = true),
    Entry::flag(b'N', "no effect", |_, _| {}),
    selects(b'o', "results as comma-separated values; not supported yet"),
    selects(b'O', "results in columns; not supported yet"),
    Entry::takes(b'p', "min[,max]", "no effect on a stream", |_, _| {}),
    Entry::takes(b'P', "local[,remote]", "ports of the data connection (any)", |scan, value| {
        let (local, remote) = both(value);
        set(&mut scan.options.data_port.local, local.map(str::to_owned));
        set(&mut scan.options.data_port.remote, remote.map(str::to_owned));
    }),
    Entry::takes(b'r', "request[,response]", "bytes sent at once, in place of -m and -M", |scan, value| {
        let (request, response) = both(value);
        set(&mut scan.options.request_bytes, request.map(|half| positive(size(half))));
        set(&mut scan.options.response_bytes, response.map(|half| positive(size(half))));
    }),
    Entry::takes(b'R', "0|1", "0: SO_DONTROUTE on the data sockets (1, over UDP 0)", |scan, value| {
        scan.pending.dont_route = Some(integer(value) == 0);
    }),
    Entry::takes(b's', "send[,receive]", "local socket buffers, in bytes (the kernel's)", |scan, value| {
        directions(&mut scan.options.socket_buffer.local, value);
    }),
    Entry::takes(b'S', "send[,receive]", "remote socket buffers, in bytes (the kernel's)", |scan, value| {
        directions(&mut scan.options.socket_buffer.remote, value);
    }),
    Entry::takes(b't', "type", "socket type, stream or dgram: what the test's name says", |scan, value| {
        scan.pending.socket_type = Some(value.to_string());
    }),
    Entry::takes(b'T', "protocol", "tcp or udp: what the test's name says", |scan, value| {
        scan.pending.protocol = Some(value.to_string());
    }),
    Entry::takes(b'u', "text", "no effect: an identifier is not printed", |_, _| {}),
    Entry::flag(b'U', "no effect on a stream", |_, _| {}),
    Entry::flag(b'V', "ask the netserver to avoid copies", |scan, _| scan.options.avoid_copies = true),
    Entry::takes(b'w', "text", "no effect", |_, _| {}),
    Entry::takes(b'W', "count", "number of send buffers (from the socket buffer)", |scan, value| {
        scan.options.ring_width.send = positive(size(value));
    }),
];

/// What `-4` does, and any letter that netperf does not know.
pub(super) fn force_v4(scan: &mut Scan) {
    family(scan, Family::V4);
}

/// What can be said only after all of them have been read.
pub(super) fn finish(scan: &mut Scan, test: Test) {
    let over_udp = test == Test::UdpStream;
    refuse_other_transport(scan, test, over_udp);
    refuse_negative(scan, test);
    scan.refuse_unsupported();

    let sizes = |pair: Pair<i32>| Pair { local: positive(pair.local), remote: positive(pair.remote) };
    scan.options.send_bytes = sizes(scan.pending.send);
    scan.options.receive_bytes = sizes(scan.pending.receive);
    scan.options.dont_route = scan.pending.dont_route.unwrap_or(over_udp);
    if scan.options.no_control && scan.options.data_port.remote == "0" {
        let service = if test == Test::TcpMaerts { CHARGEN } else { DISCARD };
        scan.options.data_port.remote = service.to_owned();
    }
}

/// netperf runs TCP_STREAM over UDP if told so. Words that name no protocol leave it to the socket type.
fn refuse_other_transport(scan: &mut Scan, test: Test, over_udp: bool) {
    let (protocol, socket_type) = if over_udp { ("udp", "dgram") } else { ("tcp", "stream") };
    if let Some(other) = scan.pending.protocol.take().map(|word| word.to_ascii_lowercase())
        && ["tcp", "udp", "sctp", "dccp", "udplite"].contains(&other.as_str())
        && other != protocol
    {
        scan.unsupported(format!("{} over {other} (test option -T) is not supported yet", name(test)));
    }
    if let Some(other) = scan.pending.socket_type.take()
        && !other.contains(socket_type)
    {
        scan.unsupported(format!(
            "{} over a socket of type '{other}' (test option -t) is not supported yet",
            name(test)
        ));
    }
}

/// Where netperf, or the netserver, would abort.
fn refuse_negative(scan: &mut Scan, test: Test) {
    let Pair { local: sent_here, remote: sent_there } = scan.pending.send;
    let Pair { local: received_here, remote: received_there } = scan.pending.receive;
    // On the wire, -1 stands for "not given", and nobody aborts.
    let aborts_there = |size: i32| size < -1;
    let (send, receive) = match test {
        Test::TcpMaerts => (aborts_there(sent_there), received_here < 0),
        _ => (sent_here < 0, aborts_there(received_there)),
    };
    for (negative, letter) in [(send, 'm'), (receive, 'M')] {
        if negative {
            scan.unsupported(format!("a message has at least 1 byte: test option -{letter} is negative"));
        }
    }
}

/// The test's name at the command line.
fn name(test: Test) -> &'static str {
    match test {
        Test::TcpMaerts => "TCP_MAERTS",
        Test::UdpStream => "UDP_STREAM",
        _ => "TCP_STREAM",
    }
}

fn family(scan: &mut Scan, family: Family) {
    scan.options.data.local.family = family;
    scan.options.data.remote.family = family;
}

fn host(scan: &mut Scan, value: &str, letter: char, side: fn(&mut Pair<Host>) -> &mut Host) {
    let (name, word) = first(value);
    if name.is_some_and(|name| name.contains('/')) {
        let sentence = format!("random addresses (test option -{letter} host/bits) are not supported yet");
        scan.unsupported(sentence);
    }
    let family = word.map(|word| scan.family(word));
    let host = side(&mut scan.options.data);
    if name.is_some() {
        host.name = name.map(str::to_owned);
    }
    set(&mut host.family, family);
}

fn directions(place: &mut Directions<Option<u32>>, value: &str) {
    let (send, receive) = both(value);
    // The kernel is asked for 0, too, and grants its least.
    let buffer = |half: &str| u32::try_from(size(half)).ok();
    set(&mut place.send, send.map(buffer));
    set(&mut place.receive, receive.map(buffer));
}
