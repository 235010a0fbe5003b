//! Goes through the points of a run that have no result yet: measure, keep, rest.
//!
//! Decides when a run is over before its last point. Tells how far it is on standard error; what came of it
//! is told by whoever asked.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::args::{Sweep, usage};
use super::grid::{self, Point};
use crate::error::{Class, Failure};
use crate::record::Record;
use crate::store::{PointRow, RunId, State, Store};
use crate::trial::{self, Bench};

/// So many points without a result in a row end a run: what fails them is not the points.
const FAILURES_MAX: u32 = 3;

/// What a point takes beside its test: control connection, set-up, results. For the estimate before there is
/// a point to tell.
const AROUND_A_TEST: Duration = Duration::from_millis(300);

/// How a run ended.
pub(crate) enum End {
    /// Every point was tried.
    Done,
    /// The last points failed, the last one by this.
    Failed(Failure),
    /// A signal came.
    Interrupted,
    /// The store refused this result.
    Unsaved(Failure, Box<Record>),
}

impl End {
    /// How the run then stands.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Done => State::Done,
            Self::Failed(_) | Self::Unsaved(..) => State::Failed,
            Self::Interrupted => State::Interrupted,
        }
    }
}

/// The points of a sweep, each of which is a measurement that could be asked for.
///
/// # Errors
/// USAGE for values that contradict each other or the test, before anything is measured.
pub(crate) fn checked_points(sweep: &Sweep) -> Result<Vec<Point>, Failure> {
    let points = grid::points(&sweep.axes, sweep.repeat).map_err(|cause| usage("plan the sweep", cause))?;
    for point in &points {
        point.args(&sweep.trial).map_err(|cause| usage("plan the sweep", cause))?.check()?;
    }
    Ok(points)
}

/// What is measured, in JSON: sweeps whose plans are equal differ only in time, place and repetitions.
///
/// # Errors
/// USAGE where the options contradict each other.
pub(crate) fn plan(sweep: &Sweep) -> Result<Json, Failure> {
    Ok(json!({
        "test": trial::test_name(sweep.trial.test),
        "asked": trial::asked(&sweep.trial)?,
        "vary": sweep.axes,
        "rest_ns": crate::record::nanoseconds(sweep.rest),
    }))
}

/// Measures what a run lacks, of all repetitions or of one. The label stands before the progress of each
/// point. How the run then stands is for the caller to note.
///
/// # Errors
/// STORE where the points cannot be read.
pub(crate) fn go(
    store: &mut Store,
    bench: &Bench,
    run: RunId,
    sweep: &Sweep,
    part: &mut Part<'_>,
) -> Result<End, Failure> {
    let points = store.points(run)?;
    let all = points.len();
    let wanted = |point: &PointRow| part.repetition.is_none_or(|repetition| point.repetition == repetition);
    let open: Vec<(usize, PointRow)> =
        points.into_iter().enumerate().filter(|(_, point)| point.record.is_none() && wanted(point)).collect();
    Ok(each(store, bench, sweep, &open, all, part))
}

/// The part of a run that is measured now, and how it is told.
pub(crate) struct Part<'a> {
    /// Before each point.
    pub(crate) label: &'a str,
    /// Only this repetition.
    pub(crate) repetition: Option<u32>,
    /// Of all that the command measures.
    pub(crate) pace: &'a mut Pace,
}

fn each(
    store: &mut Store,
    bench: &Bench,
    sweep: &Sweep,
    points: &[(usize, PointRow)],
    all: usize,
    part: &mut Part<'_>,
) -> End {
    let mut failures = 0;
    for (index, (place, row)) in points.iter().enumerate() {
        if index > 0 && !bench.rest(sweep.rest) {
            return End::Interrupted;
        }
        let (place, setting, left) = (place + 1, grid::words(&row.setting), part.pace.left());
        let label = format!("{}point {place} of {all}, {setting}{left}:", part.label);
        let point = Point { setting: row.setting.clone(), repetition: row.repetition };
        let measured = point
            .args(&sweep.trial)
            .map_err(|cause| usage("measure a point", cause))
            .and_then(|args| bench.measure(&args, &label));
        // What a signal cut short is no point of the length that the others have.
        if bench.signal().is_some() {
            return End::Interrupted;
        }
        part.pace.done += 1;
        match measured {
            Ok(record) => {
                failures = 0;
                if let Err(failure) = store.finish_point(row.id, &record) {
                    return End::Unsaved(failure, Box::new(record));
                }
            }
            Err(failure) => {
                failures += 1;
                if let Err(unsaved) = store.fail_point(row.id, &failure.to_json()) {
                    return End::Failed(unsaved);
                }
                if failures == FAILURES_MAX || failure.class() == Class::Bug {
                    return End::Failed(failure);
                }
            }
        }
    }
    End::Done
}

/// Tells how long it will take, before it begins.
pub(crate) fn announce(pace: &Pace, all: usize) {
    let rest = pace.all;
    let of = if rest < all { format!("{rest} of {all} points are left") } else { format!("{all} points") };
    let text = match pace.estimate {
        Some(length) => format!("{of}, about {}", words_of(length)),
        None => format!("{of}, each as long as its bytes take"),
    };
    // One that nobody reads changes nothing.
    let _ = writeln!(std::io::stderr().lock(), "ringperf: {text}");
}

/// How long so many points take; `None` where a test's length is in bytes.
pub(crate) fn estimate(sweep: &Sweep, points: usize) -> Option<Duration> {
    let count = u32::try_from(points).unwrap_or(u32::MAX);
    let each = sweep.trial.length().duration()?.saturating_add(AROUND_A_TEST);
    Some(each.saturating_mul(count).saturating_add(sweep.rest.saturating_mul(count.saturating_sub(1))))
}

/// How fast points go by.
pub(crate) struct Pace {
    begun: Instant,
    all: usize,
    done: usize,
    estimate: Option<Duration>,
}

impl Pace {
    /// Of so many points, which are to take so long.
    pub(crate) fn new(all: usize, estimate: Option<Duration>) -> Self {
        Self { begun: Instant::now(), all, done: 0, estimate }
    }

    /// The time that is left, in words.
    fn left(&self) -> String {
        let rest = self.all.saturating_sub(self.done) as f64;
        let left = match self.done {
            0 => self.estimate,
            done => Duration::try_from_secs_f64(self.begun.elapsed().as_secs_f64() / done as f64 * rest).ok(),
        };
        left.map_or_else(String::new, |left| format!(", {} left", words_of(left)))
    }
}

/// A length of time, as precise as an estimate can be.
pub(crate) fn words_of(length: Duration) -> String {
    let seconds = length.as_secs_f64().round() as u64;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {} min", (seconds + 30) / 3600, (seconds + 30) / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_precise_as_estimates() {
        let of = |seconds| words_of(Duration::from_secs(seconds));
        assert_eq!([of(9), of(119), of(120), of(3629)], ["9 s", "119 s", "2 min", "60 min"]);
        assert_eq!(of(9170), "2 h 33 min");
    }
}
