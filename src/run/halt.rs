//! What ends a run between two deletions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// Whoever waits for a stop looks this often.
const LOOK: Duration = Duration::from_millis(100);

/// Why something is left alone once the time of a run is up.
pub(super) const TIME_UP: &str = "the run's time was up";

/// Why something is left alone once the run was asked to stop.
pub(super) const STOPPED: &str = "the run was stopped";

/// Asks a run to stop between two deletions. What belongs to a manifest that is gone still follows it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    collections: Arc<AtomicBool>,
    until: Option<Instant>,
}

impl Stop {
    /// Asks for it.
    pub fn request(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Asks for it, and for the end of a collection that is under way: its registry is brought back at once.
    pub fn request_of_collections_too(&self) {
        self.collections.store(true, Ordering::Relaxed);
        self.request();
    }

    /// Comes when somebody wants collections to end.
    pub(super) async fn ends_collections(&self) {
        while !self.collections.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether somebody has.
    pub fn is_requested(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// What comes of it; `None` if somebody asks for a stop before.
    pub async fn cuts<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let requested = async {
            while !self.is_requested() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = requested => None,
        }
    }

    /// The same, for a run that has time until then.
    pub(super) fn until(&self, moment: Option<Instant>) -> Self {
        Self { until: moment, ..self.clone() }
    }
}

/// Everything that can end one run, also what it finds out by itself.
pub(super) struct Halt<'a> {
    stop: &'a Stop,
    own: OnceLock<&'static str>,
}

impl<'a> Halt<'a> {
    pub(super) fn new(stop: &'a Stop) -> Self {
        Self { stop, own: OnceLock::new() }
    }

    /// Ends this run, and no other, for this reason.
    pub(super) fn now(&self, why: &'static str) {
        // The first reason is the one that counts.
        let _ = self.own.set(why);
    }

    /// Why nothing more is deleted; `None` while the run goes on.
    pub(super) fn why(&self) -> Option<&'static str> {
        let asked = self.stop.is_requested().then_some(STOPPED);
        let late = self.stop.until.filter(|until| *until <= Instant::now()).map(|_| TIME_UP);
        asked.or(self.own.get().copied()).or(late)
    }

    /// What comes of it. If the run has to end before, and the work has not ended after as much time more, the
    /// error says why.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = T>,
        more: Duration,
    ) -> Result<T, &'static str> {
        let ended = async {
            let why = loop {
                match self.why() {
                    Some(why) => break why,
                    None => tokio::time::sleep(LOOK).await,
                }
            };
            tokio::time::sleep(more).await;
            why
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            why = ended => Err(why),
        }
    }
}
