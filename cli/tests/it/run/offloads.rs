//! `ringperf run udp-stream` with many datagrams a send and a receive, and where the lost ones went.

use serde_json::Value;

use super::tools::{Run, StockNetserver, assert_says, engines};
use super::{assert_measured, warning_kinds};

fn result<'a>(record: &'a Value, name: &str) -> &'a Value {
    &record["result"][name]
}

fn number(record: &Value, name: &str) -> u64 {
    result(record, name).as_u64().unwrap_or_else(|| panic!("{name} in {record}"))
}

/// A kilobyte each at a rate that loses nothing.
#[test]
fn segments_are_counted_as_datagrams_at_both_ends() {
    for engine in engines() {
        for (options, segmented, coalesced) in
            [(vec![], false, false), (vec!["--gso"], true, false), (vec!["--gso", "--gro"], true, true)]
        {
            let test = ["udp-stream", "--bytes", "200000", "--message", "1000", "--rate", "80M", "--json"];
            let done = Run::new(test).args(&options).args(["--engine", engine.option]).done();
            assert_eq!(done.code, Some(0), "{done:?}");
            let record = done.json();
            assert_measured(&record, "udp_stream", "sender");
            assert_eq!(number(&record, "messages_sent"), 200, "{record}");
            assert_eq!(number(&record, "receives") * 1000, number(&record, "bytes_received"), "{record}");
            // 80 Mbit/s leave room for ten a millisecond.
            assert_eq!(number(&record, "segmented_sends") > 0, segmented, "{record}");
            assert_eq!(number(&record, "coalesced_receives") > 0, coalesced, "{record}");
            let features = record["remote_facts"]["features"].as_array().expect("a list");
            assert_eq!(features.contains(&"coalescing".into()), coalesced, "{record}");
            assert_eq!(record["local_facts"]["segmentation"], segmented, "{record}");
        }
    }
}

/// A buffer of two datagrams, and nothing else that loses any.
#[test]
fn loss_is_told_by_its_place() {
    let options = ["udp-stream", "--time", "1", "--socket-buffer", "3000", "--json"];
    let done = Run::new(options).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    let lost = number(&record, "messages_sent") - number(&record, "receives");
    // The marks of the end may be lost, too.
    assert!(lost > 0 && (lost..lost + 9).contains(&number(&record, "lost_in_socket")), "{record}");
    assert_eq!(number(&record, "unexplained"), 0, "{record}");
    assert!(number(&record, "receive_buffer_errors") >= lost, "{record}");
    assert!(!warning_kinds(&record).contains(&"unexplained_loss"), "{record}");

    let done = Run::new(["udp-stream", "--time", "1", "--socket-buffer", "3000"]).done();
    let line = done.out.lines().find(|line| line.contains(" % lost (")).expect("a loss and its place");
    assert!(line.contains("in the receiver's socket buffer)"), "{}", done.out);
}

#[test]
fn a_stock_netserver_is_not_asked_to_coalesce() {
    let Some(stock) = StockNetserver::start("a_stock_netserver_is_not_asked_to_coalesce") else { return };
    let port = stock.port.to_string();
    let run = |options: &[&str]| {
        Run::new(["udp-stream", "-H", "127.0.0.1", "--port", &port, "--time", "1", "--json"])
            .args(options)
            .done()
    };
    let error = run(&["--gro"]).error("USAGE", 2);
    assert_says(&error, "text", "takes each datagram by itself");
    let record = run(&["--gso", "--rate", "100M"]).json();
    assert!(number(&record, "segmented_sends") > 0, "{record}");
    assert!(
        result(&record, "lost_in_socket").is_null() && result(&record, "unexplained").is_null(),
        "{record}"
    );
}
