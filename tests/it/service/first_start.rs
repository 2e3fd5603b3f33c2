//! The first start of the service after an installation.

use super::harness::{Installation, NEVER, aged, until};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;

/// The configuration of the README for this registry. `listen` and `state_dir` are replaced.
fn installed(installation: &Installation, registry: &RealRegistry) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/small.yaml");
    let text = std::fs::read_to_string(path).unwrap().replace("http://localhost:5000", &registry.url());
    assert!(text.contains(&registry.url()));
    format!(
        "listen: 127.0.0.1:{}\nstate_dir: {}\n{text}",
        installation.port(),
        installation.state_dir().display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_start_shows_a_plan_and_deletes_nothing() {
    let registry = RealRegistry::start();
    let pusher = Pusher::new(&registry.url());
    for tag in ["v1", "pr-1", "pr-2"] {
        pusher.push("team/app", tag, &aged(tag, 40).build()).await.unwrap();
    }
    let installation = Installation::new(NEVER, &[]);
    installation.write(&installed(&installation, &registry));
    let checked = installation.run(&["check"]).await.exits(0);
    assert!(checked.stdout.contains("mode plan") && !checked.stdout.contains("note:"), "{}", checked.stdout);
    let serving = installation.serve().await;
    let plan = async || {
        let answer = reqwest::get(format!("{}/api/v1/plan", serving.url)).await.unwrap();
        answer.text().await.unwrap()
    };
    until("a plan", async || plan().await.contains("pr-2")).await;
    assert_eq!(registry.store().repository("team/app").tags.len(), 3);
    let runs = serving.metric("runs_total", &[]).await;
    // It happens once: a restart does not start another run.
    serving.stop().await;
    let serving = installation.serve().await;
    serving.until_at_least("next_run_timestamp_seconds", &[], 1.0).await;
    assert!(!serving.log().contains("it is planned now"), "{}", serving.log());
    assert!(runs >= 1.0);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_start_without_a_schedule_warns() {
    let registry = RealRegistry::start();
    let installation = Installation::new(NEVER, &[]);
    let text = installed(&installation, &registry).replace("schedule: \"0 3 * * *\"\n", "");
    installation.write(&format!("mode: enforce\n{text}"));
    let warning = "there is no `schedule`, so `regsweep serve` starts no runs";
    let checked = installation.run(&["check"]).await.exits(0);
    assert!(checked.stdout.contains(warning), "{}", checked.stdout);
    let serving = installation.serve().await;
    serving.until_logged(warning).await;
    // The same after a reload; in mode enforce nothing starts by itself.
    installation.write(
        &format!("mode: enforce\n{text}").replace("registries:", "schedule: '0 0 29 2 *'\nregistries:"),
    );
    serving.until_logged("the configuration was reloaded").await;
    installation.write(&format!("mode: enforce\n{text}"));
    until("the warning is logged again", async || serving.log().matches(warning).count() == 2).await;
    assert_eq!(serving.metric("runs_total", &[]).await, 0.0);
    serving.stop().await;
}
