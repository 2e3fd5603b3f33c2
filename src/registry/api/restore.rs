//! The restoring half of the registry API: pushes manifests and tags that were deleted.
//!
//! A [`Restorer`] exists only where a deletion is undone. It uploads no blobs: a registry refuses a manifest whose
//! blobs it does not have.

use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};

use super::client::{Client, Request};
use super::decode;
use super::raw::RawManifest;
use super::reader::Reader;
use crate::model::{Digest, RepositoryName, Tag};
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

/// The limit for the answer to an upload. A refusal names each part that is missing.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Restores manifests in one registry.
pub struct Restorer {
    pub(super) client: Arc<Client>,
}

impl Reader {
    /// The restoring half, with the same connections.
    pub fn restorer(&self) -> Restorer {
        Restorer { client: self.client.clone() }
    }
}

/// The reference under which a manifest is restored.
#[derive(Debug, Clone, Copy)]
pub enum Restore<'a> {
    /// Only under its digest.
    Digest,
    /// Under a tag, and so also under its digest. The tag no longer points to the manifest that it pointed to before.
    Tag(&'a Tag),
}

impl Restorer {
    /// Pushes a manifest. It is idempotent.
    ///
    /// Distribution refuses a manifest with `MANIFEST_BLOB_UNKNOWN` where a blob or a child is missing, so children
    /// have to be pushed first; other registries have `MANIFEST_UNKNOWN` for a child. Success does not prove that the
    /// manifest exists: distribution whose cache of descriptors has missed a garbage collection answers 201 and
    /// stores nothing. Read it with [`Reader::raw_manifest`] to be sure.
    pub async fn put(
        &self,
        repository: &RepositoryName,
        reference: Restore<'_>,
        raw: &RawManifest,
        digest: &Digest,
    ) -> Result<(), Error> {
        let name = match reference {
            Restore::Digest => digest.as_str(),
            Restore::Tag(tag) => tag.as_str(),
        };
        let accepted = &[StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
        let url = self.client.url(&format!("{repository}/manifests/{name}"));
        let invalid = |kind, message| Error::new("PUT", &url, kind, message);
        // Under a tag a registry accepts any content, and its digest would be known too late.
        if !decode::matches_digest(digest, &raw.media_type, &raw.body) {
            let message = format!("the manifest to be restored does not match its digest {digest}");
            return Err(invalid(Kind::DigestMismatch, message));
        }
        let media_type = HeaderValue::from_str(&raw.media_type)
            .map_err(|_| invalid(Kind::Invalid, format!("{:?} is not a media type", raw.media_type)))?;
        let request = Request {
            method: Method::PUT,
            url: url.clone(),
            scope: Scope::push(repository.as_str()),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, media_type)]),
            body: raw.body.clone(),
            accepted,
            limit: MAX_ANSWER_BYTES,
            once: false,
        };
        let response = self.client.send(&request).await?;
        match response.header("docker-content-digest") {
            Some(header) if header != digest.as_str() => {
                let message = format!("the registry has stored another manifest, {header:?}");
                Err(invalid(Kind::DigestMismatch, message))
            }
            _ => Ok(()),
        }
    }
}
