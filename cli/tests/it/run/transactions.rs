//! `ringperf run tcp-rr`, `tcp-crr` and `udp-rr`: requests and responses.

use serde_json::Value;

use super::tools::{Run, StockNetserver, assert_says, engines};

/// The tests by their names on the command line and in records.
const TESTS: [(&str, &str); 3] = [("tcp-rr", "tcp_rr"), ("tcp-crr", "tcp_crr"), ("udp-rr", "udp_rr")];

fn transactions(record: &Value) -> &Value {
    &record["result"]["transactions"]
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number in place of {value}"))
}

/// What any such record has to say, and how its figures hang together.
fn assert_transacted(record: &Value, name: &str) {
    assert!(record.get("error").is_none(), "{record}");
    assert_eq!((&record["test"], &record["local"]), (&Value::from(name), &Value::from("sender")), "{record}");
    let told = transactions(record);
    let (count, seconds) = (number(&told["count"]), number(&record["time"]["elapsed_ns"]) / 1e9);
    assert!(count > 0.0 && (number(&told["per_second"]) / (count / seconds) - 1.0).abs() < 1e-9, "{record}");
    // The other end sees what the end of the time cut short.
    assert!(number(&told["answered"]) >= count, "{record}");
    let latency = &told["latency"];
    let times = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];
    let times: Vec<f64> = times.iter().map(|name| number(&latency[name])).collect();
    assert!(times[0] > 0.0 && times.is_sorted(), "{latency}");
    let mean = number(&latency["mean_ns"]);
    assert!((times[0]..=times[5]).contains(&mean) && number(&latency["stddev_ns"]) >= 0.0, "{latency}");
    assert!(number(&latency["count"]) >= count, "{record}");
}

#[test]
fn every_engine_counts_transactions_and_their_times() {
    for (test, name) in TESTS {
        for engine in engines() {
            let done = Run::new([test, "--time", "1", "--json", "--engine", engine.option]).done();
            assert_eq!(done.code, Some(0), "{done:?}");
            let record = done.json();
            assert_transacted(&record, name);
            assert_eq!(record["asked"]["transaction"]["request_bytes"], 1, "{record}");
            for end in ["sender", "receiver"] {
                assert_eq!(record[end]["engine"], engine.name, "{record}");
                // A worker that sleeps in the calls that move the bytes does not count how often.
                let counted = record[end]["worker"]["wakeups_per_second"].is_number();
                assert_eq!(counted, engine.name != "classic", "{record}");
            }
            // One after the other: together they took no longer than the test.
            let latency = &transactions(&record)["latency"];
            let sum = number(&latency["mean_ns"]) * number(&latency["count"]);
            assert!(sum <= number(&record["time"]["elapsed_ns"]), "{record}");
        }
    }
}

#[test]
fn a_count_is_kept_to_over_all_flows() {
    for (test, name) in TESTS {
        let flows = if test == "tcp-rr" { "3" } else { "1" };
        let words = [test, "--transactions", "1001", "--request", "100", "--response", "3000"];
        let done = Run::new(words.into_iter().chain(["--in-flight", "4", "--flows", flows, "--json"])).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let record = done.json();
        assert_transacted(&record, name);
        let told = transactions(&record);
        assert_eq!((&told["count"], &told["answered"]), (&1001.into(), &1001.into()), "{record}");
        assert_eq!(record["result"]["bytes_received"], 100_100, "{record}");
    }
}

#[test]
fn both_ends_poll_where_it_is_asked_for() {
    let done = Run::new(["tcp-rr", "--time", "1", "--busy-poll", "--json"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_transacted(&record, "tcp_rr");
    for end in ["sender", "receiver"] {
        // A worker that never sleeps has all that the machine lets it have of its core.
        assert_eq!(number(&record[end]["worker"]["wakeups"]), 0.0, "{record}");
    }
}

#[test]
fn text_tells_the_rate_and_the_times() {
    let done = Run::new(["tcp-rr", "--time", "1", "--flows", "2"]).done();
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[0].contains(" transactions/s: "), "{}", done.out);
    let course = "TCP transactions with our own netserver on 127.0.0.1, 1 byte there and 1 byte back, \
                  over 2 connections";
    assert_eq!(lines[1], course);
    assert!(lines[2].starts_with("each took ") && lines[2].contains(", 99 % "), "{}", done.out);
    assert!(lines.iter().any(|line| line.split_whitespace().eq(["requester", "responder"])), "{}", done.out);
}

#[test]
fn netperfs_netserver_answers_too() {
    let Some(stock) = StockNetserver::start("netperfs_netserver_answers_too") else {
        return;
    };
    let port = stock.port.to_string();
    let with = |test| Run::new([test, "-H", "127.0.0.1", "--port", &port, "--time", "1", "--json"]);
    for (test, name) in TESTS {
        let done = with(test).done();
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_transacted(&done.json(), name);
    }
    let error = with("tcp-rr").arg("--busy-poll").done().error("USAGE", 2);
    assert_says(&error, "text", "sleeps until something comes");
}

#[test]
fn what_has_no_meaning_is_refused() {
    for words in [
        &["tcp-rr", "--message", "1K"][..],
        &["tcp-rr", "--bytes", "1M"],
        &["udp-rr", "--rate", "1M"],
        &["udp-rr", "--response", "65508"],
        &["udp-rr", "--flows", "2"],
        &["tcp-crr", "--engine", "classic", "--in-flight", "2"],
        &["tcp-rr", "--ablate"],
        &["tcp-stream", "--busy-poll"],
        &["tcp-stream", "--request", "1"],
    ] {
        let error = Run::new(words.iter().copied()).arg("--json").done().error("USAGE", 2);
        assert_says(&error, "tried", "plan the test");
    }
}
