//! What the journal knows of subjects that are not in a repository: whether they were there once.

use std::collections::BTreeSet;

use super::{Error, RegistryContext, run_blocking};
use crate::model::{Digest, ScanHistory, Snapshot};

/// Adds to what a snapshot knows of subjects that are not there those that regsweep has deleted. `not_seen` are
/// those of which that was asked before.
pub(super) async fn load_journaled(
    context: RegistryContext<'_>,
    snapshot: &mut Snapshot,
    before: &ScanHistory,
    not_seen: &mut BTreeSet<Digest>,
) -> Result<(), Error> {
    let Some(state) = context.state else { return Ok(()) };
    let mut open = snapshot.subjects();
    open.retain(|subject| {
        snapshot.absent.contains(subject)
            && !before.seen_subjects.contains(subject)
            && !before.observations.contains_key(subject)
            && not_seen.insert(subject.clone())
    });
    if !open.is_empty() {
        let (state, registry) = (state.clone(), context.registry.name.clone());
        let repository = snapshot.repository.clone();
        let found = run_blocking(move || state.journaled(&registry, &repository, &open)).await?;
        snapshot.seen_subjects.extend(found);
    }
    Ok(())
}
