//! From what speaks for each manifest alone to what becomes of all of them together.
//!
//! Kept manifests keep what they need; expired ones take along what only they need.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::age::Age;
use super::evaluation::Evaluation;
use super::graph::Graph;
use super::{Counted, Reason, Verdict};

/// Settles every verdict and completes the reasons.
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
        // The youngest that goes of these, if fewer than `at_least` of them stay.
        let rescued = |is_meant: fn(Counted) -> bool| {
            let is_meant = |node: &usize| evaluations[*node].counted_as.is_some_and(is_meant);
            let too_few = kept.keys().copied().filter(is_meant).count() < at_least;
            let going = expired.iter().copied().filter(is_meant).filter(|_| too_few);
            going.max_by_key(|&node| (ages[node].latest, ages[node].made, Reverse(node)))
        };
        // One at a time, since each may keep others by what it needs.
        if let Some(rescued) = rescued(|counted| counted == Counted::Image).or_else(|| rescued(|_| true)) {
            evaluations[rescued].kept = true;
            evaluations[rescued].reasons.push(Reason::AtLeast { count: at_least });
            continue;
        }
        let deleted = graph.taken_by(&expired, &kept);
        // Nothing speaks for these and nothing against them: a circle of referrers, say.
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
            taken_reasons(graph, node, &deleted)
        } else {
            needed_reasons(graph, node, &kept)
        };
        evaluations[node].reasons.extend(reasons);
    }
    nodes.map(|node| if deleted.contains(&node) { Verdict::Delete } else { Verdict::Keep }).collect()
}

/// A referrer and its subject keep each other, so one is a reason for the other only where it is
/// nearer to something that stays for a reason of its own.
fn needed_reasons(graph: &Graph<'_>, node: usize, kept: &BTreeMap<usize, usize>) -> Vec<Reason> {
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

fn taken_reasons(graph: &Graph<'_>, node: usize, deleted: &BTreeSet<usize>) -> Vec<Reason> {
    let digest = |other: &usize| graph.nodes[*other].digest.clone();
    let parents = graph.parents[node].iter().filter(|other| deleted.contains(other));
    let subjects = graph.subjects[node].iter().filter(|other| deleted.contains(other));
    parents
        .map(|parent| Reason::WithParent { parent: digest(parent) })
        .chain(subjects.map(|subject| Reason::WithSubject { subject: digest(subject) }))
        .collect()
}
