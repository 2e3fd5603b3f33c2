//! One repository in full detail, for commands that explain it.

use super::context::RegistryContext;
use super::error::Error;
use super::features::with_recorded;
use super::memory_share::evaluate_in_share;
use super::scan::Depth;
use crate::model::{RepositoryName, Snapshot};
use crate::plan::RepositoryPlan;

/// Everything that a repository holds, with the verdicts of the policy that claims it. Without such a policy,
/// everything is kept.
pub async fn inspect(
    context: RegistryContext<'_>,
    repository: &RepositoryName,
) -> Result<(Snapshot, RepositoryPlan), Error> {
    let intent = context.intent_for(repository);
    let features = with_recorded(context, context.reader.features(repository).await?, None).await?;
    let readers = context.registry.concurrency.get();
    let evaluated =
        evaluate_in_share(readers, context, features, repository, &intent, Depth::Everything, None);
    let (snapshot, plan, _) = evaluated.await?;
    Ok((snapshot, plan))
}
