//! mmtests: message sizes in a loop, three runs at 95 % confidence, and a reader that takes every line
//! without letters apart, by its number of words.

use super::Bench;
use crate::netperf::Pair;
use crate::support::free_port;

harnesses! { lines_without_letters_hold_the_rates }

/// Rates that its report takes from an output: of a stream over TCP or of transactions the last one that is
/// sent, of datagrams those sent and received.
fn rates(protocol: &str, out: &str) -> (f64, f64) {
    let (mut sent, mut received) = (0.0, 0.0);
    for line in out.lines() {
        if line.contains("Confidence intervals: Throughput") || line.contains(char::is_alphabetic) {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let last = || words.last().and_then(|word| word.parse().ok()).expect("a line of figures");
        match (protocol, words.len()) {
            ("UDP_STREAM", 6) => sent = last(),
            ("UDP_STREAM", 4) => received = last(),
            ("UDP_STREAM", _) | (_, 0..=4) => {}
            _ => sent = last(),
        }
    }
    (sent, received)
}

fn lines_without_letters_hold_the_rates(pair: Pair) {
    let bench = Bench::new(pair);
    // Its sizes go from 64 to 16384. It leaves the length to netperf, whose ten seconds are too long here.
    for size in [64, 16_384] {
        for (protocol, options) in [
            ("TCP_STREAM", format!("-m {size} -M {size}")),
            // It gives one port for both ends, and runs them on one host.
            ("UDP_STREAM", format!("-m {size} -M {size} -P {}", free_port())),
        ] {
            let out = bench.run(&format!("-t {protocol} -i 3,3 -I 95,5 -H HOST -p PORT -l 1 -- {options}"));
            let (sent, received) = rates(protocol, &out);
            assert!(sent > 0.0, "{out}");
            assert_eq!(received > 0.0, protocol == "UDP_STREAM", "{out}");
            assert!(received <= sent, "{out}");
        }
    }
    let out = bench.run("-t TCP_RR -i 3,3 -I 95,5 -H HOST -p PORT -l 1 --");
    assert!(rates("TCP_RR", &out).0 > 0.0, "{out}");
}
