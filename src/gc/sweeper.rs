//! The interface of a sweeper, which finds and removes the blobs that nothing refers to.
//!
//! It knows neither how the registry is stopped nor the order of the steps of a collection.

pub(super) mod registry;

use std::collections::BTreeSet;

use crate::gc::error::Error;
use crate::model::Digest;
use crate::runtime::Deadline;

/// Finds and removes the blobs of a registry that nothing refers to.
pub(super) trait Sweeper: Clone + Send + Sync + 'static {
    /// Finds what a sweep would remove. Changes nothing.
    fn dry_run(&self, deadline: Deadline) -> impl Future<Output = Result<DryRun, Error>> + Send;

    /// Whether blobs can be read one by one.
    fn sees_blobs(&self) -> impl Future<Output = Result<bool, Error>> + Send;

    /// The bytes of a blob; `None` if it does not exist. Only where [`Sweeper::sees_blobs`].
    fn blob_size(&self, digest: &Digest) -> impl Future<Output = Result<Option<u64>, Error>> + Send;

    /// Removes the blobs. If this fails or is dropped, [`Sweeper::end`] ends what still runs.
    fn sweep(&self, deadline: Deadline) -> impl Future<Output = Result<Findings, Error>> + Send;

    /// Ends a dry run or a sweep that may still run.
    fn end(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether the sweep may start the registry itself, so that a registry which runs is no interference.
    fn may_start_registry(&self) -> bool;
}

/// The result of a dry run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DryRun {
    /// This sweeper has no dry run.
    Unsupported,
    /// What a sweep would remove.
    Done(Findings),
}

/// What a dry run or a sweep found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Findings {
    /// It was complete.
    Eligible {
        /// The blobs that are eligible for deletion or, after a sweep, deleted.
        blobs: BTreeSet<Digest>,
        /// The blobs that are removed from one repository, and may stay in others (3.x).
        unlinked: BTreeSet<Digest>,
        /// How many blobs are in use.
        marked: u64,
    },
    /// The storage has no folder of repositories or of blobs: nothing was ever pushed.
    EmptyStorage,
}
