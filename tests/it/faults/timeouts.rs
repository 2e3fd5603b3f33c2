//! Runs that take too long: they are ended, and the next run does the rest.

use std::time::Duration;

use regsweep::report::Outcome;

use super::harness::{FAST_RETRY, Scenario, deletes};
use crate::support::fault_proxy::Fault;

#[tokio::test]
async fn scan_beyond_run_timeout_is_an_error_with_advice() {
    let scenario = Scenario::with("concurrency: 1\nrun_timeout: 2s", FAST_RETRY);
    scenario.faults.set(|_| Fault::Latency(Duration::from_millis(400)));
    let error = scenario.run().await.err().unwrap();
    assert_eq!((error.kind(), error.was_reached()), ("run_timeout", true));
    assert!(error.to_string().contains("run_timeout (2s)"), "{error}");
    assert!(scenario.gone().is_empty() && scenario.journal().is_empty());
    assert_eq!(scenario.state.runs(9).unwrap()[0].outcome, Some(Outcome::Failed));
    scenario.assert_sound("too long").await;
    scenario.faults.stop_faults();
    // Two seconds are enough without faults, but perhaps not at once on every machine.
    scenario.run_until_done().await;
    scenario.assert_swept("in time").await;
}

#[tokio::test]
async fn run_beyond_run_timeout_stops_between_deletions_and_collects_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let swept = folder.path().join("swept");
    let gc = format!(
        "run_timeout: 6s\ngc: {{ cache: none, interruption: none, command: {{ run: [touch, {}] }} }}",
        swept.display()
    );
    let scenario = Scenario::with(&gc, FAST_RETRY);
    scenario
        .faults
        .set(|seen| if deletes(seen) { Fault::Latency(Duration::from_millis(3200)) } else { Fault::None });
    let report = scenario.report().await;
    assert_eq!(report.outcome(), Outcome::Partial, "{report:?}");
    assert!(report.cut_off.as_ref().unwrap().contains("run_timeout (6s)"), "{report:?}");
    assert!(report.failures.is_empty(), "{report:?}");
    assert!(report.skipped.iter().any(|one| one.why == "the run took longer than run_timeout"), "{report:?}");
    assert_eq!(report.deleted.len(), scenario.gone().len());
    assert_eq!(report.deleted.len() + report.skipped.len(), scenario.to_delete().len());
    let noted = scenario.state.runs(9).unwrap().remove(0);
    assert_eq!(noted.outcome, Some(Outcome::Partial));
    assert!(noted.error.unwrap().contains("run_timeout"));
    assert!(!swept.exists(), "a run that took too long begins no collection");
    scenario.assert_sound("time up").await;
    scenario.faults.stop_faults();
    scenario.run_until_done().await;
    scenario.assert_swept("the rest").await;
    assert!(swept.exists(), "a complete run begins a collection");
}
