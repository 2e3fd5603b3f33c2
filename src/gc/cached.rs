//! A site whose registry keeps its cache in Redis: what a sweep took is cleared there before the registry
//! is put back.
//!
//! It adds that to any other site, and knows of a cache only that it can be cleared.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::gc::docker::patiently;
use crate::gc::output::Found;
use crate::gc::redis::Redis;
use crate::gc::site::{Look, Site};
use crate::gc::{Error, Outside};
use crate::model::Digest;

/// A site, and the cache of its registry.
#[derive(Debug, Clone)]
pub(super) struct Cached<S> {
    site: S,
    /// `None` where a restart of the registry empties the cache.
    redis: Option<Arc<Redis>>,
    /// What the cache may hold and the registry no longer has once the sweep was begun.
    stale: Arc<Mutex<BTreeSet<Digest>>>,
}

impl<S: Site> Cached<S> {
    pub(super) fn new(site: S, redis: Option<Arc<Redis>>) -> Self {
        Self { site, redis, stale: Arc::default() }
    }

    fn note(&self, found: &Found) {
        if let (Some(_), Found::Eligible { blobs, unlinked, .. }) = (&self.redis, found) {
            let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
            stale.extend(blobs.iter().chain(unlinked).cloned());
        }
    }
}

impl<S: Site> Site for Cached<S> {
    fn interrupts(&self) -> bool {
        self.site.interrupts()
    }

    fn looks_twice(&self) -> bool {
        self.site.looks_twice()
    }

    async fn look(&self, deadline: Instant) -> Result<Look, Error> {
        let look = self.site.look(deadline).await?;
        if let Look::Found(found) = &look {
            self.note(found);
        }
        Ok(look)
    }

    async fn sees_blobs(&self) -> Result<bool, Error> {
        self.site.sees_blobs().await
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.site.size(digest).await
    }

    async fn started(&self) -> Option<String> {
        self.site.started().await
    }

    fn stale(&self) -> BTreeSet<Digest> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn stop(&self, deadline: Instant) -> Result<(), Error> {
        self.site.stop(deadline).await
    }

    async fn disturbed(&self, outside: &impl Outside) -> Option<Error> {
        self.site.disturbed(outside).await
    }

    async fn sweep(&self, deadline: Instant) -> Result<Found, Error> {
        let found = self.site.sweep(deadline).await?;
        self.note(&found);
        Ok(found)
    }

    async fn clear(&self) -> Result<(), Error> {
        self.site.clear().await
    }

    async fn bring_back(&self, swept: bool) -> Result<(), Error> {
        let Some(redis) = self.redis.as_ref().filter(|_| swept) else {
            return self.site.bring_back(swept).await;
        };
        let stale = self.stale();
        // A sweep that goes on would make the cache wrong again.
        self.site.clear().await?;
        // Before the registry is back, or a push would be told that swept blobs are there. If it cannot be done,
        // the registry stays down: that is seen and can be mended, and images without layers are neither.
        patiently(|| async { redis.clear(&stale).await.map(drop) }).await?;
        self.site.bring_back(swept).await?;
        // It may have run during the sweep, and a request may have noted a blob again just before that went.
        patiently(|| async { redis.clear(&stale).await.map(drop) }).await
    }
}
