//! Collections that are killed or dropped: `restore` and `missing_blobs` after a kill, and what a dropped collection does by
//! itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regsweep::config::{Collector as Kind, Gc, Method};
use regsweep::gc::Cancellation;
use tokio::sync::Notify;

use super::harness::{Filled, TestRecoveryLog, assert_sound, collector, docker, filled, until};
use crate::support::docker_engine::{Container, ContainerOptions};
use crate::support::holding_proxy::{HoldingProxy, Upstream};

/// Begins a collection in an async runtime of its own, and ends that at a call of the recovery log or when blobs are gone:
/// nothing of the collection runs on, not even its restore guard.
fn kill(gc: Gc, container: &Container, at: At) -> TestRecoveryLog {
    let store = std::thread::scope(|scope| {
        let read = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(container.store())
        };
        scope.spawn(read).join().unwrap()
    });
    std::thread::scope(|scope| {
        let run = || {
            let reached = Arc::new(Notify::new());
            let (signal, wanted) = (reached.clone(), at.clone());
            let recovery_log = TestRecoveryLog::with(move |call| {
                if matches!(wanted, At::Call(name) if name == call) {
                    signal.notify_one();
                }
                Ok(())
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let collector = collector(&gc);
                let moment = async {
                    match &at {
                        At::Call(_) => reached.notified().await,
                        At::Gone(blobs) => {
                            until("a sweep", async || blobs.iter().all(|blob| !store.has_blob(blob))).await;
                        }
                    }
                };
                tokio::select! {
                    biased;
                    () = moment => {}
                    ended = collector.collect(&|_| false, &recovery_log, || container.answers(), Cancellation::default()) => {
                        // The call may be the last one of the collection.
                        ended.unwrap();
                    }
                }
            });
            runtime.shutdown_background();
            recovery_log
        };
        scope.spawn(run).join().unwrap()
    })
}

#[derive(Clone)]
enum At {
    Call(&'static str),
    Gone(Vec<String>),
}

/// Kills, restores, and checks: the registry runs, no container of a collection is left, and `missing_blobs` tells what is
/// gone.
async fn check(container: &Container, filled: &Filled, method: Method, at: At, swept: bool) {
    let gc = docker(container, method);
    let recovery_log = kill(gc.clone(), container, at);
    let collector = collector(&gc);
    collector.restore(|| container.answers()).await.unwrap();
    assert!(container.answers_now().await && container.state().await.0);
    assert!(container.engine.collectors(&container.name).await.is_empty());
    let sweeping = recovery_log.blobs.lock().unwrap().clone();
    if swept {
        assert_eq!(sweeping, filled.garbage);
    }
    let gone = collector.missing_blobs(&filled.garbage).await.unwrap();
    assert_eq!(gone, if swept { filled.garbage.clone() } else { BTreeMap::new() });
    assert_sound(&container.host(), filled).await;
}

#[tokio::test]
async fn kill_during_the_stop_is_recovered() {
    for method in [Method::Offline, Method::Exec] {
        let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
        check(&container, &filled, method, At::Call("stopping"), false).await;
    }
}

#[tokio::test]
async fn kill_during_a_slow_stop_is_recovered() {
    // It still answers when `restore` begins, and stops a moment later.
    let script = "#!/bin/sh\ncase \"$1\" in serve) trap 'sleep 3; kill $registry; exit 0' TERM\n\
        /usr/bin/docker-registry \"$@\" & registry=$!; wait; wait ;; esac\nexec /usr/bin/docker-registry \"$@\"\n";
    let contained = ContainerOptions { script: Some(script.to_owned()), ..ContainerOptions::default() };
    let Some((container, filled)) = filled(contained).await else { return };
    let (store, started) = (container.store().await, container.state().await.1);
    check(&container, &filled, Method::Offline, At::Call("stopping"), false).await;
    assert_ne!(container.state().await, (true, started));
    assert!(container.state().await.0 && container.answers_now().await && store.blob_bytes() > 0);
}

#[tokio::test]
async fn kill_before_the_sweep_is_recovered() {
    // The sweep sleeps, also where the exec was begun.
    for method in [Method::Offline, Method::Exec] {
        let script = "#!/bin/sh\ncase \"$*\" in *--dry-run*) ;; garbage-collect*) sleep 600 ;; esac\n\
            exec /usr/bin/docker-registry \"$@\"\n";
        let contained = ContainerOptions { script: Some(script.to_owned()), ..ContainerOptions::default() };
        let Some((container, filled)) = filled(contained).await else { return };
        check(&container, &filled, method, At::Call("sweeping"), false).await;
    }
}

#[tokio::test]
async fn kill_during_the_sweep_is_recovered() {
    for method in [Method::Offline, Method::Exec] {
        let script = "#!/bin/sh\ncase \"$*\" in *--dry-run*) ;;\n\
            garbage-collect*) /usr/bin/docker-registry \"$@\"; sleep 600 ;; esac\n\
            exec /usr/bin/docker-registry \"$@\"\n";
        let contained = ContainerOptions { script: Some(script.to_owned()), ..ContainerOptions::default() };
        let Some((container, filled)) = filled(contained).await else { return };
        let blobs = filled.garbage.keys().map(|digest| digest.as_str().to_owned()).collect();
        check(&container, &filled, method, At::Gone(blobs), true).await;
    }
}

#[tokio::test]
async fn kill_after_the_collection_is_recovered() {
    for method in [Method::Offline, Method::Exec] {
        let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
        check(&container, &filled, method, At::Call("restored"), true).await;
    }
}

#[tokio::test]
async fn dropped_collection_restores_the_registry() {
    let script = "#!/bin/sh\ncase \"$*\" in *--dry-run*) ;; garbage-collect*) sleep 600 ;; esac\n\
        exec /usr/bin/docker-registry \"$@\"\n";
    let contained = ContainerOptions { script: Some(script.to_owned()), ..ContainerOptions::default() };
    let Some((container, filled)) = filled(contained).await else { return };
    for call in ["stopping", "sweeping"] {
        let started = container.state().await.1;
        let reached = Arc::new(Notify::new());
        let signal = reached.clone();
        let recovery_log = TestRecoveryLog::with(move |name| {
            if name == call {
                signal.notify_one();
            }
            Ok(())
        });
        let collector = collector(&docker(&container, Method::Offline));
        let collection =
            collector.collect(&|_| false, &recovery_log, || container.answers(), Cancellation::default());
        let ended = tokio::select! {
            biased;
            () = async { reached.notified().await; tokio::time::sleep(Duration::from_millis(300)).await } => false,
            _ = collection => true,
        };
        assert!(!ended);
        // It runs, and was started after the collection began.
        until("the registry is back", async || {
            let (runs, since) = container.state().await;
            runs && since != started && container.answers_now().await
        })
        .await;
        // The Engine may still be creating it.
        until("no collector is left", async || container.engine.collectors(&container.name).await.is_empty())
            .await;
    }
    assert_sound(&container.host(), &filled).await;
}

#[tokio::test]
async fn container_that_the_engine_creates_late_is_removed() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let started = container.state().await.1;
    let mut created = 0;
    // The first two are dry runs: one while the registry runs, one after it was stopped.
    let proxy = HoldingProxy::holding(Upstream::Socket(container.engine.socket()), move |bytes| {
        let creates = bytes.windows(18).any(|words| words == b"/containers/create");
        created += usize::from(creates);
        creates && created == 3
    });
    let mut gc = docker(&container, Method::Offline);
    if let Kind::Docker { host, .. } = &mut gc.collector {
        *host = Some(proxy.url().replace("http://", "tcp://"));
    }
    let recovery_log = TestRecoveryLog::default();
    let collector = collector(&gc);
    let collection =
        collector.collect(&|_| false, &recovery_log, || container.answers(), Cancellation::default());
    let proxy = tokio::select! {
        biased;
        proxy = tokio::task::spawn_blocking(move || { proxy.wait_until_held(); proxy }) => proxy.unwrap(),
        _ = collection => panic!("the collection ended before its sweep"),
    };
    until("the registry is back", async || {
        let (runs, since) = container.state().await;
        runs && since != started && container.answers_now().await
    })
    .await;
    let before = container.engine.time().await;
    proxy.release();
    container.engine.collector_made(&container.name, &before).await;
    until("no collector is left", async || container.engine.collectors(&container.name).await.is_empty())
        .await;
    assert_sound(&container.host(), &filled).await;
}

#[tokio::test]
async fn panic_of_the_recovery_log_restores_the_registry() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let (gc, url) = (docker(&container, Method::Offline), container.url());
    let task = tokio::spawn(async move {
        let recovery_log =
            TestRecoveryLog::with(|call| if call == "sweeping" { panic!("a bug") } else { Ok(()) });
        collector(&gc)
            .collect(
                &|_| false,
                &recovery_log,
                || async { reqwest::get(&url).await.is_ok() },
                Cancellation::default(),
            )
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    assert!(container.answers().await);
    assert_sound(&container.host(), &filled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_that_does_not_answer_is_restarted_only_once() {
    let Some((container, _)) = filled(ContainerOptions::default()).await else { return };
    let gc = docker(&container, Method::Offline);
    let collector = collector(&gc);
    let mut starts = vec![container.state().await];
    for _ in 0..3 {
        // As after a change of the password, or with a broken proxy before the registry.
        assert_eq!(collector.restore(|| async { false }).await.unwrap_err().kind(), "registry_silent");
        starts.push(container.state().await);
    }
    assert!(starts[0] != starts[1] && starts[1] == starts[2] && starts[2] == starts[3], "{starts:?}");
    // A registry that was stopped since then is restarted.
    container.engine.docker().stop_container(&container.name, None).await.unwrap();
    collector.restore(|| container.answers()).await.unwrap();
    assert!(container.answers_now().await);
}
