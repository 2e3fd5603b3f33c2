//! Loads the configuration again, and says why a new one does not become active.

use std::path::Path;
use std::sync::Arc;

use super::activation;
use super::active_config::ActiveConfig;
use super::registry_names;
use super::service::Service;
use crate::config::{self, Config, Env};

/// Why a configuration does not become active.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReloadError {
    /// It is invalid.
    Invalid(String),
    /// It has to wait until a job ends.
    Postponed(String),
}

impl ReloadError {
    fn invalid(error: impl Into<anyhow::Error>) -> Self {
        Self::Invalid(format!("{:#}", error.into()))
    }

    /// Logs the error and shows it in the metrics and the status.
    pub(super) fn record(&self, service: &Service) {
        match self {
            Self::Invalid(error) => {
                tracing::error!(%error, "the configuration is invalid, so the previous one stays active");
                service.record_failed_reload(error);
            }
            Self::Postponed(why) => {
                tracing::warn!("the new configuration has to wait, and the previous one stays active: {why}");
                service.record_failed_reload(why);
            }
        }
    }
}

/// Loads the configuration and prepares it.
pub(super) fn load(path: &Path, env: Env<'_>, service: &Service) -> Result<Arc<ActiveConfig>, ReloadError> {
    let config = config::load(path, env).map_err(ReloadError::invalid)?;
    match registry_names::obstacle(service, &config).map_err(ReloadError::invalid)? {
        Some(why) => Err(ReloadError::Postponed(why)),
        None => activation::prepare(service, config).map_err(ReloadError::invalid),
    }
}

/// Warns of changes that need a restart.
pub(super) fn warn_of_restart(before: &Config, now: &Config) {
    if before.listen != now.listen || before.state_dir != now.state_dir {
        tracing::warn!("a change of `listen` or `state_dir` takes effect after a restart");
    }
}
