//! `regsweep check --connect`: problems are reported before anything is deleted.

use serde_json::Value;

use super::harness::{Host, Installation, NEVER, aged, contained, fill};
use crate::support::docker_engine::{ContainerOptions, Engine};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;

/// The checks of each registry: each check with whether it passed, and its text.
async fn checked(installation: &Installation, exit: i32) -> Vec<Vec<(String, bool, String)>> {
    let ran = installation.run(&["check", "--connect", "--output", "json"]).await.exits(exit);
    let documents = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let checks = |document: Value| {
        let checks = document["checks"].as_array().unwrap().clone();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        let checks: Vec<_> = checks
            .iter()
            .map(|one| (text(one, "check"), one["ok"].as_bool().unwrap(), text(one, "text")))
            .collect();
        assert_eq!(document["ok"], checks.iter().all(|(_, ok, _)| *ok), "{document}");
        checks
    };
    documents.map(checks).collect()
}

/// The names of the checks, each with whether it passed.
fn results(checks: &[(String, bool, String)]) -> Vec<(&str, bool)> {
    checks.iter().map(|(check, ok, _)| (check.as_str(), *ok)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tests_deletion_without_deleting() {
    let (open, closed) = (RealRegistry::start(), RealRegistry::options().delete_disabled().start());
    for registry in [&open, &closed] {
        let image = aged("old", 40).build();
        Pusher::new(&registry.url()).push("team/app", "build-1", &image).await.unwrap();
    }
    let before = [&open, &closed].map(|registry| registry.store().contents());
    let url = |registry: &RealRegistry| format!("url: {}", registry.url());
    let installation =
        Installation::new(NEVER, &[url(&open), url(&closed), "url: http://127.0.0.1:1".to_owned()]);
    let output = checked(&installation, 1).await;
    assert_eq!(results(&output[0]), [("reach", true), ("repositories", true), ("deletion", true)]);
    assert_eq!(output[0][1].2, "1, of which policies claim 1");
    assert_eq!(results(&output[1]), [("reach", true), ("repositories", true), ("deletion", false)]);
    assert!(output[1][2].2.contains("REGISTRY_STORAGE_DELETE_ENABLED=true"), "{output:?}");
    assert_eq!(results(&output[2]), [("reach", false)]);
    assert_eq!([&open, &closed].map(|registry| registry.store().contents()), before);
    assert!(!installation.state_dir().exists());

    installation.configure(NEVER, &[url(&open)], "");
    let table = installation.run(&["check", "--connect"]).await.exits(0);
    assert!(table.stdout.contains("1 registry, 1 policy"), "{}", table.stdout);
    assert!(table.stdout.contains("allowed, as team/app shows"), "{}", table.stdout);
    // Without `--connect` it sends no request.
    let requests = open.requests().len();
    installation.run(&["check"]).await.exits(0);
    assert_eq!(open.requests().len(), requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_finds_commands_without_running_them() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new(NEVER, &[host.lines()]);
    let output = checked(&installation, 0).await;
    assert_eq!(output[0][3].0, "collection");
    assert_eq!(output[0][3].2, "every command is there, its storage can be read");
    installation.configure(NEVER, &[host.lines().replace("before: [sh,", "before: [no-such-program,")], "");
    let output = checked(&installation, 1).await;
    assert!(
        !output[0][3].1 && output[0][3].2.contains("there is no program `no-such-program`"),
        "{output:?}"
    );
    assert_eq!((filled.old_images_left(), filled.freed()), (4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_finds_containers_without_stopping_them() {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    let filled = fill(&container.url(), container.store().await).await;
    let started = container.state().await;
    let lines = contained(&container.url(), &engine.host(), &container, "offline");
    let installation = Installation::new(NEVER, std::slice::from_ref(&lines));
    let output = checked(&installation, 0).await;
    let expected = format!("the container {} is there, its storage can be read", container.name);
    assert_eq!((output[0][3].1, &output[0][3].2), (true, &expected));
    installation.configure(NEVER, &[lines.replace(&container.name, "no-such-container")], "");
    let output = checked(&installation, 1).await;
    assert!(!output[0][3].1 && output[0][3].2.contains("no-such-container"), "{output:?}");
    installation.configure(NEVER, &[lines.replace(&engine.host(), "unix:///nowhere")], "");
    assert!(!checked(&installation, 1).await[0][3].1);
    assert_eq!((filled.old_images_left(), container.state().await), (4, started));
}
