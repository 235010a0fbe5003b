//! netperf's confidence intervals: means over iterations, how far to trust them, and whether to go on.
//!
//! Arithmetic on finished iterations; runs none. The method is netperf 2.7's: two-sided Student intervals for
//! throughput and for the CPU utilisation of either end, each as a share of its mean.

use std::time::Duration;

use super::tables::MachineLoad;

/// Confidence levels that netperf knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// 95 percent.
    Percent95,
    /// 99 percent.
    Percent99,
}

impl Level {
    /// The level in percent.
    pub(crate) fn percent(self) -> u8 {
        match self {
            Self::Percent95 => 95,
            Self::Percent99 => 99,
        }
    }

    /// The two-sided quantile of Student's distribution, as netperf's table has it: three decimals, up to 30
    /// degrees of freedom; more count as 30.
    fn quantile(self, degrees: usize) -> f64 {
        const PERCENT_95: [f64; 30] = [
            12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
            2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052,
            2.048, 2.045, 2.042,
        ];
        const PERCENT_99: [f64; 30] = [
            63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012,
            2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771,
            2.763, 2.756, 2.750,
        ];
        let table = match self {
            Self::Percent95 => &PERCENT_95,
            Self::Percent99 => &PERCENT_99,
        };
        table[degrees.clamp(1, table.len()) - 1]
    }
}

/// How sure the result is to be, and what that may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Goal {
    /// The confidence level.
    pub(crate) level: Level,
    /// Width of the interval, both halves, in percent of the mean.
    pub(crate) width_percent: f64,
    /// Iterations that are made in any case.
    pub(crate) min_iterations: u32,
    /// Iterations after which it is given up. With 1 nothing is judged.
    pub(crate) max_iterations: u32,
    /// CPU utilisation is not judged.
    pub(crate) result_only: bool,
}

impl Goal {
    /// One iteration and no judgement: netperf without `-i` and `-I`.
    pub(crate) fn once() -> Self {
        Self {
            level: Level::Percent99,
            width_percent: 0.0,
            min_iterations: 1,
            max_iterations: 1,
            result_only: false,
        }
    }
}

/// What one iteration came to, or the means of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Iteration {
    /// In the unit that is printed.
    pub(crate) throughput: f64,
    /// By the clock of this end.
    pub(crate) elapsed: Duration,
    /// CPU of this end's machine, if measured.
    pub(crate) local: Option<MachineLoad>,
    /// CPU of the other end's machine, if measured.
    pub(crate) remote: Option<MachineLoad>,
}

/// Widths of the intervals, both halves, in percent of the mean. 0 for what is not measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Widths {
    /// Of the throughput.
    pub(crate) throughput: f64,
    /// Of the CPU utilisation of this end.
    pub(crate) local_cpu: f64,
    /// Of the CPU utilisation of the other end.
    pub(crate) remote_cpu: f64,
}

impl Widths {
    /// The block that says that the goal was missed, with the empty line after it.
    pub(crate) fn warning(&self) -> String {
        format!(
            "!!! WARNING\n\
             !!! Desired confidence was not achieved within the specified iterations.\n\
             !!! This implies that there was variability in the test environment that\n\
             !!! must be investigated before going further.\n\
             !!! Confidence intervals: Throughput      : {:>4.3}%\n\
             !!!                       Local CPU util  : {:>4.3}%\n\
             !!!                       Remote CPU util : {:>4.3}%\n\
             \n",
            self.throughput, self.local_cpu, self.remote_cpu
        )
    }
}

/// The iterations so far.
#[derive(Clone, Debug)]
pub(crate) struct Confidence {
    goal: Goal,
    iterations: Vec<Iteration>,
}

impl Confidence {
    /// No iteration yet.
    pub(crate) fn new(goal: Goal) -> Self {
        Self { goal, iterations: Vec::new() }
    }

    /// Adds a finished iteration.
    pub(crate) fn push(&mut self, iteration: Iteration) {
        self.iterations.push(iteration);
    }

    /// Finished iterations.
    pub(crate) fn iterations(&self) -> u32 {
        u32::try_from(self.iterations.len()).unwrap_or(u32::MAX)
    }

    /// Whether the goal asks for one more iteration.
    pub(crate) fn wants_another(&self) -> bool {
        let below = |limit: u32| self.iterations.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        below(self.goal.min_iterations) || (below(self.goal.max_iterations) && !self.is_met())
    }

    /// The means, as netperf reports them; `None` before the first iteration.
    ///
    /// The load of an end is known if every iteration measured it. How it was measured is told by the last.
    pub(crate) fn means(&self) -> Option<Iteration> {
        let last = self.iterations.last()?;
        let count = u32::try_from(self.iterations.len()).ok()?;
        let elapsed: Duration = self.iterations.iter().map(|one| one.elapsed).sum();
        Some(Iteration {
            throughput: mean(&self.every(|one| Some(one.throughput))?),
            elapsed: elapsed / count,
            local: self.mean_load(last.local, |one| one.local),
            remote: self.mean_load(last.remote, |one| one.remote),
        })
    }

    /// How wide the intervals are now; infinite before the second iteration.
    pub(crate) fn widths(&self) -> Widths {
        let width = |figures: Option<Vec<f64>>| figures.map_or(0.0, |figures| self.width_percent(&figures));
        Widths {
            throughput: width(self.every(|one| Some(one.throughput))),
            local_cpu: width(self.every(|one| Some(one.local?.utilisation_percent))),
            remote_cpu: width(self.every(|one| Some(one.remote?.utilisation_percent))),
        }
    }

    /// The block to print, if more than one iteration was allowed and the goal was missed all the same.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.goal.max_iterations > 1 && !self.is_met()).then(|| self.widths().warning())
    }

    fn is_met(&self) -> bool {
        let Widths { throughput, local_cpu, remote_cpu } = self.widths();
        let widest =
            if self.goal.result_only { throughput } else { throughput.max(local_cpu).max(remote_cpu) };
        widest <= self.goal.width_percent
    }

    /// Twice the quantile times the standard error of the mean, over the mean. netperf's variance is that of
    /// the population, and its standard error has n - 1 under it.
    fn width_percent(&self, figures: &[f64]) -> f64 {
        let degrees = figures.len().saturating_sub(1);
        if degrees == 0 {
            return f64::INFINITY;
        }
        let mean = mean(figures);
        let variance =
            figures.iter().map(|figure| (figure - mean).powi(2)).sum::<f64>() / figures.len() as f64;
        if variance == 0.0 {
            return 0.0;
        }
        200.0 * self.goal.level.quantile(degrees) * (variance / degrees as f64).sqrt() / mean
    }

    fn mean_load(
        &self,
        last: Option<MachineLoad>,
        load: impl Fn(&Iteration) -> Option<MachineLoad>,
    ) -> Option<MachineLoad> {
        Some(MachineLoad {
            method: last?.method,
            utilisation_percent: mean(&self.every(|one| Some(load(one)?.utilisation_percent))?),
            service_demand: self.every(|one| load(one)?.service_demand).map(|figures| mean(&figures)),
        })
    }

    /// One figure of each iteration, if all have it.
    fn every(&self, figure: impl Fn(&Iteration) -> Option<f64>) -> Option<Vec<f64>> {
        self.iterations.iter().map(figure).collect()
    }
}

/// The arithmetic mean of one figure or more.
fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(level: Level, width_percent: f64, iterations: (u32, u32)) -> Goal {
        let (min_iterations, max_iterations) = iterations;
        Goal { level, width_percent, min_iterations, max_iterations, result_only: false }
    }

    fn load(utilisation_percent: f64, service_demand: f64) -> Option<MachineLoad> {
        Some(MachineLoad { utilisation_percent, service_demand: Some(service_demand), method: 8 })
    }

    fn iteration(throughput: f64, local: Option<MachineLoad>, remote: Option<MachineLoad>) -> Iteration {
        Iteration { throughput, elapsed: Duration::from_secs(1), local, remote }
    }

    /// What a stock netperf 2.7.0 told with `-d -c -C -i 3,3 -I 99,0.001` of its iterations.
    fn of_netperf() -> [Iteration; 3] {
        let figures = [
            (23_542.152_237, 1_000_371, 74.868_088, 0.521_039),
            (20_972.179_573, 1_000_756, 76.829_269, 0.600_210),
            (17_686.488_528, 1_002_370, 93.478_256, 0.865_942),
        ];
        figures.map(|(throughput, microseconds, utilisation, demand)| Iteration {
            throughput,
            elapsed: Duration::from_micros(microseconds),
            local: load(utilisation, demand),
            remote: load(utilisation, demand),
        })
    }

    #[test]
    fn figures_are_those_of_netperf() {
        let mut confidence = Confidence::new(goal(Level::Percent99, 0.001, (3, 3)));
        let [first, second, third] = of_netperf();
        confidence.push(first);
        confidence.push(second);
        let widths = confidence.widths();
        assert_eq!(format!("{:.1} {:.1}", widths.throughput, widths.local_cpu), "735.0 164.6");
        confidence.push(third);
        assert!(!confidence.wants_another());
        let warning = confidence.warning().expect("the goal was missed");
        assert!(warning.ends_with(
            "Throughput      : 162.237%\n\
             !!!                       Local CPU util  : 143.394%\n\
             !!!                       Remote CPU util : 143.394%\n\n"
        ));
        let means = confidence.means().expect("three iterations were made");
        let local = means.local.expect("it was measured");
        let demand = local.service_demand.expect("bytes were sent");
        let elapsed = means.elapsed.as_secs_f64();
        assert_eq!(
            format!("{elapsed:.2} {:.2} {:.2} {demand:.3}", means.throughput, local.utilisation_percent),
            "1.00 20733.61 81.73 0.662"
        );
    }

    #[test]
    fn iterations_end_at_the_goal_or_the_maximum() {
        let mut narrow = Confidence::new(goal(Level::Percent95, 1.0, (2, 4)));
        let mut made = 0;
        while narrow.wants_another() {
            made += 1;
            narrow.push(iteration(f64::from(made), None, None));
        }
        assert_eq!((made, narrow.warning().is_some()), (4, true));

        let mut steady = Confidence::new(goal(Level::Percent95, 1.0, (3, 10)));
        let mut made = 0;
        while steady.wants_another() {
            made += 1;
            steady.push(iteration(100.0, None, None));
        }
        assert_eq!((made, steady.warning()), (3, None));
    }

    #[test]
    fn one_iteration_is_not_judged() {
        let mut once = Confidence::new(Goal::once());
        assert_eq!((once.wants_another(), once.means()), (true, None));
        once.push(of_netperf()[0]);
        assert_eq!((once.wants_another(), once.warning()), (false, None));
        assert_eq!(once.means(), Some(of_netperf()[0]));
    }

    #[test]
    fn cpu_is_judged_unless_only_the_result_is() {
        let steady = |local| iteration(100.0, local, None);
        let mut goal = goal(Level::Percent95, 5.0, (2, 3));
        for result_only in [false, true] {
            goal.result_only = result_only;
            let mut confidence = Confidence::new(goal);
            confidence.push(steady(load(10.0, 1.0)));
            confidence.push(steady(load(90.0, 1.0)));
            assert_eq!(confidence.wants_another(), !result_only);
            assert_eq!(confidence.warning().is_none(), result_only);
            // 2 x 12.706 x sqrt(40^2 / 1) / 50
            assert_eq!(format!("{:.3}", confidence.widths().local_cpu), "2032.960");
            assert_eq!(confidence.widths().remote_cpu, 0.0);
        }
    }

    #[test]
    fn a_load_counts_only_if_always_measured() {
        let mut confidence = Confidence::new(goal(Level::Percent95, 5.0, (2, 3)));
        let without_demand = MachineLoad { utilisation_percent: 1.0, service_demand: None, method: 8 };
        confidence.push(iteration(0.0, load(10.0, 1.0), load(3.0, 1.0)));
        confidence.push(iteration(0.0, None, Some(without_demand)));
        let means = confidence.means().expect("two iterations were made");
        assert_eq!(means.local, None);
        assert_eq!(means.remote, Some(MachineLoad { utilisation_percent: 2.0, ..without_demand }));
        assert_eq!((confidence.widths().throughput, confidence.widths().local_cpu), (0.0, 0.0));
    }

    #[test]
    fn quantiles_have_an_end() {
        assert_eq!(Level::Percent95.quantile(1), 12.706);
        assert_eq!(Level::Percent99.quantile(29), 2.756);
        assert_eq!(Level::Percent99.quantile(31), Level::Percent99.quantile(30));
    }
}
