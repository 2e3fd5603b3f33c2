//! Whether a registry is one whose lists of tags leave tags out.
//!
//! Distribution 3.1.0 and 3.1.1 with the S3 driver do not list a tag whose name begins with the name of another tag:
//! `v1` hides `v1.0` (distribution issue 4891). Nothing in such a list says so, so the registry is told by
//! its version and its storage, as far as they can be told from outside.

use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::Scope;
use super::error::Error;
use super::product::Product;
use super::read::{LIST_BYTES, MANIFEST_BYTES, Reader};
use super::transport::{Request, Response};
use crate::model::{Digest, RepositoryName};

/// Whatever a registry says of a list that is asked for in an odd way.
const LISTS: &[StatusCode] = &[StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
/// A blob, where it is, or that it is not there. Redirects among the answers have it followed none.
const PLACES: &[StatusCode] = &[
    StatusCode::OK,
    StatusCode::NOT_FOUND,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];
/// Object stores whose drivers in distribution list everything: Google's and Azure's.
const COMPLETE: [&str; 2] = [".googleapis.com", ".core.windows.net"];
/// No tag comes after it: it is beyond the letters, and no character of a tag.
const BEYOND_ALL: &str = "~";

/// Whether a registry's lists of tags leave some out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hides {
    /// They do not.
    No,
    /// They do if it stores in S3, which cannot be seen from outside.
    OnS3,
    /// They may.
    Perhaps,
}

impl Reader {
    /// Whether lists of tags may lack some. `blobs` are some that the registry should have, in repositories of
    /// theirs, the more the better: where one leads shows where the registry stores. Where none is found, it may.
    ///
    /// Asks harmless questions, and only such a registry that deletes tags alone and has no referrers API
    /// needs to be asked.
    pub async fn may_hide_tags(&self, blobs: &[(RepositoryName, Option<Digest>)]) -> Result<Hides, Error> {
        let Some((repository, _)) = blobs.first() else { return Ok(Hides::No) };
        if self.transport.product() != Product::Other || !self.is_distribution_3_1(repository).await? {
            return Ok(Hides::No);
        }
        for (repository, digest) in blobs {
            let Some(digest) = digest else { continue };
            let url = self.transport.url(&format!("{repository}/blobs/{digest}"));
            let request = Request::get(url, Scope::pull(repository.as_str()), PLACES, MANIFEST_BYTES);
            let request = Request { method: Method::HEAD, ..request };
            let response = self.transport.send(&request).await?;
            match response.status {
                StatusCode::OK => return Ok(Hides::OnS3),
                StatusCode::NOT_FOUND => {}
                _ if leads_to_a_store(&request.url, &response) => return Ok(Hides::Perhaps),
                _ => return Ok(Hides::No),
            }
        }
        Ok(Hides::Perhaps)
    }

    /// Only distribution 3 has this code for a page size that is no number of entries. Of its versions, 3.1.0
    /// and 3.1.1 say `null` where others list no tags by an empty list. What is as good as no answer is no
    /// evidence that it is another version.
    async fn is_distribution_3_1(&self, repository: &RepositoryName) -> Result<bool, Error> {
        let (request, response) = self.list(repository, &[("n", "-1")]).await?;
        let error = Error::status("GET", &request.url, response.status, &response.body);
        if response.status != StatusCode::BAD_REQUEST || !error.has_code("PAGINATION_NUMBER_INVALID") {
            return Ok(false);
        }
        let (_, response) = self.list(repository, &[("n", "1"), ("last", BEYOND_ALL)]).await?;
        let list: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
        Ok(response.status != StatusCode::OK || list.get("tags").is_none_or(|tags| !tags.is_array()))
    }

    async fn list(
        &self,
        repository: &RepositoryName,
        query: &[(&str, &str)],
    ) -> Result<(Request<'static>, Response), Error> {
        let mut url = self.transport.url(&format!("{repository}/tags/list"));
        url.query_pairs_mut().extend_pairs(query);
        let request = Request::get(url, Scope::pull(repository.as_str()), LISTS, LIST_BYTES);
        let response = self.transport.send(&request).await?;
        Ok((request, response))
    }
}

/// Whether a redirect of a blob leads to an object store that may be S3. A proxy that only wants another
/// scheme or host leaves the path as it is.
fn leads_to_a_store(asked: &Url, response: &Response) -> bool {
    let Some(target) = response.header("location").and_then(|target| asked.join(target).ok()) else {
        return true;
    };
    let host = target.host_str().unwrap_or_default();
    let is_complete = COMPLETE.iter().any(|end| host.ends_with(end) || host == &end[1..]);
    target.path() != asked.path() && !is_complete
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, LOCATION};

    use super::*;

    #[test]
    fn a_redirect_to_s3_is_told_from_others() {
        let asked = Url::parse("http://r.example.com/v2/app/blobs/sha256:ab").unwrap();
        let check = |target: &str, expected: bool| {
            let headers = HeaderMap::from_iter([(LOCATION, target.parse().unwrap())]);
            let (status, body) = (StatusCode::TEMPORARY_REDIRECT, Vec::new().into());
            let response = Response { status, headers, body, perhaps_done: false };
            assert_eq!(leads_to_a_store(&asked, &response), expected, "{target}");
        };
        check(
            "https://bucket.s3.amazonaws.com/docker/registry/v2/blobs/sha256/ab/ab/data?X-Amz-Signature=1",
            true,
        );
        check("http://minio:9000/bucket/docker/registry/v2/blobs/sha256/ab/ab/data", true);
        check("https://d111.cloudfront.net/docker/registry/v2/blobs/sha256/ab/ab/data", true);
        check("https://storage.googleapis.com/bucket/docker/registry/v2/blobs/sha256/ab/ab/data", false);
        check("https://account.blob.core.windows.net/container/docker/registry/v2/blobs", false);
        check("https://r.example.com/v2/app/blobs/sha256:ab", false);
        check("https://fakegoogleapis.com/data", true);
    }
}
