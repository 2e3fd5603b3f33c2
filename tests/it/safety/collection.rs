//! The registry's own garbage collection after a run.

use std::collections::BTreeSet;

use super::harness::{assert_all_pullable, assert_holds, sweeper};
use crate::support::image::{
    Artifact, Content, Image, Index, digest, fallback_index, fallback_tag, signature_tag,
};
use crate::support::real_registry::RealRegistry;

/// One of everything, tagged with `prefix` where a rule could claim it. The base layer is everybody's.
fn everything(prefix: &str) -> Vec<(String, Content)> {
    let image =
        |name: &str| Image::new(format!("{prefix} {name}")).created("2020-01-01T00:00:00Z").layer("base");
    let own = |name: &str| image(name).layer(format!("{prefix} {name}"));
    let single = own("single").build();
    let (amd64, arm64) = (own("amd64").build(), own("arm64").platform("linux", "arm64").build());
    let provenance = Artifact::provenance(prefix).build();
    let index = Index::oci().child(&amd64).child(&arm64).attestation(&provenance, &amd64).build();
    let docker = own("docker").docker().build();
    let list = Index::docker().child(&docker).build();
    let sbom = Artifact::referrer(prefix, "application/spdx+json", &index).build();
    vec![
        (format!("{prefix}-single"), single.clone()),
        (format!("{prefix}-index"), index.clone()),
        (format!("{prefix}-list"), list),
        (signature_tag(&single.digest), Artifact::signature(&single.digest).build()),
        (fallback_tag(&index.digest), fallback_index(&[&sbom])),
    ]
}

fn blobs(contents: &[(String, Content)]) -> BTreeSet<Vec<u8>> {
    let parts = contents.iter().flat_map(|(_, content)| content.tree());
    parts.flat_map(|part| part.blobs.iter().chain([&part.manifest]).cloned()).collect()
}

#[test]
fn kept_images_are_complete_after_a_collection() {
    let mut registry = RealRegistry::options().cache().start();
    let (kept, expired) = (everything("keep"), everything("old"));
    for (tag, content) in kept.iter().chain(&expired) {
        registry.store().write("team/app", &[tag], content);
    }
    sweeper(&registry).run(&["run"]).exits(0);
    let expected: Vec<(&str, &Content)> = kept.iter().map(|(tag, content)| (tag.as_str(), content)).collect();
    assert_holds(&registry, "team/app", &expected);
    assert_all_pullable(&registry);
    registry.stop();
    registry.garbage_collect(&[]);
    registry.start_again();
    assert_holds(&registry, "team/app", &expected);
    assert_all_pullable(&registry);
    for blob in blobs(&kept) {
        assert!(registry.store().has_blob(&digest(&blob)));
    }
    for blob in blobs(&expired).difference(&blobs(&kept)) {
        assert!(!registry.store().has_blob(&digest(blob)), "{}", String::from_utf8_lossy(blob));
    }
    let bytes: usize = blobs(&kept).iter().map(Vec::len).sum();
    assert_eq!(registry.store().blob_bytes(), bytes as u64);
}
