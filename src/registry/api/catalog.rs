//! The catalog: the repositories of a registry.

use std::collections::BTreeSet;

use reqwest::StatusCode;

use super::client::Request;
use super::lists::{Catalog, MAX_NAME_SHOWN, MAX_NAMES};
use super::pages::{Pages, check_count, parse};
use super::reader::{OK, Reader};
use crate::model::RepositoryName;
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::Error;

/// Page sizes for the catalog, tried in this order. Distribution 2.8.2 and later answer 400 above their configured
/// maximum; without a page size the registry chooses it.
const PAGE_SIZES: [Option<usize>; 3] = [Some(1000), Some(100), None];

impl Reader {
    /// All repositories in the registry's catalog. Invalid names are left out: they cannot be requested.
    ///
    /// For some orders of nested repositories, distribution 2.8 sends no link to the next page. So the next page is
    /// also requested after a full page, and after one whose size the registry has chosen. A repository that is still
    /// missing is not part of the run, and keeps its images.
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
        let mut first = self.client.url("_catalog");
        if let Some(page) = page {
            first.query_pairs_mut().append_pair("n", &page.to_string());
        }
        let mut names = BTreeSet::new();
        let mut pages = Pages::from(first);
        while let Some(url) = pages.next.take() {
            let request = Request::get(url, Scope::catalog(), OK, pages.remaining);
            let response = self.client.send(&request).await?;
            let list: Catalog = parse(&request, &response)?;
            let before = names.len();
            let list = list.repositories.0;
            let count = list.len();
            // A name that is too long to be valid cannot be the start of the next page.
            let last = list.last().filter(|last| last.len() <= MAX_NAME_SHOWN);
            names.extend(list.iter().filter_map(|name| RepositoryName::parse(name).ok()));
            check_count(&request, names.len(), MAX_NAMES, "repositories")?;
            let has_link = pages.follow(&request, &response)?;
            let may_be_full = page.is_none_or(|page| count >= page);
            if let (false, true, Some(last)) = (has_link, may_be_full && names.len() > before, last) {
                let mut url = request.url.clone();
                url.query_pairs_mut().clear().append_pair("n", &count.to_string()).append_pair("last", last);
                pages.next = Some(url);
            }
        }
        Ok(names.into_iter().collect())
    }
}
