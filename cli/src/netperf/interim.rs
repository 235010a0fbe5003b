//! Interim results: what is printed of the progress of a test while it goes on (`-D`).
//!
//! Turns counts into lines and prints them at once. When there is something to print is the engine's
//! business; what a count is of, the test's.

use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use ringperf_engine::outcome::Sample;

use super::say::Output;
use super::selectors::Style;
use super::units::Unit;

/// Reports that may wait to be printed. A terminal that does not keep up with more loses some.
pub(crate) const WAITING_MAX: usize = 1024;

/// How lines look, and how many there were, over all iterations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    /// That of the result: by selectors or, `None`, classic.
    style: Option<Style>,
    unit: Unit,
    printed: u64,
}

impl Lines {
    /// None printed yet.
    pub(crate) fn new(style: Option<Style>, unit: Unit) -> Self {
        Self { style, unit, printed: 0 }
    }

    /// The lines for so many bytes, or transactions, in the time that ended at `end`.
    fn next(&mut self, counted: u64, covered: Duration, end: SystemTime) -> String {
        let (rate, unit) = (self.unit.rate(counted, covered), self.unit.word());
        let seconds = covered.as_secs_f64();
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let end = format!("{}.{:03}", end.as_secs(), end.subsec_millis());
        let index = self.printed;
        self.printed += 1;
        match self.style {
            None | Some(Style::Human) => {
                format!("Interim result: {rate:>7.2} {unit}/s over {seconds:.3} seconds ending at {end}\n")
            }
            Some(Style::Csv) => format!("{rate:>7.2},{unit}/s,{seconds:.3},{end}\n"),
            Some(Style::KeyValue) => format!(
                "NETPERF_INTERIM_RESULT[{index}]={rate:.2}\nNETPERF_UNITS[{index}]={unit}/s\n\
                 NETPERF_INTERVAL[{index}]={seconds:.3}\nNETPERF_ENDING[{index}]={end}\n"
            ),
        }
    }
}

/// The interim results of one iteration.
pub(crate) struct Interims<'a> {
    lines: &'a mut Lines,
    output: &'a mut Output,
    /// What of a report is counted.
    count: &'a (dyn Fn(&Sample) -> u64 + Sync),
    /// When the iteration began.
    began: SystemTime,
    /// What was told last, and of when.
    told: (u64, Duration),
}

impl<'a> Interims<'a> {
    /// Nothing told yet of an iteration that begins now.
    pub(crate) fn new(
        lines: &'a mut Lines,
        output: &'a mut Output,
        count: &'a (dyn Fn(&Sample) -> u64 + Sync),
        began: SystemTime,
    ) -> Self {
        Self { lines, output, count, began, told: (0, Duration::ZERO) }
    }

    /// Prints every report as it comes, until nobody is left to send one.
    pub(crate) fn follow(mut self, reports: &Receiver<Sample>) -> Self {
        for report in reports {
            self.tell(&report);
        }
        self
    }

    /// Prints what an iteration came to since the last report, if anything. Where the first report is also
    /// the last one, that is all of it.
    pub(crate) fn finish(&mut self, total: &Sample) {
        self.tell(total);
    }

    /// Prints what came since the last line. netperf looks at its clock after an operation only: where there
    /// was none, there is no line, and the next one covers the time. flent gives up on a rate of zero.
    fn tell(&mut self, report: &Sample) {
        let (before, since) = self.told;
        let counted = (self.count)(report);
        if counted <= before {
            return;
        }
        self.told = (counted, report.at);
        let covered = report.at.saturating_sub(since);
        let text = self.lines.next(counted.saturating_sub(before), covered, self.began + report.at);
        self.output.say_at_once(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(style: Option<Style>) -> (String, String) {
        let mut lines = Lines::new(style, Unit::Megabits);
        let end = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_350_981_079);
        let first = lines.next(1_250_000, Duration::from_millis(250), end);
        let second = lines.next(0, Duration::from_millis(3), end + Duration::from_millis(1921));
        (first, second)
    }

    #[test]
    fn lines_have_the_form_of_the_result() {
        let plain = (
            "Interim result:   40.00 10^6bits/s over 0.250 seconds ending at 1795350981.079\n".to_owned(),
            "Interim result:    0.00 10^6bits/s over 0.003 seconds ending at 1795350983.000\n".to_owned(),
        );
        assert_eq!(lines(Some(Style::Human)), plain);
        assert_eq!(lines(None), plain);
        assert_eq!(lines(Some(Style::Csv)).0, "  40.00,10^6bits/s,0.250,1795350981.079\n");
        let (first, second) = lines(Some(Style::KeyValue));
        assert_eq!(
            first,
            "NETPERF_INTERIM_RESULT[0]=40.00\nNETPERF_UNITS[0]=10^6bits/s\nNETPERF_INTERVAL[0]=0.250\n\
             NETPERF_ENDING[0]=1795350981.079\n"
        );
        assert!(second.starts_with("NETPERF_INTERIM_RESULT[1]=0.00\n"), "{second}");
    }
}
