//! What can go wrong with a collection, and the way out of it.
//!
//! Each error has a fixed word for metrics and a text for the operator. It decides nothing.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Digest;

/// A collection that did not come about, or did not end well.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the messages say they are")]
pub enum Error {
    /// The Engine's address cannot be used.
    #[error(
        "{host:?} is no address of a Docker Engine: {why}; write unix:///var/run/docker.sock or tcp://host:2375"
    )]
    Address { host: String, why: String },
    /// The certificates for the Engine cannot be used.
    #[error(
        "the certificates for the Docker Engine in {} cannot be used: {source}; the folder needs ca.pem, cert.pem and key.pem", folder.display()
    )]
    Certificates { folder: PathBuf, source: bollard::errors::Error },
    /// Nobody answers at the Engine's address.
    #[error(
        "the Docker Engine at {host} is not reachable: {why}; is it running, and is gc.docker.host right?"
    )]
    Unreachable { host: String, why: String },
    /// The Engine's socket may not be opened.
    #[error(
        "no permission to open the Docker socket {host}: run regsweep as root or as a member of the socket's group (usually docker)"
    )]
    Permission { host: String },
    /// The Engine, or a proxy before it, refuses a request.
    #[error(
        "the Docker Engine at {host} forbids to {doing} ({message}); a socket proxy needs CONTAINERS=1 and POST=1, for method exec also EXEC=1"
    )]
    Forbidden { host: String, doing: &'static str, message: String },
    /// The Engine answered with an error.
    #[error("the Docker Engine could not {doing}: {message}")]
    Engine { doing: &'static str, message: String },
    /// There is no such container.
    #[error(
        "there is no container {container:?}: is gc.docker.container its name or id as `docker ps --all` shows it, and gc.docker.host its Engine?"
    )]
    NoContainer { container: String },
    /// The container is in no state to be collected.
    #[error(
        "the container {container:?} is {state}: bring it to run (or stop it) first, nothing has been touched"
    )]
    State { container: String, state: String },
    /// The container is not ours to stop.
    #[error("the container {container:?} must not be stopped: {why}, nothing has been touched")]
    NotOurs { container: String, why: &'static str },
    /// Nothing in the container looks like a registry.
    #[error(
        "the container {container:?} has no program {program}: is it a registry? A collector of another kind is gc.command"
    )]
    NoBinary { container: String, program: String },
    /// The registry's configuration is not where it should be.
    #[error(
        "the container {container:?} has no configuration file {tried}: set gc.docker.config_file to its path inside the container"
    )]
    NoConfig { container: String, tried: String },
    /// The registry's cache would be stale after a sweep.
    #[error(
        "the registry keeps its cache in Redis (cache.blobdescriptor: redis), which outlives a restart: after a collection it would \
         take swept blobs for present, and pushes would become broken images; write where this Redis is in gc.redis, \
         or give the registry the cache inmemory; nothing has been touched"
    )]
    CacheInRedis,
    /// Whether the registry's cache would be stale after a sweep cannot be known.
    #[error(
        "it cannot be known whether the registry keeps its cache in Redis, which a collection would have to clear: {why}; \
         let gc.command.run name a configuration file that regsweep can read, or state it: gc.cache: inmemory (or none), or \
         gc.redis; nothing has been touched"
    )]
    CacheUnknown { why: String },
    /// Redis is not the one, or not as, the registry's configuration says.
    #[error("the registry's cache cannot be cleared by gc.redis ({place}): {why}; nothing has been touched")]
    OtherCache { place: String, why: String },
    /// There is no cache of a registry in Redis.
    #[error(
        "there is no entry of a registry's cache in Redis at {place}: is it the one that the registry uses, and gc.redis.db its \
         redis.db? If it is, and only empty, any push or pull fills it; nothing has been touched"
    )]
    NoCache { place: String },
    /// Redis cannot be used.
    #[error(
        "the registry's cache in Redis at {place} cannot be cleared: {why}; see that it runs and that gc.redis is right. Before \
         the registry is started by hand after a collection, empty its cache: redis-cli -n {db} FLUSHDB"
    )]
    Redis { place: String, db: u16, why: String },
    /// The registry's configuration cannot be understood.
    #[error("the registry's configuration {path} cannot be understood: {why}")]
    BadConfig { path: String, why: String },
    /// A container of its own would collect with other settings.
    #[error(
        "the configuration {path} of container {container:?} is not the same in a second container of its image: mount it as a volume, or set method: exec"
    )]
    OtherConfig { container: String, path: String },
    /// A container of its own would not see what is stored.
    #[error(
        "the storage {root} of container {container:?} is on none of its volumes, so a second container cannot see it: mount a volume there, or set method: exec"
    )]
    NotShared { container: String, root: String },
    /// A command of the operator failed or could not be run.
    #[error("the command `{command}` {why}")]
    Command { command: String, why: String },
    /// What collects elsewhere may go on.
    #[error(
        "gc.command.cancel has to succeed before the registry may run again, or a sweep could go on beside it: {0}"
    )]
    NotCancelled(Box<Error>),
    /// `garbage-collect` failed.
    #[error("garbage-collect failed with exit code {exit}; {tail}")]
    Failed { exit: i64, tail: String },
    /// `garbage-collect` did not say that it did anything.
    #[error(
        "garbage-collect ended with exit code {exit} without its summary line, so nothing is known to be collected; {tail}"
    )]
    NoSummary { exit: i64, tail: String },
    /// There are blobs, and nothing that says whose they are.
    #[error(
        "blobs are stored and there is no folder of repositories beside them, so garbage-collect cannot run: restore it, or remove the blobs"
    )]
    NoRepositories,
    /// Its output was lost in part.
    #[error(
        "garbage-collect counts {told} eligible blobs and {seen} of them could be read: its output was cut short"
    )]
    Incomplete { told: u64, seen: u64 },
    /// It took too long.
    #[error("the collection was ended because it took longer than gc.timeout ({} s)", limit.as_secs())]
    Timeout { limit: Duration },
    /// Somebody wanted no collection any more before the registry was taken down for it.
    #[error("regsweep was asked to stop before the registry was stopped for this collection")]
    NotBegun,
    /// Somebody wanted it to end.
    #[error(
        "it was ended before it was done, as regsweep was asked to stop: the next collection does the rest"
    )]
    Ended,
    /// What must stay would go.
    #[error(
        "{digest} is kept and garbage-collect would delete it (one of {count}): nothing was swept. If somebody has deleted it meanwhile, the next collection goes through; if not, the repository's metadata is damaged: restore it, or push the image again"
    )]
    KeptBlob { digest: Digest, count: usize },
    /// Someone started the registry while it had to stay stopped.
    #[error(
        "someone started the container {container:?} during the collection, which was ended at once: the next one does the rest; keep it stopped until then"
    )]
    Interfered { container: String },
    /// The same, where nobody knows how it is run.
    #[error(
        "the registry answered during the collection, after gc.command.before had stopped it, so the collection was ended at once: the next one does the rest. Keep others from starting it meanwhile; if `before` leaves it running on purpose (read-only), let `before` wait until it answers"
    )]
    Answered,
    /// Where blobs lie is not known, and no dry run can tell.
    #[error("it cannot be known which blobs are gone: the store cannot be read from here")]
    UnknownStore,
    /// The caller's recovery log could not be written.
    #[error("the state could not be written: {0:#}")]
    RecoveryLog(anyhow::Error),
    /// The registry could not be put back.
    #[error("the registry is down and could not be started: {source}; start it by hand{}", after(.during))]
    Down { source: Box<Error>, during: Option<Box<Error>> },
    /// The registry was put back and does not answer.
    #[error("the registry was started and does not answer: look at its log")]
    Silent,
}

impl Error {
    /// A fixed word for the kind, fit for a label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Address { .. } => "address",
            Self::Certificates { .. } => "certificates",
            Self::Unreachable { .. } => "unreachable",
            Self::Permission { .. } => "permission",
            Self::Forbidden { .. } => "forbidden",
            Self::Engine { .. } => "engine",
            Self::NoContainer { .. } => "no_container",
            Self::State { .. } => "container_state",
            Self::NotOurs { .. } => "not_ours",
            Self::NoBinary { .. } => "no_binary",
            Self::NoConfig { .. } => "no_config",
            Self::CacheInRedis => "cache_in_redis",
            Self::CacheUnknown { .. } => "cache_unknown",
            Self::OtherCache { .. } => "other_cache",
            Self::NoCache { .. } => "no_cache",
            Self::Redis { .. } => "redis",
            Self::BadConfig { .. } => "bad_config",
            Self::OtherConfig { .. } => "other_config",
            Self::NotShared { .. } => "not_shared",
            Self::Command { .. } => "command",
            Self::NotCancelled(_) => "not_cancelled",
            Self::Failed { .. } => "failed",
            Self::NoSummary { .. } => "no_summary",
            Self::NoRepositories => "no_repositories",
            Self::Incomplete { .. } => "incomplete",
            Self::Timeout { .. } => "timeout",
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
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Engine { .. } | Self::Redis { .. })
    }
}

fn after(during: &Option<Box<Error>>) -> String {
    during.as_ref().map_or_else(String::new, |error| format!(" (before that: {error})"))
}
