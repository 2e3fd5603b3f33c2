//! Whether a registry still has a blob.
//!
//! An answer from the cache of a registry, which may not match its storage, is not trusted.

use reqwest::StatusCode;
use reqwest::header::{HeaderValue, RANGE};

use super::client::{Request, Response};
use super::not_found::{NO_BLOB, confirm_not_found};
use super::reader::Reader;
use crate::model::{Digest, RepositoryName};
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

/// One byte is requested. The answer of a registry that sends the complete blob is cut off here; an error is shorter.
const MAX_ANSWER_BYTES: usize = 64 << 10;

impl Reader {
    /// Whether the registry can send a blob. `false` means that its answer has the error code for a missing
    /// blob; an unclear answer is an error.
    ///
    /// The first byte is requested, because HEAD proves nothing: distribution with a cache of descriptors answers 200
    /// even after a garbage collection by another process. To a GET it then sends the headers and no byte of the
    /// body. So it does when its storage fails, and so does a broken connection; this is an error of the kind
    /// [`Kind::Interrupted`] with a status.
    pub async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let accepted = &[
            StatusCode::OK,
            StatusCode::PARTIAL_CONTENT,
            StatusCode::NOT_FOUND,
            StatusCode::RANGE_NOT_SATISFIABLE,
        ];
        let url = self.client.url(&format!("{repository}/blobs/{digest}"));
        let mut request = Request::get(url, Scope::pull(repository.as_str()), accepted, MAX_ANSWER_BYTES);
        request.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        let error = match self.client.send(&request).await {
            Ok(response) => return evaluate(&request, &response, digest),
            Err(error) => error,
        };
        let is_announced = error.status.is_some_and(|status| status.is_success());
        match error.kind {
            Kind::TooLarge if is_announced => Ok(true),
            Kind::Interrupted if is_announced => {
                let message = format!(
                    "{}: the registry announces the blob and does not send it. A garbage collection may have \
                     deleted it while the registry's cache still has it: restart the registry",
                    error.message
                );
                Err(Error { message, ..error })
            }
            _ => Err(error),
        }
    }
}

/// Whether the registry has the blob, by a complete answer to the request for its first byte.
fn evaluate(request: &Request<'_>, response: &Response, digest: &Digest) -> Result<bool, Error> {
    let invalid = |kind, message: &str| Error::new("GET", &request.url, kind, message);
    match response.status {
        StatusCode::NOT_FOUND => confirm_not_found(request, response, NO_BLOB).map(|()| false),
        // An empty blob has no first byte.
        StatusCode::RANGE_NOT_SATISFIABLE if digest.matches(b"") => Ok(true),
        StatusCode::RANGE_NOT_SATISFIABLE if response.header("content-range") == Some("bytes */0") => {
            Err(invalid(Kind::DigestMismatch, "the registry stores the blob as an empty file"))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            Err(invalid(Kind::Invalid, "the registry refuses to send the first byte of the blob"))
        }
        StatusCode::PARTIAL_CONTENT if response.body.is_empty() => {
            Err(invalid(Kind::Invalid, "the registry answered with no byte of the blob"))
        }
        StatusCode::PARTIAL_CONTENT => Ok(true),
        _ if digest.matches(&response.body) => Ok(true),
        _ => Err(invalid(Kind::DigestMismatch, "the blob does not match its digest")),
    }
}
