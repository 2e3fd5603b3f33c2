//! When collections of registries are due, and how their last attempts ended.
//!
//! It knows no configuration and no clock.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::collection_retry::RetryState;

/// The times of all registries.
#[derive(Debug, Default)]
pub(super) struct CollectionTimes {
    retries: BTreeMap<String, RetryState>,
    due: BTreeMap<String, DateTime<Utc>>,
    scheduled: BTreeMap<String, ScheduledStarts>,
}

/// The next starts of a registry by its schedules.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ScheduledStarts {
    pub(super) run: Option<DateTime<Utc>>,
    /// A collection by a schedule of its own.
    pub(super) collection: Option<DateTime<Utc>>,
}

impl CollectionTimes {
    pub(super) fn retry(&self, registry: &str) -> RetryState {
        self.retries.get(registry).copied().unwrap_or_default()
    }

    pub(super) fn set_retry(&mut self, registry: &str, retry: RetryState) {
        self.retries.insert(registry.to_owned(), retry);
    }

    /// Sets the state of a registry that has none yet.
    pub(super) fn set_first_retry(&mut self, registry: &str, retry: RetryState) {
        self.retries.entry(registry.to_owned()).or_insert(retry);
    }

    /// A run of the registry has ended.
    pub(super) fn record_run(&mut self, registry: &str) {
        if let Some(retry) = self.retries.get_mut(registry) {
            *retry = retry.after_run();
        }
    }

    /// When a collection starts by itself.
    pub(super) fn due(&self, registry: &str) -> Option<DateTime<Utc>> {
        self.due.get(registry).copied()
    }

    pub(super) fn set_due(&mut self, registry: &str, at: Option<DateTime<Utc>>) {
        match at {
            Some(at) => drop(self.due.insert(registry.to_owned(), at)),
            None => drop(self.due.remove(registry)),
        }
    }

    /// Takes the registries whose collection is due and that have no other job.
    pub(super) fn take_due(&mut self, now: DateTime<Utc>, is_busy: impl Fn(&str) -> bool) -> Vec<String> {
        let due: Vec<String> = self
            .due
            .iter()
            .filter(|(name, at)| **at <= now && !is_busy(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &due {
            self.due.remove(name);
        }
        due
    }

    pub(super) fn scheduled(&self, registry: &str) -> ScheduledStarts {
        self.scheduled.get(registry).copied().unwrap_or_default()
    }

    pub(super) fn set_scheduled(&mut self, registry: &str, starts: ScheduledStarts) {
        self.scheduled.insert(registry.to_owned(), starts);
    }
}
