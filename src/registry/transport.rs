//! One request to a registry: bounded, paced, authenticated, and tried again where that can help.
//!
//! It knows HTTP and no meaning: what a status stands for is named where the request is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use url::Url;

use super::answer::{Answer, receive, retry_after};
use super::auth::{Scope, Session};
use super::circuit::Circuit;
use super::connect;
use super::error::Error;
use super::observe::Observer;
use super::pace::Pace;
use super::token::{self, Refusals};
use crate::config;

/// What `/v2/` answers is next to nothing.
const KNOCK_BYTES: usize = 1 << 20;

/// How often and how patiently a request is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in all, the first one included.
    pub attempts: u32,
    /// The wait before the second try; it doubles from then on, and half of it is left to chance.
    pub initial_backoff: Duration,
    /// No wait is longer than this, whatever `Retry-After` says.
    pub max_backoff: Duration,
    /// So long all requests wait for a registry from which no answer comes at all.
    pub outage_timeout: Duration,
    /// So long nobody asks a registry after that.
    pub open_duration: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            initial_backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(60),
            outage_timeout: Duration::from_secs(60),
            open_duration: Duration::from_secs(30),
        }
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
    /// Whether it is sent only once, because another try has to be thought about first.
    pub(super) once: bool,
}

/// What a caching proxy before a registry is told: an answer that is not asked for anew shows how the registry was
/// some time ago, and decisions are made on how it is.
const FRESH: HeaderValue = HeaderValue::from_static("no-cache");

impl<'a> Request<'a> {
    /// What the registry has now, whatever is cached on the way.
    pub(super) fn get(url: Url, scope: Scope, accepted: &'a [StatusCode], limit: usize) -> Self {
        let (headers, body) = (HeaderMap::from_iter([(CACHE_CONTROL, FRESH)]), Bytes::new());
        Self { method: Method::GET, url, scope, headers, body, accepted, limit, once: false }
    }

    /// A cached answer will do: its body is what a digest names, and the worst that its absence says is that
    /// nothing is known.
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
}

/// A whole answer with an accepted status.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether an earlier try may have done already what this one was to do.
    pub(super) may_be_applied: bool,
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
    pub(super) changing: reqwest::Client,
    pub(super) session: Session,
    in_flight: Semaphore,
    /// Held by the one request whose answer may grow large.
    large: Semaphore,
    /// Held for the one repository that may take much memory.
    pub(super) alone: Semaphore,
    pace: Option<Pace>,
    pub(super) circuit: Circuit,
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
            session: Session::new(connect::keychain(registry)?),
            in_flight: Semaphore::new(registry.concurrency.get()),
            large: Semaphore::new(1),
            alone: Semaphore::new(1),
            pace: registry.requests_per_second.map(|rate| Pace::new(rate.get())),
            circuit: Circuit::new(&registry.name, retry),
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
        let mut may_be_applied = false;
        let result = self.keep_trying(request, &mut may_be_applied).await;
        result.map_err(|error| Error { may_be_applied, ..error })
    }

    async fn keep_trying(&self, request: &Request<'_>, may_be_applied: &mut bool) -> Result<Response, Error> {
        let mut attempt = 1;
        let mut refusals = Refusals::default();
        let mut again = false;
        loop {
            // Who has waited for a registry to come back has all tries before him.
            if self.pass(request.method_name(), &request.url).await? {
                attempt = 1;
            }
            let shown = self.authorization(request).await?;
            let authorization = shown.as_ref().map(|shown| shown.header.clone());
            let Some(result) = self.exchange(request, authorization, again).await else { continue };
            again = false;
            let (error, wait) = match result {
                Ok((status, headers, body)) if request.accepted.contains(&status) => {
                    self.circuit.answered();
                    return Ok(Response { status, headers, body, may_be_applied: *may_be_applied });
                }
                Ok((StatusCode::UNAUTHORIZED, headers, body)) => {
                    self.circuit.answered();
                    self.answer_challenge(request, &headers, &body, shown, &mut refusals).await?;
                    continue;
                }
                Ok((StatusCode::FORBIDDEN, _, body)) if self.have_ended(&body, shown.as_ref()).await => {
                    continue;
                }
                Ok((status, headers, body)) => {
                    let body = token::printable(&body, shown.as_ref());
                    let error = Error::status(request.method_name(), &request.url, status, &body);
                    (error, self.asked_to_wait(status, &headers))
                }
                Err(error) => (error, None),
            };
            self.tell_circuit(&error);
            *may_be_applied |= error.is_ambiguous();
            if request.once {
                return Err(error);
            }
            if error.is_transient() && attempt >= self.retry.attempts {
                // Perhaps it is not this request that has failed, but the registry.
                if !error.indicates_outage()
                    || !self.circuit.doubt()
                    || !self.pass(request.method_name(), &request.url).await?
                {
                    return Err(error);
                }
                attempt = 1;
            } else {
                self.wait_for_another(error, attempt, wait).await?;
                attempt += 1;
            }
            again = true;
        }
    }

    /// Waits until the registry is there and wants requests. Whether it was down meanwhile.
    pub(super) async fn pass(&self, method: &'static str, url: &Url) -> Result<bool, Error> {
        let before = self.circuit.outages();
        let refused = |outage| Error::unavailable(method, url, &outage);
        while let Some(asking) = self.circuit.pass().await.map_err(refused)? {
            asking.hears(self.knock().await.map_err(|error| error.to_string()));
        }
        Ok(self.circuit.outages() > before)
    }

    /// Asks once whether anybody is there, and not for more. Every answer will do that is no failure.
    pub(super) async fn knock(&self) -> Result<(), Error> {
        self.ask_once().await.map(|_| ())
    }

    /// The same, with the status of the answer.
    pub(super) async fn ask_once(&self) -> Result<StatusCode, Error> {
        let url = self.url("");
        let request = self.reading.get(url.clone()).header(CACHE_CONTROL, FRESH);
        let answer = self.perform("GET", &url, request, KNOCK_BYTES).await?;
        let (status, headers, body) = answer;
        self.asked_to_wait(status, &headers);
        if status.is_server_error() { Err(Error::status("GET", &url, status, &body)) } else { Ok(status) }
    }

    fn tell_circuit(&self, error: &Error) {
        if error.indicates_outage() {
            self.circuit.failed(error.to_string());
        } else if error.status.is_some() {
            self.circuit.answered();
        }
    }

    /// How long the registry wants to be left alone, which then holds for all requests to it.
    fn asked_to_wait(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let wait = retry_after(headers)?.min(self.retry.max_backoff);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            self.circuit.hold(wait);
        }
        Some(wait)
    }

    /// Waits for another try, and counts it.
    pub(super) async fn pause(
        &self,
        error: Error,
        attempt: u32,
        asked: Option<Duration>,
    ) -> Result<(), Error> {
        self.wait_for_another(error, attempt, asked).await?;
        self.count_retry();
        Ok(())
    }

    /// Waits for another try, as long as the registry asked for or else ever longer; gives the error back
    /// where no other try is worth it.
    async fn wait_for_another(
        &self,
        error: Error,
        attempt: u32,
        asked: Option<Duration>,
    ) -> Result<(), Error> {
        if !error.is_transient() || attempt >= self.retry.attempts {
            return Err(error);
        }
        let wait = asked.unwrap_or_else(|| self.backoff(attempt)).min(self.retry.max_backoff);
        tracing::debug!(%error, attempt, wait_seconds = wait.as_secs_f64(), "trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.observer.request_retried();
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let whole = self.retry.initial_backoff.saturating_mul(1 << (attempt - 1).min(16));
        whole.mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    /// One exchange, without another try. `None` if it was not sent, because the registry went away while
    /// it waited for its turn.
    async fn exchange(
        &self,
        request: &Request<'_>,
        authorization: Option<HeaderValue>,
        again: bool,
    ) -> Option<Result<Answer, Error>> {
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        // Where a redirect is an answer, it is not followed.
        let ends = |status: &StatusCode| status.is_redirection() && *status != StatusCode::NOT_MODIFIED;
        let client = if reads && !request.accepted.iter().any(ends) { &self.reading } else { &self.changing };
        let mut builder = client.request(request.method.clone(), request.url.clone());
        builder = builder.headers(request.headers.clone()).body(request.body.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        let _turn = self.turn().await;
        if !self.circuit.is_open_to_all() {
            return None;
        }
        if again {
            self.count_retry();
        }
        Some(self.observed(request.method_name(), &request.url, builder, request.limit).await)
    }

    pub(super) async fn perform(
        &self,
        method: &'static str,
        url: &Url,
        builder: reqwest::RequestBuilder,
        limit: usize,
    ) -> Result<Answer, Error> {
        let _turn = self.turn().await;
        self.observed(method, url, builder, limit).await
    }

    /// Waits until there is room for one more request, and keeps the room.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        let permit = self.in_flight.acquire().await.ok();
        if let Some(pace) = &self.pace {
            pace.wait().await;
        }
        permit
    }

    async fn observed(
        &self,
        method: &'static str,
        url: &Url,
        builder: reqwest::RequestBuilder,
        limit: usize,
    ) -> Result<Answer, Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let result = receive(method, url, builder, limit, &self.large).await;
        let status = result.as_ref().ok().map(|(status, ..)| status.as_u16());
        self.observer.request_finished(method, status, begin.elapsed());
        result
    }
}
