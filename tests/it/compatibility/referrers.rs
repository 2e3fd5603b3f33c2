//! Referrers, where the registry lists them, and tags that a registry does not delete.

use regsweep::report::Outcome;
use serde_json::json;

use crate::compatibility::harness::{Case, assert_holds, deleted, failures, html, image, refusal, tags};
use crate::support::fake_registry::{Canned, FakeRegistry, Personality};
use crate::support::image::{Artifact, Content, Index, OCI_INDEX};

fn sbom(name: &str, subject: &Content) -> Content {
    Artifact::referrer(name, "application/spdx+json", subject).build()
}

fn untagged(fake: &FakeRegistry, content: Content) -> Content {
    fake.push_untagged("app", &content);
    content
}

#[tokio::test]
async fn referrers_are_deleted_or_kept_with_their_image() {
    let fake = FakeRegistry::start(Personality::Oci11);
    let (kept, expired, child) = (image("kept", 1), image("expired", 1), image("child", 1));
    fake.push("app", "keep", &kept);
    fake.push("app", "old", &expired);
    let index = Index::oci().child(&child).build();
    fake.push("app", "old-index", &index);
    let about_kept = untagged(&fake, sbom("kept", &kept));
    let about_that = untagged(&fake, sbom("the kept one's", &about_kept));
    let about_expired = untagged(&fake, sbom("expired", &expired));
    let about_it = untagged(&fake, sbom("the expired one's", &about_expired));
    let about_child = untagged(&fake, sbom("child", &child));

    let report = Case::of(&fake).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_holds(&fake, "app", &[&kept, &about_kept, &about_that]);
    let order = deleted(&report);
    let position = |content: &Content| order.iter().position(|digest| *digest == content.digest);
    assert!(position(&expired) < position(&about_expired) && position(&about_expired) < position(&about_it));
    assert!(position(&index) < position(&child) && position(&child) < position(&about_child));
}

#[tokio::test]
async fn referrer_with_a_kept_tag_keeps_its_subject() {
    let fake = FakeRegistry::start(Personality::Oci11);
    let expired = image("expired", 1);
    fake.push("app", "old", &expired);
    let tagged = sbom("tagged", &expired);
    fake.push("app", "sbom-that-stays", &tagged);
    let other = untagged(&fake, sbom("untagged", &expired));
    fake.push("app", "old-too", &image("other", 1));
    let report = Case::of(&fake).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_holds(&fake, "app", &[&expired, &tagged, &other]);
}

#[tokio::test]
async fn referrers_support_is_not_inferred_from_a_broken_repository() {
    for answer in [403, 500] {
        let fake = FakeRegistry::start(Personality::Oci11);
        fake.push("aaa", "old", &image("broken", 1));
        let expired = image("expired", 1);
        fake.push("app", "old", &expired);
        fake.push("app", "keep", &image("kept", 1));
        let about_expired = untagged(&fake, sbom("expired", &expired));
        fake.on(move |request| request.path.starts_with("/v2/aaa/referrers").then(|| html(answer)));
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(failures(&report).len(), 1, "{answer}: {report:?}");
        assert_eq!(deleted(&report), [expired.digest.as_str(), &about_expired.digest], "{answer}");
    }
}

#[tokio::test]
async fn referrers_that_cannot_be_listed_keep_the_repository() {
    let index = |manifests| json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let no_digest = index(json!([{ "digest": "sha256:abc" }])).to_string();
    for (answer, expected) in [
        (Canned::dropped(), "interrupted"),
        (html(500), "server"),
        (html(404), "not_found"),
        (html(200), "invalid"),
        (Canned::status(200).body("{}"), "invalid"),
        (Canned::status(200).body(no_digest), "invalid"),
    ] {
        let fake = FakeRegistry::start(Personality::Oci11);
        let expired = image("expired", 1);
        fake.push("app", "old", &expired);
        fake.push("other", "old", &image("other", 1));
        let path = format!("/v2/app/referrers/{}", expired.digest);
        fake.on(move |request| request.is("GET", &path).then(|| answer.clone()));
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(failures(&report), [("app", expected)], "{report:?}");
        assert_holds(&fake, "app", &[&expired]);
        assert_holds(&fake, "other", &[]);
    }
}

#[tokio::test]
async fn referrers_may_have_several_pages() {
    let fake = FakeRegistry::start(Personality::Oci11);
    let expired = image("expired", 1);
    fake.push("app", "old", &expired);
    let pages = [untagged(&fake, sbom("first", &expired)), untagged(&fake, sbom("second", &expired))];
    let path = format!("/v2/app/referrers/{}", expired.digest);
    fake.on(move |request| {
        let second = request.query("page").is_some();
        let page = pages[usize::from(second)].descriptor();
        let body = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [page] });
        let answer = Canned::status(200).header("content-type", OCI_INDEX).body(body.to_string());
        let link = format!("<{path}?page=2>; rel=\"next\"");
        request.is("GET", &path).then(|| if second { answer } else { answer.header("link", link) })
    });
    let report = Case::of(&fake).run().await.unwrap();
    assert_eq!((report.outcome(), report.deleted.len()), (Outcome::Success, 3), "{report:?}");
    assert_holds(&fake, "app", &[]);
}

#[tokio::test]
async fn tag_that_the_registry_does_not_delete_is_reported() {
    for personality in [Personality::V3_0, Personality::V3_1, Personality::Oci11] {
        for (answer, kind) in [
            (refusal(400, "UNSUPPORTED"), "unsupported"),
            (refusal(405, "UNSUPPORTED"), "unsupported"),
            (Canned::status(405), "unsupported"),
            (refusal(403, "DENIED"), "forbidden"),
            (html(404), "not_found"),
            (html(500), "server"),
        ] {
            let fake = FakeRegistry::start(personality);
            let shared = image("shared", 1);
            fake.push("app", "keep", &shared);
            fake.push("app", "old-shared", &shared);
            fake.push("app", "old", &image("gone", 1));
            fake.on(move |request| {
                request.is("DELETE", "/v2/app/manifests/old-shared").then(|| answer.clone())
            });
            let report = Case::of(&fake).run().await.unwrap();
            assert_eq!(failures(&report), [("app", kind)], "{personality:?}");
            assert_eq!(report.outcome(), Outcome::Partial);
            assert_holds(&fake, "app", &[&shared]);
            assert_eq!(tags(&fake, "app"), ["keep", "old-shared"], "{personality:?} {kind}");
            let skipped = &report.skipped[0];
            assert_eq!(skipped.tag.as_ref().map(|tag| tag.as_str()), Some("old-shared"));
            assert_eq!(skipped.why, "its removal failed");
        }
    }
}
