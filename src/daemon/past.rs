//! What the state says of the time before a restart, as metrics and the page go on from it, and of what was
//! found out later.

use chrono::{DateTime, Utc};

use super::service::{Service, lock};
use crate::config::Config;
use crate::gc;
use crate::http::{HistoryEntry, RunEntry};
use crate::report::{CollectionOutcome, Outcome, RunRecord};
use crate::state::{self, RegistrySummary, State, TotalKind};

/// So many runs and collections of before a restart are shown again.
const REMEMBERED: u32 = 100;

/// The last runs and collections, oldest first. Of each registry the last ones are among them, however long ago that was.
pub(super) fn entries(state: &State, config: &Config) -> Result<Vec<HistoryEntry>, state::Error> {
    let mut past: Vec<(DateTime<Utc>, HistoryEntry)> = Vec::new();
    let mut runs = state.runs(REMEMBERED)?;
    let mut collections = state.collections(REMEMBERED)?;
    for registry in &config.registries {
        let last = state.last_run(&registry.name, None)?;
        runs.extend(last.filter(|last| !runs.iter().any(|run| run.id == last.id)));
        if !collections.iter().any(|one| one.registry == registry.name) {
            collections.extend(state.last_collection(&registry.name)?);
        }
    }
    for run in runs {
        if let Some(run) = remembered(state, run)? {
            past.push((run.at, HistoryEntry::Run(run)));
        }
    }
    for state::Collection { registry, collected } in collections {
        past.push((collected.at, HistoryEntry::Collection { registry, collected }));
    }
    past.sort_by_key(|(at, _)| *at);
    Ok(past.into_iter().map(|(_, entry)| entry).collect())
}

/// Lets metrics and page go on with a registry from what the state knows of it.
pub(super) fn go_on(service: &Service, registry: &str) -> Result<(), state::Error> {
    let state = &service.state;
    let mut summary = summary(state, registry)?;
    if lock(&service.jobs).is_busy(registry) {
        // What a run under way has deleted is counted when it ends, and so is what nobody had counted before.
        summary.deleted.clear();
    }
    service.metrics.restore(registry, &summary);
    let run = state.last_run(registry, None)?;
    let run = run.map(|run| remembered(state, run)).transpose()?.flatten();
    let collected = state.last_collection(registry)?.map(|one| one.collected);
    if summary.last_collection_succeeded == Some(false) {
        service.try_collection_again(registry);
    }
    service.status_store.restore(registry, &summary, run, collected);
    show_plan(service, registry)
}

/// What the counters of a registry go on from.
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
    // One that a stop kept from beginning tells nothing. Any other that was skipped found too little to free, and so could
    // have been made.
    let last = state.last_collection_but_for(registry, &gc::Error::NotBegun.to_string())?;
    summary.last_collection_succeeded = last.map(|last| last.collected.outcome != CollectionOutcome::Failed);
    Ok(summary)
}

/// Shows the latest plan of a registry again, and what stood before the run that made it.
pub(super) fn show_plan(service: &Service, registry: &str) -> Result<(), state::Error> {
    if let Some(plan) = service.state.last_plan(registry)? {
        service.metrics.planned(&plan);
        service.status_store.planned(plan);
    }
    if let Some(summary) = service.state.last_summary(registry)? {
        service.metrics.refused(registry, &summary.refusals);
    }
    Ok(())
}

/// Counts what a run found out about deletions of earlier ones, whose answers were lost. Only after a run: what
/// one that is under way does is counted when it ends.
pub(super) fn catch_up(service: &Service, registry: &str) {
    match summary(&service.state, registry) {
        Ok(summary) => {
            service.metrics.raise_deleted(registry, &summary);
            service.status_store.raise_deleted(registry, &summary);
        }
        Err(error) => tracing::error!(registry, %error, "the state cannot be read"),
    }
}

/// A run that the state knows, as the page shows it; `None` for one that was cut off.
fn remembered(state: &State, run: RunRecord) -> Result<Option<RunEntry>, state::Error> {
    let (Some(finished), Some(outcome)) = (run.finished, run.outcome) else { return Ok(None) };
    let summary = state.run_summary(run.id)?;
    // Nothing was noted of one that did nothing, nor by older versions of any.
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
    fn what_was_last_is_found_behind_any_number_of_others() {
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
