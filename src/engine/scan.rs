//! Reading one repository into a snapshot that is whole, or failing.
//!
//! Each tag is one request. Each manifest is read once, and a configuration only where somebody will
//! ask how old or how labelled its image is.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Site;
use crate::model::{Digest, Facts, RepositoryName, Snapshot, Tag};
use crate::policy::{Keep, Policy};
use crate::registry::{Error, Fetched, Reference, Resolved, TagList};

/// How much is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Depth<'a> {
    /// The configurations that judging by this policy needs.
    Claimed(&'a Policy),
    /// All of them.
    Everything,
}

/// Reads a repository. What `known` holds of it is not read again, only which tag points where.
pub(super) async fn scan(
    site: Site<'_>,
    repository: &RepositoryName,
    depth: Depth<'_>,
    known: Option<&Snapshot>,
) -> Result<Snapshot, Error> {
    let mut snapshot = Snapshot::empty(repository.clone());
    // A repository that was only ever pushed to by digest has no list, and nothing to decide on.
    let list: TagList = site.reader.tags(repository).await?.unwrap_or_default();
    snapshot.ghosts.extend(list.invalid);
    let mut fetched = BTreeMap::new();
    let mut resolved = stream::iter(list.tags)
        .map(async |tag| {
            let before = known
                .and_then(|known| known.tags.get(&tag).filter(|digest| known.manifests.contains_key(digest)));
            let reference = Reference::Tag { tag: &tag, known: before };
            let resolved = site.reader.manifest(repository, reference).await?;
            Ok::<(Tag, Option<&Digest>, Resolved), Error>((tag, before, resolved))
        })
        .buffer_unordered(site.registry.concurrency.get());
    while let Some((tag, before, resolved)) = resolved.try_next().await? {
        match (resolved, before) {
            (Resolved::Found(found), _) => {
                snapshot.tags.insert(tag, found.manifest.digest.clone());
                fetched.insert(found.manifest.digest.clone(), *found);
            }
            (Resolved::Unchanged, Some(digest)) => {
                snapshot.tags.insert(tag, digest.clone());
            }
            (Resolved::Absent | Resolved::Unchanged, _) => {
                snapshot.ghosts.insert(tag.to_string());
            }
        }
    }
    drop(resolved);
    let wanted = snapshot.tags.values().cloned().collect();
    complete(site, &mut snapshot, fetched, wanted, depth, known).await?;
    Ok(snapshot)
}

/// Adds manifests that were found by other means than a tag.
pub(super) async fn extend(
    site: Site<'_>,
    snapshot: &mut Snapshot,
    wanted: BTreeSet<Digest>,
    depth: Depth<'_>,
    known: Option<&Snapshot>,
) -> Result<(), Error> {
    complete(site, snapshot, BTreeMap::new(), wanted, depth, known).await
}

/// Reads manifests until everything that something here points to is here or known to be absent, then
/// the configurations that are needed.
async fn complete(
    site: Site<'_>,
    snapshot: &mut Snapshot,
    mut fetched: BTreeMap<Digest, Fetched>,
    mut wanted: BTreeSet<Digest>,
    depth: Depth<'_>,
    known: Option<&Snapshot>,
) -> Result<(), Error> {
    let mut configs = BTreeMap::new();
    let repository = snapshot.repository.clone();
    wanted.extend(snapshot.tags.keys().filter_map(|tag| tag.subject()?.digest()));
    loop {
        wanted.retain(|digest| !snapshot.manifests.contains_key(digest) && !snapshot.absent.contains(digest));
        let mut missing = Vec::new();
        for digest in std::mem::take(&mut wanted) {
            let manifest =
                match (fetched.remove(&digest), known.and_then(|known| known.manifests.get(&digest))) {
                    // Its facts may have been learned the last time, at the price of a request.
                    (_, Some(manifest)) => manifest.clone(),
                    (Some(found), None) => {
                        let manifest = found.manifest.clone();
                        configs.insert(digest.clone(), found);
                        manifest
                    }
                    (None, None) => {
                        missing.push(digest);
                        continue;
                    }
                };
            wanted.extend(manifest.children.iter().chain(&manifest.subject).cloned());
            snapshot.manifests.insert(digest, manifest);
        }
        let mut answers = stream::iter(missing)
            .map(async |digest| {
                let resolved = site.reader.manifest(&repository, Reference::Digest(&digest)).await?;
                Ok::<(Digest, Resolved), Error>((digest, resolved))
            })
            .buffer_unordered(site.registry.concurrency.get());
        while let Some((digest, resolved)) = answers.try_next().await? {
            if let Resolved::Found(found) = resolved {
                fetched.insert(digest.clone(), *found);
                wanted.insert(digest);
            } else {
                snapshot.absent.insert(digest);
            }
        }
        drop(answers);
        if wanted.is_empty() {
            break;
        }
    }
    let needed = needs_facts(snapshot, depth);
    let open =
        configs.into_iter().filter(|(digest, found)| found.config.is_some() && needed.contains(digest));
    let mut facts = stream::iter(open)
        .map(async |(digest, found)| {
            let facts = site.reader.facts(&repository, &found).await?;
            Ok::<(Digest, Facts), Error>((digest, facts))
        })
        .buffer_unordered(site.registry.concurrency.get());
    while let Some((digest, facts)) = facts.try_next().await? {
        if let Some(manifest) = snapshot.manifests.get_mut(&digest) {
            manifest.facts = facts;
        }
    }
    Ok(())
}

/// The manifests about which more must be known than what they need: those that could expire, with
/// everything below them.
fn needs_facts(snapshot: &Snapshot, depth: Depth<'_>) -> BTreeSet<Digest> {
    let Depth::Claimed(policy) = depth else { return snapshot.manifests.keys().cloned().collect() };
    let mut roots: BTreeSet<&Digest> = snapshot.manifests.keys().collect();
    for manifest in snapshot.manifests.values() {
        for child in &manifest.children {
            roots.remove(child);
        }
    }
    // A tag that could expire counts for more than one that cannot, on the same manifest.
    let mut could_expire = BTreeSet::new();
    for (tag, digest) in snapshot.tags.iter().filter(|(tag, _)| tag.subject().is_none()) {
        match policy.decides(tag) {
            Some((rule, _)) if policy.rules[rule].keep != Keep::Everything => could_expire.insert(digest),
            _ => roots.remove(digest),
        };
    }
    roots.extend(could_expire);
    let mut needed: BTreeSet<Digest> = BTreeSet::new();
    let mut open: Vec<&Digest> = roots.into_iter().collect();
    while let Some(digest) = open.pop() {
        if needed.insert(digest.clone())
            && let Some(manifest) = snapshot.manifests.get(digest)
        {
            open.extend(&manifest.children);
        }
    }
    needed
}
