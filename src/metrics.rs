//! The metrics for Prometheus: each has a name, a unit and a bounded set of labels.
//!
//! It counts and decides nothing. No tag, digest or error text becomes a label, and nothing is global: two [`Metrics`] are
//! independent.

mod families;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::{Encoder as _, IntCounter, IntGaugeVec, TextEncoder};

use crate::plan::Limit;
use crate::registry::{Kind, Observer};
use crate::report::{CollectionOutcome, CollectionReport, Outcome, PlanDocument, RunReport};
use crate::state::{DeletedCount, RegistrySummary};
use families::Families;
use requests::Requests;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All metrics of one process.
pub struct Metrics {
    families: Families,
}

impl Metrics {
    /// The metrics of a process that has done nothing yet.
    pub fn new(version: &str, revision: &str) -> Result<Self, prometheus::Error> {
        let families = Families::new()?;
        families.build_info.with_label_values(&[version, revision]).set(1);
        Ok(Self { families })
    }

    /// A configuration was loaded, or could not be.
    pub fn config_reloaded(&self, ok: bool, now: DateTime<Utc>) {
        self.families.config_last_reload_successful.set(i64::from(ok));
        if ok {
            self.families.config_last_reload_success_timestamp_seconds.set(now.timestamp());
        }
    }

    /// Sets the number of registries that are in the state and not in the configuration.
    pub fn unknown_registries(&self, count: usize) {
        self.families.unknown_registries.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Creates the series of a registry at zero, so that rates and alerts see its first event. Existing series stay as they
    /// are. `registry_up` and other series whose value is unknown are not created.
    pub fn registry(&self, registry: &str, policies: &[&str]) {
        for gauges in self.families.gauges() {
            gauges.with_label_values(&[registry]);
        }
        for counters in self.families.counters() {
            counters.with_label_values(&[registry]);
        }
        for histograms in self.families.histograms() {
            histograms.with_label_values(&[registry]);
        }
        for outcome in Outcome::ALL {
            self.families.runs_total.with_label_values(&[registry, outcome.name()]);
        }
        for outcome in CollectionOutcome::ALL {
            self.families.gc_runs_total.with_label_values(&[registry, outcome.name()]);
        }
        for kind in Kind::ALL {
            self.families.repository_failures_total.with_label_values(&[registry, kind.name()]);
        }
        for limit in Limit::ALL {
            self.families.limit_refusals_total.with_label_values(&[registry, limit.name()]);
        }
        for policy in policies {
            self.deleted(registry, policy, DeletedCount::default());
        }
        requests::create(&self.families, registry);
    }

    /// Removes the gauges of a registry that is no longer in the configuration. Its counters stay.
    pub fn remove(&self, registry: &str) {
        for gauges in self.families.gauges().into_iter().chain(self.families.gauges_once_known()) {
            remove_series(gauges, registry);
        }
        for limit in Limit::ALL {
            // An error means that the series did not exist.
            let _ = self.families.last_run_refusals.remove_label_values(&[registry, limit.name()]);
        }
        for outcome in Outcome::ALL {
            let _ = self.families.last_run_outcome.remove_label_values(&[registry, outcome.name()]);
        }
    }

    /// Removes the gauges of a registry and resets its counters: its name belongs to another registry now, or to none.
    pub fn reset(&self, registry: &str, policies: &[&str]) {
        self.remove(registry);
        let families = &self.families;
        for policy in policies {
            families.deleted_manifests_total.with_label_values(&[registry, policy]).reset();
            families.deleted_tags_total.with_label_values(&[registry, policy]).reset();
        }
        families.reclaimed_blobs_total.with_label_values(&[registry]).reset();
        families.reclaimed_bytes_total.with_label_values(&[registry]).reset();
    }

    /// Continues the metrics of a registry from the state. Call it after [`Metrics::registry`]. Nothing is counted twice.
    pub fn restore(&self, registry: &str, summary: &RegistrySummary) {
        self.raise_deleted(registry, summary);
        let families = &self.families;
        let counters = [
            (&families.reclaimed_blobs_total, summary.reclaimed_blobs),
            (&families.reclaimed_bytes_total, summary.reclaimed_bytes),
        ];
        for (counters, all) in counters {
            raise(&counters.with_label_values(&[registry]), all);
        }
        let moments = [
            (&families.last_run_timestamp_seconds, summary.last_run),
            (&families.last_success_timestamp_seconds, summary.last_success),
            (&families.gc_last_success_timestamp_seconds, summary.last_collection),
        ];
        for (gauges, at) in moments {
            set_moment(gauges, registry, at);
        }
        if let Some(outcome) = summary.last_outcome {
            self.last_outcome(registry, outcome);
        }
        if let Some(succeeded) = summary.last_collection_succeeded {
            set(&families.gc_last_run_successful, registry, u64::from(succeeded));
        }
    }

    /// Counts deletions that a later run has confirmed: the state knows of them, and the counters do not yet.
    pub fn raise_deleted(&self, registry: &str, summary: &RegistrySummary) {
        let families = &self.families;
        for (policy, count) in &summary.deleted {
            let labels = [registry, policy];
            let counters = [
                (&families.deleted_manifests_total, count.manifests),
                (&families.deleted_tags_total, count.tags),
            ];
            for (counters, all) in counters {
                raise(&counters.with_label_values(&labels), all);
            }
        }
    }

    /// Whether the registry answered the last request.
    pub fn up(&self, registry: &str, up: bool) {
        self.families.registry_up.with_label_values(&[registry]).set(i64::from(up));
    }

    /// It is unknown whether the registry answers.
    pub fn up_unknown(&self, registry: &str) {
        // An error means that the series did not exist.
        let _ = self.families.registry_up.remove_label_values(&[registry]);
    }

    /// Whether the registry is still stopped after a collection.
    pub fn stopped(&self, registry: &str, stopped: bool) {
        set(&self.families.registry_stopped, registry, u64::from(stopped));
    }

    /// Sets the latest plan of a registry, with its result.
    pub fn planned(&self, plan: &PlanDocument) {
        let (totals, expired, held_back) = (&plan.totals, plan.expired(), plan.held_back());
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let families = &self.families;
        let values = [
            (&families.repositories, count(totals.repositories)),
            (&families.tags, count(totals.tags)),
            (&families.manifests, count(totals.manifests)),
            (&families.referenced_bytes, totals.referenced_bytes),
            (&families.expired_manifests, count(expired.manifests)),
            (&families.expired_bytes, expired.bytes),
            (&families.held_back_manifests, count(held_back.manifests)),
            (&families.held_back_bytes, held_back.bytes),
        ];
        for (gauges, value) in values {
            set(gauges, &plan.registry, value);
        }
    }

    /// Counts a run that ended: its outcome, deletions, failures and refusals.
    pub fn run_finished(&self, report: &RunReport, duration: Duration, now: DateTime<Utc>) {
        let registry = &report.registry;
        self.run_ended(registry, report.outcome(), duration, now);
        for deleted in report.deleted.iter().filter(|deleted| !deleted.already_gone) {
            let tags = u64::try_from(deleted.tags.len()).unwrap_or(u64::MAX);
            self.deleted(registry, &deleted.policy, DeletedCount { manifests: 1, tags });
        }
        for untagged in &report.untagged {
            self.deleted(registry, &untagged.policy, DeletedCount { manifests: 0, tags: 1 });
        }
        for failure in &report.failures {
            let labels = [registry.as_str(), failure.kind];
            self.families.repository_failures_total.with_label_values(&labels).inc();
        }
        for refusal in &report.refusals {
            let labels = [registry.as_str(), refusal.limit.name()];
            self.families.limit_refusals_total.with_label_values(&labels).inc();
        }
        self.refused(registry, &report.summary().refusals);
    }

    /// Sets the refusals of the last run that could read the registry, one limit for each.
    pub fn refused(&self, registry: &str, limits: &[Limit]) {
        for limit in Limit::ALL {
            let refusals = limits.iter().filter(|other| **other == limit).count();
            let gauge = self.families.last_run_refusals.with_label_values(&[registry, limit.name()]);
            gauge.set(i64::try_from(refusals).unwrap_or(i64::MAX));
        }
    }

    /// Counts a run that could not read its registry and did nothing.
    pub fn run_failed(&self, registry: &str, duration: Duration, now: DateTime<Utc>) {
        self.run_ended(registry, Outcome::Failed, duration, now);
    }

    /// Counts a run that was stopped before it had read its registry and did nothing.
    pub fn run_interrupted(&self, registry: &str, duration: Duration, now: DateTime<Utc>) {
        self.run_ended(registry, Outcome::Interrupted, duration, now);
    }

    /// Counts a run that was not started because another one was running.
    pub fn run_skipped(&self, registry: &str) {
        self.families.runs_total.with_label_values(&[registry, Outcome::Skipped.name()]).inc();
    }

    /// Sets the start of the current run; `None` if none is running.
    pub fn run_started(&self, registry: &str, since: Option<DateTime<Utc>>) {
        set_moment(&self.families.run_started_timestamp_seconds, registry, since);
    }

    /// Sets the longest time that a run and the collection after it may take.
    pub fn run_timeout(&self, registry: &str, timeout: Duration) {
        set(&self.families.run_timeout_seconds, registry, timeout.as_secs());
    }

    fn run_ended(&self, registry: &str, outcome: Outcome, duration: Duration, now: DateTime<Utc>) {
        let families = &self.families;
        families.runs_total.with_label_values(&[registry, outcome.name()]).inc();
        families.run_duration_seconds.with_label_values(&[registry]).observe(duration.as_secs_f64());
        set_moment(&families.last_run_timestamp_seconds, registry, Some(now));
        self.last_outcome(registry, outcome);
        if outcome == Outcome::Success {
            set_moment(&families.last_success_timestamp_seconds, registry, Some(now));
        }
    }

    fn last_outcome(&self, registry: &str, last: Outcome) {
        // A skipped run is never the last run.
        for outcome in Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Skipped) {
            let gauge = self.families.last_run_outcome.with_label_values(&[registry, outcome.name()]);
            gauge.set(i64::from(outcome == last));
        }
    }

    fn deleted(&self, registry: &str, policy: &str, count: DeletedCount) {
        let labels = [registry, policy];
        self.families.deleted_manifests_total.with_label_values(&labels).inc_by(count.manifests);
        self.families.deleted_tags_total.with_label_values(&labels).inc_by(count.tags);
    }

    /// Sets the start of the next run; `None` if none is scheduled.
    pub fn next_run(&self, registry: &str, at: Option<DateTime<Utc>>) {
        set_moment(&self.families.next_run_timestamp_seconds, registry, at);
    }

    /// Sets the earliest start of the next collection; `None` if none is scheduled.
    pub fn next_collection(&self, registry: &str, at: Option<DateTime<Utc>>) {
        set_moment(&self.families.gc_next_timestamp_seconds, registry, at);
    }

    /// Counts a collection that ended or was skipped.
    pub fn collected(&self, registry: &str, collected: &CollectionReport) {
        let families = &self.families;
        families.gc_runs_total.with_label_values(&[registry, collected.outcome.name()]).inc();
        if collected.outcome == CollectionOutcome::Skipped {
            return;
        }
        let observe = |histograms: &prometheus::HistogramVec, duration: Duration| {
            histograms.with_label_values(&[registry]).observe(duration.as_secs_f64());
        };
        observe(&families.gc_duration_seconds, collected.duration);
        observe(&families.gc_downtime_seconds, collected.downtime);
        families.reclaimed_blobs_total.with_label_values(&[registry]).inc_by(collected.blobs);
        families.reclaimed_bytes_total.with_label_values(&[registry]).inc_by(collected.bytes);
        let success = collected.outcome == CollectionOutcome::Success;
        if success {
            set_moment(&families.gc_last_success_timestamp_seconds, registry, Some(collected.at));
        }
        set(&families.gc_last_run_successful, registry, u64::from(success));
    }

    /// A collection found too little to free. It would have been possible, so an earlier failure is over.
    pub fn collection_below_minimum(&self, registry: &str) {
        set(&self.families.gc_last_run_successful, registry, 1);
    }

    /// Sets the bytes that were deleted and that the next collection can free.
    pub fn reclaimable(&self, registry: &str, bytes: u64) {
        set(&self.families.reclaimable_bytes, registry, bytes);
        remove_series(&self.families.deleted_uncollected_bytes, registry);
    }

    /// Sets the bytes that were deleted in a registry without `gc`.
    pub fn uncollected(&self, registry: &str, bytes: u64) {
        set(&self.families.deleted_uncollected_bytes, registry, bytes);
        remove_series(&self.families.reclaimable_bytes, registry);
        remove_series(&self.families.gc_last_run_successful, registry);
        remove_series(&self.families.gc_next_timestamp_seconds, registry);
    }

    /// Returns what counts the requests to a registry.
    pub fn observer(&self, registry: &str) -> Arc<dyn Observer> {
        Arc::new(Requests::new(&self.families, registry))
    }

    /// Returns all metrics in the text format of Prometheus.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.families.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Raises a counter to this total, if it is lower.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn set(gauges: &IntGaugeVec, registry: &str, value: u64) {
    gauges.with_label_values(&[registry]).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn remove_series(gauges: &IntGaugeVec, registry: &str) {
    // An error means that the series did not exist.
    let _ = gauges.remove_label_values(&[registry]);
}

/// Zero means never, as in the metrics of Prometheus itself.
fn set_moment(gauges: &IntGaugeVec, registry: &str, at: Option<DateTime<Utc>>) {
    gauges.with_label_values(&[registry]).set(at.map_or(0, |at| at.timestamp()));
}

#[cfg(test)]
mod tests;
