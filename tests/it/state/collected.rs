//! Undo after a collection restores what is still complete and names what is lost; and the grace period, which
//! delays collections so that this is rare.

use serde_json::{Value, json};

use super::harness::{
    OLD_TAGS_EXPIRE, assert_all_pullable, history, installation, list, rewrite, run, sweeper, text,
};
use crate::service::harness::{Host, Installation, NEVER, until};
use crate::support::image::{Content, Image, Index, digest};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::ProgramOutput;
use crate::support::skopeo::{skopeo_can_pull, skopeo_pull_all};

/// Images of which some need nothing that the kept one does not need, too.
struct Images {
    kept: Content,
    own: Content,
    shared: Content,
    index: Content,
}

impl Images {
    async fn push(url: &str) -> Self {
        let image = |name: &str| Image::new(name).created("2020-01-01T00:00:00Z").layer("base");
        let kept = image("kept").build();
        let own = image("own").layer("own").build();
        let shared = image("kept").annotation("of", "another manifest").build();
        let index = Index::oci().child(&shared).child(&image("child").layer("child").build()).build();
        let pusher = Pusher::new(url);
        let images = Self { kept, own, shared, index };
        for (tag, content) in images.tagged() {
            pusher.push("app", tag, content).await.unwrap();
        }
        images
    }

    fn tagged(&self) -> [(&'static str, &Content); 4] {
        [
            ("keep", &self.kept),
            ("old-own", &self.own),
            ("old-shared", &self.shared),
            ("old-index", &self.index),
        ]
    }

    fn are_gone(&self, registry: &RealRegistry) -> bool {
        let held = registry.store().repository("app");
        held.tags.len() == 1 && held.manifests.iter().all(|one| *one == self.kept.digest)
    }

    fn are_swept(&self, registry: &RealRegistry) -> bool {
        !registry.store().has_blob(&digest(&self.own.blobs[2]))
    }
}

fn result(json: &Value, content: &Content) -> Value {
    let found = list(&json["results"]).iter().find(|one| one["digest"] == content.digest.as_str());
    found.unwrap_or_else(|| panic!("{} is not in {json}", content.digest)).clone()
}

/// The registry's lines with a grace.
fn graceful(host: &Host, grace: &str) -> String {
    host.lines().replace("gc:\n", &format!("gc:\n  grace: {grace}\n"))
}

#[tokio::test]
async fn undo_names_what_was_collected_as_lost_and_restores_the_rest() {
    let host = Host::start().await;
    let images = Images::push(&host.registry.url()).await;
    let installation = installation(&host.lines(), OLD_TAGS_EXPIRE);
    let ran = run(&installation, &["run", "--output", "json"]).exits(0);
    assert_eq!(ran.json()["collection"]["outcome"], "success");
    assert!(images.are_gone(&host.registry) && images.are_swept(&host.registry));

    let undone = run(&installation, &["undo", "1", "--output", "json"]).exits(1);
    let json = undone.json();
    let lost = result(&json, &images.own);
    assert_eq!((&lost["result"], &lost["tags_back"]), (&json!("lost"), &json!([])));
    // Its configuration and its layer; the base is there.
    let why = text(&lost["error"]);
    for (blob, is_lost) in images.own.blobs.iter().zip([true, false, true]) {
        assert_eq!(why.contains(&digest(blob)), is_lost, "{why}");
    }
    assert!(why.contains("it has been collected"), "{why}");
    let [_, child] = images.index.children.as_slice() else { panic!() };
    assert_eq!(result(&json, child)["result"], "lost");
    let index = result(&json, &images.index);
    assert_eq!(index["result"], "lost");
    assert!(text(&index["error"]).contains(&format!("child {}", child.digest)), "{index}");
    let back = result(&json, &images.shared);
    assert_eq!((&back["result"], &back["tags_back"]), (&json!("restored"), &json!(["old-shared"])));
    assert_all_pullable(&host.registry);
    let held = host.registry.store().repository("app");
    assert_eq!(held.tags.keys().collect::<Vec<_>>(), ["keep", "old-shared"]);

    // People are told the same, again and again.
    let shown = run(&installation, &["undo", "1"]).exits(1).stdout;
    assert!(shown.contains(" lost ") && shown.contains("restored 0 of 3 deletions"), "{shown}");
    let deletions = &history(&installation, &[])[0]["deletions"];
    let restored: Vec<_> = list(deletions).iter().filter(|one| !one["restored"].is_null()).collect();
    assert_eq!((restored.len(), &restored[0]["digest"]), (1, &json!(images.shared.digest)));
    assert!(list(deletions).iter().all(|one| one["collected"].is_string()));
}

#[tokio::test]
async fn undo_does_not_trust_a_stale_registry_cache() {
    let mut registry = RealRegistry::options().cache().start();
    let images = Images::push(&registry.url()).await;
    let installation = sweeper(&registry);
    run(&installation, &["run"]).exits(0);
    registry.garbage_collect(&[]);
    assert!(images.are_gone(&registry) && images.are_swept(&registry));
    let undone = run(&installation, &["undo", "1", "--output", "json"]).exits(1);
    let json = undone.json();
    for content in [&images.own, &images.index, &images.shared] {
        let result = result(&json, content);
        assert!(["failed", "lost"].contains(&text(&result["result"])), "{result}");
        assert_eq!((&result["restored"], &result["tags_back"]), (&Value::Null, &json!([])));
        assert!(text(&result["error"]).contains("restart the registry") || result["result"] == "lost");
    }
    for tag in ["old-own", "old-shared", "old-index"] {
        assert!(!skopeo_can_pull(&format!("{}/app:{tag}", registry.host())), "{tag}");
    }
    assert!(installation.total("reclaimable") > 0);
    // Once it knows what it has, what can be put back is.
    registry.stop();
    registry.start_again();
    let json = run(&installation, &["undo", "1", "--output", "json"]).exits(1).json();
    assert_eq!(result(&json, &images.shared)["result"], "restored");
    assert_eq!(result(&json, &images.own)["result"], "lost");
    assert_all_pullable(&registry);
}

#[tokio::test]
async fn grace_holds_back_the_collection_and_keeps_undo_possible() {
    let host = Host::start().await;
    let images = Images::push(&host.registry.url()).await;
    let installation = installation(&graceful(&host, "7d"), OLD_TAGS_EXPIRE);
    let ran = run(&installation, &["run", "--output", "json"]).exits(0);
    assert_eq!(ran.json()["collection"], Value::Null);
    assert!(images.are_gone(&host.registry) && !images.are_swept(&host.registry));
    let waits = run(&installation, &["gc", "--output", "json"]).exits(0).json();
    assert_eq!(waits["outcome"], "skipped");
    let until = text(&history(&installation, &[])[0]["deletions"][0]["at"])[..10]
        .parse::<chrono::NaiveDate>()
        .unwrap();
    let until = (until + chrono::TimeDelta::days(7)).to_string();
    let why = text(&waits["error"]);
    assert!(why.contains(&format!("gc.grace holds it back until {until}T")), "{why}");
    let output = run(&installation, &["gc"]).exits(0).stdout;
    assert!(
        output.contains(&format!("nothing was collected: gc.grace holds it back until {until}T")),
        "{output}"
    );
    assert!(!images.are_swept(&host.registry));
    run(&installation, &["undo", "1"]).exits(0);
    for (tag, _) in images.tagged() {
        skopeo_pull_all(&format!("{}/app:{tag}", host.registry.host()));
    }
    // With nothing left that waits, there is nothing to be held back, and nothing that goes.
    let bytes = host.registry.store().blob_bytes();
    let idle = run(&installation, &["gc", "--output", "json"]).exits(0).json();
    assert_eq!((&idle["outcome"], &idle["blobs"]), (&json!("success"), &json!(0)));
    assert_eq!(host.registry.store().blob_bytes(), bytes);
}

#[tokio::test]
async fn no_grace_collects_at_once() {
    let host = Host::start().await;
    let images = Images::push(&host.registry.url()).await;
    let installation = installation(&graceful(&host, "7d"), OLD_TAGS_EXPIRE);
    run(&installation, &["run"]).exits(0);
    let before = host.registry.store().blob_bytes();
    let done: ProgramOutput = run(&installation, &["gc", "--no-grace", "--output", "json"]).exits(0);
    assert!(images.are_swept(&host.registry));
    let freed = before - host.registry.store().blob_bytes();
    assert_eq!((&done.json()["outcome"], &done.json()["bytes"]), (&json!("success"), &json!(freed)));
    assert_eq!(installation.total("reclaimable"), 0);
    skopeo_pull_all(&format!("{}/app:keep", host.registry.host()));
}

async fn status(url: &str) -> Value {
    let answer = reqwest::get(format!("{url}/api/v1/status")).await.unwrap().text().await.unwrap();
    let json: Value = serde_json::from_str(&answer).unwrap();
    json["registries"][0].clone()
}

#[tokio::test]
async fn collection_starts_by_itself_when_the_grace_ends() {
    let host = Host::start().await;
    let images = Images::push(&host.registry.url()).await;
    let installation = installation(&graceful(&host, "6s"), OLD_TAGS_EXPIRE);
    run(&installation, &["run"]).exits(0);
    assert!(!images.are_swept(&host.registry));
    serving(&installation, &graceful(&host, "6s"));
    let service = installation.serve().await;
    let waiting = status(&service.url).await;
    let until_then = text(&waiting["collection_waits_until"]).to_owned();
    assert!(waiting["reclaimable_bytes"].as_u64().unwrap() > 0, "{waiting}");
    assert!(!images.are_swept(&host.registry));
    until("the collection", async || images.are_swept(&host.registry)).await;
    until("it is told", async || status(&service.url).await["reclaimable_bytes"] == 0).await;
    let after = status(&service.url).await;
    assert_eq!(after["collection_waits_until"], Value::Null);
    assert_eq!(after["last_collection"]["outcome"], "success");
    // Not before its time, and not long after.
    let moment = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let late = moment(self::text(&after["last_collection"]["at"])) - moment(&until_then);
    assert!((0..30).contains(&late.num_seconds()), "{late}");
    let log = service.stop().await;
    assert!(!log.contains("ERROR"), "{log}");
    skopeo_pull_all(&format!("{}/app:keep", host.registry.host()));
}

/// The same installation for a service without a next run.
fn serving(installation: &Installation, lines: &str) {
    rewrite(installation, lines, OLD_TAGS_EXPIRE);
    let text = std::fs::read_to_string(installation.config()).unwrap();
    installation.write(&format!("schedule: '{NEVER}'\nlisten: 127.0.0.1:{}\n{text}", installation.port()));
}
