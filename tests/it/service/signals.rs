//! A service that a signal stops.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::harness::{
    Commands, EACH_SECOND, Host, Installation, NEVER, Serving, before_container, contained, fill, until,
};
use crate::support::docker_engine::{ContainerOptions, Engine};
use crate::support::holding_proxy::{HoldingProxy, Upstream};
use crate::support::regsweep::ProgramOutput;

/// Stopped between two deletions: the current one is finished, and no other starts.
async fn in_a_run(signal: &str) {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::before(&host.registry.host(), 2);
    let lines = host.lines().replace(&host.registry.url(), &proxy.url());
    let installation = Installation::new(EACH_SECOND, &[lines]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    serving.signal(signal);
    serving.until_logged("stopping: no new job starts").await;
    proxy.release();
    let (code, log) = serving.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!((filled.old_images_left(), installation.total("deleted_manifests")), (2, 2));
    assert!(!log.contains("the collection begins") && filled.freed() == 0, "{log}");
    assert_eq!(installation.number("SELECT count(*) FROM run WHERE finished IS NULL"), 0);
    assert_eq!(interrupted(&installation), [1]);
    // The next one does the rest, and collects all of it.
    let serving = installation.serve().await;
    filled.settled(&installation, serving, &host.registry.host()).await;
    assert_eq!(installation.total("deleted_manifests"), 4);
}

/// The numbers of runs that were interrupted.
fn interrupted(installation: &Installation) -> Vec<u64> {
    let run = "FROM run WHERE outcome = 'interrupted'";
    let numbers = [format!("SELECT min(id) {run}"), format!("SELECT max(id) {run}")]
        .map(|sql| installation.number(&sql));
    if numbers[0] == numbers[1] { vec![numbers[0]] } else { numbers.to_vec() }
}

/// The last run as the API shows it.
async fn last_run(serving: &Serving) -> serde_json::Value {
    let status = reqwest::get(format!("{}/api/v1/status", serving.url)).await.unwrap();
    let status: serde_json::Value = status.json().await.unwrap();
    status["registries"][0]["last_run"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_run_is_no_success_and_is_repeated_after_the_restart() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::before(&host.registry.host(), 2);
    let lines = host.lines().replace(&host.registry.url(), &proxy.url());
    let installation = Installation::new(EACH_SECOND, std::slice::from_ref(&lines));
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    serving.signal("TERM");
    serving.until_logged("stopping: no new job starts").await;
    proxy.release();
    let (_, log) = serving.ended().await;
    assert!(log.contains("\"outcome\":\"interrupted\""), "{log}");
    // If the next scheduled run is far away, the interrupted one is repeated, with its collection.
    installation.configure(NEVER, &[lines], "");
    let serving = installation.serve().await;
    serving.until_logged("the run that the last stop interrupted is repeated").await;
    serving.until_at_least("runs_total", &["outcome=\"success\""], 1.0).await;
    assert_eq!(serving.metric("runs_total", &[]).await, 1.0);
    filled.settled(&installation, serving, &host.registry.host()).await;
    assert_eq!((installation.total("deleted_manifests"), interrupted(&installation)), (4, vec![1]));
    // It is repeated once.
    let log = installation.serve().await.stop().await;
    assert!(!log.contains("is repeated"), "{log}");
    assert_eq!(installation.number("SELECT count(*) FROM run"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_scan_is_not_shown_as_skipped() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::holding(Upstream::Host(host.registry.host()), |bytes| {
        String::from_utf8_lossy(bytes).starts_with("GET /v2/team/app/manifests/")
    });
    let lines = host.lines().replace(&host.registry.url(), &proxy.url());
    let installation = Installation::new(EACH_SECOND, &[lines]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    serving.stop().await;
    proxy.release();
    assert_eq!((filled.old_images_left(), interrupted(&installation)), (4, vec![1]));
    // A registry without a schedule has runs only on request, so the interrupted one stays the last.
    let bare = std::fs::read_to_string(installation.config())
        .unwrap()
        .replace(&format!("schedule: '{EACH_SECOND}'\n"), "");
    installation.write(&bare);
    let serving = installation.serve().await;
    let last = last_run(&serving).await;
    assert_eq!((&last["outcome"], &last["run"]), (&"interrupted".into(), &1.into()), "{last}");
    assert!(
        last["problems"][0].as_str().unwrap().contains("was stopped before it had read everything"),
        "{last}"
    );
    let page = reqwest::get(&serving.url).await.unwrap().text().await.unwrap();
    assert!(page.contains(">interrupted<") && !page.contains("another run was running"), "{page}");
    // It is not repeated, so the alerts of the page have it; and it changed nothing.
    let trouble = page.split("<dl").next().unwrap();
    assert!(trouble.contains("Needs attention") && trouble.contains(">interrupted<"), "{page}");
    assert_eq!(last["applied"], false, "{last}");
    assert_eq!(serving.metric("last_success_timestamp_seconds", &[]).await, 0.0);
    let log = serving.stop().await;
    assert!(!log.contains("is repeated"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_run_command_is_not_repeated_by_the_service() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::before(&host.registry.host(), 2);
    let lines = host.lines().replace(&host.registry.url(), &proxy.url());
    let installation = Installation::new(NEVER, &[lines]);
    let mut command = installation.command(&["run", "--output", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    tokio::task::block_in_place(|| proxy.wait_until_held());
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let mut output = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(output.any(|line| line.unwrap().contains("stopping after the current deletion")));
    proxy.release();
    let ran = ProgramOutput::from(child.wait_with_output().unwrap()).exits(1);
    assert_eq!(ran.json()["outcome"], "interrupted", "{ran:?}");
    assert_eq!((filled.old_images_left(), interrupted(&installation)), (2, vec![1]));
    let serving = installation.serve().await;
    assert_eq!(last_run(&serving).await["outcome"], "interrupted");
    let log = serving.stop().await;
    assert!(!log.contains("is repeated") && filled.old_images_left() == 2, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_run_between_two_deletions() {
    in_a_run("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_ends_a_run_between_two_deletions() {
    in_a_run("INT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_run_is_collected_by_the_next() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::before(&host.registry.host(), 4);
    let lines = host.lines().replace(&host.registry.url(), &proxy.url());
    let installation = Installation::new(EACH_SECOND, &[lines]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    serving.signal("TERM");
    serving.until_logged("stopping: no new job starts").await;
    proxy.release();
    assert_eq!(serving.ended().await.0, Some(0));
    assert_eq!((filled.old_images_left(), filled.freed()), (0, 0));
    let serving = installation.serve().await;
    filled.settled(&installation, serving, &host.registry.host()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_a_collection_end() {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    let filled = fill(&container.url(), container.store().await).await;
    let proxy = before_container(engine, 3);
    let lines = contained(&container.url(), &proxy.url(), &container, "offline");
    let installation = Installation::new(EACH_SECOND, &[lines]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    assert!(!container.state().await.0);
    serving.signal("TERM");
    serving.until_logged("stopping: no new job starts").await;
    proxy.release();
    let (code, log) = serving.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(container.answers_now().await && filled.is_swept());
    assert_eq!(
        (installation.total("reclaimed_bytes"), installation.unfinished_recoveries()),
        (filled.freed(), (0, 0))
    );
    filled.assert_sound(&container.host()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_prevents_a_scheduled_collection() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let url = format!("{}/v2/team/app/manifests/{}", host.registry.url(), filled.old[0].digest);
    assert!(reqwest::Client::new().delete(url).send().await.unwrap().status().is_success());
    let proxy = HoldingProxy::holding(Upstream::Host(host.registry.host()), |bytes| {
        String::from_utf8_lossy(bytes).starts_with("GET /v2/team/app/manifests/")
    });
    let lines = host.lines().replace(&host.registry.url(), &proxy.url());
    let lines = lines.replace("gc:\n", &format!("gc:\n  schedule: '{EACH_SECOND}'\n"));
    let installation = Installation::new(NEVER, &[lines]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    serving.signal("TERM");
    serving.until_logged("stopping: no new job starts").await;
    proxy.release();
    let (code, log) = serving.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("the collection begins") && filled.freed() == 0, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_does_not_wait_for_an_unreachable_registry() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let installation = Installation::new(EACH_SECOND, &[format!("url: http://{closed}")]);
    let serving = installation.serve().await;
    serving.until_at_least("runs_total", &["outcome=\"failed\""], 1.0).await;
    // The next run finds the circuit breaker open and waits for a minute.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let begin = Instant::now();
    let log = serving.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(20), "{log}");
    assert!(log.contains("the run was stopped before it had read everything"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_dry_run_at_once() {
    let commands = Commands::new().await;
    let installation = Installation::new(EACH_SECOND, &[commands.lines("", "touch $0-ran", "")]);
    let looks = commands.file("looks");
    std::fs::write(commands.file("program"), format!("echo $$ >{}; sleep 600", looks.display())).unwrap();
    let serving = installation.serve().await;
    until("it looks", async || std::fs::read_to_string(&looks).is_ok_and(|text| text.contains('\n'))).await;
    serving.signal("TERM");
    let (code, log) = serving.ended().await;
    assert_eq!(code, Some(0), "{log}");
    let process = std::fs::read_to_string(&looks).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}/exe", process.trim())).exists());
    assert!(reqwest::get(format!("{}/v2/", commands.host.registry.url())).await.is_ok());
    assert!(!commands.file("after-ran").exists() && commands.filled.freed() == 0);
    assert_eq!(
        (installation.unfinished_recoveries(), installation.number("SELECT count(*) FROM collection")),
        ((0, 0), 1)
    );
}
