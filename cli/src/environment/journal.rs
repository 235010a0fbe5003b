//! What was made outside this process, written down before it is made: one line of JSON each.
//!
//! The file outlives us, so that what we leave behind is found. Whose a thing is, is told by the process that
//! made it: its number, its start, and the boot it belongs to, which no other process shares.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Failure};

/// Names the folder of the journal, in place of the user's state directory.
const FOLDER: &str = "RINGPERF_STATE_DIR";

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Its number.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since the boot (proc(5), field 22 of stat).
    pub(crate) start: u64,
    /// The boot.
    pub(crate) boot: String,
}

impl Owner {
    /// This process.
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        Self { pid, start: start_of(pid).unwrap_or(0), boot: boot() }
    }

    /// As a label has it.
    pub(crate) fn label(&self) -> String {
        format!("{}:{}:{}", self.pid, self.start, self.boot)
    }

    /// Reads a label.
    pub(crate) fn from_label(label: &str) -> Option<Self> {
        let mut parts = label.splitn(3, ':');
        let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { pid, start, boot: parts.next()?.to_owned() })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == boot() && start_of(self.pid) == Some(self.start)
    }
}

fn boot() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

fn start_of(pid: u32) -> Option<u64> {
    start_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The start in the text of a stat file. The name in parentheses may contain anything.
fn start_in(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Name of the container.
    pub(crate) container: String,
    /// Who made it.
    pub(crate) owner: Owner,
}

/// The journal, locked as long as it is open.
struct Journal(File);

impl Journal {
    fn open() -> Result<Self, Failure> {
        let path = path()?;
        let failed = |error: io::Error| {
            Failure::io(Class::Environment, format!("open the journal {}", path.display()), &error)
                .setting(FOLDER)
                .next(format!("name a folder that can be written to: {FOLDER}=DIR"))
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Self(file))
    }

    /// Its lines. One that was not written to its end is none.
    fn read(&mut self) -> io::Result<Vec<Entry>> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut text = String::new();
        for entry in entries {
            text.push_str(&serde_json::to_string(entry).map_err(io::Error::other)?);
            text.push('\n');
        }
        self.0.rewind()?;
        self.0.set_len(0)?;
        self.0.write_all(text.as_bytes())?;
        self.0.sync_all()
    }
}

fn path() -> Result<PathBuf, Failure> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Ok(PathBuf::from(folder).join("environments.jsonl"));
    }
    let strategy = etcetera::choose_base_strategy().map_err(|error| {
        Failure::new(Class::Environment, "find the state directory", error.to_string())
            .setting("HOME and XDG_STATE_HOME")
            .next(format!("name a folder: {FOLDER}=DIR"))
    })?;
    let folder = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    Ok(folder.join("ringperf/environments.jsonl"))
}

fn change(change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), Failure> {
    let mut journal = Journal::open()?;
    let changed = journal.read().and_then(|mut entries| {
        change(&mut entries);
        journal.write(&entries)
    });
    changed.map_err(|error| {
        Failure::io(Class::Environment, "write the journal of environments", &error).setting(FOLDER)
    })
}

/// Writes down what is about to be made. It is on the disk when this returns.
///
/// # Errors
/// ENV.
pub(crate) fn add(entry: Entry) -> Result<(), Failure> {
    change(|entries| entries.push(entry))
}

/// Strikes out what is gone.
///
/// # Errors
/// ENV.
pub(crate) fn strike(gone: impl Fn(&Entry) -> bool) -> Result<(), Failure> {
    change(|entries| entries.retain(|entry| !gone(entry)))
}

/// All that is written down.
///
/// # Errors
/// ENV.
pub(crate) fn entries() -> Result<Vec<Entry>, Failure> {
    let read = Journal::open()?.read();
    read.map_err(|error| {
        Failure::io(Class::Environment, "read the journal of environments", &error).setting(FOLDER)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_apart_by_number_start_and_boot() {
        let this = Owner::this();
        assert!(this.is_alive() && this.start > 0 && !this.boot.is_empty());
        assert_eq!(Owner::from_label(&this.label()), Some(this.clone()));
        let reused = Owner { start: this.start + 1, ..this.clone() };
        let earlier = Owner { boot: "another".to_owned(), ..this.clone() };
        let gone = Owner { pid: u32::MAX - 1, ..this };
        assert!(!reused.is_alive() && !earlier.is_alive() && !gone.is_alive());
        assert_eq!(Owner::from_label("1:2"), None);
    }

    #[test]
    fn a_name_may_look_like_fields() {
        let stat = "7 (a) b 1 2) S 1 7 7 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 4242 1 1";
        assert_eq!(start_in(stat), Some(4242));
        assert_eq!(start_in(""), None);
    }

    #[test]
    fn a_line_that_was_cut_is_none() {
        let folder = std::env::temp_dir().join(format!("ringperf-journal-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("can be made");
        let file = || {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(folder.join("j"))
                .expect("opens")
        };
        let entry = |name: &str| Entry { container: name.to_owned(), owner: Owner::this() };
        Journal(file()).write(&[entry("a"), entry("b")]).expect("is written");
        let text = fs::read_to_string(folder.join("j")).expect("is there");
        fs::write(folder.join("j"), &text[..text.len() - 5]).expect("is cut");
        assert_eq!(Journal(file()).read().expect("is there"), [entry("a")]);
        Journal(file()).write(&[]).expect("is written");
        assert_eq!(fs::read(folder.join("j")).expect("is there"), b"");
        fs::remove_dir_all(folder).expect("was just made");
    }
}
