//! Invalid answers. One of two repositories has them: it is left alone, whether they are in the scan or in the
//! recheck, and the other is processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regsweep::plan::Reason;
use regsweep::report::{Outcome, RunReport};
use regsweep::run::LimitMode;

use crate::compatibility::harness::{
    Case, EVERY, assert_expired_deleted, assert_holds, assert_untouched, failures, filled, html, image, list,
    old, refusal,
};
use crate::support::fake_registry::{Canned, FakeRegistry, Personality, Request};
use crate::support::image::{Image, Index, digest};

/// A name, the kind of failure, and the invalid answer.
type Spoil = (&'static str, &'static str, fn(&Request, &mut Canned));

/// When the invalid answers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Scanning,
    Verifying,
}

async fn run(personality: Personality, spoil: Spoil, when: When) -> (FakeRegistry, RunReport) {
    let fake = filled(personality, &["good", "odd"]);
    let active = Arc::new(AtomicBool::new(when == When::Scanning));
    let spoiling = Arc::clone(&active);
    fake.after(move |request, reply| {
        if spoiling.load(Ordering::Relaxed) && request.path.starts_with("/v2/odd/") {
            spoil.2(request, reply);
        }
    });
    let case = Case::of(&fake);
    let scanned = case.scan_and_plan().await.unwrap();
    active.store(true, Ordering::Relaxed);
    let report = case.apply(&scanned, LimitMode::Enforced).await;
    (fake, report)
}

async fn check(personality: Personality, spoil: Spoil, when: When) {
    let (fake, report) = run(personality, spoil, when).await;
    let row = format!("{personality:?} {when:?} {}: {report:?}", spoil.0);
    assert_eq!(failures(&report), [("odd", spoil.1)], "{row}");
    assert_eq!(report.outcome(), Outcome::Partial, "{row}");
    assert_untouched(&fake, "odd", &row);
    assert_expired_deleted(&fake, "good", &row);
    let told = report.skipped.iter().filter(|skipped| skipped.repository.as_str() == "odd").count();
    assert_eq!(told, if when == When::Verifying { 3 } else { 0 }, "{row}");
}

fn is_list(request: &Request) -> bool {
    request.path.ends_with("/tags/list")
}

fn is_old(request: &Request) -> bool {
    request.method == "GET" && request.path.ends_with("/manifests/old-2")
}

fn is_kept(request: &Request) -> bool {
    request.path.ends_with("/manifests/keep")
}

fn is_config(request: &Request) -> bool {
    request.path.contains("/blobs/")
}

macro_rules! spoil {
    ($what:literal, $kind:literal, $wanted:ident => $answer:expr) => {
        ($what, $kind, |request: &Request, reply: &mut Canned| {
            if $wanted(request) {
                *reply = $answer;
            }
        })
    };
}

/// Invalid lists and manifests.
const SPOILS: &[Spoil] = &[
    spoil!("a list of nothing", "interrupted", is_list => Canned::dropped()),
    spoil!("a list that breaks off", "interrupted", is_list => list("odd", &["keep", "old-1"]).cut_after(20)),
    spoil!("half a list", "invalid", is_list => Canned::status(200).body(r#"{"name":"odd","tags":["old-1""#)),
    spoil!("a page for people", "invalid", is_list => html(200)),
    spoil!("no object", "invalid", is_list => Canned::status(200).body("[]")),
    spoil!("a text for a list", "invalid", is_list => Canned::status(200).body(r#"{"name":"odd","tags":"old-1"}"#)),
    spoil!("numbers for tags", "invalid", is_list => Canned::status(200).body(r#"{"name":"odd","tags":[1]}"#)),
    spoil!("another's list", "invalid", is_list => list("good", &["old-1", "old-2", "old-3"])),
    spoil!("a proxy's 404 for a list", "not_found", is_list => html(404)),
    spoil!("another 404 for a list", "not_found", is_list => refusal(404, "UNKNOWN")),
    spoil!("a 400 for a list", "invalid", is_list => refusal(400, "TAG_INVALID")),
    spoil!("a list that is denied", "forbidden", is_list => refusal(403, "DENIED")),
    spoil!("a 401 without a challenge", "unauthorized", is_list => Canned::status(401)),
    spoil!("a list that fails", "server", is_list => refusal(500, "UNKNOWN")),
    spoil!("a list of a proxy", "server", is_list => html(503)),
    spoil!("too many lists", "rate_limited", is_list => refusal(429, "TOOMANYREQUESTS")),
    spoil!("an empty answer for a list", "invalid", is_list => Canned::status(200)),
    spoil!("no manifest", "interrupted", is_old => Canned::dropped()),
    spoil!("half a manifest", "interrupted", is_old => Canned::status(200).body(old("odd", 2).manifest).cut_after(30)),
    spoil!("a cut manifest", "digest_mismatch", is_old => {
        let old = old("odd", 2);
        Canned::status(200)
            .header("content-type", old.media_type)
            .header("docker-content-digest", old.digest)
            .body(&old.manifest[..30])
    }),
    spoil!("a proxy's 404", "not_found", is_old => html(404)),
    spoil!("a proxy's 404 for a kept tag", "not_found", is_kept => html(404)),
    spoil!("a kept tag that fails", "server", is_kept => html(500)),
    spoil!("a kept tag that is denied", "forbidden", is_kept => refusal(403, "DENIED")),
    spoil!("a manifest that is denied", "unauthorized", is_old => refusal(401, "UNAUTHORIZED")),
    spoil!("a page for a manifest", "invalid", is_old => html(200)),
    spoil!("other bytes", "digest_mismatch", is_old => {
        let (told, sent) = (old("odd", 2), old("odd", 1));
        Canned::status(200)
            .header("content-type", sent.media_type)
            .header("docker-content-digest", told.digest)
            .body(sent.manifest)
    }),
    spoil!("no digest at all", "invalid", is_old => {
        let old = old("odd", 2);
        Canned::status(200).header("docker-content-digest", "sha256:abc").body(old.manifest)
    }),
    spoil!("an unknown kind of manifest", "invalid", is_old => {
        let body = r#"{"schemaVersion":2,"mediaType":"application/vnd.example.new+json"}"#;
        Canned::status(200).header("content-type", "application/vnd.example.new+json").body(body)
    }),
    spoil!("a manifest without a type", "invalid", is_old => {
        let body = r#"{"schemaVersion":2,"config":{"digest":"sha256:abc"}}"#;
        Canned::status(200).header("content-type", "text/plain").body(body)
    }),
];

#[tokio::test]
async fn repository_that_cannot_be_read_is_left_alone() {
    for personality in [Personality::V2_8, Personality::Oci11] {
        for spoil in SPOILS {
            check(personality, *spoil, When::Scanning).await;
        }
    }
}

#[tokio::test]
async fn repository_that_cannot_be_rechecked_is_left_alone() {
    for personality in [Personality::V2_8, Personality::Oci11] {
        for spoil in SPOILS {
            check(personality, *spoil, When::Verifying).await;
        }
    }
}

#[tokio::test]
async fn status_304_for_an_unconditional_request_is_an_error() {
    let spoil: Spoil = spoil!("a 304", "invalid", is_old => Canned::status(304));
    check(Personality::V3_1, spoil, When::Scanning).await;
}

#[tokio::test]
async fn image_configuration_that_cannot_be_read_leaves_the_repository_alone() {
    const CONFIGS: &[Spoil] = &[
        spoil!("other bytes", "digest_mismatch", is_config => Canned::status(200).body("{}")),
        spoil!("a page", "digest_mismatch", is_config => html(200)),
        spoil!("half of it", "interrupted", is_config => Canned::status(200).body("{\"created\":1}").cut_after(3)),
        spoil!("nothing", "interrupted", is_config => Canned::dropped()),
        spoil!("a proxy's 404", "not_found", is_config => html(404)),
        spoil!("a failure", "server", is_config => refusal(500, "UNKNOWN")),
        spoil!("a refusal", "forbidden", is_config => refusal(403, "DENIED")),
    ];
    for spoil in CONFIGS {
        check(Personality::V2_8, *spoil, When::Scanning).await;
    }
}

#[tokio::test]
async fn image_without_its_configuration_is_kept_and_the_others_are_deleted() {
    for personality in EVERY {
        let fake = filled(personality, &["app"]);
        let hollow = old("app", 2);
        fake.change(|state| {
            state.repositories.get_mut("app").unwrap().blobs.remove(&hollow.config_digest());
        });
        let case = Case::of(&fake);
        let plans = case.plans().await;
        let planned = plans[0].manifests.iter().find(|one| one.digest.as_str() == hollow.digest);
        let codes: Vec<&str> = planned.unwrap().reasons.iter().map(Reason::code).collect();
        assert!(codes.contains(&"unread"), "{personality:?}: {codes:?}");
        let report = case.run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_holds(&fake, "app", &[&image("app keep", 9), &hollow]);
    }
}

#[tokio::test]
async fn child_that_cannot_be_read_leaves_the_repository_alone() {
    for (answer, expected) in [
        (Some(html(500)), vec![("app", "server")]),
        (Some(html(404)), vec![("app", "not_found")]),
        (Some(Canned::dropped()), vec![("app", "interrupted")]),
        (Some(refusal(404, "MANIFEST_UNKNOWN")), vec![]),
        (None, vec![]),
    ] {
        let fake = FakeRegistry::start(Personality::V2_8);
        let (child, other) = (image("child", 1), image("other", 1));
        let index = Index::oci().child(&child).child(&other).build();
        fake.push("app", "old", &index);
        let path = format!("/v2/app/manifests/{}", child.digest);
        let absent = answer.as_ref().is_some_and(|one| one.status == 404) && expected.is_empty();
        if let Some(answer) = answer {
            fake.on(move |request| request.is("GET", &path).then(|| answer.clone()));
        }
        let report = Case::of(&fake).run().await.unwrap();
        assert_eq!(failures(&report), expected);
        match (expected.is_empty(), absent) {
            (false, _) => assert_holds(&fake, "app", &[&index, &child, &other]),
            // The registry answered that it has no such child, so there is nothing to delete.
            (true, true) => assert_holds(&fake, "app", &[&child]),
            (true, false) => assert_holds(&fake, "app", &[]),
        }
    }
}

#[tokio::test]
async fn manifest_of_unknown_type_keeps_everything_it_could_need() {
    let fake = filled(Personality::Oci11, &["app", "good"]);
    let body = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.example.bundle+json","needs":"{}"}}"#,
        old("app", 1).digest
    );
    let strange = digest(body.as_bytes());
    fake.change(|state| {
        let manifest = ("application/vnd.example.bundle+json".to_owned(), body.clone().into_bytes());
        state.repositories.get_mut("app").unwrap().manifests.insert(strange.clone(), manifest);
        state.tag("app", "bundle", &strange);
    });
    let report = Case::of(&fake).run().await.unwrap();
    assert_eq!(failures(&report), [("app", "invalid")]);
    assert_eq!(fake.manifests("app").len(), 5);
    assert_expired_deleted(&fake, "good", "it has only known types");
}

#[tokio::test]
async fn image_of_unknown_age_is_kept() {
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        let undated = Image::new("undated").undated().build();
        let reproducible = Image::new("reproducible").created("1970-01-01T00:00:00Z").build();
        let future = Image::new("future").created("2030-01-01T00:00:00Z").build();
        let garbled = Image::new("garbled").created("last week").build();
        let all = [undated, reproducible, future, garbled];
        for (number, content) in all.iter().enumerate() {
            fake.push("app", &format!("old-{number}"), content);
        }
        Case::of(&fake).run().await.unwrap();
        assert_holds(&fake, "app", &all.each_ref());
    }
}

#[tokio::test]
async fn image_that_changed_since_the_plan_is_kept() {
    for personality in EVERY {
        let fake = filled(personality, &["app"]);
        let case = Case::of(&fake);
        let scanned = case.scan_and_plan().await.unwrap();
        let index = Index::oci().child(&old("app", 2)).build();
        let newer = image("pushed again", 8);
        fake.change(|state| {
            state.tag("app", "saved", &old("app", 1).digest);
            state.push("app", "release", &index);
            state.push("app", "old-3", &newer);
        });
        let report = case.apply(&scanned, LimitMode::Enforced).await;
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_eq!((report.deleted.len(), report.skipped.len()), (0, 3), "{personality:?}: {report:?}");
        let kept = image("app keep", 9);
        let [first, second, third] = [1, 2, 3].map(|day| old("app", day));
        assert_holds(&fake, "app", &[&kept, &first, &second, &third, &index, &newer]);
        assert_eq!(fake.mutating_requests(), [], "{personality:?}");
    }
}
