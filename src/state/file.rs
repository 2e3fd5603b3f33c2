//! Whether a file can be the state, and where one goes that cannot.

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
/// The name of the file that the holder has locked.
pub(super) const LOCK: &str = "lock";
/// How long to wait for somebody else who uses the file: nobody should, but for a look.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// What follows from the loss of a state, for people.
pub(super) const LOSS_NOTE: &str = "Nothing is deleted sooner for it: ages that only the state knew begin anew. What the old one \
                    tells of deletions cannot be undone from the new one. If a registry was stopped for a \
                    collection just then, look whether it runs";

/// The number of the user who may do everything.
const ROOT: u32 = 0;

/// What SQLite adds to the name of a database for the files beside it.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// Why this file cannot be used as a state: it is broken, or not ours. It is not changed.
///
/// A file of a later version is neither: the right version can use it.
pub(super) fn unusable(path: &Path) -> Result<Option<String>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    match examine(path) {
        Err(Error::Sqlite(error)) if is_broken(&error) => Ok(Some(error.to_string())),
        examined => examined,
    }
}

/// Gives what root has made to the user to whom the directory belongs, which is the service's. Without it, the
/// service could not write a state that a command of root's has begun.
pub(super) fn leave_to_owner(directory: &Path) -> io::Result<()> {
    let owner = std::fs::metadata(directory)?;
    if !geteuid().is_root() || owner.uid() == ROOT {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name == LOCK || name.starts_with(FILE));
        // Not where a link leads.
        if is_ours && entry.metadata().is_ok_and(|found| found.uid() == ROOT && found.is_file()) {
            lchown(entry.path(), Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// Whether there is nothing in this file, or no such file.
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
    // What is set aside is to be found as it was, with its log.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if !schema::is_ours(&connection, path)? {
        return Ok(Some("it is a database of something else".to_owned()));
    }
    Ok(damage(&connection)?)
}

/// What is broken in a file, if anything is.
pub(super) fn damage(connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// Whether this says that a file is broken, or no database.
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

/// Renames the file, and what SQLite keeps beside it, to the first free name.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let beside = |base: &Path, suffix: &str| {
        let mut name = base.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let free = |base: &PathBuf| BESIDE.iter().all(|suffix| beside(base, suffix).symlink_metadata().is_err());
    let aside = (1_u32..)
        .map(|number| beside(path, &format!(".set-aside-{number}")))
        .find(free)
        .ok_or(io::ErrorKind::AlreadyExists)?;
    // The database goes first: without its log it could pass for a whole one, with less in it.
    for suffix in BESIDE {
        match std::fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}
