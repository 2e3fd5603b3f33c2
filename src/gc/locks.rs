//! Collections of the same registry take turns, however many names and addresses the configuration has for it.
//!
//! It knows what a collection works on, and nothing of how.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

/// What a collection works on, as far as the configuration tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// A container of an Engine.
    Container { engine: String, name: String },
    /// The store that a command collects.
    Command(Vec<String>),
}

/// The turns of all collectors that were made with it.
#[derive(Debug, Clone, Default)]
pub struct CollectionLocks(Arc<Mutex<HashMap<Target, Weak<Gate<()>>>>>);

impl CollectionLocks {
    /// The gate that all collectors of this target share, as long as one of them is there.
    pub(super) fn of(&self, target: Target) -> Arc<Gate<()>> {
        // What is behind the lock is whole at every moment.
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = gates.get(&target).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::new(Gate::new(()));
        gates.insert(target, Arc::downgrade(&gate));
        gate
    }
}

/// Waits for the turn.
pub(super) async fn acquire(gate: &Arc<Gate<()>>) -> OwnedMutexGuard<()> {
    if let Ok(turn) = gate.clone().try_lock_owned() {
        return turn;
    }
    tracing::info!("another collection works on the same registry: waiting for its end");
    gate.clone().lock_owned().await
}
