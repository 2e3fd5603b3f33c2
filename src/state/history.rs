//! Looking back: what runs did, entry by entry, until it is too old to be kept.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension as _, Params, params};

use super::journal::{COLUMNS, entry};
use super::runs::{self, Run};
use super::{Entry, Error, State, write};
use crate::model::{Digest, RepositoryName};

/// Which runs are wanted. The default wants all.
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
    /// Only that many, the youngest.
    pub at_most: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { run: None, registry: None, since: None, until: None, at_most: u32::MAX }
    }
}

impl State {
    /// Runs, youngest first, each with its deletions in the order in which they went.
    pub fn history(&self, filter: &Filter) -> Result<Vec<(Run, Vec<Entry>)>, Error> {
        let Filter { run, registry, since, until, at_most } = filter;
        let runs = self.select_runs(
            "(?1 IS NULL OR id = ?1) AND (?2 IS NULL OR registry = ?2)
             AND (?3 IS NULL OR started >= ?3) AND (?4 IS NULL OR started <= ?4)
             ORDER BY id DESC LIMIT ?5",
            params![run, registry, since, until, at_most],
        )?;
        let with_entries = |run: Run| {
            let entries = self.select("run = ?1 AND fate <> 'gone' ORDER BY id", [run.id])?;
            Ok((run, entries))
        };
        runs.into_iter().map(with_entries).collect()
    }

    /// One run.
    pub fn run(&self, id: i64) -> Result<Option<Run>, Error> {
        Ok(self.select_runs("id = ?1", [id])?.pop())
    }

    /// Deletions of which nobody knows whether they happened.
    pub fn unanswered(&self, registry: &str) -> Result<Vec<Entry>, Error> {
        self.select("registry = ?1 AND fate = 'sent' ORDER BY id", [registry])
    }

    /// The last time that we deleted this manifest, unless it was put back since.
    pub fn last_entry(
        &self,
        registry: &str,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Entry>, Error> {
        let found = self.select(
            "registry = ?1 AND repository = ?2 AND digest = ?3
             AND fate = 'deleted' AND alone = 0 AND restored IS NULL ORDER BY id DESC LIMIT 1",
            [registry, repository.as_str(), digest.as_str()],
        )?;
        Ok(found.into_iter().next())
    }

    /// The media type and the bytes of what went.
    pub fn entry_body(&self, entry: i64) -> Result<Option<(String, Vec<u8>)>, Error> {
        let connection = self.durable();
        let mut select = connection.prepare_cached("SELECT media_type, bytes FROM body WHERE entry = ?1")?;
        Ok(select.query_row([entry], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// Drops what is older than this from the journal and from what is known of runs and collections. A
    /// deletion of which nobody knows whether it happened is never too old.
    pub fn prune(&self, older_than: DateTime<Utc>) -> Result<(), Error> {
        if !self.is_writable() {
            return Ok(());
        }
        write(self.durable(), |connection| {
            connection.execute("DELETE FROM entry WHERE at < ?1 AND fate <> 'sent'", [older_than])?;
            connection.execute(
                "DELETE FROM run WHERE started < ?1
                 AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.run = run.id)",
                [older_than],
            )?;
            connection.execute("DELETE FROM collection WHERE at < ?1", [older_than])?;
            Ok(())
        })?;
        let connection = self.durable();
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    fn select(&self, which: &str, values: impl Params) -> Result<Vec<Entry>, Error> {
        let connection = self.durable();
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE {which}");
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map(values, entry)?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn select_runs(&self, which: &str, values: impl Params) -> Result<Vec<Run>, Error> {
        let connection = self.durable();
        let sql = format!("SELECT {} FROM run WHERE {which}", runs::COLUMNS);
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map(values, runs::run)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
