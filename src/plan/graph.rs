//! Who needs whom in a repository: indexes and their children, subjects and their referrers.
//!
//! It knows no rules. Nothing here recurses: an index can be nested as deep as somebody cares to push.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};

use super::age::Age;
use super::{Counted, Verdict};
use crate::model::{Digest, Kind, Manifest, Snapshot, Tag, TagSubject};

/// The manifests of a snapshot, numbered in the order of their digests, and the edges between them.
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<&'a Manifest>,
    /// All tags of each manifest in natural order.
    pub(super) tags: Vec<Vec<&'a Tag>>,
    /// The tags of each manifest that rules can claim, in natural order: not those of referrers whose subject
    /// is or was in this repository.
    pub(super) claimable_tags: Vec<Vec<&'a Tag>>,
    /// The manifests here that each index lists.
    pub(super) children: Vec<Vec<usize>>,
    /// The indexes that list each manifest.
    pub(super) parents: Vec<Vec<usize>>,
    /// The manifests here that are about each manifest.
    pub(super) referrers: Vec<Vec<usize>>,
    /// The manifests here that each manifest is about.
    pub(super) subjects: Vec<Vec<usize>>,
    /// What each manifest is about that is not here.
    pub(super) missing_subjects: Vec<Vec<MissingSubject>>,
}

/// A subject that is not among the manifests of the snapshot.
pub(super) enum MissingSubject {
    /// It was in this repository, and is no more.
    Gone(String),
    /// It is not in this repository, and as far as anybody knows never was: it may be in another one.
    Elsewhere,
    /// Nobody asked.
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
            // What an index calls a blob and is a manifest all the same, it needs no less.
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
                    None => first_with(&graph.nodes, &subject),
                };
                graph.refer(&mut about, node, known, || {
                    missing(snapshot, exact.as_ref(), subject.to_string())
                });
            }
        }
        for node in 0..graph.nodes.len() {
            graph.tags[node].sort_by(|a, b| natural(a, b));
            graph.claimable_tags[node] = graph.claimable(node);
        }
        graph
    }

    /// `about` holds the pairs that are known already.
    fn refer(
        &mut self,
        about: &mut BTreeSet<(usize, usize)>,
        referrer: usize,
        subject: Option<usize>,
        missing: impl FnOnce() -> MissingSubject,
    ) {
        match subject {
            // A manifest cannot be about itself: a tag that says so says nothing.
            Some(subject) if subject == referrer => {}
            Some(subject) if !about.insert((referrer, subject)) => {}
            Some(subject) => {
                self.subjects[referrer].push(subject);
                self.referrers[subject].push(referrer);
            }
            None => self.missing_subjects[referrer].push(missing()),
        }
    }

    /// Whether a manifest may be about something in another repository.
    pub(super) fn is_about_elsewhere(&self, node: usize) -> bool {
        self.missing_subjects[node].iter().any(|subject| matches!(subject, MissingSubject::Elsewhere))
    }

    /// The tags of a manifest that rules can claim.
    fn claimable(&self, node: usize) -> Vec<&'a Tag> {
        let elsewhere = self.is_about_elsewhere(node);
        let tags = self.tags[node].iter().copied();
        tags.filter(|tag| !self.is_referrers(node, tag) || elsewhere && self.is_detached(node, tag)).collect()
    }

    /// Whether a tag of a manifest says that it is about another one. That it is about itself says nothing.
    pub(super) fn is_referrers(&self, node: usize, tag: &Tag) -> bool {
        tag.subject().is_some_and(|subject| !subject.is(&self.nodes[node].digest))
    }

    /// Whether a tag of a manifest says that it is about one that is not here.
    fn is_detached(&self, node: usize, tag: &Tag) -> bool {
        let is_here =
            |subject: TagSubject| self.subjects[node].iter().any(|&one| subject.is(&self.nodes[one].digest));
        self.is_referrers(node, tag) && !tag.subject().is_some_and(is_here)
    }

    /// As what `at_least` and `max_percent` count a manifest. Those that live and die with a subject here are
    /// not counted.
    pub(super) fn counted_as(&self, node: usize) -> Option<Counted> {
        let tags = || self.tags[node].iter().copied();
        if tags().any(|tag| !self.is_referrers(node, tag)) {
            Some(Counted::Image)
        } else {
            tags().any(|tag| self.is_detached(node, tag)).then_some(Counted::Referrer)
        }
    }

    /// A manifest and everything below it, each once.
    pub(super) fn family(&self, node: usize) -> impl Iterator<Item = usize> {
        reach(&[node], |node| self.children[node].iter().copied()).into_keys()
    }

    /// What must stay because these stay: children, referrers and subjects, and theirs, each with
    /// its distance from what stays for a reason of its own.
    pub(super) fn needed_by(&self, kept: &[usize]) -> BTreeMap<usize, usize> {
        reach(kept, |node| {
            let family = self.children[node].iter().chain(&self.referrers[node]);
            family.chain(&self.subjects[node]).copied()
        })
    }

    /// What goes when these go, were nothing to keep it: children and referrers, and theirs.
    pub(super) fn taken_by(&self, expired: &[usize], kept: &BTreeMap<usize, usize>) -> BTreeSet<usize> {
        let taken = reach(expired, |node| {
            let family = self.children[node].iter().chain(&self.referrers[node]);
            family.copied().filter(|other| !kept.contains_key(other))
        });
        taken.into_keys().collect()
    }

    /// Bytes of a manifest with all that is below it, each manifest and blob counted once.
    pub(super) fn bytes(&self, node: usize) -> u64 {
        let members: Vec<usize> = self.family(node).collect();
        let blobs: BTreeMap<&Digest, u64> = members
            .iter()
            .flat_map(|&member| &self.nodes[member].blobs)
            .map(|blob| (&blob.digest, blob.size))
            .collect();
        let manifests = members.iter().map(|&member| self.nodes[member].size);
        manifests.chain(blobs.into_values()).fold(0, u64::saturating_add)
    }

    /// What is deleted, parents before children and subjects before referrers, each with what must
    /// be gone before it.
    ///
    /// Where that leaves a choice, the oldest goes first. A tag can claim that an index is about its own
    /// child, so there can be circles. They are broken in favour of parents, which are never part of a
    /// circle by themselves; the edges that then run against the order bind nobody.
    pub(super) fn deletion_order(&self, verdicts: &[Verdict], ages: &[Age]) -> Vec<(usize, Vec<Digest>)> {
        let ranked = |node: usize| (ages[node].latest, node);
        let before = |node: usize| self.parents[node].iter().chain(&self.subjects[node]).copied();
        let after = |node: usize| self.children[node].iter().chain(&self.referrers[node]).copied();
        let mut open: BTreeSet<_> =
            (0..self.nodes.len()).filter(|&node| verdicts[node] == Verdict::Delete).map(ranked).collect();
        let mut waits: Vec<usize> = (0..self.nodes.len())
            .map(|node| before(node).filter(|&one| open.contains(&ranked(one))).count())
            .collect();
        let mut ready: BTreeSet<_> = open.iter().copied().filter(|&(_, node)| waits[node] == 0).collect();
        let mut done = BTreeSet::new();
        let mut order = Vec::with_capacity(open.len());
        let unlisted = |open: &BTreeSet<(Option<DateTime<Utc>>, usize)>| {
            let is_listed = |node: usize| self.parents[node].iter().any(|&one| open.contains(&ranked(one)));
            open.iter().copied().find(|&(_, node)| !is_listed(node))
        };
        while let Some((_, node)) =
            ready.pop_first().or_else(|| unlisted(&open)).or_else(|| open.first().copied())
        {
            open.remove(&ranked(node));
            let gone: BTreeSet<&Digest> =
                before(node).filter(|one| done.contains(one)).map(|one| &self.nodes[one].digest).collect();
            order.push((node, gone.into_iter().cloned().collect()));
            done.insert(node);
            for next in after(node).filter(|&next| open.contains(&ranked(next))) {
                waits[next] = waits[next].saturating_sub(1);
                if waits[next] == 0 {
                    ready.insert(ranked(next));
                }
            }
        }
        order
    }
}

/// The first of the manifests, which are in the order of their digests, that the tag is about.
fn first_with(nodes: &[&Manifest], subject: &TagSubject) -> Option<usize> {
    let prefix = subject.to_string();
    let first = nodes.partition_point(|manifest| manifest.digest.as_str() < prefix.as_str());
    nodes.get(first).is_some_and(|manifest| subject.is(&manifest.digest)).then_some(first)
}

/// Natural order of tags: `v9` before `v10`.
pub(super) fn natural(a: &Tag, b: &Tag) -> std::cmp::Ordering {
    alphanumeric_sort::compare_str(a.as_str(), b.as_str()).then_with(|| a.cmp(b))
}

fn missing(snapshot: &Snapshot, digest: Option<&Digest>, text: String) -> MissingSubject {
    match digest {
        Some(digest) if !snapshot.absent.contains(digest) => MissingSubject::Unread(text),
        Some(digest) if snapshot.seen_subjects.contains(digest) => MissingSubject::Gone(text),
        Some(_) => MissingSubject::Elsewhere,
        None => MissingSubject::Unread(text),
    }
}

/// Everything that can be reached from these, breadth first, with its distance.
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
