//! Undo after a run that was killed, an undo that is killed itself, and the leftovers of a killed run that another
//! client uses again.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::harness::{
    OLD_TAGS_EXPIRE, assert_all_pullable, history, image, installation, list, rewrite, run, sweeper, text,
};
use crate::state::interrupting_proxy::{InterruptingProxy, Step};
use crate::state::killed::{Scenario, kill};
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::holding_proxy::is_probe;
use crate::support::image::{Artifact, Image, Index};
use crate::support::push::Pusher;

#[test]
fn undo_of_a_killed_run_works_at_once() {
    let scenario = Scenario::new();
    for number in 1..=6 {
        for step in [Step::Sent(number), Step::Done(number)] {
            let installation = scenario.killed(step);
            let undone = run(&installation, &["undo", "1"]);
            assert_eq!(undone.code, Some(i32::from(step == Step::Sent(1))), "{step:?}: {}", undone.stderr);
            assert_eq!(scenario.now(), scenario.before, "{step:?}");
            assert_eq!(installation.total("reclaimable"), 0, "{step:?}");
            let past = history(&installation, &[]);
            let deletions = list(&past[0]["deletions"]);
            assert!(
                deletions.iter().all(|one| one["restored"].is_string() && one["answered"] == true),
                "{step:?}"
            );
            // What is back is left alone, with what belongs to it: no plan but what the first run left undone.
            let plan = run(&installation, &["plan", "--output", "json"]).exits(0).to_delete();
            let back = |one: &String| deletions.iter().any(|entry| one.ends_with(text(&entry["digest"])));
            assert!(!plan.iter().any(back), "{step:?}: {plan:?}");
            let whole = deletions.iter().any(|entry| entry["digest"] == scenario.index.digest.as_str());
            let tree = scenario.index.tree();
            let torn = tree.iter().any(|part| plan.iter().any(|one| one.ends_with(&part.digest)));
            assert!(!(whole && torn), "{step:?}: {plan:?}");
        }
    }
    assert_all_pullable(&scenario.registry);
}

#[test]
fn unanswered_deletion_stays_journaled_while_another_server_answers() {
    for status in [404, 403, 400] {
        let scenario = Scenario::new();
        let first = AtomicBool::new(true);
        let proxy = FaultProxy::before(&scenario.registry.host(), move |seen| {
            let is_deletion = seen.method == "DELETE" && !is_probe(seen.path.as_bytes());
            let masked = is_deletion && first.swap(false, Ordering::Relaxed);
            if masked { Fault::Masked(status) } else { Fault::None }
        });
        let installation = installation(&format!("url: {}", proxy.url()), OLD_TAGS_EXPIRE);
        run(&installation, &["run"]).exits(1);
        let now = scenario.now();
        let gone: Vec<&String> = scenario.before.manifests.difference(&now.manifests).collect();
        let past = history(&installation, &[]);
        let noted: Vec<&Value> = list(&past[0]["deletions"]).iter().collect();
        assert!(
            gone.iter().all(|gone| noted.iter().any(|one| text(&one["digest"]) == *gone)),
            "{status}: {noted:?}"
        );
        assert_eq!(noted.iter().filter(|one| one["answered"] == false).count(), 1, "{status}: {noted:?}");

        run(&installation, &["run"]).exits(0);
        assert_eq!(scenario.now(), scenario.expected(), "{status}");
        assert_eq!(installation.total("deleted_manifests"), 6, "{status}");
        for number in ["2", "1"] {
            run(&installation, &["undo", number]);
        }
        assert_eq!(scenario.now(), scenario.before, "{status}");
        assert_eq!(installation.total("reclaimable"), 0, "{status}");
    }
}

#[test]
fn killed_undo_is_completed_by_the_next_one() {
    let scenario = Scenario::new();
    // Six manifests by digest, and four tags.
    for (number, kind) in (1..=10).zip([Step::Sent, Step::Done, Step::Answered].into_iter().cycle()) {
        let installation = sweeper(&scenario.registry);
        run(&installation, &["run"]).exits(0);
        assert_eq!(scenario.now(), scenario.expected());
        let proxy = InterruptingProxy::of_puts(&scenario.registry.host(), kind(number));
        rewrite(&installation, &format!("url: {}", proxy.url()), OLD_TAGS_EXPIRE);
        kill(&installation, &["undo", "1"], &proxy);
        rewrite(&installation, &format!("url: {}", scenario.registry.url()), OLD_TAGS_EXPIRE);
        run(&installation, &["undo", "1"]).exits(0);
        assert_eq!(scenario.now(), scenario.before, "{number}");
        assert_eq!(installation.total("reclaimable"), 0, "{number}");
        run(&installation, &["undo", "1"]).exits(1);
    }
    assert_all_pullable(&scenario.registry);
}

#[tokio::test]
async fn leftover_of_a_killed_run_is_kept_once_it_is_tagged() {
    for by_index in [false, true] {
        let scenario = Scenario::new();
        let installation = scenario.killed(Step::Answered(2));
        assert!(!scenario.now().manifests.contains(&scenario.index.digest));
        let child =
            scenario.index.children.iter().find(|child| scenario.now().manifests.contains(&child.digest));
        let child = child.unwrap();
        let pusher = Pusher::new(&scenario.registry.url());
        let adopted = if by_index { Index::docker().child(child).build() } else { child.clone() };
        pusher.push("app", "adopted", &adopted).await.unwrap();
        run(&installation, &["run"]).exits(0);
        assert!(scenario.now().manifests.contains(&child.digest));
        // Its tag moves on, and no rule says anything of what has no tag.
        pusher.push("app", "adopted", &image("another")).await.unwrap();
        for _ in 0..2 {
            run(&installation, &["run"]).exits(0);
            assert!(scenario.now().manifests.contains(&child.digest), "{by_index}");
            assert!(scenario.now().manifests.contains(&adopted.digest), "{by_index}");
        }
    }
}

#[test]
fn undo_restores_single_tags_and_referrers() {
    for personality in [Personality::V3_0, Personality::V3_1, Personality::Oci11] {
        let fake = FakeRegistry::start(personality);
        let [kept, child, plain] = ["kept", "child", "plain"].map(image);
        let index = Index::oci().child(&child).build();
        let sbom = Artifact::referrer("sbom", "application/spdx+json", &index).build();
        let about_kept = Image::new("about").subject(&kept).build();
        for (tag, content) in [
            ("keep", &kept),
            ("old-alias", &kept),
            ("old-index", &index),
            ("old", &plain),
            ("about", &about_kept),
        ] {
            fake.push("app", tag, content);
        }
        fake.push_untagged("app", &sbom);
        let before = (fake.tags("app"), fake.manifests("app"));
        let installation = installation(&format!("url: {}", fake.url()), OLD_TAGS_EXPIRE);
        run(&installation, &["run"]).exits(0);
        assert_eq!(fake.tags("app").into_keys().collect::<Vec<_>>(), ["about", "keep"], "{personality:?}");
        let alone = history(&installation, &[]);
        let alone: Vec<_> = list(&alone[0]["deletions"]).iter().filter(|one| one["what"] == "tag").collect();
        assert_eq!(alone.len(), 1);
        run(&installation, &["undo", "1"]).exits(0);
        assert_eq!((fake.tags("app"), fake.manifests("app")), before, "{personality:?}");
        assert_eq!(installation.total("reclaimable"), 0);
        let plan = run(&installation, &["plan", "--output", "json"]).exits(0);
        assert_eq!((plan.to_delete().len(), list(&plan.json()["repositories"][0]["untag"]).len()), (0, 0));
        run(&installation, &["undo", "1"]).exits(1);
    }
}
