//! A configuration that changes while the service runs.

use std::process::Command;

use super::harness::{EACH_SECOND, Host, Installation, NEVER, fill, until};
use crate::support::real_registry::RealRegistry;

const RELOADED: &str = "the configuration was reloaded";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_change_becomes_active_if_it_is_valid() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new(NEVER, &[host.lines()]);
    let serving = installation.serve().await;
    let successful = "config_last_reload_successful";
    serving.until_metric(successful, &[], 1.0).await;
    assert_eq!(serving.metric("runs_total", &[]).await, 0.0);

    // A new schedule: old images are deleted.
    installation.configure(EACH_SECOND, &[host.lines()], "");
    serving.until_logged(RELOADED).await;
    serving.until_metric("deleted_manifests_total", &[], 4.0).await;
    serving.until_at_least("gc_runs_total", &["outcome=\"success\""], 1.0).await;
    let freed = filled.freed() as f64;
    serving.until_metric("reclaimed_bytes_total", &[], freed).await;

    // An invalid file: the previous configuration stays active, and the error is shown.
    installation.write("mode: enforce\nschedule: nonsense\n");
    serving.until_metric(successful, &[], 0.0).await;
    assert!(serving.log().contains("the configuration is invalid"), "{}", serving.log());
    assert!(serving.log().contains("schedule: line 2"), "{}", serving.log());
    let runs = serving.metric("runs_total", &["outcome=\"success\""]).await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], runs + 1.0).await;
    assert_eq!(serving.metric(successful, &[]).await, 0.0);

    // Valid again, and reloaded many times: nothing is counted twice.
    installation.configure(NEVER, &[host.lines()], "");
    serving.until_metric(successful, &[], 1.0).await;
    for number in 0..3 {
        let before = serving.log().matches(RELOADED).count();
        serving.signal("HUP");
        super::harness::until("a reload", async || serving.log().matches(RELOADED).count() > before).await;
        assert_eq!(serving.metric("reclaimed_bytes_total", &[]).await, freed, "reload {number}");
        assert_eq!(serving.metric("deleted_manifests_total", &[]).await, 4.0, "reload {number}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reloads_a_changed_policy() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let url = format!("url: {}", host.registry.url());
    let installation = Installation::new(EACH_SECOND, std::slice::from_ref(&url));
    let text = std::fs::read_to_string(installation.config()).unwrap();
    installation.write(&text.replace("newer_than: 14d", "newer_than: 36500d"));
    let serving = installation.serve().await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], 1.0).await;
    assert_eq!(filled.old_images_left(), 4);
    installation.write(&text.replace("newer_than: 14d", "newer_than: 22d"));
    serving.signal("HUP");
    serving.until_metric("deleted_manifests_total", &[], 2.0).await;
    assert_eq!(filled.old_images_left(), 2);
    // The counters of a registry continue under its new name, and under its former one later.
    installation.write(&text.replace("name: main\n", "name: other\n").replace("14d", "36500d"));
    serving.signal("HUP");
    serving.until_at_least("runs_total", &["registry=\"other\"", "outcome=\"success\""], 1.0).await;
    assert_eq!(serving.metric("deleted_manifests_total", &["registry=\"other\""]).await, 2.0);
    assert_eq!(serving.metric("deleted_manifests_total", &["registry=\"main\""]).await, 0.0);
    assert_eq!(serving.metric("next_run_timestamp_seconds", &["registry=\"main\""]).await, 0.0);
    installation.write(&text);
    serving.signal("HUP");
    serving.until_metric("deleted_manifests_total", &["registry=\"main\""], 4.0).await;
    assert_eq!(installation.total("deleted_manifests"), 4);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_file_is_logged_once_and_reloaded_when_it_is_back() {
    let registry = RealRegistry::start();
    let installation = Installation::new(EACH_SECOND, &[format!("url: {}", registry.url())]);
    let text = std::fs::read_to_string(installation.config()).unwrap();
    let serving = installation.serve().await;
    let (successful, error) =
        ("config_last_reload_successful", "cannot read the configuration: No such file");
    std::fs::remove_file(installation.config()).unwrap();
    serving.until_metric(successful, &[], 0.0).await;
    assert!(serving.log().contains(error), "{}", serving.log());
    let status = reqwest::get(format!("{}/api/v1/status", serving.url)).await.unwrap().text().await.unwrap();
    assert!(status.contains("\"last_reload_ok\":false"), "{status}");
    // The service goes on, and nothing is logged again.
    let runs = serving.metric("runs_total", &[]).await;
    serving.until_at_least("runs_total", &[], runs + 3.0).await;
    assert_eq!(serving.log().matches("the configuration is invalid").count(), 1, "{}", serving.log());
    installation.write(&text);
    serving.until_metric(successful, &[], 1.0).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_mounted_by_itself_and_replaced_outside_is_logged() {
    let registry = RealRegistry::start();
    let installation = Installation::new(NEVER, &[format!("url: {}", registry.url())]);
    let outside = tempfile::tempdir().unwrap();
    let (file, draft) = (outside.path().join("config.yaml"), outside.path().join("draft"));
    std::fs::copy(installation.config(), &file).unwrap();
    // As in a container, where the file itself is mounted.
    let program = installation.command(&["serve", "--log-format", "json"]);
    let mut command = Command::new("unshare");
    let mount = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    command.args(["--mount", "sh", "-c", mount, "sh"]).args([&file, &installation.config()]);
    command.arg(program.get_program()).args(program.get_args());
    let serving = installation.serve_by(command).await;
    let successful = "config_last_reload_successful";
    serving.until_metric(successful, &[], 1.0).await;
    std::fs::copy(installation.config(), &draft).unwrap();
    std::fs::rename(&draft, &file).unwrap();
    serving.until_metric(successful, &[], 0.0).await;
    assert!(serving.log().contains("mount its directory"), "{}", serving.log());
    // The metrics do not show a reload either.
    serving.signal("HUP");
    until("it is logged again", async || serving.log().matches("mount its directory").count() == 2).await;
    assert!(!serving.log().contains("the configuration was reloaded"), "{}", serving.log());
    serving.stop().await;
}
