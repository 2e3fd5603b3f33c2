//! A collection that does not follow a run: by a schedule of its own, after the grace period, or again after a failure.

use super::active_config::ActiveConfig;
use super::collection_retry::AttemptResult;
use super::collections;
use super::recovery_job;
use super::service::Service;
use crate::report::{CollectionReport, PlanDocument};
use crate::run::{
    Blocked, GraceMode, RegistryContext, RetainedDigests, blocked, collect, scan_and_plan, store_plan,
};

/// Why a collection was not started: the message, and what it means for the next attempt, if anything.
type Skipped = (String, Option<AttemptResult>);

/// Collects a registry.
pub(super) async fn run(service: &Service, active: &ActiveConfig, name: &str) {
    let at = service.now();
    let (Some(context), Some(collector)) =
        (service.registry_context(active, name, at), active.collector(name))
    else {
        return;
    };
    let prepared = service
        .cancellation
        .runs
        .run_until_cancelled(prepare(service, context))
        .await
        .filter(|_| !service.cancellation.runs.is_cancelled());
    let result = match prepared.unwrap_or_else(|| Err(("the service was stopped".to_owned(), None))) {
        Err((why, result)) => {
            service.record_collection(name, CollectionReport::skipped(service.now(), why));
            result
        }
        Ok(retained) => {
            service.status_store.collection_started(name, at);
            let (state, clock) = (&service.state, &*service.clock);
            match collect(context, collector, state, &retained, &service.cancellation, clock).await {
                Ok(report) => Some(recovery_job::collection_ended(service, name, report).await),
                Err(error) => {
                    tracing::error!(registry = name, %error, "the collection cannot be recorded in the state");
                    recovery_job::restart_if_stopped(service, name).await;
                    Some(AttemptResult::Failed)
                }
            }
        }
    };
    if let Some(result) = result {
        collections::record_attempt(service, name, result);
    }
    collections::update_active(service, name);
}

/// Checks whether a collection may start, and finds the manifests that the sweep must keep.
async fn prepare(service: &Service, context: RegistryContext<'_>) -> Result<RetainedDigests, Skipped> {
    let name = context.registry.name.as_str();
    match blocked(context, &service.state, GraceMode::Enforced, context.now).await {
        Ok(None) => {}
        Ok(Some(why)) => {
            let result = matches!(why, Blocked::Unanswered(_)).then_some(AttemptResult::NeedsRun);
            return Err((why.to_string(), result));
        }
        Err(error) => {
            return Err((format!("the state cannot be read: {error}"), Some(AttemptResult::Failed)));
        }
    }
    match scan_and_plan(context, &(), async |_| Ok(None)).await {
        Ok(scanned) => {
            service.set_up(name, true);
            let document = PlanDocument::of(&scanned.plan);
            store_plan(&service.state, None, &document);
            service.metrics.planned(&document);
            service.status_store.planned(document);
            Ok(scanned.retained)
        }
        Err(error) => {
            service.set_up(name, error.was_reached());
            Err((format!("the registry could not be read: {error}"), Some(AttemptResult::Failed)))
        }
    }
}
