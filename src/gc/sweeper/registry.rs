//! The registry's own `garbage-collect` as a sweeper: in a second container, inside the registry's, or as a command.
//!
//! The registry's runtime runs it as a job. It does not know what else happens to the registry.

pub(crate) mod output;

use std::sync::Arc;

use self::output::Output;
use crate::gc::error::Error;
use crate::gc::registry_config::RegistryConfig;
use crate::gc::storage::Storage;
use crate::gc::sweeper::{DryRun, Findings, Sweeper};
use crate::model::Digest;
use crate::runtime::{CommandRegistry, Deadline, Instance, Job, Network, RegistryContainer};

/// The argument that makes a registry's program collect.
const COLLECT: &str = "garbage-collect";
const DRY_RUN: &str = "--dry-run";

/// A registry's own collection.
#[derive(Debug, Clone)]
pub(in crate::gc) struct RegistrySweeper(Arc<Found>);

#[derive(Debug)]
struct Found {
    registry: Instance,
    config: RegistryConfig,
    sweep: Job,
    /// `None` where the job is not known to have a dry run.
    dry_run: Option<Job>,
    may_start_registry: bool,
}

impl RegistrySweeper {
    /// Finds everything that the collection needs to know of the registry. Changes nothing.
    pub(in crate::gc) async fn open(registry: &Instance) -> Result<Self, Error> {
        match registry {
            Instance::Container(container) => Self::in_container(container).await,
            Instance::Commands(commands) => Ok(Self::by_command(commands).await),
        }
    }

    /// The registry's own configuration.
    pub(in crate::gc) fn config(&self) -> &RegistryConfig {
        &self.0.config
    }

    async fn in_container(container: &RegistryContainer) -> Result<Self, Error> {
        let program = container.find_program().await?;
        let config = RegistryConfig::in_container(container).await?;
        let network = match &config.storage {
            Storage::Files { root } => {
                container.refuse_unshared(root)?;
                Network::None
            }
            Storage::Elsewhere => Network::Registry,
        };
        let path = config.file.as_ref().map(|file| file.path.clone());
        let job = |flags: &[&str]| {
            let command_line = [program.as_str(), COLLECT].into_iter().chain(flags.iter().copied());
            let command_line = command_line.map(str::to_owned).chain(path.clone()).collect();
            Job { command_line, network, same_file: config.file.clone() }
        };
        let (sweep, dry_run) = (job(&[]), Some(job(&[DRY_RUN])));
        let registry = Instance::Container(container.clone());
        Ok(Self(Arc::new(Found { registry, config, sweep, dry_run, may_start_registry: false })))
    }

    async fn by_command(commands: &CommandRegistry) -> Self {
        let job =
            |command_line: Vec<String>| Job { command_line, network: Network::Registry, same_file: None };
        let run = commands.run_command_line();
        let dry_run = run.iter().position(|word| word == COLLECT).map(|position| {
            let mut command_line = run.to_vec();
            command_line.insert(position + 1, DRY_RUN.to_owned());
            job(command_line)
        });
        Self(Arc::new(Found {
            registry: Instance::Commands(commands.clone()),
            config: RegistryConfig::of_command(commands).await,
            sweep: job(run.to_vec()),
            dry_run,
            may_start_registry: commands.job_may_start_registry(),
        }))
    }
}

impl Sweeper for RegistrySweeper {
    async fn dry_run(&self, deadline: Deadline) -> Result<DryRun, Error> {
        let Some(job) = &self.0.dry_run else { return Ok(DryRun::Unsupported) };
        let mut output = Output::default();
        let exit = self.0.registry.run_job(job, &mut output, deadline).await?;
        output.finish(exit).map(DryRun::Done)
    }

    async fn sees_blobs(&self) -> Result<bool, Error> {
        let Some(folder) = self.0.config.storage.blobs() else { return Ok(false) };
        // Otherwise a container that is gone would look like one without blobs.
        self.0.registry.check_exists().await?;
        Ok(self.0.registry.file_size(folder).await?.is_some())
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let Some(file) = self.0.config.storage.blob(digest) else { return Ok(None) };
        Ok(self.0.registry.file_size(file).await?)
    }

    async fn sweep(&self, deadline: Deadline) -> Result<Findings, Error> {
        let mut output = Output::default();
        let exit = self.0.registry.run_job(&self.0.sweep, &mut output, deadline).await?;
        if self.0.dry_run.is_some() { output.finish(exit) } else { output.finish_unknown_program(exit) }
    }

    async fn end(&self) -> Result<(), Error> {
        Ok(self.0.registry.end_jobs().await?)
    }

    fn may_start_registry(&self) -> bool {
        self.0.may_start_registry
    }
}
