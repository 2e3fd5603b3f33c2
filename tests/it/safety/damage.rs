//! Storage in which something is missing, damaged or hidden: nothing is deleted because of it.

use std::collections::BTreeSet;
use std::fs;

use super::harness::{
    OLD_TAGS_EXPIRE, assert_all_pullable, assert_holds, image, named, stored_manifests, sweeper,
};
use crate::support::image::{Image, Index};
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::Regsweep;

#[test]
fn dangling_tag_neither_fails_the_run_nor_keeps_an_image() {
    let registry = RealRegistry::start();
    let (kept, expired, other) = (image("kept"), image("expired"), image("other"));
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["old"], &expired);
    registry.store().write_dangling_tag("app", "old-dangling");
    registry.store().write_dangling_tag("app", "keep-dangling");
    registry.store().write("other", &["old"], &other);
    let plan = sweeper(&registry).run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(
        plan.json()["repositories"][0]["dangling_tags"].to_string(),
        r#"["keep-dangling","old-dangling"]"#
    );
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    let to_delete: BTreeSet<String> = &named("app", [&expired]) | &named("other", [&other]);
    assert_eq!(run.deleted(), to_delete);
    assert_holds(&registry, "app", &[("keep", &kept)]);
    assert_all_pullable(&registry);
}

#[test]
fn dangling_tag_does_not_count_for_a_rule() {
    let registry = RealRegistry::start();
    let of = |year: u32| Image::new("app").created(format!("{year}-01-01T00:00:00Z")).layer("x").build();
    let (oldest, older, newest) = (of(2020), of(2021), of(2022));
    for (tag, content) in [("1", &oldest), ("2", &older), ("3", &newest)] {
        registry.store().write("app", &[tag], content);
    }
    let rules = OLD_TAGS_EXPIRE.replace("tags: 'old.*', keep: none", "tags: '.*', keep: { newest: 1 }");
    let regsweep = Regsweep::new(&registry.url(), &rules);
    // Its tags are remembered, so from now on they are only asked whether they have changed.
    let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.to_delete(), named("app", [&oldest, &older]));
    std::fs::create_dir_all(regsweep.state_dir()).unwrap();
    regsweep.run(&["plan"]).exits(0);
    // As a registry leaves it that is killed in the middle of a deletion: the tag still leads to it.
    registry.store().remove_revision("app", &newest.digest);
    let run = regsweep.run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&oldest]));
    assert_holds(&registry, "app", &[("2", &older)]);
    let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.json()["repositories"][0]["dangling_tags"].to_string(), r#"["3"]"#);
    assert_eq!(plan.to_delete(), BTreeSet::new());
}

#[test]
fn index_with_a_missing_child_keeps_its_other_children() {
    let registry = RealRegistry::start();
    let [there, missing, other] = ["there", "missing", "other"].map(image);
    let kept = Index::oci().child(&there).missing_child(&missing).build();
    let expired = Index::oci().child(&there).child(&other).missing_child(&missing).build();
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["old"], &expired);
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&expired, &other]));
    assert_holds(&registry, "app", &[("keep", &kept)]);
}

#[test]
fn corrupted_manifest_keeps_its_repository_and_is_reported() {
    let registry = RealRegistry::start();
    let [expired, broken, other, kept] = ["expired", "broken", "other", "kept"].map(image);
    registry.store().write("app", &["old"], &expired);
    registry.store().write("app", &["keep"], &broken);
    registry.store().write("other", &["old"], &other);
    registry.store().write("other", &["keep"], &kept);
    let path = registry.store().blob_path(&broken.digest);
    let text = fs::read_to_string(&path).unwrap();
    let digit = text.find("sha256:").unwrap() + 7;
    let flipped = if text.as_bytes()[digit] == b'0' { "1" } else { "0" };
    fs::write(&path, [&text[..digit], flipped, &text[digit + 1..]].concat()).unwrap();
    for command in ["plan", "run"] {
        let ran = sweeper(&registry).run(&[command, "--output", "json"]).exits(1);
        let failures = &ran.json()["failures"];
        assert_eq!(failures[0]["repository"], "app", "{failures}");
        assert_eq!(failures[0]["kind"], "digest_mismatch", "{failures}");
        assert!(ran.stderr.contains("the manifest does not match its digest"), "{}", ran.stderr);
    }
    assert_holds(&registry, "app", &[("old", &expired), ("keep", &broken)]);
    assert_holds(&registry, "other", &[("keep", &kept)]);
}

#[test]
fn corrupted_child_keeps_its_repository() {
    let registry = RealRegistry::start();
    let [broken, expired, kept] = ["broken", "expired", "kept"].map(image);
    let index = Index::oci().child(&broken).build();
    registry.store().write("app", &["old-index"], &index);
    registry.store().write("app", &["old"], &expired);
    registry.store().write("app", &["keep"], &kept);
    fs::write(registry.store().blob_path(&broken.digest), "").unwrap();
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(1);
    assert_eq!(run.deleted(), BTreeSet::new());
    assert_holds(&registry, "app", &[("old-index", &index), ("old", &expired), ("keep", &kept)]);
}

#[test]
fn image_with_a_missing_configuration_is_kept() {
    let registry = RealRegistry::start();
    let [hollow, child, expired] = ["hollow", "child", "expired"].map(image);
    let index = Index::oci().child(&child).child(&image("other")).build();
    for (tag, content) in [("old-hollow", &hollow), ("old-index", &index), ("old", &expired)] {
        registry.store().write("app", &[tag], content);
    }
    fs::remove_file(registry.store().blob_path(&hollow.config_digest())).unwrap();
    fs::remove_file(registry.store().blob_path(&child.config_digest())).unwrap();
    let plan = sweeper(&registry).run(&["plan", "--output", "json"]).exits(0);
    for content in [&hollow, &index] {
        assert!(plan.reasons(&content.digest).contains(&"unread".to_owned()), "{plan:?}");
    }
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&expired]));
    assert_holds(&registry, "app", &[("old-hollow", &hollow), ("old-index", &index)]);
}

#[test]
fn catalog_in_small_pages_is_read_to_its_end() {
    let registry = RealRegistry::options().max_entries(7).start();
    for number in 0..40 {
        let repository = format!("team{}/app{number}", number % 3);
        registry.store().write(&repository, &["old"], &image(&format!("{number}")));
        registry.store().write(&repository, &["keep"], &image("kept"));
    }
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted().len(), 40);
    assert!(stored_manifests(&registry).iter().all(|name| name.ends_with(&image("kept").digest)));
    assert_eq!(stored_manifests(&registry).len(), 40);
}

/// Where a page of these is full with `a/1x`, the catalog of 2.8 ends there without a word. Asked to go
/// on behind it, it leaves out `a`, which it takes for earlier.
const NESTED: [&str; 6] = ["1z", "a/1x", "a", "a/b", "b", "c/d"];

#[test]
fn catalog_that_ends_early_deletes_nothing_too_much() {
    for entries in [1, 2, 3, 4, 5, 6, 7, 1000] {
        let registry = RealRegistry::options().max_entries(entries).start();
        let kept = image("kept");
        let mut to_delete = BTreeSet::new();
        for repository in NESTED {
            let expired = image(repository);
            registry.store().write(repository, &["old"], &expired);
            registry.store().write(repository, &["keep"], &kept);
            if repository != "a" || entries > 2 {
                to_delete.extend(named(repository, [&expired]));
            }
        }
        let before = stored_manifests(&registry);
        let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
        assert_eq!(run.deleted(), to_delete, "{entries}");
        assert_eq!(stored_manifests(&registry), &before - &to_delete, "{entries}");
    }
}
