//! `regsweep history`: what runs have done, and whether it can still be undone.

use chrono::{DateTime, Utc};
use comfy_table::Cell;

use super::Exit;
use super::args::{Form, HistoryArguments};
use super::session::{Usage, beside};
use super::table::{bytes, count, right, table, tags};
use crate::config::Config;
use crate::run::{EntryStatus, RecordedRun, UNFINISHED, deleted_kind, history, history_document};
use crate::state::{Filter, State};

pub(super) fn show(config: &Config, arguments: &HistoryArguments) -> anyhow::Result<Exit> {
    if let Some(name) = &arguments.registry {
        let known = config.registries.iter().any(|registry| registry.name == *name);
        anyhow::ensure!(known, Usage(format!("the configuration has no registry {name}")));
    }
    let state = beside(config)?;
    if let Some(lost) = state.as_ref().and_then(State::lost) {
        anyhow::bail!("the state is lost, and the next run begins a new one: {lost}");
    }
    let filter = Filter {
        run: arguments.run,
        registry: arguments.registry.clone(),
        since: arguments.since.map(|since| since.begin(config.timezone)),
        until: arguments.until.map(|until| until.end(config.timezone)),
        at_most: arguments.limit,
    };
    let past = match &state {
        Some(state) => history(state, &filter, arguments.only().as_ref())?,
        None => Vec::new(),
    };
    if past.is_empty() {
        let directory = config.state_dir.display();
        match (arguments.run, state) {
            (Some(run), _) => anyhow::bail!(
                "there is no run {run}, or not with these restrictions; `regsweep history` lists them"
            ),
            (None, None) => print_note!("there is no history yet: there is no state in {directory}"),
            (None, Some(_)) => print_note!("no run fits, or there was none yet, by the state in {directory}"),
        }
    }
    match arguments.output.form {
        Form::Json => print_line!("{}", history_document(&past)),
        Form::Table => past.iter().rev().for_each(print),
    }
    Ok(Exit::Done)
}

/// The latest run is printed last, where a terminal shows it.
fn print((run, entries): &RecordedRun) {
    let outcome = run.outcome.map_or(UNFINISHED, |outcome| outcome.name());
    let untagged = match run.untagged {
        0 => String::new(),
        some => format!(", {} alone", number(some, "tag", "tags")),
    };
    print_line!(
        "run {} of {}, {}: {outcome}; deleted {}{untagged}",
        run.id,
        run.registry,
        time(run.started),
        number(run.deleted, "manifest", "manifests"),
    );
    if let Some(error) = &run.error {
        print_line!("  {error}");
    }
    if entries.is_empty() {
        return;
    }
    let mut rows = table(&["REPOSITORY", "TAGS", "DIGEST", "KIND", "SIZE", "WHEN", "NOW", "WHY"]);
    for entry in entries {
        rows.add_row(vec![
            Cell::new(&entry.repository),
            Cell::new(tags(&entry.tags)),
            Cell::new(entry.digest.short()),
            Cell::new(deleted_kind(entry)),
            right(bytes(entry.bytes)),
            Cell::new(entry.at.format("%H:%M:%S")),
            Cell::new(EntryStatus::of(entry).name()),
            Cell::new(entry.reasons.join("; ")),
        ]);
    }
    print_line!("{rows}\n");
}

fn time(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn number(number: u64, one: &str, many: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), one, many)
}
