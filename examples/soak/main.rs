//! `make soak`: a real registry, a real service and clients that push, with faults, kills and other disturbances at
//! random: `soak <regsweep>`, with `SOAK_SECONDS` and `SOAK_SEED`.
//!
//! If a guarantee was violated, it names each violation, keeps its files and exits with 1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a soak that cannot continue panics, like a test"
)]
#![allow(clippy::print_stdout, reason = "it reports to its user")]

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod audit;
mod checker;
mod disturbances;
mod faults;
mod finish;
mod host;
mod model;
mod pusher;
mod report;
mod service;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use fastrand::Rng;
use tokio::sync::{Mutex, RwLock};

use faults::FaultInjector;
use host::Host;
use model::Model;
use report::{Guarantee, Report};
use service::{Service, Variant};

/// Clients that push at the same time.
const PUSHERS: u64 = 4;
/// Clients that check at the same time.
const CHECKERS: u64 = 2;
/// The time between two audits, for which everything else pauses.
const BETWEEN_AUDITS: Duration = Duration::from_secs(45);

/// What the parts of a soak share.
pub(crate) struct Soak {
    host: Host,
    faults: FaultInjector,
    model: Model,
    report: Arc<Report>,
    service: Mutex<Service>,
    /// For pulls and for deletions by another client, directly to the registry.
    puller: reqwest::Client,
    /// Read-locked during each push and disturbance; write-locked for an audit, which waits for them.
    work: RwLock<()>,
    /// One for each repository: read-locked by pushes, write-locked by a deletion by another client.
    repository_locks: BTreeMap<&'static str, RwLock<()>>,
    over: AtomicBool,
}

impl Soak {
    fn new(program: &Path, folder: &Path, seed: u64) -> Self {
        let host = Host::start(folder);
        let report = Arc::new(Report::new());
        // Slow sweeps give the kills time to hit one.
        host.delay_sweeps(0.4, 0.3);
        let faults = FaultInjector::before(&host.address(), seed, report.clone());
        let service = Service::new(program, folder, faults.proxy.url(), host.commands());
        Self {
            host,
            faults,
            model: Model::default(),
            report,
            service: Mutex::new(service),
            puller: reqwest::Client::builder().no_proxy().user_agent("soak-other").build().unwrap(),
            work: RwLock::default(),
            repository_locks: pusher::REPOSITORIES.map(|name| (name, RwLock::default())).into(),
            over: AtomicBool::new(false),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Starts the service. That it does not start is a violation.
    async fn up(&self, service: &mut Service) {
        if let Err(why) = service.start().await {
            self.report.violation(Guarantee::Alive, why);
        }
    }
}

fn main() {
    let program = std::env::args().nth(1).expect("usage: soak <regsweep>");
    let seconds = setting("SOAK_SECONDS").unwrap_or(600);
    let seed = setting("SOAK_SEED").unwrap_or_else(|| Rng::new().u64(0..1_000_000));
    println!("SOAK_SEED={seed} SOAK_SECONDS={seconds}");
    let folder = tempfile::Builder::new().prefix("soak-").tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let program = std::fs::canonicalize(program).unwrap();
    let soak = Arc::new(Soak::new(&program, folder.path(), seed));
    let all_done = runtime.block_on(async {
        tokio::select! {
            done = tokio::spawn(soak_all(soak.clone(), seed, Duration::from_secs(seconds))) => done.is_ok(),
            _ = asked_to_stop() => false,
        }
    });
    runtime.block_on(async { soak.service.lock().await.kill() });
    soak.host.stop();
    println!("{}", soak.report.full());
    if all_done && soak.report.all_guarantees_held() {
        println!("every guarantee held for {seconds} seconds with SOAK_SEED={seed}");
        return;
    }
    std::fs::write(folder.path().join("report"), soak.report.full()).unwrap();
    println!("a guarantee was violated: see {}, or repeat it with SOAK_SEED={seed}", folder.keep().display());
    std::process::exit(1);
}

/// Pushes, disturbs, checks and audits for this long, and then finishes.
async fn soak_all(soak: Arc<Soak>, seed: u64, time: Duration) {
    let mut random = Rng::with_seed(seed);
    {
        let mut service = soak.service.lock().await;
        service.configure(&Variant::manual_only());
        pusher::push_initial_images(&soak, &mut random).await;
        soak.up(&mut service).await;
    }
    // After its first scan regsweep knows which images are pushed later.
    finish::run_once(&soak).await;
    resume(&soak, &mut random).await;

    let mut tasks = Vec::new();
    for _ in 0..PUSHERS {
        tasks.push(tokio::spawn(pusher::run(soak.clone(), random.fork())));
    }
    for _ in 0..CHECKERS {
        tasks.push(tokio::spawn(checker::run(soak.clone(), random.fork())));
    }
    tasks.push(tokio::spawn(disturbances::run(soak.clone(), random.fork())));
    let watch = tokio::spawn(watch::run(soak.clone()));
    while soak.report.elapsed() < time {
        let left = time.saturating_sub(soak.report.elapsed());
        tokio::time::sleep(BETWEEN_AUDITS.min(left)).await;
        let _all_paused = soak.work.write().await;
        finish::pause(&soak).await;
        audit::audit(&soak).await;
        checker::everything(&soak).await;
        resume(&soak, &mut random).await;
    }
    soak.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    finish::finish(&soak, &mut random).await;
    watch.abort();
}

/// Starts the faults again, with another configuration.
async fn resume(soak: &Soak, random: &mut Rng) {
    let service = soak.service.lock().await;
    service.configure(&Variant::any(random));
    service.signal("HUP");
    soak.faults.start();
}

fn setting(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "it reports to its user")]
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// The present moment.
fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "it reports to its user")]
    Utc::now()
}

async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}
