//! The configuration: YAML text → as written → validated, with every problem reported at once.
//!
//! Nothing that has not been validated leaves this module. It reads the files that the configuration
//! names, and knows nothing of the network, of plans, or of who asks for it.

mod advice;
mod bounds;
mod cache;
mod docker;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gc;
mod locate;
mod policies;
mod problem;
mod quantity;
mod read;
mod registries;
mod schedule;
mod secret;
mod settings;
mod values;
mod written;

pub use problem::{ConfigError, Problem};
pub use schedule::Schedule;

use std::io::Read as _;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;
use secrecy::SecretString;
use url::Url;

use crate::model::RepositoryName;
use crate::policy::{Limits, Mode, Policy, Protect};

/// Looks up a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the operator wants, with every default filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether plans are carried out; `plan` unless written. It stands above the mode of a policy: a
    /// policy is enforced only where both say so.
    pub mode: Mode,
    /// The time zone of schedules and of calendar periods.
    pub timezone: Tz,
    /// Where metrics, health and the page are served.
    pub listen: SocketAddr,
    /// What whoever may ask the service for a run has to show; `None` lets nobody.
    pub admin_token: Option<SecretString>,
    /// Where the state is kept: as written, else `$STATE_DIRECTORY`, else `/var/lib/regsweep`.
    pub state_dir: PathBuf,
    /// For how long runs, collections and deletions are remembered, and with them what an undo needs;
    /// a day at least.
    pub history: TimeDelta,
    /// At least one, with names that differ.
    pub registries: Vec<Registry>,
    /// Names of registries that are gone for good.
    pub retired: Vec<String>,
    /// What is kept whatever the rules say.
    pub protect: Protect,
    /// What a run may do at most.
    pub limits: Limits,
    /// At least one, with names that differ; the first that claims a repository decides it. The mode
    /// of a policy that says nothing is [`Mode::Enforce`]: it holds back nothing by itself.
    pub policies: Vec<Policy>,
}

/// One registry and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Registry {
    /// What the operator calls it; unique.
    pub name: String,
    /// What it was called before, where neither its name nor its address tells that it is the same.
    pub was: Vec<String>,
    /// Where its API begins. The path ends with a slash, so that `url.join("v2/")` is the API also where
    /// the registry is served below a prefix.
    pub url: Url,
    /// Who we are to it.
    pub auth: Auth,
    /// How its certificate is verified, and ours.
    pub tls: Tls,
    /// The repositories to look at; `None` asks the catalog.
    pub repositories: Option<Vec<RepositoryName>>,
    /// Whether the operator states that its lists of tags lack none; else it is found out, as far as it can be.
    pub tags_complete: bool,
    /// Requests in flight at one time.
    pub concurrency: NonZeroUsize,
    /// Requests begun in one second; `None` sets no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// How long one request may take; never zero.
    pub timeout: Duration,
    /// How long a run may take, its collection not included; never zero.
    pub run_timeout: Duration,
    /// When a run begins: its own schedule, else that of the top level; `None` leaves it to the operator.
    pub schedule: Option<Schedule>,
    /// How freed blobs are collected; `None` leaves that to others.
    pub gc: Option<Gc>,
}

/// Who we are to a registry.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Nobody.
    Anonymous,
    /// A user with a password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// Whoever this Docker configuration file says we are; the file existed when the configuration was read.
    DockerConfig(PathBuf),
    /// The bearer of a token.
    Bearer(SecretString),
}

/// What an encrypted connection trusts and shows. The files existed when the configuration was read.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificates to trust beside those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show.
    pub identity: Option<ClientCertificate>,
    /// Trust whoever answers.
    pub insecure_skip_verify: bool,
}

/// The certificate that a client shows, with its private key.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate, in PEM.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
}

/// How a registry frees the blobs that nothing needs any more.
#[derive(Debug, Clone)]
pub struct Gc {
    /// When it does.
    pub schedule: GcSchedule,
    /// Fewer bytes than this are not worth a collection.
    pub min_reclaimable: u64,
    /// How old the youngest deletion must be before a collection makes it final; zero waits for nothing,
    /// and it is never longer than [`Config::history`].
    pub grace: TimeDelta,
    /// How long a collection may take; never zero.
    pub timeout: Duration,
    /// What happens to the registry meanwhile.
    pub interruption: Interruption,
    /// What runs it.
    pub collector: Collector,
    /// Where the registry's cache of blobs is, as the operator states it; `None` reads it from the
    /// registry's own configuration.
    pub cache: Option<Cache>,
    /// The Redis in which the registry keeps its cache. Always there where `cache` says so.
    pub redis: Option<Redis>,
}

/// Where a registry remembers which blobs it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Nowhere.
    Off,
    /// In its own memory, which a restart empties.
    InMemory,
    /// In Redis, which a restart does not empty.
    Redis,
}

/// A Redis in which a registry keeps its cache.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Its host: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user of its access control list; `None` is its default user.
    pub username: Option<String>,
    /// The password; `None` shows none.
    pub password: Option<SecretString>,
    /// The number of its database.
    pub db: u16,
    /// How an encrypted connection is made; `None` makes a plain one.
    pub tls: Option<RedisTls>,
}

/// What an encrypted connection to Redis trusts and shows. The files existed when the configuration was read.
#[derive(Debug, Clone)]
pub struct RedisTls {
    /// Certificates to trust instead of those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show.
    pub identity: Option<ClientCertificate>,
}

/// When a collection runs.
#[derive(Debug, Clone)]
pub enum GcSchedule {
    /// After a run that deleted something.
    AfterRun,
    /// At set times.
    Cron(Schedule),
}

/// What happens to a registry while it is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interruption {
    /// It is down for it, or restarted right after it.
    #[default]
    Stop,
    /// It runs on. The operator states that this is safe there; only commands can do it.
    None,
}

/// What runs a collection.
#[derive(Debug, Clone)]
pub enum Collector {
    /// The Docker Engine that runs the registry.
    Docker {
        /// Its address, as written; `None` means `$DOCKER_HOST`, else the local socket.
        host: Option<String>,
        /// The name or id of the registry's container.
        container: String,
        /// Where `garbage-collect` runs.
        method: Method,
        /// The registry's own configuration inside the container; `None` finds it from the container.
        config_file: Option<String>,
    },
    /// Commands of the operator, each a program and its arguments; no shell.
    Command {
        /// What stops the registry; empty only with [`Interruption::None`], as `after` is then.
        before: Vec<String>,
        /// What collects; never empty.
        run: Vec<String>,
        /// What ends that where it has not ended by itself; empty runs nothing.
        cancel: Vec<String>,
        /// What starts the registry again; empty runs nothing.
        after: Vec<String>,
    },
}

impl Collector {
    /// Whether a command is a registry's own collection, known by its word. Only of such is known what it prints.
    pub(crate) fn is_official(run: &[String]) -> bool {
        run.iter().any(|word| word == "garbage-collect")
    }
}

/// Where `garbage-collect` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// In a container of its own, while the registry is stopped.
    Offline,
    /// Inside the running container, which is then restarted.
    Exec,
}

/// The bytes of a configuration file, as far as one can have any.
pub fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    if file.metadata()?.nlink() == 0 {
        // Only a file that is mounted by itself can still be opened when it has no name any more.
        return Err(std::io::Error::other(
            "it is mounted by itself (as by `docker run --volume FILE:FILE`) and was replaced where it comes from, so this is \
             still the one of before; mount the directory that it is in instead, and start this once more",
        ));
    }
    // One byte more than is allowed tells that there is more.
    let most = u64::try_from(bounds::FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        std::io::Error::other(format!("it is no text in UTF-8, as byte {} shows", place + 1))
    })
}

/// Reads and validates a configuration file.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, ConfigError> {
    load_as(path, env, parse)
}

/// The same for commands that speak to no registry: what the configuration says of secrets, and of other files, is taken
/// for true and not looked up, and every secret is empty.
pub fn load_without_secrets(path: &Path, env: Env<'_>) -> Result<Config, ConfigError> {
    load_as(path, env, parse_without_secrets)
}

fn load_as(
    path: &Path,
    env: Env<'_>,
    parse: impl FnOnce(&str, &str, Env<'_>) -> Result<Config, ConfigError>,
) -> Result<Config, ConfigError> {
    let file = path.display().to_string();
    match text(path) {
        Ok(text) => parse(&text, &file, env),
        Err(error) => {
            let way_out = match error.kind() {
                std::io::ErrorKind::NotFound => "write one (config/regsweep.yaml is an example)",
                std::io::ErrorKind::PermissionDenied => "let the user read it that this runs as",
                _ => "mend that",
            };
            let message = format!(
                "cannot be read: {error}: {way_out}, or name another with --config or $REGSWEEP_CONFIG"
            );
            Err(ConfigError { file, problems: vec![Problem { path: String::new(), line: None, message }] })
        }
    }
}

/// Validates the text of a configuration file, which is called `file` in errors.
///
/// Paths in it are relative to the working directory. The secrets and files that it names are looked up now.
pub fn parse(text: &str, file: &str, env: Env<'_>) -> Result<Config, ConfigError> {
    let (written, findings) = read::read(text, file)?;
    validate(written, findings, text, file, env)
}

fn parse_without_secrets(text: &str, file: &str, env: Env<'_>) -> Result<Config, ConfigError> {
    let (written, mut findings) = read::read(text, file)?;
    findings.need_no_secrets();
    validate(written, findings, text, file, env)
}

fn validate(
    written: written::Config,
    mut findings: problem::Findings,
    text: &str,
    file: &str,
    env: Env<'_>,
) -> Result<Config, ConfigError> {
    let config = settings::config(written, env, &mut findings);
    if findings.is_empty() { Ok(config) } else { Err(findings.into_error(file, text)) }
}

#[cfg(test)]
mod tests;
