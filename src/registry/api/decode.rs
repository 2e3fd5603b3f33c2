//! Decoding manifests and image configurations into the model.
//!
//! A manifest that cannot be decoded is an error, never a guess: it is not known which other manifests it needs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::model::{Blob, Digest, Facts, Kind, Manifest, sanitize};

/// The supported types of manifests. Every `Accept` has all of them: without one of them distribution answers with
/// another manifest, a converted one or the first child, under another digest.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// The oldest format of manifests, which distribution 2.8 still serves. The digest does not cover the signatures in
/// it, so it cannot be verified.
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
];

const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

const IMAGE_LAYERS: [&str; 2] = ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];

const CREATED: &str = "org.opencontainers.image.created";

/// Characters of a registry's text that are shown.
const MAX_SHOWN: usize = 200;

pub(crate) fn is_schema_1(media_type: &str) -> bool {
    SCHEMA_1.contains(&essence(media_type))
}

/// A schema 1 image: it exists, and its facts are unknown.
pub(crate) fn schema_1(digest: Digest, body: &[u8]) -> Manifest {
    Manifest {
        digest,
        kind: Kind::Image,
        size: body.len() as u64,
        children: Vec::new(),
        subject: None,
        blobs: Vec::new(),
        facts: Facts::Unknown {
            why: "it is a schema 1 manifest, whose age is not reliable".to_owned(),
            lasting: true,
        },
    }
}

/// Whether content of this type matches the digest, as far as that can be verified.
pub(super) fn matches_digest(digest: &Digest, media_type: &str, body: &[u8]) -> bool {
    is_schema_1(media_type) || digest.matches(body)
}

/// The media type that a manifest was pushed with: the one in the header, or else in the manifest if the header has
/// none of a manifest.
pub(crate) fn stored_media_type(header: Option<&str>, body: &[u8]) -> Option<String> {
    let header = header.map(essence).filter(|header| !header.is_empty());
    let own = || serde_json::from_slice::<Document>(body).ok()?.media_type;
    let is_known = |name: &&str| INDEXES.contains(name) || MANIFESTS.contains(name) || is_schema_1(name);
    header.filter(is_known).map(str::to_owned).or_else(own).or(header.map(str::to_owned))
}

/// Decodes a manifest that was stored as bytes: its children, its subject and its blobs. The facts of an image are
/// not included, since they are in its configuration.
pub fn read_manifest(digest: &Digest, media_type: &str, body: &[u8]) -> Result<Manifest, String> {
    if is_schema_1(media_type) {
        return Ok(schema_1(digest.clone(), body));
    }
    if !digest.matches(body) {
        return Err(format!("the manifest does not match its digest {digest}"));
    }
    manifest(digest.clone(), media_type, body)
}

/// Decodes a manifest that matches its digest.
pub(crate) fn manifest(digest: Digest, media_type: &str, body: &[u8]) -> Result<Manifest, String> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| format!("the manifest cannot be parsed: {}", describe(&error)))?;
    // The digest covers the body and not the header, so the type in the body takes precedence.
    let media_type = document.media_type.as_deref().unwrap_or(essence(media_type));
    let size = body.len() as u64;
    let subject = document.subject.as_ref().map(Descriptor::digest).transpose()?;
    let annotations = document.annotations.unwrap_or_default();
    if INDEXES.contains(&media_type) {
        let listed = document.manifests.ok_or("the index has no `manifests`")?;
        let (blobs, children): (Vec<_>, Vec<_>) = listed.iter().partition(|descriptor| descriptor.is_blob());
        let blobs = blobs.into_iter().map(Descriptor::blob).collect::<Result<_, _>>()?;
        let children = children.into_iter().map(Descriptor::digest).collect::<Result<_, _>>()?;
        let facts = Facts::Known { created: created_by(&annotations), labels: annotations };
        return Ok(Manifest { digest, kind: Kind::Index, size, children, subject, blobs, facts });
    }
    if !MANIFESTS.contains(&media_type) {
        let media_type = sanitize(media_type, MAX_SHOWN);
        return Err(format!("{media_type:?} is not a supported type of manifest"));
    }
    let config = document.config.ok_or("the manifest has no `config`")?;
    let layers = document.layers.unwrap_or_default();
    let is_image = IMAGE_CONFIGS.contains(&config.media_type.as_str())
        && layers.iter().all(|layer| IMAGE_LAYERS.iter().any(|prefix| layer.media_type.starts_with(prefix)));
    let blobs = std::iter::once(&config).chain(&layers).map(Descriptor::blob).collect::<Result<_, _>>()?;
    let (kind, facts) = if is_image {
        (Kind::Image, Facts::NotFetched { annotations })
    } else {
        (Kind::Artifact, Facts::Known { created: created_by(&annotations), labels: annotations })
    };
    Ok(Manifest { digest, kind, size, children: Vec::new(), subject, blobs, facts })
}

/// The facts of an image: its configuration together with the annotations of its manifest.
pub(crate) fn image_facts(annotations: &BTreeMap<String, String>, config: &[u8]) -> Facts {
    let mut labels = annotations.clone();
    match serde_json::from_slice::<ImageConfig>(config) {
        Ok(config) => {
            let created = config.created.as_deref().and_then(parse_timestamp).or_else(|| created_by(&labels));
            labels.extend(config.config.and_then(|config| config.labels).unwrap_or_default());
            Facts::Known { created, labels }
        }
        Err(error) => {
            let why = format!("its configuration cannot be parsed: {}", describe(&error));
            Facts::Unknown { why, lasting: true }
        }
    }
}

/// The digests in an answer of the referrers API.
///
/// For a manifest that it does not have, Harbor sends an index without `manifests`.
pub(crate) fn referrer_digests(media_type: &str, body: &[u8]) -> Result<Vec<Digest>, String> {
    if essence(media_type) == INDEXES[0] && body.trim_ascii() == b"{}" {
        return Ok(Vec::new());
    }
    let document: Document = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let manifests = document.manifests.ok_or("the answer is not an index")?;
    manifests.iter().map(Descriptor::digest).collect()
}

/// The text of an error, which may repeat values of the document.
fn describe(error: &serde_json::Error) -> String {
    sanitize(&error.to_string(), MAX_SHOWN)
}

fn created_by(annotations: &BTreeMap<String, String>) -> Option<DateTime<Utc>> {
    annotations.get(CREATED).and_then(|text| parse_timestamp(text))
}

fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|timestamp| timestamp.to_utc())
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
}

impl Descriptor {
    fn digest(&self) -> Result<Digest, String> {
        Digest::parse(&self.digest).map_err(|error| error.to_string())
    }

    /// Whether an entry of an index is a blob. BuildKit's registry cache is an index of layers and a configuration
    /// (`application/vnd.buildkit.cacheconfig.v0`); when one of them is requested as a manifest, distribution 2.8
    /// answers
    /// 500.
    ///
    /// Every type of manifest so far has "manifest" or "index" in its name. An entry without a type, or with an
    /// unknown type of manifest, counts as a manifest: it may need others.
    fn is_blob(&self) -> bool {
        let media_type = essence(&self.media_type).to_ascii_lowercase();
        !(media_type.is_empty() || media_type.contains("manifest") || media_type.contains("index"))
    }

    fn blob(&self) -> Result<Blob, String> {
        Ok(Blob { digest: self.digest()?, size: self.size })
    }
}

#[derive(Deserialize)]
struct ImageConfig {
    created: Option<String>,
    config: Option<RunConfig>,
}

#[derive(Deserialize)]
struct RunConfig {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = MANIFESTS[0];

    fn digest(byte: &str) -> String {
        format!("sha256:{}", byte.repeat(32))
    }

    fn parse(media_type: &str, body: &str) -> Result<Manifest, String> {
        manifest(Digest::of(body.as_bytes()), media_type, body.as_bytes())
    }

    fn image(config_type: &str, layer_type: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{config_type}","digest":"{}","size":7}},
               "layers":[{{"mediaType":"{layer_type}","digest":"{}","size":100}}],
               "annotations":{{"{CREATED}":"2026-01-02T03:04:05Z"}}}}"#,
            digest("aa"),
            digest("bb"),
        )
    }

    #[test]
    fn image_has_a_configuration() {
        let manifest =
            parse(OCI, &image(IMAGE_CONFIGS[0], "application/vnd.oci.image.layer.v1.tar+gzip")).unwrap();
        assert_eq!(manifest.kind, Kind::Image);
        assert_eq!(manifest.config().unwrap().as_str(), digest("aa"));
        assert_eq!(manifest.blobs.iter().map(|blob| blob.size).sum::<u64>(), 107);
    }

    #[test]
    fn artifact_has_its_age_in_an_annotation() {
        for (config, layer) in [
            (
                "application/vnd.cncf.helm.config.v1+json",
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            ),
            (IMAGE_CONFIGS[0], "application/vnd.dev.cosign.simplesigning.v1+json"),
            (IMAGE_CONFIGS[0], "application/vnd.in-toto+json"),
        ] {
            let manifest = parse(OCI, &image(config, layer)).unwrap();
            assert_eq!((manifest.kind, manifest.config()), (Kind::Artifact, None), "{layer}");
            let Facts::Known { created, .. } = manifest.facts else { panic!("{layer}") };
            assert_eq!(created, parse_timestamp("2026-01-02T03:04:05Z"));
        }
    }

    #[test]
    fn index_lists_its_children() {
        let body = format!(
            r#"{{"manifests":[{{"digest":"{}"}}],"subject":{{"digest":"{}"}}}}"#,
            digest("aa"),
            digest("bb")
        );
        let parsed = parse(INDEXES[1], &body).unwrap();
        assert_eq!((parsed.kind, parsed.children.len()), (Kind::Index, 1));
        assert_eq!(parsed.subject.unwrap().as_str(), digest("bb"));
    }

    #[test]
    fn index_entry_of_another_type_is_a_blob() {
        let check = |media_type: &str, is_blob: bool| {
            let body = format!(
                r#"{{"manifests":[{{"mediaType":"{media_type}","digest":"{}","size":5}}]}}"#,
                digest("aa")
            );
            let parsed = parse(INDEXES[0], &body).unwrap();
            let counts = (parsed.blobs.len(), parsed.children.len());
            assert_eq!(counts, if is_blob { (1, 0) } else { (0, 1) }, "{media_type}");
            assert!(parsed.blobs.iter().all(|blob| blob.size == 5));
            assert_eq!(parsed.config(), None);
        };
        check("application/vnd.oci.image.layer.v1.tar+gzip", true);
        check("application/vnd.docker.image.rootfs.diff.tar.gzip", true);
        check("application/vnd.buildkit.cacheconfig.v0", true);
        check("application/octet-stream; x=manifest", true);
        for media_type in INDEXES.iter().chain(&MANIFESTS).chain(&SCHEMA_1) {
            check(media_type, false);
            check(&media_type.to_uppercase(), false);
        }
        check("application/vnd.oci.artifact.manifest.v1+json", false);
        check("", false);
        let untyped = format!(r#"{{"manifests":[{{"digest":"{}"}}]}}"#, digest("aa"));
        assert_eq!(parse(INDEXES[0], &untyped).unwrap().children.len(), 1);
    }

    #[test]
    fn manifest_that_is_invalid_is_an_error() {
        for (media_type, body) in [
            (OCI, "{"),
            (OCI, "[]"),
            (OCI, "{}"),
            (INDEXES[0], "{}"),
            (INDEXES[0], r#"{"manifests":[{"digest":"sha256:abc"}]}"#),
            (INDEXES[0], r#"{"manifests":[{"digest":"sha256:abc","size":-1}]}"#),
            ("application/json", r#"{"manifests":[]}"#),
            (OCI, r#"{"mediaType":"application/vnd.example.new+json","config":{"digest":"x"}}"#),
        ] {
            assert!(parse(media_type, body).is_err(), "{media_type} {body}");
        }
    }

    #[test]
    fn image_facts_are_age_and_labels() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let annotations = labels(&[("a", "1"), ("b", "1")]);
        let facts = |config: &str| image_facts(&annotations, config.as_bytes());
        let created = parse_timestamp("2026-01-02T03:04:05.678Z");
        assert_eq!(
            facts(r#"{"created":"2026-01-02T03:04:05.678Z","config":{"Labels":{"b":"2"}}}"#),
            Facts::Known { created, labels: labels(&[("a", "1"), ("b", "2")]) }
        );
        let bare = Facts::Known { created: None, labels: labels(&[("a", "1"), ("b", "1")]) };
        assert_eq!(facts(r#"{"created":"yesterday","config":{"Labels":null}}"#), bare);
        assert_eq!(facts("{}"), bare);
        assert!(matches!(facts("not json"), Facts::Unknown { .. }));
    }
}
