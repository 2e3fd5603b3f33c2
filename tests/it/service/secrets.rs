//! Secrets of the configuration: they are in no answer and not in the log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;

use super::harness::{EACH_SECOND, Installation};
use crate::support::real_registry::RealRegistry;

const PATHS: [&str; 13] = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/runs/1",
    "/runs/x",
    "/nothing",
    "/api/v1/status",
    "/api/v1/plan",
    "/api/v1/plan?registry=x",
    "/api/v1/history",
    "/api/v1/runs",
    "/api/v1/run",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_in_no_answer_and_no_log() {
    let servers = [0, 1, 2].map(|_| RealRegistry::options().htpasswd("bob", "the-right-one").start());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let basic = file("password", "secret-password-1");
    let token = file("token", "secret-token-2");
    let admin = file("admin", "secret-admin-token-3-of-some-length");
    let pair = STANDARD.encode("alice:secret-password-4");
    let docker = serde_json::json!({ "auths": { servers[2].host(): { "auth": pair } } });
    let docker = file("config.json", &docker.to_string());
    let [first, second, third] = servers.each_ref().map(RealRegistry::url);
    let registries = [
        format!("url: {first}\nauth: {{ basic: {{ username: bob, password: {{ file: {basic} }} }} }}"),
        format!("url: {second}\nauth: {{ bearer: {{ file: {token} }} }}"),
        format!("url: {third}\nauth: {{ docker_config: {docker} }}"),
    ];
    let installation = Installation::new(EACH_SECOND, &registries);
    installation.configure(EACH_SECOND, &registries, &format!("admin_token: {{ file: {admin} }}\n"));
    let serving = installation.serve().await;
    for name in ["main", "main1", "main2"] {
        let name = format!("registry=\"{name}\"");
        serving.until_at_least("runs_total", &[&name, "outcome=\"failed\""], 1.0).await;
    }
    // A token in the place of its file name is refused, and the page shows an error without it.
    installation.configure(EACH_SECOND, &registries, "admin_token: secret-literal-5\n");
    serving.until_metric("config_last_reload_successful", &[], 0.0).await;
    let secrets = ["secret-", &pair, &STANDARD.encode("bob:secret-password-1"), "the-right-one"];
    let client = reqwest::Client::new();
    for path in PATHS {
        for method in [Method::GET, Method::POST] {
            for token in ["wrong", "secret-admin-token-3-of-some-length"] {
                let request = client.request(method.clone(), format!("{}{path}", serving.url));
                let response = request.bearer_auth(token).send().await.unwrap();
                let head = format!("{:?}", response.headers());
                let output = format!("{head}\n{}", response.text().await.unwrap());
                for secret in secrets {
                    assert!(!output.contains(secret), "{method} {path} shows {secret}: {output}");
                }
            }
        }
    }
    let log = serving.stop().await;
    assert!(log.contains("the run failed") && log.contains("the configuration is invalid"), "{log}");
    for secret in secrets {
        assert!(!log.contains(secret), "the log shows {secret}: {log}");
    }
}
