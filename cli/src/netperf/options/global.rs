//! netperf's global options, those before `--`.
//!
//! Stores what is asked for. What netperf's Debian build lacks is answered in its words; what this program
//! lacks ends it with a sentence of our own.

use std::time::Duration;

use ringperf_proto::Length;

use super::getopt::{Argument, Entry, Value};
use super::size::{both, first, first_of_names, interval_us, leading_float, size, type_of_service};
use super::{
    Directions, Family, Host, Interim, Options, Pair, Said, Scan, Stream, cut, positive, set, usage,
};
use crate::netperf::traffic::TestName;

/// Iterations netperf allows at most, and wants at least where several are asked for.
const ITERATIONS_MAX: u32 = 30;
const ITERATIONS_MIN: u32 = 3;

/// Longest name of a file at the netserver's host, in bytes: what a request has room for.
const REMOTE_FILE_BYTES_MAX: usize = 31;

/// All of them, as the usage text lists them.
pub(super) const TABLE: &[Entry<Scan>] = &[
    Entry::flag(b'4', "both ends of the control connection use IPv4", |scan, _| family(scan, Family::V4)),
    Entry::flag(b'6', "both ends of the control connection use IPv6", |scan, _| family(scan, Family::V6)),
    Entry::takes(
        b'a',
        "send[,receive]",
        "alignment of the local message buffers, in bytes (8)",
        |scan, value| {
            directions(&mut scan.options.alignment.local, value);
        },
    ),
    Entry::takes(
        b'A',
        "send[,receive]",
        "alignment of the remote message buffers, in bytes (8)",
        |scan, value| {
            directions(&mut scan.options.alignment.remote, value);
        },
    ),
    Entry::takes(b'b', "local[,remote]", "sends of each pacing interval; the local half needs -w", burst),
    Entry::takes(b'B', "text", "text at the end of each result line without headers", |scan, value| {
        scan.options.brand = Some(value.to_string());
    }),
    Entry {
        letter: b'c',
        argument: Argument::Digits("rate"),
        meaning: "measure the local CPU utilisation",
        apply: |scan, _| scan.options.measure_cpu.local = true,
    },
    Entry {
        letter: b'C',
        argument: Argument::Digits("rate"),
        meaning: "measure the remote CPU utilisation",
        apply: |scan, value| {
            scan.options.measure_cpu.remote = true;
            if !value.is_empty() {
                scan.options.remote_cpu_rate = single(leading_float(value));
            }
        },
    },
    Entry::flag(b'd', "debug; more of it each time it is given", |scan, _| {
        scan.options.debug = scan.options.debug.saturating_add(1);
    }),
    Entry::takes(b'D', "seconds[,units]", "interim results; exactly so often if negative", interim),
    Entry::takes(b'f', "letter", "unit: bits b k m g, bytes B K M G, x trans., u usec", |scan, value| {
        scan.options.unit = Some(value.chars().next().unwrap_or('\0'));
    }),
    Entry::takes(b'F', "local[,remote]", "files to fill the message buffers from", fill_files),
    Entry::flag(b'h', "print this text", |scan, _| scan.said.end(1, Stream::Err, usage::global())),
    Entry::takes(
        b'H',
        "host[,family]",
        "host of the netserver (localhost), its address family",
        |scan, value| {
            host(scan, value, |control| &mut control.remote);
        },
    ),
    Entry::takes(b'i', "max[,min]", "number of iterations, 3 to 30 (1)", iterations),
    Entry::takes(
        b'I',
        "level[,width]",
        "confidence level, 95 or 99, and interval in percent (5)",
        confidence,
    ),
    Entry::flag(b'j', "time each operation; with -v 2 a histogram", |scan, _| scan.options.latency = true),
    Entry::takes(b'k', "dirty[,clean]", "local bytes to touch; not compiled in", |scan, _| dirty(scan)),
    Entry::takes(b'K', "dirty[,clean]", "remote bytes to touch; not compiled in", |scan, _| dirty(scan)),
    Entry::takes(b'l', "length", "seconds (10), a count if negative, endless if 0", |scan, value| {
        scan.options.length = length(size(value));
    }),
    Entry::takes(
        b'L',
        "host[,family]",
        "local address of the control connection, its family",
        |scan, value| {
            host(scan, value, |control| &mut control.local);
        },
    ),
    Entry::takes(b'n', "count", "no effect: CPUs are counted", |_, _| {}),
    Entry::flag(b'N', "no control connection: any peer of TCP or UDP will do", |scan, _| {
        scan.options.no_control = true;
    }),
    Entry::takes(b'o', "send[,receive]", "offset from the local alignment, in bytes (0)", |scan, value| {
        directions(&mut scan.options.offset.local, value);
    }),
    Entry::takes(b'O', "send[,receive]", "offset from the remote alignment, in bytes (0)", |scan, value| {
        directions(&mut scan.options.offset.remote, value);
    }),
    Entry::takes(
        b'p',
        "port[,local]",
        "port of the netserver (12865), and local port (any)",
        |scan, value| {
            let (remote, local) = first(value);
            set(&mut scan.options.control_port.remote, remote.map(str::to_owned));
            set(&mut scan.options.control_port.local, local.map(str::to_owned));
        },
    ),
    Entry::takes(b'P', "0|1", "whether banner and headers are printed (1)", |scan, value| {
        scan.options.headers = size(value) != 0;
    }),
    Entry::flag(b'r', "confidence is asked of the result, not of utilisation", |scan, _| {
        scan.options.confidence.result_only = true;
    }),
    Entry::takes(b's', "seconds", "pause between set-up and traffic (0)", |scan, value| {
        scan.options.pause = Duration::from_secs(positive(size(value)).unwrap_or(0).into());
    }),
    Entry::flag(b'S', "SO_KEEPALIVE on the data sockets", |scan, _| scan.options.keepalive = true),
    Entry::takes(b't', "test", "the test (TCP_STREAM); see the list below", |scan, value| {
        let word = value.to_ascii_uppercase();
        scan.options.test = TestName::from_word(&word).ok_or(word);
    }),
    Entry::takes(b'T', "cpu[,cpu]", "CPU to run on, local and remote", |scan, value| {
        let (local, remote) = both(value);
        let number = |half: &str| u32::try_from(size(half)).ok();
        set(&mut scan.options.cpu.local, local.map(number));
        set(&mut scan.options.cpu.remote, remote.map(number));
        scan.options.cpu_bind = true;
    }),
    Entry::takes(b'v', "level", "0: the figure; 1: the result (default); 2: details too", |scan, value| {
        scan.options.verbosity = size(value);
    }),
    Entry::flag(b'V', "print the version of netperf this is compatible with", |scan, _| {
        scan.said.end(0, Stream::Out, "Netperf version 2.7.0\n");
    }),
    Entry::takes(b'w', "local[,remote]", "length of a pacing interval; the local half needs -b", interval),
    Entry::takes(
        b'W',
        "send[,receive]",
        "number of message buffers (from the socket buffers)",
        |scan, value| {
            let (send, receive) = both(value);
            set(&mut scan.options.ring_width.send, send.map(|half| positive(size(half))));
            set(&mut scan.options.ring_width.receive, receive.map(|half| positive(size(half))));
        },
    ),
    Entry::takes(b'y', "local[,remote]", "SO_PRIORITY of the data sockets", |scan, value| {
        let (local, remote) = both(value);
        let priority = |half: &str| Some(size(half)).filter(|priority| *priority >= 0);
        set(&mut scan.options.priority.local, local.map(priority));
        set(&mut scan.options.priority.remote, remote.map(priority));
    }),
    Entry::takes(b'Y', "local[,remote]", "type of service: 0 to 255, or a name such as ef", |scan, value| {
        let (local, remote) = both(value);
        set(&mut scan.options.type_of_service.local, local.map(type_of_service));
        set(&mut scan.options.type_of_service.remote, remote.map(type_of_service));
    }),
    Entry::takes(b'Z', "text", "passphrase to show to the netserver", |scan, value| {
        scan.options.passphrase = Some(value.raw.to_owned());
    }),
];

/// What can be said only after all of them have been read.
pub(super) fn finish(scan: &mut Scan) {
    if scan.options.no_control {
        // Nobody is there to set them.
        let unset = Directions { send: -1, receive: -1 };
        scan.options.alignment.remote = unset;
        scan.options.offset.remote = unset;
        scan.options.measure_cpu.remote = false;
        scan.options.priority.remote = None;
        scan.options.type_of_service.remote = None;
    }
}

fn family(scan: &mut Scan, family: Family) {
    scan.options.control.local.family = family;
    scan.options.control.remote.family = family;
}

fn host(scan: &mut Scan, value: &str, side: fn(&mut Pair<Host>) -> &mut Host) {
    let (name, word) = first(value);
    let family = word.map(|word| scan.family(word));
    let host = side(&mut scan.options.control);
    if name.is_some() {
        host.name = name.map(str::to_owned);
    }
    set(&mut host.family, family);
}

fn directions(place: &mut Directions<i32>, value: &str) {
    let (send, receive) = both(value);
    set(&mut place.send, send.map(size));
    set(&mut place.receive, receive.map(size));
}

fn length(length: i32) -> Length {
    match length {
        0 => Length::Endless,
        1.. => Length::Seconds(length.unsigned_abs()),
        _ => Length::Bytes(length.unsigned_abs().into()),
    }
}

/// What netperf's Debian build says to either half of what makes local pacing. Here it paces where both are
/// given to who has a pace.
const NO_BURSTS: &str = "Packet burst size is not compiled in. \n";
const NO_INTERVALS: &str = "Packet rate control is not compiled in.\n";

fn burst(scan: &mut Scan, value: &Value<'_>) {
    let (local, remote) = first(value);
    if let Some(local) = local {
        scan.said.say(Stream::Out, NO_BURSTS);
        scan.options.burst.local = size(local).cast_unsigned();
    }
    set(&mut scan.options.burst.remote, remote.map(|half| size(half).cast_unsigned()));
    if remote.is_some() && scan.options.interval_us.remote == 0 {
        scan.options.interval_us.remote = 1_000;
    }
}

fn interval(scan: &mut Scan, value: &Value<'_>) {
    let (local, remote) = first(value);
    if let Some(local) = local {
        scan.said.say(Stream::Out, NO_INTERVALS);
        scan.options.interval_us.local = interval_us(local).cast_unsigned();
    }
    set(&mut scan.options.interval_us.remote, remote.map(|half| interval_us(half).cast_unsigned()));
}

/// Local pacing takes both of its halves, and a test in which this end has a pace. Else netperf's sentences
/// stay in `said`, and there is none.
pub(super) fn settle_pacing(options: &mut Options, said: &mut Said) {
    if options.burst.local > 0 && options.interval_us.local > 0 && options.traffic.has_pace() {
        said.texts.retain(|(_, text)| text != NO_BURSTS && text != NO_INTERVALS);
    } else {
        (options.burst.local, options.interval_us.local) = (0, 0);
    }
}

fn interim(scan: &mut Scan, value: &Value<'_>) {
    let (seconds, units) = first(value);
    let interim = scan.options.interim.get_or_insert_default();
    if let Some(seconds) = seconds.map(leading_float) {
        interim.after_each = seconds < 0.0;
        interim.interval = Duration::try_from_secs_f64(seconds.abs()).unwrap_or(Interim::LONGEST);
    }
    if let Some(units) = units {
        interim.units = positive(size(units));
    }
}

fn dirty(scan: &mut Scan) {
    scan.said.say(Stream::Out, "I don't know how to get dirty.\n");
}

fn fill_files(scan: &mut Scan, value: &Value<'_>) {
    let (local, remote) = first_of_names(value.raw);
    if local.is_some() {
        scan.options.local_fill_file = local.map(Into::into);
    }
    let Some(remote) = remote else { return };
    if remote.len() > REMOTE_FILE_BYTES_MAX {
        scan.said.end(255, Stream::Err, "Remote fill file name must be less than 32 characters\n");
    } else {
        scan.options.remote_fill_file = Some(cut(&remote.to_string_lossy(), REMOTE_FILE_BYTES_MAX));
    }
}

fn iterations(scan: &mut Scan, value: &Value<'_>) {
    let (max, min) = both(value);
    let count = |half: &str| u32::try_from(size(half)).unwrap_or(0);
    let confidence = &mut scan.options.confidence;
    set(&mut confidence.max, max.map(count));
    set(&mut confidence.min, min.map(count));
    confidence.min = confidence.min.clamp(ITERATIONS_MIN, ITERATIONS_MAX);
    confidence.max = confidence.max.clamp(confidence.min, ITERATIONS_MAX);
    if confidence.level == 0 {
        confidence.level = 99;
    }
    default_width(&mut confidence.width);
}

fn confidence(scan: &mut Scan, value: &Value<'_>) {
    let (level, width) = both(value);
    let confidence = &mut scan.options.confidence;
    set(&mut confidence.level, level.map(|half| u32::try_from(size(half)).unwrap_or(0)));
    set(&mut confidence.width, width.map(leading_float));
    if !matches!(confidence.level, 95 | 99) {
        scan.said.end(255, Stream::Out, "Only 95% and 99% confidence level is supported\n");
        return;
    }
    default_width(&mut confidence.width);
    if confidence.max == 1 {
        confidence.min = 3;
        confidence.max = 10;
    }
}

/// A width of 0 could never be met, and means netperf's default.
fn default_width(width: &mut f64) {
    if *width == 0.0 {
        *width = 5.0;
    }
}

/// The nearest number of half the size; a rate needs no more.
#[expect(clippy::cast_possible_truncation, reason = "the nearest is meant, and infinity past the largest")]
fn single(rate: f64) -> f32 {
    rate as f32
}
