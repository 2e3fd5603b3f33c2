//! What the caller of a collection gives to it: what is kept, where to record its steps, how to reach the registry over
//! HTTP, and how to cancel it.
//!
//! It does not know how a collection uses this.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::gc::error::Error;
use crate::gc::recovery_log::RecoveryLog;
use crate::model::Digest;

/// The request for one collection.
pub(super) struct CollectionRequest<'a, P> {
    /// How long it may take.
    pub(super) timeout: Duration,
    /// The bytes below which it is not worth it.
    pub(super) min_reclaimable: u64,
    /// Whether a digest has to survive.
    pub(super) is_kept: &'a (dyn Fn(&Digest) -> bool + Sync),
    pub(super) recovery_log: &'a dyn RecoveryLog,
    pub(super) probe: &'a P,
    pub(super) cancellation: &'a Cancellation,
}

/// The registry as its clients see it. A closure that waits until the registry answers is a probe, too.
pub trait RegistryProbe: Send + Sync {
    /// Waits until the registry answers, and returns whether it does.
    fn wait_until_ready(&self) -> impl Future<Output = bool> + Send;

    /// Whether the registry answers at this moment; false where that is not known.
    fn answers_now(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }
}

impl<T: Fn() -> F + Send + Sync, F: Future<Output = bool> + Send> RegistryProbe for T {
    fn wait_until_ready(&self) -> impl Future<Output = bool> + Send {
        self()
    }
}

/// How a collection is cancelled.
#[derive(Debug, Clone, Default)]
pub struct Cancellation {
    /// Cancels a collection that has not yet stopped the registry.
    pub before_stop: CancellationToken,
    /// Cancels a collection at any moment. The registry is restored all the same.
    pub at_once: CancellationToken,
}

impl Cancellation {
    /// The result of work that leaves the registry alone, unless the collection is cancelled before its end.
    pub(super) async fn unless_cancelled_before_stop<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.at_once.cancelled() => Err(Error::Ended),
            done = work => done,
            () = self.before_stop.cancelled() => {
                Err(if self.at_once.is_cancelled() { Error::Ended } else { Error::NotBegun })
            }
        }
    }

    /// The result of work, unless the collection is cancelled at once before its end.
    pub(super) async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.at_once.cancelled() => Err(Error::Ended),
            done = work => done,
        }
    }
}
