//! The names of registries in a configuration, and their keys in the tables.
//!
//! A key never changes; a name may. How a registry is recognized is the business of [`super::registry_names`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

/// The names of the registries of a configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct RegistryNames {
    pub(super) keys: BTreeMap<String, String>,
    pub(super) names: BTreeMap<String, String>,
    /// The keys of all configured registries.
    pub(super) configured: BTreeSet<String>,
    /// The keys that are not recorded yet, with their addresses: a read-only command came before the first run.
    pub(super) unnoted: BTreeMap<String, String>,
}

impl RegistryNames {
    /// The key of this name. It is the name itself unless a configuration says otherwise.
    pub(super) fn key<'a>(&'a self, name: &'a str) -> &'a str {
        self.keys.get(name).map_or(name, String::as_str)
    }

    /// The present name of this key.
    pub(super) fn name(&self, key: String) -> String {
        self.names.get(&key).cloned().unwrap_or(key)
    }

    /// Records the registry of this key before anything else is stored under it. Otherwise the registry could not be
    /// recognized later.
    pub(super) fn note(&self, connection: &Connection, key: &str) -> Result<(), rusqlite::Error> {
        let Some(address) = self.unnoted.get(key) else { return Ok(()) };
        let name = self.names.get(key).map_or(key, String::as_str);
        let mut note = connection
            .prepare_cached("INSERT OR IGNORE INTO registry (key, name, address) VALUES (?1, ?2, ?3)")?;
        note.execute([key, name, address])?;
        Ok(())
    }

    /// These names, with those of before that no other registry has now: work that began with a former name goes on
    /// with it.
    pub(super) fn with_former(mut self, before: &Self) -> Self {
        for (name, key) in &before.keys {
            self.keys.entry(name.clone()).or_insert_with(|| key.clone());
        }
        self
    }
}
