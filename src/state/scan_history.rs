//! The scan history, saved after each scan.
//!
//! Facts belong to a digest in all repositories; observations belong to a repository. A row that cannot be read counts
//! as unknown, so the registry is asked again.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::Error;
use super::scan_history_rows::{load_manifests, load_tags};
use super::sql::{json, signed};
use super::store::State;
use super::{leftovers, subjects};
use crate::model::{Digest, Facts, FirstScan, Manifest, Observation, RepositoryName, ScanHistory, Tag};

impl State {
    /// The scan history of a repository.
    pub fn load_scan_history(
        &self,
        registry: &str,
        repository: &RepositoryName,
    ) -> Result<ScanHistory, Error> {
        Ok(self.load_scan_history_while(registry, repository, |_| true)?.unwrap_or_default())
    }

    /// The scan history of a repository, if all its manifests fit: `has_room` is called with each one that is loaded.
    pub fn load_scan_history_while(
        &self,
        registry: &str,
        repository: &RepositoryName,
        has_room: impl FnMut(&Manifest) -> bool,
    ) -> Result<Option<ScanHistory>, Error> {
        let registry = &self.key(registry);
        let mut connection = self.quick();
        let moment = connection.transaction()?;
        let leftovers = leftovers::load(&moment, registry, repository)?;
        let mut history =
            ScanHistory { first_scan: self.first_scan(None), leftovers, ..ScanHistory::default() };
        if let Some((id, first_scan)) = known(&moment, registry, repository)? {
            // A time that cannot be read counts as lost.
            history.first_scan = first_scan.map_or(FirstScan::Lost, |at| self.first_scan(at));
            if !load_manifests(&moment, id, &mut history, has_room)? {
                return Ok(None);
            }
            load_tags(&moment, id, &mut history)?;
            subjects::load(&moment, id, &mut history)?;
        }
        Ok(Some(history))
    }

    /// The first scan that this file knows of.
    fn first_scan(&self, at: Option<DateTime<Utc>>) -> FirstScan {
        match (at, self.is_history_lost()) {
            (None, false) => FirstScan::Never,
            (None, true) => FirstScan::Lost,
            (Some(at), false) => FirstScan::At(at),
            (Some(at), true) => FirstScan::AfterLoss(at),
        }
    }

    /// Saves the differences between the scan history before a scan and after it. Manifests without an observation are
    /// not saved.
    pub fn save_scan_history(
        &self,
        registry: &str,
        repository: &RepositoryName,
        before: &ScanHistory,
        after: &ScanHistory,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        if !self.is_writable() {
            return Ok(());
        }
        let (registry, names) = (&self.key(registry), self.names());
        self.quickly(|connection| {
            names.note(connection, registry)?;
            let none = ScanHistory::default();
            // If the history was pruned meanwhile, all of it is saved.
            let before = if known(connection, registry, repository)?.is_some() { before } else { &none };
            let id = record_scan(connection, registry, repository, after.first_scan, at)?;
            save_manifests(connection, before, after)?;
            save_observations(connection, id, before, after)?;
            // A leftover that was tagged since is no leftover any more.
            for digest in before.leftovers.difference(&after.leftovers) {
                if after.observations.contains_key(digest) {
                    leftovers::remove(connection, registry, repository.as_str(), digest.as_str())?;
                }
            }
            subjects::save(connection, id, before, after)?;
            save_tags(connection, id, before, after)
        })
    }

    /// Deletes what has been gone from this registry since before this moment, and facts of digests that no repository
    /// has.
    pub fn prune_scan_history(&self, registry: &str, older_than: DateTime<Utc>) -> Result<(), Error> {
        if !self.is_writable() {
            return Ok(());
        }
        let registry = &self.key(registry);
        self.quickly(|connection| {
            connection.execute(
                "DELETE FROM repository WHERE registry = ?1 AND last_scan < ?2",
                params![registry, older_than],
            )?;
            connection.execute(
                "DELETE FROM observation WHERE left_at < ?2
                 AND repository IN (SELECT id FROM repository WHERE registry = ?1)",
                params![registry, older_than],
            )?;
            connection.execute(
                "DELETE FROM manifest WHERE NOT EXISTS (SELECT 1 FROM observation WHERE manifest = manifest.id)
                 AND NOT EXISTS (SELECT 1 FROM tag WHERE manifest = manifest.id)",
                [],
            )?;
            Ok(())
        })
    }
}

/// A time, where there is one.
type Moment = Option<DateTime<Utc>>;

/// The id of a repository and the time of its first scan; `None` if that time cannot be read.
fn known(
    connection: &Connection,
    registry: &str,
    repository: &RepositoryName,
) -> Result<Option<(i64, Option<Moment>)>, rusqlite::Error> {
    let mut select = connection
        .prepare_cached("SELECT id, first_scan FROM repository WHERE registry = ?1 AND name = ?2")?;
    let row = select.query_row([registry, repository.as_str()], |row| Ok((row.get(0)?, row.get(1).ok())));
    row.optional()
}

/// Records that a repository was scanned, and returns its id.
fn record_scan(
    connection: &Connection,
    registry: &str,
    repository: &RepositoryName,
    first_scan: FirstScan,
    at: DateTime<Utc>,
) -> Result<i64, rusqlite::Error> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO repository (registry, name, first_scan, last_scan) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET first_scan = excluded.first_scan, last_scan = excluded.last_scan
         RETURNING id",
    )?;
    let name = repository.as_str();
    let first_scan = match first_scan {
        FirstScan::At(time) | FirstScan::AfterLoss(time) => Some(time),
        FirstScan::Never | FirstScan::Lost => None,
    };
    upsert.query_row(params![registry, name, first_scan, at], |row| row.get(0))
}

fn save_manifests(
    connection: &Connection,
    before: &ScanHistory,
    after: &ScanHistory,
) -> Result<(), rusqlite::Error> {
    // Another repository may have stored more of it already.
    let mut upsert = connection.prepare_cached(
        "INSERT INTO manifest (digest, known, kind, size, subject, children, blobs, created, labels, why)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT DO UPDATE SET known = excluded.known, kind = excluded.kind, size = excluded.size,
             subject = excluded.subject, children = excluded.children, blobs = excluded.blobs,
             created = excluded.created, labels = excluded.labels, why = excluded.why
         WHERE excluded.known >= known",
    )?;
    let sighted = |history: &ScanHistory, digest| history.observations.contains_key(digest);
    for (digest, manifest) in after.manifests.iter().filter(|(digest, _)| sighted(after, digest)) {
        let same = |old: &Arc<Manifest>| Arc::ptr_eq(old, manifest) || old == manifest;
        if sighted(before, digest) && before.manifests.get(digest).is_some_and(same) {
            continue;
        }
        let (known, created, labels, why) = match &manifest.facts {
            Facts::Known { created, labels } => (3, created.as_ref(), Some(json(labels)), None),
            Facts::NotFetched { annotations } => (1, None, Some(json(annotations)), None),
            Facts::Unknown { why, lasting: true } => (2, None, None, Some(why)),
            // It is to be read again, so it counts as never read.
            Facts::Unknown { lasting: false, .. } => continue,
        };
        let blobs: Vec<_> = manifest.blobs.iter().map(|blob| (&blob.digest, blob.size)).collect();
        upsert.execute(params![
            digest.as_str(),
            known,
            manifest.kind.name(),
            signed(manifest.size),
            manifest.subject.as_ref().map(Digest::as_str),
            json(&manifest.children),
            json(blobs),
            created,
            labels,
            why,
        ])?;
    }
    Ok(())
}

fn save_observations(
    connection: &Connection,
    id: i64,
    before: &ScanHistory,
    after: &ScanHistory,
) -> Result<(), rusqlite::Error> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO observation (repository, manifest, noticed, left_at, restored)
         SELECT ?1, id, ?3, ?4, ?5 FROM manifest WHERE digest = ?2
         ON CONFLICT DO UPDATE SET noticed = excluded.noticed, left_at = excluded.left_at,
             restored = excluded.restored",
    )?;
    for (digest, observation) in &after.observations {
        let Observation { noticed, untagged_since, restored } = observation;
        if before.observations.get(digest) != Some(observation) {
            ensure_row(connection, digest)?;
            upsert.execute(params![id, digest.as_str(), noticed, untagged_since, restored])?;
        }
    }
    let mut delete = connection.prepare_cached(
        "DELETE FROM observation
         WHERE repository = ?1 AND manifest = (SELECT id FROM manifest WHERE digest = ?2)",
    )?;
    for digest in before.observations.keys().filter(|digest| !after.observations.contains_key(*digest)) {
        delete.execute(params![id, digest.as_str()])?;
    }
    Ok(())
}

fn save_tags(
    connection: &Connection,
    id: i64,
    before: &ScanHistory,
    after: &ScanHistory,
) -> Result<(), rusqlite::Error> {
    for (tag, digest) in &after.tags {
        if before.tags.get(tag) != Some(digest) {
            ensure_row(connection, digest)?;
            point_tag(connection, id, tag, digest)?;
        }
    }
    let mut delete = connection.prepare_cached("DELETE FROM tag WHERE repository = ?1 AND tag = ?2")?;
    for tag in before.tags.keys().filter(|tag| !after.tags.contains_key(*tag)) {
        delete.execute(params![id, tag.as_str()])?;
    }
    Ok(())
}

/// Adds a row without facts for a digest, unless there is one.
fn ensure_row(connection: &Connection, digest: &Digest) -> Result<(), rusqlite::Error> {
    let mut insert =
        connection.prepare_cached("INSERT INTO manifest (digest) VALUES (?1) ON CONFLICT DO NOTHING")?;
    insert.execute([digest.as_str()])?;
    Ok(())
}

fn point_tag(connection: &Connection, id: i64, tag: &Tag, digest: &Digest) -> Result<(), rusqlite::Error> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO tag (repository, tag, manifest) SELECT ?1, ?2, id FROM manifest WHERE digest = ?3
         ON CONFLICT DO UPDATE SET manifest = excluded.manifest",
    )?;
    upsert.execute(params![id, tag.as_str(), digest.as_str()])?;
    Ok(())
}

/// Removes a deleted manifest from the scan history of its repository.
pub(super) fn remove_manifest(
    connection: &Connection,
    registry: &str,
    repository: &str,
    digest: &str,
) -> Result<(), rusqlite::Error> {
    for table in ["observation", "tag"] {
        let mut delete = connection.prepare_cached(&format!(
            "DELETE FROM {table} WHERE repository = (SELECT id FROM repository WHERE registry = ?1 AND name = ?2)
             AND manifest = (SELECT id FROM manifest WHERE digest = ?3)"
        ))?;
        delete.execute([registry, repository, digest])?;
    }
    Ok(())
}

/// Removes a deleted tag from the scan history of its repository, unless it was moved since.
pub(super) fn remove_tag(
    connection: &Connection,
    registry: &str,
    repository: &str,
    digest: &str,
    tag: &str,
) -> Result<(), rusqlite::Error> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM tag WHERE repository = (SELECT id FROM repository WHERE registry = ?1 AND name = ?2)
         AND manifest = (SELECT id FROM manifest WHERE digest = ?3) AND tag = ?4",
    )?;
    delete.execute([registry, repository, digest, tag])?;
    Ok(())
}

/// Adds a restored manifest to the scan history of its repository, as old as it was.
pub(super) fn restore_manifest(
    connection: &Connection,
    (registry, repository): (&str, &RepositoryName),
    digest: &Digest,
    tags: &[Tag],
    noticed: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<(), rusqlite::Error> {
    let id = match known(connection, registry, repository)? {
        Some((id, _)) => id,
        None => record_scan(connection, registry, repository, FirstScan::Never, at)?,
    };
    ensure_row(connection, digest)?;
    let mut upsert = connection.prepare_cached(
        "INSERT INTO observation (repository, manifest, noticed, left_at, restored)
         SELECT ?1, id, ?3, NULL, ?4 FROM manifest WHERE digest = ?2
         ON CONFLICT DO UPDATE SET left_at = NULL, restored = excluded.restored",
    )?;
    upsert.execute(params![id, digest.as_str(), noticed, at])?;
    for tag in tags {
        point_tag(connection, id, tag, digest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Blob, Kind};
    use crate::state::test_support::{at, digest, name, open, tag};

    fn manifest(text: &str, facts: Facts) -> Manifest {
        let blob = |text: &str, size| Blob { digest: digest(text), size };
        Manifest {
            digest: digest(text),
            kind: Kind::Image,
            size: 700,
            children: Vec::new(),
            subject: None,
            blobs: vec![blob("config", 10), blob("layer", u64::from(u32::MAX) + 5), blob("layer", 5)],
            facts,
        }
    }

    /// A scan history in which each manifest was observed and has a tag of the same name.
    fn history(manifests: Vec<(&str, Manifest)>) -> ScanHistory {
        let mut history = ScanHistory { first_scan: FirstScan::At(at(0)), ..ScanHistory::default() };
        for (word, manifest) in manifests {
            history.tags.insert(tag(word), manifest.digest.clone());
            history.observations.insert(
                manifest.digest.clone(),
                Observation { noticed: at(1), untagged_since: None, restored: None },
            );
            history.manifests.insert(manifest.digest.clone(), Arc::new(manifest));
        }
        history
    }

    fn labels() -> BTreeMap<String, String> {
        BTreeMap::from([("a".into(), "\"quoted\" \u{1f600}\n".into()), (String::new(), String::new())])
    }

    fn rows(state: &State, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        state.quick().query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn every_kind_of_manifest_is_loaded_as_it_was_saved() {
        let (_directory, state) = open();
        let created = |text: &str| Facts::Known { created: Some(text.parse().unwrap()), labels: labels() };
        let index = Manifest {
            kind: Kind::Index,
            children: vec![digest("b"), digest("a"), digest("b")],
            blobs: Vec::new(),
            ..manifest("index", Facts::none())
        };
        let subject = Digest::parse(&format!("sha512:{}", "ab".repeat(64))).unwrap();
        let artifact = Manifest {
            kind: Kind::Artifact,
            subject: Some(subject),
            ..manifest("artifact", Facts::NotFetched { annotations: labels() })
        };
        let lasting = Facts::Unknown { why: "no JSON".into(), lasting: true };
        let mut written = history(vec![
            ("index", index),
            ("artifact", artifact),
            ("lasting", manifest("lasting", lasting)),
            ("nanoseconds", manifest("nanoseconds", created("2026-02-03T04:05:06.123456789Z"))),
            ("tenths", manifest("tenths", created("2026-02-03T04:05:06.1Z"))),
            ("first", manifest("first", created("0000-01-01T00:00:00Z"))),
            ("last", manifest("last", created("9999-12-31T23:59:59.999999999Z"))),
        ]);
        let changed = Observation { noticed: at(1), untagged_since: Some(at(2)), restored: Some(at(3)) };
        written.observations.insert(digest("lasting"), changed);
        written.seen_subjects = [digest("index"), digest("gone")].into();
        state.save_scan_history("main", &name(), &ScanHistory::default(), &written, at(5)).unwrap();
        assert_eq!(state.load_scan_history("main", &name()).unwrap(), written);
        let mut count = 0;
        let first_only = |_: &Manifest| {
            count += 1;
            count == 1
        };
        assert_eq!(state.load_scan_history_while("main", &name(), first_only).unwrap(), None);
        assert_eq!(count, 2, "the rest is not read");
        assert_eq!(state.load_scan_history("other", &name()).unwrap(), ScanHistory::default());
    }

    #[test]
    fn only_differences_are_written() {
        let (_directory, state) = open();
        let before = history(vec![
            ("moved", manifest("a", Facts::none())),
            ("gone", manifest("b", Facts::none())),
            ("same", manifest("c", Facts::none())),
        ]);
        state.save_scan_history("main", &name(), &ScanHistory::default(), &before, at(1)).unwrap();
        let changes = || state.quick().total_changes();
        let start = changes();
        state.save_scan_history("main", &name(), &before, &before.clone(), at(2)).unwrap();
        assert_eq!(changes() - start, 1);
        let mut after = before.clone();
        after.seen_subjects = [digest("c"), digest("d")].into();
        state.save_scan_history("main", &name(), &before, &after, at(2)).unwrap();
        let before = after.clone();
        after.seen_subjects = [digest("d"), digest("e")].into();
        after.tags.insert(tag("moved"), digest("c"));
        after.tags.insert(tag("new"), digest("a"));
        after.tags.remove(&tag("gone"));
        after.observations.get_mut(&digest("a")).unwrap().untagged_since = Some(at(3));
        after.observations.remove(&digest("b"));
        after.manifests.remove(&digest("b"));
        state.save_scan_history("main", &name(), &before, &after, at(3)).unwrap();
        assert_eq!(state.load_scan_history("main", &name()).unwrap(), after);
    }

    #[test]
    fn unreadable_configuration_is_not_saved() {
        let (_directory, state) = open();
        let passing = Facts::Unknown { why: "timed out".into(), lasting: false };
        let seen = history(vec![("v1", manifest("a", passing.clone())), ("v2", manifest("b", passing))]);
        state.save_scan_history("main", &name(), &ScanHistory::default(), &seen, at(1)).unwrap();
        let loaded = state.load_scan_history("main", &name()).unwrap();
        assert_eq!(loaded, ScanHistory { manifests: BTreeMap::new(), ..seen });
        let mut learned = loaded.clone();
        learned.manifests.insert(digest("a"), Arc::new(manifest("a", Facts::none())));
        state.save_scan_history("main", &name(), &loaded, &learned, at(2)).unwrap();
        assert_eq!(state.load_scan_history("main", &name()).unwrap(), learned);
    }

    #[test]
    fn facts_of_a_digest_are_shared_and_never_lost() {
        let (_directory, state) = open();
        let other = RepositoryName::parse("other").unwrap();
        let not_fetched =
            || history(vec![("v1", manifest("a", Facts::NotFetched { annotations: labels() }))]);
        let known = history(vec![("v1", manifest("a", Facts::none()))]);
        state.save_scan_history("main", &name(), &ScanHistory::default(), &not_fetched(), at(1)).unwrap();
        state.save_scan_history("main", &name(), &not_fetched(), &known, at(2)).unwrap();
        state.save_scan_history("second", &other, &ScanHistory::default(), &not_fetched(), at(3)).unwrap();
        let passing = Facts::Unknown { why: "timed out".into(), lasting: false };
        let failed = history(vec![("v1", manifest("a", passing))]);
        state.save_scan_history("second", &name(), &ScanHistory::default(), &failed, at(4)).unwrap();
        for (registry, repository) in [("main", &name()), ("second", &other), ("second", &name())] {
            assert_eq!(
                state.load_scan_history(registry, repository).unwrap(),
                known,
                "{registry}/{repository}"
            );
        }
        assert_eq!(rows(&state, "manifest"), 1);
    }

    #[test]
    fn manifest_without_an_observation_is_not_saved() {
        let (_directory, state) = open();
        let whole = history(vec![("v1", manifest("a", Facts::none()))]);
        let unseen = ScanHistory { manifests: whole.manifests.clone(), ..ScanHistory::default() };
        state.save_scan_history("main", &name(), &ScanHistory::default(), &unseen, at(1)).unwrap();
        assert_eq!(rows(&state, "manifest"), 0);
        state.save_scan_history("main", &name(), &unseen, &whole, at(2)).unwrap();
        assert_eq!(state.load_scan_history("main", &name()).unwrap(), whole);
    }

    #[test]
    fn facts_are_pruned_with_the_last_observation() {
        let (_directory, state) = open();
        let none = ScanHistory::default();
        let other = RepositoryName::parse("other").unwrap();
        let mut left =
            history(vec![("v1", manifest("a", Facts::none())), ("v2", manifest("b", Facts::none()))]);
        left.tags.remove(&tag("v1"));
        left.observations.get_mut(&digest("a")).unwrap().untagged_since = Some(at(3));
        let shared = history(vec![("v1", manifest("a", Facts::none()))]);
        state.save_scan_history("main", &name(), &none, &left, at(10)).unwrap();
        state.save_scan_history("second", &other, &none, &shared, at(5)).unwrap();
        state.prune_scan_history("main", at(3)).unwrap();
        assert_eq!(state.load_scan_history("main", &name()).unwrap(), left);
        state.prune_scan_history("main", at(4)).unwrap();
        let loaded = state.load_scan_history("main", &name()).unwrap();
        assert_eq!(loaded.observations.into_keys().collect::<Vec<_>>(), [digest("b")]);
        assert_eq!(state.load_scan_history("second", &other).unwrap(), shared);
        state.prune_scan_history("second", at(6)).unwrap();
        assert_eq!(state.load_scan_history("second", &other).unwrap(), none);
        assert_eq!((rows(&state, "manifest"), rows(&state, "repository")), (1, 1));
    }

    #[test]
    fn history_pruned_meanwhile_is_saved_completely() {
        let (_directory, state) = open();
        let before = history(vec![("v1", manifest("a", Facts::none()))]);
        state.save_scan_history("main", &name(), &ScanHistory::default(), &before, at(1)).unwrap();
        state.prune_scan_history("main", at(2)).unwrap();
        state.save_scan_history("main", &name(), &before, &before, at(3)).unwrap();
        assert_eq!(state.load_scan_history("main", &name()).unwrap(), before);
    }

    #[test]
    fn unreadable_rows_count_as_missing() {
        let (_directory, state) = open();
        let good = history(vec![("good", manifest("good", Facts::none()))]);
        let mut all = good.clone();
        for word in ["blobs", "kind", "created", "children", "labels", "subject", "noticed"] {
            let one = history(vec![(word, manifest(word, Facts::none()))]);
            all.tags.extend(one.tags);
            all.observations.extend(one.observations);
            all.manifests.extend(one.manifests);
        }
        state.save_scan_history("main", &name(), &ScanHistory::default(), &all, at(1)).unwrap();
        for column in ["blobs", "kind", "created", "children", "labels", "subject"] {
            let sql = format!("UPDATE manifest SET {column} = '[' WHERE digest = ?1");
            state.quick().execute(&sql, [digest(column).as_str()]).unwrap();
        }
        let sql = "UPDATE observation SET noticed = 'x' WHERE manifest = (SELECT id FROM manifest WHERE digest = ?1)";
        state.quick().execute(sql, [digest("noticed").as_str()]).unwrap();
        state.quick().execute("UPDATE tag SET tag = '..' WHERE tag = 'noticed'", []).unwrap();
        state.quick().execute("INSERT INTO seen_subject SELECT id, 'x' FROM repository", []).unwrap();
        state.quick().execute("UPDATE repository SET first_scan = 'x'", []).unwrap();
        let loaded = state.load_scan_history("main", &name()).unwrap();
        assert_eq!(loaded.first_scan, FirstScan::Lost);
        assert_eq!(loaded.manifests.len(), 2);
        assert_eq!((loaded.observations.len(), loaded.tags.len()), (7, 7));
        assert!(!loaded.observations.contains_key(&digest("noticed")));
    }

    #[test]
    fn first_scan_is_loaded_as_it_was_saved() {
        let (_directory, state) = open();
        for first_scan in [FirstScan::At(at(7)), FirstScan::Never] {
            let history = ScanHistory { first_scan, ..ScanHistory::default() };
            state.save_scan_history("main", &name(), &ScanHistory::default(), &history, at(9)).unwrap();
            assert_eq!(state.load_scan_history("main", &name()).unwrap(), history);
        }
    }

    #[test]
    fn concurrent_saves_and_journal_entries_do_not_fail() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let state = state.clone();
                scope.spawn(move || {
                    let repository = RepositoryName::parse(&format!("app{worker}")).unwrap();
                    for round in 0..20 {
                        let word = format!("v{worker}.{round}");
                        let seen = history(vec![(&word, manifest(&word, Facts::none()))]);
                        let before = state.load_scan_history("main", &repository).unwrap();
                        state.save_scan_history("main", &repository, &before, &seen, at(round)).unwrap();
                        let new_entry = crate::state::NewJournalEntry {
                            repository: repository.clone(),
                            ..crate::state::test_support::new_entry(&word, &[&word], 1)
                        };
                        let entry = state.record_intent(run, "main", &new_entry, at(round)).unwrap();
                        state.record_deleted(entry).unwrap();
                    }
                });
            }
        });
        assert_eq!(state.run(run).unwrap().unwrap().deleted, 80);
        assert_eq!(rows(&state, "observation"), 0);
    }
}
