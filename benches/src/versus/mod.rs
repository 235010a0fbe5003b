//! ringperf beside netperf, iperf3 and neper: one command that sets everything up, measures, judges and
//! cleans up.
//!
//! ```text
//! cargo bench -p ringperf-benches --bench versus -- F1 F2 --peers DIR
//! ```
//!
//! How it is made fair:
//!
//! - **Turns.** In each round every tool of a row runs once, in an order that rotates and alternates, and
//!   ratios are formed within a round only. What is told of a ratio is its median over the rounds and the
//!   interval of the sign test, which assumes nothing of the distribution and covers the median with 95 %
//!   or more. A target is met only if the whole interval is on its side, missed only if the whole
//!   interval is on the other one, and neither below ten rounds.
//! - **One instrument.** Client and server of every tool are processes in cgroups of their own, made for one
//!   run, and all their CPU time counts, start and end included (`cgroup.rs`). Both are confined to one core
//!   each. Where the kernel works in nobody's process, a row of its own charges the whole machine.
//! - **No favours.** Tools are called as their users call them (`contender.rs`); goodput is what the receiver
//!   counted; a run whose figures cannot be true fails. A peer that is absent or too old, or a tool that
//!   refuses its command, is a row or a contender that is *not measured*, never one that is beaten.
//! - **Nothing else is touched.** Loopback, and links between namespaces made for the row (`network.rs`), are
//!   all that is addressed. What was made goes with its value, on failure and on Ctrl-C too.
//!
//! It does not judge whether the machine is quiet enough: the intervals do.

mod cgroup;
mod contender;
mod floor;
mod kit;
mod launch;
mod machine;
mod measure;
mod metric;
mod network;
mod options;
mod readings;
mod report;
mod row;
mod stats;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use cgroup::Hierarchy;
use kit::Kit;
use measure::Bench;
use options::Options;
use row::Row;
use stats::Verdict;

use crate::program::{Halt, beside_this_program, build, heed_signals, interrupted, pause, say, two_cores};

/// Rounds unless told otherwise.
const PAIRS: usize = stats::PAIRS_MIN;

/// The whole program. `cargo` is the one that builds it, which builds ringperf as well.
pub fn main(cargo: &str) -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    match words.peek().and_then(|word| word.to_str()) {
        Some(launch::WORD) => return fail(1, &launch::become_program(words.skip(1))),
        Some(role @ (floor::RECEIVE | floor::SEND)) => {
            let role = role.to_owned();
            return match floor::run(&role, &words.skip(1).collect::<Vec<OsString>>()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(1, &error.to_string()),
            };
        }
        _ => {}
    }
    let options = match Options::parse(words) {
        Ok(options) => options,
        Err(complaint) => return fail(2, &format!("{complaint}\n{}", options::USAGE)),
    };
    if options.help {
        say(options::USAGE);
        return ExitCode::SUCCESS;
    }
    heed_signals();
    let done = if options.measure { compare(cargo, &options) } else { try_out() };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Halt::Failed(reason)) => fail(1, &reason),
        Err(Halt::Interrupted) => fail(130, "interrupted; what was made is gone"),
    }
}

/// Measures the rows that were asked for.
fn compare(cargo: &str, options: &Options) -> Result<(), Halt> {
    let rows = row::all();
    if let Some(unknown) = options.rows.iter().find(|asked| !rows.iter().any(|row| row.is_called(asked))) {
        let known: Vec<&str> = rows.iter().map(|row| row.name).collect();
        return Err(Halt::Failed(format!("no row {unknown}; there are {}", known.join(", "))));
    }
    let ringperf = build(cargo)?;
    let bench = Bench {
        kit: Kit::find(ringperf, &options.peers),
        hierarchy: Some(Hierarchy::of_this_machine()?),
        cores: two_cores()?,
        pairs: options.pairs.unwrap_or(PAIRS),
        seconds: options.seconds,
    };
    network::sweep();
    if let Some(hierarchy) = &bench.hierarchy {
        hierarchy.sweep();
    }
    eprintln!("{}", bench.kit.files().join("\n"));
    let facts = [machine::facts(bench.cores, bench.hierarchy.as_ref()), bench.kit.facts()].concat();
    say(&format!("- {}\n\n", facts.join("\n- ")));
    let mut verdicts: Vec<(&Row, Verdict)> = Vec::new();
    let asked = |row: &&Row| options.rows.is_empty() || options.rows.iter().any(|name| row.is_called(name));
    for row in rows.iter().filter(asked) {
        let lacking = row.needs.iter().find_map(|need| bench.kit.lacks(*need));
        let results = lacking.map_or_else(|| bench.row(row), |reason| Err(Halt::Failed(reason)));
        let (text, verdict) = match results {
            Ok(results) => report::row(row, &results),
            Err(Halt::Failed(reason)) => report::unmeasured(row, &reason),
            Err(Halt::Interrupted) => return Err(Halt::Interrupted),
        };
        // what is finished stays, whatever happens next
        say(&text);
        verdicts.push((row, verdict));
    }
    say(&report::summary(&verdicts));
    Ok(())
}

/// Under `cargo test`: one run of ringperf alone, in which everything but the peers and the link takes part.
fn try_out() -> Result<(), Halt> {
    let ringperf = beside_this_program("ringperf")?;
    if !ringperf.is_file() {
        say("SKIP versus: no ringperf has been built; try: cargo build -p ringperf\n");
        return Ok(());
    }
    let hierarchy = match Hierarchy::of_this_machine() {
        Ok(hierarchy) => Some(hierarchy),
        Err(reason) => {
            say(&format!("SKIP versus, CPU time: {reason}\n"));
            None
        }
    };
    let mut row = row::all().swap_remove(0);
    row.contenders.truncate(1);
    row.targets.clear();
    let kit = Kit::find(ringperf, &[]);
    let bench = Bench { kit, hierarchy, cores: two_cores()?, pairs: 1, seconds: Some(1) };
    let (text, _) = report::row(&row, &bench.row(&row)?);
    say(&text);
    Ok(())
}

/// What the names of everything that is made begin with; then comes the number of the process that made it.
const NAME: &str = "ringperf-versus-";

/// Names in a folder that a comparison made which is no more: it was killed, and could not clean up.
fn left_behind(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let dead = |name: &String| {
        let maker = name.strip_prefix(NAME).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        maker.is_some_and(|maker| !Path::new("/proc").join(maker.to_string()).exists())
    };
    names.filter(dead).collect()
}

fn fail(code: u8, reason: &str) -> ExitCode {
    eprintln!("versus: {reason}");
    ExitCode::from(code)
}
