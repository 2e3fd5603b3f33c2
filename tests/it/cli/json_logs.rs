//! With `--log-format json` every line on standard error is one JSON object, whatever it is about.

use serde_json::{Value, json};

use crate::support::cli::{Cli, CliOutput};
use crate::support::fake_registry::{Auth, FakeRegistry, Personality};
use crate::support::image::Image;

/// The lines, each of which says when, how grave, and what.
#[track_caller]
fn lines(output: &CliOutput) -> Vec<Value> {
    let parse = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for name in ["timestamp", "level", "message"] {
            assert!(line[name].is_string(), "{name}: {line}");
        }
        line
    };
    output.err.lines().map(parse).collect()
}

/// Asserts the exit code, and that its message has this level.
#[track_caller]
fn check(cli: &Cli, arguments: &[&str], code: i32, level: &str, words: &str) {
    let output = cli.run(&[arguments, &["--log-format", "json"]].concat());
    assert_eq!(output.code, code, "{arguments:?}: {}", output.err);
    let lines = lines(&output);
    let found = lines.iter().find(|line| line["message"].as_str().unwrap().contains(words));
    let found = found.unwrap_or_else(|| panic!("{arguments:?}: {words}: {}", output.err));
    assert_eq!(found["level"], level, "{arguments:?}: {found}");
}

const RULES: &str =
    "policies: [{ name: apps, repositories: '.*', rules: [{ name: prs, tags: 'pr-.*', keep: none }] }]\n";

fn pushed(auth: Option<Auth>) -> FakeRegistry {
    let options = FakeRegistry::options(Personality::V3_1);
    let fake = match auth {
        Some(auth) => options.auth(auth).start(),
        None => options.start(),
    };
    for tag in ["pr-1", "pr-2", "v1"] {
        let name = tag.replace("pr-2", "pr-1");
        fake.push("team/app", tag, &Image::new(&name).created("2026-01-01T00:00:00Z").build());
    }
    fake
}

fn cli(fake: &FakeRegistry, more: &str) -> Cli {
    Cli::new(&format!(
        "mode: enforce\nprotect: {{ at_least: 0 }}\nregistries: [{{ name: main, url: '{}' }}]\n{more}{RULES}",
        fake.url()
    ))
}

#[test]
fn lists_are_arrays() {
    let fake = pushed(None);
    let output = cli(&fake, "limits: { max_percent: 100 }\n").run(&["run", "--log-format", "json"]);
    assert_eq!(output.code, 0, "{}", output.err);
    let lines = lines(&output);
    let deleted = lines.iter().find(|line| line["message"] == "deleted a manifest").unwrap();
    assert_eq!(deleted["tags"], json!(["pr-1", "pr-2"]));
    assert_eq!(deleted["rules"], json!(["prs"]));
    let reasons = deleted["reasons"].as_array().unwrap();
    assert!(reasons.iter().all(|one| one.as_str().unwrap().contains("rule prs")), "{deleted}");
    assert_eq!((deleted["already_gone"].is_boolean(), deleted["bytes"].is_u64()), (true, true), "{deleted}");
    assert!(output.err.find("\"timestamp\"") < output.err.find("\"level\""), "{}", output.err);
    // People read the same.
    let fake = pushed(None);
    let output = cli(&fake, "limits: { max_percent: 100 }\n").run(&["run"]);
    assert!(output.err.contains(r#"tags=["pr-1","pr-2"]"#), "{}", output.err);
}

#[test]
fn messages_are_all_json() {
    let fake = pushed(None);
    let well = cli(&fake, "limits: { max_deletions: 1, max_percent: 100 }\n");
    check(&well, &["plan", "--nope"], 2, "ERROR", "unexpected argument '--nope'");
    check(&well, &["explain"], 2, "ERROR", "required arguments");
    check(&well, &["plan", "--registry", "other"], 2, "ERROR", "has no registry other");
    check(&well, &["explain", "team/app:v7"], 1, "ERROR", "no such image");
    check(&well, &["plan", "--require-state"], 1, "ERROR", "there is no state in");
    check(&well, &["gc"], 1, "ERROR", "no registry has a `gc`");
    check(&well, &["undo", "7"], 1, "ERROR", "there is no run 7");
    let two = pushed(None);
    two.push("team/app", "pr-3", &Image::new("pr-3").created("2026-01-01T00:00:00Z").build());
    let limited = cli(&two, "limits: { max_deletions: 1, max_percent: 100 }\n");
    check(&limited, &["run"], 3, "ERROR", "refused: main: 2 manifests would be deleted");

    let locked = pushed(Some(Auth::basic("ann", "other")));
    for command in ["plan", "ls", "run", "explain"] {
        let image: &[&str] = if command == "explain" { &["team/app:v1"] } else { &[] };
        check(&cli(&locked, ""), &[&[command][..], image].concat(), 1, "ERROR", "401");
    }
    let broken = Cli::new("modes: enforce\nregistries: [{ name: main, ulr: 'http://127.0.0.1:1' }]\n");
    for words in ["unknown key: did you mean `mode`?", "unknown key: did you mean `url`?"] {
        check(&broken, &["check"], 78, "ERROR", words);
    }
    check(&broken, &["serve"], 78, "ERROR", "unknown key");
    let unreadable = cli(&fake, "");
    unreadable.file("state", "no directory");
    check(&unreadable, &["plan"], 0, "WARN", "cannot be read");
    check(&unreadable, &["serve"], 1, "ERROR", "the state in");
    let output = unreadable.run_into(
        std::fs::File::options().write(true).open("/dev/full").unwrap(),
        &["ls", "--log-format", "json"],
    );
    assert!(lines(&output).iter().any(|line| line["level"] == "ERROR"), "{}", output.err);
}

#[test]
fn however_much_is_logged() {
    let fake = pushed(Some(Auth::bearer("ann", "secret")));
    let auth = "basic: { username: ann, password: { env: PASSWORD } }";
    let text = format!("registries: [{{ name: main, url: '{}', auth: {{ {auth} }} }}]\n{RULES}", fake.url());
    let output =
        Cli::new(&text).env("PASSWORD", "secret").env("RUST_LOG", "trace").run(&["run", "--log-format=json"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(lines(&output).iter().any(|line| line["level"] == "TRACE"), "{}", output.err);
    // Help is no error, and is for people.
    let output = Cli::new(&text).run(&["--log-format", "json", "--help"]);
    assert!(output.code == 0 && output.err.is_empty() && output.out.contains("Usage"), "{}", output.err);
}
