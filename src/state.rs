//! What outlives the process: what scans have seen, what was deleted, runs, collections and totals.
//!
//! One SQLite file in a directory that one process holds at a time. It knows no registry and decides
//! nothing. Losing it loses history and makes everything look younger; nothing is deleted sooner for it.

mod file;
mod history;
mod journal;
mod ledger;
mod memory;
mod runs;
mod schema;

pub use history::Filter;
pub use journal::{Departure, Entry, Fate};
pub use ledger::Ledger;
pub use runs::{Collection, Run, Total, TotalKind};

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use url::Url;

/// The name of the file in the directory.
const FILE: &str = "state.sqlite";
/// The name of the file that the holder has locked.
const LOCK: &str = "lock";
/// How long one writer waits for another. Both are ours, and none writes for long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Statements that stay prepared: there are fewer in this module.
const STATEMENTS: usize = 64;

/// What follows from the loss of a state, for people.
const LOST: &str = "Nothing is deleted sooner for it: ages that only the state knew begin anew. What the old one \
                    tells of deletions cannot be undone from the new one. If a registry was stopped for a \
                    collection just then, look whether it runs";

/// What went wrong with the state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error(
        "the state in {0} is in use by another regsweep: stop that one first, or give this one another `state_dir`"
    )]
    Locked(PathBuf),
    /// The directory or a file in it cannot be used.
    #[error("the state in {0} cannot be used: {1}: check that `state_dir` exists and may be written to")]
    Directory(PathBuf, #[source] std::io::Error),
    /// The file is from a later version.
    #[error("{0} was written by a later regsweep (version {1}): use that one, or another `state_dir`")]
    TooNew(PathBuf, i64),
    /// SQLite failed.
    #[error("the state cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// The open state. Clones share it.
#[derive(Clone)]
pub struct State {
    open: Arc<Open>,
}

/// Both connections are closed before the lock is let go: fields are dropped in this order.
struct Open {
    /// For what must be on the disk when the call returns.
    durable: Mutex<Connection>,
    /// For what scans have seen: a power cut may take the last of it, and it is seen again.
    quick: Mutex<Connection>,
    /// Whether an older memory was lost.
    forgotten: bool,
    /// Nothing of a view is locked, and nothing is written through it.
    writable: bool,
    _lock: Option<File>,
}

impl State {
    /// Opens the state in this directory, making both if need be. A file that cannot be used as a state
    /// is set aside for a new one, loudly.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let io = |error| Error::Directory(directory.to_owned(), error);
        std::fs::create_dir_all(directory).map_err(io)?;
        // Where a lock is, there was a state, so one that is missing now was lost.
        let known = directory.join(LOCK).exists();
        let lock = File::create(directory.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Self::hold(directory, lock, known),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(directory.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// Opens the state for a command that only looks. It makes no directory, and waits for nobody: beside
    /// a process that holds the state, and where nothing may be written, it is a view that cannot be
    /// written to. `None` if there is nothing to be seen.
    pub fn beside(directory: &Path) -> Result<Option<Self>, Error> {
        if !directory.is_dir() {
            return Ok(None);
        }
        let known = directory.join(LOCK).exists();
        let lock = match File::create(directory.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if unwritable(error.kind()) => return Ok(Self::view(directory)),
            Err(error) => return Err(Error::Directory(directory.to_owned(), error)),
        };
        match lock.try_lock() {
            Ok(()) => match Self::hold(directory, lock, known) {
                Err(Error::Sqlite(error)) if file::is_unwritable(&error) => Ok(Self::view(directory)),
                held => held.map(Some),
            },
            Err(_) => Ok(Self::view(directory)),
        }
    }

    /// Whether what is to be remembered will be.
    pub fn is_writable(&self) -> bool {
        self.open.writable
    }

    /// The part of the state that the collector of one registry writes.
    pub fn ledger(&self, registry: &str) -> Ledger {
        Ledger::new(self.clone(), registry)
    }

    fn hold(directory: &Path, lock: File, known: bool) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let mut lost = known;
        if let Some(why) = file::unusable(&path)? {
            let aside =
                file::set_aside(&path).map_err(|error| Error::Directory(directory.to_owned(), error))?;
            lost = true;
            tracing::error!(
                file = %path.display(),
                set_aside = %aside.display(),
                "the state could not be used ({why}), so it was set aside and a new one was begun. {LOST}"
            );
        } else if known && file::is_empty(&path) {
            tracing::error!(
                file = %path.display(), "the state is gone from where it was, so a new one was begun. {LOST}"
            );
        }
        let durable = connect(&path, OpenFlags::default(), "FULL")?;
        schema::prepare(&durable, &path, lost)?;
        let quick = connect(&path, OpenFlags::default(), "NORMAL")?;
        Self::with(durable, quick, Some(lock))
    }

    /// The state of another process, or one that may only be read.
    fn view(directory: &Path) -> Option<Self> {
        let path = directory.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let view = |path: &Path, flags, lock| {
            let durable = connect(path, flags, "FULL").ok()?;
            schema::is_present(&durable).ok().filter(|present| *present)?;
            let quick = connect(path, flags, "FULL").ok()?;
            Self::with(durable, quick, lock).ok()
        };
        view(&path, flags, None).or_else(|| {
            // SQLite cannot read beside possible writers without files of its own, which it cannot make
            // here. While we hold the lock there are no writers, and without a log the file is whole.
            let lock = File::open(directory.join(LOCK)).ok()?;
            lock.try_lock().ok()?;
            let log = std::fs::metadata(directory.join(format!("{FILE}-wal")));
            if log.is_ok_and(|log| log.len() > 0) {
                return None;
            }
            let mut address = Url::from_file_path(std::path::absolute(&path).ok()?).ok()?;
            address.set_query(Some("immutable=1"));
            view(Path::new(address.as_str()), flags | OpenFlags::SQLITE_OPEN_URI, Some(lock))
        })
    }

    fn with(durable: Connection, quick: Connection, lock: Option<File>) -> Result<Self, Error> {
        let forgotten = schema::is_forgotten(&durable)?;
        let writable = !durable.is_readonly(rusqlite::MAIN_DB)?;
        let (durable, quick) = (Mutex::new(durable), Mutex::new(quick));
        Ok(Self { open: Arc::new(Open { durable, quick, forgotten, writable, _lock: lock }) })
    }

    fn durable(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction rolls it back, so what is behind the lock is whole.
        self.open.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quick(&self) -> MutexGuard<'_, Connection> {
        self.open.quick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path, flags: OpenFlags, synchronous: &str) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Whether this says that one may not write or look there, and not that something is broken.
fn unwritable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// Does all of it or nothing. Who is going to write says so at once: it can wait for its turn then, and
/// not any more after it has read.
fn write<T>(
    mut connection: MutexGuard<'_, Connection>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
) -> Result<T, Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

/// A list or a map as one column. What cannot be read back later counts as unknown.
fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

/// SQLite has no unsigned numbers. No disk holds more bytes than a signed one can count.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Kind, RepositoryName, Tag};

    /// A deletion in `team/app`.
    pub(super) fn departure(digest: &str, tags: &[&str], bytes: u64) -> Departure {
        Departure {
            repository: RepositoryName::parse("team/app").unwrap(),
            digest: Digest::of(digest.as_bytes()),
            tags: tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect(),
            alone: false,
            kind: Kind::Image,
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            body: digest.as_bytes().to_vec(),
            policy: "apps".into(),
            rules: vec!["old".into()],
            reasons: vec!["older than 30 days".into()],
            bytes,
            dependents: Vec::new(),
        }
    }

    #[test]
    fn one_process_holds_the_state() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let second = State::open(directory.path()).err().unwrap();
        assert!(second.to_string().contains("in use by another regsweep"), "{second}");
        drop(state);
        State::open(directory.path()).unwrap();
    }

    #[test]
    fn a_file_of_a_later_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(State::open(directory.path()).unwrap());
        let file = Connection::open(directory.path().join("state.sqlite")).unwrap();
        file.pragma_update(None, "user_version", 99).unwrap();
        drop(file);
        assert!(matches!(State::open(directory.path()).err(), Some(Error::TooNew(_, 99))));
    }
}
