//! A collection by commands of the operator: one stops the registry, one collects, one starts it again.
//!
//! Where the collecting command is a `garbage-collect` with a configuration file that can be read here, it is
//! looked at first, and measured, like any other. Otherwise it is run as it is, and nothing can be checked.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::gc::cache::{self, Cache};
use crate::gc::output::{Found, Output};
use crate::gc::process;
use crate::gc::site::{DryRun, Site};
use crate::gc::storage::{self, Storage};
use crate::gc::{Error, Outside};
use crate::model::Digest;

/// The word by which a registry's own collection is known.
const COLLECT: &str = "garbage-collect";

/// The commands, as configured.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) before: Vec<String>,
    pub(super) run: Vec<String>,
    pub(super) cancel: Vec<String>,
    pub(super) after: Vec<String>,
    /// How long `cancel` and `after` may take, whatever time was left when they began.
    pub(super) timeout: Duration,
    /// Whether the registry is down for it.
    pub(super) interrupts: bool,
}

impl Command {
    /// Looks for what a collection needs to know. Changes nothing.
    pub(super) async fn site(&self) -> CommandSite {
        let known = self.run.iter().position(|word| word == COLLECT);
        let dry = known.map(|position| {
            let mut words = self.run.clone();
            words.insert(position + 1, "--dry-run".to_owned());
            words
        });
        let file = storage::config_file(self.run.iter()).filter(|_| self.is_known());
        let text = match file {
            Some(file) => read(file).await,
            None => Err("the command names no configuration file of a registry".to_owned()),
        };
        let storage = text.as_deref().map_or(Storage::Elsewhere, read_storage);
        let on_s3 = text.as_deref().is_ok_and(|text| cache::is_on_s3(text, &[]));
        let cache = text.map_or_else(Cache::Unknown, |text| Cache::read(&text, &[]));
        CommandSite(Arc::new(Known {
            command: self.clone(),
            dry,
            storage,
            cache,
            on_s3,
            unfinished: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            warned: AtomicBool::new(false),
        }))
    }

    /// Whether the programs are there. What they do is not known before they have done it.
    pub(super) fn check(&self) -> Result<(), Error> {
        for words in [&self.before, &self.run, &self.cancel, &self.after] {
            if let Some(program) = words.first()
                && !process::is_there(program)
            {
                let why = format!(
                    "cannot be run: there is no program `{program}` that could be, here or on the PATH"
                );
                return Err(Error::Command { command: words.join(" "), why });
            }
        }
        Ok(())
    }

    /// After a crash: ends what may be left of the collection, which must not go on beside the registry, and starts
    /// the registry again.
    pub(super) async fn restore(&self) -> Result<(), Error> {
        self.end().await?;
        self.start().await
    }

    /// After a crash: ends what may be left of the collection.
    pub(super) async fn end(&self) -> Result<(), Error> {
        self.clear().await?;
        self.cancel().await
    }

    /// Ends what `run` has others do, who know nothing of the end of their client.
    async fn cancel(&self) -> Result<(), Error> {
        let cancelled = succeed(&self.cancel, Instant::now() + self.timeout).await;
        cancelled.map_err(|error| Error::NotCancelled(Box::new(self.timely(error))))
    }

    /// An error of something that had all the time.
    fn timely(&self, error: Error) -> Error {
        match error {
            Error::Timeout { .. } => Error::Timeout { limit: self.timeout },
            other => other,
        }
    }

    /// Ends what may be left of a collection, and waits until it has ended.
    async fn clear(&self) -> Result<(), Error> {
        if !self.is_known() {
            return Ok(());
        }
        let ended = process::end(&self.mark(), Instant::now() + self.timeout).await;
        ended.map_err(|error| self.timely(error))
    }

    async fn start(&self) -> Result<(), Error> {
        let started = succeed(&self.after, Instant::now() + self.timeout).await;
        started.map_err(|error| self.timely(error))
    }

    /// Whether it is a registry's own collection, and nothing that may start the registry itself.
    fn is_known(&self) -> bool {
        config::Collector::runs_garbage_collect(&self.run)
    }

    /// By which its processes are found after a crash.
    fn mark(&self) -> String {
        self.run.join(" ")
    }
}

/// The registry's configuration, or why it cannot be read: it may belong to a place that is not here (the
/// command may be `docker exec …`).
async fn read(file: &str) -> Result<String, String> {
    let path = file.to_owned();
    let text = match tokio::task::spawn_blocking(move || fs::read_to_string(path)).await {
        Ok(text) => text.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    text.map_err(|error| format!("{file} cannot be read here: {error}"))
}

fn read_storage(text: &str) -> Storage {
    // Where a relative root would begin is known to the command alone; then it begins nowhere.
    Storage::read(text, &[], "/nonexistent").unwrap_or(Storage::Elsewhere)
}

/// The commands, with what they work on.
#[derive(Debug, Clone)]
pub(super) struct CommandSite(Arc<Known>);

#[derive(Debug)]
struct Known {
    command: Command,
    /// `run` as a dry run.
    dry: Option<Vec<String>>,
    storage: Storage,
    cache: Cache,
    on_s3: bool,
    /// Whether `run` was begun and has not ended by itself with success, so that its work may go on elsewhere.
    unfinished: AtomicBool,
    /// Whether the registry was seen not to answer since `before`.
    silent: AtomicBool,
    /// Whether it was said that it goes on answering.
    warned: AtomicBool,
}

impl CommandSite {
    /// Whether the registry stores in S3, as far as its configuration can be read.
    pub(super) fn is_on_s3(&self) -> bool {
        self.0.on_s3
    }

    /// Where the registry's cache is.
    pub(super) fn cache(&self) -> Cache {
        self.0.cache.clone()
    }

    /// Does a dry run or a sweep: its exit code.
    async fn run(&self, words: &[String], output: &mut Output, deadline: Instant) -> Result<i64, Error> {
        let Known { command, unfinished, .. } = &*self.0;
        unfinished.store(true, Ordering::Relaxed);
        let exit = process::run(words, Some(&command.mark()), Some(output), deadline).await?;
        unfinished.store(exit != 0, Ordering::Relaxed);
        Ok(exit)
    }
}

impl Site for CommandSite {
    fn interrupts(&self) -> bool {
        self.0.command.interrupts
    }

    fn has_second_dry_run(&self) -> bool {
        self.0.dry.is_some()
    }

    async fn dry_run(&self, deadline: Instant) -> Result<DryRun, Error> {
        let Some(dry) = &self.0.dry else { return Ok(DryRun::Unsupported) };
        let mut output = Output::default();
        let exit = self.run(dry, &mut output, deadline).await?;
        output.finish(exit).map(DryRun::Done)
    }

    async fn sees_blobs(&self) -> Result<bool, Error> {
        match self.0.storage.blobs() {
            Some(folder) => Ok(stat(folder).await?.is_some()),
            None => Ok(false),
        }
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        match self.0.storage.blob(digest) {
            Some(file) => stat(file).await,
            None => Ok(None),
        }
    }

    async fn started_at(&self) -> Option<String> {
        None
    }

    async fn stop(&self, deadline: Instant) -> Result<(), Error> {
        succeed(&self.0.command.before, deadline).await
    }

    async fn interference(&self, outside: &impl Outside) -> Option<Error> {
        let Known { command, silent, warned, .. } = &*self.0;
        // Where it is not stopped, or `run` may start it itself, it may answer when it likes.
        if !command.interrupts || !command.is_known() {
            return None;
        }
        if !outside.answers().await {
            silent.store(true, Ordering::Relaxed);
            return None;
        }
        if silent.load(Ordering::Relaxed) {
            return Some(Error::Answered);
        }
        if !warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the registry still answers after gc.command.before: that is safe only if it is read-only by now, and \
                 if no other registry serves the same storage"
            );
        }
        None
    }

    async fn sweep(&self, deadline: Instant) -> Result<Found, Error> {
        let mut output = Output::default();
        let exit = self.run(&self.0.command.run, &mut output, deadline).await?;
        if self.0.dry.is_some() { output.finish(exit) } else { output.finish_freely(exit) }
    }

    async fn clear(&self) -> Result<(), Error> {
        let Known { command, unfinished, .. } = &*self.0;
        // What was killed with its group may take a while to end, and what had left the group was not.
        command.clear().await?;
        if unfinished.load(Ordering::Relaxed) {
            command.cancel().await?;
            unfinished.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn restore(&self, _: bool) -> Result<(), Error> {
        self.clear().await?;
        self.0.command.start().await
    }
}

/// Runs a command whose exit code has to be 0; an empty one is done already.
async fn succeed(words: &[String], deadline: Instant) -> Result<(), Error> {
    match process::run(words, None, None, deadline).await? {
        0 => Ok(()),
        exit => {
            let why = format!("failed with exit code {exit}; what it printed is in regsweep's log");
            Err(Error::Command { command: words.join(" "), why })
        }
    }
}

async fn stat(path: String) -> Result<Option<u64>, Error> {
    let unreadable = |why: String| Error::BadConfig { path: path.clone(), why };
    let file = path.clone();
    match tokio::task::spawn_blocking(move || fs::metadata(file)).await {
        Ok(Ok(found)) => Ok(Some(found.len())),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Ok(Err(error)) => Err(unreadable(error.to_string())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}
