//! The tables, and how older files become newer ones.

use std::path::Path;

use rusqlite::Connection;

use super::Error;

/// Each step makes a file of one version into one of the next. A released step never changes.
const STEPS: &[&str] = &["
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        registry TEXT NOT NULL,
        started TEXT NOT NULL,
        finished TEXT,
        outcome TEXT,
        deleted INTEGER NOT NULL DEFAULT 0,
        untagged INTEGER NOT NULL DEFAULT 0,
        error TEXT
    ) STRICT;
    CREATE TABLE collection (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        registry TEXT NOT NULL,
        at TEXT NOT NULL,
        outcome TEXT NOT NULL,
        duration REAL NOT NULL,
        downtime REAL NOT NULL,
        blobs INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        error TEXT
    ) STRICT;
    CREATE TABLE total (
        kind TEXT NOT NULL,
        registry TEXT NOT NULL,
        policy TEXT NOT NULL,
        value INTEGER NOT NULL,
        PRIMARY KEY (kind, registry, policy)
    ) STRICT, WITHOUT ROWID;
    -- Registries that we stopped and have not seen answer again.
    CREATE TABLE stopped (registry TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    -- Blobs that a collection was about to sweep, until they are counted.
    CREATE TABLE sweep (
        registry TEXT NOT NULL,
        digest TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (registry, digest)
    ) STRICT, WITHOUT ROWID;
"];

/// Brings a file to the present version.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), Error> {
    // A commit is on the disk when it returns: what it notes must survive a power cut.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).ok().filter(|done| *done <= STEPS.len());
    let Some(done) = done else { return Err(Error::TooNew(path.to_owned(), version)) };
    for (step, sql) in STEPS.iter().enumerate().skip(done) {
        let next = step + 1;
        connection.execute_batch(&format!("BEGIN; {sql} PRAGMA user_version = {next}; COMMIT;"))?;
    }
    Ok(())
}
