//! `ringperf run`, from its command line to its output and exit code.
//!
//! Results against a netserver of its own are here, and in [`directions`] those of data that comes from the
//! netserver or goes by UDP, in [`without`] those of ends that were told to do without something, in
//! [`flows`] those of many connections, in [`transactions`] those of requests and responses; [`trials`] has
//! commands that run many measurements, [`faults`] has netservers that are none, [`lifetime`] has signals and
//! processes that die, [`places`] has other netservers and narrow surroundings, [`wishes`] what is asked of
//! one.

mod directions;
mod faults;
mod flows;
mod lifetime;
mod offloads;
mod places;
mod tools;
mod transactions;
mod trials;
mod wishes;
mod without;

use crate::support::skip;

use serde_json::Value;

use tools::{Run, engines, free_port};

/// What a result of a TCP stream has to have, whoever the receiver was.
fn assert_is_a_result(record: &Value) {
    assert_measured(record, "tcp_stream", "sender");
    assert_eq!(record["result"]["bytes_sent"], record["result"]["bytes_received"], "{record}");
}

/// What a result has to have, whichever the test and whoever the netserver was.
fn assert_measured(record: &Value, test: &str, local: &str) {
    assert_eq!(record["record"], 3, "{record}");
    assert_eq!((&record["test"], &record["local"]), (&Value::from(test), &Value::from(local)), "{record}");
    assert!(record.get("error").is_none(), "{record}");
    let seconds = record["time"]["elapsed_ns"].as_f64().expect("a time") / 1e9;
    for (count, rate) in
        [("bytes_received", "goodput_bits_per_second"), ("bytes_sent", "sent_bits_per_second")]
    {
        let bytes = record["result"][count].as_u64().expect("a count");
        assert!(bytes > 0, "{record}");
        let rate = record["result"][rate].as_f64().expect("a rate");
        let expected = bytes as f64 * 8.0 / seconds;
        // A netserver that sends has a clock of its own.
        if count == "bytes_received" || local == "sender" {
            assert!((rate / expected - 1.0).abs() < 1e-9, "{rate} is not {expected}");
        }
        assert!(rate > 0.0, "{record}");
    }
    assert!(record[local]["worker"]["cpu_ns"].as_u64().is_some_and(|cpu| cpu > 0), "{record}");
    assert!(record[local]["worker"]["ns_per_kb"].as_f64().is_some_and(|cost| cost > 0.0), "{record}");
    assert!(record["local_facts"]["kernel"].is_string(), "{record}");
    for end in ["sender", "receiver"] {
        assert!(record[end]["machine"]["utilisation_percent"].is_number(), "{record}");
        assert!(record[end]["machine"]["service_demand_us_per_kb"].is_number(), "{record}");
        assert!(record[end]["message_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{record}");
        for size in ["granted", "end"] {
            assert!(record[end]["socket_buffer"][size].as_u64().is_some_and(|size| size > 0), "{record}");
        }
    }
}

fn warning_kinds(record: &Value) -> Vec<&str> {
    let warnings = record["warnings"].as_array().expect("a list");
    assert!(warnings.iter().all(|warning| warning["text"].is_string()), "{record}");
    warnings.iter().filter_map(|warning| warning["kind"].as_str()).collect()
}

#[test]
fn text_shows_both_ends_and_no_colour() {
    for engine in engines() {
        let done = Run::new(["--time", "1", "--engine", engine.option]).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let lines: Vec<&str> = done.out.lines().collect();
        assert!(lines[0].starts_with("goodput ") && lines[0].contains("bit/s"), "{}", done.out);
        assert!(lines[1].contains("our own netserver on 127.0.0.1"), "{}", done.out);
        assert!((12..=18).contains(&lines.len()), "{} lines:\n{}", lines.len(), done.out);
        let row = lines.iter().find(|line| line.starts_with("engine")).expect("a row of engines");
        assert_eq!(row.matches(engine.name).count(), 2, "{row}");
        let row = lines.iter().find(|line| line.starts_with("memory")).expect("a row of memory");
        assert_eq!(row.matches(" pages").count(), 2, "{row}");
        assert_eq!(row.contains("registered"), engine.name == "io_uring", "{row}");
        assert!(done.out.contains("\nwarning: no wire"), "{}", done.out);
        assert!(!done.out.contains('\u{1b}'), "{}", done.out);
        assert_eq!(done.err, "", "standard error is no terminal, so there is no progress bar");
    }
}

#[test]
fn json_has_both_ends_counts_costs_and_facts() {
    for engine in engines() {
        let done = Run::new(["--time", "1", "--json", "--engine", engine.option]).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        assert_is_a_result(&record);
        assert_eq!(record["result"]["end"], "peer_closed");
        assert_eq!(record["target"]["embedded"], true);
        assert_eq!(record["target"]["netserver"]["kind"], "ringperf");
        assert_eq!(record["asked"]["seconds"], 1);
        for end in ["sender", "receiver"] {
            assert_eq!(record[end]["engine"], engine.name, "{record}");
            assert_eq!(record[end]["core_verified"], true, "{record}");
            assert!(record[end]["worker"]["core_percent"].as_f64().is_some_and(|percent| percent > 0.0));
        }
        assert_eq!(record["local_facts"]["engine_asked"], engine.option);
        assert!(record["remote_facts"]["elapsed_ns"].as_u64().is_some_and(|time| time > 900_000_000));
        assert!(warning_kinds(&record).contains(&"no_wire"), "{record}");
        let kinds = warning_kinds(&record);
        assert!(!kinds.contains(&"bytes_differ") && !kinds.contains(&"ended_early"), "{kinds:?}");
    }
}

#[test]
fn the_two_workers_get_cores_of_their_own() {
    let cores = tools::allowed_cores();
    if cores < 2 {
        skip("the_two_workers_get_cores_of_their_own", "cores", "this process may use one core only");
        return;
    }
    let record = Run::new(["--time", "1", "--json"]).done().json();
    assert_ne!(record["sender"]["core"], record["receiver"]["core"], "{record}");
    assert!(!warning_kinds(&record).contains(&"core_shared"), "{record}");
}

#[test]
fn bytes_are_rounded_up_to_whole_messages_and_all_counted() {
    for engine in engines() {
        let options = ["--bytes", "10000001", "--message", "1000", "--json", "--engine", engine.option];
        let done = Run::new(options).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        assert_is_a_result(&record);
        assert_eq!(record["result"]["bytes_received"], 10_001_000, "{record}");
        assert_eq!(record["result"]["messages_sent"], 10_001, "{record}");
        assert_eq!(record["asked"]["bytes"], 10_000_001, "{record}");
    }
}

#[test]
fn socket_buffers_are_asked_of_both_ends() {
    let done = Run::new(["--time", "1", "--socket-buffer", "64K", "--json"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    for end in ["sender", "receiver"] {
        assert_eq!(record[end]["socket_buffer"]["asked"], 65_536, "{record}");
        // socket(7): the kernel doubles what it is asked for.
        assert_eq!(record[end]["socket_buffer"]["granted"], 131_072, "{record}");
    }
    assert!(!warning_kinds(&record).contains(&"buffer_clamped"), "{record}");
}

#[test]
fn a_socket_buffer_past_the_kernels_limit_is_told() {
    let limit = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(u64::MAX)
    };
    let largest = limit("rmem_max").max(limit("wmem_max"));
    let asked = largest.saturating_add(4096);
    if asked > 512 << 20 {
        skip(
            "a_socket_buffer_past_the_kernels_limit_is_told",
            "limits",
            "the limit is past what may be asked for",
        );
        return;
    }
    let done = Run::new(["--time", "1", "--socket-buffer", &asked.to_string(), "--json"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    assert_eq!(
        warning_kinds(&record).iter().filter(|kind| **kind == "buffer_clamped").count(),
        2,
        "{record}"
    );
}

#[test]
fn ipv6_is_measured_on_its_own_loopback() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        skip("ipv6_is_measured_on_its_own_loopback", "ipv6", "there is no ::1 here");
        return;
    }
    let done = Run::new(["-6", "--time", "1", "--json"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    assert!(
        record["target"]["data_peer"].as_str().is_some_and(|peer| peer.starts_with("[::1]:")),
        "{record}"
    );
}

#[test]
fn one_address_and_one_port_for_both_ends_is_refused_with_the_remedy() {
    for engine in engines() {
        let port = free_port().to_string();
        let options = ["--time", "1", "--data-port", &port, "--json", "--engine", engine.option];
        let done = Run::new(options).done();
        assert_eq!(done.code, Some(2), "{done:?}");
        let error = &done.json()["error"];
        assert_eq!(error["class"], "USAGE", "{error}");
        assert!(error["text"].as_str().is_some_and(|text| text.contains("connected to itself")), "{error}");
        assert!(error["next"].as_str().is_some_and(|next| next.contains("--local 127.0.0.2")), "{error}");
    }
}

#[test]
fn the_remedy_works() {
    for engine in engines() {
        let port = free_port().to_string();
        let options = ["--time", "1", "--data-port", &port, "--local", "127.0.0.2", "--json"];
        let done = Run::new(options).arg("--engine").arg(engine.option).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        assert_is_a_result(&record);
        assert_eq!(record["target"]["data_local"], format!("127.0.0.2:{port}"), "{record}");
        assert_eq!(record["target"]["data_peer"], format!("127.0.0.1:{port}"), "{record}");
        assert!(!warning_kinds(&record).contains(&"data_port_changed"), "{record}");
    }
}

#[test]
fn a_taken_data_port_is_told() {
    // The netserver binds the wildcard address, so a listener on another loopback address is in its way only.
    let taken = std::net::TcpListener::bind("127.0.0.3:0").expect("loopback has many addresses");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let done = Run::new(["--time", "1", "--data-port", &port, "--local", "127.0.0.2", "--json"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    assert!(warning_kinds(&record).contains(&"data_port_changed"), "{record}");
}

#[test]
fn bad_options_are_usage_in_text_and_in_json() {
    let bad: &[&[&str]] = &[
        &["--time", "0"],
        &["--time", "1.5"],
        &["--time", "1", "--bytes", "1"],
        &["--message", "17M"],
        &["--port", "1"],
        &["--engine", "fast"],
        &["-4", "--local", "::1"],
        &["no-such-test"],
        &["-H", ""],
        &["--without", "bundle"],
        &["--without", ""],
        &["--rate", "0"],
        &["--rate", "1Mbit"],
        &["udp-stream", "--flows", "2"],
        &["--flows", "0"],
        &["--cores", "0,0"],
        &["--interval", "1ms"],
        &["udp-stream", "--send", "chain"],
        &["tcp-maerts", "--send", "bundle", "--engine", "epoll"],
        &["--send", "zero-copy", "--engine", "classic"],
        &["tcp-stream", "--gso"],
        &["tcp-maerts", "--gro"],
        &["--ablate", "--engine", "uring"],
        &["--ablate", "--without", "bundles"],
        &["--ablate", "--rounds", "0"],
        &["--rounds", "3"],
        &["--find-rate"],
        &["udp-stream", "--find-rate", "--ablate"],
        &["udp-stream", "--find-rate", "--rate", "1M"],
        &["udp-stream", "--find-rate", "--bytes", "1M"],
        &["udp-stream", "--find-rate", "--loss", "100"],
        &["udp-stream", "--loss", "1"],
    ];
    for options in bad {
        let done = Run::new(*options).done();
        assert_eq!(done.code, Some(2), "{options:?}: {done:?}");
        assert!(!done.err.is_empty() && done.out.is_empty(), "{options:?}: {done:?}");
        let done = Run::new(*options).arg("--json").done();
        assert_eq!(done.code, Some(2), "{options:?}: {done:?}");
        let error = &done.json()["error"];
        assert_eq!(
            (&error["class"], &error["exit"]),
            (&Value::from("USAGE"), &Value::from(2)),
            "{options:?}"
        );
    }
}

#[test]
fn json_is_meant_by_whoever_misspells_it() {
    let done = Run::new(["--json=1"]).done();
    done.error("USAGE", 2);
}

#[test]
fn help_is_no_failure() {
    let done = Run::new(["--help"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("--socket-buffer") && !done.out.contains("--deadline-ms"), "{}", done.out);
}
