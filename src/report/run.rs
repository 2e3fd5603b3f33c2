//! What one run did.
//!
//! It must not know how a run works or how its report is shown.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::model::{Digest, RepositoryName, Tag};
use crate::plan::{Failure, Limit, Plan, Refusal};

/// A summary contains at most this many problems.
const MAX_PROBLEMS: usize = 20;

/// Why a run that was asked to stop did not do everything.
const INTERRUPTED: &str = "the run was stopped before it was done: the next run does the rest";

/// What one run did to one registry.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// The registry.
    pub registry: String,
    /// The moment of the plan.
    pub now: DateTime<Utc>,
    /// Whether the plan was applied, or only made.
    pub applied: bool,
    /// The deleted manifests, in the order of their deletion.
    pub deleted: Vec<Deleted>,
    /// Tags that were removed without their manifests.
    pub untagged: Vec<Untagged>,
    /// What the plan deletes and the run skipped, because the repository had changed, an earlier deletion failed, or
    /// the run was stopped.
    pub skipped: Vec<Skipped>,
    /// Repositories that could not be read, or in which a deletion failed.
    pub failures: Vec<Failure>,
    /// Refusals by limits.
    pub refusals: Vec<Refusal>,
    /// Whether the result of a deletion is unknown because there was no answer, or the registry stopped answering.
    pub unanswered: bool,
    /// Why it ended early, for people, if nothing of the above says it.
    pub cut_off: Option<String>,
    /// Whether it ended early because it was asked to stop, for example by a signal.
    pub interrupted: bool,
    /// How the collection after the run failed, for people, if it left the registry down.
    pub registry_down: Option<String>,
}

/// The result of a run, without its deletions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunSummary {
    /// Whether the plan was applied, or only made.
    pub applied: bool,
    /// How much the plan deletes and the run skipped.
    pub skipped: usize,
    /// How many repositories could not be read or had a deletion that failed.
    pub failures: usize,
    /// The limit of each refusal.
    pub refusals: Vec<Limit>,
    /// The first problems, for people.
    pub problems: Vec<String>,
}

/// A manifest that a run deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest.
    pub digest: Digest,
    /// The tags that were deleted with it.
    pub tags: Vec<Tag>,
    /// The policy that claimed the repository.
    pub policy: String,
    /// Bytes that a collection can free: of the manifest, and of the blobs that no other manifest in its repository
    /// refers to.
    pub bytes: u64,
    /// Whether it was deleted already, not by this run.
    pub already_gone: bool,
}

/// A tag that a run removed without its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Untagged {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// The manifest it pointed to, which was kept.
    pub digest: Digest,
    /// The policy that claimed the repository.
    pub policy: String,
}

/// Something that a plan deletes and a run skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest, or the tag's manifest.
    pub digest: Digest,
    /// The tag, if only the tag was to be removed.
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

    /// Records that it was asked to stop before it was done.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
        self.cut_off = Some(INTERRUPTED.to_owned());
    }

    /// The result, without the deletions.
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
            problems: worst.cloned().chain(refusals).chain(failures).take(MAX_PROBLEMS).collect(),
        }
    }

    /// How the run ended: never [`Outcome::Skipped`], of which there is no report, and [`Outcome::Failed`] only if
    /// the registry is down because of it. A run that took longer than `run_timeout` is partial, not interrupted:
    /// the next one may take too long as well, until an operator raises the limit.
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
