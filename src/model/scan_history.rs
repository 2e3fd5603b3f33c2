//! What earlier scans of a repository have found, and what one more scan adds to it.
//!
//! It must not know how old something is by that: `plan` decides it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::manifest::Manifest;
use super::name::{Digest, Tag};
use super::observation::{FirstScan, Observation};
use super::snapshot::Snapshot;

/// What earlier scans have found in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanHistory {
    /// When it was scanned for the first time.
    pub first_scan: FirstScan,
    /// Every tag and the manifest it pointed to at the last scan.
    pub tags: BTreeMap<Tag, Digest>,
    /// Manifests that were read. A manifest never changes, so it is not read twice.
    pub manifests: BTreeMap<Digest, Arc<Manifest>>,
    /// When each manifest was observed, also of manifests that no tag leads to any more.
    pub observations: BTreeMap<Digest, Observation>,
    /// Manifests that were to be deleted with an index or a subject, are still there although that is deleted,
    /// and were not tagged since, by a tag of their own or of another index.
    pub leftovers: BTreeSet<Digest>,
    /// Subjects of the referrers of the last scan that this or an earlier scan has seen in this repository.
    pub seen_subjects: BTreeSet<Digest>,
}

impl ScanHistory {
    /// The history with the scan of this moment added. The snapshot gets what is known from earlier scans.
    ///
    /// If all tags of a repository are missing at once, that may be a fault of the registry, so the tags of the
    /// last scan stay in the history.
    ///
    /// A manifest was there at the first scan if its moment is exactly that of the first scan. An earlier moment
    /// comes from a later scan with a wrong clock.
    pub fn record(&self, snapshot: &mut Snapshot, at: DateTime<Utc>) -> Self {
        let first_scan = match self.first_scan {
            FirstScan::Never => FirstScan::At(at),
            FirstScan::Lost => FirstScan::AfterLoss(at),
            known => known,
        };
        let emptied = snapshot.tags.is_empty() && !self.tags.is_empty();
        let reached = reached(snapshot, |_| true);
        // The tag of a signature does not show that the signature is still used.
        let used = self::reached(snapshot, |tag| tag.subject().is_none());
        let gained: BTreeSet<&Digest> = snapshot
            .tags
            .iter()
            .filter(|(tag, digest)| self.tags.get(*tag) != Some(digest))
            .map(|(_, digest)| digest)
            .collect();
        let mut observations = BTreeMap::new();
        for (digest, before) in
            self.observations.iter().filter(|(digest, _)| !snapshot.absent.contains(*digest))
        {
            let untagged_since =
                if reached.contains(digest) || emptied { None } else { before.untagged_since.or(Some(at)) };
            let noticed = if gained.contains(digest) { at } else { before.noticed };
            observations.insert(digest.clone(), Observation { noticed, untagged_since, ..*before });
        }
        for digest in &reached {
            let new = Observation { noticed: at, untagged_since: None, restored: None };
            observations.entry((*digest).clone()).or_insert(new);
        }
        let is_leftover =
            |digest: &&Digest| snapshot.manifests.contains_key(*digest) && !used.contains(*digest);
        let leftovers: BTreeSet<Digest> = self.leftovers.iter().filter(is_leftover).cloned().collect();
        let mut seen_subjects = snapshot.subjects();
        seen_subjects.retain(|subject| {
            snapshot.manifests.contains_key(subject)
                || snapshot.seen_subjects.contains(subject)
                || self.seen_subjects.contains(subject)
                || self.observations.contains_key(subject)
        });
        let mut manifests = snapshot.manifests.clone();
        for (digest, manifest) in &self.manifests {
            if observations.contains_key(digest) {
                manifests.entry(digest.clone()).or_insert_with(|| manifest.clone());
            }
        }
        let mut tags = if emptied { &self.tags } else { &snapshot.tags }.clone();
        tags.retain(|_, digest| !snapshot.absent.contains(digest));
        drop(gained);
        drop(reached);
        drop(used);
        snapshot.first_scan = first_scan;
        snapshot.observations = observations.clone();
        snapshot.leftovers = leftovers.clone();
        snapshot.seen_subjects = seen_subjects.clone();
        if emptied {
            seen_subjects.extend(self.seen_subjects.iter().cloned());
        }
        Self { first_scan, tags, manifests, observations, leftovers, seen_subjects }
    }
}

/// The manifests that these tags lead to, directly or by an index.
fn reached(snapshot: &Snapshot, by: impl Fn(&Tag) -> bool) -> BTreeSet<&Digest> {
    let mut reached = BTreeSet::new();
    let tags = snapshot.tags.iter().filter(|(tag, _)| by(tag));
    let mut open: Vec<&Digest> = tags.map(|(_, digest)| digest).collect();
    while let Some(digest) = open.pop() {
        let Some((digest, manifest)) = snapshot.manifests.get_key_value(digest) else { continue };
        if reached.insert(digest) {
            open.extend(&manifest.children);
        }
    }
    reached
}
