//! A plan changes nothing, and a run deletes exactly what the plan lists.

use std::collections::BTreeSet;

use serde_json::json;

use super::harness::{assert_all_pullable, image, stored_manifests, sweeper};
use crate::support::image::{Artifact, Index, signature_tag};
use crate::support::real_registry::RealRegistry;

/// A registry with something to keep and something to delete in several repositories.
fn registry() -> RealRegistry {
    let registry = RealRegistry::start();
    let mut store = registry.store();
    for repository in ["app", "team/web", "team/web/nested"] {
        let shared = image(&format!("{repository} shared"));
        let expired = image(&format!("{repository} expired"));
        store.write(repository, &["keep"], &shared);
        store.write(repository, &["old-index"], &Index::oci().child(&shared).child(&expired).build());
        for number in 0..3 {
            let tag = format!("old-{number}");
            store.write(repository, &[&tag], &image(&format!("{repository} {number}")));
        }
        let signature = Artifact::signature(&expired.digest).build();
        store.write(repository, &[&signature_tag(&expired.digest)], &signature);
    }
    registry
}

#[test]
fn read_only_commands_send_no_request_that_changes_a_registry() {
    let registry = registry();
    let before = registry.store().contents();
    let commands: [&[&str]; 7] = [
        &["check"],
        &["plan"],
        &["plan", "--all", "--output", "json"],
        &["ls"],
        &["ls", "--output", "json"],
        &["explain", "team/web:old-index"],
        &["explain", "app:keep", "--output", "json"],
    ];
    for command in commands {
        let ran = sweeper(&registry).run(command).exits(0);
        assert!(!ran.stdout.is_empty(), "{command:?}");
    }
    sweeper(&registry).mode_plan().run(&["run"]).exits(0);
    sweeper(&registry).mode_plan().run(&["run", "--override-limits"]).exits(0);
    assert_eq!(registry.mutating_requests(), []);
    assert_eq!(registry.store().contents(), before);
}

#[test]
fn run_deletes_exactly_what_the_plan_says() {
    let registry = registry();
    let before = stored_manifests(&registry);
    let plan = sweeper(&registry).run(&["plan", "--output", "json"]).exits(0);
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    let gone: BTreeSet<String> = before.difference(&stored_manifests(&registry)).cloned().collect();
    assert_eq!(gone.len(), 18);
    assert_eq!(run.deleted(), gone);
    assert_eq!(plan.to_delete(), gone);
    assert_eq!(plan.kept(), stored_manifests(&registry));
    assert_eq!((&run.json()["skipped"], &run.json()["failures"]), (&json!([]), &json!([])));
    assert_eq!(plan.json()["totals"]["delete"], 18);
    assert_all_pullable(&registry);
}

#[test]
fn second_run_finds_nothing_to_do() {
    let registry = registry();
    sweeper(&registry).run(&["run"]).exits(0);
    let (before, sent) = (registry.store().contents(), super::harness::deletions(&registry));
    let plan = sweeper(&registry).run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.to_delete(), BTreeSet::new());
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), BTreeSet::new());
    assert_eq!(registry.store().contents(), before);
    assert_eq!(super::harness::deletions(&registry), sent);
}

#[test]
fn run_deletes_only_in_selected_repositories() {
    let registry = registry();
    let before = registry.store().contents();
    sweeper(&registry).run(&["run", "--repository", "team/web"]).exits(0);
    let after = registry.store().contents();
    for repository in ["app", "team/web/nested"] {
        assert_eq!(after[repository], before[repository]);
    }
    assert_eq!(after["team/web"].tags.keys().collect::<Vec<_>>(), ["keep"]);
}
