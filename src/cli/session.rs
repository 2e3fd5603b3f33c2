//! The registries that a command is about, and the way to each.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::args::{Remembering, Selection};
use crate::config::{Config, Env, Registry};
use crate::daemon::DockerDefaults;
use crate::gc::{CollectionLocks, Collector};
use crate::policy::Patterns;
use crate::registry::{Reader, Retry};
use crate::report::StateUse;
use crate::run::{RegistryContext, prefixes};
use crate::state::{State, UnconfiguredRegistry};

/// A registry of the configuration with a way to it.
pub(super) struct Session<'a> {
    config: &'a Config,
    pub(super) registry: &'a Registry,
    pub(super) reader: Reader,
    now: DateTime<Utc>,
    state: Option<State>,
    collection_locks: CollectionLocks,
}

/// Whoever only wants to know whether a registry answers does not wait for it.
const OUTAGE_TIMEOUT: Duration = Duration::from_secs(2);

impl<'a> Session<'a> {
    /// A way to a registry for a look whether it answers now.
    pub(super) fn glance(config: &'a Config, registry: &'a Registry) -> anyhow::Result<Self> {
        let retry = Retry { attempts: 2, outage_timeout: OUTAGE_TIMEOUT, ..Retry::default() };
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
            .with_context(|| format!("registry {} cannot be used", registry.name))?;
        Ok(Self {
            config,
            registry,
            reader,
            now,
            state: state.cloned(),
            collection_locks: collection_locks.clone(),
        })
    }

    /// What collects for this registry, if the configuration says so.
    pub(super) fn collector(&self, env: Env<'_>) -> anyhow::Result<Option<Collector>> {
        let Some(gc) = &self.registry.gc else { return Ok(None) };
        let engine = DockerDefaults::of(env);
        let collector =
            Collector::new(gc, &engine.host, engine.certificates.as_deref(), &self.collection_locks);
        collector.map(Some).with_context(|| format!("registry {} cannot be collected", self.registry.name))
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

/// What is remembered, for commands that only look.
pub(super) struct Recalled {
    /// The state; `None` where every look is the first.
    pub(super) state: Option<State>,
    /// What there is of it.
    pub(super) memory: StateUse,
    /// Why nothing is to be done: the state is required, and not there.
    pub(super) missing: Option<String>,
}

impl Recalled {
    /// Looks for it, and says what stands in the way.
    pub(super) fn of(config: &Config, arguments: &Remembering) -> Self {
        let directory = config.state_dir.display();
        let (state, memory, trouble) = match beside(config) {
            Ok(Some(state)) => match state.lost().map(str::to_owned) {
                Some(lost) => (Some(state), StateUse::Lost, format!("the state is lost: {lost}")),
                None => return Self { state: Some(state), memory: StateUse::Used, missing: None },
            },
            Ok(None) => {
                (None, StateUse::None, format!("there is no state in {directory}: a first run makes it"))
            }
            Err(error) => (None, StateUse::Unreadable, error.to_string()),
        };
        if arguments.require_state {
            return Self { state, memory, missing: Some(trouble) };
        }
        match memory {
            StateUse::Lost => print_warning!("{trouble}. The next run begins a new one"),
            StateUse::Unreadable => print_warning!(
                "{trouble}. Ages are judged without it, so this may differ from what the service does"
            ),
            StateUse::Used | StateUse::None => {}
        }
        Self { state, memory, missing: None }
    }
}

/// The state, for a command that writes to it.
pub(super) fn state(config: &Config) -> anyhow::Result<State> {
    let state = State::open(&config.state_dir)?;
    for unknown in state.adopt_names(config)?.unknown {
        tracing::warn!(registry = %unknown.name, "{unknown}");
    }
    Ok(state)
}

/// The state beside whoever holds it, with the names that registries have by now.
pub(super) fn beside(config: &Config) -> Result<Option<State>, crate::state::Error> {
    let state = State::open_to_read(&config.state_dir)?;
    if let Some(state) = &state {
        state.match_names(config)?;
    }
    Ok(state)
}

/// Registries that the state remembers and the configuration does not have, and why it remembers none if it is lost.
pub(super) fn unknown(
    config: &Config,
) -> Result<(Vec<UnconfiguredRegistry>, Option<String>), crate::state::Error> {
    match State::open_to_read(&config.state_dir)? {
        Some(state) => Ok((state.match_names(config)?.unknown, state.lost().map(str::to_owned))),
        None => Ok((Vec::new(), None)),
    }
}

/// The selected registries, in the order of the configuration.
pub(super) fn selected<'a>(config: &'a Config, selection: &Selection) -> Result<Vec<&'a Registry>, Usage> {
    for name in &selection.registry {
        named(config, name)?;
    }
    let is_selected =
        |registry: &&Registry| selection.registry.is_empty() || selection.registry.contains(&registry.name);
    Ok(config.registries.iter().filter(is_selected).collect())
}

/// Opens the selected registries. `at` stands for the present.
pub(super) fn open<'a>(
    config: &'a Config,
    selection: &Selection,
    at: Option<DateTime<Utc>>,
    state: Option<&State>,
) -> anyhow::Result<Vec<Session<'a>>> {
    let now = at.unwrap_or_else(clock);
    let collection_locks = CollectionLocks::default();
    selected(config, selection)?
        .into_iter()
        .map(|registry| Session::open(config, registry, now, state, &collection_locks))
        .collect()
}

/// Opens the registry of an image such as `main/team/app:v1`, and tells the image's name within it.
pub(super) fn open_for<'a, 'b>(
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
            Err(Usage(format!("say which registry: REGISTRY/{image}, with one of {names}")).into())
        }
    }
}

/// Opens one registry with what is remembered of it.
pub(super) fn open_one<'a>(
    config: &'a Config,
    registry: &'a Registry,
    state: &State,
) -> anyhow::Result<Session<'a>> {
    Session::open(config, registry, clock(), Some(state), &CollectionLocks::default())
}

pub(super) fn named<'a>(config: &'a Config, name: &str) -> Result<&'a Registry, Usage> {
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
