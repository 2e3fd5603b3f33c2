//! A run that takes too long is ended, and what it left is done by the next.

use std::time::Duration;

use regsweep::report::Outcome;

use super::harness::{HASTY, World, deletes};
use crate::support::fault_proxy::Fault;

#[tokio::test]
async fn a_scan_that_takes_too_long_is_an_error_that_says_what_to_do() {
    let world = World::with("concurrency: 1\nrun_timeout: 2s", HASTY);
    world.faults.set(|_| Fault::Latency(Duration::from_millis(400)));
    let error = world.run().await.err().unwrap();
    assert_eq!((error.kind(), error.was_reached()), ("run_timeout", true));
    assert!(error.to_string().contains("run_timeout (2s)"), "{error}");
    assert!(world.gone().is_empty() && world.journal().is_empty());
    assert_eq!(world.state.runs(9).unwrap()[0].outcome, Some(Outcome::Failed));
    world.assert_sound("too long").await;
    world.faults.stop_faults();
    // Two seconds are enough in good weather, but perhaps not at once on every machine.
    world.run_to_the_end().await;
    world.assert_swept("in time").await;
}

#[tokio::test]
async fn a_run_whose_time_is_up_stops_between_two_deletions_and_collects_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let swept = folder.path().join("swept");
    let gc = format!(
        "run_timeout: 6s\ngc: {{ cache: none, interruption: none, command: {{ run: [touch, {}] }} }}",
        swept.display()
    );
    let world = World::with(&gc, HASTY);
    world.faults.set(
        |seen| {
            if deletes(seen) { Fault::Latency(Duration::from_millis(3200)) } else { Fault::None }
        },
    );
    let report = world.report().await;
    assert_eq!(report.outcome(), Outcome::Partial, "{report:?}");
    assert!(report.cut_off.as_ref().unwrap().contains("run_timeout (6s)"), "{report:?}");
    assert!(report.failures.is_empty(), "{report:?}");
    assert!(report.skipped.iter().any(|one| one.why == "the run took longer than run_timeout"), "{report:?}");
    assert_eq!(report.deleted.len(), world.gone().len());
    assert_eq!(report.deleted.len() + report.skipped.len(), world.to_delete().len());
    let noted = world.state.runs(9).unwrap().remove(0);
    assert_eq!(noted.outcome, Some(Outcome::Partial));
    assert!(noted.error.unwrap().contains("run_timeout"));
    assert!(!swept.exists(), "a run whose time was up begins no collection");
    world.assert_sound("time up").await;
    world.faults.stop_faults();
    world.run_to_the_end().await;
    world.assert_swept("the rest").await;
    assert!(swept.exists(), "a run that comes to its end does");
}
