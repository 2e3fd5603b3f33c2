//! The collections of the service that no run makes: by a schedule of their own, when a grace ends, and when one
//! that failed is tried again.

use std::sync::Arc;

use super::active_config::ActiveConfig;
use super::attempts::{Attempts, End, Waiting, earliest};
use super::schedule::Job;
use super::service::{Service, lock};
use crate::config::{self, Config, Gc, GcSchedule};
use crate::policy::Mode;
use crate::report::{CollectionOutcome, CollectionReport, PlanDocument};
use crate::run::{
    Blocked, GraceMode, RegistryContext, RetainedDigests, blocked, collect, grace_ends, scan_and_plan,
    store_plan,
};
use crate::state;

/// Why a collection did not begin: for people, and what that is for the next one, unless it is nothing.
type NotBegun = (String, Option<End>);

impl Service {
    /// Finds out when the next collection begins by itself after something that has ended, by the configuration that
    /// is in force now.
    pub(super) fn arm_next_collection(&self, name: &str) {
        let active = self.current();
        let registry = active.as_deref().and_then(|one| Some((&one.config, one.registry(name)?)));
        if let Some((config, registry)) = registry {
            self.arm_collection(config, registry);
        }
    }

    /// The same for all registries.
    pub(super) fn arm_collections(&self, active: &ActiveConfig) {
        active.config.registries.iter().for_each(|registry| self.arm_collection(&active.config, registry));
    }

    /// Finds out when a collection begins by itself. Those that have a schedule of their own begin by that.
    pub(super) fn arm_collection(&self, config: &Config, registry: &config::Registry) {
        match self.next_collection(config, registry) {
            Ok(Some(at)) => drop(lock(&self.waiting).insert(registry.name.clone(), at)),
            Ok(None) => drop(lock(&self.waiting).remove(&registry.name)),
            Err(error) => tracing::error!(registry = %registry.name, %error, "the state cannot be read"),
        }
        self.show_next_collection(config, registry);
    }

    /// Shows when a collection begins at the earliest.
    pub(super) fn show_next_collection(&self, config: &Config, registry: &config::Registry) {
        let name = registry.name.as_str();
        let Some(gc) = &registry.gc else { return self.status_store.next_collection(name, None) };
        let upcoming = lock(&self.upcoming).get(name).copied().unwrap_or_default();
        let at = match gc.schedule {
            _ if config.mode == Mode::Plan => None,
            GcSchedule::Cron(_) => upcoming.collection,
            GcSchedule::AfterRun => earliest(lock(&self.waiting).get(name).copied(), upcoming.run, gc.grace),
        };
        self.metrics.next_collection(name, at);
        self.status_store.next_collection(name, at);
    }

    fn next_collection(
        &self,
        config: &Config,
        registry: &config::Registry,
    ) -> Result<Option<chrono::DateTime<chrono::Utc>>, state::Error> {
        self.status_store.grace_ends(&registry.name, grace_ends(registry, &self.state)?);
        let follows_runs = |gc: &&Gc| matches!(gc.schedule, GcSchedule::AfterRun);
        let Some(gc) = registry.gc.as_ref().filter(follows_runs).filter(|_| config.mode == Mode::Enforce)
        else {
            return Ok(None);
        };
        let Some(youngest) = self.state.youngest_waiting(&registry.name)? else { return Ok(None) };
        let attempts = lock(&self.attempts).get(&registry.name).copied().unwrap_or_default();
        Ok(attempts.next(Waiting { youngest, grace: gc.grace }, (self.clock)()))
    }

    /// Begins the collections that have waited long enough.
    pub(super) fn begin_what_waited(self: &Arc<Self>) {
        let now = (self.clock)();
        let mut begin = Vec::new();
        lock(&self.waiting).retain(|name, until| {
            let due = *until <= now && !lock(&self.jobs).is_busy(name);
            if due {
                begin.push(name.clone());
            }
            !due
        });
        for name in begin {
            self.begin(&Job::Collect(name));
        }
    }

    /// A collection that no run makes.
    pub(super) async fn collect(&self, active: &ActiveConfig, name: &str) {
        let at = (self.clock)();
        let (Some(context), Some(collector)) =
            (active.registry_context(name, at, self), active.collector(name))
        else {
            return;
        };
        let prepared = self.stop.cuts(self.prepare(context)).await.filter(|_| !self.stop.is_requested());
        let end = match prepared.unwrap_or_else(|| Err(("the service was stopped".to_owned(), None))) {
            Err((why, end)) => {
                self.collected(name, CollectionReport::skipped((self.clock)(), why));
                end
            }
            Ok(retained) => {
                self.status_store.collection_started(name, at);
                match collect(context, collector, &self.state, &retained, &self.stop, &*self.clock).await {
                    Ok(collected) => Some(self.collection_ended(name, collected).await),
                    Err(error) => {
                        tracing::error!(registry = name, %error, "the collection cannot be noted");
                        self.leave_nothing_down(name).await;
                        Some(End::Failed)
                    }
                }
            }
        };
        self.attempted(name, end);
        self.arm_next_collection(name);
    }

    /// Everything that comes before a collection. What must not be swept is found out here.
    async fn prepare(&self, context: RegistryContext<'_>) -> Result<RetainedDigests, NotBegun> {
        let name = context.registry.name.as_str();
        match blocked(context, &self.state, GraceMode::Enforced, context.now).await {
            Ok(None) => {}
            Ok(Some(why)) => {
                let end = matches!(why, Blocked::Unanswered(_)).then_some(End::NeedsRun);
                return Err((why.to_string(), end));
            }
            Err(error) => return Err((format!("the state cannot be read: {error}"), Some(End::Failed))),
        }
        match scan_and_plan(context, &(), async |_| Ok(None)).await {
            Ok(found) => {
                self.up(name, true);
                let document = PlanDocument::of(&found.plan);
                store_plan(&self.state, None, &document);
                self.metrics.planned(&document);
                self.status_store.planned(document);
                Ok(found.retained)
            }
            Err(error) => {
                self.up(name, error.was_reached());
                Err((format!("the registry could not be read: {error}"), Some(End::Failed)))
            }
        }
    }

    /// Remembers how a collection has ended, for the next one.
    pub(super) fn attempted(&self, name: &str, end: Option<End>) {
        let Some(end) = end else { return };
        if end == End::NotWorthIt {
            self.status_store.collection_not_worth_it(name);
            self.metrics.collection_not_worth_it(name);
        }
        let youngest = self.state.youngest_waiting(name).unwrap_or_else(|error| {
            tracing::error!(registry = name, %error, "the state cannot be read");
            None
        });
        let mut all = lock(&self.attempts);
        let attempts = all.entry(name.to_owned()).or_default();
        *attempts = attempts.ended(end, (self.clock)(), youngest);
    }

    /// Lets a collection that failed, as the state has it, be tried again: not at once, for whatever let it fail may
    /// still be there.
    pub(super) fn try_collection_again(&self, name: &str) {
        let at = (self.clock)();
        lock(&self.attempts).entry(name.to_owned()).or_insert(Attempts::Failed { times: 1, at });
    }

    /// Shows a collection that has ended, or did not begin.
    pub(super) fn collected(&self, name: &str, collected: CollectionReport) {
        self.metrics.collected(name, &collected);
        self.status_store.collected(name, collected);
        self.show_reclaimable(name);
    }
}

impl End {
    /// What came of a collection that was begun.
    pub(super) fn of(outcome: CollectionOutcome) -> Self {
        match outcome {
            CollectionOutcome::Success => Self::Success,
            CollectionOutcome::Failed => Self::Failed,
            // Apart from a stop, after which there is no next one, only `gc.min_reclaimable` makes it skip.
            CollectionOutcome::Skipped => Self::NotWorthIt,
        }
    }
}
