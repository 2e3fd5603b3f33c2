//! The digests that a collection must not sweep, in little memory.

use std::collections::HashSet;

use crate::model::{Digest, Snapshot};
use crate::plan::{RepositoryPlan, Verdict};

/// The manifests that plans keep, and everything that they refer to.
///
/// Only the first 128 bits of each digest are stored. A collision would only stop a collection that could have
/// continued.
#[derive(Debug, Default)]
pub struct RetainedDigests(HashSet<u128>);

impl RetainedDigests {
    pub(super) fn add(&mut self, snapshot: &Snapshot, plan: &RepositoryPlan) {
        for planned in plan.manifests.iter().filter(|planned| planned.verdict == Verdict::Keep) {
            self.0.insert(key(&planned.digest));
            let blobs = snapshot.manifests.get(&planned.digest).map(|manifest| manifest.blobs.iter());
            self.0.extend(blobs.into_iter().flatten().map(|blob| key(&blob.digest)));
        }
    }

    /// Whether a collection must not sweep it.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.0.contains(&key(digest))
    }
}

fn key(digest: &Digest) -> u128 {
    let digits = digest.as_str().split_once(':').map_or("", |(_, digits)| digits);
    digits.get(..32).and_then(|digits| u128::from_str_radix(digits, 16).ok()).unwrap_or_default()
}
