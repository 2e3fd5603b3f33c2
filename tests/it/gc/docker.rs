//! Collections on a Docker Engine that succeed.

use std::time::Duration;

use regsweep::config::{Collector as Kind, Method};
use regsweep::gc::{Cancellation, CollectionLocks, CollectionResult, Collector};

use super::harness::{
    TestRecoveryLog, assert_freed, assert_sound, collect, collected, collector, docker, fill, filled,
};
use crate::support::docker_engine::{CONFIG, ContainerOptions, Engine, Volume};

/// Fills a registry, collects it, and checks what is left.
async fn check(contained: ContainerOptions, method: Method) {
    let Some((container, filled)) = filled(contained).await else { return };
    let store = container.store().await;
    let (before, started) = (store.blob_bytes(), container.state().await.1);
    let recovery_log = TestRecoveryLog::default();
    let done = collected(collect(&docker(&container, method), &container, &recovery_log).await.unwrap());
    assert_freed(&done, &filled, before, &store);
    assert_eq!(recovery_log.calls(), ["stopping", "sweeping", "restored"]);
    assert_eq!(*recovery_log.blobs.lock().unwrap(), filled.garbage);
    let (running, restarted) = container.state().await;
    assert!(running && restarted != started);
    assert!(container.engine.collectors(&container.name).await.is_empty());
    assert_sound(&container.host(), &filled).await;
    // The blobs that were pushed again are in use: nothing is left to do.
    let recovery_log = TestRecoveryLog::default();
    let again = collect(&docker(&container, method), &container, &recovery_log).await.unwrap();
    assert_eq!(again, CollectionResult::NothingToDo);
    assert!(recovery_log.calls().is_empty());
    assert_eq!(container.state().await, (true, restarted));
}

#[tokio::test]
async fn offline_collection_frees_the_garbage() {
    check(ContainerOptions::default(), Method::Offline).await;
}

#[tokio::test]
async fn exec_collection_frees_the_garbage() {
    check(ContainerOptions::default(), Method::Exec).await;
}

#[tokio::test]
async fn named_volume_is_collected() {
    check(ContainerOptions { volume: Volume::Named, ..ContainerOptions::default() }, Method::Offline).await;
}

#[tokio::test]
async fn folder_of_the_host_is_collected() {
    check(ContainerOptions { volume: Volume::Bind, ..ContainerOptions::default() }, Method::Offline).await;
}

#[tokio::test]
async fn root_directory_from_the_environment_is_measured() {
    let env = vec!["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/var/lib/registry/deep".to_owned()];
    let contained = ContainerOptions { env, ..ContainerOptions::default() };
    let Some((container, filled)) = filled(contained).await else { return };
    let done = collected(
        collect(&docker(&container, Method::Offline), &container, &TestRecoveryLog::default()).await.unwrap(),
    );
    assert_eq!(done.bytes, filled.garbage.values().sum::<u64>());
    assert_sound(&container.host(), &filled).await;
}

#[tokio::test]
async fn stopped_registry_is_collected_and_stays_stopped() {
    for method in [Method::Offline, Method::Exec] {
        let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
        let store = container.store().await;
        container.engine.docker().stop_container(&container.name, None).await.unwrap();
        let (before, recovery_log) = (store.blob_bytes(), TestRecoveryLog::default());
        let never = || async { panic!("a registry that was not started is not waited for") };
        let outcome = collector(&docker(&container, method))
            .collect(&|_| false, &recovery_log, never, Cancellation::default())
            .await;
        let done = collected(outcome.unwrap());
        assert_freed(&done, &filled, before, &store);
        assert_eq!(recovery_log.calls(), ["sweeping"]);
        assert!(!container.state().await.0);
        assert!(container.engine.collectors(&container.name).await.is_empty());
    }
}

#[tokio::test]
async fn empty_storage_is_nothing_to_do() {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    let started = container.state().await;
    for method in [Method::Offline, Method::Exec] {
        let recovery_log = TestRecoveryLog::default();
        let outcome = collect(&docker(&container, method), &container, &recovery_log).await.unwrap();
        assert_eq!(outcome, CollectionResult::NothingToDo);
        assert!(recovery_log.calls().is_empty());
    }
    assert_eq!(container.state().await, started);
}

#[tokio::test]
async fn collection_below_the_minimum_is_not_begun() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let started = container.state().await;
    let garbage: u64 = filled.garbage.values().sum();
    for method in [Method::Offline, Method::Exec] {
        let mut gc = docker(&container, method);
        gc.min_reclaimable = garbage + 1;
        let recovery_log = TestRecoveryLog::default();
        let outcome = collect(&gc, &container, &recovery_log).await.unwrap();
        assert_eq!(outcome, CollectionResult::BelowMinimum { reclaimable: garbage });
        assert!(recovery_log.calls().is_empty());
    }
    assert_eq!(container.state().await, started);
    let mut gc = docker(&container, Method::Offline);
    gc.min_reclaimable = garbage;
    assert_eq!(
        collected(collect(&gc, &container, &TestRecoveryLog::default()).await.unwrap()).bytes,
        garbage
    );
}

#[tokio::test]
async fn push_between_the_first_dry_run_and_the_stop_is_seen() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let (store, url) = (container.store().await, container.url());
    // The recovery log is told just before the stop: here an image is pushed, and it stays whole.
    let late = crate::support::image::Image::new("late").layer("gone").layer_bytes(20_000).build();
    let pushed = late.clone();
    let recovery_log = TestRecoveryLog::with(move |call| {
        if call == "stopping" {
            let (url, late) = (url.clone(), pushed.clone());
            let push = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    crate::support::push::Pusher::new(&url).push("late", "v1", &late).await
                })
            };
            std::thread::spawn(push).join().unwrap()?;
        }
        Ok(())
    });
    let before = store.blob_bytes();
    let done =
        collected(collect(&docker(&container, Method::Offline), &container, &recovery_log).await.unwrap());
    let layer = crate::support::image::digest(&late.blobs[1]);
    assert!(filled.garbage.keys().any(|digest| digest.as_str() == layer), "the images share a layer");
    assert!(!done.removed.iter().any(|digest| digest.as_str() == layer));
    assert_eq!(done.removed.len(), filled.garbage.len() - 1);
    assert!(done.bytes < filled.garbage.values().sum() && done.bytes <= before);
    crate::support::skopeo::skopeo_pull_all(&format!("{}/late:v1", container.host()));
}

#[tokio::test]
async fn engine_is_reached_over_tls() {
    let Some(engine) = Engine::shared() else { return };
    let container = ContainerOptions::default().start(engine).await;
    let filled = fill(&container.url()).await;
    let (host, certificates) = engine.tls();
    let mut gc = docker(&container, Method::Exec);
    gc.collector = Kind::Docker {
        host: None,
        container: container.name.clone(),
        method: Method::Exec,
        config_file: Some(CONFIG.to_owned()),
    };
    let collector = Collector::new(&gc, &host, Some(certificates), &CollectionLocks::default()).unwrap();
    let outcome = collector
        .collect(&|_| false, &TestRecoveryLog::default(), || container.answers(), Cancellation::default())
        .await;
    assert_eq!(collected(outcome.unwrap()).bytes, filled.garbage.values().sum::<u64>());
    let without_certificates =
        Collector::new(&gc, &host, Some("/nonexistent".as_ref()), &CollectionLocks::default()).unwrap();
    let error = without_certificates.restore(|| async { true }).await.unwrap_err();
    assert_eq!(error.kind(), "certificates");
}

#[tokio::test]
async fn collection_can_be_a_task_of_its_own() {
    let Some((container, filled)) = filled(ContainerOptions::default()).await else { return };
    let gc = docker(&container, Method::Offline);
    let url = format!("{}/v2/", container.url());
    let task = tokio::spawn(async move {
        let alive = || async {
            loop {
                if reqwest::get(&url).await.is_ok() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        collector(&gc).collect(&|_| false, &TestRecoveryLog::default(), alive, Cancellation::default()).await
    });
    assert_eq!(collected(task.await.unwrap().unwrap()).bytes, filled.garbage.values().sum::<u64>());
}
