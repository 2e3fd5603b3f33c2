//! What the tests of collections share: a registry with images to keep and garbage to sweep, a recovery log that records its
//! calls, and assertions about the registry afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use chrono::TimeDelta;
use regsweep::config::{self, Collector as Kind, Gc, GcSchedule, Interruption, Method};
use regsweep::gc::{
    Cancellation, CollectionLocks, CollectionResult, Collector, Error, Reclaimed, RecoveryLog,
};
use regsweep::model::Digest;

use crate::support::docker_engine::{Container, ContainerOptions};
use crate::support::image::{Content, Image, Index, digest};
use crate::support::push::Pusher;
use crate::support::skopeo::skopeo_pull_all;
use crate::support::store::Store;

/// A recovery log that records its calls, and runs a hook at each.
#[derive(Default)]
pub(crate) struct TestRecoveryLog {
    pub(crate) calls: Mutex<Vec<&'static str>>,
    pub(crate) blobs: Mutex<BTreeMap<Digest, u64>>,
    /// The digests whose entries in the registry's cache are still to be cleared.
    pub(crate) stale: Mutex<BTreeSet<Digest>>,
    hook: Option<Hook>,
}

/// It gets the name of the call.
type Hook = Box<dyn Fn(&str) -> anyhow::Result<()> + Send + Sync>;

impl TestRecoveryLog {
    pub(crate) fn with(hook: impl Fn(&str) -> anyhow::Result<()> + Send + Sync + 'static) -> Self {
        Self { hook: Some(Box::new(hook)), ..Self::default() }
    }

    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    fn called(&self, name: &'static str) -> anyhow::Result<()> {
        self.calls.lock().unwrap().push(name);
        self.hook.as_ref().map_or(Ok(()), |hook| hook(name))
    }
}

impl RecoveryLog for TestRecoveryLog {
    fn record_stopping(&self) -> anyhow::Result<()> {
        self.called("stopping")
    }

    fn record_started_at(&self, _: &str) -> anyhow::Result<()> {
        Ok(())
    }

    fn record_restored(&self) -> anyhow::Result<()> {
        self.called("restored")
    }

    fn record_sweeping(&self, blobs: &BTreeMap<Digest, u64>, stale: &BTreeSet<Digest>) -> anyhow::Result<()> {
        self.blobs.lock().unwrap().clone_from(blobs);
        self.stale.lock().unwrap().clone_from(stale);
        self.called("sweeping")
    }

    fn record_cache_cleared(&self) -> anyhow::Result<()> {
        self.stale.lock().unwrap().clear();
        Ok(())
    }
}

/// The images of a registry: some are kept, one was deleted and waits for a collection.
pub(crate) struct Filled {
    pub(crate) kept: Vec<(&'static str, Content)>,
    pub(crate) gone: Content,
    /// The blobs that only the deleted image needs.
    pub(crate) garbage: BTreeMap<Digest, u64>,
}

/// Puts images into a registry and deletes one.
pub(crate) async fn fill(url: &str) -> Filled {
    let plain = Image::new("plain").layer("base").layer("plain").layer_bytes(3000).build();
    let arm64 = Image::new("arm64").layer("base").layer("arm64").platform("linux", "arm64").build();
    let index = Index::oci().child(&plain).child(&arm64).build();
    let gone = Image::new("gone").layer("base").layer("gone").layer_bytes(20_000).build();
    let kept = vec![("plain", plain), ("index", index)];
    let pusher = Pusher::new(url);
    for (tag, content) in &kept {
        pusher.push("team/app", tag, content).await.unwrap();
    }
    pusher.push("team/app", "gone", &gone).await.unwrap();
    let manifest = format!("{url}/v2/team/app/manifests/{}", gone.digest);
    let deleted = reqwest::Client::new().delete(manifest).send().await.unwrap();
    assert_eq!(deleted.status(), 202);
    let bytes = |content: &Content| {
        let manifests = std::iter::once(content.manifest.clone());
        let all = manifests.chain(content.blobs.iter().cloned());
        all.map(|bytes| (Digest::parse(&digest(&bytes)).unwrap(), bytes.len() as u64)).collect::<Vec<_>>()
    };
    let needed: BTreeSet<Digest> = kept
        .iter()
        .flat_map(|(_, content)| content.tree())
        .flat_map(bytes)
        .map(|(digest, _)| digest)
        .collect();
    let garbage = bytes(&gone).into_iter().filter(|(digest, _)| !needed.contains(digest)).collect();
    Filled { kept, gone, garbage }
}

/// A container with such a registry.
pub(crate) async fn filled(contained: ContainerOptions) -> Option<(Container, Filled)> {
    let container = contained.start(crate::support::docker_engine::Engine::shared()?).await;
    let filled = fill(&container.url()).await;
    Some((container, filled))
}

/// The configuration of a container's collection.
pub(crate) fn docker(container: &Container, method: Method) -> Gc {
    gc(Kind::Docker {
        host: Some(container.engine.host()),
        container: container.name.clone(),
        method,
        config_file: None,
    })
}

pub(crate) fn gc(collector: config::Collector) -> Gc {
    Gc {
        schedule: GcSchedule::AfterRun,
        min_reclaimable: 0,
        grace: TimeDelta::zero(),
        timeout: Duration::from_secs(60),
        interruption: Interruption::Stop,
        collector,
        cache: None,
        redis: None,
    }
}

pub(crate) fn collector(gc: &Gc) -> Collector {
    Collector::new(gc, "unix:///nowhere", None, &CollectionLocks::default()).unwrap()
}

/// Collects once, with nothing that must be kept.
pub(crate) async fn collect(
    gc: &Gc,
    container: &Container,
    recovery_log: &TestRecoveryLog,
) -> Result<CollectionResult, Error> {
    collector(gc).collect(&|_| false, recovery_log, || container.answers(), Cancellation::default()).await
}

pub(crate) fn collected(outcome: CollectionResult) -> Reclaimed {
    match outcome {
        CollectionResult::Reclaimed(collected) => collected,
        other => panic!("{other:?}"),
    }
}

/// Asserts that the collection freed the garbage, to the byte, and nothing else.
pub(crate) fn assert_freed(collected: &Reclaimed, filled: &Filled, before: u64, store: &Store) {
    assert_eq!(collected.bytes, before - store.blob_bytes());
    assert_eq!(collected.bytes, filled.garbage.values().sum::<u64>());
    assert_eq!(collected.blobs, filled.garbage.len() as u64);
    assert_eq!(collected.removed, filled.garbage.keys().cloned().collect());
    assert!(filled.garbage.keys().all(|digest| !store.has_blob(digest.as_str())));
    assert!(collected.marked > 0);
}

/// Asserts that every kept image can be pulled completely, and that the deleted image can be pushed and pulled again: a registry
/// with swept blobs in its cache would answer that it has them already.
pub(crate) async fn assert_sound(host: &str, filled: &Filled) {
    for (tag, _) in &filled.kept {
        skopeo_pull_all(&format!("{host}/team/app:{tag}"));
    }
    Pusher::new(&format!("http://{host}")).push("team/app", "again", &filled.gone).await.unwrap();
    skopeo_pull_all(&format!("{host}/team/app:again"));
}

/// Waits until something has happened.
pub(crate) async fn until(what: &str, happened: impl AsyncFn() -> bool) {
    for _ in 0..1200 {
        if happened().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("half a minute passed without: {what}");
}
