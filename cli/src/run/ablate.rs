//! `ringperf run --ablate`: the same measurement by every variant, in turns, and one table of what each buys.
//!
//! Decides the order of runs and which go on; [`variants`] is the list, [`crate::record::ablation`] the
//! arithmetic. A variant that is refused stays in the table and is not tried again.

use ringperf_proto::errno::EINVAL;

use super::variants::{self, BASELINE, Variant};
use super::{Args, Told};
use crate::error::{Class, Failure};
use crate::record::ablation::{Ablation, Asks, Line, Refused, Run};
use crate::render;
use crate::trial::{self, Bench};
use crate::without;

/// A variant and what became of it.
struct Entry {
    variant: &'static Variant,
    refused: Option<(u32, Failure)>,
}

/// Why no more runs are made.
enum End {
    /// All are made.
    Done,
    /// This concerns all variants that were to come.
    Failed(Failure),
    /// A signal came.
    Interrupted,
}

/// What the rounds came to.
struct Course {
    entries: Vec<Entry>,
    runs: Vec<Run>,
    /// Rounds that were run to their end.
    rounds: u32,
    end: End,
}

/// Runs all rounds and puts the table together.
///
/// # Errors
/// Where not a single run has a result: the failure of the first, or the signal.
pub(super) fn run(args: &Args, trial: &trial::Args, bench: &Bench) -> Result<Told, Failure> {
    let course = rounds(args.rounds, trial, bench);
    if course.runs.is_empty() {
        bench.check("compare the variants")?;
        let failed = if let End::Failed(failure) = course.end { Some(failure) } else { None };
        let refused = course.entries.into_iter().find_map(|entry| entry.refused).map(|(_, failure)| failure);
        return Err(failed.or(refused).unwrap_or_else(|| {
            Failure::new(Class::Bug, "compare the variants", "no variant was run and none was refused")
        }));
    }
    let failure = if let End::Failed(failure) = &course.end { Some(failure.clone()) } else { None };
    let ablation = summary(args.rounds, trial, bench, course);
    let page =
        if args.json { render::json::line(&ablation) } else { render::text::ablation::page(&ablation) };
    Ok(Told { page, failure, signal: bench.signal() })
}

fn rounds(asked: u32, trial: &trial::Args, bench: &Bench) -> Course {
    let entries = variants::of(trial.test).iter().map(|variant| Entry { variant, refused: None }).collect();
    let mut course = Course { entries, runs: Vec::new(), rounds: 0, end: End::Done };
    for round in 1..=asked {
        for index in order(round, course.entries.len()) {
            if let Some(end) = turn(trial, bench, (round, asked), index, &mut course) {
                course.end = end;
                return course;
            }
        }
        course.rounds = round;
    }
    course
}

/// Every other round is the one before it backwards, and each two begin with the next variant, so that what
/// drifts during a round (temperature, other guests of the machine) favours each side of a pair in turns.
fn order(round: u32, variants: usize) -> impl Iterator<Item = usize> {
    let first = usize::try_from((round - 1) / 2).unwrap_or_default();
    (0..variants).map(move |place| {
        let place = if round.is_multiple_of(2) { variants - 1 - place } else { place };
        (first + place) % variants
    })
}

/// One run of one variant. Says so when it was the last.
fn turn(
    trial: &trial::Args,
    bench: &Bench,
    (round, asked): (u32, u32),
    index: usize,
    course: &mut Course,
) -> Option<End> {
    let Entry { variant, refused } = &mut course.entries[index];
    if refused.is_some() {
        return None;
    }
    let label = format!("round {round} of {asked}: {}", variant.name);
    let measured = bench.measure(&variant.of(trial), &label);
    // What a signal cut short is no run of the length that the others have.
    if bench.signal().is_some() {
        return Some(End::Interrupted);
    }
    match measured {
        Ok(record) => course.runs.push(Run { variant: variant.name, round, record }),
        Err(failure) if concerns_all(&failure, trial) => return Some(End::Failed(failure)),
        Err(failure) => *refused = Some((round, failure)),
    }
    None
}

/// Whether the next variant would meet the same: a netserver elsewhere that fails us fails all of them, and
/// each would wait for it anew, unless it only refuses what this one asks for. One of our own is started anew
/// for each.
fn concerns_all(failure: &Failure, trial: &trial::Args) -> bool {
    match failure.class() {
        Class::Bug | Class::Inconclusive | Class::Signal(_) | Class::Store => true,
        Class::Peer | Class::Policy => trial.host.is_some() && !failure.is(EINVAL),
        Class::Environment | Class::Usage => false,
    }
}

fn summary(rounds_asked: u32, trial: &trial::Args, bench: &Bench, course: Course) -> Ablation {
    let Course { entries, runs, rounds, end } = course;
    let lines = entries.into_iter().map(|Entry { variant, refused }| {
        let refused = refused.map(|(round, failure)| Refused { round, error: failure.to_json() });
        Line::new(asks(variant), refused, BASELINE, &runs)
    });
    Ablation {
        host: trial.host.clone(),
        both_ends_vary: trial.host.is_none(),
        rounds_asked,
        rounds,
        variants: lines.collect(),
        interrupted: bench.signal_name(),
        error: if let End::Failed(failure) = end { Some(failure.to_json()) } else { None },
        runs,
        ..Ablation::new(bench.command(), trial::test_name(trial.test), BASELINE)
    }
}

fn asks(variant: &Variant) -> Asks {
    Asks {
        name: variant.name,
        engine: variant.engine.word(),
        without: without::words(&variant.without),
        send: variant.send.word(),
        gso: variant.gso,
        gro: variant.gro,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_runs_backwards() {
        assert_eq!(order(1, 3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(order(2, 3).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(order(3, 3).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(order(4, 3).collect::<Vec<_>>(), [0, 2, 1]);
    }
}
