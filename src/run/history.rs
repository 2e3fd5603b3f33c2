//! What runs have done, as the command line, the page and the API show it.

use serde_json::{Value, json};

use super::{UndoOutcome, UndoneEntry};
use crate::policy::Patterns;
use crate::report::moment;
use crate::state::{self, Answer, Filter, JournalEntry, Run, State};

/// A run and its deletions, in the order in which they went.
pub type RecordedRun = (Run, Vec<JournalEntry>);

/// Runs, the youngest first. Where repositories are given, only runs that did something in one of them,
/// and only what they did there.
pub fn history(
    state: &State,
    filter: &Filter,
    repositories: Option<&Patterns>,
) -> Result<Vec<RecordedRun>, state::Error> {
    let mut recorded = state.history(filter)?;
    if let Some(repositories) = repositories {
        for (_, entries) in &mut recorded {
            entries.retain(|entry| repositories.matches(entry.repository.as_str()));
        }
        recorded.retain(|(_, entries)| !entries.is_empty());
    }
    Ok(recorded)
}

/// What is the case now with something that a run deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryStatus {
    /// Nobody knows yet whether it happened.
    Unanswered,
    /// The manifest is gone, and its blobs wait for a collection.
    Deleted,
    /// A tag is gone, and its manifest stayed.
    Removed,
    /// An undo put it back.
    PutBack,
    /// It is gone, and the registry was collected since.
    Collected,
}

impl EntryStatus {
    /// As of what is noted of the deletion.
    pub fn of(entry: &JournalEntry) -> Self {
        match (entry.restored, entry.answer, entry.collected) {
            (Some(_), ..) => Self::PutBack,
            (None, Answer::Pending, _) => Self::Unanswered,
            (None, Answer::Deleted, Some(_)) => Self::Collected,
            (None, Answer::Deleted, None) if entry.tag_only => Self::Removed,
            (None, Answer::Deleted, None) => Self::Deleted,
        }
    }

    /// The words for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Deleted => "deleted",
            Self::Removed => "removed",
            Self::PutBack => "put back",
            Self::Collected => "collected",
        }
    }
}

/// What is left of a run that came to no end, for people.
pub const UNFINISHED: &str = "cut off, or under way";

/// The word for what a deletion took.
pub fn deleted_kind(entry: &JournalEntry) -> &'static str {
    if entry.tag_only { "tag" } else { entry.kind.name() }
}

/// Runs and their deletions as programs read them, version 1.
pub fn history_document(recorded: &[RecordedRun]) -> Value {
    json!({ "version": 1, "runs": recorded.iter().map(run_document).collect::<Vec<_>>() })
}

fn run_document((run, entries): &RecordedRun) -> Value {
    json!({
        "run": run.id,
        "registry": run.registry,
        "started": moment(run.started),
        "finished": run.finished.map(moment),
        "outcome": run.outcome,
        "deleted": run.deleted,
        "untagged": run.untagged,
        "error": run.error,
        "deletions": entries.iter().map(entry_document).collect::<Vec<_>>(),
    })
}

/// One deletion.
pub fn entry_document(entry: &JournalEntry) -> Value {
    json!({
        "what": if entry.tag_only { "tag" } else { "manifest" },
        "repository": entry.repository,
        "digest": entry.digest,
        "tags": entry.tags,
        "kind": entry.kind,
        "bytes": entry.bytes,
        "policy": entry.policy,
        "rules": entry.rules,
        "reasons": entry.reasons,
        "at": moment(entry.at),
        "answered": entry.answer != Answer::Pending,
        "restored": entry.restored.map(moment),
        "collected": entry.collected.map(moment),
    })
}

/// What became of an undo, as programs read it, version 1. `error` says why there was none.
pub fn undo_document(registry: &str, run: i64, undone: &[UndoneEntry], error: Option<&str>) -> Value {
    let results = undone.iter().map(|one| {
        let mut document = entry_document(&one.entry);
        let (result, why) = match &one.outcome {
            UndoOutcome::Restored => ("restored", None),
            UndoOutcome::AlreadyPresent => ("was-there", None),
            UndoOutcome::Lost { why } => ("lost", Some(why)),
            UndoOutcome::Failed { why } => ("failed", Some(why)),
        };
        document["result"] = json!(result);
        document["error"] = json!(why);
        document["tags_back"] = json!(one.tags);
        document["tags_moved"] = json!(one.moved);
        document
    });
    let results = results.collect::<Vec<_>>();
    json!({ "version": 1, "registry": registry, "run": run, "results": results, "error": error })
}
