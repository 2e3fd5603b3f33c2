//! What protections, `at_least` and an undo keep although the rules expire it.

use super::*;

#[test]
fn protections_override_the_rules() {
    let repository = TestRepository::new()
        .image("tagged", 900, &["prod-1"])
        .image("labelled", 900, &["t1"])
        .label("labelled", "retention.keep", "true")
        .image("not-labelled", 900, &["t2"])
        .label("not-labelled", "retention.keep", "false")
        .image("keyed", 900, &["t3"])
        .label("keyed", "hold", "whatever")
        .image("young", 1, &["t4"]);
    let input = nothing().protect(|protect| {
        protect.tags = Patterns::parse(&["prod-.*"]).unwrap();
        protect.labels = vec![
            Label { key: "retention.keep".into(), value: Some("true".into()) },
            Label { key: "hold".into(), value: None },
        ];
        protect.newer_than = TimeDelta::hours(2);
    });
    repository.check(
        &input,
        &[
            "tagged keep: protected-tag",
            "labelled keep: expired protected-label",
            "not-labelled delete: expired",
            "keyed keep: expired protected-label",
            "young keep: expired protected-newer-than",
        ],
    );
}

#[test]
fn protected_manifest_keeps_its_expired_tags() {
    let repository = TestRepository::new().image("a", 1, &["pr-1", "prod"]);
    let input = rules(vec![rule("prs", "pr-.*", Keep::Nothing)]).deletes_tags();
    repository.check(
        &input.protect(|protect| protect.newer_than = TimeDelta::hours(2)),
        &["a keep: unclaimed expired protected-newer-than"],
    );
}

#[test]
fn protected_label_of_a_child_protects_its_index() {
    let repository = TestRepository::new()
        .image("amd64", 9, &[])
        .image("arm64", 9, &[])
        .label("arm64", "hold", "x")
        .index("index", &["amd64", "arm64"], &["t1"]);
    let input = nothing().protect(|protect| protect.labels = vec![Label { key: "hold".into(), value: None }]);
    repository.check(
        &input,
        &["index keep: expired protected-label", "amd64 keep: child-of-kept", "arm64 keep: child-of-kept"],
    );
}

#[test]
fn at_least_keeps_the_youngest() {
    let repository =
        TestRepository::new().image("a", 1, &["t1"]).image("b", 2, &["t2"]).image("c", 3, &["t3"]);
    repository.check(
        &nothing().protect(|protect| protect.at_least = 2),
        &["a keep: expired at-least", "b keep: expired at-least", "c delete: expired"],
    );
}

#[test]
fn at_least_does_not_count_signatures() {
    let repository =
        TestRepository::new().image("a", 1, &["t1"]).image("s", 1, &[&sig("a")]).image("b", 2, &["t2"]);
    repository.check(
        &nothing().protect(|protect| protect.at_least = 1),
        &["a keep: expired at-least", "s keep: referrer-of-kept", "b delete: expired"],
    );
}

#[test]
fn restored_manifest_keeps_all_its_tags() {
    let mut repository = TestRepository::new().image("a", 9000, &["a"]).image("b", 9000, &["b"]);
    let observation = Observation { noticed: ago(9000), untagged_since: None, restored: Some(ago(24)) };
    repository.snapshot.observations.insert(digest("a"), observation);
    repository.check(&nothing(), &["a keep: expired restored", "b delete: expired"]);
}
