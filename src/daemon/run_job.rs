//! A run of a registry, with its result in the state, the metrics and the status.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::active_config::ActiveConfig;
use super::collection_retry::AttemptResult;
use super::collections;
use super::history;
use super::interrupted_runs;
use super::recovery_job;
use super::service::{Service, lock};
use crate::http::RunEntry;
use crate::run::{Error, LimitMode, RunOptions, RunResult};

/// Runs over a registry.
pub(super) async fn run(service: &Service, active: &ActiveConfig, name: &str, limits: LimitMode) {
    let start = Instant::now();
    let at = service.now();
    let Some(context) = service.registry_context(active, name, at) else { return };
    service.status_store.run_started(name, at);
    service.metrics.run_started(name, Some(at));
    let options = RunOptions {
        state: &service.state,
        collector: active.collector(name),
        limits,
        cancellation: &service.cancellation,
        clock: &*service.clock,
    };
    let mut attempt = None;
    let result = crate::run::run(context, &options, &()).await;
    service.metrics.run_started(name, None);
    match result {
        Ok(result) => attempt = succeeded(service, name, at, result).await,
        // The next start of the service repeats the run.
        Err(error @ Error::Stopped) => interrupted(service, name, &error, at, start.elapsed()),
        Err(error) => {
            failed(service, name, &error, at, start.elapsed());
            recovery_job::restart_if_stopped(service, name).await;
        }
    }
    history::update_deleted(&service.state, &service.metrics, &service.status_store, name);
    service.show_reclaimable(name);
    lock(&service.collections).record_run(name);
    if let Some(attempt) = attempt {
        collections::record_attempt(service, name, attempt);
    }
    collections::update_active(service, name);
}

/// Records a run that could read its registry. Returns how its collection ended, if it had one.
async fn succeeded(
    service: &Service,
    name: &str,
    at: DateTime<Utc>,
    result: RunResult,
) -> Option<AttemptResult> {
    let RunResult { run, document, report, collected, taken, .. } = result;
    service.set_up(name, true);
    service.metrics.planned(&document);
    service.status_store.planned(document);
    service.status_store.run_ended(RunEntry { id: Some(run), ..RunEntry::of(&report, at, taken) });
    if report.interrupted {
        interrupted_runs::repeat_later(service, run);
    }
    // The counters come last, so that a client that sees the run counted finds everything else as well.
    service.metrics.run_finished(&report, taken, service.now());
    tracing::info!(
        registry = name,
        outcome = report.outcome().name(),
        deleted = report.deleted.len(),
        untagged = report.untagged.len(),
        failures = report.failures.len(),
        refusals = report.refusals.len(),
        seconds = taken.as_secs_f64(),
        "the run ended"
    );
    match collected {
        Some(report) => Some(recovery_job::collection_ended(service, name, report).await),
        None => None,
    }
}

/// Records a run that failed before it changed anything.
fn failed(service: &Service, name: &str, error: &Error, at: DateTime<Utc>, taken: Duration) {
    tracing::error!(registry = name, kind = error.kind(), %error, "the run failed, and nothing was changed");
    service.set_up(name, error.was_reached());
    service.metrics.run_failed(name, taken, service.now());
    // Without a number the run has no page of its own; the overview still shows it.
    let id = service.state.run_that_began(name, at).ok().flatten();
    service.status_store.run_ended(RunEntry { id, ..RunEntry::failed(name, &error.to_string(), at, taken) });
}

/// Records a run that a stop of the service has interrupted before it changed anything.
fn interrupted(service: &Service, name: &str, error: &Error, at: DateTime<Utc>, taken: Duration) {
    tracing::info!(registry = name, "{error}");
    service.metrics.run_interrupted(name, taken, service.now());
    let id = service.state.run_that_began(name, at).ok().flatten();
    let entry = RunEntry { id, ..RunEntry::interrupted(name, &error.to_string(), at, taken) };
    service.status_store.run_ended(entry);
    if let Some(run) = id {
        interrupted_runs::repeat_later(service, run);
    }
}
