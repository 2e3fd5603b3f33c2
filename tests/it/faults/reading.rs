//! FaultProxy that hit questions: each is asked again, and the run does all that it was to do.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regsweep::report::Outcome;

use super::harness::{HASTY, World};
use crate::support::fault_proxy::Fault;

/// Each first look at anything meets this, and the run does everything.
async fn weathered(fault: Fault) {
    let case = format!("{fault:?}");
    let world = World::new();
    world.faults.set(move |seen| if seen.method == "GET" && seen.times == 1 { fault } else { Fault::None });
    let report = world.report().await;
    assert_eq!(report.outcome(), Outcome::Success, "{case}: {report:?}");
    world.assert_swept(&case).await;
    let spoiled = world.faults.log().iter().filter(|one| one.fault == fault).count();
    assert!(spoiled > 15, "{case}: {spoiled}");
    let harmless = matches!(fault, Fault::Latency(_) | Fault::Drip { .. });
    let retries = world.reader.traffic().retries;
    assert_eq!(retries > 0, !harmless, "{case}: {retries}");
    world.then_good_weather(&case).await;
}

#[tokio::test]
async fn slow_answers_are_waited_for() {
    weathered(Fault::Latency(Duration::from_millis(30))).await;
    weathered(Fault::Drip { bytes: 100, every: Duration::from_millis(2) }).await;
}

#[tokio::test]
async fn broken_answers_are_asked_for_again() {
    for fault in [Fault::ResetIn(10), Fault::Truncate(10), Fault::Truncate(usize::MAX)] {
        weathered(fault).await;
    }
}

#[tokio::test]
async fn lost_requests_and_lost_answers_are_asked_for_again() {
    weathered(Fault::LostRequest).await;
    weathered(Fault::LostAnswer).await;
}

#[tokio::test]
async fn failures_of_the_registry_are_asked_again() {
    for status in [500, 502, 503, 504] {
        weathered(Fault::Status(status, None)).await;
    }
    weathered(Fault::Masked(502)).await;
    weathered(Fault::Status(429, None)).await;
}

#[tokio::test]
async fn an_answer_that_only_seems_whole_dooms_nothing() {
    for bytes in [20, usize::MAX] {
        for list in ["/tags/list", "/_catalog", "/manifests/", "/blobs/"] {
            let case = format!("{bytes} {list}");
            let world = World::new();
            world.faults.set(move |seen| {
                let such = seen.method == "GET" && seen.path.contains(list) && !seen.path.contains("n=-1");
                if such { Fault::Unframed(bytes) } else { Fault::None }
            });
            let whole = world.run().await.is_ok_and(|done| done.report.outcome() == Outcome::Success);
            world.assert_sound(&case).await;
            // Of a list all but the last byte is the line break after it: then nothing is missing.
            let complete = bytes == usize::MAX && ["/tags/list", "/_catalog"].contains(&list);
            assert_eq!(whole, complete, "{case}");
            world.then_good_weather(&case).await;
        }
    }
}

#[tokio::test]
async fn a_request_that_drips_has_an_end() {
    let world = World::with("timeout: 1s", HASTY);
    world.faults.set(|seen| match seen.path.as_str() {
        "/v2/web/tags/list" => Fault::Drip { bytes: 1, every: Duration::from_millis(400) },
        _ => Fault::None,
    });
    let begin = Instant::now();
    let report = world.report().await;
    let failures: Vec<_> = report.failures.iter().map(|one| (one.repository.as_str(), one.kind)).collect();
    assert_eq!(failures, [("web", "timeout")]);
    // A whole list would take more than ten seconds, five times over.
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    assert_eq!(report.deleted.len(), 5, "the other repository is done: {report:?}");
    world.assert_sound("drip").await;
    world.then_good_weather("drip").await;
}

#[tokio::test]
async fn who_asks_for_time_holds_back_everything() {
    let world = World::with("concurrency: 2", HASTY);
    let (asked, seen_at) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
    let (noted, times) = (asked.clone(), seen_at.clone());
    world.faults.set(move |seen| {
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
    let report = world.report().await;
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    let told = seen_at.lock().unwrap().clone();
    let asked = asked.lock().unwrap().unwrap();
    // What was under way by then could not know.
    let quiet = asked + Duration::from_secs(1)..asked + Duration::from_secs(2);
    assert!(!told.iter().any(|at| quiet.contains(at)), "{told:?}");
    assert!(told.iter().any(|at| *at >= quiet.end));
    world.assert_swept("held back").await;
}

#[tokio::test]
async fn the_pace_holds_for_further_tries_too() {
    let world = World::with("requests_per_second: 50", HASTY);
    world.faults.set(|seen| if seen.times == 1 { Fault::Status(500, None) } else { Fault::None });
    let begin = Instant::now();
    assert_eq!(world.report().await.outcome(), Outcome::Success);
    let (taken, requests) = (begin.elapsed(), world.faults.log().len() as u32);
    assert!(world.reader.traffic().retries > 15);
    assert_eq!(world.reader.traffic().requests, u64::from(requests));
    assert!(taken >= Duration::from_millis(20) * (requests - 1), "{requests} requests in {taken:?}");
}
