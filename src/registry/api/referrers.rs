//! The referrers of a manifest, by the referrers API of OCI 1.1.

use std::collections::BTreeSet;

use super::client::Request;
use super::decode;
use super::pages::Pages;
use super::reader::{OK, Reader};
use crate::model::{Digest, RepositoryName};
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};

impl Reader {
    /// The manifests whose subject is this one, from a registry that lists them.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BTreeSet<Digest>, Error> {
        let mut referrers = BTreeSet::new();
        let mut pages = Pages::from(self.client.url(&format!("{repository}/referrers/{digest}")));
        while let Some(url) = pages.next.take() {
            let request = Request::get(url, Scope::pull(repository.as_str()), OK, pages.remaining);
            let response = self.client.send(&request).await?;
            let media_type = response.header("content-type").unwrap_or_default();
            let digests = decode::referrer_digests(media_type, &response.body);
            referrers
                .extend(digests.map_err(|message| Error::new("GET", &request.url, Kind::Invalid, message))?);
            pages.follow(&request, &response)?;
        }
        Ok(referrers)
    }
}
