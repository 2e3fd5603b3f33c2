//! The table of every criterion, protection, limit and reason, and the properties of all plans.

mod ages;
mod hostile;
mod past;
mod referrers;

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

/// A repository in the making. Manifests are named; ages are in hours.
struct World {
    snapshot: Snapshot,
    names: BTreeMap<Digest, String>,
}

impl World {
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

    fn gone(mut self, name: &str) -> Self {
        self.snapshot.absent.insert(digest(name));
        self
    }

    /// Gone, and was there once.
    fn lost(mut self, name: &str) -> Self {
        self.snapshot.seen_subjects.insert(digest(name));
        self.gone(name)
    }

    fn plan(&self, setting: &Setting) -> RepositoryPlan {
        setting.plan(&self.snapshot)
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

    fn check(&self, setting: &Setting, expected: &[&str]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(self.lines(&self.plan(setting)), expected);
    }
}

/// A signature's tag about the named manifest.
fn sig(subject: &str) -> String {
    digest(subject).as_str().replace(':', "-") + ".sig"
}

/// Policy and context with everything turned off that the case is not about.
struct Setting {
    policy: Policy,
    protect: Protect,
    timezone: Tz,
    tag_deletion: TagDeletion,
}

impl Setting {
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

fn rules(rules: Vec<Rule>) -> Setting {
    Setting {
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
fn all(criteria: Vec<Criterion>) -> Setting {
    rules(vec![rule("all", ".*", Keep::Any(criteria))])
}

fn nothing() -> Setting {
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

#[test]
fn an_empty_repository_has_an_empty_plan() {
    World::new().check(&nothing(), &[]);
}

#[test]
fn newest_keeps_the_youngest() {
    let world = World::new().image("a", 1, &["t1"]).image("b", 2, &["t2"]).image("c", 3, &["t3"]);
    world.check(&all(vec![newest(2)]), &["a keep: newest", "b keep: newest", "c delete: expired"]);
}

#[test]
fn newest_counts_manifests_and_not_tags() {
    let world = World::new().image("a", 1, &["t1", "t2"]).image("b", 2, &["t3"]).image("c", 3, &["t4"]);
    world.check(&all(vec![newest(2)]), &["a keep: newest", "b keep: newest", "c delete: expired"]);
}

#[test]
fn of_equal_age_the_later_tag_in_natural_order_is_younger() {
    let world = World::new().image("a", 1, &["build-9"]).image("b", 1, &["build-10"]);
    world.check(&all(vec![newest(1)]), &["a delete: expired", "b keep: newest"]);
}

#[test]
fn an_unknown_age_is_kept_and_takes_no_place() {
    let world = World::new()
        .add("old-clock", Kind::Image, Some("1970-01-01T00:00:00Z".parse().unwrap()), &["t1"])
        .add("future", Kind::Image, Some(ago(-1)), &["t2"])
        .add("chart", Kind::Artifact, None, &["t3"])
        .image("a", 5, &["t4"])
        .image("b", 6, &["t5"]);
    world.check(
        &all(vec![newest(1)]),
        &[
            "old-clock keep: expired age-unknown",
            "future keep: expired age-unknown",
            "chart keep: expired age-unknown",
            "a keep: newest",
            "b delete: expired",
        ],
    );
}

#[test]
fn newer_than_keeps_what_is_strictly_younger() {
    let world = World::new().image("a", 23, &["t1"]).image("b", 24, &["t2"]);
    world.check(&all(vec![newer_than(24)]), &["a keep: newer-than", "b delete: expired"]);
}

#[test]
fn daily_keeps_the_youngest_of_each_day_that_has_any() {
    let world = World::new()
        .image("today", 1, &["t1"])
        .image("today-early", 11, &["t2"])
        .image("yesterday", 13, &["t3"])
        .image("long-ago", 24 * 30, &["t4"])
        .image("longer-ago", 24 * 40, &["t5"]);
    world.check(
        &all(vec![last(3, Period::Daily)]),
        &[
            "today keep: daily",
            "today-early delete: expired",
            "yesterday keep: daily",
            "long-ago keep: daily",
            "longer-ago delete: expired",
        ],
    );
}

#[test]
fn a_day_begins_at_midnight_of_the_time_zone() {
    // 23:00 and 21:00 UTC of the day before: one day in UTC, two in Berlin.
    let world = World::new().image("a", 13, &["t1"]).image("b", 15, &["t2"]);
    world.check(&all(vec![last(9, Period::Daily)]), &["a keep: daily", "b delete: expired"]);
    world.check(
        &all(vec![last(9, Period::Daily)]).timezone(Tz::Europe__Berlin),
        &["a keep: daily", "b keep: daily"],
    );
}

#[test]
fn weeks_are_iso_weeks() {
    // Monday noon, the Sunday before, and the Monday of the week before.
    let world = World::new().image("mo", 48, &["t1"]).image("su", 72, &["t2"]).image("mo0", 216, &["t3"]);
    world.check(
        &all(vec![last(2, Period::Weekly)]),
        &["mo keep: weekly", "su keep: weekly", "mo0 delete: expired"],
    );
}

#[test]
fn months_and_years_are_calendar_ones() {
    let world = World::new()
        .image("june", 24 * 16, &["t1"]) // 1 June
        .image("may", 24 * 17, &["t2"]) // 31 May
        .image("january", 24 * 167, &["t3"]) // 1 January
        .image("last-year", 24 * 168, &["t4"]); // 31 December
    world.check(
        &all(vec![last(1, Period::Monthly), last(2, Period::Yearly)]),
        &[
            "june keep: monthly yearly",
            "may delete: expired",
            "january delete: expired",
            "last-year keep: yearly",
        ],
    );
}

#[test]
fn versions_keeps_the_highest_of_the_set() {
    let world = World::new()
        .image("a", 9, &["v1.10.0"])
        .image("b", 1, &["1.9.0"])
        .image("c", 2, &["1.10.0-rc.1"])
        .image("d", 3, &["v1.2.3"]);
    world.check(
        &all(vec![versions(2, None)]),
        &["a keep: versions", "c keep: versions", "b delete: expired", "d delete: expired"],
    );
}

#[test]
fn versions_counts_within_each_line() {
    let world = World::new()
        .image("a", 1, &["1.0.0"])
        .image("b", 2, &["1.0.1"])
        .image("c", 3, &["1.1.0"])
        .image("d", 4, &["2.0.0"]);
    world.check(
        &all(vec![versions(1, Some(Line::Minor))]),
        &["a delete: expired", "b keep: versions", "c keep: versions", "d keep: versions"],
    );
    world.check(
        &all(vec![versions(1, Some(Line::Major))]),
        &["a delete: expired", "b delete: expired", "c keep: versions", "d keep: versions"],
    );
}

#[test]
fn one_version_under_two_tags_takes_one_place() {
    let world = World::new()
        .image("a", 1, &["1.0.1"])
        .image("b", 2, &["v1.0.1_arm"]) // the plus sign of build metadata, as Helm writes it
        .image("c", 3, &["1.0.0"]);
    world
        .check(&all(vec![versions(1, None)]), &["a keep: versions", "b keep: versions", "c delete: expired"]);
}

#[test]
fn a_tag_that_is_no_version_is_kept_by_a_rule_that_counts_versions() {
    let world = World::new().image("a", 1, &["1.0"]).image("b", 2, &["1.0.0"]).image("c", 3, &["0.9.0"]);
    world.check(
        &all(vec![Criterion::All(vec![versions(1, None), newer_than(1)])]),
        &["a keep: not-a-version", "b delete: expired", "c delete: expired"],
    );
}

#[test]
fn without_all_one_criterion_is_enough_and_all_that_hold_are_reasons() {
    let world = World::new().image("a", 1, &["t1"]).image("b", 2, &["t2"]).image("c", 9, &["t3"]);
    world.check(
        &all(vec![newest(1), newer_than(3)]),
        &["a keep: newest newer-than", "b keep: newer-than", "c delete: expired"],
    );
}

#[test]
fn all_holds_only_where_every_criterion_does() {
    let world = World::new().image("a", 1, &["t1"]).image("b", 2, &["t2"]).image("c", 9, &["t3"]);
    world.check(
        &all(vec![Criterion::All(vec![newest(2), newer_than(2)])]),
        &["a keep: all", "b delete: expired", "c delete: expired"],
    );
}

#[test]
fn keep_all_and_keep_none_say_so_in_words() {
    let world = World::new().image("a", 1, &["keep-1"]).image("b", 2, &["drop-1"]);
    let setting =
        rules(vec![rule("keeps", "keep-.*", Keep::Everything), rule("drops", "drop-.*", Keep::Nothing)]);
    world.check(&setting, &["a keep: keep-all", "b delete: expired"]);
}

#[test]
fn the_first_rule_that_claims_a_tag_decides_it() {
    let world = World::new().image("a", 1, &["pr-1"]).image("b", 2, &["pr-2"]);
    let setting = rules(vec![rule("one", "pr-1", Keep::Nothing), rule("two", "pr-.*", Keep::Everything)]);
    world.check(&setting, &["a delete: expired", "b keep: keep-all"]);
}

#[test]
fn a_tag_that_no_rule_claims_is_kept() {
    let world = World::new().image("a", 1, &["other"]).image("b", 2, &["pr-2"]);
    world.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &["a keep: unclaimed", "b delete: expired"],
    );
}

#[test]
fn group_by_counts_within_each_group() {
    let world = World::new().image("a", 1, &["nightly-main-1"]).image("b", 2, &["nightly-main-2"]).image(
        "c",
        3,
        &["nightly-dev-1"],
    );
    let mut nightly = rule("nightly", "nightly-(?<branch>.+)-[0-9]", Keep::Any(vec![newest(1)]));
    nightly.group_by = vec!["branch".into()];
    world.check(&rules(vec![nightly]), &["a keep: newest", "b delete: expired", "c keep: newest"]);
}

#[test]
fn one_kept_tag_keeps_the_manifest_under_all_its_tags() {
    let world = World::new().image("a", 1, &["pr-1", "prod"]).image("b", 2, &["pr-2"]);
    let setting = || rules(vec![rule("prs", "pr-.*", Keep::Nothing)]);
    world.check(&setting(), &["a keep: unclaimed expired shares-manifest", "b delete: expired"]);
    world.check(
        &setting().deletes_tags(),
        &["a keep: unclaimed expired tag-expired", "b delete: expired", "untag pr-1"],
    );
}

#[test]
fn tags_of_one_manifest_that_different_rules_claim_each_vote() {
    let world = World::new().image("a", 1, &["pr-1", "rc-1"]).image("b", 2, &["pr-2", "rc-2"]);
    let setting =
        rules(vec![rule("prs", "pr-.*", Keep::Nothing), rule("rcs", "rc-.*", Keep::Any(vec![newest(1)]))]);
    world.check(&setting, &["a keep: expired newest shares-manifest", "b delete: expired expired"]);
    assert_eq!(world.plan(&setting).manifests[0].rules, ["prs", "rcs"]);
}

#[test]
fn protections_hold_whatever_the_rules_say() {
    let world = World::new()
        .image("tagged", 900, &["prod-1"])
        .image("labelled", 900, &["t1"])
        .label("labelled", "retention.keep", "true")
        .image("not-labelled", 900, &["t2"])
        .label("not-labelled", "retention.keep", "false")
        .image("keyed", 900, &["t3"])
        .label("keyed", "hold", "whatever")
        .image("young", 1, &["t4"]);
    let setting = nothing().protect(|protect| {
        protect.tags = Patterns::parse(&["prod-.*"]).unwrap();
        protect.labels = vec![
            Label { key: "retention.keep".into(), value: Some("true".into()) },
            Label { key: "hold".into(), value: None },
        ];
        protect.newer_than = TimeDelta::hours(2);
    });
    world.check(
        &setting,
        &[
            "tagged keep: protected-tag",
            "labelled keep: expired protected-label",
            "not-labelled delete: expired",
            "keyed keep: expired protected-label",
            "young keep: expired protected-newer-than",
        ],
    );
}

#[test]
fn a_protected_manifest_keeps_its_expired_tags_too() {
    let world = World::new().image("a", 1, &["pr-1", "prod"]);
    let setting = rules(vec![rule("prs", "pr-.*", Keep::Nothing)]).deletes_tags();
    world.check(
        &setting.protect(|protect| protect.newer_than = TimeDelta::hours(2)),
        &["a keep: unclaimed expired protected-newer-than"],
    );
}

#[test]
fn an_index_is_protected_by_the_label_of_a_child() {
    let world = World::new().image("amd64", 9, &[]).image("arm64", 9, &[]).label("arm64", "hold", "x").index(
        "index",
        &["amd64", "arm64"],
        &["t1"],
    );
    let setting =
        nothing().protect(|protect| protect.labels = vec![Label { key: "hold".into(), value: None }]);
    world.check(
        &setting,
        &["index keep: expired protected-label", "amd64 keep: child-of-kept", "arm64 keep: child-of-kept"],
    );
}

#[test]
fn at_least_rescues_the_youngest() {
    let world = World::new().image("a", 1, &["t1"]).image("b", 2, &["t2"]).image("c", 3, &["t3"]);
    world.check(
        &nothing().protect(|protect| protect.at_least = 2),
        &["a keep: expired at-least", "b keep: expired at-least", "c delete: expired"],
    );
}

#[test]
fn at_least_does_not_count_signatures() {
    let world = World::new().image("a", 1, &["t1"]).image("s", 1, &[&sig("a")]).image("b", 2, &["t2"]);
    world.check(
        &nothing().protect(|protect| protect.at_least = 1),
        &["a keep: expired at-least", "s keep: referrer-of-kept", "b delete: expired"],
    );
}

#[test]
fn an_expired_index_takes_its_children_along() {
    let world = World::new()
        .image("amd64", 9, &[])
        .image("arm64", 10, &[])
        .image("deep", 11, &[])
        .index("inner", &["deep"], &[])
        .index("index", &["amd64", "arm64", "inner"], &["t1"]);
    world.check(
        &nothing(),
        &[
            "index delete: expired",
            "amd64 delete: child-of-expired",
            "arm64 delete: child-of-expired",
            "inner delete: child-of-expired",
            "deep delete: child-of-expired",
        ],
    );
    let plan = world.plan(&nothing());
    let order: Vec<&str> = plan.manifests.iter().map(|one| world.names[&one.digest].as_str()).collect();
    let place = |name: &str| order.iter().position(|one| *one == name).unwrap();
    assert!(place("index") < place("inner") && place("inner") < place("deep"), "{order:?}");
}

#[test]
fn an_index_is_as_old_as_its_youngest_child_unless_it_says() {
    let world = World::new()
        .image("young", 1, &[])
        .image("old", 900, &[])
        .index("index", &["young", "old"], &["t1"])
        .index("says", &["young"], &["t2"])
        .edit("says", |manifest| {
            manifest.facts = Facts::Known { created: Some(ago(800)), labels: BTreeMap::new() };
        });
    world.check(
        &all(vec![newer_than(24)]),
        &[
            "index keep: newer-than",
            "young keep: child-of-kept",
            "old keep: child-of-kept",
            "says delete: expired",
        ],
    );
}

#[test]
fn a_child_shared_with_a_kept_index_stays() {
    let world = World::new()
        .image("shared", 9, &[])
        .image("own", 9, &[])
        .index("old", &["shared", "own"], &["pr-1"])
        .index("new", &["shared"], &["latest"]);
    world.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &[
            "old delete: expired",
            "own delete: child-of-expired",
            "new keep: unclaimed",
            "shared keep: child-of-kept",
        ],
    );
}

#[test]
fn a_child_with_a_kept_tag_of_its_own_stays() {
    let world = World::new().image("tagged", 9, &["v1"]).image("plain", 9, &[]).index(
        "index",
        &["tagged", "plain"],
        &["pr-1"],
    );
    world.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &["index delete: expired", "plain delete: child-of-expired", "tagged keep: unclaimed"],
    );
}

#[test]
fn an_expired_child_of_a_kept_index_stays_with_its_tag() {
    let world = World::new().image("child", 9, &["pr-1"]).index("index", &["child"], &["v1"]);
    world.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]).deletes_tags(),
        &["index keep: unclaimed", "child keep: expired child-of-kept"],
    );
}

#[test]
fn referrers_by_tag_follow_their_subject() {
    let world = World::new()
        .image("old", 9, &["pr-1"])
        .image("old-sig", 9, &[&sig("old")])
        .image("new", 9, &["v1"])
        .image("new-sig", 9, &[&sig("new")]);
    world.check(
        &rules(vec![rule("all", "pr-.*|sha256-.*", Keep::Nothing)]),
        &[
            "old delete: expired",
            "old-sig delete: referrer-of-expired",
            "new keep: unclaimed",
            "new-sig keep: referrer-of-kept",
        ],
    );
}

#[test]
fn referrers_by_subject_follow_it_and_so_do_theirs() {
    let world = World::new()
        .image("old", 9, &["t1"])
        .add("sbom", Kind::Artifact, None, &[])
        .about("sbom", "old")
        .add("sbom-sig", Kind::Artifact, None, &[&sig("sbom")]);
    world.check(
        &nothing(),
        &["old delete: expired", "sbom delete: referrer-of-expired", "sbom-sig delete: referrer-of-expired"],
    );
}

#[test]
fn a_signature_of_a_child_follows_the_index() {
    let world = World::new().image("child", 9, &[]).image("child-sig", 9, &[&sig("child")]).index(
        "index",
        &["child"],
        &["t1"],
    );
    world.check(
        &nothing(),
        &["index delete: expired", "child delete: child-of-expired", "child-sig delete: referrer-of-expired"],
    );
    world.check(
        &rules(vec![]),
        &["index keep: unclaimed", "child keep: child-of-kept", "child-sig keep: referrer-of-kept"],
    );
}

#[test]
fn a_fallback_index_goes_with_its_subject_and_takes_its_list_along() {
    let fallback = digest("old").as_str().replace(':', "-");
    let world = World::new()
        .image("old", 9, &["t1"])
        .add("sbom", Kind::Artifact, None, &[])
        .about("sbom", "old")
        .index("fallback", &["sbom"], &[&fallback]);
    world.check(
        &nothing(),
        &[
            "old delete: expired",
            "fallback delete: referrer-of-expired",
            "sbom delete: child-of-expired referrer-of-expired",
        ],
    );
}

#[test]
fn what_a_kept_referrer_is_about_stays() {
    let world = World::new()
        .image("old", 9, &["pr-1"])
        .add("sbom", Kind::Artifact, None, &["sbom-of-1"])
        .about("sbom", "old");
    world.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &["old keep: expired subject-of-kept", "sbom keep: unclaimed"],
    );
}

#[test]
fn a_signature_of_two_subjects_stays_while_one_of_them_does() {
    let world = World::new().image("old", 9, &["pr-1"]).image("new", 9, &["v1"]).image(
        "both",
        9,
        &[&sig("old"), &sig("new")],
    );
    world.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &["old keep: expired subject-of-kept", "new keep: unclaimed", "both keep: referrer-of-kept"],
    );
}

#[test]
fn an_orphan_goes_once_it_is_old_enough() {
    let world = World::new()
        .image("old-sig", 9, &[&sig("gone-1")])
        .image("young-sig", 1, &[&sig("gone-2")])
        .add("ageless-sig", Kind::Artifact, None, &[&sig("gone-3")])
        .image("unread-sig", 9, &[&sig("unread")])
        .lost("gone-1")
        .lost("gone-2")
        .lost("gone-3");
    world.check(
        &nothing().protect(|protect| protect.newer_than = TimeDelta::hours(2)),
        &[
            "old-sig delete: orphan",
            "young-sig keep: orphan-newer-than",
            "ageless-sig keep: age-unknown",
            "unread-sig keep: unread",
        ],
    );
}

#[test]
fn untagged_manifests_are_left_alone_unless_the_policy_says_otherwise() {
    let world =
        World::new().image("old", 9, &[]).image("young", 1, &[]).add("ageless", Kind::Artifact, None, &[]);
    world.check(&nothing(), &["old keep: untagged", "young keep: untagged", "ageless keep: untagged"]);
    world.check(
        &nothing().untagged(2),
        &["old delete: expired-untagged", "young keep: untagged-newer-than", "ageless keep: age-unknown"],
    );
}

#[test]
fn an_untagged_manifest_that_something_needs_is_not_judged_as_untagged() {
    let world = World::new()
        .image("child", 900, &[])
        .index("index", &["child"], &["v1"])
        .image("subject", 900, &[])
        .image("subject-sig", 900, &[&sig("subject")]);
    world.check(
        &rules(vec![]).untagged(2),
        &[
            "index keep: unclaimed",
            "child keep: child-of-kept",
            "subject delete: expired-untagged",
            "subject-sig delete: referrer-of-expired",
        ],
    );
}

#[test]
fn what_a_kept_index_lists_as_a_blob_and_is_a_manifest_stays_too() {
    let world = World::new().image("child", 900, &[]).index("index", &[], &["v1"]);
    let world = world.edit("index", |index| index.blobs = vec![Blob { digest: digest("child"), size: 1 }]);
    world.check(&rules(vec![]).untagged(2), &["index keep: unclaimed", "child keep: child-of-kept"]);
}

#[test]
fn what_could_not_be_read_is_kept() {
    let world = World::new().image("a", 9, &["t1"]).image("child", 9, &[]).image("b", 9, &["t3"]);
    let unreadable = |manifest: &mut Manifest| {
        manifest.facts = Facts::Unknown { why: "the configuration is gone".into(), lasting: false };
    };
    let world =
        world.edit("a", unreadable).edit("child", unreadable).index("index", &["child", "b"], &["t2"]);
    world.check(
        &nothing(),
        &[
            "a keep: expired unread age-unknown",
            "index keep: expired unread",
            "child keep: child-of-kept",
            "b keep: expired child-of-kept",
        ],
    );
}

#[test]
fn a_gap_in_the_snapshot_keeps_everything() {
    let world = World::new().image("a", 9, &["t1"]).index("index", &["never read"], &["t2"]);
    world.check(&nothing(), &["a keep: unread", "index keep: unread"]);
    world.gone("never read").check(&nothing(), &["a delete: expired", "index keep: expired age-unknown"]);
}

#[test]
fn a_circle_of_referrers_that_nothing_speaks_for_or_against_is_kept() {
    let world = World::new()
        .add("a", Kind::Artifact, None, &[])
        .about("a", "b")
        .add("b", Kind::Artifact, None, &[])
        .about("b", "a");
    let lines = world.lines(&world.plan(&nothing().untagged(1)));
    assert!(lines.iter().all(|line| line.contains("keep: untagged")), "{lines:?}");
}

#[test]
fn a_circle_of_tags_is_broken_behind_the_index() {
    // The index is older than nothing it lists, and a tag says that it signs its own child.
    let world = World::new().image("child", 9, &["t1"]).index("index", &["child"], &[&sig("child")]);
    world.check(&nothing(), &["child delete: expired child-of-expired", "index delete: referrer-of-expired"]);
    let order: Vec<Digest> = world.plan(&nothing()).deletions().map(|one| one.digest.clone()).collect();
    assert_eq!(order, [digest("index"), digest("child")]);
}

#[test]
fn an_index_about_its_own_child_still_goes_before_it() {
    let world = World::new()
        .image("child", 900, &[])
        .index("index", &["child"], &["a1"])
        .edit("index", |index| {
            index.facts = Facts::Known { created: Some(ago(800)), labels: BTreeMap::new() }
        })
        .about("index", "child")
        .index("other", &["child"], &["a2"]);
    let plan = world.plan(&nothing());
    let order: Vec<&str> = plan.deletions().map(|planned| world.names[&planned.digest].as_str()).collect();
    assert_eq!((order.len(), order.last()), (3, Some(&"child")), "{order:?}");
    let child = plan.deletions().last().unwrap();
    assert_eq!(child.after.len(), 2, "{child:?}");
}

#[test]
fn what_an_undo_put_back_stays_with_all_its_tags() {
    let mut world = World::new().image("a", 9000, &["a"]).image("b", 9000, &["b"]);
    let observation = Observation { noticed: ago(9000), untagged_since: None, restored: Some(ago(24)) };
    world.snapshot.observations.insert(digest("a"), observation);
    world.check(&nothing(), &["a keep: expired restored", "b delete: expired"]);
}

#[test]
fn a_leftover_goes_with_what_belongs_to_it() {
    let mut world = World::new().image("child", 9000, &[]).image("sig", 9000, &[&sig("child")]);
    world.snapshot.leftovers.insert(digest("child"));
    world.check(&nothing(), &["child delete: leftover", "sig delete: referrer-of-expired"]);
}

#[test]
fn a_placeholder_goes_whatever_its_rule_says_and_takes_no_place() {
    let world = || {
        let world = World::new().image("a", 9000, &["a"]).image("left", 2, &["v1"]);
        world.label("left", PLACEHOLDER, "v1")
    };
    let setting = || all(vec![newest(1)]);
    world().check(&setting(), &["a delete: expired", "left keep: newest"]);
    let always = || {
        let mut setting = setting().deletes_tags();
        setting.policy.untag = Untagging::Always;
        setting
    };
    world().check(&always(), &["a keep: newest", "left delete: placeholder"]);
    let young = always().protect(|protect| protect.newer_than = TimeDelta::hours(3));
    world().check(&young, &["a keep: newest", "left keep: placeholder protected-newer-than"]);
    // With the label of another tag, or with a second tag, it is an ordinary image.
    let other = world().label("left", PLACEHOLDER, "v2");
    other.check(&always(), &["a delete: expired", "left keep: newest"]);
    let two = World::new().image("left", 2, &["v1", "v2"]).label("left", PLACEHOLDER, "v1");
    two.check(&always(), &["left keep: newest"]);
}

#[test]
fn a_placeholder_takes_no_place_of_at_least() {
    let world = World::new().image("a", 9000, &["a"]).image("b", 9001, &["b"]).image("left", 2, &["v1"]);
    let world = world.label("left", PLACEHOLDER, "v1");
    let setting = |newer_than: i64| {
        let mut setting = nothing().deletes_tags().protect(|protect| {
            protect.at_least = 1;
            protect.newer_than = TimeDelta::hours(newer_than);
        });
        setting.policy.untag = Untagging::Always;
        setting
    };
    // It is neither counted while it stays for its youth nor rescued once it is to go.
    world.check(
        &setting(3),
        &["a keep: expired at-least", "b delete: expired", "left keep: placeholder protected-newer-than"],
    );
    world.check(&setting(1), &["a keep: expired at-least", "b delete: expired", "left delete: placeholder"]);
    assert_eq!(world.plan(&setting(1)).counted, [Counted::Image; 2], "nor does max_percent count it");
}

#[test]
fn every_reason_code_occurs_in_this_table() {
    let table = include_str!("tests.rs");
    let source = include_str!("reason.rs");
    let codes: Vec<&str> = source
        .lines()
        .skip_while(|line| !line.contains("fn code"))
        .take_while(|line| !line.contains("fn verdict"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    let expected = table.lines().filter(|line| line.contains("keep: ") || line.contains("delete: "));
    let words: BTreeSet<&str> = expected.flat_map(|line| line.split(&[' ', '"'][..])).collect();
    for code in codes {
        assert!(words.contains(code), "no case expects the reason {code}");
    }
}

#[test]
fn reasons_say_by_how_much() {
    let world = World::new().image("a", 24, &["1.0.1"]).image("b", 24 * 20, &["1.0.0"]).image(
        "c",
        24 * 21,
        &["0.9.0", "latest"],
    );
    let setting = rules(vec![rule(
        "releases",
        r"\d.*",
        Keep::Any(vec![
            newest(1),
            newer_than(24 * 14),
            last(1, Period::Weekly),
            versions(1, Some(Line::Major)),
        ]),
    )]);
    let plan = world.plan(&setting);
    let text: Vec<String> =
        plan.manifests.iter().flat_map(|one| one.reasons.iter().map(ToString::to_string)).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    rule releases keeps 1.0.1: it ranks 1 of 3 by age (newest: 1)
    rule releases keeps 1.0.1: it is 24h old (newer_than: 14d)
    rule releases keeps 1.0.1: it is the youngest image of 2026-W25 (weekly: 1)
    rule releases keeps 1.0.1: 1.0.1 ranks 1 among the versions of its major line (versions: {newest: 1, per: major})
    no rule claims tag latest
    rule releases keeps 0.9.0: 0.9.0 ranks 1 among the versions of its major line (versions: {newest: 1, per: major})
    rule releases no longer keeps 1.0.0: it ranks 2 of 3 by age (newest: 1); it is 20d old (newer_than: 14d); 2026-W22 is outside the last week that has images (weekly: 1); 1.0.0 ranks 2 among the versions of its major line (versions: {newest: 1, per: major})
    ");
}

#[test]
fn bytes_count_what_is_shared_once() {
    let shared = Blob { digest: digest("layer"), size: 1000 };
    let share = |manifest: &mut Manifest| manifest.blobs.push(shared.clone());
    let world = World::new()
        .image("a", 9, &["t1"])
        .edit("a", share)
        .image("b", 9, &["t2"])
        .edit("b", share)
        .index("index", &["a", "b"], &["t3"]);
    let plan = world.plan(&nothing());
    let bytes = |name: &str| plan.manifests.iter().find(|one| one.digest == digest(name)).unwrap().bytes;
    assert_eq!((bytes("a"), bytes("index")), (1011, 1023));
    assert_eq!((plan.referenced_bytes, plan.expired_bytes), (0, 1023));
    let frees: Vec<u64> = plan.deletions().map(|planned| planned.frees).collect();
    assert_eq!(frees.iter().sum::<u64>(), plan.expired_bytes, "each byte goes once: {frees:?}");
    let keep_b = rules(vec![rule("r", "t[13]", Keep::Nothing)]);
    let plan = world.plan(&keep_b);
    assert_eq!(plan.expired_bytes, 1 + 10 + 1);
    assert_eq!(plan.referenced_bytes, 1 + 10 + 1000, "a shared layer belongs to what is kept");
    let plan = world.plan(&rules(vec![rule("r", "t.", Keep::Everything)]));
    assert_eq!((plan.referenced_bytes, plan.expired_bytes), (1023, 0), "and counts once");
}

mod limits {
    use super::*;

    fn of(repository: &str, kept: usize, expired: usize) -> RepositoryPlan {
        let mut world = World::new();
        world.snapshot.repository = RepositoryName::parse(repository).unwrap();
        for number in 0..kept + expired {
            let tag = if number < kept { format!("keep-{number}") } else { format!("drop-{number}") };
            world = world.image(&format!("{repository}-{number}"), 9, &[&tag]);
        }
        world.plan(&rules(vec![rule("drops", "drop-.*", Keep::Nothing)]))
    }

    fn check(repositories: Vec<RepositoryPlan>, limits: Limits, expected: &[&str], permitted: &[&str]) {
        let plan = Plan::new("main", now(), repositories, Vec::new(), &limits);
        let refusals: Vec<String> = plan.refusals.iter().map(ToString::to_string).collect();
        let heads: Vec<&str> = refusals.iter().map(|text| text.split("; review").next().unwrap()).collect();
        assert_eq!(heads, expected);
        let open: Vec<&str> = plan.permitted().map(|one| one.repository.as_str()).collect();
        assert_eq!(open, permitted);
    }

    #[test]
    fn max_percent_refuses_a_repository() {
        check(
            vec![of("a", 2, 8), of("b", 3, 7), of("c", 0, 9)],
            Limits { max_percent: 75, max_deletions: 100 },
            &["a: 8 of its 10 tagged manifests would be deleted, and limits.max_percent allows 75 %"],
            &["b", "c"],
        );
    }

    #[test]
    fn max_deletions_refuses_the_registry() {
        check(
            vec![of("a", 9, 3), of("b", 9, 3)],
            Limits { max_percent: 100, max_deletions: 5 },
            &["6 manifests would be deleted, and limits.max_deletions allows 5"],
            &[],
        );
        check(
            vec![of("a", 9, 3), of("b", 9, 2)],
            Limits { max_percent: 100, max_deletions: 5 },
            &[],
            &["a", "b"],
        );
    }

    /// So many images, and signatures of subjects that were never here, kept and expired.
    fn signed(images: (usize, usize), signatures: (usize, usize)) -> RepositoryPlan {
        let mut world = World::new();
        world.snapshot.repository = RepositoryName::parse("a").unwrap();
        for (word, hours, count) in [("keep", 1, images.0), ("drop", 9, images.1)] {
            for number in 0..count {
                world = world.image(&format!("{word}-{number}"), hours, &[&format!("{word}-{number}")]);
            }
        }
        for (word, hours, count) in [("kept", 1, signatures.0), ("gone", 9, signatures.1)] {
            for number in 0..count {
                let subject = format!("subject-{word}-{number}");
                world = world.image(&format!("{word}-{number}"), hours, &[&sig(&subject)]).gone(&subject);
            }
        }
        world.plan(&all(vec![newer_than(5)]))
    }

    #[test]
    fn max_percent_counts_referrers_whose_subjects_are_elsewhere() {
        let limits = Limits { max_percent: 75, max_deletions: 100 };
        let refused = |deletions: usize, of: usize| {
            format!(
                "a: {deletions} of its {of} tagged manifests would be deleted, and limits.max_percent allows 75 %"
            )
        };
        check(vec![signed((0, 0), (2, 8))], limits, &[&refused(8, 10)], &[]);
        check(vec![signed((0, 0), (3, 7))], limits, &[], &["a"]);
        // Signatures that stay do not stand in for images that go.
        check(vec![signed((2, 8), (90, 0))], limits, &[&refused(8, 10)], &[]);
        check(vec![signed((10, 0), (0, 90))], limits, &[&refused(90, 100)], &[]);
    }

    #[test]
    fn what_will_not_happen_does_not_count() {
        let mut held = of("b", 9, 3);
        held.intent = Intent::Policy(Arc::new(Policy { mode: Mode::Plan, ..Policy::default() }));
        check(
            vec![of("a", 1, 9), held, of("c", 9, 3)],
            Limits { max_percent: 75, max_deletions: 5 },
            &["a: 9 of its 10 tagged manifests would be deleted, and limits.max_percent allows 75 %"],
            &["c"],
        );
    }

    #[test]
    fn a_refusal_tells_the_way_out() {
        let plan = Plan::new(
            "main",
            now(),
            vec![of("a", 0, 3)],
            Vec::new(),
            &Limits { max_percent: 100, max_deletions: 1 },
        );
        let text = plan.refusals[0].to_string();
        assert!(text.contains("regsweep plan") && text.contains("--override-limits"), "{text}");
    }
}

/// Repositories and settings of every shape.
mod properties {
    use super::*;

    #[derive(Debug, Clone)]
    struct Node {
        kind: Kind,
        hours: Option<i64>,
        children: Vec<usize>,
        subject: Option<usize>,
        tags: Vec<u8>,
        signs: Option<usize>,
        label: bool,
    }

    fn node() -> impl Strategy<Value = Node> {
        (
            prop_oneof![3 => Just(Kind::Image), 2 => Just(Kind::Index), 1 => Just(Kind::Artifact)],
            prop_oneof![5 => (0..2000i64).prop_map(Some), 1 => Just(None)],
            prop::collection::vec(0..12usize, 0..4),
            prop_oneof![4 => Just(None), 1 => (0..14usize).prop_map(Some)],
            prop_oneof![1 => Just(vec![]), 3 => prop::collection::vec(0..30u8, 1..3)],
            prop_oneof![4 => Just(None), 1 => (0..14usize).prop_map(Some)],
            prop::bool::weighted(0.1),
        )
            .prop_map(|(kind, hours, children, subject, tags, signs, label)| Node {
                kind,
                hours,
                children,
                subject,
                tags,
                signs,
                label,
            })
    }

    /// Tags are `a0`, `b1`, `1.0.2` and so on; manifests 12 and 13 do not exist.
    fn world(nodes: &[Node]) -> World {
        let name = |number: usize| format!("m{number}");
        let mut world = World::new();
        for number in nodes.len()..14 {
            // Of those that are not there, every other was once.
            world = if number % 2 == 0 { world.gone(&name(number)) } else { world.lost(&name(number)) };
        }
        for (number, node) in nodes.iter().enumerate() {
            world = world.add(&name(number), node.kind, node.hours.map(ago), &[]);
            // Edges run downwards only: a digest cannot list itself, directly or not.
            if node.kind == Kind::Index {
                let children = node.children.iter().filter(|&&child| child < number);
                let children = children.map(|&child| digest(&name(child))).collect();
                world = world.edit(&name(number), |manifest| manifest.children = children);
            }
            if let Some(subject) = node.subject.filter(|&subject| subject < number || subject > 11) {
                world = world.about(&name(number), &name(subject));
            }
            if node.label {
                world = world.label(&name(number), "hold", "x");
            }
            for tag in &node.tags {
                let text = match tag % 3 {
                    0 => format!("a{tag}"),
                    1 => format!("b{tag}"),
                    _ => format!("1.{}.{}", tag % 2, tag),
                };
                world.snapshot.tags.insert(Tag::parse(&text).unwrap(), digest(&name(number)));
            }
            if let Some(subject) = node.signs {
                let tag = Tag::parse(&sig(&name(subject))).unwrap();
                world.snapshot.tags.insert(tag, digest(&name(number)));
            }
        }
        world
    }

    fn worlds() -> impl Strategy<Value = World> {
        prop::collection::vec(node(), 0..12).prop_map(|nodes| world(&nodes))
    }

    impl std::fmt::Debug for World {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:#?} {:?}", self.snapshot, self.names)
        }
    }

    impl std::fmt::Debug for Setting {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:#?} {:?} {:?}", self.policy, self.protect, self.tag_deletion)
        }
    }

    fn criterion() -> impl Strategy<Value = Criterion> {
        let leaf = prop_oneof![
            (1..4usize).prop_map(newest),
            (1..1500i64).prop_map(newer_than),
            (1..4usize).prop_map(|n| last(n, Period::Daily)),
            (1..4usize).prop_map(|n| last(n, Period::Monthly)),
            (1..3usize).prop_map(|n| versions(n, None)),
            (1..3usize).prop_map(|n| versions(n, Some(Line::Minor))),
        ];
        prop_oneof![4 => leaf.clone(), 1 => prop::collection::vec(leaf, 1..3).prop_map(Criterion::All)]
    }

    fn keep() -> impl Strategy<Value = Keep> {
        prop_oneof![
            1 => Just(Keep::Everything),
            3 => Just(Keep::Nothing),
            6 => prop::collection::vec(criterion(), 1..3).prop_map(Keep::Any),
        ]
    }

    fn settings() -> impl Strategy<Value = Setting> {
        (keep(), keep(), prop::option::of(1..1500i64), 0..200i64, 0..4usize, any::<bool>(), any::<bool>())
            .prop_map(|(first, second, untagged, young, at_least, deletes_tags, catch_all)| {
                let rest = if catch_all { ".*" } else { "[0-9].*" };
                let mut setting =
                    rules(vec![rule("a", "a.*", first), rule("rest", rest, second)]).protect(|protect| {
                        protect.newer_than = TimeDelta::hours(young);
                        protect.at_least = at_least;
                        protect.labels = vec![Label { key: "hold".into(), value: None }];
                    });
                if let Some(hours) = untagged {
                    setting = setting.untagged(hours);
                }
                if deletes_tags { setting.deletes_tags() } else { setting }
            })
    }

    fn deleted(plan: &RepositoryPlan) -> BTreeSet<&Digest> {
        plan.deletions().map(|planned| &planned.digest).collect()
    }

    /// The repository after a run that did what the plan says.
    fn apply(snapshot: &Snapshot, plan: &RepositoryPlan) -> Snapshot {
        let mut after = snapshot.clone();
        for planned in plan.deletions() {
            after.manifests.remove(&planned.digest);
            after.absent.insert(planned.digest.clone());
            after.seen_subjects.insert(planned.digest.clone());
            after.tags.retain(|_, digest| *digest != planned.digest);
        }
        after.tags.retain(|tag, _| !plan.untag.iter().any(|untag| untag.tag == *tag));
        after
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn keep_and_delete_partition_all(world in worlds(), setting in settings()) {
            let plan = world.plan(&setting);
            let listed: Vec<&Digest> = plan.manifests.iter().map(|planned| &planned.digest).collect();
            let once: BTreeSet<&Digest> = listed.iter().copied().collect();
            prop_assert_eq!(listed.len(), once.len());
            prop_assert_eq!(once, world.snapshot.manifests.keys().collect());
        }

        #[test]
        fn every_verdict_has_a_reason_that_speaks_for_it(world in worlds(), setting in settings()) {
            for planned in world.plan(&setting).manifests {
                let spoken = planned.reasons.iter().any(|reason| reason.verdict() == planned.verdict);
                prop_assert!(spoken, "{:?}", planned);
                if planned.verdict == Verdict::Delete {
                    let against = planned.reasons.iter().any(|reason| reason.verdict() == Verdict::Keep);
                    prop_assert!(!against, "{:?}", planned);
                }
            }
        }

        #[test]
        fn the_order_in_which_things_are_listed_does_not_matter(world in worlds(), setting in settings()) {
            let mut other = world.snapshot.clone();
            for manifest in other.manifests.values_mut() {
                let manifest = Arc::make_mut(manifest);
                manifest.children.reverse();
                manifest.blobs.reverse();
            }
            prop_assert_eq!(world.plan(&setting), setting.plan(&other));
        }

        #[test]
        fn what_a_kept_manifest_needs_is_kept(world in worlds(), setting in settings()) {
            let plan = world.plan(&setting);
            let deleted = deleted(&plan);
            for manifest in world.snapshot.manifests.values().filter(|one| !deleted.contains(&one.digest)) {
                for child in &manifest.children {
                    prop_assert!(!deleted.contains(child), "a child of {:?}", manifest.digest);
                }
            }
            for (tag, referrer) in &world.snapshot.tags {
                let Some(subject) = tag.subject().and_then(|subject| subject.digest()) else { continue };
                if world.snapshot.manifests.contains_key(&subject) && !deleted.contains(&subject) {
                    prop_assert!(!deleted.contains(referrer), "{tag}");
                }
            }
            for manifest in world.snapshot.manifests.values() {
                let Some(subject) = &manifest.subject else { continue };
                if world.snapshot.manifests.contains_key(subject) && !deleted.contains(subject) {
                    prop_assert!(!deleted.contains(&manifest.digest), "referrer of {subject:?}");
                }
            }
        }

        #[test]
        fn what_only_expired_manifests_need_does_not_stay_behind(world in worlds(), setting in settings()) {
            let plan = world.plan(&setting);
            let deleted = deleted(&plan);
            for planned in plan.manifests.iter().filter(|one| one.verdict == Verdict::Keep) {
                let manifest = &world.snapshot.manifests[&planned.digest];
                let parents: Vec<&Digest> = world.snapshot.manifests.values()
                    .filter(|one| one.children.contains(&manifest.digest)).map(|one| &one.digest).collect();
                let all_gone = !parents.is_empty() && parents.iter().all(|parent| deleted.contains(parent));
                if all_gone && manifest.subject.is_none() {
                    // Something of its own or a referrer's must have kept it.
                    prop_assert!(planned.reasons.iter().any(|reason| reason.verdict() == Verdict::Keep));
                    prop_assert!(!planned.reasons.iter().any(|reason| matches!(reason, Reason::Untagged)));
                }
            }
        }

        #[test]
        fn parents_and_subjects_go_first(world in worlds(), setting in settings()) {
            let plan = world.plan(&setting);
            let mut gone = BTreeSet::new();
            for planned in plan.deletions() {
                prop_assert!(planned.after.iter().all(|one| gone.contains(one)));
                let parents = world.snapshot.manifests.values()
                    .filter(|one| one.children.contains(&planned.digest));
                for parent in parents {
                    prop_assert!(planned.after.contains(&parent.digest));
                }
                gone.insert(planned.digest.clone());
            }
        }

        #[test]
        fn adding_a_keep_never_deletes_more(
            world in worlds(), setting in settings(), extra in criterion(), number in 0..2usize,
        ) {
            // Not with at_least: another kept manifest takes the place of a rescued one.
            let setting = setting.protect(|protect| protect.at_least = 0);
            let before = world.plan(&setting);
            let mut more = setting;
            match &mut more.policy.rules[number].keep {
                Keep::Everything => {}
                keep @ Keep::Nothing => *keep = Keep::Any(vec![extra]),
                Keep::Any(criteria) => criteria.push(extra),
            }
            let after = world.plan(&more);
            prop_assert!(deleted(&after).is_subset(&deleted(&before)));
        }

        #[test]
        fn a_plan_after_its_own_application_is_empty(world in worlds(), setting in settings()) {
            let mut snapshot = world.snapshot.clone();
            let mut plan = setting.plan(&snapshot);
            // Where tags go alone, a manifest that rises in the ranks by that may gain its first kept tag,
            // and then its other expired tags can go too. No manifest ever follows.
            for _ in 0..=world.snapshot.tags.len() {
                snapshot = apply(&snapshot, &plan);
                plan = setting.plan(&snapshot);
                prop_assert!(plan.deletions().next().is_none(), "{:?}", plan);
                if setting.tag_deletion == TagDeletion::Unsupported {
                    prop_assert!(plan.is_idle(), "{:?}", plan);
                }
            }
            prop_assert!(plan.is_idle(), "{:?}", plan);
        }

        #[test]
        fn at_least_this_many_tagged_manifests_stay(world in worlds(), setting in settings()) {
            let plan = world.plan(&setting);
            let tagged = plan.manifests.iter().filter(|planned| planned.counted_as.is_some());
            let (kept, gone): (Vec<_>, Vec<_>) = tagged.partition(|planned| planned.verdict == Verdict::Keep);
            prop_assert!(gone.is_empty() || kept.len() >= setting.protect.at_least);
            let images = |of: Vec<&Planned>| {
                of.into_iter().filter(|planned| planned.counted_as == Some(Counted::Image)).count()
            };
            prop_assert!(images(gone) == 0 || images(kept) >= setting.protect.at_least);
        }

        #[test]
        fn what_is_about_something_that_was_never_here_goes_only_by_the_rules(
            world in worlds(), setting in settings(),
        ) {
            let plan = world.plan(&setting);
            for planned in plan.deletions() {
                for tag in &planned.tags {
                    let Some(subject) = tag.subject().and_then(|subject| subject.digest()) else { continue };
                    let snapshot = &world.snapshot;
                    if snapshot.manifests.contains_key(&subject) || snapshot.seen_subjects.contains(&subject) {
                        continue;
                    }
                    prop_assert!(setting.policy.decides(tag).is_some(), "{tag}");
                    prop_assert!(planned.age.is_some_and(|age| age >= setting.protect.newer_than), "{tag}");
                    let expired = |reason: &Reason| match reason {
                        Reason::Expired { tags, .. } => tags.contains(tag),
                        _ => false,
                    };
                    prop_assert!(planned.reasons.iter().any(expired), "{tag}");
                }
            }
        }

        #[test]
        fn an_unclaimed_or_protected_tag_keeps_its_manifest(world in worlds(), setting in settings()) {
            let setting = setting.protect(|protect| protect.tags = Patterns::parse(&["1.*", "sha256-[0-7].*"]).unwrap());
            let plan = world.plan(&setting);
            for planned in plan.deletions() {
                for tag in &planned.tags {
                    let claimed = setting.policy.rules.iter().any(|rule| rule.claim(tag).is_some());
                    prop_assert!(claimed || tag.subject().is_some(), "{tag}");
                    prop_assert!(!setting.protect.tags.matches(tag.as_str()), "{tag}");
                }
            }
        }

        #[test]
        fn no_tagged_manifest_of_unknown_age_is_deleted(world in worlds(), setting in settings()) {
            let plan = world.plan(&setting);
            for planned in plan.deletions().filter(|planned| planned.counted_as == Some(Counted::Image)) {
                prop_assert!(planned.age.is_some_and(|age| age >= setting.protect.newer_than));
            }
        }

        #[test]
        fn only_expired_tags_of_kept_manifests_go_alone(world in worlds(), setting in settings()) {
            let plan = world.plan(&setting);
            let deleted = deleted(&plan);
            for untag in &plan.untag {
                prop_assert!(!deleted.contains(&untag.digest));
                let left = world.snapshot.tags.iter().filter(|(tag, digest)| {
                    **digest == untag.digest && !plan.untag.iter().any(|other| other.tag == **tag)
                });
                prop_assert!(left.count() > 0, "{} would leave its manifest without a tag", untag.tag);
            }
        }

        #[test]
        fn a_snapshot_with_a_gap_deletes_nothing(
            world in worlds(), setting in settings(), which in any::<prop::sample::Index>(),
        ) {
            let mut snapshot = world.snapshot.clone();
            let pointed_at: Vec<Digest> = snapshot.tags.values().cloned()
                .chain(snapshot.manifests.values().flat_map(|one| one.children.clone())).collect();
            prop_assume!(!pointed_at.is_empty());
            let lost = &pointed_at[which.index(pointed_at.len())];
            snapshot.manifests.remove(lost);
            snapshot.absent.remove(lost);
            prop_assert!(setting.plan(&snapshot).is_idle());
        }
    }
}
