//! Whether a registry is one whose lists of tags leave tags out.
//!
//! Distribution 3.1.0 and 3.1.1 with the S3 driver do not list a tag whose name begins with the name of another tag:
//! `v1` hides `v1.0` (distribution issue 4891). Nothing in such a list says so, so the registry is told by
//! its version and its storage, as far as they can be told from outside.

use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::Scope;
use super::error::{Error, Kind};
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
pub enum TagCompleteness {
    /// They do not.
    Complete,
    /// They do if it stores in S3, which cannot be seen from outside.
    IncompleteOnS3,
    /// They may.
    PossiblyIncomplete,
}

impl Reader {
    /// Whether lists of tags may lack some. `blobs` are some that the registry should have, in repositories of
    /// theirs, the more the better: where one leads shows where the registry stores. Where none is found, it may.
    ///
    /// Asks harmless questions, and only a registry without the referrers API needs to be asked.
    pub async fn tag_completeness(
        &self,
        blobs: &[(RepositoryName, Option<Digest>)],
    ) -> Result<TagCompleteness, Error> {
        let Some((repository, _)) = blobs.first() else { return Ok(TagCompleteness::Complete) };
        if self.transport.product() != Product::Other || !self.is_distribution_3_1(repository).await? {
            return Ok(TagCompleteness::Complete);
        }
        for (repository, digest) in blobs {
            let Some(digest) = digest else { continue };
            let url = self.transport.url(&format!("{repository}/blobs/{digest}"));
            let request = Request::get(url, Scope::pull(repository.as_str()), PLACES, MANIFEST_BYTES);
            let request = Request { method: Method::HEAD, ..request };
            let response = self.transport.send(&request).await?;
            match response.status {
                StatusCode::OK => return Ok(TagCompleteness::IncompleteOnS3),
                StatusCode::NOT_FOUND => {}
                _ => {
                    if let Some(hides) = store(&request.url, &response) {
                        return Ok(hides);
                    }
                }
            }
        }
        Ok(TagCompleteness::PossiblyIncomplete)
    }

    /// Only distribution 3 has this code for a page size that is no number of entries, and others give any list
    /// they have. Of its versions, 3.1.0 and 3.1.1 say `null` where others list no tags by an empty list. What is
    /// as good as no answer is no evidence that it is another version.
    async fn is_distribution_3_1(&self, repository: &RepositoryName) -> Result<bool, Error> {
        let (request, answer) = self.list(repository, &[("n", "-1")], true).await;
        let is_3 = match answer {
            Ok(response) if response.status == StatusCode::OK => return Ok(false),
            Ok(response) if response.status == StatusCode::BAD_REQUEST => {
                let error = Error::status("GET", &request.url, response.status, &response.body);
                error.has_code("PAGINATION_NUMBER_INVALID")
            }
            Ok(_) => false,
            // Not even asked, or not let in: then nothing more can be found out either.
            Err(error) if matches!(error.kind, Kind::Unavailable | Kind::Unauthorized) => return Err(error),
            // What stands before a registry may forbid so odd a question.
            Err(_) => false,
        };
        let (_, answer) = self.list(repository, &[("n", "1"), ("last", BEYOND_ALL)], false).await;
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
        let mut url = self.transport.url(&format!("{repository}/tags/list"));
        url.query_pairs_mut().extend_pairs(query);
        let request = Request::get(url, Scope::pull(repository.as_str()), LISTS, LIST_BYTES);
        let request = Request { once, ..request };
        let answer = self.transport.send(&request).await;
        (request, answer)
    }
}

/// What a redirect of a blob tells of where the registry stores. One that leaves the path as it is tells nothing: a
/// proxy before the registry wants another scheme or host.
fn store(asked: &Url, response: &Response) -> Option<TagCompleteness> {
    let Some(target) = response.header("location").and_then(|target| asked.join(target).ok()) else {
        return Some(TagCompleteness::PossiblyIncomplete);
    };
    let host = target.host_str().unwrap_or_default();
    let is_complete = COMPLETE.iter().any(|end| host.ends_with(end) || host == &end[1..]);
    let hides = if is_complete { TagCompleteness::Complete } else { TagCompleteness::PossiblyIncomplete };
    (target.path() != asked.path()).then_some(hides)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, LOCATION};

    use super::*;

    #[test]
    fn a_redirect_to_s3_is_told_from_others() {
        let asked = Url::parse("http://r.example.com/v2/app/blobs/sha256:ab").unwrap();
        let check = |target: &str, expected: Option<TagCompleteness>| {
            let headers = HeaderMap::from_iter([(LOCATION, target.parse().unwrap())]);
            let (status, body) = (StatusCode::TEMPORARY_REDIRECT, Vec::new().into());
            let response = Response { status, headers, body, may_be_applied: false };
            assert_eq!(store(&asked, &response), expected, "{target}");
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
