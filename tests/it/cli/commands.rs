//! Commands of the command line: what they print, and their exit codes.

use super::harness::{cli, document, image, sample_registry};
use crate::support::cli::Cli;
use crate::support::fake_registry::{Auth, FakeRegistry, Personality};

#[test]
fn usage_errors_exit_with_2_and_send_no_request() {
    let (fake, cli) = sample_registry();
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
        let output = cli.run(arguments);
        assert_eq!((output.code, output.out.as_str()), (2, ""), "{arguments:?}: {}", output.err);
        assert!(output.err.contains(words), "{arguments:?}: {}", output.err);
    }
    assert_eq!(fake.requests(), [], "no request was sent");
}

#[test]
fn registry_option_that_is_not_configured_names_the_configured_ones() {
    let (fake, cli) = sample_registry();
    for command in ["plan", "run", "ls"] {
        let output = cli.run(&[command, "--registry", "mian"]);
        assert_eq!(output.code, 2, "{command}");
        assert_eq!(output.err, "error: the configuration has no registry mian; it has main\n", "{command}");
    }
    assert_eq!(fake.requests(), [], "no request was sent");
}

#[test]
fn explain_finds_an_image_or_exits_with_1() {
    let (fake, cli) = sample_registry();
    let host = fake.host();
    for image in ["team/app:pr-1".to_owned(), "main/team/app:pr-1".into(), format!("{host}/team/app:pr-1")] {
        let output = cli.run(&["explain", &image]);
        assert_eq!(output.code, 0, "{}", output.err);
        assert!(output.out.contains("delete") && output.out.contains("[expired]"), "{}", output.out);
    }
    let nothing = format!("team/app@sha256:{}", "0".repeat(64));
    for image in ["team/app:v2", "team/none:v1", nothing.as_str()] {
        let output = cli.run(&["explain", image]);
        assert_eq!((output.code, output.out.as_str()), (1, ""), "{image}: {}", output.err);
        assert!(output.err.contains("has no such image"), "{}", output.err);
    }
}

#[test]
fn run_prints_its_number_and_the_undo_command() {
    let (fake, cli) = sample_registry();
    let tags = fake.tags("team/app");
    let output = cli.run(&["run"]);
    let line = output.out.lines().find(|line| line.contains("this was run 1")).unwrap();
    let (told, command) = line.split_once(": regsweep ").unwrap();
    assert_eq!(told, "main: this was run 1; to restore what it deleted");
    assert_ne!(fake.tags("team/app"), tags);
    let words: Vec<String> = command.split(' ').map(|word| cli.absolute(word)).collect();
    let output = cli.run_bare(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.code, 0, "{command}: {}", output.err);
    assert_eq!(fake.tags("team/app"), tags);
    // A run that did nothing has nothing to undo.
    let output = cli.run(&["run"]);
    assert!(output.out.ends_with("main: this was run 2\n"), "{}", output.out);
}

#[test]
fn plan_at_another_time() {
    let (fake, cli) = sample_registry();
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
    assert_eq!(fake.mutating_requests(), [], "a plan only reads");
}

#[test]
fn run_fails_first_if_deletion_is_disabled() {
    for (options, words) in [
        (FakeRegistry::options(Personality::V2_8).delete_disabled(), "REGISTRY_STORAGE_DELETE_ENABLED=true"),
        (FakeRegistry::options(Personality::V3_1).readonly(), "read-only"),
    ] {
        let fake = options.start();
        fake.push("team/app", "pr-1", &image("gone", "2026-01-01"));
        let cli = cli(&fake, "");
        let output = cli.run(&["run"]);
        assert_eq!(output.code, 1, "{}", output.err);
        assert!(output.err.contains(words), "{}", output.err);
        assert_eq!(fake.requests().iter().filter(|one| one.path.contains("/manifests/pr-1")).count(), 0);
        let output = cli.run(&["plan"]);
        assert_eq!(output.code, 0, "a plan needs no deletion: {}", output.err);
    }
}

#[test]
fn run_in_mode_plan_deletes_nothing() {
    let (fake, _) = sample_registry();
    let config = format!(
        "registries: [{{ name: main, url: '{}' }}]\npolicies:\n- name: apps\n  repositories: '.*'\n\
         \x20 rules: [{{ name: prs, tags: 'pr-.*', keep: none }}]\n",
        fake.url()
    );
    let output = Cli::new(&config).run(&["run"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.out.contains("nothing was deleted, because the mode is plan"), "{}", output.out);
    assert_eq!(fake.mutating_requests(), []);
}

#[test]
fn limit_exits_with_3_and_an_override_with_0() {
    let (fake, _) = sample_registry();
    let config = format!(
        "mode: enforce\nlimits: {{ max_deletions: 1 }}\nregistries: [{{ name: main, url: '{}' }}]\n\
         policies:\n- name: apps\n  repositories: 'team/.*'\n  rules: [{{ name: prs, tags: 'pr-.*', keep: none }}]\n",
        fake.url()
    );
    let cli = Cli::new(&config);
    let refused = "refused: main: 2 manifests would be deleted, and limits.max_deletions allows 1; review the \
        plan with `regsweep plan`, then run `regsweep run --override-limits` once, or raise the limit\n";
    for command in ["plan", "run"] {
        let output = cli.run(&[command]);
        assert_eq!(output.code, 3, "{command}: {}", output.err);
        assert!(output.err.ends_with(refused), "{command}: {}", output.err);
        assert_eq!(fake.tags("team/app").len(), 3, "{command}");
    }
    let output = cli.run(&["run", "--override-limits"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(fake.tags("team/app").len(), 1);
}

#[test]
fn secrets_are_never_shown() {
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
            let output = cli.run(arguments);
            assert_eq!(output.code, code, "{locked:?} {arguments:?}: {}", output.err);
            all += &(output.out + &output.err);
        }
        assert!(all.contains("TRACE") || all.contains("DEBUG"), "the output contains logs");
        for secret in [PASSWORD, PAIR, "token-1", "token-2", "token-3"] {
            assert!(!all.contains(secret), "{secret} is shown with {locked:?}");
        }
    }
}
