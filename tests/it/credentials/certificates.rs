//! Client certificates, and server certificates of a private authority.

use super::harness::{Installation, SECRET, started};
use crate::support::real_registry::RealRegistry;

/// The `tls` section, with more lines.
fn tls(registry: &RealRegistry, more: &str) -> String {
    format!("tls: {{ ca_file: {}{more} }}", registry.ca_file().display())
}

/// The registry's certificate and key as client certificate, as lines of the configuration.
fn client_certificate(registry: &RealRegistry) -> String {
    let [certificate, key] = registry.client_certificate();
    format!(", cert_file: {}, key_file: {}", certificate.display(), key.display())
}

#[test]
fn client_certificate_authenticates() {
    let registry = started(RealRegistry::options().client_certificates());
    let installation = Installation::new();
    installation.configure(&registry.url(), &tls(&registry, &client_certificate(&registry)));
    let plan = installation.run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.to_delete().len(), 1);
    assert_eq!(installation.run(&["run", "--output", "json"]).exits(0).deleted().len(), 1);
}

#[test]
fn client_certificate_that_is_missing_is_one_clear_error() {
    let registry = started(RealRegistry::options().client_certificates());
    let installation = Installation::new();
    installation.configure(&registry.url(), &tls(&registry, ""));
    let output = installation.run(&["run"]).exits(1).stderr;
    assert!(output.contains("cert_file is the client certificate"), "{output}");
    assert_eq!(registry.requests(), [], "there was no request");
}

#[test]
fn server_certificate_of_an_unknown_authority_is_refused() {
    let registry = started(RealRegistry::options().client_certificates());
    let other = RealRegistry::options().tls().start();
    let installation = Installation::new();
    installation.configure(&registry.url(), &tls(&registry, &client_certificate(&other)));
    let output = installation.run(&["run"]).exits(1).stderr;
    assert!(output.contains("cert_file is the client certificate"), "{output}");
    installation.configure(&registry.url(), &tls(&other, &client_certificate(&registry)));
    let output = installation.run(&["run"]).exits(1).stderr;
    assert!(output.contains("ca_file trusts a private CA"), "{output}");
    assert_eq!(registry.requests(), []);
}

#[test]
fn client_certificate_and_password_can_be_combined() {
    let registry = started(RealRegistry::options().client_certificates().htpasswd("ann", SECRET));
    let installation = Installation::new().env("SECRET", SECRET);
    let auth = "auth: { basic: { username: ann, password: { env: SECRET } } }";
    installation
        .configure(&registry.url(), &format!("{}\n{auth}", tls(&registry, &client_certificate(&registry))));
    installation.run(&["run"]).exits(0);
}

#[test]
fn client_key_that_is_invalid_is_named() {
    let registry = started(RealRegistry::options().client_certificates());
    let installation = Installation::new();
    let certificate = registry.client_certificate()[0].display().to_string();
    let none = installation.file("none.key", SECRET).display().to_string();
    let shown = format!(", cert_file: {certificate}, key_file: {none}");
    installation.configure(&registry.url(), &tls(&registry, &shown));
    let output = installation.run(&["run"]).exits(1).stderr;
    assert!(output.contains(&certificate) && !output.contains(SECRET), "{output}");
}
