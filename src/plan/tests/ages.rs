//! Looks at a repository on one day after another: what is remembered makes ages honest, and losing it
//! makes nothing go sooner.

use super::*;
use crate::model::{FirstScan, ScanHistory};

/// A registry that is looked at from time to time. Days are counted from an arbitrary one.
pub(super) struct Walk {
    pub(super) history: ScanHistory,
    pub(super) world: World,
    pub(super) setting: Setting,
}

pub(super) fn day(day: i64) -> DateTime<Utc> {
    ago(-24 * day)
}

impl Walk {
    fn new(setting: Setting) -> Self {
        Self { history: ScanHistory::default(), world: World::new(), setting }
    }

    /// A client pushes an image with a creation date, or without one.
    pub(super) fn push(&mut self, name: &str, made: Option<DateTime<Utc>>, tags: &[&str]) {
        let world = std::mem::replace(&mut self.world, World::new());
        self.world = world.add(name, Kind::Image, made, tags);
    }

    pub(super) fn untag(&mut self, tag: &str) {
        self.world.snapshot.tags.remove(&Tag::parse(tag).unwrap());
    }

    /// Looks, and tells what would go, by name.
    pub(super) fn scan(&mut self, on: i64) -> Vec<String> {
        let plan = self.plan(on);
        let mut names: Vec<String> =
            plan.deletions().map(|planned| self.world.names[&planned.digest].clone()).collect();
        names.sort();
        names
    }

    pub(super) fn plan(&mut self, on: i64) -> RepositoryPlan {
        self.history = self.history.record(&mut self.world.snapshot, day(on));
        self.setting.plan_at(&self.world.snapshot, day(on))
    }

    fn evidence(&mut self, on: i64, name: &str) -> Vec<(&'static Source, Weight)> {
        let plan = self.plan(on);
        let planned = plan.manifests.iter().find(|planned| planned.digest == digest(name)).unwrap();
        planned.evidence.iter().map(|one| (one.source, one.weight)).collect()
    }
}

/// Keeps what is younger than ten days.
pub(super) fn ten_days() -> Walk {
    Walk::new(all(vec![newer_than(240)]))
}

fn created_in(year: i32) -> Option<DateTime<Utc>> {
    Some(format!("{year}-01-01T00:00:00Z").parse().unwrap())
}

#[test]
fn a_new_image_ages_from_its_creation() {
    let mut walk = ten_days();
    walk.push("a", Some(day(0)), &["a"]);
    assert_eq!(walk.scan(9), [""; 0]);
    assert_eq!(walk.scan(10), ["a"]);
    assert_eq!(
        walk.evidence(10, "a"),
        [(Source::CREATED, Weight::Counts), (Source::FIRST_SCAN, Weight::Weaker),]
    );
}

#[test]
fn an_old_image_is_old_at_the_first_look() {
    let mut walk = ten_days();
    walk.push("old", created_in(2020), &["old"]);
    assert_eq!(walk.scan(0), ["old"]);
}

#[test]
fn a_promoted_image_is_as_old_as_its_promotion() {
    let mut walk = ten_days();
    walk.push("old", Some(day(-9)), &["old"]);
    assert_eq!(walk.scan(0), [""; 0]);
    // Copied from elsewhere between two looks.
    walk.push("promoted", created_in(2020), &["promoted"]);
    assert_eq!(walk.scan(1), ["old"]);
    assert_eq!(walk.scan(10), ["old"]);
    assert_eq!(walk.scan(11), ["old", "promoted"]);
    assert_eq!(
        walk.evidence(11, "promoted"),
        [(Source::CREATED, Weight::Outdated), (Source::NOTICED, Weight::Counts),]
    );
}

#[test]
fn a_new_tag_on_an_old_image_is_a_push() {
    let mut walk = ten_days();
    walk.push("old", created_in(2020), &["build"]);
    walk.push("young", Some(day(0)), &["young"]);
    assert_eq!(walk.scan(0), ["old"]);
    walk.push("old", created_in(2020), &["build", "release"]);
    assert_eq!(walk.scan(1), [""; 0]);
    assert_eq!(walk.scan(11), ["old", "young"]);
}

#[test]
fn an_image_of_a_reproducible_build_is_as_old_as_its_push() {
    let mut walk = ten_days();
    walk.push("first", Some(day(0)), &["first"]);
    walk.scan(0);
    walk.push("reproducible", created_in(1970), &["reproducible"]);
    assert_eq!(walk.scan(1), [""; 0]);
    assert_eq!(walk.scan(10), ["first"]);
    assert_eq!(walk.scan(11), ["first", "reproducible"]);
    assert_eq!(
        walk.evidence(11, "reproducible"),
        [(Source::CREATED, Weight::TooOld), (Source::NOTICED, Weight::Counts),]
    );
}

#[test]
fn an_unknown_age_becomes_known_after_a_while() {
    let mut walk = ten_days();
    walk.push("silent", None, &["silent"]);
    assert_eq!(walk.evidence(0, "silent"), [(Source::FIRST_SCAN, Weight::TooRecent)]);
    assert_eq!(walk.scan(29), [""; 0]);
    assert_eq!(walk.scan(30), ["silent"]);
    assert_eq!(walk.evidence(30, "silent"), [(Source::FIRST_SCAN, Weight::Counts)]);
}

#[test]
fn what_may_be_older_than_it_seems_takes_no_place_from_others() {
    let mut walk = Walk::new(all(vec![newest(2)]));
    for name in ["s1", "s2", "s3"] {
        walk.push(name, None, &[name]);
    }
    walk.push("a", Some(day(-5)), &["a"]);
    walk.push("b", Some(day(-6)), &["b"]);
    walk.push("c", Some(day(-7)), &["c"]);
    assert_eq!(walk.scan(0), ["c"]);
    assert_eq!(walk.scan(31), ["c"]);
    walk.push("d", Some(day(31)), &["d"]);
    assert_eq!(walk.scan(32), ["b", "c"]);
    // As many as count are surely younger.
    walk.push("e", Some(day(32)), &["e"]);
    assert_eq!(walk.scan(33), ["a", "b", "c", "s1", "s2", "s3"]);
}

#[test]
fn what_may_be_older_than_it_seems_takes_no_period_from_others() {
    let mut walk = Walk::new(all(vec![last(1, Period::Daily)]));
    walk.push("silent", None, &["silent"]);
    walk.push("a", Some(day(-5)), &["a"]);
    walk.push("b", Some(day(-6)), &["b"]);
    walk.scan(0);
    assert_eq!(walk.scan(31), ["b"]);
    walk.push("c", Some(day(31)), &["c"]);
    assert_eq!(walk.scan(32), ["a", "b", "silent"]);
}

#[test]
fn images_that_one_look_noticed_are_of_the_days_on_which_they_were_made() {
    let mut walk = Walk::new(all(vec![last(3, Period::Daily)]));
    walk.push("first", Some(day(-100)), &["first"]);
    walk.scan(0);
    for made in 1..6 {
        let name = format!("d{made}");
        walk.push(&name, Some(day(made)), &[&name]);
    }
    // By the day of the look, d5 and first are the youngest of their days.
    assert_eq!(walk.scan(6), ["d1", "d2"]);
}

#[test]
fn images_that_one_look_noticed_are_as_young_as_they_were_made() {
    let mut walk = Walk::new(all(vec![newest(1)]));
    walk.push("first", Some(day(-100)), &["first"]);
    walk.scan(0);
    walk.push("z-older", Some(day(-50)), &["z-older"]);
    walk.push("a-younger", Some(day(-40)), &["a-younger"]);
    assert_eq!(walk.scan(1), ["first", "z-older"]);
}

#[test]
fn a_list_that_is_empty_for_once_forgets_nothing() {
    let mut walk = Walk::new(all(vec![newest(1)]));
    walk.push("a", Some(day(-3)), &["a"]);
    walk.push("b", Some(day(-2)), &["b"]);
    walk.scan(0);
    let before = walk.history.clone();
    let tags = std::mem::take(&mut walk.world.snapshot.tags);
    let manifests = std::mem::take(&mut walk.world.snapshot.manifests);
    assert_eq!(walk.scan(1), [""; 0]);
    assert_eq!(walk.history, before);
    walk.world.snapshot.tags = tags;
    walk.world.snapshot.manifests = manifests;
    walk.plan(2);
    assert_eq!(walk.history.observations, before.observations);
}

#[test]
fn a_clock_that_was_ahead_makes_nothing_older() {
    let mut walk = ten_days();
    walk.push("first", None, &["first"]);
    walk.scan(0);
    walk.push("pushed", created_in(2020), &["pushed"]);
    // Noticed in the year to come, and then the clock was put right.
    walk.scan(365);
    assert_eq!(walk.scan(2), [""; 0]);
    assert_eq!(walk.scan(374), ["first"]);
    assert_eq!(walk.scan(375), ["first", "pushed"]);
}

#[test]
fn a_clock_that_had_not_been_set_yet_makes_nothing_older() {
    let mut walk = ten_days();
    walk.push("first", None, &["first"]);
    walk.push("dated", created_in(2020), &["dated"]);
    walk.scan(-20_000);
    walk.push("pushed", None, &["pushed"]);
    walk.scan(-19_999);
    assert_eq!(walk.scan(1), ["dated"]);
    assert_eq!(walk.evidence(1, "first"), [(Source::FIRST_SCAN, Weight::TooOld)]);
    assert_eq!(walk.evidence(1, "pushed"), [(Source::NOTICED, Weight::TooOld)]);
}

#[test]
fn a_clock_that_was_ahead_at_the_first_look_takes_no_youth_from_what_comes_later() {
    let mut walk = ten_days();
    walk.push("old", created_in(2020), &["old"]);
    walk.push("young", Some(day(-1)), &["young"]);
    walk.push("silent", None, &["silent"]);
    walk.scan(365);
    walk.push("promoted", created_in(2020), &["promoted"]);
    walk.push("old", created_in(2020), &["old", "release"]);
    assert_eq!(walk.scan(1), [""; 0]);
    assert_eq!(
        walk.evidence(1, "promoted"),
        [(Source::CREATED, Weight::Outdated), (Source::NOTICED, Weight::Counts)]
    );
    assert_eq!(walk.scan(9), ["young"]);
    assert_eq!(walk.scan(11), ["old", "promoted", "young"]);
    // The age of an undated image that existed at that scan is unknown until the clock has passed it.
    assert_eq!(walk.evidence(11, "silent"), [(Source::FIRST_SCAN, Weight::TooRecent)]);
    assert_eq!(walk.scan(394), ["old", "promoted", "young"]);
    assert_eq!(walk.scan(395), ["old", "promoted", "silent", "young"]);
}

#[test]
fn what_a_moved_tag_left_goes_in_time_and_not_what_is_needed() {
    let mut walk = Walk::new(all(vec![newer_than(24 * 365)]).untagged(240));
    walk.push("left", Some(day(-1)), &["latest"]);
    walk.push("base", Some(day(-1)), &["base"]);
    walk.scan(0);
    walk.push("new", Some(day(1)), &["latest"]);
    let observations = |walk: &Walk| walk.history.observations[&digest("left")];
    assert_eq!(walk.scan(1), [""; 0]);
    assert_eq!(observations(&walk).untagged_since, Some(day(1)));
    // Ten days after it was left, whatever its age.
    assert_eq!(walk.scan(10), [""; 0]);
    assert_eq!(walk.scan(11), ["left"]);
    walk.push("left", Some(day(-1)), &["rollback"]);
    assert_eq!(walk.scan(12), [""; 0]);
    assert_eq!(observations(&walk), Observation { noticed: day(12), untagged_since: None, restored: None });
}

#[test]
fn what_another_client_deleted_is_forgotten() {
    let mut walk = ten_days();
    walk.push("a", Some(day(0)), &["a"]);
    walk.push("b", Some(day(0)), &["b"]);
    walk.scan(0);
    walk.untag("a");
    walk.world.snapshot.manifests.remove(&digest("a"));
    walk.scan(1);
    assert!(walk.history.observations.contains_key(&digest("a")), "it was not asked for");
    walk.world.snapshot.absent.insert(digest("a"));
    walk.scan(2);
    assert!(!walk.history.observations.contains_key(&digest("a")));
    assert!(!walk.history.manifests.contains_key(&digest("a")));
}

#[test]
fn a_forgotten_first_look_makes_every_sighting_count() {
    let mut walk = ten_days();
    walk.history.first_scan = FirstScan::Lost;
    walk.push("old", created_in(2020), &["old"]);
    walk.push("silent", None, &["silent"]);
    assert_eq!(walk.scan(0), [""; 0]);
    assert_eq!(walk.scan(9), [""; 0]);
    assert_eq!(walk.scan(10), ["old"]);
    assert_eq!(walk.scan(30), ["old", "silent"]);
}

#[test]
fn what_an_undo_put_back_stays_for_a_week() {
    let mut walk = ten_days();
    walk.push("old", created_in(2020), &["old"]);
    assert_eq!(walk.scan(0), ["old"]);
    walk.history.observations.get_mut(&digest("old")).unwrap().restored = Some(day(0));
    assert_eq!(walk.scan(1), [""; 0]);
    assert_eq!(walk.scan(6), [""; 0]);
    assert_eq!(walk.scan(7), ["old"]);
}

#[test]
fn a_leftover_goes_unless_something_needs_it() {
    let mut walk = ten_days();
    walk.push("child", None, &[]);
    assert_eq!(walk.scan(0), [""; 0]);
    walk.history.leftovers.insert(digest("child"));
    assert_eq!(walk.scan(1), ["child"]);
    let world = std::mem::replace(&mut walk.world, World::new());
    walk.world = world.label("child", "keep", "yes");
    let label = Label { key: "keep".into(), value: None };
    walk.setting.protect.labels.push(label);
    assert_eq!(walk.scan(2), [""; 0]);
    walk.setting.protect.labels.clear();
    assert_eq!(walk.scan(3), ["child"]);
    let world = std::mem::replace(&mut walk.world, World::new());
    walk.world = world.index("index", &["child"], &["latest"]);
    assert_eq!(walk.scan(4), [""; 0]);
    // It was tagged again since, so it is kept like every untagged manifest.
    walk.untag("latest");
    walk.world.snapshot.manifests.remove(&digest("index"));
    assert_eq!(walk.scan(5), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// For all pushes, dates and scans: if the history is lost on some day, and the loss is known, nothing is
    /// deleted on a later day that would have been kept with it.
    #[test]
    fn losing_the_memory_makes_nothing_go_sooner(
        pushes in prop::collection::vec((0..60i64, prop::option::of(-400..60i64)), 1..12),
        lost in 1..60i64,
        keep in prop_oneof![
            (1..960i64).prop_map(newer_than),
            (1..5usize).prop_map(newest),
            (1..9usize).prop_map(|n| last(n, Period::Daily)),
            (1..4usize).prop_map(|n| last(n, Period::Weekly)),
        ],
    ) {
        let mut whole = Walk::new(all(vec![keep.clone()]));
        let mut losing = Walk::new(all(vec![keep]));
        for on in 0..90 {
            for (number, (when, made)) in pushes.iter().enumerate().filter(|(_, (when, _))| *when == on) {
                let name = format!("i{number}");
                // Nothing is pushed before it was made.
                let made = made.map(|made| day(made.min(*when)));
                whole.push(&name, made, &[&name]);
                losing.push(&name, made, &[&name]);
            }
            if on == lost {
                losing.history = ScanHistory { first_scan: FirstScan::Lost, ..ScanHistory::default() };
            }
            let (with, without) = (whole.scan(on), losing.scan(on));
            prop_assert!(without.iter().all(|name| with.contains(name)), "day {on}: {without:?} and not {with:?}");
        }
    }

    /// For every clock at the first scan: if it was ahead, nothing is deleted on a later day that would have been
    /// kept with a right clock.
    #[test]
    fn a_first_look_with_a_clock_that_was_ahead_makes_nothing_go_sooner(
        pushes in prop::collection::vec((0..60i64, prop::option::of(-400..60i64)), 1..12),
        ahead in 1..400i64,
        keep in prop_oneof![
            (1..960i64).prop_map(newer_than),
            (1..5usize).prop_map(newest),
            (1..9usize).prop_map(|n| last(n, Period::Daily)),
            (1..4usize).prop_map(|n| last(n, Period::Weekly)),
        ],
    ) {
        let mut right = Walk::new(all(vec![keep.clone()]));
        let mut wrong = Walk::new(all(vec![keep]));
        for on in 0..90 {
            for (number, (when, made)) in pushes.iter().enumerate().filter(|(_, (when, _))| *when == on) {
                let name = format!("i{number}");
                let made = made.map(|made| day(made.min(*when)));
                right.push(&name, made, &[&name]);
                wrong.push(&name, made, &[&name]);
            }
            if on == 0 {
                right.scan(0);
                // No look ever has the very moment of another one.
                let at = day(ahead) + TimeDelta::milliseconds(1);
                wrong.history = wrong.history.record(&mut wrong.world.snapshot, at);
                continue;
            }
            let (with, without) = (right.scan(on), wrong.scan(on));
            prop_assert!(without.iter().all(|name| with.contains(name)), "day {on}: {without:?} and not {with:?}");
        }
    }
}
