//! A registry with something to keep and something to delete, a fault proxy before it, and regsweep.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use regsweep::config::{Config, parse};
use regsweep::gc::{CollectionLocks, Collector};
use regsweep::registry::{Reader, Retry};
use regsweep::report::{Answer, JournalEntry, Outcome, RunReport};
use regsweep::run::{self, Cancellation, LimitMode, RegistryContext, RunOptions, RunResult};
use regsweep::state::{Filter, State};

use crate::support::contents::{expected_content, stored_manifests};
use crate::support::fault_proxy::{Fault, FaultProxy, ProxiedRequest};
use crate::support::image::{ACCEPT_ALL, Artifact, Content, Image, Index, digest, signature_tag};
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::OLD_TAGS_EXPIRE;

/// Tries and waits that cost a test little time.
pub(crate) const FAST_RETRY: Retry = Retry {
    attempts: 5,
    initial_backoff: Duration::from_millis(2),
    max_backoff: Duration::from_secs(2),
    outage_timeout: Duration::from_secs(30),
    open_duration: Duration::from_secs(2),
};

/// The path of the deletion by which a run finds out whether it may delete.
const PROBE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(crate) struct Scenario {
    pub(crate) faults: FaultProxy,
    pub(crate) reader: Reader,
    pub(crate) state: State,
    registry: Mutex<RealRegistry>,
    config: Config,
    collector: Option<Collector>,
    /// What stays: repository, tag, content.
    kept: Vec<(&'static str, String, Content)>,
    before: BTreeSet<String>,
    _folder: tempfile::TempDir,
}

/// When everything happens.
fn now() -> DateTime<Utc> {
    "2026-06-17T12:00:00Z".parse().unwrap()
}

fn image(name: &str) -> Content {
    Image::new(name).created("2020-01-01T00:00:00Z").layer("base").layer(name).build()
}

/// Whether this is the deletion of a manifest that may be there.
pub(crate) fn deletes(seen: &ProxiedRequest) -> bool {
    seen.method == "DELETE" && !seen.path.contains(PROBE)
}

impl Scenario {
    pub(crate) fn new() -> Self {
        Self::with("", FAST_RETRY)
    }

    /// With these lines more about the registry, and this retry.
    pub(crate) fn with(lines: &str, retry: Retry) -> Self {
        let registry = RealRegistry::start();
        let faults = FaultProxy::before(&registry.host(), |_| Fault::None);
        let shared = image("shared");
        let index = Index::oci().child(&image("amd64")).child(&shared).build();
        let kept_index = Index::oci().child(&shared).child(&image("arm64")).build();
        let signature = Artifact::signature(&index.digest).build();
        let kept = vec![
            ("app", "keep".to_owned(), image("keep")),
            ("app", "keep-index".to_owned(), kept_index),
            ("web", "keep".to_owned(), image("keep")),
        ];
        let mut store = registry.store();
        for (repository, tag, content) in &kept {
            store.write(repository, &[tag], content);
        }
        store.write("app", &["old-1"], &image("one"));
        store.write("app", &["old-2", "old-too"], &image("two"));
        store.write("app", &["old-index"], &index);
        store.write("app", &[&signature_tag(&index.digest)], &signature);
        store.write("web", &["old-1"], &image("one"));
        store.write("web", &["old-3"], &image("three"));
        let before = stored_manifests(&registry);
        let folder = tempfile::tempdir().unwrap();
        let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!(
            "mode: enforce\nstate_dir: {}\nregistries:\n  - name: main\n    url: {}\n    \
             tls: {{ insecure_skip_verify: true }}\n{lines}{OLD_TAGS_EXPIRE}",
            folder.path().join("state").display(),
            faults.url(),
        );
        let config = parse(&text, "f", &|_| None).unwrap_or_else(|error| panic!("{error}"));
        let reader = Reader::new(&config.registries[0], retry, Arc::new(())).unwrap();
        let state = State::open(&config.state_dir).unwrap();
        let gc = config.registries[0].gc.as_ref();
        let collector =
            gc.map(|gc| Collector::new(gc, "unix:///nowhere", None, &CollectionLocks::default()).unwrap());
        let registry = Mutex::new(registry);
        Self { faults, reader, state, registry, config, collector, kept, before, _folder: folder }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, RealRegistry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registry_context(&self) -> RegistryContext<'_> {
        let (registry, now) = (&self.config.registries[0], now());
        let (config, reader, state) = (&self.config, &self.reader, Some(&self.state));
        RegistryContext { config, registry, reader, now, only: None, state, clock: &self::now }
    }

    /// A run, whatever comes of it.
    pub(crate) async fn run(&self) -> Result<RunResult, run::Error> {
        let (limits, cancellation) = (LimitMode::Enforced, Cancellation::default());
        let (state, collector) = (&self.state, self.collector.as_ref());
        run::run(
            self.registry_context(),
            &RunOptions { state, collector, limits, cancellation: &cancellation, clock: &now },
            &(),
        )
        .await
    }

    /// A run that comes to its end.
    pub(crate) async fn report(&self) -> RunReport {
        self.run().await.unwrap_or_else(|error| panic!("{error}: {:#?}", self.faults.log())).report
    }

    /// Runs until one does everything.
    pub(crate) async fn run_until_done(&self) {
        while !self.run().await.is_ok_and(|done| done.report.outcome() == Outcome::Success) {}
    }

    /// `repository@digest` of what is gone.
    pub(crate) fn gone(&self) -> BTreeSet<String> {
        let left = stored_manifests(&self.registry());
        self.before.difference(&left).cloned().collect()
    }

    /// `repository@digest` of what is to go.
    pub(crate) fn to_delete(&self) -> BTreeSet<String> {
        let kept = self.kept.iter().flat_map(|(repository, _, content)| {
            content.tree().into_iter().map(move |part| format!("{repository}@{}", part.digest))
        });
        let kept: BTreeSet<String> = kept.collect();
        self.before.difference(&kept).cloned().collect()
    }

    /// The journal, the first deletion first.
    pub(crate) fn journal(&self) -> Vec<JournalEntry> {
        let mut runs = self.state.history(&Filter::default()).unwrap();
        runs.reverse();
        runs.into_iter().flat_map(|(_, entries)| entries).collect()
    }

    /// Nothing is gone that should stay, and nothing is noted that was not done. What was done and is not
    /// noted as done is open.
    pub(crate) async fn assert_sound(&self, case: &str) {
        let gone = self.gone();
        assert!(gone.is_subset(&self.to_delete()), "{case}: {gone:#?}");
        let journal = self.journal();
        let of = |answer: Answer| -> Vec<String> {
            let entries = journal.iter().filter(|entry| entry.answer == answer);
            entries.map(|entry| format!("{}@{}", entry.repository, entry.digest)).collect()
        };
        let (noted, open) = (of(Answer::Deleted), of(Answer::Pending));
        let once: BTreeSet<String> = noted.iter().cloned().collect();
        assert_eq!(once.len(), noted.len(), "{case}: each is noted once: {noted:#?}");
        assert!(once.is_subset(&gone), "{case}: {once:#?} of {gone:#?}");
        let unnoted: BTreeSet<&String> = gone.difference(&once).collect();
        assert!(unnoted.iter().all(|one| open.contains(one)), "{case}: {unnoted:#?} of {open:#?}");
        let counted: u64 = self.state.runs(1000).unwrap().iter().map(|run| run.deleted).sum();
        assert_eq!(counted, noted.len() as u64, "{case}");
        let deleted = journal.iter().filter(|entry| entry.answer == Answer::Deleted);
        let bytes: u64 = deleted.map(|entry| entry.bytes).sum();
        if self.collector.is_none() {
            assert_eq!(self.state.reclaimable("main").unwrap(), bytes, "{case}");
        }
        self.assert_all_pullable(case).await;
    }

    /// All that stays can be had, byte for byte.
    async fn assert_all_pullable(&self, case: &str) {
        let url = self.registry().url();
        let client = reqwest::Client::new();
        let get = async |path: String| {
            let answer = client.get(format!("{url}/v2/{path}")).header("accept", ACCEPT_ALL).send().await;
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 200, "{case}: {path}");
            answer.bytes().await.unwrap().to_vec()
        };
        for (repository, tag, content) in &self.kept {
            let tagged = get(format!("{repository}/manifests/{tag}")).await;
            assert_eq!(tagged, content.manifest, "{case}: {repository}:{tag}");
            for part in content.tree() {
                assert_eq!(
                    get(format!("{repository}/manifests/{}", part.digest)).await,
                    part.manifest,
                    "{case}"
                );
                for blob in &part.blobs {
                    assert_eq!(get(format!("{repository}/blobs/{}", digest(blob))).await, *blob, "{case}");
                }
            }
        }
    }

    /// Everything that was to go has gone, and is noted once. The registry's own log says nothing else: it has
    /// each deletion once, but may lack those that it was killed in the middle of.
    pub(crate) async fn assert_swept(&self, case: &str) {
        self.assert_sound(case).await;
        assert_eq!(self.gone(), self.to_delete(), "{case}");
        for repository in ["app", "web"] {
            let kept = self.kept.iter().filter(|(one, ..)| *one == repository);
            let kept: Vec<(&str, &Content)> = kept.map(|(_, tag, content)| (tag.as_str(), content)).collect();
            assert_eq!(
                self.registry().store().repository(repository),
                expected_content(&kept),
                "{case}: {repository}"
            );
        }
        let journal = self.journal();
        assert!(journal.iter().all(|entry| entry.answer == Answer::Deleted), "{case}: {journal:#?}");
        let noted = journal.iter().map(|entry| format!("{}@{}", entry.repository, entry.digest));
        let noted: BTreeSet<String> = noted.collect();
        assert_eq!(noted, self.to_delete(), "{case}");
        let logged = self.logged();
        let once: BTreeSet<String> = logged.iter().cloned().collect();
        assert_eq!(once.len(), logged.len(), "{case}: the registry deleted each once: {logged:#?}");
        if self.registry().was_killed() {
            assert!(once.is_subset(&noted), "{case}: {once:#?} of {noted:#?}");
        } else {
            assert_eq!(once, noted, "{case}");
        }
    }

    /// `repository@digest` of each deletion that the registry has confirmed.
    pub(crate) fn logged(&self) -> Vec<String> {
        let done = self.registry().mutating_requests().into_iter().filter(|logged| logged.status == 202);
        done.map(|logged| logged.path.trim_start_matches("/v2/").replace("/manifests/", "@")).collect()
    }

    /// The next run, without faults.
    pub(crate) async fn run_without_faults(&self, case: &str) -> RunReport {
        self.faults.refuse_connections(false);
        self.faults.stop_faults();
        let report = self.report().await;
        assert_eq!(report.outcome(), Outcome::Success, "{case}: {report:?}");
        self.assert_swept(case).await;
        report
    }

    /// Waits until so many of the requests that have come are such.
    pub(crate) async fn wait_for(&self, count: usize, such: impl Fn(&str, &str) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.faults.log().iter().filter(|one| such(&one.method, &one.path)).count() < count {
            assert!(Instant::now() < until, "they do not come: {:#?}", self.faults.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
