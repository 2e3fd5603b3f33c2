//! A plan as a document: what programs get as JSON, what the page shows, and what the state stores.
//!
//! It contains in full what tables abridge, and which of the planned deletions are done. It must not know how a
//! plan is made.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::format::{VERSION, maybe_second, second};
use super::run::RunReport;
use crate::model::{Digest, Kind, RepositoryName, Tag};
use crate::plan::{
    Failure, Limit, Plan, Planned, Reason, Refusal, RepositoryPlan, Totals, Untag, Verdict, Weight,
};

/// A plan, and which of its deletions are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanDocument {
    version: u32,
    /// The registry.
    pub registry: String,
    /// The moment of the plan.
    #[serde(with = "second")]
    pub now: DateTime<Utc>,
    /// Whether a run has applied it.
    pub applied: bool,
    /// The repositories, by name.
    pub repositories: Vec<RepositoryDocument>,
    /// Refusals by limits.
    pub refusals: Vec<RefusalDocument>,
    /// Repositories in which nothing is deleted because they could not be read.
    pub failures: Vec<FailureDocument>,
    /// The sums of the plan, also of what is not done.
    pub totals: Totals,
}

/// The plan of one repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepositoryDocument {
    /// The repository.
    pub repository: RepositoryName,
    policy: String,
    /// Whether the policy only plans.
    pub held_back: bool,
    tags: usize,
    kept: usize,
    expired_bytes: u64,
    referenced_bytes: u64,
    /// The kept manifests, unless they were dropped, then the deleted ones in the order of their deletion.
    pub manifests: Vec<ManifestDocument>,
    /// Tags that are removed without their manifests.
    pub untag: Vec<UntagDocument>,
    /// Names that the registry lists as tags although they have no manifest.
    pub dangling_tags: Vec<String>,
}

/// The verdict on one manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestDocument {
    /// The manifest.
    pub digest: Digest,
    /// The tags on it.
    pub tags: Vec<Tag>,
    kind: Kind,
    #[serde(with = "maybe_second")]
    created: Option<DateTime<Utc>>,
    /// Its age at the moment of the plan; `None` if it is unknown.
    pub age_seconds: Option<i64>,
    evidence: Vec<EvidenceDocument>,
    /// Bytes of the manifest, its blobs and all its descendants.
    pub bytes: u64,
    /// Bytes that its deletion frees, without those that an earlier deletion frees.
    pub frees: u64,
    /// Whether it is kept or deleted.
    pub verdict: Verdict,
    policy: String,
    rules: Vec<String>,
    /// Every reason that applies, for the verdict and against it.
    pub reasons: Vec<ReasonDocument>,
    /// Whether the deletion is done; `None` if that was not looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<bool>,
}

/// A tag that is removed without its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UntagDocument {
    /// The tag.
    pub tag: Tag,
    /// The manifest it points to, which is kept.
    pub digest: Digest,
    /// The rule that no longer keeps it.
    pub rule: String,
    /// Whether the deletion is done; `None` if that was not looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<bool>,
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReasonDocument {
    code: String,
    /// The verdict that it is for.
    pub verdict: Verdict,
    /// For people.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct EvidenceDocument {
    source: String,
    #[serde(with = "second")]
    at: DateTime<Utc>,
    weight: Weight,
}

/// A refusal by a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusalDocument {
    limit: Limit,
    repository: Option<RepositoryName>,
    deletions: usize,
    of: Option<usize>,
    allowed: usize,
    text: String,
}

/// A repository that could not be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureDocument {
    repository: RepositoryName,
    kind: String,
    error: String,
}

/// How much a plan still has to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PendingDeletions {
    /// Manifests.
    pub manifests: usize,
    /// Bytes that their deletion frees.
    pub bytes: u64,
}

/// The deletions that are done: manifests by repository and digest, tags by repository and name.
#[derive(Debug, Default)]
pub struct CompletedDeletions {
    /// The deleted manifests.
    pub manifests: BTreeSet<(RepositoryName, Digest)>,
    /// The tags that were removed without their manifests.
    pub tags: BTreeSet<(RepositoryName, Tag)>,
}

impl CompletedDeletions {
    /// The deletions of a run, also of what was deleted already.
    pub fn of(report: &RunReport) -> Self {
        let manifests = report.deleted.iter().map(|entry| (entry.repository.clone(), entry.digest.clone()));
        let tags = report.untagged.iter().map(|entry| (entry.repository.clone(), entry.tag.clone()));
        Self { manifests: manifests.collect(), tags: tags.collect() }
    }
}

impl PlanDocument {
    /// A plan of which nothing is done yet.
    pub fn of(plan: &Plan) -> Self {
        let mut document = Self {
            version: VERSION,
            registry: plan.registry.clone(),
            now: plan.now,
            applied: false,
            repositories: plan.repositories.iter().map(RepositoryDocument::of).collect(),
            refusals: plan.refusals.iter().map(RefusalDocument::of).collect(),
            failures: plan.failures.iter().map(FailureDocument::of).collect(),
            totals: plan.totals(),
        };
        document.mark(&CompletedDeletions::default());
        document
    }

    /// Records which deletions are done.
    pub fn mark(&mut self, done: &CompletedDeletions) {
        for repository in &mut self.repositories {
            let name = &repository.repository;
            for manifest in &mut repository.manifests {
                let key = (name.clone(), manifest.digest.clone());
                manifest.gone = Some(done.manifests.contains(&key));
            }
            for untag in &mut repository.untag {
                untag.gone = Some(done.tags.contains(&(name.clone(), untag.tag.clone())));
            }
        }
    }

    /// What is still to be deleted, in repositories whose policy is applied.
    pub fn expired(&self) -> PendingDeletions {
        self.pending(false)
    }

    /// What is still to be deleted, in repositories whose policy has `mode: plan`.
    pub fn held_back(&self) -> PendingDeletions {
        self.pending(true)
    }

    fn pending(&self, held_back: bool) -> PendingDeletions {
        let of = self.repositories.iter().filter(|repository| repository.held_back == held_back);
        let manifests =
            of.flat_map(RepositoryDocument::deletions).filter(|manifest| manifest.gone != Some(true));
        manifests.fold(PendingDeletions::default(), |sum, manifest| PendingDeletions {
            manifests: sum.manifests + 1,
            bytes: sum.bytes.saturating_add(manifest.frees),
        })
    }

    /// Whether a limit refuses the deletions in this repository.
    pub fn refuses(&self, repository: &RepositoryName) -> bool {
        self.refusals
            .iter()
            .any(|refusal| refusal.repository.as_ref().is_none_or(|limited| limited == repository))
    }
}

impl RepositoryDocument {
    pub(super) fn of(plan: &RepositoryPlan) -> Self {
        let policy = plan.intent.policy_name();
        Self {
            repository: plan.repository.clone(),
            policy: policy.to_owned(),
            held_back: plan.intent.is_held_back(),
            tags: plan.tags,
            kept: plan.kept,
            expired_bytes: plan.expired_bytes,
            referenced_bytes: plan.referenced_bytes,
            manifests: plan.manifests.iter().map(|planned| ManifestDocument::of(planned, policy)).collect(),
            untag: plan.untag.iter().map(UntagDocument::of).collect(),
            dangling_tags: plan.dangling_tags.clone(),
        }
    }

    /// The deleted manifests, in the order of their deletion.
    pub fn deletions(&self) -> impl Iterator<Item = &ManifestDocument> {
        self.manifests.iter().filter(|manifest| manifest.verdict == Verdict::Delete)
    }
}

impl ManifestDocument {
    /// The reasons for the verdict, in one text.
    pub fn why(&self) -> String {
        let reasons = self.reasons.iter().filter(|reason| reason.verdict == self.verdict);
        reasons.map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// The verdict of a policy.
    pub fn of(planned: &Planned, policy: &str) -> Self {
        let evidence = planned.evidence.iter().map(|piece| EvidenceDocument {
            source: piece.source.name.to_owned(),
            at: piece.at,
            weight: piece.weight,
        });
        Self {
            digest: planned.digest.clone(),
            tags: planned.tags.clone(),
            kind: planned.kind,
            created: planned.created,
            age_seconds: planned.age.map(|age| age.num_seconds()),
            evidence: evidence.collect(),
            bytes: planned.bytes,
            frees: planned.frees,
            verdict: planned.verdict,
            policy: policy.to_owned(),
            rules: planned.rules.clone(),
            reasons: planned.reasons.iter().map(ReasonDocument::of).collect(),
            gone: None,
        }
    }
}

impl UntagDocument {
    fn of(untag: &Untag) -> Self {
        let Untag { tag, digest, rule, .. } = untag;
        Self { tag: tag.clone(), digest: digest.clone(), rule: rule.clone(), gone: None }
    }
}

impl ReasonDocument {
    fn of(reason: &Reason) -> Self {
        Self { code: reason.code().to_owned(), verdict: reason.verdict(), text: reason.to_string() }
    }
}

impl RefusalDocument {
    pub(super) fn of(refusal: &Refusal) -> Self {
        Self {
            limit: refusal.limit,
            repository: refusal.repository.clone(),
            deletions: refusal.deletions,
            of: refusal.of,
            allowed: refusal.allowed,
            text: refusal.to_string(),
        }
    }
}

impl FailureDocument {
    /// Of a failure.
    pub fn of(failure: &Failure) -> Self {
        Self {
            repository: failure.repository.clone(),
            kind: failure.kind.to_owned(),
            error: failure.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::Intent;
    use crate::policy::{Limits, Mode, Policy};

    fn planned(text: &str, frees: u64) -> Planned {
        Planned {
            digest: Digest::of(text.as_bytes()),
            tags: vec![Tag::parse(text).unwrap()],
            counted_as: None,
            kind: Kind::Image,
            created: DateTime::from_timestamp(1_780_000_000, 0),
            age: None,
            evidence: Vec::new(),
            bytes: frees + 7,
            frees,
            verdict: Verdict::Delete,
            rules: vec!["builds".into()],
            reasons: vec![Reason::Leftover],
            after: Vec::new(),
        }
    }

    fn repository(name: &str, held_back: bool, manifests: Vec<Planned>) -> RepositoryPlan {
        let untag = Untag {
            tag: Tag::parse("old").unwrap(),
            digest: Digest::of(b"kept"),
            kind: Kind::Image,
            rule: "builds".into(),
        };
        let mode = if held_back { Mode::Plan } else { Mode::Enforce };
        let policy = Policy { name: "p".into(), mode, ..Policy::default() };
        RepositoryPlan {
            repository: RepositoryName::parse(name).unwrap(),
            intent: Intent::Policy(Arc::new(policy)),
            tags: 9,
            counted: Vec::new(),
            kept: 3,
            expired_bytes: manifests.iter().map(|manifest| manifest.frees).sum(),
            manifests,
            untag: vec![untag],
            dangling_tags: vec!["<b>".into()],
            referenced_bytes: 5,
        }
    }

    fn document() -> PlanDocument {
        let plans = vec![
            repository("held", true, vec![planned("c", 100)]),
            repository("app", false, vec![planned("a", 10), planned("b", 1)]),
        ];
        let now = DateTime::from_timestamp(1_781_697_600, 0).unwrap();
        PlanDocument::of(&Plan::new("main", now, plans, Vec::new(), &Limits::default()))
    }

    fn gone(names: &[&str]) -> CompletedDeletions {
        let app = RepositoryName::parse("app").unwrap();
        let manifests = names.iter().map(|name| (app.clone(), Digest::of(name.as_bytes())));
        CompletedDeletions {
            manifests: manifests.collect(),
            tags: [(app.clone(), Tag::parse("old").unwrap())].into(),
        }
    }

    #[test]
    fn plan_document_counts_what_is_still_to_be_deleted() {
        let mut document = document();
        assert_eq!(document.expired(), PendingDeletions { manifests: 2, bytes: 11 });
        assert_eq!(document.held_back(), PendingDeletions { manifests: 1, bytes: 100 });
        document.mark(&gone(&["a"]));
        assert_eq!(document.expired(), PendingDeletions { manifests: 1, bytes: 1 });
        assert_eq!(document.held_back(), PendingDeletions { manifests: 1, bytes: 100 });
        // The same manifest in another repository is another.
        document.mark(&gone(&["a", "b", "c"]));
        assert_eq!(document.expired(), PendingDeletions::default());
        assert_eq!(document.held_back().manifests, 1);
        assert_eq!(document.totals.delete, 3, "the sums of the plan do not change");
        document.mark(&CompletedDeletions::default());
        assert_eq!(document.expired().manifests, 2, "they were restored");
    }

    #[test]
    fn plan_document_is_read_back_as_it_was_written() {
        let mut document = document();
        document.mark(&gone(&["a"]));
        document.applied = true;
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<PlanDocument>(&text).unwrap(), document);
        let tag = |repository: usize| document.repositories[repository].untag[0].gone;
        assert_eq!((tag(0), tag(1)), (Some(true), Some(false)));
    }
}
