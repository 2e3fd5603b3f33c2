//! The service: runs and collections at their times, reloads, signals, and what others see of it.
//!
//! Only here is it decided when something begins. What a run does is decided in [`crate::run`].

mod active_config;
mod attempts;
mod collecting;
mod contacts;
mod docker;
mod interrupted;
mod jobs;
mod names;
mod past;
mod recovery;
mod running;
mod schedule;
mod service;
mod systemd;
mod timer;
mod undo;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::{self, Config, Env};
use crate::http::{self, AdminRequest, Clock, ServerLimits};
use active_config::ActiveConfig;
use schedule::Times;
use service::Service;
use timer::Timer;

pub use docker::DockerDefaults;

/// How often the loop looks around: the heartbeat, the watchdog, the configuration file.
const BEAT: Duration = Duration::from_secs(1);

/// A clock that goes back by more was set, and what was counted from its time may be far away now.
const SET_BACK: TimeDelta = TimeDelta::minutes(1);

/// Serves until it is asked to stop. `path` is where the configuration came from, and where it is read
/// again when it is no longer as it was `seen` before that.
pub async fn serve(
    config: Config,
    path: &Path,
    seen: Option<Vec<u8>>,
    env: Env<'_>,
    clock: Clock,
) -> anyhow::Result<()> {
    // Jobs share this thread, side by side as far as they wait for registries. The web server and the
    // connections have the others, so it answers whatever a run computes.
    LocalSet::new().run_until(serve_here(config, path, seen, env, clock)).await
}

async fn serve_here(
    config: Config,
    path: &Path,
    mut seen: Option<Vec<u8>>,
    env: Env<'_>,
    clock: Clock,
) -> anyhow::Result<()> {
    let open = |kind| signal(kind).context("signals cannot be received");
    let mut terminate = open(SignalKind::terminate())?;
    let mut interrupt = open(SignalKind::interrupt())?;
    let mut hangup = open(SignalKind::hangup())?;
    let service = Service::open(&config, env, clock.clone())?;
    let listener = tokio::net::TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("{} cannot be listened on", config.listen))?;
    tracing::info!(listen = %config.listen, config = %path.display(), "serving");
    config.advice().iter().for_each(|advice| tracing::warn!("{advice}"));
    let mut active = ActiveConfig::begin(config, &service)?;
    let mut timer = Timer::start().await?;
    let mut times = Times::of(&active, &service);
    // Only now: a counter that is seen before it has gone on from the state looks like one that jumps.
    let (status_store, metrics) = (service.status_store.clone(), service.metrics.clone());
    let (admin, mut asked) = http::Admin::new();
    admin.set_token(active.config.admin_token.clone());
    let router = http::router(status_store, metrics, service.state.clone(), admin.clone(), clock.clone());
    let (finish, finished) = oneshot::channel::<()>();
    let web = tokio::spawn(http::serve(listener, router, ServerLimits::default(), async {
        // An error means that the sender is gone, which is an end as well.
        let _ = finished.await;
    }));
    service.put_in_force(&active);
    service.recover(&active);
    service.make_up(&active);
    service.look_first(&active);
    systemd::ready(&active.status());
    let mut held_up = None;
    let mut missing = false;
    let mut last = clock();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        if let Err(error) = timer.arm(times.first(), clock()).await {
            let error = format!("{error:#}");
            tracing::error!(%error, "no run begins by itself until a time can be armed: trying again");
        }
        let reload = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => true,
            Some(ask) = asked.recv() => {
                match ask {
                    AdminRequest::Run { registry, limits, reply: answer } => {
                        let begun = service.begin_asked(&active, registry.as_deref(), limits);
                        // Whoever asked may have gone away.
                        let _ = answer.send(begun);
                    }
                    AdminRequest::Undo(undo) => service.begin_undo(&active, undo),
                }
                false
            }
            () = timer.rung() => {
                times.due(&active, &service).iter().for_each(|job| service.begin(job));
                false
            }
            _ = beat.tick() => {
                let before = std::mem::replace(&mut last, clock());
                if before - last > SET_BACK {
                    tracing::warn!(before = %before, now = %last, "the clock was set back, so all times are computed anew");
                    times = Times::of(&active, &service);
                    service.arm_collections(&active);
                }
                service.status_store.heartbeat(last);
                systemd::alive();
                service.begin_what_waited();
                service.ask_registries(&active);
                let now = config::read_bytes(path).ok();
                // Some editors take a file away for a moment before they write it anew.
                let is_other = now != seen && (now.is_some() || missing);
                missing = now.is_none();
                is_other
            }
        };
        if reload {
            systemd::reloading();
            seen = config::read_bytes(path).ok();
            match reloaded(path, env, &service) {
                Ok(next) => {
                    // What is due by now would not be among the times of what comes after.
                    let due = times.due(&active, &service);
                    service.forget(&active, &next);
                    tell_what_waits_for_a_restart(&active.config, &next.config);
                    admin.set_token(next.config.admin_token.clone());
                    active = next;
                    service.put_in_force(&active);
                    times = Times::of(&active, &service);
                    // A registry that is new here may have been left stopped by a process before us.
                    service.recover(&active);
                    due.iter().for_each(|job| service.begin(job));
                    service.look_first(&active);
                    held_up = None;
                    active.config.advice().iter().for_each(|advice| tracing::warn!("{advice}"));
                    tracing::info!("the configuration was loaded again");
                }
                Err(refused) => {
                    if matches!(refused, Refused::ForNow(_)) {
                        // It is tried again at the next beat.
                        seen = None;
                    }
                    if !(matches!(refused, Refused::ForNow(_)) && held_up.as_ref() == Some(&refused)) {
                        refused.tell(&service);
                    }
                    held_up = Some(refused);
                }
            }
            systemd::ready(&active.status());
        }
    }
    tracing::info!("stopping: no run begins any more, and what is under way comes to a safe end");
    systemd::stopping();
    // Who asks for a run now hears that there is none.
    drop(asked);
    timer.stop().await;
    service.stop.request();
    // And so does who asked for an undo that has not begun.
    service::lock(&service.undos).clear();
    let mut waiting = tokio::time::interval(BEAT);
    let mut asked = Instant::now();
    while service.is_busy() {
        waiting.tick().await;
        service.status_store.heartbeat(clock());
        systemd::alive();
        if asked.elapsed() > Duration::from_secs(10) {
            systemd::needs_more_time();
            asked = Instant::now();
        }
    }
    drop(finish);
    web.await.context("the web server failed")
}

/// Why a configuration is not in force.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// It is bad.
    Bad(String),
    /// It has to wait for something.
    ForNow(String),
}

impl Refused {
    fn bad(error: impl Into<anyhow::Error>) -> Self {
        Self::Bad(format!("{:#}", error.into()))
    }

    fn tell(&self, service: &Service) {
        match self {
            Self::Bad(error) => {
                tracing::error!(%error, "the configuration is bad, so the one before stays in force");
                service.reload_failed(error);
            }
            Self::ForNow(why) => {
                tracing::warn!("the configuration waits, and the one before stays in force: {why}");
                service.reload_failed(why);
            }
        }
    }
}

fn reloaded(path: &Path, env: Env<'_>, service: &Arc<Service>) -> Result<Arc<ActiveConfig>, Refused> {
    let config = config::load(path, env).map_err(Refused::bad)?;
    match service.held_up(&config).map_err(Refused::bad)? {
        Some(why) => Err(Refused::ForNow(why)),
        None => ActiveConfig::begin(config, service).map_err(Refused::bad),
    }
}

/// What a reload cannot change is said, rather than left to be found out.
fn tell_what_waits_for_a_restart(before: &Config, now: &Config) {
    if before.listen != now.listen || before.state_dir != now.state_dir {
        tracing::warn!("a change of `listen` or `state_dir` takes effect after a restart");
    }
}
