//! A comparison as one HTML page that needs nothing else: no script, no font, no file beside it.
//!
//! Turns plain data into text and lets the template place it. Everything is escaped by the template, but for
//! the plots, which are plotters' own and name nobody. What the numbers mean was decided by
//! [`mod@crate::compare`].

use askama::Template;

use super::plot::{self, Mark, Plot, figure_name, figure_unit};
use super::scale::{grouped, percent, significant};
use super::words::{finding, given_range, heading, listed, runs_of, whole_range};
use crate::compare::comparison::{Comparison, CurvePoint, Family, Rank, Stretch, Verdict};
use crate::error::{Class, Failure};
use crate::sweep::grid;

/// Stands for what is not known.
const UNKNOWN: &str = "\u{2013}";

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    made: &'a str,
    tool: String,
    store: &'a str,
    cautions: &'a [String],
    families: Vec<FamilyView>,
    runs: Vec<RunView>,
    commands: Vec<(String, String)>,
}

struct FamilyView {
    id: String,
    heading: String,
    fixed: String,
    finding: String,
    better: &'static str,
    legend: Vec<LegendView>,
    curves: Option<Plot>,
    normalised: Option<Plot>,
    /// In the place of plots, where there is nothing to plot over.
    single: Vec<SingleView>,
    value_title: String,
    x_name: &'static str,
    x_title: String,
    /// `None` where there is no axis, and so no area.
    area_unit: Option<&'static str>,
    stretches: Vec<StretchView>,
    failed: Option<String>,
    data: Vec<DataView>,
}

struct LegendView {
    name: String,
    colour: String,
    fill: String,
    dashes: String,
}

struct SingleView {
    name: String,
    value: String,
    spread: String,
    results: usize,
    ratio: String,
    /// Of the highest, in percent.
    width: String,
    colour: String,
}

struct StretchView {
    title: String,
    ranks: Vec<RankView>,
}

struct RankView {
    place: String,
    name: String,
    difference: String,
    interval: String,
    area: String,
    points: String,
    text: String,
}

struct DataView {
    name: String,
    x: String,
    median: String,
    lowest: String,
    highest: String,
    results: usize,
    ratio: String,
}

/// A run in the table of facts.
pub(super) struct RunView {
    pub(super) target: String,
    pub(super) run: String,
    pub(super) started: String,
    pub(super) test: String,
    pub(super) points: String,
    pub(super) far_end: Vec<String>,
    pub(super) machine: Vec<String>,
    pub(super) engine: String,
}

/// The page. `made` is when, by RFC 3339.
///
/// # Errors
/// BUG.
pub(crate) fn page(comparison: &Comparison, made: &str) -> Result<String, Failure> {
    let names: Vec<&str> = comparison.targets.iter().map(|target| target.name.as_str()).collect();
    let base = names.first().copied().unwrap_or_default();
    let families = comparison.families.iter().enumerate();
    let page = Page {
        title: format!("{} against {base}", listed(names.get(1..).unwrap_or_default())),
        made,
        tool: format!("{} {}", comparison.tool.name, comparison.tool.version),
        store: &comparison.store,
        cautions: &comparison.cautions,
        families: families
            .map(|(index, family)| family_view(index + 1, family, &names))
            .collect::<Result<_, _>>()?,
        runs: comparison.targets.iter().flat_map(runs_of).collect(),
        commands: super::words::commands(comparison),
    };
    page.render().map_err(|error| Failure::new(Class::Bug, "write the page", error.to_string()))
}

fn family_view(number: usize, family: &Family, names: &[&str]) -> Result<FamilyView, Failure> {
    let (divisor, unit) = figure_unit(family);
    let x_title = family.x.map_or_else(String::new, |x| super::scale::titled(x.name(), x.unit()));
    let is_single = !several_x(family);
    let plotted = |plot: Result<Option<Plot>, Failure>| if is_single { Ok(None) } else { plot };
    let mark = |name: &str| Mark::of(names.iter().position(|other| *other == name).unwrap_or(names.len()));
    let legend = family.curves.iter().filter(|curve| !curve.points.is_empty()).map(|curve| LegendView {
        name: curve.name.clone(),
        colour: mark(&curve.name).colour(),
        fill: mark(&curve.name).fill(),
        dashes: mark(&curve.name).dash_array(),
    });
    let failed: Vec<String> = family
        .curves
        .iter()
        .filter(|curve| curve.failed > 0)
        .map(|curve| format!("{} of {}", curve.failed, curve.name))
        .collect();
    Ok(FamilyView {
        id: format!("family-{number}"),
        heading: heading(family),
        fixed: grid::words(&family.fixed),
        finding: finding(family, names.first().copied().unwrap_or_default()),
        better: if family.figure.more_is_better() { "more is better" } else { "less is better" },
        legend: legend.collect(),
        curves: plotted(plot::curves(family, names))?,
        normalised: plotted(plot::normalised(family, names))?,
        single: if is_single { singles(family, divisor, &mark) } else { Vec::new() },
        value_title: format!("{}, {unit}", figure_name(family.figure)),
        x_name: family.x.map_or("", grid::Parameter::name),
        x_title,
        area_unit: family.x.map(|x| x.unit().unwrap_or(x.name())),
        stretches: family.stretches.iter().map(|stretch| stretch_view(stretch, family)).collect(),
        failed: (!failed.is_empty()).then(|| format!("Points without a result: {}.", failed.join(", "))),
        data: data(family, divisor),
    })
}

/// Whether there is a second x, so that curves are more than points.
fn several_x(family: &Family) -> bool {
    let mut xs = family.curves.iter().flat_map(|curve| &curve.points).map(|point| point.x);
    let first = xs.next();
    family.x.is_some() && first.is_some_and(|first| xs.any(|x| x.total_cmp(&first).is_ne()))
}

fn singles(family: &Family, divisor: f64, mark: &dyn Fn(&str) -> Mark) -> Vec<SingleView> {
    let points =
        || family.curves.iter().flat_map(|curve| curve.points.iter().map(move |point| (curve, point)));
    let most = points().map(|(_, point)| point.value.median.abs()).filter(|value| value.is_finite());
    let most = most.fold(0.0, f64::max);
    let view = |(curve, point): (&crate::compare::comparison::Curve, &CurvePoint)| {
        let share = if most > 0.0 { point.value.median.abs() / most * 100.0 } else { 0.0 };
        SingleView {
            name: curve.name.clone(),
            value: figure(point.value.median, divisor),
            spread: if point.results > 1 {
                let [low, high] = [point.value.lowest, point.value.highest].map(|end| figure(end, divisor));
                format!("{low} to {high}")
            } else {
                UNKNOWN.to_owned()
            },
            results: point.results,
            ratio: ratio(point),
            width: format!("{:.1}", if share.is_finite() { share } else { 0.0 }),
            colour: mark(&curve.name).colour(),
        }
    };
    points().map(view).collect()
}

fn stretch_view(stretch: &Stretch, family: &Family) -> StretchView {
    let title = match (stretch.range, family.x) {
        (Some(range), _) => given_range(range, family),
        (None, Some(_)) => whole_range(family),
        (None, None) => "The one point".to_owned(),
    };
    StretchView { title, ranks: stretch.ranking.iter().map(rank_view).collect() }
}

fn rank_view(rank: &Rank) -> RankView {
    let unknown = || UNKNOWN.to_owned();
    let is_base = rank.verdict == Verdict::Base;
    let difference = rank.difference.filter(|difference| difference.mean.is_finite() && !is_base);
    let interval = difference.and_then(|difference| difference.interval);
    RankView {
        place: rank.place.map_or_else(unknown, |place| place.to_string()),
        name: rank.name.clone(),
        difference: difference.map_or_else(unknown, |difference| percent(difference.mean)),
        interval: interval
            .filter(|(low, high)| low.is_finite() && high.is_finite())
            .map_or_else(unknown, |(low, high)| format!("{} to {}", percent(low), percent(high))),
        area: rank.area.filter(|area| area.is_finite() && !is_base).map_or_else(unknown, significant),
        points: if is_base { unknown() } else { rank.points.to_string() },
        text: rank.text.clone(),
    }
}

fn data(family: &Family, divisor: f64) -> Vec<DataView> {
    let rows = family.curves.iter().flat_map(|curve| {
        curve.points.iter().map(move |point| DataView {
            name: curve.name.clone(),
            x: if family.x.is_some() { whole(point.x) } else { UNKNOWN.to_owned() },
            median: figure(point.value.median, divisor),
            lowest: figure(point.value.lowest, divisor),
            highest: figure(point.value.highest, divisor),
            results: point.results,
            ratio: ratio(point),
        })
    });
    rows.collect()
}

fn figure(value: f64, divisor: f64) -> String {
    if value.is_finite() { significant(value / divisor) } else { UNKNOWN.to_owned() }
}

fn ratio(point: &CurvePoint) -> String {
    point
        .ratio
        .filter(|ratio| ratio.is_finite())
        .map_or_else(|| UNKNOWN.to_owned(), |ratio| grouped(ratio, 3))
}

/// A value of a parameter, which counts something.
pub(super) fn whole(value: f64) -> String {
    if value.is_finite() { grouped(value, usize::from(value.fract() != 0.0)) } else { UNKNOWN.to_owned() }
}
