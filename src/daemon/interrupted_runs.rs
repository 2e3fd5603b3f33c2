//! Runs that a stop of the service has interrupted: the next start of the service repeats them.

use chrono::TimeDelta;

use super::active_config::ActiveConfig;
use super::service::Service;

/// With a schedule of at most this interval, the next scheduled run replaces the interrupted one.
const SHORT_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// Records that the next start of the service has to repeat a run.
pub(super) fn repeat_later(service: &Service, run: i64) {
    if let Err(error) = service.state.note_for_rerun(run) {
        tracing::error!(run, %error, "the state cannot be written, so the interrupted run will not be repeated");
    }
}

/// The registries whose interrupted runs have to be repeated. A registry without a schedule has runs only on request.
pub(super) fn registries_to_repeat(service: &Service, active: &ActiveConfig) -> Vec<String> {
    let interrupted = service.state.registries_to_rerun().unwrap_or_else(|error| {
        tracing::error!(%error, "the state cannot be read, so no interrupted run is repeated");
        Vec::new()
    });
    let has_long_interval = |name: &String| {
        let schedule = active.registry(name).and_then(|registry| registry.schedule.as_ref());
        schedule.is_some_and(|schedule| schedule.has_interval_longer_than(SHORT_INTERVAL))
    };
    interrupted.into_iter().filter(has_long_interval).collect()
}
