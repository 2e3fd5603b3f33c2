//! Registries that are down because of a collection, of this process or of one before it: they are brought
//! back before anything else is done there, and nobody gives up.

use std::sync::Arc;

use anyhow::anyhow;

use super::active_config::ActiveConfig;
use super::attempts::End;
use super::jobs::Work;
use super::service::Service;
use crate::report::CollectionReport;
use crate::run::{answers_now, recover_after, recovery_pause};

/// Why a registry is down that was so when this process began.
pub(super) const CUT_OFF: &str = "a process before this one was cut off in a collection";

/// What becomes of a registry that nobody can bring back.
const NOTHING_STARTS: &str = "the configuration no longer says how to start it: start it by hand";

impl Service {
    /// Finishes what a process before this one left open, before anything else is done there.
    pub(super) fn recover(self: &Arc<Self>, active: &ActiveConfig) {
        let stopped = self.state.stopped().unwrap_or_else(|error| {
            tracing::error!(%error, "nobody knows what a process before this one left open");
            Vec::new()
        });
        let retired = &active.config.retired;
        for name in stopped.iter().filter(|name| active.registry(name).is_none() && !retired.contains(*name))
        {
            tell_that_nothing_starts(name);
        }
        for registry in &active.config.registries {
            if active.collector(&registry.name).is_some() || stopped.contains(&registry.name) {
                self.begin_work(&registry.name, Work::Recover);
            }
        }
    }

    /// Takes in how a collection ended. One that left the registry down ends when that is back.
    pub(super) async fn collection_ended(&self, name: &str, collected: CollectionReport) -> End {
        let end = End::of(collected.outcome);
        match self.state.recovery_log(name).is_stopped() {
            Ok(false) => self.collected(name, collected),
            Ok(true) => {
                self.stopped(name, Some(collected.error.as_deref().unwrap_or("no reason is known")));
                self.bring_back(name, Some(&collected)).await;
            }
            Err(error) => tracing::error!(registry = name, %error, "the state cannot be read"),
        }
        end
    }

    /// After a job that ended in an error: also then the registry does not stay down.
    pub(super) async fn leave_nothing_down(&self, name: &str) {
        if self.state.recovery_log(name).is_stopped().unwrap_or_default() {
            self.bring_back(name, None).await;
        }
    }

    /// Brings a registry back and counts what had been swept: for as long as it takes, and by the configuration
    /// that is in force at each try. `failed` is how a collection of this process ended.
    pub(super) async fn bring_back(&self, name: &str, failed: Option<&CollectionReport>) {
        let mut tries = 0;
        if failed.is_none() && self.state.recovery_log(name).is_stopped().unwrap_or_default() {
            self.stopped(name, Some(CUT_OFF));
        }
        loop {
            let active = self.current();
            let context = active.as_deref().and_then(|one| one.registry_context(name, (self.clock)(), self));
            let (Some(active), Some(context)) = (active.as_deref(), context) else {
                // Under its new name it has been begun already.
                if !self.state.is_renamed(name) {
                    tell_that_nothing_starts(name);
                }
                return;
            };
            let back = match active.collector(name) {
                Some(collector) => recover_after(context, collector, &self.state, &*self.clock, failed).await,
                // The note of it stays: whatever can start it one day may have to make it forget what was swept.
                None if answers_now(context.reader).await => Ok(None),
                None => Err(anyhow!("{NOTHING_STARTS}")),
            };
            match back {
                Ok(collected) => {
                    self.stopped(name, None);
                    if let Some(collected) = collected {
                        self.collected(name, collected);
                        if failed.is_none() {
                            // Whatever cut it off, a registry that is stopped at once again would suffer it again.
                            self.attempted(name, Some(End::Failed));
                            self.arm_next_collection(name);
                        }
                    }
                    return;
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tries += 1;
                    self.stopped(name, Some(&error));
                    tracing::error!(
                        registry = name, %error, tries,
                        "a collection left the registry down and it cannot be put back: trying again"
                    );
                }
            }
            // Even when asked to stop: a registry that we stopped is not left behind for the sake of
            // leaving quickly, but not waited for endlessly either.
            if self.stop.is_requested() {
                return;
            }
            self.stop.cuts(tokio::time::sleep(recovery_pause(tries))).await;
        }
    }

    /// Shows whether a registry is down because of a collection, as long as it is one of ours: the configuration may
    /// have changed while it was tried to bring it back.
    fn stopped(&self, name: &str, why: Option<&str>) {
        if self.current().is_some_and(|active| active.registry(name).is_some()) {
            self.metrics.stopped(name, why.is_some());
            self.status_store.stopped(name, why);
        }
    }
}

fn tell_that_nothing_starts(name: &str) {
    tracing::error!(registry = %name, "a collection stopped this registry and was cut off, and {NOTHING_STARTS}");
}
