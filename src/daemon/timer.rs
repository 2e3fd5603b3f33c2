//! The timer that wakes the main loop when a scheduled job is due.
//!
//! It knows one time and no job.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};
use uuid::Uuid;

/// Fires at one time after the other. There is one timer per process: the tasks of a scheduler go on after its shutdown, so
/// a timer per configuration would leave tasks behind at each reload.
///
/// A cron job of the scheduler keeps the UTC offset that its time zone had when the job was created, so it would be an hour
/// off after a change to daylight saving time. Each time is therefore a job of its own, computed by the caller.
pub(super) struct Timer {
    scheduler: JobScheduler,
    sender: mpsc::Sender<()>,
    fired: mpsc::Receiver<()>,
    armed: Option<(Uuid, DateTime<Utc>)>,
}

impl Timer {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let scheduler = JobScheduler::new().await.context("the scheduler cannot be started")?;
        scheduler.start().await.context("the scheduler cannot be started")?;
        // One message is enough: the receiver looks at the clock.
        let (sender, fired) = mpsc::channel(1);
        Ok(Self { scheduler, sender, fired, armed: None })
    }

    /// Waits until the timer fires: at or after the time that it is set to, rarely at another time as well.
    pub(super) async fn fired(&mut self) {
        // The channel stays open, because `self` has a sender.
        let _ = self.fired.recv().await;
        self.armed = None;
    }

    /// Sets the timer to this time and no other. Does nothing if it is set to that time already.
    pub(super) async fn arm(&mut self, at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> anyhow::Result<()> {
        if self.armed.map(|(_, armed)| armed) == at {
            return Ok(());
        }
        if let Some((id, _)) = self.armed.take() {
            self.scheduler.remove(&id).await.context("the timer cannot be reset")?;
        }
        let Some(at) = at else { return Ok(()) };
        // The scheduler counts whole seconds and drops the fraction of the current one: with a duration instead of a
        // difference of whole seconds, the job would start too early.
        let seconds = u64::try_from(at.timestamp() - now.timestamp()).unwrap_or_default();
        let sender = self.sender.clone();
        let job = Job::new_one_shot(Duration::from_secs(seconds), move |_, _| {
            // The channel is full if the timer has fired already.
            let _ = sender.try_send(());
        });
        let id = self.scheduler.add(job.context("the timer cannot be set")?).await;
        self.armed = Some((id.context("the timer cannot be set")?, at));
        Ok(())
    }

    /// Stops the timer for good.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler cannot be stopped");
        }
    }
}
