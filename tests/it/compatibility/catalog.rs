//! Which repositories there are: pages, catalogs that break off, and registries that do not tell.
//!
//! A catalog that could not be read to its end is no catalog, and there is no run.

use regsweep::report::Outcome;

use crate::compatibility::case::{
    Case, EVERY, assert_swept, assert_untouched, fill, filled, html, image, no_run, refusal, tags, yaml,
};
use crate::support::fake_registry::{Auth, Canned, FakeRegistry, Links, Personality};

const NAMES: [&str; 5] = ["a", "b/c", "b/d", "e", "f"];

#[tokio::test]
async fn all_pages_are_read_whatever_their_size_and_links() {
    for personality in EVERY {
        for links in [Links::Relative, Links::Absolute] {
            for most in [2, 5, 100] {
                let options = FakeRegistry::options(personality).links(links.clone()).max_entries(most);
                let fake = options.prefix("/some/where").start();
                fill(&fake, &NAMES);
                let report = Case::of(&fake).run().await.unwrap();
                let row = format!("{personality:?} {links:?} {most}");
                assert_eq!(report.outcome(), Outcome::Success, "{row}: {report:?}");
                for name in NAMES {
                    assert_swept(&fake, name, &row);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_page_size_that_is_refused_is_tried_smaller() {
    let fake = FakeRegistry::options(Personality::V2_8).max_entries(100).start();
    fill(&fake, &["app"]);
    Case::of(&fake).scan_and_plan().await.unwrap();
    let asked: Vec<(String, u16)> = fake
        .requests()
        .into_iter()
        .filter(|one| one.path.contains("_catalog") && !one.path.ends_with("n=-1"))
        .map(|one| (one.path, one.status))
        .collect();
    assert_eq!(asked, [("/v2/_catalog?n=1000".to_owned(), 400), ("/v2/_catalog?n=100".to_owned(), 200)]);
}

#[tokio::test]
async fn a_next_page_on_another_host_is_not_asked_for() {
    let elsewhere = filled(Personality::V3_1, &["elsewhere"]);
    let foreign = elsewhere.url().replace("127.0.0.1", "localhost");
    for personality in EVERY {
        let options = FakeRegistry::options(personality).links(Links::To(foreign.clone())).max_entries(2);
        let fake = options.auth(Auth::basic("ann", "secret")).start();
        fill(&fake, &NAMES);
        let auth = "auth: { basic: { username: ann, password: { env: SECRET } } }";
        let (kind, message) = no_run(Case::with(&fake, auth).run().await);
        assert_eq!(kind, "invalid", "{personality:?}: {message}");
        assert!(message.contains("another host") && message.contains("localhost"), "{message}");
        assert_eq!(fake.mutating_requests(), [], "{personality:?}");
        assert_eq!(elsewhere.requests(), [], "{personality:?}: nobody went there");
    }
}

/// Distribution 3 closes the connection where 2.8 ends its list early: a page that fills on a
/// repository whose parent is one too.
const UNLUCKY: [&str; 4] = ["1z", "a/1x", "a", "a/b"];

#[tokio::test]
async fn a_connection_that_closes_is_no_end_of_the_catalog() {
    for personality in [Personality::V3_0, Personality::V3_1] {
        let fake = FakeRegistry::options(personality).max_entries(2).start();
        fill(&fake, &UNLUCKY);
        let (kind, message) = no_run(Case::of(&fake).run().await);
        assert_eq!(kind, "interrupted", "{personality:?}: {message}");
        for name in UNLUCKY {
            assert_untouched(&fake, name, "nothing is deleted when not all could be seen");
        }
    }
}

#[tokio::test]
async fn a_later_page_that_cannot_be_read_is_no_end_either() {
    for (expected, answer) in [
        ("interrupted", Canned::dropped()),
        ("interrupted", Canned::status(200).body(r#"{"repositories":["e","f"]}"#).cut_after(9)),
        ("invalid", Canned::status(200).body(r#"{"repositories":["e""#)),
        ("invalid", html(200)),
        ("server", html(502)),
    ] {
        let fake = FakeRegistry::options(Personality::V3_1).max_entries(2).start();
        fill(&fake, &NAMES);
        fake.on(move |request| (request.query("last") == Some("b/c")).then(|| answer.clone()));
        let (kind, message) = no_run(Case::of(&fake).run().await);
        assert_eq!(kind, expected, "{message}");
        assert_eq!(fake.mutating_requests(), [], "{expected}: {message}");
    }
}

#[tokio::test]
async fn a_full_page_without_a_link_is_not_believed_to_be_the_last() {
    let fake = FakeRegistry::options(Personality::V2_8).max_entries(100).start();
    let fillers: Vec<String> = (0..99).map(|number| format!("idle/{number:02}")).collect();
    for filler in &fillers {
        fake.push(filler, "old", &image("filler", 1));
    }
    fill(&fake, &["z", "z/1x", "z/b"]);
    let report = Case::of(&fake).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_swept(&fake, "z/1x", "it ends the first page, which has no link");
    assert_swept(&fake, "z/b", "it is on the second page, which was asked for all the same");
    assert_untouched(&fake, "z", "no page shows it, so nobody knows it");
    assert_eq!(tags(&fake, "idle/00"), ["old"]);
}

#[tokio::test]
async fn pages_that_run_in_a_circle_are_an_error() {
    let fake = filled(Personality::V3_1, &["app"]);
    fake.after(|request, reply| {
        if request.is("GET", "/v2/_catalog") && request.query("n") != Some("-1") {
            reply.set_header("link", "</v2/_catalog?n=1000>; rel=\"next\"");
        }
    });
    let (kind, message) = no_run(Case::of(&fake).run().await);
    assert_eq!(kind, "invalid");
    assert!(message.contains("circle"), "{message}");
    assert_untouched(&fake, "app", "nothing is deleted");
}

#[tokio::test]
async fn a_registry_that_hides_its_catalog_needs_names_in_the_configuration() {
    for answer in [
        Canned::status(401),
        refusal(401, "UNAUTHORIZED"),
        refusal(403, "DENIED"),
        html(404),
        refusal(404, "NOT_FOUND"),
        refusal(405, "UNSUPPORTED"),
    ] {
        let status = answer.status;
        let fake = filled(Personality::V3_1, &["app", "other"]);
        fake.on(move |request| request.path.ends_with("/_catalog").then(|| answer.clone()));
        let (kind, message) = no_run(Case::of(&fake).run().await);
        assert_eq!(kind, "no_catalog", "{status}: {message}");
        assert!(message.contains("list `repositories`"), "{status}: {message}");
        assert_eq!(fake.mutating_requests(), [], "{status}");

        let report = Case::with(&fake, "repositories: [app]").run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{status}: {report:?}");
        assert_swept(&fake, "app", "it was named");
        assert_untouched(&fake, "other", "nobody named it");
    }
}

#[tokio::test]
async fn named_repositories_are_looked_at_without_listing_the_catalog() {
    for personality in EVERY {
        let fake = filled(personality, &["app", "other"]);
        Case::with(&fake, "repositories: [app]").run().await.unwrap();
        let requests = fake.requests();
        let asked = requests.iter().filter(|one| one.path.contains("_catalog"));
        // That one tells what the server can do.
        assert!(
            asked.map(|one| one.path.as_str()).all(|path| path == "/v2/_catalog?n=-1"),
            "{personality:?}"
        );
        assert!(!requests.iter().any(|one| one.path.contains("/other/")), "{personality:?}");
        assert_swept(&fake, "app", "it was named");
    }
}

#[tokio::test]
async fn a_repository_that_was_named_and_does_not_exist_is_no_failure() {
    for personality in EVERY {
        let fake = filled(personality, &["app"]);
        let case = Case::with(&fake, "repositories: [app, no/body]");
        let report = case.run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_swept(&fake, "app", "it exists");
    }
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_one_clear_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (kind, message) = no_run(Case::written(&yaml(&url, "", "")).run().await);
    assert_eq!(kind, "connect", "{message}");
    assert!(
        message.contains("Connection refused") && message.contains("is the registry running"),
        "{message}"
    );
}

#[tokio::test]
async fn what_is_no_registry_gets_no_deletion() {
    for (answer, expected) in
        [(html(404), "not_found"), (html(500), "server"), (Canned::dropped(), "interrupted")]
    {
        let fake = filled(Personality::V2_8, &["app"]);
        fake.on(move |request| request.is("GET", "/v2/").then(|| answer.clone()));
        assert_eq!(no_run(Case::of(&fake).run().await).0, expected);
        assert!(fake.requests().iter().all(|one| one.path == "/v2/"), "{expected}: nothing else is asked");
    }
}
