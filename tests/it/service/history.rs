//! The runs of the API compared with those of `regsweep history`.

use serde_json::Value;

use super::harness::{EACH_SECOND, Host, Installation, NEVER, Serving, fill};

async fn get(serving: &Serving, path: &str) -> String {
    let response = reqwest::get(format!("{}{path}", serving.url)).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

/// Both, which must be equal to the last character.
async fn same(installation: &Installation, serving: &Serving, query: &str, arguments: &[&str]) -> Value {
    let runs = get(serving, &format!("/api/v1/runs{query}")).await;
    let ran = installation.run(&[&["history", "-o", "json"], arguments].concat()).await.exits(0);
    assert_eq!(runs, ran.stdout.trim_end());
    serde_json::from_str(&runs).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_has_the_runs_of_the_history_command() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let lines = format!("url: {}", host.registry.url());
    let installation = Installation::new(EACH_SECOND, std::slice::from_ref(&lines));
    let serving = installation.serve().await;
    serving.until_metric("deleted_manifests_total", &["policy=\"apps\""], 4.0).await;
    let runs = same(&installation, &serving, "?run=1", &["1"]).await;
    let deletions = runs["runs"][0]["deletions"].as_array().unwrap();
    let page = get(&serving, "/runs/1").await;
    for old in &filled.old {
        assert!(deletions.iter().any(|one| one["digest"] == old.digest.as_str()), "{runs}");
        assert!(page.contains(old.digest.as_str()), "{} is not on the page:\n{page}", old.digest);
    }
    assert_eq!(deletions.len(), 4);
    serving.until_at_least("runs_total", &["outcome=\"success\""], 3.0).await;
    serving.stop().await;
    // Without new runs all of it can be compared; a restart loses nothing.
    installation.configure(NEVER, &[lines], "");
    let serving = installation.serve().await;
    let all = same(&installation, &serving, "", &[]).await;
    assert!(all["runs"].as_array().unwrap().len() >= 3, "{all}");
    same(&installation, &serving, "?limit=2&registry=main", &["--limit", "2", "--registry", "main"]).await;
    let narrow = ["--repository", "team/.*", "--since", "2026-01-01"];
    let some = same(&installation, &serving, "?repository=team/.*&since=2026-01-01", &narrow).await;
    assert_eq!(some["runs"], runs["runs"]);
    assert!(get(&serving, "/").await.contains("href=\"/runs/1\""));
    // An undo while the service runs is refused; after one without it the page shows the result.
    let refused = installation.run(&["undo", "1"]).await.exits(1);
    assert!(refused.stderr.contains("in use by another regsweep"), "{refused:?}");
    assert!(get(&serving, "/runs/1").await.contains("regsweep undo 1<"));
    serving.stop().await;
    installation.run(&["undo", "1"]).await.exits(0);
    let serving = installation.serve().await;
    let page = get(&serving, "/runs/1").await;
    assert_eq!(page.matches(">restored<").count(), 4, "{page}");
    assert!(!page.contains("regsweep undo"), "{page}");
    same(&installation, &serving, "", &[]).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_run_has_a_page() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let installation = Installation::new(EACH_SECOND, &[format!("url: http://{closed}")]);
    let serving = installation.serve().await;
    serving.until_at_least("runs_total", &["outcome=\"failed\""], 1.0).await;
    assert!(get(&serving, "/").await.contains("href=\"/runs/1\""));
    assert!(get(&serving, "/runs/1").await.contains("is the registry running"));
    serving.stop().await;
}
