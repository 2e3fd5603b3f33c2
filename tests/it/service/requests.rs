//! Requests to the service: they start runs and read what it shows.

use serde_json::Value;

use super::harness::{Installation, NEVER, Serving, until};

pub(crate) const MAIN: &str = "registry=\"main\"";

/// An installation whose runs start on request only.
pub(crate) fn installation(lines: &str) -> Installation {
    let installation = Installation::new(NEVER, &[]);
    let token = installation.config().with_file_name("token");
    std::fs::write(&token, "sesame\n").unwrap();
    installation.configure(
        NEVER,
        &[lines.to_owned()],
        &format!("admin_token: {{ file: {} }}\n", token.display()),
    );
    installation
}

/// Replaces something in the configuration.
pub(crate) fn change(installation: &Installation, from: &str, to: &str) {
    let text = std::fs::read_to_string(installation.config()).unwrap();
    assert!(text.contains(from), "{text}");
    installation.write(&text.replace(from, to));
}

/// Requests a run, and again while another job is running.
pub(crate) async fn start_run(serving: &Serving) {
    let url = format!("{}/api/v1/run", serving.url);
    until("a run begins", async || {
        let answer = reqwest::Client::new().post(&url).bearer_auth("sesame").send().await.unwrap();
        answer.status() == 202
    })
    .await;
}

/// Waits until this number of runs have ended with this outcome since the start of the service.
pub(crate) async fn wait_for_runs(serving: &Serving, outcome: &str, number: u32) {
    let label = format!("outcome=\"{outcome}\"");
    serving.until_metric("runs_total", &[MAIN, &label], number.into()).await;
}

pub(crate) async fn get(serving: &Serving, path: &str) -> String {
    reqwest::get(format!("{}{path}", serving.url)).await.unwrap().text().await.unwrap()
}

pub(crate) async fn status(serving: &Serving) -> Value {
    serde_json::from_str(&get(serving, "/api/v1/status").await).unwrap()
}

/// Asserts that a metric exists and has this value.
pub(crate) async fn assert_metric(serving: &Serving, name: &str, labels: &[&str], expected: f64) {
    let found = serving.series(name, labels).await;
    assert_eq!(found, [expected], "{name}{labels:?}: {}", serving.log());
}
