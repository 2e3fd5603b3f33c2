//! What a registry can do, as far as it was asked or can be inferred.

use super::{Error, RegistryContext, run_blocking};
use crate::model::{RepositoryName, TagDeletion};
use crate::policy::Policy;
use crate::registry::Features;

/// So many repositories are asked for what the registry can do before it counts as unable to answer.
const MAX_PROBED: usize = 5;

/// Finds out whether and how the registry deletes, from the first repository that gives a clear answer:
/// one that is broken or forbidden must not keep the others from being swept.
pub(super) async fn probe(
    context: RegistryContext<'_>,
    claimed: &[(RepositoryName, &Policy)],
    ready: impl AsyncFn(&RepositoryName) -> Result<Option<TagDeletion>, Error>,
) -> Result<Features, Error> {
    let mut failed = None;
    for (repository, _) in claimed.iter().take(MAX_PROBED) {
        let told = match ready(repository).await {
            Err(Error::Registry(error)) => {
                failed = Some(error);
                continue;
            }
            told => told?,
        };
        match context.reader.features(repository).await {
            Ok(inferred) => return with_learned(context, inferred, told).await,
            Err(error) => failed = Some(error),
        }
    }
    let nothing =
        Features { tag_deletion: TagDeletion::Unsupported, referrers: false, ignores_page_size: false };
    failed.map_or(Ok(nothing), |error| Err(error.into()))
}

/// What a registry can do, by what it has shown of itself rather than by what is inferred. What it has
/// `told` now is kept for those who only look, and so plan by the same.
pub(super) async fn with_learned(
    context: RegistryContext<'_>,
    inferred: Features,
    told: Option<TagDeletion>,
) -> Result<Features, Error> {
    let known = |learned: Option<TagDeletion>| Features {
        tag_deletion: learned.unwrap_or(inferred.tag_deletion),
        ..inferred
    };
    let Some(state) = context.state else { return Ok(known(told)) };
    let (state, registry) = (state.clone(), context.registry.name.clone());
    let learned = run_blocking(move || match told {
        Some(told) => state.record_tag_deletion(&registry, told).map(|()| Some(told)),
        None => state.tag_deletion(&registry),
    });
    Ok(known(learned.await?))
}
