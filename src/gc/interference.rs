//! Notices that the registry runs although a collection needs it stopped.
//!
//! Blobs that such a registry takes for present may be gone a moment later. It does not know what a sweep is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::gc::error::Error;
use crate::gc::request::RegistryProbe;
use crate::runtime::Instance;

/// The pause between two checks in the middle of a sweep.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Checks whether the registry runs. Where the runtime cannot tell, it is asked over HTTP.
pub(super) struct InterferenceCheck<'a, P> {
    registry: &'a Instance,
    probe: &'a P,
    /// Whether the registry must not run at all.
    is_needed: bool,
    /// Whether the registry was seen not to answer since it was stopped.
    was_silent: AtomicBool,
    /// Whether the log has the warning that it still answers.
    is_reported: AtomicBool,
}

impl<'a, P: RegistryProbe> InterferenceCheck<'a, P> {
    pub(super) fn new(registry: &'a Instance, probe: &'a P, is_needed: bool) -> Self {
        let (was_silent, is_reported) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { registry, probe, is_needed, was_silent, is_reported }
    }

    /// An error if the registry runs.
    pub(super) async fn check(&self) -> Result<(), Error> {
        if !self.is_needed {
            return Ok(());
        }
        match self.registry.is_running().await {
            Some(true) => Err(Error::Interfered { container: self.registry.name().to_owned() }),
            Some(false) => Ok(()),
            None => self.check_over_http().await,
        }
    }

    /// The result of work, unless the registry runs before it, during it or right after it.
    pub(super) async fn unless_running<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        // Before anything is begun that would have to be ended again.
        self.check().await?;
        let running = async {
            loop {
                sleep(POLL_INTERVAL).await;
                if let Err(error) = self.check().await {
                    return error;
                }
            }
        };
        let done = tokio::select! {
            biased;
            error = running => return Err(error),
            done = work => done?,
        };
        self.check().await?;
        Ok(done)
    }

    /// A registry that never stopped answering may be read-only or another one behind the same address, so only one that
    /// answers again was started.
    async fn check_over_http(&self) -> Result<(), Error> {
        if !self.probe.answers_now().await {
            self.was_silent.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.was_silent.load(Ordering::Relaxed) {
            return Err(Error::Answered);
        }
        if !self.is_reported.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the registry still answers after gc.command.before: that is safe only if it is read-only by now, and \
                 if no other registry serves the same storage"
            );
        }
        Ok(())
    }
}
