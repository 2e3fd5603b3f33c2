//! A whole run, as the service and `regsweep run` make it: scan, plan, apply, collect, each recorded in the state.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::apply::{ApplyOptions, LimitMode, apply};
use super::collect::collect;
use super::context::{Clock, RegistryContext};
use super::error::Error;
use super::grace::held_back;
use super::hidden_tags;
use super::journal::{Journal, resolve_unanswered};
use super::precondition::Blocked;
use super::progress::Progress;
use super::scan_and_plan::{ScannedPlan, scan_and_plan};
use super::stop::Cancellation;
use crate::config::GcSchedule;
use crate::gc::Collector;
use crate::policy::Mode;
use crate::registry::{Deleter, DeletionSupport};
use crate::report::{
    CollectionOutcome, CollectionReport, CompletedDeletions, Outcome, PlanDocument, RunReport,
};
use crate::state::State;

/// How a run is made.
pub struct RunOptions<'a> {
    /// Records the run.
    pub state: &'a State,
    /// Collects after the run, if the configuration has a collection.
    pub collector: Option<&'a Collector>,
    /// Whether the limits hold.
    pub limits: LimitMode,
    /// Ends the run or its collection early.
    pub cancellation: &'a Cancellation,
    /// Returns the present moment.
    pub clock: &'a Clock,
}

/// A run that has ended without an error.
pub struct RunResult {
    /// Its number in the history.
    pub run: i64,
    /// The plan, with what was found by the scan.
    pub scanned: ScannedPlan,
    /// The plan, with what was done of it.
    pub document: PlanDocument,
    /// What was done.
    pub report: RunReport,
    /// The collection, if there was one.
    pub collected: Option<CollectionReport>,
    /// When the grace period ends, if the collection waits for that.
    pub held_back: Option<DateTime<Utc>>,
    /// How long it took, without the collection.
    pub taken: Duration,
}

/// Makes one run. After an error nothing was deleted.
pub async fn run(
    context: RegistryContext<'_>,
    options: &RunOptions<'_>,
    progress: &dyn Progress,
) -> Result<RunResult, Error> {
    let begin = Instant::now();
    let registry = context.registry.name.as_str();
    // Scan and deletions share `run_timeout`. A collection has a timeout of its own.
    let deadline = begin.checked_add(context.registry.run_timeout);
    let stop = &options.cancellation.runs;
    let run = options.state.begin_run(registry, context.now)?;
    let context = RegistryContext { state: Some(options.state), ..context };
    let journal = Journal { state: options.state, registry, run, clock: options.clock };
    let result = scan_and_apply(context, options, deadline, journal, progress).await;
    let (outcome, error) = match &result {
        Ok((_, report)) => {
            options.state.summarize_run(run, &report.summary())?;
            (report.outcome(), first_trouble(report))
        }
        Err(error @ Error::Stopped) => (Outcome::Interrupted, Some(error.to_string())),
        Err(error) => (Outcome::Failed, Some(error.to_string())),
    };
    options.state.finish_run(run, (options.clock)(), outcome, error.as_deref())?;
    let taken = begin.elapsed();
    let (scanned, mut report) = result?;
    let waiting = options.state.reclaimable(registry)?;
    let held_back = held_back(context.registry, options.state, (options.clock)())?;
    // Including those of earlier runs.
    let unanswered = options.state.unanswered(registry)?.len();
    if unanswered > 0 && options.collector.is_some() {
        tracing::warn!(registry, unanswered, "nothing is collected: {}", Blocked::Unanswered(unanswered));
    }
    let due = options
        .collector
        .filter(|_| is_due(context, &report, waiting) && held_back.is_none() && unanswered == 0);
    let collected = match due {
        Some(collector) if !stop.is_cancelled() => Some(
            collect(
                context,
                collector,
                options.state,
                &scanned.retained,
                options.cancellation,
                options.clock,
            )
            .await?,
        ),
        _ => None,
    };
    let done = |collected: &CollectionReport| collected.outcome == CollectionOutcome::Success;
    if due.is_some() && stop.is_cancelled() && !collected.as_ref().is_some_and(done) {
        report.interrupt();
    }
    if let Some(failed) = &collected
        && options.state.recovery_log(registry).is_stopped()?
    {
        report.registry_down = failed.error.clone();
    }
    if report.outcome() != outcome {
        options.state.summarize_run(run, &report.summary())?;
        let trouble = first_trouble(&report);
        options.state.finish_run(run, (options.clock)(), report.outcome(), trouble.as_deref())?;
    }
    prune(context, options.state, (options.clock)());
    let mut document = PlanDocument::of(&scanned.plan);
    document.applied = report.applied;
    document.mark(&CompletedDeletions::of(&report));
    Ok(RunResult { run, scanned, document, report, collected, held_back, taken })
}

/// Deletes entries of the journal that are older than `history`. An error of that is logged and does not fail the run.
fn prune(context: RegistryContext<'_>, state: &State, now: DateTime<Utc>) {
    let until = now - context.config.history;
    if let Err(error) = state.prune(until) {
        tracing::warn!(registry = %context.registry.name, %error, "the journal cannot be pruned");
    }
}

/// Whether a collection follows the run: only after deletions, of this run or of one whose collection did not
/// complete, and only if all of them were answered.
fn is_due(context: RegistryContext<'_>, report: &RunReport, waiting: u64) -> bool {
    let after_run =
        context.registry.gc.as_ref().is_some_and(|gc| matches!(gc.schedule, GcSchedule::AfterRun));
    let freed = waiting > 0 || report.deleted.iter().any(|deleted| !deleted.already_gone);
    after_run && report.applied && freed && !report.unanswered && report.cut_off.is_none()
}

async fn scan_and_apply(
    context: RegistryContext<'_>,
    options: &RunOptions<'_>,
    deadline: Option<Instant>,
    journal: Journal<'_>,
    progress: &dyn Progress,
) -> Result<(ScannedPlan, RunReport), Error> {
    let stop = &options.cancellation.runs;
    // The registry is asked about each unanswered deletion, which can take long.
    let resolved =
        context.within_run_timeout(async { Ok(resolve_unanswered(context, options.state).await?) });
    unless_stopped(stop, resolved).await?;
    match context.config.mode {
        Mode::Plan => {
            let scanned = unless_stopped(stop, scan_and_plan(context, progress, async |_| Ok(None))).await?;
            store_plan(options.state, Some(journal.run), &PlanDocument::of(&scanned.plan));
            let report = RunReport::of_plan(&scanned.plan);
            Ok((scanned, report))
        }
        Mode::Enforce => {
            let deleter: Deleter = context.reader.deleter();
            let ready = async |repository: &_| match deleter.probe_deletion(repository).await? {
                DeletionSupport::Supported => Ok(deleter.probe_tag_deletion(repository).await),
                DeletionSupport::Unsupported(why) => Err(Error::NotReady(why)),
            };
            let mut scanned = unless_stopped(stop, scan_and_plan(context, progress, ready)).await?;
            let checked = async {
                let completeness = scanned.tag_completeness;
                hidden_tags::refuse_on_s3(context, options.collector, completeness, &mut scanned.plan).await;
                Ok(())
            };
            unless_stopped(stop, checked).await?;
            // Before the first deletion, so that it is stored even if the run is cut off.
            store_plan(options.state, Some(journal.run), &PlanDocument::of(&scanned.plan));
            let apply_options = ApplyOptions { limits: options.limits, stop, deadline };
            let report = apply(context, &scanned, &deleter, journal, apply_options, progress).await;
            Ok((scanned, report))
        }
    }
}

/// Stores a plan, so that it can be shown after a restart. An error of that is logged and does not fail the run.
pub fn store_plan(state: &State, run: Option<i64>, plan: &PlanDocument) {
    if let Err(error) = state.store_plan(run, plan) {
        tracing::warn!(registry = %plan.registry, %error, "the plan cannot be stored");
    }
}

/// The result of the work, or an error if a stop is requested before: as long as nothing is deleted, a run can end at
/// any moment.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    stop.run_until_cancelled(work).await.unwrap_or(Err(Error::Stopped))
}

fn first_trouble(report: &RunReport) -> Option<String> {
    if report.registry_down.is_some() {
        return report.registry_down.clone();
    }
    let failure = report.failures.first();
    let failure = failure.map(|failure| format!("{}: {}", failure.repository, failure.error));
    failure.or_else(|| report.cut_off.clone()).or_else(|| report.refusals.first().map(ToString::to_string))
}
