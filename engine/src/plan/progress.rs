//! What may be told of a run while it goes on, and when.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use serde::Serialize;

use super::{PlanOptions, Role};
use crate::error::Error;
use crate::outcome::Sample;

/// Shortest interval at which progress is told by the time: each wakes a worker that sleeps.
const TOLD_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// When the progress of a run is told while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// At the first look after so much time: netperf's `-D` with a negative argument.
    Time(Duration),
    /// The clock is looked at after so many units of work only, a number that is adapted so that it takes
    /// about as long as this: netperf's `-D` with a positive argument. What it was last is
    /// [`Outcome::progress_units`](crate::Outcome::progress_units).
    Work {
        /// What a report should cover, and covers at least.
        interval: Duration,
        /// The first guess of the units in it; 0 counts as 1.
        units: u64,
        /// What is counted.
        unit: WorkUnit,
    },
}

/// A unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkUnit {
    /// A payload byte, sent or received.
    Bytes,
    /// A transaction; at [`Role::Request`] and [`Role::Respond`] only.
    Transactions,
}

/// Progress told while the run goes on.
#[derive(Clone, Debug)]
pub struct Progress {
    /// When.
    pub every: Every,
    /// Who is told. Where it does not keep up, reports are left out; the run does not wait for it. What has
    /// been done since the last one follows from the outcome, whose `elapsed` is of the same clock.
    pub to: SyncSender<Sample>,
}

/// Each worker sees its own flows only, and to tell of all of them would take something that they share. The
/// interval, zero where nothing is told.
pub(super) fn check(options: &PlanOptions) -> Result<Duration, Error> {
    let Some(progress) = &options.progress else { return Ok(Duration::ZERO) };
    if options.worker_count() > 1 {
        let range = "off with more than one worker, each of which counts its own flows only";
        return Err(Error::Plan { option: "progress", range });
    }
    match progress.every {
        Every::Work { .. } if options.flows > 1 => {
            Err(Error::Plan { option: "progress by the work", range: "off with more than one flow" })
        }
        Every::Time(interval) if interval < TOLD_INTERVAL_MIN => {
            Err(Error::Plan { option: "interval of progress", range: "1 millisecond and longer" })
        }
        Every::Work { unit: WorkUnit::Transactions, .. }
            if !matches!(options.role, Role::Request | Role::Respond) =>
        {
            Err(Error::Plan { option: "unit of progress", range: "bytes where there are no transactions" })
        }
        Every::Time(interval) | Every::Work { interval, .. } => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Endpoint, EngineChoice, Plan};
    use super::*;

    #[test]
    fn progress_is_told_of_what_there_is_by_whoever_sees_all_of_it() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let options = |every| PlanOptions {
            progress: Some(Progress { every, to: std::sync::mpsc::sync_channel(1).0 }),
            ..PlanOptions::new(Role::Send, endpoint.clone())
        };
        let work = |interval, unit| Every::Work { interval, units: 100, unit };
        let second = Duration::from_secs(1);
        let good = options(Every::Time(Duration::from_millis(1)));
        assert!(Plan::new(PlanOptions { flows: 2, ..good.clone() }).is_ok());
        assert!(Plan::new(options(work(Duration::ZERO, WorkUnit::Bytes))).is_ok());
        for (bad, name) in [
            (PlanOptions { flows: 2, workers: 2, ..good.clone() }, "more than one worker"),
            (PlanOptions { flows: 2, engine: EngineChoice::Classic, ..good }, "more than one worker"),
            (PlanOptions { flows: 2, ..options(work(second, WorkUnit::Bytes)) }, "more than one flow"),
            (options(Every::Time(Duration::from_micros(999))), "1 millisecond"),
            (options(Every::Time(Duration::MAX)), "interval of progress"),
            (options(work(Duration::MAX, WorkUnit::Bytes)), "interval of progress"),
            (options(work(second, WorkUnit::Transactions)), "unit of progress"),
        ] {
            assert!(Plan::new(bad).unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
