//! What a registry stores, as bytes: a manifest to be kept for later, and whether a blob is still there.
//!
//! A registry that looks into a cache instead of its storage is not believed.

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{HeaderValue, RANGE};

use super::auth::Scope;
use super::error::{Error, Kind};
use super::read::{MANIFEST_BYTES, NO_BLOB, NO_MANIFEST, Reader, absent};
use super::transport::{Request, Response};
use super::wire;
use crate::model::{Digest, RepositoryName};

/// One byte is asked for. A registry that sends the whole blob instead is cut off here; what it says
/// when there is none is shorter.
const PROBE_BYTES: usize = 64 << 10;

/// A manifest as the registry stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// Its type, without parameters: what it was pushed with, and has to be pushed with again.
    pub media_type: String,
    /// Its bytes.
    pub body: Bytes,
}

impl Reader {
    /// The bytes of a manifest; `None` if the registry has no such manifest.
    ///
    /// They are the ones that the digest names, except for schema 1, whose digest does not cover the
    /// signatures among them.
    pub async fn raw(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, Error> {
        let accepted = &[StatusCode::OK, StatusCode::NOT_FOUND];
        let url = self.transport.url(&format!("{repository}/manifests/{digest}"));
        let request = Request::get(url, Scope::pull(repository.as_str()), accepted, MANIFEST_BYTES)
            .accept(wire::ACCEPT);
        let response = self.transport.send(&request).await?;
        if response.status == StatusCode::NOT_FOUND {
            absent(&request, &response, NO_MANIFEST)?;
            return Ok(None);
        }
        let invalid = |kind, message: &str| Error::new("GET", &request.url, kind, message);
        let told = response.header("docker-content-digest");
        if told.is_some_and(|told| told != digest.as_str()) {
            return Err(invalid(Kind::DigestMismatch, "the registry answered with another manifest"));
        }
        let media_type = wire::stored_type(response.header("content-type"), &response.body)
            .ok_or_else(|| invalid(Kind::Invalid, "nothing says what type of manifest this is"))?;
        if !wire::is_named_by(digest, &media_type, &response.body) {
            return Err(invalid(Kind::DigestMismatch, "the manifest does not match its digest"));
        }
        Ok(Some(RawManifest { media_type, body: response.body }))
    }

    /// Whether the registry can serve a blob. `false` is its own word for it; whatever leaves a doubt
    /// is an error.
    ///
    /// The first byte is asked for, because HEAD proves nothing: distribution with a cache of
    /// descriptors goes on answering 200 after a collection by another process. To a GET it then sends a
    /// whole head and no byte of the body. So it does where its storage fails, and so does a broken
    /// connection; this is an error of the kind [`Kind::Interrupted`] with a status.
    pub async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let accepted = &[
            StatusCode::OK,
            StatusCode::PARTIAL_CONTENT,
            StatusCode::NOT_FOUND,
            StatusCode::RANGE_NOT_SATISFIABLE,
        ];
        let url = self.transport.url(&format!("{repository}/blobs/{digest}"));
        let mut request = Request::get(url, Scope::pull(repository.as_str()), accepted, PROBE_BYTES);
        request.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        let error = match self.transport.send(&request).await {
            Ok(response) => return served(&request, &response, digest),
            Err(error) => error,
        };
        let announced = error.status.is_some_and(|status| status.is_success());
        match error.kind {
            Kind::TooLarge if announced => Ok(true),
            Kind::Interrupted if announced => {
                let message = format!(
                    "{}: the registry announces the blob and does not send it. A collection may have swept it, \
                     while the cache of the registry still has it: restart the registry",
                    error.message
                );
                Err(Error { message, ..error })
            }
            _ => Err(error),
        }
    }
}

/// What a whole answer to the question for the first byte says of the blob.
fn served(request: &Request<'_>, response: &Response, digest: &Digest) -> Result<bool, Error> {
    let invalid = |kind, message: &str| Error::new("GET", &request.url, kind, message);
    match response.status {
        StatusCode::NOT_FOUND => absent(request, response, NO_BLOB).map(|()| false),
        // An empty blob has no first byte.
        StatusCode::RANGE_NOT_SATISFIABLE if digest.matches(b"") => Ok(true),
        StatusCode::RANGE_NOT_SATISFIABLE if response.header("content-range") == Some("bytes */0") => {
            Err(invalid(Kind::DigestMismatch, "the registry stores the blob with no bytes in it"))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            Err(invalid(Kind::Invalid, "the registry cannot say whether it has the first byte of the blob"))
        }
        StatusCode::PARTIAL_CONTENT if response.body.is_empty() => {
            Err(invalid(Kind::Invalid, "the registry answered with no byte of the blob"))
        }
        StatusCode::PARTIAL_CONTENT => Ok(true),
        _ if digest.matches(&response.body) => Ok(true),
        _ => Err(invalid(Kind::DigestMismatch, "the blob does not match its digest")),
    }
}
