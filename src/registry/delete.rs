//! The deleting half: a manifest by digest, a tag alone.
//!
//! It is made only where a run is to be carried out; planning never holds one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::auth::Scope;
use super::error::{Error, Kind};
use super::product::Product;
use super::read::{NO_MANIFEST, Reader, Reference, Resolved};
use super::transport::{Request, Response, Transport};
use crate::model::{Digest, RepositoryName, Tag, TagDeletion};

/// Answers to deletions carry nothing that is needed.
const ANSWER_BYTES: usize = 1 << 20;

/// The answers to a deletion that are understood here.
const ANSWERS: &[StatusCode] = &[
    StatusCode::ACCEPTED,
    StatusCode::OK,
    StatusCode::NO_CONTENT,
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::CONFLICT,
    StatusCode::PRECONDITION_FAILED,
];

/// What no tag has in its name but the one that is asked about.
const PROBE: &str = "regsweep-probe-";

const KEEPS_TAGS: &str = "this registry does not remove one tag of a manifest that stays";

/// Deletes from one registry.
pub struct Deleter {
    pub(super) transport: Arc<Transport>,
    /// Whether the registry has said that it removes no tag alone. Then it is not asked again.
    keeps_tags: AtomicBool,
}

/// Whether a registry would delete at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionSupport {
    /// It would.
    Supported,
    /// It would not, and this is why and what to do.
    Unsupported(&'static str),
}

/// What a deletion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone because of us.
    Done,
    /// It was gone before.
    AlreadyGone,
    /// It was a tag that somebody pushed anew meanwhile, and that is theirs now.
    Moved,
}

impl Deleter {
    pub(super) fn new(transport: Arc<Transport>) -> Self {
        Self { transport, keeps_tags: AtomicBool::new(false) }
    }

    /// Finds out whether deletion is possible by deleting what cannot exist: nobody knows bytes whose
    /// digest is all zeros.
    pub async fn probe_deletion(&self, repository: &RepositoryName) -> Result<DeletionSupport, Error> {
        let nothing = format!("sha256:{}", "0".repeat(64));
        let error = match self.send(repository, &nothing, false).await {
            Ok((request, response)) if response.status == StatusCode::METHOD_NOT_ALLOWED => {
                Error::status("DELETE", &request.url, response.status, &response.body)
            }
            Ok(_) => return Ok(DeletionSupport::Supported),
            Err(error) => error,
        };
        match (error.kind, self.transport.product().other_way()) {
            (Kind::Unsupported, _) => {
                Ok(DeletionSupport::Unsupported(refusal(&error, self.transport.product())))
            }
            // Where nobody is given the right to delete, the registry itself is never reached.
            (Kind::Unauthorized | Kind::Forbidden, Some(way)) => Ok(DeletionSupport::Unsupported(way)),
            _ => Err(error),
        }
    }

    /// Finds out whether a tag can be removed alone by removing one that does not exist; that it does
    /// not is looked up first. `None` if that does not tell, whatever the reason.
    pub async fn probe_tag_deletion(&self, repository: &RepositoryName) -> Option<TagDeletion> {
        let tag = Tag::parse(&format!("{PROBE}{:016x}", fastrand::u64(..))).ok()?;
        let reader = Reader { transport: self.transport.clone() };
        let found = reader.manifest(repository, Reference::Tag { tag: &tag, known: None }).await;
        if !matches!(found, Ok(Resolved::Absent)) {
            return None;
        }
        let (request, response) = self.send(repository, tag.as_str(), false).await.ok()?;
        let error = Error::status("DELETE", &request.url, response.status, &response.body);
        match response.status {
            // Nothing is known of a registry that did not come as far as the tag.
            _ if error.has_code("NAME_UNKNOWN") => None,
            StatusCode::NOT_FOUND if error.has_any(NO_MANIFEST) => Some(TagDeletion::Supported),
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => Some(TagDeletion::Unsupported),
            _ => None,
        }
    }

    /// Waits until the registry is there and wants requests, for whoever is about to have a last look.
    pub async fn wait(&self) -> Result<(), Error> {
        self.transport.pass("DELETE", &self.transport.url("")).await.map(drop)
    }

    /// Waits for another try at what has failed so often, and counts it; gives the error back where none is
    /// worth it.
    pub async fn pause(&self, error: Error, attempts: u32) -> Result<(), Error> {
        self.transport.pause(error, attempts, None).await
    }

    /// Deletes a manifest with all its tags. An error of the kind [`Kind::Forbidden`] says that this one
    /// has to stay, and nothing of the others.
    ///
    /// It is sent once: whatever failed, somebody may have pushed another tag to it meanwhile.
    pub async fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Deletion, Error> {
        self.delete(repository, digest.as_str(), true).await.map_err(|error| match error.kind {
            Kind::Unsupported => {
                Error { message: refusal(&error, self.transport.product()).to_owned(), ..error }
            }
            _ => error,
        })
    }

    /// Deletes a manifest that nobody else can have pushed, as often as it takes.
    pub(super) async fn again(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Deletion, Error> {
        self.delete(repository, digest.as_str(), false).await
    }

    /// Deletes a tag and leaves its manifest, on a registry that can. One that has said that it cannot is
    /// not asked again. It is sent once: somebody may have pushed the tag anew meanwhile.
    pub async fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Deletion, Error> {
        if self.keeps_tags.load(Ordering::Relaxed) {
            let url = self.transport.url(&format!("{repository}/manifests/{tag}"));
            let message = format!("{KEEPS_TAGS}: it said so of another one, so this one was not tried");
            return Err(Error::new("DELETE", &url, Kind::Unsupported, message));
        }
        self.delete(repository, tag.as_str(), true).await.map_err(|error| match (error.status, error.kind) {
            (Some(StatusCode::BAD_REQUEST), _) | (_, Kind::Unsupported) => {
                self.keeps_tags.store(true, Ordering::Relaxed);
                let message = format!("{KEEPS_TAGS} ({})", error.message);
                Error { message, kind: Kind::Unsupported, ..error }
            }
            _ => error,
        })
    }

    async fn delete(
        &self,
        repository: &RepositoryName,
        reference: &str,
        once: bool,
    ) -> Result<Deletion, Error> {
        let (request, response) = self.send(repository, reference, once).await?;
        if response.status.is_success() {
            return Ok(Deletion::Done);
        }
        let error = Error::status("DELETE", &request.url, response.status, &response.body);
        let error = Error { may_be_applied: response.may_be_applied || error.is_ambiguous(), ..error };
        let absent = match response.status {
            StatusCode::NOT_FOUND => error.has_any(NO_MANIFEST),
            // Zot says 400 of a repository that it does not have.
            StatusCode::BAD_REQUEST => error.has_code("NAME_UNKNOWN"),
            _ => false,
        };
        match response.status {
            // The answer to the first try may have been lost on its way.
            _ if absent && response.may_be_applied => Ok(Deletion::Done),
            _ if absent => Ok(Deletion::AlreadyGone),
            // An index still lists it (GitLab, Harbor), it has several tags (zot), or one of them is
            // immutable (Harbor).
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => {
                Err(Error { kind: Kind::Forbidden, ..error })
            }
            // Zot refuses a manifest that an index still lists with another code than deletion as such.
            StatusCode::METHOD_NOT_ALLOWED if error.has_code("DENIED") => {
                Err(Error { kind: Kind::Forbidden, ..error })
            }
            _ => Err(error),
        }
    }

    async fn send(
        &self,
        repository: &RepositoryName,
        reference: &str,
        once: bool,
    ) -> Result<(Request<'static>, Response), Error> {
        let request = Request {
            method: Method::DELETE,
            url: self.transport.url(&format!("{repository}/manifests/{reference}")),
            scope: Scope::delete(repository.as_str()),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            accepted: ANSWERS,
            limit: ANSWER_BYTES,
            once,
        };
        let response = self.transport.send(&request).await?;
        Ok((request, response))
    }
}

/// Why a registry answers 405, and the way out. Distribution says so in JSON where deletion is disabled,
/// and in plain text, from its router, where the whole registry is read-only.
fn refusal(error: &Error, product: Product) -> &'static str {
    if let Some(way) = product.other_way() {
        way
    } else if error.has_code("UNSUPPORTED") {
        "this registry does not delete by the registry API, or was told not to: distribution (docker-registry, \
         registry:2, registry:3) does with REGISTRY_STORAGE_DELETE_ENABLED=true (storage.delete.enabled in its \
         configuration) and a restart, unless it is a pull-through cache"
    } else if error.codes.is_empty() {
        "this registry is read-only: turn storage.maintenance.readonly off in its configuration and restart it"
    } else {
        "this registry does not allow this deletion"
    }
}
