//! The grace period between a deletion and the collection that makes it final.

use chrono::{DateTime, TimeDelta, Utc};

use crate::config;
use crate::state::{self, State};

/// When the grace period ends that holds a collection back; `None` if none does.
pub fn held_back(
    registry: &config::Registry,
    state: &State,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, state::Error> {
    Ok(grace_ends(registry, state)?.filter(|until| *until > now))
}

/// When the grace period of the latest deletion that waits for a collection ends or has ended; `None` if there is no
/// grace period, or no deletion waits.
pub fn grace_ends(registry: &config::Registry, state: &State) -> Result<Option<DateTime<Utc>>, state::Error> {
    match &registry.gc {
        Some(gc) if gc.grace > TimeDelta::zero() => {
            Ok(state.youngest_waiting(&registry.name)?.map(|at| at + gc.grace))
        }
        _ => Ok(None),
    }
}
