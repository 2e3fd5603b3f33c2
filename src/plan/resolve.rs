//! From the evaluation of each manifest to a verdict on all of them together.
//!
//! What a kept manifest needs is kept; what only expired manifests need is deleted with them. It must not know
//! rules or protections.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::age::Age;
use super::evaluation::Evaluation;
use super::graph::Graph;
use super::reason::Reason;
use super::verdict::{Counted, Verdict};

/// The verdict on each manifest. Adds the reasons that come from other manifests.
pub(super) fn resolve(
    graph: &Graph<'_>,
    ages: &[Age],
    evaluations: &mut [Evaluation<'_>],
    at_least: usize,
) -> Vec<Verdict> {
    let nodes = 0..graph.nodes.len();
    let (kept, deleted) = loop {
        let roots: Vec<usize> = nodes.clone().filter(|&node| evaluations[node].kept).collect();
        let kept = graph.needed_by(&roots);
        let expired: Vec<usize> =
            nodes.clone().filter(|node| evaluations[*node].expired && !kept.contains_key(node)).collect();
        // The youngest expired one that counts, if fewer than `at_least` that count are kept.
        let rescued = |counts: fn(Counted) -> bool| {
            let counts = |node: &usize| evaluations[*node].counted_as.is_some_and(counts);
            let too_few = kept.keys().copied().filter(counts).count() < at_least;
            let candidates = expired.iter().copied().filter(counts).filter(|_| too_few);
            candidates.max_by_key(|&node| (ages[node].latest, ages[node].created, Reverse(node)))
        };
        // One at a time, since each may keep others by what it needs.
        if let Some(rescued) = rescued(|counted| counted == Counted::Image).or_else(|| rescued(|_| true)) {
            evaluations[rescued].kept = true;
            evaluations[rescued].reasons.push(Reason::AtLeast { count: at_least });
            continue;
        }
        let deleted = graph.deleted_with(&expired, &kept);
        // Nothing keeps or deletes these: a circle of referrers, for example.
        let undecided: Vec<usize> =
            nodes.clone().filter(|node| !kept.contains_key(node) && !deleted.contains(node)).collect();
        if undecided.is_empty() {
            break (kept, deleted);
        }
        for node in undecided {
            evaluations[node].kept = true;
            evaluations[node].reasons.push(Reason::Untagged);
        }
    };
    for node in nodes.clone() {
        let reasons = if deleted.contains(&node) {
            deletion_reasons(graph, node, &deleted)
        } else {
            keep_reasons(graph, node, &kept)
        };
        evaluations[node].reasons.extend(reasons);
    }
    nodes.map(|node| if deleted.contains(&node) { Verdict::Delete } else { Verdict::Keep }).collect()
}

/// Which kept manifests need this one. A referrer and its subject need each other, so one is a reason for the
/// other only if it is nearer to a manifest that is kept for a reason of its own.
fn keep_reasons(graph: &Graph<'_>, node: usize, kept: &BTreeMap<usize, usize>) -> Vec<Reason> {
    let digest = |other: &usize| graph.nodes[*other].digest.clone();
    let distance = |other: &usize| kept.get(other).copied();
    let leads = |other: &&usize| distance(other).is_some_and(|far| far == 0 || Some(far) < distance(&node));
    let parents = graph.parents[node].iter().filter(|other| kept.contains_key(other));
    let subjects = graph.subjects[node].iter().filter(leads);
    let referrers = graph.referrers[node].iter().filter(leads);
    parents
        .map(|parent| Reason::ChildOf { parent: digest(parent) })
        .chain(subjects.map(|subject| Reason::ReferrerOf { subject: digest(subject) }))
        .chain(referrers.map(|referrer| Reason::SubjectOf { referrer: digest(referrer) }))
        .collect()
}

fn deletion_reasons(graph: &Graph<'_>, node: usize, deleted: &BTreeSet<usize>) -> Vec<Reason> {
    let digest = |other: &usize| graph.nodes[*other].digest.clone();
    let parents = graph.parents[node].iter().filter(|other| deleted.contains(other));
    let subjects = graph.subjects[node].iter().filter(|other| deleted.contains(other));
    parents
        .map(|parent| Reason::WithParent { parent: digest(parent) })
        .chain(subjects.map(|subject| Reason::WithSubject { subject: digest(subject) }))
        .collect()
}
