//! The service with registries and a Prometheus that scrapes it, and the queries of the dashboard and the alerts.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::docker_engine::free_port;
use crate::support::image::Image;
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;
use crate::support::registry_program::registry_program;

/// Waits until a condition holds.
async fn until<T>(what: &str, happened: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = happened().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a minute passed without: {what}");
}

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A program that ends with the test and writes its output into a file.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; `make check` installs it")))
    }

    /// Stops it and waits for its end.
    async fn stop(&mut self) -> Option<i32> {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        for _ in 0..600 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A registry that scripts stop and start, as an init system would.
struct Host {
    registry: RealRegistry,
    folder: TempDir,
}

impl Host {
    fn start() -> Self {
        let mut registry = RealRegistry::options().cache().start();
        // From here on the scripts start it.
        registry.stop();
        let host = Self { registry, folder: tempfile::tempdir().unwrap() };
        let (pid, config) = (host.folder.path().join("pid"), host.config());
        let (pid, runs) = (pid.display(), format!("[ -e /proc/$(cat {})/exe ]", pid.display()));
        host.script("before", &format!("kill $(cat {pid}); while {runs}; do :; done"));
        let serve = format!("{} serve {config} >/dev/null 2>&1", registry_program());
        host.script("after", &format!("[ -s {pid} ] && {runs} || {{ {serve} & echo $! >{pid}; }}"));
        assert!(Command::new(host.path("after")).status().unwrap().success());
        host
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(self.path(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn config(&self) -> String {
        self.registry.config_path().display().to_string()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new(self.path("before")).status();
    }
}

/// A registry from which nothing can be deleted: one repository is damaged, in another a limit refuses it.
fn troubled() -> RealRegistry {
    let registry = RealRegistry::start();
    let mut store = registry.store();
    for number in 0..12 {
        let image = Image::new(format!("many-{number}")).build();
        store.write("team/many", &[&format!("pr-{number}")], &image);
    }
    let image = Image::new("damaged").build();
    store.write("team/damaged", &["pr-1"], &image);
    fs::write(store.blob_path(&image.digest), "no manifest").unwrap();
    registry
}

/// Prometheus with the shipped configuration, except for the target, the scrape interval and the path of the rules.
struct Prometheus {
    daemon: Daemon,
    url: String,
    folder: TempDir,
}

impl Prometheus {
    fn start(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = shipped("config/prometheus/prometheus.yml");
        let replaced = config.replace("30s", "1s").replace("regsweep:9717", target);
        assert!(replaced.contains(target) && replaced.matches(": 1s").count() == 2, "{replaced}");
        // The rules are next to it, as shipped.
        fs::write(path("prometheus.yml"), replaced).unwrap();
        fs::write(path("alerts.yaml"), shipped("config/prometheus/alerts.yaml")).unwrap();
        let check = Command::new("promtool").args(["check", "config", &path("prometheus.yml")]).output();
        let check = check.expect("promtool");
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", path("prometheus.yml")));
        command.arg(format!("--storage.tsdb.path={}", path("data")));
        command.arg(format!("--web.listen-address={address}"));
        let daemon = Daemon::start(&mut command, &folder.path().join("log"));
        Self { daemon, url: format!("http://{address}/api/v1"), folder }
    }

    /// Its answer; `None` before it serves.
    async fn api(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}/{path}", self.url), query).unwrap();
        let answer = reqwest::get(url).await.ok()?;
        if answer.status() == 503 {
            return None;
        }
        let json: Value = answer.json().await.unwrap();
        assert_eq!(json["status"], "success", "{path} {query:?}: {json}");
        Some(json["data"].clone())
    }

    /// The series of an expression, now.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.api("query", &[("query", expression)]).await;
        data.map(|data| data["result"].as_array().unwrap().clone()).unwrap_or_default()
    }

    /// The value of an expression that has one series; `None` if it has none.
    async fn value(&self, expression: &str) -> Option<f64> {
        let series = self.query(expression).await;
        assert!(series.len() < 2, "{expression}: {series:?}");
        Some(series.first()?["value"][1].as_str().unwrap().parse().unwrap())
    }

    async fn until(&self, expression: &str) {
        until(expression, async || self.value(expression).await).await;
    }
}

/// Every expression of the dashboard with its panel, and Grafana's variables filled in.
fn dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&shipped("config/grafana/regsweep.json")).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$__rate_interval", "10s").replace("$__interval", "30s");
            let expression = expression.replace("$__range", "5m").replace("$registry", ".*");
            assert!(!expression.contains('$'), "{expression}");
            found.push((panel["title"].as_str().unwrap().to_owned(), expression));
        }
    }
    assert!(found.len() > 20);
    found
}

fn config(mode: &str, listen: &str, state: &Path, host: &Host, troubled: &RealRegistry) -> String {
    let (before, after, registry) = (host.path("before"), host.path("after"), host.config());
    let program = registry_program();
    format!(
        "mode: {mode}\nschedule: '*/2 * * * * *'\nlisten: {listen}\nstate_dir: {}\nregistries:\n  \
         - name: main\n    url: {}\n    gc:\n      command:\n        before: ['{before}']\n        \
         run: [{program}, garbage-collect, '{registry}']\n        after: ['{after}']\n  \
         - name: troubled\n    url: {}\n  - name: gone\n    url: http://127.0.0.1:1\n\
         policies:\n  - name: all\n    repositories: '.*'\n    rules:\n      \
         - {{ name: pull-requests, tags: 'pr-\\d+', keep: {{ newer_than: 14d }} }}\n",
        state.display(),
        host.registry.url(),
        troubled.url(),
    )
}

#[tokio::test]
async fn prometheus_answers_every_query_of_the_dashboard() {
    let (host, troubled, folder) = (Host::start(), troubled(), tempfile::tempdir().unwrap());
    let listen = format!("127.0.0.1:{}", free_port());
    let file = folder.path().join("config.yaml");
    let configure = |mode| {
        let text = config(mode, &listen, &folder.path().join("state"), &host, &troubled);
        // Atomically, as editors save.
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
    };
    let pusher = Pusher::new(&host.registry.url());
    until("the registry", async || reqwest::get(host.registry.url()).await.ok()).await;
    for tag in ["v1", "pr-1", "pr-2", "pr-3"] {
        let image = Image::new(tag).layer("base").layer(tag).layer_bytes(50_000).build();
        pusher.push("team/app", tag, &image).await.unwrap();
    }
    let store = host.registry.store();
    let before = store.blob_bytes();

    configure("plan");
    let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    command.args(["serve", "--config"]).arg(&file).env_remove("RUST_LOG");
    let mut serve = || Daemon::start(&mut command, &folder.path().join("log"));
    let mut service = serve();
    let mut prometheus = Prometheus::start(&listen);
    prometheus.until("up{job='regsweep'} == 1").await;
    prometheus.until("regsweep_expired_manifests{registry='main'} == 3").await;
    prometheus.until("regsweep_reclaimed_bytes_total{registry='main'} == 0").await;
    assert_eq!(store.blob_bytes(), before, "nothing goes in mode plan");

    configure("enforce");
    prometheus.until("regsweep_gc_runs_total{registry='main', outcome='success'} == 1").await;
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    let gone = before - store.blob_bytes();
    assert!(gone > 150_000, "{gone}: {}", log());
    for (expression, expected) in [
        ("regsweep_reclaimed_bytes_total{registry='main'}", gone),
        ("regsweep_deleted_manifests_total{registry='main', policy='all'}", 3),
        ("regsweep_deleted_tags_total{registry='main', policy='all'}", 3),
        ("regsweep_reclaimable_bytes{registry='main'}", 0),
        ("regsweep_manifests{registry='main'}", 1),
        ("regsweep_deleted_manifests_total{registry='troubled', policy='all'}", 0),
        ("regsweep_registry_up{registry='gone'}", 0),
        ("regsweep_config_last_reload_successful", 1),
        ("regsweep_gc_last_run_successful{registry='main'}", 1),
        ("regsweep_last_run_refusals{registry='troubled', limit='max_percent'}", 1),
        ("regsweep_last_run_refusals{registry='main', limit='max_percent'}", 0),
        ("regsweep_deleted_uncollected_bytes{registry='troubled'}", 0),
        ("regsweep_run_timeout_seconds{registry='troubled'}", 43_200),
        ("regsweep_run_timeout_seconds{registry='main'}", 43_200 + 7_200),
    ] {
        // The next scan sees the deletions.
        prometheus.until(&format!("{expression} == {expected}")).await;
    }

    for (panel, expression) in dashboard() {
        let what = format!("series for the panel `{panel}`: {expression}");
        let series = until(&what, async || {
            let series = prometheus.query(&expression).await;
            (!series.is_empty()).then_some(series)
        });
        for one in series.await {
            let value: f64 = one["value"][1].as_str().unwrap().parse().unwrap();
            assert!(value.is_finite() || panel == "Request duration", "{panel}: {one}");
        }
    }
    // The registries that the dashboard offers.
    let names = prometheus.api("label/registry/values", &[("match[]", "regsweep_runs_total")]).await;
    assert_eq!(names.unwrap(), serde_json::json!(["gone", "main", "troubled"]));

    let rules = until("the evaluation of every alert", async || {
        let groups = prometheus.api("rules", &[]).await?["groups"].clone();
        let rules = groups[0]["rules"].as_array().unwrap().clone();
        let fires =
            rules.iter().any(|rule| rule["name"] == "RegsweepLimitRefusal" && rule["state"] == "firing");
        (fires && rules.iter().all(|rule| rule["health"] != "unknown")).then_some(rules)
    });
    let rules = rules.await;
    assert_eq!(rules.len(), shipped("config/prometheus/alerts.yaml").matches("- alert:").count());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        prometheus.query(rule["query"].as_str().unwrap()).await;
    }
    let state = |name: &str| {
        let rule = rules.iter().find(|rule| rule["name"] == name).unwrap();
        rule["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("RegsweepRegistryDown"), "pending");
    assert_eq!(state("RegsweepRunFailing"), "pending");
    for name in ["RegsweepDown", "RegsweepCollectionFailed", "RegsweepConfigReloadFailed"] {
        assert_eq!(state(name), "inactive", "{name}");
    }

    // Counters and the last collection survive the restart.
    assert_eq!(service.stop().await, Some(0), "{}", log());
    prometheus.until("up{job='regsweep'} == 0").await;
    let _service = serve();
    prometheus.until("up{job='regsweep'} == 1").await;
    prometheus.until(&format!("regsweep_reclaimed_bytes_total{{registry='main'}} == {gone}")).await;
    let status = reqwest::get(format!("http://{listen}/api/v1/status")).await.unwrap();
    let status: Value = status.json().await.unwrap();
    let main = status["registries"].as_array().unwrap().iter().find(|one| one["registry"] == "main").unwrap();
    assert_eq!(main["last_collection"]["outcome"], "success", "{status}");

    let output = fs::read_to_string(prometheus.folder.path().join("log")).unwrap();
    assert!(!output.contains("level=error") && !output.contains("append failed"), "{output}");
    prometheus.daemon.stop().await;
}
