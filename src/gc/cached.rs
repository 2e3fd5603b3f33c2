//! A site whose registry keeps its cache in Redis: what a sweep took is cleared there before the registry
//! is put back.
//!
//! It adds that to any other site, and knows of a cache only that it can be cleared.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::gc::docker::with_retries;
use crate::gc::output::Found;
use crate::gc::redis::Redis;
use crate::gc::site::{DryRun, Site};
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

    fn has_second_dry_run(&self) -> bool {
        self.site.has_second_dry_run()
    }

    async fn dry_run(&self, deadline: Instant) -> Result<DryRun, Error> {
        let look = self.site.dry_run(deadline).await?;
        if let DryRun::Done(found) = &look {
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

    async fn started_at(&self) -> Option<String> {
        self.site.started_at().await
    }

    fn stale(&self) -> BTreeSet<Digest> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn stop(&self, deadline: Instant) -> Result<(), Error> {
        self.site.stop(deadline).await
    }

    async fn interference(&self, outside: &impl Outside) -> Option<Error> {
        self.site.interference(outside).await
    }

    async fn sweep(&self, deadline: Instant) -> Result<Found, Error> {
        let found = self.site.sweep(deadline).await?;
        self.note(&found);
        Ok(found)
    }

    async fn clear(&self) -> Result<(), Error> {
        self.site.clear().await
    }

    async fn restore(&self, swept: bool) -> Result<(), Error> {
        let Some(redis) = self.redis.as_ref().filter(|_| swept) else {
            return self.site.restore(swept).await;
        };
        let stale = self.stale();
        // A sweep that goes on would make the cache wrong again.
        self.site.clear().await?;
        // Before the registry is back, or a push would be told that swept blobs are there. If it cannot be done,
        // the registry stays down: that is seen and can be mended, and images without layers are neither.
        with_retries(|| async { redis.clear(&stale).await.map(drop) }).await?;
        self.site.restore(swept).await?;
        // It may have run during the sweep, and a request may have noted a blob again just before that went.
        with_retries(|| async { redis.clear(&stale).await.map(drop) }).await
    }
}
