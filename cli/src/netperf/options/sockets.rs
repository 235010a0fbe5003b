//! The options of the tests that kept their own code: TCP_SENDFILE, TCP_CC, TCP_MSS.
//!
//! The letters are those of [`super::omni`] as they were before it, with fewer of them and with sizes of one
//! half.

use super::getopt::Entry;
use super::omni::{self, directions, family, first_burst, force_v4, port_range};
use super::size::{both, first, integer, size};
use super::{Family, Host, Pair, Scan, Stream, positive, set, usage};
use crate::netperf::traffic::TestName;

/// Port of the service that a file is sent to without a control connection (RFC 863).
const DISCARD: &str = "9";

/// All of them, as the usage text lists them.
pub(super) const TABLE: &[Entry<Scan>] = &[
    Entry::flag(b'4', "both ends of the data connection use IPv4", |scan, _| force_v4(scan)),
    Entry::flag(b'6', "both ends of the data connection use IPv6", |scan, _| family(scan, Family::V6)),
    Entry::takes(b'b', "count", "no effect on these tests", first_burst),
    Entry::flag(b'C', "TCP_CORK on the local data socket", |scan, _| scan.options.cork = true),
    Entry::flag(b'D', "TCP_NODELAY on both data sockets", |scan, _| scan.options.no_delay = true),
    Entry::flag(b'h', "print this text", |scan, _| scan.said.end(1, Stream::Out, usage::sockets())),
    Entry::takes(
        b'H',
        "host[,family]",
        "remote address of the data connection, its family",
        |scan, value| {
            host(scan, value, |data| &mut data.remote);
        },
    ),
    Entry::takes(b'L', "host[,family]", "local address of the data connection, its family", |scan, value| {
        host(scan, value, |data| &mut data.local);
    }),
    Entry::takes(b'm', "bytes", "bytes of a send (as the socket buffer)", |scan, value| {
        scan.pending.send.local = size(value);
    }),
    Entry::takes(b'M', "bytes", "bytes of a receive (as the socket buffer)", |scan, value| {
        scan.pending.receive.remote = size(value);
    }),
    Entry::flag(b'n', "no effect on these tests", |_, _| {}),
    Entry::flag(b'N', "no effect on these tests", |_, _| {}),
    Entry::takes(b'p', "min[,max]", "local ports where each transaction has one", port_range),
    Entry::takes(b'P', "local[,remote]", "ports of the data connection (any)", |scan, value| {
        let (local, remote) = both(value);
        set(&mut scan.options.data_port.local, local.map(str::to_owned));
        set(&mut scan.options.data_port.remote, remote.map(str::to_owned));
    }),
    Entry::takes(b'r', "request[,response]", "shown by TCP_CC, without effect", |scan, value| {
        let (request, response) = both(value);
        set(&mut scan.options.request_bytes, request.map(|half| positive(size(half))));
        set(&mut scan.options.response_bytes, response.map(|half| positive(size(half))));
    }),
    Entry::takes(b'R', "0|1", "0: SO_DONTROUTE on the data sockets (1)", |scan, value| {
        scan.options.dont_route = integer(value) == 0;
    }),
    Entry::takes(b's', "send[,receive]", "local socket buffers, in bytes (the kernel's)", |scan, value| {
        directions(&mut scan.options.socket_buffer.local, value);
    }),
    Entry::takes(b'S', "send[,receive]", "remote socket buffers, in bytes (the kernel's)", |scan, value| {
        directions(&mut scan.options.socket_buffer.remote, value);
    }),
    Entry::takes(b'T', "text", "no effect", |_, _| {}),
    Entry::flag(b'V', "ask the netserver to avoid copies", |scan, _| {
        scan.said.say(Stream::Out, "Local send copy avoidance not available.\n");
        scan.said.say(Stream::Out, "Local recv copy avoidance not available.\n");
        scan.options.avoid_copies = true;
    }),
    Entry::takes(b'w', "text", "no effect", |_, _| {}),
    Entry::takes(b'W', "count", "number of send buffers (from the socket buffer)", |scan, value| {
        scan.options.ring_width.send = positive(size(value));
    }),
    Entry::flag(b'z', "no effect", |_, _| {}),
];

/// What can be said only after all of them have been read.
pub(super) fn finish(scan: &mut Scan, test: TestName) {
    if scan.pending.send.local < 0 {
        scan.unsupported("a message has at least 1 byte: test option -m is negative");
    }
    scan.refuse_unsupported();
    omni::settle_sizes(scan);
    if test == TestName::TcpCc {
        // They are shown, and nothing is sent.
        scan.options.request_bytes.get_or_insert(1);
        scan.options.response_bytes.get_or_insert(1);
    }
    if !scan.options.no_control || scan.options.data_port.remote != "0" || scan.said.exit.is_some() {
        return;
    }
    if test == TestName::TcpSendfile {
        scan.options.data_port.remote = DISCARD.to_owned();
    } else {
        let name = test.word();
        let sentence = format!("No default port known for the {name} test, please set one yourself\n");
        scan.said.end(255, Stream::Out, sentence);
    }
}

fn host(scan: &mut Scan, value: &str, side: fn(&mut Pair<Host>) -> &mut Host) {
    let (name, word) = first(value);
    let family = word.map(|word| scan.family(word));
    let host = side(&mut scan.options.data);
    if name.is_some() {
        host.name = name.map(str::to_owned);
    }
    set(&mut host.family, family);
}
