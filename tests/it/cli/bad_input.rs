//! The program on the command line: what it says and how it ends when it is given nonsense, and the
//! JSON that it promises when it is not.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::cli::{Cli, CliOutput};
use crate::support::fake_registry::{Auth, FakeRegistry, Personality};
use crate::support::image::{Content, Image, Index};

const REGISTRY: &str = "registries: [{ name: main, url: 'http://127.0.0.1:1' }]\n";

/// What is said about a configuration that cannot be used, by every command alike.
#[track_caller]
fn problems(config: &str) -> String {
    let cli = Cli::new(config);
    let said = cli.run(&["check"]);
    assert_eq!((said.code, said.out.as_str()), (78, ""), "{}", said.err);
    for command in [&["plan"][..], &["run"], &["ls"], &["explain", "app:v1"]] {
        assert_eq!(cli.run(command), said, "{command:?}");
    }
    said.err
}

/// The same for one rule, which is on line 6.
#[track_caller]
fn rule_problems(rules: &str) -> String {
    problems(&format!("{REGISTRY}policies:\n- name: apps\n  repositories: '.*'\n  rules:\n  - {rules}\n"))
}

#[test]
fn text_that_is_no_yaml() {
    insta::assert_snapshot!(problems("registries: [\n  - name: 'main\n"), @r#"FOLDER/regsweep.yaml: line 2: invalid YAML: did not find expected node content, while parsing a flow node"#);
}

#[test]
fn keys_that_do_not_exist() {
    let config = "modes: enforce\nregistries:\n- { name: main, ulr: 'http://127.0.0.1:1' }\npolicies:\n\
        - { name: apps, repositories: '.*', rules: [{ name: r, tag: '.*', keep: all }] }\n";
    insta::assert_snapshot!(problems(config), @r#"
    FOLDER/regsweep.yaml: modes: line 1: unknown key: did you mean `mode`? valid keys are `mode`, `schedule`, `timezone`, `listen`, `admin_token`, `state_dir`, `history`, `registries`, `retired`, `protect`, `limits`, `policies`
    FOLDER/regsweep.yaml: registries[0].ulr: line 3: unknown key: did you mean `url`? valid keys are `name`, `was`, `url`, `auth`, `tls`, `repositories`, `tags_complete`, `concurrency`, `requests_per_second`, `timeout`, `run_timeout`, `schedule`, `gc`
    FOLDER/regsweep.yaml: policies[0].rules[0].tag: line 5: unknown key: did you mean `tags`? valid keys are `name`, `tags`, `group_by`, `keep`
    "#);
}

#[test]
fn patterns_that_are_no_regexes() {
    insta::assert_snapshot!(rule_problems("{ name: r, tags: ['v(\\d+', '*'], keep: all }"), @r#"
    FOLDER/regsweep.yaml: policies[0].rules[0].tags[0]: line 6: invalid regex: `v(\d+`: unclosed group at character 2: close the group, or write `\` before a literal character
    FOLDER/regsweep.yaml: policies[0].rules[0].tags[1]: line 6: invalid regex: `*`: repetition operator missing expression at character 1: this is a regex, not a glob: write `.*` to match any text
    "#);
}

#[test]
fn rules_that_never_get_a_tag() {
    let rules =
        "{ name: all, tags: '.*', keep: { newest: 3 } }\n  - { name: prs, tags: 'pr-\\d+', keep: none }";
    insta::assert_snapshot!(rule_problems(rules), @r#"FOLDER/regsweep.yaml: policies[0].rules[1]: line 7: this rule never claims a tag, because the rules before it claim all of them (`all`): move it up, or remove it"#);
}

#[test]
fn groups_that_are_in_no_pattern() {
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
fn nothing_that_keeps() {
    insta::assert_snapshot!(rule_problems("{ name: r, tags: '.*', keep: {} }"), @r#"FOLDER/regsweep.yaml: policies[0].rules[0].keep: line 6: no criteria: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`"#);
    insta::assert_snapshot!(rule_problems("{ name: r, tags: '.*' }"), @r#"FOLDER/regsweep.yaml: policies[0].rules[0].keep: line 6: missing: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`"#);
}

#[test]
fn secrets_that_are_not_there() {
    let config = "registries:\n- name: main\n  url: 'http://127.0.0.1:1'\n  auth:\n    basic:\n\
        \x20     username: ann\n      password: { file: FOLDER/password }\n\
        policies: [{ name: a, repositories: '.*', rules: [{ name: r, tags: '.*', keep: all }] }]\n";
    let cli = Cli::new(config);
    let said = cli.run(&["plan"]);
    assert_eq!((said.code, said.out.as_str()), (78, ""), "{}", said.err);
    // Whoever checks a configuration need not be who may read the secrets.
    let checked = cli.run(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert!(
        checked.out.contains("\nnote: registries[0].auth.basic.password.file: line 7: cannot read"),
        "{}",
        checked.out
    );
    insta::assert_snapshot!(said.err, @r#"FOLDER/regsweep.yaml: registries[0].auth.basic.password.file: line 7: cannot read `FOLDER/password`: No such file or directory (os error 2): create the file, or name another"#);
}

/// A registry that is swept every day at 3, and collected after this grace.
fn collected(history: &str, grace: &str) -> String {
    format!(
        "history: {history}\nregistries:\n- name: main\n  url: 'http://127.0.0.1:1'\n  schedule: '0 3 * * *'\n\
         \x20 gc: {{ grace: {grace}, docker: {{ container: registry }} }}\n\
         policies: [{{ name: a, repositories: '.*', rules: [{{ name: r, tags: '.*', keep: all }}] }}]\n"
    )
}

#[test]
fn memories_that_are_too_short() {
    insta::assert_snapshot!(problems(&collected("12h", "0s")), @"FOLDER/regsweep.yaml: history: line 1: 12h is too short to undo deletions: write at least `1d`");
    insta::assert_snapshot!(problems(&collected("6d", "1w")), @"FOLDER/regsweep.yaml: registries[0].gc.grace: line 6: 7d is longer than the `history` of 6d, after which deletions cannot be undone: shorten the grace, or raise `history`");
}

#[test]
fn a_grace_that_never_ends_is_worth_a_note() {
    let said = Cli::new(&collected("180d", "1w")).run(&["check"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(said.out, @r"
    FOLDER/regsweep.yaml: 1 registry, 1 policy, 1 rule; mode plan: nothing is ever deleted
    note: registry main: its `gc.grace` of 7d is not shorter than the interval between two runs (`schedule: 0 3 * * *`), so no collection starts as long as every run deletes something: choose a longer interval or a shorter `grace`
    ");
    let said = Cli::new(&collected("180d", "20h")).run(&["check"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 1), "{}", said.out);
}

#[test]
fn a_configuration_that_is_not_there() {
    let cli = Cli::new("");
    let said = cli.run_bare(&["--config", "elsewhere.yaml", "check"]);
    assert_eq!(said.code, 78);
    insta::assert_snapshot!(said.err, @r#"elsewhere.yaml: cannot read the configuration: No such file or directory (os error 2): create it (config/regsweep.yaml is an example), or name another file with --config or $REGSWEEP_CONFIG"#);
}

#[test]
fn a_configuration_that_is_there_and_cannot_be_read_is_not_to_be_written() {
    let cli = Cli::new("");
    std::fs::write(cli.absolute("FOLDER/binary.yaml"), [b'a', 0xff]).unwrap();
    let cases = [
        ("FOLDER", "Is a directory (os error 21): fix it, or name another file with --config"),
        ("FOLDER/binary.yaml", "byte 2 is invalid: fix it, or name another file with --config"),
    ];
    for (file, words) in cases {
        let said = cli.run_bare(&["--config", &cli.absolute(file), "check"]);
        assert!(said.code == 78 && said.err.contains(words), "{}", said.err);
    }
}

/// A registry with two repositories, and what the program is told about it.
fn world() -> (FakeRegistry, Cli) {
    let fake = FakeRegistry::start(Personality::V3_1);
    for repository in ["team/app", "team/web"] {
        fake.push(repository, "v1", &image(&format!("{repository} v1"), "2026-01-01"));
        fake.push(repository, "pr-1", &image(&format!("{repository} pr"), "2026-02-01"));
        fake.push(repository, "pr-2", &image(&format!("{repository} v1"), "2026-01-01"));
    }
    fake.push("other", "pr-1", &image("other", "2026-01-01"));
    let cli = cli(&fake, "");
    (fake, cli)
}

fn image(name: &str, day: &str) -> Content {
    Image::new(name).created(format!("{day}T00:00:00Z")).build()
}

fn cli(fake: &FakeRegistry, auth: &str) -> Cli {
    Cli::new(&format!(
        "mode: enforce\nlimits: {{ max_percent: 100 }}\nregistries: [{{ name: main, url: '{}'{auth} }}]\n\
         policies:\n- name: apps\n  repositories: 'team/.*'\n  rules:\n\
         \x20 - {{ name: prs, tags: 'pr-.*', keep: {{ newer_than: 14d }} }}\n",
        fake.url()
    ))
}

#[test]
fn wrong_usage_ends_with_2_before_anything_is_asked() {
    let (fake, cli) = world();
    for (arguments, words) in [
        (&[][..], "requires a subcommand"),
        (&["sweep"], "unrecognized subcommand"),
        (&["plan", "--dry-run"], "unexpected argument"),
        (&["plan", "--at", "tomorrow"], "write a day such as"),
        (&["plan", "--repository", "("], "unclosed group"),
        (&["plan", "-o", "yaml"], "[possible values: table, wide, json]"),
        (&["explain"], "required arguments"),
        (&["explain", "team/app"], "write REPOSITORY:TAG or REPOSITORY@DIGEST"),
        (&["explain", "Team/App:v1"], "write REPOSITORY:TAG or REPOSITORY@DIGEST"),
        (&["explain", "team/app@sha256:abc"], "write REPOSITORY:TAG or REPOSITORY@DIGEST"),
    ] {
        let said = cli.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {}", said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    assert_eq!(fake.requests(), [], "nobody was asked");
}

#[test]
fn a_registry_that_is_not_configured_is_told_with_those_that_are() {
    let (fake, cli) = world();
    for command in ["plan", "run", "ls"] {
        let said = cli.run(&[command, "--registry", "mian"]);
        assert_eq!(said.code, 2, "{command}");
        assert_eq!(said.err, "error: the configuration has no registry mian; it has main\n", "{command}");
    }
    assert_eq!(fake.requests(), [], "nobody was asked");
}

#[test]
fn an_image_is_explained_or_is_not_there() {
    let (fake, cli) = world();
    let host = fake.host();
    for image in ["team/app:pr-1".to_owned(), "main/team/app:pr-1".into(), format!("{host}/team/app:pr-1")] {
        let said = cli.run(&["explain", &image]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.contains("delete") && said.out.contains("[expired]"), "{}", said.out);
    }
    let nothing = format!("team/app@sha256:{}", "0".repeat(64));
    for image in ["team/app:v2", "no/body:v1", nothing.as_str()] {
        let said = cli.run(&["explain", image]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{image}: {}", said.err);
        assert!(said.err.contains("has no such image"), "{}", said.err);
    }
}

fn document(said: &CliOutput) -> Value {
    assert_eq!(said.out.lines().count(), 1, "one document a line: {}", said.out);
    serde_json::from_str(&said.out).unwrap()
}

fn size(content: &Content) -> usize {
    content.manifest.len() + content.blobs.iter().map(Vec::len).sum::<usize>()
}

#[test]
fn a_plan_in_json_is_as_documented() {
    let fake = FakeRegistry::start(Personality::V3_1);
    let (shared, gone) = (image("shared", "2026-01-01"), image("gone", "2026-02-01"));
    fake.push("team/app", "v1", &shared);
    fake.push("team/app", "pr-2", &shared);
    fake.push("team/app", "pr-1", &gone);
    let broken = Index::oci().missing_child(&image("child", "2026-01-01")).build();
    fake.push("team/odd", "pr-3", &broken);
    fake.on(|request| {
        let odd = request.path == "/v2/team/odd/manifests/pr-3";
        odd.then(|| crate::support::fake_registry::Canned::status(403))
    });
    let before = crate::support::regsweep::hours_ago(0);
    let said = cli(&fake, "").run(&["plan", "-o", "json", "--at", "2026-06-01"]);
    assert_eq!(said.code, 1, "a repository failed: {}", said.err);
    let mut plan = document(&said);
    let error = plan["failures"][0]["error"].take();
    assert!(error.as_str().unwrap().contains("/v2/team/odd/manifests/pr-3: 403"), "{error}");
    let manifests = plan["repositories"][0]["manifests"].as_array_mut().unwrap();
    for reason in manifests.iter_mut().flat_map(|one| one["reasons"].as_array_mut().unwrap()) {
        assert!(reason["text"].take().as_str().is_some_and(|text| !text.is_empty()));
    }
    // The look was just now, whatever moment was asked about.
    let look = manifests[0]["evidence"][1]["at"].clone();
    let looked: DateTime<Utc> = look.as_str().unwrap().parse().unwrap();
    assert!(
        looked.timestamp() >= before.timestamp() && looked <= crate::support::regsweep::hours_ago(0),
        "{look}"
    );
    let day = 24 * 60 * 60;
    let evidence = |created: &str| {
        json!([
            { "source": "created", "at": created, "weight": "counts" },
            { "source": "first-scan", "at": look, "weight": "weaker" },
        ])
    };
    let expected = json!({
        "version": 1, "registry": "main", "now": "2026-06-01T00:00:00Z", "scan_history": "none",
        "repositories": [{
            "repository": "team/app", "policy": "apps", "held_back": false, "tags": 3, "kept": 1,
            "expired_bytes": size(&gone), "referenced_bytes": size(&shared), "dangling_tags": [],
            "manifests": [
                {
                    "digest": shared.digest, "tags": ["pr-2", "v1"], "kind": "image",
                    "created": "2026-01-01T00:00:00Z", "age_seconds": 151 * day,
                    "evidence": evidence("2026-01-01T00:00:00Z"), "bytes": size(&shared), "frees": 0,
                    "verdict": "keep", "policy": "apps", "rules": ["prs"],
                    "reasons": [
                        { "code": "unclaimed", "verdict": "keep", "text": null },
                        { "code": "expired", "verdict": "delete", "text": null },
                        { "code": "tag-expired", "verdict": "delete", "text": null },
                    ],
                },
                {
                    "digest": gone.digest, "tags": ["pr-1"], "kind": "image",
                    "created": "2026-02-01T00:00:00Z", "age_seconds": 120 * day,
                    "evidence": evidence("2026-02-01T00:00:00Z"), "bytes": size(&gone), "frees": size(&gone),
                    "verdict": "delete", "policy": "apps", "rules": ["prs"],
                    "reasons": [{ "code": "expired", "verdict": "delete", "text": null }],
                },
            ],
            "untag": [{ "tag": "pr-2", "digest": shared.digest, "rule": "prs" }],
        }],
        "refusals": [],
        "failures": [{ "repository": "team/odd", "kind": "forbidden", "error": null }],
        "totals": {
            "repositories": 1, "tags": 3, "manifests": 2, "delete": 1, "untag": 1, "expired_bytes": size(&gone),
            "referenced_bytes": size(&shared),
        },
        "error": null, "error_kind": null,
    });
    assert_eq!(plan, expected);
    assert_eq!(fake.mutating_requests(), []);
}

#[test]
fn a_run_in_json_tells_what_went() {
    let (fake, cli) = world();
    let said = cli.run(&["run", "-o", "json", "--repository", "team/app"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let run = document(&said);
    let gone = image("team/app pr", "2026-02-01");
    let shared = image("team/app v1", "2026-01-01").digest;
    assert_eq!(run["outcome"], "success");
    assert_eq!((&run["run"], &run["error"]), (&json!(1), &Value::Null));
    assert_eq!(run["applied"], true);
    let deleted = json!([{
        "repository": "team/app", "digest": gone.digest, "tags": ["pr-1"], "policy": "apps",
        "bytes": size(&gone), "already_gone": false,
    }]);
    assert_eq!(run["deleted"], deleted);
    let untagged = json!([{ "repository": "team/app", "tag": "pr-2", "digest": shared, "policy": "apps" }]);
    assert_eq!(run["untagged"], untagged);
    assert_eq!(run["collection"], Value::Null, "nobody said how");
    for empty in ["skipped", "refusals", "failures"] {
        assert_eq!(run[empty], json!([]), "{empty}");
    }
    assert_eq!(fake.tags("team/web").len(), 3, "it was not asked for");
    assert!(!fake.requests().iter().any(|one| one.path.contains("team/web") || one.path.contains("other")));
}

/// The documents, one a line.
fn documents(said: &CliOutput) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn keys(document: &Value) -> Vec<&String> {
    document.as_object().unwrap().keys().collect()
}

/// Registries `main`, which is well, `locked`, which lets nobody in, and `gone`, which does not answer.
fn three() -> (FakeRegistry, FakeRegistry, Cli) {
    let (fake, _) = world();
    let locked = FakeRegistry::options(Personality::V3_1).auth(Auth::basic("ann", "other")).start();
    let gc = "gc: { command: { before: ['true'], run: ['true'], after: ['true'] } }";
    let config = format!(
        "mode: enforce\nlimits: {{ max_percent: 100 }}\nregistries:\n- {{ name: locked, url: '{}', {gc} }}\n\
         - {{ name: gone, url: 'http://127.0.0.1:1' }}\n- {{ name: main, url: '{}' }}\n\
         policies: [{{ name: a, repositories: 'team/.*', rules: [{{ name: prs, tags: 'pr-.*', keep: none }}] }}]\n",
        locked.url(),
        fake.url()
    );
    (fake, locked, Cli::new(&config))
}

#[test]
fn every_registry_has_its_document_also_one_that_fails() {
    let (_fake, _locked, cli) = three();
    for command in ["plan", "ls", "run"] {
        let said = cli.run(&[command, "-o", "json"]);
        assert_eq!(said.code, 1, "{}", said.err);
        let all = documents(&said);
        let told: Vec<_> =
            all.iter().map(|one| (one["registry"].clone(), one["error_kind"].clone())).collect();
        let expected = [("locked", json!("unauthorized")), ("gone", json!("connect")), ("main", Value::Null)];
        assert_eq!(told, expected.map(|(name, kind)| (json!(name), kind)), "{command}");
        for one in &all {
            assert_eq!(keys(one), keys(&all[2]), "{command}: all have the same fields");
            assert_eq!(one["error"].is_string(), one["registry"] != "main", "{command}");
        }
        if command == "run" {
            assert_eq!((&all[0]["outcome"], &all[0]["applied"]), (&json!("failed"), &json!(false)));
            // Each by the number that it has in the history.
            for one in &all {
                let past = document(&cli.run(&["history", &one["run"].to_string(), "-o", "json"]));
                assert_eq!(past["runs"][0]["registry"], one["registry"], "{past}");
            }
        }
        // A plan of one registry is printed while it is made.
        let said = cli.run(&[command, "--registry", "locked", "-o", "json"]);
        assert_eq!(keys(&document(&said)), keys(&all[2]), "{command}");
    }
    let said = cli.run(&["gc", "-o", "json"]);
    let failed = document(&said);
    assert_eq!((said.code, &failed["registry"], &failed["outcome"]), (1, &json!("locked"), &json!("failed")));
    assert!(failed["error"].as_str().unwrap().contains("401"), "{failed}");
    for (image, kind) in [("locked/team/app:v1", "unauthorized"), ("main/team/app:v7", "no_such_image")] {
        let said = cli.run(&["explain", image, "-o", "json"]);
        let failed = document(&said);
        assert_eq!((said.code, &failed["error_kind"]), (1, &json!(kind)), "{failed}");
        assert_eq!(
            (&failed["repository"], failed["error"].is_string()),
            (&json!("team/app"), true),
            "{failed}"
        );
    }
    let said = cli.run(&["undo", "1", "-o", "json"]);
    let failed = document(&said);
    assert_eq!((said.code, &failed["run"], &failed["results"]), (1, &json!(1), &json!([])), "{failed}");
    assert!(failed["error"].is_string(), "{failed}");
}

#[test]
fn a_state_that_is_required_and_missing_is_told_in_every_document() {
    let (fake, locked, cli) = three();
    for command in ["plan", "ls"] {
        let said = cli.run(&[command, "-o", "json", "--require-state"]);
        assert_eq!(said.code, 1);
        let all = documents(&said);
        assert_eq!(all.len(), 3, "{command}");
        for one in all {
            assert_eq!(
                (&one["scan_history"], &one["error_kind"]),
                (&json!("none"), &json!("state")),
                "{one}"
            );
        }
    }
    let said = cli.run(&["explain", "main/team/app:v1", "-o", "json", "--require-state"]);
    assert_eq!((said.code, &document(&said)["error_kind"]), (1, &json!("state")));
    assert_eq!((fake.requests(), locked.requests()), (vec![], vec![]), "nobody was asked");
}

#[test]
fn a_state_that_cannot_be_used_is_told_in_every_document() {
    let (fake, locked, cli) = three();
    let file = cli.absolute("FOLDER/regsweep.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    // A file is no directory.
    std::fs::write(&file, format!("state_dir: {file}\n{text}")).unwrap();
    for (command, names) in [("run", &["locked", "gone", "main"][..]), ("gc", &["locked"])] {
        let said = cli.run(&[command, "-o", "json"]);
        let all = documents(&said);
        let told: Vec<_> = all.iter().map(|one| one["registry"].as_str().unwrap()).collect();
        assert_eq!((said.code, told.as_slice()), (1, names), "{command}");
        for one in &all {
            let error = one["error"].as_str().unwrap();
            assert!(error.contains("cannot be used") && one["outcome"] == "failed", "{one}");
            assert_eq!(one["error_kind"].as_str(), (command == "run").then_some("state"), "{one}");
        }
    }
    let said = cli.run(&["run", "--registry", "main", "-o", "json"]);
    assert_eq!((said.code, document(&said)["run"].is_null()), (1, true));
    assert_eq!(said.err.matches("File exists").count(), 1, "it is said once: {}", said.err);
    assert_eq!((fake.requests(), locked.requests()), (vec![], vec![]), "nobody was asked");
}

#[test]
fn a_run_prints_its_number_and_the_command_that_takes_it_back() {
    let (fake, cli) = world();
    let tags = fake.tags("team/app");
    let said = cli.run(&["run"]);
    let line = said.out.lines().find(|line| line.contains("this was run 1")).unwrap();
    let (told, command) = line.split_once(": regsweep ").unwrap();
    assert_eq!(told, "main: this was run 1; to restore what it deleted");
    assert_ne!(fake.tags("team/app"), tags);
    let words: Vec<String> = command.split(' ').map(|word| cli.absolute(word)).collect();
    let said = cli.run_bare(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{command}: {}", said.err);
    assert_eq!(fake.tags("team/app"), tags);
    // There is nothing to take back of one that did nothing.
    let said = cli.run(&["run"]);
    assert!(said.out.ends_with("main: this was run 2\n"), "{}", said.out);
}

#[test]
fn a_plan_can_be_made_as_of_another_moment() {
    let (fake, cli) = world();
    for (at, expected) in [
        ("2026-01-10", (0, 0)),
        ("2026-01-20", (0, 2)),
        ("2026-02-15T00:00:00Z", (2, 2)),
        ("2026-02-15T00:00:00+02:00", (0, 2)),
    ] {
        let plan = document(&cli.run(&["plan", "-o", "json", "--at", at]));
        let totals = (plan["totals"]["delete"].as_i64().unwrap(), plan["totals"]["untag"].as_i64().unwrap());
        assert_eq!(totals, expected, "{at}: {plan}");
    }
    let plan = document(&cli.run(&["plan", "-o", "json", "--repository", ".*/web", "--at", "2026-06-01"]));
    assert_eq!(plan["repositories"].as_array().unwrap().len(), 1);
    assert_eq!(plan["repositories"][0]["repository"], "team/web");
    assert_eq!(fake.mutating_requests(), [], "a plan only asks");
}

#[test]
fn a_run_says_beforehand_that_nothing_can_be_deleted() {
    for (options, words) in [
        (FakeRegistry::options(Personality::V2_8).delete_disabled(), "REGISTRY_STORAGE_DELETE_ENABLED=true"),
        (FakeRegistry::options(Personality::V3_1).readonly(), "read-only"),
    ] {
        let fake = options.start();
        fake.push("team/app", "pr-1", &image("gone", "2026-01-01"));
        let cli = cli(&fake, "");
        let said = cli.run(&["run"]);
        assert_eq!(said.code, 1, "{}", said.err);
        assert!(said.err.contains(words), "{}", said.err);
        assert_eq!(fake.requests().iter().filter(|one| one.path.contains("/manifests/pr-1")).count(), 0);
        let said = cli.run(&["plan"]);
        assert_eq!(said.code, 0, "a plan needs no deletion: {}", said.err);
    }
}

#[test]
fn a_run_in_mode_plan_deletes_nothing_and_says_so() {
    let (fake, _) = world();
    let config = format!(
        "registries: [{{ name: main, url: '{}' }}]\npolicies:\n- name: apps\n  repositories: '.*'\n\
         \x20 rules: [{{ name: prs, tags: 'pr-.*', keep: none }}]\n",
        fake.url()
    );
    let said = Cli::new(&config).run(&["run"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("nothing was deleted, because the mode is plan"), "{}", said.out);
    assert_eq!(fake.mutating_requests(), []);
}

#[test]
fn a_limit_ends_with_3_and_an_override_with_0() {
    let (fake, _) = world();
    let config = format!(
        "mode: enforce\nlimits: {{ max_deletions: 1 }}\nregistries: [{{ name: main, url: '{}' }}]\n\
         policies:\n- name: apps\n  repositories: 'team/.*'\n  rules: [{{ name: prs, tags: 'pr-.*', keep: none }}]\n",
        fake.url()
    );
    let cli = Cli::new(&config);
    let refused = "refused: main: 2 manifests would be deleted, and limits.max_deletions allows 1; look at it with \
        `regsweep plan`, then run once by hand with `regsweep run --override-limits`, or raise the limit\n";
    for command in ["plan", "run"] {
        let said = cli.run(&[command]);
        assert_eq!(said.code, 3, "{command}: {}", said.err);
        assert!(said.err.ends_with(refused), "{command}: {}", said.err);
        assert_eq!(fake.tags("team/app").len(), 3, "{command}");
    }
    let said = cli.run(&["run", "--override-limits"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(fake.tags("team/app").len(), 1);
}

#[test]
fn no_secret_is_ever_shown() {
    const PASSWORD: &str = "correct-horse-battery";
    // echo -n ann:correct-horse-battery | base64
    const PAIR: &str = "YW5uOmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==";
    let auth = ", auth: { basic: { username: ann, password: { env: PASSWORD } } }";
    for (locked, code) in [
        (Auth::basic("ann", PASSWORD), 0),
        (Auth::bearer("ann", PASSWORD), 0),
        (Auth::basic("ann", "other"), 1),
        (Auth::bearer("ann", "other"), 1),
    ] {
        let fake = FakeRegistry::options(Personality::V3_1).auth(locked.clone()).start();
        fake.push("team/app", "pr-1", &image("gone", "2026-01-01"));
        let cli = cli(&fake, auth).env("PASSWORD", PASSWORD).env("RUST_LOG", "trace");
        let mut all = String::new();
        for arguments in [
            &["plan"][..],
            &["ls"],
            &["explain", "team/app:pr-1"],
            &["run", "--log-format", "json", "-o", "json"],
        ] {
            let said = cli.run(arguments);
            assert_eq!(said.code, code, "{locked:?} {arguments:?}: {}", said.err);
            all += &(said.out + &said.err);
        }
        assert!(all.contains("TRACE") || all.contains("DEBUG"), "there are logs to look through");
        for secret in [PASSWORD, PAIR, "token-1", "token-2", "token-3"] {
            assert!(!all.contains(secret), "{secret} is shown with {locked:?}");
        }
    }
}
