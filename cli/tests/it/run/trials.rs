//! Commands that run many measurements: `--ablate` compares variants, `--find-rate` searches for a rate.

use std::time::Duration;

use serde_json::Value;

use super::tools::{Done, Run, StockNetserver, assert_says, engines, free_port};
use super::{assert_is_a_result, assert_measured};
use crate::support::{Netserver, signal};

const TCP_VARIANTS: [&str; 11] = [
    "classic",
    "epoll",
    "epoll --without low-water",
    "uring",
    "uring --without low-water",
    "uring --without bundles",
    "uring --without multishot,buffer-ring",
    "uring --send chain",
    "uring --send registered",
    "uring --send bundle",
    "uring --send zero-copy",
];

const UDP_VARIANTS: [&str; 7] = [
    "classic",
    "epoll",
    "uring",
    "uring --without minimum-wait",
    "uring --gso",
    "uring --gso --gro",
    "epoll --gso --gro",
];

fn has_uring() -> bool {
    engines().iter().any(|engine| engine.option == "uring")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name} is no list: {value}"))
}

/// The comparison that a run printed, once it names these variants in this order, and each has either runs or
/// a reason.
fn comparison(done: &Done, names: &[&str]) -> Value {
    let page = done.json();
    assert_eq!(page["record"], 3, "{page}");
    let lines = list(&page, "variants");
    assert_eq!(lines.iter().map(|line| &line["name"]).collect::<Vec<_>>(), names, "{page}");
    for line in lines {
        let runs = list(&page, "runs").iter().filter(|run| run["variant"] == line["name"]).count();
        assert_eq!(line["runs"], runs, "{line}");
        assert!(runs > 0 || line["refused"]["error"]["text"].is_string(), "{line}");
        assert_eq!(runs > 0, line["goodput_bits_per_second"]["median"].is_number(), "{line}");
    }
    page
}

#[test]
fn a_comparison_has_a_record_of_every_run() {
    let done = Run::new(["--ablate", "--time", "1", "--rounds", "1", "--json"]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let page = comparison(&done, &TCP_VARIANTS);
    assert_eq!((&page["rounds"], &page["baseline"]), (&Value::from(1), &Value::from("uring")), "{page}");
    for run in list(&page, "runs") {
        let record = &run["record"];
        assert_is_a_result(record);
        assert_eq!((&run["round"], &record["asked"]["seconds"]), (&Value::from(1), &Value::from(1)), "{run}");
        let line = list(&page, "variants").iter().find(|line| line["name"] == run["variant"]);
        let line = line.expect("a run is one of a variant");
        assert_eq!(record["asked"]["engine"], line["engine"], "{run}");
        assert_eq!(record["asked"]["without"], line["without"], "{run}");
        assert_eq!(record["local_facts"]["engine_asked"], line["engine"], "{run}");
    }
    if has_uring() {
        // The first three have no part that a kernel may lack, the fourth was just seen.
        for line in &list(&page, "variants")[..4] {
            assert_eq!(line["runs"], 1, "{line}");
            assert!(line["goodput_ratio"]["median"].as_f64().is_some_and(|ratio| ratio > 0.0), "{line}");
            assert!(line["cpu_ratio"]["median"].as_f64().is_some_and(|ratio| ratio > 0.0), "{line}");
        }
    }
}

#[test]
fn a_comparison_is_one_table_with_every_variant() {
    let done = Run::new(["udp-stream", "--ablate", "--time", "1", "--rounds", "1"]).done();
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
    let rows: Vec<&str> = done.out.lines().skip_while(|line| !line.starts_with("variant ")).collect();
    for (name, row) in UDP_VARIANTS.iter().zip(&rows[1..]) {
        let rest = row.strip_prefix(name).unwrap_or_else(|| panic!("no row of {name}:\n{}", done.out));
        assert!(rest.starts_with("  ") || rest.starts_with(" *"), "{row}");
    }
    assert!(done.out.contains("\nwarning: no wire"), "{}", done.out);
    assert!(done.out.contains("which varies too\n"), "{}", done.out);
}

#[test]
fn what_a_test_refuses_stays_in_the_table() {
    // netperf's netserver has one way to send.
    let Some(netserver) = StockNetserver::start("what_a_test_refuses_stays_in_the_table") else { return };
    let port = netserver.port.to_string();
    let place = ["tcp-maerts", "-H", "127.0.0.1", "--port", &port];
    let options = [&place[..], &["--ablate", "--bytes", "10M", "--rounds", "2"]].concat();
    let done = Run::new(&options).arg("--json").done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let page = comparison(&done, &TCP_VARIANTS);
    for line in &list(&page, "variants")[7..] {
        assert_says(&line["refused"]["error"], "text", "netperf's netserver knows one flow");
        assert_eq!((&line["refused"]["round"], &line["runs"]), (&Value::from(1), &Value::from(0)), "{line}");
    }
    assert_eq!(list(&page, "variants")[0]["runs"], 2, "{page}");
    let done = Run::new(&options).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let refused = done.out.lines().find(|line| line.starts_with("uring --send chain"));
    assert!(
        refused.is_some_and(|row| row.contains("  not available: cannot agree on a test")),
        "{}",
        done.out
    );
}

/// One that refuses a way to send would refuse no other variant.
#[test]
fn what_a_netserver_of_ours_refuses_stays_in_the_table() {
    let netserver = Netserver::start(&["-4", "-L", "127.0.0.1", "--engine", "epoll"]);
    let port = netserver.port.to_string();
    let place = ["tcp-maerts", "-H", "127.0.0.1", "--port", &port];
    let options = [&place[..], &["--ablate", "--bytes", "10M", "--rounds", "1", "--json"]].concat();
    let done = Run::new(&options).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let page = comparison(&done, &TCP_VARIANTS);
    for line in &list(&page, "variants")[8..] {
        assert_says(&line["refused"]["error"], "text", "EINVAL");
    }
    assert_eq!(list(&page, "variants")[0]["runs"], 1, "{page}");
}

#[test]
fn against_a_netserver_elsewhere_only_our_end_varies() {
    let netserver = Netserver::start(&["-4", "-L", "127.0.0.1", "--engine", "epoll"]);
    let port = netserver.port.to_string();
    let options = ["-H", "127.0.0.1", "--port", &port, "--ablate", "--bytes", "10M", "--rounds", "1"];
    let done = Run::new(options).arg("--json").done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let page = comparison(&done, &TCP_VARIANTS);
    assert_eq!(page["both_ends_vary"], false, "{page}");
    for run in list(&page, "runs") {
        assert_eq!(run["record"]["receiver"]["engine"], "epoll", "{run}");
    }
    let done = Run::new(options).done();
    assert!(done.out.contains("to the netserver on 127.0.0.1: only this end varies"), "{}", done.out);
}

#[test]
fn a_comparison_with_nobody_there_says_so_once_and_soon() {
    let port = free_port().to_string();
    let done = Run::new(["-H", "127.0.0.1", "--port", &port, "--ablate", "--json"]).done();
    let error = done.error("PEER", 4);
    assert_eq!(error["errno"], "ECONNREFUSED", "{error}");
    assert!(done.took < Duration::from_secs(10), "{done:?}");
}

#[test]
fn a_netserver_that_dies_keeps_the_runs_that_were_finished() {
    let mut netserver = Netserver::start(&["-4", "-L", "127.0.0.1"]);
    let port = netserver.port.to_string();
    let options = ["-H", "127.0.0.1", "--port", &port, "--ablate", "--bytes", "1M", "--rounds", "1000"];
    let run = Run::new(options).arg("--json").start();
    std::thread::sleep(Duration::from_secs(3));
    signal(netserver.id(), "KILL");
    netserver.wait();
    let done = run.done();
    assert_eq!(done.code, Some(4), "{done:?}");
    let page = done.json();
    assert!(!list(&page, "runs").is_empty(), "{page}");
    assert_eq!((&page["error"]["class"], &page["interrupted"]), (&"PEER".into(), &Value::Null), "{page}");
}

#[test]
fn a_signal_keeps_the_runs_that_were_finished() {
    for (json, sign) in [(true, "INT"), (false, "TERM")] {
        let options = ["--ablate", "--bytes", "1M", "--rounds", "1000"];
        let run = Run::new(options).args(json.then_some("--json")).start();
        std::thread::sleep(Duration::from_secs(4));
        signal(run.pid(), sign);
        let done = run.done();
        assert_eq!(done.code, Some(if sign == "INT" { 130 } else { 143 }), "{done:?}");
        assert_eq!(done.err, "", "{done:?}");
        if json {
            let page = done.json();
            assert!(!list(&page, "runs").is_empty(), "{page}");
            assert!(list(&page, "runs").iter().all(|run| run["record"]["interrupted"].is_null()), "{page}");
            assert_eq!(page["interrupted"], "SIGINT", "{page}");
        } else {
            assert!(done.out.contains("\ninterrupted: SIGTERM came after "), "{}", done.out);
        }
    }
}

/// The search that a run printed, once every trial makes sense.
fn search(done: &Done) -> Value {
    let page = done.json();
    assert_eq!(page["record"], 3, "{page}");
    let trials = list(&page, "trials");
    assert!((1..=64).contains(&trials.len()), "{} trials: {page}", trials.len());
    assert!(trials[0]["offered_bits_per_second"].is_null(), "{page}");
    for trial in trials {
        let loss = trial["loss"].as_f64().expect("a share");
        let limit = page["loss_limit"].as_f64().expect("a share");
        assert_eq!(trial["passed"], loss <= limit, "{trial}");
        for rate in ["sent_bits_per_second", "received_bits_per_second"] {
            assert!(trial[rate].as_f64().is_some_and(|rate| rate > 0.0), "{rate}: {trial}");
        }
        if let Some(offered) = trial["offered_bits_per_second"].as_f64() {
            let sent = trial["sent_bits_per_second"].as_f64().expect("a rate");
            assert!(sent <= offered * 1.1, "a paced trial sent {sent} of {offered}: {trial}");
        }
    }
    page
}

#[test]
fn a_search_ends_with_a_confirmed_rate_or_says_that_it_has_none() {
    let done = Run::new(["udp-stream", "--find-rate", "--time", "1", "--json"]).done();
    let page = search(&done);
    let last = list(&page, "trials").last().expect("there is one");
    match done.code {
        Some(0) => {
            assert_measured(&page["result"], "udp_stream", "sender");
            assert_eq!((&last["confirms"], &last["passed"]), (&Value::from(true), &Value::from(true)));
            assert_eq!(page["result"]["asked"]["rate_bits_per_second"], last["offered_bits_per_second"]);
            assert_eq!(page["result"]["asked"]["seconds"], 5, "{page}");
        }
        _ => {
            assert_eq!(done.code, Some(8), "{done:?}");
            assert!(page["result"].is_null(), "{page}");
            assert_eq!(last["passed"], false, "{page}");
            assert_eq!(
                (&page["error"]["class"], &page["error"]["exit"]),
                (&"INCONCLUSIVE".into(), &8.into())
            );
        }
    }
}

#[test]
fn a_rate_that_may_lose_nearly_all_is_found_at_once() {
    let done = Run::new(["udp-stream", "--find-rate", "--time", "1", "--loss", "99.99"]).done();
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(
        lines[0].starts_with("loss-free rate ") && lines[0].contains("as fast as it goes"),
        "{}",
        done.out
    );
    assert!(lines[2].starts_with("trial  offered"), "{}", done.out);
    assert!(lines[3].contains("unpaced") && lines[3].ends_with("passed"), "{}", done.out);
    assert!(lines[4].ends_with("passed, in 5 s"), "{}", done.out);
    assert!(lines[6].starts_with("goodput ") && done.out.contains("\nwarning: no wire"), "{}", done.out);
}

#[test]
fn a_signal_keeps_the_trials_that_were_finished() {
    let run = Run::new(["udp-stream", "--find-rate", "--time", "1", "--json"]).start();
    std::thread::sleep(Duration::from_secs(4));
    signal(run.pid(), "INT");
    let done = run.done();
    assert_eq!((done.code, done.err.as_str()), (Some(130), ""), "{done:?}");
    let page = search(&done);
    assert!(page["result"].is_null() && page["error"].is_null(), "{page}");
    assert_eq!(page["interrupted"], "SIGINT", "{page}");
}

#[test]
fn options_that_do_not_go_together_are_told_apart() {
    for (options, says) in [
        (&["--ablate", "--engine", "uring"][..], "cannot be used with '--engine"),
        (&["--rounds", "3"], "--ablate"),
        (&["tcp-stream", "--find-rate"], "TCP loses nothing"),
        (&["udp-stream", "--find-rate", "--rate", "1M"], "cannot be used with '--rate"),
        (&["udp-stream", "--send", "bundle"], "a send of its own"),
        (&["udp-stream", "--flows", "2"], "datagrams go from one socket to one other"),
    ] {
        let done = Run::new(options).done();
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{done:?}");
        assert!(done.err.contains(says), "{options:?}: {}", done.err);
    }
}
