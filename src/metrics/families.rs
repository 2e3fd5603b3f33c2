//! The names, the help texts and the labels of all metrics.

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
};

/// From a run over an empty registry to one over a very large registry.
const RUN_SECONDS: [f64; 11] = [0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0];

/// From the collection of a demo registry to the default timeout.
const GC_SECONDS: [f64; 11] = [1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0];

/// From a registry on the same machine to the timeout of a request.
const REQUEST_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Every metric by its name without the prefix.
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) build_info: IntGaugeVec,
    pub(super) config_last_reload_successful: IntGauge,
    pub(super) config_last_reload_success_timestamp_seconds: IntGauge,
    pub(super) unknown_registries: IntGauge,
    pub(super) registry_up: IntGaugeVec,
    pub(super) registry_stopped: IntGaugeVec,
    pub(super) repositories: IntGaugeVec,
    pub(super) tags: IntGaugeVec,
    pub(super) manifests: IntGaugeVec,
    pub(super) referenced_bytes: IntGaugeVec,
    pub(super) expired_manifests: IntGaugeVec,
    pub(super) expired_bytes: IntGaugeVec,
    pub(super) held_back_manifests: IntGaugeVec,
    pub(super) held_back_bytes: IntGaugeVec,
    pub(super) runs_total: IntCounterVec,
    pub(super) run_duration_seconds: HistogramVec,
    pub(super) last_run_timestamp_seconds: IntGaugeVec,
    pub(super) last_success_timestamp_seconds: IntGaugeVec,
    pub(super) next_run_timestamp_seconds: IntGaugeVec,
    pub(super) run_started_timestamp_seconds: IntGaugeVec,
    pub(super) run_timeout_seconds: IntGaugeVec,
    pub(super) last_run_outcome: IntGaugeVec,
    pub(super) last_run_refusals: IntGaugeVec,
    pub(super) deleted_manifests_total: IntCounterVec,
    pub(super) deleted_tags_total: IntCounterVec,
    pub(super) repository_failures_total: IntCounterVec,
    pub(super) limit_refusals_total: IntCounterVec,
    pub(super) gc_runs_total: IntCounterVec,
    pub(super) gc_duration_seconds: HistogramVec,
    pub(super) gc_downtime_seconds: HistogramVec,
    pub(super) gc_last_success_timestamp_seconds: IntGaugeVec,
    pub(super) gc_last_run_successful: IntGaugeVec,
    pub(super) gc_next_timestamp_seconds: IntGaugeVec,
    pub(super) reclaimed_bytes_total: IntCounterVec,
    pub(super) reclaimed_blobs_total: IntCounterVec,
    pub(super) reclaimable_bytes: IntGaugeVec,
    pub(super) deleted_uncollected_bytes: IntGaugeVec,
    pub(super) registry_requests_total: IntCounterVec,
    pub(super) registry_request_duration_seconds: HistogramVec,
    pub(super) registry_retries_total: IntCounterVec,
}

impl Families {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let builder = Builder { registry: Registry::new() };
        builder.register(ProcessCollector::for_self())?;
        Ok(Self {
            build_info: builder.gauges(
                "build_info",
                "The version of regsweep; always 1.",
                &["version", "revision"],
            )?,
            config_last_reload_successful: builder.gauge(
                "config_last_reload_successful",
                "Whether the last load of the configuration succeeded: 1 or 0.",
            )?,
            config_last_reload_success_timestamp_seconds: builder.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When a configuration last became active, in Unix seconds; 0 means never.",
            )?,
            unknown_registries: builder.gauge(
                "unknown_registries",
                "Registries that are in the state and not in the configuration.",
            )?,
            registry_up: builder.per_registry(
                "registry_up",
                "Whether the registry answered the last request: 1 or 0.",
            )?,
            registry_stopped: builder.per_registry(
                "registry_stopped",
                "Whether the registry is still stopped after a collection that has ended: 1 or 0.",
            )?,
            repositories: builder.per_registry(
                "repositories",
                "Repositories with a policy that could be read, in the last plan.",
            )?,
            tags: builder.per_registry("tags", "Tags in those repositories, in the last plan.")?,
            manifests: builder.per_registry(
                "manifests",
                "Manifests that were found in those repositories, in the last plan.",
            )?,
            referenced_bytes: builder.per_registry(
                "referenced_bytes",
                "Bytes that kept manifests use, counted once per repository and as far as they were \
                 read, in the last plan.",
            )?,
            expired_manifests: builder.per_registry(
                "expired_manifests",
                "Manifests that the last plan deletes and that still exist.",
            )?,
            expired_bytes: builder.per_registry(
                "expired_bytes",
                "Bytes used only by manifests that the last plan deletes and that still exist, counted \
                 once per repository.",
            )?,
            held_back_manifests: builder.per_registry(
                "held_back_manifests",
                "Manifests that the last plan would delete without the `mode: plan` of their policy.",
            )?,
            held_back_bytes: builder.per_registry(
                "held_back_bytes",
                "Bytes used only by manifests that the last plan would delete without the `mode: plan` of their policy, \
                 counted once per repository.",
            )?,
            runs_total: builder.counters(
                "runs_total",
                "Runs that ended, or were skipped because another one was running, by outcome.",
                &["registry", "outcome"],
            )?,
            run_duration_seconds: builder.histograms(
                "run_duration_seconds",
                "How long runs took, in seconds.",
                &["registry"],
                &RUN_SECONDS,
            )?,
            last_run_timestamp_seconds: builder.per_registry(
                "last_run_timestamp_seconds",
                "When the last run ended, with any outcome, in Unix seconds; 0 means never.",
            )?,
            last_success_timestamp_seconds: builder.per_registry(
                "last_success_timestamp_seconds",
                "When the last successful run ended, in Unix seconds; 0 means never.",
            )?,
            next_run_timestamp_seconds: builder.per_registry(
                "next_run_timestamp_seconds",
                "When the next run starts, in Unix seconds; 0 means not scheduled.",
            )?,
            run_started_timestamp_seconds: builder.per_registry(
                "run_started_timestamp_seconds",
                "When the current run started, in Unix seconds; 0 means that no run is running.",
            )?,
            run_timeout_seconds: builder.per_registry(
                "run_timeout_seconds",
                "The longest time that a run and the collection after it may take, in seconds.",
            )?,
            last_run_outcome: builder.gauges(
                "last_run_outcome",
                "How the last run ended: 1 for its outcome, 0 for all others. Absent before the first run.",
                &["registry", "outcome"],
            )?,
            last_run_refusals: builder.gauges(
                "last_run_refusals",
                "Refusals in the last run that could read the registry, by the limit that would have been exceeded.",
                &["registry", "limit"],
            )?,
            deleted_manifests_total: builder.counters(
                "deleted_manifests_total",
                "Deleted manifests, by policy; continues after a restart.",
                &["registry", "policy"],
            )?,
            deleted_tags_total: builder.counters(
                "deleted_tags_total",
                "Removed tags, alone or with their manifest, by policy; continues after a restart.",
                &["registry", "policy"],
            )?,
            repository_failures_total: builder.counters(
                "repository_failures_total",
                "Repositories that a run could not read, and failed deletions, by kind of failure.",
                &["registry", "kind"],
            )?,
            limit_refusals_total: builder.counters(
                "limit_refusals_total",
                "Refusals of a run, or of a repository in it, by the limit that would have been exceeded.",
                &["registry", "limit"],
            )?,
            gc_runs_total: builder.counters(
                "gc_runs_total",
                "Collections that ended or were skipped, by outcome.",
                &["registry", "outcome"],
            )?,
            gc_duration_seconds: builder.histograms(
                "gc_duration_seconds",
                "How long collections took, in seconds.",
                &["registry"],
                &GC_SECONDS,
            )?,
            gc_downtime_seconds: builder.histograms(
                "gc_downtime_seconds",
                "How long the registry was down because of a collection, in seconds.",
                &["registry"],
                &GC_SECONDS,
            )?,
            gc_last_success_timestamp_seconds: builder.per_registry(
                "gc_last_success_timestamp_seconds",
                "When the last successful collection ended, in Unix seconds; 0 means never.",
            )?,
            gc_last_run_successful: builder.per_registry(
                "gc_last_run_successful",
                "Whether the last collection succeeded, or found too little to free: 1 or 0. Absent before the \
                 first one and without `gc`.",
            )?,
            gc_next_timestamp_seconds: builder.per_registry(
                "gc_next_timestamp_seconds",
                "The earliest start of the next collection, in Unix seconds: by itself, or after the run that it \
                 follows; 0 means not scheduled. Absent without `gc`.",
            )?,
            reclaimed_bytes_total: builder.counters(
                "reclaimed_bytes_total",
                "Bytes of the blobs that collections removed; continues after a restart.",
                &["registry"],
            )?,
            reclaimed_blobs_total: builder.counters(
                "reclaimed_blobs_total",
                "Blobs that collections removed; continues after a restart.",
                &["registry"],
            )?,
            reclaimable_bytes: builder.per_registry(
                "reclaimable_bytes",
                "Bytes that were deleted and that the next collection can free. Absent without `gc`.",
            )?,
            deleted_uncollected_bytes: builder.per_registry(
                "deleted_uncollected_bytes",
                "Bytes that were deleted in a registry without `gc`, which regsweep does not collect. Whether \
                 something else has freed them is unknown. Absent with `gc`.",
            )?,
            registry_requests_total: builder.counters(
                "registry_requests_total",
                "Requests to the registry and its token service, by method and status (`error` without a complete \
                 answer, `other` for a status without a name).",
                &["registry", "method", "code"],
            )?,
            registry_request_duration_seconds: builder.histograms(
                "registry_request_duration_seconds",
                "How long requests to the registry and its token service took, in seconds.",
                &["registry", "method"],
                &REQUEST_SECONDS,
            )?,
            registry_retries_total: builder.counters(
                "registry_retries_total",
                "Requests that were repeated.",
                &["registry"],
            )?,
            registry: builder.registry,
        })
    }

    /// The gauges with only the label `registry` that start at zero, because zero is their true value then.
    pub(super) fn gauges(&self) -> [&IntGaugeVec; 6] {
        [
            &self.registry_stopped,
            &self.last_run_timestamp_seconds,
            &self.last_success_timestamp_seconds,
            &self.next_run_timestamp_seconds,
            &self.run_started_timestamp_seconds,
            &self.gc_last_success_timestamp_seconds,
        ]
    }

    /// The gauges with only the label `registry` that exist only once their value is known.
    pub(super) fn gauges_once_known(&self) -> [&IntGaugeVec; 14] {
        [
            &self.registry_up,
            &self.repositories,
            &self.tags,
            &self.manifests,
            &self.referenced_bytes,
            &self.expired_manifests,
            &self.expired_bytes,
            &self.held_back_manifests,
            &self.held_back_bytes,
            &self.run_timeout_seconds,
            &self.gc_last_run_successful,
            &self.gc_next_timestamp_seconds,
            &self.reclaimable_bytes,
            &self.deleted_uncollected_bytes,
        ]
    }

    /// The counters with only the label `registry`.
    pub(super) fn counters(&self) -> [&IntCounterVec; 3] {
        [&self.reclaimed_bytes_total, &self.reclaimed_blobs_total, &self.registry_retries_total]
    }

    /// The histograms with only the label `registry`.
    pub(super) fn histograms(&self) -> [&HistogramVec; 3] {
        [&self.run_duration_seconds, &self.gc_duration_seconds, &self.gc_downtime_seconds]
    }
}

/// Creates metrics with the prefix and registers them.
struct Builder {
    registry: Registry,
}

impl Builder {
    fn register(&self, collector: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(collector))
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::with_opts(options(name, help))?;
        self.register(gauge.clone())?;
        Ok(gauge)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        let gauges = IntGaugeVec::new(options(name, help), labels)?;
        self.register(gauges.clone())?;
        Ok(gauges)
    }

    fn per_registry(&self, name: &str, help: &str) -> Result<IntGaugeVec, prometheus::Error> {
        self.gauges(name, help, &["registry"])
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(options(name, help), labels)?;
        self.register(counters.clone())?;
        Ok(counters)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts { common_opts: options(name, help), buckets: buckets.to_vec() };
        let histograms = HistogramVec::new(options, labels)?;
        self.register(histograms.clone())?;
        Ok(histograms)
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("regsweep")
}
