//! Distribution 3.1.0 and 3.1.1 on S3, which do not list a tag whose name begins with the name of another tag: they
//! are told by how they answer, and nothing is deleted there. Others that answer nearly so are not meant.

use regsweep::gc::{CollectionLocks, Collector};
use regsweep::report::Outcome;
use regsweep::run::LimitMode;

use crate::compatibility::case::{
    Case, assert_holds, assert_swept, fill, filled, html, image, refusal, tags, yaml,
};
use crate::support::fake_registry::{Auth, Canned, FakeRegistry, Personality};
use crate::support::image::Content;

/// The object store of the fake itself.
const STORE: &str = "/store/";

/// A registry in which the expired tag of an image hides the kept one.
fn hiding() -> (FakeRegistry, Content) {
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
async fn where_tags_may_be_hidden_nothing_is_deleted_and_the_plan_says_so() {
    let (fake, shared) = hiding();
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
    // No human has seen what is hidden.
    let report = careful.apply(&scanned, LimitMode::Overridden).await;
    assert_eq!(report.outcome(), Outcome::Refused, "{report:?}");
    assert_holds(&fake, "app", &[&shared]);
    assert_eq!(tags(&fake, "app"), ["old", "old-release"]);

    let report = case(&fake, "tags_complete: true").full_run().await.unwrap();
    assert_eq!((report.outcome(), report.deleted.len()), (Outcome::Success, 1), "{report:?}");
}

#[tokio::test]
async fn s3_is_seen_in_the_configuration_where_blobs_are_not_redirected() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    for (storage, outcome) in [("s3: { bucket: b }", Outcome::Refused), ("filesystem: {}", Outcome::Success)]
    {
        std::fs::write(&file, format!("storage: {{ {storage}, redirect: {{ disable: true }} }}")).unwrap();
        let (fake, _) = hiding();
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
async fn nothing_is_deleted_where_a_configuration_that_would_tell_cannot_be_read() {
    let (fake, shared) = hiding();
    fake.change(|state| state.settings.redirect = String::new());
    let case = case(&fake, "gc: { schedule: '0 3 1 1 *', docker: { container: registry } }");
    let gc = case.config.registries[0].gc.as_ref().unwrap();
    let collector = Collector::new(gc, "unix:///nowhere", None, &CollectionLocks::default()).unwrap();
    let report = case.full_run_with(Some(&collector)).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Refused, "{report:?}");
    assert_holds(&fake, "app", &[&shared]);
}

#[tokio::test]
async fn what_was_seen_before_is_no_evidence_against_it() {
    let (fake, _) = hiding();
    let case = case(&fake, "");
    // The second time nothing is asked for that is remembered, no blob among it.
    for _ in 0..2 {
        assert_eq!(case.full_run().await.unwrap().outcome(), Outcome::Refused);
    }
    // Blobs that are gone lead nowhere.
    fake.change(|state| state.repositories.values_mut().for_each(|one| one.blobs.clear()));
    assert_eq!(case.full_run().await.unwrap().outcome(), Outcome::Refused);
}

#[tokio::test]
async fn others_that_redirect_blobs_or_remove_tags_are_not_taken_for_it() {
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
        assert_swept(&fake, "app", name);
    }
}

#[tokio::test]
async fn a_registry_in_which_nothing_is_to_be_deleted_is_not_asked() {
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
async fn it_is_recognized_where_nobody_knows_whether_tags_go_alone() {
    let (fake, shared) = hiding();
    fake.on(|request| request.path.contains("/_catalog").then(|| refusal(403, "DENIED")));
    fake.on(|request| request.path.contains("/regsweep-probe-").then(|| html(404)));
    let report = case(&fake, "repositories: [app]").full_run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Refused, "{report:?}");
    assert_holds(&fake, "app", &[&shared]);
}

#[tokio::test]
async fn a_proxy_that_sends_blobs_elsewhere_is_no_evidence_against_it() {
    let (fake, shared) = hiding();
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
async fn a_registry_that_refuses_the_odd_question_is_another_one() {
    for status in [403, 405, 406, 422, 500] {
        let fake = filled(Personality::V3_0, &["app"]);
        fake.on(move |request| {
            let is_odd = request.query("n").is_some_and(|n| n == "-1" || status != 500);
            is_odd.then(|| refusal(status, "UNSUPPORTED"))
        });
        let report = Case::with(&fake, "repositories: [app]").full_run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{status}: {report:?}");
        assert_swept(&fake, "app", "it hides nothing");
    }
}
