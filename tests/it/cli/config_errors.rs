//! Invalid configurations: what every command prints about them.

use crate::support::cli::Cli;

const REGISTRY: &str = "registries: [{ name: main, url: 'http://127.0.0.1:1' }]\n";

/// The problems of a configuration, which every command prints alike.
#[track_caller]
fn problems(config: &str) -> String {
    let cli = Cli::new(config);
    let output = cli.run(&["check"]);
    assert_eq!((output.code, output.out.as_str()), (78, ""), "{}", output.err);
    for command in [&["plan"][..], &["run"], &["ls"], &["explain", "app:v1"]] {
        assert_eq!(cli.run(command), output, "{command:?}");
    }
    output.err
}

/// The problems of rules that begin on line 6.
#[track_caller]
fn rule_problems(rules: &str) -> String {
    problems(&format!("{REGISTRY}policies:\n- name: apps\n  repositories: '.*'\n  rules:\n  - {rules}\n"))
}

#[test]
fn invalid_yaml() {
    insta::assert_snapshot!(problems("registries: [\n  - name: 'main\n"), @r#"FOLDER/regsweep.yaml: line 2: invalid YAML: did not find expected node content, while parsing a flow node"#);
}

#[test]
fn unknown_keys() {
    let config = "modes: enforce\nregistries:\n- { name: main, ulr: 'http://127.0.0.1:1' }\npolicies:\n\
        - { name: apps, repositories: '.*', rules: [{ name: r, tag: '.*', keep: all }] }\n";
    insta::assert_snapshot!(problems(config), @r#"
    FOLDER/regsweep.yaml: modes: line 1: unknown key: did you mean `mode`? valid keys are `mode`, `schedule`, `timezone`, `listen`, `admin_token`, `state_dir`, `history`, `registries`, `retired`, `protect`, `limits`, `policies`
    FOLDER/regsweep.yaml: registries[0].ulr: line 3: unknown key: did you mean `url`? valid keys are `name`, `was`, `url`, `auth`, `tls`, `repositories`, `tags_complete`, `concurrency`, `requests_per_second`, `timeout`, `run_timeout`, `schedule`, `gc`
    FOLDER/regsweep.yaml: policies[0].rules[0].tag: line 5: unknown key: did you mean `tags`? valid keys are `name`, `tags`, `group_by`, `keep`
    "#);
}

#[test]
fn invalid_regexes() {
    insta::assert_snapshot!(rule_problems("{ name: r, tags: ['v(\\d+', '*'], keep: all }"), @r#"
    FOLDER/regsweep.yaml: policies[0].rules[0].tags[0]: line 6: invalid regex: `v(\d+`: unclosed group at character 2: close the group, or write `\` before a literal character
    FOLDER/regsweep.yaml: policies[0].rules[0].tags[1]: line 6: invalid regex: `*`: repetition operator missing expression at character 1: this is a regex, not a glob: write `.*` to match any text
    "#);
}

#[test]
fn rules_that_are_never_reached() {
    let rules =
        "{ name: all, tags: '.*', keep: { newest: 3 } }\n  - { name: prs, tags: 'pr-\\d+', keep: none }";
    insta::assert_snapshot!(rule_problems(rules), @r#"FOLDER/regsweep.yaml: policies[0].rules[1]: line 7: this rule never claims a tag, because the rules before it claim all of them (`all`): move it up, or remove it"#);
}

#[test]
fn group_by_without_the_group() {
    insta::assert_snapshot!(
        rule_problems("{ name: r, tags: 'n-(?<line>.*)', group_by: [branch], keep: { newest: 3 } }"), @r#"FOLDER/regsweep.yaml: policies[0].rules[0].group_by[0]: line 6: there is no group `branch` in `n-(?<line>.*)`: write `(?<branch>…)` in it"#);
}

#[test]
fn counts_of_zero() {
    insta::assert_snapshot!(
        rule_problems("{ name: r, tags: '.*', keep: { newest: 0, daily: 0, newer_than: 0d } }"), @r#"
    FOLDER/regsweep.yaml: policies[0].rules[0].keep.newest: line 6: 0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all
    FOLDER/regsweep.yaml: policies[0].rules[0].keep.newer_than: line 6: 0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all
    FOLDER/regsweep.yaml: policies[0].rules[0].keep.daily: line 6: 0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all
    "#);
}

#[test]
fn keep_without_criteria() {
    insta::assert_snapshot!(rule_problems("{ name: r, tags: '.*', keep: {} }"), @r#"FOLDER/regsweep.yaml: policies[0].rules[0].keep: line 6: no criteria: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`"#);
    insta::assert_snapshot!(rule_problems("{ name: r, tags: '.*' }"), @r#"FOLDER/regsweep.yaml: policies[0].rules[0].keep: line 6: missing: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`"#);
}

#[test]
fn secrets_that_are_missing() {
    let config = "registries:\n- name: main\n  url: 'http://127.0.0.1:1'\n  auth:\n    basic:\n\
        \x20     username: ann\n      password: { file: FOLDER/password }\n\
        policies: [{ name: a, repositories: '.*', rules: [{ name: r, tags: '.*', keep: all }] }]\n";
    let cli = Cli::new(config);
    let output = cli.run(&["plan"]);
    assert_eq!((output.code, output.out.as_str()), (78, ""), "{}", output.err);
    // `check` does not need permission to read the secrets.
    let checked = cli.run(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert!(
        checked.out.contains("\nnote: registries[0].auth.basic.password.file: line 7: cannot read"),
        "{}",
        checked.out
    );
    insta::assert_snapshot!(output.err, @r#"FOLDER/regsweep.yaml: registries[0].auth.basic.password.file: line 7: cannot read `FOLDER/password`: No such file or directory (os error 2): create the file, or name another"#);
}

/// A registry with a daily run at 3, and a collection after this grace.
fn with_collections(history: &str, grace: &str) -> String {
    format!(
        "history: {history}\nregistries:\n- name: main\n  url: 'http://127.0.0.1:1'\n  schedule: '0 3 * * *'\n\
         \x20 gc: {{ grace: {grace}, docker: {{ container: registry }} }}\n\
         policies: [{{ name: a, repositories: '.*', rules: [{{ name: r, tags: '.*', keep: all }}] }}]\n"
    )
}

#[test]
fn history_that_is_too_short() {
    insta::assert_snapshot!(problems(&with_collections("12h", "0s")), @"FOLDER/regsweep.yaml: history: line 1: 12h is too short to undo deletions: write at least `1d`");
    insta::assert_snapshot!(problems(&with_collections("6d", "1w")), @"FOLDER/regsweep.yaml: registries[0].gc.grace: line 6: 7d is longer than the `history` of 6d, after which deletions cannot be undone: shorten the grace, or raise `history`");
}

#[test]
fn grace_that_never_ends_gets_a_note() {
    let output = Cli::new(&with_collections("180d", "1w")).run(&["check"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    insta::assert_snapshot!(output.out, @r"
    FOLDER/regsweep.yaml: 1 registry, 1 policy, 1 rule; mode plan: nothing is ever deleted
    note: registry main: its `gc.grace` of 7d is not shorter than the interval between two runs (`schedule: 0 3 * * *`), so no collection starts as long as every run deletes something: choose a longer interval or a shorter `grace`
    ");
    let output = Cli::new(&with_collections("180d", "20h")).run(&["check"]);
    assert_eq!((output.code, output.out.lines().count()), (0, 1), "{}", output.out);
}

#[test]
fn config_file_that_is_missing() {
    let cli = Cli::new("");
    let output = cli.run_bare(&["--config", "elsewhere.yaml", "check"]);
    assert_eq!(output.code, 78);
    insta::assert_snapshot!(output.err, @r#"elsewhere.yaml: cannot read the configuration: No such file or directory (os error 2): create it (config/regsweep.yaml is an example), or name another file with --config or $REGSWEEP_CONFIG"#);
}

#[test]
fn config_file_that_is_unreadable() {
    let cli = Cli::new("");
    std::fs::write(cli.absolute("FOLDER/binary.yaml"), [b'a', 0xff]).unwrap();
    let cases = [
        ("FOLDER", "Is a directory (os error 21): fix it, or name another file with --config"),
        ("FOLDER/binary.yaml", "byte 2 is invalid: fix it, or name another file with --config"),
    ];
    for (file, words) in cases {
        let output = cli.run_bare(&["--config", &cli.absolute(file), "check"]);
        assert!(output.code == 78 && output.err.contains(words), "{}", output.err);
    }
}
