//! ringperf: measure a network with io_uring.
//!
//! Chooses the program, by the name it was called under or by the first word, and hands over. Every program
//! reads its own arguments and answers with its own exit code; nothing is measured and nothing is printed
//! here.
//!
//! A library for one reason: what a fuzzer calls has to be linked to it, and a binary cannot be. Nothing of
//! it is for other programs but [`main`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test ends with whoever runs it"))]

mod args;
mod bridge;
mod client;
mod compare;
mod cores;
mod environment;
mod error;
mod figure;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod lab;
mod machine;
mod manual;
mod netperf;
mod netperf_cpu;
mod netserver;
mod passphrase;
mod record;
#[cfg(test)]
mod refusals;
mod render;
mod report;
mod run;
mod shims;
mod statistics;
mod store;
mod sweep;
mod trial;
mod without;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Network measurement with io_uring, compatible with netperf 2.7.
#[derive(Debug, Parser)]
#[command(name = "ringperf", version, propagate_version = true)]
struct Ringperf {
    #[command(subcommand)]
    command: Command,
}

/// The programs of ringperf.
#[derive(Debug, Subcommand)]
enum Command {
    /// Measure as netperf 2.7 does, with its options and its output.
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Netperf {
        /// netperf's options; `ringperf netperf -h` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// Serve tests to netperf and ringperf clients; takes netserver's own options.
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Netserver {
        /// netserver's options; `ringperf netserver -h` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// Print completions of this command for a shell.
    Completions {
        /// The shell that reads them.
        shell: Shell,
    },
    /// Sweep in each environment of a file, compare and report.
    Lab(Box<lab::Args>),
    /// Print a manual page in roff; `| man -l -` shows it.
    Man {
        /// netperf, netserver, ringperf, or ringperf- and the name of a command.
        #[arg(default_value = "ringperf")]
        page: String,
    },
    /// Measure a network and print the result.
    Run(Box<run::Args>),
    /// Set what sweeps measured against each other.
    Compare(Box<compare::Args>),
    /// Bring up an environment to measure against, list them, and clear away what was left behind.
    Env(environment::Args),
    /// Measure at every point of a grid and keep the results.
    Sweep(Box<sweep::Args>),
    /// Write a comparison of kept results as one HTML page.
    Report(Box<report::Args>),
    /// Link the names netperf and netserver to this program, so that scripts find it by them.
    Shims {
        /// The folder for the links; made if it is not there.
        dir: PathBuf,
    },
}

/// Also where clap would not take it so: whoever writes `--json=1` reads JSON.
fn asks_for_json(word: &OsStr) -> bool {
    word.as_encoded_bytes().strip_prefix(b"--json").is_some_and(|rest| matches!(rest, [] | [b'=', ..]))
}

/// Runs the program that the command line names, and says how it went.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("netperf") => return netperf::main(&name, words.collect()),
        Some("netserver") => return netserver::main(words.collect()),
        _ => {}
    }
    // Past clap, which would keep a `--` that comes first, and netperf's own options start with it.
    let mut words = words.peekable();
    if let Some(program) = words.next_if(|word| word == "netperf") {
        return netperf::main(&program, words.collect());
    }
    match Ringperf::try_parse() {
        Ok(Ringperf { command: Command::Netperf { options } }) => {
            netperf::main(OsStr::new("netperf"), options)
        }
        Ok(Ringperf { command: Command::Netserver { options } }) => netserver::main(options),
        Ok(Ringperf { command: Command::Completions { shell } }) => {
            clap_complete::generate(shell, &mut Ringperf::command(), "ringperf", &mut io::stdout());
            ExitCode::SUCCESS
        }
        Ok(Ringperf { command: Command::Man { page } }) => manual::main(Ringperf::command(), &page),
        Ok(Ringperf { command: Command::Lab(args) }) => lab::main(&args),
        Ok(Ringperf { command: Command::Run(args) }) => run::main(&args),
        Ok(Ringperf { command: Command::Compare(args) }) => compare::main(&args),
        Ok(Ringperf { command: Command::Env(args) }) => environment::main(&args),
        Ok(Ringperf { command: Command::Sweep(args) }) => sweep::main(&args),
        Ok(Ringperf { command: Command::Report(args) }) => report::main(&args),
        Ok(Ringperf { command: Command::Shims { dir } }) => shims::main(&dir),
        // Asked for help or the version, clap has no error to tell.
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| asks_for_json(&word)) => {
            run::bad_usage(&error)
        }
        Err(error) => error.exit(),
    }
}
