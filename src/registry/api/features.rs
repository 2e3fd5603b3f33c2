//! What a registry supports beyond the common API.
//!
//! It sends requests that change nothing.

use reqwest::StatusCode;

use super::client::{Request, Response};
use super::decode;
use super::lists::{Catalog, parse_list};
use super::product::Product;
use super::reader::{MAX_LIST_BYTES, Reader};
use crate::model::{Digest, RepositoryName, TagDeletion};

use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::Error;

/// The answers to a request that not every registry supports.
const ACCEPTED: &[StatusCode] =
    &[StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];

/// What a registry supports beyond the common API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Whether it can delete a single tag.
    pub tag_deletion: TagDeletion,
    /// Whether it can list the referrers of a manifest.
    pub referrers: bool,
    /// Whether it accepted -1 as the page size of its catalog, which distribution 3 never does.
    pub ignores_page_size: bool,
}

impl Reader {
    /// What the registry supports. An unclear answer counts as "not supported". An error concerns this repository,
    /// and not the registry.
    ///
    /// Whether single tags can be deleted is inferred, since a test would be a deletion; a run tests it
    /// ([`Deleter::probe_tag_deletion`](super::delete::Deleter::probe_tag_deletion)).
    pub async fn features(&self, repository: &RepositoryName) -> Result<Features, Error> {
        let digest = Digest::of(b"");
        let url = self.client.url(&format!("{repository}/referrers/{digest}"));
        let request = Request::get(url, Scope::pull(repository.as_str()), ACCEPTED, MAX_LIST_BYTES);
        let response = self.client.send(&request).await?;
        let listed =
            decode::referrer_digests(response.header("content-type").unwrap_or_default(), &response.body);
        let referrers = response.status == StatusCode::OK && listed.is_ok();
        let (tag_deletion, ignores_page_size) = self.infer_tag_deletion(referrers).await;
        Ok(Features { tag_deletion, referrers, ignores_page_size })
    }

    /// Whether the registry deletes single tags, and whether it ignores the page size.
    ///
    /// Distribution 3, which deletes tags, answers 400 to a negative page size `n`; version 2 ignores it. A registry
    /// with the referrers API follows OCI 1.1, by which the deletion of a tag removes only that tag or is refused.
    /// Harbor has that API, and refuses.
    async fn infer_tag_deletion(&self, referrers: bool) -> (TagDeletion, bool) {
        match self.client.product() {
            Product::GitLab => return (TagDeletion::Supported, false),
            Product::Harbor | Product::DockerHub | Product::Ghcr => return (TagDeletion::Unsupported, false),
            Product::Other if referrers => return (TagDeletion::Supported, false),
            Product::Other => {}
        }
        let mut url = self.client.url("_catalog");
        url.set_query(Some("n=-1"));
        let request = Request::get(url, Scope::catalog(), ACCEPTED, MAX_LIST_BYTES);
        match self.client.send(&request).await {
            Ok(answer) if answer.status == StatusCode::BAD_REQUEST => {
                let error = Error::status("GET", &request.url, answer.status, &answer.body);
                if error.has_code("PAGINATION_NUMBER_INVALID") {
                    (TagDeletion::Supported, false)
                } else {
                    (TagDeletion::Unsupported, false)
                }
            }
            // Some registries show their catalog to administrators only. Any other answer means "not supported".
            answer => {
                let is_list = |answer: Response| {
                    answer.status == StatusCode::OK && parse_list::<Catalog<'_>>(&answer.body).is_ok()
                };
                (TagDeletion::Unsupported, answer.is_ok_and(is_list))
            }
        }
    }
}
