//! The overview: totals, each registry with its runs, collections and latest plan, and the history.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::alerts::alerts;
use super::format::{bytes, count, left, short, some, took, when};
use super::frame::frame;
use super::labels::{anchor, collection_outcome, outcome};
use super::plan;
use crate::http::history_entry::{HistoryEntry, RunEntry};
use crate::http::status_store::{RegistryStatus, ServiceStatus};
use crate::policy::Mode;
use crate::report::{CollectionOutcome, CollectionReport, Outcome};

/// With more registries than this, their plans are folded, so that the page stays short.
const UNFOLDED: usize = 3;

/// The number of history entries on the page.
const HISTORY: usize = 15;

/// The overview at this time.
pub(in crate::http) fn overview(status: &ServiceStatus, now: DateTime<Utc>) -> Markup {
    let mode = status.configuration.as_ref().map(|configuration| configuration.mode);
    let folded = status.registries.len() > UNFOLDED;
    let content = html! {
        (alerts(status, now))
        (totals(status))
        @for (position, registry) in status.registries.iter().enumerate() {
            section id=(anchor(position)) { (section(registry, mode, folded, now)) }
        }
        (history(status, now))
    };
    frame("", status, now, &content)
}

fn totals(status: &ServiceStatus) -> Markup {
    let sum = |of: fn(&RegistryStatus) -> u64| status.registries.iter().map(of).fold(0, u64::saturating_add);
    let expired = sum(|registry| registry.plan.as_ref().map_or(0, |plan| plan.expired().bytes));
    let uncollectable = sum(RegistryStatus::uncollectable_bytes);
    html! {
        dl.sums {
            div { dt { "Reclaimed" } dd { (bytes(sum(|registry| registry.reclaimed_bytes))) } }
            div { dt { "Reclaimable" } dd { (bytes(sum(RegistryStatus::reclaimable_bytes))) } }
            @if uncollectable > 0 {
                div { dt { "Deleted, no garbage collection" } dd { (bytes(uncollectable)) } }
            }
            div { dt { "Expired, not yet deleted" } dd { (bytes(expired)) } }
            div { dt { "Manifests deleted" } dd { (count(sum(|registry| registry.deleted_manifests))) } }
        }
    }
}

fn section(registry: &RegistryStatus, mode: Option<Mode>, folded: bool, now: DateTime<Utc>) -> Markup {
    html! {
            h2 {
                (registry.name) " "
                @match registry.up {
                    _ if registry.stopped.is_some() => span.pill.bad { "stopped" },
                    Some(true) => span.pill.good { "reachable" },
                    Some(false) => span.pill.bad { "unreachable" },
                    None => span.pill { "unknown" },
                }
            }
            p.meta { (registry.url) }
            dl.facts {
                div { dt { "Last run" } dd { (last_run(registry, now)) } }
                div { dt { "Next run" } dd { (next_run(registry, now)) } }
                div { dt { "Last collection" } dd { (last_collection(registry, now)) } }
                div { dt { "Next collection" } dd { (next_collection(registry, mode, now)) } }
                div {
                    dt { "Total" }
                    dd {
                        (count(registry.deleted_manifests)) " deleted manifests, "
                        (bytes(registry.reclaimed_bytes)) " reclaimed"
                        @if registry.uncollectable_bytes() > 0 {
                            "; " (bytes(registry.uncollectable_bytes()))
                            " deleted, but no garbage collection: without " code { "gc" }
                            " in the configuration, regsweep does not free them"
                        }
                        @if registry.reclaimable_bytes() > 0 {
                            "; " (bytes(registry.reclaimable_bytes())) " wait for the next collection"
                            @if let Some(until) = registry.grace_ends.filter(|until| *until > now) {
                                "; the grace period ends in " (left(until, now))
                            }
                        }
                    }
                }
            }
            (problems(registry))
            @if let Some(plan) = &registry.plan { (plan::plan(plan, folded, now)) }
    }
}

fn last_run(registry: &RegistryStatus, now: DateTime<Utc>) -> Markup {
    html! {
        @match &registry.last_run {
            None => "none yet",
            Some(run) => { (outcome(run.outcome)) " " (when(run.at, now)) ": " (run_result(run)) }
        }
    }
}

fn next_run(registry: &RegistryStatus, now: DateTime<Utc>) -> Markup {
    html! {
        @match (registry.running_since, registry.next_run) {
            (Some(since), _) => { "running since " (when(since, now)) }
            (None, Some(next)) => (when(next, now)),
            (None, None) => "not scheduled",
        }
    }
}

fn last_collection(registry: &RegistryStatus, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(since) = registry.collecting_since { "running since " (when(since, now)) "; the one before: " }
        @match &registry.last_collection {
            None => "none yet",
            Some(collected) => {
                (collection_outcome(collected.outcome)) " " (when(collected.at, now)) ": " (collection_result(collected))
            }
        }
    }
}

fn next_collection(registry: &RegistryStatus, mode: Option<Mode>, now: DateTime<Utc>) -> Markup {
    html! {
        @match registry.next_collection {
            _ if !registry.collects => { "no garbage collection (no " code { "gc" } " in the configuration)" },
            _ if mode == Some(Mode::Plan) => "none in mode plan",
            Some(at) => {
                (when(at, now))
                @if registry.collects_after_runs { " at the earliest, if there is something to collect" }
            }
            None if registry.collects_after_runs => "after the next run that deletes something",
            None => "not scheduled",
        }
    }
}

/// The problems of the last run, and the error of the last collection.
fn problems(registry: &RegistryStatus) -> Markup {
    let run = registry.last_run.as_ref();
    let texts: &[String] = run.map(|run| run.problems.as_slice()).unwrap_or_default();
    let total = run.map_or(0, |run| run.failures + run.refusals);
    let failed = registry.failed_collection.as_ref();
    let failed = failed.map(|collected| collected.error.as_deref().unwrap_or("unknown error"));
    html! {
        @if !texts.is_empty() || failed.is_some() {
            ul.problems {
                @for text in texts { li { (short(text, 600)) } }
                @if total > texts.len() {
                    li { "and " (total - texts.len()) " more in the log" }
                }
                @if let Some(error) = failed { li { "The last collection failed: " (short(error, 600)) } }
            }
        }
    }
}

fn history(status: &ServiceStatus, now: DateTime<Utc>) -> Markup {
    html! {
        section {
            h2 { "History" }
            @if status.history.is_empty() { p.meta { "No runs or collections yet." } }
            @else {
                table {
                    thead {
                        tr { th { "When" } th { "Registry" } th { "What" } th { "Outcome" } th { "Result" } th { "Took" } }
                    }
                    tbody {
                        @for entry in status.history.iter().take(HISTORY) { (row(entry, now)) }
                    }
                }
                @if status.history.len() > HISTORY {
                    p.meta { a href="/api/v1/history" { (status.history.len() - HISTORY) " more" } }
                }
            }
        }
    }
}

fn row(entry: &HistoryEntry, now: DateTime<Utc>) -> Markup {
    let (what, at, outcome, result, duration) = match entry {
        HistoryEntry::Run(run) => {
            (run_link(run), run.at, outcome(run.outcome), run_result(run), run.duration)
        }
        HistoryEntry::Collection { collected, .. } => {
            let outcome = collection_outcome(collected.outcome);
            (html! { "collection" }, collected.at, outcome, collection_result(collected), collected.duration)
        }
    };
    html! {
        tr {
            td data-label="When" { (when(at, now)) }
            td data-label="Registry" { (entry.registry()) }
            td data-label="What" { (what) }
            td data-label="Outcome" { (outcome) }
            td data-label="Result" { (result) }
            td data-label="Took" { (took(duration)) }
        }
    }
}

fn run_link(run: &RunEntry) -> Markup {
    html! {
        @match run.id {
            Some(id) => a href={ "/runs/" (id) } { "run " (id) },
            None => "run",
        }
    }
}

/// The result of a run in one line.
fn run_result(run: &RunEntry) -> Markup {
    html! {
        @match run.outcome {
            Outcome::Skipped => "another run was running",
            Outcome::Failed | Outcome::Interrupted if !run.applied => "nothing was changed",
            Outcome::Success | Outcome::Partial | Outcome::Refused if !run.applied => "planned only",
            Outcome::Success
            | Outcome::Partial
            | Outcome::Refused
            | Outcome::Failed
            | Outcome::Interrupted => {
                "deleted " (some(run.deleted, "manifest", "manifests"))
                @if run.untagged > 0 { ", removed " (some(run.untagged, "tag", "tags")) " from kept manifests" }
                @if run.skipped > 0 { ", skipped " (run.skipped) }
            }
        }
        @if run.failures > 0 { ", " (some(run.failures, "failure", "failures")) }
        @if run.refusals > 0 { ", " (some(run.refusals, "refusal", "refusals")) " by a limit" }
    }
}

/// The result of a collection in one line.
fn collection_result(collected: &CollectionReport) -> Markup {
    html! {
        @match collected.outcome {
            CollectionOutcome::Skipped => (short(collected.error.as_deref().unwrap_or("it was skipped"), 200)),
            CollectionOutcome::Success | CollectionOutcome::Failed => {
                (bytes(collected.bytes)) " in " (count(collected.blobs)) " blobs"
                @if !collected.downtime.is_zero() { ", downtime " (took(collected.downtime)) }
            }
        }
    }
}
