//! `make bench`: times `regsweep plan` on large stores, beside a load generator that sends the same requests and a
//! shell loop over `skopeo inspect`; and `regsweep run` beside a plain loop of deletions:
//! `bench <regsweep> plans|deletions [size]...`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails panics, like a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it reports to its user")]

#[path = "../support/mod.rs"]
mod support;

mod deleting;
mod filling;
mod load;
mod measure;
mod table;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use filling::Filled;
use load::{Load, Scan};
use measure::{PlanCost, plan, skopeo_loop};
use support::real_registry::RealRegistry;
use table::{Row, machine};

/// Requests in flight at one time, of regsweep (its default) and of the load generator alike.
const CONCURRENCY: usize = 16;
/// Tags that the shell loop inspects; its time is scaled to all tags.
const LOOPED: usize = 200;

/// The running registry. It is static so that its storage, which is large and in memory, is removed at every end.
static REGISTRY: Mutex<Option<RealRegistry>> = Mutex::new(None);

/// What is measured, with which program and at which sizes.
type Measure = fn(&Path, &[usize]);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bench <regsweep> plans|deletions [size]...";
    let program = arguments.next().expect(usage);
    let (measure, default): (Measure, Vec<usize>) = match arguments.next().as_deref() {
        Some("plans") => (measure_plans, vec![1_000, 10_000, 100_000]),
        Some("deletions") => (measure_deletions, vec![100, 1_000, 4_000]),
        _ => panic!("{usage}"),
    };
    let sizes: Vec<usize> = arguments.map(|size| size.parse().expect("a number")).collect();
    let sizes = if sizes.is_empty() { default } else { sizes };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = runtime.block_on(async {
        tokio::select! {
            done = tokio::task::spawn_blocking(move || measure(Path::new(&program), &sizes)) => {
                i32::from(done.is_err())
            }
            _ = asked_to_stop() => 130,
        }
    });
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).take();
    std::process::exit(status);
}

fn measure_plans(program: &Path, sizes: &[usize]) {
    println!("{}\n", machine());
    let rows: Vec<Row> = sizes.iter().flat_map(|&tags| measure_size(program, tags)).collect();
    println!("{}", table::markdown(&rows, LOOPED));
}

fn measure_deletions(program: &Path, sizes: &[usize]) {
    println!("{}\n", machine());
    let all = deleting::TAGS.iter().flat_map(|&tags| sizes.iter().map(move |&deletions| (tags, deletions)));
    let rows: Vec<deleting::Row> =
        all.map(|(tags, deletions)| deleting::measure(program, tags, deletions)).collect();
    println!("{}", deleting::markdown(&rows));
}

/// The rows of one size: cold and warm.
fn measure_size(program: &Path, tags: usize) -> [Row; 2] {
    let registry = RealRegistry::options().in_memory().quiet().start();
    let (url, host, path) = (registry.url(), registry.host(), registry.store_path());
    *REGISTRY.lock().unwrap() = Some(registry);
    let begin = Instant::now();
    let filled = Filled::write(&path, tags, now());
    eprintln!("{tags} tags: written in {:.1} s", begin.elapsed().as_secs_f64());

    let folder = path.with_file_name("bench");
    std::fs::create_dir(&folder).unwrap();
    let loads = [Scan::Cold, Scan::Warm].map(|scan| Load::new(&folder, scan, &filled));
    for load in &loads {
        load.check(&url);
    }
    let mut rows = [Scan::Cold, Scan::Warm].map(|scan| Row::new(tags, scan));
    // The largest takes minutes.
    let rounds = if tags < 100_000 { 3 } else { 1 };
    for round in 0..rounds {
        let state = folder.join(format!("state-{round}"));
        // A plan does not create a state.
        drop(regsweep::state::State::open(&state).unwrap());
        for (row, load) in rows.iter_mut().zip(&loads) {
            row.sent = load.requests();
            row.load.push(load.run(&url));
            let ran = plan(program, &url, &folder, &state);
            report(row, &ran);
            row.ran.push(ran);
        }
    }
    let looped = skopeo_loop(&host, &filled, LOOPED.min(tags));
    rows[0].looped = Some(looped * u32::try_from(tags).unwrap() / u32::try_from(LOOPED.min(tags)).unwrap());
    REGISTRY.lock().unwrap().take();
    rows
}

fn report(row: &Row, ran: &PlanCost) {
    let (load, wall) = (row.load.last().unwrap().as_secs_f64(), ran.wall.as_secs_f64());
    let (cpu, peak) = (ran.cpu.as_secs_f64(), ran.peak_kib / 1024);
    eprintln!(
        "{} tags, {}: load generator {load:.2} s, regsweep {wall:.2} s, {cpu:.2} s of CPU, {peak} MiB",
        row.tags,
        row.scan.name(),
    );
}

fn now() -> chrono::DateTime<chrono::Utc> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    chrono::Utc::now()
}

async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}
