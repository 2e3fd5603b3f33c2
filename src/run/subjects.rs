//! Subjects of referrers that the repository no longer has, because regsweep deleted them: the journal knows them.

use std::collections::BTreeSet;

use super::blocking::run_blocking;
use super::context::RegistryContext;
use super::error::Error;
use crate::model::{Digest, ScanHistory, Snapshot};

/// Adds to the snapshot the absent subjects that the journal has an entry of. Each is looked up once; `looked_up` are
/// those that were before.
pub(super) async fn load_journaled(
    context: RegistryContext<'_>,
    snapshot: &mut Snapshot,
    before: &ScanHistory,
    looked_up: &mut BTreeSet<Digest>,
) -> Result<(), Error> {
    let Some(state) = context.state else { return Ok(()) };
    let mut open = snapshot.subjects();
    open.retain(|subject| {
        snapshot.absent.contains(subject)
            && !before.seen_subjects.contains(subject)
            && !before.observations.contains_key(subject)
            && looked_up.insert(subject.clone())
    });
    if !open.is_empty() {
        let (state, registry) = (state.clone(), context.registry.name.clone());
        let repository = snapshot.repository.clone();
        let found = run_blocking(move || state.journaled(&registry, &repository, &open)).await?;
        snapshot.seen_subjects.extend(found);
    }
    Ok(())
}
