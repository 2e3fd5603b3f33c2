//! Runs regsweep: the program, or the library where a test acts between the plan and the deletions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use regsweep::config::{Config, parse};
use regsweep::registry::{Reader, Retry};
use regsweep::report::RunReport;
use regsweep::run::{
    ApplyOptions, Cancellation, Journal, LimitMode, RegistryContext, ScannedPlan, apply, scan_and_plan,
};
use regsweep::state::State;
use serde_json::Value;
use tempfile::TempDir;

/// Tags that begin with `old` expire, and nothing else does; no protection and no limit prevents it.
pub const OLD_TAGS_EXPIRE: &str = "\
protect: { newer_than: 0s, at_least: 0 }
limits: { max_percent: 100 }
policies:
  - name: all
    repositories: '.*'
    rules: [{ name: old, tags: 'old.*', keep: none }]
";

/// A configuration with one registry, which is called `main`.
#[derive(Debug)]
pub struct Regsweep {
    folder: TempDir,
    mode: &'static str,
    registry: String,
    rest: String,
}

/// How the program ended and what it printed.
#[derive(Debug)]
pub struct ProgramOutput {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Regsweep {
    /// For the registry at this URL, in mode `enforce`. `rest` is the YAML of everything else.
    pub fn new(url: &str, rest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, mode: "enforce", registry: format!("url: {url}"), rest: rest.into() }
    }

    /// In mode `plan`.
    pub fn mode_plan(mut self) -> Self {
        self.mode = "plan";
        self
    }

    /// With one more line about the registry, such as `concurrency: 1`.
    pub fn registry(mut self, line: &str) -> Self {
        self.registry += &format!("\n    {line}");
        self
    }

    /// Replaces the `rest` of the configuration; the state stays.
    pub fn with_rest(&mut self, rest: &str) -> &Self {
        self.rest = rest.into();
        self
    }

    /// As this user.
    pub fn basic(self, user: &str, password: &str) -> Self {
        let path = self.folder.path().join("password");
        std::fs::write(&path, password).unwrap();
        let password = path.display();
        self.registry(&format!("auth: {{ basic: {{ username: {user}, password: {{ file: {password} }} }} }}"))
    }

    /// Trusting the authority in this file.
    pub fn ca_file(self, path: &Path) -> Self {
        self.registry(&format!("tls: {{ ca_file: {} }}", path.display()))
    }

    /// Its state directory, which exists only once it is needed.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The YAML.
    pub fn yaml(&self) -> String {
        let Self { mode, registry, rest, .. } = self;
        let state = self.state_dir();
        format!(
            "mode: {mode}\nstate_dir: {}\nregistries:\n  - name: main\n    {registry}\n{rest}",
            state.display()
        )
    }

    /// Runs the program with these arguments until it ends.
    pub fn run(&self, arguments: &[&str]) -> ProgramOutput {
        ProgramOutput::from(self.command(arguments).output().unwrap())
    }

    /// Starts the program, with its output and errors in pipes. Its configuration is gone with `self`.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = self.folder.path().join("config.yaml");
        std::fs::write(&path, self.yaml()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
        command.args(arguments).arg("--config").arg(path).stdin(Stdio::null());
        command.env_remove("RUST_LOG").env("STATE_DIRECTORY", self.state_dir());
        command
    }

    /// The same by way of the library.
    pub fn in_process(&self) -> Library {
        let config = parse(&self.yaml(), "config.yaml", &|_| None).unwrap();
        let reader = Reader::new(&config.registries[0], Retry::default(), Arc::new(())).unwrap();
        // A process that another test starts inherits the lock for a moment, until it executes its program.
        let mut opened = State::open(&config.state_dir);
        for _ in 0..500 {
            if !matches!(opened, Err(regsweep::state::Error::Locked(_))) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            opened = State::open(&config.state_dir);
        }
        let state = opened.unwrap();
        Library { config, reader, state, now: hours_ago(0) }
    }
}

impl From<Output> for ProgramOutput {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl ProgramOutput {
    /// Panics if the program ended in another way.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// What it printed, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `repository@digest` of everything that a run says it deleted.
    pub fn deleted(&self) -> BTreeSet<String> {
        let json = self.json();
        each(&json["deleted"]).map(|one| name(&one["repository"], &one["digest"])).collect()
    }

    /// `repository@digest` of everything that a plan says is to be deleted.
    pub fn to_delete(&self) -> BTreeSet<String> {
        self.planned("delete")
    }

    /// `repository@digest` of everything that a plan says is to be kept.
    pub fn kept(&self) -> BTreeSet<String> {
        self.planned("keep")
    }

    fn planned(&self, verdict: &str) -> BTreeSet<String> {
        let json = self.json();
        let with = |repository: &Value| -> Vec<String> {
            let manifests = each(&repository["manifests"]).filter(|planned| planned["verdict"] == verdict);
            manifests.map(|planned| name(&repository["repository"], &planned["digest"])).collect()
        };
        each(&json["repositories"]).flat_map(with).collect()
    }

    /// The codes of the reasons that a plan gives for a manifest, wherever it first finds it.
    pub fn reasons(&self, digest: &str) -> Vec<String> {
        let json = self.json();
        let mut manifests = each(&json["repositories"]).flat_map(|one| each(&one["manifests"]));
        let found = manifests.find(|planned| planned["digest"] == digest);
        let found = found.unwrap_or_else(|| panic!("{digest} is in no plan: {json}"));
        each(&found["reasons"]).map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
    }
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().unwrap_or_else(|| panic!("{list} is no list")).iter()
}

fn name(repository: &Value, digest: &Value) -> String {
    format!("{}@{}", repository.as_str().unwrap(), digest.as_str().unwrap())
}

/// The library, configured and ready to run.
pub struct Library {
    config: Config,
    reader: Reader,
    state: State,
    now: DateTime<Utc>,
}

impl Library {
    /// Makes the plan.
    pub async fn scan_and_plan(&self) -> ScannedPlan {
        scan_and_plan(self.registry_context(), &(), async |_| Ok(None)).await.unwrap()
    }

    /// Carries it out.
    pub async fn apply(&self, scanned: &ScannedPlan) -> RunReport {
        let deleter = self.reader.deleter();
        let run = self.state.begin_run("main", self.now).unwrap();
        let journal = Journal { state: &self.state, registry: "main", run, clock: &|| hours_ago(0) };
        let stop = Cancellation::default().runs;
        let options = ApplyOptions { limits: LimitMode::Enforced, stop: &stop, deadline: None };
        apply(self.registry_context(), scanned, &deleter, journal, options, &()).await
    }

    fn registry_context(&self) -> RegistryContext<'_> {
        let Self { config, reader, state, now } = self;
        let (registry, state) = (&config.registries[0], Some(state));
        RegistryContext { config, registry, reader, now: *now, only: None, state, clock: &present }
    }
}

fn present() -> DateTime<Utc> {
    hours_ago(0)
}

/// The moment so many hours ago. Only where the program reads the clock do tests have to.
pub fn hours_ago(hours: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(hours)
}
