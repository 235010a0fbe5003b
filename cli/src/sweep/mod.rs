//! `ringperf sweep`: a measurement at every point of a grid, kept in a store as it goes.
//!
//! This file is the command: what comes before the first point and after the last. [`grid`] makes the points
//! out of the options, [`course`] goes through them, [`summary`] is what the command tells of them.
//!
//! ```text
//! options, preset -> axes -> points -> store (planned) -> each: options of the point -> trial -> record
//!     -> store (done) -> rest -> ... -> summary
//! ```

mod args;
pub(crate) mod course;
pub(crate) mod grid;
pub(crate) mod summary;

use std::process::ExitCode;

use serde_json::Value as Json;

pub(crate) use args::{Args, Sweep, parse_rest, parse_tag};

use crate::error::{Class, Failure};
use crate::render;
use crate::run::{self, Told};
use crate::store::{NewRun, RunId, RunRow, State, Store};
use crate::trial::Bench;
use course::{End, Pace, Part};
use summary::Summary;

/// Sweeps, prints what came of it, and says how it went.
pub(crate) fn main(args: &Args) -> ExitCode {
    run::conclude(args.json, |command| sweep(args, command))
}

fn sweep(args: &Args, command: &[String]) -> Result<Told, Failure> {
    let path = args.store()?;
    let (mut store, sweep, run) = if args.resume {
        let mut store = Store::write(&path)?;
        let row = unfinished(&store, args.tag.as_deref())?;
        let sweep = began_with(&row)?;
        store.set_state(row.id, State::Running)?;
        (store, sweep, row.id)
    } else {
        let sweep = args.sweep()?;
        let points = course::checked_points(&sweep)?;
        let mut store = Store::write(&path)?;
        let run = store.begin_run(&NewRun {
            tag: &sweep.tag,
            test: crate::trial::test_name(sweep.trial.test),
            plan: course::plan(&sweep)?,
            words: &command[command.len().min(2)..],
            command,
            target: serde_json::json!({ "host": sweep.trial.host, "environment": Json::Null }),
            points: &points,
        })?;
        (store, sweep, run)
    };
    let bench = Bench::new(&sweep.trial, command)?;
    let points = store.points(run)?;
    let open = points.iter().filter(|point| point.record.is_none()).count();
    let mut pace = Pace::new(open, course::estimate(&sweep, open));
    course::announce(&pace, points.len());
    let mut part = Part { label: "", repetition: None, pace: &mut pace };
    let end = course::go(&mut store, &bench, run, &sweep, &mut part)?;
    let noted = store.set_state(run, end.state());
    // A store that refused a result has said so already.
    if !matches!(end, End::Unsaved(..)) {
        noted?;
    }
    told(args, &store, run, &bench, end, command)
}

/// What a result that the store refused leaves: its record, to be printed. What is measured is not lost for
/// want of a disk.
pub(crate) fn rescued(end: &End) -> String {
    match end {
        End::Unsaved(_, record) => render::json::line(record),
        End::Done | End::Failed(_) | End::Interrupted => String::new(),
    }
}

/// The page and what went wrong.
fn told(
    args: &Args,
    store: &Store,
    run: RunId,
    bench: &Bench,
    end: End,
    command: &[String],
) -> Result<Told, Failure> {
    let rescued = rescued(&end);
    let (failure, signal) = match end {
        End::Done => (None, None),
        End::Failed(failure) | End::Unsaved(failure, _) => (Some(failure), None),
        End::Interrupted => (None, bench.signal()),
    };
    let summary = Summary::new(store, &[run], command, failure.as_ref(), bench.signal_name());
    let page = match summary {
        Ok(summary) if args.json => render::json::line(&summary),
        Ok(summary) => render::text::sweep::page(&summary),
        // The store failed before; that is told.
        Err(_) if failure.is_some() => String::new(),
        Err(failure) => return Err(failure),
    };
    Ok(Told { page: rescued + &page, failure, signal })
}

/// The run that --resume is about.
fn unfinished(store: &Store, tag: Option<&str>) -> Result<RunRow, Failure> {
    store.latest_unfinished(tag)?.ok_or_else(|| {
        let which = tag.map_or_else(String::new, |tag| format!(" with the tag {tag}"));
        Failure::new(Class::Usage, "resume a sweep", format!("the store has no unfinished one{which}"))
            .setting("--store and --tag")
            .next(format!("ringperf compare --store {} --list", store.path().display()))
    })
}

/// The sweep that a run began as, from its options.
fn began_with(row: &RunRow) -> Result<Sweep, Failure> {
    let tried = || format!("resume run {}", row.id);
    let args = Args::read(&row.words).map_err(|cause| {
        Failure::new(Class::Usage, tried(), cause)
            .setting("the options that it began with, which this release reads otherwise")
            .next("begin it anew")
    })?;
    let sweep = args.sweep()?;
    if course::plan(&sweep)? != row.plan {
        return Err(Failure::new(
            Class::Usage,
            tried(),
            "its options mean another sweep to this release than to the one that began it",
        )
        .setting("defaults that have changed since")
        .next("begin it anew"));
    }
    Ok(sweep)
}
