//! Pages of comparisons that were made up: what is on them, and what must not be.

use serde_json::json;

use super::*;
use crate::compare::comparison::{Curve, CurvePoint, Difference, Family, Rank, Stretch, Target, Verdict};
use crate::figure::Figure;
use crate::statistics::Spread;
use crate::store::{NewRun, RunRow};
use crate::sweep::grid::{Axis, Parameter, Value, points as grid_points};

const MADE: &str = "2025-11-26T00:00:00.000Z";

/// What would be markup, were it not escaped.
const HOSTILE: &str = "<b>\"&'\u{e9}";

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ringperf-report-{}-{name}", std::process::id()));
    fs::create_dir_all(&path).expect("the folder of temporary files can be written to");
    path
}

/// A run of each name, out of a real store.
fn runs(test: &str, names: &[&str]) -> Vec<RunRow> {
    let folder = folder(test);
    let mut store = Store::write(&folder.join("results.db")).expect("opens");
    let points = grid_points(&[Axis::parse("flows=1,2").expect("is an axis")], 1).expect("few");
    for name in names {
        let target =
            json!({"host": HOSTILE, "environment": {"name": "lab<i>", "engines": ["podman 5", "crun"]}});
        let run = NewRun {
            tag: name,
            test: "tcp_stream",
            plan: json!({"asked": {"engine": "io_uring"}, "vary": []}),
            words: &[],
            command: &["ringperf".to_owned(), "sweep".to_owned(), "--tag".to_owned(), (*name).to_owned()],
            target,
            points: &points,
        };
        store.begin_run(&run).expect("the store takes it");
    }
    let rows = store.runs().expect("are there");
    drop(store);
    fs::remove_dir_all(folder).expect("it was just made");
    rows
}

fn point(x: f64, value: f64, noise: f64, base: f64) -> CurvePoint {
    let value = Spread { median: value, lowest: value * (1.0 - noise), highest: value * (1.0 + noise) };
    let ratio = (base != 0.0).then(|| value.median / base);
    CurvePoint { x, value, results: if noise > 0.0 { 3 } else { 1 }, ratio }
}

fn rank(name: &str, place: Option<usize>, mean: f64, verdict: Verdict) -> Rank {
    let difference = Some(Difference { mean, interval: Some((mean - 0.01, mean + 0.01)) });
    let text = format!("{name} is told of in words");
    Rank { name: name.to_owned(), place, points: 3, area: Some(mean * 4e4), difference, verdict, text }
}

/// Curves that rise and level off, each target's lower than the one before.
fn family(names: &[&str], x: Option<Parameter>, xs: &[f64], noise: f64) -> Family {
    let of = |index: usize, x: f64| 9e9 * (x + 500.0) / (x + 9000.0) * (1.0 - 0.06 * index as f64);
    let curve = |(index, name): (usize, &&str)| Curve {
        name: (*name).to_owned(),
        points: xs.iter().map(|x| point(*x, of(index, *x), noise, of(0, *x))).collect(),
        failed: index,
    };
    let ranks = |(index, name): (usize, &&str)| {
        let verdict = if index == 0 { Verdict::Base } else { Verdict::Worse };
        rank(name, Some(index + 1), -0.06 * index as f64, verdict)
    };
    let ranking: Vec<Rank> = names.iter().enumerate().map(ranks).collect();
    Family {
        test: "tcp_stream".to_owned(),
        figure: Figure::Goodput,
        x,
        fixed: vec![(Parameter::Engine, Value::Word("uring".to_owned()))],
        curves: names.iter().enumerate().map(curve).collect(),
        stretches: vec![
            Stretch { range: None, ranking: ranking.clone() },
            Stretch { range: Some((100.0, 4096.0)), ranking },
        ],
    }
}

fn comparison(test: &str, names: &[&str], families: Vec<Family>) -> Comparison {
    let rows = runs(test, names);
    let targets =
        names.iter().zip(rows).map(|(name, row)| Target { name: (*name).to_owned(), runs: vec![row] });
    Comparison {
        record: RECORD_VERSION,
        tool: Tool::this(),
        command: vec!["ringperf".to_owned(), "report".to_owned(), HOSTILE.to_owned()],
        store: format!("/tmp/{HOSTILE}.db"),
        targets: targets.collect(),
        families,
        cautions: vec![format!("{HOSTILE} is another machine than the base")],
    }
}

fn study() -> Vec<f64> {
    (0..131).map(|step| f64::from(100 + step * 1000)).collect()
}

/// What each figure says it shows, and the circles in it.
fn counts(html: &str) -> Vec<(String, usize, usize)> {
    let figures = html.split("<figure data-points=\"").skip(1);
    let count = |text: &str| {
        let inside = text.split("</figure>").next().expect("a first part");
        let (points, rest) = inside.split_once('"').expect("a number ends");
        let kind = rest.split('"').nth(1).expect("a kind").to_owned();
        (kind, points.parse().expect("a number"), inside.matches("<circle class=\"point\"").count())
    };
    figures.map(count).collect()
}

fn no_nonsense(html: &str) {
    for text in html.split("<svg").skip(1).map(|rest| rest.split("</svg>").next().expect("a first part")) {
        let text = text.to_lowercase();
        assert!(!text.contains("nan") && !text.contains("inf"), "{text}");
        // Where a number that cannot be drawn would end up when it is made a pixel.
        assert!(!text.contains("2147483"), "{text}");
    }
    for foreign in ["<script", "src=", "url(", "@import", "<link", "href=\"http"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
}

#[test]
fn every_point_is_a_circle() {
    let names = ["base", "second", "third"];
    let mut study = family(&names, Some(Parameter::SocketBuffer), &study(), 0.05);
    // Of the last one two have nothing to be set against.
    study.curves[2].points[0].ratio = None;
    study.curves[2].points[1].ratio = Some(f64::NAN);
    let html = page(&comparison("circles", &names, vec![study]), MADE).expect("is drawn");
    assert_eq!(counts(&html), [("curves".to_owned(), 393, 393), ("normalised".to_owned(), 260, 260)]);
    no_nonsense(&html);
    assert!(html.contains("tcp_stream: goodput over socket-buffer") && html.contains("With engine=uring."));
    assert!(html.contains("goodput, Gbit/s"));
    assert!(html.contains(
        "The base, base, comes first. Then come second (\u{2212}6.0\u{a0}% against the base) and third"
    ));
    assert!(
        html.contains("Whole range, 100 to 130\u{202f}100 bytes")
            && html.contains("From 100 to below 4096 bytes")
    );
    assert!(html.contains("Points without a result: 1 of second, 2 of third."));
    assert!(html.contains("engines: podman 5, crun") && html.contains("Linux"));
}

#[test]
fn what_users_wrote_is_no_markup() {
    let names = ["base", HOSTILE];
    let mut plain = family(&names, Some(Parameter::Flows), &[1.0, 2.0, 4.0], 0.1);
    plain.fixed = vec![(Parameter::Send, Value::Word(HOSTILE.to_owned()))];
    let single = family(&names, None, &[0.0], 0.1);
    let html = page(&comparison("escaped", &names, vec![plain, single]), MADE).expect("is drawn");
    // Title, heading, finding, legends, tables, facts, commands, cautions, store.
    assert!(!html.contains("<b>\"") && !html.contains("lab<i>") && !html.contains("\"&'"), "{html}");
    assert!(html.matches("&#60;b&#62;&#34;&#38;").count() > 20, "{html}");
    let pieces = html.split("<svg").skip(1);
    assert!(
        pieces.map(|rest| rest.split("</svg>").next()).all(|svg| !svg.unwrap_or_default().contains("&#"))
    );
    no_nonsense(&html);
}

#[test]
fn without_repetitions_there_are_no_bars() {
    let names = ["base", "other"];
    let bars = |noise, test| {
        let family = family(&names, Some(Parameter::Message), &[64.0, 1024.0, 65_536.0], noise);
        let html = page(&comparison(test, &names, vec![family]), MADE).expect("is drawn");
        no_nonsense(&html);
        html.matches("stroke-width=\"2\" points=").count()
    };
    // Each of the six has a bar and two caps.
    assert_eq!(bars(0.1, "bars") - bars(0.0, "no-bars"), 18);
}

#[test]
fn a_point_without_an_axis_is_a_row() {
    let names = ["base", "other"];
    for (x, xs) in [(None, [0.0]), (Some(Parameter::Rate), [1e9])] {
        let family = family(&names, x, &xs, 0.02);
        let html = page(&comparison("single", &names, vec![family]), MADE).expect("is drawn");
        assert_eq!(counts(&html), []);
        assert!(html.contains("table class=\"single\"") && html.contains("width:94.0%"));
        no_nonsense(&html);
    }
}

#[test]
fn nothing_is_said_of_nothing() {
    let names = ["base", "other"];
    let empty = family(&names, Some(Parameter::Flows), &[], 0.0);
    let mut gone = family(&names, None, &[0.0], 0.0);
    (gone.curves, gone.stretches) = (Vec::new(), Vec::new());
    let html = page(&comparison("empty", &names, vec![empty, gone]), MADE).expect("is drawn");
    assert_eq!(html.matches("There is no point to compare.").count(), 4);
    assert_eq!(counts(&html), []);
    no_nonsense(&html);
    let html = page(&comparison("none", &names, Vec::new()), MADE).expect("is drawn");
    assert!(html.contains("There is nothing to compare."));
}

#[test]
fn numbers_that_cannot_be_drawn_are_left_out() {
    let names = ["base", "other"];
    let mut strange = family(&names, Some(Parameter::Flows), &[1.0, 2.0, 3.0, 4.0], 0.1);
    strange.curves[0].points[0].value.median = f64::NAN;
    strange.curves[0].points[1].value.highest = f64::INFINITY;
    strange.curves[1].points[0].x = f64::INFINITY;
    strange.curves[1].points[1].value = Spread { median: 0.0, lowest: 0.0, highest: 0.0 };
    strange.curves[1].points[1].ratio = Some(0.0);
    let mut flat = family(&names, Some(Parameter::Rate), &[1e6, 1e9], 0.0);
    flat.figure = Figure::Loss;
    for point in flat.curves.iter_mut().flat_map(|curve| &mut curve.points) {
        (point.value, point.ratio) = (Spread { median: 0.0, lowest: 0.0, highest: 0.0 }, None);
    }
    let html = page(&comparison("strange", &names, vec![strange, flat]), MADE).expect("is drawn");
    let kinds = [("curves", 6), ("normalised", 3), ("curves", 4)];
    assert_eq!(counts(&html), kinds.map(|(kind, count)| (kind.to_owned(), count, count)));
    no_nonsense(&html);
}

#[test]
fn findings_are_whole_sentences() {
    let names = ["base", "a", "b", "c", "d"];
    let mut family = family(&names, Some(Parameter::Flows), &[1.0, 2.0], 0.1);
    family.figure = Figure::OkayRate;
    let said = |family: &mut Family, ranking: Vec<Rank>| {
        family.stretches[0].ranking = ranking;
        words::finding(family, "base")
    };
    assert_eq!(words::heading(&family), "tcp_stream: okay rate over flows");
    let base = rank("base", Some(2), 0.0, Verdict::Base);
    let ranking = vec![
        rank("a", Some(1), 0.123, Verdict::Better),
        base.clone(),
        rank("b", None, 0.0, Verdict::TooNoisy),
        rank("c", None, 0.0, Verdict::TooNoisy),
        rank("d", None, 0.0, Verdict::NotAlike),
    ];
    assert_eq!(
        said(&mut family, ranking),
        "a comes first (+12.3\u{a0}% against the base). Then comes the base, base. b and c are too noisy to \
         rank. d was not measured as the base was."
    );
    let first = Rank { place: Some(1), ..base };
    let ranking = vec![first.clone(), rank("a", Some(1), 0.001, Verdict::Tie)];
    assert_eq!(said(&mut family, ranking), "base and a tie for first place.");
    let ranking = vec![first, rank("d", None, 0.0, Verdict::NothingInCommon)];
    assert_eq!(
        said(&mut family, ranking),
        "Nobody can be ranked against the base, base. d has no point in common with the base."
    );
}

#[test]
fn the_file_is_replaced_as_a_whole_or_left_alone() {
    let folder = folder("file");
    let path = folder.join("report.html");
    replace(&path, b"old").expect("there is room");
    let link = folder.join("link.html");
    std::os::unix::fs::symlink(&path, &link).expect("links can be made");
    replace(&link, b"new").expect("there is room");
    assert_eq!(fs::read(&path).expect("is there"), b"new");
    assert!(fs::symlink_metadata(&link).expect("is there").is_symlink());
    replace(Path::new("/dev/null"), b"gone").expect("it takes anything");
    assert!(!fs::metadata("/dev/null").expect("is there").is_file());
    assert!(replace(&folder, b"x").is_err() && replace(&folder.join("no/such"), b"x").is_err());
    assert_eq!(fs::read_dir(&folder).expect("is there").count(), 2, "nothing is left beside");
    fs::remove_dir_all(folder).expect("it was just made");
}
