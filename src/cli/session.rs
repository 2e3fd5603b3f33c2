//! The registries that a command is about, and the way to each.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::args::Selection;
use crate::config::{Config, Env, Registry};
use crate::daemon::DockerDefaults;
use crate::engine::Site;
use crate::gc::Collector;
use crate::policy::Patterns;
use crate::registry::{Reader, Retry};

/// A registry of the configuration with a way to it.
pub(super) struct Session<'a> {
    config: &'a Config,
    pub(super) registry: &'a Registry,
    pub(super) reader: Reader,
    now: DateTime<Utc>,
}

impl<'a> Session<'a> {
    fn open(config: &'a Config, registry: &'a Registry, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let reader = Reader::new(registry, Retry::default(), Arc::new(()))
            .with_context(|| format!("registry {} cannot be used", registry.name))?;
        Ok(Self { config, registry, reader, now })
    }

    /// What collects for this registry, if the configuration says so.
    pub(super) fn collector(&self, env: Env<'_>) -> anyhow::Result<Option<Collector>> {
        let Some(gc) = &self.registry.gc else { return Ok(None) };
        let engine = DockerDefaults::of(env);
        let collector = Collector::new(gc, &engine.host, engine.certificates.as_deref());
        collector.map(Some).with_context(|| format!("registry {} cannot be collected", self.registry.name))
    }

    pub(super) fn site<'b>(&'b self, only: Option<&'b Patterns>) -> Site<'b> {
        Site { config: self.config, registry: self.registry, reader: &self.reader, now: self.now, only }
    }
}

/// Opens the selected registries, in the order of the configuration. `at` stands for the present.
pub(super) fn open<'a>(
    config: &'a Config,
    selection: &Selection,
    at: Option<DateTime<Utc>>,
) -> anyhow::Result<Vec<Session<'a>>> {
    for name in &selection.registry {
        named(config, name)?;
    }
    let selected =
        |registry: &&Registry| selection.registry.is_empty() || selection.registry.contains(&registry.name);
    let now = at.unwrap_or_else(clock);
    config.registries.iter().filter(selected).map(|registry| Session::open(config, registry, now)).collect()
}

/// Opens the registry of an image such as `main/team/app:v1`, and tells the image's name within it.
pub(super) fn open_for<'a, 'b>(
    config: &'a Config,
    image: &'b str,
    at: Option<DateTime<Utc>>,
) -> anyhow::Result<(Session<'a>, &'b str)> {
    let now = at.unwrap_or_else(clock);
    if let Some((first, rest)) = image.split_once('/') {
        let by_host = |registry: &&Registry| {
            let host = registry.url.host_str().unwrap_or_default();
            let port = registry.url.port().map(|port| format!(":{port}")).unwrap_or_default();
            registry.name == first || format!("{host}{port}") == first
        };
        if let Some(registry) = config.registries.iter().find(by_host) {
            return Ok((Session::open(config, registry, now)?, rest));
        }
    }
    match config.registries.as_slice() {
        [registry] => Ok((Session::open(config, registry, now)?, image)),
        registries => {
            let names: Vec<&str> = registries.iter().map(|registry| registry.name.as_str()).collect();
            let names = names.join(", ");
            Err(Usage(format!("say which registry: REGISTRY/{image}, with one of {names}")).into())
        }
    }
}

fn named<'a>(config: &'a Config, name: &str) -> Result<&'a Registry, Usage> {
    config.registries.iter().find(|registry| registry.name == name).ok_or_else(|| {
        let names: Vec<&str> = config.registries.iter().map(|registry| registry.name.as_str()).collect();
        Usage(format!("the configuration has no registry {name}; it has {}", names.join(", ")))
    })
}

/// A command line that asks for what does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// The time.
#[expect(clippy::disallowed_methods, reason = "this is the face that reads the clock")]
pub(super) fn clock() -> DateTime<Utc> {
    Utc::now()
}
