//! The report of a row, as Markdown that can be pasted: absolutes, ratios, targets, commands.
//!
//! It computes ratios within rounds and judges them; what it is given it does not question.

use std::fmt::Write as _;

use super::contender::Contender;
use super::kit::Tool;
use super::measure::Results;
use super::metric::{Metric, Sample, three_digits};
use super::row::{Against, Row, Target};
use super::stats::{Estimate, Side, Verdict};

/// A row's report, and its verdict.
pub(super) fn row(row: &Row, results: &Results) -> (String, Verdict) {
    let judged: Vec<Judged> = row.targets.iter().map(|target| judge(row, results, target)).collect();
    let verdicts: Vec<Verdict> = judged.iter().map(|judged| judged.verdict.clone()).collect();
    let mut text = format!("## {}: {}\n\n", row.name, row.title);
    let pairs = results.samples[0].len();
    let seconds = results.seconds;
    let (runs, rounds) = (
        if row.machine { "windows" } else { "runs" },
        if pairs == 1 { "round" } else { "rounds, all in turn" },
    );
    write!(text, "{pairs} {rounds}, {runs} of {seconds} s. ").expect(WRITES);
    write!(text, "Stolen by the hypervisor: {:.1} % of CPU time.", results.stolen_percent).expect(WRITES);
    for note in &row.notes {
        write!(text, " {note}").expect(WRITES);
    }
    text.push_str("\n\n");
    text.push_str(&absolutes(row, results));
    text.push_str(&ratios(row, results));
    text.push_str(&targets(&judged));
    text.push_str(&failures(row, results));
    text.push_str(&commands(row, results));
    (text, Verdict::of_all(&verdicts))
}

/// A row that has no results.
pub(super) fn unmeasured(row: &Row, reason: &str) -> (String, Verdict) {
    let verdict = Verdict::NotMeasured(reason.to_owned());
    (format!("## {}: {}\n\n{verdict}\n\n", row.name, row.title), verdict)
}

/// The last table: a line for each row.
pub(super) fn summary(verdicts: &[(&Row, Verdict)]) -> String {
    let mut text = "## Summary\n\n| row | case | verdict |\n|---|---|---|\n".to_owned();
    for (row, verdict) in verdicts {
        writeln!(text, "| {} | {} | {verdict} |", row.name, row.title).expect(WRITES);
    }
    text
}

const WRITES: &str = "writing to a string works";

/// The medians of each contender's own figures.
fn absolutes(row: &Row, results: &Results) -> String {
    let head = |metric: &Metric| format!("{}, {}", metric.name(), metric.unit());
    let names: Vec<String> = row.metrics.iter().map(head).collect();
    let mut text = format!("| median (lowest - highest) | runs | {} |\n", names.join(" | "));
    writeln!(text, "|---|---|{}", "---|".repeat(names.len())).expect(WRITES);
    for (contender, runs) in row.contenders.iter().zip(&results.samples) {
        let good: Vec<&Sample> = runs.iter().flatten().collect();
        if good.is_empty() {
            continue;
        }
        let cells: Vec<String> = row.metrics.iter().map(|metric| spread(*metric, &good)).collect();
        writeln!(text, "| {} | {} | {} |", contender.label, good.len(), cells.join(" | ")).expect(WRITES);
    }
    text + "\n"
}

/// "median (lowest - highest)" of a figure, or a dash.
fn spread(metric: Metric, samples: &[&Sample]) -> String {
    let values: Vec<f64> = samples.iter().filter_map(|sample| metric.of(sample)).collect();
    let Some(estimate) = Estimate::of(&values) else { return "-".to_owned() };
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let [median, lowest, highest] = [estimate.median, lowest, highest].map(three_digits);
    format!("{median} ({lowest} - {highest})")
}

/// ringperf by default over every other contender.
fn ratios(row: &Row, results: &Results) -> String {
    let metrics: Vec<Metric> = row.metrics.iter().copied().filter(|metric| metric.is_comparable()).collect();
    let names: Vec<&str> = metrics.iter().map(|metric| metric.name()).collect();
    let ours = &row.contenders[0].label;
    if row.contenders.len() == 1 {
        return String::new();
    }
    let mut text = format!("| {ours} over, median of the pairs [interval] | {} |\n", names.join(" | "));
    writeln!(text, "|---|{}", "---|".repeat(names.len())).expect(WRITES);
    for contender in row.contenders[1..].iter().filter(|contender| contender.tool != Tool::Idle) {
        let ratio = |metric: &Metric| {
            let target = Against::One(&contender.label);
            let values = values(row, results, *metric, ours, target).unwrap_or_default();
            Estimate::of(&values).map(|estimate| written(&estimate))
        };
        let cells: Vec<Option<String>> = metrics.iter().map(ratio).collect();
        if cells.iter().any(Option::is_some) {
            let cells: Vec<&str> = cells.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect();
            writeln!(text, "| {} | {} |", contender.label, cells.join(" | ")).expect(WRITES);
        }
    }
    text + "\n"
}

/// "median [low - high]".
fn written(estimate: &Estimate) -> String {
    let median = three_digits(estimate.median);
    match estimate.interval {
        Some(interval) => {
            format!("{median} [{} - {}]", three_digits(interval.low), three_digits(interval.high))
        }
        None => format!("{median} [no interval]"),
    }
}

/// A target with what became of it.
struct Judged<'a> {
    target: &'a Target,
    against: String,
    measured: String,
    verdict: Verdict,
}

fn judge<'a>(row: &Row, results: &Results, target: &'a Target) -> Judged<'a> {
    let against = match target.against {
        Against::BestPeer => {
            let peers = row.contenders.iter().filter(|contender| contender.is_peer());
            let labels: Vec<&str> = peers.map(|peer| peer.label.as_str()).collect();
            if let [only] = labels[..] {
                only.to_owned()
            } else {
                format!("the best of {} in each round", labels.join(", "))
            }
        }
        Against::One(label) => label.to_owned(),
        Against::Nothing => String::new(),
    };
    let values = values(row, results, target.metric, target.of, target.against);
    let estimate = values.map(|values| Estimate::of(&values));
    let (measured, verdict) = match estimate {
        Ok(Some(estimate)) => {
            let verdict = Verdict::of(&estimate, target.side, target.limit, target.beyond);
            let coverage = estimate.interval.map_or(String::new(), |interval| {
                format!(", {:.1} %, {} pairs", interval.coverage * 100.0, estimate.pairs)
            });
            (format!("{}{coverage}", written(&estimate)), verdict)
        }
        Ok(None) => ("-".to_owned(), Verdict::NotMeasured("in no round do both have this figure".to_owned())),
        Err(reason) => ("-".to_owned(), Verdict::NotMeasured(reason)),
    };
    Judged { target, against, measured, verdict }
}

/// The figure by round: of one contender, over another's where there is one. A round in which either failed
/// has none.
fn values(
    row: &Row,
    results: &Results,
    metric: Metric,
    of: &str,
    against: Against<'_>,
) -> Result<Vec<f64>, String> {
    let ours = runs(row, results, of)?;
    let others: Vec<&[Option<Sample>]> = match against {
        Against::BestPeer => {
            let peers = row.contenders.iter().filter(|contender| contender.is_peer());
            peers.map(|peer| runs(row, results, &peer.label)).collect::<Result<_, _>>()?
        }
        Against::One(label) => vec![runs(row, results, label)?],
        Against::Nothing => Vec::new(),
    };
    let figure = |runs: &[Option<Sample>], round: usize| metric.of(runs[round].as_ref()?);
    let of_round = |round| {
        let ours = figure(ours, round)?;
        if others.is_empty() {
            return Some(ours);
        }
        let theirs: Option<Vec<f64>> = others.iter().map(|runs| figure(runs, round)).collect();
        let best = theirs?.into_iter().reduce(if metric.is_cost() { f64::min } else { f64::max })?;
        (best > 0.0).then(|| ours / best)
    };
    Ok((0..ours.len()).filter_map(of_round).collect())
}

/// The runs of a contender.
fn runs<'a>(row: &Row, results: &'a Results, label: &str) -> Result<&'a [Option<Sample>], String> {
    let index = row.contenders.iter().position(|contender| contender.label == label);
    let index = index.ok_or_else(|| format!("no {label}"))?;
    let runs = &results.samples[index];
    if runs.iter().all(Option::is_none) {
        let reason = results.failures[index].last().map_or("it did not run", String::as_str);
        return Err(format!("{label}: {reason}"));
    }
    Ok(runs)
}

fn targets(judged: &[Judged]) -> String {
    if judged.is_empty() {
        return String::new();
    }
    let mut text = "| target | measured | verdict |\n|---|---|---|\n".to_owned();
    for Judged { target, against, measured, verdict } in judged {
        let Target { metric, of, side, limit, beyond, .. } = target;
        let side = if *side == Side::AtLeast { "at least" } else { "at most" };
        let unit = if against.is_empty() { metric.unit() } else { against };
        let times = if against.is_empty() { "" } else { "x " };
        let (name, limit) = (metric.name(), three_digits(*limit));
        let beyond = beyond.map_or(String::new(), |beyond| format!("; beyond: {}", three_digits(beyond)));
        writeln!(text, "| {of}, {name}: {side} {limit} {times}{unit}{beyond} | {measured} | {verdict} |")
            .expect(WRITES);
    }
    text + "\n"
}

fn failures(row: &Row, results: &Results) -> String {
    let mut text = String::new();
    for (contender, failures) in row.contenders.iter().zip(&results.failures) {
        let Some(last) = failures.last() else { continue };
        let index = row.contenders.iter().position(|other| other == contender).unwrap_or_default();
        let never = results.samples[index].iter().all(Option::is_none);
        let what = if never { "not measured".to_owned() } else { format!("{} runs failed", failures.len()) };
        writeln!(text, "- {}: {what}: {last}", contender.label).expect(WRITES);
    }
    if text.is_empty() { text } else { text + "\n" }
}

/// What was run. What all command lines of a tool have in common is not shortened: each can be pasted.
fn commands(row: &Row, results: &Results) -> String {
    let mut text = "```text\n".to_owned();
    for line in &results.link {
        writeln!(text, "{line}").expect(WRITES);
    }
    let commands = results.commands.iter().zip(&row.contenders);
    for ([client, server], Contender { label, tool, .. }) in commands {
        if *tool != Tool::Idle {
            writeln!(text, "{label}:\n  {}\n  {}", server.trim(), client.trim()).expect(WRITES);
        }
    }
    text + "```\n\n"
}

#[cfg(test)]
mod tests {
    use super::super::readings::Reading;
    use super::super::row::all;
    use super::*;

    fn sample(bytes_received: u64, cpu: u64) -> Option<Sample> {
        let reading = Reading { bytes_received, seconds: 1.0, ..Reading::default() };
        Some(Sample { reading, cpu_ns: Some([cpu, cpu]), ..Sample::default() })
    }

    /// Ten rounds of F1 in which ringperf is three times as fast as one peer and twice as the other.
    fn results(row: &Row) -> Results {
        let of = |contender: &Contender| {
            let bytes = match contender.label.as_str() {
                "ringperf" => 6_000_000,
                "netperf" => 2_000_000,
                "iperf3" => 3_000_000,
                _ => return vec![None; 10],
            };
            (0..10).map(|_| sample(bytes, bytes / 10)).collect()
        };
        Results {
            seconds: 1,
            samples: row.contenders.iter().map(of).collect(),
            failures: row.contenders.iter().map(|_| vec!["boom".to_owned()]).collect(),
            stolen_percent: 0.0,
            link: Vec::new(),
            commands: row.contenders.iter().map(|_| ["client".to_owned(), "server".to_owned()]).collect(),
        }
    }

    fn f1() -> Row {
        all().into_iter().find(|row| row.name == "F1").unwrap()
    }

    #[test]
    fn the_best_peer_of_the_round_is_what_counts() {
        let row = f1();
        let results = results(&row);
        let ratios = values(&row, &results, Metric::Goodput, "ringperf", Against::BestPeer).unwrap();
        assert_eq!(ratios, [2.0; 10]);
        let one = values(&row, &results, Metric::Goodput, "ringperf", Against::One("netperf")).unwrap();
        assert_eq!(one, [3.0; 10]);
    }

    #[test]
    fn a_round_in_which_a_peer_failed_has_no_pair() {
        let row = f1();
        let mut results = results(&row);
        results.samples[5][3] = None;
        let ratios = values(&row, &results, Metric::Goodput, "ringperf", Against::BestPeer).unwrap();
        assert_eq!(ratios.len(), 9);
        results.samples[5].fill(None);
        let gone = values(&row, &results, Metric::Goodput, "ringperf", Against::BestPeer);
        assert_eq!(gone.unwrap_err(), "netperf: boom");
    }

    #[test]
    fn a_report_shows_all_and_judges() {
        let row = f1();
        let (text, verdict) = super::row(&row, &results(&row));
        // equal CPU per byte: the second target is missed
        assert_eq!(verdict, Verdict::Missed);
        for part in [
            "## F1: ",
            "| ringperf | 10 | 0.0480 (0.0480 - 0.0480) |",
            "| netperf | 3.00 [3.00 - 3.00] |",
            "at least 2.00 x the best of netperf, iperf3 in each round; beyond: 2.50",
            "97.9 %, 10 pairs | **met** |",
            "**missed**",
            "- ringperf, epoll: not measured: boom",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
