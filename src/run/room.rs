//! Who may take how much memory where repositories are read side by side.
//!
//! Each has a share. One that is too large for it gives everything back that it holds, requests under way
//! included, waits until no other may be large, and is read again from the beginning. It holds nothing while it
//! waits, so that nobody can wait for it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::bounds::{Bounds, Room};
use super::{Depth, Error, RecheckContext, RegistryContext, judge};
use crate::model::{RepositoryName, Snapshot};
use crate::plan::RepositoryPlan;
use crate::policy::Policy;
use crate::registry::Features;

/// Repositories that are read side by side and done with in order. Only the first in the line may take all the
/// room. It waits for no other, so the line always moves.
pub(super) struct Line {
    readers: usize,
    /// How many are done with.
    done: watch::Sender<usize>,
}

impl Line {
    /// For so many at once.
    pub(super) fn new(readers: usize) -> Self {
        Self { readers, done: watch::Sender::default() }
    }

    /// Reads and judges the repository at this place. What comes of it is in memory until [`Line::advance`].
    pub(super) async fn judge(
        &self,
        place: usize,
        context: RegistryContext<'_>,
        features: Features,
        repository: &RepositoryName,
        policy: &Policy,
    ) -> Result<(Snapshot, RepositoryPlan), Error> {
        let depth = Depth::Claimed(policy);
        let is_first = *self.done.borrow() == place;
        let room = if is_first { Room::Whole } else { Room::beside(self.readers) };
        let mut bounds = Bounds::of(context, repository, room);
        let judged = judge(features, repository, policy, depth, None, &mut bounds).await;
        if !bounds.is_crowded() {
            return judged;
        }
        drop(judged);
        // The sender is here, so it cannot be gone.
        let _ = self.done.subscribe().wait_for(|done| *done == place).await;
        let mut bounds = Bounds::of(context, repository, Room::Whole);
        judge(features, repository, policy, depth, None, &mut bounds).await
    }

    /// The first is done with, and nothing of it is in memory any more.
    pub(super) fn advance(&self) {
        self.done.send_modify(|done| *done += 1);
    }
}

/// Reads and judges a repository beside so many others, in any order, and tells how long the reading took that
/// counts. What comes of it is not to be kept for long.
pub(super) async fn judge_beside(
    readers: usize,
    context: RegistryContext<'_>,
    features: Features,
    repository: &RepositoryName,
    policy: &Policy,
    depth: Depth<'_>,
    mut recheck: Option<&mut RecheckContext>,
) -> Result<(Snapshot, RepositoryPlan, Duration), Error> {
    let timed = |begin: Instant| move |(snapshot, plan)| (snapshot, plan, begin.elapsed());
    let begin = Instant::now();
    // Where no other is large, it need not be read twice.
    let alone = context.reader.try_acquire_large();
    let room = if alone.is_some() { Room::Whole } else { Room::beside(readers) };
    let mut bounds = Bounds::of(context, repository, room);
    let judged = judge(features, repository, policy, depth, recheck.as_deref_mut(), &mut bounds).await;
    if !bounds.is_crowded() {
        return judged.map(timed(begin));
    }
    drop(judged);
    let _alone = context.reader.acquire_large().await;
    // What was waited for is no part of what takes long to read.
    let begin = Instant::now();
    let mut bounds = Bounds::of(context, repository, Room::Whole);
    judge(features, repository, policy, depth, recheck, &mut bounds).await.map(timed(begin))
}
