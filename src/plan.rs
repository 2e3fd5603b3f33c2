//! Snapshot, policy and the present moment become verdicts, each with every reason that holds.
//!
//! Nothing here does IO, reads a clock, logs or fails. It can only refuse.
//!
//! The order of judgement: each tag is judged by its rule; a manifest that no tag, protection or
//! unknown keeps is expired; what kept manifests need is kept; what only expired manifests need goes
//! with them; `at_least` keeps the youngest of what would leave a repository too empty; limits come
//! last, over the whole registry.

mod age;
mod criterion;
mod evaluation;
mod graph;
mod limit;
mod reason;
mod resolve;
pub mod span;

pub use age::{Evidence, MIN_OBSERVED_AGE, Source, Weight};
pub use criterion::Finding;
pub use evaluation::RESTORED_STAYS;
pub use limit::{Limit, Refusal};
pub use reason::Reason;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, Kind, RepositoryName, Snapshot, Tag};
use crate::policy::{Limits, Policy, Protect};

/// What judgement depends on besides the repository and its policy.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// The moment as of which ages are counted.
    pub now: DateTime<Utc>,
    /// Where days, weeks, months and years begin.
    pub timezone: Tz,
    /// What is kept whatever the rules say.
    pub protect: &'a Protect,
    /// Whether an expired tag is to go while its manifest stays.
    pub tag_deletion: TagDeletion,
    /// What an earlier plan of the same run has doomed together with an index or a subject that the run has
    /// deleted since. It still goes, unless something needs it or a tag has come to it.
    pub parents_deleted: &'a BTreeSet<Digest>,
}

/// Whether a registry can delete one tag and leave its manifest and the other tags alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagDeletion {
    /// It can: distribution 3.x, and what else implements OCI 1.1.
    Supported,
    /// It cannot, or nobody knows.
    Unsupported,
}

/// As what `at_least` and `max_percent` count a manifest with a tag. Both hold for images alone and for all that
/// they count together: signatures that stay must not stand in for the images that go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It has a tag of its own, and is no placeholder.
    Image,
    /// Its tags are those of a referrer, and the subject of one is not in the repository.
    Referrer,
}

/// What becomes of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It goes.
    Delete,
}

/// The verdicts on everything that one repository holds.
#[derive(Debug, Clone, PartialEq)]
pub struct RepositoryPlan {
    /// The repository.
    pub repository: RepositoryName,
    /// The policy that claims it.
    pub policy: String,
    /// Whether that policy only plans.
    pub held_back: bool,
    /// How many tags it has, those of referrers included.
    pub tags: usize,
    /// What each of its manifests that `at_least` and `max_percent` count is counted as.
    pub counted: Vec<Counted>,
    /// How many of its manifests are kept.
    pub kept: usize,
    /// What is kept, youngest first, unless [`RepositoryPlan::forget_kept`] has dropped it; then what is
    /// deleted, in the order in which it must go.
    pub manifests: Vec<Planned>,
    /// Expired tags that go alone, because their manifests stay.
    pub untag: Vec<Untag>,
    /// Names listed as tags that have no manifest.
    pub dangling_tags: Vec<String>,
    /// Bytes of the distinct manifests and blobs that only deleted manifests of this repository
    /// refer to. Other repositories may share them, so a collection can free less.
    pub expired_bytes: u64,
    /// Bytes of the distinct manifests and blobs that kept manifests of this repository refer to, as
    /// far as they were read.
    pub referenced_bytes: u64,
}

impl RepositoryPlan {
    /// What is deleted, in the order in which it must go.
    pub fn deletions(&self) -> impl Iterator<Item = &Planned> {
        self.manifests.iter().filter(|planned| planned.verdict == Verdict::Delete)
    }

    /// Drops the verdicts that keep, which take memory for everything that exists. Their numbers stay.
    pub fn forget_kept(&mut self) {
        self.manifests.retain(|planned| planned.verdict == Verdict::Delete);
        self.manifests.shrink_to_fit();
    }

    /// Whether nothing would be done to the repository.
    pub fn is_idle(&self) -> bool {
        self.untag.is_empty() && self.deletions().next().is_none()
    }
}

/// The verdict on one manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The manifest.
    pub digest: Digest,
    /// Every tag on it, those of referrers included, in natural order.
    pub tags: Vec<Tag>,
    /// As what `at_least` and `max_percent` count it, if they do.
    pub counted_as: Option<Counted>,
    /// What it is.
    pub kind: Kind,
    /// When it was made, if it says so and can be believed; of an index, else its youngest child.
    pub created: Option<DateTime<Utc>>,
    /// Its age at the moment of the plan; `None` where nobody knows it.
    pub age: Option<TimeDelta>,
    /// Everything that tells how old it is.
    pub evidence: Vec<Evidence>,
    /// Bytes of the manifest, its blobs, and all its children with theirs, each counted once.
    pub bytes: u64,
    /// Bytes that go with it: of a deleted manifest, itself and those of its blobs that nothing kept
    /// and nothing deleted before it refers to.
    pub frees: u64,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The rules that claim its tags.
    pub rules: Vec<String>,
    /// Every reason that holds, for the verdict and against it.
    pub reasons: Vec<Reason>,
    /// Of a deleted manifest, the manifests that must be gone before it may go: the indexes that
    /// list it and the subjects it is about. If one of them stays, so does this one.
    pub after: Vec<Digest>,
}

/// An expired tag whose manifest stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untag {
    /// The tag to remove.
    pub tag: Tag,
    /// The manifest it points to, which stays.
    pub digest: Digest,
    /// What the manifest is.
    pub kind: Kind,
    /// The rule that no longer keeps the tag.
    pub rule: String,
}

/// A repository that could not be read whole, and is left alone for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The repository.
    pub repository: RepositoryName,
    /// A short, fixed word for the kind of failure, fit for a metric's label.
    pub kind: &'static str,
    /// What happened, for people.
    pub error: String,
}

/// What one run would do to one registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The registry.
    pub registry: String,
    /// The moment as of which it was made.
    pub now: DateTime<Utc>,
    /// One plan for each repository that a policy claims and that could be read.
    pub repositories: Vec<RepositoryPlan>,
    /// What limits forbid.
    pub refusals: Vec<Refusal>,
    /// Repositories that are left alone because they could not be read.
    pub failures: Vec<Failure>,
}

impl Plan {
    /// Puts the plans of a registry's repositories together and holds them against the limits.
    pub fn new(
        registry: &str,
        now: DateTime<Utc>,
        mut repositories: Vec<RepositoryPlan>,
        mut failures: Vec<Failure>,
        limits: &Limits,
    ) -> Self {
        repositories.sort_by(|a, b| a.repository.cmp(&b.repository));
        failures.sort_by(|a, b| a.repository.cmp(&b.repository));
        let refusals = limit::refusals(&repositories, limits);
        Self { registry: registry.to_owned(), now, repositories, refusals, failures }
    }

    /// Refuses everything, since the registry may hide tags that would have kept some of it.
    pub fn refuse_for_hidden_tags(&mut self) {
        let deletions = self.repositories.iter().map(|repository| repository.deletions().count()).sum();
        self.refusals.push(Refusal::of_hidden_tags(deletions));
    }

    /// The repositories in which a run may do what the plan says: not held back, not refused.
    pub fn permitted(&self) -> impl Iterator<Item = &RepositoryPlan> {
        self.permitted_but_for(&self.refusals)
    }

    /// The same where only these refusals count: a human has overridden the others.
    pub fn permitted_but_for<'a>(
        &'a self,
        refusals: &'a [Refusal],
    ) -> impl Iterator<Item = &'a RepositoryPlan> {
        self.repositories.iter().filter(|repository| {
            !repository.held_back && !refusals.iter().any(|refusal| refusal.concerns(&repository.repository))
        })
    }

    /// The sums over all repositories.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { repositories: self.repositories.len(), ..Totals::default() };
        for repository in &self.repositories {
            totals.tags += repository.tags;
            let delete = repository.deletions().count();
            totals.manifests += repository.kept + delete;
            totals.delete += delete;
            totals.untag += repository.untag.len();
            totals.expired_bytes = totals.expired_bytes.saturating_add(repository.expired_bytes);
            totals.referenced_bytes = totals.referenced_bytes.saturating_add(repository.referenced_bytes);
        }
        totals
    }
}

/// The sums over the repositories of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Repositories that a policy claims and that could be read.
    pub repositories: usize,
    /// Tags in them.
    pub tags: usize,
    /// Manifests that were reached.
    pub manifests: usize,
    /// Manifests to delete.
    pub delete: usize,
    /// Tags to remove alone.
    pub untag: usize,
    /// Bytes that only expired manifests refer to, counted within each repository.
    pub expired_bytes: u64,
    /// Bytes that kept manifests refer to, counted within each repository.
    pub referenced_bytes: u64,
}

/// Judges everything in one repository.
pub fn plan(snapshot: &Snapshot, policy: &Policy, context: &PlanContext<'_>) -> RepositoryPlan {
    let graph = graph::Graph::of(snapshot);
    let nodes = 0..graph.nodes.len();
    let evidence: Vec<_> =
        nodes.clone().map(|node| age::evidence(snapshot, &graph, node, context.now)).collect();
    let ages: Vec<_> = evidence.iter().map(|evidence| age::age(evidence, context.now)).collect();
    let mut evaluations = evaluation::evaluate(snapshot, &graph, &ages, policy, context);
    let verdicts = resolve::resolve(&graph, &ages, &mut evaluations, context.protect.at_least);
    let mut untag = Vec::new();
    for (node, evaluation) in evaluations.iter_mut().enumerate() {
        untag.extend(evaluation.untag(&graph, node, context.tag_deletion));
    }
    let order = graph.deletion_order(&verdicts, &ages);
    let planned = |node: usize, after: Vec<Digest>, frees: u64| {
        let manifest = graph.nodes[node];
        Planned {
            digest: manifest.digest.clone(),
            tags: graph.tags[node].iter().map(|&tag| tag.clone()).collect(),
            counted_as: evaluations[node].counted_as,
            kind: manifest.kind,
            created: ages[node].made,
            age: ages[node].latest.map(|latest| context.now - latest),
            evidence: evidence[node].clone(),
            bytes: graph.bytes(node),
            frees,
            verdict: verdicts[node],
            rules: evaluations[node].rules.iter().map(|&rule| rule.to_owned()).collect(),
            reasons: evaluations[node].reasons.clone(),
            after,
        }
    };
    let mut kept: Vec<usize> = nodes.clone().filter(|&n| verdicts[n] == Verdict::Keep).collect();
    kept.sort_by_key(|&node| (std::cmp::Reverse(ages[node].latest), &graph.nodes[node].digest));
    // Each blob is counted with the first manifest that refers to it; what is kept comes first.
    let mut counted: BTreeSet<&Digest> = BTreeSet::new();
    let mut adds = |node: usize| {
        let manifest = graph.nodes[node];
        let new = manifest.blobs.iter().filter(|blob| counted.insert(&blob.digest)).map(|blob| blob.size);
        // Sizes are what manifests declare, so a hostile one can declare anything.
        new.fold(manifest.size, u64::saturating_add)
    };
    let referenced_bytes = kept.iter().map(|&node| adds(node)).fold(0, u64::saturating_add);
    let deleted = order.into_iter().map(|(node, after)| planned(node, after, adds(node)));
    let deleted: Vec<Planned> = deleted.collect();
    let expired_bytes = deleted.iter().map(|planned| planned.frees).fold(0, u64::saturating_add);
    let kept_manifests = kept.iter().map(|&node| planned(node, Vec::new(), 0));
    RepositoryPlan {
        repository: snapshot.repository.clone(),
        policy: policy.name.clone(),
        held_back: policy.mode == crate::policy::Mode::Plan,
        tags: snapshot.tags.len(),
        counted: evaluations.iter().filter_map(|evaluation| evaluation.counted_as).collect(),
        kept: kept.len(),
        manifests: kept_manifests.chain(deleted).collect(),
        untag,
        dangling_tags: snapshot.dangling_tags.iter().cloned().collect(),
        expired_bytes,
        referenced_bytes,
    }
}

#[cfg(test)]
mod tests;
