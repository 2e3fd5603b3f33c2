//! Outages in the middle of a run: they cost time, and nothing else.

use std::time::Duration;

use regsweep::report::Outcome;

use super::harness::{FAST_RETRY, Scenario};
use crate::support::fault_proxy::Fault;

/// Slow enough to be in the middle of something.
const SLOW: Fault = Fault::Latency(Duration::from_millis(20));

async fn refused_after(scenario: &Scenario, count: usize, such: impl Fn(&str, &str) -> bool) {
    scenario.wait_for(count, such).await;
    scenario.faults.refuse_connections(true);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    scenario.faults.refuse_connections(false);
}

async fn restarted_after(scenario: &Scenario, count: usize, such: impl Fn(&str, &str) -> bool) {
    scenario.wait_for(count, such).await;
    scenario.registry().stop();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    scenario.registry().start_again();
}

fn is_look(method: &str, path: &str) -> bool {
    method == "GET" && path.contains("/manifests/")
}

fn is_deletion(method: &str, path: &str) -> bool {
    method == "DELETE" && !path.ends_with("000000000000")
}

#[tokio::test]
async fn refused_connections_only_delay_a_scan() {
    for lines in ["", "concurrency: 1"] {
        let scenario = Scenario::with(lines, FAST_RETRY);
        scenario.faults.set(|_| SLOW);
        let (report, ()) = tokio::join!(scenario.report(), refused_after(&scenario, 2, is_look));
        assert_eq!(report.outcome(), Outcome::Success, "{lines}: {report:?}");
        scenario.assert_swept(lines).await;
    }
}

#[tokio::test]
async fn registry_restart_only_delays_a_scan() {
    let scenario = Scenario::new();
    scenario.faults.set(|_| SLOW);
    let (report, ()) = tokio::join!(scenario.report(), restarted_after(&scenario, 2, is_look));
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    scenario.assert_swept("restarted").await;
}

#[tokio::test]
async fn refused_connections_only_delay_deletions() {
    let scenario = Scenario::new();
    scenario.faults.set(|_| SLOW);
    let (report, ()) = tokio::join!(scenario.report(), refused_after(&scenario, 2, is_deletion));
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_eq!(report.deleted.len(), scenario.to_delete().len(), "{report:?}");
    scenario.run_without_faults("refused").await;
}

#[tokio::test]
async fn registry_restart_only_delays_deletions() {
    let scenario = Scenario::new();
    scenario.faults.set(|_| SLOW);
    let (report, ()) = tokio::join!(scenario.report(), restarted_after(&scenario, 2, is_deletion));
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_eq!(report.deleted.len(), scenario.to_delete().len(), "{report:?}");
    scenario.run_without_faults("restarted").await;
}
