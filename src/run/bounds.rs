//! How much of a repository may be read: in memory, in depth and in number of requests.
//!
//! Anyone with push access can push anything, and a hostile registry can invent more with every answer. What exceeds a
//! bound is an error of that repository, which is left alone.

use std::collections::{HashSet, VecDeque};

use super::context::RegistryContext;
use crate::model::{Digest, Facts, Manifest, RepositoryName, ScanHistory, Snapshot};
use crate::registry::{Error, TagList};

/// The bytes that the manifests of a repository may take in memory together: about 150,000 images. Repositories that
/// are scanned at the same time also share this many evenly.
const MAX_BYTES: usize = 512 << 20;
/// Roughly what a manifest takes besides its lists.
const MANIFEST_BYTES: usize = 512;
/// Roughly what a tag, a child, a blob or a label takes besides its text.
const ENTRY_BYTES: usize = 128;

/// How often a scan may find something that leads to more: an index in an index, a signature of a signature.
const MAX_ROUNDS: usize = 100;

/// How many manifests may be below all indexes together. In a chain of indexes, each one has all others below it, and
/// all of them are visited to compute its age and size.
const MAX_BELOW: usize = 5_000_000;

/// How much memory a repository may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// All of [`MAX_BYTES`], which one repository may take at a time.
    Whole,
    /// This many bytes, while other repositories are scanned. All of its scan history counts, needed or not.
    Bytes(usize),
}

impl Share {
    /// The share of each of this many repositories.
    pub(super) fn of(concurrency: usize) -> Self {
        Self::Bytes(MAX_BYTES / concurrency.max(1))
    }
}

/// What has been read of a repository so far.
pub(super) struct Bounds<'a> {
    pub(super) context: RegistryContext<'a>,
    repository: RepositoryName,
    share: Share,
    bytes: usize,
    exceeded: bool,
}

impl<'a> Bounds<'a> {
    /// The bounds of a repository of which nothing was read yet.
    pub(super) fn of(context: RegistryContext<'a>, repository: &RepositoryName, share: Share) -> Self {
        Self { context, repository: repository.clone(), share, bytes: 0, exceeded: false }
    }

    /// Whether the repository failed because it exceeded its share, and may be read again without other repositories.
    pub(super) fn exceeded_share(&self) -> bool {
        self.exceeded
    }

    /// A function that returns for each loaded manifest whether it still fits into the share.
    pub(super) fn fits(&self) -> impl FnMut(&Manifest) -> bool + Send + 'static {
        let (share, mut bytes) = (self.share, 0_usize);
        move |manifest| {
            bytes = bytes.saturating_add(weight(manifest));
            match share {
                Share::Whole => true,
                Share::Bytes(most) => bytes <= most,
            }
        }
    }

    /// Counts a loaded scan history; `None` if it did not fit.
    pub(super) fn load(&mut self, before: Option<ScanHistory>) -> Result<ScanHistory, Error> {
        let Some(before) = before else {
            self.grow(usize::MAX)?;
            return Ok(ScanHistory::default());
        };
        if self.share != Share::Whole {
            let bytes = before.manifests.values().map(|manifest| weight(manifest));
            self.grow(bytes.fold(0, usize::saturating_add))?;
        }
        Ok(before)
    }

    /// Counts the list of tags.
    pub(super) fn list(&mut self, list: &TagList) -> Result<(), Error> {
        let tags = list.tags.iter().map(|tag| ENTRY_BYTES + tag.as_str().len());
        self.grow(tags.sum())
    }

    /// Counts a manifest that was read.
    pub(super) fn add(&mut self, manifest: &Manifest) -> Result<(), Error> {
        self.grow(weight(manifest))
    }

    /// Counts a manifest of the scan history that is used.
    pub(super) fn reach(&mut self, known: &Manifest) -> Result<(), Error> {
        if self.share == Share::Whole { self.grow(weight(known)) } else { Ok(()) }
    }

    /// Counts the facts of a manifest that was counted before.
    pub(super) fn learn(&mut self, facts: &Facts) -> Result<(), Error> {
        self.grow(facts_weight(facts))
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(bytes);
        let most = match self.share {
            Share::Whole => MAX_BYTES,
            Share::Bytes(most) => most.min(MAX_BYTES),
        };
        if self.bytes <= most {
            return Ok(());
        }
        self.exceeded = self.share != Share::Whole;
        let most = most >> 20;
        Err(self.too_much(format!("its manifests take more than {most} MiB: split the repository")))
    }

    /// Counts one more step away from what the tags lead to.
    pub(super) fn deeper(&self, rounds: &mut usize) -> Result<(), Error> {
        *rounds += 1;
        if *rounds <= MAX_ROUNDS {
            return Ok(());
        }
        let message = format!("its manifests lead from one to the next more than {MAX_ROUNDS} times");
        Err(self.too_much(message))
    }

    /// Whether all that was read can be evaluated.
    pub(super) fn check(&self, snapshot: &Snapshot) -> Result<(), Error> {
        if is_too_nested(snapshot, MAX_BELOW) {
            return Err(self.too_much("its indexes are nested too deep to be evaluated".to_owned()));
        }
        Ok(())
    }

    fn too_much(&self, message: String) -> Error {
        self.context.reader.too_large(&self.repository, message)
    }
}

/// Roughly how many bytes a manifest takes in memory.
fn weight(manifest: &Manifest) -> usize {
    let entries = manifest.children.len() + manifest.blobs.len();
    MANIFEST_BYTES + entries * ENTRY_BYTES + facts_weight(&manifest.facts)
}

fn facts_weight(facts: &Facts) -> usize {
    match facts {
        Facts::Known { labels, .. } | Facts::NotFetched { annotations: labels } => {
            labels.iter().map(|(key, value)| ENTRY_BYTES + key.len() + value.len()).sum()
        }
        Facts::Unknown { why, .. } => why.len(),
    }
}

/// Whether more than this many manifests are below the indexes, each counted once for each index.
fn is_too_nested(snapshot: &Snapshot, most: usize) -> bool {
    let mut below = 0;
    for index in snapshot.manifests.values().filter(|manifest| !manifest.children.is_empty()) {
        let mut seen: HashSet<&Digest> = HashSet::new();
        let mut open: VecDeque<&Manifest> = VecDeque::from([index.as_ref()]);
        while let Some(manifest) = open.pop_front() {
            for child in manifest.children.iter().filter(|child| seen.insert(child)) {
                below += 1;
                if below > most {
                    return true;
                }
                open.extend(snapshot.manifests.get(child).map(AsRef::as_ref));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::{Blob, Kind};

    fn digest(number: usize) -> Digest {
        Digest::of(number.to_string().as_bytes())
    }

    fn manifest(number: usize, children: Vec<Digest>) -> Manifest {
        Manifest {
            digest: digest(number),
            kind: Kind::Index,
            size: 1,
            children,
            subject: None,
            blobs: Vec::new(),
            facts: Facts::none(),
        }
    }

    fn snapshot(manifests: impl Iterator<Item = Manifest>) -> Snapshot {
        let mut snapshot = Snapshot::empty(RepositoryName::parse("app").unwrap());
        snapshot.manifests =
            manifests.map(|manifest| (manifest.digest.clone(), Arc::new(manifest))).collect();
        snapshot
    }

    #[test]
    fn long_chains_and_circles_are_too_nested_and_ordinary_indexes_are_not() {
        let chain =
            |length: usize| snapshot((0..length).map(|number| manifest(number, vec![digest(number + 1)])));
        assert!(is_too_nested(&chain(200), 10_000));
        assert!(!is_too_nested(&chain(100), 10_000));
        // Digests do not allow a circle, but a damaged scan history could contain one.
        let circle = snapshot((0..200).map(|number| manifest(number, vec![digest((number + 1) % 200); 50])));
        assert!(is_too_nested(&circle, 10_000));
        let wide = snapshot((0..100).map(|number| manifest(number, (1000..1100).map(digest).collect())));
        assert!(!is_too_nested(&wide, 10_000));
    }

    #[test]
    fn weight_counts_every_part_of_a_manifest() {
        let plain = weight(&manifest(0, Vec::new()));
        let blob = Blob { digest: digest(1), size: u64::MAX };
        let labels = BTreeMap::from([("a".to_owned(), "b".repeat(1 << 20))]);
        for large in [
            manifest(0, vec![digest(1); 10_000]),
            Manifest { blobs: vec![blob; 10_000], ..manifest(0, Vec::new()) },
            Manifest { facts: Facts::NotFetched { annotations: labels.clone() }, ..manifest(0, Vec::new()) },
            Manifest { facts: Facts::Known { created: None, labels }, ..manifest(0, Vec::new()) },
        ] {
            assert!(weight(&large) > plain + (1 << 20));
        }
    }
}
