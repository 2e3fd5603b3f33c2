//! What the state knows of a registry's past, in the numbers that counters continue from after a restart.
//!
//! It knows no metric and no page.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::report::Outcome;

/// The past of one registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistrySummary {
    /// What has been deleted, by policy.
    pub deleted: BTreeMap<String, DeletedCount>,
    /// Blobs that collections have removed.
    pub reclaimed_blobs: u64,
    /// Bytes that collections have removed.
    pub reclaimed_bytes: u64,
    /// When the last run ended.
    pub last_run: Option<DateTime<Utc>>,
    /// How the last run ended.
    pub last_outcome: Option<Outcome>,
    /// When the last successful run ended.
    pub last_success: Option<DateTime<Utc>>,
    /// When the last successful collection ended.
    pub last_collection: Option<DateTime<Utc>>,
    /// Whether the last collection succeeded; `None` if there was none.
    pub last_collection_succeeded: Option<bool>,
}

/// How much has been deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeletedCount {
    /// Manifests.
    pub manifests: u64,
    /// Tags, with their manifest or alone.
    pub tags: u64,
}
