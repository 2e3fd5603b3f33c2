//! When things begin.
//!
//! tokio-cron-scheduler keeps a cron job at the distance from UTC that its zone had when the job was
//! made, so after a change of clocks it would be an hour off. Each time is therefore a job of its own,
//! computed from the zone, and armed when the one before it has come.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedSender;
use tokio_cron_scheduler::{Job as Timer, JobScheduler};

use super::generation::Generation;
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

/// A job whose time has come.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) job: Job,
    at: DateTime<Utc>,
    /// Which arming it belongs to; those of an older configuration mean nothing.
    round: u64,
}

/// The times of one configuration.
pub(super) struct Times {
    scheduler: JobScheduler,
    sender: UnboundedSender<Due>,
    round: u64,
}

impl Times {
    /// Arms the first time of everything that has a schedule.
    pub(super) async fn arm(
        generation: &Arc<Generation>,
        service: &Service,
        sender: UnboundedSender<Due>,
    ) -> anyhow::Result<Self> {
        let scheduler = JobScheduler::new().await.context("the scheduler does not start")?;
        scheduler.start().await.context("the scheduler does not start")?;
        let mut times = Self { scheduler, sender, round: service.next_round() };
        let now = (service.clock)();
        for registry in &generation.config.registries {
            for job in [Job::Run(registry.name.clone()), Job::Collect(registry.name.clone())] {
                times.arm_one(job, now, generation, service).await?;
            }
        }
        Ok(times)
    }

    /// Arms the time that follows one that has come. `false` if that one is out of force.
    pub(super) async fn again(
        &mut self,
        due: &Due,
        generation: &Arc<Generation>,
        service: &Service,
    ) -> anyhow::Result<bool> {
        if due.round != self.round {
            return Ok(false);
        }
        // The timer may ring a moment early; the same time must not come twice for that.
        let after = due.at.max((service.clock)());
        self.arm_one(due.job.clone(), after, generation, service).await?;
        Ok(true)
    }

    async fn arm_one(
        &mut self,
        job: Job,
        after: DateTime<Utc>,
        generation: &Arc<Generation>,
        service: &Service,
    ) -> anyhow::Result<()> {
        let next =
            schedule(&job, generation).and_then(|one| one.next_after(after, generation.config.timezone));
        if let Job::Run(registry) = &job {
            service.next_run(registry, next);
        }
        let Some(at) = next else { return Ok(()) };
        let wait = (at - (service.clock)()).to_std().unwrap_or_default();
        let (sender, round) = (self.sender.clone(), self.round);
        let timer = Timer::new_one_shot(wait, move |_, _| {
            // Nobody listens any more only while the service ends.
            let _ = sender.send(Due { job: job.clone(), at, round });
        })
        .context("a time cannot be armed")?;
        self.scheduler.add(timer).await.context("a time cannot be armed")?;
        Ok(())
    }

    /// Lets no armed time come any more.
    pub(super) async fn disarm(&mut self) {
        self.round = 0;
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler does not stop");
        }
    }
}

fn schedule<'a>(job: &Job, generation: &'a Generation) -> Option<&'a Schedule> {
    match job {
        Job::Run(registry) => generation.registry(registry)?.schedule.as_ref(),
        Job::Collect(registry) => match &generation.registry(registry)?.gc.as_ref()?.schedule {
            GcSchedule::AfterRun => None,
            GcSchedule::Cron(schedule) => Some(schedule),
        },
    }
}
