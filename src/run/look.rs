//! The last look at a repository before something there is deleted, and how long it is good for.
//!
//! Whoever pushes after it is not seen. So it is soon too old, and no deletion is sent twice on one look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::apply::{REPOSITORIES, Work};
use super::room::judge_beside;
use super::{Depth, Error, RecheckContext};
use crate::model::{Digest, Tag};
use crate::plan::{Planned, RepositoryPlan, Untag, Verdict};

/// A look is good for so long, or for twice as long as it took: where looking takes long, deleting would
/// come to nothing else.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What a look has found.
pub(super) struct Look {
    /// What is kept and what is doomed, the latter with its tags.
    verdicts: BTreeMap<Digest, Option<Vec<Tag>>>,
    /// What was asked for and is not there.
    absent: BTreeSet<Digest>,
    untag: Vec<Untag>,
    until: Instant,
    recheck: RecheckContext,
}

/// Why there was no look.
pub(super) enum Blind {
    /// The run has to end, for this reason.
    Ended(&'static str),
    /// The repository could not be read.
    Failed(Error),
}

impl Blind {
    pub(super) fn why(&self) -> &'static str {
        match self {
            Self::Ended(why) => why,
            Self::Failed(_) => "the repository could not be read again before deleting",
        }
    }
}

impl Look {
    fn of(plan: &RepositoryPlan, absent: BTreeSet<Digest>, taken: Duration, recheck: RecheckContext) -> Self {
        let verdict = |planned: &Planned| {
            let tags = (planned.verdict == Verdict::Delete).then(|| planned.tags.clone());
            (planned.digest.clone(), tags)
        };
        Self {
            verdicts: plan.manifests.iter().map(verdict).collect(),
            absent,
            untag: plan.untag.clone(),
            until: Instant::now() + GOOD_FOR.max(2 * taken),
            recheck,
        }
    }

    /// The tags that a manifest has which is doomed; `None` if it is not.
    pub(super) fn dooms(&self, digest: &Digest) -> Option<&[Tag]> {
        self.verdicts.get(digest)?.as_deref()
    }

    /// Whether a manifest was asked for and is not there.
    pub(super) fn is_absent(&self, digest: &Digest) -> bool {
        self.absent.contains(digest)
    }

    /// Notes that these were to go with a manifest that is gone now.
    pub(super) fn parent_deleted(&mut self, dependents: Vec<Digest>) {
        self.recheck.parents_deleted.extend(dependents);
    }

    /// Whether a tag is to go alone.
    pub(super) fn removes(&self, untag: &Untag) -> bool {
        self.untag.contains(untag)
    }

    pub(super) fn is_old(&self) -> bool {
        self.until <= Instant::now()
    }
}

impl Work<'_> {
    /// Reads the repository once more and judges it: what was pushed since the last look is noticed now. If the
    /// run has to end, it may take as much time more.
    pub(super) async fn look(
        &self,
        last: Option<&Look>,
        more: Duration,
    ) -> Result<(Look, RepositoryPlan), Blind> {
        let depth = Depth::Claimed(self.policy);
        let doomed = || self.planned.deletions().map(|planned| planned.digest.clone()).collect();
        let first = || RecheckContext { doomed: doomed(), ..RecheckContext::default() };
        let mut recheck = last.map_or_else(first, |last| last.recheck.clone());
        let repository = &self.planned.repository;
        let (features, policy) = (self.features, self.policy);
        let judged =
            judge_beside(REPOSITORIES, self.context, features, repository, policy, depth, Some(&mut recheck));
        let judged = self.halt.in_time(judged, more).await.map_err(Blind::Ended)?;
        let (snapshot, plan, taken) = judged.map_err(Blind::Failed)?;
        Ok((Look::of(&plan, snapshot.absent, taken, recheck), plan))
    }
}
