//! The JSON documents of the service, version 1.
//!
//! They have the same content as the page. Fields may be added; they are never renamed or removed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::health::Cause;
use super::history_entry::{HistoryEntry, RunEntry};
use super::status_store::{RegistryStatus, ServiceStatus};
use crate::policy::Mode;
use crate::report::{CollectionReport, moment};
use crate::state::UnconfiguredRegistry;

/// The version of the documents. It changes only if a field changes its meaning.
const VERSION: u32 = 1;

/// The document of `/readyz`.
pub(super) fn readiness(status: &ServiceStatus, causes: &[Cause], now: DateTime<Utc>) -> Value {
    let causes_shown = causes
        .iter()
        .map(|cause| json!({ "cause": cause.cause, "registry": cause.registry, "text": cause.text }));
    json!({
        "version": VERSION,
        "now": moment(now),
        "ready": causes.is_empty(),
        "causes": causes_shown.collect::<Vec<_>>(),
        "configuration": configuration(status),
    })
}

/// The document of `/api/v1/status`: everything but plans and history.
pub(super) fn status(status: &ServiceStatus, now: DateTime<Utc>) -> Value {
    json!({
        "version": VERSION,
        "regsweep": env!("CARGO_PKG_VERSION"),
        "now": moment(now),
        "configuration": configuration(status),
        "registries": status.registries.iter().map(registry).collect::<Vec<_>>(),
        "unknown_registries": status.unknown.iter().map(unknown).collect::<Vec<_>>(),
    })
}

/// The latest plan of each registry, or of one; `None` if there is no such registry.
pub(super) fn plans(status: &ServiceStatus, only: Option<&str>) -> Option<Value> {
    let selected = selected(status, only)?;
    Some(selected.filter_map(|registry| registry.plan.as_deref()).map(|plan| json!(plan)).collect())
}

/// Past runs and collections, the latest first; `None` if there is no such registry.
pub(super) fn history(status: &ServiceStatus, only: Option<&str>) -> Option<Value> {
    drop(selected(status, only)?);
    let entries = status.history.iter().filter(|entry| only.is_none_or(|only| entry.registry() == only));
    Some(json!({ "version": VERSION, "history": entries.map(entry).collect::<Vec<_>>() }))
}

fn selected<'a>(
    status: &'a ServiceStatus,
    only: Option<&'a str>,
) -> Option<impl Iterator<Item = &'a RegistryStatus>> {
    let matches = move |registry: &&RegistryStatus| only.is_none_or(|only| registry.name == only);
    is_known(status, only).then(|| status.registries.iter().filter(matches))
}

/// Whether the registry is in the configuration; true without a registry.
pub(super) fn is_known(status: &ServiceStatus, only: Option<&str>) -> bool {
    only.is_none_or(|only| status.registries.iter().any(|registry| registry.name == only))
}

fn configuration(status: &ServiceStatus) -> Value {
    let loaded = status.configuration.as_ref();
    let error = status.configuration_error.as_ref();
    json!({
        "mode": loaded.map(|loaded| mode(loaded.mode)),
        "loaded_at": loaded.map(|loaded| moment(loaded.loaded_at)),
        "last_reload_ok": loaded.is_some() && error.is_none(),
        "error": error.map(|(at, text)| json!({ "at": moment(*at), "text": text })),
    })
}

/// A mode as the configuration writes it.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "plan",
        Mode::Enforce => "enforce",
    }
}

fn registry(registry: &RegistryStatus) -> Value {
    let plan = registry.plan.as_ref().map(|plan| {
        json!({
            "now": moment(plan.now),
            "applied": plan.applied,
            "totals": plan.totals,
            "expired": plan.expired(),
            "held_back": plan.held_back(),
        })
    });
    json!({
        "registry": registry.name,
        "url": registry.url,
        "up": registry.up,
        "stopped": registry.stopped,
        "run_under_way_since": registry.running_since.map(moment),
        "collection_under_way_since": registry.collecting_since.map(moment),
        "next_run": registry.next_run.map(moment),
        "next_collection": registry.next_collection.map(moment),
        "collection_waits_until": registry.grace_ends.map(moment),
        "last_run": registry.last_run.as_ref().map(run),
        "last_collection": registry.last_collection.as_ref().map(|result| collection(&registry.name, result)),
        "collects": registry.collects,
        "reclaimable_bytes": registry.reclaimable_bytes(),
        "deleted_uncollected_bytes": registry.uncollectable_bytes(),
        "deleted_manifests": registry.deleted_manifests,
        "reclaimed_bytes": registry.reclaimed_bytes,
        "plan": plan,
    })
}

fn unknown(unknown: &UnconfiguredRegistry) -> Value {
    json!({
        "registry": unknown.name,
        "address": unknown.address,
        "stopped": unknown.is_stopped,
        "text": unknown.to_string(),
    })
}

fn entry(entry: &HistoryEntry) -> Value {
    match entry {
        HistoryEntry::Run(result) => run(result),
        HistoryEntry::Collection { registry, collected } => collection(registry, collected),
    }
}

fn run(run: &RunEntry) -> Value {
    json!({
        "what": "run",
        "run": run.id,
        "registry": run.registry,
        "at": moment(run.at),
        "duration_seconds": seconds(run.duration),
        "outcome": run.outcome,
        "applied": run.applied,
        "deleted": run.deleted,
        "untagged": run.untagged,
        "skipped": run.skipped,
        "failures": run.failures,
        "refusals": run.refusals,
        "problems": run.problems,
    })
}

fn collection(registry: &str, collected: &CollectionReport) -> Value {
    json!({
        "what": "collection",
        "registry": registry,
        "at": moment(collected.at),
        "duration_seconds": seconds(collected.duration),
        "downtime_seconds": seconds(collected.downtime),
        "outcome": collected.outcome,
        "blobs": collected.blobs,
        "bytes": collected.bytes,
        "error": collected.error,
    })
}

/// In seconds, rounded to milliseconds.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
