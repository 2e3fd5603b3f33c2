//! Tables for terminals and for files, and the texts of their cells.
//!
//! It knows nothing of where rows come from.

use std::io::stdout;

use anstream::{AutoStream, ColorChoice};
use chrono::TimeDelta;
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Row, Table,
    TableStyle,
};
use indicatif::HumanBytes;

use super::args::OutputFormat;
use crate::model::duration;

/// A line under the headings and no others.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// The columns of numbers.
const RIGHT_ALIGNED: [&str; 2] = ["AGE", "SIZE"];

/// What stands where a cell was cut.
const CUT: &str = "…";

/// How far a note is indented below its row.
const NOTE_INDENT: u16 = 4;

/// The width of a terminal whose width is unknown.
const DEFAULT_WIDTH: u16 = 80;

/// Rows about the contents of groups, such as repositories, each with a note, such as a reason.
///
/// In a terminal, rows stand below the name of their group, a note stands below its row, and a first cell that does
/// not fit is cut. With `--output wide`, and where standard output is no terminal, the group and the note are the first
/// and the last column, each row is one line, and nothing is cut.
pub(super) struct Listing {
    headings: &'static [&'static str],
    rows: Vec<ListingRow>,
    /// The width to fit; `None` for wide output.
    width: Option<u16>,
    color: bool,
}

struct ListingRow {
    group: String,
    cells: Vec<Cell>,
    note: String,
}

impl Listing {
    /// `headings` are those of the group, of the cells, and of the note.
    pub(super) fn new(headings: &'static [&'static str], format: OutputFormat) -> Self {
        Self { headings, rows: Vec::new(), width: width(format), color: has_color() }
    }

    pub(super) fn add(&mut self, group: impl ToString, cells: Vec<Cell>, note: impl ToString) {
        self.rows.push(ListingRow { group: group.to_string(), cells, note: note.to_string() });
    }

    /// The printed form, without a line break at its end; `None` if there are no rows.
    pub(super) fn text(self) -> Option<String> {
        if self.rows.is_empty() {
            return None;
        }
        Some(match self.width {
            Some(width) => self.grouped(width),
            None => self.wide(),
        })
    }

    fn wide(self) -> String {
        let mut table = table(self.headings, self.color);
        for row in self.rows {
            let cells = [Cell::new(row.group)].into_iter().chain(row.cells).chain([Cell::new(row.note)]);
            table.add_row(cells.collect::<Vec<Cell>>());
        }
        table.trim_fmt()
    }

    fn grouped(mut self, width: u16) -> String {
        self.rows.sort_by(|a, b| a.group.cmp(&b.group));
        let columns = &self.headings[1..self.headings.len() - 1];
        let mut table = table(columns, self.color);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        table.set_truncation_indicator(CUT);
        // Only the first column is cut.
        table.column_iter_mut().skip(1).for_each(|column| {
            column.set_constraint(ColumnConstraint::ContentWidth);
        });
        let mut notes = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            let first_cell = row.cells.first().map(Cell::content).unwrap_or_default();
            let mut cells = Row::from(row.cells);
            cells.max_height(1);
            table.add_row(cells);
            notes.push((row.group, first_cell, row.note));
        }
        let mut lines = table.lines();
        let mut text: Vec<String> = lines.by_ref().take(2).map(|line| line.trim_end().to_owned()).collect();
        let mut current: Option<&String> = None;
        let mut is_cut = false;
        for (line, (group, first_cell, note)) in lines.zip(&notes) {
            if current != Some(group) {
                if current.replace(group).is_some() {
                    text.push(String::new());
                }
                let heading = Cell::new(group).add_attribute(Attribute::Bold);
                text.push(paragraph(heading, 0, width, self.color));
            }
            is_cut |= !line.contains(first_cell.as_str());
            // A shortened tag that is cut needs no second mark.
            text.push(line.replace("……", "… ").trim_end().to_owned());
            if !note.is_empty() {
                text.push(paragraph(Cell::new(note), NOTE_INDENT, width, self.color));
            }
        }
        if is_cut {
            text.push(format!("{CUT} marks text that was cut: `--output wide` shows all of it"));
        }
        text.join("\n")
    }
}

/// A table without rows and without a width.
fn table(headings: &[&str], color: bool) -> Table {
    let mut table = unstyled(color);
    table.load_style(STYLE);
    table.set_header(headings.iter().map(Cell::new));
    for (column, heading) in table.column_iter_mut().zip(headings) {
        if RIGHT_ALIGNED.contains(heading) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A table without headings, rows, lines and a width.
fn unstyled(color: bool) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    // Whether there are colors is decided by `has_color` alone, and the width by `terminal_width`.
    table.force_no_tty().style_text_only();
    if color {
        table.enforce_styling();
    }
    table
}

/// Text that is wrapped to a width and indented.
fn paragraph(cell: Cell, indent: u16, width: u16, color: bool) -> String {
    let mut table = unstyled(color);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.add_row(vec![cell]);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((indent, 0));
    });
    table.trim_fmt()
}

/// A line that is wrapped where it does not fit the terminal.
pub(super) fn fit(text: &str, format: OutputFormat) -> String {
    match width(format) {
        Some(width) => paragraph(Cell::new(text), 0, width, false),
        None => text.to_owned(),
    }
}

/// The width that output has to fit; `None` if it may be wide.
fn width(format: OutputFormat) -> Option<u16> {
    if format == OutputFormat::Table { terminal_width() } else { None }
}

/// The width of the terminal that is standard output, if it is one.
fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    Some(if size.ws_col == 0 { DEFAULT_WIDTH } else { size.ws_col })
}

/// Whether standard output is to be colored, as `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and `TERM` say.
fn has_color() -> bool {
    AutoStream::choice(&stdout()) != ColorChoice::Never
}

pub(super) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

pub(super) fn age(age: Option<TimeDelta>) -> String {
    age.map_or_else(|| "unknown".to_owned(), duration::rough)
}

/// Text that says something was kept, or went well.
pub(super) fn good(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Green)
}

/// Text that says something is deleted, or failed.
pub(super) fn bad(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Red)
}

/// Text that says something is changed, or needs attention.
pub(super) fn notable(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Yellow)
}

/// The text of a cell, with its color where standard output has colors.
pub(super) fn inline(cell: Cell) -> String {
    paragraph(cell, 0, u16::MAX, has_color())
}

/// A number with its noun in the singular or plural.
pub(super) fn count(number: impl TryInto<u64>, singular: &str, plural: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {}", if number == 1 { singular } else { plural })
}
