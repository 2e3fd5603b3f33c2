//! Runs and collections that have ended, as the page and the API tell of them.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::report::{CollectionReport, Outcome, RunReport, RunSummary};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A run.
    Run(Run),
    /// A collection.
    Collection {
        /// The registry.
        registry: String,
        /// What it did.
        collected: CollectionReport,
    },
}

/// One run, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its number in the history; `None` if it was never noted.
    pub id: Option<i64>,
    /// The registry.
    pub registry: String,
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the plan was carried out, or only made.
    pub applied: bool,
    /// Manifests that the run deleted; those that somebody else had deleted before are not counted.
    pub deleted: usize,
    /// Tags that were removed alone.
    pub untagged: usize,
    /// What the plan would have deleted and the run left alone.
    pub skipped: usize,
    /// Repositories that could not be read, and deletions that failed.
    pub failures: usize,
    /// What limits forbade.
    pub refusals: usize,
    /// The first of what went wrong, for people.
    pub problems: Vec<String>,
}

impl Run {
    /// A run that came to its end.
    pub fn of(report: &RunReport, at: DateTime<Utc>, duration: Duration) -> Self {
        Self {
            duration,
            deleted: report.deleted.iter().filter(|deleted| !deleted.already_gone).count(),
            untagged: report.untagged.len(),
            ..Self::nothing(&report.registry, at, report.outcome()).with(report.summary())
        }
    }

    /// The same run with what it came to.
    pub fn with(self, summary: RunSummary) -> Self {
        let RunSummary { applied, skipped, failures, refusals, problems } = summary;
        Self { applied, skipped, failures, refusals: refusals.len(), problems, ..self }
    }

    /// A run that could not scan its registry.
    pub fn failed(registry: &str, error: &str, at: DateTime<Utc>, duration: Duration) -> Self {
        let problems = vec![error.to_owned()];
        Self { duration, problems, ..Self::nothing(registry, at, Outcome::Failed) }
    }

    /// A run that was asked to end before it had read its registry.
    pub fn interrupted(registry: &str, why: &str, at: DateTime<Utc>, duration: Duration) -> Self {
        Self { outcome: Outcome::Interrupted, ..Self::failed(registry, why, at, duration) }
    }

    /// A run that did not begin, because another one was under way.
    pub fn skipped(registry: &str, at: DateTime<Utc>) -> Self {
        Self::nothing(registry, at, Outcome::Skipped)
    }

    fn nothing(registry: &str, at: DateTime<Utc>, outcome: Outcome) -> Self {
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

impl Entry {
    pub(super) fn registry(&self) -> &str {
        match self {
            Self::Run(run) => &run.registry,
            Self::Collection { registry, .. } => registry,
        }
    }

    /// When it began.
    pub(super) fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Run(run) => run.at,
            Self::Collection { collected, .. } => collected.at,
        }
    }
}
