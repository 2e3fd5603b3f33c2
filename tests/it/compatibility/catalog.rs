//! The catalog: pages, catalogs that break off, and catalogs without access.
//!
//! A catalog that is incomplete is an error, and there is no run.

use regsweep::report::Outcome;

use crate::compatibility::harness::{
    Case, EVERY, assert_expired_deleted, assert_untouched, fill, filled, html, image, no_run, refusal, tags,
    yaml,
};
use crate::support::fake_registry::{Auth, Canned, FakeRegistry, Links, Personality};

const NAMES: [&str; 5] = ["a", "b/c", "b/d", "e", "f"];

#[tokio::test]
async fn catalog_pages_of_any_size_and_link_are_read() {
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
                    assert_expired_deleted(&fake, name, &row);
                }
            }
        }
    }
}

#[tokio::test]
async fn catalog_page_size_is_reduced_after_a_refusal() {
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
async fn catalog_page_on_another_host_is_not_requested() {
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
        assert_eq!(elsewhere.requests(), [], "{personality:?}: there was no request");
    }
}

/// With these names distribution 3 closes the connection where 2.8 ends its list early: at a page that ends with a
/// repository whose parent is a repository, too.
const NESTED: [&str; 4] = ["1z", "a/1x", "a", "a/b"];

#[tokio::test]
async fn catalog_that_breaks_off_is_an_error() {
    for personality in [Personality::V3_0, Personality::V3_1] {
        let fake = FakeRegistry::options(personality).max_entries(2).start();
        fill(&fake, &NESTED);
        let (kind, message) = no_run(Case::of(&fake).run().await);
        assert_eq!(kind, "interrupted", "{personality:?}: {message}");
        for name in NESTED {
            assert_untouched(&fake, name, "nothing is deleted after an incomplete catalog");
        }
    }
}

#[tokio::test]
async fn catalog_page_that_cannot_be_read_is_an_error() {
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
async fn catalog_page_that_is_full_is_followed_without_a_link() {
    let fake = FakeRegistry::options(Personality::V2_8).max_entries(100).start();
    let fillers: Vec<String> = (0..99).map(|number| format!("idle/{number:02}")).collect();
    for filler in &fillers {
        fake.push(filler, "old", &image("filler", 1));
    }
    fill(&fake, &["z", "z/1x", "z/b"]);
    let report = Case::of(&fake).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_expired_deleted(&fake, "z/1x", "it ends the first page, which has no link");
    assert_expired_deleted(&fake, "z/b", "it is on the second page, which was asked for all the same");
    assert_untouched(&fake, "z", "it is on no page, so it is unknown");
    assert_eq!(tags(&fake, "idle/00"), ["old"]);
}

#[tokio::test]
async fn catalog_pages_in_a_circle_are_an_error() {
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
async fn catalog_without_access_needs_repositories_in_the_configuration() {
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
        assert_expired_deleted(&fake, "app", "it is configured");
        assert_untouched(&fake, "other", "it is not configured");
    }
}

#[tokio::test]
async fn configured_repositories_are_read_without_the_catalog() {
    for personality in EVERY {
        let fake = filled(personality, &["app", "other"]);
        Case::with(&fake, "repositories: [app]").run().await.unwrap();
        let requests = fake.requests();
        let asked = requests.iter().filter(|one| one.path.contains("_catalog"));
        // This request finds out what the server supports.
        assert!(
            asked.map(|one| one.path.as_str()).all(|path| path == "/v2/_catalog?n=-1"),
            "{personality:?}"
        );
        assert!(!requests.iter().any(|one| one.path.contains("/other/")), "{personality:?}");
        assert_expired_deleted(&fake, "app", "it is configured");
    }
}

#[tokio::test]
async fn configured_repository_that_does_not_exist_is_no_failure() {
    for personality in EVERY {
        let fake = filled(personality, &["app"]);
        let case = Case::with(&fake, "repositories: [app, no/body]");
        let report = case.run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_expired_deleted(&fake, "app", "it exists");
    }
}

#[tokio::test]
async fn registry_that_is_unreachable_is_one_clear_error() {
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
async fn server_that_is_not_a_registry_gets_no_deletion() {
    for (answer, expected) in
        [(html(404), "not_found"), (html(500), "server"), (Canned::dropped(), "interrupted")]
    {
        let fake = filled(Personality::V2_8, &["app"]);
        fake.on(move |request| request.is("GET", "/v2/").then(|| answer.clone()));
        assert_eq!(no_run(Case::of(&fake).run().await).0, expected);
        assert!(fake.requests().iter().all(|one| one.path == "/v2/"), "{expected}: nothing else is asked");
    }
}
