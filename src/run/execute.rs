//! A run as the service and `regsweep run` make it: scan, apply, collect, each noted in the state.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::apply::{LimitMode, apply};
use super::collect::{Clock, collect, held_back};
use super::halt::Stop;
use super::journal::{Journal, resolve_unanswered};
use super::precondition::Blocked;
use super::{Error, Progress, RegistryContext, ScannedPlan, hidden, in_time, scan_and_plan};
use crate::config::GcSchedule;
use crate::gc::Collector;
use crate::policy::Mode;
use crate::registry::{Deleter, DeletionSupport};
use crate::report::{
    CollectionOutcome, CollectionReport, CompletedDeletions, Outcome, PlanDocument, RunReport,
};
use crate::state::State;

/// What a run needs besides the registry.
pub struct RunOptions<'a> {
    /// Where everything is noted.
    pub state: &'a State,
    /// What collects, where the configuration says so.
    pub collector: Option<&'a Collector>,
    /// Whether the limits hold.
    pub limits: LimitMode,
    /// How it is asked to stop.
    pub stop: &'a Stop,
    /// What tells the time.
    pub clock: &'a Clock,
}

/// A run that came to its end.
pub struct RunResult {
    /// Its number in the history.
    pub run: i64,
    /// What was found and planned.
    pub scanned: ScannedPlan,
    /// The plan with what came of it.
    pub document: PlanDocument,
    /// What was done.
    pub report: RunReport,
    /// What came of the collection, if there was one.
    pub collected: Option<CollectionReport>,
    /// Until when the grace holds the collection back, if it does.
    pub held_back: Option<DateTime<Utc>>,
    /// How long it took, the collection not included.
    pub taken: Duration,
}

/// Makes one run. An error means that nothing was done.
pub async fn run(
    context: RegistryContext<'_>,
    options: &RunOptions<'_>,
    progress: &dyn Progress,
) -> Result<RunResult, Error> {
    let begin = Instant::now();
    let registry = context.registry.name.as_str();
    // What is left of the time after the scan is for the deletions. A collection has a time of its own.
    let stop = options.stop.until(begin.checked_add(context.registry.run_timeout));
    let options = &RunOptions { stop: &stop, ..*options };
    let run = options.state.begin_run(registry, context.now)?;
    let context = RegistryContext { state: Some(options.state), ..context };
    let journal = Journal { state: options.state, registry, run, clock: options.clock };
    let result = scan_and_apply(context, options, journal, progress).await;
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
    // Also those of earlier runs of which it is still not known.
    let unanswered = options.state.unanswered(registry)?.len();
    if unanswered > 0 && options.collector.is_some() {
        tracing::warn!(registry, unanswered, "nothing is collected: {}", Blocked::Unanswered(unanswered));
    }
    let due = options
        .collector
        .filter(|_| is_due(context, &report, waiting) && held_back.is_none() && unanswered == 0);
    let collected = match due {
        Some(collector) if !options.stop.is_requested() => Some(
            collect(context, collector, options.state, &scanned.retained, options.stop, options.clock)
                .await?,
        ),
        _ => None,
    };
    let done = |collected: &CollectionReport| collected.outcome == CollectionOutcome::Success;
    if due.is_some() && options.stop.is_requested() && !collected.as_ref().is_some_and(done) {
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

/// Drops what the configuration no longer wants in the journal. A failure of that is no failure of the run.
fn prune(context: RegistryContext<'_>, state: &State, now: DateTime<Utc>) {
    let until = now - context.config.history;
    if let Err(error) = state.prune(until) {
        tracing::warn!(registry = %context.registry.name, %error, "the journal cannot be pruned");
    }
}

/// Whether a collection follows a run: only after deletions, of this run or of one whose collection never
/// came to its end, and only if all of them were answered.
fn is_due(context: RegistryContext<'_>, report: &RunReport, waiting: u64) -> bool {
    let after_run =
        context.registry.gc.as_ref().is_some_and(|gc| matches!(gc.schedule, GcSchedule::AfterRun));
    let freed = waiting > 0 || report.deleted.iter().any(|deleted| !deleted.already_gone);
    after_run && report.applied && freed && !report.unanswered && report.cut_off.is_none()
}

async fn scan_and_apply(
    context: RegistryContext<'_>,
    options: &RunOptions<'_>,
    journal: Journal<'_>,
    progress: &dyn Progress,
) -> Result<(ScannedPlan, RunReport), Error> {
    // It asks the registry about each, which may take as long as anything.
    let settled = in_time(context, async { Ok(resolve_unanswered(context, options.state).await?) });
    unless_stopped(options.stop, settled).await?;
    match context.config.mode {
        Mode::Plan => {
            let scanned =
                unless_stopped(options.stop, scan_and_plan(context, progress, async |_| Ok(None))).await?;
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
            let mut scanned = unless_stopped(options.stop, scan_and_plan(context, progress, ready)).await?;
            let looked = async {
                hidden::look_for_s3(context, options.collector, &mut scanned).await;
                Ok(())
            };
            unless_stopped(options.stop, looked).await?;
            // Before the first deletion, so that it is there also if the run is cut off.
            store_plan(options.state, Some(journal.run), &PlanDocument::of(&scanned.plan));
            let report =
                apply(context, &scanned, &deleter, journal, options.limits, options.stop, progress).await;
            Ok((scanned, report))
        }
    }
}

/// Keeps a plan for those who look after a restart. A failure of that is no failure of the run.
pub fn store_plan(state: &State, run: Option<i64>, plan: &PlanDocument) {
    if let Err(error) = state.store_plan(run, plan) {
        tracing::warn!(registry = %plan.registry, %error, "the plan cannot be kept");
    }
}

/// What comes of it, unless the run is asked to stop before: as long as nothing is deleted, it can end anywhere.
async fn unless_stopped<T>(stop: &Stop, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    stop.cuts(work).await.unwrap_or(Err(Error::Stopped))
}

fn first_trouble(report: &RunReport) -> Option<String> {
    if report.registry_down.is_some() {
        return report.registry_down.clone();
    }
    let failure = report.failures.first();
    let failure = failure.map(|failure| format!("{}: {}", failure.repository, failure.error));
    failure.or_else(|| report.cut_off.clone()).or_else(|| report.refusals.first().map(ToString::to_string))
}
