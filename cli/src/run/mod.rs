//! `ringperf run`: a measurement against a netserver, or many of them, and the result on standard output.
//!
//! This file is what comes before and after. A measurement itself is [`mod@crate::trial`]; [`ablate`] and
//! [`find_rate`] put many of them together.

mod ablate;
mod args;
mod find_rate;
mod variants;

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

pub(crate) use args::Args;

use crate::error::{Class, Failure, signal_exit_code};
use crate::render;
use crate::trial::Bench;

/// What a command has to tell once something was measured.
pub(crate) struct Told {
    /// For standard output.
    pub(crate) page: String,
    /// What went wrong all the same. A page of JSON tells it already.
    pub(crate) failure: Option<Failure>,
    /// The signal that ended it early.
    pub(crate) signal: Option<i32>,
}

impl Told {
    fn exit_code(&self) -> ExitCode {
        match (&self.failure, self.signal) {
            (Some(failure), _) => ExitCode::from(failure.class().exit_code()),
            (None, Some(signal)) => ExitCode::from(signal_exit_code(signal)),
            (None, None) => ExitCode::SUCCESS,
        }
    }
}

/// Measures, prints the result or why there is none, and says how it went.
pub(crate) fn main(args: &Args) -> ExitCode {
    conclude(args.json, |command| measure(args, command))
}

/// Runs a command that measures, prints what it has to tell or why there is nothing, and says how it went.
pub(crate) fn conclude(json: bool, measure: impl FnOnce(&[String]) -> Result<Told, Failure>) -> ExitCode {
    let command = command_line();
    let measured = catch_unwind(AssertUnwindSafe(|| measure(&command)))
        .unwrap_or_else(|panic| Err(defect(panic.downcast_ref::<&str>().copied())));
    let told = match measured {
        Ok(told) => told,
        Err(failure) => return fail(&failure, json, &command),
    };
    if let Err(error) = render::print(&told.page) {
        let failure = Failure::io(Class::Environment, "write the result", &error)
            .setting("where standard output leads");
        return fail(&failure, false, &command);
    }
    if let Some(failure) = told.failure.as_ref().filter(|_| !json) {
        complain(failure);
    }
    told.exit_code()
}

/// What the options ask for: one measurement, or many.
fn measure(args: &Args, command: &[String]) -> Result<Told, Failure> {
    args.check()?;
    let trial = args.trial();
    let bench = Bench::new(&trial, command)?;
    if args.ablate {
        return ablate::run(args, &trial, &bench);
    }
    if args.find_rate {
        return find_rate::run(args, &trial, &bench);
    }
    let record = bench.measure(&trial, "measuring")?;
    let page = if args.json { render::json::line(&record) } else { render::text::record(&record) };
    Ok(Told { page, failure: None, signal: bench.signal() })
}

/// Tells why there is no result: as JSON on standard output where that was asked for, else on standard error.
pub(crate) fn fail(failure: &Failure, json: bool, command: &[String]) -> ExitCode {
    if json {
        // A standard output that cannot be written to leaves the exit code to tell.
        let _ = render::print(&render::json::failure(failure, command));
    } else {
        complain(failure);
    }
    ExitCode::from(failure.class().exit_code())
}

/// On standard error. One that nobody reads leaves the exit code to tell.
fn complain(failure: &Failure) {
    let _ = writeln!(io::stderr().lock(), "ringperf: {failure}");
}

/// Tells of options that could not be read. With `--json` among them the complaint is JSON too.
pub(crate) fn bad_usage(error: &clap::Error) -> ExitCode {
    let command = command_line();
    let text = error.render().to_string();
    let complaint = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let failure = Failure::new(Class::Usage, "read the command line", complaint)
        .setting("the options")
        .next("ringperf run --help");
    fail(&failure, true, &command)
}

fn command_line() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn defect(message: Option<&str>) -> Failure {
    let cause = message.unwrap_or("an internal check failed");
    Failure::new(Class::Bug, "finish the measurement", cause)
        .next("report it, with the command line and what standard error shows above")
}
