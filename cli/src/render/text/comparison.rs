//! A comparison as tables, and the runs of a store as one.

use super::{UNKNOWN, line, table};
use crate::compare::comparison::{Comparison, Family, Rank, Stretch, Verdict};
use crate::figure::Figure;
use crate::statistics::Spread;
use crate::store::{RunRow, State};

/// The whole page, line ends included.
pub(crate) fn page(comparison: &Comparison) -> String {
    let mut page = String::new();
    for family in &comparison.families {
        line(&mut page, &headline(family));
        page.push('\n');
        page.push_str(&table(&points(family)));
        for stretch in &family.stretches {
            page.push('\n');
            line(&mut page, &range(family, stretch));
            page.push_str(&table(&ranks(stretch)));
        }
        page.push('\n');
    }
    if comparison.families.is_empty() {
        line(&mut page, "nothing was measured that could be compared");
    }
    for caution in &comparison.cautions {
        line(&mut page, &format!("caution: {caution}"));
    }
    page
}

fn headline(family: &Family) -> String {
    let over = family.x.map_or_else(String::new, |x| format!(" over {x}"));
    let fixed = match family.fixed.len() {
        0 => String::new(),
        _ => format!(", {}", crate::sweep::grid::words(&family.fixed)),
    };
    let unit = unit(family).1;
    let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
    format!("{} {}{over}{fixed}{unit}", family.test, family.figure)
}

/// What the figures of a family are divided by, and the unit they then have.
fn unit(family: &Family) -> (f64, &'static str) {
    let highest = family.curves.iter().flat_map(|curve| &curve.points).map(|point| point.value.median);
    match family.figure {
        Figure::Goodput => super::unit_for(highest.fold(0.0, f64::max), super::RATE_UNITS),
        figure => (1.0, figure.unit().unwrap_or_default()),
    }
}

/// A row for each x, a column for each target, and one for its ratio to the base.
fn points(family: &Family) -> Vec<Vec<String>> {
    let (divisor, _) = unit(family);
    let decimals = if family.figure.unit().is_none() { 4 } else { 2 };
    let mut xs: Vec<f64> =
        family.curves.iter().flat_map(|curve| &curve.points).map(|point| point.x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let mut heads = vec![family.x.map_or("", |x| x.name()).to_owned()];
    for (index, curve) in family.curves.iter().enumerate() {
        heads.push(curve.name.clone());
        heads.extend((index > 0).then(|| "ratio".to_owned()));
    }
    let row = |x: &f64| {
        let mut row = vec![if family.x.is_some() { x.to_string() } else { String::new() }];
        for (index, curve) in family.curves.iter().enumerate() {
            let point = curve.points.iter().find(|point| point.x == *x);
            row.push(point.map_or_else(unknown, |point| spread(point.value, divisor, decimals)));
            let ratio = point.and_then(|point| point.ratio);
            row.extend((index > 0).then(|| ratio.map_or_else(unknown, |ratio| format!("{ratio:.3}"))));
        }
        row
    };
    std::iter::once(heads).chain(xs.iter().map(row)).collect()
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

/// The median, with the range around it where there is one.
pub(super) fn spread(Spread { median, lowest, highest }: Spread, divisor: f64, decimals: usize) -> String {
    let [median, lowest, highest] =
        [median, lowest, highest].map(|number| format!("{:.decimals$}", number / divisor));
    if lowest == highest { median } else { format!("{median} ({lowest} - {highest})") }
}

fn range(family: &Family, stretch: &Stretch) -> String {
    match (stretch.range, family.x) {
        (Some((from, to)), Some(x)) => format!("{x} from {from} to below {to}:"),
        _ => "over the whole range:".to_owned(),
    }
}

fn ranks(stretch: &Stretch) -> Vec<Vec<String>> {
    let heads = ["place", "target", "points", "difference, %", "interval, %", "area", "verdict"]
        .map(str::to_owned)
        .to_vec();
    let percent = |share: f64| format!("{:+.1}", share * 100.0);
    let row = |rank: &Rank| {
        let difference = rank.difference.filter(|_| rank.verdict != Verdict::Base);
        let interval = difference.and_then(|difference| difference.interval);
        vec![
            rank.place.map_or_else(unknown, |place| place.to_string()),
            rank.name.clone(),
            if rank.verdict == Verdict::Base { unknown() } else { rank.points.to_string() },
            difference.map_or_else(unknown, |difference| percent(difference.mean)),
            interval.map_or_else(unknown, |(low, high)| format!("{} to {}", percent(low), percent(high))),
            rank.area
                .filter(|_| rank.verdict != Verdict::Base)
                .map_or_else(unknown, |area| format!("{area:.1}")),
            rank.text.clone(),
        ]
    };
    std::iter::once(heads).chain(stretch.ranking.iter().map(row)).collect()
}

/// The runs of a store.
pub(crate) fn list(runs: &[RunRow]) -> String {
    let heads = ["run", "tag", "test", "started", "state", "points", "far end"].map(str::to_owned).to_vec();
    let row = |run: &RunRow| {
        vec![
            format!("#{}", run.id),
            run.tag.clone(),
            run.test.clone(),
            run.started.clone(),
            state(run.state).to_owned(),
            format!("{} of {}", run.done, run.points),
            far_end(run),
        ]
    };
    table(&std::iter::once(heads).chain(runs.iter().map(row)).collect::<Vec<_>>())
}

fn state(state: State) -> &'static str {
    match state {
        State::Done => "done",
        State::Failed => "failed",
        State::Interrupted => "interrupted",
        State::Running => "running, or killed",
    }
}

/// Where a run's netserver was, in words.
pub(super) fn far_end(run: &RunRow) -> String {
    match (run.target["environment"]["kind"].as_str(), run.target["host"].as_str()) {
        (Some(kind), _) => format!("a {kind}"),
        (None, Some(host)) => format!("the netserver on {host}"),
        (None, None) => "a netserver of our own".to_owned(),
    }
}
