//! When a collection begins by itself, and when one that did not succeed is tried again.
//!
//! It knows moments and nothing else: no clock, no registry and no state.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A collection that failed is tried again after this long, and after each further failure twice as long.
const SHORTEST: Duration = Duration::from_secs(5 * 60);

/// It costs a break of the registry each time, so in the end it comes a few times a day.
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);

/// How a collection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The registry has swept what nothing needs, or there was nothing.
    Success,
    /// It came to no good end, or could not begin.
    Failed,
    /// There was less to free than `gc.min_reclaimable`.
    NotWorthIt,
    /// A run has to come first: it finds out what became of deletions that got no answer.
    NeedsRun,
}

/// The deletions that wait for a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    /// When the youngest of them was made.
    pub(super) youngest: DateTime<Utc>,
    /// How old that one has to be.
    pub(super) grace: TimeDelta,
}

/// What came of the last collection of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Attempts {
    /// There was none, or it succeeded.
    #[default]
    Fresh,
    /// It failed for the so-manieth time in a row, then.
    Failed { times: u32, at: DateTime<Utc> },
    /// What waited, up to the deletion of then, was not worth it.
    NotWorthIt { youngest: Option<DateTime<Utc>> },
    /// It has to wait for a run.
    NeedsRun,
}

impl Attempts {
    /// A collection has ended. `youngest` is the youngest deletion that waits now.
    pub(super) fn ended(self, end: End, at: DateTime<Utc>, youngest: Option<DateTime<Utc>>) -> Self {
        match (end, self) {
            (End::Success, _) => Self::Fresh,
            (End::Failed, Self::Failed { times, .. }) => Self::Failed { times: times.saturating_add(1), at },
            (End::Failed, _) => Self::Failed { times: 1, at },
            (End::NotWorthIt, _) => Self::NotWorthIt { youngest },
            (End::NeedsRun, _) => Self::NeedsRun,
        }
    }

    /// A run has ended.
    pub(super) fn after_run(self) -> Self {
        if self == Self::NeedsRun { Self::Fresh } else { self }
    }

    /// When a collection begins by itself, never before `now`; `None` if only a run or a schedule begins one.
    pub(super) fn next(self, waiting: Waiting, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ripe = waiting.youngest + waiting.grace;
        // Without a grace, what a run deletes is collected by the run.
        let by_grace = (waiting.grace > TimeDelta::zero()).then_some(ripe);
        let at = match self {
            Self::Fresh => by_grace,
            // A clock that was set back must not silence us.
            Self::Failed { times, at } => Some(ripe.max(at.min(now) + pause(times))),
            Self::NotWorthIt { youngest } => by_grace.filter(|_| Some(waiting.youngest) > youngest),
            Self::NeedsRun => None,
        };
        at.map(|at| at.max(now))
    }
}

/// When a collection that follows runs begins at the earliest. `by_itself` is when one does that no run makes, and `run` when
/// the next run begins: one with something to collect is followed by a collection, once the grace of what it deletes is over.
pub(super) fn earliest(
    by_itself: Option<DateTime<Utc>>,
    run: Option<DateTime<Utc>>,
    grace: TimeDelta,
) -> Option<DateTime<Utc>> {
    let after_run = run.map(|at| at + grace);
    // With a grace, a run before its end can only make what waits wait longer.
    if grace > TimeDelta::zero() {
        by_itself.or(after_run)
    } else {
        by_itself.into_iter().chain(after_run).min()
    }
}

/// The pause after so many failures in a row.
fn pause(times: u32) -> Duration {
    SHORTEST.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    fn waiting(youngest: i64, grace: i64) -> Waiting {
        Waiting { youngest: at(youngest), grace: TimeDelta::minutes(grace) }
    }

    #[test]
    fn what_waits_is_collected_when_its_grace_ends_and_never_in_the_past() {
        let check = |now, expected| {
            assert_eq!(Attempts::Fresh.next(waiting(0, 60), at(now)), Some(at(expected)), "{now}");
        };
        check(0, 60);
        check(59, 60);
        check(90, 90);
        assert_eq!(Attempts::Fresh.next(waiting(0, 0), at(0)), None, "a run collects at once");
    }

    #[test]
    fn what_failed_is_tried_again_after_pauses_that_double_up_to_six_hours() {
        let mut attempts = Attempts::Fresh;
        let mut now = 60;
        for pause in [5, 10, 20, 40, 80, 160, 320, 360, 360] {
            attempts = attempts.ended(End::Failed, at(now), Some(at(0)));
            for grace in [0, 60] {
                assert_eq!(attempts.next(waiting(0, grace), at(now)), Some(at(now + pause)), "{pause}");
            }
            now += pause;
        }
        // A deletion that came since has a grace of its own.
        assert_eq!(attempts.next(waiting(now, 1000), at(now)), Some(at(now + 1000)));
        assert_eq!(attempts.next(waiting(0, 60), at(now + 500)), Some(at(now + 500)), "never in the past");
        let ahead = attempts.ended(End::Failed, at(9_999_999), Some(at(0)));
        assert_eq!(ahead.next(waiting(0, 0), at(now)), Some(at(now + 360)), "the clock was set back");
        attempts = attempts.ended(End::Success, at(now), None);
        attempts = attempts.ended(End::Failed, at(now), Some(at(0)));
        assert_eq!(attempts.next(waiting(0, 0), at(now)), Some(at(now + 5)), "it begins anew");
    }

    #[test]
    fn what_was_not_worth_it_waits_until_more_was_deleted() {
        let attempts = Attempts::Fresh.ended(End::NotWorthIt, at(60), Some(at(0)));
        assert_eq!(attempts.next(waiting(0, 60), at(61)), None);
        assert_eq!(attempts.after_run().next(waiting(0, 60), at(61)), None, "the run has deleted nothing");
        assert_eq!(attempts.next(waiting(70, 60), at(70)), Some(at(130)));
    }

    #[test]
    fn a_collection_comes_by_itself_or_with_a_run() {
        let check = |by_itself: Option<i64>, run: Option<i64>, grace, expected: Option<i64>| {
            let found = earliest(by_itself.map(at), run.map(at), TimeDelta::minutes(grace));
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
    fn what_needs_a_run_waits_for_it() {
        let attempts = Attempts::Fresh.ended(End::NeedsRun, at(60), Some(at(0)));
        assert_eq!(attempts.next(waiting(0, 60), at(61)), None);
        assert_eq!(attempts.after_run().next(waiting(0, 60), at(61)), Some(at(61)));
        assert_eq!(
            Attempts::Failed { times: 1, at: at(0) }.after_run().next(waiting(0, 0), at(0)),
            Some(at(5))
        );
    }
}
