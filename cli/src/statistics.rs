//! Medians, and how far they can be trusted.
//!
//! Arithmetic on a few numbers, without assumptions about how they are distributed. What the numbers are is
//! the business of whoever has them.

use serde::Serialize;

/// What the interval of an [`Estimate`] is to reach where there are enough numbers, as a probability.
const COVERAGE: f64 = 0.95;

/// The middle of some numbers, and their extremes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The one in the middle; of an even count the mean of the two there.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) lowest: f64,
    /// The highest.
    pub(crate) highest: f64,
}

/// A median, and an interval for the median of all the numbers that there could have been.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// The median of the numbers at hand.
    pub(crate) median: f64,
    /// Lower end of the interval.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
    /// Probability that the interval covers what it is for; 0 for a single number.
    pub(crate) coverage: f64,
    /// How many numbers it is from.
    pub(crate) count: usize,
}

impl Spread {
    /// `None` of no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(numbers);
        Some(Self { median: median(&sorted)?, lowest: *sorted.first()?, highest: *sorted.last()? })
    }
}

impl Estimate {
    /// The interval is that between the k-th number from below and the k-th from above. It misses the median
    /// of all numbers only where fewer than k lie on one side of it, each of `n` with probability 1/2:
    /// 2 x sum of C(n, i) / 2^n over i < k (David and Nagaraja, Order Statistics, 7.1). The largest k is
    /// taken whose interval covers with [`COVERAGE`], else the whole range. `None` of no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(numbers);
        let count = sorted.len();
        let median = median(&sorted)?;
        let (mut chosen, mut missed) = (0, 2.0 * tail(count, 0));
        for k in 1..count / 2 {
            let would_miss = (0..=k).map(|i| 2.0 * tail(count, i)).sum::<f64>();
            if 1.0 - would_miss >= COVERAGE {
                (chosen, missed) = (k, would_miss);
            }
        }
        let (low, high) = (*sorted.get(chosen)?, *sorted.get(count - 1 - chosen)?);
        Some(Self { median, low, high, coverage: (1.0 - missed).max(0.0), count })
    }
}

/// C(n, i) / 2^n: the probability that `i` of `n` lie below the median.
fn tail(n: usize, i: usize) -> f64 {
    (0..i).fold(0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX)), |probability, taken| {
        probability * (n - taken) as f64 / (taken + 1) as f64
    })
}

/// In ascending order, without what is no number.
fn sorted(numbers: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = numbers.into_iter().filter(|number| number.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (below, above) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*below, *above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0]), Some(Spread { median: 3.0, lowest: 3.0, highest: 3.0 }));
        assert_eq!(Spread::of([9.0, 1.0, 3.0]), Some(Spread { median: 3.0, lowest: 1.0, highest: 9.0 }));
        assert_eq!(Spread::of([4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of([f64::NAN, 2.0]).map(|spread| spread.highest), Some(2.0));
    }

    /// The known table of such intervals: n = 5 has 93.75 %, 6 to 8 need the whole range, 9 the second
    /// numbers, 12 the third, 20 the sixth.
    #[test]
    fn intervals_are_those_of_order_statistics() {
        let interval = |n: u32| {
            let estimate = Estimate::of((1..=n).map(f64::from)).expect("there are numbers");
            (estimate.low, estimate.high, (estimate.coverage * 1e4).round() / 1e4)
        };
        assert_eq!(interval(1), (1.0, 1.0, 0.0));
        assert_eq!(interval(2), (1.0, 2.0, 0.5));
        assert_eq!(interval(5), (1.0, 5.0, 0.9375));
        assert_eq!(interval(8), (1.0, 8.0, 0.9922));
        assert_eq!(interval(9), (2.0, 8.0, 0.9609));
        assert_eq!(interval(12), (3.0, 10.0, 0.9614));
        assert_eq!(interval(20), (6.0, 15.0, 0.9586));
        assert_eq!(Estimate::of([]), None);
    }
}
