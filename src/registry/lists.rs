//! Lists: the catalog, the tags of a repository, the referrers of a manifest, page by page.
//!
//! A list is whole or an error.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use super::auth::Scope;
use super::error::{Error, Kind};
use super::read::{LIST_BYTES, NO_REPOSITORY, OK, Reader};
use super::transport::{Request, Response};
use super::{link, wire};
use crate::model::{Digest, RepositoryName, Tag};

/// Page sizes to ask a catalog for. Distribution 2.8.2 and later answer 400 above their configured
/// maximum, so there is something to fall back to, and at last its own choice.
const PAGE_SIZES: [Option<usize>; 3] = [Some(1000), Some(100), None];

/// The tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagList {
    /// The tags.
    pub tags: BTreeSet<Tag>,
    /// Names in the list that are no tags, such as stray files in a store.
    pub invalid: BTreeSet<String>,
}

impl Reader {
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
                return if error.has_any(NO_REPOSITORY) { Ok(None) } else { Err(error) };
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
            let media_type = response.header("content-type").unwrap_or_default();
            let listed = wire::listed(media_type, &response.body);
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
