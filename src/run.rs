//! One run over one registry, from the first request to the report.
//!
//! [`scan_and_plan`] reads and plans. [`apply`] carries out what a scan planned, and nothing else. Planning
//! without applying is not a flag in here: it is a caller that stops after the scan. [`collect`] has
//! the registry free what was deleted. [`run()`] makes the three into a run that is noted.

mod ability;
mod apply;
mod bounds;
mod collect;
mod error;
mod execute;
mod family;
mod halt;
mod hidden;
mod history;
mod image_name;
mod journal;
mod look;
mod precondition;
pub mod preflight;
mod recovery;
mod retained;
mod room;
mod scan;
mod scan_history;
mod send;
mod subjects;
mod time_argument;
mod undo;

use ability::{probe, with_learned};
pub use apply::{LimitMode, apply};
use bounds::Bounds;
pub use collect::{Clock, answers_now, collect, grace_ends, held_back, recover, recover_after};
pub use error::Error;
pub use execute::{RunOptions, RunResult, run, store_plan};
pub use halt::Stop;
pub use history::history;
pub use image_name::{ImageError, ImageTarget, Name, Reference, no_image, parse_image, prefixes};
pub use journal::Journal;
pub use precondition::{Blocked, GraceMode, blocked};
pub use recovery::recovery_pause;
pub use retained::RetainedDigests;
use room::{Line, judge_beside};
use scan::{Depth, scan};

pub use time_argument::TimeArgument;
pub use undo::undo;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::config::{self, Config};
use crate::model::{Digest, RepositoryName, Snapshot, TagDeletion, duration};
use crate::plan::{Failure, Plan, PlanContext, RepositoryPlan, Verdict, plan};
use crate::policy::{Mode, Patterns, Policy, Untagging};
use crate::registry::{self, Features, Reader, TagCompleteness};
use crate::state::State;

/// One registry and everything that is wanted of it.
#[derive(Clone, Copy)]
pub struct RegistryContext<'a> {
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
    /// Tells when a repository was looked at. A scan can take hours, and what was pushed meanwhile is not as old as
    /// the scan.
    pub clock: &'a Clock,
}

/// What was found and what would be done about it.
pub struct ScannedPlan {
    /// The plan of every claimed repository, without what it keeps.
    pub plan: Plan,
    /// Repositories that no policy claims.
    pub unclaimed: usize,
    /// What a collection must not sweep; empty where none is configured.
    pub retained: RetainedDigests,
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
/// that the context is not told to pass over.
pub async fn repositories(context: RegistryContext<'_>) -> Result<Vec<RepositoryName>, Error> {
    context.reader.ping().await?;
    let names = match &context.registry.repositories {
        Some(names) => names.clone(),
        None => context.reader.repositories().await.map_err(|error| match error.kind {
            registry::Kind::Unauthorized
            | registry::Kind::Forbidden
            | registry::Kind::NotFound
            | registry::Kind::Unsupported => Error::NoCatalog(error),
            _ => Error::Registry(error),
        })?,
    };
    let wanted = |name: &RepositoryName| context.only.is_none_or(|only| only.matches(name.as_str()));
    Ok(names.into_iter().filter(wanted).collect())
}

/// The policy that decides a repository.
fn policy_of<'a>(context: RegistryContext<'a>, repository: &RepositoryName) -> Option<&'a Policy> {
    context.config.policies.iter().find(|policy| policy.claims(&context.registry.name, repository))
}

/// Everything that one repository holds, with the verdict of the policy that claims it, if any does.
pub async fn inspect(
    context: RegistryContext<'_>,
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
    let policy = policy_of(context, repository).unwrap_or(&nobodys);
    let features = with_learned(context, context.reader.features(repository).await?, None).await?;
    let readers = context.registry.concurrency.get();
    let judged =
        judge_beside(readers, context, features, repository, policy, Depth::Everything, None).await?;
    let (snapshot, plan, _) = judged;
    Ok((snapshot, plan))
}

/// Reads every claimed repository and plans. One that cannot be read is left alone and reported. A registry
/// that is down, or that takes longer than a run may, is an error.
///
/// `ready` is asked before the long part with one of the claimed repositories, and can end it. It tells
/// whether tags go alone where somebody has asked the registry.
pub async fn scan_and_plan(
    context: RegistryContext<'_>,
    progress: &dyn Progress,
    ready: impl AsyncFn(&RepositoryName) -> Result<Option<TagDeletion>, Error>,
) -> Result<ScannedPlan, Error> {
    in_time(context, read_and_plan(context, progress, ready)).await
}

/// What comes of it, if that takes no longer than a run may.
async fn in_time<T>(
    context: RegistryContext<'_>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(context.registry.run_timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::TimeUp(allowed(context))),
    }
}

/// How long a run may take, as people write it.
fn allowed(context: RegistryContext<'_>) -> String {
    duration::exact(TimeDelta::from_std(context.registry.run_timeout).unwrap_or(TimeDelta::MAX))
}

async fn read_and_plan(
    context: RegistryContext<'_>,
    progress: &dyn Progress,
    ready: impl AsyncFn(&RepositoryName) -> Result<Option<TagDeletion>, Error>,
) -> Result<ScannedPlan, Error> {
    let names = repositories(context).await?;
    names.iter().for_each(|name| progress.found(name));
    let total = names.len();
    let claimed: Vec<(RepositoryName, &Policy)> =
        names.into_iter().filter_map(|name| policy_of(context, &name).map(|policy| (name, policy))).collect();
    let unclaimed = total - claimed.len();
    let features = probe(context, &claimed, ready).await?;
    progress.scanning(claimed.len());
    let mut plans = Vec::new();
    let mut failures = Vec::new();
    let mut retained = RetainedDigests::default();
    let mut samples = hidden::Samples::default();
    let line = Line::new(context.registry.concurrency.get());
    let mut results = stream::iter(claimed.into_iter().enumerate())
        .map(async |(place, (repository, policy))| {
            let result = line.judge(place, context, features, &repository, policy).await;
            progress.scanned();
            (repository, result)
        })
        // In order, so that whoever is shown each plan as it is made is shown all in order.
        .buffered(context.registry.concurrency.get());
    while let Some((repository, result)) = results.next().await {
        match result {
            Ok((snapshot, mut plan)) => {
                if context.registry.gc.is_some() {
                    retained.add(&snapshot, &plan);
                }
                samples.add(&snapshot, &plan);
                progress.planned(&plan);
                plan.forget_kept();
                plans.push(plan);
            }
            Err(Error::Registry(error)) if error.kind != registry::Kind::Unavailable => {
                tracing::warn!(
                    registry = %context.registry.name, %repository, kind = error.kind.name(), %error,
                    "the repository could not be read and is left alone"
                );
                failures.push(failure(repository, error.kind.name(), error));
            }
            Err(error) => return Err(error),
        }
        line.advance();
    }
    drop(results);
    scan_history::prune(context).await;
    let mut plan = Plan::new(&context.registry.name, context.now, plans, failures, &context.config.limits);
    let tag_completeness = hidden::refuse(context, features, &samples, &mut plan).await?;
    Ok(ScannedPlan { plan, unclaimed, retained, features, tag_completeness })
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
/// With `recheck`, something is about to be deleted by this: then each tagged manifest that stays is
/// asked for unless it was before, since one that is gone must take no place from another.
async fn judge(
    features: Features,
    repository: &RepositoryName,
    policy: &Policy,
    depth: Depth<'_>,
    mut recheck: Option<&mut RecheckContext>,
    bounds: &mut Bounds<'_>,
) -> Result<(Snapshot, RepositoryPlan), Error> {
    let context = bounds.context;
    let parents_deleted = recheck.as_deref().map(|one| one.parents_deleted.clone()).unwrap_or_default();
    let plan_context = PlanContext {
        now: context.now,
        timezone: context.config.timezone,
        protect: &context.config.protect,
        tag_deletion: match policy.untag {
            Untagging::Native => features.tag_deletion,
            Untagging::Always => TagDeletion::Supported,
            Untagging::Never => TagDeletion::Unsupported,
        },
        parents_deleted: &parents_deleted,
    };
    let before = scan_history::load(bounds, repository).await?;
    let doubts = |digest: &Digest| {
        let recheck = recheck.as_deref();
        recheck.is_some_and(|one| !one.confirmed.contains(digest) && !one.doomed.contains(digest))
    };
    let scanned = scan(bounds, repository, depth, &before, doubts).await?;
    let scan::Scanned { mut snapshot, unconfirmed, confirmed } = scanned;
    if let Some(recheck) = recheck.as_deref_mut() {
        recheck.confirmed.extend(confirmed);
    }
    let mut asked = BTreeSet::new();
    let mut revisited = false;
    let mut rounds = 0;
    let mut not_seen = BTreeSet::new();
    loop {
        bounds.deeper(&mut rounds)?;
        subjects::load_journaled(context, &mut snapshot, &before, &mut not_seen).await?;
        // Not earlier than anything was pushed that has been found by now.
        let at = (context.clock)();
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
        if let Some(recheck) = recheck.as_deref_mut().filter(|_| !plan.is_idle()) {
            let kept =
                plan.manifests.iter().filter(|one| one.verdict == Verdict::Keep && one.counted_as.is_some());
            let open = kept.map(|one| &one.digest).filter(|digest| unconfirmed.contains(*digest));
            let open: BTreeSet<Digest> =
                open.filter(|digest| !recheck.confirmed.contains(*digest)).cloned().collect();
            if scan::confirm(context, &mut snapshot, &open).await? {
                continue;
            }
            recheck.confirmed.extend(open);
        }
        // What refers to a manifest must go with it, or it would stay behind for ever. Only what is
        // about to go is asked for, since that costs a request each.
        let doomed = plan.deletions().map(|planned| &planned.digest).filter(|_| features.referrers);
        let open: Vec<Digest> = doomed.filter(|&digest| asked.insert(digest.clone())).cloned().collect();
        if open.is_empty() {
            scan_history::save(context, repository, before, after, at).await?;
            return Ok((snapshot, plan));
        }
        let found: Vec<_> = stream::iter(&open)
            .map(|digest| context.reader.referrers(repository, digest))
            .buffer_unordered(context.registry.concurrency.get())
            .try_collect()
            .await?;
        let named = found.into_iter().flatten().collect();
        scan::extend(bounds, &mut snapshot, named, depth, &before).await?;
    }
}

/// Lets other requests go on while the disk is read or written.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn failure(repository: RepositoryName, kind: &'static str, error: impl ToString) -> Failure {
    Failure { repository, kind, error: error.to_string() }
}
