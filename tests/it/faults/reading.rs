//! Faults of reading requests: each is retried, and the run is complete.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regsweep::report::Outcome;

use super::harness::{FAST_RETRY, Scenario};
use crate::support::fault_proxy::Fault;

/// The first request for each path meets this fault, and the run completes.
async fn run_with_fault(fault: Fault) {
    let case = format!("{fault:?}");
    let scenario = Scenario::new();
    scenario
        .faults
        .set(move |seen| if seen.method == "GET" && seen.times == 1 { fault } else { Fault::None });
    let report = scenario.report().await;
    assert_eq!(report.outcome(), Outcome::Success, "{case}: {report:?}");
    scenario.assert_swept(&case).await;
    let spoiled = scenario.faults.log().iter().filter(|one| one.fault == fault).count();
    assert!(spoiled > 15, "{case}: {spoiled}");
    let harmless = matches!(fault, Fault::Latency(_) | Fault::Drip { .. });
    let retries = scenario.reader.traffic().retries;
    assert_eq!(retries > 0, !harmless, "{case}: {retries}");
    scenario.run_without_faults(&case).await;
}

#[tokio::test]
async fn slow_answers_are_waited_for() {
    run_with_fault(Fault::Latency(Duration::from_millis(30))).await;
    run_with_fault(Fault::Drip { bytes: 100, every: Duration::from_millis(2) }).await;
}

#[tokio::test]
async fn broken_answers_are_requested_again() {
    for fault in [Fault::ResetIn(10), Fault::Truncate(10), Fault::Truncate(usize::MAX)] {
        run_with_fault(fault).await;
    }
}

#[tokio::test]
async fn lost_requests_and_answers_are_sent_again() {
    run_with_fault(Fault::LostRequest).await;
    run_with_fault(Fault::LostAnswer).await;
}

#[tokio::test]
async fn server_errors_are_retried() {
    for status in [500, 502, 503, 504] {
        run_with_fault(Fault::Status(status, None)).await;
    }
    run_with_fault(Fault::Masked(502)).await;
    run_with_fault(Fault::Status(429, None)).await;
}

#[tokio::test]
async fn truncated_answer_deletes_nothing() {
    for bytes in [20, usize::MAX] {
        for list in ["/tags/list", "/_catalog", "/manifests/", "/blobs/"] {
            let case = format!("{bytes} {list}");
            let scenario = Scenario::new();
            scenario.faults.set(move |seen| {
                let such = seen.method == "GET" && seen.path.contains(list) && !seen.path.contains("n=-1");
                if such { Fault::Unframed(bytes) } else { Fault::None }
            });
            let whole = scenario.run().await.is_ok_and(|done| done.report.outcome() == Outcome::Success);
            scenario.assert_sound(&case).await;
            // Of a list all but the last byte is the line break after it: then nothing is missing.
            let complete = bytes == usize::MAX && ["/tags/list", "/_catalog"].contains(&list);
            assert_eq!(whole, complete, "{case}");
            scenario.run_without_faults(&case).await;
        }
    }
}

#[tokio::test]
async fn dripping_answer_times_out() {
    let scenario = Scenario::with("timeout: 1s", FAST_RETRY);
    scenario.faults.set(|seen| match seen.path.as_str() {
        "/v2/web/tags/list" => Fault::Drip { bytes: 1, every: Duration::from_millis(400) },
        _ => Fault::None,
    });
    let begin = Instant::now();
    let report = scenario.report().await;
    let failures: Vec<_> = report.failures.iter().map(|one| (one.repository.as_str(), one.kind)).collect();
    assert_eq!(failures, [("web", "timeout")]);
    // A whole list would take more than ten seconds, five times over.
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    assert_eq!(report.deleted.len(), 5, "the other repository is done: {report:?}");
    scenario.assert_sound("drip").await;
    scenario.run_without_faults("drip").await;
}

#[tokio::test]
async fn retry_after_delays_all_requests() {
    let scenario = Scenario::with("concurrency: 2", FAST_RETRY);
    let (asked, seen_at) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
    let (noted, times) = (asked.clone(), seen_at.clone());
    scenario.faults.set(move |seen| {
        let now = Instant::now();
        times.lock().unwrap().push(now);
        if seen.path == "/v2/app/manifests/old-1" && seen.times == 1 {
            *noted.lock().unwrap() = Some(now);
            return Fault::Status(429, Some(2));
        }
        // So that others have something to do all that time.
        let lately = noted.lock().unwrap().is_some_and(|at: Instant| at.elapsed() < Duration::from_secs(2));
        if lately { Fault::Latency(Duration::from_millis(400)) } else { Fault::None }
    });
    let report = scenario.report().await;
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    let told = seen_at.lock().unwrap().clone();
    let asked = asked.lock().unwrap().unwrap();
    // What was under way by then could not know.
    let quiet = asked + Duration::from_secs(1)..asked + Duration::from_secs(2);
    assert!(!told.iter().any(|at| quiet.contains(at)), "{told:?}");
    assert!(told.iter().any(|at| *at >= quiet.end));
    scenario.assert_swept("held back").await;
}

#[tokio::test]
async fn rate_limit_holds_for_retries() {
    let scenario = Scenario::with("requests_per_second: 50", FAST_RETRY);
    scenario.faults.set(|seen| if seen.times == 1 { Fault::Status(500, None) } else { Fault::None });
    let begin = Instant::now();
    assert_eq!(scenario.report().await.outcome(), Outcome::Success);
    let (taken, requests) = (begin.elapsed(), scenario.faults.log().len() as u32);
    assert!(scenario.reader.traffic().retries > 15);
    assert_eq!(scenario.reader.traffic().requests, u64::from(requests));
    assert!(taken >= Duration::from_millis(20) * (requests - 1), "{requests} requests in {taken:?}");
}
