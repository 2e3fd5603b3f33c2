//! Why something is kept or deleted: a fixed code for machines, a sentence for people.

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
    /// A fixed word for the reason. Codes are part of the JSON form of a plan and do not change.
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

    /// Which verdict the reason speaks for.
    pub fn speaks_for(&self) -> Verdict {
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
            Self::ProtectedTag { tag } => write!(f, "{tag} is protected by protect.tags"),
            Self::ProtectedLabel { label } => write!(f, "it carries the protected label {label}"),
            Self::ProtectedAge { age, limit } => {
                write!(
                    f,
                    "it is {} old, and protect.newer_than is {}",
                    duration::rough(*age),
                    duration::exact(*limit)
                )
            }
            Self::AtLeast { count } => {
                write!(f, "it is among the youngest, and protect.at_least leaves {count} in every repository")
            }
            Self::Unclaimed { tag } => write!(f, "no rule claims {tag}"),
            Self::KeepAll { rule, tags } => write!(f, "rule {rule} keeps all it claims: {}", tag_list(tags)),
            Self::Criterion { rule, tags, finding } => {
                write!(f, "rule {rule} keeps {}: {finding}", tag_list(tags))
            }
            Self::NotAVersion { rule, tag } => {
                write!(f, "rule {rule} counts versions, and {tag} is no semantic version")
            }
            Self::Restored { age } => {
                let stays = duration::exact(RESTORED_STAYS);
                write!(
                    f,
                    "an undo put it back {} ago, and it stays for {stays} after that",
                    duration::rough(*age)
                )
            }
            Self::AgeUnknown => f.write_str("nobody knows its age: there is no believable evidence"),
            Self::Unread { why } => write!(f, "what it is could not be read: {why}"),
            Self::ChildOf { parent } => write!(f, "the kept index {} lists it", parent.short()),
            Self::ReferrerOf { subject } => write!(f, "it belongs to the kept manifest {}", subject.short()),
            Self::SubjectOf { referrer } => write!(f, "the kept manifest {} is about it", referrer.short()),
            Self::Untagged => f.write_str("it has no tag, and the policy leaves untagged manifests alone"),
            Self::YoungUntagged { age, limit } => write!(
                f,
                "it has no tag; it was pushed or had its last one {} ago, and untagged.newer_than is {}",
                duration::rough(*age),
                duration::exact(*limit)
            ),
            Self::YoungOrphan { subject } => {
                write!(
                    f,
                    "its subject {subject} was here and is gone, but it is younger than protect.newer_than"
                )
            }
            Self::SharesManifest { tag, with } => {
                write!(f, "{tag} is expired, but shares its manifest with {}", tag_list(with))
            }
            Self::TagExpired { tag } => write!(f, "{tag} is expired, and goes alone"),
            Self::Expired { rule, tags, findings } if findings.is_empty() => {
                write!(f, "rule {rule} keeps none of what it claims: {}", tag_list(tags))
            }
            Self::Expired { rule, tags, findings } => {
                write!(f, "rule {rule} no longer keeps {}", tag_list(tags))?;
                for (position, finding) in findings.iter().enumerate() {
                    write!(f, "{} {finding}", if position == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
            Self::ExpiredUntagged { age, limit } => write!(
                f,
                "it has no tag; it was pushed or had its last one {} ago; untagged.newer_than is {}",
                duration::rough(*age),
                duration::exact(*limit)
            ),
            Self::Orphan { subject } => write!(f, "its subject {subject} was here and is gone"),
            Self::Leftover => {
                f.write_str("its index or subject was deleted by regsweep, and it did not go with it then")
            }
            Self::Placeholder { tag } => {
                write!(f, "regsweep put it here to remove the tag {tag}, and was cut off then")
            }
            Self::WithParent { parent } => write!(f, "it goes with the expired index {}", parent.short()),
            Self::WithSubject { subject } => {
                write!(f, "it goes with the expired manifest {} that it is about", subject.short())
            }
        }
    }
}
