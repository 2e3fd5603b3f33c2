//! What a snapshot without some of the facts keeps.

use super::*;

#[test]
fn unread_manifests_are_kept() {
    let repository =
        TestRepository::new().image("a", 9, &["t1"]).image("child", 9, &[]).image("b", 9, &["t3"]);
    let unreadable = |manifest: &mut Manifest| {
        manifest.facts = Facts::Unknown { why: "the configuration is gone".into(), lasting: false };
    };
    let repository =
        repository.edit("a", unreadable).edit("child", unreadable).index("index", &["child", "b"], &["t2"]);
    repository.check(
        &nothing(),
        &[
            "a keep: expired unread age-unknown",
            "index keep: expired unread",
            "child keep: child-of-kept",
            "b keep: expired child-of-kept",
        ],
    );
}

#[test]
fn gap_in_the_snapshot_keeps_everything() {
    let repository = TestRepository::new().image("a", 9, &["t1"]).index("index", &["never read"], &["t2"]);
    repository.check(&nothing(), &["a keep: unread", "index keep: unread"]);
    repository
        .absent("never read")
        .check(&nothing(), &["a delete: expired", "index keep: expired age-unknown"]);
}
