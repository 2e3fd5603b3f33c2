//! Jobs, registries and processes at the same time, and counters across restarts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::{EACH_SECOND, Host, Installation, NEVER, fill};
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::holding_proxy::{HoldingProxy, is_probe};
use crate::support::registry_program::registry_program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_that_is_due_during_a_run_is_skipped() {
    let held = Host::start().await;
    let filled = fill(&held.registry.url(), held.registry.store()).await;
    let proxy = HoldingProxy::before(&held.registry.host(), 2);
    let free = FakeRegistry::start(Personality::V2_8);
    let installation =
        Installation::new(EACH_SECOND, &[format!("url: {}", proxy.url()), format!("url: {}", free.url())]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    let main = "registry=\"main\"";
    serving.until_at_least("runs_total", &[main, "outcome=\"skipped\""], 2.0).await;
    let before = serving.metric("runs_total", &["registry=\"main1\"", "outcome=\"success\""]).await;
    serving.until_at_least("runs_total", &["registry=\"main1\"", "outcome=\"success\""], before + 1.0).await;
    assert_eq!(serving.metric("runs_total", &[main, "outcome=\"success\""]).await, 0.0);
    assert_eq!(filled.old_images_left(), 3);
    proxy.release();
    serving.until_metric("deleted_manifests_total", &[main], 4.0).await;
    serving.until_at_least("runs_total", &[main, "outcome=\"success\""], 1.0).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_of_one_registry_with_two_addresses_take_turns() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let folder = tempfile::tempdir().unwrap();
    let (program, marks) = (folder.path().join("program"), folder.path().join("marks"));
    // The first lasts until another one begins beside it, or long enough for that to happen.
    let script = format!(
        "case \"$*\" in *--dry-run*) exec {registry} \"$@\" ;; esac\n\
         echo begin >>{marks}\n\
         for _ in $(seq 60); do [ $(wc -l <{marks}) -gt 1 ] && break; sleep 0.05; done\n\
         {registry} \"$@\"\ncode=$?\necho end >>{marks}\nexit $code\n",
        registry = registry_program(),
        marks = marks.display(),
    );
    std::fs::write(&program, script).unwrap();
    let lines = host.lines().replace(registry_program(), &format!("sh, {}", program.display()));
    let lines = lines.replace("gc:", "gc:\n  schedule: '* * * * * *'");
    let other = lines.replacen("127.0.0.1", "localhost", 1);
    for old in &filled.old {
        let url = format!("{}/v2/team/app/manifests/{}", host.registry.url(), old.digest);
        reqwest::Client::new().delete(url).send().await.unwrap().error_for_status().unwrap();
    }
    let installation = Installation::new(NEVER, &[lines, other]);
    let serving = installation.serve().await;
    for name in ["main", "main1"] {
        let label = format!("registry=\"{name}\"");
        serving.until_at_least("gc_runs_total", &[&label, "outcome=\"success\""], 1.0).await;
    }
    assert_eq!(serving.metric("reclaimed_bytes_total", &[]).await, filled.freed() as f64);
    serving.stop().await;
    let marks = std::fs::read_to_string(marks).unwrap();
    assert!(
        marks.lines().zip(["begin", "end"].into_iter().cycle()).all(|(mark, next)| mark == next),
        "{marks}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_service_with_the_same_state_ends_with_an_error() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let installation = Installation::new(NEVER, &[format!("url: {}", fake.url())]);
    let serving = installation.serve().await;
    let second = tokio::time::timeout(Duration::from_secs(10), installation.run(&["serve"])).await.unwrap();
    let second = second.exits(1);
    assert!(second.stderr.contains("in use by another regsweep: stop that one first"), "{second:?}");
    let by_hand = installation.run(&["run"]).await.exits(1);
    assert!(by_hand.stderr.contains("in use by another regsweep"), "{by_hand:?}");
    serving.stop().await;
    installation.run(&["run"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_continue_after_a_restart() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new(EACH_SECOND, &[host.lines()]);
    let serving = installation.serve().await;
    serving.until_at_least("gc_runs_total", &["outcome=\"success\""], 1.0).await;
    serving.stop().await;
    installation.configure(NEVER, &[host.lines()], "");
    let last = "SELECT CAST(strftime('%s', max(finished)) AS INTEGER) FROM run WHERE finished IS NOT NULL";
    let last = installation.number(last) as f64;
    let serving = installation.serve().await;
    assert_eq!(serving.metric("deleted_manifests_total", &["policy=\"apps\""]).await, 4.0);
    assert_eq!(serving.metric("deleted_tags_total", &["policy=\"apps\""]).await, 4.0);
    assert_eq!(serving.metric("reclaimed_bytes_total", &[]).await, filled.freed() as f64);
    assert_eq!(serving.metric("last_run_timestamp_seconds", &[]).await, last);
    assert_eq!(serving.metric("last_success_timestamp_seconds", &[]).await, last);
    assert!(serving.metric("gc_last_success_timestamp_seconds", &[]).await > 0.0);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_without_an_answer_is_counted_once_it_is_confirmed() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let first = AtomicBool::new(true);
    let proxy = FaultProxy::before(&host.registry.host(), move |seen| {
        let is_deletion = seen.method == "DELETE" && !is_probe(seen.path.as_bytes());
        if is_deletion && first.swap(false, Ordering::Relaxed) { Fault::Masked(404) } else { Fault::None }
    });
    let installation = Installation::new(EACH_SECOND, &[format!("url: {}", proxy.url())]);
    let serving = installation.serve().await;
    serving.until_logged("a deletion whose answer was lost is resolved").await;
    serving.until_metric("deleted_manifests_total", &["policy=\"apps\""], 4.0).await;
    serving.until_metric("deleted_tags_total", &["policy=\"apps\""], 4.0).await;
    let status = reqwest::get(format!("{}/api/v1/status", serving.url)).await.unwrap();
    let status: serde_json::Value = status.json().await.unwrap();
    assert_eq!(status["registries"][0]["deleted_manifests"], 4);
    assert_eq!((filled.old_images_left(), installation.total("deleted_manifests")), (0, 4));
    serving.stop().await;
}
