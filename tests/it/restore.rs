//! Restoring manifests on a real registry: pushed, deleted, restored; and its answers for blobs that a garbage
//! collection has deleted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::image::{
    self, Artifact, Content, Image, Index, OCI_MANIFEST, fallback_index, fallback_tag, signature_tag,
};
use crate::support::push::Pusher;
use crate::support::real_registry::{Options, RealRegistry};
use regsweep::config;
use regsweep::model::{Digest, RepositoryName, Tag};
use regsweep::registry::{Kind, RawManifest, Reader, Reference, Resolved, Restore, Retry, read_manifest};

/// A registry, and a reader for its repository `app`.
struct Harness {
    registry: RealRegistry,
    reader: Reader,
    pusher: Pusher,
    app: RepositoryName,
}

impl Harness {
    fn start(options: Options) -> Self {
        let registry = options.start();
        let text = format!(
            "registries:\n  - name: main\n    url: {}\n    tls: {{ insecure_skip_verify: true }}\n\
             policies:\n  - {{ name: all, repositories: '.*', rules: [{{ name: all, tags: '.*', keep: all }}] }}\n",
            registry.url()
        );
        let config = config::parse(&text, "f", &|_: &str| None).unwrap();
        let (short, quick) = (Duration::from_millis(1), Duration::from_millis(20));
        let retry = Retry { attempts: 3, initial_backoff: short, max_backoff: quick, ..Retry::default() };
        let reader = Reader::new(&config.registries[0], retry, Arc::new(())).unwrap();
        let pusher = Pusher::new(&registry.url());
        Self { registry, reader, pusher, app: RepositoryName::parse("app").unwrap() }
    }

    async fn push(&self, tag: &str, content: &Content) {
        self.pusher.push("app", tag, content).await.unwrap();
    }

    async fn raw(&self, content: &Content) -> Option<RawManifest> {
        self.reader.raw_manifest(&self.app, &digest(&content.digest)).await.unwrap()
    }

    async fn delete(&self, content: &Content) {
        self.reader.deleter().manifest(&self.app, &digest(&content.digest)).await.unwrap();
    }

    async fn put(&self, reference: Restore<'_>, content: &Content) -> Result<(), String> {
        let raw =
            RawManifest { media_type: content.media_type.into(), body: content.manifest.clone().into() };
        let put = self.reader.restorer().put(&self.app, reference, &raw, &digest(&content.digest)).await;
        put.map_err(|error| {
            assert_eq!(error.kind, Kind::Invalid, "{error}");
            error.codes.join(" ")
        })
    }

    async fn has(&self, blob: &str) -> Result<bool, Kind> {
        self.reader.has_blob(&self.app, &digest(blob)).await.map_err(|error| error.kind)
    }

    /// Deletes a blob from the storage without the registry, as a garbage collection by another process does.
    fn sweep(&self, digest: &str) {
        std::fs::remove_dir_all(self.registry.store().blob_path(digest).parent().unwrap()).unwrap();
    }
}

fn digest(text: &str) -> Digest {
    Digest::parse(text).unwrap()
}

fn plain() -> Harness {
    Harness::start(RealRegistry::options())
}

fn cached() -> Harness {
    Harness::start(RealRegistry::options().cache())
}

/// One manifest of each kind, each with its tag.
fn everything() -> BTreeMap<String, Content> {
    let amd64 = Image::new("amd64").build();
    let arm64 = Image::new("arm64").platform("linux", "arm64").build();
    let provenance = Artifact::provenance("amd64").build();
    let index = Index::oci().child(&amd64).child(&arm64).attestation(&provenance, &amd64).build();
    let docker = Image::new("docker").docker().build();
    let list = Index::docker().child(&docker).build();
    let sbom = Artifact::referrer("sbom", "application/spdx+json", &index).build();
    BTreeMap::from([
        ("image".to_owned(), Image::new("image").build()),
        ("silent".to_owned(), untyped()),
        ("index".to_owned(), index.clone()),
        ("docker".to_owned(), docker.clone()),
        ("list".to_owned(), list),
        (fallback_tag(&index.digest), fallback_index(&[&sbom])),
        (signature_tag(&index.digest), Artifact::signature(&index.digest).build()),
    ])
}

/// An image without its media type, as OCI 1.0 allowed.
fn untyped() -> Content {
    let image = Image::new("silent").build();
    let mut manifest = image.json();
    manifest.as_object_mut().unwrap().remove("mediaType");
    let manifest = manifest.to_string().into_bytes();
    Content { digest: image::digest(&manifest), manifest, ..image }
}

#[tokio::test]
async fn manifests_of_every_kind_are_restored_byte_for_byte() {
    for harness in [plain(), cached()] {
        let all = everything();
        for (tag, content) in &all {
            harness.push(tag, content).await;
        }
        let before = harness.registry.store().repository("app");
        let parts: BTreeMap<&str, &Content> =
            all.values().flat_map(Content::tree).map(|part| (part.digest.as_str(), part)).collect();
        let mut kept = BTreeMap::new();
        for (name, part) in &parts {
            let raw = harness.raw(part).await.unwrap();
            assert_eq!((raw.media_type.as_str(), &raw.body[..]), (part.media_type, &part.manifest[..]));
            kept.insert(digest(name), raw);
        }
        for part in parts.values() {
            harness.delete(part).await;
            assert_eq!(harness.raw(part).await, None);
        }
        assert_eq!(harness.registry.store().repository("app").manifests, [].into());
        // Manifests without dependencies first.
        let mut open: Vec<_> = kept.iter().collect();
        let restorer = harness.reader.restorer();
        while !open.is_empty() {
            let (ready, waiting): (Vec<_>, Vec<_>) = open.iter().partition(|(digest, raw)| {
                let manifest = read_manifest(digest, &raw.media_type, &raw.body).unwrap();
                !manifest.children.iter().any(|child| open.iter().any(|(digest, _)| *digest == child))
            });
            for (digest, raw) in ready {
                restorer.put(&harness.app, Restore::Digest, raw, digest).await.unwrap();
                assert_eq!(
                    harness.reader.raw_manifest(&harness.app, digest).await.unwrap().as_ref(),
                    Some(raw)
                );
            }
            open = waiting;
        }
        for (tag, content) in &all {
            let (name, raw) = (Tag::parse(tag).unwrap(), &kept[&digest(&content.digest)]);
            restorer.put(&harness.app, Restore::Tag(&name), raw, &digest(&content.digest)).await.unwrap();
            let reference = Reference::Tag { tag: &name, known: None };
            let found = harness.reader.manifest(&harness.app, reference).await.unwrap();
            let Resolved::Found(found) = found else { panic!("{tag}: {found:?}") };
            assert_eq!(found.digest.as_str(), content.digest);
        }
        assert_eq!(harness.registry.store().repository("app"), before);
        for blob in parts.values().flat_map(|part| &part.blobs) {
            assert_eq!(harness.has(&image::digest(blob)).await, Ok(true));
        }
    }
}

#[tokio::test]
async fn manifest_without_a_part_is_refused_by_its_code() {
    let harness = plain();
    let one = Image::new("one").build();
    let index = Index::oci().child(&one).build();
    let list = Index::docker().child(&Image::new("docker").docker().build()).build();
    harness.push("index", &index).await;
    harness.delete(&index).await;
    harness.delete(&one).await;
    let refused = Err("MANIFEST_BLOB_UNKNOWN".to_owned());
    let tag = Tag::parse("v1").unwrap();
    for content in [&index, &list] {
        assert_eq!(harness.put(Restore::Digest, content).await, refused);
        assert_eq!(harness.put(Restore::Tag(&tag), content).await, refused);
    }
    let layer = image::digest(&one.blobs[1]);
    harness.sweep(&layer);
    assert_eq!(harness.put(Restore::Digest, &one).await, refused);
    assert_eq!(harness.put(Restore::Tag(&tag), &one).await, refused);
    harness.sweep(&one.config_digest());
    assert_eq!(
        harness.put(Restore::Digest, &one).await,
        Err("MANIFEST_BLOB_UNKNOWN ".repeat(2).trim().into())
    );
    assert_eq!(harness.registry.store().repository("app"), Default::default());
    assert_eq!(harness.raw(&one).await, None);
}

#[tokio::test]
async fn referrer_can_be_restored_before_its_subject() {
    let harness = plain();
    let subject = Image::new("subject").build();
    let sbom = Artifact::referrer("sbom", "application/spdx+json", &subject).build();
    harness.push("sbom", &sbom).await;
    harness.delete(&sbom).await;
    assert_eq!(harness.put(Restore::Digest, &sbom).await, Ok(()));
    assert_eq!(harness.raw(&sbom).await.unwrap().body, sbom.manifest);
}

#[tokio::test]
async fn tag_that_points_to_another_manifest_is_overwritten() {
    let harness = plain();
    let (one, two) = (Image::new("one").build(), Image::new("two").build());
    harness.push("v1", &one).await;
    harness.push("v1", &two).await;
    assert_eq!(harness.put(Restore::Tag(&Tag::parse("v1").unwrap()), &one).await, Ok(()));
    assert_eq!(harness.registry.store().repository("app").tags["v1"], one.digest);
    assert!(harness.raw(&two).await.is_some(), "it is still there by digest");
}

#[tokio::test]
async fn blobs_are_found_until_a_collection_deletes_them() {
    let one = Image::new("one").build();
    let layer = image::digest(&one.blobs[1]);
    // A cache knows everything about an empty blob, so it is served correctly after it was deleted.
    for (harness, has_layer, has_empty) in
        [(plain(), Ok(false), Ok(false)), (cached(), Err(Kind::Interrupted), Ok(true))]
    {
        harness.push("v1", &one).await;
        harness.pusher.put_blob("app", b"").await.unwrap();
        for blob in [layer.clone(), one.config_digest(), image::digest(b"")] {
            assert_eq!(harness.has(&blob).await, Ok(true));
        }
        assert_eq!(harness.has(&image::digest(b"never pushed")).await, Ok(false));
        assert_eq!(harness.has(&one.digest).await, Ok(false), "a manifest is not a blob");
        let other = RepositoryName::parse("other").unwrap();
        assert!(!harness.reader.has_blob(&other, &digest(&layer)).await.unwrap(), "it is not there");
        harness.sweep(&layer);
        harness.sweep(&image::digest(b""));
        assert_eq!(harness.has(&layer).await, has_layer);
        assert_eq!(harness.has(&image::digest(b"")).await, has_empty);
        assert_eq!(harness.has(&one.config_digest()).await, Ok(true));
    }
}

#[tokio::test]
async fn blob_whose_file_is_empty_is_not_found() {
    let one = Image::new("one").build();
    let layer = image::digest(&one.blobs[1]);
    for (harness, emptied) in [(plain(), Kind::DigestMismatch), (cached(), Kind::Interrupted)] {
        harness.push("v1", &one).await;
        std::fs::write(harness.registry.store().blob_path(&layer), b"").unwrap();
        assert_eq!(harness.has(&layer).await, Err(emptied));
    }
}

/// The registry finds the deleted manifest in its cache, and accepts it without reading or writing the storage. Only
/// a request for the manifest reveals this.
#[tokio::test]
async fn put_success_of_a_registry_with_a_cache_is_no_proof() {
    let one = Image::new("one").build();
    let mut harness = cached();
    harness.push("v1", &one).await;
    harness.delete(&one).await;
    harness.registry.garbage_collect(&[]);
    assert!(!harness.registry.store().has_blob(&one.digest), "the collection has deleted it");
    assert_eq!(harness.has(&image::digest(&one.blobs[1])).await, Err(Kind::Interrupted));
    assert_eq!(harness.put(Restore::Digest, &one).await, Ok(()));
    assert_eq!(harness.raw(&one).await, None, "it accepted the push, and does not have it");
    // After the restart its cache is empty.
    harness.delete(&one).await;
    harness.registry.stop();
    harness.registry.start_again();
    assert_eq!(harness.has(&image::digest(&one.blobs[1])).await, Ok(false));
    let refused = "MANIFEST_BLOB_UNKNOWN MANIFEST_BLOB_UNKNOWN";
    assert_eq!(harness.put(Restore::Digest, &one).await, Err(refused.to_owned()));
}

/// If only the content of the manifest is gone, a registry without a cache writes it again.
#[tokio::test]
async fn manifest_whose_content_was_collected_is_restored() {
    let one = Image::new("one").build();
    for (harness, comes_back) in [(plain(), true), (cached(), false)] {
        harness.push("v1", &one).await;
        harness.delete(&one).await;
        harness.sweep(&one.digest);
        assert_eq!(harness.put(Restore::Digest, &one).await, Ok(()));
        assert_eq!(harness.raw(&one).await.is_some(), comes_back);
    }
}

#[tokio::test]
async fn put_is_refused_by_a_registry_in_maintenance() {
    let harness = Harness::start(RealRegistry::options().readonly());
    let one = Image::new("one").build();
    harness.registry.store().write("app", &["v1"], &one);
    let raw = harness.raw(&one).await.unwrap();
    assert_eq!(raw.media_type, OCI_MANIFEST);
    let put = harness.reader.restorer().put(&harness.app, Restore::Digest, &raw, &digest(&one.digest)).await;
    assert_eq!(put.unwrap_err().kind, Kind::Unsupported);
}
