//! The service under test as a process: its configuration, its signals, its answers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

/// Seconds for which every variant protects an image.
pub(crate) const PROTECTED: i64 = 6;

const TOKEN: &str = "soak-token";

/// A schedule that is never due during a soak.
pub(crate) const NEVER: &str = "0 0 29 2 *";

/// What differs between the configurations. All are valid, and protect the same tags.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    pub(crate) schedule: String,
    pub(crate) gc_schedule: String,
    pub(crate) gc: String,
    pub(crate) concurrency: u32,
    pub(crate) newest: u32,
    pub(crate) newer: u32,
    pub(crate) percent: u32,
}

impl Variant {
    pub(crate) fn any(random: &mut Rng) -> Self {
        let gc_schedule = match random.u32(0..4) {
            0 => format!("*/{} * * * * *", random.u32(4..9)),
            _ => "after-run".into(),
        };
        let gc = match random.u32(0..8) {
            0 => "min_reclaimable: 4KiB, ".into(),
            1 => format!("grace: {}s, ", random.u32(1..4)),
            _ => String::new(),
        };
        Self {
            schedule: format!("*/{} * * * * *", random.u32(2..5)),
            gc_schedule,
            gc,
            concurrency: random.u32(1..12),
            newest: random.u32(1..5),
            newer: random.u32(8..25),
            percent: random.u32(60..90),
        }
    }

    /// Nothing starts by schedule.
    pub(crate) fn manual_only() -> Self {
        Self {
            schedule: NEVER.into(),
            gc_schedule: "after-run".into(),
            gc: String::new(),
            concurrency: 8,
            newest: 2,
            newer: 8,
            percent: 100,
        }
    }

    /// Nothing starts by schedule, and no collection after a run.
    pub(crate) fn without_collection() -> Self {
        Self { gc_schedule: NEVER.into(), ..Self::manual_only() }
    }
}

/// The program, its files and its registry.
pub(crate) struct Service {
    program: PathBuf,
    folder: PathBuf,
    registry: String,
    commands: String,
    port: u16,
    client: reqwest::Client,
    /// `None` while it is stopped on purpose.
    child: Option<Child>,
}

impl Service {
    pub(crate) fn new(program: &Path, folder: &Path, registry: String, commands: String) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        fs::write(folder.join("token"), TOKEN).unwrap();
        Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            registry,
            commands,
            port: listener.local_addr().unwrap().port(),
            client: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap(),
            child: None,
        }
    }

    /// Replaces the configuration atomically. The service reloads it within a second.
    pub(crate) fn configure(&self, variant: &Variant) {
        let draft = self.folder.join("draft.yaml");
        fs::write(&draft, self.yaml(variant)).unwrap();
        fs::rename(draft, self.config()).unwrap();
    }

    fn yaml(&self, variant: &Variant) -> String {
        let Variant { schedule, gc_schedule, gc, concurrency, newest, newer, percent } = variant;
        let (registry, commands, port) = (&self.registry, &self.commands, self.port);
        let folder = self.folder.display();
        let (more, longer) = (newest + 1, newer + 6);
        format!(
            r"mode: enforce
schedule: '{schedule}'
listen: 127.0.0.1:{port}
admin_token: {{ file: {folder}/token }}
state_dir: {folder}/state
history: 2d
registries:
  - name: main
    url: {registry}
    timeout: 3s
    concurrency: {concurrency}
    gc: {{ schedule: '{gc_schedule}', {gc}timeout: 60s, command: {{ {commands} }} }}
protect: {{ tags: [stable, 'prod-.*'], newer_than: {PROTECTED}s, at_least: 1 }}
limits: {{ max_deletions: 5000, max_percent: {percent} }}
policies:
  - name: teams
    repositories: 'team/.*'
    rules:
      - {{ name: holders, tags: 'keep-.*', keep: all }}
      - {{ name: builds, tags: 'build-.*', keep: {{ newest: {newest} }} }}
      - {{ name: pulls, tags: 'pr-.*', keep: {{ newer_than: {newer}s }} }}
      - {{ name: releases, tags: 'v\d+\.\d+\.\d+', keep: {{ versions: {{ newest: {newest}, per: minor }} }} }}
      - {{ name: devs, tags: 'dev-.*', keep: {{ all: {{ newest: {more}, newer_than: {longer}s }} }} }}
      - {{ name: temporary, tags: ['tmp-.*', stable, 'prod-.*'], keep: none }}
    untagged: {{ newer_than: {newer}s }}
  - name: libraries
    repositories: 'lib/.*'
    rules:
      - {{ name: holders, tags: 'keep-.*', keep: all }}
      - {{ name: builds, tags: ['build-.*', 'dev-.*'], keep: {{ newest: {more} }} }}
      - {{ name: rest, tags: ['pr-.*', 'tmp-.*', 'v.*', 'stable|prod-.*'], keep: {{ newest: 1, newer_than: {longer}s }} }}
  - name: bulk
    repositories: bulk
    rules: [{{ name: bursts, tags: 'burst-.*', keep: {{ newer_than: {newer}s }} }}]
",
        )
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.yaml")
    }

    /// Starts it, and waits until it serves.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = self.command(&["serve", "--log-format", "json"]);
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            if self.healthy().await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                return Err(format!("it ended at its start: {status}"));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err("it does not serve a minute after its start".into())
    }

    /// Its exit status, if it ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.as_mut()?.try_wait().unwrap();
        if ended.is_some() {
            self.child = None;
        }
        ended
    }

    pub(crate) fn is_up(&self) -> bool {
        self.child.is_some()
    }

    pub(crate) fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            // It may have ended; `watch` reports that.
            let _ = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it with SIGTERM, and waits for its end.
    pub(crate) async fn stop(&mut self) -> Result<(), String> {
        self.signal("TERM");
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(180) {
            match child.try_wait().unwrap() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("after SIGTERM it ended with {status}")),
                None => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        Err("it did not end within three minutes after SIGTERM".into())
    }

    /// The time that `/healthz` took.
    pub(crate) async fn healthy(&self) -> Result<Duration, String> {
        let begin = Instant::now();
        let answer = self.get("healthz").await?;
        if answer.status().is_success() { Ok(begin.elapsed()) } else { Err(format!("{}", answer.status())) }
    }

    pub(crate) async fn metrics(&self) -> Result<Metrics, String> {
        Ok(Metrics(self.get("metrics").await?.text().await.map_err(|error| error.to_string())?))
    }

    pub(crate) async fn json(&self, path: &str) -> Result<Value, String> {
        self.get(path).await?.json().await.map_err(|error| error.to_string())
    }

    /// Requests a run. Returns whether it started.
    pub(crate) async fn start_run(&self) -> Result<bool, String> {
        let url = format!("http://127.0.0.1:{}/api/v1/run", self.port);
        let answer =
            self.client.post(url).bearer_auth(TOKEN).send().await.map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            202 => Ok(true),
            409 => Ok(false),
            other => Err(format!("POST /api/v1/run was answered with {other}")),
        }
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response, String> {
        let url = format!("http://127.0.0.1:{}/{path}", self.port);
        self.client.get(url).send().await.map_err(|error| format!("{error:?}"))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.as_ref()?.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Runs a command of the program: its exit code, standard output and standard error.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.join("regsweep.log")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.config()).stdin(Stdio::null());
        for name in ["RUST_LOG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "STATE_DIRECTORY"] {
            command.env_remove(name);
        }
        command
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The text of `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// The sum of the samples of a metric that have this label.
    pub(crate) fn sum(&self, name: &str, label: &str) -> u64 {
        let samples = self.0.lines().filter_map(|line| line.strip_prefix("regsweep_"));
        let samples = samples.filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(label))
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}
