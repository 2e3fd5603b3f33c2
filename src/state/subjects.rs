//! Subjects of referrers that were seen in their repository, even if they are deleted now.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::error::Error;
use super::store::State;
use crate::model::{Digest, RepositoryName, ScanHistory};

impl State {
    /// Those of these digests that the journal has in this repository: they existed there.
    pub fn journaled(
        &self,
        registry: &str,
        repository: &RepositoryName,
        digests: &BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, Error> {
        let registry = self.key(registry);
        let connection = self.durable();
        let mut select = connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE registry = ?1 AND repository = ?2 AND digest = ?3)",
        )?;
        let mut found = BTreeSet::new();
        for digest in digests {
            if select.query_row([&registry, repository.as_str(), digest.as_str()], |row| row.get(0))? {
                found.insert(digest.clone());
            }
        }
        Ok(found)
    }
}

pub(super) fn load(
    connection: &Connection,
    id: i64,
    history: &mut ScanHistory,
) -> Result<(), rusqlite::Error> {
    let mut select = connection.prepare_cached("SELECT digest FROM seen_subject WHERE repository = ?1")?;
    let mut rows = select.query([id])?;
    while let Some(row) = rows.next()? {
        history.seen_subjects.extend(row.get_ref(0)?.as_str().ok().and_then(|text| Digest::parse(text).ok()));
    }
    Ok(())
}

pub(super) fn save(
    connection: &Connection,
    id: i64,
    before: &ScanHistory,
    after: &ScanHistory,
) -> Result<(), rusqlite::Error> {
    let mut insert =
        connection.prepare_cached("INSERT INTO seen_subject VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for subject in after.seen_subjects.difference(&before.seen_subjects) {
        insert.execute(params![id, subject.as_str()])?;
    }
    let mut delete =
        connection.prepare_cached("DELETE FROM seen_subject WHERE repository = ?1 AND digest = ?2")?;
    for subject in before.seen_subjects.difference(&after.seen_subjects) {
        delete.execute(params![id, subject.as_str()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::test_support::{at, digest, new_entry, open};

    #[test]
    fn journaled_digests_existed() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let [deleted, gone, sent, kept] = ["a", "b", "c", "d"]
            .map(|word| state.record_intent(run, "main", &new_entry(word, &[], 5), at(9)).unwrap());
        state.record_deleted(deleted).unwrap();
        state.record_already_gone(gone).unwrap();
        state.discard(kept).unwrap();
        let all = ["a", "b", "c", "d", "e"].map(digest).into();
        let found = |registry: &str, repository: &str| {
            state.journaled(registry, &RepositoryName::parse(repository).unwrap(), &all).unwrap()
        };
        assert_eq!(found("main", "team/app"), ["a", "b", "c"].map(digest).into());
        assert_eq!(found("main", "other"), BTreeSet::new());
        assert_eq!(found("other", "team/app"), BTreeSet::new());
        state.record_deleted(sent).unwrap();
        state.record_restored(sent, &[], at(10)).unwrap();
        assert_eq!(found("main", "team/app"), ["a", "b", "c"].map(digest).into());
    }
}
