//! `regsweep undo`: put back what a run deleted.

use anyhow::Context as _;
use comfy_table::Cell;

use super::Exit;
use super::args::{Form, UndoArguments};
use super::session::{Usage, clock, named, open_one, state};
use super::table::{count, table, tags};
use crate::config::Config;
use crate::model::duration;
use crate::plan::RESTORED_STAYS;
use crate::run::{ImageError, ImageTarget, UndoOutcome, UndoneEntry, undo, undo_document};

pub(super) async fn put_back(config: &Config, arguments: &UndoArguments) -> anyhow::Result<Exit> {
    let state = state(config)?;
    let run = state.run(arguments.run)?.with_context(|| {
        format!("there is no run {}: `regsweep history` lists those that are remembered", arguments.run)
    })?;
    let registry = named(config, &run.registry).map_err(|error| {
        Usage(format!(
            "{error}: if registry {0} has another name and another address now, write `was: {0}` in its entry",
            run.registry
        ))
    })?;
    let session = open_one(config, registry, &state)?;
    let form = arguments.output.form;
    // What goes wrong has its document, too.
    let failed = |error: &str| {
        if form == Form::Json {
            print_line!("{}", undo_document(&run.registry, run.id, &[], Some(error)));
        }
    };
    let only = match arguments.image.as_deref() {
        Some(image) => match ImageTarget::find(&state, run.id, session.registry, image) {
            Ok(target) => Some(target),
            Err(ImageError::Invalid(why)) => return Err(Usage(why).into()),
            Err(error) => {
                failed(&error.to_string());
                return Err(error.into());
            }
        },
        None => None,
    };
    let undone = match undo(session.registry_context(None), &state, run.id, only.as_ref(), &clock).await {
        Ok(undone) => undone,
        Err(error) => {
            failed(&error.to_string());
            return Err(error.into());
        }
    };
    if undone.is_empty() {
        let what = arguments.image.as_deref().map_or("nothing".to_owned(), |image| format!("no {image}"));
        let error = format!(
            "there is {what} of run {} to put back: `regsweep history {}` shows what it deleted, and what was \
             put back before",
            run.id, run.id
        );
        failed(&error);
        print_error!("{error}");
        return Ok(Exit::Failed);
    }
    match form {
        Form::Json => print_line!("{}", undo_document(&run.registry, run.id, &undone, None)),
        Form::Table => print(&run.registry, &undone),
    }
    let lost =
        undone.iter().any(|one| matches!(one.outcome, UndoOutcome::Lost { .. } | UndoOutcome::Failed { .. }));
    Ok(if lost { Exit::Failed } else { Exit::Done })
}

fn print(registry: &str, undone: &[UndoneEntry]) {
    let mut rows = table(&["REPOSITORY", "TAGS", "DIGEST", "KIND", "RESULT"]);
    for one in undone {
        rows.add_row(vec![
            Cell::new(&one.entry.repository),
            Cell::new(tags(&one.entry.tags)),
            Cell::new(one.entry.digest.short()),
            Cell::new(one.entry.kind),
            Cell::new(result(one)),
        ]);
    }
    print_line!("{rows}");
    let is_back =
        |one: &&UndoneEntry| matches!(one.outcome, UndoOutcome::Restored | UndoOutcome::AlreadyPresent);
    let back = undone.iter().filter(is_back).count();
    print_line!(
        "{registry}: put back {} of {}; runs leave what was put back alone for {}: change the rules before they \
         delete it again",
        back,
        count(undone.len(), "deletion", "deletions"),
        duration::exact(RESTORED_STAYS),
    );
}

fn result(undone: &UndoneEntry) -> String {
    let mut text = match &undone.outcome {
        UndoOutcome::Restored => "put back".to_owned(),
        UndoOutcome::AlreadyPresent => "was there again already".to_owned(),
        UndoOutcome::Lost { why } => return format!("lost for good: {why}"),
        UndoOutcome::Failed { why } => return format!("failed: {why}"),
    };
    if !undone.moved.is_empty() {
        text += &format!("; pushed anew since, and left as they are: {}", tags(&undone.moved));
    }
    text
}
