//! One request to a registry: bounded, paced, authenticated, and tried again where that can help.
//!
//! It knows HTTP and no meaning: what a status stands for is named where the request is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::auth::{Scope, Session};
use super::connect;
use super::error::{Error, Kind};
use super::observe::Observer;
use super::pace::Pace;
use crate::config;

/// An answer that grows beyond this is received alone: many lists of the largest kind at once would fill
/// the memory of a small machine.
const LARGE: usize = 1 << 20;

/// How often and how patiently a request is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in all, the first one included.
    pub attempts: u32,
    /// The wait before the second try; it doubles from then on, and half of it is left to chance.
    pub first_wait: Duration,
    /// No wait is longer than this, whatever `Retry-After` says.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, first_wait: Duration::from_millis(250), longest_wait: Duration::from_secs(60) }
    }
}

/// What has gone over the wire so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests that were sent, tries and token requests included.
    pub requests: u64,
    /// How many of them were another try.
    pub retries: u64,
}

/// A request before it is sent.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    /// Sent with every try; mostly empty.
    pub(super) body: Bytes,
    /// The statuses that are an answer. All others are errors.
    pub(super) accepted: &'a [StatusCode],
    /// A body longer than this is an error.
    pub(super) limit: usize,
}

impl<'a> Request<'a> {
    pub(super) fn get(url: Url, scope: Scope, accepted: &'a [StatusCode], limit: usize) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method: Method::GET, url, scope, headers, body, accepted, limit }
    }

    pub(super) fn accept(mut self, types: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(types));
        self
    }

    pub(super) fn method_name(&self) -> &'static str {
        match self.method {
            Method::DELETE => "DELETE",
            Method::PUT => "PUT",
            _ => "GET",
        }
    }
}

/// A whole answer with an accepted status.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Which try it was, from 1.
    pub(super) attempt: u32,
}

impl Response {
    /// A header as text; `None` where it is missing or is no text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The connections to one registry.
pub(super) struct Transport {
    /// `<url>/v2/`
    pub(super) base: Url,
    pub(super) reading: reqwest::Client,
    /// Follows no redirect: one that answers a change could turn it into something else.
    changing: reqwest::Client,
    pub(super) session: Session,
    in_flight: Semaphore,
    /// Held by the one request whose answer may grow large.
    large: Semaphore,
    pace: Option<Pace>,
    retry: Retry,
    observer: Arc<dyn Observer>,
    requests: AtomicU64,
    retries: AtomicU64,
}

impl Transport {
    pub(super) fn new(
        registry: &config::Registry,
        retry: Retry,
        observer: Arc<dyn Observer>,
    ) -> anyhow::Result<Self> {
        let mut base = registry.url.clone();
        base.set_path(&format!("{}/v2/", base.path().trim_end_matches('/')));
        Ok(Self {
            reading: connect::client(registry, Policy::limited(5))?,
            changing: connect::client(registry, Policy::none())?,
            session: Session::new(connect::credentials(registry, &base)?),
            in_flight: Semaphore::new(registry.concurrency.get()),
            large: Semaphore::new(1),
            pace: registry.requests_per_second.map(|rate| Pace::new(rate.get())),
            retry,
            base,
            observer,
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        })
    }

    /// The address of something below `/v2/`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }

    /// Sends the request until it gets an accepted answer or a failure that another try cannot mend.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        let mut attempt = 1;
        let mut refusals = 0;
        loop {
            let authorization = self.authorization(&request.scope).await?;
            let shown = authorization.is_some();
            let (error, wait) = match self.exchange(request, authorization).await {
                Ok((status, headers, body)) if request.accepted.contains(&status) => {
                    return Ok(Response { status, headers, body, attempt });
                }
                Ok((StatusCode::UNAUTHORIZED, headers, body)) if refusals < 2 => {
                    refusals += 1;
                    self.answer_challenge(request, &headers, &body, shown).await?;
                    continue;
                }
                Ok((status, headers, body)) => (
                    Error::status(request.method_name(), &request.url, status, &body),
                    asked_to_wait(&headers),
                ),
                Err(error) => (error, None),
            };
            self.pause(error, attempt, wait).await?;
            attempt += 1;
        }
    }

    /// Waits for another try, as long as the registry asked for or else ever longer; gives the error back
    /// where no other try is worth it.
    pub(super) async fn pause(
        &self,
        error: Error,
        attempt: u32,
        asked: Option<Duration>,
    ) -> Result<(), Error> {
        if !error.is_transient() || attempt >= self.retry.attempts {
            return Err(error);
        }
        let wait = asked.unwrap_or_else(|| self.backoff(attempt)).min(self.retry.longest_wait);
        tracing::debug!(%error, attempt, wait_seconds = wait.as_secs_f64(), "trying again");
        tokio::time::sleep(wait).await;
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.observer.retried();
        Ok(())
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let whole = self.retry.first_wait.saturating_mul(1 << (attempt - 1).min(16));
        whole.mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    /// One exchange, without another try.
    async fn exchange(
        &self,
        request: &Request<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Error> {
        let client = if request.method == Method::GET { &self.reading } else { &self.changing };
        let mut builder = client.request(request.method.clone(), request.url.clone());
        builder = builder.headers(request.headers.clone()).body(request.body.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        self.perform(request.method_name(), &request.url, builder, request.limit).await
    }

    pub(super) async fn perform(
        &self,
        method: &'static str,
        url: &Url,
        builder: reqwest::RequestBuilder,
        limit: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Error> {
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await;
        if let Some(pace) = &self.pace {
            pace.wait().await;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let result = receive(method, url, builder, limit, &self.large).await;
        let status = result.as_ref().ok().map(|(status, ..)| status.as_u16());
        self.observer.exchanged(method, status, begin.elapsed());
        result
    }
}

/// Sends a request and reads the whole answer.
async fn receive(
    method: &'static str,
    url: &Url,
    builder: reqwest::RequestBuilder,
    limit: usize,
    large: &Semaphore,
) -> Result<(StatusCode, HeaderMap, Bytes), Error> {
    let mut response = builder.send().await.map_err(|error| Error::transport(method, url, error))?;
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let declared = headers.get(reqwest::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: usize = declared.and_then(|text| text.parse().ok()).unwrap_or(0);
    // What is declared need never come, so no more room is made for it than it costs nothing to make.
    let mut body = Vec::with_capacity(declared.min(limit).min(LARGE));
    let mut alone = None;
    let broken = |error| Error { status: Some(status), ..Error::transport(method, url, error) };
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > limit {
            let message = format!("the answer is longer than {limit} bytes");
            return Err(Error { status: Some(status), ..Error::new(method, url, Kind::TooLarge, message) });
        }
        if body.len() + chunk.len() > LARGE && alone.is_none() {
            // The semaphore is never closed.
            alone = large.acquire().await.ok();
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, headers, body.into()))
}

/// What `Retry-After` asks for: seconds, or a date, which is held against the answer's own date so that
/// our clock does not matter.
fn asked_to_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let after = text(RETRY_AFTER)?;
    if let Ok(seconds) = after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(after).ok()?;
    let now = httpdate::parse_http_date(text(DATE)?).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_of(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = pairs.iter().map(|&(name, value)| {
            (name.parse::<reqwest::header::HeaderName>().unwrap(), HeaderValue::from_static(value))
        });
        asked_to_wait(&headers.collect())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait_of(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let date = ("date", "Wed, 21 Oct 2026 07:28:00 GMT");
        let later = ("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT");
        assert_eq!(wait_of(&[date, later]), Some(Duration::from_secs(30)));
        assert_eq!(wait_of(&[later]), None);
        assert_eq!(wait_of(&[("retry-after", "soon")]), None);
        assert_eq!(wait_of(&[]), None);
    }
}
