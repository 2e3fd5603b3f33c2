//! A repository as it was at one moment.
//!
//! It must not know how it was read, or what is planned for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::manifest::Manifest;
use super::name::{Digest, RepositoryName, Tag};
use super::observation::{FirstScan, Observation};

/// What one repository held when it was scanned.
///
/// A plan needs a complete snapshot: every manifest that a tag or an index names is in `manifests` or, if
/// the registry answered that it has no such manifest, in `absent`. [`Snapshot::gap`] returns the first
/// one that is in neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The repository that was read.
    pub repository: RepositoryName,
    /// Every tag and the manifest it points to.
    pub tags: BTreeMap<Tag, Digest>,
    /// Names that the registry lists as tags although it has no manifest for them. Distribution leaves
    /// such tags behind if it crashes between the two steps of a deletion.
    pub dangling_tags: BTreeSet<String>,
    /// Every manifest that was found: from a tag, from an index, as a referrer, or from the scan history.
    pub manifests: BTreeMap<Digest, Arc<Manifest>>,
    /// Digests that were requested and that the registry does not have.
    pub absent: BTreeSet<Digest>,
    /// When the repository was scanned for the first time.
    pub first_scan: FirstScan,
    /// What earlier scans and this one have observed about its manifests.
    pub observations: BTreeMap<Digest, Observation>,
    /// Manifests whose index or subject regsweep has deleted, and that were not deleted with it.
    pub leftovers: BTreeSet<Digest>,
    /// Subjects of the manifests here that are or were in this repository. Other subjects may never have been
    /// here: cosign can keep signatures in a separate repository.
    pub seen_subjects: BTreeSet<Digest>,
}

impl Snapshot {
    /// A repository in which nothing was found.
    pub fn empty(repository: RepositoryName) -> Self {
        Self {
            repository,
            tags: BTreeMap::new(),
            dangling_tags: BTreeSet::new(),
            manifests: BTreeMap::new(),
            absent: BTreeSet::new(),
            first_scan: FirstScan::Never,
            observations: BTreeMap::new(),
            leftovers: BTreeSet::new(),
            seen_subjects: BTreeSet::new(),
        }
    }

    /// The first digest that a tag or an index points to and that was not requested.
    ///
    /// What such a manifest needs is unknown, so a plan of a snapshot with a gap deletes nothing.
    pub fn gap(&self) -> Option<&Digest> {
        let tagged = self.tags.values();
        let children = self.manifests.values().flat_map(|manifest| &manifest.children);
        tagged
            .chain(children)
            .find(|digest| !self.manifests.contains_key(*digest) && !self.absent.contains(*digest))
    }

    /// The subject of every referrer here, by its tag or its `subject` field.
    pub fn subjects(&self) -> BTreeSet<Digest> {
        let by_tag = self.tags.keys().filter_map(|tag| tag.subject()?.digest());
        by_tag.chain(self.manifests.values().filter_map(|manifest| manifest.subject.clone())).collect()
    }
}
