//! The tables of a store, and how an older store gets what it lacks.
//!
//! Migrations add; none rewrites a result. A store of a later release is not opened.

use rusqlite::Connection;

/// What `PRAGMA application_id` says of a store: "rngp".
pub(super) const APPLICATION_ID: i64 = 0x726e_6770;

/// Each brings a store from the version of its index to the next one.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE machine (
        id INTEGER PRIMARY KEY,
        facts TEXT NOT NULL UNIQUE      -- JSON: what results depend on
    ) STRICT;
    CREATE TABLE run (
        id INTEGER PRIMARY KEY,
        tag TEXT NOT NULL,              -- what compare and report call it by
        test TEXT NOT NULL,
        plan TEXT NOT NULL,             -- JSON: what was to be measured; equal plans are the same sweep
        words TEXT NOT NULL,            -- JSON: the options, for a resumption
        command TEXT NOT NULL,          -- JSON: the command line
        target TEXT NOT NULL,           -- JSON: against whom, and in which environment
        machine INTEGER NOT NULL REFERENCES machine (id),
        started TEXT NOT NULL,          -- UTC, RFC 3339
        ended TEXT,                     -- absent while it runs, and where it was killed
        state TEXT NOT NULL CHECK (state IN ('running', 'done', 'interrupted', 'failed'))
    ) STRICT;
    CREATE INDEX run_by_tag ON run (tag);
    CREATE TABLE point (
        id INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES run (id),
        ordinal INTEGER NOT NULL,       -- place in the order of the run, from 0
        setting TEXT NOT NULL,          -- JSON: the values of what varies
        repetition INTEGER NOT NULL,    -- from 1
        state TEXT NOT NULL CHECK (state IN ('planned', 'done', 'failed')),
        ended TEXT,
        error TEXT,                     -- JSON: why it failed the last time
        UNIQUE (run, ordinal)
    ) STRICT;
    CREATE TABLE record (
        point INTEGER PRIMARY KEY REFERENCES point (id),
        json TEXT NOT NULL              -- as ringperf run --json prints it
    ) STRICT;
    CREATE TABLE sample (
        point INTEGER NOT NULL REFERENCES point (id),
        ended_ns INTEGER NOT NULL,      -- end of the interval, since the start
        bytes_sent INTEGER NOT NULL,    -- counted by then
        bytes_received INTEGER NOT NULL,
        PRIMARY KEY (point, ended_ns)
    ) STRICT, WITHOUT ROWID;
"];

/// The version that this release knows.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// Brings the tables to this release's version, all at once or not at all.
pub(super) fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    for migration in MIGRATIONS.iter().skip(version as usize) {
        transaction.execute_batch(migration)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// The version of a store; 0 of one that has no tables yet.
pub(super) fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}
