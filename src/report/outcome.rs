//! How runs and collections end.
//!
//! It must not know what they did in detail.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything was done.
    Success,
    /// Some repositories failed; the others are done.
    Partial,
    /// A limit refused part or all of it; the rest is done.
    Refused,
    /// The registry could not be read, so nothing was done; or the collection after the run left it down.
    Failed,
    /// Another run of the registry was running, so this one did not begin.
    Skipped,
    /// It was asked to stop before it was done, for example by a signal; the rest is not done.
    Interrupted,
}

impl Outcome {
    /// Every outcome there is.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Partial, Self::Refused, Self::Failed, Self::Skipped, Self::Interrupted];

    /// Its fixed name, as in JSON and as a label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What one collection did.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionReport {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// How it ended.
    pub outcome: CollectionOutcome,
    /// From its beginning to its end.
    pub duration: Duration,
    /// How long the registry was down for it.
    pub downtime: Duration,
    /// Blobs that it removed.
    pub blobs: u64,
    /// Bytes of the blobs that it removed.
    pub bytes: u64,
    /// Why it failed or did not begin, for people.
    pub error: Option<String>,
}

impl CollectionReport {
    /// A collection that did not begin.
    pub fn skipped(at: DateTime<Utc>, why: String) -> Self {
        Self {
            at,
            outcome: CollectionOutcome::Skipped,
            duration: Duration::ZERO,
            downtime: Duration::ZERO,
            blobs: 0,
            bytes: 0,
            error: Some(why),
        }
    }
}

/// How a collection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CollectionOutcome {
    /// The registry has removed what nothing refers to.
    Success,
    /// It did not end, or it is not certain that it did.
    Failed,
    /// It did not begin, because there was too little to reclaim or for another reason.
    Skipped,
}

impl CollectionOutcome {
    /// Every outcome there is.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failed, Self::Skipped];

    /// Its fixed name, as in JSON and as a label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}
