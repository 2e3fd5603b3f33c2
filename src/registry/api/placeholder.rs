//! Deleting a single tag on a registry that deletes a manifest only with all its tags.
//!
//! The tag is moved to a placeholder manifest, which is then deleted. Each placeholder is unique, since its deletion
//! also deletes every other tag that points to it. One that is left after an interruption is found by its annotation.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::client::Request;
use super::delete::{Deleter, Deletion};
use super::link;
use super::manifests::TagTarget;
use super::raw::RawManifest;
use super::reader::Reader;
use super::restore::{Restore, Restorer};
use crate::model::{Digest, PLACEHOLDER, RepositoryName, Tag};
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

/// The limit for the answer to an upload, whose body is only used in errors.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The only layer, since some registries require one: the empty descriptor of OCI 1.1.
const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

const OCI: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"];
const DOCKER: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
];

/// A manifest that is made so that one tag can be moved to it.
#[derive(Debug, Clone)]
pub struct Placeholder {
    raw: RawManifest,
    digest: Digest,
    configuration: Bytes,
}

/// Why the deletion of a tag by a placeholder failed.
#[derive(Debug)]
pub struct PlaceholderError {
    /// The error.
    pub error: Error,
    /// Whether the tag may point to the placeholder now.
    pub tag_moved: bool,
}

impl Placeholder {
    /// A placeholder for this tag, in the format (OCI or Docker) of the manifest type `like`, since some registries
    /// accept only that.
    pub fn new(tag: &Tag, like: &str, now: DateTime<Utc>) -> Self {
        let [manifest_type, config_type] =
            if like.starts_with("application/vnd.docker.") { DOCKER } else { OCI };
        let created = now.to_rfc3339_opts(SecondsFormat::Nanos, true);
        let annotations = json!({
            PLACEHOLDER: tag.as_str(),
            // It makes the digest unique.
            "regsweep.nonce": format!("{:032x}", fastrand::u128(..)),
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.description":
                "regsweep is deleting this tag: it points to this placeholder, which is about to be deleted",
        });
        let layer = Digest::of(EMPTY);
        let configuration = bytes(&json!({
            "created": created,
            "architecture": "unknown",
            "os": "unknown",
            "config": { "Labels": &annotations },
            "rootfs": { "type": "layers", "diff_ids": [layer.as_str()] },
        }));
        let part = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len() });
        let body = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": part(config_type, &configuration),
            "layers": [part(EMPTY_TYPE, EMPTY)],
            "annotations": annotations,
        }));
        let digest = Digest::of(&body);
        Self { raw: RawManifest { media_type: manifest_type.to_owned(), body }, digest, configuration }
    }
}

fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

impl Deleter {
    /// Deletes a tag that points to `digest`, and keeps that manifest.
    ///
    /// A push of the tag between the check of its target and the push of the placeholder is lost: no registry can
    /// replace a tag only if its target has not changed. So the check is the last request before.
    pub async fn tag_by_placeholder(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        placeholder: &Placeholder,
    ) -> Result<Deletion, PlaceholderError> {
        let before = |error| PlaceholderError { error, tag_moved: false };
        let after = |error| PlaceholderError { error, tag_moved: true };
        for blob in [&placeholder.configuration, &Bytes::from_static(EMPTY)] {
            self.upload(repository, blob).await.map_err(before)?;
        }
        let reader = Reader { client: self.client.clone() };
        match reader.tag_target(repository, tag, digest).await.map_err(before)? {
            TagTarget::Expected => {}
            TagTarget::Missing => return Ok(Deletion::AlreadyGone),
            TagTarget::Other => return Ok(Deletion::Moved),
        }
        let restorer = Restorer { client: self.client.clone() };
        let placed = restorer.put(repository, Restore::Tag(tag), &placeholder.raw, &placeholder.digest).await;
        // Even after a refusal the tag may have been moved, by an earlier attempt whose answer was lost.
        placed.map_err(after)?;
        let target = reader.tag_target(repository, tag, &placeholder.digest).await.map_err(after)?;
        // A tag that was pushed meanwhile does not point to the placeholder, and is not deleted with it.
        self.own_manifest(repository, &placeholder.digest).await.map_err(after)?;
        Ok(match target {
            TagTarget::Expected | TagTarget::Missing => Deletion::Done,
            TagTarget::Other => Deletion::Moved,
        })
    }

    async fn upload(&self, repository: &RepositoryName, blob: &Bytes) -> Result<(), Error> {
        let path = format!("{repository}/blobs/uploads/");
        let begin = self.client.url(&path);
        let mut url = self.step(repository, Method::POST, begin, Bytes::new()).await?;
        url.query_pairs_mut().append_pair("digest", Digest::of(blob).as_str());
        self.step(repository, Method::PUT, url, blob.clone()).await.map(drop)
    }

    /// Sends one step of an upload: the URL of the next step.
    async fn step(
        &self,
        repository: &RepositoryName,
        method: Method,
        url: Url,
        body: Bytes,
    ) -> Result<Url, Error> {
        let accepted = &[StatusCode::ACCEPTED, StatusCode::CREATED];
        let content_type = HeaderValue::from_static("application/octet-stream");
        let request = Request {
            method,
            url,
            scope: Scope::push(repository.as_str()),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            body,
            accepted,
            limit: MAX_ANSWER_BYTES,
            once: false,
        };
        let response = self.client.send(&request).await?;
        let location = response.header(LOCATION.as_str()).unwrap_or_default();
        link::resolve_same_host(&request.url, location)
            .map_err(|message| Error::new(request.method_name(), &request.url, Kind::Invalid, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Facts;
    use crate::registry::api::decode::read_manifest;

    #[test]
    fn new_is_unique_and_names_its_tag() {
        let tag = Tag::parse("v1").unwrap();
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        for like in [OCI[0], DOCKER[0], "application/vnd.docker.distribution.manifest.list.v2+json", ""] {
            let [one, other] = [(); 2].map(|()| Placeholder::new(&tag, like, now));
            assert_ne!(one.digest, other.digest);
            let read = read_manifest(&one.digest, &one.raw.media_type, &one.raw.body).unwrap();
            assert_eq!(read.placeholder_tag(), Some("v1"), "{like}");
            assert!(matches!(read.facts, Facts::Known { created: Some(at), .. } if at == now), "{like}");
            let format = if like.contains("docker") { DOCKER[0] } else { OCI[0] };
            assert_eq!(one.raw.media_type, format);
            assert_eq!(read.blobs[0].digest, Digest::of(&one.configuration));
        }
    }
}
