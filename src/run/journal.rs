//! The journal of a run: each deletion is recorded before it is sent, and again when it is answered.
//!
//! So every deletion that was sent is in the journal, and everything that was deleted can be restored.

use super::context::{Clock, RegistryContext};
use crate::policy::Mode;
use crate::registry::{self, Deletion, Reference, Resolved, TagTarget};
use crate::report::JournalEntry;
use crate::state::{self, NewJournalEntry, State};

/// The part of the journal that one run writes.
#[derive(Clone, Copy)]
pub struct Journal<'a> {
    /// Stores the journal.
    pub state: &'a State,
    /// The registry.
    pub registry: &'a str,
    /// The run.
    pub run: i64,
    /// Returns the present moment.
    pub clock: &'a Clock,
}

impl Journal<'_> {
    /// Records a deletion before it is sent.
    pub(super) fn record_intent(&self, new_entry: &NewJournalEntry) -> Result<i64, state::Error> {
        self.state.record_intent(self.run, self.registry, new_entry, (self.clock)())
    }

    /// Records the answer.
    pub(super) fn record_answer(&self, entry: i64, deletion: Deletion) -> Result<(), state::Error> {
        match deletion {
            Deletion::Done => self.state.record_deleted(entry),
            Deletion::AlreadyGone => self.state.record_already_gone(entry),
            Deletion::Moved => self.state.discard(entry),
        }
    }

    /// Removes the entry of a deletion that was not done.
    pub(super) fn discard(&self, entry: i64) -> Result<(), state::Error> {
        self.state.discard(entry)
    }
}

/// Asks the registry about deletions whose answer was lost, because the registry or regsweep was stopped. One that
/// cannot be resolved now stays unanswered.
pub(super) async fn resolve_unanswered(
    context: RegistryContext<'_>,
    state: &State,
) -> Result<(), state::Error> {
    for entry in state.unanswered(&context.registry.name)? {
        let there = match find_out(context, &entry).await {
            Ok(Some(there)) => there,
            // Only a run that may delete can complete it.
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(
                    registry = %entry.registry, repository = %entry.repository, digest = %entry.digest, %error,
                    "it is not known yet whether a deletion was done"
                );
                // The registry would not answer about the other deletions either, and the run finds that out soon.
                if error.kind == registry::Kind::Unavailable {
                    break;
                }
                continue;
            }
        };
        tracing::info!(
            registry = %entry.registry, repository = %entry.repository, digest = %entry.digest, run = entry.run,
            gone = !there, "a deletion whose answer was lost is resolved"
        );
        if there { state.discard(entry.id)? } else { state.record_deleted(entry.id)? }
    }
    Ok(())
}

/// Whether what was to be deleted still exists. A tag that points to a placeholder is deleted now; in `mode: plan`
/// nothing is deleted, and the result is `None`.
async fn find_out(
    context: RegistryContext<'_>,
    entry: &JournalEntry,
) -> Result<Option<bool>, registry::Error> {
    if !entry.tag_only {
        return is_still_there(context, entry).await.map(Some);
    }
    for tag in &entry.tags {
        let reference = Reference::Tag { tag, known: None };
        match context.reader.manifest(&entry.repository, reference).await? {
            Resolved::Absent => {}
            // The placeholder had replaced the tag when the run was cut off.
            Resolved::Found(found) if found.placeholder_tag() == Some(tag.as_str()) => {
                if context.config.mode == Mode::Plan {
                    return Ok(None);
                }
                context.reader.deleter().manifest(&entry.repository, &found.digest).await?;
            }
            Resolved::Found(_) | Resolved::Unchanged => return Ok(Some(true)),
        }
    }
    Ok(Some(false))
}

/// Whether a manifest was not deleted. If it exists without any of its tags, it was deleted and pushed again; or else
/// its tags were moved, and then the additional entry does no harm.
async fn is_still_there(context: RegistryContext<'_>, entry: &JournalEntry) -> Result<bool, registry::Error> {
    if !context.reader.has_manifest(&entry.repository, &entry.digest).await? {
        return Ok(false);
    }
    for tag in &entry.tags {
        if context.reader.tag_target(&entry.repository, tag, &entry.digest).await? == TagTarget::Expected {
            return Ok(true);
        }
    }
    Ok(entry.tags.is_empty())
}
