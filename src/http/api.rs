//! The JSON documents of the service, version 1.
//!
//! They say what the page says, to programs. Fields are added, never renamed or removed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::entry::{Entry, Run};
use super::health::Cause;
use super::status_store::{Registry, State};
use crate::policy::Mode;
use crate::report::{CollectionReport, moment};
use crate::state::UnconfiguredRegistry;

/// The version of the forms. It changes only if a field changes its meaning.
const VERSION: u32 = 1;

/// What `/readyz` says.
pub(super) fn readiness(state: &State, causes: &[Cause], now: DateTime<Utc>) -> Value {
    let causes_shown = causes
        .iter()
        .map(|cause| json!({ "cause": cause.cause, "registry": cause.registry, "text": cause.text }));
    json!({
        "version": VERSION,
        "now": moment(now),
        "ready": causes.is_empty(),
        "causes": causes_shown.collect::<Vec<_>>(),
        "configuration": configuration(state),
    })
}

/// Everything but the plans and the past.
pub(super) fn status(state: &State, now: DateTime<Utc>) -> Value {
    json!({
        "version": VERSION,
        "regsweep": env!("CARGO_PKG_VERSION"),
        "now": moment(now),
        "configuration": configuration(state),
        "registries": state.registries.iter().map(registry).collect::<Vec<_>>(),
        "unknown_registries": state.unknown.iter().map(unknown).collect::<Vec<_>>(),
    })
}

/// The latest plan of each registry, or of one; `None` if there is no such registry.
pub(super) fn plans(state: &State, only: Option<&str>) -> Option<Value> {
    let selected = selected(state, only)?;
    Some(selected.filter_map(|registry| registry.plan.as_deref()).map(|plan| json!(plan)).collect())
}

/// Past runs and collections, the latest first; `None` if there is no such registry.
pub(super) fn history(state: &State, only: Option<&str>) -> Option<Value> {
    drop(selected(state, only)?);
    let entries = state.history.iter().filter(|entry| only.is_none_or(|only| entry.registry() == only));
    Some(json!({ "version": VERSION, "history": entries.map(entry).collect::<Vec<_>>() }))
}

fn selected<'a>(state: &'a State, only: Option<&'a str>) -> Option<impl Iterator<Item = &'a Registry>> {
    let matches = move |registry: &&Registry| only.is_none_or(|only| registry.name == only);
    knows(state, only).then(|| state.registries.iter().filter(matches))
}

/// Whether there is such a registry, or none is asked for.
pub(super) fn knows(state: &State, only: Option<&str>) -> bool {
    only.is_none_or(|only| state.registries.iter().any(|registry| registry.name == only))
}

fn configuration(state: &State) -> Value {
    let loaded = state.configuration.as_ref();
    let error = state.configuration_error.as_ref();
    json!({
        "mode": loaded.map(|loaded| mode(loaded.mode)),
        "loaded_at": loaded.map(|loaded| moment(loaded.loaded_at)),
        "last_reload_ok": loaded.is_some() && error.is_none(),
        "error": error.map(|(at, text)| json!({ "at": moment(*at), "text": text })),
    })
}

/// The word of the configuration.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "plan",
        Mode::Enforce => "enforce",
    }
}

fn registry(registry: &Registry) -> Value {
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
        "collection_waits_until": registry.collection_waits.map(moment),
        "last_run": registry.last_run.as_ref().map(run),
        "last_collection": registry.last_collection.as_ref().map(|one| collection(&registry.name, one)),
        "collects": registry.collects,
        "reclaimable_bytes": registry.reclaimable_bytes(),
        "deleted_uncollected_bytes": registry.left_to_others_bytes(),
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

fn entry(entry: &Entry) -> Value {
    match entry {
        Entry::Run(one) => run(one),
        Entry::Collection { registry, collected } => collection(registry, collected),
    }
}

fn run(run: &Run) -> Value {
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

/// To the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
