//! Slow and hostile connections: they do not block others and are closed after their time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use regsweep::http::{Admin, ServerLimits, StatusStore, router, serve};
use regsweep::metrics::Metrics;
use regsweep::state::State;
use reqwest::StatusCode;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::harness::{config, now};

/// Longer than any test here.
const LONG: Duration = Duration::from_secs(3600);

/// Limits that do not matter in a test about another limit.
const NO_LIMITS: ServerLimits =
    ServerLimits { head_timeout: LONG, answer_timeout: LONG, connection_timeout: LONG, max_connections: 100 };

/// The web server of the service, and its address.
async fn server(limits: ServerLimits, admin: Admin) -> String {
    let status_store = StatusStore::default();
    status_store.configured(&config("enforce"), now());
    status_store.heartbeat(now());
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let router = router(status_store, Metrics::new("", "").unwrap().into(), state, admin, Arc::new(now));
    start(router, limits).await
}

async fn start(router: Router, limits: ServerLimits) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(listener, router, limits, std::future::pending()));
    address
}

async fn served(limits: ServerLimits) -> String {
    server(limits, Admin::new().0).await
}

async fn connect(address: &str, begin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(begin.as_bytes()).await.unwrap();
    stream
}

/// Everything until the server closes the connection, which it must do.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let end = timeout(Duration::from_secs(60), stream.read_to_end(&mut bytes)).await;
    // A reset ends the connection as well.
    let _ = end.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first line of the answer.
async fn status(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let read = timeout(Duration::from_secs(60), stream.read(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap_or_default().to_owned()
}

async fn assert_answers(address: &str) {
    assert_eq!(reqwest::get(format!("http://{address}/healthz")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn request_heads_that_do_not_end_time_out() {
    let address = served(ServerLimits { head_timeout: Duration::from_secs(2), ..NO_LIMITS }).await;
    let silent = connect(&address, "").await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(connect(&address, "GET /healthz HTTP/1.1\r\nX-Slow: ").await);
    }
    let mut closed = Vec::new();
    for stream in slow {
        closed.push(tokio::spawn(async move {
            let (mut reader, mut writer) = stream.into_split();
            let drip = tokio::spawn(async move {
                while writer.write_all(b"x").await.is_ok() {
                    sleep(Duration::from_millis(100)).await;
                }
            });
            let end = timeout(Duration::from_secs(60), reader.read(&mut [0; 100])).await;
            drip.abort();
            end.is_ok_and(|end| end.is_err() || end.unwrap() == 0)
        }));
    }
    for _ in 0..20 {
        assert_answers(&address).await;
    }
    for closed in closed {
        assert!(closed.await.unwrap());
    }
    assert_eq!(rest(silent).await, "");
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let address = served(ServerLimits { head_timeout: Duration::from_secs(1), ..NO_LIMITS }).await;
    let output = rest(connect(&address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
    assert!(output.starts_with("HTTP/1.1 200 ") && output.ends_with("\r\n\r\nok\n"), "{output}");
}

#[tokio::test]
async fn connection_is_closed_after_its_time() {
    let address = served(ServerLimits { connection_timeout: Duration::from_secs(1), ..NO_LIMITS }).await;
    let mut stream = connect(&address, "").await;
    let mut answers = 0;
    let ask = async {
        while stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok() {
            match stream.read(&mut [0; 4096]).await {
                Ok(0) | Err(_) => break,
                Ok(_) => answers += 1,
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), ask).await.expect("the server closes the connection");
    assert!(answers > 0);
}

#[tokio::test]
async fn connection_above_the_limit_closes_the_oldest() {
    let address = served(ServerLimits { max_connections: 4, ..NO_LIMITS }).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(connect(&address, "").await);
    }
    assert_answers(&address).await;
    assert_eq!(rest(silent.remove(0)).await, "");
    for mut stream in silent {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(status(&mut stream).await, "HTTP/1.1 200 OK");
    }
}

#[tokio::test]
async fn client_that_reads_no_answer_is_disconnected() {
    // More than the socket buffers of both sides.
    let large = get(async || "x".repeat(32 << 20));
    let limits = ServerLimits { connection_timeout: Duration::from_secs(1), ..NO_LIMITS };
    let address = start(Router::new().route("/", large), limits).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(status(&mut stream).await, "HTTP/1.1 200 OK");
    // Writing fails only after the server has closed the connection.
    let gone = async {
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), gone).await.expect("the server cuts the connection");
}

#[tokio::test]
async fn request_bodies_are_not_waited_for() {
    let address = served(NO_LIMITS).await;
    let lengths = ["Content-Length: 10000", "Transfer-Encoding: chunked"];
    for (method, path, length) in [("GET", "/", lengths[0]), ("POST", "/api/v1/run", lengths[1])] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n1");
        let output = rest(connect(&address, &request).await).await;
        assert!(output.starts_with("HTTP/1.1 200 ") || output.starts_with("HTTP/1.1 404 "), "{output}");
    }
}

#[tokio::test]
async fn request_heads_that_are_too_large_are_refused() {
    let address = served(NO_LIMITS).await;
    let large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    let long = format!("/{}", "x".repeat(20_000));
    let many = "X-Many: x\r\n".repeat(101);
    for (path, header) in [("/", &large), (&*long, &String::new()), ("/", &many)] {
        let mut stream = connect(&address, "").await;
        let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n").as_bytes()).await;
        assert_eq!(status(&mut stream).await, "HTTP/1.1 431 Request Header Fields Too Large");
    }
    let path = format!("/{}", "x".repeat(10_000));
    let mut stream = connect(&address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!(status(&mut stream).await, "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn answer_that_takes_too_long_times_out() {
    // The service receives the request and never answers.
    let (admin, _asked) = Admin::new();
    admin.set_token(Some(SecretString::from("token")));
    let address =
        server(ServerLimits { answer_timeout: Duration::from_millis(300), ..NO_LIMITS }, admin).await;
    let request = reqwest::Client::new().post(format!("http://{address}/api/v1/run")).bearer_auth("token");
    let request = request.timeout(Duration::from_secs(60));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.text().await.unwrap(), "the answer was not found in time: try again later\n");
}

#[tokio::test]
async fn panic_in_a_route_becomes_an_answer() {
    let router = Router::new().route("/", get(async || -> &'static str { panic!("a defect") }));
    let address = start(router, NO_LIMITS).await;
    let response = reqwest::get(format!("http://{address}/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["x-frame-options"], "DENY");
    assert_eq!(response.text().await.unwrap(), "the request failed: see the log\n");
}

#[tokio::test]
async fn server_stops_on_shutdown() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Metrics::new("", "").unwrap().into();
    let folder = tempfile::tempdir().unwrap();
    let state = regsweep::state::State::open(folder.path()).unwrap();
    let router = regsweep::http::router(
        StatusStore::default(),
        metrics,
        state,
        regsweep::http::Admin::new().0,
        std::sync::Arc::new(now),
    );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let limits = regsweep::http::ServerLimits::default();
    let server = tokio::spawn(regsweep::http::serve(listener, router, limits, async { drop(stopped.await) }));
    assert_eq!(reqwest::get(format!("http://{address}/healthz")).await.unwrap().status(), 503);
    stop.send(()).unwrap();
    server.await.unwrap();
    assert!(reqwest::get(format!("http://{address}/healthz")).await.is_err());
}
