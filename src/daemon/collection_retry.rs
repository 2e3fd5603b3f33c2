//! When the next collection starts by itself, given how the last one ended.
//!
//! It knows times and nothing else: no clock, no registry and no state.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The pause after the first failure of a collection. Each further failure doubles it.
const MIN_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Each attempt can stop the registry, so there are at most a few a day.
const MAX_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);

/// How an attempt to collect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptResult {
    /// The collection succeeded, or there was nothing to collect.
    Success,
    /// The collection failed or could not start.
    Failed,
    /// There was less to free than `gc.min_reclaimable`.
    BelowMinimum,
    /// A run has to find out first whether deletions without an answer took place.
    NeedsRun,
}

/// The deletions that wait for a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingDeletions {
    /// When the youngest of them took place.
    pub(super) youngest: DateTime<Utc>,
    /// The age that the youngest must have.
    pub(super) grace: TimeDelta,
}

/// What the last attempt means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RetryState {
    /// There was no attempt, or it succeeded.
    #[default]
    Ready,
    /// The last attempts failed: how many in a row, and when the last one ended.
    Failed { failures: u32, at: DateTime<Utc> },
    /// There was too little to free. `youngest` was the youngest deletion then.
    BelowMinimum { youngest: Option<DateTime<Utc>> },
    /// The next attempt has to wait for a run.
    NeedsRun,
}

impl RetryState {
    /// The state after an attempt. `youngest` is the youngest deletion that waits now.
    pub(super) fn after_attempt(
        self,
        result: AttemptResult,
        at: DateTime<Utc>,
        youngest: Option<DateTime<Utc>>,
    ) -> Self {
        match (result, self) {
            (AttemptResult::Success, _) => Self::Ready,
            (AttemptResult::Failed, Self::Failed { failures, .. }) => {
                Self::Failed { failures: failures.saturating_add(1), at }
            }
            (AttemptResult::Failed, _) => Self::Failed { failures: 1, at },
            (AttemptResult::BelowMinimum, _) => Self::BelowMinimum { youngest },
            (AttemptResult::NeedsRun, _) => Self::NeedsRun,
        }
    }

    /// The state after a run.
    pub(super) fn after_run(self) -> Self {
        if self == Self::NeedsRun { Self::Ready } else { self }
    }

    /// When a collection starts by itself, never before `now`; `None` if only a run or a schedule starts one.
    pub(super) fn next_start(self, pending: PendingDeletions, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let grace_end = pending.youngest + pending.grace;
        // Without a grace period, the run collects what it has deleted.
        let after_grace = (pending.grace > TimeDelta::zero()).then_some(grace_end);
        let at = match self {
            Self::Ready => after_grace,
            // After the clock was set back, `at` may be far in the future.
            Self::Failed { failures, at } => Some(grace_end.max(at.min(now) + retry_pause(failures))),
            Self::BelowMinimum { youngest } => after_grace.filter(|_| Some(pending.youngest) > youngest),
            Self::NeedsRun => None,
        };
        at.map(|at| at.max(now))
    }
}

/// The earliest start of a collection that follows runs. `by_itself` is the start without a run, and `run` the start of the
/// next run, whose deletions are collected when their grace period is over.
pub(super) fn earliest_start(
    by_itself: Option<DateTime<Utc>>,
    run: Option<DateTime<Utc>>,
    grace: TimeDelta,
) -> Option<DateTime<Utc>> {
    let after_run = run.map(|at| at + grace);
    // With a grace period, new deletions of a run can only delay what waits already.
    if grace > TimeDelta::zero() {
        by_itself.or(after_run)
    } else {
        by_itself.into_iter().chain(after_run).min()
    }
}

fn retry_pause(failures: u32) -> Duration {
    MIN_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    fn pending(youngest: i64, grace: i64) -> PendingDeletions {
        PendingDeletions { youngest: at(youngest), grace: TimeDelta::minutes(grace) }
    }

    #[test]
    fn collection_starts_when_the_grace_period_ends_and_never_in_the_past() {
        let check = |now, expected| {
            let start = RetryState::Ready.next_start(pending(0, 60), at(now));
            assert_eq!(start, Some(at(expected)), "{now}");
        };
        check(0, 60);
        check(59, 60);
        check(90, 90);
        assert_eq!(RetryState::Ready.next_start(pending(0, 0), at(0)), None, "a run collects at once");
    }

    #[test]
    fn failed_collection_is_retried_after_pauses_that_double_up_to_six_hours() {
        let mut state = RetryState::Ready;
        let mut now = 60;
        for pause in [5, 10, 20, 40, 80, 160, 320, 360, 360] {
            state = state.after_attempt(AttemptResult::Failed, at(now), Some(at(0)));
            for grace in [0, 60] {
                assert_eq!(state.next_start(pending(0, grace), at(now)), Some(at(now + pause)), "{pause}");
            }
            now += pause;
        }
        // A later deletion has a grace period of its own.
        assert_eq!(state.next_start(pending(now, 1000), at(now)), Some(at(now + 1000)));
        assert_eq!(state.next_start(pending(0, 60), at(now + 500)), Some(at(now + 500)), "never in the past");
        let ahead = state.after_attempt(AttemptResult::Failed, at(9_999_999), Some(at(0)));
        assert_eq!(ahead.next_start(pending(0, 0), at(now)), Some(at(now + 360)), "the clock was set back");
        state = state.after_attempt(AttemptResult::Success, at(now), None);
        state = state.after_attempt(AttemptResult::Failed, at(now), Some(at(0)));
        assert_eq!(state.next_start(pending(0, 0), at(now)), Some(at(now + 5)), "the pauses start again");
    }

    #[test]
    fn collection_below_the_minimum_waits_for_more_deletions() {
        let state = RetryState::Ready.after_attempt(AttemptResult::BelowMinimum, at(60), Some(at(0)));
        assert_eq!(state.next_start(pending(0, 60), at(61)), None);
        assert_eq!(state.after_run().next_start(pending(0, 60), at(61)), None, "the run has deleted nothing");
        assert_eq!(state.next_start(pending(70, 60), at(70)), Some(at(130)));
    }

    #[test]
    fn earliest_start_is_that_of_the_collection_or_of_the_run_before_it() {
        let check = |by_itself: Option<i64>, run: Option<i64>, grace, expected: Option<i64>| {
            let found = earliest_start(by_itself.map(at), run.map(at), TimeDelta::minutes(grace));
            assert_eq!(found, expected.map(at), "{by_itself:?} {run:?} {grace}");
        };
        check(None, None, 0, None);
        check(None, Some(60), 0, Some(60));
        check(None, Some(60), 30, Some(90));
        check(Some(5), Some(60), 0, Some(5));
        check(Some(70), Some(60), 0, Some(60));
        check(Some(70), Some(60), 30, Some(70));
        check(Some(5), None, 30, Some(5));
    }

    #[test]
    fn collection_that_needs_a_run_waits_for_it() {
        let state = RetryState::Ready.after_attempt(AttemptResult::NeedsRun, at(60), Some(at(0)));
        assert_eq!(state.next_start(pending(0, 60), at(61)), None);
        assert_eq!(state.after_run().next_start(pending(0, 60), at(61)), Some(at(61)));
        assert_eq!(
            RetryState::Failed { failures: 1, at: at(0) }.after_run().next_start(pending(0, 0), at(0)),
            Some(at(5))
        );
    }
}
