//! Liveness and readiness.

use chrono::TimeDelta;
use regsweep::http::StatusStore;
use regsweep::metrics::Metrics;
use reqwest::StatusCode;
use serde_json::Value;

use super::harness::{self, get, healthy, json, now, start};

/// Why the service is not ready: the causes and their registries.
async fn causes(url: &str) -> Vec<(String, Value)> {
    let response = get(&format!("{url}/readyz")).await;
    let status = response.status();
    let document: Value = response.json().await.unwrap();
    let causes = document["causes"].as_array().unwrap();
    assert_eq!(document["ready"], causes.is_empty());
    assert_eq!(
        status,
        if causes.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE },
        "{document}"
    );
    causes
        .iter()
        .map(|cause| (cause["cause"].as_str().unwrap().to_owned(), cause["registry"].clone()))
        .collect()
}

#[tokio::test]
async fn healthz_follows_the_heartbeat() {
    let (url, status_store) = healthy().await;
    let health = async || {
        let response = get(&format!("{url}/healthz")).await;
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(health().await, (200, "ok\n".to_owned()));
    status_store.heartbeat(now() - TimeDelta::seconds(60));
    assert_eq!(health().await.0, 200);
    status_store.heartbeat(now() - TimeDelta::seconds(150));
    assert_eq!(health().await, (503, "the main loop had no heartbeat for 2min\n".to_owned()));
    let url = start(StatusStore::default(), Metrics::new("", "").unwrap()).await;
    let response = get(&format!("{url}/healthz")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.text().await.unwrap(), "the main loop has not started\n");
}

#[tokio::test]
async fn readyz_names_each_cause() {
    let (url, status_store) = healthy().await;
    assert_eq!(causes(&url).await, []);
    status_store.up("main", false);
    assert_eq!(causes(&url).await, [("unreachable".to_owned(), "main".into())]);
    status_store.up("main", true);
    status_store.stopped("main", Some("the Docker Engine is not reachable"));
    assert_eq!(causes(&url).await, [("stopped".to_owned(), "main".into())]);
    let document = json(&format!("{url}/readyz")).await;
    let text = document["causes"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("main was stopped") && text.ends_with("the Docker Engine is not reachable"),
        "{text}"
    );
    status_store.stopped("main", None);
    status_store.next_run("main", Some(now() - TimeDelta::minutes(5)));
    assert_eq!(causes(&url).await, []);
    status_store.next_run("main", Some(now() - TimeDelta::minutes(6)));
    status_store.up("edge & co", false);
    let both = [("overdue".to_owned(), "main".into()), ("unreachable".to_owned(), "edge & co".into())];
    assert_eq!(causes(&url).await, both);
    status_store.run_started("main", now() - TimeDelta::minutes(6));
    assert_eq!(causes(&url).await, both[1..], "a running run is not overdue");
}

#[tokio::test]
async fn readyz_needs_a_configuration() {
    let status_store = StatusStore::default();
    let url = start(status_store.clone(), Metrics::new("", "").unwrap()).await;
    assert_eq!(causes(&url).await, [("not_configured".to_owned(), Value::Null)]);
    status_store.reload_failed("no such file", now());
    let document = json(&format!("{url}/readyz")).await;
    assert_eq!(document["causes"][0]["text"], "no configuration is active: no such file");
    assert_eq!(document["configuration"]["last_reload_ok"], false);
    status_store.configured(&harness::config("plan"), now());
    assert_eq!(causes(&url).await, []);
    status_store.reload_failed("line 3", now());
    assert_eq!(causes(&url).await, [], "the previous configuration stays active");
    assert_eq!(json(&format!("{url}/readyz")).await["configuration"]["error"]["text"], "line 3");
}
