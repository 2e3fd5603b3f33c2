//! A registry that is down for longer than a run waits.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use regsweep::config::parse;
use regsweep::registry::{Kind, Reader, Retry};
use regsweep::report::Outcome;

use super::harness::{FAST_RETRY, Scenario, deletes};
use crate::support::fault_proxy::Fault;
use crate::support::regsweep::OLD_TAGS_EXPIRE;

/// Waits for two seconds, and sends the next request after three.
const SHORT: Retry =
    Retry { outage_timeout: Duration::from_secs(2), open_duration: Duration::from_secs(3), ..FAST_RETRY };

#[tokio::test]
async fn registry_that_is_down_gets_only_small_probes() {
    let scenario = Scenario::with("", SHORT);
    let reads = AtomicUsize::new(0);
    scenario.faults.set(move |seen| {
        let is_read = seen.path.contains("/manifests/") && seen.method == "GET";
        let count = reads.fetch_add(usize::from(is_read), SeqCst);
        if count >= 3 { Fault::Status(502, None) } else { Fault::None }
    });
    let error = scenario.run().await.err().unwrap();
    assert_eq!((error.kind(), error.was_reached()), ("unavailable", false));
    let text = error.to_string();
    assert!(text.contains("has not answered for") && text.contains("next attempt is in"), "{text}");
    assert!(text.contains("502"), "the last failure is told: {text}");
    let log = scenario.faults.log();
    let failed = log.iter().filter(|one| one.fault != Fault::None);
    let (asked, tried): (Vec<_>, Vec<_>) = failed.partition(|one| one.path == "/v2/");
    // Eight in a row, and what was under way by then. The three answers before may come in between, and each begins
    // a row anew.
    assert!((8..=4 * 8 + 16).contains(&tried.len()), "{tried:#?}");
    assert!((2..=3).contains(&asked.len()), "at once, after one second, and perhaps at the end: {asked:#?}");
    let runs = scenario.state.runs(9).unwrap();
    assert_eq!((runs.len(), runs[0].outcome), (1, Some(Outcome::Failed)));
    scenario.assert_sound("down").await;
    // The next request fails at once.
    let before = scenario.faults.log().len();
    for _ in 0..100 {
        assert_eq!(scenario.reader.ping().await.unwrap_err().kind, Kind::Unavailable);
    }
    let more = scenario.faults.log().len() - before;
    assert!(more <= 1, "{more}");
    scenario.faults.stop_faults();
    tokio::time::sleep(SHORT.open_duration).await;
    scenario.run_without_faults("up again").await;
}

#[tokio::test]
async fn registry_that_goes_down_between_deletions_ends_the_run() {
    let scenario = Scenario::with("", SHORT);
    let sent = AtomicUsize::new(0);
    scenario.faults.set(move |seen| {
        let count = sent.fetch_add(usize::from(deletes(seen)), SeqCst) + usize::from(deletes(seen));
        if count >= 3 { Fault::LostAnswer } else { Fault::None }
    });
    let report = scenario.report().await;
    assert_eq!(report.outcome(), Outcome::Partial);
    assert!(report.failures.iter().all(|one| one.kind == "unavailable"), "{:?}", report.failures);
    assert!(report.unanswered, "{report:?}");
    assert_eq!(report.deleted.len() + report.skipped.len(), scenario.to_delete().len(), "{report:?}");
    scenario.assert_sound("down").await;
    scenario.faults.stop_faults();
    tokio::time::sleep(SHORT.open_duration).await;
    scenario.run_without_faults("up again").await;
}

#[tokio::test]
async fn deletion_that_was_not_sent_is_not_journaled() {
    let scenario = Scenario::with("concurrency: 1", SHORT);
    // Before anything is deleted its bytes are read, after a recheck; then the registry is gone.
    let (again, gone) = (AtomicBool::new(false), AtomicBool::new(false));
    scenario.faults.set(move |seen| {
        again.fetch_or(seen.path.ends_with("/tags/list") && seen.times > 1, SeqCst);
        gone.fetch_or(again.load(SeqCst) && seen.path.contains("/manifests/sha256:"), SeqCst);
        if gone.load(SeqCst) { Fault::Status(502, None) } else { Fault::None }
    });
    let report = scenario.report().await;
    assert_eq!((report.outcome(), report.deleted.len()), (Outcome::Partial, 0), "{report:?}");
    assert!(scenario.journal().is_empty());
    scenario.assert_sound("not sent").await;
    scenario.faults.stop_faults();
    tokio::time::sleep(SHORT.open_duration).await;
    scenario.run_without_faults("not sent").await;
}

#[tokio::test]
async fn unknown_host_name_fails_at_once() {
    let text = format!("registries: [{{ name: main, url: 'http://registry.invalid' }}]\n{OLD_TAGS_EXPIRE}");
    let config = parse(&text, "f", &|_| None).unwrap();
    let reader = Reader::new(&config.registries[0], FAST_RETRY, Arc::new(())).unwrap();
    let error = reader.ping().await.unwrap_err();
    assert_eq!(error.kind, Kind::Connect, "{error}");
    assert!(!error.may_be_applied);
    assert_eq!((reader.traffic().requests, reader.traffic().retries), (5, 4));
}
