//! Products other than distribution: expired images are deleted, or the run reports why not and deletes nothing.
//!
//! The products are imitations, made from the sources and documents of the real ones.

use regsweep::report::{Outcome, UndoOutcome};
use regsweep::run::LimitMode;

use crate::compatibility::harness::{
    Case, EVERY, assert_expired_deleted, assert_holds, assert_untouched, failures, fill, filled, html, image,
    no_run, old, refusal, skipped, tags,
};
use crate::support::fake_registry::{Auth, Bearer, Canned, FakeRegistry, Logged, Personality};
use crate::support::image::{Artifact, Content, Index, signature_tag};

/// Products that support deletion.
const DELETING: [Personality; 4] =
    [Personality::Oci11, Personality::Zot, Personality::Harbor, Personality::GitLab];
/// Products that do not.
const NOT_DELETING: [Personality; 2] = [Personality::DockerHub, Personality::Ghcr];

const BASIC: &str = "auth: { basic: { username: ann, password: { env: SECRET } } }";

fn tokens(personality: Personality) -> crate::support::fake_registry::Options {
    FakeRegistry::options(personality).auth(Auth::bearer("ann", "secret"))
}

/// The deletions that were not only tests.
fn deletions(fake: &FakeRegistry) -> Vec<Logged> {
    let asked = fake.mutating_requests().into_iter();
    asked.filter(|one| !one.path.contains("/regsweep-probe-") && !one.path.contains("sha256:0000")).collect()
}

fn codes(personality: Personality) -> Vec<&'static str> {
    match personality {
        Personality::Zot => vec!["DENIED"],
        Personality::Harbor => vec!["VIOLATE_FOREIGN_KEY_CONSTRAINT"],
        _ => vec!["MANIFEST_REFERENCED_IN_LIST"],
    }
}

#[tokio::test]
async fn run_deletes_what_is_expired_and_a_second_one_nothing() {
    for personality in DELETING {
        let fake = tokens(personality).start();
        let shared = image("shared", 1);
        fake.push("team/app", "keep-shared", &shared);
        fake.push("team/app", "old-shared", &shared);
        let gone = image("gone", 2);
        fake.push("team/app", "old-gone", &gone);
        fake.push("team/app", "old-gone-too", &gone);
        let sbom = Artifact::referrer("sbom", "application/spdx+json", &gone).build();
        fake.push_untagged("team/app", &sbom);
        let [ours, both, theirs] = ["ours", "both", "theirs"].map(|name| image(name, 3));
        let kept = Index::oci().child(&ours).child(&both).build();
        let expired = Index::oci().child(&both).child(&theirs).build();
        fake.push("team/app", "keep-index", &kept);
        fake.push("team/app", "old-index", &expired);
        let signature = Artifact::signature(&expired.digest).build();
        fake.push("team/app", &signature_tag(&expired.digest), &signature);
        fill(&fake, &["other"]);

        let case = Case::with(&fake, BASIC);
        let report = case.full_run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        let mut expected = vec![&shared, &kept, &ours, &both];
        // Without the referrers API it is unknown, as it has no tag.
        expected.extend((personality == Personality::GitLab).then_some(&sbom));
        assert_holds(&fake, "team/app", &expected);
        let alone = personality != Personality::Harbor;
        let left: &[&str] =
            if alone { &["keep-index", "keep-shared"] } else { &["keep-index", "keep-shared", "old-shared"] };
        assert_eq!(tags(&fake, "team/app"), left, "{personality:?}");
        assert_eq!(report.untagged.len(), usize::from(alone), "{personality:?}");
        assert!(report.deleted.iter().all(|one| !one.already_gone), "{personality:?}: {report:?}");
        assert_expired_deleted(&fake, "other", &format!("{personality:?}"));

        fake.forget_requests();
        let again = case.full_run().await.unwrap();
        assert_eq!(again.outcome(), Outcome::Success, "{personality:?}: {again:?}");
        assert_eq!((again.deleted, again.untagged), (vec![], vec![]), "{personality:?}");
        assert_eq!(deletions(&fake), [], "{personality:?}");
    }
}

#[tokio::test]
async fn product_without_deletion_is_reported_before_the_scan() {
    for personality in NOT_DELETING {
        // The registry refuses a user with the right to delete, and the token service one without.
        for actions in [None, Some(vec!["pull".to_owned(), "push".to_owned()])] {
            let Auth::Bearer(bearer) = Auth::bearer("ann", "secret") else { unreachable!() };
            let auth = Auth::Bearer(Bearer { actions, ..bearer });
            let fake = FakeRegistry::options(personality).auth(auth).start();
            fill(&fake, &["app"]);
            let case = Case::with(&fake, &format!("{BASIC}\nrepositories: [app]"));
            let (kind, message) = no_run(case.full_run().await);
            assert_eq!(kind, "not_ready", "{personality:?}: {message}");
            let name =
                if personality == Personality::Ghcr { "GitHub container registry" } else { "Docker Hub" };
            assert!(message.contains(name) && message.contains("own API"), "{message}");
            assert!(message.contains("mode: plan") && !message.contains("REGISTRY_"), "{message}");
            assert!(!fake.requests().iter().any(|one| one.path.contains("/tags/list")), "{personality:?}");
            assert_untouched(&fake, "app", &message);

            let plan = case.scan_and_plan().await.unwrap().plan;
            assert_eq!((plan.totals().delete, plan.failures), (3, vec![]), "{personality:?}");
        }
    }
}

#[tokio::test]
async fn unknown_product_without_deletion_is_not_called_distribution() {
    let fake = filled(Personality::Oci11, &["app"]);
    fake.change(|state| state.settings.delete = false);
    let (kind, message) = no_run(Case::of(&fake).full_run().await);
    assert_eq!(kind, "not_ready");
    assert!(message.contains("does not support deletion, or it is disabled"), "{message}");
    assert!(message.contains("distribution") && message.contains("REGISTRY_STORAGE_DELETE_ENABLED=true"));
}

#[tokio::test]
async fn child_of_a_kept_index_is_skipped_and_the_rest_is_deleted() {
    for personality in [Personality::Zot, Personality::Harbor, Personality::GitLab] {
        let fake = tokens(personality).start();
        fill(&fake, &["app"]);
        // No tag points to this index, so only the registry knows that it needs the child.
        let child = image("child", 1);
        let index = Index::oci().child(&child).build();
        fake.push_untagged("app", &index);
        fake.push("app", "old-child", &child);
        let signature = Artifact::signature(&child.digest).build();
        fake.push("app", &signature_tag(&child.digest), &signature);
        let report = Case::with(&fake, BASIC).full_run().await.unwrap();
        assert_eq!(failures(&report), [("app", "forbidden")], "{personality:?}: {report:?}");
        let error = &report.failures[0].error;
        assert!(codes(personality).iter().any(|code| error.contains(code)), "{error}");
        let why = [
            (child.digest.as_str(), "its deletion failed"),
            (signature.digest.as_str(), "something that needs it is still there"),
        ];
        assert_eq!(skipped(&report), why, "{personality:?}");
        assert_holds(&fake, "app", &[&image("app keep", 9), &index, &child, &signature]);
    }
}

#[tokio::test]
async fn manifest_that_the_user_may_not_delete_is_skipped_and_the_rest_is_deleted() {
    for (options, kind) in [
        (tokens(Personality::Zot).one_tag_only(), "409"),
        (tokens(Personality::Harbor).immutable("old-guarded"), "412"),
    ] {
        let fake = options.start();
        fill(&fake, &["app"]);
        let guarded = image("guarded", 1);
        fake.push("app", "old-guarded", &guarded);
        fake.push("app", "old-guarded-too", &guarded);
        let report = Case::with(&fake, BASIC).full_run().await.unwrap();
        assert_eq!(failures(&report), [("app", "forbidden")], "{report:?}");
        assert!(report.failures[0].error.contains(kind), "{report:?}");
        assert_holds(&fake, "app", &[&image("app keep", 9), &guarded]);
        assert_eq!(tags(&fake, "app"), ["keep", "old-guarded", "old-guarded-too"]);
    }
}

#[tokio::test]
async fn refusal_of_one_manifest_does_not_affect_the_others() {
    for personality in EVERY.into_iter().chain(DELETING) {
        for (status, code) in [(403, "DENIED"), (405, "DENIED"), (409, "CONFLICT"), (412, "PRECONDITION")] {
            let fake = filled(personality, &["app"]);
            let path = format!("/v2/app/manifests/{}", old("app", 2).digest);
            fake.on(move |request| request.is("DELETE", &path).then(|| refusal(status, code)));
            let report = Case::of(&fake).full_run().await.unwrap();
            assert_eq!(failures(&report), [("app", "forbidden")], "{personality:?} {status}: {report:?}");
            assert_eq!(tags(&fake, "app"), ["keep", "old-2"], "{personality:?} {status}");
        }
    }
}

/// The test deletions of a tag, with their statuses.
fn test_deletions(fake: &FakeRegistry) -> Vec<(String, u16)> {
    let asked = fake.requests().into_iter().filter(|one| one.path.contains("/regsweep-probe-"));
    asked.map(|one| (one.method, one.status)).collect()
}

#[tokio::test]
async fn tag_deletion_is_tested_by_a_run_and_not_by_a_plan() {
    for (personality, status) in [
        (Personality::V2_8, 400),
        (Personality::V3_0, 404),
        (Personality::V3_1, 404),
        (Personality::Oci11, 404),
        (Personality::Zot, 404),
        (Personality::Harbor, 400),
        (Personality::GitLab, 404),
    ] {
        let fake = FakeRegistry::start(personality);
        let shared = image("shared", 1);
        fake.push("app", "keep", &shared);
        fake.push("app", "old", &shared);
        let case = Case::of(&fake);
        case.scan_and_plan().await.unwrap();
        assert_eq!((fake.mutating_requests(), test_deletions(&fake)), (vec![], vec![]), "{personality:?}");
        let report = case.full_run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        let expected = [("GET".to_owned(), 404), ("DELETE".to_owned(), status)];
        assert_eq!(test_deletions(&fake), expected, "{personality:?}");
        let alone = status == 404;
        assert_eq!(tags(&fake, "app").len(), if alone { 1 } else { 2 }, "{personality:?}");
        assert_eq!(report.untagged.len(), usize::from(alone), "{personality:?}");
    }
}

#[tokio::test]
async fn tag_deletion_is_inferred_from_the_token_service_by_a_plan() {
    for (personality, alone) in [
        (Personality::V2_8, false),
        (Personality::V3_1, true),
        (Personality::Zot, true),
        (Personality::Harbor, false),
        (Personality::GitLab, true),
        (Personality::DockerHub, false),
        (Personality::Ghcr, false),
    ] {
        let fake = tokens(personality).start();
        let shared = image("shared", 1);
        fake.push("app", "keep", &shared);
        fake.push("app", "old", &shared);
        let case = Case::with(&fake, &format!("{BASIC}\nrepositories: [app]"));
        let plan = case.scan_and_plan().await.unwrap().plan;
        assert_eq!(plan.totals().untag, usize::from(alone), "{personality:?}");
        assert_eq!(fake.mutating_requests(), [], "{personality:?}");
    }
}

#[tokio::test]
async fn tag_deletion_is_not_tested_with_an_existing_tag() {
    let fake = FakeRegistry::start(Personality::V3_1);
    let shared = image("shared", 1);
    fake.push("app", "keep", &shared);
    fake.push("app", "old", &shared);
    // Every possible tag exists.
    fake.before(|request, state| {
        if let Some((_, tag)) = request.path.split_once("/app/manifests/regsweep-probe-") {
            let digest = state.repositories["app"].tags["keep"].clone();
            state.tag("app", &format!("regsweep-probe-{tag}"), &digest);
        }
    });
    let report = Case::of(&fake).full_run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_eq!(test_deletions(&fake)[0], ("GET".to_owned(), 200));
    assert!(
        test_deletions(&fake).iter().all(|(method, _)| method != "DELETE"),
        "{:?}",
        test_deletions(&fake)
    );
    assert_eq!(report.untagged.len(), 1, "the version of the registry decides then");
}

#[tokio::test]
async fn tag_deletion_test_without_an_answer_does_not_fail_the_run() {
    for method in ["GET", "DELETE"] {
        for answer in [html(404), html(500), Canned::dropped(), refusal(403, "DENIED"), Canned::status(202)] {
            let row = format!("{method} {answer:?}");
            let fake = FakeRegistry::start(Personality::V3_1);
            let shared = image("shared", 1);
            fake.push("app", "keep", &shared);
            fake.push("app", "old", &shared);
            fake.on(move |request| {
                let asks = request.path.contains("/regsweep-probe-") && request.method == method;
                asks.then(|| answer.clone())
            });
            let report = Case::of(&fake).full_run().await.unwrap();
            assert_eq!(report.outcome(), Outcome::Success, "{row}: {report:?}");
            assert_eq!(report.untagged.len(), 1, "{row}: what is known without an answer counts then");
        }
    }
}

#[tokio::test]
async fn tag_deletion_is_not_tried_again_after_a_refusal() {
    for answer in [refusal(400, "UNSUPPORTED"), refusal(405, "UNSUPPORTED"), Canned::status(405)] {
        let names: Vec<String> = (0..9).map(|number| format!("app-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let fake = filled(Personality::V3_1, &names);
        let shared = image("shared", 1);
        for name in &names {
            fake.push(name, "keep-shared", &shared);
            fake.push(name, "old-shared", &shared);
            fake.push(name, "old-shared-too", &shared);
        }
        let status = answer.status;
        fake.on(move |request| {
            let tag = request.path.contains("/manifests/old-shared") && request.method == "DELETE";
            tag.then(|| answer.clone())
        });
        let report = Case::of(&fake).full_run().await.unwrap();
        assert_eq!(report.deleted.len(), 27, "{status}: manifests go all the same");
        assert_eq!(report.untagged, []);
        let all: Vec<(&str, &str)> = names.iter().map(|&name| (name, "unsupported")).collect();
        let mut told = failures(&report);
        told.sort_unstable();
        assert_eq!(told, all, "{status}");
        let words = "does not delete a single tag of a manifest that is kept";
        assert!(report.failures.iter().all(|failure| failure.error.contains(words)), "{report:?}");
        let tried = deletions(&fake).into_iter().filter(|one| one.status == status).count();
        assert!((1..=4).contains(&tried), "once in each repository that was under way: {tried}");
        for name in &names {
            assert_eq!(
                tags(&fake, name),
                ["keep", "keep-shared", "old-shared", "old-shared-too"],
                "{status}"
            );
        }
    }
}

#[tokio::test]
async fn catalog_without_access_is_an_error_that_names_the_configuration() {
    for (status, words) in [
        (401, "does not show its catalog to this user"),
        (403, "does not show its catalog to this user"),
        (404, "the registry has no catalog"),
        (405, "the registry has no catalog"),
    ] {
        let fake = filled(Personality::Oci11, &["app"]);
        fake.on(move |request| request.path.ends_with("/_catalog").then(|| refusal(status, "DENIED")));
        let (kind, message) = no_run(Case::of(&fake).full_run().await);
        assert_eq!(kind, "no_catalog", "{message}");
        assert!(message.contains(words), "{status}: {message}");
        let way = "list `repositories` of this registry in the configuration";
        assert!(message.contains(way), "{status}: {message}");
        assert_eq!(message.contains("give the user the right to see it"), status < 404, "{message}");
    }
}

#[tokio::test]
async fn configured_repositories_are_planned_without_catalog_access() {
    for personality in [Personality::Harbor, Personality::GitLab, Personality::DockerHub, Personality::Ghcr] {
        let fake = tokens(personality).not_administrator().start();
        fill(&fake, &["team/app", "other"]);
        let (kind, message) = no_run(Case::with(&fake, BASIC).full_run().await);
        assert_eq!(kind, "no_catalog", "{personality:?}: {message}");
        assert!(message.contains("list `repositories`"), "{personality:?}: {message}");
        let case = Case::with(&fake, &format!("{BASIC}\nrepositories: [team/app]"));
        let plan = case.scan_and_plan().await.unwrap().plan;
        assert_eq!((plan.totals().delete, plan.failures), (3, vec![]), "{personality:?}");
    }
}

#[tokio::test]
async fn harbor_catalog_is_read_with_the_password() {
    let fake = tokens(Personality::Harbor).start();
    fill(&fake, &["team/app"]);
    let report = Case::with(&fake, BASIC).full_run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_expired_deleted(&fake, "team/app", "it is in the catalog");
    let shown = |wanted: &str| {
        let all = fake.requests().into_iter().filter(|one| one.path.contains(wanted));
        all.map(|one| one.authorization.unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(shown("_catalog"), ["Bearer", "Basic"]);
    assert!(
        shown("/manifests/").iter().skip(1).any(|one| one == "Bearer"),
        "tokens are for all other requests"
    );
    assert!(!shown("/manifests/").contains(&"Basic".to_owned()));

    let other = tokens(Personality::Harbor).not_administrator().start();
    let (_, message) = no_run(Case::with(&other, BASIC).full_run().await);
    assert!(message.contains("does not allow this to the user"), "{message}");
    let asked = other.requests().into_iter().filter(|one| one.path.contains("_catalog")).count();
    assert_eq!(asked, 2, "the number of requests is limited");
}

#[tokio::test]
async fn repository_that_does_not_exist_is_no_failure_on_any_product() {
    for personality in DELETING {
        let fake = tokens(personality).start();
        fill(&fake, &["app"]);
        for names in ["[app, no/body]", "[no/body, app]"] {
            let case = Case::with(&fake, &format!("{BASIC}\nrepositories: {names}"));
            let report = case.full_run().await.unwrap();
            assert_eq!(report.outcome(), Outcome::Success, "{personality:?} {names}: {report:?}");
        }
        assert_expired_deleted(&fake, "app", &format!("{personality:?}"));
    }
}

#[tokio::test]
async fn image_that_is_already_gone_is_recognized_on_every_product() {
    for (status, code) in
        [(404, "MANIFEST_UNKNOWN"), (404, "NAME_UNKNOWN"), (404, "NOT_FOUND"), (400, "NAME_UNKNOWN")]
    {
        let fake = filled(Personality::Oci11, &["app"]);
        let path = format!("/v2/app/manifests/{}", old("app", 2).digest);
        fake.on(move |request| request.is("DELETE", &path).then(|| refusal(status, code)));
        let report = Case::of(&fake).full_run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{status} {code}: {report:?}");
        let gone: Vec<bool> = report.deleted.iter().map(|one| one.already_gone).collect();
        assert_eq!(gone, [false, true, false], "{status} {code}");
    }
}

#[tokio::test]
async fn headers_that_differ_between_products_are_not_needed() {
    for personality in EVERY.into_iter().chain(DELETING) {
        let fake = filled(personality, &["app"]);
        fake.after(|request, reply| {
            reply.headers.retain(|(name, _)| name != "docker-content-digest" && name != "etag");
            if request.path.ends_with("/tags/list") || request.path.ends_with("/_catalog") {
                reply.set_header("content-type", "text/plain");
            } else if request.path.contains("/manifests/") && reply.status == 200 {
                let stated = reply.headers.iter().find(|(name, _)| name == "content-type");
                let stated = stated.map(|(_, value)| value.clone()).unwrap_or_default();
                reply.set_header("content-type", format!("{stated}; charset=utf-8"));
            }
        });
        let case = Case::of(&fake);
        let report = case.full_run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        assert_expired_deleted(&fake, "app", &format!("{personality:?}"));
    }
}

#[tokio::test]
async fn proxy_answers_are_not_taken_for_the_registry_s() {
    for personality in DELETING {
        let fake = filled(personality, &["app"]);
        fake.on(|request| (request.path == "/v2/app/tags/list").then(|| html(404)));
        let report = Case::of(&fake).full_run().await.unwrap();
        assert_eq!(failures(&report), [("app", "not_found")], "{personality:?}: {report:?}");
        assert_untouched(&fake, "app", &format!("{personality:?}"));
    }
}

/// An index with two children and a signature.
fn index_with_signature() -> (Content, Content) {
    let children = ["amd64", "arm64"].map(|name| image(name, 5));
    let index = Index::oci().child(&children[0]).child(&children[1]).build();
    let signature = Artifact::signature(&index.digest).build();
    (index, signature)
}

#[tokio::test]
async fn children_deleted_with_their_index_are_reported_and_restored() {
    for personality in DELETING {
        let fake = tokens(personality).start();
        let (index, signature) = index_with_signature();
        fake.push("app", "old", &index);
        fake.push("app", &signature_tag(&index.digest), &signature);
        let listed = personality.has_referrers();
        if listed {
            fake.push_untagged("app", &Artifact::referrer("sbom", "application/spdx+json", &index).build());
        }
        let before = (fake.tags("app"), fake.manifests("app"));
        let case = Case::with(&fake, BASIC);
        let scanned = case.scan_and_plan().await.unwrap();
        fake.forget_requests();
        let report = case.apply(&scanned, LimitMode::Enforced).await;
        let expected = (Outcome::Success, 4 + usize::from(listed));
        assert_eq!((report.outcome(), report.deleted.len()), expected, "{personality:?}");
        assert!(report.deleted.iter().all(|one| !one.already_gone), "{personality:?}: {report:?}");
        assert_holds(&fake, "app", &[]);
        let requests = fake.requests();
        let first = requests.iter().position(|one| one.method == "DELETE").unwrap();
        let last = requests.iter().rposition(|one| one.method == "GET" && one.path.contains("/manifests/"));
        let last = last.unwrap();
        assert!(last < first, "{personality:?}: all of the family was read before any of it went");

        let undone = case.undo(1).await;
        assert!(undone.iter().all(|one| one.outcome == UndoOutcome::Restored), "{personality:?}: {undone:?}");
        assert_eq!((fake.tags("app"), fake.manifests("app")), before, "{personality:?}");
    }
}

#[tokio::test]
async fn index_with_an_unreadable_child_is_kept() {
    for personality in DELETING {
        let fake = filled(personality, &["app"]);
        let (index, _) = index_with_signature();
        fake.push("app", "old-index", &index);
        let case = Case::of(&fake);
        let scanned = case.scan_and_plan().await.unwrap();
        let path = format!("/v2/app/manifests/{}", index.children[0].digest);
        fake.on(move |request| request.is("GET", &path).then(|| html(500)));
        let report = case.apply(&scanned, LimitMode::Enforced).await;
        assert_eq!(report.outcome(), Outcome::Partial, "{personality:?}");
        let held = fake.manifests("app");
        for part in index.tree() {
            assert!(held.contains(&part.digest), "{personality:?}: it could not have been restored");
        }
    }
}

#[tokio::test]
async fn plan_uses_what_a_run_has_found_out() {
    // A registry with the referrers API should delete tags; this one does not.
    let fake = FakeRegistry::start(Personality::Oci11);
    for tag in ["keep-shared", "old-shared"] {
        fake.push("app", tag, &image("shared", 1));
    }
    fake.on(|request| {
        let is_tag = request.method == "DELETE" && !request.path.contains("sha256:");
        is_tag.then(|| refusal(400, "UNSUPPORTED"))
    });
    let case = Case::of(&fake);
    assert_eq!(case.scan_and_plan().await.unwrap().plan.totals().untag, 1);
    let report = case.full_run().await.unwrap();
    assert_eq!((report.outcome(), report.untagged.len()), (Outcome::Success, 0), "{report:?}");
    assert_eq!(case.scan_and_plan().await.unwrap().plan.totals().untag, 0);
}
