//! What a survey remembers of repositories from one look to the next, read and kept beside other requests.

use chrono::{DateTime, Utc};

use super::bounds::Bounds;
use super::{Error, Site, aside};
use crate::model::{RepositoryName, ScanHistory};

/// What is remembered of a repository.
pub(super) async fn recall(
    bounds: &mut Bounds<'_>,
    repository: &RepositoryName,
) -> Result<ScanHistory, Error> {
    let site = bounds.site;
    let Some(state) = site.state else { return Ok(ScanHistory::default()) };
    let (state, registry, repository) = (state.clone(), site.registry.name.clone(), repository.clone());
    let has_room = bounds.filling();
    let before = aside(move || state.recall_while(&registry, &repository, has_room)).await?;
    Ok(bounds.recalled(before)?)
}

/// Keeps what a look has found for the next one.
pub(super) async fn remember(
    site: Site<'_>,
    repository: &RepositoryName,
    before: ScanHistory,
    after: ScanHistory,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let Some(state) = site.state else { return Ok(()) };
    let (state, registry, repository) = (state.clone(), site.registry.name.clone(), repository.clone());
    Ok(aside(move || state.remember(&registry, &repository, &before, &after, at)).await?)
}

/// Drops from the memory what has been gone for longer than the configuration wants anything remembered.
/// A failure of that is no failure of the survey.
pub(super) async fn forget(site: Site<'_>) {
    let Some(state) = site.state else { return };
    let (state, registry) = (state.clone(), site.registry.name.clone());
    let until = (site.clock)() - site.config.history;
    if let Err(error) = aside(move || state.forget(&registry, until)).await {
        tracing::warn!(registry = %site.registry.name, %error, "the memory cannot be tidied");
    }
}
