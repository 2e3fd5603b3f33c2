//! The rows of the scan history, read into manifests, observations and tags.
//!
//! A row that cannot be read counts as unknown, so the registry is asked again.

use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::sql::unsigned;
use crate::model::{Blob, Digest, Facts, Kind, Manifest, Observation, ScanHistory, Tag};

/// Loads the manifests and observations. Returns whether all of them fit.
pub(super) fn load_manifests(
    connection: &Connection,
    id: i64,
    history: &mut ScanHistory,
    mut has_room: impl FnMut(&Manifest) -> bool,
) -> Result<bool, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT digest, noticed, left_at, restored,
                known, kind, size, subject, children, blobs, created, labels, why
         FROM observation JOIN manifest ON manifest.id = observation.manifest WHERE repository = ?1",
    )?;
    let mut rows = select.query([id])?;
    while let Some(row) = rows.next()? {
        let Some(digest) = text(row, 0).and_then(|text| Digest::parse(text).ok()) else { continue };
        if let Some(observation) = observation(row) {
            history.observations.insert(digest.clone(), observation);
        }
        if let Some(manifest) = manifest(row, &digest) {
            if !has_room(&manifest) {
                return Ok(false);
            }
            history.manifests.insert(digest, Arc::new(manifest));
        }
    }
    Ok(true)
}

pub(super) fn load_tags(
    connection: &Connection,
    id: i64,
    history: &mut ScanHistory,
) -> Result<(), rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT tag, digest FROM tag JOIN manifest ON manifest.id = tag.manifest WHERE repository = ?1",
    )?;
    let mut rows = select.query([id])?;
    while let Some(row) = rows.next()? {
        let tag = text(row, 0).and_then(|text| Tag::parse(text).ok());
        let digest = text(row, 1).and_then(|text| Digest::parse(text).ok());
        if let (Some(tag), Some(digest)) = (tag, digest) {
            // A digest is a shared string: use that of the observation.
            let shared = history.observations.get_key_value(&digest).map(|(shared, _)| shared.clone());
            history.tags.insert(tag, shared.unwrap_or(digest));
        }
    }
    Ok(())
}

fn observation(row: &Row<'_>) -> Option<Observation> {
    Some(Observation {
        noticed: row.get(1).ok()?,
        untagged_since: row.get(2).ok()?,
        restored: row.get(3).ok()?,
    })
}

fn manifest(row: &Row<'_>, digest: &Digest) -> Option<Manifest> {
    let kind = text(row, 5)?;
    let blobs: Vec<(&str, u64)> = serde_json::from_str(text(row, 9)?).ok()?;
    let blob = |(digest, size)| Some(Blob { digest: Digest::parse(digest).ok()?, size });
    let subject: Option<String> = row.get(7).ok()?;
    let facts = match row.get(4).ok()? {
        1 => Facts::NotFetched { annotations: serde_json::from_str(text(row, 11)?).ok()? },
        2 => Facts::Unknown { why: row.get(12).ok()?, lasting: true },
        3 => Facts::Known { created: row.get(10).ok()?, labels: serde_json::from_str(text(row, 11)?).ok()? },
        _ => return None,
    };
    Some(Manifest {
        digest: digest.clone(),
        kind: Kind::ALL.into_iter().find(|known| known.name() == kind)?,
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
