//! What the state says of the time before a restart, as metrics and the page go on from it, and of what was
//! found out later.

use chrono::{DateTime, Utc};

use super::service::Service;
use crate::http::{Entry, Run};
use crate::metrics::Carried;
use crate::report::{CollectionOutcome, Outcome};
use crate::state::{self, State, TotalKind};

/// So many runs and collections of before a restart are shown again.
const REMEMBERED: u32 = 100;

/// The last runs and collections, oldest first.
pub(super) fn entries(state: &State) -> Result<Vec<Entry>, state::Error> {
    let mut past: Vec<(DateTime<Utc>, Entry)> = Vec::new();
    for run in state.runs(REMEMBERED)?.into_iter().filter_map(remembered) {
        past.push((run.at, Entry::Run(run)));
    }
    for state::Collection { registry, collected } in state.collections(REMEMBERED)? {
        past.push((collected.at, Entry::Collection { registry, collected }));
    }
    past.sort_by_key(|(at, _)| *at);
    Ok(past.into_iter().map(|(_, entry)| entry).collect())
}

/// What the counters of a registry go on from.
pub(super) fn carried(state: &State, registry: &str) -> Result<Carried, state::Error> {
    let mut carried = Carried::default();
    for total in state.totals()?.into_iter().filter(|total| total.registry == registry) {
        match total.kind {
            TotalKind::DeletedManifests => {
                carried.deleted.entry(total.policy).or_default().manifests = total.value;
            }
            TotalKind::DeletedTags => carried.deleted.entry(total.policy).or_default().tags = total.value,
            TotalKind::ReclaimedBlobs => carried.reclaimed_blobs = total.value,
            TotalKind::ReclaimedBytes => carried.reclaimed_bytes = total.value,
            TotalKind::Reclaimable => {}
        }
    }
    let runs = state.runs(REMEMBERED)?;
    let ended = |wanted: Option<Outcome>| {
        let mut runs = runs.iter().filter(|run| run.registry == registry);
        runs.find(|run| run.finished.is_some() && (wanted.is_none() || run.outcome == wanted))
            .and_then(|run| run.finished)
    };
    carried.last_run = ended(None);
    carried.last_success = ended(Some(Outcome::Success));
    let succeeded = state.last_collection(registry, CollectionOutcome::Success)?;
    let failed = state.last_collection(registry, CollectionOutcome::Failed)?;
    carried.last_collection = succeeded;
    carried.last_collection_succeeded = succeeded.max(failed).map(|last| succeeded == Some(last));
    Ok(carried)
}

/// Counts what a run found out about deletions of earlier ones, whose answers were lost. Only after a run: what
/// one that is under way does is counted when it ends.
pub(super) fn catch_up(service: &Service, registry: &str) {
    match carried(&service.state, registry) {
        Ok(carried) => {
            service.metrics.catch_up(registry, &carried);
            service.board.catch_up(registry, &carried);
        }
        Err(error) => tracing::error!(registry, %error, "the state cannot be read"),
    }
}

/// A run of before a restart, as the page shows it; `None` for one that was cut off.
fn remembered(run: state::Run) -> Option<Run> {
    let duration = (run.finished? - run.started).to_std().unwrap_or_default();
    Some(Run {
        id: Some(run.id),
        registry: run.registry,
        at: run.started,
        duration,
        outcome: run.outcome?,
        applied: true,
        deleted: usize::try_from(run.deleted).unwrap_or(usize::MAX),
        untagged: usize::try_from(run.untagged).unwrap_or(usize::MAX),
        spared: 0,
        failures: 0,
        refusals: 0,
        problems: run.error.into_iter().collect(),
    })
}
