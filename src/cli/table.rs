//! Tables for people: widths that fit, sizes and ages at a glance.

use chrono::TimeDelta;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use indicatif::HumanBytes;

use crate::model::{Tag, duration};
use crate::plan::{Planned, Verdict};

/// More tags than this are counted, not listed.
const TAGS_LISTED: usize = 4;

/// A line under the headings and no others: rows are one line each where the terminal is wide enough.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with these headings, as wide as the terminal allows.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.iter().map(Cell::new));
    table
}

pub(super) fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

pub(super) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

pub(super) fn age(age: Option<TimeDelta>) -> String {
    age.map_or_else(|| "unknown".to_owned(), duration::rough)
}

pub(super) fn tags(tags: &[Tag]) -> String {
    if tags.is_empty() {
        return "-".to_owned();
    }
    let mut listed: Vec<String> = tags.iter().take(TAGS_LISTED).map(Tag::short).collect();
    if tags.len() > TAGS_LISTED {
        listed.push(format!("and {} more", tags.len() - TAGS_LISTED));
    }
    listed.join(", ")
}

/// The reasons that speak for the verdict, in one text.
pub(super) fn why(planned: &Planned) -> String {
    let reasons = planned.reasons.iter().filter(|reason| reason.speaks_for() == planned.verdict);
    reasons.map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Keep => "keep",
        Verdict::Delete => "delete",
    }
}

/// A number with the right form of a noun.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
