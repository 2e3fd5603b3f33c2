//! What is deleted: noted before the deletion is sent, with all that it takes to put it back, and again
//! when it is known what became of it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::runs::add;
use super::{Error, State, TotalKind, json, memory, signed, unsigned, write};
use crate::model::{Digest, Kind, RepositoryName, Tag};

/// Something that is about to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Where it is.
    pub repository: RepositoryName,
    /// What goes.
    pub digest: Digest,
    /// The tags that go with it, or without it.
    pub tags: Vec<Tag>,
    /// Whether only these tags go, and the manifest stays.
    pub alone: bool,
    /// What the manifest is.
    pub kind: Kind,
    /// The type under which its bytes can be put back.
    pub media_type: String,
    /// The bytes of the manifest.
    pub body: Vec<u8>,
    /// The policy that decided it.
    pub policy: String,
    /// The rules that expired its tags.
    pub rules: Vec<String>,
    /// Why it goes, for people.
    pub reasons: Vec<String>,
    /// What a collection is expected to free for it.
    pub bytes: u64,
    /// What goes after it: its children and referrers.
    pub dependents: Vec<Digest>,
}

/// A deletion in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, which counts up.
    pub id: i64,
    /// The run that it belongs to.
    pub run: i64,
    /// The registry.
    pub registry: String,
    /// Where it was.
    pub repository: RepositoryName,
    /// What went.
    pub digest: Digest,
    /// The tags that went with it, or without it.
    pub tags: Vec<Tag>,
    /// Whether only these tags went, and the manifest stayed.
    pub alone: bool,
    /// What the manifest was.
    pub kind: Kind,
    /// The policy that decided it.
    pub policy: String,
    /// The rules that expired its tags.
    pub rules: Vec<String>,
    /// Why it went, for people.
    pub reasons: Vec<String>,
    /// What a collection is expected to free for it.
    pub bytes: u64,
    /// When it was noted, just before it was sent.
    pub at: DateTime<Utc>,
    /// What became of it.
    pub fate: Fate,
    /// When an undo put it back.
    pub restored: Option<DateTime<Utc>>,
    /// When a collection has swept what it left.
    pub collected: Option<DateTime<Utc>>,
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody knows the answer yet.
    Sent,
    /// It is gone, because of us.
    Deleted,
}

/// The columns that [`entry`] reads.
pub(super) const COLUMNS: &str = "id, run, registry, repository, digest, tags, alone, kind, policy, rules, \
                                  reasons, bytes, at, fate, restored, collected";

impl State {
    /// Notes what is about to be deleted. When this returns it is on the disk, and the deletion may be
    /// sent.
    pub fn departing(
        &self,
        run: i64,
        registry: &str,
        departure: &Departure,
        at: DateTime<Utc>,
    ) -> Result<i64, Error> {
        let Departure { repository, digest, tags, alone, kind, policy, rules, reasons, bytes, .. } =
            departure;
        write(self.durable(), |connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO entry (run, registry, repository, digest, tags, alone, kind, policy, rules,
                                    reasons, bytes, at, noticed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                     (SELECT noticed FROM sighting
                      WHERE repository = (SELECT id FROM repository WHERE registry = ?2 AND name = ?3)
                      AND manifest = (SELECT id FROM manifest WHERE digest = ?4)))",
            )?;
            insert.execute(params![
                run,
                registry,
                repository.as_str(),
                digest.as_str(),
                json(tags),
                alone,
                kind.name(),
                policy,
                json(rules),
                json(reasons),
                signed(*bytes),
                at,
            ])?;
            let id = connection.last_insert_rowid();
            let mut insert = connection.prepare_cached("INSERT INTO body VALUES (?1, ?2, ?3)")?;
            insert.execute(params![id, departure.media_type, departure.body])?;
            let mut insert =
                connection.prepare_cached("INSERT OR IGNORE INTO leftover VALUES (?1, ?2, ?3, ?4)")?;
            for dependent in &departure.dependents {
                insert.execute(params![registry, repository.as_str(), dependent.as_str(), id])?;
            }
            Ok(id)
        })
    }

    /// Notes that something is gone because of us. Said twice, it counts once.
    pub fn departed(&self, entry: i64) -> Result<(), Error> {
        write(self.durable(), |connection| {
            let Some(gone) = settle(connection, entry, "deleted")? else { return Ok(()) };
            let (column, tags) = (if gone.alone { "untagged" } else { "deleted" }, gone.tags.len() as u64);
            let sql = format!("UPDATE run SET {column} = {column} + 1 WHERE id = ?1");
            connection.prepare_cached(&sql)?.execute([gone.run])?;
            add(connection, TotalKind::DeletedTags, &gone.registry, &gone.policy, tags)?;
            if !gone.alone {
                add(connection, TotalKind::DeletedManifests, &gone.registry, &gone.policy, 1)?;
            }
            // What a collection has swept already waits for none.
            if !gone.alone && !gone.collected {
                add(connection, TotalKind::Reclaimable, &gone.registry, "", gone.bytes)?;
            }
            Ok(())
        })
    }

    /// Notes that somebody else had deleted it. It was not ours to count; what belonged to it is still
    /// there and goes after it all the same.
    pub fn already_gone(&self, entry: i64) -> Result<(), Error> {
        write(self.durable(), |connection| settle(connection, entry, "gone").map(drop))
    }

    /// Notes that it was not deleted.
    pub fn stayed(&self, entry: i64) -> Result<(), Error> {
        write(self.durable(), |connection| {
            connection.execute("DELETE FROM entry WHERE id = ?1 AND fate = 'sent'", [entry]).map(drop)
        })
    }

    /// Notes that an undo put it back, with these tags.
    pub fn restored(&self, entry: i64, tags: &[Tag], at: DateTime<Utc>) -> Result<(), Error> {
        write(self.durable(), |connection| {
            let sql = format!("SELECT {COLUMNS}, noticed FROM entry WHERE id = ?1 AND fate <> 'gone'");
            let mut select = connection.prepare_cached(&sql)?;
            let found = select.query_row([entry], |row| Ok((self::entry(row)?, row.get(16).ok())));
            let Some((Some(found), noticed)) = found.optional()? else { return Ok(()) };
            let first = connection.execute(
                "UPDATE entry SET restored = ?2 WHERE id = ?1 AND restored IS NULL",
                params![entry, at],
            )?;
            if first == 1 && found.fate == Fate::Deleted && !found.alone && found.collected.is_none() {
                connection.execute(
                    "UPDATE total SET value = max(0, value - ?3) WHERE kind = ?1 AND registry = ?2",
                    params![TotalKind::Reclaimable.name(), found.registry, signed(found.bytes)],
                )?;
            }
            connection.execute("DELETE FROM leftover WHERE entry = ?1", [entry])?;
            let place = (found.registry.as_str(), &found.repository);
            memory::restored(connection, place, &found.digest, tags, noticed.unwrap_or(at), at)
        })
    }

    /// When the youngest manifest went that no collection has swept yet, and that may be gone.
    pub fn youngest_waiting(&self, registry: &str) -> Result<Option<DateTime<Utc>>, Error> {
        let connection = self.durable();
        let mut select = connection.prepare_cached(
            "SELECT max(at) FROM entry WHERE registry = ?1
             AND collected IS NULL AND restored IS NULL AND alone = 0 AND fate <> 'gone'",
        )?;
        Ok(select.query_row([registry], |row| row.get(0))?)
    }
}

/// What is counted of something that is gone.
struct Gone {
    run: i64,
    registry: String,
    policy: String,
    tags: Vec<String>,
    alone: bool,
    bytes: u64,
    collected: bool,
}

/// Gives an entry its fate if it has none yet, and takes what is gone out of the memory.
fn settle(connection: &Connection, entry: i64, fate: &str) -> Result<Option<Gone>, rusqlite::Error> {
    let mut update = connection.prepare_cached(
        "UPDATE entry SET fate = ?2 WHERE id = ?1 AND fate = 'sent'
         RETURNING run, registry, policy, tags, alone, bytes, collected IS NOT NULL, repository, digest",
    )?;
    let found = update.query_row(params![entry, fate], |row| {
        let gone = Gone {
            run: row.get(0)?,
            registry: row.get(1)?,
            policy: row.get(2)?,
            tags: words(row, 3).unwrap_or_default(),
            alone: row.get(4)?,
            bytes: unsigned(row.get(5)?),
            collected: row.get(6)?,
        };
        Ok((gone, row.get::<_, String>(7)?, row.get::<_, String>(8)?))
    });
    let Some((gone, repository, digest)) = found.optional()? else { return Ok(None) };
    if gone.alone {
        for tag in &gone.tags {
            memory::untagged(connection, &gone.registry, &repository, &digest, tag)?;
        }
    } else {
        memory::gone(connection, &gone.registry, &repository, &digest)?;
        no_leftover(connection, &gone.registry, &repository, &digest)?;
    }
    Ok(Some(gone))
}

/// Reads an entry; `None` if it cannot be understood.
pub(super) fn entry(row: &Row<'_>) -> Result<Option<Entry>, rusqlite::Error> {
    let kind: String = row.get(7)?;
    let fate: String = row.get(13)?;
    let names = || {
        let tags = words(row, 5)?.iter().map(|tag| Tag::parse(tag).ok()).collect::<Option<_>>()?;
        let repository = RepositoryName::parse(&row.get::<_, String>(3).ok()?).ok()?;
        Some((repository, Digest::parse(&row.get::<_, String>(4).ok()?).ok()?, tags))
    };
    let Some((repository, digest, tags)) = names() else { return Ok(None) };
    Ok(Some(Entry {
        id: row.get(0)?,
        run: row.get(1)?,
        registry: row.get(2)?,
        repository,
        digest,
        tags,
        alone: row.get(6)?,
        kind: Kind::ALL.into_iter().find(|one| one.name() == kind).unwrap_or(Kind::Artifact),
        policy: row.get(8)?,
        rules: words(row, 9).unwrap_or_default(),
        reasons: words(row, 10).unwrap_or_default(),
        bytes: unsigned(row.get(11)?),
        at: row.get(12)?,
        fate: if fate == "deleted" { Fate::Deleted } else { Fate::Sent },
        restored: row.get(14)?,
        collected: row.get(15)?,
    }))
}

fn words(row: &Row<'_>, column: usize) -> Option<Vec<String>> {
    serde_json::from_str(row.get_ref(column).ok()?.as_str().ok()?).ok()
}

/// What was to go after something that is gone, and did not yet.
pub(super) fn leftovers(
    connection: &Connection,
    registry: &str,
    repository: &RepositoryName,
) -> Result<BTreeSet<Digest>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT leftover.digest FROM leftover JOIN entry ON entry.id = leftover.entry
         WHERE leftover.registry = ?1 AND leftover.repository = ?2
         AND entry.fate <> 'sent' AND entry.restored IS NULL",
    )?;
    let rows = select.query_map([registry, repository.as_str()], |row| row.get::<_, String>(0))?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|text| Digest::parse(text).ok()).collect())
}

/// Notes that something need not go after anything any more.
pub(super) fn no_leftover(
    connection: &Connection,
    registry: &str,
    repository: &str,
    digest: &str,
) -> Result<(), rusqlite::Error> {
    let mut delete = connection
        .prepare_cached("DELETE FROM leftover WHERE registry = ?1 AND repository = ?2 AND digest = ?3")?;
    delete.execute([registry, repository, digest])?;
    Ok(())
}

/// Notes that a collection has swept what all deletions of a registry left.
pub(super) fn collected(
    connection: &Connection,
    registry: &str,
    at: DateTime<Utc>,
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "UPDATE entry SET collected = ?2 WHERE registry = ?1
         AND collected IS NULL AND restored IS NULL AND alone = 0 AND fate <> 'gone'",
        params![registry, at],
    )?;
    Ok(())
}
