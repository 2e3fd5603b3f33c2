//! Methods, parameters, authentication and security headers of all routes.

use std::time::Duration;

use regsweep::http::{Admin, AdminRequest, StartedRuns, StatusStore};
use regsweep::metrics::Metrics;
use reqwest::{Client, Method, StatusCode};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::harness::{config, now, start_for};

const TOKEN: &str = "correct horse battery staple";

/// The routes that can be read.
const READ: [&str; 9] = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/runs/1",
    "/api/v1/status",
    "/api/v1/plan",
    "/api/v1/history",
    "/api/v1/runs",
];

/// Paths that do not exist, in several spellings.
const NOTHING: [&str; 13] = [
    "/nothing",
    "/healthz/",
    "/HEALTHZ",
    "//",
    "/../etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/runs/../metrics",
    "/runs/1/2",
    "/runs/%2e%2e%2fmetrics",
    "/runs/%ff",
    "/api/v1/%72uns/",
    "/api/v1/run%00",
];

/// All methods, and one that does not exist.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"];

/// A service with a token, and the registries of the run requests that it has received.
async fn server() -> (String, tokio::sync::mpsc::UnboundedReceiver<Option<String>>) {
    let (admin, mut asked) = Admin::new();
    admin.set_token(Some(SecretString::from(TOKEN)));
    let (heard, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            let AdminRequest::Run { registry, reply, .. } = ask else { panic!("{ask:?}") };
            heard.send(registry).unwrap();
            let _ = reply.send(StartedRuns { started: vec!["main".to_owned()], busy: Vec::new() });
        }
    });
    let status_store = StatusStore::default();
    status_store.configured(&config("enforce"), now());
    status_store.heartbeat(now());
    let metrics = Metrics::new("0.1.0", "").unwrap();
    (start_for(status_store, metrics, admin).await.0, requests)
}

/// The answer to a request exactly as written: HTTP clients normalize URLs before they send them.
async fn raw(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn routes_allow_only_get_and_head() {
    let (url, mut requests) = server().await;
    let client = Client::new();
    for path in READ {
        // The token makes no difference.
        let ask = async |method: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            client.request(method, format!("{url}{path}")).bearer_auth(TOKEN).send().await.unwrap()
        };
        let (read, head) = (ask("GET").await, ask("HEAD").await);
        assert_eq!(read.status(), head.status(), "{path}");
        assert_eq!(read.headers()["content-length"], head.headers()["content-length"], "{path}");
        assert_eq!(head.bytes().await.unwrap(), "", "{path}");
        for method in METHODS.into_iter().filter(|method| !["GET", "HEAD", "CONNECT"].contains(method)) {
            let response = ask(method).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers()["allow"], "GET,HEAD", "{method} {path}");
        }
    }
    let large = client.get(&url).body(vec![b'x'; 20_000]).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(large.headers()["x-frame-options"], "DENY");
    assert_eq!(large.text().await.unwrap(), "the request is too large\n");
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn requests_without_the_token_start_nothing() {
    let (url, mut requests) = server().await;
    for path in READ.into_iter().chain(NOTHING).chain([
        "/api/v1/run",
        "/api/v1/run?registry=main",
        "/api/v1/undo?run=1",
    ]) {
        for method in METHODS {
            for header in ["X-None: x", "Authorization: Bearer wrong", "Cookie: admin_token=x"] {
                let answer = raw(&url, &format!("{method} {path} HTTP/1.1\r\n{header}")).await;
                assert!(!answer.starts_with("HTTP/1.1 202"), "{method} {path}: {answer}");
            }
        }
    }
    // What a form on another site can send, and the preflight request of a script there.
    let client = Client::new();
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"] {
        let form =
            client.post(format!("{url}/api/v1/run")).header("content-type", kind).body("registry=main");
        let form = form.header("origin", "https://evil.example.com").send().await.unwrap();
        assert_eq!(form.status(), StatusCode::UNAUTHORIZED, "{kind}");
    }
    let first = client.request(Method::OPTIONS, format!("{url}/api/v1/run"));
    let first = first.header("origin", "https://evil.example.com");
    let first = first.header("access-control-request-headers", "authorization").send().await.unwrap();
    assert!(!first.status().is_success());
    assert!(first.headers().keys().all(|name| !name.as_str().starts_with("access-control-")), "{first:?}");
    assert!(requests.try_recv().is_err());
    let allowed = client.post(format!("{url}/api/v1/run")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(allowed.status(), StatusCode::ACCEPTED);
    assert_eq!(requests.try_recv().unwrap(), None);
}

#[tokio::test]
async fn parameters_that_a_route_does_not_accept_are_refused() {
    let (url, _wishes) = server().await;
    for path in READ {
        let usual = reqwest::get(format!("{url}{path}")).await.unwrap().status();
        for empty in ["?", "?&&"] {
            assert_eq!(reqwest::get(format!("{url}{path}{empty}")).await.unwrap().status(), usual, "{path}");
        }
        for query in ["registy=main", "x", "=", "registry=main&registry=main", "run=1&RUN=1", "%ff=1"] {
            let response = reqwest::get(format!("{url}{path}?{query}")).await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}?{query}");
            assert_eq!(response.headers()["content-type"], "application/json", "{path}?{query}");
            let document: serde_json::Value = response.json().await.unwrap();
            let error = document["error"].as_str().unwrap();
            assert!(
                error.starts_with("there is no parameter `") || error.contains("give it once"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let (url, _wishes) = server().await;
    for path in NOTHING {
        let answer = raw(&url, &format!("GET {path} HTTP/1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(!answer.contains("regsweep_") && !answer.contains("root:"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn security_headers_are_on_every_answer() {
    let (url, _wishes) = server().await;
    let others = ["/api/v1/runs?run=x", "/api/v1/plan?registry=x", "/api/v1/plan?registry=main&registry=x"];
    for path in READ.into_iter().chain(others).chain(NOTHING).chain(["/api/v1/run"]) {
        for method in ["GET", "POST", "OPTIONS"] {
            let answer = raw(&url, &format!("{method} {path} HTTP/1.1")).await.to_lowercase();
            let head = answer.split("\r\n\r\n").next().unwrap();
            let header = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                line.unwrap_or_else(|| panic!("{method} {path}: no {name}: {head}"))
            };
            let policy = header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("x-frame-options"), "deny");
            assert_eq!(header("referrer-policy"), "no-referrer");
            assert_eq!(header("cache-control"), "no-store");
            assert_eq!(header("cross-origin-resource-policy"), "same-origin");
            assert_eq!(header("cross-origin-opener-policy"), "same-origin");
            assert_eq!(header("permissions-policy"), "camera=(), geolocation=(), microphone=()");
            assert!(!head.contains("\r\nserver:") && !head.contains("\r\nx-powered-by:"), "{head}");
        }
    }
}
