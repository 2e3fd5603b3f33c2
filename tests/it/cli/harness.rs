//! A fake registry with a configuration, for the tests of commands and of their JSON documents.

use serde_json::Value;

use crate::support::cli::{Cli, CliOutput};
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::{Content, Image};

/// A fake registry with three repositories, and a configuration with a policy for two of them.
pub(super) fn sample_registry() -> (FakeRegistry, Cli) {
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

/// An image that was created on this day.
pub(super) fn image(name: &str, day: &str) -> Content {
    Image::new(name).created(format!("{day}T00:00:00Z")).build()
}

/// A configuration for this registry; `auth` is appended to its entry.
pub(super) fn cli(fake: &FakeRegistry, auth: &str) -> Cli {
    Cli::new(&format!(
        "mode: enforce\nlimits: {{ max_percent: 100 }}\nregistries: [{{ name: main, url: '{}'{auth} }}]\n\
         policies:\n- name: apps\n  repositories: 'team/.*'\n  rules:\n\
         \x20 - {{ name: prs, tags: 'pr-.*', keep: {{ newer_than: 14d }} }}\n",
        fake.url()
    ))
}

/// The only document that a command printed.
pub(super) fn document(output: &CliOutput) -> Value {
    assert_eq!(output.out.lines().count(), 1, "one document a line: {}", output.out);
    serde_json::from_str(&output.out).unwrap()
}

/// The bytes of a manifest and its blobs.
pub(super) fn size(content: &Content) -> usize {
    content.manifest.len() + content.blobs.iter().map(Vec::len).sum::<usize>()
}
