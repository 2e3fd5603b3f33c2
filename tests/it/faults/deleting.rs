//! FaultProxy that hit deletions: whatever the registry did, it is noted once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use regsweep::report::{Answer, Outcome};

use super::harness::{World, deletes};
use crate::support::fault_proxy::Fault;

#[tokio::test]
async fn a_deletion_that_is_disturbed_once_is_done_and_noted_once() {
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
        let world = World::new();
        world.faults.set(move |seen| if deletes(seen) && seen.times == 1 { fault } else { Fault::None });
        let report = world.report().await;
        assert_eq!(report.outcome(), Outcome::Success, "{case}: {report:?}");
        assert!(report.deleted.iter().all(|one| !one.already_gone), "{case}: {report:?}");
        assert_eq!(report.deleted.len(), world.to_delete().len(), "{case}: {report:?}");
        world.assert_swept(&case).await;
        world.then_good_weather(&case).await;
    }
}

/// The tries of one deletion in `web` meet this, by their number; the kind of failure that the run tells
/// of, and whether that deletion is open in the journal afterwards, or not there.
async fn one_deletion(tries: impl Fn(usize) -> Fault + Send + Sync + 'static, kind: &str, open: bool) {
    let world = World::new();
    let first = Arc::new(OnceLock::new());
    let path = first.clone();
    world.faults.set(move |seen| {
        let in_web = deletes(seen) && seen.path.contains("/web/");
        if in_web && *path.get_or_init(|| seen.path.clone()) == seen.path {
            tries(seen.times)
        } else {
            Fault::None
        }
    });
    let report = world.report().await;
    let failures: Vec<_> = report.failures.iter().map(|one| (one.repository.as_str(), one.kind)).collect();
    assert_eq!(failures, [("web", kind)], "{report:?}");
    assert_eq!((report.outcome(), report.unanswered), (Outcome::Partial, open), "{kind}");
    let digest = first.get().unwrap().rsplit('/').next().unwrap();
    let journal = world.journal().into_iter();
    let mut noted = journal.filter(|one| one.repository.as_str() == "web" && one.digest.as_str() == digest);
    assert_eq!(noted.next().map(|one| one.answer), open.then_some(Answer::Pending), "{kind}");
    world.assert_sound(kind).await;
    world.then_good_weather(kind).await;
}

#[tokio::test]
async fn a_deletion_whose_every_answer_is_lost_is_looked_for_and_noted() {
    for fault in [Fault::LostAnswer, Fault::Masked(504)] {
        let case = format!("{fault:?}");
        let world = World::new();
        world.faults.set(move |seen| if deletes(seen) { fault } else { Fault::None });
        let report = world.report().await;
        assert_eq!((report.outcome(), report.unanswered), (Outcome::Success, false), "{case}: {report:?}");
        assert_eq!(report.deleted.len(), world.to_delete().len(), "{case}: {report:?}");
        world.assert_swept(&case).await;
        world.then_good_weather(&case).await;
    }
}

#[tokio::test]
async fn a_deletion_that_never_arrived_is_settled_by_the_next_run() {
    one_deletion(|_| Fault::LostRequest, "interrupted", true).await;
}

#[tokio::test]
async fn a_try_without_an_answer_is_not_forgotten_when_the_next_is_refused() {
    let then = |status| move |time| if time == 1 { Fault::LostRequest } else { Fault::Status(status, None) };
    one_deletion(then(404), "not_found", true).await;
    one_deletion(then(403), "forbidden", true).await;
    one_deletion(then(405), "unsupported", true).await;
}

#[tokio::test]
async fn a_refusal_that_may_be_anybodys_is_settled_by_the_next_run() {
    // Without a code of the specification.
    one_deletion(|_| Fault::Status(403, None), "forbidden", true).await;
    one_deletion(|_| Fault::Status(429, None), "rate_limited", true).await;
}
