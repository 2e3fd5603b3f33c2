//! What metrics, page and API show while a job is running, after it, and after a restart.

use std::path::PathBuf;

use serde_json::Value;

use super::harness::{Commands, Host, Serving, fill, until};
use super::requests::{MAIN, assert_metric, change, get, installation, start_run, status, wait_for_runs};
use crate::support::holding_proxy::HoldingProxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_start_is_shown_while_the_run_lasts() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::before(&host.registry.host(), 2);
    let installation = installation(&format!("url: {}\nrun_timeout: 2h", proxy.url()));
    let serving = installation.serve().await;
    assert_metric(&serving, "run_timeout_seconds", &[MAIN], 7200.0).await;
    assert_metric(&serving, "run_started_timestamp_seconds", &[MAIN], 0.0).await;
    start_run(&serving).await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    let began = installation.number("SELECT CAST(strftime('%s', started) AS INTEGER) FROM run") as f64;
    assert_metric(&serving, "run_started_timestamp_seconds", &[MAIN], began).await;
    proxy.release();
    wait_for_runs(&serving, "success", 1).await;
    assert_metric(&serving, "run_started_timestamp_seconds", &[MAIN], 0.0).await;
    // The time of a run is its start, as docs/json.md says.
    let at = status(&serving).await["registries"][0]["last_run"]["at"].as_str().unwrap().to_owned();
    assert_eq!(at.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp() as f64, began);
    assert_eq!(filled.old_images_left(), 0);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_bytes_are_not_reclaimable_without_gc() {
    let host = Host::start().await;
    fill(&host.registry.url(), host.registry.store()).await;
    let installation = installation(&format!("url: {}", host.registry.url()));
    let serving = installation.serve().await;
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 1).await;
    let bytes = installation.total("reclaimable");
    assert!(bytes > 0);
    serving.until_metric("deleted_uncollected_bytes", &[MAIN], bytes as f64).await;
    assert!(serving.series("reclaimable_bytes", &[]).await.is_empty());
    let status = &status(&serving).await["registries"][0];
    assert_eq!((&status["collects"], &status["reclaimable_bytes"]), (&false.into(), &0.into()), "{status}");
    assert_eq!(status["deleted_uncollected_bytes"], bytes);
    let page = get(&serving, "/").await;
    assert!(page.contains("no garbage collection") && !page.contains("next collection"), "{page}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_is_shown_until_a_run_succeeds() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = installation(&format!("url: {}", host.registry.url()));
    change(&installation, "max_percent: 100", "max_percent: 100, max_deletions: 1");
    let serving = installation.serve().await;
    let labels = [MAIN, "limit=\"max_deletions\""];
    start_run(&serving).await;
    wait_for_runs(&serving, "refused", 1).await;
    assert_metric(&serving, "last_run_refusals", &labels, 1.0).await;
    assert_metric(&serving, "last_run_refusals", &[MAIN, "limit=\"max_percent\""], 0.0).await;
    serving.stop().await;
    let serving = installation.serve().await;
    assert_metric(&serving, "last_run_refusals", &labels, 1.0).await;
    assert_metric(&serving, "last_run_outcome", &[MAIN, "outcome=\"refused\""], 1.0).await;
    assert_metric(&serving, "last_run_outcome", &[MAIN, "outcome=\"success\""], 0.0).await;
    change(&installation, "max_deletions: 1", "max_deletions: 9");
    serving.until_logged("the configuration was reloaded").await;
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 1).await;
    assert_metric(&serving, "last_run_refusals", &labels, 0.0).await;
    assert_metric(&serving, "last_run_outcome", &[MAIN, "outcome=\"refused\""], 0.0).await;
    assert_metric(&serving, "last_run_outcome", &[MAIN, "outcome=\"success\""], 1.0).await;
    assert_eq!(filled.old_images_left(), 0);
    serving.stop().await;
}

/// A registry whose collections fail as long as a file is there.
async fn breakable() -> (Commands, PathBuf, String) {
    let commands = Commands::new().await;
    let broken = commands.file("broken");
    std::fs::write(&broken, "").unwrap();
    let lines = commands.lines(&format!("[ -e {} ] && exit 3", broken.display()), "", "");
    (commands, broken, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_collection_is_shown_until_one_succeeds() {
    let (commands, broken, lines) = breakable().await;
    let installation = installation(&lines);
    let serving = installation.serve().await;
    assert!(serving.series("gc_last_run_successful", &[]).await.is_empty(), "there was none");
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 1).await;
    serving.until_metric("gc_runs_total", &[MAIN, "outcome=\"failed\""], 1.0).await;
    assert_metric(&serving, "gc_last_run_successful", &[MAIN], 0.0).await;
    serving.stop().await;
    let serving = installation.serve().await;
    assert_metric(&serving, "gc_runs_total", &[MAIN, "outcome=\"failed\""], 0.0).await;
    assert_metric(&serving, "gc_last_run_successful", &[MAIN], 0.0).await;
    std::fs::remove_file(broken).unwrap();
    start_run(&serving).await;
    serving.until_metric("gc_runs_total", &[MAIN, "outcome=\"success\""], 1.0).await;
    assert_metric(&serving, "gc_last_run_successful", &[MAIN], 1.0).await;
    assert!(commands.filled.is_swept());
    // Without `gc` the series do not exist.
    serving.until_metric("reclaimable_bytes", &[MAIN], 0.0).await;
    let text = std::fs::read_to_string(installation.config()).unwrap();
    let (before, rest) = text.split_once("    gc:\n").unwrap();
    let (_, after) = rest.split_once("protect:").unwrap();
    installation.write(&format!("{before}protect:{after}"));
    serving.until_logged("the configuration was reloaded").await;
    assert_metric(&serving, "deleted_uncollected_bytes", &[MAIN], 0.0).await;
    for gone in ["gc_last_run_successful", "reclaimable_bytes"] {
        assert!(serving.series(gone, &[]).await.is_empty(), "{gone}");
    }
    serving.stop().await;
}

/// The field `gone` of each manifest of the plan.
async fn gone(serving: &Serving) -> Vec<bool> {
    let plans: Value = serde_json::from_str(&get(serving, "/api/v1/plan").await).unwrap();
    let repositories = plans[0]["repositories"].as_array().unwrap();
    let manifests = repositories.iter().flat_map(|one| one["manifests"].as_array().unwrap());
    manifests.map(|one| one["gone"].as_bool().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_images_do_not_count_as_expired() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = installation(&format!("url: {}", host.registry.url()));
    let expired = async |serving: &Serving, manifests: f64, bytes: f64| {
        assert_metric(serving, "expired_manifests", &[MAIN], manifests).await;
        assert_metric(serving, "expired_bytes", &[MAIN], bytes).await;
    };
    // First in mode plan, then with a policy in mode plan, and then with deletions.
    change(&installation, "mode: enforce", "mode: plan");
    let serving = installation.serve().await;
    // In mode plan a registry without a plan is planned at once.
    wait_for_runs(&serving, "success", 1).await;
    serving.until_metric("expired_manifests", &[MAIN], 4.0).await;
    let bytes = serving.series("expired_bytes", &[MAIN]).await[0];
    assert!(bytes > 0.0);
    assert_eq!(gone(&serving).await, [false; 4]);
    change(&installation, "mode: plan", "mode: enforce");
    change(&installation, "- name: apps\n", "- name: apps\n    mode: plan\n");
    serving.signal("HUP");
    serving.until_logged("the configuration was reloaded").await;
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 2).await;
    serving.until_metric("held_back_manifests", &[MAIN], 4.0).await;
    assert_metric(&serving, "held_back_bytes", &[MAIN], bytes).await;
    expired(&serving, 0.0, 0.0).await;
    assert_eq!((gone(&serving).await, filled.old_images_left()), (vec![false; 4], 4));
    serving.stop().await;
    change(&installation, "    mode: plan\n", "");
    let serving = installation.serve().await;
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 1).await;
    serving.until_metric("deleted_manifests_total", &[MAIN], 4.0).await;
    assert_eq!(gone(&serving).await, [true; 4]);
    expired(&serving, 0.0, 0.0).await;
    assert_metric(&serving, "held_back_manifests", &[MAIN], 0.0).await;
    let plan = &status(&serving).await["registries"][0]["plan"];
    assert_eq!((&plan["totals"]["delete"], &plan["expired"]["manifests"]), (&4.into(), &0.into()), "{plan}");
    let page = get(&serving, "/").await;
    assert_eq!(page.matches(">deleted<").count(), 4, "{page}");
    assert!(page.contains("<dt>Expired, not yet deleted</dt><dd>0 B</dd>"), "{page}");
    // A restored image is not gone.
    let undo =
        reqwest::Client::new().post(format!("{}/api/v1/undo?run=3", serving.url)).bearer_auth("sesame");
    assert_eq!(undo.send().await.unwrap().status(), 200);
    assert_eq!(gone(&serving).await, [false; 4]);
    assert_metric(&serving, "expired_manifests", &[MAIN], 4.0).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_values_have_no_series() {
    let host = Host::start().await;
    let installation = installation(&format!("url: {}", host.registry.url()));
    let serving = installation.serve().await;
    const OF_A_PLAN: [&str; 8] = [
        "repositories",
        "tags",
        "manifests",
        "referenced_bytes",
        "expired_manifests",
        "expired_bytes",
        "held_back_manifests",
        "held_back_bytes",
    ];
    for name in OF_A_PLAN.into_iter().chain(["last_run_refusals", "last_run_outcome", "registry_up"]) {
        assert!(serving.series(name, &[]).await.is_empty(), "{name}");
    }
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 1).await;
    for name in OF_A_PLAN {
        assert_metric(&serving, name, &[MAIN], 0.0).await;
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_keeps_metrics_and_status() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = installation(&format!("url: {}", host.registry.url()));
    let seen = async |serving: &Serving| {
        let mut status = status(serving).await["registries"][0].take();
        // After a restart `up` is unknown, and the duration includes the time until the state recorded the end.
        status["up"].take();
        status["last_run"]["duration_seconds"].take();
        let plan: Value = serde_json::from_str(&get(serving, "/api/v1/plan").await).unwrap();
        let mut numbers = Vec::new();
        for name in
            ["repositories", "tags", "manifests", "referenced_bytes", "expired_manifests", "expired_bytes"]
        {
            numbers.push((name, serving.series(name, &[MAIN]).await));
        }
        let page = get(serving, "/").await;
        let rows = page.matches("<tr><td data-label=\"Repository\"").count();
        (status, plan, numbers, (rows, page.matches(">deleted<").count()))
    };
    change(&installation, "mode: enforce", "mode: plan");
    for (mode, deleted) in [("plan", 0), ("enforce", 4)] {
        change(&installation, "mode: plan", &format!("mode: {mode}"));
        let serving = installation.serve().await;
        // In mode plan a registry without a plan is planned at once.
        if mode == "enforce" {
            start_run(&serving).await;
        }
        wait_for_runs(&serving, "success", 1).await;
        serving.until_metric("deleted_manifests_total", &[MAIN], deleted.into()).await;
        let before = seen(&serving).await;
        assert_eq!(before.3, (4, deleted as usize), "{mode}");
        assert_eq!(before.0["last_run"]["applied"], deleted > 0);
        serving.stop().await;
        let serving = installation.serve().await;
        assert_eq!(seen(&serving).await, before, "{mode}");
        serving.stop().await;
    }
    // What an undo has restored is not gone.
    let one = format!("team/app@{}", filled.old[1].digest);
    installation.run(&["undo", "2", &one]).await.exits(0);
    let serving = installation.serve().await;
    let gone = gone(&serving).await;
    assert_eq!((gone.len(), gone.iter().filter(|gone| **gone).count()), (4, 3));
    assert_metric(&serving, "expired_manifests", &[MAIN], 1.0).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_collection_is_shown() {
    let host = Host::start().await;
    fill(&host.registry.url(), host.registry.store()).await;
    let installation = installation(&host.lines());
    let serving = installation.serve().await;
    let next_start = async |serving: &Serving| {
        let numbers = serving.series("gc_next_timestamp_seconds", &[MAIN]).await;
        let at = status(serving).await["registries"][0]["next_collection"].take();
        let at = at.as_str().map(|at| at.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp());
        (numbers, at)
    };
    let next_run = serving.series("next_run_timestamp_seconds", &[MAIN]).await[0];
    assert_eq!(
        next_start(&serving).await,
        (vec![next_run], Some(next_run as i64)),
        "it follows the next run"
    );
    // With a grace period, by itself when it ends.
    change(&installation, "gc:\n", "gc:\n      grace: 5h\n");
    serving.until_metric("gc_next_timestamp_seconds", &[MAIN], next_run + 5.0 * 3600.0).await;
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 1).await;
    let youngest = "SELECT CAST(strftime('%s', max(at)) AS INTEGER) FROM entry";
    let ends = installation.number(youngest) + 5 * 3600;
    serving.until_metric("gc_next_timestamp_seconds", &[MAIN], ends as f64).await;
    assert_eq!(next_start(&serving).await, (vec![ends as f64], Some(ends as i64)));
    // By a schedule of its own, and in mode plan not at all.
    change(&installation, "gc:\n", "gc:\n      schedule: '0 0 1 1 *'\n");
    let january = |at: i64| chrono::DateTime::from_timestamp(at, 0).unwrap().format("%m-%d %T").to_string();
    until("a new year", async || {
        next_start(&serving).await.1.is_some_and(|at| january(at) == "01-01 00:00:00")
    })
    .await;
    change(&installation, "mode: enforce", "mode: plan");
    serving.until_metric("gc_next_timestamp_seconds", &[MAIN], 0.0).await;
    assert_eq!(next_start(&serving).await, (vec![0.0], None));
    serving.stop().await;
}
