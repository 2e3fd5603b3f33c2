//! What a plan depends on besides what is planned.
//!
//! It must not know snapshots or policies.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::model::{Digest, TagDeletion};
use crate::policy::Protect;

/// What a plan depends on besides the snapshot and the policy.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// The moment of the plan: ages are counted until then.
    pub now: DateTime<Utc>,
    /// The time zone in which days, weeks, months and years begin.
    pub timezone: Tz,
    /// What is kept whatever the rules say.
    pub protect: &'a Protect,
    /// Whether an expired tag is removed although its manifest is kept.
    pub tag_deletion: TagDeletion,
    /// Manifests that an earlier plan of this run deletes together with an index or a subject that the run has
    /// deleted since. They are still deleted, unless something needs them or has tagged them meanwhile.
    pub parents_deleted: &'a BTreeSet<Digest>,
}
