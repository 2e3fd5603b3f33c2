//! What the state knows of earlier runs and collections, for the metrics and the status after a restart.
//!
//! It reads the state and sends no request.

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::gc;
use crate::http::{HistoryEntry, RunEntry, StatusStore};
use crate::metrics::Metrics;
use crate::report::{CollectionOutcome, Outcome, RunRecord};
use crate::state::{self, RegistrySummary, State, TotalKind};

/// The number of runs, and of collections, that are shown after a restart.
const HISTORY_LENGTH: u32 = 100;

/// The latest runs and collections, the oldest first. Those of each registry include its last ones, however old they are.
pub(super) fn entries(state: &State, config: &Config) -> Result<Vec<HistoryEntry>, state::Error> {
    let mut entries: Vec<(DateTime<Utc>, HistoryEntry)> = Vec::new();
    let mut runs = state.runs(HISTORY_LENGTH)?;
    let mut collections = state.collections(HISTORY_LENGTH)?;
    for registry in &config.registries {
        let last = state.last_run(&registry.name, None)?;
        runs.extend(last.filter(|last| !runs.iter().any(|run| run.id == last.id)));
        if !collections.iter().any(|collection| collection.registry == registry.name) {
            collections.extend(state.last_collection(&registry.name)?);
        }
    }
    for run in runs {
        if let Some(run) = run_entry(state, run)? {
            entries.push((run.at, HistoryEntry::Run(run)));
        }
    }
    for state::Collection { registry, collected } in collections {
        entries.push((collected.at, HistoryEntry::Collection { registry, collected }));
    }
    entries.sort_by_key(|(at, _)| *at);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Continues the metrics and the status of a registry from the state. Returns what the state knows of it. The deletions
/// of a registry that is `busy` are counted when its run ends.
pub(super) fn restore(
    state: &State,
    metrics: &Metrics,
    status_store: &StatusStore,
    registry: &str,
    busy: bool,
) -> Result<RegistrySummary, state::Error> {
    let mut summary = summary(state, registry)?;
    if busy {
        summary.deleted.clear();
    }
    metrics.restore(registry, &summary);
    let run = state.last_run(registry, None)?;
    let run = run.map(|run| run_entry(state, run)).transpose()?.flatten();
    let collected = state.last_collection(registry)?.map(|collection| collection.collected);
    status_store.restore(registry, &summary, run, collected);
    show_plan(state, metrics, status_store, registry)?;
    Ok(summary)
}

/// What the counters of a registry continue from.
fn summary(state: &State, registry: &str) -> Result<RegistrySummary, state::Error> {
    let mut summary = RegistrySummary::default();
    for total in state.totals()?.into_iter().filter(|total| total.registry == registry) {
        match total.kind {
            TotalKind::DeletedManifests => {
                summary.deleted.entry(total.policy).or_default().manifests = total.value;
            }
            TotalKind::DeletedTags => summary.deleted.entry(total.policy).or_default().tags = total.value,
            TotalKind::ReclaimedBlobs => summary.reclaimed_blobs = total.value,
            TotalKind::ReclaimedBytes => summary.reclaimed_bytes = total.value,
            TotalKind::Reclaimable => {}
        }
    }
    let last = state.last_run(registry, None)?;
    summary.last_run = last.as_ref().and_then(|run| run.finished);
    summary.last_outcome = last.and_then(|run| run.outcome);
    let succeeded = state.last_run(registry, Some(Outcome::Success))?;
    summary.last_success = succeeded.and_then(|run| run.finished);
    summary.last_collection = state.last_collection_that(registry, CollectionOutcome::Success)?;
    // A collection that a stop of the service prevented does not count. Any other skipped one found too little to free, so
    // it would have been possible.
    let last = state.last_collection_but_for(registry, &gc::Error::NotBegun.to_string())?;
    summary.last_collection_succeeded = last.map(|last| last.collected.outcome != CollectionOutcome::Failed);
    Ok(summary)
}

/// Shows the latest plan of a registry, and the refusals of its run.
pub(super) fn show_plan(
    state: &State,
    metrics: &Metrics,
    status_store: &StatusStore,
    registry: &str,
) -> Result<(), state::Error> {
    if let Some(plan) = state.last_plan(registry)? {
        metrics.planned(&plan);
        status_store.planned(plan);
    }
    if let Some(summary) = state.last_summary(registry)? {
        metrics.refused(registry, &summary.refusals);
    }
    Ok(())
}

/// Counts deletions whose answers were lost and that a later run has confirmed. Call it after a run: the deletions of a
/// running run are counted when it ends.
pub(super) fn update_deleted(state: &State, metrics: &Metrics, status_store: &StatusStore, registry: &str) {
    match summary(state, registry) {
        Ok(summary) => {
            metrics.raise_deleted(registry, &summary);
            status_store.raise_deleted(registry, &summary);
        }
        Err(error) => tracing::error!(registry, %error, "the state cannot be read"),
    }
}

/// A run from the state, as the page shows it; `None` for a run that did not end.
fn run_entry(state: &State, run: RunRecord) -> Result<Option<RunEntry>, state::Error> {
    let (Some(finished), Some(outcome)) = (run.finished, run.outcome) else { return Ok(None) };
    let summary = state.run_summary(run.id)?;
    // A run that changed nothing has no summary, and neither have the runs of older versions.
    let did_nothing =
        matches!(outcome, Outcome::Failed | Outcome::Interrupted) && run.deleted + run.untagged == 0;
    let run = RunEntry {
        id: Some(run.id),
        registry: run.registry,
        at: run.started,
        duration: (finished - run.started).to_std().unwrap_or_default(),
        outcome,
        applied: !did_nothing,
        deleted: usize::try_from(run.deleted).unwrap_or(usize::MAX),
        untagged: usize::try_from(run.untagged).unwrap_or(usize::MAX),
        skipped: 0,
        failures: 0,
        refusals: 0,
        problems: run.error.into_iter().collect(),
    };
    Ok(Some(match summary {
        Some(summary) => run.with(summary),
        None => run,
    }))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn entries_include_the_last_run_and_collection_behind_any_number_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let begin: DateTime<Utc> = "2026-06-17T12:00:00Z".parse().unwrap();
        let at = |minutes| begin + TimeDelta::minutes(minutes);
        let run = |registry: &str, minutes, outcome| {
            let run = state.begin_run(registry, at(minutes)).unwrap();
            state.finish_run(run, at(minutes + 1), outcome, None).unwrap();
            let failed = state::State::finish_collection(
                &state,
                registry,
                &crate::report::CollectionReport {
                    outcome: if outcome == Outcome::Success {
                        CollectionOutcome::Success
                    } else {
                        CollectionOutcome::Failed
                    },
                    ..crate::report::CollectionReport::skipped(at(minutes + 1), String::new())
                },
            );
            failed.unwrap();
        };
        run("main", 0, Outcome::Success);
        run("main", 10, Outcome::Failed);
        run("main", 12, Outcome::Skipped);
        for minutes in 0..150 {
            run("other", 20 + minutes, Outcome::Failed);
        }
        let summary = summary(&state, "main").unwrap();
        assert_eq!((summary.last_run, summary.last_success), (Some(at(11)), Some(at(1))));
        assert_eq!(summary.last_outcome, Some(Outcome::Failed));
        assert_eq!(summary.last_collection, Some(at(1)));
        assert_eq!(summary.last_collection_succeeded, Some(false));
        assert_eq!(state.last_run("main", Some(Outcome::Skipped)).unwrap().unwrap().started, at(12));
        let config = crate::config::parse(
            "registries: [{ name: main, url: 'https://r' }]\npolicies: [{ name: p, repositories: '.*', untagged: { newer_than: 7d } }]\n",
            "f",
            &|_| None,
        )
        .unwrap();
        let entries = entries(&state, &config).unwrap();
        let own = entries.iter().filter(|entry| match entry {
            HistoryEntry::Run(run) => run.registry == "main",
            HistoryEntry::Collection { registry, .. } => registry == "main",
        });
        assert_eq!(own.count(), 2, "the last run and the last collection");
    }
}
