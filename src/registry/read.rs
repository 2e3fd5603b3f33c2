//! The reading half: manifests, configurations, and what the registry is able to do.
//!
//! Every answer is whole and verified or an error. An empty list means that the registry said "none".

use std::sync::Arc;

use reqwest::header::{HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use tokio::sync::SemaphorePermit;

use super::auth::Scope;
use super::delete::Deleter;
use super::error::{Error, Kind};
use super::lists::{Catalog, understood};
use super::observe::Observer;
use super::product::Product;
use super::restore::Restorer;
use super::transport::{Request, Response, Retry, Traffic, Transport};
use super::wire;
use crate::config;
use crate::model::{Digest, Facts, Manifest, RepositoryName, Tag, TagDeletion};

/// The specification lets a registry refuse larger manifests (4 MiB); configurations are as small.
pub(super) const MANIFEST_BYTES: usize = 4 << 20;
/// A whole list, all its pages together: a million tags of 60 characters fit.
pub(super) const LIST_BYTES: usize = 64 << 20;
/// The codes by which registries say that they have no such manifest.
pub(super) const NO_MANIFEST: &[&str] = &["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"];
/// The codes by which registries say that they have no such blob.
pub(super) const NO_BLOB: &[&str] = &["BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "NOT_FOUND"];

/// The codes by which registries say that they have no such repository.
pub(super) const NO_REPOSITORY: &[&str] = &["NAME_UNKNOWN", "NOT_FOUND"];

pub(super) const OK: &[StatusCode] = &[StatusCode::OK];
/// The answers to a question about the registry itself.
const ANY: &[StatusCode] =
    &[StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];

/// Reads one registry, and can do nothing else to it.
#[derive(Clone)]
pub struct Reader {
    pub(super) transport: Arc<Transport>,
}

/// How a registry is asked whether it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Without credentials: one request, and a registry that lets no stranger in will do.
    Anonymous,
    /// With credentials where the registry asks for them, so that it has to let us in.
    Authenticated,
}

/// What a registry is able to do beyond what all can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Whether it can delete a tag alone.
    pub tag_deletion: TagDeletion,
    /// Whether it can list the referrers of a manifest.
    pub referrers: bool,
    /// Whether it gave its catalog by pages of -1 names, which distribution 3 never does.
    pub ignores_page_size: bool,
}

/// How a manifest is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Reference<'a> {
    /// By tag. If the tag still points to the manifest in `known`, its bytes need not come again.
    Tag {
        /// The tag.
        tag: &'a Tag,
        /// The manifest that the tag pointed to last time.
        known: Option<&'a Digest>,
    },
    /// By digest.
    Digest(&'a Digest),
}

/// What a reference leads to.
#[derive(Debug)]
pub enum Resolved {
    /// The manifest that was known already.
    Unchanged,
    /// Nothing: the registry has no such manifest.
    Absent,
    /// A manifest. The facts of an image are not asked for yet.
    Found(Box<Manifest>),
}

/// Which manifest has a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagTarget {
    /// The one that was asked about.
    Expected,
    /// Another one.
    Other,
    /// None: there is no such tag.
    Missing,
}

impl Reader {
    /// Prepares to talk to a registry. Nothing is sent yet. The observer of `Arc::new(())` counts nothing.
    pub fn new(
        registry: &config::Registry,
        retry: Retry,
        observer: Arc<dyn Observer>,
    ) -> anyhow::Result<Self> {
        Ok(Self { transport: Arc::new(Transport::new(registry, retry, observer)?) })
    }

    /// The half that deletes, over the same connections.
    pub fn deleter(&self) -> Deleter {
        Deleter::new(self.transport.clone())
    }

    /// The half that puts manifests back, over the same connections.
    pub fn restorer(&self) -> Restorer {
        Restorer::new(self.transport.clone())
    }

    /// What has gone over the wire so far.
    pub fn traffic(&self) -> Traffic {
        self.transport.traffic()
    }

    /// Reaches the registry and shows who we are.
    pub async fn ping(&self) -> Result<(), Error> {
        let url = self.transport.url("");
        self.transport.send(&Request::get(url, Scope::none(), OK, MANIFEST_BYTES)).await?;
        Ok(())
    }

    /// Whether a registry answers, asked once and without another try. What looks like no registry has to let us in,
    /// however it is asked.
    pub async fn probe(&self, probe: Probe) -> Result<(), Error> {
        let status = self.transport.ask_once().await?;
        self.transport.circuit.answered();
        match (status, probe) {
            (StatusCode::OK | StatusCode::TOO_MANY_REQUESTS, _)
            | (StatusCode::UNAUTHORIZED, Probe::Anonymous) => Ok(()),
            _ => {
                let request = Request::get(self.transport.url(""), Scope::none(), OK, MANIFEST_BYTES);
                self.transport.send(&Request { once: true, ..request }).await?;
                Ok(())
            }
        }
    }

    /// Whether anybody answers at all, now. It is asked once, also while other requests would wait.
    pub async fn is_reachable(&self) -> bool {
        let answers = self.transport.knock().await.is_ok();
        if answers {
            self.transport.circuit.answered();
        }
        answers
    }

    /// What is wrong with a repository that holds more than can be read.
    pub fn too_large(&self, repository: &RepositoryName, message: String) -> Error {
        let url = self.transport.url(&format!("{repository}/manifests/"));
        Error::new("GET", &url, Kind::TooLarge, message)
    }

    /// Waits until no other repository of this registry is read that may take much memory, and lets none be
    /// for as long as what it gives lives.
    pub async fn acquire_large(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.transport.alone.acquire().await.ok()
    }

    /// The same without waiting; `None` if there is another.
    pub fn try_acquire_large(&self) -> Option<SemaphorePermit<'_>> {
        self.transport.alone.try_acquire().ok()
    }

    /// The manifest that a reference leads to.
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
        let url = self.transport.url(&format!("{repository}/manifests/{name}"));
        let mut request = Request::get(url, Scope::pull(repository.as_str()), accepted, MANIFEST_BYTES)
            .accept(wire::ACCEPT);
        if let Some(value) = known.and_then(|known| HeaderValue::from_str(&format!("\"{known}\"")).ok()) {
            request.headers.insert(IF_NONE_MATCH, value);
        }
        let response = self.transport.send(&request).await?;
        let invalid = |kind, message| Error::new("GET", &request.url, kind, message);
        match response.status {
            StatusCode::NOT_MODIFIED if known.is_some() => Ok(Resolved::Unchanged),
            StatusCode::NOT_MODIFIED => {
                Err(invalid(Kind::Invalid, "304 without having been asked".to_owned()))
            }
            StatusCode::NOT_FOUND => {
                absent(&request, &response, NO_MANIFEST)?;
                Ok(Resolved::Absent)
            }
            _ => {
                let asked = match reference {
                    Reference::Digest(digest) => Some(digest),
                    Reference::Tag { .. } => None,
                };
                let found = understand(asked, &response).map_err(|(kind, message)| invalid(kind, message))?;
                Ok(Resolved::Found(Box::new(found)))
            }
        }
    }

    /// Whether the registry has a manifest. This loads it there, unlike a conditional request, which
    /// distribution answers with 304 before it looks for the manifest.
    pub async fn has_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        if self.shows(repository, digest.as_str(), digest).await? {
            return Ok(true);
        }
        Ok(!matches!(self.manifest(repository, Reference::Digest(digest)).await?, Resolved::Absent))
    }

    /// What a tag leads to; [`Resolved::Unchanged`] only if that is this manifest and the registry has it.
    pub async fn confirm(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        known: &Digest,
    ) -> Result<Resolved, Error> {
        if self.shows(repository, tag.as_str(), known).await? {
            return Ok(Resolved::Unchanged);
        }
        self.manifest(repository, Reference::Tag { tag, known: None }).await
    }

    /// Whether a tag or digest surely leads to this manifest.
    ///
    /// It is asked by HEAD, which registries do not count as a pull. A HEAD has no body in which a 404 could be
    /// told from a proxy's, and may be forbidden: whoever hears no has to ask by GET.
    async fn shows(
        &self,
        repository: &RepositoryName,
        reference: &str,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let accepted =
            &[StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];
        let url = self.transport.url(&format!("{repository}/manifests/{reference}"));
        let request = Request::get(url, Scope::pull(repository.as_str()), accepted, MANIFEST_BYTES);
        let request = Request { method: Method::HEAD, ..request.accept(wire::ACCEPT) };
        let response = self.transport.send(&request).await?;
        Ok(response.status == StatusCode::OK
            && response.header("docker-content-digest") == Some(digest.as_str()))
    }

    /// Whether a tag points to this manifest.
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

    /// What the configuration of an image says that nobody has asked for yet. One that is missing or
    /// makes no sense is an answer: nothing is known then.
    pub async fn facts(&self, repository: &RepositoryName, manifest: &Manifest) -> Result<Facts, Error> {
        let (Facts::NotFetched { annotations }, Some(config)) = (&manifest.facts, manifest.config()) else {
            return Ok(manifest.facts.clone());
        };
        let accepted = &[StatusCode::OK, StatusCode::NOT_FOUND];
        let url = self.transport.url(&format!("{repository}/blobs/{config}"));
        let request =
            Request::get(url, Scope::pull(repository.as_str()), accepted, MANIFEST_BYTES).cacheable();
        let response = match self.transport.send(&request).await {
            Err(error) if error.kind == Kind::TooLarge => {
                let why = format!("its configuration {config} is too large");
                return Ok(Facts::Unknown { why, lasting: true });
            }
            response => response?,
        };
        if response.status == StatusCode::NOT_FOUND {
            absent(&request, &response, NO_BLOB)?;
            let why = format!("its configuration {config} is gone from the registry");
            return Ok(Facts::Unknown { why, lasting: false });
        }
        if !config.matches(&response.body) {
            let message = "the configuration does not match its digest".to_owned();
            return Err(Error::new("GET", &request.url, Kind::DigestMismatch, message));
        }
        Ok(wire::image_facts(annotations, &response.body))
    }

    /// What the registry can do. Asks only harmless questions; where the answer is unclear, the answer
    /// is no. An error says something of this repository, and nothing of the registry.
    ///
    /// Whether tags go alone is inferred here, since asking would be a deletion; a run asks
    /// ([`Deleter::probe_tag_deletion`]).
    pub async fn features(&self, repository: &RepositoryName) -> Result<Features, Error> {
        let digest = Digest::of(b"");
        let url = self.transport.url(&format!("{repository}/referrers/{digest}"));
        let request = Request::get(url, Scope::pull(repository.as_str()), ANY, LIST_BYTES);
        let response = self.transport.send(&request).await?;
        let listed = wire::listed(response.header("content-type").unwrap_or_default(), &response.body);
        let referrers = response.status == StatusCode::OK && listed.is_ok();
        let (tag_deletion, ignores_page_size) = self.infer_tag_deletion(referrers).await;
        Ok(Features { tag_deletion, referrers, ignores_page_size })
    }

    /// Distribution 3 learned to check `n` when it learned to delete tags: it answers 400 to a negative
    /// one, where 2 ignores it. A registry with the referrers API follows OCI 1.1, by which deleting a
    /// tag removes that tag alone or is refused. Harbor has that API, and refuses. With it comes whether it was seen
    /// to ignore one.
    async fn infer_tag_deletion(&self, referrers: bool) -> (TagDeletion, bool) {
        match self.transport.product() {
            Product::GitLab => return (TagDeletion::Supported, false),
            Product::Harbor | Product::DockerHub | Product::Ghcr => return (TagDeletion::Unsupported, false),
            Product::Other if referrers => return (TagDeletion::Supported, false),
            Product::Other => {}
        }
        let mut url = self.transport.url("_catalog");
        url.set_query(Some("n=-1"));
        let request = Request::get(url, Scope::catalog(), ANY, LIST_BYTES);
        match self.transport.send(&request).await {
            Ok(answer) if answer.status == StatusCode::BAD_REQUEST => {
                let error = Error::status("GET", &request.url, answer.status, &answer.body);
                if error.has_code("PAGINATION_NUMBER_INVALID") {
                    (TagDeletion::Supported, false)
                } else {
                    (TagDeletion::Unsupported, false)
                }
            }
            // Some registries show their catalog to administrators only. Whatever it is, it is no yes.
            answer => {
                let is_list = |answer: Response| {
                    answer.status == StatusCode::OK && understood::<Catalog<'_>>(&answer.body).is_ok()
                };
                (TagDeletion::Unsupported, answer.is_ok_and(is_list))
            }
        }
    }
}

/// A 404 means "there is none" only in the registry's own words. A proxy's 404 means nothing.
pub(super) fn absent(request: &Request<'_>, response: &Response, codes: &[&str]) -> Result<(), Error> {
    let error = Error::status("GET", &request.url, response.status, &response.body);
    if error.has_any(codes) { Ok(()) } else { Err(error) }
}

/// Verifies a manifest and reads it.
fn understand(asked: Option<&Digest>, response: &Response) -> Result<Manifest, (Kind, String)> {
    let told = response.header("docker-content-digest");
    let told = told.map(Digest::parse).transpose().map_err(|error| (Kind::Invalid, error.to_string()))?;
    let media_type = response.header("content-type").unwrap_or_default();
    if let (true, Some(told)) = (wire::is_schema_1(media_type), &told) {
        return Ok(wire::schema_1(told.clone(), &response.body));
    }
    let digest = asked.cloned().or(told.clone()).unwrap_or_else(|| Digest::of(&response.body));
    if told.is_some_and(|told| told != digest) {
        return Err((Kind::DigestMismatch, "the registry answered with another manifest".to_owned()));
    }
    if !digest.matches(&response.body) {
        return Err((Kind::DigestMismatch, format!("the manifest does not match its digest {digest}")));
    }
    wire::manifest(digest, media_type, &response.body).map_err(|message| (Kind::Invalid, message))
}
