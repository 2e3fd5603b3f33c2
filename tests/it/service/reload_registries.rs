//! Registries that are renamed, moved, removed or added again while the service runs: it shows the same as after a restart.

use serde_json::Value;

use super::harness::{Commands, Host, Serving, fill, until};
use super::requests::{MAIN, assert_metric, change, get, installation, start_run, status, wait_for_runs};
use crate::support::holding_proxy::HoldingProxy;

const RELOADED: &str = "the configuration was reloaded";

/// What the service shows of its only registry, without name, address and reachability.
async fn shown_state(serving: &Serving) -> (Value, Value, Vec<(&'static str, Vec<f64>)>) {
    let mut status = status(serving).await["registries"][0].take();
    for one in ["registry", "url", "up"] {
        status[one].take();
    }
    status["last_run"]["registry"].take();
    // After a restart the duration includes the time until the state recorded the end.
    status["last_run"]["duration_seconds"].take();
    let name = get(serving, "/api/v1/status").await;
    let name: Value = serde_json::from_str(&name).unwrap();
    let label = format!("registry={}", name["registries"][0]["registry"]);
    let mut plan: Value = serde_json::from_str(&get(serving, "/api/v1/plan").await).unwrap();
    plan[0]["registry"].take();
    let names = [
        "deleted_manifests_total",
        "deleted_tags_total",
        "expired_manifests",
        "last_run_outcome",
        "last_run_refusals",
        "last_run_timestamp_seconds",
        "last_success_timestamp_seconds",
        "manifests",
    ];
    let mut numbers = Vec::new();
    for name in names {
        numbers.push((name, serving.series(name, &[&label]).await));
    }
    (status, plan, numbers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_continues_when_a_registry_is_renamed_moved_or_added_again() {
    let host = Host::start().await;
    fill(&host.registry.url(), host.registry.store()).await;
    let installation = installation(&format!("url: {}", host.registry.url()));
    let serving = installation.serve().await;
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 1).await;
    serving.until_metric("deleted_manifests_total", &[MAIN], 4.0).await;
    let before = shown_state(&serving).await;
    assert_eq!((&before.0["deleted_manifests"], &before.0["last_run"]["deleted"]), (&4.into(), &4.into()));
    let moved = host.registry.url().replace("127.0.0.1", "localhost");
    let changes = [
        // Another name, and the former one again.
        ("name: main\n", "name: other\n".to_owned()),
        ("name: other\n", "name: main\n".to_owned()),
        // Another address.
        (host.registry.url().leak() as &str, moved),
    ];
    for (number, (from, to)) in changes.into_iter().enumerate() {
        change(&installation, from, &to);
        until("a reload", async || serving.log().matches(RELOADED).count() == number + 1).await;
        assert_eq!(shown_state(&serving).await, before, "{from} to {to}");
    }
    // From here on it is counted as it happens.
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 2).await;
    assert_eq!(shown_state(&serving).await.0["deleted_manifests"], 4);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_removed_during_a_run_is_hidden_until_it_is_added_again() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::before(&host.registry.host(), 2);
    let installation = installation(&format!("url: {}", proxy.url()));
    let serving = installation.serve().await;
    start_run(&serving).await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    // Another registry instead, without a schedule.
    let away = "name: away\n    url: http://127.0.0.1:1\n";
    let here = format!("name: main\n    url: {}\n", proxy.url());
    change(&installation, &here, away);
    serving.until_logged(RELOADED).await;
    proxy.release();
    serving.until_logged("the run ended").await;
    until("it is no longer shown", async || {
        let series =
            ["registry_up", "last_run_outcome", "last_success_timestamp_seconds", "expired_manifests"];
        for name in series {
            if !serving.series(name, &[MAIN]).await.is_empty() {
                return false;
            }
        }
        true
    })
    .await;
    assert_eq!(serving.metric("deleted_manifests_total", &[MAIN]).await, 4.0, "what was counted stays");
    change(&installation, away, &here);
    until("a reload", async || serving.log().matches(RELOADED).count() == 2).await;
    assert_metric(&serving, "last_run_outcome", &[MAIN, "outcome=\"success\""], 1.0).await;
    assert!(serving.metric("last_success_timestamp_seconds", &[MAIN]).await > 0.0);
    let status = status(&serving).await["registries"][0].take();
    assert_eq!((&status["deleted_manifests"], &status["last_run"]["deleted"]), (&4.into(), &4.into()));
    assert_eq!(
        (filled.old_images_left(), serving.metric("deleted_manifests_total", &[MAIN]).await),
        (0, 4.0)
    );
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_collection_is_retried_after_a_restart_and_a_rename() {
    let commands = Commands::new().await;
    let installation = installation(&commands.lines("exit 3", "", ""));
    let serving = installation.serve().await;
    start_run(&serving).await;
    serving.until_metric("gc_runs_total", &[MAIN, "outcome=\"failed\""], 1.0).await;
    // The next run is years away.
    let soon = async |serving: &Serving| {
        let status = status(serving).await;
        let moment =
            |value: &Value| value.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        moment(&status["registries"][0]["next_collection"]) - moment(&status["now"])
            <= chrono::TimeDelta::minutes(5)
    };
    until("it is to be tried again", async || soon(&serving).await).await;
    serving.stop().await;
    let serving = installation.serve().await;
    assert!(soon(&serving).await, "after a restart");
    change(&installation, "name: main\n", "name: other\n");
    serving.until_logged(RELOADED).await;
    assert!(soon(&serving).await, "under another name");
    assert_eq!(serving.metric("gc_runs_total", &[]).await, 0.0, "nothing begins at once");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_collection_that_was_followed_by_a_skipped_one_is_not_shown_after_a_restart() {
    let commands = Commands::new().await;
    let broken = commands.file("broken");
    std::fs::write(&broken, "").unwrap();
    let installation =
        installation(&commands.lines(&format!("[ -e {} ] && exit 3", broken.display()), "", ""));
    let serving = installation.serve().await;
    start_run(&serving).await;
    serving.until_metric("gc_runs_total", &[MAIN, "outcome=\"failed\""], 1.0).await;
    assert_metric(&serving, "gc_last_run_successful", &[MAIN], 0.0).await;
    // A collection is possible now, and has too little to free.
    std::fs::remove_file(broken).unwrap();
    change(&installation, "    gc:\n", "    gc:\n      min_reclaimable: 1GiB\n");
    serving.until_logged(RELOADED).await;
    start_run(&serving).await;
    serving.until_metric("gc_runs_total", &[MAIN, "outcome=\"skipped\""], 1.0).await;
    serving.until_metric("gc_last_run_successful", &[MAIN], 1.0).await;
    serving.stop().await;
    let serving = installation.serve().await;
    assert_metric(&serving, "gc_last_run_successful", &[MAIN], 1.0).await;
    let page = get(&serving, "/").await;
    assert!(!page.contains("Needs attention"), "{page}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_image_counts_as_expired_again() {
    let host = Host::start().await;
    fill(&host.registry.url(), host.registry.store()).await;
    let installation = installation(&format!("url: {}", host.registry.url()));
    let serving = installation.serve().await;
    start_run(&serving).await;
    wait_for_runs(&serving, "success", 1).await;
    serving.until_metric("deleted_manifests_total", &[MAIN], 4.0).await;
    assert_metric(&serving, "expired_manifests", &[MAIN], 0.0).await;
    let url = format!("{}/api/v1/undo?run=1&image=team/app:build-1", serving.url);
    let undone = reqwest::Client::new().post(&url).bearer_auth("sesame").send().await.unwrap();
    assert_eq!(undone.status(), 200);
    serving.until_metric("expired_manifests", &[MAIN], 1.0).await;
    let before = shown_state(&serving).await;
    assert_eq!(before.0["plan"]["expired"]["manifests"], 1);
    serving.stop().await;
    let serving = installation.serve().await;
    assert_eq!(shown_state(&serving).await, before, "as after a restart");
    serving.stop().await;
}
