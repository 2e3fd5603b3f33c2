//! Evaluates each manifest: by the rules for its tags, by the protections, and without tags by `untagged`.
//!
//! It must not know what the manifests need of each other: `resolve` adds that.

use std::collections::BTreeSet;

use super::age::Age;
use super::context::PlanContext;
use super::evaluation::Evaluation;
use super::graph::{Graph, MissingSubject};
use super::protection::protect;
use super::reason::{RESTORED_STAYS, Reason};
use super::rules::apply_rules;
use super::untagged::evaluate_untagged;
use crate::model::Snapshot;
use crate::policy::{Policy, Untagging};

/// The evaluation of each manifest, in the order of the graph.
pub(super) fn evaluate<'a>(
    snapshot: &'a Snapshot,
    graph: &Graph<'a>,
    ages: &[Age],
    policy: &'a Policy,
    context: &PlanContext<'_>,
) -> Vec<Evaluation<'a>> {
    let placeholders: BTreeSet<usize> =
        (0..graph.nodes.len()).filter(|&node| is_placeholder(graph, node, policy)).collect();
    let evaluation = |node: usize| {
        // A manifest that is only still to be deleted after its subject must not count as one that is left.
        let is_waiting = || {
            graph.claimable_tags[node].is_empty()
                && context.parents_deleted.contains(&graph.nodes[node].digest)
        };
        let counted_as = graph.counted_as(node).filter(|_| !placeholders.contains(&node) && !is_waiting());
        Evaluation::new(counted_as)
    };
    let mut evaluations: Vec<Evaluation<'a>> = (0..graph.nodes.len()).map(evaluation).collect();
    if let Some(gap) = snapshot.gap() {
        for evaluation in &mut evaluations {
            evaluation.protect_by(Reason::Unread {
                why: format!("{gap}, which this repository needs, was not read"),
            });
        }
        return evaluations;
    }
    apply_rules(graph, ages, policy, context, &placeholders, &mut evaluations);
    for (node, evaluation) in evaluations.iter_mut().enumerate() {
        let (digest, latest) = (&graph.nodes[node].digest, ages[node].latest);
        let restored = snapshot.observations.get(digest).and_then(|observation| observation.restored);
        if let Some(age) = restored.map(|at| context.now - at).filter(|age| *age < RESTORED_STAYS) {
            evaluation.protect_by(Reason::Restored { age });
        }
        for missing in &graph.missing_subjects[node] {
            if let MissingSubject::Unread(subject) = missing {
                let why = format!("it is unknown whether its subject {subject} exists");
                evaluation.protect_by(Reason::Unread { why });
            }
        }
        if placeholders.contains(&node) {
            let tags = graph.tags[node].iter().map(|&tag| tag.clone());
            evaluation.reasons.extend(tags.map(|tag| Reason::Placeholder { tag }));
        }
        if placeholders.contains(&node) || !graph.claimable_tags[node].is_empty() {
            evaluation.expired = evaluation.kept_tags.is_empty();
            protect(graph, node, latest, context, evaluation);
        } else {
            evaluate_untagged(snapshot, graph, node, latest, policy, context, evaluation);
        }
    }
    evaluations
}

/// Whether a manifest is there only because regsweep was interrupted while it removed its tag. No rule evaluates
/// such a placeholder, and it does not count.
fn is_placeholder(graph: &Graph<'_>, node: usize, policy: &Policy) -> bool {
    let removes = graph.nodes[node].placeholder_tag().filter(|_| policy.untag == Untagging::Always);
    removes.is_some_and(|removes| matches!(graph.tags[node][..], [tag] if tag.as_str() == removes))
}
