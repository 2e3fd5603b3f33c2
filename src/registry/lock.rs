//! Locking a mutex whose content is valid even after a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. No code panics in the middle of a change to what it guards, so poisoning is ignored.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
