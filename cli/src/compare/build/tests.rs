//! Curves out of points as a store gives them.

use serde_json::json;

use super::super::comparison::Verdict;
use super::super::select::tests::run;
use super::*;

fn request(ranges: &[&str], mixed: bool) -> Request {
    let ranges = ranges.iter().map(|text| NamedRange::parse(text).expect("is a range")).collect();
    let base = Named { name: "host".to_owned(), runs: None };
    Request { base, others: Vec::new(), figures: Vec::new(), ranges, mixed }
}

fn record(goodput: f64, engine: &str) -> Json {
    json!({
        "result": { "goodput_bits_per_second": goodput, "loss": null },
        "sender": { "engine": engine }, "receiver": { "engine": engine },
    })
}

/// A target whose points are: socket buffer, flows, goodput.
fn target(name: &str, engine: &str, points: &[(u64, u64, f64)]) -> Loaded {
    let points = points.iter().map(|(buffer, flows, goodput)| {
        let setting = vec![
            (Parameter::SocketBuffer, Value::Number(*buffer)),
            (Parameter::Flows, Value::Number(*flows)),
        ];
        let record = Some(record(*goodput, engine));
        ("tcp_stream".to_owned(), PointRow { id: 0, setting, repetition: 1, record, error: None })
    });
    let target = Target { name: name.to_owned(), runs: vec![run(1, name, "tcp_stream", Json::Null)] };
    Loaded { target, points: points.collect() }
}

fn verdict(family: &Family, stretch: usize, name: &str) -> Verdict {
    let rank = family.stretches[stretch].ranking.iter().find(|rank| rank.name == name);
    rank.expect("is ranked").verdict
}

#[test]
fn the_parameter_with_the_most_values_is_x_and_the_rest_make_families() {
    let host = target("host", "io_uring", &[(1, 1, 10.0), (2, 1, 20.0), (3, 1, 30.0), (1, 2, 5.0)]);
    let guest = target("guest", "io_uring", &[(1, 1, 5.0), (2, 1, 10.0), (9, 1, 1.0)]);
    let families = families(&[host, guest], &request(&["socket-buffer=0..2", "socket-buffer=2..3"], false));
    assert_eq!(families.len(), 2);
    let family = &families[0];
    assert_eq!((family.x, family.fixed.len()), (Some(Parameter::SocketBuffer), 1));
    let ratios: Vec<Option<f64>> = family.curves[1].points.iter().map(|point| point.ratio).collect();
    assert_eq!(ratios, [Some(0.5), Some(0.5), None]);
    // What only one of them has is in no area.
    let guest = family.stretches[0].ranking.iter().find(|rank| rank.name == "guest").expect("is ranked");
    assert_eq!((guest.points, guest.area, guest.verdict), (2, Some(-0.5), Verdict::Worse));
    // The end of a range is not part of it: one point each.
    for stretch in 1..3 {
        let rank = &family.stretches[stretch].ranking[1];
        assert_eq!((rank.points, rank.area), (1, None), "{}", rank.text);
        assert!(rank.text.contains("one point"), "{}", rank.text);
    }
    assert_eq!(verdict(&families[1], 0, "guest"), Verdict::NothingInCommon);
}

#[test]
fn engines_that_differ_are_not_ranked_unless_asked_for() {
    let both = || {
        [
            target("host", "io_uring", &[(1, 1, 10.0), (2, 1, 10.0)]),
            target("guest", "epoll", &[(1, 1, 5.0), (2, 1, 5.0)]),
        ]
    };
    let refused = families(&both(), &request(&[], false));
    assert_eq!(verdict(&refused[0], 0, "guest"), Verdict::NotAlike);
    let rank = &refused[0].stretches[0].ranking[1];
    assert!(rank.place.is_none() && rank.text.contains("epoll") && rank.text.contains("--mixed"));
    let ranked = families(&both(), &request(&[], true));
    assert_eq!(verdict(&ranked[0], 0, "guest"), Verdict::Worse);
}

#[test]
fn repetitions_are_pooled_and_give_intervals() {
    let of = |name, scale: f64| {
        let mut points = Vec::new();
        for noise in [0.99, 1.0, 1.01] {
            points.extend([(1, 1, 100.0 * scale * noise), (2, 1, 200.0 * scale * noise)]);
        }
        target(name, "io_uring", &points)
    };
    let families = families(&[of("host", 1.0), of("same", 1.002), of("slow", 0.8)], &request(&[], false));
    let family = &families[0];
    assert_eq!(family.curves[0].points[0].results, 3);
    assert_eq!(verdict(family, 0, "same"), Verdict::Tie);
    assert_eq!(verdict(family, 0, "slow"), Verdict::Worse);
    let slow = family.stretches[0].ranking.iter().find(|rank| rank.name == "slow").expect("is ranked");
    let (low, high) = slow.difference.and_then(|difference| difference.interval).expect("is repeated");
    assert!(-0.23 < low && low < -0.2 && -0.2 < high && high < -0.17, "{low} {high}");
    // Plain numbers only: JSON has no others.
    let text = serde_json::to_string(&families).expect("is plain");
    assert!(!text.contains("null,null]"), "{text}");
}

#[test]
fn a_sweep_over_nothing_that_counts_is_one_point() {
    let of = |name, goodput| {
        let mut loaded = target(name, "io_uring", &[(1, 1, goodput)]);
        loaded.points[0].1.setting = vec![(Parameter::Engine, Value::Word("epoll".to_owned()))];
        loaded
    };
    let families = families(&[of("host", 1.0), of("guest", 2.0)], &request(&[], false));
    assert_eq!((families[0].x, families[0].fixed.len()), (None, 1));
    assert_eq!(verdict(&families[0], 0, "guest"), Verdict::Better);
}

#[test]
fn a_range_of_what_does_not_vary_is_refused() {
    let host = target("host", "io_uring", &[(1, 1, 10.0), (2, 1, 20.0)]);
    let families = families(&[host], &request(&[], false));
    assert!(check_ranges(&families, &request(&["socket-buffer=0..9"], false).ranges).is_ok());
    assert!(check_ranges(&families, &request(&["message=0..9"], false).ranges).is_err());
}
