//! The journal of a run: each deletion is written down before it is sent, and again when it is answered.
//!
//! So nothing that was sent is ever forgotten, and everything that went can be put back.

use super::{Clock, Site};
use crate::model::{Digest, RepositoryName};
use crate::registry::{self, Deletion, Reference, Resolved};
use crate::state::{self, Departure, Entry, State};

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
    pub(super) fn departing(&self, departure: &Departure) -> Result<i64, state::Error> {
        self.state.departing(self.run, self.registry, departure, (self.clock)())
    }

    /// When it is answered.
    pub(super) fn answered(&self, entry: i64, deletion: Deletion) -> Result<(), state::Error> {
        match deletion {
            Deletion::Done => self.state.departed(entry),
            Deletion::AlreadyGone => self.state.already_gone(entry),
        }
    }

    /// When it is clear that it did not happen.
    pub(super) fn refused(&self, entry: i64) -> Result<(), state::Error> {
        self.state.stayed(entry)
    }
}

/// Finds out what became of deletions that were sent and whose answers nobody heard, because the
/// registry or regsweep went away. What is still unclear stays open for the next time.
pub(super) async fn settle(site: Site<'_>, state: &State) -> Result<(), state::Error> {
    for entry in state.unanswered(&site.registry.name)? {
        let there = match still_there(site, &entry).await {
            Ok(there) => there,
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
        if there { state.stayed(entry.id)? } else { state.departed(entry.id)? }
    }
    Ok(())
}

/// Whether what was to be deleted is there after all.
async fn still_there(site: Site<'_>, entry: &Entry) -> Result<bool, registry::Error> {
    if !entry.alone {
        return is_there(site, &entry.repository, &entry.digest).await;
    }
    for tag in &entry.tags {
        let reference = Reference::Tag { tag, known: None };
        if !matches!(site.reader.manifest(&entry.repository, reference).await?, Resolved::Absent) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the registry has a manifest.
pub(super) async fn is_there(
    site: Site<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<bool, registry::Error> {
    let resolved = site.reader.manifest(repository, Reference::Digest(digest)).await?;
    Ok(!matches!(resolved, Resolved::Absent))
}
