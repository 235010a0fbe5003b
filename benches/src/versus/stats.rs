//! Medians with an interval that assumes nothing about the distribution, and what such an interval says about
//! a target.
//!
//! Pure arithmetic; it knows neither tools nor metrics.

/// Least coverage of the interval of a median.
const COVERAGE_MIN: f64 = 0.95;

/// Pairs below which no target counts as met or missed.
pub(super) const PAIRS_MIN: usize = 10;

/// The median of a sample and where the median of what it was drawn from lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// Median of the sample.
    pub(super) median: f64,
    /// Interval of the sign test, absent where so few values allow none.
    pub(super) interval: Option<Interval>,
    /// Size of the sample.
    pub(super) pairs: usize,
}

/// An interval between two values of the sample itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    /// Its lower end.
    pub(super) low: f64,
    /// Its upper end.
    pub(super) high: f64,
    /// Probability that it contains the median, at least, whatever the distribution.
    pub(super) coverage: f64,
}

impl Estimate {
    /// Of these values; `None` of none.
    ///
    /// The interval runs from the k-th lowest to the k-th highest value. It misses the median if fewer than k
    /// of n values lie on one side of it, and each lies there with probability 1/2, so its coverage is
    /// 1 - 2 P(B < k) with B binomial (n, 1/2); k is the largest that keeps 95 %.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (lower, upper) = (*sorted.get(sorted.len().checked_sub(1)? / 2)?, *sorted.get(sorted.len() / 2)?);
        let interval = rank(sorted.len()).map(|(k, coverage)| Interval {
            low: sorted[k - 1],
            high: sorted[sorted.len() - k],
            coverage,
        });
        Some(Self { median: f64::midpoint(lower, upper), interval, pairs: sorted.len() })
    }
}

/// The k of the interval of n values, and its coverage.
fn rank(n: usize) -> Option<(usize, f64)> {
    let mut probability = 0.5_f64.powi(i32::try_from(n).ok()?);
    let (mut below, mut best) = (0.0, None);
    for k in 1..=n / 2 {
        // P(B < k), one term more each time
        below += probability;
        probability *= (n - k + 1) as f64 / k as f64;
        let coverage = 1.0 - 2.0 * below;
        if coverage < COVERAGE_MIN {
            break;
        }
        best = Some((k, coverage));
    }
    best
}

/// The side of a limit on which a target is met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    /// The limit or above.
    AtLeast,
    /// The limit or below.
    AtMost,
}

impl Side {
    /// Whether a value is on this side of a limit.
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtLeast => value >= limit,
            Self::AtMost => value <= limit,
        }
    }
}

/// What an estimate says about a target.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The whole interval is on the target's side.
    Met {
        /// It is beyond the second, harder limit as well.
        beyond: bool,
    },
    /// The whole interval is on the other side.
    Missed,
    /// Neither, or too few pairs to say.
    Undecided(String),
    /// There is no estimate, for this reason.
    NotMeasured(String),
}

impl Verdict {
    /// Of an estimate against a limit, and a harder one that is only told of when reached.
    pub(super) fn of(estimate: &Estimate, side: Side, limit: f64, beyond: Option<f64>) -> Self {
        let pairs = estimate.pairs;
        if pairs < PAIRS_MIN {
            return Self::Undecided(format!("{pairs} pairs, {PAIRS_MIN} are needed"));
        }
        let Some(interval) = estimate.interval else {
            return Self::Undecided(format!("{pairs} pairs give no interval"));
        };
        let ends = [interval.low, interval.high];
        if ends.iter().all(|end| side.holds(*end, limit)) {
            let beyond = beyond.is_some_and(|beyond| ends.iter().all(|end| side.holds(*end, beyond)));
            Self::Met { beyond }
        } else if ends.iter().any(|end| side.holds(*end, limit)) {
            Self::Undecided("the interval contains the limit".to_owned())
        } else {
            Self::Missed
        }
    }

    /// That of a row: missed with one target that is, met only with all.
    pub(super) fn of_all(verdicts: &[Self]) -> Self {
        let worst = |wanted: fn(&Self) -> bool| verdicts.iter().find(|verdict| wanted(verdict)).cloned();
        worst(|verdict| matches!(verdict, Self::Missed))
            .or_else(|| worst(|verdict| matches!(verdict, Self::NotMeasured(_))))
            .or_else(|| worst(|verdict| matches!(verdict, Self::Undecided(_))))
            .unwrap_or_else(|| match verdicts {
                [] => Self::NotMeasured("no target".to_owned()),
                _ => Self::Met { beyond: verdicts.iter().all(|v| *v == Self::Met { beyond: true }) },
            })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Met { beyond: false } => out.write_str("**met**"),
            Self::Met { beyond: true } => out.write_str("**met**, and beyond"),
            Self::Missed => out.write_str("**missed**"),
            Self::Undecided(why) => write!(out, "undecided: {why}"),
            Self::NotMeasured(why) => write!(out, "not measured: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(values: impl IntoIterator<Item = u32>) -> Estimate {
        Estimate::of(&values.into_iter().map(f64::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn medians_of_odd_and_even_samples() {
        assert_eq!(estimate([3, 1, 2]).median, 2.0);
        assert_eq!(estimate([4, 1, 3, 2]).median, 2.5);
        assert_eq!(estimate([7]).median, 7.0);
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[f64::NAN]), None);
    }

    // The ranks and coverages of any table of the sign test.
    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        assert_eq!(estimate(1..=5).interval, None);
        let six = estimate(1..=6).interval.unwrap();
        assert_eq!((six.low, six.high), (1.0, 6.0));
        assert!((six.coverage - 0.96875).abs() < 1e-12);
        let ten = estimate(1..=10).interval.unwrap();
        assert_eq!((ten.low, ten.high), (2.0, 9.0));
        assert!((ten.coverage - 0.978_515_625).abs() < 1e-12);
        let twenty = estimate(1..=20).interval.unwrap();
        assert_eq!((twenty.low, twenty.high), (6.0, 15.0));
        assert!((twenty.coverage - 0.958_61).abs() < 1e-5);
    }

    #[test]
    fn a_target_is_met_or_missed_only_by_the_whole_interval() {
        let estimate = estimate(1..=10);
        let verdict = |side, limit, beyond| Verdict::of(&estimate, side, limit, beyond);
        assert_eq!(verdict(Side::AtLeast, 2.0, Some(2.5)), Verdict::Met { beyond: false });
        assert_eq!(verdict(Side::AtLeast, 1.0, Some(2.0)), Verdict::Met { beyond: true });
        assert!(matches!(verdict(Side::AtLeast, 5.0, None), Verdict::Undecided(_)));
        assert_eq!(verdict(Side::AtLeast, 9.5, None), Verdict::Missed);
        assert_eq!(verdict(Side::AtMost, 9.0, Some(8.0)), Verdict::Met { beyond: false });
        assert_eq!(verdict(Side::AtMost, 1.9, None), Verdict::Missed);
    }

    #[test]
    fn few_pairs_decide_nothing() {
        let nine = estimate(101..=109);
        assert!(nine.interval.is_some());
        assert!(matches!(Verdict::of(&nine, Side::AtLeast, 1.0, None), Verdict::Undecided(_)));
        assert!(matches!(Verdict::of(&nine, Side::AtMost, 1.0, None), Verdict::Undecided(_)));
    }

    #[test]
    fn a_row_is_as_good_as_its_worst_target() {
        let met = Verdict::Met { beyond: false };
        let beyond = Verdict::Met { beyond: true };
        let open = Verdict::Undecided(String::new());
        let absent = Verdict::NotMeasured(String::new());
        let all = |verdicts: &[&Verdict]| {
            Verdict::of_all(&verdicts.iter().map(|verdict| (*verdict).clone()).collect::<Vec<_>>())
        };
        assert_eq!(all(&[&met, &beyond]), met);
        assert_eq!(all(&[&beyond, &beyond]), beyond);
        assert_eq!(all(&[&met, &open, &absent]), absent);
        assert_eq!(all(&[&open, &Verdict::Missed, &absent]), Verdict::Missed);
        assert!(matches!(all(&[]), Verdict::NotMeasured(_)));
    }
}
