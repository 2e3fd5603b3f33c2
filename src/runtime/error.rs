//! What can go wrong with a runtime, and how to mend it.
//!
//! Each error has a fixed kind for metrics and a text for the operator. It decides nothing.

use std::path::PathBuf;
use std::time::Duration;

/// A request to the runtime that failed.
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
    /// The Engine does not answer at its address.
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
        "the Docker Engine at {host} forbids to {action} ({message}); a socket proxy needs CONTAINERS=1 and POST=1, for method exec also EXEC=1"
    )]
    Forbidden { host: String, action: &'static str, message: String },
    /// The Engine answered with an error.
    #[error("the Docker Engine could not {action}: {message}")]
    Engine { action: &'static str, message: String },
    /// There is no such container.
    #[error(
        "there is no container {container:?}: is gc.docker.container its name or id as `docker ps --all` shows it, and gc.docker.host its Engine?"
    )]
    NoContainer { container: String },
    /// The container is neither running nor stopped.
    #[error("the container {container:?} is {state}: start it (or stop it) first; nothing has been changed")]
    ContainerState { container: String, state: String },
    /// The container must not be stopped by regsweep.
    #[error("the container {container:?} must not be stopped: {why}; nothing has been changed")]
    NotOurs { container: String, why: &'static str },
    /// No program of a registry is in the container.
    #[error(
        "the container {container:?} has no program {program}: is it a registry? A collector of another kind is gc.command"
    )]
    NoBinary { container: String, program: String },
    /// The registry's configuration file is not where it should be.
    #[error(
        "the container {container:?} has no configuration file {tried}: set gc.docker.config_file to its path inside the container"
    )]
    NoConfig { container: String, tried: String },
    /// A file cannot be read.
    #[error("the file {path} cannot be read: {why}")]
    UnreadableFile { path: String, why: String },
    /// A second container would collect with other settings.
    #[error(
        "the configuration {path} of container {container:?} is not the same in a second container of its image: mount it as a volume, or set method: exec"
    )]
    OtherConfig { container: String, path: String },
    /// A second container would not see what is stored.
    #[error(
        "the storage {root} of container {container:?} is on none of its volumes, so a second container cannot see it: mount a volume there, or set method: exec"
    )]
    NotShared { container: String, root: String },
    /// A command of the operator failed or could not be run.
    #[error("the command `{command}` {why}")]
    Command { command: String, why: String },
    /// A job that runs elsewhere may go on.
    #[error(
        "gc.command.cancel has to succeed before the registry may run again, or a sweep could go on beside it: {0}"
    )]
    NotCancelled(Box<Error>),
    /// It took too long.
    #[error("the collection was ended because it took longer than gc.timeout ({} s)", limit.as_secs())]
    Timeout { limit: Duration },
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
            Self::ContainerState { .. } => "container_state",
            Self::NotOurs { .. } => "not_ours",
            Self::NoBinary { .. } => "no_binary",
            Self::NoConfig { .. } => "no_config",
            Self::UnreadableFile { .. } => "unreadable_file",
            Self::OtherConfig { .. } => "other_config",
            Self::NotShared { .. } => "not_shared",
            Self::Command { .. } => "command",
            Self::NotCancelled(_) => "not_cancelled",
            Self::Timeout { .. } => "timeout",
        }
    }

    /// Whether the same request to the Engine may succeed a little later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Engine { .. })
    }
}
