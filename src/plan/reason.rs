//! Why something is kept or deleted: a fixed code for programs, a sentence for people. All output takes it from here.
//!
//! It must not know when a reason applies.

use std::fmt;

use chrono::TimeDelta;

use super::finding::Finding;
use super::verdict::Verdict;
use crate::model::{Digest, Tag, duration, tag_list};
use crate::policy::Label;

/// For so long a manifest is kept after an undo, so that there is time to correct the rules that deleted it.
pub const RESTORED_STAYS: TimeDelta = TimeDelta::days(7);

/// One reason for or against a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentence of each is in its Display")]
pub enum Reason {
    ProtectedTag { tag: Tag },
    ProtectedLabel { label: Label },
    ProtectedAge { age: TimeDelta, limit: TimeDelta },
    AtLeast { count: usize },
    Unclaimed { tag: Tag },
    KeepAll { rule: String, tags: Vec<Tag> },
    Criterion { rule: String, tags: Vec<Tag>, finding: Finding },
    NotAVersion { rule: String, tag: Tag },
    Restored { age: TimeDelta },
    AgeUnknown,
    Unread { why: String },
    ChildOf { parent: Digest },
    ReferrerOf { subject: Digest },
    SubjectOf { referrer: Digest },
    Untagged,
    YoungUntagged { age: TimeDelta, limit: TimeDelta },
    YoungOrphan { subject: String },
    SharesManifest { tag: Tag, with: Vec<Tag> },
    TagExpired { tag: Tag },
    Expired { rule: String, tags: Vec<Tag>, findings: Vec<Finding> },
    ExpiredUntagged { age: TimeDelta, limit: TimeDelta },
    Orphan { subject: String },
    Leftover,
    Placeholder { tag: Tag },
    WithParent { parent: Digest },
    WithSubject { subject: Digest },
}

impl Reason {
    /// Its fixed name. It is part of the JSON of a plan and does not change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ProtectedTag { .. } => "protected-tag",
            Self::ProtectedLabel { .. } => "protected-label",
            Self::ProtectedAge { .. } => "protected-newer-than",
            Self::AtLeast { .. } => "at-least",
            Self::Unclaimed { .. } => "unclaimed",
            Self::KeepAll { .. } => "keep-all",
            Self::Criterion { finding, .. } => finding.code(),
            Self::NotAVersion { .. } => "not-a-version",
            Self::Restored { .. } => "restored",
            Self::AgeUnknown => "age-unknown",
            Self::Unread { .. } => "unread",
            Self::ChildOf { .. } => "child-of-kept",
            Self::ReferrerOf { .. } => "referrer-of-kept",
            Self::SubjectOf { .. } => "subject-of-kept",
            Self::Untagged => "untagged",
            Self::YoungUntagged { .. } => "untagged-newer-than",
            Self::YoungOrphan { .. } => "orphan-newer-than",
            Self::SharesManifest { .. } => "shares-manifest",
            Self::TagExpired { .. } => "tag-expired",
            Self::Expired { .. } => "expired",
            Self::ExpiredUntagged { .. } => "expired-untagged",
            Self::Orphan { .. } => "orphan",
            Self::Leftover => "leftover",
            Self::Placeholder { .. } => "placeholder",
            Self::WithParent { .. } => "child-of-expired",
            Self::WithSubject { .. } => "referrer-of-expired",
        }
    }

    /// The verdict that it is a reason for.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::ProtectedTag { .. }
            | Self::ProtectedLabel { .. }
            | Self::ProtectedAge { .. }
            | Self::AtLeast { .. }
            | Self::Unclaimed { .. }
            | Self::KeepAll { .. }
            | Self::Criterion { .. }
            | Self::NotAVersion { .. }
            | Self::Restored { .. }
            | Self::AgeUnknown
            | Self::Unread { .. }
            | Self::ChildOf { .. }
            | Self::ReferrerOf { .. }
            | Self::SubjectOf { .. }
            | Self::Untagged
            | Self::YoungUntagged { .. }
            | Self::YoungOrphan { .. }
            | Self::SharesManifest { .. } => Verdict::Keep,
            Self::TagExpired { .. }
            | Self::Expired { .. }
            | Self::ExpiredUntagged { .. }
            | Self::Orphan { .. }
            | Self::Leftover
            | Self::Placeholder { .. }
            | Self::WithParent { .. }
            | Self::WithSubject { .. } => Verdict::Delete,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtectedTag { tag } => write!(f, "tag {tag} is protected (protect.tags)"),
            Self::ProtectedLabel { label } => {
                write!(f, "it has the protected label {label} (protect.labels)")
            }
            Self::ProtectedAge { age, limit } => {
                let (age, limit) = (duration::rough(*age), duration::exact(*limit));
                write!(f, "it is only {age} old (protect.newer_than: {limit})")
            }
            Self::AtLeast { count } => {
                write!(
                    f,
                    "without it, too few images would be left in the repository (protect.at_least: {count})"
                )
            }
            Self::Unclaimed { tag } => write!(f, "no rule claims tag {tag}"),
            Self::KeepAll { rule, tags } => write!(f, "rule {rule} keeps {} (keep: all)", tag_list(tags)),
            Self::Criterion { rule, tags, finding } => {
                write!(f, "rule {rule} keeps {}: {finding}", tag_list(tags))
            }
            Self::NotAVersion { rule, tag } => {
                write!(f, "rule {rule} keeps {tag}: it is not a semantic version (versions)")
            }
            Self::Restored { age } => {
                let (age, kept) = (duration::rough(*age), duration::exact(RESTORED_STAYS));
                write!(f, "an undo restored it {age} ago, and it is kept for {kept} after that")
            }
            Self::AgeUnknown => f.write_str("its age is unknown: there is no credible evidence"),
            Self::Unread { why } => write!(f, "it could not be read completely: {why}"),
            Self::ChildOf { parent } => write!(f, "the kept index {} lists it", parent.short()),
            Self::ReferrerOf { subject } => write!(f, "it refers to the kept manifest {}", subject.short()),
            Self::SubjectOf { referrer } => write!(f, "the kept manifest {} refers to it", referrer.short()),
            Self::Untagged => f.write_str("it has no tag, and the policy does not delete it (untagged)"),
            Self::YoungUntagged { age, limit } => {
                let (age, limit) = (duration::rough(*age), duration::exact(*limit));
                write!(
                    f,
                    "it has no tag, but was pushed or lost its last tag only {age} ago (untagged.newer_than: {limit})"
                )
            }
            Self::YoungOrphan { subject } => {
                write!(f, "its subject {subject} was deleted, but it is too young (protect.newer_than)")
            }
            Self::SharesManifest { tag, with } => {
                write!(
                    f,
                    "{tag} is expired, but cannot be removed alone: it shares its manifest with {}",
                    tag_list(with)
                )
            }
            Self::TagExpired { tag } => write!(f, "{tag} is expired and is removed alone"),
            Self::Expired { rule, tags, findings } if findings.is_empty() => {
                write!(f, "rule {rule} no longer keeps {} (keep: none)", tag_list(tags))
            }
            Self::Expired { rule, tags, findings } => {
                write!(f, "rule {rule} no longer keeps {}", tag_list(tags))?;
                for (position, finding) in findings.iter().enumerate() {
                    write!(f, "{} {finding}", if position == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
            Self::ExpiredUntagged { age, limit } => {
                let (age, limit) = (duration::rough(*age), duration::exact(*limit));
                write!(
                    f,
                    "it has no tag, and was pushed or lost its last tag {age} ago (untagged.newer_than: {limit})"
                )
            }
            Self::Orphan { subject } => write!(f, "its subject {subject} was deleted"),
            Self::Leftover => f.write_str("regsweep deleted its index or subject earlier and left it over"),
            Self::Placeholder { tag } => {
                write!(
                    f,
                    "regsweep pushed it to remove the tag {tag} and was interrupted before it deleted it"
                )
            }
            Self::WithParent { parent } => {
                write!(f, "it is deleted with the expired index {}", parent.short())
            }
            Self::WithSubject { subject } => {
                write!(f, "it is deleted with its expired subject {}", subject.short())
            }
        }
    }
}
