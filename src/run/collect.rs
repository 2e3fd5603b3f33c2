//! A collection: what must not be swept, what must survive a crash, and the report. Also the recovery after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout};

use super::context::{Clock, RegistryContext};
use super::retained::RetainedDigests;
use super::stop::Cancellation;
use crate::config;
use crate::gc::{self, Collector};
use crate::model::Digest;
use crate::registry::Reader;
use crate::report::{CollectionOutcome, CollectionReport};
use crate::state::{self, State};

/// A registry that was started must answer within this time.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A registry that is up must answer within this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// After a crash, a registry is kept down for at most this long to count what was swept.
const COUNT_TIMEOUT: Duration = Duration::from_secs(10);

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

/// Collects, and records the result in the state. If a failure has left the registry down, [`recover_after`] records it.
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

/// Finishes the collection of an earlier process: starts the registry again if it was stopped, and counts what was
/// swept. `None` if there was nothing to finish.
pub async fn recover(
    context: RegistryContext<'_>,
    collector: &Collector,
    state: &State,
    clock: &Clock,
) -> anyhow::Result<Option<CollectionReport>> {
    recover_after(context, collector, state, clock, None).await
}

/// The same for a collection of this process, which has failed and left the registry down.
pub async fn recover_after(
    context: RegistryContext<'_>,
    collector: &Collector,
    state: &State,
    clock: &Clock,
    failed: Option<&CollectionReport>,
) -> anyhow::Result<Option<CollectionReport>> {
    let registry = context.registry.name.as_str();
    let begin = Instant::now();
    let recovery_log = state.recovery_log(registry);
    let stopped = recovery_log.is_stopped()?;
    let stale = recovery_log.stale_cache_entries()?;
    let mut gone = BTreeMap::new();
    let mut downtime = Duration::ZERO;
    // If it is not known whether the registry was started again, it is restarted. That only interrupts present pulls.
    let started = recovery_log.started_at()?;
    let is_running_again =
        stopped && collector.is_running_again(started.as_deref()).await.unwrap_or_default();
    if is_running_again && answers(context.reader).await {
        tracing::info!(registry, "the registry that a collection had stopped is up again already");
        recovery_log.record_restored()?;
    } else if stopped {
        tracing::warn!(registry, "a collection has left the registry down: starting it again");
        // Once the registry is up, clients may push again what was swept. So it is counted before, but not for long.
        if let Ok(before) = timeout(COUNT_TIMEOUT, swept(collector, &recovery_log)).await {
            gone = before?;
        }
        // Before it is up; otherwise its cache would say that swept blobs still exist.
        collector.clear_cache(&stale).await?;
        collector.restore(async || answers(context.reader).await).await?;
        // The clock may have been set back meanwhile; the downtime is never negative.
        let since = recovery_log.down_since()?.and_then(|since| (clock() - since).to_std().ok());
        downtime = since.unwrap_or_default();
        recovery_log.record_restored()?;
    }
    if !stopped && !recovery_log.unfinished_sweep()?.is_empty() {
        // The registry was not stopped, and a sweep that still goes on would make the count wrong.
        collector.end_leftover_jobs().await?;
    }
    if !stale.is_empty() {
        // Once more: the registry may have run since the first time.
        collector.clear_cache(&stale).await?;
        recovery_log.record_cache_cleared()?;
    }
    if !stopped && recovery_log.unfinished_sweep()?.is_empty() {
        return Ok(None);
    }
    gone.extend(swept(collector, &recovery_log).await?);
    let (blobs, bytes) = sums(gone);
    let at = clock();
    let collected = match failed {
        Some(failed) => {
            let duration = failed.duration + (at - failed.at).to_std().unwrap_or_default();
            // If the registry was started by an operator, the moment is not known.
            let downtime = downtime.max(failed.downtime);
            CollectionReport { at, duration, downtime, blobs, bytes, ..failed.clone() }
        }
        None => CollectionReport {
            at,
            outcome: CollectionOutcome::Failed,
            duration: begin.elapsed(),
            downtime,
            blobs,
            bytes,
            error: Some("it was cut off, and the registry was started again".to_owned()),
        },
    };
    state.finish_collection(registry, &collected)?;
    Ok(Some(collected))
}

/// The blobs that were about to be swept and are gone, with their bytes. If that is not known, none are counted: the
/// count may be too small, and never counts a blob twice.
async fn swept(
    collector: &Collector,
    recovery_log: &state::RecoveryLog,
) -> Result<BTreeMap<Digest, u64>, state::Error> {
    let open = recovery_log.unfinished_sweep()?;
    if open.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(collector.missing_blobs(&open).await.unwrap_or_else(|error| {
        tracing::error!(kind = error.kind(), %error, "what the collection freed cannot be counted");
        BTreeMap::new()
    }))
}

/// The number of blobs and their bytes.
fn sums(gone: BTreeMap<Digest, u64>) -> (u64, u64) {
    (gone.len() as u64, gone.into_values().fold(0, u64::saturating_add))
}

/// Whether the registry answers now.
pub async fn answers_now(reader: &Reader) -> bool {
    let answer = async { reader.is_reachable().await && reader.ping().await.is_ok() };
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(false)
}

/// Waits until the registry answers.
async fn answers(reader: &Reader) -> bool {
    let until = Instant::now() + START_TIMEOUT;
    while Instant::now() < until {
        if reader.is_reachable().await && reader.ping().await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}

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
