//! A straight line through samples, by least squares, with the interval of its slope.
//!
//! Pure arithmetic. The interval takes the samples' distances from the line for independent of each other; a
//! heap that moves in steps makes it narrower than it should be.

/// A line's slope and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slope {
    /// Units of y for one of x.
    pub(super) value: f64,
    /// Half the width of the interval that covers it with 95 %.
    pub(super) margin: f64,
    /// Samples it was drawn through.
    pub(super) count: usize,
}

/// Fewest samples of which a slope is told.
const COUNT_MIN: usize = 10;

impl Slope {
    /// Of these points; `None` of fewer than ten, or where all have one x.
    pub(super) fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len();
        if count < COUNT_MIN {
            return None;
        }
        let n = count as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|point| (point.0 - mean_x).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let product: f64 = points.iter().map(|point| (point.0 - mean_x) * (point.1 - mean_y)).sum();
        let value = product / spread;
        let off = |point: &(f64, f64)| (point.1 - mean_y - value * (point.0 - mean_x)).powi(2);
        let freedom = n - 2.0;
        let error = (points.iter().map(off).sum::<f64>() / freedom / spread).sqrt();
        Some(Self { value, margin: error * quantile(freedom), count })
    }

    /// The interval's upper end.
    pub(super) fn high(&self) -> f64 {
        self.value + self.margin
    }

    /// The interval's lower end.
    pub(super) fn low(&self) -> f64 {
        self.value - self.margin
    }
}

/// The 97.5 % quantile of Student's distribution, by its expansion around the normal one (Abramowitz and
/// Stegun 26.7.5): from eight degrees of freedom on it is off by less than one in a thousand.
fn quantile(freedom: f64) -> f64 {
    1.959_964 + 2.372_271 / freedom + 2.822_50 / freedom.powi(2) + 2.555_85 / freedom.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_exactly() {
        let points: Vec<(f64, f64)> = (0..20).map(|x| (f64::from(x), 3.0 - 0.5 * f64::from(x))).collect();
        let slope = Slope::through(&points).unwrap();
        assert!((slope.value + 0.5).abs() < 1e-12 && slope.margin < 1e-9, "{slope:?}");
        assert_eq!(slope.count, 20);
    }

    // x from 1 to 10; y = 2, 1, 4, 3, 6, 5, 8, 7, 10, 9: slope 0.939394, its standard error 0.121212, and
    // Student's quantile for 8 degrees of freedom 2.306.
    #[test]
    fn the_interval_is_that_of_the_tables() {
        let points: Vec<(f64, f64)> =
            (1..=10_i32).map(|x| (f64::from(x), f64::from(if x % 2 == 1 { x + 1 } else { x - 1 }))).collect();
        let slope = Slope::through(&points).unwrap();
        assert!((slope.value - 0.939_394).abs() < 1e-6, "{slope:?}");
        assert!((slope.margin - 0.121_212 * 2.306).abs() < 1e-3, "{slope:?}");
        assert!(slope.low() < slope.value && slope.value < slope.high());
    }

    #[test]
    fn too_few_points_have_no_slope() {
        assert_eq!(Slope::through(&[(0.0, 1.0); 9]), None);
        assert_eq!(Slope::through(&[(0.0, 1.0); 20]), None);
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [(8.0, 2.306), (10.0, 2.228), (30.0, 2.042), (1000.0, 1.962)] {
            assert!((quantile(freedom) - expected).abs() < 2.5e-3, "{freedom}: {}", quantile(freedom));
        }
    }
}
