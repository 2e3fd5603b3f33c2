//! The plan of one registry: every claimed repository is scanned and planned.
//!
//! It changes nothing in the registry.

use futures_util::{StreamExt as _, stream};

use super::context::RegistryContext;
use super::error::Error;
use super::features::find_out;
use super::memory_share::RepositoryQueue;
use super::progress::Progress;
use super::repositories::repositories;
use super::retained::RetainedDigests;
use super::{hidden_tags, scan_history};
use crate::model::{RepositoryName, TagDeletion};
use crate::plan::{Failure, Intent, Plan};
use crate::registry::{Features, Kind, TagCompleteness};

/// The plan of a registry, with what applying it and a collection need to know of the scan.
pub struct ScannedPlan {
    /// The plan of every claimed repository, without what it keeps.
    pub plan: Plan,
    /// The number of repositories that no policy claims.
    pub unclaimed: usize,
    /// The digests that a collection must not sweep; empty if none is configured.
    pub retained: RetainedDigests,
    pub(super) features: Features,
    pub(super) tag_completeness: TagCompleteness,
}

/// Scans and plans every claimed repository. One that cannot be read is left alone and reported. A registry that is
/// down, or that takes longer than `run_timeout`, is an error.
///
/// `ready` is called with one of the claimed repositories before the long part. It can end the run with an error, and
/// returns whether the registry deletes single tags, if it has asked the registry.
pub async fn scan_and_plan(
    context: RegistryContext<'_>,
    progress: &dyn Progress,
    ready: impl AsyncFn(&RepositoryName) -> Result<Option<TagDeletion>, Error>,
) -> Result<ScannedPlan, Error> {
    context.within_run_timeout(scan_and_plan_all(context, progress, ready)).await
}

async fn scan_and_plan_all(
    context: RegistryContext<'_>,
    progress: &dyn Progress,
    ready: impl AsyncFn(&RepositoryName) -> Result<Option<TagDeletion>, Error>,
) -> Result<ScannedPlan, Error> {
    let names = repositories(context).await?;
    names.iter().for_each(|name| progress.found(name));
    let total = names.len();
    let intents = names.into_iter().map(|name| {
        let intent = context.intent_for(&name);
        (name, intent)
    });
    let claimed: Vec<(RepositoryName, Intent)> =
        intents.filter(|(_, intent)| *intent != Intent::Unclaimed).collect();
    let unclaimed = total - claimed.len();
    let features = find_out(context, &claimed, ready).await?;
    progress.scanning(claimed.len());
    let mut plans = Vec::new();
    let mut failures = Vec::new();
    let mut retained = RetainedDigests::default();
    let mut samples = hidden_tags::Samples::default();
    let queue = RepositoryQueue::new(context.registry.concurrency.get());
    let mut results = stream::iter(claimed.into_iter().enumerate())
        .map(async |(position, (repository, intent))| {
            let result = queue.evaluate(position, context, features, &repository, &intent).await;
            progress.scanned();
            (repository, result)
        })
        // In order, so that a command that prints each plan at once prints them in order.
        .buffered(context.registry.concurrency.get());
    while let Some((repository, result)) = results.next().await {
        match result {
            Ok((snapshot, mut plan)) => {
                if context.registry.gc.is_some() {
                    retained.add(&snapshot, &plan);
                }
                samples.add(&snapshot, &plan);
                progress.planned(&plan);
                plan.drop_kept();
                plans.push(plan);
            }
            Err(Error::Registry(error)) if error.kind != Kind::Unavailable => {
                tracing::warn!(
                    registry = %context.registry.name, %repository, kind = error.kind.name(), %error,
                    "the repository could not be read and is left alone"
                );
                failures.push(Failure { repository, kind: error.kind.name(), error: error.to_string() });
            }
            Err(error) => return Err(error),
        }
        queue.advance();
    }
    drop(results);
    scan_history::prune(context).await;
    let mut plan = Plan::new(&context.registry.name, context.now, plans, failures, &context.config.limits);
    let tag_completeness = hidden_tags::refuse(context, features, &samples, &mut plan).await?;
    Ok(ScannedPlan { plan, unclaimed, retained, features, tag_completeness })
}
