//! What ends a run or a collection before it is done, and the reason that is reported.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why something was skipped after `run_timeout`.
pub(super) const TIMED_OUT: &str = "the run took longer than run_timeout";

/// Why something was skipped after a stop was requested.
pub(super) const STOPPED: &str = "the run was stopped";

/// Requests to stop. A run stops between two deletions, but first deletes the rest of an index that it has begun
/// with.
#[derive(Debug, Clone)]
pub struct Cancellation {
    /// Also ends a collection that is under way and starts its registry at once. Cancels `runs` too.
    pub collections: CancellationToken,
    /// Ends runs, and collections that have not stopped the registry yet.
    pub runs: CancellationToken,
}

impl Default for Cancellation {
    fn default() -> Self {
        let collections = CancellationToken::new();
        Self { runs: collections.child_token(), collections }
    }
}

/// Everything that ends one run: a request, its deadline, or a failure that it has met.
pub(super) struct StopCondition<'a> {
    requested: &'a CancellationToken,
    deadline: Option<Instant>,
    reason: OnceLock<&'static str>,
    failed: CancellationToken,
}

impl<'a> StopCondition<'a> {
    /// Of a run that has time until the deadline.
    pub(super) fn new(requested: &'a CancellationToken, deadline: Option<Instant>) -> Self {
        Self { requested, deadline, reason: OnceLock::new(), failed: CancellationToken::new() }
    }

    /// Ends this run, for this reason unless there is an earlier one.
    pub(super) fn stop(&self, reason: &'static str) {
        // The first reason is the one that counts.
        let _ = self.reason.set(reason);
        self.failed.cancel();
    }

    /// Why nothing more is deleted; `None` while the run goes on.
    pub(super) fn reason(&self) -> Option<&'static str> {
        let requested = self.requested.is_cancelled().then_some(STOPPED);
        let late = self.deadline.filter(|deadline| *deadline <= Instant::now()).map(|_| TIMED_OUT);
        requested.or(self.reason.get().copied()).or(late)
    }

    /// Waits until the run has to end.
    async fn stopped(&self) -> &'static str {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            let deadline = async {
                match self.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.requested.cancelled() => {}
                () = self.failed.cancelled() => {}
                () = deadline => {}
            }
        }
    }

    /// The result of the work. If the run has to end, the work may take `grace` more; after that, the error is the
    /// reason of the end.
    pub(super) async fn cancel_after<T>(
        &self,
        work: impl Future<Output = T>,
        grace: Duration,
    ) -> Result<T, &'static str> {
        let stopped = async {
            let reason = self.stopped().await;
            tokio::time::sleep(grace).await;
            reason
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            reason = stopped => Err(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelling_collections_cancels_runs_and_not_the_other_way_round() {
        let cancellation = Cancellation::default();
        cancellation.runs.cancel();
        assert!(!cancellation.collections.is_cancelled());
        let cancellation = Cancellation::default();
        cancellation.collections.cancel();
        assert!(cancellation.runs.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn stop_condition_ends_work_at_its_deadline_and_for_its_first_reason() {
        let requested = CancellationToken::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        let condition = StopCondition::new(&requested, Some(deadline));
        let work = std::future::pending::<()>();
        assert_eq!(condition.cancel_after(work, Duration::from_secs(1)).await, Err(TIMED_OUT));
        assert_eq!(Instant::now(), deadline + Duration::from_secs(1));
        condition.stop("first");
        condition.stop("second");
        assert_eq!(condition.reason(), Some("first"));
        requested.cancel();
        assert_eq!(condition.reason(), Some(STOPPED));
        assert_eq!(condition.cancel_after(async { 1 }, Duration::ZERO).await, Ok(1));
    }
}
