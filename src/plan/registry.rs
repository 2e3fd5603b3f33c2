//! The plan of one registry: the plans of its repositories, checked against the limits.
//!
//! It must not know how the plan of a repository is made.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::limit::{Refusal, refusals};
use super::repository::RepositoryPlan;
use crate::model::RepositoryName;
use crate::policy::Limits;

/// What one run would do in one registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The registry.
    pub registry: String,
    /// The moment as of which it was made.
    pub now: DateTime<Utc>,
    /// One plan for each repository that a policy claims and that could be read.
    pub repositories: Vec<RepositoryPlan>,
    /// Refusals by limits.
    pub refusals: Vec<Refusal>,
    /// Repositories in which nothing is deleted because they could not be read.
    pub failures: Vec<Failure>,
}

impl Plan {
    /// Combines the plans of the repositories of a registry and checks the limits.
    pub fn new(
        registry: &str,
        now: DateTime<Utc>,
        mut repositories: Vec<RepositoryPlan>,
        mut failures: Vec<Failure>,
        limits: &Limits,
    ) -> Self {
        repositories.sort_by(|a, b| a.repository.cmp(&b.repository));
        failures.sort_by(|a, b| a.repository.cmp(&b.repository));
        let refusals = refusals(&repositories, limits);
        Self { registry: registry.to_owned(), now, repositories, refusals, failures }
    }

    /// Refuses all deletions, because the registry may hide tags that would have kept some of the manifests.
    pub fn refuse_for_hidden_tags(&mut self) {
        let deletions = self.repositories.iter().map(|repository| repository.deletions().count()).sum();
        self.refusals.push(Refusal::of_hidden_tags(deletions));
    }

    /// The repositories in which a run may apply the plan: those that are neither held back nor refused.
    pub fn permitted(&self) -> impl Iterator<Item = &RepositoryPlan> {
        self.permitted_but_for(&self.refusals)
    }

    /// The same if only these refusals apply, because an operator has overridden the others.
    pub fn permitted_but_for<'a>(
        &'a self,
        refusals: &'a [Refusal],
    ) -> impl Iterator<Item = &'a RepositoryPlan> {
        self.repositories.iter().filter(|repository| {
            !repository.intent.is_held_back()
                && !refusals.iter().any(|refusal| refusal.concerns(&repository.repository))
        })
    }

    /// The sums over all repositories.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { repositories: self.repositories.len(), ..Totals::default() };
        for repository in &self.repositories {
            totals.tags += repository.tags;
            let delete = repository.deletions().count();
            totals.manifests += repository.kept + delete;
            totals.delete += delete;
            totals.untag += repository.untag.len();
            totals.expired_bytes = totals.expired_bytes.saturating_add(repository.expired_bytes);
            totals.referenced_bytes = totals.referenced_bytes.saturating_add(repository.referenced_bytes);
        }
        totals
    }
}

/// The sums over the repositories of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Repositories that a policy claims and that could be read.
    pub repositories: usize,
    /// Tags in them.
    pub tags: usize,
    /// Manifests that were found.
    pub manifests: usize,
    /// Manifests to delete.
    pub delete: usize,
    /// Tags to remove alone.
    pub untag: usize,
    /// Bytes that only expired manifests refer to, counted within each repository.
    pub expired_bytes: u64,
    /// Bytes that kept manifests refer to, counted within each repository.
    pub referenced_bytes: u64,
}

/// A repository that could not be read completely, so nothing is deleted in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The repository.
    pub repository: RepositoryName,
    /// The kind of failure: one of few fixed names, which can be a label of a metric.
    pub kind: &'static str,
    /// What happened, for people.
    pub error: String,
}
