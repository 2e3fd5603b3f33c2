//! The record of what must be undone or finished if the process ends in the middle of a collection.
//!
//! The caller implements it; a collection only writes it, before each step.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Digest;

/// Stores, outside this process, the steps of a collection that have to be undone or finished after a crash. Between
/// [`RecoveryLog::record_stopping`] and [`RecoveryLog::record_restored`] the registry is down.
pub trait RecoveryLog: Send + Sync {
    /// The registry is about to be stopped (or, with method `exec`, has to be restarted). Durable on return.
    fn record_stopping(&self) -> anyhow::Result<()>;
    /// The registry that is about to be stopped was started at this time, in the notation of its runtime.
    fn record_started_at(&self, at: &str) -> anyhow::Result<()>;
    /// The registry answers again.
    fn record_restored(&self) -> anyhow::Result<()>;
    /// These blobs may be swept from now on; a size that is not known is 0. The registry's cache may from now on be wrong
    /// about the digests in `stale`: after a crash, [`Collector::clear_cache`](super::Collector::clear_cache) has to
    /// clear them. Durable on return.
    fn record_sweeping(&self, blobs: &BTreeMap<Digest, u64>, stale: &BTreeSet<Digest>) -> anyhow::Result<()>;
    /// The cache has no entries of them any more.
    fn record_cache_cleared(&self) -> anyhow::Result<()>;
}
