//! A job that runs beside a registry, such as its `garbage-collect`.
//!
//! It says what runs and on what conditions, and knows neither containers nor processes.

use crate::process::Stream;

/// A program to run on the registry's files.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The program and its arguments.
    pub(crate) command_line: Vec<String>,
    /// The network of the job, where it runs in a container of its own.
    pub(crate) network: Network,
    /// A file that has to be the same in a container of its own as in the registry's: if it is on none of the volumes,
    /// it may differ there, and the job would work on another place.
    pub(crate) same_file: Option<File>,
}

/// Which network a job needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// None: everything is in files.
    None,
    /// That of the registry.
    Registry,
}

/// A text file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Takes in what a job prints.
pub(crate) trait OutputSink: Send {
    /// Takes in more bytes of a stream; they may end anywhere in a line.
    fn take(&mut self, stream: Stream, bytes: &[u8]);
}
