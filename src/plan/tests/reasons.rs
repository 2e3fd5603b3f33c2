//! The sentences of reasons, and the bytes of a plan. A case expects each reason code.

use super::*;

#[test]
fn reason_codes_all_occur_in_these_tests() {
    let table = [
        include_str!("criteria.rs"),
        include_str!("incomplete.rs"),
        include_str!("indexes.rs"),
        include_str!("limits.rs"),
        include_str!("placeholders.rs"),
        include_str!("protections.rs"),
        include_str!("reasons.rs"),
        include_str!("referrers.rs"),
        include_str!("rules.rs"),
        include_str!("subjects.rs"),
    ]
    .concat();
    let source = include_str!("../reason.rs");
    let codes: Vec<&str> = source
        .lines()
        .skip_while(|line| !line.contains("fn code"))
        .take_while(|line| !line.contains("fn verdict"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    let expected = table.lines().filter(|line| line.contains("keep: ") || line.contains("delete: "));
    let words: BTreeSet<&str> = expected.flat_map(|line| line.split(&[' ', '"'][..])).collect();
    for code in codes {
        assert!(words.contains(code), "no case expects the reason {code}");
    }
}

#[test]
fn reasons_name_values_and_limits() {
    let repository = TestRepository::new().image("a", 24, &["1.0.1"]).image("b", 24 * 20, &["1.0.0"]).image(
        "c",
        24 * 21,
        &["0.9.0", "latest"],
    );
    let input = rules(vec![rule(
        "releases",
        r"\d.*",
        Keep::Any(vec![
            newest(1),
            newer_than(24 * 14),
            last(1, Period::Weekly),
            versions(1, Some(Line::Major)),
        ]),
    )]);
    let plan = repository.plan(&input);
    let text: Vec<String> =
        plan.manifests.iter().flat_map(|planned| planned.reasons.iter().map(ToString::to_string)).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    rule releases keeps 1.0.1: it ranks 1 of 3 by age (newest: 1)
    rule releases keeps 1.0.1: it is 24h old (newer_than: 14d)
    rule releases keeps 1.0.1: it is the youngest image of 2026-W25 (weekly: 1)
    rule releases keeps 1.0.1: 1.0.1 ranks 1 among the versions of its major line (versions: {newest: 1, per: major})
    no rule claims tag latest
    rule releases keeps 0.9.0: 0.9.0 ranks 1 among the versions of its major line (versions: {newest: 1, per: major})
    rule releases no longer keeps 1.0.0: it ranks 2 of 3 by age (newest: 1); it is 20d old (newer_than: 14d); 2026-W22 is outside the last week that has images (weekly: 1); 1.0.0 ranks 2 among the versions of its major line (versions: {newest: 1, per: major})
    ");
}

#[test]
fn bytes_count_shared_blobs_once() {
    let shared = Blob { digest: digest("layer"), size: 1000 };
    let share = |manifest: &mut Manifest| manifest.blobs.push(shared.clone());
    let repository = TestRepository::new()
        .image("a", 9, &["t1"])
        .edit("a", share)
        .image("b", 9, &["t2"])
        .edit("b", share)
        .index("index", &["a", "b"], &["t3"]);
    let plan = repository.plan(&nothing());
    let bytes =
        |name: &str| plan.manifests.iter().find(|planned| planned.digest == digest(name)).unwrap().bytes;
    assert_eq!((bytes("a"), bytes("index")), (1011, 1023));
    assert_eq!((plan.referenced_bytes, plan.expired_bytes), (0, 1023));
    let frees: Vec<u64> = plan.deletions().map(|planned| planned.frees).collect();
    assert_eq!(frees.iter().sum::<u64>(), plan.expired_bytes, "each byte is freed once: {frees:?}");
    let keep_b = rules(vec![rule("r", "t[13]", Keep::Nothing)]);
    let plan = repository.plan(&keep_b);
    assert_eq!(plan.expired_bytes, 1 + 10 + 1);
    assert_eq!(plan.referenced_bytes, 1 + 10 + 1000, "a shared layer counts for the kept image");
    let plan = repository.plan(&rules(vec![rule("r", "t.", Keep::Everything)]));
    assert_eq!((plan.referenced_bytes, plan.expired_bytes), (1023, 0), "and counts once");
}
