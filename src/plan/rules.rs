//! Applies the rules of a policy to the tags that they claim.
//!
//! It must not know what a criterion means: `criterion` does.

use std::collections::{BTreeMap, BTreeSet};

use super::age::Age;
use super::context::PlanContext;
use super::criterion::{self, Candidate, version, youngest_first};
use super::evaluation::Evaluation;
use super::finding::Finding;
use super::graph::Graph;
use super::reason::Reason;
use crate::model::Tag;
use crate::policy::{Criterion, Keep, Policy, Protect, Rule};

/// Keeps or expires each tag by the rule that claims it. Placeholders are no concern of the rules.
pub(super) fn apply_rules<'a>(
    graph: &Graph<'a>,
    ages: &[Age],
    policy: &'a Policy,
    context: &PlanContext<'_>,
    placeholders: &BTreeSet<usize>,
    evaluations: &mut [Evaluation<'a>],
) {
    for ((rule, ..), nodes) in claims(graph, policy, context.protect, placeholders, evaluations) {
        decide(&policy.rules[rule], nodes, graph, ages, context, evaluations);
    }
}

/// Tags by rule, group, and whether they are those of referrers, then by manifest. A rule evaluates signatures whose
/// image is elsewhere in a set of their own, so that they cannot displace images.
type Claims<'a> = BTreeMap<(usize, Vec<String>, bool), BTreeMap<usize, Vec<&'a Tag>>>;

/// Assigns each tag to the rule that claims it, and keeps tags that are protected or that no rule claims.
fn claims<'a>(
    graph: &Graph<'a>,
    policy: &'a Policy,
    protect: &Protect,
    placeholders: &BTreeSet<usize>,
    evaluations: &mut [Evaluation<'a>],
) -> Claims<'a> {
    let mut claims = Claims::new();
    for (node, evaluation) in
        evaluations.iter_mut().enumerate().filter(|(node, _)| !placeholders.contains(node))
    {
        for &tag in graph.tags[node].iter().filter(|tag| protect.tags.matches(tag.as_str())) {
            evaluation.keep_tag(tag, Reason::ProtectedTag { tag: tag.clone() });
        }
        for &tag in &graph.claimable_tags[node] {
            let Some((rule, group)) = policy.decides(tag) else {
                evaluation.keep_tag(tag, Reason::Unclaimed { tag: tag.clone() });
                continue;
            };
            if !evaluation.rules.contains(&policy.rules[rule].name.as_str()) {
                evaluation.rules.push(&policy.rules[rule].name);
            }
            let is_referrers = graph.is_referrers(node, tag);
            claims.entry((rule, group, is_referrers)).or_default().entry(node).or_default().push(tag);
        }
    }
    claims
}

/// Keeps or expires the tags that one rule evaluates together.
fn decide<'a>(
    rule: &'a Rule,
    nodes: BTreeMap<usize, Vec<&'a Tag>>,
    graph: &Graph<'a>,
    ages: &[Age],
    context: &PlanContext<'_>,
    evaluations: &mut [Evaluation<'a>],
) {
    let mut candidates: Vec<Candidate<'a>> = nodes
        .into_iter()
        .map(|(node, tags)| Candidate { node, digest: &graph.nodes[node].digest, tags, age: ages[node] })
        .collect();
    youngest_first(&mut candidates);
    let criteria: &[Criterion] = match &rule.keep {
        Keep::Everything | Keep::Nothing => &[],
        Keep::Any(criteria) => criteria,
    };
    let rows: Vec<Vec<Finding>> = criteria
        .iter()
        .map(|criterion| criterion::evaluate(criterion, &candidates, context.now, context.timezone))
        .collect();
    let counts_versions = criteria.iter().any(counts_versions);
    for (position, candidate) in candidates.into_iter().enumerate() {
        let evaluation = &mut evaluations[candidate.node];
        let tags: Vec<Tag> = candidate.tags.iter().map(|&tag| tag.clone()).collect();
        let reason_rule = || rule.name.clone();
        if counts_versions {
            for &tag in candidate.tags.iter().filter(|tag| version(tag).is_none()) {
                evaluation.keep_tag(tag, Reason::NotAVersion { rule: reason_rule(), tag: tag.clone() });
            }
        }
        if rule.keep == Keep::Everything {
            evaluation.keep_tags(candidate.tags);
            evaluation.reasons.push(Reason::KeepAll { rule: reason_rule(), tags });
            continue;
        }
        let (held, missed): (Vec<Finding>, Vec<Finding>) =
            rows.iter().map(|row| row[position].clone()).partition(|finding| finding.holds);
        if held.is_empty() {
            let expired = candidate.tags.into_iter().filter(|tag| !evaluation.kept_tags.contains(tag));
            let expired: Vec<&Tag> = expired.collect();
            if !expired.is_empty() {
                let tags = expired.iter().map(|&tag| tag.clone()).collect();
                evaluation.reasons.push(Reason::Expired { rule: reason_rule(), tags, findings: missed });
                evaluation.expired_tags.extend(expired.into_iter().map(|tag| (tag, rule.name.as_str())));
            }
        } else {
            evaluation.keep_tags(candidate.tags);
            for finding in held {
                evaluation.reasons.push(Reason::Criterion {
                    rule: reason_rule(),
                    tags: tags.clone(),
                    finding,
                });
            }
        }
    }
}

fn counts_versions(criterion: &Criterion) -> bool {
    match criterion {
        Criterion::Versions(..) => true,
        Criterion::All(criteria) => criteria.iter().any(counts_versions),
        Criterion::Newest(_) | Criterion::NewerThan(_) | Criterion::Period(..) => false,
    }
}
