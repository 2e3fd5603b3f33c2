//! Faults of deletions: the journal has exactly what the registry did, once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use regsweep::report::{Answer, Outcome};

use super::harness::{Scenario, deletes};
use crate::support::fault_proxy::Fault;

#[tokio::test]
async fn deletion_disturbed_once_is_done_and_journaled_once() {
    for fault in [
        Fault::Latency(Duration::from_millis(50)),
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::ResetIn(0),
        Fault::Truncate(0),
        Fault::Masked(429),
        Fault::Masked(500),
        Fault::Masked(502),
        Fault::Masked(504),
        Fault::Status(503, None),
        Fault::Status(429, None),
    ] {
        let case = format!("{fault:?}");
        let scenario = Scenario::new();
        scenario.faults.set(move |seen| if deletes(seen) && seen.times == 1 { fault } else { Fault::None });
        let report = scenario.report().await;
        assert_eq!(report.outcome(), Outcome::Success, "{case}: {report:?}");
        assert!(report.deleted.iter().all(|one| !one.already_gone), "{case}: {report:?}");
        assert_eq!(report.deleted.len(), scenario.to_delete().len(), "{case}: {report:?}");
        scenario.assert_swept(&case).await;
        scenario.run_without_faults(&case).await;
    }
}

/// The attempts of one deletion in `web` meet these faults, by their number; the kind of failure that the run
/// reports, and whether that deletion is open in the journal afterwards, or not there.
async fn one_deletion(tries: impl Fn(usize) -> Fault + Send + Sync + 'static, kind: &str, open: bool) {
    let scenario = Scenario::new();
    let first = Arc::new(OnceLock::new());
    let path = first.clone();
    scenario.faults.set(move |seen| {
        let in_web = deletes(seen) && seen.path.contains("/web/");
        if in_web && *path.get_or_init(|| seen.path.clone()) == seen.path {
            tries(seen.times)
        } else {
            Fault::None
        }
    });
    let report = scenario.report().await;
    let failures: Vec<_> = report.failures.iter().map(|one| (one.repository.as_str(), one.kind)).collect();
    assert_eq!(failures, [("web", kind)], "{report:?}");
    assert_eq!((report.outcome(), report.unanswered), (Outcome::Partial, open), "{kind}");
    let digest = first.get().unwrap().rsplit('/').next().unwrap();
    let journal = scenario.journal().into_iter();
    let mut noted = journal.filter(|one| one.repository.as_str() == "web" && one.digest.as_str() == digest);
    assert_eq!(noted.next().map(|one| one.answer), open.then_some(Answer::Pending), "{kind}");
    scenario.assert_sound(kind).await;
    scenario.run_without_faults(kind).await;
}

#[tokio::test]
async fn deletion_without_any_answer_is_verified_and_journaled() {
    for fault in [Fault::LostAnswer, Fault::Masked(504)] {
        let case = format!("{fault:?}");
        let scenario = Scenario::new();
        scenario.faults.set(move |seen| if deletes(seen) { fault } else { Fault::None });
        let report = scenario.report().await;
        assert_eq!((report.outcome(), report.unanswered), (Outcome::Success, false), "{case}: {report:?}");
        assert_eq!(report.deleted.len(), scenario.to_delete().len(), "{case}: {report:?}");
        scenario.assert_swept(&case).await;
        scenario.run_without_faults(&case).await;
    }
}

#[tokio::test]
async fn deletion_that_never_arrived_is_resolved_by_the_next_run() {
    one_deletion(|_| Fault::LostRequest, "interrupted", true).await;
}

#[tokio::test]
async fn unanswered_attempt_counts_even_if_the_next_is_refused() {
    let then = |status| move |time| if time == 1 { Fault::LostRequest } else { Fault::Status(status, None) };
    one_deletion(then(404), "not_found", true).await;
    one_deletion(then(403), "forbidden", true).await;
    one_deletion(then(405), "unsupported", true).await;
}

#[tokio::test]
async fn refusal_by_a_proxy_is_resolved_by_the_next_run() {
    // Without a code of the specification.
    one_deletion(|_| Fault::Status(403, None), "forbidden", true).await;
    one_deletion(|_| Fault::Status(429, None), "rate_limited", true).await;
}
