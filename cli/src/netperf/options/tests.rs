//! Command lines and what they amount to, those of the golden outputs among them.

mod traffic;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::{any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};
use ringperf_proto::Length;

use super::{
    Confidence, Directions, Family, Host, Interim, Options, Pair, Parsed, Selectors, Stream, global, omni,
    parse, sockets, unknown_test, usage,
};
use crate::netperf::selectors::Style;
use crate::netperf::traffic::TestName;

/// `line` read as a shell would without quotes; words that need them stand in `more`.
fn read_words(line: &str, more: &[&str]) -> Parsed {
    let words = line.split_whitespace().chain(more.iter().copied()).map(OsString::from).collect();
    parse(OsStr::new("netperf"), words)
}

fn read(line: &str) -> Parsed {
    read_words(line, &[])
}

/// What `line` asks for, where reading it says nothing.
fn options(line: &str) -> Options {
    let parsed = read(line);
    assert_eq!((&parsed.global.texts, parsed.global.exit), (&Vec::new(), None), "{line}");
    assert_eq!((&parsed.test.texts, parsed.test.exit), (&Vec::new(), None), "{line}");
    Options { command: Options::default().command, ..parsed.options }
}

/// That `line` means the defaults as changed.
#[track_caller]
fn means(line: &str, change: impl FnOnce(&mut Options)) {
    let mut expected = Options::default();
    change(&mut expected);
    assert_eq!(options(line), expected, "{line}");
}

fn at(name: &str, family: Family) -> Host {
    Host { name: (!name.is_empty()).then(|| name.to_owned()), family }
}

fn local<T: Default>(local: T) -> Pair<T> {
    Pair { local, remote: T::default() }
}

fn remote<T: Default>(remote: T) -> Pair<T> {
    Pair { local: T::default(), remote }
}

fn pair<T>(local: T, remote: T) -> Pair<T> {
    Pair { local, remote }
}

fn directions<T>(send: T, receive: T) -> Directions<T> {
    Directions { send, receive }
}

/// The options of another test.
fn of(options: &mut Options, name: TestName) {
    (options.test, options.traffic) = (Ok(name), name.traffic());
}

#[test]
fn nothing_means_the_defaults() {
    means("", |_| {});
    means("--", |_| {});
    means("stray words - -- more - words", |_| {});
    means("-d -n 4 -j", |o| (o.debug, o.latency) = (1, true));
}

#[test]
fn the_study_is_understood() {
    means("-t TCP_STREAM -H 10.0.0.2 -- -P 12866 -s 100 -m 131072", |o| {
        o.control.remote = at("10.0.0.2", Family::Unspecified);
        o.data_port = pair("12866".into(), "12866".into());
        o.socket_buffer.local = directions(Some(100), Some(100));
        o.send_bytes.local = Some(131_072);
    });
    means("-t UDP_STREAM -H 10.0.0.2 -- -P 12866 -r 150 -m 3100", |o| {
        of(o, TestName::UdpStream);
        o.control.remote = at("10.0.0.2", Family::Unspecified);
        o.data_port = pair("12866".into(), "12866".into());
        (o.request_bytes, o.response_bytes) = (Some(150), Some(150));
        o.send_bytes.local = Some(3100);
        o.dont_route = true;
    });
}

#[test]
fn hosts_families_and_ports() {
    means("-H h -L l", |o| o.control = pair(at("l", Family::Unspecified), at("h", Family::Unspecified)));
    means("-H h,inet6 -L ,4", |o| o.control = pair(at("", Family::V4), at("h", Family::V6)));
    means("-H h,6 -4", |o| o.control = pair(at("", Family::V4), at("h", Family::V4)));
    means("-46 -H h,4", |o| o.control = pair(at("", Family::V6), at("h", Family::V4)));
    means("-H a -H b -H ,af_rds", |o| o.control.remote = at("b", Family::Rds));
    means("-p 5 -p ,6", |o| o.control_port = pair("6".into(), "5".into()));
    means("-p http,7", |o| o.control_port = pair("7".into(), "http".into()));
    means("-- -H h,4,6 -L l,0", |o| {
        o.data = pair(at("l", Family::Unspecified), at("h", Family::V6));
    });
    means("-- -4 -6", |o| o.data = pair(at("", Family::V6), at("", Family::V6)));
    means("-6 -- -H h -4", |o| {
        o.control = pair(at("", Family::V6), at("", Family::V6));
        o.data = pair(at("", Family::V4), at("h", Family::V4));
    });
    means("-- -P ,23965", |o| o.data_port.remote = "23965".into());
    means("-- -P 5, -P ,http", |o| o.data_port = pair("5".into(), "http".into()));
}

#[test]
fn lengths_and_pauses() {
    for (text, length) in [
        ("5", Length::Seconds(5)),
        ("1K", Length::Seconds(1024)),
        ("0", Length::Endless),
        ("abc", Length::Endless),
        ("-10000", Length::Bytes(10_000)),
        ("-1M", Length::Bytes(1 << 20)),
        ("-2G", Length::Bytes(1 << 31)),
    ] {
        means(&format!("-l {text}"), |o| o.length = length);
    }
    means("-s 3", |o| o.pause = Duration::from_secs(3));
    means("-s 3 -s -3", |_| {});
}

#[test]
fn what_is_printed_and_how() {
    means("-P 0 -v0", |o| (o.headers, o.verbosity) = (false, 0));
    means("-P 0 -P 1 -v 3", |o| o.verbosity = 3);
    means("-P -1 -v -1", |o| o.verbosity = -1);
    means("-B brand", |o| o.brand = Some("brand".into()));
    means("-f mega -dd", |o| (o.unit, o.debug) = (Some('m'), 2));
    means("-fG", |o| o.unit = Some('G'));
    means("-f xyz", |o| o.unit = Some('x'));
    let empty = read_words("-H h", &["-f", ""]).options;
    assert_eq!((empty.unit, empty.control.remote.name.as_deref()), (Some('\0'), Some("h")));
}

#[test]
fn cpu_options() {
    means("-c", |o| o.measure_cpu.local = true);
    means("-cC", |o| o.measure_cpu = pair(true, true));
    means("-c 5x -C 12.5", |o| (o.measure_cpu, o.remote_cpu_rate) = (pair(true, true), 12.5));
    means("-c stray -C -N", |o| {
        (o.measure_cpu, o.no_control) = (local(true), true);
        o.alignment.remote = directions(-1, -1);
        o.offset.remote = directions(-1, -1);
        o.data_port.remote = "9".into();
    });
    means("-T 1", |o| (o.cpu, o.cpu_bind) = (pair(Some(1), Some(1)), true));
    means("-T ,2", |o| (o.cpu, o.cpu_bind) = (remote(Some(2)), true));
    means("-T 1 -T -1,", |o| (o.cpu, o.cpu_bind) = (remote(Some(1)), true));
}

#[test]
fn confidence_options() {
    let cases = [
        ("", (1, 1, 0, 0.0)),
        ("-i 3,2 -I 99,5", (3, 3, 99, 5.0)),
        ("-i 5,3 -I 95,90", (5, 3, 95, 90.0)),
        ("-i 3,3 -I 99,0.001", (3, 3, 99, 0.001)),
        ("-I 99", (10, 3, 99, 99.0)),
        ("-I 95.5", (10, 3, 95, 95.5)),
        ("-I 95,", (10, 3, 95, 5.0)),
        ("-I 95,abc", (10, 3, 95, 5.0)),
        ("-I 95,-5", (10, 3, 95, -5.0)),
        ("-I95,8 -i 7", (7, 7, 95, 8.0)),
        ("-i 4 -I 95,400", (4, 4, 95, 400.0)),
        ("-i 3,", (3, 3, 99, 5.0)),
        ("-i ,4", (4, 4, 99, 5.0)),
        ("-i 1,1", (3, 3, 99, 5.0)),
        ("-i 99,50", (30, 30, 99, 5.0)),
        ("-i 5,10", (10, 10, 99, 5.0)),
        ("-i abc", (3, 3, 99, 5.0)),
        ("-i -3", (3, 3, 99, 5.0)),
    ];
    for (line, (max, min, level, width)) in cases {
        let expected = Confidence { max, min, level, width, result_only: false };
        assert_eq!(options(line).confidence, expected, "{line}");
    }
    assert!(options("-r").confidence.result_only);
}

#[test]
fn buffers_and_sockets() {
    means("-a 4096,64 -o 3,5 -A 128 -O 7, -W 4,6", |o| {
        o.alignment = pair(directions(4096, 64), directions(128, 128));
        o.offset = pair(directions(3, 5), directions(7, 0));
        o.ring_width = directions(Some(4), Some(6));
    });
    means("-W 9 -- -W 5", |o| o.ring_width = directions(Some(5), Some(9)));
    means("-S -y 3, -Y 0x10,ef", |o| {
        o.keepalive = true;
        o.priority = local(Some(3));
        o.type_of_service = pair(Some(0x10), Some(0xb8));
    });
    means("-y 5 -y -1 -Y 7 -Y zz", |_| {});
    means("-F a,b", |o| {
        o.local_fill_file = Some("a".into());
        o.remote_fill_file = Some("b".into());
    });
    means("-F /dev/urandom", |o| o.local_fill_file = Some("/dev/urandom".into()));
    means("-F ,1234567890123456789012345678901", |o| {
        o.remote_fill_file = Some("1234567890123456789012345678901".into());
    });
    means("-Z secret", |o| o.passphrase = Some("secret".into()));
    let paced = |o: &mut Options, burst, us| (o.burst, o.interval_us) = (burst, us);
    means("-b ,5", |o| paced(o, remote(5), remote(1000)));
    means("-b ,77 -w ,7", |o| paced(o, remote(77), remote(7000)));
    means("-w ,7u -b ,77", |o| paced(o, remote(77), remote(7)));
    means("-w 10 -b 5", |o| paced(o, local(5), local(10_000)));
    means("-b 5,6 -w 7u,8s", |o| paced(o, pair(5, 6), pair(7, 8_000_000)));
    means("-- -s 4096, -S ,8K -aBCDFnV -G 500 -K cubic,reno", |o| {
        o.socket_buffer = pair(directions(Some(4096), None), directions(None, Some(8192)));
        (o.defer_accept, o.packet_info, o.cork, o.no_delay) = (true, true, true, true);
        (o.fast_open, o.connected_udp, o.avoid_copies) = (true, true, true);
        o.max_segment = Some(500);
        o.congestion_control = pair(Some("cubic".into()), Some("reno".into()));
    });
    means("-- -s -5 -S -5 -G -1", |_| {});
    // Not "unset": the kernel is asked for it, and grants its least.
    means("-- -s 0 -S 0", |o| {
        o.socket_buffer = pair(directions(Some(0), Some(0)), directions(Some(0), Some(0)));
    });
    means("-- -K ,longer-than-fifteen", |o| {
        o.congestion_control.remote = Some("longer-than-fif".into());
    });
    means("-- -D L,R", |o| o.no_delay = true);
}

#[test]
fn sizes_of_messages() {
    means("-- -m 1K,2K -M 3K,4K", |o| {
        o.send_bytes = pair(Some(1024), Some(2048));
        o.receive_bytes = pair(Some(4096), Some(3072));
    });
    means("-- -m 5", |o| o.send_bytes = local(Some(5)));
    means("-- -M 5", |o| o.receive_bytes = remote(Some(5)));
    means("-- -m abc -M 4G -r 0", |_| {});
    means("-- -r -5", |_| {});
    means("-- -r 5,", |o| o.request_bytes = Some(5));
    means("-- -r ,5", |o| o.response_bytes = Some(5));
    means("-- -m 5 -- -m 6", |o| o.send_bytes = local(Some(5)));
}

#[test]
fn routes_and_tests() {
    means("-- -R 0", |o| o.dont_route = true);
    means("-t tcp_maerts -- -R 0 -R 1", |o| of(o, TestName::TcpMaerts));
    means("-t Udp_Stream", |o| {
        of(o, TestName::UdpStream);
        o.dont_route = true;
    });
    means("-t UDP_STREAM -- -R 1 -T udp -t dgram", |o| of(o, TestName::UdpStream));
    means("-- -T TCP -t sock_stream", |_| {});
    means("-- -T xyz", |_| {});
    // The options of tests that are not there are not read.
    for line in ["-t tcp_bogus -- -h", "-t TCP_BOGUS -- -Q -k", "-tTCP_BOGUS"] {
        means(line, |o| o.test = Err("TCP_BOGUS".into()));
    }
    let said = unknown_test("TCP_BOGUS");
    let golden = "The test you requested (TCP_BOGUS) is unknown to this netperf.\n\
                  Please verify that you have the correct test name, \n\
                  and that test family has been compiled into this netperf.\n";
    assert_eq!((said.texts, said.exit), (vec![(Stream::Out, golden.to_owned())], Some(1)));
}

#[test]
fn without_control_connection_ports_are_services() {
    for (line, port) in [
        ("-N -t TCP_RR", "7"),
        ("-N -t UDP_RR -- -b 3", "7"),
        ("-N -t TCP_SENDFILE", "9"),
        ("-N -t OMNI -- -d recv", "19"),
        ("-N", "9"),
        ("-N -t UDP_STREAM -- -R 1", "9"),
        ("-N -t TCP_MAERTS", "19"),
        ("-N -- -P ,23997", "23997"),
        ("-N -- -P ,0", "9"),
    ] {
        assert_eq!(options(line).data_port, pair("0".into(), port.into()), "{line}");
    }
    let options = options("-N -C -A 64 -O 3 -y 5 -Y ef");
    assert_eq!(options.measure_cpu, Pair::default());
    assert_eq!(options.alignment.remote, directions(-1, -1));
    assert_eq!(options.offset.remote, directions(-1, -1));
    assert_eq!(options.priority, local(Some(5)));
    assert_eq!(options.type_of_service, local(Some(0xb8)));
}

#[test]
fn options_without_effect_take_what_is_theirs() {
    means("-- -w x -l 3 -j 5 -N -g -I -d recv -c -m 7", |o| o.send_bytes = local(Some(7)));
    means("-t TCP_SENDFILE -- -w x -n -N -T udp -z -m 7,8 -M 9", |o| {
        of(o, TestName::TcpSendfile);
        (o.send_bytes, o.receive_bytes) = (local(Some(7)), remote(Some(9)));
    });
    means("-t LOC_CPU -- -Q -h", |o| of(o, TestName::LocCpu));
}

/// Texts that are printed, in order.
type Texts<T> = Vec<(Stream, T)>;

/// A command line, the texts that reading it prints, and the exit code if it ends there.
type Case<'a> = (&'a str, &'a [(Stream, &'a str)], Option<u8>);

/// What is said while global options are read, and then the test's; and the exit code.
fn said(line: &str) -> (Texts<String>, Texts<String>, Option<u8>) {
    let Parsed { global, test, .. } = read(line);
    (global.texts, test.texts, global.exit.or(test.exit))
}

#[test]
fn messages_and_ends_of_global_options() {
    use Stream::{Err, Out};
    let family = "WARNING! bogus not recognized as an address family, using AF_UNPSEC\n\
                  Are you sure netperf was configured for that address family?\n";
    let rate = "Packet rate control is not compiled in.\n";
    let burst = "Packet burst size is not compiled in. \n";
    let dirty = "I don't know how to get dirty.\n";
    let level = "Only 95% and 99% confidence level is supported\n";
    let file = "Remote fill file name must be less than 32 characters\n";
    let version = "Netperf version 2.7.0\n";
    let usage = usage::global();
    let bad = |complaint: &str| format!("netperf: {complaint}\n{usage}");
    let cases: &[Case<'_>] = &[
        ("-H 127.0.0.1,bogus", &[(Out, family)], None),
        ("-L ,bogus -H h,4", &[(Out, family)], None),
        ("-w 10", &[(Out, rate)], None),
        ("-b 10", &[(Out, burst)], None),
        ("-b 5,5 -w 6,6", &[], None),
        ("-b 5,5 -w 6,6 -t TCP_MAERTS", &[(Out, burst), (Out, rate)], None),
        ("-b 5,5 -w 6,6 -t OMNI -- -c", &[(Out, burst), (Out, rate)], None),
        ("-b 5,5 -w 6,6 -t OMNI -- -d rr", &[], None),
        ("-k ,10 -K 1", &[(Out, dirty), (Out, dirty)], None),
        ("-I 90,5", &[(Out, level)], Some(255)),
        ("-I ,5 -i 3", &[(Out, level)], Some(255)),
        ("-w 5 -I abc -b 3", &[(Out, rate), (Out, level)], Some(255)),
        ("-F fill.dat,/a/very/long/path/that/exceeds/the/limit", &[(Err, file)], Some(255)),
        ("-V", &[(Out, version)], Some(0)),
        ("-w 5 -V -h", &[(Out, rate), (Out, version)], Some(0)),
        ("-h -V", &[(Err, &usage)], Some(1)),
        ("-q -H h", &[(Err, &bad("invalid option -- 'q'"))], Some(1)),
        ("-H", &[(Err, &bad("option requires an argument -- 'H'"))], Some(1)),
        ("-c3 -H h", &[(Err, &bad("invalid option -- '3'"))], Some(1)),
        ("--help", &[(Err, &bad("invalid option -- '-'"))], Some(1)),
        ("-w 10 -b 0", &[(Out, rate), (Out, burst)], None),
        ("-D -H 127.0.0.1 -q", &[(Err, &bad("invalid option -- 'q'"))], Some(1)),
    ];
    for (line, texts, exit) in cases {
        let texts = texts.iter().map(|(stream, text)| (*stream, (*text).to_owned())).collect();
        assert_eq!(said(line), (texts, Vec::new(), *exit), "{line}");
    }
}

#[test]
fn messages_and_ends_of_test_options() {
    use Stream::{Err, Out};
    let (usage, old_usage) = (usage::omni(), usage::sockets());
    let each_way =
        "netperf: a connection for each message of one direction (test option -c) is not supported\n";
    let each_datagram = "netperf: a connection for each transaction (test option -c) is of TCP only\n";
    let no_port = "No default port known for the TCP_CC test, please set one yourself\n";
    let retired = "netperf: the test option -i has been retired and has no effect\n";
    let sends = "netperf: a message has at least 1 byte: test option -m is negative\n";
    let receives = "netperf: a message has at least 1 byte: test option -M is negative\n";
    let cases: &[Case<'_>] = &[
        ("-- -h", &[(Out, &usage)], Some(1)),
        ("-- -Q", &[(Err, "netperf: invalid option -- 'Q'\n")], None),
        ("-- -P", &[(Err, "netperf: option requires an argument -- 'P'\n")], None),
        (
            "-- -Q -e",
            &[
                (Err, "netperf: invalid option -- 'Q'\n"),
                (Err, "netperf: option requires an argument -- 'e'\n"),
            ],
            None,
        ),
        ("-- --h", &[(Err, "netperf: invalid option -- '-'\n"), (Out, &usage)], Some(1)),
        ("-- -i x", &[(Err, retired)], None),
        ("-- -k THROUGHPUT -h", &[(Out, &usage)], Some(1)),
        ("-t TCP_CC -- -h", &[(Out, &old_usage)], Some(1)),
        ("-t TCP_CC -- -K x", &[(Err, "netperf: invalid option -- 'K'\n")], None),
        ("-t TCP_SENDFILE -- -m -5", &[(Err, sends)], Some(1)),
        ("-t TCP_CC -N", &[(Out, no_port)], Some(255)),
        ("-t omni -- -c -d send", &[(Err, each_way)], Some(1)),
        ("-t omni -- -c -T udp -r 1", &[(Err, each_datagram)], Some(1)),
        ("-- -m -5", &[(Err, sends)], Some(1)),
        ("-- -m -1", &[(Err, sends)], Some(1)),
        ("-- -m ,-5", &[], None),
        ("-- -M -5", &[(Err, receives)], Some(1)),
        ("-- -M -1,-5", &[], None),
        ("-t TCP_MAERTS -- -m -5,-1", &[], None),
        ("-t TCP_MAERTS -- -m ,-5", &[(Err, sends)], Some(1)),
        ("-t TCP_MAERTS -- -M ,-1", &[(Err, receives)], Some(1)),
        ("-t UDP_STREAM -- -m -1", &[(Err, sends)], Some(1)),
    ];
    for (line, texts, exit) in cases {
        let texts = texts.iter().map(|(stream, text)| (*stream, (*text).to_owned())).collect();
        assert_eq!(said(line), (Vec::new(), texts, *exit), "{line}");
    }
    // What netperf does not know, it takes for -4.
    assert_eq!(read("-- -6 -Q").options.data, pair(at("", Family::V4), at("", Family::V4)));
    // The rest of the line is not read after an end.
    assert_eq!(read("-V -- -Q").test, super::Said::default());
}

/// Command lines of golden outputs whose options are all of this release, each with what it means besides the
/// netserver's place and a second's length.
#[test]
fn golden_command_lines() {
    let silent = |line: &str, change: fn(&mut Options)| {
        means(&format!("-H 127.0.0.1 -p 23965 -l 1 {line}"), |o| {
            o.control.remote.name = Some("127.0.0.1".into());
            o.control_port.remote = "23965".into();
            o.length = Length::Seconds(1);
            change(o);
        });
    };
    silent("-- -m abc", |_| {});
    silent("stray words -- junk -m 4K more", |o| o.send_bytes.local = Some(4096));
    silent("-- -P ,23965", |o| o.data_port.remote = "23965".into());
    silent("-- -H 127.0.0.1 -L 127.0.0.1,4", |o| {
        o.data = pair(at("127.0.0.1", Family::V4), at("127.0.0.1", Family::Unspecified));
    });
    silent("-Z secret", |o| o.passphrase = Some("secret".into()));
    silent("-l 0", |o| o.length = Length::Endless);
    silent("-i 3,3 -I 99,0.001 -r -c -C", |o| {
        o.confidence = Confidence { max: 3, min: 3, level: 99, width: 0.001, result_only: true };
        o.measure_cpu = pair(true, true);
    });
    silent("-t UDP_STREAM -- -P 12866 -r 150 -m 3100", |o| {
        of(o, TestName::UdpStream);
        o.dont_route = true;
        o.data_port = pair("12866".into(), "12866".into());
        (o.request_bytes, o.response_bytes) = (Some(150), Some(150));
        o.send_bytes.local = Some(3100);
    });
    silent("-- -P 12866 -s 100, -m 131072", |o| {
        o.data_port = pair("12866".into(), "12866".into());
        o.socket_buffer.local.send = Some(100);
        o.send_bytes.local = Some(131_072);
    });
    silent("-t SCTP_STREAM", |o| o.test = Err("SCTP_STREAM".into()));
    silent("-t tcp_rr", |o| {
        of(o, TestName::TcpRr);
        (o.request_bytes, o.response_bytes) = (Some(1), Some(1));
    });
    silent("-P 0 -v 0 -D -0.20 -4 -Y 0xb8,0xb8 -t UDP_RR -F /dev/urandom -- -e 2 -H 127.0.0.1 -k A,B", |o| {
        of(o, TestName::UdpRr);
        (o.headers, o.verbosity) = (false, 0);
        o.interim = Some(Interim { interval: Duration::from_millis(200), after_each: true, units: None });
        o.control = pair(at("", Family::V4), at("127.0.0.1", Family::V4));
        o.type_of_service = pair(Some(0xb8), Some(0xb8));
        o.local_fill_file = Some("/dev/urandom".into());
        o.response_timeout = Some(Duration::from_secs(2));
        o.data.remote = at("127.0.0.1", Family::Unspecified);
        o.selectors = Some(Selectors { style: Style::KeyValue, list: Some("A,B".into()) });
        (o.request_bytes, o.response_bytes) = (Some(1), Some(1));
    });
    silent("-F /nonexistent/file", |o| o.local_fill_file = Some("/nonexistent/file".into()));
}

#[test]
fn tables_have_the_letters_of_netperf() {
    use super::getopt::{Argument, Entry};
    fn letters<S>(table: &[Entry<S>]) -> Vec<(char, bool)> {
        let required = |entry: &Entry<S>| matches!(entry.argument, Argument::Required(_));
        let mut letters: Vec<_> =
            table.iter().map(|entry| (char::from(entry.letter), required(entry))).collect();
        letters.sort_unstable();
        letters
    }
    /// The same of a getopt string.
    fn of(text: &str) -> Vec<(char, bool)> {
        let next = text.chars().skip(1).chain([' ']);
        let mut letters: Vec<_> = text
            .chars()
            .zip(next)
            .filter(|(letter, _)| *letter != ':')
            .map(|(letter, next)| (letter, next == ':'))
            .collect();
        letters.sort_unstable();
        letters
    }
    assert_eq!(
        letters(global::TABLE),
        of("A:a:b:B:CcdD:f:F:H:hi:I:jk:K:l:L:n:NO:o:P:p:rSs:t:T:v:VW:w:y:Y:Z:46")
    );
    assert_eq!(letters(sockets::TABLE), of(":b:CDnNhH:L:m:M:p:P:r:R:s:S:T:Vw:W:z46"));
    assert_eq!(letters(omni::TABLE), of("aBb:cCd:De:FgG:hH:i:Ij:kK:l:L:m:M:nNoOp:P:r:R:s:S:t:T:u:UVw:W:46"));
}

#[test]
fn usage_names_every_option_within_a_terminal() {
    for (text, letters) in [
        (usage::global(), global::TABLE.iter().map(|entry| entry.letter).collect::<Vec<_>>()),
        (usage::omni(), omni::TABLE.iter().map(|entry| entry.letter).collect()),
        (usage::sockets(), sockets::TABLE.iter().map(|entry| entry.letter).collect()),
    ] {
        for letter in letters {
            assert!(text.contains(&format!("\n  -{} ", char::from(letter))), "{}", char::from(letter));
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn the_command_line_is_kept() {
    let words = ["netperf", "-H", "h", "--", "-m", "5", "", "a b"];
    let parsed = read_words("-H h -- -m 5", &["", "a b"]);
    assert_eq!(parsed.options.command, words.map(OsString::from));
}

#[test]
fn names_of_files_need_not_be_text() {
    let name = OsString::from_vec(b"-F\xff,\xfe".to_vec());
    let parsed = parse(OsStr::new("netperf"), vec![name]);
    let expected = OsString::from_vec(b"\xff".to_vec());
    assert_eq!(parsed.options.local_fill_file.as_deref(), Some(Path::new(&expected)));
    assert_eq!(parsed.options.remote_fill_file.as_deref(), Some("\u{fffd}"));
}

proptest! {
    /// Words made of what means something, so that most of them are read as options.
    #[test]
    fn no_command_line_panics(words in prop::collection::vec("-?[-a-zA-Z0-9,./é ]{0,8}|--", 0..12)) {
        let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        let parsed = parse(OsStr::new("netperf"), words.clone());
        prop_assert_eq!(&parsed.options.command[1..], &words[..]);
        let confidence = parsed.options.confidence;
        prop_assert!(1 <= confidence.min && confidence.min <= confidence.max && confidence.max <= 30);
        let ended = parsed.global.exit.is_some();
        prop_assert!(!ended || parsed.test == super::Said::default());
        for (_, text) in parsed.global.texts.iter().chain(&parsed.test.texts) {
            prop_assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn no_bytes_panic(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..12)) {
        let words: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
        let parsed = parse(OsStr::new("netperf"), words.clone());
        prop_assert_eq!(parsed.options.command.len(), words.len() + 1);
    }
}
