//! One collection: started, recorded in the state and reported.
//!
//! After a crash, [`super::recover`] finishes it. How blobs are found and swept is the business of [`crate::gc`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::context::{Clock, RegistryContext};
use super::reachability::{answers, answers_now};
use super::retained::RetainedDigests;
use super::stop::Cancellation;
use super::swept::{sums, swept};
use crate::gc::{self, Collector};
use crate::model::Digest;
use crate::registry::Reader;
use crate::report::{CollectionOutcome, CollectionReport};
use crate::state::{self, State};

/// Records in the state what must survive a crash, and measures how long the registry is down, however the
/// collection ends.
struct DowntimeLog<'a> {
    recovery_log: &'a state::RecoveryLog,
    clock: &'a Clock,
    down: Mutex<Down>,
}

/// How long the registry is down for this collection.
#[derive(Clone, Copy)]
enum Down {
    NotYet,
    Since(Instant),
    For(Duration),
}

impl DowntimeLog<'_> {
    fn down(&self) -> MutexGuard<'_, Down> {
        // The value is consistent at every moment, also after a panic.
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the registry was down until now.
    fn downtime(&self) -> Duration {
        match *self.down() {
            Down::NotYet => Duration::ZERO,
            Down::Since(begin) => begin.elapsed(),
            Down::For(downtime) => downtime,
        }
    }
}

impl gc::RecoveryLog for DowntimeLog<'_> {
    fn record_stopping(&self) -> anyhow::Result<()> {
        let begin = Instant::now();
        self.recovery_log.record_stopping((self.clock)())?;
        *self.down() = Down::Since(begin);
        Ok(())
    }

    fn record_started_at(&self, at: &str) -> anyhow::Result<()> {
        Ok(self.recovery_log.record_started_at(at)?)
    }

    fn record_restored(&self) -> anyhow::Result<()> {
        let mut down = self.down();
        if let Down::Since(begin) = *down {
            *down = Down::For(begin.elapsed());
        }
        Ok(self.recovery_log.record_restored()?)
    }

    fn record_sweeping(&self, blobs: &BTreeMap<Digest, u64>, stale: &BTreeSet<Digest>) -> anyhow::Result<()> {
        Ok(self.recovery_log.record_sweeping(blobs, stale)?)
    }

    fn record_cache_cleared(&self) -> anyhow::Result<()> {
        Ok(self.recovery_log.record_cache_cleared()?)
    }
}

/// The registry over HTTP.
struct HttpProbe<'a>(&'a Reader);

impl gc::RegistryProbe for HttpProbe<'_> {
    async fn wait_until_ready(&self) -> bool {
        answers(self.0).await
    }

    async fn answers_now(&self) -> bool {
        answers_now(self.0).await
    }
}

/// Collects, and records the result in the state. If a failure has left the registry down, [`super::recover_after`] records it.
pub async fn collect(
    context: RegistryContext<'_>,
    collector: &Collector,
    state: &State,
    retained: &RetainedDigests,
    cancellation: &Cancellation,
    clock: &Clock,
) -> Result<CollectionReport, state::Error> {
    let registry = context.registry.name.as_str();
    let begin = Instant::now();
    let recovery_log = state.recovery_log(registry);
    tracing::info!(registry, "the collection begins");
    let downtime_log = DowntimeLog { recovery_log: &recovery_log, clock, down: Mutex::new(Down::NotYet) };
    // Stale cache entries of an earlier collection: after this one they could not be told apart any more.
    let stale = recovery_log.stale_cache_entries()?;
    let result = match collector.clear_cache(&stale).await {
        Ok(()) => {
            recovery_log.record_cache_cleared()?;
            let is_kept = |digest: &Digest| retained.contains(digest);
            let probe = HttpProbe(context.reader);
            let cancellation = gc::Cancellation {
                before_stop: cancellation.runs.clone(),
                at_once: cancellation.collections.clone(),
            };
            collector.collect(&is_kept, &downtime_log, probe, cancellation).await
        }
        Err(error) => Err(error),
    };
    let downtime = downtime_log.downtime();
    let nothing = |outcome, error| CollectionReport {
        at: clock(),
        outcome,
        duration: begin.elapsed(),
        downtime,
        blobs: 0,
        bytes: 0,
        error,
    };
    let collected = match result {
        Ok(gc::CollectionResult::Reclaimed(freed)) => CollectionReport {
            blobs: freed.blobs,
            bytes: freed.bytes,
            ..nothing(CollectionOutcome::Success, None)
        },
        Ok(gc::CollectionResult::NothingToDo) => nothing(CollectionOutcome::Success, None),
        Ok(gc::CollectionResult::BelowMinimum { reclaimable }) => {
            let why = format!(
                "a collection would free {reclaimable} bytes, which is below gc.min_reclaimable; `regsweep gc --force` collects anyway"
            );
            nothing(CollectionOutcome::Skipped, Some(why))
        }
        Err(error @ gc::Error::NotBegun) => nothing(CollectionOutcome::Skipped, Some(error.to_string())),
        Err(error) => {
            tracing::error!(registry, kind = error.kind(), %error, "the collection failed");
            if recovery_log.is_stopped()? {
                // What it has swept can only be counted once the registry is up again.
                return Ok(nothing(CollectionOutcome::Failed, Some(error.to_string())));
            }
            let (blobs, bytes) = sums(swept(collector, &recovery_log).await?);
            CollectionReport { blobs, bytes, ..nothing(CollectionOutcome::Failed, Some(error.to_string())) }
        }
    };
    state.finish_collection(registry, &collected)?;
    tracing::info!(
        registry,
        outcome = collected.outcome.name(),
        blobs = collected.blobs,
        bytes = collected.bytes,
        downtime_seconds = collected.downtime.as_secs_f64(),
        "the collection ended"
    );
    Ok(collected)
}
