//! Registries that require authentication: regsweep has access, or reports clearly that it has none.

use super::harness::{OLD_TAGS_EXPIRE, assert_holds, image, sweeper};
use crate::support::real_registry::{Options, RealRegistry};
use crate::support::regsweep::Regsweep;

/// A registry with one image to keep and one to delete.
fn started(options: Options) -> RealRegistry {
    let registry = options.start();
    registry.store().write("app", &["keep"], &image("kept"));
    registry.store().write("app", &["old"], &image("expired"));
    registry
}

fn assert_untouched(registry: &RealRegistry) {
    assert_holds(registry, "app", &[("keep", &image("kept")), ("old", &image("expired"))]);
}

fn assert_swept(registry: &RealRegistry) {
    assert_holds(registry, "app", &[("keep", &image("kept"))]);
}

/// A run fails with this message before it has read a manifest, and a plan is none the worse.
fn check_not_ready(registry: &RealRegistry, message: &str) {
    let run = sweeper(registry).run(&["run"]).exits(1);
    assert!(run.stderr.contains(message), "{}", run.stderr);
    assert_untouched(registry);
    let requests = registry.requests();
    assert!(!requests.is_empty());
    for logged in requests.iter().filter(|logged| logged.method == "GET") {
        assert!(!logged.path.contains("/manifests/"), "{}", logged.path);
    }
    let before = registry.mutating_requests();
    let plan = sweeper(registry).run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.to_delete().len(), 1);
    assert_eq!(registry.mutating_requests(), before);
}

#[test]
fn disabled_deletion_is_reported_before_the_scan() {
    let registry = started(RealRegistry::options().delete_disabled());
    check_not_ready(&registry, "REGISTRY_STORAGE_DELETE_ENABLED=true");
}

#[test]
fn read_only_registry_is_reported_before_the_scan() {
    let registry = started(RealRegistry::options().readonly());
    check_not_ready(&registry, "turn storage.maintenance.readonly off");
}

#[test]
fn password_is_required_and_checked() {
    let registry = started(RealRegistry::options().htpasswd("ann", "secret"));
    for (user, password) in [("ann", "wrong"), ("bob", "secret")] {
        let run = sweeper(&registry).basic(user, password).run(&["run"]).exits(1);
        assert!(run.stderr.contains("does not accept the user name and password"), "{}", run.stderr);
        assert_untouched(&registry);
    }
    let run = sweeper(&registry).run(&["run"]).exits(1);
    assert!(run.stderr.contains("the registry wants a user name and a password"), "{}", run.stderr);
    assert_untouched(&registry);
    assert!(registry.requests().iter().all(|logged| logged.status == 401));
    let run = sweeper(&registry).basic("ann", "secret").run(&["run"]).exits(0);
    assert!(!format!("{run:?}").contains("secret"));
    assert_swept(&registry);
}

#[test]
fn private_certificate_authority_is_trusted_where_it_is_configured() {
    let registry = started(RealRegistry::options().tls());
    let run = sweeper(&registry).run(&["run"]).exits(1);
    assert!(run.stderr.contains("ca_file trusts a private CA"), "{}", run.stderr);
    assert_untouched(&registry);
    sweeper(&registry).ca_file(&registry.ca_file()).run(&["run"]).exits(0);
    assert_swept(&registry);
}

#[test]
fn registry_below_a_path_works_with_tls_and_password() {
    let options = RealRegistry::options().prefix("/some/where/").htpasswd("ann", "secret").tls();
    let registry = started(options.max_entries(1));
    for repository in ["other", "team/app"] {
        registry.store().write(repository, &["old"], &image(repository));
    }
    for url in [registry.url(), format!("{}/", registry.url())] {
        let regsweep =
            Regsweep::new(&url, OLD_TAGS_EXPIRE).basic("ann", "secret").ca_file(&registry.ca_file());
        let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
        assert_eq!(plan.to_delete().len(), 3, "{url}");
    }
    let regsweep = sweeper(&registry).basic("ann", "secret").ca_file(&registry.ca_file());
    regsweep.run(&["run"]).exits(0);
    assert_swept(&registry);
    assert_holds(&registry, "other", &[]);
    assert_holds(&registry, "team/app", &[]);
}

#[test]
fn unreachable_registry_is_a_failure() {
    let mut registry = started(RealRegistry::options());
    registry.stop();
    let run = sweeper(&registry).run(&["run"]).exits(1);
    assert!(run.stderr.contains("is the registry running, and is the url right?"), "{}", run.stderr);
    assert_untouched(&registry);
}
