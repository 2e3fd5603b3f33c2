//! One deletion: journaled before it is sent, sent, and journaled again when its answer is known.
//!
//! A deletion without an answer may have been done, and the next push may already depend on it. So it is sent again
//! only after a new recheck that still deletes the same.

use std::time::Duration;

use super::error::Error;
use super::recheck::{Recheck, RecheckError, recheck};
use super::work::RepositoryWork;
use crate::model::TagDeletion;
use crate::plan::Untag;
use crate::registry::{self, Deletion, Placeholder, PlaceholderError, TagTarget};
use crate::state::{self, NewJournalEntry};

/// The result of sending one deletion.
#[derive(Default)]
pub(super) struct Sent {
    /// What the deletion did; `None` if it was not done, or if that is not known.
    pub(super) deletion: Option<Deletion>,
    /// What went wrong, in order.
    pub(super) problems: Vec<Problem>,
}

/// Something that went wrong in a repository.
pub(super) enum Problem {
    /// A request failed.
    Registry(registry::Error),
    /// The journal could not be written.
    Journal(state::Error),
    /// A deletion got no answer, so the next run has to find out whether it was done.
    Unanswered,
}

impl Sent {
    fn done(deletion: Deletion, recorded: Result<(), state::Error>) -> Self {
        Self {
            deletion: Some(deletion),
            problems: recorded.err().map(Problem::Journal).into_iter().collect(),
        }
    }

    fn failed(problem: Option<Problem>) -> Self {
        Self { deletion: None, problems: problem.into_iter().collect() }
    }
}

/// What a failed deletion has done.
enum DeleteStatus {
    /// The manifest or the tag is gone.
    Deleted,
    /// It is still there and still to be deleted.
    NotDeleted,
    /// It is not to be deleted any more, or a tag points to something else.
    Changed,
}

/// Journals and sends a deletion, and sends it again while it fails and a new recheck allows it. `request` sends it
/// once.
pub(super) async fn send(
    work: &RepositoryWork<'_>,
    new_entry: &NewJournalEntry,
    checked: &mut Recheck,
    request: impl AsyncFn() -> Result<Deletion, PlaceholderError>,
) -> Sent {
    let entry = match work.journal.record_intent(new_entry) {
        Ok(entry) => entry,
        Err(error) => return Sent::failed(Some(Problem::Journal(error))),
    };
    let mut attempt = 1;
    let mut may_be_done = false;
    loop {
        let PlaceholderError { error, tag_moved } = match request().await {
            Ok(deletion) => {
                let was_ours = may_be_done && deletion == Deletion::AlreadyGone;
                let deletion = if was_ours { Deletion::Done } else { deletion };
                return Sent::done(deletion, work.journal.record_answer(entry, deletion));
            }
            Err(error) => error,
        };
        may_be_done |= tag_moved || error.may_be_applied;
        // A tag that points to the placeholder is not sent again: the next run completes that.
        let retry = if tag_moved { Err(error) } else { work.deleter.wait_before_retry(error, attempt).await };
        let status = match retry {
            Ok(()) => delete_status(work, new_entry, checked).await,
            Err(error) => Err(error),
        };
        let mut sent = Sent::failed(match status {
            Ok(DeleteStatus::NotDeleted) => {
                attempt += 1;
                continue;
            }
            Ok(DeleteStatus::Deleted) => {
                let deletion = if may_be_done { Deletion::Done } else { Deletion::AlreadyGone };
                return Sent::done(deletion, work.journal.record_answer(entry, deletion));
            }
            Ok(DeleteStatus::Changed) => None,
            Err(error) => Some(Problem::Registry(error)),
        });
        if may_be_done {
            sent.problems.push(Problem::Unanswered);
        } else if let Err(error) = work.journal.discard(entry) {
            sent.problems.push(Problem::Journal(error));
        }
        return sent;
    }
}

/// Finds out what a failed deletion has done. The recheck is done again.
async fn delete_status(
    work: &RepositoryWork<'_>,
    new_entry: &NewJournalEntry,
    checked: &mut Recheck,
) -> Result<DeleteStatus, registry::Error> {
    let NewJournalEntry { repository, digest, tags, tag_only, .. } = new_entry;
    let reader = work.context.reader;
    if *tag_only {
        for tag in tags {
            match reader.tag_target(repository, tag, digest).await? {
                TagTarget::Expected => {}
                TagTarget::Other => return Ok(DeleteStatus::Changed),
                TagTarget::Missing => return Ok(DeleteStatus::Deleted),
            }
        }
    } else if !reader.has_manifest(repository, digest).await? {
        return Ok(DeleteStatus::Deleted);
    }
    match recheck(work, Some(checked), Duration::ZERO).await {
        Ok((fresh, _)) => *checked = fresh,
        Err(RecheckError::Failed(Error::Registry(error))) => return Err(error),
        Err(RecheckError::Failed(_) | RecheckError::Stopped(_)) => return Ok(DeleteStatus::Changed),
    }
    let is_unchanged = if *tag_only {
        work.planned.untag.iter().any(|untag| tags.contains(&untag.tag) && checked.removes_tag(untag))
    } else {
        checked.tags_to_delete(digest).is_some_and(|now| now == tags.as_slice())
    };
    Ok(if is_unchanged { DeleteStatus::NotDeleted } else { DeleteStatus::Changed })
}

/// Removes a tag with the request that the registry has for it, or else by a placeholder.
pub(super) async fn remove_tag(
    work: &RepositoryWork<'_>,
    untag: &Untag,
    media_type: &str,
) -> Result<Deletion, PlaceholderError> {
    let Untag { tag, digest, .. } = untag;
    let (repository, deleter) = (&work.planned.repository, work.deleter);
    match work.features.tag_deletion {
        TagDeletion::Supported => {
            match work.context.reader.tag_target(repository, tag, digest).await.map_err(single_request)? {
                TagTarget::Expected => deleter.tag(repository, tag).await.map_err(single_request),
                TagTarget::Other => Ok(Deletion::Moved),
                TagTarget::Missing => Ok(Deletion::AlreadyGone),
            }
        }
        TagDeletion::Unsupported => {
            let placeholder = Placeholder::new(tag, media_type, (work.journal.clock)());
            deleter.tag_by_placeholder(repository, tag, digest, &placeholder).await
        }
    }
}

/// The error of a deletion that is a single request: no tag points to a placeholder after it.
pub(super) fn single_request(error: registry::Error) -> PlaceholderError {
    PlaceholderError { error, tag_moved: false }
}

/// Adds the bytes of the manifest, which an undo needs, unless the entry has them.
pub(super) async fn with_bytes(
    work: &RepositoryWork<'_>,
    new_entry: NewJournalEntry,
) -> Result<NewJournalEntry, registry::Error> {
    if !new_entry.body.is_empty() {
        return Ok(new_entry);
    }
    let raw = work.context.reader.raw_manifest(&new_entry.repository, &new_entry.digest).await?;
    Ok(match raw {
        Some(raw) => NewJournalEntry { media_type: raw.media_type, body: raw.body.to_vec(), ..new_entry },
        // It is gone already, and the answer to its deletion will say so. Its dependents are journaled all the same.
        None => new_entry,
    })
}
