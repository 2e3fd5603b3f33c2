//! When collections start by themselves: after the grace period, and again after a failure.
//!
//! It starts none: it keeps the times that the main loop looks at.

use chrono::{DateTime, Utc};

use super::active_config::ActiveConfig;
use super::collection_retry::{AttemptResult, PendingDeletions, RetryState};
use super::next_starts;
use super::service::{Service, lock};
use crate::config::{self, Config, Gc, GcSchedule};
use crate::policy::Mode;
use crate::run::grace_ends;
use crate::state;

/// Computes the next start of the collections of one registry, by the active configuration.
pub(super) fn update_active(service: &Service, name: &str) {
    let active = service.active();
    if let Some((active, registry)) =
        active.as_deref().and_then(|config| Some((config, config.registry(name)?)))
    {
        update(service, &active.config, registry);
    }
}

/// Computes the next start of the collections of all registries.
pub(super) fn update_all(service: &Service, active: &ActiveConfig) {
    active.config.registries.iter().for_each(|registry| update(service, &active.config, registry));
}

/// Computes the next start of the collections of a registry. A schedule of its own is not considered here.
pub(super) fn update(service: &Service, config: &Config, registry: &config::Registry) {
    match next_start(service, config, registry) {
        Ok(at) => lock(&service.collections).set_due(&registry.name, at),
        Err(error) => tracing::error!(registry = %registry.name, %error, "the state cannot be read"),
    }
    next_starts::show_collection(service, config, registry);
}

fn next_start(
    service: &Service,
    config: &Config,
    registry: &config::Registry,
) -> Result<Option<DateTime<Utc>>, state::Error> {
    let name = &registry.name;
    service.status_store.grace_ends(name, grace_ends(registry, &service.state)?);
    let follows_runs = |gc: &&Gc| matches!(gc.schedule, GcSchedule::AfterRun);
    let Some(gc) = registry.gc.as_ref().filter(follows_runs).filter(|_| config.mode == Mode::Enforce) else {
        return Ok(None);
    };
    let Some(youngest) = service.state.youngest_waiting(name)? else { return Ok(None) };
    let pending = PendingDeletions { youngest, grace: gc.grace };
    let retry = lock(&service.collections).retry(name);
    Ok(retry.next_start(pending, service.now()))
}

/// Records how an attempt to collect ended, which decides when the next one starts.
pub(super) fn record_attempt(service: &Service, name: &str, result: AttemptResult) {
    if result == AttemptResult::BelowMinimum {
        service.status_store.collection_below_minimum(name);
        service.metrics.collection_below_minimum(name);
    }
    let youngest = service.state.youngest_waiting(name).unwrap_or_else(|error| {
        tracing::error!(registry = name, %error, "the state cannot be read");
        None
    });
    let mut collections = lock(&service.collections);
    let retry = collections.retry(name).after_attempt(result, service.now(), youngest);
    collections.set_retry(name, retry);
}

/// Lets a collection that failed before a restart be tried again, after a pause: its cause may still be there.
pub(super) fn retry_later(service: &Service, name: &str) {
    let retry = RetryState::Failed { failures: 1, at: service.now() };
    lock(&service.collections).set_first_retry(name, retry);
}
