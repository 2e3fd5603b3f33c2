//! A collection of a registry that runs in a container of a Docker Engine.
//!
//! Offline, it runs in a second container of the same image while the registry is stopped. With exec it
//! runs inside the registry's container, which is then restarted: the in-memory cache of a running registry
//! would take swept blobs for present and turn later pushes into broken images.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::config::Method;
use crate::gc::cache::Cache;
use crate::gc::connect::Address;
use crate::gc::container::{Container, labels};
use crate::gc::engine::Engine;
use crate::gc::output::{Found, Output};
use crate::gc::site::{DryRun, Site};
use crate::gc::storage::Storage;
use crate::gc::{Error, Outside};
use crate::model::Digest;

/// How often a registry is tried to be put back, with pauses that double up to [`MAX_PAUSE`]: in all
/// about a minute, in which an Engine can have been restarted.
const MAX_ATTEMPTS: u32 = 16;
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A registry's container, as configured.
#[derive(Debug)]
pub(super) struct Docker {
    address: Address,
    container: String,
    method: Method,
    config_file: Option<String>,
    /// When the registry was started by the last [`Docker::restore`], in the Engine's words.
    restored: Mutex<Option<String>>,
}

impl Docker {
    pub(super) fn new(
        address: Address,
        container: &str,
        method: Method,
        config_file: Option<String>,
    ) -> Result<Self, Error> {
        // The Engine's grammar of names. Anything else would lead to other places of its API.
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !container.starts_with(|c: char| c.is_ascii_alphanumeric()) || !container.chars().all(plain) {
            return Err(Error::NoContainer { container: container.to_owned() });
        }
        Ok(Self { address, container: container.to_owned(), method, config_file, restored: Mutex::default() })
    }

    /// The container, as configured.
    pub(super) fn container(&self) -> &str {
        &self.container
    }

    /// Looks at the container and finds everything that a collection needs to know. Changes nothing.
    pub(super) async fn site(&self) -> Result<DockerSite, Error> {
        let engine = Engine::new(&self.address)?;
        let container = Container::read(&self.container, engine.inspect(&self.container).await?)?;
        // In a stopped container nothing can be executed, and what is stopped needs no stop.
        let exec = self.method == Method::Exec && container.runs;
        if container.runs {
            container.refuse_to_stop()?;
        }
        let program = self.program(&engine, &container).await?;
        let (path, text) = self.config(&engine, &container).await?;
        let storage = container.storage(&path, &text)?;
        if !exec {
            container.refuse_unshared(&storage)?;
        }
        let config = Config { path, text };
        Ok(DockerSite(Arc::new(Known { engine, container, exec, program, config, storage })))
    }

    /// After a crash: ends what is left of ours and sees to it that the registry runs and remembers nothing.
    ///
    /// One that was restored before and runs since then is not restarted once more: that nothing is heard of it has
    /// another reason, and those who reach it all the same would lose it each time.
    pub(super) async fn restore(&self) -> Result<(), Error> {
        let container = self.container.clone();
        if self.runs_since_restored().await.unwrap_or_default() {
            return Ok(());
        }
        with_retries(|| async {
            let engine = Engine::new(&self.address)?;
            clear(&engine, &container).await?;
            // Not merely started: a stop that we asked for may still be under way in the Engine, and what ran
            // inside the container may still run.
            engine.restart(&container).await
        })
        .await?;
        let started = self.started_at().await.unwrap_or_default();
        *self.restored() = started;
        Ok(())
    }

    /// From now on, a registry that was restored may have to be restarted again.
    pub(super) fn begin(&self) {
        *self.restored() = None;
    }

    async fn runs_since_restored(&self) -> Result<bool, Error> {
        let Some(restored) = self.restored().clone() else { return Ok(false) };
        clear(&Engine::new(&self.address)?, &self.container).await?;
        Ok(self.started_at().await? == Some(restored))
    }

    /// When the registry was started that runs now.
    async fn started_at(&self) -> Result<Option<String>, Error> {
        let engine = Engine::new(&self.address)?;
        let registry = Container::read(&self.container, engine.inspect(&self.container).await?)?;
        Ok(registry.started_at().filter(|_| registry.runs))
    }

    fn restored(&self) -> MutexGuard<'_, Option<String>> {
        // What is behind it is whole at every moment.
        self.restored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody else has started the registry since we stopped it, after any sweep. Only the Engine's own
    /// words are compared, so that no other clock matters.
    pub(super) async fn is_back(&self, started: Option<&str>) -> Result<bool, Error> {
        let engine = Engine::new(&self.address)?;
        let registry = Container::read(&self.container, engine.inspect(&self.container).await?)?;
        let Some(since) = registry.started_at().filter(|_| registry.runs) else { return Ok(false) };
        let sweepers = engine.labelled(&labels(&self.container)).await?;
        for id in &sweepers {
            let sweeper = Container::read(id, engine.inspect(id).await?)?;
            if sweeper.runs || sweeper.finished_after(&since) {
                return Ok(false);
            }
        }
        let back = match started {
            Some(before) => before != since,
            // It was swept: then the sweeper that is still there tells that it ended before.
            None => !sweepers.is_empty(),
        };
        if back {
            clear(&engine, &self.container).await?;
        }
        Ok(back)
    }

    async fn program(&self, engine: &Engine, container: &Container) -> Result<String, Error> {
        let programs = container.programs();
        for program in &programs {
            if engine.stat(&container.id, program).await?.is_some() {
                return Ok(program.clone());
            }
        }
        let program = programs.join(" and no ");
        Err(Error::NoBinary { container: self.container.clone(), program })
    }

    async fn config(&self, engine: &Engine, container: &Container) -> Result<(String, String), Error> {
        let paths = container.configs(self.config_file.as_deref());
        for path in &paths {
            if let Some(text) = engine.read(&container.id, path).await? {
                return Ok((path.clone(), text));
            }
        }
        Err(Error::NoConfig { container: self.container.clone(), tried: paths.join(" and no ") })
    }
}

/// A registry's container, as found.
#[derive(Debug, Clone)]
pub(super) struct DockerSite(Arc<Known>);

#[derive(Debug)]
struct Known {
    engine: Engine,
    container: Container,
    /// Whether the collection runs inside the container.
    exec: bool,
    program: String,
    config: Config,
    storage: Storage,
}

/// The registry's configuration file.
#[derive(Debug)]
struct Config {
    path: String,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    Dry,
    Real,
}

impl DockerSite {
    /// Where the registry's cache is.
    pub(super) fn cache(&self) -> Cache {
        self.0.container.cache(&self.0.config.text)
    }

    /// Whether the registry stores in S3.
    pub(super) fn is_on_s3(&self) -> bool {
        self.0.container.is_on_s3(&self.0.config.text)
    }

    async fn collect(&self, sweep: Sweep, deadline: Instant) -> Result<Found, Error> {
        let known = &*self.0;
        let mut command = vec![known.program.clone(), "garbage-collect".to_owned()];
        if sweep == Sweep::Dry {
            command.push("--dry-run".to_owned());
        }
        command.push(known.config.path.clone());
        let mut output = Output::default();
        let exit = if known.exec {
            known.engine.exec(&known.container.id, command, &mut output, deadline).await?
        } else {
            self.run(&command, &mut output, deadline).await?
        };
        output.finish(exit)
    }

    /// Runs a command in a second container, and removes that whatever happens.
    async fn run(&self, command: &[String], output: &mut Output, deadline: Instant) -> Result<i64, Error> {
        let Known { engine, container, config, storage, .. } = &*self.0;
        let second = create(engine, container.second(command, storage)).await?;
        let ended = async {
            // A file that is in the registry's container and in none of its volumes may be another here, and
            // then the wrong place would be collected.
            if engine.read(&second, &config.path).await?.as_deref() != Some(&config.text) {
                let (container, path) = (container.name.clone(), config.path.clone());
                return Err(Error::OtherConfig { container, path });
            }
            engine.run(&second, output, deadline).await
        };
        let ended = ended.await;
        let removed = engine.remove(&second).await;
        let exit = ended?;
        removed.map(|()| exit)
    }

    /// The registry's container as it is now. It may have been made anew, and have another id.
    async fn registry(&self) -> Result<Container, Error> {
        let Known { engine, container, .. } = &*self.0;
        let found = match engine.inspect(container.own_name()).await {
            // Somebody has given it another name.
            Err(Error::NoContainer { .. }) => engine.inspect(&container.id).await,
            found => found,
        };
        Container::read(&container.name, found?)
    }
}

impl Site for DockerSite {
    fn interrupts(&self) -> bool {
        self.0.container.runs
    }

    fn has_second_dry_run(&self) -> bool {
        !self.0.exec && self.0.container.runs
    }

    async fn dry_run(&self, deadline: Instant) -> Result<DryRun, Error> {
        self.collect(Sweep::Dry, deadline).await.map(DryRun::Done)
    }

    async fn sees_blobs(&self) -> Result<bool, Error> {
        let Some(folder) = self.0.storage.blobs() else { return Ok(false) };
        // A container that is gone has no files either; its error says so.
        self.0.engine.inspect(&self.0.container.id).await?;
        Ok(self.0.engine.stat(&self.0.container.id, &folder).await?.is_some())
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let Some(file) = self.0.storage.blob(digest) else { return Ok(None) };
        self.0.engine.stat(&self.0.container.id, &file).await
    }

    async fn started_at(&self) -> Option<String> {
        self.registry().await.ok()?.started_at()
    }

    async fn stop(&self, _: Instant) -> Result<(), Error> {
        if self.0.exec { Ok(()) } else { self.0.engine.stop(&self.0.container.id).await }
    }

    async fn interference(&self, _: &impl Outside) -> Option<Error> {
        let Known { container, exec, .. } = &*self.0;
        // With exec it runs all the while. What the Engine does not tell, it will tell at the next look.
        let runs = !*exec && self.registry().await.is_ok_and(|now| now.runs);
        runs.then(|| Error::Interfered { container: container.name.clone() })
    }

    async fn sweep(&self, deadline: Instant) -> Result<Found, Error> {
        self.collect(Sweep::Real, deadline).await
    }

    async fn clear(&self) -> Result<(), Error> {
        clear(&self.0.engine, &self.0.container.name).await
    }

    async fn restore(&self, swept: bool) -> Result<(), Error> {
        let Known { engine, container, exec, .. } = &*self.0;
        with_retries(|| async {
            clear(engine, &container.name).await?;
            let now = self.registry().await.map_err(is_being_made)?;
            match (now.runs, swept) {
                // What runs now has seen the blobs that were swept; what it remembers of them is wrong.
                (true, true) => engine.restart(&now.id).await,
                // Nor was one that is new ever asked to stop.
                (true, false) if *exec || !container.runs || now.id != container.id => Ok(()),
                // A stop that nobody waited for may still be under way, so that it runs now says nothing.
                (true, false) => match engine.restart(&now.id).await {
                    // Then the stop was not allowed either, and it runs as ever.
                    Err(Error::Forbidden { .. }) => Ok(()),
                    restarted => restarted,
                },
                (false, _) if container.runs => engine.start(&now.id).await,
                // Stopped as it was found.
                (false, _) => Ok(()),
            }
        })
        .await
    }
}

/// Creates a container. One that nobody waits for any more is removed as soon as it is there: the Engine makes it
/// all the same, and perhaps long after everything else was cleared away.
async fn create(engine: &Engine, body: ContainerCreateBody) -> Result<String, Error> {
    let (created, answer) = oneshot::channel();
    let engine = engine.clone();
    tokio::spawn(async move {
        if let Err(Ok(id)) = created.send(engine.create(body).await)
            && let Err(error) = engine.remove(&id).await
        {
            tracing::warn!(%error, "a collector's container could not be removed");
        }
    });
    // The task ends without an answer only with the runtime, and then nobody asks.
    answer.await.unwrap_or(Err(Error::Ended))
}

/// While a container is made anew in the place of another, there is none for a moment, or one that is being removed.
/// The error is one that may pass.
fn is_being_made(error: Error) -> Error {
    match error {
        Error::NoContainer { .. } | Error::State { .. } => {
            Error::Engine { doing: "find the registry's container", message: error.to_string() }
        }
        other => other,
    }
}

/// Removes all collector containers of a registry, which also ends what runs in them. One that cannot be removed is
/// an error only if it may still sweep: otherwise it just stays behind, which is better than a registry that stays down.
async fn clear(engine: &Engine, container: &str) -> Result<(), Error> {
    for id in engine.labelled(&labels(container)).await? {
        let Err(error) = engine.remove(&id).await else { continue };
        let runs = match engine.inspect(&id).await {
            Ok(found) => found.state.and_then(|state| state.running).unwrap_or(true),
            Err(Error::NoContainer { .. }) => continue,
            Err(_) => true,
        };
        if runs {
            return Err(error);
        }
        tracing::warn!(%error, "a collector's container could not be removed; it does not run");
    }
    Ok(())
}

/// Tries until it works, or until another try is of no use.
pub(super) async fn with_retries<F: Future<Output = Result<(), Error>>>(
    attempt: impl Fn() -> F,
) -> Result<(), Error> {
    let mut pause = Duration::from_millis(200);
    for _ in 1..MAX_ATTEMPTS {
        match attempt().await {
            Err(error) if error.may_pass() => tracing::warn!(%error, "the registry is not back yet"),
            ended => return ended,
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_name_leads_nowhere_else() {
        let check = |name: &str, good: bool| {
            let address = Address::parse("unix:///none", None).unwrap();
            assert_eq!(Docker::new(address, name, Method::Offline, None).is_ok(), good, "{name}");
        };
        for name in ["registry", "my_registry.1-x", "c0ffee"] {
            check(name, true);
        }
        for name in ["", "../images", "a/b", "a?b", "-a", "a b"] {
            check(name, false);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_for_a_minute_and_nothing_else_twice() {
        let check = async |error: fn() -> Error, least: u64, most: u64| {
            let start = Instant::now();
            with_retries(|| async { Err(error()) }).await.unwrap_err();
            let seconds = start.elapsed().as_secs();
            assert!((least..=most).contains(&seconds), "{seconds}");
        };
        check(|| Error::Unreachable { host: String::new(), why: String::new() }, 45, 75).await;
        check(|| Error::NoContainer { container: String::new() }, 0, 0).await;
    }
}
