//! `make soak`: a real registry, a real service, whoever pushes, and everything that can go wrong between
//! them, all at once and at random: `soak <regsweep>`, with `SOAK_SECONDS` and `SOAK_SEED`.
//!
//! It ends with 1 and names what was broken, if anything was. Then its files are kept.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a soak that cannot go on panics, like a test")]
#![allow(clippy::print_stdout, reason = "this is the face of the soak")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod audit;
mod chaos;
mod check;
mod ending;
mod host;
mod model;
mod pusher;
mod report;
mod service;
mod watch;
mod weather;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use fastrand::Rng;
use tokio::sync::{Mutex, RwLock};

use host::Host;
use model::Model;
use report::{Promise, Report};
use service::{Service, Variant};
use weather::Weather;

/// Whoever pushes at one time.
const PUSHERS: u64 = 4;
/// Whoever checks at one time.
const CHECKERS: u64 = 2;
/// How long everything goes on between two quiet moments.
const BETWEEN_AUDITS: Duration = Duration::from_secs(45);

/// Everything that the parts of a soak share.
pub struct Soak {
    folder: PathBuf,
    host: Host,
    weather: Weather,
    model: Model,
    report: Arc<Report>,
    service: Mutex<Service>,
    /// For pulls and for deletions by others, straight to the registry.
    puller: reqwest::Client,
    /// Held by whoever pushes or disturbs, for as long as that takes; whoever wants peace waits for it.
    work: RwLock<()>,
    /// One for each repository: shared by pushes, alone for a deletion by others.
    gates: BTreeMap<&'static str, RwLock<()>>,
    over: AtomicBool,
}

impl Soak {
    fn new(program: &Path, folder: &Path, seed: u64) -> Self {
        let host = Host::start(folder);
        let report = Arc::new(Report::new());
        // So that there is time to meet it in the middle of its work.
        host.dawdle(0.4, 0.3);
        let weather = Weather::before(&host.address(), seed, report.clone());
        let service = Service::new(program, folder, weather.proxy.url(), host.commands());
        Self {
            folder: folder.to_owned(),
            host,
            weather,
            model: Model::default(),
            report,
            service: Mutex::new(service),
            puller: reqwest::Client::builder().no_proxy().user_agent("soak-other").build().unwrap(),
            work: RwLock::default(),
            gates: pusher::REPOSITORIES.map(|name| (name, RwLock::default())).into(),
            over: AtomicBool::new(false),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Starts the service, which has to come up.
    async fn up(&self, service: &mut Service) {
        if let Err(why) = service.start().await {
            self.report.broken(Promise::Alive, why);
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
    let whole = runtime.block_on(async {
        tokio::select! {
            done = tokio::spawn(soaked(soak.clone(), seed, Duration::from_secs(seconds))) => done.is_ok(),
            _ = asked_to_stop() => false,
        }
    });
    runtime.block_on(async { soak.service.lock().await.kill() });
    soak.host.stop();
    println!("{}", soak.report.whole());
    if whole && soak.report.is_sound() {
        println!("every promise was kept in {seconds} seconds with SOAK_SEED={seed}");
        return;
    }
    std::fs::write(folder.path().join("report"), soak.report.whole()).unwrap();
    println!("not sound: look into {} or repeat it with SOAK_SEED={seed}", folder.keep().display());
    std::process::exit(1);
}

/// The whole of it.
async fn soaked(soak: Arc<Soak>, seed: u64, time: Duration) {
    let mut random = Rng::with_seed(seed);
    {
        let mut service = soak.service.lock().await;
        service.configure(&Variant::calm());
        pusher::begin(&soak, &mut random).await;
        soak.up(&mut service).await;
    }
    // From its first look on regsweep knows what was pushed since.
    ending::run_once(&soak).await;
    resume(&soak, &mut random).await;

    let mut tasks = Vec::new();
    for _ in 0..PUSHERS {
        tasks.push(tokio::spawn(pusher::run(soak.clone(), random.fork())));
    }
    for _ in 0..CHECKERS {
        tasks.push(tokio::spawn(check::run(soak.clone(), random.fork())));
    }
    tasks.push(tokio::spawn(chaos::run(soak.clone(), random.fork())));
    let watch = tokio::spawn(watch::run(soak.clone()));
    while soak.report.elapsed() < time {
        let left = time.saturating_sub(soak.report.elapsed());
        tokio::time::sleep(BETWEEN_AUDITS.min(left)).await;
        let _peace = soak.work.write().await;
        ending::settle(&soak).await;
        audit::audit(&soak).await;
        check::everything(&soak).await;
        resume(&soak, &mut random).await;
    }
    soak.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    ending::end(&soak, &mut random).await;
    watch.abort();
}

/// Back into the weather.
async fn resume(soak: &Soak, random: &mut Rng) {
    let service = soak.service.lock().await;
    service.configure(&Variant::any(random));
    service.signal("HUP");
    soak.weather.storm(true);
}

fn setting(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "this is the face of the soak")]
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// The moment.
fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "this is the face of the soak")]
    Utc::now()
}

async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}
