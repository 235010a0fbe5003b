//! How far a curve lies from the base's, and how sure that is: the signed area, and a bootstrap of it.
//!
//! Arithmetic on numbers; what they are of, and what follows from them, is decided elsewhere.

use crate::statistics::Spread;

/// A point of two curves: x, the results of the base there, and the other's.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// Value of the parameter.
    pub(super) x: f64,
    /// Results of the base, at least one.
    pub(super) base: Vec<f64>,
    /// Results of the other, at least one.
    pub(super) other: Vec<f64>,
}

/// Resamples of a bootstrap: the ends of an interval of 95 % then have 50 of them outside.
pub(super) const RESAMPLES: usize = 2000;

/// Where every bootstrap begins, so that the same store gives the same interval.
const SEED: u64 = 0x7269_6e67_7065_7266;

/// Share of the resamples on either side of an interval.
const TAIL: f64 = 0.025;

/// The area between the normalised curve and 1, by trapezoids: what lies above counts as positive. In units
/// of x. Points ascend; of fewer than two there is none.
pub(super) fn signed_area(points: &[(f64, f64)]) -> Option<f64> {
    let pairs = points.windows(2);
    (points.len() >= 2).then(|| {
        pairs.map(|pair| (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1 - 1.0, pair[1].1 - 1.0)).sum()
    })
}

/// How far the curve lies above 1 on average: the area over its width; of one point the point itself.
/// `None` of none.
pub(super) fn mean_difference(points: &[(f64, f64)]) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    match signed_area(points) {
        Some(area) => Some(area / (last.0 - first.0)),
        None => Some(first.1 - 1.0),
    }
}

/// The curve of medians over the base's. Points where the base is zero have no ratio and are left out.
pub(super) fn ratios(points: &[Common]) -> Vec<(f64, f64)> {
    let median = |results: &[f64]| Spread::of(results.iter().copied()).map(|spread| spread.median);
    let ratio = |point: &Common| Some((point.x, median(&point.other)? / median(&point.base)?));
    points.iter().filter_map(ratio).filter(|(_, ratio)| ratio.is_finite()).collect()
}

/// Mean differences of the curve when results are drawn anew, with replacement, from those at each x (Efron
/// and Tibshirani, An Introduction to the Bootstrap, chapter 6). The n-th resample of one base is the same
/// for whatever is set against it. Empty where some x has a single result, which nothing can be drawn from.
pub(super) fn resampled(points: &[Common]) -> Vec<f64> {
    if points.is_empty() || points.iter().any(|point| point.base.len() < 2 || point.other.len() < 2) {
        return Vec::new();
    }
    let resample = |number: usize| {
        let drawn: Vec<Common> = points
            .iter()
            .map(|point| Common {
                x: point.x,
                base: draw(&point.base, number, point.x, 0),
                other: draw(&point.other, number, point.x, 1),
            })
            .collect();
        mean_difference(&ratios(&drawn))
    };
    (0..RESAMPLES).filter_map(resample).collect()
}

/// As many as there are, with replacement. What is drawn depends on the place it is drawn for alone.
fn draw(results: &[f64], number: usize, x: f64, which: u64) -> Vec<f64> {
    let mut state = SEED ^ mixed(number as u64 + 1) ^ mixed(x.to_bits()).rotate_left(17) ^ mixed(which + 7);
    let index = |random: u64| ((u128::from(random) * results.len() as u128) >> 64) as usize;
    results
        .iter()
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            results[index(mixed(state))]
        })
        .collect()
}

/// The output function of splitmix64 (Steele, Lea and Flood, 2014).
fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The interval that leaves 2.5 % of the resamples on either side. `None` where there are too few.
pub(super) fn interval(resamples: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = resamples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let outside = (sorted.len() as f64 * TAIL) as usize;
    if outside == 0 {
        return None;
    }
    Some((*sorted.get(outside)?, *sorted.get(sorted.len() - 1 - outside)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_area_is_signed_and_in_units_of_x() {
        assert_eq!(signed_area(&[(0.0, 1.5), (10.0, 1.5)]), Some(5.0));
        assert_eq!(signed_area(&[(0.0, 0.5), (10.0, 0.5)]), Some(-5.0));
        // Above and below by the same cancel out.
        assert_eq!(signed_area(&[(0.0, 2.0), (10.0, 0.0)]), Some(0.0));
        // Points that lie far apart count for more.
        assert_eq!(signed_area(&[(0.0, 1.0), (1.0, 2.0), (11.0, 2.0)]), Some(10.5));
        assert_eq!(signed_area(&[(5.0, 2.0)]), None);
        assert_eq!(mean_difference(&[(0.0, 1.5), (10.0, 1.5)]), Some(0.5));
        assert_eq!(mean_difference(&[(5.0, 2.0)]), Some(1.0));
        assert_eq!(mean_difference(&[]), None);
    }

    fn points(results: &[(f64, &[f64], &[f64])]) -> Vec<Common> {
        let common = |(x, base, other): &(f64, &[f64], &[f64])| Common {
            x: *x,
            base: base.to_vec(),
            other: other.to_vec(),
        };
        results.iter().map(common).collect()
    }

    #[test]
    fn a_base_of_zero_has_no_ratio() {
        let some = points(&[(1.0, &[0.0], &[5.0]), (2.0, &[4.0], &[2.0])]);
        assert_eq!(ratios(&some), [(2.0, 0.5)]);
    }

    #[test]
    fn a_bootstrap_needs_repetitions_and_gives_the_same_each_time() {
        let once = points(&[(1.0, &[1.0], &[1.0, 2.0])]);
        assert!(resampled(&once).is_empty() && interval(&[]).is_none());
        let noisy = points(&[
            (1.0, &[100.0, 90.0, 110.0], &[50.0, 45.0, 60.0]),
            (2.0, &[100.0, 105.0, 95.0], &[50.0, 55.0, 40.0]),
        ]);
        let resamples = resampled(&noisy);
        assert_eq!((resamples.len(), &resamples), (RESAMPLES, &resampled(&noisy)));
        let (low, high) = interval(&resamples).expect("there are many");
        assert!(-0.62 < low && low < -0.5 && -0.5 < high && high < -0.38, "{low} {high}");
    }

    #[test]
    fn steady_results_have_a_narrow_interval() {
        let steady = points(&[(1.0, &[100.0, 100.1], &[80.0, 80.1]), (9.0, &[100.0, 100.2], &[80.0, 80.0])]);
        let (low, high) = interval(&resampled(&steady)).expect("there are many");
        assert!(low <= -0.199 && high >= -0.202 && high - low < 0.01, "{low} {high}");
    }

    proptest! {
        /// What both curves are scaled by, or x is moved by, changes no difference.
        #[test]
        fn differences_have_no_unit(
            results in prop::collection::vec((1.0..1e9, 1.0..1e9), 2..20),
            scale in 1e-3..1e3,
        ) {
            let at = |index: usize, shift: f64, scale: f64, (base, other): &(f64, f64)| Common {
                x: index as f64 + shift, base: vec![base * scale], other: vec![other * scale],
            };
            let plain: Vec<Common> = results.iter().enumerate().map(|(i, r)| at(i, 0.0, 1.0, r)).collect();
            let moved: Vec<Common> = results.iter().enumerate().map(|(i, r)| at(i, 64.0, scale, r)).collect();
            let one = mean_difference(&ratios(&plain)).expect("has points");
            let two = mean_difference(&ratios(&moved)).expect("has points");
            prop_assert!((one - two).abs() <= 1e-9 * one.abs().max(1.0), "{one} {two}");
        }
    }
}
