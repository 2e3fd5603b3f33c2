//! Collections that are refused or fail: the registry is not stopped, or runs again afterwards.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::bail;
use bollard::body_full;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use regsweep::config::{Collector as Kind, Gc, Method};
use regsweep::gc::{Cancellation, CollectionResult, Error};

use super::harness::{
    Filled, TestRecoveryLog, assert_sound, collect, collected, collector, docker, filled, gc, until,
};
use crate::support::docker_engine::{CONFIG, Container, ContainerOptions, Engine, Volume};

const METHODS: [Method; 2] = [Method::Offline, Method::Exec];
/// The registry's program, after the test's own behaviour for `garbage-collect`.
const REGISTRY: &str = "exec /usr/bin/docker-registry \"$@\"\n";

fn script(case: &str) -> ContainerOptions {
    let script = format!("#!/bin/sh\ncase \"$*\" in\n{case}\nesac\n{REGISTRY}");
    ContainerOptions { script: Some(script), ..ContainerOptions::default() }
}

/// Asserts that a collection fails with an error of this kind and text, before anything was changed.
async fn untouched(gc: &Gc, container: &Container, kind: &str, words: &str) {
    let (state, recovery_log) = (container.state().await, TestRecoveryLog::default());
    let error = collect(gc, container, &recovery_log).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(recovery_log.calls().is_empty());
    assert_eq!(container.state().await, state);
    assert!(container.engine.collectors(&container.name).await.is_empty());
}

/// Asserts that after a failed collection the registry answers, and that all garbage still exists.
async fn restored(
    container: &Container,
    filled: &Filled,
    error: &Error,
    kind: &str,
    recovery_log: &TestRecoveryLog,
) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(container.answers_now().await, "{error}");
    assert!(container.engine.collectors(&container.name).await.is_empty());
    assert_eq!(recovery_log.calls().last(), Some(&"restored"));
    let store = container.store().await;
    assert!(filled.garbage.keys().all(|digest| store.has_blob(digest.as_str())));
    assert_sound(&container.host(), filled).await;
}

#[tokio::test]
async fn missing_container_is_named() {
    let Some(engine) = Engine::shared() else { return };
    let gc = gc(Kind::Docker {
        host: Some(engine.host()),
        container: "missing".to_owned(),
        method: Method::Offline,
        config_file: None,
    });
    let recovery_log = TestRecoveryLog::default();
    let collector = collector(&gc);
    let error = collector
        .collect(&|_| false, &recovery_log, || async { true }, Cancellation::default())
        .await
        .unwrap_err();
    assert_eq!((error.kind(), recovery_log.calls().len()), ("no_container", 0));
    assert!(error.to_string().contains("\"missing\""), "{error}");
    assert_eq!(collector.restore(|| async { true }).await.unwrap_err().kind(), "no_container");
}

#[tokio::test]
async fn paused_container_is_refused() {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    engine.docker().pause_container(&container.name).await.unwrap();
    for method in METHODS {
        untouched(&docker(&container, method), &container, "container_state", "is paused").await;
    }
    engine.docker().unpause_container(&container.name).await.unwrap();
}

#[tokio::test]
async fn container_that_must_not_be_stopped_is_refused() {
    let Some(engine) = Engine::shared() else { return };
    let gone = ContainerOptions { auto_remove: true, ..ContainerOptions::default() }.start(engine).await;
    for method in METHODS {
        untouched(&docker(&gone, method), &gone, "not_ours", "--rm").await;
    }
    let label = ("com.docker.swarm.task.id".to_owned(), "x".to_owned());
    let task = ContainerOptions { labels: vec![label], ..ContainerOptions::default() }.start(engine).await;
    for method in METHODS {
        untouched(&docker(&task, method), &task, "not_ours", "Swarm").await;
    }
}

#[tokio::test]
async fn unreachable_engine_is_named() {
    for host in ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1"] {
        let gc = gc(Kind::Docker {
            host: Some(host.to_owned()),
            container: "registry".to_owned(),
            method: Method::Offline,
            config_file: None,
        });
        let recovery_log = TestRecoveryLog::default();
        let error = collector(&gc)
            .collect(&|_| false, &recovery_log, || async { true }, Cancellation::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "unreachable");
        assert!(error.to_string().contains(host), "{error}");
    }
}

#[tokio::test]
async fn forbidding_socket_proxy_has_an_error_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let body = "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";
            let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\nconnection: close\r\n";
            let _ = write!(connection, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
    let gc = gc(Kind::Docker {
        host: Some(host),
        container: "registry".to_owned(),
        method: Method::Exec,
        config_file: None,
    });
    let error = collector(&gc)
        .collect(&|_| false, &TestRecoveryLog::default(), || async { true }, Cancellation::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "forbidden");
    let text = error.to_string();
    for words in ["inspect the container", "CONTAINERS=1 and POST=1", "EXEC=1", "administrative rules"] {
        assert!(text.contains(words), "{text}");
    }
    // A refusal is not transient, so it is not retried.
    assert_eq!(collector(&gc).restore(|| async { true }).await.unwrap_err().kind(), "forbidden");
}

#[tokio::test]
async fn exit_code_0_without_a_summary_is_a_failure() {
    let case = "garbage-collect*) echo 'Error: unknown flag: --dry-run' >&2; exit 0 ;;";
    let Some((container, _)) = filled(script(case)).await else { return };
    for method in METHODS {
        untouched(&docker(&container, method), &container, "no_summary", "unknown flag: --dry-run").await;
    }
}

#[tokio::test]
async fn missing_configuration_file_is_named() {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    for method in METHODS {
        let mut gc = docker(&container, method);
        if let Kind::Docker { config_file, .. } = &mut gc.collector {
            *config_file = Some("/etc/nothing.yml".to_owned());
        }
        untouched(&gc, &container, "no_config", "/etc/nothing.yml").await;
    }
}

#[tokio::test]
async fn kept_blob_refuses_the_collection() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let state = container.state().await;
    let kept = filled.garbage.keys().next().unwrap().clone();
    for method in METHODS {
        let recovery_log = TestRecoveryLog::default();
        let is_kept = |digest: &_| *digest == kept;
        let collector = collector(&docker(&container, method));
        let error = collector
            .collect(&is_kept, &recovery_log, || container.answers(), Cancellation::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "kept_blob");
        assert!(error.to_string().contains(kept.as_str()), "{error}");
        assert!(recovery_log.calls().is_empty());
    }
    assert_eq!(container.state().await, state);
    assert_sound(&container.host(), &filled).await;
}

#[tokio::test]
async fn kept_blob_in_the_second_dry_run_ends_the_collection() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let recovery_log = TestRecoveryLog::default();
    // The blob is kept only since the registry has been stopped.
    let is_kept = |_: &_| recovery_log.calls().contains(&"stopping");
    let collector = collector(&docker(&container, Method::Offline));
    let error = collector
        .collect(&is_kept, &recovery_log, || container.answers(), Cancellation::default())
        .await
        .unwrap_err();
    assert_eq!(recovery_log.calls(), ["stopping", "restored"]);
    restored(&container, &filled, &error, "kept_blob", &recovery_log).await;
}

#[tokio::test]
async fn collection_that_takes_too_long_is_ended_and_the_registry_runs() {
    for method in METHODS {
        let case = "*--dry-run*) ;;\ngarbage-collect*) sleep 600 ;;";
        let Some((container, filled)) = filled(script(case)).await else { return };
        let mut gc = docker(&container, method);
        gc.timeout = Duration::from_secs(6);
        let recovery_log = TestRecoveryLog::default();
        let error = collect(&gc, &container, &recovery_log).await.unwrap_err();
        assert!(error.to_string().contains("(6 s)"), "{error}");
        restored(&container, &filled, &error, "timeout", &recovery_log).await;
    }
}

#[tokio::test]
async fn first_dry_run_that_takes_too_long_changes_nothing() {
    let Some((container, _)) = filled(script("*--dry-run*) sleep 600 ;;")).await else { return };
    for method in METHODS {
        let mut gc = docker(&container, method);
        gc.timeout = Duration::from_secs(2);
        untouched(&gc, &container, "timeout", "(2 s)").await;
    }
}

#[tokio::test]
async fn failed_sweep_is_reported_and_the_registry_runs() {
    for method in METHODS {
        let case =
            "*--dry-run*) ;;\ngarbage-collect*) echo 'failed to garbage collect: no space' >&2; exit 1 ;;";
        let Some((container, filled)) = filled(script(case)).await else { return };
        let recovery_log = TestRecoveryLog::default();
        let error = collect(&docker(&container, method), &container, &recovery_log).await.unwrap_err();
        assert!(error.to_string().contains("no space"), "{error}");
        restored(&container, &filled, &error, "no_summary", &recovery_log).await;
    }
}

#[tokio::test]
async fn recovery_log_that_cannot_write_ends_the_collection() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let failing = |at: &'static str| {
        TestRecoveryLog::with(move |call| if call == at { bail!("the disk is full") } else { Ok(()) })
    };
    for method in METHODS {
        let (state, recovery_log) = (container.state().await, failing("stopping"));
        let error = collect(&docker(&container, method), &container, &recovery_log).await.unwrap_err();
        assert_eq!(error.kind(), "state");
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert_eq!(container.state().await, state);
    }
    let recovery_log = failing("sweeping");
    let error = collect(&docker(&container, Method::Offline), &container, &recovery_log).await.unwrap_err();
    restored(&container, &filled, &error, "state", &recovery_log).await;
}

#[tokio::test]
async fn storage_on_no_volume_is_refused_offline_and_collected_by_exec() {
    let env = vec!["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data".to_owned()];
    let contained = ContainerOptions { env, ..ContainerOptions::default() };
    let Some((container, filled)) = filled(contained).await else { return };
    untouched(&docker(&container, Method::Offline), &container, "not_shared", "/data").await;
    let done = collect(&docker(&container, Method::Exec), &container, &TestRecoveryLog::default()).await;
    assert_eq!(collected(done.unwrap()).bytes, filled.garbage.values().sum::<u64>());
}

#[tokio::test]
async fn configuration_that_a_second_container_does_not_see_is_refused_offline() {
    let Some((container, _)) = filled(ContainerOptions::default()).await else { return };
    // Like `docker cp`: into the container itself, not into its image or volumes.
    let text = "version: 0.1\nstorage: { filesystem: { rootdirectory: /var/lib/registry } }\n";
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    let (folder, name) = CONFIG.rsplit_once('/').unwrap();
    archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    let options = UploadToContainerOptionsBuilder::default().path(folder).build();
    let body = body_full(archive.into_inner().unwrap().into());
    container.engine.docker().upload_to_container(&container.name, Some(options), body).await.unwrap();
    untouched(&docker(&container, Method::Offline), &container, "other_config", CONFIG).await;
}

#[tokio::test]
async fn registry_that_is_started_before_the_sweep_is_not_swept() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let (engine, name) = (container.engine, container.name.clone());
    let recovery_log = TestRecoveryLog::with(move |call| {
        if call == "sweeping" {
            let name = name.clone();
            let start = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(engine.docker().start_container(&name, None))?;
                anyhow::Ok(())
            };
            std::thread::spawn(start).join().unwrap()?;
        }
        Ok(())
    });
    let error = collect(&docker(&container, Method::Offline), &container, &recovery_log).await.unwrap_err();
    restored(&container, &filled, &error, "interfered", &recovery_log).await;
}

/// A sweep that waits for a file `go` in the storage.
const SLOW: &str = "*--dry-run*) ;;\ngarbage-collect*) touch /var/lib/registry/sweeps\n\
    while [ ! -e /var/lib/registry/go ]; do sleep 0.1; done ;;";

/// Replaces a container by one of the same name and settings, as `docker compose up --force-recreate` does.
async fn replace(container: &Container, started: bool) {
    let (docker, name) = (container.engine.docker(), &container.name);
    let found = container.engine.inspect(name).await;
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(name, Some(options)).await.unwrap();
    let config = found.config.unwrap();
    let body = ContainerCreateBody {
        image: config.image,
        env: config.env,
        host_config: found.host_config,
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    docker.create_container(Some(options), body).await.unwrap();
    if started {
        docker.start_container(name, None).await.unwrap();
    }
}

/// Acts in the middle of a sweep, and returns how the collection ended.
async fn in_the_sweep(
    container: &Container,
    recovery_log: &TestRecoveryLog,
    act: impl AsyncFnOnce(&std::path::Path),
) -> Result<CollectionResult, Error> {
    let mounts = container.engine.inspect(&container.name).await.mounts.unwrap();
    let volume = mounts.iter().find(|one| one.destination.as_deref() == Some("/var/lib/registry")).unwrap();
    let store = std::path::PathBuf::from(volume.source.as_ref().unwrap());
    let gc = docker(container, Method::Offline);
    let meanwhile = async {
        until("it sweeps", async || store.join("sweeps").exists()).await;
        act(&store).await;
    };
    tokio::join!(collect(&gc, container, recovery_log), meanwhile).0
}

#[tokio::test]
async fn registry_that_is_started_during_the_sweep_ends_it() {
    let Some((container, filled)) = filled(script(SLOW)).await else { return };
    let recovery_log = TestRecoveryLog::default();
    let started = std::sync::Mutex::new(String::new());
    let ended = in_the_sweep(&container, &recovery_log, async |_| {
        container.engine.docker().start_container(&container.name, None).await.unwrap();
        *started.lock().unwrap() = container.state().await.1;
    });
    let error = ended.await.unwrap_err();
    // It was restarted, so that it forgets what it cached during the sweep.
    assert_ne!(container.state().await.1, *started.lock().unwrap());
    restored(&container, &filled, &error, "interfered", &recovery_log).await;
}

#[tokio::test]
async fn container_that_is_replaced_during_the_sweep_runs_afterwards() {
    for started in [true, false] {
        let made = ContainerOptions { volume: Volume::Named, ..script(SLOW) };
        let Some((container, filled)) = filled(made).await else { return };
        let recovery_log = TestRecoveryLog::default();
        let ended = in_the_sweep(&container, &recovery_log, async |store| {
            replace(&container, started).await;
            if !started {
                std::fs::write(store.join("go"), "").unwrap();
            }
        });
        let ended = ended.await;
        assert!(container.state().await.0 && container.answers_now().await, "{ended:?}");
        assert!(container.engine.collectors(&container.name).await.is_empty());
        assert_eq!(recovery_log.calls().last(), Some(&"restored"));
        if started {
            assert_eq!(ended.unwrap_err().kind(), "interfered");
        }
        assert_sound(&container.host(), &filled).await;
    }
}

#[tokio::test]
async fn storage_without_repositories_is_not_empty() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let mounts = container.engine.inspect(&container.name).await.mounts.unwrap();
    let volume = mounts.iter().find(|one| one.destination.as_deref() == Some("/var/lib/registry")).unwrap();
    let root = format!("{}/docker/registry/v2", volume.source.as_ref().unwrap());
    std::fs::rename(format!("{root}/repositories"), format!("{root}/lost")).unwrap();
    for method in METHODS {
        untouched(&docker(&container, method), &container, "no_repositories", "restore it").await;
    }
    let store = container.store().await;
    assert!(filled.garbage.keys().all(|digest| store.has_blob(digest.as_str())));
}
