//! One registry with everything that a run of it needs: its configuration, the way to it, the moment and the state.
//!
//! It reads nothing itself, and does not know what a run does.

use chrono::{DateTime, TimeDelta, Utc};

use super::error::Error;
use crate::config::{self, Config};
use crate::model::{RepositoryName, duration};
use crate::plan::Intent;
use crate::policy::Patterns;
use crate::registry::Reader;
use crate::state::State;

/// Returns the present moment.
pub type Clock = dyn Fn() -> DateTime<Utc> + Send + Sync;

/// One registry and what a run of it needs.
#[derive(Clone, Copy)]
pub struct RegistryContext<'a> {
    /// The whole configuration.
    pub config: &'a Config,
    /// The registry's part of the configuration.
    pub registry: &'a config::Registry,
    /// Sends read requests to the registry.
    pub reader: &'a Reader,
    /// The moment as of which ages are counted.
    pub now: DateTime<Utc>,
    /// The only repositories to scan; `None` means all.
    pub only: Option<&'a Patterns>,
    /// Keeps the scan history; without it, every scan is the first one.
    pub state: Option<&'a State>,
    /// The time at which a repository is scanned. A scan can take hours, and what is pushed meanwhile is younger than its
    /// beginning.
    pub clock: &'a Clock,
}

impl RegistryContext<'_> {
    /// The intent for a repository: the first policy in the configuration that claims it, if one does.
    pub(super) fn intent_for(self, repository: &RepositoryName) -> Intent {
        let mut policies = self.config.policies.iter();
        let claiming = policies.find(|policy| policy.claims(&self.registry.name, repository));
        claiming.map_or(Intent::Unclaimed, |policy| Intent::Policy(policy.clone()))
    }

    /// The result of the work, or an error if the work takes longer than `run_timeout`.
    pub(super) async fn within_run_timeout<T>(
        self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.registry.run_timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(Error::Timeout(self.run_timeout())),
        }
    }

    /// `run_timeout` as it is written in a configuration.
    pub(super) fn run_timeout(self) -> String {
        duration::exact(TimeDelta::from_std(self.registry.run_timeout).unwrap_or(TimeDelta::MAX))
    }
}
