//! The part of a record's page that is special about transactions: how many, how long each took, what each
//! cost.

use std::time::Duration;

use ringperf_engine::outcome::Sample;

use super::{line, size, target, write_to};
use crate::record::{LatencyFigures, Record, Transactions};

/// The first lines.
pub(super) fn headline(record: &Record, transactions: &Transactions) -> String {
    let mut page = String::new();
    let Transactions { count, per_second, cpu_ns, .. } = transactions;
    line(
        &mut page,
        &format!(
            "{per_second:.0} transactions/s: {count} in {:.2} s",
            Duration::from_nanos(record.time.elapsed_ns).as_secs_f64()
        ),
    );
    line(&mut page, &course(record));
    if let Some(latency) = &transactions.latency {
        line(&mut page, &times(latency));
    }
    if let Some(cpu_ns) = cpu_ns {
        line(&mut page, &format!("{} of CPU at both ends for each", time(*cpu_ns)));
    }
    page
}

/// What a transaction was, and with whom.
fn course(record: &Record) -> String {
    let protocol = if record.test.starts_with("udp") { "UDP" } else { "TCP" };
    let mut text = format!("{protocol} transactions with {}", target(record));
    if let Some(asked) = record.asked.transaction {
        let (request, response) = (size(asked.request_bytes), size(asked.response_bytes));
        write_to(&mut text, format_args!(", {request} there and {response} back"));
        if asked.in_flight > 1 {
            write_to(&mut text, format_args!(", {} at a time", asked.in_flight));
        }
        if asked.busy_poll {
            text.push_str(", polling");
        }
    }
    if record.asked.flows > 1 {
        write_to(&mut text, format_args!(", over {} connections", record.asked.flows));
    }
    if record.test == "tcp_crr" {
        text.push_str(", each over a connection of its own");
    }
    text
}

fn times(latency: &LatencyFigures) -> String {
    let at = |nanoseconds: u64| time(nanoseconds as f64);
    format!(
        "each took {} to {}: mean {}, 50 % {}, 90 % {}, 99 % {}, 99.9 % {}",
        at(latency.min_ns),
        at(latency.max_ns),
        time(latency.mean_ns),
        at(latency.p50_ns),
        at(latency.p90_ns),
        at(latency.p99_ns),
        at(latency.p999_ns)
    )
}

/// A time in the unit that leaves one to three digits before the point.
fn time(nanoseconds: f64) -> String {
    let (divisor, unit) = match nanoseconds {
        ns if ns >= 999.95e6 => (1e9, "s"),
        ns if ns >= 999.95e3 => (1e6, "ms"),
        _ => (1e3, "us"),
    };
    format!("{:.1} {unit}", nanoseconds / divisor)
}

/// How many there were in each interval; nothing where that was not asked for.
pub(super) fn intervals(samples: &[Sample]) -> String {
    let mut page = String::new();
    let mut before = (0.0, 0);
    for sample in samples {
        if page.is_empty() {
            page.push('\n');
        }
        let at = sample.at.as_secs_f64();
        let count = sample.transactions.saturating_sub(before.1);
        let rate = count as f64 / (at - before.0).max(f64::EPSILON);
        line(&mut page, &format!("{:7.2} - {at:7.2} s  {rate:.0} transactions/s", before.0));
        before = (at, sample.transactions);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_the_unit_that_fits() {
        assert_eq!(time(860.0), "0.9 us");
        assert_eq!(time(72_400.0), "72.4 us");
        assert_eq!(time(999_949.0), "999.9 us");
        assert_eq!(time(1_260_000.0), "1.3 ms");
        assert_eq!(time(4e9), "4.0 s");
    }

    #[test]
    fn intervals_tell_what_was_in_them() {
        let sample = |seconds, transactions| Sample {
            at: Duration::from_secs(seconds),
            transactions,
            ..Sample::default()
        };
        let page = intervals(&[sample(1, 100), sample(3, 500)]);
        assert_eq!(
            page,
            "\n   0.00 -    1.00 s  100 transactions/s\n   1.00 -    3.00 s  200 transactions/s\n"
        );
        assert_eq!(intervals(&[]), "");
    }
}
