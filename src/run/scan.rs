//! Reads one repository into a complete snapshot, or fails.
//!
//! Each tag costs one request. A manifest is read only once, and a configuration only if the age or the labels of its
//! image are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::bounds::Bounds;
use super::context::RegistryContext;
use crate::model::{Digest, Facts, Manifest, RepositoryName, ScanHistory, Snapshot, Tag};
use crate::plan::Intent;
use crate::policy::Keep;
use crate::registry::{Error, Reference, Resolved, TagList};
use crate::report::listed;

/// How much of a repository is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Depth<'a> {
    /// What evaluating this policy needs.
    Claimed(&'a Intent),
    /// Everything.
    Everything,
}

/// What one scan of a repository has read.
pub(super) struct Scanned {
    pub(super) snapshot: Snapshot,
    /// Tagged manifests for which the registry has only answered that the tag has not changed. Distribution does (304)
    /// without checking that it has the manifest, which may be gone.
    pub(super) unconfirmed: BTreeSet<Digest>,
    /// Tagged manifests that the registry has confirmed to have.
    pub(super) confirmed: BTreeSet<Digest>,
}

/// Scans a repository. Manifests in the scan history are not read again, only which tag points where. The registry is
/// also asked for a manifest of the scan history if `must_confirm` says so.
pub(super) async fn scan(
    bounds: &mut Bounds<'_>,
    repository: &RepositoryName,
    depth: Depth<'_>,
    before: &ScanHistory,
    must_confirm: impl Fn(&Digest) -> bool,
) -> Result<Scanned, Error> {
    let context = bounds.context;
    let mut snapshot = Snapshot::empty(repository.clone());
    let mut unconfirmed = BTreeSet::new();
    let mut confirmed = BTreeSet::new();
    // A repository that was only ever pushed to by digest has no list of tags, and nothing can expire there.
    let list: TagList = context.reader.tags(repository).await?.unwrap_or_default();
    bounds.list(&list)?;
    snapshot.dangling_tags.extend(list.invalid);
    let mut found = BTreeMap::new();
    let mut resolved = stream::iter(list.tags)
        .map(async |tag| {
            let known = before.tags.get(&tag).filter(|digest| before.manifests.contains_key(digest));
            let resolved = match known.filter(|digest| must_confirm(digest)) {
                Some(known) => context.reader.confirm(repository, &tag, known).await?,
                None => context.reader.manifest(repository, Reference::Tag { tag: &tag, known }).await?,
            };
            Ok::<(Tag, Option<&Digest>, Resolved), Error>((tag, known, resolved))
        })
        .buffer_unordered(context.registry.concurrency.get());
    while let Some((tag, known, resolved)) = resolved.try_next().await? {
        match (resolved, known) {
            (Resolved::Found(manifest), _) => {
                if !found.contains_key(&manifest.digest) {
                    bounds.add(&manifest)?;
                }
                snapshot.tags.insert(tag, manifest.digest.clone());
                found.insert(manifest.digest.clone(), Arc::from(manifest));
            }
            (Resolved::Unchanged, Some(digest)) => {
                let answered = if must_confirm(digest) { &mut confirmed } else { &mut unconfirmed };
                answered.insert(digest.clone());
                snapshot.tags.insert(tag, digest.clone());
            }
            (Resolved::Absent | Resolved::Unchanged, _) => {
                snapshot.dangling_tags.insert(tag.to_string());
            }
        }
    }
    drop(resolved);
    unconfirmed.retain(|digest| !found.contains_key(digest));
    let certain = snapshot.tags.values().cloned().collect();
    let mut uncertain: BTreeSet<Digest> = before.leftovers.clone();
    match depth {
        Depth::Claimed(intent) if intent.policy().is_none_or(|policy| policy.untagged.is_none()) => {}
        Depth::Claimed(_) | Depth::Everything => uncertain.extend(before.observations.keys().cloned()),
    }
    complete(bounds, &mut snapshot, found, certain, uncertain, depth, before).await?;
    let emptied = snapshot.tags.is_empty() && !before.tags.is_empty();
    if emptied && !snapshot.manifests.is_empty() {
        // Without its tags every manifest would seem untagged, and must not be deleted for that.
        tracing::warn!(
            registry = %context.registry.name, %repository, tags = before.tags.len(),
            manifests = snapshot.manifests.len(),
            "the repository has lost all its tags, and not by regsweep: its remaining manifests are kept"
        );
        snapshot.manifests.clear();
    }
    Ok(Scanned { snapshot, unconfirmed, confirmed })
}

/// Asks the registry for each of these manifests. The tags of those that it does not have become dangling. Returns
/// whether there were any.
pub(super) async fn confirm(
    context: RegistryContext<'_>,
    snapshot: &mut Snapshot,
    digests: &BTreeSet<Digest>,
) -> Result<bool, Error> {
    let repository = &snapshot.repository;
    let answers: Vec<(&Digest, bool)> = stream::iter(digests)
        .map(async |digest| Ok::<_, Error>((digest, context.reader.has_manifest(repository, digest).await?)))
        .buffer_unordered(context.registry.concurrency.get())
        .try_collect()
        .await?;
    let gone = answers.into_iter().filter(|(_, is_there)| !is_there).map(|(digest, _)| digest);
    let gone: BTreeSet<&Digest> = gone.collect();
    if gone.is_empty() {
        return Ok(false);
    }
    let dangling = snapshot.tags.iter().filter(|(_, digest)| gone.contains(digest));
    let dangling: BTreeSet<String> = dangling.map(|(tag, _)| tag.to_string()).collect();
    snapshot.tags.retain(|_, digest| !gone.contains(digest));
    tracing::warn!(
        registry = %context.registry.name, repository = %snapshot.repository, tags = %listed(&dangling),
        "the registry lists tags whose manifests it does not have: they keep nothing"
    );
    snapshot.dangling_tags.extend(dangling);
    snapshot.manifests.retain(|digest, _| !gone.contains(digest));
    snapshot.absent.extend(gone.into_iter().cloned());
    Ok(true)
}

/// Adds manifests that the registry has named otherwise than by a tag.
pub(super) async fn extend(
    bounds: &mut Bounds<'_>,
    snapshot: &mut Snapshot,
    certain: Vec<Digest>,
    depth: Depth<'_>,
    before: &ScanHistory,
) -> Result<(), Error> {
    complete(bounds, snapshot, BTreeMap::new(), certain, BTreeSet::new(), depth, before).await
}

/// Adds manifests of the scan history that the registry still has, although no tag leads to them any more.
pub(super) async fn revisit(
    bounds: &mut Bounds<'_>,
    snapshot: &mut Snapshot,
    depth: Depth<'_>,
    before: &ScanHistory,
) -> Result<(), Error> {
    let uncertain = before.observations.keys().cloned().collect();
    complete(bounds, snapshot, BTreeMap::new(), Vec::new(), uncertain, depth, before).await
}

/// Reads manifests until everything that they point to was read or is known to be absent, then the configurations that
/// are needed.
///
/// What a tag or an index leads to is `certain` to exist, so it can be taken from the scan history. What only a
/// signature or the scan history refers to is `uncertain`: the registry is asked for it, without a condition, because
/// a conditional request by digest is answered without checking that the manifest exists.
async fn complete(
    bounds: &mut Bounds<'_>,
    snapshot: &mut Snapshot,
    mut found: BTreeMap<Digest, Arc<Manifest>>,
    mut certain: Vec<Digest>,
    mut uncertain: BTreeSet<Digest>,
    depth: Depth<'_>,
    before: &ScanHistory,
) -> Result<(), Error> {
    let (context, repository) = (bounds.context, snapshot.repository.clone());
    let mut rounds = 0;
    loop {
        bounds.deeper(&mut rounds)?;
        let mut missing = BTreeSet::new();
        while let Some(digest) = certain.pop() {
            if snapshot.manifests.contains_key(&digest) || snapshot.absent.contains(&digest) {
                continue;
            }
            // The scan history may know facts that cost a request.
            let manifest = match before.manifests.get(&digest) {
                Some(known) => {
                    bounds.reach(known)?;
                    Some(known.clone())
                }
                None => found.remove(&digest),
            };
            match manifest {
                Some(manifest) => {
                    certain.extend(manifest.children.iter().cloned());
                    snapshot.manifests.insert(digest, manifest);
                }
                None => {
                    missing.insert(digest);
                }
            }
        }
        if missing.is_empty() {
            uncertain.extend(snapshot.tags.keys().filter_map(|tag| tag.subject()?.digest()));
            uncertain.extend(snapshot.manifests.values().filter_map(|manifest| manifest.subject.clone()));
            missing = std::mem::take(&mut uncertain);
            missing.retain(|digest| {
                !snapshot.manifests.contains_key(digest) && !snapshot.absent.contains(digest)
            });
        }
        if missing.is_empty() {
            break;
        }
        let mut answers = stream::iter(missing)
            .map(async |digest| {
                let resolved = context.reader.manifest(&repository, Reference::Digest(&digest)).await?;
                Ok::<(Digest, Resolved), Error>((digest, resolved))
            })
            .buffer_unordered(context.registry.concurrency.get());
        while let Some((digest, resolved)) = answers.try_next().await? {
            if let Resolved::Found(manifest) = resolved {
                bounds.add(&manifest)?;
                found.insert(digest.clone(), Arc::from(manifest));
                certain.push(digest);
            } else {
                snapshot.absent.insert(digest);
            }
        }
    }
    bounds.check(snapshot)?;
    let needed = needs_facts(snapshot, depth);
    let open: Vec<Arc<Manifest>> =
        needed.iter().filter_map(|digest| snapshot.manifests.get(digest)).cloned().collect();
    let mut facts =
        stream::iter(open.iter().filter(|manifest| matches!(manifest.facts, Facts::NotFetched { .. })))
            .map(async |manifest| {
                let facts = context.reader.facts(&repository, manifest).await?;
                Ok::<_, Error>(Arc::new(Manifest { facts, ..Manifest::clone(manifest) }))
            })
            .buffer_unordered(context.registry.concurrency.get());
    while let Some(manifest) = facts.try_next().await? {
        bounds.learn(&manifest.facts)?;
        snapshot.manifests.insert(manifest.digest.clone(), manifest);
    }
    Ok(())
}

/// The manifests whose age and labels are needed: those that could expire, with everything below them.
fn needs_facts(snapshot: &Snapshot, depth: Depth<'_>) -> BTreeSet<Digest> {
    let Depth::Claimed(intent) = depth else { return snapshot.manifests.keys().cloned().collect() };
    let Some(policy) = intent.policy() else { return BTreeSet::new() };
    let mut roots: BTreeSet<&Digest> = snapshot.manifests.keys().collect();
    for manifest in snapshot.manifests.values() {
        for child in &manifest.children {
            roots.remove(child);
        }
    }
    // On the same manifest, a tag that could expire counts more than one that cannot. A referrer can expire without
    // any rule once its subject is gone.
    let mut could_expire = BTreeSet::new();
    for (tag, digest) in &snapshot.tags {
        match policy.decides(tag) {
            Some((rule, _)) if policy.rules[rule].keep != Keep::Everything => could_expire.insert(digest),
            _ if tag.subject().is_some() => could_expire.insert(digest),
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
