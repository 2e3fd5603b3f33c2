//! A registry that a collection has stopped and that cannot be restarted at once.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::harness::{
    Commands, EACH_SECOND, FilledRegistry, Host, Installation, NEVER, Serving, before_container, contained,
    fill, until,
};
use crate::support::docker_engine::{ContainerOptions, Engine};

/// A registry that `after` cannot start as long as a file exists, and a service that has collected it.
struct Down {
    host: Host,
    filled: FilledRegistry,
    installation: Installation,
    broken: PathBuf,
    _folder: tempfile::TempDir,
}

impl Down {
    async fn new() -> Self {
        let host = Host::start().await;
        let filled = fill(&host.registry.url(), host.registry.store()).await;
        let folder = tempfile::tempdir().unwrap();
        let (broken, script) = (folder.path().join("broken"), folder.path().join("after"));
        std::fs::write(&broken, "").unwrap();
        let lines = host.lines();
        let (lines, after) = lines.rsplit_once("[sh, ").unwrap();
        let after = after.trim_end_matches(']');
        std::fs::write(&script, format!("[ ! -e {} ] || exit 1\nexec sh {after}\n", broken.display()))
            .unwrap();
        let installation = Installation::new(EACH_SECOND, &[format!("{lines}[sh, {}]", script.display())]);
        Self { host, filled, installation, broken, _folder: folder }
    }

    /// Serves until the registry is seen to be down.
    async fn serve(&self) -> Serving {
        let serving = self.installation.serve().await;
        serving.until_metric("registry_stopped", &["registry=\"main\""], 1.0).await;
        serving
    }

    fn mend(&self) {
        std::fs::remove_file(&self.broken).unwrap();
    }

    /// The registry runs again, and everything is counted once.
    async fn settle(&self, serving: Serving) {
        serving.until_metric("registry_stopped", &["registry=\"main\""], 0.0).await;
        until("it is ready", async || ready(&serving).await.0 == 200).await;
        self.filled.settled(&self.installation, serving, &self.host.registry.host()).await;
        assert_eq!(self.installation.number("SELECT count(*) FROM collection WHERE bytes > 0"), 1);
    }
}

async fn ready(serving: &Serving) -> (u16, Value) {
    let answer = reqwest::get(format!("{}/readyz", serving.url)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_left_down_by_a_collection_is_restarted_by_the_same_process() {
    let down = Down::new().await;
    let serving = down.serve().await;
    let (status, document) = ready(&serving).await;
    assert_eq!(status, 503);
    let cause = document["causes"].as_array().unwrap().iter().find(|one| one["cause"] == "stopped").unwrap();
    assert_eq!(cause["registry"], "main");
    assert!(
        cause["text"].as_str().unwrap().contains("registry main was stopped for a collection"),
        "{cause}"
    );
    // The run with the collection has not succeeded, in the metrics and in the history.
    serving.until_at_least("runs_total", &["outcome=\"failed\""], 1.0).await;
    assert_eq!(serving.metric("runs_total", &["outcome=\"success\""]).await, 0.0);
    assert_eq!(
        down.installation.number("SELECT count(*) FROM run WHERE outcome = 'failed' AND deleted = 4"),
        1
    );
    // More than one attempt has failed by then, and no other job has started.
    until("another try", async || serving.log().matches("trying again").count() > 1).await;
    assert_eq!(down.installation.number("SELECT count(*) FROM run"), 1);
    assert_eq!(down.installation.unfinished_recoveries().0, 1);
    down.mend();
    down.settle(serving).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_left_down_is_shown_until_the_next_process_restarts_it() {
    let down = Down::new().await;
    let serving = down.serve().await;
    // It does not wait forever, and the next process continues.
    serving.stop().await;
    assert_eq!(down.installation.unfinished_recoveries().0, 1);
    let serving = down.serve().await;
    assert_eq!(ready(&serving).await.0, 503);
    down.mend();
    down.settle(serving).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_is_restarted_by_a_corrected_configuration() {
    let down = Down::new().await;
    let serving = down.serve().await;
    down.installation.configure(EACH_SECOND, &[down.host.lines()], "");
    down.settle(serving).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_that_runs_again_is_not_restarted() {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    let filled = fill(&container.url(), container.store().await).await;
    let proxy = before_container(engine, 2);
    let installation =
        Installation::new(EACH_SECOND, &[contained(&container.url(), &proxy.url(), &container, "offline")]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    serving.kill();
    assert!(!container.state().await.0);
    assert_eq!(installation.unfinished_recoveries().0, 1);
    engine.docker().start_container(&container.name, None).await.unwrap();
    assert!(container.answers().await);
    let started = container.state().await;
    installation.configure(NEVER, &[contained(&container.url(), &engine.host(), &container, "offline")], "");
    let serving = installation.serve().await;
    until("nothing is open", async || installation.unfinished_recoveries() == (0, 0)).await;
    serving.until_logged("the registry that a collection had stopped is already running").await;
    assert_eq!(serving.metric("registry_stopped", &[]).await, 0.0);
    let log = serving.stop().await;
    assert_eq!(container.state().await, started, "{log}");
    assert_eq!(filled.freed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_to_be_started_by_hand_is_down_until_it_answers() {
    let down = Down::new().await;
    let serving = down.serve().await;
    let url = format!("url: {}", down.host.registry.url());
    down.installation.configure(NEVER, &[url], "");
    serving.until_logged("start it by hand").await;
    assert_eq!((ready(&serving).await.0, serving.metric("registry_stopped", &[]).await), (503, 1.0));
    // A restarted service knows the same.
    serving.stop().await;
    let serving = down.serve().await;
    assert_eq!(ready(&serving).await.0, 503);
    down.mend();
    assert!(Command::new("sh").args(["-c", &down.host.after()]).status().unwrap().success());
    serving.until_metric("registry_stopped", &["registry=\"main\""], 0.0).await;
    until("it is ready", async || ready(&serving).await.0 == 200).await;
    // The recovery ends as soon as the configuration has `gc` again.
    down.installation.configure(EACH_SECOND, &[down.host.lines()], "");
    down.settle(serving).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_removed_during_its_recovery_is_not_shown() {
    let commands = Commands::new().await;
    let (hold, held) = (commands.file("hold"), commands.file("held"));
    let after = format!(
        "while [ -e {hold} ]; do touch {held}; sleep 0.05; done; exit 1",
        hold = hold.display(),
        held = held.display()
    );
    let installation = Installation::new(EACH_SECOND, &[commands.lines("", &after, "")]);
    let serving = installation.serve().await;
    serving.until_metric("registry_stopped", &["registry=\"main\""], 1.0).await;
    std::fs::write(&hold, "").unwrap();
    until("another try", async || held.exists()).await;
    let text = std::fs::read_to_string(installation.config()).unwrap();
    // Another registry is configured instead: with the same address it would count as renamed.
    let text = text.replace(&commands.host.registry.url(), "http://127.0.0.1:1");
    installation.write(&text.replace("name: main", "name: other").replace(EACH_SECOND, NEVER));
    until("it is gone", async || serving.metric("registry_stopped", &["registry=\"main\""]).await == 0.0)
        .await;
    let tries = || serving.log().matches("trying again").count();
    let before = tries();
    std::fs::remove_file(&hold).unwrap();
    until("the end of the try", async || tries() > before).await;
    assert_eq!(serving.metric("registry_stopped", &[]).await, 0.0, "{}", serving.log());
}
