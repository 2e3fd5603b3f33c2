//! Snapshot, policy and the present moment become verdicts, each with every reason that applies.
//!
//! It must not do IO, read a clock or log, and it cannot fail: it can only refuse.
//!
//! The order of evaluation: each tag by its rule (`rules`, `criterion`), with the age of its manifest (`age`). A
//! manifest is expired if no tag, no protection (`protection`) and nothing unknown keeps it. What a kept manifest
//! needs is kept, what only expired manifests need is deleted with them, and `at_least` keeps the youngest if too
//! few would be left (`resolve`). Limits are checked last, over the whole registry (`limit`).

mod age;
mod context;
mod criterion;
mod evaluate;
mod evaluation;
mod evidence;
mod finding;
mod graph;
mod intent;
mod limit;
mod order;
mod protection;
mod reason;
mod registry;
mod repository;
mod resolve;
mod rules;
mod untagged;
mod verdict;

pub use context::PlanContext;
pub use evidence::{Evidence, MIN_OBSERVED_AGE, Source, Weight};
pub use finding::Finding;
pub use intent::Intent;
pub use limit::{Limit, Refusal};
pub use reason::{RESTORED_STAYS, Reason};
pub use registry::{Failure, Plan, Totals};
pub use repository::{Planned, RepositoryPlan, Untag};
pub use verdict::{Counted, Verdict};

use std::collections::BTreeSet;

use crate::model::{Digest, Snapshot};
use crate::policy::Policy;
use age::Age;
use evaluate::evaluate;
use evidence::evidence;
use graph::Graph;
use order::deletion_order;
use resolve::resolve;

/// Plans one repository: a verdict on everything in the snapshot.
pub fn plan(snapshot: &Snapshot, intent: &Intent, context: &PlanContext<'_>) -> RepositoryPlan {
    let no_policy = Policy::default();
    let policy = intent.policy().unwrap_or(&no_policy);
    let graph = Graph::of(snapshot);
    let nodes = 0..graph.nodes.len();
    let evidence: Vec<_> = nodes.clone().map(|node| evidence(snapshot, &graph, node, context.now)).collect();
    let ages: Vec<_> = evidence.iter().map(|evidence| Age::of(evidence, context.now)).collect();
    let mut evaluations = evaluate(snapshot, &graph, &ages, policy, context);
    let verdicts = resolve(&graph, &ages, &mut evaluations, context.protect.at_least);
    let mut untag = Vec::new();
    for (node, evaluation) in evaluations.iter_mut().enumerate() {
        untag.extend(evaluation.untag(&graph, node, context.tag_deletion));
    }
    let order = deletion_order(&graph, &verdicts, &ages);
    let planned = |node: usize, after: Vec<Digest>, frees: u64| {
        let manifest = graph.nodes[node];
        Planned {
            digest: manifest.digest.clone(),
            tags: graph.tags[node].iter().map(|&tag| tag.clone()).collect(),
            counted_as: evaluations[node].counted_as,
            kind: manifest.kind,
            created: ages[node].created,
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
        intent: intent.clone(),
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
