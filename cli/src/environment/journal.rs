//! The journal of environments: what was about to be made, and by whom, on the disk before it is made.
//!
//! One JSON line each. Whoever takes a thing down removes its line afterwards, so that a line without a
//! living owner is what a process left behind. Knows names only; makes and removes nothing but lines.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use super::Kind;
use super::owner::Owner;
use crate::error::{Class, Failure};

/// Longest wait for another process that reads or writes the journal, which each does in one go.
const LOCK: Duration = Duration::from_secs(10);

/// One thing that was about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its name, unique for all time.
    pub(crate) name: String,
    /// Who made it.
    #[serde(flatten)]
    pub(crate) owner: Owner,
    /// When, in seconds since 1970.
    pub(crate) created: u64,
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    path: PathBuf,
}

impl Journal {
    /// That of this user: `ringperf/environments.jsonl` in `RINGPERF_STATE_DIR`, or in the state directory
    /// (XDG).
    ///
    /// # Errors
    /// ENV where there is no home directory.
    pub(crate) fn of_user() -> Result<Self, Failure> {
        let asked = std::env::var_os("RINGPERF_STATE_DIR").filter(|folder| !folder.is_empty());
        let folder = match asked {
            Some(folder) => PathBuf::from(folder),
            None => {
                let folders = etcetera::choose_base_strategy().map_err(|error| {
                    Failure::new(Class::Environment, "find the state directory", error.to_string())
                        .setting("HOME, XDG_STATE_HOME and RINGPERF_STATE_DIR")
                        .next("name one: RINGPERF_STATE_DIR=DIR ringperf env list")
                })?;
                folders.state_dir().unwrap_or_else(|| folders.data_dir())
            }
        };
        Ok(Self::at(folder.join("ringperf/environments.jsonl")))
    }

    /// The one in this file.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes down what is about to be made. It is on the disk when this returns.
    ///
    /// # Errors
    /// ENV where it cannot be written.
    pub(crate) fn add(&self, entry: &Entry) -> Result<(), Failure> {
        let tried = format!("write down {} in {}", entry.name, self.path.display());
        let _lock = self.lock(&tried)?;
        let mut line = serde_json::to_string(entry).expect("its keys are strings");
        line.push('\n');
        self.append(&line).map_err(|error| self.failed(&tried, &error))
    }

    /// What is written down. A line that was torn by the end of a machine or a disk is passed over: nothing
    /// was made before the whole line was on the disk.
    ///
    /// # Errors
    /// ENV where it cannot be read.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let tried = format!("read {}", self.path.display());
        Ok(entries(&self.text().map_err(|error| self.failed(&tried, &error))?))
    }

    /// Removes the lines of these names.
    ///
    /// # Errors
    /// ENV where it cannot be written.
    pub(crate) fn remove(&self, names: &[&str]) -> Result<(), Failure> {
        if names.is_empty() {
            return Ok(());
        }
        let tried = format!("strike {} from {}", names.join(", "), self.path.display());
        let _lock = self.lock(&tried)?;
        let replace = || {
            let text = self.text()?;
            let kept: String = text
                .lines()
                .filter(|line| {
                    // Of lines that cannot be read, those of a later release may matter to it.
                    let entry = serde_json::from_str::<Entry>(line);
                    !entry.is_ok_and(|entry| names.contains(&entry.name.as_str()))
                })
                .flat_map(|line| [line, "\n"])
                .collect();
            let new = self.path.with_extension("new");
            let mut file = File::create(&new)?;
            file.write_all(kept.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &self.path)?;
            File::open(self.folder())?.sync_all()
        };
        replace().map_err(|error| self.failed(&tried, &error))
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let is_new = !self.path.exists();
        let mut file = File::options().create(true).append(true).read(true).open(&self.path)?;
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        // A torn line must not take the next one with it.
        let end = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{end}{line}").as_bytes())?;
        file.sync_all()?;
        if is_new { File::open(self.folder())?.sync_all() } else { Ok(()) }
    }

    fn text(&self) -> io::Result<String> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// On a file of its own, because the journal is replaced.
    fn lock(&self, tried: &str) -> Result<File, Failure> {
        let open = || {
            std::fs::create_dir_all(self.folder())?;
            let path = self.path.with_extension("lock");
            File::options().create(true).truncate(false).write(true).open(path)
        };
        let file = open().map_err(|error| self.failed(tried, &error))?;
        let by = Instant::now() + LOCK;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::Error(error)) => return Err(self.failed(tried, &error)),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < by => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    let cause = format!("another process has had its lock for {} s", LOCK.as_secs());
                    return Err(Failure::new(Class::Environment, tried, cause)
                        .setting("RINGPERF_STATE_DIR")
                        .next(format!("see who: fuser -v {}", self.path.with_extension("lock").display())));
                }
            }
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn failed(&self, tried: &str, error: &io::Error) -> Failure {
        Failure::io(Class::Environment, tried, error)
            .setting("RINGPERF_STATE_DIR, and the rights to the folder")
            .next(format!("ls -la {}", self.folder().display()))
    }
}

fn entries(text: &str) -> Vec<Entry> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("ringperf-journal-{name}-{}", std::process::id())))
        }

        fn journal(&self) -> Journal {
            Journal::at(self.0.join("ringperf/environments.jsonl"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn entry(name: &str) -> Entry {
        let owner = Owner::this().expect("this process has a /proc");
        Entry { kind: Kind::Container, name: name.to_owned(), owner, created: 1_700_000_000 }
    }

    #[test]
    fn what_is_added_is_read_until_it_is_removed() {
        let folder = Folder::new("round");
        let journal = folder.journal();
        assert_eq!(journal.entries(), Ok(Vec::new()));
        for name in ["a", "b", "c"] {
            journal.add(&entry(name)).expect("the temporary folder is writable");
        }
        assert_eq!(journal.entries(), Ok(vec![entry("a"), entry("b"), entry("c")]));
        journal.remove(&["b", "nobody"]).expect("it is there");
        assert_eq!(journal.entries(), Ok(vec![entry("a"), entry("c")]));
        journal.remove(&["a", "c"]).expect("it is there");
        assert_eq!(std::fs::read_to_string(&journal.path).expect("it stays"), "");
    }

    #[test]
    fn a_torn_last_line_is_passed_over_and_spoils_no_other() {
        let folder = Folder::new("torn");
        let journal = folder.journal();
        journal.add(&entry("whole")).expect("the temporary folder is writable");
        let mut file = File::options().append(true).open(&journal.path).expect("it was just made");
        file.write_all(b"{\"kind\":\"container\",\"na").expect("it takes bytes");
        assert_eq!(journal.entries(), Ok(vec![entry("whole")]));
        journal.add(&entry("next")).expect("it takes lines");
        assert_eq!(journal.entries(), Ok(vec![entry("whole"), entry("next")]));
    }

    #[test]
    fn a_folder_that_cannot_be_had_is_told() {
        let journal = Journal::at(PathBuf::from("/proc/ringperf/environments.jsonl"));
        let failure = journal.add(&entry("x")).expect_err("/proc takes no folders");
        assert_eq!(failure.class(), Class::Environment);
        assert!(failure.to_string().contains("RINGPERF_STATE_DIR"), "{failure}");
    }
}
