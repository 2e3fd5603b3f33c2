//! The registry's container as it was found when a collection began: stopped, restored, and jobs run for it.
//!
//! A job runs in a second container of the same image, or inside the registry's own. It does not know what a job does.

use std::sync::Arc;

use crate::runtime::changes::Changes;
use crate::runtime::deadline::Deadline;
use crate::runtime::docker::client::Client;
use crate::runtime::docker::container::Container;
use crate::runtime::docker::job;
use crate::runtime::error::Error;
use crate::runtime::job::{File, Job, OutputSink};

/// A registry's container, as found.
#[derive(Debug, Clone)]
pub(crate) struct RegistryContainer(Arc<Found>);

#[derive(Debug)]
struct Found {
    client: Client,
    container: Container,
    place: JobPlace,
    /// The path of the registry's configuration file, where it is configured.
    config_file: Option<String>,
}

/// Where a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobPlace {
    /// In a container of its own.
    SecondContainer,
    /// Inside the registry's container, which runs meanwhile.
    RegistryContainer,
}

impl RegistryContainer {
    pub(crate) fn new(
        client: Client,
        container: Container,
        place: JobPlace,
        config_file: Option<String>,
    ) -> Self {
        Self(Arc::new(Found { client, container, place, config_file }))
    }

    /// The name or id, as configured.
    pub(crate) fn name(&self) -> &str {
        &self.0.container.name
    }

    /// Whether it was running when it was found.
    pub(crate) fn was_running(&self) -> bool {
        self.0.container.runs
    }

    /// Where its jobs run.
    pub(crate) fn job_place(&self) -> JobPlace {
        self.0.place
    }

    /// The variables of its environment, each as `NAME=value`.
    pub(crate) fn env(&self) -> &[String] {
        self.0.container.env()
    }

    /// The folder that its relative paths begin in.
    pub(crate) fn folder(&self) -> &str {
        self.0.container.folder()
    }

    /// An error if a second container would not see this folder.
    pub(crate) fn refuse_unshared(&self, folder: &str) -> Result<(), Error> {
        match self.0.place {
            JobPlace::SecondContainer => self.0.container.refuse_unshared(folder),
            JobPlace::RegistryContainer => Ok(()),
        }
    }

    /// The path of the registry's program.
    pub(crate) async fn find_program(&self) -> Result<String, Error> {
        let programs = self.0.container.programs();
        for program in &programs {
            if self.file_size(program).await?.is_some() {
                return Ok(program.clone());
            }
        }
        let program = programs.join(" and no ");
        Err(Error::NoBinary { container: self.name().to_owned(), program })
    }

    /// The registry's configuration file.
    pub(crate) async fn find_config(&self) -> Result<File, Error> {
        let Found { client, container, config_file, .. } = &*self.0;
        let paths = container.configs(config_file.as_deref());
        for path in &paths {
            if let Some(text) = client.read(&container.id, path).await? {
                return Ok(File { path: path.clone(), text });
            }
        }
        Err(Error::NoConfig { container: self.name().to_owned(), tried: paths.join(" and no ") })
    }

    /// An error if the container does not exist any more.
    pub(crate) async fn check_exists(&self) -> Result<(), Error> {
        self.0.client.inspect(&self.0.container.id).await.map(drop)
    }

    /// The bytes of a file or folder in the container; `None` if it does not exist.
    pub(crate) async fn file_size(&self, path: &str) -> Result<Option<u64>, Error> {
        self.0.client.stat(&self.0.container.id, path).await
    }

    /// When the registry was started last, in the Engine's notation.
    pub(crate) async fn started_at(&self) -> Option<String> {
        self.current().await.ok()?.started_at()
    }

    /// Whether it runs now. Without an answer of the Engine it does not: a later question will be answered.
    pub(crate) async fn is_running(&self) -> bool {
        self.current().await.is_ok_and(|current| current.runs)
    }

    /// Stops it.
    pub(crate) async fn stop(&self) -> Result<(), Error> {
        self.0.client.stop(&self.0.container.id).await
    }

    /// Runs a job to its end: its exit code.
    pub(crate) async fn run_job(
        &self,
        job: &Job,
        output: &mut dyn OutputSink,
        deadline: Deadline,
    ) -> Result<i64, Error> {
        let Found { client, container, place, .. } = &*self.0;
        match place {
            JobPlace::SecondContainer => job::run(client, container, job, output, deadline).await,
            JobPlace::RegistryContainer => {
                client.exec(&container.id, job.command_line.clone(), output, deadline).await
            }
        }
    }

    /// Ends all jobs in second containers. A job inside the registry's container ends with its restart.
    pub(crate) async fn end_jobs(&self) -> Result<(), Error> {
        job::end_all(&self.0.client, self.name()).await
    }

    /// Puts it back as it was found.
    pub(crate) async fn restore(&self, changes: Changes) -> Result<(), Error> {
        let Found { client, container, .. } = &*self.0;
        let current = self.current().await.map_err(being_replaced)?;
        let was_replaced = current.id != container.id;
        match (current.runs, changes) {
            // It has run during the sweep, and may remember blobs that are gone.
            (true, Changes { swept: true, .. }) => client.restart(&current.id).await,
            // It was never asked to stop.
            (true, Changes { stopped: false, .. }) => Ok(()),
            (true, _) if was_replaced => Ok(()),
            // The stop may still be under way, so that it runs at this moment proves nothing.
            (true, _) => match client.restart(&current.id).await {
                // The stop was not allowed either, so it runs on.
                Err(Error::Forbidden { .. }) => Ok(()),
                restarted => restarted,
            },
            (false, _) if container.runs => client.start(&current.id).await,
            // It was found stopped.
            (false, _) => Ok(()),
        }
    }

    /// The registry's container as it is now. It may have been replaced, and have another id.
    async fn current(&self) -> Result<Container, Error> {
        let Found { client, container, .. } = &*self.0;
        let found = match client.inspect(container.own_name()).await {
            // It may have been renamed.
            Err(Error::NoContainer { .. }) => client.inspect(&container.id).await,
            found => found,
        };
        Container::read(&container.name, found?)
    }
}

/// While a container is replaced by another, none exists for a moment, or one that is being removed. The error becomes
/// one that is transient.
fn being_replaced(error: Error) -> Error {
    match error {
        Error::NoContainer { .. } | Error::ContainerState { .. } => {
            Error::Engine { action: "find the registry's container", message: error.to_string() }
        }
        other => other,
    }
}
