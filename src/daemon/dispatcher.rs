//! Starts jobs: one of a registry at a time, registries side by side.
//!
//! Only here it is decided whether a job starts, waits or is skipped.

use std::sync::Arc;

use super::activation;
use super::active_config::ActiveConfig;
use super::collection_job;
use super::interrupted_runs;
use super::job_queue::{Admission, JobKind};
use super::recovery_job;
use super::run_job;
use super::schedule::ScheduledJob;
use super::service::{Service, lock};
use super::undo_job;
use crate::http::{HistoryEntry, RunEntry, StartedRuns, UndoRequest};
use crate::policy::Mode;
use crate::report::{CollectionReport, moment};
use crate::run::LimitMode;

/// Starts a scheduled job or queues it. If a job of its kind is running or queued, it is counted as skipped.
pub(super) fn start_scheduled(service: &Arc<Service>, job: &ScheduledJob) {
    match job {
        ScheduledJob::Run(name) => start_run(service, name),
        ScheduledJob::Collection(name) => start_collection(service, name),
    }
}

fn start_run(service: &Arc<Service>, name: &str) {
    match start(service, name, JobKind::Run(LimitMode::Enforced)) {
        Admission::Start => {}
        Admission::Queued => log_queued(name, "run"),
        Admission::AlreadyRunning | Admission::AlreadyQueued(_) => {
            tracing::warn!(registry = %name, "another run of this registry is running or queued, so this run is skipped");
            service.metrics.run_skipped(name);
            service.status_store.add_entry(HistoryEntry::Run(RunEntry::skipped(name, service.now())));
        }
    }
}

fn start_collection(service: &Arc<Service>, name: &str) {
    let skip = |why: &str| {
        service.record_collection(name, CollectionReport::skipped(service.now(), why.to_owned()));
    };
    match start(service, name, JobKind::Collection) {
        Admission::Start => {}
        Admission::Queued => log_queued(name, "collection"),
        Admission::AlreadyRunning => skip("another collection of this registry was running"),
        Admission::AlreadyQueued(since) => {
            tracing::warn!(
                registry = %name, since = moment(since),
                "a collection of this registry is still queued and the next one is due: its runs take longer than the \
                 time between two collections"
            );
            skip("another collection of this registry is queued");
        }
    }
}

fn log_queued(name: &str, job: &str) {
    tracing::info!(registry = %name, job, "another job of this registry is running, so this one is queued");
}

/// Starts the collections that are due by themselves.
pub(super) fn start_due_collections(service: &Arc<Service>) {
    let due = lock(&service.collections).take_due(service.now(), |name| service.is_busy(name));
    due.iter().for_each(|name| start_collection(service, name));
}

/// Starts the runs that a client has requested, in registries without a running job.
pub(super) fn start_requested(
    service: &Arc<Service>,
    active: &ActiveConfig,
    only: Option<&str>,
    limits: LimitMode,
) -> StartedRuns {
    let mut runs = StartedRuns::default();
    let is_requested = |name: &str| only.is_none_or(|only| only == name);
    for name in
        active.config.registries.iter().map(|registry| &registry.name).filter(|name| is_requested(name))
    {
        if service.is_busy(name) {
            runs.busy.push(name.clone());
        } else {
            let overridden = limits == LimitMode::Overridden;
            tracing::info!(registry = %name, limits_overridden = overridden, "a run was requested");
            start(service, name, JobKind::Run(limits));
            runs.started.push(name.clone());
        }
    }
    runs
}

/// Starts an undo that a client has requested. A running or queued undo of the registry includes it.
pub(super) fn start_undo(service: &Arc<Service>, active: &ActiveConfig, request: UndoRequest) {
    let run = request.run;
    if let Some(registry) = undo_job::accept(service, active, request)
        && start(service, &registry, JobKind::Undo) == Admission::Queued
    {
        tracing::info!(%registry, run, "another job of this registry is running, so the undo is queued");
    }
}

/// Starts the recovery of registries that an earlier process has left stopped.
pub(super) fn start_recoveries(service: &Arc<Service>, active: &ActiveConfig) {
    for name in recovery_job::registries_to_recover(service, active) {
        start(service, &name, JobKind::Recovery);
    }
}

/// Repeats the runs that the last stop of the service has interrupted.
pub(super) fn repeat_interrupted(service: &Arc<Service>, active: &ActiveConfig) {
    for name in interrupted_runs::registries_to_repeat(service, active) {
        tracing::info!(registry = %name, "the run that the last stop interrupted is repeated");
        start_run(service, &name);
    }
}

/// In mode plan, plans registries without a plan at once: after an installation the operator wants to see what a run would
/// delete.
pub(super) fn start_first_plans(service: &Arc<Service>, active: &ActiveConfig) {
    if active.config.mode != Mode::Plan {
        return;
    }
    for name in active.config.registries.iter().map(|registry| &registry.name) {
        match service.state.last_plan(name) {
            Ok(None) if !service.is_busy(name) => {
                tracing::info!(registry = %name, "the registry has no plan yet, so it is planned now");
                start(service, name, JobKind::Run(LimitMode::Enforced));
            }
            Ok(_) => {}
            Err(error) => tracing::error!(registry = %name, %error, "the state cannot be read"),
        }
    }
}

/// Starts a job now if no job of the registry is running, and after it the jobs that are queued by then.
fn start(service: &Arc<Service>, name: &str, kind: JobKind) -> Admission {
    let admission = lock(&service.jobs).admit(name, kind, service.now());
    if admission == Admission::Start {
        lock(&service.reachability).postpone(name, service.now());
        let slot = JobSlot { service: service.clone(), registry: name.to_owned() };
        tokio::task::spawn_local(async move { work(&slot.service, &slot.registry, kind).await });
    }
    admission
}

/// Runs a job and those queued after it.
async fn work(service: &Service, name: &str, first: JobKind) {
    let mut job = Some(first);
    while let (Some(kind), Some(active)) = (job, service.active()) {
        match kind {
            JobKind::Run(limits) => run_job::run(service, &active, name, limits).await,
            JobKind::Collection => collection_job::run(service, &active, name).await,
            JobKind::Recovery => recovery_job::run(service, name, None).await,
            JobKind::Undo => undo_job::run(service, &active, name).await,
        }
        activation::remove_if_former(service, name);
        // After a stop was requested, no job starts.
        job = lock(&service.jobs).next(name).filter(|_| !service.cancellation.runs.is_cancelled());
    }
}

/// The right to run jobs of a registry. Dropping it, also in a panic, lets the next job start.
struct JobSlot {
    service: Arc<Service>,
    registry: String,
}

impl Drop for JobSlot {
    fn drop(&mut self) {
        lock(&self.service.jobs).remove(&self.registry);
    }
}
