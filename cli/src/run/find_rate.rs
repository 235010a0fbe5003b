//! `ringperf run udp-stream --find-rate`: trials at rates of the search's choice, until one is confirmed.
//!
//! Runs the trials and tells of them; which rate comes next is up to [`mod@search`].

mod search;

use super::{Args, Told};
use crate::error::{Class, Failure};
use crate::record::RECORD_VERSION;
use crate::record::rate_search::{RateSearch, Trial};
use crate::record::{Record, Tool};
use crate::render;
use crate::trial::{self, Bench};
use search::{Found, Next, Search, Verdict};

/// How much longer than the others a trial is that confirms a rate.
const CONFIRMING_TIMES: u32 = 5;

/// Longest test there is, in seconds: what the control channel has room for.
const SECONDS_MAX: u32 = i32::MAX.unsigned_abs();

/// What is being done, in failures.
const TRIED: &str = "find a loss-free rate";

/// Searches, and puts the table of trials and the confirming run together.
///
/// # Errors
/// Where not a single trial has a result: the failure of the first, or the signal.
pub(super) fn run(args: &Args, trial: &trial::Args, bench: &Bench) -> Result<Told, Failure> {
    let loss_limit = args.loss / 100.0;
    let mut trials = Vec::new();
    let (result, failure) = match search(trial, bench, loss_limit, &mut trials) {
        Ok((Verdict::Found, record)) => (record, None),
        Ok((verdict, _)) => (None, Some(inconclusive(verdict, args.loss))),
        Err(failure) if trials.is_empty() => return Err(failure),
        // The page itself tells of a signal.
        Err(failure) => (None, Some(failure).filter(|failure| !matches!(failure.class(), Class::Signal(_)))),
    };
    let found = RateSearch {
        record: RECORD_VERSION,
        tool: Tool::this(),
        command: bench.command().to_vec(),
        loss_limit,
        trials,
        interrupted: if result.is_none() { bench.signal_name() } else { None },
        error: failure.as_ref().map(Failure::to_json),
        result,
    };
    let signal = found.interrupted.and(bench.signal());
    let page = if args.json { render::json::line(&found) } else { render::text::rate_search::page(&found) };
    Ok(Told { page, failure, signal })
}

/// Runs trials until the search has enough of them. With the verdict comes the record of the last one.
fn search(
    args: &trial::Args,
    bench: &Bench,
    loss_limit: f64,
    trials: &mut Vec<Trial>,
) -> Result<(Verdict, Option<Record>), Failure> {
    let mut search = Search::new(loss_limit);
    let mut last = None;
    loop {
        let (rate, confirms) = match search.next() {
            Next::Trial(rate) => (rate, false),
            Next::Confirm(rate) => (rate, true),
            Next::Done(verdict) => return Ok((verdict, last)),
        };
        let seconds = if confirms { args.seconds().saturating_mul(CONFIRMING_TIMES) } else { args.seconds() };
        let trial_args = trial::Args { rate, time: Some(seconds.min(SECONDS_MAX)), ..args.clone() };
        let record = bench.measure(&trial_args, &label(trials.len() + 1, rate, confirms))?;
        // What a signal cut short is no trial.
        bench.check(TRIED)?;
        let trial = Trial::of(&record, confirms, loss_limit);
        search.take(Found {
            sent: trial.sent_bits_per_second,
            received: trial.received_bits_per_second,
            loss: trial.loss,
        });
        trials.push(trial);
        last = Some(record);
    }
}

fn label(number: usize, rate: Option<u64>, confirms: bool) -> String {
    let kind = if confirms { "confirming trial" } else { "trial" };
    let rate = rate.map_or_else(|| "unpaced".to_owned(), |rate| render::text::rate(rate as f64));
    format!("{kind} {number}, {rate}:")
}

/// Why the trials do not answer the question.
fn inconclusive(verdict: Verdict, percent: f64) -> Failure {
    let cause = match verdict {
        Verdict::NothingPassed(rate) => {
            format!("no trial lost {percent} % or less, down to {} offered", render::text::rate(rate as f64))
        }
        Verdict::Found | Verdict::NotConfirmed => {
            format!("trials lost {percent} % or less, and none of the longer ones that were to confirm it")
        }
    };
    Failure::new(Class::Inconclusive, TRIED, cause)
        .setting("--loss, --time, and what else uses the path and the receiver's cores")
        .next("ringperf run udp-stream --rate RATE --json, to see what becomes of a rate")
}
