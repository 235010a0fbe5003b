//! `ringperf lab`: the sweeps of a file in each of its environments, kept, compared and reported.
//!
//! This file is the command: what comes before the first environment and after the last. [`mod@file`] says
//! what is to be done, [`rounds`] does it.
//!
//! ```text
//! file -> runs planned in the store -> each repetition: each environment: up -> sweeps -> down
//!     -> comparison -> report
//! ```

mod file;
mod rounds;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::compare::comparison::Comparison;
use crate::compare::{self, Named, Request};
use crate::error::{Class, Failure};
use crate::record::rfc3339;
use crate::render;
use crate::report;
use crate::run::{self, Told};
use crate::store::{self, NewRun, RunId, RunRow, Store};
use crate::sweep::course;
use crate::sweep::summary::Summary;
use crate::trial::{self, Bench};
use file::Lab;
use rounds::Ended;

/// Runs the sweeps of a file in each of its environments, compares them and writes a report.
///
/// An environment that this machine cannot have is noted, and the others go on. What a signal keeps from
/// being measured, --resume measures later.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The lab's file, such as labs/study.toml.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Measure less: fewer values, shorter tests, no rest, as the part `quick` of the file says.
    #[arg(long)]
    quick: bool,

    /// The store, made if it is not there [default: ringperf/results.db in the user's data directory].
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,

    /// The file of the report [default: the lab's name and .html, in the current folder].
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Go on with what this lab began last in the store.
    #[arg(long)]
    resume: bool,

    /// One JSON object on standard output, on success and on failure.
    #[arg(long)]
    json: bool,
}

/// A run of the lab: one sweep in one environment.
struct Run {
    id: RunId,
    /// Index of its environment.
    environment: usize,
    /// Index of its sweep.
    sweep: usize,
}

/// What came of a lab, in JSON.
#[derive(Serialize)]
struct Page<'a> {
    /// The runs.
    #[serde(flatten)]
    summary: &'a Summary,
    /// What they amount to; absent where the base has no result.
    comparison: Option<&'a Comparison>,
    /// The file of the report; absent without a comparison.
    report: Option<String>,
}

/// Runs the lab, prints what came of it, and says how it went.
pub(crate) fn main(args: &Args) -> ExitCode {
    run::conclude(args.json, |command| lab(args, command))
}

fn lab(args: &Args, command: &[String]) -> Result<Told, Failure> {
    let lab = file::read(&args.file, args.quick)?;
    let path = args.store.clone().map_or_else(store::default_path, Ok)?;
    let mut store = Store::write(&path)?;
    let runs = if args.resume { found(&lab, &store)? } else { begun(&lab, &mut store, command)? };
    let bench = Bench::new(&lab.sweeps[0].trial, command)?;
    let Ended { failure, rescued } = rounds::go(&lab, &runs, &mut store, &bench)?;
    let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
    let comparison = if bench.signal().is_none() { compared(&lab, &runs, &store, command)? } else { None };
    let output = args.report.clone().unwrap_or_else(|| PathBuf::from(format!("{}.html", lab.name)));
    if let Some(comparison) = &comparison {
        report::write(comparison, &output)?;
    }
    let summary = Summary::new(&store, &ids, command, failure.as_ref(), bench.signal_name())?;
    let written = comparison.as_ref().map(|_| output.display().to_string());
    let page = if args.json {
        render::json::line(&Page { summary: &summary, comparison: comparison.as_ref(), report: written })
    } else {
        told(args, &summary, comparison.as_ref(), written)
    };
    Ok(Told { page: rescued + &page, failure, signal: bench.signal() })
}

fn told(args: &Args, summary: &Summary, comparison: Option<&Comparison>, report: Option<String>) -> String {
    let mut page = comparison.map(render::text::comparison::page).unwrap_or_default();
    for run in &summary.runs {
        let run = &run.run;
        page.push_str(&format!(
            "run {}, {} {}: {} of {} points\n",
            run.id, run.tag, run.test, run.done, run.points
        ));
    }
    page.push_str(&format!("kept in {}\n", summary.store));
    if let Some(report) = report {
        page.push_str(&format!("the report is {report}\n"));
    }
    if let Some(signal) = summary.interrupted {
        let quick = if args.quick { " --quick" } else { "" };
        let file = args.file.display();
        page.push_str(&format!(
            "{signal} ended it early; for the rest: ringperf lab {file}{quick} --resume --store {}\n",
            summary.store
        ));
    }
    page
}

/// Plans a run for each sweep in each environment, so that a resumption knows them all.
fn begun(lab: &Lab, store: &mut Store, command: &[String]) -> Result<Vec<Run>, Failure> {
    let begun = rfc3339(SystemTime::now());
    let mut runs = Vec::new();
    for (environment, place) in lab.environments.iter().enumerate() {
        for (sweep, wanted) in lab.sweeps.iter().enumerate() {
            let id = store.begin_run(&NewRun {
                tag: &place.name,
                test: trial::test_name(wanted.trial.test),
                plan: course::plan(wanted)?,
                words: &[],
                command,
                target: target(lab, &begun, place.kind.word(), Json::Null),
                points: &course::checked_points(wanted)?,
            })?;
            runs.push(Run { id, environment, sweep });
        }
    }
    Ok(runs)
}

/// What a run says of its far end.
fn target(lab: &Lab, begun: &str, kind: &str, facts: Json) -> Json {
    json!({
        "host": Json::Null,
        "environment": { "kind": kind, "facts": facts },
        "lab": { "name": lab.name, "begun": begun },
    })
}

/// The runs that this lab began last.
fn found(lab: &Lab, store: &Store) -> Result<Vec<Run>, Failure> {
    let refused = |cause: &str| {
        Failure::new(Class::Usage, format!("resume the lab {}", lab.name), cause)
            .setting("--store, --quick and the file, which have to be those it began with")
            .next("begin it anew, without --resume")
    };
    let mine = |run: &RunRow| run.target["lab"]["name"] == lab.name.as_str();
    let all: Vec<RunRow> = store.runs()?.into_iter().filter(mine).collect();
    let last = all.last().ok_or_else(|| refused("the store has nothing of it"))?;
    let begun = last.target["lab"]["begun"].clone();
    let mut runs = Vec::new();
    for (environment, place) in lab.environments.iter().enumerate() {
        for (sweep, wanted) in lab.sweeps.iter().enumerate() {
            let plan = course::plan(wanted)?;
            let points = course::checked_points(wanted)?.len();
            let run = all.iter().find(|run| {
                run.target["lab"]["begun"] == begun
                    && run.tag == place.name
                    && run.plan == plan
                    && run.points as usize == points
            });
            let run = run.ok_or_else(|| refused("what it began last was another form of it"))?;
            runs.push(Run { id: run.id, environment, sweep });
        }
    }
    Ok(runs)
}

/// The environments that have results, set against the base; `None` where the base has none.
fn compared(
    lab: &Lab,
    runs: &[Run],
    store: &Store,
    command: &[String],
) -> Result<Option<Comparison>, Failure> {
    let with_results: Vec<RunId> =
        store.runs()?.into_iter().filter(|run| run.done > 0).map(|run| run.id).collect();
    let mut named = lab.environments.iter().enumerate().map(|(index, place)| {
        let mine = runs.iter().filter(|run| run.environment == index).map(|run| run.id);
        Named { name: place.name.clone(), runs: Some(mine.filter(|id| with_results.contains(id)).collect()) }
    });
    let has_results = |named: &Named| named.runs.as_ref().is_some_and(|runs| !runs.is_empty());
    let Some(base) = named.next().filter(has_results) else { return Ok(None) };
    let request = Request {
        base,
        others: named.filter(has_results).collect(),
        figures: lab.figures.clone(),
        ranges: lab.ranges.clone(),
        mixed: false,
    };
    compare::build(store, &request, command).map(Some)
}
