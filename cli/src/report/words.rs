//! What a report says in sentences, and the facts of its runs in words.
//!
//! Pure: data to text, not yet escaped.

use serde_json::Value as Json;

use super::page::{RunView, whole};
use super::plot::figure_name;
use super::scale::percent;
use crate::compare::comparison::{Comparison, Family, Rank, Target, Verdict};
use crate::machine::Machine;
use crate::shims::quoted;
use crate::store::{RunRow, State};
use crate::sweep::grid::Parameter;

/// Names with commas and an "and".
pub(super) fn listed(names: &[impl AsRef<str>]) -> String {
    let mut out = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push_str(if index + 1 == names.len() { " and " } else { ", " });
        }
        out.push_str(name.as_ref());
    }
    if out.is_empty() { "nothing".to_owned() } else { out }
}

/// What a family is about.
pub(super) fn heading(family: &Family) -> String {
    let over = family.x.map_or_else(String::new, |x| format!(" over {x}"));
    format!("{}: {}{over}", family.test, figure_name(family.figure))
}

/// Who comes first over the whole range of a family, who follows, and who cannot be ranked.
pub(super) fn finding(family: &Family, base: &str) -> String {
    let ranking = family.stretches.first().map(|stretch| stretch.ranking.as_slice()).unwrap_or_default();
    if family.curves.iter().all(|curve| curve.points.is_empty()) || ranking.is_empty() {
        return "There is no point to compare.".to_owned();
    }
    let (first, after): (Vec<&Rank>, Vec<&Rank>) =
        ranking.iter().filter(|rank| rank.place.is_some()).partition(|rank| rank.place == Some(1));
    let mut sentences = Vec::new();
    match first.as_slice() {
        [] => sentences.push("Nobody can be ranked.".to_owned()),
        [only] if only.name == base && after.is_empty() => {
            sentences.push(format!("Nobody can be ranked against the base, {base}."));
        }
        [only] if only.name == base => sentences.push(format!("The base, {base}, comes first.")),
        [only] => sentences.push(format!("{} comes first{}.", only.name, by(only))),
        several => sentences.push(format!("{} tie for first place.", names(several))),
    }
    if !after.is_empty() {
        let each: Vec<String> =
            after
                .iter()
                .map(|rank| {
                    if rank.name == base {
                        format!("the base, {base}")
                    } else {
                        rank.name.clone() + &by(rank)
                    }
                })
                .collect();
        sentences.push(format!(
            "{} {}.",
            if each.len() == 1 { "Then comes" } else { "Then come" },
            listed(&each)
        ));
    }
    let unranked: [(Verdict, &str, &str); 3] = [
        (Verdict::TooNoisy, "is too noisy to rank", "are too noisy to rank"),
        (
            Verdict::NothingInCommon,
            "has no point in common with the base",
            "have no point in common with the base",
        ),
        (Verdict::NotAlike, "was not measured as the base was", "were not measured as the base was"),
    ];
    for (verdict, one, many) in unranked {
        let those: Vec<&Rank> =
            ranking.iter().filter(|rank| rank.place.is_none() && rank.verdict == verdict).collect();
        if !those.is_empty() {
            sentences.push(format!("{} {}.", names(&those), if those.len() == 1 { one } else { many }));
        }
    }
    sentences.join(" ")
}

/// How far a target is from the base, in brackets.
fn by(rank: &Rank) -> String {
    match rank.difference.filter(|difference| difference.mean.is_finite()) {
        Some(difference) => format!(" ({}\u{a0}% against the base)", percent(difference.mean)),
        None => String::new(),
    }
}

fn names(ranks: &[&Rank]) -> String {
    listed(&ranks.iter().map(|rank| rank.name.as_str()).collect::<Vec<_>>())
}

/// A part of the range of x.
pub(super) fn given_range((from, to): (f64, f64), family: &Family) -> String {
    format!("From {} to below {}", whole(from), with_unit(to, family))
}

/// The whole range of x, by its ends.
pub(super) fn whole_range(family: &Family) -> String {
    let xs = || family.curves.iter().flat_map(|curve| &curve.points).map(|point| point.x);
    let (low, high) = (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
    if low <= high {
        format!("Whole range, {} to {}", whole(low), with_unit(high, family))
    } else {
        "Whole range".to_owned()
    }
}

fn with_unit(x: f64, family: &Family) -> String {
    let unit = family.x.and_then(Parameter::unit);
    unit.map_or_else(|| whole(x), |unit| format!("{} {unit}", whole(x)))
}

/// The runs of a target, with their facts.
pub(super) fn runs_of(target: &Target) -> Vec<RunView> {
    let view = |run: &RunRow| RunView {
        target: target.name.clone(),
        run: if run.tag == target.name { run.id.to_string() } else { format!("{} ({})", run.id, run.tag) },
        started: started(&run.started),
        test: run.test.clone(),
        points: match run.state {
            State::Done => format!("{} of {}", run.done, run.points),
            State::Failed => format!("{} of {}, failed", run.done, run.points),
            State::Interrupted => format!("{} of {}, interrupted", run.done, run.points),
            State::Running => format!("{} of {}, not ended", run.done, run.points),
        },
        far_end: far_end(&run.target),
        machine: machine(&run.machine),
        engine: engine(&run.plan),
    };
    target.runs.iter().map(view).collect()
}

/// To the second, for readers.
fn started(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(10..11), rfc3339.get(11..19)) {
        (Some(day), Some("T"), Some(time)) => format!("{day} {time}"),
        _ => rfc3339.to_owned(),
    }
}

/// Host and environment, with all that the latter told of itself.
fn far_end(target: &Json) -> Vec<String> {
    let mut facts = Vec::new();
    match target["host"].as_str() {
        Some(host) => facts.push(format!("host: {host}")),
        None if target["environment"].is_null() => facts.push("a netserver of its own".to_owned()),
        None => {}
    }
    if let Some(target) = target.as_object() {
        target
            .iter()
            .filter(|(name, _)| *name != "host")
            .for_each(|(name, value)| flat(name, value, &mut facts));
    }
    facts
}

/// Every value in there, each with its name.
fn flat(name: &str, value: &Json, facts: &mut Vec<String>) {
    let plain = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Json::Null => {}
        Json::Object(object) => object.iter().for_each(|(inner, value)| flat(inner, value, facts)),
        Json::Array(values) if values.iter().any(|value| value.is_object() || value.is_array()) => {
            values.iter().for_each(|value| flat(name, value, facts));
        }
        Json::Array(values) => {
            facts.push(format!("{name}: {}", values.iter().map(plain).collect::<Vec<_>>().join(", ")));
        }
        value => facts.push(format!("{name}: {}", plain(value))),
    }
}

fn machine(facts: &Json) -> Vec<String> {
    let machine: Machine = serde_json::from_value(facts.clone()).unwrap_or_default();
    let kernel = machine.kernel.map(|kernel| match &machine.architecture {
        Some(architecture) => format!("{kernel}, {architecture}"),
        None => kernel,
    });
    let cpu = machine.cpus.map(|cpus| match &machine.cpu {
        Some(cpu) => format!("{cpus} \u{d7} {cpu}"),
        None => format!("{cpus} CPUs"),
    });
    let memory = machine.memory_bytes.map(|bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)));
    let guest = machine.virtual_machine.then(|| "virtual machine".to_owned());
    [kernel, cpu, memory, guest].into_iter().flatten().collect()
}

/// What the client's workers were to run on.
fn engine(plan: &Json) -> String {
    let axes = plan["vary"].as_array().map(Vec::as_slice).unwrap_or_default();
    if axes.iter().any(|axis| axis["parameter"] == "engine") {
        return "varies".to_owned();
    }
    plan["asked"]["engine"].as_str().unwrap_or("\u{2013}").to_owned()
}

/// The commands that made the runs and this page, each with what it made.
pub(super) fn commands(comparison: &Comparison) -> Vec<(String, String)> {
    let mut made: Vec<(String, Vec<String>)> = Vec::new();
    for run in comparison.targets.iter().flat_map(|target| &target.runs) {
        let (command, id) = (line(&run.command), run.id.to_string());
        match made.iter_mut().find(|(known, _)| *known == command) {
            Some((_, runs)) if runs.contains(&id) => {}
            Some((_, runs)) => runs.push(id),
            None => made.push((command, vec![id])),
        }
    }
    let runs = made.into_iter().map(|(command, ids)| {
        (format!("{} {}", if ids.len() == 1 { "run" } else { "runs" }, listed(&ids)), command)
    });
    runs.chain([("this page".to_owned(), line(&comparison.command))]).collect()
}

fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}
