//! What scans have observed over time: when a repository was first scanned, and since when a manifest is there.
//!
//! It must not know how old something is by that: that is decided by the plan.

use chrono::{DateTime, Utc};

/// When a repository was scanned for the first time.
///
/// A manifest that was there at the first scan may have been there for years. One that a later scan observed
/// was pushed between two scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstScan {
    /// The repository was never scanned.
    #[default]
    Never,
    /// At this moment.
    At(DateTime<Utc>),
    /// Unknown: the scan history was lost, and the repository was not scanned since.
    Lost,
    /// At this moment, for the first time after the scan history was lost.
    AfterLoss(DateTime<Utc>),
}

/// What scans have observed about one manifest of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// When a scan found the manifest for the first time, or the latest new tag on it. It is the moment of the
    /// first scan if the manifest was there then.
    pub noticed: DateTime<Utc>,
    /// When a scan found that no tag leads to it any more, directly or by an index.
    pub untagged_since: Option<DateTime<Utc>>,
    /// When an undo restored it.
    pub restored: Option<DateTime<Utc>>,
}
