//! Evaluates manifests without a tag that rules can claim, by `untagged` of the policy.
//!
//! It must not know rules.

use chrono::{DateTime, TimeDelta, Utc};

use super::context::PlanContext;
use super::evaluation::Evaluation;
use super::graph::{Graph, MissingSubject};
use super::protection::{protect, protect_content};
use super::reason::Reason;
use crate::model::Snapshot;
use crate::policy::Policy;

/// Evaluates a manifest that no rule can claim: a referrer whose subject was deleted, or one that nothing points
/// to. One that something here needs or refers to has no reasons of its own, except a label if it has a tag.
pub(super) fn evaluate_untagged(
    snapshot: &Snapshot,
    graph: &Graph<'_>,
    node: usize,
    latest: Option<DateTime<Utc>>,
    policy: &Policy,
    context: &PlanContext<'_>,
    evaluation: &mut Evaluation<'_>,
) {
    if !graph.subjects[node].is_empty() || !graph.parents[node].is_empty() {
        if !graph.tags[node].is_empty() {
            protect_content(graph, node, false, context, evaluation);
        }
        return;
    }
    let digest = &graph.nodes[node].digest;
    if context.parents_deleted.contains(digest) {
        evaluation.expired = true;
        evaluation.reasons.push(Reason::Leftover);
        return;
    }
    let age = latest.map(|latest| context.now - latest);
    // The last tag may have been removed by mistake, so `untagged` counts from then.
    let untagged_since = snapshot.observations.get(digest).and_then(|observation| observation.untagged_since);
    let untagged_for = latest.max(untagged_since).map(|since| context.now - since);
    let limit = context.protect.newer_than;
    let mut orphan = None;
    for missing in &graph.missing_subjects[node] {
        match missing {
            MissingSubject::Deleted(subject) => orphan = orphan.or_else(|| Some(subject.clone())),
            MissingSubject::Unread(_) => return,
            MissingSubject::Elsewhere => {}
        }
    }
    let orphan = orphan.filter(|_| !graph.refers_elsewhere(node));
    match (orphan, policy.untagged, untagged_for) {
        (Some(subject), ..) => {
            protect_content(graph, node, true, context, evaluation);
            if limit == TimeDelta::zero() || age.is_some_and(|age| age >= limit) {
                evaluation.expired = true;
                evaluation.reasons.push(Reason::Orphan { subject });
            } else if age.is_some() {
                evaluation.protect_by(Reason::YoungOrphan { subject });
            } else {
                evaluation.protect_by(Reason::AgeUnknown);
            }
        }
        (None, ..) if snapshot.leftovers.contains(digest) => {
            // Protected before it counts as expired: its age was unknown when its index was deleted, too.
            protect(graph, node, latest, context, evaluation);
            evaluation.expired = true;
            evaluation.reasons.push(Reason::Leftover);
        }
        (None, None, _) => evaluation.protect_by(Reason::Untagged),
        (None, Some(_), None) => evaluation.protect_by(Reason::AgeUnknown),
        (None, Some(limit), Some(age)) if age < limit => {
            evaluation.protect_by(Reason::YoungUntagged { age, limit });
        }
        (None, Some(limit), Some(age)) => {
            evaluation.expired = true;
            evaluation.reasons.push(Reason::ExpiredUntagged { age, limit });
            protect(graph, node, latest, context, evaluation);
        }
    }
}
