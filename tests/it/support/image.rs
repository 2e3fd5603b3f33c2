//! Content as registries store it: images, indexes, charts, signatures, built as bytes.
//!
//! It does no IO and reads no clock: equal calls give equal bytes, and different names different bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a Docker image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The media types that a client must accept to get a tag's real digest.
pub const ACCEPT_ALL: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// One manifest with everything that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// Its media type.
    pub media_type: &'static str,
    /// Its digest, `sha256:…`.
    pub digest: String,
    /// Configuration first, then layers; of an index, what it lists that is no manifest.
    pub blobs: Vec<Vec<u8>>,
    /// The manifests that an index lists.
    pub children: Vec<Content>,
    /// What an index says about where it runs, if it is an image.
    pub platform: Option<Value>,
}

impl Content {
    fn new(manifest: &Value, media_type: &'static str, blobs: Vec<Vec<u8>>) -> Self {
        let manifest = manifest.to_string().into_bytes();
        let digest = digest(&manifest);
        Self { manifest, media_type, digest, blobs, children: Vec::new(), platform: None }
    }

    /// The descriptor by which others refer to this manifest.
    pub fn descriptor(&self) -> Value {
        descriptor(self.media_type, &self.manifest)
    }

    /// This manifest and everything below it, children before parents.
    pub fn tree(&self) -> Vec<&Content> {
        let below = self.children.iter().flat_map(Content::tree);
        below.chain([self]).collect()
    }

    /// The manifest as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.manifest).expect("a manifest built here is JSON")
    }

    /// The digest of the configuration; panics for an index.
    pub fn config_digest(&self) -> String {
        digest(&self.blobs[0])
    }
}

/// The `sha256:…` digest of these bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The tag under which cosign stores the signature of a manifest: `sha256-<hex>.sig`.
pub fn signature_tag(signed: &str) -> String {
    format!("{}.sig", fallback_tag(signed))
}

/// The tag that lists the referrers of a manifest where there is no referrers API: `sha256-<hex>`.
pub fn fallback_tag(subject: &str) -> String {
    subject.replace(':', "-")
}

/// The digest that a dangling tag points to: no manifest has it.
pub fn dangling_digest(tag: &str) -> String {
    digest(format!("dangling {tag}").as_bytes())
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// The media types that a manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestFormat {
    /// OCI image specification.
    Oci,
    /// Docker image manifest version 2, schema 2.
    Docker,
}

/// A container image to be built.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    format: ManifestFormat,
    created: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    layers: Vec<String>,
    layer_bytes: usize,
    os: String,
    architecture: String,
    subject: Option<Value>,
}

impl Image {
    /// An OCI image for linux/amd64 with one small layer of its own, created on 2026-01-01.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            format: ManifestFormat::Oci,
            created: Some("2026-01-01T00:00:00Z".into()),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            layers: Vec::new(),
            layer_bytes: 64,
            os: "linux".into(),
            architecture: "amd64".into(),
            subject: None,
        }
    }

    /// With Docker's media types.
    pub fn docker(mut self) -> Self {
        self.format = ManifestFormat::Docker;
        self
    }

    /// With this creation time (RFC 3339, but any text is written as it is).
    pub fn created(mut self, created: impl Into<String>) -> Self {
        self.created = Some(created.into());
        self
    }

    /// Without a creation time.
    pub fn undated(mut self) -> Self {
        self.created = None;
        self
    }

    /// With a label in its configuration.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// With an annotation on its manifest.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// With one more layer. Equal seeds (and sizes) give equal layers, which images then share.
    /// An image for which this is never called has one layer of its own.
    pub fn layer(mut self, seed: impl Into<String>) -> Self {
        self.layers.push(seed.into());
        self
    }

    /// With layers that hold about this many bytes each, which do not compress.
    pub fn layer_bytes(mut self, bytes: usize) -> Self {
        self.layer_bytes = bytes;
        self
    }

    /// For this platform.
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        (self.os, self.architecture) = (os.into(), architecture.into());
        self
    }

    /// With a `subject`: the manifest that it is about (OCI 1.1).
    pub fn subject(mut self, subject: &Content) -> Self {
        self.subject = Some(subject.descriptor());
        self
    }

    /// The image.
    pub fn build(self) -> Content {
        let seeds = if self.layers.is_empty() { vec![self.name.clone()] } else { self.layers };
        let tars: Vec<Vec<u8>> = seeds.iter().map(|seed| tar_of(seed, self.layer_bytes)).collect();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let diff_ids: Vec<String> = tars.iter().map(|tar| digest(tar)).collect();
        let mut config = json!({
            "architecture": self.architecture,
            "os": self.os,
            "config": { "Cmd": [self.name], "Labels": self.labels },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        if let Some(created) = self.created {
            config["created"] = created.into();
        }
        let (media_type, config_type, layer_type) = match self.format {
            ManifestFormat::Oci => (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER),
            ManifestFormat::Docker => (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER),
        };
        let blobs: Vec<Vec<u8>> = [config.to_string().into_bytes()].into_iter().chain(layers).collect();
        let mut manifest = manifest_of(media_type, config_type, layer_type, &blobs);
        annotate(&mut manifest, &self.annotations);
        if let Some(subject) = self.subject {
            manifest["subject"] = subject;
        }
        let platform = json!({ "os": self.os, "architecture": self.architecture });
        Content { platform: Some(platform), ..Content::new(&manifest, media_type, blobs) }
    }
}

/// An index or manifest list to be built.
#[derive(Debug, Clone)]
pub struct Index {
    format: ManifestFormat,
    annotations: BTreeMap<String, String>,
    entries: Vec<Value>,
    children: Vec<Content>,
    blobs: Vec<Vec<u8>>,
}

impl Index {
    /// An empty OCI image index.
    pub fn oci() -> Self {
        Self::of(ManifestFormat::Oci)
    }

    /// An empty Docker manifest list.
    pub fn docker() -> Self {
        Self::of(ManifestFormat::Docker)
    }

    fn of(format: ManifestFormat) -> Self {
        let (entries, children, blobs) = (Vec::new(), Vec::new(), Vec::new());
        Self { format, annotations: BTreeMap::new(), entries, children, blobs }
    }

    /// Lists this manifest, with the platform that it was built for.
    pub fn child(self, child: &Content) -> Self {
        self.child_with(child, &[])
    }

    /// Lists this manifest, with annotations on its descriptor.
    pub fn child_with(mut self, child: &Content, annotations: &[(&str, &str)]) -> Self {
        let mut entry = child.descriptor();
        if let Some(platform) = &child.platform {
            entry["platform"] = platform.clone();
        }
        annotate(&mut entry, &annotations.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect());
        self.entries.push(entry);
        self.children.push(child.clone());
        self
    }

    /// Lists this manifest without including it: storing the index does not store the child.
    pub fn missing_child(mut self, child: &Content) -> Self {
        self = self.child(child);
        self.children.pop();
        self
    }

    /// Lists what BuildKit adds for each image: its provenance, for the platform `unknown/unknown`.
    pub fn attestation(self, attestation: &Content, about: &Content) -> Self {
        let about = [
            ("vnd.docker.reference.type", "attestation-manifest"),
            ("vnd.docker.reference.digest", about.digest.as_str()),
        ];
        self.child_with(attestation, &about)
    }

    /// What `buildx --cache-to type=registry,image-manifest=false` pushes: an index that lists layers and a
    /// configuration, as if they were manifests.
    pub fn buildkit_cache(name: &str) -> Self {
        let layer = gzip(&tar_of(name, 100));
        let config =
            json!({ "layers": [{ "blob": digest(&layer) }], "records": [{ "digest": digest(&layer) }] });
        let cache = Self::oci().blob(OCI_LAYER, layer);
        cache.blob("application/vnd.buildkit.cacheconfig.v0", config.to_string().into_bytes())
    }

    /// Lists a blob.
    pub fn blob(mut self, media_type: &str, blob: Vec<u8>) -> Self {
        self.entries.push(descriptor(media_type, &blob));
        self.blobs.push(blob);
        self
    }

    /// With an annotation on the index itself.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// The index.
    pub fn build(self) -> Content {
        let media_type = match self.format {
            ManifestFormat::Oci => OCI_INDEX,
            ManifestFormat::Docker => DOCKER_LIST,
        };
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": self.entries });
        annotate(&mut manifest, &self.annotations);
        Content { children: self.children, ..Content::new(&manifest, media_type, self.blobs) }
    }
}

/// Something that is stored as an OCI image manifest and is no image.
#[derive(Debug, Clone)]
pub struct Artifact {
    config_type: String,
    config: Value,
    layer_type: String,
    layer: Vec<u8>,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
    subject: Option<Value>,
}

impl Artifact {
    /// A Helm chart: it has no creation time anywhere.
    pub fn helm(name: &str) -> Self {
        Self {
            config_type: "application/vnd.cncf.helm.config.v1+json".into(),
            config: json!({ "apiVersion": "v2", "name": name, "version": "0.1.0", "type": "application" }),
            layer_type: "application/vnd.cncf.helm.chart.content.v1.tar+gzip".into(),
            layer: gzip(&tar_of(name, 64)),
            artifact_type: None,
            annotations: BTreeMap::new(),
            subject: None,
        }
    }

    /// A signature as cosign stores it under [`signature_tag`]. Nothing in it refers to the signed
    /// manifest by a descriptor; its configuration claims to be an image's, of year 1.
    pub fn signature(signed: &str) -> Self {
        let payload = json!({ "critical": {
            "identity": { "docker-reference": "" },
            "image": { "docker-manifest-digest": signed },
            "type": "cosign container image signature",
        }, "optional": null });
        let layer = payload.to_string().into_bytes();
        Self {
            config_type: OCI_CONFIG.into(),
            config: json!({
                "architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": {},
                "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            }),
            layer_type: "application/vnd.dev.cosign.simplesigning.v1+json".into(),
            layer,
            artifact_type: None,
            annotations: BTreeMap::new(),
            subject: None,
        }
    }

    /// A referrer as OCI 1.1 defines it: `artifact_type`, `subject`, an empty configuration.
    pub fn referrer(name: &str, artifact_type: &str, subject: &Content) -> Self {
        Self {
            config_type: EMPTY_CONFIG.into(),
            config: json!({}),
            layer_type: artifact_type.into(),
            layer: format!("{{\"name\":{name:?}}}").into_bytes(),
            artifact_type: Some(artifact_type.into()),
            annotations: BTreeMap::new(),
            subject: Some(subject.descriptor()),
        }
    }

    /// The provenance that BuildKit puts into an index, see [`Index::attestation`].
    pub fn provenance(name: &str) -> Self {
        let layer = format!("{{\"_type\":\"https://in-toto.io/Statement/v0.1\",\"name\":{name:?}}}");
        let layer = layer.into_bytes();
        Self {
            config_type: OCI_CONFIG.into(),
            config: json!({
                "architecture": "unknown", "os": "unknown", "config": {},
                "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            }),
            layer_type: "application/vnd.in-toto+json".into(),
            layer,
            artifact_type: None,
            annotations: BTreeMap::new(),
            subject: None,
        }
    }

    /// With an annotation on its manifest.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// The artifact.
    pub fn build(self) -> Content {
        let platform =
            (self.config["os"] == "unknown").then(|| json!({ "os": "unknown", "architecture": "unknown" }));
        let blobs = vec![self.config.to_string().into_bytes(), self.layer];
        let mut manifest = manifest_of(OCI_MANIFEST, &self.config_type, &self.layer_type, &blobs);
        if let Some(artifact_type) = self.artifact_type {
            manifest["artifactType"] = artifact_type.into();
        }
        annotate(&mut manifest, &self.annotations);
        if let Some(subject) = self.subject {
            manifest["subject"] = subject;
        }
        Content { platform, ..Content::new(&manifest, OCI_MANIFEST, blobs) }
    }
}

/// The index that a client keeps under [`fallback_tag`] where there is no referrers API.
pub fn fallback_index(referrers: &[&Content]) -> Content {
    let mut index = Index::oci();
    for referrer in referrers {
        index = index.child(referrer);
        if let (Some(entry), Some(kind)) = (index.entries.last_mut(), artifact_type(referrer)) {
            entry["artifactType"] = kind.into();
        }
    }
    index.build()
}

/// What a referrers index says that a manifest is: its `artifactType`, else its configuration's type.
pub fn artifact_type(content: &Content) -> Option<String> {
    let manifest = content.json();
    let stated = manifest["artifactType"].as_str().or(manifest["config"]["mediaType"].as_str());
    stated.map(Into::into)
}

fn manifest_of(media_type: &str, config_type: &str, layer_type: &str, blobs: &[Vec<u8>]) -> Value {
    let layers: Vec<Value> = blobs[1..].iter().map(|layer| descriptor(layer_type, layer)).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config_type, &blobs[0]),
        "layers": layers,
    })
}

fn annotate(json: &mut Value, annotations: &BTreeMap<String, String>) {
    if !annotations.is_empty() {
        json["annotations"] = json!(annotations);
    }
}

/// A tar archive with one file whose content follows from the seed and does not compress.
fn tar_of(seed: &str, bytes: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(bytes + 32);
    for block in 0.. {
        if content.len() >= bytes {
            break;
        }
        content.extend(Sha256::digest(format!("{seed}/{block}")));
    }
    content.truncate(bytes);
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "content", content.as_slice()).expect("a Vec takes every byte");
    archive.into_inner().expect("a Vec takes every byte")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a Vec takes every byte")
}
