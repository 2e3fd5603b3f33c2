//! What can go wrong with a collection, and how to mend it.
//!
//! Each error has a fixed kind for metrics and a text for the operator. It decides nothing.

use crate::model::Digest;
use crate::runtime;

/// A collection that did not begin, or failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the messages say they are")]
pub enum Error {
    /// The runtime of the registry failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The registry's cache would be stale after a sweep.
    #[error(
        "the registry keeps its cache in Redis (cache.blobdescriptor: redis), which outlives a restart: after a collection it would \
         take swept blobs for present, and pushes would become broken images; write where this Redis is in gc.redis, \
         or give the registry the cache inmemory; nothing has been changed"
    )]
    CacheInRedis,
    /// Whether the registry's cache would be stale after a sweep cannot be known.
    #[error(
        "it cannot be known whether the registry keeps its cache in Redis, which a collection would have to clear: {why}; \
         let gc.command.run name a configuration file that regsweep can read, or state it: gc.cache: inmemory (or none), or \
         gc.redis; nothing has been changed"
    )]
    CacheUnknown { why: String },
    /// Redis is not as the registry's configuration says.
    #[error(
        "the registry's cache cannot be cleared by gc.redis ({address}): {why}; nothing has been changed"
    )]
    OtherCache { address: String, why: String },
    /// There is no cache of a registry in Redis.
    #[error(
        "there is no entry of a registry's cache in Redis at {address}: is it the one that the registry uses, and gc.redis.db its \
         redis.db? If it is, and only empty, any push or pull fills it; nothing has been changed"
    )]
    NoCache { address: String },
    /// Redis cannot be used.
    #[error(
        "the registry's cache in Redis at {address} cannot be cleared: {why}; see that it runs and that gc.redis is right. Before \
         the registry is started by hand after a collection, empty its cache: redis-cli -n {db} FLUSHDB"
    )]
    Redis { address: String, db: u16, why: String },
    /// The registry's configuration cannot be understood.
    #[error("the registry's configuration {path} cannot be understood: {why}")]
    BadConfig { path: String, why: String },
    /// `garbage-collect` failed.
    #[error("garbage-collect failed with exit code {exit}; {tail}")]
    Failed { exit: i64, tail: String },
    /// `garbage-collect` printed no summary.
    #[error(
        "garbage-collect ended with exit code {exit} without its summary line, so nothing is known to be collected; {tail}"
    )]
    NoSummary { exit: i64, tail: String },
    /// There are blobs, and no repositories that they belong to.
    #[error(
        "blobs are stored and there is no folder of repositories beside them, so garbage-collect cannot run: restore it, or remove the blobs"
    )]
    NoRepositories,
    /// A part of its output was lost.
    #[error(
        "garbage-collect counts {counted} eligible blobs and {read} of them could be read: its output was cut short"
    )]
    Incomplete { counted: u64, read: u64 },
    /// It was cancelled before the registry was stopped for it.
    #[error("regsweep was asked to stop before the registry was stopped for this collection")]
    NotBegun,
    /// It was cancelled.
    #[error(
        "it was ended before it was done, as regsweep was asked to stop: the next collection does the rest"
    )]
    Ended,
    /// A kept blob would be removed.
    #[error(
        "{digest} is kept and garbage-collect would delete it (one of {count}): nothing was swept. If it was deleted meanwhile, the next collection succeeds; if not, the repository's metadata is damaged: restore it, or push the image again"
    )]
    KeptBlob { digest: Digest, count: usize },
    /// The registry was started while it had to stay stopped.
    #[error(
        "the container {container:?} was started during the collection, which was ended at once: the next collection does the rest; keep the container stopped until a collection has ended"
    )]
    Interfered { container: String },
    /// The same, where the runtime cannot tell whether it runs.
    #[error(
        "the registry answered during the collection, after gc.command.before had stopped it, so the collection was ended at once: the next collection does the rest. Keep others from starting the registry meanwhile; if `before` leaves it running on purpose (read-only), let `before` wait until it answers"
    )]
    Answered,
    /// Where blobs are stored is not known, and there is no dry run.
    #[error("it cannot be known which blobs are gone: the storage cannot be read from here")]
    UnknownStore,
    /// The caller's recovery log could not be written.
    #[error("the state could not be written: {0:#}")]
    RecoveryLog(anyhow::Error),
    /// The registry could not be restored.
    #[error("the registry is down and could not be started: {source}; start it by hand{}", after(.during))]
    Down { source: Box<Error>, during: Option<Box<Error>> },
    /// The registry was started and does not answer.
    #[error("the registry was started and does not answer: look at its log")]
    Silent,
}

impl Error {
    /// A fixed word for the kind, fit for a label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Runtime(error) => error.kind(),
            Self::CacheInRedis => "cache_in_redis",
            Self::CacheUnknown { .. } => "cache_unknown",
            Self::OtherCache { .. } => "other_cache",
            Self::NoCache { .. } => "no_cache",
            Self::Redis { .. } => "redis",
            Self::BadConfig { .. } => "bad_config",
            Self::Failed { .. } => "failed",
            Self::NoSummary { .. } => "no_summary",
            Self::NoRepositories => "no_repositories",
            Self::Incomplete { .. } => "incomplete",
            Self::NotBegun => "not_begun",
            Self::Ended => "ended",
            Self::KeptBlob { .. } => "kept_blob",
            Self::Interfered { .. } | Self::Answered => "interfered",
            Self::UnknownStore => "unknown_store",
            Self::RecoveryLog(_) => "state",
            Self::Down { .. } => "registry_down",
            Self::Silent => "registry_silent",
        }
    }

    /// Whether the same request to the Engine or to Redis may succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Runtime(error) => error.is_transient(),
            other => matches!(other, Self::Redis { .. }),
        }
    }
}

fn after(during: &Option<Box<Error>>) -> String {
    during.as_ref().map_or_else(String::new, |error| format!(" (before that: {error})"))
}
