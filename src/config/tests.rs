//! What the tests of the configuration's modules share, and the tests of the whole.

use super::*;

/// A registry and a policy with which every setting can be tried.
pub(super) const REGISTRIES: &str = "registries: [{ name: main, url: 'https://r.example.com' }]\n";
pub(super) const POLICIES: &str =
    "policies: [{ name: all, repositories: '.*', rules: [{ name: r, tags: '.*', keep: all }] }]\n";

/// The environment of the tests.
pub(super) fn env(name: &str) -> Option<String> {
    match name {
        "PASSWORD" => Some("hunter2\n".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// Checks everything that is said about a text, problem by problem.
#[track_caller]
pub(super) fn check(text: &str, expected: &[&str]) {
    let problems = parse(text, "f", &env).map_or_else(|error| error.problems, |_| Vec::new());
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected, "{text}");
}

/// Checks everything that is said of one setting at the top level.
#[track_caller]
pub(super) fn check_setting(setting: &str, expected: &[&str]) {
    check(&format!("{setting}\n{REGISTRIES}{POLICIES}"), expected);
}

const EXAMPLE: &str = include_str!("../../config/regsweep.yaml");

#[test]
fn the_example_has_every_key() {
    let fields = regex::Regex::new(r"pub\(super\) (\w+): Option<").unwrap();
    for field in fields.captures_iter(include_str!("written.rs")) {
        let key = regex::Regex::new(&format!(r"(?m)^[^#\n]*\b{}: ", &field[1])).unwrap();
        let block = regex::Regex::new(&format!(r"(?m)^[ -]*{}:$", &field[1])).unwrap();
        assert!(key.is_match(EXAMPLE) || block.is_match(EXAMPLE), "{}", &field[1]);
    }
}

#[test]
fn the_example_means_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().display().to_string();
    for file in [
        "registry",
        "config.json",
        "corp.pem",
        "client.pem",
        "client.key",
        "lab-password",
        "redis",
        "regsweep-admin",
    ] {
        std::fs::write(directory.path().join(file), "hunter2\n").unwrap();
    }
    let text = ["/run/secrets/", "/etc/ssl/", "/etc/regsweep/"]
        .iter()
        .fold(EXAMPLE.to_owned(), |text, place| text.replace(place, &format!("{there}/")));
    let env = |name: &str| match name {
        "REGISTRY_TOKEN" => Some("hunter2".to_owned()),
        "CREDENTIALS_DIRECTORY" => Some(there.clone()),
        _ => None,
    };
    let config = parse(&text, "regsweep.yaml", &env).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.advice(), [""; 0], "an example gives no cause for it");
    insta::assert_snapshot!("example", format!("{config:#?}").replace(&there, "DIRECTORY"));
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = r"mode: enforced
timezone: Europe/Berln
listen: 9717

registries:
  - name: main
    url: https://user:hunter2@registry.example.com
    concurrency: 0
    auth:
      basic: { username: me, password: hunter2 }
    gc:
      timeout: 2m
      docker: { method: exec }
  - name: main
    adress: https://registry.example.com

limits:
  max_percent: 175

policies:
  - name: apps
    registries: [mian]
    repositories: 'team/(.*'
    rules: []
  - name: rest
    repositories: '.*'
    rules:
      - name: all
        tags: '.*'
        keep: {}
      - name: releases
        tags:
          - 'v\d+'
          - 1.0
        group_by: [line]
        keep: { newest: 3, newer_then: 7d }
  -
";
    let error = parse(text, "regsweep.yaml", &env).unwrap_err();
    insta::assert_snapshot!(error, @r#"
    regsweep.yaml: mode: line 1: `enforced` means nothing here: did you mean `enforce`? write one of `plan`, `enforce`
    regsweep.yaml: timezone: line 2: `Europe/Berln` is not a time zone: did you mean `Europe/Berlin`?
    regsweep.yaml: listen: line 3: expected a text, found the number 9717: put it in quotes
    regsweep.yaml: registries[0].url: line 7: there are credentials in it: move them to `auth`
    regsweep.yaml: registries[0].concurrency: line 8: 0 is too few: 16 is the default
    regsweep.yaml: registries[0].auth.basic.password: line 10: a secret does not belong in this file: write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`
    regsweep.yaml: registries[0].gc.timeout: line 12: `2m` could mean minutes or months: write `2min` or `60d`
    regsweep.yaml: registries[0].gc.docker.container: line 13: missing: write the name of the registry's container
    regsweep.yaml: registries[1].url: line 14: missing: write where it is, such as `https://registry.example.com`
    regsweep.yaml: registries[1].name: line 14: `main` is taken by registries[0].name already: give each its own name
    regsweep.yaml: registries[1].adress: line 15: unknown key: the keys here are `name`, `was`, `url`, `auth`, `tls`, `repositories`, `tags_complete`, `concurrency`, `requests_per_second`, `timeout`, `run_timeout`, `schedule`, `gc`
    regsweep.yaml: limits.max_percent: line 18: 175 is more than 100 percent: 100 sets no limit
    regsweep.yaml: policies[0]: line 21: this policy does nothing: write `rules`, `untagged` or both, or remove it
    regsweep.yaml: policies[0].registries[0]: line 22: there is no registry `mian`: did you mean `main`? there are `main`, `main`
    regsweep.yaml: policies[0].repositories: line 23: not a regex: `team/(.*`: unclosed group at character 6: close what is open, or write `\` before a character that means itself
    regsweep.yaml: policies[1].rules[0].keep: line 30: it is empty: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`
    regsweep.yaml: policies[1].rules[1].tags[1]: line 34: expected a text, found the number 1.0: put it in quotes
    regsweep.yaml: policies[1].rules[1].keep.newer_then: line 36: unknown key: did you mean `newer_than`? the keys here are `newest`, `newer_than`, `daily`, `weekly`, `monthly`, `yearly`, `versions`, `all`
    regsweep.yaml: policies[2]: line 37: an empty element: fill it in, or remove it
    "#);
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let error = load(Path::new("/nowhere/regsweep.yaml"), &env).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/regsweep.yaml: cannot be read: No such file or directory (os error 2): write one (config/regsweep.yaml is an example), or name another with --config or $REGSWEEP_CONFIG"
    );
}
