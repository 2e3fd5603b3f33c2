//! Signatures, attestations and SBOMs live and die with what they are about.

use crate::support::image::{Artifact, Content, Index, fallback_index, fallback_tag, signature_tag};
use crate::support::regsweep::Regsweep;
use crate::support::server::RealRegistry;
use crate::world::{OLD_GOES, assert_holds, assert_whole, image, named, sweeper};

const CREATED: &str = "org.opencontainers.image.created";

fn signature(about: &Content) -> (String, Content) {
    (signature_tag(&about.digest), Artifact::signature(&about.digest).build())
}

#[test]
fn a_signature_goes_with_an_expired_image_and_stays_with_a_kept_one() {
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
    assert_whole(&registry);
}

#[test]
fn the_signature_of_a_child_shares_the_fate_of_the_child() {
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
    assert_whole(&registry);
}

#[test]
fn an_orphaned_signature_goes_where_nothing_protects_it() {
    let registry = RealRegistry::start();
    let (kept, lost) = (image("kept"), image("lost"));
    let (tag, orphan) = signature(&lost);
    registry.store().write("app", &["keep"], &kept);
    registry.store().write("app", &[&tag], &orphan);
    let plan = sweeper(&registry).run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.reasons(&orphan.digest), ["orphan"]);
    sweeper(&registry).run(&["run"]).exits(0);
    assert_holds(&registry, "app", &[("keep", &kept)]);
}

#[test]
fn an_orphan_stays_while_it_is_young_or_nobody_knows_its_age() {
    let registry = RealRegistry::start();
    let (kept, lost) = (image("kept"), image("lost"));
    let dated = |when: String| Artifact::signature(&lost.digest).annotation(CREATED, &when).build();
    let young = dated(crate::support::regsweep::hours_ago(2).to_rfc3339());
    let (old, undated) = (dated("2020-01-01T00:00:00Z".into()), Artifact::signature(&lost.digest).build());
    let tag = |suffix: &str| format!("{}.{suffix}", fallback_tag(&lost.digest));
    registry.store().write("app", &["keep"], &kept);
    for (suffix, content) in [("young", &young), ("old", &old), ("undated", &undated)] {
        registry.store().write("app", &[&tag(suffix)], content);
    }
    let regsweep = Regsweep::new(&registry.url(), &OLD_GOES.replace("newer_than: 0s", "newer_than: 24h"));
    let plan = regsweep.run(&["plan", "--output", "json"]).exits(0);
    assert_eq!(plan.reasons(&young.digest), ["orphan-newer-than"]);
    assert_eq!(plan.reasons(&undated.digest), ["age-unknown"]);
    regsweep.run(&["run"]).exits(0);
    let kept = [("keep", &kept), (&tag("young"), &young), (&tag("undated"), &undated)];
    assert_holds(&registry, "app", &kept);
}

#[test]
fn an_attestation_lives_and_dies_with_the_index_that_lists_it() {
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
    assert_whole(&registry);
}

#[test]
fn what_a_fallback_index_lists_lives_and_dies_with_its_subject() {
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
    assert_whole(&registry);
}

#[test]
fn what_is_about_a_kept_image_stays_even_if_an_expired_index_lists_it() {
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
