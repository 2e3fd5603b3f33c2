//! Credentials that expire while regsweep runs, and are replaced.

use super::harness::{Installation, auths, fill, pair, read, read_all};
use crate::support::fake_registry::{Auth, Bearer, Canned, FakeRegistry, Personality};
use crate::support::image::Image;
use crate::support::real_registry::RealRegistry;

#[tokio::test]
async fn password_changed_in_the_file_is_used() {
    let registry = RealRegistry::options().htpasswd("ann", "first").start();
    registry.store().write("app", &["t0"], &Image::new("one").build());
    let (installation, host) = (Installation::new(), registry.host());
    installation.configure_docker(&registry.url(), &auths(&host, &pair("ann", "first")));
    let reader = installation.reader();
    read(&reader, "t0").await.unwrap();
    registry.change_password("ann", "second");
    installation.file("docker.json", &auths(&host, &pair("ann", "second")));
    read(&reader, "t0").await.unwrap();
    let statuses: Vec<u16> = registry.requests().iter().map(|logged| logged.status).collect();
    assert_eq!(statuses, [401, 200, 401, 200]);
}

#[tokio::test]
async fn password_that_has_not_changed_stays_refused() {
    let registry = RealRegistry::options().htpasswd("ann", "first").start();
    let installation = Installation::new();
    installation.configure_docker(&registry.url(), &auths(&registry.host(), &pair("ann", "wrong")));
    let reader = installation.reader();
    let error = reader.ping().await.unwrap_err().to_string();
    assert!(error.contains("the registry does not accept the user name and password"), "{error}");
    assert_eq!(registry.requests().len(), 2);
    // A file that has become invalid is reported as such.
    let installation = Installation::new();
    installation.configure_docker(&registry.url(), &auths(&registry.host(), &pair("ann", "wrong")));
    let reader = installation.reader();
    installation.file("docker.json", "{");
    let error = reader.ping().await.unwrap_err().to_string();
    assert!(error.contains("docker.json`: not JSON at line 1") && error.contains("401"), "{error}");
}

#[tokio::test]
async fn refused_requests_reload_the_credentials_once() {
    for auth in [Auth::basic("ann", "second"), Auth::bearer("ann", "second")] {
        let fake = FakeRegistry::options(Personality::V3_1)
            .auth(Auth::basic("ann", "first"))
            .latency(std::time::Duration::from_millis(20))
            .start();
        fill(&fake, 20);
        let installation = Installation::new();
        installation.helper(
            "test",
            "cat > /dev/null; echo x >> \"${0%/*}/asked\"; sleep 0.1\n\
             if [ $(wc -l < \"${0%/*}/asked\") = 1 ]; then password=first; else password=second; fi\n\
             printf '{\"Username\":\"ann\",\"Secret\":\"%s\"}' $password",
        );
        installation.configure_docker(&fake.url(), "{\"credsStore\":\"test\"}");
        let mut tags = 0;
        fake.before(move |request, state| {
            tags += usize::from(request.path.starts_with("/v2/app/manifests/"));
            if tags == 5 {
                state.settings.auth = auth.clone();
            }
        });
        installation.run(&["plan"]).exits(0);
        assert_eq!(installation.read("asked"), "x\nx\n");
    }
}

#[tokio::test]
async fn refused_requests_without_new_credentials_reload_once() {
    let fake = FakeRegistry::options(Personality::V3_1).auth(Auth::basic("ann", "first")).start();
    fill(&fake, 20);
    let installation = Installation::new();
    installation.configure_docker(&fake.url(), &auths(&fake.host(), &pair("ann", "first")));
    let reader = installation.reader();
    assert_eq!(read_all(&reader, 20).await.len(), 0);
    fake.change(|state| state.settings.auth = Auth::basic("ann", "second"));
    fake.forget_requests();
    let errors = read_all(&reader, 20).await;
    assert_eq!((errors.len(), fake.requests().len()), (20, 20), "no request was repeated");
    assert!(errors.iter().all(|error| error.kind.name() == "unauthorized"));
}

#[tokio::test]
async fn token_service_refusal_reloads_the_credentials() {
    let fake = FakeRegistry::options(Personality::V3_1).auth(Auth::bearer("ann", "second")).start();
    fill(&fake, 1);
    let installation = Installation::new();
    installation.configure_docker(&fake.url(), &auths(&fake.host(), &pair("ann", "first")));
    let reader = installation.reader();
    installation.file("docker.json", &auths(&fake.host(), &pair("ann", "second")));
    read(&reader, "t0").await.unwrap();
    let asked = fake.requests().into_iter().filter(|one| one.path.starts_with("/token"));
    assert_eq!(asked.map(|one| one.status).collect::<Vec<_>>(), [401, 200]);
}

#[tokio::test]
async fn refresh_token_that_has_expired_reloads_the_credentials() {
    // OAuth 2.0 has status 400 for this, distribution 401.
    for status in [400, 401] {
        let Auth::Bearer(bearer) = Auth::bearer("ann", "unused") else { unreachable!() };
        let auth = Auth::Bearer(Bearer { refresh_token: Some("second".into()), ..bearer });
        let fake = FakeRegistry::options(Personality::V3_1).auth(auth).start();
        fill(&fake, 1);
        fake.on(move |request| {
            let ended = String::from_utf8_lossy(&request.body).contains("refresh_token=first");
            ended.then(|| Canned::status(status).body(r#"{"error":"invalid_grant"}"#))
        });
        let installation = Installation::new();
        installation.configure_docker(&fake.url(), &auths(&fake.host(), "{\"identitytoken\":\"first\"}"));
        let reader = installation.reader();
        installation.file("docker.json", &auths(&fake.host(), "{\"identitytoken\":\"second\"}"));
        read(&reader, "t0").await.unwrap();
        let asked = fake.requests().into_iter().filter(|one| one.path.starts_with("/token"));
        assert_eq!(asked.map(|one| one.status).collect::<Vec<_>>(), [status, 200]);
    }
}

#[tokio::test]
async fn registry_token_changed_in_the_file_is_used() {
    let fake = FakeRegistry::start(Personality::V3_1);
    fill(&fake, 1);
    fake.on(|request| {
        (request.header("authorization") != Some("Bearer second")).then(|| Canned::status(401))
    });
    let installation = Installation::new();
    installation.configure_docker(&fake.url(), &auths(&fake.host(), "{\"registrytoken\":\"first\"}"));
    let reader = installation.reader();
    installation.file("docker.json", &auths(&fake.host(), "{\"registrytoken\":\"second\"}"));
    read(&reader, "t0").await.unwrap();
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn amazon_password_that_has_expired_is_recognized() {
    let fake = FakeRegistry::options(Personality::V3_1).auth(Auth::basic("ann", "first")).start();
    fill(&fake, 1);
    let installation = Installation::new();
    installation.configure_docker(&fake.url(), &auths(&fake.host(), &pair("ann", "first")));
    let reader = installation.reader();
    read(&reader, "t0").await.unwrap();
    let body = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;
    fake.on(move |request| {
        let first = request.header("authorization")? == "Basic YW5uOmZpcnN0";
        first.then(|| Canned::status(403).body(body))
    });
    fake.change(|state| state.settings.auth = Auth::basic("ann", "second"));
    installation.file("docker.json", &auths(&fake.host(), &pair("ann", "second")));
    read(&reader, "t0").await.unwrap();
    fake.forget_requests();
    // Another 403 is an error.
    fake.on(|_| Some(Canned::status(403).body("{}")));
    assert_eq!(read(&reader, "t0").await.unwrap_err().kind.name(), "forbidden");
    assert_eq!(fake.requests().len(), 1);
}
