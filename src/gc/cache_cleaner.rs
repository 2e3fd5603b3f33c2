//! Clears a registry's cache in Redis of the blobs that a sweep removed.
//!
//! It collects the digests while a collection goes on. It does not know when they have to be cleared.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gc::error::Error;
use crate::gc::redis::Redis;
use crate::gc::sweeper::Findings;
use crate::model::Digest;
use crate::runtime::with_retries;

/// The cache of a registry in one collection.
#[derive(Debug, Clone)]
pub(super) struct CacheCleaner {
    /// `None` where a restart of the registry empties the cache.
    redis: Option<Arc<Redis>>,
    /// The digests of which the cache may have entries that are wrong once the sweep was begun.
    stale: Arc<Mutex<BTreeSet<Digest>>>,
}

impl CacheCleaner {
    pub(super) fn new(redis: Option<Arc<Redis>>) -> Self {
        Self { redis, stale: Arc::default() }
    }

    /// Whether there is a cache that outlives the registry.
    pub(super) fn is_needed(&self) -> bool {
        self.redis.is_some()
    }

    /// Takes in what a dry run or a sweep found.
    pub(super) fn add(&self, findings: &Findings) {
        if let (true, Findings::Eligible { blobs, unlinked, .. }) = (self.is_needed(), findings) {
            self.lock().extend(blobs.iter().chain(unlinked).cloned());
        }
    }

    /// The digests of which the cache may have wrong entries after a sweep; none where there is no such cache.
    pub(super) fn stale(&self) -> BTreeSet<Digest> {
        self.lock().clone()
    }

    /// Removes their entries.
    pub(super) async fn clear(&self) -> Result<(), Error> {
        match &self.redis {
            Some(redis) => clear(redis, &self.stale()).await,
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the entries of these digests, with retries.
pub(super) async fn clear(redis: &Redis, stale: &BTreeSet<Digest>) -> Result<(), Error> {
    with_retries(|| async { redis.clear(stale).await.map(drop) }, Error::is_transient).await
}
