//! The page of one run: what it deleted and why, the current status of each deletion, and how to undo the run.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::format::{bytes, count, left, short, some, took, when};
use super::frame::frame;
use super::labels::outcome;
use super::plan::MAX_REASON;
use crate::http::status_store::ServiceStatus;
use crate::model::tag_list;
use crate::report::{EntryStatus, JournalEntry, RecordedRun, RunRecord, UNFINISHED};

/// The number of deletions on the page.
const MAX_ROWS: usize = 500;
/// The length of a name on the page.
const MAX_NAME: usize = 255;

pub(in crate::http) fn run(past: &RecordedRun, status: &ServiceStatus, now: DateTime<Utc>) -> Markup {
    let (run, entries) = past;
    let title = format!("run {} of {}", run.id, short(&run.registry, MAX_NAME));
    let content = html! {
        section {
            h2 { (title) }
            (facts(run, now))
            @if let Some(error) = &run.error { ul.problems { li { (short(error, 2000)) } } }
            @if entries.is_empty() { p.meta { "This run deleted nothing." } }
            @else {
                h3 { "Deletions" }
                (table(entries, now))
                @if entries.len() > MAX_ROWS {
                    p { "These are the first " (MAX_ROWS) " of " (some(entries.len(), "deletion", "deletions")) "." }
                }
            }
            p.meta { a href={ "/api/v1/runs?run=" (run.id) } { "The whole run as JSON" } }
        }
        (undo(run, entries, status, now))
    };
    frame(&title, status, now, &content)
}

/// The page for a run that does not exist.
pub(in crate::http) fn no_run(run: &str, status: &ServiceStatus, now: DateTime<Utc>) -> Markup {
    let content = html! {
        section {
            h2 { "There is no run " (short(run, 40)) }
            p {
                "Runs that are older than " code { "history" } " in the configuration are removed. "
                a href="/" { "The overview" } " has the last runs, and " a href="/api/v1/runs" { "the list of runs" }
                " has all of them."
            }
        }
    };
    frame("no such run", status, now, &content)
}

fn facts(run: &RunRecord, now: DateTime<Utc>) -> Markup {
    let taken = run.finished.and_then(|finished| (finished - run.started).to_std().ok());
    html! {
        dl.facts {
            div { dt { "Started" } dd { time { (run.started.format("%F %T UTC")) } ", " (when(run.started, now)) } }
            div { dt { "Took" } dd { @match taken { Some(taken) => (took(taken)), None => "unknown" } } }
            div {
                dt { "Outcome" }
                dd { @match run.outcome { Some(ended) => (outcome(ended)), None => span.pill.warn { (UNFINISHED) } } }
            }
            div {
                dt { "Total" }
                dd {
                    "deleted " (number(run.deleted, "manifest", "manifests"))
                    @if run.untagged > 0 { ", removed " (number(run.untagged, "tag", "tags")) " from kept manifests" }
                }
            }
        }
    }
}

fn number(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(number), if number == 1 { singular } else { plural })
}

fn table(entries: &[JournalEntry], now: DateTime<Utc>) -> Markup {
    html! {
        table.run {
            thead {
                tr {
                    th { "Repository" } th { "Tags" } th { "Digest" } th { "Kind" } th.number { "Size" }
                    th { "Policy" } th { "Why" } th { "Time" } th { "Status" }
                }
            }
            tbody { @for entry in entries.iter().take(MAX_ROWS) { (row(entry, now)) } }
        }
    }
}

fn row(entry: &JournalEntry, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            td data-label="Repository" { (entry.repository) }
            td data-label="Tags" { (tag_list(&entry.tags)) }
            td data-label="Digest" { code title=(entry.digest) { (entry.digest.short()) } }
            td data-label="Kind" { (entry.deleted_kind()) }
            td.number data-label="Size" { @if !entry.tag_only { (bytes(entry.bytes)) } }
            td data-label="Policy" {
                // One element, so that a narrow screen keeps it one column.
                span {
                    (short(&entry.policy, MAX_NAME))
                    @if !entry.rules.is_empty() { ": " (short(&entry.rules.join(", "), MAX_NAME)) }
                }
            }
            td data-label="Why" { (short(&entry.reasons.join("; "), MAX_REASON)) }
            td data-label="Time" {
                time datetime=(entry.at.format("%FT%TZ")) title=(entry.at.format("%F %T UTC")) { (entry.at.format("%T")) }
            }
            td data-label="Status" { (status(entry, now)) }
        }
    }
}

fn status(entry: &JournalEntry, now: DateTime<Utc>) -> Markup {
    let status = EntryStatus::of(entry);
    let (class, since) = match status {
        EntryStatus::Unanswered => ("pill warn", None),
        EntryStatus::Deleted | EntryStatus::Removed => ("pill", None),
        EntryStatus::Restored => ("pill good", entry.restored),
        EntryStatus::GarbageCollected => ("pill", entry.collected),
    };
    html! {
        span {
            span class=(class) { (status.name()) }
            @if let Some(since) = since { " " span.meta { (when(since, now)) } }
        }
    }
}

/// How to undo the run, if something that it deleted can still be restored.
fn undo(run: &RunRecord, entries: &[JournalEntry], status: &ServiceStatus, now: DateTime<Utc>) -> Markup {
    let count_of = |wanted: &[EntryStatus]| {
        entries.iter().filter(|entry| wanted.contains(&EntryStatus::of(entry))).count()
    };
    let unanswered = count_of(&[EntryStatus::Unanswered]);
    let open = unanswered + count_of(&[EntryStatus::Deleted, EntryStatus::Removed]);
    let collected = count_of(&[EntryStatus::GarbageCollected]);
    let registry = status.registries.iter().find(|registry| registry.name == run.registry);
    let waits = registry.and_then(|registry| registry.grace_ends).filter(|until| *until > now);
    html! {
        @if open + collected > 0 {
            section {
                h2 { "Undo" }
                p {
                    "Stop the service first: only one process can use its state. Then "
                    code { "regsweep undo " (run.id) } " restores what this run deleted"
                    @if let Some(image) = example(entries) {
                        ", and " code { "regsweep undo " (run.id) " " (image) } " restores only this image with its children and referrers"
                    }
                    " (with the admin token, "
                    code { "POST /api/v1/undo?run=" (run.id) } " does the same without stopping it)"
                    ". Correct the rules before you start the service again: a restored image is protected from deletion "
                    "only for a limited time."
                }
                @if unanswered > 0 {
                    p { (some(unanswered, "deletion is", "deletions are")) " without an answer; the next run or an undo checks the registry." }
                }
                @if collected > 0 {
                    p {
                        @if open == 0 { "A garbage collection has run since. " }
                        @else { (count(u64::try_from(collected).unwrap_or(u64::MAX))) " of the deletions were followed by a garbage collection. " }
                        "Blobs that no kept image uses are gone; an undo restores the images that are still complete, and "
                        "lists the others."
                    }
                }
                @if let (Some(until), true) = (waits, open > 0) {
                    p { "The grace period, before which no collection starts, ends in " (left(until, now)) "." }
                }
                @if registry.is_none() {
                    p { "The configuration no longer has this registry: add it again before you undo the run." }
                }
            }
        }
    }
}

/// The first deleted image that has a tag.
fn example(entries: &[JournalEntry]) -> Option<String> {
    let is_deleted =
        |entry: &&JournalEntry| matches!(EntryStatus::of(entry), EntryStatus::Deleted | EntryStatus::Removed);
    entries
        .iter()
        .filter(is_deleted)
        .find_map(|entry| Some(format!("{}:{}", entry.repository, entry.tags.first()?)))
}
