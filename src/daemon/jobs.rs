//! The jobs of each registry: one is under way at a time, and of each kind one more waits for its turn.
//!
//! It knows which job comes when, and not what one does.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};

use crate::run::LimitMode;

/// The kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A run, with or without its limits.
    Run(LimitMode),
    /// A collection that no run makes.
    Collect,
    /// Whatever a process before this one left open.
    Recover,
    /// Every undo that somebody has asked for.
    Undo,
}

impl Work {
    /// Whether both are of one kind.
    fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// What becomes of a job that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It begins now.
    Now,
    /// It begins after what is under way.
    Later,
    /// One of its kind is under way.
    UnderWay,
    /// One of its kind has been waiting since then.
    Waiting(DateTime<Utc>),
}

/// The jobs of all registries.
#[derive(Debug, Default)]
pub(super) struct Jobs(BTreeMap<String, Queue>);

#[derive(Debug)]
struct Queue {
    under_way: Work,
    waiting: VecDeque<(Work, DateTime<Utc>)>,
}

impl Jobs {
    /// Takes in a job that is due.
    pub(super) fn due(&mut self, registry: &str, work: Work, now: DateTime<Utc>) -> Turn {
        let Some(queue) = self.0.get_mut(registry) else {
            self.0.insert(registry.to_owned(), Queue { under_way: work, waiting: VecDeque::new() });
            return Turn::Now;
        };
        if let Some((_, since)) = queue.waiting.iter().find(|(one, _)| one.is_like(work)) {
            return Turn::Waiting(*since);
        }
        if queue.under_way.is_like(work) {
            return Turn::UnderWay;
        }
        queue.waiting.push_back((work, now));
        Turn::Later
    }

    /// The job that follows one that has ended; it is under way from now on.
    pub(super) fn next(&mut self, registry: &str) -> Option<Work> {
        let queue = self.0.get_mut(registry)?;
        let Some((work, _)) = queue.waiting.pop_front() else {
            self.0.remove(registry);
            return None;
        };
        queue.under_way = work;
        Some(work)
    }

    /// Forgets what is under way and what waits.
    pub(super) fn leave(&mut self, registry: &str) {
        self.0.remove(registry);
    }

    /// Whether a registry has a job under way.
    pub(super) fn is_busy(&self, registry: &str) -> bool {
        self.0.contains_key(registry)
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Work = Work::Run(LimitMode::Enforced);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_run_and_a_collection_that_are_due_at_once_take_turns() {
        for (first, second) in
            [(RUN, Work::Collect), (Work::Collect, RUN), (Work::Recover, RUN), (RUN, Work::Undo)]
        {
            let mut jobs = Jobs::default();
            assert_eq!(jobs.due("main", first, at(0)), Turn::Now);
            assert_eq!(jobs.due("main", second, at(0)), Turn::Later);
            assert_eq!(jobs.due("other", first, at(0)), Turn::Now);
            assert_eq!(jobs.next("main"), Some(second));
            assert!(jobs.is_busy("main"));
            assert_eq!(jobs.next("main"), None);
            assert!(!jobs.is_busy("main") && !jobs.is_idle());
            assert_eq!(jobs.next("other"), None);
            assert!(jobs.is_idle());
        }
    }

    #[test]
    fn of_a_kind_one_is_under_way_and_one_waits() {
        let mut jobs = Jobs::default();
        assert_eq!(jobs.due("main", RUN, at(0)), Turn::Now);
        for limits in [LimitMode::Enforced, LimitMode::Overridden] {
            assert_eq!(jobs.due("main", Work::Run(limits), at(1)), Turn::UnderWay);
        }
        assert_eq!(jobs.due("main", Work::Collect, at(2)), Turn::Later);
        assert_eq!(jobs.due("main", Work::Collect, at(3)), Turn::Waiting(at(2)));
        assert_eq!(jobs.next("main"), Some(Work::Collect));
        assert_eq!(jobs.due("main", Work::Collect, at(4)), Turn::UnderWay);
        assert_eq!(jobs.due("main", RUN, at(5)), Turn::Later);
        jobs.leave("main");
        assert_eq!(jobs.due("main", Work::Collect, at(6)), Turn::Now);
        assert_eq!(jobs.next("main"), None, "what waited is forgotten");
    }
}
