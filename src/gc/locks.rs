//! Locks that keep two collections of the same registry from running at once, whatever names and addresses the
//! configuration has for it.
//!
//! It knows what identifies a registry, and nothing of how it is collected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

use crate::runtime::Identity;

/// The locks of all collectors that were made with it.
#[derive(Debug, Clone, Default)]
pub struct CollectionLocks(Arc<Mutex<HashMap<Identity, Weak<Lock<()>>>>>);

impl CollectionLocks {
    /// The lock that all collectors of a registry share, as long as one of them exists.
    pub(super) fn of(&self, registry: Identity) -> Arc<Lock<()>> {
        // No panic can leave the map half changed.
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(&registry).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(Lock::new(()));
        locks.insert(registry, Arc::downgrade(&lock));
        lock
    }
}

/// Waits for the lock.
pub(super) async fn acquire(lock: &Arc<Lock<()>>) -> OwnedMutexGuard<()> {
    if let Ok(guard) = lock.clone().try_lock_owned() {
        return guard;
    }
    tracing::info!("another collection works on the same registry: waiting for its end");
    lock.clone().lock_owned().await
}
