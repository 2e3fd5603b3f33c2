//! One configuration in force, with the connections that belong to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::service::Service;
use crate::config::{self, Config};
use crate::gc::Collector;
use crate::policy::Mode;
use crate::registry::{Reader, Retry};
use crate::run::RegistryContext;

/// A configuration and what was made of it. Runs that began under it end under it.
pub(super) struct ActiveConfig {
    pub(super) config: Config,
    readers: BTreeMap<String, Reader>,
    collectors: BTreeMap<String, Collector>,
}

impl ActiveConfig {
    /// Prepares everything that the configuration asks for, and makes it known.
    pub(super) fn begin(config: Config, service: &Service) -> anyhow::Result<Arc<Self>> {
        let mut readers = BTreeMap::new();
        let mut collectors = BTreeMap::new();
        for registry in &config.registries {
            let name = &registry.name;
            let cannot = || format!("registry {name} cannot be used");
            let observer = service.metrics.observer(name);
            let reader = Reader::new(registry, Retry::default(), observer).with_context(cannot)?;
            readers.insert(name.clone(), reader);
            if let Some(gc) = &registry.gc {
                let docker = &service.docker;
                let certificates = docker.certificates.as_deref();
                let collector = Collector::new(gc, &docker.host, certificates, &service.collection_locks);
                collectors.insert(name.clone(), collector.with_context(cannot)?);
            }
        }
        let active = Arc::new(Self { config, readers, collectors });
        service.announce(&active)?;
        Ok(active)
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

    /// The registry of this name as a run takes it.
    pub(super) fn registry_context<'a>(
        &'a self,
        name: &str,
        now: DateTime<Utc>,
        service: &'a Service,
    ) -> Option<RegistryContext<'a>> {
        let registry = self.registry(name)?;
        let reader = self.readers.get(name)?;
        let (config, state, clock) = (&self.config, Some(&service.state), &*service.clock);
        Some(RegistryContext { config, registry, reader, now, only: None, state, clock })
    }

    /// A line for the service manager.
    pub(super) fn status(&self) -> String {
        let mode = match self.config.mode {
            Mode::Plan => "planning only",
            Mode::Enforce => "enforcing",
        };
        let names: Vec<&str> = self.config.registries.iter().map(|one| one.name.as_str()).collect();
        format!("{mode}: {}", names.join(", "))
    }
}
