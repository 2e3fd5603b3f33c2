//! The connections of the web server: how many are open at a time, and how long each may last.
//!
//! A client can open many connections, send a byte now and then, or never read an answer. Other clients must not wait for
//! it, so the number of connections is limited and everything has a timeout. It knows no route.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::middleware::protected;

/// The longest request line with headers, in bytes. Ordinary requests need less than a tenth of it.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How long answers may still take after the shutdown was requested.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Without a free file descriptor no connection can be accepted: the server tries again after this pause.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The limits of one web server.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// How long the head of a request may take to arrive, from the connection or the previous answer on.
    pub head_timeout: Duration,
    /// How long the service may take to produce an answer.
    pub answer_timeout: Duration,
    /// After this time a connection accepts no further request; after the same time again it is closed.
    pub connection_timeout: Duration,
    /// Open connections at a time. One more closes the oldest.
    pub max_connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            connection_timeout: Duration::from_secs(60),
            // Far below the usual limit of 1024 open files per process: runs need some of them.
            max_connections: 256,
        }
    }
}

/// Serves until the shutdown, and then finishes the answers that are being sent, within `SHUTDOWN_TIMEOUT`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    shutdown: impl Future<Output = ()>,
) {
    let service = TowerToHyperService::new(protected(router, limits.answer_timeout));
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(MAX_HEAD_BYTES);
    let (ending, ended) = watch::channel(());
    let mut open = OpenConnections::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = protocol.serve_connection(TokioIo::new(stream), service.clone());
                let task =
                    tokio::spawn(serve_connection(connection, limits.connection_timeout, ended.clone()));
                open.add(task.abort_handle(), limits.max_connections);
            }
            Err(error) if is_client_error(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted: trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // From here on no connection is accepted.
    drop((listener, ended));
    // An error means that no connection is open.
    let _ = ending.send(());
    // A client that does not read its answer must not delay the shutdown for long.
    let _ = timeout(SHUTDOWN_TIMEOUT, ending.closed()).await;
}

/// Serves one connection until it ends, its time is over or the server shuts down.
async fn serve_connection(
    connection: http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>,
    max_age: Duration,
    mut ending: watch::Receiver<()>,
) {
    let mut connection = pin!(connection);
    // An error of the connection concerns only its client, who sees it.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.changed() => {}
        () = sleep(max_age) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(max_age, connection).await;
}

/// Whether the client gave up before its connection was accepted. Other connections are not affected.
fn is_client_error(error: &Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The open connections, the oldest first. Dropping this closes them.
#[derive(Default)]
struct OpenConnections(VecDeque<AbortHandle>);

impl OpenConnections {
    /// Adds a connection. Above `max`, the oldest are closed: a well-behaved client is never the oldest for long.
    fn add(&mut self, connection: AbortHandle, max: usize) {
        self.0.retain(|open| !open.is_finished());
        self.0.push_back(connection);
        while self.0.len() > max {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        if let Some(oldest) = self.0.pop_front() {
            oldest.abort();
        }
    }
}

impl Drop for OpenConnections {
    fn drop(&mut self) {
        while !self.0.is_empty() {
            self.close_oldest();
        }
    }
}
