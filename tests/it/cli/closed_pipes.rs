//! Commands whose output is no longer read, as before `head`.

use std::fs::File;
use std::process::Stdio;

use crate::support::cli::Cli;
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::Image;

/// Two registries with something to delete in each.
fn world() -> ([FakeRegistry; 2], Cli) {
    let registries = [(); 2].map(|()| {
        let fake = FakeRegistry::start(Personality::V3_1);
        for tag in ["pr-1", "v1"] {
            fake.push("team/app", tag, &Image::new(tag).created("2026-01-01T00:00:00Z").build());
        }
        fake
    });
    let [first, second] = registries.each_ref().map(FakeRegistry::url);
    let cli = Cli::new(&format!(
        "mode: enforce\nprotect: {{ at_least: 0 }}\nlimits: {{ max_percent: 100 }}\nregistries:\n\
         - {{ name: first, url: '{first}' }}\n- {{ name: second, url: '{second}' }}\n\
         policies: [{{ name: a, repositories: '.*', rules: [{{ name: prs, tags: 'pr-.*', keep: none }}] }}]\n"
    ));
    (registries, cli)
}

/// The writing end of a pipe without a reader.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn what_only_looks_ends_at_once_and_quietly_as_other_tools_do() {
    let ([first, second], cli) = world();
    assert_eq!(cli.run(&["run"]).code, 0);
    for arguments in [
        &["check"][..],
        &["plan"],
        &["plan", "--output", "json"],
        &["plan", "--registry", "first", "--output", "json"],
        &["ls"],
        &["ls", "--output", "json"],
        &["explain", "first/team/app:v1"],
        &["explain", "first/team/app:v1", "--output", "json"],
        &["history"],
        &["history", "--output", "json"],
    ] {
        let (before, _) = (second.requests().len(), first.requests());
        let said = cli.run_into(closed(), arguments);
        // As a shell shows an end by SIGPIPE.
        assert_eq!((said.code, said.err.as_str()), (141, ""), "{arguments:?}");
        if arguments[0] == "ls" {
            assert_eq!(second.requests().len(), before, "the next registry is not asked any more");
        }
    }
}

#[test]
fn what_changes_something_goes_on_to_its_end() {
    let (registries, cli) = world();
    let said = cli.run_into(closed(), &["run"]);
    assert_eq!((said.code, said.err.contains("panicked")), (0, false), "{}", said.err);
    for fake in &registries {
        assert_eq!(fake.tags("team/app").into_keys().collect::<Vec<_>>(), ["v1"]);
    }
    let said = cli.run_into(closed(), &["undo", "1"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(registries[0].tags("team/app").len(), 2);
}

#[test]
fn what_cannot_be_written_is_no_success_and_is_said_once() {
    let (_registries, cli) = world();
    for arguments in [&["check"][..], &["ls"], &["plan", "--output", "json"], &["run"]] {
        let said = cli.run_into(File::options().write(true).open("/dev/full").unwrap(), arguments);
        assert_eq!(said.code, 1, "{arguments:?}: {}", said.err);
        let complaint = "error: cannot write to standard output: No space left on device";
        assert_eq!(said.err.matches(complaint).count(), 1, "{arguments:?}: {}", said.err);
    }
}
