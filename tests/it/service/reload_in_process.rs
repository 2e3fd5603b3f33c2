//! Reloads and scheduled times of a service in the process of the test, whose clock and tasks the test can see.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use regsweep::{config, daemon};

use super::harness::until;

/// Enough reloads to show a leak of one task each.
const RELOADS: usize = 12;

/// Writes a configuration with this number, which makes it differ: number 0 has mode plan.
fn write(path: &Path, listen: &str, number: usize) {
    write_with(path, listen, number, 1);
}

/// The same with another port of the registry, which is closed as well.
fn write_with(path: &Path, listen: &str, number: usize, port: u16) {
    let folder = path.parent().unwrap();
    let state = folder.join("state");
    let mode = if number == 0 { "plan" } else { "enforce" };
    let text = format!(
        "# {number}\nmode: {mode}\nschedule: '0 0 29 2 *'\nlisten: {listen}\nstate_dir: {}\nregistries:\n  \
         - {{ name: main, url: 'http://127.0.0.1:{port}' }}\npolicies:\n  - name: all\n    repositories: '.*'\n    \
         rules: [{{ name: old, tags: '.*', keep: {{ newest: 3 }} }}]\n",
        state.display()
    );
    std::fs::write(folder.join("draft"), text).unwrap();
    std::fs::rename(folder.join("draft"), path).unwrap();
}

/// When the active configuration was loaded, if its mode is enforce; `None` while the service does not answer.
async fn loaded_at(listen: &str) -> Option<String> {
    let answer = reqwest::get(format!("http://{listen}/api/v1/status")).await.ok()?;
    let status: serde_json::Value = answer.json().await.unwrap();
    let configuration = &status["configuration"];
    (configuration["mode"] == "enforce").then(|| configuration["loaded_at"].as_str().unwrap().to_owned())
}

async fn until_loaded_after(listen: &str, before: Option<&str>) -> String {
    let is_new = async || loaded_at(listen).await.is_some_and(|at| Some(at.as_str()) != before);
    until("the configuration is reloaded", is_new).await;
    loaded_at(listen).await.unwrap()
}

/// The tasks that exist all the time, without those of connections.
async fn lasting_tasks() -> usize {
    let metrics = tokio::runtime::Handle::current().metrics();
    let mut fewest = usize::MAX;
    for _ in 0..40 {
        fewest = fewest.min(metrics.num_alive_tasks());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fewest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_leaves_no_task_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let listen = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    write(&path, &listen, 0);
    let env = |_: &str| None;
    // Times are shown in whole seconds: each call of this clock is a second later, so that no two are equal.
    let (begin, looks) = (Utc::now(), AtomicI64::new(0));
    let clock = Arc::new(move || begin + TimeDelta::seconds(looks.fetch_add(1, Ordering::Relaxed)));
    let seen = config::read_bytes(&path).ok();
    let config = config::load(&path, &env).unwrap();
    // A change before the service has started is noticed as well.
    write(&path, &listen, 1);
    let reloads = async {
        let mut at = until_loaded_after(&listen, None).await;
        let before = lasting_tasks().await;
        for number in 2..2 + RELOADS {
            write(&path, &listen, number);
            at = until_loaded_after(&listen, Some(&at)).await;
        }
        (before, lasting_tasks().await)
    };
    let (before, after) = tokio::select! {
        ended = daemon::serve(config, &path, seen, &env, clock) => panic!("it has ended: {ended:?}"),
        counted = reloads => counted,
    };
    assert!(after < before + RELOADS, "{before} tasks before {RELOADS} reloads, {after} after them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_loses_no_run_that_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let listen = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    write(&path, &listen, 1);
    let env = |_: &str| None;
    // The timer has a clock of its own, which does not follow this one.
    let (begin, late) = (Utc::now(), Arc::new(AtomicI64::new(0)));
    let days = late.clone();
    let clock = Arc::new(move || begin + TimeDelta::days(days.load(Ordering::Relaxed)));
    let seen = config::read_bytes(&path).ok();
    let config = config::load(&path, &env).unwrap();
    let runs = async || {
        let text = reqwest::get(format!("http://{listen}/metrics")).await.unwrap().text().await.unwrap();
        text.contains("regsweep_runs_total{outcome=\"failed\",registry=\"main\"} 1")
    };
    let reload = async {
        let at = until_loaded_after(&listen, None).await;
        assert!(!runs().await);
        // Four years have a 29th of February.
        late.store(4 * 366, Ordering::Relaxed);
        write(&path, &listen, 2);
        until_loaded_after(&listen, Some(&at)).await;
        until("the run starts", runs).await;
    };
    tokio::select! {
        ended = daemon::serve(config, &path, seen, &env, clock) => panic!("it has ended: {ended:?}"),
        () = reload => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_run_does_not_start_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let listen = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    write(&path, &listen, 1);
    let env = |_: &str| None;
    // The timer counts seconds by itself; this clock stops shortly before the scheduled time.
    let begin: DateTime<Utc> = "2028-02-28T23:59:59.600Z".parse().unwrap();
    let later = Arc::new(AtomicI64::new(0));
    let millis = later.clone();
    let clock = Arc::new(move || begin + TimeDelta::milliseconds(millis.load(Ordering::Relaxed)));
    let seen = config::read_bytes(&path).ok();
    let config = config::load(&path, &env).unwrap();
    let begins = async {
        let runs = async || {
            let text = reqwest::get(format!("http://{listen}/metrics")).await.unwrap().text().await.unwrap();
            text.contains("regsweep_runs_total{outcome=\"failed\",registry=\"main\"} 1")
        };
        let shows = async |port: u16| {
            let Ok(answer) = reqwest::get(format!("http://{listen}/api/v1/status")).await else {
                return false;
            };
            let status: serde_json::Value = answer.json().await.unwrap();
            status["registries"][0]["url"] == format!("http://127.0.0.1:{port}/")
        };
        // Each reload takes at least one heartbeat of a second, and the timer waits one second.
        for port in [1, 2, 1, 2, 1] {
            write_with(&path, &listen, 1, port);
            until("it is loaded", async || shows(port).await).await;
            assert!(!runs().await);
        }
        later.store(400, Ordering::Relaxed);
        until("it begins", runs).await;
    };
    tokio::select! {
        ended = daemon::serve(config, &path, seen, &env, clock) => panic!("it has ended: {ended:?}"),
        () = begins => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_times_are_computed_again_when_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let listen = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    write(&path, &listen, 1);
    let env = |_: &str| None;
    let begin: DateTime<Utc> = "2026-11-28T12:00:00Z".parse().unwrap();
    // As on a machine whose clock is wrong after the boot and corrected later.
    let ahead = Arc::new(AtomicI64::new(10 * 365));
    let days = ahead.clone();
    let clock = Arc::new(move || begin + TimeDelta::days(days.load(Ordering::Relaxed)));
    let seen = config::read_bytes(&path).ok();
    let config = config::load(&path, &env).unwrap();
    let next_run = async |wanted: &str| {
        let status = reqwest::get(format!("http://{listen}/api/v1/status")).await;
        let Ok(status) = status else { return false };
        let status: serde_json::Value = status.json().await.unwrap();
        status["registries"][0]["next_run"] == wanted
    };
    let set_back = async {
        until("the time of a clock that is ahead", async || next_run("2040-02-29T00:00:00Z").await).await;
        ahead.store(0, Ordering::Relaxed);
        until("the time of a clock that is right", async || next_run("2028-02-29T00:00:00Z").await).await;
    };
    tokio::select! {
        ended = daemon::serve(config, &path, seen, &env, clock) => panic!("it has ended: {ended:?}"),
        () = set_back => {}
    }
}
