//! A collector of one registry: it puts collections together, and finishes what an earlier process left open.
//!
//! It knows the configuration. It knows neither the steps of a collection nor how a registry is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::gc::blobs;
use crate::gc::cache::Cache;
use crate::gc::cache_cleaner::{self, CacheCleaner};
use crate::gc::error::Error;
use crate::gc::interruption::Interruption;
use crate::gc::locks::{self, CollectionLocks};
use crate::gc::recovery_log::RecoveryLog;
use crate::gc::redis::Redis;
use crate::gc::registry_config::RegistryConfig;
use crate::gc::request::{Cancellation, CollectionRequest, RegistryProbe};
use crate::gc::result::{CheckResult, CollectionResult};
use crate::gc::steps::{self, Collection};
use crate::gc::sweeper::Sweeper as _;
use crate::gc::sweeper::registry::RegistrySweeper;
use crate::model::Digest;
use crate::runtime::{Deadline, Runtime};

/// The collector of one registry.
#[derive(Debug)]
pub struct Collector {
    timeout: Duration,
    min_reclaimable: u64,
    interruption: config::Interruption,
    cache: Option<config::Cache>,
    redis: Option<Arc<Redis>>,
    runtime: Runtime,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Collector {
    /// A collector as configured. `docker_host` is the Engine's address where the configuration names none:
    /// `unix://`, `tcp://`, `http://` or `https://`. With `certificates`, a folder that holds `ca.pem`,
    /// `cert.pem` and `key.pem` as the Docker command line needs them, `tcp://` uses TLS.
    ///
    /// It never works at the same time as another collector of the same container, or of the same command, that has the
    /// same `locks`. The Engine is not contacted yet.
    pub fn new(
        gc: &config::Gc,
        docker_host: &str,
        certificates: Option<&Path>,
        locks: &CollectionLocks,
    ) -> Result<Self, Error> {
        let runtime = Runtime::new(gc, docker_host, certificates)?;
        Ok(Self {
            timeout: gc.timeout,
            min_reclaimable: gc.min_reclaimable,
            interruption: gc.interruption,
            cache: gc.cache,
            redis: gc.redis.as_ref().map(Redis::new).transpose()?.map(Arc::new),
            lock: locks.of(runtime.identity()),
            runtime,
        })
    }

    /// The same, for which no collection is too small.
    #[must_use]
    pub fn without_minimum(self) -> Self {
        Self { min_reclaimable: 0, ..self }
    }

    /// Collects once.
    ///
    /// `is_kept` is true for the digests that must survive: if a sweep would remove one of them, nothing is stopped or swept.
    /// (A command without the word `garbage-collect` has no dry run, so that nothing can be checked.)
    ///
    /// However this ends, the registry is restored first; if the returned future is dropped, a task does that. After an
    /// error that follows [`RecoveryLog::record_sweeping`], some blobs may be gone: [`Collector::missing_blobs`] finds them.
    pub async fn collect(
        &self,
        is_kept: &(dyn Fn(&Digest) -> bool + Sync),
        recovery_log: &dyn RecoveryLog,
        probe: impl RegistryProbe,
        cancellation: Cancellation,
    ) -> Result<CollectionResult, Error> {
        let request = CollectionRequest {
            timeout: self.timeout,
            min_reclaimable: self.min_reclaimable,
            is_kept,
            recovery_log,
            probe: &probe,
            cancellation: &cancellation,
        };
        let locked = async { Ok(locks::acquire(&self.lock).await) };
        let _guard = cancellation.unless_cancelled_before_stop(locked).await?;
        let registry = self.runtime.begin().await?;
        let sweeper = RegistrySweeper::open(&registry).await?;
        let redis = self.cache_to_clear(&sweeper.config().cache).await?;
        let collection = Collection {
            interruption: Interruption::of(self.interruption, &registry),
            cache: CacheCleaner::new(redis),
            sweeper,
            registry,
        };
        steps::collect(&collection, &request).await
    }

    /// Checks whether a collection could begin: the container or the commands, the registry's configuration and storage,
    /// its cache. Changes nothing, stops nothing, and makes no dry run.
    pub async fn check(&self) -> Result<CheckResult, Error> {
        let runtime = self.runtime.check()?;
        let sweeper = RegistrySweeper::open(&self.runtime.find().await?).await?;
        let sees_store = sweeper.sees_blobs().await?;
        let redis = self.cache_to_clear(&sweeper.config().cache).await?;
        Ok(CheckResult { runtime, sees_store, redis: redis.map(|redis| redis.address().to_owned()) })
    }

    /// Removes the entries of these blobs from the registry's cache, if a restart does not empty it. After a crash that
    /// followed [`RecoveryLog::record_sweeping`] this is needed before [`Collector::restore`], and once more after it,
    /// for a registry that ran meanwhile.
    pub async fn clear_cache(&self, stale: &BTreeSet<Digest>) -> Result<(), Error> {
        if stale.is_empty() {
            return Ok(());
        }
        if let Some(redis) = &self.redis {
            return cache_cleaner::clear(redis, stale).await;
        }
        // `gc.redis` may have been removed since then, which is right only if the cache is gone as well.
        let config = RegistryConfig::find(&self.runtime.find().await?).await?;
        self.cache_to_clear(&config.cache).await.map(drop)
    }

    /// Whether the registry stores in S3, by its configuration. A configuration that cannot be read does not say so.
    pub async fn is_on_s3(&self) -> Result<bool, Error> {
        Ok(RegistryConfig::find(&self.runtime.find().await?).await?.is_on_s3)
    }

    /// The Redis that a collection has to clear, if the registry keeps its cache in one. An error if that would
    /// have to be done and cannot.
    async fn cache_to_clear(&self, found: &Cache) -> Result<Option<Arc<Redis>>, Error> {
        let Some(redis) = &self.redis else {
            return match (found, self.cache) {
                (Cache::Restarted, _) => Ok(None),
                (Cache::Redis { .. }, _) => Err(Error::CacheInRedis),
                (Cache::Unknown(_), Some(config::Cache::Off | config::Cache::InMemory)) => Ok(None),
                (Cache::Unknown(why), _) => Err(Error::CacheUnknown { why: why.clone() }),
            };
        };
        if let Cache::Redis { db, cluster } = found {
            let refuse = |why: String| Err(Error::OtherCache { address: redis.address().to_owned(), why });
            if *cluster {
                return refuse("the registry uses a Redis Cluster, which is not supported".to_owned());
            }
            if let Some(db) = db.filter(|db| *db != u64::from(redis.db())) {
                return refuse(format!("the registry uses database {db}: set gc.redis.db to that"));
            }
        }
        redis.check().await?;
        Ok(Some(redis.clone()))
    }

    /// Restores the registry after a crash that followed [`RecoveryLog::record_stopping`], and waits until it answers.
    ///
    /// A collection that still runs is ended first: in a container of its own, or as a `garbage-collect` of a command,
    /// here and by `cancel`. Then the registry's container is restarted, which also ends what may still run inside it,
    /// or `after` is run.
    pub async fn restore(&self, probe: impl RegistryProbe) -> Result<(), Error> {
        let _guard = locks::acquire(&self.lock).await;
        self.runtime.restore().await?;
        if probe.wait_until_ready().await { Ok(()) } else { Err(Error::Silent) }
    }

    /// Ends what may be left of a collection beside a registry that was not stopped for it, after a crash that
    /// followed [`RecoveryLog::record_sweeping`].
    pub async fn end_leftover_jobs(&self) -> Result<(), Error> {
        let _guard = locks::acquire(&self.lock).await;
        Ok(self.runtime.end_jobs().await?)
    }

    /// Whether the registry was started by others since we stopped it, and no sweep of ours can have gone on beside it.
    /// Then nothing of ours is left, and it need not be restored. `started` is what the recovery log has recorded, unless
    /// a sweep may have begun since. Commands cannot tell.
    pub async fn is_running_again(&self, started: Option<&str>) -> Result<bool, Error> {
        let _guard = locks::acquire(&self.lock).await;
        Ok(self.runtime.is_running_again(started).await?)
    }

    /// Which of these blobs do not exist in the storage any more, with the sizes as given.
    ///
    /// Where the storage cannot be read, those exist that a dry run still finds eligible.
    pub async fn missing_blobs(&self, blobs: &BTreeMap<Digest, u64>) -> Result<BTreeMap<Digest, u64>, Error> {
        let sweeper = RegistrySweeper::open(&self.runtime.find().await?).await?;
        blobs::missing(&sweeper, blobs, Deadline::after(self.timeout)).await
    }
}
