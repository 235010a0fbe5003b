//! What a lab's file says: environments, sweeps, and what becomes of the results.
//!
//! Reads and checks; it brings nothing up and measures nothing.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::compare::NamedRange;
use crate::environment::{self, Kind};
use crate::error::{Class, Failure};
use crate::figure::Figure;
use crate::sweep::{self, Sweep, parse_rest, parse_tag};
use crate::trial::values::parse_seconds;

/// A lab, as it is to be run.
#[derive(Debug)]
pub(super) struct Lab {
    /// Its name.
    pub(super) name: String,
    /// Where to measure; the base first.
    pub(super) environments: Vec<Place>,
    /// What to measure in each.
    pub(super) sweeps: Vec<Sweep>,
    /// Parts of the range to rank by themselves.
    pub(super) ranges: Vec<NamedRange>,
    /// Figures to compare; none: those that the tests have.
    pub(super) figures: Vec<Figure>,
}

/// An environment, as it is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Place {
    /// What runs there are tagged with.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: Kind,
    /// Port that is published for data, where one has to be.
    #[serde(default = "data_port")]
    pub(super) data_port: u16,
}

fn data_port() -> u16 {
    environment::DATA_PORT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    base: String,
    environment: Vec<Place>,
    sweep: Vec<SweepText>,
    #[serde(default)]
    report: ReportText,
    #[serde(default)]
    quick: QuickText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepText {
    options: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReportText {
    range: Vec<String>,
    figure: Vec<Figure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QuickText {
    time: String,
    rest: String,
    repeat: u32,
    values: usize,
}

impl Default for QuickText {
    fn default() -> Self {
        Self { time: "1s".to_owned(), rest: "0".to_owned(), repeat: 3, values: 7 }
    }
}

/// Reads a lab's file; quick, it measures less of it.
///
/// # Errors
/// USAGE for a file that cannot be read, and for what makes no sense in it.
pub(super) fn read(path: &Path, quick: bool) -> Result<Lab, Failure> {
    let tried = format!("read the lab {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::io(Class::Usage, &tried, &error).setting("FILE").next("ringperf lab --help")
    })?;
    parse(&text, quick).map_err(|cause| {
        Failure::new(Class::Usage, tried, cause)
            .setting("the file; labs/study.toml of ringperf's source is one that works")
            .next("ringperf sweep --help, for the options of a sweep")
    })
}

fn parse(text: &str, quick: bool) -> Result<Lab, String> {
    let text: Text = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let mut environments = text.environment;
    for (index, place) in environments.iter().enumerate() {
        parse_tag(&place.name).map_err(|cause| format!("the environment '{}': {cause}", place.name))?;
        if environments[..index].iter().any(|other| other.name == place.name) {
            return Err(format!("two environments are called {}", place.name));
        }
    }
    let base = environments.iter().position(|place| place.name == text.base);
    let base =
        base.ok_or_else(|| format!("no environment is called {}, which is to be the base", text.base))?;
    environments[..=base].rotate_right(1);
    let mut sweeps =
        text.sweep.iter().map(|sweep| sweep_of(&sweep.options)).collect::<Result<Vec<_>, _>>()?;
    if sweeps.is_empty() {
        return Err("there is no sweep".to_owned());
    }
    if quick {
        let time = parse_seconds(&text.quick.time).map_err(|cause| format!("quick.time: {cause}"))?;
        let rest = parse_rest(&text.quick.rest).map_err(|cause| format!("quick.rest: {cause}"))?;
        if text.quick.repeat == 0 || text.quick.values == 0 {
            return Err("quick.repeat and quick.values are at least 1".to_owned());
        }
        for sweep in &mut sweeps {
            shorten(sweep, time, rest, text.quick.repeat, text.quick.values);
        }
    }
    let ranges = text.report.range.iter().map(|range| NamedRange::parse(range)).collect::<Result<_, _>>()?;
    Ok(Lab { name: text.name, environments, sweeps, ranges, figures: text.report.figure })
}

/// A sweep out of the options of `ringperf sweep`. Where it goes and is kept is up to the lab.
fn sweep_of(options: &[String]) -> Result<Sweep, String> {
    let said = format!("the sweep '{}'", options.join(" "));
    let args = sweep::Args::read(options).map_err(|cause| format!("{said}: {cause}"))?;
    if args.trial.host.is_some() || args.store.is_some() || args.tag.is_some() || args.resume || args.json {
        return Err(format!("{said}: --host, --store, --tag, --resume and --json are the lab's to decide"));
    }
    args.sweep().map_err(|failure| format!("{said}: {}", failure.to_json().text))
}

fn shorten(sweep: &mut Sweep, time: u32, rest: Duration, repeat: u32, values: usize) {
    if sweep.trial.bytes.is_none() {
        sweep.trial.time = Some(time);
    }
    sweep.rest = rest;
    sweep.repeat = repeat;
    for axis in &mut sweep.axes {
        axis.thin(values);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sweep::grid::points;

    const STUDY: &str = include_str!("../../../labs/study.toml");

    /// The study's lab, whole.
    pub(in crate::lab) fn study() -> Lab {
        parse(STUDY, false).expect("is a lab")
    }

    fn points_of(lab: &Lab) -> Vec<usize> {
        lab.sweeps.iter().map(|sweep| points(&sweep.axes, sweep.repeat).expect("few").len()).collect()
    }

    #[test]
    fn the_study_is_whole_and_its_quick_form_is_short() {
        let whole = parse(STUDY, false).expect("is a lab");
        assert_eq!(points_of(&whole), [131, 20, 31]);
        assert_eq!(
            whole.environments.iter().map(|place| place.name.as_str()).collect::<Vec<_>>(),
            ["host", "docker"]
        );
        assert_eq!((whole.sweeps[0].trial.seconds(), whole.sweeps[0].rest), (10, Duration::from_secs(60)));
        let quick = parse(STUDY, true).expect("is a lab");
        assert_eq!(points_of(&quick), [21, 21, 21]);
        assert_eq!((quick.sweeps[0].trial.seconds(), quick.sweeps[0].rest), (1, Duration::ZERO));
    }

    #[test]
    fn the_base_comes_first() {
        let text = STUDY.replace("base = \"host\"", "base = \"docker\"");
        assert_eq!(parse(&text, false).expect("is a lab").environments[0].name, "docker");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (from, to, named) in [
            ("base = \"host\"", "base = \"guest\"", "guest"),
            ("kind = \"container\"", "kind = \"spaceship\"", "spaceship"),
            ("name = \"docker\"", "name = \"host\"", "host"),
            ("\"study-tcp\"", "\"study-x\"", "study-x"),
            (
                "\"--preset\", \"study-udp\"",
                "\"udp-stream\", \"--store\", \"x\", \"--repeat\", \"2\"",
                "--store",
            ),
            ("message=1500..2000", "message=1500", "NAME=FROM..TO"),
            ("time = \"1s\"", "time = \"soon\"", "quick.time"),
            ("values = 7", "values = 0", "quick.values"),
            ("[report]", "[rapport]", "rapport"),
        ] {
            let text = STUDY.replace(from, to);
            assert_ne!(text, STUDY, "{from}");
            let cause = parse(&text, true).expect_err(to);
            assert!(cause.contains(named), "{cause}");
        }
    }
}
