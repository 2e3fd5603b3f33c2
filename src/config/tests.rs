//! Helpers of the configuration's unit tests, and tests of the module as a whole.

use std::path::Path;

use super::*;

/// A registry and a policy that complete a configuration with any other setting.
pub(crate) const REGISTRIES: &str = "registries: [{ name: main, url: 'https://r.example.com' }]\n";
pub(crate) const POLICIES: &str =
    "policies: [{ name: all, repositories: '.*', rules: [{ name: r, tags: '.*', keep: all }] }]\n";

/// The environment of the tests.
pub(crate) fn env(name: &str) -> Option<String> {
    match name {
        "PASSWORD" => Some("hunter2\n".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// Checks all problems of a text.
#[track_caller]
pub(crate) fn check(text: &str, expected: &[&str]) {
    let problems = parse(text, "f", &env).map_or_else(|error| error.problems, |_| Vec::new());
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected, "{text}");
}

/// Checks all problems of one setting at the top level.
#[track_caller]
pub(crate) fn check_setting(setting: &str, expected: &[&str]) {
    check(&format!("{setting}\n{REGISTRIES}{POLICIES}"), expected);
}

/// Checks all problems of a registry with a name, a URL and these settings.
#[track_caller]
pub(crate) fn check_registry(settings: &str, expected: &[&str]) {
    let registry = format!("registries: [{{ name: main, url: 'https://r', {settings} }}]");
    check(&format!("{registry}\n{POLICIES}"), expected);
}

const EXAMPLE: &str = include_str!("../../config/regsweep.yaml");

#[test]
fn example_has_every_key() {
    let fields = regex::Regex::new(r"pub\(super\) (\w+): Option<").unwrap();
    for field in fields.captures_iter(include_str!("schema.rs")) {
        let key = regex::Regex::new(&format!(r"(?m)^[^#\n]*\b{}: ", &field[1])).unwrap();
        let block = regex::Regex::new(&format!(r"(?m)^[ -]*{}:$", &field[1])).unwrap();
        assert!(key.is_match(EXAMPLE) || block.is_match(EXAMPLE), "{}", &field[1]);
    }
}

#[test]
fn example_is_valid_and_gets_no_advice() {
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
    assert_eq!(config.advice(), [""; 0], "the example gets no advice");
    insta::assert_snapshot!("example", format!("{config:#?}").replace(&there, "DIRECTORY"));
}

#[test]
fn all_problems_are_reported_with_their_lines() {
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
    regsweep.yaml: mode: line 1: `enforced` is not a valid value: did you mean `enforce`? valid values are `plan`, `enforce`
    regsweep.yaml: timezone: line 2: `Europe/Berln` is not a time zone: did you mean `Europe/Berlin`?
    regsweep.yaml: listen: line 3: expected a string, found the number 9717: put it in quotes
    regsweep.yaml: registries[0].url: line 7: the URL contains credentials: move them to `auth`
    regsweep.yaml: registries[0].concurrency: line 8: 0 is too small: write at least 1, or remove the key for the default of 16
    regsweep.yaml: registries[0].auth.basic.password: line 10: secrets are not allowed in this file: write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`
    regsweep.yaml: registries[0].gc.timeout: line 12: `2m` could be minutes or months: write `2min` or `60d`
    regsweep.yaml: registries[0].gc.docker.container: line 13: missing: write the name of the registry's container
    regsweep.yaml: registries[1].url: line 14: missing: write its URL, such as `https://registry.example.com`
    regsweep.yaml: registries[1].name: line 14: `main` is already used by registries[0].name: give each a unique name
    regsweep.yaml: registries[1].adress: line 15: unknown key: valid keys are `name`, `was`, `url`, `auth`, `tls`, `repositories`, `tags_complete`, `concurrency`, `requests_per_second`, `timeout`, `run_timeout`, `schedule`, `gc`
    regsweep.yaml: limits.max_percent: line 18: 175 is more than 100 percent: write at most 100, which sets no limit
    regsweep.yaml: policies[0]: line 21: this policy does nothing: write `rules`, `untagged` or both, or remove it
    regsweep.yaml: policies[0].registries[0]: line 22: there is no registry `mian`: did you mean `main`? the registries are `main`, `main`
    regsweep.yaml: policies[0].repositories: line 23: invalid regex: `team/(.*`: unclosed group at character 6: close the group, or write `\` before a literal character
    regsweep.yaml: policies[1].rules[0].keep: line 30: no criteria: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`
    regsweep.yaml: policies[1].rules[1].tags[1]: line 34: expected a string, found the number 1.0: put it in quotes
    regsweep.yaml: policies[1].rules[1].keep.newer_then: line 36: unknown key: did you mean `newer_than`? valid keys are `newest`, `newer_than`, `daily`, `weekly`, `monthly`, `yearly`, `versions`, `all`
    regsweep.yaml: policies[2]: line 37: the list element is empty: add a value, or remove it
    "#);
}

#[test]
fn unreadable_file_is_one_problem() {
    let error = load(Path::new("/nowhere/regsweep.yaml"), &env).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/regsweep.yaml: cannot read the configuration: No such file or directory (os error 2): create it (config/regsweep.yaml is an example), or name another file with --config or $REGSWEEP_CONFIG"
    );
}
