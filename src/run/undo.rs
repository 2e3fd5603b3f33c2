//! Restores what a run deleted, from the journal.
//!
//! A manifest is restored only if the registry still has everything that it needs, and a tag only if no other manifest
//! was pushed to it meanwhile. Children are restored before their indexes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::context::{Clock, RegistryContext};
use super::error::Error;
use super::image_name::{ImageTarget, Name};
use super::journal::resolve_unanswered;
use crate::model::{Digest, Manifest, RepositoryName, Tag};
use crate::registry::{self, RawManifest, Restore, Restorer, TagTarget, read_manifest};
use crate::report::{Answer, JournalEntry, UndoOutcome, UndoneEntry, listed};
use crate::state::{Filter, State};

/// Undoes a run, or the deletion of one image with its dependents. The result is in the order of work. It is empty if
/// the run deleted nothing or no such image, or if everything was restored before.
pub async fn undo(
    context: RegistryContext<'_>,
    state: &State,
    run: i64,
    only: Option<&ImageTarget>,
    clock: &Clock,
) -> Result<Vec<UndoneEntry>, Error> {
    resolve_unanswered(context, state).await?;
    let restorer = context.reader.restorer();
    let mut undo = Undo { context, state, clock, restorer, restored: BTreeSet::new() };
    let mut open = selected(state, run, only)?;
    let mut undone = Vec::new();
    // Children before indexes, subjects before referrers; a circle in any order.
    while !open.is_empty() {
        let waiting: BTreeSet<(RepositoryName, Digest)> = open.iter().map(Restorable::key).collect();
        let ready = open.iter().position(|part| {
            let repository = &part.entry.repository;
            !part.needs().any(|digest| waiting.contains(&(repository.clone(), digest.clone())))
        });
        let part = open.remove(ready.unwrap_or(0));
        undone.push(undo.restore(part).await?);
    }
    Ok(undone)
}

/// One deletion with the manifest that it deleted.
struct Restorable {
    entry: JournalEntry,
    raw: RawManifest,
    /// `None` if the manifest cannot be parsed.
    manifest: Option<Manifest>,
}

impl Restorable {
    fn read(state: &State, entry: JournalEntry) -> Result<Self, Error> {
        let (media_type, body) = state.entry_body(entry.id)?.unwrap_or_default();
        let manifest = read_manifest(&entry.digest, &media_type, &body).ok();
        Ok(Self { entry, raw: RawManifest { media_type, body: body.into() }, manifest })
    }

    fn key(&self) -> (RepositoryName, Digest) {
        (self.entry.repository.clone(), self.entry.digest.clone())
    }

    /// What must exist before it can be restored.
    fn needs(&self) -> impl Iterator<Item = &Digest> {
        let own = &self.entry.digest;
        let manifest = self.manifest.iter();
        manifest
            .flat_map(|manifest| manifest.children.iter().chain(&manifest.subject))
            .filter(move |digest| *digest != own)
    }

    fn is(&self, target: &ImageTarget) -> bool {
        self.entry.repository == target.repository
            && match &target.name {
                Name::Tag(tag) => self.entry.tags.contains(tag),
                Name::Digest(digest) => self.entry.digest == *digest,
            }
    }

    /// Whether it refers to one of these subjects.
    fn is_about(&self, subjects: &BTreeSet<(RepositoryName, Digest)>) -> bool {
        let here = |digest: &Digest| subjects.contains(&(self.entry.repository.clone(), digest.clone()));
        let by_field = self.manifest.as_ref().and_then(|manifest| manifest.subject.as_ref());
        let by_tag = self.entry.tags.iter().filter_map(|tag| tag.subject()?.digest());
        by_field.is_some_and(here) || by_tag.into_iter().any(|digest| here(&digest))
    }
}

/// What is to be restored: what was asked for, its signatures that were deleted with it, and everything below it,
/// whichever run deleted that.
fn selected(state: &State, run: i64, only: Option<&ImageTarget>) -> Result<Vec<Restorable>, Error> {
    let filter = Filter { run: Some(run), at_most: 1, ..Filter::default() };
    let mut others = Vec::new();
    let mut parts = Vec::new();
    for entry in state.history(&filter)?.into_iter().flat_map(|(_, entries)| entries) {
        if entry.answer == Answer::Deleted && entry.restored.is_none() {
            let part = Restorable::read(state, entry)?;
            let wanted = only.is_none_or(|target| part.is(target));
            if wanted { parts.push(part) } else { others.push(part) }
        }
    }
    loop {
        let keys: BTreeSet<_> = parts.iter().map(Restorable::key).collect();
        let (more, rest): (Vec<Restorable>, Vec<Restorable>) =
            others.into_iter().partition(|part| part.is_about(&keys));
        others = rest;
        let mut missing: BTreeMap<(RepositoryName, Digest), JournalEntry> = BTreeMap::new();
        for part in parts.iter().chain(&more) {
            for digest in part.manifest.iter().flat_map(|manifest| &manifest.children) {
                let key = (part.entry.repository.clone(), digest.clone());
                if !keys.contains(&key)
                    && let Some(entry) = state.last_entry(&part.entry.registry, &key.0, digest)?
                {
                    missing.insert(key, entry);
                }
            }
        }
        others.retain(|part| !missing.contains_key(&part.key()));
        let known: BTreeSet<_> = more.iter().map(Restorable::key).collect();
        let mut grown = !more.is_empty();
        parts.extend(more);
        for (_, entry) in missing.into_iter().filter(|(key, _)| !known.contains(key)) {
            parts.push(Restorable::read(state, entry)?);
            grown = true;
        }
        if !grown {
            return Ok(parts);
        }
    }
}

/// An undo, while it goes on.
struct Undo<'a> {
    context: RegistryContext<'a>,
    state: &'a State,
    clock: &'a Clock,
    restorer: Restorer,
    /// What this undo has restored.
    restored: BTreeSet<(RepositoryName, Digest)>,
}

impl Undo<'_> {
    async fn restore(&mut self, part: Restorable) -> Result<UndoneEntry, Error> {
        let (mut tags, mut moved) = (Vec::new(), Vec::new());
        let outcome = match self.restore_in_registry(&part, &mut tags, &mut moved).await {
            Ok(outcome) => outcome,
            Err(error) => UndoOutcome::Failed { why: error.to_string() },
        };
        if matches!(outcome, UndoOutcome::Restored | UndoOutcome::AlreadyPresent) {
            self.state.record_restored(part.entry.id, &tags, (self.clock)())?;
            self.restored.insert(part.key());
            tracing::info!(
                registry = %part.entry.registry, repository = %part.entry.repository,
                digest = %part.entry.digest, tags = %listed(&tags), moved = %listed(&moved), run = part.entry.run, "restored a manifest"
            );
        }
        Ok(UndoneEntry { entry: part.entry, outcome, tags_restored: tags, tags_moved: moved })
    }

    async fn restore_in_registry(
        &self,
        part: &Restorable,
        tags: &mut Vec<Tag>,
        moved: &mut Vec<Tag>,
    ) -> Result<UndoOutcome, registry::Error> {
        let JournalEntry { repository, digest, .. } = &part.entry;
        let exists = self.context.reader.has_manifest(repository, digest).await?;
        if !exists {
            if let Some(why) = self.missing(part).await? {
                return Ok(UndoOutcome::Lost { why });
            }
            if let Err(error) = self.restorer.put(repository, Restore::Digest, &part.raw, digest).await {
                let lost = error.has_code("MANIFEST_BLOB_UNKNOWN") || error.has_code("MANIFEST_UNKNOWN");
                let why = error.to_string();
                return if lost { Ok(UndoOutcome::Lost { why }) } else { Err(error) };
            }
            // A registry whose cache is stale after a collection accepts a manifest and then does not have it.
            let served = self.context.reader.raw_manifest(repository, digest).await?;
            if served.is_none_or(|served| served.body != part.raw.body) {
                let why =
                    "the registry accepted it and does not serve it: restart the registry and try again";
                return Ok(UndoOutcome::Failed { why: why.to_owned() });
            }
        }
        let mut tag_restored = false;
        for tag in &part.entry.tags {
            match self.context.reader.tag_target(repository, tag, digest).await? {
                TagTarget::Expected => tags.push(tag.clone()),
                TagTarget::Other => moved.push(tag.clone()),
                TagTarget::Missing => {
                    self.restorer.put(repository, Restore::Tag(tag), &part.raw, digest).await?;
                    tags.push(tag.clone());
                    tag_restored = true;
                }
            }
        }
        // Where only tags were removed, the manifest was never deleted.
        let restored = if part.entry.tag_only { tag_restored } else { !exists };
        Ok(if restored { UndoOutcome::Restored } else { UndoOutcome::AlreadyPresent })
    }

    /// What the manifest needs and the registry does not have; `None` if nothing is missing.
    async fn missing(&self, part: &Restorable) -> Result<Option<String>, registry::Error> {
        let repository = &part.entry.repository;
        let Some(manifest) = &part.manifest else {
            return Ok(Some("the journal does not have its bytes".to_owned()));
        };
        let external_layers = external_layers(&part.raw.body);
        let mut lost = Vec::new();
        for blob in manifest.blobs.iter().filter(|blob| !external_layers.contains(blob.digest.as_str())) {
            if !self.context.reader.has_blob(repository, &blob.digest).await? {
                lost.push(format!("blob {} ({} bytes)", blob.digest, blob.size));
            }
        }
        for child in &manifest.children {
            let is_restored = self.restored.contains(&(repository.clone(), child.clone()));
            if !is_restored && !self.context.reader.has_manifest(repository, child).await? {
                lost.push(format!("child {child}"));
            }
        }
        let collected = if part.entry.collected.is_some() { "; it has been collected" } else { "" };
        Ok((!lost.is_empty()).then(|| format!("gone from the registry: {}{collected}", lost.join(", "))))
    }
}

/// Layers that are stored outside of registries, as those of Windows are: no registry requires them.
fn external_layers(body: &[u8]) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Layers {
        #[serde(default)]
        layers: Vec<Layer>,
    }
    #[derive(Deserialize)]
    struct Layer {
        digest: String,
        #[serde(default)]
        urls: Vec<String>,
    }
    let layers = serde_json::from_slice::<Layers>(body).map(|body| body.layers).unwrap_or_default();
    layers.into_iter().filter(|layer| !layer.urls.is_empty()).map(|layer| layer.digest).collect()
}
