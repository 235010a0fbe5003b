//! What comes out of a store: runs, and their points with what became of them.

use rusqlite::{OptionalExtension, Row};
use serde::Serialize;
use serde_json::Value as Json;

use super::{RunId, Store};
use crate::error::Failure;
use crate::sweep::grid::Setting;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Every point was tried.
    Done,
    /// Something kept it from going on.
    Failed,
    /// A signal ended it.
    Interrupted,
    /// It goes on, or it was killed.
    Running,
}

impl State {
    /// The word in the store.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Running => "running",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "done" => Self::Done,
            "failed" => Self::Failed,
            "interrupted" => Self::Interrupted,
            // The table allows no other word.
            _ => Self::Running,
        }
    }
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunRow {
    /// Its number.
    pub(crate) id: RunId,
    /// What it is called by.
    pub(crate) tag: String,
    /// Name of the test.
    pub(crate) test: String,
    /// What was to be measured.
    pub(crate) plan: Json,
    /// The options, for a resumption.
    pub(crate) words: Vec<String>,
    /// The command line.
    pub(crate) command: Vec<String>,
    /// Against whom, and in which environment.
    pub(crate) target: Json,
    /// The client's machine.
    pub(crate) machine: Json,
    /// UTC, RFC 3339.
    pub(crate) started: String,
    /// UTC, RFC 3339.
    pub(crate) ended: Option<String>,
    /// How it stands.
    pub(crate) state: State,
    /// Points with a result.
    pub(crate) done: u32,
    /// Points in all.
    pub(crate) points: u32,
}

/// A point.
#[derive(Clone, Debug)]
pub(crate) struct PointRow {
    /// Its number in the store.
    pub(crate) id: i64,
    /// The values of what varies.
    pub(crate) setting: Setting,
    /// Number of the repetition, from 1.
    pub(crate) repetition: u32,
    /// Its record, as `ringperf run --json` prints it; absent where it has no result.
    pub(crate) record: Option<Json>,
    /// Why it failed, the last time that it was tried.
    pub(crate) error: Option<Json>,
}

const RUN: &str = "
    SELECT run.id, tag, test, plan, words, command, target, machine.facts, started, ended, state,
           (SELECT count(*) FROM point WHERE run = run.id AND state = 'done'),
           (SELECT count(*) FROM point WHERE run = run.id)
    FROM run JOIN machine ON machine.id = run.machine";

impl Store {
    /// All runs, in the order in which they began.
    ///
    /// # Errors
    /// STORE.
    pub(crate) fn runs(&self) -> Result<Vec<RunRow>, Failure> {
        let rows = || {
            let mut statement = self.db.prepare(&format!("{RUN} ORDER BY run.id"))?;
            statement.query_map((), run)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        rows().map_err(|error| self.failure("read the runs", &error))
    }

    /// The latest run of a sweep that has points to measure, of this tag or of any. Those of a lab are not
    /// among them: their environments are the lab's to bring up.
    ///
    /// # Errors
    /// STORE.
    pub(crate) fn latest_unfinished(&self, tag: Option<&str>) -> Result<Option<RunRow>, Failure> {
        let text = format!(
            "{RUN} WHERE (?1 IS NULL OR tag = ?1) AND words <> '[]'
             AND EXISTS (SELECT 1 FROM point WHERE run = run.id AND state <> 'done')
             ORDER BY run.id DESC LIMIT 1"
        );
        let row = self.db.query_row(&text, [tag], run).optional();
        row.map_err(|error| self.failure("find an unfinished run", &error))
    }

    /// The points of a run, in its order.
    ///
    /// # Errors
    /// STORE.
    pub(crate) fn points(&self, run: RunId) -> Result<Vec<PointRow>, Failure> {
        let rows = || {
            let mut statement = self.db.prepare(
                "SELECT id, setting, repetition, json, error
                 FROM point LEFT JOIN record ON record.point = id
                 WHERE run = ?1 ORDER BY ordinal",
            )?;
            statement.query_map([run.0], point)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        rows().map_err(|error| self.failure("read the points", &error))
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: RunId(row.get(0)?),
        tag: row.get(1)?,
        test: row.get(2)?,
        plan: parsed(row, 3)?,
        words: parsed(row, 4)?,
        command: parsed(row, 5)?,
        target: parsed(row, 6)?,
        machine: parsed(row, 7)?,
        started: row.get(8)?,
        ended: row.get(9)?,
        state: State::of(&row.get::<_, String>(10)?),
        done: row.get(11)?,
        points: row.get(12)?,
    })
}

fn point(row: &Row<'_>) -> rusqlite::Result<PointRow> {
    Ok(PointRow {
        id: row.get(0)?,
        setting: parsed(row, 1)?,
        repetition: row.get(2)?,
        record: maybe(row, 3)?,
        error: maybe(row, 4)?,
    })
}

fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    from_json(&text, column)
}

fn maybe<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| from_json(&text, column)).transpose()
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
