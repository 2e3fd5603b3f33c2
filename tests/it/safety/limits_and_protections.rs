//! What prevents the deletion of an expired image: unknown ages, protections, limits, modes.

use std::collections::BTreeSet;

use super::harness::{OLD_TAGS_EXPIRE, assert_holds, image, named, sweeper};
use crate::support::image::{Artifact, Image, Index};
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::{Regsweep, hours_ago};

#[test]
fn image_of_unknown_age_is_kept() {
    let registry = RealRegistry::start();
    let of = |name: &str, created: &str| Image::new(name).created(created).build();
    let unknown = [
        ("old-chart", Artifact::helm("chart").build()),
        ("old-epoch", of("epoch", "1970-01-01T00:00:00Z")),
        ("old-zero", of("zero", "0001-01-01T00:00:00Z")),
        ("old-reproducible", of("reproducible", "1980-01-01T00:00:00Z")),
        ("old-future", of("future", "2999-01-01T00:00:00Z")),
        ("old-words", of("words", "yesterday")),
        ("old-undated", Image::new("undated").undated().build()),
        ("old-index", Index::oci().child(&of("child", "1970-01-01T00:00:00Z")).build()),
    ];
    let (younger, older) = (of("younger", "2021-01-01T00:00:00Z"), image("older"));
    for (tag, content) in &unknown {
        registry.store().write("app", &[tag], content);
    }
    registry.store().write("app", &["old-younger"], &younger);
    registry.store().write("app", &["old-older"], &older);
    // Of those whose age is known the newest is kept: the others take no place.
    let rules = OLD_TAGS_EXPIRE.replace("keep: none", "keep: { newest: 1 }");
    let regsweep = Regsweep::new(&registry.url(), &rules);
    let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
    for (tag, content) in &unknown {
        assert!(plan.reasons(&content.digest).contains(&"age-unknown".to_owned()), "{tag}");
    }
    let run = regsweep.run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&older]));
    let kept = unknown.iter().map(|(tag, content)| (*tag, content));
    assert_holds(&registry, "app", &kept.chain([("old-younger", &younger)]).collect::<Vec<_>>());
}

#[test]
fn protections_override_rules() {
    let registry = RealRegistry::start();
    let labelled = Image::new("labelled").label("retention.keep", "true").build();
    let mislabelled = Image::new("mislabelled").label("retention.keep", "false").build();
    let young = Image::new("young").created(hours_ago(2).to_rfc3339()).build();
    let aged = Image::new("aged").created(hours_ago(48).to_rfc3339()).build();
    let (tagged, plain) = (image("tagged"), image("plain"));
    let index = Index::oci().child(&image("other")).child(&labelled).build();
    let all = [
        ("old-labelled", &labelled),
        ("old-mislabelled", &mislabelled),
        ("old-young", &young),
        ("old-aged", &aged),
        ("old-prod-1", &tagged),
        ("old-plain", &plain),
        ("old-index", &index),
    ];
    for (tag, content) in all {
        registry.store().write("app", &[tag], content);
    }
    let protect =
        "protect: { tags: ['old-prod-.*'], labels: ['retention.keep=true'], newer_than: 24h, at_least: 0 }";
    let rules = OLD_TAGS_EXPIRE.replace("protect: { newer_than: 0s, at_least: 0 }", protect);
    let regsweep = Regsweep::new(&registry.url(), &rules);
    let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
    for (content, code) in [
        (&labelled, "protected-label"),
        (&index, "protected-label"),
        (&tagged, "protected-tag"),
        (&young, "protected-newer-than"),
    ] {
        assert!(plan.reasons(&content.digest).contains(&code.to_owned()), "{code}");
    }
    regsweep.run(&["run"]).exits(0);
    let kept = |tag: &&(&str, _)| !["old-mislabelled", "old-aged", "old-plain"].contains(&tag.0);
    assert_holds(&registry, "app", &all.iter().filter(kept).copied().collect::<Vec<_>>());
}

#[test]
fn at_least_keeps_images_in_every_repository() {
    let registry = RealRegistry::start();
    let dated = |day: u32| Image::new(format!("day {day}")).created(format!("2020-01-0{day}T00:00:00Z"));
    let images: Vec<_> = (1..=4).map(|day| dated(day).build()).collect();
    let (kept, lone) = (image("kept"), image("lone"));
    for (number, content) in images.iter().enumerate() {
        registry.store().write("app", &[&format!("old-{number}")], content);
        registry.store().write("mixed", &[&format!("old-{number}")], content);
    }
    registry.store().write("mixed", &["keep"], &kept);
    registry.store().write("single", &["old"], &lone);
    let rules = OLD_TAGS_EXPIRE.replace("at_least: 0", "at_least: 2");
    Regsweep::new(&registry.url(), &rules).run(&["run"]).exits(0);
    assert_holds(&registry, "app", &[("old-2", &images[2]), ("old-3", &images[3])]);
    assert_holds(&registry, "mixed", &[("old-3", &images[3]), ("keep", &kept)]);
    assert_holds(&registry, "single", &[("old", &lone)]);
}

/// A registry with repositories of twelve tags each, of which so many expire.
fn twelve_each(repositories: &[(&str, usize)]) -> RealRegistry {
    let registry = RealRegistry::start();
    for (repository, expired) in repositories {
        for number in 0..12 {
            let tag = if number < *expired { format!("old-{number}") } else { format!("v{number}") };
            registry.store().write(repository, &[&tag], &image(&format!("{repository} {number}")));
        }
    }
    registry
}

fn tags(registry: &RealRegistry) -> Vec<(String, usize)> {
    let contents = registry.store().contents().into_iter();
    contents.map(|(repository, held)| (repository, held.tags.len())).collect()
}

fn counts(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    expected.iter().map(|(repository, count)| ((*repository).to_owned(), *count)).collect()
}

#[test]
fn max_percent_refuses_one_repository_and_no_other() {
    let registry = twelve_each(&[("most", 10), ("some", 9)]);
    let regsweep =
        Regsweep::new(&registry.url(), &OLD_TAGS_EXPIRE.replace("max_percent: 100", "max_percent: 75"));
    let plan = regsweep.run(&["plan"]).exits(3);
    assert!(plan.stderr.contains("10 of its 12 tagged manifests"), "{}", plan.stderr);
    let run = regsweep.run(&["run"]).exits(3);
    assert!(run.stderr.contains("limits.max_percent allows 75 %"), "{}", run.stderr);
    assert!(run.stderr.contains("regsweep run --override-limits"), "{}", run.stderr);
    assert_eq!(tags(&registry), counts(&[("most", 12), ("some", 3)]));
    regsweep.run(&["run", "--override-limits"]).exits(0);
    assert_eq!(tags(&registry), counts(&[("most", 2), ("some", 3)]));
}

#[test]
fn max_deletions_refuses_the_whole_run() {
    let registry = twelve_each(&[("one", 5), ("two", 6)]);
    let rules = OLD_TAGS_EXPIRE.replace("max_percent: 100", "max_percent: 100, max_deletions: 10");
    let regsweep = Regsweep::new(&registry.url(), &rules);
    let run = regsweep.run(&["run", "--output", "json"]).exits(3);
    assert!(run.stderr.contains("11 manifests would be deleted, and limits.max_deletions allows 10"));
    assert_eq!(run.json()["outcome"], "refused");
    assert_eq!(run.deleted(), BTreeSet::new());
    assert_eq!(tags(&registry), counts(&[("one", 12), ("two", 12)]));
    assert_eq!(super::harness::deletions(&registry), [] as [&str; 0]);
    regsweep.run(&["run", "--override-limits"]).exits(0);
    assert_eq!(tags(&registry), counts(&[("one", 7), ("two", 6)]));
}

#[test]
fn policy_in_mode_plan_deletes_nothing_even_with_overridden_limits() {
    let registry = twelve_each(&[("held", 5), ("swept", 5)]);
    let held = "policies:\n  - name: held\n    repositories: held\n    mode: plan\n    \
        rules: [{ name: old, tags: 'old.*', keep: none }]";
    let regsweep = Regsweep::new(&registry.url(), &OLD_TAGS_EXPIRE.replace("policies:", held));
    let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.json()["totals"]["delete"], 10);
    regsweep.run(&["run", "--override-limits"]).exits(0);
    assert_eq!(tags(&registry), counts(&[("held", 12), ("swept", 7)]));
}

#[test]
fn unclaimed_repository_is_not_read() {
    let registry = twelve_each(&[("team/app", 5), ("team/archive", 5), ("other", 5)]);
    let rules = OLD_TAGS_EXPIRE.replace("'.*'", "'team/.*'\n    exclude: 'team/archive'");
    let run = Regsweep::new(&registry.url(), &rules).run(&["run"]).exits(0);
    assert!(run.stdout.contains("2 repositories that no policy claims"), "{}", run.stdout);
    assert_eq!(tags(&registry), counts(&[("other", 12), ("team/app", 7), ("team/archive", 12)]));
    for logged in registry.requests() {
        let path = logged.path.as_str();
        let permitted = ["/v2/", "/v2/_catalog"].contains(&path.split('?').next().unwrap())
            || path.starts_with("/v2/team/app/");
        assert!(permitted, "{path}");
    }
}

#[test]
fn first_policy_that_claims_a_repository_decides() {
    let registry = twelve_each(&[("app", 5)]);
    let first =
        "policies:\n  - { name: first, repositories: app, rules: [{ name: all, tags: '.*', keep: all }] }";
    let regsweep = Regsweep::new(&registry.url(), &OLD_TAGS_EXPIRE.replace("policies:", first));
    regsweep.run(&["run"]).exits(0);
    assert_eq!(tags(&registry), counts(&[("app", 12)]));
    sweeper(&registry).run(&["run"]).exits(0);
    assert_eq!(tags(&registry), counts(&[("app", 7)]));
}
