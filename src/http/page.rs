//! The pages for people: whole documents, rendered here, without script and without anything foreign.
//!
//! All text goes through maud, which escapes it: names and errors come from registries, and a hostile one
//! can say anything.

mod alerts;
mod format;
mod plan;
mod run;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::api::mode;
use super::entry::{Entry, Run};
use super::status_store::{Registry, State};
use crate::policy::Mode;
use crate::report::{CollectionOutcome, CollectionReport, Outcome};
use format::{bytes, count, left, short, some, took, when};

pub(super) use run::{no_run, run};

/// The only style of all pages; the content security policy names its digest.
pub(super) const STYLE: &str = include_str!("page/style.css");

/// With more registries than this, their plans are folded: whoever looks at many looks for trouble first.
const UNFOLDED: usize = 3;

/// Of the past, this much is shown.
const HISTORY: usize = 15;

/// The whole page as of a moment.
pub(super) fn page(state: &State, now: DateTime<Utc>) -> Markup {
    let mode = state.configuration.as_ref().map(|configuration| configuration.mode);
    let folded = state.registries.len() > UNFOLDED;
    let content = html! {
        (alerts::alerts(state, now))
        (sums(state))
        @for (place, registry) in state.registries.iter().enumerate() {
            section id=(anchor(place)) { (section(registry, mode, folded, now)) }
        }
        (past(state, now))
    };
    frame("", state, now, &content)
}

/// What all pages have around their content. The first page has no title of its own.
fn frame(title: &str, state: &State, now: DateTime<Utc>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { @if !title.is_empty() { (title) " · " } "regsweep" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { @if title.is_empty() { "regsweep" } @else { a href="/" { "regsweep" } } }
                    p.meta {
                        (env!("CARGO_PKG_VERSION"))
                        @if let Some(configuration) = &state.configuration {
                            " · mode " b { (mode(configuration.mode)) }
                        }
                        " · as of " time { (now.format("%F %T UTC")) }
                    }
                }
                main { (content) }
                footer {
                    nav aria-label="For programs" {
                        a href="/metrics" { "metrics" } " "
                        a href="/readyz" { "readiness" } " "
                        a href="/api/v1/status" { "status" } " "
                        a href="/api/v1/plan" { "plan" } " "
                        a href="/api/v1/history" { "history" } " "
                        a href="/api/v1/runs" { "runs" }
                    }
                }
            }
        }
    }
}

fn sums(state: &State) -> Markup {
    let sum = |of: fn(&Registry) -> u64| state.registries.iter().map(of).fold(0, u64::saturating_add);
    let expired = sum(|registry| registry.plan.as_ref().map_or(0, |plan| plan.expired().bytes));
    let left_to_others = sum(Registry::left_to_others_bytes);
    html! {
        dl.sums {
            div { dt { "Reclaimed" } dd { (bytes(sum(|registry| registry.reclaimed_bytes))) } }
            div { dt { "Waits to be reclaimed" } dd { (bytes(sum(Registry::reclaimable_bytes))) } }
            @if left_to_others > 0 {
                div { dt { "Deleted, not collected by regsweep" } dd { (bytes(left_to_others)) } }
            }
            div { dt { "Expired, not yet deleted" } dd { (bytes(expired)) } }
            div { dt { "Manifests deleted" } dd { (count(sum(|registry| registry.deleted_manifests))) } }
        }
    }
}

/// Where the page shows the registry with this place in the configuration. A name can have any characters.
fn anchor(place: usize) -> String {
    format!("registry-{}", place + 1)
}

fn section(registry: &Registry, mode: Option<Mode>, folded: bool, now: DateTime<Utc>) -> Markup {
    html! {
            h2 {
                (registry.name) " "
                @match registry.up {
                    _ if registry.stopped.is_some() => span.pill.bad { "stopped" },
                    Some(true) => span.pill.good { "reachable" },
                    Some(false) => span.pill.bad { "unreachable" },
                    None => span.pill { "not asked yet" },
                }
            }
            p.meta { (registry.url) }
            dl.facts {
                div { dt { "Last run" } dd { (last_run(registry, now)) } }
                div { dt { "Next run" } dd { (next_run(registry, now)) } }
                div { dt { "Last collection" } dd { (last_collection(registry, now)) } }
                div { dt { "Next collection" } dd { (next_collection(registry, mode, now)) } }
                div {
                    dt { "In all" }
                    dd {
                        (count(registry.deleted_manifests)) " deleted manifests, "
                        (bytes(registry.reclaimed_bytes)) " reclaimed"
                        @if registry.left_to_others_bytes() > 0 {
                            "; " (bytes(registry.left_to_others_bytes()))
                            " deleted and not collected by regsweep: without " code { "gc" }
                            " in the configuration something else has to free them"
                        }
                        @if registry.reclaimable_bytes() > 0 {
                            "; " (bytes(registry.reclaimable_bytes())) " wait for the next collection"
                            @if let Some(until) = registry.collection_waits.filter(|until| *until > now) {
                                ", which the grace holds back for another " (left(until, now))
                            }
                        }
                    }
                }
            }
            (problems(registry))
            @if let Some(plan) = &registry.plan { (plan::plan(plan, folded, now)) }
    }
}

fn last_run(registry: &Registry, now: DateTime<Utc>) -> Markup {
    html! {
        @match &registry.last_run {
            None => "none yet",
            Some(run) => { (outcome(run.outcome)) " " (when(run.at, now)) ": " (did(run)) }
        }
    }
}

fn next_run(registry: &Registry, now: DateTime<Utc>) -> Markup {
    html! {
        @match (registry.running_since, registry.next_run) {
            (Some(since), _) => { "under way, begun " (when(since, now)) }
            (None, Some(next)) => (when(next, now)),
            (None, None) => "none is scheduled",
        }
    }
}

fn last_collection(registry: &Registry, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(since) = registry.collecting_since { "under way, begun " (when(since, now)) ". Before: " }
        @match &registry.last_collection {
            None => "none yet",
            Some(collected) => {
                (collection_outcome(collected.outcome)) " " (when(collected.at, now)) ": " (freed(collected))
            }
        }
    }
}

fn next_collection(registry: &Registry, mode: Option<Mode>, now: DateTime<Utc>) -> Markup {
    html! {
        @match registry.next_collection {
            _ if !registry.collects => { "none: regsweep does not collect here (no " code { "gc" } ")" },
            _ if mode == Some(Mode::Plan) => "none in mode plan",
            Some(at) => {
                (when(at, now))
                @if registry.collects_after_runs { " at the earliest, if there is something to collect then" }
            }
            None if registry.collects_after_runs => "after a run that leaves something to collect",
            None => "none is scheduled",
        }
    }
}

/// What went wrong in the last run, and why the last collection did not succeed.
fn problems(registry: &Registry) -> Markup {
    let run = registry.last_run.as_ref();
    let texts: &[String] = run.map(|run| run.problems.as_slice()).unwrap_or_default();
    let total = run.map_or(0, |run| run.failures + run.refusals);
    let failed = registry.failed_collection.as_ref();
    let failed = failed.map(|collected| collected.error.as_deref().unwrap_or("no reason is known"));
    html! {
        @if !texts.is_empty() || failed.is_some() {
            ul.problems {
                @for text in texts { li { (short(text, 600)) } }
                @if total > texts.len() {
                    li { "and " (total - texts.len()) " more; the log has all of them" }
                }
                @if let Some(error) = failed { li { "The last collection failed: " (short(error, 600)) } }
            }
        }
    }
}

fn past(state: &State, now: DateTime<Utc>) -> Markup {
    html! {
        section {
            h2 { "History" }
            @if state.history.is_empty() { p.meta { "Nothing has happened yet." } }
            @else {
                table {
                    thead {
                        tr { th { "When" } th { "Registry" } th { "What" } th { "Outcome" } th { "Result" } th { "Took" } }
                    }
                    tbody {
                        @for entry in state.history.iter().take(HISTORY) { (row(entry, now)) }
                    }
                }
                @if state.history.len() > HISTORY {
                    p.meta { a href="/api/v1/history" { (state.history.len() - HISTORY) " more" } }
                }
            }
        }
    }
}

fn row(entry: &Entry, now: DateTime<Utc>) -> Markup {
    let (what, at, outcome, result, duration) = match entry {
        Entry::Run(run) => (run_link(run), run.at, outcome(run.outcome), did(run), run.duration),
        Entry::Collection { collected, .. } => {
            let outcome = collection_outcome(collected.outcome);
            (html! { "collection" }, collected.at, outcome, freed(collected), collected.duration)
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

fn run_link(run: &Run) -> Markup {
    html! {
        @match run.id {
            Some(id) => a href={ "/runs/" (id) } { "run " (id) },
            None => "run",
        }
    }
}

fn outcome(outcome: Outcome) -> Markup {
    let class = match outcome {
        Outcome::Success => "pill good",
        Outcome::Failed => "pill bad",
        Outcome::Partial | Outcome::Refused | Outcome::Interrupted => "pill warn",
        Outcome::Skipped => "pill",
    };
    html! { span class=(class) { (outcome.name()) } }
}

fn collection_outcome(outcome: CollectionOutcome) -> Markup {
    let class = match outcome {
        CollectionOutcome::Success => "pill good",
        CollectionOutcome::Failed => "pill bad",
        CollectionOutcome::Skipped => "pill",
    };
    html! { span class=(class) { (outcome.name()) } }
}

/// What a run did, in a few words.
fn did(run: &Run) -> Markup {
    html! {
        @match run.outcome {
            Outcome::Skipped => "another run was under way",
            Outcome::Failed | Outcome::Interrupted if !run.applied => "nothing was done",
            Outcome::Success | Outcome::Partial | Outcome::Refused if !run.applied => "only planned",
            Outcome::Success
            | Outcome::Partial
            | Outcome::Refused
            | Outcome::Failed
            | Outcome::Interrupted => {
                "deleted " (some(run.deleted, "manifest", "manifests"))
                @if run.untagged > 0 { ", removed " (some(run.untagged, "tag", "tags")) " alone" }
                @if run.skipped > 0 { ", skipped " (run.skipped) }
            }
        }
        @if run.failures > 0 { ", " (some(run.failures, "failure", "failures")) }
        @if run.refusals > 0 { ", " (some(run.refusals, "refusal", "refusals")) " by a limit" }
    }
}

/// What a collection did, in a few words.
fn freed(collected: &CollectionReport) -> Markup {
    html! {
        @match collected.outcome {
            CollectionOutcome::Skipped => (short(collected.error.as_deref().unwrap_or("it did not begin"), 200)),
            CollectionOutcome::Success | CollectionOutcome::Failed => {
                (bytes(collected.bytes)) " in " (count(collected.blobs)) " blobs"
                @if !collected.downtime.is_zero() { ", registry down " (took(collected.downtime)) }
            }
        }
    }
}
