//! The children and referrers of manifests that are about to be deleted, read while they are still there.
//!
//! Harbor and zot delete the untagged children of an index together with it, and Harbor its referrers too. An undo
//! needs their bytes, so they are read before the index is deleted.

use std::collections::BTreeMap;

use crate::model::{Digest, RepositoryName};
use crate::plan::Planned;
use crate::registry::{self, RawManifest, Reader};

/// The manifests of one repository that are deleted because another one is.
pub(super) struct Dependents<'a> {
    reader: &'a Reader,
    repository: &'a RepositoryName,
    of: BTreeMap<&'a Digest, Vec<Digest>>,
    read: BTreeMap<Digest, RawManifest>,
}

impl<'a> Dependents<'a> {
    /// The dependents of these manifests, which are to be deleted.
    pub(super) fn of(
        reader: &'a Reader,
        repository: &'a RepositoryName,
        to_delete: impl Iterator<Item = &'a Planned>,
    ) -> Self {
        let mut of: BTreeMap<&Digest, Vec<Digest>> = BTreeMap::new();
        for planned in to_delete {
            for parent in &planned.after {
                of.entry(parent).or_default().push(planned.digest.clone());
            }
        }
        Self { reader, repository, of, read: BTreeMap::new() }
    }

    /// The manifests that are deleted right after this one.
    pub(super) fn of_manifest(&self, digest: &Digest) -> Vec<Digest> {
        self.of.get(digest).cloned().unwrap_or_default()
    }

    /// Reads the dependents of this manifest, and theirs.
    pub(super) async fn read(&mut self, digest: &Digest) -> Result<(), registry::Error> {
        let mut open = self.of_manifest(digest);
        while let Some(digest) = open.pop() {
            if self.read.contains_key(&digest) {
                continue;
            }
            if let Some(raw) = self.reader.raw_manifest(self.repository, &digest).await? {
                self.read.insert(digest.clone(), raw);
            }
            open.extend(self.of_manifest(&digest));
        }
        Ok(())
    }

    /// The bytes of this manifest, if they were read because it depends on another.
    pub(super) fn take_bytes(&mut self, digest: &Digest) -> Option<RawManifest> {
        self.read.remove(digest)
    }
}
