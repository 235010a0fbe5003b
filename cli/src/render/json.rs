//! A record, or the failure in its place, as one line of JSON.

use serde::Serialize;

use crate::error::Failure;
use crate::record::{FailureRecord, RECORD_VERSION, Tool};

/// A failure in the same envelope: `record` and `error` are always there.
pub(crate) fn failure(failure: &Failure, command: &[String]) -> String {
    line(&FailureRecord {
        record: RECORD_VERSION,
        tool: Tool::this(),
        command: command.to_vec(),
        error: failure.to_json(),
    })
}

/// A result, of whatever kind.
pub(crate) fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("records have string keys and no fallible serializer");
    text.push('\n');
    text
}
