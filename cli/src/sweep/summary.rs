//! What a sweep came to: a line for each setting, over its repetitions. Plain data, read from the store.

use serde::Serialize;

use super::grid::{Setting, words};
use crate::error::{Failure, FailureJson};
use crate::figure::Figure;
use crate::record::{RECORD_VERSION, Tool};
use crate::statistics::Spread;
use crate::store::{PointRow, RunId, RunRow, Store};

/// One or several runs.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// [`RECORD_VERSION`].
    pub(crate) record: u32,
    /// What made it.
    pub(crate) tool: Tool,
    /// The command line, program name included.
    pub(crate) command: Vec<String>,
    /// The store with the records.
    pub(crate) store: String,
    /// The runs.
    pub(crate) runs: Vec<RunSummary>,
    /// Name of the signal that ended it early.
    pub(crate) interrupted: Option<&'static str>,
    /// Why it ended early, where that was no signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<FailureJson>,
}

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct RunSummary {
    /// The run.
    #[serde(flatten)]
    pub(crate) run: RunRow,
    /// A line for each setting.
    pub(crate) lines: Vec<Line>,
}

/// A setting, over its repetitions.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// The values of what varies.
    pub(crate) setting: Setting,
    /// Results.
    pub(crate) results: usize,
    /// Payload bits a second that arrived.
    pub(crate) goodput_bits_per_second: Option<Spread>,
    /// Transactions a second, of a test that consists of them.
    pub(crate) transactions_per_second: Option<Spread>,
    /// The time that half of them did not exceed, in nanoseconds.
    pub(crate) latency_ns: Option<Spread>,
    /// The time that 99 % of them did not exceed, in nanoseconds.
    pub(crate) tail_latency_ns: Option<Spread>,
    /// Share of the datagrams sent that did not arrive; UDP only.
    pub(crate) loss: Option<Spread>,
    /// CPU time of both ends' workers per 1024 bytes that arrived, in nanoseconds; of two ringperfs only.
    pub(crate) cpu_ns_per_kb: Option<Spread>,
    /// Why the last one that failed did.
    pub(crate) error: Option<String>,
}

impl Summary {
    /// Of these runs.
    ///
    /// # Errors
    /// STORE.
    pub(crate) fn new(
        store: &Store,
        ids: &[RunId],
        command: &[String],
        failure: Option<&Failure>,
        interrupted: Option<&'static str>,
    ) -> Result<Self, Failure> {
        let all = store.runs()?;
        let runs = all.into_iter().filter(|run| ids.contains(&run.id)).map(|run| {
            let lines = lines(&store.points(run.id)?);
            Ok(RunSummary { run, lines })
        });
        Ok(Self {
            record: RECORD_VERSION,
            tool: Tool::this(),
            command: command.to_vec(),
            store: store.path().display().to_string(),
            runs: runs.collect::<Result<_, Failure>>()?,
            interrupted,
            error: failure.map(Failure::to_json),
        })
    }
}

/// In the order in which settings first come.
fn lines(points: &[PointRow]) -> Vec<Line> {
    let mut settings: Vec<&Setting> = Vec::new();
    for point in points {
        if !settings.contains(&&point.setting) {
            settings.push(&point.setting);
        }
    }
    settings.into_iter().map(|setting| line(setting, points)).collect()
}

fn line(setting: &Setting, points: &[PointRow]) -> Line {
    let mine = || points.iter().filter(|point| point.setting == *setting);
    let spread = |figure: Figure| Spread::of(mine().filter_map(|point| figure.of(point.record.as_ref()?)));
    let error = mine().filter_map(|point| point.error.as_ref()).next_back();
    Line {
        setting: setting.clone(),
        results: mine().filter(|point| point.record.is_some()).count(),
        goodput_bits_per_second: spread(Figure::Goodput),
        transactions_per_second: spread(Figure::Transactions),
        latency_ns: spread(Figure::Latency),
        tail_latency_ns: spread(Figure::TailLatency),
        loss: spread(Figure::Loss),
        cpu_ns_per_kb: spread(Figure::Cpu),
        error: error.map(|error| error["text"].as_str().unwrap_or("without a word").to_owned()),
    }
}

impl Line {
    /// Nothing was tried at this setting yet.
    pub(crate) fn is_open(&self) -> bool {
        self.results == 0 && self.error.is_none()
    }

    /// The setting in words.
    pub(crate) fn words(&self) -> String {
        words(&self.setting)
    }
}
