//! What all parts of the service share: the state, the metrics, the status, and which jobs run.
//!
//! It starts no job and knows none of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::active_config::ActiveConfig;
use super::collection_times::CollectionTimes;
use super::history;
use super::job_queue::JobQueues;
use super::reachability::Reachability;
use super::undo_queue::UndoQueue;
use crate::config::{self, Config, DockerDefaults, Env};
use crate::gc::CollectionLocks;
use crate::http::{Clock, StatusStore};
use crate::metrics::Metrics;
use crate::report::CollectionReport;
use crate::run::{Cancellation, RegistryContext};
use crate::state::State;

/// Lives as long as the process.
pub(super) struct Service {
    pub(super) state: State,
    pub(super) metrics: Arc<Metrics>,
    pub(super) status_store: StatusStore,
    pub(super) clock: Clock,
    pub(super) cancellation: Cancellation,
    pub(super) docker: DockerDefaults,
    /// For the collections of all configurations that were ever active.
    pub(super) collection_locks: CollectionLocks,
    pub(super) jobs: Mutex<JobQueues>,
    pub(super) undos: Mutex<UndoQueue>,
    pub(super) reachability: Mutex<Reachability>,
    pub(super) collections: Mutex<CollectionTimes>,
    active: Mutex<Option<Arc<ActiveConfig>>>,
}

impl Service {
    /// Opens the state and shows what it knows.
    pub(super) fn open(config: &Config, env: Env<'_>, clock: Clock) -> anyhow::Result<Arc<Self>> {
        let state = State::open(&config.state_dir)?;
        // Before the history is read, which has the former names of renamed registries.
        state.adopt_names(config)?;
        let revision = option_env!("REGSWEEP_REVISION").unwrap_or("unknown");
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), revision)?;
        let status_store = StatusStore::default();
        // Before the entries, which also set the last run and collection of their registry.
        status_store.configured(config, clock());
        for entry in history::entries(&state, config)? {
            status_store.add_entry(entry);
        }
        Ok(Arc::new(Self {
            state,
            metrics: Arc::new(metrics),
            status_store,
            clock,
            cancellation: Cancellation::default(),
            docker: DockerDefaults::of(env),
            collection_locks: CollectionLocks::default(),
            jobs: Mutex::default(),
            undos: Mutex::default(),
            reachability: Mutex::default(),
            collections: Mutex::default(),
            active: Mutex::default(),
        }))
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// The active configuration; `None` before the first one.
    pub(super) fn active(&self) -> Option<Arc<ActiveConfig>> {
        lock(&self.active).clone()
    }

    /// Makes this configuration the active one.
    pub(super) fn set_active(&self, active: &Arc<ActiveConfig>) {
        *lock(&self.active) = Some(active.clone());
    }

    /// Whether the active configuration has this registry.
    pub(super) fn has_registry(&self, name: &str) -> bool {
        self.active().is_some_and(|active| active.registry(name).is_some())
    }

    /// What a run needs to know of a registry.
    pub(super) fn registry_context<'a>(
        &'a self,
        active: &'a ActiveConfig,
        name: &str,
        now: DateTime<Utc>,
    ) -> Option<RegistryContext<'a>> {
        active.registry_context(name, now, &self.state, &self.clock)
    }

    /// Whether a job of this registry is running.
    pub(super) fn is_busy(&self, name: &str) -> bool {
        lock(&self.jobs).is_busy(name)
    }

    /// Whether no job is running.
    pub(super) fn is_idle(&self) -> bool {
        lock(&self.jobs).is_idle()
    }

    /// Sets whether a registry answers.
    pub(super) fn set_up(&self, name: &str, up: bool) {
        lock(&self.reachability).set_up(name, up, self.now());
        self.metrics.up(name, up);
        self.status_store.up(name, up);
    }

    /// Sets why a registry is stopped after a collection; `None` once it runs. A registry that has left the configuration
    /// is not shown.
    pub(super) fn set_stopped(&self, name: &str, why: Option<&str>) {
        if self.has_registry(name) {
            self.metrics.stopped(name, why.is_some());
            self.status_store.stopped(name, why);
        }
    }

    /// Counts a collection that ended or was skipped.
    pub(super) fn record_collection(&self, name: &str, report: CollectionReport) {
        self.metrics.collected(name, &report);
        self.status_store.collected(name, report);
        self.show_reclaimable(name);
    }

    /// Shows a configuration that could not become active.
    pub(super) fn record_failed_reload(&self, error: &str) {
        self.metrics.config_reloaded(false, self.now());
        self.status_store.reload_failed(error, self.now());
    }

    /// Shows the bytes that were deleted and not collected, as the active configuration counts them.
    pub(super) fn show_reclaimable(&self, name: &str) {
        let active = self.active();
        if let Some(registry) = active.as_deref().and_then(|active| active.registry(name)) {
            self.show_reclaimable_of(registry);
        }
    }

    /// Shows the bytes of a registry that were deleted and not collected.
    pub(super) fn show_reclaimable_of(&self, registry: &config::Registry) {
        let name = registry.name.as_str();
        match self.state.reclaimable(name) {
            Ok(bytes) => {
                self.status_store.uncollected(name, bytes);
                if registry.gc.is_some() {
                    self.metrics.reclaimable(name, bytes);
                } else {
                    self.metrics.uncollected(name, bytes);
                }
            }
            Err(error) => tracing::error!(registry = name, %error, "the state cannot be read"),
        }
    }
}

/// Locks a part of the service. Every update leaves it in a valid state, so a panic elsewhere does not matter.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
