//! The scan history of repositories, loaded and saved while other requests go on.

use chrono::{DateTime, Utc};

use super::blocking::run_blocking;
use super::bounds::Bounds;
use super::context::RegistryContext;
use super::error::Error;
use crate::model::{RepositoryName, ScanHistory};

/// Loads the scan history of a repository, as far as it fits into its share of memory.
pub(super) async fn load(bounds: &mut Bounds<'_>, repository: &RepositoryName) -> Result<ScanHistory, Error> {
    let context = bounds.context;
    let Some(state) = context.state else { return Ok(ScanHistory::default()) };
    let (state, registry, repository) = (state.clone(), context.registry.name.clone(), repository.clone());
    let has_room = bounds.fits();
    let before =
        run_blocking(move || state.load_scan_history_while(&registry, &repository, has_room)).await?;
    Ok(bounds.load(before)?)
}

/// Saves what a scan has found, for the next one.
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

/// Deletes observations of manifests that have been gone for longer than `history`. An error of that is logged and
/// does not fail the scan.
pub(super) async fn prune(context: RegistryContext<'_>) {
    let Some(state) = context.state else { return };
    let (state, registry) = (state.clone(), context.registry.name.clone());
    let until = (context.clock)() - context.config.history;
    if let Err(error) = run_blocking(move || state.prune_scan_history(&registry, until)).await {
        tracing::warn!(registry = %context.registry.name, %error, "the scan history cannot be pruned");
    }
}
