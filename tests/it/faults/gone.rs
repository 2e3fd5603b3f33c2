//! A registry that goes away in the middle and comes back: that costs time, and nothing else.

use std::time::Duration;

use regsweep::report::Outcome;

use super::harness::{HASTY, World};
use crate::support::fault_proxy::Fault;

/// Slow enough to be in the middle of something.
const SLOW: Fault = Fault::Latency(Duration::from_millis(20));

async fn refused_after(world: &World, count: usize, such: impl Fn(&str, &str) -> bool) {
    world.wait_for(count, such).await;
    world.faults.refuse_connections(true);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.faults.refuse_connections(false);
}

async fn restarted_after(world: &World, count: usize, such: impl Fn(&str, &str) -> bool) {
    world.wait_for(count, such).await;
    world.registry().stop();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.registry().start_again();
}

fn is_look(method: &str, path: &str) -> bool {
    method == "GET" && path.contains("/manifests/")
}

fn is_deletion(method: &str, path: &str) -> bool {
    method == "DELETE" && !path.ends_with("000000000000")
}

#[tokio::test]
async fn connections_that_are_refused_for_a_while_cost_a_scan_nothing_but_time() {
    for lines in ["", "concurrency: 1"] {
        let world = World::with(lines, HASTY);
        world.faults.set(|_| SLOW);
        let (report, ()) = tokio::join!(world.report(), refused_after(&world, 2, is_look));
        assert_eq!(report.outcome(), Outcome::Success, "{lines}: {report:?}");
        world.assert_swept(lines).await;
    }
}

#[tokio::test]
async fn a_registry_that_is_restarted_in_the_middle_of_a_scan_costs_nothing_but_time() {
    let world = World::new();
    world.faults.set(|_| SLOW);
    let (report, ()) = tokio::join!(world.report(), restarted_after(&world, 2, is_look));
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    world.assert_swept("restarted").await;
}

#[tokio::test]
async fn connections_that_are_refused_for_a_while_cost_deletions_nothing_but_time() {
    let world = World::new();
    world.faults.set(|_| SLOW);
    let (report, ()) = tokio::join!(world.report(), refused_after(&world, 2, is_deletion));
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_eq!(report.deleted.len(), world.to_delete().len(), "{report:?}");
    world.then_good_weather("refused").await;
}

#[tokio::test]
async fn a_registry_that_is_restarted_in_the_middle_of_deletions_costs_nothing_but_time() {
    let world = World::new();
    world.faults.set(|_| SLOW);
    let (report, ()) = tokio::join!(world.report(), restarted_after(&world, 2, is_deletion));
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_eq!(report.deleted.len(), world.to_delete().len(), "{report:?}");
    world.then_good_weather("restarted").await;
}
