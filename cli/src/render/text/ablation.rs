//! A comparison of variants as one table, and what qualifies it.

use super::{RATE_UNITS, UNKNOWN, line, table, unit_for};
use crate::record::ablation::{Ablation, Line};
use crate::statistics::{Estimate, Spread};

/// Stands behind the name of a variant that its figures do not belong to in full.
const MARK: &str = " *";

/// The whole page, line ends included.
pub(crate) fn page(ablation: &Ablation) -> String {
    let mut page = String::new();
    line(&mut page, &headline(ablation));
    page.push('\n');
    page.push_str(&table(&rows(ablation)));
    page.push('\n');
    line(&mut page, &legend(ablation));
    remarks(&mut page, ablation);
    page
}

fn headline(ablation: &Ablation) -> String {
    let Ablation { rounds, rounds_asked, test, .. } = ablation;
    let done = match rounds_asked {
        1 => format!("{rounds} of 1 round"),
        _ => format!("{rounds} of {rounds_asked} rounds"),
    };
    let target = match &ablation.host {
        None => "each run to a netserver of our own, which varies too".to_owned(),
        Some(host) => format!("to the netserver on {host}: only this end varies"),
    };
    format!("{test} by {} variants, {done}, {target}", ablation.variants.len())
}

fn rows(ablation: &Ablation) -> Vec<[String; 7]> {
    let rates = ablation.variants.iter().filter_map(|line| line.goodput_bits_per_second);
    let (divisor, unit) = unit_for(rates.map(|rate| rate.median).fold(0.0, f64::max), RATE_UNITS);
    let heads = [
        "variant",
        &format!("goodput, {unit}"),
        "sender ns/KB",
        "receiver ns/KB",
        "wakeups/s",
        "goodput ratio",
        "CPU ratio",
    ]
    .map(str::to_owned);
    let row = |line: &Line| {
        let mark = if line.degraded.is_empty() { "" } else { MARK };
        let name = format!("{}{mark}", line.asks.name);
        if let (0, Some(refused)) = (line.runs, &line.refused) {
            let reason = format!("not available: {}", refused.error.text);
            return [name, reason, String::new(), String::new(), String::new(), String::new(), String::new()];
        }
        let ratio = |estimate: Option<Estimate>| match estimate {
            Some(_) if line.asks.name == ablation.baseline => "1".to_owned(),
            estimate => ratio(estimate),
        };
        [
            name,
            line.goodput_bits_per_second.map_or_else(unknown, |rate| range(rate, divisor)),
            median(line.sender_ns_per_kb, 1),
            median(line.receiver_ns_per_kb, 1),
            median(line.receiver_wakeups_per_second, 0),
            ratio(line.goodput_ratio),
            ratio(line.cpu_ratio),
        ]
    };
    std::iter::once(heads).chain(ablation.variants.iter().map(row)).collect()
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

fn median(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(unknown, |spread| format!("{:.decimals$}", spread.median))
}

/// The median with the range around it; alone where there is none.
fn range(spread: Spread, divisor: f64) -> String {
    let Spread { median, lowest, highest } = spread;
    if lowest == highest {
        return format!("{:.2}", median / divisor);
    }
    format!("{:.2} ({:.2} - {:.2})", median / divisor, lowest / divisor, highest / divisor)
}

fn ratio(estimate: Option<Estimate>) -> String {
    match estimate {
        None => unknown(),
        Some(Estimate { median, count: 1, .. }) => format!("{median:.2}"),
        Some(Estimate { median, low, high, .. }) => format!("{median:.2} ({low:.2} - {high:.2})"),
    }
}

/// What the columns are.
fn legend(ablation: &Ablation) -> String {
    let base = ablation.baseline;
    let estimates = ablation.variants.iter().filter_map(|line| line.goodput_ratio);
    // The ratios of a variant that lacks a round are fewer, and its interval is worth less.
    let least = estimates.min_by(|a, b| a.coverage.total_cmp(&b.coverage));
    let Some(least) = least else {
        return format!("no ratios: {base}, which they would be to, was not measured");
    };
    let interval = if least.count > 1 {
        format!("and an interval that covers it with {:.0} %", (least.coverage * 100.0).floor())
    } else {
        "one round has no interval".to_owned()
    };
    format!(
        "goodput: median and range; ns/KB and wakeups: medians, wakeups of the receiver's worker\n\
         ratios to {base} within each round: median, {interval}\n\
         CPU ratio: time of both workers per byte received"
    )
}

/// What has to be known about the figures.
fn remarks(page: &mut String, ablation: &Ablation) {
    for variant in &ablation.variants {
        for lack in &variant.degraded {
            line(page, &format!("*{}: {lack}", variant.asks.name));
        }
    }
    for variant in ablation.variants.iter().filter(|variant| variant.runs > 0) {
        if let Some(refused) = &variant.refused {
            let (name, round) = (variant.asks.name, refused.round);
            line(page, &format!("{name} ended in round {round}: {}", refused.error.text));
        }
    }
    for (text, variants) in ablation.circumstances() {
        let of = if variants.is_empty() { String::new() } else { format!(" ({})", variants.join("; ")) };
        line(page, &format!("warning: {text}{of}"));
    }
    let Ablation { runs, rounds, .. } = ablation;
    if let Some(signal) = ablation.interrupted {
        let runs = runs.len();
        line(page, &format!("interrupted: {signal} came after {runs} runs, {rounds} rounds of them whole"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Failure};
    use crate::record::ablation::tests::{asks, line};
    use crate::record::ablation::{Line, Refused};

    fn sample() -> Ablation {
        let runs = [
            ("base", 1, 3.13e9, Some(350.0)),
            ("classic", 1, 2.0e9, Some(700.0)),
            ("base", 2, 3.03e9, Some(350.0)),
            ("classic", 2, 2.2e9, Some(490.0)),
        ];
        let error = Failure::new(Class::Environment, "use io_uring", "the kernel refuses").to_json();
        let refused = Line { refused: Some(Refused { round: 1, error }), ..line("none", &[]) };
        let classic =
            Line { degraded: vec!["sender without this (EPERM): that".into()], ..line("classic", &runs) };
        Ablation {
            rounds: 2,
            rounds_asked: 5,
            variants: vec![classic, line("base", &runs), refused],
            interrupted: Some("SIGINT"),
            ..Ablation::new(&[], "tcp_stream", "base")
        }
    }

    #[test]
    fn every_variant_has_its_row() {
        let expected = "\
tcp_stream by 3 variants, 2 of 5 rounds, each run to a netserver of our own, which varies too

variant    goodput, Gbit/s     sender ns/KB  receiver ns/KB  wakeups/s  goodput ratio       CPU ratio
classic *  2.10 (2.00 - 2.20)  595.0         -               10         0.68 (0.64 - 0.73)  1.70 (1.40 - 2.00)
base       3.08 (3.03 - 3.13)  350.0         -               10         1                   1
none       not available: cannot use io_uring: the kernel refuses

goodput: median and range; ns/KB and wakeups: medians, wakeups of the receiver's worker
ratios to base within each round: median, and an interval that covers it with 50 %
CPU ratio: time of both workers per byte received
*classic: sender without this (EPERM): that
interrupted: SIGINT came after 0 runs, 2 rounds of them whole
";
        assert_eq!(page(&sample()), expected);
    }

    #[test]
    fn one_round_has_no_interval_and_no_baseline_no_ratio() {
        let runs = [("base", 1, 2e9, None), ("other", 1, 1e9, None)];
        let mut ablation = Ablation {
            host: Some("there".to_owned()),
            rounds: 1,
            rounds_asked: 1,
            variants: vec![line("other", &runs), line("base", &runs)],
            ..Ablation::new(&[], "udp_stream", "base")
        };
        let text = page(&ablation);
        assert!(text.contains("1 of 1 round, to the netserver on there: only this end varies\n"), "{text}");
        assert!(
            text.contains("\nother    1.00             -             -               10         0.50"),
            "{text}"
        );
        assert!(text.contains("one round has no interval"), "{text}");
        let error = Failure::new(Class::Peer, "connect", "no").to_json();
        ablation.variants = vec![
            line("other", &runs[1..]),
            Line { refused: Some(Refused { round: 1, error }), ..line("base", &[]) },
        ];
        let text = page(&ablation);
        assert!(text.contains("no ratios: base, which they would be to, was not measured"), "{text}");
        assert_eq!(asks("x").name, "x");
    }
}
