//! What Prometheus sees: every number has a name, a unit and a bounded set of labels.
//!
//! It counts what it is told and decides nothing. No tag, digest or error text ever becomes a label, and
//! nothing here is global: two [`Metrics`] know nothing of each other.

mod families;
mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::{Encoder as _, IntCounter, IntGaugeVec, TextEncoder};

use crate::plan::Limit;
use crate::registry::{Kind, Observer};
use crate::report::{CollectionOutcome, CollectionReport, Outcome, PlanDocument, RunReport};
use families::Families;
use requests::Requests;

/// The content type of what [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All numbers of one process.
pub struct Metrics {
    families: Families,
}

/// What counters and moments carry on from after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// By policy, what has been deleted.
    pub deleted: BTreeMap<String, DeletedCount>,
    /// Blobs that collections have removed.
    pub reclaimed_blobs: u64,
    /// Bytes that collections have removed.
    pub reclaimed_bytes: u64,
    /// When the last run ended.
    pub last_run: Option<DateTime<Utc>>,
    /// How the last run ended.
    pub last_outcome: Option<Outcome>,
    /// When the last run ended that did everything that was to be done.
    pub last_success: Option<DateTime<Utc>>,
    /// When the last collection ended that succeeded.
    pub last_collection: Option<DateTime<Utc>>,
    /// Whether the last collection that began succeeded; `None` if none ever began.
    pub last_collection_succeeded: Option<bool>,
}

/// How much has been deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeletedCount {
    /// Manifests.
    pub manifests: u64,
    /// Tags, those that went with their manifest and those that went alone.
    pub tags: u64,
}

impl Metrics {
    /// Numbers of a process that has done nothing yet.
    pub fn new(version: &str, revision: &str) -> Result<Self, prometheus::Error> {
        let families = Families::new()?;
        families.build_info.with_label_values(&[version, revision]).set(1);
        Ok(Self { families })
    }

    /// A configuration was read, or could not be.
    pub fn config_reloaded(&self, ok: bool, now: DateTime<Utc>) {
        self.families.config_last_reload_successful.set(i64::from(ok));
        if ok {
            self.families.config_last_reload_success_timestamp_seconds.set(now.timestamp());
        }
    }

    /// So many registries are in the state and not in the configuration.
    pub fn unknown_registries(&self, number: usize) {
        self.families.unknown_registries.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Makes the series of a registry visible at zero, so that rates and alerts see its first event. What
    /// is there already stays as it is. `registry_up` is not there before somebody asked: it would lie.
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

    /// Forgets what a registry is like that is no longer in the configuration. What was counted stays.
    pub fn forget(&self, registry: &str) {
        for gauges in self.families.gauges().into_iter().chain(self.families.gauges_once_known()) {
            remove(gauges, registry);
        }
        for limit in Limit::ALL {
            // An error says that it was not there.
            let _ = self.families.last_run_refusals.remove_label_values(&[registry, limit.name()]);
        }
        for outcome in Outcome::ALL {
            let _ = self.families.last_run_outcome.remove_label_values(&[registry, outcome.name()]);
        }
    }

    /// Forgets what a registry is like and what was counted of it: another one has its name now, or none.
    pub fn forget_all(&self, registry: &str, policies: &[&str]) {
        self.forget(registry);
        let families = &self.families;
        for policy in policies {
            families.deleted_manifests_total.with_label_values(&[registry, policy]).reset();
            families.deleted_tags_total.with_label_values(&[registry, policy]).reset();
        }
        families.reclaimed_blobs_total.with_label_values(&[registry]).reset();
        families.reclaimed_bytes_total.with_label_values(&[registry]).reset();
    }

    /// Lets the numbers of a registry go on from the state. Call it after [`Metrics::registry`]. What is counted
    /// already is not counted again.
    pub fn carry_on(&self, registry: &str, carried: &Carried) {
        self.catch_up(registry, carried);
        let families = &self.families;
        let counters = [
            (&families.reclaimed_blobs_total, carried.reclaimed_blobs),
            (&families.reclaimed_bytes_total, carried.reclaimed_bytes),
        ];
        for (counters, all) in counters {
            raise(&counters.with_label_values(&[registry]), all);
        }
        let moments = [
            (&families.last_run_timestamp_seconds, carried.last_run),
            (&families.last_success_timestamp_seconds, carried.last_success),
            (&families.gc_last_success_timestamp_seconds, carried.last_collection),
        ];
        for (gauges, at) in moments {
            set_moment(gauges, registry, at);
        }
        if let Some(outcome) = carried.last_outcome {
            self.last_outcome(registry, outcome);
        }
        if let Some(succeeded) = carried.last_collection_succeeded {
            set(&families.gc_last_run_successful, registry, u64::from(succeeded));
        }
    }

    /// Counts deletions that the state knows of and nobody has counted yet: a later run found out that they had
    /// happened.
    pub fn catch_up(&self, registry: &str, carried: &Carried) {
        let families = &self.families;
        for (policy, count) in &carried.deleted {
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

    /// Whether the registry answered when it was last asked.
    pub fn up(&self, registry: &str, up: bool) {
        self.families.registry_up.with_label_values(&[registry]).set(i64::from(up));
    }

    /// Nobody has asked this registry yet whether it answers.
    pub fn not_asked(&self, registry: &str) {
        // An error says that it was not there.
        let _ = self.families.registry_up.remove_label_values(&[registry]);
    }

    /// Whether the registry is still down after a collection that stopped it.
    pub fn stopped(&self, registry: &str, stopped: bool) {
        set(&self.families.registry_stopped, registry, u64::from(stopped));
    }

    /// This is the latest plan of a registry, with what came of it.
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

    /// A run came to its end: its outcome, its deletions, its failures and its refusals are counted.
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

    /// These limits stood before the last run that could read the registry, each as often as it is here.
    pub fn refused(&self, registry: &str, limits: &[Limit]) {
        for limit in Limit::ALL {
            let refusals = limits.iter().filter(|one| **one == limit).count();
            let gauge = self.families.last_run_refusals.with_label_values(&[registry, limit.name()]);
            gauge.set(i64::try_from(refusals).unwrap_or(i64::MAX));
        }
    }

    /// A run could not scan its registry, and did nothing.
    pub fn run_failed(&self, registry: &str, duration: Duration, now: DateTime<Utc>) {
        self.run_ended(registry, Outcome::Failed, duration, now);
    }

    /// A run was asked to end before it had read its registry, and did nothing.
    pub fn run_interrupted(&self, registry: &str, duration: Duration, now: DateTime<Utc>) {
        self.run_ended(registry, Outcome::Interrupted, duration, now);
    }

    /// A run did not begin, because another one was under way.
    pub fn run_skipped(&self, registry: &str) {
        self.families.runs_total.with_label_values(&[registry, Outcome::Skipped.name()]).inc();
    }

    /// A run has been under way since then; `None` if none is.
    pub fn run_under_way(&self, registry: &str, since: Option<DateTime<Utc>>) {
        set_moment(&self.families.run_started_timestamp_seconds, registry, since);
    }

    /// A run, and the collection that follows it, may take this long at most.
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
        // A run that was skipped is none, so it is never the last one.
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

    /// When the next run begins; `None` if none is scheduled.
    pub fn next_run(&self, registry: &str, at: Option<DateTime<Utc>>) {
        set_moment(&self.families.next_run_timestamp_seconds, registry, at);
    }

    /// When the next collection begins at the earliest; `None` if none is scheduled.
    pub fn next_collection(&self, registry: &str, at: Option<DateTime<Utc>>) {
        set_moment(&self.families.gc_next_timestamp_seconds, registry, at);
    }

    /// A collection ended, or did not begin.
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

    /// A collection found too little to free. So it could have been made: whatever let the one before fail is mended.
    pub fn collection_not_worth_it(&self, registry: &str) {
        set(&self.families.gc_last_run_successful, registry, 1);
    }

    /// So many bytes have been deleted, and wait for a collection.
    pub fn reclaimable(&self, registry: &str, bytes: u64) {
        set(&self.families.reclaimable_bytes, registry, bytes);
        remove(&self.families.deleted_uncollected_bytes, registry);
    }

    /// So many bytes have been deleted in a registry that we do not collect.
    pub fn uncollected(&self, registry: &str, bytes: u64) {
        set(&self.families.deleted_uncollected_bytes, registry, bytes);
        remove(&self.families.reclaimable_bytes, registry);
        remove(&self.families.gc_last_run_successful, registry);
        remove(&self.families.gc_next_timestamp_seconds, registry);
    }

    /// Counts the requests to a registry.
    pub fn observer(&self, registry: &str) -> Arc<dyn Observer> {
        Arc::new(Requests::new(&self.families, registry))
    }

    /// Everything in the text format of Prometheus.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.families.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Lets a counter go on from this, if it is not that far yet.
fn raise(counter: &IntCounter, all: u64) {
    counter.inc_by(all.saturating_sub(counter.get()));
}

fn set(gauges: &IntGaugeVec, registry: &str, value: u64) {
    gauges.with_label_values(&[registry]).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn remove(gauges: &IntGaugeVec, registry: &str) {
    // An error says that it was not there.
    let _ = gauges.remove_label_values(&[registry]);
}

/// Zero stands for never, as Prometheus itself has it.
fn set_moment(gauges: &IntGaugeVec, registry: &str, at: Option<DateTime<Utc>>) {
    gauges.with_label_values(&[registry]).set(at.map_or(0, |at| at.timestamp()));
}

#[cfg(test)]
mod tests;
