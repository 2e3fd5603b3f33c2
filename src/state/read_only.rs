//! The state for read-only commands: they create no file and no directory, wait for no process and block none.
//!
//! In WAL mode SQLite creates files beside a database even to read it, and leaves them there. So only the owner of the
//! state opens it in place. Others read with the files of the process that holds it, or read a copy.

use std::fs::{File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};
use rustix::process::geteuid;
use url::Url;

use super::error::Error;
use super::file::{self, BUSY_TIMEOUT, FILE, LOCK, LOSS_NOTE};
use super::schema;
use super::store::State;

/// How often to check whether a process that holds the lock has created its file, and the pause in between.
const MAX_ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// What to do if the state may not be read.
const RUN_AS_OWNER: &str = ": run this as its owner, the user of the service";

impl State {
    /// Opens the state for a read-only command. The owner of the file may save what a scan has found, unless another
    /// process holds the state; for others nothing is written. `None` if there is no state and never was one. A state
    /// that is lost is an empty view that reports the loss, as the next run will.
    pub fn open_to_read(directory: &Path) -> Result<Option<Self>, Error> {
        let mut attempts = 1;
        loop {
            match open_once(directory) {
                // The lock may be held before the file is created, or still held after it is gone.
                Err(Error::Unreadable(..)) if attempts < MAX_ATTEMPTS && is_held(directory) => {
                    std::thread::sleep(PAUSE)
                }
                seen => return seen,
            }
            attempts += 1;
        }
    }
}

/// One attempt to open it.
fn open_once(directory: &Path) -> Result<Option<State>, Error> {
    let path = directory.join(FILE);
    let lock = match File::open(directory.join(LOCK)) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(directory, &error)),
    };
    match lock.as_ref().map(|lock| lock.try_lock_shared()) {
        Some(Err(TryLockError::WouldBlock)) => return held(directory, &path).map(Some),
        Some(Err(TryLockError::Error(error))) => return Err(unreadable(directory, &error)),
        Some(Ok(())) | None => {}
    }
    let found = match std::fs::metadata(&path) {
        Ok(found) => Some(found).filter(|found| found.len() > 0),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(directory, &error)),
    };
    match (found, lock) {
        (Some(found), lock) => not_held(directory, &path, &found, lock).map(Some),
        // A lock without a state means that the state was lost.
        (None, Some(_)) => lost(&path, "it is gone from where it was").map(Some),
        (None, None) => Ok(None),
    }
}

fn is_held(directory: &Path) -> bool {
    let lock = File::open(directory.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Opens a state that no process holds, nor can hold while `lock` is open.
fn not_held(directory: &Path, path: &Path, found: &Metadata, lock: Option<File>) -> Result<State, Error> {
    if found.uid() == geteuid().as_raw() {
        match file::unusable(path) {
            Ok(Some(why)) => return lost(path, &why),
            // The lock is only held until the file is open: a run may begin meanwhile. Both may save what they have
            // found.
            Ok(None) => match State::begin(directory, None, lock.is_some()) {
                Ok(state) if state.is_writable() => return Ok(state),
                Err(error @ Error::TooNew(..)) => return Err(error),
                Ok(_) | Err(_) => {}
            },
            Err(Error::Sqlite(error)) if file::is_unwritable(&error) => {}
            Err(error) => return Err(error),
        }
    }
    match copied(path, quiet(path)) {
        Err(Error::Sqlite(error)) if file::is_broken(&error) => lost(path, &error.to_string()),
        Err(Error::Sqlite(error)) => Err(foreign(directory, &error)),
        seen => seen,
    }
}

/// Opens the state of another process.
fn held(directory: &Path, path: &Path) -> Result<State, Error> {
    let live = "mode=ro&readonly_shm=1";
    let open_view = || {
        let connection = open(path, live)?;
        if schema::is_present(&connection)? { State::view(connection, None) } else { copied(path, live) }
    };
    open_view().map_err(|error| match error {
        Error::Sqlite(error) => foreign(directory, &error),
        error => error,
    })
}

/// How to open a file that no process writes. Without a log it is complete, and SQLite needs no files beside it.
fn quiet(path: &Path) -> &'static str {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
    if has_log { "mode=ro&readonly_shm=1" } else { "immutable=1" }
}

/// A copy of the file in a file without a name, migrated to the present version.
fn copied(path: &Path, how: &str) -> Result<State, Error> {
    let mut copy = Connection::open("")?;
    Backup::new(&open(path, how)?, &mut copy)?.step(-1)?;
    if !schema::is_ours(&copy, path)? {
        return lost(path, "it is a database of something else");
    }
    if let Some(damage) = file::damage(&copy)? {
        return lost(path, &damage);
    }
    schema::prepare(&copy, path, false)?;
    State::view(copy, None)
}

/// The empty state with which the next run will begin.
fn lost(path: &Path, why: &str) -> Result<State, Error> {
    let empty = Connection::open("")?;
    schema::prepare(&empty, path, true)?;
    State::view(empty, Some(format!("{}: {why}. {LOSS_NOTE}", path.display())))
}

fn open(path: &Path, how: &str) -> Result<Connection, Error> {
    let cannot = |why: String| Error::Unreadable(path.to_owned(), why);
    let absolute = std::path::absolute(path).map_err(|error| cannot(error.to_string()))?;
    let mut address = Url::from_file_path(absolute).map_err(|()| cannot("it has no address".to_owned()))?;
    address.set_query(Some(how));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(Path::new(address.as_str()), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn unreadable(directory: &Path, error: &io::Error) -> Error {
    let way_out = if error.kind() == ErrorKind::PermissionDenied { RUN_AS_OWNER } else { "" };
    Error::Unreadable(directory.to_owned(), format!("{error}{way_out}"))
}

fn foreign(directory: &Path, error: &rusqlite::Error) -> Error {
    Error::Unreadable(directory.to_owned(), format!("{error}{RUN_AS_OWNER}"))
}
