//! The requests of a recheck, and how long a recheck is valid.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use regsweep::model::{Digest, Facts, Kind, Manifest, Observation, RepositoryName};
use regsweep::report::Outcome;
use regsweep::run::LimitMode;

use crate::compatibility::harness::{Case, assert_expired_deleted, filled, image, now, old, tags};
use crate::support::fake_registry::{Canned, Personality};

/// Makes a repository larger than its share of the memory.
fn enlarge(case: &Case, repository: &str) {
    let repository = RepositoryName::parse(repository).unwrap();
    let before = case.state.load_scan_history("main", &repository).unwrap();
    let mut after = before.clone();
    for number in 0..140 {
        let digest = Digest::of(format!("large {number}").as_bytes());
        let labels = BTreeMap::from([("label".to_owned(), "x".repeat(1 << 20))]);
        let facts = Facts::Known { created: None, labels };
        let (kind, size, children, subject, blobs) = (Kind::Image, 1, Vec::new(), None, Vec::new());
        let large = Manifest { digest: digest.clone(), kind, size, children, subject, blobs, facts };
        after
            .observations
            .insert(digest.clone(), Observation { noticed: now(), untagged_since: None, restored: None });
        after.manifests.insert(digest, Arc::new(large));
    }
    case.state.save_scan_history("main", &repository, &before, &after, now()).unwrap();
}

#[tokio::test]
async fn recheck_is_repeated_after_a_long_wait_for_memory() {
    let fake = filled(Personality::V2_8, &["app"]);
    let case = Case::of(&fake);
    let scanned = case.scan_and_plan().await.unwrap();
    enlarge(&case, "app");
    let alone = case.reader.acquire_large().await;
    let released = Arc::new(Mutex::new(Instant::now()));
    let (path, since) = (format!("/v2/app/manifests/{}", old("app", 1).digest), released.clone());
    fake.before(move |request, state| {
        if request.is("DELETE", &path) {
            // Longer than a recheck is valid, which begins when there is memory.
            std::thread::sleep(since.lock().unwrap().elapsed() * 2 + Duration::from_millis(1200));
            state.push("app", "release", &old("app", 2));
        }
    });
    let release = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        *released.lock().unwrap() = Instant::now();
        drop(alone);
    };
    let (report, ()) = tokio::join!(case.apply(&scanned, LimitMode::Enforced), release);
    assert_eq!(tags(&fake, "app"), ["keep", "old-2", "release"], "{report:?}");
}

#[tokio::test]
async fn recheck_uses_get_where_head_is_forbidden() {
    for status in [403, 405] {
        let fake = filled(Personality::V2_8, &["app"]);
        fake.on(move |request| {
            let head = request.method == "HEAD" && request.path.contains("/manifests/");
            head.then(|| Canned::status(status))
        });
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{status}: {report:?}");
        assert_expired_deleted(&fake, "app", "GET is allowed");
    }
}

#[tokio::test]
async fn push_during_a_scan_is_not_older_than_the_scan() {
    let fake = filled(Personality::V2_8, &["app"]);
    let passed = Arc::new(AtomicI64::new(0));
    let hours = |passed: &AtomicI64| now() + TimeDelta::hours(passed.load(SeqCst));
    let clock = {
        let passed = passed.clone();
        move || hours(&passed)
    };
    let case = Case::of(&fake).at(clock);
    case.scan_and_plan().await.unwrap();
    // Two hours pass until the second scan has the list of tags, and a tag is pushed meanwhile.
    let (since, once) = (passed.clone(), AtomicBool::new(true));
    fake.before(move |request, state| {
        if request.is("GET", "/v2/app/tags/list") && once.swap(false, SeqCst) {
            since.fetch_add(2, SeqCst);
            state.push("app", "old-and-new", &image("old-and-new", 1));
        }
    });
    case.scan_and_plan().await.unwrap();
    // Images younger than an hour are protected.
    case.run().await.unwrap();
    assert_eq!(tags(&fake, "app"), ["keep", "old-and-new"]);
    passed.fetch_add(2, SeqCst);
    case.run().await.unwrap();
    assert_eq!(tags(&fake, "app"), ["keep"]);
}
