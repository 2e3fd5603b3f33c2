//! Lists: the catalog, the tags of a repository, the referrers of a manifest, page by page.
//!
//! A list is whole or an error.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use reqwest::StatusCode;
use reqwest::header::{HeaderValue, LINK};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use url::Url;

use super::auth::Scope;
use super::error::{Error, Kind};
use super::read::{LIST_BYTES, NO_REPOSITORY, OK, Reader};
use super::transport::{Request, Response};
use super::{link, wire};
use crate::model::{Digest, RepositoryName, Tag, sanitize};

/// Page sizes to ask a catalog for. Distribution 2.8.2 and later answer 400 above their configured
/// maximum, so there is something to fall back to, and at last its own choice.
const PAGE_SIZES: [Option<usize>; 3] = [Some(1000), Some(100), None];

/// A list with more names than this is none: each costs a request, and memory while it is held.
const NAMES: usize = 1_000_000;

/// Names in a list of tags that are no tags: beyond this many it is something else.
const STRAYS: usize = 10_000;

/// Of a name that is none, this much is shown. No tag and no repository has a longer one.
const NAME_SHOWN: usize = 255;

/// What a page counts for besides its bytes, so that pages with little in them come to an end, too.
const PAGE_BYTES: usize = 1 << 10;

/// The tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagList {
    /// The tags.
    pub tags: BTreeSet<Tag>,
    /// Names in the list that are no tags, such as stray files in a store, as they can be shown.
    pub invalid: BTreeSet<String>,
}

impl TagList {
    pub(super) fn add(&mut self, page: Tags<'_>) {
        for name in page.tags.unwrap_or_default().0 {
            match Tag::parse(&name) {
                Ok(tag) => self.tags.insert(tag),
                Err(_) => self.invalid.insert(sanitize(&name, NAME_SHOWN)),
            };
        }
    }
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
            let request = Request::get(url, Scope::catalog(), OK, pages.room);
            let response = self.transport.send(&request).await?;
            let list: Catalog = parse(&request, &response)?;
            let before = names.len();
            let list = list.repositories.0;
            let count = list.len();
            // Of a name that is too long to be one, nobody could ask what follows it.
            let last = list.last().filter(|last| last.len() <= NAME_SHOWN);
            names.extend(list.iter().filter_map(|name| RepositoryName::parse(name).ok()));
            not_too_many(&request, names.len(), NAMES, "repositories")?;
            let linked = pages.follow(&request, &response)?;
            let perhaps_full = page.is_none_or(|page| count >= page);
            if let (false, true, Some(last)) = (linked, perhaps_full && names.len() > before, last) {
                let mut url = request.url.clone();
                url.query_pairs_mut().clear().append_pair("n", &count.to_string()).append_pair("last", last);
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
            let request = Request::get(url, Scope::pull(repository.as_str()), accepted, pages.room);
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
            list.add(page);
            not_too_many(&request, list.tags.len(), NAMES, "tags")?;
            not_too_many(&request, list.invalid.len(), STRAYS, "names that are no tags")?;
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
            let request = Request::get(url, Scope::pull(repository.as_str()), OK, pages.room);
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
    /// How many bytes more the list may have.
    room: usize,
}

impl From<Url> for Pages {
    fn from(first: Url) -> Self {
        Self { seen: BTreeSet::from([first.to_string()]), next: Some(first), room: LIST_BYTES }
    }
}

impl Pages {
    /// Goes on to the page that the answer links to. Tells whether there is one.
    fn follow(&mut self, request: &Request<'_>, response: &Response) -> Result<bool, Error> {
        let invalid = |message| Error::new("GET", &request.url, Kind::Invalid, message);
        let cost = PAGE_BYTES + request.url.as_str().len() + response.body.len();
        self.room = self.room.saturating_sub(cost);
        let headers = response.headers.get_all(LINK).iter().map(HeaderValue::as_bytes);
        self.next = link::next(&request.url, headers).map_err(invalid)?;
        if self.next.is_some() && self.room < PAGE_BYTES {
            let message = format!("the pages of the list are longer than {LIST_BYTES} bytes together");
            return Err(Error::new("GET", &request.url, Kind::TooLarge, message));
        }
        match &self.next {
            Some(next) if !self.seen.insert(next.to_string()) => {
                Err(invalid("the list of pages runs in a circle".to_owned()))
            }
            next => Ok(next.is_some()),
        }
    }
}

fn not_too_many(request: &Request<'_>, count: usize, most: usize, what: &str) -> Result<(), Error> {
    if count <= most {
        return Ok(());
    }
    let message = format!("the list has more than {most} {what}");
    Err(Error::new("GET", &request.url, Kind::TooLarge, message))
}

#[derive(Deserialize)]
pub(super) struct Catalog<'a> {
    #[serde(borrow)]
    repositories: Names<'a>,
}

#[derive(Deserialize)]
pub(super) struct Tags<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    /// Distribution says `null` for none. A list that is missing altogether is not "none".
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    tags: Option<Names<'a>>,
}

/// Names as they stand in the answer. Reading ends where there are too many of them.
#[derive(Default)]
struct Names<'a>(Vec<Cow<'a, str>>);

#[cfg(any(test, fuzzing))]
impl Catalog<'_> {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.repositories.0.iter().map(AsRef::as_ref)
    }
}

#[cfg(any(test, fuzzing))]
impl Tags<'_> {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// One name.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names<'de>, A::Error> {
        let mut names = Vec::new();
        while let Some(Name(name)) = list.next_element()? {
            if names.len() == NAMES {
                return Err(A::Error::custom(format!("it has more than {NAMES} names")));
            }
            names.push(name);
        }
        Ok(Names(names))
    }
}

fn parse<'a, T: Deserialize<'a>>(request: &Request<'_>, response: &'a Response) -> Result<T, Error> {
    understood(&response.body).map_err(|message| Error::new("GET", &request.url, Kind::Invalid, message))
}

/// A page of a list, or why it is none.
pub(super) fn understood<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    // Some errors repeat whole values of what was sent.
    serde_json::from_slice(body)
        .map_err(|error| format!("the list is not understood: {}", sanitize(&error.to_string(), NAME_SHOWN)))
}
