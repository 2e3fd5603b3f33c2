//! A request to a registry: authenticated, held back during an outage, and repeated where that can help.
//!
//! It does not know what a request is for: the caller names the statuses that it accepts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use crate::config;
use crate::registry::auth::authenticator::{Authenticator, Refusals, Target};
use crate::registry::auth::credentials::Authorization;
use crate::registry::auth::scope::Scope;
use crate::registry::transport::answer::{Answer, retry_after};
use crate::registry::transport::circuit_breaker::CircuitBreaker;
use crate::registry::transport::error::Error;
use crate::registry::transport::http::{HttpClient, Redirects};
use crate::registry::transport::observer::Observer;
use crate::registry::transport::retry::Retry;

/// The answer to a probe of `/v2/` is short.
const MAX_PROBE_BYTES: usize = 1 << 20;

/// Tells a caching proxy to ask the registry: a cached answer shows an earlier state, and deletions are decided by
/// the present one.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// A request before it is sent.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    /// Sent with each attempt; mostly empty.
    pub(super) body: Bytes,
    /// The statuses that are an answer. All others are errors.
    pub(super) accepted: &'a [StatusCode],
    /// A longer body is an error.
    pub(super) limit: usize,
    /// Whether it is not repeated, because the caller has to decide about that.
    pub(super) once: bool,
}

impl<'a> Request<'a> {
    /// A GET that no cache answers.
    pub(super) fn get(url: Url, scope: Scope, accepted: &'a [StatusCode], limit: usize) -> Self {
        let (headers, body) = (HeaderMap::from_iter([(CACHE_CONTROL, NO_CACHE)]), Bytes::new());
        Self { method: Method::GET, url, scope, headers, body, accepted, limit, once: false }
    }

    /// Accepts a cached answer: for a body that a digest names, or whose absence only means that nothing is known.
    pub(super) fn cacheable(mut self) -> Self {
        self.headers.remove(CACHE_CONTROL);
        self
    }

    pub(super) fn accept(mut self, types: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(types));
        self
    }

    pub(super) fn method_name(&self) -> &'static str {
        match self.method {
            Method::DELETE => "DELETE",
            Method::PUT => "PUT",
            Method::POST => "POST",
            Method::HEAD => "HEAD",
            _ => "GET",
        }
    }

    fn target(&self) -> Target<'_> {
        Target { method: self.method_name(), url: &self.url, scope: &self.scope }
    }

    /// Redirects are followed for reading, unless they are an accepted answer. A redirect that answers a change could
    /// turn it into something else.
    fn redirects(&self) -> Redirects {
        let reads = matches!(self.method, Method::GET | Method::HEAD);
        let is_redirect =
            |status: &StatusCode| status.is_redirection() && *status != StatusCode::NOT_MODIFIED;
        if reads && !self.accepted.iter().any(is_redirect) { Redirects::Follow } else { Redirects::Return }
    }
}

/// A complete answer with an accepted status.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether an earlier attempt may have been carried out already.
    pub(super) may_be_applied: bool,
}

impl Response {
    /// A header as text; `None` where it is missing or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The client of one registry.
pub(super) struct Client {
    /// `<url>/v2/`
    base: Url,
    pub(super) http: HttpClient,
    pub(super) authenticator: Authenticator,
    breaker: CircuitBreaker,
    retry: Retry,
    /// Held while a repository is read that may take much memory: only one at a time.
    pub(super) large_repository: Semaphore,
}

impl Client {
    pub(super) fn new(
        registry: &config::Registry,
        retry: Retry,
        observer: Arc<dyn Observer>,
    ) -> anyhow::Result<Self> {
        let mut base = registry.url.clone();
        base.set_path(&format!("{}/v2/", base.path().trim_end_matches('/')));
        Ok(Self {
            http: HttpClient::new(registry, retry, observer)?,
            authenticator: Authenticator::new(registry, base.clone())?,
            breaker: CircuitBreaker::new(&registry.name, retry),
            retry,
            large_repository: Semaphore::new(1),
            base,
        })
    }

    /// The URL of a path below `/v2/`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }

    pub(super) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Sends the request until there is an accepted answer or an error that another attempt cannot help.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        let mut may_be_applied = false;
        let result = self.send_with_retries(request, &mut may_be_applied).await;
        result.map_err(|error| Error { may_be_applied, ..error })
    }

    async fn send_with_retries(
        &self,
        request: &Request<'_>,
        may_be_applied: &mut bool,
    ) -> Result<Response, Error> {
        let mut attempts = 1;
        let mut refusals = Refusals::default();
        let mut is_retry = false;
        loop {
            // After an outage a request has all its attempts again.
            if self.wait_until_available(request.method_name(), &request.url).await? {
                attempts = 1;
            }
            let authorization = self.authenticator.authorization(&self.http, request.target()).await?;
            let Some(result) = self.attempt(request, authorization.as_ref(), is_retry).await else {
                continue;
            };
            is_retry = false;
            let (error, wait) = match result {
                Ok((status, headers, body)) if request.accepted.contains(&status) => {
                    self.breaker.record_success();
                    return Ok(Response { status, headers, body, may_be_applied: *may_be_applied });
                }
                Ok((StatusCode::UNAUTHORIZED, headers, body)) => {
                    self.breaker.record_success();
                    self.authenticator
                        .answer_challenge(request.target(), &headers, &body, authorization, &mut refusals)
                        .await?;
                    continue;
                }
                Ok((StatusCode::FORBIDDEN, _, body))
                    if self.authenticator.reload_expired(&body, authorization.as_ref()).await =>
                {
                    continue;
                }
                Ok((status, headers, body)) => {
                    let body = match &authorization {
                        Some(authorization) => authorization.redact(&body),
                        None => body.into(),
                    };
                    let error = Error::status(request.method_name(), &request.url, status, &body);
                    (error, self.record_retry_after(status, &headers))
                }
                Err(error) => (error, None),
            };
            self.record_error(&error);
            *may_be_applied |= error.is_ambiguous();
            if request.once {
                return Err(error);
            }
            if error.is_transient() && attempts >= self.retry.attempts {
                // Perhaps the whole registry is down, and not only this request has failed.
                if !error.indicates_outage()
                    || !self.breaker.record_exhausted_attempts()
                    || !self.wait_until_available(request.method_name(), &request.url).await?
                {
                    return Err(error);
                }
                attempts = 1;
            } else {
                self.http.back_off(error, attempts, wait).await?;
                attempts += 1;
            }
            is_retry = true;
        }
    }

    /// Sends the request once. `None` if it was not sent, because the registry went down while it waited for a slot.
    async fn attempt(
        &self,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
        is_retry: bool,
    ) -> Option<Result<Answer, Error>> {
        let mut builder = self.http.request(request.method.clone(), &request.url, request.redirects());
        builder = builder.headers(request.headers.clone()).body(request.body.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization.header.clone());
        }
        let _slot = self.http.acquire_slot().await;
        if !self.breaker.allows_requests() {
            return None;
        }
        if is_retry {
            self.http.count_retry();
        }
        Some(self.http.send_now(request.method_name(), &request.url, builder, request.limit).await)
    }

    /// Waits until the registry accepts requests. Whether it was down meanwhile.
    pub(super) async fn wait_until_available(&self, method: &'static str, url: &Url) -> Result<bool, Error> {
        let before = self.breaker.outages();
        let rejected = |outage| Error::unavailable(method, url, &outage);
        while let Some(permit) = self.breaker.acquire().await.map_err(rejected)? {
            permit.record(self.send_probe().await.map(drop).map_err(|error| error.to_string()));
        }
        Ok(self.breaker.outages() > before)
    }

    /// Sends one request without credentials, also during an outage: the status of the answer, which is no failure of
    /// the registry.
    pub(super) async fn probe(&self) -> Result<StatusCode, Error> {
        let status = self.send_probe().await?;
        self.breaker.record_success();
        Ok(status)
    }

    async fn send_probe(&self) -> Result<StatusCode, Error> {
        let url = self.url("");
        let request = self.http.request(Method::GET, &url, Redirects::Follow).header(CACHE_CONTROL, NO_CACHE);
        let (status, headers, body) = self.http.send("GET", &url, request, MAX_PROBE_BYTES).await?;
        self.record_retry_after(status, &headers);
        if status.is_server_error() { Err(Error::status("GET", &url, status, &body)) } else { Ok(status) }
    }

    fn record_error(&self, error: &Error) {
        if error.indicates_outage() {
            self.breaker.record_failure(error.to_string());
        } else if error.status.is_some() {
            self.breaker.record_success();
        }
    }

    /// The wait that an answer asks for. Where the registry is overloaded, all requests to it wait.
    fn record_retry_after(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let wait = retry_after(headers)?.min(self.retry.max_backoff);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            self.breaker.delay_requests(wait);
        }
        Some(wait)
    }
}
