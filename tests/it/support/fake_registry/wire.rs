//! Reads requests and sends answers, or breaks them off where a test scripts that.
//!
//! It knows HTTP and no registry. Hyper is used directly because a handler of axum always answers, and
//! tests need a server that closes the connection without an answer.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response};
use futures_util::stream::{self, StreamExt as _};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::{Shared, answer};

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The path, without the prefix that the registry has.
    pub path: String,
    /// Path and query as they were sent.
    pub target: String,
    /// The pairs of the query, decoded.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// The value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether this is a request for that path with that method, whatever its query.
    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canned {
    /// The status.
    pub status: u16,
    /// Header names, in lower case, and values. `content-length` is added where it is missing.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    CutAfter(usize),
    NoAnswer,
}

impl Canned {
    /// An empty answer with this status.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), ending: Ending::Whole }
    }

    /// The connection is closed, and nothing is answered.
    pub fn dropped() -> Self {
        Self { ending: Ending::NoAnswer, ..Self::status(0) }
    }

    /// With this header, in the place of any of that name.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_header(name, value);
        self
    }

    /// Sets a header.
    pub fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The connection is closed after so many bytes of the body; the length is announced in full.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.ending = Ending::CutAfter(bytes);
        self
    }

    fn send(self, head: bool) -> io::Result<Response<Body>> {
        if self.ending == Ending::NoAnswer {
            return Err(io::Error::other("told not to answer"));
        }
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        let has_length = self.headers.iter().any(|(name, _)| name == "content-length");
        if !has_length && !matches!(self.status, 204 | 304) {
            response = response.header("content-length", self.body.len());
        }
        let body = match self.ending {
            _ if head => Body::empty(),
            Ending::CutAfter(bytes) => {
                let begun = self.body[..bytes.min(self.body.len())].to_vec();
                // The pause lets hyper send what it has before the connection is closed.
                let end = async {
                    tokio::task::yield_now().await;
                    Err(io::Error::other("told to break off"))
                };
                Body::from_stream(stream::iter([Ok(begun)]).chain(stream::once(end)))
            }
            Ending::Whole | Ending::NoAnswer => Body::from(self.body),
        };
        response.body(body).map_err(io::Error::other)
    }
}

/// A request in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The method.
    pub method: String,
    /// Path and query as they were sent.
    pub path: String,
    /// The status that was answered; 0 if the connection was dropped.
    pub status: u16,
    /// The scheme of the `Authorization` header: `Basic` or `Bearer`.
    pub authorization: Option<String>,
    /// The header `If-None-Match`.
    pub if_none_match: Option<String>,
    /// The header `Accept`.
    pub accept: Option<String>,
    /// The header `Cache-Control`.
    pub cache_control: Option<String>,
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
}

/// Serves until the sender of `stopped` is dropped.
pub(super) fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::select! {
            _ = stopped => {}
            never = accept(listener, shared) => match never {},
        }
    });
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) -> Infallible {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let _ = connection.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| respond(request, &shared));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
        });
    }
}

async fn respond(incoming: hyper::Request<Incoming>, shared: &Shared) -> io::Result<Response<Body>> {
    let (parts, body) = incoming.into_parts();
    let body = axum::body::to_bytes(Body::new(body), 16 << 20).await.map_err(io::Error::other)?;
    let _under_way = UnderWay::begin(shared);
    let (latency, prefix) = {
        let settings = &shared.lock().state.settings;
        (settings.latency, settings.prefix.clone())
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let query = parts.uri.query().unwrap_or_default();
    let path = parts.uri.path();
    let request = Request {
        method: parts.method.to_string(),
        path: path.strip_prefix(&prefix).unwrap_or(path).to_owned(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body,
    };
    let reply = answer(shared, &request, path.starts_with(&prefix));
    reply.send(request.method == "HEAD")
}

fn answer(shared: &Shared, request: &Request, below_prefix: bool) -> Canned {
    let inner = &mut *shared.lock();
    for hook in &mut inner.before {
        hook(request, &mut inner.state);
    }
    let scripted = inner.on.iter_mut().find_map(|script| script(request));
    let reply = scripted.unwrap_or_else(|| {
        let mut reply = answer::answer(&mut inner.state, request, below_prefix);
        for spoil in &mut inner.after {
            spoil(request, &mut reply);
        }
        reply
    });
    let header = |name: &str| request.header(name).map(str::to_owned);
    inner.log.push(Logged {
        method: request.method.clone(),
        path: request.target.clone(),
        status: reply.status,
        authorization: header("authorization").map(|value| value.split(' ').take(1).collect()),
        if_none_match: header("if-none-match"),
        accept: header("accept"),
        cache_control: header("cache-control"),
        user_agent: header("user-agent"),
    });
    reply
}

/// Counts a request as under way for as long as it lives.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let mut inner = shared.lock();
        inner.in_flight += 1;
        inner.peak = inner.peak.max(inner.in_flight);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}
