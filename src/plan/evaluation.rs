//! The evaluation of one manifest: the reasons for and against it that do not depend on other manifests.
//!
//! One kept tag, one protection or one unknown fact keeps a manifest. It must not know which rules and protections
//! there are.

use super::graph::Graph;
use super::reason::Reason;
use super::repository::Untag;
use super::verdict::Counted;
use crate::model::{Tag, TagDeletion};

/// What applies to one manifest for reasons of its own: what other manifests need comes later.
#[derive(Default)]
pub(super) struct Evaluation<'a> {
    /// Every reason so far, for keeping it and for deleting it.
    pub(super) reasons: Vec<Reason>,
    /// Whether one of its tags, a protection or something unknown keeps it.
    pub(super) kept: bool,
    /// Whether it is to be deleted unless it is kept.
    pub(super) expired: bool,
    /// The rules that claim its tags.
    pub(super) rules: Vec<&'a str>,
    /// How `at_least` and `max_percent` count it, if they do.
    pub(super) counted_as: Option<Counted>,
    /// Its tags that are kept.
    pub(super) kept_tags: Vec<&'a Tag>,
    /// Its expired tags, each with the rule that no longer keeps it.
    pub(super) expired_tags: Vec<(&'a Tag, &'a str)>,
    /// Whether a protection or something unknown keeps it. Then none of its tags is removed either.
    protected: bool,
}

impl<'a> Evaluation<'a> {
    /// No reasons yet.
    pub(super) fn new(counted_as: Option<Counted>) -> Self {
        Self { counted_as, ..Self::default() }
    }

    /// Keeps the manifest with all its tags.
    pub(super) fn protect_by(&mut self, reason: Reason) {
        self.reasons.push(reason);
        self.kept = true;
        self.protected = true;
    }

    pub(super) fn keep_tags(&mut self, tags: impl IntoIterator<Item = &'a Tag>) {
        for tag in tags {
            if !self.kept_tags.contains(&tag) {
                self.kept_tags.push(tag);
            }
        }
        self.kept = true;
    }

    pub(super) fn keep_tag(&mut self, tag: &'a Tag, reason: Reason) {
        self.keep_tags([tag]);
        self.reasons.push(reason);
    }

    /// The expired tags that are removed alone, because other tags keep the manifest. If the registry cannot do
    /// that, a reason names the tags that share the manifest.
    pub(super) fn untag(&mut self, graph: &Graph<'_>, node: usize, deletion: TagDeletion) -> Vec<Untag> {
        if self.kept_tags.is_empty() || self.protected {
            return Vec::new();
        }
        let mut untag = Vec::new();
        for (tag, rule) in &self.expired_tags {
            let tag = (*tag).clone();
            match deletion {
                TagDeletion::Supported => {
                    self.reasons.push(Reason::TagExpired { tag: tag.clone() });
                    let manifest = graph.nodes[node];
                    let digest = manifest.digest.clone();
                    untag.push(Untag { tag, digest, kind: manifest.kind, rule: (*rule).to_owned() });
                }
                TagDeletion::Unsupported => {
                    let with = self.kept_tags.iter().map(|&tag| tag.clone()).collect();
                    self.reasons.push(Reason::SharesManifest { tag, with });
                }
            }
        }
        untag
    }
}
