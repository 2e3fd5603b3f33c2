//! The work of the service: one job of a registry at a time, registries side by side, each told to the
//! state, the metrics and the page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::docker::DockerDefaults;
use super::generation::Generation;
use super::past;
use super::schedule::Job;
use crate::config::{self, Config, Env, GcSchedule};
use crate::engine::{
    self, Conducted, Limits, Means, Stop, collect, conduct, grace_ends, held_back, recover, survey, waits,
};
use crate::http::{Begun, Board, Clock, Entry, Run};
use crate::metrics::Metrics;
use crate::report::Collected;
use crate::state::{Filter, State};

/// A registry that could not be put back is tried again after this long.
const RECOVERY_PAUSE: Duration = Duration::from_secs(15);

/// What lives as long as the process.
pub(super) struct Service {
    pub(super) state: State,
    pub(super) metrics: Arc<Metrics>,
    pub(super) board: Board,
    pub(super) clock: Clock,
    pub(super) stop: Stop,
    pub(super) docker: DockerDefaults,
    /// Registries with a job under way.
    busy: Mutex<BTreeSet<String>>,
    /// Registries whose numbers have gone on from the state.
    announced: Mutex<BTreeSet<String>>,
    /// Registries whose collection the grace holds back, and until when.
    waiting: Mutex<BTreeMap<String, DateTime<Utc>>>,
    round: AtomicU64,
}

impl Service {
    pub(super) fn open(config: &Config, env: Env<'_>, clock: Clock) -> anyhow::Result<Arc<Self>> {
        let state = State::open(&config.state_dir)?;
        let revision = option_env!("REGSWEEP_REVISION").unwrap_or("unknown");
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), revision)?;
        let board = Board::default();
        // First, or what is remembered finds no registry that it was the last of.
        board.configured(config, clock());
        for entry in past::entries(&state)? {
            board.remember(entry);
        }
        Ok(Arc::new(Self {
            state,
            metrics: Arc::new(metrics),
            board,
            clock,
            stop: Stop::default(),
            docker: DockerDefaults::of(env),
            busy: Mutex::default(),
            announced: Mutex::default(),
            waiting: Mutex::default(),
            round: AtomicU64::new(1),
        }))
    }

    /// Makes a configuration known, and lets the numbers of its registries go on from the state.
    pub(super) fn announce(&self, generation: &Generation) -> anyhow::Result<()> {
        let now = (self.clock)();
        let config = &generation.config;
        for registry in &config.registries {
            let policies: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
            self.metrics.registry(&registry.name, &policies);
        }
        self.board.configured(config, now);
        self.metrics.config_reloaded(true, now);
        for registry in &config.registries {
            // Once: what happens from now on is counted as it happens, also after a reload.
            if lock(&self.announced).insert(registry.name.clone()) {
                let carried = past::carried(&self.state, &registry.name)?;
                self.metrics.carry_on(&registry.name, &carried);
                self.board.carry_on(&registry.name, &carried);
            }
            self.show_reclaimable(&registry.name);
            self.wait_for_grace(registry);
        }
        Ok(())
    }

    pub(super) fn reload_failed(&self, error: &str) {
        let now = (self.clock)();
        self.metrics.config_reloaded(false, now);
        self.board.reload_failed(error, now);
    }

    /// Shows no more of registries that are no longer configured.
    pub(super) fn forget(&self, before: &Generation, now: &Generation) {
        let gone = before.config.registries.iter().filter(|one| now.registry(&one.name).is_none());
        for registry in gone {
            self.metrics.forget(&registry.name);
        }
    }

    pub(super) fn next_run(&self, registry: &str, at: Option<DateTime<Utc>>) {
        self.metrics.next_run(registry, at);
        self.board.next_run(registry, at);
    }

    pub(super) fn next_round(&self) -> u64 {
        self.round.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        !lock(&self.busy).is_empty()
    }

    /// Begins a job, unless the registry has one under way: then it is counted and skipped.
    pub(super) fn begin(self: &Arc<Self>, generation: &Arc<Generation>, job: &Job) {
        let (Job::Run(name) | Job::Collect(name)) = job;
        let Some(turn) = Turn::take(self, name) else {
            tracing::warn!(registry = %name, "another job of this registry is under way, so this one is skipped");
            match job {
                Job::Run(_) => {
                    self.metrics.run_skipped(name);
                    self.board.remember(Entry::Run(Run::skipped(name, (self.clock)())));
                }
                Job::Collect(_) => {
                    let why = "another job of this registry was under way";
                    self.collected(name, self.skipped_collection(why));
                }
            }
            return;
        };
        let (service, generation, job) = (self.clone(), generation.clone(), job.clone());
        tokio::task::spawn_local(async move {
            match &job {
                Job::Run(name) => service.run(&generation, name).await,
                Job::Collect(name) => service.collect(&generation, name).await,
            }
            drop(turn);
        });
    }

    /// Begins runs that somebody asked for, where nothing else is under way.
    pub(super) fn begin_asked(self: &Arc<Self>, generation: &Arc<Generation>, only: Option<&str>) -> Begun {
        let mut begun = Begun::default();
        for registry in &generation.config.registries {
            let name = &registry.name;
            if only.is_some_and(|only| only != name) {
                continue;
            }
            if lock(&self.busy).contains(name) {
                begun.busy.push(name.clone());
            } else {
                tracing::info!(registry = %name, "a run was asked for");
                self.begin(generation, &Job::Run(name.clone()));
                begun.begun.push(name.clone());
            }
        }
        begun
    }

    /// Finishes what a process before this one left open, before anything else is done there.
    pub(super) fn recover(self: &Arc<Self>, generation: &Arc<Generation>) {
        match self.state.stopped() {
            Ok(stopped) => {
                for name in stopped.iter().filter(|name| generation.collector(name).is_none()) {
                    tracing::error!(
                        registry = %name,
                        "a collection stopped this registry and was cut off, and the configuration no longer says \
                         how to start it: start it by hand"
                    );
                }
            }
            Err(error) => tracing::error!(%error, "nobody knows what a process before this one left open"),
        }
        for registry in &generation.config.registries {
            let name = registry.name.clone();
            if generation.collector(&name).is_none() {
                continue;
            }
            let Some(turn) = Turn::take(self, &name) else { continue };
            let (service, generation) = (self.clone(), generation.clone());
            tokio::task::spawn_local(async move {
                service.recover_one(&generation, &name).await;
                drop(turn);
            });
        }
    }

    async fn recover_one(&self, generation: &Generation, name: &str) {
        loop {
            let (Some(site), Some(collector)) =
                (generation.site(name, (self.clock)(), &self.state), generation.collector(name))
            else {
                return;
            };
            match recover(site, collector, &self.state, &*self.clock).await {
                Ok(collected) => {
                    if let Some(collected) = collected {
                        self.collected(name, collected);
                    }
                    return;
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(
                        registry = name, %error,
                        "a collection was cut off and the registry cannot be put back: trying again"
                    );
                }
            }
            // Even when asked to stop: a registry that we stopped is not left behind for the sake of
            // leaving quickly, but not waited for endlessly either.
            if self.stop.is_requested() {
                return;
            }
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
    }

    /// Finds out whether a collection waits for the grace to end. Those that have a schedule of their own
    /// begin by that.
    fn wait_for_grace(&self, registry: &config::Registry) {
        let follows_runs = registry.gc.as_ref().is_some_and(|gc| matches!(gc.schedule, GcSchedule::AfterRun));
        match grace_ends(registry, &self.state) {
            Ok(until) => {
                self.board.collection_waits(&registry.name, until);
                let mut waiting = lock(&self.waiting);
                match until.filter(|_| follows_runs) {
                    Some(until) => waiting.insert(registry.name.clone(), until),
                    None => waiting.remove(&registry.name),
                };
            }
            Err(error) => tracing::error!(registry = %registry.name, %error, "the state cannot be read"),
        }
    }

    /// Begins the collections that have waited long enough.
    pub(super) fn begin_what_waited(self: &Arc<Self>, generation: &Arc<Generation>) {
        let now = (self.clock)();
        let mut begin = Vec::new();
        lock(&self.waiting).retain(|name, until| {
            let due = *until <= now && !lock(&self.busy).contains(name);
            if due {
                begin.push(name.clone());
            }
            !due
        });
        for name in begin {
            self.begin(generation, &Job::Collect(name));
        }
    }

    async fn run(&self, generation: &Generation, name: &str) {
        let begin = Instant::now();
        let at = (self.clock)();
        let Some(site) = generation.site(name, at, &self.state) else { return };
        self.board.run_began(name, at);
        let means = Means {
            state: &self.state,
            collector: generation.collector(name),
            limits: Limits::Respected,
            stop: &self.stop,
            clock: &*self.clock,
        };
        match conduct(site, &means, &()).await {
            Ok(Conducted { run, survey, report, collected, taken, .. }) => {
                self.up(name, true);
                self.metrics.surveyed(&survey.plan);
                self.metrics.run_finished(&report, taken, (self.clock)());
                self.board.planned(Arc::new(survey.plan));
                self.board.run_ended(Run { id: Some(run), ..Run::of(&report, at, taken) });
                tracing::info!(
                    registry = name,
                    outcome = report.outcome().name(),
                    deleted = report.deleted.len(),
                    untagged = report.untagged.len(),
                    failures = report.failures.len(),
                    refusals = report.refusals.len(),
                    seconds = taken.as_secs_f64(),
                    "the run ended"
                );
                if let Some(collected) = collected {
                    self.collected(name, collected);
                }
            }
            // The process is about to leave, and the next one begins anew.
            Err(error @ engine::Error::Stopped) => tracing::info!(registry = name, "{error}"),
            Err(error) => self.failed(name, &error, at, begin.elapsed()),
        }
        past::catch_up(self, name);
        self.show_reclaimable(name);
        self.wait_for_grace(site.registry);
    }

    fn failed(&self, name: &str, error: &engine::Error, at: DateTime<Utc>, taken: Duration) {
        tracing::error!(registry = name, kind = error.kind(), %error, "the run failed, and nothing was done");
        self.up(name, error.was_reached());
        self.metrics.run_failed(name, taken, (self.clock)());
        // Without a number it has no page of its own, and is told all the same.
        let newest = Filter { registry: Some(name.to_owned()), at_most: 1, ..Filter::default() };
        let noted = self.state.history(&newest).unwrap_or_default();
        let id = noted.first().map(|(run, _)| run).filter(|run| run.started == at).map(|run| run.id);
        self.board.run_ended(Run { id, ..Run::failed(name, &error.to_string(), at, taken) });
    }

    /// A collection by its own schedule. What must not be swept is found out first.
    async fn collect(&self, generation: &Generation, name: &str) {
        let at = (self.clock)();
        let (Some(site), Some(collector)) =
            (generation.site(name, at, &self.state), generation.collector(name))
        else {
            return;
        };
        match held_back(site.registry, &self.state, at) {
            Ok(None) => {}
            Ok(Some(until)) => {
                self.collected(name, waits(at, until));
                return self.wait_for_grace(site.registry);
            }
            Err(error) => {
                return tracing::error!(registry = name, %error, "the state cannot be read");
            }
        }
        let collected = match survey(site, &(), async |_| Ok(None)).await {
            Ok(_) if self.stop.is_requested() => Ok(self.skipped_collection("the service was stopped")),
            Ok(found) => {
                self.up(name, true);
                self.metrics.surveyed(&found.plan);
                let kept = found.kept;
                self.board.planned(Arc::new(found.plan));
                self.board.collection_began(name, at);
                collect(site, collector, &self.state, &kept, &self.stop, &*self.clock).await
            }
            Err(error) => {
                self.up(name, error.was_reached());
                Ok(self.skipped_collection(&format!("the registry could not be surveyed: {error}")))
            }
        };
        match collected {
            Ok(collected) => self.collected(name, collected),
            Err(error) => tracing::error!(registry = name, %error, "the collection cannot be noted"),
        }
        self.wait_for_grace(site.registry);
    }

    fn collected(&self, name: &str, collected: Collected) {
        self.metrics.collected(name, &collected);
        self.board.collected(name, collected);
        self.show_reclaimable(name);
    }

    fn skipped_collection(&self, why: &str) -> Collected {
        Collected::skipped((self.clock)(), why.to_owned())
    }

    fn up(&self, name: &str, up: bool) {
        self.metrics.up(name, up);
        self.board.up(name, up);
    }

    fn show_reclaimable(&self, name: &str) {
        match self.state.reclaimable(name) {
            Ok(bytes) => {
                self.metrics.reclaimable(name, bytes);
                self.board.reclaimable(name, bytes);
            }
            Err(error) => tracing::error!(registry = name, %error, "the state cannot be read"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to be the one job of a registry, given back when it is dropped, by a panic too.
struct Turn {
    service: Arc<Service>,
    registry: String,
}

impl Turn {
    fn take(service: &Arc<Service>, registry: &str) -> Option<Self> {
        let free = lock(&service.busy).insert(registry.to_owned());
        free.then(|| Self { service: service.clone(), registry: registry.to_owned() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.service.busy).remove(&self.registry);
    }
}
