//! Token services: their requests and responses, and tokens that expire or have too narrow a scope.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::form_urlencoded::parse;

use super::harness::{Installation, SECRET, auths, base64, fill, read, read_all};
use crate::support::fake_registry::{Auth, Bearer, Canned, FakeRegistry, Options, Personality};

const BASIC: &str = "auth: { basic: { username: ann, password: { env: SECRET } } }";

fn options(bearer: impl FnOnce(&mut Bearer)) -> Options {
    let Auth::Bearer(mut own) = Auth::bearer("ann", SECRET) else { unreachable!() };
    bearer(&mut own);
    FakeRegistry::options(Personality::V3_1).auth(Auth::Bearer(own))
}

fn started(bearer: impl FnOnce(&mut Bearer)) -> FakeRegistry {
    let fake = options(bearer).start();
    fill(&fake, 20);
    fake
}

/// A registry whose token service accepts this refresh token, and the entry with it.
fn identity(fake: &FakeRegistry, more: &str) -> String {
    auths(&fake.host(), &format!("{{\"identitytoken\":\"{SECRET}\"{more}}}"))
}

/// Makes the token service refuse this method.
fn refuse(fake: &FakeRegistry, method: &'static str, status: u16) {
    fake.on(move |request| request.is(method, "/token").then(|| Canned::status(status)));
}

/// Methods and statuses of the requests for tokens.
fn asked(fake: &FakeRegistry) -> Vec<(String, u16)> {
    let asked = fake.requests().into_iter().filter(|one| one.path.starts_with("/token"));
    asked.map(|one| (one.method, one.status)).collect()
}

fn methods(pairs: &[(&str, u16)]) -> Vec<(String, u16)> {
    pairs.iter().map(|(method, status)| ((*method).to_owned(), *status)).collect()
}

/// Records every pair that token services receive from now on, in the query or in the form.
fn sent(fake: &FakeRegistry) -> Arc<Mutex<Vec<(String, String)>>> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let pairs = sent.clone();
    fake.before(move |request, _| {
        if request.path == "/token" {
            let form = parse(&request.body).into_owned();
            pairs.lock().unwrap().extend(request.query.iter().cloned().chain(form));
        }
    });
    sent
}

#[tokio::test]
async fn identity_token_is_exchanged_by_post() {
    let fake = started(|bearer| bearer.refresh_token = Some(SECRET.into()));
    let sent = sent(&fake);
    let installation = Installation::by(&fake, &identity(&fake, ""));
    let reader = installation.reader();
    read(&reader, "t0").await.unwrap();
    assert_eq!(asked(&fake), methods(&[("POST", 200)]));
    let mut pairs = sent.lock().unwrap().clone();
    pairs.sort();
    let expected = [
        ("client_id", "regsweep"),
        ("grant_type", "refresh_token"),
        ("refresh_token", SECRET),
        ("scope", "repository:app:pull"),
        ("service", "fake.registry"),
    ];
    assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn token_service_without_post_is_tried_once_and_then_used_by_get() {
    for status in [404, 405] {
        for (more, user) in [
            (String::new(), "<token>"),
            (format!(",\"auth\":\"{}\"", base64("robot:")), "robot"),
            (",\"username\":\"robot\"".to_owned(), "robot"),
        ] {
            let fake = started(|bearer| bearer.user = user.into());
            refuse(&fake, "POST", status);
            let installation = Installation::by(&fake, &identity(&fake, &more));
            let reader = installation.reader();
            reader.ping().await.unwrap();
            read(&reader, "t0").await.unwrap();
            let expected = methods(&[("POST", status), ("GET", 200), ("GET", 200)]);
            assert_eq!(asked(&fake), expected, "{status} {user}");
        }
    }
}

#[tokio::test]
async fn token_service_without_get_gets_the_password_by_post() {
    let fake = started(|_| {});
    refuse(&fake, "GET", 405);
    let reader = Installation::reader_of(&fake, BASIC);
    reader.ping().await.unwrap();
    read(&reader, "t0").await.unwrap();
    assert_eq!(asked(&fake), methods(&[("GET", 405), ("POST", 200), ("POST", 200)]));
}

#[tokio::test]
async fn token_service_without_get_and_post_is_a_clear_error() {
    let fake = started(|_| {});
    refuse(&fake, "GET", 405);
    refuse(&fake, "POST", 405);
    for reader in
        [Installation::reader_of(&fake, BASIC), Installation::by(&fake, &identity(&fake, "")).reader()]
    {
        let error = reader.ping().await.unwrap_err();
        assert_eq!(error.kind.name(), "unauthorized");
        assert!(error.to_string().contains("/token: 405"), "{error}");
    }
}

#[tokio::test]
async fn token_response_may_have_either_field() {
    for name in ["token", "access_token"] {
        let fake = started(|_| {});
        fake.after(move |request, reply| {
            if request.path == "/token" {
                let mut body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
                body[name] = "".into();
                body.as_object_mut().unwrap().remove("expires_in");
                reply.body = body.to_string().into_bytes();
            }
        });
        read(&Installation::reader_of(&fake, BASIC), "t0").await.unwrap();
    }
}

#[tokio::test]
async fn refresh_token_in_the_response_is_used_from_then_on() {
    let fake = options(|bearer| {
        bearer.refresh_token = Some(SECRET.into());
        bearer.rotates = true;
    });
    // All at once: a request with a refresh token that another request has used is refused.
    let fake = fake.latency(Duration::from_millis(10)).start();
    fill(&fake, 1);
    for number in 0..10 {
        fake.push(&format!("other{number}"), "t0", &crate::support::image::Image::new("other").build());
    }
    let installation = Installation::by(&fake, &identity(&fake, ""));
    let reader = installation.reader();
    reader.ping().await.unwrap();
    let tag = regsweep::model::Tag::parse("t0").unwrap();
    let names =
        (0..10).map(|number| regsweep::model::RepositoryName::parse(&format!("other{number}")).unwrap());
    let names: Vec<_> = names.collect();
    let reference = regsweep::registry::Reference::Tag { tag: &tag, known: None };
    let all = futures_util::future::join_all(names.iter().map(|name| reader.manifest(name, reference))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(asked(&fake), methods(&[("POST", 200); 11]));
}

#[tokio::test]
async fn scopes_are_separate_parameters() {
    let fake = started(|_| {});
    let challenge = format!(
        "Bearer realm=\"{}/token\",service=\"fake.registry\",scope=\"repository:app:pull repository:base:pull\"",
        fake.url()
    );
    let mut answer = Some(Canned::status(401).header("www-authenticate", challenge));
    fake.on(move |request| {
        let wanted = request.path.ends_with("/t0") && request.header("authorization").is_some();
        if wanted { answer.take() } else { None }
    });
    let sent = sent(&fake);
    read(&Installation::reader_of(&fake, BASIC), "t0").await.unwrap();
    let scopes: Vec<String> = sent
        .lock()
        .unwrap()
        .iter()
        .filter(|(key, _)| key == "scope")
        .map(|(_, scope)| scope.clone())
        .collect();
    assert_eq!(scopes, ["repository:app:pull", "repository:app:pull", "repository:base:pull"]);
}

#[tokio::test]
async fn token_with_too_narrow_a_scope_is_reported_after_the_registry_s_scope_was_tried() {
    let fake = started(|bearer| bearer.actions = Some(vec!["push".into()]));
    let error = read(&Installation::reader_of(&fake, BASIC), "t0").await.unwrap_err();
    let words = "the registry does not accept what its token service grants for `repository:app:pull`: the user \
                 may not have that right (check auth";
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(asked(&fake).len(), 2);
}

#[tokio::test]
async fn token_that_is_refused_is_renewed_once_for_all_requests() {
    let fake = options(|_| {}).latency(Duration::from_millis(100)).start();
    fill(&fake, 20);
    let reader = Installation::reader_of(&fake, &format!("concurrency: 32\n{BASIC}"));
    read(&reader, "t0").await.unwrap();
    for round in 1..=3 {
        // They have not expired, but the registry does not accept them any more.
        fake.change(|state| state.revoke_tokens());
        fake.forget_requests();
        assert!(read_all(&reader, 20).await.is_empty());
        assert_eq!(asked(&fake).len(), 1, "round {round}");
        // All 20 are refused once, unless the machine is so busy that some begin only after the renewal.
        assert!((23..=41).contains(&fake.requests().len()), "round {round}");
    }
}

#[tokio::test]
async fn token_that_has_expired_is_renewed_once_for_all_requests() {
    let fake = options(|bearer| bearer.lifetime = Duration::from_secs(1)).start();
    fill(&fake, 20);
    let reader = Installation::reader_of(&fake, BASIC);
    read(&reader, "t0").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    fake.forget_requests();
    assert!(read_all(&reader, 20).await.is_empty());
    // On a machine that is busy for a second, there may be another.
    assert!((1..=3).contains(&asked(&fake).len()), "{:?}", asked(&fake));
}

#[tokio::test]
async fn token_that_is_refused_though_new_is_a_clear_error() {
    let fake = started(|_| {});
    fake.before(|request, state| {
        if request.path.starts_with("/v2/app/") {
            state.revoke_tokens();
        }
    });
    let error = read(&Installation::reader_of(&fake, BASIC), "t0").await.unwrap_err();
    assert!(error.to_string().contains("does not accept what its token service grants"), "{error}");
    assert_eq!(asked(&fake).len(), 2);
}

#[tokio::test]
async fn registry_token_is_sent_as_it_is() {
    let fake = FakeRegistry::start(Personality::V3_1);
    fill(&fake, 1);
    let wanted = format!("Bearer {SECRET}");
    fake.on(move |request| (request.header("authorization") != Some(&*wanted)).then(|| Canned::status(401)));
    let config = auths(&fake.host(), &format!("{{\"registrytoken\":\"{SECRET}\"}}"));
    let installation = Installation::by(&fake, &config);
    let reader = installation.reader();
    read(&reader, "t0").await.unwrap();
    assert_eq!(fake.requests().len(), 1);
    let other = FakeRegistry::options(Personality::V3_1).auth(Auth::bearer("ann", SECRET)).start();
    let config = auths(&other.host(), &format!("{{\"registrytoken\":\"{SECRET}\"}}"));
    let error = Installation::by(&other, &config).reader().ping().await.unwrap_err().to_string();
    assert!(error.contains("the registry does not accept the bearer token"), "{error}");
}
