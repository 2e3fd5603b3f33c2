//! When things begin.
//!
//! Each time is computed from the zone when the one before it has come, so that a change of clocks moves it as people
//! expect.

use chrono::{DateTime, Utc};

use super::active_config::ActiveConfig;
use super::service::Service;
use crate::config::{GcSchedule, Schedule};

/// What begins at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// A run of this registry.
    Run(String),
    /// A collection of this registry by its own schedule.
    Collect(String),
}

/// The next times of one configuration.
pub(super) struct Times(Vec<(Job, DateTime<Utc>)>);

impl Times {
    /// The first time of everything that has a schedule.
    pub(super) fn of(active: &ActiveConfig, service: &Service) -> Self {
        let now = (service.clock)();
        let jobs = active.config.registries.iter().flat_map(|registry| {
            let name = &registry.name;
            [Job::Run(name.clone()), Job::Collect(name.clone())]
        });
        let times = jobs.filter_map(|job| next(&job, now, active, service).map(|at| (job, at)));
        Self(times.collect())
    }

    /// When something is due next.
    pub(super) fn first(&self) -> Option<DateTime<Utc>> {
        self.0.iter().map(|(_, at)| *at).min()
    }

    /// What begins now. Of each that does, the next time follows; of times that have gone by unseen, one counts.
    pub(super) fn due(&mut self, active: &ActiveConfig, service: &Service) -> Vec<Job> {
        let now = (service.clock)();
        let mut due = Vec::new();
        self.0.retain_mut(|(job, at)| {
            if *at > now {
                return true;
            }
            due.push(job.clone());
            next(job, now, active, service).inspect(|next| *at = *next).is_some()
        });
        due
    }
}

/// The next time of a job, which is shown as well.
fn next(job: &Job, after: DateTime<Utc>, active: &ActiveConfig, service: &Service) -> Option<DateTime<Utc>> {
    let next = schedule(job, active).and_then(|one| one.next_after(after, active.config.timezone));
    service.next_time(active, job, next);
    next
}

fn schedule<'a>(job: &Job, active: &'a ActiveConfig) -> Option<&'a Schedule> {
    match job {
        Job::Run(registry) => active.registry(registry)?.schedule.as_ref(),
        Job::Collect(registry) => match &active.registry(registry)?.gc.as_ref()?.schedule {
            GcSchedule::AfterRun => None,
            GcSchedule::Cron(schedule) => Some(schedule),
        },
    }
}
