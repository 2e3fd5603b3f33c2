//! Sending one deletion: written down before, and again when it is known what came of it.
//!
//! A deletion whose answer was lost may have been done, and somebody may have pushed since what it would
//! take along. So it is sent again only if another look still says so.

use std::time::Duration;

use super::apply::{Done, Work};
use super::failure;
use super::look::{Blind, Look};
use crate::model::{Digest, Kind, TagDeletion};
use crate::plan::Untag;
use crate::registry::{self, Deletion, Placeholder, PlaceholderError, TagTarget};
use crate::state::{self, NewJournalEntry};

/// What became of a deletion that failed.
enum Came {
    /// What was to go is gone.
    Gone,
    /// It is there, and still is to go.
    Not,
    /// Something else is there, or it is not to go any more.
    Changed,
}

impl Work<'_> {
    /// Sends a deletion, and again where it failed and still is to be done. `None` if it did not happen, or
    /// nobody knows: then the next run finds out.
    pub(super) async fn send(
        &self,
        new_entry: &NewJournalEntry,
        look: &mut Look,
        send: impl AsyncFn() -> Result<Deletion, PlaceholderError>,
        done: &mut Done,
    ) -> Option<Deletion> {
        let entry = self.noted(self.journal.record_intent(new_entry), done)?;
        let mut attempt = 1;
        let mut doubtful = false;
        loop {
            let PlaceholderError { error, tag_moved } = match send().await {
                Ok(deletion) => {
                    let ours = doubtful && deletion == Deletion::AlreadyGone;
                    let deletion = if ours { Deletion::Done } else { deletion };
                    self.noted(self.journal.answered(entry, deletion), done);
                    return Some(deletion);
                }
                Err(stuck) => stuck,
            };
            doubtful |= tag_moved || error.may_be_applied;
            // Half of a placeholder's work is never done again: the next run ends it.
            let pause = if tag_moved { Err(error) } else { self.deleter.pause(error, attempt).await };
            let came = match pause {
                Ok(()) => self.came_of(new_entry, look).await,
                Err(error) => Err(error),
            };
            match came {
                Ok(Came::Not) => attempt += 1,
                Ok(Came::Gone) => {
                    let deletion = if doubtful { Deletion::Done } else { Deletion::AlreadyGone };
                    self.noted(self.journal.answered(entry, deletion), done);
                    return Some(deletion);
                }
                came => {
                    if let Err(error) = came {
                        self.fail(&error, done);
                    }
                    if doubtful {
                        done.unanswered = true;
                    } else {
                        self.noted(self.journal.refused(entry), done);
                    }
                    return None;
                }
            }
        }
    }

    /// Finds out what became of a deletion that failed.
    async fn came_of(&self, new_entry: &NewJournalEntry, look: &mut Look) -> Result<Came, registry::Error> {
        let NewJournalEntry { repository, digest, tags, tag_only, .. } = new_entry;
        if *tag_only {
            for tag in tags {
                match self.context.reader.tag_target(repository, tag, digest).await? {
                    TagTarget::Expected => {}
                    TagTarget::Other => return Ok(Came::Changed),
                    TagTarget::Missing => return Ok(Came::Gone),
                }
            }
        } else if !self.context.reader.has_manifest(repository, digest).await? {
            return Ok(Came::Gone);
        }
        match self.look(Some(look), Duration::ZERO).await {
            Ok((fresh, _)) => *look = fresh,
            Err(Blind::Failed(super::Error::Registry(error))) => return Err(error),
            Err(Blind::Failed(_) | Blind::Ended(_)) => return Ok(Came::Changed),
        }
        let still = if *tag_only {
            self.planned.untag.iter().any(|untag| tags.contains(&untag.tag) && look.removes(untag))
        } else {
            look.dooms(digest).is_some_and(|now| now == tags.as_slice())
        };
        Ok(if still { Came::Not } else { Came::Changed })
    }

    /// Removes a tag in the way that the registry has, or in one that all have.
    pub(super) async fn remove(
        &self,
        untag: &Untag,
        new_entry: &NewJournalEntry,
    ) -> Result<Deletion, PlaceholderError> {
        let repository = &self.planned.repository;
        match self.features.tag_deletion {
            TagDeletion::Supported => {
                match self
                    .context
                    .reader
                    .tag_target(repository, &untag.tag, &untag.digest)
                    .await
                    .map_err(whole)?
                {
                    TagTarget::Expected => self.deleter.tag(repository, &untag.tag).await.map_err(whole),
                    TagTarget::Other => Ok(Deletion::Moved),
                    TagTarget::Missing => Ok(Deletion::AlreadyGone),
                }
            }
            TagDeletion::Unsupported => {
                let placeholder = Placeholder::new(&untag.tag, &new_entry.media_type, (self.journal.clock)());
                self.deleter.tag_by_placeholder(repository, &untag.tag, &untag.digest, &placeholder).await
            }
        }
    }

    /// The bytes are what an undo needs. Without them there would be none, so then it stays.
    pub(super) async fn with_bytes(
        &self,
        new_entry: NewJournalEntry,
        done: &mut Done,
    ) -> Option<NewJournalEntry> {
        if !new_entry.body.is_empty() {
            return Some(new_entry);
        }
        match self.context.reader.raw(&new_entry.repository, &new_entry.digest).await {
            Ok(Some(raw)) => {
                Some(NewJournalEntry { media_type: raw.media_type, body: raw.body.to_vec(), ..new_entry })
            }
            // Gone already, which the registry is going to say again; what depends on it is written down.
            Ok(None) => Some(new_entry),
            Err(error) => {
                self.fail(&error, done);
                None
            }
        }
    }

    /// What was written down; `None` if it could not be. Then the run makes no more deletions.
    fn noted<T>(&self, result: Result<T, state::Error>, done: &mut Done) -> Option<T> {
        result
            .map_err(|error| {
                tracing::error!(
                    registry = %self.context.registry.name, %error, "the run stops, because it cannot be noted"
                );
                self.halt.now("the run could not be noted any more");
                done.broken = true;
                // Nothing is collected after what is not in the journal.
                done.unanswered = true;
                done.failures.push(failure(self.planned.repository.clone(), "state", error));
            })
            .ok()
    }

    pub(super) fn new_entry(&self, digest: &Digest, kind: Kind) -> NewJournalEntry {
        NewJournalEntry {
            repository: self.planned.repository.clone(),
            digest: digest.clone(),
            tags: Vec::new(),
            tag_only: false,
            kind,
            media_type: String::new(),
            body: Vec::new(),
            policy: self.policy.name.clone(),
            rules: Vec::new(),
            reasons: Vec::new(),
            bytes: 0,
            dependents: Vec::new(),
        }
    }
}

/// What fails as a whole leaves nothing behind.
pub(super) fn whole(error: registry::Error) -> PlaceholderError {
    PlaceholderError { error, tag_moved: false }
}
