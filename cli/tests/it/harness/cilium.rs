//! `cilium connectivity perf`: a duration as Go prints it, nine selectors in a line of CSV, and for the
//! tests of many streams as many processes, whose lines are found by their first digit.

use super::{Bench, ended_well, figure, positive};
use crate::netperf::Pair;

harnesses! {
    a_line_of_nine_values_is_read
    many_streams_give_a_line_each
}

const SELECTORS: &str = "MIN_LATENCY,MEAN_LATENCY,MAX_LATENCY,P50_LATENCY,P90_LATENCY,P99_LATENCY,\
    TRANSACTION_RATE,THROUGHPUT,THROUGHPUT_UNITS";

/// Lines that begin with a digit, in nine values each.
fn result_lines(out: &str) -> Vec<Vec<&str>> {
    let results = out.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_digit()));
    results
        .map(|line| {
            let values: Vec<&str> = line.split(',').collect();
            assert_eq!(values.len(), 9, "{out}");
            values
        })
        .collect()
}

fn a_line_of_nine_values_is_read(pair: Pair) {
    let bench = Bench::new(pair);
    for (test, size) in
        [("TCP_STREAM", ""), ("UDP_STREAM", "-m 1024"), ("TCP_CRR", ""), ("TCP_RR", ""), ("UDP_RR", "")]
    {
        // Go prints two seconds as `2s`.
        let out = bench.run(&format!("-H HOST -p PORT -l 2s -t {test} -- -R 1 -o {SELECTORS} {size}"));
        let lines = result_lines(&out);
        assert_eq!(lines.len(), 1, "{out}");
        let values = &lines[0];
        let latencies: Vec<f64> = values[..6].iter().copied().map(figure).collect();
        let [least, mean, most, p50, p90, p99] = latencies[..] else { panic!("six latencies") };
        assert!(least >= 0.0 && least <= mean && mean <= most && mean > 0.0, "{out}");
        // Percentiles are of buckets, MIN and MAX of samples: the width of a bucket, a tenth, may part them.
        assert!(least <= p50 * 1.1 + 1.0 && p50 <= p90 && p90 <= p99 && p99 <= most * 1.1 + 1.0, "{out}");
        let (transactions, throughput) = (figure(values[6]), positive(values[7]));
        if test.ends_with("STREAM") {
            assert_eq!(values[8], "10^6bits/s", "{out}");
        } else {
            assert_eq!(values[8], "Trans/s", "{out}");
            assert!((transactions / throughput - 1.0).abs() < 0.01, "{out}");
            // One at a time: the latency is what is left between two, less the loop around it.
            let each = 1e6 / transactions;
            assert!(mean <= each * 1.05 && mean >= each * 0.5, "{mean} us of {each}: {out}");
        }
    }
}

fn many_streams_give_a_line_each(pair: Pair) {
    let bench = Bench::new(pair);
    for (test, size) in [("TCP_STREAM", ""), ("UDP_STREAM", "-m 1024")] {
        let line = format!("-H HOST -p PORT -l 2s -t {test} -- -R 1 -o {SELECTORS} {size}");
        let streams: Vec<_> = (0..3).map(|_| bench.start(&line)).collect();
        let outs: String = streams.into_iter().map(|stream| ended_well(&line, stream.ended())).collect();
        let lines = result_lines(&outs);
        assert_eq!(lines.len(), 3, "{outs}");
        let sum: f64 = lines.iter().map(|values| positive(values[7])).sum();
        assert!(sum > 0.0 && lines.iter().all(|values| values[8] == "10^6bits/s"), "{outs}");
    }
}
