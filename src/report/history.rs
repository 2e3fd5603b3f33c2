//! Past runs, their deletions and what an undo has restored of them, and the JSON form of these.
//!
//! It must not know where they are stored.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::format::{VERSION, moment};
use super::outcome::Outcome;
use crate::model::{Digest, Kind, RepositoryName, Tag};

/// For people: the outcome of a run that has none.
pub const UNFINISHED: &str = "interrupted or still running";

/// A run and its deletions, in the order in which they were sent.
pub type RecordedRun = (RunRecord, Vec<JournalEntry>);

/// A run in the history.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its number; later runs have higher ones.
    pub id: i64,
    /// The registry.
    pub registry: String,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended; `None` if it was interrupted before it could record that, or is still running.
    pub finished: Option<DateTime<Utc>>,
    /// How it ended; `None` as above.
    pub outcome: Option<Outcome>,
    /// Manifests that it deleted.
    pub deleted: u64,
    /// Tags that it removed without their manifests.
    pub untagged: u64,
    /// What went wrong, for people.
    pub error: Option<String>,
}

/// A deletion in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its number; later entries have higher ones.
    pub id: i64,
    /// The run that it belongs to.
    pub run: i64,
    /// The registry.
    pub registry: String,
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest that was deleted, or whose tags were.
    pub digest: Digest,
    /// The tags that were deleted, with the manifest or without it.
    pub tags: Vec<Tag>,
    /// Whether only these tags were deleted, and the manifest was kept.
    pub tag_only: bool,
    /// The kind of the manifest.
    pub kind: Kind,
    /// The policy by which it was deleted.
    pub policy: String,
    /// The rules that expired its tags.
    pub rules: Vec<String>,
    /// Why it was deleted, for people.
    pub reasons: Vec<String>,
    /// Bytes that a collection is expected to free.
    pub bytes: u64,
    /// When it was recorded, just before it was sent.
    pub at: DateTime<Utc>,
    /// Whether it is known that the deletion was done.
    pub answer: Answer,
    /// When an undo restored it.
    pub restored: Option<DateTime<Utc>>,
    /// When a collection has removed its blobs.
    pub collected: Option<DateTime<Utc>>,
}

/// Whether it is known that a deletion was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was sent, and the answer is not known.
    Pending,
    /// It was done.
    Deleted,
}

impl JournalEntry {
    /// For people: the kind of what was deleted.
    pub fn deleted_kind(&self) -> &'static str {
        if self.tag_only { "tag" } else { self.kind.name() }
    }
}

/// The present state of something that a run has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryStatus {
    /// It is unknown whether the deletion was done.
    Unanswered,
    /// The manifest is deleted, and its blobs wait for a collection.
    Deleted,
    /// The tag is removed, and its manifest was kept.
    Removed,
    /// An undo has restored it.
    Restored,
    /// The manifest is deleted, and a collection has removed its blobs.
    GarbageCollected,
}

impl EntryStatus {
    /// By what the journal knows of the deletion.
    pub fn of(entry: &JournalEntry) -> Self {
        match (entry.restored, entry.answer, entry.collected) {
            (Some(_), ..) => Self::Restored,
            (None, Answer::Pending, _) => Self::Unanswered,
            (None, Answer::Deleted, Some(_)) => Self::GarbageCollected,
            (None, Answer::Deleted, None) if entry.tag_only => Self::Removed,
            (None, Answer::Deleted, None) => Self::Deleted,
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Deleted => "deleted",
            Self::Removed => "removed",
            Self::Restored => "restored",
            Self::GarbageCollected => "collected",
        }
    }
}

/// The result of an undo for one deletion.
#[derive(Debug, Clone)]
pub struct UndoneEntry {
    /// The deletion.
    pub entry: JournalEntry,
    /// Whether it is restored.
    pub outcome: UndoOutcome,
    /// Its tags that point to it again.
    pub tags_restored: Vec<Tag>,
    /// Its tags that point to another manifest since then, and are not changed.
    pub tags_moved: Vec<Tag>,
}

/// Whether an undo has restored something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoOutcome {
    /// It is restored, byte for byte.
    Restored,
    /// It had been pushed again already, or all the tags that were deleted alone had been. Its other tags are
    /// restored unless they point to another manifest.
    AlreadyPresent,
    /// Something that it needs was removed by a collection.
    Lost {
        /// What.
        why: String,
    },
    /// It could not be restored now.
    Failed {
        /// Why.
        why: String,
    },
}

/// Runs and their deletions as programs read them.
pub fn history_document(runs: &[RecordedRun]) -> Value {
    json!({ "version": VERSION, "runs": runs.iter().map(recorded_run_document).collect::<Vec<_>>() })
}

fn recorded_run_document((run, entries): &RecordedRun) -> Value {
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
fn entry_document(entry: &JournalEntry) -> Value {
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

/// The results of an undo as programs read them. `error` says why there are none.
pub fn undo_document(registry: &str, run: i64, undone: &[UndoneEntry], error: Option<&str>) -> Value {
    let results = undone.iter().map(|entry| {
        let mut document = entry_document(&entry.entry);
        let (result, why) = match &entry.outcome {
            UndoOutcome::Restored => ("restored", None),
            UndoOutcome::AlreadyPresent => ("was-there", None),
            UndoOutcome::Lost { why } => ("lost", Some(why)),
            UndoOutcome::Failed { why } => ("failed", Some(why)),
        };
        document["result"] = json!(result);
        document["error"] = json!(why);
        document["tags_back"] = json!(entry.tags_restored);
        document["tags_moved"] = json!(entry.tags_moved);
        document
    });
    let results = results.collect::<Vec<_>>();
    json!({ "version": VERSION, "registry": registry, "run": run, "results": results, "error": error })
}
