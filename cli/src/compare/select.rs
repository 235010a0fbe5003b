//! Which runs of a store stand for a name: a run by its number, or a tag.
//!
//! Knows runs, not what was measured at their points.

use serde_json::Value as Json;

use crate::error::{Class, Failure};
use crate::store::RunRow;

/// The runs of a target, and what was left out of them.
#[derive(Debug)]
pub(super) struct Selected {
    /// In the order in which they began.
    pub(super) runs: Vec<RunRow>,
    /// In sentences.
    pub(super) left_out: Vec<String>,
}

/// The runs that a name stands for. `#N` is run N. A tag is, of each test, the sweep begun last that has a
/// result, united with those of the same tag that were asked for the same but for what varies: a grid and
/// its refinement are one curve. Of several sweeps over the same grid the last counts.
///
/// # Errors
/// USAGE where there is none.
pub(super) fn runs(name: &str, all: &[RunRow]) -> Result<Selected, Failure> {
    if let Some(number) = name.strip_prefix('#') {
        let found = all.iter().find(|run| run.id.to_string() == number);
        let run = found.ok_or_else(|| unknown(name, all))?;
        return Ok(Selected { runs: vec![run.clone()], left_out: Vec::new() });
    }
    let tagged: Vec<&RunRow> = all.iter().filter(|run| run.tag == name && run.done > 0).collect();
    if tagged.is_empty() {
        return Err(unknown(name, all));
    }
    let mut selected = Selected { runs: Vec::new(), left_out: Vec::new() };
    // The latest first.
    for run in tagged.iter().rev() {
        let latest = tagged.iter().rev().find(|other| other.test == run.test);
        if latest.is_some_and(|latest| !alike(&latest.plan, &run.plan)) {
            selected.left_out.push(format!(
                "run {} of {name} is left out: it was asked for something else than the latest of that test",
                run.id
            ));
        } else if !selected.runs.iter().any(|later| later.plan == run.plan) {
            selected.runs.push((*run).clone());
        }
    }
    selected.runs.reverse();
    Ok(selected)
}

/// Whether two plans differ in nothing but what varies.
fn alike(one: &Json, two: &Json) -> bool {
    let rest = |plan: &Json| {
        let mut rest = plan.clone();
        if let Some(parts) = rest.as_object_mut() {
            parts.remove("vary");
        }
        rest
    };
    rest(one) == rest(two)
}

fn unknown(name: &str, all: &[RunRow]) -> Failure {
    let mut tags: Vec<&str> = all.iter().filter(|run| run.done > 0).map(|run| run.tag.as_str()).collect();
    tags.sort_unstable();
    tags.dedup();
    let there =
        if tags.is_empty() { "no results".to_owned() } else { format!("results of {}", tags.join(", ")) };
    Failure::new(Class::Usage, format!("find results of {name}"), format!("the store has {there}"))
        .setting("BASE and OTHER: a tag, or #N for run N")
        .next("ringperf compare --list")
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{RunId, State};

    /// A finished run.
    pub(in crate::compare) fn run(id: i64, tag: &str, test: &str, plan: Json) -> RunRow {
        RunRow {
            id: RunId::of(id),
            tag: tag.to_owned(),
            test: test.to_owned(),
            plan,
            words: Vec::new(),
            command: Vec::new(),
            target: Json::Null,
            machine: Json::Null,
            started: "2026-01-01T00:00:00.000Z".to_owned(),
            ended: None,
            state: State::Done,
            done: 1,
            points: 1,
        }
    }

    fn ids(name: &str, all: &[RunRow]) -> Vec<String> {
        runs(name, all).expect("are there").runs.iter().map(|run| run.id.to_string()).collect()
    }

    #[test]
    fn a_tag_is_the_latest_of_each_grid_united() {
        let plan = |seconds: u32, vary: &str| json!({ "asked": { "seconds": seconds }, "vary": vary });
        let mut empty = run(9, "host", "tcp", plan(1, "a"));
        empty.done = 0;
        let all = [
            run(1, "host", "tcp", plan(10, "a")),
            run(2, "host", "tcp", plan(1, "a")),
            run(3, "host", "tcp", plan(1, "b")),
            run(4, "docker", "tcp", plan(1, "a")),
            run(5, "host", "udp", plan(10, "m")),
            run(6, "host", "tcp", plan(1, "a")),
            empty,
        ];
        // 1 was asked for other seconds, 2 is measured again by 6, 9 has nothing.
        assert_eq!(ids("host", &all), ["3", "5", "6"]);
        let left_out = runs("host", &all).expect("are there").left_out;
        assert!(left_out.len() == 1 && left_out[0].contains("run 1 of host"), "{left_out:?}");
        assert_eq!(ids("#2", &all), ["2"]);
    }

    #[test]
    fn names_that_are_not_there_are_told_with_those_that_are() {
        let all = [run(1, "host", "tcp", Json::Null)];
        for name in ["guest", "#7", "#"] {
            let failure = runs(name, &all).expect_err("is not there").to_string();
            assert!(failure.contains("results of host"), "{failure}");
        }
        assert!(runs("host", &[]).expect_err("is empty").to_string().contains("no results"));
    }
}
