//! Undo restores what a run deleted, byte for byte and with its tags, and changes nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::harness::{
    OLD_TAGS_EXPIRE, assert_all_pullable, expected_content, fill, history, image, installation, list,
    rewrite, run, served, stored_manifests, sweeper, text,
};
use crate::service::harness::Installation;
use crate::support::image::{Index, digest, signature_tag};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;
use crate::support::skopeo::skopeo_pull_all;

const CREATED: &str = "org.opencontainers.image.created";
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// The results of an undo by result, as digests.
fn results(json: &Value, result: &str) -> Vec<String> {
    let with = list(&json["results"]).iter().filter(|one| one["result"] == result);
    with.map(|one| text(&one["digest"]).to_owned()).collect()
}

/// Runs, and tells the number of the run.
fn swept(installation: &Installation) -> String {
    run(installation, &["run"]).exits(0);
    history(installation, &["--limit", "1"])[0]["run"].to_string()
}

fn undo(installation: &Installation, arguments: &[&str]) -> Value {
    run(installation, &[&["undo", "--output", "json"], arguments].concat()).exits(0).json()
}

#[tokio::test]
async fn undo_restores_everything_byte_for_byte() {
    let registry = RealRegistry::start();
    let all = fill(&registry);
    let (before, bytes) = (registry.store().contents(), served(&registry).await);
    let installation = sweeper(&registry);
    let number = swept(&installation);
    assert_eq!(registry.store().repository("team/app"), expected_content(&[("keep", &all.kept)]));
    let count = bytes.keys().filter(|url| url.contains("/sha256:")).count() - 2;
    assert_eq!(installation.total("deleted_manifests"), count as u64);
    assert!(installation.total("reclaimable") > 0);

    let json = undo(&installation, &[&number]);
    assert_eq!(registry.store().contents(), before);
    assert!(served(&registry).await == bytes);
    assert_all_pullable(&registry);
    assert_eq!((&json["registry"], &json["run"], &json["version"]), (&json!("main"), &json!(1), &json!(1)));
    let restored = results(&json, "restored");
    assert_eq!((restored.len(), list(&json["results"]).len()), (count, count));
    for parent in [&all.index, &all.list, &all.about_index[2].1] {
        let position = |digest: &str| restored.iter().position(|one| one == digest).unwrap();
        assert!(parent.children.iter().all(|child| position(&child.digest) < position(&parent.digest)));
    }
    assert_eq!(installation.total("reclaimable"), 0);

    let again = run(&installation, &["undo", &number]).exits(1);
    assert!(again.stderr.contains("run 1 deleted nothing that can be restored"), "{}", again.stderr);
    let shown = run(&installation, &["history"]).exits(0).stdout;
    assert_eq!(shown.matches("restored").count(), count, "{shown}");
    let entries = history(&installation, &[]);
    assert!(list(&entries[0]["deletions"]).iter().all(|one| one["restored"].is_string()));

    // The same rules still stand, and leave it alone.
    let plan = run(&installation, &["plan", "--all", "--output", "json"]).exits(0);
    assert_eq!(plan.to_delete(), BTreeSet::new());
    let tagged = [&all.plain, &all.index, &all.docker, &all.list, &all.chart, &all.signed];
    assert!(tagged.iter().all(|one| plan.reasons(&one.digest).contains(&"restored".to_owned())));
    let next = run(&installation, &["run", "--output", "json"]).exits(0);
    assert_eq!(next.deleted(), BTreeSet::new());
    assert_eq!(registry.store().contents(), before);
}

#[tokio::test]
async fn undo_of_one_image_restores_its_dependents_and_nothing_else() {
    let registry = RealRegistry::start();
    let all = fill(&registry);
    let installation = sweeper(&registry);
    let number = swept(&installation);
    let mut expected = vec![("keep", &all.kept), ("old-index", &all.index)];
    expected.extend(all.about_index.iter().map(|(tag, content)| (tag.as_str(), content)));
    undo(&installation, &[&number, "team/app:old-index"]);
    assert_eq!(registry.store().repository("team/app"), expected_content(&expected));
    assert_all_pullable(&registry);
    // By digest, with all its tags; and by the name of the registry or of its host.
    undo(&installation, &[&number, &format!("main/team/app@{}", all.plain.digest)]);
    expected.extend([("old-plain", &all.plain), ("old-too", &all.plain)]);
    assert_eq!(registry.store().repository("team/app"), expected_content(&expected));
    undo(&installation, &[&number, &format!("{}/team/app:old-signed", registry.host())]);
    let signature = signature_tag(&all.signed.digest);
    expected.extend([("old-signed", &all.signed), (signature.as_str(), &all.signature)]);
    assert_eq!(registry.store().repository("team/app"), expected_content(&expected));
    assert_eq!(registry.store().repository("other"), expected_content(&[("keep", &all.kept)]));
    let again = run(&installation, &["undo", &number, "team/app:old-index"]).exits(1);
    assert!(
        again.stderr.contains("run 1 deleted no team/app:old-index that can be restored"),
        "{}",
        again.stderr
    );
    for unknown in ["team/app:keep", "other:old-index", "unknown:old"] {
        run(&installation, &["undo", &number, unknown]).exits(1);
    }
    run(&installation, &["undo", &number, "nonsense"]).exits(2);
    assert_eq!(registry.store().repository("team/app"), expected_content(&expected));
    // What is left comes with the rest of it.
    undo(&installation, &[&number]);
    expected.extend([("old-docker", &all.docker), ("old-list", &all.list), ("old-chart", &all.chart)]);
    assert_eq!(registry.store().repository("team/app"), expected_content(&expected));
    assert_all_pullable(&registry);
}

#[tokio::test]
async fn undo_keeps_tags_that_were_pushed_since() {
    let registry = RealRegistry::start();
    let all = fill(&registry);
    for form in ["json", "table"] {
        let installation = sweeper(&registry);
        let number = swept(&installation);
        let new = image(&format!("new {form}"));
        let pusher = Pusher::new(&registry.url());
        pusher.push("team/app", "old-plain", &new).await.unwrap();
        pusher.push("team/app", "old-docker", &all.docker).await.unwrap();
        let undone = run(&installation, &["undo", &number, "--output", form]).exits(0);
        let held = registry.store().repository("team/app");
        assert_eq!(held.tags["old-plain"], new.digest);
        assert_eq!(held.tags["old-too"], all.plain.digest);
        skopeo_pull_all(&format!("{}/team/app@{}", registry.host(), all.plain.digest));
        skopeo_pull_all(&format!("{}/team/app:old-plain", registry.host()));
        if form == "table" {
            let output = "tags that were pushed again, left unchanged: old-plain";
            assert!(undone.stdout.contains(output), "{}", undone.stdout);
            assert!(undone.stdout.contains("already present"), "{}", undone.stdout);
            continue;
        }
        let json = undone.json();
        let of = |digest: &str| {
            let found = list(&json["results"]).iter().find(|one| one["digest"] == digest);
            found.unwrap().clone()
        };
        let plain = of(&all.plain.digest);
        assert_eq!(plain["tags_moved"], json!(["old-plain"]));
        assert_eq!((&plain["tags_back"], &plain["result"]), (&json!(["old-too"]), &json!("restored")));
        assert_eq!(of(&all.docker.digest)["result"], "was-there");
        assert_eq!(of(&all.docker.digest)["tags_back"], json!(["old-docker"]));
        // To be deleted once more by the next, which remembers no undo.
        pusher.push("team/app", "old-plain", &all.plain).await.unwrap();
    }
}

/// Its layers are blobs and no manifests, and without them it is lost.
#[tokio::test]
async fn undo_restores_a_build_cache_if_its_blobs_exist() {
    let registry = RealRegistry::start();
    let [cache, damaged] =
        ["cache", "damaged"].map(|name| Index::buildkit_cache(name).annotation(CREATED, LONG_AGO).build());
    let pusher = Pusher::new(&registry.url());
    for (tag, content) in [("keep", &image("kept")), ("old-cache", &cache), ("old-damaged", &damaged)] {
        pusher.push("app", tag, content).await.unwrap();
    }
    let installation = sweeper(&registry);
    let number = swept(&installation);
    assert_eq!(registry.store().repository("app"), expected_content(&[("keep", &image("kept"))]));
    let layer = digest(&damaged.blobs[0]);
    std::fs::remove_file(registry.store().blob_path(&layer)).unwrap();
    let json = run(&installation, &["undo", &number, "--output", "json"]).exits(1).json();
    assert_eq!(results(&json, "restored"), [cache.digest.as_str()]);
    assert_eq!(results(&json, "lost"), [damaged.digest.as_str()]);
    let lost = list(&json["results"]).iter().find(|one| one["result"] == "lost").unwrap();
    assert!(text(&lost["error"]).contains(&layer), "{lost}");
    let expected = [("keep", &image("kept")), ("old-cache", &cache)];
    assert_eq!(registry.store().repository("app"), expected_content(&expected));
}

#[test]
fn undo_restores_a_child_that_another_run_deleted() {
    let registry = RealRegistry::start();
    let [kept, shared, first, second] = ["kept", "shared", "first", "second"].map(image);
    let one = Index::oci().child(&shared).child(&first).build();
    let two = Index::oci().child(&shared).child(&second).build();
    for (tag, content) in [("keep", &kept), ("old-one", &one), ("then-two", &two)] {
        registry.store().write("app", &[tag], content);
    }
    let url = format!("url: {}", registry.url());
    let installation = installation(&url, OLD_TAGS_EXPIRE);
    assert_eq!(swept(&installation), "1");
    assert_eq!(registry.store().repository("app"), expected_content(&[("keep", &kept), ("then-two", &two)]));
    rewrite(&installation, &url, &OLD_TAGS_EXPIRE.replace("old.*", "then.*"));
    assert_eq!(swept(&installation), "2");
    assert_eq!(registry.store().repository("app"), expected_content(&[("keep", &kept)]));
    let json = undo(&installation, &["1"]);
    let expected: BTreeSet<String> = one.tree().iter().map(|part| part.digest.clone()).collect();
    assert_eq!(results(&json, "restored").into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(registry.store().repository("app"), expected_content(&[("keep", &kept), ("old-one", &one)]));
    assert_all_pullable(&registry);
    undo(&installation, &["2"]);
    let all = [("keep", &kept), ("old-one", &one), ("then-two", &two)];
    assert_eq!(registry.store().repository("app"), expected_content(&all));
    assert_all_pullable(&registry);
}

#[test]
fn undo_refuses_a_run_that_is_unknown_or_deleted_nothing() {
    let registry = RealRegistry::start();
    registry.store().write("app", &["keep"], &image("kept"));
    let installation = sweeper(&registry);
    let number = swept(&installation);
    let before = (stored_manifests(&registry), registry.mutating_requests());
    let unknown = run(&installation, &["undo", "99"]).exits(1);
    assert!(unknown.stderr.contains("there is no run 99: `regsweep history` lists"), "{}", unknown.stderr);
    let nothing = run(&installation, &["undo", &number]).exits(1);
    assert!(
        nothing.stderr.contains(&format!("run {number} deleted nothing that can be restored")),
        "{}",
        nothing.stderr
    );
    assert_eq!((stored_manifests(&registry), registry.mutating_requests()), before);
}
