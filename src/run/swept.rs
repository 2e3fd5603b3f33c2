//! The blobs that a collection has swept, counted by what is gone.

use std::collections::BTreeMap;

use crate::gc::Collector;
use crate::model::Digest;
use crate::state;

/// The blobs that were about to be swept and are gone, with their bytes. If that is not known, none are counted: the
/// count may be too small, and never counts a blob twice.
pub(super) async fn swept(
    collector: &Collector,
    recovery_log: &state::RecoveryLog,
) -> Result<BTreeMap<Digest, u64>, state::Error> {
    let open = recovery_log.unfinished_sweep()?;
    if open.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(collector.missing_blobs(&open).await.unwrap_or_else(|error| {
        tracing::error!(kind = error.kind(), %error, "what the collection freed cannot be counted");
        BTreeMap::new()
    }))
}

/// The number of blobs and their bytes.
pub(super) fn sums(gone: BTreeMap<Digest, u64>) -> (u64, u64) {
    (gone.len() as u64, gone.into_values().fold(0, u64::saturating_add))
}
