//! Which data belong to which registry of a configuration.
//!
//! The tables name a registry by its key, which never changes; its name and its address may. A registry is recognized
//! by its address, else by a former name that its configuration lists (`was`), else by its name.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::error::Error;
use super::names::RegistryNames;
use super::sql::json;
use super::store::State;
use crate::config::{Config, Registry};

/// Every key that has data, with the latest name and address in a configuration. In files of versions without keys,
/// the name of that time is the key.
const KNOWN: &str = "
    SELECT key, name, address FROM registry
    UNION ALL
    SELECT registry, registry, NULL FROM (
        SELECT registry FROM run UNION SELECT registry FROM collection UNION SELECT registry FROM total
        UNION SELECT registry FROM repository UNION SELECT registry FROM entry UNION SELECT registry FROM stopped
        UNION SELECT registry FROM sweep UNION SELECT registry FROM stale
    ) WHERE registry NOT IN (SELECT key FROM registry)
    ORDER BY 1";

/// Whether a registry has any data.
const IS_MISSED: &str = "
    SELECT EXISTS (SELECT 1 FROM repository WHERE registry = ?1) OR EXISTS (SELECT 1 FROM entry WHERE registry = ?1)
        OR EXISTS (SELECT 1 FROM run WHERE registry = ?1) OR EXISTS (SELECT 1 FROM stopped WHERE registry = ?1)
        OR EXISTS (SELECT 1 FROM sweep WHERE registry = ?1) OR EXISTS (SELECT 1 FROM stale WHERE registry = ?1)";

/// How the registries in the state match those of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryChanges {
    /// Registries that have another name now: the old and the new one.
    pub renamed: Vec<(String, String)>,
    /// Registries that the configuration does not have.
    pub unknown: Vec<UnconfiguredRegistry>,
}

/// A registry that has data and is not in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnconfiguredRegistry {
    /// Its latest name.
    pub name: String,
    /// Its latest address; `None` if only an older version recorded it.
    pub address: Option<String>,
    /// Whether a collection has stopped it and it has not answered since.
    pub is_stopped: bool,
}

impl std::fmt::Display for UnconfiguredRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, address, is_stopped } = self;
        let place = address.as_ref().map(|address| format!(" (at {address})")).unwrap_or_default();
        write!(f, "the state has data of a registry {name}{place}, which the configuration does not have")?;
        if *is_stopped {
            f.write_str(
                ": a collection stopped it and was cut off, and nothing starts it now: start it by hand",
            )?;
        }
        write!(
            f,
            ": if it has another name and another address now, write `was: {name}` in its new entry, so that ages, \
             history and undo go on; if it is gone for good, write `retired: {name}` at the top level"
        )
    }
}

/// A key with its last name and address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    key: String,
    name: String,
    address: Option<String>,
}

/// A registry of the configuration, with its keys. The first key stays.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    name: String,
    address: String,
    keys: Vec<String>,
    /// Its former names.
    former: Vec<String>,
}

/// The names, and the changes to report.
struct Matched {
    names: RegistryNames,
    changes: RegistryChanges,
}

impl State {
    /// Matches the registries in the state with this configuration, and records their names.
    pub fn adopt_names(&self, config: &Config) -> Result<RegistryChanges, Error> {
        if !self.is_writable() {
            return self.match_names(config);
        }
        let Matched { names, changes } = self.durably(|connection| {
            let (owners, unmatched) = match_keys(known(connection)?, &config.registries);
            for (first, others) in owners.iter().filter_map(|owner| owner.keys.split_first()) {
                others.iter().try_for_each(|other| merge(connection, other, first))?;
            }
            let mut note = connection.prepare(
                "INSERT INTO registry (key, name, address) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET name = excluded.name, address = excluded.address",
            )?;
            for owner in &owners {
                note.execute(params![owner.keys.first(), owner.name, owner.address])?;
            }
            // Also of unmatched ones, whose name another registry may have now.
            let mut rename = connection.prepare("UPDATE registry SET name = ?2 WHERE key = ?1")?;
            for entry in &unmatched {
                rename.execute([&entry.key, &entry.name])?;
            }
            matched(connection, owners, unmatched, config)
        })?;
        self.set_names(names);
        Ok(changes)
    }

    /// The same for read-only commands: nothing is recorded.
    pub fn match_names(&self, config: &Config) -> Result<RegistryChanges, Error> {
        let Matched { names, changes } = {
            let connection = self.durable();
            let (owners, unmatched) = match_keys(known(&connection)?, &config.registries);
            matched(&connection, owners, unmatched, config)?
        };
        self.set_names(names);
        Ok(changes)
    }

    /// The present names of the registries that this configuration would rename.
    pub fn would_rename(&self, config: &Config) -> Result<BTreeSet<String>, Error> {
        let connection = self.durable();
        let known = known(&connection)?;
        let (owners, unmatched) = match_keys(known.clone(), &config.registries);
        let next = matched(&connection, owners, unmatched, config)?.names;
        let is_other = |entry: &Known| next.names.get(&entry.key).is_some_and(|name| *name != entry.name);
        Ok(known.into_iter().filter(is_other).map(|entry| entry.name).collect())
    }

    /// Whether this is a former name of a registry.
    pub fn is_renamed(&self, name: &str) -> bool {
        let names = self.names();
        names.names.get(names.key(name)).is_some_and(|now| now != name)
    }
}

/// Deletes the scan history of registries that no configuration has had since then.
pub(super) fn prune(
    connection: &Connection,
    names: &RegistryNames,
    older_than: DateTime<Utc>,
) -> Result<(), rusqlite::Error> {
    // Without a configuration it is not known which registries are configured.
    if names.configured.is_empty() {
        return Ok(());
    }
    let keys = json(&names.configured);
    connection.execute(
        "DELETE FROM repository WHERE last_scan < ?1 AND registry NOT IN (SELECT value FROM json_each(?2))",
        params![older_than, keys],
    )?;
    Ok(())
}

fn known(connection: &Connection) -> Result<Vec<Known>, rusqlite::Error> {
    let mut select = connection.prepare(KNOWN)?;
    let rows = select
        .query_map([], |row| Ok(Known { key: row.get(0)?, name: row.get(1)?, address: row.get(2)? }))?;
    rows.collect()
}

impl Owner {
    /// The key of the oldest data comes first.
    fn take(&mut self, known: Known) {
        if known.name != self.name {
            self.former.push(known.name);
        }
        self.keys.insert(0, known.key);
    }
}

/// Assigns the known keys to the registries of a configuration. A key that matches none of them keeps a name of its
/// own.
fn match_keys(known: Vec<Known>, registries: &[Registry]) -> (Vec<Owner>, Vec<Known>) {
    let mut owners: Vec<Owner> = registries
        .iter()
        .map(|registry| Owner {
            name: registry.name.clone(),
            address: registry.address(),
            keys: Vec::new(),
            former: Vec::new(),
        })
        .collect();
    let taken: BTreeSet<String> = known.iter().map(|entry| entry.key.clone()).collect();
    let names: BTreeSet<String> = known.iter().map(|entry| entry.name.clone()).collect();
    // By addresses first; otherwise two registries that have exchanged their names would exchange their histories.
    let (found, rest): (Vec<Known>, Vec<Known>) = known
        .into_iter()
        .partition(|entry| owners.iter().any(|owner| entry.address.as_ref() == Some(&owner.address)));
    for entry in found {
        let owner = owners.iter_mut().find(|owner| entry.address.as_ref() == Some(&owner.address));
        if let Some(owner) = owner {
            owner.take(entry);
        }
    }
    let mut unmatched = Vec::new();
    for entry in rest {
        let is_configured = registries.iter().any(|registry| registry.name == entry.name);
        // The name that is shown for it if another registry has its name now.
        let shown_name = is_configured
            .then(|| format!("{}@{}", entry.name, entry.address.as_deref().unwrap_or("its former address")));
        let former = registries.iter().zip(&owners).position(|(registry, owner)| {
            let is_new = owner.keys.is_empty() && !names.contains(&registry.name);
            registry.was.contains(&entry.name) && (is_new || !is_configured)
                || shown_name.as_ref().is_some_and(|shown_name| registry.was.contains(shown_name))
        });
        // A registry of that name that is known by its address is another one.
        let same = owners.iter().position(|owner| owner.name == entry.name && owner.keys.is_empty());
        match former.or(same) {
            Some(position) => owners[position].take(entry),
            None => unmatched.push(match shown_name {
                Some(shown_name) => Known { name: shown_name, ..entry },
                None => entry,
            }),
        }
    }
    for owner in owners.iter_mut().filter(|owner| owner.keys.is_empty()) {
        let spares = std::iter::once(owner.name.clone())
            .chain((1_u32..).map(|number| format!("{}@{} {number}", owner.name, owner.address)));
        owner.keys.extend(spares.into_iter().find(|key| !taken.contains(key)));
    }
    (owners, unmatched)
}

/// The names that follow, and the changes to report.
fn matched(
    connection: &Connection,
    owners: Vec<Owner>,
    unmatched: Vec<Known>,
    config: &Config,
) -> Result<Matched, rusqlite::Error> {
    let mut names = RegistryNames::default();
    let mut renamed = Vec::new();
    let mut is_noted = connection.prepare("SELECT EXISTS (SELECT 1 FROM registry WHERE key = ?1)")?;
    for Owner { name, address, keys, former } in owners {
        if let Some(first) = keys.first()
            && !is_noted.query_row([first], |row| row.get(0))?
        {
            names.unnoted.insert(first.clone(), address);
        }
        names.keys.extend(keys.first().map(|key| (name.clone(), key.clone())));
        names.configured.extend(keys.iter().cloned());
        // Keys that are still to be merged into the first belong to the same registry.
        names.names.extend(keys.into_iter().map(|key| (key, name.clone())));
        renamed.extend(former.into_iter().map(|former| (former, name.clone())));
    }
    let mut is_missed = connection.prepare(IS_MISSED)?;
    let mut is_stopped = connection.prepare("SELECT EXISTS (SELECT 1 FROM stopped WHERE registry = ?1)")?;
    let mut unknown = Vec::new();
    for Known { key, name, address } in unmatched {
        let stopped: bool = is_stopped.query_row([&key], |row| row.get(0))?;
        let missed: bool = is_missed.query_row([&key], |row| row.get(0))?;
        if (stopped || missed) && !config.retired.contains(&name) {
            unknown.push(UnconfiguredRegistry { name: name.clone(), address, is_stopped: stopped });
        }
        names.keys.insert(name.clone(), key.clone());
        names.names.insert(key, name);
    }
    Ok(Matched { names, changes: RegistryChanges { renamed, unknown } })
}

/// Merges the data of two keys of the same registry: an observation counts from the earlier one, and the present
/// content is that of the later scan.
fn merge(connection: &Connection, from: &str, into: &str) -> Result<(), rusqlite::Error> {
    let both = [from, into];
    for table in ["run", "collection", "entry", "leftover", "sweep", "stale", "stopped", "plan"] {
        connection
            .execute(&format!("UPDATE OR IGNORE {table} SET registry = ?2 WHERE registry = ?1"), both)?;
        connection.execute(&format!("DELETE FROM {table} WHERE registry = ?1"), [from])?;
    }
    connection.execute(
        "INSERT INTO total (kind, registry, policy, value)
         SELECT kind, ?2, policy, value FROM total WHERE registry = ?1
         ON CONFLICT (kind, registry, policy) DO UPDATE SET value = value + excluded.value",
        both,
    )?;
    connection.execute("DELETE FROM total WHERE registry = ?1", [from])?;
    let mut pairs = connection.prepare(
        "SELECT old.id, new.id, old.last_scan > new.last_scan FROM repository AS old
         JOIN repository AS new ON new.name = old.name WHERE old.registry = ?1 AND new.registry = ?2",
    )?;
    let pairs = pairs.query_map(both, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for (from, into, is_later) in pairs.collect::<Result<Vec<(i64, i64, bool)>, _>>()? {
        merge_repository(connection, from, into, is_later)?;
    }
    connection.execute("UPDATE repository SET registry = ?2 WHERE registry = ?1", both)?;
    connection.execute("DELETE FROM registry WHERE key = ?1", [from])?;
    Ok(())
}

fn merge_repository(
    connection: &Connection,
    from: i64,
    into: i64,
    is_later: bool,
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "UPDATE repository SET
             first_scan = coalesce(min(repository.first_scan, old.first_scan), repository.first_scan, old.first_scan),
             last_scan = max(repository.last_scan, old.last_scan)
         FROM (SELECT first_scan, last_scan FROM repository WHERE id = ?1) AS old WHERE repository.id = ?2",
        [from, into],
    )?;
    if is_later {
        connection.execute("DELETE FROM tag WHERE repository = ?1", [into])?;
        connection.execute("UPDATE tag SET repository = ?2 WHERE repository = ?1", [from, into])?;
    }
    connection.execute(
        "INSERT INTO observation (repository, manifest, noticed, left_at, restored)
         SELECT ?2, manifest, noticed, left_at, restored FROM observation WHERE repository = ?1
         ON CONFLICT (repository, manifest) DO UPDATE SET
             noticed = min(noticed, excluded.noticed),
             left_at = CASE WHEN ?3 THEN excluded.left_at ELSE left_at END,
             restored = coalesce(max(restored, excluded.restored), restored, excluded.restored)",
        params![from, into, is_later],
    )?;
    connection.execute(
        "INSERT OR IGNORE INTO seen_subject SELECT ?2, digest FROM seen_subject WHERE repository = ?1",
        [from, into],
    )?;
    connection.execute("DELETE FROM repository WHERE id = ?1", [from])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::model::{FirstScan, Observation, ScanHistory};
    use crate::state::test_support::{at, digest, name, new_entry, open, tag};

    /// A configuration with these registries: name, address and former name.
    fn config(registries: &[(&str, &str, &str)], retired: &str) -> Config {
        let mut text = format!("retired: [{retired}]\nregistries:\n");
        for (name, host, was) in registries {
            text += &format!("- {{ name: {name}, url: 'https://{host}', was: [{was}] }}\n");
        }
        text +=
            "policies: [{ name: all, repositories: '.*', rules: [{ name: r, tags: '.*', keep: all }] }]\n";
        parse(&text, "f", &|_| None).unwrap_or_else(|error| panic!("{error}"))
    }

    fn history(first: i64, noticed: i64) -> ScanHistory {
        let mut history = ScanHistory { first_scan: FirstScan::At(at(first)), ..ScanHistory::default() };
        let observation = Observation { noticed: at(noticed), untagged_since: None, restored: None };
        history.observations.insert(digest("a"), observation);
        history
    }

    fn save_history(state: &State, registry: &str, history: &ScanHistory, seconds: i64) {
        state.save_scan_history(registry, &name(), &ScanHistory::default(), history, at(seconds)).unwrap();
    }

    /// Which registry has the data of which after these configurations. Each registry records its own name at first.
    #[track_caller]
    fn check(configs: &[&[(&str, &str, &str)]], expected: &[(&str, &str)], unknown: &[&str]) {
        let (_directory, state) = open();
        for (number, registries) in configs.iter().enumerate() {
            let config = config(registries, "");
            let changes = state.adopt_names(&config).unwrap();
            for registry in config.registries.iter().filter(|_| number == 0) {
                let run = state.begin_run(&registry.name, at(0)).unwrap();
                state.finish_run(run, at(1), crate::report::Outcome::Success, Some(&registry.name)).unwrap();
            }
            if number + 1 == configs.len() {
                let names: Vec<String> = changes.unknown.into_iter().map(|entry| entry.name).collect();
                assert_eq!(names, unknown);
            }
        }
        let mut found: Vec<(String, String)> =
            state.runs(9).unwrap().into_iter().map(|run| (run.error.unwrap(), run.registry)).collect();
        found.sort();
        let found: Vec<(&str, &str)> = found.iter().map(|(old, new)| (old.as_str(), new.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn registry_is_recognized_by_its_address() {
        check(&[&[("a", "x", "")], &[("b", "x", "")]], &[("a", "b")], &[]);
        check(&[&[("a", "x", "")], &[("b", "x", "")], &[("a", "x", "")]], &[("a", "a")], &[]);
        // The name is now that of another registry.
        check(&[&[("a", "x", "")], &[("a", "y", ""), ("b", "x", "")]], &[("a", "b")], &[]);
        // Two registries have exchanged their names.
        let swapped = [("a", "y", ""), ("b", "x", "")];
        check(&[&[("a", "x", ""), ("b", "y", "")], &swapped], &[("a", "b"), ("b", "a")], &[]);
        check(&[&[("a", "x", ""), ("b", "y", "")], &swapped, &swapped], &[("a", "b"), ("b", "a")], &[]);
    }

    #[test]
    fn registry_that_moves_is_recognized_by_its_name_or_a_former_one() {
        check(&[&[("a", "x", "")], &[("a", "y", "")]], &[("a", "a")], &[]);
        check(&[&[("a", "x", "")], &[("b", "y", "a")]], &[("a", "b")], &[]);
        check(&[&[("a", "x", "")], &[("b", "y", "a")], &[("b", "z", "a")]], &[("a", "b")], &[]);
        // It makes no difference that another registry has the name, then or later.
        let taken = [("b", "y", "a"), ("a", "z", "")];
        check(&[&[("a", "x", "")], &taken], &[("a", "b")], &[]);
        check(&[&[("a", "x", "")], &taken, &[("b", "y", "a"), ("a", "w", "")]], &[("a", "b")], &[]);
        // The change was configured only later.
        check(&[&[("a", "x", "")], &[("b", "y", "")], &[("b", "y", "a")]], &[("a", "b")], &[]);
    }

    #[test]
    fn unmatched_data_is_reported() {
        check(&[&[("a", "x", "")], &[("b", "y", "")]], &[("a", "a")], &["a"]);
        // One was renamed, and the address of the other was reused.
        check(
            &[&[("a", "x", ""), ("b", "y", "")], &[("b", "x", "")]],
            &[("a", "b"), ("b", "b@y:443")],
            &["b@y:443"],
        );
        // It is known by what it was told as, also where nothing has noted that yet.
        check(
            &[&[("a", "x", ""), ("b", "y", "")], &[("b", "x", ""), ("c", "z", "b@y:443")]],
            &[("a", "b"), ("b", "c")],
            &[],
        );
        let (_directory, state) = open();
        state.adopt_names(&config(&[("a", "x", "")], "")).unwrap();
        state.recovery_log("a").record_stopping(at(0)).unwrap();
        let unknown = state.adopt_names(&config(&[("b", "y", "")], "")).unwrap().unknown;
        let expected =
            UnconfiguredRegistry { name: "a".into(), address: Some("x:443".into()), is_stopped: true };
        assert_eq!(unknown, [expected]);
        assert_eq!(state.match_names(&config(&[("b", "y", "")], "a")).unwrap().unknown, []);
        assert_eq!(
            state.adopt_names(&config(&[("b", "x", "")], "")).unwrap().renamed,
            [("a".into(), "b".into())]
        );
        assert_eq!(state.stopped().unwrap(), ["b"]);
    }

    #[test]
    fn read_only_match_is_the_same_and_records_nothing() {
        let (directory, state) = open();
        state.adopt_names(&config(&[("a", "x", "")], "")).unwrap();
        save_history(&state, "a", &history(3, 4), 5);
        let next = config(&[("b", "x", "")], "");
        let view = State::open_to_read(directory.path()).unwrap().unwrap();
        assert!(!view.is_writable());
        view.match_names(&next).unwrap();
        assert_eq!(view.load_scan_history("b", &name()).unwrap(), history(3, 4));
        assert_eq!(state.would_rename(&next).unwrap(), BTreeSet::from(["a".to_owned()]));
        assert_eq!(state.load_scan_history("a", &name()).unwrap(), history(3, 4));
        state.adopt_names(&next).unwrap();
        assert_eq!(state.would_rename(&next).unwrap(), BTreeSet::new());
    }

    #[test]
    fn registry_first_scanned_by_a_read_only_command_is_recognized() {
        let (directory, state) = open();
        state.adopt_names(&config(&[("a", "x", "")], "")).unwrap();
        save_history(&state, "a", &history(3, 4), 5);
        drop(state);
        // The name goes to another registry, and a read-only command sees that before a run does.
        let next = config(&[("a", "y", ""), ("b", "x", "")], "");
        let reader = State::open_to_read(directory.path()).unwrap().unwrap();
        assert!(reader.is_writable());
        reader.match_names(&next).unwrap();
        save_history(&reader, "a", &history(20, 21), 22);
        drop(reader);
        let state = State::open(directory.path()).unwrap();
        assert_eq!(state.adopt_names(&next).unwrap().unknown, []);
        assert_eq!(state.load_scan_history("a", &name()).unwrap(), history(20, 21));
        assert_eq!(state.load_scan_history("b", &name()).unwrap(), history(3, 4));
    }

    #[test]
    fn data_of_two_keys_of_one_registry_are_merged() {
        let (_directory, state) = open();
        state.adopt_names(&config(&[("a", "x", "")], "")).unwrap();
        save_history(&state, "a", &history(3, 4), 5);
        let run = state.begin_run("a", at(5)).unwrap();
        let entry = state.record_intent(run, "a", &new_entry("gone", &["v1"], 7), at(5)).unwrap();
        state.record_deleted(entry).unwrap();
        state.adopt_names(&config(&[("b", "y", "")], "")).unwrap();
        let mut later = history(20, 20);
        later.tags.insert(tag("v2"), digest("a"));
        save_history(&state, "b", &later, 21);
        state.adopt_names(&config(&[("b", "y", "a")], "")).unwrap();
        let expected = ScanHistory { tags: later.tags, ..history(3, 4) };
        assert_eq!(state.load_scan_history("b", &name()).unwrap(), expected);
        assert_eq!(state.reclaimable("b").unwrap(), 7);
        assert_eq!(state.last_entry("b", &name(), &digest("gone")).unwrap().unwrap().registry, "b");
    }

    #[test]
    fn unmatched_data_is_pruned() {
        let (_directory, state) = open();
        state.adopt_names(&config(&[("a", "x", ""), ("b", "y", "")], "")).unwrap();
        ["a", "b"].iter().for_each(|name| save_history(&state, name, &history(3, 4), 5));
        state.adopt_names(&config(&[("b", "y", "")], "")).unwrap();
        state.prune(at(5)).unwrap();
        assert_eq!(state.match_names(&config(&[("b", "y", "")], "")).unwrap().unknown.len(), 1);
        state.prune(at(6)).unwrap();
        assert_eq!(state.match_names(&config(&[("b", "y", "")], "")).unwrap().unknown, []);
        assert_eq!(state.load_scan_history("b", &name()).unwrap(), history(3, 4));
    }
}
