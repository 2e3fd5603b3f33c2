//! Runs that the end of the service cut short, and its next start makes up.

use std::sync::Arc;

use chrono::TimeDelta;

use super::active_config::ActiveConfig;
use super::schedule::Job;
use super::service::Service;

/// Where runs follow one another as fast as that, the next one comes soon enough.
const SOON: TimeDelta = TimeDelta::hours(1);

impl Service {
    /// Lets the next start of the service make this run up.
    pub(super) fn note_for_rerun(&self, run: i64) {
        if let Err(error) = self.state.note_for_rerun(run) {
            tracing::error!(run, %error, "the state cannot be written, so the run is not made up");
        }
    }

    /// Begins the runs that the end of a process before this one cut short, where the schedule would leave the
    /// registry alone for long. A registry without a schedule has runs only when somebody asks.
    pub(super) fn make_up(self: &Arc<Self>, active: &ActiveConfig) {
        let interrupted = self.state.registries_to_rerun().unwrap_or_else(|error| {
            tracing::error!(%error, "the state cannot be read, so no run is made up");
            Vec::new()
        });
        for name in interrupted {
            let schedule = active.registry(&name).and_then(|registry| registry.schedule.as_ref());
            if schedule.is_some_and(|schedule| schedule.has_interval_longer_than(SOON)) {
                tracing::info!(registry = %name, "the run that the last stop interrupted is made up");
                self.begin(&Job::Run(name));
            }
        }
    }
}
