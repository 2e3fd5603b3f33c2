//! A registry that is down, and stays so for longer than anybody waits.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use regsweep::config::parse;
use regsweep::registry::{Kind, Reader, Retry};
use regsweep::report::Outcome;

use super::harness::{HASTY, World, deletes};
use crate::support::fault_proxy::Fault;
use crate::support::regsweep::OLD_TAGS_EXPIRE;

/// Waits for two seconds, and asks again after three.
const SHORT: Retry =
    Retry { outage_timeout: Duration::from_secs(2), open_duration: Duration::from_secs(3), ..HASTY };

#[tokio::test]
async fn a_registry_that_is_down_gets_one_small_question_now_and_then() {
    let world = World::with("", SHORT);
    let looks = AtomicUsize::new(0);
    world.faults.set(move |seen| {
        let look = seen.path.contains("/manifests/") && seen.method == "GET";
        let count = looks.fetch_add(usize::from(look), SeqCst);
        if count >= 3 { Fault::Status(502, None) } else { Fault::None }
    });
    let error = world.run().await.err().unwrap();
    assert_eq!((error.kind(), error.was_reached()), ("unavailable", false));
    let text = error.to_string();
    assert!(text.contains("has not answered for") && text.contains("next attempt is in"), "{text}");
    assert!(text.contains("502"), "the last failure is told: {text}");
    let log = world.faults.log();
    let failed = log.iter().filter(|one| one.fault != Fault::None);
    let (asked, tried): (Vec<_>, Vec<_>) = failed.partition(|one| one.path == "/v2/");
    // Eight in a row, and what was under way by then. The three answers before may come in between, and each begins
    // a row anew.
    assert!((8..=4 * 8 + 16).contains(&tried.len()), "{tried:#?}");
    assert!((2..=3).contains(&asked.len()), "at once, after one second, and perhaps at the end: {asked:#?}");
    let runs = world.state.runs(9).unwrap();
    assert_eq!((runs.len(), runs[0].outcome), (1, Some(Outcome::Failed)));
    world.assert_sound("down").await;
    // Whoever comes now hears it at once.
    let before = world.faults.log().len();
    for _ in 0..100 {
        assert_eq!(world.reader.ping().await.unwrap_err().kind, Kind::Unavailable);
    }
    let more = world.faults.log().len() - before;
    assert!(more <= 1, "{more}");
    world.faults.stop_faults();
    tokio::time::sleep(SHORT.open_duration).await;
    world.then_good_weather("up again").await;
}

#[tokio::test]
async fn a_registry_that_goes_down_in_the_middle_of_deletions_ends_the_run() {
    let world = World::with("", SHORT);
    let sent = AtomicUsize::new(0);
    world.faults.set(move |seen| {
        let count = sent.fetch_add(usize::from(deletes(seen)), SeqCst) + usize::from(deletes(seen));
        if count >= 3 { Fault::LostAnswer } else { Fault::None }
    });
    let report = world.report().await;
    assert_eq!(report.outcome(), Outcome::Partial);
    assert!(report.failures.iter().all(|one| one.kind == "unavailable"), "{:?}", report.failures);
    assert!(report.unanswered, "{report:?}");
    assert_eq!(report.deleted.len() + report.skipped.len(), world.to_delete().len(), "{report:?}");
    world.assert_sound("down").await;
    world.faults.stop_faults();
    tokio::time::sleep(SHORT.open_duration).await;
    world.then_good_weather("up again").await;
}

#[tokio::test]
async fn a_deletion_that_was_not_sent_is_not_in_the_journal() {
    let world = World::with("concurrency: 1", SHORT);
    // Before anything is deleted its bytes are read, after a second look; then the registry is gone.
    let (again, gone) = (AtomicBool::new(false), AtomicBool::new(false));
    world.faults.set(move |seen| {
        again.fetch_or(seen.path.ends_with("/tags/list") && seen.times > 1, SeqCst);
        gone.fetch_or(again.load(SeqCst) && seen.path.contains("/manifests/sha256:"), SeqCst);
        if gone.load(SeqCst) { Fault::Status(502, None) } else { Fault::None }
    });
    let report = world.report().await;
    assert_eq!((report.outcome(), report.deleted.len()), (Outcome::Partial, 0), "{report:?}");
    assert!(world.journal().is_empty());
    world.assert_sound("not sent").await;
    world.faults.stop_faults();
    tokio::time::sleep(SHORT.open_duration).await;
    world.then_good_weather("not sent").await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_no_outage_to_wait_for() {
    let text = format!("registries: [{{ name: main, url: 'http://registry.invalid' }}]\n{OLD_TAGS_EXPIRE}");
    let config = parse(&text, "f", &|_| None).unwrap();
    let reader = Reader::new(&config.registries[0], HASTY, Arc::new(())).unwrap();
    let error = reader.ping().await.unwrap_err();
    assert_eq!(error.kind, Kind::Connect, "{error}");
    assert!(!error.may_be_applied);
    assert_eq!((reader.traffic().requests, reader.traffic().retries), (5, 4));
}
