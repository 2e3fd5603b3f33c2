//! Collections that are killed: what `restore` and `gone` make of what is left, and what a collection that
//! is only cancelled does by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regsweep::config::{Collector as Kind, Gc, Method};
use regsweep::gc::Cancellation;
use tokio::sync::Notify;

use super::harness::{Filled, TestRecoveryLog, assert_sound, collector, docker, filled, until};
use crate::support::docker_engine::{Container, ContainerOptions};
use crate::support::holding_proxy::{HoldingProxy, Upstream};

/// Begins a collection in a runtime of its own and kills that when the recovery log is called so, or when a blob
/// is gone: nothing of it runs on, not even what it does when it is dropped.
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
                        // The last call may be the last thing that happens.
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

/// Kills, restores, and looks: the registry runs, nothing of ours is left, and `gone` tells what is gone.
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
async fn killed_while_stopping() {
    for method in [Method::Offline, Method::Exec] {
        let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
        check(&container, &filled, method, At::Call("stopping"), false).await;
    }
}

#[tokio::test]
async fn killed_while_a_slow_registry_stops() {
    // It still answers when `restore` looks at it, and would be gone a moment later.
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
async fn killed_before_the_sweep() {
    // A sweep that is never begun, even where the exec gets through.
    for method in [Method::Offline, Method::Exec] {
        let script = "#!/bin/sh\ncase \"$*\" in *--dry-run*) ;; garbage-collect*) sleep 600 ;; esac\n\
            exec /usr/bin/docker-registry \"$@\"\n";
        let contained = ContainerOptions { script: Some(script.to_owned()), ..ContainerOptions::default() };
        let Some((container, filled)) = filled(contained).await else { return };
        check(&container, &filled, method, At::Call("sweeping"), false).await;
    }
}

#[tokio::test]
async fn killed_in_the_sweep() {
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
async fn killed_after_all_of_it() {
    for method in [Method::Offline, Method::Exec] {
        let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
        check(&container, &filled, method, At::Call("restored"), true).await;
    }
}

#[tokio::test]
async fn what_is_only_cancelled_puts_the_registry_back_by_itself() {
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
        // Its last state is "runs, and not since before".
        until("the registry is back", async || {
            let (runs, since) = container.state().await;
            runs && since != started && container.answers_now().await
        })
        .await;
        // The Engine may have been about to make it.
        until("no collector is left", async || container.engine.collectors(&container.name).await.is_empty())
            .await;
    }
    assert_sound(&container.host(), &filled).await;
}

#[tokio::test]
async fn a_collector_that_the_engine_makes_after_all_is_removed() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let started = container.state().await.1;
    let mut created = 0;
    // Those before the last one only look: the first while the registry runs, the second after it was stopped.
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
async fn a_panic_of_the_recovery_log_puts_the_registry_back() {
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
async fn a_registry_that_is_not_heard_of_is_restarted_once_and_not_again_and_again() {
    let Some((container, _)) = filled(ContainerOptions::default()).await else { return };
    let gc = docker(&container, Method::Offline);
    let collector = collector(&gc);
    let mut starts = vec![container.state().await];
    for _ in 0..3 {
        // As where the password has changed, or a proxy before the registry is broken.
        assert_eq!(collector.restore(|| async { false }).await.unwrap_err().kind(), "registry_silent");
        starts.push(container.state().await);
    }
    assert!(starts[0] != starts[1] && starts[1] == starts[2] && starts[2] == starts[3], "{starts:?}");
    // One that somebody has stopped, and one that was collected since, is another matter.
    container.engine.docker().stop_container(&container.name, None).await.unwrap();
    collector.restore(|| container.answers()).await.unwrap();
    assert!(container.answers_now().await);
}
