//! A real distribution registry (Debian's `docker-registry`, 2.8.2, if `REGISTRY_BIN` names no other), started for one test.
//!
//! It is a child process on a free port with its storage in a temporary folder, and is gone when the
//! value is dropped.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::registry_program::registry_program;
use super::store::Store;

/// How to run the registry. The default: anyone may read, write and delete, over plain HTTP.
#[derive(Debug, Clone, Default)]
pub struct Options {
    delete_disabled: bool,
    readonly: bool,
    htpasswd: Option<(String, String)>,
    tls: bool,
    client_certificates: bool,
    token_realm: Option<String>,
    max_entries: Option<u32>,
    prefix: Option<String>,
    cache: bool,
    redis: Option<(String, u16)>,
    in_memory: bool,
    quiet: bool,
    metrics: bool,
}

impl Options {
    /// With `storage.delete.enabled: false`.
    pub fn delete_disabled(mut self) -> Self {
        self.delete_disabled = true;
        self
    }

    /// With `storage.maintenance.readonly`.
    pub fn readonly(mut self) -> Self {
        self.readonly = true;
        self
    }

    /// Only for this user.
    pub fn htpasswd(mut self, user: &str, password: &str) -> Self {
        self.htpasswd = Some((user.into(), password.into()));
        self
    }

    /// Over HTTPS, with a certificate of an authority of its own: see [`RealRegistry::ca_file`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Over HTTPS, and only for clients with a certificate of its authority, such as
    /// [`RealRegistry::client_certificate`].
    pub fn client_certificates(mut self) -> Self {
        self.client_certificates = true;
        self.tls()
    }

    /// Over HTTPS, and only for tokens of the service at this address; none is ever valid.
    pub fn token_service(mut self, realm: &str) -> Self {
        self.token_realm = Some(realm.into());
        self.tls()
    }

    /// With `catalog.maxentries`.
    pub fn max_entries(mut self, entries: u32) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Below this path, such as `/registry/`; it begins and ends with a slash.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// With the in-memory cache of the official images, which is wrong after a garbage collection.
    pub fn cache(mut self) -> Self {
        self.cache = true;
        self
    }

    /// With its cache in this database of the Redis at this address.
    pub fn redis(mut self, address: &str, db: u16) -> Self {
        self.redis = Some((address.into(), db));
        self
    }

    /// With its storage in memory, where the machine has such a folder: for many thousand files.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Without an access log, which takes longer than answering the requests.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// With metrics, from which [`RealRegistry::counted`] tells how many requests it has answered.
    pub fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Starts it on an empty storage.
    pub fn start(self) -> RealRegistry {
        let in_memory = self.in_memory.then(|| TempDir::new_in("/dev/shm").ok()).flatten();
        RealRegistry::run(self, in_memory.unwrap_or_else(|| TempDir::new().unwrap()))
    }
}

/// A running registry.
#[derive(Debug)]
pub struct RealRegistry {
    options: Options,
    folder: TempDir,
    port: u16,
    metrics_port: u16,
    child: Option<Child>,
    was_killed: bool,
}

/// One request as the registry's access log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The status that was answered.
    pub status: u16,
}

impl RealRegistry {
    /// Starts a registry with the default options.
    pub fn start() -> Self {
        Options::default().start()
    }

    /// Options to start one with.
    pub fn options() -> Options {
        Options::default()
    }

    fn run(options: Options, folder: TempDir) -> Self {
        fs::create_dir(folder.path().join("store")).unwrap();
        if options.tls {
            make_certificates(folder.path());
        }
        if let Some((user, password)) = &options.htpasswd {
            write_password(folder.path(), user, password);
        }
        let mut registry = Self { options, folder, port: 0, metrics_port: 0, child: None, was_killed: false };
        // Another program may take the port before the registry does: then try another.
        for _ in 0..10 {
            let ports = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
            [registry.port, registry.metrics_port] = ports.map(|port| port.local_addr().unwrap().port());
            if registry.try_start() {
                return registry;
            }
        }
        panic!("the registry did not start: {}", registry.log());
    }

    /// The URL of the registry, without `/v2/` and without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls { "https" } else { "http" };
        let prefix = self.options.prefix.as_deref().unwrap_or("");
        format!("{scheme}://{}{}", self.host(), prefix.trim_end_matches('/'))
    }

    /// `127.0.0.1:<port>`: what image references begin with.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The `rootdirectory` of its storage.
    pub fn store_path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Its storage, to be written or read without the registry.
    pub fn store(&self) -> Store {
        Store::at(self.store_path())
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("config.yml")
    }

    /// The certificate of its authority, if it was started with [`Options::tls`].
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate that it accepts and its private key, if it was started with TLS.
    pub fn client_certificate(&self) -> [PathBuf; 2] {
        ["server.pem", "server.key"].map(|name| self.folder.path().join(name))
    }

    /// Accepts only this user from now on, if it was started with [`Options::htpasswd`].
    pub fn change_password(&self, user: &str, password: &str) {
        write_password(self.folder.path(), user, password);
    }

    /// Every request so far.
    ///
    /// The registry writes the line of a request before it sends the end of a small answer, and may
    /// write that of a large one (over 2 KiB) a moment after.
    pub fn requests(&self) -> Vec<Logged> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        log.lines().filter_map(access).collect()
    }

    /// The requests so far that could have changed the registry.
    pub fn mutating_requests(&self) -> Vec<Logged> {
        let mutating = ["POST", "PUT", "PATCH", "DELETE"];
        self.requests().into_iter().filter(|logged| mutating.contains(&logged.method.as_str())).collect()
    }

    /// How many requests it has answered since it was started with [`Options::metrics`].
    pub fn counted(&self) -> u64 {
        let mut connection = TcpStream::connect(("127.0.0.1", self.metrics_port)).unwrap();
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let lines = answer.lines().filter(|line| line.starts_with("registry_http_requests_total{"));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    /// Stops it. The storage stays, and so does the port for [`RealRegistry::start_again`].
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Without `http.draintimeout` the registry dies at once on SIGTERM too.
            child.kill().unwrap();
            child.wait().unwrap();
            self.was_killed = true;
        }
    }

    /// Whether it was ever killed. Then its log may lack requests that it had processed: it logs a request after
    /// the work.
    pub fn was_killed(&self) -> bool {
        self.was_killed
    }

    /// Starts it after [`RealRegistry::stop`], on the same port with the same storage.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the registry is running");
        assert!(self.try_start(), "the registry did not start: {}", self.log());
    }

    /// Runs `garbage-collect` with these flags beside the registry, and returns its output.
    pub fn garbage_collect(&self, flags: &[&str]) -> String {
        let config = self.config_path();
        let arguments = [&["garbage-collect"], flags, &[config.to_str().unwrap()]].concat();
        output(registry_program(), self.folder.path(), &arguments)
    }

    /// Its log, for messages of failed tests.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("registry.log")).unwrap_or_default()
    }

    /// Whether it started. Its own log says so: an answer on the port could be another program's, and would
    /// be in the access log.
    fn try_start(&mut self) -> bool {
        let folder = self.folder.path();
        fs::write(self.config_path(), self.config()).unwrap();
        let access = File::options().create(true).append(true).open(folder.join("access.log")).unwrap();
        let log = File::create(folder.join("registry.log")).unwrap();
        let child = Command::new(registry_program())
            .arg("serve")
            .arg(self.config_path())
            .stdin(Stdio::null())
            .stdout(access)
            .stderr(log)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", registry_program()));
        let child = self.child.insert(child);
        let listening = format!("listening on 127.0.0.1:{}", self.port);
        for _ in 0..3000 {
            let log = fs::read_to_string(folder.join("registry.log")).unwrap();
            if log.contains(&listening) {
                return true;
            }
            // A quiet one does not say so. If the port is someone else's, it is about to give up.
            let answers = self.options.quiet && TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if answers {
                thread::sleep(Duration::from_millis(100));
            }
            if child.try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            if answers {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the registry does not listen after half a minute: {}", self.log());
    }

    fn config(&self) -> String {
        let folder = self.folder.path().display();
        let options = &self.options;
        let log = if options.quiet { "level: error, accesslog: { disabled: true }" } else { "level: info" };
        let mut yaml = format!(
            "version: 0.1\nlog: {{ {log} }}\nstorage:\n  filesystem: {{ rootdirectory: {folder}/store }}\n"
        );
        let _ = writeln!(yaml, "  delete: {{ enabled: {} }}", !options.delete_disabled);
        let readonly = options.readonly;
        let purging = "uploadpurging: { enabled: false }";
        let _ = writeln!(yaml, "  maintenance: {{ readonly: {{ enabled: {readonly} }}, {purging} }}");
        if options.cache {
            yaml.push_str("  cache: { blobdescriptor: inmemory }\n");
        }
        if let Some((address, db)) = &options.redis {
            let _ = writeln!(
                yaml,
                "  cache: {{ blobdescriptor: redis }}\nredis: {{ addr: '{address}', db: {db} }}"
            );
        }
        let _ = writeln!(yaml, "http:\n  addr: 127.0.0.1:{}\n  secret: tests", self.port);
        if options.metrics {
            let prometheus = "prometheus: { enabled: true, path: /metrics }";
            let _ = writeln!(yaml, "  debug: {{ addr: '127.0.0.1:{}', {prometheus} }}", self.metrics_port);
        }
        if let Some(prefix) = &options.prefix {
            let _ = writeln!(yaml, "  prefix: {prefix}");
        }
        if options.tls {
            let _ =
                writeln!(yaml, "  tls:\n    certificate: {folder}/server.pem\n    key: {folder}/server.key");
        }
        if options.client_certificates {
            let _ = writeln!(yaml, "    clientcas: [{folder}/ca.pem]");
        }
        if options.htpasswd.is_some() {
            let _ = writeln!(yaml, "auth:\n  htpasswd: {{ realm: tests, path: {folder}/htpasswd }}");
        }
        if let Some(realm) = &options.token_realm {
            let service = "service: tests, issuer: tests";
            let _ = writeln!(
                yaml,
                "auth:\n  token: {{ realm: '{realm}', {service}, rootcertbundle: {folder}/ca.pem }}"
            );
        }
        if let Some(entries) = options.max_entries {
            let _ = writeln!(yaml, "catalog: {{ maxentries: {entries} }}");
        }
        yaml
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The registry looks at the time of the file and reads it anew; here it is written in one step.
fn write_password(folder: &Path, user: &str, password: &str) {
    let line = output("htpasswd", folder, &["-nbB", "-C", "4", user, password]);
    fs::write(folder.join("htpasswd.new"), line).unwrap();
    fs::rename(folder.join("htpasswd.new"), folder.join("htpasswd")).unwrap();
}

/// Reads a line of the combined log format: `… "GET /v2/ HTTP/1.1" 200 2 "" "agent"`.
fn access(line: &str) -> Option<Logged> {
    let (_, rest) = line.split_once('"')?;
    let (request, rest) = rest.split_once('"')?;
    let mut words = request.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Logged { method, path, status: rest.split_whitespace().next()?.parse().ok()? })
}

/// An authority in `ca.pem`, and a certificate of it for this machine in `server.pem`, which also serves a
/// client.
pub(super) fn make_certificates(folder: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let authority = "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=test authority\n\
        [ext]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n";
    fs::write(folder.join("ca.cnf"), authority).unwrap();
    let server = "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=localhost\n\
        [ext]\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n\
        subjectAltName=IP:127.0.0.1,DNS:localhost\n";
    fs::write(folder.join("server.cnf"), server).unwrap();
    let request = ["req", "-x509"];
    let files = ["-config", "ca.cnf", "-keyout", "ca.key", "-out", "ca.pem"];
    output("openssl", folder, &[&request[..], &key, &files].concat());
    let files = ["-config", "server.cnf", "-keyout", "server.key", "-out", "server.pem"];
    let signer = ["-CA", "ca.pem", "-CAkey", "ca.key"];
    output("openssl", folder, &[&request[..], &key, &files, &signer].concat());
}

fn output(program: &str, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `make check` installs it"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
