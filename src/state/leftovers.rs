//! Leftovers: manifests that a run should have deleted together with an index or a subject, and did not yet.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::model::{Digest, RepositoryName};

/// The manifests of a repository that should have been deleted after another one and were not yet.
pub(super) fn load(
    connection: &Connection,
    registry: &str,
    repository: &RepositoryName,
) -> Result<BTreeSet<Digest>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT leftover.digest FROM leftover JOIN entry ON entry.id = leftover.entry
         WHERE leftover.registry = ?1 AND leftover.repository = ?2
         AND entry.answer <> 'sent' AND entry.restored IS NULL",
    )?;
    let rows = select.query_map([registry, repository.as_str()], |row| row.get::<_, String>(0))?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|text| Digest::parse(text).ok()).collect())
}

/// Records that a manifest is no leftover any more.
pub(super) fn remove(
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
