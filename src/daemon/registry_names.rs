//! Registries that a new configuration renames, and those that it no longer has.

use super::service::Service;
use crate::config::Config;

/// Continues renamed registries under their new names, and warns of registries that the configuration does not have.
pub(super) fn adopt(service: &Service, config: &Config) -> anyhow::Result<()> {
    let changes = service.state.adopt_names(config)?;
    for (old, new) in &changes.renamed {
        tracing::info!(registry = %new, was = %old, "a registry was renamed: its history continues");
    }
    for unknown in &changes.unknown {
        tracing::warn!(registry = %unknown.name, "{unknown}");
    }
    service.status_store.renamed(&changes.renamed);
    reset_metrics(service, config, &changes.renamed);
    service.metrics.unknown_registries(changes.unknown.len());
    service.status_store.unknown(changes.unknown);
    Ok(())
}

/// The counters under these names belong to other registries now. They continue from the state.
fn reset_metrics(service: &Service, config: &Config, renamed: &[(String, String)]) {
    // Before the first configuration nothing was counted.
    if service.active().is_none() {
        return;
    }
    let policies: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
    for name in renamed.iter().flat_map(|(old, new)| [old, new]) {
        service.metrics.reset(name, &policies);
    }
}

/// Why a configuration has to wait: it renames a registry that has a running job. The job would go on under the old name,
/// beside the jobs of the new one.
pub(super) fn obstacle(service: &Service, config: &Config) -> anyhow::Result<Option<String>> {
    for name in service.state.would_rename(config)? {
        // A stopped registry is an exception: the new configuration may be what allows its restart.
        if service.is_busy(&name) && !service.state.recovery_log(&name).is_stopped()? {
            return Ok(Some(format!(
                "it renames registry {name}, which has a running job: it becomes active when the job ends"
            )));
        }
    }
    Ok(None)
}
