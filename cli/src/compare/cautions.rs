//! What a reader has to know about all of a comparison, in sentences.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::build::Loaded;
use super::comparison::Family;
use crate::store::State;

/// All that apply.
pub(super) fn list(loaded: &[Loaded], families: &[Family]) -> Vec<String> {
    let mut list = Vec::new();
    let [base, others @ ..] = loaded else { return list };
    for target in loaded {
        of_target(target, &mut list);
    }
    for other in others {
        against(base, other, &mut list);
    }
    for family in families {
        of_family(family, &mut list);
    }
    list
}

fn of_target(target: &Loaded, list: &mut Vec<String>) {
    let name = &target.target.name;
    for run in target.target.runs.iter().filter(|run| run.state != State::Done) {
        list.push(format!(
            "run {} of {name} is not complete: {} of {} points have a result",
            run.id, run.done, run.points
        ));
    }
    let failed = target.points.iter().filter_map(|(_, point)| point.error.as_ref());
    if let Some(last) = failed.clone().next_back() {
        let text = last["text"].as_str().unwrap_or("without a word");
        list.push(format!("{} points of {name} failed, the last one so: {text}", failed.count()));
    }
    warnings(target, list);
}

/// What the records themselves say has to be known, each kind once.
fn warnings(target: &Loaded, list: &mut Vec<String>) {
    let records: Vec<&Json> = target.points.iter().filter_map(|(_, point)| point.record.as_ref()).collect();
    let mut kinds: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for note in records.iter().filter_map(|record| record["warnings"].as_array()).flatten() {
        if let (Some(kind), Some(text)) = (note["kind"].as_str(), note["text"].as_str()) {
            let (count, last) = kinds.entry(kind).or_default();
            *count += 1;
            *last = text;
        }
    }
    let name = &target.target.name;
    for (count, text) in kinds.values() {
        let which =
            if *count == records.len() { "all".to_owned() } else { format!("{count} of {}", records.len()) };
        list.push(format!("{which} results of {name}: {text}"));
    }
}

fn against(base: &Loaded, other: &Loaded, list: &mut Vec<String>) {
    let (ours, theirs) = (&base.target, &other.target);
    let machines = |loaded: &Loaded| {
        loaded.target.runs.iter().map(|run| run.machine.to_string()).collect::<BTreeSet<String>>()
    };
    if machines(base) != machines(other) {
        list.push(format!(
            "the clients of {} and {} ran on different machines or kernels",
            ours.name, theirs.name
        ));
    }
    for run in &theirs.runs {
        let asked = |plan: &Json| plan["asked"].clone();
        let same_test = ours.runs.iter().filter(|base| base.test == run.test);
        if let Some(base) = same_test
            .clone()
            .next()
            .filter(|_| !same_test.clone().any(|base| asked(&base.plan) == asked(&run.plan)))
        {
            let keys = differing(&asked(&base.plan), &asked(&run.plan));
            list.push(format!(
                "{} was asked for something else than {} in {}: {}",
                theirs.name,
                ours.name,
                run.test,
                keys.join(", ")
            ));
        }
    }
}

/// Names of the members that differ, at any depth.
fn differing(one: &Json, two: &Json) -> Vec<String> {
    let (Some(one), Some(two)) = (one.as_object(), two.as_object()) else { return Vec::new() };
    let names: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let mut found = Vec::new();
    for name in names.into_iter().filter(|name| one.get(*name) != two.get(*name)) {
        let deeper =
            one.get(name).zip(two.get(name)).map(|(one, two)| differing(one, two)).unwrap_or_default();
        if deeper.is_empty() {
            found.push(name.clone());
        }
        found.extend(deeper.into_iter().map(|deeper| format!("{name}.{deeper}")));
    }
    found
}

fn of_family(family: &Family, list: &mut Vec<String>) {
    let [base, others @ ..] = &family.curves[..] else { return };
    let (test, figure) = (&family.test, family.figure);
    let xs = |points: &[super::comparison::CurvePoint]| {
        points.iter().map(|point| point.x.to_bits()).collect::<BTreeSet<u64>>()
    };
    let of_base = xs(&base.points);
    let zeros = base.points.iter().filter(|point| point.value.median == 0.0).count();
    if zeros > 0 {
        list.push(format!("{test}, {figure}: {zeros} points of {} are zero and have no ratio", base.name));
    }
    for other in others {
        let lone = of_base.symmetric_difference(&xs(&other.points)).count();
        if lone > 0 && !other.points.is_empty() {
            list.push(format!(
                "{test}, {figure}: {lone} values are measured of only one of {} and {}",
                base.name, other.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compare::comparison::Target;
    use crate::store::PointRow;

    #[test]
    fn what_records_warn_of_is_told_once_a_kind() {
        let record = |kinds: &[&str]| {
            let notes = kinds.iter().map(|kind| json!({ "kind": kind, "text": format!("beware of {kind}") }));
            Some(json!({ "warnings": notes.collect::<Vec<Json>>() }))
        };
        let point = |record| {
            ("tcp".to_owned(), PointRow { id: 0, setting: vec![], repetition: 1, record, error: None })
        };
        let points = [record(&["x", "y"]), record(&["x"]), None].map(point).to_vec();
        let target = Target { name: "host".to_owned(), runs: Vec::new() };
        let mut list = Vec::new();
        warnings(&Loaded { target, points }, &mut list);
        assert_eq!(list, ["all results of host: beware of x", "1 of 2 results of host: beware of y"]);
    }

    #[test]
    fn members_that_differ_are_named_at_any_depth() {
        let one = json!({ "a": 1, "b": { "c": 1, "d": 2 }, "e": null });
        let two = json!({ "a": 1, "b": { "c": 2, "d": 2 }, "f": null });
        assert_eq!(differing(&one, &two), ["b.c", "e", "f"]);
        assert!(differing(&one, &one).is_empty());
    }
}
