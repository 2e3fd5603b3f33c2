//! Bounds that a run must not cross without a human's word.

use std::fmt;

use serde::Serialize;

use super::{Counted, RepositoryPlan};
use crate::model::RepositoryName;
use crate::policy::Limits;

/// A limit of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// `limits.max_deletions`: manifests per run and registry.
    MaxDeletions,
    /// `limits.max_percent`: of a repository's tagged manifests.
    MaxPercent,
}

/// A run that would cross a limit, and therefore does nothing there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The limit that would be crossed.
    pub limit: Limit,
    /// The repository that is left alone; `None` is the whole registry.
    pub repository: Option<RepositoryName>,
    /// Manifests that the plan would delete there; for `max_percent` only tagged ones.
    pub deletions: usize,
    /// For `max_percent`, the tagged manifests of the repository.
    pub of: Option<usize>,
    /// What the limit allows: manifests, or percent.
    pub allowed: usize,
}

impl Limit {
    /// Every limit there is.
    pub const ALL: [Self; 2] = [Self::MaxDeletions, Self::MaxPercent];

    /// A fixed word for the limit, fit for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxDeletions => "max_deletions",
            Self::MaxPercent => "max_percent",
        }
    }
}

impl Refusal {
    /// Whether the refusal leaves this repository alone.
    pub fn concerns(&self, repository: &RepositoryName) -> bool {
        self.repository.as_ref().is_none_or(|refused| refused == repository)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deletions, allowed, .. } = self;
        match (&self.repository, self.of) {
            (Some(repository), Some(of)) => write!(
                f,
                "{repository}: {deletions} of its {of} tagged manifests would be deleted, and limits.max_percent \
                 allows {allowed} %"
            )?,
            _ => write!(
                f,
                "{deletions} manifests would be deleted, and limits.max_deletions allows {allowed}"
            )?,
        }
        f.write_str(
            "; look at it with `regsweep plan`, then run once by hand with `regsweep run --override-limits`, \
             or raise the limit",
        )
    }
}

/// Every limit that these plans would cross. What is held back or refused by repository is not going
/// to happen, so it does not count against the registry.
pub(super) fn refusals(repositories: &[RepositoryPlan], limits: &Limits) -> Vec<Refusal> {
    let active = || repositories.iter().filter(|repository| !repository.held_back);
    let mut refusals: Vec<Refusal> =
        active().filter_map(|repository| percent_refusal(repository, limits)).collect();
    let deletions: usize = active()
        .filter(|repository| !refusals.iter().any(|refusal| refusal.concerns(&repository.repository)))
        .map(|repository| repository.deletions().count())
        .sum();
    if deletions > limits.max_deletions {
        refusals.push(Refusal {
            limit: Limit::MaxDeletions,
            repository: None,
            deletions,
            of: None,
            allowed: limits.max_deletions,
        });
    }
    refusals
}

fn percent_refusal(plan: &RepositoryPlan, limits: &Limits) -> Option<Refusal> {
    let images = |counted: Counted| counted == Counted::Image;
    percent_refusal_of(plan, limits, images).or_else(|| percent_refusal_of(plan, limits, |_| true))
}

fn percent_refusal_of(
    plan: &RepositoryPlan,
    limits: &Limits,
    is_meant: impl Fn(Counted) -> bool,
) -> Option<Refusal> {
    let of = plan.counted.iter().filter(|&&counted| is_meant(counted)).count();
    let deletions = plan.deletions().filter(|planned| planned.counted_as.is_some_and(&is_meant)).count();
    let allowed = usize::from(limits.max_percent);
    (of >= Limits::PERCENT_FROM && deletions * 100 > allowed * of).then(|| Refusal {
        limit: Limit::MaxPercent,
        repository: Some(plan.repository.clone()),
        deletions,
        of: Some(of),
        allowed,
    })
}
