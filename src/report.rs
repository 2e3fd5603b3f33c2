//! What one run did, and the JSON forms in which plans and runs are shown to programs.
//!
//! The forms are documented and versioned: fields are added, never renamed or removed.

mod document;
mod history;
mod json;
mod outcome;
mod tags;

pub use document::{
    CompletedDeletions, FailureDocument, ManifestDocument, PendingDeletions, PlanDocument, ReasonDocument,
    RefusalDocument, RepositoryDocument, UntagDocument,
};
pub use history::{
    Answer, EntryStatus, JournalEntry, RecordedRun, RunRecord, UNFINISHED, UndoOutcome, UndoneEntry,
    history_document, undo_document,
};
pub use json::{
    PlanWriter, StateUse, Trouble, collection_document, listed, moment, no_run_document, run_document,
};
pub use outcome::{CollectionOutcome, CollectionReport, Outcome};
pub use tags::tag_list;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Digest, RepositoryName, Tag};
use crate::plan::{Failure, Limit, Plan, Refusal};

/// Of what went wrong in a run, this many texts are remembered.
const PROBLEMS: usize = 20;

/// What is said of a run that was asked to end.
const INTERRUPTED: &str = "the run was stopped before it was done: the next run does the rest";

/// What one run did to one registry.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// The registry.
    pub registry: String,
    /// The moment as of which the run planned.
    pub now: DateTime<Utc>,
    /// Whether plans were applied at all.
    pub applied: bool,
    /// Manifests that are gone because of the run, in the order in which they went.
    pub deleted: Vec<Deleted>,
    /// Tags that were removed alone.
    pub untagged: Vec<Untagged>,
    /// What the plan would have deleted and the run left alone, because the repository had changed, a
    /// deletion that had to come first did not happen, or the run was stopped.
    pub skipped: Vec<Skipped>,
    /// Repositories that could not be read, or in which a deletion failed.
    pub failures: Vec<Failure>,
    /// What limits forbade.
    pub refusals: Vec<Refusal>,
    /// Whether some deletion got no answer, so that nobody knows yet what became of it, or the registry
    /// did not answer any more at all.
    pub unanswered: bool,
    /// Why it did not come to its end, where nothing of the above says so, for people.
    pub cut_off: Option<String>,
    /// Whether it was cut off because it was asked to end, as by a signal.
    pub interrupted: bool,
    /// How the collection after it failed that left the registry down, for people.
    pub registry_down: Option<String>,
}

/// What a run came to, beyond what it deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunSummary {
    /// Whether the plan was carried out, or only made.
    pub applied: bool,
    /// How much the plan would have deleted and the run left alone.
    pub skipped: usize,
    /// How many repositories could not be read, and deletions failed.
    pub failures: usize,
    /// The limit of each refusal.
    pub refusals: Vec<Limit>,
    /// The first of what went wrong, for people.
    pub problems: Vec<String>,
}

/// A manifest that a run deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// Where it was.
    pub repository: RepositoryName,
    /// The manifest.
    pub digest: Digest,
    /// The tags that went with it.
    pub tags: Vec<Tag>,
    /// The policy that claimed the repository.
    pub policy: String,
    /// Bytes that it leaves for the collector: of itself, and of blobs that nothing else in its
    /// repository refers to.
    pub bytes: u64,
    /// Whether somebody else had deleted it before we came.
    pub already_gone: bool,
}

/// A tag that a run removed without its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Untagged {
    /// Where it was.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// The manifest it pointed to, which stays.
    pub digest: Digest,
    /// The policy that claimed the repository.
    pub policy: String,
}

/// Something that a plan would have deleted and a run left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Where it is.
    pub repository: RepositoryName,
    /// The manifest, or the tag's manifest.
    pub digest: Digest,
    /// The tag, if only a tag was to go.
    pub tag: Option<Tag>,
    /// Why, for people.
    pub why: String,
}

impl RunReport {
    /// The report of a run that only planned.
    pub fn of_plan(plan: &Plan) -> Self {
        Self {
            registry: plan.registry.clone(),
            now: plan.now,
            applied: false,
            deleted: Vec::new(),
            untagged: Vec::new(),
            skipped: Vec::new(),
            failures: plan.failures.clone(),
            refusals: plan.refusals.clone(),
            unanswered: false,
            cut_off: None,
            interrupted: false,
            registry_down: None,
        }
    }

    /// Notes that it was asked to end before it was done.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
        self.cut_off = Some(INTERRUPTED.to_owned());
    }

    /// What it came to, beyond what it deleted.
    pub fn summary(&self) -> RunSummary {
        let failures =
            self.failures.iter().map(|failure| format!("{}: {}", failure.repository, failure.error));
        let refusals = self.refusals.iter().map(ToString::to_string);
        let worst = self.registry_down.iter().chain(&self.cut_off);
        RunSummary {
            applied: self.applied,
            skipped: self.skipped.len(),
            failures: self.failures.len(),
            refusals: self.refusals.iter().map(|refusal| refusal.limit).collect(),
            problems: worst.cloned().chain(refusals).chain(failures).take(PROBLEMS).collect(),
        }
    }

    /// How the run ended: never [`Outcome::Skipped`], of which there is no report, and [`Outcome::Failed`] only
    /// if the registry is down because of it. One whose time was up is partial, not interrupted: without somebody's
    /// help the next one may come to no end either.
    pub fn outcome(&self) -> Outcome {
        if self.registry_down.is_some() {
            Outcome::Failed
        } else if self.interrupted {
            Outcome::Interrupted
        } else if !self.failures.is_empty() || self.cut_off.is_some() {
            Outcome::Partial
        } else if !self.refusals.is_empty() {
            Outcome::Refused
        } else {
            Outcome::Success
        }
    }
}
