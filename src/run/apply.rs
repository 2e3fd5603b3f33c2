//! Applying the plan of a registry: its repositories one by one, some at the same time.
//!
//! What is deleted is in the plan that could have been printed first and also in a recheck made a moment before. What
//! is in only one of the two is skipped.

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::apply_repository::apply_repository;
use super::context::RegistryContext;
use super::journal::Journal;
use super::progress::Progress;
use super::scan_and_plan::ScannedPlan;
use super::stop::{STOPPED, StopCondition, TIMED_OUT};
use super::work::{CONCURRENT_REPOSITORIES, RepositoryWork};
use crate::plan::RepositoryPlan;
use crate::registry::Deleter;
use crate::report::RunReport;

/// Whether the limits of the configuration hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitMode {
    /// A refused deletion is not done.
    Enforced,
    /// An operator has read the plan and overridden the limits.
    Overridden,
}

/// How a plan is applied.
#[derive(Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// Whether the limits hold.
    pub limits: LimitMode,
    /// Stops between two deletions.
    pub stop: &'a CancellationToken,
    /// Stops between two deletions at this moment.
    pub deadline: Option<Instant>,
}

/// Deletes what the plan deletes.
pub async fn apply(
    context: RegistryContext<'_>,
    scanned: &ScannedPlan,
    deleter: &Deleter,
    journal: Journal<'_>,
    options: ApplyOptions<'_>,
    progress: &dyn Progress,
) -> RunReport {
    let plan = &scanned.plan;
    let mut report = RunReport { applied: true, ..RunReport::of_plan(plan) };
    if options.limits == LimitMode::Overridden {
        report.refusals.retain(|refusal| !refusal.can_be_overridden());
    }
    let refusals = report.refusals.clone();
    let permitted: Vec<&RepositoryPlan> = plan.permitted_but_for(&refusals).collect();
    let stop = StopCondition::new(options.stop, options.deadline);
    let work: Vec<RepositoryWork<'_>> = permitted
        .into_iter()
        .filter(|planned| !planned.is_idle())
        .map(|planned| {
            let features = scanned.features;
            RepositoryWork { context, planned, features, deleter, journal, stop: &stop, progress }
        })
        .collect();
    progress.deleting(work.iter().map(|work| work.planned.deletions().count()).sum());
    let mut results = stream::iter(&work).map(apply_repository).buffer_unordered(CONCURRENT_REPOSITORIES);
    while let Some(result) = results.next().await {
        report.deleted.extend(result.deleted);
        report.untagged.extend(result.untagged);
        report.skipped.extend(result.skipped);
        report.failures.extend(result.failures);
        report.unanswered |= result.unanswered;
    }
    let was_skipped = |why| report.skipped.iter().any(|skipped| skipped.why == why);
    if was_skipped(STOPPED) {
        report.interrupt();
    } else if was_skipped(TIMED_OUT) {
        let allowed = context.run_timeout();
        report.cut_off = Some(format!(
            "the run took longer than run_timeout ({allowed}) and was ended: the next run continues; if no run \
             completes, raise run_timeout of this registry"
        ));
    }
    report
}
