//! What goes into a store: a run with its points, then one result at a time.

use std::time::SystemTime;

use rusqlite::{named_params, params};
use serde::Serialize;

use super::{State, Store};
use crate::error::{Failure, FailureJson};
use crate::machine::Machine;
use crate::record::{Record, rfc3339};
use crate::sweep::grid::Point;

/// A run, by its number in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct RunId(pub(super) i64);

#[cfg(test)]
impl RunId {
    /// A number that no store has given, for tests of what is made of runs.
    pub(crate) fn of(number: i64) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// A run that begins.
pub(crate) struct NewRun<'a> {
    /// What it is called by.
    pub(crate) tag: &'a str,
    /// Name of the test.
    pub(crate) test: &'a str,
    /// What is to be measured, so that equal plans are the same sweep.
    pub(crate) plan: serde_json::Value,
    /// The options, for a resumption.
    pub(crate) words: &'a [String],
    /// The command line, program name included.
    pub(crate) command: &'a [String],
    /// Against whom, and in which environment.
    pub(crate) target: serde_json::Value,
    /// In this order.
    pub(crate) points: &'a [Point],
}

/// What is being done, in failures.
const STORE: &str = "store the result";

impl Store {
    /// Enters a run and all its points, which are planned from here on.
    ///
    /// # Errors
    /// STORE.
    pub(crate) fn begin_run(&mut self, run: &NewRun<'_>) -> Result<RunId, Failure> {
        self.insert_run(run).map_err(|error| self.failure("begin a run", &error))
    }

    fn insert_run(&mut self, run: &NewRun<'_>) -> rusqlite::Result<RunId> {
        let machine = json(&Machine::this());
        let transaction = self.db.transaction()?;
        transaction.execute("INSERT INTO machine (facts) VALUES (?1) ON CONFLICT DO NOTHING", [&machine])?;
        transaction.execute(
            "INSERT INTO run (tag, test, plan, words, command, target, machine, started, state)
             VALUES (:tag, :test, :plan, :words, :command, :target,
                     (SELECT id FROM machine WHERE facts = :machine), :started, :state)",
            named_params! {
                ":tag": run.tag,
                ":test": run.test,
                ":plan": run.plan.to_string(),
                ":words": json(&run.words),
                ":command": json(&run.command),
                ":target": run.target.to_string(),
                ":machine": machine,
                ":started": rfc3339(SystemTime::now()),
                ":state": State::Running.word(),
            },
        )?;
        let id = transaction.last_insert_rowid();
        let mut insert = transaction.prepare(
            "INSERT INTO point (run, ordinal, setting, repetition, state) VALUES (?1, ?2, ?3, ?4, 'planned')",
        )?;
        for (ordinal, point) in (0_i64..).zip(run.points) {
            insert.execute(params![id, ordinal, json(&point.setting), point.repetition])?;
        }
        drop(insert);
        transaction.commit()?;
        Ok(RunId(id))
    }

    /// Keeps the result of a point. It is on the disk when this returns.
    ///
    /// # Errors
    /// STORE; the point then is as it was.
    pub(crate) fn finish_point(&mut self, point: i64, record: &Record) -> Result<(), Failure> {
        self.insert_record(point, record).map_err(|error| self.failure(STORE, &error))
    }

    fn insert_record(&mut self, point: i64, record: &Record) -> rusqlite::Result<()> {
        let transaction = self.db.transaction()?;
        transaction.execute(
            "UPDATE point SET state = 'done', ended = ?2, error = NULL WHERE id = ?1",
            params![point, rfc3339(SystemTime::now())],
        )?;
        transaction
            .execute("INSERT INTO record (point, json) VALUES (?1, ?2)", params![point, json(record)])?;
        let mut insert = transaction.prepare(
            "INSERT INTO sample (point, ended_ns, bytes_sent, bytes_received) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for sample in &record.result.samples {
            let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            let ended_ns = i64::try_from(sample.at.as_nanos()).unwrap_or(i64::MAX);
            insert.execute(params![
                point,
                ended_ns,
                number(sample.bytes_sent),
                number(sample.bytes_received)
            ])?;
        }
        drop(insert);
        transaction.commit()
    }

    /// Notes why a point has no result. A resumption tries it again.
    ///
    /// # Errors
    /// STORE.
    pub(crate) fn fail_point(&mut self, point: i64, error: &FailureJson) -> Result<(), Failure> {
        self.db
            .execute(
                "UPDATE point SET state = 'failed', ended = ?2, error = ?3 WHERE id = ?1",
                params![point, rfc3339(SystemTime::now()), json(error)],
            )
            .map(drop)
            .map_err(|error| self.failure(STORE, &error))
    }

    /// Notes what the far end turned out to be.
    ///
    /// # Errors
    /// STORE.
    pub(crate) fn set_target(&mut self, run: RunId, target: &serde_json::Value) -> Result<(), Failure> {
        self.db
            .execute("UPDATE run SET target = ?2 WHERE id = ?1", params![run.0, target.to_string()])
            .map(drop)
            .map_err(|error| self.failure("note what is measured against", &error))
    }

    /// Notes that a run goes on, or how it ended.
    ///
    /// # Errors
    /// STORE.
    pub(crate) fn set_state(&mut self, run: RunId, state: State) -> Result<(), Failure> {
        let ended = (state != State::Running).then(|| rfc3339(SystemTime::now()));
        self.db
            .execute(
                "UPDATE run SET state = ?2, ended = ?3 WHERE id = ?1",
                params![run.0, state.word(), ended],
            )
            .map(drop)
            .map_err(|error| self.failure("note how the run stands", &error))
    }
}

/// As text. Records and settings are plain data, whose maps have names for keys.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"unwritable\":\"{error}\"}}"))
}
