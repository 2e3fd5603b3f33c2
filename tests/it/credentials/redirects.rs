//! Redirects: credentials are not sent to another host.

use std::sync::{Arc, Mutex};

use super::harness::{Installation, SECRET, assert_hidden, auths, base64, fill, pair, read};
use crate::support::fake_registry::{Auth, Bearer, Canned, FakeRegistry, Personality};
use crate::support::real_registry::RealRegistry;

/// A server with this answer, and everything that it has received.
fn listening(answer: Canned) -> (FakeRegistry, Arc<Mutex<String>>) {
    let fake = FakeRegistry::start(Personality::V3_1);
    let heard = Arc::new(Mutex::new(String::new()));
    let all = heard.clone();
    fake.on(move |request| {
        let headers =
            request.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let headers: Vec<String> = headers.collect();
        let body = String::from_utf8_lossy(&request.body);
        *all.lock().unwrap() +=
            &format!("{} {}\n{}\n{body}\n", request.method, request.target, headers.join("\n"));
        Some(answer.clone())
    });
    (fake, heard)
}

fn token() -> Canned {
    Canned::status(200).body(r#"{"token":"stolen","expires_in":60}"#)
}

/// Both names of this machine. The second is another host, also with the same port.
fn addresses(other: &FakeRegistry) -> [String; 2] {
    [other.url(), other.url().replace("127.0.0.1", "localhost")]
}

fn secrets() -> Vec<String> {
    let pairs = ["ann", "<token>"].map(|user| base64(&format!("{user}:{SECRET}")));
    [&[SECRET.to_owned(), "uthorization".to_owned(), "referer".to_owned()][..], &pairs].concat()
}

fn locked(status: u16, to: &str) -> FakeRegistry {
    let Auth::Bearer(bearer) = Auth::bearer("ann", SECRET) else { unreachable!() };
    let auth = Auth::Bearer(Bearer { refresh_token: Some(SECRET.into()), ..bearer });
    let fake = FakeRegistry::options(Personality::V3_1).auth(auth).start();
    fill(&fake, 1);
    let location = format!("{to}/token");
    fake.on(move |request| {
        let moved = || Canned::status(status).header("location", location.clone());
        (request.path == "/token").then(moved)
    });
    fake
}

#[tokio::test]
async fn redirect_of_a_token_service_does_not_get_the_identity_token() {
    for status in [301, 302, 303, 307, 308] {
        let (other, heard) = listening(token());
        for address in addresses(&other) {
            let fake = locked(status, &address);
            let entry = format!("{{\"identitytoken\":\"{SECRET}\"}}");
            let error =
                Installation::by(&fake, &auths(&fake.host(), &entry)).reader().ping().await.unwrap_err();
            assert_eq!(error.kind.name(), "unauthorized");
            assert!(
                error
                    .to_string()
                    .contains("redirects to another address, which does not get the credentials"),
                "{error}"
            );
            assert_hidden(&[&format!("{error} {error:?}")], &[SECRET.to_owned()]);
        }
        assert_eq!(*heard.lock().unwrap(), "", "{status}");
    }
}

#[tokio::test]
async fn redirect_of_a_token_service_does_not_get_the_password() {
    for status in [302, 307] {
        let (other, heard) = listening(token());
        for address in addresses(&other) {
            let fake = locked(status, &address);
            let installation = Installation::by(&fake, &auths(&fake.host(), &pair("ann", SECRET)));
            let reader = installation.reader();
            assert!(reader.ping().await.is_err(), "the token of the other server is not used");
        }
        let heard = heard.lock().unwrap().clone();
        assert!(heard.contains("GET /token"), "{heard}");
        assert_hidden(&[&heard], &secrets());
    }
}

#[tokio::test]
async fn redirect_of_a_registry_does_not_get_the_authorization() {
    let bearer = format!("{{\"registrytoken\":\"{SECRET}\"}}");
    for (auth, entry) in [
        (Auth::basic("ann", SECRET), pair("ann", SECRET)),
        (Auth::bearer("ann", SECRET), pair("ann", SECRET)),
        (Auth::None, bearer),
    ] {
        let (other, heard) = listening(Canned::status(404));
        for address in addresses(&other) {
            let fake = FakeRegistry::options(Personality::V3_1).auth(auth.clone()).start();
            fill(&fake, 1);
            let location = format!("{address}/elsewhere");
            fake.on(move |request| {
                let moved = request.path.contains("/manifests/") && request.header("authorization").is_some();
                moved.then(|| Canned::status(307).header("location", location.clone()))
            });
            let installation = Installation::by(&fake, &auths(&fake.host(), &entry));
            let reader = installation.reader();
            assert!(read(&reader, "t0").await.is_err());
        }
        let heard = heard.lock().unwrap().clone();
        assert!(heard.matches("GET /elsewhere").count() >= 2, "{heard}");
        assert_hidden(&[&heard, &heard.to_lowercase()], &secrets());
        assert_hidden(&[&heard], &["Bearer".to_owned(), "token-1".to_owned()]);
    }
}

#[tokio::test]
async fn token_service_error_is_shown_without_the_secrets_it_repeats() {
    let entry = format!("{{\"identitytoken\":\"{SECRET}\"}}");
    for entry in [entry, pair("ann", SECRET)] {
        let fake = FakeRegistry::options(Personality::V3_1).auth(Auth::bearer("ann", "other")).start();
        fake.on(|request| {
            let header = request.header("authorization").unwrap_or_default();
            let output = format!("no: {header} {} ({SECRET})", String::from_utf8_lossy(&request.body));
            (request.path == "/token").then(|| Canned::status(403).body(output))
        });
        let error = Installation::by(&fake, &auths(&fake.host(), &entry)).reader().ping().await.unwrap_err();
        let output = format!("{error} {error:?}");
        assert!(output.contains("no: ") && output.contains("***"), "{output}");
        assert_hidden(&[&output], &[SECRET.to_owned(), base64(&format!("ann:{SECRET}"))]);
    }
    let fake = FakeRegistry::options(Personality::V3_1).auth(Auth::basic("ann", SECRET)).start();
    fake.on(|request| {
        let header = request.header("authorization")?.to_owned();
        Some(Canned::status(400).body(format!("bad request: {header}")))
    });
    let error = Installation::by(&fake, &auths(&fake.host(), &pair("ann", SECRET)))
        .reader()
        .ping()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("bad request: Basic ***"), "{error}");
}

#[test]
fn token_service_on_http_gets_no_credentials_of_a_registry_on_https() {
    let (other, heard) = listening(token());
    let registry = RealRegistry::options().token_service(&format!("{}/token", other.url())).start();
    let identity = format!("{{\"identitytoken\":\"{SECRET}\"}}");
    for entry in [pair("ann", SECRET), identity] {
        let installation = Installation::new();
        installation.configure_docker(&registry.url(), &auths(&registry.host(), &entry));
        let output = installation.run(&["plan"]).exits(1).stderr;
        assert!(
            output.contains("the token service is not on https, so it does not get the credentials"),
            "{output}"
        );
    }
    assert_eq!(*heard.lock().unwrap(), "");
    // Without credentials it is requested.
    let installation = Installation::new();
    installation.configure(&registry.url(), "tls: { insecure_skip_verify: true }");
    let output = installation.run(&["plan"]).exits(1).stderr;
    assert!(output.contains("does not accept what its token service grants"), "{output}");
    assert!(heard.lock().unwrap().starts_with("GET /token"));
}
