//! Plans for a moment before the first scan, as with `--at`.

use super::timeline::{day, ten_days};
use super::*;
use crate::plan::{Evidence, Source, Weight};

#[test]
fn plan_for_the_past_shows_the_real_time_of_a_scan() {
    let mut timeline = ten_days();
    timeline.push("silent", None, &["v1"]);
    timeline.scan(10);
    timeline.push("late", None, &["v2"]);
    timeline.scan(12);
    let plan = timeline.plan(5);
    let of = |name: &str| {
        let found =
            plan.manifests.iter().find(|planned| timeline.repository.names[&planned.digest] == name).unwrap();
        (found.evidence.clone(), found.age)
    };
    let evidence = |source, on, weight| vec![Evidence { source, at: day(on), weight }];
    assert_eq!(of("silent"), (evidence(Source::FIRST_SCAN, 10, Weight::TooRecent), None));
    assert_eq!(of("late"), (evidence(Source::NOTICED, 12, Weight::Counts), Some(TimeDelta::zero())));
}
