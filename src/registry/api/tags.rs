//! The tags of a repository.

use std::collections::BTreeSet;

use reqwest::StatusCode;

use super::client::Request;
use super::lists::{MAX_NAME_SHOWN, MAX_NAMES, Tags};
use super::not_found::NO_REPOSITORY;
use super::pages::{Pages, check_count, parse};
use super::reader::Reader;
use crate::model::{RepositoryName, Tag, sanitize};
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

/// The invalid names that a list of tags may have.
const MAX_INVALID_NAMES: usize = 10_000;

/// The tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagList {
    /// The tags.
    pub tags: BTreeSet<Tag>,
    /// Names in the list that are not valid tags, such as stray files in the storage, made safe to show.
    pub invalid: BTreeSet<String>,
}

impl TagList {
    pub(crate) fn add(&mut self, page: Tags<'_>) {
        for name in page.tags.unwrap_or_default().0 {
            match Tag::parse(&name) {
                Ok(tag) => self.tags.insert(tag),
                Err(_) => self.invalid.insert(sanitize(&name, MAX_NAME_SHOWN)),
            };
        }
    }
}

impl Reader {
    /// The tags of a repository; `None` if the registry has no such repository.
    ///
    /// The request has no page size: every version of distribution then sends all tags at once, as they are at one
    /// moment. With pages, version 3.0 leaves out a tag when the last tag of the page before is deleted meanwhile,
    /// and a tag that is not listed does not keep its manifest.
    pub async fn tags(&self, repository: &RepositoryName) -> Result<Option<TagList>, Error> {
        let mut list = TagList::default();
        let mut pages = Pages::from(self.client.url(&format!("{repository}/tags/list")));
        // Zot answers 400 where the specification has 404; both have the code for an unknown repository.
        let accepted = &[StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST];
        while let Some(url) = pages.next.take() {
            let request = Request::get(url, Scope::pull(repository.as_str()), accepted, pages.remaining);
            let response = self.client.send(&request).await?;
            if response.status != StatusCode::OK {
                let error = Error::status("GET", &request.url, response.status, &response.body);
                return if error.has_any_code(NO_REPOSITORY) { Ok(None) } else { Err(error) };
            }
            let page: Tags = parse(&request, &response)?;
            if page.name != repository.as_str() {
                let message = format!("the list is for the repository {:?}", page.name);
                return Err(Error::new("GET", &request.url, Kind::Invalid, message));
            }
            list.add(page);
            check_count(&request, list.tags.len(), MAX_NAMES, "tags")?;
            check_count(&request, list.invalid.len(), MAX_INVALID_NAMES, "names that are not valid tags")?;
            pages.follow(&request, &response)?;
        }
        Ok(Some(list))
    }
}
