//! Registries whose name or address differs from the state.

use super::harness::{Commands, EACH_SECOND, Host, Installation, NEVER, Serving, aged, fill, until};
use crate::support::holding_proxy::{HoldingProxy, Upstream};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;

/// Renames the registry of this installation.
fn rename(installation: &Installation, old: &str, new: &str) {
    let text = std::fs::read_to_string(installation.config()).unwrap();
    installation.write(&text.replace(&format!("name: {old}\n"), &format!("name: {new}\n")));
}

/// A registry in which an old image was promoted after the first scan, so that only the state knows the tag's age.
async fn promoted(registry: &RealRegistry) -> Installation {
    let pusher = Pusher::new(&registry.url());
    pusher.push("team/app", "v1", &aged("v1", 40).build()).await.unwrap();
    let installation = Installation::new(NEVER, &[format!("url: {}", registry.url())]);
    installation.run(&["run"]).await.exits(0);
    pusher.push("team/app", "build-1", &aged("promoted", 40).build()).await.unwrap();
    assert!(installation.run(&["run", "--output", "json"]).await.exits(0).deleted().is_empty());
    installation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rename_keeps_the_age_of_promoted_images() {
    let registry = RealRegistry::start();
    let installation = promoted(&registry).await;
    rename(&installation, "main", "other");
    let planned = installation.run(&["plan"]).await.exits(0);
    assert!(
        planned.stdout.contains("other: nothing to delete in 1 repository with 2 manifests"),
        "{}",
        planned.stdout
    );
    assert!(installation.run(&["run", "--output", "json"]).await.exits(0).deleted().is_empty());
    let checked = installation.run(&["check"]).await.exits(0);
    assert!(!checked.stdout.contains("remembers"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rename_with_a_new_address_needs_the_former_name() {
    let registry = RealRegistry::start();
    let installation = promoted(&registry).await;
    let text = std::fs::read_to_string(installation.config()).unwrap();
    let moved = text.replace("name: main\n", "name: other\n").replace("//127.0.0.1:", "//localhost:");
    assert!(moved.contains("//localhost:"), "{moved}");
    installation.write(&moved.replace("mode: enforce", "mode: plan").replace(NEVER, EACH_SECOND));
    let warning = "the state has data of a registry main (at 127.0.0.1:";
    let checked = installation.run(&["check"]).await.exits(0);
    assert!(checked.stdout.contains(warning) && checked.stdout.contains("`was: main`"), "{}", checked.stdout);
    let serving = installation.serve().await;
    serving.until_at_least("runs_total", &["registry=\"other\"", "outcome=\"success\""], 1.0).await;
    assert_eq!(serving.metric("unknown_registries", &[]).await, 1.0);
    assert!(serving.log().contains(warning), "{}", serving.log());
    let page = reqwest::get(&serving.url).await.unwrap().text().await.unwrap();
    assert!(page.contains(warning), "{page}");

    // The same after a scan under the new name.
    installation.write(&moved.replace("name: other\n", "name: other\n    was: main\n"));
    serving.until_metric("unknown_registries", &[], 0.0).await;
    serving.stop().await;
    assert!(installation.run(&["run", "--output", "json"]).await.exits(0).deleted().is_empty());
    let checked = installation.run(&["check"]).await.exits(0);
    assert!(!checked.stdout.contains("remembers"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rename_keeps_undo_possible() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new(NEVER, &[format!("url: {}", host.registry.url())]);
    assert_eq!(installation.run(&["run", "--output", "json"]).await.exits(0).deleted().len(), 4);
    rename(&installation, "main", "other");
    let history = installation.run(&["history", "--registry", "other"]).await.exits(0);
    assert!(history.stdout.contains("run 1 of other"), "{}", history.stdout);
    installation.run(&["undo", "1"]).await.exits(0);
    assert_eq!(filled.old_images_left(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rename_of_a_stopped_registry_restarts_it() {
    let commands = Commands::new().await;
    let sweeps = commands.file("sweeps");
    let sweep = format!("[ -e {0} ] || {{ touch {0}; exec sleep 600; }}", sweeps.display());
    let installation = Installation::new(EACH_SECOND, &[commands.lines(&sweep, "", "")]);
    let serving = installation.serve().await;
    until("a sweep", async || sweeps.exists()).await;
    serving.kill();
    rename(&installation, "main", "other");
    let serving = installation.serve().await;
    let url = format!("{}/v2/", commands.host.registry.url());
    until("it is back", async || {
        reqwest::get(&url).await.is_ok() && installation.unfinished_recoveries() == (0, 0)
    })
    .await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rename_waits_for_a_running_job() {
    let registry = RealRegistry::start();
    Pusher::new(&registry.url()).push("team/app", "v1", &aged("v1", 40).build()).await.unwrap();
    let host = registry.url().trim_start_matches("http://").to_owned();
    let asks = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("/tags/list");
    let proxy = HoldingProxy::holding(Upstream::Host(host), asks);
    let installation = Installation::new(EACH_SECOND, &[format!("url: {}", proxy.url())]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    rename(&installation, "main", "other");
    serving.until_logged("it renames registry main").await;
    serving.until_metric("config_last_reload_successful", &[], 0.0).await;
    proxy.release();
    serving.until_at_least("runs_total", &["registry=\"other\"", "outcome=\"success\""], 1.0).await;
    serving.until_metric("config_last_reload_successful", &[], 1.0).await;
    assert_eq!(serving.log().matches("it renames registry main").count(), 1, "{}", serving.log());
    let page = reqwest::get(&serving.url).await.unwrap().text().await.unwrap();
    assert!(!page.contains("remembers"), "{page}");
    serving.stop().await;
    assert_eq!(installation.number("SELECT count(DISTINCT registry) FROM run"), 1);
}

/// What the status says of the only registry: its name, its address, how much was deleted there, and whether its last run
/// and its plan are shown.
async fn shown(serving: &Serving) -> (String, String, u64, bool) {
    let status: serde_json::Value =
        reqwest::get(format!("{}/api/v1/status", serving.url)).await.unwrap().json().await.unwrap();
    let one = &status["registries"][0];
    let text = |key: &str| one[key].as_str().unwrap().to_owned();
    let is_whole = one["last_run"]["run"] == 1 && one["plan"]["now"].is_string();
    (text("registry"), text("url"), one["deleted_manifests"].as_u64().unwrap(), is_whole)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rename_keeps_status_and_metrics() {
    let host = Host::start().await;
    fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new(NEVER, &[format!("url: {}", host.registry.url())]);
    installation.run(&["run"]).await.exits(0);
    let serving = installation.serve().await;
    let text = std::fs::read_to_string(installation.config()).unwrap();
    let called = |name: &str| text.replace("name: main\n", &format!("name: {name}\n"));
    let elsewhere = RealRegistry::start();
    let empty = called("empty").replace(&host.registry.url(), &elsewhere.url());
    let moved = text.replace("//127.0.0.1:", "//localhost:");
    assert!(moved.contains("//localhost:") && empty.contains(&elsewhere.url()), "{empty}");
    let steps = [
        ("as it was", "main", text.clone()),
        ("renamed", "other", called("other")),
        ("renamed back", "main", text.clone()),
        ("taken out", "empty", empty),
        ("put back", "main", text.clone()),
        ("moved", "main", moved),
    ];
    for (step, name, config) in steps {
        let host = if step == "moved" { "//localhost:" } else { "//127.0.0.1:" };
        installation.write(&config);
        until(step, async || {
            let (named, url, ..) = shown(&serving).await;
            named == name && url.contains(host)
        })
        .await;
        if name != "empty" {
            let (.., deleted, is_whole) = shown(&serving).await;
            assert_eq!((deleted, is_whole), (4, true), "{step}");
            let label = format!("registry=\"{name}\"");
            assert_eq!(serving.metric("deleted_manifests_total", &[&label]).await, 4.0, "{step}");
            assert!(serving.metric("last_success_timestamp_seconds", &[&label]).await > 0.0, "{step}");
            assert_eq!(serving.metric("expired_manifests", &[&label]).await, 0.0, "{step}");
        }
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_given_to_another_registry_starts_without_metrics() {
    let host = Host::start().await;
    fill(&host.registry.url(), host.registry.store()).await;
    let other = RealRegistry::start();
    let installation = Installation::new(NEVER, &[format!("url: {}", host.registry.url())]);
    installation.run(&["run"]).await.exits(0);
    let serving = installation.serve().await;
    assert_eq!(serving.metric("deleted_manifests_total", &["registry=\"main\""]).await, 4.0);
    let text = std::fs::read_to_string(installation.config()).unwrap().replace("name: main\n", "name: old\n");
    let new = format!("registries:\n  - name: main\n    url: {}\n", other.url());
    installation.write(&text.replace("registries:\n", &new));
    serving.until_metric("deleted_manifests_total", &["registry=\"old\""], 4.0).await;
    assert_eq!(serving.metric("deleted_manifests_total", &["registry=\"main\""]).await, 0.0);
    assert_eq!(serving.metric("last_success_timestamp_seconds", &["registry=\"main\""]).await, 0.0);
    serving.stop().await;
}
