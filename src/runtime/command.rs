//! A registry that commands of the operator stop and start, with a job that is a command, too.
//!
//! It knows the commands' order of work, and nothing of what the job does.

mod process;

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config;
use crate::runtime::config_path::config_file;
use crate::runtime::deadline::Deadline;
use crate::runtime::error::Error;
use crate::runtime::job::{File, Job, OutputSink};

/// The commands, as configured.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    pub(crate) before: Vec<String>,
    pub(crate) run: Vec<String>,
    pub(crate) cancel: Vec<String>,
    pub(crate) after: Vec<String>,
    /// How long `cancel` and `after` may take, independent of the time that was left when they began.
    pub(crate) timeout: Duration,
}

impl Commands {
    /// The registry that these commands stop and start. Nothing is run yet.
    pub(crate) fn registry(&self) -> CommandRegistry {
        CommandRegistry(Arc::new(Begun { commands: self.clone(), unfinished: AtomicBool::new(false) }))
    }

    /// An error if one of the programs does not exist. What they do is not known before they have run.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for command_line in [&self.before, &self.run, &self.cancel, &self.after] {
            if let Some(program) = command_line.first()
                && !process::is_executable(program)
            {
                let why = format!("cannot be run: there is no program `{program}`, here or on the PATH");
                return Err(Error::Command { command: command_line.join(" "), why });
            }
        }
        Ok(())
    }

    /// After a crash: ends the job, which must not go on beside the registry, and starts the registry.
    pub(crate) async fn restore(&self) -> Result<(), Error> {
        self.end_jobs().await?;
        self.start().await
    }

    /// After a crash: ends the job.
    pub(crate) async fn end_jobs(&self) -> Result<(), Error> {
        self.end_processes().await?;
        self.cancel().await
    }

    /// Ends what `run` lets others do, who do not notice the end of their client.
    async fn cancel(&self) -> Result<(), Error> {
        let cancelled = succeed(&self.cancel, Deadline::after(self.timeout)).await;
        cancelled.map_err(|error| Error::NotCancelled(Box::new(error)))
    }

    /// Ends the processes of the job, and waits until they have ended.
    async fn end_processes(&self) -> Result<(), Error> {
        if !self.runs_garbage_collect() {
            return Ok(());
        }
        process::end_marked(&self.mark(), Deadline::after(self.timeout)).await
    }

    async fn start(&self) -> Result<(), Error> {
        succeed(&self.after, Deadline::after(self.timeout)).await
    }

    /// Whether the job is a registry's own `garbage-collect`. Another job may start the registry itself, which would then
    /// be one of the job's processes.
    fn runs_garbage_collect(&self) -> bool {
        config::Collector::runs_garbage_collect(&self.run)
    }

    /// The mark by which the job's processes are found after a crash.
    fn mark(&self) -> String {
        self.run.join(" ")
    }
}

/// A registry that commands stop and start, in one collection.
#[derive(Debug, Clone)]
pub(crate) struct CommandRegistry(Arc<Begun>);

#[derive(Debug)]
struct Begun {
    commands: Commands,
    /// Whether `run` was begun and has not ended by itself with success, so that its work may go on elsewhere.
    unfinished: AtomicBool,
}

impl CommandRegistry {
    /// The program that runs as a job, and its arguments.
    pub(crate) fn run_command_line(&self) -> &[String] {
        &self.0.commands.run
    }

    /// Whether the job may start the registry itself.
    pub(crate) fn job_may_start_registry(&self) -> bool {
        !self.0.commands.runs_garbage_collect()
    }

    /// The registry's configuration file, or why it cannot be read: it may be on another machine or in a container (the
    /// command may be `docker exec …`).
    pub(crate) async fn find_config(&self) -> Result<File, String> {
        let commands = &self.0.commands;
        let path = config_file(commands.run.iter())
            .filter(|_| commands.runs_garbage_collect())
            .ok_or("the command names no configuration file of a registry")?
            .to_owned();
        let file = path.clone();
        let text = match tokio::task::spawn_blocking(move || fs::read_to_string(file)).await {
            Ok(text) => text.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match text {
            Ok(text) => Ok(File { path, text }),
            Err(error) => Err(format!("{path} cannot be read here: {error}")),
        }
    }

    /// The bytes of a file or folder of this machine; `None` if it does not exist.
    pub(crate) async fn file_size(&self, path: String) -> Result<Option<u64>, Error> {
        let unreadable = |why: String| Error::UnreadableFile { path: path.clone(), why };
        let file = path.clone();
        match tokio::task::spawn_blocking(move || fs::metadata(file)).await {
            Ok(Ok(found)) => Ok(Some(found.len())),
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Ok(Err(error)) => Err(unreadable(error.to_string())),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// Stops the registry.
    pub(crate) async fn stop(&self, deadline: Deadline) -> Result<(), Error> {
        succeed(&self.0.commands.before, deadline).await
    }

    /// Starts the registry.
    pub(crate) async fn start(&self) -> Result<(), Error> {
        self.0.commands.start().await
    }

    /// Runs a job to its end: its exit code.
    pub(crate) async fn run_job(
        &self,
        job: &Job,
        output: &mut dyn OutputSink,
        deadline: Deadline,
    ) -> Result<i64, Error> {
        let Begun { commands, unfinished } = &*self.0;
        unfinished.store(true, Ordering::Relaxed);
        let exit = process::run(&job.command_line, Some(&commands.mark()), Some(output), deadline).await?;
        unfinished.store(exit != 0, Ordering::Relaxed);
        Ok(exit)
    }

    /// Ends a job that may still run: processes that were killed with their group may take a while to end, and processes
    /// that had left the group were not killed.
    pub(crate) async fn end_jobs(&self) -> Result<(), Error> {
        let Begun { commands, unfinished } = &*self.0;
        commands.end_processes().await?;
        if unfinished.load(Ordering::Relaxed) {
            commands.cancel().await?;
            unfinished.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Runs a command whose exit code has to be 0. An empty command succeeds.
async fn succeed(command_line: &[String], deadline: Deadline) -> Result<(), Error> {
    match process::run(command_line, None, None, deadline).await? {
        0 => Ok(()),
        exit => {
            let why = format!("failed with exit code {exit}; what it printed is in regsweep's log");
            Err(Error::Command { command: command_line.join(" "), why })
        }
    }
}
