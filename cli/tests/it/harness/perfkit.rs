//! PerfKitBenchmarker: OMNI or a classic name, results in CSV under a banner, and the histogram of `-v2`.

use super::{Bench, csv, figure, positive};
use crate::netperf::{Maker, Pair};
use crate::support::free_port;

harnesses! { samples_and_histograms_are_read }

const SELECTORS: &str = "THROUGHPUT,THROUGHPUT_UNITS,P50_LATENCY,P90_LATENCY,P99_LATENCY,STDDEV_LATENCY,\
    MIN_LATENCY,MAX_LATENCY,CONFIDENCE_ITERATION,THROUGHPUT_CONFID,LOCAL_TRANSPORT_RETRANS,\
    REMOTE_TRANSPORT_RETRANS,TRANSPORT_MSS";

/// A row of results by the names of the header row above it.
struct Row(Vec<(String, String)>);

impl Row {
    fn read(out: &str) -> Self {
        let mut lines = out.lines();
        let banner = lines.next().unwrap_or_default();
        assert!(banner.starts_with("OMNI") || banner.starts_with("MIGRATED"), "{out}");
        let mut cells = || csv(lines.next().unwrap_or_default());
        let (names, values) = (cells(), cells());
        assert_eq!(names.len(), values.len(), "{out}");
        Self(names.into_iter().zip(values).collect())
    }

    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(column, _)| column == name);
        &found.unwrap_or_else(|| panic!("no {name} in {:?}", self.0)).1
    }
}

/// Latencies in microseconds, of two digits, and how often each was counted; and the total that is printed.
fn histogram(out: &str) -> (Vec<(u64, u64)>, u64) {
    const ROWS: [(&str, u64); 8] = [
        ("UNIT_USEC", 1),
        ("TEN_USEC", 10),
        ("HUNDRED_USEC", 100),
        ("UNIT_MSEC", 1_000),
        ("TEN_MSEC", 10_000),
        ("HUNDRED_MSEC", 100_000),
        ("UNIT_SEC", 1_000_000),
        ("TEN_SEC", 10_000_000),
    ];
    let mut counts = Vec::new();
    let mut total = None;
    let mut rows = 0;
    for line in out.lines() {
        let mut cells = line.split(':').map(str::trim);
        let label = cells.next().unwrap_or_default();
        let mut number =
            || cells.next().and_then(|cell| cell.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        match ROWS.iter().find(|(name, _)| *name == label) {
            Some((_, unit)) => {
                counts.extend((0..10).map(|index| (unit * index, number())));
                rows += 1;
            }
            None if label == "HIST_TOTAL" => total = Some(number()),
            None if label == ">100_SECS" => assert_eq!(number(), 0, "{out}"),
            None => {}
        }
    }
    assert_eq!(rows, ROWS.len(), "rows of a histogram in {out}");
    (counts, total.unwrap_or_else(|| panic!("no total in {out}")))
}

fn samples_and_histograms_are_read(pair: Pair) {
    let bench = Bench::new(pair);
    for (test, options, unit) in [
        ("-v2 -t OMNI", "-T TCP -d RR", "Trans/s"),
        ("-v2 -t OMNI", "-T UDP -d RR", "Trans/s"),
        ("-t OMNI", "-T TCP -d STREAM", "10^6bits/s"),
        // Older releases.
        ("-v2 -t TCP_RR", "", "Trans/s"),
        ("-v2 -t TCP_CRR", "", "Trans/s"),
    ] {
        // Connections take a stock netserver four seconds more, each time.
        let confidence = if test.contains("CRR") { "" } else { "-I 99,5 -i 3,3" };
        let port = free_port();
        let out = bench.run(&format!(
            "-p PORT -j {test} -H HOST -L 127.0.0.1 -l 1 {confidence} -- {options} -P ,{port} -o {SELECTORS}"
        ));
        let row = Row::read(&out);
        let throughput = positive(row.get("Throughput"));
        assert_eq!(row.get("Throughput Units"), unit, "{out}");
        let iterations = figure(row.get("Confidence Iterations Run"));
        assert_eq!(iterations, if confidence.is_empty() { 1.0 } else { 3.0 }, "{out}");
        figure(row.get("Throughput Confidence Width (%)"));
        if options.contains("TCP") {
            let retransmitted = |end: &str| figure(row.get(&format!("{end} Transport Retransmissions")));
            assert!(retransmitted("Local") >= 0.0 && retransmitted("Remote") >= 0.0, "{out}");
            positive(row.get("Transport MSS bytes"));
        }
        if unit == "10^6bits/s" {
            continue;
        }
        let latency = |name: &str| figure(row.get(&format!("{name} Latency Microseconds")));
        let (p50, p90, p99) =
            (latency("50th Percentile"), latency("90th Percentile"), latency("99th Percentile"));
        let (least, most) = (latency("Minimum"), latency("Maximum"));
        assert!(least > 0.0 && most >= least && latency("Stddev") > 0.0, "{out}");
        assert!(p50 > 0.0 && p50 <= p90 && p90 <= p99, "{out}");
        // Debian's netperf is built without histograms.
        if pair.client == Maker::Ours {
            let (counts, total) = histogram(&out);
            assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), total, "{out}");
            // Of all iterations; an elapsed time of a little more than a second each.
            let transactions = throughput * iterations;
            assert!((0.9..1.5).contains(&(total as f64 / transactions)), "{total} of {transactions}: {out}");
            let median = counts.iter().scan(0, |sum, (latency, count)| {
                *sum += count;
                Some((*latency, *sum))
            });
            let median = median.into_iter().find(|(_, sum)| sum * 2 >= total).expect("there is a middle").0;
            // A row's cells are as wide as a tenth of what the next row begins with.
            assert!((0.5..=1.1).contains(&(median as f64 / p50)), "{median} us, {p50} us: {out}");
        }
    }
}
