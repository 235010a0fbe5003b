//! `ringperf report`: a comparison as one HTML page, for those who were not there.
//!
//! This file is the command: options, and the file at the end. What is compared and how is decided by
//! [`mod@crate::compare`]; [`mod@page`] renders it, with the plots of [`plot`], the sentences of [`words`]
//! and the numbers of [`scale`].

mod page;
mod plot;
mod scale;
mod words;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use serde::Serialize;

use crate::compare::comparison::Comparison;
use crate::compare::{self, Choice};
use crate::error::{Class, Failure};
use crate::record::{RECORD_VERSION, Tool, rfc3339};
use crate::render;
use crate::run::{self, Told};
use crate::store::Store;
use page::page;

/// Writes a comparison as one HTML page, with plots, tables and the facts of the runs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What the others are set against: a tag, or #N for run N.
    #[arg(value_name = "BASE")]
    base: String,

    /// What is set against it: tags, or #N for run N.
    #[arg(value_name = "OTHER", required = true)]
    others: Vec<String>,

    #[command(flatten)]
    choice: Choice,

    /// The file of the page; one that is there is replaced as a whole.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,

    /// One JSON object on standard output, on success and on failure.
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    /// [`RECORD_VERSION`].
    record: u32,
    /// What made it.
    tool: Tool,
    /// The command line, program name included.
    command: &'a [String],
    /// The file.
    output: String,
    /// Points of all curves, each over its repetitions.
    points: usize,
    /// Curves that belong together, each a section of the page.
    families: usize,
}

/// Compares, writes the page and says how it went.
pub(crate) fn main(args: &Args) -> ExitCode {
    run::conclude(args.json, |command| report(args, command))
}

fn report(args: &Args, command: &[String]) -> Result<Told, Failure> {
    let request = args.choice.request(args.base.clone(), args.others.clone());
    let comparison = compare::build(&Store::read(&args.choice.store()?)?, &request, command)?;
    write(&comparison, &args.output)?;
    let written = Written {
        record: RECORD_VERSION,
        tool: Tool::this(),
        command,
        output: args.output.display().to_string(),
        points: points(&comparison),
        families: comparison.families.len(),
    };
    let page = if args.json { render::json::line(&written) } else { told(&written, &comparison) };
    Ok(Told { page, failure: None, signal: None })
}

/// Writes the page of a comparison.
///
/// # Errors
/// ENV where the file cannot be written.
pub(crate) fn write(comparison: &Comparison, output: &Path) -> Result<(), Failure> {
    let html = page(comparison, &rfc3339(SystemTime::now()))?;
    replace(output, html.as_bytes()).map_err(|error| {
        Failure::io(Class::Environment, format!("write the report {}", output.display()), &error)
            .setting("--output, and the rights to its folder")
            .next("give another file: --output FILE")
    })
}

/// The page of a comparison, for a fuzzer that keeps nothing.
#[cfg(any(test, fuzzing))]
pub(crate) fn html(comparison: &Comparison) -> Result<String, Failure> {
    page(comparison, "2026-01-01T00:00:00.000Z")
}

fn points(comparison: &Comparison) -> usize {
    comparison.families.iter().flat_map(|family| &family.curves).map(|curve| curve.points.len()).sum()
}

fn told(written: &Written<'_>, comparison: &Comparison) -> String {
    let mut text = String::new();
    let base = comparison.targets.first().map(|target| target.name.as_str()).unwrap_or_default();
    for family in &comparison.families {
        text.push_str(&format!("{}: {}\n", words::heading(family), words::finding(family, base)));
    }
    for caution in &comparison.cautions {
        text.push_str(&format!("caution: {caution}\n"));
    }
    // Terminals and those who search in what they print know plain signs and spaces best.
    let text = text.replace('\u{2212}', "-").replace(['\u{a0}', '\u{202f}'], " ");
    text + &format!("{} points are in {}\n", written.points, written.output)
}

/// Puts a file in its place at once: whoever opens it finds the old one or the new one, whole.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // The file that a link leads to is the one to replace, and a device or a pipe is none to replace.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|there| !there.is_file()) {
        return fs::write(&path, content);
    }
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&new, &path)).inspect_err(|_| {
        // The error that counts is the first.
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests;
