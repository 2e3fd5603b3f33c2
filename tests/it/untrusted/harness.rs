//! A registry with a normal repository and a hostile one.

use serde_json::Value;

use crate::support::cli::{Cli, CliOutput};
use crate::support::fake_registry::{Canned, FakeRegistry, Personality, Request};
use crate::support::image::{Content, Image};

/// The repository that is to be processed all the same.
pub(crate) const GOOD: &str = "good";

/// The one from which nothing may be deleted.
pub(crate) const EVIL: &str = "evil";

pub(crate) fn image(name: &str) -> Content {
    Image::new(name).created("2026-01-01T00:00:00Z").build()
}

/// Both repositories have an expired and a kept image.
pub(crate) fn filled() -> FakeRegistry {
    let fake = FakeRegistry::start(Personality::V3_1);
    for repository in [GOOD, EVIL] {
        fake.push(repository, "old-1", &image(&format!("{repository} old")));
        fake.push(repository, "keep", &image(&format!("{repository} keep")));
    }
    fake
}

/// A configuration in which tags that begin with `old` expire.
pub(crate) fn cli(fake: &FakeRegistry) -> Cli {
    Cli::new(&format!(
        "mode: enforce\nprotect: {{ newer_than: 0s, at_least: 0 }}\nlimits: {{ max_percent: 100 }}\n\
         registries: [{{ name: main, url: '{}' }}]\npolicies:\n- name: all\n  repositories: '.*'\n\
         \x20 rules: [{{ name: old, tags: 'old.*', keep: none }}]\n",
        fake.url()
    ))
}

/// Runs: the kind and the text of the hostile repository's failure. The normal one is processed, and the other left
/// alone.
#[track_caller]
pub(crate) fn fails(fake: &FakeRegistry) -> (String, String) {
    let output = cli(fake).run(&["run", "-o", "json"]);
    assert_eq!(output.code, 1, "{}", output.err);
    assert_safe_to_show(&output);
    let run: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(fake.tags(GOOD).len(), 1, "the normal one is processed");
    let failures = run["failures"].as_array().unwrap();
    assert_eq!((failures.len(), &failures[0]["repository"]), (1, &Value::from(EVIL)), "{run}");
    let went: Vec<&Value> = run["deleted"].as_array().unwrap().iter().map(|one| &one["repository"]).collect();
    assert_eq!(went, [GOOD]);
    let text = |key: &str| failures[0][key].as_str().unwrap().to_owned();
    (text("kind"), text("error"))
}

/// Asserts that no line is long, and that nothing controls the terminal.
#[track_caller]
pub(crate) fn assert_safe_to_show(output: &CliOutput) {
    for text in [&output.out, &output.err] {
        let hidden = |c: char| {
            (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{200b}'
        };
        assert!(!text.contains(hidden), "{text:?}");
    }
    assert!(output.err.lines().all(|line| line.len() < 5000), "{}", output.err.len());
}

/// Answers a path with JSON.
pub(crate) fn answers(fake: &FakeRegistry, path: &'static str, body: String) {
    fake.on(move |request: &Request| request.is("GET", path).then(|| Canned::status(200).body(body.clone())));
}

/// The tags of the hostile repository.
pub(crate) const TAGS: &str = "/v2/evil/tags/list";
