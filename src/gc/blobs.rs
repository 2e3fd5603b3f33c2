//! The blobs that a collection may sweep, with their sizes: measured before the sweep, and checked after it.
//!
//! It asks a sweeper for the size of a blob, and knows nothing of the order of a collection's steps.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::gc::error::Error;
use crate::gc::sweeper::{DryRun, Findings, Sweeper};
use crate::model::Digest;
use crate::runtime::Deadline;

/// Blobs whose size is read at the same time. The Engine reads them one after the other anyway; a few requests in flight
/// hide the round trips.
const CONCURRENT_LOOKUPS: usize = 4;

/// The blobs that may be swept, with sizes.
pub(super) struct Blobs {
    /// Whether blobs can be read.
    are_seen: bool,
    /// 0 where the size is not known.
    sizes: BTreeMap<Digest, u64>,
}

impl Blobs {
    /// None yet.
    pub(super) async fn none<S: Sweeper>(sweeper: &S) -> Result<Self, Error> {
        Ok(Self { are_seen: sweeper.sees_blobs().await?, sizes: BTreeMap::new() })
    }

    /// Whether blobs can be read.
    pub(super) fn are_seen(&self) -> bool {
        self.are_seen
    }

    /// The sizes; 0 where the size is not known.
    pub(super) fn sizes(&self) -> &BTreeMap<Digest, u64> {
        &self.sizes
    }

    /// The sum of the sizes.
    pub(super) fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// Replaces the blobs that may be swept by `eligible`, and measures those that are new.
    pub(super) async fn replace<S: Sweeper>(
        &mut self,
        sweeper: &S,
        eligible: BTreeSet<Digest>,
    ) -> Result<(), Error> {
        self.sizes.retain(|digest, _| eligible.contains(digest));
        let new: Vec<Digest> =
            eligible.into_iter().filter(|digest| !self.sizes.contains_key(digest)).collect();
        if !self.are_seen {
            self.sizes.extend(new.into_iter().map(|digest| (digest, 0)));
            return Ok(());
        }
        let found = sizes(sweeper, new.iter().cloned()).await?;
        if found.is_empty() && !new.is_empty() && self.sizes.is_empty() {
            // The registry sees blobs where we see none, so we read the wrong place.
            tracing::warn!(
                "the storage is not where the registry's configuration says: bytes are not measured"
            );
            self.are_seen = false;
        }
        self.sizes.extend(new.into_iter().map(|digest| {
            let size = found.get(&digest).copied().unwrap_or_default();
            (digest, size)
        }));
        Ok(())
    }

    /// The blobs that do not exist any more after a sweep, and their bytes. It has to be known before the registry is
    /// started, when they may be pushed again.
    pub(super) async fn removed<S: Sweeper>(
        &self,
        sweeper: &S,
        swept: BTreeSet<Digest>,
        deadline: Deadline,
    ) -> Result<(BTreeSet<Digest>, u64), Error> {
        deadline.limit(self.missing(sweeper, swept)).await?
    }

    async fn missing<S: Sweeper>(
        &self,
        sweeper: &S,
        swept: BTreeSet<Digest>,
    ) -> Result<(BTreeSet<Digest>, u64), Error> {
        if !self.are_seen || !sweeper.sees_blobs().await? {
            return Ok((swept, 0));
        }
        // More blobs may have become eligible between the last dry run and the sweep of a running registry. They are
        // removed as well, and their size is not known.
        let all: BTreeSet<Digest> = self.sizes.keys().cloned().chain(swept).collect();
        let existing = sizes(sweeper, all.iter().cloned()).await?;
        let removed: BTreeSet<Digest> =
            all.into_iter().filter(|digest| !existing.contains_key(digest)).collect();
        let bytes = removed.iter().filter_map(|digest| self.sizes.get(digest)).sum();
        Ok((removed, bytes))
    }
}

/// Which of these blobs do not exist any more, with the sizes as given. Where blobs cannot be read, those
/// exist that a dry run still finds eligible.
pub(super) async fn missing<S: Sweeper>(
    sweeper: &S,
    blobs: &BTreeMap<Digest, u64>,
    deadline: Deadline,
) -> Result<BTreeMap<Digest, u64>, Error> {
    let existing: BTreeSet<Digest> = if sweeper.sees_blobs().await? {
        sizes(sweeper, blobs.keys().cloned()).await?.into_keys().collect()
    } else {
        match sweeper.dry_run(deadline).await? {
            DryRun::Unsupported => return Err(Error::UnknownStore),
            DryRun::Done(Findings::EmptyStorage) => BTreeSet::new(),
            DryRun::Done(Findings::Eligible { blobs, .. }) => blobs,
        }
    };
    let missing = blobs.iter().filter(|(digest, _)| !existing.contains(*digest));
    Ok(missing.map(|(digest, size)| (digest.clone(), *size)).collect())
}

/// The sizes of those that exist.
async fn sizes<S: Sweeper>(
    sweeper: &S,
    digests: impl Iterator<Item = Digest>,
) -> Result<BTreeMap<Digest, u64>, Error> {
    let lookups = digests.map(|digest| async move {
        let size = sweeper.blob_size(&digest).await?;
        Ok(size.map(|size| (digest, size)))
    });
    stream::iter(lookups)
        .buffer_unordered(CONCURRENT_LOOKUPS)
        .try_filter_map(|found| std::future::ready(Ok(found)))
        .try_collect()
        .await
}
