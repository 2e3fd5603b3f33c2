//! Errors of the state, each with what to do about it.

use std::path::PathBuf;

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
    Directory(PathBuf, std::io::Error),
    /// A read-only command cannot read the state.
    #[error("the state in {0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
    /// The file is from a later version.
    #[error("{0} was written by a later regsweep (version {1}): use that one, or another `state_dir`")]
    TooNew(PathBuf, i64),
    /// SQLite failed.
    #[error("the state cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
