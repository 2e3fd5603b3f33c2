//! The connections of the web server: how many there may be, and how long one may last.
//!
//! Whoever can reach the address can open connections, send a byte now and then, or never read an answer.
//! None of that may keep others from theirs, so nothing here lasts for ever, and there are never more than
//! so many connections.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::set_security_headers;

/// The longest head of a request, in bytes. What is asked for here fits into a tenth of it.
const HEAD_BYTES: usize = 16 << 10;

/// How long answers that have begun may take to end after the shutdown.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Without a free file descriptor no connection can be taken. Some are soon given back.
const PAUSE: Duration = Duration::from_secs(1);

/// How much is borne of those who ask.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// How long the head of a request may take to arrive, counted from the connection or the answer before.
    pub head: Duration,
    /// How long an answer may take to be found.
    pub answer: Duration,
    /// After this a connection takes no further request, and after as long again it is cut.
    pub connection: Duration,
    /// Connections at one time. For one more, the oldest has to go.
    pub connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            connection: Duration::from_secs(60),
            // Far below the 1024 open files that a process usually has, for runs need some as well.
            connections: 256,
        }
    }
}

/// Serves until the shutdown, and then a moment longer what has begun.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    patience: ServerLimits,
    shutdown: impl Future<Output = ()>,
) {
    let in_time = middleware::from_fn(move |request, next| find_in_time(patience.answer, request, next));
    let service = TowerToHyperService::new(router.layer(in_time));
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(patience.head).max_header_size(HEAD_BYTES);
    let (ending, ended) = watch::channel(());
    let mut open = Open::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = protocol.serve_connection(TokioIo::new(stream), service.clone());
                let task = tokio::spawn(serve_connection(connection, patience.connection, ended.clone()));
                open.add(task.abort_handle(), patience.connections);
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be taken: trying again");
                sleep(PAUSE).await;
            }
        }
    }
    // Nobody is let in any more.
    drop((listener, ended));
    // Those that are gone do not listen, and nor does anybody if there were none.
    let _ = ending.send(());
    // A client that does not read its answer must not keep us from leaving.
    let _ = timeout(LAST_ANSWERS, ending.closed()).await;
}

/// Answers on one connection for as long as it may last.
async fn serve_connection(
    connection: http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>,
    lasts: Duration,
    mut ending: watch::Receiver<()>,
) {
    let mut connection = pin!(connection);
    // How a conversation fails is the client's business.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.changed() => {}
        () = sleep(lasts) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(lasts, connection).await;
}

/// Says that there is no answer rather than letting somebody wait for ever.
async fn find_in_time(limit: Duration, request: Request, next: Next) -> Response {
    timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        let why = "the answer was not found in time: try again later\n";
        let mut response = (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        set_security_headers(response.headers_mut());
        response
    })
}

/// Whether only one connection is lost, by somebody who gave up before it was taken.
fn is_of_one_client(error: &Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The connections, the oldest first. They are cut when this is dropped.
#[derive(Default)]
struct Open(VecDeque<AbortHandle>);

impl Open {
    /// One more. Where there are too many the oldest go: who asks and leaves is never the oldest for long.
    fn add(&mut self, connection: AbortHandle, most: usize) {
        self.0.retain(|open| !open.is_finished());
        self.0.push_back(connection);
        while self.0.len() > most {
            self.cut_oldest();
        }
    }

    fn cut_oldest(&mut self) {
        if let Some(oldest) = self.0.pop_front() {
            oldest.abort();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        while !self.0.is_empty() {
            self.cut_oldest();
        }
    }
}
