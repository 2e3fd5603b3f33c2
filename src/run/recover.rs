//! Recovery: finishes a collection that was cut off or has failed, and starts its registry again.
//!
//! It makes one attempt; the caller repeats it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::context::{Clock, RegistryContext};
use super::reachability::answers;
use super::swept::{sums, swept};
use crate::gc::Collector;
use crate::report::{CollectionOutcome, CollectionReport};
use crate::state::State;

/// After a crash, a registry is kept down for at most this long to count what was swept.
const COUNT_TIMEOUT: Duration = Duration::from_secs(10);

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
        tracing::info!(registry, "the registry that a collection had stopped is already running");
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
