//! The JSON documents of commands, as docs/json.md promises them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::harness::{cli, document, image, sample_registry, size};
use crate::support::cli::{Cli, CliOutput};
use crate::support::fake_registry::{Auth, FakeRegistry, Personality};
use crate::support::image::Index;

#[test]
fn plan_document_is_as_documented() {
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
    let output = cli(&fake, "").run(&["plan", "-o", "json", "--at", "2026-06-01"]);
    assert_eq!(output.code, 1, "a repository failed: {}", output.err);
    let mut plan = document(&output);
    let error = plan["failures"][0]["error"].take();
    assert!(error.as_str().unwrap().contains("/v2/team/odd/manifests/pr-3: 403"), "{error}");
    let manifests = plan["repositories"][0]["manifests"].as_array_mut().unwrap();
    for reason in manifests.iter_mut().flat_map(|one| one["reasons"].as_array_mut().unwrap()) {
        assert!(reason["text"].take().as_str().is_some_and(|text| !text.is_empty()));
    }
    // The scan was just now, whatever `--at` says.
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
fn run_document_lists_deletions() {
    let (fake, cli) = sample_registry();
    let output = cli.run(&["run", "-o", "json", "--repository", "team/app"]);
    assert_eq!(output.code, 0, "{}", output.err);
    let run = document(&output);
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
    assert_eq!(run["collection"], Value::Null, "no `gc` is configured");
    for empty in ["skipped", "refusals", "failures"] {
        assert_eq!(run[empty], json!([]), "{empty}");
    }
    assert_eq!(fake.tags("team/web").len(), 3, "the repository was not selected");
    assert!(!fake.requests().iter().any(|one| one.path.contains("team/web") || one.path.contains("other")));
}

/// The documents, one per line.
fn documents(output: &CliOutput) -> Vec<Value> {
    output.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn keys(document: &Value) -> Vec<&String> {
    document.as_object().unwrap().keys().collect()
}

/// Registries `main`, which works, `locked`, which refuses every request, and `gone`, which does not answer.
fn three_registries() -> (FakeRegistry, FakeRegistry, Cli) {
    let (fake, _) = sample_registry();
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
fn every_registry_has_a_document_also_one_that_fails() {
    let (_fake, _locked, cli) = three_registries();
    for command in ["plan", "ls", "run"] {
        let output = cli.run(&[command, "-o", "json"]);
        assert_eq!(output.code, 1, "{}", output.err);
        let all = documents(&output);
        let shown: Vec<_> =
            all.iter().map(|one| (one["registry"].clone(), one["error_kind"].clone())).collect();
        let expected = [("locked", json!("unauthorized")), ("gone", json!("connect")), ("main", Value::Null)];
        assert_eq!(shown, expected.map(|(name, kind)| (json!(name), kind)), "{command}");
        for one in &all {
            assert_eq!(keys(one), keys(&all[2]), "{command}: all have the same fields");
            assert_eq!(one["error"].is_string(), one["registry"] != "main", "{command}");
        }
        if command == "run" {
            assert_eq!((&all[0]["outcome"], &all[0]["applied"]), (&json!("failed"), &json!(false)));
            // Each `run` is the number in the history.
            for one in &all {
                let past = document(&cli.run(&["history", &one["run"].to_string(), "-o", "json"]));
                assert_eq!(past["runs"][0]["registry"], one["registry"], "{past}");
            }
        }
        // The document of a single registry is printed while the plan is made.
        let output = cli.run(&[command, "--registry", "locked", "-o", "json"]);
        assert_eq!(keys(&document(&output)), keys(&all[2]), "{command}");
    }
    let output = cli.run(&["gc", "-o", "json"]);
    let failed = document(&output);
    assert_eq!(
        (output.code, &failed["registry"], &failed["outcome"]),
        (1, &json!("locked"), &json!("failed"))
    );
    assert!(failed["error"].as_str().unwrap().contains("401"), "{failed}");
    for (image, kind) in [("locked/team/app:v1", "unauthorized"), ("main/team/app:v7", "no_such_image")] {
        let output = cli.run(&["explain", image, "-o", "json"]);
        let failed = document(&output);
        assert_eq!((output.code, &failed["error_kind"]), (1, &json!(kind)), "{failed}");
        assert_eq!(
            (&failed["repository"], failed["error"].is_string()),
            (&json!("team/app"), true),
            "{failed}"
        );
    }
    let output = cli.run(&["undo", "1", "-o", "json"]);
    let failed = document(&output);
    assert_eq!((output.code, &failed["run"], &failed["results"]), (1, &json!(1), &json!([])), "{failed}");
    assert!(failed["error"].is_string(), "{failed}");
}

#[test]
fn missing_required_state_is_in_every_document() {
    let (fake, locked, cli) = three_registries();
    for command in ["plan", "ls"] {
        let output = cli.run(&[command, "-o", "json", "--require-state"]);
        assert_eq!(output.code, 1);
        let all = documents(&output);
        assert_eq!(all.len(), 3, "{command}");
        for one in all {
            assert_eq!(
                (&one["scan_history"], &one["error_kind"]),
                (&json!("none"), &json!("state")),
                "{one}"
            );
        }
    }
    let output = cli.run(&["explain", "main/team/app:v1", "-o", "json", "--require-state"]);
    assert_eq!((output.code, &document(&output)["error_kind"]), (1, &json!("state")));
    assert_eq!((fake.requests(), locked.requests()), (vec![], vec![]), "no request was sent");
}

#[test]
fn unusable_state_is_in_every_document() {
    let (fake, locked, cli) = three_registries();
    let file = cli.absolute("FOLDER/regsweep.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    // The state directory is a file.
    std::fs::write(&file, format!("state_dir: {file}\n{text}")).unwrap();
    for (command, names) in [("run", &["locked", "gone", "main"][..]), ("gc", &["locked"])] {
        let output = cli.run(&[command, "-o", "json"]);
        let all = documents(&output);
        let shown: Vec<_> = all.iter().map(|one| one["registry"].as_str().unwrap()).collect();
        assert_eq!((output.code, shown.as_slice()), (1, names), "{command}");
        for one in &all {
            let error = one["error"].as_str().unwrap();
            assert!(error.contains("cannot be used") && one["outcome"] == "failed", "{one}");
            assert_eq!(one["error_kind"].as_str(), (command == "run").then_some("state"), "{one}");
        }
    }
    let output = cli.run(&["run", "--registry", "main", "-o", "json"]);
    assert_eq!((output.code, document(&output)["run"].is_null()), (1, true));
    assert_eq!(output.err.matches("File exists").count(), 1, "the error is printed once: {}", output.err);
    assert_eq!((fake.requests(), locked.requests()), (vec![], vec![]), "no request was sent");
}
