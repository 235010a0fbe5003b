//! How long operations took, in netperf's terms: its buckets, its figures, and the text of its histogram.
//!
//! The engine measures in nanoseconds; what netperf prints is of whole microseconds, in buckets as wide as a
//! tenth of the decade they are in. Figures that need no bucket come from the engine's exact sums.

use std::fmt::Write as _;

use ringperf_engine::outcome::Latency;

use super::selectors::Direction;

/// Names of the decades from 1 microsecond on, as netperf prints them.
const DECADES: [&str; 8] =
    ["UNIT_USEC", "TEN_USEC", "HUNDRED_USEC", "UNIT_MSEC", "TEN_MSEC", "HUNDRED_MSEC", "UNIT_SEC", "TEN_SEC"];

/// Buckets of a decade, which reach from 0 to ten times its unit: those of the lowest tenth are used in the
/// first decade only.
const BUCKETS: usize = 100;

/// Buckets that a printed cell sums up.
const BUCKETS_PER_CELL: usize = 10;

/// What lasted as long as this is in no bucket, in microseconds.
const BEYOND_US: u64 = 100_000_000;

/// netperf's figures of timed operations, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// The shortest.
    pub(crate) min_us: u64,
    /// The longest.
    pub(crate) max_us: u64,
    /// The arithmetic mean.
    pub(crate) mean_us: f64,
    /// The standard deviation of the population.
    pub(crate) stddev_us: f64,
    /// The median, by netperf's interpolation.
    pub(crate) p50_us: u64,
    /// The 90th percentile.
    pub(crate) p90_us: u64,
    /// The 99th percentile.
    pub(crate) p99_us: u64,
}

/// Whose histogram it is: netperf words its title for every test anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Title {
    /// By selectors, whatever the test.
    Omni(Direction),
    /// A TCP stream to here.
    TcpReceive,
    /// A TCP stream from here, sendfile included.
    TcpSend,
    /// Transactions or connections over TCP.
    TcpTransactions,
    /// A UDP stream.
    UdpSend,
    /// Transactions over UDP.
    UdpTransactions,
}

impl Title {
    /// The line, with the empty ones above it.
    fn line(self) -> String {
        let rest = match self {
            Self::Omni(direction) => {
                let operation = match direction {
                    Direction::Connect => "connect/close",
                    Direction::ConnectSendReceive => "connect/request/response/close",
                    Direction::Receive => "recv",
                    Direction::Send => "send",
                    Direction::SendReceive => "request/response",
                };
                return format!("\nHistogram of {operation} times\n");
            }
            Self::TcpReceive => "\n\nHistogram of time spent in recv() call.\n",
            Self::TcpSend => "\n\nHistogram of time spent in send() call.\n",
            Self::TcpTransactions => "\nHistogram of request/response times\n",
            Self::UdpSend => "\nHistogram of time spent in send() call\n",
            // The misspelling is netperf's.
            Self::UdpTransactions => "\nHistogram of request/reponse times.\n",
        };
        rest.to_owned()
    }
}

/// Operations of all iterations of a test, by how long they took.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    counts: [[u64; BUCKETS]; DECADES.len()],
    beyond: u64,
    total: u64,
    sum_us: f64,
    sum_squares_us: f64,
    min_us: u64,
    max_us: u64,
}

impl Histogram {
    /// No operation yet.
    pub(crate) fn new() -> Self {
        Self {
            counts: [[0; BUCKETS]; DECADES.len()],
            beyond: 0,
            total: 0,
            sum_us: 0.0,
            sum_squares_us: 0.0,
            min_us: u64::MAX,
            max_us: 0,
        }
    }

    /// Adds the operations of an iteration. The engine knows them to three digits, so that one close to the
    /// edge of a bucket may be counted beside it.
    pub(crate) fn add(&mut self, latency: &Latency) {
        let histogram = &latency.histogram;
        if histogram.is_empty() {
            return;
        }
        for step in histogram.iter_recorded() {
            let middle = histogram.median_equivalent(step.value_iterated_to());
            let nanoseconds = middle.clamp(latency.min_ns, latency.max_ns);
            self.count(nanoseconds / 1000, step.count_at_value());
        }
        self.sum_us += latency.sum_ns as f64 / 1e3;
        self.sum_squares_us += latency.sum_squares_us;
        self.min_us = self.min_us.min(latency.min_ns / 1000);
        self.max_us = self.max_us.max(latency.max_ns / 1000);
    }

    /// Counts operations of a length.
    fn count(&mut self, microseconds: u64, operations: u64) {
        self.total += operations;
        let mut unit = 1;
        for decade in &mut self.counts {
            // What is too long for this decade has no bucket in it.
            let bucket = usize::try_from(microseconds.saturating_mul(10) / unit).unwrap_or(BUCKETS);
            if let Some(count) = decade.get_mut(bucket) {
                *count += operations;
                return;
            }
            unit *= 10;
        }
        self.beyond += operations;
    }

    /// netperf's figures; all 0 of no operation.
    pub(crate) fn figures(&self) -> Figures {
        if self.total == 0 {
            return Figures::default();
        }
        let total = self.total as f64;
        let mean_us = self.sum_us / total;
        Figures {
            min_us: self.min_us,
            max_us: self.max_us,
            mean_us,
            // Rounding may leave less than nothing.
            stddev_us: (self.sum_squares_us / total - mean_us * mean_us).max(0.0).sqrt(),
            p50_us: self.percentile(0.50),
            p90_us: self.percentile(0.90),
            p99_us: self.percentile(0.99),
        }
    }

    /// netperf's percentile: as far into the bucket that reaches the share as the share is into its count,
    /// without what follows the point. It is 0 where there are too few operations to have a share.
    fn percentile(&self, share: f64) -> u64 {
        let target = (share * self.total as f64) as u64;
        if target == 0 {
            return 0;
        }
        let mut below = 0;
        let mut unit = 1.0;
        for decade in &self.counts {
            for (bucket, count) in decade.iter().enumerate() {
                if below + count >= target {
                    let part = (target - below) as f64 / *count as f64;
                    return ((bucket as f64 + part) * unit / BUCKETS_PER_CELL as f64) as u64;
                }
                below += count;
            }
            unit *= 10.0;
        }
        BEYOND_US
    }

    /// The histogram as netperf prints it, its title included.
    pub(crate) fn text(&self, title: Title) -> String {
        let mut text = title.line();
        // Writing to a String cannot fail.
        for (name, decade) in DECADES.iter().zip(&self.counts) {
            let _ = write!(text, "{name:<14}");
            for cell in decade.chunks(BUCKETS_PER_CELL) {
                let _ = write!(text, ": {:>4}", cell.iter().sum::<u64>());
            }
            text.push('\n');
        }
        let _ = write!(text, ">100_SECS: {}\nHIST_TOTAL:      {}\n", self.beyond, self.total);
        text
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram as Recorder;

    use super::*;
    use crate::netperf::golden::goldens;

    /// What the engine tells of operations that took so many microseconds and a half each.
    fn measured(microseconds: &[u64]) -> Latency {
        let nanoseconds: Vec<u64> = microseconds.iter().map(|us| us * 1000 + 500).collect();
        let mut histogram = Recorder::new(3).expect("three digits");
        for value in &nanoseconds {
            histogram.record(*value).expect("it grows");
        }
        Latency {
            histogram,
            sum_ns: nanoseconds.iter().map(|value| u128::from(*value)).sum(),
            sum_squares_us: nanoseconds.iter().map(|value| (*value as f64 / 1e3).powi(2)).sum(),
            min_ns: nanoseconds.iter().copied().min().unwrap_or(0),
            max_ns: nanoseconds.iter().copied().max().unwrap_or(0),
        }
    }

    fn figures(microseconds: &[u64]) -> Figures {
        let mut histogram = Histogram::new();
        histogram.add(&measured(microseconds));
        histogram.figures()
    }

    /// Few enough transactions of a stock netperf 2.7.0 that its printed figures tell all of them.
    #[test]
    fn percentiles_are_those_that_netperf_interpolates() {
        // min, max, and the one percentile that two values have
        let pairs = [
            (62, 92, 63),
            (74, 107, 75),
            (104, 183, 110),
            (132, 311, 140),
            (205, 480, 210),
            (666, 1337, 670),
            (1140, 1779, 1200),
            (2207, 3330, 2300),
            (3454, 3561, 3500),
        ];
        for (min, max, low) in pairs {
            let found = figures(&[min, max]);
            assert_eq!((found.min_us, found.max_us), (min, max));
            assert_eq!((found.p50_us, found.p90_us, found.p99_us), (low, low, low), "{min} and {max}");
        }
        let all = |microseconds: &[u64]| {
            let Figures { min_us, p50_us, p90_us, p99_us, max_us, mean_us, stddev_us } =
                figures(microseconds);
            // The engine's times do not end in a whole microsecond, as netperf's do.
            let mean_us = mean_us - 0.5;
            format!("{min_us},{p50_us},{p90_us},{p99_us},{max_us},{mean_us:.2},{stddev_us:.2}")
        };
        assert_eq!(all(&[303]), "303,0,0,0,303,303.00,0.00");
        assert_eq!(all(&[173, 355, 174]), "173,175,180,180,355,234.00,85.56");
        assert_eq!(all(&[147, 349, 156, 164]), "147,160,170,170,349,204.00,83.93");
        assert_eq!(all(&[295, 136, 137, 141, 147]), "136,140,150,150,295,171.20,62.02");
        assert_eq!(all(&[1, 1, 1, 2, 3, 3, 44]), "1,1,3,3,44,7.86,14.78");
    }

    #[test]
    fn buckets_are_tenths_of_the_unit_of_their_decade() {
        let mut histogram = Histogram::new();
        let edges = [0, 9, 10, 99, 100, 109, 110, 999, 1000, 99_999_999, 100_000_000, u64::MAX];
        for microseconds in edges {
            histogram.count(microseconds, 1);
        }
        let filled: Vec<(usize, usize, u64)> = (0..DECADES.len())
            .flat_map(|decade| (0..BUCKETS).map(move |bucket| (decade, bucket)))
            .map(|(decade, bucket)| (decade, bucket, histogram.counts[decade][bucket]))
            .filter(|(_, _, count)| *count > 0)
            .collect();
        let expected = [(0, 0, 1), (0, 90, 1), (1, 10, 1), (1, 99, 1), (2, 10, 2), (2, 11, 1), (2, 99, 1)];
        assert_eq!(filled, [&expected[..], &[(3, 10, 1), (7, 99, 1)]].concat());
        assert_eq!((histogram.beyond, histogram.total), (2, 12));
        assert_eq!(histogram.percentile(0.99), BEYOND_US);
    }

    #[test]
    fn iterations_add_up() {
        let mut both = Histogram::new();
        both.add(&measured(&[1, 20, 300]));
        both.add(&measured(&[]));
        both.add(&measured(&[4000, 50_000]));
        let mut once = Histogram::new();
        once.add(&measured(&[1, 20, 300, 4000, 50_000]));
        assert_eq!(both, once);
        assert_eq!(Histogram::new().figures(), Figures::default());
    }

    /// The counts of the golden outputs of a build that prints histograms, in the same text again.
    #[test]
    fn the_text_is_netperfs() {
        let mut compared = 0;
        for golden in goldens() {
            let Some(at) = golden.stdout.find("Histogram of ") else { continue };
            // Empty lines above belong to it, but for the one that ends the table of a UDP stream.
            let table = golden.stdout[..at].trim_end_matches('\n').len() + 1;
            let title = match golden.name.get(..3) {
                Some("301" | "316") => Title::TcpSend,
                Some("302") => Title::TcpReceive,
                Some("303" | "304") => Title::TcpTransactions,
                Some("306") => Title::UdpSend,
                Some("307") => Title::UdpTransactions,
                _ => Title::Omni(Direction::SendReceive),
            };
            let theirs = &golden.stdout[table + usize::from(title == Title::UdpSend)..];
            let mut histogram = Histogram::new();
            for (decade, row) in theirs.lines().filter(|line| line.matches(':').count() == 10).enumerate() {
                let (_, cells) = row.split_once(':').expect("cells");
                for (cell, count) in cells.split(':').enumerate() {
                    let count: u64 = count.trim().parse().expect("a count");
                    histogram.counts[decade][cell * BUCKETS_PER_CELL] = count;
                    histogram.total += count;
                }
            }
            assert_eq!(histogram.text(title), theirs, "{}", golden.name);
            compared += 1;
        }
        assert_eq!(compared, 8, "goldens must not drop out silently");
    }

    #[test]
    fn selector_mode_names_what_an_operation_was() {
        let line = |direction| Title::Omni(direction).line();
        assert_eq!(line(Direction::Send), "\nHistogram of send times\n");
        assert_eq!(line(Direction::Receive), "\nHistogram of recv times\n");
        assert_eq!(line(Direction::Connect), "\nHistogram of connect/close times\n");
        assert_eq!(
            line(Direction::ConnectSendReceive),
            "\nHistogram of connect/request/response/close times\n"
        );
    }
}
