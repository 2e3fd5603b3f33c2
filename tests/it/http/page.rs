//! The overview for people.

use chrono::TimeDelta;
use regsweep::config;
use regsweep::http::{RunEntry, StatusStore};
use regsweep::metrics::Metrics;
use regsweep::report::{CollectionOutcome, CollectionReport, CompletedDeletions, PlanDocument, RunReport};
use serde_json::Value;

use super::harness::{self, HOSTILE, busy, get, healthy, json, metrics, now, start, status_store};

#[tokio::test]
async fn page_escapes_texts_of_hostile_registries() {
    let config = harness::config("plan");
    let status_store = status_store(&config);
    status_store.reload_failed(HOSTILE, now());
    let page = get(&start(status_store, metrics(&config)).await).await.text().await.unwrap();
    assert!(!page.to_lowercase().contains("<script"), "{page}");
    assert!(!page.contains("\"onload="), "{page}");
    let escaped = "&lt;/li&gt;&lt;script&gt;alert('x')&lt;/script&gt;&quot;onload=&quot;&amp;amp;";
    // The dangling tag, the failed repository, the failed run, the failed collection, the configuration; and again in the
    // alerts, the problems of the last run and the last collection.
    assert_eq!(page.matches(escaped).count(), 7, "{page}");
}

#[tokio::test]
async fn page_shows_the_main_facts() {
    let page = get(&busy().await).await.text().await.unwrap();
    let expected = [
        "registry edge &amp; co could not be reached",
        "pr-921",
        "rule pull-requests no longer keeps pr-921",
        "limits.max_percent allows 75 %",
        "9.00 GiB wait for the next collection",
        "<dt>Reclaimable</dt><dd>9.00 GiB</dd>",
        "<dt>Deleted, no garbage collection</dt><dd>5.00 GiB</dd>",
        "5.00 GiB deleted, but no garbage collection",
        "in 21h",
        "another run was running",
        "href=\"/api/v1/plan?registry=main\"",
        "56 more",
    ];
    for text in expected {
        assert!(page.contains(text), "{text} is not on the page:\n{page}");
    }
}

#[tokio::test]
async fn page_shows_no_pending_collection_without_gc() {
    let (url, status_store) = healthy().await;
    let mut config = harness::config("enforce");
    let gc = config.registries[0].gc.take();
    status_store.configured(&config, now());
    status_store.uncollected("main", 1 << 30);
    let page = get(&url).await.text().await.unwrap();
    assert!(page.contains("1.00 GiB deleted, but no garbage collection"), "{page}");
    assert!(!page.contains("wait for the next collection"), "{page}");
    // Each reload updates it.
    config.registries[0].gc = gc;
    status_store.configured(&config, now());
    let page = get(&url).await.text().await.unwrap();
    assert!(page.contains("1.00 GiB wait for the next collection"), "{page}");
    assert!(!page.contains("deleted, but no garbage collection"), "{page}");
}

#[tokio::test]
async fn plan_shows_what_was_deleted() {
    let (url, status_store) = healthy().await;
    let plan = harness::plan_of(&harness::config("enforce"), "main", 20);
    let mut document = PlanDocument::of(&plan);
    status_store.planned(document.clone());
    let page = get(&url).await.text().await.unwrap();
    assert!(page.contains("Plan of the next run") && !page.contains(">deleted<"), "{page}");
    let status = json(&format!("{url}/api/v1/status")).await["registries"][0]["plan"].clone();
    assert_eq!((&status["totals"]["delete"], &status["expired"]["manifests"]), (&6.into(), &6.into()));
    // Four of six are gone.
    document.applied = true;
    document.mark(&CompletedDeletions::of(&harness::report(&harness::config("enforce"), 4, 0)));
    status_store.planned(document);
    let page = get(&url).await.text().await.unwrap();
    assert!(page.contains("Plan of the last run"), "{page}");
    assert_eq!((page.matches(">deleted<").count(), page.matches(">kept<").count()), (4, 2), "{page}");
    let layer = 31_457_280;
    let status = json(&format!("{url}/api/v1/status")).await["registries"][0]["plan"].clone();
    assert_eq!(status["totals"]["delete"], 6);
    assert_eq!(status["expired"], serde_json::json!({ "manifests": 2, "bytes": 2 * (layer + 1000) }));
    assert_eq!(status["held_back"], serde_json::json!({ "manifests": 0, "bytes": 0 }));
    let plan = json(&format!("{url}/api/v1/plan")).await[0].clone();
    assert_eq!(plan["applied"], true);
    let manifests = plan["repositories"][0]["manifests"].as_array().unwrap().iter();
    let gone: Vec<&Value> =
        manifests.filter(|one| one["verdict"] == "delete").map(|one| &one["gone"]).collect();
    assert_eq!(gone, [true, true, true, true, false, false]);
}

#[tokio::test]
async fn page_begins_with_alerts_that_link_to_their_registry() {
    let (url, status_store) = healthy().await;
    let page = get(&url).await.text().await.unwrap();
    assert!(!page.contains("Needs attention"), "{page}");
    let page = get(&busy().await).await.text().await.unwrap();
    let (head, rest) = page.split_once("<dl class=\"sums\">").unwrap();
    let expected = [
        "registry edge &amp; co could not be reached",
        "<a href=\"#registry-1\">main</a>: the last run, ",
        ">partial</span> team/app: 66 of its 80 tagged manifests would be deleted",
        " and more</li>",
        "<a href=\"#registry-2\">edge &amp; co</a>: the last run, ",
        ">failed</span> GET http://edge.example.com:5000/v2/: connection refused",
        "<a href=\"#registry-2\">edge &amp; co</a>: the last collection, ",
        ">failed</span> no such container",
    ];
    for text in expected {
        assert!(head.contains(text), "{text} is not at the top:\n{head}");
    }
    assert!(rest.contains("<section id=\"registry-1\">") && rest.contains("<section id=\"registry-2\">"));
    // A skipped collection ends the alert only if it would have been possible.
    for mended in [
        |status_store: &StatusStore| status_store.collection_below_minimum("main"),
        |status_store: &StatusStore| {
            status_store.collected("main", harness::collected(CollectionOutcome::Success, 0, None));
        },
    ] {
        status_store
            .collected("main", harness::collected(CollectionOutcome::Failed, 0, Some("exit code 3".into())));
        status_store.collected("main", CollectionReport::skipped(now(), "the grace is not over".into()));
        let page = get(&url).await.text().await.unwrap();
        assert!(page.contains("Needs attention") && page.matches("exit code 3").count() == 2, "{page}");
        mended(&status_store);
        assert!(!get(&url).await.text().await.unwrap().contains("Needs attention"));
    }
    // A successful run ends the alert.
    status_store.run_ended(RunEntry::failed("main", "it broke", now(), std::time::Duration::ZERO));
    assert!(get(&url).await.text().await.unwrap().contains("Needs attention"));
    let plan = harness::plan_of(&harness::config("enforce"), "main", 20);
    let report = RunReport { failures: Vec::new(), ..RunReport::of_plan(&plan) };
    status_store.run_ended(RunEntry::of(&report, now(), std::time::Duration::ZERO));
    let page = get(&url).await.text().await.unwrap();
    assert!(!page.contains("Needs attention"), "{page}");
}

#[tokio::test]
async fn plans_of_many_registries_are_folded() {
    for (registries, folded) in [(3, 0), (20, 20)] {
        let mut config = harness::config("enforce");
        for number in 2..registries {
            let mut one = config.registries[1].clone();
            one.name = format!("r{number}");
            one.url = format!("https://r{number}.example.com/").parse().unwrap();
            config.registries.push(one);
        }
        let status_store = StatusStore::default();
        status_store.configured(&config, now());
        status_store.heartbeat(now());
        for registry in &config.registries {
            status_store.planned(PlanDocument::of(&harness::plan_of(&config, &registry.name, 20)));
        }
        let page = get(&start(status_store, Metrics::new("", "").unwrap()).await).await.text().await.unwrap();
        assert_eq!(page.matches("<details class=\"plan\"><summary><h3>").count(), folded, "{registries}");
        assert_eq!(page.matches("Plan of the next run").count(), registries, "{registries}");
        assert_eq!(page.matches("<tr><td data-label=\"Repository\"").count(), 6 * registries);
    }
}

#[tokio::test]
async fn page_shows_the_next_collection() {
    let (url, status_store) = healthy().await;
    let shown = async || {
        let page = get(&url).await.text().await.unwrap();
        let (_, rest) = page.split_once("<dt>Next collection</dt><dd>").unwrap();
        regex::Regex::new("<[^>]*>")
            .unwrap()
            .replace_all(rest.split_once("</dd>").unwrap().0, "")
            .into_owned()
    };
    assert_eq!(shown().await, "after the next run that deletes something");
    status_store.next_collection("main", Some(now() + TimeDelta::hours(4)));
    assert_eq!(shown().await, "in 4h at the earliest, if there is something to collect");
    let status = json(&format!("{url}/api/v1/status")).await["registries"][0].clone();
    assert_eq!(status["next_collection"], "2026-06-17T16:00:00Z");
    let mut config = harness::config("enforce");
    let weekly = config::parse(
        "schedule: '0 3 * * SUN'\nregistries: [{ name: a, url: 'https://a' }]\n\
         policies: [{ name: p, repositories: '.*', untagged: { newer_than: 7d } }]",
        "f",
        &|_| None,
    );
    let weekly = weekly.unwrap().registries[0].schedule.clone().unwrap();
    config.registries[0].gc.as_mut().unwrap().schedule = config::GcSchedule::Cron(weekly);
    status_store.configured(&config, now());
    assert_eq!(shown().await, "in 4h");
    status_store.next_collection("main", None);
    assert_eq!(shown().await, "not scheduled");
    config.mode = regsweep::policy::Mode::Plan;
    status_store.configured(&config, now());
    assert_eq!(shown().await, "none in mode plan");
    config.registries[0].gc = None;
    status_store.configured(&config, now());
    assert_eq!(shown().await, "no garbage collection (no gc in the configuration)");
}

#[tokio::test]
async fn plan_of_many_rows_is_cut() {
    let config = harness::config("enforce");
    let status_store = StatusStore::default();
    status_store.configured(&config, now());
    status_store.planned(PlanDocument::of(&harness::plan_of(&config, "main", 514)));
    let page = get(&start(status_store, metrics(&config)).await).await.text().await.unwrap();
    assert_eq!(page.matches("<tr><td data-label=\"Repository\"").count(), 100);
    assert!(page.contains("400 rows are not shown"), "{page}");
}
