//! From the runs of a store to a comparison: curves that belong together, aligned and set against the base.
//!
//! What a difference amounts to is up to [`rank`]; nothing is written or printed here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::area::Common;
use super::cautions;
use super::comparison::{Comparison, Curve, CurvePoint, Family, Stretch, Target};
use super::rank::{self, Entrant};
use super::select::{self, Selected};
use super::{Named, NamedRange, Request};
use crate::error::{Class, Failure};
use crate::figure::Figure;
use crate::record::{RECORD_VERSION, Tool};
use crate::statistics::Spread;
use crate::store::{PointRow, Store};
use crate::sweep::grid::{Parameter, Setting, Value};

/// A target with all its points.
pub(super) struct Loaded {
    pub(super) target: Target,
    /// Each with the name of its test.
    pub(super) points: Vec<(String, PointRow)>,
}

/// Compares what was asked for.
///
/// # Errors
/// USAGE for targets that are not there, and for ranges of what was not varied; STORE.
pub(crate) fn build(store: &Store, request: &Request, command: &[String]) -> Result<Comparison, Failure> {
    let all = store.runs()?;
    let mut cautions = Vec::new();
    let mut loaded = Vec::new();
    for Named { name, runs } in std::iter::once(&request.base).chain(&request.others) {
        let Selected { runs, left_out } = match runs {
            Some(ids) => Selected {
                runs: all.iter().filter(|run| ids.contains(&run.id)).cloned().collect(),
                left_out: Vec::new(),
            },
            None => select::runs(name, &all)?,
        };
        cautions.extend(left_out);
        let mut points = Vec::new();
        for run in &runs {
            points.extend(store.points(run.id)?.into_iter().map(|point| (run.test.clone(), point)));
        }
        loaded.push(Loaded { target: Target { name: name.clone(), runs }, points });
    }
    let families = families(&loaded, request);
    check_ranges(&families, &request.ranges)?;
    cautions.extend(cautions::list(&loaded, &families));
    Ok(Comparison {
        record: RECORD_VERSION,
        tool: Tool::this(),
        command: command.to_vec(),
        store: store.path().display().to_string(),
        targets: loaded.into_iter().map(|loaded| loaded.target).collect(),
        families,
        cautions,
    })
}

fn check_ranges(families: &[Family], ranges: &[NamedRange]) -> Result<(), Failure> {
    let idle = ranges.iter().find(|range| families.iter().all(|family| family.x != Some(range.parameter)));
    match idle {
        None => Ok(()),
        Some(range) => {
            let cause = format!("nothing is compared over {}", range.parameter);
            Err(Failure::new(Class::Usage, "rank within a range", cause)
                .setting("--range")
                .next("leave it out to see what is compared over what"))
        }
    }
}

/// What curves have in common that belong together: the test, the parameters, and the values of all but x.
type Kind = (String, Vec<Parameter>);

fn families(loaded: &[Loaded], request: &Request) -> Vec<Family> {
    let mut kinds: Vec<Kind> = Vec::new();
    for (test, point) in loaded.iter().flat_map(|loaded| &loaded.points) {
        let kind = (test.clone(), point.setting.iter().map(|(parameter, _)| *parameter).collect());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.iter().flat_map(|kind| families_of(kind, loaded, request)).collect()
}

fn is_of(kind: &Kind, (test, point): &(String, PointRow)) -> bool {
    *test == kind.0 && point.setting.iter().map(|(parameter, _)| *parameter).eq(kind.1.iter().copied())
}

fn families_of(kind: &Kind, loaded: &[Loaded], request: &Request) -> Vec<Family> {
    let points = || loaded.iter().flat_map(|loaded| &loaded.points).filter(|point| is_of(kind, point));
    let x = widest(kind, points().map(|(_, point)| &point.setting));
    let mut fixed: Vec<Setting> = Vec::new();
    for (_, point) in points() {
        let rest = without(&point.setting, x);
        if !fixed.contains(&rest) {
            fixed.push(rest);
        }
    }
    let has = |figure: &Figure| {
        points().any(|(_, point)| point.record.as_ref().is_some_and(|record| figure.of(record).is_some()))
    };
    let usual = [Figure::Goodput, Figure::OkayRate, Figure::Transactions];
    let figures = if request.figures.is_empty() { &usual[..] } else { &request.figures };
    let figures: Vec<Figure> = figures.iter().copied().filter(has).collect();
    fixed
        .iter()
        .flat_map(|fixed| figures.iter().map(|figure| family(kind, x, fixed, *figure, loaded, request)))
        .collect()
}

/// The parameter that counts and has the most values; the first of several.
fn widest<'a>(kind: &Kind, settings: impl Iterator<Item = &'a Setting> + Clone) -> Option<Parameter> {
    let mut widest = None;
    for (place, parameter) in kind.1.iter().enumerate() {
        let values = settings.clone().filter_map(|setting| number(&setting.get(place)?.1));
        let count = values.collect::<BTreeSet<u64>>().len();
        if count > widest.map_or(0, |(most, _)| most) {
            widest = Some((count, *parameter));
        }
    }
    widest.map(|(_, parameter)| parameter)
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Word(_) => None,
    }
}

fn without(setting: &Setting, x: Option<Parameter>) -> Setting {
    setting.iter().filter(|(parameter, _)| Some(*parameter) != x).cloned().collect()
}

/// The results of one target in one family.
struct Results {
    /// By x.
    values: BTreeMap<u64, Vec<f64>>,
    /// What moved the bytes: at the sender, at the receiver.
    engines: BTreeSet<[Option<String>; 2]>,
    failed: usize,
}

fn results(loaded: &Loaded, kind: &Kind, x: Option<Parameter>, fixed: &Setting, figure: Figure) -> Results {
    let mut results = Results { values: BTreeMap::new(), engines: BTreeSet::new(), failed: 0 };
    let mine = loaded.points.iter().filter(|point| is_of(kind, point));
    for (_, point) in mine.filter(|(_, point)| without(&point.setting, x) == *fixed) {
        let value = point.record.as_ref().and_then(|record| figure.of(record));
        let (Some(record), Some(value)) = (&point.record, value) else {
            results.failed += 1;
            continue;
        };
        let at = point.setting.iter().find(|(parameter, _)| Some(*parameter) == x);
        let at = at.and_then(|(_, value)| number(value)).unwrap_or(0);
        results.values.entry(at).or_default().push(value);
        let engine = |pointer: &str| record.pointer(pointer).and_then(Json::as_str).map(str::to_owned);
        results.engines.insert([engine("/sender/engine"), engine("/receiver/engine")]);
    }
    results
}

fn family(
    kind: &Kind,
    x: Option<Parameter>,
    fixed: &Setting,
    figure: Figure,
    loaded: &[Loaded],
    request: &Request,
) -> Family {
    let all: Vec<(&str, Results)> = loaded
        .iter()
        .map(|loaded| (loaded.target.name.as_str(), results(loaded, kind, x, fixed, figure)))
        .collect();
    let mut stretches = vec![stretch(&all, figure, None, request.mixed)];
    for range in request.ranges.iter().filter(|range| Some(range.parameter) == x) {
        stretches.push(stretch(&all, figure, Some((range.from, range.to)), request.mixed));
    }
    Family {
        test: kind.0.clone(),
        figure,
        x,
        fixed: fixed.clone(),
        curves: all.iter().map(|(name, results)| curve(name, results, &all[0].1)).collect(),
        stretches,
    }
}

fn curve(name: &str, results: &Results, base: &Results) -> Curve {
    let point = |(x, values): (&u64, &Vec<f64>)| {
        let value = Spread::of(values.iter().copied())?;
        let below = base.values.get(x).and_then(|values| Spread::of(values.iter().copied()));
        let ratio = below.map(|below| value.median / below.median).filter(|ratio| ratio.is_finite());
        Some(CurvePoint { x: *x as f64, value, results: values.len(), ratio })
    };
    Curve {
        name: name.to_owned(),
        points: results.values.iter().filter_map(point).collect(),
        failed: results.failed,
    }
}

fn stretch(all: &[(&str, Results)], figure: Figure, range: Option<(f64, f64)>, mixed: bool) -> Stretch {
    let inside = |x: u64| range.is_none_or(|(from, to)| from <= x as f64 && (x as f64) < to);
    let [(name, base), others @ ..] = all else { return Stretch { range, ranking: Vec::new() } };
    let entrants = others.iter().map(|(name, results)| {
        let common = base.values.iter().filter(|(x, _)| inside(**x)).filter_map(|(x, base)| {
            let other = results.values.get(x)?;
            Some(Common { x: *x as f64, base: base.clone(), other: other.clone() })
        });
        let not_alike = if mixed { None } else { unlike(base, results) };
        Entrant { name, points: common.collect(), not_alike }
    });
    Stretch { range, ranking: rank::ranking(name, figure.more_is_better(), entrants.collect()) }
}

/// Why two targets were not measured in the same way, if they were not. An engine that is not told, as of
/// netperf's netserver, is no difference.
fn unlike(base: &Results, other: &Results) -> Option<String> {
    let known = |engines: &BTreeSet<[Option<String>; 2]>, end: usize| {
        engines.iter().filter_map(|pair| pair[end].clone()).collect::<BTreeSet<String>>()
    };
    for (end, place) in ["sender", "receiver"].iter().enumerate() {
        let (ours, theirs) = (known(&base.engines, end), known(&other.engines, end));
        if !ours.is_empty() && !theirs.is_empty() && ours != theirs {
            let list = |engines: BTreeSet<String>| engines.into_iter().collect::<Vec<_>>().join(" and ");
            return Some(format!(
                "the {place} was moved by {} here and by {} at the base; --mixed ranks it all the same",
                list(theirs),
                list(ours)
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests;
