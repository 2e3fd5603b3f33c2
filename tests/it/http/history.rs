//! The runs of the state: the API and the page of one run.

use chrono::{DateTime, TimeDelta, Utc};
use regsweep::http::{HistoryEntry, RunEntry, StatusStore};
use regsweep::metrics::Metrics;
use regsweep::model::{Digest, Kind, RepositoryName, Tag};
use regsweep::report::{CollectionOutcome, Outcome};
use regsweep::state::{NewJournalEntry, State};
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use super::harness::{HOSTILE, collected, config, now, start_with};

fn at(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

fn new_entry(repository: &str, tag: &str) -> NewJournalEntry {
    NewJournalEntry {
        repository: RepositoryName::parse(repository).unwrap(),
        digest: Digest::of(tag.as_bytes()),
        tags: vec![Tag::parse(tag).unwrap()],
        tag_only: false,
        kind: Kind::Image,
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        body: b"{}".to_vec(),
        policy: "apps".into(),
        rules: vec!["pull-requests".into()],
        reasons: vec![format!("rule pull-requests no longer keeps {tag}")],
        bytes: 31_457_280,
        dependents: Vec::new(),
    }
}

/// Records a run with these deletions, and returns their numbers.
fn ran(state: &State, registry: &str, minutes: i64, gone: &[NewJournalEntry]) -> Vec<i64> {
    let run = state.begin_run(registry, at(minutes)).unwrap();
    let note = |one| {
        let entry = state.record_intent(run, registry, one, at(minutes - 1)).unwrap();
        state.record_deleted(entry).unwrap();
        entry
    };
    let entries = gone.iter().map(note).collect();
    state.finish_run(run, at(minutes - 2), Outcome::Success, None).unwrap();
    entries
}

/// A server, its state and its status.
async fn server() -> (String, State, StatusStore) {
    let status_store = StatusStore::default();
    status_store.configured(&config("enforce"), now());
    let (url, state) = start_with(status_store.clone(), Metrics::new("0.1.0", "").unwrap()).await;
    (url, state, status_store)
}

async fn get(url: &str, parameters: &[(&str, &str)]) -> Response {
    let mut url = Url::parse(url).unwrap();
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    reqwest::get(url).await.unwrap()
}

async fn page(url: &str, run: &str) -> String {
    let response = get(&format!("{url}/runs/{run}"), &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    response.text().await.unwrap()
}

#[tokio::test]
async fn runs_are_filtered_as_on_the_command_line() {
    let (url, state, status_store) = server().await;
    ran(&state, "main", 300, &[new_entry("team/app", "pr-1"), new_entry("team/web", "pr-2")]);
    ran(&state, "edge & co", 200, &[new_entry("team/app", "pr-3")]);
    ran(&state, "main", 100, &[]);
    let check = async |parameters: &[(&str, &str)], expected: &[(i64, usize)]| {
        let response = get(&format!("{url}/api/v1/runs"), parameters).await;
        assert_eq!(response.status(), StatusCode::OK, "{parameters:?}");
        let document: Value = response.json().await.unwrap();
        assert_eq!(document["version"], 1);
        let runs = document["runs"].as_array().unwrap();
        let found: Vec<(i64, usize)> = runs
            .iter()
            .map(|run| (run["run"].as_i64().unwrap(), run["deletions"].as_array().unwrap().len()))
            .collect();
        assert_eq!(found, expected, "{parameters:?}");
    };
    check(&[], &[(3, 0), (2, 1), (1, 2)]).await;
    check(&[("run", "2")], &[(2, 1)]).await;
    check(&[("run", "7")], &[]).await;
    check(&[("registry", "main")], &[(3, 0), (1, 2)]).await;
    check(&[("registry", "edge & co")], &[(2, 1)]).await;
    check(&[("repository", "team/app")], &[(2, 1), (1, 1)]).await;
    check(&[("repository", "team")], &[]).await;
    check(&[("repository", "team/app"), ("repository", "team/web")], &[(2, 1), (1, 2)]).await;
    check(&[("since", "2026-06-17T08:00:00Z")], &[(3, 0), (2, 1)]).await;
    check(&[("since", "2026-06-17T10:00:00+02:00"), ("until", "2026-06-17T09:00:00Z")], &[(2, 1)]).await;
    check(&[("until", "2026-06-16")], &[]).await;
    // `until` includes the whole day.
    check(&[("since", "2026-06-17"), ("until", "2026-06-17")], &[(3, 0), (2, 1), (1, 2)]).await;
    check(&[("limit", "1")], &[(3, 0)]).await;
    check(&[("limit", "1000"), ("registry", "main"), ("repository", ".*")], &[(1, 2)]).await;
    // Days are those of the configured time zone, where the last run began after midnight.
    let mut elsewhere = config("enforce");
    elsewhere.timezone = chrono_tz::Tz::Pacific__Kiritimati;
    status_store.configured(&elsewhere, now());
    check(&[("since", "2026-06-18")], &[(3, 0)]).await;
    check(&[("until", "2026-06-17")], &[(2, 1), (1, 2)]).await;
    for _ in 0..20 {
        ran(&state, "main", 50, &[]);
    }
    let all: Value = get(&format!("{url}/api/v1/runs"), &[]).await.json().await.unwrap();
    assert_eq!(all["runs"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn invalid_parameters_are_refused_with_advice() {
    let (url, ..) = server().await;
    let moment = "write a day such as 2026-01-31, or a moment such as 2026-01-31T12:00:00Z";
    let check = async |query: &str, status: u16, expected: &str| {
        let response = reqwest::get(format!("{url}/api/v1/runs?{query}")).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{query}");
        assert_eq!(response.headers()["content-type"], "application/json");
        let document: Value = response.json().await.unwrap();
        let error = document["error"].as_str().unwrap();
        assert!(error.contains(expected), "{query}: {error}");
        if status == 400 {
            let name = query.split('=').next().unwrap();
            assert!(error.contains(&format!("`{name}")), "{query}: {error}");
        }
    };
    check("run=last", 400, "write the number of a run, such as 12").await;
    check("run=", 400, "write the number of a run, such as 12").await;
    check("run=99999999999999999999", 400, "write the number of a run").await;
    check("since=tomorrow", 400, moment).await;
    check("until=2026-02-30", 400, moment).await;
    check("since=2026-06-17T10:00:00+02:00", 400, "%2B").await;
    check("repository=(", 400, "write a regular expression for the whole name: ").await;
    for limit in ["0", "1001", "-1", "many", "4294967297", ""] {
        check(&format!("limit={limit}"), 400, "write a number from 1 to 1000").await;
    }
    check("registery=main", 400, "there are run, registry, repository, since, until and limit").await;
    check("run=1&run=2", 400, "give it once").await;
    check("registry=other", 404, "the configuration has no such registry").await;
    check("registry=", 404, "the configuration has no such registry").await;
}

#[tokio::test]
async fn run_page_shows_deletions_and_how_to_undo_them() {
    let (url, state, status_store) = server().await;
    let gone: Vec<NewJournalEntry> = (1..=3).map(|one| new_entry("team/app", &format!("pr-{one}"))).collect();
    let entries = ran(&state, "main", 3000, &gone[..2]);
    state.record_restored(entries[0], &gone[0].tags, at(2990)).unwrap();
    state.finish_collection("main", &collected(CollectionOutcome::Success, 2, None)).unwrap();
    let tag_only = NewJournalEntry { tag_only: true, ..new_entry("team/web", "nightly") };
    ran(&state, "main", 90, &[gone[2].clone(), tag_only]);
    let open = state.begin_run("main", at(5)).unwrap();
    state.record_intent(open, "main", &new_entry("team/app", "pr-4"), at(4)).unwrap();
    status_store.grace_ends("main", Some(now() + TimeDelta::hours(21)));

    let first = page(&url, "1").await;
    for text in [
        "<title>run 1 of main · regsweep</title>",
        "2026-06-15 10:00:00 UTC",
        "2min",
        ">restored<",
        ">collected<",
        "A garbage collection has run since",
        "regsweep undo 1<",
        "href=\"/api/v1/runs?run=1\"",
        "href=\"/\"",
        "rule pull-requests no longer keeps pr-2",
        "apps: pull-requests",
        "30.00 MiB",
        gone[1].digest.as_str(),
    ] {
        assert!(first.contains(text), "{text} is not on the page:\n{first}");
    }
    assert!(!first.contains("grace"), "nothing waits for a collection: {first}");
    let second = page(&url, "2").await;
    for text in [
        "deleted 1 manifest, removed 1 tag from kept manifests",
        ">deleted<",
        ">removed<",
        "regsweep undo 2<",
        "regsweep undo 2 team/app:pr-3<",
        "Stop the service first",
        "The grace period, before which no collection starts, ends in ",
        ">21h<",
    ] {
        assert!(second.contains(text), "{text} is not on the page:\n{second}");
    }
    let third = page(&url, "3").await;
    for text in ["interrupted or still running", ">unanswered<", "1 deletion is without an answer"] {
        assert!(third.contains(text), "{text} is not on the page:\n{third}");
    }
    let empty = state.begin_run("gone", at(3)).unwrap();
    state.finish_run(empty, at(2), Outcome::Failed, Some("connection refused")).unwrap();
    let fourth = page(&url, "4").await;
    assert!(
        fourth.contains("This run deleted nothing.") && fourth.contains("connection refused"),
        "{fourth}"
    );
    assert!(!fourth.contains("Undo"), "{fourth}");
    ran(&state, "gone", 1, &gone[..1]);
    let fifth = page(&url, "5").await;
    assert!(fifth.contains("The configuration no longer has this registry"), "{fifth}");
}

#[tokio::test]
async fn run_page_offers_no_second_undo() {
    let (url, state, _) = server().await;
    let gone = new_entry("team/app", "pr-1");
    let entries = ran(&state, "main", 10, std::slice::from_ref(&gone));
    assert!(page(&url, "1").await.contains("regsweep undo 1"));
    state.record_restored(entries[0], &gone.tags, at(1)).unwrap();
    assert!(!page(&url, "1").await.contains("regsweep undo"));
}

#[tokio::test]
async fn run_page_of_an_unknown_run_is_not_found() {
    let (url, ..) = server().await;
    for run in
        ["1", "-1", "last", "99999999999999999999", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "a%1Bb", "%FF"]
    {
        let response = get(&format!("{url}/runs/{run}"), &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{run}");
        assert!(
            response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'")
        );
        let page = response.text().await.unwrap();
        assert!(page.contains("There is no run") && page.contains("href=\"/\""), "{page}");
        assert!(!page.contains("<script") && !page.contains('\u{1b}'), "{page}");
    }
}

#[tokio::test]
async fn run_page_escapes_hostile_names() {
    let (url, state, _) = server().await;
    let unseen = "a\u{1b}[2Jb\u{202e}c";
    let gone = NewJournalEntry {
        policy: HOSTILE.into(),
        rules: vec![unseen.into()],
        reasons: vec![HOSTILE.into(), unseen.into()],
        ..new_entry("team/app", "pr-1")
    };
    ran(&state, HOSTILE, 10, &[gone]);
    let run = state.begin_run(unseen, at(5)).unwrap();
    state.finish_run(run, at(4), Outcome::Failed, Some(&format!("{HOSTILE} {unseen}"))).unwrap();
    let pages = [page(&url, "1").await, page(&url, "2").await];
    for page in &pages {
        assert!(!page.to_lowercase().contains("<script"), "{page}");
        assert!(!page.contains("\"onload="), "{page}");
        assert!(!page.contains(['\u{1b}', '\u{202e}']), "{page}");
        assert!(page.contains("a\\u{1b}[2Jb\\u{202e}c"), "{page}");
    }
    let escaped = "&lt;/li&gt;&lt;script&gt;alert('x')&lt;/script&gt;&quot;onload=&quot;&amp;amp;";
    // The title, the heading, the policy, the reason; the error.
    assert_eq!(pages.map(|page| page.matches(escaped).count()), [4, 1]);
    // JSON has the original text.
    let document: Value = get(&format!("{url}/api/v1/runs"), &[("run", "1")]).await.json().await.unwrap();
    assert_eq!(document["runs"][0]["deletions"][0]["reasons"][1], unseen);
}

#[tokio::test]
async fn run_page_of_many_deletions_is_cut() {
    let (url, state, _) = server().await;
    let gone: Vec<NewJournalEntry> =
        (0..501).map(|one| new_entry("team/app", &format!("pr-{one}"))).collect();
    ran(&state, "main", 10, &gone);
    let page = page(&url, "1").await;
    assert_eq!(page.matches("<tr><td data-label=\"Repository\"").count(), 500);
    assert!(page.contains("These are the first 500 of 501 deletions"), "{page}");
    assert!(page.contains("pr-499") && !page.contains("pr-500"));
    let whole: Value = get(&format!("{url}/api/v1/runs?run=1"), &[]).await.json().await.unwrap();
    assert_eq!(whole["runs"][0]["deletions"].as_array().unwrap().len(), 501);
}

#[tokio::test]
async fn overview_links_to_the_page_of_each_run() {
    let (url, _, status_store) = server().await;
    let run = RunEntry::failed("main", "", at(5), std::time::Duration::from_secs(1));
    status_store.add_entry(HistoryEntry::Run(RunEntry { id: Some(12), ..run }));
    status_store.add_entry(HistoryEntry::Run(RunEntry::skipped("main", at(4))));
    status_store.uncollected("main", 1 << 30);
    status_store.grace_ends("main", Some(now() + TimeDelta::hours(21)));
    let page = get(&url, &[]).await.text().await.unwrap();
    assert!(page.contains("<a href=\"/runs/12\">run 12</a>"), "{page}");
    assert_eq!(page.matches("href=\"/runs/").count(), 1, "a run that was skipped has no number: {page}");
    assert!(page.contains("href=\"/api/v1/runs\""), "{page}");
    let waits =
        "wait for the next collection; the grace period ends in <time datetime=\"2026-06-18T09:00:00Z\"";
    assert!(page.contains(waits), "{page}");
}
