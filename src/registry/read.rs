//! The reading half: lists, manifests, configurations, and what the registry is able to do.
//!
//! Every answer is whole and verified or an error. An empty list means that the registry said "none".

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{HeaderValue, IF_NONE_MATCH};
use serde::Deserialize;
use url::Url;

use super::auth::Scope;
use super::delete::Deleter;
use super::error::{Error, Kind};
use super::observe::Observer;
use super::transport::{Request, Response, Retry, Traffic, Transport};
use super::{link, wire};
use crate::config;
use crate::model::{Digest, Facts, Manifest, RepositoryName, Tag};
use crate::plan::TagDeletion;

/// The specification lets a registry refuse larger manifests (4 MiB); configurations are as small.
const MANIFEST_BYTES: usize = 4 << 20;
/// A million tags of the longest kind fit.
const LIST_BYTES: usize = 256 << 20;
/// Page sizes to ask a catalog for. Distribution 2.8.2 and later answer 400 above their configured
/// maximum, so there is something to fall back to, and at last its own choice.
const PAGE_SIZES: [Option<usize>; 3] = [Some(1000), Some(100), None];

const OK: &[StatusCode] = &[StatusCode::OK];

/// Reads one registry, and can do nothing else to it.
#[derive(Clone)]
pub struct Reader {
    transport: Arc<Transport>,
}

/// What a registry is able to do beyond what all can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Whether it can delete a tag alone.
    pub tag_deletion: TagDeletion,
    /// Whether it can list the referrers of a manifest.
    pub referrers: bool,
}

/// The tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagList {
    /// The tags.
    pub tags: BTreeSet<Tag>,
    /// Names in the list that are no tags, such as stray files in a store.
    pub invalid: BTreeSet<String>,
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

    /// Every repository in the registry's catalog. Names that break the grammar are left out: nobody
    /// could ask for them.
    ///
    /// Distribution 2.8 can end its catalog early where repositories are nested in an unlucky order.
    /// So a page without a link that is full, or whose size was the registry's own choice, is asked for
    /// its next all the same. What is still missing then is missing from the run, and left alone.
    pub async fn repositories(&self) -> Result<Vec<RepositoryName>, Error> {
        let mut size = 0;
        loop {
            match self.catalog(PAGE_SIZES[size]).await {
                Err(error)
                    if error.status == Some(StatusCode::BAD_REQUEST) && size + 1 < PAGE_SIZES.len() =>
                {
                    size += 1;
                }
                result => return result,
            }
        }
    }

    async fn catalog(&self, page: Option<usize>) -> Result<Vec<RepositoryName>, Error> {
        let mut first = self.transport.url("_catalog");
        if let Some(page) = page {
            first.query_pairs_mut().append_pair("n", &page.to_string());
        }
        let mut names = BTreeSet::new();
        let mut pages = Pages::from(first);
        while let Some(url) = pages.next.take() {
            let request = Request::get(url, Scope::catalog(), OK, LIST_BYTES);
            let response = self.transport.send(&request).await?;
            let list: Catalog = parse(&request, &response)?;
            let before = names.len();
            let (count, last) = (list.repositories.len(), list.repositories.last().cloned());
            names.extend(list.repositories.iter().filter_map(|name| RepositoryName::parse(name).ok()));
            let linked = pages.follow(&request, &response)?;
            let perhaps_full = page.is_none_or(|page| count >= page);
            if let (false, true, Some(last)) = (linked, perhaps_full && names.len() > before, last) {
                let mut url = request.url.clone();
                url.query_pairs_mut().clear().append_pair("n", &count.to_string()).append_pair("last", &last);
                pages.next = Some(url);
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The tags of a repository; `None` if the registry knows no such repository.
    ///
    /// Asked for without a page size: every version of distribution then answers with all tags at once,
    /// as they stand at one moment. Its 3.0 loses a tag between two pages when the last one of the
    /// first page is deleted meanwhile, and a tag that is not seen cannot save its manifest.
    pub async fn tags(&self, repository: &RepositoryName) -> Result<Option<TagList>, Error> {
        let mut list = TagList::default();
        let mut pages = Pages::from(self.transport.url(&format!("{repository}/tags/list")));
        // Zot says 400 where the specification says 404; both name the repository as unknown.
        let accepted = &[StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST];
        while let Some(url) = pages.next.take() {
            let request = Request::get(url, Scope::pull(repository.as_str()), accepted, LIST_BYTES);
            let response = self.transport.send(&request).await?;
            if response.status != StatusCode::OK {
                let error = Error::status("GET", &request.url, response.status, &response.body);
                return if error.has_code("NAME_UNKNOWN") { Ok(None) } else { Err(error) };
            }
            let page: Tags = parse(&request, &response)?;
            if page.name != repository.as_str() {
                let message = format!("the list is of the repository {:?}", page.name);
                return Err(Error::new("GET", &request.url, Kind::Invalid, message));
            }
            for name in page.tags.unwrap_or_default() {
                match Tag::parse(&name) {
                    Ok(tag) => list.tags.insert(tag),
                    Err(_) => list.invalid.insert(name),
                };
            }
            pages.follow(&request, &response)?;
        }
        Ok(Some(list))
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
                absent(&request, &response, &["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"])?;
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

    /// What the configuration of an image says that nobody has asked for yet. One that is missing or
    /// makes no sense is an answer: nothing is known then.
    pub async fn facts(&self, repository: &RepositoryName, manifest: &Manifest) -> Result<Facts, Error> {
        let (Facts::Unasked { annotations }, Some(config)) = (&manifest.facts, manifest.config()) else {
            return Ok(manifest.facts.clone());
        };
        let accepted = &[StatusCode::OK, StatusCode::NOT_FOUND];
        let url = self.transport.url(&format!("{repository}/blobs/{config}"));
        let request = Request::get(url, Scope::pull(repository.as_str()), accepted, MANIFEST_BYTES);
        let response = match self.transport.send(&request).await {
            Err(error) if error.kind == Kind::TooLarge => {
                let why = format!("its configuration {config} is too large");
                return Ok(Facts::Unknown { why, lasting: true });
            }
            response => response?,
        };
        if response.status == StatusCode::NOT_FOUND {
            absent(&request, &response, &["BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "NOT_FOUND"])?;
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
    /// Distribution 3 learned to check `n` when it learned to delete tags: it answers 400 to a negative
    /// one, where 2 ignores it. A registry with the referrers API follows OCI 1.1, by which deleting a
    /// tag removes that tag alone or is refused.
    pub async fn features(&self, repository: &RepositoryName) -> Result<Features, Error> {
        let any =
            &[StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        let digest = Digest::of(b"");
        let url = self.transport.url(&format!("{repository}/referrers/{digest}"));
        let request = Request::get(url, Scope::pull(repository.as_str()), any, LIST_BYTES);
        let response = self.transport.send(&request).await?;
        let referrers = response.status == StatusCode::OK && wire::listed(&response.body).is_ok();
        if referrers {
            return Ok(Features { tag_deletion: TagDeletion::Supported, referrers });
        }
        let mut url = self.transport.url("_catalog");
        url.set_query(Some("n=-1"));
        let tag_deletion =
            match self.transport.send(&Request::get(url, Scope::catalog(), any, LIST_BYTES)).await {
                Ok(answer) if answer.status == StatusCode::BAD_REQUEST => {
                    let error = Error::status("GET", &request.url, answer.status, &answer.body);
                    if error.has_code("PAGINATION_NUMBER_INVALID") {
                        TagDeletion::Supported
                    } else {
                        TagDeletion::Unsupported
                    }
                }
                Ok(_) => TagDeletion::Unsupported,
                // Some registries show their catalog to administrators only. Whatever it is, it is no yes.
                Err(_) => TagDeletion::Unsupported,
            };
        Ok(Features { tag_deletion, referrers })
    }

    /// The manifests that are about this one, where the registry can list them.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BTreeSet<Digest>, Error> {
        let mut referrers = BTreeSet::new();
        let mut pages = Pages::from(self.transport.url(&format!("{repository}/referrers/{digest}")));
        while let Some(url) = pages.next.take() {
            let request = Request::get(url, Scope::pull(repository.as_str()), OK, LIST_BYTES);
            let response = self.transport.send(&request).await?;
            let listed = wire::listed(&response.body);
            referrers
                .extend(listed.map_err(|message| Error::new("GET", &request.url, Kind::Invalid, message))?);
            pages.follow(&request, &response)?;
        }
        Ok(referrers)
    }
}

/// A list that comes in pages.
struct Pages {
    next: Option<Url>,
    seen: BTreeSet<String>,
}

impl From<Url> for Pages {
    fn from(first: Url) -> Self {
        Self { seen: BTreeSet::from([first.to_string()]), next: Some(first) }
    }
}

impl Pages {
    /// Goes on to the page that the answer links to. Tells whether there is one.
    fn follow(&mut self, request: &Request<'_>, response: &Response) -> Result<bool, Error> {
        let invalid = |message| Error::new("GET", &request.url, Kind::Invalid, message);
        let Some(header) = response.header("link") else { return Ok(false) };
        self.next = link::next(&request.url, header).map_err(invalid)?;
        match &self.next {
            Some(next) if !self.seen.insert(next.to_string()) => {
                Err(invalid("the list of pages runs in a circle".to_owned()))
            }
            next => Ok(next.is_some()),
        }
    }
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Tags {
    name: String,
    /// Distribution says `null` for none. A list that is missing altogether is not "none".
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

fn parse<'a, T: Deserialize<'a>>(request: &Request<'_>, response: &'a Response) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|error| {
        let message = format!("the list is not understood: {error}");
        Error::new("GET", &request.url, Kind::Invalid, message)
    })
}

/// A 404 means "there is none" only in the registry's own words. A proxy's 404 means nothing.
fn absent(request: &Request<'_>, response: &Response, codes: &[&str]) -> Result<(), Error> {
    let error = Error::status("GET", &request.url, response.status, &response.body);
    if codes.iter().any(|code| error.has_code(code)) { Ok(()) } else { Err(error) }
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
