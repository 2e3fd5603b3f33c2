//! The service: it starts runs and collections at their times, reloads its configuration, and stops on a signal.
//!
//! It decides when a job starts. What a job does is the duty of [`crate::run`] and [`crate::gc`].

mod activation;
mod active_config;
mod collection_job;
mod collection_retry;
mod collection_times;
mod collections;
mod config_file;
mod dispatcher;
mod history;
mod interrupted_runs;
mod job_queue;
mod main_loop;
mod next_starts;
mod probe;
mod reachability;
mod recovery_job;
mod registry_names;
mod reload;
mod run_job;
mod schedule;
mod service;
mod systemd;
mod timer;
mod undo_job;
mod undo_queue;

use std::path::Path;

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::config::{Config, Env};
use crate::http::{self, Clock, ServerLimits};
use config_file::ConfigFile;
use main_loop::{MainLoop, Signals};
use service::Service;

/// Serves until a signal stops it. `path` is the configuration file, which is loaded again when its content differs from
/// `seen`.
pub async fn serve(
    config: Config,
    path: &Path,
    seen: Option<Vec<u8>>,
    env: Env<'_>,
    clock: Clock,
) -> anyhow::Result<()> {
    // All jobs run on this thread and take turns while they wait for registries. The web server has threads of its own, so
    // that it answers while a run computes.
    LocalSet::new().run_until(serve_here(config, ConfigFile::new(path, seen), env, clock)).await
}

async fn serve_here(config: Config, file: ConfigFile<'_>, env: Env<'_>, clock: Clock) -> anyhow::Result<()> {
    let signals = Signals::new()?;
    let service = Service::open(&config, env, clock.clone())?;
    let listener = tokio::net::TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    tracing::info!(listen = %config.listen, config = %file.path().display(), "serving");
    let active = activation::prepare(&service, config)?;
    let (admin, requests) = http::Admin::new();
    let main_loop = MainLoop::new(service.clone(), active, file, env, admin.clone()).await?;
    // Only now: a scrape before the counters continue from the state would see them jump.
    let (status_store, metrics) = (service.status_store.clone(), service.metrics.clone());
    let router = http::router(status_store, metrics, service.state.clone(), admin, clock);
    let (finish, finished) = oneshot::channel::<()>();
    let web = tokio::spawn(http::serve(listener, router, ServerLimits::default(), async {
        // An error means that the sender was dropped, which ends the server as well.
        let _ = finished.await;
    }));
    main_loop.run(signals, requests).await;
    drop(finish);
    web.await.context("the web server failed")
}
