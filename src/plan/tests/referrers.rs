//! Referrers whose subject is not in the repository: if it was there before, they are orphans; if not, it may be in
//! another repository.

use super::timeline::{Timeline, day, ten_days};
use super::*;

#[test]
fn referrer_of_an_absent_subject_is_evaluated_like_an_image() {
    let [first, second] = [sig("elsewhere-1"), sig("elsewhere-2")];
    let repository = TestRepository::new().image("s1", 9, &[&first]).image("s2", 19, &[&second]);
    let repository = repository.absent("elsewhere-1").absent("elsewhere-2");
    repository.check(&rules(vec![]), &["s1 keep: unclaimed", "s2 keep: unclaimed"]);
    let keep_all = || rules(vec![rule("all", ".*", Keep::Everything)]);
    repository.check(&keep_all(), &["s1 keep: keep-all", "s2 keep: keep-all"]);
    repository.check(&all(vec![newer_than(10)]), &["s1 keep: newer-than", "s2 delete: expired"]);
    repository.check(&nothing(), &["s1 delete: expired", "s2 delete: expired"]);
    let protected = nothing().protect(|protect| protect.tags = Patterns::parse(&[".*"]).unwrap());
    repository.check(&protected, &["s1 keep: protected-tag", "s2 keep: protected-tag"]);
    let young = nothing().protect(|protect| protect.newer_than = TimeDelta::hours(10));
    repository.check(&young, &["s1 keep: expired protected-newer-than", "s2 delete: expired"]);
    let one = nothing().protect(|protect| protect.at_least = 1);
    repository.check(&one, &["s1 keep: expired at-least", "s2 delete: expired"]);
    let labelled =
        TestRepository::new().image("s1", 9, &[&first]).label("s1", "hold", "x").absent("elsewhere-1");
    let hold = || Label { key: "hold".into(), value: None };
    labelled.check(
        &nothing().protect(|protect| protect.labels = vec![hold()]),
        &["s1 keep: expired protected-label"],
    );
    let ageless = TestRepository::new().add("s1", Kind::Artifact, None, &[&first]).absent("elsewhere-1");
    ageless.check(&nothing(), &["s1 keep: expired age-unknown"]);
}

#[test]
fn referrer_of_an_absent_subject_does_not_count_as_an_image() {
    let repository = TestRepository::new()
        .image("a", 100, &["a"])
        .image("b", 101, &["b"])
        .image("s1", 1, &[&sig("elsewhere-1")])
        .image("s2", 2, &[&sig("elsewhere-2")])
        .absent("elsewhere-1")
        .absent("elsewhere-2");
    repository.check(
        &all(vec![newest(1)]),
        &["a keep: newest", "b delete: expired", "s1 keep: newest", "s2 delete: expired"],
    );
    // Nor of at_least.
    let images = rules(vec![rule("images", "[ab]", Keep::Nothing)]);
    repository.check(
        &images.protect(|protect| protect.at_least = 1),
        &["a keep: expired at-least", "b delete: expired", "s1 keep: unclaimed", "s2 keep: unclaimed"],
    );
}

#[test]
fn orphan_is_protected_like_an_image() {
    let repository =
        || TestRepository::new().image("s", 9, &[&sig("gone")]).label("s", "hold", "x").lost("gone");
    repository().check(&rules(vec![rule("all", ".*", Keep::Everything)]), &["s delete: orphan"]);
    let tags = nothing().protect(|protect| protect.tags = Patterns::parse(&["sha256-.*"]).unwrap());
    repository().check(&tags, &["s keep: protected-tag orphan"]);
    let hold = || Label { key: "hold".into(), value: None };
    let label = || nothing().protect(|protect| protect.labels = vec![hold()]);
    repository().check(&label(), &["s keep: protected-label orphan"]);
    repository().check(&nothing().protect(|protect| protect.at_least = 1), &["s keep: orphan at-least"]);
    let image = repository().image("a", 1, &["a"]);
    let one = rules(vec![]).protect(|protect| protect.at_least = 1);
    image.check(&one, &["a keep: unclaimed", "s delete: orphan"]);
    let unread = repository().edit("s", |manifest| {
        manifest.facts = Facts::Unknown { why: "the configuration is gone".into(), lasting: false };
    });
    unread.check(&label(), &["s keep: unread orphan"]);
}

#[test]
fn protected_referrer_keeps_its_subject() {
    let repository =
        TestRepository::new().image("a", 9, &["a"]).image("s", 9, &[&sig("a")]).label("s", "hold", "x");
    repository.check(&nothing(), &["a delete: expired", "s delete: referrer-of-expired"]);
    let tags = nothing().protect(|protect| protect.tags = Patterns::parse(&["sha256-.*"]).unwrap());
    repository.check(&tags, &["a keep: expired subject-of-kept", "s keep: protected-tag"]);
    let hold = Label { key: "hold".into(), value: None };
    let label = nothing().protect(|protect| protect.labels = vec![hold]);
    repository.check(&label, &["a keep: expired subject-of-kept", "s keep: protected-label"]);
}

#[test]
fn untagged_referrer_of_an_absent_subject_is_untagged() {
    let repository = || TestRepository::new().image("s", 9, &[]).about("s", "elsewhere").absent("elsewhere");
    repository().check(&nothing(), &["s keep: untagged"]);
    repository().check(&nothing().untagged(10), &["s keep: untagged-newer-than"]);
    repository().check(&nothing().untagged(2), &["s delete: expired-untagged"]);
    repository().lost("elsewhere").check(&nothing(), &["s delete: orphan"]);
    let ageless =
        TestRepository::new().add("s", Kind::Artifact, None, &[]).about("s", "elsewhere").absent("elsewhere");
    ageless.check(&nothing().untagged(2), &["s keep: age-unknown"]);
    let not_fetched = TestRepository::new().image("s", 9, &[]).about("s", "elsewhere");
    not_fetched.check(&nothing().untagged(2), &["s keep: unread"]);
}

#[test]
fn referrer_with_one_subject_elsewhere_is_no_orphan() {
    let tags = [sig("gone"), sig("elsewhere")];
    let both = TestRepository::new().image("s", 9, &[&tags[0], &tags[1]]).lost("gone").absent("elsewhere");
    both.check(&rules(vec![]), &["s keep: unclaimed unclaimed"]);
    let field = TestRepository::new().image("s", 9, &[&tags[0]]).about("s", "elsewhere");
    field.lost("gone").absent("elsewhere").check(&rules(vec![]), &["s keep: unclaimed"]);
}

#[test]
fn referrer_tag_of_its_own_manifest_is_an_ordinary_tag() {
    let repository = TestRepository::new().image("a", 9, &[&sig("a")]);
    repository.check(&rules(vec![]).untagged(1), &["a keep: unclaimed"]);
    repository.check(&nothing().untagged(100), &["a delete: expired"]);
    assert_eq!(repository.plan(&nothing()).counted, [Counted::Image]);
}

#[test]
fn referrer_of_a_subject_that_this_run_deleted_is_deleted() {
    let repository = TestRepository::new().add("s", Kind::Artifact, None, &[&sig("a")]).lost("a");
    let input = rules(vec![]).protect(|protect| {
        protect.at_least = 1;
        protect.newer_than = TimeDelta::hours(1);
    });
    let (none, parents_deleted) = (BTreeSet::new(), &BTreeSet::from([digest("s")]));
    let context = |parents_deleted| PlanContext {
        now: now(),
        timezone: Tz::UTC,
        protect: &input.protect,
        tag_deletion: TagDeletion::Unsupported,
        parents_deleted,
    };
    let intent = Intent::Policy(Arc::new(input.policy.clone()));
    let lines = |repository: &TestRepository, context| {
        repository.lines(&plan(&repository.snapshot, &intent, &context))
    };
    assert_eq!(lines(&repository, context(&none)), ["s keep: age-unknown"]);
    assert_eq!(lines(&repository, context(parents_deleted)), ["s delete: leftover"]);
    // Unless it has got a tag with another subject.
    let mut tagged = repository;
    tagged.snapshot.tags.insert(Tag::parse(&sig("elsewhere")).unwrap(), digest("s"));
    let tagged = tagged.absent("elsewhere");
    assert_eq!(lines(&tagged, context(parents_deleted)), ["s keep: unclaimed unclaimed"]);
}

#[test]
fn subject_is_recorded_as_long_as_it_has_referrers() {
    let mut timeline = ten_days();
    let signature = |timeline: &mut Timeline, name: &str, subject: &str| {
        timeline.push(name, Some(day(-100)), &[&sig(subject)]);
    };
    let lose = |timeline: &mut Timeline, name: &str| {
        timeline.untag(name);
        timeline.repository.snapshot.manifests.remove(&digest(name));
        timeline.repository.snapshot.absent.insert(digest(name));
    };
    let seen = |timeline: &Timeline| timeline.history.seen_subjects.clone();
    timeline.input.policy.rules.clear();
    for name in ["a", "b"] {
        timeline.push(name, Some(day(-1)), &[name]);
    }
    signature(&mut timeline, "sig-a", "a");
    signature(&mut timeline, "sig-elsewhere", "elsewhere");
    timeline.repository.snapshot.absent.insert(digest("elsewhere"));
    assert_eq!(timeline.scan(0), [""; 0]);
    assert_eq!(seen(&timeline), [digest("a")].into());
    lose(&mut timeline, "a");
    lose(&mut timeline, "b");
    // Also a subject that is signed after its deletion, if a scan has seen it before.
    signature(&mut timeline, "sig-b", "b");
    for on in 1..400 {
        assert!(timeline.scan(on).contains(&"sig-a".to_owned()), "day {on}");
        assert_eq!(seen(&timeline), [digest("a"), digest("b")].into(), "day {on}");
    }
    assert_eq!(timeline.scan(400), ["sig-a", "sig-b"]);
    // Without the scan history, both are like the one whose subject was never here.
    let history = std::mem::take(&mut timeline.history);
    timeline.repository.snapshot.seen_subjects.clear();
    assert_eq!(timeline.scan(401), [""; 0]);
    assert_eq!(seen(&timeline), BTreeSet::new());
    timeline.history = history;
    timeline.untag(&sig("a"));
    timeline.repository.snapshot.manifests.remove(&digest("sig-a"));
    assert_eq!(timeline.scan(402), ["sig-b"]);
    assert_eq!(seen(&timeline), [digest("b")].into());
    // One empty list removes nothing from the history.
    let tags = std::mem::take(&mut timeline.repository.snapshot.tags);
    timeline.scan(403);
    assert_eq!(seen(&timeline), [digest("b")].into());
    timeline.repository.snapshot.tags = tags;
    assert_eq!(timeline.scan(404), ["sig-b"]);
}
