//! The reading half of the registry API: its entry, and whether the registry answers.
//!
//! Every answer is complete and verified, or an error. An empty list is a list that the registry has sent.

use std::sync::Arc;

use reqwest::StatusCode;
use tokio::sync::SemaphorePermit;

use super::client::{Client, Request};
use crate::config;
use crate::model::RepositoryName;
use crate::registry::auth::scope::Scope;
use crate::registry::transport::error::{Error, Kind};
use crate::registry::transport::http::Traffic;
use crate::registry::transport::observer::Observer;
use crate::registry::transport::retry::Retry;

/// The specification lets a registry refuse larger manifests (4 MiB); image configurations are no larger.
pub(super) const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// A complete list with all its pages: a million tags of 60 characters fit.
pub(super) const MAX_LIST_BYTES: usize = 64 << 20;

pub(super) const OK: &[StatusCode] = &[StatusCode::OK];

/// Reads one registry, and cannot change it.
#[derive(Clone)]
pub struct Reader {
    pub(super) client: Arc<Client>,
}

/// How a registry is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Without credentials: one request, and a registry that asks for credentials passes.
    Anonymous,
    /// With credentials where the registry asks for them; it has to accept them.
    Authenticated,
}

impl Reader {
    /// Prepares the connections to a registry, and sends nothing. The observer `Arc::new(())` counts nothing.
    pub fn new(
        registry: &config::Registry,
        retry: Retry,
        observer: Arc<dyn Observer>,
    ) -> anyhow::Result<Self> {
        Ok(Self { client: Arc::new(Client::new(registry, retry, observer)?) })
    }

    /// The number of requests sent so far.
    pub fn traffic(&self) -> Traffic {
        self.client.http.traffic()
    }

    /// Sends an authenticated request to the registry.
    pub async fn ping(&self) -> Result<(), Error> {
        let url = self.client.url("");
        self.client.send(&Request::get(url, Scope::none(), OK, MAX_MANIFEST_BYTES)).await?;
        Ok(())
    }

    /// Whether a registry answers, without retries. Where the first answer does not look like a registry's, it has to
    /// accept an authenticated request, whatever the probe.
    pub async fn probe(&self, probe: Probe) -> Result<(), Error> {
        let status = self.client.probe().await?;
        match (status, probe) {
            (StatusCode::OK | StatusCode::TOO_MANY_REQUESTS, _)
            | (StatusCode::UNAUTHORIZED, Probe::Anonymous) => Ok(()),
            _ => {
                let request = Request::get(self.client.url(""), Scope::none(), OK, MAX_MANIFEST_BYTES);
                self.client.send(&Request { once: true, ..request }).await?;
                Ok(())
            }
        }
    }

    /// Whether there is any answer now. One request is sent, also during an outage.
    pub async fn is_reachable(&self) -> bool {
        self.client.probe().await.is_ok()
    }

    /// The error of a repository that is too large to be read.
    pub fn too_large(&self, repository: &RepositoryName, message: String) -> Error {
        let url = self.client.url(&format!("{repository}/manifests/"));
        Error::new("GET", &url, Kind::TooLarge, message)
    }

    /// Waits for the right to read a repository that may take much memory. Only one of a registry is read at a time;
    /// hold the permit for as long as its content is in memory.
    pub async fn acquire_large(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.client.large_repository.acquire().await.ok()
    }

    /// The same without waiting; `None` while another large repository is read.
    pub fn try_acquire_large(&self) -> Option<SemaphorePermit<'_>> {
        self.client.large_repository.try_acquire().ok()
    }
}
