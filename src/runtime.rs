//! The runtime of a registry: the Docker Engine or the operator's commands. It stops, starts and restarts the registry,
//! runs a job beside it, and finds out how it runs and how it is configured.
//!
//! It knows containers and processes. It knows neither what a job does, nor blobs, nor the HTTP API of a registry.

mod changes;
mod command;
mod config_path;
mod deadline;
mod docker;
mod error;
mod job;
mod retry;

pub use error::Error;

pub(crate) use changes::Changes;
pub(crate) use command::CommandRegistry;
pub(crate) use deadline::Deadline;
pub(crate) use docker::{JobPlace, RegistryContainer};
pub(crate) use job::{File, Job, Network, OutputSink};
pub(crate) use retry::with_retries;

use std::path::Path;

use self::command::Commands;
use self::docker::Docker;
use crate::config;

/// What runs a registry, as configured. Nothing is contacted before it is asked for something.
#[derive(Debug)]
pub(crate) enum Runtime {
    Docker(Docker),
    Command(Commands),
}

/// What two collectors have in common that work on the same registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// A container of an Engine.
    Container { engine: String, name: String },
    /// The storage that a command collects.
    Command(Vec<String>),
}

impl Runtime {
    /// The runtime that a configuration describes. `docker_host` is the Engine's address where the configuration names
    /// none; `certificates` is the folder with `ca.pem`, `cert.pem` and `key.pem` for TLS.
    pub(crate) fn new(
        gc: &config::Gc,
        docker_host: &str,
        certificates: Option<&Path>,
    ) -> Result<Self, Error> {
        Ok(match &gc.collector {
            config::Collector::Docker { host, container, method, config_file } => {
                let host = host.as_deref().unwrap_or(docker_host);
                Self::Docker(Docker::new(host, certificates, container, *method, config_file.clone())?)
            }
            config::Collector::Command { before, run, cancel, after } => Self::Command(Commands {
                before: before.clone(),
                run: run.clone(),
                cancel: cancel.clone(),
                after: after.clone(),
                timeout: gc.timeout,
            }),
        })
    }

    /// What identifies the registry, as far as the configuration says it.
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Self::Docker(docker) => {
                Identity::Container { engine: docker.host().to_owned(), name: docker.container().to_owned() }
            }
            Self::Command(commands) => Identity::Command(commands.run.clone()),
        }
    }

    /// Finds the registry as it is now. Changes nothing.
    pub(crate) async fn find(&self) -> Result<Instance, Error> {
        Ok(match self {
            Self::Docker(docker) => Instance::Container(docker.find().await?),
            Self::Command(commands) => Instance::Commands(commands.registry()),
        })
    }

    /// Finds the registry for a collection that begins now, and ends the containers of earlier ones.
    pub(crate) async fn begin(&self) -> Result<Instance, Error> {
        Ok(match self {
            Self::Docker(docker) => Instance::Container(docker.begin().await?),
            Self::Command(commands) => Instance::Commands(commands.registry()),
        })
    }

    /// Checks that everything which a collection needs is present, and describes it for people.
    pub(crate) fn check(&self) -> Result<String, Error> {
        match self {
            Self::Docker(docker) => Ok(format!("the container {}", docker.container())),
            Self::Command(commands) => commands.check().map(|()| "every command".to_owned()),
        }
    }

    /// After a crash: ends the jobs that may still run, and starts the registry. A container is restarted, since a stop
    /// may still be under way in the Engine, and a job may still run inside the container.
    pub(crate) async fn restore(&self) -> Result<(), Error> {
        match self {
            Self::Docker(docker) => docker.restore().await,
            Self::Command(commands) => commands.restore().await,
        }
    }

    /// After a crash: ends the jobs that may still run beside a registry which was not stopped.
    pub(crate) async fn end_jobs(&self) -> Result<(), Error> {
        match self {
            // The next collection begins by removing its containers, and they sweep only a registry that is stopped.
            Self::Docker(_) => Ok(()),
            Self::Command(commands) => commands.end_jobs().await,
        }
    }

    /// Whether the registry was started by others after we stopped it, and no job of ours has run beside it since.
    /// `started` is when it had been started before, unless a job may have removed something since. Commands cannot tell.
    pub(crate) async fn is_running_again(&self, started: Option<&str>) -> Result<bool, Error> {
        match self {
            Self::Docker(docker) => docker.is_running_again(started).await,
            Self::Command(_) => Ok(false),
        }
    }
}

/// A registry as its runtime found it.
#[derive(Debug, Clone)]
pub(crate) enum Instance {
    Container(RegistryContainer),
    Commands(CommandRegistry),
}

impl Instance {
    /// What the registry is called in messages.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Container(container) => container.name(),
            Self::Commands(_) => "the registry",
        }
    }

    /// When the registry was started that runs now, in the runtime's own notation; `None` where that is not known.
    pub(crate) async fn started_at(&self) -> Option<String> {
        match self {
            Self::Container(container) => container.started_at().await,
            Self::Commands(_) => None,
        }
    }

    /// Whether the registry runs at this moment; `None` where the runtime cannot tell.
    pub(crate) async fn is_running(&self) -> Option<bool> {
        match self {
            Self::Container(container) => Some(container.is_running().await),
            Self::Commands(_) => None,
        }
    }

    /// Stops the registry.
    pub(crate) async fn stop(&self, deadline: Deadline) -> Result<(), Error> {
        match self {
            Self::Container(container) => container.stop().await,
            Self::Commands(commands) => commands.stop(deadline).await,
        }
    }

    /// Puts the registry back as it was found, also if a stop was left half done.
    pub(crate) async fn restore(&self, changes: Changes) -> Result<(), Error> {
        match self {
            Self::Container(container) => container.restore(changes).await,
            Self::Commands(commands) => commands.start().await,
        }
    }

    /// Runs a job to its end, and returns its exit code.
    pub(crate) async fn run_job(
        &self,
        job: &Job,
        output: &mut dyn OutputSink,
        deadline: Deadline,
    ) -> Result<i64, Error> {
        match self {
            Self::Container(container) => container.run_job(job, output, deadline).await,
            Self::Commands(commands) => commands.run_job(job, output, deadline).await,
        }
    }

    /// Ends the jobs that still run.
    pub(crate) async fn end_jobs(&self) -> Result<(), Error> {
        match self {
            Self::Container(container) => container.end_jobs().await,
            Self::Commands(commands) => commands.end_jobs().await,
        }
    }

    /// An error if the place where the registry's files are read does not exist any more.
    pub(crate) async fn check_exists(&self) -> Result<(), Error> {
        match self {
            Self::Container(container) => container.check_exists().await,
            Self::Commands(_) => Ok(()),
        }
    }

    /// The bytes of a file or folder, as the registry sees it; `None` if it does not exist.
    pub(crate) async fn file_size(&self, path: String) -> Result<Option<u64>, Error> {
        match self {
            Self::Container(container) => container.file_size(&path).await,
            Self::Commands(commands) => commands.file_size(path).await,
        }
    }
}
