//! Lists that a registry sends page by page, within a limit for all pages together.

use std::collections::BTreeSet;

use reqwest::header::{HeaderValue, LINK};
use serde::Deserialize;
use url::Url;

use super::client::{Request, Response};
use super::link;
use super::lists::parse_list;
use super::reader::MAX_LIST_BYTES;
use crate::registry::transport::error::{Error, Kind};

/// Added to the size of each page, so that an endless list of small pages reaches the limit, too.
const PAGE_OVERHEAD_BYTES: usize = 1 << 10;

/// The pages of one list.
pub(super) struct Pages {
    pub(super) next: Option<Url>,
    seen: BTreeSet<String>,
    /// The bytes that the remaining pages may have.
    pub(super) remaining: usize,
}

impl From<Url> for Pages {
    fn from(first: Url) -> Self {
        Self { seen: BTreeSet::from([first.to_string()]), next: Some(first), remaining: MAX_LIST_BYTES }
    }
}

impl Pages {
    /// Continues with the page that the answer links to. Whether there is one.
    pub(super) fn follow(&mut self, request: &Request<'_>, response: &Response) -> Result<bool, Error> {
        let invalid = |message| Error::new("GET", &request.url, Kind::Invalid, message);
        let cost = PAGE_OVERHEAD_BYTES + request.url.as_str().len() + response.body.len();
        self.remaining = self.remaining.saturating_sub(cost);
        let headers = response.headers.get_all(LINK).iter().map(HeaderValue::as_bytes);
        self.next = link::next_page(&request.url, headers).map_err(invalid)?;
        if self.next.is_some() && self.remaining < PAGE_OVERHEAD_BYTES {
            let message = format!("the pages of the list are longer than {MAX_LIST_BYTES} bytes together");
            return Err(Error::new("GET", &request.url, Kind::TooLarge, message));
        }
        match &self.next {
            Some(next) if !self.seen.insert(next.to_string()) => {
                Err(invalid("the pages of the list link to each other in a circle".to_owned()))
            }
            next => Ok(next.is_some()),
        }
    }
}

/// Parses the list in an answer.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    request: &Request<'_>,
    response: &'a Response,
) -> Result<T, Error> {
    parse_list(&response.body).map_err(|message| Error::new("GET", &request.url, Kind::Invalid, message))
}

/// An error where a list has too many entries.
pub(super) fn check_count(
    request: &Request<'_>,
    count: usize,
    limit: usize,
    entries: &str,
) -> Result<(), Error> {
    if count <= limit {
        return Ok(());
    }
    let message = format!("the list has more than {limit} {entries}");
    Err(Error::new("GET", &request.url, Kind::TooLarge, message))
}
