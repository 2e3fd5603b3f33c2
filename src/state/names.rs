//! The names of registries in a configuration, and their keys in the tables.
//!
//! A key never changes; a name may. How a registry is recognized is the business of [`super::registry_names`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

/// What the registries of a configuration are called in the tables.
#[derive(Debug, Clone, Default)]
pub(super) struct RegistryNames {
    pub(super) keys: BTreeMap<String, String>,
    pub(super) names: BTreeMap<String, String>,
    /// The keys of what the configuration has.
    pub(super) configured: BTreeSet<String>,
    /// Of those the ones that are noted nowhere yet, with their addresses: somebody who only looks came first.
    pub(super) unnoted: BTreeMap<String, String>,
}

impl RegistryNames {
    /// What the tables have for this name. It is the name itself as long as no configuration says otherwise.
    pub(super) fn key<'a>(&'a self, name: &'a str) -> &'a str {
        self.keys.get(name).map_or(name, String::as_str)
    }

    /// What people call what the tables have.
    pub(super) fn name(&self, key: String) -> String {
        self.names.get(&key).cloned().unwrap_or(key)
    }

    /// Notes whose key this is, before something is remembered under it: else nobody would know it again.
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
