//! Sending one HTTP request: within the limits for parallel requests and their rate, and counted.
//!
//! It does not know credentials, and it does not repeat a request by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use url::Url;

use super::answer::{Answer, receive};
use super::connect;
use super::error::Error;
use super::observer::Observer;
use super::rate_limiter::RateLimiter;
use super::retry::Retry;
use crate::config;

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;

/// The number of requests sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests that were sent, retries and token requests included.
    pub requests: u64,
    /// How many of them were retries.
    pub retries: u64,
}

/// Whether redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirects {
    Follow,
    /// The redirect is the answer.
    Return,
}

/// The connections to one registry and its token service.
pub(crate) struct HttpClient {
    following: reqwest::Client,
    not_following: reqwest::Client,
    in_flight: Semaphore,
    /// Held by the one request that receives a large answer.
    large_body: Semaphore,
    rate_limiter: Option<RateLimiter>,
    retry: Retry,
    observer: Arc<dyn Observer>,
    requests: AtomicU64,
    retries: AtomicU64,
}

impl HttpClient {
    pub(crate) fn new(
        registry: &config::Registry,
        retry: Retry,
        observer: Arc<dyn Observer>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            following: connect::client(registry, Policy::limited(MAX_REDIRECTS))?,
            not_following: connect::client(registry, Policy::none())?,
            in_flight: Semaphore::new(registry.concurrency.get()),
            large_body: Semaphore::new(1),
            rate_limiter: registry.requests_per_second.map(|rate| RateLimiter::new(rate.get())),
            retry,
            observer,
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        })
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }

    /// A request to be completed and sent.
    pub(crate) fn request(&self, method: Method, url: &Url, redirects: Redirects) -> RequestBuilder {
        let client = match redirects {
            Redirects::Follow => &self.following,
            Redirects::Return => &self.not_following,
        };
        client.request(method, url.clone())
    }

    /// Waits for a free slot and sends a request.
    pub(crate) async fn send(
        &self,
        method: &'static str,
        url: &Url,
        builder: RequestBuilder,
        limit: usize,
    ) -> Result<Answer, Error> {
        let _slot = self.acquire_slot().await;
        self.send_now(method, url, builder, limit).await
    }

    /// Waits until another request may be sent. The slot is free again when the permit is dropped.
    pub(crate) async fn acquire_slot(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        let permit = self.in_flight.acquire().await.ok();
        if let Some(rate_limiter) = &self.rate_limiter {
            rate_limiter.wait().await;
        }
        permit
    }

    /// Sends a request for which a slot has been acquired.
    pub(crate) async fn send_now(
        &self,
        method: &'static str,
        url: &Url,
        builder: RequestBuilder,
        limit: usize,
    ) -> Result<Answer, Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let result = receive(method, url, builder, limit, &self.large_body).await;
        let status = result.as_ref().ok().map(|(status, ..)| status.as_u16());
        self.observer.request_finished(method, status, begin.elapsed());
        result
    }

    /// Waits before the next attempt, and counts it as a retry. Returns the error where no attempt is left or another
    /// one cannot help.
    pub(crate) async fn retry(
        &self,
        error: Error,
        attempts: u32,
        retry_after: Option<Duration>,
    ) -> Result<(), Error> {
        self.back_off(error, attempts, retry_after).await?;
        self.count_retry();
        Ok(())
    }

    /// Waits before the next attempt, for as long as the registry has asked for or else longer each time. Returns the
    /// error where no attempt is left or another one cannot help.
    pub(crate) async fn back_off(
        &self,
        error: Error,
        attempts: u32,
        retry_after: Option<Duration>,
    ) -> Result<(), Error> {
        if !error.is_transient() || attempts >= self.retry.attempts {
            return Err(error);
        }
        let wait = retry_after.unwrap_or_else(|| self.retry.backoff(attempts)).min(self.retry.max_backoff);
        tracing::debug!(%error, attempt = attempts, wait_seconds = wait.as_secs_f64(), "trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.observer.request_retried();
    }
}
