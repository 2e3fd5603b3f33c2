//! A run or a collection that has ended, in the numbers that the page and the API show.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::report::{CollectionReport, Outcome, RunReport, RunSummary};

/// A run or a collection.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryEntry {
    /// A run.
    Run(RunEntry),
    /// A collection.
    Collection {
        /// The registry.
        registry: String,
        /// Its result.
        collected: CollectionReport,
    },
}

/// One run, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEntry {
    /// Its number in the history; `None` if the state has no record of it.
    pub id: Option<i64>,
    /// The registry.
    pub registry: String,
    /// When it started.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the plan was applied, or only made.
    pub applied: bool,
    /// Manifests that the run deleted; those that were already gone are not counted.
    pub deleted: usize,
    /// Tags that were removed while their manifest stays.
    pub untagged: usize,
    /// Manifests and tags of the plan that the run did not delete.
    pub skipped: usize,
    /// Repositories that could not be read, and deletions that failed.
    pub failures: usize,
    /// Refusals by limits.
    pub refusals: usize,
    /// The first failures and refusals, as messages.
    pub problems: Vec<String>,
}

impl RunEntry {
    /// A run that ended.
    pub fn of(report: &RunReport, at: DateTime<Utc>, duration: Duration) -> Self {
        Self {
            duration,
            deleted: report.deleted.iter().filter(|deleted| !deleted.already_gone).count(),
            untagged: report.untagged.len(),
            ..Self::empty(&report.registry, at, report.outcome()).with(report.summary())
        }
    }

    /// The same run with the numbers of a summary.
    pub fn with(self, summary: RunSummary) -> Self {
        let RunSummary { applied, skipped, failures, refusals, problems } = summary;
        Self { applied, skipped, failures, refusals: refusals.len(), problems, ..self }
    }

    /// A run that could not read its registry.
    pub fn failed(registry: &str, error: &str, at: DateTime<Utc>, duration: Duration) -> Self {
        let problems = vec![error.to_owned()];
        Self { duration, problems, ..Self::empty(registry, at, Outcome::Failed) }
    }

    /// A run that was stopped before it had read its registry.
    pub fn interrupted(registry: &str, why: &str, at: DateTime<Utc>, duration: Duration) -> Self {
        Self { outcome: Outcome::Interrupted, ..Self::failed(registry, why, at, duration) }
    }

    /// A run that was not started because another one was running.
    pub fn skipped(registry: &str, at: DateTime<Utc>) -> Self {
        Self::empty(registry, at, Outcome::Skipped)
    }

    fn empty(registry: &str, at: DateTime<Utc>, outcome: Outcome) -> Self {
        Self {
            id: None,
            registry: registry.to_owned(),
            at,
            duration: Duration::ZERO,
            outcome,
            applied: false,
            deleted: 0,
            untagged: 0,
            skipped: 0,
            failures: 0,
            refusals: 0,
            problems: Vec::new(),
        }
    }
}

impl HistoryEntry {
    pub(super) fn registry(&self) -> &str {
        match self {
            Self::Run(run) => &run.registry,
            Self::Collection { registry, .. } => registry,
        }
    }

    /// When it started.
    pub(super) fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Run(run) => run.at,
            Self::Collection { collected, .. } => collected.at,
        }
    }
}
