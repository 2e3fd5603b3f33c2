//! A service with some history, and the web server that shows it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use regsweep::config::{self, Config};
use regsweep::http::{Admin, HistoryEntry, RunEntry, ServerLimits, StatusStore, router, serve};
use regsweep::metrics::Metrics;
use regsweep::model::{Blob, Digest, Facts, Kind, Manifest, RepositoryName, Snapshot, Tag, TagDeletion};
use regsweep::plan::{Failure, Intent, Plan, PlanContext, plan};
use regsweep::report::{CollectionOutcome, CollectionReport, Deleted, PlanDocument, RunReport};
use regsweep::state::{DeletedCount, RegistrySummary, State};
use reqwest::Response;
use serde_json::Value;

/// The text that a hostile registry sends wherever it can.
pub(crate) const HOSTILE: &str = "</li><script>alert('x')</script>\"onload=\"&amp;";

pub(crate) fn now() -> DateTime<Utc> {
    "2026-06-17T12:00:00Z".parse().unwrap()
}

/// Two registries and a policy that keeps pull requests for 14 days.
pub(crate) fn config(mode: &str) -> Config {
    let text = format!(
        r"
mode: {mode}
registries:
  - name: main
    url: https://registry.example.com/
    gc: {{ docker: {{ container: registry }} }}
  - name: edge & co
    url: http://edge.example.com:5000/
policies:
  - name: apps
    repositories: ['team/.*']
    rules:
      - name: pull-requests
        tags: 'pr-\d+'
        keep: {{ newer_than: 14d }}
"
    );
    config::parse(&text, "config.yaml", &|_| None).unwrap()
}

/// A plan for a repository with so many images, one made each day; those of the last 14 days stay.
pub(crate) fn plan_of(config: &Config, registry: &str, images: usize) -> Plan {
    let mut snapshot = Snapshot::empty(RepositoryName::parse("team/app").unwrap());
    let base = Blob { digest: Digest::of(b"base"), size: 80_000_000 };
    for number in 0..images {
        let digest = Digest::of(number.to_string().as_bytes());
        let layer = Blob { digest: Digest::of(format!("layer {number}").as_bytes()), size: 31_457_280 };
        let created = now() - TimeDelta::days(i64::try_from(number).unwrap()) - TimeDelta::hours(3);
        snapshot.manifests.insert(
            digest.clone(),
            Manifest {
                digest: digest.clone(),
                kind: Kind::Image,
                size: 1000,
                children: Vec::new(),
                subject: None,
                blobs: vec![base.clone(), layer],
                facts: Facts::Known { created: Some(created), labels: Default::default() },
            }
            .into(),
        );
        snapshot.tags.insert(Tag::parse(&format!("pr-{}", 1000 - number)).unwrap(), digest);
    }
    snapshot.dangling_tags.insert(HOSTILE.to_owned());
    let context = PlanContext {
        now: now() - TimeDelta::hours(3),
        timezone: config.timezone,
        protect: &config.protect,
        tag_deletion: TagDeletion::Unsupported,
        parents_deleted: &std::collections::BTreeSet::new(),
    };
    let one = plan(&snapshot, &Intent::Policy(config.policies[0].clone()), &context);
    let failure = Failure {
        repository: RepositoryName::parse("team/web").unwrap(),
        kind: "server",
        error: format!("GET https://registry.example.com/v2/team/web/tags/list: 500 {HOSTILE}"),
    };
    Plan::new(registry, context.now, vec![one], vec![failure], &config.limits)
}

/// The status of a service that has run for a while: one registry is healthy, the other is not.
pub(crate) fn status_store(config: &Config) -> StatusStore {
    let status_store = StatusStore::default();
    status_store.configured(config, now() - TimeDelta::days(3));
    status_store.heartbeat(now());
    let deleted = [("apps".to_owned(), DeletedCount { manifests: 4182, tags: 4300 })].into();
    let summary = RegistrySummary { deleted, reclaimed_bytes: 181_193_932_800, ..RegistrySummary::default() };
    status_store.restore("main", &summary, None, None);
    for (days, outcome) in [(9, CollectionOutcome::Success), (2, CollectionOutcome::Success)] {
        let error = None;
        status_store.add_entry(HistoryEntry::Run(RunEntry::of(
            &report(config, 12, days),
            now() - TimeDelta::days(days),
            TAKEN,
        )));
        status_store.collected("main", collected(outcome, days, error));
    }
    status_store.add_entry(HistoryEntry::Run(RunEntry::skipped("main", now() - TimeDelta::days(1))));
    let plan = plan_of(config, "main", 80);
    let report = RunReport { applied: false, ..RunReport::of_plan(&plan) };
    status_store.up("main", true);
    status_store.planned(PlanDocument::of(&plan));
    status_store.run_ended(RunEntry::of(&report, now() - TimeDelta::hours(3), TAKEN));
    status_store.next_run("main", Some(now() + TimeDelta::hours(21)));
    status_store.uncollected("main", 9_663_676_416);
    status_store.up("edge & co", false);
    status_store.run_ended(RunEntry::failed(
        "edge & co",
        &format!("GET http://edge.example.com:5000/v2/: connection refused {HOSTILE}"),
        now() - TimeDelta::hours(1),
        Duration::from_millis(320),
    ));
    status_store.next_run("edge & co", Some(now() + TimeDelta::minutes(30)));
    status_store.uncollected("edge & co", 5_368_709_120);
    let error = Some(format!("no such container {HOSTILE}"));
    status_store.collected("edge & co", collected(CollectionOutcome::Failed, 1, error));
    status_store
}

const TAKEN: Duration = Duration::from_secs(48);

pub(crate) fn report(config: &Config, deleted: usize, days: i64) -> RunReport {
    let plan = plan_of(config, "main", 20);
    let gone = |planned: &regsweep::plan::Planned| Deleted {
        repository: plan.repositories[0].repository.clone(),
        digest: planned.digest.clone(),
        tags: planned.tags.clone(),
        policy: "apps".into(),
        bytes: planned.frees,
        already_gone: false,
    };
    RunReport {
        applied: true,
        now: now() - TimeDelta::days(days),
        deleted: plan.repositories[0].deletions().take(deleted).map(gone).collect(),
        failures: Vec::new(),
        ..RunReport::of_plan(&plan)
    }
}

pub(crate) fn collected(outcome: CollectionOutcome, days: i64, error: Option<String>) -> CollectionReport {
    let success = outcome == CollectionOutcome::Success;
    CollectionReport {
        at: now() - TimeDelta::days(days),
        outcome,
        duration: Duration::from_secs(95),
        downtime: Duration::from_millis(if success { 41_500 } else { 0 }),
        blobs: if success { 210 } else { 0 },
        bytes: if success { 6_442_450_944 } else { 0 },
        error,
    }
}

/// The metrics of the same service.
pub(crate) fn metrics(config: &Config) -> Metrics {
    let metrics = Metrics::new("0.1.0", "abcdef0").unwrap();
    metrics.config_reloaded(true, now());
    for registry in &config.registries {
        metrics.registry(&registry.name, &["apps"]);
    }
    let plan = plan_of(config, "main", 80);
    metrics.planned(&PlanDocument::of(&plan));
    metrics.run_finished(&report(config, 6, 0), TAKEN, now());
    metrics.run_failed("edge & co", TAKEN, now());
    metrics.collected("main", &collected(CollectionOutcome::Success, 1, None));
    metrics.observer("main").request_finished("GET", Some(200), Duration::from_millis(3));
    metrics.up("main", true);
    metrics.run_timeout("main", Duration::from_secs(43_200));
    metrics.reclaimable("main", 9_663_676_416);
    metrics.next_collection("main", Some(now()));
    metrics.uncollected("edge & co", 1000);
    metrics
}

/// Serves them on a free port at the time [`now`], and returns the URL. The state is empty.
pub(crate) async fn start(status_store: StatusStore, metrics: Metrics) -> String {
    start_with(status_store, metrics).await.0
}

/// The same, with the state.
pub(crate) async fn start_with(status_store: StatusStore, metrics: Metrics) -> (String, State) {
    start_for(status_store, metrics, Admin::new().0).await
}

/// The same, with these admin routes.
pub(crate) async fn start_for(status_store: StatusStore, metrics: Metrics, admin: Admin) -> (String, State) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let router = router(status_store, Arc::new(metrics), state.clone(), admin, Arc::new(now));
    tokio::spawn(async move {
        let _folder = folder;
        serve(listener, router, ServerLimits::default(), std::future::pending()).await
    });
    (format!("http://{address}"), state)
}

pub(crate) async fn busy() -> String {
    let config = config("enforce");
    start(status_store(&config), metrics(&config)).await
}

/// A service without problems, and its status store.
pub(crate) async fn healthy() -> (String, StatusStore) {
    let status_store = StatusStore::default();
    status_store.configured(&config("enforce"), now());
    status_store.heartbeat(now());
    (start(status_store.clone(), Metrics::new("0.1.0", "").unwrap()).await, status_store)
}

pub(crate) async fn get(url: &str) -> Response {
    reqwest::get(url).await.unwrap()
}

pub(crate) async fn json(url: &str) -> Value {
    get(url).await.json().await.unwrap()
}
