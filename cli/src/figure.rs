//! The figures that sweeps are told of and compared by, each found in a record's JSON.
//!
//! A record may come out of a store, so it is read by the names it was written with.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A figure of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    /// CPU time of both ends' workers per 1024 bytes that arrived; of two ringperfs only.
    Cpu,
    /// Payload bits a second that arrived.
    Goodput,
    /// The time that half of the transactions did not exceed.
    Latency,
    /// Share of the datagrams sent that did not arrive.
    Loss,
    /// Datagrams that the sender's kernel took, over those and the ones it had no room for: okay / (okay +
    /// errors), by the words of netperf's UDP_STREAM.
    OkayRate,
    /// CPU time of the receiver's workers per 1024 bytes that arrived.
    ReceiverCpu,
    /// CPU time of the sender's workers per 1024 bytes that it sent.
    SenderCpu,
    /// The time that 99 % of the transactions did not exceed.
    TailLatency,
    /// Transactions a second.
    Transactions,
}

impl Figure {
    /// Its name, as options and headings have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Goodput => "goodput",
            Self::Latency => "latency",
            Self::Loss => "loss",
            Self::OkayRate => "okay-rate",
            Self::ReceiverCpu => "receiver-cpu",
            Self::SenderCpu => "sender-cpu",
            Self::TailLatency => "tail-latency",
            Self::Transactions => "transactions",
        }
    }

    /// What it counts; `None` of a share.
    pub(crate) fn unit(self) -> Option<&'static str> {
        match self {
            Self::Goodput => Some("bit/s"),
            Self::Latency | Self::TailLatency => Some("ns"),
            Self::Transactions => Some("1/s"),
            Self::Cpu | Self::ReceiverCpu | Self::SenderCpu => Some("ns/KB"),
            Self::Loss | Self::OkayRate => None,
        }
    }

    /// Whether more of it is better.
    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::Goodput | Self::OkayRate | Self::Transactions)
    }

    /// Its value in a record; `None` where the record does not have it.
    pub(crate) fn of(self, record: &Json) -> Option<f64> {
        let number = |pointer: &str| record.pointer(pointer).and_then(Json::as_f64);
        let value = match self {
            // Bytes are not what a test of transactions is about.
            Self::Goodput if record.pointer("/result/transactions/count").is_some() => None,
            Self::Goodput => number("/result/goodput_bits_per_second"),
            Self::Latency => number("/result/transactions/latency/p50_ns"),
            Self::TailLatency => number("/result/transactions/latency/p99_ns"),
            Self::Transactions => number("/result/transactions/per_second"),
            Self::Loss => number("/result/loss"),
            Self::ReceiverCpu => number("/receiver/worker/ns_per_kb"),
            Self::SenderCpu => number("/sender/worker/ns_per_kb"),
            Self::OkayRate => {
                // Only datagrams have it, and only they have a loss.
                number("/result/loss")?;
                let (okay, errors) = (number("/result/messages_sent")?, number("/result/failed_sends")?);
                Some(okay / (okay + errors))
            }
            Self::Cpu => {
                let ns = number("/sender/worker/cpu_ns")? + number("/receiver/worker/cpu_ns")?;
                Some(ns * 1024.0 / number("/result/bytes_received")?)
            }
        };
        value.filter(|value| value.is_finite())
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_found_in_records() {
        let record = json!({
            "result": {
                "goodput_bits_per_second": 8e6, "loss": 0.25, "messages_sent": 900, "failed_sends": 100,
                "bytes_received": 2048,
            },
            "sender": {"worker": {"cpu_ns": 100, "ns_per_kb": 40.0}},
            "receiver": {"worker": {"cpu_ns": 300, "ns_per_kb": 150.0}},
        });
        let values = Figure::value_variants().iter().map(|figure| (figure.name(), figure.of(&record)));
        assert_eq!(
            values.collect::<Vec<_>>(),
            [
                ("cpu", Some(200.0)),
                ("goodput", Some(8e6)),
                ("latency", None),
                ("loss", Some(0.25)),
                ("okay-rate", Some(0.9)),
                ("receiver-cpu", Some(150.0)),
                ("sender-cpu", Some(40.0)),
                ("tail-latency", None),
                ("transactions", None),
            ]
        );
    }

    #[test]
    fn transactions_have_a_rate_and_times_and_no_goodput() {
        let record = json!({"result": {
            "goodput_bits_per_second": 8e6,
            "transactions": {"count": 7, "per_second": 3.5, "latency": {"p50_ns": 20, "p99_ns": 90}},
        }});
        let of = |figure: Figure| figure.of(&record);
        assert_eq!(of(Figure::Goodput), None);
        assert_eq!(of(Figure::Transactions), Some(3.5));
        assert_eq!((of(Figure::Latency), of(Figure::TailLatency)), (Some(20.0), Some(90.0)));
    }

    #[test]
    fn what_is_not_there_or_no_number_is_no_figure() {
        let stream = json!({"result": {
            "goodput_bits_per_second": 8e6, "loss": null, "messages_sent": 0, "failed_sends": 0,
        }});
        assert_eq!(Figure::OkayRate.of(&stream), None);
        let nothing_sent = json!({"result": {"loss": 1.0, "messages_sent": 0, "failed_sends": 0}});
        assert_eq!(Figure::OkayRate.of(&nothing_sent), None);
        assert_eq!(Figure::Cpu.of(&stream), None);
    }

    #[test]
    fn names_are_those_of_clap() {
        for figure in Figure::value_variants() {
            let value = figure.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), figure.name());
        }
    }
}
