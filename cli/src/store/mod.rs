//! The store: one SQLite file with every run, its points and their records.
//!
//! A point is on the disk (`synchronous=FULL`) before [`Store::finish_point`] returns, so that whatever ends
//! the process loses at most the point that was being measured. One process writes at a time, held off by a
//! lock on a file beside the store; readers are not held off. What the results mean is not decided here.

mod read;
mod schema;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Class, Failure};
pub(crate) use read::{PointRow, RunRow, State};
pub(crate) use write::{NewRun, RunId};

/// How long to wait for the lock that a reader holds for a moment.
const BUSY: Duration = Duration::from_secs(10);

/// An open store.
pub(crate) struct Store {
    db: Connection,
    path: PathBuf,
    /// Held by the one who writes.
    _lock: Option<File>,
}

impl Store {
    /// Opens it to write, and makes it where there is none.
    ///
    /// # Errors
    /// STORE where another process writes to it, where it is no store of this release, and where the file
    /// system refuses.
    pub(crate) fn write(path: &Path) -> Result<Self, Failure> {
        let tried = format!("open the store {}", path.display());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                Failure::io(Class::Store, &tried, &error)
                    .setting("--store, and the rights to its folder")
                    .next("give another file: --store FILE")
            })?;
        }
        let lock = lock(path, &tried)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |error: rusqlite::Error| failure(&tried, path, &error);
        let mut db = Connection::open_with_flags(path, flags).map_err(failed)?;
        db.busy_timeout(BUSY).map_err(failed)?;
        ours(&db, path, &tried, true)?;
        // Readers and the writer do not wait for each other; a commit is on the disk when it returns.
        db.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        db.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        schema::migrate(&mut db).map_err(failed)?;
        Ok(Self { db, path: path.to_owned(), _lock: Some(lock) })
    }

    /// Opens one that is there, to read.
    ///
    /// # Errors
    /// STORE where there is none, or it is no store of this release.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let tried = format!("open the store {}", path.display());
        if !path.exists() {
            return Err(Failure::new(Class::Store, tried, "there is no such file")
                .setting("--store")
                .next("make one: ringperf sweep --store FILE --vary socket-buffer=4K,64K,1M"));
        }
        // A store in WAL mode cannot be read without its shared memory, which a reader may have to make.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |error: rusqlite::Error| failure(&tried, path, &error);
        let db = Connection::open_with_flags(path, flags)
            .or_else(|_| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY))
            .map_err(failed)?;
        db.busy_timeout(BUSY).map_err(failed)?;
        ours(&db, path, &tried, false)?;
        db.pragma_update(None, "query_only", true).map_err(failed)?;
        Ok(Self { db, path: path.to_owned(), _lock: None })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What to say of an error of the database.
    fn failure(&self, tried: &str, error: &rusqlite::Error) -> Failure {
        failure(tried, &self.path, error)
    }
}

/// The store that is used where none is named: `ringperf/results.db` in the user's data directory (XDG).
///
/// # Errors
/// ENV where there is no home directory.
pub(crate) fn default_path() -> Result<PathBuf, Failure> {
    etcetera::choose_base_strategy().map(|folders| folders.data_dir().join("ringperf/results.db")).map_err(
        |error| {
            Failure::new(Class::Environment, "find the data directory", error.to_string())
                .setting("HOME and XDG_DATA_HOME")
                .next("name the store: --store FILE")
        },
    )
}

/// Takes the lock of the one who writes. The kernel drops it with the process, however that ends.
fn lock(path: &Path, tried: &str) -> Result<File, Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(|error| {
        Failure::io(Class::Store, tried, &error)
            .setting(format!("the rights to {}", name.display()))
            .next("give another file: --store FILE")
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Failure::new(Class::Store, tried, "another process writes to it")
                .setting("one sweep or lab writes to a store at a time")
                .next(format!("see who: fuser -v {}; or give another file: --store FILE", name.display())))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(Failure::io(Class::Store, tried, &error)
            .setting("whether its file system has locks")
            .next("give a file on a local disk: --store FILE")),
    }
}

/// Refuses databases of other programs and of later releases, before anything is written to them.
fn ours(db: &Connection, path: &Path, tried: &str, may_be_empty: bool) -> Result<(), Failure> {
    let failed = |error: rusqlite::Error| failure(tried, path, &error);
    let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(failed)?;
    let known = schema::VERSION;
    let version = schema::version(db).map_err(failed)?;
    let cause = if id == schema::APPLICATION_ID && version > known {
        format!("it is of a later release: version {version}, this one knows {known}")
    } else if id == schema::APPLICATION_ID || (tables == 0 && may_be_empty) {
        return Ok(());
    } else if tables == 0 {
        "it is empty".to_owned()
    } else {
        "it is the database of another program".to_owned()
    };
    Err(Failure::new(Class::Store, tried, cause).setting("--store").next("give another file: --store FILE"))
}

/// What an error of the database means for the store at `path`.
pub(crate) fn failure(tried: &str, path: &Path, error: &rusqlite::Error) -> Failure {
    let (setting, next) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ("the space on its disk", format!("df -h {}", folder(path).display())),
        Some(ErrorCode::ReadOnly) => (
            "the rights to the file and its folder, and whether its file system is mounted to be written to",
            format!("ls -la {0}; findmnt --target {0}", folder(path).display()),
        ),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            ("--store", "give another file: --store FILE; this one is left as it is".to_owned())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ("who else has it open", format!("fuser -v {}", path.display()))
        }
        _ => (
            "--store, and the rights to the file and its folder",
            format!("ls -la {}", folder(path).display()),
        ),
    };
    let cause = match error {
        rusqlite::Error::SqliteFailure(code, text) => text.clone().unwrap_or_else(|| code.to_string()),
        other => other.to_string(),
    };
    Failure::new(Class::Store, tried, cause).setting(setting).next(next)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
