//! What operators see: the output of each command and every help text, so that a change of wording shows in review.
//!
//! Images are of 2020, and plans are made as of 2020, so that the date of today changes nothing but what `redact` hides.

use regex::Regex;

use crate::support::cli::{Cli, CliOutput};
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::{Artifact, Content, Image, Index, signature_tag};

fn image(name: &str, created: &str) -> Content {
    Image::new(name).created(format!("{created}T00:00:00Z")).build()
}

/// A registry with one of each kind of image, and a configuration with rules for it.
pub(super) fn filled() -> (FakeRegistry, Cli) {
    let registry = FakeRegistry::start(Personality::V3_1);
    for (tag, created) in [
        ("pr-1", "2020-01-01"),
        ("pr-2", "2020-02-01"),
        ("pr-3", "2020-05-25"),
        ("v1.0.0", "2020-03-01"),
        ("v1.0.1", "2020-03-05"),
        ("v1.1.0", "2020-04-01"),
        ("latest", "2020-04-01"),
    ] {
        registry.push("team/app", tag, &image(&format!("app {tag}"), created));
    }
    let shared = image("shared", "2020-02-02");
    for tag in ["pr-rename-the-modules-of-the-collection", "pr-rename-the-modules-of-the-run", "experiment"] {
        registry.push("team/app", tag, &shared);
    }
    let renamed = image("renamed", "2020-02-03");
    for number in 1..=6 {
        registry.push("team/app", &format!("pr-rename-the-modules-of-the-registry-{number}"), &renamed);
    }
    registry.add_dangling_tag("team/app", "lost");

    let index = Index::oci()
        .child(&image("amd64", "2020-01-05"))
        .child(&Image::new("arm64").created("2020-01-05T00:00:00Z").platform("linux", "arm64").build())
        .build();
    registry.push("team/web", "pr-10", &index);
    registry.push("team/web", &signature_tag(&index.digest), &Artifact::signature(&index.digest).build());
    for day in 1..=5 {
        let created = format!("2020-05-0{day}");
        registry.push("team/web", &format!("nightly-{day}"), &image(&created, &created));
    }
    registry.push("team/chart", "undated", &Artifact::helm("chart").build());
    registry.push("tools/builder", "pr-1", &image("builder", "2020-01-01"));
    registry.push("unclaimed", "v1", &image("unclaimed", "2020-01-01"));

    let cli = Cli::new(&format!(
        "\
mode: enforce
schedule: '0 3 * * *'
protect: {{ tags: [latest], at_least: 1, newer_than: 1d }}
limits: {{ max_percent: 100 }}
registries:
  - name: main
    url: {}
    gc:
      cache: none
      command: {{ before: ['true'], run: ['true'], after: ['true'] }}
policies:
  - name: apps
    repositories: 'team/.*'
    rules:
      - {{ name: pull-requests, tags: 'pr-.*', keep: {{ newer_than: 14d }} }}
      - {{ name: releases, tags: 'v.*', keep: {{ versions: {{ newest: 1, per: minor }} }} }}
      - {{ name: nightly, tags: 'nightly-.*', keep: {{ newest: 1, daily: 3 }} }}
      - {{ name: charts, tags: 'undated', keep: {{ newer_than: 14d }} }}
  - name: tools
    mode: plan
    repositories: 'tools/.*'
    rules: [{{ name: all, tags: '.*', keep: none }}]
",
        registry.url()
    ));
    // Logs are for other tests: they carry times.
    (registry, cli.env("RUST_LOG", "off").env("PATH", "/usr/bin:/bin"))
}

/// Hides what differs between two runs of a test: times of today, ages in years, ports, durations.
fn redact(text: &str) -> String {
    [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\b20(2[5-9]|[3-9]\d)-\d\d-\d\d", "YYYY-MM-DD"),
        (r"\d\d:\d\d:\d\d", "hh:mm:ss"),
        (r"\b\d{4}d\b", "NNNNd"),
        (r"\b\d+\.\d s\b", "N.N s"),
        (r"\b\d+(ms|s) ago\b", "Ns ago"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (pattern, hidden)| {
        Regex::new(pattern).unwrap().replace_all(&text, *hidden).into_owned()
    })
}

/// Compares text with the snapshot of this name, which a change of wording has to update.
pub(super) fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name.replace(' ', "-"), redact(text)));
}

/// Compares both streams and the exit code with the snapshot of this name.
fn check(name: &str, output: &CliOutput) {
    let CliOutput { code, out, err } = output;
    let streams = [("stdout", out), ("stderr", err)].into_iter().filter(|(_, text)| !text.is_empty());
    let streams = streams.map(|(stream, text)| format!("--- {stream}\n{text}")).collect::<String>();
    assert_snapshot(name, &format!("{streams}--- exit code {code}"));
}

#[test]
fn plan() {
    let (_registry, cli) = filled();
    check("plan", &cli.run(&["plan", "--at", "2020-06-01"]));
    check("plan all", &cli.run(&["plan", "--all", "--at", "2020-06-01"]));
    check("plan that a filter empties", &cli.run(&["plan", "--repository", "team/ap"]));
    let nothing = cli.run(&["plan", "--at", "2020-06-01", "--repository", "team/chart"]);
    check("plan with nothing to do", &nothing);
}

#[test]
fn plan_that_a_limit_refuses() {
    let (registry, _) = filled();
    let cli = Cli::new(&format!(
        "limits: {{ max_deletions: 2, max_percent: 50 }}\nregistries: [{{ name: main, url: '{}' }}]\n\
         policies: [{{ name: all, repositories: '.*', rules: [{{ name: prs, tags: 'pr-.*', keep: none }}] }}]\n",
        registry.url()
    ));
    let cli = cli.env("RUST_LOG", "off");
    check("plan refused", &cli.run(&["plan", "--at", "2020-06-01", "--repository", "team/app"]));
}

#[test]
fn explain() {
    let (_registry, cli) = filled();
    for (name, image) in [
        ("deleted", "team/app:pr-1"),
        ("kept", "team/app:v1.1.0"),
        ("shared", "team/app:experiment"),
        ("index", "team/web:pr-10"),
        ("calendar", "team/web:nightly-1"),
        ("undated", "team/chart:undated"),
        ("unclaimed", "unclaimed:v1"),
        ("in mode plan", "tools/builder:pr-1"),
        ("unknown", "team/app:pr-99"),
    ] {
        check(&format!("explain {name}"), &cli.run(&["explain", image, "--at", "2020-06-01"]));
    }
}

#[test]
fn ls() {
    let (_registry, cli) = filled();
    check("ls", &cli.run(&["ls"]));
}

#[test]
fn run_and_what_follows() {
    let (registry, cli) = filled();
    check("history without a state", &cli.run(&["history"]));
    // One repository at a time, so that the order of deletions is always the same.
    check("run", &cli.run(&["run", "--repository", "team/app"]));
    check("run of an index", &cli.run(&["run", "--repository", "team/web"]));
    check("history", &cli.run(&["history"]));
    check("undo", &cli.run(&["undo", "2", "team/web:pr-10"]));
    registry.push("team/app", "pr-1", &image("pushed again", "2020-06-01"));
    check("undo pushed again", &cli.run(&["undo", "1", "team/app:pr-1"]));
    check("undo again", &cli.run(&["undo", "1", "team/app:pr-1"]));
    check("undo unknown", &cli.run(&["undo", "7"]));
    check("history after undo", &cli.run(&["history", "1"]));
    check("explain restored", &cli.run(&["explain", "team/web:pr-10"]));
    check("gc", &cli.run(&["gc"]));
}

#[test]
fn gc_held_back() {
    let (registry, _) = filled();
    let cli = Cli::new(&format!(
        "mode: enforce\nschedule: '0 3 * * SUN'\nlimits: {{ max_percent: 100 }}\nregistries:\n\
         - {{ name: main, url: '{}', gc: {{ grace: 2d, cache: none, command: {{ before: ['true'], run: ['true'], after: ['true'] }} }} }}\n\
         policies: [{{ name: all, repositories: 'team/.*', rules: [{{ name: prs, tags: 'pr-1', keep: none }}] }}]\n",
        registry.url()
    ));
    let cli = cli.env("RUST_LOG", "off");
    check("run held back", &cli.run(&["run"]));
    check("gc held back", &cli.run(&["gc"]));
}

#[test]
fn check_of_configurations() {
    let (_registry, cli) = filled();
    check("check", &cli.run(&["check"]));
    check("check connect", &cli.run(&["check", "--connect"]));
    let cli = Cli::new(
        "\
mode: delete
schedule: '0 25 * * *'
timezone: Berlin
registry: [{ name: main, url: 'https://registry.example.com' }]
registries:
  - { name: main, url: 'registry.example.com', timeout: 30 }
  - { name: main, url: 'https://other.example.com', auth: { basic: { username: ann } } }
policies:
  - name: apps
    repositories: 'team/(.*'
    rules:
      - { name: prs, tags: 'pr-.*', keep: { newer_then: 14d } }
      - { name: none, tags: '.*', keep: {} }
",
    );
    check("check with errors", &cli.run(&["check"]));
    check("check of a missing file", &cli.run_bare(&["--config", "missing.yaml", "check"]));
}

#[test]
fn help() {
    let cli = Cli::new("");
    check("help", &cli.run_bare(&["--help"]));
    for command in ["check", "plan", "run", "gc", "serve", "health", "ls", "explain", "history", "undo"] {
        check(&format!("help {command}"), &cli.run_bare(&[command, "--help"]));
    }
    check("wrong usage", &cli.run_bare(&["plan", "--dry-run"]));
}
