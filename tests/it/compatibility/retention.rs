//! The same repositories on every kind of server. They differ in what happens to an expired tag whose manifest has a
//! kept tag.

use regsweep::report::Outcome;
use regsweep::run::LimitMode;

use crate::compatibility::harness::{Case, EVERY, assert_expired_deleted, assert_holds, fill, image, tags};
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::{Artifact, Content, Index, signature_tag};

/// Whether this server can delete a single tag.
fn deletes_tags(personality: Personality) -> bool {
    personality != Personality::V2_8
}

fn signed(fake: &FakeRegistry, content: &Content) -> Content {
    let signature = Artifact::signature(&content.digest).build();
    fake.push("app", &signature_tag(&content.digest), &signature);
    signature
}

#[tokio::test]
async fn repository_with_all_kinds_of_images_keeps_exactly_what_rules_keep() {
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        let shared = image("shared", 1);
        fake.push("app", "keep-shared", &shared);
        fake.push("app", "old-shared", &shared);
        let gone = image("gone", 2);
        fake.push("app", "old-gone", &gone);
        fake.push("app", "old-gone-too", &gone);
        signed(&fake, &gone);
        let [ours, both, theirs] = ["ours", "both", "theirs"].map(|name| image(name, 3));
        let provenance = Artifact::provenance("theirs").build();
        let kept = Index::oci().child(&ours).child(&both).build();
        let expired = Index::oci().child(&both).child(&theirs).attestation(&provenance, &theirs).build();
        fake.push("app", "keep-index", &kept);
        fake.push("app", "old-index", &expired);
        let kept_signatures = [signed(&fake, &kept), signed(&fake, &ours)];
        signed(&fake, &expired);
        signed(&fake, &theirs);
        fake.add_dangling_tag("app", "old-dangling");

        let case = Case::of(&fake);
        let report = case.run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        let [kept_sig, ours_sig] = &kept_signatures;
        assert_holds(&fake, "app", &[&shared, &kept, &ours, &both, kept_sig, ours_sig]);
        let mut expected = vec!["keep-index".to_owned(), "keep-shared".to_owned()];
        expected.extend((!deletes_tags(personality)).then(|| "old-shared".to_owned()));
        expected.extend([&kept, &ours].map(|content| signature_tag(&content.digest)));
        expected.sort();
        assert_eq!(tags(&fake, "app"), expected, "{personality:?}");
        assert_eq!(report.deleted.len(), 7, "{personality:?}");
        let untagged: Vec<&str> = report.untagged.iter().map(|untagged| untagged.tag.as_str()).collect();
        assert_eq!(
            untagged,
            if deletes_tags(personality) { vec!["old-shared"] } else { vec![] },
            "{personality:?}"
        );

        fake.forget_requests();
        let again = case.run().await.unwrap();
        assert_eq!((again.deleted, again.untagged), (vec![], vec![]), "{personality:?}");
        assert_eq!(fake.mutating_requests(), [], "{personality:?}: the second run finds nothing to do");
    }
}

#[tokio::test]
async fn plan_explains_why_a_shared_manifest_keeps_its_tag() {
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        let shared = image("shared", 1);
        fake.push("app", "keep", &shared);
        fake.push("app", "old", &shared);
        let plans = Case::of(&fake).plans().await;
        let reasons = &plans[0].manifests[0].reasons;
        let codes: Vec<&str> = reasons.iter().map(regsweep::plan::Reason::code).collect();
        let last = if deletes_tags(personality) { "tag-expired" } else { "shares-manifest" };
        assert!(codes.contains(&last), "{personality:?}: {codes:?}");
        assert_eq!(plans[0].untag.len(), usize::from(deletes_tags(personality)), "{personality:?}");
    }
}

#[tokio::test]
async fn repositories_without_images_are_no_failure() {
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        fill(&fake, &["app"]);
        fake.push("emptied", "old", &image("emptied", 1));
        fake.change(|state| {
            let emptied = state.repositories.get_mut("emptied").unwrap();
            emptied.tags.clear();
            emptied.manifests.clear();
        });
        let untagged = image("untagged", 1);
        fake.push_untagged("untagged", &untagged);
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_expired_deleted(&fake, "app", &format!("{personality:?}"));
        assert_holds(&fake, "untagged", &[&untagged]);
    }
}

#[tokio::test]
async fn tags_may_be_many_on_few_or_many_images() {
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        let few = [image("even", 1), image("odd", 2)];
        for number in 0..60 {
            fake.push("app", &format!("old-few-{number}"), &few[number % 2]);
            let name = if number % 3 == 0 { "keep" } else { "old-many" };
            fake.push("app", &format!("{name}-{number}"), &image(&format!("many {number}"), 3));
        }
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}");
        assert_eq!((report.deleted.len(), report.untagged.len()), (42, 0), "{personality:?}");
        let left = tags(&fake, "app");
        assert_eq!(left.len(), 20, "{personality:?}");
        assert!(left.iter().all(|tag| tag.starts_with("keep-")), "{personality:?}: {left:?}");
        assert_eq!(fake.manifests("app").len(), 20, "{personality:?}");
    }
}

#[tokio::test]
async fn limit_refuses_a_run_and_can_be_overridden() {
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        fill(&fake, &["app", "other"]);
        let text = crate::compatibility::harness::yaml(
            &fake.url(),
            "",
            "limits: { max_deletions: 5, max_percent: 100 }",
        );
        let case = Case::written(&text);
        let scanned = case.scan_and_plan().await.unwrap();
        let refused = case.apply(&scanned, LimitMode::Enforced).await;
        assert_eq!(refused.outcome(), Outcome::Refused, "{personality:?}");
        assert_eq!(fake.mutating_requests(), [], "{personality:?}");
        let done = case.apply(&scanned, LimitMode::Overridden).await;
        assert_eq!((done.outcome(), done.deleted.len()), (Outcome::Success, 6), "{personality:?}");
    }
}
