//! The deleting half of the registry API: a manifest by its digest, or a single tag.
//!
//! A [`Deleter`] exists only where a run is carried out. Planning has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::client::{Client, Request, Response};
use super::manifests::{Reference, Resolved};
use super::not_found::NO_MANIFEST;
use super::product::Product;
use super::reader::Reader;
use crate::model::{Digest, RepositoryName, Tag, TagDeletion};

use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

/// The limit for the answer to a deletion, whose body is only used in errors.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The answers to a deletion that are handled here.
const ACCEPTED: &[StatusCode] = &[
    StatusCode::ACCEPTED,
    StatusCode::OK,
    StatusCode::NO_CONTENT,
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::CONFLICT,
    StatusCode::PRECONDITION_FAILED,
];

/// The prefix of the tag by which the deletion of tags is tested; no other tag has it.
const PROBE_TAG_PREFIX: &str = "regsweep-probe-";

const NO_TAG_DELETION: &str = "this registry does not delete a single tag of a manifest that is kept";

/// Deletes from one registry.
pub struct Deleter {
    pub(super) client: Arc<Client>,
    /// Whether the registry has refused to delete a single tag. Then no other tag is tried.
    refuses_tags: AtomicBool,
}

impl Reader {
    /// The deleting half, with the same connections.
    pub fn deleter(&self) -> Deleter {
        Deleter { client: self.client.clone(), refuses_tags: AtomicBool::new(false) }
    }
}

/// Whether a registry deletes manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionSupport {
    /// It does.
    Supported,
    /// It does not, for this reason, with what to do about it.
    Unsupported(&'static str),
}

/// The result of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It was deleted.
    Done,
    /// It did not exist any more.
    AlreadyGone,
    /// The tag was pushed again meanwhile and points to another manifest, which is left alone.
    Moved,
}

impl Deleter {
    /// Finds out whether the registry deletes manifests, by deleting one that cannot exist: its digest is all zeros.
    pub async fn probe_deletion(&self, repository: &RepositoryName) -> Result<DeletionSupport, Error> {
        let missing = format!("sha256:{}", "0".repeat(64));
        let error = match self.send(repository, &missing, false).await {
            Ok((request, response)) if response.status == StatusCode::METHOD_NOT_ALLOWED => {
                Error::status("DELETE", &request.url, response.status, &response.body)
            }
            Ok(_) => return Ok(DeletionSupport::Supported),
            Err(error) => error,
        };
        match (error.kind, self.client.product().alternative()) {
            (Kind::Unsupported, _) => {
                Ok(DeletionSupport::Unsupported(refusal(&error, self.client.product())))
            }
            // Where no user has the right to delete, the request does not get as far as the registry.
            (Kind::Unauthorized | Kind::Forbidden, Some(alternative)) => {
                Ok(DeletionSupport::Unsupported(alternative))
            }
            _ => Err(error),
        }
    }

    /// Finds out whether the registry deletes single tags, by deleting one that does not exist, which is checked
    /// first. `None` if the answer is unclear.
    pub async fn probe_tag_deletion(&self, repository: &RepositoryName) -> Option<TagDeletion> {
        let tag = Tag::parse(&format!("{PROBE_TAG_PREFIX}{:016x}", fastrand::u64(..))).ok()?;
        let reader = Reader { client: self.client.clone() };
        let found = reader.manifest(repository, Reference::Tag { tag: &tag, known: None }).await;
        if !matches!(found, Ok(Resolved::Absent)) {
            return None;
        }
        let (request, response) = self.send(repository, tag.as_str(), false).await.ok()?;
        let error = Error::status("DELETE", &request.url, response.status, &response.body);
        match response.status {
            // The registry has not looked for the tag, so nothing is known.
            _ if error.has_code("NAME_UNKNOWN") => None,
            StatusCode::NOT_FOUND if error.has_any_code(NO_MANIFEST) => Some(TagDeletion::Supported),
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => Some(TagDeletion::Unsupported),
            _ => None,
        }
    }

    /// Waits until the registry accepts requests: to be called before the recheck that precedes a deletion.
    pub async fn wait_until_available(&self) -> Result<(), Error> {
        self.client.wait_until_available("DELETE", &self.client.url("")).await.map(drop)
    }

    /// Waits before another attempt after this many, and counts it as a retry. Returns the error where another
    /// attempt cannot help.
    pub async fn wait_before_retry(&self, error: Error, attempts: u32) -> Result<(), Error> {
        self.client.http.retry(error, attempts, None).await
    }

    /// Deletes a manifest with all its tags. An error of the kind [`Kind::Forbidden`] concerns only this manifest;
    /// others may be deleted.
    ///
    /// The request is not repeated: another tag may have been pushed to the manifest meanwhile.
    pub async fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Deletion, Error> {
        self.delete(repository, digest.as_str(), true).await.map_err(|error| match error.kind {
            Kind::Unsupported => {
                Error { message: refusal(&error, self.client.product()).to_owned(), ..error }
            }
            _ => error,
        })
    }

    /// Deletes a manifest that only we can have pushed. The request is repeated after failures.
    pub(super) async fn own_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Deletion, Error> {
        self.delete(repository, digest.as_str(), false).await
    }

    /// Deletes a tag and keeps its manifest, on a registry that supports it. After one refusal no other tag is tried.
    /// The request is not repeated: the tag may have been pushed again meanwhile.
    pub async fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Deletion, Error> {
        if self.refuses_tags.load(Ordering::Relaxed) {
            let url = self.client.url(&format!("{repository}/manifests/{tag}"));
            let message = format!("{NO_TAG_DELETION}: it has refused another tag, so this one was not tried");
            return Err(Error::new("DELETE", &url, Kind::Unsupported, message));
        }
        self.delete(repository, tag.as_str(), true).await.map_err(|error| match (error.status, error.kind) {
            (Some(StatusCode::BAD_REQUEST), _) | (_, Kind::Unsupported) => {
                self.refuses_tags.store(true, Ordering::Relaxed);
                let message = format!("{NO_TAG_DELETION} ({})", error.message);
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
            StatusCode::NOT_FOUND => error.has_any_code(NO_MANIFEST),
            // Zot answers 400 for a repository that it does not have.
            StatusCode::BAD_REQUEST => error.has_code("NAME_UNKNOWN"),
            _ => false,
        };
        match response.status {
            // The answer to an earlier attempt may have been lost.
            _ if absent && response.may_be_applied => Ok(Deletion::Done),
            _ if absent => Ok(Deletion::AlreadyGone),
            // An index lists it (GitLab, Harbor), it has several tags (zot), or one of them is immutable (Harbor).
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => {
                Err(Error { kind: Kind::Forbidden, ..error })
            }
            // Zot has another code for a manifest that an index lists than for deletion in general.
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
            url: self.client.url(&format!("{repository}/manifests/{reference}")),
            scope: Scope::delete(repository.as_str()),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            accepted: ACCEPTED,
            limit: MAX_ANSWER_BYTES,
            once,
        };
        let response = self.client.send(&request).await?;
        Ok((request, response))
    }
}

/// Why a registry answers 405, and what to do about it. Distribution sends JSON where deletion is disabled, and plain
/// text, from its router, where the whole registry is read-only.
fn refusal(error: &Error, product: Product) -> &'static str {
    if let Some(alternative) = product.alternative() {
        alternative
    } else if error.has_code("UNSUPPORTED") {
        "this registry does not support deletion, or it is disabled: for distribution (docker-registry, registry:2, \
         registry:3) set REGISTRY_STORAGE_DELETE_ENABLED=true (storage.delete.enabled in its configuration) and \
         restart it, unless it is a pull-through cache"
    } else if error.codes.is_empty() {
        "this registry is read-only: turn storage.maintenance.readonly off in its configuration and restart it"
    } else {
        "this registry does not allow this deletion"
    }
}
