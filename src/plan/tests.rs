//! The tests of the planner, by subject, and what they share: a repository to build, and the input of its plan.

mod ages;
mod criteria;
mod hostile;
mod incomplete;
mod indexes;
mod limits;
mod past;
mod placeholders;
mod properties;
mod protections;
mod reasons;
mod referrers;
mod rules;
mod subjects;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use chrono::{DateTime, Duration, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::model::{Blob, Facts, Kind, Manifest, Observation, PLACEHOLDER, RepositoryName, Tag, TagDeletion};
use crate::policy::{Criterion, Keep, Label, Limits, Line, Mode, Patterns, Period, Protect, Rule, Untagging};

fn now() -> DateTime<Utc> {
    "2026-06-17T12:00:00Z".parse().unwrap() // a Wednesday
}

fn ago(hours: i64) -> DateTime<Utc> {
    now() - Duration::hours(hours)
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A repository to build. Manifests have names; ages are in hours.
struct TestRepository {
    snapshot: Snapshot,
    names: BTreeMap<Digest, String>,
}

impl TestRepository {
    fn new() -> Self {
        let repository = RepositoryName::parse("team/app").unwrap();
        Self { snapshot: Snapshot::empty(repository), names: BTreeMap::new() }
    }

    fn add(mut self, name: &str, kind: Kind, created: Option<DateTime<Utc>>, tags: &[&str]) -> Self {
        let manifest = Manifest {
            digest: digest(name),
            kind,
            size: 1,
            children: Vec::new(),
            subject: None,
            blobs: vec![Blob { digest: digest(&format!("blob of {name}")), size: 10 }],
            facts: Facts::Known { created, labels: BTreeMap::new() },
        };
        self.snapshot.manifests.insert(manifest.digest.clone(), manifest.into());
        self.names.insert(digest(name), name.to_owned());
        for tag in tags {
            self.snapshot.tags.insert(Tag::parse(tag).unwrap(), digest(name));
        }
        self
    }

    fn image(self, name: &str, hours: i64, tags: &[&str]) -> Self {
        self.add(name, Kind::Image, Some(ago(hours)), tags)
    }

    fn index(self, name: &str, children: &[&str], tags: &[&str]) -> Self {
        let children: Vec<Digest> = children.iter().map(|child| digest(child)).collect();
        self.add(name, Kind::Index, None, tags).edit(name, |manifest| {
            manifest.children = children;
            manifest.blobs.clear();
        })
    }

    fn edit(mut self, name: &str, change: impl FnOnce(&mut Manifest)) -> Self {
        change(Arc::make_mut(self.snapshot.manifests.get_mut(&digest(name)).unwrap()));
        self
    }

    fn label(self, name: &str, key: &str, value: &str) -> Self {
        self.edit(name, |manifest| {
            let Facts::Known { labels, .. } = &mut manifest.facts else { panic!("{name} has no facts") };
            labels.insert(key.into(), value.into());
        })
    }

    fn about(self, name: &str, subject: &str) -> Self {
        self.edit(name, |manifest| manifest.subject = Some(digest(subject)))
    }

    fn absent(mut self, name: &str) -> Self {
        self.snapshot.absent.insert(digest(name));
        self
    }

    /// Absent, and was there before.
    fn lost(mut self, name: &str) -> Self {
        self.snapshot.seen_subjects.insert(digest(name));
        self.absent(name)
    }

    fn plan(&self, input: &PlanInput) -> RepositoryPlan {
        input.plan(&self.snapshot)
    }

    /// One line for each manifest, by name: `delete b [v1 v2]: expired`.
    fn lines(&self, plan: &RepositoryPlan) -> Vec<String> {
        let mut lines: Vec<String> = plan
            .manifests
            .iter()
            .map(|planned| {
                let codes: Vec<&str> = planned.reasons.iter().map(Reason::code).collect();
                let verdict = if planned.verdict == Verdict::Keep { "keep" } else { "delete" };
                format!("{} {verdict}: {}", self.names[&planned.digest], codes.join(" "))
            })
            .collect();
        lines.extend(plan.untag.iter().map(|untag| format!("untag {}", untag.tag)));
        lines.sort();
        lines
    }

    fn check(&self, input: &PlanInput, expected: &[&str]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(self.lines(&self.plan(input)), expected);
    }
}

/// A signature's tag about the named manifest.
fn sig(subject: &str) -> String {
    digest(subject).as_str().replace(':', "-") + ".sig"
}

/// The policy and the context of a plan, with everything off that the case does not need.
struct PlanInput {
    policy: Policy,
    protect: Protect,
    timezone: Tz,
    tag_deletion: TagDeletion,
}

impl PlanInput {
    fn plan(&self, snapshot: &Snapshot) -> RepositoryPlan {
        self.plan_at(snapshot, now())
    }

    fn plan_at(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> RepositoryPlan {
        let Self { policy, protect, timezone, tag_deletion } = self;
        let parents_deleted = &BTreeSet::new();
        let context =
            PlanContext { now, timezone: *timezone, protect, tag_deletion: *tag_deletion, parents_deleted };
        plan(snapshot, &Intent::Policy(Arc::new(policy.clone())), &context)
    }

    fn protect(mut self, change: impl FnOnce(&mut Protect)) -> Self {
        change(&mut self.protect);
        self
    }

    fn untagged(mut self, hours: i64) -> Self {
        self.policy.untagged = Some(TimeDelta::hours(hours));
        self
    }

    fn timezone(mut self, timezone: Tz) -> Self {
        self.timezone = timezone;
        self
    }

    fn deletes_tags(mut self) -> Self {
        self.tag_deletion = TagDeletion::Supported;
        self
    }
}

fn rule(name: &str, tags: &str, keep: Keep) -> Rule {
    Rule { name: name.into(), tags: Patterns::parse(&[tags]).unwrap(), group_by: Vec::new(), keep }
}

fn rules(rules: Vec<Rule>) -> PlanInput {
    PlanInput {
        policy: Policy {
            name: "apps".into(),
            repositories: Patterns::parse(&[".*"]).unwrap(),
            mode: Mode::Enforce,
            rules,
            ..Policy::default()
        },
        protect: Protect { newer_than: TimeDelta::zero(), at_least: 0, ..Protect::default() },
        timezone: Tz::UTC,
        tag_deletion: TagDeletion::Unsupported,
    }
}

/// One rule that claims every tag.
fn all(criteria: Vec<Criterion>) -> PlanInput {
    rules(vec![rule("all", ".*", Keep::Any(criteria))])
}

fn nothing() -> PlanInput {
    rules(vec![rule("all", ".*", Keep::Nothing)])
}

fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn newest(n: usize) -> Criterion {
    Criterion::Newest(count(n))
}

fn newer_than(hours: i64) -> Criterion {
    Criterion::NewerThan(TimeDelta::hours(hours))
}

fn last(n: usize, period: Period) -> Criterion {
    Criterion::Period(period, count(n))
}

fn versions(n: usize, line: Option<Line>) -> Criterion {
    Criterion::Versions(count(n), line)
}
