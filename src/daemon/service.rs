//! The work of the service: one job of a registry at a time, registries side by side, each told to the
//! state, the metrics and the page.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::active_config::ActiveConfig;
use super::attempts::Attempts;
use super::contacts::Contacts;
use super::docker::DockerDefaults;
use super::jobs::{Jobs, Turn, Work};
use super::past;
use super::recovery::CUT_OFF;
use super::schedule::Job;
use super::undo::Wish;
use crate::config::{self, Config, Env, GcSchedule};
use crate::gc::CollectionLocks;
use crate::http::{Clock, HistoryEntry, RunEntry, StartedRuns, StatusStore};
use crate::metrics::Metrics;
use crate::policy::Mode;
use crate::report::{CollectionReport, moment};
use crate::run::{LimitMode, Stop};
use crate::state::State;

/// What lives as long as the process.
pub(super) struct Service {
    pub(super) state: State,
    pub(super) metrics: Arc<Metrics>,
    pub(super) status_store: StatusStore,
    pub(super) clock: Clock,
    pub(super) stop: Stop,
    pub(super) docker: DockerDefaults,
    /// Of all collections, also of those that an earlier configuration began.
    pub(super) collection_locks: CollectionLocks,
    /// What is under way in each registry, and what waits for that.
    pub(super) jobs: Mutex<Jobs>,
    /// By registry, the undos that wait for their turn.
    pub(super) undos: Mutex<BTreeMap<String, VecDeque<Wish>>>,
    /// Whether registries answer between their runs.
    pub(super) contacts: Mutex<Contacts>,
    /// By registry, what came of the last collection.
    pub(super) attempts: Mutex<BTreeMap<String, Attempts>>,
    /// Registries whose collection begins by itself, and when.
    pub(super) waiting: Mutex<BTreeMap<String, DateTime<Utc>>>,
    /// By registry, when its schedules begin something next.
    pub(super) upcoming: Mutex<BTreeMap<String, Upcoming>>,
    /// The configuration in force.
    active: Mutex<Option<Arc<ActiveConfig>>>,
}

/// When the schedules of a registry begin something next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Upcoming {
    pub(super) run: Option<DateTime<Utc>>,
    /// A collection by a schedule of its own.
    pub(super) collection: Option<DateTime<Utc>>,
}

impl Service {
    pub(super) fn open(config: &Config, env: Env<'_>, clock: Clock) -> anyhow::Result<Arc<Self>> {
        let state = State::open(&config.state_dir)?;
        // First, or what is remembered has the names of before.
        state.adopt_names(config)?;
        let revision = option_env!("REGSWEEP_REVISION").unwrap_or("unknown");
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), revision)?;
        let status_store = StatusStore::default();
        // First, or what is remembered finds no registry that it was the last of.
        status_store.configured(config, clock());
        for entry in past::entries(&state, config)? {
            status_store.add_entry(entry);
        }
        Ok(Arc::new(Self {
            state,
            metrics: Arc::new(metrics),
            status_store,
            clock,
            stop: Stop::default(),
            docker: DockerDefaults::of(env),
            collection_locks: CollectionLocks::default(),
            jobs: Mutex::default(),
            undos: Mutex::default(),
            contacts: Mutex::default(),
            attempts: Mutex::default(),
            waiting: Mutex::default(),
            upcoming: Mutex::default(),
            active: Mutex::default(),
        }))
    }

    /// Makes a configuration known, and lets the numbers of its registries go on from the state.
    pub(super) fn announce(&self, active: &ActiveConfig) -> anyhow::Result<()> {
        let now = (self.clock)();
        let config = &active.config;
        let before = self.current();
        self.take_names(config)?;
        for registry in &config.registries {
            let policies: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
            self.metrics.registry(&registry.name, &policies);
            lock(&self.contacts).configured(&registry.name, now);
        }
        self.status_store.configured(config, now);
        self.metrics.config_reloaded(true, now);
        for registry in &config.registries {
            // Of one that was here before, what happens is counted as it happens. One that has another name or place
            // now, or has come back, is known from the state.
            let before = before.as_ref().and_then(|before| before.registry(&registry.name));
            if before.is_none_or(|before| before.url != registry.url) {
                past::go_on(self, &registry.name)?;
                if self.state.recovery_log(&registry.name).is_stopped()? {
                    self.metrics.stopped(&registry.name, true);
                    self.status_store.stopped(&registry.name, Some(CUT_OFF));
                }
            }
            self.metrics.run_timeout(&registry.name, longest(registry));
            self.show_reclaimable_of(registry);
            self.arm_collection(config, registry);
        }
        Ok(())
    }

    pub(super) fn reload_failed(&self, error: &str) {
        let now = (self.clock)();
        self.metrics.config_reloaded(false, now);
        self.status_store.reload_failed(error, now);
    }

    /// Shows no more of registries that are no longer configured.
    pub(super) fn forget(&self, before: &ActiveConfig, now: &ActiveConfig) {
        for registry in &before.config.registries {
            let name = &registry.name;
            match now.registry(name) {
                None => self.metrics.remove(name),
                // Nobody has asked that one yet.
                Some(other) if other.url != registry.url => self.metrics.up_unknown(name),
                Some(_) => continue,
            }
            lock(&self.contacts).forget(name);
            if now.registry(name).is_some() {
                lock(&self.contacts).configured(name, (self.clock)());
            }
        }
    }

    /// Shows no more of a registry that has left the configuration while something was under way there.
    fn forget_if_gone(&self, name: &str) {
        if self.current().is_some_and(|active| active.registry(name).is_none()) {
            self.metrics.remove(name);
            lock(&self.contacts).forget(name);
        }
    }

    /// Shows when a schedule of this configuration begins something next; `None` if it does not.
    pub(super) fn next_time(&self, active: &ActiveConfig, job: &Job, at: Option<DateTime<Utc>>) {
        let (Job::Run(name) | Job::Collect(name)) = job;
        let upcoming = {
            let mut all = lock(&self.upcoming);
            let upcoming = all.entry(name.clone()).or_default();
            match job {
                Job::Run(_) => upcoming.run = at,
                Job::Collect(_) => upcoming.collection = at,
            }
            *upcoming
        };
        self.metrics.next_run(name, upcoming.run);
        self.status_store.next_run(name, upcoming.run);
        if let Some(registry) = active.registry(name) {
            self.show_next_collection(&active.config, registry);
        }
    }

    /// From now on this configuration is in force.
    pub(super) fn put_in_force(&self, active: &Arc<ActiveConfig>) {
        *lock(&self.active) = Some(active.clone());
    }

    /// The configuration in force.
    pub(super) fn current(&self) -> Option<Arc<ActiveConfig>> {
        lock(&self.active).clone()
    }

    pub(super) fn is_busy(&self) -> bool {
        !lock(&self.jobs).is_idle()
    }

    /// Begins a job, or lets it wait for its turn. One of whose kind there is already one is counted and skipped.
    pub(super) fn begin(self: &Arc<Self>, job: &Job) {
        let (name, work) = match job {
            Job::Run(name) => (name, Work::Run(LimitMode::Enforced)),
            Job::Collect(name) => (name, Work::Collect),
        };
        let turn = self.begin_work(name, work);
        match (turn, work) {
            (Turn::Now, _) | (_, Work::Recover | Work::Undo) => {}
            (Turn::Later, _) => tracing::info!(
                registry = %name, ?work, "another job of this registry is under way, so this one waits for its turn"
            ),
            (Turn::UnderWay | Turn::Waiting(_), Work::Run(_)) => {
                tracing::warn!(registry = %name, "another run of this registry is under way or waits, so this one is skipped");
                self.metrics.run_skipped(name);
                self.status_store.add_entry(HistoryEntry::Run(RunEntry::skipped(name, (self.clock)())));
            }
            (Turn::UnderWay, Work::Collect) => {
                self.skip_collection(name, "another collection of this registry was under way");
            }
            (Turn::Waiting(since), Work::Collect) => {
                tracing::warn!(
                    registry = %name, since = moment(since),
                    "a collection of this registry still waits for its turn and is due again: its runs take longer than \
                     the time between two collections"
                );
                self.skip_collection(name, "another collection of this registry waits for its turn");
            }
        }
    }

    fn skip_collection(&self, name: &str, why: &str) {
        self.collected(name, CollectionReport::skipped((self.clock)(), why.to_owned()));
    }

    /// Begins this now if nothing is under way in the registry, and with it what waits when it has ended.
    pub(super) fn begin_work(self: &Arc<Self>, name: &str, work: Work) -> Turn {
        let turn = lock(&self.jobs).due(name, work, (self.clock)());
        if turn == Turn::Now {
            lock(&self.contacts).busy(name, (self.clock)());
            let place = Place { service: self.clone(), registry: name.to_owned() };
            tokio::task::spawn_local(async move {
                let (service, name) = (&place.service, &place.registry);
                let mut work = Some(work);
                while let (Some(one), Some(active)) = (work, service.current()) {
                    match one {
                        Work::Run(limits) => service.run(&active, name, limits).await,
                        Work::Collect => service.collect(&active, name).await,
                        Work::Recover => service.bring_back(name, None).await,
                        Work::Undo => service.undo(&active, name).await,
                    }
                    service.forget_if_gone(name);
                    // Once the service is to stop nothing begins any more.
                    work = lock(&service.jobs).next(name).filter(|_| !service.stop.is_requested());
                }
            });
        }
        turn
    }

    /// Begins runs that somebody asked for, where nothing else is under way.
    pub(super) fn begin_asked(
        self: &Arc<Self>,
        active: &ActiveConfig,
        only: Option<&str>,
        limits: LimitMode,
    ) -> StartedRuns {
        let mut begun = StartedRuns::default();
        for registry in &active.config.registries {
            let name = &registry.name;
            if only.is_some_and(|only| only != name) {
                continue;
            }
            if lock(&self.jobs).is_busy(name) {
                begun.busy.push(name.clone());
            } else {
                let overridden = limits == LimitMode::Overridden;
                tracing::info!(registry = %name, limits_overridden = overridden, "a run was asked for");
                self.begin_work(name, Work::Run(limits));
                begun.started.push(name.clone());
            }
        }
        begun
    }

    /// Where nothing is ever deleted, registries of which there is no plan yet are planned at once: whoever has just
    /// set this up wants to see what it would do.
    pub(super) fn look_first(self: &Arc<Self>, active: &ActiveConfig) {
        if active.config.mode != Mode::Plan {
            return;
        }
        for registry in &active.config.registries {
            match self.state.last_plan(&registry.name) {
                Ok(None) if !lock(&self.jobs).is_busy(&registry.name) => {
                    tracing::info!(registry = %registry.name, "there is no plan of it yet, so it is planned now");
                    self.begin_work(&registry.name, Work::Run(LimitMode::Enforced));
                }
                Ok(_) => {}
                Err(error) => tracing::error!(registry = %registry.name, %error, "the state cannot be read"),
            }
        }
    }

    pub(super) fn up(&self, name: &str, up: bool) {
        lock(&self.contacts).heard(name, up, (self.clock)());
        self.metrics.up(name, up);
        self.status_store.up(name, up);
    }

    /// Shows what has been deleted and not been collected, by the configuration that is in force now.
    pub(super) fn show_reclaimable(&self, name: &str) {
        let active = self.current();
        if let Some(registry) = active.as_deref().and_then(|one| one.registry(name)) {
            self.show_reclaimable_of(registry);
        }
    }

    fn show_reclaimable_of(&self, registry: &config::Registry) {
        let name = registry.name.as_str();
        match self.state.reclaimable(name) {
            Ok(bytes) => {
                self.status_store.uncollected(name, bytes);
                if registry.gc.is_some() {
                    self.metrics.reclaimable(name, bytes);
                } else {
                    // Nothing waits there: whether something else has freed it, nobody tells us.
                    self.metrics.uncollected(name, bytes);
                }
            }
            Err(error) => tracing::error!(registry = name, %error, "the state cannot be read"),
        }
    }
}

/// How long a run, and the collection that follows it, may take.
fn longest(registry: &config::Registry) -> Duration {
    let follows = registry.gc.as_ref().filter(|gc| matches!(gc.schedule, GcSchedule::AfterRun));
    registry.run_timeout.saturating_add(follows.map_or(Duration::ZERO, |gc| gc.timeout))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to work in a registry, given back when it is dropped, by a panic too.
struct Place {
    service: Arc<Service>,
    registry: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.service.jobs).leave(&self.registry);
    }
}
