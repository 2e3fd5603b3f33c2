//! A real Redis (Debian's `redis-server`), started for one test.
//!
//! It is a child process on a free port of the loopback with its files in a temporary folder, and is gone when
//! the value is dropped.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::docker_engine::free_port;
use super::real_registry::make_certificates;

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    /// Starts an empty one without a password.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts an empty one with these additional arguments.
    pub fn with(arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut redis = Self { folder, port: 0, child: None };
        // Another program may take the port before the server does: then try another.
        for _ in 0..10 {
            redis.port = free_port();
            let port = redis.port.to_string();
            if redis.try_start(&[&["--port", &port], arguments].concat()) {
                return redis;
            }
        }
        panic!("redis-server did not start: {}", redis.log());
    }

    /// Starts an empty one that speaks only TLS, and requires a client certificate of its authority.
    pub fn tls() -> Self {
        let folder = TempDir::new().unwrap();
        make_certificates(folder.path());
        let mut redis = Self { folder, port: 0, child: None };
        let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(|name| redis.file(name));
        for _ in 0..10 {
            redis.port = free_port();
            let (port, file) = (redis.port.to_string(), |path: &PathBuf| path.display().to_string());
            let (ca, cert, key) = (file(&ca), file(&cert), file(&key));
            let files = ["--tls-ca-cert-file", &ca, "--tls-cert-file", &cert, "--tls-key-file", &key];
            if redis.try_start(&[&["--port", "0", "--tls-port", &port], &files[..]].concat()) {
                return redis;
            }
        }
        panic!("redis-server did not start: {}", redis.log());
    }

    /// Where it listens on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One of its files: `ca.pem`, `server.pem` and `server.key` are what TLS needs on both sides.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All keys of a database, in order.
    pub async fn keys(&self, db: u16) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(db, &["KEYS", "*"]).await;
        keys.sort();
        keys
    }

    /// The answer to a command.
    pub async fn ask<T: redis::FromRedisValue>(&self, db: u16, words: &[&str]) -> T {
        let client = redis::Client::open(format!("redis://{}/{db}", self.address())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut connection).await.unwrap()
    }

    /// Ends it. What it had in memory is lost.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn try_start(&mut self, arguments: &[&str]) -> bool {
        let log = File::create(self.file("log")).unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("redis-server: {error}; `make check` installs it"));
        let child = self.child.insert(child);
        for _ in 0..3000 {
            if fs::read_to_string(self.folder.path().join("log"))
                .unwrap()
                .contains("Ready to accept connections")
            {
                return true;
            }
            if child.try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen after half a minute: {}", self.log());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
