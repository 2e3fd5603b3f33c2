//! Lists that are too long, endless or invalid.

use super::harness::{TAGS, answers, cli, fails, filled};
use crate::support::fake_registry::Canned;

/// A list of tags of the hostile repository.
fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    format!(r#"{{"name":"evil","tags":[{}]}}"#, names.join(","))
}

#[test]
fn tag_list_with_too_many_tags_is_an_error() {
    let fake = filled();
    answers(&fake, TAGS, list((0..1_000_001).map(|number| format!("t{number}"))));
    let (_, error) = fails(&fake);
    assert!(error.contains("more than 1000000 names"), "{error}");
}

#[test]
fn tag_list_with_too_many_invalid_names_is_an_error() {
    let fake = filled();
    answers(&fake, TAGS, list((0..10_001).map(|number| format!("../{number}"))));
    let (kind, error) = fails(&fake);
    assert_eq!(kind, "too_large");
    assert!(error.contains("more than 10000 names that are not valid tags"), "{error}");
}

#[test]
fn list_with_endless_pages_is_an_error() {
    for path in [TAGS, "/v2/_catalog"] {
        let fake = filled();
        let mut page = 0;
        fake.on(move |request| {
            let asked = request.is("GET", path) && request.query("n") != Some("-1");
            asked.then(|| {
                page += 1;
                let names = format!(r#"{{"name":"evil","tags":["t{page}"],"repositories":["r{page}"]}}"#);
                let body = format!("{names}{}", " ".repeat(4 << 20));
                Canned::status(200).header("link", format!("<{path}?page={page}>; rel=\"next\"")).body(body)
            })
        });
        if path == TAGS {
            let (kind, error) = fails(&fake);
            assert_eq!(kind, "too_large");
            assert!(error.contains("longer than"), "{error}");
        } else {
            let output = cli(&fake).run(&["run"]);
            assert!(output.code == 1 && output.err.contains("longer than"), "{}", output.err);
            assert_eq!(fake.mutating_requests(), []);
        }
        let pages = fake.requests().iter().filter(|one| one.path.contains("page=")).count();
        assert!(pages < 20, "{pages}");
    }
}

#[test]
fn list_with_a_false_length_reserves_no_memory() {
    let fake = filled();
    fake.on(|request| {
        let answer = Canned::status(200).header("content-length", "60000000").body("{").cut_after(1);
        request.is("GET", TAGS).then_some(answer)
    });
    // The request is retried, since the connection could be the reason.
    let (kind, _) = fails(&fake);
    assert_eq!(kind, "interrupted");
}

#[test]
fn list_that_is_invalid_is_an_error() {
    let long = "x\u{1b}[31m".repeat(1 << 20);
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let bomb = format!("{{\"x\":{}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    for body in [
        format!(r#"{{"name":{},"tags":[]}}"#, json(&long)),
        format!(r#"{{"name":"evil","tags":{}}}"#, json(&long)),
        format!(r#"{{"name":"evil","tags":[[{}]]}}"#, json(&long)),
        bomb,
        "[".repeat(4 << 20),
        r#"{"name":"evil","name":"evil","tags":[]}"#.to_owned(),
        r#"{"name":"evil","tags":[1]}"#.to_owned(),
    ] {
        let fake = filled();
        answers(&fake, TAGS, body);
        let (kind, error) = fails(&fake);
        assert_eq!(kind, "invalid");
        assert!(error.len() < 1500, "{error}");
    }
}
