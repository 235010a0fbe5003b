//! What a comparison of variants amounts to: every run's record, and one line of figures for each variant.
//!
//! Plain data and the arithmetic on it. It runs nothing.

use serde::Serialize;

use super::{RECORD_VERSION, Record, Tool, Warning, ratio};
use crate::error::FailureJson;
use crate::statistics::{Estimate, Spread};

/// The whole comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ablation {
    /// [`RECORD_VERSION`].
    pub(crate) record: u32,
    /// What made it.
    pub(crate) tool: Tool,
    /// The command line, program name included.
    pub(crate) command: Vec<String>,
    /// Name of the test.
    pub(crate) test: &'static str,
    /// The netserver, as the user named it; absent where each run had one of our own.
    pub(crate) host: Option<String>,
    /// Whether the netserver varied too: only one of our own does.
    pub(crate) both_ends_vary: bool,
    /// Rounds asked for.
    pub(crate) rounds_asked: u32,
    /// Rounds finished.
    pub(crate) rounds: u32,
    /// Name of the variant that the others are set against.
    pub(crate) baseline: &'static str,
    /// A line for each variant.
    pub(crate) variants: Vec<Line>,
    /// Every run that was finished, in the order of time.
    pub(crate) runs: Vec<Run>,
    /// Name of the signal that ended the comparison early.
    pub(crate) interrupted: Option<&'static str>,
    /// Why it ended early, where that was no signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<FailureJson>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    /// Name of the variant.
    pub(crate) variant: &'static str,
    /// Number of the round, from 1.
    pub(crate) round: u32,
    /// What was measured.
    pub(crate) record: Record,
}

/// What a variant asks for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Asks {
    /// Its name.
    pub(crate) name: &'static str,
    /// Backend.
    pub(crate) engine: &'static str,
    /// What it does without.
    pub(crate) without: Vec<&'static str>,
    /// How it sends.
    pub(crate) send: &'static str,
    /// Hands over many datagrams at once.
    pub(crate) gso: bool,
    /// Takes many datagrams at once.
    pub(crate) gro: bool,
}

/// A run of a variant that came to nothing. The variant is left out of the rounds after it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Refused {
    /// Number of the round, from 1.
    pub(crate) round: u32,
    /// Why.
    pub(crate) error: FailureJson,
}

/// A variant, and what its runs amount to. Figures are over its runs; a ratio is over the pairs that a round
/// makes of one of its runs and the baseline's run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// The variant.
    #[serde(flatten)]
    pub(crate) asks: Asks,
    /// How many runs it finished.
    pub(crate) runs: usize,
    /// Why it has no more.
    pub(crate) refused: Option<Refused>,
    /// What its runs went on without although it was asked for: such figures are of something else than the
    /// name says.
    pub(crate) degraded: Vec<String>,
    /// Bits a second.
    pub(crate) goodput_bits_per_second: Option<Spread>,
    /// CPU time of the sender's worker per 1024 bytes that it sent, in nanoseconds.
    pub(crate) sender_ns_per_kb: Option<Spread>,
    /// CPU time of the receiver's worker per 1024 bytes that it received, in nanoseconds.
    pub(crate) receiver_ns_per_kb: Option<Spread>,
    /// Times a second that the receiver's worker was woken; not known of the classic engine.
    pub(crate) receiver_wakeups_per_second: Option<Spread>,
    /// CPU time of both workers per 1024 bytes that were received, in nanoseconds.
    pub(crate) cpu_ns_per_kb: Option<Spread>,
    /// Goodput over the baseline's.
    pub(crate) goodput_ratio: Option<Estimate>,
    /// CPU time of both workers per byte over the baseline's.
    pub(crate) cpu_ratio: Option<Estimate>,
}

impl Line {
    /// The line of a variant, from the runs of all.
    pub(crate) fn new(asks: Asks, refused: Option<Refused>, baseline: &str, runs: &[Run]) -> Self {
        let mut degraded = Vec::new();
        for text in runs.iter().filter(|run| run.variant == asks.name).flat_map(|run| lacks(&run.record)) {
            if !degraded.contains(&text) {
                degraded.push(text);
            }
        }
        let figures: Vec<(&str, u32, Figures)> =
            runs.iter().map(|run| (run.variant, run.round, Figures::of(&run.record))).collect();
        Self { degraded, ..Self::from_figures(asks, refused, baseline, &figures) }
    }

    fn from_figures(
        asks: Asks,
        refused: Option<Refused>,
        baseline: &str,
        figures: &[(&str, u32, Figures)],
    ) -> Self {
        let mine = figures.iter().filter(|(variant, ..)| *variant == asks.name);
        let base = |round| figures.iter().find(|(variant, of, _)| *variant == baseline && *of == round);
        let ours: Vec<&Figures> = mine.clone().map(|(.., figures)| figures).collect();
        let pairs: Vec<(&Figures, &Figures)> =
            mine.filter_map(|(_, round, figures)| Some((figures, &base(*round)?.2))).collect();
        let spread =
            |figure: fn(&Figures) -> Option<f64>| Spread::of(ours.iter().copied().filter_map(figure));
        let estimate = |figure: fn(&Figures) -> Option<f64>| {
            Estimate::of(pairs.iter().filter_map(|(ours, base)| ratio(figure(ours)?, figure(base)?)))
        };
        Self {
            runs: ours.len(),
            refused,
            degraded: Vec::new(),
            goodput_bits_per_second: spread(|figures| Some(figures.goodput)),
            sender_ns_per_kb: spread(|figures| figures.sender_ns_per_kb),
            receiver_ns_per_kb: spread(|figures| figures.receiver_ns_per_kb),
            receiver_wakeups_per_second: spread(|figures| figures.wakeups),
            cpu_ns_per_kb: spread(|figures| figures.cpu_ns_per_kb),
            goodput_ratio: estimate(|figures| Some(figures.goodput)),
            cpu_ratio: estimate(|figures| figures.cpu_ns_per_kb),
            asks,
        }
    }
}

/// What is compared of a run.
#[derive(Clone, Copy, Debug)]
struct Figures {
    goodput: f64,
    sender_ns_per_kb: Option<f64>,
    receiver_ns_per_kb: Option<f64>,
    wakeups: Option<f64>,
    cpu_ns_per_kb: Option<f64>,
}

impl Figures {
    fn of(record: &Record) -> Self {
        let (sender, receiver) = (record.sender.worker, record.receiver.worker);
        let cpu_ns = sender.zip(receiver).map(|(sender, receiver)| {
            // Datagrams that were lost have cost their sender something, too.
            sender.cpu_ns as f64 + receiver.cpu_ns as f64
        });
        Self {
            goodput: record.result.goodput_bits_per_second,
            sender_ns_per_kb: sender.and_then(|worker| worker.ns_per_kb),
            receiver_ns_per_kb: receiver.and_then(|worker| worker.ns_per_kb),
            wakeups: receiver.and_then(|worker| worker.wakeups_per_second),
            cpu_ns_per_kb: cpu_ns.and_then(|ns| ratio(ns, record.result.bytes_received as f64 / 1024.0)),
        }
    }
}

/// What a run says about things that it went on without.
fn lacks(record: &Record) -> impl Iterator<Item = String> {
    let lacks = |warning: &Warning| {
        matches!(
            warning,
            Warning::CompletionsDefective { .. } | Warning::Degraded { .. } | Warning::RemoteDegraded { .. }
        )
    };
    record.warnings.iter().filter(move |note| lacks(&note.warning)).map(|note| note.text.clone())
}

impl Ablation {
    /// What else has to be known about the figures: for each warning but those about lacks its text, and the
    /// variants whose runs had it; no names where all had it. The text of a busy worker leaves out how busy
    /// it was, because that differs between runs.
    pub(crate) fn circumstances(&self) -> Vec<(String, Vec<&'static str>)> {
        let mut found: Vec<(String, Vec<&'static str>)> = Vec::new();
        for run in &self.runs {
            for note in &run.record.warnings {
                let text = match &note.warning {
                    Warning::CompletionsDefective { .. }
                    | Warning::Degraded { .. }
                    | Warning::RemoteDegraded { .. } => continue,
                    Warning::CpuLimited { end, .. } => {
                        format!("CPU-limited at the {end}: its worker had no core time left")
                    }
                    _ => note.text.clone(),
                };
                match found.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, variants)) if variants.contains(&run.variant) => {}
                    Some((_, variants)) => variants.push(run.variant),
                    None => found.push((text, vec![run.variant])),
                }
            }
        }
        let measured = self.variants.iter().filter(|line| line.runs > 0).count();
        for (_, variants) in &mut found {
            if variants.len() == measured {
                variants.clear();
            }
        }
        found
    }

    /// An empty one of the present version.
    pub(crate) fn new(command: &[String], test: &'static str, baseline: &'static str) -> Self {
        Self {
            record: RECORD_VERSION,
            tool: Tool::this(),
            command: command.to_vec(),
            test,
            host: None,
            both_ends_vary: true,
            rounds_asked: 0,
            rounds: 0,
            baseline,
            variants: Vec::new(),
            runs: Vec::new(),
            interrupted: None,
            error: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn asks(name: &'static str) -> Asks {
        Asks { name, engine: "uring", without: Vec::new(), send: "auto", gso: false, gro: false }
    }

    fn figures(goodput: f64, cpu: Option<f64>) -> Figures {
        Figures {
            goodput,
            sender_ns_per_kb: cpu,
            receiver_ns_per_kb: None,
            wakeups: Some(10.0),
            cpu_ns_per_kb: cpu,
        }
    }

    /// A line of `name` against `base`, from runs given as variant, round, goodput and CPU.
    pub(crate) fn line(name: &'static str, runs: &[(&str, u32, f64, Option<f64>)]) -> Line {
        let figures: Vec<(&str, u32, Figures)> =
            runs.iter().map(|(variant, round, rate, cpu)| (*variant, *round, figures(*rate, *cpu))).collect();
        Line::from_figures(asks(name), None, "base", &figures)
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        // The second round is twice as fast for both: the ratio does not see it.
        let runs = [
            ("base", 1, 100.0, Some(10.0)),
            ("other", 1, 50.0, Some(20.0)),
            ("other", 2, 100.0, Some(40.0)),
            ("base", 2, 200.0, Some(20.0)),
            ("other", 3, 70.0, Some(1.0)),
        ];
        let other = line("other", &runs);
        let goodput = other.goodput_ratio.expect("two rounds have both");
        assert_eq!((goodput.median, goodput.low, goodput.high, goodput.count), (0.5, 0.5, 0.5, 2));
        assert_eq!(other.cpu_ratio.map(|cpu| cpu.median), Some(2.0));
        assert_eq!((other.runs, other.goodput_bits_per_second.map(|rate| rate.median)), (3, Some(70.0)));
        assert_eq!(line("base", &runs).goodput_ratio.map(|ratio| ratio.median), Some(1.0));
    }

    #[test]
    fn what_is_not_known_has_no_figure() {
        let lone = line("other", &[("other", 1, 50.0, None)]);
        assert!(lone.goodput_ratio.is_none() && lone.cpu_ratio.is_none() && lone.sender_ns_per_kb.is_none());
        let against_nothing = line("other", &[("other", 1, 50.0, None), ("base", 1, 0.0, Some(1.0))]);
        assert!(against_nothing.goodput_ratio.is_none() && against_nothing.cpu_ratio.is_none());
        assert_eq!(line("other", &[]).runs, 0);
    }
}
