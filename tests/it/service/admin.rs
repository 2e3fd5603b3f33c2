//! Requests with the admin token: runs, runs that exceed a limit, and undos.

use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::harness::{EACH_SECOND, FilledRegistry, Host, Installation, NEVER, Serving, fill, until};
use crate::support::holding_proxy::{HoldingProxy, Upstream};

/// A service with a token, and its registry with four images that are too old.
struct AdminService {
    installation: Installation,
    filled: FilledRegistry,
    host: Host,
}

impl AdminService {
    async fn new(schedule: &str) -> Self {
        let host = Host::start().await;
        let filled = fill(&host.registry.url(), host.registry.store()).await;
        let installation = Installation::new(schedule, &[]);
        let secret = installation.state_dir().with_file_name("token");
        std::fs::write(&secret, "correct horse").unwrap();
        let more = format!("admin_token: {{ file: {} }}\n", secret.display());
        installation.configure(schedule, &[format!("url: {}", host.registry.url())], &more);
        Self { installation, filled, host }
    }
}

async fn post(serving: &Serving, path: &str) -> (StatusCode, Value) {
    let request = Client::new().post(format!("{}{path}", serving.url)).bearer_auth("correct horse");
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_request_restores_the_deletions_of_a_run() {
    let AdminService { installation, filled, host } = AdminService::new(EACH_SECOND).await;
    let serving = installation.serve().await;
    until("everything old is gone", async || filled.old_images_left() == 0).await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], 1.0).await;
    let (first, others) = filled.old.split_first().unwrap();
    let short = &first.digest["sha256:".len()..][..12];
    for image in ["team/app:build-0", &format!("main/team/app@{short}")] {
        // The second time it is back already.
        let (status, document) = post(&serving, &format!("/api/v1/undo?run=1&image={image}")).await;
        if image.ends_with("build-0") {
            assert_eq!(status, StatusCode::OK, "{document}");
            assert_eq!((&document["registry"], &document["run"]), (&"main".into(), &1.into()));
            let [one] = document["results"].as_array().unwrap().as_slice() else { panic!("{document}") };
            assert_eq!((&one["result"], &one["digest"]), (&"restored".into(), &first.digest.as_str().into()));
            assert_eq!(one["tags_back"], serde_json::json!(["build-0"]));
        } else {
            assert_eq!(status, StatusCode::NOT_FOUND, "{document}");
        }
        assert_eq!(filled.old_images_left(), 1);
    }
    let (status, document) = post(&serving, "/api/v1/undo?run=1").await;
    assert_eq!(status, StatusCode::OK, "{document}");
    let back = document["results"].as_array().unwrap();
    assert!(back.len() == others.len() && back.iter().all(|one| one["result"] == "restored"), "{document}");
    assert_eq!(filled.old_images_left(), 4);
    let tags = host.registry.store().repository("team/app").tags;
    for (number, old) in filled.old.iter().enumerate() {
        assert_eq!(tags[&format!("build-{number}")], old.digest);
    }
    // The runs that follow leave it alone, and it no longer waits for a collection.
    let runs = serving.metric("runs_total", &["outcome=\"success\""]).await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], runs + 2.0).await;
    assert_eq!((filled.old_images_left(), installation.total("reclaimable")), (4, 0));
    assert_eq!(serving.metric("reclaimable_bytes", &[]).await, 0.0);
    let page = reqwest::get(format!("{}/runs/1", serving.url)).await.unwrap().text().await.unwrap();
    assert_eq!(page.matches(">restored<").count(), 4, "{page}");
    let wrong = [
        ("?run=1", StatusCode::NOT_FOUND, "there is nothing of run 1 to restore"),
        ("?run=999999", StatusCode::NOT_FOUND, "there is no run 999999"),
        ("?run=1&image=team/app:v1", StatusCode::NOT_FOUND, "there is no team/app:v1 of run 1"),
        ("?run=1&image=app", StatusCode::BAD_REQUEST, "write REPOSITORY:TAG or REPOSITORY@DIGEST"),
        ("?run=1&image=team/app@0123456789ab", StatusCode::NOT_FOUND, "run 1 deleted no"),
    ];
    for (query, expected, why) in wrong {
        let (status, document) = post(&serving, &format!("/api/v1/undo{query}")).await;
        assert_eq!(status, expected, "{query}: {document}");
        assert!(document["error"].as_str().unwrap().contains(why), "{query}: {document}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_request_waits_for_a_running_run() {
    let AdminService { installation, filled, host } = AdminService::new(NEVER).await;
    let serving = installation.serve().await;
    assert_eq!(post(&serving, "/api/v1/run").await.0, StatusCode::ACCEPTED);
    serving.until_at_least("runs_total", &["outcome=\"success\""], 1.0).await;
    assert_eq!(filled.old_images_left(), 0);
    let held = HoldingProxy::holding(Upstream::Host(host.registry.host()), |bytes| {
        String::from_utf8_lossy(bytes).starts_with("GET /v2/team/app/tags/list")
    });
    serving.stop().await;
    let text = std::fs::read_to_string(installation.config()).unwrap();
    installation.write(&text.replace(&host.registry.url(), &held.url()));
    let serving = installation.serve().await;
    assert_eq!(post(&serving, "/api/v1/run").await.0, StatusCode::ACCEPTED);
    tokio::task::block_in_place(|| held.wait_until_held());
    let asked = async {
        tokio::join!(
            post(&serving, "/api/v1/undo?run=1&image=team/app:build-1"),
            async {
                serving.until_logged("so the undo is queued").await;
                post(&serving, "/api/v1/undo?run=1").await
            },
            async {
                let both = || serving.log().matches("an undo was requested").count() == 2;
                until("both are queued", async || both()).await;
                // No run comes in between.
                assert_eq!(post(&serving, "/api/v1/run").await.0, StatusCode::CONFLICT);
                assert_eq!(filled.old_images_left(), 0, "{}", serving.log());
                held.release();
            }
        )
    };
    let (one, all, ()) = asked.await;
    let results = [one, all].map(|(status, document)| {
        assert_eq!(status, StatusCode::OK, "{document}");
        document["results"].as_array().unwrap().len()
    });
    assert_eq!((results, filled.old_images_left()), ([1, 3], 4));
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_request_can_exceed_a_limit() {
    let AdminService { installation, filled, host: _host } = AdminService::new(NEVER).await;
    let text = std::fs::read_to_string(installation.config()).unwrap();
    installation.write(&text.replace("max_percent: 100", "max_percent: 100, max_deletions: 3"));
    let serving = installation.serve().await;
    for query in ["", "?override_limits=false"] {
        let before = serving.metric("runs_total", &["outcome=\"refused\""]).await;
        assert_eq!(post(&serving, &format!("/api/v1/run{query}")).await.0, StatusCode::ACCEPTED);
        serving.until_at_least("runs_total", &["outcome=\"refused\""], before + 1.0).await;
        until("it has ended", async || serving.metric("runs_total", &[]).await > before).await;
        assert_eq!(filled.old_images_left(), 4);
    }
    let (status, document) = post(&serving, "/api/v1/run?override_limits=yes").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{document}");
    let query = "?registry=main&override_limits=true";
    until("no job is running", async || {
        post(&serving, &format!("/api/v1/run{query}")).await.0 == StatusCode::ACCEPTED
    })
    .await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], 1.0).await;
    assert_eq!(filled.old_images_left(), 0);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_request_needs_the_token() {
    let host = Host::start().await;
    let installation = Installation::new(NEVER, &[]);
    let token = installation.config().with_file_name("token");
    std::fs::write(&token, "open sesame\n").unwrap();
    installation.configure(
        NEVER,
        &[host.lines()],
        &format!("admin_token: {{ file: {} }}\n", token.display()),
    );
    let serving = installation.serve().await;
    let ask = async |token: &str| {
        let url = format!("http://127.0.0.1:{}/api/v1/run", installation.port());
        reqwest::Client::new().post(url).bearer_auth(token).send().await.unwrap()
    };
    assert_eq!(ask("sesame").await.status(), 401);
    let answer = ask("open sesame").await;
    assert_eq!(answer.status(), 202);
    let expected = serde_json::json!({ "version": 1, "begun": ["main"], "busy": [] });
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);
    serving.until_metric("runs_total", &["outcome=\"success\""], 1.0).await;
    let log = serving.stop().await;
    assert!(!log.contains("sesame"), "{log}");
}
