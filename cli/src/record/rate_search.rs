//! What a search for the loss-free rate amounts to: a line for each trial, and the run that confirmed it.
//!
//! Plain data. Which rate to try next is decided elsewhere.

use serde::Serialize;

use super::{Record, Tool};
use crate::error::FailureJson;

/// The whole search.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RateSearch {
    /// [`super::RECORD_VERSION`].
    pub(crate) record: u32,
    /// What made it.
    pub(crate) tool: Tool,
    /// The command line, program name included.
    pub(crate) command: Vec<String>,
    /// Share of the datagrams that may be lost, 0 to 1.
    pub(crate) loss_limit: f64,
    /// Every trial that was finished, in the order of time.
    pub(crate) trials: Vec<Trial>,
    /// The run that confirmed the rate; absent where none did.
    pub(crate) result: Option<Record>,
    /// Name of the signal that ended the search early.
    pub(crate) interrupted: Option<&'static str>,
    /// Why there is no result, where that was no signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<FailureJson>,
}

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Trial {
    /// Payload bits a second that were to be sent; `None`: as fast as it goes.
    pub(crate) offered_bits_per_second: Option<u64>,
    /// It is one of the longer ones, which confirm a rate.
    pub(crate) confirms: bool,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// Payload bits a second that were sent.
    pub(crate) sent_bits_per_second: f64,
    /// Payload bits a second that the receiver counted.
    pub(crate) received_bits_per_second: f64,
    /// Datagrams sent.
    pub(crate) datagrams_sent: u64,
    /// Datagrams that the receiver counted.
    pub(crate) datagrams_received: u64,
    /// Share of those sent that the receiver did not count, 0 to 1.
    pub(crate) loss: f64,
    /// Datagrams that the sender's kernel had no room for; they count neither as sent nor as lost.
    pub(crate) failed_sends: u64,
    /// The loss was within the limit.
    pub(crate) passed: bool,
}

impl Trial {
    /// The trial whose record this is.
    pub(crate) fn of(record: &Record, confirms: bool, loss_limit: f64) -> Self {
        let result = &record.result;
        // Where nothing was sent, all of it was lost.
        let loss = result.loss.unwrap_or(1.0);
        Self {
            offered_bits_per_second: record.asked.rate_bits_per_second,
            confirms,
            seconds: record.time.elapsed_ns as f64 / 1e9,
            sent_bits_per_second: result.sent_bits_per_second.unwrap_or(0.0),
            received_bits_per_second: result.goodput_bits_per_second,
            datagrams_sent: result.messages_sent,
            datagrams_received: result.receives,
            loss,
            failed_sends: result.failed_sends,
            passed: loss <= loss_limit,
        }
    }
}

impl RateSearch {
    /// The fastest trial that passed.
    pub(crate) fn best(&self) -> Option<&Trial> {
        let passed = self.trials.iter().filter(|trial| trial.passed);
        passed.max_by(|a, b| a.sent_bits_per_second.total_cmp(&b.sent_bits_per_second))
    }
}
