//! Tags that move: the manifests that lose them are recorded, and deleted only if the policy has `untagged` and nothing
//! needs them.

use std::collections::BTreeSet;

use regsweep::plan::Verdict;

use super::harness::{KEEP_14_DAYS, Scanner, assert_all_pullable, day, expected_content, verdict};
use crate::support::image::{Content, Image, Index};
use crate::support::real_registry::RealRegistry;

/// Nothing with a tag goes; what has none does after two weeks.
const UNTAGGED: &str = "\
protect: { newer_than: 0s, at_least: 0 }
limits: { max_percent: 100 }
policies:
  - name: all
    repositories: '.*'
    rules: [{ name: all, tags: '.*', keep: all }]
    untagged: { newer_than: 14d }
";

fn scanner(registry: &RealRegistry, rules: &str) -> Scanner {
    Scanner::new(&registry.url(), rules)
}

/// An image that was made a day before these tests begin.
fn fresh(name: &str) -> Content {
    Image::new(name).created(day(-1).to_rfc3339()).build()
}

fn digests<'a>(contents: impl IntoIterator<Item = &'a Content>) -> BTreeSet<String> {
    contents.into_iter().map(|content| content.digest.clone()).collect()
}

#[tokio::test]
async fn untagged_manifest_is_deleted_when_it_is_old_enough() {
    let registry = RealRegistry::start();
    let scanner = scanner(&registry, UNTAGGED);
    let [first, second] = ["first", "second"].map(fresh);
    registry.store().write("app", &["latest"], &first);
    assert_eq!(scanner.to_delete(day(0)).await, BTreeSet::new());
    registry.store().write("app", &["latest"], &second);
    for number in [1, 14] {
        assert_eq!(scanner.to_delete(day(number)).await, BTreeSet::new(), "day {number}");
        let planned = scanner.inspect("app", day(number)).await;
        assert_eq!(verdict(&planned, &first), (Verdict::Keep, vec!["untagged-newer-than".into()]));
    }
    // It lost its tag on day 1.
    assert_eq!(scanner.to_delete(day(15)).await, digests([&first]));
    let run = scanner.run(day(16)).await.unwrap();
    assert_eq!(run.report.deleted.len(), 1);
    assert_eq!(registry.store().repository("app"), expected_content(&[("latest", &second)]));
    assert_all_pullable(&registry);
}

#[tokio::test]
async fn untagged_manifest_is_kept_without_a_rule_for_it() {
    let registry = RealRegistry::start();
    let without = scanner(&registry, &UNTAGGED.replace("    untagged: { newer_than: 14d }\n", ""));
    let [first, second] = ["first", "second"].map(fresh);
    registry.store().write("app", &["latest"], &first);
    without.plan_at(day(0)).await;
    registry.store().write("app", &["latest"], &second);
    for number in [1, 100] {
        let run = without.run(day(number)).await.unwrap();
        assert_eq!((run.report.deleted, run.report.failures), (vec![], vec![]));
    }
    let planned = without.inspect("app", day(100)).await;
    assert_eq!(verdict(&planned, &first), (Verdict::Keep, vec!["untagged".into()]));
    assert_eq!(registry.store().repository("app"), expected_content(&[("latest", &second), ("", &first)]));
}

#[tokio::test]
async fn untagged_manifest_is_kept_by_an_index_or_a_returning_tag() {
    let registry = RealRegistry::start();
    let scanner = scanner(&registry, UNTAGGED);
    let [listed, returned, gone, last] = ["listed", "returned", "gone", "last"].map(fresh);
    for (number, content) in [&listed, &returned, &gone, &last].into_iter().enumerate() {
        registry.store().write("app", &["latest"], content);
        assert_eq!(scanner.to_delete(day(number as i64)).await, BTreeSet::new());
    }
    let index = Index::oci().child(&listed).build();
    registry.store().write("app", &["index"], &index);
    registry.store().write("app", &["rollback"], &returned);
    let run = scanner.run(day(50)).await.unwrap();
    assert_eq!(
        run.report.deleted.iter().map(|one| one.digest.to_string()).collect::<Vec<_>>(),
        [gone.digest.as_str()]
    );
    let expected = [("latest", &last), ("index", &index), ("rollback", &returned)];
    assert_eq!(registry.store().repository("app"), expected_content(&expected));
    // The tag leaves again, and is found to have on day 63.
    registry.store().write("app", &["rollback"], &last);
    assert_eq!(scanner.to_delete(day(63)).await, BTreeSet::new());
    assert_eq!(scanner.to_delete(day(76)).await, BTreeSet::new());
    assert_eq!(scanner.to_delete(day(77)).await, digests([&returned]));
    assert_all_pullable(&registry);
}

#[tokio::test]
async fn untagged_manifest_is_kept_by_a_tag_that_returns_after_the_plan() {
    let registry = RealRegistry::start();
    let scanner = scanner(&registry, UNTAGGED);
    let [first, second] = ["first", "second"].map(fresh);
    registry.store().write("app", &["latest"], &first);
    scanner.plan_at(day(0)).await;
    registry.store().write("app", &["latest"], &second);
    scanner.plan_at(day(1)).await;
    assert_eq!(scanner.to_delete(day(20)).await, digests([&first]));
    registry.store().write("app", &["stable"], &first);
    let run = scanner.run(day(21)).await.unwrap();
    assert_eq!(run.report.deleted, []);
    assert_eq!(
        registry.store().repository("app"),
        expected_content(&[("latest", &second), ("stable", &first)])
    );
}

#[tokio::test]
async fn untagged_index_in_the_scan_history_protects_its_children() {
    for (untagged, shared_stays) in [("", true), ("    untagged: { newer_than: 14d }\n", false)] {
        let registry = RealRegistry::start();
        let scanner = scanner(&registry, &format!("{KEEP_14_DAYS}{untagged}"));
        let [shared, own, other, kept] = ["shared", "own", "other", "kept"].map(fresh);
        let left = Index::oci().child(&shared).child(&own).build();
        let expired = Index::oci().child(&shared).child(&other).build();
        registry.store().write("app", &["moving"], &left);
        scanner.plan_at(day(0)).await;
        // From here on only the scan history leads to the first index.
        registry.store().write("app", &["moving"], &expired);
        scanner.plan_at(day(1)).await;
        registry.store().write("app", &["moved"], &expired);
        registry.store().write("app", &["moving"], &kept);
        scanner.plan_at(day(20)).await;
        // What was tagged on day 20 goes two weeks after that; what lost its tag on day 1 was never younger.
        assert!(!scanner.to_delete(day(33)).await.contains(&expired.digest));
        let run = scanner.run(day(34)).await.unwrap();
        assert_eq!(run.report.failures, []);
        let now = registry.store().repository("app");
        assert_eq!(now.manifests.contains(&left.digest), shared_stays, "{untagged}");
        assert_eq!(now.manifests.contains(&shared.digest), shared_stays, "{untagged}");
        assert_eq!(now.manifests.contains(&own.digest), shared_stays, "{untagged}");
        assert!(!now.manifests.contains(&expired.digest) && !now.manifests.contains(&other.digest));
    }
}

#[tokio::test]
async fn empty_tag_list_deletes_nothing() {
    let registry = RealRegistry::start();
    let scanner = scanner(&registry, UNTAGGED);
    let [first, second] = ["first", "second"].map(fresh);
    registry.store().write("app", &["v1"], &first);
    registry.store().write("app", &["v2"], &second);
    scanner.plan_at(day(0)).await;
    let tags = registry.store_path().join("docker/registry/v2/repositories/app/_manifests/tags");
    let hidden = registry.store_path().join("tags");
    std::fs::rename(&tags, &hidden).unwrap();
    for number in [30, 31, 90] {
        assert_eq!(scanner.to_delete(day(number)).await, BTreeSet::new(), "day {number}");
    }
    let run = scanner.run(day(91)).await.unwrap();
    assert_eq!(run.report.deleted, []);
    std::fs::rename(&hidden, &tags).unwrap();
    assert_eq!(registry.store().repository("app"), expected_content(&[("v1", &first), ("v2", &second)]));
    assert_eq!(scanner.to_delete(day(92)).await, BTreeSet::new());
    // Once another client has deleted everything, there is nothing left to keep.
    for content in [&first, &second] {
        let url = format!("{}/v2/app/manifests/{}", registry.url(), content.digest);
        assert_eq!(reqwest::Client::new().delete(url).send().await.unwrap().status(), 202);
    }
    scanner.plan_at(day(93)).await;
    let app = regsweep::model::RepositoryName::parse("app").unwrap();
    assert!(scanner.open().load_scan_history("main", &app).unwrap().tags.is_empty());
}
