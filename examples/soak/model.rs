//! What the registry must hold: for each tag the last successful push.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use fastrand::Rng;

use crate::support::image::{Content, fallback_tag};

/// What every variant of the policies protects, or keeps by a rule that keeps all, or leaves unclaimed.
pub(crate) fn is_held(tag: &str) -> bool {
    tag == "stable" || ["prod-", "keep-", "misc-"].iter().any(|prefix| tag.starts_with(prefix))
}

/// One push. Its number is in the registry's access log.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) repository: String,
    /// A tag, or the digest where it was pushed without one.
    pub(crate) reference: String,
    pub(crate) content: Arc<Content>,
    /// When it succeeded.
    pub(crate) at: Option<DateTime<Utc>>,
}

/// The expected state of a tag. Its version changes with each action on it, from the action's beginning.
#[derive(Debug, Clone)]
pub(crate) struct Tagged {
    pub(crate) repository: String,
    pub(crate) tag: String,
    /// `None` if another client deleted it.
    pub(crate) content: Option<Arc<Content>>,
    pub(crate) push: usize,
    pub(crate) at: DateTime<Utc>,
    pub(crate) version: u64,
    pub(crate) busy: bool,
}

/// A signature of an image that a protected tag has pointed to ever since.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) content: Arc<Content>,
    /// The held tag, and its version then.
    pub(crate) by: (String, u64),
}

#[derive(Default)]
struct Inner {
    tags: BTreeMap<(String, String), Tagged>,
    pushes: Vec<Push>,
    /// By repository, everything that was ever pushed to it.
    contents: BTreeMap<String, Vec<Arc<Content>>>,
    digests: HashMap<String, Arc<Content>>,
    signed: Vec<Signed>,
    version: u64,
}

/// The model. No method blocks.
#[derive(Default)]
pub(crate) struct Model(Mutex<Inner>);

impl Model {
    /// Begins a push; `None` if another push to that tag is pending.
    pub(crate) fn begin(&self, repository: &str, reference: &str, content: &Arc<Content>) -> Option<usize> {
        let inner = &mut *self.lock();
        let push = inner.pushes.len();
        inner.version += 1;
        if !reference.starts_with("sha256:") {
            let key = (repository.to_owned(), reference.to_owned());
            let known = inner.tags.entry(key).or_insert_with(|| Tagged {
                repository: repository.into(),
                tag: reference.into(),
                content: None,
                push,
                at: DateTime::UNIX_EPOCH,
                version: 0,
                busy: false,
            });
            if known.busy {
                return None;
            }
            (known.busy, known.version) = (true, inner.version);
        }
        inner.pushes.push(Push {
            repository: repository.into(),
            reference: reference.into(),
            content: content.clone(),
            at: None,
        });
        Some(push)
    }

    /// The registry accepted the push.
    pub(crate) fn succeeded(&self, push: usize, at: DateTime<Utc>) {
        let inner = &mut *self.lock();
        inner.version += 1;
        let done = &mut inner.pushes[push];
        done.at = Some(at);
        let (content, repository) = (done.content.clone(), done.repository.clone());
        let key = (repository.clone(), done.reference.clone());
        if let Some(known) = inner.tags.get_mut(&key) {
            known.content = Some(content.clone());
            (known.push, known.at, known.version, known.busy) = (push, at, inner.version, false);
        }
        inner.contents.entry(repository).or_default().push(content.clone());
        inner.digests.insert(content.digest.clone(), content);
    }

    /// Adds a signature. This tag has pointed to the signed image since before the signature was pushed.
    pub(crate) fn signed(&self, signed: Signed) {
        self.lock().signed.push(signed);
    }

    /// The expected state of a tag now.
    pub(crate) fn tagged(&self, repository: &str, tag: &str) -> Option<Tagged> {
        self.lock().tags.get(&(repository.to_owned(), tag.to_owned())).cloned()
    }

    /// Tags with a content and without a pending push.
    pub(crate) fn quiet(&self, wanted: impl Fn(&Tagged) -> bool) -> Vec<Tagged> {
        let settled = |one: &&Tagged| !one.busy && one.content.is_some();
        self.lock().tags.values().filter(settled).filter(|one| wanted(one)).cloned().collect()
    }

    /// Signatures whose image a protected tag still points to.
    pub(crate) fn signatures(&self) -> Vec<Signed> {
        let inner = self.lock();
        let still = |signed: &&Signed| {
            let key = (signed.repository.clone(), signed.by.0.clone());
            inner.tags.get(&key).is_some_and(|tagged| tagged.version == signed.by.1 && !tagged.busy)
        };
        inner.signed.iter().filter(still).cloned().collect()
    }

    pub(crate) fn pushes(&self) -> Vec<Push> {
        self.lock().pushes.clone()
    }

    pub(crate) fn content(&self, digest: &str) -> Option<Arc<Content>> {
        self.lock().digests.get(digest).cloned()
    }

    /// A content that was once pushed to a repository.
    pub(crate) fn any_of(&self, repository: &str, random: &mut Rng) -> Option<Arc<Content>> {
        let inner = self.lock();
        let contents = inner.contents.get(repository)?;
        // Recent ones more often: they are about to expire, so a push of one again races with its deletion.
        let late = *random.choice(&[8, 30, 30, usize::MAX])?;
        let from = contents.len().saturating_sub(late);
        contents.get(random.usize(from..contents.len())).cloned()
    }

    /// Chooses a manifest for another client to delete: nothing needs it and no push is pending. Its tags are no
    /// longer expected.
    pub(crate) fn delete_by_others(&self, repository: &str, random: &mut Rng) -> Option<String> {
        let inner = &mut *self.lock();
        let here = |tagged: &&Tagged| tagged.repository == repository;
        let needed: BTreeSet<&str> = inner
            .contents
            .get(repository)?
            .iter()
            .flat_map(|content| content.tree())
            .flat_map(|part| part.children.iter())
            .map(|child| child.digest.as_str())
            .collect();
        let signed: BTreeSet<&str> = inner.tags.keys().map(|(_, tag)| tag.as_str()).collect();
        if inner.tags.values().filter(here).any(|tagged| tagged.busy) {
            return None;
        }
        let choice: Vec<String> = inner
            .tags
            .values()
            .filter(here)
            .filter_map(|tagged| tagged.content.as_ref())
            .map(|content| content.digest.clone())
            .filter(|digest| !needed.contains(digest.as_str()))
            .filter(|digest| !signed.iter().any(|tag| tag.starts_with(&fallback_tag(digest))))
            .collect();
        let digest = random.choice(&choice)?.clone();
        inner.version += 1;
        for tagged in inner.tags.values_mut().filter(|one| one.repository == repository) {
            if tagged.content.as_ref().is_some_and(|content| content.digest == digest) {
                (tagged.content, tagged.version) = (None, inner.version);
            }
        }
        Some(digest)
    }

    /// A tag was lost in a race that regsweep cannot prevent: it is no longer expected.
    pub(crate) fn lost(&self, repository: &str, tag: &str) {
        let inner = &mut *self.lock();
        inner.version += 1;
        if let Some(tagged) = inner.tags.get_mut(&(repository.to_owned(), tag.to_owned())) {
            (tagged.content, tagged.version) = (None, inner.version);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
