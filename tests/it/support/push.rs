//! Pushes content to any registry over plain HTTP, as a client would.
//!
//! It knows the push of the distribution specification, and no particular registry.

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};

use super::image::{Content, digest};

/// Pushes to one registry.
#[derive(Debug, Clone)]
pub struct Pusher {
    client: Client,
    base: String,
    basic: Option<(String, String)>,
}

impl Pusher {
    /// To the registry at this URL, which is what comes before `/v2/`.
    pub fn new(base: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { client: Client::new(), base, basic: None }
    }

    /// With a user name and a password.
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.basic = Some((user.into(), password.into()));
        self
    }

    /// Through this client, such as one that trusts a private authority.
    pub fn client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// Pushes the content with everything below it, and tags it.
    pub async fn push(&self, repository: &str, tag: &str, content: &Content) -> anyhow::Result<()> {
        self.push_parts(repository, content).await?;
        self.put_manifest(repository, tag, content).await
    }

    /// Pushes the content with everything below it by digest alone.
    pub async fn push_untagged(&self, repository: &str, content: &Content) -> anyhow::Result<()> {
        self.push_parts(repository, content).await?;
        self.put_manifest(repository, &content.digest, content).await
    }

    /// Pushes all blobs, and all manifests below the content itself.
    async fn push_parts(&self, repository: &str, content: &Content) -> anyhow::Result<()> {
        for part in content.tree() {
            for blob in &part.blobs {
                self.put_blob(repository, blob).await?;
            }
            if part != content {
                self.put_manifest(repository, &part.digest, part).await?;
            }
        }
        Ok(())
    }

    /// Uploads a blob in one piece, unless the repository has it.
    pub async fn put_blob(&self, repository: &str, blob: &[u8]) -> anyhow::Result<()> {
        let digest = digest(blob);
        let path = format!("{}/v2/{repository}/blobs", self.base);
        let known = self.request(Method::HEAD, &format!("{path}/{digest}")).send().await?;
        if known.status() == StatusCode::OK {
            return Ok(());
        }
        let start = self.request(Method::POST, &format!("{path}/uploads/")).send().await?;
        let start = expect(start, StatusCode::ACCEPTED).await?;
        let location = start.headers().get("location").context("an upload without a location")?;
        let mut location: Url = start.url().join(location.to_str()?)?;
        location.query_pairs_mut().append_pair("digest", &digest);
        let upload = self.request(Method::PUT, location.as_str()).body(blob.to_vec()).send().await?;
        expect(upload, StatusCode::CREATED).await?;
        Ok(())
    }

    async fn put_manifest(&self, repository: &str, reference: &str, content: &Content) -> anyhow::Result<()> {
        let url = format!("{}/v2/{repository}/manifests/{reference}", self.base);
        let put = self.request(Method::PUT, &url).header("content-type", content.media_type);
        expect(put.body(content.manifest.clone()).send().await?, StatusCode::CREATED).await?;
        Ok(())
    }

    fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.basic {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

async fn expect(response: Response, status: StatusCode) -> anyhow::Result<Response> {
    if response.status() == status {
        return Ok(response);
    }
    let (got, url) = (response.status(), response.url().clone());
    bail!("{url} answered {got}, not {status}: {}", response.text().await?)
}
