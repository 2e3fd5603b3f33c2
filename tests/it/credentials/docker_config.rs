//! Docker configuration files in all forms, and credential helpers.

use super::harness::{Installation, SECRET, assert_hidden, auths, base64, pair};
use crate::support::image::Image;
use crate::support::real_registry::RealRegistry;

/// A registry that only Ann may use, with one image to keep and one to delete.
fn locked() -> RealRegistry {
    let registry = RealRegistry::options().htpasswd("ann", SECRET).start();
    for (tag, name) in [("keep", "kept"), ("old", "expired")] {
        let image = Image::new(name).created("2020-01-01T00:00:00Z").build();
        registry.store().write("app", &[tag], &image);
    }
    registry
}

/// A helper that records its input and prints these credentials.
fn helper(user: &str, secret: &str) -> String {
    format!(
        "server=$(cat); echo \"$1 $server\" >> \"${{0%/*}}/asked\"\n\
         printf '{{\"ServerURL\":\"%s\",\"Username\":\"{user}\",\"Secret\":\"{secret}\"}}' \"$server\""
    )
}

#[test]
fn docker_configuration_entries_of_every_form_authenticate() {
    let registry = locked();
    let host = registry.host();
    for (key, entry) in [
        (host.clone(), pair("ann", SECRET)),
        (host.clone(), format!("{{\"auth\":\"{}\"}}", base64(&format!("ann:{SECRET}\0\0")))),
        (host.clone(), format!("{{\"username\":\"ann\",\"password\":\"{SECRET}\"}}")),
        (format!("http://{host}/v1/"), pair("ann", SECRET)),
        (format!("https://{host}/v2/"), pair("ann", SECRET)),
        (format!("{host}/team"), pair("ann", SECRET)),
    ] {
        let installation = Installation::new();
        installation.configure_docker(&registry.url(), &auths(&key, &entry));
        let plan = installation.run(&["plan", "--output", "json"]).exits(0);
        assert_eq!(plan.to_delete().len(), 1, "{key} {entry}");
    }
}

#[test]
fn docker_configuration_is_found_at_the_default_paths() {
    let registry = locked();
    let config = auths(&registry.host(), &pair("ann", SECRET));
    for (variable, folder, file) in [
        ("REGISTRY_AUTH_FILE", "podman.json", "podman.json"),
        ("DOCKER_CONFIG", "docker", "docker/config.json"),
        ("HOME", "home", "home/.docker/config.json"),
        ("XDG_RUNTIME_DIR", "run", "run/containers/auth.json"),
    ] {
        let installation = Installation::new();
        installation.file(file, &config);
        let value = installation.path(folder).display().to_string();
        let installation = installation.env(variable, &value);
        installation.configure(&registry.url(), "auth: { docker_config: default }");
        installation.run(&["plan"]).exits(0);
    }
    let installation = Installation::new();
    installation.configure(&registry.url(), "auth: { docker_config: default }");
    let output = installation.run(&["plan"]).exits(78).stderr;
    assert!(output.contains("$REGISTRY_AUTH_FILE (not set), $DOCKER_CONFIG (not set)"), "{output}");
}

#[test]
fn helper_is_run_once_for_the_registry() {
    let registry = locked();
    let host = registry.host();
    for config in [
        format!("{{\"credHelpers\":{{\"{host}\":\"test\"}},\"credsStore\":\"missing\"}}"),
        "{\"credsStore\":\"test\"}".to_owned(),
        format!("{{\"auths\":{{\"{host}\":{{}}}},\"credsStore\":\"test\"}}"),
    ] {
        let installation = Installation::new();
        installation.helper("test", &helper("ann", SECRET));
        installation.configure_docker(&registry.url(), &config);
        installation.run(&["plan"]).exits(0);
        assert_eq!(installation.read("asked"), format!("get {host}\n"), "{config}");
    }
}

#[test]
fn helper_is_run_only_after_a_challenge() {
    let registry = RealRegistry::start();
    registry.store().write("app", &["keep"], &Image::new("kept").build());
    let installation = Installation::new();
    installation.helper("test", &helper("ann", SECRET));
    installation.configure_docker(&registry.url(), "{\"credsStore\":\"test\"}");
    installation.run(&["plan"]).exits(0);
    assert_eq!(installation.read("asked"), "");
}

#[test]
fn helper_without_credentials_falls_back_to_the_file() {
    let registry = locked();
    let host = registry.host();
    let installation = Installation::new();
    let not_found = "echo 'credentials not found in native keychain'; exit 1";
    installation.helper("test", not_found);
    let entry = pair("ann", SECRET);
    let config = format!("{{\"credHelpers\":{{\"{host}\":\"test\"}},\"auths\":{{\"{host}\":{entry}}}}}");
    installation.configure_docker(&registry.url(), &config);
    installation.run(&["plan"]).exits(0);
    installation.configure_docker(&registry.url(), "{\"credsStore\":\"test\"}");
    let output = installation.run(&["plan"]).exits(1).stderr;
    let expected = format!("its credential helper has nothing for `{host}`: log in to the registry");
    assert!(output.contains("docker.json") && output.contains(&expected), "{output}");
}

#[test]
fn helper_that_fails_is_one_clear_error_without_a_secret() {
    let registry = locked();
    for (script, words) in [
        ("echo no session; exit 1", "`docker-credential-test` fails: no session"),
        ("echo trouble >&2; exit 3", "fails: trouble"),
        ("exit 1", "fails: run it by hand as the user of regsweep"),
        (&format!("echo '{{\"Secret\":\"{SECRET}\"}}'; exit 1"), "fails: run it by hand"),
        (&format!("echo '{SECRET}'"), "does not answer as helpers do: not JSON at line 1"),
        (&format!("echo '\"{SECRET}\"'"), "does not answer as helpers do"),
        (&format!("echo '{{\"Username\":\"\",\"Secret\":\"{SECRET}\"}}'"), "an empty user name or secret"),
        ("echo '{}'", "an empty user name or secret"),
        ("yes", "prints more than 1048576 bytes"),
        (&helper("ann", &format!("{SECRET}-wrong")), "does not accept the user name and password"),
    ] {
        let installation = Installation::new();
        installation.helper("test", script);
        installation.configure_docker(&registry.url(), "{\"credsStore\":\"test\"}");
        let ran = installation.run(&["plan"]).exits(1);
        assert!(ran.stderr.contains(words) && ran.stderr.contains("check auth"), "{script}: {}", ran.stderr);
        assert_hidden(&[&ran.stderr, &ran.stdout], &[SECRET.to_owned()]);
    }
}

#[test]
fn helper_that_does_not_exist_is_an_error() {
    let registry = locked();
    let installation = Installation::new();
    installation.configure_docker(&registry.url(), "{\"credsStore\":\"test\"}");
    let output = installation.run(&["plan"]).exits(1).stderr;
    assert!(
        output.contains("`docker-credential-test` does not exist: install it, or add its folder"),
        "{output}"
    );
}

#[test]
fn docker_configuration_that_is_invalid_is_reported_before_any_request() {
    let registry = locked();
    let host = registry.host();
    for (config, words) in [
        ("{}".to_owned(), format!("docker.json`: there are no credentials for `{host}` in it")),
        (SECRET.to_owned(), "docker.json`: not JSON at line 1, column 1".to_owned()),
        (auths(&host, &format!("\"{SECRET}\"")), format!("docker.json`: `auths.{host}` (line 1")),
        (
            auths(&host, &format!("{{\"auth\":\"{SECRET}\"}}")),
            format!("auths.`{host}`.auth: not the base64 form"),
        ),
        (
            "{\"credsStore\":\"../test\"}".to_owned(),
            "credsStore: `../test` is not the name of a helper".to_owned(),
        ),
    ] {
        let installation = Installation::new();
        installation.configure_docker(&registry.url(), &config);
        let ran = installation.run(&["plan"]).exits(1);
        assert!(ran.stderr.contains(&words), "{config}: {}", ran.stderr);
        assert_hidden(&[&ran.stderr, &ran.stdout], &[SECRET.to_owned()]);
    }
    assert_eq!(registry.requests(), []);
}
