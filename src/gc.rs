//! Garbage collection: a registry's own `garbage-collect`, run so that nothing kept is lost, nothing is
//! left stopped, and what was really freed is known.
//!
//! It knows the Docker Engine, commands, and what `garbage-collect` prints. It knows no HTTP API of a
//! registry, no plan and no database: who calls it says which digests are kept, remembers in a
//! [`RecoveryLog`] what must survive a crash, and tells when the registry answers again.
//!
//! Whatever runs it, `--delete-untagged` is never passed: on distribution 2.8 it destroys multi-arch
//! images, and on 3.x it can still lose blobs of another repository.

mod cache;
mod cached;
mod collection;
mod command;
mod connect;
mod container;
mod docker;
mod engine;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod locks;
mod output;
mod process;
mod redis;
mod site;
mod storage;

pub use error::Error;
pub use locks::CollectionLocks;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::cache::Cache;
use self::cached::Cached;
use self::locks::Target;
use self::redis::Redis;
use self::site::Site as _;
use crate::config;
use crate::model::Digest;

/// Remembers, outside this process, what must be undone or finished if we are killed. Between [`RecoveryLog::record_stopping`]
/// and [`RecoveryLog::record_restored`] the registry is down.
pub trait RecoveryLog: Send + Sync {
    /// The registry is about to be stopped (or, with `exec`, is due a restart). Durable on return.
    fn record_stopping(&self) -> anyhow::Result<()>;
    /// The registry that is about to be stopped was started then, in the words of what runs it.
    fn record_started_at(&self, at: &str) -> anyhow::Result<()>;
    /// The registry answers again.
    fn record_restored(&self) -> anyhow::Result<()>;
    /// These blobs may be swept now; a size that is not known is 0. From now on the cache of the registry may be
    /// wrong about what is `stale`: after a crash, [`Collector::clear`] that. Durable on return.
    fn record_sweeping(&self, blobs: &BTreeMap<Digest, u64>, stale: &BTreeSet<Digest>) -> anyhow::Result<()>;
    /// The cache holds nothing of it any more.
    fn record_cache_cleared(&self) -> anyhow::Result<()>;
}

/// The registry as its clients see it, and whoever may want a collection to end. A closure that waits until the
/// registry answers is one that nobody ends.
pub trait Outside: Send + Sync {
    /// Waits until the registry answers, and says whether it does.
    fn alive(&self) -> impl Future<Output = bool> + Send;

    /// Whether the registry answers at this moment. Where this is not known, nothing is wrong.
    fn answers(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }

    /// Comes when a collection that has not yet taken the registry down shall not do so any more.
    fn unwanted(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Comes when the collection shall end before it is done. The registry is brought back all the same.
    fn ended(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

impl<T: Fn() -> F + Send + Sync, F: Future<Output = bool> + Send> Outside for T {
    fn alive(&self) -> impl Future<Output = bool> + Send {
        self()
    }
}

/// What one collection freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reclaimed {
    /// How many blobs were removed.
    pub blobs: u64,
    /// The bytes of the removed blobs whose size was measured before they went. Where the store cannot be
    /// looked into (object storage, or a command whose configuration file is not readable here), that is 0,
    /// and the caller may know the sizes of `removed` from elsewhere.
    pub bytes: u64,
    /// How many blobs the registry says are in use; 0 where a command does not say it.
    pub marked: u64,
    /// The blobs that were there before and are not there now. Where the store cannot be looked into, those
    /// that the registry says it deleted.
    pub removed: BTreeSet<Digest>,
}

/// How a collection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectionResult {
    /// Blobs were swept.
    Reclaimed(Reclaimed),
    /// There is less to free than a collection is worth; the registry was not touched.
    BelowMinimum {
        /// Bytes that a collection would have freed.
        reclaimable: u64,
    },
    /// There is nothing to free, or nothing stored at all; the registry was not touched.
    NothingToDo,
}

/// What a collection would find, as far as a look tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// What runs the registry, or the collection, for people.
    pub runner: String,
    /// Whether the registry's blobs can be looked at.
    pub sees_store: bool,
    /// Where the Redis is whose cache a collection clears.
    pub redis: Option<String>,
}

/// What collects for one registry.
#[derive(Debug)]
pub struct Collector {
    timeout: Duration,
    min_reclaimable: u64,
    cache: Option<config::Cache>,
    redis: Option<Arc<Redis>>,
    runner: Runner,
    lock: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
enum Runner {
    Docker(docker::Docker),
    Command(command::Command),
}

impl Collector {
    /// A collector as configured. `docker_host` is the Engine's address where the configuration names none:
    /// `unix://`, `tcp://`, `http://` or `https://`. With `certificates`, a folder that holds `ca.pem`,
    /// `cert.pem` and `key.pem` as the Docker command line wants them, `tcp://` is spoken over TLS.
    ///
    /// It takes turns with all other collectors of the same container, or of the same command, that share its
    /// `locks`. The Engine is not contacted yet.
    pub fn new(
        gc: &config::Gc,
        docker_host: &str,
        certificates: Option<&Path>,
        locks: &CollectionLocks,
    ) -> Result<Self, Error> {
        let (runner, target) = match &gc.collector {
            config::Collector::Docker { host, container, method, config_file } => {
                let host = host.as_deref().unwrap_or(docker_host);
                let address = connect::Address::parse(host, certificates)?;
                let target = Target::Container { engine: address.host().to_owned(), name: container.clone() };
                let docker = docker::Docker::new(address, container, *method, config_file.clone())?;
                (Runner::Docker(docker), target)
            }
            config::Collector::Command { before, run, cancel, after } => {
                let command = command::Command {
                    before: before.clone(),
                    run: run.clone(),
                    cancel: cancel.clone(),
                    after: after.clone(),
                    timeout: gc.timeout,
                    interrupts: gc.interruption == config::Interruption::Stop,
                };
                (Runner::Command(command), Target::Command(run.clone()))
            }
        };
        let lock = locks.of(target);
        let redis = gc.redis.as_ref().map(Redis::new).transpose()?.map(Arc::new);
        let (timeout, min_reclaimable, cache) = (gc.timeout, gc.min_reclaimable, gc.cache);
        Ok(Self { timeout, min_reclaimable, cache, redis, runner, lock })
    }

    /// The same, for which no collection is too small.
    #[must_use]
    pub fn without_minimum(self) -> Self {
        Self { min_reclaimable: 0, ..self }
    }

    /// Collects once.
    ///
    /// `is_kept` tells the digests that must survive: if the registry would sweep one of them, nothing is
    /// stopped or swept. (A command without the word `garbage-collect` has no dry run: there, nothing can
    /// be checked.)
    ///
    /// However this ends, the registry is put back first; if the returned future is dropped, a task of the
    /// runtime does that. After an error that follows [`RecoveryLog::record_sweeping`], some blobs may be gone: ask
    /// [`Collector::gone`].
    pub async fn collect(
        &self,
        is_kept: &(dyn Fn(&Digest) -> bool + Sync),
        recovery_log: &dyn RecoveryLog,
        outside: impl Outside,
    ) -> Result<CollectionResult, Error> {
        let request = collection::CollectionRequest {
            timeout: self.timeout,
            min_reclaimable: self.min_reclaimable,
            is_kept,
            recovery_log,
        };
        let _guard = tokio::select! {
            biased;
            turn = locks::acquire(&self.lock) => turn,
            error = collection::given_up(&outside) => return Err(error),
        };
        match &self.runner {
            Runner::Docker(docker) => {
                docker.begin();
                let site = docker.site().await?;
                site.clear().await?;
                let redis = self.cache_to_clear(site.cache()).await?;
                collection::collect(&Cached::new(site, redis), &request, &outside).await
            }
            Runner::Command(command) => {
                let site = command.site().await;
                let redis = self.cache_to_clear(site.cache()).await?;
                collection::collect(&Cached::new(site, redis), &request, &outside).await
            }
        }
    }

    /// Looks whether a collection could begin: the container or the commands, the registry's configuration and store,
    /// its cache. Changes nothing, stops nothing, and makes no dry run.
    pub async fn check(&self) -> Result<CheckResult, Error> {
        let (runner, sees_store, cache) = match &self.runner {
            Runner::Docker(docker) => {
                let site = docker.site().await?;
                (format!("the container {}", docker.container()), site.sees_blobs().await?, site.cache())
            }
            Runner::Command(command) => {
                command.check()?;
                let site = command.site().await;
                ("every command".to_owned(), site.sees_blobs().await?, site.cache())
            }
        };
        let redis = self.cache_to_clear(cache).await?.map(|redis| redis.place().to_owned());
        Ok(CheckResult { runner, sees_store, redis })
    }

    /// Removes from the registry's cache, if a restart does not empty it, what it holds of these blobs. After a
    /// crash that followed [`RecoveryLog::record_sweeping`] this is due before [`Collector::restore`], and once more after it,
    /// for a registry that ran meanwhile.
    pub async fn clear(&self, stale: &BTreeSet<Digest>) -> Result<(), Error> {
        if stale.is_empty() {
            return Ok(());
        }
        if let Some(redis) = &self.redis {
            return docker::with_retries(|| async { redis.clear(stale).await.map(drop) }).await;
        }
        // The operator may have taken `gc.redis` away since, and is right only if the cache is gone as well.
        let cache = match &self.runner {
            Runner::Docker(docker) => docker.site().await?.cache(),
            Runner::Command(command) => command.site().await.cache(),
        };
        self.cache_to_clear(cache).await.map(drop)
    }

    /// Whether the registry stores in S3, by its configuration. What cannot be read is no evidence of it.
    pub async fn is_on_s3(&self) -> Result<bool, Error> {
        Ok(match &self.runner {
            Runner::Docker(docker) => docker.site().await?.is_on_s3(),
            Runner::Command(command) => command.site().await.is_on_s3(),
        })
    }

    /// The Redis that a collection has to clear, if the registry keeps its cache in one. An error if that would
    /// have to be done and cannot.
    async fn cache_to_clear(&self, found: Cache) -> Result<Option<Arc<Redis>>, Error> {
        let Some(redis) = &self.redis else {
            return match (found, self.cache) {
                (Cache::Restarted, _) => Ok(None),
                (Cache::Redis { .. }, _) => Err(Error::CacheInRedis),
                (Cache::Unknown(_), Some(config::Cache::Off | config::Cache::InMemory)) => Ok(None),
                (Cache::Unknown(why), _) => Err(Error::CacheUnknown { why }),
            };
        };
        if let Cache::Redis { db, cluster } = found {
            let refuse = |why: String| Err(Error::OtherCache { place: redis.place().to_owned(), why });
            if cluster {
                return refuse("the registry uses a Redis Cluster, which is not supported".to_owned());
            }
            if let Some(db) = db.filter(|db| *db != u64::from(redis.db())) {
                return refuse(format!("the registry uses database {db}: set gc.redis.db to that"));
            }
        }
        redis.check().await?;
        Ok(Some(redis.clone()))
    }

    /// Puts the registry back after a crash that followed [`RecoveryLog::record_stopping`], and waits for it.
    ///
    /// A collection that still runs in a container of ours is ended first; then the registry's container is
    /// restarted, which also ends what may still run inside it. For a command, what still runs of a
    /// `garbage-collect` is ended first as well, here and by `cancel`; then `after` is run.
    pub async fn restore<F: Future<Output = bool> + Send>(
        &self,
        alive: impl Fn() -> F + Send + Sync,
    ) -> Result<(), Error> {
        let _guard = locks::acquire(&self.lock).await;
        match &self.runner {
            Runner::Docker(docker) => docker.restore().await?,
            Runner::Command(command) => command.restore().await?,
        }
        if alive().await { Ok(()) } else { Err(Error::Silent) }
    }

    /// Ends what may be left of a collection beside a registry that was not stopped for it, after a crash that
    /// followed [`RecoveryLog::record_sweeping`].
    pub async fn end(&self) -> Result<(), Error> {
        let _guard = locks::acquire(&self.lock).await;
        match &self.runner {
            // What it has left in the Engine is removed before its next collection begins, and sweeps a registry
            // that was found stopped.
            Runner::Docker(_) => Ok(()),
            Runner::Command(command) => command.end().await,
        }
    }

    /// Whether somebody else has started the registry since we stopped it, and no sweep of ours can have gone on
    /// beside it. Then nothing of ours is left, and it need not be restored. `started` is what the recovery log was
    /// told, unless a sweep may have begun since.
    ///
    /// Commands cannot tell; theirs is to start what is not running.
    pub async fn is_back(&self, started: Option<&str>) -> Result<bool, Error> {
        let _guard = locks::acquire(&self.lock).await;
        match &self.runner {
            Runner::Docker(docker) => docker.is_back(started).await,
            Runner::Command(_) => Ok(false),
        }
    }

    /// Which of these blobs are not in the store any more, with the sizes as given.
    ///
    /// Where the store cannot be looked into, a dry run tells: what it still finds eligible is still there.
    pub async fn gone(&self, blobs: &BTreeMap<Digest, u64>) -> Result<BTreeMap<Digest, u64>, Error> {
        match &self.runner {
            Runner::Docker(docker) => collection::gone(&docker.site().await?, blobs, self.timeout).await,
            Runner::Command(command) => collection::gone(&command.site().await, blobs, self.timeout).await,
        }
    }
}
