//! Indexes and their children: which are kept and deleted together, and in which order.

use super::*;

#[test]
fn index_is_deleted_with_its_children() {
    let repository = TestRepository::new()
        .image("amd64", 9, &[])
        .image("arm64", 10, &[])
        .image("deep", 11, &[])
        .index("inner", &["deep"], &[])
        .index("index", &["amd64", "arm64", "inner"], &["t1"]);
    repository.check(
        &nothing(),
        &[
            "index delete: expired",
            "amd64 delete: child-of-expired",
            "arm64 delete: child-of-expired",
            "inner delete: child-of-expired",
            "deep delete: child-of-expired",
        ],
    );
    let plan = repository.plan(&nothing());
    let order: Vec<&str> =
        plan.manifests.iter().map(|planned| repository.names[&planned.digest].as_str()).collect();
    let place = |name: &str| order.iter().position(|other| *other == name).unwrap();
    assert!(place("index") < place("inner") && place("inner") < place("deep"), "{order:?}");
}

#[test]
fn index_without_a_date_is_as_old_as_its_youngest_child() {
    let repository = TestRepository::new()
        .image("young", 1, &[])
        .image("old", 900, &[])
        .index("index", &["young", "old"], &["t1"])
        .index("says", &["young"], &["t2"])
        .edit("says", |manifest| {
            manifest.facts = Facts::Known { created: Some(ago(800)), labels: BTreeMap::new() };
        });
    repository.check(
        &all(vec![newer_than(24)]),
        &[
            "index keep: newer-than",
            "young keep: child-of-kept",
            "old keep: child-of-kept",
            "says delete: expired",
        ],
    );
}

#[test]
fn child_that_a_kept_index_shares_is_kept() {
    let repository = TestRepository::new()
        .image("shared", 9, &[])
        .image("own", 9, &[])
        .index("old", &["shared", "own"], &["pr-1"])
        .index("new", &["shared"], &["latest"]);
    repository.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &[
            "old delete: expired",
            "own delete: child-of-expired",
            "new keep: unclaimed",
            "shared keep: child-of-kept",
        ],
    );
}

#[test]
fn child_with_a_kept_tag_is_kept() {
    let repository = TestRepository::new().image("tagged", 9, &["v1"]).image("plain", 9, &[]).index(
        "index",
        &["tagged", "plain"],
        &["pr-1"],
    );
    repository.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &["index delete: expired", "plain delete: child-of-expired", "tagged keep: unclaimed"],
    );
}

#[test]
fn child_of_a_kept_index_keeps_its_expired_tag() {
    let repository = TestRepository::new().image("child", 9, &["pr-1"]).index("index", &["child"], &["v1"]);
    repository.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]).deletes_tags(),
        &["index keep: unclaimed", "child keep: expired child-of-kept"],
    );
}

#[test]
fn child_that_a_kept_index_lists_as_a_blob_is_kept() {
    let repository = TestRepository::new().image("child", 900, &[]).index("index", &[], &["v1"]);
    let repository =
        repository.edit("index", |index| index.blobs = vec![Blob { digest: digest("child"), size: 1 }]);
    repository.check(&rules(vec![]).untagged(2), &["index keep: unclaimed", "child keep: child-of-kept"]);
}

#[test]
fn index_with_its_own_child_as_subject_is_deleted_before_it() {
    let repository = TestRepository::new()
        .image("child", 900, &[])
        .index("index", &["child"], &["a1"])
        .edit("index", |index| {
            index.facts = Facts::Known { created: Some(ago(800)), labels: BTreeMap::new() }
        })
        .about("index", "child")
        .index("other", &["child"], &["a2"]);
    let plan = repository.plan(&nothing());
    let order: Vec<&str> =
        plan.deletions().map(|planned| repository.names[&planned.digest].as_str()).collect();
    assert_eq!((order.len(), order.last()), (3, Some(&"child")), "{order:?}");
    let child = plan.deletions().last().unwrap();
    assert_eq!(child.after.len(), 2, "{child:?}");
}

#[test]
fn cycle_of_index_and_signature_tag_is_deleted_from_the_index_on() {
    // The index is older than nothing it lists, and a tag says that it signs its own child.
    let repository =
        TestRepository::new().image("child", 9, &["t1"]).index("index", &["child"], &[&sig("child")]);
    repository
        .check(&nothing(), &["child delete: expired child-of-expired", "index delete: referrer-of-expired"]);
    let order: Vec<Digest> =
        repository.plan(&nothing()).deletions().map(|planned| planned.digest.clone()).collect();
    assert_eq!(order, [digest("index"), digest("child")]);
}
