//! A plan on the page: its totals, and the first of its deletions with their reasons.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::format::{bytes, count, short, some, when};
use crate::model::{duration, tag_list};
use crate::plan::Untag;
use crate::report::{ManifestDocument, PlanDocument, RepositoryDocument, UntagDocument};

/// The number of deletions that are visible at once.
const VISIBLE_ROWS: usize = 10;
/// The number of further deletions that can be unfolded.
const FOLDED_ROWS: usize = 90;
/// The number of dangling tags that are shown.
const MAX_DANGLING_TAGS: usize = 10;
/// The length of a reason, which can list a thousand tags.
pub(super) const MAX_REASON: usize = 240;

/// A manifest or a tag to be deleted.
enum Row<'a> {
    Manifest(&'a ManifestDocument),
    Tag(&'a UntagDocument),
}

impl Row<'_> {
    fn is_gone(&self) -> bool {
        let gone = match self {
            Self::Manifest(planned) => planned.gone,
            Self::Tag(untag) => untag.gone,
        };
        gone == Some(true)
    }
}

pub(super) fn plan(plan: &PlanDocument, folded: bool, now: DateTime<Utc>) -> Markup {
    let heading = html! {
        h3 {
            @if plan.applied { "Plan of the last run" } @else { "Plan of the next run" }
            " " span.meta { "planned " (when(plan.now, now)) }
        }
    };
    html! {
        @if folded {
            details.plan {
                summary { (heading) p { (summary(plan)) } }
                (rows_of(plan))
            }
        } @else {
            (heading)
            p { (summary(plan)) }
            (rows_of(plan))
        }
    }
}

fn rows_of(plan: &PlanDocument) -> Markup {
    let rows: Vec<(&RepositoryDocument, Row<'_>)> = plan.repositories.iter().flat_map(rows).collect();
    let (seen, rest) = rows.split_at(rows.len().min(VISIBLE_ROWS));
    let (folded, cut) = rest.split_at(rest.len().min(FOLDED_ROWS));
    html! {
        @if !seen.is_empty() { (table(plan, seen)) }
        @if !folded.is_empty() {
            details {
                summary { (folded.len()) " more" }
                (table(plan, folded))
            }
        }
        p.meta {
            @if !cut.is_empty() { (some(cut.len(), "row is", "rows are")) " not shown. " }
            a href={ "/api/v1/plan?" (query(&plan.registry)) } { "The whole plan as JSON" }
        }
        (dangling_tags(plan))
    }
}

fn query(registry: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("registry", registry).finish()
}

fn rows(repository: &RepositoryDocument) -> impl Iterator<Item = (&RepositoryDocument, Row<'_>)> {
    let manifests = repository.deletions().map(Row::Manifest);
    let tags = repository.untag.iter().map(Row::Tag);
    manifests.chain(tags).map(move |row| (repository, row))
}

fn summary(plan: &PlanDocument) -> Markup {
    let totals = &plan.totals;
    html! {
        b { (count(u64::try_from(totals.delete).unwrap_or(u64::MAX))) }
        " of " (some(totals.manifests, "manifest", "manifests"))
        " in " (some(totals.repositories, "repository", "repositories"))
        ", up to " b { (bytes(totals.expired_bytes)) }
        @if totals.untag > 0 { "; " (some(totals.untag, "tag", "tags")) " removed from kept manifests" }
        ". Kept manifests use " (bytes(totals.referenced_bytes)) "."
        @if !plan.failures.is_empty() {
            " " (some(plan.failures.len(), "repository", "repositories")) " could not be read and " @if plan.failures.len() == 1 { "is" } @else { "are" } " kept."
        }
    }
}

fn table(plan: &PlanDocument, rows: &[(&RepositoryDocument, Row<'_>)]) -> Markup {
    html! {
        table.plan {
            thead {
                tr { th { "Repository" } th { "Tags" } th { "Digest" } th.number { "Age" } th.number { "Size" } th { "Why" } }
            }
            tbody {
                @for (repository, row) in rows { (line(plan, repository, row)) }
            }
        }
    }
}

fn line(plan: &PlanDocument, repository: &RepositoryDocument, row: &Row<'_>) -> Markup {
    let refused = plan.refuses(&repository.repository);
    let (tags, digest, age, size, why) = match row {
        Row::Manifest(planned) => {
            (tag_list(&planned.tags), &planned.digest, age(planned), bytes(planned.bytes), planned.why())
        }
        Row::Tag(untag) => {
            let why = Untag::reason(&untag.rule);
            (untag.tag.to_string(), &untag.digest, String::new(), String::new(), why)
        }
    };
    html! {
        tr {
            td data-label="Repository" { (repository.repository) }
            td data-label="Tags" { (tags) }
            td data-label="Digest" { code title=(digest) { (digest.short()) } }
            td.number data-label="Age" { (age) }
            td.number data-label="Size" { (size) }
            td data-label="Why" {
                // One element, so that a narrow screen keeps it one column.
                span {
                    @if row.is_gone() { span.pill.good { "deleted" } " " }
                    @else if repository.held_back { span.pill.warn { "held back" } " " }
                    @else if refused { span.pill.warn { "refused" } " " }
                    @else if plan.applied { span.pill.warn { "kept" } " " }
                    (short(&why, MAX_REASON))
                }
            }
        }
    }
}

fn age(planned: &ManifestDocument) -> String {
    let age = planned.age_seconds.and_then(TimeDelta::try_seconds);
    age.map_or_else(|| "unknown".to_owned(), duration::rough)
}

fn dangling_tags(plan: &PlanDocument) -> Markup {
    let all = || {
        plan.repositories
            .iter()
            .flat_map(|repository| repository.dangling_tags.iter().map(move |tag| (repository, tag)))
    };
    let total = all().count();
    html! {
        @if total > 0 {
            details {
                summary { (some(total, "dangling tag", "dangling tags")) ": the registry lists " @if total == 1 { "it" } @else { "them" } " without a manifest" }
                ul {
                    @for (repository, tag) in all().take(MAX_DANGLING_TAGS) {
                        li { (repository.repository) ": " code { (short(tag, 160)) } }
                    }
                    @if total > MAX_DANGLING_TAGS { li { "and " (total - MAX_DANGLING_TAGS) " more" } }
                }
            }
        }
    }
}
