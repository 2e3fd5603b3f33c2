//! Text of a registry is never written unescaped to a terminal or a log.

use serde_json::json;

use super::harness::{TAGS, answers, assert_safe_to_show, cli, fails, filled};
use crate::support::fake_registry::Canned;

const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{200b}\r\n\0";

#[test]
fn invalid_names_are_shown_escaped() {
    let fake = filled();
    let names = json!([ESCAPES, "../..", "a/b", "x".repeat(10 << 20), "old-1", "keep", ""]);
    answers(&fake, TAGS, json!({ "name": "evil", "tags": names }).to_string());
    let cli = cli(&fake).env("RUST_LOG", "trace");
    for command in [&["ls"][..], &["ls", "-o", "json"], &["plan", "--all"], &["plan", "-o", "json"]] {
        let output = cli.run(command);
        assert_eq!(output.code, 0, "{command:?}: {}", output.err);
        assert_safe_to_show(&output);
        assert!(output.out.len() < 100_000, "{command:?}");
    }
    let output = cli.run(&["ls"]);
    assert!(output.out.contains(r"\u{1b}") && output.out.contains("../.."), "{}", output.out);
}

#[test]
fn error_texts_are_shown_escaped() {
    let spec = json!({ "errors": [{ "code": ESCAPES, "message": ESCAPES.repeat(100_000) }] }).to_string();
    let many = json!({ "errors": vec![json!({ "code": "A", "message": ESCAPES }); 100_000] }).to_string();
    let plain = ESCAPES.repeat(1000);
    for body in [spec, many, plain] {
        let fake = filled();
        fake.on(move |request| request.is("GET", TAGS).then(|| Canned::status(403).body(body.clone())));
        let (kind, error) = fails(&fake);
        assert_eq!(kind, "forbidden");
        assert!(error.len() < 4000, "{}", error.len());
    }
}

#[test]
fn headers_that_are_too_long_are_an_error_of_the_repository() {
    let digest = |value: String| Canned::status(200).header("docker-content-digest", value).body("{}");
    for (path, answer) in [
        (
            TAGS,
            Canned::status(401).header("www-authenticate", format!("Bearer {}", "a=\"b\",".repeat(10_000))),
        ),
        (
            TAGS,
            Canned::status(401)
                .header("www-authenticate", format!("Bearer realm=\"{}", "\\\"".repeat(30_000))),
        ),
        (
            TAGS,
            Canned::status(200)
                .header("link", format!("<http://{}>; rel=next", "x".repeat(60_000)))
                .body(r#"{"name":"evil","tags":[]}"#),
        ),
        ("/v2/evil/manifests/old-1", digest("sha256:../../x".to_owned())),
        ("/v2/evil/manifests/old-1", digest("a".repeat(60_000))),
    ] {
        let fake = filled();
        fake.on(move |request| request.is("GET", path).then(|| answer.clone()));
        let (kind, error) = fails(&fake);
        assert!(["invalid", "unauthorized"].contains(&kind.as_str()), "{kind}: {error}");
    }
}
