//! The two loops of the measurement study that the project began with, as its scripts run them: fixed control
//! and data ports, tiny and growing socket buffers over TCP, growing datagrams over UDP, results read out of
//! columns.
//!
//! Each mix of our and stock programs has a pair of network namespaces, because the fixed ports need two
//! addresses. The rests between runs are left out. A whole loop takes minutes, so some of its points stand
//! for it, the first and the last among them; with `RINGPERF_STUDY=full` in the environment every point is
//! run.

use std::path::Path;

use super::{Maker, Pair, figures, netperf_words, netserver_words};
use crate::interop::{Link, SERVER};

/// Socket buffer sizes of `range(100, 131072, 1000)`.
fn tcp_points() -> Vec<u64> {
    thinned((100..131_072).step_by(1000).collect(), &[0, 1, 2, 5, 16, 65, 98])
}

/// Datagram sizes of `range(50, 3100, 100)`.
fn udp_points() -> Vec<u64> {
    thinned((50..3100).step_by(100).collect(), &[0, 1, 14, 15])
}

/// The points at `kept` and the last one, or all of them where the whole study is asked for.
fn thinned(points: Vec<u64>, kept: &[usize]) -> Vec<u64> {
    if std::env::var("RINGPERF_STUDY").is_ok_and(|value| value == "full") {
        return points;
    }
    kept.iter().map(|index| points[*index]).chain(points.last().copied()).collect()
}

/// What the study asks of one machine: the results of all points, by the scripts' columns.
fn run_study(pair: Pair, test: &str) {
    if !pair.is_here(test) {
        return;
    }
    let Some(link) = Link::new(test) else { return };
    let netserver = netserver_words(pair.server);
    let words: Vec<&str> = netserver[1..].iter().map(String::as_str).collect();
    let _netserver = link.serve(Path::new(&netserver[0]), &words);
    let netperf = netperf_words(pair.client);
    let measure = |test: &str, size: (&str, u64), message: &str| {
        let name: Vec<&str> = netperf[1..].iter().map(String::as_str).collect();
        let (letter, size) = (size.0, size.1.to_string());
        let global = ["-t", test, "-H", SERVER, "-l", "1", "--"];
        let words = ["-P", "12866", letter, &size, "-m", message];
        link.run_client(Path::new(&netperf[0]), &[&name[..], &global, &words].concat())
    };
    let largest = std::fs::read_to_string("/proc/sys/net/core/wmem_max").expect("the kernel has it");
    let largest: u64 = largest.trim().parse().expect("a size");
    for size in tcp_points() {
        let out = measure("TCP_STREAM", ("-s", size), "131072");
        let row = figures(&out, 0);
        assert_eq!(row.len(), 5, "{out}");
        // socket(7): the kernel doubles what it is asked for, within limits.
        assert_eq!(row[1..3], [(2 * size.min(largest)).max(4608) as f64, 131_072.0], "-s {size}:\n{out}");
        assert!(row[4] > 0.0, "-s {size}:\n{out}");
    }
    for size in udp_points() {
        let out = measure("UDP_STREAM", ("-r", size), "3100");
        let (sent, received) = (figures(&out, 1), figures(&out, 0));
        assert_eq!((sent.len(), received.len()), (6, 4), "{out}");
        let (okay, errors, arrived) = (sent[3], sent[4], received[2]);
        assert_eq!(sent[1], 3100.0, "-r {size}:\n{out}");
        assert!(okay > 0.0 && errors >= 0.0 && arrived > 0.0 && arrived <= okay, "-r {size}:\n{out}");
        assert!(arrived > okay / 200.0, "-r {size}: next to everything is lost:\n{out}");
        assert!(sent[5] > 0.0 && received[3] > 0.0, "-r {size}:\n{out}");
        // What is sent is -r's size, not the one of -m that is printed: the rate tells.
        let rate = okay * size as f64 * 8.0 / sent[2] / 1e6;
        assert!((sent[5] / rate - 1.0).abs() < 0.02, "-r {size}: {rate}\n{out}");
    }
}

#[test]
fn the_study_runs_with_our_programs() {
    run_study(Pair::OURS, "study-ours");
}

#[test]
fn the_study_runs_with_our_netperf_and_stock_netserver() {
    run_study(Pair { client: Maker::Ours, server: Maker::Stock }, "study-client");
}

#[test]
fn the_study_runs_with_stock_netperf_and_our_netserver() {
    run_study(Pair { client: Maker::Stock, server: Maker::Ours }, "study-server");
}

/// What the test expects holds with the programs that the study used.
#[test]
fn the_study_runs_with_stock_programs() {
    run_study(Pair::STOCK, "study-stock");
}
