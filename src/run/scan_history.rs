//! What a scan remembers of repositories from one look to the next, read and kept beside other requests.

use chrono::{DateTime, Utc};

use super::blocking::run_blocking;
use super::bounds::Bounds;
use super::context::RegistryContext;
use super::error::Error;
use crate::model::{RepositoryName, ScanHistory};

/// What is remembered of a repository.
pub(super) async fn load(bounds: &mut Bounds<'_>, repository: &RepositoryName) -> Result<ScanHistory, Error> {
    let context = bounds.context;
    let Some(state) = context.state else { return Ok(ScanHistory::default()) };
    let (state, registry, repository) = (state.clone(), context.registry.name.clone(), repository.clone());
    let has_room = bounds.filling();
    let before =
        run_blocking(move || state.load_scan_history_while(&registry, &repository, has_room)).await?;
    Ok(bounds.loaded(before)?)
}

/// Keeps what a look has found for the next one.
pub(super) async fn save(
    context: RegistryContext<'_>,
    repository: &RepositoryName,
    before: ScanHistory,
    after: ScanHistory,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let Some(state) = context.state else { return Ok(()) };
    let (state, registry, repository) = (state.clone(), context.registry.name.clone(), repository.clone());
    Ok(run_blocking(move || state.save_scan_history(&registry, &repository, &before, &after, at)).await?)
}

/// Drops from the memory what has been gone for longer than the configuration wants anything remembered.
/// A failure of that is no failure of the scan.
pub(super) async fn prune(context: RegistryContext<'_>) {
    let Some(state) = context.state else { return };
    let (state, registry) = (state.clone(), context.registry.name.clone());
    let until = (context.clock)() - context.config.history;
    if let Err(error) = run_blocking(move || state.prune_scan_history(&registry, until)).await {
        tracing::warn!(registry = %context.registry.name, %error, "the memory cannot be tidied");
    }
}
