//! What the soak found, as Markdown: what was held over time, what was done, and the verdicts.
//!
//! It judges what it is given and looks at nothing itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::load::{Count, Tally};
use super::server::{Holding, Said};
use super::slope::Slope;

/// What the netserver held at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Since the begin.
    pub(super) at: Duration,
    /// Nobody was served.
    pub(super) idle: bool,
    /// What it held.
    pub(super) holding: Holding,
    /// Sessions that it had served.
    pub(super) sessions: u64,
    /// Tests that it had run.
    pub(super) tests: u64,
}

/// Everything there is to judge.
#[derive(Debug)]
pub(super) struct Findings {
    /// Facts, a line each.
    pub(super) facts: Vec<String>,
    /// At rest, before anything.
    pub(super) baseline: Holding,
    /// In their order.
    pub(super) samples: Vec<Sample>,
    /// What was done.
    pub(super) tally: Tally,
    /// What the netserver said.
    pub(super) said: Said,
    /// How the netserver ended; `None` where it was not asked to.
    pub(super) end: Option<Result<Duration, String>>,
    /// Why it was cut short.
    pub(super) halted: Option<String>,
}

/// Memory is judged from here on: the allocator and the caches are filled by then.
const SETTLED: Duration = Duration::from_secs(300);

/// Most growth, in KiB an hour.
const GROWTH_MAX_KIB: f64 = 1024.0;

/// The line is not worth drawing over less.
const SPAN_MIN: Duration = Duration::from_secs(600);

/// Of so many tests, one may take too long on a busy machine.
const TESTS_PER_TIMEOUT: u64 = 50;

/// Rows of the table of what was held.
const ROWS: usize = 25;

const WRITES: &str = "writing to a string works";

/// A promise, what was found, and whether it is kept; `None` where that cannot be said.
#[derive(Clone, Debug, PartialEq)]
struct Verdict {
    promise: &'static str,
    found: String,
    met: Option<bool>,
}

impl Findings {
    /// The report, and whether nothing in it is missed.
    pub(super) fn report(&self) -> (String, bool) {
        let verdicts = self.verdicts();
        let mut text = format!("- {}\n\n", self.facts.join("\n- "));
        text.push_str(&self.held());
        text.push_str(&self.done());
        text.push_str("\n## Verdicts\n\n| promise | found | verdict |\n|---|---|---|\n");
        for Verdict { promise, found, met } in &verdicts {
            let word = match met {
                Some(true) => "**met**",
                Some(false) => "**missed**",
                None => "not judged",
            };
            writeln!(text, "| {promise} | {found} | {word} |").expect(WRITES);
        }
        let lines = self.tally.failures.iter().map(|line| format!("failed: {line}"));
        let lines: Vec<String> =
            lines.chain(self.said.kept.iter().map(|l| format!("its log: {l}"))).collect();
        if !lines.is_empty() {
            writeln!(text, "\n- {}", lines.join("\n- ")).expect(WRITES);
        }
        (text, verdicts.iter().all(|verdict| verdict.met != Some(false)))
    }

    /// Every sample, for a program.
    pub(super) fn csv(&self) -> String {
        let mut text = "seconds,idle,rss_kib,anonymous_kib,descriptors,threads,sessions,tests\n".to_owned();
        for Sample { at, idle, holding, sessions, tests } in &self.samples {
            let Holding { resident_kib, anonymous_kib, descriptors, threads, .. } = holding;
            let (at, idle) = (at.as_secs_f64(), u8::from(*idle));
            writeln!(
                text,
                "{at:.1},{idle},{resident_kib},{anonymous_kib},{descriptors},{threads},{sessions},{tests}"
            )
            .expect(WRITES);
        }
        text
    }

    fn at_rest(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.idle)
    }

    /// Idle points, thinned out, each with the most that was held since the one before.
    fn held(&self) -> String {
        let mut text =
            "## What the netserver held\n\n| minute | sessions | tests run | VmRSS, KiB | of it anonymous | \
             descriptors | threads | under load: VmRSS up to | descriptors | threads |\n\
             |---|---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        let points: Vec<usize> = (0..self.samples.len()).filter(|index| self.samples[*index].idle).collect();
        let step = points.len().div_ceil(ROWS).max(1);
        let mut since = 0;
        for (number, index) in points.iter().enumerate() {
            if number % step != 0 && number + 1 != points.len() {
                continue;
            }
            let Sample { at, holding, sessions, tests, .. } = self.samples[*index];
            let loaded = self.samples[since..*index].iter().filter(|sample| !sample.idle);
            let most = |of: fn(&Holding) -> u64| {
                let most = loaded.clone().map(|sample| of(&sample.holding)).max();
                most.map_or_else(|| "-".to_owned(), |most| most.to_string())
            };
            writeln!(
                text,
                "| {:.1} | {sessions} | {tests} | {} | {} | {} | {} | {} | {} | {} |",
                at.as_secs_f64() / 60.0,
                holding.resident_kib,
                holding.anonymous_kib,
                holding.descriptors,
                holding.threads,
                most(|holding| holding.resident_kib),
                most(|holding| holding.descriptors as u64),
                most(|holding| holding.threads as u64),
            )
            .expect(WRITES);
            since = *index;
        }
        text
    }

    /// What was done: a row for each deed, and one for a test whatever became of its client.
    fn done(&self) -> String {
        let mut rows: BTreeMap<&str, [u64; 5]> = BTreeMap::new();
        for (label, Count { done, failed, timed_out }) in &self.tally.counts {
            let (deed, fate) = label.split_once(", SIG").unwrap_or((label, ""));
            let row = rows.entry(deed).or_default();
            row[["", "KILL", "INT"].iter().position(|known| *known == fate).unwrap_or(0)] += done;
            row[3] += failed;
            row[4] += timed_out;
        }
        let mut text = "\n## What was done\n\n| deed | to its end | until SIGKILL | until SIGINT | failed | \
             no end in time |\n|---|---|---|---|---|---|\n"
            .to_owned();
        for (deed, counts) in rows {
            let cells = counts.map(|count| if count == 0 { "-".to_owned() } else { count.to_string() });
            writeln!(text, "| {deed} | {} |", cells.join(" | ")).expect(WRITES);
        }
        text
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let Tally { tests, misdeeds, records, defective, .. } = &self.tally;
        let said = &self.said;
        let mut verdicts = vec![self.memory(), self.flat()];
        let overflowed = self.samples.iter().map(|sample| sample.holding.overflowed).max().unwrap_or(0);
        verdicts.push(Verdict {
            promise: "no completion is dropped",
            found: format!(
                "{defective} of {records} clients' records and {} of the netserver's {} tests tell of it; \
                 most seen in overflow lists: {overflowed}",
                said.defective, said.tests
            ),
            met: Some(*defective == 0 && said.defective == 0 && overflowed == 0),
        });
        verdicts.push(Verdict {
            promise: "no test fails that should not",
            found: format!("{} of {} failed", tests.failed, tests.all()),
            met: Some(tests.failed == 0 && tests.done > 0),
        });
        verdicts.push(Verdict {
            promise: "what should be refused or closed is",
            found: format!("{} of {} were not", misdeeds.failed, misdeeds.all()),
            met: Some(misdeeds.failed == 0),
        });
        let (late, all) = (tests.timed_out + misdeeds.timed_out, tests.all() + misdeeds.all());
        verdicts.push(Verdict {
            promise: "no more than one client in 50 sees no end",
            found: format!("{late} of {all}"),
            met: Some(late * TESTS_PER_TIMEOUT <= all),
        });
        verdicts.push(Verdict {
            promise: "the log has no error, and nobody was turned away",
            found: format!("{} errors, {} turned away", said.errors, said.turned_away),
            met: Some(said.errors == 0 && said.turned_away == 0),
        });
        verdicts.push(self.ended());
        verdicts
    }

    fn memory(&self) -> Verdict {
        let promise = "VmRSS at idle points grows by less than 1 MiB an hour after 5 minutes";
        let points: Vec<(f64, f64)> = self
            .at_rest()
            .filter(|sample| sample.at >= SETTLED)
            .map(|sample| (sample.at.as_secs_f64() / 3600.0, sample.holding.resident_kib as f64))
            .collect();
        let span = match (points.first(), points.last()) {
            (Some(first), Some(last)) => last.0 - first.0,
            _ => 0.0,
        };
        let slope = Slope::through(&points).filter(|_| span >= SPAN_MIN.as_secs_f64() / 3600.0);
        let Some(slope) = slope else {
            let found = format!("{} idle points over {:.1} min past the fifth", points.len(), span * 60.0);
            return Verdict { promise, found, met: None };
        };
        let (low, high) = (slope.low(), slope.high());
        let sides = if low < GROWTH_MAX_KIB && high >= GROWTH_MAX_KIB {
            ": the interval contains the limit, a longer soak decides"
        } else {
            ""
        };
        let found = format!(
            "{:.0} KiB an hour (95 %: {low:.0} to {high:.0}; {} points){sides}",
            slope.value, slope.count
        );
        Verdict { promise, found, met: Some(high < GROWTH_MAX_KIB) }
    }

    fn flat(&self) -> Verdict {
        let Holding { descriptors, threads, .. } = self.baseline;
        let points = self.at_rest().count();
        let off: Vec<String> = self
            .at_rest()
            .filter(|sample| !sample.holding.within(&self.baseline))
            .map(|sample| {
                let Holding { descriptors, threads, .. } = sample.holding;
                format!("{descriptors} and {threads} at minute {:.1}", sample.at.as_secs_f64() / 60.0)
            })
            .collect();
        let found = match off.as_slice() {
            [] => format!("{descriptors} and {threads} at each of {points} idle points"),
            [first, ..] => format!(
                "{descriptors} and {threads} at first, more at {} of {points} idle points: {first}",
                off.len()
            ),
        };
        Verdict {
            promise: "descriptors and threads are back where they began at each idle point",
            found,
            met: Some(off.is_empty() && points > 0),
        }
    }

    fn ended(&self) -> Verdict {
        let promise = "it goes on to the end, and SIGTERM ends it in order";
        let (found, met) = match (&self.halted, &self.end) {
            (Some(why), _) => (why.clone(), Some(false)),
            (None, None) => ("not asked to end".to_owned(), None),
            (None, Some(Ok(took))) => (format!("in {:.2} s", took.as_secs_f64()), Some(true)),
            (None, Some(Err(why))) => (why.clone(), Some(false)),
        };
        Verdict { promise, found, met }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASELINE: Holding =
        Holding { resident_kib: 5000, anonymous_kib: 1000, descriptors: 12, threads: 3, overflowed: 0 };

    /// A soak of an hour that grows by so much in it.
    fn findings(growth_kib: f64) -> Findings {
        let sample = |number: u64| Sample {
            at: Duration::from_secs(number * 15),
            idle: number.is_multiple_of(2),
            holding: Holding {
                resident_kib: 6000 + (growth_kib * number as f64 / 240.0) as u64 + number % 3,
                descriptors: if number.is_multiple_of(2) { 12 } else { 30 },
                ..BASELINE
            },
            sessions: number,
            tests: number,
        };
        let mut tally = Tally::default();
        tally.tests.done = 100;
        Findings {
            facts: vec!["a fact".to_owned()],
            baseline: BASELINE,
            samples: (1..=240).map(sample).collect(),
            tally,
            said: Said::default(),
            end: Some(Ok(Duration::from_millis(100))),
            halted: None,
        }
    }

    #[test]
    fn a_steady_netserver_meets_everything() {
        let (text, met) = findings(100.0).report();
        assert!(met && !text.contains("missed"), "{text}");
        assert!(text.contains("12 and 3 at each of 120 idle points"), "{text}");
        assert!(text.lines().filter(|line| line.starts_with("| ")).count() < 60);
    }

    #[test]
    fn each_promise_can_be_missed() {
        let missed = |spoil: fn(&mut Findings)| {
            let mut findings = findings(0.0);
            spoil(&mut findings);
            let verdicts = findings.verdicts();
            let missed: Vec<&str> =
                verdicts.iter().filter(|v| v.met == Some(false)).map(|v| v.promise).collect();
            assert_eq!(missed.len(), 1, "{missed:?}");
            assert!(!findings.report().1);
        };
        missed(|findings| *findings = self::findings(1100.0));
        missed(|findings| findings.samples[99].holding.descriptors += 1);
        missed(|findings| findings.samples[99].holding.threads += 1);
        missed(|findings| findings.samples[98].holding.overflowed = 1);
        missed(|findings| findings.tally.defective = 1);
        missed(|findings| findings.said.defective = 1);
        missed(|findings| findings.tally.tests.failed = 1);
        missed(|findings| findings.tally.misdeeds.failed = 1);
        missed(|findings| findings.tally.tests.timed_out = 3);
        missed(|findings| findings.said.errors = 1);
        missed(|findings| findings.said.turned_away = 1);
        missed(|findings| findings.end = Some(Err("killed".to_owned())));
        missed(|findings| findings.halted = Some("it is gone".to_owned()));
    }

    #[test]
    fn a_short_soak_says_nothing_of_memory() {
        let mut findings = findings(5000.0);
        findings.samples.truncate(20);
        assert_eq!(findings.memory().met, None);
        assert!(findings.report().1);
    }

    #[test]
    fn samples_are_a_table_for_programs_too() {
        let csv = findings(0.0).csv();
        assert_eq!(csv.lines().count(), 241);
        assert!(csv.lines().nth(2).unwrap().starts_with("30.0,1,"), "{csv}");
    }
}
