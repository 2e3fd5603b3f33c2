//! The validated configuration, with every default filled in, as the rest of the program sees it.
//!
//! It knows neither YAML nor the defaults: whatever builds these values has validated them.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;
use secrecy::SecretString;
use url::Url;

use super::schedule::Schedule;
use crate::model::RepositoryName;
use crate::policy::{Limits, Mode, Policy, Protect};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether plans are applied; default `plan`. A policy is enforced only if this mode and its own are both
    /// `enforce`.
    pub mode: Mode,
    /// The time zone of schedules and of calendar periods.
    pub timezone: Tz,
    /// The address that serves metrics, health and the page.
    pub listen: SocketAddr,
    /// The token that API requests for runs and undos must show; `None` disables these requests.
    pub admin_token: Option<SecretString>,
    /// The directory of the state: `state_dir`, else `$STATE_DIRECTORY`, else `/var/lib/regsweep`.
    pub state_dir: PathBuf,
    /// How long runs, collections and deletions are kept in the history, which `undo` needs; at least a day.
    pub history: TimeDelta,
    /// At least one, with unique names.
    pub registries: Vec<Registry>,
    /// Names of registries that were removed for good.
    pub retired: Vec<String>,
    /// What is kept regardless of the rules.
    pub protect: Protect,
    /// The most that a run may delete.
    pub limits: Limits,
    /// At least one, with unique names. The first policy that claims a repository decides it. The default mode of a
    /// policy is [`Mode::Enforce`], so that the mode of the configuration decides alone.
    pub policies: Vec<Arc<Policy>>,
}

/// One registry and how regsweep connects to it.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Its name in the configuration; unique.
    pub name: String,
    /// Its former names; needed only if name and address have both changed.
    pub was: Vec<String>,
    /// The base URL of its API. The path ends with a slash, so that `url.join("v2/")` is also right for a
    /// registry below a path prefix.
    pub url: Url,
    /// The credentials.
    pub auth: Auth,
    /// How its certificate is verified, and the client certificate.
    pub tls: Tls,
    /// The repositories to scan; `None` reads the catalog.
    pub repositories: Option<Vec<RepositoryName>>,
    /// Whether the operator states that its tag lists are complete; otherwise regsweep probes for it where it can.
    pub tags_complete: bool,
    /// The most requests in flight at one time.
    pub concurrency: NonZeroUsize,
    /// The most requests started per second; `None` sets no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// The time limit of one request; never zero.
    pub timeout: Duration,
    /// The time limit of a run without its collection; never zero.
    pub run_timeout: Duration,
    /// When runs start: its own schedule, else that of the top level; `None` starts none by itself.
    pub schedule: Option<Schedule>,
    /// How unreferenced blobs are collected; `None` collects none.
    pub gc: Option<Gc>,
}

impl Registry {
    /// The host, port and path, which identify a registry. The scheme is left out: no port serves both `http` and
    /// `https`.
    pub fn address(&self) -> String {
        let port = self.url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let host = self.url.host_str().unwrap_or_default().trim_end_matches('.');
        format!("{host}{port}{}", self.url.path().trim_end_matches('/'))
    }
}

/// The credentials for a registry.
#[derive(Debug, Clone)]
pub enum Auth {
    /// None.
    Anonymous,
    /// A user name and a password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// Those of a Docker configuration file, which existed when the configuration was read.
    DockerConfig(PathBuf),
    /// A bearer token.
    Bearer(SecretString),
}

/// The certificates of a TLS connection. The files existed when the configuration was read.
#[derive(Debug, Clone)]
pub struct Tls {
    /// CA certificates to trust in addition to those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The client certificate.
    pub identity: Option<ClientCertificate>,
    /// Skips the verification of the server's certificate.
    pub insecure_skip_verify: bool,
}

/// A client certificate with its private key.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate, in PEM.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
}

/// How a registry's garbage collection removes unreferenced blobs.
#[derive(Debug, Clone)]
pub struct Gc {
    /// When collections start.
    pub schedule: GcSchedule,
    /// No collection starts for fewer reclaimable bytes than this.
    pub min_reclaimable: u64,
    /// The minimum age of the most recent deletion before a collection makes it final; zero does not wait. Never
    /// longer than [`Config::history`].
    pub grace: TimeDelta,
    /// The time limit of a collection; never zero.
    pub timeout: Duration,
    /// What happens to the registry during a collection.
    pub interruption: Interruption,
    /// What runs the collection.
    pub collector: Collector,
    /// The location of the registry's blob cache as configured; `None` reads it from the registry's own
    /// configuration.
    pub cache: Option<Cache>,
    /// The Redis that holds the registry's blob cache. Always present if `cache` is [`Cache::Redis`].
    pub redis: Option<Redis>,
}

/// The location of a registry's blob descriptor cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// There is no cache.
    Off,
    /// In the registry process; a restart empties it.
    InMemory,
    /// In Redis; a restart does not empty it.
    Redis,
}

/// The Redis that holds a registry's blob cache.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The ACL user; `None` is the default user.
    pub username: Option<String>,
    /// The password; `None` sends none.
    pub password: Option<SecretString>,
    /// The database number.
    pub db: u16,
    /// TLS settings; `None` connects without encryption.
    pub tls: Option<RedisTls>,
}

/// The certificates of a TLS connection to Redis. The files existed when the configuration was read.
#[derive(Debug, Clone)]
pub struct RedisTls {
    /// CA certificates to trust instead of those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The client certificate.
    pub identity: Option<ClientCertificate>,
}

/// When collections start.
#[derive(Debug, Clone)]
pub enum GcSchedule {
    /// After each run that deleted something.
    AfterRun,
    /// By a schedule of their own.
    Cron(Schedule),
}

/// What happens to a registry during its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interruption {
    /// It is stopped for the collection, or restarted right after it.
    #[default]
    Stop,
    /// It keeps running. The operator states that this is safe; only [`Collector::Command`] supports it.
    None,
}

/// What runs a collection.
#[derive(Debug, Clone)]
pub enum Collector {
    /// The Docker Engine that runs the registry.
    Docker {
        /// The address of the Engine as written; `None` is `$DOCKER_HOST`, else the local socket.
        host: Option<String>,
        /// The name or ID of the registry's container.
        container: String,
        /// Where `garbage-collect` runs.
        method: Method,
        /// The path of the registry's configuration in the container; `None` reads it from the container's command.
        config_file: Option<String>,
    },
    /// Commands of the operator, each a program and its arguments, run without a shell.
    Command {
        /// Stops the registry. Empty only with [`Interruption::None`]; then `after` is empty, too.
        before: Vec<String>,
        /// Collects; never empty.
        run: Vec<String>,
        /// Ends a collection that still runs after `run` was killed; may be empty.
        cancel: Vec<String>,
        /// Starts the registry again; may be empty.
        after: Vec<String>,
    },
}

impl Collector {
    /// Whether a command runs the registry's own `garbage-collect`, the only one whose output and configuration file
    /// are known.
    pub(crate) fn runs_garbage_collect(run: &[String]) -> bool {
        run.iter().any(|argument| argument == "garbage-collect")
    }
}

/// Where `garbage-collect` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// In a separate container, while the registry is stopped.
    Offline,
    /// Inside the running container, which is restarted afterwards.
    Exec,
}
