//! The placeholders of untagging, and what an interrupted run left to be deleted.

use super::*;

#[test]
fn leftover_is_deleted_with_its_referrers() {
    let mut repository = TestRepository::new().image("child", 9000, &[]).image("sig", 9000, &[&sig("child")]);
    repository.snapshot.leftovers.insert(digest("child"));
    repository.check(&nothing(), &["child delete: leftover", "sig delete: referrer-of-expired"]);
}

#[test]
fn placeholder_is_deleted_against_its_rule_and_does_not_count() {
    let repository = || {
        let repository = TestRepository::new().image("a", 9000, &["a"]).image("left", 2, &["v1"]);
        repository.label("left", PLACEHOLDER, "v1")
    };
    let input = || all(vec![newest(1)]);
    repository().check(&input(), &["a delete: expired", "left keep: newest"]);
    let always = || {
        let mut input = input().deletes_tags();
        input.policy.untag = Untagging::Always;
        input
    };
    repository().check(&always(), &["a keep: newest", "left delete: placeholder"]);
    let young = always().protect(|protect| protect.newer_than = TimeDelta::hours(3));
    repository().check(&young, &["a keep: newest", "left keep: placeholder protected-newer-than"]);
    // With the label of another tag, or with a second tag, it is an ordinary image.
    let other = repository().label("left", PLACEHOLDER, "v2");
    other.check(&always(), &["a delete: expired", "left keep: newest"]);
    let two = TestRepository::new().image("left", 2, &["v1", "v2"]).label("left", PLACEHOLDER, "v1");
    two.check(&always(), &["left keep: newest"]);
}

#[test]
fn placeholder_does_not_count_for_at_least() {
    let repository =
        TestRepository::new().image("a", 9000, &["a"]).image("b", 9001, &["b"]).image("left", 2, &["v1"]);
    let repository = repository.label("left", PLACEHOLDER, "v1");
    let input = |newer_than: i64| {
        let mut input = nothing().deletes_tags().protect(|protect| {
            protect.at_least = 1;
            protect.newer_than = TimeDelta::hours(newer_than);
        });
        input.policy.untag = Untagging::Always;
        input
    };
    // It is neither counted while it is too young to be deleted nor kept once it is not.
    repository.check(
        &input(3),
        &["a keep: expired at-least", "b delete: expired", "left keep: placeholder protected-newer-than"],
    );
    repository
        .check(&input(1), &["a keep: expired at-least", "b delete: expired", "left delete: placeholder"]);
    assert_eq!(repository.plan(&input(1)).counted, [Counted::Image; 2], "nor does max_percent count it");
}
