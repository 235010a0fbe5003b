//! `--flows`, `--cores`, `--interval` and `--rate`: many connections, many workers, and progress on the way.

use serde_json::Value;

use super::tools::{Run, StockNetserver, engines};
use super::{assert_is_a_result, warning_kinds};
use crate::support::Netserver;

#[test]
fn flows_are_spread_over_workers_at_both_ends() {
    for engine in engines() {
        for test in ["tcp-stream", "tcp-maerts"] {
            let options = [test, "--time", "1", "--flows", "3"];
            let done = Run::new(options).args(["--engine", engine.option, "--json"]).done();
            assert_eq!(done.code, Some(0), "{done:?}");
            let record = done.json();
            let flows = &record["result"]["flows"];
            assert_eq!(flows["flows"], 3, "{record}");
            assert!(flows["bytes_min"].as_u64() > Some(0), "{record}");
            assert!(flows["bytes_min"].as_u64() <= flows["bytes_max"].as_u64(), "{record}");
            let fairness = flows["fairness"].as_f64().expect("a number");
            assert!((1.0 / 3.0..=1.0).contains(&fairness), "{record}");
            // A thread of blocking calls serves one connection.
            let workers = if engine.name == "classic" { 3 } else { 1 };
            for end in ["sender", "receiver"] {
                assert_eq!(record[end]["workers"], workers, "{end}: {record}");
            }
            assert!(!warning_kinds(&record).contains(&"bytes_differ"), "{record}");
            let sent = record["result"]["bytes_sent"].as_u64();
            assert!(sent > Some(0) && flows["bytes_max"].as_u64() <= sent, "{record}");
        }
    }
}

#[test]
fn a_count_of_bytes_is_that_of_all_flows() {
    for test in ["tcp-stream", "tcp-maerts"] {
        let done = Run::new([test, "--bytes", "10M", "--message", "64K", "--flows", "5", "--json"]).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        let received = record["result"]["bytes_received"].as_u64().expect("a number");
        // Whole messages in each of five shares.
        assert!((10 << 20..(10 << 20) + 5 * (64 << 10)).contains(&received), "{test}: {record}");
        assert_eq!(record["result"]["bytes_sent"], received, "{test}: {record}");
    }
}

#[test]
fn one_flow_is_the_test_that_it_always_was() {
    let record = Run::new(["--time", "1", "--json"]).done().json();
    assert_is_a_result(&record);
    assert!(record["result"]["flows"].is_null(), "{record}");
    assert_eq!(record["result"]["samples"], Value::Array(Vec::new()), "{record}");
    assert_eq!((&record["sender"]["workers"], &record["receiver"]["workers"]), (&1.into(), &1.into()));
}

#[test]
fn progress_is_told_by_interval() {
    for (test, field) in [("tcp-stream", "bytes_sent"), ("tcp-maerts", "bytes_received")] {
        let options = [test, "--time", "1", "--interval", "100ms", "--rate", "200M", "--message", "16K"];
        let record = Run::new(options).arg("--json").done().json();
        let samples = record["result"]["samples"].as_array().expect("a list");
        // A machine that is busy elsewhere misses some.
        assert!((3..=14).contains(&samples.len()), "{test}: {record}");
        let bytes: Vec<u64> = samples.iter().filter_map(|sample| sample[field].as_u64()).collect();
        assert!(bytes.is_sorted() && bytes.len() == samples.len(), "{test}: {record}");
        assert!(bytes.last() <= record["result"][field].as_u64().as_ref(), "{test}: {record}");
        let text = Run::new(options).done().out;
        let lines =
            text.lines().filter(|line| line.contains(" s  sent at ") || line.contains(" s  received at "));
        assert!(lines.count() >= 3, "{text}");
    }
}

#[test]
fn either_end_keeps_to_a_rate() {
    for engine in engines() {
        for test in ["tcp-stream", "tcp-maerts", "udp-stream"] {
            let options = [test, "--time", "1", "--rate", "80M", "--flows", "1", "--engine", engine.option];
            let mut run = Run::new(options).arg("--json");
            if test != "udp-stream" {
                run = run.args(["--message", "16K"]);
            }
            let record = run.done().json();
            let rate = record["result"]["goodput_bits_per_second"].as_f64().expect("a number");
            assert!((20e6..=90e6).contains(&rate), "{test} by {}: {rate}: {record}", engine.name);
        }
    }
}

#[test]
fn a_netserver_that_knows_one_flow_is_named() {
    let Some(netserver) = StockNetserver::start("a_netserver_that_knows_one_flow_is_named") else { return };
    let port = netserver.port.to_string();
    let done = Run::new(["-H", "127.0.0.1", "--port", &port, "--flows", "2", "--json"]).done();
    done.error("USAGE", 2);
}

#[test]
fn a_netserver_has_the_cores_that_it_was_given() {
    let netserver = Netserver::start(&["-L", "127.0.0.1", "--cores", "0"]);
    let port = netserver.address().port().to_string();
    let record = Run::new(["-H", "127.0.0.1", "--port", &port, "--time", "1", "--json"]).done().json();
    assert_eq!(record["receiver"]["core"], 0, "{record}");
}

#[test]
fn either_end_sends_by_the_path_that_is_asked_for() {
    if !engines().iter().any(|engine| engine.option == "uring") {
        return;
    }
    for test in ["tcp-stream", "tcp-maerts"] {
        for path in ["chain", "registered", "bundle", "zero-copy"] {
            let options = [test, "--bytes", "20M", "--engine", "uring", "--send", path, "--json"];
            let done = Run::new(options).done();
            assert_eq!(done.code, Some(0), "{path}: {done:?}");
            let record = done.json();
            assert_is_moved(&record, 20 << 20);
            let used = &record["result"]["zero_copy"];
            assert_eq!(used.is_object(), path == "zero-copy", "{record}");
            if path == "zero-copy" {
                // Over loopback the kernel always copies, and says so.
                assert_eq!(used["copied_percent"], 100.0, "{record}");
                assert!(warning_kinds(&record).contains(&"zero_copy_copied"), "{record}");
            }
        }
    }
}

/// All of it arrived.
fn assert_is_moved(record: &Value, bytes: u64) {
    assert_eq!(record["result"]["bytes_received"], bytes, "{record}");
    assert_eq!(record["result"]["bytes_sent"], bytes, "{record}");
    assert!(!warning_kinds(record).contains(&"degraded"), "{record}");
}
