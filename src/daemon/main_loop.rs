//! The main loop of the service: it waits for signals, requests, scheduled times and changes of the configuration.
//!
//! It starts jobs through the dispatcher and does none of their work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior};

use super::active_config::ActiveConfig;
use super::config_file::ConfigFile;
use super::reload::{self, ReloadError};
use super::schedule::ScheduledTimes;
use super::service::{Service, lock};
use super::timer::Timer;
use super::{activation, collections, dispatcher, next_starts, probe, systemd};
use crate::config::Env;
use crate::http::{Admin, AdminRequest};

/// The interval of the heartbeat, the systemd watchdog, and the check of the configuration file.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// If the clock goes back by more than this, all scheduled times are computed again.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// How often systemd is asked for more time while running jobs end.
const EXTEND_INTERVAL: Duration = Duration::from_secs(10);

/// The signals that the service handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        let open = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
            hangup: open(SignalKind::hangup())?,
        })
    }
}

/// The main loop and what it alone needs.
pub(super) struct MainLoop<'a> {
    service: Arc<Service>,
    active: Arc<ActiveConfig>,
    file: ConfigFile<'a>,
    env: Env<'a>,
    admin: Admin,
    times: ScheduledTimes,
    timer: Timer,
    last_heartbeat: DateTime<Utc>,
    /// Why the last reload failed, if it did.
    reload_error: Option<ReloadError>,
}

impl<'a> MainLoop<'a> {
    /// Computes the first scheduled times. No job starts yet.
    pub(super) async fn new(
        service: Arc<Service>,
        active: Arc<ActiveConfig>,
        file: ConfigFile<'a>,
        env: Env<'a>,
        admin: Admin,
    ) -> anyhow::Result<Self> {
        log_advice(&active);
        admin.set_token(active.config.admin_token.clone());
        let (timer, last_heartbeat) = (Timer::start().await?, service.now());
        let times = ScheduledTimes::new(&active, last_heartbeat);
        next_starts::show_all(&service, &active, &times);
        Ok(Self { service, active, file, env, admin, times, timer, last_heartbeat, reload_error: None })
    }

    /// Runs until a signal stops the service and all jobs have ended.
    pub(super) async fn run(mut self, mut signals: Signals, mut requests: UnboundedReceiver<AdminRequest>) {
        self.service.set_active(&self.active);
        dispatcher::start_recoveries(&self.service, &self.active);
        dispatcher::repeat_interrupted(&self.service, &self.active);
        dispatcher::start_first_plans(&self.service, &self.active);
        systemd::ready(&self.active.status());
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            if let Err(error) = self.timer.arm(self.times.first(), self.service.now()).await {
                let error = format!("{error:#}");
                tracing::error!(%error, "the timer cannot be set, so no scheduled job starts: trying again");
            }
            let reload = tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hangup.recv() => true,
                Some(request) = requests.recv() => {
                    self.handle(request);
                    false
                }
                () = self.timer.fired() => {
                    self.start_scheduled();
                    false
                }
                _ = heartbeat.tick() => {
                    self.beat();
                    self.file.has_changed()
                }
            };
            if reload {
                systemd::reloading();
                self.reload();
                systemd::ready(&self.active.status());
            }
        }
        tracing::info!("stopping: no new job starts, and running jobs end safely");
        systemd::stopping();
        // Requests for a run get the answer that the service is stopping.
        drop(requests);
        self.stop().await;
    }

    fn handle(&self, request: AdminRequest) {
        match request {
            AdminRequest::Run { registry, limits, reply } => {
                let registry = registry.as_deref();
                let runs = dispatcher::start_requested(&self.service, &self.active, registry, limits);
                // The client may have disconnected.
                let _ = reply.send(runs);
            }
            AdminRequest::Undo(request) => dispatcher::start_undo(&self.service, &self.active, request),
        }
    }

    fn start_scheduled(&mut self) {
        let due = self.times.take_due(&self.active, self.service.now());
        if !due.is_empty() {
            next_starts::show_all(&self.service, &self.active, &self.times);
        }
        due.iter().for_each(|job| dispatcher::start_scheduled(&self.service, job));
    }

    fn beat(&mut self) {
        let now = self.service.now();
        let before = std::mem::replace(&mut self.last_heartbeat, now);
        if before - now > CLOCK_TOLERANCE {
            tracing::warn!(before = %before, now = %now, "the clock was set back, so all scheduled times are computed again");
            self.times = ScheduledTimes::new(&self.active, now);
            next_starts::show_all(&self.service, &self.active, &self.times);
            collections::update_all(&self.service, &self.active);
        }
        self.service.status_store.heartbeat(now);
        systemd::alive();
        dispatcher::start_due_collections(&self.service);
        probe::start_due(&self.service, &self.active);
    }

    fn reload(&mut self) {
        self.file.mark_loaded();
        match reload::load(self.file.path(), self.env, &self.service) {
            Ok(next) => self.activate(next),
            Err(error) => {
                let is_postponed = matches!(error, ReloadError::Postponed(_));
                if is_postponed {
                    self.file.load_again();
                }
                // A postponed configuration fails at each heartbeat until the job ends: once is enough.
                if !(is_postponed && self.reload_error.as_ref() == Some(&error)) {
                    error.record(&self.service);
                }
                self.reload_error = Some(error);
            }
        }
    }

    fn activate(&mut self, next: Arc<ActiveConfig>) {
        let service = &self.service;
        let now = service.now();
        // What is due now by the previous configuration would be missing in the times of the new one.
        let due = self.times.take_due(&self.active, now);
        activation::remove_former(service, &self.active, &next);
        reload::warn_of_restart(&self.active.config, &next.config);
        self.admin.set_token(next.config.admin_token.clone());
        self.active = next;
        service.set_active(&self.active);
        self.times = ScheduledTimes::new(&self.active, now);
        next_starts::show_all(service, &self.active, &self.times);
        // An earlier process may have left a registry stopped that is new in this configuration.
        dispatcher::start_recoveries(service, &self.active);
        due.iter().for_each(|job| dispatcher::start_scheduled(service, job));
        dispatcher::start_first_plans(service, &self.active);
        self.reload_error = None;
        log_advice(&self.active);
        tracing::info!("the configuration was reloaded");
    }

    /// Asks the jobs to end and waits for them.
    async fn stop(self) {
        self.timer.stop().await;
        self.service.cancellation.runs.cancel();
        // The requests of queued undos get the answer that the service is stopping.
        lock(&self.service.undos).clear();
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        let mut extended = Instant::now();
        while !self.service.is_idle() {
            heartbeat.tick().await;
            self.service.status_store.heartbeat(self.service.now());
            systemd::alive();
            if extended.elapsed() > EXTEND_INTERVAL {
                systemd::extend_timeout();
                extended = Instant::now();
            }
        }
    }
}

fn log_advice(active: &ActiveConfig) {
    active.config.advice().iter().for_each(|advice| tracing::warn!("{advice}"));
}
