//! The restoring half: puts manifests and tags back that were there before.
//!
//! It is made only where a deletion is to be undone. It uploads no blobs: a registry refuses a manifest
//! whose parts it does not have.

use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};

use super::auth::Scope;
use super::error::{Error, Kind};
use super::stored::RawManifest;
use super::transport::{Request, Transport};
use super::wire;
use crate::model::{Digest, RepositoryName, Tag};

/// Answers to uploads carry nothing that is needed; a refusal names each part that is missing.
const ANSWER_BYTES: usize = 1 << 20;

/// Puts manifests back into one registry.
pub struct Restorer {
    transport: Arc<Transport>,
}

/// Under what name a manifest is put back.
#[derive(Debug, Clone, Copy)]
pub enum Restore<'a> {
    /// Under its digest alone.
    Digest,
    /// Under a tag, and with that under its digest. Whatever had the tag loses it.
    Tag(&'a Tag),
}

impl Restorer {
    pub(super) fn new(transport: Arc<Transport>) -> Self {
        Self { transport }
    }

    /// Puts a manifest back. Done twice, it is the same as done once.
    ///
    /// Distribution refuses a manifest with `MANIFEST_BLOB_UNKNOWN` where a blob or a child is missing,
    /// so children go first; other registries say `MANIFEST_UNKNOWN` of a child. A yes is no proof that
    /// the manifest is there: distribution with a cache of descriptors that has not noticed a collection
    /// answers 201, and stores nothing. [`Reader::raw`](super::Reader::raw) tells.
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
        let url = self.transport.url(&format!("{repository}/manifests/{name}"));
        let invalid = |kind, message| Error::new("PUT", &url, kind, message);
        // Under a tag a registry would take any bytes, and tell their digest when it is too late.
        if !wire::is_named_by(digest, &raw.media_type, &raw.body) {
            let message = format!("the bytes to be put back do not match their digest {digest}");
            return Err(invalid(Kind::DigestMismatch, message));
        }
        let media_type = HeaderValue::from_str(&raw.media_type)
            .map_err(|_| invalid(Kind::Invalid, format!("{:?} is no media type", raw.media_type)))?;
        let request = Request {
            method: Method::PUT,
            url: url.clone(),
            scope: Scope::push(repository.as_str()),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, media_type)]),
            body: raw.body.clone(),
            accepted,
            limit: ANSWER_BYTES,
            once: false,
        };
        let response = self.transport.send(&request).await?;
        match response.header("docker-content-digest") {
            Some(told) if told != digest.as_str() => {
                let message = format!("the registry took the manifest for another one, {told:?}");
                Err(invalid(Kind::DigestMismatch, message))
            }
            _ => Ok(()),
        }
    }
}
