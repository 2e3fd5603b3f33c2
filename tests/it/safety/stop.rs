//! A run that is stopped or killed leaves the registry consistent, and the next run does the rest.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};

use serde_json::Value;

use super::harness::{
    OLD_TAGS_EXPIRE, assert_all_pullable, assert_holds, deletions, image, stored_manifests, sweeper,
};
use crate::support::holding_proxy::HoldingProxy;
use crate::support::image::{Artifact, Image, Index, signature_tag};
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::{ProgramOutput, Regsweep};

/// A registry with one image to keep and three families of four to delete, the oldest first.
fn registry() -> RealRegistry {
    let registry = RealRegistry::start();
    let mut store = registry.store();
    store.write("app", &["keep"], &image("kept"));
    for number in 0..3 {
        let image = |name: &str| Image::new(name).created(format!("202{number}-01-01T00:00:00Z")).build();
        let index = Index::oci().child(&image("one")).child(&image("two")).build();
        store.write("app", &[&format!("old-{number}")], &index);
        let signature = Artifact::signature(&index.digest).build();
        store.write("app", &[&signature_tag(&index.digest)], &signature);
    }
    registry
}

fn send(signal: &str, child: &Child) {
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn terminated_run_stops_between_two_deletions_and_the_next_completes_it() {
    let registry = registry();
    let proxy = HoldingProxy::before(&registry.host(), 3);
    let regsweep = Regsweep::new(&proxy.url(), OLD_TAGS_EXPIRE);
    let mut child = regsweep.spawn(&["run", "--output", "json"]);
    proxy.wait_until_held();
    send("TERM", &child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("stopping after the current deletion") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended without a word");
    }
    proxy.release();
    stderr.read_to_string(&mut line).unwrap();
    let run = ProgramOutput::from(child.wait_with_output().unwrap()).exits(1);
    // The third deletion was under way, and the fourth completes the index with its children.
    assert_eq!(run.deleted().len(), 4);
    assert_eq!(deletions(&registry).len(), 4);
    assert_eq!(stored_manifests(&registry).len(), 1 + 12 - 4);
    let json = run.json();
    assert_eq!(json["outcome"], "interrupted");
    assert!(json["cut_off"].as_str().unwrap().contains("the next run does the rest"), "{json}");
    let skipped = json["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 8);
    let stopped = |skipped: &Value| skipped["why"] == "the run was stopped";
    assert!(skipped.iter().all(stopped), "{json}");
    let next = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(next.deleted().len(), 8);
    assert_holds(&registry, "app", &[("keep", &image("kept"))]);
    assert_all_pullable(&registry);
}

#[test]
fn killed_run_leaves_kept_images_complete() {
    let registry = registry();
    let proxy = HoldingProxy::before(&registry.host(), 6);
    let regsweep = Regsweep::new(&proxy.url(), OLD_TAGS_EXPIRE);
    let mut child = regsweep.spawn(&["run"]);
    proxy.wait_until_held();
    send("KILL", &child);
    assert_eq!(child.wait().unwrap().code(), None);
    let left = stored_manifests(&registry).len();
    assert_eq!(left, 1 + 12 - 5);
    assert_holds_at_least_what_is_kept(&registry);
    sweeper(&registry).run(&["run"]).exits(0);
    assert_holds_at_least_what_is_kept(&registry);
}

fn assert_holds_at_least_what_is_kept(registry: &RealRegistry) {
    let kept = image("kept");
    let held = registry.store().repository("app");
    assert_eq!(held.tags.get("keep"), Some(&kept.digest));
    assert!(held.manifests.contains(&kept.digest));
    assert_all_pullable(registry);
}
