//! `regsweep history`: lists past runs and their deletions from the state.
//!
//! It asks no registry.

use chrono::{DateTime, Utc};
use comfy_table::Cell;

use super::args::{HistoryArguments, OutputFormat};
use super::exit::Exit;
use super::session::{find_registry, read_state};
use super::table::{Listing, bytes, count};
use crate::config::Config;
use crate::model::tag_list;
use crate::report::{EntryStatus, RecordedRun, UNFINISHED, history_document};
use crate::run;
use crate::state::{Filter, State};

pub(super) fn history(config: &Config, arguments: &HistoryArguments) -> anyhow::Result<Exit> {
    if let Some(name) = &arguments.registry {
        find_registry(config, name)?;
    }
    let state = read_state(config)?;
    if let Some(lost) = state.as_ref().and_then(State::lost) {
        anyhow::bail!("the state is lost: {lost}. The next run creates a new one");
    }
    let filter = Filter {
        run: arguments.run,
        registry: arguments.registry.clone(),
        since: arguments.since.map(|since| since.begin(config.timezone)),
        until: arguments.until.map(|until| until.end(config.timezone)),
        at_most: arguments.limit,
    };
    let runs = match &state {
        Some(state) => run::history(state, &filter, arguments.repositories().as_ref())?,
        None => Vec::new(),
    };
    if runs.is_empty() {
        let directory = config.state_dir.display();
        match (arguments.run, state) {
            (Some(run), _) => anyhow::bail!(
                "there is no run {run}, or these filters exclude it: `regsweep history` lists all runs"
            ),
            (None, None) => print_note!("no runs: there is no state in {directory} yet"),
            (None, Some(_)) => print_note!("no matching runs in the state in {directory}"),
        }
    }
    match arguments.output.format {
        OutputFormat::Json => print_line!("{}", history_document(&runs)),
        OutputFormat::Table | OutputFormat::Wide => {
            runs.iter().rev().for_each(|run| print(run, arguments.output.format))
        }
    }
    Ok(Exit::Success)
}

/// Prints one run. The latest is printed last, where a terminal shows it.
fn print((run, entries): &RecordedRun, format: OutputFormat) {
    let outcome = run.outcome.map_or(UNFINISHED, |outcome| outcome.name());
    let untagged = match run.untagged {
        0 => String::new(),
        tags => format!(", removed {} from kept images", count(tags, "tag", "tags")),
    };
    print_line!(
        "run {} of {} at {}: {outcome}; deleted {}{untagged}",
        run.id,
        run.registry,
        time(run.started),
        count(run.deleted, "manifest", "manifests"),
    );
    if let Some(error) = &run.error {
        print_line!("  {error}");
    }
    let headings = &["REPOSITORY", "TAGS", "DIGEST", "KIND", "SIZE", "TIME", "STATUS", "REASON"];
    let mut rows = Listing::new(headings, format);
    for entry in entries {
        let cells = vec![
            Cell::new(tag_list(&entry.tags)),
            Cell::new(entry.digest.short()),
            Cell::new(entry.deleted_kind()),
            Cell::new(if entry.tag_only { String::new() } else { bytes(entry.bytes) }),
            Cell::new(entry.at.format("%H:%M:%S")),
            Cell::new(EntryStatus::of(entry).name()),
        ];
        rows.add(&entry.repository, cells, entry.reasons.join("; "));
    }
    if let Some(text) = rows.text() {
        print_line!("{text}\n");
    }
}

fn time(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
