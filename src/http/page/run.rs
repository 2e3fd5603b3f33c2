//! The page of one run: what it deleted and why, what is the case now, and how to undo it.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::super::status_store::State;
use super::format::{bytes, count, left, short, some, took, when};
use super::plan::REASON;
use super::{frame, outcome};
use crate::report::{EntryStatus, JournalEntry, RecordedRun, RunRecord, UNFINISHED, tag_list};

/// Of the deletions, this many are shown.
const ROWS: usize = 500;
/// Nobody reads more of a name.
const NAME: usize = 255;

pub(in crate::http) fn run(past: &RecordedRun, state: &State, now: DateTime<Utc>) -> Markup {
    let (run, entries) = past;
    let title = format!("run {} of {}", run.id, short(&run.registry, NAME));
    let content = html! {
        section {
            h2 { (title) }
            (facts(run, now))
            @if let Some(error) = &run.error { ul.problems { li { (short(error, 2000)) } } }
            @if entries.is_empty() { p.meta { "This run deleted nothing." } }
            @else {
                h3 { "What it deleted" }
                (table(entries, now))
                @if entries.len() > ROWS {
                    p { "These are the first " (ROWS) " of " (some(entries.len(), "deletion", "deletions")) "." }
                }
            }
            p.meta { a href={ "/api/v1/runs?run=" (run.id) } { "The whole run as JSON" } }
        }
        (undo(run, entries, state, now))
    };
    frame(&title, state, now, &content)
}

/// The page where no run is.
pub(in crate::http) fn no_run(asked: &str, state: &State, now: DateTime<Utc>) -> Markup {
    let content = html! {
        section {
            h2 { "There is no run " (short(asked, 40)) }
            p {
                "Runs are forgotten when they are older than " code { "history" } " in the configuration says. "
                a href="/" { "The page" } " shows the last runs, and " a href="/api/v1/runs" { "this list" }
                " those that are remembered."
            }
        }
    };
    frame("no such run", state, now, &content)
}

fn facts(run: &RunRecord, now: DateTime<Utc>) -> Markup {
    let taken = run.finished.and_then(|finished| (finished - run.started).to_std().ok());
    html! {
        dl.facts {
            div { dt { "Began" } dd { time { (run.started.format("%F %T UTC")) } ", " (when(run.started, now)) } }
            div { dt { "Took" } dd { @match taken { Some(taken) => (took(taken)), None => "unknown" } } }
            div {
                dt { "Outcome" }
                dd { @match run.outcome { Some(ended) => (outcome(ended)), None => span.pill.warn { (UNFINISHED) } } }
            }
            div {
                dt { "In all" }
                dd {
                    "deleted " (number(run.deleted, "manifest", "manifests"))
                    @if run.untagged > 0 { ", removed " (number(run.untagged, "tag", "tags")) " alone" }
                }
            }
        }
    }
}

fn number(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn table(entries: &[JournalEntry], now: DateTime<Utc>) -> Markup {
    html! {
        table.run {
            thead {
                tr {
                    th { "Repository" } th { "Tags" } th { "Digest" } th { "Kind" } th.number { "Size" }
                    th { "Policy" } th { "Why" } th { "When" } th { "Now" }
                }
            }
            tbody { @for entry in entries.iter().take(ROWS) { (row(entry, now)) } }
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
                    (short(&entry.policy, NAME))
                    @if !entry.rules.is_empty() { ": " (short(&entry.rules.join(", "), NAME)) }
                }
            }
            td data-label="Why" { (short(&entry.reasons.join("; "), REASON)) }
            td data-label="When" {
                time datetime=(entry.at.format("%FT%TZ")) title=(entry.at.format("%F %T UTC")) { (entry.at.format("%T")) }
            }
            td data-label="Now" { (status(entry, now)) }
        }
    }
}

fn status(entry: &JournalEntry, now: DateTime<Utc>) -> Markup {
    let status = EntryStatus::of(entry);
    let (class, since) = match status {
        EntryStatus::Unanswered => ("pill warn", None),
        EntryStatus::Deleted | EntryStatus::Removed => ("pill", None),
        EntryStatus::Restored => ("pill good", entry.restored),
        EntryStatus::Collected => ("pill", entry.collected),
    };
    html! {
        span {
            span class=(class) { (status.name()) }
            @if let Some(since) = since { " " span.meta { (when(since, now)) } }
        }
    }
}

/// How to undo it, where something of it is still gone.
fn undo(run: &RunRecord, entries: &[JournalEntry], state: &State, now: DateTime<Utc>) -> Markup {
    let in_state =
        |wanted: &[EntryStatus]| entries.iter().filter(|one| wanted.contains(&EntryStatus::of(one))).count();
    let unanswered = in_state(&[EntryStatus::Unanswered]);
    let open = unanswered + in_state(&[EntryStatus::Deleted, EntryStatus::Removed]);
    let collected = in_state(&[EntryStatus::Collected]);
    let registry = state.registries.iter().find(|registry| registry.name == run.registry);
    let waits = registry.and_then(|registry| registry.collection_waits).filter(|until| *until > now);
    html! {
        @if open + collected > 0 {
            section {
                h2 { "Undo" }
                p {
                    "Stop the service first: only one process can use its state. Then "
                    code { "regsweep undo " (run.id) } " puts back what this run deleted"
                    @if let Some(image) = example(entries) {
                        ", and " code { "regsweep undo " (run.id) " " (image) } " that image with what belongs to it"
                    }
                    " (with the admin token, "
                    code { "POST /api/v1/undo?run=" (run.id) } " does the same without stopping it)"
                    ". Mend the rules before you start the service again: runs leave what was put back alone "
                    "only for a while."
                }
                @if unanswered > 0 {
                    p { (some(unanswered, "deletion is", "deletions are")) " unanswered; the next run or an undo finds out more." }
                }
                @if collected > 0 {
                    p {
                        @if open == 0 { "The registry was collected since. " }
                        @else { (count(u64::try_from(collected).unwrap_or(u64::MAX))) " of the deletions were collected since. " }
                        "Blobs that nothing else used are gone for good; an undo puts back what is still whole, and "
                        "names the rest."
                    }
                }
                @if let (Some(until), true) = (waits, open > 0) {
                    p { "The grace holds the next collection back for another " (left(until, now)) "." }
                }
                @if registry.is_none() {
                    p { "The configuration has no registry of this name any more: an undo needs it there." }
                }
            }
        }
    }
}

/// The first image that is still gone and has a name.
fn example(entries: &[JournalEntry]) -> Option<String> {
    let gone =
        |entry: &&JournalEntry| matches!(EntryStatus::of(entry), EntryStatus::Deleted | EntryStatus::Removed);
    entries.iter().filter(gone).find_map(|one| Some(format!("{}:{}", one.repository, one.tags.first()?)))
}
