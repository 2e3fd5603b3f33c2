//! Names and filters in the arguments of commands: they report what does not exist.

use serde_json::{Value, json};

use crate::support::cli::{Cli, CliOutput};
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::{Content, Image};

fn image(name: &str) -> Content {
    Image::new(name).created("2026-01-01T00:00:00Z").build()
}

/// Registries `main`, with `team/app`, and `other`, with `team/web` and `lone`, which no policy claims.
fn two_registries() -> ([FakeRegistry; 2], Cli) {
    let registries = [(); 2].map(|()| FakeRegistry::start(Personality::V3_1));
    for (registry, repository) in [(0, "team/app"), (1, "team/web"), (1, "lone")] {
        for tag in ["pr-1", "pr-2", "v1"] {
            registries[registry].push(repository, tag, &image(tag));
        }
    }
    let [main, other] = registries.each_ref().map(FakeRegistry::url);
    let gc = "gc: { schedule: '0 0 29 2 *', cache: none, command: { before: ['true'], run: ['true'], after: ['true'] } }";
    let cli = Cli::new(&format!(
        "mode: enforce\nprotect: {{ at_least: 0 }}\nlimits: {{ max_percent: 100 }}\nregistries:\n\
         - {{ name: main, url: '{main}', {gc} }}\n- {{ name: other, url: '{other}' }}\n\
         policies: [{{ name: a, repositories: 'team/.*', rules: [{{ name: prs, tags: 'pr-.*', keep: none }}] }}]\n"
    ));
    (registries, cli)
}

/// The lines on standard error that are no log.
fn complaints(output: &CliOutput) -> Vec<&str> {
    output.err.lines().filter(|line| line.starts_with("error: ")).collect()
}

#[test]
fn filter_that_matches_nothing_is_named() {
    let (_registries, cli) = two_registries();
    for command in ["plan", "ls", "run"] {
        let check = |filters: &[&str], expected: &[&str]| {
            let filters = filters.iter().flat_map(|filter| ["--repository", filter]);
            let output = cli.run(&[command].into_iter().chain(filters).collect::<Vec<_>>());
            assert_eq!(output.code, i32::from(!expected.is_empty()), "{command}: {}", output.err);
            let complaints = complaints(&output);
            assert_eq!(complaints.len(), expected.len(), "{command}: {}", output.err);
            for (complaint, filter) in complaints.iter().zip(expected) {
                assert!(complaint.contains(&format!("no repository matches `{filter}`")), "{complaint}");
                assert!(complaint.contains("`regsweep ls` lists the repositories"), "{complaint}");
            }
        };
        check(&["team/ap"], &["team/ap"]);
        // One that is in one of the registries is enough, whether a policy claims it or not.
        check(&["team/app"], &[]);
        check(&["lone"], &[]);
        check(&["team/.*", "tema/.*", "lone", "alone"], &["tema/.*", "alone"]);
    }
    // In JSON the documents are there all the same.
    let output = cli.run(&["plan", "--repository", "nothing", "--output", "json"]);
    assert_eq!((output.code, output.out.lines().count()), (1, 2), "{}", output.err);
    let output = cli.run(&["gc", "--registry", "other", "--output", "json"]);
    assert_eq!((output.code, output.out.lines().count()), (1, 1), "{}", output.err);
    let output = cli.run(&["gc", "--registry", "main", "--registry", "other"]);
    assert!(complaints(&output).iter().any(|one| one.starts_with("error: other: ")), "{}", output.err);
    let output = cli.run(&["gc", "--registry", "main", "--registry", "other", "--output", "json"]);
    assert!(output.out.lines().any(|line| line.contains(r#""registry":"other""#)), "{}", output.out);
    // That nothing was done somewhere, or at some time, is an answer.
    for filter in [["--repository", "nothing"], ["--since", "2126-01-01"]] {
        let output = cli.run(&["history", filter[0], filter[1]]);
        assert_eq!((output.code, output.out.as_str()), (0, ""), "{}", output.err);
        assert!(output.err.starts_with("no matching runs"), "{}", output.err);
    }
}

#[test]
fn filter_is_not_reported_if_a_registry_cannot_be_read() {
    let (_registries, _) = two_registries();
    let cli = Cli::new(
        "registries: [{ name: main, url: 'http://127.0.0.1:1' }]\n\
         policies: [{ name: a, repositories: '.*', rules: [{ name: all, tags: '.*', keep: all }] }]\n",
    );
    let output = cli.run(&["ls", "--repository", "team/app"]);
    assert_eq!((output.code, output.err.contains("no repository matches")), (1, false), "{}", output.err);
}

#[test]
fn twelve_characters_of_a_digest_are_enough() {
    let (registries, cli) = two_registries();
    let table = cli.run(&["ls", "--registry", "main"]).out;
    let [first, second] = ["pr-1", "pr-2"].map(|tag| image(tag).digest);
    let short = |digest: &str| digest[7..19].to_owned();
    assert!(table.contains(&short(&first)), "{table}");
    for name in [short(&first), format!("sha256:{}", short(&first)), first[7..40].to_owned()] {
        let output = cli.run(&["explain", &format!("main/team/app@{name}"), "--output", "json"]);
        let document: Value = serde_json::from_str(&output.out).unwrap();
        assert_eq!(
            (output.code, document["digest"].as_str()),
            (0, Some(first.as_str())),
            "{name}: {}",
            output.err
        );
    }
    let output = cli.run(&["explain", "main/team/app@000000000000"]);
    assert!(output.code == 1 && output.err.contains("no such image"), "{}", output.err);
    let output = cli.run(&["explain", &format!("main/team/app@{}", &first[7..18])]);
    assert!(output.code == 2 && output.err.contains("12 digits are enough"), "{}", output.err);

    let there = || registries[0].tags("team/app").into_keys().collect::<Vec<_>>();
    assert_eq!(cli.run(&["run", "--registry", "main"]).code, 0);
    assert_eq!(there(), ["v1"]);
    let output = cli.run(&["undo", "1", "team/app@000000000000"]);
    assert!(
        output.code == 1 && output.err.contains("run 1 deleted no team/app@000000000000"),
        "{}",
        output.err
    );
    // It has its document as one that is named by its tag has, or by its whole digest.
    for name in ["team/app@000000000000", "team/app:v9"] {
        let output = cli.run(&["undo", "1", name, "--output", "json"]);
        let document: Value =
            serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{name}: {error}"));
        let error = document["error"].as_str().unwrap();
        assert_eq!(
            (output.code, &document["registry"], &document["results"]),
            (1, &json!("main"), &json!([]))
        );
        assert!(error.contains(name), "{error}");
    }
    assert_eq!(there(), ["v1"]);
    let output = cli.run(&["undo", "1", &format!("team/app@{}", short(&second))]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(there(), ["pr-2", "v1"]);
}
