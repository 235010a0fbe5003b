//! `ringperf run tcp-maerts` and `udp-stream`: data that comes from the netserver, and datagrams, which may
//! be lost.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::Value;

use super::tools::{Run, StockNetserver, assert_says, engines, free_port, in_new_network};
use super::{assert_measured, warning_kinds};
use crate::support::{Netserver, RINGPERF, signal, skip};

/// Which end we are in each of the tests of this file, and their names on the command line and in records.
const TESTS: [(&str, &str, &str); 2] =
    [("tcp-maerts", "tcp_maerts", "receiver"), ("udp-stream", "udp_stream", "sender")];

fn number(record: &Value, name: &str) -> u64 {
    record["result"][name].as_u64().unwrap_or_else(|| panic!("{name} in {record}"))
}

/// What the counts of both ends have to do with each other.
fn assert_counts_agree(record: &Value) {
    let (sent, received) = (number(record, "bytes_sent"), number(record, "bytes_received"));
    let message = record["sender"]["message_bytes"].as_u64().expect("a size");
    let messages = number(record, "messages_sent");
    assert_eq!(sent, messages * message, "{record}");
    if record["test"] == "udp_stream" {
        let datagrams = number(record, "receives");
        assert!(datagrams <= messages && received == datagrams * message, "{record}");
        let loss = record["result"]["loss"].as_f64().expect("a share");
        assert!((loss - (1.0 - datagrams as f64 / messages as f64)).abs() < 1e-9, "{record}");
    } else {
        assert!(record["result"]["loss"].is_null(), "{record}");
        assert!(received < sent + message, "{record}");
    }
    assert!(!warning_kinds(record).contains(&"bytes_differ"), "{record}");
}

#[test]
fn every_engine_measures_both_ends() {
    for (test, name, local) in TESTS {
        for engine in engines() {
            let done = Run::new([test, "--time", "1", "--json", "--engine", engine.option]).done();
            assert_eq!(done.code, Some(0), "{done:?}");
            let record = done.json();
            assert_measured(&record, name, local);
            assert_counts_agree(&record);
            for end in ["sender", "receiver"] {
                assert_eq!(record[end]["engine"], engine.name, "{record}");
                assert!(record[end]["worker"]["ns_per_kb"].as_f64().is_some_and(|cost| cost > 0.0));
            }
            let seconds = record["time"]["elapsed_ns"].as_f64().expect("a time") / 1e9;
            // A busy machine may come late to the end. It may also come late to the start of a test that the
            // netserver ends.
            let least = if local == "receiver" { 0.5 } else { 0.95 };
            assert!((least..8.0).contains(&seconds), "{record}");
            let kinds = warning_kinds(&record);
            assert!(kinds.contains(&"no_wire") && !kinds.contains(&"ended_early"), "{kinds:?}");
        }
    }
}

#[test]
fn text_tells_the_direction_and_what_was_lost() {
    for (test, course, message) in [
        ("tcp-maerts", "TCP stream from our own netserver on 127.0.0.1, ", " messages of 1 MiB"),
        ("udp-stream", "UDP stream to our own netserver on 127.0.0.1, ", " datagrams of 1472 bytes"),
    ] {
        let done = Run::new([test, "--time", "1"]).done();
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
        let lines: Vec<&str> = done.out.lines().collect();
        assert!(lines[0].starts_with("goodput ") && lines[0].contains(" received in "), "{}", done.out);
        assert!(lines[1].starts_with(course) && lines[1].ends_with(message), "{}", done.out);
        if test == "udp-stream" {
            assert!(lines[2].starts_with("sent at ") && lines[2].contains(" okay, "), "{}", done.out);
            assert!(lines[2].contains(" % lost"), "{}", done.out);
        } else {
            assert!(lines[2].contains(" retransmits, ") && !lines[2].contains("MSS"), "{}", done.out);
        }
        let header = lines.iter().find(|line| line.trim_start().starts_with("sender")).expect("a table");
        assert!(header.contains("receiver"), "{}", done.out);
    }
}

#[test]
fn bytes_are_rounded_up_to_whole_messages() {
    for engine in engines() {
        for (test, name, local) in TESTS {
            let options =
                [test, "--bytes", "1000001", "--message", "1000", "--json", "--engine", engine.option];
            let done = Run::new(options).done();
            assert_eq!(done.code, Some(0), "{done:?}");
            let record = done.json();
            assert_measured(&record, name, local);
            assert_counts_agree(&record);
            assert_eq!(number(&record, "bytes_sent"), 1_001_000, "{record}");
            if test == "tcp-maerts" {
                assert_eq!(number(&record, "bytes_received"), 1_001_000, "{record}");
            }
            assert_eq!(record["asked"]["bytes"], 1_000_001, "{record}");
        }
    }
}

#[test]
fn socket_buffers_are_those_that_the_data_passes() {
    for (test, name, local) in TESTS {
        let done = Run::new([test, "--time", "1", "--socket-buffer", "64K", "--json"]).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        assert_measured(&record, name, local);
        assert_eq!(record["asked"]["sender"]["send_buffer"], 65_536, "{record}");
        assert_eq!(record["asked"]["receiver"]["receive_buffer"], 65_536, "{record}");
        for end in ["sender", "receiver"] {
            assert_eq!(record[end]["socket_buffer"]["asked"], 65_536, "{record}");
            // socket(7): the kernel doubles what it is asked for.
            assert_eq!(record[end]["socket_buffer"]["granted"], 131_072, "{record}");
        }
    }
}

#[test]
fn messages_of_any_size_that_fits() {
    for (test, sizes) in [("tcp-maerts", ["1", "16M"]), ("udp-stream", ["1", "65507"])] {
        for size in sizes {
            for engine in engines() {
                let options = [test, "--time", "1", "--message", size, "--json", "--engine", engine.option];
                let done = Run::new(options).done();
                assert_eq!(done.code, Some(0), "{done:?}");
                assert_counts_agree(&done.json());
            }
        }
    }
}

#[test]
fn a_datagram_that_cannot_be_is_usage() {
    let done = Run::new(["udp-stream", "--message", "65508", "--json"]).done();
    let error = done.error("USAGE", 2);
    assert_says(&error, "text", "65507 bytes at most");
    assert_says(&error, "setting", "--message");
    assert!(done.took < Duration::from_secs(5), "{done:?}");
}

#[test]
fn datagrams_fill_one_frame_with_either_version_of_ip() {
    let record = Run::new(["udp-stream", "--time", "1", "--json"]).done().json();
    assert_eq!(record["sender"]["message_bytes"], 1472, "{record}");
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        let test = "datagrams_fill_one_frame_with_either_version_of_ip";
        return skip(test, "ipv6", "there is no ::1 here");
    }
    for (test, name, local) in TESTS {
        let done = Run::new([test, "-6", "--time", "1", "--json"]).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        assert_measured(&record, name, local);
        if test == "udp-stream" {
            assert_eq!(record["sender"]["message_bytes"], 1452, "{record}");
        }
    }
}

#[test]
fn datagrams_may_have_one_port_at_both_ends() {
    for engine in engines() {
        let port = free_port().to_string();
        let options =
            ["udp-stream", "--time", "1", "--data-port", &port, "--json", "--engine", engine.option];
        let done = Run::new(options).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        assert_measured(&record, "udp_stream", "sender");
        assert_counts_agree(&record);
    }
}

#[test]
fn netperfs_netserver_serves_us_in_every_direction() {
    let Some(netserver) = StockNetserver::start("netperfs_netserver_serves_us_in_every_direction") else {
        return;
    };
    let port = netserver.port.to_string();
    for engine in engines() {
        for (test, name, local) in TESTS {
            for length in [["--time", "1"], ["--bytes", "20000001"]] {
                let options = [test, "-H", "127.0.0.1", "--port", &port, "--json", "--engine", engine.option];
                let done = Run::new(options).args(length).done();
                assert_eq!(done.code, Some(0), "{done:?}");
                let record = done.json();
                assert_measured(&record, name, local);
                assert_counts_agree(&record);
                assert_eq!(record["target"]["netserver"]["kind"], "netperf", "{record}");
                assert_eq!(record[local]["engine"], engine.name, "{record}");
                assert!(record["remote_facts"].is_null(), "{record}");
                assert!(warning_kinds(&record).contains(&"remote_whole_machine"), "{record}");
            }
        }
    }
}

#[test]
fn more_than_netperfs_netserver_can_be_told_to_send_is_usage() {
    let test = "more_than_netperfs_netserver_can_be_told_to_send_is_usage";
    let Some(netserver) = StockNetserver::start(test) else { return };
    let port = netserver.port.to_string();
    let options = ["tcp-maerts", "-H", "127.0.0.1", "--port", &port, "--bytes", "3G", "--json"];
    let error = Run::new(options).done().error("USAGE", 2);
    assert_says(&error, "setting", "--bytes");
}

#[test]
fn a_signal_keeps_what_was_measured() {
    for (test, name, local) in TESTS {
        for engine in engines() {
            let run = Run::new([test, "--time", "30", "--json", "--engine", engine.option]).start();
            std::thread::sleep(Duration::from_millis(1500));
            signal(run.pid(), "INT");
            let done = run.done();
            assert_eq!(done.code, Some(130), "{done:?}");
            assert!(done.took < Duration::from_secs(10), "{done:?}");
            let record = done.json();
            assert_measured(&record, name, local);
            assert_eq!(record["interrupted"], "SIGINT", "{record}");
            assert!(warning_kinds(&record).contains(&"interrupted"), "{record}");
            assert!(!warning_kinds(&record).contains(&"bytes_differ"), "{record}");
        }
    }
}

#[test]
fn a_netserver_killed_in_the_middle_is_a_peer_error() {
    for (test, ..) in TESTS {
        let mut netserver = Netserver::start(&["-4", "-L", "127.0.0.1"]);
        let port = netserver.port.to_string();
        let run = Run::new([test, "-H", "127.0.0.1", "--port", &port, "--time", "30", "--json"]).start();
        std::thread::sleep(Duration::from_millis(1500));
        signal(netserver.id(), "KILL");
        netserver.wait();
        let done = run.done();
        assert!(done.took < Duration::from_secs(10), "{done:?}");
        done.error("PEER", 4);
    }
}

#[test]
fn a_taken_port_for_datagrams_is_told() {
    // The netserver binds the wildcard address, so a socket on another loopback address is in its way only.
    let taken = UdpSocket::bind("127.0.0.3:0").expect("loopback has many addresses");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let options = ["udp-stream", "--time", "1", "--local", "127.0.0.2", "--json", "--data-port", &port];
    let done = Run::new(options).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_measured(&record, "udp_stream", "sender");
    assert!(warning_kinds(&record).contains(&"data_port_changed"), "{record}");
}

#[test]
fn a_slow_link_loses_datagrams_and_says_how_many() {
    const TEST: &str = "a_slow_link_loses_datagrams_and_says_how_many";
    let Some(unshare) = in_new_network(TEST) else { return };
    // Twenty megabits for what is sent much faster: the queue fills, and either the sender is told or the
    // datagrams are gone.
    let script = "ip link set lo up || exit 77
                  tc qdisc add dev lo root tbf rate 20mbit burst 32k limit 64k || exit 77
                  exec \"$@\"";
    let words = [unshare.as_os_str(), "-rn".as_ref(), "sh".as_ref(), "-c".as_ref(), script.as_ref()];
    let words = words.into_iter().chain(["sh".as_ref(), RINGPERF.as_ref()]);
    let done = Run::by(words, ["udp-stream", "--time", "2", "--json"]).done();
    if done.code == Some(77) {
        return skip(TEST, "netns", done.err.trim());
    }
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_measured(&record, "udp_stream", "sender");
    assert_counts_agree(&record);
    let goodput = record["result"]["goodput_bits_per_second"].as_f64().expect("a rate");
    assert!((1e5..30e6).contains(&goodput), "{record}");
    assert!(number(&record, "failed_sends") > 0 || record["result"]["loss"].as_f64() > Some(0.0), "{record}");
}
