//! The deleting half: a manifest by digest, a tag alone.
//!
//! It is made only where a run is to be carried out; planning never holds one.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::auth::Scope;
use super::error::{Error, Kind};
use super::transport::{Request, Response, Transport};
use crate::model::{Digest, RepositoryName, Tag};

/// Answers to deletions carry nothing that is needed.
const ANSWER_BYTES: usize = 1 << 20;

/// Deletes from one registry.
pub struct Deleter {
    transport: Arc<Transport>,
}

/// Whether a registry would delete at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It would.
    Yes,
    /// It would not, and this is why and what to do.
    No(&'static str),
}

/// What a deletion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone because of us.
    Done,
    /// It was gone before.
    AlreadyGone,
}

impl Deleter {
    pub(super) fn new(transport: Arc<Transport>) -> Self {
        Self { transport }
    }

    /// Finds out whether deletion is possible by deleting what cannot exist: nobody knows bytes whose
    /// digest is all zeros.
    pub async fn ready(&self, repository: &RepositoryName) -> Result<Ready, Error> {
        let nothing = format!("sha256:{}", "0".repeat(64));
        let accepted = &[StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED];
        let (request, response) = self.send(repository, &nothing, accepted).await?;
        if response.status != StatusCode::METHOD_NOT_ALLOWED {
            return Ok(Ready::Yes);
        }
        let error = Error::status("DELETE", &request.url, response.status, &response.body);
        Ok(Ready::No(refusal(&error)))
    }

    /// Deletes a manifest with all its tags.
    pub async fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Deletion, Error> {
        self.delete(repository, digest.as_str()).await
    }

    /// Deletes a tag and leaves its manifest, on a registry that can.
    pub async fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Deletion, Error> {
        self.delete(repository, tag.as_str()).await
    }

    async fn delete(&self, repository: &RepositoryName, reference: &str) -> Result<Deletion, Error> {
        let accepted = &[
            StatusCode::ACCEPTED,
            StatusCode::OK,
            StatusCode::NO_CONTENT,
            StatusCode::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED,
        ];
        let (request, response) = self.send(repository, reference, accepted).await?;
        match response.status {
            StatusCode::NOT_FOUND => {
                let error = Error::status("DELETE", &request.url, response.status, &response.body);
                if !error.has_code("MANIFEST_UNKNOWN") && !error.has_code("NAME_UNKNOWN") {
                    return Err(Error { perhaps_done: response.perhaps_done, ..error });
                }
                // The answer to the first try may have been lost on its way.
                Ok(if response.perhaps_done { Deletion::Done } else { Deletion::AlreadyGone })
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                let error = Error::status("DELETE", &request.url, response.status, &response.body);
                // Zot refuses a manifest that an index still lists with another code than deletion as such.
                let kind = if error.has_code("DENIED") { Kind::Forbidden } else { Kind::Unsupported };
                let (message, perhaps_done) = (refusal(&error).to_owned(), response.perhaps_done);
                Err(Error { message, kind, perhaps_done, ..error })
            }
            _ => Ok(Deletion::Done),
        }
    }

    async fn send<'a>(
        &self,
        repository: &RepositoryName,
        reference: &str,
        accepted: &'a [StatusCode],
    ) -> Result<(Request<'a>, Response), Error> {
        let request = Request {
            method: Method::DELETE,
            url: self.transport.url(&format!("{repository}/manifests/{reference}")),
            scope: Scope::delete(repository.as_str()),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            accepted,
            limit: ANSWER_BYTES,
        };
        let response = self.transport.send(&request).await?;
        Ok((request, response))
    }
}

/// Why a registry answers 405. Distribution says so in JSON where deletion is disabled, and in plain
/// text, from its router, where the whole registry is read-only.
fn refusal(error: &Error) -> &'static str {
    if error.has_code("UNSUPPORTED") {
        "deletion is disabled on this registry: set REGISTRY_STORAGE_DELETE_ENABLED=true (storage.delete.enabled \
         in its configuration) and restart it"
    } else if error.codes.is_empty() {
        "this registry is read-only: turn storage.maintenance.readonly off in its configuration and restart it"
    } else {
        "this registry does not allow this deletion"
    }
}
