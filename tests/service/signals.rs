//! A service that is asked to stop.

use std::time::{Duration, Instant};

use crate::support::engine::{Contained, Engine};
use crate::support::gate::{Behind, Gate};
use crate::world::{Commands, EACH_SECOND, Host, NEVER, Place, before_container, contained, fill, until};

/// Asked to stop between two deletions: the one under way is finished, and nothing begins.
async fn in_a_run(signal: &str) {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let gate = Gate::before(&host.registry.host(), 2);
    let lines = host.lines().replace(&host.registry.url(), &gate.url());
    let place = Place::new(EACH_SECOND, &[lines]);
    let serving = place.serve().await;
    tokio::task::block_in_place(|| gate.wait_until_held());
    serving.signal(signal);
    serving.until_logged("stopping: no run begins any more").await;
    gate.release();
    let (code, log) = serving.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!((filled.left(), place.total("deleted_manifests")), (2, 2));
    assert!(!log.contains("the collection begins") && filled.freed() == 0, "{log}");
    assert_eq!(place.number("SELECT count(*) FROM run WHERE finished IS NULL"), 0);
    // The next one does the rest, and collects all of it.
    let serving = place.serve().await;
    filled.settled(&place, serving, &host.registry.host()).await;
    assert_eq!(place.total("deleted_manifests"), 4);
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
async fn what_a_stopped_run_deleted_last_is_collected_by_the_next() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let gate = Gate::before(&host.registry.host(), 4);
    let lines = host.lines().replace(&host.registry.url(), &gate.url());
    let place = Place::new(EACH_SECOND, &[lines]);
    let serving = place.serve().await;
    tokio::task::block_in_place(|| gate.wait_until_held());
    serving.signal("TERM");
    serving.until_logged("stopping: no run begins any more").await;
    gate.release();
    assert_eq!(serving.ended().await.0, Some(0));
    assert_eq!((filled.left(), filled.freed()), (0, 0));
    let serving = place.serve().await;
    filled.settled(&place, serving, &host.registry.host()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_a_collection_end_and_the_registry_is_back() {
    let Some(engine) = Engine::shared() else { return };
    let container = Contained::default().start(engine).await;
    let filled = fill(&container.url(), container.store().await).await;
    let gate = before_container(engine, 3);
    let lines = contained(&container.url(), &gate.url(), &container, "offline");
    let place = Place::new(EACH_SECOND, &[lines]);
    let serving = place.serve().await;
    tokio::task::block_in_place(|| gate.wait_until_held());
    assert!(!container.state().await.0);
    serving.signal("TERM");
    serving.until_logged("stopping: no run begins any more").await;
    gate.release();
    let (code, log) = serving.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(container.answers_now().await && filled.is_swept());
    assert_eq!((place.total("reclaimed_bytes"), place.open_ends()), (filled.freed(), (0, 0)));
    filled.assert_sound(&container.host()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_by_its_own_schedule_does_not_begin_after_sigterm() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let url = format!("{}/v2/team/app/manifests/{}", host.registry.url(), filled.old[0].digest);
    assert!(reqwest::Client::new().delete(url).send().await.unwrap().status().is_success());
    let gate = Gate::holding(Behind::Host(host.registry.host()), |bytes| {
        String::from_utf8_lossy(bytes).starts_with("GET /v2/team/app/manifests/")
    });
    let lines = host.lines().replace(&host.registry.url(), &gate.url());
    let lines = lines.replace("gc:\n", &format!("gc:\n  schedule: '{EACH_SECOND}'\n"));
    let place = Place::new(NEVER, &[lines]);
    let serving = place.serve().await;
    tokio::task::block_in_place(|| gate.wait_until_held());
    serving.signal("TERM");
    serving.until_logged("stopping: no run begins any more").await;
    gate.release();
    let (code, log) = serving.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("the collection begins") && filled.freed() == 0, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_does_not_wait_for_a_registry_that_is_gone() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let place = Place::new(EACH_SECOND, &[format!("url: http://{closed}")]);
    let serving = place.serve().await;
    serving.until_at_least("runs_total", &["outcome=\"failed\""], 1.0).await;
    // The next run finds that nothing has answered for so often, and waits for a minute.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let begin = Instant::now();
    let log = serving.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(20), "{log}");
    assert!(log.contains("the run was stopped before it had read everything"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_dry_run_at_once_and_the_registry_is_not_stopped() {
    let commands = Commands::new().await;
    let place = Place::new(EACH_SECOND, &[commands.lines("", "touch $0-ran", "")]);
    let looks = commands.file("looks");
    std::fs::write(commands.file("program"), format!("echo $$ >{}; sleep 600", looks.display())).unwrap();
    let serving = place.serve().await;
    until("it looks", async || std::fs::read_to_string(&looks).is_ok_and(|text| text.contains('\n'))).await;
    serving.signal("TERM");
    let (code, log) = serving.ended().await;
    assert_eq!(code, Some(0), "{log}");
    let process = std::fs::read_to_string(&looks).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}/exe", process.trim())).exists());
    assert!(reqwest::get(format!("{}/v2/", commands.host.registry.url())).await.is_ok());
    assert!(!commands.file("after-ran").exists() && commands.filled.freed() == 0);
    assert_eq!((place.open_ends(), place.number("SELECT count(*) FROM collection")), ((0, 0), 1));
}
