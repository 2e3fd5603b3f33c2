//! The web server while clients, file descriptors or runs exhaust what there is.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use serial_test::serial;

use super::harness::{EACH_SECOND, Installation, NEVER, Serving, until};
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::Image;
use crate::support::real_registry::RealRegistry;

/// How long an answer may take while two cores are busy. A server that waits for other clients takes many times longer.
const SOON: Duration = Duration::from_secs(5);

/// Requests each page on a connection of its own, as monitoring does.
async fn assert_answers(serving: &Serving) {
    for path in ["/healthz", "/metrics", "/", "/api/v1/status"] {
        let begin = Instant::now();
        let client = reqwest::Client::builder().timeout(SOON).build().unwrap();
        let response = client.get(format!("{}{path}", serving.url)).send().await;
        let response = response.unwrap_or_else(|error| panic!("{path}: {error}: {:?}", begin.elapsed()));
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.unwrap();
    }
}

async fn sockets(installation: &Installation, number: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..number {
        let mut socket = TcpStream::connect(("127.0.0.1", installation.port())).await.unwrap();
        // Above the limit the connection may be closed at once.
        let _ = socket.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await;
        sockets.push(socket);
    }
    sockets
}

#[tokio::test]
async fn clients_above_the_limit_do_not_block_others() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let installation = Installation::new(NEVER, &[format!("url: {}", fake.url())]);
    let serving = installation.serve().await;
    let held = sockets(&installation, 400).await;
    for _ in 0..5 {
        assert_answers(&serving).await;
    }
    for mut socket in held {
        let end = tokio::time::timeout(Duration::from_secs(60), socket.read(&mut [0; 10])).await;
        assert!(matches!(end.unwrap(), Ok(0) | Err(_)), "a slow client is cut");
    }
    serving.stop().await;
}

#[tokio::test]
async fn file_descriptors_can_run_out_for_a_while() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let installation = Installation::new(NEVER, &[format!("url: {}", fake.url())]);
    let serve = installation.command(&["serve", "--log-format", "json"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 60; exec \"$@\"", "sh"]).arg(serve.get_program()).args(serve.get_args());
    let serving = installation.serve_by(limited).await;
    let held = sockets(&installation, 100).await;
    serving.until_logged("no connection can be accepted").await;
    drop(held);
    until("it answers again", async || reqwest::get(format!("{}/healthz", serving.url)).await.is_ok()).await;
    assert_answers(&serving).await;
    let log = serving.stop().await;
    // It does not try again all the time.
    assert!(log.matches("no connection can be accepted").count() < 100, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[serial(cpu)]
async fn web_server_answers_during_a_large_run() {
    let registry = RealRegistry::options().in_memory().start();
    let mut store = registry.store();
    for number in 0..3000 {
        let tag = format!("build-{number}");
        let image = Image::new(&tag).created("2020-01-01T00:00:00Z").layer("base").build();
        store.write(&format!("team/app{}", number % 8), &[&tag], &image);
    }
    let installation = Installation::new(EACH_SECOND, &[format!("url: {}\nconcurrency: 64", registry.url())]);
    // Nothing is deleted, so that each run has the same amount of work.
    let text = std::fs::read_to_string(installation.config()).unwrap();
    let text = text.replace("mode: enforce", "mode: plan");
    installation.write(&text.replace("max_percent: 100", "max_percent: 100, max_deletions: 10000"));
    let serving = installation.serve().await;
    let ended = async || serving.metric("runs_total", &["outcome=\"success\""]).await;
    let begin = Instant::now();
    let mut rounds = 0;
    while rounds < 25 || ended().await < 2.0 {
        assert_answers(&serving).await;
        rounds += 1;
        assert!(begin.elapsed() < Duration::from_secs(240), "no run ends: {}", serving.log());
    }
    let plan = reqwest::get(format!("{}/api/v1/plan", serving.url)).await.unwrap();
    assert!(plan.text().await.unwrap().contains("build-2999"));
    serving.stop().await;
}
