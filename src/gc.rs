//! Garbage collection: the removal of blobs that nothing refers to, so that nothing kept is lost, no registry is left
//! stopped, and the freed bytes are known.
//!
//! A collection has three parts: a `sweeper::Sweeper`, which finds and removes the blobs; an
//! `interruption::Interruption`, which says what happens to the registry meanwhile; and a [`runtime`](crate::runtime),
//! which stops and starts the registry. `steps` has the order of the steps, the same for all of them.
//!
//! It knows no HTTP API of a registry, no plan and no database: the caller says which digests are kept, stores in a
//! [`RecoveryLog`] what must survive a crash, and waits until the registry answers again.
//!
//! `--delete-untagged` is never passed to a registry: on distribution 2.8 it destroys multi-arch images, and on 3.x it
//! can still lose blobs of another repository.

mod blobs;
mod cache;
mod cache_cleaner;
mod collector;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod interference;
mod interruption;
mod locks;
mod recovery_log;
mod redis;
mod registry_config;
mod request;
mod result;
mod steps;
mod storage;
mod sweeper;

pub use collector::Collector;
pub use error::Error;
pub use locks::CollectionLocks;
pub use recovery_log::RecoveryLog;
pub use request::{Cancellation, RegistryProbe};
pub use result::{CheckResult, CollectionResult, Reclaimed};
