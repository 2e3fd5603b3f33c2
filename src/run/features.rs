//! The features of a registry: how it deletes and lists, by what it has shown or by what can be inferred.

use super::blocking::run_blocking;
use super::context::RegistryContext;
use super::error::Error;
use crate::model::{RepositoryName, TagDeletion};
use crate::plan::Intent;
use crate::registry::Features;

/// The features are asked for in at most this many repositories; if none of them answers, that is an error.
const MAX_PROBED: usize = 5;

/// The features of the registry, from the first repository that gives a clear answer: one that is broken or forbidden
/// must not keep a run from the others.
pub(super) async fn find_out(
    context: RegistryContext<'_>,
    claimed: &[(RepositoryName, Intent)],
    ready: impl AsyncFn(&RepositoryName) -> Result<Option<TagDeletion>, Error>,
) -> Result<Features, Error> {
    let mut failed = None;
    for (repository, _) in claimed.iter().take(MAX_PROBED) {
        let shown = match ready(repository).await {
            Err(Error::Registry(error)) => {
                failed = Some(error);
                continue;
            }
            shown => shown?,
        };
        match context.reader.features(repository).await {
            Ok(inferred) => return with_recorded(context, inferred, shown).await,
            Err(error) => failed = Some(error),
        }
    }
    let nothing =
        Features { tag_deletion: TagDeletion::Unsupported, referrers: false, ignores_page_size: false };
    failed.map_or(Ok(nothing), |error| Err(error.into()))
}

/// The inferred features, corrected by what the registry has shown of itself: now (`shown`) or in an earlier run. What
/// it shows now is recorded, so that a plan without a run uses it too.
pub(super) async fn with_recorded(
    context: RegistryContext<'_>,
    inferred: Features,
    shown: Option<TagDeletion>,
) -> Result<Features, Error> {
    let known = |recorded: Option<TagDeletion>| Features {
        tag_deletion: recorded.unwrap_or(inferred.tag_deletion),
        ..inferred
    };
    let Some(state) = context.state else { return Ok(known(shown)) };
    let (state, registry) = (state.clone(), context.registry.name.clone());
    let recorded = run_blocking(move || match shown {
        Some(shown) => state.record_tag_deletion(&registry, shown).map(|()| Some(shown)),
        None => state.tag_deletion(&registry),
    });
    Ok(known(recorded.await?))
}
