//! What scans have seen, kept from one to the next.
//!
//! Facts belong to a digest, wherever it is; when it was noticed belongs to a repository. A row that
//! cannot be read counts as unknown: then it is asked for again.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Error, State, journal, json, signed, unsigned, write};
use crate::model::{Blob, Digest, Facts, FirstLook, Kind, Manifest, Memory, RepositoryName, Sighting, Tag};

impl State {
    /// What is remembered of a repository.
    pub fn recall(&self, registry: &str, repository: &RepositoryName) -> Result<Memory, Error> {
        let mut connection = self.quick();
        let moment = connection.transaction()?;
        let leftovers = journal::leftovers(&moment, registry, repository)?;
        let mut memory = Memory { first_look: self.first_look(None), leftovers, ..Memory::default() };
        if let Some((id, first_look)) = known(&moment, registry, repository)? {
            memory.first_look = self.first_look(first_look);
            recall_manifests(&moment, id, &mut memory)?;
            recall_tags(&moment, id, &mut memory)?;
        }
        Ok(memory)
    }

    /// What the first look with this file was.
    fn first_look(&self, at: Option<DateTime<Utc>>) -> FirstLook {
        match (at, self.open.forgotten) {
            (None, false) => FirstLook::Never,
            (None, true) => FirstLook::Lost,
            (Some(at), false) => FirstLook::At(at),
            (Some(at), true) => FirstLook::Again(at),
        }
    }

    /// Keeps what a look has added: the differences between what was recalled before it and what is to
    /// be recalled after it.
    pub fn remember(
        &self,
        registry: &str,
        repository: &RepositoryName,
        before: &Memory,
        after: &Memory,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        if !self.is_writable() {
            return Ok(());
        }
        write(self.quick(), |connection| {
            let none = Memory::default();
            // What was forgotten meanwhile is not there to differ from.
            let before = if known(connection, registry, repository)?.is_some() { before } else { &none };
            let id = looked(connection, registry, repository, after.first_look, at)?;
            remember_manifests(connection, before, after)?;
            remember_sightings(connection, id, before, after)?;
            // What is here and no leftover any more has been tagged since, and is nobody's leftover for ever.
            for digest in before.leftovers.difference(&after.leftovers) {
                if after.sightings.contains_key(digest) {
                    journal::no_leftover(connection, registry, repository.as_str(), digest.as_str())?;
                }
            }
            remember_tags(connection, id, before, after)
        })
    }

    /// Drops what was in this registry before a moment and not since, and what is known of digests that
    /// are remembered of no repository.
    pub fn forget(&self, registry: &str, older_than: DateTime<Utc>) -> Result<(), Error> {
        if !self.is_writable() {
            return Ok(());
        }
        write(self.quick(), |connection| {
            connection.execute(
                "DELETE FROM repository WHERE registry = ?1 AND last_look < ?2",
                params![registry, older_than],
            )?;
            connection.execute(
                "DELETE FROM sighting WHERE left_at < ?2
                 AND repository IN (SELECT id FROM repository WHERE registry = ?1)",
                params![registry, older_than],
            )?;
            connection.execute(
                "DELETE FROM manifest WHERE NOT EXISTS (SELECT 1 FROM sighting WHERE manifest = manifest.id)
                 AND NOT EXISTS (SELECT 1 FROM tag WHERE manifest = manifest.id)",
                [],
            )?;
            Ok(())
        })
    }
}

/// The number of a repository and the time of its first look, if it was ever looked at.
fn known(
    connection: &Connection,
    registry: &str,
    repository: &RepositoryName,
) -> Result<Option<(i64, Option<DateTime<Utc>>)>, rusqlite::Error> {
    let mut select = connection
        .prepare_cached("SELECT id, first_look FROM repository WHERE registry = ?1 AND name = ?2")?;
    let row = select.query_row([registry, repository.as_str()], |row| Ok((row.get(0)?, readable(row, 1))));
    row.optional()
}

fn recall_manifests(connection: &Connection, id: i64, memory: &mut Memory) -> Result<(), rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT digest, noticed, left_at, restored,
                known, kind, size, subject, children, blobs, created, labels, why
         FROM sighting JOIN manifest ON manifest.id = sighting.manifest WHERE repository = ?1",
    )?;
    let mut rows = select.query([id])?;
    while let Some(row) = rows.next()? {
        let Some(digest) = text(row, 0).and_then(|text| Digest::parse(text).ok()) else { continue };
        if let Some(sighting) = sighting(row) {
            memory.sightings.insert(digest.clone(), sighting);
        }
        if let Some(manifest) = manifest(row, &digest) {
            memory.manifests.insert(digest, Arc::new(manifest));
        }
    }
    Ok(())
}

fn recall_tags(connection: &Connection, id: i64, memory: &mut Memory) -> Result<(), rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT tag, digest FROM tag JOIN manifest ON manifest.id = tag.manifest WHERE repository = ?1",
    )?;
    let mut rows = select.query([id])?;
    while let Some(row) = rows.next()? {
        let tag = text(row, 0).and_then(|text| Tag::parse(text).ok());
        let digest = text(row, 1).and_then(|text| Digest::parse(text).ok());
        if let (Some(tag), Some(digest)) = (tag, digest) {
            // A digest is counted text: those that a sighting has read already are shared.
            let shared = memory.sightings.get_key_value(&digest).map(|(shared, _)| shared.clone());
            memory.tags.insert(tag, shared.unwrap_or(digest));
        }
    }
    Ok(())
}

fn sighting(row: &Row<'_>) -> Option<Sighting> {
    Some(Sighting { noticed: row.get(1).ok()?, left: row.get(2).ok()?, restored: row.get(3).ok()? })
}

fn manifest(row: &Row<'_>, digest: &Digest) -> Option<Manifest> {
    let kind = text(row, 5)?;
    let blobs: Vec<(&str, u64)> = serde_json::from_str(text(row, 9)?).ok()?;
    let blob = |(digest, size)| Some(Blob { digest: Digest::parse(digest).ok()?, size });
    let subject: Option<String> = row.get(7).ok()?;
    let facts = match row.get(4).ok()? {
        1 => Facts::Unasked { annotations: serde_json::from_str(text(row, 11)?).ok()? },
        2 => Facts::Unknown { why: row.get(12).ok()?, lasting: true },
        3 => Facts::Known { created: row.get(10).ok()?, labels: serde_json::from_str(text(row, 11)?).ok()? },
        _ => return None,
    };
    Some(Manifest {
        digest: digest.clone(),
        kind: Kind::ALL.into_iter().find(|one| one.name() == kind)?,
        size: unsigned(row.get(6).ok()?),
        children: digests(text(row, 8)?)?,
        subject: subject.map(|text| Digest::parse(&text)).transpose().ok()?,
        blobs: blobs.into_iter().map(blob).collect::<Option<_>>()?,
        facts,
    })
}

fn digests(list: &str) -> Option<Vec<Digest>> {
    let list: Vec<&str> = serde_json::from_str(list).ok()?;
    list.into_iter().map(|text| Digest::parse(text).ok()).collect()
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Option<&'a str> {
    row.get_ref(column).ok()?.as_str().ok()
}

fn readable<T: FromSql>(row: &Row<'_>, column: usize) -> Option<T> {
    row.get(column).ok()
}

/// Notes that a repository was looked at, and gives it a number.
fn looked(
    connection: &Connection,
    registry: &str,
    repository: &RepositoryName,
    first_look: FirstLook,
    at: DateTime<Utc>,
) -> Result<i64, rusqlite::Error> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO repository (registry, name, first_look, last_look) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET first_look = excluded.first_look, last_look = excluded.last_look
         RETURNING id",
    )?;
    let name = repository.as_str();
    let first_look = match first_look {
        FirstLook::At(time) | FirstLook::Again(time) => Some(time),
        FirstLook::Never | FirstLook::Lost => None,
    };
    upsert.query_row(params![registry, name, first_look, at], |row| row.get(0))
}

fn remember_manifests(
    connection: &Connection,
    before: &Memory,
    after: &Memory,
) -> Result<(), rusqlite::Error> {
    // Another repository may know more of it already.
    let mut upsert = connection.prepare_cached(
        "INSERT INTO manifest (digest, known, kind, size, subject, children, blobs, created, labels, why)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT DO UPDATE SET known = excluded.known, kind = excluded.kind, size = excluded.size,
             subject = excluded.subject, children = excluded.children, blobs = excluded.blobs,
             created = excluded.created, labels = excluded.labels, why = excluded.why
         WHERE excluded.known >= known",
    )?;
    for (digest, manifest) in &after.manifests {
        let same = |old: &Arc<Manifest>| Arc::ptr_eq(old, manifest) || old == manifest;
        if before.manifests.get(digest).is_some_and(same) {
            continue;
        }
        let (known, created, labels, why) = match &manifest.facts {
            Facts::Known { created, labels } => (3, created.as_ref(), Some(json(labels)), None),
            Facts::Unasked { annotations } => (1, None, Some(json(annotations)), None),
            Facts::Unknown { why, lasting: true } => (2, None, None, Some(why)),
            // It is to be asked for again, so it is as if it had never been read.
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

fn remember_sightings(
    connection: &Connection,
    id: i64,
    before: &Memory,
    after: &Memory,
) -> Result<(), rusqlite::Error> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO sighting (repository, manifest, noticed, left_at, restored)
         SELECT ?1, id, ?3, ?4, ?5 FROM manifest WHERE digest = ?2
         ON CONFLICT DO UPDATE SET noticed = excluded.noticed, left_at = excluded.left_at,
             restored = excluded.restored",
    )?;
    for (digest, sighting) in &after.sightings {
        let Sighting { noticed, left, restored } = sighting;
        if before.sightings.get(digest) != Some(sighting) {
            name(connection, digest)?;
            upsert.execute(params![id, digest.as_str(), noticed, left, restored])?;
        }
    }
    let mut delete = connection.prepare_cached(
        "DELETE FROM sighting
         WHERE repository = ?1 AND manifest = (SELECT id FROM manifest WHERE digest = ?2)",
    )?;
    for digest in before.sightings.keys().filter(|digest| !after.sightings.contains_key(*digest)) {
        delete.execute(params![id, digest.as_str()])?;
    }
    Ok(())
}

fn remember_tags(
    connection: &Connection,
    id: i64,
    before: &Memory,
    after: &Memory,
) -> Result<(), rusqlite::Error> {
    for (tag, digest) in &after.tags {
        if before.tags.get(tag) != Some(digest) {
            name(connection, digest)?;
            point(connection, id, tag, digest)?;
        }
    }
    let mut delete = connection.prepare_cached("DELETE FROM tag WHERE repository = ?1 AND tag = ?2")?;
    for tag in before.tags.keys().filter(|tag| !after.tags.contains_key(*tag)) {
        delete.execute(params![id, tag.as_str()])?;
    }
    Ok(())
}

/// Gives a digest a row, of which nothing is known if it has none yet.
fn name(connection: &Connection, digest: &Digest) -> Result<(), rusqlite::Error> {
    let mut insert =
        connection.prepare_cached("INSERT INTO manifest (digest) VALUES (?1) ON CONFLICT DO NOTHING")?;
    insert.execute([digest.as_str()])?;
    Ok(())
}

fn point(connection: &Connection, id: i64, tag: &Tag, digest: &Digest) -> Result<(), rusqlite::Error> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO tag (repository, tag, manifest) SELECT ?1, ?2, id FROM manifest WHERE digest = ?3
         ON CONFLICT DO UPDATE SET manifest = excluded.manifest",
    )?;
    upsert.execute(params![id, tag.as_str(), digest.as_str()])?;
    Ok(())
}

/// Takes a manifest that is gone out of the memory of its repository.
pub(super) fn gone(
    connection: &Connection,
    registry: &str,
    repository: &str,
    digest: &str,
) -> Result<(), rusqlite::Error> {
    for table in ["sighting", "tag"] {
        let mut delete = connection.prepare_cached(&format!(
            "DELETE FROM {table} WHERE repository = (SELECT id FROM repository WHERE registry = ?1 AND name = ?2)
             AND manifest = (SELECT id FROM manifest WHERE digest = ?3)"
        ))?;
        delete.execute([registry, repository, digest])?;
    }
    Ok(())
}

/// Takes a tag that is gone out of the memory of its repository, if it has not moved since.
pub(super) fn untagged(
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

/// Puts a manifest back into the memory of its repository, as old as it was.
pub(super) fn restored(
    connection: &Connection,
    (registry, repository): (&str, &RepositoryName),
    digest: &Digest,
    tags: &[Tag],
    noticed: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<(), rusqlite::Error> {
    let id = match known(connection, registry, repository)? {
        Some((id, _)) => id,
        None => looked(connection, registry, repository, FirstLook::Never, at)?,
    };
    name(connection, digest)?;
    let mut upsert = connection.prepare_cached(
        "INSERT INTO sighting (repository, manifest, noticed, left_at, restored)
         SELECT ?1, id, ?3, NULL, ?4 FROM manifest WHERE digest = ?2
         ON CONFLICT DO UPDATE SET left_at = NULL, restored = excluded.restored",
    )?;
    upsert.execute(params![id, digest.as_str(), noticed, at])?;
    for tag in tags {
        point(connection, id, tag, digest)?;
    }
    Ok(())
}
