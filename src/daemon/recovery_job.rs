//! Restarts registries that a collection has stopped, of this process or of an earlier one.
//!
//! It does not give up: a registry that is down because of a collection comes before all other work on it.

use anyhow::anyhow;

use super::active_config::ActiveConfig;
use super::collection_retry::AttemptResult;
use super::collections;
use super::service::Service;
use crate::report::{CollectionOutcome, CollectionReport};
use crate::run::{answers_now, recover_after, recovery_pause};

/// Why a registry was down when this process started.
pub(super) const INTERRUPTED: &str = "an earlier process was interrupted during a collection";

/// What to do about a registry whose `gc` was removed while it was stopped.
const START_BY_HAND: &str = "the configuration no longer says how to start it: start it by hand";

/// The registries that need a recovery job: an earlier process may have stopped them or left something to finish.
pub(super) fn registries_to_recover(service: &Service, active: &ActiveConfig) -> Vec<String> {
    let stopped = service.state.stopped().unwrap_or_else(|error| {
        tracing::error!(%error, "it is unknown which registries an earlier process has stopped: the state cannot be read");
        Vec::new()
    });
    let retired = &active.config.retired;
    for name in stopped.iter().filter(|name| active.registry(name).is_none() && !retired.contains(*name)) {
        log_start_by_hand(name);
    }
    let needs_recovery = |name: &String| active.collector(name).is_some() || stopped.contains(name);
    active.config.registries.iter().map(|registry| registry.name.clone()).filter(needs_recovery).collect()
}

/// Records how a collection ended. If it left the registry stopped, this restarts the registry first.
pub(super) async fn collection_ended(
    service: &Service,
    name: &str,
    report: CollectionReport,
) -> AttemptResult {
    let result = attempt_result(report.outcome);
    match service.state.recovery_log(name).is_stopped() {
        Ok(false) => service.record_collection(name, report),
        Ok(true) => {
            service.set_stopped(name, Some(report.error.as_deref().unwrap_or("unknown error")));
            run(service, name, Some(&report)).await;
        }
        Err(error) => tracing::error!(registry = name, %error, "the state cannot be read"),
    }
    result
}

fn attempt_result(outcome: CollectionOutcome) -> AttemptResult {
    match outcome {
        CollectionOutcome::Success => AttemptResult::Success,
        CollectionOutcome::Failed => AttemptResult::Failed,
        // Apart from a stop, after which there is no further attempt, only `gc.min_reclaimable` causes this.
        CollectionOutcome::Skipped => AttemptResult::BelowMinimum,
    }
}

/// Restarts the registry after a job that ended in an error, if the job has left it stopped.
pub(super) async fn restart_if_stopped(service: &Service, name: &str) {
    if service.state.recovery_log(name).is_stopped().unwrap_or_default() {
        run(service, name, None).await;
    }
}

/// Restarts a registry and counts what was swept. It tries until it succeeds, each time by the active configuration.
/// `failed` is the collection of this process that has stopped the registry.
pub(super) async fn run(service: &Service, name: &str, failed: Option<&CollectionReport>) {
    let mut tries = 0;
    if failed.is_none() && service.state.recovery_log(name).is_stopped().unwrap_or_default() {
        service.set_stopped(name, Some(INTERRUPTED));
    }
    loop {
        let active = service.active();
        let context =
            active.as_deref().and_then(|active| service.registry_context(active, name, service.now()));
        let (Some(active), Some(context)) = (active.as_deref(), context) else {
            // A renamed registry has a recovery job under its new name.
            if !service.state.is_renamed(name) {
                log_start_by_hand(name);
            }
            return;
        };
        let recovered = match active.collector(name) {
            Some(collector) => {
                recover_after(context, collector, &service.state, &*service.clock, failed).await
            }
            // The state keeps its record: a later configuration with `gc` may have to clear the registry's cache.
            None if answers_now(context.reader).await => Ok(None),
            None => Err(anyhow!("{START_BY_HAND}")),
        };
        match recovered {
            Ok(report) => {
                service.set_stopped(name, None);
                if let Some(report) = report {
                    service.record_collection(name, report);
                    if failed.is_none() {
                        // The cause of the interruption may still be there, so the next attempt waits.
                        collections::record_attempt(service, name, AttemptResult::Failed);
                        collections::update_active(service, name);
                    }
                }
                return;
            }
            Err(error) => {
                let error = format!("{error:#}");
                tries += 1;
                service.set_stopped(name, Some(&error));
                tracing::error!(
                    registry = name, %error, tries,
                    "a collection left the registry stopped and it cannot be restarted: trying again"
                );
            }
        }
        // A stop of the service does not skip the first try, but it ends the retries.
        if service.cancellation.runs.is_cancelled() {
            return;
        }
        service.cancellation.runs.run_until_cancelled(tokio::time::sleep(recovery_pause(tries))).await;
    }
}

fn log_start_by_hand(name: &str) {
    tracing::error!(registry = %name, "a collection stopped this registry and was interrupted, and {START_BY_HAND}");
}
