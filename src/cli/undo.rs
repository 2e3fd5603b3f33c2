//! `regsweep undo`: restores what a run deleted.
//!
//! It prints the results. How an undo works is in `crate::run`.

use anyhow::Context as _;
use comfy_table::Cell;

use super::args::{OutputFormat, UndoArguments};
use super::exit::Exit;
use super::session::{UsageError, clock, find_registry, open_registry, open_state};
use super::table::{Listing, bad, count, fit, good};
use crate::config::Config;
use crate::model::{duration, tag_list};
use crate::plan::RESTORED_STAYS;
use crate::report::{UndoOutcome, UndoneEntry, undo_document};
use crate::run::{self, ImageError, ImageTarget};

pub(super) async fn undo(config: &Config, arguments: &UndoArguments) -> anyhow::Result<Exit> {
    let state = open_state(config)?;
    let run = state
        .run(arguments.run)?
        .with_context(|| format!("there is no run {}: `regsweep history` lists all runs", arguments.run))?;
    let registry = find_registry(config, &run.registry).map_err(|error| {
        UsageError(format!(
            "{error}; if registry {0} has a new name and a new address, add `was: {0}` to its entry",
            run.registry
        ))
    })?;
    let session = open_registry(config, registry, &state)?;
    let format = arguments.output.format;
    // A failure prints a document, too.
    let print_failure = |error: &str| {
        if format == OutputFormat::Json {
            print_line!("{}", undo_document(&run.registry, run.id, &[], Some(error)));
        }
    };
    let only = match arguments.image.as_deref() {
        Some(image) => match ImageTarget::find(&state, run.id, session.registry, image) {
            Ok(target) => Some(target),
            Err(ImageError::Invalid(why)) => return Err(UsageError(why).into()),
            Err(error) => {
                print_failure(&error.to_string());
                return Err(error.into());
            }
        },
        None => None,
    };
    let undone = match run::undo(session.registry_context(None), &state, run.id, only.as_ref(), &clock).await
    {
        Ok(undone) => undone,
        Err(error) => {
            print_failure(&error.to_string());
            return Err(error.into());
        }
    };
    if undone.is_empty() {
        let subject = arguments.image.as_deref().map_or("nothing".to_owned(), |image| format!("no {image}"));
        let error = format!(
            "run {0} deleted {subject} that can be restored: `regsweep history {0}` shows what it deleted, and what \
             has been restored",
            run.id
        );
        print_failure(&error);
        print_error!("{error}");
        return Ok(Exit::Failed);
    }
    match format {
        OutputFormat::Json => print_line!("{}", undo_document(&run.registry, run.id, &undone, None)),
        OutputFormat::Table | OutputFormat::Wide => print(&run.registry, &undone, format),
    }
    let lost = undone
        .iter()
        .any(|entry| matches!(entry.outcome, UndoOutcome::Lost { .. } | UndoOutcome::Failed { .. }));
    Ok(if lost { Exit::Failed } else { Exit::Success })
}

fn print(registry: &str, undone: &[UndoneEntry], format: OutputFormat) {
    let mut rows = Listing::new(&["REPOSITORY", "TAGS", "DIGEST", "KIND", "RESULT", "DETAIL"], format);
    for entry in undone {
        let (result, detail) = result(entry);
        let cells = vec![
            Cell::new(tag_list(&entry.entry.tags)),
            Cell::new(entry.entry.digest.short()),
            Cell::new(entry.entry.deleted_kind()),
            result,
        ];
        rows.add(&entry.entry.repository, cells, detail);
    }
    if let Some(text) = rows.text() {
        print_line!("{text}");
    }
    let is_restored =
        |entry: &&UndoneEntry| matches!(entry.outcome, UndoOutcome::Restored | UndoOutcome::AlreadyPresent);
    let restored = undone.iter().filter(is_restored).count();
    let advice = match restored {
        0 => String::new(),
        _ => format!(
            "; runs keep restored images for {}: change the rules before they delete them again",
            duration::exact(RESTORED_STAYS)
        ),
    };
    let total = count(undone.len(), "deletion", "deletions");
    print_line!("{}", fit(&format!("{registry}: restored {restored} of {total}{advice}"), format));
}

/// The result and its detail, which is empty where there is nothing to add.
fn result(undone: &UndoneEntry) -> (Cell, String) {
    let moved = match undone.tags_moved.as_slice() {
        [] => String::new(),
        moved => format!("tags that were pushed again, left unchanged: {}", tag_list(moved)),
    };
    match &undone.outcome {
        UndoOutcome::Restored => (good("restored"), moved),
        UndoOutcome::AlreadyPresent => (good("already present"), moved),
        UndoOutcome::Lost { why } => (bad("lost"), why.clone()),
        UndoOutcome::Failed { why } => (bad("failed"), why.clone()),
    }
}
