//! `ringperf compare`: targets of a store set against a base, over the parameters that were varied.
//!
//! This file is the command. [`select`] finds the runs, [`mod@build`] makes curves of them and sets them
//! against the base's, [`area`] says by how much they differ, [`rank`] what that amounts to, [`cautions`]
//! what has to be known beside it. A renderer sees [`comparison`] alone.

mod area;
mod args;
mod build;
mod cautions;
pub(crate) mod comparison;
mod rank;
mod select;

use std::process::ExitCode;

pub(crate) use args::{Args, Choice, NamedRange};
pub(crate) use build::build;

use crate::error::{Class, Failure};
use crate::figure::Figure;
use crate::render;
use crate::run::{self, Told};
use crate::store::{RunId, Store};

/// Runs with a name.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// A tag, or `#N` for run N.
    pub(crate) name: String,
    /// These runs, whatever the name would stand for.
    pub(crate) runs: Option<Vec<RunId>>,
}

/// What is to be compared.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What the others are set against.
    pub(crate) base: Named,
    /// What is set against it.
    pub(crate) others: Vec<Named>,
    /// None: those that the tests have.
    pub(crate) figures: Vec<Figure>,
    /// Parts of the range to rank by themselves.
    pub(crate) ranges: Vec<NamedRange>,
    /// Rank what was measured in another way, too.
    pub(crate) mixed: bool,
}

/// Compares, prints what comes of it, and says how it went.
pub(crate) fn main(args: &Args) -> ExitCode {
    run::conclude(args.json, |command| compare(args, command))
}

fn compare(args: &Args, command: &[String]) -> Result<Told, Failure> {
    let store = Store::read(&args.choice.store()?)?;
    let page = if args.list {
        let runs = store.runs()?;
        if args.json { render::json::line(&runs) } else { render::text::comparison::list(&runs) }
    } else {
        let missing = || Failure::new(Class::Usage, "compare", "no BASE").next("ringperf compare --list");
        let base = args.base.clone().ok_or_else(missing)?;
        let comparison = build(&store, &args.choice.request(base, args.others.clone()), command)?;
        if args.json { render::json::line(&comparison) } else { render::text::comparison::page(&comparison) }
    };
    Ok(Told { page, failure: None, signal: None })
}
