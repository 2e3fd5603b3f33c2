//! Whether each registry answers, and when it is probed next.
//!
//! It knows times and results: it sends no request and reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The average pause between two probes of a registry.
const PROBE_INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// The random part of the interval, so that many services, or registries, are not probed at the same time.
const JITTER: f64 = 0.25;

/// What is known of each registry.
#[derive(Debug, Default)]
pub(super) struct Reachability(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    /// Whether the registry answered the last request; `None` before the first.
    up: Option<bool>,
    next_probe: DateTime<Utc>,
    is_probing: bool,
    /// Counts every event that makes the result of an earlier probe out of date.
    version: u64,
}

impl Reachability {
    fn entry(&mut self, registry: &str, now: DateTime<Utc>) -> &mut Entry {
        let new = || Entry { up: None, next_probe: after_interval(now), is_probing: false, version: 0 };
        self.0.entry(registry.to_owned()).or_insert_with(new)
    }

    /// Adds a registry; one that is known stays as it is.
    pub(super) fn add(&mut self, registry: &str, now: DateTime<Utc>) {
        self.entry(registry, now);
    }

    /// A job of the registry is running, starts or has ended: no probe is needed for a while.
    pub(super) fn postpone(&mut self, registry: &str, now: DateTime<Utc>) {
        let entry = self.entry(registry, now);
        entry.version += 1;
        entry.next_probe = after_interval(now);
    }

    /// Sets whether the registry answers.
    pub(super) fn set_up(&mut self, registry: &str, up: bool, now: DateTime<Utc>) {
        self.postpone(registry, now);
        self.entry(registry, now).up = Some(up);
    }

    /// Whether the registry answered the last request; `None` before the first.
    pub(super) fn is_up(&self, registry: &str) -> Option<bool> {
        self.0.get(registry)?.up
    }

    /// Starts a probe if it is time for one, and returns the version that [`Reachability::end_probe`] needs.
    pub(super) fn begin_probe(&mut self, registry: &str, now: DateTime<Utc>) -> Option<u64> {
        let entry = self.entry(registry, now);
        // After the clock was set back, the next probe must not be far in the future.
        entry.next_probe = entry.next_probe.min(now + PROBE_INTERVAL * 2);
        if entry.is_probing || entry.next_probe > now {
            return None;
        }
        entry.is_probing = true;
        Some(entry.version)
    }

    /// Ends a probe. Returns whether its result is still valid.
    pub(super) fn end_probe(&mut self, registry: &str, version: u64, now: DateTime<Utc>) -> bool {
        let entry = self.entry(registry, now);
        entry.is_probing = false;
        entry.next_probe = after_interval(now);
        entry.version == version
    }

    /// Removes a registry: it left the configuration, or its name belongs to another one now.
    pub(super) fn remove(&mut self, registry: &str) {
        self.0.remove(registry);
    }
}

fn after_interval(now: DateTime<Utc>) -> DateTime<Utc> {
    let seconds = PROBE_INTERVAL.as_seconds_f64() * (1.0 + JITTER * (2.0 * fastrand::f64() - 1.0));
    now + Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn probe_is_due_about_a_minute_after_the_last_contact() {
        for _ in 0..100 {
            let mut registries = Reachability::default();
            assert_eq!(
                registries.begin_probe("main", at(0)),
                None,
                "the first time only starts the interval"
            );
            assert_eq!(registries.begin_probe("main", at(44)), None);
            let version = registries.begin_probe("main", at(76)).unwrap();
            assert_eq!(registries.begin_probe("main", at(300)), None, "a probe is running");
            assert!(registries.end_probe("main", version, at(300)));
            assert_eq!(registries.begin_probe("main", at(344)), None);
            registries.postpone("main", at(345));
            assert_eq!(registries.begin_probe("main", at(389)), None);
            assert!(registries.begin_probe("main", at(421)).is_some());
        }
    }

    #[test]
    fn probe_result_is_out_of_date_after_a_job() {
        let mut registries = Reachability::default();
        registries.set_up("main", true, at(0));
        let version = registries.begin_probe("main", at(100)).unwrap();
        registries.postpone("main", at(101));
        assert!(!registries.end_probe("main", version, at(102)));
        assert_eq!(registries.is_up("main"), Some(true));
    }

    #[test]
    fn probe_is_due_soon_after_the_clock_was_set_back() {
        let mut registries = Reachability::default();
        registries.postpone("main", at(100_000));
        assert_eq!(registries.begin_probe("main", at(0)), None);
        assert!(registries.begin_probe("main", at(120)).is_some());
    }
}
