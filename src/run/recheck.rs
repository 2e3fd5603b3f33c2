//! The recheck of a repository just before something there is deleted, and how long it is valid.
//!
//! A push after the recheck is not seen. So a recheck soon becomes outdated, and no deletion is sent twice on one
//! recheck.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::error::Error;
use super::evaluate::RecheckContext;
use super::memory_share::evaluate_in_share;
use super::scan::Depth;
use super::work::{CONCURRENT_REPOSITORIES, RepositoryWork};
use crate::model::{Digest, Tag};
use crate::plan::{Planned, RepositoryPlan, Untag, Verdict};

/// A recheck is valid for this long, or for twice as long as it took: where a scan takes long, a run would otherwise
/// do nothing but rechecks.
const MIN_VALIDITY: Duration = Duration::from_secs(1);

/// What the recheck of a repository has found.
pub(super) struct Recheck {
    /// Each manifest; those to be deleted with their tags.
    verdicts: BTreeMap<Digest, Option<Vec<Tag>>>,
    /// Manifests that were asked for and that the registry does not have.
    absent: BTreeSet<Digest>,
    untag: Vec<Untag>,
    valid_until: Instant,
    context: RecheckContext,
}

/// Why a repository could not be rechecked.
pub(super) enum RecheckError {
    /// The run has to end, for this reason.
    Stopped(&'static str),
    /// The repository could not be read.
    Failed(Error),
}

impl RecheckError {
    /// Why deletions are skipped because of this.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Stopped(reason) => reason,
            Self::Failed(_) => "the repository could not be read again before deleting",
        }
    }
}

impl Recheck {
    fn of(plan: &RepositoryPlan, absent: BTreeSet<Digest>, taken: Duration, context: RecheckContext) -> Self {
        let verdict = |planned: &Planned| {
            let tags = (planned.verdict == Verdict::Delete).then(|| planned.tags.clone());
            (planned.digest.clone(), tags)
        };
        Self {
            verdicts: plan.manifests.iter().map(verdict).collect(),
            absent,
            untag: plan.untag.clone(),
            valid_until: Instant::now() + MIN_VALIDITY.max(2 * taken),
            context,
        }
    }

    /// The tags of a manifest that is to be deleted; `None` if it is not.
    pub(super) fn tags_to_delete(&self, digest: &Digest) -> Option<&[Tag]> {
        self.verdicts.get(digest)?.as_deref()
    }

    /// Whether a manifest was asked for and the registry does not have it.
    pub(super) fn is_absent(&self, digest: &Digest) -> bool {
        self.absent.contains(digest)
    }

    /// Whether a tag is to be removed while its manifest is kept.
    pub(super) fn removes_tag(&self, untag: &Untag) -> bool {
        self.untag.contains(untag)
    }

    /// Whether it must be done again before anything more is deleted.
    pub(super) fn is_outdated(&self) -> bool {
        self.valid_until <= Instant::now()
    }

    /// Records that these manifests are to be deleted together with one that this run has deleted.
    pub(super) fn parent_deleted(&mut self, dependents: Vec<Digest>) {
        self.context.parents_deleted.extend(dependents);
    }
}

/// Scans and plans the repository again. If the run has to end, it may take `grace` more. Also returns the new plan.
pub(super) async fn recheck(
    work: &RepositoryWork<'_>,
    last: Option<&Recheck>,
    grace: Duration,
) -> Result<(Recheck, RepositoryPlan), RecheckError> {
    let depth = Depth::Claimed(&work.planned.intent);
    let first = || RecheckContext {
        planned_deletions: work.planned.deletions().map(|planned| planned.digest.clone()).collect(),
        ..RecheckContext::default()
    };
    let mut context = last.map_or_else(first, |last| last.context.clone());
    let evaluated = evaluate_in_share(
        CONCURRENT_REPOSITORIES,
        work.context,
        work.features,
        &work.planned.repository,
        &work.planned.intent,
        depth,
        Some(&mut context),
    );
    let evaluated = work.stop.cancel_after(evaluated, grace).await.map_err(RecheckError::Stopped)?;
    let (snapshot, plan, taken) = evaluated.map_err(RecheckError::Failed)?;
    Ok((Recheck::of(&plan, snapshot.absent, taken, context), plan))
}
