//! The collections of the service that no run makes: by a schedule of their own, and when the grace ends.

use std::sync::Arc;

use super::generation::Generation;
use super::schedule::Job;
use super::service::{Service, lock};
use crate::config::{self, GcSchedule};
use crate::engine::{collect, grace_ends, held_back, survey, waits};
use crate::report::Collected;

impl Service {
    /// Finds out whether a collection waits for the grace to end. Those that have a schedule of their own
    /// begin by that.
    pub(super) fn wait_for_grace(&self, registry: &config::Registry) {
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

    /// A collection by its own schedule. What must not be swept is found out first.
    pub(super) async fn collect(&self, generation: &Generation, name: &str) {
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
            Ok(collected) => self.collection_ended(name, collected).await,
            Err(error) => {
                tracing::error!(registry = name, %error, "the collection cannot be noted");
                self.leave_nothing_down(name).await;
            }
        }
        self.wait_for_grace(site.registry);
    }

    pub(super) fn collected(&self, name: &str, collected: Collected) {
        self.metrics.collected(name, &collected);
        self.board.collected(name, collected);
        self.show_reclaimable(name);
    }

    pub(super) fn skipped_collection(&self, why: &str) -> Collected {
        Collected::skipped((self.clock)(), why.to_owned())
    }
}
