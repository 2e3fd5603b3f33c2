//! Which manifests of a repository need which: indexes and their children, subjects and their referrers.
//!
//! It must not know rules or ages. Nothing here recurses, because indexes can be nested to any depth.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::verdict::Counted;
use crate::model::{Digest, Kind, Manifest, Snapshot, Tag, TagSubject};

/// The manifests of a snapshot, numbered in the order of their digests, and the edges between them.
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<&'a Manifest>,
    /// All tags of each manifest in natural order.
    pub(super) tags: Vec<Vec<&'a Tag>>,
    /// The tags of each manifest that rules can claim, in natural order: all but those of referrers whose subject
    /// is or was in this repository.
    pub(super) claimable_tags: Vec<Vec<&'a Tag>>,
    /// The manifests here that each index lists.
    pub(super) children: Vec<Vec<usize>>,
    /// The indexes that list each manifest.
    pub(super) parents: Vec<Vec<usize>>,
    /// The manifests here that refer to each manifest.
    pub(super) referrers: Vec<Vec<usize>>,
    /// The manifests here that each manifest refers to.
    pub(super) subjects: Vec<Vec<usize>>,
    /// The subjects of each manifest that are not here.
    pub(super) missing_subjects: Vec<Vec<MissingSubject>>,
}

/// A subject that is not among the manifests of the snapshot.
pub(super) enum MissingSubject {
    /// It was in this repository, and is deleted.
    Deleted(String),
    /// It is not in this repository and, as far as is known, never was: it may be in another repository.
    Elsewhere,
    /// It was not requested.
    Unread(String),
}

impl<'a> Graph<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let nodes: Vec<&Manifest> = snapshot.manifests.values().map(AsRef::as_ref).collect();
        let number: BTreeMap<&Digest, usize> =
            nodes.iter().enumerate().map(|(node, manifest)| (&manifest.digest, node)).collect();
        let mut graph = Self {
            tags: vec![Vec::new(); nodes.len()],
            claimable_tags: vec![Vec::new(); nodes.len()],
            children: vec![Vec::new(); nodes.len()],
            parents: vec![Vec::new(); nodes.len()],
            referrers: vec![Vec::new(); nodes.len()],
            subjects: vec![Vec::new(); nodes.len()],
            missing_subjects: nodes.iter().map(|_| Vec::new()).collect(),
            nodes,
        };
        let mut about = BTreeSet::new();
        for node in 0..graph.nodes.len() {
            let manifest = graph.nodes[node];
            // An index can list as a blob what is a manifest, and needs that too.
            let blobs =
                manifest.blobs.iter().map(|blob| &blob.digest).filter(|_| manifest.kind == Kind::Index);
            let listed = manifest.children.iter().chain(blobs);
            let mut listed: Vec<usize> = listed.filter_map(|digest| number.get(digest).copied()).collect();
            listed.sort_unstable();
            listed.dedup();
            for &child in listed.iter().filter(|&&child| child != node) {
                graph.children[node].push(child);
                graph.parents[child].push(node);
            }
            if let Some(subject) = &manifest.subject {
                let known = number.get(subject).copied();
                graph
                    .refer(&mut about, node, known, || missing(snapshot, Some(subject), subject.to_string()));
            }
        }
        for (tag, digest) in &snapshot.tags {
            let Some(&node) = number.get(digest) else { continue };
            graph.tags[node].push(tag);
            if let Some(subject) = tag.subject() {
                let exact = subject.digest();
                let known = match &exact {
                    Some(exact) => number.get(exact).copied(),
                    None => first_match(&graph.nodes, &subject),
                };
                graph.refer(&mut about, node, known, || {
                    missing(snapshot, exact.as_ref(), subject.to_string())
                });
            }
        }
        for node in 0..graph.nodes.len() {
            graph.tags[node].sort_by(|a, b| a.natural_cmp(b));
            graph.claimable_tags[node] = graph.claimable(node);
        }
        graph
    }

    /// Adds an edge from a referrer to its subject. `about` contains the edges so far.
    fn refer(
        &mut self,
        about: &mut BTreeSet<(usize, usize)>,
        referrer: usize,
        subject: Option<usize>,
        missing: impl FnOnce() -> MissingSubject,
    ) {
        match subject {
            // A manifest cannot refer to itself, so such a tag is ignored.
            Some(subject) if subject == referrer => {}
            Some(subject) if !about.insert((referrer, subject)) => {}
            Some(subject) => {
                self.subjects[referrer].push(subject);
                self.referrers[subject].push(referrer);
            }
            None => self.missing_subjects[referrer].push(missing()),
        }
    }

    /// Whether a manifest may refer to something in another repository.
    pub(super) fn refers_elsewhere(&self, node: usize) -> bool {
        self.missing_subjects[node].iter().any(|subject| matches!(subject, MissingSubject::Elsewhere))
    }

    /// The tags of a manifest that rules can claim.
    fn claimable(&self, node: usize) -> Vec<&'a Tag> {
        let elsewhere = self.refers_elsewhere(node);
        let tags = self.tags[node].iter().copied();
        tags.filter(|tag| !self.is_referrers(node, tag) || elsewhere && self.is_detached(node, tag)).collect()
    }

    /// Whether this is the tag of a referrer. A tag that names its own manifest is not.
    pub(super) fn is_referrers(&self, node: usize, tag: &Tag) -> bool {
        tag.subject().is_some_and(|subject| !subject.is(&self.nodes[node].digest))
    }

    /// Whether this is the tag of a referrer whose subject is not here.
    fn is_detached(&self, node: usize, tag: &Tag) -> bool {
        let is_here = |subject: TagSubject| {
            self.subjects[node].iter().any(|&other| subject.is(&self.nodes[other].digest))
        };
        self.is_referrers(node, tag) && !tag.subject().is_some_and(is_here)
    }

    /// How `at_least` and `max_percent` count a manifest. Referrers of a subject here are not counted.
    pub(super) fn counted_as(&self, node: usize) -> Option<Counted> {
        let tags = || self.tags[node].iter().copied();
        if tags().any(|tag| !self.is_referrers(node, tag)) {
            Some(Counted::Image)
        } else {
            tags().any(|tag| self.is_detached(node, tag)).then_some(Counted::Referrer)
        }
    }

    /// A manifest and all its descendants, each once.
    pub(super) fn with_descendants(&self, node: usize) -> impl Iterator<Item = usize> {
        reach(&[node], |node| self.children[node].iter().copied()).into_keys()
    }

    /// What must be kept because these are kept: children, referrers and subjects, and theirs, each with its
    /// distance from a manifest that is kept for a reason of its own.
    pub(super) fn needed_by(&self, kept: &[usize]) -> BTreeMap<usize, usize> {
        reach(kept, |node| {
            let dependents = self.children[node].iter().chain(&self.referrers[node]);
            dependents.chain(&self.subjects[node]).copied()
        })
    }

    /// What is deleted when these are deleted: children and referrers, and theirs, unless they are kept.
    pub(super) fn deleted_with(&self, expired: &[usize], kept: &BTreeMap<usize, usize>) -> BTreeSet<usize> {
        let deleted = reach(expired, |node| {
            let dependents = self.children[node].iter().chain(&self.referrers[node]);
            dependents.copied().filter(|other| !kept.contains_key(other))
        });
        deleted.into_keys().collect()
    }

    /// Bytes of a manifest and all its descendants, each manifest and blob counted once.
    pub(super) fn bytes(&self, node: usize) -> u64 {
        let members: Vec<usize> = self.with_descendants(node).collect();
        let blobs: BTreeMap<&Digest, u64> = members
            .iter()
            .flat_map(|&member| &self.nodes[member].blobs)
            .map(|blob| (&blob.digest, blob.size))
            .collect();
        let manifests = members.iter().map(|&member| self.nodes[member].size);
        manifests.chain(blobs.into_values()).fold(0, u64::saturating_add)
    }
}

/// The first of the manifests, which are in the order of their digests, that is the subject.
fn first_match(nodes: &[&Manifest], subject: &TagSubject) -> Option<usize> {
    let prefix = subject.to_string();
    let first = nodes.partition_point(|manifest| manifest.digest.as_str() < prefix.as_str());
    nodes.get(first).is_some_and(|manifest| subject.is(&manifest.digest)).then_some(first)
}

fn missing(snapshot: &Snapshot, digest: Option<&Digest>, text: String) -> MissingSubject {
    match digest {
        Some(digest) if !snapshot.absent.contains(digest) => MissingSubject::Unread(text),
        Some(digest) if snapshot.seen_subjects.contains(digest) => MissingSubject::Deleted(text),
        Some(_) => MissingSubject::Elsewhere,
        None => MissingSubject::Unread(text),
    }
}

/// Everything that can be reached from these, breadth first, with its distance from them.
fn reach<I: Iterator<Item = usize>>(from: &[usize], next: impl Fn(usize) -> I) -> BTreeMap<usize, usize> {
    let mut reached: BTreeMap<usize, usize> = from.iter().map(|&node| (node, 0)).collect();
    let mut open: VecDeque<(usize, usize)> = from.iter().map(|&node| (node, 0)).collect();
    while let Some((node, distance)) = open.pop_front() {
        for other in next(node) {
            if let Entry::Vacant(entry) = reached.entry(other) {
                entry.insert(distance + 1);
                open.push_back((other, distance + 1));
            }
        }
    }
    reached
}
