//! Probes of registries between their runs. The tests set the clock of the service, so that no minute has to pass.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use chrono::{TimeDelta, Utc};
use regsweep::report::Outcome;
use regsweep::state::State;
use regsweep::{config, daemon};
use serde_json::Value;

use super::harness::until;
use crate::support::fake_registry::{Auth, Canned, FakeRegistry, Personality};
use crate::support::image::Image;

/// More than the longest probe interval.
const PROBE_WAIT: i64 = 80;

/// A folder with a configuration, a state and a clock.
struct Installation {
    folder: tempfile::TempDir,
    listen: String,
    /// The seconds by which the clock is ahead.
    ahead: Arc<AtomicI64>,
    /// How often the configuration was written.
    written: AtomicI64,
}

impl Installation {
    fn new(registry: &str, more: &str) -> Self {
        let listen = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
        let installation = Self {
            folder: tempfile::tempdir().unwrap(),
            listen,
            ahead: Arc::default(),
            written: AtomicI64::new(0),
        };
        std::fs::write(installation.path("password"), "hunter2").unwrap();
        std::fs::write(installation.path("token"), "correct horse").unwrap();
        installation.configure(registry, more);
        installation
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration, as one step.
    fn configure(&self, registry: &str, more: &str) {
        let text = format!(
            "# {}\nmode: enforce\nschedule: '0 0 29 2 *'\nlisten: {}\nstate_dir: {}\nadmin_token: {{ file: {} }}\nregistries:\n  \
             - name: main\n    url: {registry}\n{more}policies:\n  - name: all\n    repositories: '.*'\n    \
             rules: [{{ name: old, tags: '.*', keep: {{ newest: 3 }} }}]\n",
            self.written.fetch_add(1, Ordering::Relaxed),
            self.listen,
            self.path("state").display(),
            self.path("token").display(),
        );
        std::fs::write(self.path("draft"), text).unwrap();
        std::fs::rename(self.path("draft"), self.path("config.yaml")).unwrap();
    }

    fn basic(&self) -> String {
        let password = self.path("password");
        format!("    auth: {{ basic: {{ username: ann, password: {{ file: {} }} }} }}\n", password.display())
    }

    /// Serves until the scenario ends.
    async fn while_serving(&self, scenario: impl Future<Output = ()>) {
        let path = self.path("config.yaml");
        let env = |_: &str| None;
        let (begin, ahead) = (Utc::now(), self.ahead.clone());
        let clock = Arc::new(move || begin + TimeDelta::seconds(ahead.load(Ordering::Relaxed)));
        let seen = config::read_bytes(&path).ok();
        let config = config::load(&path, &env).unwrap();
        let scenario = async {
            until("it serves", async || {
                reqwest::get(self.url("/healthz")).await.is_ok_and(|one| one.status() == 200)
            })
            .await;
            scenario.await;
        };
        tokio::select! {
            ended = daemon::serve(config, &path, seen, &env, clock) => panic!("it has ended: {ended:?}"),
            () = scenario => {}
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    /// Lets time pass.
    fn later(&self) {
        self.ahead.fetch_add(PROBE_WAIT, Ordering::Relaxed);
    }

    /// `registry_up`; `None` where it is absent.
    async fn up(&self) -> Option<bool> {
        let text = reqwest::get(self.url("/metrics")).await.unwrap().text().await.unwrap();
        let value =
            text.lines().find_map(|line| line.strip_prefix("regsweep_registry_up{registry=\"main\"} "));
        value.map(|value| value == "1")
    }

    async fn until_up(&self, up: bool) {
        until("up changes", async || self.up().await == Some(up)).await;
    }

    /// Why the service is not ready.
    async fn causes(&self) -> Vec<String> {
        let answer: Value = reqwest::get(self.url("/readyz")).await.unwrap().json().await.unwrap();
        let causes = answer["causes"].as_array().unwrap();
        causes.iter().map(|cause| format!("{}: {}", cause["cause"], cause["text"])).collect()
    }

    /// Waits until a changed configuration is active: by then the service had a heartbeat.
    async fn until_loaded(&self, registry: &str, more: &str) {
        let loaded_at = async || {
            let status: Value = reqwest::get(self.url("/api/v1/status")).await.unwrap().json().await.unwrap();
            status["configuration"]["loaded_at"].clone()
        };
        let before = loaded_at().await;
        self.ahead.fetch_add(1, Ordering::Relaxed);
        self.configure(registry, more);
        until("it is loaded", async || loaded_at().await != before).await;
    }
}

/// The requests since they were last cleared, with the scheme of their credentials.
fn requests(fake: &FakeRegistry) -> Vec<String> {
    let line = |one: &crate::support::fake_registry::Logged| {
        format!("{} {} {}", one.method, one.path, one.authorization.as_deref().unwrap_or("-"))
    };
    fake.requests().iter().map(line).collect()
}

/// A fake that answers with this status for as long as the flag is up.
fn failing(fake: &FakeRegistry, status: u16) -> Arc<AtomicBool> {
    let fails = Arc::new(AtomicBool::new(false));
    let flag = fails.clone();
    fake.on(move |_| flag.load(Ordering::Relaxed).then(|| Canned::status(status)));
    fails
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe_is_sent_once_a_minute_without_a_token() {
    let fake = FakeRegistry::options(Personality::V2_8).auth(Auth::bearer("ann", "hunter2")).start();
    let installation = Installation::new(&fake.url(), "");
    installation.configure(&fake.url(), &installation.basic());
    installation
        .while_serving(async {
            assert_eq!(
                (installation.up().await, installation.causes().await.len()),
                (None, 0),
                "it is not probed yet"
            );
            assert_eq!(requests(&fake), [""; 0]);
            installation.later();
            installation.until_up(true).await;
            assert_eq!(fake.tokens_issued(), 1, "the first time it is to let us in");
            for _ in 0..5 {
                fake.forget_requests();
                installation.later();
                until("it is asked", async || !fake.requests().is_empty()).await;
                // Once the configuration is reloaded, the service had a heartbeat.
                installation.until_loaded(&fake.url(), &installation.basic()).await;
                assert_eq!(requests(&fake), ["GET /v2/ -"]);
            }
            assert_eq!((fake.tokens_issued(), installation.up().await), (1, Some(true)));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe_notices_an_outage_and_its_end() {
    // A registry that fails, and a proxy that no longer knows it.
    for status in [503, 404] {
        let fake = FakeRegistry::start(Personality::V2_8);
        let fails = failing(&fake, status);
        let installation = Installation::new(&fake.url(), "");
        installation
            .while_serving(async {
                installation.later();
                installation.until_up(true).await;
                assert_eq!(installation.causes().await, [""; 0]);
                fails.store(true, Ordering::Relaxed);
                installation.later();
                installation.until_up(false).await;
                let causes = installation.causes().await;
                assert!(causes.len() == 1 && causes[0].starts_with("\"unreachable\": "), "{causes:?}");
                fails.store(false, Ordering::Relaxed);
                installation.later();
                installation.until_up(true).await;
                assert_eq!(installation.causes().await, [""; 0]);
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_after_a_restart_needs_a_probe_if_the_last_run_failed() {
    let fake = FakeRegistry::options(Personality::V2_8).auth(Auth::basic("ann", "hunter2")).start();
    let installation = Installation::new(&fake.url(), "");
    std::fs::write(installation.path("password"), "wrong").unwrap();
    installation.configure(&fake.url(), &installation.basic());
    let state = State::open(&installation.path("state")).unwrap();
    let run = state.begin_run("main", Utc::now()).unwrap();
    state.finish_run(run, Utc::now(), Outcome::Failed, Some("connection refused")).unwrap();
    drop(state);
    installation
        .while_serving(async {
            let causes = installation.causes().await;
            assert!(causes.len() == 1 && causes[0].contains("has not been probed since"), "{causes:?}");
            assert_eq!(installation.up().await, None);
            // An anonymous answer is not enough: the run may have failed because of the credentials.
            installation.later();
            installation.until_up(false).await;
            assert_eq!(installation.causes().await.len(), 1);
            std::fs::write(installation.path("password"), "hunter2").unwrap();
            installation.until_loaded(&fake.url(), &installation.basic()).await;
            assert_eq!(installation.up().await, Some(false), "it is not probed yet");
            installation.later();
            installation.until_up(true).await;
            assert_eq!(installation.causes().await, [""; 0]);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_at_a_new_address_is_unknown_until_it_is_probed() {
    let (first, second) = (FakeRegistry::start(Personality::V2_8), FakeRegistry::start(Personality::V2_8));
    let installation = Installation::new(&first.url(), "");
    installation
        .while_serving(async {
            installation.later();
            installation.until_up(true).await;
            installation.until_loaded(&second.url(), "").await;
            assert_eq!(installation.up().await, None);
            first.forget_requests();
            installation.later();
            installation.until_up(true).await;
            assert_eq!((requests(&first), requests(&second)), (vec![], vec!["GET /v2/ -".to_owned()]));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_with_a_running_job_is_not_probed() {
    let fake = FakeRegistry::start(Personality::V2_8);
    fake.push("team/app", "v1", &Image::new("v1").build());
    // The run waits in real time, which the test's clock does not change.
    let waits = Arc::new(AtomicBool::new(true));
    let flag = waits.clone();
    fake.on(move |request| {
        let held = request.path.contains("/tags/list") && flag.load(Ordering::Relaxed);
        held.then(|| Canned::status(429).header("retry-after", "5"))
    });
    let installation = Installation::new(&fake.url(), "");
    installation
        .while_serving(async {
            let run =
                reqwest::Client::new().post(installation.url("/api/v1/run")).bearer_auth("correct horse");
            assert_eq!(run.send().await.unwrap().status(), 202);
            until("the run waits", async || requests(&fake).iter().any(|one| one.contains("/tags/list")))
                .await;
            for _ in 0..3 {
                installation.later();
                installation.until_loaded(&fake.url(), "").await;
            }
            let asked = requests(&fake).iter().filter(|one| one.starts_with("GET /v2/ ")).count();
            assert_eq!(asked, 1, "by the run: {:?}", requests(&fake));
            waits.store(false, Ordering::Relaxed);
            installation.until_up(true).await;
        })
        .await;
}
