//! Removing a tag alone where a registry deletes a manifest only with all its tags.
//!
//! A manifest of no use takes the tag over, and is deleted with it. It is like no other, or its deletion
//! would take the tags of others along. Whoever is cut off in between finds it again by its annotation.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::auth::Scope;
use super::delete::{Deleter, Deletion};
use super::error::{Error, Kind};
use super::link;
use super::read::{Reader, TagTarget};
use super::restore::{Restore, Restorer};
use super::stored::RawManifest;
use super::transport::Request;
use crate::model::{Digest, PLACEHOLDER, RepositoryName, Tag};

/// Answers to uploads carry nothing that is needed.
const ANSWER_BYTES: usize = 1 << 20;

/// The only layer, since some registries want one: what OCI 1.1 writes where there is nothing to write.
const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

const OCI: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"];
const DOCKER: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
];

/// A manifest that is made to take one tag over.
#[derive(Debug, Clone)]
pub struct Placeholder {
    raw: RawManifest,
    digest: Digest,
    configuration: Bytes,
}

/// Why a placeholder did not remove its tag.
#[derive(Debug)]
pub struct PlaceholderError {
    /// What failed.
    pub error: Error,
    /// Whether the placeholder may have the tag by now.
    pub tag_moved: bool,
}

impl Placeholder {
    /// One for this tag, of the same family as the manifest type `like`, since some registries take only
    /// what they have.
    pub fn new(tag: &Tag, like: &str, now: DateTime<Utc>) -> Self {
        let [manifest_type, config_type] =
            if like.starts_with("application/vnd.docker.") { DOCKER } else { OCI };
        let created = now.to_rfc3339_opts(SecondsFormat::Nanos, true);
        let words = json!({
            PLACEHOLDER: tag.as_str(),
            // Nothing else in the world has these bytes.
            "regsweep.nonce": format!("{:032x}", fastrand::u128(..)),
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.description":
                "regsweep is removing this tag: a placeholder took it over and is about to be deleted with it",
        });
        let layer = Digest::of(EMPTY);
        let configuration = bytes(&json!({
            "created": created,
            "architecture": "unknown",
            "os": "unknown",
            "config": { "Labels": &words },
            "rootfs": { "type": "layers", "diff_ids": [layer.as_str()] },
        }));
        let part = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len() });
        let body = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": part(config_type, &configuration),
            "layers": [part(EMPTY_TYPE, EMPTY)],
            "annotations": words,
        }));
        let digest = Digest::of(&body);
        Self { raw: RawManifest { media_type: manifest_type.to_owned(), body }, digest, configuration }
    }
}

fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

impl Deleter {
    /// Removes a tag that points to `digest`, and leaves that manifest.
    ///
    /// Whoever pushes the tag between the last look at it and the placeholder's arrival loses the tag: no
    /// registry can be asked to replace a tag only if it is what it was. So that look is the last
    /// request before.
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
        let reader = Reader { transport: self.transport.clone() };
        match reader.tag_target(repository, tag, digest).await.map_err(before)? {
            TagTarget::Expected => {}
            TagTarget::Missing => return Ok(Deletion::AlreadyGone),
            TagTarget::Other => return Ok(Deletion::Moved),
        }
        let restorer = Restorer::new(self.transport.clone());
        let placed = restorer.put(repository, Restore::Tag(tag), &placeholder.raw, &placeholder.digest).await;
        // Even a refusal may be the answer to a second try after a first one that came through.
        placed.map_err(after)?;
        let target = reader.tag_target(repository, tag, &placeholder.digest).await.map_err(after)?;
        // A tag that was pushed meanwhile is not the placeholder's, and stays when that goes.
        self.again(repository, &placeholder.digest).await.map_err(after)?;
        Ok(match target {
            TagTarget::Expected | TagTarget::Missing => Deletion::Done,
            TagTarget::Other => Deletion::Moved,
        })
    }

    async fn upload(&self, repository: &RepositoryName, blob: &Bytes) -> Result<(), Error> {
        let path = format!("{repository}/blobs/uploads/");
        let begin = self.transport.url(&path);
        let mut url = self.step(repository, Method::POST, begin, Bytes::new()).await?;
        url.query_pairs_mut().append_pair("digest", Digest::of(blob).as_str());
        self.step(repository, Method::PUT, url, blob.clone()).await.map(drop)
    }

    /// Sends one step of an upload. Tells where the next one goes.
    async fn step(
        &self,
        repository: &RepositoryName,
        method: Method,
        url: Url,
        body: Bytes,
    ) -> Result<Url, Error> {
        let accepted = &[StatusCode::ACCEPTED, StatusCode::CREATED];
        let octets = HeaderValue::from_static("application/octet-stream");
        let request = Request {
            method,
            url,
            scope: Scope::push(repository.as_str()),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, octets)]),
            body,
            accepted,
            limit: ANSWER_BYTES,
            once: false,
        };
        let response = self.transport.send(&request).await?;
        let location = response.header(LOCATION.as_str()).unwrap_or_default();
        link::onward(&request.url, location)
            .map_err(|message| Error::new(request.method_name(), &request.url, Kind::Invalid, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::read_manifest;
    use super::*;
    use crate::model::Facts;

    #[test]
    fn a_placeholder_is_like_no_other_and_says_what_it_is_for() {
        let tag = Tag::parse("v1").unwrap();
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        for like in [OCI[0], DOCKER[0], "application/vnd.docker.distribution.manifest.list.v2+json", ""] {
            let [one, other] = [(); 2].map(|()| Placeholder::new(&tag, like, now));
            assert_ne!(one.digest, other.digest);
            let read = read_manifest(&one.digest, &one.raw.media_type, &one.raw.body).unwrap();
            assert_eq!(read.placeholder_tag(), Some("v1"), "{like}");
            assert!(matches!(read.facts, Facts::Known { created: Some(at), .. } if at == now), "{like}");
            let family = if like.contains("docker") { DOCKER[0] } else { OCI[0] };
            assert_eq!(one.raw.media_type, family);
            assert_eq!(read.blobs[0].digest, Digest::of(&one.configuration));
        }
    }
}
