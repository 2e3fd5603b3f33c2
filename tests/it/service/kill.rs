//! A service that is killed at each step of a run and of a collection, and started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::harness::{EACH_SECOND, FilledRegistry, Host, Installation, contained, fill, until};
use crate::support::docker_engine::{Container, ContainerOptions, Engine};
use crate::support::holding_proxy::{HoldingProxy, Upstream};
use crate::support::real_registry::RealRegistry;
use crate::support::redis::Redis;
use crate::support::registry_program::registry_program;

/// A registry with old images, a service, and proxies before the registry and before the Engine.
struct Scene {
    container: Container,
    filled: FilledRegistry,
    installation: Installation,
    proxy: HoldingProxy,
}

/// Whether a request is the one to be held.
type Choice = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// What the proxy is in front of.
enum Holds {
    Registry(Choice),
    Engine(Choice),
}

impl Scene {
    async fn new(method: &str, made: ContainerOptions, holds: Holds) -> Option<Self> {
        let engine = Engine::shared()?;
        let container = made.start(engine).await;
        let filled = fill(&container.url(), container.store().await).await;
        let (proxy, url, host) = match holds {
            Holds::Registry(holds) => {
                let proxy = HoldingProxy::holding(Upstream::Host(container.host()), holds);
                let url = proxy.url();
                (proxy, url, engine.host())
            }
            Holds::Engine(holds) => {
                let proxy = HoldingProxy::holding(Upstream::Socket(engine.socket()), holds);
                let host = proxy.url();
                (proxy, container.url(), host)
            }
        };
        let installation = Installation::new(EACH_SECOND, &[contained(&url, &host, &container, method)]);
        Some(Self { container, filled, installation, proxy })
    }

    /// Serves until the proxy holds the request, and kills the service there.
    async fn kill(&self) {
        let serving = self.installation.serve().await;
        tokio::task::block_in_place(|| self.proxy.wait_until_held());
        serving.kill();
    }

    /// Serves again until all is done, and checks the result.
    async fn settle(&self) {
        let serving = self.installation.serve().await;
        self.filled.settled(&self.installation, serving, &self.container.host()).await;
        assert!(self.container.state().await.0);
        assert!(self.container.engine.collectors(&self.container.name).await.is_empty());
    }
}

fn begins(bytes: &[u8], method: &str, parts: &[&str]) -> bool {
    let line = String::from_utf8_lossy(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default());
    line.starts_with(method) && parts.iter().all(|part| line.contains(part))
}

/// Holds the request with this number, counted from 1, to the Engine.
fn nth(number: usize, method: &'static str, part: &'static str) -> Holds {
    let mut count = 0;
    Holds::Engine(Box::new(move |bytes| {
        let is_one = begins(bytes, method, &[part]);
        count += usize::from(is_one);
        is_one && count == number
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_the_scan() {
    let holds = Holds::Registry(Box::new(|bytes| begins(bytes, "GET", &["/manifests/build-2"])));
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), holds).await else { return };
    scene.kill().await;
    assert_eq!(scene.filled.old_images_left(), 4);
    scene.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_between_two_deletions() {
    let mut count = 0;
    let holds = Holds::Registry(Box::new(move |bytes| {
        let is_one =
            begins(bytes, "DELETE", &["/manifests/sha256:"]) && !begins(bytes, "DELETE", &["000000"]);
        count += usize::from(is_one);
        count == 3
    }));
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), holds).await else { return };
    scene.kill().await;
    assert_eq!((scene.filled.old_images_left(), scene.installation.total("deleted_manifests")), (2, 2));
    scene.settle().await;
    assert_eq!(scene.installation.total("deleted_manifests"), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_before_the_collection() {
    let holds = nth(1, "GET", "/containers/");
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), holds).await else { return };
    // The service asks for leftover containers only if it may have left some.
    scene.kill().await;
    assert_eq!((scene.filled.old_images_left(), scene.installation.total("deleted_manifests")), (0, 4));
    assert_eq!((scene.filled.freed(), scene.installation.unfinished_recoveries()), (0, (0, 0)));
    scene.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_before_the_container_is_stopped() {
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), nth(1, "POST", "/stop")).await
    else {
        return;
    };
    scene.kill().await;
    assert_eq!(scene.installation.unfinished_recoveries(), (1, 0));
    assert!(scene.container.answers_now().await);
    scene.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_after_the_container_is_stopped() {
    // The second container is that of the dry run after the registry was stopped.
    let holds = nth(2, "POST", "/containers/create");
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), holds).await else { return };
    scene.kill().await;
    assert_eq!(scene.installation.unfinished_recoveries(), (1, 0));
    assert!(!scene.container.state().await.0);
    scene.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_before_the_sweep() {
    let holds = nth(3, "POST", "/containers/create");
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), holds).await else { return };
    scene.kill().await;
    assert!(scene.installation.unfinished_recoveries().1 > 0 && !scene.container.state().await.0);
    assert_eq!(scene.filled.freed(), 0);
    scene.settle().await;
}

/// Sweeps and does not end.
const ENDLESS: &str = "#!/bin/sh\ncase \"$*\" in *--dry-run*) ;;\n\
    garbage-collect*) /usr/bin/docker-registry \"$@\"; sleep 600 ;; esac\n\
    exec /usr/bin/docker-registry \"$@\"\n";

/// Kills the service during a sweep that has removed everything and does not end.
async fn in_the_sweep(method: &str) {
    let never = Holds::Engine(Box::new(|_| false));
    let contained = ContainerOptions { script: Some(ENDLESS.to_owned()), ..ContainerOptions::default() };
    let Some(scene) = Scene::new(method, contained, never).await else { return };
    let serving = scene.installation.serve().await;
    until("a sweep", async || scene.filled.is_swept()).await;
    serving.kill();
    assert_eq!(scene.installation.total("reclaimed_bytes"), 0);
    scene.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_the_sweep_of_a_stopped_registry() {
    in_the_sweep("offline").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_the_sweep_inside_the_container() {
    in_the_sweep("exec").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_between_the_sweep_and_the_start() {
    // The three collectors are started before: two dry runs and one sweep.
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), nth(4, "POST", "/start")).await
    else {
        return;
    };
    scene.kill().await;
    assert!(scene.filled.is_swept() && !scene.container.state().await.0);
    assert_eq!(scene.installation.total("reclaimed_bytes"), 0);
    scene.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_between_the_sweep_and_the_restart_inside_the_container() {
    let Some(scene) = Scene::new("exec", ContainerOptions::default(), nth(1, "POST", "/restart")).await
    else {
        return;
    };
    scene.kill().await;
    assert!(scene.filled.is_swept() && scene.container.answers_now().await);
    scene.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_between_the_start_and_its_record() {
    // The first request to the registry after the start of the container asks whether it answers.
    let deletions = Arc::new(AtomicUsize::new(0));
    let seen = deletions.clone();
    let holds = Holds::Registry(Box::new(move |bytes| {
        if begins(bytes, "DELETE", &["/manifests/sha256:"]) && !begins(bytes, "DELETE", &["000000"]) {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        seen.load(Ordering::SeqCst) == 4 && begins(bytes, "GET", &["/v2/ "])
    }));
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), holds).await else { return };
    scene.kill().await;
    assert!(scene.filled.is_swept() && scene.container.state().await.0);
    assert_eq!(scene.installation.unfinished_recoveries().0, 1);
    assert_eq!(scene.installation.total("reclaimed_bytes"), 0);
    scene.settle().await;
    // The registry is restarted once, and the freed bytes are counted once.
    assert_eq!(scene.installation.number("SELECT count(*) FROM collection WHERE bytes > 0"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_many_times() {
    let holds = nth(1, "POST", "/stop");
    let Some(scene) = Scene::new("offline", ContainerOptions::default(), holds).await else { return };
    scene.kill().await;
    // Killed while it restarts the registry as well.
    for _ in 0..3 {
        // The Docker Engine finishes a restart that was requested.
        if scene.installation.unfinished_recoveries().0 == 0 {
            break;
        }
        let serving = scene.installation.serve().await;
        until("it looks after the registry", async || {
            let log = serving.log();
            log.contains("starting it again") || log.contains("is already running")
        })
        .await;
        serving.kill();
    }
    scene.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_while_commands_keep_the_registry_stopped() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new(EACH_SECOND, &[host.lines()]);
    let serving = installation.serve().await;
    until("it is stopped", async || installation.unfinished_recoveries().0 == 1).await;
    serving.kill();
    let serving = installation.serve().await;
    filled.settled(&installation, serving, &host.registry.host()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_cache_is_cleared_after_a_killed_sweep() {
    let redis = Redis::start();
    let host = Host::of(RealRegistry::options().redis(&redis.address(), 0)).await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program").display().to_string();
    // Everything is swept, and the sweep does not end.
    let registry = registry_program();
    let script =
        format!("case \"$*\" in *--dry-run*) exec {registry} \"$@\" ;; esac\n{registry} \"$@\"; sleep 600\n");
    std::fs::write(&program, script).unwrap();
    let lines = host.lines().replace(&format!("[{registry}, "), &format!("[sh, {program}, "));
    let lines = lines.replace("gc:\n", &format!("gc:\n  redis: {{ address: '{}' }}\n", redis.address()));
    let installation = Installation::new(EACH_SECOND, &[lines]);
    let serving = installation.serve().await;
    until("a sweep", async || filled.is_swept()).await;
    serving.kill();
    let entry = format!("blobs::{}", filled.old[0].digest);
    assert!(redis.keys(0).await.contains(&entry));
    let serving = installation.serve().await;
    filled.settled(&installation, serving, &host.registry.host()).await;
    assert_eq!(installation.number("SELECT count(*) FROM stale"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweep_that_outlives_the_service_is_ended_before_the_restart() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (program, sweeps, beside) = (file("program"), file("sweeps"), file("beside"));
    // The first sweep takes as long as that of a large store, and so does what it has started.
    let slow = format!("[ -e {sweeps} ] || {{ sleep 600 & echo $! $$ >{sweeps}; wait; }}");
    let rest = format!("exec {} \"$@\"", registry_program());
    std::fs::write(&program, format!("case \"$*\" in *--dry-run*) {rest} ;; esac\n{slow}\n{rest}\n"))
        .unwrap();
    let lines = host.lines().replace(&format!("[{}, ", registry_program()), &format!("[sh, {program}, "));
    let (lines, after) = lines.rsplit_once("[sh, ").unwrap();
    let look = format!("for one in $(cat {sweeps}); do [ -e /proc/$one/exe ] && echo $one >>{beside}; done");
    let after = after.trim_end_matches(']');
    std::fs::write(file("after"), format!("{look}\nexec sh {after}\n")).unwrap();
    let installation = Installation::new(EACH_SECOND, &[format!("{lines}[sh, {}]", file("after"))]);
    let serving = installation.serve().await;
    until("it sweeps", async || std::fs::read_to_string(&sweeps).is_ok_and(|text| text.contains('\n'))).await;
    serving.kill();
    let serving = installation.serve().await;
    filled.settled(&installation, serving, &host.registry.host()).await;
    assert!(!folder.path().join("beside").exists(), "it swept beside the registry");
}
