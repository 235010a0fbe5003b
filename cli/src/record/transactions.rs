//! What a record tells of a test that consists of transactions. Plain data and its arithmetic.

use ringperf_engine::outcome::Latency;
use serde::Serialize;

use super::ratio;

/// What a transaction was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AskedTransaction {
    /// Bytes of a request.
    pub(crate) request_bytes: u32,
    /// Bytes of a response.
    pub(crate) response_bytes: u32,
    /// Transactions of a flow under way at once.
    pub(crate) in_flight: u32,
    /// Both ends were to look for what comes without sleeping.
    pub(crate) busy_poll: bool,
}

/// Transactions of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Transactions {
    /// Those whose whole response this end had within its time.
    pub(crate) count: u64,
    /// The same over this end's elapsed time.
    pub(crate) per_second: f64,
    /// Those that the netserver had answered: more by those under way when the time was over. Modulo 2^32.
    pub(crate) answered: u64,
    /// CPU nanoseconds of both ends' workers per transaction; of two ringperfs only.
    pub(crate) cpu_ns: Option<f64>,
    /// How long they took at this end.
    pub(crate) latency: Option<LatencyFigures>,
}

/// Times of transactions in nanoseconds: from before the request is sent to the whole response, with the
/// connection and its close where each has its own. Percentiles are to three significant digits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LatencyFigures {
    /// How many were measured.
    pub(crate) count: u64,
    /// The shortest.
    pub(crate) min_ns: u64,
    /// Their mean.
    pub(crate) mean_ns: f64,
    /// Their standard deviation, of the population.
    pub(crate) stddev_ns: f64,
    /// Half of them took no longer.
    pub(crate) p50_ns: u64,
    /// 90 % of them took no longer.
    pub(crate) p90_ns: u64,
    /// 99 % of them took no longer.
    pub(crate) p99_ns: u64,
    /// 99.9 % of them took no longer.
    pub(crate) p999_ns: u64,
    /// The longest.
    pub(crate) max_ns: u64,
}

impl LatencyFigures {
    /// Of what was measured; `None` where that is nothing.
    pub(crate) fn of(latency: &Latency) -> Option<Self> {
        let count = latency.histogram.len();
        let mean_ns = ratio(latency.sum_ns as f64, count as f64)?;
        let mean_square = latency.sum_squares_us * 1e6 / count as f64;
        let at =
            |share: f64| latency.histogram.value_at_quantile(share).clamp(latency.min_ns, latency.max_ns);
        Some(Self {
            count,
            min_ns: latency.min_ns,
            mean_ns,
            // Rounding may leave a hair below zero.
            stddev_ns: (mean_square - mean_ns.powi(2)).max(0.0).sqrt(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: latency.max_ns,
        })
    }
}
