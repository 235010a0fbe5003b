//! k8s-netperf: its `super-netperf` starts several netperfs at once, each with a data port of its own for
//! both ends, adds up what they print by name, and its driver reads the sum.
//!
//! One port at both ends needs two addresses: the ends are in two network namespaces.

use std::path::Path;

use super::{figure, positive};
use crate::interop::{Link, SERVER};
use crate::netperf::{Pair, netperf_words, netserver_words};

harnesses! { results_by_lower_case_names_are_added_up }

/// The script's first argument, and its second: the first of the data ports.
const STREAMS: u16 = 2;
const FIRST_PORT: u16 = 42_424;

/// The value of the line that holds `NAME=`, as the script greps for it.
fn value<'a>(out: &'a str, name: &str) -> &'a str {
    let wanted = format!("{name}=");
    let mut lines = out.lines().filter(|line| line.contains(&wanted));
    let line = lines.next().unwrap_or_else(|| panic!("no {name} in {out}"));
    assert!(lines.next().is_none(), "several {name} in {out}");
    line.split('=').nth(1).unwrap_or_default()
}

fn results_by_lower_case_names_are_added_up(pair: Pair) {
    let test = format!("k8s-{:?}-{:?}", pair.client, pair.server);
    let Some(link) = Link::new(&test) else { return };
    let netserver = netserver_words(pair.server);
    let words: Vec<&str> = netserver[1..].iter().map(String::as_str).collect();
    let _netserver = link.serve(Path::new(&netserver[0]), &words);
    for (profile, options) in [
        ("TCP_STREAM", "-m 1024"),
        ("UDP_STREAM", "-m 1024"),
        ("TCP_RR", "-m 1024"),
        ("TCP_RR", "-m 1024 -b 4"),
    ] {
        let run = |port: u16| {
            let netperf = netperf_words(pair.client);
            let line = format!(
                "-s 2 -H {SERVER} -l 2 -t {profile} -- -k rt_latency,p99_latency,throughput,throughput_units,\
                 remote_recv_calls,local_send_calls,local_transport_retrans {options} -R 1 -P {port}"
            );
            let words: Vec<&str> =
                netperf[1..].iter().map(String::as_str).chain(line.split_whitespace()).collect();
            link.run_client(Path::new(&netperf[0]), &words)
        };
        let outs: Vec<String> = std::thread::scope(|scope| {
            let streams: Vec<_> =
                (0..STREAMS).map(|index| scope.spawn(move || run(FIRST_PORT + index))).collect();
            streams.into_iter().map(|stream| stream.join().expect("it does not panic")).collect()
        });
        for out in &outs {
            // The driver refuses what has fewer than five lines. The first is the banner.
            assert!(out.lines().count() >= 5 && out.starts_with("MIGRATED "), "{out}");
            let throughput = positive(value(out, "THROUGHPUT"));
            let sent = positive(value(out, "LOCAL_SEND_CALLS"));
            let received = positive(value(out, "REMOTE_RECV_CALLS"));
            let retransmitted = figure(value(out, "LOCAL_TRANSPORT_RETRANS"));
            let (latency, p99) = (figure(value(out, "RT_LATENCY")), positive(value(out, "P99_LATENCY")));
            if profile == "UDP_STREAM" {
                // Below zero it is what tells the driver to work out the loss.
                assert_eq!(retransmitted, -1.0, "{out}");
                let loss = 100.0 - received / sent * 100.0;
                assert!((0.0..99.9).contains(&loss), "{loss} % lost: {out}");
            } else {
                assert!(retransmitted >= 0.0, "{out}");
            }
            if profile == "TCP_RR" {
                assert_eq!(value(out, "THROUGHPUT_UNITS"), "Trans/s", "{out}");
                // A burst of four keeps five under way.
                let under_way = if options.contains("-b") { 5.0 } else { 1.0 };
                assert!((latency * throughput / 1e6 / under_way - 1.0).abs() < 0.02, "{out}");
                assert!(p99 > latency * 0.5, "{out}");
            } else {
                assert_eq!(value(out, "THROUGHPUT_UNITS"), "10^6bits/s", "{out}");
                assert_eq!(value(out, "RT_LATENCY"), "-1.000", "{out}");
            }
        }
    }
}
