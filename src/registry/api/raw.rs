//! Reading a manifest as the bytes that the registry stores, to restore it later.

use bytes::Bytes;
use reqwest::StatusCode;

use super::client::Request;
use super::decode;
use super::not_found::{NO_MANIFEST, confirm_not_found};
use super::reader::{MAX_MANIFEST_BYTES, Reader};
use crate::model::{Digest, RepositoryName};
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

/// A manifest as the registry stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// Its media type without parameters: the one that it was pushed with, and has to be pushed with again.
    pub media_type: String,
    /// Its content.
    pub body: Bytes,
}

impl Reader {
    /// The content of a manifest; `None` if the registry has no such manifest.
    ///
    /// It matches the digest, except for schema 1, whose digest does not cover the signatures in it.
    pub async fn raw_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, Error> {
        let accepted = &[StatusCode::OK, StatusCode::NOT_FOUND];
        let url = self.client.url(&format!("{repository}/manifests/{digest}"));
        let request = Request::get(url, Scope::pull(repository.as_str()), accepted, MAX_MANIFEST_BYTES)
            .accept(decode::ACCEPT);
        let response = self.client.send(&request).await?;
        if response.status == StatusCode::NOT_FOUND {
            confirm_not_found(&request, &response, NO_MANIFEST)?;
            return Ok(None);
        }
        let invalid = |kind, message: &str| Error::new("GET", &request.url, kind, message);
        let header = response.header("docker-content-digest");
        if header.is_some_and(|header| header != digest.as_str()) {
            return Err(invalid(Kind::DigestMismatch, "the registry answered with another manifest"));
        }
        let media_type = decode::stored_media_type(response.header("content-type"), &response.body)
            .ok_or_else(|| invalid(Kind::Invalid, "the answer does not name the type of the manifest"))?;
        if !decode::matches_digest(digest, &media_type, &response.body) {
            return Err(invalid(Kind::DigestMismatch, "the manifest does not match its digest"));
        }
        Ok(Some(RawManifest { media_type, body: response.body }))
    }
}
