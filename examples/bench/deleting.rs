//! Deletions: `regsweep run` beside a plain loop that sends the same DELETE requests and nothing else.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tokio::runtime::Handle;

use super::filling::{Filled, Repository};
use super::{CONCURRENCY, REGISTRY, now};
use crate::support::real_registry::RealRegistry;

/// Tags of a repository. Distribution 2.8 reads all of them at every deletion.
pub(crate) const TAGS: [usize; 2] = [500, 5_000];
/// Repositories in which regsweep, and the loop, delete at the same time.
const REPOSITORIES: usize = 4;
/// The share of a repository that is deleted at most.
const MOST_PERCENT: usize = 80;

/// The measurements of one number of deletions in repositories of one size.
pub(crate) struct Row {
    tags: usize,
    repositories: usize,
    deletions: usize,
    /// The time of the loop.
    looped: Duration,
    /// A run that finds nothing to delete.
    idle: RunCost,
    /// A run that deletes.
    run: RunCost,
}

/// The cost of a run.
struct RunCost {
    requests: u64,
    wall: Duration,
}

/// Measures both, each on a new store of the same content.
pub(crate) fn measure(program: &Path, tags: usize, deletions: usize) -> Row {
    let repositories = deletions.div_ceil(tags * MOST_PERCENT / 100);
    let each = deletions / repositories;
    let keep = tags - each;
    let looped = on_a_new_registry(tags, repositories, |url, _, filled| delete_all(url, filled, keep));
    let (idle, run) = on_a_new_registry(tags, repositories, |url, store, filled| {
        let folder = store.with_file_name("bench");
        fs::create_dir_all(folder.join("state")).unwrap();
        // A first run, so that the next is not the first scan.
        run(program, url, &folder, tags);
        let idle = run(program, url, &folder, tags);
        let run = run(program, url, &folder, keep);
        for repository in &filled.repositories {
            let left = store.join("docker/registry/v2/repositories").join(&repository.name);
            let left = fs::read_dir(left.join("_manifests/tags")).unwrap().count();
            assert_eq!(left, keep, "{} holds so many tags after the run", repository.name);
        }
        (idle, run)
    });
    let row = Row { tags, repositories, deletions: each * repositories, looped, idle, run };
    eprintln!("{}", line(&row));
    row
}

fn on_a_new_registry<T>(
    tags: usize,
    repositories: usize,
    measure: impl FnOnce(&str, &Path, &Filled) -> T,
) -> T {
    let registry = RealRegistry::options().in_memory().quiet().metrics().start();
    let (url, store) = (registry.url(), registry.store_path());
    *REGISTRY.lock().unwrap() = Some(registry);
    let filled = Filled::write_repositories(&store, std::iter::repeat_n(tags, repositories), now());
    let measured = measure(&url, &store, &filled);
    REGISTRY.lock().unwrap().take();
    measured
}

/// Deletes everything but the youngest images of each repository.
fn delete_all(url: &str, filled: &Filled, keep: usize) -> Duration {
    let client = reqwest::Client::new();
    let delete = async |repository: &Repository| {
        for tagged in &repository.tags[keep..] {
            let url = format!("{url}/v2/{}/manifests/{}", repository.name, tagged.digest);
            let answer = client.delete(url).send().await.unwrap();
            assert_eq!(answer.status(), 202, "{}:{}", repository.name, tagged.tag);
        }
    };
    let begin = Instant::now();
    let all = stream::iter(&filled.repositories).map(delete).buffer_unordered(REPOSITORIES);
    Handle::current().block_on(all.for_each(async |()| {}));
    begin.elapsed()
}

/// Runs `regsweep run` by a rule that keeps so many images of each repository.
fn run(program: &Path, url: &str, folder: &Path, keep: usize) -> RunCost {
    let config = folder.join("config.yaml");
    let yaml = format!(
        "state_dir: {}\n\
         mode: enforce\n\
         registries: [{{ name: main, url: '{url}', concurrency: {CONCURRENCY} }}]\n\
         limits: {{ max_deletions: 1000000, max_percent: 100 }}\n\
         policies:\n\
         - name: all\n  \
           repositories: '.*'\n  \
           rules: [{{ name: recent, tags: '.*', keep: {{ newest: {keep} }} }}]\n",
        folder.join("state").display()
    );
    fs::write(&config, yaml).unwrap();
    let mut command = Command::new(program);
    command.args(["run", "--config"]).arg(&config).env("RUST_LOG", "error").env_remove("STATE_DIRECTORY");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (before, begin) = (requests(), Instant::now());
    let status = command.status().unwrap();
    let wall = begin.elapsed();
    assert!(status.success(), "{}: {status}", program.display());
    RunCost { requests: requests() - before, wall }
}

/// How many requests the registry has answered.
fn requests() -> u64 {
    REGISTRY.lock().unwrap().as_ref().unwrap().counted()
}

/// The table.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = "| tags of a repository | repositories | deletions | plain loop | `regsweep run` | ratio | its requests \
                    | a run that finds nothing to delete | its requests |\n\
                    |---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text += "\nOne round each. The loop sends one DELETE after the other, in up to four repositories at the same time as \
             regsweep does, and reads nothing.";
    text
}

fn line(row: &Row) -> String {
    format!(
        "| {} | {} | {} | {:.1} s | {:.1} s | {:.2} | {} | {:.1} s | {} |",
        row.tags,
        row.repositories,
        row.deletions,
        row.looped.as_secs_f64(),
        row.run.wall.as_secs_f64(),
        row.run.wall.div_duration_f64(row.looped),
        row.run.requests,
        row.idle.wall.as_secs_f64(),
        row.idle.requests,
    )
}
