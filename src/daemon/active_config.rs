//! A configuration with the connections that belong to it.
//!
//! It knows no job and no state of the service.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use crate::config::{self, Config, DockerDefaults};
use crate::gc::{CollectionLocks, Collector};
use crate::http::Clock;
use crate::metrics::Metrics;
use crate::policy::Mode;
use crate::registry::{Reader, Retry};
use crate::run::RegistryContext;
use crate::state::State;

/// A validated configuration and its connections. A job keeps the one that was active when the job started.
pub(super) struct ActiveConfig {
    pub(super) config: Config,
    readers: BTreeMap<String, Reader>,
    collectors: BTreeMap<String, Collector>,
}

impl ActiveConfig {
    /// Prepares the connections of all registries. It sends no request.
    pub(super) fn new(
        config: Config,
        metrics: &Metrics,
        docker: &DockerDefaults,
        collection_locks: &CollectionLocks,
    ) -> anyhow::Result<Arc<Self>> {
        let mut readers = BTreeMap::new();
        let mut collectors = BTreeMap::new();
        for registry in &config.registries {
            let name = &registry.name;
            let cannot = || format!("registry {name} cannot be used");
            let reader =
                Reader::new(registry, Retry::default(), metrics.observer(name)).with_context(cannot)?;
            readers.insert(name.clone(), reader);
            if let Some(gc) = &registry.gc {
                let certificates = docker.certificates.as_deref();
                let collector = Collector::new(gc, &docker.host, certificates, collection_locks);
                collectors.insert(name.clone(), collector.with_context(cannot)?);
            }
        }
        Ok(Arc::new(Self { config, readers, collectors }))
    }

    pub(super) fn registry(&self, name: &str) -> Option<&config::Registry> {
        self.config.registries.iter().find(|registry| registry.name == name)
    }

    pub(super) fn reader(&self, name: &str) -> Option<&Reader> {
        self.readers.get(name)
    }

    pub(super) fn collector(&self, name: &str) -> Option<&Collector> {
        self.collectors.get(name)
    }

    /// What a run needs to know of a registry; `None` if the configuration does not have it.
    pub(super) fn registry_context<'a>(
        &'a self,
        name: &str,
        now: DateTime<Utc>,
        state: &'a State,
        clock: &'a Clock,
    ) -> Option<RegistryContext<'a>> {
        let registry = self.registry(name)?;
        let reader = self.readers.get(name)?;
        Some(RegistryContext {
            config: &self.config,
            registry,
            reader,
            now,
            only: None,
            state: Some(state),
            clock: &**clock,
        })
    }

    /// The status line for systemd.
    pub(super) fn status(&self) -> String {
        let mode = match self.config.mode {
            Mode::Plan => "planning only",
            Mode::Enforce => "enforcing",
        };
        let names: Vec<&str> = self.config.registries.iter().map(|registry| registry.name.as_str()).collect();
        format!("{mode}: {}", names.join(", "))
    }
}
