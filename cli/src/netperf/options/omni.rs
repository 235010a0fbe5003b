//! The options of OMNI and of the tests that run on it, those after `--`.
//!
//! Stores what is asked for, and settles what is moved in which direction. Options of the same set that only
//! other tests know, or that have no effect, are read and dropped.

use std::time::Duration;

use ringperf_engine::plan::{Protocol, Role};

use super::getopt::{Argument, Entry, Value};
use super::size::{both, c_integer, first, integer, size};
use super::{Directions, Family, Host, Pair, Scan, Selectors, Stream, cut, positive, set, usage};
use crate::netperf::selectors::Style;
use crate::netperf::traffic::TestName;

/// Longest name of a congestion control, in bytes: what a request and the kernel have room for.
const CONGESTION_CONTROL_BYTES_MAX: usize = 15;

/// Longest identifier of a test, in bytes.
const UUID_BYTES_MAX: usize = 37;

/// Ports of the services that a netperf without control connection sends to, receives from and asks (RFC 863,
/// RFC 864, RFC 862).
const DISCARD: &str = "9";
const CHARGEN: &str = "19";
const ECHO: &str = "7";

/// netperf's numbers of directions.
const SENDS: i64 = 2;
const RECEIVES: i64 = 4;

/// An option that has the result printed by selectors.
const fn selects(letter: u8, meaning: &'static str, apply: fn(&mut Scan, &Value<'_>)) -> Entry<Scan> {
    Entry { letter, argument: Argument::Word("list"), meaning, apply }
}

/// All of them, as the usage text lists them.
pub(super) const TABLE: &[Entry<Scan>] = &[
    Entry::flag(b'4', "both ends of the data connection use IPv4", |scan, _| force_v4(scan)),
    Entry::flag(b'6', "both ends of the data connection use IPv6", |scan, _| family(scan, Family::V6)),
    Entry::flag(b'a', "TCP_DEFER_ACCEPT at the netserver", |scan, _| scan.options.defer_accept = true),
    Entry::takes(b'b', "count", "requests under way beside the usual one (0)", first_burst),
    Entry::flag(b'B', "IP_PKTINFO at the netserver", |scan, _| scan.options.packet_info = true),
    Entry::flag(b'c', "a connection for each transaction", |scan, _| scan.pending.each = true),
    Entry::flag(b'C', "TCP_CORK on the local data socket", |scan, _| scan.options.cork = true),
    Entry::takes(b'd', "direction", "OMNI: send, recv or rr; send|recv is rr", |scan, value| {
        scan.pending.direction = Some(direction(value));
    }),
    Entry::flag(b'D', "TCP_NODELAY on both data sockets", |scan, _| scan.options.no_delay = true),
    Entry::takes(b'e', "seconds", "UDP: ask again where no response comes", |scan, value| {
        let seconds = positive(integer(value)).map(|seconds| Duration::from_secs(seconds.into()));
        scan.options.response_timeout = seconds;
    }),
    Entry::flag(b'F', "TCP fast open", |scan, _| scan.options.fast_open = true),
    Entry::flag(b'g', "no effect: SO_DEBUG is not set", |_, _| {}),
    Entry::takes(b'G', "bytes", "TCP_MAXSEG of the local data socket", |scan, value| {
        scan.options.max_segment = positive(integer(value));
    }),
    Entry::flag(b'h', "print this text", |scan, _| scan.said.end(1, Stream::Out, usage::omni())),
    Entry::takes(
        b'H',
        "host[/bits][,family]",
        "remote data address, bits of it to keep, its family",
        |scan, value| {
            host(scan, value, |data| &mut data.remote, |bits| &mut bits.remote);
        },
    ),
    Entry::takes(b'i', "text", "no effect: retired", |scan, _| {
        scan.said.say(Stream::Err, "netperf: the test option -i has been retired and has no effect\n");
    }),
    Entry::flag(b'I', "no effect: how data is sent is the engine's choice", |_, _| {}),
    Entry::takes(b'j', "count", "no effect", |_, _| {}),
    selects(b'k', "results as lines NAME=VALUE", |scan, value| select(scan, Style::KeyValue, value)),
    Entry::takes(b'K', "local[,remote]", "TCP congestion control, at most 15 characters", |scan, value| {
        let (local, remote) = both(value);
        let name = |half: &str| Some(cut(half, CONGESTION_CONTROL_BYTES_MAX));
        set(&mut scan.options.congestion_control.local, local.map(name));
        set(&mut scan.options.congestion_control.remote, remote.map(name));
    }),
    Entry::takes(b'l', "hops", "no effect: multicast is not supported", |_, _| {}),
    Entry::takes(b'L', "host[/bits][,family]", "local data address, likewise", |scan, value| {
        host(scan, value, |data| &mut data.local, |bits| &mut bits.local);
    }),
    Entry::takes(b'm', "local[,remote]", "bytes of a send (as the socket buffer)", |scan, value| {
        let (local, remote) = first(value);
        imply(scan, local.is_some(), remote.is_some());
        set(&mut scan.pending.send.local, local.map(size));
        set(&mut scan.pending.send.remote, remote.map(size));
    }),
    Entry::takes(b'M', "remote[,local]", "bytes of a receive (as the socket buffer)", |scan, value| {
        let (remote, local) = first(value);
        imply(scan, remote.is_some(), local.is_some());
        set(&mut scan.pending.receive.remote, remote.map(size));
        set(&mut scan.pending.receive.local, local.map(size));
    }),
    Entry::flag(b'n', "connect the UDP socket", |scan, _| scan.options.connected_udp = true),
    Entry::flag(b'N', "no effect", |_, _| {}),
    selects(b'o', "results as comma-separated values", |scan, value| select(scan, Style::Csv, value)),
    selects(b'O', "results in columns", |scan, value| select(scan, Style::Human, value)),
    Entry::takes(b'p', "min[,max]", "local ports where each transaction has one", port_range),
    Entry::takes(b'P', "local[,remote]", "ports of the data connection (any)", |scan, value| {
        let (local, remote) = both(value);
        set(&mut scan.options.data_port.local, local.map(str::to_owned));
        set(&mut scan.options.data_port.remote, remote.map(str::to_owned));
    }),
    Entry::takes(
        b'r',
        "request[,response]",
        "bytes of each (1); on a stream in place of -m and -M",
        |scan, value| {
            let (request, response) = both(value);
            imply(scan, true, true);
            set(&mut scan.options.request_bytes, request.map(|half| positive(size(half))));
            set(&mut scan.options.response_bytes, response.map(|half| positive(size(half))));
        },
    ),
    Entry::takes(b'R', "0|1", "0: SO_DONTROUTE on the data sockets (1, over UDP 0)", |scan, value| {
        scan.pending.dont_route = Some(integer(value) == 0);
    }),
    Entry::takes(b's', "send[,receive]", "local socket buffers, in bytes (the kernel's)", |scan, value| {
        directions(&mut scan.options.socket_buffer.local, value);
    }),
    Entry::takes(b'S', "send[,receive]", "remote socket buffers, in bytes (the kernel's)", |scan, value| {
        directions(&mut scan.options.socket_buffer.remote, value);
    }),
    Entry::takes(b't', "type", "socket type, stream or dgram", |scan, value| {
        scan.pending.socket_type = Some(value.to_string());
    }),
    Entry::takes(b'T', "protocol", "tcp or udp", |scan, value| {
        scan.pending.protocol = Some(value.to_string());
    }),
    Entry::takes(b'u', "text", "identifier of the test (made up)", |scan, value| {
        scan.options.uuid = Some(cut(value, UUID_BYTES_MAX));
    }),
    Entry::flag(b'U', "try again where a connection of many fails", |scan, _| {
        scan.options.retry_connect = true;
    }),
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
pub(super) fn finish(scan: &mut Scan, test: TestName) {
    settle_protocol(scan);
    settle_direction(scan, test);
    refuse_negative(scan);
    scan.refuse_unsupported();
    settle_sizes(scan);
    let traffic = scan.options.traffic;
    // Datagrams one way stay on attached networks unless told otherwise.
    let one_way = traffic.protocol == Protocol::Udp && !traffic.is_of_transactions();
    scan.options.dont_route = scan.pending.dont_route.unwrap_or(one_way);
    if scan.options.no_control && scan.options.data_port.remote == "0" {
        let service = match traffic.role() {
            Role::Request | Role::Respond => ECHO,
            Role::Receive => CHARGEN,
            Role::Send => DISCARD,
        };
        scan.options.data_port.remote = service.to_owned();
        if service == ECHO {
            // It answers as much as it is asked.
            scan.options.response_bytes = scan.options.request_bytes;
        }
    }
    if test == TestName::Omni {
        let columns = || Selectors { style: Style::Human, list: None };
        scan.options.selectors.get_or_insert_with(columns);
    }
}

/// Sizes as they were given, and those of transactions that were not.
pub(super) fn settle_sizes(scan: &mut Scan) {
    let sizes = |pair: Pair<i32>| Pair { local: positive(pair.local), remote: positive(pair.remote) };
    scan.options.send_bytes = sizes(scan.pending.send);
    scan.options.receive_bytes = sizes(scan.pending.receive);
    if scan.options.traffic.has_both_directions() {
        scan.options.request_bytes.get_or_insert(1);
        scan.options.response_bytes.get_or_insert(1);
    }
}

/// A word for the protocol also chooses the socket's type. Words that name no protocol leave it to that type.
fn settle_protocol(scan: &mut Scan) {
    let datagrams = scan.pending.socket_type.take().and_then(|word| match word.as_str() {
        word if word.contains("dgram") => Some(true),
        word if word.contains("stream") => Some(false),
        _ => None,
    });
    let word = scan.pending.protocol.take().map(|word| word.to_ascii_lowercase());
    let protocol = &mut scan.options.traffic.protocol;
    match word.as_deref() {
        Some("tcp") => *protocol = Protocol::Tcp,
        Some("udp") => *protocol = Protocol::Udp,
        Some("sctp") => scan.options.lacking_protocol = Some("SCTP"),
        Some("dccp") => scan.options.lacking_protocol = Some("DCCP"),
        Some("udplite") => scan.options.lacking_protocol = Some("UDPLITE"),
        _ => match datagrams {
            Some(true) => *protocol = Protocol::Udp,
            Some(false) => *protocol = Protocol::Tcp,
            None => {}
        },
    }
}

/// OMNI goes where `-d` says, else where sizes imply; the other names say it themselves.
fn settle_direction(scan: &mut Scan, test: TestName) {
    let traffic = &mut scan.options.traffic;
    if test == TestName::Omni {
        let (sends, receives) = scan.pending.direction.unwrap_or(scan.pending.implied);
        traffic.each = scan.pending.each;
        traffic.receives = receives;
        // Without any direction it sends, unless connections are all there is.
        traffic.sends = sends || !(receives || traffic.each);
    } else if traffic.has_both_directions() {
        traffic.each |= scan.pending.each;
    }
    if traffic.each && traffic.sends != traffic.receives {
        scan.unsupported("a connection for each message of one direction (test option -c) is not supported");
    }
    if scan.options.traffic.each && scan.options.traffic.protocol == Protocol::Udp {
        scan.unsupported("a connection for each transaction (test option -c) is of TCP only");
    }
}

/// What a size says of the direction where `-d` says nothing.
fn imply(scan: &mut Scan, sends: bool, receives: bool) {
    scan.pending.implied.0 |= sends;
    scan.pending.implied.1 |= receives;
}

/// Whether a direction sends and receives: words and numbers, joined by `|`.
fn direction(text: &str) -> (bool, bool) {
    let number = |word: &str| match word.to_ascii_lowercase().as_str() {
        "xmit" | "send" | "stream" | "transmit" => SENDS,
        "recv" | "receive" | "maerts" => RECEIVES,
        "rr" => SENDS | RECEIVES,
        other => c_integer(other),
    };
    let all = text.split('|').fold(0, |all, word| all | number(word));
    (all & SENDS != 0, all & RECEIVES != 0)
}

fn select(scan: &mut Scan, style: Style, list: &Value<'_>) {
    let list = Some(list.to_string()).filter(|list| !list.is_empty());
    scan.options.selectors = Some(Selectors { style, list });
}

pub(super) fn first_burst(scan: &mut Scan, value: &Value<'_>) {
    scan.options.first_burst = positive(integer(value)).unwrap_or(0);
}

/// Ports outside of what there is are netperf's default, any.
pub(super) fn port_range(scan: &mut Scan, value: &Value<'_>) {
    let (least, most) = both(value);
    let port = |half: &str| u16::try_from(size(half)).ok().filter(|port| *port > 0);
    let (before_least, before_most) = scan.options.port_range.unwrap_or((5_000, u16::MAX));
    let least = least.map_or(Some(before_least), port);
    let most = most.map_or(Some(before_most), port);
    scan.options.port_range = least.zip(most).filter(|(least, most)| least <= most);
}

/// Where netperf, or the netserver, would abort.
fn refuse_negative(scan: &mut Scan) {
    let Pair { local: sent_here, remote: sent_there } = scan.pending.send;
    let Pair { local: received_here, remote: received_there } = scan.pending.receive;
    // On the wire, -1 stands for "not given", and nobody aborts.
    let aborts_there = |size: i32| size < -1;
    let (send, receive) = match scan.options.traffic.role() {
        Role::Receive => (aborts_there(sent_there), received_here < 0),
        Role::Send => (sent_here < 0, aborts_there(received_there)),
        Role::Request | Role::Respond => (false, false),
    };
    for (negative, letter) in [(send, 'm'), (receive, 'M')] {
        if negative {
            scan.unsupported(format!("a message has at least 1 byte: test option -{letter} is negative"));
        }
    }
}

pub(super) fn family(scan: &mut Scan, family: Family) {
    scan.options.data.local.family = family;
    scan.options.data.remote.family = family;
}

/// A host of the data connection, and how many of its address's bits are kept.
fn host(
    scan: &mut Scan,
    value: &str,
    side: fn(&mut Pair<Host>) -> &mut Host,
    kept: fn(&mut Pair<Option<u32>>) -> &mut Option<u32>,
) {
    let (place, word) = first(value);
    let (name, bits) = place.map_or((None, None), |place| match place.split_once('/') {
        Some((name, bits)) => (Some(name), Some(bits)),
        None => (Some(place), None),
    });
    let family = word.map(|word| scan.family(word));
    let host = side(&mut scan.options.data);
    if name.is_some() {
        host.name = name.map(str::to_owned);
    }
    set(&mut host.family, family);
    if place.is_some() {
        *kept(&mut scan.options.kept_bits) = bits.and_then(|bits| u32::try_from(integer(bits)).ok());
    }
}

pub(super) fn directions(place: &mut Directions<Option<u32>>, value: &str) {
    let (send, receive) = both(value);
    // The kernel is asked for 0, too, and grants its least.
    let buffer = |half: &str| u32::try_from(size(half)).ok();
    set(&mut place.send, send.map(buffer));
    set(&mut place.receive, receive.map(buffer));
}
