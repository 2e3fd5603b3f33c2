//! Distribution 3.1.0 and 3.1.1 on S3, which do not list a tag whose name begins with the name of another tag: they
//! are recognized by their answers, and nothing is deleted there. Registries with similar answers are not affected.

use regsweep::gc::{CollectionLocks, Collector};
use regsweep::report::Outcome;
use regsweep::run::LimitMode;

use crate::compatibility::harness::{
    Case, assert_expired_deleted, assert_holds, fill, filled, html, image, refusal, tags, yaml,
};
use crate::support::fake_registry::{Auth, Canned, FakeRegistry, Personality};
use crate::support::image::Content;

/// The object store of the fake registry.
const STORE: &str = "/store/";

/// A registry in which the expired tag of an image hides the kept one.
fn registry_with_hidden_tag() -> (FakeRegistry, Content) {
    let fake = FakeRegistry::options(Personality::V3_1).hiding_on_s3().start();
    let shared = image("shared", 1);
    fake.push("app", "old", &shared);
    fake.push("app", "old-release", &shared);
    (fake, shared)
}

/// Only the tag `old` expires.
fn case(fake: &FakeRegistry, registry: &str) -> Case {
    Case::written(&yaml(&fake.url(), registry, "").replace("'old.*'", "old"))
}

#[tokio::test]
async fn incomplete_tag_lists_delete_nothing_and_the_plan_says_so() {
    let (fake, shared) = registry_with_hidden_tag();
    let careful = case(&fake, "");
    let scanned = careful.scan_and_plan().await.unwrap();
    assert_eq!(scanned.plan.totals().delete, 1);
    let text = scanned.plan.refusals[0].to_string();
    for words in ["distribution/issues/4891", "3.1.1", "`tags_complete: true`", "1 manifests"] {
        assert!(text.contains(words), "{text}");
    }
    let report = careful.full_run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Refused, "{report:?}");
    assert!(report.deleted.is_empty() && report.skipped.is_empty(), "{report:?}");
    // An override does not help: the hidden tags are unknown to the operator, too.
    let report = careful.apply(&scanned, LimitMode::Overridden).await;
    assert_eq!(report.outcome(), Outcome::Refused, "{report:?}");
    assert_holds(&fake, "app", &[&shared]);
    assert_eq!(tags(&fake, "app"), ["old", "old-release"]);

    let report = case(&fake, "tags_complete: true").full_run().await.unwrap();
    assert_eq!((report.outcome(), report.deleted.len()), (Outcome::Success, 1), "{report:?}");
}

#[tokio::test]
async fn s3_is_detected_by_the_configuration_without_redirects() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    for (storage, outcome) in [("s3: { bucket: b }", Outcome::Refused), ("filesystem: {}", Outcome::Success)]
    {
        std::fs::write(&file, format!("storage: {{ {storage}, redirect: {{ disable: true }} }}")).unwrap();
        let (fake, _) = registry_with_hidden_tag();
        fake.change(|state| state.settings.redirect = String::new());
        let run = format!("run: [x, garbage-collect, {}]", file.display());
        let case = case(
            &fake,
            &format!("gc: {{ schedule: '0 3 1 1 *', interruption: none, command: {{ {run} }} }}"),
        );
        let gc = case.config.registries[0].gc.as_ref().unwrap();
        let collector = Collector::new(gc, "unix:///nowhere", None, &CollectionLocks::default()).unwrap();
        let report = case.full_run_with(Some(&collector)).await.unwrap();
        assert_eq!(report.outcome(), outcome, "{storage}: {report:?}");
    }
}

#[tokio::test]
async fn configuration_that_cannot_be_read_prevents_deletions() {
    let (fake, shared) = registry_with_hidden_tag();
    fake.change(|state| state.settings.redirect = String::new());
    let case = case(&fake, "gc: { schedule: '0 3 1 1 *', docker: { container: registry } }");
    let gc = case.config.registries[0].gc.as_ref().unwrap();
    let collector = Collector::new(gc, "unix:///nowhere", None, &CollectionLocks::default()).unwrap();
    let report = case.full_run_with(Some(&collector)).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Refused, "{report:?}");
    assert_holds(&fake, "app", &[&shared]);
}

#[tokio::test]
async fn scan_history_does_not_prevent_the_detection() {
    let (fake, _) = registry_with_hidden_tag();
    let case = case(&fake, "");
    // The second run requests nothing that the scan history has, and so no blob.
    for _ in 0..2 {
        assert_eq!(case.full_run().await.unwrap().outcome(), Outcome::Refused);
    }
    // Blobs that are gone are not redirected.
    fake.change(|state| state.repositories.values_mut().for_each(|one| one.blobs.clear()));
    assert_eq!(case.full_run().await.unwrap().outcome(), Outcome::Refused);
}

#[tokio::test]
async fn other_registries_with_redirects_or_tag_deletion_are_not_affected() {
    let bearer = Auth::bearer("ann", "secret");
    let own = |personality| FakeRegistry::options(personality).redirects(STORE);
    let cases = [
        ("3.1 with its blobs in files", FakeRegistry::options(Personality::V3_1)),
        ("3.0 on S3", own(Personality::V3_0)),
        ("2.8 on S3", own(Personality::V2_8)),
        ("OCI 1.1", own(Personality::Oci11)),
        ("zot", own(Personality::Zot)),
        ("Harbor", own(Personality::Harbor).auth(bearer.clone())),
        ("GitLab", own(Personality::GitLab).auth(bearer)),
    ];
    for (name, options) in cases {
        let fake = options.start();
        fill(&fake, &["app"]);
        let case = Case::with(&fake, "auth: { basic: { username: ann, password: { env: SECRET } } }");
        let report = case.full_run().await.unwrap();
        assert_eq!(report.refusals, [], "{name}");
        assert_expired_deleted(&fake, "app", name);
    }
}

#[tokio::test]
async fn registry_without_expired_images_is_not_tested() {
    let fake = FakeRegistry::options(Personality::V3_1).hiding_on_s3().start();
    let kept = image("kept", 1);
    fake.push("app", "keep", &kept);
    let report = Case::of(&fake).full_run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_holds(&fake, "app", &[&kept]);
    assert_eq!(tags(&fake, "app"), ["keep"]);
    assert!(!fake.requests().iter().any(|one| one.method == "HEAD" && one.path.contains("/blobs/")));
}

#[tokio::test]
async fn incomplete_tag_lists_are_detected_without_known_tag_deletion() {
    let (fake, shared) = registry_with_hidden_tag();
    fake.on(|request| request.path.contains("/_catalog").then(|| refusal(403, "DENIED")));
    fake.on(|request| request.path.contains("/regsweep-probe-").then(|| html(404)));
    let report = case(&fake, "repositories: [app]").full_run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Refused, "{report:?}");
    assert_holds(&fake, "app", &[&shared]);
}

#[tokio::test]
async fn proxy_redirects_do_not_prevent_the_detection() {
    let (fake, shared) = registry_with_hidden_tag();
    fake.on(|request| {
        let target = format!("https://blobs.example.com{}", request.target);
        (request.method == "HEAD" && request.path.contains("/blobs/"))
            .then(|| Canned::status(307).header("location", target))
    });
    let report = case(&fake, "").full_run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Refused, "{report:?}");
    assert_holds(&fake, "app", &[&shared]);
}

#[tokio::test]
async fn registry_that_refuses_the_unusual_page_size_is_not_affected() {
    for status in [403, 405, 406, 422, 500] {
        let fake = filled(Personality::V3_0, &["app"]);
        fake.on(move |request| {
            let is_odd = request.query("n").is_some_and(|n| n == "-1" || status != 500);
            is_odd.then(|| refusal(status, "UNSUPPORTED"))
        });
        let report = Case::with(&fake, "repositories: [app]").full_run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{status}: {report:?}");
        assert_expired_deleted(&fake, "app", "its lists are complete");
    }
}
