//! Whether the lists of tags of a registry are complete.
//!
//! Distribution 3.1.0 and 3.1.1 with the S3 driver do not list a tag whose name begins with the name of another tag:
//! `v1` hides `v1.0` (distribution issue 4891). Nothing in such a list shows this, so these registries are recognized
//! by version and storage, as far as the API reveals them.

use reqwest::{Method, StatusCode};
use url::Url;

use super::client::{Request, Response};
use super::product::Product;
use super::reader::{MAX_LIST_BYTES, MAX_MANIFEST_BYTES, Reader};
use crate::model::{Digest, RepositoryName};
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

/// The answers to a list with an invalid page size.
const LIST_STATUSES: &[StatusCode] = &[StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
/// The answers to a request for a blob. With redirects among them, none is followed.
const BLOB_STATUSES: &[StatusCode] = &[
    StatusCode::OK,
    StatusCode::NOT_FOUND,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];
/// The hosts of object stores whose drivers in distribution list all tags: Google's and Azure's.
const COMPLETE_STORES: [&str; 2] = [".googleapis.com", ".core.windows.net"];
/// It sorts after every tag: it sorts after all letters, and no tag contains it.
const AFTER_ALL_TAGS: &str = "~";

/// Whether the lists of tags of a registry are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagCompleteness {
    /// They are.
    Complete,
    /// They are not if the registry stores in S3, which its API does not show.
    IncompleteOnS3,
    /// They may be incomplete.
    PossiblyIncomplete,
}

impl Reader {
    /// Whether the lists of tags are complete. `blobs` are some blobs that the registry should have, with their
    /// repositories, the more the better: the redirect of a blob shows where the registry stores. If none is found,
    /// they may be incomplete.
    ///
    /// It changes nothing. It is not needed for a registry with the referrers API.
    pub async fn tag_completeness(
        &self,
        blobs: &[(RepositoryName, Option<Digest>)],
    ) -> Result<TagCompleteness, Error> {
        let Some((repository, _)) = blobs.first() else { return Ok(TagCompleteness::Complete) };
        if self.client.product() != Product::Other || !self.is_distribution_3_1(repository).await? {
            return Ok(TagCompleteness::Complete);
        }
        for (repository, digest) in blobs {
            let Some(digest) = digest else { continue };
            let url = self.client.url(&format!("{repository}/blobs/{digest}"));
            let request =
                Request::get(url, Scope::pull(repository.as_str()), BLOB_STATUSES, MAX_MANIFEST_BYTES);
            let request = Request { method: Method::HEAD, ..request };
            let response = self.client.send(&request).await?;
            match response.status {
                StatusCode::OK => return Ok(TagCompleteness::IncompleteOnS3),
                StatusCode::NOT_FOUND => {}
                _ => {
                    if let Some(completeness) = by_redirect(&request.url, &response) {
                        return Ok(completeness);
                    }
                }
            }
        }
        Ok(TagCompleteness::PossiblyIncomplete)
    }

    /// Only distribution 3 has this error code for a negative page size; other registries send a list. Of its
    /// versions, 3.1.0 and 3.1.1 have `null` for no tags, and others an empty list. An answer that is neither does
    /// not prove that it is another version.
    async fn is_distribution_3_1(&self, repository: &RepositoryName) -> Result<bool, Error> {
        let (request, answer) = self.list(repository, &[("n", "-1")], true).await;
        let is_3 = match answer {
            Ok(response) if response.status == StatusCode::OK => return Ok(false),
            Ok(response) if response.status == StatusCode::BAD_REQUEST => {
                let error = Error::status("GET", &request.url, response.status, &response.body);
                error.has_code("PAGINATION_NUMBER_INVALID")
            }
            Ok(_) => false,
            // The request was not sent or not allowed, and neither would the next one be.
            Err(error) if matches!(error.kind, Kind::Unavailable | Kind::Unauthorized) => return Err(error),
            // A proxy may forbid such an unusual request.
            Err(_) => false,
        };
        let (_, answer) = self.list(repository, &[("n", "1"), ("last", AFTER_ALL_TAGS)], false).await;
        let response = match answer {
            Err(error)
                if !is_3 && matches!(error.kind, Kind::Forbidden | Kind::Unsupported | Kind::Invalid) =>
            {
                return Ok(false);
            }
            answer => answer?,
        };
        let list: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let tags = list.get("tags").filter(|_| response.status == StatusCode::OK);
        Ok(if is_3 {
            !tags.is_some_and(|tags| tags.is_array())
        } else {
            tags.is_some_and(|tags| tags.is_null())
        })
    }

    async fn list(
        &self,
        repository: &RepositoryName,
        query: &[(&str, &str)],
        once: bool,
    ) -> (Request<'static>, Result<Response, Error>) {
        let mut url = self.client.url(&format!("{repository}/tags/list"));
        url.query_pairs_mut().extend_pairs(query);
        let request = Request::get(url, Scope::pull(repository.as_str()), LIST_STATUSES, MAX_LIST_BYTES);
        let request = Request { once, ..request };
        let answer = self.client.send(&request).await;
        (request, answer)
    }
}

/// What the redirect of a blob shows about the storage. `None` if the path is unchanged: then a proxy in front of the
/// registry wants another scheme or host.
fn by_redirect(requested: &Url, response: &Response) -> Option<TagCompleteness> {
    let Some(target) = response.header("location").and_then(|target| requested.join(target).ok()) else {
        return Some(TagCompleteness::PossiblyIncomplete);
    };
    let host = target.host_str().unwrap_or_default();
    let is_complete = COMPLETE_STORES.iter().any(|end| host.ends_with(end) || host == &end[1..]);
    let completeness =
        if is_complete { TagCompleteness::Complete } else { TagCompleteness::PossiblyIncomplete };
    (target.path() != requested.path()).then_some(completeness)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, LOCATION};

    use super::*;

    #[test]
    fn by_redirect_recognizes_object_stores() {
        let requested = Url::parse("http://r.example.com/v2/app/blobs/sha256:ab").unwrap();
        let check = |target: &str, expected: Option<TagCompleteness>| {
            let headers = HeaderMap::from_iter([(LOCATION, target.parse().unwrap())]);
            let (status, body) = (StatusCode::TEMPORARY_REDIRECT, Vec::new().into());
            let response = Response { status, headers, body, may_be_applied: false };
            assert_eq!(by_redirect(&requested, &response), expected, "{target}");
        };
        check(
            "https://bucket.s3.amazonaws.com/docker/registry/v2/blobs/sha256/ab/ab/data?X-Amz-Signature=1",
            Some(TagCompleteness::PossiblyIncomplete),
        );
        check(
            "http://minio:9000/bucket/docker/registry/v2/blobs/sha256/ab/ab/data",
            Some(TagCompleteness::PossiblyIncomplete),
        );
        check(
            "https://d111.cloudfront.net/docker/registry/v2/blobs/sha256/ab/ab/data",
            Some(TagCompleteness::PossiblyIncomplete),
        );
        check(
            "https://storage.googleapis.com/bucket/docker/registry/v2/blobs/sha256/ab/ab/data",
            Some(TagCompleteness::Complete),
        );
        check(
            "https://account.blob.core.windows.net/container/docker/registry/v2/blobs",
            Some(TagCompleteness::Complete),
        );
        check("https://r.example.com/v2/app/blobs/sha256:ab", None);
        check("https://fakegoogleapis.com/data", Some(TagCompleteness::PossiblyIncomplete));
    }
}
