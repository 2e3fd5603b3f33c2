//! Images from push to reclaimed bytes, by the service and by the commands.

use super::harness::{Host, Installation, NEVER, contained, fill};
use crate::support::docker_engine::{ContainerOptions, Engine};

async fn check_container(method: &str) {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    let filled = fill(&container.url(), container.store().await).await;
    let lines = contained(&container.url(), &engine.host(), &container, method);
    let installation = Installation::new("*/2 * * * * *", &[lines]);
    let serving = installation.serve().await;
    serving.until_at_least("gc_runs_total", &["outcome=\"success\""], 1.0).await;
    assert_eq!(serving.metric("deleted_manifests_total", &["policy=\"apps\""]).await, 4.0);
    filled.settled(&installation, serving, &container.host()).await;
    assert!(container.state().await.0);
    assert!(engine.collectors(&container.name).await.is_empty());
    assert_eq!(installation.number("SELECT count(*) FROM collection"), 1);
}

#[tokio::test]
async fn old_images_and_their_bytes_are_removed() {
    check_container("offline").await;
}

#[tokio::test]
async fn old_images_are_removed_with_a_collection_inside_the_container() {
    check_container("exec").await;
}

#[tokio::test]
async fn old_images_are_removed_with_commands_on_the_host() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new("*/2 * * * * *", &[host.lines()]);
    let serving = installation.serve().await;
    serving.until_at_least("gc_runs_total", &["outcome=\"success\""], 1.0).await;
    filled.settled(&installation, serving, &host.registry.host()).await;
}

#[tokio::test]
async fn run_and_gc_commands_delete_and_collect() {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    let filled = fill(&container.url(), container.store().await).await;
    let lines = contained(&container.url(), &engine.host(), &container, "offline");
    let installation = Installation::new(NEVER, &[lines]);
    let ran = installation.run(&["run", "--output", "json"]).await.exits(0);
    assert_eq!(ran.deleted().len(), 4);
    assert!(filled.is_swept());
    let first = filled.freed();
    assert_eq!(installation.total("reclaimed_bytes"), first);
    filled.assert_sound(&container.host()).await;
    // Images that another client has deleted are collected by hand.
    let url = format!("{}/v2/team/app/manifests/{}", container.url(), filled.old[0].digest);
    assert!(reqwest::Client::new().delete(url).send().await.unwrap().status().is_success());
    let before = filled.freed();
    let ran = installation.run(&["gc", "--output", "json"]).await.exits(0);
    let freed = filled.freed() - before;
    assert_eq!(ran.json()["bytes"].as_u64(), Some(freed), "{ran:?}");
    assert!(freed > 0 && container.answers_now().await);
    assert_eq!(installation.total("reclaimed_bytes"), first + freed);
}

#[tokio::test]
async fn health_command_checks_liveness_and_readiness() {
    let host = Host::start().await;
    let installation =
        Installation::new(super::harness::EACH_SECOND, &[format!("url: {}", host.registry.url())]);
    installation.run(&["health"]).await.exits(1);
    let serving = installation.serve().await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], 1.0).await;
    installation.run(&["health"]).await.exits(0);
    installation.run(&["health", "--ready"]).await.exits(0);
    drop(host);
    serving.until_at_least("runs_total", &["outcome=\"failed\""], 1.0).await;
    installation.run(&["health"]).await.exits(0);
    installation.run(&["health", "--ready"]).await.exits(1);
    serving.stop().await;
}
