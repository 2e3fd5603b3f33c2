//! What belongs to a manifest that is about to go: its children and referrers, read while they are there.
//!
//! Harbor and zot delete the untagged children of an index together with it, and Harbor its referrers
//! too. So their bytes, without which nothing can be undone, are read before the index goes.

use std::collections::BTreeMap;

use crate::model::{Digest, RepositoryName};
use crate::plan::Planned;
use crate::registry::{self, RawManifest, Reader};

/// Everything in one repository that goes because something else goes.
pub(super) struct Family<'a> {
    reader: &'a Reader,
    repository: &'a RepositoryName,
    dependents: BTreeMap<&'a Digest, Vec<Digest>>,
    read: BTreeMap<Digest, RawManifest>,
}

impl<'a> Family<'a> {
    /// Of what is going to be deleted.
    pub(super) fn of(
        reader: &'a Reader,
        repository: &'a RepositoryName,
        going: impl Iterator<Item = &'a Planned>,
    ) -> Self {
        let mut dependents: BTreeMap<&Digest, Vec<Digest>> = BTreeMap::new();
        for planned in going {
            for parent in &planned.after {
                dependents.entry(parent).or_default().push(planned.digest.clone());
            }
        }
        Self { reader, repository, dependents, read: BTreeMap::new() }
    }

    /// What goes right after this one.
    pub(super) fn dependents(&self, digest: &Digest) -> Vec<Digest> {
        self.dependents.get(digest).cloned().unwrap_or_default()
    }

    /// Reads everything below this one.
    pub(super) async fn gather(&mut self, digest: &Digest) -> Result<(), registry::Error> {
        let mut open = self.dependents(digest);
        while let Some(digest) = open.pop() {
            if self.read.contains_key(&digest) {
                continue;
            }
            if let Some(raw) = self.reader.raw(self.repository, &digest).await? {
                self.read.insert(digest.clone(), raw);
            }
            open.extend(self.dependents(&digest));
        }
        Ok(())
    }

    /// The bytes of this one, if they were read because it belongs to another.
    pub(super) fn take(&mut self, digest: &Digest) -> Option<RawManifest> {
        self.read.remove(digest)
    }
}
