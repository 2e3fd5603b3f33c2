//! The web server as scrapers, probes, scanners and people meet it.

mod asked;
mod guarded;
mod harness;
mod past;
mod slow;

use std::io::Write as _;
use std::process::{Command, Stdio};

use chrono::TimeDelta;
use regsweep::config;
use regsweep::http::{RunEntry, StatusStore};
use regsweep::metrics::Metrics;
use regsweep::report::{CollectionOutcome, CollectionReport, CompletedDeletions, PlanDocument, RunReport};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use harness::{HOSTILE, metrics, now, start, status_store};

/// Every metric of the design with its labels.
const METRICS: [(&str, &[&str]); 41] = [
    ("build_info", &["revision", "version"]),
    ("config_last_reload_successful", &[]),
    ("config_last_reload_success_timestamp_seconds", &[]),
    ("unknown_registries", &[]),
    ("registry_up", &["registry"]),
    ("registry_stopped", &["registry"]),
    ("repositories", &["registry"]),
    ("tags", &["registry"]),
    ("manifests", &["registry"]),
    ("referenced_bytes", &["registry"]),
    ("expired_manifests", &["registry"]),
    ("expired_bytes", &["registry"]),
    ("held_back_manifests", &["registry"]),
    ("held_back_bytes", &["registry"]),
    ("runs_total", &["outcome", "registry"]),
    ("run_duration_seconds_sum", &["registry"]),
    ("run_duration_seconds_bucket", &["registry", "le"]),
    ("last_run_timestamp_seconds", &["registry"]),
    ("last_success_timestamp_seconds", &["registry"]),
    ("next_run_timestamp_seconds", &["registry"]),
    ("run_started_timestamp_seconds", &["registry"]),
    ("run_timeout_seconds", &["registry"]),
    ("last_run_outcome", &["outcome", "registry"]),
    ("last_run_refusals", &["limit", "registry"]),
    ("deleted_manifests_total", &["policy", "registry"]),
    ("deleted_tags_total", &["policy", "registry"]),
    ("repository_failures_total", &["kind", "registry"]),
    ("limit_refusals_total", &["limit", "registry"]),
    ("gc_runs_total", &["outcome", "registry"]),
    ("gc_duration_seconds_bucket", &["registry", "le"]),
    ("gc_downtime_seconds_bucket", &["registry", "le"]),
    ("gc_last_success_timestamp_seconds", &["registry"]),
    ("gc_last_run_successful", &["registry"]),
    ("gc_next_timestamp_seconds", &["registry"]),
    ("reclaimed_bytes_total", &["registry"]),
    ("reclaimed_blobs_total", &["registry"]),
    ("reclaimable_bytes", &["registry"]),
    ("deleted_uncollected_bytes", &["registry"]),
    ("registry_requests_total", &["code", "method", "registry"]),
    ("registry_request_duration_seconds_bucket", &["method", "registry", "le"]),
    ("registry_retries_total", &["registry"]),
];

async fn busy() -> String {
    let config = harness::config("enforce");
    start(status_store(&config), metrics(&config)).await
}

/// A service that has nothing to complain about, and its status_store.
async fn healthy() -> (String, StatusStore) {
    let status_store = StatusStore::default();
    status_store.configured(&harness::config("enforce"), now());
    status_store.heartbeat(now());
    (start(status_store.clone(), Metrics::new("0.1.0", "").unwrap()).await, status_store)
}

async fn get(url: &str) -> Response {
    reqwest::get(url).await.unwrap()
}

async fn json(url: &str) -> Value {
    get(url).await.json().await.unwrap()
}

/// What stands in the way of readiness: the words, and the registries.
async fn causes(url: &str) -> Vec<(String, Value)> {
    let response = get(&format!("{url}/readyz")).await;
    let status = response.status();
    let document: Value = response.json().await.unwrap();
    let causes = document["causes"].as_array().unwrap();
    assert_eq!(document["ready"], causes.is_empty());
    assert_eq!(
        status,
        if causes.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE },
        "{document}"
    );
    causes
        .iter()
        .map(|cause| (cause["cause"].as_str().unwrap().to_owned(), cause["registry"].clone()))
        .collect()
}

#[tokio::test]
async fn promtool_has_nothing_to_complain_about() {
    let response = get(&format!("{}/metrics", busy().await)).await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    let text = response.text().await.unwrap();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (Debian: prometheus) is installed");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[tokio::test]
async fn every_metric_is_there_with_its_labels() {
    let text = get(&format!("{}/metrics", busy().await)).await.text().await.unwrap();
    for (name, labels) in METRICS {
        let name = format!("regsweep_{name}");
        let line = text.lines().find(|line| line.split(['{', ' ']).next() == Some(&name));
        let line = line.unwrap_or_else(|| panic!("no {name}"));
        let inside = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let found: Vec<&str> = inside.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
        assert_eq!(found, labels, "{line}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family =
            name.strip_suffix("_count").map_or_else(|| name.to_owned(), |name| format!("{name}_sum"));
        let bucket = family.replace("_sum", "_bucket");
        let known =
            |(own, _): &(&str, _)| [family.as_str(), &bucket].contains(&format!("regsweep_{own}").as_str());
        assert!(name.starts_with("process_") || METRICS.iter().any(known), "{name} is not in the design");
    }
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    let documented = include_str!("../../docs/metrics.md");
    for (name, _) in METRICS {
        let name = name.trim_end_matches("_sum").trim_end_matches("_bucket");
        assert!(documented.contains(&format!("| `{name}` |")), "docs/metrics.md does not know {name}");
    }
}

#[tokio::test]
async fn the_history_begins_with_what_began_last() {
    let (url, status_store) = healthy().await;
    // A long run ends after another that began later.
    for minutes in [5, 2, 9] {
        let at = now() - TimeDelta::minutes(minutes);
        status_store.run_ended(RunEntry::failed("main", "", at, std::time::Duration::from_secs(1)));
    }
    let history = json(&format!("{url}/api/v1/history")).await;
    let began: Vec<_> = history["history"].as_array().unwrap().iter().map(|one| one["at"].as_str()).collect();
    let expected = ["2026-06-17T11:58:00Z", "2026-06-17T11:55:00Z", "2026-06-17T11:51:00Z"];
    assert_eq!(began, expected.map(Some));
}

#[tokio::test]
async fn the_probe_of_life_follows_the_heartbeat() {
    let (url, status_store) = healthy().await;
    let health = async || {
        let response = get(&format!("{url}/healthz")).await;
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(health().await, (200, "ok\n".to_owned()));
    status_store.heartbeat(now() - TimeDelta::seconds(60));
    assert_eq!(health().await.0, 200);
    status_store.heartbeat(now() - TimeDelta::seconds(150));
    assert_eq!(health().await, (503, "the loop has not answered for 2min\n".to_owned()));
    let url = start(StatusStore::default(), Metrics::new("", "").unwrap()).await;
    let response = get(&format!("{url}/healthz")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.text().await.unwrap(), "the loop has not begun\n");
}

#[tokio::test]
async fn readiness_names_each_cause() {
    let (url, status_store) = healthy().await;
    assert_eq!(causes(&url).await, []);
    status_store.up("main", false);
    assert_eq!(causes(&url).await, [("unreachable".to_owned(), "main".into())]);
    status_store.up("main", true);
    status_store.stopped("main", Some("the Docker Engine is not reachable"));
    assert_eq!(causes(&url).await, [("stopped".to_owned(), "main".into())]);
    let document = json(&format!("{url}/readyz")).await;
    let text = document["causes"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("main was stopped") && text.ends_with("the Docker Engine is not reachable"),
        "{text}"
    );
    status_store.stopped("main", None);
    status_store.next_run("main", Some(now() - TimeDelta::minutes(5)));
    assert_eq!(causes(&url).await, []);
    status_store.next_run("main", Some(now() - TimeDelta::minutes(6)));
    status_store.up("edge & co", false);
    let both = [("overdue".to_owned(), "main".into()), ("unreachable".to_owned(), "edge & co".into())];
    assert_eq!(causes(&url).await, both);
    status_store.run_started("main", now() - TimeDelta::minutes(6));
    assert_eq!(causes(&url).await, both[1..], "a run that is under way is not overdue");
}

#[tokio::test]
async fn nothing_is_ready_before_there_is_a_configuration() {
    let status_store = StatusStore::default();
    let url = start(status_store.clone(), Metrics::new("", "").unwrap()).await;
    assert_eq!(causes(&url).await, [("not_configured".to_owned(), Value::Null)]);
    status_store.reload_failed("no such file", now());
    let document = json(&format!("{url}/readyz")).await;
    assert_eq!(document["causes"][0]["text"], "no configuration is in force: no such file");
    assert_eq!(document["configuration"]["last_reload_ok"], false);
    status_store.configured(&harness::config("plan"), now());
    assert_eq!(causes(&url).await, []);
    status_store.reload_failed("line 3", now());
    assert_eq!(causes(&url).await, [], "the configuration before it stays in force");
    assert_eq!(json(&format!("{url}/readyz")).await["configuration"]["error"]["text"], "line 3");
}

#[tokio::test]
async fn the_page_shows_what_hostile_registries_say_as_text() {
    let config = harness::config("plan");
    let status_store = status_store(&config);
    status_store.reload_failed(HOSTILE, now());
    let page = get(&start(status_store, metrics(&config)).await).await.text().await.unwrap();
    assert!(!page.to_lowercase().contains("<script"), "{page}");
    assert!(!page.contains("\"onload="), "{page}");
    let escaped = "&lt;/li&gt;&lt;script&gt;alert('x')&lt;/script&gt;&quot;onload=&quot;&amp;amp;";
    // The ghost tag, the failed repository, the failed run, the failed collection, the configuration; and once more at
    // the top of the page what went wrong in the last runs and collections.
    assert_eq!(page.matches(escaped).count(), 7, "{page}");
}

#[tokio::test]
async fn the_page_says_what_matters() {
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
async fn without_gc_nothing_is_said_to_wait_for_a_collection() {
    let (url, status_store) = healthy().await;
    let mut config = harness::config("enforce");
    let gc = config.registries[0].gc.take();
    status_store.configured(&config, now());
    status_store.uncollected("main", 1 << 30);
    let page = get(&url).await.text().await.unwrap();
    assert!(page.contains("1.00 GiB deleted, but no garbage collection"), "{page}");
    assert!(!page.contains("wait for the next collection"), "{page}");
    // It is known anew at each reload.
    config.registries[0].gc = gc;
    status_store.configured(&config, now());
    let page = get(&url).await.text().await.unwrap();
    assert!(page.contains("1.00 GiB wait for the next collection"), "{page}");
    assert!(!page.contains("deleted, but no garbage collection"), "{page}");
}

#[tokio::test]
async fn a_plan_that_was_carried_out_says_what_is_gone() {
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
async fn the_page_begins_with_what_is_wrong_and_leads_there() {
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
    // A collection that could not begin mends nothing; one that could have been made does.
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
    // A run that succeeds ends it.
    status_store.run_ended(RunEntry::failed("main", "it broke", now(), std::time::Duration::ZERO));
    assert!(get(&url).await.text().await.unwrap().contains("Needs attention"));
    let plan = harness::plan_of(&harness::config("enforce"), "main", 20);
    let report = RunReport { failures: Vec::new(), ..RunReport::of_plan(&plan) };
    status_store.run_ended(RunEntry::of(&report, now(), std::time::Duration::ZERO));
    let page = get(&url).await.text().await.unwrap();
    assert!(!page.contains("Needs attention"), "{page}");
}

#[tokio::test]
async fn the_plans_of_many_registries_are_folded() {
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
async fn the_page_tells_when_the_next_collection_comes() {
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
async fn a_long_plan_is_cut_and_says_so() {
    let config = harness::config("enforce");
    let status_store = StatusStore::default();
    status_store.configured(&config, now());
    status_store.planned(PlanDocument::of(&harness::plan_of(&config, "main", 514)));
    let page = get(&start(status_store, metrics(&config)).await).await.text().await.unwrap();
    assert_eq!(page.matches("<tr><td data-label=\"Repository\"").count(), 100);
    assert!(page.contains("400 rows are not shown"), "{page}");
}

#[tokio::test]
async fn programs_get_the_same() {
    let url = busy().await;
    let status = json(&format!("{url}/api/v1/status")).await;
    assert_eq!(status["version"], 1);
    assert_eq!(status["configuration"]["mode"], "enforce");
    let main = &status["registries"][0];
    assert_eq!(main["url"], "https://registry.example.com/");
    assert_eq!(main["last_run"]["outcome"], "partial");
    assert_eq!(main["next_run"], "2026-06-18T09:00:00Z");
    assert_eq!(main["last_collection"]["downtime_seconds"], 41.5);
    assert_eq!(main["plan"]["totals"]["delete"], 66);
    let kept = ["collects", "reclaimable_bytes", "deleted_uncollected_bytes"];
    let numbers = |registry: &Value| Value::from(kept.map(|key| registry[key].clone()).to_vec());
    assert_eq!(numbers(main), serde_json::json!([true, 9_663_676_416_u64, 0]));
    assert_eq!(numbers(&status["registries"][1]), serde_json::json!([false, 0, 5_368_709_120_u64]));
    let plans = json(&format!("{url}/api/v1/plan")).await;
    assert_eq!(plans.as_array().unwrap().len(), 1, "the other registry has no plan yet");
    assert_eq!(plans[0]["registry"], "main");
    assert_eq!(json(&format!("{url}/api/v1/plan?registry=edge+%26+co")).await, Value::Array(Vec::new()));
    let history = json(&format!("{url}/api/v1/history?registry=edge+%26+co")).await;
    let kinds: Vec<&Value> = history["history"].as_array().unwrap().iter().map(|one| &one["what"]).collect();
    assert_eq!(kinds, ["run", "collection"]);
    for path in ["plan", "history"] {
        assert_eq!(get(&format!("{url}/api/v1/{path}?registry=other")).await.status(), 404);
    }
}

#[test]
fn a_run_counts_only_its_own_deletions() {
    let report = harness::report(&harness::config("enforce"), 6, 0);
    let mut others = report.clone();
    others.deleted[0].already_gone = true;
    let count = |report| regsweep::http::RunEntry::of(report, now(), std::time::Duration::ZERO).deleted;
    assert_eq!((count(&report), count(&others)), (6, 5));
}

#[tokio::test]
async fn a_reload_keeps_what_is_known_of_registries_that_stay() {
    let (url, status_store) = healthy().await;
    status_store.up("main", true);
    let mut changed = harness::config("plan");
    changed.registries.remove(1);
    status_store.configured(&changed, now());
    let status = json(&format!("{url}/api/v1/status")).await;
    assert_eq!(status["registries"].as_array().unwrap().len(), 1);
    assert_eq!(status["registries"][0]["up"], true);
    changed.registries[0].url = "https://user:secret@registry.example.com/".parse().unwrap();
    status_store.configured(&changed, now());
    let status = json(&format!("{url}/api/v1/status")).await;
    assert!(!status.to_string().contains("secret"), "{status}");
}

#[tokio::test]
async fn the_server_leaves_when_it_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Metrics::new("", "").unwrap().into();
    let folder = tempfile::tempdir().unwrap();
    let state = regsweep::state::State::open(folder.path()).unwrap();
    let router = regsweep::http::router(
        StatusStore::default(),
        metrics,
        state,
        regsweep::http::Admin::new().0,
        std::sync::Arc::new(now),
    );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let limits = regsweep::http::ServerLimits::default();
    let server = tokio::spawn(regsweep::http::serve(listener, router, limits, async { drop(stopped.await) }));
    assert_eq!(get(&format!("http://{address}/healthz")).await.status(), 503);
    stop.send(()).unwrap();
    server.await.unwrap();
    assert!(reqwest::get(format!("http://{address}/healthz")).await.is_err());
}
