//! Plans for a moment before regsweep first looked, as `--at` asks for.

use super::ages::{day, ten_days};
use super::*;
use crate::plan::{Evidence, Source, Weight};

#[test]
fn a_plan_for_the_past_tells_when_a_look_really_was() {
    let mut walk = ten_days();
    walk.push("silent", None, &["v1"]);
    walk.scan(10);
    walk.push("late", None, &["v2"]);
    walk.scan(12);
    let plan = walk.plan(5);
    let of = |name: &str| {
        let found = plan.manifests.iter().find(|planned| walk.world.names[&planned.digest] == name).unwrap();
        (found.evidence.clone(), found.age)
    };
    let told = |source, on, weight| vec![Evidence { source, at: day(on), weight }];
    assert_eq!(of("silent"), (told(Source::FIRST_SCAN, 10, Weight::TooRecent), None));
    assert_eq!(of("late"), (told(Source::NOTICED, 12, Weight::Counts), Some(TimeDelta::zero())));
}
