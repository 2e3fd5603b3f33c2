//! Commands whose output is no longer read, as before `head`.

use std::fs::File;
use std::process::Stdio;

use crate::support::cli::Cli;
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::Image;

/// Two registries with something to delete in each.
fn two_registries() -> ([FakeRegistry; 2], Cli) {
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
fn read_only_commands_end_quietly_when_the_pipe_closes() {
    let ([first, second], cli) = two_registries();
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
        let output = cli.run_into(closed(), arguments);
        // As a shell shows an end by SIGPIPE.
        assert_eq!((output.code, output.err.as_str()), (141, ""), "{arguments:?}");
        if arguments[0] == "ls" {
            assert_eq!(second.requests().len(), before, "the next registry is not asked any more");
        }
    }
}

#[test]
fn changing_commands_finish_when_the_pipe_closes() {
    let (registries, cli) = two_registries();
    let output = cli.run_into(closed(), &["run"]);
    assert_eq!((output.code, output.err.contains("panicked")), (0, false), "{}", output.err);
    for fake in &registries {
        assert_eq!(fake.tags("team/app").into_keys().collect::<Vec<_>>(), ["v1"]);
    }
    let output = cli.run_into(closed(), &["undo", "1"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(registries[0].tags("team/app").len(), 2);
}

#[test]
fn output_that_cannot_be_written_is_an_error_printed_once() {
    let (_registries, cli) = two_registries();
    for arguments in [&["check"][..], &["ls"], &["plan", "--output", "json"], &["run"]] {
        let output = cli.run_into(File::options().write(true).open("/dev/full").unwrap(), arguments);
        assert_eq!(output.code, 1, "{arguments:?}: {}", output.err);
        let complaint = "error: cannot write to standard output: No space left on device";
        assert_eq!(output.err.matches(complaint).count(), 1, "{arguments:?}: {}", output.err);
    }
}
