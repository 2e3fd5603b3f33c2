//! A case for each keep criterion, with the order by age.

use super::*;

#[test]
fn plan_of_an_empty_repository_is_empty() {
    TestRepository::new().check(&nothing(), &[]);
}

#[test]
fn newest_keeps_the_youngest() {
    let repository =
        TestRepository::new().image("a", 1, &["t1"]).image("b", 2, &["t2"]).image("c", 3, &["t3"]);
    repository.check(&all(vec![newest(2)]), &["a keep: newest", "b keep: newest", "c delete: expired"]);
}

#[test]
fn newest_counts_manifests_and_not_tags() {
    let repository =
        TestRepository::new().image("a", 1, &["t1", "t2"]).image("b", 2, &["t3"]).image("c", 3, &["t4"]);
    repository.check(&all(vec![newest(2)]), &["a keep: newest", "b keep: newest", "c delete: expired"]);
}

#[test]
fn newest_breaks_ties_by_the_natural_order_of_tags() {
    let repository = TestRepository::new().image("a", 1, &["build-9"]).image("b", 1, &["build-10"]);
    repository.check(&all(vec![newest(1)]), &["a delete: expired", "b keep: newest"]);
}

#[test]
fn unknown_age_is_kept_and_does_not_count() {
    let repository = TestRepository::new()
        .add("old-clock", Kind::Image, Some("1970-01-01T00:00:00Z".parse().unwrap()), &["t1"])
        .add("future", Kind::Image, Some(ago(-1)), &["t2"])
        .add("chart", Kind::Artifact, None, &["t3"])
        .image("a", 5, &["t4"])
        .image("b", 6, &["t5"]);
    repository.check(
        &all(vec![newest(1)]),
        &[
            "old-clock keep: expired age-unknown",
            "future keep: expired age-unknown",
            "chart keep: expired age-unknown",
            "a keep: newest",
            "b delete: expired",
        ],
    );
}

#[test]
fn newer_than_keeps_strictly_younger_images() {
    let repository = TestRepository::new().image("a", 23, &["t1"]).image("b", 24, &["t2"]);
    repository.check(&all(vec![newer_than(24)]), &["a keep: newer-than", "b delete: expired"]);
}

#[test]
fn daily_keeps_the_youngest_of_each_day_that_has_images() {
    let repository = TestRepository::new()
        .image("today", 1, &["t1"])
        .image("today-early", 11, &["t2"])
        .image("yesterday", 13, &["t3"])
        .image("long-ago", 24 * 30, &["t4"])
        .image("longer-ago", 24 * 40, &["t5"]);
    repository.check(
        &all(vec![last(3, Period::Daily)]),
        &[
            "today keep: daily",
            "today-early delete: expired",
            "yesterday keep: daily",
            "long-ago keep: daily",
            "longer-ago delete: expired",
        ],
    );
}

#[test]
fn daily_begins_at_midnight_of_the_time_zone() {
    // 23:00 and 21:00 UTC of the day before: one day in UTC, two in Berlin.
    let repository = TestRepository::new().image("a", 13, &["t1"]).image("b", 15, &["t2"]);
    repository.check(&all(vec![last(9, Period::Daily)]), &["a keep: daily", "b delete: expired"]);
    repository.check(
        &all(vec![last(9, Period::Daily)]).timezone(Tz::Europe__Berlin),
        &["a keep: daily", "b keep: daily"],
    );
}

#[test]
fn weekly_uses_iso_weeks() {
    // Monday noon, the Sunday before, and the Monday of the week before.
    let repository =
        TestRepository::new().image("mo", 48, &["t1"]).image("su", 72, &["t2"]).image("mo0", 216, &["t3"]);
    repository.check(
        &all(vec![last(2, Period::Weekly)]),
        &["mo keep: weekly", "su keep: weekly", "mo0 delete: expired"],
    );
}

#[test]
fn monthly_and_yearly_use_calendar_months_and_years() {
    let repository = TestRepository::new()
        .image("june", 24 * 16, &["t1"]) // 1 June
        .image("may", 24 * 17, &["t2"]) // 31 May
        .image("january", 24 * 167, &["t3"]) // 1 January
        .image("last-year", 24 * 168, &["t4"]); // 31 December
    repository.check(
        &all(vec![last(1, Period::Monthly), last(2, Period::Yearly)]),
        &[
            "june keep: monthly yearly",
            "may delete: expired",
            "january delete: expired",
            "last-year keep: yearly",
        ],
    );
}

#[test]
fn versions_keeps_the_highest() {
    let repository = TestRepository::new()
        .image("a", 9, &["v1.10.0"])
        .image("b", 1, &["1.9.0"])
        .image("c", 2, &["1.10.0-rc.1"])
        .image("d", 3, &["v1.2.3"]);
    repository.check(
        &all(vec![versions(2, None)]),
        &["a keep: versions", "c keep: versions", "b delete: expired", "d delete: expired"],
    );
}

#[test]
fn versions_counts_within_each_line() {
    let repository = TestRepository::new()
        .image("a", 1, &["1.0.0"])
        .image("b", 2, &["1.0.1"])
        .image("c", 3, &["1.1.0"])
        .image("d", 4, &["2.0.0"]);
    repository.check(
        &all(vec![versions(1, Some(Line::Minor))]),
        &["a delete: expired", "b keep: versions", "c keep: versions", "d keep: versions"],
    );
    repository.check(
        &all(vec![versions(1, Some(Line::Major))]),
        &["a delete: expired", "b delete: expired", "c keep: versions", "d keep: versions"],
    );
}

#[test]
fn versions_count_one_version_with_two_tags_once() {
    let repository = TestRepository::new()
        .image("a", 1, &["1.0.1"])
        .image("b", 2, &["v1.0.1_arm"]) // the plus sign of build metadata, as Helm writes it
        .image("c", 3, &["1.0.0"]);
    repository
        .check(&all(vec![versions(1, None)]), &["a keep: versions", "b keep: versions", "c delete: expired"]);
}

#[test]
fn versions_keeps_tags_that_are_no_version() {
    let repository =
        TestRepository::new().image("a", 1, &["1.0"]).image("b", 2, &["1.0.0"]).image("c", 3, &["0.9.0"]);
    repository.check(
        &all(vec![Criterion::All(vec![versions(1, None), newer_than(1)])]),
        &["a keep: not-a-version", "b delete: expired", "c delete: expired"],
    );
}

#[test]
fn criteria_need_only_one_that_holds_and_all_that_hold_are_reasons() {
    let repository =
        TestRepository::new().image("a", 1, &["t1"]).image("b", 2, &["t2"]).image("c", 9, &["t3"]);
    repository.check(
        &all(vec![newest(1), newer_than(3)]),
        &["a keep: newest newer-than", "b keep: newer-than", "c delete: expired"],
    );
}

#[test]
fn all_holds_only_if_every_criterion_holds() {
    let repository =
        TestRepository::new().image("a", 1, &["t1"]).image("b", 2, &["t2"]).image("c", 9, &["t3"]);
    repository.check(
        &all(vec![Criterion::All(vec![newest(2), newer_than(2)])]),
        &["a keep: all", "b delete: expired", "c delete: expired"],
    );
}
