//! Past runs and their deletions, until they are older than `history`.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension as _, Params, params};

use super::error::Error;
use super::journal::{COLUMNS, entry};
use super::store::State;
use super::{registry_names, runs};
use crate::model::{Digest, RepositoryName};
use crate::report::{JournalEntry, RecordedRun, RunRecord};

/// Selects past runs. The default selects all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Only this run.
    pub run: Option<i64>,
    /// Only runs of this registry.
    pub registry: Option<String>,
    /// Only runs that began then or later.
    pub since: Option<DateTime<Utc>>,
    /// Only runs that began then or earlier.
    pub until: Option<DateTime<Utc>>,
    /// At most this many, the latest.
    pub at_most: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { run: None, registry: None, since: None, until: None, at_most: u32::MAX }
    }
}

impl State {
    /// Past runs, the latest first, each with its deletions in order.
    pub fn history(&self, filter: &Filter) -> Result<Vec<RecordedRun>, Error> {
        let Filter { run, registry, since, until, at_most } = filter;
        let registry = registry.as_deref().map(|registry| self.key(registry));
        let runs = self.select_runs(
            "(?1 IS NULL OR id = ?1) AND (?2 IS NULL OR registry = ?2)
             AND (?3 IS NULL OR started >= ?3) AND (?4 IS NULL OR started <= ?4)
             ORDER BY id DESC LIMIT ?5",
            params![run, registry, since, until, at_most],
        )?;
        let with_entries = |run: RunRecord| {
            let entries = self.select("run = ?1 AND answer <> 'gone' ORDER BY id", [run.id])?;
            Ok((run, entries))
        };
        runs.into_iter().map(with_entries).collect()
    }

    /// One run.
    pub fn run(&self, id: i64) -> Result<Option<RunRecord>, Error> {
        Ok(self.select_runs("id = ?1", [id])?.pop())
    }

    /// The number of the run of a registry that began at this moment, if it is recorded.
    pub fn run_that_began(&self, registry: &str, at: DateTime<Utc>) -> Result<Option<i64>, Error> {
        let which = "registry = ?1 AND started = ?2 ORDER BY id DESC LIMIT 1";
        Ok(self.select_runs(which, params![self.key(registry), at])?.pop().map(|run| run.id))
    }

    /// Deletions of which it is not known whether they were done.
    pub fn unanswered(&self, registry: &str) -> Result<Vec<JournalEntry>, Error> {
        self.select("registry = ?1 AND answer = 'sent' ORDER BY id", [self.key(registry)])
    }

    /// The latest deletion of this manifest, unless it was restored since.
    pub fn last_entry(
        &self,
        registry: &str,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<JournalEntry>, Error> {
        let found = self.select(
            "registry = ?1 AND repository = ?2 AND digest = ?3
             AND answer = 'deleted' AND tag_only = 0 AND restored IS NULL ORDER BY id DESC LIMIT 1",
            [self.key(registry).as_str(), repository.as_str(), digest.as_str()],
        )?;
        Ok(found.into_iter().next())
    }

    /// The media type and the bytes of a deleted manifest.
    pub fn entry_body(&self, entry: i64) -> Result<Option<(String, Vec<u8>)>, Error> {
        let connection = self.durable();
        let mut select = connection.prepare_cached("SELECT media_type, bytes FROM body WHERE entry = ?1")?;
        Ok(select.query_row([entry], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// Deletes journal entries, runs, collections and plans that are older than this. An unanswered deletion is never
    /// too old.
    pub fn prune(&self, older_than: DateTime<Utc>) -> Result<(), Error> {
        if !self.is_writable() {
            return Ok(());
        }
        self.durably(|connection| {
            connection.execute("DELETE FROM entry WHERE at < ?1 AND answer <> 'sent'", [older_than])?;
            connection.execute(
                "DELETE FROM run WHERE started < ?1
                 AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.run = run.id)",
                [older_than],
            )?;
            connection.execute("DELETE FROM collection WHERE at < ?1", [older_than])?;
            connection.execute("DELETE FROM plan WHERE at < ?1", [older_than])?;
            registry_names::prune(connection, &self.names(), older_than)
        })?;
        let connection = self.durable();
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    pub(super) fn select(&self, which: &str, values: impl Params) -> Result<Vec<JournalEntry>, Error> {
        let connection = self.durable();
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE {which}");
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map(values, entry)?;
        let names = self.names();
        let named = |entry: JournalEntry| JournalEntry { registry: names.name(entry.registry), ..entry };
        Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().map(named).collect())
    }

    fn select_runs(&self, which: &str, values: impl Params) -> Result<Vec<RunRecord>, Error> {
        let connection = self.durable();
        let sql = format!("SELECT {} FROM run WHERE {which}", runs::COLUMNS);
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map(values, runs::run)?;
        self.named_runs(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{CollectionOutcome, CollectionReport, Outcome};
    use crate::state::NewJournalEntry;
    use crate::state::test_support::{at, digest, new_entry, open};

    #[test]
    fn history_is_what_was_asked_for_youngest_first() {
        let (_directory, state) = open();
        let begin = |registry: &str, moment| state.begin_run(registry, at(moment)).unwrap();
        let (first, second, third) = (begin("main", 10), begin("other", 20), begin("main", 30));
        for (run, text) in [(third, "c"), (third, "a"), (first, "b")] {
            let entry = state.record_intent(run, "main", &new_entry(text, &[], 1), at(40)).unwrap();
            if text == "a" {
                state.record_deleted(entry).unwrap();
            }
        }
        let check = |filter: Filter, expected: &[i64]| {
            let found: Vec<i64> = state.history(&filter).unwrap().iter().map(|(run, _)| run.id).collect();
            assert_eq!(found, expected, "{filter:?}");
        };
        let all = Filter::default;
        check(all(), &[third, second, first]);
        check(Filter { at_most: 2, ..all() }, &[third, second]);
        check(Filter { run: Some(second), ..all() }, &[second]);
        check(Filter { registry: Some("main".into()), ..all() }, &[third, first]);
        check(Filter { since: Some(at(20)), ..all() }, &[third, second]);
        check(Filter { until: Some(at(20)), ..all() }, &[second, first]);
        check(Filter { since: Some(at(15)), until: Some(at(25)), ..all() }, &[second]);
        let history = state.history(&all()).unwrap();
        let digests: Vec<_> = history[0].1.iter().map(|entry| entry.digest.clone()).collect();
        assert_eq!(digests, [digest("c"), digest("a")]);
        assert_eq!(history[1].1, []);
        assert_eq!(state.run(99).unwrap(), None);
    }

    #[test]
    fn prune_deletes_old_entries_except_unanswered_ones() {
        let (_directory, state) = open();
        let old = state.begin_run("main", at(0)).unwrap();
        let open = state.begin_run("main", at(1)).unwrap();
        let young = state.begin_run("main", at(20)).unwrap();
        state.finish_run(old, at(3), Outcome::Success, None).unwrap();
        let put = |run, text: &str, moment| {
            let dependents = vec![digest("child")];
            let new_entry = NewJournalEntry { dependents, ..new_entry(text, &[], 1) };
            state.record_intent(run, "main", &new_entry, at(moment)).unwrap()
        };
        let (gone, sent, recent) = (put(old, "a", 2), put(open, "b", 2), put(young, "c", 21));
        state.record_deleted(gone).unwrap();
        state.record_deleted(recent).unwrap();
        let span = std::time::Duration::ZERO;
        for moment in [5, 25] {
            let outcome = CollectionOutcome::Failed;
            let collected = CollectionReport {
                at: at(moment),
                outcome,
                duration: span,
                downtime: span,
                blobs: 0,
                bytes: 0,
                error: None,
            };
            state.finish_collection("main", &collected).unwrap();
        }
        state.prune(at(10)).unwrap();
        let history = state.history(&Filter::default()).unwrap();
        let kept: Vec<_> = history
            .iter()
            .map(|(run, entries)| (run.id, entries.iter().map(|entry| entry.id).collect::<Vec<_>>()))
            .collect();
        assert_eq!(kept, [(young, vec![recent]), (open, vec![sent])]);
        assert_eq!(state.entry_body(gone).unwrap(), None);
        let count = |table: &str| -> i64 {
            state.durable().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("leftover"), count("collection"), count("body")), (2, 1, 2));
    }

    #[test]
    fn prune_frees_disk_space() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        for number in 0..20 {
            let new_entry =
                NewJournalEntry { body: vec![7; 20_000], ..new_entry(&number.to_string(), &[], 1) };
            let entry = state.record_intent(run, "main", &new_entry, at(1)).unwrap();
            state.record_deleted(entry).unwrap();
        }
        let pages =
            || -> i64 { state.durable().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap() };
        let full = pages();
        state.prune(at(2)).unwrap();
        assert!(pages() < full / 2, "{} of {full}", pages());
    }
}
