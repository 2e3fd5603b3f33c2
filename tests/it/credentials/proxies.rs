//! Proxies from the environment, in front of a real registry.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::harness::{Installation, SECRET, assert_hidden, base64, started};
use crate::support::real_registry::RealRegistry;

/// A forward proxy. It records the heads of requests; its threads end with their connections.
struct Proxy {
    host: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let all = heads.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let all = all.clone();
                thread::spawn(move || serve(client.unwrap(), &all));
            }
        });
        Self { host, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Serves one connection: a tunnel, or one plain request, and then closes it.
fn serve(mut client: TcpStream, heads: &Mutex<Vec<String>>) {
    let mut head = String::new();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    heads.lock().unwrap().push(head.clone());
    let target = head.split(' ').nth(1).unwrap().to_owned();
    if head.starts_with("CONNECT ") {
        let server = TcpStream::connect(target).unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || copy(from, &to));
        return copy(reader, &server);
    }
    let (host, path) = target.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut server = TcpStream::connect(host).unwrap();
    let head =
        head.replacen(&target, &format!("/{path}"), 1).replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes()).unwrap();
    // All requests here have no body.
    copy(server, &client);
}

fn copy(mut from: impl Read, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// Runs a plan with this environment, in which `PROXY` is the address of the proxy: the requests that it received.
fn requests(registry: &RealRegistry, lines: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let proxy = Proxy::start();
    let mut installation = Installation::new();
    for (name, value) in environment {
        installation = installation.env(name, &value.replace("PROXY", &proxy.host));
    }
    installation.configure(&registry.url(), lines);
    installation.run(&["plan"]).exits(0);
    proxy.heads()
}

#[test]
fn proxy_is_selected_by_scheme() {
    let registry = started(RealRegistry::options());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let heads = requests(&registry, "", &[(name, "http://PROXY")]);
        let all = format!("GET http://{}/v2/", registry.host());
        assert!(heads.len() > 3 && heads.iter().all(|head| head.starts_with(&all)), "{name}: {heads:?}");
    }
    assert_eq!(requests(&registry, "", &[("HTTPS_PROXY", "http://PROXY")]), [""; 0]);
}

#[test]
fn proxy_tunnel_keeps_encrypted_requests_secret() {
    let registry = started(RealRegistry::options().tls().htpasswd("ann", SECRET));
    let ca_file = registry.ca_file();
    let auth = "auth: { basic: { username: ann, password: { env: SECRET } } }";
    let lines = format!("tls: {{ ca_file: {} }}\n{auth}", ca_file.display());
    for name in ["HTTPS_PROXY", "ALL_PROXY"] {
        let heads = requests(&registry, &lines, &[(name, "http://PROXY"), ("SECRET", SECRET)]);
        let all = format!("CONNECT {} ", registry.host());
        assert!(!heads.is_empty() && heads.iter().all(|head| head.starts_with(&all)), "{name}: {heads:?}");
        assert_hidden(&[&heads.join("")], &[SECRET.to_owned(), base64(&format!("ann:{SECRET}"))]);
    }
    let none = requests(&registry, &lines, &[("HTTP_PROXY", "http://PROXY"), ("SECRET", SECRET)]);
    assert_eq!(none, [""; 0]);
}

#[test]
fn proxy_is_not_used_for_no_proxy_hosts() {
    let registry = started(RealRegistry::options());
    for exception in ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8"] {
        let heads = requests(&registry, "", &[("HTTP_PROXY", "http://PROXY"), ("NO_PROXY", exception)]);
        assert_eq!(heads, [""; 0], "{exception}");
    }
    let heads = requests(&registry, "", &[("HTTP_PROXY", "http://PROXY"), ("NO_PROXY", "example.com")]);
    assert!(!heads.is_empty());
}

#[test]
fn proxy_password_is_sent_only_to_the_proxy() {
    let registry = started(RealRegistry::options());
    let url = format!("http://bob:{SECRET}@PROXY");
    let heads = requests(&registry, "", &[("HTTP_PROXY", &url), ("RUST_LOG", "trace")]);
    let shown = format!("Basic {}", base64(&format!("bob:{SECRET}")));
    assert!(heads.iter().all(|head| head.contains(&shown)), "{heads:?}");
    // The error of an unreachable proxy does not contain it.
    let mut registry = registry;
    registry.stop();
    let installation =
        Installation::new().env("HTTP_PROXY", &url.replace("PROXY", "127.0.0.1:1")).env("RUST_LOG", "trace");
    installation.configure(&registry.url(), "timeout: 1s");
    let ran = installation.run(&["plan"]).exits(1);
    assert_hidden(&[&ran.stderr, &ran.stdout], &[SECRET.to_owned(), base64(&format!("bob:{SECRET}"))]);
}
