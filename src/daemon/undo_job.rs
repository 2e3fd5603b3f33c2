//! Undos that were requested from the running service.

use super::active_config::ActiveConfig;
use super::collections;
use super::history;
use super::service::{Service, lock};
use super::undo_queue::PendingUndo;
use crate::http::{UndoError, UndoRequest, UndoResult};
use crate::report::undo_document;
use crate::run::{ImageError, ImageTarget, undo};
use crate::state;

/// Queues an undo and returns its registry. An invalid request is answered with an error.
pub(super) fn accept(service: &Service, active: &ActiveConfig, request: UndoRequest) -> Option<String> {
    let UndoRequest { run, image, reply } = request;
    match find(service, active, run, image.as_deref()) {
        Ok((registry, target)) => {
            tracing::info!(%registry, run, image, "an undo was requested");
            lock(&service.undos).push(&registry, PendingUndo { run, image, target, reply });
            Some(registry)
        }
        Err(why) => {
            // The client may have disconnected.
            let _ = reply.send(Err(why));
            None
        }
    }
}

/// The registry of a run, and the image that a name means.
fn find(
    service: &Service,
    active: &ActiveConfig,
    run: i64,
    image: Option<&str>,
) -> Result<(String, Option<ImageTarget>), UndoError> {
    let unreadable = |error: state::Error| UndoError::Failed(error.to_string());
    let record = service.state.run(run).map_err(unreadable)?.ok_or_else(|| {
        UndoError::NotFound(format!("there is no run {run}: /api/v1/runs lists the runs in the history"))
    })?;
    let name = record.registry;
    let registry = active.registry(&name).ok_or_else(|| {
        UndoError::NotFound(format!(
            "run {run} was of registry {name}, which is no longer in the configuration"
        ))
    })?;
    let target = match image {
        None => None,
        Some(image) => {
            Some(ImageTarget::find(&service.state, run, registry, image).map_err(|error| match error {
                ImageError::State(error) => unreadable(error),
                ImageError::NotFound(why) => UndoError::NotFound(why),
                ambiguous => UndoError::Ambiguous(ambiguous.to_string()),
            })?)
        }
    };
    Ok((name, target))
}

/// Makes all undos that wait for this registry.
pub(super) async fn run(service: &Service, active: &ActiveConfig, name: &str) {
    // A function, so that the lock is released before the undo starts.
    let next = || lock(&service.undos).pop(name);
    while let Some(pending) = next() {
        // An undo can be stopped at any point: another one skips what is restored already.
        let Some(result) =
            service.cancellation.runs.run_until_cancelled(restore(service, active, name, &pending)).await
        else {
            tracing::info!(
                registry = name,
                run = pending.run,
                "the undo was stopped: repeat it to restore the rest"
            );
            return;
        };
        // The client may have disconnected.
        let _ = pending.reply.send(result);
    }
    service.show_reclaimable(name);
    collections::update_active(service, name);
}

async fn restore(service: &Service, active: &ActiveConfig, name: &str, pending: &PendingUndo) -> UndoResult {
    let PendingUndo { run, image, target, .. } = pending;
    let Some(context) = service.registry_context(active, name, service.now()) else {
        return Err(UndoError::NotFound(format!("registry {name} is no longer in the configuration")));
    };
    let undone = undo(context, &service.state, *run, target.as_ref(), &*service.clock).await;
    let undone = undone.map_err(|error| {
        tracing::error!(registry = name, run, %error, "the undo failed");
        UndoError::Failed(error.to_string())
    })?;
    if undone.is_empty() {
        let what = image.as_deref().map_or("nothing".to_owned(), |image| format!("no {image}"));
        return Err(UndoError::NotFound(format!(
            "there is {what} of run {run} to restore: /api/v1/runs?run={run} shows what it deleted and what was \
             restored already"
        )));
    }
    tracing::info!(registry = name, run, deletions = undone.len(), "the undo ended");
    // What was restored no longer counts as deleted in the latest plan.
    let shown = history::show_plan(&service.state, &service.metrics, &service.status_store, name);
    if let Err(error) = shown {
        tracing::error!(registry = name, %error, "the state cannot be read");
    }
    Ok(undo_document(name, *run, &undone, None))
}
