//! When the service collects, and when it does not.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use rusqlite::Connection;

use super::harness::{
    Commands, EACH_SECOND, FilledRegistry, Host, Installation, NEVER, Serving, fill, until,
};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::holding_proxy::HoldingProxy;
use crate::support::registry_program::registry_program;
use crate::support::regsweep::hours_ago;

/// A service, and how many heartbeats it had.
struct Watched {
    serving: Serving,
    beats: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Watched {
    async fn serve(installation: &Installation) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let beats = Arc::new(AtomicUsize::new(0));
        let count = beats.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                count.fetch_add(usize::from(&buffer[..length] == b"WATCHDOG=1\n"), Ordering::SeqCst);
            }
        });
        let mut command = installation.command(&["serve", "--log-format", "json"]);
        command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "3000000");
        Self { serving: installation.serve_by(command).await, beats, _folder: folder }
    }

    /// Waits for this number of further heartbeats: what is due by then has started.
    async fn beats(&self, more: usize) {
        let wanted = self.beats.load(Ordering::SeqCst) + more;
        until("more beats", async || self.beats.load(Ordering::SeqCst) >= wanted).await;
    }
}

/// A registry with deletions of the run command that wait for a collection, because of a short grace period.
async fn deleted(more: &str) -> (Host, FilledRegistry, Installation, String) {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let lines = host.lines().replace("gc:\n", &format!("gc:\n  grace: 1s\n{more}"));
    let installation = Installation::new(NEVER, std::slice::from_ref(&lines));
    installation.configure(NEVER, &[lines.replace("grace: 1s", "grace: 1h")], "");
    assert_eq!(installation.run(&["run", "--output", "json"]).await.exits(0).deleted().len(), 4);
    installation.configure(NEVER, std::slice::from_ref(&lines), "");
    assert_eq!(filled.freed(), 0);
    (host, filled, installation, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_below_the_minimum_is_not_repeated() {
    let (_host, filled, installation, _) = deleted("  min_reclaimable: 1GiB\n").await;
    let watched = Watched::serve(&installation).await;
    watched.serving.until_at_least("gc_runs_total", &["outcome=\"skipped\""], 1.0).await;
    watched.beats(6).await;
    assert_eq!(watched.serving.metric("gc_runs_total", &[]).await, 1.0, "{}", watched.serving.log());
    assert_eq!(filled.freed(), 0);
    watched.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_below_the_minimum_can_be_forced() {
    let (_host, filled, installation, _) = deleted("  min_reclaimable: 1GiB\n").await;
    let left = installation.run(&["gc", "--no-grace"]).await.exits(0);
    assert!(left.stdout.contains("`regsweep gc --force`"), "{}", left.stdout);
    assert_eq!(filled.freed(), 0);
    let forced = installation.run(&["gc", "--no-grace", "--force", "--output", "json"]).await.exits(0);
    assert_eq!(forced.json()["outcome"], "success");
    assert_eq!(forced.json()["bytes"], filled.freed());
    assert!(filled.freed() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_that_fails_is_retried_with_pauses() {
    let (_host, filled, installation, lines) = deleted("").await;
    let folder = tempfile::tempdir().unwrap();
    let (program, stops) = (folder.path().join("program"), folder.path().join("stops"));
    let registry = registry_program();
    let text = format!(
        "case \"$*\" in *--dry-run*) exec {registry} \"$@\" ;; esac\necho >>{}\nexit 3\n",
        stops.display()
    );
    std::fs::write(&program, text).unwrap();
    let lines = lines.replace(&format!("[{registry}, "), &format!("[sh, {}, ", program.display()));
    installation.configure(NEVER, &[lines], "");
    let watched = Watched::serve(&installation).await;
    watched.serving.until_at_least("gc_runs_total", &["outcome=\"failed\""], 1.0).await;
    watched.beats(6).await;
    assert_eq!(watched.serving.metric("gc_runs_total", &[]).await, 1.0, "{}", watched.serving.log());
    assert_eq!(std::fs::read_to_string(&stops).unwrap(), "\n");
    assert_eq!((filled.freed(), installation.unfinished_recoveries()), (0, (0, 0)));
    watched.serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_that_was_interrupted_is_retried_after_a_pause() {
    let (_host, filled, installation, lines) = deleted("").await;
    let folder = tempfile::tempdir().unwrap();
    let (program, sweeps) = (folder.path().join("program"), folder.path().join("sweeps"));
    let text = format!(
        "case \"$*\" in *--dry-run*) exec {} \"$@\" ;; esac\necho >>{}\nsleep 600\n",
        registry_program(),
        sweeps.display()
    );
    std::fs::write(&program, text).unwrap();
    let lines =
        lines.replace(&format!("[{}, ", registry_program()), &format!("[sh, {}, ", program.display()));
    installation.configure(NEVER, &[lines], "");
    let serving = installation.serve().await;
    until("a sweep", async || sweeps.exists()).await;
    serving.kill();
    let watched = Watched::serve(&installation).await;
    watched.serving.until_at_least("gc_runs_total", &["outcome=\"failed\""], 1.0).await;
    watched.beats(6).await;
    assert_eq!(std::fs::read_to_string(&sweeps).unwrap(), "\n", "{}", watched.serving.log());
    assert_eq!((filled.freed(), installation.unfinished_recoveries()), (0, (0, 0)));
    watched.serving.stop().await;
}

/// The same configuration with another mode.
fn in_mode_plan(installation: &Installation) {
    let text = std::fs::read_to_string(installation.config()).unwrap();
    installation.write(&text.replace("mode: enforce", "mode: plan"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_does_not_start_in_mode_plan() {
    let (_host, filled, installation, lines) = deleted("").await;
    // At the end of the grace, and after a run.
    installation.configure(EACH_SECOND, std::slice::from_ref(&lines), "");
    in_mode_plan(&installation);
    let watched = Watched::serve(&installation).await;
    watched.serving.until_at_least("runs_total", &["outcome=\"success\""], 2.0).await;
    watched.beats(3).await;
    assert_eq!(watched.serving.metric("gc_runs_total", &[]).await, 0.0, "{}", watched.serving.log());
    watched.serving.stop().await;
    // By a schedule of its own.
    let own = lines.replace("gc:\n", &format!("gc:\n  schedule: '{EACH_SECOND}'\n"));
    installation.configure(NEVER, &[own], "");
    in_mode_plan(&installation);
    let serving = installation.serve().await;
    serving.until_at_least("gc_runs_total", &["outcome=\"skipped\""], 2.0).await;
    let history =
        reqwest::get(format!("{}/api/v1/history", serving.url)).await.unwrap().text().await.unwrap();
    assert!(history.contains("the mode is plan"), "{history}");
    serving.stop().await;
    // By hand.
    for arguments in [["gc", "--output=table"], ["gc", "--no-grace"]] {
        let ran = installation.run(&arguments).await.exits(0);
        assert!(ran.stdout.contains("nothing was collected: the mode is plan"), "{ran:?}");
    }
    assert_eq!(filled.freed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_starts_beside_a_policy_of_mode_plan() {
    let (_host, filled, installation, _) = deleted("").await;
    let text = std::fs::read_to_string(installation.config()).unwrap();
    installation.write(&text.replace("  - name: apps\n", "  - name: apps\n    mode: plan\n"));
    let ran = installation.run(&["gc", "--no-grace", "--output", "json"]).await.exits(0);
    assert_eq!(ran.json()["bytes"].as_u64(), Some(filled.freed()), "{ran:?}");
    assert!(filled.is_swept());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_waits_for_deletions_without_an_answer() {
    let (host, filled, installation, lines) = deleted("").await;
    let (silent, digest) = (Arc::new(AtomicBool::new(true)), filled.old[0].digest.clone());
    let is_silent = silent.clone();
    let faults = FaultProxy::before(&host.registry.host(), move |seen| {
        let asks = seen.path.contains(&digest) && is_silent.load(Ordering::SeqCst);
        if asks { Fault::Status(403, None) } else { Fault::None }
    });
    let lines = lines.replace(&host.registry.url(), &faults.url());
    let own = lines.replace("gc:\n", &format!("gc:\n  schedule: '{EACH_SECOND}'\n"));
    installation.configure(NEVER, &[own], "");
    let connection = Connection::open(installation.state_dir().join("state.sqlite")).unwrap();
    let sql = "UPDATE entry SET answer = 'sent' WHERE digest = ?1";
    assert_eq!(connection.execute(sql, [&filled.old[0].digest]).unwrap(), 1);
    drop(connection);
    let ran = installation.run(&["gc", "--no-grace"]).await.exits(0);
    assert!(ran.stdout.contains("nothing was collected: deletions without an answer"), "{ran:?}");
    let serving = installation.serve().await;
    serving.until_at_least("gc_runs_total", &["outcome=\"skipped\""], 2.0).await;
    assert!(!serving.log().contains("the collection begins"), "{}", serving.log());
    assert_eq!(filled.freed(), 0);
    // The collection starts as soon as the result of the deletion is known.
    silent.store(false, Ordering::SeqCst);
    serving.until_at_least("gc_runs_total", &["outcome=\"success\""], 1.0).await;
    assert!(filled.is_swept(), "{}", serving.log());
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_and_run_that_are_due_together_take_turns() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new(NEVER, &[host.lines()]);
    let serving = installation.serve().await;
    // A time that occurs once, and late enough for the service to be ready.
    loop {
        let moment = hours_ago(0) + TimeDelta::seconds(8);
        let line = moment.format("%-S %-M %-H %-d %-m *").to_string();
        let lines = host.lines().replace("gc:\n", &format!("gc:\n  schedule: '{line}'\n"));
        let before = serving.log().matches("the configuration was reloaded").count();
        installation.configure(&line, &[lines], "");
        until("a reload", async || serving.log().matches("the configuration was reloaded").count() > before)
            .await;
        if moment - hours_ago(0) > TimeDelta::seconds(2) {
            break;
        }
    }
    serving.until_metric("runs_total", &["outcome=\"success\""], 1.0).await;
    serving.until_metric("gc_runs_total", &["outcome=\"success\""], 1.0).await;
    assert_eq!(serving.metric("runs_total", &["outcome=\"skipped\""]).await, 0.0);
    assert_eq!(serving.metric("gc_runs_total", &["outcome=\"skipped\""]).await, 0.0);
    assert_eq!(filled.old_images_left(), 0);
    let log = serving.stop().await;
    assert!(log.contains("this one is queued"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_that_waits_longer_than_its_interval_is_logged() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::before(&host.registry.host(), 2);
    let lines = host.lines().replace(&host.registry.url(), &proxy.url());
    let lines = lines.replace("gc:\n", &format!("gc:\n  schedule: '{EACH_SECOND}'\n"));
    let installation = Installation::new(EACH_SECOND, &[lines]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    serving.until_logged("is still queued and the next one is due").await;
    proxy.release();
    until("it is swept", async || filled.is_swept()).await;
    serving.until_at_least("gc_runs_total", &["outcome=\"success\""], 1.0).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_scan_ends_on_sigterm() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    // Requests for manifests get no answer within any client's timeout.
    let asked = Arc::new(AtomicBool::new(false));
    let seen_one = asked.clone();
    let faults = FaultProxy::before(&host.registry.host(), move |seen| {
        let held = seen.path.starts_with("/v2/team/app/manifests/");
        seen_one.fetch_or(held, Ordering::SeqCst);
        if held { Fault::Latency(Duration::from_secs(600)) } else { Fault::None }
    });
    let lines = host.lines().replace(&host.registry.url(), &faults.url());
    let lines = lines.replace("gc:\n", &format!("gc:\n  schedule: '{EACH_SECOND}'\n"));
    let installation = Installation::new(NEVER, &[lines]);
    let serving = installation.serve().await;
    until("a scanned", async || asked.load(Ordering::SeqCst)).await;
    let log = serving.stop().await;
    assert!(!log.contains("the collection begins") && filled.freed() == 0, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grace_that_changes_during_a_run_applies_to_its_deletions() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let proxy = HoldingProxy::before(&host.registry.host(), 2);
    let lines = host.lines().replace(&host.registry.url(), &proxy.url());
    let graced = |grace: &str| lines.replace("gc:\n", &format!("gc:\n  grace: {grace}\n"));
    let installation = Installation::new(EACH_SECOND, &[graced("10h")]);
    let serving = installation.serve().await;
    tokio::task::block_in_place(|| proxy.wait_until_held());
    installation.configure(NEVER, &[graced("1s")], "");
    serving.until_logged("the configuration was reloaded").await;
    proxy.release();
    filled.settled(&installation, serving, &host.registry.host()).await;
}

/// A registry that is neither stopped nor started for its collection.
fn runs_on(lines: &str) -> String {
    let stays = |line: &&str| !line.starts_with("    before:") && !line.starts_with("    after:");
    let lines: Vec<&str> = lines.lines().filter(stays).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collection_of_a_running_registry_needs_the_operators_permission() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let lines = runs_on(&host.lines());
    let installation = Installation::new(NEVER, std::slice::from_ref(&lines));
    let refused = installation.run(&["run"]).await.exits(78);
    assert!(refused.stderr.contains("`interruption: none`"), "{}", refused.stderr);
    assert_eq!(filled.freed(), 0);
    installation.configure(NEVER, &[lines.replace("gc:\n", "gc:\n  interruption: none\n")], "");
    assert_eq!(installation.run(&["run", "--output", "json"]).await.exits(0).deleted().len(), 4);
    assert!(filled.freed() > 0);
    assert_eq!(installation.number("SELECT count(*) FROM collection WHERE outcome = 'success'"), 1);
    assert_eq!(
        installation.number("SELECT count(*) FROM collection WHERE downtime > 0"),
        0,
        "it ran all the time"
    );
    assert_eq!(
        (installation.total("reclaimed_bytes"), installation.unfinished_recoveries()),
        (filled.freed(), (0, 0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweep_of_a_running_registry_is_ended_after_a_kill() {
    let commands = Commands::new().await;
    let sweeps = commands.file("sweeps");
    let sweep =
        format!("[ -e {0} ] || {{ echo $$ >{0}.new; mv {0}.new {0}; exec sleep 600; }}", sweeps.display());
    let lines = runs_on(&commands.lines(&sweep, "", "  interruption: none\n"));
    let installation = Installation::new(EACH_SECOND, std::slice::from_ref(&lines));
    let serving = installation.serve().await;
    until("a sweep", async || sweeps.exists()).await;
    serving.kill();
    let (stopped, open) = installation.unfinished_recoveries();
    assert!(stopped == 0 && open > 0, "{stopped} {open}");
    installation.configure(NEVER, &[lines], "");
    let serving = installation.serve().await;
    let pid = std::fs::read_to_string(&sweeps).unwrap();
    let program = format!("/proc/{}/exe", pid.trim());
    until("the cut is counted", async || installation.unfinished_recoveries() == (0, 0)).await;
    assert!(std::fs::read_link(&program).is_err(), "it goes on beside what is counted");
    assert_eq!(commands.filled.freed(), 0);
    assert_eq!(installation.number("SELECT count(*) FROM collection WHERE outcome = 'failed'"), 1);
    serving.stop().await;
}
