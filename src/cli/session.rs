//! Opens what a command works on: the selected registries, and the state.
//!
//! It prints warnings about the state, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::args::{Selection, StateArguments};
use crate::config::{Config, DockerDefaults, Env, Registry};
use crate::gc::{CollectionLocks, Collector};
use crate::policy::Patterns;
use crate::registry::{Reader, Retry};
use crate::report::ScanHistoryUse;
use crate::run::{RegistryContext, prefixes};
use crate::state::{State, UnconfiguredRegistry};

/// The longest that `check --connect` waits for an answer to one request.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// One registry of the configuration, ready for requests.
pub(super) struct Session<'a> {
    config: &'a Config,
    pub(super) registry: &'a Registry,
    pub(super) reader: Reader,
    now: DateTime<Utc>,
    state: Option<State>,
    collection_locks: CollectionLocks,
}

impl<'a> Session<'a> {
    /// Opens a registry in order to check that it answers, with few and short attempts.
    pub(super) fn for_check(config: &'a Config, registry: &'a Registry) -> anyhow::Result<Self> {
        let retry = Retry { attempts: 2, outage_timeout: CHECK_TIMEOUT, ..Retry::default() };
        Self::with(config, registry, clock(), None, &CollectionLocks::default(), retry)
    }

    fn open(
        config: &'a Config,
        registry: &'a Registry,
        now: DateTime<Utc>,
        state: Option<&State>,
        collection_locks: &CollectionLocks,
    ) -> anyhow::Result<Self> {
        Self::with(config, registry, now, state, collection_locks, Retry::default())
    }

    fn with(
        config: &'a Config,
        registry: &'a Registry,
        now: DateTime<Utc>,
        state: Option<&State>,
        collection_locks: &CollectionLocks,
        retry: Retry,
    ) -> anyhow::Result<Self> {
        let reader = Reader::new(registry, retry, Arc::new(()))
            .with_context(|| format!("cannot use registry {}", registry.name))?;
        Ok(Self {
            config,
            registry,
            reader,
            now,
            state: state.cloned(),
            collection_locks: collection_locks.clone(),
        })
    }

    /// The garbage collection that is configured for this registry, if any.
    pub(super) fn collector(&self, env: Env<'_>) -> anyhow::Result<Option<Collector>> {
        let Some(gc) = &self.registry.gc else { return Ok(None) };
        let docker = DockerDefaults::of(env);
        let collector =
            Collector::new(gc, &docker.host, docker.certificates.as_deref(), &self.collection_locks);
        collector
            .map(Some)
            .with_context(|| format!("cannot collect garbage in registry {}", self.registry.name))
    }

    pub(super) fn registry_context<'b>(&'b self, only: Option<&'b Patterns>) -> RegistryContext<'b> {
        RegistryContext {
            config: self.config,
            registry: self.registry,
            reader: &self.reader,
            now: self.now,
            only,
            state: self.state.as_ref(),
            clock: &clock,
        }
    }
}

/// The state as a read-only command uses it.
pub(super) struct LoadedState {
    /// `None` if there is no state: then every scan is a first one.
    pub(super) state: Option<State>,
    /// Whether the state is used, and if not, why.
    pub(super) state_use: ScanHistoryUse,
    /// Why the command must fail: `--require-state` was given, and the state cannot be used.
    pub(super) error: Option<String>,
}

impl LoadedState {
    /// Loads the state, and warns if it cannot be used.
    pub(super) fn load(config: &Config, arguments: &StateArguments) -> Self {
        let directory = config.state_dir.display();
        let (state, state_use, problem) = match read_state(config) {
            Ok(Some(state)) => match state.lost().map(str::to_owned) {
                Some(lost) => (Some(state), ScanHistoryUse::Lost, format!("the state is lost: {lost}")),
                None => return Self { state: Some(state), state_use: ScanHistoryUse::Used, error: None },
            },
            Ok(None) => {
                let problem = format!("there is no state in {directory}: the first run creates it");
                (None, ScanHistoryUse::None, problem)
            }
            Err(error) => (None, ScanHistoryUse::Unreadable, error.to_string()),
        };
        if arguments.require_state {
            return Self { state, state_use, error: Some(problem) };
        }
        match state_use {
            ScanHistoryUse::Lost => print_warning!("{problem}. The next run creates a new one"),
            ScanHistoryUse::Unreadable => print_warning!(
                "{problem}. Ages are worked out without it, so the result may differ from what the service does"
            ),
            ScanHistoryUse::Used | ScanHistoryUse::None => {}
        }
        Self { state, state_use, error: None }
    }
}

/// Opens the state for a command that writes to it.
pub(super) fn open_state(config: &Config) -> anyhow::Result<State> {
    let state = State::open(&config.state_dir)?;
    for unknown in state.adopt_names(config)?.unknown {
        tracing::warn!(registry = %unknown.name, "{unknown}");
    }
    Ok(state)
}

/// Opens the state for reading, even while another process holds it, with the current names of registries.
pub(super) fn read_state(config: &Config) -> Result<Option<State>, crate::state::Error> {
    let state = State::open_to_read(&config.state_dir)?;
    if let Some(state) = &state {
        state.match_names(config)?;
    }
    Ok(state)
}

/// The registries that are in the state and not in the configuration, and why the state is lost, if it is.
pub(super) fn unknown_registries(
    config: &Config,
) -> Result<(Vec<UnconfiguredRegistry>, Option<String>), crate::state::Error> {
    match State::open_to_read(&config.state_dir)? {
        Some(state) => Ok((state.match_names(config)?.unknown, state.lost().map(str::to_owned))),
        None => Ok((Vec::new(), None)),
    }
}

/// The selected registries, in the order of the configuration.
pub(super) fn select<'a>(config: &'a Config, selection: &Selection) -> Result<Vec<&'a Registry>, UsageError> {
    for name in &selection.registry {
        find_registry(config, name)?;
    }
    let is_selected =
        |registry: &&Registry| selection.registry.is_empty() || selection.registry.contains(&registry.name);
    Ok(config.registries.iter().filter(is_selected).collect())
}

/// Opens the selected registries, as of `at` if it is given and otherwise as of now.
pub(super) fn open_registries<'a>(
    config: &'a Config,
    selection: &Selection,
    at: Option<DateTime<Utc>>,
    state: Option<&State>,
) -> anyhow::Result<Vec<Session<'a>>> {
    let now = at.unwrap_or_else(clock);
    let collection_locks = CollectionLocks::default();
    select(config, selection)?
        .into_iter()
        .map(|registry| Session::open(config, registry, now, state, &collection_locks))
        .collect()
}

/// Opens the registry of an image such as `main/team/app:v1`, and returns the rest of the image's name.
pub(super) fn open_image_registry<'a, 'b>(
    config: &'a Config,
    image: &'b str,
    at: Option<DateTime<Utc>>,
    state: Option<&State>,
) -> anyhow::Result<(Session<'a>, &'b str)> {
    let now = at.unwrap_or_else(clock);
    for registry in &config.registries {
        if let Some(rest) = prefixes(registry).iter().find_map(|prefix| image.strip_prefix(prefix.as_str())) {
            return Ok((Session::open(config, registry, now, state, &CollectionLocks::default())?, rest));
        }
    }
    match config.registries.as_slice() {
        [registry] => Ok((Session::open(config, registry, now, state, &CollectionLocks::default())?, image)),
        registries => {
            let names: Vec<&str> = registries.iter().map(|registry| registry.name.as_str()).collect();
            let names = names.join(", ");
            Err(UsageError(format!("name the registry as in REGISTRY/{image}: it is one of {names}")).into())
        }
    }
}

/// Opens one registry as of now.
pub(super) fn open_registry<'a>(
    config: &'a Config,
    registry: &'a Registry,
    state: &State,
) -> anyhow::Result<Session<'a>> {
    Session::open(config, registry, clock(), Some(state), &CollectionLocks::default())
}

/// The registry with this name in the configuration.
pub(super) fn find_registry<'a>(config: &'a Config, name: &str) -> Result<&'a Registry, UsageError> {
    config.registries.iter().find(|registry| registry.name == name).ok_or_else(|| {
        let names: Vec<&str> = config.registries.iter().map(|registry| registry.name.as_str()).collect();
        UsageError(format!("the configuration has no registry {name}; it has {}", names.join(", ")))
    })
}

/// A command line that names something that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// The current time.
#[expect(clippy::disallowed_methods, reason = "the command line reads the clock here and nowhere else")]
pub(super) fn clock() -> DateTime<Utc> {
    Utc::now()
}
