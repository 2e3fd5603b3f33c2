//! Passwords, tokens that expire or have too narrow a scope, and token services that fail.

use std::time::Duration;

use regsweep::report::Outcome;

use crate::compatibility::harness::{
    Case, EVERY, assert_expired_deleted, assert_untouched, failures, fill, filled, html, no_run, once, yaml,
};
use crate::support::fake_registry::{Auth, Bearer, Canned, FakeRegistry, Personality};

const BASIC: &str = "auth: { basic: { username: ann, password: { env: SECRET } } }";

fn locked(personality: Personality, auth: Auth) -> FakeRegistry {
    let fake = FakeRegistry::options(personality).auth(auth).start();
    fill(&fake, &["app"]);
    fake
}

fn bearer(lifetime: Duration, actions: Option<&[&str]>) -> Auth {
    Auth::Bearer(Bearer {
        user: "ann".into(),
        password: "secret".into(),
        lifetime,
        actions: actions.map(|actions| actions.iter().map(|&action| action.into()).collect()),
        refresh_token: None,
        rotates: false,
    })
}

/// The requested scopes of tokens, in order.
pub(crate) fn scopes(fake: &FakeRegistry) -> Vec<String> {
    let asked = fake.requests().into_iter().filter(|one| one.path.starts_with("/token"));
    let scopes = asked.map(|one| {
        let query = one.path.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == "scope").map(|(_, scope)| scope.into_owned()).unwrap_or_default()
    });
    scopes.collect()
}

#[tokio::test]
async fn password_authenticates_to_every_registry() {
    for personality in EVERY {
        for auth in [Auth::basic("ann", "secret"), Auth::bearer("ann", "secret")] {
            let fake = locked(personality, auth.clone());
            let report = Case::with(&fake, BASIC).run().await.unwrap();
            assert_eq!(report.outcome(), Outcome::Success, "{personality:?} {auth:?}: {report:?}");
            assert_expired_deleted(&fake, "app", &format!("{personality:?}"));
        }
    }
}

#[tokio::test]
async fn password_is_sent_only_after_a_challenge() {
    let fake = filled(Personality::V3_1, &["app"]);
    Case::with(&fake, BASIC).run().await.unwrap();
    assert!(fake.requests().iter().all(|one| one.authorization.is_none()));
}

#[tokio::test]
async fn password_that_is_wrong_is_one_clear_error() {
    for personality in EVERY {
        for (auth, configured, words) in [
            (Auth::basic("ann", "other"), BASIC, "does not accept the user name and password"),
            (Auth::basic("ann", "other"), "", "wants a user name and a password"),
            (Auth::bearer("ann", "other"), BASIC, "/token: 401"),
            (Auth::bearer("ann", "other"), "", "/token: 401"),
            (
                Auth::basic("ann", "other"),
                "auth: { bearer: { env: SECRET } }",
                "does not accept the bearer token",
            ),
        ] {
            let fake = locked(personality, auth);
            let (kind, message) = no_run(Case::with(&fake, configured).run().await);
            assert_eq!(kind, "unauthorized", "{message}");
            assert!(message.contains(words) && message.contains("check auth of this registry"), "{message}");
            assert!(!message.contains("secret"), "{message}");
            assert!(fake.requests().len() <= 3, "it is not tried over and over: {:?}", fake.requests());
            assert_untouched(&fake, "app", &message);
        }
    }
}

#[tokio::test]
async fn challenge_that_is_missing_is_reported() {
    for challenge in [None, Some("Digest realm=\"x\""), Some("Bearer"), Some("")] {
        let fake = filled(Personality::V3_1, &["app"]);
        let answer = Canned::status(401);
        let answer = match challenge {
            Some(challenge) => answer.header("www-authenticate", challenge),
            None => answer,
        };
        fake.on(move |_| Some(answer.clone()));
        let (kind, message) = no_run(Case::with(&fake, BASIC).run().await);
        assert_eq!(kind, "unauthorized");
        assert!(message.contains("does not say which kind"), "{challenge:?}: {message}");
    }
}

#[tokio::test]
async fn token_is_reused_for_all_requests_of_its_scope() {
    let options = FakeRegistry::options(Personality::V3_1).auth(Auth::bearer("ann", "secret"));
    let fake = options.latency(Duration::from_millis(2)).start();
    fill(&fake, &["app", "other"]);
    for number in 0..40 {
        fake.push("app", &format!("keep-{number}"), &crate::compatibility::harness::image("many tags", 1));
    }
    let report = Case::with(&fake, BASIC).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    let mut scopes = scopes(&fake);
    scopes.sort();
    let expected = [
        "",
        "registry:catalog:*",
        "repository:app:pull",
        "repository:app:pull,delete",
        "repository:other:pull",
        "repository:other:pull,delete",
    ];
    assert_eq!(scopes, expected);
    let token_requests = fake.requests().into_iter().filter(|one| one.path.starts_with("/token"));
    assert!(token_requests.into_iter().all(|one| one.authorization.as_deref() == Some("Basic")));
}

#[tokio::test]
async fn token_that_expires_during_a_run_is_renewed() {
    let fake = locked(Personality::V3_1, Auth::bearer("ann", "secret"));
    let challenge = format!(
        "Bearer realm=\"{}/token\",service=\"fake.registry\",scope=\"repository:app:pull\",error=\"invalid_token\"",
        fake.url()
    );
    let ended = Canned::status(401).header("www-authenticate", challenge);
    fake.on(once(
        |request| request.path == "/v2/app/manifests/old-2" && request.header("authorization").is_some(),
        ended,
    ));
    let report = Case::with(&fake, BASIC).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_expired_deleted(&fake, "app", "it continued with another token");
    let pulls = scopes(&fake).into_iter().filter(|scope| scope == "repository:app:pull").count();
    assert_eq!(pulls, 2);
}

#[tokio::test]
async fn token_lifetime_of_less_than_a_second_is_enough() {
    let fake = locked(Personality::V3_1, bearer(Duration::from_millis(900), None));
    let report = Case::with(&fake, BASIC).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_expired_deleted(&fake, "app", "each was good for one request");
}

#[tokio::test]
async fn token_with_too_narrow_a_scope_is_reported_and_deletes_nothing() {
    let fake = locked(Personality::V3_1, bearer(Duration::from_secs(60), Some(&["pull", "*"])));
    let report = Case::with(&fake, BASIC).run().await.unwrap();
    assert_eq!(failures(&report), [("app", "unauthorized")], "{report:?}");
    assert_untouched(&fake, "app", "the scope of the token was too narrow");
    let mut deletes: Vec<String> =
        scopes(&fake).into_iter().filter(|scope| scope.contains("delete")).collect();
    assert!(deletes.len() <= 3, "it is not asked for ever: {deletes:?}");
    deletes.dedup();
    assert_eq!(
        deletes,
        ["repository:app:pull,delete", "repository:app:delete"],
        "then with the scope of the challenge"
    );
    assert!(report.failures[0].error.contains("check auth"), "{report:?}");
}

#[tokio::test]
async fn scope_of_the_challenge_is_used_from_then_on() {
    let fake = locked(Personality::V3_1, Auth::bearer("ann", "secret"));
    let challenge = format!(
        "Bearer realm=\"{}/token\",service=\"fake.registry\",scope=\"repository:app:pull,push,delete\"",
        fake.url()
    );
    let answer = Canned::status(401).header("www-authenticate", challenge);
    fake.on(once(|request| request.method == "DELETE", answer));
    let report = Case::with(&fake, BASIC).run().await.unwrap();
    assert_eq!((report.outcome(), report.deleted.len()), (Outcome::Success, 3), "{report:?}");
    let deletes: Vec<String> = scopes(&fake).into_iter().filter(|scope| scope.contains("delete")).collect();
    assert_eq!(deletes, ["repository:app:pull,delete", "repository:app:pull,push,delete"]);
}

#[tokio::test]
async fn bearer_token_of_the_configuration_is_sent_as_it_is() {
    let fake = filled(Personality::V3_1, &["app"]);
    fake.on(|request| {
        (request.header("authorization") != Some("Bearer secret")).then(|| Canned::status(401))
    });
    let report = Case::with(&fake, "auth: { bearer: { env: SECRET } }").run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_expired_deleted(&fake, "app", "the token was sent");
}

#[tokio::test]
async fn docker_configuration_authenticates() {
    // echo -n ann:secret | base64
    let pair = "YW5uOnNlY3JldA==";
    for auth in [Auth::basic("ann", "secret"), Auth::bearer("ann", "secret")] {
        let fake = locked(Personality::V2_8, auth);
        let host = fake.host();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, format!(r#"{{"auths":{{"{host}":{{"auth":"{pair}"}}}}}}"#)).unwrap();
        let configured = format!("auth: {{ docker_config: '{}' }}", file.path().display());
        let report = Case::with(&fake, &configured).run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    }
}

#[tokio::test]
async fn identity_token_is_exchanged_for_access_tokens() {
    let Auth::Bearer(bearer) = Auth::bearer("ann", "unused") else { unreachable!() };
    let auth = Auth::Bearer(Bearer { refresh_token: Some("secret identity".into()), ..bearer });
    let fake = locked(Personality::V3_1, auth);
    let file = tempfile::NamedTempFile::new().unwrap();
    let host = fake.host();
    let text = format!(r#"{{"auths":{{"{host}":{{"identitytoken":"secret identity"}}}}}}"#);
    std::fs::write(&file, text).unwrap();
    let configured = format!("auth: {{ docker_config: '{}' }}", file.path().display());
    let report = Case::with(&fake, &configured).run().await.unwrap();
    assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
    assert_expired_deleted(&fake, "app", "the tokens were good");
    let asked: Vec<String> = fake
        .requests()
        .into_iter()
        .filter(|one| one.path.starts_with("/token"))
        .map(|one| one.method)
        .collect();
    assert!(!asked.is_empty() && asked.iter().all(|method| method == "POST"), "{asked:?}");
}

#[tokio::test]
async fn docker_configuration_without_the_registry_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, r#"{"auths":{}}"#).unwrap();
    let configured = format!("auth: {{ docker_config: '{}' }}", file.path().display());
    let config =
        regsweep::config::parse(&yaml("http://127.0.0.1:1", &configured, ""), "f", &|_| None).unwrap();
    let refused = regsweep::registry::Reader::new(
        &config.registries[0],
        crate::compatibility::harness::QUICK,
        std::sync::Arc::new(()),
    );
    let message = format!("{:#}", refused.err().unwrap());
    assert!(message.contains("there are no credentials for `127.0.0.1:1` in it"), "{message}");
}

#[tokio::test]
async fn token_service_is_asked_again_after_a_failure() {
    for answer in [html(500), html(503), Canned::status(429), Canned::dropped()] {
        let fake = locked(Personality::V3_1, Auth::bearer("ann", "secret"));
        fake.on(once(|request| request.path == "/token" && request.query("scope").is_some(), answer));
        let report = Case::with(&fake, BASIC).run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{report:?}");
        assert_expired_deleted(&fake, "app", "the request was repeated");
    }
}

#[tokio::test]
async fn token_service_without_a_token_fails_the_run() {
    for (answer, expected) in [
        (html(500), "server"),
        (Canned::dropped(), "interrupted"),
        (html(403), "forbidden"),
        (html(404), "unauthorized"),
        (html(200), "unauthorized"),
        (Canned::status(200).body("{}"), "unauthorized"),
        (Canned::status(200).body(r#"{"token":""}"#), "unauthorized"),
        (Canned::status(200).body("{\"token\":\"a\\nb\"}"), "unauthorized"),
    ] {
        let fake = locked(Personality::V3_1, Auth::bearer("ann", "secret"));
        fake.on(move |request| (request.path == "/token").then(|| answer.clone()));
        let (kind, message) = no_run(Case::with(&fake, BASIC).run().await);
        assert_eq!(kind, expected, "{message}");
        assert!(fake.requests().len() <= 6, "the number of requests is limited");
        assert_untouched(&fake, "app", &message);
    }
}

#[tokio::test]
async fn denied_repository_does_not_affect_the_others() {
    for auth in [Auth::basic("ann", "secret"), Auth::bearer("ann", "secret")] {
        let fake = FakeRegistry::options(Personality::V3_1).auth(auth).start();
        fill(&fake, &["app", "closed"]);
        let denied = Canned::status(401).header("www-authenticate", "Basic realm=\"tests\"");
        fake.on(move |request| {
            (request.path.starts_with("/v2/closed/") && request.header("authorization").is_some())
                .then(|| denied.clone())
        });
        let report = Case::with(&fake, BASIC).run().await.unwrap();
        assert_eq!(failures(&report), [("closed", "unauthorized")], "{report:?}");
        assert_expired_deleted(&fake, "app", "it is open");
        assert_untouched(&fake, "closed", "it is not");
    }
}
