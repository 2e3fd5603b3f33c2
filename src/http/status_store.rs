//! What is known of the service at this moment: the daemon writes it, the web server reads it.
//!
//! It holds what it was told and reads no clock. A reader gets the whole of one moment.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use url::Url;

use super::entry::{Entry, Run};
use crate::config::{Config, Gc, GcSchedule};
use crate::metrics::Carried;
use crate::policy::Mode;
use crate::report::{CollectionOutcome, CollectionReport, Outcome, PlanDocument};
use crate::state::UnconfiguredRegistry;

/// Runs and collections that are remembered, of all registries together.
const REMEMBERED: usize = 200;

/// The state of the service. Clones are the same status_store.
#[derive(Clone, Default)]
pub struct StatusStore(Arc<RwLock<Arc<State>>>);

/// Everything that was known at one moment.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) heartbeat: Option<DateTime<Utc>>,
    pub(super) configuration: Option<Configuration>,
    /// Why the last attempt to read the configuration failed, if it did.
    pub(super) configuration_error: Option<(DateTime<Utc>, String)>,
    /// Registries that the state remembers and the configuration does not have.
    pub(super) unknown: Vec<UnconfiguredRegistry>,
    /// In the order of the configuration.
    pub(super) registries: Vec<Registry>,
    /// The latest first.
    pub(super) history: VecDeque<Entry>,
}

/// The configuration in force.
#[derive(Clone)]
pub(super) struct Configuration {
    pub(super) loaded_at: DateTime<Utc>,
    pub(super) mode: Mode,
    /// Where its days begin.
    pub(super) timezone: Tz,
}

/// What is known of one registry.
#[derive(Clone)]
pub(super) struct Registry {
    pub(super) name: String,
    /// Without credentials.
    pub(super) url: String,
    /// Whether it answered when it was last asked; `None` before that.
    pub(super) up: Option<bool>,
    /// Why it is still down after a collection that stopped it, if it is.
    pub(super) stopped: Option<String>,
    /// Whether the configuration says how we collect it.
    pub(super) collects: bool,
    pub(super) running_since: Option<DateTime<Utc>>,
    pub(super) collecting_since: Option<DateTime<Utc>>,
    pub(super) next_run: Option<DateTime<Utc>>,
    /// When the next collection begins at the earliest.
    pub(super) next_collection: Option<DateTime<Utc>>,
    /// Whether collections follow runs, rather than a schedule of their own.
    pub(super) collects_after_runs: bool,
    /// When the grace of the deletions that wait for a collection ends, if there is one.
    pub(super) collection_waits: Option<DateTime<Utc>>,
    pub(super) last_run: Option<Run>,
    pub(super) last_collection: Option<CollectionReport>,
    /// The last collection that failed, as long as none has succeeded since or found too little to free.
    pub(super) failed_collection: Option<CollectionReport>,
    /// Deleted, and not collected by us.
    pub(super) uncollected_bytes: u64,
    pub(super) deleted_manifests: u64,
    pub(super) reclaimed_bytes: u64,
    /// The latest plan, with what came of it.
    pub(super) plan: Option<Arc<PlanDocument>>,
}

impl StatusStore {
    /// The loop of the daemon answers.
    pub fn beat(&self, now: DateTime<Utc>) {
        self.update(|state| state.heartbeat = Some(now));
    }

    /// A configuration is in force. What is known of registries that stay is kept.
    pub fn configured(&self, config: &Config, now: DateTime<Utc>) {
        self.update(|state| {
            state.configuration =
                Some(Configuration { loaded_at: now, mode: config.mode, timezone: config.timezone });
            state.configuration_error = None;
            let mut old = std::mem::take(&mut state.registries);
            for registry in &config.registries {
                let url = without_credentials(&registry.url);
                let known = match old.iter().position(|known| known.name == registry.name) {
                    Some(position) => old.swap_remove(position),
                    None => Registry::new(&registry.name, url.clone(), &state.history),
                };
                // Nobody has asked it yet at another address.
                let up = known.up.filter(|_| known.url == url);
                let after_runs = |gc: &Gc| matches!(gc.schedule, GcSchedule::AfterRun);
                state.registries.push(Registry {
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
        self.update(|state| state.unknown = unknown);
    }

    /// These registries have other names now: the old one and the new one of each. Before [`StatusStore::configured`].
    pub fn renamed(&self, names: &[(String, String)]) {
        let rename = |name: &mut String| {
            if let Some((_, new)) = names.iter().find(|(old, _)| old == name) {
                name.clone_from(new);
            }
        };
        self.update(|state| {
            state.registries.iter_mut().for_each(|registry| rename(&mut registry.name));
            state.history.iter_mut().for_each(|entry| match entry {
                Entry::Run(run) => rename(&mut run.registry),
                Entry::Collection { registry, .. } => rename(registry),
            });
        });
    }

    /// A configuration could not be used; the one before it, if any, stays in force.
    pub fn reload_failed(&self, error: &str, now: DateTime<Utc>) {
        self.update(|state| state.configuration_error = Some((now, error.to_owned())));
    }

    /// What the state knows of a registry that is new here: as after a restart, or because it has another name or
    /// address now. What is known already stays.
    pub fn carry_on(
        &self,
        name: &str,
        carried: &Carried,
        run: Option<Run>,
        collected: Option<CollectionReport>,
    ) {
        self.catch_up(name, carried);
        self.registry(name, |registry| {
            registry.reclaimed_bytes = registry.reclaimed_bytes.max(carried.reclaimed_bytes);
            registry.last_run = registry.last_run.take().or(run);
            registry.last_collection = registry.last_collection.take().or(collected);
            let failed = registry.last_collection.as_ref().filter(|one| {
                one.outcome == CollectionOutcome::Failed && carried.last_collection_succeeded == Some(false)
            });
            registry.failed_collection = registry.failed_collection.take().or(failed.cloned());
            if carried.last_collection_succeeded == Some(true) {
                registry.failed_collection = None;
            }
        });
    }

    /// Shows deletions that a later run found out to have happened.
    pub fn catch_up(&self, registry: &str, carried: &Carried) {
        let all = carried.deleted.values().map(|count| count.manifests).sum::<u64>();
        self.registry(registry, |registry| registry.deleted_manifests = registry.deleted_manifests.max(all));
    }

    /// Something that happened before the restart. The latest comes last.
    pub fn remember(&self, entry: Entry) {
        self.update(|state| state.remember(entry));
    }

    /// Whether the registry answered.
    pub fn up(&self, registry: &str, up: bool) {
        self.registry(registry, |registry| registry.up = Some(up));
    }

    /// A collection has stopped the registry, and this stands in the way of its coming back; `None` once it is
    /// back.
    pub fn stopped(&self, registry: &str, why: Option<&str>) {
        self.registry(registry, |registry| registry.stopped = why.map(str::to_owned));
    }

    /// When the next run begins; `None` if none is scheduled.
    pub fn next_run(&self, registry: &str, at: Option<DateTime<Utc>>) {
        self.registry(registry, |registry| registry.next_run = at);
    }

    /// When the next collection begins at the earliest; `None` if none is scheduled.
    pub fn next_collection(&self, registry: &str, at: Option<DateTime<Utc>>) {
        self.registry(registry, |registry| registry.next_collection = at);
    }

    /// A run is under way.
    pub fn run_began(&self, registry: &str, now: DateTime<Utc>) {
        self.registry(registry, |registry| registry.running_since = Some(now));
    }

    /// This is the latest plan of a registry, with what came of it.
    pub fn planned(&self, plan: PlanDocument) {
        let name = plan.registry.clone();
        self.registry(&name, |registry| registry.plan = Some(Arc::new(plan)));
    }

    /// A run ended. For one that was skipped use [`StatusStore::remember`]: the other one goes on.
    pub fn run_ended(&self, run: Run) {
        self.registry(&run.registry, |registry| {
            registry.running_since = None;
            registry.deleted_manifests += u64::try_from(run.deleted).unwrap_or_default();
        });
        self.remember(Entry::Run(run));
    }

    /// A collection is under way.
    pub fn collection_began(&self, registry: &str, now: DateTime<Utc>) {
        self.registry(registry, |registry| registry.collecting_since = Some(now));
    }

    /// A collection ended, or did not begin.
    pub fn collected(&self, registry: &str, collected: CollectionReport) {
        self.registry(registry, |registry| {
            registry.collecting_since = None;
            if collected.outcome != CollectionOutcome::Skipped {
                registry.reclaimed_bytes += collected.bytes;
            }
        });
        self.remember(Entry::Collection { registry: registry.to_owned(), collected });
    }

    /// A collection found too little to free. So it could have been made, and what failed before is mended.
    pub fn collection_not_worth_it(&self, registry: &str) {
        self.registry(registry, |registry| registry.failed_collection = None);
    }

    /// The deletions that wait for a collection have a grace until then, if they do.
    pub fn collection_waits(&self, registry: &str, until: Option<DateTime<Utc>>) {
        self.registry(registry, |registry| registry.collection_waits = until);
    }

    /// So many bytes have been deleted and not been collected by us, whether we ever will or not.
    pub fn uncollected(&self, registry: &str, bytes: u64) {
        self.registry(registry, |registry| registry.uncollected_bytes = bytes);
    }

    pub(super) fn state(&self) -> Arc<State> {
        // Updates cannot panic half-way into something that would harm a reader.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(Arc::make_mut(&mut self.0.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Changes what is known of a registry; one that has left the configuration is nobody's business.
    fn registry(&self, name: &str, change: impl FnOnce(&mut Registry)) {
        self.update(|state| {
            if let Some(registry) = state.registries.iter_mut().find(|registry| registry.name == name) {
                change(registry);
            }
        });
    }
}

impl State {
    fn remember(&mut self, entry: Entry) {
        if let Some(registry) = self.registries.iter_mut().find(|registry| registry.name == entry.registry())
        {
            registry.note(&entry);
        }
        // The youngest first, by their beginnings: a long run ends after others that began later.
        let place = self.history.iter().take_while(|other| other.at() > entry.at()).count();
        self.history.insert(place, entry);
        self.history.truncate(REMEMBERED);
    }
}

impl Registry {
    /// What waits for a collection of ours.
    pub(super) fn reclaimable_bytes(&self) -> u64 {
        if self.collects { self.uncollected_bytes } else { 0 }
    }

    /// What no collection of ours will free. Whether something else has, nobody tells us.
    pub(super) fn left_to_others_bytes(&self) -> u64 {
        if self.collects { 0 } else { self.uncollected_bytes }
    }

    /// What happens there last is what it shows.
    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Run(run) if run.outcome != Outcome::Skipped => self.last_run = Some(run.clone()),
            Entry::Run(_) => {}
            Entry::Collection { collected, .. } => {
                self.last_collection = Some(collected.clone());
                match collected.outcome {
                    CollectionOutcome::Success => self.failed_collection = None,
                    CollectionOutcome::Failed => self.failed_collection = Some(collected.clone()),
                    CollectionOutcome::Skipped => {}
                }
            }
        }
    }

    /// One that was not here before, or was taken out of the configuration meanwhile. `history` is the youngest first.
    fn new(name: &str, url: String, history: &VecDeque<Entry>) -> Self {
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
            collection_waits: None,
            last_run: None,
            last_collection: None,
            failed_collection: None,
            uncollected_bytes: 0,
            deleted_manifests: 0,
            reclaimed_bytes: 0,
            plan: None,
        };
        history.iter().rev().filter(|entry| entry.registry() == name).for_each(|entry| new.note(entry));
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
