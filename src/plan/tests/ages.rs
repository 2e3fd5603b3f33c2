//! Ages over many scans: the scan history makes them more exact, and its loss deletes nothing sooner.

use super::timeline::{Timeline, day, ten_days};
use super::*;
use crate::model::{FirstScan, ScanHistory};

fn created_in(year: i32) -> Option<DateTime<Utc>> {
    Some(format!("{year}-01-01T00:00:00Z").parse().unwrap())
}

#[test]
fn new_image_ages_from_its_creation() {
    let mut timeline = ten_days();
    timeline.push("a", Some(day(0)), &["a"]);
    assert_eq!(timeline.scan(9), [""; 0]);
    assert_eq!(timeline.scan(10), ["a"]);
    assert_eq!(
        timeline.evidence(10, "a"),
        [(Source::CREATED, Weight::Counts), (Source::FIRST_SCAN, Weight::Weaker),]
    );
}

#[test]
fn old_image_is_old_at_the_first_scan() {
    let mut timeline = ten_days();
    timeline.push("old", created_in(2020), &["old"]);
    assert_eq!(timeline.scan(0), ["old"]);
}

#[test]
fn promoted_image_is_as_old_as_its_promotion() {
    let mut timeline = ten_days();
    timeline.push("old", Some(day(-9)), &["old"]);
    assert_eq!(timeline.scan(0), [""; 0]);
    // Copied from elsewhere between two scans.
    timeline.push("promoted", created_in(2020), &["promoted"]);
    assert_eq!(timeline.scan(1), ["old"]);
    assert_eq!(timeline.scan(10), ["old"]);
    assert_eq!(timeline.scan(11), ["old", "promoted"]);
    assert_eq!(
        timeline.evidence(11, "promoted"),
        [(Source::CREATED, Weight::Outdated), (Source::NOTICED, Weight::Counts),]
    );
}

#[test]
fn new_tag_on_an_old_image_counts_as_a_push() {
    let mut timeline = ten_days();
    timeline.push("old", created_in(2020), &["build"]);
    timeline.push("young", Some(day(0)), &["young"]);
    assert_eq!(timeline.scan(0), ["old"]);
    timeline.push("old", created_in(2020), &["build", "release"]);
    assert_eq!(timeline.scan(1), [""; 0]);
    assert_eq!(timeline.scan(11), ["old", "young"]);
}

#[test]
fn reproducible_image_is_as_old_as_its_push() {
    let mut timeline = ten_days();
    timeline.push("first", Some(day(0)), &["first"]);
    timeline.scan(0);
    timeline.push("reproducible", created_in(1970), &["reproducible"]);
    assert_eq!(timeline.scan(1), [""; 0]);
    assert_eq!(timeline.scan(10), ["first"]);
    assert_eq!(timeline.scan(11), ["first", "reproducible"]);
    assert_eq!(
        timeline.evidence(11, "reproducible"),
        [(Source::CREATED, Weight::TooOld), (Source::NOTICED, Weight::Counts),]
    );
}

#[test]
fn unknown_age_becomes_known_after_min_observed_age() {
    let mut timeline = ten_days();
    timeline.push("silent", None, &["silent"]);
    assert_eq!(timeline.evidence(0, "silent"), [(Source::FIRST_SCAN, Weight::TooRecent)]);
    assert_eq!(timeline.scan(29), [""; 0]);
    assert_eq!(timeline.scan(30), ["silent"]);
    assert_eq!(timeline.evidence(30, "silent"), [(Source::FIRST_SCAN, Weight::Counts)]);
}

#[test]
fn minimal_ages_do_not_count_for_newest() {
    let mut timeline = Timeline::new(all(vec![newest(2)]));
    for name in ["s1", "s2", "s3"] {
        timeline.push(name, None, &[name]);
    }
    timeline.push("a", Some(day(-5)), &["a"]);
    timeline.push("b", Some(day(-6)), &["b"]);
    timeline.push("c", Some(day(-7)), &["c"]);
    assert_eq!(timeline.scan(0), ["c"]);
    assert_eq!(timeline.scan(31), ["c"]);
    timeline.push("d", Some(day(31)), &["d"]);
    assert_eq!(timeline.scan(32), ["b", "c"]);
    // Two images, as many as the rule keeps, are certainly younger.
    timeline.push("e", Some(day(32)), &["e"]);
    assert_eq!(timeline.scan(33), ["a", "b", "c", "s1", "s2", "s3"]);
}

#[test]
fn minimal_ages_do_not_count_for_periods() {
    let mut timeline = Timeline::new(all(vec![last(1, Period::Daily)]));
    timeline.push("silent", None, &["silent"]);
    timeline.push("a", Some(day(-5)), &["a"]);
    timeline.push("b", Some(day(-6)), &["b"]);
    timeline.scan(0);
    assert_eq!(timeline.scan(31), ["b"]);
    timeline.push("c", Some(day(31)), &["c"]);
    assert_eq!(timeline.scan(32), ["a", "b", "silent"]);
}

#[test]
fn images_of_one_scan_count_for_the_days_of_their_creation() {
    let mut timeline = Timeline::new(all(vec![last(3, Period::Daily)]));
    timeline.push("first", Some(day(-100)), &["first"]);
    timeline.scan(0);
    for made in 1..6 {
        let name = format!("d{made}");
        timeline.push(&name, Some(day(made)), &[&name]);
    }
    // By the day of the scan, d5 and first are the youngest of their days.
    assert_eq!(timeline.scan(6), ["d1", "d2"]);
}

#[test]
fn images_of_one_scan_are_ordered_by_creation() {
    let mut timeline = Timeline::new(all(vec![newest(1)]));
    timeline.push("first", Some(day(-100)), &["first"]);
    timeline.scan(0);
    timeline.push("z-older", Some(day(-50)), &["z-older"]);
    timeline.push("a-younger", Some(day(-40)), &["a-younger"]);
    assert_eq!(timeline.scan(1), ["first", "z-older"]);
}

#[test]
fn empty_list_does_not_clear_the_scan_history() {
    let mut timeline = Timeline::new(all(vec![newest(1)]));
    timeline.push("a", Some(day(-3)), &["a"]);
    timeline.push("b", Some(day(-2)), &["b"]);
    timeline.scan(0);
    let before = timeline.history.clone();
    let tags = std::mem::take(&mut timeline.repository.snapshot.tags);
    let manifests = std::mem::take(&mut timeline.repository.snapshot.manifests);
    assert_eq!(timeline.scan(1), [""; 0]);
    assert_eq!(timeline.history, before);
    timeline.repository.snapshot.tags = tags;
    timeline.repository.snapshot.manifests = manifests;
    timeline.plan(2);
    assert_eq!(timeline.history.observations, before.observations);
}

#[test]
fn clock_that_was_ahead_makes_nothing_older() {
    let mut timeline = ten_days();
    timeline.push("first", None, &["first"]);
    timeline.scan(0);
    timeline.push("pushed", created_in(2020), &["pushed"]);
    // Noticed in the year to come, and then the clock was put right.
    timeline.scan(365);
    assert_eq!(timeline.scan(2), [""; 0]);
    assert_eq!(timeline.scan(374), ["first"]);
    assert_eq!(timeline.scan(375), ["first", "pushed"]);
}

#[test]
fn clock_that_was_not_set_makes_nothing_older() {
    let mut timeline = ten_days();
    timeline.push("first", None, &["first"]);
    timeline.push("dated", created_in(2020), &["dated"]);
    timeline.scan(-20_000);
    timeline.push("pushed", None, &["pushed"]);
    timeline.scan(-19_999);
    assert_eq!(timeline.scan(1), ["dated"]);
    assert_eq!(timeline.evidence(1, "first"), [(Source::FIRST_SCAN, Weight::TooOld)]);
    assert_eq!(timeline.evidence(1, "pushed"), [(Source::NOTICED, Weight::TooOld)]);
}

#[test]
fn clock_that_was_ahead_at_the_first_scan_makes_later_images_no_older() {
    let mut timeline = ten_days();
    timeline.push("old", created_in(2020), &["old"]);
    timeline.push("young", Some(day(-1)), &["young"]);
    timeline.push("silent", None, &["silent"]);
    timeline.scan(365);
    timeline.push("promoted", created_in(2020), &["promoted"]);
    timeline.push("old", created_in(2020), &["old", "release"]);
    assert_eq!(timeline.scan(1), [""; 0]);
    assert_eq!(
        timeline.evidence(1, "promoted"),
        [(Source::CREATED, Weight::Outdated), (Source::NOTICED, Weight::Counts)]
    );
    assert_eq!(timeline.scan(9), ["young"]);
    assert_eq!(timeline.scan(11), ["old", "promoted", "young"]);
    // The age of an undated image that existed at that scan is unknown until the clock has passed it.
    assert_eq!(timeline.evidence(11, "silent"), [(Source::FIRST_SCAN, Weight::TooRecent)]);
    assert_eq!(timeline.scan(394), ["old", "promoted", "young"]);
    assert_eq!(timeline.scan(395), ["old", "promoted", "silent", "young"]);
}

#[test]
fn untagged_age_counts_from_the_move_of_the_tag() {
    let mut timeline = Timeline::new(all(vec![newer_than(24 * 365)]).untagged(240));
    timeline.push("left", Some(day(-1)), &["latest"]);
    timeline.push("base", Some(day(-1)), &["base"]);
    timeline.scan(0);
    timeline.push("new", Some(day(1)), &["latest"]);
    let observations = |timeline: &Timeline| timeline.history.observations[&digest("left")];
    assert_eq!(timeline.scan(1), [""; 0]);
    assert_eq!(observations(&timeline).untagged_since, Some(day(1)));
    // Ten days after the tag was moved, at any age.
    assert_eq!(timeline.scan(10), [""; 0]);
    assert_eq!(timeline.scan(11), ["left"]);
    timeline.push("left", Some(day(-1)), &["rollback"]);
    assert_eq!(timeline.scan(12), [""; 0]);
    assert_eq!(
        observations(&timeline),
        Observation { noticed: day(12), untagged_since: None, restored: None }
    );
}

#[test]
fn observations_of_absent_manifests_are_removed() {
    let mut timeline = ten_days();
    timeline.push("a", Some(day(0)), &["a"]);
    timeline.push("b", Some(day(0)), &["b"]);
    timeline.scan(0);
    timeline.untag("a");
    timeline.repository.snapshot.manifests.remove(&digest("a"));
    timeline.scan(1);
    assert!(timeline.history.observations.contains_key(&digest("a")), "it was not fetched");
    timeline.repository.snapshot.absent.insert(digest("a"));
    timeline.scan(2);
    assert!(!timeline.history.observations.contains_key(&digest("a")));
    assert!(!timeline.history.manifests.contains_key(&digest("a")));
}

#[test]
fn first_scan_after_a_loss_counts_as_age() {
    let mut timeline = ten_days();
    timeline.history.first_scan = FirstScan::Lost;
    timeline.push("old", created_in(2020), &["old"]);
    timeline.push("silent", None, &["silent"]);
    assert_eq!(timeline.scan(0), [""; 0]);
    assert_eq!(timeline.scan(9), [""; 0]);
    assert_eq!(timeline.scan(10), ["old"]);
    assert_eq!(timeline.scan(30), ["old", "silent"]);
}

#[test]
fn restored_image_is_kept_for_a_week() {
    let mut timeline = ten_days();
    timeline.push("old", created_in(2020), &["old"]);
    assert_eq!(timeline.scan(0), ["old"]);
    timeline.history.observations.get_mut(&digest("old")).unwrap().restored = Some(day(0));
    assert_eq!(timeline.scan(1), [""; 0]);
    assert_eq!(timeline.scan(6), [""; 0]);
    assert_eq!(timeline.scan(7), ["old"]);
}

#[test]
fn leftover_is_deleted_unless_it_is_needed() {
    let mut timeline = ten_days();
    timeline.push("child", None, &[]);
    assert_eq!(timeline.scan(0), [""; 0]);
    timeline.history.leftovers.insert(digest("child"));
    assert_eq!(timeline.scan(1), ["child"]);
    let repository = std::mem::replace(&mut timeline.repository, TestRepository::new());
    timeline.repository = repository.label("child", "keep", "yes");
    let label = Label { key: "keep".into(), value: None };
    timeline.input.protect.labels.push(label);
    assert_eq!(timeline.scan(2), [""; 0]);
    timeline.input.protect.labels.clear();
    assert_eq!(timeline.scan(3), ["child"]);
    let repository = std::mem::replace(&mut timeline.repository, TestRepository::new());
    timeline.repository = repository.index("index", &["child"], &["latest"]);
    assert_eq!(timeline.scan(4), [""; 0]);
    // It was tagged again since, so it is kept like every untagged manifest.
    timeline.untag("latest");
    timeline.repository.snapshot.manifests.remove(&digest("index"));
    assert_eq!(timeline.scan(5), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// For all pushes, dates and scans: if the history is lost on some day, and the loss is known, nothing is
    /// deleted on a later day that would have been kept with it.
    #[test]
    fn loss_of_the_scan_history_deletes_nothing_sooner(
        pushes in prop::collection::vec((0..60i64, prop::option::of(-400..60i64)), 1..12),
        lost in 1..60i64,
        keep in prop_oneof![
            (1..960i64).prop_map(newer_than),
            (1..5usize).prop_map(newest),
            (1..9usize).prop_map(|n| last(n, Period::Daily)),
            (1..4usize).prop_map(|n| last(n, Period::Weekly)),
        ],
    ) {
        let mut whole = Timeline::new(all(vec![keep.clone()]));
        let mut losing = Timeline::new(all(vec![keep]));
        for on in 0..90 {
            for (number, (when, made)) in pushes.iter().enumerate().filter(|(_, (when, _))| *when == on) {
                let name = format!("i{number}");
                // Images are created before they are pushed.
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
    fn first_scan_with_a_clock_that_was_ahead_deletes_nothing_sooner(
        pushes in prop::collection::vec((0..60i64, prop::option::of(-400..60i64)), 1..12),
        ahead in 1..400i64,
        keep in prop_oneof![
            (1..960i64).prop_map(newer_than),
            (1..5usize).prop_map(newest),
            (1..9usize).prop_map(|n| last(n, Period::Daily)),
            (1..4usize).prop_map(|n| last(n, Period::Weekly)),
        ],
    ) {
        let mut right = Timeline::new(all(vec![keep.clone()]));
        let mut wrong = Timeline::new(all(vec![keep]));
        for on in 0..90 {
            for (number, (when, made)) in pushes.iter().enumerate().filter(|(_, (when, _))| *when == on) {
                let name = format!("i{number}");
                let made = made.map(|made| day(made.min(*when)));
                right.push(&name, made, &[&name]);
                wrong.push(&name, made, &[&name]);
            }
            if on == 0 {
                right.scan(0);
                // No two scans have the same moment.
                let at = day(ahead) + TimeDelta::milliseconds(1);
                wrong.history = wrong.history.record(&mut wrong.repository.snapshot, at);
                continue;
            }
            let (with, without) = (right.scan(on), wrong.scan(on));
            prop_assert!(without.iter().all(|name| with.contains(name)), "day {on}: {without:?} and not {with:?}");
        }
    }
}
