//! The results of a collection and of a check whether one could begin.

use std::collections::BTreeSet;

use crate::model::Digest;

/// What one collection freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reclaimed {
    /// How many blobs were removed.
    pub blobs: u64,
    /// The bytes of the removed blobs whose size was measured before the sweep. Where the storage cannot be read
    /// (object storage, or a command whose configuration file is not readable here), this is 0, and the caller may know
    /// the sizes of `removed` from elsewhere.
    pub bytes: u64,
    /// How many blobs the registry says are in use; 0 where a command does not say it.
    pub marked: u64,
    /// The blobs that existed before and do not exist now. Where the storage cannot be read, those that the registry
    /// says it deleted.
    pub removed: BTreeSet<Digest>,
}

/// How a collection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectionResult {
    /// Blobs were swept.
    Reclaimed(Reclaimed),
    /// There is less to free than a collection is worth; the registry was not stopped.
    BelowMinimum {
        /// Bytes that a collection would have freed.
        reclaimable: u64,
    },
    /// There is nothing to free, or nothing is stored at all; the registry was not stopped.
    NothingToDo,
}

/// What a check found that a collection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// What runs the registry, or the collection, for people.
    pub runtime: String,
    /// Whether the registry's blobs can be read one by one.
    pub sees_store: bool,
    /// The address of the Redis whose cache a collection clears.
    pub redis: Option<String>,
}
