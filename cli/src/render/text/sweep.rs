//! What a sweep came to, as a table.

use super::comparison::{far_end, spread};
use super::{RATE_UNITS, UNKNOWN, line, table, unit_for};
use crate::statistics::Spread;
use crate::sweep::summary::{Line, RunSummary, Summary};

/// The whole page, line ends included.
pub(crate) fn page(summary: &Summary) -> String {
    let mut page = String::new();
    for run in &summary.runs {
        line(&mut page, &headline(run));
        page.push('\n');
        page.push_str(&table(&rows(&run.lines)));
        let open = run.lines.iter().filter(|line| line.is_open()).count();
        if open > 0 {
            line(&mut page, &format!("... and {open} that are still to be measured"));
        }
        page.push('\n');
    }
    line(&mut page, &format!("kept in {}", summary.store));
    if let Some(signal) = summary.interrupted {
        line(
            &mut page,
            &format!(
                "{signal} ended it early; for the rest: ringperf sweep --resume --store {}",
                summary.store
            ),
        );
    }
    page
}

fn headline(run: &RunSummary) -> String {
    let RunSummary { run, .. } = run;
    let far_end = far_end(run);
    format!("{} {}, run {}: {} of {} points, to {far_end}", run.tag, run.test, run.id, run.done, run.points)
}

fn rows(lines: &[Line]) -> Vec<[String; 5]> {
    let transacts = lines.iter().any(|line| line.transactions_per_second.is_some());
    if transacts { transaction_rows(lines) } else { stream_rows(lines) }
}

fn transaction_rows(lines: &[Line]) -> Vec<[String; 5]> {
    let heads = ["setting", "results", "transactions/s", "50 % within, us", "99 % within, us"];
    let row = |line: &Line| {
        let rate = match (&line.transactions_per_second, &line.error) {
            (None, Some(error)) => error.clone(),
            (rate, _) => range(*rate, 1.0, 0),
        };
        [
            line.words(),
            line.results.to_string(),
            rate,
            range(line.latency_ns, 1e3, 1),
            range(line.tail_latency_ns, 1e3, 1),
        ]
    };
    std::iter::once(heads.map(str::to_owned))
        .chain(lines.iter().filter(|line| !line.is_open()).map(row))
        .collect()
}

fn stream_rows(lines: &[Line]) -> Vec<[String; 5]> {
    let rates = lines.iter().filter_map(|line| line.goodput_bits_per_second);
    let (divisor, unit) = unit_for(rates.map(|rate| rate.median).fold(0.0, f64::max), RATE_UNITS);
    let heads = ["setting", "results", &format!("goodput, {unit}"), "lost, %", "CPU of both ends, ns/KB"];
    let row = |line: &Line| {
        let goodput = match (&line.goodput_bits_per_second, &line.error) {
            (None, Some(error)) => error.clone(),
            (rate, _) => range(*rate, divisor, 2),
        };
        [
            line.words(),
            line.results.to_string(),
            goodput,
            range(line.loss, 0.01, 2),
            range(line.cpu_ns_per_kb, 1.0, 0),
        ]
    };
    std::iter::once(heads.map(str::to_owned))
        .chain(lines.iter().filter(|line| !line.is_open()).map(row))
        .collect()
}

fn range(figure: Option<Spread>, divisor: f64, decimals: usize) -> String {
    figure.map_or_else(|| UNKNOWN.to_owned(), |figure| spread(figure, divisor, decimals))
}
