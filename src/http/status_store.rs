//! The current status of the service: the daemon writes it, the web server reads it.
//!
//! It reads no clock and no state. A reader gets a consistent copy.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use url::Url;

use super::history_entry::{HistoryEntry, RunEntry};
use crate::config::{Config, Gc, GcSchedule};
use crate::policy::Mode;
use crate::report::{CollectionOutcome, CollectionReport, Outcome, PlanDocument};
use crate::state::{RegistrySummary, UnconfiguredRegistry};

/// Runs and collections in the history, of all registries together.
const HISTORY_LENGTH: usize = 200;

/// The status of the service. Clones share it.
#[derive(Clone, Default)]
pub struct StatusStore(Arc<RwLock<Arc<ServiceStatus>>>);

/// The status at one moment.
#[derive(Clone, Default)]
pub(super) struct ServiceStatus {
    pub(super) heartbeat: Option<DateTime<Utc>>,
    pub(super) configuration: Option<Configuration>,
    /// When and why the last attempt to load the configuration failed, if it did.
    pub(super) configuration_error: Option<(DateTime<Utc>, String)>,
    /// Registries that the state remembers and the configuration does not have.
    pub(super) unknown: Vec<UnconfiguredRegistry>,
    /// In the order of the configuration.
    pub(super) registries: Vec<RegistryStatus>,
    /// The latest entry first.
    pub(super) history: VecDeque<HistoryEntry>,
}

/// The active configuration.
#[derive(Clone)]
pub(super) struct Configuration {
    pub(super) loaded_at: DateTime<Utc>,
    pub(super) mode: Mode,
    /// The time zone of its days and schedules.
    pub(super) timezone: Tz,
}

/// The status of one registry.
#[derive(Clone)]
pub(super) struct RegistryStatus {
    pub(super) name: String,
    /// Without credentials.
    pub(super) url: String,
    /// Whether the registry answered the last request; `None` before the first.
    pub(super) up: Option<bool>,
    /// Why the registry is still stopped after a collection, if it is.
    pub(super) stopped: Option<String>,
    /// Whether the configuration has `gc` for it.
    pub(super) collects: bool,
    pub(super) running_since: Option<DateTime<Utc>>,
    pub(super) collecting_since: Option<DateTime<Utc>>,
    pub(super) next_run: Option<DateTime<Utc>>,
    /// The earliest start of the next collection.
    pub(super) next_collection: Option<DateTime<Utc>>,
    /// Whether collections follow runs instead of a schedule of their own.
    pub(super) collects_after_runs: bool,
    /// When the grace period of the deletions that wait for a collection ends, if there is one.
    pub(super) grace_ends: Option<DateTime<Utc>>,
    pub(super) last_run: Option<RunEntry>,
    pub(super) last_collection: Option<CollectionReport>,
    /// The last failed collection, until one succeeds or finds too little to free.
    pub(super) failed_collection: Option<CollectionReport>,
    /// Bytes that were deleted and that no collection of regsweep has freed.
    pub(super) uncollected_bytes: u64,
    pub(super) deleted_manifests: u64,
    pub(super) reclaimed_bytes: u64,
    /// The latest plan, with its result.
    pub(super) plan: Option<Arc<PlanDocument>>,
}

impl StatusStore {
    /// The main loop of the daemon runs.
    pub fn heartbeat(&self, now: DateTime<Utc>) {
        self.update(|status| status.heartbeat = Some(now));
    }

    /// A configuration became active. The status of registries that stay is kept.
    pub fn configured(&self, config: &Config, now: DateTime<Utc>) {
        self.update(|status| {
            status.configuration =
                Some(Configuration { loaded_at: now, mode: config.mode, timezone: config.timezone });
            status.configuration_error = None;
            let mut old = std::mem::take(&mut status.registries);
            for registry in &config.registries {
                let url = without_credentials(&registry.url);
                let known = match old.iter().position(|known| known.name == registry.name) {
                    Some(position) => old.swap_remove(position),
                    None => RegistryStatus::new(&registry.name, url.clone(), &status.history),
                };
                // At a new address it has not been asked yet.
                let up = known.up.filter(|_| known.url == url);
                let after_runs = |gc: &Gc| matches!(gc.schedule, GcSchedule::AfterRun);
                status.registries.push(RegistryStatus {
                    url,
                    up,
                    collects: registry.gc.is_some(),
                    collects_after_runs: registry.gc.as_ref().is_some_and(after_runs),
                    ..known
                });
            }
        });
    }

    /// Registries that the state remembers and the configuration does not have.
    pub fn unknown(&self, unknown: Vec<UnconfiguredRegistry>) {
        self.update(|status| status.unknown = unknown);
    }

    /// Renames registries, from the first name of each pair to the second. Call it before [`StatusStore::configured`].
    pub fn renamed(&self, names: &[(String, String)]) {
        let rename = |name: &mut String| {
            if let Some((_, new)) = names.iter().find(|(old, _)| old == name) {
                name.clone_from(new);
            }
        };
        self.update(|status| {
            status.registries.iter_mut().for_each(|registry| rename(&mut registry.name));
            status.history.iter_mut().for_each(|entry| match entry {
                HistoryEntry::Run(run) => rename(&mut run.registry),
                HistoryEntry::Collection { registry, .. } => rename(registry),
            });
        });
    }

    /// A configuration could not be loaded; the previous one, if any, stays active.
    pub fn reload_failed(&self, error: &str, now: DateTime<Utc>) {
        self.update(|status| status.configuration_error = Some((now, error.to_owned())));
    }

    /// Continues with a registry from the state: after a restart, or because its name or address has changed. What is
    /// known already stays.
    pub fn restore(
        &self,
        name: &str,
        summary: &RegistrySummary,
        run: Option<RunEntry>,
        collected: Option<CollectionReport>,
    ) {
        self.raise_deleted(name, summary);
        self.registry(name, |registry| {
            registry.reclaimed_bytes = registry.reclaimed_bytes.max(summary.reclaimed_bytes);
            registry.last_run = registry.last_run.take().or(run);
            registry.last_collection = registry.last_collection.take().or(collected);
            let failed = registry.last_collection.as_ref().filter(|collection| {
                collection.outcome == CollectionOutcome::Failed
                    && summary.last_collection_succeeded == Some(false)
            });
            registry.failed_collection = registry.failed_collection.take().or(failed.cloned());
            if summary.last_collection_succeeded == Some(true) {
                registry.failed_collection = None;
            }
        });
    }

    /// Adds deletions that a later run has confirmed.
    pub fn raise_deleted(&self, registry: &str, summary: &RegistrySummary) {
        let all = summary.deleted.values().map(|count| count.manifests).sum::<u64>();
        self.registry(registry, |registry| registry.deleted_manifests = registry.deleted_manifests.max(all));
    }

    /// Adds an entry to the history. Add the latest last.
    pub fn add_entry(&self, entry: HistoryEntry) {
        self.update(|status| status.add_entry(entry));
    }

    /// Whether the registry answered.
    pub fn up(&self, registry: &str, up: bool) {
        self.registry(registry, |registry| registry.up = Some(up));
    }

    /// Why the registry is still stopped after a collection; `None` once it runs again.
    pub fn stopped(&self, registry: &str, why: Option<&str>) {
        self.registry(registry, |registry| registry.stopped = why.map(str::to_owned));
    }

    /// The start of the next run; `None` if none is scheduled.
    pub fn next_run(&self, registry: &str, at: Option<DateTime<Utc>>) {
        self.registry(registry, |registry| registry.next_run = at);
    }

    /// The earliest start of the next collection; `None` if none is scheduled.
    pub fn next_collection(&self, registry: &str, at: Option<DateTime<Utc>>) {
        self.registry(registry, |registry| registry.next_collection = at);
    }

    /// A run started.
    pub fn run_started(&self, registry: &str, now: DateTime<Utc>) {
        self.registry(registry, |registry| registry.running_since = Some(now));
    }

    /// Sets the latest plan of a registry, with its result.
    pub fn planned(&self, plan: PlanDocument) {
        let name = plan.registry.clone();
        self.registry(&name, |registry| registry.plan = Some(Arc::new(plan)));
    }

    /// A run ended. For a skipped run use [`StatusStore::add_entry`]: the other run still runs.
    pub fn run_ended(&self, run: RunEntry) {
        self.registry(&run.registry, |registry| {
            registry.running_since = None;
            registry.deleted_manifests += u64::try_from(run.deleted).unwrap_or_default();
        });
        self.add_entry(HistoryEntry::Run(run));
    }

    /// A collection started.
    pub fn collection_started(&self, registry: &str, now: DateTime<Utc>) {
        self.registry(registry, |registry| registry.collecting_since = Some(now));
    }

    /// A collection ended or was skipped.
    pub fn collected(&self, registry: &str, collected: CollectionReport) {
        self.registry(registry, |registry| {
            registry.collecting_since = None;
            if collected.outcome != CollectionOutcome::Skipped {
                registry.reclaimed_bytes += collected.bytes;
            }
        });
        self.add_entry(HistoryEntry::Collection { registry: registry.to_owned(), collected });
    }

    /// A collection found too little to free. It would have been possible, so an earlier failure is over.
    pub fn collection_below_minimum(&self, registry: &str) {
        self.registry(registry, |registry| registry.failed_collection = None);
    }

    /// When the grace period of the deletions that wait for a collection ends, if there is one.
    pub fn grace_ends(&self, registry: &str, until: Option<DateTime<Utc>>) {
        self.registry(registry, |registry| registry.grace_ends = until);
    }

    /// Sets the bytes that were deleted and that no collection of regsweep has freed.
    pub fn uncollected(&self, registry: &str, bytes: u64) {
        self.registry(registry, |registry| registry.uncollected_bytes = bytes);
    }

    pub(super) fn status(&self) -> Arc<ServiceStatus> {
        // An update that panics leaves a usable status.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut ServiceStatus)) {
        change(Arc::make_mut(&mut self.0.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Changes the status of a registry, if it is in the configuration.
    fn registry(&self, name: &str, change: impl FnOnce(&mut RegistryStatus)) {
        self.update(|status| {
            if let Some(registry) = status.registries.iter_mut().find(|registry| registry.name == name) {
                change(registry);
            }
        });
    }
}

impl ServiceStatus {
    fn add_entry(&mut self, entry: HistoryEntry) {
        if let Some(registry) = self.registries.iter_mut().find(|registry| registry.name == entry.registry())
        {
            registry.apply(&entry);
        }
        // In the order of their starts: a long run may end after others that started later.
        let place = self.history.iter().take_while(|other| other.at() > entry.at()).count();
        self.history.insert(place, entry);
        self.history.truncate(HISTORY_LENGTH);
    }
}

impl RegistryStatus {
    /// Bytes that the next collection can free.
    pub(super) fn reclaimable_bytes(&self) -> u64 {
        if self.collects { self.uncollected_bytes } else { 0 }
    }

    /// Bytes that no collection of regsweep will free, because the registry has no `gc`. Whether something else has freed
    /// them is unknown.
    pub(super) fn uncollectable_bytes(&self) -> u64 {
        if self.collects { 0 } else { self.uncollected_bytes }
    }

    /// Makes an entry the last run or the last collection.
    fn apply(&mut self, entry: &HistoryEntry) {
        match entry {
            HistoryEntry::Run(run) if run.outcome != Outcome::Skipped => self.last_run = Some(run.clone()),
            HistoryEntry::Run(_) => {}
            HistoryEntry::Collection { collected, .. } => {
                self.last_collection = Some(collected.clone());
                match collected.outcome {
                    CollectionOutcome::Success => self.failed_collection = None,
                    CollectionOutcome::Failed => self.failed_collection = Some(collected.clone()),
                    CollectionOutcome::Skipped => {}
                }
            }
        }
    }

    /// A registry that is new in the configuration, or that was removed and is back. `history` has the latest entry first.
    fn new(name: &str, url: String, history: &VecDeque<HistoryEntry>) -> Self {
        let mut new = Self {
            name: name.to_owned(),
            url,
            up: None,
            stopped: None,
            collects: false,
            running_since: None,
            collecting_since: None,
            next_run: None,
            next_collection: None,
            collects_after_runs: false,
            grace_ends: None,
            last_run: None,
            last_collection: None,
            failed_collection: None,
            uncollected_bytes: 0,
            deleted_manifests: 0,
            reclaimed_bytes: 0,
            plan: None,
        };
        history.iter().rev().filter(|entry| entry.registry() == name).for_each(|entry| new.apply(entry));
        new
    }
}

fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.into()
}
