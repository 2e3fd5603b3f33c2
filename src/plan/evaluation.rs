//! What speaks for and against each manifest before anybody asks what others need.
//!
//! A tag is only a vote: one kept tag, one protection or one unknown keeps the manifest.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::age::Age;
use super::criterion::{self, Candidate, Finding, version, youngest_first};
use super::graph::{Graph, MissingSubject};
use super::{Counted, PlanContext, Reason, TagDeletion, Untag};
use crate::model::{Facts, Snapshot, Tag};
use crate::policy::{Criterion, Keep, Policy, Protect, Rule, Untagging};

/// What was put back by an undo stays this long, so that there is time to mend the rules that deleted it.
pub const RESTORED_STAYS: TimeDelta = TimeDelta::days(7);

/// What is known about one manifest's fate by looking at it alone.
#[derive(Default)]
pub(super) struct Evaluation<'a> {
    /// Every reason so far, for and against.
    pub(super) reasons: Vec<Reason>,
    /// Something about the manifest itself keeps it.
    pub(super) kept: bool,
    /// Something about the manifest itself expires it, unless it is kept.
    pub(super) expired: bool,
    /// The rules that claim its tags.
    pub(super) rules: Vec<&'a str>,
    /// As what `at_least` and `max_percent` count it.
    pub(super) counted_as: Option<Counted>,
    /// Its tags that are kept.
    kept_tags: Vec<&'a Tag>,
    /// Its tags that are expired, each with the rule that says so.
    expired_tags: Vec<(&'a Tag, &'a str)>,
    /// Whether a protection or an unknown, rather than a tag, keeps it: then its tags stay too.
    protected: bool,
}

impl<'a> Evaluation<'a> {
    fn protect_by(&mut self, reason: Reason) {
        self.reasons.push(reason);
        self.kept = true;
        self.protected = true;
    }

    fn keep_tags(&mut self, tags: impl IntoIterator<Item = &'a Tag>) {
        for tag in tags {
            if !self.kept_tags.contains(&tag) {
                self.kept_tags.push(tag);
            }
        }
        self.kept = true;
    }

    fn keep_tag(&mut self, tag: &'a Tag, reason: Reason) {
        self.keep_tags([tag]);
        self.reasons.push(reason);
    }

    /// The expired tags that go alone because other tags keep the manifest. Where they cannot, a
    /// reason says with whom they share it.
    pub(super) fn untag(&mut self, graph: &Graph<'_>, node: usize, deletion: TagDeletion) -> Vec<Untag> {
        if self.kept_tags.is_empty() || self.protected {
            return Vec::new();
        }
        let mut untag = Vec::new();
        for (tag, rule) in &self.expired_tags {
            let tag = (*tag).clone();
            match deletion {
                TagDeletion::Supported => {
                    self.reasons.push(Reason::TagExpired { tag: tag.clone() });
                    let manifest = graph.nodes[node];
                    let digest = manifest.digest.clone();
                    untag.push(Untag { tag, digest, kind: manifest.kind, rule: (*rule).to_owned() });
                }
                TagDeletion::Unsupported => {
                    let with = self.kept_tags.iter().map(|&tag| tag.clone()).collect();
                    self.reasons.push(Reason::SharesManifest { tag, with });
                }
            }
        }
        untag
    }
}

/// Lets every tag, protection and unknown speak.
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
        // What only waits to go after its subject takes no place, or it would stay in place of that.
        let waits = || {
            graph.claimable_tags[node].is_empty()
                && context.parents_deleted.contains(&graph.nodes[node].digest)
        };
        let counted_as = graph.counted_as(node).filter(|_| !placeholders.contains(&node) && !waits());
        Evaluation { counted_as, ..Evaluation::default() }
    };
    let mut evaluations: Vec<Evaluation<'a>> = (0..graph.nodes.len()).map(evaluation).collect();
    if let Some(gap) = snapshot.gap() {
        for evaluation in &mut evaluations {
            evaluation.protect_by(Reason::Unread {
                why: format!("{gap} is somewhere in this repository and was not read"),
            });
        }
        return evaluations;
    }
    let claims = claims(graph, policy, context.protect, &placeholders, &mut evaluations);
    for ((rule, ..), nodes) in claims {
        decide(&policy.rules[rule], nodes, graph, ages, context, &mut evaluations);
    }
    for (node, evaluation) in evaluations.iter_mut().enumerate() {
        let (digest, latest) = (&graph.nodes[node].digest, ages[node].latest);
        let restored = snapshot.observations.get(digest).and_then(|observation| observation.restored);
        if let Some(age) = restored.map(|at| context.now - at).filter(|age| *age < RESTORED_STAYS) {
            evaluation.protect_by(Reason::Restored { age });
        }
        for missing in &graph.missing_subjects[node] {
            if let MissingSubject::Unread(subject) = missing {
                let why = format!("nobody knows whether its subject {subject} is there");
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
            judge_untagged(snapshot, graph, node, latest, policy, context, evaluation);
        }
    }
    evaluations
}

/// Whether a manifest is there only because regsweep was cut off while it removed its tag. No rule judges
/// such, and it takes no place from anything.
fn is_placeholder(graph: &Graph<'_>, node: usize, policy: &Policy) -> bool {
    let made_for = graph.nodes[node].placeholder_tag().filter(|_| policy.untag == Untagging::Always);
    made_for.is_some_and(|made_for| {
        let mut tags = graph.tags[node].iter();
        tags.next().is_some_and(|tag| tag.as_str() == made_for) && tags.next().is_none()
    })
}

/// Tags by rule, group, and whether they are those of referrers, then by manifest. A signature whose image is
/// elsewhere must take no place from an image, so a rule judges both alike and each kind by itself.
type Claims<'a> = BTreeMap<(usize, Vec<String>, bool), BTreeMap<usize, Vec<&'a Tag>>>;

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

/// Lets one rule speak about the manifests that it judges together.
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
        .map(|one| criterion::evaluate(one, &candidates, context.now, context.timezone))
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
            let gone = candidate.tags.into_iter().filter(|tag| !evaluation.kept_tags.contains(tag));
            let gone: Vec<&Tag> = gone.collect();
            if !gone.is_empty() {
                let tags = gone.iter().map(|&tag| tag.clone()).collect();
                evaluation.reasons.push(Reason::Expired { rule: reason_rule(), tags, findings: missed });
                evaluation.expired_tags.extend(gone.into_iter().map(|tag| (tag, rule.name.as_str())));
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

/// Keeps what is young, labelled, or not known well enough.
fn protect(
    graph: &Graph<'_>,
    node: usize,
    latest: Option<DateTime<Utc>>,
    context: &PlanContext<'_>,
    evaluation: &mut Evaluation<'_>,
) {
    // Nobody may have looked closely at what nobody wants gone; then not knowing is no reason.
    let wanted_gone = evaluation.expired || !evaluation.expired_tags.is_empty();
    protect_content(graph, node, wanted_gone, context, evaluation);
    match latest.map(|latest| context.now - latest) {
        None if wanted_gone => evaluation.protect_by(Reason::AgeUnknown),
        Some(age) if age < context.protect.newer_than => {
            evaluation.protect_by(Reason::ProtectedAge { age, limit: context.protect.newer_than });
        }
        None | Some(_) => {}
    }
}

/// Keeps what is labelled, or could be.
fn protect_content(
    graph: &Graph<'_>,
    node: usize,
    wanted_gone: bool,
    context: &PlanContext<'_>,
    evaluation: &mut Evaluation<'_>,
) {
    for member in graph.family(node) {
        match &graph.nodes[member].facts {
            Facts::Unknown { why, .. } if wanted_gone => {
                evaluation.protect_by(Reason::Unread { why: why.clone() })
            }
            Facts::NotFetched { .. } if wanted_gone => {
                evaluation.protect_by(Reason::Unread { why: "its configuration was not fetched".to_owned() });
            }
            Facts::Unknown { .. } | Facts::NotFetched { .. } => {}
            Facts::Known { labels, .. } => {
                let carried = context.protect.labels.iter().filter(|label| match &label.value {
                    Some(value) => labels.get(&label.key) == Some(value),
                    None => labels.contains_key(&label.key),
                });
                for label in carried {
                    evaluation.protect_by(Reason::ProtectedLabel { label: label.clone() });
                }
            }
        }
    }
}

/// Judges a manifest that no rule can claim: a referrer whose subject is gone, or one that nothing
/// points to. One that belongs to something here says nothing for itself, but for a label on what has a tag.
fn judge_untagged(
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
    // What has just lost its last tag may have lost it by mistake: `untagged` counts from then.
    let left = snapshot.observations.get(digest).and_then(|observation| observation.untagged_since);
    let untagged_for = latest.max(left).map(|since| context.now - since);
    let limit = context.protect.newer_than;
    let mut orphan = None;
    for missing in &graph.missing_subjects[node] {
        match missing {
            MissingSubject::Gone(subject) => orphan = orphan.or_else(|| Some(subject.clone())),
            MissingSubject::Unread(_) => return,
            MissingSubject::Elsewhere => {}
        }
    }
    let orphan = orphan.filter(|_| !graph.is_about_elsewhere(node));
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
            // Before it counts as expired: nobody knew its age when its index went, either.
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
