//! A run as the service and `regsweep run` make it: survey, apply, collect, each noted in the state.

use std::time::Duration;

use tokio::time::Instant;

use super::apply::{Limits, Stop, apply};
use super::collect::{Clock, collect};
use super::{Error, Progress, Site, Survey, survey};
use crate::config::GcSchedule;
use crate::gc::Collector;
use crate::policy::Mode;
use crate::registry::{Deleter, Ready};
use crate::report::{Collected, Deleted, Outcome, RunReport, Untagged};
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
    /// What was found and planned.
    pub survey: Survey,
    /// What was done.
    pub report: RunReport,
    /// What came of the collection, if there was one.
    pub collected: Option<Collected>,
    /// How long it took, the collection not included.
    pub taken: Duration,
}

/// Makes one run. An error means that nothing was done.
pub async fn conduct(site: Site<'_>, means: &Means<'_>, progress: &dyn Progress) -> Result<Conducted, Error> {
    let begin = Instant::now();
    let registry = site.registry.name.as_str();
    let run = means.state.begin_run(registry, site.now)?;
    let watcher = Noting { inner: progress, means, registry, run };
    let result = survey_and_apply(site, means, &watcher).await;
    let (outcome, error) = match &result {
        Ok((_, report)) => (report.outcome(), first_trouble(report)),
        Err(error) => (Outcome::Failed, Some(error.to_string())),
    };
    means.state.finish_run(run, (means.clock)(), outcome, error.as_deref())?;
    let taken = begin.elapsed();
    let (survey, report) = result?;
    let waiting = means.state.reclaimable(registry)?;
    let collected = match means.collector {
        Some(collector) if is_due(site, &report, waiting) && !means.stop.is_requested() => {
            Some(collect(site, collector, means.state, &survey.kept, means.clock).await?)
        }
        _ => None,
    };
    Ok(Conducted { survey, report, collected, taken })
}

/// Whether a collection follows a run: only after deletions, of this run or of one whose collection never
/// came to its end, and only if all of them were answered.
fn is_due(site: Site<'_>, report: &RunReport, waiting: u64) -> bool {
    let after_run = site.registry.gc.as_ref().is_some_and(|gc| matches!(gc.schedule, GcSchedule::AfterRun));
    let freed = waiting > 0 || report.deleted.iter().any(|deleted| !deleted.already_gone);
    after_run && report.applied && freed && !report.unanswered
}

async fn survey_and_apply(
    site: Site<'_>,
    means: &Means<'_>,
    progress: &dyn Progress,
) -> Result<(Survey, RunReport), Error> {
    match site.config.mode {
        Mode::Plan => {
            let survey = survey(site, progress, async |_| Ok(())).await?;
            let report = RunReport::of_plan(&survey.plan);
            Ok((survey, report))
        }
        Mode::Enforce => {
            let deleter: Deleter = site.reader.deleter();
            let ready = async |repository: &_| match deleter.ready(repository).await? {
                Ready::Yes => Ok(()),
                Ready::No(why) => Err(Error::NotReady(why)),
            };
            let survey = survey(site, progress, ready).await?;
            let report = apply(site, &survey, &deleter, means.limits, means.stop, progress).await;
            Ok((survey, report))
        }
    }
}

fn first_trouble(report: &RunReport) -> Option<String> {
    let failure = report.failures.first();
    let failure = failure.map(|failure| format!("{}: {}", failure.repository, failure.error));
    failure.or_else(|| report.refusals.first().map(ToString::to_string))
}

/// Notes each deletion in the state before anybody else hears of it.
struct Noting<'a> {
    inner: &'a dyn Progress,
    means: &'a Means<'a>,
    registry: &'a str,
    run: i64,
}

impl Noting<'_> {
    /// A run whose deletions cannot be noted makes no more of them.
    fn check(&self, result: Result<(), crate::state::Error>) {
        if let Err(error) = result {
            tracing::error!(registry = self.registry, %error, "the run stops, because it cannot be noted");
            self.means.stop.request();
        }
    }
}

impl Progress for Noting<'_> {
    fn scanning(&self, repositories: usize) {
        self.inner.scanning(repositories);
    }

    fn scanned(&self) {
        self.inner.scanned();
    }

    fn deleting(&self, deletions: usize) {
        self.inner.deleting(deletions);
    }

    fn settled(&self) {
        self.inner.settled();
    }

    fn deleted(&self, deleted: &Deleted) {
        if !deleted.already_gone {
            let tags = deleted.tags.len() as u64;
            let noted =
                self.means.state.deleted(self.run, self.registry, &deleted.policy, tags, deleted.bytes);
            self.check(noted);
        }
        self.inner.deleted(deleted);
    }

    fn untagged(&self, untagged: &Untagged) {
        self.check(self.means.state.untagged(self.run, self.registry, &untagged.policy));
        self.inner.untagged(untagged);
    }
}
