//! What must survive if a collection is killed: that it stopped the registry, and what it was about to sweep.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rusqlite::types::FromSql;
use rusqlite::{OptionalExtension as _, params};

use super::error::Error;
use super::sql::{signed, unsigned};
use super::store::State;
use crate::model::Digest;

/// The unfinished work of one registry's collections.
pub struct RecoveryLog {
    state: State,
    registry: String,
}

impl State {
    /// The recovery log of one registry.
    pub fn recovery_log(&self, registry: &str) -> RecoveryLog {
        RecoveryLog::new(self.clone(), &self.key(registry))
    }
}

impl RecoveryLog {
    pub(super) fn new(state: State, registry: &str) -> Self {
        Self { state, registry: registry.to_owned() }
    }

    /// Records that the registry is about to be stopped. If it is stopped already, the earlier moment stays.
    pub fn record_stopping(&self, at: DateTime<Utc>) -> Result<(), Error> {
        let sql = "INSERT OR IGNORE INTO stopped (registry, since) VALUES (?1, ?2)";
        self.state.durably(|connection| connection.execute(sql, params![self.registry, at]).map(drop))
    }

    /// Since when the registry is down; `None` if it is not stopped, or if that is not recorded.
    pub fn down_since(&self) -> Result<Option<DateTime<Utc>>, Error> {
        self.noted("SELECT since FROM stopped WHERE registry = ?1")
    }

    /// Records when the registry was started that is about to be stopped.
    pub fn record_started_at(&self, at: &str) -> Result<(), Error> {
        let sql = "UPDATE stopped SET started = ?2 WHERE registry = ?1";
        self.state.durably(|connection| connection.execute(sql, [self.registry.as_str(), at]).map(drop))
    }

    /// When the registry was started that was to be stopped, as long as nothing can have been swept since.
    pub fn started_at(&self) -> Result<Option<String>, Error> {
        self.noted("SELECT started FROM stopped WHERE registry = ?1")
    }

    /// One column of a registry that is stopped.
    fn noted<T: FromSql>(&self, sql: &str) -> Result<Option<T>, Error> {
        let connection = self.state.durable();
        let noted = connection.query_row(sql, [&self.registry], |row| row.get::<_, Option<T>>(0));
        Ok(noted.optional()?.flatten())
    }

    /// Records that the registry answers again.
    pub fn record_restored(&self) -> Result<(), Error> {
        let sql = "DELETE FROM stopped WHERE registry = ?1";
        self.state.durably(|connection| connection.execute(sql, [&self.registry]).map(drop))
    }

    /// Whether regsweep has stopped the registry and it has not answered since.
    pub fn is_stopped(&self) -> Result<bool, Error> {
        let connection = self.state.durable();
        let mut statement = connection.prepare("SELECT 1 FROM stopped WHERE registry = ?1")?;
        Ok(statement.exists([&self.registry])?)
    }

    /// Records what is about to be swept, and which entries of the registry's cache become stale by that.
    pub fn record_sweeping(
        &self,
        blobs: &BTreeMap<Digest, u64>,
        stale: &BTreeSet<Digest>,
    ) -> Result<(), Error> {
        self.state.durably(|connection| {
            connection.execute("DELETE FROM sweep WHERE registry = ?1", [&self.registry])?;
            connection.execute("UPDATE stopped SET started = NULL WHERE registry = ?1", [&self.registry])?;
            let mut insert = connection.prepare("INSERT INTO sweep VALUES (?1, ?2, ?3)")?;
            for (digest, bytes) in blobs {
                insert.execute(params![self.registry, digest.as_str(), signed(*bytes)])?;
            }
            // Stale entries of an earlier collection stay recorded.
            let mut insert = connection.prepare("INSERT OR IGNORE INTO stale VALUES (?1, ?2)")?;
            for digest in stale {
                insert.execute(params![self.registry, digest.as_str()])?;
            }
            Ok(())
        })
    }

    /// Records that the registry's cache has no stale entries any more.
    pub fn record_cache_cleared(&self) -> Result<(), Error> {
        let sql = "DELETE FROM stale WHERE registry = ?1";
        self.state.durably(|connection| connection.execute(sql, [&self.registry]).map(drop))
    }

    /// Digests of which the registry's cache may be stale.
    pub fn stale_cache_entries(&self) -> Result<BTreeSet<Digest>, Error> {
        let connection = self.state.durable();
        let mut statement = connection.prepare("SELECT digest FROM stale WHERE registry = ?1")?;
        let rows = statement.query_map([&self.registry], |row| row.get::<_, String>(0))?;
        let digests: Vec<String> = rows.collect::<Result<_, _>>()?;
        Ok(digests.iter().filter_map(|digest| Digest::parse(digest).ok()).collect())
    }

    /// What was about to be swept and has not been counted.
    pub fn unfinished_sweep(&self) -> Result<BTreeMap<Digest, u64>, Error> {
        let connection = self.state.durable();
        let mut statement = connection.prepare("SELECT digest, bytes FROM sweep WHERE registry = ?1")?;
        let rows = statement
            .query_map([&self.registry], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
        let mut blobs = BTreeMap::new();
        for row in rows {
            let (digest, bytes) = row?;
            if let Ok(digest) = Digest::parse(&digest) {
                blobs.insert(digest, unsigned(bytes));
            }
        }
        Ok(blobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::test_support::at;

    #[test]
    fn open_ends_survive_until_they_are_closed() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = BTreeMap::from([(Digest::of(b"a"), 10), (Digest::of(b"b"), 20)]);
        {
            let recovery_log = State::open(directory.path()).unwrap().recovery_log("main");
            recovery_log.record_stopping(at(5)).unwrap();
            recovery_log.record_started_at("then").unwrap();
            recovery_log.record_stopping(at(6)).unwrap();
            assert_eq!(recovery_log.started_at().unwrap().as_deref(), Some("then"));
            recovery_log.record_sweeping(&blobs, &blobs.keys().cloned().collect()).unwrap();
        }
        let state = State::open(directory.path()).unwrap();
        let recovery_log = state.recovery_log("main");
        assert!(recovery_log.is_stopped().unwrap());
        assert_eq!(recovery_log.started_at().unwrap(), None, "it may have been swept");
        assert!(!state.recovery_log("other").is_stopped().unwrap());
        assert_eq!(recovery_log.unfinished_sweep().unwrap(), blobs);
        assert_eq!(recovery_log.down_since().unwrap(), Some(at(5)));
        assert_eq!(recovery_log.stale_cache_entries().unwrap(), blobs.keys().cloned().collect());
        assert!(state.recovery_log("other").stale_cache_entries().unwrap().is_empty());
        recovery_log.record_cache_cleared().unwrap();
        assert!(recovery_log.stale_cache_entries().unwrap().is_empty() && recovery_log.is_stopped().unwrap());
        recovery_log.record_restored().unwrap();
        assert_eq!(recovery_log.down_since().unwrap(), None);
        assert!(!recovery_log.is_stopped().unwrap());
    }
}
