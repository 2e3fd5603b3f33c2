//! Makes a configuration the active one: its registries appear in the metrics and the status, others disappear.

use std::sync::Arc;
use std::time::Duration;

use super::active_config::ActiveConfig;
use super::collections;
use super::history;
use super::recovery_job::INTERRUPTED;
use super::registry_names;
use super::service::{Service, lock};
use crate::config::{self, Config, GcSchedule};

/// Prepares a configuration and shows its registries, with what the state knows of them.
pub(super) fn prepare(service: &Service, config: Config) -> anyhow::Result<Arc<ActiveConfig>> {
    let (metrics, docker) = (&service.metrics, &service.docker);
    let active = ActiveConfig::new(config, metrics, docker, &service.collection_locks)?;
    show(service, &active)?;
    Ok(active)
}

fn show(service: &Service, active: &ActiveConfig) -> anyhow::Result<()> {
    let now = service.now();
    let config = &active.config;
    let before = service.active();
    registry_names::adopt(service, config)?;
    for registry in &config.registries {
        let policies: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
        service.metrics.registry(&registry.name, &policies);
        lock(&service.reachability).add(&registry.name, now);
    }
    service.status_store.configured(config, now);
    service.metrics.config_reloaded(true, now);
    for registry in &config.registries {
        // A registry that stays has its current numbers already. One that is new, back, renamed or moved continues from the
        // state.
        let before = before.as_ref().and_then(|before| before.registry(&registry.name));
        if before.is_none_or(|before| before.url != registry.url) {
            restore(service, &registry.name)?;
        }
        service.metrics.run_timeout(&registry.name, longest_run(registry));
        service.show_reclaimable_of(registry);
        collections::update(service, config, registry);
    }
    Ok(())
}

fn restore(service: &Service, name: &str) -> anyhow::Result<()> {
    let busy = service.is_busy(name);
    let summary = history::restore(&service.state, &service.metrics, &service.status_store, name, busy)?;
    if summary.last_collection_succeeded == Some(false) {
        collections::retry_later(service, name);
    }
    if service.state.recovery_log(name).is_stopped()? {
        service.metrics.stopped(name, true);
        service.status_store.stopped(name, Some(INTERRUPTED));
    }
    Ok(())
}

/// How long a run and the collection after it may take.
fn longest_run(registry: &config::Registry) -> Duration {
    let follows = registry.gc.as_ref().filter(|gc| matches!(gc.schedule, GcSchedule::AfterRun));
    registry.run_timeout.saturating_add(follows.map_or(Duration::ZERO, |gc| gc.timeout))
}

/// Removes the registries of the previous configuration that the new one does not have.
pub(super) fn remove_former(service: &Service, before: &ActiveConfig, now: &ActiveConfig) {
    for registry in &before.config.registries {
        let name = &registry.name;
        match now.registry(name) {
            None => service.metrics.remove(name),
            // At a new address it has not been asked yet.
            Some(other) if other.url != registry.url => service.metrics.up_unknown(name),
            Some(_) => continue,
        }
        let mut reachability = lock(&service.reachability);
        reachability.remove(name);
        if now.registry(name).is_some() {
            reachability.add(name, service.now());
        }
    }
}

/// Removes a registry that left the configuration while a job was running there.
pub(super) fn remove_if_former(service: &Service, name: &str) {
    if service.active().is_some() && !service.has_registry(name) {
        service.metrics.remove(name);
        lock(&service.reachability).remove(name);
    }
}
