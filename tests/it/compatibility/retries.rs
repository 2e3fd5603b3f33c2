//! Transient failures: the request is sent again and succeeds.

use std::time::{Duration, Instant};

use regsweep::registry::Retry;
use regsweep::report::Outcome;

use crate::compatibility::harness::{
    Case, QUICK, assert_expired_deleted, failures, filled, html, list, no_run, old, once, refusal,
};
use crate::support::fake_registry::{Canned, FakeRegistry, Personality, Request};

fn asked(fake: &FakeRegistry, path: &str) -> Vec<u16> {
    let requests = fake.requests().into_iter();
    requests.filter(|one| one.path == path).map(|one| one.status).collect()
}

#[tokio::test]
async fn transient_failure_is_retried() {
    let config = format!("/v2/app/blobs/{}", old("app", 1).config_digest());
    for (path, usual) in [
        ("/v2/", 200),
        ("/v2/_catalog?n=1000", 200),
        ("/v2/_catalog?n=-1", 400),
        ("/v2/app/tags/list", 200),
        ("/v2/app/manifests/keep", 200),
        (&config, 200),
    ] {
        for answer in [
            refusal(500, "UNKNOWN"),
            html(502),
            html(503),
            html(504),
            refusal(429, "TOOMANYREQUESTS"),
            refusal(429, "TOOMANYREQUESTS").header("retry-after", "0"),
            Canned::dropped(),
            list("app", &["old-1"]).cut_after(8),
        ] {
            let fake = filled(Personality::V3_1, &["app"]);
            let status = answer.status;
            let wanted = path.to_owned();
            fake.on(once(move |request: &Request| request.target == wanted, answer));
            let case = Case::of(&fake);
            let report = case.run().await.unwrap();
            let row = format!("{path} {status}");
            assert_eq!(report.outcome(), Outcome::Success, "{row}: {report:?}");
            assert_expired_deleted(&fake, "app", &row);
            assert_eq!(asked(&fake, path)[0..2], [status, usual], "{row}");
            assert_eq!(case.reader.traffic().retries, 1, "{row}");
        }
    }
}

#[tokio::test]
async fn deletion_is_retried() {
    for answer in [html(500), html(503), refusal(429, "TOOMANYREQUESTS"), Canned::dropped()] {
        let fake = filled(Personality::V2_8, &["app"]);
        let status = answer.status;
        fake.on(once(|request| request.method == "DELETE", answer));
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!((report.outcome(), report.deleted.len()), (Outcome::Success, 3), "{status}: {report:?}");
        assert_expired_deleted(&fake, "app", "the second attempt succeeded");
        assert_eq!(fake.mutating_requests().len(), 4);
    }
}

#[tokio::test]
async fn attempts_are_limited() {
    for answer in [html(500), refusal(429, "TOOMANYREQUESTS"), Canned::dropped()] {
        let fake = filled(Personality::V2_8, &["app", "odd"]);
        fake.on(move |request| (request.path == "/v2/odd/manifests/old-2").then(|| answer.clone()));
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(failures(&report).len(), 1, "{report:?}");
        assert_eq!(asked(&fake, "/v2/odd/manifests/old-2").len(), 3, "as many attempts as configured");
        assert_expired_deleted(&fake, "app", "it is another repository");
    }
}

#[tokio::test]
async fn permanent_failure_is_not_retried() {
    for answer in [refusal(403, "DENIED"), html(404), refusal(400, "TAG_INVALID"), html(200)] {
        let fake = filled(Personality::V2_8, &["app", "odd"]);
        fake.on(move |request| (request.path == "/v2/odd/tags/list").then(|| answer.clone()));
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(failures(&report).len(), 1, "{report:?}");
        assert_eq!(asked(&fake, "/v2/odd/tags/list").len(), 1);
    }
}

#[tokio::test]
async fn retry_after_is_respected() {
    let fake = filled(Personality::V3_1, &["app"]);
    let busy = refusal(429, "TOOMANYREQUESTS").header("retry-after", "1");
    fake.on(once(|request| request.path == "/v2/app/tags/list", busy));
    let retry = Retry { max_backoff: Duration::from_secs(60), ..QUICK };
    let case = Case::of(&fake).with_retry(retry);
    let begin = Instant::now();
    let report = case.run().await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(report.outcome(), Outcome::Success);
    assert_eq!(asked(&fake, "/v2/app/tags/list"), [429, 200, 200]);
}

#[tokio::test]
async fn retry_after_is_limited() {
    let fake = filled(Personality::V3_1, &["app"]);
    let busy = refusal(503, "UNAVAILABLE").header("retry-after", "86400");
    fake.on(once(|request| request.path == "/v2/app/tags/list", busy));
    let report = Case::of(&fake).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "it waited for the maximum backoff");
    assert_eq!(asked(&fake, "/v2/app/tags/list"), [503, 200, 200]);
}

#[tokio::test]
async fn registry_that_always_fails_ends_the_run_at_the_start() {
    for (answer, expected) in [(html(500), "server"), (refusal(429, "TOOMANYREQUESTS"), "rate_limited")] {
        let fake = filled(Personality::V3_1, &["app"]);
        fake.on(move |_| Some(answer.clone()));
        assert_eq!(no_run(Case::of(&fake).run().await).0, expected);
        assert_eq!(fake.requests().len(), 3);
    }
}

#[tokio::test]
async fn timeout_has_its_own_failure_kind() {
    let fake = FakeRegistry::options(Personality::V3_1).latency(Duration::from_secs(20)).start();
    let case = Case::with(&fake, "timeout: 1s").with_retry(Retry { attempts: 1, ..QUICK });
    let (kind, message) = no_run(case.run().await);
    assert_eq!(kind, "timeout", "{message}");
}
