//! The options of whatever compares.

use std::path::PathBuf;

use super::{Named, Request};
use crate::error::Failure;
use crate::figure::Figure;
use crate::store;
use crate::sweep::grid::{Parameter, Value};

/// Compares what sweeps measured: curves over what was varied, set against those of a base, and ranked.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What the others are set against: a tag, or #N for run N.
    #[arg(value_name = "BASE", required_unless_present = "list")]
    pub(super) base: Option<String>,

    /// What is set against it.
    #[arg(value_name = "OTHER", required_unless_present = "list")]
    pub(super) others: Vec<String>,

    #[command(flatten)]
    pub(super) choice: Choice,

    /// List the runs of the store instead.
    #[arg(long, conflicts_with_all = ["base", "others", "figure", "range", "mixed"])]
    pub(super) list: bool,

    /// One JSON object on standard output, on success and on failure.
    #[arg(long)]
    pub(super) json: bool,
}

/// What of a store is compared, and how.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Choice {
    /// The store [default: ringperf/results.db in the user's data directory].
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,

    /// A figure to compare, instead of goodput and, of datagrams, the okay rate; may be given again.
    #[arg(long, value_enum, value_name = "FIGURE")]
    figure: Vec<Figure>,

    /// A part of the range to rank by itself too, its end not part of it: socket-buffer=0..5000; may be given
    /// again.
    #[arg(long, value_name = "NAME=FROM..TO", value_parser = NamedRange::parse)]
    range: Vec<NamedRange>,

    /// Rank those too that were not measured as the base was: by io_uring here, by epoll there.
    #[arg(long)]
    mixed: bool,
}

impl Choice {
    /// The store to read.
    ///
    /// # Errors
    /// ENV where none is named and there is no home directory.
    pub(crate) fn store(&self) -> Result<PathBuf, Failure> {
        self.store.clone().map_or_else(store::default_path, Ok)
    }

    /// The same of these targets.
    pub(crate) fn request(&self, base: String, others: Vec<String>) -> Request {
        let Self { figure, range, mixed, .. } = self.clone();
        let named = |name| Named { name, runs: None };
        let others = others.into_iter().map(named).collect();
        Request { base: named(base), others, figures: figure, ranges: range, mixed }
    }
}

/// A part of the range of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NamedRange {
    /// Of what.
    pub(crate) parameter: Parameter,
    /// From here on.
    pub(crate) from: f64,
    /// Up to here, which is not part of it.
    pub(crate) to: f64,
}

impl NamedRange {
    /// Reads `NAME=FROM..TO`, each as the option of that name would; FROM may be 0.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wanted = || "write NAME=FROM..TO: socket-buffer=0..5000".to_owned();
        let (name, range) = text.split_once('=').ok_or_else(wanted)?;
        let (from, to) = range.split_once("..").ok_or_else(wanted)?;
        let parameter = Parameter::named(name.trim())?;
        let number = |text: &str| match text.trim() {
            "0" => Ok(0.0),
            text => match parameter.value(text)? {
                Value::Number(number) => Ok(number as f64),
                Value::Word(_) => Err(format!("{parameter} takes words, which have no range")),
            },
        };
        match (number(from)?, number(to)?) {
            (from, to) if from < to => Ok(Self { parameter, from, to }),
            _ => Err("the range is empty: its end is not part of it".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_name_their_parameter() {
        let range = NamedRange::parse("socket-buffer=0..5000").expect("is one");
        assert_eq!((range.parameter, range.from, range.to), (Parameter::SocketBuffer, 0.0, 5000.0));
        assert_eq!(NamedRange::parse("message=1K..64K").map(|range| range.to), Ok(65_536.0));
        for bad in
            ["", "0..5", "message", "message=5", "message=5..5", "message=9..5", "engine=0..5", "x=0..5"]
        {
            assert!(NamedRange::parse(bad).is_err(), "{bad}");
        }
    }
}
