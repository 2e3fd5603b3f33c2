//! Which rule decides a tag, and when an untagged manifest is deleted.

use super::*;

#[test]
fn keep_all_and_keep_none_have_their_own_reasons() {
    let repository = TestRepository::new().image("a", 1, &["keep-1"]).image("b", 2, &["drop-1"]);
    let input =
        rules(vec![rule("keeps", "keep-.*", Keep::Everything), rule("drops", "drop-.*", Keep::Nothing)]);
    repository.check(&input, &["a keep: keep-all", "b delete: expired"]);
}

#[test]
fn rule_that_claims_a_tag_first_decides_it() {
    let repository = TestRepository::new().image("a", 1, &["pr-1"]).image("b", 2, &["pr-2"]);
    let input = rules(vec![rule("one", "pr-1", Keep::Nothing), rule("two", "pr-.*", Keep::Everything)]);
    repository.check(&input, &["a delete: expired", "b keep: keep-all"]);
}

#[test]
fn tag_that_no_rule_claims_is_kept() {
    let repository = TestRepository::new().image("a", 1, &["other"]).image("b", 2, &["pr-2"]);
    repository.check(
        &rules(vec![rule("prs", "pr-.*", Keep::Nothing)]),
        &["a keep: unclaimed", "b delete: expired"],
    );
}

#[test]
fn group_by_counts_within_each_group() {
    let repository = TestRepository::new()
        .image("a", 1, &["nightly-main-1"])
        .image("b", 2, &["nightly-main-2"])
        .image("c", 3, &["nightly-dev-1"]);
    let mut nightly = rule("nightly", "nightly-(?<branch>.+)-[0-9]", Keep::Any(vec![newest(1)]));
    nightly.group_by = vec!["branch".into()];
    repository.check(&rules(vec![nightly]), &["a keep: newest", "b delete: expired", "c keep: newest"]);
}

#[test]
fn tag_that_is_kept_keeps_the_manifest_and_its_other_tags() {
    let repository = TestRepository::new().image("a", 1, &["pr-1", "prod"]).image("b", 2, &["pr-2"]);
    let input = || rules(vec![rule("prs", "pr-.*", Keep::Nothing)]);
    repository.check(&input(), &["a keep: unclaimed expired shares-manifest", "b delete: expired"]);
    repository.check(
        &input().deletes_tags(),
        &["a keep: unclaimed expired tag-expired", "b delete: expired", "untag pr-1"],
    );
}

#[test]
fn tags_of_one_manifest_are_evaluated_by_their_own_rules() {
    let repository = TestRepository::new().image("a", 1, &["pr-1", "rc-1"]).image("b", 2, &["pr-2", "rc-2"]);
    let input =
        rules(vec![rule("prs", "pr-.*", Keep::Nothing), rule("rcs", "rc-.*", Keep::Any(vec![newest(1)]))]);
    repository.check(&input, &["a keep: expired newest shares-manifest", "b delete: expired expired"]);
    assert_eq!(repository.plan(&input).manifests[0].rules, ["prs", "rcs"]);
}

#[test]
fn untagged_manifests_are_kept_unless_the_policy_deletes_them() {
    let repository = TestRepository::new().image("old", 9, &[]).image("young", 1, &[]).add(
        "ageless",
        Kind::Artifact,
        None,
        &[],
    );
    repository.check(&nothing(), &["old keep: untagged", "young keep: untagged", "ageless keep: untagged"]);
    repository.check(
        &nothing().untagged(2),
        &["old delete: expired-untagged", "young keep: untagged-newer-than", "ageless keep: age-unknown"],
    );
}

#[test]
fn untagged_manifests_that_others_need_are_not_evaluated_as_untagged() {
    let repository = TestRepository::new()
        .image("child", 900, &[])
        .index("index", &["child"], &["v1"])
        .image("subject", 900, &[])
        .image("subject-sig", 900, &[&sig("subject")]);
    repository.check(
        &rules(vec![]).untagged(2),
        &[
            "index keep: unclaimed",
            "child keep: child-of-kept",
            "subject delete: expired-untagged",
            "subject-sig delete: referrer-of-expired",
        ],
    );
}
