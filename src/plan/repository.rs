//! The plan of one repository: a verdict on each manifest, with all reasons.
//!
//! It must not know how verdicts are reached.

use chrono::{DateTime, TimeDelta, Utc};

use super::evidence::Evidence;
use super::intent::Intent;
use super::reason::Reason;
use super::verdict::{Counted, Verdict};
use crate::model::{Digest, Kind, RepositoryName, Tag};

/// The verdicts on everything that one repository holds.
#[derive(Debug, Clone, PartialEq)]
pub struct RepositoryPlan {
    /// The repository.
    pub repository: RepositoryName,
    /// What the plan carries out.
    pub intent: Intent,
    /// How many tags it has, including those of referrers.
    pub tags: usize,
    /// How `at_least` and `max_percent` count its manifests; without those that they do not count.
    pub counted: Vec<Counted>,
    /// How many of its manifests are kept.
    pub kept: usize,
    /// The kept manifests, youngest first, unless [`RepositoryPlan::drop_kept`] has dropped them; then the
    /// deleted ones, in the order of their deletion.
    pub manifests: Vec<Planned>,
    /// Expired tags that are removed alone, because their manifests are kept.
    pub untag: Vec<Untag>,
    /// Names that the registry lists as tags although they have no manifest.
    pub dangling_tags: Vec<String>,
    /// Bytes of the manifests and blobs that only deleted manifests of this repository refer to, each counted
    /// once. Other repositories may refer to them too, so a collection may free less.
    pub expired_bytes: u64,
    /// Bytes of the manifests and blobs that kept manifests of this repository refer to, each counted once, as
    /// far as they were read.
    pub referenced_bytes: u64,
}

impl RepositoryPlan {
    /// The deleted manifests, in the order of their deletion.
    pub fn deletions(&self) -> impl Iterator<Item = &Planned> {
        self.manifests.iter().filter(|planned| planned.verdict == Verdict::Delete)
    }

    /// Drops the kept manifests, of which there can be many, but not their number.
    pub fn drop_kept(&mut self) {
        self.manifests.retain(|planned| planned.verdict == Verdict::Delete);
        self.manifests.shrink_to_fit();
    }

    /// Whether nothing would be changed in the repository.
    pub fn is_idle(&self) -> bool {
        self.untag.is_empty() && self.deletions().next().is_none()
    }
}

/// The verdict on one manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The manifest.
    pub digest: Digest,
    /// Every tag on it, including those of a referrer, in natural order.
    pub tags: Vec<Tag>,
    /// How `at_least` and `max_percent` count it, if they do.
    pub counted_as: Option<Counted>,
    /// What it is.
    pub kind: Kind,
    /// When it was created, if it has a credible claim; an index without one has that of its youngest child.
    pub created: Option<DateTime<Utc>>,
    /// Its age at the moment of the plan; `None` if it is unknown.
    pub age: Option<TimeDelta>,
    /// All evidence of its age.
    pub evidence: Vec<Evidence>,
    /// Bytes of the manifest, its blobs, and all its children with theirs, each counted once.
    pub bytes: u64,
    /// Bytes that its deletion frees: of a deleted manifest, itself and those of its blobs that no kept manifest
    /// and none that is deleted before it refers to.
    pub frees: u64,
    /// Whether it is kept or deleted.
    pub verdict: Verdict,
    /// The rules that claim its tags.
    pub rules: Vec<String>,
    /// Every reason that applies, for the verdict and against it.
    pub reasons: Vec<Reason>,
    /// Of a deleted manifest, the manifests that must be deleted before it: the indexes that list it and its
    /// subjects. If one of them cannot be deleted, this one is kept.
    pub after: Vec<Digest>,
}

/// An expired tag that is removed alone, because its manifest is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untag {
    /// The tag to remove.
    pub tag: Tag,
    /// The manifest it points to, which is kept.
    pub digest: Digest,
    /// What the manifest is.
    pub kind: Kind,
    /// The rule that no longer keeps the tag.
    pub rule: String,
}

impl Planned {
    /// The reasons for the verdict, in one text.
    pub fn why(&self) -> String {
        let reasons = self.reasons.iter().filter(|reason| reason.verdict() == self.verdict);
        reasons.map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl Untag {
    /// Why a tag that this rule claims is removed.
    pub fn reason(rule: &str) -> String {
        format!("rule {rule} no longer keeps the tag; its image is kept")
    }
}
