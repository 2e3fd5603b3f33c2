//! A run as the service and `regsweep run` make it: survey, apply, collect, each noted in the state.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::apply::{Limits, apply};
use super::collect::{Clock, collect, held_back};
use super::halt::Stop;
use super::journal::{Journal, settle};
use super::precondition::Blocked;
use super::{Error, Progress, Site, Survey, hidden, in_time, survey};
use crate::config::GcSchedule;
use crate::gc::Collector;
use crate::policy::Mode;
use crate::registry::{Deleter, DeletionSupport};
use crate::report::{
    CollectionOutcome, CollectionReport, CompletedDeletions, Outcome, PlanDocument, RunReport,
};
use crate::state::State;

/// What a run needs besides the registry.
pub struct Means<'a> {
    /// Where everything is noted.
    pub state: &'a State,
    /// What collects, where the configuration says so.
    pub collector: Option<&'a Collector>,
    /// Whether the limits hold.
    pub limits: Limits,
    /// How it is asked to stop.
    pub stop: &'a Stop,
    /// What tells the time.
    pub clock: &'a Clock,
}

/// A run that came to its end.
pub struct Conducted {
    /// Its number in the history.
    pub run: i64,
    /// What was found and planned.
    pub survey: Survey,
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
pub async fn conduct(site: Site<'_>, means: &Means<'_>, progress: &dyn Progress) -> Result<Conducted, Error> {
    let begin = Instant::now();
    let registry = site.registry.name.as_str();
    // What is left of the time after the survey is for the deletions. A collection has a time of its own.
    let stop = means.stop.until(begin.checked_add(site.registry.run_timeout));
    let means = &Means { stop: &stop, ..*means };
    let run = means.state.begin_run(registry, site.now)?;
    let site = Site { state: Some(means.state), ..site };
    let journal = Journal { state: means.state, registry, run, clock: means.clock };
    let result = survey_and_apply(site, means, journal, progress).await;
    let (outcome, error) = match &result {
        Ok((_, report)) => {
            means.state.summarize_run(run, &report.summary())?;
            (report.outcome(), first_trouble(report))
        }
        Err(error @ Error::Stopped) => (Outcome::Interrupted, Some(error.to_string())),
        Err(error) => (Outcome::Failed, Some(error.to_string())),
    };
    means.state.finish_run(run, (means.clock)(), outcome, error.as_deref())?;
    let taken = begin.elapsed();
    let (survey, mut report) = result?;
    let waiting = means.state.reclaimable(registry)?;
    let held_back = held_back(site.registry, means.state, (means.clock)())?;
    // Also those of earlier runs of which it is still not known.
    let unanswered = means.state.unanswered(registry)?.len();
    if unanswered > 0 && means.collector.is_some() {
        tracing::warn!(registry, unanswered, "nothing is collected: {}", Blocked::Unanswered(unanswered));
    }
    let due =
        means.collector.filter(|_| is_due(site, &report, waiting) && held_back.is_none() && unanswered == 0);
    let collected = match due {
        Some(collector) if !means.stop.is_requested() => {
            Some(collect(site, collector, means.state, &survey.kept, means.stop, means.clock).await?)
        }
        _ => None,
    };
    let done = |collected: &CollectionReport| collected.outcome == CollectionOutcome::Success;
    if due.is_some() && means.stop.is_requested() && !collected.as_ref().is_some_and(done) {
        report.interrupt();
    }
    if let Some(failed) = &collected
        && means.state.ledger(registry).is_stopped()?
    {
        report.registry_down = failed.error.clone();
    }
    if report.outcome() != outcome {
        means.state.summarize_run(run, &report.summary())?;
        let trouble = first_trouble(&report);
        means.state.finish_run(run, (means.clock)(), report.outcome(), trouble.as_deref())?;
    }
    prune(site, means.state, (means.clock)());
    let mut document = PlanDocument::of(&survey.plan);
    document.applied = report.applied;
    document.mark(&CompletedDeletions::of(&report));
    Ok(Conducted { run, survey, document, report, collected, held_back, taken })
}

/// Drops what the configuration no longer wants in the journal. A failure of that is no failure of the run.
fn prune(site: Site<'_>, state: &State, now: DateTime<Utc>) {
    let until = now - site.config.history;
    if let Err(error) = state.prune(until) {
        tracing::warn!(registry = %site.registry.name, %error, "the journal cannot be pruned");
    }
}

/// Whether a collection follows a run: only after deletions, of this run or of one whose collection never
/// came to its end, and only if all of them were answered.
fn is_due(site: Site<'_>, report: &RunReport, waiting: u64) -> bool {
    let after_run = site.registry.gc.as_ref().is_some_and(|gc| matches!(gc.schedule, GcSchedule::AfterRun));
    let freed = waiting > 0 || report.deleted.iter().any(|deleted| !deleted.already_gone);
    after_run && report.applied && freed && !report.unanswered && report.cut_off.is_none()
}

async fn survey_and_apply(
    site: Site<'_>,
    means: &Means<'_>,
    journal: Journal<'_>,
    progress: &dyn Progress,
) -> Result<(Survey, RunReport), Error> {
    // It asks the registry about each, which may take as long as anything.
    let settled = in_time(site, async { Ok(settle(site, means.state).await?) });
    unless_stopped(means.stop, settled).await?;
    match site.config.mode {
        Mode::Plan => {
            let survey = unless_stopped(means.stop, survey(site, progress, async |_| Ok(None))).await?;
            keep(means.state, Some(journal.run), &PlanDocument::of(&survey.plan));
            let report = RunReport::of_plan(&survey.plan);
            Ok((survey, report))
        }
        Mode::Enforce => {
            let deleter: Deleter = site.reader.deleter();
            let ready = async |repository: &_| match deleter.probe_deletion(repository).await? {
                DeletionSupport::Supported => Ok(deleter.probe_tag_deletion(repository).await),
                DeletionSupport::Unsupported(why) => Err(Error::NotReady(why)),
            };
            let mut survey = unless_stopped(means.stop, survey(site, progress, ready)).await?;
            let looked = async {
                hidden::look_for_s3(site, means.collector, &mut survey).await;
                Ok(())
            };
            unless_stopped(means.stop, looked).await?;
            // Before the first deletion, so that it is there also if the run is cut off.
            keep(means.state, Some(journal.run), &PlanDocument::of(&survey.plan));
            let report = apply(site, &survey, &deleter, journal, means.limits, means.stop, progress).await;
            Ok((survey, report))
        }
    }
}

/// Keeps a plan for those who look after a restart. A failure of that is no failure of the run.
pub fn keep(state: &State, run: Option<i64>, plan: &PlanDocument) {
    if let Err(error) = state.keep_plan(run, plan) {
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
