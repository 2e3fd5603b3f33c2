//! Collections by `regsweep gc` and `regsweep run` that do not come to their end: the registry is back, nothing
//! sweeps beside it, and what is told of it is true.

use std::time::Instant;

use crate::world::{Commands, NEVER, Place};

/// The downtimes that the state knows, oldest first, in milliseconds.
fn downtimes(place: &Place) -> Vec<u64> {
    let count = place.number("SELECT count(*) FROM collection");
    let one = |row| {
        place.number(&format!(
            "SELECT CAST(downtime * 1000 AS INTEGER) FROM collection ORDER BY id LIMIT 1 OFFSET {row}"
        ))
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_that_fails_tells_how_long_the_registry_was_away() {
    let commands = Commands::new().await;
    let place = Place::new(NEVER, &[commands.lines("exit 3", "", "")]);
    let ran = place.run(&["run", "--output", "json"]).await.exits(1);
    let collection = &ran.json()["collection"];
    assert_eq!(collection["outcome"], "failed");
    assert!(collection["downtime_seconds"].as_f64().unwrap() > 0.0, "{collection}");
    assert!(downtimes(&place)[0] > 0);
    commands.filled.assert_sound(&commands.host.registry.host()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_brought_back_later_was_away_until_then() {
    let commands = Commands::new().await;
    let fixed = commands.file("fixed");
    let after = format!("[ -e {} ] || exit 1", fixed.display());
    let place = Place::new(NEVER, &[commands.lines("", &after, "")]);
    let begin = Instant::now();
    let ran = place.run(&["run"]).await.exits(1);
    assert!(ran.stderr.contains("the registry is down"), "{}", ran.stderr);
    let pause = Instant::now();
    assert!(place.run(&["gc"]).await.exits(1).stderr.contains("exit code 1"));
    std::fs::write(fixed, "").unwrap();
    let pause = pause.elapsed();
    place.run(&["gc"]).await.exits(0);
    // One that failed, one that brought it back, and one that had nothing to do.
    let downtimes = downtimes(&place);
    assert_eq!(downtimes.len(), 3, "{downtimes:?}");
    assert!(downtimes[0] > 0 && u128::from(downtimes[1]) >= pause.as_millis(), "{downtimes:?}");
    assert!(u128::from(downtimes[0] + downtimes[1]) <= begin.elapsed().as_millis(), "{downtimes:?}");
    assert_eq!(place.open_ends(), (0, 0));
    commands.filled.assert_sound(&commands.host.registry.host()).await;
}
