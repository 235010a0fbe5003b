//! Goes through a lab: each repetition, each environment, each sweep.
//!
//! Environments take turns within a repetition, and the order turns around from one to the next, so that what
//! drifts on the machine falls on all of them. Each is up only for its turn.

use std::io::Write;
use std::time::Duration;

use super::file::Lab;
use super::{Run, target};
use crate::cores;
use crate::environment::{self, Environment, Reached};
use crate::error::Failure;
use crate::store::{State, Store};
use crate::sweep::course::{self, End, Pace, Part};
use crate::sweep::{Sweep, rescued};
use crate::trial::Bench;

/// How a lab ended.
pub(super) struct Ended {
    /// The first thing that kept an environment from being measured.
    pub(super) failure: Option<Failure>,
    /// A result that could not be stored, to be printed.
    pub(super) rescued: String,
}

/// What is known while the rounds go on.
struct Course<'a> {
    lab: &'a Lab,
    runs: &'a [Run],
    store: &'a mut Store,
    bench: &'a Bench,
    pace: Pace,
    /// By environment: it is not tried again.
    dropped: Vec<bool>,
    /// Nothing was measured yet, so there is nothing to rest from.
    fresh: bool,
    /// When it began, by the store.
    begun: String,
    ended: Ended,
    /// The cores of our workers, and of the netserver's.
    cores: (Vec<usize>, Vec<usize>),
}

/// Whether to go on.
#[derive(PartialEq)]
enum Next {
    On,
    Over,
}

/// Measures all that has no result yet.
///
/// # Errors
/// STORE.
pub(super) fn go(lab: &Lab, runs: &[Run], store: &mut Store, bench: &Bench) -> Result<Ended, Failure> {
    let mut open = 0;
    let mut length = Some(Duration::ZERO);
    let mut all = 0;
    for run in runs {
        let points = store.points(run.id)?;
        let left = points.iter().filter(|point| point.record.is_none()).count();
        all += points.len();
        open += left;
        length = length.zip(course::estimate(&lab.sweeps[run.sweep], left)).map(|(sum, more)| sum + more);
        store.set_state(run.id, State::Running)?;
    }
    let rows = store.runs()?;
    let first = rows.iter().find(|row| runs.first().is_some_and(|run| run.id == row.id));
    let begun = first.and_then(|row| row.target["lab"]["begun"].as_str()).unwrap_or_default().to_owned();
    let asked = lab.sweeps.iter().map(|sweep| sweep.trial.asked_cores()).max_by_key(|cores| cores.len());
    let mut course = Course {
        lab,
        runs,
        store,
        bench,
        pace: Pace::new(open, length),
        dropped: vec![false; lab.environments.len()],
        fresh: true,
        begun,
        ended: Ended { failure: None, rescued: String::new() },
        cores: cores::shares(&cores::allowed(), asked.unwrap_or(&[]), cores::siblings),
    };
    course::announce(&course.pace, all);
    course.rounds()?;
    course.note_states()?;
    Ok(course.ended)
}

impl Course<'_> {
    fn rounds(&mut self) -> Result<(), Failure> {
        let repetitions = self.lab.sweeps.iter().map(|sweep| sweep.repeat).max().unwrap_or(0);
        for repetition in 1..=repetitions {
            let mut order: Vec<usize> = (0..self.lab.environments.len()).collect();
            if repetition % 2 == 0 {
                order.reverse();
            }
            for environment in order {
                if self.dropped[environment] || !self.has_open(environment, repetition)? {
                    continue;
                }
                if self.turn(environment, repetition)? == Next::Over {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn has_open(&self, environment: usize, repetition: u32) -> Result<bool, Failure> {
        for run in self.of(environment) {
            let points = self.store.points(run.id)?;
            if points.iter().any(|point| point.record.is_none() && point.repetition == repetition) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn of(&self, environment: usize) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.environment == environment)
    }

    /// One repetition in one environment.
    fn turn(&mut self, index: usize, repetition: u32) -> Result<Next, Failure> {
        if self.bench.signal().is_some() {
            return Ok(Next::Over);
        }
        let place = &self.lab.environments[index];
        let options = environment::Options { cores: self.cores.1.clone(), data_port: place.data_port };
        let mut environment = environment::make(place.kind, &place.name, options);
        let reached = match environment.up() {
            Ok(reached) => reached,
            Err(failure) => {
                self.give_up(index, failure)?;
                return Ok(Next::On);
            }
        };
        let next = self.sweeps(index, repetition, &reached);
        take_down(&mut *environment, &place.name, &mut self.ended);
        next
    }

    fn sweeps(&mut self, index: usize, repetition: u32, reached: &Reached) -> Result<Next, Failure> {
        let place = &self.lab.environments[index];
        let label = format!("{} repetition {repetition}, ", place.name);
        let facts = target(self.lab, &self.begun, place.kind.word(), reached.facts.clone());
        for run in self.runs.iter().filter(|run| run.environment == index) {
            self.store.set_target(run.id, &facts)?;
            let sweep = pointed_at(&self.lab.sweeps[run.sweep], reached, &self.cores.0);
            if !self.fresh && !self.bench.rest(sweep.rest) {
                return Ok(Next::Over);
            }
            self.fresh = false;
            let mut part = Part { label: &label, repetition: Some(repetition), pace: &mut self.pace };
            let end = course::go(self.store, self.bench, run.id, &sweep, &mut part)?;
            self.ended.rescued.push_str(&rescued(&end));
            match end {
                End::Done => {}
                End::Failed(failure) => {
                    self.give_up(index, failure)?;
                    return Ok(Next::On);
                }
                End::Interrupted => return Ok(Next::Over),
                End::Unsaved(failure, _) => {
                    self.ended.failure = Some(failure);
                    return Ok(Next::Over);
                }
            }
        }
        Ok(Next::On)
    }

    /// Notes why an environment is not measured further, at each of its points that is open.
    fn give_up(&mut self, index: usize, failure: Failure) -> Result<(), Failure> {
        self.dropped[index] = true;
        let name = &self.lab.environments[index].name;
        // One that nobody reads changes nothing.
        let _ = writeln!(std::io::stderr().lock(), "ringperf: goes on without {name}: {failure}");
        for run in self.runs.iter().filter(|run| run.environment == index) {
            for point in self.store.points(run.id)?.iter().filter(|point| point.record.is_none()) {
                self.store.fail_point(point.id, &failure.to_json())?;
            }
        }
        self.ended.failure.get_or_insert(failure);
        Ok(())
    }

    fn note_states(&mut self) -> Result<(), Failure> {
        for run in self.runs {
            let points = self.store.points(run.id)?;
            let state = if points.iter().all(|point| point.record.is_some()) {
                State::Done
            } else if self.bench.signal().is_some() {
                State::Interrupted
            } else if self.dropped[run.environment] || self.ended.failure.is_some() {
                State::Failed
            } else {
                // Some points failed, and all were tried.
                State::Done
            };
            self.store.set_state(run.id, state)?;
        }
        Ok(())
    }
}

/// A sweep against the netserver of an environment.
fn pointed_at(sweep: &Sweep, reached: &Reached, cores: &[usize]) -> Sweep {
    let mut sweep = sweep.clone();
    let trial = &mut sweep.trial;
    trial.host = Some(reached.host.clone());
    trial.port = Some(reached.port);
    if reached.data_port.is_some() {
        (trial.data_port, trial.remote_data_port) = (None, reached.data_port);
    }
    trial.use_cores(cores);
    sweep
}

/// What is left of an environment does not spoil what was measured in it.
fn take_down(environment: &mut dyn Environment, name: &str, ended: &mut Ended) {
    if let Err(failure) = environment.down() {
        let _ = writeln!(std::io::stderr().lock(), "ringperf: {name} is not all gone: {failure}");
        ended.failure.get_or_insert(failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_data_port_is_the_one_that_is_asked_for() {
        let lab = crate::lab::file::tests::study();
        let at = |data_port| Reached {
            host: "192.0.2.1".to_owned(),
            port: 4321,
            data_port,
            facts: serde_json::Value::Null,
        };
        let through = pointed_at(&lab.sweeps[0], &at(Some(4000)), &[1]);
        assert_eq!(through.trial.netserver_data_port(), Some(4000));
        assert_eq!((through.trial.host.as_deref(), through.trial.port), (Some("192.0.2.1"), Some(4321)));
        let direct = pointed_at(&lab.sweeps[0], &at(None), &[]);
        assert_eq!(direct.trial.netserver_data_port(), Some(12_866));
    }
}
