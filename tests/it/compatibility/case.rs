//! A registry, a configuration, and what regsweep makes of the two.
//!
//! Everywhere here tags that begin with `old` expire, and all others stay.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use regsweep::config::{self, Config};
use regsweep::gc::Collector;
use regsweep::model::RepositoryName;
use regsweep::plan::RepositoryPlan;
use regsweep::registry::{Reader, Retry};
use regsweep::report::{RunReport, UndoneEntry};
use regsweep::run::{
    self, ApplyOptions, Cancellation, Clock, Journal, LimitMode, Progress, RegistryContext, RunOptions,
    ScannedPlan, apply, inspect, scan_and_plan, undo,
};
use regsweep::state::State;

use crate::support::fake_registry::{Canned, FakeRegistry, Personality, Request};
use crate::support::image::{Content, Image};

/// Every server whose abilities can be told without a deletion, by anybody. The others are in `others.rs`.
pub(crate) const EVERY: [Personality; 5] =
    [Personality::V2_8, Personality::V3_0, Personality::V3_1, Personality::Oci11, Personality::Zot];

/// Tries that cost a test no time.
pub(crate) const QUICK: Retry = Retry {
    attempts: 3,
    initial_backoff: Duration::from_millis(1),
    max_backoff: Duration::from_millis(20),
    outage_timeout: Duration::from_millis(200),
    open_duration: Duration::from_millis(200),
};

/// A configuration for one registry, and the way to it.
pub(crate) struct Case {
    pub(crate) config: Config,
    pub(crate) reader: Reader,
    pub(crate) cancellation: Cancellation,
    pub(crate) state: State,
    clock: Box<Clock>,
    _folder: tempfile::TempDir,
}

/// When everything happens.
pub(crate) fn now() -> DateTime<Utc> {
    "2026-06-17T12:00:00Z".parse().unwrap()
}

impl Case {
    /// Everything in this registry.
    pub(crate) fn of(fake: &FakeRegistry) -> Self {
        Self::with(fake, "")
    }

    /// With these lines more about the registry, such as `concurrency: 3`.
    pub(crate) fn with(fake: &FakeRegistry, registry: &str) -> Self {
        Self::written(&yaml(&fake.url(), registry, ""))
    }

    /// With this text as the configuration. The password in its environment is `secret`.
    pub(crate) fn written(text: &str) -> Self {
        let env = |name: &str| (name == "SECRET").then(|| "secret".to_owned());
        let config = config::parse(text, "f", &env).unwrap_or_else(|error| panic!("{error}"));
        let reader = Reader::new(&config.registries[0], QUICK, Arc::new(())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        Self {
            config,
            reader,
            cancellation: Cancellation::default(),
            state,
            clock: Box::new(now),
            _folder: folder,
        }
    }

    /// At another time than [`now`], which may go on.
    pub(crate) fn at(mut self, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// With other patience.
    pub(crate) fn patient(mut self, retry: Retry) -> Self {
        self.reader = Reader::new(&self.config.registries[0], retry, Arc::new(())).unwrap();
        self
    }

    fn registry_context(&self) -> RegistryContext<'_> {
        RegistryContext {
            config: &self.config,
            registry: &self.config.registries[0],
            reader: &self.reader,
            now: (self.clock)(),
            only: None,
            state: Some(&self.state),
            clock: &self.clock,
        }
    }

    /// Reads and plans.
    pub(crate) async fn scan_and_plan(&self) -> Result<ScannedPlan, run::Error> {
        scan_and_plan(self.registry_context(), &(), async |_| Ok(None)).await
    }

    /// Reads and plans, and tells of each repository what is kept, too.
    pub(crate) async fn plans(&self) -> Vec<RepositoryPlan> {
        let watcher = Watcher::default();
        scan_and_plan(self.registry_context(), &watcher, async |_| Ok(None)).await.unwrap();
        watcher.0.into_inner().unwrap()
    }

    /// Reads one repository, and tells how many manifests it holds.
    pub(crate) async fn inspect(&self, repository: &str) -> usize {
        let repository = RepositoryName::parse(repository).unwrap();
        inspect(self.registry_context(), &repository).await.unwrap().0.manifests.len()
    }

    /// Carries out what was planned.
    pub(crate) async fn apply(&self, scanned: &ScannedPlan, limits: LimitMode) -> RunReport {
        let run = self.state.begin_run("main", now()).unwrap();
        let journal = Journal { state: &self.state, registry: "main", run, clock: &now };
        let options = ApplyOptions { limits, stop: &self.cancellation.runs, deadline: None };
        apply(self.registry_context(), scanned, &self.reader.deleter(), journal, options, &()).await
    }

    /// Reads, plans and carries out.
    pub(crate) async fn run(&self) -> Result<RunReport, run::Error> {
        let scanned = self.scan_and_plan().await?;
        Ok(self.apply(&scanned, LimitMode::Enforced).await)
    }

    /// Puts back what a run deleted.
    pub(crate) async fn undo(&self, run: i64) -> Vec<UndoneEntry> {
        undo(self.registry_context(), &self.state, run, None, &now).await.unwrap()
    }

    /// Makes a run as the service does, which asks the registry first what it can do.
    pub(crate) async fn full_run(&self) -> Result<RunReport, run::Error> {
        self.full_run_with(None).await
    }

    /// The same, with what collects.
    pub(crate) async fn full_run_with(&self, collector: Option<&Collector>) -> Result<RunReport, run::Error> {
        let limits = LimitMode::Enforced;
        let options = RunOptions {
            state: &self.state,
            collector,
            limits,
            cancellation: &self.cancellation,
            clock: &now,
        };
        Ok(run::run(self.registry_context(), &options, &()).await?.report)
    }
}

/// Remembers every plan as it was made.
#[derive(Default)]
struct Watcher(Mutex<Vec<RepositoryPlan>>);

impl Progress for Watcher {
    fn planned(&self, plan: &RepositoryPlan) {
        self.0.lock().unwrap().push(plan.clone());
    }
}

/// A configuration with more lines about the registry, and more at the top level.
pub(crate) fn yaml(url: &str, registry: &str, top: &str) -> String {
    let registry: String = registry.lines().map(|line| format!("    {line}\n")).collect();
    let protect = if top.contains("protect:") { "" } else { "protect: { newer_than: 1h, at_least: 0 }\n" };
    let limits = if top.contains("limits:") { "" } else { "limits: { max_percent: 100 }\n" };
    // Nothing here is encrypted, and to read the system's certificates takes longer than a run.
    let tls = "    tls: { insecure_skip_verify: true }\n";
    format!(
        "mode: enforce\n{protect}{limits}{top}\nregistries:\n  - name: main\n    url: {url}\n{tls}{registry}\
         policies:\n  - name: all\n    repositories: '.*'\n    exclude: 'idle/.*'\n    rules:\n\
         \x20     - {{ name: old, tags: 'old.*', keep: none }}\n      - {{ name: rest, tags: '.*', keep: all }}\n"
    )
}

/// An image of its own for every name, and the older the earlier in January its day is.
pub(crate) fn image(name: &str, day: u32) -> Content {
    Image::new(name).created(format!("2026-01-{day:02}T00:00:00Z")).build()
}

/// A registry with these repositories, each of which holds `keep` and `old-1` to `old-3`, which are to
/// go in that order.
pub(crate) fn filled(personality: Personality, repositories: &[&str]) -> FakeRegistry {
    let fake = FakeRegistry::start(personality);
    fill(&fake, repositories);
    fake
}

pub(crate) fn fill(fake: &FakeRegistry, repositories: &[&str]) {
    for repository in repositories {
        fake.push(repository, "keep", &image(&format!("{repository} keep"), 9));
        for day in 1..=3 {
            fake.push(repository, &format!("old-{day}"), &old(repository, day));
        }
    }
}

/// One of the images that [`fill`] makes to be deleted.
pub(crate) fn old(repository: &str, day: u32) -> Content {
    image(&format!("{repository} old {day}"), day)
}

/// The tags that lead somewhere.
pub(crate) fn tags(fake: &FakeRegistry, repository: &str) -> Vec<String> {
    fake.tags(repository).into_keys().collect()
}

/// Nothing has gone from a repository that [`fill`] filled.
#[track_caller]
pub(crate) fn assert_untouched(fake: &FakeRegistry, repository: &str, case: &str) {
    assert_eq!(tags(fake, repository), ["keep", "old-1", "old-2", "old-3"], "{case}");
    assert_eq!(fake.manifests(repository).len(), 4, "{case}");
}

/// Everything that expired has gone from a repository that [`fill`] filled, and nothing else.
#[track_caller]
pub(crate) fn assert_swept(fake: &FakeRegistry, repository: &str, case: &str) {
    assert_eq!(tags(fake, repository), ["keep"], "{case}");
    assert_eq!(fake.manifests(repository).len(), 1, "{case}");
}

/// The registry has exactly these manifests there.
#[track_caller]
pub(crate) fn assert_holds(fake: &FakeRegistry, repository: &str, contents: &[&Content]) {
    let expected = contents.iter().map(|content| content.digest.clone()).collect();
    assert_eq!(fake.manifests(repository), expected);
}

/// Repositories that failed, with the kind of failure.
pub(crate) fn failures(report: &RunReport) -> Vec<(&str, &str)> {
    report.failures.iter().map(|failure| (failure.repository.as_str(), failure.kind)).collect()
}

/// Digests that are gone because of the run, in its order.
pub(crate) fn deleted(report: &RunReport) -> Vec<&str> {
    report.deleted.iter().map(|deleted| deleted.digest.as_str()).collect()
}

/// What was left alone, with the reason.
pub(crate) fn skipped(report: &RunReport) -> Vec<(&str, &str)> {
    report.skipped.iter().map(|skipped| (skipped.digest.as_str(), skipped.why.as_str())).collect()
}

/// Why there was no run at all.
#[track_caller]
pub(crate) fn no_run(result: Result<RunReport, run::Error>) -> (&'static str, String) {
    match result {
        Ok(report) => panic!("there was a run: {report:?}"),
        Err(error) => (error.kind(), error.to_string()),
    }
}

/// An error in the words of the specification.
pub(crate) fn refusal(status: u16, code: &str) -> Canned {
    let body = format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"no\"}}]}}");
    Canned::status(status).header("content-type", "application/json").body(body)
}

/// What stands before a registry and is not one.
pub(crate) fn html(status: u16) -> Canned {
    Canned::status(status).header("content-type", "text/html").body("<html><h1>nginx</h1></html>")
}

/// A list of tags that the registry did not make.
pub(crate) fn list(repository: &str, tags: &[&str]) -> Canned {
    let body = serde_json::json!({ "name": repository, "tags": tags }).to_string();
    Canned::status(200).header("content-type", "application/json").body(body)
}

/// Answers the first request that this is true of, and no other.
pub(crate) fn once(
    wanted: impl Fn(&Request) -> bool + Send + 'static,
    answer: Canned,
) -> impl FnMut(&Request) -> Option<Canned> + Send + 'static {
    let mut answer = Some(answer);
    move |request| if wanted(request) { answer.take() } else { None }
}
