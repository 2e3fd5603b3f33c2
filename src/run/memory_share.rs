//! How much memory each of several repositories may take that are scanned at the same time.
//!
//! Each has a share. A repository that is too large for its share drops everything that it holds, requests under way
//! included, waits until no other repository may exceed its share, and is scanned again from the beginning. While it
//! waits it holds nothing, so no other repository can wait for it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::bounds::{Bounds, Share};
use super::context::RegistryContext;
use super::error::Error;
use super::evaluate::{RecheckContext, scan_and_evaluate};
use super::scan::Depth;
use crate::model::{RepositoryName, Snapshot};
use crate::plan::{Intent, RepositoryPlan};
use crate::registry::Features;

/// Repositories that are scanned concurrently, and whose results are taken in order. Only the first one may exceed
/// its share. It waits for no other, so the queue always advances.
pub(super) struct RepositoryQueue {
    concurrency: usize,
    /// The number of repositories whose results were taken.
    taken: watch::Sender<usize>,
}

impl RepositoryQueue {
    /// A queue of which this many repositories are scanned at the same time.
    pub(super) fn new(concurrency: usize) -> Self {
        Self { concurrency, taken: watch::Sender::default() }
    }

    /// Scans and plans the repository at this position. The result is in memory until [`RepositoryQueue::advance`].
    pub(super) async fn evaluate(
        &self,
        position: usize,
        context: RegistryContext<'_>,
        features: Features,
        repository: &RepositoryName,
        intent: &Intent,
    ) -> Result<(Snapshot, RepositoryPlan), Error> {
        let depth = Depth::Claimed(intent);
        let is_first = *self.taken.borrow() == position;
        let share = if is_first { Share::Whole } else { Share::of(self.concurrency) };
        let mut bounds = Bounds::of(context, repository, share);
        let evaluated = scan_and_evaluate(features, repository, intent, depth, None, &mut bounds).await;
        if !bounds.exceeded_share() {
            return evaluated;
        }
        drop(evaluated);
        // The sender is a field of this queue, so it cannot be gone.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == position).await;
        let mut bounds = Bounds::of(context, repository, Share::Whole);
        scan_and_evaluate(features, repository, intent, depth, None, &mut bounds).await
    }

    /// The result of the first repository was taken, and nothing of it is in memory any more.
    pub(super) fn advance(&self) {
        self.taken.send_modify(|taken| *taken += 1);
    }
}

/// Scans and plans a repository while this many others are scanned, in any order. Also returns how long the scan took,
/// without the time that it waited. The result must not be held for long.
pub(super) async fn evaluate_in_share(
    concurrency: usize,
    context: RegistryContext<'_>,
    features: Features,
    repository: &RepositoryName,
    intent: &Intent,
    depth: Depth<'_>,
    mut recheck: Option<&mut RecheckContext>,
) -> Result<(Snapshot, RepositoryPlan, Duration), Error> {
    let timed = |begin: Instant| move |(snapshot, plan)| (snapshot, plan, begin.elapsed());
    let begin = Instant::now();
    // If no other repository exceeds its share now, this one need not be scanned twice.
    let permit = context.reader.try_acquire_large();
    let share = if permit.is_some() { Share::Whole } else { Share::of(concurrency) };
    let mut bounds = Bounds::of(context, repository, share);
    let first = recheck.as_deref_mut();
    let evaluated = scan_and_evaluate(features, repository, intent, depth, first, &mut bounds).await;
    if !bounds.exceeded_share() {
        return evaluated.map(timed(begin));
    }
    drop(evaluated);
    let _permit = context.reader.acquire_large().await;
    let begin = Instant::now();
    let mut bounds = Bounds::of(context, repository, Share::Whole);
    scan_and_evaluate(features, repository, intent, depth, recheck, &mut bounds).await.map(timed(begin))
}
