//! What earlier looks at a repository have found, and what one more look adds to it.
//!
//! It judges nothing: how old something is for all this is the plan's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Digest, Manifest, Snapshot, Tag};

/// What is remembered of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanHistory {
    /// When it was looked at for the first time.
    pub first_scan: FirstScan,
    /// Every tag and the manifest it pointed to at the last look.
    pub tags: BTreeMap<Tag, Digest>,
    /// Manifests that were read. They never change, so they need not be read again.
    pub manifests: BTreeMap<Digest, Arc<Manifest>>,
    /// When each manifest was noticed; of manifests that no tag leads to any more, too.
    pub observations: BTreeMap<Digest, Observation>,
    /// Manifests that were to go with an index or a subject that regsweep deleted, did not yet, and were not
    /// tagged since, alone or in another index.
    pub leftovers: BTreeSet<Digest>,
    /// Subjects of what was there at the last look that were seen in this repository then or before.
    pub seen_subjects: BTreeSet<Digest>,
}

/// When a repository was looked at for the first time.
///
/// What was there at the first look may have been there for years; what was noticed later was pushed
/// between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstScan {
    /// It never was.
    #[default]
    Never,
    /// Then.
    At(DateTime<Utc>),
    /// It never was, as far as anybody remembers: an older memory was lost.
    Lost,
    /// Then, for the first time after an older memory was lost.
    AfterLoss(DateTime<Utc>),
}

/// What looking has told about one manifest of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// The look that found it new, or found a tag on it that was new: the first look, if it was there then.
    pub noticed: DateTime<Utc>,
    /// The look that found nothing leading to it any more.
    pub untagged_since: Option<DateTime<Utc>>,
    /// When an undo put it back.
    pub restored: Option<DateTime<Utc>>,
}

impl ScanHistory {
    /// Adds what a look at this moment has found, and tells the snapshot what is known from before.
    ///
    /// A list that is suddenly empty proves too little to forget what its tags were: then the memory
    /// stays as it was.
    ///
    /// What has exactly the moment of the first look was there then. Clocks can be wrong, so an earlier
    /// moment is that of a later look all the same.
    pub fn record(&self, snapshot: &mut Snapshot, at: DateTime<Utc>) -> Self {
        let first_scan = match self.first_scan {
            FirstScan::Never => FirstScan::At(at),
            FirstScan::Lost => FirstScan::AfterLoss(at),
            known => known,
        };
        let emptied = snapshot.tags.is_empty() && !self.tags.is_empty();
        let reached = reached(snapshot, |_| true);
        // A signature's own tag says nothing of whether anybody wants it.
        let wanted = self::reached(snapshot, |tag| tag.subject().is_none());
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
        let is_left =
            |digest: &&Digest| snapshot.manifests.contains_key(*digest) && !wanted.contains(*digest);
        let leftovers: BTreeSet<Digest> = self.leftovers.iter().filter(is_left).cloned().collect();
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
        drop(wanted);
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

impl Snapshot {
    /// Every manifest that something here says it is about, by its tag or in itself.
    pub fn subjects(&self) -> BTreeSet<Digest> {
        let by_tag = self.tags.keys().filter_map(|tag| tag.subject()?.digest());
        by_tag.chain(self.manifests.values().filter_map(|manifest| manifest.subject.clone())).collect()
    }
}

/// The manifests that such a tag leads to, by way of indexes too.
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
