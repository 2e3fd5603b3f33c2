//! Shows when the next run and the next collection of each registry start.

use super::active_config::ActiveConfig;
use super::collection_retry::earliest_start;
use super::collection_times::ScheduledStarts;
use super::schedule::{ScheduledJob, ScheduledTimes};
use super::service::{Service, lock};
use crate::config::{self, Config, GcSchedule};
use crate::policy::Mode;

/// Shows the next starts of all registries by their schedules.
pub(super) fn show_all(service: &Service, active: &ActiveConfig, times: &ScheduledTimes) {
    for registry in &active.config.registries {
        let name = &registry.name;
        let run = times.next(&ScheduledJob::Run(name.clone()));
        let collection = times.next(&ScheduledJob::Collection(name.clone()));
        lock(&service.collections).set_scheduled(name, ScheduledStarts { run, collection });
        service.metrics.next_run(name, run);
        service.status_store.next_run(name, run);
        show_collection(service, &active.config, registry);
    }
}

/// Shows the earliest start of the next collection of a registry.
pub(super) fn show_collection(service: &Service, config: &Config, registry: &config::Registry) {
    let name = registry.name.as_str();
    let Some(gc) = &registry.gc else { return service.status_store.next_collection(name, None) };
    let (scheduled, due) = {
        let collections = lock(&service.collections);
        (collections.scheduled(name), collections.due(name))
    };
    let at = match gc.schedule {
        _ if config.mode == Mode::Plan => None,
        GcSchedule::Cron(_) => scheduled.collection,
        GcSchedule::AfterRun => earliest_start(due, scheduled.run, gc.grace),
    };
    service.metrics.next_collection(name, at);
    service.status_store.next_collection(name, at);
}
