//! Deletions that fail or meet changes. A manifest is kept if one that has to be deleted before it was not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regsweep::model::Tag;
use regsweep::report::Outcome;
use regsweep::run::LimitMode;

use crate::compatibility::harness::{
    Case, EVERY, assert_expired_deleted, assert_holds, assert_untouched, deleted, failures, filled, html,
    image, no_run, old, refusal, skipped, tags,
};
use crate::support::fake_registry::{Auth, Canned, FakeRegistry, Personality};
use crate::support::image::{Artifact, Content, Index, signature_tag};

/// Answers every deletion of this manifest.
fn refuse(fake: &FakeRegistry, repository: &str, content: &Content, answer: Canned) {
    let path = format!("/v2/{repository}/manifests/{}", content.digest);
    fake.on(move |request| request.is("DELETE", &path).then(|| answer.clone()));
}

#[tokio::test]
async fn deletion_that_is_refused_ends_its_repository() {
    for personality in EVERY {
        for (answer, kind, words) in [
            (refusal(405, "UNSUPPORTED"), "unsupported", "REGISTRY_STORAGE_DELETE_ENABLED=true"),
            (Canned::status(405).body("Method not allowed\n"), "unsupported", "read-only"),
            (refusal(500, "UNKNOWN"), "server", "500"),
            (html(404), "not_found", "404"),
            (html(200 + 202), "invalid", "402"),
            (Canned::dropped(), "interrupted", "DELETE"),
        ] {
            let fake = filled(personality, &["app", "other"]);
            refuse(&fake, "app", &old("app", 2), answer);
            let report = Case::of(&fake).run().await.unwrap();
            let row = format!("{personality:?} {kind}: {report:?}");
            assert_eq!(failures(&report), [("app", kind)], "{row}");
            assert!(report.failures[0].error.contains(words), "{row}");
            assert_eq!(tags(&fake, "app"), ["keep", "old-2", "old-3"], "{row}");
            assert_expired_deleted(&fake, "other", &row);
            let (second, third) = (old("app", 2).digest, old("app", 3).digest);
            let why = [
                (second.as_str(), "its deletion failed"),
                (third.as_str(), "an earlier deletion in this repository failed"),
            ];
            assert_eq!(skipped(&report), why, "{row}");
            let third = format!("/v2/app/manifests/{third}");
            assert!(!fake.mutating_requests().iter().any(|one| one.path == third), "{row}: it was not tried");
        }
    }
}

/// An expired index with two children and a signature, between two expired images.
struct IndexCase {
    fake: FakeRegistry,
    index: Content,
    children: [Content; 2],
    signature: Content,
    kept: Content,
}

impl IndexCase {
    fn on(personality: Personality) -> Self {
        let fake = FakeRegistry::start(personality);
        let children = ["amd64", "arm64"].map(|name| image(name, 5));
        let index = Index::oci().child(&children[0]).child(&children[1]).build();
        let signature = Artifact::signature(&index.digest).build();
        let kept = image("kept", 9);
        fake.push("app", "keep", &kept);
        fake.push("app", "old-before", &image("before", 1));
        fake.push("app", "old-index", &index);
        fake.push("app", &signature_tag(&index.digest), &signature);
        fake.push("app", "old-after", &image("after", 8));
        Self { fake, index, children, signature, kept }
    }

    fn assert_all_pullable(&self) {
        let [first, second] = &self.children;
        let held = self.fake.manifests("app");
        for part in [&self.index, first, second, &self.signature] {
            assert!(held.contains(&part.digest), "a part of the index that could not be deleted is missing");
        }
    }
}

#[tokio::test]
async fn index_that_is_kept_keeps_its_children() {
    for personality in EVERY {
        for (answer, others_go) in [
            (refusal(405, "DENIED"), true),
            (refusal(403, "DENIED"), true),
            (html(500), false),
            (refusal(405, "UNSUPPORTED"), false),
            (html(404), false),
            (Canned::dropped(), false),
            (refusal(401, "UNAUTHORIZED"), false),
        ] {
            let family = IndexCase::on(personality);
            refuse(&family.fake, "app", &family.index, answer);
            let report = Case::of(&family.fake).run().await.unwrap();
            assert_eq!(report.outcome(), Outcome::Partial, "{report:?}");
            family.assert_all_pullable();
            let after = tags(&family.fake, "app").contains(&"old-after".to_owned());
            assert_eq!(after, !others_go, "{personality:?}: {report:?}");
            assert!(!tags(&family.fake, "app").contains(&"old-before".to_owned()), "it was deleted before");
        }
    }
}

#[tokio::test]
async fn index_that_is_already_gone_counts_as_deleted() {
    for personality in EVERY {
        let family = IndexCase::on(personality);
        let path = format!("/v2/app/manifests/{}", family.index.digest);
        let digest = family.index.digest.clone();
        // Another client deletes it just before.
        family.fake.before(move |request, state| {
            if request.is("DELETE", &path) {
                let repository = state.repositories.get_mut("app").unwrap();
                repository.manifests.remove(&digest);
                repository.tags.retain(|_, tagged| *tagged != digest);
            }
        });
        let report = Case::of(&family.fake).run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_holds(&family.fake, "app", &[&family.kept]);
        let gone: Vec<&str> = report
            .deleted
            .iter()
            .filter(|deleted| deleted.already_gone)
            .map(|deleted| deleted.digest.as_str())
            .collect();
        assert_eq!(gone, [family.index.digest.as_str()], "{personality:?}");
        assert_eq!(report.deleted.len(), 6, "{personality:?}");
    }
}

#[tokio::test]
async fn deletion_with_a_lost_answer_counts_as_ours() {
    for personality in EVERY {
        let family = IndexCase::on(personality);
        let path = format!("/v2/app/manifests/{}", family.index.digest);
        let mut lost = false;
        family.fake.after(move |request, reply| {
            if request.is("DELETE", &path) && !std::mem::replace(&mut lost, true) {
                *reply = Canned::dropped();
            }
        });
        let report = Case::of(&family.fake).run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_holds(&family.fake, "app", &[&family.kept]);
        assert!(report.deleted.iter().all(|deleted| !deleted.already_gone), "{personality:?}: {report:?}");
        let path = format!("/v2/app/manifests/{}", family.index.digest);
        let tries: Vec<u16> = family
            .fake
            .mutating_requests()
            .iter()
            .filter(|one| one.path == path)
            .map(|one| one.status)
            .collect();
        assert_eq!(tries, [0], "{personality:?}: it was looked for, and was gone");
    }
}

#[tokio::test]
async fn push_after_a_lost_answer_is_kept() {
    for personality in EVERY {
        let fake = filled(personality, &["app"]);
        let path = format!("/v2/app/manifests/{}", old("app", 1).digest);
        let lost = Arc::new(AtomicBool::new(false));
        let now = lost.clone();
        let mut first = true;
        fake.after(move |request, reply| {
            if request.is("DELETE", &path) && std::mem::take(&mut first) {
                *reply = Canned::dropped();
                now.store(true, Ordering::SeqCst);
            }
        });
        fake.before(move |_, state| {
            if lost.swap(false, Ordering::SeqCst) {
                state.push("app", "release", &old("app", 1));
            }
        });
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(tags(&fake, "app"), ["keep", "release"], "{personality:?}: {report:?}");
        let digest = old("app", 1).digest;
        assert!(fake.manifests("app").contains(&digest), "{personality:?}");
        // It was deleted, as the next run finds out.
        assert!(report.unanswered, "{personality:?}");
        assert_eq!(skipped(&report), [(digest.as_str(), "its deletion failed")], "{personality:?}");
    }
}

#[tokio::test]
async fn push_during_slow_deletions_is_noticed() {
    for personality in [Personality::V2_8, Personality::Zot] {
        let fake = filled(personality, &["app"]);
        let path = format!("/v2/app/manifests/{}", old("app", 1).digest);
        fake.before(move |request, state| {
            if request.is("DELETE", &path) {
                // Longer than a recheck is valid.
                std::thread::sleep(Duration::from_millis(1500));
                state.push("app", "release", &old("app", 2));
                state.push("app", "old-too", &old("app", 3));
            }
        });
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(tags(&fake, "app"), ["keep", "old-2", "release"], "{personality:?}: {report:?}");
        let with: Vec<&str> = report.deleted[1].tags.iter().map(Tag::as_str).collect();
        assert_eq!(with, ["old-3", "old-too"], "{personality:?}: what it had is told");
        let digest = old("app", 2).digest;
        let why = "something changed since the plan was made";
        assert_eq!(skipped(&report), [(digest.as_str(), why)], "{personality:?}");
    }
}

#[tokio::test]
async fn child_that_a_new_index_lists_is_kept() {
    for personality in [Personality::V2_8, Personality::V3_1, Personality::Oci11] {
        let family = IndexCase::on(personality);
        let [first, second] = &family.children;
        let release = Index::docker().child(first).build();
        let (path, pushed) = (format!("/v2/app/manifests/{}", family.index.digest), release.clone());
        family.fake.before(move |request, state| {
            if request.is("DELETE", &path) {
                // Longer than a recheck is valid.
                std::thread::sleep(Duration::from_millis(1500));
                state.push("app", "release", &pushed);
            }
        });
        let report = Case::of(&family.fake).run().await.unwrap();
        assert_holds(&family.fake, "app", &[&family.kept, &release, first]);
        let why = "something changed since the plan was made";
        assert_eq!(skipped(&report), [(first.digest.as_str(), why)], "{personality:?}: {report:?}");
        assert!(deleted(&report).contains(&second.digest.as_str()), "{personality:?}: the other one goes");
    }
}

#[tokio::test]
async fn children_of_a_deleted_index_are_deleted_at_any_age() {
    for personality in [Personality::V2_8, Personality::V3_1, Personality::Oci11] {
        let family = IndexCase::on(personality);
        let young = Artifact::provenance("young").build();
        let tag = format!("{}.att", signature_tag(&family.index.digest).trim_end_matches(".sig"));
        let path = format!("/v2/app/manifests/{}", family.index.digest);
        family.fake.push("app", &tag, &young);
        family.fake.before(move |request, _| {
            if request.is("DELETE", &path) {
                std::thread::sleep(Duration::from_millis(1500));
            }
        });
        let report = Case::of(&family.fake).run().await.unwrap();
        assert_eq!(skipped(&report), [], "{personality:?}");
        assert_holds(&family.fake, "app", &[&family.kept]);
    }
}

#[tokio::test]
async fn tag_that_moves_just_before_its_deletion_is_kept() {
    for personality in [Personality::V3_1, Personality::Oci11, Personality::Zot] {
        let fake = FakeRegistry::start(personality);
        let (kept, next) = (image("kept", 1), image("next", 2));
        for tag in ["keep", "old-1", "old-2"] {
            fake.push("app", tag, &kept);
        }
        let pushed = next.clone();
        fake.before(move |request, state| {
            if request.is("DELETE", "/v2/app/manifests/old-1") {
                state.push("app", "old-2", &pushed);
            }
        });
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(tags(&fake, "app"), ["keep", "old-2"], "{personality:?}");
        assert_holds(&fake, "app", &[&kept, &next]);
        assert_eq!(
            skipped(&report),
            [(kept.digest.as_str(), "it was pushed again meanwhile")],
            "{personality:?}"
        );
    }
}

#[tokio::test]
async fn deletion_accepts_any_success_status() {
    for status in [200, 202, 204] {
        let fake = filled(Personality::V2_8, &["app"]);
        fake.after(move |request, reply| {
            if request.method == "DELETE" {
                *reply = Canned::status(status);
            }
        });
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!((report.outcome(), report.deleted.len()), (Outcome::Success, 3), "{status}");
    }
}

#[tokio::test]
async fn redirect_of_a_deletion_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = filled(Personality::V2_8, &["app"]);
        let fake = filled(Personality::V2_8, &["app"]);
        let location = elsewhere.url();
        fake.on(move |request| {
            let answer =
                || Canned::status(status).header("location", format!("{location}{}", request.target));
            (request.method == "DELETE").then(answer)
        });
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(failures(&report), [("app", "invalid")], "{status}");
        assert_eq!(elsewhere.requests(), [], "{status}");
        assert_untouched(&fake, "app", "nothing was deleted");
    }
}

#[tokio::test]
async fn redirect_of_a_read_request_does_not_carry_the_credentials() {
    let elsewhere = filled(Personality::V3_1, &["app"]);
    let fake = FakeRegistry::options(Personality::V3_1).auth(Auth::basic("ann", "secret")).start();
    crate::compatibility::harness::fill(&fake, &["app"]);
    let location = elsewhere.url();
    fake.after(move |request, reply| {
        if request.path.contains("/blobs/") && reply.status == 200 {
            *reply = Canned::status(307).header("location", format!("{location}{}", request.target));
        }
    });
    let auth = "auth: { basic: { username: ann, password: { env: SECRET } } }";
    let report = Case::with(&fake, &format!("{auth}\ntags_complete: true")).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_expired_deleted(&fake, "app", "the configurations were read from the other host");
    let there = elsewhere.requests();
    assert_eq!(there.len(), 3);
    assert!(there.iter().all(|one| one.authorization.is_none()), "{there:?}");
}

#[tokio::test]
async fn stop_takes_effect_between_two_deletions() {
    let fake = filled(Personality::V3_1, &["app", "b", "c", "d", "e", "f"]);
    let case = Case::of(&fake);
    let scanned = case.scan_and_plan().await.unwrap();
    let stop = case.cancellation.runs.clone();
    fake.before(move |request, _| {
        if request.method == "DELETE" {
            stop.cancel();
        }
    });
    let report = case.apply(&scanned, LimitMode::Enforced).await;
    let begun = fake.mutating_requests().len();
    assert!((1..=4).contains(&begun), "at most one in each repository that is worked on: {begun}");
    assert_eq!(report.deleted.len(), begun, "deletions that were begun are finished and reported");
    assert_eq!(report.deleted.len() + report.skipped.len(), 18);
    assert!(report.skipped.iter().all(|skipped| skipped.why == "the run was stopped"), "{report:?}");
}

#[tokio::test]
async fn stop_waits_once_for_a_repository_that_cannot_be_read() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let children = (0..6).map(|number| image(&format!("child {number}"), 5));
    let index = children.fold(Index::oci(), |index, child| index.child(&child)).build();
    fake.push("app", "old-index", &index);
    let case = Case::of(&fake);
    let scanned = case.scan_and_plan().await.unwrap();
    let path = format!("/v2/app/manifests/{}", index.digest);
    let (stop, mut lists) = (case.cancellation.runs.clone(), 0);
    fake.before(move |request, state| {
        if request.is("DELETE", &path) {
            // Longer than a recheck is valid.
            std::thread::sleep(Duration::from_millis(1500));
            stop.cancel();
        }
        lists += usize::from(request.path.ends_with("/tags/list"));
        if lists > 1 {
            state.settings.latency = Duration::from_secs(600);
        }
    });
    let begin = std::time::Instant::now();
    let report = case.apply(&scanned, LimitMode::Enforced).await;
    assert_eq!(deleted(&report), [index.digest.as_str()], "{report:?}");
    assert_eq!(report.skipped.len(), 6, "{report:?}");
    assert!(report.skipped.iter().all(|skipped| skipped.why == "the run was stopped"), "{report:?}");
    // Ten seconds for all children of the index together, and not for each.
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn deletions_are_ordered_from_oldest_to_newest() {
    let fake = filled(Personality::V2_8, &["app"]);
    let report = Case::of(&fake).run().await.unwrap();
    let expected = [1, 2, 3].map(|day| old("app", day).digest);
    assert_eq!(deleted(&report), expected.each_ref().map(String::as_str));
    let asked: Vec<String> = fake.mutating_requests().into_iter().map(|one| one.path).collect();
    assert_eq!(asked, expected.map(|digest| format!("/v2/app/manifests/{digest}")));
}

#[tokio::test]
async fn registry_that_is_down_at_deletion_loses_nothing() {
    let fake = filled(Personality::V3_1, &["app", "other"]);
    let case = Case::of(&fake);
    let scanned = case.scan_and_plan().await.unwrap();
    fake.on(|_| Some(Canned::dropped()));
    let report = case.apply(&scanned, LimitMode::Enforced).await;
    assert_eq!(failures(&report).len(), 2, "{report:?}");
    assert_eq!((report.deleted.len(), report.skipped.len()), (0, 6));
    assert!(fake.mutating_requests().is_empty(), "nothing is deleted without a recheck");
    assert_eq!(no_run(case.run().await).0, "unavailable");
}
