//! Referrers and their subjects: which are kept and deleted together.

use super::*;

#[test]
fn referrers_by_tag_have_the_verdict_of_their_subject() {
    let repository = TestRepository::new()
        .image("old", 9, &["pr-1"])
        .image("old-sig", 9, &[&sig("old")])
        .image("new", 9, &["v1"])
        .image("new-sig", 9, &[&sig("new")]);
    repository.check(
        &rules(vec![rule("all", "pr-.*|sha256-.*", Keep::Nothing)]),
        &[
            "old delete: expired",
            "old-sig delete: referrer-of-expired",
            "new keep: unclaimed",
            "new-sig keep: referrer-of-kept",
        ],
    );
}

#[test]
fn referrers_by_field_and_their_referrers_have_the_verdict_of_the_subject() {
    let repository = TestRepository::new()
        .image("old", 9, &["t1"])
        .add("sbom", Kind::Artifact, None, &[])
        .about("sbom", "old")
        .add("sbom-sig", Kind::Artifact, None, &[&sig("sbom")]);
    repository.check(
        &nothing(),
        &["old delete: expired", "sbom delete: referrer-of-expired", "sbom-sig delete: referrer-of-expired"],
    );
}

#[test]
fn signature_of_a_child_has_the_verdict_of_the_index() {
    let repository = TestRepository::new()
        .image("child", 9, &[])
        .image("child-sig", 9, &[&sig("child")])
        .index("index", &["child"], &["t1"]);
    repository.check(
        &nothing(),
        &["index delete: expired", "child delete: child-of-expired", "child-sig delete: referrer-of-expired"],
    );
    repository.check(
        &rules(vec![]),
        &["index keep: unclaimed", "child keep: child-of-kept", "child-sig keep: referrer-of-kept"],
    );
}

#[test]
fn fallback_index_is_deleted_with_its_subject_and_its_list() {
    let fallback = digest("old").as_str().replace(':', "-");
    let repository = TestRepository::new()
        .image("old", 9, &["t1"])
        .add("sbom", Kind::Artifact, None, &[])
        .about("sbom", "old")
        .index("fallback", &["sbom"], &[&fallback]);
    repository.check(
        &nothing(),
        &[
            "old delete: expired",
            "fallback delete: referrer-of-expired",
            "sbom delete: child-of-expired referrer-of-expired",
        ],
    );
}

#[test]
fn subject_of_a_kept_referrer_is_kept() {
    let repository = TestRepository::new()
        .image("old", 9, &["pr-1"])
        .add("sbom", Kind::Artifact, None, &["sbom-of-1"])
        .about("sbom", "old");
    repository.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &["old keep: expired subject-of-kept", "sbom keep: unclaimed"],
    );
}

#[test]
fn signature_of_two_subjects_is_kept_while_one_of_them_is() {
    let repository = TestRepository::new().image("old", 9, &["pr-1"]).image("new", 9, &["v1"]).image(
        "both",
        9,
        &[&sig("old"), &sig("new")],
    );
    repository.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &["old keep: expired subject-of-kept", "new keep: unclaimed", "both keep: referrer-of-kept"],
    );
}

#[test]
fn orphan_is_deleted_once_it_is_old_enough() {
    let repository = TestRepository::new()
        .image("old-sig", 9, &[&sig("gone-1")])
        .image("young-sig", 1, &[&sig("gone-2")])
        .add("ageless-sig", Kind::Artifact, None, &[&sig("gone-3")])
        .image("unread-sig", 9, &[&sig("unread")])
        .lost("gone-1")
        .lost("gone-2")
        .lost("gone-3");
    repository.check(
        &nothing().protect(|protect| protect.newer_than = TimeDelta::hours(2)),
        &[
            "old-sig delete: orphan",
            "young-sig keep: orphan-newer-than",
            "ageless-sig keep: age-unknown",
            "unread-sig keep: unread",
        ],
    );
}

#[test]
fn cycle_of_untagged_referrers_is_kept() {
    let repository = TestRepository::new()
        .add("a", Kind::Artifact, None, &[])
        .about("a", "b")
        .add("b", Kind::Artifact, None, &[])
        .about("b", "a");
    let lines = repository.lines(&repository.plan(&nothing().untagged(1)));
    assert!(lines.iter().all(|line| line.contains("keep: untagged")), "{lines:?}");
}
