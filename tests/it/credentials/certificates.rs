//! Registries that want to see a certificate, and those whose own comes from a private authority.

use super::harness::{Place, SECRET, started};
use crate::support::real_registry::RealRegistry;

/// How the connection is encrypted, with these lines more.
fn tls(registry: &RealRegistry, more: &str) -> String {
    format!("tls: {{ ca_file: {}{more} }}", registry.ca_file().display())
}

/// The registry's certificate and key, as lines of the configuration.
fn shown(registry: &RealRegistry) -> String {
    let [certificate, key] = registry.client_certificate();
    format!(", cert_file: {}, key_file: {}", certificate.display(), key.display())
}

#[test]
fn a_client_certificate_opens_a_registry_that_wants_one() {
    let registry = started(RealRegistry::options().client_certificates());
    let place = Place::new();
    place.configure(&registry.url(), &tls(&registry, &shown(&registry)));
    let plan = place.run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.to_delete().len(), 1);
    assert_eq!(place.run(&["run", "--output", "json"]).exits(0).deleted().len(), 1);
}

#[test]
fn without_a_client_certificate_it_is_one_clear_error() {
    let registry = started(RealRegistry::options().client_certificates());
    let place = Place::new();
    place.configure(&registry.url(), &tls(&registry, ""));
    let said = place.run(&["run"]).exits(1).stderr;
    assert!(said.contains("cert_file is the client certificate"), "{said}");
    assert_eq!(registry.requests(), [], "it came to no request");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let registry = started(RealRegistry::options().client_certificates());
    let other = RealRegistry::options().tls().start();
    let place = Place::new();
    place.configure(&registry.url(), &tls(&registry, &shown(&other)));
    let said = place.run(&["run"]).exits(1).stderr;
    assert!(said.contains("cert_file is the client certificate"), "{said}");
    place.configure(&registry.url(), &tls(&other, &shown(&registry)));
    let said = place.run(&["run"]).exits(1).stderr;
    assert!(said.contains("ca_file trusts a private CA"), "{said}");
    assert_eq!(registry.requests(), []);
}

#[test]
fn a_certificate_and_a_password_go_together() {
    let registry = started(RealRegistry::options().client_certificates().htpasswd("ann", SECRET));
    let place = Place::new().env("SECRET", SECRET);
    let auth = "auth: { basic: { username: ann, password: { env: SECRET } } }";
    place.configure(&registry.url(), &format!("{}\n{auth}", tls(&registry, &shown(&registry))));
    place.run(&["run"]).exits(0);
}

#[test]
fn a_key_that_is_none_is_told_by_name() {
    let registry = started(RealRegistry::options().client_certificates());
    let place = Place::new();
    let certificate = registry.client_certificate()[0].display().to_string();
    let none = place.file("none.key", SECRET).display().to_string();
    let shown = format!(", cert_file: {certificate}, key_file: {none}");
    place.configure(&registry.url(), &tls(&registry, &shown));
    let said = place.run(&["run"]).exits(1).stderr;
    assert!(said.contains(&certificate) && !said.contains(SECRET), "{said}");
}
