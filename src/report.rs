//! What runs did, and the JSON documents in which plans and runs are given to programs.
//!
//! The documents are versioned: fields are added, never renamed or removed. It must not know registries, the state
//! or the command line.

mod document;
mod format;
mod history;
mod json;
mod outcome;
mod run;

pub use document::{
    CompletedDeletions, FailureDocument, ManifestDocument, PendingDeletions, PlanDocument, ReasonDocument,
    RefusalDocument, RepositoryDocument, UntagDocument,
};
pub use format::moment;
pub use history::{
    Answer, EntryStatus, JournalEntry, RecordedRun, RunRecord, UNFINISHED, UndoOutcome, UndoneEntry,
    history_document, undo_document,
};
pub use json::{
    PlanWriter, ScanHistoryUse, Trouble, collection_document, listed, no_run_document, run_document,
};
pub use outcome::{CollectionOutcome, CollectionReport, Outcome};
pub use run::{Deleted, RunReport, RunSummary, Skipped, Untagged};
