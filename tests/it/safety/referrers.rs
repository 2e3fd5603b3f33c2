//! Signatures, attestations and SBOMs are kept and deleted with their subject.

use super::harness::{OLD_TAGS_EXPIRE, assert_all_pullable, assert_holds, image, named, sweeper};
use crate::support::image::{Artifact, Content, Index, fallback_index, fallback_tag, signature_tag};
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::Regsweep;

const CREATED: &str = "org.opencontainers.image.created";

fn signature(about: &Content) -> (String, Content) {
    (signature_tag(&about.digest), Artifact::signature(&about.digest).build())
}

#[test]
fn signature_is_kept_or_deleted_with_its_image() {
    let registry = RealRegistry::start();
    let (kept, expired) = (image("kept"), image("expired"));
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["old"], &expired);
    let ((kept_tag, kept_signature), (tag, gone)) = (signature(&kept), signature(&expired));
    registry.store().write("app", &[&kept_tag], &kept_signature);
    registry.store().write("app", &[&tag], &gone);
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&expired, &gone]));
    assert_holds(&registry, "app", &[("keep", &kept), (&kept_tag, &kept_signature)]);
    assert_all_pullable(&registry);
}

#[test]
fn signature_of_a_child_is_kept_or_deleted_with_the_child() {
    let registry = RealRegistry::start();
    let [shared, alone, other] = ["shared", "alone", "other"].map(image);
    let expired = Index::oci().child(&shared).child(&alone).build();
    let kept = Index::oci().child(&shared).child(&other).build();
    registry.store().write("app", &["old"], &expired);
    registry.store().write("app", &["keep"], &kept);
    let ((kept_tag, kept_signature), (tag, gone)) = (signature(&shared), signature(&alone));
    registry.store().write("app", &[&kept_tag], &kept_signature);
    registry.store().write("app", &[&tag], &gone);
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&expired, &alone, &gone]));
    assert_holds(&registry, "app", &[("keep", &kept), (&kept_tag, &kept_signature)]);
    assert_all_pullable(&registry);
}

/// Another client deletes a manifest.
fn delete(registry: &RealRegistry, content: &Content) {
    let url = format!("{}/v2/app/manifests/{}", registry.url(), content.digest);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(reqwest::Client::new().delete(url).send()).unwrap();
    assert_eq!(answer.status(), 202);
}

#[test]
fn orphaned_signature_is_deleted_where_nothing_protects_it() {
    let registry = RealRegistry::start();
    let (kept, lost) = (image("kept"), image("lost"));
    let (tag, orphan) = signature(&lost);
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["v1"], &lost);
    registry.store().write("app", &[&tag], &orphan);
    let mut regsweep = sweeper(&registry);
    regsweep.run(&["run"]).exits(0);
    delete(&registry, &lost);
    let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.reasons(&orphan.digest), ["orphan"]);
    // Whether the subject was ever here is not known without what was remembered of it.
    let stranger = sweeper(&registry).run(&["plan", "--all", "--output", "json"]).exits(0);
    assert_eq!(stranger.reasons(&orphan.digest), ["unclaimed"]);
    for protection in ["tags: ['sha256-.*']", "at_least: 2"] {
        let protect = format!("protect: {{ newer_than: 0s, {protection} }}");
        let with = OLD_TAGS_EXPIRE.replace("protect: { newer_than: 0s, at_least: 0 }", &protect);
        let guarded = regsweep.with_rest(&with).run(&["plan", "--output", "json"]).exits(0);
        assert!(guarded.to_delete().is_empty(), "{protection}");
    }
    regsweep.with_rest(OLD_TAGS_EXPIRE).run(&["run"]).exits(0);
    assert_holds(&registry, "app", &[("keep", &kept)]);
}

#[test]
fn orphaned_signature_is_kept_while_young_or_of_unknown_age() {
    let registry = RealRegistry::start();
    let (kept, lost) = (image("kept"), image("lost"));
    let dated = |when: String| Artifact::signature(&lost.digest).annotation(CREATED, &when).build();
    let young = dated(crate::support::regsweep::hours_ago(2).to_rfc3339());
    let (old, undated) = (dated("2020-01-01T00:00:00Z".into()), Artifact::signature(&lost.digest).build());
    let tag = |suffix: &str| format!("{}.{suffix}", fallback_tag(&lost.digest));
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["v1"], &lost);
    for (suffix, content) in [("young", &young), ("old", &old), ("undated", &undated)] {
        registry.store().write("app", &[&tag(suffix)], content);
    }
    let regsweep =
        Regsweep::new(&registry.url(), &OLD_TAGS_EXPIRE.replace("newer_than: 0s", "newer_than: 24h"));
    regsweep.run(&["run"]).exits(0);
    delete(&registry, &lost);
    let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.reasons(&young.digest), ["orphan-newer-than"]);
    assert_eq!(plan.reasons(&undated.digest), ["age-unknown"]);
    regsweep.run(&["run"]).exits(0);
    let kept = [("keep", &kept), (&tag("young"), &young), (&tag("undated"), &undated)];
    assert_holds(&registry, "app", &kept);
}

/// A repository for images and another one for their signatures, as cosign makes it with COSIGN_REPOSITORY.
fn signed_elsewhere(count: usize) -> (RealRegistry, Vec<(String, Content)>) {
    let registry = RealRegistry::start();
    let mut signatures = Vec::new();
    for number in 0..count {
        let subject = image(&format!("signed {number}"));
        registry.store().write("app", &[&format!("v{number}")], &subject);
        let when = format!("2020-01-{:02}T00:00:00Z", count - number);
        let dated = Artifact::signature(&subject.digest).annotation(CREATED, &when).build();
        let tag = signature_tag(&subject.digest);
        registry.store().write("signatures", &[&tag], &dated);
        signatures.push((tag, dated));
    }
    (registry, signatures)
}

#[test]
fn signature_of_an_image_elsewhere_is_deleted_only_by_rules() {
    let (registry, signatures) = signed_elsewhere(12);
    let all: Vec<(&str, &Content)> =
        signatures.iter().map(|(tag, content)| (tag.as_str(), content)).collect();
    let rules = |protect: &str, percent: usize, keep: &str| {
        format!(
            "protect: {{ newer_than: 0s, {protect} }}\nlimits: {{ max_percent: {percent} }}\npolicies:\n  \
             - name: all\n    repositories: 'signatures'\n    rules: [{{ name: all, tags: '.*', keep: {keep} }}]\n"
        )
    };
    for (protect, percent, keep, code, kept) in [
        ("at_least: 0", 100, "all", 0, 12),
        ("at_least: 0, tags: ['.*']", 100, "none", 0, 12),
        ("at_least: 0", 75, "none", 3, 12),
        ("at_least: 11", 100, "none", 0, 11),
        ("at_least: 0", 100, "{ newest: 3 }", 0, 3),
    ] {
        let regsweep = Regsweep::new(&registry.url(), &rules(protect, percent, keep));
        for _ in 0..2 {
            regsweep.run(&["run"]).exits(code);
        }
        assert_holds(&registry, "signatures", &all[..kept]);
    }
    // Where no rule claims them, they stay.
    sweeper(&registry).run(&["run"]).exits(0);
    assert_holds(&registry, "signatures", &all[..3]);
    assert_all_pullable(&registry);
}

#[test]
fn signature_of_an_image_elsewhere_does_not_count_for_a_rule() {
    let registry = RealRegistry::start();
    let kept = image("kept");
    let when = "2024-01-01T00:00:00Z";
    let elsewhere = image("elsewhere");
    let younger = Artifact::signature(&elsewhere.digest).annotation(CREATED, when).build();
    let tag = signature_tag(&elsewhere.digest);
    registry.store().write("app", &["v1"], &kept);
    registry.store().write("app", &[&tag], &younger);
    let regsweep = Regsweep::new(
        &registry.url(),
        &OLD_TAGS_EXPIRE.replace("'old.*', keep: none", "'.*', keep: { newest: 1 }"),
    );
    regsweep.run(&["run"]).exits(0);
    assert_holds(&registry, "app", &[("v1", &kept), (&tag, &younger)]);
}

#[test]
fn attestation_is_kept_or_deleted_with_its_index() {
    let registry = RealRegistry::start();
    let with_provenance = |name: &str| {
        let image = image(name);
        Index::oci().child(&image).attestation(&Artifact::provenance(name).build(), &image).build()
    };
    let (kept, expired) = (with_provenance("kept"), with_provenance("expired"));
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["old"], &expired);
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", expired.tree()));
    assert_holds(&registry, "app", &[("keep", &kept)]);
    assert_all_pullable(&registry);
}

#[test]
fn referrers_of_a_fallback_index_are_kept_or_deleted_with_their_subject() {
    let registry = RealRegistry::start();
    let (kept, expired) = (image("kept"), image("expired"));
    let referrers = |subject: &Content| {
        let sbom = Artifact::referrer("sbom", "application/spdx+json", subject).build();
        let scan = Artifact::referrer("scan", "application/sarif+json", subject).build();
        (fallback_tag(&subject.digest), fallback_index(&[&sbom, &scan]))
    };
    let ((kept_tag, kept_referrers), (tag, gone)) = (referrers(&kept), referrers(&expired));
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &[&kept_tag], &kept_referrers);
    registry.store().write("app", &["old"], &expired);
    registry.store().write("app", &[&tag], &gone);
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", expired.tree().into_iter().chain(gone.tree())));
    assert_holds(&registry, "app", &[("keep", &kept), (&kept_tag, &kept_referrers)]);
    assert_all_pullable(&registry);
}

#[test]
fn referrer_of_a_kept_image_is_kept_even_in_an_expired_index() {
    let registry = RealRegistry::start();
    let (kept, other) = (image("kept"), image("other"));
    let sbom = Artifact::referrer("sbom", "application/spdx+json", &kept).build();
    let expired = Index::oci().child(&other).child(&sbom).build();
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &["old"], &expired);
    let run = sweeper(&registry).run(&["run", "--output", "json"]).exits(0);
    assert_eq!(run.deleted(), named("app", [&expired, &other]));
    assert_holds(&registry, "app", &[("keep", &kept), ("", &sbom)]);
}
