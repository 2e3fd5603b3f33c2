//! Registries that a new configuration calls by other names, and those that it does not have.

use super::service::{Service, lock};
use crate::config::Config;

impl Service {
    /// Lets what is known of registries go on under the names of this configuration, and tells of those that it does
    /// not have.
    pub(super) fn take_names(&self, config: &Config) -> anyhow::Result<()> {
        let recognized = self.state.adopt_names(config)?;
        for (old, new) in &recognized.renamed {
            tracing::info!(registry = %new, was = %old, "a registry has another name: what is known of it goes on");
        }
        for unknown in &recognized.unknown {
            tracing::warn!(registry = %unknown.name, "{unknown}");
        }
        self.status_store.renamed(&recognized.renamed);
        self.count_anew(config, &recognized.renamed);
        self.metrics.unknown_registries(recognized.unknown.len());
        self.status_store.unknown(recognized.unknown);
        Ok(())
    }

    /// What was counted under these names is of other registries now, and goes on from the state.
    fn count_anew(&self, config: &Config, renamed: &[(String, String)]) {
        // Nothing was counted before the first configuration.
        if self.current().is_none() {
            return;
        }
        let policies: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
        for name in renamed.iter().flat_map(|(old, new)| [old, new]) {
            self.metrics.reset(name, &policies);
        }
    }

    /// Why a configuration cannot be taken up yet: it calls a registry by another name in which something is under way.
    /// That would go on under a name that is nobody's or another's by then, and beside what begins under the new one.
    pub(super) fn held_up(&self, config: &Config) -> anyhow::Result<Option<String>> {
        for name in self.state.would_rename(config)? {
            // What is down is brought back by whatever configuration can do it.
            if lock(&self.jobs).is_busy(&name) && !self.state.recovery_log(&name).is_stopped()? {
                return Ok(Some(format!(
                    "it gives registry {name} another name, and something is under way there: it is taken up when that \
                     has ended"
                )));
            }
        }
        Ok(None)
    }
}
