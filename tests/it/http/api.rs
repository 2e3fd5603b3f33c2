//! The JSON API, and the numbers in it.

use chrono::TimeDelta;
use regsweep::http::RunEntry;
use serde_json::Value;

use super::harness::{self, busy, get, healthy, json, now};

#[tokio::test]
async fn history_is_sorted_by_start() {
    let (url, status_store) = healthy().await;
    // A long run ends after another that began later.
    for minutes in [5, 2, 9] {
        let at = now() - TimeDelta::minutes(minutes);
        status_store.run_ended(RunEntry::failed("main", "", at, std::time::Duration::from_secs(1)));
    }
    let history = json(&format!("{url}/api/v1/history")).await;
    let began: Vec<_> = history["history"].as_array().unwrap().iter().map(|one| one["at"].as_str()).collect();
    let expected = ["2026-06-17T11:58:00Z", "2026-06-17T11:55:00Z", "2026-06-17T11:51:00Z"];
    assert_eq!(began, expected.map(Some));
}

#[tokio::test]
async fn api_has_the_content_of_the_page() {
    let url = busy().await;
    let status = json(&format!("{url}/api/v1/status")).await;
    assert_eq!(status["version"], 1);
    assert_eq!(status["configuration"]["mode"], "enforce");
    let main = &status["registries"][0];
    assert_eq!(main["url"], "https://registry.example.com/");
    assert_eq!(main["last_run"]["outcome"], "partial");
    assert_eq!(main["next_run"], "2026-06-18T09:00:00Z");
    assert_eq!(main["last_collection"]["downtime_seconds"], 41.5);
    assert_eq!(main["plan"]["totals"]["delete"], 66);
    let kept = ["collects", "reclaimable_bytes", "deleted_uncollected_bytes"];
    let numbers = |registry: &Value| Value::from(kept.map(|key| registry[key].clone()).to_vec());
    assert_eq!(numbers(main), serde_json::json!([true, 9_663_676_416_u64, 0]));
    assert_eq!(numbers(&status["registries"][1]), serde_json::json!([false, 0, 5_368_709_120_u64]));
    let plans = json(&format!("{url}/api/v1/plan")).await;
    assert_eq!(plans.as_array().unwrap().len(), 1, "the other registry has no plan yet");
    assert_eq!(plans[0]["registry"], "main");
    assert_eq!(json(&format!("{url}/api/v1/plan?registry=edge+%26+co")).await, Value::Array(Vec::new()));
    let history = json(&format!("{url}/api/v1/history?registry=edge+%26+co")).await;
    let kinds: Vec<&Value> = history["history"].as_array().unwrap().iter().map(|one| &one["what"]).collect();
    assert_eq!(kinds, ["run", "collection"]);
    for path in ["plan", "history"] {
        assert_eq!(get(&format!("{url}/api/v1/{path}?registry=other")).await.status(), 404);
    }
}

#[test]
fn run_counts_only_its_own_deletions() {
    let report = harness::report(&harness::config("enforce"), 6, 0);
    let mut others = report.clone();
    others.deleted[0].already_gone = true;
    let count = |report| regsweep::http::RunEntry::of(report, now(), std::time::Duration::ZERO).deleted;
    assert_eq!((count(&report), count(&others)), (6, 5));
}

#[tokio::test]
async fn reload_keeps_the_status_of_registries_that_stay() {
    let (url, status_store) = healthy().await;
    status_store.up("main", true);
    let mut changed = harness::config("plan");
    changed.registries.remove(1);
    status_store.configured(&changed, now());
    let status = json(&format!("{url}/api/v1/status")).await;
    assert_eq!(status["registries"].as_array().unwrap().len(), 1);
    assert_eq!(status["registries"][0]["up"], true);
    changed.registries[0].url = "https://user:secret@registry.example.com/".parse().unwrap();
    status_store.configured(&changed, now());
    let status = json(&format!("{url}/api/v1/status")).await;
    assert!(!status.to_string().contains("secret"), "{status}");
}
