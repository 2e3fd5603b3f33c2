//! Carrying out a scan's plan: verify, then delete.
//!
//! What goes is in the plan that could have been printed first and also in one made a moment before the
//! deletion. Whatever is in only one of the two stays. Each deletion is journaled before it is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::family::Family;
use super::halt::{Halt, STOPPED, TIME_UP};
use super::look::{Blind, Look};
use super::send::whole;
use super::{Error, Journal, Progress, RegistryContext, ScannedPlan, Stop, allowed, failure, policy_of};
use crate::model::{Digest, Tag};
use crate::plan::{Failure, Planned, RepositoryPlan, Untag};
use crate::policy::Policy;
use crate::registry::{self, Deleter, Deletion, Features};
use crate::report::{Deleted, RunReport, Skipped, Untagged, listed};
use crate::state::NewJournalEntry;

/// Repositories that are worked on at once. Within one, deletions follow one another: each makes
/// distribution read every tag there, and parents must be gone before their children.
pub(super) const REPOSITORIES: usize = 4;

/// Whether a run minds the limits of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitMode {
    /// It does.
    Enforced,
    /// A human has looked at the plan and said so.
    Overridden,
}

/// Does what the scan's plan says.
pub async fn apply(
    context: RegistryContext<'_>,
    scanned: &ScannedPlan,
    deleter: &Deleter,
    journal: Journal<'_>,
    limits: LimitMode,
    stop: &Stop,
    progress: &dyn Progress,
) -> RunReport {
    let plan = &scanned.plan;
    let mut report = RunReport { applied: true, ..RunReport::of_plan(plan) };
    if limits == LimitMode::Overridden {
        report.refusals.retain(|refusal| !refusal.can_be_overridden());
    }
    let refusals = report.refusals.clone();
    let permitted: Vec<&RepositoryPlan> = plan.permitted_but_for(&refusals).collect();
    let halt = Halt::new(stop);
    let work: Vec<Work<'_>> = permitted
        .into_iter()
        .filter(|planned| !planned.is_idle())
        .filter_map(|planned| {
            let policy = policy_of(context, &planned.repository)?;
            let features = scanned.features;
            Some(Work { context, planned, policy, features, deleter, journal, halt: &halt, progress })
        })
        .collect();
    progress.deleting(work.iter().map(|work| work.planned.deletions().count()).sum());
    let mut results = stream::iter(&work).map(Work::perform).buffer_unordered(REPOSITORIES);
    while let Some(done) = results.next().await {
        report.deleted.extend(done.deleted);
        report.untagged.extend(done.untagged);
        report.skipped.extend(done.skipped);
        report.failures.extend(done.failures);
        report.unanswered |= done.unanswered;
    }
    let was_left_alone = |why| report.skipped.iter().any(|skipped| skipped.why == why);
    if was_left_alone(STOPPED) {
        report.interrupt();
    } else if was_left_alone(TIME_UP) {
        let allowed = allowed(context);
        report.cut_off = Some(format!(
            "the run took longer than run_timeout ({allowed}) and was ended: the next run does the rest; if it \
             never comes to an end, raise run_timeout of this registry"
        ));
    }
    report
}

/// One repository in which something is to be done.
pub(super) struct Work<'a> {
    pub(super) context: RegistryContext<'a>,
    pub(super) planned: &'a RepositoryPlan,
    pub(super) policy: &'a Policy,
    pub(super) features: Features,
    pub(super) deleter: &'a Deleter,
    pub(super) journal: Journal<'a>,
    pub(super) halt: &'a Halt<'a>,
    progress: &'a dyn Progress,
}

/// What was done in one repository.
#[derive(Default)]
pub(super) struct Done {
    deleted: Vec<Deleted>,
    untagged: Vec<Untagged>,
    skipped: Vec<Skipped>,
    pub(super) failures: Vec<Failure>,
    /// Whether a deletion got no answer.
    pub(super) unanswered: bool,
    /// Whether something failed that would fail for the rest of the repository too.
    pub(super) broken: bool,
    /// Whether the run has to end and has waited for a recheck in vain. It waits only once.
    timed_out: bool,
}

/// Why the rest of a repository is left alone once something in it has failed.
const AFTER_A_FAILURE: &str = "an earlier deletion in this repository failed";

const CHANGED: &str = "something changed since the plan was made";

const FAILED: &str = "its deletion failed";

/// A run that is asked to stop takes at most so long to look again at what is left of an index that it has
/// deleted. If it cannot by then, the next run takes all that is left.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

impl Work<'_> {
    async fn perform(&self) -> Done {
        let mut done = Done::default();
        if let Some(why) = self.halt.why() {
            self.skip_all(why, &mut done);
            return done;
        }
        match self.look(None, Duration::ZERO).await {
            Ok((mut look, fresh)) => {
                self.delete(&fresh, &mut look, &mut done).await;
                self.untag(&mut look, &mut done).await;
            }
            Err(blind) => {
                self.skip_all(blind.why(), &mut done);
                self.blind(blind, &mut done);
            }
        }
        done
    }

    /// Takes note that the repository could not be looked at.
    fn blind(&self, blind: Blind, done: &mut Done) {
        match blind {
            Blind::Ended(_) => done.timed_out = true,
            Blind::Failed(Error::Registry(error)) => self.fail(&error, done),
            Blind::Failed(error) => {
                done.broken = true;
                done.failures.push(failure(self.planned.repository.clone(), error.kind(), error));
            }
        }
    }

    /// Looks again where the last look is old. An error says why nothing may go. If the run has to end, this may
    /// take as much time more.
    async fn renew(&self, look: &mut Look, more: Duration, done: &mut Done) -> Result<(), &'static str> {
        // What has to be waited for is waited for now, and not between the look and the deletion.
        match self.halt.in_time(self.deleter.wait(), more).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.fail(&error, done);
                return Err(FAILED);
            }
            Err(why) => {
                done.timed_out = true;
                return Err(why);
            }
        }
        if !look.is_old() {
            return Ok(());
        }
        match self.look(Some(look), more).await {
            Ok((fresh, _)) => {
                *look = fresh;
                Ok(())
            }
            Err(blind) => {
                let why = blind.why();
                self.blind(blind, done);
                Err(why)
            }
        }
    }

    async fn delete(&self, fresh: &RepositoryPlan, look: &mut Look, done: &mut Done) {
        let printed: BTreeSet<&Digest> = self.planned.deletions().map(|planned| &planned.digest).collect();
        let going = || fresh.deletions().filter(|planned| printed.contains(&planned.digest));
        let mut family = Family::of(self.context.reader, &self.planned.repository, going());
        let mut gone: BTreeSet<Digest> = BTreeSet::new();
        for planned in going() {
            self.progress.settled();
            match self.delete_one(planned, &gone, &mut family, look, done).await {
                Ok(deleted) => {
                    gone.insert(planned.digest.clone());
                    look.parent_deleted(family.dependents(&planned.digest));
                    done.deleted.push(deleted);
                }
                Err(why) => done.skipped.push(self.skipped(&planned.digest, why)),
            }
        }
        let doomed: BTreeSet<&Digest> = fresh.deletions().map(|planned| &planned.digest).collect();
        for planned in self.planned.deletions().filter(|planned| !doomed.contains(&planned.digest)) {
            self.progress.settled();
            done.skipped.push(self.skipped(&planned.digest, CHANGED));
        }
    }

    /// Deletes a manifest, if what goes before it is gone. An error says why it was left alone.
    async fn delete_one(
        &self,
        planned: &Planned,
        gone: &BTreeSet<Digest>,
        family: &mut Family<'_>,
        look: &mut Look,
        done: &mut Done,
    ) -> Result<Deleted, &'static str> {
        let clear = planned.after.iter().all(|parent| gone.contains(parent));
        // Once its parent is gone, nothing would be gained by leaving an untagged child behind.
        let begun = clear && !planned.after.is_empty() && !done.timed_out;
        if let Some(why) = self.halt.why().filter(|_| !begun) {
            return Err(why);
        }
        if done.broken {
            return Err(AFTER_A_FAILURE);
        }
        if !clear {
            return Err("something that needs it is still there");
        }
        let repository = &self.planned.repository;
        if let Err(error) = family.gather(&planned.digest).await {
            self.fail(&error, done);
            return Err("what belongs to it could not be read");
        }
        let read = family.take(&planned.digest);
        let was_there = read.is_some();
        let (media_type, body) =
            read.map_or_else(Default::default, |raw| (raw.media_type, raw.body.to_vec()));
        let new_entry = NewJournalEntry {
            media_type,
            body,
            rules: planned.rules.clone(),
            reasons: planned.reasons.iter().map(ToString::to_string).collect(),
            bytes: planned.frees,
            dependents: family.dependents(&planned.digest),
            ..self.new_entry(&planned.digest, planned.kind)
        };
        let new_entry = self.with_bytes(new_entry, done).await.ok_or(FAILED)?;
        self.renew(look, if begun { FINISH_TIMEOUT } else { Duration::ZERO }, done).await?;
        let went_along = begun && was_there && look.is_absent(&planned.digest);
        let tags = match look.dooms(&planned.digest) {
            Some(tags) => tags.to_vec(),
            None if went_along => planned.tags.clone(),
            None => return Err(CHANGED),
        };
        let new_entry = NewJournalEntry { tags, ..new_entry };
        let send = async || {
            if went_along {
                return Ok(Deletion::Done);
            }
            let deletion = self.deleter.manifest(repository, &planned.digest).await.map_err(whole)?;
            // What was there until its parent went is gone because of us.
            Ok(if was_there { Deletion::Done } else { deletion })
        };
        let deletion = self.send(&new_entry, look, send, done).await.ok_or(FAILED)?;
        Ok(self.deleted(planned, new_entry.tags, deletion))
    }

    async fn untag(&self, look: &mut Look, done: &mut Done) {
        for untag in &self.planned.untag {
            match self.untag_one(untag, look, done).await {
                Ok(()) => done.untagged.push(self.untagged(untag)),
                Err(why) => {
                    let tag = Some(untag.tag.clone());
                    done.skipped.push(Skipped { tag, ..self.skipped(&untag.digest, why) });
                }
            }
        }
    }

    /// Removes a tag alone. An error says why it was left alone.
    async fn untag_one(&self, untag: &Untag, look: &mut Look, done: &mut Done) -> Result<(), &'static str> {
        if let Some(why) = self.halt.why() {
            return Err(why);
        }
        if done.broken {
            return Err(AFTER_A_FAILURE);
        }
        let new_entry = NewJournalEntry {
            tags: vec![untag.tag.clone()],
            tag_only: true,
            rules: vec![untag.rule.clone()],
            reasons: vec![format!("rule {} no longer keeps it; its manifest stays", untag.rule)],
            ..self.new_entry(&untag.digest, untag.kind)
        };
        let failed = "its removal failed";
        let new_entry = self.with_bytes(new_entry, done).await.ok_or(failed)?;
        self.renew(look, Duration::ZERO, done).await?;
        if !look.removes(untag) {
            return Err(CHANGED);
        }
        let send = async || self.remove(untag, &new_entry).await;
        match self.send(&new_entry, look, send, done).await.ok_or(failed)? {
            Deletion::Done | Deletion::AlreadyGone => Ok(()),
            Deletion::Moved => Err("somebody has just pushed it"),
        }
    }

    fn untagged(&self, untag: &Untag) -> Untagged {
        let untagged = Untagged {
            repository: self.planned.repository.clone(),
            tag: untag.tag.clone(),
            digest: untag.digest.clone(),
            policy: self.policy.name.clone(),
        };
        tracing::info!(
            registry = %self.context.registry.name, repository = %untagged.repository, tag = %untagged.tag,
            digest = %untagged.digest, policy = %untagged.policy, rule = %untag.rule, "removed a tag"
        );
        untagged
    }

    fn deleted(&self, planned: &Planned, tags: Vec<Tag>, deletion: Deletion) -> Deleted {
        let deleted = Deleted {
            repository: self.planned.repository.clone(),
            digest: planned.digest.clone(),
            tags,
            policy: self.policy.name.clone(),
            bytes: planned.frees,
            already_gone: deletion == Deletion::AlreadyGone,
        };
        let reasons: Vec<String> = planned.reasons.iter().map(ToString::to_string).collect();
        tracing::info!(
            registry = %self.context.registry.name, repository = %deleted.repository, digest = %deleted.digest,
            tags = %listed(&deleted.tags), policy = %deleted.policy, rules = %listed(&planned.rules), reasons = %listed(&reasons),
            bytes = deleted.bytes, already_gone = deleted.already_gone, "deleted a manifest"
        );
        deleted
    }

    fn skipped(&self, digest: &Digest, why: &str) -> Skipped {
        Skipped {
            repository: self.planned.repository.clone(),
            digest: digest.clone(),
            tag: None,
            why: why.to_owned(),
        }
    }

    fn skip_all(&self, why: &str, done: &mut Done) {
        let manifests = self.planned.deletions().map(|planned| self.skipped(&planned.digest, why));
        done.skipped.extend(manifests);
        let tags = self.planned.untag.iter();
        done.skipped.extend(
            tags.map(|untag| Skipped { tag: Some(untag.tag.clone()), ..self.skipped(&untag.digest, why) }),
        );
    }

    pub(super) fn fail(&self, error: &registry::Error, done: &mut Done) {
        let repository = self.planned.repository.clone();
        tracing::error!(
            registry = %self.context.registry.name, %repository, kind = error.kind.name(), %error,
            "the run failed in a repository"
        );
        if error.kind == registry::Kind::Unavailable {
            // Each of the others would only find out the same, and a collection would disturb who mends it.
            self.halt.now("the registry did not answer any more");
            done.unanswered = true;
        }
        // What the registry refuses for one manifest alone does not stop the others.
        done.broken |= error.kind != registry::Kind::Forbidden;
        done.failures.push(failure(repository, error.kind.name(), error));
    }
}
