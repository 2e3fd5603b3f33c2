//! What the service tells the service manager and the log.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::Value;

use super::harness::{EACH_SECOND, Host, NEVER, Place, fill};

struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { folder, socket }
    }

    /// The next message that is not only a sign of life.
    fn next(&self) -> Vec<String> {
        loop {
            let message = self.any();
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }

    fn any(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_hears_of_the_start_the_life_the_reload_and_the_end() {
    let host = Host::start().await;
    let place = Place::new(NEVER, &[host.lines()]);
    let manager = Manager::new();
    let mut command = place.command(&["serve"]);
    command.env("NOTIFY_SOCKET", manager.folder.path().join("notify")).env("WATCHDOG_USEC", "3000000");
    let serving = place.serve_by(command).await;
    assert_eq!(manager.next(), ["READY=1", "STATUS=enforcing: main"]);
    assert_eq!(manager.any(), ["WATCHDOG=1"]);
    assert_eq!(manager.any(), ["WATCHDOG=1"]);
    serving.signal("HUP");
    let reloading = manager.next();
    assert_eq!(reloading[0], "RELOADING=1");
    let micros = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime = uptime.split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!((micros as f64 / 1e6 - uptime).abs() < 60.0, "{micros} {uptime}");
    assert_eq!(manager.next(), ["READY=1", "STATUS=enforcing: main"]);
    // Also a file that is bad leaves a service that is ready.
    place.write("mode: nonsense\n");
    assert_eq!(manager.next()[0], "RELOADING=1");
    assert_eq!(manager.next(), ["READY=1", "STATUS=enforcing: main"]);
    serving.signal("TERM");
    assert_eq!(manager.next()[0], "STOPPING=1");
    assert_eq!(serving.ended().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchdog_of_another_process_is_not_fed() {
    let host = Host::start().await;
    let place = Place::new(NEVER, &[host.lines()]);
    let manager = Manager::new();
    let mut command = place.command(&["serve"]);
    command.env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
    command.env("WATCHDOG_USEC", "3000000").env("WATCHDOG_PID", "1");
    let serving = place.serve_by(command).await;
    assert_eq!(manager.any()[0], "READY=1");
    // What would have been said by its beats comes before this.
    serving.signal("HUP");
    assert_eq!(manager.any()[0], "RELOADING=1");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_deletion_is_one_event_of_the_log() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let place = Place::new(EACH_SECOND, &[format!("url: {}", host.registry.url())]);
    let serving = place.serve().await;
    serving.until_metric("deleted_manifests_total", &["policy=\"apps\""], 4.0).await;
    let log = serving.stop().await;
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let deletions: Vec<&Value> =
        events.iter().filter(|event| event["message"] == "deleted a manifest").collect();
    assert_eq!(deletions.len(), 4, "{log}");
    for (number, old) in filled.old.iter().enumerate() {
        let of: Vec<_> = deletions.iter().filter(|event| event["digest"] == old.digest.as_str()).collect();
        let [event] = of.as_slice() else { panic!("{log}") };
        assert_eq!(event["registry"], "main");
        assert_eq!(event["repository"], "team/app");
        assert_eq!(event["policy"], "apps");
        assert_eq!(event["level"], "INFO");
        assert_eq!(event["already_gone"], false);
        assert!(event["bytes"].as_u64().unwrap() > 0);
        for (field, word) in [("tags", format!("build-{number}")), ("rules", "builds".into())] {
            assert!(event[field].to_string().contains(&word), "{event}");
        }
        assert!(event["reasons"].to_string().len() > 4, "{event}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_begins_for_whoever_has_the_token_and_nobody_else() {
    let host = Host::start().await;
    let place = Place::new(NEVER, &[]);
    let token = place.config().with_file_name("token");
    std::fs::write(&token, "open sesame\n").unwrap();
    place.configure(NEVER, &[host.lines()], &format!("admin_token: {{ file: {} }}\n", token.display()));
    let serving = place.serve().await;
    let ask = async |token: &str| {
        let url = format!("http://127.0.0.1:{}/api/v1/run", place.port());
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
