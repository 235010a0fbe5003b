//! What the tools say about a run: pure functions from their output to the same few figures.
//!
//! Bytes are always the receiver's count and time is the tool's own. CPU time is not read here but in
//! cgroups; what ringperf says about its workers is kept to be held against that.

use serde_json::Value;

/// What a tool said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// Payload that the receiver counted.
    pub(super) bytes_received: u64,
    /// Payload that the sender counted.
    pub(super) bytes_sent: Option<u64>,
    /// Transactions that the client counted, of a test that consists of them.
    pub(super) transactions: Option<u64>,
    /// Time of the transfer.
    pub(super) seconds: f64,
    /// Times a second that the receiving worker slept and was woken.
    pub(super) wakeups_per_second: Option<f64>,
    /// CPU time that the tool itself counts for the threads that move bytes: sender's, receiver's.
    pub(super) workers_ns: Option<[u64; 2]>,
}

/// Of `ringperf run --json`, with `--find-rate` of the run that confirmed the rate.
///
/// # Errors
/// The record's own error, or what is not as it should be.
pub(super) fn ringperf(text: &str) -> Result<Reading, String> {
    let told: Value = serde_json::from_str(text).map_err(|error| format!("no record: {error}"))?;
    if let Some(error) = told_error(text) {
        return Err(error);
    }
    let record = if told["trials"].is_array() { &told["result"] } else { &told };
    let wakeups = record["receiver"]["worker"]["wakeups_per_second"].as_f64();
    let worker = |end: &str| record[end]["worker"]["cpu_ns"].as_u64();
    Ok(Reading {
        bytes_received: count(&record["result"]["bytes_received"], "result.bytes_received")?,
        bytes_sent: record["result"]["bytes_sent"].as_u64(),
        transactions: record["result"]["transactions"]["count"].as_u64(),
        seconds: count(&record["time"]["elapsed_ns"], "time.elapsed_ns")? as f64 / 1e9,
        wakeups_per_second: wakeups,
        workers_ns: worker("sender").zip(worker("receiver")).map(|(sender, receiver)| [sender, receiver]),
    })
}

/// Of netperf with the keys of [`NETPERF_KEYS`].
///
/// # Errors
/// A key that is not there.
pub(super) fn netperf(text: &str) -> Result<Reading, String> {
    let bytes_received = value_of(text, "REMOTE_BYTES_RECVD")?;
    let seconds: f64 = value_of(text, "ELAPSED_TIME")?;
    // A rate by netperf's own time; a stream has none.
    let rate: f64 = value_of(text, "TRANSACTION_RATE")?;
    Ok(Reading {
        bytes_received,
        bytes_sent: Some(value_of(text, "LOCAL_BYTES_SENT")?),
        transactions: (rate > 0.0).then(|| (rate * seconds).round() as u64),
        seconds,
        ..Reading::default()
    })
}

/// What netperf is asked to print (`-k`).
pub(super) const NETPERF_KEYS: &str = "ELAPSED_TIME,REMOTE_BYTES_RECVD,LOCAL_BYTES_SENT,TRANSACTION_RATE";

/// Of `iperf3 -J`.
///
/// # Errors
/// iperf3's own error, or what is not as it should be.
pub(super) fn iperf3(text: &str) -> Result<Reading, String> {
    let report: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    if let Some(error) = told_error(text) {
        return Err(error);
    }
    let received = &report["end"]["sum_received"];
    Ok(Reading {
        bytes_received: count(&received["bytes"], "end.sum_received.bytes")?,
        bytes_sent: report["end"]["sum_sent"]["bytes"].as_u64(),
        seconds: received["seconds"].as_f64().ok_or("no end.sum_received.seconds")?,
        ..Reading::default()
    })
}

/// Of neper's server, which gives a rate over its own time; the bytes are the product.
///
/// # Errors
/// A key that is not there.
pub(super) fn neper(text: &str) -> Result<Reading, String> {
    let bits_per_second: f64 = value_of(text, "local_throughput")?;
    let seconds = value_of::<f64>(text, "time_end")? - value_of::<f64>(text, "time_start")?;
    let bytes = bits_per_second * seconds / 8.0;
    Ok(Reading { bytes_received: bytes.max(0.0).round() as u64, seconds, ..Reading::default() })
}

/// Of neper's client, whose transactions are of one byte each way by default. It gives a rate and the number.
///
/// # Errors
/// A key that is not there.
pub(super) fn neper_transactions(text: &str) -> Result<Reading, String> {
    let transactions: u64 = value_of(text, "num_transactions")?;
    let rate: f64 = value_of(text, "throughput")?;
    let seconds = transactions as f64 / rate;
    Ok(Reading {
        bytes_received: transactions,
        transactions: Some(transactions),
        seconds,
        ..Reading::default()
    })
}

/// Of the two ends of [`super::floor`].
///
/// # Errors
/// What is not as it should be.
pub(super) fn floor(sender: &str, receiver: &str) -> Result<Reading, String> {
    let seconds: f64 = value_of(sender, "seconds")?;
    let reads: f64 = value_of(receiver, "reads")?;
    Ok(Reading {
        bytes_received: value_of(receiver, "bytes")?,
        bytes_sent: Some(value_of(sender, "bytes")?),
        transactions: None,
        seconds,
        // it blocks in each read
        wakeups_per_second: (seconds > 0.0).then(|| reads / seconds),
        workers_ns: None,
    })
}

/// The error that a tool told in JSON, as ringperf and iperf3 do.
pub(super) fn told_error(text: &str) -> Option<String> {
    let told: Value = serde_json::from_str(text).ok()?;
    let error = &told["error"];
    error.as_str().or_else(|| error["text"].as_str()).map(str::to_owned)
}

fn count(value: &Value, name: &str) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("no {name}"))
}

/// The value of a line `KEY=VALUE`.
fn value_of<T: std::str::FromStr>(text: &str, key: &str) -> Result<T, String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('=').map(str::trim));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ringperfs_record_is_read() {
        let record = r#"{"time": {"elapsed_ns": 2000000000},
            "result": {"bytes_received": 1000, "bytes_sent": 1100},
            "sender": {"worker": {"cpu_ns": 7}},
            "receiver": {"worker": {"cpu_ns": 8, "wakeups_per_second": 44.5}}}"#;
        let reading = ringperf(record).unwrap();
        assert_eq!((reading.bytes_received, reading.bytes_sent, reading.seconds), (1000, Some(1100), 2.0));
        assert_eq!((reading.wakeups_per_second, reading.workers_ns), (Some(44.5), Some([7, 8])));
        let refused = r#"{"record": 2, "error": {"text": "nobody listens", "exit": 4}}"#;
        assert_eq!(ringperf(refused).unwrap_err(), "nobody listens");
        assert!(ringperf("{}").is_err() && ringperf("").is_err());
        let search = format!(r#"{{"trials": [], "error": null, "result": {record}}}"#);
        assert_eq!(ringperf(&search), Ok(reading));
        assert!(ringperf(r#"{"trials": [], "result": null}"#).is_err());
    }

    #[test]
    fn netperfs_keys_are_read() {
        let text = "MIGRATED TCP STREAM TEST from 0.0.0.0\n\
            ELAPSED_TIME=1.50\nREMOTE_BYTES_RECVD=89799360\nLOCAL_BYTES_SENT=138671232\n\
            TRANSACTION_RATE=-1.0\n";
        let reading = netperf(text).unwrap();
        assert_eq!(reading.transactions, None);
        assert_eq!(reading.bytes_received, 89_799_360);
        assert_eq!((reading.bytes_sent, reading.seconds), (Some(138_671_232), 1.5));
        assert_eq!(netperf("ELAPSED_TIME=1.50\n").unwrap_err(), "no REMOTE_BYTES_RECVD");
    }

    #[test]
    fn iperf3s_report_is_read() {
        let text = r#"{"end": {"sum_sent": {"bytes": 2252436736, "seconds": 1.0},
            "sum_received": {"bytes": 314060032, "seconds": 1.005195}}}"#;
        let reading = iperf3(text).unwrap();
        assert_eq!((reading.bytes_received, reading.bytes_sent), (314_060_032, Some(2_252_436_736)));
        assert_eq!(reading.seconds, 1.005195);
        assert_eq!(iperf3(r#"{"error": "unable to connect"}"#).unwrap_err(), "unable to connect");
        assert!(iperf3("iperf3: error").is_err());
    }

    #[test]
    fn nepers_rate_becomes_bytes() {
        let text = "time_start=671.5\nnum_samples=3\ntime_end=672.5\nthroughput=8.00\n\
            local_throughput=8000000\nremote_throughput=0\n";
        let reading = neper(text).unwrap();
        assert_eq!((reading.bytes_received, reading.seconds), (1_000_000, 1.0));
        assert!(neper("throughput=8.00\n").is_err());
    }

    #[test]
    fn the_floors_two_ends_are_joined() {
        let reading = floor("bytes=1000\nseconds=2.0\n", "bytes=1000\nreads=80\n").unwrap();
        assert_eq!((reading.bytes_received, reading.wakeups_per_second), (1000, Some(40.0)));
        assert!(floor("", "bytes=1\nreads=1\n").is_err());
    }
}
