//! Changes between a plan and its deletions: what has changed meanwhile is not deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::harness::{OLD_TAGS_EXPIRE, assert_all_pullable, assert_holds, image, sweeper};
use crate::support::holding_proxy::HoldingProxy;
use crate::support::image::{Artifact, Content, Index, signature_tag};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::Regsweep;

/// What happens between the plan and the deletions.
enum Meanwhile<'a> {
    Push { repository: &'a str, tag: &'a str, content: &'a Content },
    Delete { content: &'a Content },
}
use Meanwhile::{Delete, Push};

/// Plans, lets all of it happen, carries the plan out, and tells what was deleted and what was skipped
/// in the repository `app`.
async fn run_around(registry: &RealRegistry, meanwhile: &[Meanwhile<'_>]) -> (Vec<String>, Vec<String>) {
    run_of(&sweeper(registry), registry, meanwhile).await
}

/// The same with what this one remembers.
async fn run_of(
    regsweep: &Regsweep,
    registry: &RealRegistry,
    meanwhile: &[Meanwhile<'_>],
) -> (Vec<String>, Vec<String>) {
    let library = regsweep.in_process();
    let scanned = library.scan_and_plan().await;
    for event in meanwhile {
        match event {
            Push { repository, tag, content } => {
                Pusher::new(&registry.url()).push(repository, tag, content).await.unwrap();
            }
            Delete { content } => {
                let url = format!("{}/v2/app/manifests/{}", registry.url(), content.digest);
                assert_eq!(reqwest::Client::new().delete(url).send().await.unwrap().status(), 202);
            }
        }
    }
    let report = library.apply(&scanned).await;
    assert_eq!(report.failures, []);
    let deleted = report.deleted.iter().filter(|one| !one.already_gone).map(|one| one.digest.to_string());
    (deleted.collect(), report.skipped.iter().map(|one| one.digest.to_string()).collect())
}

#[tokio::test]
async fn new_tag_after_the_plan_keeps_its_manifest() {
    let registry = RealRegistry::start();
    let [kept, saved, expired] = ["kept", "saved", "expired"].map(image);
    for (tag, content) in [("keep", &kept), ("old-1", &saved), ("old-2", &expired)] {
        registry.store().write("app", &[tag], content);
    }
    let push = Push { repository: "app", tag: "release", content: &saved };
    let (deleted, skipped) = run_around(&registry, &[push]).await;
    assert_eq!((deleted, skipped), (vec![expired.digest], vec![saved.digest.clone()]));
    assert_holds(&registry, "app", &[("keep", &kept), ("old-1", &saved), ("release", &saved)]);
    assert_all_pullable(&registry);
}

#[tokio::test]
async fn moved_tag_after_the_plan_keeps_its_new_manifest() {
    let registry = RealRegistry::start();
    let [before, after, expired] = ["before", "after", "expired"].map(image);
    for (tag, content) in [("stable", &before), ("old-1", &after), ("old-2", &expired)] {
        registry.store().write("app", &[tag], content);
    }
    let push = Push { repository: "app", tag: "stable", content: &after };
    let (deleted, skipped) = run_around(&registry, &[push]).await;
    assert_eq!((deleted, skipped), (vec![expired.digest], vec![after.digest.clone()]));
    assert_holds(&registry, "app", &[("stable", &after), ("old-1", &after), ("", &before)]);
    assert_all_pullable(&registry);
}

#[tokio::test]
async fn moved_expired_tag_after_the_plan_keeps_both_manifests() {
    let registry = RealRegistry::start();
    let [before, after] = ["before", "after"].map(image);
    registry.store().write("app", &["old"], &before);
    let push = Push { repository: "app", tag: "old", content: &after };
    let (deleted, skipped) = run_around(&registry, &[push]).await;
    assert_eq!((deleted, skipped), (vec![], vec![before.digest.clone()]));
    assert_holds(&registry, "app", &[("old", &after), ("", &before)]);
}

/// An expired index of two children, and a new one that lists one of them and is not pushed yet.
struct IndexScenario {
    registry: RealRegistry,
    kept: Content,
    child: Content,
    other: Content,
    expired: Content,
    new: Content,
}

impl IndexScenario {
    fn new() -> Self {
        let registry = RealRegistry::start();
        let [kept, child, other] = ["kept", "child", "other"].map(image);
        let expired = Index::oci().child(&child).child(&other).build();
        let new = Index::docker().child(&child).build();
        registry.store().write("app", &["keep"], &kept);
        registry.store().write("app", &["old"], &expired);
        Self { registry, kept, child, other, expired, new }
    }
}

#[tokio::test]
async fn new_index_after_the_plan_keeps_its_child() {
    let IndexScenario { registry, kept, child, other, expired, new } = IndexScenario::new();
    let push = Push { repository: "app", tag: "new", content: &new };
    let (deleted, skipped) = run_around(&registry, &[push]).await;
    assert_eq!((deleted, skipped), (vec![expired.digest, other.digest], vec![child.digest]));
    assert_holds(&registry, "app", &[("keep", &kept), ("new", &new)]);
    assert_all_pullable(&registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_index_during_the_deletion_of_the_old_one_keeps_its_child() {
    let IndexScenario { registry, kept, other, expired, new, .. } = IndexScenario::new();
    let proxy = HoldingProxy::before(&registry.host(), 1);
    let library = Regsweep::new(&proxy.url(), OLD_TAGS_EXPIRE).in_process();
    let scanned = library.scan_and_plan().await;
    let (url, pushed) = (registry.url(), new.clone());
    let push = std::thread::spawn(move || {
        proxy.wait_until_held();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(Pusher::new(&url).push("app", "release", &pushed)).unwrap();
        // Longer than a recheck is good for.
        std::thread::sleep(Duration::from_millis(1500));
        proxy.release();
    });
    let report = library.apply(&scanned).await;
    push.join().unwrap();
    assert_eq!(report.failures, []);
    let digests = |one: &regsweep::report::Deleted| one.digest.to_string();
    let deleted: Vec<String> = report.deleted.iter().map(digests).collect();
    assert_eq!(deleted, [expired.digest, other.digest]);
    assert_holds(&registry, "app", &[("keep", &kept), ("release", &new)]);
    assert_all_pullable(&registry);
}

#[tokio::test]
async fn manifest_that_only_the_recheck_deletes_is_left_for_the_next_run() {
    let registry = RealRegistry::start();
    let [kept, expired, new, elsewhere] = ["kept", "expired", "new", "elsewhere"].map(image);
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["old-1"], &expired);
    let signature = Artifact::signature(&expired.digest).build();
    let signed = signature_tag(&expired.digest);
    let meanwhile = [
        Push { repository: "app", tag: "old-2", content: &new },
        Push { repository: "app", tag: &signed, content: &signature },
        Push { repository: "other", tag: "old", content: &elsewhere },
    ];
    let regsweep = sweeper(&registry);
    let (deleted, _) = run_of(&regsweep, &registry, &meanwhile).await;
    assert_eq!(deleted, [expired.digest]);
    assert_holds(&registry, "app", &[("keep", &kept), ("old-2", &new), (&signed, &signature)]);
    assert_holds(&registry, "other", &[("old", &elsewhere)]);
    let (deleted, _) = run_of(&regsweep, &registry, &[]).await;
    let expected = [&new, &signature, &elsewhere].map(|content| content.digest.clone());
    assert_eq!(BTreeSet::from_iter(deleted), BTreeSet::from(expected));
    assert_holds(&registry, "app", &[("keep", &kept)]);
}

#[tokio::test]
async fn manifest_deleted_by_another_client_is_no_failure() {
    let registry = RealRegistry::start();
    let [kept, expired, other] = ["kept", "expired", "other"].map(image);
    for (tag, content) in [("keep", &kept), ("old-1", &expired), ("old-2", &other)] {
        registry.store().write("app", &[tag], content);
    }
    let (deleted, _) = run_around(&registry, &[Delete { content: &expired }]).await;
    assert_eq!(deleted, [other.digest]);
    assert_holds(&registry, "app", &[("keep", &kept)]);
}

#[tokio::test]
async fn kept_image_that_disappears_makes_at_least_keep_another() {
    let registry = RealRegistry::start();
    let [kept, expired] = ["kept", "expired"].map(image);
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["old"], &expired);
    let rules = super::harness::OLD_TAGS_EXPIRE.replace("at_least: 0", "at_least: 1");
    let regsweep = Regsweep::new(&registry.url(), &rules);
    let library = regsweep.in_process();
    let scanned = library.scan_and_plan().await;
    let url = format!("{}/v2/app/manifests/{}", registry.url(), kept.digest);
    assert_eq!(reqwest::Client::new().delete(url).send().await.unwrap().status(), 202);
    let report = library.apply(&scanned).await;
    assert_eq!(report.deleted, []);
    assert_holds(&registry, "app", &[("old", &expired)]);
}
