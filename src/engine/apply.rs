//! Carrying out a survey's plan: verify, then delete.
//!
//! What goes is in the plan that could have been printed first and also in one made a moment before the
//! deletion. Whatever is in only one of the two stays. Each deletion is journaled before it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt as _, stream};

use super::{Depth, Error, Journal, Progress, Site, Survey, failure, judge, policy_of};
use crate::model::{Digest, Kind};
use crate::plan::{Failure, Planned, RepositoryPlan, Untag};
use crate::policy::Policy;
use crate::registry::{self, Deleter, Deletion, Features};
use crate::report::{Deleted, RunReport, Spared, Untagged};
use crate::state::{self, Departure};

/// Repositories that are worked on at once. Within one, deletions follow one another: each makes
/// distribution read every tag there, and parents must be gone before their children.
const REPOSITORIES: usize = 4;

/// Asks a run to stop between two deletions. What belongs to a manifest that is gone still follows it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for it.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

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
    let work: Vec<Work<'_>> = permitted
        .into_iter()
        .filter(|planned| !planned.is_idle())
        .filter_map(|planned| {
            let policy = policy_of(site, &planned.repository)?;
            let features = survey.features;
            Some(Work { site, planned, policy, features, deleter, journal, stop, progress })
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
    stop: &'a Stop,
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

/// Why the rest of a repository is left alone once something in it has failed.
const AFTER_A_FAILURE: &str = "an earlier deletion in this repository failed";

impl Work<'_> {
    async fn perform(&self) -> Done {
        let mut done = Done::default();
        if self.stop.is_requested() {
            self.spare_all("the run was stopped", &mut done);
            return done;
        }
        let repository = &self.planned.repository;
        let depth = Depth::Claimed(self.policy);
        // A look of its own: what was pushed since the first one is noticed now.
        let site = Site { looked: (self.journal.clock)(), ..self.site };
        let fresh = judge(site, self.features, repository, self.policy, depth).await;
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
        let mut dependents: BTreeMap<&Digest, Vec<Digest>> = BTreeMap::new();
        for planned in going() {
            for parent in &planned.after {
                dependents.entry(parent).or_default().push(planned.digest.clone());
            }
        }
        let mut gone: BTreeSet<Digest> = BTreeSet::new();
        for planned in going() {
            let clear = planned.after.iter().all(|parent| gone.contains(parent));
            // Once its parent is gone, nothing would be gained by leaving an untagged child behind.
            let begun = clear && !planned.after.is_empty();
            let why = if self.stop.is_requested() && !begun {
                Some("the run was stopped")
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
            let departure = Departure {
                tags: planned.tags.clone(),
                alone: false,
                rules: planned.rules.clone(),
                reasons: planned.reasons.iter().map(ToString::to_string).collect(),
                bytes: planned.frees,
                dependents: dependents.remove(&planned.digest).unwrap_or_default(),
                ..self.departure(&planned.digest, planned.kind)
            };
            let send = async || self.deleter.manifest(&self.planned.repository, &planned.digest).await;
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
            let why = if self.stop.is_requested() {
                "the run was stopped"
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
                let send = async || self.deleter.tag(&self.planned.repository, &untag.tag).await;
                if self.send(departure, send, done).await.is_some() {
                    done.untagged.push(self.untagged(untag));
                    continue;
                }
                "its removal failed"
            };
            let tag = Some(untag.tag.clone());
            done.spared.push(Spared { tag, ..self.spared(&untag.digest, why) });
        }
    }

    /// Writes a deletion down, sends it, and writes down what came of it. `None` if it did not happen, or
    /// nobody knows.
    async fn send(
        &self,
        departure: Departure,
        send: impl AsyncFn() -> Result<Deletion, registry::Error>,
        done: &mut Done,
    ) -> Option<Deletion> {
        // Its bytes are what an undo needs. Without them there would be none, so then it stays.
        let departure = match self.site.reader.raw(&departure.repository, &departure.digest).await {
            Ok(Some(raw)) => Departure { media_type: raw.media_type, body: raw.body.to_vec(), ..departure },
            // Gone already, which the registry is going to say again; what depends on it is written down.
            Ok(None) => departure,
            Err(error) => {
                self.fail(&error, done);
                return None;
            }
        };
        let entry = self.noted(self.journal.departing(&departure), done)?;
        match send().await {
            Ok(deletion) => {
                self.noted(self.journal.answered(entry, deletion), done);
                Some(deletion)
            }
            Err(error) => {
                // Without an answer of the registry itself, which names a code, it may have happened: the next run
                // finds out.
                if error.is_transient() || error.codes.is_empty() {
                    done.unanswered = true;
                } else {
                    self.noted(self.journal.refused(entry), done);
                }
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
                self.stop.request();
                done.broken = true;
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
        // What the registry refuses for one manifest alone does not stop the others.
        done.broken |= error.kind != registry::Kind::Forbidden;
        done.failures.push(failure(repository, error.kind.name(), error));
    }
}
