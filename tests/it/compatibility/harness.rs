//! A registry with a configuration, and the operations of regsweep on it.
//!
//! In all these tests, tags that begin with `old` expire, and all others are kept.

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

/// Every server whose features are known without a test deletion and without credentials. The others are in
/// `products.rs`.
pub(crate) const EVERY: [Personality; 5] =
    [Personality::V2_8, Personality::V3_0, Personality::V3_1, Personality::Oci11, Personality::Zot];

/// Retries that take no time in a test.
pub(crate) const QUICK: Retry = Retry {
    attempts: 3,
    initial_backoff: Duration::from_millis(1),
    max_backoff: Duration::from_millis(20),
    outage_timeout: Duration::from_millis(200),
    open_duration: Duration::from_millis(200),
};

/// A configuration for one registry, and a reader for it.
pub(crate) struct Case {
    pub(crate) config: Config,
    pub(crate) reader: Reader,
    pub(crate) cancellation: Cancellation,
    pub(crate) state: State,
    clock: Box<Clock>,
    _folder: tempfile::TempDir,
}

/// The time of everything in these tests.
pub(crate) fn now() -> DateTime<Utc> {
    "2026-06-17T12:00:00Z".parse().unwrap()
}

impl Case {
    /// With the default configuration for this registry.
    pub(crate) fn of(fake: &FakeRegistry) -> Self {
        Self::with(fake, "")
    }

    /// With more lines about the registry, such as `concurrency: 3`.
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

    /// With another clock than [`now`].
    pub(crate) fn at(mut self, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// With other retries.
    pub(crate) fn with_retry(mut self, retry: Retry) -> Self {
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

    /// Reads and plans; the plans contain kept images, too.
    pub(crate) async fn plans(&self) -> Vec<RepositoryPlan> {
        let watcher = Watcher::default();
        scan_and_plan(self.registry_context(), &watcher, async |_| Ok(None)).await.unwrap();
        watcher.0.into_inner().unwrap()
    }

    /// Reads one repository: the number of its manifests.
    pub(crate) async fn inspect(&self, repository: &str) -> usize {
        let repository = RepositoryName::parse(repository).unwrap();
        inspect(self.registry_context(), &repository).await.unwrap().0.manifests.len()
    }

    /// Carries out a plan.
    pub(crate) async fn apply(&self, scanned: &ScannedPlan, limits: LimitMode) -> RunReport {
        let run = self.state.begin_run("main", now()).unwrap();
        let journal = Journal { state: &self.state, registry: "main", run, clock: &now };
        let options = ApplyOptions { limits, stop: &self.cancellation.runs, deadline: None };
        apply(self.registry_context(), scanned, &self.reader.deleter(), journal, options, &()).await
    }

    /// Reads, plans and carries out the plan.
    pub(crate) async fn run(&self) -> Result<RunReport, run::Error> {
        let scanned = self.scan_and_plan().await?;
        Ok(self.apply(&scanned, LimitMode::Enforced).await)
    }

    /// Restores what a run deleted.
    pub(crate) async fn undo(&self, run: i64) -> Vec<UndoneEntry> {
        undo(self.registry_context(), &self.state, run, None, &now).await.unwrap()
    }

    /// A run as the service does it, which first tests what the registry supports.
    pub(crate) async fn full_run(&self) -> Result<RunReport, run::Error> {
        self.full_run_with(None).await
    }

    /// The same, with a collector.
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

/// Keeps every plan.
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
    // Reading the system's certificates takes longer than a run, and nothing is encrypted here.
    let tls = "    tls: { insecure_skip_verify: true }\n";
    format!(
        "mode: enforce\n{protect}{limits}{top}\nregistries:\n  - name: main\n    url: {url}\n{tls}{registry}\
         policies:\n  - name: all\n    repositories: '.*'\n    exclude: 'idle/.*'\n    rules:\n\
         \x20     - {{ name: old, tags: 'old.*', keep: none }}\n      - {{ name: rest, tags: '.*', keep: all }}\n"
    )
}

/// An image that is unique for its name, created on this day of January.
pub(crate) fn image(name: &str, day: u32) -> Content {
    Image::new(name).created(format!("2026-01-{day:02}T00:00:00Z")).build()
}

/// A registry with these repositories, each of which has `keep` and `old-1` to `old-3`, which are to be deleted in
/// that order.
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

/// One of the expired images of [`fill`].
pub(crate) fn old(repository: &str, day: u32) -> Content {
    image(&format!("{repository} old {day}"), day)
}

/// The tags that point to a manifest.
pub(crate) fn tags(fake: &FakeRegistry, repository: &str) -> Vec<String> {
    fake.tags(repository).into_keys().collect()
}

/// Asserts that nothing was deleted from a repository that [`fill`] filled.
#[track_caller]
pub(crate) fn assert_untouched(fake: &FakeRegistry, repository: &str, case: &str) {
    assert_eq!(tags(fake, repository), ["keep", "old-1", "old-2", "old-3"], "{case}");
    assert_eq!(fake.manifests(repository).len(), 4, "{case}");
}

/// Asserts that exactly the expired images were deleted from a repository that [`fill`] filled.
#[track_caller]
pub(crate) fn assert_expired_deleted(fake: &FakeRegistry, repository: &str, case: &str) {
    assert_eq!(tags(fake, repository), ["keep"], "{case}");
    assert_eq!(fake.manifests(repository).len(), 1, "{case}");
}

/// Asserts that a repository has exactly these manifests.
#[track_caller]
pub(crate) fn assert_holds(fake: &FakeRegistry, repository: &str, contents: &[&Content]) {
    let expected = contents.iter().map(|content| content.digest.clone()).collect();
    assert_eq!(fake.manifests(repository), expected);
}

/// The repositories that failed, with the kind of failure.
pub(crate) fn failures(report: &RunReport) -> Vec<(&str, &str)> {
    report.failures.iter().map(|failure| (failure.repository.as_str(), failure.kind)).collect()
}

/// The digests that the run deleted, in its order.
pub(crate) fn deleted(report: &RunReport) -> Vec<&str> {
    report.deleted.iter().map(|deleted| deleted.digest.as_str()).collect()
}

/// The images that were skipped, with the reason.
pub(crate) fn skipped(report: &RunReport) -> Vec<(&str, &str)> {
    report.skipped.iter().map(|skipped| (skipped.digest.as_str(), skipped.why.as_str())).collect()
}

/// The error of a run that could not begin.
#[track_caller]
pub(crate) fn no_run(result: Result<RunReport, run::Error>) -> (&'static str, String) {
    match result {
        Ok(report) => panic!("there was a run: {report:?}"),
        Err(error) => (error.kind(), error.to_string()),
    }
}

/// An error as the specification defines it.
pub(crate) fn refusal(status: u16, code: &str) -> Canned {
    let body = format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"no\"}}]}}");
    Canned::status(status).header("content-type", "application/json").body(body)
}

/// The answer of a proxy.
pub(crate) fn html(status: u16) -> Canned {
    Canned::status(status).header("content-type", "text/html").body("<html><h1>nginx</h1></html>")
}

/// A list of tags that does not match the registry.
pub(crate) fn list(repository: &str, tags: &[&str]) -> Canned {
    let body = serde_json::json!({ "name": repository, "tags": tags }).to_string();
    Canned::status(200).header("content-type", "application/json").body(body)
}

/// Answers only the first request that matches.
pub(crate) fn once(
    wanted: impl Fn(&Request) -> bool + Send + 'static,
    answer: Canned,
) -> impl FnMut(&Request) -> Option<Canned> + Send + 'static {
    let mut answer = Some(answer);
    move |request| if wanted(request) { answer.take() } else { None }
}
