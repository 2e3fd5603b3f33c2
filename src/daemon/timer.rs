//! The timer that wakes the service when something is due.
//!
//! It knows one moment, and nothing of what begins then.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};
use uuid::Uuid;

/// Rings at one moment after the other. One serves as long as the process lives: whatever a scheduler has
/// started goes on when it was shut down, so each reload would leave one behind.
///
/// A cron job of the scheduler keeps the distance from UTC that its zone had when the job was made, so it would be an
/// hour off after a change of clocks. Each moment is therefore a job of its own, computed by whoever arms it.
pub(super) struct Timer {
    scheduler: JobScheduler,
    sender: mpsc::Sender<()>,
    rings: mpsc::Receiver<()>,
    armed: Option<(Uuid, DateTime<Utc>)>,
}

impl Timer {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let scheduler = JobScheduler::new().await.context("the scheduler does not start")?;
        scheduler.start().await.context("the scheduler does not start")?;
        // One ring is as good as many: whoever hears it looks at the clock.
        let (sender, rings) = mpsc::channel(1);
        Ok(Self { scheduler, sender, rings, armed: None })
    }

    /// Comes at or after the moment for which it is armed; rarely at another one as well.
    pub(super) async fn rung(&mut self) {
        // It does not end: a sender is here.
        let _ = self.rings.recv().await;
        self.armed = None;
    }

    /// Arms it for this moment, and for no other. Where it is armed for that already, nothing is done.
    pub(super) async fn arm(&mut self, at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> anyhow::Result<()> {
        if self.armed.map(|(_, armed)| armed) == at {
            return Ok(());
        }
        if let Some((id, _)) = self.armed.take() {
            self.scheduler.remove(&id).await.context("a time cannot be taken back")?;
        }
        let Some(at) = at else { return Ok(()) };
        // The scheduler counts whole seconds from the one in which it is: a part of one would be lost, and the
        // job would come too early.
        let seconds = u64::try_from(at.timestamp() - now.timestamp()).unwrap_or_default();
        let sender = self.sender.clone();
        let job = Job::new_one_shot(Duration::from_secs(seconds), move |_, _| {
            // It is full if it has rung already.
            let _ = sender.try_send(());
        });
        let id = self.scheduler.add(job.context("a time cannot be armed")?).await;
        self.armed = Some((id.context("a time cannot be armed")?, at));
        Ok(())
    }

    /// Rings no more.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler does not stop");
        }
    }
}
