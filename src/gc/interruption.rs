//! What a collection does to its registry: stop it, restart it afterwards, or neither.
//!
//! It knows what the configuration asks for and how the registry was found, and nothing of who stops it.

use crate::config;
use crate::runtime::{Instance, JobPlace};

/// What happens to the registry in a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interruption {
    /// It is stopped before the sweep and started after it.
    Stop,
    /// The sweep runs inside the registry's container, and the registry is restarted right after it: the in-memory cache
    /// of a running registry would take swept blobs for present, and later pushes would become broken images.
    RestartAfter,
    /// It was found stopped, and stays so.
    AlreadyStopped,
    /// It runs on.
    None,
}

impl Interruption {
    /// The interruption of a collection of the registry that was found.
    pub(super) fn of(configured: config::Interruption, registry: &Instance) -> Self {
        match (registry, configured) {
            (Instance::Container(container), _) if !container.was_running() => Self::AlreadyStopped,
            (Instance::Container(container), _) => match container.job_place() {
                JobPlace::SecondContainer => Self::Stop,
                JobPlace::RegistryContainer => Self::RestartAfter,
            },
            (Instance::Commands(_), config::Interruption::Stop) => Self::Stop,
            (Instance::Commands(_), config::Interruption::None) => Self::None,
        }
    }

    /// Whether the registry is down for some time, so that it has to be restored.
    pub(super) fn takes_down(self) -> bool {
        matches!(self, Self::Stop | Self::RestartAfter)
    }

    /// Whether the registry is stopped before the sweep.
    pub(super) fn stops(self) -> bool {
        self == Self::Stop
    }

    /// Whether the registry must not run during the sweep.
    pub(super) fn must_stay_down(self) -> bool {
        matches!(self, Self::Stop | Self::AlreadyStopped)
    }

    /// Whether there is a second dry run right before the sweep, which sees what was pushed or deleted since the first.
    pub(super) fn has_second_dry_run(self) -> bool {
        matches!(self, Self::Stop | Self::None)
    }
}
