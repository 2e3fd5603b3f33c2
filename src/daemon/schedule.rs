//! When scheduled runs and collections start.
//!
//! Each start is computed in the configured time zone when the one before it has passed, so that changes to and from
//! daylight saving time move it as expected. It starts nothing.

use chrono::{DateTime, Utc};

use super::active_config::ActiveConfig;
use crate::config::{GcSchedule, Schedule};

/// A job that a schedule starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScheduledJob {
    /// A run of this registry.
    Run(String),
    /// A collection of this registry by its own schedule.
    Collection(String),
}

/// The next start of each scheduled job of a configuration.
pub(super) struct ScheduledTimes(Vec<(ScheduledJob, DateTime<Utc>)>);

impl ScheduledTimes {
    /// Computes the next start of each job.
    pub(super) fn new(active: &ActiveConfig, now: DateTime<Utc>) -> Self {
        let jobs = active.config.registries.iter().flat_map(|registry| {
            let name = &registry.name;
            [ScheduledJob::Run(name.clone()), ScheduledJob::Collection(name.clone())]
        });
        Self(jobs.filter_map(|job| next_start(&job, now, active).map(|at| (job, at))).collect())
    }

    /// The first start of all.
    pub(super) fn first(&self) -> Option<DateTime<Utc>> {
        self.0.iter().map(|(_, at)| *at).min()
    }

    /// The next start of a job; `None` if no schedule starts it.
    pub(super) fn next(&self, job: &ScheduledJob) -> Option<DateTime<Utc>> {
        self.0.iter().find(|(other, _)| other == job).map(|(_, at)| *at)
    }

    /// Takes the jobs that are due and computes their next starts. A job that was due several times is taken once.
    pub(super) fn take_due(&mut self, active: &ActiveConfig, now: DateTime<Utc>) -> Vec<ScheduledJob> {
        let mut due = Vec::new();
        self.0.retain_mut(|(job, at)| {
            if *at > now {
                return true;
            }
            due.push(job.clone());
            next_start(job, now, active).inspect(|next| *at = *next).is_some()
        });
        due
    }
}

fn next_start(job: &ScheduledJob, after: DateTime<Utc>, active: &ActiveConfig) -> Option<DateTime<Utc>> {
    schedule(job, active).and_then(|schedule| schedule.next_after(after, active.config.timezone))
}

fn schedule<'a>(job: &ScheduledJob, active: &'a ActiveConfig) -> Option<&'a Schedule> {
    match job {
        ScheduledJob::Run(registry) => active.registry(registry)?.schedule.as_ref(),
        ScheduledJob::Collection(registry) => match &active.registry(registry)?.gc.as_ref()?.schedule {
            GcSchedule::AfterRun => None,
            GcSchedule::Cron(schedule) => Some(schedule),
        },
    }
}
