//! Applying the plan of one repository: recheck, then delete manifests, then remove tags.
//!
//! Each deletion is journaled before it is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use super::dependents::Dependents;
use super::error::Error;
use super::recheck::{Recheck, RecheckError, recheck};
use super::send::{Problem, Sent, remove_tag, send, single_request, with_bytes};
use super::work::RepositoryWork;
use crate::model::{Digest, Tag};
use crate::plan::{Failure, Planned, RepositoryPlan, Untag};
use crate::registry::{self, Deletion, Kind};
use crate::report::{Deleted, Skipped, Untagged, listed};
use crate::state::NewJournalEntry;

/// What was done in one repository.
#[derive(Default)]
pub(super) struct RepositoryResult {
    pub(super) deleted: Vec<Deleted>,
    pub(super) untagged: Vec<Untagged>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) failures: Vec<Failure>,
    /// Whether a deletion got no answer.
    pub(super) unanswered: bool,
}

/// Why the rest of a repository is skipped once something in it has failed.
const AFTER_A_FAILURE: &str = "an earlier deletion in this repository failed";

const CHANGED: &str = "something changed since the plan was made";

const DELETION_FAILED: &str = "its deletion failed";

const REMOVAL_FAILED: &str = "its removal failed";

/// A run that has to end may take this much longer for the recheck that it needs to delete the children of an index
/// that it has deleted. If that is not enough, the next run deletes them.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Deletes what the plan of one repository deletes.
pub(super) async fn apply_repository(work: &RepositoryWork<'_>) -> RepositoryResult {
    let mut applying =
        Applying { work, result: RepositoryResult::default(), failed: false, recheck_stopped: false };
    applying.apply().await;
    applying.result
}

/// The application of one repository's plan, while it goes on.
struct Applying<'a> {
    work: &'a RepositoryWork<'a>,
    result: RepositoryResult,
    /// Whether something failed that would fail for the rest of the repository too.
    failed: bool,
    /// Whether the run has to end and has waited for a recheck in vain. It waits only once.
    recheck_stopped: bool,
}

impl Applying<'_> {
    async fn apply(&mut self) {
        if let Some(reason) = self.work.stop.reason() {
            return self.skip_all(reason);
        }
        match recheck(self.work, None, Duration::ZERO).await {
            Ok((mut checked, fresh)) => {
                self.delete_all(&fresh, &mut checked).await;
                self.remove_tags(&mut checked).await;
            }
            Err(error) => {
                self.skip_all(error.reason());
                self.recheck_failed(error);
            }
        }
    }

    async fn delete_all(&mut self, fresh: &RepositoryPlan, checked: &mut Recheck) {
        let work = self.work;
        let printed: BTreeSet<&Digest> = work.planned.deletions().map(|planned| &planned.digest).collect();
        let in_both = || fresh.deletions().filter(|planned| printed.contains(&planned.digest));
        let mut dependents = Dependents::of(work.context.reader, &work.planned.repository, in_both());
        let mut deleted_now: BTreeSet<Digest> = BTreeSet::new();
        for planned in in_both() {
            work.progress.deletion_done();
            match self.delete(planned, &deleted_now, &mut dependents, checked).await {
                Ok(deleted) => {
                    deleted_now.insert(planned.digest.clone());
                    checked.parent_deleted(dependents.of_manifest(&planned.digest));
                    self.result.deleted.push(deleted);
                }
                Err(why) => self.skip(&planned.digest, None, why),
            }
        }
        let still_deleted: BTreeSet<&Digest> = fresh.deletions().map(|planned| &planned.digest).collect();
        let changed = work.planned.deletions().filter(|planned| !still_deleted.contains(&planned.digest));
        for planned in changed {
            work.progress.deletion_done();
            self.skip(&planned.digest, None, CHANGED);
        }
    }

    /// Deletes a manifest, if its parents are deleted. An error says why it was skipped.
    async fn delete(
        &mut self,
        planned: &Planned,
        deleted_now: &BTreeSet<Digest>,
        dependents: &mut Dependents<'_>,
        checked: &mut Recheck,
    ) -> Result<Deleted, &'static str> {
        let work = self.work;
        let parents_deleted = planned.after.iter().all(|parent| deleted_now.contains(parent));
        // Once its parent is gone, an untagged child is deleted even if the run has to end: it is of no use.
        let completes = parents_deleted && !planned.after.is_empty() && !self.recheck_stopped;
        if let Some(reason) = work.stop.reason().filter(|_| !completes) {
            return Err(reason);
        }
        if self.failed {
            return Err(AFTER_A_FAILURE);
        }
        if !parents_deleted {
            return Err("something that needs it is still there");
        }
        if let Err(error) = dependents.read(&planned.digest).await {
            self.registry_failed(&error);
            return Err("its children or referrers could not be read");
        }
        let read = dependents.take_bytes(&planned.digest);
        let was_there = read.is_some();
        let (media_type, body) =
            read.map_or_else(Default::default, |raw| (raw.media_type, raw.body.to_vec()));
        let new_entry = NewJournalEntry {
            media_type,
            body,
            rules: planned.rules.clone(),
            reasons: planned.reasons.iter().map(ToString::to_string).collect(),
            bytes: planned.frees,
            dependents: dependents.of_manifest(&planned.digest),
            ..work.new_entry(&planned.digest, planned.kind)
        };
        let new_entry = self.with_bytes(new_entry, DELETION_FAILED).await?;
        let grace = if completes { FINISH_TIMEOUT } else { Duration::ZERO };
        self.renew(checked, grace, DELETION_FAILED).await?;
        let gone_with_parent = completes && was_there && checked.is_absent(&planned.digest);
        let tags = match checked.tags_to_delete(&planned.digest) {
            Some(tags) => tags.to_vec(),
            None if gone_with_parent => planned.tags.clone(),
            None => return Err(CHANGED),
        };
        let new_entry = NewJournalEntry { tags, ..new_entry };
        let request = async || {
            if gone_with_parent {
                return Ok(Deletion::Done);
            }
            let repository = &work.planned.repository;
            let deletion =
                work.deleter.manifest(repository, &planned.digest).await.map_err(single_request)?;
            // If it was there before its parent was deleted, it is gone because of this run.
            Ok(if was_there { Deletion::Done } else { deletion })
        };
        let sent = send(work, &new_entry, checked, request).await;
        let deletion = self.record(sent).ok_or(DELETION_FAILED)?;
        Ok(self.deleted(planned, new_entry.tags, deletion))
    }

    async fn remove_tags(&mut self, checked: &mut Recheck) {
        for untag in &self.work.planned.untag {
            match self.remove_tag(untag, checked).await {
                Ok(()) => {
                    let untagged = self.untagged(untag);
                    self.result.untagged.push(untagged);
                }
                Err(why) => self.skip(&untag.digest, Some(&untag.tag), why),
            }
        }
    }

    /// Removes a tag and keeps its manifest. An error says why it was skipped.
    async fn remove_tag(&mut self, untag: &Untag, checked: &mut Recheck) -> Result<(), &'static str> {
        let work = self.work;
        if let Some(reason) = work.stop.reason() {
            return Err(reason);
        }
        if self.failed {
            return Err(AFTER_A_FAILURE);
        }
        let new_entry = NewJournalEntry {
            tags: vec![untag.tag.clone()],
            tag_only: true,
            rules: vec![untag.rule.clone()],
            reasons: vec![Untag::reason(&untag.rule)],
            ..work.new_entry(&untag.digest, untag.kind)
        };
        let new_entry = self.with_bytes(new_entry, REMOVAL_FAILED).await?;
        self.renew(checked, Duration::ZERO, REMOVAL_FAILED).await?;
        if !checked.removes_tag(untag) {
            return Err(CHANGED);
        }
        let request = async || remove_tag(work, untag, &new_entry.media_type).await;
        let sent = send(work, &new_entry, checked, request).await;
        match self.record(sent).ok_or(REMOVAL_FAILED)? {
            Deletion::Done | Deletion::AlreadyGone => Ok(()),
            Deletion::Moved => Err("it was pushed again meanwhile"),
        }
    }

    /// The entry with the bytes of its manifest. Without them it could not be undone, so it is skipped for `failure`.
    async fn with_bytes(
        &mut self,
        new_entry: NewJournalEntry,
        failure: &'static str,
    ) -> Result<NewJournalEntry, &'static str> {
        with_bytes(self.work, new_entry).await.map_err(|error| {
            self.registry_failed(&error);
            failure
        })
    }

    /// Rechecks again if the recheck is outdated. An error says why nothing may be deleted. If the run has to end,
    /// this may take `grace` more.
    async fn renew(
        &mut self,
        checked: &mut Recheck,
        grace: Duration,
        failure: &'static str,
    ) -> Result<(), &'static str> {
        // The rate limit and a registry that asks for time are waited for before the recheck, not after it.
        match self.work.stop.cancel_after(self.work.deleter.wait_until_available(), grace).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.registry_failed(&error);
                return Err(failure);
            }
            Err(reason) => {
                self.recheck_stopped = true;
                return Err(reason);
            }
        }
        if !checked.is_outdated() {
            return Ok(());
        }
        match recheck(self.work, Some(checked), grace).await {
            Ok((fresh, _)) => {
                *checked = fresh;
                Ok(())
            }
            Err(error) => {
                let reason = error.reason();
                self.recheck_failed(error);
                Err(reason)
            }
        }
    }

    fn recheck_failed(&mut self, error: RecheckError) {
        match error {
            RecheckError::Stopped(_) => self.recheck_stopped = true,
            RecheckError::Failed(Error::Registry(error)) => self.registry_failed(&error),
            RecheckError::Failed(error) => {
                self.failed = true;
                self.add_failure(error.kind(), &error);
            }
        }
    }

    /// Records what went wrong while a deletion was sent, and returns what the deletion did.
    fn record(&mut self, sent: Sent) -> Option<Deletion> {
        for problem in sent.problems {
            match problem {
                Problem::Registry(error) => self.registry_failed(&error),
                Problem::Unanswered => self.result.unanswered = true,
                Problem::Journal(error) => {
                    tracing::error!(
                        registry = %self.work.context.registry.name, %error,
                        "the run stops, because the journal cannot be written"
                    );
                    self.work.stop.stop("the journal could not be written");
                    self.failed = true;
                    // No collection may follow a deletion that is not in the journal.
                    self.result.unanswered = true;
                    self.add_failure("state", &error);
                }
            }
        }
        sent.deletion
    }

    fn registry_failed(&mut self, error: &registry::Error) {
        tracing::error!(
            registry = %self.work.context.registry.name, repository = %self.work.planned.repository,
            kind = error.kind.name(), %error, "the run failed in a repository"
        );
        if error.kind == Kind::Unavailable {
            // All other requests would fail too, and a collection would disturb the repair of the registry.
            self.work.stop.stop("the registry does not answer any more");
            self.result.unanswered = true;
        }
        // A registry may refuse to delete one manifest and delete the others.
        self.failed |= error.kind != Kind::Forbidden;
        self.add_failure(error.kind.name(), error);
    }

    fn add_failure(&mut self, kind: &'static str, error: &dyn ToString) {
        let repository = self.work.planned.repository.clone();
        self.result.failures.push(Failure { repository, kind, error: error.to_string() });
    }

    fn skip(&mut self, digest: &Digest, tag: Option<&Tag>, why: &str) {
        let repository = self.work.planned.repository.clone();
        let (digest, tag, why) = (digest.clone(), tag.cloned(), why.to_owned());
        self.result.skipped.push(Skipped { repository, digest, tag, why });
    }

    fn skip_all(&mut self, why: &str) {
        let planned = self.work.planned;
        planned.deletions().for_each(|planned| self.skip(&planned.digest, None, why));
        planned.untag.iter().for_each(|untag| self.skip(&untag.digest, Some(&untag.tag), why));
    }

    fn untagged(&self, untag: &Untag) -> Untagged {
        let untagged = Untagged {
            repository: self.work.planned.repository.clone(),
            tag: untag.tag.clone(),
            digest: untag.digest.clone(),
            policy: self.work.planned.intent.policy_name().to_owned(),
        };
        tracing::info!(
            registry = %self.work.context.registry.name, repository = %untagged.repository, tag = %untagged.tag,
            digest = %untagged.digest, policy = %untagged.policy, rule = %untag.rule, "removed a tag"
        );
        untagged
    }

    fn deleted(&self, planned: &Planned, tags: Vec<Tag>, deletion: Deletion) -> Deleted {
        let deleted = Deleted {
            repository: self.work.planned.repository.clone(),
            digest: planned.digest.clone(),
            tags,
            policy: self.work.planned.intent.policy_name().to_owned(),
            bytes: planned.frees,
            already_gone: deletion == Deletion::AlreadyGone,
        };
        let reasons: Vec<String> = planned.reasons.iter().map(ToString::to_string).collect();
        tracing::info!(
            registry = %self.work.context.registry.name, repository = %deleted.repository,
            digest = %deleted.digest, tags = %listed(&deleted.tags), policy = %deleted.policy,
            rules = %listed(&planned.rules), reasons = %listed(&reasons), bytes = deleted.bytes,
            already_gone = deleted.already_gone, "deleted a manifest"
        );
        deleted
    }
}
