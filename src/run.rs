//! One run over one registry, from the first request to the report.
//!
//! [`survey`] reads and plans. [`apply`] carries out what a survey planned, and nothing else. Planning
//! without applying is not a flag in here: it is a caller that stops after the survey. [`collect`] has
//! the registry free what was deleted. [`conduct`] makes the three into a run that is noted.

mod ability;
mod apply;
mod asked;
mod bounds;
mod collect;
mod conduct;
pub mod connect;
mod error;
mod family;
mod halt;
mod hidden;
mod history;
mod journal;
mod kept;
mod look;
mod memory;
mod naming;
mod precondition;
mod recovery;
mod room;
mod scan;
mod send;
mod subjects;
mod undo;

use ability::{probe, with_learned};
pub use apply::{Limits, apply};
pub use asked::Asked;
use bounds::Bounds;
pub use collect::{Clock, answers_now, collect, grace_ends, held_back, recover, recover_after};
pub use conduct::{Conducted, Means, conduct, keep};
pub use error::Error;
pub use halt::Stop;
pub use history::{
    NO_END, Past, Standing, entry_document, history, history_document, undo_document, what_went,
};
pub use journal::Journal;
pub use kept::Kept;
use memory::{forget, recall, remember};
pub use naming::{Name, Reference, Target, Unclear, no_image, parse_image, prefixes};
pub use precondition::{Blocked, Grace, blocked};
pub use recovery::recovery_pause;
use room::{Line, judge_beside};
use scan::{Depth, scan};
pub use undo::{Return, Undone, undo};

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::config::{self, Config};
use crate::model::{Digest, RepositoryName, Snapshot};
use crate::plan::{Failure, Plan, PlanContext, RepositoryPlan, TagDeletion, Verdict, plan, span};
use crate::policy::{Mode, Patterns, Policy, Untagging};
use crate::registry::{self, Features, Reader, TagCompleteness};
use crate::state::State;

/// One registry and everything that is wanted of it.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The whole configuration.
    pub config: &'a Config,
    /// The registry's part of it.
    pub registry: &'a config::Registry,
    /// The way to it.
    pub reader: &'a Reader,
    /// The moment as of which everything is judged.
    pub now: DateTime<Utc>,
    /// The only repositories to look at; `None` means all.
    pub only: Option<&'a Patterns>,
    /// What remembers earlier looks; `None` where every look is the first.
    pub state: Option<&'a State>,
    /// Tells when a repository was looked at. A survey can take hours, and what was pushed meanwhile is not as old as
    /// the survey.
    pub clock: &'a Clock,
}

/// What was found and what would be done about it.
pub struct Survey {
    /// The plan of every claimed repository, without what it keeps.
    pub plan: Plan,
    /// Repositories that no policy claims.
    pub unclaimed: usize,
    /// What a collection must not sweep; empty where none is configured.
    pub kept: Kept,
    features: Features,
    tag_completeness: TagCompleteness,
}

/// Whoever watches a run while it goes on.
pub trait Progress: Sync {
    /// There is this repository among those that were asked for; a policy may claim it or not.
    fn found(&self, _repository: &RepositoryName) {}
    /// So many repositories are about to be read.
    fn scanning(&self, _repositories: usize) {}
    /// One of them has been read.
    fn scanned(&self) {}
    /// This is what would be done in one of them; it comes once for each that could be read, in order.
    fn planned(&self, _plan: &RepositoryPlan) {}
    /// So many deletions are about to be made.
    fn deleting(&self, _deletions: usize) {}
    /// One of them has been made or dropped.
    fn settled(&self) {}
}

/// Nobody watches.
impl Progress for () {}

/// Every repository that is known to be in the registry, by its catalog or by the configuration, and
/// that the site is not told to pass over.
pub async fn repositories(site: Site<'_>) -> Result<Vec<RepositoryName>, Error> {
    site.reader.ping().await?;
    let names = match &site.registry.repositories {
        Some(names) => names.clone(),
        None => site.reader.repositories().await.map_err(|error| match error.kind {
            registry::Kind::Unauthorized
            | registry::Kind::Forbidden
            | registry::Kind::NotFound
            | registry::Kind::Unsupported => Error::NoCatalog(error),
            _ => Error::Registry(error),
        })?,
    };
    let wanted = |name: &RepositoryName| site.only.is_none_or(|only| only.matches(name.as_str()));
    Ok(names.into_iter().filter(wanted).collect())
}

/// The policy that decides a repository.
fn policy_of<'a>(site: Site<'a>, repository: &RepositoryName) -> Option<&'a Policy> {
    site.config.policies.iter().find(|policy| policy.claims(&site.registry.name, repository))
}

/// Everything that one repository holds, with the verdict of the policy that claims it, if any does.
pub async fn inspect(
    site: Site<'_>,
    repository: &RepositoryName,
) -> Result<(Snapshot, RepositoryPlan), Error> {
    let nobodys = Policy {
        name: String::new(),
        registries: None,
        repositories: Patterns::default(),
        exclude: Patterns::default(),
        mode: Mode::Plan,
        rules: Vec::new(),
        untagged: None,
        untag: Untagging::Native,
    };
    let policy = policy_of(site, repository).unwrap_or(&nobodys);
    let features = with_learned(site, site.reader.features(repository).await?, None).await?;
    let readers = site.registry.concurrency.get();
    let judged = judge_beside(readers, site, features, repository, policy, Depth::Everything, None).await?;
    let (snapshot, plan, _) = judged;
    Ok((snapshot, plan))
}

/// Reads every claimed repository and plans. One that cannot be read is left alone and reported. A registry
/// that is down, or that takes longer than a run may, is an error.
///
/// `ready` is asked before the long part with one of the claimed repositories, and can end it. It tells
/// whether tags go alone where somebody has asked the registry.
pub async fn survey(
    site: Site<'_>,
    progress: &dyn Progress,
    ready: impl AsyncFn(&RepositoryName) -> Result<Option<TagDeletion>, Error>,
) -> Result<Survey, Error> {
    in_time(site, read_and_plan(site, progress, ready)).await
}

/// What comes of it, if that takes no longer than a run may.
async fn in_time<T>(site: Site<'_>, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(site.registry.run_timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::TimeUp(allowed(site))),
    }
}

/// How long a run may take, as people write it.
fn allowed(site: Site<'_>) -> String {
    span::exact(TimeDelta::from_std(site.registry.run_timeout).unwrap_or(TimeDelta::MAX))
}

async fn read_and_plan(
    site: Site<'_>,
    progress: &dyn Progress,
    ready: impl AsyncFn(&RepositoryName) -> Result<Option<TagDeletion>, Error>,
) -> Result<Survey, Error> {
    let names = repositories(site).await?;
    names.iter().for_each(|name| progress.found(name));
    let total = names.len();
    let claimed: Vec<(RepositoryName, &Policy)> =
        names.into_iter().filter_map(|name| policy_of(site, &name).map(|policy| (name, policy))).collect();
    let unclaimed = total - claimed.len();
    let features = probe(site, &claimed, ready).await?;
    progress.scanning(claimed.len());
    let mut plans = Vec::new();
    let mut failures = Vec::new();
    let mut kept = Kept::default();
    let mut samples = hidden::Samples::default();
    let line = Line::new(site.registry.concurrency.get());
    let mut results = stream::iter(claimed.into_iter().enumerate())
        .map(async |(place, (repository, policy))| {
            let result = line.judge(place, site, features, &repository, policy).await;
            progress.scanned();
            (repository, result)
        })
        // In order, so that whoever is shown each plan as it is made is shown all in order.
        .buffered(site.registry.concurrency.get());
    while let Some((repository, result)) = results.next().await {
        match result {
            Ok((snapshot, mut plan)) => {
                if site.registry.gc.is_some() {
                    kept.add(&snapshot, &plan);
                }
                samples.add(&snapshot, &plan);
                progress.planned(&plan);
                plan.forget_kept();
                plans.push(plan);
            }
            Err(Error::Registry(error)) if error.kind != registry::Kind::Unavailable => {
                tracing::warn!(
                    registry = %site.registry.name, %repository, kind = error.kind.name(), %error,
                    "the repository could not be read and is left alone"
                );
                failures.push(failure(repository, error.kind.name(), error));
            }
            Err(error) => return Err(error),
        }
        line.advance();
    }
    drop(results);
    forget(site).await;
    let mut plan = Plan::new(&site.registry.name, site.now, plans, failures, &site.config.limits);
    let tag_completeness = hidden::refuse(site, features, &samples, &mut plan).await?;
    Ok(Survey { plan, unclaimed, kept, features, tag_completeness })
}

/// What a run knows of a repository in which it deletes, from one recheck to the next.
#[derive(Debug, Clone, Default)]
struct RecheckContext {
    /// What was to go with an index or a subject that this run has deleted.
    parents_deleted: BTreeSet<Digest>,
    /// Tagged manifests that stay, and that the registry was seen to have.
    confirmed: BTreeSet<Digest>,
    /// What the printed plan deletes. It need not be there.
    doomed: BTreeSet<Digest>,
}

/// Reads one repository and judges it, with what is remembered of it and for the next time.
///
/// With `context`, something is about to be deleted by this: then each tagged manifest that stays is
/// asked for unless it was before, since one that is gone must take no place from another.
async fn judge(
    features: Features,
    repository: &RepositoryName,
    policy: &Policy,
    depth: Depth<'_>,
    mut context: Option<&mut RecheckContext>,
    bounds: &mut Bounds<'_>,
) -> Result<(Snapshot, RepositoryPlan), Error> {
    let site = bounds.site;
    let parents_deleted = context.as_deref().map(|one| one.parents_deleted.clone()).unwrap_or_default();
    let plan_context = PlanContext {
        now: site.now,
        timezone: site.config.timezone,
        protect: &site.config.protect,
        tag_deletion: match policy.untag {
            Untagging::Native => features.tag_deletion,
            Untagging::Always => TagDeletion::Supported,
            Untagging::Never => TagDeletion::Unsupported,
        },
        parents_deleted: &parents_deleted,
    };
    let before = recall(bounds, repository).await?;
    let doubts = |digest: &Digest| {
        let context = context.as_deref();
        context.is_some_and(|one| !one.confirmed.contains(digest) && !one.doomed.contains(digest))
    };
    let scanned = scan(bounds, repository, depth, &before, doubts).await?;
    let scan::Scanned { mut snapshot, unconfirmed, confirmed } = scanned;
    if let Some(context) = context.as_deref_mut() {
        context.confirmed.extend(confirmed);
    }
    let mut asked = BTreeSet::new();
    let mut revisited = false;
    let mut rounds = 0;
    let mut not_seen = BTreeSet::new();
    loop {
        bounds.deeper(&mut rounds)?;
        subjects::recall(site, &mut snapshot, &before, &mut not_seen).await?;
        // Not earlier than anything was pushed that has been found by now.
        let at = (site.clock)();
        let after = before.record(&mut snapshot, at);
        let plan = plan(&snapshot, policy, &plan_context);
        // An untagged index that is left alone still needs its children, so what is remembered of such
        // is looked up before anything goes.
        if !revisited && plan.deletions().next().is_some() {
            revisited = true;
            let known = snapshot.manifests.len();
            scan::revisit(bounds, &mut snapshot, depth, &before).await?;
            if snapshot.manifests.len() > known {
                continue;
            }
        }
        if let Some(context) = context.as_deref_mut().filter(|_| !plan.is_idle()) {
            let kept =
                plan.manifests.iter().filter(|one| one.verdict == Verdict::Keep && one.counted_as.is_some());
            let open = kept.map(|one| &one.digest).filter(|digest| unconfirmed.contains(*digest));
            let open: BTreeSet<Digest> =
                open.filter(|digest| !context.confirmed.contains(*digest)).cloned().collect();
            if scan::confirm(site, &mut snapshot, &open).await? {
                continue;
            }
            context.confirmed.extend(open);
        }
        // What refers to a manifest must go with it, or it would stay behind for ever. Only what is
        // about to go is asked for, since that costs a request each.
        let doomed = plan.deletions().map(|planned| &planned.digest).filter(|_| features.referrers);
        let open: Vec<Digest> = doomed.filter(|&digest| asked.insert(digest.clone())).cloned().collect();
        if open.is_empty() {
            remember(site, repository, before, after, at).await?;
            return Ok((snapshot, plan));
        }
        let found: Vec<_> = stream::iter(&open)
            .map(|digest| site.reader.referrers(repository, digest))
            .buffer_unordered(site.registry.concurrency.get())
            .try_collect()
            .await?;
        let named = found.into_iter().flatten().collect();
        scan::extend(bounds, &mut snapshot, named, depth, &before).await?;
    }
}

/// Lets other requests go on while the disk is read or written.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn failure(repository: RepositoryName, kind: &'static str, error: impl ToString) -> Failure {
    Failure { repository, kind, error: error.to_string() }
}
