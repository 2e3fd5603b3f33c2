//! The limits of a run: what would exceed one is refused.
//!
//! It must not know why something is deleted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::repository::RepositoryPlan;
use super::verdict::Counted;
use crate::model::RepositoryName;
use crate::policy::Limits;

/// A limit of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// `limits.max_deletions`: manifests per run and registry.
    MaxDeletions,
    /// `limits.max_percent`: of a repository's tagged manifests.
    MaxPercent,
    /// `tags_complete`: the registry may hide tags, and the configuration does not say that it does not. An operator
    /// cannot override that, because a plan does not show what is hidden.
    TagsComplete,
}

/// What a run refuses because it would exceed a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The limit that would be exceeded.
    pub limit: Limit,
    /// The repository in which nothing is deleted; `None` is the whole registry.
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
    pub const ALL: [Self; 3] = [Self::MaxDeletions, Self::MaxPercent, Self::TagsComplete];

    /// Its fixed name, as in JSON and as a label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxDeletions => "max_deletions",
            Self::MaxPercent => "max_percent",
            Self::TagsComplete => "tags_complete",
        }
    }
}

impl Refusal {
    /// Refuses all these deletions, because the registry may hide tags.
    pub(super) fn of_hidden_tags(deletions: usize) -> Self {
        Self { limit: Limit::TagsComplete, repository: None, deletions, of: None, allowed: 0 }
    }

    /// Whether an operator who has reviewed the plan can override it.
    pub fn can_be_overridden(&self) -> bool {
        self.limit != Limit::TagsComplete
    }

    /// Whether nothing is deleted in this repository because of it.
    pub fn concerns(&self, repository: &RepositoryName) -> bool {
        self.repository.as_ref().is_none_or(|refused| refused == repository)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deletions, allowed, .. } = self;
        match (self.limit, &self.repository, self.of) {
            (Limit::TagsComplete, ..) => {
                return write!(
                    f,
                    "{deletions} manifests would be deleted, but the registry may hide tags that keep them: it answers \
                     like distribution 3.1.0 or 3.1.1 on object storage, which on S3 does not list a tag whose name \
                     begins with the name of another tag (https://github.com/distribution/distribution/issues/4891). \
                     Run a version with the fix (3.0, or later than 3.1.1); if its lists are complete (not on S3, or \
                     fixed), set `tags_complete: true` for this registry"
                );
            }
            (_, Some(repository), Some(of)) => write!(
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
            "; review the plan with `regsweep plan`, then run `regsweep run --override-limits` once, or raise the limit",
        )
    }
}

/// The refusals for these plans. Deletions that are held back or refused in a repository will not happen, so they do
/// not count for the registry.
pub(super) fn refusals(repositories: &[RepositoryPlan], limits: &Limits) -> Vec<Refusal> {
    let active = || repositories.iter().filter(|repository| !repository.intent.is_held_back());
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
    counts: impl Fn(Counted) -> bool,
) -> Option<Refusal> {
    let of = plan.counted.iter().filter(|&&counted| counts(counted)).count();
    let deletions = plan.deletions().filter(|planned| planned.counted_as.is_some_and(&counts)).count();
    let allowed = usize::from(limits.max_percent);
    (of >= Limits::PERCENT_FROM && deletions * 100 > allowed * of).then(|| Refusal {
        limit: Limit::MaxPercent,
        repository: Some(plan.repository.clone()),
        deletions,
        of: Some(of),
        allowed,
    })
}
