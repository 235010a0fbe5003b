//! What differences amount to: verdicts, places, and their reasons in words.
//!
//! The limits that decide are here, each with its reason.

use super::area::{Common, interval, mean_difference, ratios, resampled, signed_area};
use super::comparison::{Difference, Rank, Verdict};

/// A difference within this of the base is none: what one network card, route or hour makes of the same
/// program is rarely less.
const TIE: f64 = 0.01;

/// An interval no wider than this on either side is narrow. A wider one could hide a difference that matters.
const NOISE: f64 = 0.05;

/// A target in one stretch, before it is ranked.
pub(super) struct Entrant<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The points that it and the base have there.
    pub(super) points: Vec<Common>,
    /// Why it cannot be set against the base, if it cannot.
    pub(super) not_alike: Option<String>,
}

/// What a difference is by its size and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Above,
    Below,
    Noisy,
    Tie,
}

fn judge(mean: f64, interval: Option<(f64, f64)>) -> Judgement {
    let by_sign = if mean > 0.0 { Judgement::Above } else { Judgement::Below };
    let small = mean.abs() <= TIE;
    match interval {
        None if small => Judgement::Tie,
        None => by_sign,
        Some((low, high)) => {
            let (narrow, may_be_none) = ((high - low) / 2.0 <= NOISE, low <= 0.0 && 0.0 <= high);
            match (narrow, may_be_none) {
                (true, true) => Judgement::Tie,
                (true, false) if small => Judgement::Tie,
                (false, true) => Judgement::Noisy,
                (_, false) => by_sign,
            }
        }
    }
}

/// A target that was set against the base.
struct Judged<'a> {
    entrant: Entrant<'a>,
    area: Option<f64>,
    difference: Option<Difference>,
    resamples: Vec<f64>,
    verdict: Verdict,
}

/// Ranks targets against the base, best first.
pub(super) fn ranking(base: &str, more_is_better: bool, entrants: Vec<Entrant<'_>>) -> Vec<Rank> {
    let base_itself = Judged {
        entrant: Entrant { name: base, points: Vec::new(), not_alike: None },
        area: Some(0.0),
        difference: Some(Difference { mean: 0.0, interval: None }),
        resamples: Vec::new(),
        verdict: Verdict::Base,
    };
    // The base first, which stays so among equals.
    let mut judged = vec![base_itself];
    judged.extend(entrants.into_iter().map(|entrant| judge_entrant(entrant, more_is_better)));
    let ranked = |judged: &Judged<'_>| {
        matches!(judged.verdict, Verdict::Base | Verdict::Better | Verdict::Tie | Verdict::Worse)
    };
    let goodness = |judged: &Judged<'_>| {
        let mean = judged.difference.map_or(f64::NEG_INFINITY, |difference| difference.mean);
        if more_is_better { mean } else { -mean }
    };
    judged.sort_by(|a, b| ranked(b).cmp(&ranked(a)).then_with(|| goodness(b).total_cmp(&goodness(a))));
    let mut ranks: Vec<Rank> = Vec::new();
    for (index, target) in judged.iter().enumerate() {
        let place = ranked(target).then(|| match index.checked_sub(1) {
            Some(before) if tied(&judged[before], target) => ranks[before].place.unwrap_or(index + 1),
            _ => index + 1,
        });
        ranks.push(Rank {
            name: target.entrant.name.to_owned(),
            place,
            points: target.entrant.points.len(),
            area: target.area,
            difference: target.difference,
            verdict: target.verdict,
            text: words(target, base),
        });
    }
    ranks
}

fn judge_entrant(entrant: Entrant<'_>, more_is_better: bool) -> Judged<'_> {
    let curve = ratios(&entrant.points);
    let resamples = resampled(&entrant.points);
    let difference = mean_difference(&curve).map(|mean| Difference { mean, interval: interval(&resamples) });
    let verdict = match difference {
        _ if entrant.not_alike.is_some() => Verdict::NotAlike,
        None => Verdict::NothingInCommon,
        Some(Difference { mean, interval }) => match judge(mean, interval) {
            Judgement::Tie => Verdict::Tie,
            Judgement::Noisy => Verdict::TooNoisy,
            Judgement::Above if more_is_better => Verdict::Better,
            Judgement::Below if !more_is_better => Verdict::Better,
            Judgement::Above | Judgement::Below => Verdict::Worse,
        },
    };
    Judged { area: signed_area(&curve), difference, resamples, verdict, entrant }
}

/// Whether two neighbours cannot be told apart. Their difference is taken resample by resample, because they
/// share the base's.
fn tied(one: &Judged<'_>, two: &Judged<'_>) -> bool {
    let (Some(first), Some(second)) = (one.difference, two.difference) else { return false };
    match (one.verdict, two.verdict) {
        (Verdict::Base, verdict) | (verdict, Verdict::Base) => return verdict == Verdict::Tie,
        _ => {}
    }
    let differences: Vec<f64> = one.resamples.iter().zip(&two.resamples).map(|(a, b)| a - b).collect();
    matches!(judge(first.mean - second.mean, interval(&differences)), Judgement::Noisy | Judgement::Tie)
}

fn words(target: &Judged<'_>, base: &str) -> String {
    if let Some(reason) = &target.entrant.not_alike {
        return format!("not ranked: {reason}");
    }
    let Some(Difference { interval, .. }) = target.difference else {
        return format!("no point in common with {base}");
    };
    let mut text = match target.verdict {
        Verdict::Base => return "the base".to_owned(),
        Verdict::Better => format!("better than {base}"),
        Verdict::Worse => format!("worse than {base}"),
        Verdict::Tie => format!("tie with {base}"),
        Verdict::TooNoisy => "too noisy to rank".to_owned(),
        // Both are told above.
        Verdict::NotAlike | Verdict::NothingInCommon => String::new(),
    };
    if target.entrant.points.len() == 1 {
        text.push_str("; one point");
    }
    if interval.is_none() {
        text.push_str("; not repeated: no interval");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrant<'a>(name: &'a str, results: &[&[f64]]) -> Entrant<'a> {
        let points = (0..).zip(results).map(|(x, other)| Common {
            x: f64::from(x),
            base: vec![100.0, 101.0, 99.0][..other.len().min(3)].to_vec(),
            other: other.to_vec(),
        });
        Entrant { name, points: points.collect(), not_alike: None }
    }

    fn told(more_is_better: bool, entrants: Vec<Entrant<'_>>) -> Vec<(String, Option<usize>, Verdict)> {
        let ranks = ranking("base", more_is_better, entrants);
        ranks.into_iter().map(|rank| (rank.name, rank.place, rank.verdict)).collect()
    }

    const FAST: [&[f64]; 2] = [&[150.0, 151.0, 149.0], &[140.0, 141.0, 142.0]];
    const SLOW: [&[f64]; 2] = [&[50.0, 51.0, 49.0], &[40.0, 41.0, 42.0]];
    const SAME: [&[f64]; 2] = [&[100.0, 101.0, 99.0], &[100.0, 99.5, 100.5]];
    const WILD: [&[f64]; 2] = [&[20.0, 200.0, 100.0], &[30.0, 220.0, 100.0]];

    #[test]
    fn the_best_comes_first_and_ties_share_a_place() {
        let all = || {
            vec![
                entrant("slow", &SLOW),
                entrant("same", &SAME),
                entrant("fast", &FAST),
                entrant("wild", &WILD),
            ]
        };
        let name = |name: &str| name.to_owned();
        let ranked = told(true, all());
        assert_eq!(ranked[0], (name("fast"), Some(1), Verdict::Better));
        let mut middle = vec![ranked[1].clone(), ranked[2].clone()];
        middle.sort();
        assert_eq!(middle, [(name("base"), Some(2), Verdict::Base), (name("same"), Some(2), Verdict::Tie)]);
        assert_eq!(ranked[3], (name("slow"), Some(4), Verdict::Worse));
        assert_eq!(ranked[4], (name("wild"), None, Verdict::TooNoisy));
        // Of what costs, less is better.
        assert_eq!(told(false, all())[0], (name("slow"), Some(1), Verdict::Better));
    }

    #[test]
    fn equals_among_the_others_share_a_place_too() {
        let ranked = told(true, vec![entrant("one", &FAST), entrant("two", &FAST)]);
        let places: Vec<Option<usize>> = ranked.iter().map(|(_, place, _)| *place).collect();
        assert_eq!(places, [Some(1), Some(1), Some(3)]);
    }

    #[test]
    fn reasons_are_given_in_words() {
        let text = |entrant| ranking("base", true, vec![entrant]).into_iter().find(|rank| rank.name == "x");
        let of = |results: &[&[f64]]| text(entrant("x", results)).expect("is ranked").text;
        assert_eq!(of(&[&[150.0]]), "better than base; one point; not repeated: no interval");
        assert_eq!(of(&[&[100.5], &[100.5]]), "tie with base; not repeated: no interval");
        assert_eq!(of(&[]), "no point in common with base");
        assert_eq!(of(&WILD), "too noisy to rank");
        let unlike = Entrant { not_alike: Some("epoll".to_owned()), ..entrant("x", &FAST) };
        let rank = text(unlike).expect("is told of");
        assert_eq!(
            (rank.text.as_str(), rank.place, rank.verdict),
            ("not ranked: epoll", None, Verdict::NotAlike)
        );
    }

    #[test]
    fn wide_intervals_around_nothing_are_noise_and_narrow_ones_ties() {
        assert_eq!(judge(0.004, Some((0.002, 0.006))), Judgement::Tie);
        assert_eq!(judge(0.02, Some((-0.01, 0.05))), Judgement::Tie);
        assert_eq!(judge(-0.0043, Some((-0.0226, -0.0009))), Judgement::Tie);
        assert_eq!(judge(0.02, Some((-0.1, 0.2))), Judgement::Noisy);
        assert_eq!(judge(0.02, Some((0.015, 0.03))), Judgement::Above);
        assert_eq!(judge(-0.5, Some((-0.9, -0.1))), Judgement::Below);
    }
}
