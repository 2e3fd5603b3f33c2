//! Scanning one repository and planning it, with its scan history: what the first plan and each recheck do.
//!
//! A plan can show that more must be read, for example what refers to a manifest that is about to be deleted. So
//! reading and planning alternate until nothing is missing.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::bounds::Bounds;
use super::error::Error;
use super::scan::{self, Depth, scan};
use super::{scan_history, subjects};
use crate::model::{Digest, RepositoryName, Snapshot, TagDeletion};
use crate::plan::{Intent, PlanContext, RepositoryPlan, Verdict, plan};
use crate::policy::Untagging;
use crate::registry::Features;

/// What a run knows of a repository in which it deletes, carried from one recheck to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct RecheckContext {
    /// Manifests that were to be deleted together with an index or a subject that this run has deleted.
    pub(super) parents_deleted: BTreeSet<Digest>,
    /// Tagged manifests that are kept and that the registry has confirmed to have.
    pub(super) confirmed: BTreeSet<Digest>,
    /// Manifests that the printed plan deletes. The registry need not have them any more.
    pub(super) planned_deletions: BTreeSet<Digest>,
}

impl RecheckContext {
    /// Whether the registry must confirm that it has a manifest.
    fn must_confirm(&self, digest: &Digest) -> bool {
        !self.confirmed.contains(digest) && !self.planned_deletions.contains(digest)
    }
}

/// Scans one repository and plans it, with its scan history, which is saved again.
///
/// With `recheck`, something is about to be deleted because of this plan. Then the registry must confirm each
/// tagged manifest that is kept, once in a run: one that is gone must not take the place of another in a count.
pub(super) async fn scan_and_evaluate(
    features: Features,
    repository: &RepositoryName,
    intent: &Intent,
    depth: Depth<'_>,
    mut recheck: Option<&mut RecheckContext>,
    bounds: &mut Bounds<'_>,
) -> Result<(Snapshot, RepositoryPlan), Error> {
    let context = bounds.context;
    let parents_deleted =
        recheck.as_deref().map(|recheck| recheck.parents_deleted.clone()).unwrap_or_default();
    let plan_context = PlanContext {
        now: context.now,
        timezone: context.config.timezone,
        protect: &context.config.protect,
        tag_deletion: match intent.policy().map(|policy| policy.untag).unwrap_or_default() {
            Untagging::Native => features.tag_deletion,
            Untagging::Always => TagDeletion::Supported,
            Untagging::Never => TagDeletion::Unsupported,
        },
        parents_deleted: &parents_deleted,
    };
    let before = scan_history::load(bounds, repository).await?;
    let must_confirm =
        |digest: &Digest| recheck.as_deref().is_some_and(|recheck| recheck.must_confirm(digest));
    let scanned = scan(bounds, repository, depth, &before, must_confirm).await?;
    let scan::Scanned { mut snapshot, unconfirmed, confirmed } = scanned;
    if let Some(recheck) = recheck.as_deref_mut() {
        recheck.confirmed.extend(confirmed);
    }
    let mut referrers_listed = BTreeSet::new();
    let mut subjects_looked_up = BTreeSet::new();
    let mut revisited = false;
    let mut rounds = 0;
    loop {
        bounds.deeper(&mut rounds)?;
        subjects::load_journaled(context, &mut snapshot, &before, &mut subjects_looked_up).await?;
        // Read after the requests, so it is no earlier than the push of anything that they have found.
        let at = (context.clock)();
        let after = before.record(&mut snapshot, at);
        let plan = plan(&snapshot, intent, &plan_context);
        // An untagged index that is kept still needs its children. So before anything is deleted, untagged
        // manifests in the scan history are read again.
        if !revisited && plan.deletions().next().is_some() {
            revisited = true;
            let known = snapshot.manifests.len();
            scan::revisit(bounds, &mut snapshot, depth, &before).await?;
            if snapshot.manifests.len() > known {
                continue;
            }
        }
        if let Some(recheck) = recheck.as_deref_mut().filter(|_| !plan.is_idle()) {
            let kept = plan
                .manifests
                .iter()
                .filter(|planned| planned.verdict == Verdict::Keep && planned.counted_as.is_some());
            let open = kept.map(|planned| &planned.digest).filter(|digest| unconfirmed.contains(*digest));
            let open: BTreeSet<Digest> =
                open.filter(|digest| !recheck.confirmed.contains(*digest)).cloned().collect();
            if scan::confirm(context, &mut snapshot, &open).await? {
                continue;
            }
            recheck.confirmed.extend(open);
        }
        // The referrers of a deleted manifest must be deleted with it, or they would stay for ever. Listing them
        // costs a request for each manifest, so only those to be deleted are asked about.
        let deleted = plan.deletions().map(|planned| &planned.digest).filter(|_| features.referrers);
        let open: Vec<Digest> =
            deleted.filter(|&digest| referrers_listed.insert(digest.clone())).cloned().collect();
        if open.is_empty() {
            scan_history::save(context, repository, before, after, at).await?;
            return Ok((snapshot, plan));
        }
        let found: Vec<_> = stream::iter(&open)
            .map(|digest| context.reader.referrers(repository, digest))
            .buffer_unordered(context.registry.concurrency.get())
            .try_collect()
            .await?;
        let referrers = found.into_iter().flatten().collect();
        scan::extend(bounds, &mut snapshot, referrers, depth, &before).await?;
    }
}
