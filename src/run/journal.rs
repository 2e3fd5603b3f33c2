//! The journal of a run: each deletion is written down before it is sent, and again when it is answered.
//!
//! So nothing that was sent is ever forgotten, and everything that went can be put back.

use super::{Clock, RegistryContext};
use crate::policy::Mode;
use crate::registry::{self, Deletion, Reference, Resolved, TagTarget};
use crate::report::JournalEntry;
use crate::state::{self, NewJournalEntry, State};

/// Where one run writes.
#[derive(Clone, Copy)]
pub struct Journal<'a> {
    /// What keeps it.
    pub state: &'a State,
    /// The registry.
    pub registry: &'a str,
    /// The run.
    pub run: i64,
    /// What tells the time.
    pub clock: &'a Clock,
}

impl Journal<'_> {
    /// Before the deletion is sent.
    pub(super) fn record_intent(&self, new_entry: &NewJournalEntry) -> Result<i64, state::Error> {
        self.state.record_intent(self.run, self.registry, new_entry, (self.clock)())
    }

    /// When it is answered.
    pub(super) fn answered(&self, entry: i64, deletion: Deletion) -> Result<(), state::Error> {
        match deletion {
            Deletion::Done => self.state.record_deleted(entry),
            Deletion::AlreadyGone => self.state.record_already_gone(entry),
            Deletion::Moved => self.state.discard(entry),
        }
    }

    /// When it is clear that it did not happen.
    pub(super) fn refused(&self, entry: i64) -> Result<(), state::Error> {
        self.state.discard(entry)
    }
}

/// Finds out what became of deletions that were sent and whose answers nobody heard, because the
/// registry or regsweep went away. What is still unclear stays open for the next time.
pub(super) async fn resolve_unanswered(
    context: RegistryContext<'_>,
    state: &State,
) -> Result<(), state::Error> {
    for entry in state.unanswered(&context.registry.name)? {
        let there = match find_out(context, &entry).await {
            Ok(Some(there)) => there,
            // It waits for a run that may delete.
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(
                    registry = %entry.registry, repository = %entry.repository, digest = %entry.digest, %error,
                    "nobody knows yet what became of a deletion"
                );
                // Then there is no answer about the others either, and soon the run hears of it.
                if error.kind == registry::Kind::Unavailable {
                    break;
                }
                continue;
            }
        };
        tracing::info!(
            registry = %entry.registry, repository = %entry.repository, digest = %entry.digest, run = entry.run,
            gone = !there, "a deletion whose answer was lost is settled"
        );
        if there { state.discard(entry.id)? } else { state.record_deleted(entry.id)? }
    }
    Ok(())
}

/// Whether what was to be deleted is there after all. A tag that is halfway gone goes now; where nothing may
/// be deleted it is neither.
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
            // It had taken the tag over when the run was cut off.
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

/// Whether a manifest was not deleted. One that is there with none of the tags that it had was, and then
/// somebody pushed it again; or else the tags have moved, and then an entry too many harms nobody.
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
