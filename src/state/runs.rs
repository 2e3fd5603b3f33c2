//! Runs and collections: how each began and ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension as _, Params, Row, params};

use super::error::Error;
use super::journal;
use super::sql::{signed, unsigned};
use super::store::State;
use super::totals::{TotalKind, add};
use crate::report::{CollectionOutcome, CollectionReport, Outcome, RunRecord};

/// A collection that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    /// The registry.
    pub registry: String,
    /// What it did.
    pub collected: CollectionReport,
}

impl State {
    /// Records that a run begins, and returns its number.
    pub fn begin_run(&self, registry: &str, started: DateTime<Utc>) -> Result<i64, Error> {
        let registry = self.key(registry);
        self.durably(|connection| {
            connection
                .execute("INSERT INTO run (registry, started) VALUES (?1, ?2)", params![registry, started])?;
            Ok(connection.last_insert_rowid())
        })
    }

    /// Records how a run ended.
    pub fn finish_run(
        &self,
        run: i64,
        finished: DateTime<Utc>,
        outcome: Outcome,
        error: Option<&str>,
    ) -> Result<(), Error> {
        self.durably(|connection| {
            connection.execute(
                "UPDATE run SET finished = ?2, outcome = ?3, error = ?4 WHERE id = ?1",
                params![run, finished, outcome.name(), error],
            )?;
            Ok(())
        })
    }

    /// Records how a collection ended. After a successful one there is nothing to reclaim; otherwise only what it
    /// freed is subtracted. Its sweep is not unfinished any more.
    pub fn finish_collection(&self, registry: &str, collected: &CollectionReport) -> Result<(), Error> {
        let CollectionReport { at, outcome, duration, downtime, blobs, bytes, error } = collected;
        let registry = self.key(registry);
        let registry = registry.as_str();
        self.durably(|connection| {
            connection.execute(
                "INSERT INTO collection (registry, at, outcome, duration, downtime, blobs, bytes, error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    registry,
                    at,
                    outcome.name(),
                    duration.as_secs_f64(),
                    downtime.as_secs_f64(),
                    signed(*blobs),
                    signed(*bytes),
                    error
                ],
            )?;
            add(connection, TotalKind::ReclaimedBlobs, registry, "", *blobs)?;
            add(connection, TotalKind::ReclaimedBytes, registry, "", *bytes)?;
            connection.execute("DELETE FROM sweep WHERE registry = ?1", [registry])?;
            let freed = match outcome {
                CollectionOutcome::Success => i64::MAX,
                CollectionOutcome::Failed | CollectionOutcome::Skipped => signed(*bytes),
            };
            connection.execute(
                "UPDATE total SET value = max(0, value - ?3) WHERE kind = ?1 AND registry = ?2",
                params![TotalKind::Reclaimable.name(), registry, freed],
            )?;
            if *outcome == CollectionOutcome::Success {
                journal::collected(connection, registry, *at)?;
            }
            Ok(())
        })
    }

    /// The latest runs, the latest first.
    pub fn runs(&self, at_most: u32) -> Result<Vec<RunRecord>, Error> {
        let connection = self.durable();
        let sql = format!("SELECT {COLUMNS} FROM run ORDER BY id DESC LIMIT ?1");
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([at_most], run)?;
        self.named_runs(rows)
    }

    /// Runs with the present names of their registries.
    pub(super) fn named_runs(
        &self,
        runs: impl Iterator<Item = Result<RunRecord, rusqlite::Error>>,
    ) -> Result<Vec<RunRecord>, Error> {
        let names = self.names();
        let named = |run: RunRecord| RunRecord { registry: names.name(run.registry), ..run };
        Ok(runs.map(|run| run.map(named)).collect::<Result<_, _>>()?)
    }

    /// The latest collections, the latest first.
    pub fn collections(&self, at_most: u32) -> Result<Vec<Collection>, Error> {
        self.select_collections("TRUE ORDER BY id DESC LIMIT ?1", [at_most])
    }

    fn select_collections(&self, which: &str, values: impl Params) -> Result<Vec<Collection>, Error> {
        let names = self.names();
        let connection = self.durable();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT registry, at, outcome, duration, downtime, blobs, bytes, error
             FROM collection WHERE {which}"
        ))?;
        let rows = statement.query_map(values, |row| {
            let name: String = row.get(2)?;
            let outcome = CollectionOutcome::ALL.into_iter().find(|outcome| outcome.name() == name);
            let span = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
            let collected = CollectionReport {
                at: row.get(1)?,
                outcome: outcome.unwrap_or(CollectionOutcome::Failed),
                duration: span(row.get(3)?),
                downtime: span(row.get(4)?),
                blobs: unsigned(row.get(5)?),
                bytes: unsigned(row.get(6)?),
                error: row.get(7)?,
            };
            Ok(Collection { registry: names.name(row.get(0)?), collected })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The latest run of a registry with this outcome; without one, the latest that has ended and was not skipped.
    pub fn last_run(&self, registry: &str, outcome: Option<Outcome>) -> Result<Option<RunRecord>, Error> {
        let registry = self.key(registry);
        let connection = self.durable();
        let sql = format!(
            "SELECT {COLUMNS} FROM run WHERE registry = ?1 AND finished IS NOT NULL
             AND outcome IS NOT NULL AND CASE WHEN ?2 IS NULL THEN outcome <> 'skipped' ELSE outcome = ?2 END
             ORDER BY id DESC LIMIT 1"
        );
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map(params![registry, outcome.map(Outcome::name)], run)?;
        Ok(self.named_runs(rows)?.pop())
    }

    /// The latest collection of a registry.
    pub fn last_collection(&self, registry: &str) -> Result<Option<Collection>, Error> {
        let registry = self.key(registry);
        self.select_collections("registry = ?1 ORDER BY id DESC LIMIT 1", [registry])
            .map(|mut found| found.pop())
    }

    /// The latest collection of a registry that did not end with this error.
    pub fn last_collection_but_for(&self, registry: &str, error: &str) -> Result<Option<Collection>, Error> {
        let which = "registry = ?1 AND error IS NOT ?2 ORDER BY id DESC LIMIT 1";
        Ok(self.select_collections(which, [self.key(registry).as_str(), error])?.pop())
    }

    /// When the latest collection of a registry with this outcome ended.
    pub fn last_collection_that(
        &self,
        registry: &str,
        outcome: CollectionOutcome,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        let registry = self.key(registry);
        let connection = self.durable();
        let sql = "SELECT at FROM collection WHERE registry = ?1 AND outcome = ?2 ORDER BY id DESC LIMIT 1";
        let mut select = connection.prepare_cached(sql)?;
        Ok(select.query_row([registry.as_str(), outcome.name()], |row| row.get(0)).optional()?)
    }

    /// The registries that a collection has stopped and that have not answered since.
    pub fn stopped(&self) -> Result<Vec<String>, Error> {
        let connection = self.durable();
        let names = self.names();
        let mut statement = connection.prepare("SELECT registry FROM stopped")?;
        let rows = statement.query_map([], |row| row.get(0).map(|key| names.name(key)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The columns that [`run`] reads.
pub(super) const COLUMNS: &str = "id, registry, started, finished, outcome, deleted, untagged, error";

/// Reads a run.
pub(super) fn run(row: &Row<'_>) -> Result<RunRecord, rusqlite::Error> {
    let outcome: Option<String> = row.get(4)?;
    Ok(RunRecord {
        id: row.get(0)?,
        registry: row.get(1)?,
        started: row.get(2)?,
        finished: row.get(3)?,
        outcome: outcome.as_deref().and_then(noted),
        deleted: unsigned(row.get(5)?),
        untagged: unsigned(row.get(6)?),
        error: row.get(7)?,
    })
}

/// The recorded outcome of a run. Skipped runs are not recorded: an older version wrote that of a run that was
/// interrupted while it scanned.
fn noted(name: &str) -> Option<Outcome> {
    let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == name)?;
    Some(if outcome == Outcome::Skipped { Outcome::Interrupted } else { outcome })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::NewJournalEntry;
    use crate::state::test_support::new_entry;

    fn depart(state: &State, run: i64, new_entry: NewJournalEntry) {
        let entry = state.record_intent(run, "main", &new_entry, at(1)).unwrap();
        state.record_deleted(entry).unwrap();
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn collected(outcome: CollectionOutcome, bytes: u64) -> CollectionReport {
        CollectionReport {
            at: at(20),
            outcome,
            duration: Duration::from_millis(2500),
            downtime: Duration::from_millis(1500),
            blobs: 2,
            bytes,
            error: Some("x".into()),
        }
    }

    fn total(state: &State, kind: TotalKind) -> u64 {
        let totals = state.totals().unwrap();
        totals.iter().filter(|total| total.kind == kind).map(|total| total.value).sum()
    }

    #[test]
    fn runs_and_totals_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let run = state.begin_run("main", at(0)).unwrap();
        depart(&state, run, new_entry("a", &["x", "y"], 100));
        depart(&state, run, new_entry("b", &["z"], 50));
        depart(&state, run, NewJournalEntry { tag_only: true, ..new_entry("c", &["w"], 70) });
        state.finish_run(run, at(5), Outcome::Success, None).unwrap();
        drop(state);
        let state = State::open(directory.path()).unwrap();
        assert_eq!(state.reclaimable("main").unwrap(), 150);
        assert_eq!(total(&state, TotalKind::DeletedManifests), 2);
        assert_eq!(total(&state, TotalKind::DeletedTags), 4);
        let expected = RunRecord {
            id: run,
            registry: "main".into(),
            started: at(0),
            finished: Some(at(5)),
            outcome: Some(Outcome::Success),
            deleted: 2,
            untagged: 1,
            error: None,
        };
        assert_eq!(state.runs(9).unwrap(), [expected]);
    }

    #[test]
    fn outcome_skipped_of_older_versions_means_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let words = ["skipped", "interrupted", "partial", "a word of a later version"];
        for word in words {
            let run = state.begin_run("main", at(0)).unwrap();
            state.finish_run(run, at(1), Outcome::Success, None).unwrap();
            state.durable().execute("UPDATE run SET outcome = ?1 WHERE id = ?2", params![word, run]).unwrap();
        }
        let outcomes: Vec<_> = state.runs(9).unwrap().into_iter().rev().map(|run| run.outcome).collect();
        let (interrupted, partial) = (Some(Outcome::Interrupted), Some(Outcome::Partial));
        assert_eq!(outcomes, [interrupted, interrupted, partial, None]);
    }

    #[test]
    fn collection_reduces_what_is_reclaimable() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let run = state.begin_run("main", at(0)).unwrap();
        depart(&state, run, new_entry("a", &["x"], 150));
        state.finish_collection("main", &collected(CollectionOutcome::Failed, 40)).unwrap();
        assert_eq!(state.reclaimable("main").unwrap(), 110);
        let last = collected(CollectionOutcome::Success, 90);
        state.finish_collection("main", &last).unwrap();
        assert_eq!(state.reclaimable("main").unwrap(), 0);
        assert_eq!(total(&state, TotalKind::ReclaimedBytes), 130);
        assert_eq!(total(&state, TotalKind::ReclaimedBlobs), 4);
        let expected = Collection { registry: "main".into(), collected: last };
        assert_eq!(state.collections(1).unwrap(), [expected]);
    }
}
