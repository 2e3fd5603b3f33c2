//! The file of the state: whether it can be used, and where an unusable one is moved.

use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::process::geteuid;

use super::error::Error;
use super::schema;

/// The name of the file in the directory.
pub(super) const FILE: &str = "state.sqlite";
/// The name of the file that the process that holds the state has locked.
pub(super) const LOCK: &str = "lock";
/// How long to wait for another process that uses the file, which is rare and short.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// What the loss of a state means, for people.
pub(super) const LOSS_NOTE: &str = "Nothing is deleted sooner for it: ages that only the state knew start again. Deletions in the old \
                                    state cannot be undone from the new one. If a collection had stopped a registry \
                                    then, check that it is running";

/// The user id of root.
const ROOT: u32 = 0;

/// The suffixes of the files that SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// Why this file cannot be used as a state: it is damaged, or a database of another program. The file is not changed.
///
/// A file of a later version is neither: a later regsweep can use it.
pub(super) fn unusable(path: &Path) -> Result<Option<String>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    match examine(path) {
        Err(Error::Sqlite(error)) if is_broken(&error) => Ok(Some(error.to_string())),
        examined => examined,
    }
}

/// Gives files that root has created to the owner of the directory. Without that, the service could not write a state
/// that a command of root has created.
pub(super) fn leave_to_owner(directory: &Path) -> io::Result<()> {
    let owner = std::fs::metadata(directory)?;
    if !geteuid().is_root() || owner.uid() == ROOT {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name == LOCK || name.starts_with(FILE));
        // Not the target of a link.
        if is_ours && entry.metadata().is_ok_and(|found| found.uid() == ROOT && found.is_file()) {
            lchown(entry.path(), Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// Whether the file is empty or does not exist.
pub(super) fn is_empty(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(found) => found.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn examine(path: &Path) -> Result<Option<String>, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A file that is set aside must be kept as it was, with its log.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if !schema::is_ours(&connection, path)? {
        return Ok(Some("it is a database of something else".to_owned()));
    }
    Ok(damage(&connection)?)
}

/// What is damaged in a file; `None` if nothing is.
pub(super) fn damage(connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// Whether this error means that a file is damaged, or no database.
pub(super) fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the file or its folder may not be written to.
pub(super) fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
    )
}

/// Renames the file, and the files that SQLite keeps beside it, to the first free name.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let beside = |base: &Path, suffix: &str| {
        let mut name = base.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let free = |base: &PathBuf| BESIDE.iter().all(|suffix| beside(base, suffix).symlink_metadata().is_err());
    let renamed = (1_u32..)
        .map(|number| beside(path, &format!(".set-aside-{number}")))
        .find(free)
        .ok_or(io::ErrorKind::AlreadyExists)?;
    // The database first: without its log it would look complete, with less in it.
    for suffix in BESIDE {
        match std::fs::rename(beside(path, suffix), beside(&renamed, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(renamed)
}
