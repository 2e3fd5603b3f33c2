//! A manifest is the unit of deletion, and an index is deleted with its children.

use super::harness::{assert_all_pullable, assert_holds, deletions, image, named, sweeper};
use crate::support::image::{Content, Image, Index, digest};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;

const KINDS: [fn() -> Index; 2] = [Index::oci, Index::docker];

#[test]
fn manifest_with_an_expired_and_a_kept_tag_keeps_both() {
    let registry = RealRegistry::start();
    let (shared, expired) = (image("shared"), image("expired"));
    registry.store().write("app", &["keep", "old-1"], &shared);
    registry.store().write("app", &["old-2", "old-3"], &expired);
    let plan = sweeper(&registry).run(&["plan", "--output", "json"]).exits(0);
    assert!(plan.reasons(&shared.digest).contains(&"shares-manifest".to_owned()), "{plan:?}");
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&expired]));
    assert_holds(&registry, "app", &[("keep", &shared), ("old-1", &shared)]);
    assert_all_pullable(&registry);
}

#[test]
fn expired_index_is_deleted_with_its_children() {
    for index in KINDS {
        let registry = RealRegistry::start();
        let kept = image("kept");
        let expired = index().child(&platform("one")).child(&platform("two")).build();
        registry.store().write("app", &["keep"], &kept);
        registry.store().write("app", &["old"], &expired);
        let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
        assert_eq!(run.deleted(), named("app", expired.tree()));
        assert_holds(&registry, "app", &[("keep", &kept)]);
        assert_eq!(deletions(&registry)[0], expired.digest, "the index goes before its children");
        assert_all_pullable(&registry);
    }
}

#[test]
fn child_of_a_kept_index_is_kept() {
    for index in KINDS {
        let registry = RealRegistry::start();
        let [alone, both, other] = ["alone", "both", "other"].map(platform);
        let expired = index().child(&alone).child(&both).build();
        let kept = index().child(&both).child(&other).build();
        registry.store().write("app", &["old"], &expired);
        registry.store().write("app", &["keep"], &kept);
        sweeper(&registry).run(&["run"]).exits(0);
        assert_holds(&registry, "app", &[("keep", &kept)]);
        assert_all_pullable(&registry);
    }
}

#[test]
fn child_with_a_kept_tag_of_its_own_is_kept() {
    for index in KINDS {
        let registry = RealRegistry::start();
        let (tagged, bare) = (platform("tagged"), platform("bare"));
        registry.store().write("app", &["old"], &index().child(&tagged).child(&bare).build());
        registry.store().write("app", &["keep"], &tagged);
        sweeper(&registry).run(&["run"]).exits(0);
        assert_holds(&registry, "app", &[("keep", &tagged)]);
        assert_all_pullable(&registry);
    }
}

#[test]
fn child_with_an_expired_tag_is_kept_by_its_index() {
    for index in KINDS {
        let registry = RealRegistry::start();
        let child = platform("child");
        let kept = index().child(&child).build();
        registry.store().write("app", &["keep"], &kept);
        registry.store().write("app", &["old"], &child);
        let plan = sweeper(&registry).run(&["plan", "--output", "json"]).exits(0);
        assert_eq!(plan.reasons(&child.digest), ["expired", "child-of-kept"]);
        sweeper(&registry).run(&["run"]).exits(0);
        assert_holds(&registry, "app", &[("keep", &kept), ("old", &child)]);
        assert_all_pullable(&registry);
    }
}

#[test]
fn nested_index_is_kept_or_deleted_with_the_outer_one() {
    let registry = RealRegistry::start();
    let [deep, shallow, shared] = ["deep", "shallow", "shared"].map(platform);
    let inner = Index::oci().child(&deep).child(&shared).build();
    let outer = Index::oci().child(&inner).child(&shallow).build();
    let other = Index::oci().child(&shared).build();
    registry.store().write("gone", &["old"], &outer);
    registry.store().write("gone", &["keep"], &other);
    registry.store().write("kept", &["keep"], &outer);
    registry.store().write("kept", &["old"], &inner);
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("gone", [&deep, &shallow, &inner, &outer]));
    assert_holds(&registry, "gone", &[("keep", &other)]);
    assert_holds(&registry, "kept", &[("keep", &outer), ("old", &inner)]);
    let order = deletions(&registry);
    let at = |content: &Content| order.iter().position(|digest| *digest == content.digest).unwrap();
    assert!(at(&outer) < at(&inner) && at(&inner) < at(&deep), "{order:?}");
}

#[test]
fn untagged_image_is_kept_unless_the_policy_deletes_it() {
    let registry = RealRegistry::start();
    let (kept, loose) = (image("kept"), image("loose"));
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &[], &loose);
    sweeper(&registry).run(&["run"]).exits(0);
    assert_holds(&registry, "app", &[("keep", &kept), ("", &loose)]);
}

fn platform(name: &str) -> Content {
    Image::new(name).created("2020-01-01T00:00:00Z").platform("linux", name).build()
}

/// Asked for a layer as if it were a manifest, 2.8 answers 500, and the repository would never be swept.
#[tokio::test]
async fn build_cache_is_kept_or_deleted_with_its_layers() {
    let mut registry = RealRegistry::start();
    let kept = Index::buildkit_cache("kept").build();
    // BuildKit dates no cache; so that it need not be remembered for days, this one has a date.
    let dated = ("org.opencontainers.image.created", "2020-01-01T00:00:00Z");
    let expired = Index::buildkit_cache("expired").annotation(dated.0, dated.1).build();
    let old = image("old");
    let pusher = Pusher::new(&registry.url());
    for (tag, content) in [("keep-cache", &kept), ("old-cache", &expired), ("old", &old)] {
        pusher.push("app", tag, content).await.unwrap();
    }
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&expired, &old]));
    let failed = registry.requests().into_iter().filter(|one| one.status >= 500);
    assert!(failed.clone().next().is_none(), "{:?}", Vec::from_iter(failed));
    assert_holds(&registry, "app", &[("keep-cache", &kept)]);
    registry.stop();
    registry.garbage_collect(&[]);
    let has = |blob: &Vec<u8>| registry.store().has_blob(&digest(blob));
    assert!(kept.blobs.iter().all(has) && !expired.blobs.iter().any(has));
}
