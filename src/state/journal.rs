//! The journal: each deletion is recorded before it is sent, with everything that restores it, and again when its
//! answer is known.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::Error;
use super::sql::{json, signed, unsigned};
use super::store::State;
use super::totals::{TotalKind, add};
use super::{leftovers, scan_history};
use crate::model::{Digest, Kind, RepositoryName, Tag};
use crate::report::{Answer, JournalEntry};

/// A deletion that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJournalEntry {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest.
    pub digest: Digest,
    /// The tags that are deleted with the manifest, or without it.
    pub tags: Vec<Tag>,
    /// Whether only these tags are removed and the manifest is kept.
    pub tag_only: bool,
    /// What the manifest is.
    pub kind: Kind,
    /// The media type with which its bytes can be pushed again.
    pub media_type: String,
    /// The bytes of the manifest.
    pub body: Vec<u8>,
    /// The policy that decided it.
    pub policy: String,
    /// The rules that expired its tags.
    pub rules: Vec<String>,
    /// Why it is deleted, for people.
    pub reasons: Vec<String>,
    /// What a collection is expected to free for it.
    pub bytes: u64,
    /// Its children and referrers that are deleted after it.
    pub dependents: Vec<Digest>,
}

/// The columns that [`entry`] reads.
pub(super) const COLUMNS: &str = "id, run, registry, repository, digest, tags, tag_only, kind, policy, rules, \
                                  reasons, bytes, at, answer, restored, collected";

impl State {
    /// Records a deletion. When this returns, the entry is on the disk and the deletion may be sent.
    pub fn record_intent(
        &self,
        run: i64,
        registry: &str,
        new_entry: &NewJournalEntry,
        at: DateTime<Utc>,
    ) -> Result<i64, Error> {
        let NewJournalEntry {
            repository, digest, tags, tag_only, kind, policy, rules, reasons, bytes, ..
        } = new_entry;
        let registry = self.key(registry);
        self.durably(|connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO entry (run, registry, repository, digest, tags, tag_only, kind, policy, rules,
                                    reasons, bytes, at, noticed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                     (SELECT noticed FROM observation
                      WHERE repository = (SELECT id FROM repository WHERE registry = ?2 AND name = ?3)
                      AND manifest = (SELECT id FROM manifest WHERE digest = ?4)))",
            )?;
            insert.execute(params![
                run,
                registry,
                repository.as_str(),
                digest.as_str(),
                json(tags),
                tag_only,
                kind.name(),
                policy,
                json(rules),
                json(reasons),
                signed(*bytes),
                at,
            ])?;
            let id = connection.last_insert_rowid();
            let mut insert = connection.prepare_cached("INSERT INTO body VALUES (?1, ?2, ?3)")?;
            insert.execute(params![id, new_entry.media_type, new_entry.body])?;
            let mut insert =
                connection.prepare_cached("INSERT OR IGNORE INTO leftover VALUES (?1, ?2, ?3, ?4)")?;
            for dependent in &new_entry.dependents {
                insert.execute(params![registry, repository.as_str(), dependent.as_str(), id])?;
            }
            Ok(id)
        })
    }

    /// Records that the deletion was done by this run. It counts once, however often it is recorded.
    pub fn record_deleted(&self, entry: i64) -> Result<(), Error> {
        self.durably(|connection| {
            let Some(gone) = set_answer(connection, entry, "deleted")? else { return Ok(()) };
            let (column, tags) = (if gone.tag_only { "untagged" } else { "deleted" }, gone.tags.len() as u64);
            let sql = format!("UPDATE run SET {column} = {column} + 1 WHERE id = ?1");
            connection.prepare_cached(&sql)?.execute([gone.run])?;
            add(connection, TotalKind::DeletedTags, &gone.registry, &gone.policy, tags)?;
            if !gone.tag_only {
                add(connection, TotalKind::DeletedManifests, &gone.registry, &gone.policy, 1)?;
            }
            // A collection has swept it already, so there is nothing to reclaim.
            if !gone.tag_only && !gone.collected {
                add(connection, TotalKind::Reclaimable, &gone.registry, "", gone.bytes)?;
            }
            Ok(())
        })
    }

    /// Records that another client had deleted it. That is not counted. Its dependents still exist and are deleted all
    /// the same.
    pub fn record_already_gone(&self, entry: i64) -> Result<(), Error> {
        self.durably(|connection| set_answer(connection, entry, "gone").map(drop))
    }

    /// Removes the entry of a deletion that was not done.
    pub fn discard(&self, entry: i64) -> Result<(), Error> {
        self.durably(|connection| {
            connection.execute("DELETE FROM entry WHERE id = ?1 AND answer = 'sent'", [entry]).map(drop)
        })
    }

    /// Records that an undo has restored it, with these tags.
    pub fn record_restored(&self, entry: i64, tags: &[Tag], at: DateTime<Utc>) -> Result<(), Error> {
        self.durably(|connection| {
            let sql = format!("SELECT {COLUMNS}, noticed FROM entry WHERE id = ?1 AND answer <> 'gone'");
            let mut select = connection.prepare_cached(&sql)?;
            let found = select.query_row([entry], |row| Ok((self::entry(row)?, row.get(16).ok())));
            let Some((Some(found), noticed)) = found.optional()? else { return Ok(()) };
            let first = connection.execute(
                "UPDATE entry SET restored = ?2 WHERE id = ?1 AND restored IS NULL",
                params![entry, at],
            )?;
            if first == 1 && found.answer == Answer::Deleted && !found.tag_only && found.collected.is_none() {
                connection.execute(
                    "UPDATE total SET value = max(0, value - ?3) WHERE kind = ?1 AND registry = ?2",
                    params![TotalKind::Reclaimable.name(), found.registry, signed(found.bytes)],
                )?;
            }
            connection.execute("DELETE FROM leftover WHERE entry = ?1", [entry])?;
            let place = (found.registry.as_str(), &found.repository);
            scan_history::restore_manifest(connection, place, &found.digest, tags, noticed.unwrap_or(at), at)
        })
    }

    /// When the latest manifest was deleted, or may have been, that no collection has swept yet.
    pub fn youngest_waiting(&self, registry: &str) -> Result<Option<DateTime<Utc>>, Error> {
        let connection = self.durable();
        let mut select = connection.prepare_cached(
            "SELECT max(at) FROM entry WHERE registry = ?1
             AND collected IS NULL AND restored IS NULL AND tag_only = 0 AND answer <> 'gone'",
        )?;
        Ok(select.query_row([self.key(registry)], |row| row.get(0))?)
    }
}

/// The facts of a deletion that are counted.
struct Gone {
    run: i64,
    registry: String,
    policy: String,
    tags: Vec<String>,
    tag_only: bool,
    bytes: u64,
    collected: bool,
}

/// Records the answer of an entry that has none yet, and removes what was deleted from the scan history.
fn set_answer(connection: &Connection, entry: i64, answer: &str) -> Result<Option<Gone>, rusqlite::Error> {
    let mut update = connection.prepare_cached(
        "UPDATE entry SET answer = ?2 WHERE id = ?1 AND answer = 'sent'
         RETURNING run, registry, policy, tags, tag_only, bytes, collected IS NOT NULL, repository, digest",
    )?;
    let found = update.query_row(params![entry, answer], |row| {
        let gone = Gone {
            run: row.get(0)?,
            registry: row.get(1)?,
            policy: row.get(2)?,
            tags: words(row, 3).unwrap_or_default(),
            tag_only: row.get(4)?,
            bytes: unsigned(row.get(5)?),
            collected: row.get(6)?,
        };
        Ok((gone, row.get::<_, String>(7)?, row.get::<_, String>(8)?))
    });
    let Some((gone, repository, digest)) = found.optional()? else { return Ok(None) };
    if gone.tag_only {
        for tag in &gone.tags {
            scan_history::remove_tag(connection, &gone.registry, &repository, &digest, tag)?;
        }
    } else {
        scan_history::remove_manifest(connection, &gone.registry, &repository, &digest)?;
        leftovers::remove(connection, &gone.registry, &repository, &digest)?;
    }
    Ok(Some(gone))
}

/// Reads an entry; `None` if it cannot be parsed.
pub(super) fn entry(row: &Row<'_>) -> Result<Option<JournalEntry>, rusqlite::Error> {
    let kind: String = row.get(7)?;
    let answer: String = row.get(13)?;
    let names = || {
        let tags = words(row, 5)?.iter().map(|tag| Tag::parse(tag).ok()).collect::<Option<_>>()?;
        let repository = RepositoryName::parse(&row.get::<_, String>(3).ok()?).ok()?;
        Some((repository, Digest::parse(&row.get::<_, String>(4).ok()?).ok()?, tags))
    };
    let Some((repository, digest, tags)) = names() else { return Ok(None) };
    Ok(Some(JournalEntry {
        id: row.get(0)?,
        run: row.get(1)?,
        registry: row.get(2)?,
        repository,
        digest,
        tags,
        tag_only: row.get(6)?,
        kind: Kind::ALL.into_iter().find(|known| known.name() == kind).unwrap_or(Kind::Artifact),
        policy: row.get(8)?,
        rules: words(row, 9).unwrap_or_default(),
        reasons: words(row, 10).unwrap_or_default(),
        bytes: unsigned(row.get(11)?),
        at: row.get(12)?,
        answer: if answer == "deleted" { Answer::Deleted } else { Answer::Pending },
        restored: row.get(14)?,
        collected: row.get(15)?,
    }))
}

fn words(row: &Row<'_>, column: usize) -> Option<Vec<String>> {
    serde_json::from_str(row.get_ref(column).ok()?.as_str().ok()?).ok()
}

/// Records that a collection has swept what all deletions of a registry left.
pub(super) fn collected(
    connection: &Connection,
    registry: &str,
    at: DateTime<Utc>,
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "UPDATE entry SET collected = ?2 WHERE registry = ?1
         AND collected IS NULL AND restored IS NULL AND tag_only = 0 AND answer <> 'gone'",
        params![registry, at],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Facts, FirstScan, Manifest, Observation, ScanHistory};
    use crate::report::{CollectionOutcome, CollectionReport};
    use crate::state::test_support::{at, digest, name, new_entry, open, tag};

    /// Two images, of which `a` has the tags v1 and v2, and `b` v3.
    fn seen(state: &State) -> ScanHistory {
        let mut history = ScanHistory { first_scan: FirstScan::At(at(0)), ..ScanHistory::default() };
        for (word, text) in [("v1", "a"), ("v2", "a"), ("v3", "b")] {
            let digest = digest(text);
            let manifest = Manifest {
                digest: digest.clone(),
                kind: Kind::Image,
                size: 7,
                children: Vec::new(),
                subject: None,
                blobs: Vec::new(),
                facts: Facts::none(),
            };
            history.tags.insert(tag(word), digest.clone());
            history.manifests.insert(digest.clone(), Arc::new(manifest));
            history
                .observations
                .insert(digest, Observation { noticed: at(3), untagged_since: None, restored: None });
        }
        state.save_scan_history("main", &name(), &ScanHistory::default(), &history, at(4)).unwrap();
        history
    }

    fn collect(state: &State, outcome: CollectionOutcome, moment: i64) {
        let duration = std::time::Duration::ZERO;
        let collected = CollectionReport {
            at: at(moment),
            outcome,
            duration,
            downtime: duration,
            blobs: 0,
            bytes: 0,
            error: None,
        };
        state.finish_collection("main", &collected).unwrap();
    }

    fn total(state: &State, kind: TotalKind) -> u64 {
        let totals = state.totals().unwrap();
        totals.iter().filter(|total| total.kind == kind).map(|total| total.value).sum()
    }

    fn load_history(state: &State) -> ScanHistory {
        state.load_scan_history("main", &name()).unwrap()
    }

    fn find(state: &State, entry: i64) -> Option<JournalEntry> {
        state.select("id = ?1", [entry]).unwrap().pop()
    }

    fn dependents() -> NewJournalEntry {
        NewJournalEntry {
            dependents: vec![digest("child"), digest("child"), digest("sig")],
            ..new_entry("a", &["v1", "v2"], 100)
        }
    }

    #[test]
    fn intent_is_recorded_before_the_deletion() {
        let (directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let history = seen(&state);
        let id = state.record_intent(run, "main", &dependents(), at(9)).unwrap();
        drop(state);
        let state = State::open(directory.path()).unwrap();
        let expected = JournalEntry {
            id,
            run,
            registry: "main".into(),
            repository: name(),
            digest: digest("a"),
            tags: vec![tag("v1"), tag("v2")],
            tag_only: false,
            kind: Kind::Image,
            policy: "apps".into(),
            rules: vec!["old".into()],
            reasons: vec!["older than 30 days".into()],
            bytes: 100,
            at: at(9),
            answer: Answer::Pending,
            restored: None,
            collected: None,
        };
        assert_eq!(state.unanswered("main").unwrap(), [expected]);
        assert_eq!(state.unanswered("other").unwrap(), []);
        let (media_type, body) = state.entry_body(id).unwrap().unwrap();
        assert_eq!(
            (media_type.as_str(), body.as_slice()),
            ("application/vnd.oci.image.manifest.v1+json", &b"a"[..])
        );
        assert_eq!(load_history(&state), history);
        assert_eq!(state.totals().unwrap(), []);
        assert_eq!(state.youngest_waiting("main").unwrap(), Some(at(9)));
        state.record_deleted(id).unwrap();
        assert_eq!(state.run(run).unwrap().unwrap().deleted, 1);
    }

    #[test]
    fn deletion_counts_once_and_leaves_the_scan_history() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let history = seen(&state);
        let entry = state.record_intent(run, "main", &dependents(), at(9)).unwrap();
        for _ in 0..2 {
            state.record_deleted(entry).unwrap();
            state.discard(entry).unwrap();
            state.record_already_gone(entry).unwrap();
            assert_eq!(find(&state, entry).unwrap().answer, Answer::Deleted);
            let done = state.run(run).unwrap().unwrap();
            assert_eq!((done.deleted, done.untagged), (1, 0));
            assert_eq!(total(&state, TotalKind::DeletedManifests), 1);
            assert_eq!(total(&state, TotalKind::DeletedTags), 2);
            assert_eq!(state.reclaimable("main").unwrap(), 100);
        }
        assert_eq!(state.unanswered("main").unwrap(), []);
        let mut expected = history;
        expected.tags.retain(|tag, _| tag.as_str() == "v3");
        expected.manifests.remove(&digest("a"));
        expected.observations.remove(&digest("a"));
        expected.leftovers = [digest("child"), digest("sig")].into();
        assert_eq!(load_history(&state), expected);
        let child = state.record_intent(run, "main", &new_entry("child", &[], 5), at(10)).unwrap();
        assert_eq!(load_history(&state), expected);
        state.record_deleted(child).unwrap();
        assert_eq!(load_history(&state).leftovers, [digest("sig")].into());
        assert_eq!(state.load_scan_history("other", &name()).unwrap().leftovers, [].into());
    }

    #[test]
    fn tags_that_go_alone_are_counted_as_tags() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let mut expected = seen(&state);
        // v3 was moved to another manifest meanwhile.
        let tag_only = NewJournalEntry { tag_only: true, ..new_entry("a", &["v1", "v3"], 100) };
        let entry = state.record_intent(run, "main", &tag_only, at(9)).unwrap();
        state.record_deleted(entry).unwrap();
        state.record_deleted(entry).unwrap();
        let done = state.run(run).unwrap().unwrap();
        assert_eq!((done.deleted, done.untagged), (0, 1));
        assert_eq!(total(&state, TotalKind::DeletedManifests), 0);
        assert_eq!(total(&state, TotalKind::DeletedTags), 2);
        assert_eq!(state.reclaimable("main").unwrap(), 0);
        expected.tags.remove(&tag("v1"));
        assert_eq!(load_history(&state), expected);
        assert_eq!(state.youngest_waiting("main").unwrap(), None);
        assert_eq!(state.last_entry("main", &name(), &digest("a")).unwrap(), None);
        state.record_restored(entry, &[tag("v1")], at(12)).unwrap();
        expected.tags.insert(tag("v1"), digest("a"));
        expected.observations.get_mut(&digest("a")).unwrap().restored = Some(at(12));
        assert_eq!(load_history(&state), expected);
        assert_eq!(state.reclaimable("main").unwrap(), 0);
    }

    #[test]
    fn discarded_entry_leaves_nothing() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let history = seen(&state);
        let entry = state.record_intent(run, "main", &dependents(), at(9)).unwrap();
        state.discard(entry).unwrap();
        state.discard(entry).unwrap();
        state.record_deleted(entry).unwrap();
        assert_eq!(find(&state, entry), None);
        assert_eq!(state.entry_body(entry).unwrap(), None);
        assert_eq!(load_history(&state), history);
        assert_eq!(state.totals().unwrap(), []);
        assert_eq!(state.youngest_waiting("main").unwrap(), None);
    }

    #[test]
    fn deletion_by_another_client_leaves_only_its_dependents() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        seen(&state);
        let entry = state.record_intent(run, "main", &dependents(), at(9)).unwrap();
        state.record_already_gone(entry).unwrap();
        state.record_deleted(entry).unwrap();
        state.record_restored(entry, &[tag("v1")], at(10)).unwrap();
        assert_eq!(state.totals().unwrap(), []);
        assert_eq!(state.run(run).unwrap().unwrap().deleted, 0);
        assert_eq!(state.unanswered("main").unwrap(), []);
        assert_eq!(state.youngest_waiting("main").unwrap(), None);
        assert_eq!(state.last_entry("main", &name(), &digest("a")).unwrap(), None);
        assert_eq!(state.history(&crate::state::Filter::default()).unwrap()[0].1, []);
        let loaded = load_history(&state);
        assert_eq!(loaded.leftovers, [digest("child"), digest("sig")].into());
        assert_eq!(loaded.observations.into_keys().collect::<Vec<_>>(), [digest("b")]);
    }

    #[test]
    fn restored_manifest_is_as_old_as_before() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let mut expected = seen(&state);
        let entry = state.record_intent(run, "main", &dependents(), at(9)).unwrap();
        state.record_deleted(entry).unwrap();
        let other = state.record_intent(run, "main", &new_entry("b", &["v3"], 30), at(10)).unwrap();
        state.record_deleted(other).unwrap();
        assert_eq!(state.last_entry("main", &name(), &digest("a")).unwrap().unwrap().id, entry);
        for _ in 0..2 {
            state.record_restored(entry, &[tag("v1")], at(12)).unwrap();
            assert_eq!(state.reclaimable("main").unwrap(), 30);
        }
        assert_eq!(find(&state, entry).unwrap().restored, Some(at(12)));
        assert_eq!(state.last_entry("main", &name(), &digest("a")).unwrap(), None);
        assert_eq!(state.youngest_waiting("main").unwrap(), Some(at(10)));
        expected.tags.retain(|tag, _| tag.as_str() == "v1");
        expected.manifests.remove(&digest("b"));
        expected.observations.remove(&digest("b"));
        expected.observations.get_mut(&digest("a")).unwrap().restored = Some(at(12));
        assert_eq!(load_history(&state), expected);
        // It can be deleted and restored again.
        let again = state.record_intent(run, "main", &new_entry("a", &["v1"], 100), at(20)).unwrap();
        state.record_deleted(again).unwrap();
        assert_eq!(state.last_entry("main", &name(), &digest("a")).unwrap().unwrap().id, again);
    }

    #[test]
    fn restored_manifest_needs_no_scan_history() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let entry = state.record_intent(run, "main", &new_entry("a", &["v1"], 5), at(9)).unwrap();
        state.record_deleted(entry).unwrap();
        state.record_restored(entry, &[tag("v1")], at(12)).unwrap();
        let observation = Observation { noticed: at(12), untagged_since: None, restored: Some(at(12)) };
        let expected = ScanHistory {
            tags: [(tag("v1"), digest("a"))].into(),
            observations: [(digest("a"), observation)].into(),
            ..ScanHistory::default()
        };
        assert_eq!(load_history(&state), expected);
    }

    #[test]
    fn restored_manifest_that_was_observed_again_stays_as_young() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        seen(&state);
        let entry = state.record_intent(run, "main", &new_entry("a", &["v1"], 5), at(9)).unwrap();
        state.record_deleted(entry).unwrap();
        let before = load_history(&state);
        let mut after = before.clone();
        after.observations.insert(
            digest("a"),
            Observation { noticed: at(11), untagged_since: Some(at(12)), restored: None },
        );
        state.save_scan_history("main", &name(), &before, &after, at(12)).unwrap();
        state.record_restored(entry, &[], at(13)).unwrap();
        let expected = Observation { noticed: at(11), untagged_since: None, restored: Some(at(13)) };
        assert_eq!(load_history(&state).observations[&digest("a")], expected);
    }

    #[test]
    fn successful_collection_marks_all_waiting_deletions() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let gone = state.record_intent(run, "main", &new_entry("a", &[], 5), at(9)).unwrap();
        state.record_deleted(gone).unwrap();
        let sent = state.record_intent(run, "main", &new_entry("b", &[], 7), at(10)).unwrap();
        let elsewhere = state.begin_run("other", at(0)).unwrap();
        state.record_intent(elsewhere, "other", &new_entry("b", &[], 7), at(11)).unwrap();
        collect(&state, CollectionOutcome::Failed, 20);
        assert_eq!(state.youngest_waiting("main").unwrap(), Some(at(10)));
        collect(&state, CollectionOutcome::Success, 30);
        assert_eq!(state.youngest_waiting("main").unwrap(), None);
        assert_eq!(state.youngest_waiting("other").unwrap(), Some(at(11)));
        assert_eq!(find(&state, gone).unwrap().collected, Some(at(30)));
        // It was deleted before the collection, so there is nothing left to reclaim.
        state.record_deleted(sent).unwrap();
        assert_eq!(state.reclaimable("main").unwrap(), 0);
        assert_eq!(total(&state, TotalKind::DeletedManifests), 2);
        let late = state.record_intent(run, "main", &new_entry("c", &[], 11), at(40)).unwrap();
        state.record_deleted(late).unwrap();
        state.record_restored(gone, &[], at(50)).unwrap();
        assert_eq!(state.reclaimable("main").unwrap(), 11);
        assert_eq!(find(&state, late).unwrap().collected, None);
    }

    #[test]
    fn entry_needs_its_run() {
        let (_directory, state) = open();
        assert!(state.record_intent(7, "main", &new_entry("a", &[], 5), at(9)).is_err());
    }
}
