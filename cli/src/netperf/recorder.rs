//! The full record of a drop-in run, beside what netperf prints.
//!
//! `RINGPERF_RECORD` names a file, to which each iteration adds one line of JSON, or a folder, in which each
//! makes a file of its own. Records are written once netperf's output is; nothing that goes wrong here
//! changes that output or the exit status.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::record::Record;

/// Names the file or the folder.
pub(crate) const VARIABLE: &str = "RINGPERF_RECORD";

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recorder {
    /// One line each, at the end of this file.
    File(PathBuf),
    /// One file each, in this folder.
    Folder(PathBuf),
}

impl Recorder {
    /// What the variable asks for. A folder has to be there, or its name ends with a slash and it is made.
    pub(crate) fn new(value: Option<OsString>) -> Option<Self> {
        let value = value.filter(|value| !value.is_empty())?;
        let slash = value.as_encoded_bytes().ends_with(b"/");
        let path = PathBuf::from(value);
        Some(if slash || path.is_dir() { Self::Folder(path) } else { Self::File(path) })
    }

    /// Keeps the records of all iterations.
    ///
    /// # Errors
    /// A sentence that says which file it was, what the system says and what decides it; or that there is
    /// none.
    pub(crate) fn keep(&self, records: &[Record]) -> Result<(), String> {
        if records.is_empty() {
            let why = "there is none without a netserver or without a connection, and none of TCP_SENDFILE, \
                       TCP_MSS and tests that move nothing";
            return Err(format!("ringperf: no record is kept: {why}"));
        }
        records.iter().zip(1..).try_for_each(|(record, number)| self.keep_one(record, number))
    }

    /// `number` tells the iterations of one process apart.
    fn keep_one(&self, record: &Record, number: u32) -> Result<(), String> {
        let told = |path: &Path, error: &dyn std::fmt::Display| {
            format!(
                "ringperf: ENV: cannot keep the record in {}: {error}\n  decided by: {VARIABLE}\n  \
                 next: {VARIABLE}= keeps none; the result is complete without it",
                path.display()
            )
        };
        let mut line = serde_json::to_vec(record).map_err(|error| told(Path::new("JSON"), &error))?;
        line.push(b'\n');
        let (path, written) = match self {
            Self::File(path) => (path.clone(), append(path, &line)),
            Self::Folder(folder) => {
                // No colons, which some file systems and many scripts do not take.
                let started: String = record.time.started.chars().filter(|c| *c != ':').collect();
                let path = folder.join(format!("{started}-{}-{number}.json", std::process::id()));
                let written = std::fs::create_dir_all(folder).and_then(|()| append(&path, &line));
                (path, written)
            }
        };
        written.map_err(|error| told(&path, &error))
    }
}

/// In one write, so that runs at the same time do not mix their lines.
fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_told_by_being_one_or_by_its_slash() {
        let asked = |value: &str| Recorder::new(Some(OsString::from(value)));
        assert_eq!(Recorder::new(None), None);
        assert_eq!(asked(""), None);
        assert_eq!(asked("/nowhere/runs.jsonl"), Some(Recorder::File("/nowhere/runs.jsonl".into())));
        assert_eq!(asked("/nowhere/runs/"), Some(Recorder::Folder("/nowhere/runs/".into())));
        let folder = std::env::temp_dir();
        assert_eq!(Recorder::new(Some(folder.clone().into())), Some(Recorder::Folder(folder)));
    }
}
