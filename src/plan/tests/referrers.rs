//! Referrers whose subject is not in the repository: what was there once leaves orphans, and what never was may be
//! in another repository.

use super::ages::{Walk, day, ten_days};
use super::*;

#[test]
fn a_referrer_whose_subject_was_never_here_is_judged_like_an_image() {
    let [first, second] = [sig("elsewhere-1"), sig("elsewhere-2")];
    let world = World::new().image("s1", 9, &[&first]).image("s2", 19, &[&second]);
    let world = world.gone("elsewhere-1").gone("elsewhere-2");
    world.check(&rules(vec![]), &["s1 keep: unclaimed", "s2 keep: unclaimed"]);
    let keep_all = || rules(vec![rule("all", ".*", Keep::Everything)]);
    world.check(&keep_all(), &["s1 keep: keep-all", "s2 keep: keep-all"]);
    world.check(&all(vec![newer_than(10)]), &["s1 keep: newer-than", "s2 delete: expired"]);
    world.check(&nothing(), &["s1 delete: expired", "s2 delete: expired"]);
    let protected = nothing().protect(|protect| protect.tags = Patterns::parse(&[".*"]).unwrap());
    world.check(&protected, &["s1 keep: protected-tag", "s2 keep: protected-tag"]);
    let young = nothing().protect(|protect| protect.newer_than = TimeDelta::hours(10));
    world.check(&young, &["s1 keep: expired protected-newer-than", "s2 delete: expired"]);
    let one = nothing().protect(|protect| protect.at_least = 1);
    world.check(&one, &["s1 keep: expired at-least", "s2 delete: expired"]);
    let labelled = World::new().image("s1", 9, &[&first]).label("s1", "hold", "x").gone("elsewhere-1");
    let hold = || Label { key: "hold".into(), value: None };
    labelled.check(
        &nothing().protect(|protect| protect.labels = vec![hold()]),
        &["s1 keep: expired protected-label"],
    );
    let ageless = World::new().add("s1", Kind::Artifact, None, &[&first]).gone("elsewhere-1");
    ageless.check(&nothing(), &["s1 keep: expired age-unknown"]);
}

#[test]
fn a_referrer_whose_subject_was_never_here_takes_no_place_from_an_image() {
    let world = World::new()
        .image("a", 100, &["a"])
        .image("b", 101, &["b"])
        .image("s1", 1, &[&sig("elsewhere-1")])
        .image("s2", 2, &[&sig("elsewhere-2")])
        .gone("elsewhere-1")
        .gone("elsewhere-2");
    world.check(
        &all(vec![newest(1)]),
        &["a keep: newest", "b delete: expired", "s1 keep: newest", "s2 delete: expired"],
    );
    // Nor of at_least.
    let images = rules(vec![rule("images", "[ab]", Keep::Nothing)]);
    world.check(
        &images.protect(|protect| protect.at_least = 1),
        &["a keep: expired at-least", "b delete: expired", "s1 keep: unclaimed", "s2 keep: unclaimed"],
    );
}

#[test]
fn an_orphan_is_protected_like_an_image() {
    let world = || World::new().image("s", 9, &[&sig("gone")]).label("s", "hold", "x").lost("gone");
    world().check(&rules(vec![rule("all", ".*", Keep::Everything)]), &["s delete: orphan"]);
    let tags = nothing().protect(|protect| protect.tags = Patterns::parse(&["sha256-.*"]).unwrap());
    world().check(&tags, &["s keep: protected-tag orphan"]);
    let hold = || Label { key: "hold".into(), value: None };
    let label = || nothing().protect(|protect| protect.labels = vec![hold()]);
    world().check(&label(), &["s keep: protected-label orphan"]);
    world().check(&nothing().protect(|protect| protect.at_least = 1), &["s keep: orphan at-least"]);
    let image = world().image("a", 1, &["a"]);
    let one = rules(vec![]).protect(|protect| protect.at_least = 1);
    image.check(&one, &["a keep: unclaimed", "s delete: orphan"]);
    let unread = world().edit("s", |manifest| {
        manifest.facts = Facts::Unknown { why: "the configuration is gone".into(), lasting: false };
    });
    unread.check(&label(), &["s keep: unread orphan"]);
}

#[test]
fn a_protected_referrer_keeps_its_subject() {
    let world = World::new().image("a", 9, &["a"]).image("s", 9, &[&sig("a")]).label("s", "hold", "x");
    world.check(&nothing(), &["a delete: expired", "s delete: referrer-of-expired"]);
    let tags = nothing().protect(|protect| protect.tags = Patterns::parse(&["sha256-.*"]).unwrap());
    world.check(&tags, &["a keep: expired subject-of-kept", "s keep: protected-tag"]);
    let hold = Label { key: "hold".into(), value: None };
    let label = nothing().protect(|protect| protect.labels = vec![hold]);
    world.check(&label, &["a keep: expired subject-of-kept", "s keep: protected-label"]);
}

#[test]
fn an_untagged_referrer_whose_subject_was_never_here_is_untagged() {
    let world = || World::new().image("s", 9, &[]).about("s", "elsewhere").gone("elsewhere");
    world().check(&nothing(), &["s keep: untagged"]);
    world().check(&nothing().untagged(10), &["s keep: untagged-newer-than"]);
    world().check(&nothing().untagged(2), &["s delete: expired-untagged"]);
    world().lost("elsewhere").check(&nothing(), &["s delete: orphan"]);
    let ageless = World::new().add("s", Kind::Artifact, None, &[]).about("s", "elsewhere").gone("elsewhere");
    ageless.check(&nothing().untagged(2), &["s keep: age-unknown"]);
    let not_fetched = World::new().image("s", 9, &[]).about("s", "elsewhere");
    not_fetched.check(&nothing().untagged(2), &["s keep: unread"]);
}

#[test]
fn a_referrer_of_something_gone_and_of_something_elsewhere_is_no_orphan() {
    let tags = [sig("gone"), sig("elsewhere")];
    let both = World::new().image("s", 9, &[&tags[0], &tags[1]]).lost("gone").gone("elsewhere");
    both.check(&rules(vec![]), &["s keep: unclaimed unclaimed"]);
    let field = World::new().image("s", 9, &[&tags[0]]).about("s", "elsewhere");
    field.lost("gone").gone("elsewhere").check(&rules(vec![]), &["s keep: unclaimed"]);
}

#[test]
fn a_tag_that_names_its_own_manifest_is_a_tag_like_any_other() {
    let world = World::new().image("a", 9, &[&sig("a")]);
    world.check(&rules(vec![]).untagged(1), &["a keep: unclaimed"]);
    world.check(&nothing().untagged(100), &["a delete: expired"]);
    assert_eq!(world.plan(&nothing()).counted, [Counted::Image]);
}

#[test]
fn what_was_to_go_with_a_subject_that_this_run_has_deleted_still_goes() {
    let world = World::new().add("s", Kind::Artifact, None, &[&sig("a")]).lost("a");
    let setting = rules(vec![]).protect(|protect| {
        protect.at_least = 1;
        protect.newer_than = TimeDelta::hours(1);
    });
    let (none, parents_deleted) = (BTreeSet::new(), &BTreeSet::from([digest("s")]));
    let context = |parents_deleted| PlanContext {
        now: now(),
        timezone: Tz::UTC,
        protect: &setting.protect,
        tag_deletion: TagDeletion::Unsupported,
        parents_deleted,
    };
    let intent = Intent::Policy(Arc::new(setting.policy.clone()));
    let lines = |world: &World, context| world.lines(&plan(&world.snapshot, &intent, &context));
    assert_eq!(lines(&world, context(&none)), ["s keep: age-unknown"]);
    assert_eq!(lines(&world, context(parents_deleted)), ["s delete: leftover"]);
    // Unless a tag has come to it that is about something else.
    let mut tagged = world;
    tagged.snapshot.tags.insert(Tag::parse(&sig("elsewhere")).unwrap(), digest("s"));
    let tagged = tagged.gone("elsewhere");
    assert_eq!(lines(&tagged, context(parents_deleted)), ["s keep: unclaimed unclaimed"]);
}

#[test]
fn a_subject_is_remembered_as_long_as_something_is_about_it() {
    let mut walk = ten_days();
    let signature = |walk: &mut Walk, name: &str, subject: &str| {
        walk.push(name, Some(day(-100)), &[&sig(subject)]);
    };
    let lose = |walk: &mut Walk, name: &str| {
        walk.untag(name);
        walk.world.snapshot.manifests.remove(&digest(name));
        walk.world.snapshot.absent.insert(digest(name));
    };
    let seen = |walk: &Walk| walk.history.seen_subjects.clone();
    walk.setting.policy.rules.clear();
    for name in ["a", "b"] {
        walk.push(name, Some(day(-1)), &[name]);
    }
    signature(&mut walk, "sig-a", "a");
    signature(&mut walk, "sig-elsewhere", "elsewhere");
    walk.world.snapshot.absent.insert(digest("elsewhere"));
    assert_eq!(walk.scan(0), [""; 0]);
    assert_eq!(seen(&walk), [digest("a")].into());
    lose(&mut walk, "a");
    lose(&mut walk, "b");
    // Even what is signed only after it is gone, if a scan has seen it before.
    signature(&mut walk, "sig-b", "b");
    for on in 1..400 {
        assert!(walk.scan(on).contains(&"sig-a".to_owned()), "day {on}");
        assert_eq!(seen(&walk), [digest("a"), digest("b")].into(), "day {on}");
    }
    assert_eq!(walk.scan(400), ["sig-a", "sig-b"]);
    // Without what was remembered, both are like the one whose subject was never here.
    let history = std::mem::take(&mut walk.history);
    walk.world.snapshot.seen_subjects.clear();
    assert_eq!(walk.scan(401), [""; 0]);
    assert_eq!(seen(&walk), BTreeSet::new());
    walk.history = history;
    walk.untag(&sig("a"));
    walk.world.snapshot.manifests.remove(&digest("sig-a"));
    assert_eq!(walk.scan(402), ["sig-b"]);
    assert_eq!(seen(&walk), [digest("b")].into());
    // A list that is empty for once forgets nothing.
    let tags = std::mem::take(&mut walk.world.snapshot.tags);
    walk.scan(403);
    assert_eq!(seen(&walk), [digest("b")].into());
    walk.world.snapshot.tags = tags;
    assert_eq!(walk.scan(404), ["sig-b"]);
}
