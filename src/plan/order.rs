//! The order of deletions.
//!
//! It must not know rules: what is deleted is decided already.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::age::Age;
use super::graph::Graph;
use super::verdict::Verdict;
use crate::model::Digest;

/// The deleted manifests, parents before children and subjects before referrers, each with the manifests that
/// must be deleted before it.
///
/// Where that leaves a choice, the oldest comes first. A tag can claim that an index refers to its own child, so
/// the edges can form circles. Parents alone cannot, so a circle is broken at a subject: that edge is ignored.
pub(super) fn deletion_order(
    graph: &Graph<'_>,
    verdicts: &[Verdict],
    ages: &[Age],
) -> Vec<(usize, Vec<Digest>)> {
    let ranked = |node: usize| (ages[node].latest, node);
    let before = |node: usize| graph.parents[node].iter().chain(&graph.subjects[node]).copied();
    let after = |node: usize| graph.children[node].iter().chain(&graph.referrers[node]).copied();
    let mut open: BTreeSet<_> =
        (0..graph.nodes.len()).filter(|&node| verdicts[node] == Verdict::Delete).map(ranked).collect();
    let mut waits: Vec<usize> = (0..graph.nodes.len())
        .map(|node| before(node).filter(|&other| open.contains(&ranked(other))).count())
        .collect();
    let mut ready: BTreeSet<_> = open.iter().copied().filter(|&(_, node)| waits[node] == 0).collect();
    let mut done = BTreeSet::new();
    let mut order = Vec::with_capacity(open.len());
    let without_parent = |open: &BTreeSet<(Option<DateTime<Utc>>, usize)>| {
        let is_listed =
            |node: usize| graph.parents[node].iter().any(|&parent| open.contains(&ranked(parent)));
        open.iter().copied().find(|&(_, node)| !is_listed(node))
    };
    while let Some((_, node)) =
        ready.pop_first().or_else(|| without_parent(&open)).or_else(|| open.first().copied())
    {
        open.remove(&ranked(node));
        let earlier: BTreeSet<&Digest> = before(node)
            .filter(|other| done.contains(other))
            .map(|other| &graph.nodes[other].digest)
            .collect();
        order.push((node, earlier.into_iter().cloned().collect()));
        done.insert(node);
        for next in after(node).filter(|&next| open.contains(&ranked(next))) {
            waits[next] = waits[next].saturating_sub(1);
            if waits[next] == 0 {
                ready.insert(ranked(next));
            }
        }
    }
    order
}
