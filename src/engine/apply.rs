//! Carrying out a survey's plan: verify, then delete.
//!
//! What goes is in the plan that could have been printed first and also in one made a moment before the
//! deletion. Whatever is in only one of the two stays. Each deletion is journaled before it is sent.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};

use super::family::Family;
use super::halt::{Halt, TIME_UP};
use super::{Depth, Error, Journal, Progress, Site, Stop, Survey, allowed, failure, judge, policy_of};
use crate::model::{Digest, Kind};
use crate::plan::{Failure, Planned, RepositoryPlan, TagDeletion, Untag};
use crate::policy::Policy;
use crate::registry::{self, Deleter, Deletion, Features, Placeholder, Stuck};
use crate::report::{Deleted, RunReport, Spared, Untagged};
use crate::state::{self, Departure};

/// Repositories that are worked on at once. Within one, deletions follow one another: each makes
/// distribution read every tag there, and parents must be gone before their children.
const REPOSITORIES: usize = 4;

/// Whether a run minds the limits of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// It does.
    Respected,
    /// A human has looked at the plan and said so.
    Overridden,
}

/// Does what the survey's plan says.
pub async fn apply(
    site: Site<'_>,
    survey: &Survey,
    deleter: &Deleter,
    journal: Journal<'_>,
    limits: Limits,
    stop: &Stop,
    progress: &dyn Progress,
) -> RunReport {
    let plan = &survey.plan;
    let mut report = RunReport { applied: true, ..RunReport::of_plan(plan) };
    if limits == Limits::Overridden {
        report.refusals.clear();
    }
    let permitted: Vec<&RepositoryPlan> = match limits {
        Limits::Respected => plan.permitted().collect(),
        Limits::Overridden => plan.repositories.iter().filter(|one| !one.held_back).collect(),
    };
    let halt = Halt::new(stop);
    let work: Vec<Work<'_>> = permitted
        .into_iter()
        .filter(|planned| !planned.is_idle())
        .filter_map(|planned| {
            let policy = policy_of(site, &planned.repository)?;
            let features = survey.features;
            Some(Work { site, planned, policy, features, deleter, journal, halt: &halt, progress })
        })
        .collect();
    progress.deleting(work.iter().map(|work| work.planned.deletions().count()).sum());
    let mut results = stream::iter(&work).map(Work::perform).buffer_unordered(REPOSITORIES);
    while let Some(done) = results.next().await {
        report.deleted.extend(done.deleted);
        report.untagged.extend(done.untagged);
        report.spared.extend(done.spared);
        report.failures.extend(done.failures);
        report.unanswered |= done.unanswered;
    }
    if report.spared.iter().any(|spared| spared.why == TIME_UP) {
        let allowed = allowed(site);
        report.cut_off = Some(format!(
            "the run took longer than run_timeout ({allowed}) and was ended: the next run does the rest; if it \
             never comes to an end, raise run_timeout of this registry"
        ));
    }
    report
}

/// One repository in which something is to be done.
struct Work<'a> {
    site: Site<'a>,
    planned: &'a RepositoryPlan,
    policy: &'a Policy,
    features: Features,
    deleter: &'a Deleter,
    journal: Journal<'a>,
    halt: &'a Halt<'a>,
    progress: &'a dyn Progress,
}

/// What was done in one repository.
#[derive(Default)]
struct Done {
    deleted: Vec<Deleted>,
    untagged: Vec<Untagged>,
    spared: Vec<Spared>,
    failures: Vec<Failure>,
    /// Whether a deletion got no answer.
    unanswered: bool,
    /// Whether something failed that would fail for the rest of the repository too.
    broken: bool,
}

/// What fails as a whole leaves nothing behind.
fn whole(error: registry::Error) -> Stuck {
    Stuck { error, placed: false }
}

/// Why the rest of a repository is left alone once something in it has failed.
const AFTER_A_FAILURE: &str = "an earlier deletion in this repository failed";

impl Work<'_> {
    async fn perform(&self) -> Done {
        let mut done = Done::default();
        if let Some(why) = self.halt.why() {
            self.spare_all(why, &mut done);
            return done;
        }
        let repository = &self.planned.repository;
        let depth = Depth::Claimed(self.policy);
        // A look of its own: what was pushed since the first one is noticed now.
        let site = Site { looked: (self.journal.clock)(), ..self.site };
        let look = judge(site, self.features, repository, self.policy, depth);
        let Some(fresh) = self.halt.in_time(look).await else {
            self.spare_all(TIME_UP, &mut done);
            return done;
        };
        match fresh {
            Ok((_, fresh)) => {
                self.delete(&fresh, &mut done).await;
                self.untag(&fresh, &mut done).await;
            }
            Err(error) => {
                self.spare_all("the repository could not be read again before deleting", &mut done);
                match error {
                    Error::Registry(error) => self.fail(&error, &mut done),
                    error => done.failures.push(failure(repository.clone(), error.kind(), error)),
                }
            }
        }
        done
    }

    async fn delete(&self, fresh: &RepositoryPlan, done: &mut Done) {
        let printed: BTreeSet<&Digest> = self.planned.deletions().map(|planned| &planned.digest).collect();
        let going = || fresh.deletions().filter(|planned| printed.contains(&planned.digest));
        let repository = &self.planned.repository;
        let mut family = Family::of(self.site.reader, repository, going());
        let mut gone: BTreeSet<Digest> = BTreeSet::new();
        for planned in going() {
            let clear = planned.after.iter().all(|parent| gone.contains(parent));
            // Once its parent is gone, nothing would be gained by leaving an untagged child behind.
            let begun = clear && !planned.after.is_empty();
            let halted = self.halt.why().filter(|_| !begun);
            let why = if halted.is_some() {
                halted
            } else if done.broken {
                Some(AFTER_A_FAILURE)
            } else if !clear {
                Some("something that needs it is still there")
            } else {
                None
            };
            self.progress.settled();
            if let Some(why) = why {
                done.spared.push(self.spared(&planned.digest, why));
                continue;
            }
            if let Err(error) = family.gather(&planned.digest).await {
                self.fail(&error, done);
                done.spared.push(self.spared(&planned.digest, "what belongs to it could not be read"));
                continue;
            }
            let read = family.take(&planned.digest);
            let was_there = read.is_some();
            let (media_type, body) =
                read.map_or_else(Default::default, |raw| (raw.media_type, raw.body.to_vec()));
            let departure = Departure {
                tags: planned.tags.clone(),
                alone: false,
                media_type,
                body,
                rules: planned.rules.clone(),
                reasons: planned.reasons.iter().map(ToString::to_string).collect(),
                bytes: planned.frees,
                dependents: family.dependents(&planned.digest),
                ..self.departure(&planned.digest, planned.kind)
            };
            let send = async |_: &Departure| {
                let deletion = self.deleter.manifest(repository, &planned.digest).await.map_err(whole)?;
                // What was there until its parent went is gone because of us.
                Ok(if was_there { Deletion::Done } else { deletion })
            };
            match self.send(departure, send, done).await {
                Some(deletion) => {
                    gone.insert(planned.digest.clone());
                    done.deleted.push(self.deleted(planned, deletion));
                }
                None => done.spared.push(self.spared(&planned.digest, "its deletion failed")),
            }
        }
        let doomed: BTreeSet<&Digest> = fresh.deletions().map(|planned| &planned.digest).collect();
        for planned in self.planned.deletions().filter(|planned| !doomed.contains(&planned.digest)) {
            self.progress.settled();
            done.spared.push(self.spared(&planned.digest, "something changed since the plan was made"));
        }
    }

    async fn untag(&self, fresh: &RepositoryPlan, done: &mut Done) {
        for untag in &self.planned.untag {
            let why = if let Some(why) = self.halt.why() {
                why
            } else if done.broken {
                AFTER_A_FAILURE
            } else if !fresh.untag.contains(untag) {
                "something changed since the plan was made"
            } else {
                let departure = Departure {
                    tags: vec![untag.tag.clone()],
                    alone: true,
                    rules: vec![untag.rule.clone()],
                    reasons: vec![format!("rule {} no longer keeps it; its manifest stays", untag.rule)],
                    ..self.departure(&untag.digest, untag.kind)
                };
                let send = async |departure: &Departure| self.remove(untag, departure).await;
                match self.send(departure, send, done).await {
                    Some(Deletion::Done | Deletion::AlreadyGone) => {
                        done.untagged.push(self.untagged(untag));
                        continue;
                    }
                    Some(Deletion::Moved) => "somebody has just pushed it",
                    None => "its removal failed",
                }
            };
            let tag = Some(untag.tag.clone());
            done.spared.push(Spared { tag, ..self.spared(&untag.digest, why) });
        }
    }

    /// Removes a tag in the way that the registry has, or in one that all have.
    async fn remove(&self, untag: &Untag, departure: &Departure) -> Result<Deletion, Stuck> {
        let repository = &self.planned.repository;
        match self.features.tag_deletion {
            TagDeletion::Supported => self.deleter.tag(repository, &untag.tag).await.map_err(whole),
            TagDeletion::Unsupported => {
                let placeholder = Placeholder::new(&untag.tag, &departure.media_type, (self.journal.clock)());
                self.deleter.tag_by_placeholder(repository, &untag.tag, &untag.digest, &placeholder).await
            }
        }
    }

    /// Writes a deletion down, sends it, and writes down what came of it. `None` if it did not happen, or
    /// nobody knows.
    async fn send(
        &self,
        departure: Departure,
        send: impl AsyncFn(&Departure) -> Result<Deletion, Stuck>,
        done: &mut Done,
    ) -> Option<Deletion> {
        let departure = self.with_bytes(departure, done).await?;
        let entry = self.noted(self.journal.departing(&departure), done)?;
        match send(&departure).await {
            Ok(deletion) => {
                self.noted(self.journal.answered(entry, deletion), done);
                Some(deletion)
            }
            Err(Stuck { error, placed }) => {
                // Without an answer it may have happened: the next run finds out.
                if placed || error.perhaps_done {
                    done.unanswered = true;
                } else {
                    self.noted(self.journal.refused(entry), done);
                }
                self.fail(&error, done);
                None
            }
        }
    }

    /// The bytes are what an undo needs. Without them there would be none, so then it stays.
    async fn with_bytes(&self, departure: Departure, done: &mut Done) -> Option<Departure> {
        if !departure.body.is_empty() {
            return Some(departure);
        }
        match self.site.reader.raw(&departure.repository, &departure.digest).await {
            Ok(Some(raw)) => {
                Some(Departure { media_type: raw.media_type, body: raw.body.to_vec(), ..departure })
            }
            // Gone already, which the registry is going to say again; what depends on it is written down.
            Ok(None) => Some(departure),
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
                    registry = %self.site.registry.name, %error, "the run stops, because it cannot be noted"
                );
                self.halt.now("the run could not be noted any more");
                done.broken = true;
                // Nothing is collected after what is not in the journal.
                done.unanswered = true;
                done.failures.push(failure(self.planned.repository.clone(), "state", error));
            })
            .ok()
    }

    fn departure(&self, digest: &Digest, kind: Kind) -> Departure {
        Departure {
            repository: self.planned.repository.clone(),
            digest: digest.clone(),
            tags: Vec::new(),
            alone: false,
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

    fn untagged(&self, untag: &Untag) -> Untagged {
        let untagged = Untagged {
            repository: self.planned.repository.clone(),
            tag: untag.tag.clone(),
            digest: untag.digest.clone(),
            policy: self.policy.name.clone(),
        };
        tracing::info!(
            registry = %self.site.registry.name, repository = %untagged.repository, tag = %untagged.tag,
            digest = %untagged.digest, policy = %untagged.policy, rule = %untag.rule, "removed a tag"
        );
        untagged
    }

    fn deleted(&self, planned: &Planned, deletion: Deletion) -> Deleted {
        let deleted = Deleted {
            repository: self.planned.repository.clone(),
            digest: planned.digest.clone(),
            tags: planned.tags.clone(),
            policy: self.policy.name.clone(),
            bytes: planned.frees,
            already_gone: deletion == Deletion::AlreadyGone,
        };
        let reasons: Vec<String> = planned.reasons.iter().map(ToString::to_string).collect();
        tracing::info!(
            registry = %self.site.registry.name, repository = %deleted.repository, digest = %deleted.digest,
            tags = ?deleted.tags, policy = %deleted.policy, rules = ?planned.rules, ?reasons,
            bytes = deleted.bytes, already_gone = deleted.already_gone, "deleted a manifest"
        );
        deleted
    }

    fn spared(&self, digest: &Digest, why: &str) -> Spared {
        Spared {
            repository: self.planned.repository.clone(),
            digest: digest.clone(),
            tag: None,
            why: why.to_owned(),
        }
    }

    fn spare_all(&self, why: &str, done: &mut Done) {
        let manifests = self.planned.deletions().map(|planned| self.spared(&planned.digest, why));
        done.spared.extend(manifests);
        let tags = self.planned.untag.iter();
        done.spared.extend(
            tags.map(|untag| Spared { tag: Some(untag.tag.clone()), ..self.spared(&untag.digest, why) }),
        );
    }

    fn fail(&self, error: &registry::Error, done: &mut Done) {
        let repository = self.planned.repository.clone();
        tracing::error!(
            registry = %self.site.registry.name, %repository, kind = error.kind.name(), %error,
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
