//! Reading manifests and the configurations of images.
//!
//! A manifest is verified by its digest. It is not decided here which manifests are read.

use reqwest::header::{HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};

use super::client::{Request, Response};
use super::decode;
use super::not_found::{NO_BLOB, NO_MANIFEST, confirm_not_found};
use super::reader::{MAX_MANIFEST_BYTES, Reader};
use crate::model::{Digest, Facts, Manifest, RepositoryName, Tag};
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

/// A reference to a manifest.
#[derive(Debug, Clone, Copy)]
pub enum Reference<'a> {
    /// By tag. If the tag still points to the manifest `known`, its content is not sent again.
    Tag {
        /// The tag.
        tag: &'a Tag,
        /// The manifest that the tag pointed to in an earlier scan.
        known: Option<&'a Digest>,
    },
    /// By digest.
    Digest(&'a Digest),
}

/// The manifest that a reference points to.
#[derive(Debug)]
pub enum Resolved {
    /// The manifest that is known already.
    Unchanged,
    /// The registry has no such manifest.
    Absent,
    /// A manifest. The configuration of an image has not been read yet.
    Found(Box<Manifest>),
}

/// The manifest that a tag points to, compared with the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagTarget {
    /// The expected manifest.
    Expected,
    /// Another manifest.
    Other,
    /// The tag does not exist.
    Missing,
}

impl Reader {
    /// The manifest that a reference points to.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: Reference<'_>,
    ) -> Result<Resolved, Error> {
        let (name, known) = match reference {
            Reference::Tag { tag, known } => (tag.as_str(), known),
            Reference::Digest(digest) => (digest.as_str(), None),
        };
        let accepted = &[StatusCode::OK, StatusCode::NOT_MODIFIED, StatusCode::NOT_FOUND];
        let url = self.client.url(&format!("{repository}/manifests/{name}"));
        let mut request = Request::get(url, Scope::pull(repository.as_str()), accepted, MAX_MANIFEST_BYTES)
            .accept(decode::ACCEPT);
        if let Some(value) = known.and_then(|known| HeaderValue::from_str(&format!("\"{known}\"")).ok()) {
            request.headers.insert(IF_NONE_MATCH, value);
        }
        let response = self.client.send(&request).await?;
        let invalid = |kind, message| Error::new("GET", &request.url, kind, message);
        match response.status {
            StatusCode::NOT_MODIFIED if known.is_some() => Ok(Resolved::Unchanged),
            StatusCode::NOT_MODIFIED => {
                Err(invalid(Kind::Invalid, "status 304 for an unconditional request".to_owned()))
            }
            StatusCode::NOT_FOUND => {
                confirm_not_found(&request, &response, NO_MANIFEST)?;
                Ok(Resolved::Absent)
            }
            _ => {
                let expected = match reference {
                    Reference::Digest(digest) => Some(digest),
                    Reference::Tag { .. } => None,
                };
                let found = verify(expected, &response).map_err(|(kind, message)| invalid(kind, message))?;
                Ok(Resolved::Found(Box::new(found)))
            }
        }
    }

    /// Whether the registry has a manifest. It has to load it, unlike for a conditional request, which distribution
    /// answers with 304 without looking for the manifest.
    pub async fn has_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        if self.head_matches(repository, digest.as_str(), digest).await? {
            return Ok(true);
        }
        Ok(!matches!(self.manifest(repository, Reference::Digest(digest)).await?, Resolved::Absent))
    }

    /// The manifest that a tag points to; [`Resolved::Unchanged`] if that is `known` and the registry has it.
    pub async fn confirm(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        known: &Digest,
    ) -> Result<Resolved, Error> {
        if self.head_matches(repository, tag.as_str(), known).await? {
            return Ok(Resolved::Unchanged);
        }
        self.manifest(repository, Reference::Tag { tag, known: None }).await
    }

    /// Whether HEAD proves that a tag or digest points to this manifest.
    ///
    /// Registries do not count a HEAD as a pull. Its answer has no body by which the 404 of a registry and of a proxy
    /// differ, and it may be forbidden: after `false` the caller has to send a GET.
    async fn head_matches(
        &self,
        repository: &RepositoryName,
        reference: &str,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let accepted =
            &[StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];
        let url = self.client.url(&format!("{repository}/manifests/{reference}"));
        let request = Request::get(url, Scope::pull(repository.as_str()), accepted, MAX_MANIFEST_BYTES);
        let request = Request { method: Method::HEAD, ..request.accept(decode::ACCEPT) };
        let response = self.client.send(&request).await?;
        Ok(response.status == StatusCode::OK
            && response.header("docker-content-digest") == Some(digest.as_str()))
    }

    /// Whether a tag points to this manifest, to another or to none.
    pub async fn tag_target(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<TagTarget, Error> {
        let reference = Reference::Tag { tag, known: Some(digest) };
        Ok(match self.manifest(repository, reference).await? {
            Resolved::Unchanged => TagTarget::Expected,
            Resolved::Found(found) if found.digest == *digest => TagTarget::Expected,
            Resolved::Found(_) => TagTarget::Other,
            Resolved::Absent => TagTarget::Missing,
        })
    }

    /// The facts of an image, read from its configuration if that has not been read yet. If the configuration is
    /// missing or invalid, the facts are unknown, and that is no error.
    pub async fn facts(&self, repository: &RepositoryName, manifest: &Manifest) -> Result<Facts, Error> {
        let (Facts::NotFetched { annotations }, Some(config)) = (&manifest.facts, manifest.config()) else {
            return Ok(manifest.facts.clone());
        };
        let accepted = &[StatusCode::OK, StatusCode::NOT_FOUND];
        let url = self.client.url(&format!("{repository}/blobs/{config}"));
        let request =
            Request::get(url, Scope::pull(repository.as_str()), accepted, MAX_MANIFEST_BYTES).cacheable();
        let response = match self.client.send(&request).await {
            Err(error) if error.kind == Kind::TooLarge => {
                let why = format!("its configuration {config} is too large");
                return Ok(Facts::Unknown { why, lasting: true });
            }
            response => response?,
        };
        if response.status == StatusCode::NOT_FOUND {
            confirm_not_found(&request, &response, NO_BLOB)?;
            let why = format!("its configuration {config} is gone from the registry");
            return Ok(Facts::Unknown { why, lasting: false });
        }
        if !config.matches(&response.body) {
            let message = "the configuration does not match its digest".to_owned();
            return Err(Error::new("GET", &request.url, Kind::DigestMismatch, message));
        }
        Ok(decode::image_facts(annotations, &response.body))
    }
}

/// Verifies a manifest and decodes it.
fn verify(expected: Option<&Digest>, response: &Response) -> Result<Manifest, (Kind, String)> {
    let header = response.header("docker-content-digest");
    let header = header.map(Digest::parse).transpose().map_err(|error| (Kind::Invalid, error.to_string()))?;
    let media_type = response.header("content-type").unwrap_or_default();
    if let (true, Some(digest)) = (decode::is_schema_1(media_type), &header) {
        return Ok(decode::schema_1(digest.clone(), &response.body));
    }
    let digest = expected.cloned().or(header.clone()).unwrap_or_else(|| Digest::of(&response.body));
    if header.is_some_and(|header| header != digest) {
        return Err((Kind::DigestMismatch, "the registry answered with another manifest".to_owned()));
    }
    if !digest.matches(&response.body) {
        return Err((Kind::DigestMismatch, format!("the manifest does not match its digest {digest}")));
    }
    decode::manifest(digest, media_type, &response.body).map_err(|message| (Kind::Invalid, message))
}
