//! `untag: always`: expired tags are removed from a manifest that other tags keep, on a registry that can delete
//! manifests only with all their tags.

use std::collections::BTreeSet;
use std::fs;

use super::harness::{
    OLD_TAGS_EXPIRE, assert_all_pullable, expected_content, history, image, installation, list, rewrite, run,
};
use crate::service::harness::Installation;
use crate::state::interrupting_proxy::{InterruptingProxy, Step};
use crate::state::killed::kill;
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::holding_proxy::{HoldingProxy, Upstream};
use crate::support::image::{Content, Image, Index};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;

fn rules(untag: &str) -> String {
    OLD_TAGS_EXPIRE.replace("repositories: '.*'\n", &format!("repositories: '.*'\n    untag: {untag}\n"))
}

fn swept(registry: &RealRegistry, untag: &str) -> Installation {
    let installation = installation(&format!("url: {}", registry.url()), &rules(untag));
    run(&installation, &["run"]).exits(0);
    installation
}

/// The tags that were removed alone, by the journal.
fn journaled(installation: &Installation) -> BTreeSet<String> {
    let runs = history(installation, &[]);
    let deletions = runs.iter().flat_map(|run| list(&run["deletions"]));
    let alone = deletions.filter(|one| one["what"] == "tag" && one["answered"] == true);
    alone.flat_map(|one| list(&one["tags"])).map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

#[test]
fn untag_removes_expired_tags_and_keeps_their_manifests() {
    let registry = RealRegistry::start();
    let docker = Image::new("docker").created("2020-01-01T00:00:00Z").docker().build();
    let index = Index::oci().child(&image("child")).build();
    let mut store = registry.store();
    store.write("app", &["keep", "old-1", "old-2", "old-3"], &image("shared"));
    store.write("app", &["keep-docker", "old-4"], &docker);
    store.write("app", &["keep-index", "old-5"], &index);
    store.write("app", &["old-6"], &image("gone"));
    let installation = swept(&registry, "always");
    let kept = [("keep", &image("shared")), ("keep-docker", &docker), ("keep-index", &index)];
    assert_eq!(registry.store().repository("app"), expected_content(&kept), "and no placeholder is left");
    assert_all_pullable(&registry);
    let alone = ["old-1", "old-2", "old-3", "old-4", "old-5"].map(str::to_owned);
    assert_eq!(journaled(&installation), alone.clone().into());
    assert_eq!(installation.total("deleted_tags"), 6);
    assert_eq!(installation.total("deleted_manifests"), 1);

    let second = run(&installation, &["run"]).exits(0);
    assert!(second.stdout.contains("deleted 0 manifests"), "{}", second.stdout);
    // Another client pushes one of them again, and another one to something else.
    registry.store().write("app", &["old-4"], &docker);
    registry.store().write("app", &["old-5"], &image("other"));
    let undone = run(&installation, &["undo", "1", "--output", "json"]).exits(0).json();
    let results: BTreeSet<(&str, &str)> = list(&undone["results"])
        .iter()
        .map(|one| (one["tags"][0].as_str().unwrap(), one["result"].as_str().unwrap()))
        .collect();
    let expected = [
        ("old-1", "restored"),
        ("old-2", "restored"),
        ("old-3", "restored"),
        ("old-4", "was-there"),
        ("old-5", "was-there"),
        ("old-6", "restored"),
    ];
    assert_eq!(results, expected.into(), "{undone}");
    let tags: BTreeSet<String> = registry.store().repository("app").tags.into_keys().collect();
    assert!(tags.is_superset(&alone.into()) && tags.contains("old-6"), "{tags:?}");
    assert_all_pullable(&registry);
}

#[test]
fn untag_native_or_never_keeps_the_tag() {
    for untag in ["native", "never"] {
        let registry = RealRegistry::start();
        registry.store().write("app", &["keep", "old-1"], &image("shared"));
        swept(&registry, untag);
        let expected = image("shared");
        assert_eq!(
            registry.store().repository("app"),
            expected_content(&[("keep", &expected), ("old-1", &expected)])
        );
        // It was asked what it can do, and nothing else.
        assert!(registry.mutating_requests().iter().all(|one| matches!(one.status, 400 | 404)));
    }
    for (untag, left) in [("native", 1), ("always", 1), ("never", 2)] {
        let fake = FakeRegistry::start(Personality::V3_1);
        for tag in ["keep", "old-1"] {
            fake.push("app", tag, &image("shared"));
        }
        run(&installation(&format!("url: {}", fake.url()), &rules(untag)), &["run"]).exits(0);
        assert_eq!(fake.tags("app").len(), left, "{untag}");
        assert!(fake.mutating_requests().iter().all(|one| one.method == "DELETE"), "{untag}: by its own way");
    }
}

#[test]
fn untag_killed_at_any_step_is_completed_by_the_next_run() {
    // Two blobs and the placeholder are put there, and the placeholder is deleted.
    let puts = (1..=3).flat_map(|number| [Step::Sent(number), Step::Done(number), Step::Answered(number)]);
    let puts = puts.map(|step| (step, true));
    let deletions = [Step::Sent(1), Step::Done(1)].map(|step| (step, false));
    for (step, is_put) in puts.chain(deletions) {
        let registry = RealRegistry::start();
        registry.store().write("app", &["keep", "old-1"], &image("shared"));
        let host = registry.host();
        let proxy = if is_put {
            InterruptingProxy::of_puts(&host, step)
        } else {
            InterruptingProxy::before(&host, step)
        };
        let installation = installation(&format!("url: {}", proxy.url()), &rules("always"));
        kill(&installation, &["run"], &proxy);
        // A plan changes nothing, and does not complete this either.
        rewrite(&installation, &format!("url: {}", registry.url()), &rules("always"));
        let text = fs::read_to_string(installation.config()).unwrap();
        installation.write(&text.replace("mode: enforce", "mode: plan"));
        let before = registry.mutating_requests().len();
        run(&installation, &["run"]).exits(0);
        assert_eq!(registry.mutating_requests().len(), before, "{step:?}");

        installation.write(&text);
        run(&installation, &["run"]).exits(0);
        assert_eq!(
            registry.store().repository("app"),
            expected_content(&[("keep", &image("shared"))]),
            "{step:?}"
        );
        assert_eq!(journaled(&installation), ["old-1".to_owned()].into(), "{step:?}");
        assert_eq!(installation.total("deleted_tags"), 1, "{step:?}");
        assert_all_pullable(&registry);
    }
}

#[test]
fn placeholder_is_recognized_without_scan_history() {
    let registry = RealRegistry::start();
    registry.store().write("app", &["keep", "old-1"], &image("shared"));
    let proxy = InterruptingProxy::of_puts(&registry.host(), Step::Done(3));
    let killed = installation(&format!("url: {}", proxy.url()), &rules("always"));
    kill(&killed, &["run"], &proxy);
    let expected = expected_content(&[("keep", &image("shared"))]);
    assert_ne!(registry.store().repository("app"), expected);
    // Without `untag: always` no placeholder is recognized: the rules apply to it as to any image.
    let keeps = rules("native").replace("keep: none", "keep: { newest: 1 }");
    let plan = run(&installation(&format!("url: {}", registry.url()), &keeps), &["plan", "--output", "json"]);
    assert!(plan.exits(0).to_delete().is_empty());
    let always = rules("always").replace("keep: none", "keep: { newest: 1 }");
    let installation = installation(&format!("url: {}", registry.url()), &always);
    run(&installation, &["run"]).exits(0);
    assert_eq!(registry.store().repository("app"), expected);
    assert_all_pullable(&registry);
}

/// Pushes the expired tag while a run is held at a proxy before the registry.
async fn pushed_at(proxy: impl FnOnce(String) -> HoldingProxy) -> (RealRegistry, Content, String) {
    let registry = RealRegistry::start();
    registry.store().write("app", &["keep", "old-1"], &image("shared"));
    let proxy = proxy(registry.host());
    let installation = installation(&format!("url: {}", proxy.url()), &rules("always"));
    let mut command = installation.command(&["run"]);
    let running = std::thread::spawn(move || command.output().unwrap());
    let pushed = image("pushed meanwhile");
    proxy.wait_until_held();
    Pusher::new(&registry.url()).push("app", "old-1", &pushed).await.unwrap();
    proxy.release();
    let output = running.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    (registry, pushed, String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn untag_keeps_a_tag_that_is_pushed_before_the_placeholder() {
    let upload = |host| HoldingProxy::holding(Upstream::Host(host), |bytes| bytes.starts_with(b"POST "));
    let (registry, pushed, told) = pushed_at(upload).await;
    let expected = expected_content(&[("keep", &image("shared")), ("old-1", &pushed)]);
    assert_eq!(registry.store().repository("app"), expected);
    assert!(told.contains("old-1 was skipped: it was pushed again meanwhile"), "{told}");
    assert_all_pullable(&registry);
}

#[tokio::test]
async fn untag_keeps_a_tag_that_is_pushed_after_the_placeholder() {
    let (registry, pushed, _) = pushed_at(|host| HoldingProxy::before(&host, 1)).await;
    let expected = expected_content(&[("keep", &image("shared")), ("old-1", &pushed)]);
    assert_eq!(registry.store().repository("app"), expected);
    assert_all_pullable(&registry);
}
