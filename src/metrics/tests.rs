//! What is counted, and under which labels.

use super::*;
use crate::model::{Digest, RepositoryName, Tag};
use crate::plan::{Failure, Refusal};
use crate::report::{Deleted, Untagged};

fn now() -> DateTime<Utc> {
    "2026-06-17T12:00:00Z".parse().unwrap()
}

fn fresh() -> Metrics {
    let metrics = Metrics::new("0.1.0", "abc").unwrap();
    metrics.registry("main", &["apps"]);
    metrics
}

fn check(metrics: &Metrics, lines: &[&str]) {
    let text = metrics.encode().unwrap();
    for line in lines {
        assert!(text.lines().any(|metric| metric == format!("regsweep_{line}")), "no {line} in\n{text}");
    }
}

#[test]
fn new_registry_has_every_series_at_zero_where_that_is_its_value() {
    check(
        &fresh(),
        &[
            r#"build_info{revision="abc",version="0.1.0"} 1"#,
            r#"run_started_timestamp_seconds{registry="main"} 0"#,
            r#"runs_total{outcome="refused",registry="main"} 0"#,
            r#"gc_runs_total{outcome="failed",registry="main"} 0"#,
            r#"deleted_manifests_total{policy="apps",registry="main"} 0"#,
            r#"repository_failures_total{kind="server",registry="main"} 0"#,
            r#"limit_refusals_total{limit="max_percent",registry="main"} 0"#,
            r#"registry_requests_total{code="202",method="DELETE",registry="main"} 0"#,
            r#"run_duration_seconds_count{registry="main"} 0"#,
        ],
    );
    let text = fresh().encode().unwrap();
    for name in [
        "registry_up",
        "manifests",
        "expired_manifests",
        "expired_bytes",
        "reclaimable_bytes",
        "last_run_refusals",
    ] {
        assert!(!text.contains(&format!("regsweep_{name}{{")), "its value is unknown: {name}");
    }
}

#[test]
fn run_is_counted_from_its_report() {
    let metrics = fresh();
    let repository = RepositoryName::parse("team/app").unwrap();
    let digest = Digest::of(b"a");
    let deleted = |already_gone| Deleted {
        repository: repository.clone(),
        digest: digest.clone(),
        tags: vec![Tag::parse("v1").unwrap(), Tag::parse("v2").unwrap()],
        policy: "apps".into(),
        bytes: 10,
        already_gone,
    };
    let untagged = Untagged {
        repository: repository.clone(),
        tag: Tag::parse("v3").unwrap(),
        digest: digest.clone(),
        policy: "apps".into(),
    };
    let report = RunReport {
        unanswered: false,
        cut_off: None,
        interrupted: false,
        registry_down: None,
        registry: "main".into(),
        now: now(),
        applied: true,
        deleted: vec![deleted(false), deleted(true)],
        untagged: vec![untagged],
        skipped: Vec::new(),
        failures: vec![Failure { repository, kind: "server", error: "it broke".into() }],
        refusals: vec![Refusal {
            limit: Limit::MaxDeletions,
            repository: None,
            deletions: 2,
            of: None,
            allowed: 1,
        }],
    };
    metrics.run_finished(&report, Duration::from_secs(3), now());
    metrics.run_failed("main", Duration::from_secs(1), now());
    metrics.run_skipped("main");
    check(
        &metrics,
        &[
            r#"runs_total{outcome="partial",registry="main"} 1"#,
            r#"runs_total{outcome="failed",registry="main"} 1"#,
            r#"runs_total{outcome="skipped",registry="main"} 1"#,
            r#"run_duration_seconds_sum{registry="main"} 4"#,
            r#"last_run_timestamp_seconds{registry="main"} 1781697600"#,
            r#"last_success_timestamp_seconds{registry="main"} 0"#,
            r#"deleted_manifests_total{policy="apps",registry="main"} 1"#,
            r#"deleted_tags_total{policy="apps",registry="main"} 3"#,
            r#"repository_failures_total{kind="server",registry="main"} 1"#,
            r#"limit_refusals_total{limit="max_deletions",registry="main"} 1"#,
            r#"last_run_refusals{limit="max_deletions",registry="main"} 1"#,
            r#"last_run_refusals{limit="max_percent",registry="main"} 0"#,
            r#"last_run_outcome{outcome="failed",registry="main"} 1"#,
            r#"last_run_outcome{outcome="partial",registry="main"} 0"#,
        ],
    );
    // The next run has no refusal; counters keep their value.
    metrics.run_finished(&RunReport { refusals: Vec::new(), ..report }, Duration::from_secs(1), now());
    check(
        &metrics,
        &[
            r#"limit_refusals_total{limit="max_deletions",registry="main"} 1"#,
            r#"last_run_refusals{limit="max_deletions",registry="main"} 0"#,
            r#"last_run_outcome{outcome="failed",registry="main"} 0"#,
            r#"last_run_outcome{outcome="partial",registry="main"} 1"#,
        ],
    );
}

#[test]
fn run_start_is_shown_until_the_run_ends() {
    let metrics = fresh();
    metrics.run_started("main", Some(now()));
    check(&metrics, &[r#"run_started_timestamp_seconds{registry="main"} 1781697600"#]);
    metrics.run_started("main", None);
    check(&metrics, &[r#"run_started_timestamp_seconds{registry="main"} 0"#]);
}

#[test]
fn collection_is_counted_with_its_own_result_only() {
    let metrics = fresh();
    let collected = |outcome, bytes| CollectionReport {
        at: now(),
        outcome,
        duration: Duration::from_secs(20),
        downtime: Duration::from_secs(8),
        blobs: 2,
        bytes,
        error: None,
    };
    metrics.collected("main", &collected(CollectionOutcome::Skipped, 1));
    check(
        &metrics,
        &[
            r#"gc_runs_total{outcome="skipped",registry="main"} 1"#,
            r#"gc_downtime_seconds_count{registry="main"} 0"#,
            r#"reclaimed_bytes_total{registry="main"} 0"#,
        ],
    );
    assert!(!metrics.encode().unwrap().contains("gc_last_run_successful{"), "none has begun");
    metrics.collected("main", &collected(CollectionOutcome::Failed, 10));
    metrics.collected("main", &collected(CollectionOutcome::Skipped, 1));
    check(
        &metrics,
        &[
            r#"gc_last_success_timestamp_seconds{registry="main"} 0"#,
            r#"gc_last_run_successful{registry="main"} 0"#,
        ],
    );
    metrics.collection_below_minimum("main");
    check(&metrics, &[r#"gc_last_run_successful{registry="main"} 1"#]);
    metrics.collected("main", &collected(CollectionOutcome::Failed, 0));
    metrics.collected("main", &collected(CollectionOutcome::Success, 100));
    check(
        &metrics,
        &[
            r#"gc_downtime_seconds_sum{registry="main"} 24"#,
            r#"gc_last_run_successful{registry="main"} 1"#,
            r#"reclaimed_bytes_total{registry="main"} 110"#,
            r#"reclaimed_blobs_total{registry="main"} 6"#,
            r#"gc_last_success_timestamp_seconds{registry="main"} 1781697600"#,
        ],
    );
}

#[test]
fn deleted_bytes_without_gc_are_not_reclaimable() {
    let metrics = fresh();
    metrics.reclaimable("main", 5);
    metrics.collected(
        "main",
        &CollectionReport {
            outcome: CollectionOutcome::Failed,
            ..CollectionReport::skipped(now(), String::new())
        },
    );
    // The configuration no longer has `gc` for the registry.
    metrics.uncollected("main", 5);
    check(&metrics, &[r#"deleted_uncollected_bytes{registry="main"} 5"#]);
    let text = metrics.encode().unwrap();
    assert!(!text.contains("reclaimable_bytes{") && !text.contains("gc_last_run_successful{"), "{text}");
    metrics.reclaimable("main", 6);
    let text = metrics.encode().unwrap();
    assert!(!text.contains("deleted_uncollected_bytes{"), "{text}");
    metrics.remove("main");
    assert!(!metrics.encode().unwrap().contains("reclaimable_bytes{"));
}

#[test]
fn counters_continue_from_the_state_and_gauges_can_be_removed() {
    let metrics = fresh();
    let deleted = [("old".to_owned(), DeletedCount { manifests: 5, tags: 6 })].into();
    let summary =
        RegistrySummary { deleted, reclaimed_bytes: 7, last_success: Some(now()), ..Default::default() };
    metrics.restore("main", &summary);
    metrics.reclaimable("main", u64::MAX);
    metrics.up("main", true);
    check(
        &metrics,
        &[
            r#"deleted_tags_total{policy="old",registry="main"} 6"#,
            r#"reclaimed_bytes_total{registry="main"} 7"#,
            r#"last_success_timestamp_seconds{registry="main"} 1781697600"#,
            r#"reclaimable_bytes{registry="main"} 9223372036854776000"#,
        ],
    );
    metrics.remove("main");
    let text = metrics.encode().unwrap();
    assert!(!text.contains("reclaimable_bytes{") && !text.contains("registry_up{"), "{text}");
    assert!(text.contains("reclaimed_bytes_total{"), "{text}");
}

#[test]
fn requests_are_counted_with_few_codes() {
    let metrics = fresh();
    let observer = metrics.observer("main");
    for status in [Some(404), Some(799), Some(42), None] {
        observer.request_finished("GET", status, Duration::from_millis(500));
    }
    observer.request_retried();
    check(
        &metrics,
        &[
            r#"registry_requests_total{code="404",method="GET",registry="main"} 1"#,
            r#"registry_requests_total{code="other",method="GET",registry="main"} 2"#,
            r#"registry_requests_total{code="error",method="GET",registry="main"} 1"#,
            r#"registry_request_duration_seconds_sum{method="GET",registry="main"} 2"#,
            r#"registry_retries_total{registry="main"} 1"#,
        ],
    );
}

#[test]
fn reload_that_fails_keeps_the_time_of_the_last_success() {
    let metrics = fresh();
    metrics.config_reloaded(true, now());
    metrics.config_reloaded(false, now() + chrono::TimeDelta::hours(1));
    check(
        &metrics,
        &["config_last_reload_successful 0", "config_last_reload_success_timestamp_seconds 1781697600"],
    );
}
