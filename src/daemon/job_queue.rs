//! The jobs of each registry: one runs at a time, and of each kind one more may wait.
//!
//! It knows the order of jobs and not what they do.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};

use crate::run::LimitMode;

/// The kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    /// A run, with or without its limits.
    Run(LimitMode),
    /// A collection that does not follow a run.
    Collection,
    /// The recovery from a collection that was interrupted.
    Recovery,
    /// All undos that were requested.
    Undo,
}

impl JobKind {
    fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// What happens to a new job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It starts now.
    Start,
    /// It waits for the jobs before it.
    Queued,
    /// A job of its kind is running.
    AlreadyRunning,
    /// A job of its kind has been waiting since then.
    AlreadyQueued(DateTime<Utc>),
}

/// The jobs of all registries.
#[derive(Debug, Default)]
pub(super) struct JobQueues(BTreeMap<String, Queue>);

#[derive(Debug)]
struct Queue {
    running: JobKind,
    waiting: VecDeque<(JobKind, DateTime<Utc>)>,
}

impl JobQueues {
    /// Adds a job. It counts as running if it can start now.
    pub(super) fn admit(&mut self, registry: &str, kind: JobKind, now: DateTime<Utc>) -> Admission {
        let Some(queue) = self.0.get_mut(registry) else {
            self.0.insert(registry.to_owned(), Queue { running: kind, waiting: VecDeque::new() });
            return Admission::Start;
        };
        if let Some((_, since)) = queue.waiting.iter().find(|(other, _)| other.is_like(kind)) {
            return Admission::AlreadyQueued(*since);
        }
        if queue.running.is_like(kind) {
            return Admission::AlreadyRunning;
        }
        queue.waiting.push_back((kind, now));
        Admission::Queued
    }

    /// The job after one that has ended. It counts as running from now on.
    pub(super) fn next(&mut self, registry: &str) -> Option<JobKind> {
        let queue = self.0.get_mut(registry)?;
        let Some((kind, _)) = queue.waiting.pop_front() else {
            self.0.remove(registry);
            return None;
        };
        queue.running = kind;
        Some(kind)
    }

    /// Removes the running job and all waiting jobs of a registry.
    pub(super) fn remove(&mut self, registry: &str) {
        self.0.remove(registry);
    }

    /// Whether a job of this registry is running.
    pub(super) fn is_busy(&self, registry: &str) -> bool {
        self.0.contains_key(registry)
    }

    /// Whether no job is running.
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: JobKind = JobKind::Run(LimitMode::Enforced);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn jobs_of_two_kinds_take_turns() {
        for (first, second) in [
            (RUN, JobKind::Collection),
            (JobKind::Collection, RUN),
            (JobKind::Recovery, RUN),
            (RUN, JobKind::Undo),
        ] {
            let mut jobs = JobQueues::default();
            assert_eq!(jobs.admit("main", first, at(0)), Admission::Start);
            assert_eq!(jobs.admit("main", second, at(0)), Admission::Queued);
            assert_eq!(jobs.admit("other", first, at(0)), Admission::Start);
            assert_eq!(jobs.next("main"), Some(second));
            assert!(jobs.is_busy("main"));
            assert_eq!(jobs.next("main"), None);
            assert!(!jobs.is_busy("main") && !jobs.is_idle());
            assert_eq!(jobs.next("other"), None);
            assert!(jobs.is_idle());
        }
    }

    #[test]
    fn jobs_of_one_kind_run_once_and_wait_once() {
        let mut jobs = JobQueues::default();
        assert_eq!(jobs.admit("main", RUN, at(0)), Admission::Start);
        for limits in [LimitMode::Enforced, LimitMode::Overridden] {
            assert_eq!(jobs.admit("main", JobKind::Run(limits), at(1)), Admission::AlreadyRunning);
        }
        assert_eq!(jobs.admit("main", JobKind::Collection, at(2)), Admission::Queued);
        assert_eq!(jobs.admit("main", JobKind::Collection, at(3)), Admission::AlreadyQueued(at(2)));
        assert_eq!(jobs.next("main"), Some(JobKind::Collection));
        assert_eq!(jobs.admit("main", JobKind::Collection, at(4)), Admission::AlreadyRunning);
        assert_eq!(jobs.admit("main", RUN, at(5)), Admission::Queued);
        jobs.remove("main");
        assert_eq!(jobs.admit("main", JobKind::Collection, at(6)), Admission::Start);
        assert_eq!(jobs.next("main"), None, "the waiting jobs were removed as well");
    }
}
