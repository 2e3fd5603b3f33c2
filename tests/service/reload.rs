//! A configuration that changes while the service runs.

use crate::world::{EACH_SECOND, Host, NEVER, Place, fill};

const RELOADED: &str = "the configuration was loaded again";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_in_force_and_a_bad_one_is_not() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let place = Place::new(NEVER, &[host.lines()]);
    let serving = place.serve().await;
    let successful = "config_last_reload_successful";
    serving.until_metric(successful, &[], 1.0).await;
    assert_eq!(serving.metric("runs_total", &[]).await, 0.0);

    // A schedule that comes: what is too old goes.
    place.configure(EACH_SECOND, &[host.lines()], "");
    serving.until_logged(RELOADED).await;
    serving.until_metric("deleted_manifests_total", &[], 4.0).await;
    serving.until_at_least("gc_runs_total", &["outcome=\"success\""], 1.0).await;
    let freed = filled.freed() as f64;
    serving.until_metric("reclaimed_bytes_total", &[], freed).await;

    // A bad file: all goes on as before, and it is said.
    place.write("mode: enforce\nschedule: nonsense\n");
    serving.until_metric(successful, &[], 0.0).await;
    assert!(serving.log().contains("the configuration is bad"), "{}", serving.log());
    assert!(serving.log().contains("schedule: line 2"), "{}", serving.log());
    let runs = serving.metric("runs_total", &["outcome=\"success\""]).await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], runs + 1.0).await;
    assert_eq!(serving.metric(successful, &[]).await, 0.0);

    // Good again, and asked for many times: nothing is counted twice.
    place.configure(NEVER, &[host.lines()], "");
    serving.until_metric(successful, &[], 1.0).await;
    for number in 0..3 {
        let before = serving.log().matches(RELOADED).count();
        serving.signal("HUP");
        crate::world::until("a reload", async || serving.log().matches(RELOADED).count() > before).await;
        assert_eq!(serving.metric("reclaimed_bytes_total", &[]).await, freed, "reload {number}");
        assert_eq!(serving.metric("deleted_manifests_total", &[]).await, 4.0, "reload {number}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_up_a_changed_policy() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let url = format!("url: {}", host.registry.url());
    let place = Place::new(EACH_SECOND, std::slice::from_ref(&url));
    let text = std::fs::read_to_string(place.config()).unwrap();
    place.write(&text.replace("newer_than: 14d", "newer_than: 36500d"));
    let serving = place.serve().await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], 1.0).await;
    assert_eq!(filled.left(), 4);
    place.write(&text.replace("newer_than: 14d", "newer_than: 22d"));
    serving.signal("HUP");
    serving.until_metric("deleted_manifests_total", &[], 2.0).await;
    assert_eq!(filled.left(), 2);
    // Of a registry that is no longer configured only what was counted stays, and goes on when it is back.
    place.write(&text.replace("name: main\n", "name: other\n").replace("14d", "36500d"));
    serving.signal("HUP");
    serving.until_at_least("runs_total", &["registry=\"other\"", "outcome=\"success\""], 1.0).await;
    assert_eq!(serving.metric("deleted_manifests_total", &["registry=\"main\""]).await, 2.0);
    assert_eq!(serving.metric("next_run_timestamp_seconds", &["registry=\"main\""]).await, 0.0);
    place.write(&text);
    serving.signal("HUP");
    serving.until_metric("deleted_manifests_total", &["registry=\"main\""], 4.0).await;
    assert_eq!(place.total("deleted_manifests"), 4);
    serving.stop().await;
}
